"""Cell samples to windows, against sums by fractions."""

import random
from fractions import Fraction

import pytest

from v2g.telemetry.cells import BalanceWatch, CellWindows, with_imbalance


@pytest.mark.requirement("R71")
def test_a_second_of_samples_at_1_khz_becomes_ten_exact_windows() -> None:
    chance = random.Random(3)
    samples = [{f"cell {n}": round(chance.uniform(3.6, 3.8), 4) for n in range(24)} for _ in range(1001)]
    windows = CellWindows()
    found = [ended for ms, cells in enumerate(samples) if (ended := windows.add(cells, ms))]
    assert len(found) == 10
    for number, window in enumerate(found):
        part = samples[number * 100 : number * 100 + 100]
        values = [Fraction(value) for cells in part for value in cells.values()]
        means = [sum(Fraction(cells[name]) for cells in part) / 100 for name in part[0]]
        assert window["battery.cell_voltage.min"] == min(values)
        assert window["battery.cell_voltage.max"] == max(values)
        assert window["battery.cell_voltage.mean"] == pytest.approx(float(sum(values) / len(values)), abs=1e-12)
        assert window["battery.cell_voltage.imbalance"] == pytest.approx(float(max(means) - min(means)), abs=1e-12)


@pytest.mark.requirement("R71")
def test_golden_samples() -> None:
    windows = CellWindows()
    assert windows.add({"a": 3.5, "b": 3.75}, 1000) == {}
    assert windows.add({"a": 3.0, "b": 3.25}, 1099.9) == {}
    assert windows.add({"a": 3.0}, 1100) == {
        "battery.cell_voltage.min": 3.0,
        "battery.cell_voltage.max": 3.75,
        "battery.cell_voltage.mean": 3.375,
        "battery.cell_voltage.imbalance": 0.25,
    }
    assert windows.add({"b": 3.0}, 1050) == {}, "late: counted in the present window"
    assert windows.take()["battery.cell_voltage.imbalance"] == 0
    assert windows.take() == {}


@pytest.mark.requirement("R71")
def test_windows_go_on_when_the_adapters_clock_is_set_back() -> None:
    windows = CellWindows()
    assert windows.add({"a": 3.5}, 7_200_000) == {}
    assert windows.add({"a": 3.6}, 3_600_000) == {}
    assert windows.add({"a": 3.7}, 3_600_100)["battery.cell_voltage.max"] == 3.6


@pytest.mark.requirement("R74")
def test_more_than_50_mv_is_out_of_balance_and_50_mv_is_not() -> None:
    watch = BalanceWatch()

    def changed(lowest: float, highest: float) -> float | None:
        return watch.changed(with_imbalance({"battery.cell_voltage.min": lowest, "battery.cell_voltage.max": highest}))

    assert changed(3.700, 3.749) is None
    assert changed(3.700, 3.750) is None
    assert changed(3.700, 3.751) == 0.051
    assert watch.imbalanced
    assert changed(3.700, 3.752) is None
    assert changed(3.700, 3.730) == 0.03
    assert not watch.imbalanced
    assert watch.changed({"battery.voltage": 400}) is None
