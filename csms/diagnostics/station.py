"""Functional block N: events, monitors and their streams, uploads of logs, customer data at stations."""

from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.device_model.work import follow_events
from csms.diagnostics import store as diagnostics
from csms.handlers import answers, check_places, small, takes
from csms.remote_control.rules import statuses_of
from csms.remote_control.station import take_status
from csms.requests import store as requests
from csms.services import HandlerContext
from v2g.errors import OcppError
from v2g.ocpp.messages import diagnostics as ocpp
from v2g.ocpp.messages import monitoring
from v2g.ocpp.messages.monitoring import NotifyMonitoringReportRequest, NotifyMonitoringReportResponse

_UPLOADED: Final = frozenset(
    {"BadMessage", "NotSupportedOperation", "PermissionDenied", "Uploaded", "UploadFailure", "AcceptedCanceled"}
)


@answers
async def answer_log_status(
    context: HandlerContext, request: ocpp.LogStatusNotificationRequest
) -> ocpp.LogStatusNotificationResponse:
    """Store the progress of an upload (N01.FR.12)."""
    if request.request_id is not None or request.status != "Idle":
        number, now_ms = request.request_id and small(request.request_id), context.services.clock.utc_ms()
        done = request.status in _UPLOADED
        run = context.services.store.run
        await run(requests.save_progress, context.station_id, "GetLog", number, request.status, now_ms, done=done)
    context.observe("ocpp", "log_status", request_id=request.request_id, status=request.status)
    return ocpp.LogStatusNotificationResponse()


@answers
async def answer_event(context: HandlerContext, request: ocpp.NotifyEventRequest) -> ocpp.NotifyEventResponse:
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
    return ocpp.NotifyEventResponse()


@answers
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


@answers
async def answer_customer_information(
    context: HandlerContext, request: ocpp.NotifyCustomerInformationRequest
) -> ocpp.NotifyCustomerInformationResponse:
    """Store a part of a customer's data (N09.FR.02); it is not published."""
    number, seq_no, now_ms = small(request.request_id), small(request.seq_no), context.services.clock.utc_ms()
    document, last = msgspec.json.encode(request.data).decode(), not request.tbc
    run = context.services.store.run
    await run(
        requests.save_part, context.station_id, "CustomerInformation", number, seq_no, document, now_ms, last=last
    )
    context.observe("ocpp", "customer_information", request_id=number, seq_no=seq_no, tbc=request.tbc)
    return ocpp.NotifyCustomerInformationResponse()


_LONGEST_S: Final = 1e10
_BEHIND: Final = 3  # consecutive messages with a growing backlog


@answers
async def answer_open_stream(
    context: HandlerContext, request: monitoring.OpenPeriodicEventStreamRequest
) -> monitoring.OpenPeriodicEventStreamResponse:
    """Accept a stream (N11.FR.04, .06)."""
    data = request.constant_stream_data
    for number in (data.id, data.variable_monitoring_id, data.params.interval or 0, data.params.values or 0):
        small(number)
    await context.services.store.run(diagnostics.open_stream, context.station_id, data, context.services.clock.utc_ms())
    context.observe("ocpp", "event_stream_opened", stream=data.id, monitor=data.variable_monitoring_id)
    return monitoring.OpenPeriodicEventStreamResponse(status="Accepted")


@answers
async def answer_close_stream(
    context: HandlerContext, request: monitoring.ClosePeriodicEventStreamRequest
) -> monitoring.ClosePeriodicEventStreamResponse:
    """End a stream (N13.FR.02)."""
    number = small(request.id)
    await context.services.store.run(
        diagnostics.close_stream, context.station_id, number, context.services.clock.utc_ms()
    )
    context.observe("ocpp", "event_stream_closed", stream=number)
    return monitoring.ClosePeriodicEventStreamResponse()


@takes
async def take(context: HandlerContext, message: monitoring.NotifyPeriodicEventStream) -> None:
    """Store the readings of an open stream (N15.FR.03)."""
    small(message.id)
    if any(abs(each.t) > _LONGEST_S for each in message.data):
        raise OcppError("implausible time of a reading", answer="PropertyConstraintViolation")
    monitor = await context.services.store.report(diagnostics.add_stream_values, context.station_id, message)
    if monitor is not None:
        # report when a station falls behind with a stream, so that the operator can adjust it (N15.FR.05)
        before, grown = context.pending.get(message.id, (0, 0))
        grown = grown + 1 if message.pending > before else 0
        context.pending[message.id] = message.pending, grown
        if grown >= _BEHIND:
            context.observe("ocpp", "event_stream_behind", stream=message.id, pending=message.pending)
    context.observe(
        "ocpp",
        "event_stream",
        stream=message.id,
        monitor=monitor,
        values=len(message.data),
        latest=message.data[-1].v[:255],
        pending=message.pending,
        known=monitor is not None,
    )
