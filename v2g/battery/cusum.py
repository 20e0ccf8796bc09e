"""Gradual degradation by a cumulative sum (R119): Page, "Continuous inspection schemes", Biometrika 41 (1954) 100-115.

A slow drift hides in the scatter of each day, and adds up over many. Of each watched signal the means of days are
compared with those of the first days, in their standard deviations; what exceeds half of the shift that matters adds to
a sum that never falls below 0, and beyond `limit` the drift is a finding.

How long it takes until a false finding, and until a true one, follows from both: `run_length`.
"""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.battery.sample import Finding, Sample, judge
from v2g.units import DAY_MS


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signal that rises (or falls) as something degrades."""

    signal: Annotated[str, Meta(description="name in the signal registry")]
    rises: Annotated[bool, Meta(description="whether it rises as something degrades; else it falls")] = True
    per_year: Annotated[
        float, Meta(ge=-(10**9), le=10**9, description="drift that is expected, in its unit a year")
    ] = 0.0
    least: Annotated[
        float, Meta(gt=0, le=10**9, description="smallest standard deviation that is believed, in its unit")
    ] = 1e-3


class CusumSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is watched, and how patiently."""

    watched: tuple[Watched, ...] = (
        Watched("battery.cell_voltage.imbalance", least=0.001),
        Watched("battery.soh", rises=False, per_year=-3.0, least=0.25),
    )
    reference: Annotated[int, Meta(ge=5, le=1000, description="days that are the reference")] = 30
    slack: Annotated[float, Meta(gt=0, le=5, description="half of the shift that matters, in standard deviations")] = (
        0.5
    )
    limit: Annotated[float, Meta(gt=0, le=100, description="sum that is a finding, in standard deviations")] = 8.0


class Track(msgspec.Struct, frozen=True):
    """One signal: the present day's mean, the reference, and the sum. `first`: the first day."""

    day: int
    first: int
    mean: float = 0.0
    samples: int = 0
    days: int = 0
    reference: float = 0.0
    squares: float = 0.0
    level: float = 0.0
    drifts: bool = False


class CusumState(msgspec.Struct, frozen=True):
    """Tracks by signal."""

    tracks: dict[str, Track] = {}


def step(settings: CusumSettings, state: CusumState, sample: Sample) -> tuple[CusumState, tuple[Finding, ...]]:
    """Add a sample to its day; a day is compared when a sample of a later one comes."""
    tracks, found = dict(state.tracks), ()  # type: dict[str, Track], tuple[Finding, ...]
    day = sample.at_ms // DAY_MS
    for each in settings.watched:
        value = sample.values.get(each.signal)
        if value is None:
            continue
        track = tracks.get(each.signal) or Track(day=day, first=day)
        if day > track.day:
            track, new = _ended(settings, each, track, sample)
            track, found = msgspec.structs.replace(track, day=day, samples=0), found + new
        if day == track.day:
            samples = track.samples + 1
            mean = track.mean + (value - track.mean) / samples
            tracks[each.signal] = msgspec.structs.replace(track, mean=mean, samples=samples)
    return CusumState(tracks), found


def _ended(
    settings: CusumSettings, watched: Watched, track: Track, sample: Sample
) -> tuple[Track, tuple[Finding, ...]]:
    value = track.mean - watched.per_year * (track.day - track.first) / 365.25
    days = track.days + 1
    if days <= settings.reference:  # Welford's mean and sum of squares
        off = value - track.reference
        reference = track.reference + off / days
        return msgspec.structs.replace(
            track, days=days, reference=reference, squares=track.squares + off * (value - reference)
        ), ()
    scatter = max(watched.least, math.sqrt(track.squares / (settings.reference - 1)))
    shift = (value - track.reference) / scatter * (1 if watched.rises else -1)
    slack = settings.slack + 2 / math.sqrt(settings.reference)  # the reference is a mean, too, and that uncertain
    level = min(2 * settings.limit, advance(track.level, shift, slack))
    name = watched.signal.removeprefix("battery.").replace(".", "_")
    evidence = {"mean": value, "reference": track.reference, "deviation": scatter, "day": float(track.day)}
    drifts, found = judge(
        f"drift_{name}", "warning", track.drifts, level, settings.limit, settings.limit / 2, sample, evidence
    )
    return msgspec.structs.replace(track, days=days, level=level, drifts=drifts), found


def advance(level: float, shift: float, slack: float) -> float:
    """Return the sum after a value that is `shift` standard deviations above its reference."""
    return max(0.0, level + shift - slack)


def run_length(shift: float, slack: float, limit: float) -> float:
    """Return the mean number of values until a finding, with a mean shift of so many standard deviations.

    Siegmund, "Sequential Analysis" (1985), section 10.3: a random walk with the limit 1.166 further away, for the steps
    by which it jumps beyond it.
    """
    drift, wide = shift - slack, limit + 1.166
    if abs(drift) < 1e-9:
        return wide**2
    return (math.expm1(-2 * drift * wide) + 2 * drift * wide) / (2 * drift**2)
