"""Functional block H: reservations of EVSEs."""

import msgspec

from csms.handlers import answers, small
from csms.requests.work import call, failure
from csms.reservations import store as rows
from csms.reservations.rules import ACTIVE, Reservation, ReservationState, check, is_over
from csms.services import HandlerContext, Services
from v2g.errors import RefusedError, V2GError
from v2g.ocpp.messages import reservation as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.times import format_time, parse_time


async def reserve(
    services: Services,
    station_id: str,
    id_token: IdToken,
    expires_ms: int,
    *,
    evse_id: int | None = None,
    connector_type: str | None = None,
    group_id_token: IdToken | None = None,
    replaces: int | None = None,
) -> Reservation:
    """Reserve an EVSE, any EVSE with a type of connector, or any EVSE (H01 S1 to S3); return it with the answer.

    `replaces`: the number of an active reservation that gets this content (H01.FR.02). Raises RefusedError for an
    invalid one, and V2GError as `ConnectionRegistry.call` does.
    """
    request = ocpp.ReserveNowRequest(
        id=0,
        expiry_date_time=format_time(expires_ms),
        connector_type=connector_type,
        id_token=id_token,
        evse_id=evse_id,
        group_id_token=group_id_token,
    )
    reservation, response = await send(services, station_id, request, replaces=replaces)
    return msgspec.structs.replace(reservation, state=response.status, updated_ms=services.clock.utc_ms())


async def send(
    services: Services,
    station_id: str,
    request: ocpp.ReserveNowRequest,
    *,
    replaces: int | None = None,
    number: int | None = None,
    timeout_s: float | None = None,
) -> tuple[Reservation, ocpp.ReserveNowResponse]:
    """Store what a request reserves, under the next number or under `number`, and request it; store the answer.

    A reservation that the station does not replace stays as it was. Raises RefusedError and V2GError as `reserve`.
    """
    run, now_ms, expires_ms = services.store.run, services.clock.utc_ms(), parse_time(request.expiry_date_time)
    id_token, group_id_token, evse_id = request.id_token, request.group_id_token, request.evse_id
    active = await run(rows.list_reservations, station_id, only_active=True)
    check(active, evse_id, expires_ms, now_ms, replaces)
    old = next((each for each in active if each.reservation_id == replaces), None)
    if replaces is not None and old is None:
        raise RefusedError(f"{station_id} has no active reservation {replaces}", reason="unknown_reservation")
    values = {
        "station_id": station_id, "evse_id": evse_id, "connector_type": request.connector_type,
        "token_type": id_token.type,
        "id_token": id_token.id_token, "group_type": group_id_token.type if group_id_token else None,
        "group_token": group_id_token.id_token if group_id_token else None, "expires_ms": expires_ms,
        "updated_ms": now_ms, "since_ms": now_ms,
    }  # fmt: skip
    if replaces is None:
        reservation = await run(rows.open_reservation, number, **values)
    else:
        reservation = await run(rows.replace_reservation, replaces, **values)
    request = msgspec.structs.replace(request, id=reservation.reservation_id)
    try:
        response = await call(services, station_id, request, ocpp.ReserveNowResponse, timeout_s=timeout_s)
    except V2GError as error:
        await _save(services, reservation, "Rejected" if failure(error) == "NotSent" else "Lost", old)
        raise
    await _save(services, reservation, response.status, old)
    return reservation, response


async def cancel(
    services: Services, reservation_id: int, timeout_s: float | None = None
) -> ocpp.CancelReservationResponse:
    """Cancel a reservation (H02); one unknown to the station is Removed.

    Raises RefusedError for no active reservation, and V2GError as `ConnectionRegistry.call` does.
    """
    reservation = await services.store.run(rows.find_reservation, reservation_id)
    if reservation is None:
        raise RefusedError(f"no reservation {reservation_id}", reason="unknown_reservation")
    request = ocpp.CancelReservationRequest(reservation_id=reservation_id)
    response = await call(
        services, reservation.station_id, request, ocpp.CancelReservationResponse, timeout_s=timeout_s
    )
    await _save(services, reservation, "Cancelled" if response.status == "Accepted" else "Removed")
    return response


async def expire(services: Services) -> None:
    """End expired reservations without a message of their station."""
    now_ms = services.clock.utc_ms()
    for each in await services.store.read(rows.list_reservations, only_active=True):
        if is_over(each, now_ms):
            await _save(services, each, "Expired")


async def _save(
    services: Services, reservation: Reservation, state: ReservationState, old: Reservation | None = None
) -> None:
    """Store a reservation's state, or it as it was (`old`) where the station has refused to replace it; not once the
    station has reported its end."""
    now_ms, number, run = services.clock.utc_ms(), reservation.reservation_id, services.store.run
    if old is not None and state not in ACTIVE:
        state, stored = old.state, await run(rows.restore_reservation, old)
    else:
        stored = await run(rows.save_reservation, reservation.station_id, number, state, now_ms)
    if stored:
        services.report("ocpp", "reservation", reservation.station_id, {"reservation": number, "state": state})


@answers
async def answer_reservation_status(
    context: HandlerContext, request: ocpp.ReservationStatusUpdateRequest
) -> ocpp.ReservationStatusUpdateResponse:
    """Store that a reservation expired, was removed, or led to no transaction (H01.FR.15, H04.FR.01)."""
    number, state, now_ms = (
        small(request.reservation_id),
        request.reservation_update_status,
        context.services.clock.utc_ms(),
    )
    known = await context.services.store.run(rows.save_reservation, context.station_id, number, state, now_ms)
    context.observe("ocpp", "reservation", reservation=number, state=state, known=known)
    return ocpp.ReservationStatusUpdateResponse()
