"""How long the grid may be out of bounds before a curve acts: trips, ride-through, momentary cessation.

Pure: values come with their time (s, monotonic); `due` returns the next change without a new value. A curve consists of
thresholds with times and acts when a threshold is exceeded for longer than its time. The time is interpolated linearly
between two points, so a step is two points with one threshold; beyond the last point its time applies.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

Point = tuple[float, float]
"""A threshold (Hz, or percent of the nominal voltage) and a time in s."""

MEAN_S: Final = 600.0
BUCKET_S: Final = 3.0
"""The ten-minute mean is updated every three seconds (EN 50549-1, 4.9.3.4)."""

FINEST: Final = 0.001
"""Values closer than this count as equal, so that a slow drift does not fill the memory."""


def seconds_at(points: Iterable[Point], value: float, *, high: bool) -> float | None:
    """Return how long a value may last, None for unlimited. `high`: values above the thresholds are out of bounds."""
    sign = 1 if high else -1
    ordered = sorted((sign * threshold, -seconds) for threshold, seconds in points)
    beyond = [-seconds for threshold, seconds in ordered if threshold < sign * value]
    if not beyond:
        return None
    for (low, first), (up, second) in itertools.pairwise(ordered):
        if low < sign * value <= up:
            between = -first + (first - second) * (sign * value - low) / (up - low)
            beyond.append(between)
    return min(beyond)


class CurveWatch:
    """One curve, and since when each level of it has been exceeded."""

    def __init__(self, points: tuple[Point, ...], *, high: bool) -> None:
        self._points, self._high = points, high
        self._sign = 1 if high else -1
        self._first = min(self._sign * threshold for threshold, _ in points)
        self._since: list[tuple[float, float]] = []
        """(level, since when the value has been at least this far out of bounds), both rising."""

    @property
    def beyond(self) -> bool:
        """Whether the value is out of bounds now."""
        return bool(self._since)

    def feed(self, value: float, now: float) -> None:
        """Set the value that applies from now on."""
        level, since = self._sign * value, now
        while self._since and self._since[-1][0] >= level - FINEST:
            since = self._since.pop()[1]
        if level > self._first:
            self._since.append((level, since))

    def due(self) -> float | None:
        """Return when the curve acts if the value does not change, None for never."""
        acts = []
        for level, since in self._since:
            seconds = seconds_at(self._points, self._sign * level, high=self._high)
            if seconds is not None:
                acts.append(since + seconds)
        return min(acts, default=None)


class TenMinutes:
    """The ten-minute mean of a voltage; the time before the first value counts as nominal."""

    def __init__(self, nominal: float) -> None:
        count = round(MEAN_S / BUCKET_S)
        self._means: deque[float] = deque([nominal] * count, maxlen=count)
        self._sum = nominal * count
        self._value, self._at, self._began, self._area = nominal, 0.0, 0.0, 0.0

    def feed(self, value: float, now: float) -> float:
        """Set the value that applies from now on; return the mean of the last ten minutes."""
        if now - self._at > MEAN_S:
            self._began, self._at = now, now
            self._means.extend([self._value] * len(self._means))
            self._sum, self._area = self._value * len(self._means), 0.0
        while now - self._began >= BUCKET_S:
            end = self._began + BUCKET_S
            mean = (self._area + self._value * (end - self._at)) / BUCKET_S
            self._sum += mean - self._means[0]
            self._means.append(mean)
            self._began = self._at = end
            self._area = 0.0
        self._area += self._value * (now - self._at)
        self._value, self._at = value, now
        return self._sum / len(self._means)


class ReturnToService(msgspec.Struct, frozen=True, kw_only=True):
    """When operation resumes after a cessation: with the grid within these bounds for a time; power then returns within
    `ramp_s`. Frequencies in Hz, voltages in percent; None means no bound."""

    low_hz: float | None = None
    high_hz: float | None = None
    low_v: float | None = None
    high_v: float | None = None
    delay_s: float = 0.0
    random_s: float = 0.0
    ramp_s: float = 0.0

    def allows(self, hz: float | None, volt: float | None) -> bool:
        """Return whether the grid is within the bounds; what is bounded has to be measured."""
        return _within(hz, self.low_hz, self.high_hz) and _within(volt, self.low_v, self.high_v)


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return low is None and high is None
    return (low is None or value >= low) and (high is None or value <= high)


STEP_S: Final = 0.5
"""Interval at which returning power is raised."""


class GridService:
    """Whether one EVSE is in service, and the part of its rated power that it may use while returning."""

    def __init__(self) -> None:
        self.out = False
        self._good_since: float | None = None
        self._wait_s = 0.0
        self._entered: float | None = None
        self._ramp_s = 0.0

    def leave(self) -> None:
        """Cease to energize."""
        self.out, self._good_since, self._entered = True, None, None

    def tick(self, rule: ReturnToService, *, good: bool, now: float, random: Callable[[], float]) -> None:
        """Continue, or return by `rule`; `good`: nothing prevents it, `random()` is from 0 to 1."""
        if self._entered is not None and now >= self._entered + self._ramp_s:
            self._entered = None
        if not self.out:
            return
        if not good:
            self._good_since = None
            return
        if self._good_since is None:
            self._good_since, self._wait_s = now, rule.delay_s + (rule.random_s * random() if rule.random_s else 0.0)
        if now >= self._good_since + self._wait_s:  # the same expression as in `due`, to the last bit
            self.out, self._good_since = False, None
            self._entered, self._ramp_s = (now if rule.ramp_s > 0 else None), rule.ramp_s

    def share(self, now: float) -> float:
        """Return the part of the rated power that may be used, from 0 to 1."""
        if self.out:
            return 0.0
        return 1.0 if self._entered is None else min(1.0, (now - self._entered) / self._ramp_s)

    def due(self, now: float) -> float | None:
        """Return when `tick` is due, None if only a change of the grid matters."""
        if self._good_since is not None:
            return self._good_since + self._wait_s
        if self._entered is None:
            return None
        return min(now + max(STEP_S, self._ramp_s / 100), self._entered + self._ramp_s)
