"""Functional block H: reservations that ended without their driver."""

from csms.db.queries import commands
from csms.ocpp.base import Desk, small
from v2g.ocpp.messages.reservation import ReservationStatusUpdateRequest, ReservationStatusUpdateResponse


async def answer_reservation_status(
    desk: Desk, request: ReservationStatusUpdateRequest
) -> ReservationStatusUpdateResponse:
    """Note that a reservation expired, was removed, or led to no transaction (H01.FR.15, H04.FR.01)."""
    number, state, now_ms = (
        small(request.reservation_id),
        request.reservation_update_status,
        desk.services.clock.utc_ms(),
    )
    known = await desk.services.store.run(commands.save_reservation, desk.station_id, number, state, now_ms)
    desk.observe("ocpp", "reservation", reservation=number, state=state, known=known)
    return ReservationStatusUpdateResponse()
