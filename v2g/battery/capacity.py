"""Capacity of a battery by a Kalman filter with adaptive noise (R115).

Its states are `Electrodes`: the capacities of both electrodes and the lithium between them. Two rests and the charge
that flowed between them are a measurement: the first one's open-circuit voltage and the charge predict the second
one's. A capacity from states of charge of the new cell's curve would err by several percent, as the curve ages with
the cell. Each reading that measures little, such as one on the plateau of LFP, moves the estimate as little.

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

from v2g.battery.cell import Cell, Electrodes, Reading

_N: Final = range(3)
_MONTH_S: Final = 30 * 86_400.0
_STEP: Final = 1e-3
"""For differences in place of derivatives."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a battery rests, and how well a rest tells its charge."""

    rest_s: Annotated[
        float, Meta(ge=60, le=86_400, description="time without current until the voltage is open, s")
    ] = 3600.0
    rest_rate: Annotated[float, Meta(gt=0, le=0.2, description="current that counts as none, 1/h")] = 0.02
    open_v: Annotated[float, Meta(gt=0, le=0.1, description="error of a rested voltage, V")] = 0.004
    charge: Annotated[float, Meta(gt=0, le=0.1, description="error of a charge, in proportion")] = 0.005
    least: Annotated[float, Meta(gt=0.01, le=1, description="least charge between rests, of the capacity")] = 0.1
    longest_s: Annotated[float, Meta(gt=0, description="longest time between two rests, s")] = 86_400.0
    unknown: Annotated[float, Meta(gt=0, le=0.2, description="how far a battery may be from new at first")] = 0.05
    lithium: Annotated[float, Meta(gt=0, le=0.1, description="loss of lithium in a month, in proportion")] = 0.005
    material: Annotated[float, Meta(gt=0, le=0.1, description="loss of active material in a month")] = 0.003
    expected: Annotated[float, Meta(ge=0, le=0.1, description="lithium that is lost in a month anyway")] = 0.002
    adapt: Annotated[float, Meta(gt=0, lt=1, description="weight of a new innovation in the noise")] = 0.1


class State(msgspec.Struct, frozen=True):
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


def begin(settings: Settings, cell: Cell) -> State:
    """Return the estimate of a battery that may be new or used."""
    covariance = tuple(settings.unknown**2 if n % 4 == 0 else 0.0 for n in range(9))
    return _with_capacity(cell, State(cell.fresh, covariance, 1.0, 1.0))


def update(
    settings: Settings, cell: Cell, state: State, now: Reading, rate: float, now_rate: float, seconds: float
) -> State:
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


def _measure(settings: Settings, cell: Cell, state: State, before_v: float, now_v: float) -> State:
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


def measure(settings: Settings, cell: Cell, state: State, capacity: float, deviation: float) -> State:
    """Return the estimate after a measurement of the capacity itself, such as that of a full discharge."""
    innovation = capacity - state.capacity
    variance = deviation**2 / state.noise  # trusted as it says
    return _corrected(settings, cell, state, _capacity_gradient(cell, state.electrodes), innovation, variance)


def _corrected(
    settings: Settings, cell: Cell, state: State, gradient: list[float], innovation: float, variance: float
) -> State:
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


def _with_capacity(cell: Cell, state: State) -> State:
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


def _aged(settings: Settings, state: State) -> Electrodes:
    """Return the electrodes as they are expected to be now."""
    here = state.electrodes
    return Electrodes(here.positive, here.negative, here.lithium - settings.expected * state.age_s / _MONTH_S)


def _near(value: float, fresh: float) -> float:
    return min(1.2 * fresh, max(0.4 * fresh, value))
