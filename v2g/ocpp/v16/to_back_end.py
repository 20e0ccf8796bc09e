"""What a station of 2.0.1 says, in the words of 1.6."""

from collections.abc import Mapping
from typing import Final, get_args

from v2g.errors import OcppError
from v2g.ocpp.messages import availability, diagnostics, security
from v2g.ocpp.messages.authorization import AuthorizeRequest, AuthorizeResponse, IdTokenInfo
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.certificates import (
    Get15118EVCertificateRequest,
    Get15118EVCertificateResponse,
    GetCertificateStatusRequest,
    GetCertificateStatusResponse,
)
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsRequest, NotifyEVChargingNeedsResponse
from v2g.ocpp.messages.firmware import FirmwareStatusNotificationRequest, FirmwareStatusNotificationResponse
from v2g.ocpp.messages.metering import MeterValuesRequest, MeterValuesResponse
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootNotificationResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import Steps, data_in, text_of
from v2g.ocpp.v16.from_station import CHARGING, ENDS, EVENTS, UPLOADS
from v2g.ocpp.v16.mirror import BegunAs, Mirror, NumberedHere, StateOf, to_back_end
from v2g.ocpp.v16.plug_and_charge import PLUG_AND_CHARGE, as_text, authorized, exchange, not_known, simple_text
from v2g.ocpp.v16.readings import last_register, transaction_data, values_in_16

_NINE: Final[Mapping[str, v16.ChargePointStatus]] = {
    state: status for status, state in CHARGING.items() if state != "EVConnected"
}
"""Charging state -> status of an occupied connector."""
_STOPS: Final = {reason: code for code, (reason, _) in reversed(ENDS.items())} | {"StoppedByEV": "Local"}
_DIAGNOSTICS: Final = {status: code for code, status in UPLOADS.items()}
_EVENTS: Final = {code: name for name, code in EVENTS.items()}
_PLAIN: Final[Mapping[str, str]] = {
    "InstallRebooting": "Installing",
    "InstallVerificationFailed": "InstallationFailed",
    "InvalidSignature": "InstallationFailed",
}
"""Progress of an update -> the nearest of the seven words for one without signature."""
_ERRORS: Final[Mapping[str, v16.ChargePointErrorCode]] = {
    "ConnectorPlugRetentionLock": "ConnectorLockFailure",
    "Controller": "InternalError",
    "CPPWMController": "EVCommunicationError",
    "DataLink": "WeakSignal",
    "FiscalMetering": "PowerMeterFailure",
    "GroundIsolationProtection": "GroundFailure",
    "OverCurrentProtection": "OverCurrentFailure",
    "PlugRetentionLock": "ConnectorLockFailure",
    "PowerContactor": "PowerSwitchFailure",
    "RCD": "GroundFailure",
    "TemperatureSensor": "HighTemperature",
    "TokenReader": "ReaderFailure",
}
"""Component with a problem -> error code; others are OtherError."""
_NONE: Final = -1
"""The number of a transaction whose start the back end has refused."""


@to_back_end
def boot(mirror: Mirror, request: BootNotificationRequest) -> Steps[BootNotificationResponse]:
    """Boot; the reason cannot be told."""
    station = request.charging_station
    answer: v16.BootNotificationConf = yield v16.BootNotificationReq(
        charge_point_vendor=station.vendor_name[:20],
        charge_point_model=station.model[:20],
        charge_point_serial_number=station.serial_number,
        firmware_version=station.firmware_version,
        iccid=None if station.modem is None else station.modem.iccid,
        imsi=None if station.modem is None else station.modem.imsi,
    )
    mirror.told.clear()
    return BootNotificationResponse(status=answer.status, current_time=answer.current_time, interval=answer.interval)


@to_back_end
def heartbeat(mirror: Mirror, request: availability.HeartbeatRequest) -> Steps[availability.HeartbeatResponse]:
    """A sign of life."""
    answer: v16.HeartbeatConf = yield v16.HeartbeatReq()
    return availability.HeartbeatResponse(current_time=answer.current_time)


@to_back_end
def authorize(mirror: Mirror, request: AuthorizeRequest) -> Steps[AuthorizeResponse]:
    """Ask for an idTag; for a contract with its certificates by DataTransfer. An identifier that is too long for an
    idTag is not known at any back end of 1.6."""
    if request.certificate is not None or request.iso15118_certificate_hash_data:
        return (yield from _contract_authorized(request))
    tag = mirror.id_tag(request.id_token)
    if tag != request.id_token.id_token:
        return AuthorizeResponse(id_token_info=IdTokenInfo(status="Invalid"))
    answer: v16.AuthorizeConf = yield v16.AuthorizeReq(id_tag=tag)
    return AuthorizeResponse(id_token_info=mirror.token_info(answer.id_tag_info))


# -- transactions


@to_back_end
def event(mirror: Mirror, request: TransactionEventRequest) -> Steps[TransactionEventResponse]:
    """Report a transaction. Its start needs an idTag: until there is one, it waits."""
    name = request.transaction_info.transaction_id
    found = mirror.transactions.get(name)
    if found is None:
        found = NumberedHere(connector_id=max(1, request.evse.id) if request.evse else 1, began=request.timestamp)
        if request.event_type != "Started":  # it was reported to a back end of 2.x
            begun: NumberedHere | None = yield BegunAs(name)
            found = begun or found
    if found.meter_start is None:
        found.meter_start = last_register(request.meter_value[:1], None)
    found.last_wh = last_register(request.meter_value, found.last_wh)
    if request.id_token is not None and found.id_tag is None:
        found.id_tag = mirror.id_tag(request.id_token)
        found.reservation_id = request.reservation_id
    answer = TransactionEventResponse()
    if found.number is None and found.id_tag is not None:
        if found.refused not in (None, request.seq_no):
            found.number = _NONE
        else:
            answer = yield from _start(mirror, request, found, found.id_tag)
    elif request.event_type == "Started" and request.id_token is not None:
        # it is sent again, as its answer was lost: the start's is not given twice
        told: v16.AuthorizeConf = yield v16.AuthorizeReq(id_tag=mirror.id_tag(request.id_token))
        answer = TransactionEventResponse(id_token_info=mirror.token_info(told.id_tag_info))
    if request.event_type == "Ended":
        answer = yield from _stop(mirror, request, found, answer)
        mirror.forget(name)
        if request.transaction_info.charging_state == "Idle":  # its vehicle has left, and the next one may be here
            return answer
        mirror.finishing.add(found.connector_id)
    else:
        mirror.finishing.discard(found.connector_id)
        mirror.keep(name, found)
        values = values_in_16(request.meter_value)
        said = request.event_type == "Started" and sum(len(each.sampled_value) for each in values) == 1
        if values and not said and found.number is not None:
            number = found.number if found.number > 0 else None
            yield v16.MeterValuesReq(connector_id=found.connector_id, transaction_id=number, meter_value=values)
    yield from show(mirror, found.connector_id)
    return answer


def _start(
    mirror: Mirror, request: TransactionEventRequest, found: NumberedHere, id_tag: str
) -> Steps[TransactionEventResponse]:
    """Report the start, of which the back end makes the number."""
    name = request.transaction_info.transaction_id
    try:
        answer: v16.StartTransactionConf = yield v16.StartTransactionReq(
            connector_id=found.connector_id,
            id_tag=id_tag,
            meter_start=found.meter_start or 0,
            timestamp=found.began,
            reservation_id=found.reservation_id,
        )
    except OcppError as error:
        if error.answer != "SecurityError":
            found.refused = request.seq_no
            mirror.keep(name, found)
        raise
    found.number = answer.transaction_id
    mirror.keep(name, found)
    return TransactionEventResponse(id_token_info=mirror.token_info(answer.id_tag_info))


def _stop(
    mirror: Mirror, request: TransactionEventRequest, found: NumberedHere, answer: TransactionEventResponse
) -> Steps[TransactionEventResponse]:
    """Report the end; one without an identifier, and so without a number, never was a transaction of 1.6, and no energy
    flowed in it."""
    if found.number is None and not found.last_wh:
        return answer
    reason = _STOPS.get(request.transaction_info.stopped_reason or "Local", "Other")
    if reason == "HardReset" and found.soft_reset:
        reason = "SoftReset"
    elif reason == "Remote" and found.unlocked:
        reason = "UnlockCommand"
    said: v16.StopTransactionConf = yield v16.StopTransactionReq(
        id_tag=None if request.id_token is None else mirror.id_tag(request.id_token),
        meter_stop=found.last_wh or 0,
        timestamp=request.timestamp,
        transaction_id=_NONE if found.number is None else found.number,
        reason=reason,
        transaction_data=transaction_data(request.meter_value),
    )
    if said.id_tag_info is None or request.id_token is None:
        return answer
    return TransactionEventResponse(id_token_info=mirror.token_info(said.id_tag_info))


@to_back_end
def report_values(mirror: Mirror, request: MeterValuesRequest) -> Steps[MeterValuesResponse]:
    """Report values of a connector, and of its transaction."""
    running = mirror.at(request.evse_id)
    number = None if running is None else running[1].number
    values = values_in_16(request.meter_value)
    if values:
        yield v16.MeterValuesReq(
            connector_id=request.evse_id,
            transaction_id=number if number is not None and number > 0 else None,
            meter_value=values,
        )
    return MeterValuesResponse()


# -- states


@to_back_end
def status(
    mirror: Mirror, request: availability.StatusNotificationRequest
) -> Steps[availability.StatusNotificationResponse]:
    """Report a connector; before it the station, if its state is new."""
    mirror.statuses[request.evse_id, request.connector_id] = request.connector_status
    if request.connector_status in ("Available", "Reserved", "Unavailable"):
        mirror.finishing.discard(request.evse_id)
    yield from show(mirror, 0)
    yield from show(mirror, request.evse_id, request)
    return availability.StatusNotificationResponse()


def show(mirror: Mirror, connector_id: int, said: availability.StatusNotificationRequest | None = None) -> Steps[None]:
    """Report a state if it is `said`, or new."""
    now: v16.ChargePointStatus | None = yield from _status(mirror, connector_id)
    if now is None or (said is None and mirror.told.get(connector_id) == now):
        return
    fault: v16.ChargePointErrorCode = "OtherError" if now == "Faulted" else "NoError"
    request = v16.StatusNotificationReq(
        connector_id=connector_id,
        error_code=mirror.errors.get(connector_id, fault),
        status=now,
        timestamp=mirror.now if said is None else said.timestamp,
    )
    if said is None:
        mirror.told[connector_id] = now  # others on their way do not say it, too
    try:
        yield request
    except OcppError:
        if said is not None:
            raise
    except GeneratorExit:  # the connection is lost
        if said is None:
            mirror.told.pop(connector_id, None)  # another one on its way may have done so
        raise
    mirror.told[connector_id] = now


def _status(mirror: Mirror, connector_id: int) -> Steps[v16.ChargePointStatus | None]:
    """Return the state of a connector, None where none is known; that of the station is one of three."""
    state: str = yield StateOf(connector_id)
    if connector_id == 0:
        return "Faulted" if state == "Faulted" else "Unavailable" if state == "Unavailable" else "Available"
    if state in ("EVConnected", "Idle") and mirror.told.get(connector_id) in _NINE.values():
        return "SuspendedEV"  # its transaction goes on, and may charge again
    here = [found for (evse_id, _), found in mirror.statuses.items() if evse_id == connector_id]
    if "Occupied" in here:
        return _NINE.get(state, "Finishing" if connector_id in mirror.finishing else "Preparing")
    return next(iter(here), None)  # type: ignore[arg-type] # Occupied is above


@to_back_end
def notify(mirror: Mirror, request: diagnostics.NotifyEventRequest) -> Steps[diagnostics.NotifyEventResponse]:
    """Report problems of a connector, or of the station, by their error codes; 1.6 has no other events."""
    for each in request.event_data:
        if each.variable.name != "Problem" or each.actual_value not in ("true", "false"):
            continue
        place = each.component.evse.id if each.component.evse is not None else 0
        broken = each.actual_value == "true"
        code = _ERRORS.get(each.component.name, "OtherError")
        if broken:
            mirror.errors[place] = code
        elif mirror.errors.get(place) == code:
            del mirror.errors[place]
        now: v16.ChargePointStatus | None = yield from _status(mirror, place)
        yield v16.StatusNotificationReq(
            connector_id=place,
            error_code=mirror.errors.get(place, "NoError"),
            status=now or "Available",
            timestamp=each.timestamp,
            info=(each.tech_info or "")[:50] or None,
            vendor_error_code=each.tech_code,
        )
    return diagnostics.NotifyEventResponse()


# -- security, logs, firmware


@to_back_end
def report_security(
    mirror: Mirror, request: security.SecurityEventNotificationRequest
) -> Steps[security.SecurityEventNotificationResponse]:
    """Report a security event."""
    kind = _EVENTS.get(request.type, request.type)
    yield v16.SecurityEventNotificationReq(type=kind, timestamp=request.timestamp, tech_info=request.tech_info)
    return security.SecurityEventNotificationResponse()


@to_back_end
def sign(mirror: Mirror, request: security.SignCertificateRequest) -> Steps[security.SignCertificateResponse]:
    """Ask for a certificate of the station; one of ISO 15118 by DataTransfer."""
    if request.certificate_type not in (None, "ChargingStationCertificate"):
        return (yield from exchange(request, security.SignCertificateResponse, "back end"))
    answer: v16.SignCertificateConf = yield v16.SignCertificateReq(csr=request.csr)
    return security.SignCertificateResponse(status=answer.status)


@to_back_end
def report_upload(
    mirror: Mirror, request: diagnostics.LogStatusNotificationRequest
) -> Steps[diagnostics.LogStatusNotificationResponse]:
    """Report the upload of a log, or of diagnostics, as it was asked for."""
    if mirror.by_whitepaper if request.request_id is None else request.request_id >= 0:
        yield v16.LogStatusNotificationReq(status=request.status, request_id=request.request_id)
    else:
        code = _DIAGNOSTICS.get(request.status, "UploadFailed")
        yield v16.DiagnosticsStatusNotificationReq(status=code)  # type: ignore[arg-type] # a key of UPLOADS
    return diagnostics.LogStatusNotificationResponse()


@to_back_end
def report_update(
    mirror: Mirror, request: FirmwareStatusNotificationRequest
) -> Steps[FirmwareStatusNotificationResponse]:
    """Report an update, as it was asked for."""
    number, word = request.request_id, _PLAIN.get(request.status, request.status)
    if (number is not None and number >= 0) or (number is None and mirror.by_whitepaper):
        yield v16.SignedFirmwareStatusNotificationReq(status=request.status, request_id=number)
    elif word in _SEVEN:
        yield v16.FirmwareStatusNotificationReq(status=word)  # type: ignore[arg-type] # one of them
    return FirmwareStatusNotificationResponse()


_SEVEN: Final = frozenset(get_args(v16.FirmwareStatusNotificationReq.__annotations__["status"]))


# -- what 1.6 carries in texts, or not at all


@to_back_end
def transfer(mirror: Mirror, request: DataTransferRequest) -> Steps[DataTransferResponse]:
    """Pass on a vendor's message, its data as text."""
    answer: v16.DataTransferConf = yield v16.DataTransferReq(
        vendor_id=request.vendor_id, message_id=request.message_id, data=text_of(request.data)
    )
    data = data_in(answer.data, request.vendor_id)
    code = data.get("reasonCode") if isinstance(data, dict) else None
    why = StatusInfo(reason_code=code[:20]) if isinstance(code, str) else None
    return DataTransferResponse(status=answer.status, data=data, status_info=why)


def _contract_authorized(request: AuthorizeRequest) -> Steps[AuthorizeResponse]:
    """Ask for a contract; a back end that rejects the form of 2.0.1 gets that of the application note."""
    refusal = OcppError("the back end has no Plug and Charge", answer="NotSupported")
    for text in (as_text(request), simple_text(request)):
        try:
            answer: v16.DataTransferConf = yield v16.DataTransferReq(
                vendor_id=PLUG_AND_CHARGE, message_id="Authorize", data=text
            )
        except OcppError as error:  # an answer of a back end that could not read it
            refusal = error
            continue
        if answer.status == "Accepted" and answer.data is not None:
            return authorized(answer.data)
        refusal = not_known(answer, "back end")
        if answer.status != "Rejected":
            break
    raise refusal


@to_back_end
def contract(mirror: Mirror, request: Get15118EVCertificateRequest) -> Steps[Get15118EVCertificateResponse]:
    """Fetch a contract for a vehicle."""
    return (yield from exchange(request, Get15118EVCertificateResponse, "back end"))


@to_back_end
def revocation(mirror: Mirror, request: GetCertificateStatusRequest) -> Steps[GetCertificateStatusResponse]:
    """Ask whether a certificate is revoked."""
    return (yield from exchange(request, GetCertificateStatusResponse, "back end"))


@to_back_end
def needs(mirror: Mirror, request: NotifyEVChargingNeedsRequest) -> Steps[NotifyEVChargingNeedsResponse]:
    """A vehicle's needs, which cannot be sent: no schedule follows."""
    why = StatusInfo(reason_code="OCPP16", additional_info="OCPP 1.6 has no charging needs")
    yield from ()
    return NotifyEVChargingNeedsResponse(status="Rejected", status_info=why)
