"""A simulated control board: the reference firmware on a pseudo-terminal, connected to the simulated control pilot.

A charger configured for a real board can be tested without one, with a simulated vehicle at the other end of the
pilot wire. `v2g board-sim` runs it.
"""

import asyncio
import contextlib
import os
import pty
import tty
from pathlib import Path

import msgspec

from v2g.errors import ConfigError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.io.plc.pilot import ChargerSignal, VehicleSignal
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.io.simulation.wire import SimulatedWire

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
