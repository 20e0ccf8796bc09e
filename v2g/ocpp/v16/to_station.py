"""What a back end of 2.0.1 asks of a station of 1.6."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from v2g.errors import OcppError, TimeoutExpired
from v2g.ocpp.messages import authorization, provisioning, reservation
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.messages.certificates import (
    CertificateHashDataChain,
    DeleteCertificateRequest,
    DeleteCertificateResponse,
    GetCertificateIdUse,
    GetInstalledCertificateIdsRequest,
    GetInstalledCertificateIdsResponse,
    InstallCertificateRequest,
    InstallCertificateResponse,
)
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.diagnostics import GetLogRequest, GetLogResponse
from v2g.ocpp.messages.firmware import UpdateFirmwareRequest, UpdateFirmwareResponse
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionRequest,
    RequestStartTransactionResponse,
    RequestStopTransactionRequest,
    RequestStopTransactionResponse,
    TriggerMessageRequest,
    TriggerMessageResponse,
    UnlockConnectorRequest,
    UnlockConnectorResponse,
)
from v2g.ocpp.messages.security import CertificateSignedRequest, CertificateSignedResponse
from v2g.ocpp.messages.smart_charging import (
    ClearChargingProfile,
    ClearChargingProfileRequest,
    ClearChargingProfileResponse,
    CompositeSchedule,
    GetCompositeScheduleRequest,
    GetCompositeScheduleResponse,
    SetChargingProfileRequest,
    SetChargingProfileResponse,
)
from v2g.ocpp.times import format_time
from v2g.ocpp.v16 import messages as v16
from v2g.ocpp.v16.bridge import (
    LONGEST_ID_TAG,
    Bridge,
    Held,
    HeldProfiles,
    Remote,
    Steps,
    data_in,
    id_tag_info,
    number_in,
    text_of,
    to_station,
)
from v2g.ocpp.v16.configuration import KEYS, WRITE_ONLY, key_of, report, value_in_2x, value_in_16
from v2g.ocpp.v16.makes import never_above, profile_for
from v2g.ocpp.v16.plug_and_charge import exchange

PURPOSES: Final[Mapping[str, v16.Purpose16]] = {
    "ChargingStationMaxProfile": "ChargePointMaxProfile",
    "TxDefaultProfile": "TxDefaultProfile",
    "TxProfile": "TxProfile",
}
TRIGGERS: Final[Mapping[str, v16.Trigger16]] = {
    "BootNotification": "BootNotification",
    "FirmwareStatusNotification": "FirmwareStatusNotification",
    "Heartbeat": "Heartbeat",
    "MeterValues": "MeterValues",
    "StatusNotification": "StatusNotification",
    "TransactionEvent": "MeterValues",
}
EXTENDED: Final[Mapping[str, v16.ExtendedTrigger16]] = {
    "LogStatusNotification": "LogStatusNotification",
    "SignChargingStationCertificate": "SignChargePointCertificate",
}
ROOTS: Final[Mapping[str, v16.CertificateUse16]] = {
    "CSMSRootCertificate": "CentralSystemRootCertificate",
    "ManufacturerRootCertificate": "ManufacturerRootCertificate",
}
_OWN: Final[tuple[GetCertificateIdUse, ...]] = ("CSMSRootCertificate", "ManufacturerRootCertificate")
_MEASURANDS: Final = frozenset({
    "metervaluesaligneddata", "metervaluessampleddata", "stoptxnaligneddata", "stoptxnsampleddata",
})  # fmt: skip
_LONGEST_KEY: Final = 20
"""Octets of an AuthorizationKey."""
_PHASES: Final = (1, 2, 3)
_REPORTED: Final = 40
"""Variables in one NotifyReport: well below the longest frame."""


def _lacks(what: str) -> OcppError:
    return OcppError(f"OCPP 1.6, which this station speaks, has no {what}", answer="NotSupported")


def _because(reason: str) -> StatusInfo:
    return StatusInfo(reason_code="OCPP16", additional_info=reason)


# -- remote control


@to_station
def start(bridge: Bridge, request: RequestStartTransactionRequest) -> Steps[RequestStartTransactionResponse]:
    """Start a transaction: the next start by this idTag carries the number of this request."""
    profile = request.charging_profile
    asked = v16.RemoteStartTransactionReq(
        connector_id=request.evse_id,
        id_tag=bridge.id_tag(request.id_token),
        charging_profile=None if profile is None else profile_for(_profile(profile), bridge.quirks, bridge.now_ms)[0],
    )
    answer: v16.RemoteStartTransactionConf = yield asked
    if answer.status == "Accepted":
        bridge.remotes[asked.id_tag.casefold()] = Remote(request.id_token, request.remote_start_id, request.evse_id)
    return RequestStartTransactionResponse(status=answer.status)


@to_station
def stop(bridge: Bridge, request: RequestStopTransactionRequest) -> Steps[RequestStopTransactionResponse]:
    """Stop a transaction."""
    number = number_in(request.transaction_id)
    if number is None:
        return RequestStopTransactionResponse(status="Rejected", status_info=_because("no transaction of 1.6"))
    answer: v16.RemoteStopTransactionConf = yield v16.RemoteStopTransactionReq(transaction_id=number)
    return RequestStopTransactionResponse(status=answer.status)


@to_station
def reset(bridge: Bridge, request: provisioning.ResetRequest) -> Steps[provisioning.ResetResponse]:
    """Restart the station; 1.6 cannot restart one EVSE."""
    if request.evse_id:
        raise _lacks("reset of one EVSE")
    answer: v16.ResetConf = yield v16.ResetReq(type="Soft" if request.type == "OnIdle" else "Hard")
    return provisioning.ResetResponse(status=answer.status)


@to_station
def unlock(bridge: Bridge, request: UnlockConnectorRequest) -> Steps[UnlockConnectorResponse]:
    """Unlock a connector."""
    answer: v16.UnlockConnectorConf = yield v16.UnlockConnectorReq(connector_id=request.evse_id)
    if answer.status == "NotSupported":
        return UnlockConnectorResponse(status="UnlockFailed", status_info=_because("not supported by the station"))
    return UnlockConnectorResponse(status=answer.status)


@to_station
def change_availability(bridge: Bridge, request: ChangeAvailabilityRequest) -> Steps[ChangeAvailabilityResponse]:
    """Take a connector, or all, in or out of service."""
    answer: v16.ChangeAvailabilityConf = yield v16.ChangeAvailabilityReq(
        connector_id=0 if request.evse is None else request.evse.id, type=request.operational_status
    )
    return ChangeAvailabilityResponse(status=answer.status)


@to_station
def trigger(bridge: Bridge, request: TriggerMessageRequest) -> Steps[TriggerMessageResponse]:
    """Trigger a message; values of a transaction are MeterValues in 1.6."""
    connector = request.evse.id if request.evse is not None and request.evse.id else None
    asked: Message
    if (plain := TRIGGERS.get(request.requested_message)) is not None:
        asked = v16.TriggerMessageReq(requested_message=plain, connector_id=connector)
    elif (extended := EXTENDED.get(request.requested_message)) is not None:
        asked = v16.ExtendedTriggerMessageReq(requested_message=extended, connector_id=connector)
    elif request.requested_message == "SignV2GCertificate":
        try:
            return (yield from exchange(request, TriggerMessageResponse, "station"))
        except OcppError:
            return TriggerMessageResponse(status="NotImplemented")
    else:
        return TriggerMessageResponse(status="NotImplemented")
    answer: v16.TriggerMessageConf | v16.ExtendedTriggerMessageConf = yield asked
    return TriggerMessageResponse(status=answer.status)


@to_station
def transfer_to(bridge: Bridge, request: DataTransferRequest) -> Steps[DataTransferResponse]:
    """Pass on a vendor's message, its data as text."""
    answer: v16.DataTransferConf = yield v16.DataTransferReq(
        vendor_id=request.vendor_id, message_id=request.message_id, data=text_of(request.data)
    )
    return DataTransferResponse(status=answer.status, data=data_in(answer.data, request.vendor_id))


# -- authorization and reservations


@to_station
def clear_cache(bridge: Bridge, request: authorization.ClearCacheRequest) -> Steps[authorization.ClearCacheResponse]:
    """Clear the authorization cache."""
    answer: v16.ClearCacheConf = yield v16.ClearCacheReq()
    return authorization.ClearCacheResponse(status=answer.status)


@to_station
def list_version(
    bridge: Bridge, request: authorization.GetLocalListVersionRequest
) -> Steps[authorization.GetLocalListVersionResponse]:
    """Ask for the version of the local list; none is 0 in 2.x."""
    answer: v16.GetLocalListVersionConf = yield v16.GetLocalListVersionReq()
    return authorization.GetLocalListVersionResponse(version_number=max(0, answer.list_version))


@to_station
def send_list(
    bridge: Bridge, request: authorization.SendLocalListRequest
) -> Steps[authorization.SendLocalListResponse]:
    """Replace or change the local list, but for tokens that are too long for an idTag: no station can read one."""

    def info(found: authorization.IdTokenInfo | None) -> v16.IdTagInfo | None:
        return None if found is None else id_tag_info(found)

    answer: v16.SendLocalListConf = yield v16.SendLocalListReq(
        list_version=request.version_number,
        update_type=request.update_type,
        local_authorization_list=tuple(
            v16.LocalListEntry(id_tag=bridge.id_tag(each.id_token), id_tag_info=info(each.id_token_info))
            for each in request.local_authorization_list
            if len(each.id_token.id_token) <= LONGEST_ID_TAG
        ),
    )
    if answer.status == "NotSupported":
        return authorization.SendLocalListResponse(
            status="Failed", status_info=_because("not supported by the station")
        )
    return authorization.SendLocalListResponse(status=answer.status)


@to_station
def reserve(bridge: Bridge, request: reservation.ReserveNowRequest) -> Steps[reservation.ReserveNowResponse]:
    """Reserve a connector, or any."""
    group = request.group_id_token
    answer: v16.ReserveNowConf = yield v16.ReserveNowReq(
        connector_id=request.evse_id or 0,
        expiry_date=request.expiry_date_time,
        id_tag=bridge.id_tag(request.id_token),
        parent_id_tag=None if group is None else bridge.id_tag(group),
        reservation_id=request.id,
    )
    return reservation.ReserveNowResponse(status=answer.status)


@to_station
def cancel(
    bridge: Bridge, request: reservation.CancelReservationRequest
) -> Steps[reservation.CancelReservationResponse]:
    """Cancel a reservation."""
    answer: v16.CancelReservationConf = yield v16.CancelReservationReq(reservation_id=request.reservation_id)
    return reservation.CancelReservationResponse(status=answer.status)


# -- smart charging


def _profile(profile: ChargingProfile) -> v16.ChargingProfile16:
    """Return a profile in 1.6: charging only, one schedule. Raises OcppError for one that asks for more."""
    schedule, *others = profile.charging_schedule
    purpose = PURPOSES.get(profile.charging_profile_purpose)
    if purpose is None or profile.charging_profile_kind == "Dynamic" or others:
        raise _lacks(
            f"{profile.charging_profile_purpose}, {profile.charging_profile_kind}, of {1 + len(others)} schedules"
        )
    return v16.ChargingProfile16(
        charging_profile_id=profile.id,
        transaction_id=None if profile.transaction_id is None else number_in(profile.transaction_id),
        stack_level=profile.stack_level,
        charging_profile_purpose=purpose,
        charging_profile_kind=profile.charging_profile_kind,
        recurrency_kind=profile.recurrency_kind,
        valid_from=profile.valid_from,
        valid_to=profile.valid_to,
        charging_schedule=v16.ChargingSchedule16(
            duration=schedule.duration,
            start_schedule=schedule.start_schedule,
            charging_rate_unit=schedule.charging_rate_unit,
            charging_schedule_period=tuple(_period(each) for each in schedule.charging_schedule_period),
            min_charging_rate=None if schedule.min_charging_rate is None else _tenths(schedule.min_charging_rate),
        ),
    )


def _period(period: ChargingSchedulePeriod) -> v16.SchedulePeriod16:
    if period.limit is None or period.limit < 0 or period.discharge_limit or period.setpoint is not None:
        raise _lacks("discharge, and no set-point")
    return v16.SchedulePeriod16(
        start_period=period.start_period, limit=_tenths(period.limit), number_phases=period.number_phases
    )


def _tenths(value: float) -> float:
    """Return a limit with one digit after the point, never a higher one."""
    return math.floor(round(value * 10, 6)) / 10


@to_station
def set_profile(bridge: Bridge, request: SetChargingProfileRequest) -> Steps[SetChargingProfileResponse]:
    """Set a profile."""
    held: tuple[Held, ...] = (yield HeldProfiles()) if "stack_level_0" in bridge.quirks.profiles else ()
    return (yield from _set(bridge, Held(request.evse_id, request.charging_profile), held))


def _set(bridge: Bridge, asked: Held, held: tuple[Held, ...]) -> Steps[SetChargingProfileResponse]:
    """Set a profile at a station that keeps one of those `held` in each place: the lowest limit of them stays."""
    profile, said = profile_for(_profile(asked.profile), bridge.quirks, bridge.now_ms)
    for each in held:
        if each.profile.id != asked.profile.id and _place(each) == _place(asked):
            other, _ = profile_for(_profile(each.profile), bridge.quirks, bridge.now_ms)
            lower = never_above(profile, other, each.profile.stack_level, bridge.now_ms)
            said += () if lower == profile else (f"no higher than profile {each.profile.id}",)
            profile = lower
    answer: v16.SetChargingProfileConf = yield v16.SetChargingProfileReq(
        connector_id=asked.evse_id, cs_charging_profiles=profile
    )
    if answer.status == "NotSupported":
        return SetChargingProfileResponse(status="Rejected", status_info=_because("not supported by the station"))
    if answer.status == "Rejected" and any(
        not each.limit for each in profile.charging_schedule.charging_schedule_period
    ):
        said += ("it may take no limit of 0: stop the transaction",)
    info = _because("; ".join(said)[:500]) if said else None
    return SetChargingProfileResponse(status=answer.status, status_info=info)


def _place(held: Held) -> tuple[int, str, str | None]:
    return held.evse_id, held.profile.charging_profile_purpose, held.profile.transaction_id


def is_cleared(request: ClearChargingProfileRequest, held: Held) -> bool:
    """Return whether a request clears a profile (K10)."""
    found, fits = held.profile, request.charging_profile_criteria or ClearChargingProfile()
    wanted = request.charging_profile_id, fits.evse_id, fits.charging_profile_purpose, fits.stack_level
    has = found.id, held.evse_id, found.charging_profile_purpose, found.stack_level
    return all(one in (None, other) for one, other in zip(wanted, has, strict=True))


@to_station
def clear_profile(bridge: Bridge, request: ClearChargingProfileRequest) -> Steps[ClearChargingProfileResponse]:
    """Clear profiles; of a make that keeps one in each place another one comes back there."""
    held: tuple[Held, ...] = (yield HeldProfiles()) if "stack_level_0" in bridge.quirks.profiles else ()
    gone = tuple(each for each in held if is_cleared(request, each))
    left = tuple(each for each in held if each not in gone)
    for each in left:
        if _place(each) in map(_place, gone):
            yield from _set(bridge, each, left)
    for each in gone:
        yield v16.ClearChargingProfileReq(id=each.profile.id)
    if gone:
        return ClearChargingProfileResponse(status="Accepted")
    fits = request.charging_profile_criteria
    purpose = None if fits is None or fits.charging_profile_purpose is None else fits.charging_profile_purpose
    if purpose is not None and purpose not in PURPOSES:
        return ClearChargingProfileResponse(status="Unknown")
    answer: v16.ClearChargingProfileConf = yield v16.ClearChargingProfileReq(
        id=request.charging_profile_id,
        connector_id=None if fits is None else fits.evse_id,
        charging_profile_purpose=None if purpose is None else PURPOSES[purpose],
        stack_level=None if fits is None else fits.stack_level,
    )
    return ClearChargingProfileResponse(status=answer.status)


@to_station
def composite(bridge: Bridge, request: GetCompositeScheduleRequest) -> Steps[GetCompositeScheduleResponse]:
    """Ask what results from all profiles."""
    answer: v16.GetCompositeScheduleConf = yield v16.GetCompositeScheduleReq(
        connector_id=request.evse_id, duration=request.duration, charging_rate_unit=request.charging_rate_unit
    )
    schedule = answer.charging_schedule
    if answer.status == "Rejected" or schedule is None or not schedule.charging_schedule_period:
        return GetCompositeScheduleResponse(status="Rejected")
    return GetCompositeScheduleResponse(
        status="Accepted",
        schedule=CompositeSchedule(
            evse_id=request.evse_id,
            duration=schedule.duration or request.duration,
            schedule_start=schedule.start_schedule or answer.schedule_start or format_time(bridge.now_ms),
            charging_rate_unit=schedule.charging_rate_unit,
            charging_schedule_period=tuple(
                ChargingSchedulePeriod(
                    start_period=each.start_period,
                    limit=each.limit,
                    number_phases=each.number_phases if each.number_phases in _PHASES else None,
                )
                for each in schedule.charging_schedule_period
            ),
        ),
    )


# -- variables


@to_station
def get_variables(
    bridge: Bridge, request: provisioning.GetVariablesRequest
) -> Steps[provisioning.GetVariablesResponse]:
    """Read variables as keys, one by one: some stations answer no more than that."""
    results: list[provisioning.GetVariableResult] = []
    for each in request.get_variable_data:
        results += [(yield from _read(bridge, each))]
    return provisioning.GetVariablesResponse(get_variable_result=tuple(results))


def _is_read(bridge: Bridge, key: str) -> bool:
    return key.casefold() not in {each.casefold() for each in bridge.quirks.never_read}


def _read(bridge: Bridge, wanted: provisioning.GetVariableData) -> Steps[provisioning.GetVariableResult]:
    key = key_of(wanted.component, wanted.variable)
    result = provisioning.GetVariableResult(
        attribute_status="UnknownVariable", component=wanted.component, variable=wanted.variable
    )
    if wanted.attribute_type not in (None, "Actual"):
        return msgspec.structs.replace(
            result, attribute_type=wanted.attribute_type, attribute_status="NotSupportedAttributeType"
        )
    if key is None:
        return result
    if not _is_read(bridge, key):
        info = _because(f"{key} is never read from this make")
        return msgspec.structs.replace(result, attribute_status="Rejected", attribute_status_info=info)
    answer: v16.GetConfigurationConf = yield v16.GetConfigurationReq(key=(key,))
    found = next((each for each in answer.configuration_key if each.key.casefold() == key.casefold()), None)
    if found is None:
        return result
    if found.value is None:
        return msgspec.structs.replace(result, attribute_status="Rejected")
    return msgspec.structs.replace(result, attribute_status="Accepted", attribute_value=value_in_2x(key, found.value))


@to_station
def set_variables(
    bridge: Bridge, request: provisioning.SetVariablesRequest
) -> Steps[provisioning.SetVariablesResponse]:
    """Write variables as keys."""
    results: list[provisioning.SetVariableResult] = []
    for each in request.set_variable_data:
        results += [(yield from _write(each))]
    return provisioning.SetVariablesResponse(set_variable_result=tuple(results))


def _write(wanted: provisioning.SetVariableData) -> Steps[provisioning.SetVariableResult]:
    key = key_of(wanted.component, wanted.variable)
    result = provisioning.SetVariableResult(
        attribute_status="UnknownVariable", component=wanted.component, variable=wanted.variable
    )
    if wanted.attribute_type not in (None, "Actual"):
        return msgspec.structs.replace(
            result, attribute_type=wanted.attribute_type, attribute_status="NotSupportedAttributeType"
        )
    if key is None:
        return result
    value = value_in_16(key, wanted.attribute_value)
    answer: v16.ChangeConfigurationConf = yield v16.ChangeConfigurationReq(key=key, value=value)
    if answer.status == "Rejected" and key.casefold() == WRITE_ONLY and len(value) <= _LONGEST_KEY:
        # before edition 3 of the whitepaper a password is hexadecimal digits; the header then carries what was set here
        answer = yield v16.ChangeConfigurationReq(key=key, value=value.encode().hex())
    words = tuple(dict.fromkeys(each.strip() for each in value.split(",")))
    left: list[str] = []
    if answer.status == "Rejected" and len(words) > 1 and key.casefold() in _MEASURANDS:
        taken = yield from _taken(key, words)
        left = [each for each in words if each not in taken]
        if taken:
            answer = yield v16.ChangeConfigurationReq(key=key, value=",".join(taken))
    status = "UnknownVariable" if answer.status == "NotSupported" else answer.status
    info = _because(f"refused: {', '.join(left)}"[:500]) if left else None
    return msgspec.structs.replace(result, attribute_status=status, attribute_status_info=info)


def _taken(key: str, words: tuple[str, ...]) -> Steps[tuple[str, ...]]:
    """Find out, by halves, which measurands a station takes that refuses a list for one that it does not know."""
    found: tuple[str, ...] = ()
    for part in (words[: len(words) // 2], words[len(words) // 2 :]):
        answer: v16.ChangeConfigurationConf = yield v16.ChangeConfigurationReq(key=key, value=",".join(part))
        if answer.status in ("Accepted", "RebootRequired"):
            found += part
        elif len(part) > 1:
            found += yield from _taken(key, part)
    return found


@to_station
def base_report(
    bridge: Bridge, request: provisioning.GetBaseReportRequest
) -> Steps[provisioning.GetBaseReportResponse]:
    """Read all keys; the report follows as NotifyReport, to the back end."""
    if request.report_base == "SummaryInventory":
        return provisioning.GetBaseReportResponse(status="NotSupported")
    keys: tuple[v16.ConfigurationKey, ...] = ()
    if not bridge.quirks.never_read:
        with contextlib.suppress(OcppError, TimeoutExpired):
            answer: v16.GetConfigurationConf = yield v16.GetConfigurationReq()
            keys = answer.configuration_key
    if not keys:  # some stations answer for one key at a time, or not at all for all keys
        for key in filter(partial(_is_read, bridge), KEYS):
            with contextlib.suppress(OcppError):
                one: v16.GetConfigurationConf = yield v16.GetConfigurationReq(key=(key,))
                keys += one.configuration_key
    data = tuple(report(keys))
    if not data:
        return provisioning.GetBaseReportResponse(status="EmptyResultSet")
    parts: Sequence[int] = range(0, len(data), _REPORTED)
    for number, begin in enumerate(parts):
        bridge.reports.append(
            provisioning.NotifyReportRequest(
                request_id=request.request_id,
                generated_at=format_time(bridge.now_ms),
                report_data=data[begin : begin + _REPORTED],
                tbc=number + 1 < len(parts),
                seq_no=number,
            )
        )
    return provisioning.GetBaseReportResponse(status="Accepted")


# -- logs, firmware, certificates


@to_station
def get_log(bridge: Bridge, request: GetLogRequest) -> Steps[GetLogResponse]:
    """Have a log uploaded, as diagnostics where the station lacks the security whitepaper."""
    log = request.log
    if request.log_type == "DataCollectorLog":
        raise _lacks("DataCollectorLog")
    bridge.log_request = request.request_id
    asked = v16.GetLogReq(
        log=v16.LogParameters16(
            remote_location=log.remote_location,
            oldest_timestamp=log.oldest_timestamp,
            latest_timestamp=log.latest_timestamp,
        ),
        log_type=request.log_type,
        request_id=request.request_id,
        retries=request.retries,
        retry_interval=request.retry_interval,
    )
    try:
        answer: v16.GetLogConf = yield asked
        return GetLogResponse(status=answer.status, filename=answer.filename)
    except OcppError as error:
        if not error.not_there:
            raise
    if request.log_type == "SecurityLog":
        raise _lacks("security log without the security whitepaper")
    older: v16.GetDiagnosticsConf = yield v16.GetDiagnosticsReq(
        location=log.remote_location,
        retries=request.retries,
        retry_interval=request.retry_interval,
        start_time=log.oldest_timestamp,
        stop_time=log.latest_timestamp,
    )
    return GetLogResponse(status="Accepted" if older.file_name else "Rejected", filename=older.file_name)


@to_station
def update_firmware(bridge: Bridge, request: UpdateFirmwareRequest) -> Steps[UpdateFirmwareResponse]:
    """Have firmware installed: a signed image is never sent as one without a signature."""
    image = request.firmware
    if image.signature is not None and image.signing_certificate is not None:
        answer: v16.SignedUpdateFirmwareConf = yield v16.SignedUpdateFirmwareReq(
            retries=request.retries,
            retry_interval=request.retry_interval,
            request_id=request.request_id,
            firmware=v16.Firmware16(
                location=image.location,
                retrieve_date_time=image.retrieve_date_time,
                install_date_time=image.install_date_time,
                signing_certificate=image.signing_certificate,
                signature=image.signature,
            ),
        )
        return UpdateFirmwareResponse(status=answer.status)
    bridge.firmware_request = request.request_id
    yield v16.UpdateFirmwareReq(
        location=image.location,
        retries=request.retries,
        retrieve_date=image.retrieve_date_time,
        retry_interval=request.retry_interval,
    )
    return UpdateFirmwareResponse(status="Accepted")


@to_station
def certificate_signed(bridge: Bridge, request: CertificateSignedRequest) -> Steps[CertificateSignedResponse]:
    """Deliver a certificate of the station; one of ISO 15118 travels in a DataTransfer."""
    if request.certificate_type in (None, "ChargingStationCertificate"):
        answer: v16.CertificateSignedConf = yield v16.CertificateSignedReq(certificate_chain=request.certificate_chain)
        return CertificateSignedResponse(status=answer.status)
    return (yield from exchange(request, CertificateSignedResponse, "station"))


@to_station
def install(bridge: Bridge, request: InstallCertificateRequest) -> Steps[InstallCertificateResponse]:
    """Install a root; those of ISO 15118 travel in a DataTransfer."""
    if (use := ROOTS.get(request.certificate_type)) is not None:
        answer: v16.InstallCertificateConf = yield v16.InstallCertificateReq(
            certificate_type=use, certificate=request.certificate
        )
        return InstallCertificateResponse(status=answer.status)
    return (yield from exchange(request, InstallCertificateResponse, "station"))


@to_station
def delete(bridge: Bridge, request: DeleteCertificateRequest) -> Steps[DeleteCertificateResponse]:
    """Delete a certificate; one that the station's own store does not have may be of ISO 15118."""
    answer: v16.DeleteCertificateConf | None = None
    try:
        answer = yield v16.DeleteCertificateReq(certificate_hash_data=request.certificate_hash_data)
    except OcppError as error:
        if not error.not_there:
            raise
    if answer is None or answer.status == "NotFound":
        try:
            return (yield from exchange(request, DeleteCertificateResponse, "station"))
        except OcppError:
            if answer is None:
                raise
    return DeleteCertificateResponse(status=answer.status)


@to_station
def installed(bridge: Bridge, request: GetInstalledCertificateIdsRequest) -> Steps[GetInstalledCertificateIdsResponse]:
    """Ask for certificates, type by type: those of ISO 15118 in a DataTransfer, for all types where it has them."""
    wanted: Sequence[GetCertificateIdUse] = request.certificate_type or _OWN
    found: list[CertificateHashDataChain] = []
    for use in wanted:
        if use in ROOTS:
            answer: v16.GetInstalledCertificateIdsConf = yield v16.GetInstalledCertificateIdsReq(
                certificate_type=ROOTS[use]
            )
            hashes = answer.certificate_hash_data
            found += [CertificateHashDataChain(certificate_hash_data=one, certificate_type=use) for one in hashes]
    others = tuple(each for each in wanted if each not in ROOTS)
    if others or not request.certificate_type:
        asked = GetInstalledCertificateIdsRequest(certificate_type=others)
        try:
            rest = yield from exchange(asked, GetInstalledCertificateIdsResponse, "station")
            found += [each for each in rest.certificate_hash_data_chain if each.certificate_type not in ROOTS]
        except OcppError:
            if others:
                raise
    return GetInstalledCertificateIdsResponse(
        status="Accepted" if found else "NotFound", certificate_hash_data_chain=tuple(found)
    )
