"""The picture of a battery with a weak cell, by the back end's estimators and the command that draws them."""

from collections.abc import Iterator
from typing import Final

from v2g.battery import health
from v2g.battery.cell import CELLS, Electrodes, PackModel
from v2g.battery.sample import Sample
from v2g_cli.csms.vehicle_plot import battery_rows, chart

_CELL, _PACK = CELLS["nmc"], PackModel("nmc", 150.0, 96)
_DAYS: Final = 100
"""Until the model was fitted three times, and a forecast is known."""
_STEP_S: Final = 900
_LOST: Final = 0.08
_WEAK: Final = 0.9
"""Capacity of the weak cell, beside that of the others; its resistance is twice theirs."""


def _course() -> Iterator[tuple[float, float]]:
    """Yield rate (1/h) and state of charge of a day, at each quarter hour: parked, driven, charged at night."""
    soc = 0.85
    for quarter in range(96):
        hour = quarter / 4
        rate = -0.25 if 7 <= hour < 8 or 17 <= hour < 18.5 else 0.15625 if 20 <= hour < 24 else 0.0
        yield rate, soc
        soc += rate / 4


def samples(first_ms: int) -> Iterator[tuple[Sample, dict[str, float]]]:
    """Yield what is measured of the pack, and values of its cells, every quarter hour of 100 days."""
    aged = Electrodes(_CELL.fresh.positive, _CELL.fresh.negative, _CELL.fresh.lithium - _LOST)
    empty, full = _CELL.range(aged)
    size_ah = aged.negative * (full - empty) * _PACK.capacity_ah

    def cell_v(soc: float, rate: float, resistance: float) -> float:
        return _CELL.voltage(aged, empty + soc * (full - empty)) + rate * _CELL.r0 * resistance

    course = [
        (rate, soc, cell_v(soc, rate, 1.0), cell_v(0.85 + (soc - 0.85) / _WEAK, rate, 2.0)) for rate, soc in _course()
    ]
    for day in range(_DAYS):
        for quarter, (rate, soc, sound_v, weak_v) in enumerate(course):
            values = {"battery.current": rate * size_ah, "battery.voltage": 95 * sound_v + weak_v}
            yield (
                Sample(first_ms + 1000 * (86_400 * day + _STEP_S * quarter), values),
                {
                    "battery.soc": 100 * soc,
                    "battery.cell_voltage.min": min(sound_v, weak_v),
                    "battery.cell_voltage.max": max(sound_v, weak_v),
                    "battery.temperature.max": 24.0 + 16 * abs(rate),
                },
            )


def picture() -> str:
    """Return the last day as SVG."""
    settings, state = health.HealthSettings(pack=_PACK), health.HealthState()
    shown, first_ms = [], 1_790_000_000_000 // 86_400_000 * 86_400_000
    for sample, values in samples(first_ms):
        state, _ = health.step(settings, state, sample)
        if sample.at_ms >= first_ms + 86_400_000 * (_DAYS - 1):
            shown.append((sample.at_ms, values, health.estimates(state)))
    names = ("battery.soc", "battery.soh", *(name for name in shown[0][1] if name != "battery.soc"))
    signals = {name: [values.get(name) for _, values, _ in shown] for name in names}
    edges = [*(at_ms for at_ms, _, _ in shown), shown[-1][0] + 1000 * _STEP_S]
    return chart("A battery with a weak cell", edges, battery_rows(signals, [each for _, _, each in shown]))
