"""All detectors: their settings, their states as one document, and one step of those that a place runs.

A detector is a module here with `Settings`, `State` (frozen, serialisable) and `step`. Adding one is a field in
`Settings` and `State`, and its `step` in `_STEPS`; that of an estimator has `estimates(state)` in `_ESTIMATES`, too.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from v2g.battery import limits as _limits
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

_STEPS: Final[Mapping[str, Callable[[Any, Any, Sample], tuple[Any, tuple[Finding, ...]]]]] = {
    "limits": _limits.step,
}

_ESTIMATES: Final[Mapping[str, Callable[[Any], Mapping[str, float]]]] = {}
"""Functions that return what an estimator's state says, by name with unit: `soc_percent`."""

RAW: Final[frozenset[str]] = frozenset()
"""Detectors that get values that are no finite number, too."""

EDGE: Final = frozenset({"limits"})
"""Detectors that a gateway runs beside the cells."""

BACK_END: Final = frozenset(_STEPS)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of all detectors."""

    limits: _limits.Settings = _limits.Settings()


class State(msgspec.Struct, frozen=True):
    """States of all detectors of one battery."""

    limits: _limits.State = _limits.State()


def step(
    settings: Settings, state: State, sample: Sample, which: Collection[str] = BACK_END
) -> tuple[State, tuple[Finding, ...]]:
    """Let detectors take a sample; return their states and what they found, in a fixed order."""
    clean = sample
    if not all(map(math.isfinite, sample.values.values())):
        clean = Sample(sample.at_ms, {name: each for name, each in sample.values.items() if math.isfinite(each)})
    found: list[Finding] = []
    states: dict[str, Any] = {}
    for name, each in _STEPS.items():
        if name in which:
            taken = sample if name in RAW else clean
            states[name], new = each(getattr(settings, name), getattr(state, name), taken)
            found += new
    return msgspec.structs.replace(state, **states), tuple(found)


def estimates(state: State) -> dict[str, float]:
    """Return what all estimators know, by name; what they do not know yet is not there."""
    return {name: value for key, each in _ESTIMATES.items() for name, value in each(getattr(state, key)).items()}
