"""A model of a control board's firmware: the reference for implementers, and a board for tests. Pure.

A board is the last line of defence: it opens the contactor when the pilot leaves C and D, when the emergency
stop is pressed, and when the controller has not responded for 100 ms; then it also shows F.
"""

from typing import Final, Literal, Protocol

import msgspec

from v2g.hardware.board import protocol
from v2g.hardware.board.inputs import Input
from v2g.iec61851.pilot import PilotFilter, PilotReading, PilotState, pilot_high_mv, pilot_low_mv, read_levels

TEMPERATURE_S: Final = 1.0
_SETTLE_S: Final = 0.005
"""Movement time of the contactor and the lock."""


class BoardInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The board's inputs. `resistance_ohm` None: nothing plugged in; temperatures in degrees C, None: broken.
    `welded` and `dead` are a contactor that stays closed or open, `jammed` a lock that does not move."""

    resistance_ohm: int | None = None
    diode: bool = True
    proximity_ohm: int | None = None
    estop: bool = False
    temperatures: tuple[tuple[str, float | None], ...] = (("board", 35.0), ("plug", 30.0))
    fan_rpm: int = 3_000
    welded: bool = False
    dead: bool = False
    jammed: bool = False


class BoardMonitor(Protocol):
    """The safety monitor on a board."""

    @property
    def reason(self) -> str:
        """Why it keeps the contactor open; empty if it does not."""

    def forget(self) -> None:
        """The controller was lost: begin anew."""

    def take(self, what: Input, now: float) -> None:
        """Take the controller's next input."""

    def switch(self, now: float, *, closed: bool) -> None:
        """The contactor is commanded to this state: closing may give a `reason`."""

    def feedback(self, now: float, *, closed: bool) -> None:
        """The auxiliary contact has this state."""

    def tick(self, now: float) -> None:
        """Time has passed."""


class BoardFirmware:
    """One board. `signal` is its output on the pilot wire; `silent` stops its messages, as a crash would."""

    def __init__(
        self,
        hello: protocol.Hello | None = None,
        lost_s: float = protocol.LOST_S,
        *,
        monitor: BoardMonitor | None = None,
    ) -> None:
        self._lost_s, self._monitor = lost_s, monitor
        self.hello = hello or protocol.Hello(
            version=protocol.VERSION,
            board="reference",
            serial="0",
            firmware="1",
            contactor=True,
            latch=True,
            fan=True,
            monitor=monitor is not None,
        )
        self.inputs = BoardInputs()
        self.silent = False
        self._reader = protocol.LineReader()
        self._out: list[bytes] = []
        self.wanted = protocol.Set()
        """The commanded state, or the safe state."""
        self._greeted = False
        self._obeyed = self._seq = self._told = 0
        self._commanded = False
        self._received_at: float | None = None
        self._closed = self._locked = False
        self._moves_at: float | None = None
        self._filter = PilotFilter(settle_s=0.01)
        self._reading: PilotReading | None = None
        self._reread_at: float | None = None
        self._status_at = self._temperature_at = 0.0
        self._reported: protocol.BoardStatus | None = None

    @property
    def signal(self) -> tuple[float | None, Literal["E", "F"] | None]:
        """The duty cycle in percent (None: oscillator off) and a forced E or F."""
        if self.wanted.pilot != "run":
            return None, self.wanted.pilot
        if not self.controlled:
            return None, "F"
        return (None if self.wanted.duty == protocol.OFF else self.wanted.duty / 100), None

    @property
    def controlled(self) -> bool:
        """Whether a controller has introduced itself and responds."""
        return self._received_at is not None

    @property
    def contactor_closed(self) -> bool:
        """Whether the contactor's main contacts are closed."""
        return self._closed

    def wire(self, inputs: BoardInputs, now: float) -> None:
        """Handle a change of the inputs."""
        self.inputs = inputs
        self._act(now)

    def receive(self, data: bytes, now: float) -> None:
        """Process the controller's data."""
        for line in self._reader.feed(data):
            match line.message:
                case protocol.Hello(version=version):
                    self._greeted, self._temperature_at = version == protocol.VERSION, now
                    self._begin_telling()
                    self._say(self.hello if self._greeted else protocol.RefusedLine(reason="version"))
                    if not self._greeted:
                        self._say(self.hello)
                case protocol.Set() | protocol.StatusQuery() if not self._greeted:
                    self._say(protocol.RefusedLine(reason="hello_first"))
                case protocol.StatusQuery(n=n, input=what):
                    if self._monitor is not None and n == self._told % (protocol.SEQUENCES - 1) + 1:
                        self._told = n
                        self._monitor.take(what, now)
                case protocol.Set() as wanted:
                    self.wanted, self._obeyed, self._received_at = wanted, line.seq, now
        self._act(now)

    def tick(self, now: float) -> None:
        """Watch the controller, move parts, and report."""
        if self._received_at is not None and now - self._received_at >= self._lost_s:
            self._received_at, self.wanted, self._greeted = None, protocol.Set(), False
            self._begin_telling()
        self._act(now)

    def deadline(self) -> float:
        """Return when `tick` has to be called."""
        times = [self._status_at, self._moves_at, self._reread_at]
        times.append(None if self._received_at is None else self._received_at + self._lost_s)
        return min(at for at in times if at is not None)

    def output(self) -> bytes:
        """Return the output, and clear it."""
        out, self._out = b"".join(self._out), []
        return b"" if self.silent else out

    # -- inside

    def _begin_telling(self) -> None:
        self._told = 0
        if self._monitor is not None:
            self._monitor.forget()

    def _act(self, now: float) -> None:
        reading = read_levels(*self._levels())
        if reading != self._reading:
            self._reading, self._reread_at = reading, now
        if self._reread_at is not None and now >= self._reread_at:
            self._filter.feed(reading, now)
            settled = self._filter.state is reading.state or (
                reading.state is None and self._filter.state is PilotState.E
            )
            self._reread_at = None if settled else now + 0.011
        if self._monitor is not None:
            self._monitor.tick(now)
        may = self.controlled and not self.inputs.estop and self._filter.state.ready
        commanded = self._allowed(now, wanted=self.wanted.contactor and may)
        close = self.inputs.welded or (commanded and not self.inputs.dead)
        lock = self._locked if self.inputs.jammed else self.wanted.latch
        if close is self._closed and lock is self._locked:
            self._moves_at = None
        elif self._moves_at is None:
            self._moves_at = now + _SETTLE_S
        elif now >= self._moves_at:
            self._closed, self._locked, self._moves_at = close, lock, None
            if self._monitor is not None:
                self._monitor.feedback(now, closed=close)
        high, low = self._levels()
        status = protocol.BoardStatus(
            set=self._obeyed,
            cp=self._filter.state.value,
            high=high,
            low=low,
            duty=self.wanted.duty if self.controlled else protocol.OFF,
            pp=self.inputs.proximity_ohm,
            contactor=self._closed,
            latch=self._locked,
            estop=self.inputs.estop,
            fan=self.inputs.fan_rpm * self.wanted.fan // 100,
            told=self._told,
            rule=self._monitor.reason if self._monitor is not None and self._commanded else "",
        )
        if status != self._reported or now >= self._status_at:
            self._reported = status
            self._status_at = now + protocol.STATUS_S
            self._say(status)
        if now >= self._temperature_at:
            self._temperature_at = now + TEMPERATURE_S
            self._say(
                protocol.Temperatures({n: None if t is None else round(t * 10) for n, t in self.inputs.temperatures})
            )

    def _levels(self) -> tuple[int, int | None]:
        duty, forced = self.signal
        if forced is not None:
            level = 0 if forced == "E" else -12_000
            return level, None
        ohm, diode = self.inputs.resistance_ohm, self.inputs.diode
        return pilot_high_mv(ohm, diode=diode), None if duty is None else pilot_low_mv(ohm, diode=diode)

    def _allowed(self, now: float, *, wanted: bool) -> bool:
        """Return whether the contactor is to be closed, by the monitor where there is one."""
        if self._monitor is None:
            return wanted
        wanted = wanted and (self._commanded or self.wanted.told == self._told)
        if wanted is not self._commanded:
            self._commanded = wanted
            self._monitor.switch(now, closed=wanted)
        return wanted and not self._monitor.reason

    def _say(
        self, message: protocol.Hello | protocol.BoardStatus | protocol.Temperatures | protocol.RefusedLine
    ) -> None:
        self._seq = (self._seq + 1) % protocol.SEQUENCES
        self._out.append(protocol.encode(protocol.BoardLine(self._seq, message)))
