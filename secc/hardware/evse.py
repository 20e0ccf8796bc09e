"""A charger's power hardware as one unit: parts behind small interfaces, the interlock above them, and facts for the
session. Common to direct and alternating current.
"""

import abc
import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from secc.hardware.check_log import CheckLog, CheckName
from secc.hardware.fault_file import FaultKeeper
from secc.hardware.heat import Derating, DeratingLimits, HeatLimits
from secc.hardware.meter import Meter
from secc.session import ports
from v2g.errors import StoreError
from v2g.hardware import interfaces
from v2g.hardware.faults import FAULTS, Light
from v2g.hardware.interlock import (
    FaultChanged,
    Interlock,
    InterlockConfig,
    SetContactor,
    SetLatch,
    ShowLight,
    StopOutput,
)
from v2g.hardware.meters.plausibility import EnergyCounter, MeterGuard
from v2g.hardware.session_metrics import MetricName, SessionFigures
from v2g.iec61851.pilot import HLC_DUTY, STANDARD, PilotState, PilotTiming
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Backoff, cancel_tasks, run_all, spawn
from v2g.io.runtime.watchdog import HUNG_S
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Callbacks
from v2g.safety.flow import Errors
from v2g.text import printable

_log = logging.getLogger(__name__)

OnFact = Callable[[Fact], None]

FAN_DEAD_S: Final = 3.0
"""Time for a fan to start."""

MOVE_S: Final = 1.0
"""Time for the pilot and the contactor to follow in a self-test."""

POLL_S: Final = 0.02
"""Interval at which it looks."""

LOOK_S: Final = 0.1
"""Interval of checks while a flow exceeds its command or limit, or may still follow it."""

RETRY_S: Final = 1.0
RETRY_LONGEST_S: Final = 300.0
MOST_RETRIES: Final = 20
SOUND_S: Final = 600.0
"""After a failure the self-test is repeated, while nobody is plugged in: first and longest pause, at most so often, and
the time without a failure after which it counts anew. The last repetitions are more than an hour after the first."""


class WatchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Monitored limits, and when they are a fault."""

    insulation_ohm_per_v: Annotated[int, Meta(ge=0, le=100_000)] = 100
    """Minimum insulation resistance per volt (IEC 61851-23 limit for d.c. outputs)."""
    max_temperature_c: Annotated[float, Meta(ge=0, le=200)] = 90.0
    """No energy above this temperature, until 5 degrees below."""
    derating: DeratingLimits = DeratingLimits()
    """Less power before that, by the temperatures of plug, cable and power electronics."""
    runaway: HeatLimits = HeatLimits()
    """When a part heats itself: off for good, and the emergency output asserted."""
    fan_from_c: Annotated[float, Meta(ge=0, le=200)] = 40.0
    """The fan starts at this temperature."""
    fan_full_c: Annotated[float, Meta(ge=0, le=200)] = 65.0
    """The fan turns at full speed at this temperature."""
    discharge_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    """Time for an opened output to fall below 60 V d.c."""
    contactor_s: Annotated[float, Meta(gt=0, le=60)] = 3.0
    """Time for the contactor to close."""
    device_s: Annotated[float, Meta(gt=0, le=50)] = 20.0
    """Time for an automatic connection device to reach its target and connect."""
    errors: Errors = Errors()
    """Errors of power electronics and meter; beyond both, what they measure differs."""
    hung_s: Annotated[float, Meta(ge=0.2, le=60)] = HUNG_S
    """Time without reaction of the program after which its watchdog removes power. The first EVSE's applies to all."""
    ventilation: bool = False
    """Vehicles that need ventilation (state D) get energy: the room has a fan."""


@dataclass
class Parts:
    """Parts and settings common to all chargers. `pilot` None: a bench or a device without one.

    `service` stores latched faults across restarts; None does not. `latched` are others of earlier runs.
    `self_test` is the board's, `cut_test` that of the watchdog's way to switch off, `log` where results of checks are
    kept. `report_s` is the interval of reports, `most_w` the most that the meter can show.
    """

    contactor: interfaces.Contactor
    cabinet: interfaces.Cabinet
    meter: Meter
    pilot: interfaces.ChargerPilot | None = None
    service: FaultKeeper | None = None
    self_test: interfaces.SelfTest | None = None
    log: CheckLog | None = None
    cut_test: interfaces.SelfTest | None = None
    latched: tuple[str, ...] = ()
    phases: interfaces.PhaseSwitch | None = None
    _: KW_ONLY
    clock: Clock
    watch: WatchConfig
    report_s: float
    most_w: int
    timing: PilotTiming = STANDARD


class Evse(abc.ABC):
    """A charger's power hardware, as all kinds of chargers have it. All methods are called in one event loop."""

    def __init__(self, parts: Parts, *, measures: bool = True) -> None:
        """`measures`: `present` is not the meter's."""
        self._parts, self._clock, self._watch, self._report_s = parts, parts.clock, parts.watch, parts.report_s
        self._loop = asyncio.get_running_loop()
        self._callbacks: list[OnFact] = []
        self._reported_device = ports.Device()
        self.on_fault: Final = Callbacks[str, bool]()
        """Called with each fault that begins (True) or ends."""
        self.on_light: Final = Callbacks[Light]()
        """Called when the lamp changes."""
        self.on_derating: Final = Callbacks[int]()
        """Called with the share of the rated power that temperatures permit, %, when it changes; at first it is 100."""
        self.on_session: Final = Callbacks[str, Mapping[MetricName, float]]()
        """Called at the end of each session, and at each pause, with its id and how the parts worked."""
        self._derating, self._figures = Derating(parts.watch.derating), SessionFigures(0, 0)
        self._measures = measures
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._measured_at = float("-inf")
        self._again: asyncio.TimerHandle | None = None
        self._draining = False
        self._offs = 0  # operations begun before the last EmergencyOff or OpenContactors are void
        self._uncounted = False  # since the contactor has closed, until the meter has counted what flowed
        self._guard, self._flow = MeterGuard(parts.most_w), EnergyCounter()
        self._plausible = self._reading()
        self._fan_since: float | None = None
        self._hottest_c: float | None = None  # at the last look at temperatures
        self._ventilating = False
        self._opened_by = ""
        self._session_id = ""
        self._opening_since: float | None = None
        self._closing_since: float | None = None
        self._failures = 0  # reports of `charger_failed`, also while it is active
        self._test: asyncio.Task[None] | None = None
        self._retry, self._retries, self._retry_at = Backoff(RETRY_S, RETRY_LONGEST_S), 0, 0.0
        self.interlock = Interlock(
            InterlockConfig(
                pilot=parts.pilot is not None,
                ventilation=parts.watch.ventilation,
                latch=parts.cabinet.has_latch,
                timing=msgspec.structs.replace(parts.timing, contactor_close_s=parts.watch.contactor_s),
            ),
            faults=(*(parts.service.words if parts.service is not None else ()), *parts.latched),
        )
        parts.contactor.on_change(self._contactor_moved)
        parts.cabinet.on_fault(self.fault)
        parts.cabinet.on_latch(lambda locked: self._tell_interlock(lambda now: self._latched(now, locked)))
        parts.meter.on_fault(self.fault)
        if parts.pilot is not None:
            pilot = parts.pilot
            lock = self.interlock
            pilot.on_proximity(lambda proximity: self._tell_interlock(lambda now: lock.plug(proximity, now)))
            pilot.on_state(lambda state: self._tell_interlock(lambda now: lock.pilot(state, now, pilot.fault)))
            pilot.on_oscillator(lambda on: self._tell_interlock(lambda now: lock.oscillator(now, on=on)))
            lock.plug(pilot.proximity, self._clock.monotonic())
            lock.pilot(pilot.state, self._clock.monotonic(), pilot.fault)
        self.interlock.feedback(parts.clock.monotonic(), closed=parts.contactor.closed)
        self._drain()
        self._reporter = spawn(self._report_forever(), name="evse")

    # -- for the charger and the session

    @property
    @abc.abstractmethod
    def present(self) -> ports.Measured:
        """Voltage and current at the output."""

    @property
    def flowed_mwh(self) -> tuple[int, int]:
        """Energy into and out of the vehicle since the start, by `present`: independent of the meter, where the power
        electronics measures its output."""
        self._flow.advance(self._clock.elapsed_ms())
        return self._flow.mwh

    @property
    def contactors_closed(self) -> bool:
        """Whether the output is connected to the inlet."""
        return self._parts.contactor.closed

    @property
    def faults(self) -> tuple[str, ...]:
        """Active codes of `v2g.hardware.faults.FAULTS`, the oldest first."""
        return self.interlock.faults

    @property
    def blocked(self) -> str:
        """Why the contactor may not be closed now, as `v2g.hardware.interlock` names it; empty if it may."""
        return self.interlock.blocked

    @property
    def light(self) -> Light:
        """The lamp's signal."""
        return self.interlock.light

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """Call `callback` with the present values, every Measured, MeterRead, ContactorState, HardwareFault and, where
        there is a primary or connection device, DeviceChanged.

        Returns a function that ends that; a completed session releases its hardware.
        """
        self._callbacks.append(callback)
        callback(self.present)
        callback(self._reading())
        if self.interlock.serious:
            callback(ports.HardwareFault(self.interlock.serious))
        if (seen := self._seen()) is not None:
            callback(ports.DeviceChanged(seen))
        return lambda: self._callbacks.remove(callback)

    def _seen(self) -> ports.Device | None:
        """Return what the primary or connection device sees; None without one."""
        return None

    def _tell_device(self) -> None:
        if (seen := self._seen()) is not None and seen != self._reported_device:
            self._reported_device = seen
            self._tell(ports.DeviceChanged(seen))

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """Execute a hardware command of `secc.session.ports`, as it specifies: immediately, or by a coroutine.

        Outputs, Lower and EmergencyOff are done on return; a coroutine that EmergencyOff or OpenContactors overtakes
        neither closes a contactor nor applies voltage. Between TransactionStarted and TransactionEnded the session is
        authorised, except between SaveSession and JoinSession; without that nothing is driven. Other commands are
        ignored.
        """
        match command:
            case ports.TransactionStarted() | ports.JoinSession():
                self._session_id = command.session_id
                self._figures = SessionFigures(*self._energies())
                self._tell_interlock(lambda now: self.interlock.permit(now, allowed=True))
            case ports.TransactionEnded() | ports.SaveSession():
                self._tell_interlock(lambda now: self.interlock.permit(now, allowed=False))
                figures, self._figures = self._figures, SessionFigures(0, 0)
                if self._measures:  # otherwise the meter is all that measures
                    figures.end(*self._energies())
                if figures.values:
                    self.on_session.tell(self._session_id, figures.values)
            case ports.EmergencyOff():
                self._offs += 1
                try:
                    self._off()
                finally:  # the contactor opens even if a part fails here
                    self._tell_interlock(lambda now: self.interlock.ask(now, close=False))
            case ports.LowerOutput(output=output):
                self._lower(output)
            case ports.Ventilate(on=on):
                self._ventilating = on
                self._parts.cabinet.set_fan(100 if on else 0)
            case ports.CloseContactors():
                return self._close_contactors(self._offs)
            case ports.OpenContactors():
                self._offs += 1
                return self._open_contactors(self._offs)
        return None

    @property
    def has_latch(self) -> bool:
        """Whether there is a plug lock."""
        return self._parts.cabinet.has_latch

    @property
    def phase_switch(self) -> interfaces.PhaseSwitch | None:
        """What changes the line conductors of an AC outlet; None: nothing."""
        return self._parts.phases

    @property
    def lines(self) -> tuple[int, ...]:
        """The line conductors of the mains (0 to 2) that are in use, or may be; none with direct current."""
        return ()

    @property
    def max_var(self) -> int:
        """Maximum reactive power, injected or absorbed; 0 if the power electronics does not support it."""
        return 0

    @property
    def var(self) -> int:
        """The reactive power that it provides."""
        return 0

    def react(self, var: int) -> None:
        """Provide this reactive power, injected is positive, as far as possible."""
        del var  # not supported here

    async def unlock(self) -> bool:
        """Try to open the plug lock (F05); return whether the plug is free, which without a lock is not under our
        control."""
        lock, tried = self.interlock, []
        self._tell_interlock(lambda now: tried.append(lock.release(now)))
        await self._until(lambda: not lock.unlocking)
        return tried == [True] and not lock.locked

    async def close(self) -> None:
        """Leave everything safe: no voltage, contactors open."""
        self._offs += 1
        run_all((self._off,))
        self._tell_interlock(lambda now: self.interlock.permit(now, allowed=False))
        tasks = [self._reporter] if self._test is None else [self._reporter, self._test]
        await cancel_tasks(*tasks)
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._parts.meter.save()

    # -- self-test

    async def power_up(self) -> None:
        """Test the hardware before anybody uses it. A failure is a fault, and the test is repeated.

        Where a vehicle is there already only what it does not notice is tested: contactor and the board's own test.
        """
        lock = self.interlock
        if await self._within(MOVE_S, lambda: lock.pilot_state is not PilotState.F):  # a board begins with it
            await self._self_test(whole=lock.vacant)

    def _recover(self) -> None:
        """Repeat the self-test after a failure, while nobody is plugged in."""
        now, lock = self._clock.monotonic(), self.interlock
        if not lock.untested:
            if now - self._retry_at >= SOUND_S:
                self._retry.reset()
                self._retries = 0
            return
        free = lock.vacant and (self._test is None or self._test.done())
        if free and now >= self._retry_at and self._retries < MOST_RETRIES:
            self._retries += 1
            self._test = spawn(self._self_test(), name="self-test")

    async def _self_test(self, *, whole: bool = True) -> None:
        """Command everything off, which also ends what a watchdog has cut; test it, and end the faults that a whole
        test ends."""
        began, lock = self._clock.monotonic(), self.interlock
        failed = await self._tested(whole=whole)
        now = self._clock.monotonic()
        self._retry_at = now + self._retry.pause_s()
        if whole and not lock.vacant and not self.contactors_closed:
            return  # somebody was faster: it is repeated when they have left
        self._log("self_test", failed, began)
        if failed and not lock.serious:
            self.fault("self_test_failed", active=True)
        elif whole and not failed:
            self._tell_interlock(lock.tested)

    async def _tested(self, *, whole: bool) -> str:
        """Return what fails now; empty if nothing does."""
        failures, parts = self._failures, self._parts
        run_all((self._off, partial(parts.contactor.set, closed=False)))
        if not await self._within(MOVE_S, lambda: not self.contactors_closed):
            return "the contactor does not open"
        failed = await self._pilot_failed(parts.pilot) if whole and parts.pilot is not None else ""
        if not failed and parts.self_test is not None:
            failed = await asked(parts.self_test)
        if not failed and whole:
            failed = await self._output_failed()
        if not failed and whole and parts.cut_test is not None:
            failed = await parts.cut_test()
        if not failed and not self._watched():
            failed = "supervision fails"
        return failed or ("" if failures == self._failures else "a driver fails")

    async def _pilot_failed(self, pilot: interfaces.ChargerPilot) -> str:
        """Return what the pilot does not show of the signals that it is given."""
        before = pilot.duty_percent
        try:
            for state, signal in (
                (PilotState.F, partial(pilot.set_error, PilotState.F)),
                (PilotState.A, partial(pilot.set_duty, None)),
                (PilotState.A, partial(pilot.set_duty, HLC_DUTY)),
            ):
                signal()
                if not await self._within(MOVE_S, lambda state=state: pilot.state is state):  # type: ignore[misc]
                    return f"the control pilot does not show {state.value}"
        finally:
            pilot.set_duty(before)
        if not await self._within(MOVE_S, lambda: pilot.age_s <= interfaces.FRESH_S and pilot.duty_percent == before):
            return "the control pilot is not measured"
        return ""

    async def _output_failed(self) -> str:
        """Return what is wrong with the output while it is off."""
        return ""

    async def _within(self, seconds: float, holds: Callable[[], bool]) -> bool:
        """Return whether a condition holds in time."""
        end = self._loop.time() + seconds
        while not holds():
            if self._loop.time() >= end:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _log(self, check: CheckName, failed: str, began: float) -> None:
        if self._parts.log is not None:
            took_ms = round((self._clock.monotonic() - began) * 1000)
            session_id = "" if check == "self_test" else self._session_id
            self._parts.log.keep(check, failed, took_ms=took_ms, session_id=session_id)

    # -- for a kind of current

    @abc.abstractmethod
    def _off(self) -> None:
        """Cancel all output requests, and switch the output off."""

    @abc.abstractmethod
    def _lower(self, output: ports.Output) -> None:
        """Reduce the output to this limit, if it is lower."""

    @abc.abstractmethod
    def _watch_output(self) -> None:
        """Check the output for faults, at each report."""

    @abc.abstractmethod
    async def _calm(self) -> None:
        """Bring the current to zero before the contactor opens."""

    def _look_again(self, look: Callable[[], None]) -> None:
        """Look at an excess again in LOOK_S, even if nothing is reported until then."""
        if self._again is not None:
            self._again.cancel()
        self._again = self._loop.call_later(LOOK_S, look)

    def _tell_interlock(self, what: Callable[[float], object]) -> None:
        what(self._clock.monotonic())
        self._drain()

    def fault(self, word: str, active: bool) -> None:
        """A fault begins or ends; repetitions are ignored."""
        self._failures += word == "charger_failed" and active
        if self.interlock.stands(word) is active:
            return  # as in most reports
        self._tell_interlock(lambda now: self.interlock.fault(word, now, active=active))

    async def _close_contactors(self, offs: int) -> Fact:
        lock = self.interlock
        await self._until(lambda: lock.commanded or not self.contactors_closed or bool(lock.serious))
        await self._until(lambda: lock.blocked != "plug_not_locked")  # its motor moves; one that fails is a fault
        if offs == self._offs:
            self._tell_interlock(lambda now: lock.ask(now, close=True))
            await self._until(lambda: self.contactors_closed or not lock.commanded)
        return ports.ContactorState(self.contactors_closed and lock.commanded)

    async def _open_contactors(self, offs: int) -> Fact | None:
        """Open; the result is None if the contactor was closed again meanwhile."""
        self._off()
        await self._calm()  # no contactor is opened under current
        lock = self.interlock
        if offs == self._offs:
            self._tell_interlock(lambda now: lock.ask(now, close=False))
        await self._until(lambda: not self.contactors_closed or lock.commanded or lock.stands("contactor_welded"))
        await self._refresh()
        return None if lock.commanded else ports.ContactorState(self.contactors_closed)

    def counted(self) -> Coroutine[object, object, None] | None:
        """Return None where the meter's next reading includes all energy of the session: not until the contactor has
        opened, and a meter that is polled has been read since; the coroutine waits for that."""
        return self._counted() if self._uncounted else None

    async def _counted(self) -> None:
        await self._until(lambda: not self.contactors_closed or self.interlock.stands("contactor_welded"))
        await self._refresh()

    async def _refresh(self) -> None:
        """Return when the meter's next reading includes all energy so far."""
        await self._parts.meter.refresh()
        self._uncounted = self.contactors_closed

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition that the interlock or the output changes; the interlock limits the time."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def _tell(self, fact: Fact) -> None:
        for callback in tuple(self._callbacks):
            callback(fact)

    # -- inside

    def _latched(self, now: float, locked: bool) -> None:
        self.interlock.latch(now, locked=locked)

    def _contactor_moved(self, closed: bool) -> None:
        self._uncounted |= closed
        if not closed:
            self._note_opening("")
        elif self._closing_since is not None:
            self._figures.take("contactor_close_s", self._clock.monotonic() - self._closing_since)
        self._closing_since = None
        self._tell_interlock(lambda now: self.interlock.feedback(now, closed=closed))
        if not closed or self.interlock.commanded:  # while opening it reports when it is open
            self._tell(ports.ContactorState(closed, "" if closed else self._opened_by))

    def _note_opening(self, failed: str) -> None:
        """Keep whether the contactor has opened on command: each session ends with that."""
        began, self._opening_since = self._opening_since, None
        if began is not None:
            self._log("contactor", failed, began)
            if not failed:
                self._figures.take("contactor_open_s", self._clock.monotonic() - began)

    def _energies(self) -> tuple[int, int]:
        """Return all energy so far, in and out, by the power electronics and by the meter, mWh."""
        reading = self._reading()
        return sum(self.flowed_mwh), reading.import_mwh + reading.export_mwh

    def _drain(self) -> None:
        """Execute the interlock's actions, each regardless of exceptions; immediate reactions may add more."""
        if self._draining:
            return
        self._draining = True
        done = True
        while actions := self.interlock.actions():
            done &= run_all(partial(self._carry_out, action) for action in actions)
        self._draining = False
        self._changed.set()  # wakes waiting coroutines
        deadline = self.interlock.deadline()
        if deadline != self._due:
            if self._timer is not None:
                self._timer.cancel()
            if deadline is not None:
                self._timer = self._loop.call_later(deadline - self._clock.monotonic(), self._ring)
            self._due = deadline
        if not done:
            self.fault("charger_failed", active=True)

    def _ring(self) -> None:
        self._due = None
        self._tell_interlock(self.interlock.tick)

    def _carry_out(self, action: SetContactor | StopOutput | SetLatch | ShowLight | FaultChanged) -> None:
        match action:
            case StopOutput(reason=reason):
                self._opened_by = "" if reason == "asked" else reason
                self._offs += 1
                self._off()
            case SetContactor(closed=closed):
                now = self._clock.monotonic()
                self._opening_since = now if self.contactors_closed else None
                self._closing_since = now if closed and not self.contactors_closed else None
                self._parts.contactor.set(closed=closed)
            case SetLatch(locked=locked):
                self._parts.cabinet.set_latch(locked=locked)
            case ShowLight(light=light):
                self._parts.cabinet.set_light(light)
                self.on_light.tell(light)
            case FaultChanged(word=word, active=active):
                if word == "contactor_welded":
                    self._note_opening("the contactor does not open")
                if FAULTS[word].until == "serviced" and self._parts.service is not None:  # it never ends by itself
                    self._parts.service.keep(word)
                self.on_fault.tell(word, active)
                if active and FAULTS[word].stops:
                    self._tell(ports.HardwareFault(word))

    def _reading(self) -> ports.MeterRead:
        meter = self._parts.meter
        return meter.read(self._clock.utc_ms())

    async def _report_forever(self) -> None:
        """Run a monitor as long as the program. A failure is a fault, and it is restarted."""
        while True:
            await asyncio.sleep(self._report_s)
            self._watched()
            self._recover()

    def _watched(self) -> bool:
        """Look at everything once; return whether that was possible."""
        possible = True
        for watch in (self._watch_meter, self._watch_temperatures, self._watch_output, self._report):
            try:
                watch()
            except StoreError:
                self.fault("meter_store", active=True)
            except Exception:  # noqa: BLE001 - any failure stops monitoring
                _log.exception("%s has failed", watch.__name__)
                self.fault("charger_failed", active=True)
                possible = False
        return possible

    def _measured(self) -> None:
        """Count and report the present flow."""
        present, now_ms, self._measured_at = self.present, self._clock.elapsed_ms(), self._clock.monotonic()
        self._flow.flow(now_ms, present.voltage_mv, present.current_ma)
        if self._hottest_c is not None:
            self._figures.power(present.watts, self._hottest_c, now_ms / 1000)
        self._tell(present)

    def _report(self) -> None:
        if self._clock.monotonic() - self._measured_at >= self._report_s:  # the output reports itself, too
            self._measured()
        self._tell(self._reading())

    def _watch_meter(self) -> None:
        reading = self._reading()
        self._parts.meter.save(sync=False)
        flowed = self.flowed_mwh
        word = self._guard.check(self._clock.elapsed_ms(), reading.import_mwh, reading.export_mwh, flowed)
        if word in ("meter_backward", "meter_jump"):
            self._parts.meter.keep(self._plausible)  # before the session ends: what it shows is billed to nobody
        else:
            self._plausible = reading
        if word:
            self.fault(word, active=True)
        else:
            self.fault("meter_stuck", active=False)

    def _watch_temperatures(self) -> None:
        cabinet, watch = self._parts.cabinet, self._watch
        measured = cabinet.temperatures
        known = [celsius for celsius in measured.values() if celsius is not None]
        lost = len(known) < len(measured)  # what is not measured is not cooler
        self.fault("temperature_lost", active=lost)
        self._hottest_c = max(known, default=None)
        hottest, too_hot = self._hottest_c or 0.0, "over_temperature" in self.faults
        limit = watch.max_temperature_c - (5 if too_hot else 0)
        self.fault("over_temperature", active=hottest > limit or (too_hot and lost))
        before, percent = self._derating.percent, self._derating.look(measured, self._clock.monotonic())
        if percent != before:
            self.on_derating.tell(percent)
        span = max(1.0, watch.fan_full_c - watch.fan_from_c)
        percent = round(100 * min(1.0, max(0.0, (hottest - watch.fan_from_c) / span)))
        percent = 100 if self._ventilating or lost else percent
        cabinet.set_fan(percent)
        now, rpm = self._clock.monotonic(), cabinet.fan_rpm
        if percent < 20 or rpm is None or rpm > 0:
            self._fan_since = None
        elif self._fan_since is None:
            self._fan_since = now
        self.fault("fan_failed", active=self._fan_since is not None and now - self._fan_since >= FAN_DEAD_S)


async def asked(test: interfaces.SelfTest) -> str:
    """Return what a driver's own test says has failed, also where it fails itself."""
    try:
        async with asyncio.timeout(interfaces.SELF_TEST_S):
            failed = await test()
    except TimeoutError:
        return f"no result of the driver's test within {interfaces.SELF_TEST_S:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a driver of others raises
        return printable(f"{type(error).__name__}: {error}")[:200]
    return printable(str(failed))[:200]
