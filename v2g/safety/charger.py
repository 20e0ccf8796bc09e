"""The safety monitor of a charger. Pure. One rule:

An output other than zero, and a closed contactor, exist only while all of these are true. A request of the vehicle that
asks for them is not older than its time-out. The session is authorised, and no stop and no fault is pending. Every
limit in force is followed, in size and direction. A signed command lives where discharge needs one. What flows is what
was commanded. The contactor is where it was commanded.

The monitor is told of requests, limits, commands and of what the hardware measures, beside the session and not by it.
A command beyond the rule does not pass. Where time, or what is told, makes the rule stricter, the session has `grace_s`
to follow by itself; then the monitor does it, and says so. It never raises an output and never closes a contactor.
"""

from typing import Final, Literal

import msgspec

from v2g.safety.fault_timers import Contact, FaultTimers
from v2g.safety.output import NOTHING, UNBOUNDED, Lower, Open, Output, Phase, Verdict

Discharge = Literal["none", "signed", "standard"]
"""What lets energy be fed back: nothing, a live command that the vehicle has signed, or its limits alone."""

OVER_VOLTAGE_PERCENT: Final = 110
"""Of the highest voltage that the vehicle bears: above it the output is cut off at once."""

OVER_VOLTAGE_S: Final = 0.4
"""How long the output may be above that voltage by more than it is regulated to (IEC 61851-23 CC.6.2)."""

MATCHED_MV: Final = 20_000
MATCH_S: Final = 1.0
"""How near the output has come to the voltage that the vehicle waits for, when the vehicle asks for power; and how much
longer it may take."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a message of the vehicle means here; None leaves what was before.

    From now on power may flow for `power_s` where the phase is POWER, and the contactor may stay closed for `closed_s`;
    0 does not put off what was said before. `bears` is what the vehicle bears, `ready` whether it is ready for energy
    at all, `target_mv` the voltage that it waits for before it closes its own contactor. `told_s` is how long it may
    take until it can be told of a smaller output than before, of none at all at once.
    """

    phase: Phase | None = None
    power_s: float = 0.0
    closed_s: float = 0.0
    bears: Output | None = None
    ready: bool | None = None
    target_mv: int | None = None
    told_s: float | None = None


class ChargerRating(msgspec.Struct, frozen=True, kw_only=True):
    """What a charger can do at most, and how fast it and its vehicle follow.

    `flow_s` is how long what flows may differ from what was commanded, by more than `margin_w` and a twentieth.
    """

    charge_w: int
    discharge_w: int
    margin_w: int = 500
    flow_s: float = 1.0
    open_s: float = 0.5
    close_s: float = 3.5
    grace_s: float = 0.25
    stop_s: float = 65.0
    """How long a session may take to end once somebody wants it to."""
    voltage_s: float = 150.0
    """How long cable check and pre-charge may take together."""


class _Limit(msgspec.Struct, frozen=True):
    charge_w: int
    discharge_w: int
    from_s: float
    until_s: float

    def discharge_at(self, now: float) -> int:
        """A limit that is not in force vouches for no discharge, and goes on limiting charge."""
        return self.discharge_w if self.from_s <= now < self.until_s else 0


class _Allowed(msgspec.Struct, frozen=True):
    """What the rule allows now; `reason` is empty where nothing but limits bounds it."""

    connected: bool
    output: Output
    reason: str


class ChargerMonitor:
    """Told of everything by a method each, with `now` (s, monotonic). `tick` it several times a second; `verdicts()` is
    what to do, at once. What belongs to a session is forgotten when nobody is authorised any more; a limit holds until
    its source says something else."""

    def __init__(self, rating: ChargerRating) -> None:
        self._rating = rating
        self._limits: dict[str, _Limit] = {}
        self._faults: dict[str, None] = {}
        self._verdicts: list[Verdict] = []
        self._driven = NOTHING
        self._contact = Contact(open_s=rating.open_s, close_s=rating.close_s, grace_s=rating.grace_s)
        self._voltage_mv = self._power_w = 0
        self._lasts = FaultTimers()
        self._authorised = self._paused = False
        self._stop_at: float | None = None
        self._kept_stop_at: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._phase, self._power_until, self._closed_until = Phase.IDLE, 0.0, 0.0
        self._voltage_until = 0.0
        self._bears, self._ready = NOTHING, True
        self._target_mv, self._matched, self._match_until = 0, True, 0.0
        self._discharge: Discharge = "none"
        self._signed = (0, 0.0)
        self._opened = ""
        self._told_s = 0.0

    # -- what is told

    def begin(self, now: float) -> None:
        """A session begins, in which nobody is authorised yet. A stop of one in which nobody was has ended with it;
        that of one that is paused waits for the vehicle to join it."""
        if self._authorised:  # whoever should have said that the one before is over has not
            self.authorise(now, allowed=False)
        if self._paused:
            self._kept_stop_at, self._paused = self._stop_at, False
        self._stop_at = None

    def forget_kept(self) -> None:
        """A session that was paused will not be joined."""
        self._stop_at = None if self._paused else self._stop_at
        self._kept_stop_at, self._paused = None, False

    def authorise(self, now: float, *, allowed: bool, paused: bool = False) -> None:
        """Somebody may charge from now on, or nobody any more; `paused` until the same comes back, who is then still to
        stop if he was."""
        if not allowed:
            self._forget()
            self._stop_at = self._stop_at if paused else None
            self._paused = paused
        elif not self._authorised:
            self._opened = ""  # that was at the end of the session before
            self._stop_at = self._kept_stop_at if self._stop_at is None else self._stop_at
            self._kept_stop_at, self._paused = None, False
        self._authorised = allowed
        self._look(now)

    def stop(self, now: float) -> None:
        """The session is to end; there is no way back."""
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
        """The vehicle has asked for this. What that makes stricter is looked at with the next tick, for the session is
        about to answer."""
        if request.bears is not None:
            self._bears = request.bears
        if request.ready is not None:
            self._ready = request.ready
        if request.told_s is not None:
            self._told_s = request.told_s
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
        from_s: float = 0.0,
        until_s: float = float("inf"),
    ) -> None:
        """A source allows so much from now on, in place of what it allowed before; discharge within its validity."""
        self._limits[source] = _Limit(charge_w, discharge_w, from_s, until_s)
        self._look(now)

    def discharge(self, rule: Discharge, now: float) -> None:
        """This lets energy be fed back from now on."""
        self._discharge, self._signed = rule, (0, 0.0)
        self._look(now)

    def signed(self, power_w: int, until_s: float, now: float) -> None:
        """The vehicle has signed for so much discharge."""
        self._signed = (power_w, until_s)
        self._look(now)

    def signed_less(self, power_w: int, until_s: float, now: float) -> None:
        """The vehicle's newest word, which is not followed: no more than it, and no longer, is what it wants now."""
        before_w, before_s = self._signed
        self.signed(min(before_w, power_w), min(before_s, until_s), now)

    def drive(self, output: Output, now: float) -> Output:
        """The session wants this output; return what of it passes."""
        allowed = self._allowed(now)
        most = self._bears if self._told_later(allowed) else allowed.output
        passed = output.within(most) if allowed.connected else NOTHING
        self._driven = passed
        if passed != output:
            self._verdicts.append(Lower(allowed.reason or "limit", passed))
        return passed

    def close(self, now: float) -> bool:
        """The session wants the contactor closed; return whether that passes."""
        allowed = self._allowed(now)
        if not allowed.connected:
            self._open(allowed.reason, now)
        else:
            self._contact.close(now)
        return allowed.connected

    def open(self, now: float) -> None:
        """The contactor was told to open."""
        self._contact.open(now)
        self._look(now)

    def feedback(self, now: float, *, closed: bool) -> None:
        """The contactor's auxiliary contact says this."""
        self._contact.feedback(now, closed=closed)
        self._look(now)

    def measured(self, voltage_mv: int, power_w: int, now: float) -> None:
        """This is at the output; power out of the vehicle is negative. 0 for a voltage that does not matter."""
        self._voltage_mv, self._power_w = voltage_mv, power_w
        if self._target_mv and self._near(self._target_mv):
            self._matched = True
        if self._contact.commanded and voltage_mv > self._bears.voltage_mv * OVER_VOLTAGE_PERCENT // 100:
            self._open("over_voltage", now)
        self._look(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._look(now)

    # -- what is asked

    @property
    def live(self) -> bool:
        """Whether there is anything to watch: else a tick now and then will do."""
        return self._contact.commanded or self._contact.closed or self._driven != NOTHING

    def verdicts(self) -> list[Verdict]:
        """Return what to do, in order, and forget it."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    # -- the rule

    def _allowed(self, now: float) -> _Allowed:
        """Return what may be now, by everything but what is measured."""
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
        """Return what may flow through a contactor that may be closed."""
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
        bears = self._bears
        charge_w, discharge_w = (0, 0) if why else (bears.charge_w, bears.discharge_w)
        for limit in self._limits.values():
            charge_w = min(charge_w, limit.charge_w)
            discharge_w = min(discharge_w, limit.discharge_at(now))
        charge_w, discharge_w = min(charge_w, self._rating.charge_w), min(discharge_w, self._rating.discharge_w)
        if self._discharge != "standard":
            signed_w, until_s = self._signed
            discharge_w = min(discharge_w, signed_w) if self._discharge == "signed" and now < until_s else 0
        output = Output(charge_w, discharge_w, bears.charge_ma, bears.discharge_ma, bears.voltage_mv)
        return _Allowed(connected=True, output=output, reason=why)

    def _look(self, now: float) -> None:
        """Compare what is with what may be."""
        contradiction = self._contact.contradiction(now)
        if contradiction:
            self._open(contradiction, now)
        allowed = self._allowed(now)
        lowered = self._driven.within(allowed.output)
        told_s = self._told_s if self._told_later(allowed) else 0.0
        if self._lasts("connected", self._contact.commanded and not allowed.connected, self._rating.grace_s, now):
            self._open(allowed.reason, now)
        elif self._lasts("driven", lowered != self._driven, self._rating.grace_s + told_s, now):
            self._driven = lowered
            self._verdicts.append(Lower(allowed.reason or "limit", lowered))
        if self._lasts("voltage", self._contact.commanded and self._over_voltage(), OVER_VOLTAGE_S, now):
            self._open("over_voltage", now)
        if self._lasts("flow", self._strays(), self._rating.flow_s, now):
            self._open("power_not_obeyed", now)

    def _told_later(self, allowed: _Allowed) -> bool:
        """Say whether the vehicle hears of what is allowed, which is less than before, only later."""
        return bool(self._told_s and (allowed.output.charge_w or allowed.output.discharge_w))

    def _over_voltage(self) -> bool:
        most_mv = self._bears.voltage_mv
        return self._voltage_mv > most_mv + max(5_000, most_mv // 100)

    def _strays(self) -> bool:
        """Say whether more flows than was commanded, or the other way."""
        driven = self._driven
        most_w, least_w = driven.charge_w, driven.discharge_w
        if self._voltage_mv:  # what the current makes of it may be less
            most_w = min(most_w, self._voltage_mv * driven.charge_ma // 1_000_000)
            least_w = min(least_w, self._voltage_mv * driven.discharge_ma // 1_000_000)
        most_w, least_w = (each * 21 // 20 + self._rating.margin_w for each in (most_w, least_w))
        return not -least_w <= self._power_w <= most_w

    def _open(self, reason: str, now: float) -> None:
        """Open for as long as this session lasts; the hardware's own faults may last longer."""
        if self._opened:
            return  # nothing has passed since
        self._opened, self._driven = reason, NOTHING
        self._contact.open(now)
        self._verdicts.append(Open(reason))
