"""Pictures of vehicles' telemetry over time, from aggregates of the back end."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from v2g.svg_chart import Row, Series, stairs_chart
from v2g.typed_json import Fields

POWER: Final = "charging.power"
SOC: Final = "battery.soc"

Known = Sequence[float | None]
"""The value in each interval, None where there was none."""


def held(intervals: Iterable[Fields], starts_ms: Sequence[int]) -> Known:
    """Return the mean in each interval, None where nothing was known."""
    means = {each["at_ms"]: each["mean"] for each in intervals}
    return [means.get(start) for start in starts_ms]


def fleet_rows(power: Sequence[Known], soc: Sequence[Known]) -> tuple[Row, ...]:
    """Return power, state of charge, and numbers of vehicles; each sequence has an entry for a vehicle."""
    columns = [[each for each in column if each is not None] for column in zip(*power, strict=True)]
    charges = [[each for each in column if each is not None] for column in zip(*soc, strict=True)]
    return (
        Row(
            "power, kW",
            (
                Series("blue", "into vehicles", [sum(each for each in found if each > 0) / 1000 for found in columns]),
                Series("green", "fed back", [sum(each for each in found if each < 0) / 1000 for found in columns]),
            ),
        ),
        Row(
            "vehicles",
            (
                Series("blue", "charging", [sum(each > 0 for each in found) for found in columns]),
                Series("green", "feeding back", [sum(each < 0 for each in found) for found in columns]),
            ),
        ),
        Row(
            "state of charge, %",
            (
                Series("blue", "highest", [max(found, default=None) for found in charges]),
                Series("orange", "mean", [sum(found) / len(found) if found else None for found in charges]),
                Series("green", "lowest", [min(found, default=None) for found in charges]),
            ),
        ),
    )


def vehicle_rows(values: Mapping[str, Known]) -> tuple[Row, ...]:
    """Return a row for each signal of one vehicle."""
    from v2g.telemetry.signals import SIGNALS  # on demand

    return tuple(
        Row(f"{name}, {SIGNALS[name].unit}".rstrip(", "), (Series("blue", "", found),))
        for name, found in values.items()
        if any(each is not None for each in found)
    )


BATTERY: Final = (SOC, "battery.soh", "battery.cell_voltage.min", "battery.cell_voltage.max", "battery.temperature.max")
"""Signals of a battery's picture."""

_LATER: Final = "soh_in_half_a_year"
_HEALTH_BASE: Final = 70.0

BATTERY_WIDTH_S: Final = 900
"""Width of the intervals of estimates."""


def battery_rows(signals: Mapping[str, Known], estimates: Sequence[Mapping[str, float]]) -> tuple[Row, ...]:
    """Return charge and health, as reported and as estimated with twice the standard deviation on both sides, cells
    and temperature; `estimates` has an entry for each interval. What is not known has no row."""

    def estimated(name: str, sign: float) -> Known:
        found = ((each.get(f"{name}_percent"), each.get(f"{name}_deviation_percent", 0.0)) for each in estimates)
        return [None if value is None else min(100.0, max(0.0, value + 2 * sign * width)) for value, width in found]

    def compared(signal: str, name: str) -> tuple[Series, ...]:
        return (
            Series("blue", "reported", signals[signal]),
            Series("green", "estimated", estimated(name, 0.0)),
            Series("red", "lower bound", estimated(name, -1.0)),
            Series("red", "upper bound", estimated(name, 1.0)),
        )

    lowest, highest = (signals[f"battery.cell_voltage.{each}"] for each in ("min", "max"))
    pairs = zip(lowest, highest, strict=True)
    spread = [None if low is None or high is None else 1000 * (high - low) for low, high in pairs]
    rows = (
        Row("state of charge, %", compared(SOC, "soc")),
        Row("state of health, %", compared("battery.soh", "soh"), _HEALTH_BASE),
        Row(
            "state of health half a year later, %",
            (
                Series("green", "expected", estimated(_LATER, 0.0)),
                Series("red", "lower bound", estimated(_LATER, -1.0)),
                Series("red", "upper bound", estimated(_LATER, 1.0)),
            ),
            _HEALTH_BASE,
        ),
        Row("cells apart, mV", (Series("orange", "", spread),)),
        Row("hottest cell, degC", (Series("blue", "", signals["battery.temperature.max"]),)),
    )
    known = ((row, tuple(each for each in row.series if any(v is not None for v in each.values))) for row in rows)
    return tuple(row._replace(series=series) for row, series in known if series)


def fleet_health_rows(health: Sequence[Fields]) -> tuple[Row, ...]:
    """Return the health of a fleet's batteries, and how many are too low, now and half a year later."""

    def over_time(name: str) -> Known:
        return [each[name] for each in health]

    return (
        Row(
            "state of health, %",
            (
                Series("blue", "highest", over_time("highest_percent")),
                Series("orange", "mean", over_time("mean_percent")),
                Series("green", "lowest", over_time("lowest_percent")),
                Series("red", "mean half a year later", over_time("expected_percent")),
            ),
            _HEALTH_BASE,
        ),
        Row(
            "vehicles",
            (
                Series("blue", "with an estimate", over_time("vehicles")),
                Series("orange", "too low", over_time("low")),
                Series("red", "too low half a year later", over_time("expected_low")),
            ),
        ),
    )


def chart(label: str, edges_ms: Sequence[int], rows: Sequence[Row]) -> str:
    """Return the picture, SVG: each series has a value for each edge, or for each interval between two."""
    return stairs_chart(label, edges_ms, rows, number=_number)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
