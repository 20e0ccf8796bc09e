"""The safety monitor of a vehicle. Pure. One rule:

A closed contactor, state C at the control pilot, and a wish for power other than zero exist only while all of these are
true. The vehicle has asked the charger for it, and the charger answers. No stop and no fault is pending. Battery and
inlet report. What flows is what the vehicle asked for, in size and direction, and what the battery bears. Where
discharge has to be signed for, a signed command lives. The contactor is where it was commanded, and closes only between
two equal voltages. No voltage is at the inlet that nobody asked for.

The monitor is told of messages, commands and readings beside the session and not by it. A command beyond the rule does
not pass. Where time, or what is told, makes the rule stricter, the session has `grace_s` to follow by itself; then the
monitor does it, and says so. It never raises a wish, never closes a contactor and never shows state C.
"""

from typing import Final

import msgspec

from v2g.safety.fault_timers import Contact, FaultTimers
from v2g.safety.output import NOTHING, UNBOUNDED, Lower, Open, Output, Phase, Verdict

OVER_VOLTAGE_PERCENT: Final = 110
OVER_VOLTAGE_S: Final = 0.4
"""The battery never sees more than that share of its highest voltage, and not for so long more than it by 1 % (at least
5 V): the times that IEC 61851-23 CC.6.2 gives a charger."""

MARGIN_MA: Final = 5_000
"""Current above what the battery bears, by which sensors may be wrong, and by a twentieth."""

MATCHED_MV: Final = 20_000
"""Largest voltage across a contactor that closes."""

SAFE_MV: Final = 60_000
"""Up to it the inlet is safe to touch."""

SIGNED_S: Final = 1.0
"""How long a wish to discharge may be without a signed command: one goes before the other, and they are renewed."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a message to or from the charger means; None and 0 leave what was before.

    From now on the phase is this one; somebody speaks again within `alive_s`, and what is on goes off if nobody does.
    """

    phase: Phase | None = None
    alive_s: float = 0.0
    charge_w: int | None = None
    """What of the vehicle's wish the charger is told, W: no more is let in from now on, but for a margin."""
    stop: bool = False
    """The charger wants the session to end."""


class BatteryReading(msgspec.Struct, frozen=True, kw_only=True):
    """What the battery reports: its terminals, what it `bears` (with its highest voltage), and the word of a fault."""

    voltage_mv: int
    current_ma: int
    bears: Output
    fault: str = ""


class VehicleRating(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a vehicle and its charger follow, s.

    `flow_s` is how long more may flow than was asked for, by more than `margin_w` and a twentieth; `current_s` how long
    more than the battery bears; `sensor_s` how old a reading may be, and half of that when the contactor closes.
    """

    sensor_s: float = 1.0
    margin_w: int = 500
    flow_s: float = 2.25
    current_s: float = 1.25
    open_s: float = 2.75
    close_s: float = 2.0
    grace_s: float = 0.25
    unasked_s: float = 1.25
    left_s: float = 5.0
    """How long the charger's output may take to fall once nothing is asked for any more."""
    yield_s: float = 5.0
    stop_s: float = 15.0
    """How long the wish for power, and the closed contactor, may outlive somebody's wish to stop, or a battery's
    fault."""
    voltage_s: float = 150.0
    """How long voltage without power may be asked for."""
    signed: bool = False
    """Whether discharge has to be signed for."""


class VehicleMonitor:
    """Told of everything by a method each, with `now` (s, monotonic). `tick` it several times a second; `verdicts()` is
    what to do, at once. What was wrong in a session is forgotten when the next one begins."""

    def __init__(self, rating: VehicleRating) -> None:
        self._rating = rating
        self._contact = Contact(open_s=rating.open_s, close_s=rating.close_s, grace_s=rating.grace_s)
        self._lasts = FaultTimers()
        self._verdicts: list[Verdict] = []
        self._battery = BatteryReading(voltage_mv=0, current_ma=0, bears=Output())
        self._inlet_mv = self._inlet_ma = 0
        self._at: dict[str, float] = {}
        self._driven, self._drawn_w = NOTHING, 0
        self._shown = self._session = False
        self._asked_at = float("-inf")
        self._forget()

    def _forget(self) -> None:
        self._phase = Phase.IDLE
        self._alive_until = self._voltage_until = float("-inf")
        self._stop_at: float | None = None
        self._fault_at: float | None = None
        self._faults: dict[str, None] = {}
        self._limit_w = UNBOUNDED
        self._told_w = UNBOUNDED
        self._signed = (0, float("-inf"))
        self._opened = ""

    # -- what is told

    def begin(self) -> None:
        """A session begins."""
        self._forget()
        self._session = True

    def end(self) -> None:
        """The session is over, and everything off."""
        self._phase, self._session = Phase.IDLE, False

    def stop(self, now: float) -> None:
        """Somebody wants the session to end; there is no way back."""
        if self._stop_at is None:
            self._stop_at = now

    def fault(self, word: str, now: float) -> None:
        """The vehicle has a fault that forbids energy as long as this session lasts."""
        self._faults[word] = None
        self._look(now)

    def ask(self, ask: Ask, now: float) -> None:
        """A message means this, where there is a session. What that makes stricter is looked at with the next tick,
        for the session is about to follow."""
        if not self._session:
            return
        if ask.phase is not None and not (ask.phase is Phase.REST and self._phase is not Phase.POWER):
            if ask.phase is not self._phase:
                self._voltage_until = now + self._rating.voltage_s
            self._phase = ask.phase
        if ask.charge_w is not None:
            self._told_w = ask.charge_w
        if ask.alive_s:
            self._alive_until = now + ask.alive_s
        if ask.stop:
            self.stop(now)

    def limit(self, charge_w: int) -> None:
        """So much may be drawn from now on, where something beside the wish says so."""
        self._limit_w = charge_w

    def signed(self, power_w: int, until_s: float) -> None:
        """The vehicle has signed for so much discharge."""
        self._signed = (power_w, until_s)

    def battery(self, reading: BatteryReading, now: float) -> None:
        """The battery reports."""
        self._battery, self._at["battery"] = reading, now
        if not reading.fault:
            self._fault_at = None
        elif self._fault_at is None:
            self._fault_at = now
        self._look(now)

    def inlet(self, voltage_mv: int, current_ma: int, now: float) -> None:
        """The inlet's sensors report; current out of the vehicle is negative."""
        self._inlet_mv, self._inlet_ma, self._at["inlet"] = voltage_mv, current_ma, now
        self._look(now)

    def feedback(self, now: float, *, closed: bool) -> None:
        """The contactor's auxiliary contact says this."""
        self._contact.feedback(now, closed=closed)
        self._look(now)

    def drive(self, output: Output, now: float) -> Output:
        """The session wants to let this pass; return what of it may."""
        allowed = self._allowed(now)
        passed = output if output == NOTHING else output.within(allowed)
        self._driven = passed
        if passed != output:
            self._verdicts.append(Lower(self._why(now) or "limit", passed))
        return passed

    def draw(self, power_w: int, now: float) -> int:
        """The session wants the vehicle's own charger to draw this, or to give it (negative); return what may be."""
        allowed = self._driven.within(self._allowed(now))
        self._drawn_w = _clamp(power_w, allowed)
        if self._drawn_w != power_w:
            self._verdicts.append(Lower(self._why(now) or "limit", allowed))
        return self._drawn_w

    def show(self, now: float) -> bool:
        """The session wants to show state C or D; return whether it may: not with a contactor that has not opened."""
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
        """The session wants the contactor closed; return whether that passes."""
        why = self._why_apart(now) or self._why_not_closed(now)
        if why:
            self._open(why, now)
        else:
            self._contact.close(now)
        return not why

    def open(self, now: float) -> None:
        """The contactor was told to open."""
        self._contact.open(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._look(now)

    # -- what is asked

    @property
    def live(self) -> bool:
        """Whether energy could come, by pilot, contactor, coil or the vehicle's own charger."""
        return self._joined() or self._contact.closed or self._driven != NOTHING or self._drawn_w != 0

    def verdicts(self) -> list[Verdict]:
        """Return what to do, in order, and forget it."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    # -- the rule

    def _why_apart(self, now: float) -> str:
        """Return why nothing may join vehicle and charger now, by everything but what is measured; else nothing."""
        rating = self._rating
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
        """Return why a contactor that may be closed may not be closed just now."""
        if self._age("battery", now) > self._rating.sensor_s / 2:
            return "battery_silent"
        if self._age("inlet", now) > self._rating.sensor_s / 2:
            return "inlet_silent"
        if self._battery.fault:
            return "battery_fault"
        return "voltage_mismatch" if abs(self._inlet_mv - self._battery.voltage_mv) > MATCHED_MV else ""

    def _why(self, now: float) -> str:
        """Return why no power may be asked for; empty where nothing but limits bounds it."""
        if why := self._why_apart(now):
            return why
        if self._stop_at is not None and now >= self._stop_at + self._rating.yield_s:
            return "stop"
        if self._fault_at is not None and now >= self._fault_at + self._rating.yield_s:
            return "battery_fault"
        return "" if self._phase is Phase.POWER else f"only_{self._phase.value}"

    def _allowed(self, now: float) -> Output:
        """Return what may be asked for now. What the battery bears is not among it: sessions ask for less by
        themselves, chargers follow in their time, and what flows is compared with it."""
        if self._why(now):
            return NOTHING
        return Output(charge_w=self._limit_w, discharge_w=UNBOUNDED)

    def _joined(self) -> bool:
        return self._contact.commanded or self._shown

    def _look(self, now: float) -> None:
        """Compare what is with what may be."""
        rating, lasts = self._rating, self._lasts
        apart = self._why_apart(now)
        if contradiction := self._contact.contradiction(now):
            self._open(contradiction, now)
        if lasts("joined", self._joined() and bool(apart), rating.grace_s, now):
            self._open(apart, now)
        if self._phase is not Phase.IDLE:
            self._asked_at = now
            for sensor in ("battery", "inlet"):
                old = self.live and self._age(sensor, now) > rating.sensor_s
                if lasts(sensor, old, rating.grace_s, now):
                    self._open(f"{sensor}_silent", now)
        there = self._inlet_mv > SAFE_MV and now - self._asked_at > rating.left_s
        if lasts("unasked", there, rating.unasked_s, now):
            self._open("voltage_not_asked_for", now)
        self._look_at_flow(now)
        self._look_at_wish(now)

    def _look_at_flow(self, now: float) -> None:
        if not self.live:
            return
        battery = self._battery
        inlet = (self._inlet_mv, self._inlet_ma) if self._contact.closed else (battery.voltage_mv, battery.current_ma)
        most_mv = battery.bears.voltage_mv
        there_mv = max(battery.voltage_mv, inlet[0])
        if there_mv > most_mv * OVER_VOLTAGE_PERCENT // 100:
            self._open("over_voltage", now)
        if self._lasts("voltage", there_mv > most_mv + max(5_000, most_mv // 100), OVER_VOLTAGE_S, now):
            self._open("over_voltage", now)
        flows = (battery.current_ma, inlet[1])
        most, least = (each * 21 // 20 + MARGIN_MA for each in (battery.bears.charge_ma, battery.bears.discharge_ma))
        if self._lasts("current", max(flows) > most or min(flows) < -least, self._rating.current_s, now):
            self._open("over_current", now)
        if self._lasts("flow", self._strays(), self._rating.flow_s, now):
            self._open("power_not_obeyed", now)

    def _look_at_wish(self, now: float) -> None:
        """Take back what may not be asked for any more."""
        allowed, grace_s = self._allowed(now), self._rating.grace_s
        if self._rating.signed:
            signed_w, until_s = self._signed
            live_w = signed_w if now < until_s else 0
            if self._lasts("signed", self._driven.discharge_w > live_w, SIGNED_S, now):
                self._lower("not_signed", msgspec.structs.replace(self._driven, discharge_w=live_w))
        told_w = self._bearable(self._told_w)
        if self._lasts("told", self._driven.charge_w > told_w, grace_s, now):
            self._lower("not_requested", msgspec.structs.replace(self._driven, charge_w=self._told_w))
        if self._lasts("driven", self._driven.within(allowed) != self._driven, grace_s, now):
            self._lower(self._why(now) or "limit", allowed)
        if self._lasts("drawn", _clamp(self._drawn_w, self._driven) != self._drawn_w, grace_s, now):
            self._lower("limit", self._driven)

    def _strays(self) -> bool:
        """Say whether more flows at the inlet than was asked for, or the other way."""
        flows_w = self._inlet_mv * self._inlet_ma // 1_000_000
        return not -self._bearable(self._driven.discharge_w) <= flows_w <= self._bearable(self._driven.charge_w)

    def _bearable(self, power_w: int) -> int:
        """Return what a power may be that is meant to be this."""
        return power_w * 21 // 20 + self._rating.margin_w

    def _age(self, sensor: str, now: float) -> float:
        return now - self._at.get(sensor, float("-inf"))

    def _lower(self, reason: str, allowed: Output) -> None:
        self._driven = self._driven.within(allowed)
        self._drawn_w = _clamp(self._drawn_w, self._driven)
        self._verdicts.append(Lower(reason, self._driven))

    def _open(self, reason: str, now: float) -> None:
        """Open, and stay so for as long as this session lasts."""
        if self._opened:
            return  # nothing has passed since
        self._opened, self._shown, self._driven, self._drawn_w = reason, False, NOTHING, 0
        self._contact.open(now)
        self._verdicts.append(Open(reason))


def _clamp(power_w: int, within: Output) -> int:
    return max(-within.discharge_w, min(within.charge_w, power_w))
