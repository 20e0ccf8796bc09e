"""The cells of the simulated battery."""

import msgspec
import pytest

from evcc.app import snapshot
from evcc.hardware.pack import Pack, PackConfig
from evcc.policy.battery import Battery, BatteryConfig

BATTERY = BatteryConfig()


@pytest.mark.requirement("R72")
@pytest.mark.parametrize(
    ("cells", "temperatures", "allowed"),
    [(12, 4, True), (24, 8, True), (11, 4, False), (25, 4, False), (12, 3, False), (12, 9, False)],
)
def test_a_module_has_12_to_24_cells_and_4_to_8_temperatures(cells: int, temperatures: int, *, allowed: bool) -> None:
    given = {"cells": cells, "temperatures": temperatures}
    if allowed:
        assert msgspec.convert(given, PackConfig).cells == cells
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(given, PackConfig)


def test_cells_sum_to_the_voltage_differ_as_configured_and_are_alike_for_one_seed() -> None:
    state = Battery(BATTERY, at_ms=0).state
    config = PackConfig(modules=4, cells=24, temperatures=8, spread_mv=60)
    first, again = (Pack(config, ambient_c=20).measure(state, BATTERY.resistance_ohm) for _ in range(2))
    assert first == again
    assert sum(first.cells_v) * 1000 == pytest.approx(state.voltage_mv)
    assert max(first.cells_v) - min(first.cells_v) == pytest.approx(0.06)
    assert (len(first.cells_v), len(first.temperatures_c)) == (96, 32)
    other = Pack(PackConfig(seed=2), ambient_c=20).measure(state, BATTERY.resistance_ohm)
    assert other.cells_v != first.cells_v


def test_cells_age_warm_and_spread_with_use() -> None:
    battery, pack = Battery(BATTERY, at_ms=0), Pack(PackConfig(), ambient_c=20)
    fresh = snapshot(BATTERY, battery.state, pack)
    at_ms = 0
    for _ in range(400):  # an hour at 100 A, in both directions
        at_ms += 9_000
        battery.advance(at_ms, 50_000 if at_ms // 900_000 % 2 else -50_000)
    used = snapshot(BATTERY, battery.state, pack)
    assert fresh.soh_percent == 97.0
    assert 96.9 < used.soh_percent < 97.0
    assert used.temperature_max > used.temperature_min > used.coolant_temperature > 20
    assert used.cell_voltage_min < used.cell_voltage_mean < used.cell_voltage_max
    assert fresh.cell_voltage_max - fresh.cell_voltage_min == pytest.approx(0.008)
    assert (used.motor_rpm, used.charging_power_w) == (0, used.power_request_w)


def test_a_weak_cell_is_below_the_others_by_what_it_is_said_to_be() -> None:
    state = Battery(BatteryConfig(), at_ms=0).state
    sound, weak = (Pack(PackConfig(weak_mv=mv), ambient_c=20.0).measure(state, 0.05).cells_v for mv in (0.0, 40.0))
    assert sound[0] - weak[0] == pytest.approx(0.04)
    assert sound[1:] == weak[1:]
