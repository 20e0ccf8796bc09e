"""External meters in the charger's interface: rollovers, silence, and the mains behind a contactor."""

from typing import Any

import msgspec
import pytest

from secc.hardware.meter_remote import MeterMains, RemoteMeter
from secc.session import ports
from secc.session.ports import MeterRead
from tests.secc.hardware.bare import LineMeter, run
from v2g.energy.conductors import Currents
from v2g.hardware.interfaces import OnFault

ROLLOVER, MARGIN = 10_000_000_000, 100_000_000
"""Where the registers start again, and what may have flowed between two readings around that, mWh."""


class Place:
    """A meter, and the time."""

    def __init__(self, rollover_mwh: int | None = ROLLOVER) -> None:
        self.now = 3.0
        self.line = LineMeter(rollover_mwh)
        self.meter = RemoteMeter("S", self.line, lambda: self.now)


def test_a_reading_is_what_the_meter_shows() -> None:
    place = Place()
    place.line.show(import_mwh=7, export_mwh=5)
    assert place.meter.read(9) == MeterRead(9, 7, 5, rollover_mwh=ROLLOVER)
    assert (place.meter.serial, place.meter.rollover_mwh) == ("S", ROLLOVER)


def test_a_silent_meter_has_not_answered_and_has_no_power() -> None:
    place = Place()
    place.line.show(import_mwh=7, power_w=5_000)
    assert place.meter.power_w == 5_000
    place.line.lost = True
    assert place.meter.read(9) == MeterRead(9, 7, 0, rollover_mwh=ROLLOVER, answered=False)
    assert place.meter.power_w is None


def test_a_reading_that_is_kept_is_read_for_good_as_of_a_meter_that_does_not_answer() -> None:
    place = Place()
    place.line.show(import_mwh=7, export_mwh=5)
    place.meter.keep(place.meter.read(9))
    place.line.show(import_mwh=7_000, export_mwh=0)
    assert place.meter.read(10) == MeterRead(10, 7, 5, rollover_mwh=ROLLOVER, answered=False)


def test_the_time_of_a_power_is_that_of_its_reading() -> None:
    place = Place()
    assert place.meter.read_at == 3.0
    place.now = 5.0
    assert place.meter.read_at == 3.0
    place.line.show(power_w=1)
    assert place.meter.read_at == 5.0
    place.now = 6.0
    place.line.show(power_w=None)
    assert (place.meter.power_w, place.meter.read_at) == (1, 5.0), "a reading without a power makes no other one newer"
    place.line.show(power_w=2)
    assert (place.meter.power_w, place.meter.read_at) == (2, 6.0)


@pytest.mark.requirement("R192")
def test_currents_without_a_power_are_as_fresh_as_their_reading() -> None:
    place = Place()
    place.now = 9.0
    place.line.show(power_w=None, currents=Currents(16_000, 0, 0))
    assert place.meter.read_at == 9.0
    assert place.meter.mains(230_000).fresh


def test_the_mains_have_the_currents_of_the_lines_that_the_meter_measures() -> None:
    place = Place()
    mains = place.meter.mains(230_000)
    place.line.show(power_w=3_680)
    assert mains.present == ports.Measured(230_000, 16_000)
    place.line.show(currents=Currents(16_100), voltage_mv=230_000)
    assert mains.present == ports.Measured(230_000, 16_000, currents=Currents(16_100))
    place.line.show(power_w=None)
    assert mains.present == ports.Measured(230_000, 16_100, currents=Currents(16_100))
    place.line.show(power_w=0, currents=None, voltage_mv=None, line_w=(3_680, 0, -3_680))  # no voltage: the nominal one
    assert mains.present == ports.Measured(230_000, 0, currents=Currents(16_000, 0, -16_000))
    place.line.show(power_w=4_600, line_w=())
    assert mains.present.current_ma == 20_000
    place.line.show(power_w=None)  # a telegram without a power is not one of 0 W
    assert mains.present == ports.Measured(230_000, 20_000)


@pytest.mark.parametrize(
    ("values", "currents"),
    [
        ({"line_w": (2_300, 0, -2_300)}, Currents(10_000, 0, -10_000)),
        ({"line_w": (2_300, 0, 0), "voltage_mv": 115_000}, None),  # of which line?
        ({"line_w": (2_300, 0, 0), "currents": Currents(9_000)}, Currents(9_000)),
        ({}, None),
    ],
)
def test_powers_of_lines_are_currents_only_where_neither_is_measured(
    values: dict[str, Any], currents: Currents | None
) -> None:
    place = Place()
    place.line.show(power_w=0, **values)
    assert place.meter.mains(230_000).present.currents == currents


@pytest.mark.parametrize(("after_s", "fresh"), [(1.0, True), (1.1, False)])
def test_the_mains_are_fresh_for_a_second_after_a_reading(after_s: float, fresh: bool) -> None:
    place = Place()
    mains = place.meter.mains(230_000)
    place.line.show(power_w=1)
    place.now += after_s
    assert mains.fresh is fresh


def test_what_the_line_does_is_its_own() -> None:
    place = Place()
    run(place.meter.refresh)
    callback: OnFault = lambda word, active: None  # noqa: E731
    place.meter.on_fault(callback)
    place.meter.save()
    place.meter.sync()
    place.meter.close()
    assert (place.line.refreshed, place.line.faults, place.meter.has_voltage) == (1, [callback], True)


@pytest.mark.parametrize(
    ("before", "after", "rolled"),
    [
        (ROLLOVER - 5, 3, 1),
        (ROLLOVER - 5, MARGIN - 5, 1),
        (ROLLOVER - 5, MARGIN - 4, 0),  # falls otherwise
        (ROLLOVER - 5, ROLLOVER - 6, 0),
        (ROLLOVER - 5, ROLLOVER - 5, 0),
        (0, 0, 0),
        (50, 40, 0),
        (ROLLOVER - MARGIN, 0, 1),
        (ROLLOVER - MARGIN - 1, 0, 0),
    ],
)
@pytest.mark.parametrize("register", ["import_mwh", "export_mwh"])
def test_a_register_goes_on_over_its_rollover(register: str, before: int, after: int, rolled: int) -> None:
    place = Place()
    place.line.show(**{register: before})
    place.meter.read(1)
    place.line.show(**{register: after})
    by = (rolled * ROLLOVER, 0) if register == "import_mwh" else (0, rolled * ROLLOVER)
    reading = MeterRead(2, 0, 0, rolled=by, rollover_mwh=ROLLOVER)
    moved = {register: after + rolled * ROLLOVER}
    assert place.meter.read(2) == msgspec.structs.replace(reading, **moved)
    assert place.meter.read(2) == msgspec.structs.replace(reading, **moved)


def test_a_small_register_rolls_over_only_when_it_falls() -> None:
    place = Place(MARGIN // 10)
    for mwh in (5, 5, 6):
        place.line.show(import_mwh=mwh)
        assert place.meter.read(0).import_mwh == mwh
    place.line.show(import_mwh=0)
    assert place.meter.read(0).import_mwh == MARGIN // 10


def test_each_rollover_counts() -> None:
    place = Place()
    for mwh in (ROLLOVER - 1, 0, ROLLOVER - 1, 1):
        place.line.show(import_mwh=mwh)
        reading = place.meter.read(0)
    assert (reading.import_mwh, reading.rolled[0]) == (2 * ROLLOVER + 1, 2 * ROLLOVER)


def test_a_meter_without_rollover_falls() -> None:
    place = Place(None)
    place.line.show(import_mwh=ROLLOVER - 1)
    place.meter.read(0)
    place.line.show(import_mwh=0)
    assert place.meter.read(0) == MeterRead(0, 0, 0)


@pytest.mark.parametrize(
    ("values", "received"),
    [
        ({}, (None, None, ())),
        ({"frequency_mhz": 49_950}, (49.95, None, ())),
        ({"frequency_mhz": 49_950, "voltage_mv": 231_500}, (49.95, 231.5, ())),
        ({"voltage_mv": 231_500}, (None, 231.5, ())),
        ({"line_mv": (231_500, 229_000, 230_250)}, (None, None, (231.5, 229.0, 230.25))),
    ],
)
def test_the_grid_is_reported_with_each_reading_also_where_it_lacks_the_frequency(
    values: dict[str, Any], received: Any
) -> None:
    place, found = Place(), list[Any]()
    place.meter.on_grid(lambda *grid: found.append(grid))
    place.line.show(**values)
    assert found == [received]


@pytest.mark.parametrize(
    ("values", "present"),
    [
        ({}, (230_000, 0)),
        ({"power_w": 2_300}, (230_000, 10_000)),
        ({"power_w": -2_300}, (230_000, -10_000)),
        ({"power_w": 2_300_000, "voltage_mv": 115_000}, (115_000, 20_000_000)),
        ({"power_w": 2_300, "voltage_mv": 0}, (230_000, 10_000)),
    ],
)
def test_the_mains_are_as_the_meter_measures_them(values: dict[str, int], present: tuple[int, int]) -> None:
    place = Place()
    mains = place.meter.mains(230_000)
    assert isinstance(mains, MeterMains)
    changes: list[int] = []
    mains.on_change(lambda: changes.append(1))
    place.line.show(**values)
    assert (mains.present, changes) == (ports.Measured(*present), [1])
