"""The cells of the simulated battery."""

import msgspec
import pytest

from evcc.app import snapshot
from evcc.hardware.pack import PackConfig, SensedPack
from evcc.policy.battery import Battery, BatteryConfig
from tests.together import together

BATTERY = BatteryConfig()


@pytest.mark.requirement("R72")
@together(
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
    first, again = (SensedPack(config, ambient_c=20).measure(state, BATTERY.resistance_ohm) for _ in range(2))
    assert first == again
    assert sum(first.cells_v) * 1000 == pytest.approx(state.voltage_mv)
    assert max(first.cells_v) - min(first.cells_v) == pytest.approx(0.06)
    assert (len(first.cells_v), len(first.temperatures_c)) == (96, 32)
    other = SensedPack(PackConfig(seed=2), ambient_c=20).measure(state, BATTERY.resistance_ohm)
    assert other.cells_v != first.cells_v


def test_cells_age_warm_and_spread_with_use() -> None:
    battery, pack = Battery(BATTERY, at_ms=0), SensedPack(PackConfig(), ambient_c=20)
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
    sound, weak = (
        SensedPack(PackConfig(weak_mv=mv), ambient_c=20.0).measure(state, 0.05).cells_v for mv in (0.0, 40.0)
    )
    assert sound[0] - weak[0] == pytest.approx(0.04)
    assert sound[1:] == weak[1:]


def test_a_pack_without_configuration_has_96_cells_and_32_sensors_and_is_that_of_seed_1() -> None:
    state = Battery(BATTERY, at_ms=0).state
    pack = SensedPack(PackConfig(), ambient_c=20).measure(state, BATTERY.resistance_ohm)
    assert (len(pack.cells_v), len(pack.temperatures_c), len(pack.modules_c)) == (96, 32, 8)
    assert pack == SensedPack(PackConfig(seed=1), ambient_c=20).measure(state, BATTERY.resistance_ohm)
    weak = SensedPack(PackConfig(weak_mv=0.0), ambient_c=20).measure(state, BATTERY.resistance_ohm)
    assert weak == pack


def test_a_current_spreads_cells_by_a_tenth_of_their_share_of_the_resistance() -> None:
    state = msgspec.structs.replace(Battery(BATTERY, at_ms=0).state, current_ma=0)
    pack = SensedPack(PackConfig(modules=64), ambient_c=20)
    rest = pack.measure(state, 0.05).cells_v
    for current_ma, sign in ((100_000, 1), (-50_000, -0.5)):
        loaded = pack.measure(msgspec.structs.replace(state, current_ma=current_ma), 0.05).cells_v
        shares = [(each - before) / (sign * 100 * 0.05 / 768) for each, before in zip(loaded, rest, strict=True)]
        assert min(shares) == pytest.approx(-0.1, abs=0.005)
        assert max(shares) == pytest.approx(0.1, abs=0.005)
        assert sum(shares) == pytest.approx(0, abs=1e-6)


def test_sensors_differ_by_a_seventh_in_warmth_and_modules_have_their_mean() -> None:
    state = msgspec.structs.replace(Battery(BATTERY, at_ms=0).state, temperature_c=60.0)
    found = SensedPack(PackConfig(modules=64, temperatures=8), ambient_c=10.0).measure(state, 0.05)
    assert min(found.temperatures_c) == pytest.approx(10 + 50 * 0.85, abs=0.25)
    assert max(found.temperatures_c) == pytest.approx(10 + 50 * 1.15, abs=0.25)
    assert found.modules_c == pytest.approx(
        [sum(found.temperatures_c[8 * each : 8 * each + 8]) / 8 for each in range(64)]
    )
    assert found.coolant_c == 35


@pytest.mark.parametrize(
    ("above_k", "current_ma", "runs"),
    [
        (0.0, 0, False),
        (1.99, 0, False),
        (2.0, 0, True),
        (-5.0, 0, False),
        (0.0, 1, True),
        (0.0, -1, True),
        (5.0, 1, True),
    ],
)
@pytest.mark.parametrize("pump", [12.0, 3.5])
def test_the_pump_runs_with_a_current_and_while_the_pack_is_warm(
    above_k: float, current_ma: int, pump: float, *, runs: bool
) -> None:
    state = msgspec.structs.replace(Battery(BATTERY, at_ms=0).state, temperature_c=20 + above_k, current_ma=current_ma)
    config = PackConfig() if pump == 12 else PackConfig(coolant_l_min=pump)
    assert SensedPack(config, ambient_c=20).measure(state, 0.05).coolant_l_min == (pump if runs else 0)


@pytest.mark.parametrize(
    ("charged_mwh", "discharged_mwh", "soc", "health", "cycles", "kpa"),
    [
        (0, 0, 50, 97, 225, 102.08),
        (100_000_000_000, 80_000_000_000, 100, 77, 1_725, 103.88),
        (10**13, 0, 0, 0, 83_558.333, 107.3),
    ],
)
def test_each_1500_full_cycles_cost_a_fifth_and_press_the_housings_air(
    charged_mwh: int, discharged_mwh: int, soc: float, health: float, cycles: float, kpa: float
) -> None:
    used = msgspec.structs.replace(
        Battery(BATTERY, at_ms=0).state, charged_mwh=charged_mwh, discharged_mwh=discharged_mwh, soc=soc
    )
    found = SensedPack(PackConfig(), ambient_c=20).measure(used, 0.05)
    assert found.health_percent == pytest.approx(health)
    assert found.cycles == pytest.approx(cycles)
    assert found.pressure_kpa == pytest.approx(kpa, abs=0.001)
