"""All detectors: their settings, their states as one document, and one step of those that a place runs.

A detector is a module here with `Settings`, `State` (frozen, serialisable) and `step`. Adding one is a field in
`Settings` and `State`, and its `step` in `_STEPS`; that of an estimator has `estimates(state)` in `_ESTIMATES`, too.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from v2g.battery import cusum as _cusum
from v2g.battery import data_quality as _data
from v2g.battery import health as _health
from v2g.battery import imbalance as _imbalance
from v2g.battery import limits as _limits
from v2g.battery import runaway as _runaway
from v2g.battery import twin as _twin
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

_STEPS: Final[Mapping[str, Callable[..., tuple[object, tuple[Finding, ...]]]]] = {
    "limits": _limits.step,
    "runaway": _runaway.step,
    "imbalance": _imbalance.step,
    "drift": _cusum.step,
    "health": _health.step,
    "twin": _twin.step,
}

_ESTIMATES: Final[Mapping[str, Callable[..., Mapping[str, float]]]] = {
    "health": _health.estimates,
    "twin": _twin.estimates,
}
"""Functions that return what an estimator's state says, by name with unit: `soc_percent`."""

UNFILTERED: Final = frozenset({"runaway"})
"""Detectors that do not wait whether a jump stays: two signs of theirs are no glitch."""

EDGE: Final = frozenset({"limits", "runaway", "imbalance"})
"""Detectors that a gateway runs beside the cells."""

BACK_END: Final = frozenset(_STEPS)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of all detectors."""

    data: _data.Settings = _data.Settings()
    limits: _limits.Settings = _limits.Settings()
    runaway: _runaway.Settings = _runaway.Settings()
    imbalance: _imbalance.Settings = _imbalance.Settings()
    drift: _cusum.Settings = _cusum.Settings()
    health: _health.Settings = _health.Settings()
    twin: _twin.Settings = _twin.Settings()

    def __post_init__(self) -> None:
        """Let the twin be one of the battery that `health` describes, if it has no description of its own."""
        if self.twin.pack is None:
            msgspec.structs.force_setattr(self, "twin", msgspec.structs.replace(self.twin, pack=self.health.pack))


class State(msgspec.Struct, frozen=True):
    """States of all detectors of one battery."""

    data: _data.State = _data.State()
    limits: _limits.State = _limits.State()
    runaway: _runaway.State = _runaway.State()
    imbalance: _imbalance.State = _imbalance.State()
    drift: _cusum.State = _cusum.State()
    health: _health.State = _health.State()
    twin: _twin.State = _twin.State()


def step(
    settings: Settings, state: State, sample: Sample, which: Collection[str] = BACK_END
) -> tuple[State, tuple[Finding, ...]]:
    """Let detectors take a sample; return their states and what they found, in a fixed order.

    Values that are wrong as data are findings of their own, and detectors do not see them. What a second sample of the
    same time shows is dated a millisecond later: an end follows its beginning.
    """
    data, new = _data.step(settings.data, state.data, sample)
    found, states = list(new), {"data": data}  # type: list[Finding], dict[str, object]
    plausible = _data.plausible(sample)
    trusted = _data.trusted(data, plausible)
    for name, each in _STEPS.items():
        if name in which:
            taken = plausible if name in UNFILTERED else trusted
            facts = {"sized": _health.sized(settings.health, state.health)} if name == "twin" else {}
            states[name], new = each(getattr(settings, name), getattr(state, name), taken, **facts)
            found += new
    if sample.at_ms == state.data.at_ms:
        found = [msgspec.structs.replace(each, at_ms=sample.at_ms + 1) for each in found]
    return msgspec.structs.replace(state, **states), tuple(found)


def estimates(state: State) -> dict[str, float]:
    """Return what all estimators know, by name; what they do not know yet is not there."""
    return {name: value for key, each in _ESTIMATES.items() for name, value in each(getattr(state, key)).items()}
