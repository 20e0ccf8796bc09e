"""Cell samples to windows, against sums by fractions."""

import random
from fractions import Fraction

import pytest

from v2g.telemetry.batch import Batcher
from v2g.telemetry.cells import CellRecorder, CellStatistics, CellSummary, CellWindows, HeatGradient
from v2g.telemetry.signals import CellSamples, encode_record


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


@pytest.mark.requirement("R71")
def test_a_second_has_the_variance_of_all_samples_and_the_steepest_change_of_a_cell() -> None:
    """Against the definition, in fractions; one of 24 cells falls, in the middle of noise."""
    chance = random.Random(5)
    statistics, found, seconds = CellStatistics(), list[dict[str, float]](), list[list[dict[str, float]]]()
    for ms in range(0, 3001, 10):
        cells = {f"cell {n}": round(chance.gauss(3.7, 0.002), 4) for n in range(24)}
        cells["cell 9"] -= 0.2 * ms / 1000
        if ms % 1000 == 0:
            seconds.append([])
        seconds[-1].append(cells)
        if ended := statistics.add(cells, 10_000 + ms):
            found.append(ended)
    for number, ended in enumerate(found):
        samples = [Fraction(value) for cells in seconds[number] for value in cells.values()]
        mean = sum(samples) / len(samples)
        variance = sum((each - mean) ** 2 for each in samples) / len(samples)
        assert ended["battery.cell_voltage.variance"] == pytest.approx(float(variance), abs=1e-12)
        assert ("battery.cell_voltage.gradient" in ended) is (number > 0)
    assert [each["battery.cell_voltage.gradient"] for each in found[1:]] == [pytest.approx(-0.2, abs=0.002)] * 2


def test_statistics_go_on_when_the_clock_is_set_back_and_after_silence() -> None:
    statistics = CellStatistics()
    assert statistics.add({"a": 3.5}, 9_000_000) == {}
    assert statistics.add({"a": 3.4}, 1_000_000) == {}
    assert "battery.cell_voltage.gradient" not in statistics.add({"a": 3.3}, 1_001_000)
    assert statistics.add({"a": 3.3}, 1_011_000)["battery.cell_voltage.gradient"] == pytest.approx(-0.15)


def test_heat_rises_by_what_it_rises_and_a_clock_that_was_set_counts_for_nothing() -> None:
    heat = HeatGradient()
    found = [heat.add({"battery.temperature.max": 30 + ms / 2000}, ms) for ms in range(0, 20_001, 100)]
    assert found.count({}) == len(found) - 16, "once a second, from 5 s on"
    assert all(each["battery.temperature.gradient"] == pytest.approx(0.5) for each in found if each)
    assert heat.add({"battery.temperature.max": 90.0}, 1000) == heat.add({}, 2000) == {}


def volts(at_ms: int, cells: int = 96) -> dict[int, float]:
    return {number: 3.6 + number / 1000 + at_ms / 1e7 for number in range(1, cells + 1) if number != 5}


def test_samples_around_a_finding_are_those_that_came_and_each_is_sent_once() -> None:
    recorder = CellRecorder(CellSummary(before_s=5, after_s=3), 96)
    parts: list[CellSamples] = []
    for at_ms in range(0, 20_001, 100):
        parts += recorder.add(volts(at_ms), at_ms)
        if at_ms in (10_000, 10_500):  # the second is of the same trouble
            parts += recorder.found(at_ms)
    sent = {part.begin_ms + after: row for part in parts for after, row in part.samples}
    assert sorted(sent) == list(range(5000, 13_001, 100))
    assert sum(len(part.samples) for part in parts) == len(sent)
    for at_ms, row in sent.items():
        assert row[4] is None
        assert {number: each for number, each in enumerate(row, 1) if each is not None} == {
            number: round(voltage * 10_000) for number, voltage in volts(at_ms).items()
        }


@pytest.mark.parametrize(("cells", "hertz"), [(96, 1000), (2000, 50), (12, 10)])
def test_samples_around_a_finding_are_bounded_in_number_and_in_octets(cells: int, hertz: int) -> None:
    recorder = CellRecorder(CellSummary(), cells)
    everything = dict.fromkeys(range(1, cells + 1), 4.9999)
    parts: list[CellSamples] = []
    for number in range(25 * hertz):
        parts += recorder.add(everything, number * 1000 // hertz)
        if number == 12 * hertz:
            parts += recorder.found(12_000)
    rows = sum(len(part.samples) for part in parts)
    assert 0 < rows <= 2002
    assert rows * cells <= 210_000
    assert all(len(encode_record(Batcher("EV-1", 1).cells(part, 1))) <= 60_000 for part in parts)


def test_no_samples_are_sent_where_none_are_wanted_and_a_clock_that_was_set_back_begins_anew() -> None:
    off = CellRecorder(CellSummary(before_s=0, after_s=0), 3)
    assert off.add(volts(0, 3), 0) == off.found(0) == ()
    recorder = CellRecorder(CellSummary(), 3)
    assert recorder.add(volts(0, 3), 90_000) == recorder.add(volts(0, 3), 1000) == ()
    assert recorder.add(volts(0, 3), 2000) == ()
    (part,) = recorder.found(2000)
    assert [part.begin_ms + after for after, _ in part.samples] == [2000]
