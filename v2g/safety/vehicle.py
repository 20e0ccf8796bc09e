"""The safety monitor of a vehicle. Pure. One rule:

A closed contactor, state C at the control pilot, and a requested power other than zero exist only while all of these
are true. The vehicle has requested it, and the charger answers. No stop and no fault is pending, and no danger was
found that lasts. Battery and inlet report. The flow is as the vehicle requested, in size and direction, within the
battery's limits and what was agreed before power; in each line conductor, too. If discharge must be signed, a signed
command is valid. The contactor is as commanded, and closes only between two equal voltages. The inlet has no
unrequested voltage.

The monitor observes messages, commands and readings, independently of the session. A command beyond the rule does
not pass. When time, or an input, makes the rule stricter, the session has `grace_s` to follow; then the
monitor acts, and reports it. It never raises a request, never closes a contactor and never shows state C.
"""

from typing import Final

import msgspec

from v2g.safety.excess import Excesses, microseconds
from v2g.safety.flow import DIRECT, LINE, PACK, Flow
from v2g.safety.output import NOTHING, UNBOUNDED, Contact, Lower, Open, Output, Phase, Verdict

OVER_VOLTAGE_PERCENT: Final = 110
OVER_VOLTAGE_S: Final = 0.4
"""Limits of the battery's voltage: that fraction of its maximum, and a time for exceeding it by 1 % (at least
5 V), as IEC 61851-23 CC.6.2 gives a charger."""

MESSAGE_W: Final = 500
"""By how much, and a twentieth, a request may be above that in the last message: both change together, and numbers of
messages are rounded. None at all is exact."""

MATCHED_MV: Final = 20_000
"""Maximum voltage across a closing contactor."""

SAFE_MV: Final = 60_000
"""Touch-safe voltage of the inlet."""

_RULES: Final = ("signed", "requested", "driven", "drawn")
"""What a request and a draw have to follow, by the names of their times."""

SIGNED_S: Final = 1.0
"""How long a discharge request may be without a signed command: one precedes the other, and they are renewed."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Meaning of a message to or from the charger; None and 0 leave the previous value.

    The phase is this one; the next message is due within `alive_s`, otherwise everything is switched off.
    """

    phase: Phase | None = None
    alive_s: float = 0.0
    charge_w: int | None = None
    """The vehicle's requested power as sent to the charger, W: an upper bound, with a margin."""
    limit: Output | None = None
    """The charger's limits, within those that were agreed before power."""
    lines: int | None = None
    """How many line conductors the alternating current may use that was chosen; 0: direct current, or a coil."""
    line_w: tuple[int, int] | None = None
    """The charger's limit of the power of each of them, W, into the vehicle and out of it."""
    tolerance_ma: int | None = None
    """The accuracy with which the charger controls its current, as it declares it, mA."""
    awaits: bool | None = None
    """Whether a request waits for its answer: until then a slow charger may follow the request before."""
    stop: bool = False
    """The charger requests the end of the session."""


class BatteryReading(msgspec.Struct, frozen=True, kw_only=True):
    """The battery's report: terminals, limits (`bears`, with its maximum voltage), and a fault code."""

    voltage_mv: int
    current_ma: int
    bears: Output
    fault: str = ""


class VehicleRating(msgspec.Struct, frozen=True, kw_only=True):
    """Reaction times of a vehicle and its charger, s.

    A lowered request may be followed with a delay of `follow_s`, a lowered limit of the battery with one of `bears_s`.
    Beyond that, a flow that exceeds it, or the other direction, by its margin (`v2g.safety.flow`) may last for
    `excess_s`, a larger one for a quarter at least. `sensor_s` is the maximum age of a reading, half of that when the
    contactor closes.
    """

    sensor_s: float = 1.0
    follow_s: float = 2.0
    bears_s: float = 1.0
    excess_s: float = 1.0
    open_s: float = 2.75
    close_s: float = 2.0
    grace_s: float = 0.25
    unasked_s: float = 1.25
    left_s: float = 5.0
    """Maximum time for the charger's output to fall after the request has ended."""
    yield_s: float = 5.0
    stop_s: float = 15.0
    """How long requested power, and the closed contactor, may outlive a stop, or a battery's
    fault."""
    voltage_s: float = 150.0
    """Maximum time of voltage without power."""
    signed: bool = False
    """Whether discharge must be signed."""
    line_ma: int = UNBOUNDED
    """Rating of each line conductor for alternating current, mA: the least of charger, inlet and cable."""


class VehicleMonitor:
    """One method for each input, with `now` (s, monotonic). `tick` it several times a second; `verdicts()` must be
    executed at once. Faults of a session are cleared when the next one begins."""

    def __init__(self, rating: VehicleRating) -> None:
        self._rating = rating
        self._contact = Contact(open_s=rating.open_s, close_s=rating.close_s, grace_s=rating.grace_s)
        self._bears_us, self._follow_us = microseconds(rating.bears_s), microseconds(rating.follow_s)
        self._excess_us = microseconds(rating.excess_s)
        self._lasts = Excesses()
        self._asked, self._stored, self._inlet, self._pack = Flow(), Flow(), Flow(), Flow()
        self._verdicts: list[Verdict] = []
        self._battery = BatteryReading(voltage_mv=0, current_ma=0, bears=Output())
        self._inlet_mv = self._inlet_ma = self._inlet_lines = 0
        self._line_ma = (0, 0, 0)
        self._at: dict[str, float] = {}
        self._driven, self._drawn_w = NOTHING, 0
        self._shown = self._session = False
        self._asked_at = float("-inf")
        self._isolated = ""
        self._forget()

    def _forget(self) -> None:
        self._phase = Phase.IDLE
        self._alive_until = self._voltage_until = float("-inf")
        self._stop_at: float | None = None
        self._fault_at: float | None = None
        self._faults: dict[str, None] = {}
        self._limit, self._requested_w = Output(UNBOUNDED, UNBOUNDED), UNBOUNDED
        self._lines, self._line_w = 0, (UNBOUNDED, UNBOUNDED)
        self._answered_w, self._awaits = 0, False
        self._direct, self._stores = DIRECT, PACK
        self._signed = (0, float("-inf"))
        self._opened = ""

    # -- inputs

    def begin(self) -> None:
        """A session begins."""
        self._forget()
        self._lasts.forget("stray", "joined", "voltage", "driven", "requested", "signed", "drawn")
        self._asked, self._stored, self._inlet, self._pack = Flow(), Flow(), Flow(), Flow()
        self._conductors = Flow(), Flow(), Flow()
        self._session = True

    def end(self) -> None:
        """The session is over, and everything is off."""
        self._phase, self._session = Phase.IDLE, False

    def stop(self, now: float) -> None:
        """The session must end, irrevocably."""
        if self._stop_at is None:
            self._stop_at = now

    def fault(self, word: str, now: float) -> None:
        """The vehicle has a fault that forbids energy for the rest of this session."""
        self._faults[word] = None
        self._look(now)

    def isolate(self, word: str, now: float) -> None:
        """The battery endangers itself: open at once, and for good. No session ends that; a person does, and starts
        the vehicle again."""
        self._isolated = self._isolated or word
        if self.live or self._session:
            self._open(self._isolated, now)

    def ask(self, ask: Ask, now: float) -> None:
        """A message within a session. Stricter rules take effect with the next tick,
        since the session is about to follow."""
        if not self._session:
            return
        if ask.phase is not None and not (ask.phase is Phase.REST and self._phase is not Phase.POWER):
            if ask.phase is not self._phase:
                self._voltage_until = now + self._rating.voltage_s
            self._phase = ask.phase
        if ask.charge_w is not None:
            self._requested_w = ask.charge_w
        self._limit = self._limit if ask.limit is None else ask.limit
        self._lines = self._lines if ask.lines is None else ask.lines
        self._line_w = self._line_w if ask.line_w is None else ask.line_w
        if ask.tolerance_ma is not None:
            self._direct, self._stores = DIRECT.declared(ask.tolerance_ma), PACK.declared(ask.tolerance_ma)
        if ask.awaits is not None:
            self._awaits = ask.awaits
            self._answered_w = self._answered_w if ask.awaits else self._driven.charge_w
        if ask.alive_s:
            self._alive_until = now + ask.alive_s
        if ask.stop:
            self.stop(now)

    def signed(self, power_w: int, until_s: float) -> None:
        """The vehicle has signed for this discharge."""
        self._signed = (power_w, until_s)

    def battery(self, reading: BatteryReading, now: float) -> None:
        """The battery reports."""
        self._battery, self._at["battery"] = reading, now
        if not reading.fault:
            self._fault_at = None
        elif self._fault_at is None:
            self._fault_at = now
        self._look(now)

    def inlet(
        self,
        voltage_mv: int,
        current_ma: int,
        now: float,
        *,
        lines: int = 0,
        line_ma: tuple[int, int, int] | None = None,
    ) -> None:
        """The inlet's sensors report; current out of the vehicle is negative. Alternating current: the sum, on how many
        lines there is voltage, one where that is not known, and the current of each, all in one if it is None."""
        self._inlet_mv, self._inlet_ma, self._at["inlet"] = voltage_mv, current_ma, now
        self._inlet_lines, self._line_ma = lines or 1, (current_ma, 0, 0) if line_ma is None else line_ma
        self._look(now)

    def feedback(self, now: float, *, closed: bool) -> None:
        """The contactor's auxiliary contact has this state."""
        self._contact.feedback(now, closed=closed)
        self._look(now)

    def drive(self, output: Output, now: float) -> Output:
        """The session requests this power; return the permitted part."""
        allowed = self._allowed(now)
        passed = output if output == NOTHING else output.within(allowed)
        if passed != self._driven:
            self._driven = passed
            self._forget_corrected(now)
        if passed != output:
            self._verdicts.append(Lower(self._why(now) or "limit", passed))
        return passed

    def draw(self, power_w: int, now: float) -> int:
        """The session commands the vehicle's own charger to draw or feed (negative) this; return the permitted part."""
        allowed = self._driven.within(self._allowed(now))
        if power_w != self._drawn_w:
            self._lasts.forget("drawn")
        self._drawn_w = _clamp(power_w, allowed)
        if self._drawn_w != power_w:
            self._driven = allowed  # as the session does, which follows the verdict
            self._verdicts.append(Lower(self._why(now) or "limit", allowed))
        return self._drawn_w

    def show(self, now: float) -> bool:
        """The session commands state C or D; return whether it is permitted: not with a welded contactor."""
        left = "contactor_welded" if self._contact.closed and not self._contact.commanded else ""
        why = self._why_apart(now) or left
        if why:
            self._open(why, now)
        else:
            self._shown = True
        return not why

    def rest(self) -> None:
        """The pilot shows state B."""
        self._shown = False

    def close(self, now: float) -> bool:
        """The session commands the contactor closed; return whether it is permitted."""
        why = self._why_apart(now) or self._why_not_closed(now)
        if why:
            self._open(why, now)
        else:
            self._contact.close(now)
        return not why

    def open(self, now: float) -> None:
        """The contactor was commanded open."""
        self._contact.open(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._look(now)

    # -- state

    @property
    def live(self) -> bool:
        """Whether energy could flow, by pilot, contactor, coil or the vehicle's own charger."""
        return self._joined() or self._contact.closed or self._driven != NOTHING or self._drawn_w != 0

    def verdicts(self) -> list[Verdict]:
        """Return the verdicts, in order, and clear them."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    # -- the rule

    def _why_apart(self, now: float) -> str:
        """Return why vehicle and charger must not be connected, by everything but measurements; else nothing."""
        rating = self._rating
        if self._isolated:
            return self._isolated
        if self._faults or self._opened:
            return next(iter(self._faults), "") or self._opened
        if self._phase is Phase.IDLE:
            return "not_requested"
        if self._phase is Phase.VOLTAGE and now >= self._voltage_until:
            return "voltage_for_too_long"
        if now >= self._alive_until:
            return "silent"
        if self._stop_at is not None and now >= self._stop_at + rating.stop_s:
            return "stop"
        return "battery_fault" if self._fault_at is not None and now >= self._fault_at + rating.stop_s else ""

    def _why_not_closed(self, now: float) -> str:
        """Return why a permitted contactor must not close at this moment."""
        if self._age("battery", now) > self._rating.sensor_s / 2:
            return "battery_silent"
        if self._age("inlet", now) > self._rating.sensor_s / 2:
            return "inlet_silent"
        if self._battery.fault:
            return "battery_fault"
        return "voltage_mismatch" if abs(self._inlet_mv - self._battery.voltage_mv) > MATCHED_MV else ""

    def _why(self, now: float) -> str:
        """Return why no power may be requested; empty if only limits bound it."""
        if why := self._why_apart(now):
            return why
        if self._stop_at is not None and now >= self._stop_at + self._rating.yield_s:
            return "stop"
        if self._fault_at is not None and now >= self._fault_at + self._rating.yield_s:
            return "battery_fault"
        return "" if self._phase is Phase.POWER else f"only_{self._phase.value}"

    def _allowed(self, now: float, *, kept: bool = False) -> Output:
        """Return the permitted request. The battery's limits are not included: sessions stay below them, chargers
        follow in their time, and the flow is compared with them. `kept`: of an earlier request, since which the voltage
        of alternating current may have changed by a twentieth."""
        if self._why(now):
            return NOTHING
        limit, mv, lines = self._limit, self._inlet_mv, min(self._lines, self._inlet_lines)
        charge_w = limit.charge_w
        if self._lines and (mv or not (lines and limit.charge_ma)):  # at a voltage of 0 nothing flows yet
            charge_w = min(charge_w, -(-lines * limit.charge_ma * mv * (21 if kept else 20) // 20_000_000))
        return Output(charge_w, limit.discharge_w)

    def _joined(self) -> bool:
        return self._contact.commanded or self._shown

    def _look(self, now: float) -> None:
        """Compare the state with the permission."""
        rating, lasts = self._rating, self._lasts
        apart = self._why_apart(now)
        if contradiction := self._contact.contradiction(now):
            self._open(contradiction, now)
        if lasts("joined", self._joined() and bool(apart), rating.grace_s, now):
            self._open(apart, now)
        if self._phase is not Phase.IDLE and now < self._alive_until:
            self._asked_at = now
        if self._phase is not Phase.IDLE:
            for sensor in ("battery", "inlet"):
                old = self.live and self._age(sensor, now) > rating.sensor_s
                if lasts(sensor, old, rating.grace_s, now):
                    self._open(f"{sensor}_silent", now)
        there = self._inlet_mv > SAFE_MV and now - self._asked_at > rating.left_s
        if lasts("unasked", there, rating.unasked_s, now):
            self._open("voltage_not_asked_for", now)
        stray = bool(self._opened) and self._contact.rests(now) and abs(self._inlet_ma) > DIRECT.sensor
        if lasts("stray", stray, rating.follow_s + rating.excess_s, now):
            self._open("contactor_welded", now)
        self._look_at_flow(now)
        self._look_at_request(now)

    def _look_at_flow(self, now: float) -> None:
        if not self.live:
            return
        battery = self._battery
        inlet_mv, inlet_ma = (self._inlet_mv, self._inlet_ma) if self._contact.closed else (0, 0)
        most_mv = battery.bears.voltage_mv
        there_mv = max(battery.voltage_mv, inlet_mv)
        if inlet_mv > self._limit.voltage_mv:  # with that the insulation was tested
            most_mv = min(most_mv, self._limit.voltage_mv)
        if there_mv > most_mv * OVER_VOLTAGE_PERCENT // 100:
            self._open("over_voltage", now)
        if self._lasts("voltage", there_mv > most_mv + max(5_000, most_mv // 100), OVER_VOLTAGE_S, now):
            self._open("over_voltage", now)
        # compare the current with the battery's limits and with the request
        now_us, bears_us, follow_us, excess_us = microseconds(now), self._bears_us, self._follow_us, self._excess_us
        battery_ma, most, least = battery.current_ma, battery.bears.charge_ma, battery.bears.discharge_ma
        self._pack = self._pack.then(battery_ma, most, least, margin=PACK, follow_us=bears_us, now_us=now_us)
        self._inlet = self._inlet.then(inlet_ma, most, least, margin=DIRECT, follow_us=bears_us, now_us=now_us)
        if self._pack.excess.lasts(excess_us) or self._inlet.excess.lasts(excess_us):
            self._open("over_current", now)
        inlet_mv = max(1, self._inlet_mv)
        most_w = max(self._driven.charge_w, self._answered_w if self._awaits else 0)
        agreed = Output() if self._lines else self._limit
        most = min(agreed.charge_ma, most_w * 1_000_000 // inlet_mv)
        least = min(agreed.discharge_ma, self._driven.discharge_w * 1_000_000 // inlet_mv)
        self._asked = self._asked.then(
            self._inlet_ma, most, least, margin=self._direct, follow_us=follow_us, now_us=now_us
        )
        stored_ma = most_w * 1_000_000 // max(1, battery.voltage_mv)
        # The battery's own sensor sees what the inlet's misses; out of the battery flow the vehicle's loads, too.
        self._stored = self._stored.then(
            battery_ma, stored_ma, UNBOUNDED, margin=self._stores, follow_us=follow_us, now_us=now_us
        )
        if self._asked.excess.lasts(excess_us) or self._stored.excess.lasts(excess_us):
            self._open("power_not_obeyed", now)
        if self._lines:
            self._look_at_lines(now)

    def _look_at_lines(self, now: float) -> None:
        """Compare the current of each line conductor with its rating and with the charger's limits of it."""
        mv, driven, limit, now_us = max(1, self._inlet_mv), self._driven, self._limit, microseconds(now)
        (into_w, out_w), rated_ma = self._line_w, self._rating.line_ma
        most = min(rated_ma, limit.charge_ma, into_w * 1_000_000 // mv) if driven.charge_w else 0
        least = min(rated_ma, limit.discharge_ma, out_w * 1_000_000 // mv) if driven.discharge_w else 0
        first, second, third = (
            flow.then(ma, most, least, margin=LINE, follow_us=self._follow_us, now_us=now_us)
            for flow, ma in zip(self._conductors, self._line_ma, strict=True)
        )
        self._conductors = first, second, third
        if any(each.excess.lasts(self._excess_us) for each in self._conductors):
            self._open("over_current", now)

    def _look_at_request(self, now: float) -> None:
        """Withdraw requests that are no longer permitted."""
        grace_s = self._rating.grace_s
        if self._lasts("signed", self._is_wrong("signed", now), SIGNED_S, now):
            self._lower("not_signed", msgspec.structs.replace(self._driven, discharge_w=self._signed_w(now)), now)
        if self._lasts("requested", self._is_wrong("requested", now), grace_s, now):
            self._lower("not_requested", msgspec.structs.replace(self._driven, charge_w=self._requested_w), now)
        if self._lasts("driven", self._is_wrong("driven", now), grace_s, now):
            self._lower(self._why(now) or "limit", self._allowed(now), now)
        if self._lasts("drawn", self._is_wrong("drawn", now), grace_s, now):
            self._lower("limit", self._driven, now)

    def _is_wrong(self, what: str, now: float) -> bool:
        """Return whether the request, or the draw, is more than permitted by one of the rules."""
        match what:
            case "signed":
                return self._rating.signed and self._driven.discharge_w > self._signed_w(now)
            case "requested":
                margin_w = MESSAGE_W if self._requested_w else 0
                return self._driven.charge_w > self._requested_w * 21 // 20 + margin_w
            case "driven":
                return self._driven.within(self._allowed(now, kept=True)) != self._driven
            case _:
                return _clamp(self._drawn_w, self._driven) != self._drawn_w

    def _signed_w(self, now: float) -> int:
        power_w, until_s = self._signed
        return power_w if now < until_s else 0

    def _forget_corrected(self, now: float) -> None:
        """A change of the request gives time only where it is a correction: what stays wrong has used its time."""
        self._lasts.forget(*(each for each in _RULES if not self._is_wrong(each, now)))

    def _age(self, sensor: str, now: float) -> float:
        return now - self._at.get(sensor, float("-inf"))

    def _lower(self, reason: str, allowed: Output, now: float) -> None:
        self._driven = self._driven.within(allowed)
        self._drawn_w = _clamp(self._drawn_w, self._driven)
        self._forget_corrected(now)
        self._verdicts.append(Lower(reason, self._driven))

    def _open(self, reason: str, now: float) -> None:
        """Open for the rest of this session. What has not opened since is another fault."""
        if self._opened and (reason != "contactor_welded" or self._opened == reason):
            return
        self._opened, self._shown, self._driven, self._drawn_w = reason, False, NOTHING, 0
        self._contact.open(now)
        self._verdicts.append(Open(reason))


def _clamp(power_w: int, within: Output) -> int:
    return max(-within.discharge_w, min(within.charge_w, power_w))
