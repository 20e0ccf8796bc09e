"""Temperature profiles on labelled days: sound ones, a module that no coolant reaches, a weak pump."""

import math

import pytest

from tests.battery.warm_days import REFERENCE, days
from v2g.battery.heat_profiles import HeatProfileSettings, find
from v2g.errors import ConfigError


def found(seeds: range, **wrong: float) -> int:
    return sum(find(days(seed, **wrong)).shifted for seed in seeds)


@pytest.mark.requirement("R118")
@pytest.mark.long
def test_a_warm_module_is_a_shift_that_is_named_and_other_weather_is_none() -> None:
    sound, warm = find(days(1)), find(days(1, warm_module_k=6.0))
    assert (sound.shifted, warm.shifted, warm.feature) == (False, True, "module 3")
    assert sound.false_alarm_rate == warm.false_alarm_rate == 1 / 26


@pytest.mark.long
def test_the_same_days_give_the_same_answer() -> None:
    assert find(days(1)) == find(days(1))


@pytest.mark.long
@pytest.mark.requirement("R118")
def test_false_alarms_stay_below_their_bound_and_shifts_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    packs = range(26)
    false, warm, weak = found(packs), found(packs, warm_module_k=3.0), found(packs, cooling=0.7)
    with capsys.disabled():
        print(f"\nof {len(packs)} packs: false alarms {false}, warm module {warm}, weak cooling {weak}", end="")  # noqa: T201
    assert false <= len(packs) / (REFERENCE + 1)
    assert min(warm, weak) >= 0.9 * len(packs)


def test_too_few_days_are_an_error() -> None:
    with pytest.raises(ConfigError, match="28 days with temperatures, 63 are needed"):
        find(days(1), HeatProfileSettings(least_days=60))
    with pytest.raises(ConfigError, match="0 days"):
        find({0: {"battery.current": 1.0}, 1: {"battery.temperature.max": math.nan}})
