"""Needs that only energy that flowed has changed are not new (`v2g.energy.needs`)."""

import msgspec
import pytest

from tests.together import together
from v2g.energy.needs import ENERGY_WH, EvNeeds

NEEDS = EvNeeds(
    service="DC_BPT", control_mode="dynamic", max_charge_w=11_000, max_current_ma=30_000, max_voltage_mv=400_000,
    departure_ms=0, target_energy_wh=9_000, max_energy_wh=27_000, min_energy_wh=-15_000, min_v2x_energy_wh=-9_000,
)  # fmt: skip
ENERGIES = ("target_energy_wh", "max_energy_wh", "min_energy_wh", "min_v2x_energy_wh")


def moved(wh: int, *, clipped: bool = False) -> EvNeeds:
    """Return them after some charging (below 0: discharging); `clipped`: nothing below 0 is sent."""
    left = {name: getattr(NEEDS, name) - wh for name in ENERGIES}
    return msgspec.structs.replace(NEEDS, **{name: max(0, wh) if clipped else wh for name, wh in left.items()})


@together("wh", [-8_000, -100, 0, 100, 9_000, 20_000])
def test_what_flowed_makes_no_new_needs(wh: int) -> None:
    assert moved(wh).go_on_from(NEEDS)


def test_a_target_that_is_reached_may_be_sent_as_nothing() -> None:
    before = msgspec.structs.replace(NEEDS, min_energy_wh=0, min_v2x_energy_wh=0)
    assert moved(12_000, clipped=True).go_on_from(before)


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("by_wh", [-ENERGY_WH - 1, ENERGY_WH + 1])
def test_another_wish_is_new(name: str, by_wh: int) -> None:
    charged = moved(3_000)
    changed = msgspec.structs.replace(charged, **{name: getattr(charged, name) + by_wh})
    assert not changed.go_on_from(NEEDS)


def test_energy_for_the_grid_that_is_known_only_now_is_new() -> None:
    before = msgspec.structs.replace(NEEDS, min_v2x_energy_wh=None)
    assert not NEEDS.go_on_from(before)
    assert before.go_on_from(before)


def test_a_single_energy_that_grows_is_new() -> None:
    """Nothing else shows that the vehicle discharged: it may want more."""
    before = msgspec.structs.replace(NEEDS, max_energy_wh=None, min_energy_wh=None, min_v2x_energy_wh=None)
    for by_wh, same in ((ENERGY_WH, True), (ENERGY_WH + 1, False), (-ENERGY_WH - 1, True)):
        now = msgspec.structs.replace(before, target_energy_wh=9_000 + by_wh)
        assert now.go_on_from(before) is same
