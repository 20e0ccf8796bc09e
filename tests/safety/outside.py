"""Everything at a charger that is not its program, in another process: control board, power modules or mains with a
meter, and the line to the vehicle. Its own clock says when the contactor is open and when no current flows.

The program has a serial port to the board and one to the modules or the meter, as at a real charger. So what the
hardware does by itself when the program falls silent, happens here.
"""

import abc
import asyncio
import contextlib
import os
import pty
import struct
import time
import tty
from collections.abc import Callable
from typing import Literal

import msgspec
from pymodbus.framer import FramerRTU

from tests.hardware.power_modules.bank_sim import ModuleBank
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.protocol import VERSION, BoardLine, BoardStatus, Hello, LineReader, encode
from v2g.hardware.power_modules.bank import ModulesConfig, load_database
from v2g.hardware.simulation import StageLoad
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator
from v2g.io.simulation.lines import ChargerAcLine, ChargerDcLine, VehicleDcLine
from v2g.io.simulation.medium import Medium

STEP_S = 0.005
"""Between two looks, s: what is measured is late by this at most."""

MAINS_MV = 230_000


class Seen(msgspec.Struct, frozen=True):
    """What was the case from `at` on (s, CLOCK_MONOTONIC): both contactors, volts and amperes of the charger."""

    at: float
    closed: bool
    vehicle_closed: bool
    volts: int
    amperes: int

    @property
    def flows(self) -> bool:
        """Whether current is made."""
        return self.amperes != 0

    @property
    def on(self) -> bool:
        """Whether the charger's contactor is closed, or current is made."""
        return self.closed or self.flows


class Record:
    """What was measured, in order; an entry for each change."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    @property
    def now(self) -> Seen:
        """What is the case."""
        return self.seen[-1]

    def note(self, *, closed: bool, vehicle_closed: bool, volts: int, amperes: int) -> None:
        """Take what is the case now."""
        seen = Seen(time.monotonic(), closed, vehicle_closed, volts, amperes)
        if not self.seen or msgspec.structs.replace(seen, at=self.now.at) != self.now:
            self.seen.append(seen)

    def last(self, held: Callable[[Seen], bool], *, since: float) -> float:
        """Return until how many seconds after a moment something held; it does not hold now."""
        assert not held(self.now), self.now
        after = zip(self.seen, self.seen[1:], strict=False)
        return max((until.at - since for one, until in after if held(one) and until.at > since), default=0.0)


class Machine(Clock):
    """The machine's own time, as a board has it: a loop of tests counts less while it is kept from running, and a board
    that goes by that lets go later than the program, in whose time it is tested, may expect."""

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()


class Board(BoardFirmware):
    """A board that may get stuck. `stale` "lines": it says its last line again and again; "readings": what it says of
    itself stands still, while its lines are numbered on."""

    def __init__(self, *, lost_s: float) -> None:
        super().__init__(lost_s=lost_s)
        self.stale: Literal["", "lines", "readings"] = ""
        self._lines, self._last_status = LineReader(), BoardLine(0, Hello(version=VERSION))

    def output(self) -> bytes:
        """See BoardFirmware."""
        return b"".join(encode(self._passed(line)) for line in self._lines.feed(super().output()))

    def _passed(self, line: BoardLine) -> BoardLine:
        if self.stale == "lines":
            return self._last_status
        if not isinstance(line.message, BoardStatus):
            return line
        if not self.stale:
            self._last_status = line
        return BoardLine(line.seq, self._last_status.message)


class Outside(Record, abc.ABC):
    """The hardware of one charger: a control board, and what else has a serial port of its own. `board` and `port` are
    the ports that the program opens."""

    def __init__(self, medium: Medium, *, lost_s: float) -> None:
        """`lost_s`: the silence after which the board lets go; `medium`: the line to the vehicle, and its pilot."""
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._firmware = Board(lost_s=lost_s)
        self._board = BoardSimulator(Machine(), medium, firmware=self._firmware)
        self._far, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._far, False)
        self.board, self.port = self._board.device, os.ttyname(self._slave)
        self._timer = self._loop.call_soon(self._run)

    def close(self) -> None:
        """Take everything away."""
        self._timer.cancel()
        self._board.close()
        os.close(self._far)
        os.close(self._slave)

    def weld(self) -> None:
        """Let the contactor stay where it is: closed."""
        self._board.set(welded=True)

    def press_stop(self) -> None:
        """Press the emergency stop."""
        self._board.set(estop=True)

    def repeat_board(self, what: Literal["lines", "readings"]) -> None:
        """Let the board say nothing new any more; see Board."""
        self._firmware.stale = what

    @property
    def closed(self) -> bool:
        """Whether the board's contactor is closed."""
        return self._firmware.contactor_closed

    @abc.abstractmethod
    def _step(self, now: float) -> None:
        """Let time pass, and note what is the case."""

    def _run(self) -> None:
        self._step(time.monotonic())
        self._timer = self._loop.call_later(STEP_S, self._run)

    def _receive(self) -> bytes:
        """Return what the program has sent to `port`."""
        with contextlib.suppress(BlockingIOError, OSError):
            return os.read(self._far, 4096)
        return b""

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: lost, as on a bus
            os.write(self._far, data)


class OutsideDc(Outside):
    """Direct current: `port` is the bus of the power modules."""

    def __init__(self, medium: Medium, *, lost_s: float) -> None:
        super().__init__(medium, lost_s=lost_s)
        self._bank = ModuleBank(ModulesConfig(interface="serial"), load_database(None))
        self._line = ChargerDcLine(medium)
        self._read = b""

    def repeat_modules(self) -> None:
        """Let every module say its last frame again and again."""
        for unit in self._bank.units.values():
            unit.frozen = True

    def turn_sign(self) -> None:
        """Let every module measure its current the wrong way round."""
        for unit in self._bank.units.values():
            unit.reversed = True

    def _step(self, now: float) -> None:
        for frame_id, data in self._frames():
            self._bank.receive(frame_id, data, now)
        closed, vehicle = self.closed, self._line.vehicle
        self._bank.load = vehicle and StageLoad(
            vehicle.voltage_mv,
            vehicle.contactor_closed and closed,
            vehicle.max_charge_ma,
            vehicle.max_discharge_ma,
        )
        for frame_id, data in self._bank.tick(now):
            self._send(b"\xaa" + struct.pack("<IBI", 0, len(data), frame_id) + data + b"\xbb")
        (unit,) = self._bank.units.values()
        self._line.publish(unit.model.voltage_mv, unit.model.current_ma, contactor_closed=closed)
        held = vehicle is not None and vehicle.contactor_closed
        volts, amperes = unit.model.voltage_mv // 1000, unit.model.current_ma // 1000
        self.note(closed=closed, vehicle_closed=held, volts=volts, amperes=amperes)

    def _frames(self) -> list[tuple[int, bytes]]:
        """Return what the program has sent on the bus, framed as python-can's `serial` does it."""
        self._read += self._receive()
        frames = []
        while len(self._read) >= 10 and len(self._read) >= 11 + self._read[5]:
            length = self._read[5]
            (frame_id,) = struct.unpack_from("<I", self._read, 6)
            frames.append((frame_id, self._read[10 : 10 + length]))
            self._read = self._read[11 + length :]
        return frames


class OutsideAc(Outside):
    """Alternating current: mains behind the board's contactor; `port` is the line of the meter, with the register map
    `generic`. What is drawn counts as the vehicle's contactor: nobody outside sees more of it."""

    def __init__(self, medium: Medium, *, lost_s: float) -> None:
        super().__init__(medium, lost_s=lost_s)
        self._line = ChargerAcLine(medium)
        self._times = 1
        self._watts, self._joules, self._at = 0, 0.0, time.monotonic()

    def draw(self, times: int) -> None:
        """Let so many times the current flow that the vehicle believes to draw."""
        self._times = times

    def _step(self, now: float) -> None:
        self._joules, self._at = self._joules + self._watts * (now - self._at), now
        closed, vehicle = self.closed, self._line.seen
        drawn_ma = vehicle.currents.total_ma * self._times if vehicle is not None else 0
        current_ma, voltage_mv = (drawn_ma, MAINS_MV) if closed else (0, 0)
        self._watts = current_ma * voltage_mv // 1_000_000
        self._line.publish(voltage_mv, 3, contactor_closed=closed)
        self.note(closed=closed, vehicle_closed=drawn_ma != 0, volts=voltage_mv // 1000, amperes=current_ma // 1000)
        self._answer(voltage_mv)

    def _answer(self, voltage_mv: int) -> None:
        """Answer a Modbus request; the master waits for each answer before it sends the next."""
        request = self._receive()
        if len(request) != 8:
            return
        unit, function, address, count = struct.unpack(">BBHH", request[:6])
        table = struct.pack(">IIIi", int(self._joules / 3600), 0, voltage_mv, self._watts)
        data = table[2 * address : 2 * (address + count)]
        answer = struct.pack(">BBB", unit, function, len(data)) + data
        self._send(answer + FramerRTU.compute_CRC(answer).to_bytes(2, "big"))


class Watcher(Record):
    """Only listens: what a charger whose hardware is simulated in its own program puts on the line."""

    def __init__(self, medium: Medium) -> None:
        super().__init__()
        self._charger, self._vehicle = VehicleDcLine(medium), ChargerDcLine(medium)
        self._charger.on_change(lambda _: self._look())
        self._vehicle.on_change(lambda _: self._look())
        self._look()

    def _look(self) -> None:
        charger, vehicle = self._charger.charger, self._vehicle.vehicle
        held = vehicle is not None and vehicle.contactor_closed
        if charger is None:
            self.note(closed=False, vehicle_closed=held, volts=0, amperes=0)
        else:
            self.note(
                closed=charger.contactor_closed,
                vehicle_closed=held,
                volts=charger.voltage_mv // 1000,
                amperes=charger.current_ma // 1000,
            )
