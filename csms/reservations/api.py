"""Reservations of EVSEs (functional block H)."""

from typing import Annotated

import msgspec

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, delete, get, to_station
from csms.http.parameters import EvseId, Paged, RowNumber, StationId, page_of
from csms.http.problems import existing
from csms.reservations import store as rows
from csms.reservations import work as service
from csms.reservations.rules import Reservation
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.reservation import CancelReservationResponse
from v2g.units import UtcMs


class NewReservation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Token and expiry; of an EVSE, of any EVSE with a type of connector, or of any EVSE.

    `replaces`: the number of an active reservation that gets this content.
    """

    id_token: IdToken
    expires_ms: UtcMs
    evse_id: EvseId | None = None
    connector_type: Annotated[str, msgspec.Meta(min_length=1, max_length=20)] | None = None
    group_id_token: IdToken | None = None
    replaces: RowNumber | None = None


class WhichReservations(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for reservations."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only at this station.")] = None
    active: Annotated[bool, msgspec.Meta(description="Only those that the station holds, or may hold.")] = False


@get("/reservations", Permission.READ_STATIONS)
async def list_reservations(call: Call, parameters: WhichReservations) -> Page[Reservation]:
    """List reservations, oldest first."""
    found = await call.run(rows.list_reservations, parameters.station_id, only_active=parameters.active)
    return page_of(call, found, parameters, lambda each: each.reservation_id)


@get("/reservations/{reservation_id}", Permission.READ_STATIONS, problems=(404,))
async def read_reservation(call: Call, reservation_id: RowNumber) -> Reservation:
    """Return one reservation."""
    return existing("reservation", await call.run(rows.find_reservation, reservation_id))


@to_station(
    "POST",
    "/reservations",
    Permission.COMMAND_STATIONS,
    example={"id_token": {"idToken": "04A1B2C3", "type": "ISO14443"}, "expires_ms": 1_900_000_000_000, "evse_id": 1},
)
async def reserve(call: Call, station_id: StationId, body: NewReservation) -> Reservation:
    """Reserve; the reservation's `state` is the station's answer."""
    return await service.reserve(
        call.services,
        station_id,
        body.id_token,
        body.expires_ms,
        evse_id=body.evse_id,
        connector_type=body.connector_type,
        group_id_token=body.group_id_token,
        replaces=body.replaces,
    )


@delete("/reservations/{reservation_id}", Permission.COMMAND_STATIONS, problems=STATION_PROBLEMS, status=200)
async def cancel_reservation(call: Call, reservation_id: RowNumber) -> CancelReservationResponse:
    """Cancel a reservation; the answer is the station's."""
    return await service.cancel(call.services, reservation_id)
