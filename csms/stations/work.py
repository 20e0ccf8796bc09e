"""What the back end records of a station, changed by what the station accepts: for every request, however it was made.

`csms.requests.work.call` adopts each answer. Requests that get a number here (remote starts, reservations,
orders, reports) are stored before they are sent, by their own services.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.device_model import store as device_model
from csms.device_model.rules import read_values, without_secrets, written_values
from csms.diagnostics import store as diagnostics
from csms.dispatch import der_controls as der
from csms.display import store as display
from csms.remote_control import store as commands
from csms.requests import store as requests
from csms.services import Services
from csms.smart_charging import store as charging
from csms.smart_charging.rules import StationAbilities
from csms.tokens import store as tokens
from csms.tokens.rules import apply, read_entries, write_entries
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.authorization import SendLocalListRequest, SendLocalListResponse
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.der_control import (
    ClearDERControlRequest,
    ClearDERControlResponse,
    SetDERControlRequest,
    SetDERControlResponse,
)
from v2g.ocpp.messages.display import (
    ClearDisplayMessageRequest,
    ClearDisplayMessageResponse,
    SetDisplayMessageRequest,
    SetDisplayMessageResponse,
)
from v2g.ocpp.messages.monitoring import (
    AdjustPeriodicEventStreamRequest,
    AdjustPeriodicEventStreamResponse,
    ClearVariableMonitoringRequest,
    ClearVariableMonitoringResponse,
    SetMonitoringBaseRequest,
    SetMonitoringBaseResponse,
    SetVariableMonitoringRequest,
    SetVariableMonitoringResponse,
)
from v2g.ocpp.messages.provisioning import (
    GetVariablesRequest,
    GetVariablesResponse,
    SetNetworkProfileRequest,
    SetNetworkProfileResponse,
    SetVariablesRequest,
    SetVariablesResponse,
)
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest, RequestStartTransactionResponse
from v2g.typed_json import Fields

GONE: Final = "charging_profiles_gone"
"""The event that reports that a station has lost or cleared profiles."""

_EVERYTHING: Final = (ocpp.ChargingProfileCriterion(), ocpp.ChargingProfileCriterion(charging_limit_source=("CSO",)))
"""Criteria of reports that include every profile of this back end."""


_RECORDED: Final = frozenset({
    AdjustPeriodicEventStreamRequest, ocpp.ClearChargingProfileRequest, ClearDERControlRequest,
    ClearDisplayMessageRequest, ClearVariableMonitoringRequest, GetVariablesRequest, RequestStartTransactionRequest,
    SendLocalListRequest, ocpp.SetChargingProfileRequest, SetDERControlRequest, SetDisplayMessageRequest,
    SetMonitoringBaseRequest, SetNetworkProfileRequest, SetVariableMonitoringRequest, SetVariablesRequest,
    ocpp.UpdateDynamicScheduleRequest,
})  # fmt: skip


async def doubt(services: Services, station_id: str, request: Message) -> Sequence[int]:
    """Note that a station may have accepted more power than it is known to, before it is asked: this node may not live
    to see its answer. Return the notes, for `adopt` or `end_doubt`; less power does not wait for them."""
    read, now_ms = services.store.read, services.clock.utc_ms()
    match request:
        case ocpp.SetChargingProfileRequest(evse_id=evse_id, charging_profile=profile):
            doubts = await read(charging.raised, station_id, evse_id, profile, now_ms)
        case RequestStartTransactionRequest(evse_id=evse, charging_profile=ChargingProfile() as profile):
            doubts = await read(charging.raised, station_id, evse or 0, profile, now_ms)
        case ocpp.UpdateDynamicScheduleRequest(charging_profile_id=number, schedule_update=values):
            doubts = await read(charging.raised_by_update, station_id, number, values, now_ms)
        case ocpp.ClearChargingProfileRequest():
            doubts = await read(charging.raised_by_clearing, station_id, _given(request), now_ms)
        case _:
            return ()
    return await services.store.run(charging.note_doubts, station_id, doubts, now_ms) if doubts else ()


async def end_doubt(services: Services, request: Message, notes: Sequence[int]) -> None:
    """Delete the notes: a station has not accepted the request. But it may have pulled values of a dynamic profile."""
    if notes and not isinstance(request, ocpp.UpdateDynamicScheduleRequest):
        await services.store.run(charging.end_doubts, notes)


async def adopt(
    services: Services, station_id: str, request: Message, answer: Message, notes: Sequence[int] = ()
) -> None:
    """Record what a station has accepted, or what it no longer has. `notes`: those of `doubt`."""
    match request, answer:
        case ocpp.GetChargingProfilesRequest(request_id=number), ocpp.GetChargingProfilesResponse(status="NoProfiles"):
            await drop_unreported_profiles(services, station_id, number)
    if type(request) not in _RECORDED:
        return
    whole = services[StationAbilities].is_whole(station_id)
    now_ms = services.clock.utc_ms()
    gone = await services.store.run(_record, station_id, request, answer, now_ms, notes, whole=whole)
    if gone:
        services.report("ocpp", GONE, station_id, {"profiles": gone})


def _record(
    connection: Connection, station_id: str, request: Message, answer: Message, now_ms: int, notes: Sequence[int],
    *, whole: bool,
) -> int:  # fmt: skip
    """Store the change; return how many charging profiles the station no longer has.

    `whole`: all profiles of the station are known.
    """
    charging.end_doubts(connection, notes)
    match request, answer:
        case SetVariablesRequest(set_variable_data=data), SetVariablesResponse(set_variable_result=results):
            device_model.save(connection, station_id, list(written_values(data, results, now_ms)))
        case GetVariablesRequest(), GetVariablesResponse(get_variable_result=read):
            device_model.save(connection, station_id, list(read_values(read, now_ms)))
        case SetNetworkProfileRequest() as wanted, SetNetworkProfileResponse(status="Accepted" as status):
            document = msgspec.json.encode(without_secrets(msgspec.to_builtins(wanted.connection_data)))
            device_model.save_profile(connection, station_id, wanted.configuration_slot, status, document, now_ms)
        case SendLocalListRequest() as wanted, SendLocalListResponse(status=status):
            stored = tokens.find_local_list(connection, station_id)
            held, version = (read_entries(stored["entries"]), stored["version"]) if stored else ({}, 0)
            if status == "Accepted":
                held, version = apply(held, wanted), wanted.version_number
            values = {"version": version, "status": status, "updated_ms": now_ms, "entries": write_entries(held)}
            tokens.save_local_list(connection, station_id, **values)
        case ocpp.SetChargingProfileRequest(evse_id=evse_id, charging_profile=profile), ocpp.SetChargingProfileResponse(
            status="Accepted"
        ):
            charging.save_profile(connection, station_id, evse_id, profile, charging.CSO, now_ms, whole=whole)
        case ocpp.UpdateDynamicScheduleRequest(charging_profile_id=number, schedule_update=values), (
            ocpp.UpdateDynamicScheduleResponse(status=status)
        ):
            taken = values if status == "Accepted" else None
            charging.update_profile(connection, station_id, number, taken, now_ms, whole=whole)
        case RequestStartTransactionRequest(charging_profile=ChargingProfile() as profile) as wanted, (
            RequestStartTransactionResponse(status="Accepted", transaction_id=running)
        ):
            number = wanted.remote_start_id
            charging.save_profile(connection, station_id, wanted.evse_id or 0, profile, charging.CSO, now_ms, number)
            start = commands.find_start(connection, number)  # its first event may have come before the answer
            running = running or (None if start is None else start["transaction_id"])
            if running is not None and (found := transactions.get(connection, station_id, running)) is not None:
                evse_id = found.evse_id or wanted.evse_id or 0
                charging.bind_profile(connection, station_id, number, evse_id, found.transaction_id)
        case ocpp.ClearChargingProfileRequest() as wanted, ocpp.ClearChargingProfileResponse(status=status):
            # One profile, named by its id, goes also when its station does not know it
            if wanted.charging_profile_id is None and status != "Accepted":
                return 0
            return charging.clear_profiles(connection, station_id, now_ms, **_given(wanted))
        case SetDERControlRequest() as control, SetDERControlResponse(status="Accepted", superseded_ids=others):
            itself = control.control_id in others  # R04.FR.08
            der.save_control(connection, station_id, control, now_ms, superseded=itself)
            der.supersede(connection, station_id, others, now_ms)
        case ClearDERControlRequest() as which, ClearDERControlResponse(status="Accepted" | "NotFound"):
            der.clear_controls(
                connection, station_id, is_default=which.is_default, control_type=which.control_type,
                control_id=which.control_id,
            )  # fmt: skip
        case SetDisplayMessageRequest(message=info), SetDisplayMessageResponse(status=status):
            known = any(each["message_id"] == info.id for each in display.list_messages(connection, station_id))
            if status == "Accepted" or not known:  # a rejected number is not used again
                display.save_message(connection, station_id, info, status, now_ms)
        case ClearDisplayMessageRequest(id=number), ClearDisplayMessageResponse(
            status="Accepted" | "Unknown" as status
        ):
            state = "Cleared" if status == "Accepted" else "Gone"
            display.end_message(connection, station_id, number, state, now_ms)
        case SetVariableMonitoringRequest() as wanted, SetVariableMonitoringResponse(set_monitoring_result=set_):
            for result in set_:
                same = (result.component, result.variable, result.type, result.severity)
                for each in wanted.set_monitoring_data:
                    if result.id is not None and same == (each.component, each.variable, each.type, each.severity):
                        if result.status == "Accepted":
                            diagnostics.save_monitor(connection, station_id, result.id, each, now_ms)
                        break
        case ClearVariableMonitoringRequest(), ClearVariableMonitoringResponse(clear_monitoring_result=cleared):
            gone = [each.id for each in cleared if each.status in ("Accepted", "NotFound")]
            diagnostics.drop_monitors(connection, station_id, gone)
        case SetMonitoringBaseRequest(monitoring_base=base), SetMonitoringBaseResponse(status="Accepted"):
            if base != "All":  # N03.FR.04, .05: FactoryDefault and HardWiredOnly remove those of the CSMS
                diagnostics.drop_custom_monitors(connection, station_id)
        case AdjustPeriodicEventStreamRequest() as wanted, AdjustPeriodicEventStreamResponse(status="Accepted"):
            rate = wanted.params
            diagnostics.adjust_stream(connection, station_id, wanted.id, rate.interval, rate.values)
    return 0


def _given(request: ocpp.ClearChargingProfileRequest) -> Fields:
    """Return what profiles have in their columns that a request clears (K10.FR.03, FR.04)."""
    if request.charging_profile_id is not None:
        return {"profile_id": request.charging_profile_id}
    which = request.charging_profile_criteria or ocpp.ClearChargingProfile()
    found = {"evse_id": which.evse_id, "purpose": which.charging_profile_purpose, "stack_level": which.stack_level}
    return {name: value for name, value in found.items() if value is not None}


async def drop_unreported_profiles(services: Services, station_id: str, request_id: int) -> None:
    """After the last part of a profile report (K09): profiles missing from a complete one are deleted."""
    gone = await services.store.run(_drop_unreported, station_id, request_id, services.clock.utc_ms())
    if gone:
        services.report("ocpp", GONE, station_id, {"profiles": len(gone)})


def _drop_unreported(connection: Connection, station_id: str, request_id: int, now_ms: int) -> list[int]:
    asked = requests.find(connection, request_id)
    if asked is None or (asked["station_id"], asked["action"]) != (station_id, "GetChargingProfiles"):
        return []
    wanted = typed_json.decode(asked["document"], ocpp.GetChargingProfilesRequest)
    if wanted.charging_profile not in _EVERYTHING:
        return []
    parts = [
        typed_json.decode(each, ocpp.ReportChargingProfilesRequest) for each in requests.parts(connection, request_id)
    ]
    reported = {profile.id for part in parts for profile in part.charging_profile}
    asked_ms = asked["created_ms"]
    gone = charging.forget_unreported(connection, station_id, wanted.evse_id, reported, asked_ms)
    if wanted.evse_id is None:
        charging.confirm_limits(connection, station_id, reported, asked_ms, now_ms)
    return gone
