"""Scores by physics computed here, and on labelled fleets of a generator that did not tune them."""

import pytest

from benchmarks.fleets import BEGIN_MS
from benchmarks.fleets.traffic import TRAFFIC
from benchmarks.scores import Tally, held, shifted
from v2g.battery import downtime, driving, scores
from v2g.battery.sample import Sample

SETTINGS = scores.ScoreSettings()
HALF_DAY_MS = 43_200_000


def driven(*speeds: float, power_w: float = 0.0, context: str = "city", **values: float) -> driving.DrivingState:
    """Return the state after speeds (m/s), one a second."""
    others = {name.replace("_", "."): value for name, value in values.items()}
    state = driving.DrivingState()
    for second, speed in enumerate(speeds):
        sample = Sample(BEGIN_MS + 1000 * second, {"vehicle.speed": speed * 3.6, "battery.power": power_w, **others})
        state = driving.step(SETTINGS.driving, state, sample, context)
    return state


@pytest.mark.requirement("R214")
def test_brakes_take_what_neither_resistance_nor_battery_took() -> None:
    """1,900 kg from 20 m/s to rest in 10 s: 380 kJ, of which 210 N and 0.40 N s2/m2 take 21 and 21 kJ."""
    slower = [20.0, 20.0, *(20.0 - 2 * second for second in range(1, 11)), 0.0]
    alone = driven(*slower).brakes_j
    assert alone == pytest.approx(380_000 - 21_000 - 0.40 * 20**4 / (4 * 2), rel=0.02)
    recovered = driven(*slower, power_w=17_000.0).brakes_j
    assert alone - recovered == pytest.approx(10 * 17_000 / 0.85, rel=0.06)
    assert driven(*slower, power_w=60_000.0).brakes_j == 0.0


@pytest.mark.requirement("R214")
def test_a_phantom_braking_is_one_after_which_the_vehicle_is_soon_as_fast_again() -> None:
    cruise, braked = [30.0] * 5, [26.0, 22.0, 21.9]
    again = [22.0 + 1.5 * second for second in range(8)]
    assert driven(*cruise, *braked, *again).phantoms == 1
    assert driven(*cruise, *braked, *([22.0] * 20), *again).phantoms == 0, "behind another vehicle"
    assert driven(*cruise, 26, 22, 18, 14, 10, 6, 2, 0.0, *([0.0] * 3)).phantoms == 0, "a stop"


@pytest.mark.requirement("R214")
def test_idling_counts_in_the_cold_with_the_heater_on_and_not_at_a_charger() -> None:
    rest = [0.0] * 400
    assert driven(*rest, power_w=-2000.0, ambient_temperature=-3.0).idle_s == pytest.approx(399)
    for warm in (
        driven(*rest, power_w=-2000.0, ambient_temperature=12.0),
        driven(*rest, power_w=-300.0, ambient_temperature=-3.0),
        driven(*rest, power_w=-2000.0, context="charging", ambient_temperature=-3.0),
        driven(*rest[:190], power_w=-2000.0, ambient_temperature=-3.0),
    ):
        assert warm.idle_s == warm.idlings == 0


@pytest.mark.requirement("R214")
def test_a_gap_between_records_counts_nothing() -> None:
    state = driven(0.0, 0.0)
    late = Sample(BEGIN_MS + 60_000, {"vehicle.speed": 90.0, "battery.power": 0.0})
    assert driving.step(SETTINGS.driving, state, late, "city").strong == 0
    assert driven(0.0, 1.0, 4.5, 8.0, 9.0).strong == 1


@pytest.mark.requirement("R123")
@pytest.mark.parametrize(
    ("begin", "daily", "expected"), [(0.01, 0.02, True), (0.01, 0.0, False), (0.10, 0.0, False), (0.20, -0.01, False)]
)
def test_downtime_is_expected_of_what_grows_towards_its_limit(begin: float, daily: float, expected: bool) -> None:
    """The cells' difference grows by 20 mV a day and passes 0.15 V on the seventh; what is high and stays is none,
    nor is what was beyond it and falls."""
    state = downtime.DowntimeState()
    for slot in range(24):
        grown = begin + max(0.0, slot / 2 - 5) * daily
        sample = Sample(BEGIN_MS + slot * HALF_DAY_MS, {"battery.cell_voltage.imbalance": grown})
        state = downtime.step(SETTINGS.downtime, state, sample)
    assert state.expected == (("imbalance",) if expected else ())


def test_a_battery_ages_twice_as_fast_ten_kelvin_warmer_and_full_ones_faster() -> None:
    def rate(celsius: float, soc: float) -> float:
        return scores.ageing(SETTINGS, {"battery.temperature.max": celsius, "battery.soc": soc}) or 0.0

    assert rate(25, 50) == pytest.approx(1.0)
    assert rate(35, 50) == pytest.approx(1.8, abs=0.2)
    assert rate(25, 90) > rate(25, 20)


@pytest.mark.requirement("R214", "R123", "R60")
def test_a_small_held_out_fleet_keeps_its_figures() -> None:
    tallies = held(TRAFFIC, range(5, 10), 0.3, 50).tallies
    assert set(tallies) == set(scores.FIGURES)
    assert tallies["downtime"] == Tally(hits=4)
    assert tallies["cold_idlings"] == Tally(hits=3)
    assert tallies["strong_accelerations"] == Tally(hits=1)
    assert tallies["phantom_brakings"].hits >= 5


@pytest.mark.long
@pytest.mark.requirement("R214", "R123", "R60")
@pytest.mark.parametrize("first", [1000, 1150])
def test_the_figures_shown_are_reached_on_held_out_fleets(first: int) -> None:
    found = held(TRAFFIC, range(first, first + 150), 0.7, 90)
    for name, shown in scores.FIGURES.items():
        tally = found.tallies[name]
        assert tally.precision >= shown.precision, (name, tally)
        assert tally.recall >= shown.recall, (name, tally)
    assert max(found.brakes_error, found.ageing_error) < 0.10


@pytest.mark.requirement("R214")
def test_a_world_that_shifts_by_a_fifth_is_reported_and_one_that_does_not_is_not() -> None:
    assert shifted(TRAFFIC, 5, 72, 0.0) == ()
    more = {each.name: each.share for each in shifted(TRAFFIC, 5, 72, 0.2)}
    less = {each.name: each.share for each in shifted(TRAFFIC, 5, 72, -0.2)}
    assert more["resistance"] == pytest.approx(0.2, abs=0.08)
    assert less["resistance"] == pytest.approx(-0.2, abs=0.08)
