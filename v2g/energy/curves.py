"""Curves of power over the grid's frequency or voltage, and how a device follows them in time. Pure."""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

Point = tuple[float, float]


def value_at(points: Sequence[Point], x: float) -> float:
    """Return the y of points (x, y) that are sorted by x: linear between them, constant beyond them; at a step, where
    two points have one x, that of the first."""
    number = bisect.bisect_left(points, (x,))  # which is less than any (x, y)
    if number in (0, len(points)):
        return points[max(0, number - 1)][1]
    (x1, y1), (x2, y2) = points[number - 1], points[number]
    return y1 + (y2 - y1) * (x - x1) / (x2 - x1)


def share_at(curve: Sequence[Point], *temperatures_c: float | None) -> float:
    """Return the share of power (0 to 1) that a curve of (degrees C, share) leaves at the worst of the temperatures: an
    unknown one (None) limits nothing, one that is no finite number leaves none."""
    shares = (value_at(curve, each) if math.isfinite(each) else 0.0 for each in temperatures_c if each is not None)
    return max(0.0, min((1.0, *shares)))


class FrequencyCurve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charger's own response to the grid's frequency, without any back end: fast frequency response (FFR), or a
    containment reserve (FCR). It shifts the power that would flow otherwise."""

    curve: Annotated[tuple[Point, ...], Meta(min_length=2, max_length=32)] = (
        (-0.5, -10_000.0),
        (-0.02, 0.0),
        (0.02, 0.0),
        (0.5, 10_000.0),
    )
    """Points of (Hz above the nominal frequency, W into the vehicle): linear between them, constant beyond them. FCR of
    Continental Europe is all of the power at 0.2 Hz."""
    hold_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How long the greatest power of a response lasts at least (s), even if the frequency returns earlier. A response
    in the other direction ends it."""

    def __post_init__(self) -> None:
        """Reject a curve that would make a deviation worse."""
        hertz, watts = zip(*self.curve, strict=True)
        if not all(a < b for a, b in itertools.pairwise(hertz)) or not -5 <= hertz[0] <= hertz[-1] <= 5:
            raise ValueError("curve: its frequencies must rise, between -5 and 5 Hz from the nominal one")
        if any(b < a for a, b in itertools.pairwise(watts)) or value_at(self.curve, 0.0) != 0.0:
            raise ValueError("curve: its power must not fall as the frequency rises, and be 0 W at 0 Hz")
        if not all(abs(each) <= 10_000_000 for each in watts):
            raise ValueError("curve: at most 10 MW")


class HeldResponse:
    """A response by a FrequencyCurve over time. Times are s, on any clock that never goes back."""

    def __init__(self, curve: FrequencyCurve) -> None:
        self._curve = curve
        self._until = 0.0
        self.power_w = 0.0
        """The shift, W: positive into the vehicle."""

    def follow(self, deviation_hz: float | None, now: float) -> float | None:
        """Follow a deviation from the nominal frequency, None if it is unknown. Return when to ask again, None if
        nothing changes until the next measurement."""
        wanted = 0.0 if deviation_hz is None else value_at(self._curve.curve, deviation_hz)
        if abs(wanted) > abs(self.power_w) or wanted * self.power_w < 0:
            self._until = now + self._curve.hold_s
            self.power_w = wanted
        elif deviation_hz is None or now >= self._until:
            self.power_w = wanted
        return self._until if self.power_w != wanted else None


class ResponseLag:
    """A value that follows a target as a first-order system: 90 % of a step after `response_s` (the open loop response
    time of IEEE 1547-2018). Exact for targets that are constant between calls. Times are s, on any clock
    that never goes back."""

    def __init__(self, value: float) -> None:
        self.value = self.target = value
        self._at = 0.0

    def follow(self, target: float, response_s: float, now: float) -> float:
        """Set the target from `now` on; return the value now."""
        if response_s > 0:
            rest = math.exp(-math.log(10) * (now - self._at) / response_s)
            self.value = self.target + (self.value - self.target) * rest
        else:
            self.value = target
        self.target, self._at = target, now
        return self.value

    @property
    def settled(self) -> bool:
        """Whether the value has reached its target, to a part in 10,000 of it."""
        return abs(self.value - self.target) <= 1e-4 * max(1.0, abs(self.target))
