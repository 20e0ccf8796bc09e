"""Two measurements of one flow: whether they agree within the errors of both. Pure.

The second one may be late, and an average: it has to be within what the first one has shown since then, give or take
the errors of both. What is beyond counts as excess over time, so that a step is found within a second, and a drift as
soon as it is beyond the errors.

All arithmetic is of integers, as in `v2g.safety.excess`: times in µs, errors in parts per million. `board/monitor.c`
repeats it.
"""

from collections import deque
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.safety.excess import Excess, microseconds, weigh

BUDGET_S: Final = 2.0
"""How long they may differ by the errors of both; by four times as much and more, a quarter of it."""

LONGEST_S: Final = 5.0
"""Oldest reading of the second measurement that is waited for: a meter that gives none is lost sooner or later."""

SLOTS: Final = 120
"""What the first one has shown is kept in so many slots, of 0.05 s up to a second of `late_s`, and a few more."""

_LEAST_US: Final = 50_000
_LONGEST_US: Final = microseconds(LONGEST_S)
_BUDGET_US: Final = microseconds(BUDGET_S)


class Errors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Errors of power electronics and meter together."""

    stage_percent: Annotated[float, Meta(ge=0, le=50)] = 3.0
    """Error of the power electronics' own measurement, % of its reading, with what is lost between it and the meter."""
    meter_percent: Annotated[float, Meta(ge=0, le=50)] = 1.0
    """Error of the meter, by its class, % of its reading."""
    offset_permille: Annotated[float, Meta(ge=0, le=500)] = 5.0
    """Error of both at a small power, per mille of the charger's rating; 200 W at least."""
    late_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """How late the meter's power is when it is read: its measuring period, averaging and transmission together. The
    time since its last reading is added."""


class Agreement:
    """Receives both measurements (W, signed), several times a second."""

    def __init__(self, errors: Errors, most_w: int) -> None:
        self._least_w = max(200, int(most_w * errors.offset_permille / 1000))
        self._stage_ppm, self._meter_ppm = (
            round(each * 10_000) for each in (errors.stage_percent, errors.meter_percent)
        )
        self._late_us = microseconds(errors.late_s)
        self._slot_us = max(_LEAST_US, (_LONGEST_US + self._late_us) // SLOTS)
        self._shown: deque[tuple[int, int, int]] = deque()  # end of a slot, us; least and most in it, W
        self._last_w: int | None = None
        self._excess = Excess()

    def differ(self, first_w: int, second_w: int | None, read_at: float, now: float) -> bool:
        """Return whether they differ for too long.

        The second one was read at `read_at`, not after `now`; None: there is none, and what came before counts no more.
        """
        shown, now_us = self._shown, microseconds(now)
        if shown and now_us < shown[-1][0]:
            end, least, most = shown[-1]
            shown[-1] = end, min(least, first_w), max(most, first_w)
        else:
            before = first_w if self._last_w is None else self._last_w  # it has lasted until now
            shown.append((now_us + self._slot_us, min(before, first_w), max(before, first_w)))
        self._last_w = first_w
        oldest_us = max(microseconds(read_at), now_us - _LONGEST_US) - self._late_us
        while shown[0][0] < oldest_us:  # the latest slot ends after now
            shown.popleft()
        if second_w is None:
            self._excess = Excess()
            return False
        least, most = min(each[1] for each in shown), max(each[2] for each in shown)
        beyond = max(second_w - most, least - second_w)
        parts = self._stage_ppm * max(abs(least), abs(most)) + self._meter_ppm * abs(second_w)
        margin = self._least_w + parts // 1_000_000
        self._excess = self._excess.then(weigh(beyond, margin), now_us)
        return self._excess.lasts(_BUDGET_US)
