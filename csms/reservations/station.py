"""Functional block H: reservations that ended without a transaction."""

from csms.ocpp.base import HandlerContext, small
from csms.ocpp.handlers import answers
from csms.remote_control import store as commands
from v2g.ocpp.messages.reservation import ReservationStatusUpdateRequest, ReservationStatusUpdateResponse


@answers
async def answer_reservation_status(
    context: HandlerContext, request: ReservationStatusUpdateRequest
) -> ReservationStatusUpdateResponse:
    """Store that a reservation expired, was removed, or led to no transaction (H01.FR.15, H04.FR.01)."""
    number, state, now_ms = (
        small(request.reservation_id),
        request.reservation_update_status,
        context.services.clock.utc_ms(),
    )
    known = await context.services.store.run(commands.save_reservation, context.station_id, number, state, now_ms)
    context.observe("ocpp", "reservation", reservation=number, state=state, known=known)
    return ReservationStatusUpdateResponse()
