"""Resistance of a cell from steps of its current (R115)."""

import random

import pytest

from tests.battery.truth import CAPACITY_AH, aged, drive
from v2g.battery import ageing
from v2g.battery.cell import CELLS, CellReading

SETTINGS = ageing.ResistanceSettings()


def run(values: list[tuple[float, float]], capacity_ah: float = 1.0, gap_ms: int = 1000) -> ageing.ResistanceState:
    """Return the estimate from currents (A) and voltages."""
    state, before = ageing.ResistanceState(), None
    for number, (current_a, cell_v) in enumerate(values):
        now = CellReading(number * gap_ms, current_a, cell_v)
        if before is not None:
            state = ageing.update_resistance(SETTINGS, state, before, now, capacity_ah)
        before = now
    return state


@pytest.mark.requirement("R115")
def test_the_resistance_of_a_known_cell_is_found_through_noise() -> None:
    chance = random.Random(1)
    currents = [chance.gauss(0, 0.5) for _ in range(2000)]
    state = run([(each, 3.7 + 0.12 * each + chance.gauss(0, 0.002)) for each in currents])
    assert state.value == pytest.approx(0.12, rel=0.02)
    assert state.growth == pytest.approx(1.0, rel=0.05)
    grown = run([(each, 3.7 + (0.12 if n < 1000 else 0.18) * each) for n, each in enumerate(currents)])
    assert grown.growth == pytest.approx(1.5, rel=0.01)


def test_pybamms_cell_has_the_resistance_that_was_fitted_to_another_day() -> None:
    readings = [(step.reading.current_a, step.reading.cell_v) for step in drive("nmc")]
    state = run(readings, CAPACITY_AH["nmc"], gap_ms=10_000)
    cell = CELLS["nmc"]
    assert cell.r0 < state.value < cell.r0 + cell.r1 + cell.r2  # steps of 10 s hold a part of the reaction's


def test_films_of_aged_cells_raise_it() -> None:
    for cell in aged():
        by_day = []
        for day in (cell.days[0], cell.days[-1]):
            state, before = ageing.ResistanceState(), None
            for second, milliamperes, volts in day:
                now = CellReading(second * 1000, milliamperes / 1000, volts / 10_000)
                if before is not None:
                    state = ageing.update_resistance(SETTINGS, state, before, now, cell.nominal_ah)
                before = now
            by_day.append(state.value)
        assert by_day[1] > 1.1 * by_day[0]


def test_slow_and_small_steps_are_none() -> None:
    assert run([(0.0, 3.7), (1.0, 3.8)], gap_ms=12_001) == ageing.ResistanceState()
    assert run([(0.0, 3.7), (1.0, 3.8)], gap_ms=12_000).steps == 1
    assert run([(0.0, 3.7), (0.099, 3.8)]) == ageing.ResistanceState()
    assert run([(0.0, 3.7), (0.1, 3.8)]).steps == 1
    assert ageing.ResistanceState().growth == 1.0
