"""Functional block R: stations' reports of grid support."""

import msgspec

from csms.dispatch import store as der
from csms.dispatch.rules import reported
from csms.ocpp.base import HandlerContext, small
from csms.ocpp.handlers import answers
from csms.requests import store as requests
from v2g.ocpp.messages.der_control import (
    NotifyDERAlarmRequest,
    NotifyDERAlarmResponse,
    NotifyDERStartStopRequest,
    NotifyDERStartStopResponse,
    ReportDERControlRequest,
    ReportDERControlResponse,
)
from v2g.ocpp.times import parse_time


@answers
async def answer_der_report(context: HandlerContext, request: ReportDERControlRequest) -> ReportDERControlResponse:
    """Store the controls of a report (R04.FR.31, FR.32)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    for control, superseded in reported(request):
        await run(der.save_control, context.station_id, control, now_ms, superseded=superseded)
    request_id = small(request.request_id)
    part = await run(requests.count_parts, request_id)
    document = msgspec.json.encode(request).decode()
    about = (context.station_id, "GetDERControl", request_id, part, document, now_ms)
    await run(requests.save_part, *about, last=not request.tbc)
    context.observe("ocpp", "der_report", request=request_id, tbc=request.tbc)
    return ReportDERControlResponse()


@answers
async def answer_der_alarm(context: HandlerContext, request: NotifyDERAlarmRequest) -> NotifyDERAlarmResponse:
    """Store an alarm (R05)."""
    at_ms = parse_time(request.timestamp)
    await context.services.store.run(der.add_alarm, context.station_id, request, at_ms)
    context.observe(
        "ocpp",
        "der_alarm",
        control=request.control_type,
        fault=request.grid_event_fault,
        ended=bool(request.alarm_ended),
    )
    return NotifyDERAlarmResponse()


@answers
async def answer_der_start_stop(
    context: HandlerContext, request: NotifyDERStartStopRequest
) -> NotifyDERStartStopResponse:
    """Store the start or end of a scheduled control (R04.FR.20 to FR.22)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    await run(der.start_stop, context.station_id, request.control_id, now_ms, started=request.started)
    await run(der.supersede, context.station_id, request.superseded_ids, now_ms)
    context.observe("ocpp", "der_start_stop", control=request.control_id, started=request.started)
    return NotifyDERStartStopResponse()
