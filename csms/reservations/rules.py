"""Reservations: validity and states (functional block H)."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from v2g.errors import RefusedError

ReservationState = Literal[
    "Requested", "Accepted", "Faulted", "Occupied", "Rejected", "Unavailable",  # the station's answer
    "Cancelled", "Used", "Expired", "Removed", "NoTransaction",  # how an accepted one ended
    "Lost",  # no answer: the station may or may not have it
]  # fmt: skip

ACTIVE: Final = frozenset({"Requested", "Accepted", "Lost"})
"""States in which the station holds the reservation, or may hold it."""

GRACE_MS: Final = 60_000
"""How long after its expiry a reservation stays active, to wait for the station's message."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation: of an EVSE, of any EVSE with a type of connector, or of any EVSE (H01 S1 to S3)."""

    reservation_id: int
    station_id: str
    evse_id: int | None = None
    connector_type: str | None = None
    token_type: str
    id_token: str
    group_type: str | None = None
    group_token: str | None = None
    expires_ms: int
    state: ReservationState = "Requested"
    updated_ms: int = 0
    transaction_id: str | None = None
    since_ms: int = 0


def check(
    active: Iterable[Reservation], evse_id: int | None, expires_ms: int, now_ms: int, replaces: int | None
) -> None:
    """Raise RefusedError for an expired reservation, or one of an EVSE that is reserved already.

    `replaces` is the reservation that the new one replaces (H01.FR.02).
    """
    if expires_ms <= now_ms:
        raise RefusedError("the reservation would have expired already", reason="expired")
    for each in active:
        same = evse_id is not None and each.evse_id == evse_id and each.reservation_id != replaces
        if same and each.expires_ms > now_ms:
            raise RefusedError(
                f"EVSE {evse_id} is reserved already, by reservation {each.reservation_id}",
                reason="reserved",
                hint="cancel that one, or replace it",
            )


def is_over(reservation: Reservation, now_ms: int) -> bool:
    """Return whether an active reservation has expired without a message of the station."""
    return reservation.state in ACTIVE and now_ms >= reservation.expires_ms + GRACE_MS
