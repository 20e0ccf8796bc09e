"""Diagnostics: log files, monitors and their streams, events of device models, customer information (block N)."""

from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from csms.accounts.rules import Permission
from csms.diagnostics import store as rows
from csms.diagnostics import work as diagnostics
from csms.http.call import Call
from csms.http.operations import Page, get, to_station
from csms.http.parameters import AtStation, Number, OfAnyStation, Paged, StationId, newest_first, page_of, pages, shown
from csms.requests.work import Asked
from v2g.ocpp.messages import monitoring as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import CertificateHashData
from v2g.ocpp.messages.diagnostics import CustomerInformationResponse, GetLogResponse, LogType
from v2g.ocpp.messages.monitoring import AdjustPeriodicEventStreamResponse, PeriodicEventStreamParams
from v2g.units import UtcMs


class NewLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log to upload, its destination and time range."""

    log_type: LogType
    remote_location: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    oldest_ms: UtcMs | None = None
    latest_ms: UtcMs | None = None
    retries: Number | None = None
    retry_interval_s: Number | None = None


class AboutCustomer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have a customer's data reported, cleared, or both; one of the last three fields identifies the customer."""

    report: bool
    clear: bool
    id_token: IdToken | None = None
    certificate: CertificateHashData | None = None
    identifier: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor as its station holds it."""

    station_id: str
    monitor_id: int
    component: Any
    variable: Any
    kind: str
    value: float | None
    severity: int
    in_transaction: bool
    source: str
    updated_ms: int


class NewMonitors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Monitors to set, as OCPP's SetMonitoringDataType."""

    monitors: Annotated[tuple[ocpp.SetMonitoringData, ...], msgspec.Meta(min_length=1, max_length=1000)]


class OldMonitors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Monitors to remove."""

    monitor_ids: Annotated[tuple[Number, ...], msgspec.Meta(min_length=1, max_length=1000)]


class WantedReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The monitors to report; empty: all."""

    criteria: Annotated[tuple[ocpp.MonitoringCriterion, ...], msgspec.Meta(max_length=3)] = ()


class WantedBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The monitoring base of a station."""

    base: ocpp.MonitoringBase


class WantedLevel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least severity of reported events: 0 is danger, 9 is debugging."""

    severity: Annotated[int, msgspec.Meta(ge=0, le=9)]


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a station's device model (NotifyEvent); `document` is OCPP's EventDataType."""

    id: int
    station_id: str
    event_id: int
    at_ms: int
    received_ms: int
    trigger: str
    component: str
    variable: str
    monitor_id: int | None
    severity: int | None
    cleared: bool
    document: Any


class EventStream(msgspec.Struct, frozen=True, kw_only=True):
    """A periodic event stream (2.1): every `interval_s`, or every `batch` values; open while `closed_ms` is null."""

    station_id: str
    stream_id: int
    monitor_id: int
    interval_s: int | None
    batch: int | None
    opened_ms: int
    closed_ms: int | None


class StreamValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a stream."""

    id: int
    at_ms: int
    value: str
    monitor_id: int | None


class ItsValues(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a stream's values."""

    station_id: StationId
    stream_id: Number


@to_station(
    "POST",
    "/logs",
    Permission.WRITE_MAINTENANCE,
    example={"log_type": "SecurityLog", "remote_location": "https://files.example/logs"},
)
async def get_log(call: Call, station_id: StationId, body: NewLog) -> Asked[GetLogResponse]:
    """Have a station upload a log (N01, N08)."""
    return await diagnostics.get_log(call.services, station_id, **asdict(body))


@to_station(
    "POST",
    "/customer-information",
    Permission.WRITE_MAINTENANCE,
    example={"report": True, "clear": False, "identifier": "customer-17"},
)
async def ask_about_customer(
    call: Call, station_id: StationId, body: AboutCustomer
) -> Asked[CustomerInformationResponse]:
    """Have a station report or clear a customer's data (N09, N10)."""
    return await diagnostics.customer_information(call.services, station_id, **asdict(body))


@get("/stations/{station_id}/monitors", Permission.READ_MAINTENANCE)
async def list_monitors(call: Call, parameters: AtStation) -> Page[Monitor]:
    """List a station's monitors that were set here or reported."""
    found = [shown(each, Monitor) for each in await call.run(rows.list_monitors, parameters.station_id)]
    return page_of(call, found, parameters, lambda each: each.monitor_id)


@to_station("POST", "/monitors", Permission.WRITE_MAINTENANCE)
async def set_monitors(call: Call, station_id: StationId, body: NewMonitors) -> tuple[ocpp.SetMonitoringResult, ...]:
    """Set monitors (N04); the response has each result."""
    return tuple(await diagnostics.set_monitors(call.services, station_id, body.monitors))


@to_station("POST", "/monitors/clear", Permission.WRITE_MAINTENANCE)
async def clear_monitors(
    call: Call, station_id: StationId, body: OldMonitors
) -> tuple[ocpp.ClearMonitoringResult, ...]:
    """Remove monitors (N06); the response has each result."""
    return tuple(await diagnostics.clear_monitors(call.services, station_id, body.monitor_ids))


@to_station("POST", "/monitors/report", Permission.WRITE_MAINTENANCE, example={})
async def report_monitors(
    call: Call, station_id: StationId, body: WantedReport
) -> Asked[ocpp.GetMonitoringReportResponse]:
    """Have a station report monitors (N02)."""
    return await diagnostics.report(call.services, station_id, body.criteria)


@to_station("PUT", "/monitors/base", Permission.WRITE_MAINTENANCE, example={"base": "All"})
async def set_monitoring_base(call: Call, station_id: StationId, body: WantedBase) -> ocpp.SetMonitoringBaseResponse:
    """Set the monitoring base of a station (N03)."""
    return await diagnostics.set_base(call.services, station_id, body.base)


@to_station("PUT", "/monitors/level", Permission.WRITE_MAINTENANCE, example={"severity": 5})
async def set_monitoring_level(call: Call, station_id: StationId, body: WantedLevel) -> ocpp.SetMonitoringLevelResponse:
    """Have a station report only events of this severity or more severe (N05)."""
    return await diagnostics.set_level(call.services, station_id, body.severity)


@get("/device-events", Permission.READ_MAINTENANCE)
async def list_device_events(call: Call, parameters: OfAnyStation) -> Page[DeviceEvent]:
    """List events of stations' device models (N07), newest first."""
    return await newest_first(call, parameters, DeviceEvent, "id", rows.list_events, parameters.station_id)


@get("/stations/{station_id}/streams", Permission.READ_MAINTENANCE)
async def list_event_streams(call: Call, parameters: AtStation) -> Page[EventStream]:
    """List a station's periodic event streams (2.1)."""
    found = [shown(each, EventStream) for each in await call.run(rows.list_streams, parameters.station_id)]
    return page_of(call, found, parameters, lambda each: each.stream_id)


@get("/stations/{station_id}/streams/{stream_id}/values", Permission.READ_MAINTENANCE)
async def list_stream_values(call: Call, parameters: ItsValues) -> Page[StreamValue]:
    """List the values of a stream, newest first."""
    which = parameters.station_id, parameters.stream_id
    return await pages(call, parameters, StreamValue, tuple[int, int], ("at_ms", "id"), rows.list_stream_values, *which)


@to_station("PUT", "/streams/{stream_id}", Permission.WRITE_MAINTENANCE)
async def adjust_event_stream(
    call: Call, station_id: StationId, stream_id: Number, body: PeriodicEventStreamParams
) -> AdjustPeriodicEventStreamResponse:
    """Have a station send a stream at another rate (N14)."""
    return await diagnostics.adjust_stream(call.services, station_id, stream_id, body)
