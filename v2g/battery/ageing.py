"""Ageing of a battery: capacity, resistance, cycles, and the forecast (R115, R122).

The capacity is estimated by a Kalman filter with adaptive noise. Its states are `Electrodes`: the capacities of both
electrodes and the lithium between them. Two rests and the charge that flowed between them are a measurement: the first
one's open-circuit voltage and the charge predict the second one's. A capacity from states of charge of the new cell's
curve would err by several percent, as the curve ages with the cell. Each reading that measures little, such as one on
the plateau of LFP, moves the estimate as little.

The noise of measurements is scaled by what their innovations show (Mehra, "Approaches to adaptive filtering", IEEE
Trans. Automatic Control 17 (1972) 693-698): where cell and description differ, each measurement is trusted less.

A gain error of the current sensor is an error of the capacity in the same proportion: nothing here can see it. An
offset is one of opposite signs in charging and discharging, and largely cancels out. The offset that `soc` finds is not
taken out: it holds what the circuit's model lacks, too.
"""

import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.cell import Cell, CellReading, Electrodes

_N: Final = range(3)
_MONTH_S: Final = 30 * 86_400.0
_STEP: Final = 1e-3
"""For differences in place of derivatives."""


class CapacitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a battery rests, and how well a rest tells its charge."""

    rest_s: Annotated[
        float, Meta(ge=60, le=86_400, description="time without current until the voltage is open, s")
    ] = 3600.0
    rest_rate: Annotated[float, Meta(gt=0, le=0.2, description="current that counts as none, 1/h")] = 0.02
    open_v: Annotated[float, Meta(gt=0, le=0.1, description="error of a rested voltage, V")] = 0.004
    charge: Annotated[float, Meta(gt=0, le=0.1, description="error of a charge, in proportion")] = 0.005
    least: Annotated[float, Meta(gt=0.01, le=1, description="least charge between rests, of the capacity")] = 0.1
    longest_s: Annotated[float, Meta(gt=0, le=31_622_400, description="longest time between two rests, s")] = 86_400.0
    unknown: Annotated[float, Meta(gt=0, le=0.2, description="how far a battery may be from new at first")] = 0.05
    lithium: Annotated[float, Meta(gt=0, le=0.1, description="loss of lithium in a month, in proportion")] = 0.005
    material: Annotated[float, Meta(gt=0, le=0.1, description="loss of active material in a month")] = 0.003
    expected: Annotated[float, Meta(ge=0, le=0.1, description="lithium that is lost in a month anyway")] = 0.002
    adapt: Annotated[float, Meta(gt=0, lt=1, description="weight of a new innovation in the noise")] = 0.1


class CapacityState(msgspec.Struct, frozen=True):
    """Estimate, and the charge since the last rest; charges and capacities in proportion to a new battery."""

    electrodes: Electrodes
    covariance: tuple[float, ...]
    capacity: float
    deviation: float
    """Standard deviation of the capacity."""
    noise: float = 1.0
    """How much more measurements scatter than expected, as a variance."""
    measured: int = 0
    apparent: float = 1.0
    """Mean capacity of recent measurements by the new cell's curve: rough, but nothing can mislead it for long."""
    rested_v: float | None = None
    """A cell's voltage at the last rest."""
    charge: float = 0.0
    """Charged since then."""
    since_s: float = 0.0
    idle_s: float = 0.0
    """For how long no current has flowed."""
    age_s: float = 0.0
    """Time since the last measurement."""


def begin(settings: CapacitySettings, cell: Cell) -> CapacityState:
    """Return the estimate of a battery that may be new or used."""
    covariance = tuple(settings.unknown**2 if n % 4 == 0 else 0.0 for n in range(9))
    return _with_capacity(cell, CapacityState(cell.fresh, covariance, 1.0, 1.0))


def update_capacity(
    settings: CapacitySettings,
    cell: Cell,
    state: CapacityState,
    now: CellReading,
    rate: float,
    now_rate: float,
    seconds: float,
) -> CapacityState:
    """Return the estimate after a mean current `rate` (1/h) for some time."""
    resting = abs(now_rate) < settings.rest_rate and abs(rate) < 2 * settings.rest_rate
    state = msgspec.structs.replace(
        state,
        charge=state.charge + rate * seconds / 3600,
        since_s=state.since_s + seconds,
        age_s=state.age_s + seconds,
        idle_s=state.idle_s + seconds if resting else 0.0,
    )
    if state.idle_s < settings.rest_s:
        return state
    if state.rested_v is not None and abs(state.charge) >= settings.least and state.since_s <= settings.longest_s:
        state = _measure(settings, cell, state, state.rested_v, now.cell_v)
    return msgspec.structs.replace(state, rested_v=now.cell_v, charge=0.0, since_s=0.0)


def _measure(
    settings: CapacitySettings, cell: Cell, state: CapacityState, before_v: float, now_v: float
) -> CapacityState:
    def predicted(electrodes: Electrodes, open_v: float, charge: float) -> float:
        return cell.voltage(electrodes, cell.filling(electrodes, open_v) + charge / electrodes.negative)

    here, charge = _aged(settings, state), state.charge
    expected_v = predicted(here, before_v, charge)
    by_voltage = (predicted(here, before_v + _STEP, charge) - expected_v) / _STEP
    by_charge = (predicted(here, before_v, charge * (1 + _STEP)) - expected_v) / _STEP
    gradient = [(predicted(each, before_v, charge) - expected_v) / _STEP for each in _varied(here)]
    change = (cell.filling(cell.fresh, now_v) - cell.filling(cell.fresh, before_v)) * cell.fresh.negative
    if abs(change) >= settings.least:
        state = msgspec.structs.replace(state, apparent=state.apparent + 0.2 * (charge / change - state.apparent))
    variance = settings.open_v**2 * (1 + by_voltage**2) + (settings.charge * by_charge) ** 2
    return _corrected(settings, cell, state, gradient, now_v - expected_v, variance)


def measure(
    settings: CapacitySettings, cell: Cell, state: CapacityState, capacity: float, deviation: float
) -> CapacityState:
    """Return the estimate after a measurement of the capacity itself, such as that of a full discharge."""
    innovation = capacity - state.capacity
    variance = deviation**2 / state.noise  # trusted as it says
    return _corrected(settings, cell, state, _capacity_gradient(cell, state.electrodes), innovation, variance)


def _corrected(
    settings: CapacitySettings,
    cell: Cell,
    state: CapacityState,
    gradient: list[float],
    innovation: float,
    variance: float,
) -> CapacityState:
    p = list(state.covariance)
    for n, fade in enumerate((settings.material, settings.material, settings.lithium)):
        p[4 * n] += fade**2 * state.age_s / _MONTH_S
    ph = [sum(p[3 * n + k] * gradient[k] for k in _N) for n in _N]
    spread = max(0.0, sum(gradient[n] * ph[n] for n in _N))
    seen = min(25.0, max(0.25, (innovation**2 - spread) / variance))
    noise = (1 - settings.adapt) * state.noise + settings.adapt * seen if state.measured else state.noise
    total = spread + noise * variance
    gain = [each / total for each in ph]
    most = 5 * math.sqrt(total)  # a single wrong measurement must not carry the estimate away
    pull = min(most, max(-most, innovation))
    here, fresh = _aged(settings, state), cell.fresh
    electrodes = Electrodes(
        _near(here.positive + gain[0] * pull, fresh.positive),
        _near(here.negative + gain[1] * pull, fresh.negative),
        _near(here.lithium + gain[2] * pull, fresh.lithium),
    )
    left = [[p[3 * n + k] - gain[n] * ph[k] for k in _N] for n in _N]  # Joseph's form, which stays positive
    back = [sum(left[n][k] * gradient[k] for k in _N) for n in _N]
    covariance = tuple(left[n][k] - back[n] * gain[k] + gain[n] * gain[k] * noise * variance for n in _N for k in _N)
    return _with_capacity(
        cell,
        msgspec.structs.replace(
            state, electrodes=electrodes, covariance=covariance, noise=noise, measured=state.measured + 1, age_s=0.0
        ),
    )


def _with_capacity(cell: Cell, state: CapacityState) -> CapacityState:
    gradient = _capacity_gradient(cell, state.electrodes)
    variance = sum(gradient[n] * state.covariance[3 * n + k] * gradient[k] for n in _N for k in _N)
    return msgspec.structs.replace(
        state, capacity=cell.capacity(state.electrodes), deviation=math.sqrt(max(0.0, variance))
    )


def _capacity_gradient(cell: Cell, here: Electrodes) -> list[float]:
    capacity = cell.capacity(here)
    return [(cell.capacity(each) - capacity) / _STEP for each in _varied(here)]


def _varied(here: Electrodes) -> tuple[Electrodes, Electrodes, Electrodes]:
    return (
        Electrodes(here.positive + _STEP, here.negative, here.lithium),
        Electrodes(here.positive, here.negative + _STEP, here.lithium),
        Electrodes(here.positive, here.negative, here.lithium + _STEP),
    )


def _aged(settings: CapacitySettings, state: CapacityState) -> Electrodes:
    """Return the electrodes as they are expected to be now."""
    here = state.electrodes
    return Electrodes(here.positive, here.negative, here.lithium - settings.expected * state.age_s / _MONTH_S)


def _near(value: float, fresh: float) -> float:
    return min(1.2 * fresh, max(0.4 * fresh, value))


# Cycles of a battery by rainflow counting, reading by reading (R115): ASTM E1049-85, section 5.4.4.
#
# The charge rises and falls in long and short swings, and each wears by its depth. Turning points are kept until they
# close a cycle; what stays open counts half.

BINS: Final = 10
"""Depths are counted by tenths of the charge."""
_MOST: Final = 64
"""Turning points that stay open at most; nested swings between 0 and 1 that differ by `NOISE` are fewer in practice."""
NOISE: Final = 0.01
"""A swing of less is none."""


class CycleState(msgspec.Struct, frozen=True):
    """Counted cycles, and what is open."""

    turns: tuple[float, ...] = ()
    """Turning points, and the newest value, which may go on."""
    counted: tuple[float, ...] = (0.0,) * BINS
    """Cycles by depth: half or whole ones."""
    full: float = 0.0
    """Equivalent full cycles: the sum of depths."""

    @property
    def total(self) -> float:
        """Equivalent full cycles, open swings as halves."""
        return self.full + sum(abs(b - a) for a, b in zip(self.turns, self.turns[1:], strict=False)) / 2


def update_cycles(state: CycleState, soc: float) -> CycleState:
    """Return the count after a state of charge (0 to 1)."""
    turns = state.turns
    if not turns:
        return CycleState((soc,), state.counted, state.full)
    if abs(soc - turns[-1]) < NOISE:
        return state
    open_ = [*turns[:-1], soc] if len(turns) > 1 and (soc - turns[-1]) * (turns[-1] - turns[-2]) > 0 else [*turns, soc]
    counted, full = list(state.counted), state.full

    def count(depth: float, share: float) -> None:
        nonlocal full
        counted[min(BINS - 1, int(depth * BINS + 1e-9))] += share
        full += depth * share

    while len(open_) >= 3:
        newest, before = abs(open_[-1] - open_[-2]), abs(open_[-2] - open_[-3])
        if newest < before:
            break
        if len(open_) == 3:  # the swing has the first point of all
            count(before, 0.5)
            del open_[0]
        else:
            count(before, 1.0)
            del open_[-3:-1]
    if len(open_) > _MOST:
        count(abs(open_[1] - open_[0]), 0.5)
        del open_[0]
    return CycleState(tuple(open_), tuple(counted), full)


# Internal resistance by recursive least squares with forgetting (R115).
#
# When the current steps, the voltage of a cell steps by the resistance; what charge and diffusion do to it in the same
# seconds is small. So changes of both between readings that follow each other quickly are a regression through zero.
# Ljung, "System Identification", 2nd ed., section 11.2.


class ResistanceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which steps count, and how long."""

    within_s: Annotated[float, Meta(gt=0, le=60, description="longest time between two readings of a step, s")] = 12.0
    step: Annotated[float, Meta(gt=0, le=5, description="smallest step of the current, 1/h")] = 0.1
    forget: Annotated[float, Meta(ge=0.5, le=1, description="weight of all earlier steps after a new one")] = 0.98
    reference: Annotated[int, Meta(ge=1, le=1000, description="steps that make the resistance of the new battery")] = 20


class ResistanceState(msgspec.Struct, frozen=True):
    """Estimate in V for each 1/h of a cell: ohm times Ah, as in `Cell`."""

    value: float = 0.0
    spread: float = 1e3
    """Inverse of the steps' sum of squares so far."""
    steps: int = 0
    fresh: float = 0.0
    """The value when `reference` steps were known; 0 before."""

    @property
    def growth(self) -> float:
        """Resistance in proportion to that of the new battery; 1 while that is not known."""
        return self.value / self.fresh if self.fresh > 0 else 1.0


def update_resistance(
    settings: ResistanceSettings, state: ResistanceState, before: CellReading, now: CellReading, capacity_ah: float
) -> ResistanceState:
    """Return the estimate after two readings, the same one where they are no step."""
    rate = (now.current_a - before.current_a) / capacity_ah
    if now.at_ms - before.at_ms > settings.within_s * 1000 or abs(rate) < settings.step:
        return state
    gain = state.spread * rate / (settings.forget + rate * state.spread * rate)
    value = state.value + gain * (now.cell_v - before.cell_v - rate * state.value)
    steps = state.steps + 1
    return ResistanceState(
        value=value,
        spread=(1 - gain * rate) * state.spread / settings.forget,
        steps=steps,
        fresh=value if steps == settings.reference else state.fresh,
    )


# Capacity in half a year, with its interval (R122).
#
# Health falls by a root of time, as films on graphite grow more slowly the thicker they are, and by time, as material
# is lost: `start - root x sqrt(t) - line x t`, t in years. These three are estimated month by month, as in a Kalman
# filter of what does not change, and begin with what is usual: few months of one vehicle say little of a bend.
#
# Not foreseen: a knee, where plating or loss of material begins to run away. What deviates is found by `cusum`.

HALF_YEAR: Final = 0.5


class ForecastState(msgspec.Struct, frozen=True):
    """Mean and covariance (by rows) of the start, the root's and the line's coefficient (share for each year)."""

    mean: tuple[float, float, float] = (1.0, 0.03, 0.01)
    covariance: tuple[float, ...] = (4e-4, 0.0, 0.0, 0.0, 4e-4, 0.0, 0.0, 0.0, 4e-4)
    observed: int = 0


def update_forecast(state: ForecastState, years: float, health: float, deviation: float) -> ForecastState:
    """Return the state after a health (1: as new) with a standard deviation, `years` after the first one."""
    row = _row(years)
    spread = [sum(state.covariance[3 * n + k] * row[k] for k in _N) for n in _N]
    total = sum(row[n] * spread[n] for n in _N) + deviation**2
    error = health - sum(row[n] * state.mean[n] for n in _N)
    start, root, line = (state.mean[n] + spread[n] / total * error for n in _N)
    return ForecastState(
        (start, root, line),
        tuple(state.covariance[3 * n + k] - spread[n] * spread[k] / total for n in _N for k in _N),
        state.observed + 1,
    )


def forecast_at(state: ForecastState, years: float) -> tuple[float, float]:
    """Return the health that is expected `years` after the first one, and its standard deviation."""
    row = _row(years)
    variance = sum(row[n] * state.covariance[3 * n + k] * row[k] for n in _N for k in _N)
    health = sum(row[n] * state.mean[n] for n in _N)
    return max(0.0, health), math.sqrt(max(0.0, variance))


def _row(years: float) -> tuple[float, float, float]:
    return 1.0, -math.sqrt(max(0.0, years)), -max(0.0, years)
