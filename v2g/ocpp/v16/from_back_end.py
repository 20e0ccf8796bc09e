"""What a back end of 1.6 asks of a station, in the words of 2.0.1."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages import authorization, certificates, firmware, provisioning, remote_control, smart_charging
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse
from v2g.ocpp.messages.base import EVSE, Component, Message, MessageContent, Variable
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.diagnostics import GetLogRequest, GetLogResponse, LogParameters
from v2g.ocpp.messages.display import MessageInfo, SetDisplayMessageRequest, SetDisplayMessageResponse
from v2g.ocpp.messages.provisioning import SetNetworkProfileRequest, SetNetworkProfileResponse
from v2g.ocpp.messages.reservation import (
    CancelReservationRequest,
    CancelReservationResponse,
    ReserveNowRequest,
    ReserveNowResponse,
)
from v2g.ocpp.messages.security import CertificateSignedRequest, CertificateSignedResponse
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest
from v2g.ocpp.times import format_time
from v2g.ocpp.v16 import configuration
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import Steps, data_in, text_of
from v2g.ocpp.v16.from_station import COSTS
from v2g.ocpp.v16.mirror import Mirror, NetworkInUse, NetworkNow, from_back_end
from v2g.ocpp.v16.plug_and_charge import PLUG_AND_CHARGE, TO_STATION, pass_on
from v2g.ocpp.v16.to_back_end import report_update, show
from v2g.ocpp.v16.to_station import EXTENDED, PURPOSES, ROOTS, TRIGGERS

_PURPOSES: Final = {code: purpose for purpose, code in PURPOSES.items()}
_ROOTS: Final = {code: use for use, code in ROOTS.items()}
_TRIGGERS: Final[Mapping[str, str]] = {
    code: name for name, code in (*TRIGGERS.items(), *EXTENDED.items()) if name != "TransactionEvent"
}
_SHOWN_MS: Final = 60_000
"""How long a price is displayed."""
_OF_PRICE: Final = 16_000_000
"""Numbers of display messages with prices begin here; the connector's follows."""
_AT_ONCE: Final = 40
"""Variables in one request."""


# -- remote control


@from_back_end
def start(mirror: Mirror, request: v16.RemoteStartTransactionReq) -> Steps[v16.RemoteStartTransactionConf]:
    """Start a transaction."""
    connector, profile = request.connector_id, request.charging_profile
    if connector is not None and connector <= 0:
        return v16.RemoteStartTransactionConf(status="Rejected")
    answer: remote_control.RequestStartTransactionResponse = yield remote_control.RequestStartTransactionRequest(
        evse_id=connector,
        id_token=mirror.token(request.id_tag),
        remote_start_id=-mirror.request_id(),
        charging_profile=None if profile is None else _profile(mirror, profile, None),
    )
    return v16.RemoteStartTransactionConf(status=answer.status)


@from_back_end
def stop(mirror: Mirror, request: v16.RemoteStopTransactionReq) -> Steps[v16.RemoteStopTransactionConf]:
    """Stop a transaction."""
    name = mirror.named(request.transaction_id)
    if name is None:
        return v16.RemoteStopTransactionConf(status="Rejected")
    answer: remote_control.RequestStopTransactionResponse = yield remote_control.RequestStopTransactionRequest(
        transaction_id=name
    )
    return v16.RemoteStopTransactionConf(status=answer.status)


@from_back_end
def reset(mirror: Mirror, request: v16.ResetReq) -> Steps[v16.ResetConf]:
    """Restart the station: transactions end in both cases."""
    for name, found in tuple(mirror.transactions.items()):
        found.soft_reset = request.type == "Soft"
        mirror.keep(name, found)
    answer: provisioning.ResetResponse = yield provisioning.ResetRequest(type="Immediate")
    return v16.ResetConf(status="Rejected" if answer.status == "Rejected" else "Accepted")


@from_back_end
def unlock(mirror: Mirror, request: v16.UnlockConnectorReq) -> Steps[v16.UnlockConnectorConf]:
    """Unlock a connector: a transaction there ends first."""
    running = mirror.at(request.connector_id)
    if not 0 < request.connector_id <= mirror.connectors:
        return v16.UnlockConnectorConf(status="NotSupported")
    if running is not None:
        name, found = running
        found.unlocked = True
        mirror.keep(name, found)
        yield remote_control.RequestStopTransactionRequest(transaction_id=name)
    answer: remote_control.UnlockConnectorResponse = yield remote_control.UnlockConnectorRequest(
        evse_id=request.connector_id, connector_id=1
    )
    why = answer.status_info
    if answer.status == "UnknownConnector" or (why is not None and why.reason_code == "FixedCable"):
        return v16.UnlockConnectorConf(status="NotSupported")
    return v16.UnlockConnectorConf(status="Unlocked" if answer.status == "Unlocked" else "UnlockFailed")


@from_back_end
def availability(mirror: Mirror, request: v16.ChangeAvailabilityReq) -> Steps[v16.ChangeAvailabilityConf]:
    """Take a connector, or all, in or out of service."""
    answer: ChangeAvailabilityResponse = yield ChangeAvailabilityRequest(
        evse=EVSE(id=request.connector_id) if request.connector_id else None, operational_status=request.type
    )
    return v16.ChangeAvailabilityConf(status=answer.status)


@from_back_end
def trigger(mirror: Mirror, request: v16.TriggerMessageReq) -> Steps[v16.TriggerMessageConf]:
    """Trigger a message."""
    mirror.by_whitepaper = False
    diagnostics = request.requested_message == "DiagnosticsStatusNotification"
    name = "LogStatusNotification" if diagnostics else request.requested_message
    status = yield from _trigger(mirror, name, request.connector_id)
    return v16.TriggerMessageConf(status=status)


@from_back_end
def trigger_extended(mirror: Mirror, request: v16.ExtendedTriggerMessageReq) -> Steps[v16.ExtendedTriggerMessageConf]:
    """Trigger a message, of the security whitepaper too."""
    mirror.by_whitepaper = True
    status = yield from _trigger(mirror, request.requested_message, request.connector_id)
    return v16.ExtendedTriggerMessageConf(status=status)


def _trigger(mirror: Mirror, message: str, connector_id: int | None) -> Steps[v16.TriggerStatus16]:
    """Trigger a message of a connector, of the station (0), or of all of these; others are of none (5.17)."""
    if message not in ("MeterValues", "StatusNotification"):
        connector_id = None
    elif connector_id is not None and not 0 <= connector_id <= mirror.connectors:
        return "Rejected"
    if message == "StatusNotification" and not connector_id:
        mirror.told.pop(0, None)
        if connector_id == 0:
            mirror.after.append(_show_station(mirror))
            return "Accepted"
    answer: remote_control.TriggerMessageResponse = yield remote_control.TriggerMessageRequest(
        requested_message=_TRIGGERS.get(message, message),  # type: ignore[arg-type] # the others have the same name
        evse=EVSE(id=connector_id) if connector_id else None,
    )
    return answer.status


def _show_station(mirror: Mirror) -> Steps[Message]:
    yield from show(mirror, 0)
    return remote_control.TriggerMessageResponse(status="Accepted")


# -- authorization and reservations


@from_back_end
def clear_cache(mirror: Mirror, request: v16.ClearCacheReq) -> Steps[v16.ClearCacheConf]:
    """Clear the authorization cache."""
    answer: authorization.ClearCacheResponse = yield authorization.ClearCacheRequest()
    return v16.ClearCacheConf(status=answer.status)


@from_back_end
def list_version(mirror: Mirror, request: v16.GetLocalListVersionReq) -> Steps[v16.GetLocalListVersionConf]:
    """Ask for the version of the local list."""
    answer: authorization.GetLocalListVersionResponse = yield authorization.GetLocalListVersionRequest()
    return v16.GetLocalListVersionConf(list_version=answer.version_number)


@from_back_end
def send_list(mirror: Mirror, request: v16.SendLocalListReq) -> Steps[v16.SendLocalListConf]:
    """Replace or change the local list."""
    try:
        answer: authorization.SendLocalListResponse = yield authorization.SendLocalListRequest(
            version_number=request.list_version,
            update_type=request.update_type,
            local_authorization_list=tuple(
                authorization.AuthorizationData(
                    id_token=mirror.token(each.id_tag),
                    id_token_info=None if each.id_tag_info is None else mirror.token_info(each.id_tag_info),
                )
                for each in request.local_authorization_list
            ),
        )
    except OcppError:
        return v16.SendLocalListConf(status="Failed")
    return v16.SendLocalListConf(status=answer.status)


@from_back_end
def reserve(mirror: Mirror, request: v16.ReserveNowReq) -> Steps[v16.ReserveNowConf]:
    """Reserve a connector, or any."""
    group = request.parent_id_tag
    answer: ReserveNowResponse = yield ReserveNowRequest(
        id=request.reservation_id,
        expiry_date_time=request.expiry_date,
        id_token=mirror.token(request.id_tag),
        evse_id=request.connector_id or None,
        group_id_token=None if group is None else mirror.token(group),
    )
    return v16.ReserveNowConf(status=answer.status)


@from_back_end
def cancel(mirror: Mirror, request: v16.CancelReservationReq) -> Steps[v16.CancelReservationConf]:
    """Cancel a reservation."""
    answer: CancelReservationResponse = yield CancelReservationRequest(reservation_id=request.reservation_id)
    return v16.CancelReservationConf(status=answer.status)


# -- smart charging


def _profile(mirror: Mirror, profile: v16.ChargingProfile16, transaction_id: str | None) -> ChargingProfile:
    """Return a profile in 2.x. A schedule without a start begins with its transaction: without one, now."""
    schedule, kind = profile.charging_schedule, profile.charging_profile_kind
    begin = schedule.start_schedule
    if begin is None:
        begin = mirror.now
        if profile.charging_profile_purpose != "ChargePointMaxProfile" and kind == "Absolute":
            kind, begin = "Relative", None
    return ChargingProfile(
        id=profile.charging_profile_id,
        stack_level=profile.stack_level,
        charging_profile_purpose=_PURPOSES[profile.charging_profile_purpose],  # type: ignore[arg-type]
        charging_profile_kind=kind,
        recurrency_kind=profile.recurrency_kind,
        valid_from=profile.valid_from,
        valid_to=profile.valid_to,
        transaction_id=transaction_id,
        charging_schedule=(
            ChargingSchedule(
                id=profile.charging_profile_id,
                start_schedule=None if kind == "Relative" else begin,
                duration=schedule.duration,
                charging_rate_unit=schedule.charging_rate_unit,
                min_charging_rate=schedule.min_charging_rate,
                charging_schedule_period=tuple(
                    ChargingSchedulePeriod(
                        start_period=each.start_period, limit=each.limit, number_phases=each.number_phases
                    )
                    for each in schedule.charging_schedule_period
                ),
            ),
        ),
    )


@from_back_end
def set_profile(mirror: Mirror, request: v16.SetChargingProfileReq) -> Steps[v16.SetChargingProfileConf]:
    """Set a profile, in place of the one of the same purpose and level. A TxProfile is of the transaction that runs."""
    asked, connector = request.cs_charging_profiles, request.connector_id
    name: str | None = None
    if asked.charging_profile_purpose == "TxProfile":
        running = mirror.at(connector)
        name = None if running is None else running[0]
        if running is None or asked.transaction_id not in (None, running[1].number):
            return v16.SetChargingProfileConf(status="Rejected")
    profile = _profile(mirror, asked, name)
    set_it = smart_charging.SetChargingProfileRequest(evse_id=connector, charging_profile=profile)
    answer: smart_charging.SetChargingProfileResponse = yield set_it
    why = answer.status_info
    if answer.status == "Rejected" and why is not None and why.reason_code == "DuplicateProfile":
        yield smart_charging.ClearChargingProfileRequest(
            charging_profile_criteria=smart_charging.ClearChargingProfile(
                evse_id=connector,
                charging_profile_purpose=profile.charging_profile_purpose,
                stack_level=profile.stack_level,
            )
        )
        answer = yield set_it
    return v16.SetChargingProfileConf(status=answer.status)


@from_back_end
def clear_profile(mirror: Mirror, request: v16.ClearChargingProfileReq) -> Steps[v16.ClearChargingProfileConf]:
    """Clear profiles: one, or all that fit."""
    fits = smart_charging.ClearChargingProfile(
        evse_id=request.connector_id,
        charging_profile_purpose=(
            None if request.charging_profile_purpose is None else _PURPOSES[request.charging_profile_purpose]  # type: ignore[arg-type]
        ),
        stack_level=request.stack_level,
    )
    answer: smart_charging.ClearChargingProfileResponse = yield smart_charging.ClearChargingProfileRequest(
        charging_profile_id=request.id,
        charging_profile_criteria=None
        if request.id is not None or fits == smart_charging.ClearChargingProfile()
        else fits,
    )
    return v16.ClearChargingProfileConf(status=answer.status)


@from_back_end
def composite(mirror: Mirror, request: v16.GetCompositeScheduleReq) -> Steps[v16.GetCompositeScheduleConf]:
    """Ask what results from all profiles."""
    try:
        answer: smart_charging.GetCompositeScheduleResponse = yield smart_charging.GetCompositeScheduleRequest(
            evse_id=request.connector_id, duration=request.duration, charging_rate_unit=request.charging_rate_unit
        )
    except OcppError:
        return v16.GetCompositeScheduleConf(status="Rejected")
    schedule = answer.schedule
    if answer.status == "Rejected" or schedule is None:
        return v16.GetCompositeScheduleConf(status="Rejected")
    return v16.GetCompositeScheduleConf(
        status="Accepted",
        connector_id=request.connector_id,
        schedule_start=schedule.schedule_start,
        charging_schedule=v16.ChargingSchedule16(
            duration=schedule.duration,
            start_schedule=schedule.schedule_start,
            charging_rate_unit=schedule.charging_rate_unit,
            charging_schedule_period=tuple(
                v16.SchedulePeriod16(
                    start_period=each.start_period,
                    limit=round(max(0.0, each.limit or 0.0), 1),
                    number_phases=each.number_phases,
                )
                for each in schedule.charging_schedule_period
            ),
        ),
    )


# -- configuration


@from_back_end
def get_configuration(mirror: Mirror, request: v16.GetConfigurationReq) -> Steps[v16.GetConfigurationConf]:
    """Read keys, or all."""
    asked = request.key or configuration.KEYS
    values: Mapping[str, str | None] = yield from _read(mirror, tuple(filter(None, map(configuration.named, asked))))
    return v16.GetConfigurationConf(
        configuration_key=tuple(
            v16.ConfigurationKey(key=key, readonly=key in configuration.READ_ONLY, value=value)
            for key, value in values.items()
        ),
        unknown_key=tuple(each for each in request.key if configuration.named(each) not in values),
    )


def _read(mirror: Mirror, keys: Iterable[str]) -> Steps[Mapping[str, str | None]]:
    """Return the values of the keys that the station has; a secret has none."""
    found: dict[str, str | None] = {
        "NumberOfConnectors": str(mirror.connectors),
        "SupportedFeatureProfiles": configuration.FEATURES,
        "ConnectorPhaseRotation": "",
        **{key: str(mirror.most[key]) for key in configuration.MOST if key in mirror.most},
    }
    found = {key: found[key] for key in keys if key in found}
    wanted = [
        (key, provisioning.GetVariableData(component=component, variable=variable))
        for key in dict.fromkeys(keys)
        if key not in found
        for component, variable in (configuration.variable_of(key),)
    ]
    if "ConnectorPhaseRotation" in found:
        wanted += [
            (
                str(number),
                provisioning.GetVariableData(
                    component=Component(name="EVSE", evse=EVSE(id=number)), variable=Variable(name="PhaseRotation")
                ),
            )
            for number in range(1, mirror.connectors + 1)
        ]
    rotations: list[str] = []
    for begin in range(0, len(wanted), _AT_ONCE):
        part = wanted[begin : begin + _AT_ONCE]
        answer: provisioning.GetVariablesResponse = yield provisioning.GetVariablesRequest(
            get_variable_data=tuple(data for _, data in part)
        )
        for (key, _), result in zip(part, answer.get_variable_result, strict=False):
            if key.isdecimal():
                rotations.append(f"{key}.{result.attribute_value or 'Unknown'}")
            elif key.casefold() == configuration.WRITE_ONLY:
                found[key] = None
            elif result.attribute_status == "Accepted":
                found[key] = configuration.value_in_16(key, result.attribute_value or "")
    if rotations:
        found["ConnectorPhaseRotation"] = configuration.value_in_16("", ",".join(rotations))
    return found


@from_back_end
def change_configuration(mirror: Mirror, request: v16.ChangeConfigurationReq) -> Steps[v16.ChangeConfigurationConf]:
    """Write a key."""
    key = configuration.named(request.key)
    if key is None:
        return v16.ChangeConfigurationConf(status="NotSupported")
    if key in configuration.READ_ONLY:
        return v16.ChangeConfigurationConf(status="Rejected")
    if key == "SecurityProfile":
        return (yield from _secure(request.value))
    value = configuration.value_in_2x(key, request.value)
    value = value.lower() if value.lower() in ("true", "false") else value
    component, variable = configuration.variable_of(key)
    status = yield from _write(component, variable, value)
    return v16.ChangeConfigurationConf(status=status)


def _write(component: Component, variable: Variable, value: str) -> Steps[v16.ConfigurationStatus]:
    answer: provisioning.SetVariablesResponse = yield provisioning.SetVariablesRequest(
        set_variable_data=(provisioning.SetVariableData(component=component, variable=variable, attribute_value=value),)
    )
    return configuration.change_status(answer.set_variable_result[0].attribute_status)


def _secure(value: str) -> Steps[v16.ChangeConfigurationConf]:
    """Use a higher security profile after a restart, by a network profile before the present one, to which the station
    goes back while the new one fails (A05)."""
    using: NetworkInUse | None = yield NetworkNow()
    if using is None:
        return v16.ChangeConfigurationConf(status="Rejected")
    old = using.profile
    level = int(value) if value in ("0", "1", "2", "3") else None
    if level is None or level <= old.security_profile:
        return v16.ChangeConfigurationConf(status="Accepted" if level == old.security_profile else "Rejected")
    place = old.ocpp_csms_url.partition("://")[2]
    url = f"{'wss' if level >= 2 else 'ws'}://{place}"
    new = msgspec.structs.replace(old, security_profile=level, ocpp_csms_url=url)
    answer: SetNetworkProfileResponse = yield SetNetworkProfileRequest(
        configuration_slot=using.spare, connection_data=new
    )
    if answer.status != "Accepted":
        return v16.ChangeConfigurationConf(status="Rejected")
    status = yield from _write(
        Component(name="OCPPCommCtrlr"), Variable(name="NetworkConfigurationPriority"), f"{using.spare},{using.slot}"
    )
    return v16.ChangeConfigurationConf(status="RebootRequired" if status == "Accepted" else status)


# -- logs, firmware, certificates


@from_back_end
def get_diagnostics(mirror: Mirror, request: v16.GetDiagnosticsReq) -> Steps[v16.GetDiagnosticsConf]:
    """Have diagnostics uploaded; their progress is known by the number below 0."""
    answer: GetLogResponse = yield GetLogRequest(
        log=LogParameters(
            remote_location=request.location, oldest_timestamp=request.start_time, latest_timestamp=request.stop_time
        ),
        log_type="DiagnosticsLog",
        request_id=mirror.request_id(),
        retries=request.retries,
        retry_interval=request.retry_interval,
    )
    return v16.GetDiagnosticsConf(file_name=None if answer.status == "Rejected" else answer.filename)


@from_back_end
def get_log(mirror: Mirror, request: v16.GetLogReq) -> Steps[v16.GetLogConf]:
    """Have a log uploaded."""
    answer: GetLogResponse = yield GetLogRequest(
        log=LogParameters(
            remote_location=request.log.remote_location,
            oldest_timestamp=request.log.oldest_timestamp,
            latest_timestamp=request.log.latest_timestamp,
        ),
        log_type=request.log_type,
        request_id=request.request_id,
        retries=request.retries,
        retry_interval=request.retry_interval,
    )
    return v16.GetLogConf(status=answer.status, filename=answer.filename)


@from_back_end
def update(mirror: Mirror, request: v16.UpdateFirmwareReq) -> Steps[v16.UpdateFirmwareConf]:
    """Have firmware installed that is not signed. What the station answers can only be told by the progress."""
    number = mirror.request_id()
    answer: firmware.UpdateFirmwareResponse = yield firmware.UpdateFirmwareRequest(
        retries=request.retries,
        retry_interval=request.retry_interval,
        request_id=number,
        firmware=firmware.Firmware(location=request.location, retrieve_date_time=request.retrieve_date),
    )
    if answer.status not in ("Accepted", "AcceptedCanceled"):
        failed = firmware.FirmwareStatusNotificationRequest(status="DownloadFailed", request_id=number)
        mirror.after.append(report_update(mirror, failed))
    return v16.UpdateFirmwareConf()


@from_back_end
def update_signed(mirror: Mirror, request: v16.SignedUpdateFirmwareReq) -> Steps[v16.SignedUpdateFirmwareConf]:
    """Have signed firmware installed."""
    image = request.firmware
    answer: firmware.UpdateFirmwareResponse = yield firmware.UpdateFirmwareRequest(
        retries=request.retries,
        retry_interval=request.retry_interval,
        request_id=request.request_id,
        firmware=firmware.Firmware(
            location=image.location,
            retrieve_date_time=image.retrieve_date_time,
            install_date_time=image.install_date_time,
            signing_certificate=image.signing_certificate,
            signature=image.signature,
        ),
    )
    return v16.SignedUpdateFirmwareConf(status=answer.status)


@from_back_end
def certificate_signed(mirror: Mirror, request: v16.CertificateSignedReq) -> Steps[v16.CertificateSignedConf]:
    """Take a certificate of the station."""
    answer: CertificateSignedResponse = yield CertificateSignedRequest(
        certificate_chain=request.certificate_chain, certificate_type="ChargingStationCertificate"
    )
    return v16.CertificateSignedConf(status=answer.status)


@from_back_end
def install(mirror: Mirror, request: v16.InstallCertificateReq) -> Steps[v16.InstallCertificateConf]:
    """Install a root."""
    answer: certificates.InstallCertificateResponse = yield certificates.InstallCertificateRequest(
        certificate_type=_ROOTS[request.certificate_type],  # type: ignore[arg-type] # a key of ROOTS
        certificate=request.certificate,
    )
    return v16.InstallCertificateConf(status=answer.status)


@from_back_end
def installed(mirror: Mirror, request: v16.GetInstalledCertificateIdsReq) -> Steps[v16.GetInstalledCertificateIdsConf]:
    """Ask for roots."""
    answer: certificates.GetInstalledCertificateIdsResponse = yield certificates.GetInstalledCertificateIdsRequest(
        certificate_type=(_ROOTS[request.certificate_type],)  # type: ignore[arg-type] # a key of ROOTS
    )
    hashes = tuple(each.certificate_hash_data for each in answer.certificate_hash_data_chain)
    return v16.GetInstalledCertificateIdsConf(status="Accepted" if hashes else "NotFound", certificate_hash_data=hashes)


@from_back_end
def delete(mirror: Mirror, request: v16.DeleteCertificateReq) -> Steps[v16.DeleteCertificateConf]:
    """Delete a certificate."""
    answer: certificates.DeleteCertificateResponse = yield certificates.DeleteCertificateRequest(
        certificate_hash_data=request.certificate_hash_data
    )
    return v16.DeleteCertificateConf(status=answer.status)


# -- DataTransfer


@from_back_end
def transfer(mirror: Mirror, request: v16.DataTransferReq) -> Steps[v16.DataTransferConf]:
    """Take a vendor's message: those for Plug and Charge are messages of 2.0.1, those with prices are displayed."""
    vendor = request.vendor_id.casefold()
    if vendor == PLUG_AND_CHARGE:
        return (yield from pass_on(request, TO_STATION))
    if vendor == COSTS:
        return (yield from _price(mirror, request))
    answer: DataTransferResponse = yield DataTransferRequest(
        vendor_id=request.vendor_id, message_id=request.message_id, data=data_in(request.data, request.vendor_id)
    )
    return v16.DataTransferConf(status=answer.status, data=text_of(answer.data))


class _Price(msgspec.Struct, rename="camel"):
    """What is read of messages with prices; they have more."""

    transaction_id: int | None = None
    cost: float | None = None
    price_text: str | None = None


def _price(mirror: Mirror, request: v16.DataTransferReq) -> Steps[v16.DataTransferConf]:
    """Display what a transaction costs until now, or in all, or what a driver's price is."""
    if request.message_id not in ("SetUserPrice", "RunningCost", "FinalCost"):
        return v16.DataTransferConf(status="UnknownMessageId")
    try:
        said = typed_json.decode((request.data or "").encode(), _Price)
    except msgspec.MsgspecError:
        return v16.DataTransferConf(status="Rejected")
    name = None if said.transaction_id is None else mirror.named(said.transaction_id)
    if request.message_id == "RunningCost":
        if name is None or said.cost is None:
            return v16.DataTransferConf(status="Rejected")
        yield CostUpdatedRequest(total_cost=said.cost, transaction_id=name)
        return v16.DataTransferConf(status="Accepted")
    text = said.price_text or ("" if said.cost is None else f"{said.cost:.2f}")
    answer: SetDisplayMessageResponse = yield SetDisplayMessageRequest(
        message=MessageInfo(
            id=_OF_PRICE + (0 if name is None else mirror.transactions[name].connector_id),
            priority="InFront",
            end_date_time=format_time(mirror.now_ms + _SHOWN_MS),
            message=MessageContent(format="UTF8", content=text[:512]),
        )
    )
    return v16.DataTransferConf(status="Accepted" if answer.status == "Accepted" else "Rejected")
