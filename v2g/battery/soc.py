"""State of charge by coulomb counting, corrected by the voltage: an extended Kalman filter (R114).

Its states are the charge, the voltages of the two RC pairs, and the offset of the current sensor; its model is `Cell`.
Plett, "Extended Kalman filtering for battery management systems", J. Power Sources 134 (2004) 252-292.

A model's error is no white noise: it lasts as long as a load does. So the variance of a voltage is that of the error
times how many samples fall into the time for which it lasts, and ten samples a second say no more than one in ten
seconds. Each estimate has its standard deviation; it includes errors of the sensor that the filter cannot see.

Against PyBaMM's cells (Doyle, Fuller, Newman) on a day of driving, V2G and charging, with a gain error of the current
of 1 %, an offset of C/100 and a start that is 10 % wrong: see `tests/battery/test_soc.py` for the figures.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.cell import Cell, CellReading, Curve

_ROWS: Final = tuple(slice(4 * n, 4 * n + 4) for n in range(4))


class SocSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far current, voltage and model are believed."""

    gain: Annotated[float, Meta(ge=0, le=0.2, description="error of the current in proportion")] = 0.01
    offset: Annotated[float, Meta(gt=0, le=0.2, description="offset of the current, 1/h of the capacity")] = 0.01
    stays_h: Annotated[float, Meta(gt=0, le=10_000, description="time constant of the offset, h")] = 48.0
    rest_v: Annotated[float, Meta(gt=0, le=0.5, description="error of cell and sensor at rest, V")] = 0.003
    load: Annotated[
        float, Meta(ge=0, le=1, description="error of the model under load, as a share of what the load changes")
    ] = 0.3
    lasts_s: Annotated[float, Meta(gt=0, le=36_000, description="how long an error lasts, s")] = 300.0


class SocState(msgspec.Struct, frozen=True):
    """Estimate at a reading, and its covariance by rows."""

    last: CellReading
    soc: float
    v1: float
    v2: float
    offset: float
    """Current that is measured and does not flow, 1/h."""
    covariance: tuple[float, ...]
    load_v: float = 0.0
    """What loads of the last minutes may have added to the model's error, V."""

    @property
    def deviation(self) -> float:
        """Standard deviation of the state of charge."""
        return math.sqrt(max(0.0, self.covariance[0]))


def begin(
    settings: SocSettings, cell: Cell, curve: Curve, first: CellReading, capacity_ah: float, soc: float | None = None
) -> SocState:
    """Return the estimate from a first reading: by its voltage where the charge is unknown."""
    rate = first.current_a / capacity_ah
    guess = curve.soc_at(first.cell_v - rate * (cell.r0 + cell.r1 + cell.r2)) if soc is None else soc
    spread = (0.1**2, (cell.r1 * abs(rate)) ** 2 + 1e-6, (cell.r2 * abs(rate)) ** 2 + 1e-6, settings.offset**2)
    covariance = [0.0] * 16
    for n, each in enumerate(spread):
        covariance[5 * n] = each
    return SocState(first, guess, 0.0, 0.0, 0.0, tuple(covariance))


def update(
    settings: SocSettings,
    cell: Cell,
    curve: Curve,
    state: SocState,
    now: CellReading,
    current_a: float,
    capacity_ah: float,
) -> SocState:
    """Return the estimate after a mean current (A) since the last reading; an earlier reading changes nothing."""
    seconds = (now.at_ms - state.last.at_ms) / 1000
    if seconds <= 0:
        return state
    hours, measured = seconds / 3600, current_a / capacity_ah
    rate = measured - state.offset
    a1, a2 = math.exp(-seconds / cell.tau1_s), math.exp(-seconds / cell.tau2_s)
    b1, b2 = cell.r1 * (1 - a1), cell.r2 * (1 - a2)
    soc = state.soc + rate * hours
    v1, v2 = a1 * state.v1 + b1 * rate, a2 * state.v2 + b2 * rate
    stays = math.exp(-hours / settings.stays_h)
    # F P F' of a step that keeps a share of each state, and in which the offset adds to the others; written out, as
    # it costs each sample most
    p, (o0, o1, o2, o3) = list[float](), state.covariance[12:]
    for row, kept, added in zip(_ROWS, (1.0, a1, a2, stays), (hours, b1, b2, 0.0), strict=True):
        c0, c1, c2, c3 = state.covariance[row]
        c3 = kept * c3 - added * o3
        p += (
            kept * c0 - added * o0 - c3 * hours,
            (kept * c1 - added * o1) * a1 - c3 * b1,
            (kept * c2 - added * o2) * a2 - c3 * b2,
            c3 * stays,
        )
    p[0] += (settings.gain * rate) ** 2 * hours
    p[5] += (0.1 * b1 * rate) ** 2
    p[10] += (0.1 * b2 * rate) ** 2
    p[15] += settings.offset**2 * (1 - stays**2)
    now_rate = now.current_a / capacity_ah - state.offset
    load_v = max(abs(now_rate) * (cell.r0 + cell.r1 + cell.r2), state.load_v * math.exp(-seconds / cell.tau2_s))
    error_v = settings.rest_v + settings.load * load_v
    variance = error_v**2 * max(1.0, settings.lasts_s / seconds)
    slope = curve.slope_v(soc)
    ph = [c0 * slope + c1 + c2 - c3 * cell.r0 for c0, c1, c2, c3 in map(p.__getitem__, _ROWS)]
    innovation = now.cell_v - (curve.open_v(soc) + v1 + v2 + cell.r0 * now_rate)
    h0, h1, h2, h3 = ph
    total = slope * h0 + h1 + h2 - cell.r0 * h3 + variance
    gain = [each / total for each in ph]
    covariance = list[float]()
    for row, by in zip(_ROWS, gain, strict=True):
        c0, c1, c2, c3 = p[row]
        covariance += (c0 - by * h0, c1 - by * h1, c2 - by * h2, c3 - by * h3)
    return SocState(
        now,
        min(1.05, max(-0.05, soc + gain[0] * innovation)),
        v1 + gain[1] * innovation,
        v2 + gain[2] * innovation,
        stays * state.offset + gain[3] * innovation,
        tuple(covariance),
        load_v,
    )
