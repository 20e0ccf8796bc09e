"""All detectors: their settings, their states as one document, and one step of those that a place runs.

A detector is a module here with settings, a frozen and serialisable state, and `step`. Adding one is a field in
`DetectorSettings` and `DetectorState`, and its `step` in `_STEPS`; that of an estimator has `estimates(state)` in
`_ESTIMATES`, too.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from v2g.battery import cusum as _cusum
from v2g.battery import data_quality as _data
from v2g.battery import health as _health
from v2g.battery import imbalance as _imbalance
from v2g.battery import limits as _limits
from v2g.battery import runaway as _runaway
from v2g.battery import twin as _twin
from v2g.battery.sample import Finding, Sample

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


class DetectorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of all detectors."""

    data: _data.DataQualitySettings = _data.DataQualitySettings()
    limits: _limits.CellLimitSettings = _limits.CellLimitSettings()
    runaway: _runaway.RunawaySettings = _runaway.RunawaySettings()
    imbalance: _imbalance.ImbalanceSettings = _imbalance.ImbalanceSettings()
    drift: _cusum.CusumSettings = _cusum.CusumSettings()
    health: _health.HealthSettings = _health.HealthSettings()
    twin: _twin.TwinSettings = _twin.TwinSettings()

    def __post_init__(self) -> None:
        """Let the twin be one of the battery that `health` describes, if it has no description of its own."""
        if self.twin.pack is None:
            msgspec.structs.force_setattr(self, "twin", msgspec.structs.replace(self.twin, pack=self.health.pack))


class DetectorState(msgspec.Struct, frozen=True):
    """States of all detectors of one battery."""

    data: _data.DataQualityState = _data.DataQualityState()
    limits: _limits.CellLimitState = _limits.CellLimitState()
    runaway: _runaway.RunawayState = _runaway.RunawayState()
    imbalance: _imbalance.ImbalanceState = _imbalance.ImbalanceState()
    drift: _cusum.CusumState = _cusum.CusumState()
    health: _health.HealthState = _health.HealthState()
    twin: _twin.TwinState = _twin.TwinState()


def step(
    settings: DetectorSettings, state: DetectorState, sample: Sample, which: Collection[str] = BACK_END
) -> tuple[DetectorState, tuple[Finding, ...]]:
    """Let detectors take a sample; return their states and what they found, in a fixed order."""
    return steps(settings, state, (sample,), which)[0]


def steps(
    settings: DetectorSettings, state: DetectorState, samples: Sequence[Sample], which: Collection[str] = BACK_END
) -> list[tuple[DetectorState, tuple[Finding, ...]]]:
    """Let detectors take samples in turn; return for each the states after it, and what was found, in a fixed order.

    Values that are wrong as data are findings of their own, and detectors do not see them. What a second sample of the
    same time shows is dated a millisecond later: an end follows its beginning.
    """
    plausible, trusted, found = list[Sample](), list[Sample](), list[tuple[Finding, ...]]()
    data, datas = state.data, list[object]()
    for sample in samples:
        seen = _data.plausible(sample)
        data, new = _data.step(settings.data, data, sample, seen)
        plausible.append(seen)
        trusted.append(_data.trusted(data, seen))
        datas.append(data)
        found.append(new)
    parts = {"data": datas}
    # one detector after another: the processor does not load the code of all of them again for each sample
    for name, detect in _STEPS.items():
        if name not in which:
            continue
        of, now, after = getattr(settings, name), getattr(state, name), list[object]()
        healths = [state.health, *parts.get("health", ())]  # before each sample
        for number, seen in enumerate(plausible if name in UNFILTERED else trusted):
            if name == "twin":
                health = healths[number]
                assert isinstance(health, _health.HealthState)
                detect = partial(_twin.step, sized=_health.sized(settings.health, health))
            now, new = detect(of, now, seen)
            after.append(now)
            found[number] += new
        parts[name] = after
    stepped = list[tuple[DetectorState, tuple[Finding, ...]]]()
    at_ms = state.data.at_ms
    for number, sample in enumerate(samples):
        findings = found[number]
        if sample.at_ms == at_ms:
            findings = tuple(msgspec.structs.replace(each, at_ms=at_ms + 1) for each in findings)
        at_ms = sample.at_ms
        after_it = msgspec.structs.replace(state, **{name: part[number] for name, part in parts.items()})
        stepped.append((after_it, findings))
    return stepped


def estimates(state: DetectorState) -> dict[str, float]:
    """Return what all estimators know, by name; what they do not know yet is not there."""
    return {name: value for key, known in _ESTIMATES.items() for name, value in known(getattr(state, key)).items()}
