"""A control board on a serial port: the charger's end of the control pilot, its contactor, lock, lamp and sensors."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError, TransportError
from v2g.hardware.board.host import BoardDown, BoardHost, BoardUp
from v2g.hardware.board.inputs import Input
from v2g.hardware.board.protocol import BAUD_RATE, LOST_S, OFF, BoardStatus, Set, Temperatures
from v2g.hardware.faults import Light
from v2g.hardware.interfaces import BoardParts, OnFault
from v2g.hardware.pilot import ReportingPilot
from v2g.iec61851.pilot import NOMINAL_MV, PilotState, near, read_levels
from v2g.iec61851.proximity import Coding, read_proximity
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import wait_at_most
from v2g.io.serial_port import SerialPort
from v2g.observe import Callbacks, Observe, Scalar

REOPEN_S: Final = 0.5
"""Interval of attempts to reopen a lost port."""

READY_S: Final = 2.0
"""Time for a board to answer at the start."""

HEAT_S: Final = 5.0
"""Time without temperatures, which a board sends each second, after which no sensor has one."""

SHOW_S: Final = 1.0
"""Time for a board to show in its self-test what it is commanded."""


class BoardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A control board."""

    device: Annotated[str, Meta(min_length=1)]
    """Its serial port, such as /dev/ttyACM0."""
    baud_rate: Annotated[int, Meta(ge=1_200, le=4_000_000)] = BAUD_RATE
    """Speed of the serial port, bit/s."""
    proximity: Coding = "type2"
    """Coding of its plug (IEC 61851-1): `type2` by the cable's resistance, `type1` by the latch."""
    lost_s: Annotated[float, Meta(ge=0.05, le=2)] = LOST_S
    """Time without a message after which the board counts as lost; more than 0.1 s is for test machines only."""

    @property
    def devices(self) -> tuple[str, ...]:
        """See Driver."""
        return (self.device,)


class SerialBoard(ReportingPilot):
    """One board, behind the interfaces ChargerPilot, Contactor, Cabinet and BoardMonitor. A lost board shows F,
    an open contactor and the fault `board_lost`; it reconnects automatically, in the safe state."""

    def __init__(self, config: BoardConfig, clock: Clock, observe: Callable[[Observe], None]) -> None:
        """Open the port. Raises TransportError when it is missing or in use; later losses are handled."""
        super().__init__(PilotState.F)
        self._config, self._clock, self._observe_to = config, clock, observe
        self._loop = asyncio.get_running_loop()
        self._host = BoardHost(config.lost_s)
        self._status: BoardStatus | None = None
        self._status_at = clock.monotonic()
        self._temperatures: dict[str, float | None] = {}
        self._temperatures_at = clock.monotonic()
        self._down = "board_lost"
        self._estop = False
        self._rule = ""
        self._shows: dict[str, object] = {}  # again on a board that returns
        self._on_new: list[Callable[[], None]] = []
        self.on_contactor: Final = Callbacks[bool]()
        self.on_latch: Final = Callbacks[bool]()
        self._on_fault: Final = Callbacks[str, bool]()
        self._came = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = self._testing = self._cut = False
        self._port: SerialPort | None = self._open()
        self._tick()

    async def ready(self, seconds: float) -> bool:
        """Wait until the board has answered and sent its status; return whether it did within `seconds`."""
        await wait_at_most(seconds, self._present())
        return self._status is not None

    async def _present(self) -> None:
        while self._status is None:  # one that has come may be lost again at once
            await self._came.wait()

    def close(self) -> None:
        """Leave the board in its safe state and close the port."""
        self._want(Set())
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._port is not None:
            self._port.close()

    # -- the control pilot: ChargerPilot

    @property
    def age_s(self) -> float:
        return self._clock.monotonic() - self._status_at

    @property
    def duty_percent(self) -> float | None:
        duty = self._host.wanted.duty
        return None if duty == OFF else duty / 100

    def _drive(self, percent: float | None, error: PilotState | None) -> None:
        self._shows["pilot"] = "run" if error is None else error.value
        self._change(duty=OFF if percent is None else int(percent * 100 + 1e-6), pilot=self._shows["pilot"])
        self._report_oscillator(on=self.duty_percent is not None)

    # -- the contactor: Contactor

    @property
    def has_contactor(self) -> bool:
        """Whether the board switches a contactor."""
        return self._host.hello is not None and self._host.hello.contactor

    @property
    def contactor(self) -> "BoardContactor":
        """The board's contactor."""
        return BoardContactor(self)

    # -- the self-test: BoardParts

    async def self_test(self) -> str:
        """See BoardParts: levels, duty cycle read back, auxiliary contact, and the board's dead-man."""
        if self._status is None:
            return "the control board does not answer"
        if self.state.connected:  # the dead-man, too, moves the pilot
            return "the contactor is closed" if self._status.contactor else ""
        before, self._testing = self._host.wanted, True
        try:
            return await self._tested()
        finally:
            self._testing = False
            if self._down:
                self._on_fault.tell(self._down, True)  # noqa: FBT003
            self._want(before)

    async def _tested(self) -> str:
        for duty, pilot, high_mv, low_mv in (
            (OFF, "F", NOMINAL_MV[PilotState.F], None),
            (OFF, "run", NOMINAL_MV[PilotState.A], None),
            (500, "run", NOMINAL_MV[PilotState.A], NOMINAL_MV[PilotState.F]),
        ):
            self._change(duty=duty, pilot=pilot, contactor=False)

            def shows(
                duty: int = duty, pilot: str = pilot, high_mv: int = high_mv, low_mv: int | None = low_mv
            ) -> bool:
                shown = self._status
                return (
                    shown is not None
                    and not shown.contactor
                    and shown.cp == ("A" if pilot == "run" else pilot)
                    and (pilot != "run" or shown.duty == duty)
                    and near(shown.high, high_mv)
                    and near(shown.low, low_mv)
                )

            if not await self._within(SHOW_S, shows):
                shown = self._status
                levels = "nothing" if shown is None else f"{shown.high} and {shown.low} mV, duty cycle {shown.duty}"
                return f"the board shows {levels} for {pilot} with duty cycle {duty}"
        silent_s = 1.5 * self._config.lost_s
        self._host.be_silent(self._clock.monotonic() + silent_s)
        if not await self._within(silent_s, lambda: self._status is not None and self._status.cp == "F"):
            return "the board's dead-man does not act"
        if not await self._within(READY_S, lambda: self._status is not None and self._status.cp != "F"):
            return "the board does not return after its dead-man"
        return ""

    async def _within(self, seconds: float, holds: Callable[[], bool]) -> bool:
        end = self._clock.monotonic() + seconds
        while not holds():
            if self._clock.monotonic() >= end:
                return False
            await asyncio.sleep(0.005)
        return True

    # -- the safety monitor: BoardMonitor

    @property
    def has_monitor(self) -> bool:
        """Whether the board runs the safety monitor."""
        return self._host.hello is not None and self._host.hello.monitor

    def tell(self, what: Input) -> None:
        self._host.tell(what, self._clock.monotonic())
        self._exchange()

    def on_new(self, callback: Callable[[], None]) -> None:
        self._on_new.append(callback)
        callback()

    # -- the rest: Cabinet

    @property
    def has_latch(self) -> bool:
        return self._host.hello is not None and self._host.hello.latch

    @property
    def temperatures(self) -> dict[str, float | None]:
        """See Cabinet; a board that is lost is a fault of its own."""
        silent = not self._down and self._clock.monotonic() - self._temperatures_at > HEAT_S
        return dict.fromkeys(self._temperatures) if silent else dict(self._temperatures)

    @property
    def fan_rpm(self) -> int | None:
        if self._host.hello is None or not self._host.hello.fan or self._status is None:
            return None
        return self._status.fan

    def set_light(self, light: Light) -> None:
        self._shows["light"] = light
        self._change(light=light)

    def set_latch(self, *, locked: bool) -> None:
        self._change(latch=locked)

    def set_fan(self, percent: int) -> None:
        self._change(fan=percent)

    def on_fault(self, callback: OnFault) -> None:
        """See Cabinet; present faults are reported at once."""
        self._on_fault(callback)
        if self._down:
            callback(self._down, True)  # noqa: FBT003
        if self._estop:
            callback("emergency_stop", True)  # noqa: FBT003

    # -- inside

    def _change(self, **changes: object) -> None:
        self._want(msgspec.structs.replace(self._host.wanted, **changes))

    def _want(self, wanted: Set) -> None:
        self._host.want(wanted, self._clock.monotonic())
        self._exchange()

    def _open(self) -> SerialPort:
        return SerialPort(
            self._config.device, self._config.baud_rate, on_data=self._received, on_gone=self._gone, backlog=4096
        )

    def _received(self, data: bytes) -> None:
        self._host.receive(data, self._clock.monotonic())
        self._exchange()

    def _gone(self) -> None:
        self._port = None
        self._host.lost("the port is gone", self._clock.monotonic())
        self._exchange()
        if not self._closed:
            self._loop.call_later(REOPEN_S, self._reopen)

    def _reopen(self) -> None:
        if self._closed or self._port is not None:
            return
        try:
            self._port = self._open()
        except TransportError:
            self._loop.call_later(REOPEN_S, self._reopen)

    def _tick(self) -> None:
        """Run the host. Input received while the loop was busy is read first: the board was not late."""
        if self._port is not None:
            self._port.read_now()
        if self._cut:
            self._host.want(msgspec.structs.replace(self._host.wanted, contactor=False), self._clock.monotonic())
        self._host.tick(self._clock.monotonic())
        self._exchange()

    def _exchange(self) -> None:
        """Send pending messages, report changes, and schedule the next call."""
        for event in self._host.events():
            match event:
                case BoardUp(hello=hello):
                    self._down, self._temperatures_at = "", self._clock.monotonic()
                    self._host.want(msgspec.structs.replace(self._host.wanted, **self._shows), self._clock.monotonic())
                    self._note("board_found", board=hello.board, serial=hello.serial, firmware=hello.firmware)
                    for on_new in self._on_new:
                        self._loop.call_soon(on_new)
                case BoardDown(fault=fault, why=why):
                    self._down, self._status = fault, None
                    self._came.clear()
                    self._note("board_lost", fault=fault, why=why, missed=self._host.missed, broken=self._host.broken)
                    if not self._testing:
                        self._on_fault.tell(fault, True)  # noqa: FBT003
                    self.on_contactor.tell(False)  # noqa: FBT003
                    self._report_oscillator(on=False)
                    self._report_wire(PilotState.F, "", self.proximity)
                case BoardStatus():
                    self._take(event)
                case Temperatures():
                    self._temperatures_at = self._clock.monotonic()
                    self._temperatures = {n: None if t is None else t / 10 for n, t in event.sensors.items()}
        data = self._host.output()
        if self._port is not None:
            with contextlib.suppress(TransportError):
                self._port.write(data)
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._loop.call_later(self._host.deadline() - self._clock.monotonic(), self._tick)

    def _take(self, status: BoardStatus) -> None:
        before, self._status = self._status, status
        self._status_at = self._clock.monotonic()
        if before is None:
            self._came.set()
            for word in ("board_lost", "board_incompatible"):
                self._on_fault.tell(word, False)  # noqa: FBT003
        if status.estop is not self._estop:
            self._estop = status.estop
            self._on_fault.tell("emergency_stop", status.estop)
        if status.rule != self._rule:
            self._rule = status.rule
            if status.rule:
                self._note("board_opened", reason=status.rule)
            self._on_fault.tell("rule_broken", bool(status.rule))
        state = PilotState(status.cp)
        fault = read_levels(status.high, status.low).fault if state is PilotState.E else ""
        self._report_wire(state, fault, read_proximity(status.pp, self._config.proximity))
        if before is None or before.contactor is not status.contactor:
            self.on_contactor.tell(status.contactor)
        if before is None or before.latch is not status.latch:
            self.on_latch.tell(status.latch)

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe_to(Observe("hardware", name, data))


class BoardContactor:
    """The contactor of a board. See Contactor."""

    def __init__(self, board: SerialBoard) -> None:
        self._board, self.on_change = board, board.on_contactor

    @property
    def closed(self) -> bool:
        """See Contactor; a lost board has opened it."""
        return self._board._status is not None and self._board._status.contactor

    def cut(self) -> None:
        """See Cut: a board without messages for `lost_s` opens it on its own, else the next one does."""
        self._board._cut = True

    def set(self, *, closed: bool) -> None:
        self._board._cut = self._board._cut and closed
        self._board._change(contactor=closed and not self._board._cut)


@contextlib.asynccontextmanager
async def _open(config: BoardConfig, context: DriverContext) -> AsyncIterator[BoardParts]:
    """Open a board that has answered. Raises TransportError for one that does not, ConfigError for one without a
    contactor."""
    with contextlib.closing(SerialBoard(config, context.clock, context.observe)) as board:
        if not await board.ready(READY_S):
            raise TransportError(
                f"the control board on {config.device} does not answer",
                hint="device and baud_rate of [hardware.board] must match the board",
            )
        if not board.has_contactor:
            raise ConfigError(f"the control board on {config.device} has no contactor")
        monitor = board if board.has_monitor else None
        yield BoardParts(board, board.contactor, board, board.self_test, monitor)


DRIVER = Driver("pilot", BoardConfig, _open)
