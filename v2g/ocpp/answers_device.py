"""A station's answers about its device model, availability and restart."""

from types import MappingProxyType
from typing import Final

from v2g.errors import OcppError
from v2g.ocpp.answers import (
    Answers,
    Effect,
    KeepValue,
    Reply,
    Restart,
    SendReport,
    SetAvailability,
    Trigger,
    Unlock,
    View,
    because,
)
from v2g.ocpp.device_model import ITEMS_PER_MESSAGE, DeviceModel, station_variables
from v2g.ocpp.messages.authorization import ClearCacheRequest, ClearCacheResponse
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse
from v2g.ocpp.messages.provisioning import (
    GetBaseReportRequest,
    GetBaseReportResponse,
    GetReportRequest,
    GetReportResponse,
    GetVariablesRequest,
    GetVariablesResponse,
    NotifyReportRequest,
    ReportData,
    ResetRequest,
    ResetResponse,
    SetVariablesRequest,
    SetVariablesResponse,
)
from v2g.ocpp.messages.remote_control import (
    TriggerMessageRequest,
    TriggerMessageResponse,
    UnlockConnectorRequest,
    UnlockConnectorResponse,
)
from v2g.ocpp.times import format_time

_TRIGGERS: Final = ("BootNotification", "Heartbeat", "MeterValues", "StatusNotification", "TransactionEvent")


def get_variables(request: GetVariablesRequest, view: View) -> Reply:
    """B06."""
    wanted = request.get_variable_data
    _limit(len(wanted))
    model = _model(view)
    return Reply(GetVariablesResponse(get_variable_result=tuple(model.get(item, view.values) for item in wanted)))


def set_variables(request: SetVariablesRequest, view: View) -> Reply:
    """B05."""
    wanted = request.set_variable_data
    _limit(len(wanted))
    model = _model(view)
    judged = [model.set(item) for item in wanted]
    effects = tuple(KeepValue(key=kept[0], value=kept[1]) for _, kept in judged if kept is not None)
    return Reply(SetVariablesResponse(set_variable_result=tuple(result for result, _ in judged)), effects)


def get_base_report(request: GetBaseReportRequest, view: View) -> Reply:
    """B07."""
    data = _model(view).report(request.report_base, view.values)
    if not data:
        return Reply(GetBaseReportResponse(status="EmptyResultSet"))
    return Reply(GetBaseReportResponse(status="Accepted"), (_report(request.request_id, data, view),))


def get_report(request: GetReportRequest, view: View) -> Reply:
    """B08: by component and variable. Criteria such as Problem are met by no component here."""
    if request.component_criteria and not set(request.component_criteria) & {"Active", "Available", "Enabled"}:
        return Reply(GetReportResponse(status="EmptyResultSet"))
    wanted = [(item.component, item.variable) for item in request.component_variable]
    model = _model(view)
    data = model.select(wanted, view.values) if wanted else model.report("FullInventory", view.values)
    if not data:
        return Reply(GetReportResponse(status="EmptyResultSet"))
    return Reply(GetReportResponse(status="Accepted"), (_report(request.request_id, data, view),))


def change_availability(request: ChangeAvailabilityRequest, view: View) -> Reply:
    """G03, G04: what has a transaction changes when it has ended."""
    chosen = view.evses
    if request.evse is not None and request.evse.id != 0:
        evse = view.evse(request.evse.id)
        if evse is None or request.evse.connector_id not in (None, 1):
            return Reply(ChangeAvailabilityResponse(status="Rejected", status_info=because("UnknownEvse")))
        chosen = (evse,)
    ids = tuple(evse.evse_id for evse in chosen)
    busy = any(view.transaction_on(evse_id) for evse_id in ids)
    effect = SetAvailability(evse_ids=ids, operative=request.operational_status == "Operative")
    return Reply(ChangeAvailabilityResponse(status="Scheduled" if busy else "Accepted"), (effect,))


def unlock_connector(request: UnlockConnectorRequest, view: View) -> Reply:
    """F05."""
    if view.evse(request.evse_id) is None or request.connector_id != 1:
        return Reply(UnlockConnectorResponse(status="UnknownConnector"))
    if view.transaction_on(request.evse_id) is not None:
        return Reply(UnlockConnectorResponse(status="OngoingAuthorizedTransaction"))
    if not view.can_unlock:
        return Reply(UnlockConnectorResponse(status="UnlockFailed", status_info=because("FixedCable")))
    return Reply(UnlockConnectorResponse(status="Unlocked"), (Unlock(evse_id=request.evse_id),))


def reset(request: ResetRequest, view: View) -> Reply:
    """B11, B12."""
    if not view.can_reset or request.type == "ImmediateAndResume":
        return Reply(ResetResponse(status="Rejected", status_info=because("NotEnabled")))
    evse_id = request.evse_id or None
    if evse_id is not None and view.evse(evse_id) is None:
        return Reply(ResetResponse(status="Rejected", status_info=because("UnknownEvse")))
    busy = [t for t in view.transactions if evse_id in (None, t.evse_id)]
    at_once = request.type == "Immediate"
    status = "Scheduled" if busy and not at_once else "Accepted"
    effect: Effect = Restart(evse_id=evse_id, at_once=at_once)
    return Reply(ResetResponse(status=status), (effect,))  # type: ignore[arg-type]  # one of two literals


def trigger_message(request: TriggerMessageRequest, view: View) -> Reply:
    """F06."""
    message = request.requested_message
    if message not in _TRIGGERS:
        return Reply(TriggerMessageResponse(status="NotImplemented"))
    if request.evse is not None and request.evse.id != 0 and view.evse(request.evse.id) is None:
        return Reply(TriggerMessageResponse(status="Rejected", status_info=because("UnknownEvse")))
    if message == "BootNotification" and view.registration == "Accepted":
        return Reply(TriggerMessageResponse(status="Rejected"))  # F06.FR.17
    if message == "TransactionEvent" and not view.transactions:
        return Reply(TriggerMessageResponse(status="Rejected", status_info=because("TxNotFound")))
    return Reply(TriggerMessageResponse(status="Accepted"), (Trigger(message=message, evse=request.evse),))


def clear_cache(_: ClearCacheRequest, __: View) -> Reply:
    """C11: there is no authorization cache (C11.FR.04)."""
    return Reply(ClearCacheResponse(status="Rejected", status_info=because("NotEnabled")))


def _model(view: View) -> DeviceModel:
    return DeviceModel(station_variables(len(view.evses), view.max_power_w), view.version)


def _limit(items: int) -> None:
    if items > ITEMS_PER_MESSAGE:  # B05.FR.11, B06.FR.17
        raise OcppError(f"{items} items, at most {ITEMS_PER_MESSAGE}", answer="OccurrenceConstraintViolation")


def _report(request_id: int, data: tuple[ReportData, ...], view: View) -> SendReport:
    parts = [data[i : i + ITEMS_PER_MESSAGE] for i in range(0, len(data), ITEMS_PER_MESSAGE)]
    now = format_time(view.utc_ms)
    return SendReport(
        requests=tuple(
            NotifyReportRequest(
                request_id=request_id, generated_at=now, report_data=part, seq_no=i, tbc=i + 1 < len(parts)
            )
            for i, part in enumerate(parts)
        )
    )


ANSWERS: Final[Answers] = MappingProxyType(
    {
        "ChangeAvailability": change_availability,
        "ClearCache": clear_cache,
        "GetBaseReport": get_base_report,
        "GetReport": get_report,
        "GetVariables": get_variables,
        "Reset": reset,
        "SetVariables": set_variables,
        "TriggerMessage": trigger_message,
        "UnlockConnector": unlock_connector,
    }
)
