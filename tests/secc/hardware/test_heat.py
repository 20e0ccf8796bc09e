"""A part of the charger that heats itself: found from its sensors, off at once and for good (R126)."""

import asyncio
import math
from pathlib import Path

import pytest

from secc.hardware.heat import Derating, DeratingLimits, HeatLimits, HeatWatch
from tests.secc.hardware.bare import at
from tests.secc.hardware.channel import Place, Stage, Switch
from tests.together import together
from v2g.hardware.interfaces import OFF, Demand
from v2g.io.hardware.emergency import Emergency, SimulatedEmergencyOutput
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.emergency_log import FILE, EmergencyLog


def rising(rate: float, start_c: float = 60.0, seconds: float = 6.0) -> list[tuple[float, float | None]]:
    """Return s and degrees C, ten times a second."""
    return [(n / 10, start_c + rate * n / 10) for n in range(round(seconds * 10) + 1)]


def found_at(trace: list[tuple[float, float | None]], limits: HeatLimits | None = None) -> float | None:
    """Return when a runaway is found, at a sensor beside one that is cool."""
    watch = HeatWatch(limits or HeatLimits())
    for now, celsius in trace:
        if found := watch.look({"cabinet": 30.0, "plug": celsius}, now + 1000.0):
            assert found == {"cabinet": 30.0, "plug": celsius}
            return now
    return None


@together(
    ("trace", "at_s"),
    [
        (rising(5.0), 3.0),  # hot from 2.1 s on; the rise takes 3 s
        (rising(1.0, 68.0), 3.0),
        (rising(0.9, 68.0, 30.0), None),  # hot, and slow: over_temperature ends it
        (rising(5.0, 20.0, 9.0), None),  # fast, and not hot
        ([(n / 10, 60.0 if n < 30 else 300.0) for n in range(100)], None),  # a sensor that jumps, and stays
        ([(n / 10, 60.0 if n % 10 else 300.0) for n in range(300)], None),  # one wrong sample each second
        ([(n / 10, 60.0 if n % 10 else None) for n in range(300)], None),
        ([(n / 10, 150.0) for n in range(300)], None),  # stuck
    ],
)
def test_hot_and_fast_is_a_runaway(trace: list[tuple[float, float | None]], at_s: float | None) -> None:
    assert found_at(trace) == at_s


@pytest.mark.parametrize("wrong", [None, math.nan, 20.0, -100.0])
def test_wrong_samples_hide_none(wrong: float | None) -> None:
    trace = [(now, wrong if round(now * 10) % 7 == 3 else celsius) for now, celsius in rising(5.0, 60.0, 8.0)]
    found = found_at(trace)
    assert found is not None
    assert found <= 5.0


def test_limits_are_those_of_the_configuration() -> None:
    assert found_at(rising(3.0, 60.0), HeatLimits(gradient=4.0)) is None
    assert found_at(rising(5.0, 60.0), HeatLimits(gradient_s=5.0)) == 5.0
    assert found_at(rising(5.0, 60.0), HeatLimits(temperature_c=100.0)) is None


def test_signs_at_two_sensors_are_no_runaway_of_one() -> None:
    watch = HeatWatch(HeatLimits())
    for n in range(100):
        assert not watch.look({"plug": 20 + 0.3 * n, "cabinet": 80.0}, n / 10)


def test_the_default_limits() -> None:
    """They are those of the reference: no power beyond -40 and 90 degrees, all of it from -30 to 60."""
    assert HeatLimits() == HeatLimits(gradient=1.0, gradient_s=3.0, temperature_c=70.0)
    assert DeratingLimits() == DeratingLimits(curve=CURVE, hysteresis_k=3.0, rise_percent_s=1.0)
    assert found_at(rising(5.0, 60.0), HeatLimits(gradient_s=0.1)) == 3.0  # never before three seconds


def test_two_parts_that_heat_themselves_are_found() -> None:
    watch, found = HeatWatch(HeatLimits()), 0
    for n in range(100):
        found += bool(watch.look({"cable": 60 + n / 2, "plug": 30.0}, n / 10))
    assert found == 1


def test_sensors_beyond_any_number_are_not_watched() -> None:
    watch = HeatWatch(HeatLimits())
    for n in range(100):
        assert not watch.look({str(each): 60.0 for each in range(64)} | {"plug": 60 + n / 2}, n / 10)
    watch = HeatWatch(HeatLimits())
    assert any(watch.look({str(each): 60.0 for each in range(63)} | {"plug": 60 + n / 2}, n / 10) for n in range(100))


class Heated:
    """A plug whose temperature is set."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.temperatures: dict[str, float | None] = {"plug": 60.0}
        self.disk, self.log = DiskThread(), EmergencyLog.open(folder / FILE)
        self.output = SimulatedEmergencyOutput(None)
        emergency = Emergency(self.output, self.log, self.disk, utc_ms=lambda: 7, observe=place.events.append)
        place.channel.watch_heat(HeatWatch(HeatLimits()), lambda: self.temperatures, emergency)

    async def close(self) -> None:
        await self.disk.close()
        self.log.close()


async def burn(place: Place, heated: Heated, until: float, rate: float = 5.0) -> None:
    """Let the plug heat itself for a while, changing every 10 ms."""
    for n in range(round(until * 100)):
        heated.temperatures["plug"] = 60 + rate * n / 100
        await asyncio.sleep(0.01)


@pytest.mark.requirement("R126", "R127")
def test_energy_ends_within_100_ms_of_the_sign_and_for_good(tmp_path: Path) -> None:
    @at(Place)
    async def scenario(place: Place) -> None:
        heated, switch, stage = Heated(tmp_path, place), Switch(), Stage()
        contactor, output = place.channel.contactor(switch), place.channel.stage(stage)
        contactor.set(closed=True)
        output.drive(Demand(400_000, 10_000, 4_000))
        began = asyncio.get_running_loop().time()
        ended: list[float] = []
        switch.listeners.append(lambda _: ended.append(asyncio.get_running_loop().time() - began))
        task = asyncio.ensure_future(burn(place, heated, 4.0))
        while not ended:
            stage.report()
            await asyncio.sleep(0.05)
        assert 3.0 <= ended[0] <= 3.1 + 0.1  # a second is over at a check, each 0.1 s; 0.1 s to the command
        assert (switch.closed, stage.driven[-1], heated.output.asserted) == (False, OFF, True)
        assert place.opened == ["thermal_runaway"]
        assert ("thermal_runaway", True) in place.evse.reported
        await task
        heated.temperatures["plug"] = 25.0  # it cools, and nothing comes back
        await asyncio.sleep(30)
        contactor.set(closed=True)
        output.drive(Demand(400_000, 10_000, 4_000))
        assert (switch.closed, stage.driven[-1].power_w, heated.output.asserted) == (False, 0, True)
        await heated.close()
        assert heated.log.latched is not None
        assert heated.log.latched.evidence.keys() == {"plug"}

    scenario()


@pytest.mark.requirement("R126")
def test_a_plug_that_heats_itself_with_nobody_there_is_found(tmp_path: Path) -> None:
    @at(Place)
    async def scenario(place: Place) -> None:
        heated = Heated(tmp_path, place)
        await burn(place, heated, 6.0)
        assert ("thermal_runaway", True) in place.evse.reported
        await heated.close()

    scenario()


CURVE = ((-40.0, 0.0), (-30.0, 1.0), (60.0, 1.0), (90.0, 0.0))


@pytest.mark.requirement("R128")
@together(
    ("celsius", "percent"),
    [(25, 100), (60, 100), (66, 80), (75, 50), (89.8, 0), (90, 0), (200, 0), (-30, 100), (-35, 50), (-40, 0), (-60, 0)],
)
def test_power_falls_at_once_by_the_curve(celsius: float, percent: int) -> None:
    derating = Derating(DeratingLimits(curve=CURVE))
    assert derating.percent == 100
    assert derating.look({"plug": celsius, "cabinet": 25.0}, 0.0) == 100  # one sample may be wrong
    assert derating.look({"plug": celsius, "cabinet": 25.0}, 0.25) == percent
    assert derating.percent == percent


@pytest.mark.requirement("R128")
def test_power_rises_slowly_and_not_before_a_part_is_so_much_cooler() -> None:
    derating = Derating(DeratingLimits(curve=CURVE, hysteresis_k=3.0, rise_percent_s=2.0))
    assert [derating.look({"plug": 75.0}, each) for each in (0.0, 1.0)] == [100, 50]
    assert derating.look({"plug": 72.0}, 100.0) == 50  # 60 % at this temperature, and 50 % at 3 K more
    assert derating.look({"plug": 66.0}, 101.0) == 52
    assert derating.look({"plug": 66.0}, 103.0) == 56
    assert derating.look({"plug": 66.0}, 200.0) == 70
    assert derating.look({"plug": 57.0}, 201.0) == 72
    assert derating.look({"plug": 57.0}, 214.9) == 99
    assert derating.look({"plug": 57.1}, 300.0) == 99
    assert derating.look({"plug": 57.0}, 301.0) == 100
    assert derating.look({"plug": 50.0}, 200.0) == 100  # whatever time it is
    assert [derating.look({"plug": 25.0, "cabinet": -35.0}, each) for each in (302.0, 303.0)] == [100, 50]
    assert derating.look({"plug": 25.0, "cabinet": -33.0}, 400.0) == 50
    assert derating.look({"plug": 25.0, "cabinet": -27.0}, 500.0) == 100


@pytest.mark.parametrize("wrong", [None, math.nan, math.inf, 85.0, -100.0])
def test_a_wrong_sample_between_right_ones_costs_no_power(wrong: float | None) -> None:
    derating = Derating(DeratingLimits())
    for n in range(100):
        assert derating.look({"plug": wrong if n % 2 else 25.0}, n / 4) == 100


def test_sensors_that_all_fail_leave_it_as_it_is() -> None:
    derating = Derating(DeratingLimits(curve=CURVE))
    for now in (0.0, 1.0):
        derating.look({"plug": 75.0}, now)
    assert derating.look({"plug": None}, 100.0) == 50
    assert derating.look({}, 200.0) == 50
    assert derating.look({"plug": math.nan, "cabinet": math.inf}, 300.0) == 50
    assert derating.look({"plug": math.nan, "cabinet": 25.0}, 310.0) == 50, "the one that was hot is not measured"
    assert derating.look({"plug": 25.0}, 309.0) == 50  # time does not go back
    assert derating.look({"plug": 25.0}, 319.0) == 60


def test_power_never_rises_from_a_higher_temperature() -> None:
    derating, last = Derating(DeratingLimits()), 100
    for n in range(400):
        percent = derating.look({"plug": 50 + n / 8}, n / 4)
        assert percent <= last
        last = percent
    assert last == 0


def test_a_curve_that_is_none_is_rejected() -> None:
    with pytest.raises(ValueError, match="curve: its temperatures must rise"):
        DeratingLimits(curve=((0.0, 0.0), (0.0, 1.0), (40.0, 0.0)))
