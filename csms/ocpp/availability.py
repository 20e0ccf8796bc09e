"""Functional blocks B and G: whether stations are there, and their connectors' status."""

from csms.ocpp.base import Desk, small
from csms.ocpp.followers import take_status
from v2g.ocpp.messages.availability import (
    HeartbeatRequest,
    HeartbeatResponse,
    StatusNotificationRequest,
    StatusNotificationResponse,
)
from v2g.ocpp.times import format_time, parse_time


def answer_heartbeat(desk: Desk, _request: HeartbeatRequest) -> HeartbeatResponse:
    """Tell the time (G02)."""
    now_ms = desk.services.clock.utc_ms()
    desk.services.seen.note(desk.station_id, now_ms)
    return HeartbeatResponse(current_time=format_time(now_ms))


async def answer_status_notification(desk: Desk, request: StatusNotificationRequest) -> StatusNotificationResponse:
    """Note a connector's status (G01)."""
    at_ms = parse_time(request.timestamp)
    await take_status(desk, small(request.evse_id), small(request.connector_id), request.connector_status, at_ms)
    return StatusNotificationResponse()
