"""A charge point with alternating current: what a vehicle is allowed, and when it is disconnected for exceeding it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secc.hardware.ac import AcEvse, anything, flowing
from secc.hardware.meter_remote import RemoteMeter
from secc.session import ports
from tests.secc.hardware.bare import Bare, LineMeter, at, play
from v2g.energy.conductors import Currents
from v2g.safety.output import Output


class Mains:
    """Shows what it is set to."""

    present, fresh = ports.Measured(230_000, 0), True

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        self.listeners.append(callback)


class Place(Bare):
    """A charge point whose monitor permits 11 kW in and 7 kW out, and 32 A on each line conductor."""

    def __init__(self, *, report_s: float = 1e6, **how: Any) -> None:
        super().__init__()
        self.mains = Mains()
        self.asked: list[tuple[int, int]] = []
        self.parts = replace(self.parts, report_s=report_s, most_w=22_000)
        self.evse = AcEvse(self.parts, self.mains, **{"allow": self.allow} | how)

    def allow(self, wanted: Output, lines: int) -> Output:
        self.asked.append((wanted.charge_w, wanted.discharge_w))
        return wanted.within(Output(11_000, 7_000, 32_000, 32_000))

    def show(self, watts: int) -> None:
        """The vehicle draws this, at 1 kV for round numbers, and it is reported."""
        self.measure(ports.Measured(1_000_000, watts))

    def measure(self, measured: ports.Measured) -> None:
        """This is measured, and reported."""
        self.mains.present = measured
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
    place.evse.execute(ports.LowerOutput(output(20_000, 5_000)))
    place.evse.execute(ports.LowerOutput(output(9_000, 6_000)))
    place.evse.execute(ports.EmergencyOff("test"))
    place.evse.execute(ports.LowerOutput(output(9_000, 6_000)))
    assert list(dict.fromkeys(place.asked)) == [(22_000, 22_000), (11_000, 5_000), (9_000, 5_000), (0, 0)]


def test_without_a_monitor_everything_is_permitted() -> None:
    assert anything(Output(5, 7), 3) == Output(5, 7)


CONDUCTORS = [
    (Currents(13_000, 0, 0), Currents(14_800, 0, 0), ports.SetAcOutput(11_000, 0, charge_ma=13_000)),
    (Currents(5_000, 5_000, 13_000), Currents(5_000, 5_000, 14_800), ports.SetAcOutput(11_000, 0, charge_ma=13_000)),
    (Currents(0, -13_000, 0), Currents(0, -14_800, 0), ports.SetAcOutput(0, 7_000, discharge_ma=13_000)),
    (Currents(13_000, -650, 0), Currents(13_000, -4_000, 0), ports.SetAcOutput(11_000, 0, charge_ma=13_000)),
    (Currents(33_000, 0, 0), Currents(35_000, 0, 0), ports.SetAcOutput(11_000, 0)),  # the monitor permits 32 A
]
"""What may flow, and what may not though the sum is within its bound."""


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(("within", "beyond", "command"), CONDUCTORS)
@at(Place, Place.connect)
async def test_one_conductor_beyond_its_limit_disconnects(
    place: Place, within: Currents, beyond: Currents, command: ports.SetAcOutput
) -> None:
    place.evse.execute(command)
    await asyncio.sleep(6.0)
    place.measure(ports.Measured(230_000, within.total_ma, currents=within))
    await asyncio.sleep(10.0)
    assert place.faults == []
    place.measure(ports.Measured(230_000, beyond.total_ma, currents=beyond))
    assert await place.until_fault() <= 0.56
    assert (place.faults, place.evse.contactors_closed) == (["over_current"], False)


@pytest.mark.requirement("R192")
@at(Place, Place.connect)
async def test_a_conductor_has_5_s_to_follow_a_lower_limit(place: Place) -> None:
    place.evse.execute(ports.SetAcOutput(7_360, 0, charge_ma=32_000, lines=1))
    place.measure(ports.Measured(230_000, 32_000, currents=Currents(32_000)))
    await asyncio.sleep(10.0)
    place.evse.execute(ports.SetAcOutput(7_360, 0, charge_ma=13_000, lines=1))
    assert 5.1 <= await place.until_fault() <= 5.6


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(("lines", "faults"), [(1, ["over_current"]), (3, []), (0, [])])
@at(Place, Place.connect)
async def test_a_sum_without_phases_flows_in_the_conductors_that_the_vehicle_has_said(
    place: Place, lines: int, faults: list[str]
) -> None:
    place.evse.execute(ports.SetAcOutput(11_000, 0, charge_ma=13_000, lines=lines))
    place.measure(ports.Measured(230_000, 39_000))
    await asyncio.sleep(10.0)
    assert place.faults == faults


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


@pytest.mark.parametrize(
    "lower", [output(1_000, 0), ports.LowerOutput(output(1_000, 0)), ports.SetAcOutput(1_000, 9_000)]
)
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


@pytest.mark.parametrize("measures", [True, False])
@pytest.mark.parametrize(("counted_mwh", "faults"), [(1_000, ["measurements_differ"]), (2_500, [])])
def test_what_a_meter_counts_is_compared_with_what_flows_even_where_it_measures_that_itself(
    measures: bool, counted_mwh: int, faults: list[str]
) -> None:
    async def scene(place: Place) -> None:
        await place.connect()
        place.evse.execute(output(11_000, 0))
        for _ in range(300):
            place.show(9_000)
            place.meter.import_mwh += counted_mwh
            await asyncio.sleep(1.0)
        assert place.faults[:1] == faults

    play(Place, scene, report_s=1.0, measures=measures)


class SlowMeter(Bare):
    """A charge point whose meter sends what flows now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.line = LineMeter()
        meter = RemoteMeter("M", self.line, self.clock.monotonic)
        self.mains = meter.mains(230_000)
        self.parts = replace(self.parts, meter=meter, report_s=0.25, most_w=22_000)
        self.evse = AcEvse(self.parts, self.mains, measures=False)

    def show(self, ma: int) -> None:
        self.line.show(power_w=ma * 690 // 1000, currents=Currents(ma, ma, ma), voltage_mv=230_000)


@pytest.mark.parametrize(
    ("late_s", "ma", "found"), [(4.0, 6_000, ()), (8.0, 6_000, ()), (6.0, 16_000, ("over_current",))]
)
@at(SlowMeter, SlowMeter.connect)
async def test_a_reading_says_what_flows_for_a_second(
    place: SlowMeter, late_s: float, ma: int, found: tuple[str, ...]
) -> None:
    """A vehicle follows a lower limit within 5 s; its meter's telegram comes later, or is lost."""
    place.evse.execute(ports.SetAcOutput(charge_w=11_040, charge_ma=16_000, discharge_w=0, discharge_ma=0, lines=3))
    place.show(16_000)
    place.evse.execute(ports.SetAcOutput(charge_w=4_140, charge_ma=6_000, discharge_w=0, discharge_ma=0, lines=3))
    await asyncio.sleep(late_s)
    assert place.evse.faults == ()
    assert flowing(place.mains).watts == 0
    place.show(ma)
    assert flowing(place.mains).watts > 4_000
    await asyncio.sleep(1.0)
    assert place.evse.faults == found
