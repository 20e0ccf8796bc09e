"""Capacity in half a year, with its interval (R122).

Health falls by a root of time, as films on graphite grow more slowly the thicker they are, and by time, as material is
lost: `start - root x sqrt(t) - line x t`, t in years. These three are estimated month by month, as in a Kalman filter
of what does not change, and begin with what is usual: few months of one vehicle say little of a bend.

Not foreseen: a knee, where plating or loss of material begins to run away. What deviates is found by `cusum`.
"""

import math
from typing import Final

import msgspec

HALF_YEAR: Final = 0.5
_N: Final = range(3)


class State(msgspec.Struct, frozen=True):
    """Mean and covariance (by rows) of the start, the root's and the line's coefficient (share for each year)."""

    mean: tuple[float, float, float] = (1.0, 0.03, 0.01)
    covariance: tuple[float, ...] = (4e-4, 0.0, 0.0, 0.0, 4e-4, 0.0, 0.0, 0.0, 4e-4)
    observed: int = 0


def update(state: State, years: float, health: float, deviation: float) -> State:
    """Return the state after a health (1: as new) with a standard deviation, `years` after the first one."""
    row = _row(years)
    spread = [sum(state.covariance[3 * n + k] * row[k] for k in _N) for n in _N]
    total = sum(row[n] * spread[n] for n in _N) + deviation**2
    error = health - sum(row[n] * state.mean[n] for n in _N)
    start, root, line = (state.mean[n] + spread[n] / total * error for n in _N)
    return State(
        (start, root, line),
        tuple(state.covariance[3 * n + k] - spread[n] * spread[k] / total for n in _N for k in _N),
        state.observed + 1,
    )


def at(state: State, years: float) -> tuple[float, float]:
    """Return the health that is expected `years` after the first one, and its standard deviation."""
    row = _row(years)
    variance = sum(row[n] * state.covariance[3 * n + k] * row[k] for n in _N for k in _N)
    health = sum(row[n] * state.mean[n] for n in _N)
    return max(0.0, health), math.sqrt(max(0.0, variance))


def _row(years: float) -> tuple[float, float, float]:
    return 1.0, -math.sqrt(max(0.0, years)), -max(0.0, years)
