"""What flows, compared with what may flow: size and direction, with margins and over time. Pure.

Shared by sessions and monitors of both roles; each has its own state and its own bounds.
"""

from collections import deque
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.safety.excess import Excess, Highest, Lag, microseconds, weigh

FRACTION: Final = 20
"""The accuracy of a controlled current, a twentieth (IEC 61851-23: 5 % of the command above 50 A)."""


MOST_DECLARED_MA: Final = 10_000
"""The widest accuracy of control that a charger may declare, mA: recorded is a charger that keeps to 10 A."""


class Margin(msgspec.Struct, frozen=True):
    """Tolerance of a flow: `sensor` always, and for a flow that is permitted `control` or a twentieth of its bound.

    In the forbidden direction, and at a bound of 0, nothing is controlled: only the sensor's error remains.
    """

    sensor: int
    control: int

    def of(self, bound: int) -> int:
        """Return the margin of a bound."""
        return self.sensor + (max(self.control, bound // FRACTION) if bound else 0)

    def declared(self, control: int) -> "Margin":
        """Return it with the accuracy of control that a charger declares, if wider; at most `MOST_DECLARED_MA`."""
        return Margin(self.sensor, max(self.control, min(control, MOST_DECLARED_MA)))


DIRECT: Final = Margin(sensor=1_000, control=2_500)
"""Of a direct current, mA: the offset of a sensor for hundreds of amperes, and the accuracy of control below 50 A
(IEC 61851-23: 2.5 A)."""

ALTERNATING: Final = Margin(sensor=150, control=350)
"""Of a power of a vehicle's own charger, or a coil, W: its stand-by and the meter's starting current in three phases
are below 150 W; the step of a duty cycle is 0.1 % or 0.06 A, of control 0.5 A in each of three phases."""


LINE: Final = Margin(sensor=650, control=500)
"""Of the current of one conductor of a vehicle's own charger, mA: the same stand-by of 150 W at 230 V, and the same
steps of the duty cycle and control."""

PACK: Final = Margin(sensor=5_000, control=0)
"""Of the current at a battery's terminals, mA: with it flows what the vehicle's own loads draw, 2 kW at 400 V."""


class Flow(msgspec.Struct, frozen=True):
    """A flow's bounds, which may be followed with a delay, what it has used of that, and its excess over them."""

    most: Highest = Highest()
    least: Highest = Highest()
    excess: Excess = Excess()
    charge: Lag = Lag()
    discharge: Lag = Lag()

    def then(self, flow: int, most: int, least: int, *, margin: Margin, follow_us: int, now_us: int) -> "Flow":
        """Return it with a sample of the flow, signed, and the present bounds into the vehicle and out of it, both
        magnitudes."""
        within = -least - margin.sensor <= flow <= most + margin.sensor
        if within and most == self.most.value and least == self.least.value and self._rests:
            return self  # as in nearly every turn of a monitor
        up, down = self.most.then(most, now_us, follow_us), self.least.then(least, now_us, follow_us)
        charge = self.charge.then(flow, most, up.most, margin=margin.of(most), follow_us=follow_us, now_us=now_us)
        discharge = self.discharge.then(
            -flow, least, down.most, margin=margin.of(least), follow_us=follow_us, now_us=now_us
        )
        into, out = (
            bound.value if lag.used_up(follow_us) else bound.most for bound, lag in ((up, charge), (down, discharge))
        )
        weight = 0
        if not -out <= flow <= into:
            weight = max(weigh(flow - into, margin.of(into)), weigh(-flow - out, margin.of(out)))
        return Flow(up, down, self.excess.then(weight, now_us), charge, discharge)

    @property
    def _rests(self) -> bool:
        """Whether a sample within unchanged bounds changes nothing."""
        if self.most.past or self.least.past or self.excess.level or self.excess.weight:
            return False
        return not (self.charge.area or self.charge.rate > 0 or self.discharge.area or self.discharge.rate > 0)

    def forget(self) -> "Flow":
        """Return it without its excess; bounds that may still be followed stay."""
        return Flow(self.most, self.least)


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
