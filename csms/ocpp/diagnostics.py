"""Functional block N: events, monitors, uploads of logs, customer data at stations."""

from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.db.queries import diagnostics, requests
from csms.domain.stations.availability import statuses_of
from csms.ocpp.base import HandlerContext, check_places, small
from csms.ocpp.device_model import follow_events
from csms.ocpp.followers import take_status
from v2g.ocpp.messages.diagnostics import (
    LogStatusNotificationRequest,
    LogStatusNotificationResponse,
    NotifyCustomerInformationRequest,
    NotifyCustomerInformationResponse,
    NotifyEventRequest,
    NotifyEventResponse,
)
from v2g.ocpp.messages.monitoring import NotifyMonitoringReportRequest, NotifyMonitoringReportResponse

_UPLOADED: Final = frozenset(
    {"BadMessage", "NotSupportedOperation", "PermissionDenied", "Uploaded", "UploadFailure", "AcceptedCanceled"}
)


async def answer_log_status(
    context: HandlerContext, request: LogStatusNotificationRequest
) -> LogStatusNotificationResponse:
    """Store the progress of an upload (N01.FR.12)."""
    if request.request_id is not None:
        number, now_ms, done = small(request.request_id), context.services.clock.utc_ms(), request.status in _UPLOADED
        run = context.services.store.run
        await run(requests.save_progress, context.station_id, "GetLog", number, request.status, now_ms, done=done)
    context.observe("ocpp", "log_status", request_id=request.request_id, status=request.status)
    return LogStatusNotificationResponse()


async def answer_event(context: HandlerContext, request: NotifyEventRequest) -> NotifyEventResponse:
    """Store events of the device model, and publish them (N07.FR.03, N08.FR.02)."""
    for event in request.event_data:
        small(event.event_id)
        small(event.variable_monitoring_id or 0)
        small(event.severity or 0)
    check_places(event.component for event in request.event_data)
    now_ms = context.services.clock.utc_ms()
    await context.services.store.run(diagnostics.add_events, context.station_id, request.event_data, now_ms)
    await follow_events(context, request)
    for place, status, at_ms in statuses_of(request.event_data):
        await take_status(context, small(place[0]), small(place[1]), status, at_ms)
    for event in request.event_data:
        context.observe(
            "ocpp",
            "device_event",
            component=event.component.name,
            variable=event.variable.name,
            value=event.actual_value[:255],
            trigger=event.trigger,
            monitor=event.variable_monitoring_id,
            severity=event.severity,
            cleared=event.cleared,
            tech_code=event.tech_code,
        )
    return NotifyEventResponse()


async def answer_monitoring_report(
    context: HandlerContext, request: NotifyMonitoringReportRequest
) -> NotifyMonitoringReportResponse:
    """Store a part of a report, and the monitors in it (N02.FR.02)."""
    for data in request.monitor:
        for each in data.variable_monitoring:
            small(each.id)
            small(each.severity)
    await context.services.store.run(_keep_monitors, context.station_id, request, context.services.clock.utc_ms())
    context.observe("ocpp", "monitoring_report", request_id=request.request_id, seq_no=request.seq_no, tbc=request.tbc)
    return NotifyMonitoringReportResponse()


def _keep_monitors(
    connection: Connection, station_id: str, request: NotifyMonitoringReportRequest, now_ms: int
) -> None:
    number, seq_no = small(request.request_id), small(request.seq_no)
    document = msgspec.json.encode(request.monitor).decode()
    requests.save_part(
        connection, station_id, "GetMonitoringReport", number, seq_no, document, now_ms, last=not request.tbc
    )
    diagnostics.save_reported(connection, station_id, request.monitor, now_ms)


async def answer_customer_information(
    context: HandlerContext, request: NotifyCustomerInformationRequest
) -> NotifyCustomerInformationResponse:
    """Store a part of a customer's data (N09.FR.02); it is not published."""
    number, seq_no, now_ms = small(request.request_id), small(request.seq_no), context.services.clock.utc_ms()
    document, last = msgspec.json.encode(request.data).decode(), not request.tbc
    run = context.services.store.run
    await run(
        requests.save_part, context.station_id, "CustomerInformation", number, seq_no, document, now_ms, last=last
    )
    context.observe("ocpp", "customer_information", request_id=number, seq_no=seq_no, tbc=request.tbc)
    return NotifyCustomerInformationResponse()
