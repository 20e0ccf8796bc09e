"""Functional block N: monitors of variables, and their event streams."""

from collections.abc import Iterable, Sequence

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
    check_streams(wanted)
    limit = limit or await _limit(services, station_id, "SetVariableMonitoring", len(wanted))
    results: list[SetMonitoringResult] = []
    for begin in range(0, len(wanted), limit):
        part = tuple(wanted[begin : begin + limit])
        request = SetVariableMonitoringRequest(set_monitoring_data=part)
        results += (await call(services, station_id, request, SetVariableMonitoringResponse)).set_monitoring_result
    return results


def check_streams(wanted: Iterable[SetMonitoringData]) -> None:
    """Raise RefusedError (`stream_rate`) for a stream without rate (N11.FR.09)."""
    for each in wanted:
        stream = each.periodic_event_stream
        if stream is not None and stream.interval is None and stream.values is None:
            raise RefusedError("a stream needs an interval, a number of values, or both", reason="stream_rate")


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
        results += (await call(services, station_id, request, ClearVariableMonitoringResponse)).clear_monitoring_result
    return results


async def set_base(services: Services, station_id: str, base: MonitoringBase) -> SetMonitoringBaseResponse:
    """Set the monitoring base (N03); FactoryDefault and HardWiredOnly remove those of the CSMS."""
    return await call(services, station_id, SetMonitoringBaseRequest(monitoring_base=base), SetMonitoringBaseResponse)


async def set_level(services: Services, station_id: str, severity: int) -> SetMonitoringLevelResponse:
    """Report only events of this severity (0 to 9) or more severe, which is a lower number (N05)."""
    request = SetMonitoringLevelRequest(severity=severity)
    return await call(services, station_id, request, SetMonitoringLevelResponse)


async def report(
    services: Services,
    station_id: str,
    criteria: Iterable[MonitoringCriterion] = (),
    variables: Iterable[ComponentVariable] = (),
) -> Asked[GetMonitoringReportResponse]:
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
    return await call(services, station_id, request, AdjustPeriodicEventStreamResponse)
