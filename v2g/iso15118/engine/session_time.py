"""The time of one session, and the timers that run in it."""

from typing import Final

_ROUNDING_S: Final = 0.001
"""Added to the way to a moment of UTC, which has then come when the timer expires."""


class SessionTime:
    """What the clocks say at this step: `now` (s, any monotonic clock) and `utc_ms` (ms since 1970, perhaps simulated).

    `scale` is how many seconds of UTC pass in one of the monotonic clock. A timer that is armed again starts again.
    """

    __slots__ = ("now", "scale", "timers", "utc_ms")

    def __init__(self, *, scale: float = 1.0) -> None:
        self.now = 0.0
        self.utc_ms = 0
        self.scale = scale
        self.timers: dict[str, float] = {}
        """When each of them expires, by name."""

    def arm(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        self.timers[name] = self.now + seconds

    def until(self, at_ms: int) -> float:
        """Return how long it is to a moment of UTC, s of the monotonic clock."""
        return max(0, at_ms - self.utc_ms) / 1000 / self.scale + _ROUNDING_S

    def arm_utc(self, name: str, at_ms: int | None) -> None:
        """(Re)start a timer for a moment of UTC; None stops it."""
        if at_ms is None:
            self.disarm(name)
        else:
            self.arm(name, self.until(at_ms))

    def disarm(self, name: str) -> None:
        """Stop a timer; harmless where it does not run."""
        self.timers.pop(name, None)
