"""Functional block B: reports of the device model."""

import msgspec
from sqlalchemy import Connection

from csms.device_model import store as device_model
from csms.device_model.rules import noticed, reported
from csms.ocpp.base import HandlerContext, check_places, small
from csms.ocpp.handlers import answers
from csms.requests import store as requests
from v2g.ocpp.messages.diagnostics import NotifyEventRequest
from v2g.ocpp.messages.provisioning import NotifyReportRequest, NotifyReportResponse


@answers
async def answer_report(context: HandlerContext, request: NotifyReportRequest) -> NotifyReportResponse:
    """Store a part of a report in the mirror, and with its request (B07.FR.10, B08)."""
    number, now_ms = small(request.request_id), context.services.clock.utc_ms()
    check_places(entry.component for entry in request.report_data)
    document = msgspec.json.encode(request).decode()
    rows = list(reported(request.report_data, now_ms))

    def save(connection: Connection) -> tuple[bool, bool]:
        device_model.save(connection, context.station_id, rows)
        known = any(
            requests.save_part(
                connection, context.station_id, action, number, small(request.seq_no), document, now_ms,
                last=not request.tbc,
            )
            for action in ("GetBaseReport", "GetReport")
        )  # fmt: skip
        return known, request.tbc or not known or requests.count_parts(connection, number) > request.seq_no

    known, complete = await context.services.store.run(save)
    context.observe(
        "ocpp",
        "device_report",
        request_id=number,
        seq_no=request.seq_no,
        variables=len(rows),
        last=not request.tbc,
        known=known,
        complete=complete,
    )
    return NotifyReportResponse()


async def follow_events(context: HandlerContext, request: NotifyEventRequest) -> None:
    """After events were stored: update the mirror with their values (N07)."""
    rows = list(noticed(request.event_data, context.services.clock.utc_ms()))
    await context.services.store.run(device_model.notice, context.station_id, rows)
