"""The safety monitor of a charger. Pure. One rule:

An output other than zero, and a closed contactor, exist only while all of these are true. The vehicle's request for
them is not older than its time-out. The session is authorised, and no stop and no fault is pending. Every
limit in force is followed, in size and direction. A signed command is valid if discharge needs one. The flow is as
commanded. The contactor is as commanded.

The monitor observes requests, limits, commands and measurements of the hardware, independently of the session.
A command beyond the rule does not pass. When time, or an input, makes the rule stricter, the session has `grace_s`
to follow; then the monitor acts, and reports it. It never raises an output and never closes a contactor.
"""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from v2g.safety.excess import Excesses, microseconds
from v2g.safety.flow import ALTERNATING, DIRECT, LINE, Flow
from v2g.safety.output import NOTHING, UNBOUNDED, Contact, Lower, Open, Output, Phase, Verdict

Discharge = Literal["none", "signed", "standard"]
"""What permits feeding back: nothing, a valid command signed by the vehicle, or its limits alone."""

OVER_VOLTAGE_PERCENT: Final = 110
"""Fraction of the vehicle's maximum voltage above which the output is switched off at once."""

OVER_VOLTAGE_S: Final = 0.4
"""How long the output may exceed that voltage by more than its regulation tolerance (IEC 61851-23 CC.6.2)."""

PRE_CHARGE_MA: Final = 2_000
"""What flows into the vehicle's capacitors in pre-charge, which no command asks for (IEC 61851-23: 2 A)."""

MATCHED_MV: Final = 20_000
MATCH_S: Final = 1.0
"""How near the output is to the vehicle's target voltage when the vehicle requests power; and the additional
time for it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Meaning of a vehicle's message for the monitor; None leaves the previous value.

    Power may flow for `power_s` if the phase is POWER, and the contactor may stay closed for `closed_s`;
    0 does not extend earlier permissions. `bears` are the vehicle's maxima, `ready` whether it is ready for energy,
    `target_mv` the voltage at which it closes its own contactor. `notice_s` is the delay
    until it can learn of a smaller output; it learns at once of none.
    """

    phase: Phase | None = None
    power_s: float = 0.0
    closed_s: float = 0.0
    bears: Output | None = None
    ready: bool | None = None
    target_mv: int | None = None
    notice_s: float | None = None


class ChargerRating(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's maxima, and reaction times of charger and vehicle.

    A lowered command may be followed with a delay of `follow_s`; beyond that, a flow that exceeds the command, or the
    other direction, by its margin (`v2g.safety.flow`) may last for `excess_s`, a larger one for a quarter at least.
    With alternating current `charge_ma` and `discharge_ma` are those of each line conductor.
    """

    charge_w: int
    discharge_w: int
    charge_ma: int = UNBOUNDED
    discharge_ma: int = UNBOUNDED
    follow_s: float = 0.75
    excess_s: float = 1.0
    open_s: float = 0.5
    close_s: float = 3.5
    grace_s: float = 0.25
    stop_s: float = 65.0
    """Maximum time for a session to end after a stop."""
    voltage_s: float = 150.0
    """Maximum time of cable check and pre-charge together."""


class _Limit(msgspec.Struct, frozen=True):
    charge_w: int
    discharge_w: int
    charge_ma: int
    discharge_ma: int
    from_s: float
    until_s: float

    def discharge_at(self, now: float) -> int:
        """A limit that is not in force permits no discharge, and still limits charge."""
        return self.discharge_w if self.from_s <= now < self.until_s else 0


class _Allowed(msgspec.Struct, frozen=True):
    """The present permission; `reason` is empty if only limits bound it."""

    connected: bool
    output: Output
    reason: str


class ChargerMonitor:
    """One method for each input, with `now` (s, monotonic). `tick` it several times a second; `verdicts()` must be
    executed at once. A session's state is discarded when its authorisation ends; a limit stays until
    its source changes it."""

    def __init__(self, rating: ChargerRating) -> None:
        self._rating = rating
        self._limits: dict[str, _Limit] = {}
        self._most = self._rated = Output(rating.charge_w, rating.discharge_w, rating.charge_ma, rating.discharge_ma)
        """By rating and limits, whose discharge counts by the time, too."""
        self._faults: dict[str, None] = {}
        self._verdicts: list[Verdict] = []
        self._driven = NOTHING
        self._contact = Contact(open_s=rating.open_s, close_s=rating.close_s, grace_s=rating.grace_s)
        self._voltage_mv = self._current_ma = self._power_w = 0
        self._follow_us, self._excess_us = microseconds(rating.follow_s), microseconds(rating.excess_s)
        self._current, self._power = Flow(), Flow()
        self._line_ma: tuple[int, ...] = ()
        self._lines = (Flow(), Flow(), Flow())
        self._lasts = Excesses()
        self._authorised = self._paused = False
        self._stop_at: float | None = None
        self._paused_stop_at: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._phase, self._power_until, self._closed_until = Phase.IDLE, 0.0, 0.0
        self._voltage_until = 0.0
        self._bears, self._ready = NOTHING, True
        self._before_mv, self._before_until = 0, 0.0
        self._target_mv, self._matched, self._match_until = 0, True, 0.0
        self._discharge: Discharge = "none"
        self._signed = (0, 0.0)
        self._opened = ""
        self._notice_s = 0.0

    # -- inputs

    def begin(self, now: float) -> None:
        """A session begins, not authorised yet. The stop of an unauthorised session has ended with it;
        that of a paused one stays until the vehicle resumes it."""
        if self._authorised:  # the end of the previous session was not reported
            self.authorise(now, allowed=False)
        if self._paused:
            self._paused_stop_at, self._paused = self._stop_at, False
        self._stop_at = None

    def forget_paused(self) -> None:
        """A paused session will not be resumed."""
        self._stop_at = None if self._paused else self._stop_at
        self._paused_stop_at, self._paused = None, False

    def authorise(self, now: float, *, allowed: bool, paused: bool = False) -> None:
        """Authorisation begins or ends; `paused` until the same session resumes, with its pending
        stop."""
        if not allowed:
            self._forget()
            self._stop_at = self._stop_at if paused else None
            self._paused = paused
        elif not self._authorised:
            self._opened = ""  # that was at the end of the previous session
            self._current, self._power = self._current.forget(), self._power.forget()
            first, second, third = self._lines
            self._lines = first.forget(), second.forget(), third.forget()
            self._lasts.forget("connected", "driven", "voltage", "stray")
            self._stop_at = self._paused_stop_at if self._stop_at is None else self._stop_at
            self._paused_stop_at, self._paused = None, False
        self._authorised = allowed
        self._look(now)

    def stop(self, now: float) -> None:
        """The session must end, irrevocably."""
        if self._stop_at is None:
            self._stop_at = now + self._rating.stop_s
        self._look(now)

    def fault(self, word: str, now: float, *, active: bool) -> None:
        """A fault of the hardware that forbids energy begins or ends."""
        if active:
            self._faults[word] = None
        else:
            self._faults.pop(word, None)
        self._look(now)

    def request(self, request: Request, now: float) -> None:
        """The vehicle's request. Stricter rules take effect with the next tick, since the session is
        about to answer."""
        if request.bears is not None:
            if request.bears.voltage_mv < self._bears.voltage_mv:
                self._before_mv, self._before_until = self._bears.voltage_mv, now + self._rating.grace_s
            self._bears = request.bears
        if request.ready is not None:
            self._ready = request.ready
        if request.notice_s is not None:
            self._notice_s = request.notice_s
        if request.target_mv is not None and request.target_mv != self._target_mv:
            self._target_mv, self._matched = request.target_mv, False
        if request.phase is not None and not (request.phase is Phase.REST and self._phase is not Phase.POWER):
            self._enter(request.phase, now)
        if request.power_s:
            self._power_until = now + request.power_s
        if request.closed_s:
            self._closed_until = now + request.closed_s

    def _enter(self, phase: Phase, now: float) -> None:
        before, self._phase = self._phase, phase
        self._power_until = self._closed_until = 0.0
        if phase is Phase.VOLTAGE and before is not phase:
            self._voltage_until = now + self._rating.voltage_s
        elif phase is Phase.POWER and before is Phase.VOLTAGE:
            self._match_until = now + MATCH_S
            self._matched = bool(self._target_mv) and self._near(self._target_mv)
        elif phase is Phase.IDLE:
            self._target_mv, self._matched = 0, True

    def _near(self, target_mv: int) -> bool:
        return abs(self._voltage_mv - target_mv) <= MATCHED_MV

    def limit(
        self,
        source: str,
        now: float,
        *,
        charge_w: int = UNBOUNDED,
        discharge_w: int = UNBOUNDED,
        charge_ma: int = UNBOUNDED,
        discharge_ma: int = UNBOUNDED,
        from_s: float = 0.0,
        until_s: float = float("inf"),
    ) -> None:
        """A source sets its limit, replacing the previous one; discharge within its validity. Currents are those of
        each line conductor of alternating current."""
        self._limits[source] = _Limit(charge_w, discharge_w, charge_ma, discharge_ma, from_s, until_s)
        self._most = self._rated
        for each in self._limits.values():
            self._most = self._most.within(Output(each.charge_w, each.discharge_w, each.charge_ma, each.discharge_ma))
        self._look(now)

    def discharge(self, rule: Discharge, now: float) -> None:
        """The permission for feeding back."""
        self._discharge, self._signed = rule, (0, 0.0)
        self._look(now)

    def signed(self, power_w: int, until_s: float, now: float) -> None:
        """The vehicle has signed for this discharge."""
        self._signed = (power_w, until_s)
        self._look(now)

    def signed_less(self, power_w: int, until_s: float, now: float) -> None:
        """The vehicle's latest request, which is not followed: an upper bound of power and time."""
        before_w, before_s = self._signed
        self.signed(min(before_w, power_w), min(before_s, until_s), now)

    def drive(self, output: Output, now: float) -> Output:
        """The session commands this output; return the permitted part. One that names no current is bounded by what
        each conductor may carry, which is no verdict."""
        allowed = self._allowed(now)
        most = self._bears if self._noticed_later(allowed) else allowed.output
        passed = output.within(most) if allowed.connected else NOTHING
        if passed != self._driven:
            self._driven = passed
            if passed.within(allowed.output) == passed:  # the session has followed
                self._lasts.forget("driven")
        named = replace(
            output,
            charge_ma=passed.charge_ma if output.charge_ma >= UNBOUNDED else output.charge_ma,
            discharge_ma=passed.discharge_ma if output.discharge_ma >= UNBOUNDED else output.discharge_ma,
        )
        if passed != named:
            self._verdicts.append(Lower(allowed.reason or "limit", passed))
        return passed

    def close(self, now: float) -> bool:
        """The session commands the contactor closed; return whether it is permitted."""
        allowed = self._allowed(now)
        if not allowed.connected:
            self._open(allowed.reason, now)
        else:
            self._contact.close(now)
        return allowed.connected

    def open(self, now: float) -> None:
        """The contactor was commanded open."""
        self._contact.open(now)
        self._lasts.forget("connected")
        self._look(now)

    def feedback(self, now: float, *, closed: bool) -> None:
        """The contactor's auxiliary contact has this state."""
        self._contact.feedback(now, closed=closed)
        self._look(now)

    def measured(self, voltage_mv: int, current_ma: int, now: float) -> None:
        """The measured output with direct current; current out of the vehicle is negative."""
        self._voltage_mv, self._current_ma = voltage_mv, current_ma
        if self._target_mv and self._near(self._target_mv):
            self._matched = True
        if self._contact.commanded and voltage_mv > self._most_mv(now) * OVER_VOLTAGE_PERCENT // 100:
            self._open("over_voltage", now)
        self._look(now)

    def drawn(self, power_w: int, now: float, line_ma: tuple[int, int, int] | None = None) -> None:
        """The measured power with alternating current, or of a coil, and the current of each line conductor, None if
        it has none; out of the vehicle is negative."""
        self._power_w = power_w
        self._line_ma = () if line_ma is None else line_ma
        self._look(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._look(now)

    # -- state

    @property
    def live(self) -> bool:
        """Whether frequent ticks are needed."""
        return self._contact.commanded or self._contact.closed or self._driven != NOTHING

    def verdicts(self) -> list[Verdict]:
        """Return the verdicts, in order, and clear them."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    # -- the rule

    def _allowed(self, now: float) -> _Allowed:
        """Return the permission, by everything but measurements."""
        why = next(iter(self._faults), "") or self._opened
        if not why and not self._authorised:
            why = "not_authorised"
        if not why and self._stop_at is not None and now >= self._stop_at:
            why = "stop"
        if not why and self._phase is Phase.IDLE:
            why = "not_requested"
        if not why and self._phase is Phase.VOLTAGE and now >= self._voltage_until:
            why = "voltage_for_too_long"
        if not why and self._phase is Phase.POWER and not self._matched and now >= self._match_until:
            why = "pre_charge_not_reached"
        if not why and now >= self._closed_until:
            why = "silent"
        return _Allowed(connected=False, output=NOTHING, reason=why) if why else self._flow(now)

    def _flow(self, now: float) -> _Allowed:
        """Return the permitted flow through a contactor that may be closed."""
        why = ""
        if self._stop_at is not None:
            why = "stop"
        elif self._phase is not Phase.POWER:
            why = f"only_{self._phase.value}"
        elif now >= self._power_until:
            why = "loop_silent"
        elif not self._matched:
            why = "pre_charge_not_reached"
        elif not self._ready:
            why = "not_ready"
        output = self._bears.within(self._most)
        charge_w, discharge_w = (0, 0) if why else (output.charge_w, output.discharge_w)
        if discharge_w:
            discharge_w = min([discharge_w, *(each.discharge_at(now) for each in self._limits.values())])
        if self._discharge != "standard":
            signed_w, until_s = self._signed
            discharge_w = min(discharge_w, signed_w) if self._discharge == "signed" and now < until_s else 0
        return _Allowed(connected=True, output=replace(output, charge_w=charge_w, discharge_w=discharge_w), reason=why)

    def _look(self, now: float) -> None:
        """Compare the state with the permission."""
        contradiction = self._contact.contradiction(now)
        if contradiction:
            self._open(contradiction, now)
        allowed = self._allowed(now)
        lowered = self._driven.within(allowed.output)
        notice_s = self._notice_s if self._noticed_later(allowed) else 0.0
        if self._lasts("connected", self._contact.commanded and not allowed.connected, self._rating.grace_s, now):
            self._open(allowed.reason, now)
        elif self._lasts("driven", lowered != self._driven, self._rating.grace_s + notice_s, now):
            self._driven = lowered
            self._lasts.forget("driven")
            self._verdicts.append(Lower(allowed.reason or "limit", lowered))
        self._look_at_output(now)

    def _look_at_output(self, now: float) -> None:
        """Compare the measurements with the command."""
        most_mv, driven = self._most_mv(now), self._driven
        beyond = self._contact.commanded and self._voltage_mv > most_mv + max(5_000, most_mv // 100)
        if self._lasts("voltage", beyond, OVER_VOLTAGE_S, now):
            self._open("over_voltage", now)
        most_ma = self._current_of(driven.charge_w, driven.charge_ma)
        least_ma = self._current_of(driven.discharge_w, driven.discharge_ma)
        if self._phase is Phase.VOLTAGE:
            most_ma = max(most_ma, PRE_CHARGE_MA)
        now_us, follow_us = microseconds(now), self._follow_us
        self._current = self._current.then(
            self._current_ma, most_ma, least_ma, margin=DIRECT, follow_us=follow_us, now_us=now_us
        )
        self._power = self._power.then(
            self._power_w, driven.charge_w, driven.discharge_w, margin=ALTERNATING, follow_us=follow_us, now_us=now_us
        )
        if self._line_ma:
            most_ma, least_ma = (
                ma if power_w else 0
                for power_w, ma in ((driven.charge_w, driven.charge_ma), (driven.discharge_w, driven.discharge_ma))
            )
            first, second, third = (
                line.then(ma, most_ma, least_ma, margin=LINE, follow_us=follow_us, now_us=now_us)
                for line, ma in zip(self._lines, self._line_ma, strict=True)
            )
            self._lines = first, second, third
        stray = abs(self._current_ma) > DIRECT.sensor or abs(self._power_w) > ALTERNATING.sensor
        stray = bool(self._opened) and self._contact.rests(now) and (stray or any(map(_strays, self._line_ma)))
        if self._lasts("stray", stray, self._rating.follow_s + self._rating.excess_s, now):
            self._open("contactor_welded", now)
        if any(each.excess.lasts(self._excess_us) for each in (self._current, self._power, *self._lines)):
            self._open("power_not_obeyed", now)

    def _most_mv(self, now: float) -> int:
        """Return the vehicle's maximum voltage: one that it has just lowered is for the session to follow."""
        return max(self._bears.voltage_mv, self._before_mv if now < self._before_until else 0)

    def _current_of(self, power_w: int, current_ma: int) -> int:
        """Return the current, mA, that a command permits at the present voltage."""
        return min(current_ma, power_w * 1_000_000 // max(1, self._voltage_mv))

    def _noticed_later(self, allowed: _Allowed) -> bool:
        """Return whether the vehicle learns of the lower limit only later."""
        return bool(self._notice_s and (allowed.output.charge_w or allowed.output.discharge_w))

    def _open(self, reason: str, now: float) -> None:
        """Open for the rest of this session; the hardware's own faults may last longer. What has not opened since is
        another fault."""
        if self._opened and (reason != "contactor_welded" or self._opened == reason):
            return
        self._opened, self._driven = reason, NOTHING
        self._contact.open(now)
        self._verdicts.append(Open(reason))


def _strays(line_ma: int) -> bool:
    return abs(line_ma) > LINE.sensor
