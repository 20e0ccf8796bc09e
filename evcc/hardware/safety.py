"""The safety channel of a vehicle: the monitor (`v2g.safety.vehicle`) between its sessions and its hardware.

It wraps the hardware before any other access, so that no command bypasses the monitor, and the
connection, where it reads sent and received messages. Its decisions are carried out at the hardware directly and
reported to the session as faults.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, TypeVar

from evcc.hardware.vehicle import OnFact, VehicleHardware
from evcc.session import ports
from evcc.session.edition import MessageReader
from v2g import safety
from v2g.asn1.discharge import DischargeCommand, signed_content
from v2g.battery import runaway
from v2g.battery.sample import Sample
from v2g.energy.conductors import spread
from v2g.errors import Asn1Error, CodecError
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.hardware.emergency import CHECK_S, Emergency
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.runner import ByteStream
from v2g.io.runtime.supervision import run_all, spawn
from v2g.io.runtime.watchdog import Watchdog
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType
from v2g.observe import Observe, Scalar

Answer = TypeVar("Answer")

TICK_S: Final = 0.1
"""Interval of the monitor's checks, independent of other events."""

OBEY_OFF_S: Final = 6.0
"""How long a vehicle in basic charging may stay in state C after the oscillator went off (IEC 61851-1, Annex
A: it stops drawing within 3 s)."""


class SafetyChannel:
    """Acts as VehicleHardware for sessions. All methods except `cut` are called in the event loop."""

    def __init__(
        self,
        hardware: VehicleHardware,
        rating: safety.VehicleRating,
        clock: Clock,
        observe: Callable[[Observe], None],
        *,
        watchdog: Watchdog | None = None,
        limits: runaway.RunawaySettings | None = None,
        emergency: Emergency | None = None,
    ) -> None:
        """`limits` of a thermal runaway; `emergency` is the output for it, None without one."""
        self._hardware, self._monitor = hardware, safety.VehicleMonitor(rating)
        self._clock, self._observe = clock, observe
        self._loop = asyncio.get_running_loop()
        self._callbacks: list[OnFact] = []
        self._messages: MessageReader | None = None
        self._basic = False
        self._battery_ms = -1
        self._drawn_w = 0
        self._last: safety.Verdict | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._limits, self._heat, self._emergency = (
            limits or runaway.RunawaySettings(),
            runaway.RunawayState(),
            emergency,
        )
        self._checked_at = float("-inf")
        if emergency is not None and emergency.cause:
            self._ask_monitor(lambda now: self._monitor.isolate(emergency.cause, now))
        self._unsubscribe = hardware.subscribe(self._hear)
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._feed = watchdog.watch(self._cut) if watchdog is not None else lambda: None

    # -- for sessions: the hardware

    @property
    def battery(self) -> ports.BatteryState:
        return self._hardware.battery

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """See VehicleHardware; decisions of the monitor arrive as HardwareFault."""
        self._callbacks.append(callback)
        unsubscribe = self._hardware.subscribe(callback)

        def end() -> None:
            self._callbacks.remove(callback)
            unsubscribe()

        return end

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """See VehicleHardware: carries out the permitted part."""
        passed = self._passed(command)
        return self._hardware.execute(passed) if passed is not None else None

    def cut(self) -> None:
        self._hardware.cut()

    async def close(self) -> None:
        """Leave everything safe, and end the checks."""
        self._timer.cancel()
        self._unsubscribe()
        await self._hardware.close()

    # -- for the program: session and messages

    def converse(self, stream: ByteStream, messages: MessageReader) -> ByteStream:
        """A session begins on this connection, with messages that `messages` reads; return the connection for it."""
        self._messages, self._basic = messages, False
        self._monitor.begin()
        return _ReadStream(stream, self._sent, self._received)

    def signal(self, duty: DutyReading, *, phases: int) -> None:
        """A session without messages begins: the pilot's duty cycle limits the current per phase."""
        self._messages, self._basic = None, True
        self._monitor.begin()
        self._ask(safety.Ask(lines=phases))
        self._take_duty(duty)

    def part(self) -> None:
        """The session is over."""
        self._messages, self._basic = None, False
        self._monitor.end()

    def fact(self, fact: Fact) -> None:
        """A fact for the session that does not come from the hardware."""
        match fact:
            case ports.StopRequested(reselect=False):
                self._ask_monitor(self._monitor.stop)
            case ports.DutyRead(reading=duty) if self._basic:
                self._take_duty(duty)

    # -- inside: commands

    def _passed(self, command: Command) -> Command | None:
        """Return the permitted command, None for none."""
        match command:
            case ports.SetPowerLimits(charge_w=charge_w, discharge_w=discharge_w):
                passed = self._drive(
                    safety.Output(charge_w, discharge_w) if charge_w or discharge_w else safety.NOTHING
                )
                return ports.SetPowerLimits(passed.charge_w, passed.discharge_w)
            case ports.SetAcPower(power_w=power_w):
                return ports.SetAcPower(self._draw(power_w))
            case ports.SetCpState(state=PilotState.B):
                self._monitor.rest()
            case ports.SetCpState():
                return command if self._ask_monitor(self._monitor.show) else None
            case ports.CloseContactor():
                return command if self._ask_monitor(self._monitor.close) else None
            case ports.OpenContactor():
                self._ask_monitor(self._monitor.open)
        return command

    def _drive(self, output: safety.Output) -> safety.Output:
        return self._ask_monitor(lambda now: self._monitor.drive(output, now))

    def _draw(self, power_w: int) -> int:
        if self._basic:  # only the pilot has set a limit
            self._drive(safety.Output(charge_w=power_w) if power_w > 0 else safety.NOTHING)
        self._drawn_w = self._ask_monitor(lambda now: self._monitor.draw(power_w, now))
        return self._drawn_w

    # -- inside: facts and messages

    def _hear(self, fact: Fact) -> None:
        """Handle the hardware's reports. A repetition of the same battery report does not count."""
        match fact:
            case ports.BatteryState(at_ms=at_ms):
                if at_ms != self._battery_ms:
                    self._battery_ms = at_ms
                    self._look_at_heat(fact)
                    self._ask_monitor(lambda now: self._monitor.battery(reading(fact), now))
            case ports.PresentVoltage(voltage_mv=voltage_mv, current_ma=current_ma, lines=lines):
                line_ma = fact.currents or spread(current_ma, range(lines or 1))
                self._ask_monitor(
                    lambda now: self._monitor.inlet(voltage_mv, current_ma, now, lines=lines, line_ma=line_ma)
                )
            case ports.ContactorState(closed=closed):
                self._ask_monitor(lambda now: self._monitor.feedback(now, closed=closed))
            case ports.HardwareFault(reason=reason):
                self._ask_monitor(lambda now: self._monitor.fault(reason, now))
            case ports.PlugState(connected=False):
                self._ask_monitor(lambda now: self._monitor.fault("unplugged", now))

    def _look_at_heat(self, battery: ports.BatteryState) -> None:
        """Power goes first, then the emergency output, and then the disk."""
        self._heat, found = runaway.step(self._limits, self._heat, sample(battery))
        if not found:
            return
        self._ask_monitor(lambda now: self._monitor.isolate(found[0].kind, now))
        if self._emergency is not None:
            self._emergency.trip(found[0].kind, found[0].evidence)

    def _sent(self, payload_type: int, payload: bytes) -> None:
        if payload_type == PayloadType.SIGNED_DISCHARGE:
            try:
                content = signed_content(payload)
            except Asn1Error:  # an unreadable payload signs nothing
                return
            if isinstance(content, DischargeCommand):
                self._monitor.signed(content.power_w, self._clock.at(content.valid_until_ms))
        elif self._messages is not None and (message := self._messages.decode(payload_type, payload)) is not None:
            self._ask(self._messages.sent(message, payload_type))

    def _received(self, payload_type: int, payload: bytes) -> None:
        if self._messages is not None and (message := self._messages.decode(payload_type, payload)) is not None:
            self._ask(self._messages.received(message, payload_type))

    def _ask(self, ask: safety.Ask) -> None:
        self._ask_monitor(lambda now: self._monitor.ask(ask, now))

    def _take_duty(self, duty: DutyReading) -> None:
        on = duty.meaning == "current"
        phase, alive_s = (safety.Phase.POWER, float("inf")) if on else (safety.Phase.REST, OBEY_OFF_S)
        limit = safety.Output(safety.UNBOUNDED, charge_ma=round(duty.max_current_a * 1000) if on else 0)
        self._ask(safety.Ask(phase=phase, alive_s=alive_s, limit=limit))

    # -- inside: decisions

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now = self._ask_monitor(self._tick_monitor)
        if self._emergency is not None and now - self._checked_at >= CHECK_S:
            self._checked_at = now
            self._emergency.check()
        self._feed()

    def _tick_monitor(self, now: float) -> float:
        self._monitor.tick(now)
        return now

    def _cut(self) -> None:
        """Called in the watchdog's thread if the event loop hangs: switch power off, and report it later."""
        if not self._monitor.live:
            return
        run_all((self._hardware.cut,))
        self._loop.call_soon_threadsafe(self._hung)

    def _hung(self) -> None:
        self._observe(Observe("safety", "opened", {"reason": "hung"}))
        self._ask_monitor(lambda now: self._monitor.fault("program_hung", now))
        self._report("program_hung")

    def _ask_monitor(self, what: Callable[[float], Answer]) -> Answer:
        """Return the monitor's answer, after carrying out its decisions."""
        answer = what(self._clock.monotonic())
        for verdict in self._monitor.verdicts():
            self._carry_out(verdict)
        return answer

    def _carry_out(self, verdict: safety.Verdict) -> None:
        """Carry out a decision at the hardware, each part regardless of failures of others, then report it."""
        lowered = verdict.output if isinstance(verdict, safety.Lower) else safety.NOTHING
        self._drawn_w = max(-lowered.discharge_w, min(lowered.charge_w, self._drawn_w))
        orders: list[Command] = [
            ports.SetPowerLimits(lowered.charge_w, lowered.discharge_w),
            ports.SetAcPower(self._drawn_w),
        ]
        if isinstance(verdict, safety.Open):
            orders += [ports.SetCpState(PilotState.B), ports.OpenContactor()]
        run_all(partial(self._order, command) for command in orders)
        if isinstance(verdict, safety.Open):
            event = partial(self._observe, Observe("safety", "opened", {"reason": verdict.reason}))
            run_all((event, partial(self._report, verdict.reason)))
        elif verdict != self._last:
            data: dict[str, Scalar] = {
                "reason": verdict.reason,
                "charge_w": lowered.charge_w,
                "discharge_w": lowered.discharge_w,
            }
            self._observe(Observe("safety", "lowered", data))
        self._last = verdict

    def _order(self, command: Command) -> None:
        slowly = self._hardware.execute(command)
        if slowly is not None:
            self._tasks.add(task := spawn(slowly))
            task.add_done_callback(self._tasks.discard)

    def _report(self, reason: str) -> None:
        run_all(partial(callback, ports.HardwareFault(reason)) for callback in tuple(self._callbacks))


class _ReadStream:
    """A connection whose frames are read when they arrive and after they are sent. Implements ByteStream."""

    def __init__(
        self, stream: ByteStream, sent: Callable[[int, bytes], None], received: Callable[[int, bytes], None]
    ) -> None:
        self._stream = stream
        self._ways = (_framer(), sent), (_framer(), received)

    async def read(self, n: int) -> bytes:
        data = await self._stream.read(n)
        _hear(data, *self._ways[1])
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)
        _hear(data, *self._ways[0])

    async def close(self) -> None:
        await self._stream.close()


def _framer() -> Framer:
    """Return a framer that loses its position no earlier than the session's."""
    return Framer(skips=True)


def _hear(data: bytes, framer: Framer, handle: Callable[[int, bytes], None]) -> None:
    """Pass on payloads; an invalid frame ends the reading, and soon the power."""
    try:
        for each in framer.feed(data):
            handle(each.payload_type, each.payload)
    except CodecError:
        return


def sample(state: ports.BatteryState) -> Sample:
    """Return what sensors at the cells say, for the detector of a runaway."""
    found = {
        runaway.HOTTEST: state.temperature_c if state.hottest_c is None else state.hottest_c,
        runaway.LOWEST: None if state.lowest_cell_mv is None else state.lowest_cell_mv / 1000,
        runaway.MEAN: None if state.mean_cell_mv is None else state.mean_cell_mv / 1000,
        runaway.PRESSURE: state.pressure_kpa,
    }
    return Sample(state.at_ms, {name: value for name, value in found.items() if value is not None})


def reading(state: ports.BatteryState) -> safety.BatteryReading:
    """Return the battery's report for the monitor."""
    bears = safety.Output(
        charge_w=state.max_charge_w,
        discharge_w=state.max_discharge_w,
        charge_ma=state.max_charge_ma,
        discharge_ma=state.max_discharge_ma,
        voltage_mv=state.max_voltage_mv,
    )
    return safety.BatteryReading(
        voltage_mv=state.voltage_mv, current_ma=state.current_ma, bears=bears, fault=state.fault
    )
