"""Functional blocks B and G: heartbeats, and connectors' status."""

from csms.ocpp.base import HandlerContext, small
from csms.ocpp.followers import take_status
from v2g.ocpp.messages.availability import (
    HeartbeatRequest,
    HeartbeatResponse,
    StatusNotificationRequest,
    StatusNotificationResponse,
)
from v2g.ocpp.times import format_time, parse_time


def answer_heartbeat(context: HandlerContext, _request: HeartbeatRequest) -> HeartbeatResponse:
    """Answer with the time (G02)."""
    now_ms = context.services.clock.utc_ms()
    context.services.seen.note(context.station_id, now_ms)
    return HeartbeatResponse(current_time=format_time(now_ms))


async def answer_status_notification(
    context: HandlerContext, request: StatusNotificationRequest
) -> StatusNotificationResponse:
    """Store a connector's status (G01)."""
    at_ms = parse_time(request.timestamp)
    await take_status(context, small(request.evse_id), small(request.connector_id), request.connector_status, at_ms)
    return StatusNotificationResponse()
