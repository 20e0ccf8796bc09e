"""A charge point with alternating current: what a vehicle is allowed, and when it is disconnected for exceeding it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from secc.hardware.ac import AcEvse, anything
from secc.hardware.evse import WatchConfig
from secc.session import ports
from tests.secc.hardware.bare import Bare, at, play


class Mains:
    """Shows what it is set to."""

    present = ports.Measured(230_000, 0)

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        self.listeners.append(callback)


class Place(Bare):
    """A charge point whose monitor permits 11 kW in and 7 kW out."""

    def __init__(self, *, report_s: float = 1e6, **how: Any) -> None:
        super().__init__()
        self.mains = Mains()
        self.asked: list[tuple[int, int]] = []
        self.evse = AcEvse(
            self.parts,
            self.mains,
            self.clock,
            WatchConfig(),
            report_s=report_s,
            most_w=22_000,
            **{"allow": self.allow} | how,
        )

    def allow(self, charge_w: int, discharge_w: int) -> tuple[int, int]:
        self.asked.append((charge_w, discharge_w))
        return min(11_000, charge_w), min(7_000, discharge_w)

    def show(self, watts: int) -> None:
        """The vehicle draws this, at 1 kV for round numbers, and it is reported."""
        self.mains.present = ports.Measured(1_000_000, watts)
        for each in self.mains.listeners:
            each()

    async def until_fault(self, most_s: float = 20.0) -> float:
        began = self.now
        while not self.faults and self.now < began + most_s:
            await asyncio.sleep(0.01)
        return round(self.now - began, 2)


def output(charge_w: int, discharge_w: int) -> ports.SetAcOutput:
    return ports.SetAcOutput(charge_w, discharge_w)


@at(Place, Place.connect)
async def test_what_is_permitted_is_asked_for_lowered_and_ended(place: Place) -> None:
    assert place.evse.execute(output(22_000, 22_000)) is None
    place.evse.execute(ports.Lower(output(20_000, 5_000)))
    place.evse.execute(ports.Lower(output(9_000, 6_000)))
    place.evse.execute(ports.EmergencyOff("test"))
    place.evse.execute(ports.Lower(output(9_000, 6_000)))
    assert list(dict.fromkeys(place.asked)) == [(22_000, 22_000), (11_000, 5_000), (9_000, 5_000), (0, 0)]


def test_without_a_monitor_everything_is_permitted() -> None:
    assert anything(5, 7) == (5, 7)


LIMITS = [
    (0, 0, 150),
    (0, 0, -150),
    (4_000, 0, 4_500),
    (4_000, 0, -150),
    (0, 4_000, -4_500),
    (10_000, 0, 10_650),
    (20_000, 0, 11_700),  # permitted 11 kW
]
"""What is wanted into and out of the vehicle, and the most that flows with the margin of a sensor and of control."""


@pytest.mark.parametrize(("charge_w", "discharge_w", "most_w"), LIMITS)
@at(Place, Place.connect)
async def test_a_vehicle_that_exceeds_its_limit_is_disconnected_after_its_time(
    place: Place, charge_w: int, discharge_w: int, most_w: int
) -> None:
    if charge_w or discharge_w:  # nothing is allowed from the beginning
        place.evse.execute(output(charge_w, discharge_w))
    await asyncio.sleep(6.0)
    place.show(most_w)
    await asyncio.sleep(10.0)
    assert place.faults == []
    place.show(most_w + (1 if most_w > 0 else -1))
    assert await place.until_fault() == pytest.approx(0.5, abs=0.06)
    assert place.faults == ["over_current"]
    assert not place.evse.contactors_closed


@pytest.mark.parametrize("lower", [output(1_000, 0), ports.Lower(output(1_000, 0)), ports.SetAcOutput(1_000, 9_000)])
@at(Place, Place.connect)
async def test_a_vehicle_has_5_s_to_follow_and_nothing_need_be_reported(place: Place, lower: Any) -> None:
    place.evse.execute(output(11_000, 0))
    place.show(11_000)
    await asyncio.sleep(10.0)
    place.evse.execute(lower)
    assert 5.1 <= await place.until_fault() <= 5.4
    assert place.faults == ["over_current"]


@at(Place, Place.connect)
async def test_a_vehicle_that_feeds_back_has_5_s_to_follow_too(place: Place) -> None:
    place.evse.execute(output(0, 7_000))
    place.show(-7_000)
    await asyncio.sleep(10.0)
    place.evse.execute(output(0, 1_000))
    assert 5.1 <= await place.until_fault() <= 5.4


@at(Place, Place.connect)
async def test_a_vehicle_that_follows_in_time_stays_connected(place: Place) -> None:
    place.evse.execute(output(11_000, 0))
    place.show(11_000)
    await asyncio.sleep(10.0)
    place.evse.execute(output(1_000, 0))
    await asyncio.sleep(4.9)
    place.show(1_500)
    await asyncio.sleep(10.0)
    assert (place.faults, place.evse.contactors_closed) == ([], True)


@at(Place, Place.connect)
async def test_a_change_is_measured_at_once_and_the_contactor_opens_under_load(place: Place) -> None:
    place.evse.execute(output(11_000, 0))
    place.show(9_000)
    assert place.facts[-1] == place.evse.present == ports.Measured(1_000_000, 9_000)
    began = place.now
    assert await place.do(ports.OpenContactors()) == ports.ContactorState(closed=False)
    assert place.now == began
    assert await place.do(ports.StartCableCheck(400_000)) == ports.CableCheckFinished(passed=False)


@at(Place, Place.connect, report_s=0.1)
async def test_each_check_watches_the_mains_without_reports(place: Place) -> None:
    await asyncio.sleep(6.0)
    place.mains.present = ports.Measured(230_000, 9_000)
    await place.until_fault()
    assert place.faults == ["over_current"]


@at(Place, Place.connect)
async def test_after_its_end_nothing_is_watched(place: Place) -> None:
    place.show(200)
    await place.evse.close()
    place.facts.clear()
    await asyncio.sleep(10.0)
    assert place.facts == []


@pytest.mark.parametrize(("how", "faults"), [({}, ["measurements_differ"]), ({"measures": False}, [])])
def test_mains_are_compared_with_a_meter_that_does_not_measure_them_itself(
    how: dict[str, bool], faults: list[str]
) -> None:
    async def scene(place: Place) -> None:
        await place.connect()
        place.evse.execute(output(11_000, 0))
        for _ in range(300):
            place.show(9_000)
            place.meter.import_mwh += 1_000
            await asyncio.sleep(1.0)
        assert place.faults[:1] == faults

    play(Place, scene, report_s=1.0, **how)
