"""Functional block H, reservation: CSMS cases of OCPP 2.0.1 part 6."""

from typing import Any

import pytest

from csms.db.queries import commands
from csms.domain.stations.reservations import GRACE_MS, Reservation
from csms.services.background import run_periodic
from csms.services.stations import reservations
from tests.certification.backend import Backend
from tests.certification.charging import Charging
from tests.certification.fleet import CUSTOMER, TOKENS, VALID, Start, accepted, connector_is
from tests.certification.scripted import Refused, ScriptedStation
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages.authorization import IdToken
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
    found = await csms.services.store.run(commands.find_reservation, reservation.reservation_id)
    assert found is not None
    return found.state


async def used(csms: Backend, station: ScriptedStation, reservation: Reservation, evse_id: int = 1) -> None:
    """Let the driver come: the transaction names the reservation."""
    charging = Charging(csms, station, evse_id=evse_id)
    await charging.authorize()
    extra = {"reservationId": reservation.reservation_id}
    await charging.event("Started", "Authorized", token=VALID, extra=extra)
    assert await state_of(csms, reservation) == "Used"
    await charging.plugged()
    await charging.started()


async def test_tc_h_01_csms_reserve_an_evse(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        reservation = await reserve(csms, station, evse_id=1)
        await connector_is(csms, station, "Reserved")
        await used(csms, station, reservation)


async def test_tc_h_07_csms_reservation_not_used(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    await connector_is(csms, station, "Reserved")
    await connector_is(csms, station, "Available")
    update = {"reservationId": reservation.reservation_id, "reservationUpdateStatus": "Expired"}
    assert await station.call("ReservationStatusUpdate", update) == {}
    assert await state_of(csms, reservation) == "Expired"


async def test_tc_h_08_csms_reserve_an_unspecified_evse(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        reservation = await reserve(csms, station)
        await connector_is(csms, station, "Reserved")
        await used(csms, station, reservation)


async def test_tc_h_14_csms_as_many_reservations_as_evses(csms: Backend) -> None:
    station = await csms.booted()
    for _ in (1, 2):
        await reserve(csms, station)
    for evse_id in (1, 2):
        await connector_is(csms, station, "Reserved", evse_id)
    assert len({each["id"] for each in station.payloads("ReserveNow")}) == 2


async def test_tc_h_15_csms_reserve_a_type_of_connector(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        reservation = await reserve(csms, station, connector_type="cCCS2")
        await connector_is(csms, station, "Reserved")
        await used(csms, station, reservation)


async def test_tc_h_17_csms_cancel_a_reservation(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    await connector_is(csms, station, "Reserved")
    station.answers["CancelReservation"] = accepted
    response = await reservations.cancel(csms.services, reservation.reservation_id)
    assert response.status == "Accepted"
    assert station.payloads("CancelReservation") == [{"reservationId": reservation.reservation_id}]
    await connector_is(csms, station, "Available")
    assert await state_of(csms, reservation) == "Cancelled"


async def test_tc_h_19_csms_reserve_for_a_group(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        group = IdToken(id_token="GROUP-1", type="Central")
        reservation = await reserve(csms, station, evse_id=1, group_id_token=group)
        assert station.payloads("ReserveNow")[-1]["groupIdToken"] == {"idToken": "GROUP-1", "type": "Central"}
        await connector_is(csms, station, "Reserved")
        await used(csms, station, reservation)


async def test_tc_h_20_csms_station_faults(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    await connector_is(csms, station, "Reserved")
    await connector_is(csms, station, "Faulted")
    update = {"reservationId": reservation.reservation_id, "reservationUpdateStatus": "Removed"}
    assert await station.call("ReservationStatusUpdate", update) == {}
    assert await state_of(csms, reservation) == "Removed"


async def test_tc_h_22_csms_station_rejects(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, "Rejected", evse_id=1)
    assert await state_of(csms, reservation) == "Rejected"


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


async def test_a_reservation_ends_when_the_station_says_nothing(csms: Backend) -> None:
    station = await csms.booted()
    reservation = await reserve(csms, station, evse_id=1)
    csms.clock.advance((HOUR_MS + GRACE_MS) / 1000 - 1)
    await run_periodic(csms.services)
    assert await state_of(csms, reservation) == "Accepted"
    csms.clock.advance(1)
    await run_periodic(csms.services)
    assert await state_of(csms, reservation) == "Expired"


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
