"""Functional block N: monitors of variables, and their event streams."""

from collections.abc import Iterable, Sequence

from csms.db.queries import diagnostics
from csms.ocpp.base import Services
from csms.services.stations.device_model import items_per_message
from csms.services.stations.requests import Asked, ask, call
from v2g.errors import RefusedError
from v2g.ocpp.messages.event_streams import (
    AdjustPeriodicEventStreamRequest,
    AdjustPeriodicEventStreamResponse,
    PeriodicEventStreamParams,
)
from v2g.ocpp.messages.monitoring import (
    ClearMonitoringResult,
    ClearVariableMonitoringRequest,
    ClearVariableMonitoringResponse,
    GetMonitoringReportRequest,
    GetMonitoringReportResponse,
    MonitoringBase,
    MonitoringCriterion,
    SetMonitoringBaseRequest,
    SetMonitoringBaseResponse,
    SetMonitoringData,
    SetMonitoringLevelRequest,
    SetMonitoringLevelResponse,
    SetMonitoringResult,
    SetVariableMonitoringRequest,
    SetVariableMonitoringResponse,
)
from v2g.ocpp.messages.provisioning import ComponentVariable

MAX_ITEMS = 50
"""Monitors in one message, when the station has not reported its ItemsPerMessage (N04.FR.09, N06.FR.04)."""


async def set_monitors(
    services: Services, station_id: str, wanted: Sequence[SetMonitoringData], limit: int | None = None
) -> list[SetMonitoringResult]:
    """Set monitors, `limit` in a message, or as many as the station supports (N04, N04.FR.09); return each result.

    Raises RefusedError for a stream without rate (N11.FR.09), V2GError as `ConnectionRegistry.call` does.
    """
    for each in wanted:
        stream = each.periodic_event_stream
        if stream is not None and stream.interval is None and stream.values is None:
            raise RefusedError("a stream needs an interval, a number of values, or both", reason="stream_rate")
    limit = limit or await _limit(services, station_id, "SetVariableMonitoring", len(wanted))
    results: list[SetMonitoringResult] = []
    for begin in range(0, len(wanted), limit):
        part = tuple(wanted[begin : begin + limit])
        request = SetVariableMonitoringRequest(set_monitoring_data=part)
        response = await call(services, station_id, request, SetVariableMonitoringResponse)
        for result in response.set_monitoring_result:
            asked = next((each for each in part if _same(each, result)), None)
            if result.status == "Accepted" and result.id is not None and asked is not None:
                now_ms = services.clock.utc_ms()
                await services.store.run(diagnostics.save_monitor, station_id, result.id, asked, now_ms)
        results += response.set_monitoring_result
    return results


def _same(asked: SetMonitoringData, result: SetMonitoringResult) -> bool:
    return (asked.component, asked.variable, asked.type, asked.severity) == (
        result.component,
        result.variable,
        result.type,
        result.severity,
    )


async def _limit(services: Services, station_id: str, action: str, items: int) -> int:
    if items < 2:
        return 1
    return await items_per_message(services, station_id, "MonitoringCtrlr", action, MAX_ITEMS)


async def clear_monitors(
    services: Services, station_id: str, monitor_ids: Sequence[int], limit: int | None = None
) -> list[ClearMonitoringResult]:
    """Remove monitors, `limit` in a message, or as many as the station supports (N06, N06.FR.04)."""
    limit = limit or await _limit(services, station_id, "ClearVariableMonitoring", len(monitor_ids))
    results: list[ClearMonitoringResult] = []
    for begin in range(0, len(monitor_ids), limit):
        request = ClearVariableMonitoringRequest(id=tuple(monitor_ids[begin : begin + limit]))
        response = await call(services, station_id, request, ClearVariableMonitoringResponse)
        gone = [each.id for each in response.clear_monitoring_result if each.status in ("Accepted", "NotFound")]
        await services.store.run(diagnostics.drop_monitors, station_id, gone)
        results += response.clear_monitoring_result
    return results


async def set_base(services: Services, station_id: str, base: MonitoringBase) -> SetMonitoringBaseResponse:
    """Set the monitoring base (N03); FactoryDefault and HardWiredOnly remove those of the CSMS."""
    response = await call(
        services, station_id, SetMonitoringBaseRequest(monitoring_base=base), SetMonitoringBaseResponse
    )
    if response.status == "Accepted" and base != "All":  # N03.FR.04, .05
        await services.store.run(diagnostics.drop_custom_monitors, station_id)
    return response


async def set_level(services: Services, station_id: str, severity: int) -> SetMonitoringLevelResponse:
    """Report only events of this severity (0 to 9) or more severe, which is a lower number (N05)."""
    request = SetMonitoringLevelRequest(severity=severity)
    return await call(services, station_id, request, SetMonitoringLevelResponse)


async def report(
    services: Services,
    station_id: str,
    criteria: Iterable[MonitoringCriterion] = (),
    variables: Iterable[ComponentVariable] = (),
) -> Asked:
    """Have monitors reported: all, of kinds, of components and variables (N02); the report arrives in parts."""
    return await ask(
        services,
        station_id,
        lambda number: GetMonitoringReportRequest(
            component_variable=tuple(variables), request_id=number, monitoring_criteria=tuple(criteria)
        ),
        GetMonitoringReportResponse,
        follows=("Accepted",),
    )


async def adjust_stream(
    services: Services, station_id: str, stream_id: int, params: PeriodicEventStreamParams
) -> AdjustPeriodicEventStreamResponse:
    """Have a stream send at another rate (N14, 2.1)."""
    request = AdjustPeriodicEventStreamRequest(id=stream_id, params=params)
    response = await call(services, station_id, request, AdjustPeriodicEventStreamResponse)
    if response.status == "Accepted":
        await services.store.run(diagnostics.adjust_stream, station_id, stream_id, params.interval, params.values)
    return response
