"""The state chart of LPC 1.0.0 and LPP 1.0.0 at the controllable system, rules 901 to 923. Pure.

Magnitudes in W, times in s, monotonic. The failsafe limit never raises what may flow: a lower limit that was in force
when the heartbeat was lost, or before a restart, is kept beside it, for as long as its sender asked.
"""

import enum
import math
from typing import Final

import msgspec

HEARTBEAT_S: Final = 60.0
"""A heartbeat counts for so long where a limit is written in `INIT`, `FAILSAFE` and `AUTONOMOUS`."""
LOST_S: Final = 120.0
"""Without a heartbeat for so long, the guard is lost; without a limit, it does not control."""


class LimitState(enum.StrEnum):
    """States; which limit is in force follows from them."""

    INIT = "init"
    LIMITED = "limited"
    CONTROLLED = "unlimited/controlled"
    FAILSAFE = "failsafe"
    AUTONOMOUS = "unlimited/autonomous"


class LimitEvent(enum.StrEnum):
    """What leads from one state to another."""

    APPLIED = "an activated limit was accepted"
    RELEASED = "a limit was deactivated or refused, or its duration is over"
    LOST = "no heartbeat"
    LEFT_ALONE = "no guard takes over"


CHART: Final[dict[tuple[LimitState, LimitEvent], LimitState]] = {
    (LimitState.INIT, LimitEvent.RELEASED): LimitState.CONTROLLED,  # transition 1
    (LimitState.INIT, LimitEvent.APPLIED): LimitState.LIMITED,  # 2
    (LimitState.INIT, LimitEvent.LEFT_ALONE): LimitState.AUTONOMOUS,  # 3
    (LimitState.CONTROLLED, LimitEvent.APPLIED): LimitState.LIMITED,  # 4
    (LimitState.CONTROLLED, LimitEvent.LOST): LimitState.FAILSAFE,  # 5
    (LimitState.LIMITED, LimitEvent.RELEASED): LimitState.CONTROLLED,  # 6
    (LimitState.LIMITED, LimitEvent.LOST): LimitState.FAILSAFE,  # 7
    (LimitState.FAILSAFE, LimitEvent.RELEASED): LimitState.CONTROLLED,  # 8
    (LimitState.FAILSAFE, LimitEvent.APPLIED): LimitState.LIMITED,  # 9
    (LimitState.FAILSAFE, LimitEvent.LEFT_ALONE): LimitState.AUTONOMOUS,  # 10
    (LimitState.AUTONOMOUS, LimitEvent.RELEASED): LimitState.CONTROLLED,  # 11
    (LimitState.AUTONOMOUS, LimitEvent.APPLIED): LimitState.LIMITED,  # 12
}
"""Transitions by their numbers in LPC; an event that is not here changes nothing."""

_GUARDED: Final = (LimitState.LIMITED, LimitState.CONTROLLED)


class LimitWrite(msgspec.Struct, frozen=True, kw_only=True):
    """A write of a limit; None keeps a member. `lasts_s`: its duration, infinity for none; 0 ends it (LPC-007)."""

    value_w: float | None = None
    active: bool | None = None
    lasts_s: float | None = None


class PowerLimitation:
    """One direction of power. `autonomous`: whether it may become unlimited without a guard (the use case leaves it
    open); if not, the failsafe limit holds until one is back. `held`: what it held before a restart."""

    def __init__(
        self, *, failsafe_w: float, now: float, autonomous: bool = False, held: tuple[float, float | None] | None = None
    ) -> None:
        self.state = LimitState.INIT
        self.failsafe_w = failsafe_w
        self.value_w = failsafe_w
        """The written limit, whether active or not."""
        self.ends_at: float | None = None
        """When the written duration is over."""
        self._autonomous = autonomous
        self._since = now
        self._heard: float | None = None
        self._back: float | None = None
        """The first heartbeat in `FAILSAFE`."""
        self._held = held
        """In `INIT` and `FAILSAFE`: the limit that was in force before, and its end."""

    @property
    def active(self) -> bool:
        """Whether the written limit is in force (009)."""
        return self.state is LimitState.LIMITED

    @property
    def held(self) -> tuple[float, float | None] | None:
        """The limit of a guard that silence does not end, and its own end."""
        return (self.value_w, self.ends_at) if self.active else self._held

    @property
    def guarded(self) -> bool:
        """Whether a guard is there: then it may write failsafe values (036, 037)."""
        return self.state in _GUARDED

    @property
    def limit_w(self) -> float | None:
        """The limit in force; None for none but the nominal maximum."""
        if self.state is LimitState.LIMITED:
            return self.value_w
        if self.state in (LimitState.INIT, LimitState.FAILSAFE):
            return self.failsafe_w if self._held is None else min(self.failsafe_w, self._held[0])
        return None

    def due(self, failsafe_s: float) -> float | None:
        """Return when `tick` is needed; `failsafe_s` is the failsafe duration minimum."""
        ends = [self.ends_at, self._held[1] if self._held else None]
        if self.guarded:
            ends.append(self._lost_at)
        elif self._autonomous:
            ends.append(self._alone_at(failsafe_s))
        return min((each for each in ends if each is not None), default=None)

    def heartbeat(self, now: float) -> None:
        """The guard's heartbeat was received."""
        self._heard = now
        if self.state is LimitState.FAILSAFE and self._back is None:
            self._back = now

    def tick(self, now: float, failsafe_s: float) -> None:
        """Process the time."""
        if self._held is not None and self._held[1] is not None and now >= self._held[1]:
            self._held = None
        if self.ends_at is not None and now >= self.ends_at:
            self.ends_at = None
            if self.active:
                self._go(LimitEvent.RELEASED, now)
        if self.guarded and now >= self._lost_at:
            self._go(LimitEvent.LOST, now)
        if not self.guarded and self._autonomous and (alone_at := self._alone_at(failsafe_s)) and now >= alone_at:
            self._go(LimitEvent.LEFT_ALONE, now)

    def refusal(self, written: LimitWrite, now: float) -> str:
        """Return why a write would be refused, "" if it would not."""
        if not self.guarded and not self._heard_lately(now):
            return "no heartbeat within the last 60 s"
        if written.value_w is not None and written.value_w < 0:
            return "the limit has the wrong sign"
        return ""

    def write(self, written: LimitWrite, now: float) -> str:
        """Process a write; return "" if it is accepted, else why it is refused. Call `tick` before."""
        if refusal := self.refusal(written, now):
            if not self.guarded and self._heard_lately(now):  # it still shows that a guard is there
                self._go(LimitEvent.RELEASED, now)
            return refusal
        active = (self.active if written.active is None else written.active) and written.lasts_s != 0
        if written.value_w is not None:
            self.value_w = written.value_w
        if written.lasts_s is not None:
            self.ends_at = now + written.lasts_s if 0 < written.lasts_s < math.inf else None
        self._go(LimitEvent.APPLIED if active else LimitEvent.RELEASED, now)
        return ""

    def _heard_lately(self, now: float) -> bool:
        return self._heard is not None and now - self._heard <= HEARTBEAT_S

    @property
    def _lost_at(self) -> float:
        return (self._since if self._heard is None else self._heard) + LOST_S

    def _alone_at(self, failsafe_s: float) -> float | None:
        match self.state:
            case LimitState.INIT:  # what was held before a restart is held no shorter than after a loss
                return self._since + (LOST_S if self._held is None else failsafe_s)
            case LimitState.FAILSAFE:
                over = self._since + failsafe_s
                return over if self._back is None else min(over, self._back + LOST_S)
        return None

    def _go(self, event: LimitEvent, now: float) -> None:
        state = CHART.get((self.state, event))
        if state is None:
            return
        self._held = (self.value_w, self.ends_at) if state is LimitState.FAILSAFE and self.active else None
        if state is LimitState.FAILSAFE:  # the old limit must not come back
            self.value_w, self.ends_at = self.failsafe_w, None
        self.state, self._since, self._back = state, now, None
