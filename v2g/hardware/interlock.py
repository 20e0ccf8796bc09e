"""The interlock: the one place that closes a contactor, and opens it under all circumstances. Pure.

It receives everything that may forbid energy: control pilot, plug, emergency stop, faults, and
authorisation. A contactor closes only on request and when nothing forbids it; as soon as something does, the output
stops and the contactor opens, and it must be requested again. The auxiliary contact is monitored:
a contactor that does not follow is a fault.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from v2g.hardware.faults import FAULTS, Light
from v2g.iec61851.pilot import STANDARD, PilotFault, PilotState, PilotTiming
from v2g.iec61851.proximity import Proximity

TOUCH_MV: Final = 60_000
"""Highest touch-safe d.c. voltage (IEC 61851-23); the plug stays locked above it."""

PLUG_S: Final = 0.2
"""Time after which a loose plug is a fault; on unplugging, its contact opens a little before the pilot does. Energy
stops at once."""

LATCH_S: Final = 1.0
"""Movement time of the plug's lock."""


class SetContactor(msgspec.Struct, frozen=True):
    """Close or open the contactor, at once."""

    closed: bool


class StopOutput(msgspec.Struct, frozen=True):
    """No current; `reason` is a fault, a pilot state's letter or `asked`."""

    reason: str


class SetLatch(msgspec.Struct, frozen=True):
    """Lock or release the plug."""

    locked: bool


class ShowLight(msgspec.Struct, frozen=True):
    """Set the lamp."""

    light: Light


class FaultChanged(msgspec.Struct, frozen=True):
    """A fault began or ended; `word` is one of FAULTS."""

    word: str
    active: bool


Action = SetContactor | StopOutput | SetLatch | ShowLight | FaultChanged


class InterlockConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Monitored parts. `pilot` False: a bench without a pilot wire. `ventilation`: state D gets energy.
    `latch`: the plug has a lock, and energy flows only when locked."""

    pilot: bool = True
    ventilation: bool = False
    latch: bool = False
    timing: PilotTiming = STANDARD


class Interlock:
    """Every method takes `now` (s, monotonic) and may add to `actions()`; call `tick` at `deadline()`.

    `faults` are latched faults of an earlier run.
    """

    def __init__(self, config: InterlockConfig, *, faults: Iterable[str] = ()) -> None:
        self._config = config
        self.pilot_state: PilotState | None = PilotState.A if config.pilot else None
        self._proximity: Proximity | None = None
        self._loose = ""
        self._faults: dict[str, None] = dict.fromkeys(faults)
        self._permitted = self._wanted = False
        self.commanded = False
        """Whether the contactor is commanded closed."""
        self.closed = False
        """The state of the auxiliary contact."""
        self._oscillator: bool | None = None
        self._locked = self._lock_wanted = False
        self._output_mv = 0
        self._light: Light | None = None
        self._occupied = False
        """Whether a vehicle was present at the last valid pilot state: E and F hide it."""
        self._deadlines: dict[str, float] = {}
        self._actions: list[Action] = []

    # -- state

    @property
    def faults(self) -> tuple[str, ...]:
        """Active faults, the oldest first."""
        return tuple(self._faults)

    def stands(self, word: str) -> bool:
        """Return whether this fault is active."""
        return word in self._faults

    @property
    def serious(self) -> str:
        """The oldest fault that stops energy, or empty."""
        return next((word for word in self._faults if FAULTS[word].stops), "")

    @property
    def vacant(self) -> bool:
        """Whether nobody is plugged in or authorised, as far as the pilot shows."""
        return not self._permitted and not self.commanded and self.pilot_state in (None, PilotState.A)

    @property
    def untested(self) -> bool:
        """Whether a fault is active that a self-test ends."""
        return any(FAULTS[word].until == "tested" for word in self._faults)

    @property
    def light(self) -> Light:
        """The lamp's signal."""
        return self._light or "available"

    @property
    def blocked(self) -> str:
        """Why the contactor may not be closed now; empty if it may."""
        if self.serious:
            return self.serious
        if self._loose:
            return self._loose
        if not self._permitted:
            return "not_authorised"
        if self.closed and not self.commanded:
            return "contactor_closed"  # it has not opened yet, or never will
        if self.pilot_state is PilotState.D and not self._config.ventilation:
            return "no_ventilation"
        if self.pilot_state is not None and not self.pilot_state.ready:
            return f"pilot_{self.pilot_state.value}"
        if self._config.latch and not self._locked:
            return "plug_not_locked"
        return ""

    def actions(self) -> list[Action]:
        """Return the pending actions, in order, and clear them."""
        actions, self._actions = self._actions, []
        return actions

    def deadline(self) -> float | None:
        """Return when `tick` has to be called, or None."""
        return min(self._deadlines.values(), default=None)

    # -- inputs

    def pilot(self, state: PilotState, now: float, fault: PilotFault = "") -> None:
        if self.pilot_state is None:
            return
        before, self.pilot_state = self.pilot_state, state
        if state not in (PilotState.E, PilotState.F):
            self._occupied = state.connected
        if state is PilotState.E:
            self._raise(fault or "pilot_shorted")
        else:
            self._end("pilot_shorted")
        if state is PilotState.A:
            self._vehicle_left()
        if state is PilotState.F and before is not PilotState.F:
            self._deadlines["unlock"] = now + self._config.timing.unlock_in_f_s
        elif state is not PilotState.F:
            self._deadlines.pop("unlock", None)
        self._judge_plug(now)
        self._settle(now)

    def plug(self, proximity: Proximity, now: float) -> None:
        """The proximity contact has this state."""
        self._proximity = proximity
        self._judge_plug(now)
        self._settle(now)

    def oscillator(self, now: float, *, on: bool) -> None:
        """The oscillator was switched on or off. A vehicle that keeps drawing in X1 is disconnected."""
        self._oscillator = on
        if on or self.pilot_state is None:
            self._deadlines.pop("forced", None)
        elif self.commanded:
            self._deadlines.setdefault("forced", now + self._config.timing.forced_open_s)

    def fault(self, word: str, now: float, *, active: bool = True) -> None:
        """A fault began or ended. KeyError for an unknown code."""
        if active:
            self._raise(word)
        elif FAULTS[word].until == "cleared":
            self._end(word)
        self._settle(now)

    def tested(self, now: float) -> None:
        """A self-test without a vehicle has passed."""
        self._end(*[word for word in self._faults if FAULTS[word].until == "tested"])
        self._settle(now)

    def permit(self, now: float, *, allowed: bool) -> None:
        """The session is authorised, or no longer."""
        self._permitted = allowed
        if not allowed and self.pilot_state is None:
            self._vehicle_left()  # a bench has no other sign of it
        self._settle(now)

    def output(self, voltage_mv: int, now: float) -> None:
        crossed = (self._output_mv < TOUCH_MV) is not (voltage_mv < TOUCH_MV)
        self._output_mv = voltage_mv
        if crossed:
            self._settle(now)

    def latch(self, now: float, *, locked: bool) -> None:
        """The plug's lock is closed or open."""
        was, self._locked = self._locked, locked
        if locked is self._lock_wanted:
            self._deadlines.pop("latch", None)
            self._end("latch_failed")
        elif self._config.latch and locked is not was:  # it moved without a command
            self._deadlines.setdefault("latch", now + LATCH_S)
        self._settle(now)

    @property
    def unlocking(self) -> bool:
        """Whether the plug's lock has been commanded to open and has not yet, in time."""
        return self._locked and not self._lock_wanted and "latch" in self._deadlines

    @property
    def locked(self) -> bool:
        """The state of the plug's lock."""
        return self._locked

    def release(self, now: float) -> bool:
        """Retry to open the plug's lock on request (F05), which may have been stuck.

        Return whether it is tried: not during a session, nor while the plug has a voltage or would get one.
        """
        if not self._config.latch or self._permitted or not self._dead or "unlock" in self._deadlines:
            return False
        self._lock_wanted = False
        if self._locked:
            self._actions.append(SetLatch(locked=False))
            self._deadlines["latch"] = now + LATCH_S
        return True

    def ask(self, now: float, *, close: bool) -> bool:
        """Request the contactor closed or open; return whether it will follow."""
        if not close:
            self._wanted = False
        elif not self.blocked:
            self._wanted = True
        self._settle(now)
        return self._wanted is close

    def feedback(self, now: float, *, closed: bool) -> None:
        """The auxiliary contact has this state."""
        was, self.closed = self.closed, closed
        if self.commanded:
            if closed:
                self._deadlines.pop("close", None)
            elif was:
                self._raise("contactor_dropped")
        elif closed:
            self._deadlines.setdefault("open", now + self._config.timing.contactor_open_s)
        else:
            self._deadlines.pop("open", None)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Let due timers expire."""
        due = [name for name, at in self._deadlines.items() if at <= now]
        for name in due:
            self._deadlines.pop(name)
            match name:
                case "open" if self.closed and not self.commanded:
                    self._raise("contactor_welded")
                case "close" if self.commanded and not self.closed:
                    self._raise("contactor_stuck_open")
                case "forced":
                    self._wanted = False
                case "plug":
                    self._raise(self._loose)
                case "latch" if self._locked is not self._lock_wanted:
                    self._raise("latch_failed")
                case "latch":  # a lock that could not close is open, as it is commanded after the session
                    self._end("latch_failed")
        if due:
            self._settle(now)

    # -- inside

    def _raise(self, word: str) -> None:
        if word not in self._faults and FAULTS[word]:
            self._faults[word] = None
            self._actions.append(FaultChanged(word, active=True))

    def _end(self, *words: str) -> None:
        for word in words:
            if word in self._faults:
                del self._faults[word]
                self._actions.append(FaultChanged(word, active=False))

    def _vehicle_left(self) -> None:
        """Clear faults of the vehicle. X1 hides a shorted diode: that is cleared only by another vehicle."""
        self._end(*[word for word in self._faults if FAULTS[word].until == "unplugged"])

    def _judge_plug(self, now: float) -> None:
        """A plug counts while the pilot shows a vehicle; a loose one may cause arcs."""
        if self.pilot_state is PilotState.F:  # set by the charger itself, which hides the plug
            if self._deadlines.pop("plug", None) is not None:
                self._loose = ""  # judged when it shows again
            return
        said = self._proximity.state if self._proximity is not None and self._watched else "seated"
        loose = {"fault": "proximity_shorted", "open": "plug_not_seated", "unlatched": "plug_not_seated"}.get(said, "")
        if loose != self._loose:
            self._loose = loose
            self._end("proximity_shorted", "plug_not_seated")
            self._deadlines.pop("plug", None)
            if loose:
                self._deadlines["plug"] = now + PLUG_S

    @property
    def _watched(self) -> bool:
        return self.pilot_state is not None and self.pilot_state is not PilotState.A

    def _settle(self, now: float) -> None:
        """Command the contactor, the lock and the lamp."""
        blocked = self.blocked
        if self._wanted and blocked:
            self._wanted = False
        if self.commanded and not self._wanted:
            self.commanded = False
            self._actions += (StopOutput(blocked or "asked"), SetContactor(closed=False))
            self._deadlines.pop("close", None)
            self._deadlines.pop("forced", None)
            if self.closed:
                self._deadlines["open"] = now + self._config.timing.contactor_open_s
        elif self._wanted and not self.commanded:
            self.commanded = True
            self._actions.append(SetContactor(closed=True))
            self._deadlines["close"] = now + self._config.timing.contactor_close_s
            if self._oscillator is False and self.pilot_state is not None:
                self._deadlines["forced"] = now + self._config.timing.forced_open_s
        if self._config.latch:
            connected = self.pilot_state is None or self.pilot_state.connected
            want = self._lock_wanted
            if self._permitted and connected and not self.serious:
                want = True
            elif self._dead and "unlock" not in self._deadlines and (not self._permitted or not connected):
                want = False
            if want is not self._lock_wanted:
                self._lock_wanted = want
                self._actions.append(SetLatch(want))
                self._deadlines["latch"] = now + LATCH_S
        light: Light = "available"
        if self._faults:
            lights = {FAULTS[word].light for word in self._faults if FAULTS[word].stops}
            light = "red_flash" if "red_flash" in lights else "red" if lights else light
        if light == "available":
            if self.closed:
                light = "charging"
            elif self._occupied:
                light = "occupied"
        if light != self._light:
            self._light = light
            self._actions.append(ShowLight(light))

    @property
    def _dead(self) -> bool:
        """Whether the plug is touch-safe."""
        return not self.commanded and not self.closed and self._output_mv < TOUCH_MV
