"""Two measurements of one flow: whether they agree within the errors of both. Pure.

The second one may be late, and an average: it has to be within what the first one has shown since then, give or take
the errors of both. What is beyond counts as excess over time, so that a step is found within a second, and a drift as
soon as it is beyond the errors.
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

SLOT_S: Final = 0.05
"""Resolution of what the first one has shown."""


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
        self._errors, self._least_w = errors, max(200, int(most_w * errors.offset_permille / 1000))
        self._shown: deque[tuple[float, int, int]] = deque()  # end of a slot, s; least and most in it, W
        self._last_w: int | None = None
        self._excess = Excess()

    def differ(self, first_w: int, second_w: int | None, read_at: float, now: float) -> bool:
        """Return whether they differ for too long.

        The second one was read at `read_at`, not after `now`; None: there is none, and what came before counts no more.
        """
        shown = self._shown
        if shown and now < shown[-1][0]:
            end, least, most = shown[-1]
            shown[-1] = end, min(least, first_w), max(most, first_w)
        else:
            before = first_w if self._last_w is None else self._last_w  # it has lasted until now
            shown.append((now + SLOT_S, min(before, first_w), max(before, first_w)))
        self._last_w = first_w
        oldest = max(read_at, now - LONGEST_S) - self._errors.late_s
        while shown[0][0] < oldest:  # the latest slot ends after now
            shown.popleft()
        if second_w is None:
            self._excess = Excess()
            return False
        least, most = min(each[1] for each in shown), max(each[2] for each in shown)
        beyond = max(second_w - most, least - second_w)
        errors = self._errors
        percent = errors.stage_percent * max(abs(least), abs(most)) + errors.meter_percent * abs(second_w)
        margin = self._least_w + int(percent / 100)
        self._excess = self._excess.then(weigh(beyond, margin), microseconds(now))
        return self._excess.lasts(microseconds(BUDGET_S))
