"""Reservations: which may be made, and when one is over."""

import pytest

from csms.reservations.rules import GRACE_MS, Reservation, check, is_over
from v2g.errors import RefusedError


def reservation(number: int = 1, evse_id: int | None = 1, state: str = "Accepted") -> Reservation:
    return Reservation(
        reservation_id=number, station_id="CS", evse_id=evse_id, token_type="ISO14443", id_token="A",
        expires_ms=1000, state=state,  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_evse_is_reserved_once() -> None:
    with pytest.raises(RefusedError, match="reserved already"):
        check([reservation()], 1, 2000, 0, None)
    check([reservation()], 2, 2000, 0, None)
    check([reservation(evse_id=None)], 1, 2000, 0, None)
    check([reservation()], 1, 2000, 0, replaces=1)
    with pytest.raises(RefusedError, match="reserved already"):
        check([reservation()], 1, 2000, 999, None)
    check([reservation()], 1, 2000, 1000, None)
    check([reservation(evse_id=None)], None, 2000, 0, None)  # of any EVSE: the station knows how many it has


def test_a_refusal_says_why() -> None:
    with pytest.raises(RefusedError) as reserved:
        check([reservation(7)], 1, 2000, 0, None)
    assert (reserved.value.reason, reserved.value.hint) == ("reserved", "cancel that one, or replace it")
    assert "by reservation 7" in str(reserved.value)
    with pytest.raises(RefusedError) as expired:
        check([], 1, 1000, 1000, None)
    assert expired.value.reason == "expired"


def test_a_new_reservation_waits_for_the_station() -> None:
    made = Reservation(reservation_id=1, station_id="CS", token_type="Central", id_token="A", expires_ms=1)
    assert (made.state, made.updated_ms, made.since_ms, made.evse_id) == ("Requested", 0, 0, None)
    assert GRACE_MS == 60_000


def test_a_reservation_must_not_be_over_before_it_begins() -> None:
    with pytest.raises(RefusedError, match="expired"):
        check([], 1, 1000, 1000, None)


@pytest.mark.parametrize("state", ["Accepted", "Lost", "Requested"])
def test_an_active_reservation_is_over_some_time_after_its_expiry(state: str) -> None:
    assert not is_over(reservation(state=state), 1000 + GRACE_MS - 1)
    assert is_over(reservation(state=state), 1000 + GRACE_MS)
    assert not is_over(reservation(state="Used"), 10**12)
