"""A simulated control board: the reference firmware on a pseudo-terminal, connected to the simulated control pilot.

A charger configured for a real board can be tested without one, with a simulated vehicle at the other end of the
pilot wire. `v2g board-sim` runs it.
"""

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import ConfigError
from v2g.hardware.board import inputs
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.inputs import FOREVER_MS, Input
from v2g.io.plc.pilot import ChargerSignal, VehicleSignal
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.io.simulation.wire import SimulatedWire
from v2g.safety import ChargerMonitor, ChargerRating, Open, Output, Phase, Request

_READ_SIZE = 4096


class BoardSimulator:
    """One board. `device` is the path of the pseudo-terminal."""

    def __init__(self, clock: Clock, medium: Medium | None = None, *, firmware: BoardFirmware | None = None) -> None:
        """Open a pseudo-terminal; `medium` connects the board to a simulated vehicle."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.firmware = firmware or BoardFirmware()
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        self._timer: asyncio.TimerHandle | None = None
        self._wire: SimulatedWire[ChargerSignal, VehicleSignal] | None = None
        if medium is not None:
            self._wire = SimulatedWire(medium, MediumChannel.CP, VehicleSignal)
            self._wire.on_change(self._vehicle_changed)
        self._loop.add_reader(self._master, self._readable)
        self._act()

    def link(self, path: Path) -> None:
        """Link `path` to the terminal, replacing an existing link. Raises ConfigError."""
        try:
            if path.is_symlink():
                path.unlink()
            path.symlink_to(self.device)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", hint="choose a path that this user may create") from None

    def set(self, **inputs: object) -> None:
        """Change the board's inputs; see BoardInputs."""
        self.firmware.wire(msgspec.structs.replace(self.firmware.inputs, **inputs), self._clock.monotonic())
        self._act()

    def close(self) -> None:
        """Disconnect, like an unplugged board."""
        self._loop.remove_reader(self._master)
        if self._timer is not None:
            self._timer.cancel()
        os.close(self._master)
        os.close(self._slave)

    def _vehicle_changed(self, vehicle: VehicleSignal | None) -> None:
        seen = vehicle or VehicleSignal()
        self.set(resistance_ohm=seen.resistance_ohm, diode=seen.diode, proximity_ohm=seen.proximity_ohm)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self.firmware.receive(os.read(self._master, _READ_SIZE), self._clock.monotonic())
        self._act()

    def _act(self) -> None:
        """Run the firmware, transfer its output and pilot signal, and schedule the next call."""
        now = self._clock.monotonic()
        self.firmware.tick(now)
        data = self.firmware.output()
        if data:
            with contextlib.suppress(BlockingIOError, OSError):  # no reader: lost, as on a line
                os.write(self._master, data)
        if self._wire is not None:
            self._wire.hold(ChargerSignal(*self.firmware.signal))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, self.firmware.deadline() - now), self._act)


SILENT_S: Final = 1.0
"""Longest time without an input while the contactor is closed. The controller sends its measurements ten times a
second."""

Monitor = ChargerMonitor | CompiledMonitor


class SimulatedBoardMonitor:
    """See BoardMonitor. `make` is the monitor: that of Python, or the compiled one of `board/`."""

    def __init__(self, make: Callable[[ChargerRating], Monitor] = ChargerMonitor) -> None:
        self._make = make
        self.forget()

    def forget(self) -> None:
        self._monitor: Monitor | None = None
        self._closed = self._commanded = False
        self._input_at = 0.0
        self.reason = "not_told"

    def take(self, what: Input, now: float) -> None:
        self._input_at = now
        if isinstance(what, inputs.BoardRating):
            rating = ChargerRating(
                charge_w=what.charge_w,
                discharge_w=what.discharge_w,
                follow_s=_seconds(what.follow_ms),
                excess_s=_seconds(what.excess_ms),
                open_s=_seconds(what.open_ms),
                close_s=_seconds(what.close_ms),
                grace_s=_seconds(what.grace_ms),
                stop_s=_seconds(what.stop_ms),
                voltage_s=_seconds(what.voltage_ms),
            )
            self._monitor = self._make(rating)
            self._monitor.feedback(now, closed=self._closed)
        elif self._monitor is not None:
            _pass_on(self._monitor, what, now)
            self._obey()

    def switch(self, now: float, *, closed: bool) -> None:
        self._commanded = closed
        if self._monitor is None:
            self.reason = "not_told"
        elif not closed:
            self._monitor.open(now)
            self._obey()
        elif self._monitor.close(now):
            self.reason = ""
        else:
            self._obey()

    def feedback(self, now: float, *, closed: bool) -> None:
        self._closed = closed
        if self._monitor is not None:
            self._monitor.feedback(now, closed=closed)
            self._obey()

    def tick(self, now: float) -> None:
        if self._monitor is None:
            return
        if self._commanded and not self.reason and now - self._input_at >= SILENT_S:
            self.reason = "not_told"
        self._monitor.tick(now)
        self._obey()

    def _obey(self) -> None:
        """A board can only open: what has to be lowered, and is not, is a flow beyond the command, which opens."""
        for verdict in [] if self._monitor is None else self._monitor.verdicts():
            if isinstance(verdict, Open):
                self.reason = verdict.reason


def _pass_on(monitor: Monitor, what: Input, now: float) -> None:
    match what:
        case inputs.Begin():
            monitor.begin(now)
        case inputs.Authorise(allowed=allowed, paused=paused):
            monitor.authorise(now, allowed=allowed, paused=paused)
        case inputs.Forget():
            monitor.forget_paused()
        case inputs.Stop():
            monitor.stop(now)
        case inputs.Fault(word=word, active=active):
            monitor.fault(word, now, active=active)
        case inputs.Bears():
            monitor.request(Request(bears=_output(what)), now)
        case inputs.Request():
            monitor.request(
                Request(
                    phase=None if what.phase is None else Phase(what.phase),
                    power_s=_seconds(what.power_ms),
                    closed_s=_seconds(what.closed_ms),
                    ready=what.ready,
                    target_mv=what.target_mv,
                    notice_s=None if what.notice_ms is None else _seconds(what.notice_ms),
                ),
                now,
            )
        case inputs.Limit(source=source):
            given = {each: getattr(what, each) for each in ("charge_w", "discharge_w", "charge_ma", "discharge_ma")}
            bounds = {name: value for name, value in given.items() if value is not None}
            from_s, until_s = now + _seconds(what.from_ms), now + _seconds(what.until_ms)
            monitor.limit(source, now, **bounds, from_s=max(0.0, from_s), until_s=max(0.0, until_s))
        case inputs.Discharge(rule=rule):
            monitor.discharge(rule, now)
        case inputs.Signed(power_w=power_w, until_ms=until_ms):
            monitor.signed(power_w, max(0.0, now + _seconds(until_ms)), now)
        case inputs.Drive():
            monitor.drive(_output(what), now)
        case inputs.Measured(voltage_mv=voltage_mv, current_ma=current_ma):
            monitor.measured(voltage_mv, current_ma, now)
        case inputs.Drawn(power_w=power_w):
            monitor.drawn(power_w, now, what.line_ma)


def _output(what: inputs.Bears | inputs.Drive) -> Output:
    return Output(what.charge_w, what.discharge_w, what.charge_ma, what.discharge_ma, what.voltage_mv)


def _seconds(milliseconds: int) -> float:
    return float("inf") if milliseconds >= FOREVER_MS else milliseconds / 1000
