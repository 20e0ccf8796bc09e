"""What a station of 1.6 says, in the words of 2.0.1."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from v2g.errors import OcppError
from v2g.ocpp.messages import availability
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdToken, IdTokenInfo
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.diagnostics import EventData, LogStatusNotificationRequest, NotifyEventRequest, UploadLogStatus
from v2g.ocpp.messages.firmware import FirmwareStatusNotificationRequest
from v2g.ocpp.messages.metering import MeterValue, MeterValuesRequest
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootNotificationResponse, ChargingStation, Modem
from v2g.ocpp.messages.security import SecurityEventNotificationRequest, SignCertificateRequest, SignCertificateResponse
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import (
    ChargingState,
    Reason,
    Transaction,
    TransactionEventRequest,
    TransactionEventResponse,
    TriggerReason,
)
from v2g.ocpp.times import format_time, parse_time
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16 import readings
from v2g.ocpp.v16.bridge import (
    NO_READING,
    Bridge,
    EventOf,
    IsStored,
    Numbered,
    NumberOf,
    OngoingAt,
    Steps,
    data_in,
    from_station,
    id_tag_info,
    number_in,
    text_of,
    to_station,
)
from v2g.ocpp.v16.plug_and_charge import PLUG_AND_CHARGE, TO_BACK_END, pass_on

COSTS: Final = "org.openchargealliance.costmsg"
SHOWS_PRICES: Final = "CustomDisplayCostAndPrice"


def _send(bridge: Bridge, message: str, data: Mapping[str, object]) -> Steps[v16.DataTransferConf]:
    """Send a price. Raises OcppError (`NotSupported`) where the station does not say that it shows prices."""
    if bridge.shows_prices is None:
        known: v16.GetConfigurationConf = yield v16.GetConfigurationReq(key=(SHOWS_PRICES,))
        values = (
            each.value or "" for each in known.configuration_key if each.key.casefold() == SHOWS_PRICES.casefold()
        )
        bridge.shows_prices = any(each.strip().casefold() == "true" for each in values)
    if not bridge.shows_prices:
        raise OcppError(f"the station shows no prices: its {SHOWS_PRICES} is not true", answer="NotSupported")
    text = msgspec.json.encode({name: value for name, value in data.items() if value is not None}).decode()
    answer: v16.DataTransferConf = yield v16.DataTransferReq(vendor_id=COSTS, message_id=message, data=text)
    if answer.status != "Accepted":
        raise OcppError(f"the station answers {message} with {answer.status}", answer="NotSupported")
    return answer


@to_station
def update_cost(bridge: Bridge, request: CostUpdatedRequest) -> Steps[CostUpdatedResponse]:
    """Show what a transaction costs so far."""
    found = yield from bridge.find(number_in(request.transaction_id))
    if found is None:
        raise OcppError(f"no transaction {request.transaction_id}", answer="PropertyConstraintViolation")
    yield from _send(bridge, "RunningCost", _running(bridge, found, request.total_cost))
    return CostUpdatedResponse()


def _running(bridge: Bridge, found: Numbered, cost: float) -> dict[str, object]:
    return {
        "transactionId": found.number,
        "timestamp": format_time(bridge.now_ms),
        "meterValue": found.import_wh,
        "cost": cost,
        "state": "Charging" if found.charging_state == "Charging" else "Idle",
        "chargingPrice": {},  # the station adds nothing to a cost of the back end
    }


def show_price(bridge: Bridge, id_tag: str, info: IdTokenInfo | None) -> None:
    """Show a driver what the back end has to say to them, after the answer in which it says so."""
    if bridge.shows_prices is not False and info is not None and info.personal_message is not None:
        data = {"idToken": id_tag, "priceText": info.personal_message.content}
        bridge.after.append(_send(bridge, "SetUserPrice", data))


def show_cost(bridge: Bridge, found: Numbered, answer: TransactionEventResponse) -> None:
    """Show the cost in the answer to an event, after that of the station's message: that of the end is final."""
    cost, text = answer.total_cost, answer.updated_personal_message
    if cost is None or found.number <= 0 or bridge.shows_prices is False:
        return
    if found.active:
        bridge.after.append(_send(bridge, "RunningCost", _running(bridge, found, cost)))
        return
    shown = f"{cost:.2f}" if text is None else text.content
    data = {"transactionId": found.number, "cost": cost, "priceText": shown}
    bridge.after.append(_send(bridge, "FinalCost", data))


_CONNECTORS: Final[Mapping[v16.ChargePointStatus, availability.ConnectorStatus]] = {
    "Available": "Available",
    "Preparing": "Occupied",
    "Charging": "Occupied",
    "SuspendedEVSE": "Occupied",
    "SuspendedEV": "Occupied",
    "Finishing": "Occupied",
    "Reserved": "Reserved",
    "Unavailable": "Unavailable",
    "Faulted": "Faulted",
}
CHARGING: Final[dict[v16.ChargePointStatus, ChargingState]] = {
    "Preparing": "EVConnected",
    "Charging": "Charging",
    "SuspendedEVSE": "SuspendedEVSE",
    "SuspendedEV": "SuspendedEV",
    "Finishing": "EVConnected",
}
ENDS: Final[dict[v16.StopReason, tuple[Reason, TriggerReason]]] = {
    "DeAuthorized": ("DeAuthorized", "Deauthorized"),
    "EmergencyStop": ("EmergencyStop", "AbnormalCondition"),
    "EVDisconnected": ("EVDisconnected", "EVCommunicationLost"),
    "HardReset": ("ImmediateReset", "ResetCommand"),
    "Local": ("Local", "StopAuthorized"),
    "Other": ("Other", "AbnormalCondition"),
    "PowerLoss": ("PowerLoss", "AbnormalCondition"),
    "Reboot": ("Reboot", "ResetCommand"),
    "Remote": ("Remote", "RemoteStop"),
    "SoftReset": ("ImmediateReset", "ResetCommand"),
    "UnlockCommand": ("Remote", "UnlockCommand"),
}
UPLOADS: Final[Mapping[str, UploadLogStatus]] = {
    "Idle": "Idle",
    "Uploaded": "Uploaded",
    "UploadFailed": "UploadFailure",
    "Uploading": "Uploading",
}
EVENTS: Final[Mapping[str, str]] = {
    "CentralSystemFailedToAuthenticate": "CsmsFailedToAuthenticate",
    "FailedToAuthenticateAtCentralSystem": "FailedToAuthenticateAtCsms",
    "InvalidCentralSystemCertificate": "InvalidCsmsCertificate",
    "InvalidChargePointCertificate": "InvalidChargingStationCertificate",
}
"""Security event of 1.6 -> of 2.x; the others have the same names."""


@from_station
def boot(bridge: Bridge, request: v16.BootNotificationReq) -> Steps[v16.BootNotificationConf]:
    """Boot; 1.6 tells no reason."""
    bridge.lacks.clear()
    modem = Modem(iccid=request.iccid, imsi=request.imsi) if request.iccid or request.imsi else None
    answer: BootNotificationResponse = yield BootNotificationRequest(
        charging_station=ChargingStation(
            vendor_name=request.charge_point_vendor,
            model=request.charge_point_model,
            serial_number=request.charge_point_serial_number or request.charge_box_serial_number,
            firmware_version=request.firmware_version,
            modem=modem,
        ),
        reason="Unknown",
    )
    return v16.BootNotificationConf(status=answer.status, current_time=answer.current_time, interval=answer.interval)


@from_station
def heartbeat(bridge: Bridge, request: v16.HeartbeatReq) -> Steps[v16.HeartbeatConf]:
    """A sign of life."""
    answer: availability.HeartbeatResponse = yield availability.HeartbeatRequest()
    return v16.HeartbeatConf(current_time=answer.current_time)


@from_station
def authorize(bridge: Bridge, request: v16.AuthorizeReq) -> Steps[v16.AuthorizeConf]:
    """Ask for an idTag."""
    answer: AuthorizeResponse = yield AuthorizeRequest(id_token=(yield from bridge.token(request.id_tag)))
    show_price(bridge, request.id_tag, answer.id_token_info)
    return v16.AuthorizeConf(id_tag_info=id_tag_info(answer.id_token_info))


# -- transactions


def number_of(bridge: Bridge, request: v16.StartTransactionReq) -> NumberOf:
    """Return the question of which transaction a start is."""
    return NumberOf(
        timed=bridge.time(request.timestamp) is not None,
        connector_id=request.connector_id,
        id_tag=request.id_tag,
        meter_start=request.meter_start,
        timestamp=request.timestamp,
    )


@from_station
def start_transaction(bridge: Bridge, request: v16.StartTransactionReq) -> Steps[v16.StartTransactionConf]:
    """Begin a transaction, or say again what was said of it."""
    found: Numbered = yield number_of(bridge, request)
    found = bridge.remember(found)
    if found.next_seq:  # it was stored, and the answer was lost
        known_as: TransactionEventResponse | AuthorizeResponse | None = yield from _again(found, "Started")
        if known_as is None:
            known_as = yield AuthorizeRequest(id_token=(yield from bridge.token(request.id_tag)))
        return v16.StartTransactionConf(transaction_id=found.number, id_tag_info=id_tag_info(known_as.id_token_info))
    found.id_tag = request.id_tag
    at = bridge.time(request.timestamp) or format_time(bridge.now_ms)
    remote = yield from bridge.remote(request.id_tag, request.connector_id, at)
    token = remote.token if remote is not None else (yield from bridge.token(request.id_tag))
    if not bridge.offline(at):
        found.charging_state = bridge.states.get(request.connector_id, found.charging_state)
    event = _event(bridge, found, "Started", "Authorized" if remote is None else "RemoteStart", at)
    info = event.transaction_info
    event = replace(
        event,
        meter_value=(readings.register(request.meter_start, at, "Transaction.Begin"),),
        id_token=token,
        reservation_id=None if (reserved := request.reservation_id) is None or reserved < 0 else reserved,
        transaction_info=info if remote is None else replace(info, remote_start_id=remote.remote_start_id),
    )
    answer: TransactionEventResponse = yield from _tell(bridge, found, event)
    if remote is not None:  # it came without Authorize
        show_price(bridge, request.id_tag, answer.id_token_info)
    return v16.StartTransactionConf(transaction_id=found.number, id_tag_info=id_tag_info(answer.id_token_info))


def _event(
    bridge: Bridge, found: Numbered, kind: Literal["Started", "Updated", "Ended"], trigger: TriggerReason, at: str
) -> TransactionEventRequest:
    """Return the next event of a transaction."""
    return TransactionEventRequest(
        event_type=kind,
        timestamp=at,
        trigger_reason=trigger,
        seq_no=found.next_seq,
        offline=bridge.offline(at),
        transaction_info=Transaction(transaction_id=str(found.number), charging_state=found.charging_state),
        evse=EVSE(id=max(0, found.connector_id), connector_id=1),
    )


def _tell(bridge: Bridge, found: Numbered, event: TransactionEventRequest) -> Steps[TransactionEventResponse]:
    """Send an event; one that is refused leaves its number to the next."""
    answer: TransactionEventResponse = yield event
    found.next_seq += 1
    found.active = event.event_type != "Ended"
    if (register := readings.last_register(event.meter_value, None)) is not None:
        found.import_wh, found.import_ms = register, parse_time(event.timestamp)
    show_cost(bridge, found, answer)
    return answer


def _again(found: Numbered, kind: Literal["Started", "Ended"]) -> Steps[TransactionEventResponse | None]:
    """Send an event again, if it is stored here: the connection, or the back end, may have ended before all that
    follows from it was done."""
    stored: TransactionEventRequest | None = yield EventOf(found.number, kind)
    if stored is None:
        return None
    answer: TransactionEventResponse = yield stored
    return answer


@from_station
def stop_transaction(bridge: Bridge, request: v16.StopTransactionReq) -> Steps[v16.StopTransactionConf]:
    """End a transaction. One that is named 0 or -1, as some stations do that began it offline, is the only one that ran
    at its time, or that its idTag and `meterStop` permit; where that is not so, it becomes one of its own, whose
    beginning is missing. Without a `meterStop` that can be read its last reading is what else there is."""
    at = bridge.time(request.timestamp) or format_time(bridge.now_ms)
    found: Numbered | None = yield from bridge.find(request.transaction_id)
    if found is None:
        stored: tuple[Numbered, ...] = yield OngoingAt(parse_time(at))
        found = _ended_by(request, [bridge.remember(each) for each in stored])
    if found is not None and not found.active:
        yield from _again(found, "Ended")
        return v16.StopTransactionConf()
    token: IdToken | None = None
    if request.id_tag:
        token = yield from bridge.token(request.id_tag)
    reason, trigger = ENDS[request.reason or "Local"]
    ends = found or Numbered(number=request.transaction_id, connector_id=0)
    event = _event(bridge, ends, "Ended", trigger, at)
    if found is None:
        stray = Transaction(transaction_id=f"unknown {request.transaction_id} {parse_time(at)}")
        event = replace(event, transaction_info=stray, evse=None)
    last, stop = ends.import_wh, request.meter_stop
    stop += last is not None and last - stop == 1  # rounded otherwise than the values before
    data = tuple(_at_a_time(bridge, each) for each in readings.meter_values(request.transaction_data))
    data = _right_registers(bridge, data, last if stop == NO_READING else stop)
    if stop != NO_READING and not _says(data, stop):
        data = (*data, readings.register(stop, at, "Transaction.End"))
    event = replace(
        event,
        meter_value=data,
        id_token=token,
        transaction_info=replace(event.transaction_info, charging_state="EVConnected", stopped_reason=reason),
    )
    answer: TransactionEventResponse = yield from _tell(bridge, ends, event)
    info = answer.id_token_info
    return v16.StopTransactionConf(id_tag_info=id_tag_info(info) if info is not None and token is not None else None)


def _ended_by(request: v16.StopTransactionReq, ongoing: Sequence[Numbered]) -> Numbered | None:
    """Return the only one of these transactions that a stop of an unknown number can end; one of another number, such
    as of the back end before this one, only by its idTag."""
    numbered = request.transaction_id > 0
    if len(ongoing) == 1 and not numbered:
        return ongoing[0]
    id_tag = (request.id_tag or "").casefold()
    same = [each for each in ongoing if id_tag and each.id_tag.casefold() == id_tag]
    possible = same if same or numbered else ongoing  # its group may have another card
    most_wh = 2**31 if request.meter_stop == NO_READING else request.meter_stop + 1
    fits = [each for each in possible if each.import_wh is not None and each.import_wh <= most_wh]
    return fits[0] if len(fits) == 1 else None


def _says(data: tuple[MeterValue, ...], stop: int) -> bool:
    """Return whether values have what `meterStop` says: with more digits, signed, or read a moment before."""
    for each in (sample for value in data for sample in value.sampled_value):
        if each.context == "Transaction.End" and each.location in (None, "Outlet"):
            register = readings.last_register([MeterValue(timestamp="", sampled_value=(each,))], None)
            if register is not None and abs(register - stop) <= _SAME_WH:
                return True
    return False


_SAME_WH: Final = 10
"""By so much `meterStop` and the end's value beside it may differ: they are rounded otherwise."""


def _right_registers(bridge: Bridge, values: tuple[MeterValue, ...], known_wh: int | None) -> tuple[MeterValue, ...]:
    """Return values without import registers that are in kWh and labelled Wh."""
    if not readings.is_thousandth(readings.last_register(values, None), known_wh):
        return values
    bridge.tolerated[readings.KWH_AS_WH] += 1
    return readings.without_registers(values)


@from_station
def report_values(bridge: Bridge, request: v16.MeterValuesReq) -> Steps[v16.MeterValuesConf]:
    """Report values: of a transaction that runs, else of the connector."""
    values = tuple(_at_a_time(bridge, each) for each in readings.meter_values(request.meter_value))
    found: Numbered | None = yield from bridge.find(request.transaction_id)
    if found is None and request.transaction_id is not None and request.transaction_id <= 0:
        found = yield from bridge.ongoing(request.connector_id)
    if not values or (found is not None and found.latest == request.meter_value):
        return v16.MeterValuesConf()
    if found is None or not found.active:  # what comes after the end does not revive a transaction
        yield MeterValuesRequest(evse_id=max(0, request.connector_id), meter_value=values)
        return v16.MeterValuesConf()
    values = _right_registers(bridge, values, found.import_wh)
    if not values:
        return v16.MeterValuesConf()
    values = _powers(bridge, found, values)
    clock = any(sample.context == "Sample.Clock" for each in values for sample in each.sampled_value)
    trigger: TriggerReason = "MeterValueClock" if clock else "MeterValuePeriodic"
    event = replace(_event(bridge, found, "Updated", trigger, values[-1].timestamp), meter_value=values)
    repeated: bool = not found.latest and (yield IsStored(event))  # its answer was lost with the last connection
    if not repeated:
        yield from _tell(bridge, found, event)
    found.latest = request.meter_value
    return v16.MeterValuesConf()


def _powers(bridge: Bridge, found: Numbered, values: tuple[MeterValue, ...]) -> tuple[MeterValue, ...]:
    """Return values with powers in kW where the register has shown twice that those without a unit are: once may be a
    vehicle that has just stopped."""
    register, at_ms = readings.last_register(values, None), parse_time(values[-1].timestamp)
    if register is not None and found.import_wh is not None and found.import_ms is not None:
        rise_wh, ms = register - found.import_wh, at_ms - found.import_ms
        in_kw = readings.kilowatts(values, rise_wh * 3_600_000 / ms) if rise_wh >= _TELLS_WH and ms > 0 else None
        bridge.kilowatts = bridge.kilowatts if in_kw is None else bridge.kilowatts + 1 if in_kw else 0
    if bridge.kilowatts < 2 or (read := readings.in_kilowatts(values)) == values:
        return values
    bridge.tolerated[readings.POWER_IN_KW] += 1
    return read


_TELLS_WH: Final = 20
"""Least rise of a register that says something of the power."""


def _at_a_time(bridge: Bridge, value: MeterValue) -> MeterValue:
    at = bridge.time(value.timestamp)
    return value if at is not None else replace(value, timestamp=format_time(bridge.now_ms))


@from_station
def report_status(bridge: Bridge, request: v16.StatusNotificationReq) -> Steps[v16.StatusNotificationConf]:
    """Report a connector: its availability, the state of what charges there, and errors as events."""
    at = bridge.time(request.timestamp) or format_time(bridge.now_ms)
    if request.connector_id > 0:
        yield availability.StatusNotificationRequest(
            timestamp=at, connector_status=_CONNECTORS[request.status], evse_id=request.connector_id, connector_id=1
        )
        state = CHARGING.get(request.status)
        bridge.states[request.connector_id] = state or "EVConnected"
        found = None if state is None else (yield from bridge.ongoing(request.connector_id))
        if found is not None and found.next_seq and state is not None and state != found.charging_state:
            found.charging_state = state
            yield from _tell(bridge, found, _event(bridge, found, "Updated", "ChargingStateChanged", at))
    if request.error_code != "NoError" or request.connector_id == 0:
        evse = EVSE(id=request.connector_id, connector_id=1) if request.connector_id > 0 else None
        broken = request.error_code != "NoError"
        words = (request.vendor_id, request.vendor_error_code, request.info)
        yield NotifyEventRequest(
            generated_at=at,
            seq_no=0,
            event_data=(
                EventData(
                    event_id=0,
                    timestamp=at,
                    trigger="Alerting" if broken else "Delta",
                    actual_value=request.error_code if broken else _CONNECTORS[request.status],
                    tech_code=request.error_code if broken else None,
                    tech_info=" ".join(filter(None, words))[:500] or None,
                    event_notification_type="HardWiredNotification",
                    component=Component(name="ChargingStation" if evse is None else "Connector", evse=evse),
                    variable=Variable(name="Problem" if broken else "AvailabilityState"),
                ),
            ),
        )
    return v16.StatusNotificationConf()


# -- what carries no number in 1.6, and the whitepaper


@from_station
def report_upload(
    bridge: Bridge, request: v16.DiagnosticsStatusNotificationReq
) -> Steps[v16.DiagnosticsStatusNotificationConf]:
    """Report the upload of diagnostics, of the last request for them."""
    yield LogStatusNotificationRequest(status=UPLOADS[request.status], request_id=bridge.log_request)
    return v16.DiagnosticsStatusNotificationConf()


@from_station
def report_log(bridge: Bridge, request: v16.LogStatusNotificationReq) -> Steps[v16.LogStatusNotificationConf]:
    """Report the upload of a log."""
    yield LogStatusNotificationRequest(status=request.status, request_id=request.request_id)
    return v16.LogStatusNotificationConf()


@from_station
def report_update(
    bridge: Bridge, request: v16.FirmwareStatusNotificationReq
) -> Steps[v16.FirmwareStatusNotificationConf]:
    """Report an update, of the last request for one."""
    number = None if request.status == "Idle" else bridge.firmware_request
    yield FirmwareStatusNotificationRequest(status=request.status, request_id=number)
    return v16.FirmwareStatusNotificationConf()


@from_station
def report_signed_update(
    bridge: Bridge, request: v16.SignedFirmwareStatusNotificationReq
) -> Steps[v16.SignedFirmwareStatusNotificationConf]:
    """Report an update with a signature."""
    yield FirmwareStatusNotificationRequest(status=request.status, request_id=request.request_id)
    return v16.SignedFirmwareStatusNotificationConf()


@from_station
def report_security(
    bridge: Bridge, request: v16.SecurityEventNotificationReq
) -> Steps[v16.SecurityEventNotificationConf]:
    """Report a security event."""
    at = bridge.time(request.timestamp) or format_time(bridge.now_ms)
    kind = EVENTS.get(request.type, request.type)
    yield SecurityEventNotificationRequest(type=kind, timestamp=at, tech_info=request.tech_info)
    return v16.SecurityEventNotificationConf()


@from_station
def sign(bridge: Bridge, request: v16.SignCertificateReq) -> Steps[v16.SignCertificateConf]:
    """Ask for a certificate."""
    answer: SignCertificateResponse = yield SignCertificateRequest(
        csr=request.csr, certificate_type="ChargingStationCertificate"
    )
    return v16.SignCertificateConf(status=answer.status)


@from_station
def transfer(bridge: Bridge, request: v16.DataTransferReq) -> Steps[v16.DataTransferConf]:
    """Pass on a vendor's message; those for Plug and Charge are messages of 2.0.1."""
    if request.vendor_id.casefold() != PLUG_AND_CHARGE:
        answer: DataTransferResponse = yield DataTransferRequest(
            vendor_id=request.vendor_id, message_id=request.message_id, data=data_in(request.data, request.vendor_id)
        )
        data: object = answer.data
        if data is None and answer.status_info is not None:  # for which 1.6 has no place of its own
            data = {"reasonCode": answer.status_info.reason_code}
        return v16.DataTransferConf(status=answer.status, data=text_of(data))
    return (yield from pass_on(request, TO_BACK_END))
