"""The safety channel of a vehicle: the monitor (`v2g.safety.vehicle`) between its sessions and its hardware.

It wraps the hardware before any other use, so that no command bypasses the monitor, and it wraps the
connection, where it receives all traffic. Verdicts are executed directly on the hardware and reported to
the session as faults.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from evcc.hardware.vehicle import OnFact, VehicleHardware
from evcc.session import ports
from v2g.asn1.discharge import DischargeCommand, signed_content
from v2g.errors import Asn1Error, CodecError
from v2g.iec61851.duty import DutyReading
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.run_all import run_all
from v2g.io.runtime.runner import ByteStream
from v2g.io.runtime.watchdog import Watchdog
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType
from v2g.observe import Observe, Scalar
from v2g.safety import NOTHING, Ask, BatteryReading, Lower, Open, Output, Phase, VehicleMonitor, VehicleRating, Verdict

Said = TypeVar("Said")

TICK_S: Final = 0.1
"""Longest interval between the monitor's checks."""

OBEY_OFF_S: Final = 6.0
"""Maximum time in state C, controlled by the pilot alone, after the oscillator went off (IEC 61851-1, Annex A: the
vehicle stops drawing within 3 s)."""


class MessageReader(Protocol):
    """Interprets one session's messages in order; each edition has its own."""

    def decode(self, payload_type: int, payload: bytes) -> Any:
        """Return the message of a V2GTP payload, None if undecodable."""

    def sent(self, message: Any, payload_type: int) -> Ask:
        """Interpret a message sent by the vehicle."""

    def received(self, message: Any, payload_type: int) -> Ask:
        """Interpret a message sent by the charger."""


class SafetyChannel:
    """The VehicleHardware that sessions use. Everything but `cut` is called in the event loop."""

    def __init__(
        self,
        hardware: VehicleHardware,
        rating: VehicleRating,
        clock: Clock,
        observe: Callable[[Observe], None],
        *,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._hardware, self._monitor = hardware, VehicleMonitor(rating)
        self._clock, self._observe = clock, observe
        self._loop = asyncio.get_running_loop()
        self._callbacks: list[OnFact] = []
        self._messages: MessageReader | None = None
        self._phases: int | None = None
        self._battery_ms = -1
        self._inlet_mv = 0
        self._drawn_w = self._allowed_ma = 0
        self._last: Verdict | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unsubscribe = hardware.subscribe(self._hear)
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._feed = watchdog.watch(self._cut) if watchdog is not None else lambda: None

    # -- for sessions: the hardware

    @property
    def battery(self) -> ports.BatteryState:
        """See VehicleHardware."""
        return self._hardware.battery

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """See VehicleHardware; verdicts are reported as HardwareFault."""
        self._callbacks.append(callback)
        unsubscribe = self._hardware.subscribe(callback)

        def end() -> None:
            self._callbacks.remove(callback)
            unsubscribe()

        return end

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """See VehicleHardware; passes only permitted commands."""
        passed = self._passed(command)
        return self._hardware.execute(passed) if passed is not None else None

    def cut(self) -> None:
        """See VehicleHardware."""
        self._hardware.cut()

    async def close(self) -> None:
        """Leave everything safe and stop monitoring."""
        self._timer.cancel()
        self._unsubscribe()
        await self._hardware.close()

    # -- for the program: messages and commands

    def converse(self, stream: ByteStream, messages: MessageReader) -> ByteStream:
        """Begin a session whose messages `messages` interprets; return the connection to use."""
        self._messages, self._phases = messages, None
        self._monitor.begin()
        return _Heard(stream, self._sent, self._received)

    def signal(self, duty: DutyReading, *, phases: int) -> None:
        """Begin a session without messages: the pilot's duty cycle limits the current per phase."""
        self._messages, self._phases = None, phases
        self._monitor.begin()
        self._take_duty(duty)

    def part(self) -> None:
        """The session is over."""
        self._messages = self._phases = None
        self._monitor.end()

    def fact(self, fact: Fact) -> None:
        """Process a fact that the session receives from a source other than the hardware."""
        match fact:
            case ports.StopRequested(reselect=False):
                self._tell(self._monitor.stop)
            case ports.DutyRead(reading=duty) if self._phases is not None:
                self._take_duty(duty)

    # -- internal: permitted commands

    def _passed(self, command: Command) -> Command | None:
        """Return the command for the hardware, or None."""
        match command:
            case ports.SetPowerLimits(charge_w=charge_w, discharge_w=discharge_w):
                passed = self._drive(Output(charge_w, discharge_w) if charge_w or discharge_w else NOTHING)
                return ports.SetPowerLimits(passed.charge_w, passed.discharge_w)
            case ports.SetAcPower(power_w=power_w):
                return ports.SetAcPower(self._draw(power_w))
            case ports.SetCpState(state=PilotState.B):
                self._monitor.rest()
            case ports.SetCpState():
                return command if self._tell(self._monitor.show) else None
            case ports.CloseContactor():
                return command if self._tell(self._monitor.close) else None
            case ports.OpenContactor():
                self._tell(self._monitor.open)
        return command

    def _drive(self, output: Output) -> Output:
        return self._tell(lambda now: self._monitor.drive(output, now))

    def _draw(self, power_w: int) -> int:
        if self._phases is not None:  # only the pilot limits the current
            self._drive(Output(charge_w=power_w) if power_w > 0 else NOTHING)
        self._drawn_w = self._tell(lambda now: self._monitor.draw(power_w, now))
        return self._drawn_w

    # -- internal: received reports and messages

    def _hear(self, fact: Fact) -> None:
        """Process a report of the hardware. A repeated battery timestamp does not count as a report."""
        match fact:
            case ports.BatteryState(at_ms=at_ms):
                if at_ms != self._battery_ms:
                    self._battery_ms = at_ms
                    self._tell(lambda now: self._monitor.battery(reading(fact), now))
            case ports.PresentVoltage(voltage_mv=voltage_mv, current_ma=current_ma):
                self._inlet_mv = voltage_mv
                self._tell(lambda now: self._monitor.inlet(voltage_mv, current_ma, now))
                if self._phases is not None:
                    self._limit_duty()
            case ports.ContactorState(closed=closed):
                self._tell(lambda now: self._monitor.feedback(now, closed=closed))
            case ports.HardwareFault(reason=reason):
                self._tell(lambda now: self._monitor.fault(reason, now))
            case ports.PlugState(connected=False):
                self._tell(lambda now: self._monitor.fault("unplugged", now))

    def _sent(self, payload_type: int, payload: bytes) -> None:
        if payload_type == PayloadType.SIGNED_DISCHARGE:
            self._take_signed(payload)
        elif self._messages is not None and (message := self._messages.decode(payload_type, payload)) is not None:
            self._ask(self._messages.sent(message, payload_type))

    def _received(self, payload_type: int, payload: bytes) -> None:
        if self._messages is not None and (message := self._messages.decode(payload_type, payload)) is not None:
            self._ask(self._messages.received(message, payload_type))

    def _ask(self, ask: Ask) -> None:
        self._tell(lambda now: self._monitor.ask(ask, now))

    def _take_signed(self, payload: bytes) -> None:
        try:
            content = signed_content(payload)
        except Asn1Error:  # an unreadable signature signs nothing
            return
        if isinstance(content, DischargeCommand):
            self._monitor.signed(content.power_w, self._clock.at(content.valid_until_ms))

    def _take_duty(self, duty: DutyReading) -> None:
        assert self._phases is not None
        if duty.meaning == "current":
            self._ask(Ask(phase=Phase.POWER, alive_s=float("inf")))
        else:
            self._ask(Ask(phase=Phase.REST, alive_s=OBEY_OFF_S))
        allowed_ma = round(duty.max_current_a * 1000) if duty.meaning == "current" else 0
        self._allowed_ma = allowed_ma * self._phases
        self._limit_duty()

    def _limit_duty(self) -> None:
        most_w = self._allowed_ma * self._inlet_mv // 1_000_000 + 1  # tolerate rounding
        self._monitor.limit(most_w)

    # -- internal: reactions

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._tell(self._monitor.tick)
        self._feed()

    def _cut(self) -> None:
        """The watchdog thread found the event loop blocked: switch off now, report it once the loop resumes."""
        if not self._monitor.live:
            return
        run_all((self._hardware.cut,))
        self._loop.call_soon_threadsafe(self._hung)

    def _hung(self) -> None:
        self._observe(Observe("safety", "opened", {"reason": "hung"}))
        self._tell(lambda now: self._monitor.fault("program_hung", now))
        self._report("program_hung")

    def _tell(self, what: Callable[[float], Said]) -> Said:
        """Return the monitor's output after executing its verdicts."""
        said = what(self._clock.monotonic())
        for verdict in self._monitor.verdicts():
            self._carry_out(verdict)
        return said

    def _carry_out(self, verdict: Verdict) -> None:
        """Execute each part on the hardware even if another raises, then report."""
        lowered = verdict.output if isinstance(verdict, Lower) else NOTHING
        self._drawn_w = max(-lowered.discharge_w, min(lowered.charge_w, self._drawn_w))
        orders: list[Command] = [
            ports.SetPowerLimits(lowered.charge_w, lowered.discharge_w),
            ports.SetAcPower(self._drawn_w),
        ]
        if isinstance(verdict, Open):
            orders += [ports.SetCpState(PilotState.B), ports.OpenContactor()]
        run_all(partial(self._order, command) for command in orders)
        if isinstance(verdict, Open):
            told = partial(self._observe, Observe("safety", "opened", {"reason": verdict.reason}))
            run_all((told, partial(self._report, verdict.reason)))
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
            self._tasks.add(task := self._loop.create_task(slowly))
            task.add_done_callback(self._tasks.discard)

    def _report(self, reason: str) -> None:
        run_all(partial(callback, ports.HardwareFault(reason)) for callback in tuple(self._callbacks))


class _Heard:
    """A connection whose frames are monitored on receipt and after sending."""

    def __init__(
        self, stream: ByteStream, sent: Callable[[int, bytes], None], received: Callable[[int, bytes], None]
    ) -> None:
        self._stream = stream
        self._ways = (Framer(), sent), (Framer(), received)

    async def read(self, n: int) -> bytes:
        """See ByteStream."""
        data = await self._stream.read(n)
        _hear(data, *self._ways[1])
        return data

    async def write(self, data: bytes) -> None:
        """See ByteStream."""
        await self._stream.write(data)
        _hear(data, *self._ways[0])

    async def close(self) -> None:
        """See ByteStream."""
        await self._stream.close()


def _hear(data: bytes, framer: Framer, tell: Callable[[int, bytes], None]) -> None:
    """After an invalid frame the peer's messages no longer count, so power goes off soon."""
    try:
        for each in framer.feed(data):
            tell(each.payload_type, each.payload)
    except CodecError:
        return


def reading(state: ports.BatteryState) -> BatteryReading:
    """Return the battery's reported state."""
    bears = Output(
        charge_w=state.max_charge_w,
        discharge_w=state.max_discharge_w,
        charge_ma=state.max_charge_ma,
        discharge_ma=state.max_discharge_ma,
        voltage_mv=state.max_voltage_mv,
    )
    return BatteryReading(voltage_mv=state.voltage_mv, current_ma=state.current_ma, bears=bears, fault=state.fault)
