"""Power modules on a CAN bus, by python-can: `v2g.hardware.power_modules.bank` with a port and a clock.

Another family of modules is a `ModuleProtocol`, a driver here, and a line in `secc.hardware.drivers`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, NoReturn

from v2g.dbc import read_dbc
from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import OFF, REPORT_S, Demand, StageParts, StageReport
from v2g.hardware.power_modules import bank
from v2g.hardware.power_modules.infypower import InfypowerConfig, infypower_group
from v2g.io.can import CanConfig, CanPort
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.observe import Callbacks, Observe
from v2g.telemetry.absence import is_j1939_absence, states

LEAST_WAIT_S = 0.001

REOPEN_S = 0.5
"""Interval of attempts to open a bus that has failed, as when its adapter was unplugged or its interface set down."""

TEST_S = 2.0
POLL_S = 0.05
"""Time for each step of the isolation monitor's own test, and between two commands."""


class CanStage:
    """Modules in parallel behind the interface PowerStage, and their isolation monitor behind IsolationMonitor."""

    def __init__(
        self,
        config: bank.ModuleBusConfig,
        group: bank.ModuleGroup,
        clock: Clock,
        observe: Callable[[Observe], None] = lambda _: None,
    ) -> None:
        """Attach to the bus. Raises TransportError for a missing one."""
        self._observe, self._out = observe, tuple[int, ...]()
        self._clock, self._loop, self._group = clock, asyncio.get_running_loop(), group
        self._group.tick(clock.monotonic())
        self._off: list[bank.Frame] = self._group.frames()  # commands, and what asks for states: that goes on
        self._grace_s, self._isolation_s = config.lost_s, config.isolation_s
        self._started = clock.monotonic()
        self._reported, self._reported_at = StageReport(0, 0), 0.0
        self.on_report: Final = Callbacks[StageReport]()
        self.on_fault: Final = Callbacks[str, bool]()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = self._cut = False
        self._bus = CanConfig(interface=config.interface, channel=config.channel, bitrate=config.bitrate)
        self._port = CanPort(self._bus, self._received)
        self._reopening = spawn(self._reopen(), name="power modules")
        self._tick()

    @property
    def present(self) -> StageReport:
        return self._group.report

    @property
    def temperatures(self) -> dict[str, float | None]:
        """Degrees C of each module."""
        return self._group.temperatures

    @property
    def resistance_ohm(self) -> int | None:
        return self._group.resistance_ohm(self._clock.monotonic())

    async def measure(self, voltage_mv: int) -> int | None:
        """See IsolationMonitor: it measures continuously; the result after its own time is for this voltage."""
        await asyncio.sleep(self._isolation_s)
        return self.resistance_ohm

    async def test_isolation(self) -> str:
        """See StageParts: the monitor tests itself on command."""
        monitor = self._group.isolation
        assert monitor is not None
        try:
            for on, ends in ((False, (0,)), (True, (bank.PASSED, bank.FAILED))):
                end = self._clock.monotonic() + TEST_S
                while (state := monitor.test_state(self._clock.monotonic())) not in ends:
                    if self._clock.monotonic() >= end:
                        return "the monitor does not answer" if state is None else f"it stays in state {state}"
                    self._send(monitor.tell_test(on=on))
                    await asyncio.sleep(POLL_S)
        finally:
            self._send(monitor.tell_test(on=False))
        return "" if state == bank.PASSED else "the monitor has failed its test"

    def _send(self, frame: bank.Frame) -> None:
        with contextlib.suppress(TransportError):  # a failing bus shows as missing messages, which are a fault
            self._port.send(*frame)

    @property
    def max_var(self) -> int:
        """See PowerStage: the modules' messages have no reactive power."""
        return 0

    def react(self, var: int) -> None:
        """See PowerStage."""

    def cut(self) -> None:
        """See Cut: modules without messages switch off on their own, others get a command."""
        self._cut = True
        for frame in self._off:
            self._send(frame)

    def drive(self, demand: Demand) -> None:
        self._cut = self._cut and demand != OFF
        self._group.drive(demand)
        self._exchange()

    async def close(self) -> None:
        """Switch the modules off and leave the bus."""
        self.drive(OFF)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await cancel_tasks(self._reopening)
        await self._port.close()

    # -- inside

    async def _reopen(self) -> NoReturn:
        """Open the bus again whenever it has failed: until then all modules are lost."""
        while True:
            with contextlib.suppress(TransportError):
                await self._port.failed()
            await self._port.close()
            while True:
                await asyncio.sleep(REOPEN_S)
                with contextlib.suppress(TransportError):
                    self._port = await CanPort.opened(self._bus, self._received)
                    break

    def _received(self, frame_id: int, data: bytes, _at_s: float) -> None:
        if not self._closed and self._group.receive(frame_id, data, self._clock.monotonic()):
            self._exchange()

    def _tick(self) -> None:
        self._timer = None
        self._group.tick(self._clock.monotonic())
        self._exchange()

    def _exchange(self) -> None:
        """Send pending messages, report changes, and schedule the next call."""
        frames = self._group.frames()
        for frame in self._off if self._cut and frames else frames:
            self._send(frame)
        if self._clock.monotonic() - self._started >= self._grace_s:  # until then modules are still starting
            for fault, active in self._group.faults():
                self.on_fault.tell(fault, active)
            if (out := self._group.out) != self._out:
                self._out = out
                self._observe(Observe("hardware", "modules_out", {"modules": " ".join(map(str, out))}))
        report, now = self._group.report, self._clock.monotonic()
        if report != self._reported or (self._group.working and now - self._reported_at >= REPORT_S / 2):
            self._reported, self._reported_at = report, now
            self.on_report.tell(report)
        if self._timer is None:  # a closed one keeps that which was cancelled
            delay = max(LEAST_WAIT_S, self._group.deadline() - self._clock.monotonic())
            self._timer = self._loop.call_later(delay, self._tick)


@contextlib.asynccontextmanager
async def _opened(config: bank.ModuleBusConfig, context: DriverContext) -> AsyncIterator[StageParts]:
    group = _group(config, context.clock.monotonic())
    modules = CanStage(config, group, context.clock, context.observe)
    try:
        testable = group.isolation is not None and group.isolation.testable
        yield StageParts(modules, modules, modules.test_isolation if testable else None)
    finally:
        await modules.close()


def check_modules(config: bank.ModuleBusConfig) -> None:
    """Look for what would end the start. Raises ConfigError."""
    from can import VALID_INTERFACES

    if config.interface not in VALID_INTERFACES:
        known = ", ".join(sorted(VALID_INTERFACES))
        raise ConfigError(f"unknown CAN interface {config.interface!r}", hint=f"python-can has {known}")
    _group(config, 0.0)


def _group(config: bank.ModuleBusConfig, now: float) -> bank.ModuleGroup:
    """Return the modules of a bus. Raises ConfigError."""
    if not config.isolation:
        raise ConfigError("the key isolation is missing", hint="no direct current without isolation monitor")
    database = bank.load_database(config.dbc)
    if isinstance(config, InfypowerConfig):
        return infypower_group(config, database, now, _absent(config, config.resistance))
    assert isinstance(config, bank.ModulesConfig)
    return bank.dbc_group(config, database, now, _absent(config, config.signals.resistance))


def _absent(config: bank.ModuleBusConfig, resistance: str) -> bank.Absent:
    """Return which codes of the isolation monitor's resistance the DBC file says are none: they would be the highest
    of all. Raises ConfigError."""
    if config.dbc is None:
        return bank.never
    message = read_dbc(config.dbc).use(config.isolation, resistance)
    signal = message.signals[resistance]
    named = states(signal, is_state=False)
    return lambda raw: raw in named or (bool(message.j1939) and is_j1939_absence(message, signal, raw))


DRIVER = Driver("stage", bank.ModulesConfig, _opened)
INFYPOWER = Driver("stage", InfypowerConfig, _opened, bidirectional=False)
