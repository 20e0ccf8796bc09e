"""Functional block H, reservation, beyond the cases of the test lab."""

from typing import Any

import pytest

from csms.reservations import store as rows
from csms.reservations import work as reservations
from csms.reservations.rules import GRACE_MS, Reservation
from tests.csms.backend import Backend
from tests.csms.charging import TOKENS, Charging
from tests.csms.customers import CUSTOMER, VALID, connector_is
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Refused, ScriptedStation
from tests.csms.support import run_periodic
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.times import format_time

HOUR_MS = 3_600_000


async def reserve(csms: Backend, station: ScriptedStation, status: str = "Accepted", **wish: Any) -> Reservation:
    """Have the back end reserve for an hour; check what it asked for."""
    station.answers["ReserveNow"] = {"status": status}
    until = csms.clock.utc_ms() + HOUR_MS
    reservation = await reservations.reserve(csms.services, station.id, CUSTOMER, until, **wish)
    sent = station.payloads("ReserveNow")[-1]
    assert (sent["id"], sent["expiryDateTime"], sent["idToken"]) == (
        reservation.reservation_id,
        format_time(until),
        VALID,
    )
    assert sent.get("evseId") == wish.get("evse_id")
    assert sent.get("connectorType") == wish.get("connector_type")
    assert reservation.state == status
    return reservation


async def state_of(csms: Backend, reservation: Reservation) -> str:
    """Return what became of a reservation."""
    found = await csms.services.store.run(rows.find_reservation, reservation.reservation_id)
    assert found is not None
    return found.state


async def test_a_reservation_is_used_by_the_transaction_that_names_it(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        reservation = await reserve(csms, station, evse_id=1)
        extra = {"reservationId": reservation.reservation_id}
        await Charging(csms, station).event("Started", "Authorized", token=VALID, extra=extra)
        assert await state_of(csms, reservation) == "Used"


async def test_a_reservation_is_used_though_only_the_event_that_comes_again_finds_it(backend: Start) -> None:
    """As where this program was killed after it had stored the event, and before the answer."""
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        before = await reserve(csms, station, evse_id=2)
        charging = Charging(csms, station)
        event: dict[str, Any] = {
            "eventType": "Started", "triggerReason": "Authorized", "timestamp": charging.now(), "seqNo": 0,
            "transactionInfo": {"transactionId": charging.id}, "evse": {"id": 1, "connectorId": 1}, "idToken": VALID,
            "reservationId": before.reservation_id + 1,
        }  # fmt: skip
        await station.call("TransactionEvent", event)
        reservation = await reserve(csms, station, evse_id=1)
        assert reservation.reservation_id == event["reservationId"]
        await station.call("TransactionEvent", {**event, "seqNo": 1, "eventType": "Updated", "reservationId": 77})
        assert await state_of(csms, reservation) == "Accepted"
        await station.call("TransactionEvent", event)
        assert await state_of(csms, reservation) == "Used"


async def test_a_reservation_that_nobody_uses_expires(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    await connector_is(csms, station, "Reserved")
    await connector_is(csms, station, "Available")
    update = {"reservationId": reservation.reservation_id, "reservationUpdateStatus": "Expired"}
    assert await station.call("ReservationStatusUpdate", update) == {}
    assert await state_of(csms, reservation) == "Expired"


# -- beyond the cases


async def test_an_evse_is_not_reserved_twice_but_a_reservation_may_be_changed(csms: Backend) -> None:
    """H01.FR.02."""
    station = await csms.booted()
    first = await reserve(csms, station, evse_id=1)
    with pytest.raises(RefusedError, match="reserved already"):
        await reserve(csms, station, evse_id=1)
    again = await reserve(csms, station, evse_id=1, replaces=first.reservation_id)
    assert again.reservation_id == first.reservation_id
    with pytest.raises(RefusedError, match="no active reservation"):
        await reserve(csms, station, evse_id=2, replaces=99)
    assert len(station.payloads("ReserveNow")) == 2


async def test_a_replaced_reservation_is_paid_from_its_replacement(csms: Backend) -> None:
    """I12.FR.07: from the time that the station received its request, as stations that calculate costs have it."""
    station = await csms.booted()
    first = await reserve(csms, station, evse_id=1)
    csms.clock.advance(600)
    again = await reserve(csms, station, evse_id=1, replaces=first.reservation_id)
    found = await csms.services.store.read(rows.find_reservation, first.reservation_id)
    assert found is not None
    assert found.since_ms == again.since_ms == first.since_ms + 600_000


async def test_a_reservation_that_is_not_replaced_stays_as_it_was(csms: Backend) -> None:
    """H01.FR.02: the station still holds it; its fee is that of its driver, from when it was made."""
    station = await csms.booted()
    first = await reserve(csms, station, evse_id=1)
    before = await csms.services.store.read(rows.find_reservation, first.reservation_id)
    csms.clock.advance(600)
    await reserve(csms, station, "Faulted", evse_id=2, replaces=first.reservation_id)
    assert await csms.services.store.read(rows.find_reservation, first.reservation_id) == before


async def test_a_reservation_ends_when_the_station_says_nothing(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    csms.clock.advance((HOUR_MS + GRACE_MS) / 1000 - 1)
    await run_periodic(csms.services)
    assert await state_of(csms, reservation) == "Accepted"
    csms.clock.advance(1)
    await run_periodic(csms.services)
    assert await state_of(csms, reservation) == "Expired"


async def test_a_reservation_that_was_used_offline_is_used_though_it_expired_here(backend: Start) -> None:
    """Its time is to be paid: the transaction began in time, its events came later (H03, E04)."""
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        reservation = await reserve(csms, station, evse_id=1)
        csms.clock.advance((HOUR_MS + GRACE_MS) / 1000)
        await run_periodic(csms.services)
        assert await state_of(csms, reservation) == "Expired"
        extra = {"reservationId": reservation.reservation_id, "offline": True}
        charging = Charging(csms, station)
        await charging.event("Started", "Authorized", token=VALID, extra=extra)
        assert await state_of(csms, reservation) == "Used"
        since = await csms.services.store.read(rows.reserved_since, station.id, charging.id)
        assert since == reservation.since_ms > 0


async def test_a_reservation_that_the_station_does_not_know_is_gone(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    station.answers["CancelReservation"] = {"status": "Rejected"}
    await reservations.cancel(csms.services, reservation.reservation_id)
    assert await state_of(csms, reservation) == "Removed"


async def test_a_reservation_that_the_station_could_not_read_is_none(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["ReserveNow"] = Refused("NotSupported")
    with pytest.raises(OcppError):
        await reservations.reserve(csms.services, station.id, CUSTOMER, csms.clock.utc_ms() + HOUR_MS, evse_id=1)
    await reserve(csms, station, evse_id=1)


async def test_another_stations_word_about_a_reservation_counts_for_nothing(csms: Backend) -> None:
    first, second = await csms.booted(), await csms.booted("CS-V2G-0002")
    reservation = await reserve(csms, first, evse_id=1)
    update = {"reservationId": reservation.reservation_id, "reservationUpdateStatus": "Removed"}
    assert await second.call("ReservationStatusUpdate", update) == {}
    assert await state_of(csms, reservation) == "Accepted"
