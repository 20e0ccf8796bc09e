"""The controller's side of a control board: introduces itself, repeats commands, and detects a failure in 100 ms.

Pure: `receive`, `want` and `tick` take `now` (s, monotonic); `events()` returns events, `output()` the data to send.
"""

from typing import Final

import msgspec

from v2g.hardware.board import protocol
from v2g.hardware.board.inputs import Input

GREET_S: Final = 0.1
"""Interval of HELLO to a board that does not answer."""

_PENDING: Final = 64


class BoardUp(msgspec.Struct, frozen=True):
    """A board answered; everything is in the safe state."""

    hello: protocol.Hello


class BoardDown(msgspec.Struct, frozen=True):
    """The board failed (`board_lost`) or has another version (`board_incompatible`); it is in the safe state."""

    fault: str
    why: str


Event = BoardUp | BoardDown | protocol.BoardStatus | protocol.Temperatures


class BoardHost:
    """Sends HELLO until a board answers; then exchanges states until it stops responding."""

    def __init__(self, lost_s: float = protocol.LOST_S) -> None:
        self._lost_s = lost_s
        self._reader = protocol.LineReader()
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self.wanted = protocol.Set()
        """The commanded state."""
        self.hello: protocol.Hello | None = None
        """The board's introduction, while it is present."""
        self._down = ""
        self._obeys = False
        self._seq = 0
        self._received_at = 0.0
        self._next = 0.0
        self._unobeyed: dict[int, float] = {}
        self._silent_until = 0.0
        self._board_seq: int | None = None
        self._told = 0
        self._untaken: dict[int, tuple[Input, float]] = {}
        self.missed = 0
        """Lines of the board that never arrived."""

    @property
    def up(self) -> bool:
        """Whether a board is present and executes commands."""
        return self.hello is not None

    @property
    def broken(self) -> int:
        """Lines that were invalid, or had a wrong checksum."""
        return self._reader.broken

    def want(self, wanted: protocol.Set, now: float) -> None:
        """Command this state. Without a board it is forgotten: a board begins in the safe state."""
        if self.up and wanted != self.wanted:
            self.wanted = wanted
            self._send_set(now)

    def be_silent(self, until: float) -> None:
        """Send no commands until a time, for a test of the board's dead-man."""
        self._silent_until = until
        self._unobeyed.clear()
        self._untaken.clear()

    def tell(self, what: Input, now: float) -> None:
        """Tell a board with a monitor its next input. Without one, and in silence, it is forgotten."""
        if self.hello is not None and self.hello.monitor and now >= self._silent_until:
            self._told = self._told % (protocol.SEQUENCES - 1) + 1
            self._untaken[self._told] = (what, now)
            self._out.append(protocol.encode(protocol.BoardLine(self._count(), protocol.StatusQuery(self._told, what))))
            if len(self._untaken) > _PENDING:
                self._lose("board_lost", "does not take inputs of its monitor", now)

    def receive(self, data: bytes, now: float) -> None:
        """Process the board's data, split in any way."""
        for line in self._reader.feed(data):
            message = line.message
            match message:
                case protocol.Hello():
                    self._greeted(message, now)
                case protocol.BoardStatus() if self.up:
                    self._status(line.seq, message, now)
                case protocol.Temperatures() if self.up:
                    self._events.append(message)
                case protocol.RefusedLine() if self.up:
                    self._lose("board_lost", f"rejected: {message.reason}", now)

    def lost(self, why: str, now: float) -> None:
        """The port is lost."""
        self._lose("board_lost", why, now)

    def tick(self, now: float) -> None:
        """Send HELLO, repeat commands, and detect a failure."""
        if self.up and now - self._received_at >= self._lost_s:
            self._lose("board_lost", f"no response for {self._lost_s * 1000:.0f} ms", now)
        elif self.up and self._unobeyed and now - next(iter(self._unobeyed.values())) >= self._lost_s:
            self._lose("board_lost", "does not execute commands", now)
        elif self._untaken and now - next(iter(self._untaken.values()))[1] >= self._lost_s:
            self._lose("board_lost", "does not take inputs of its monitor", now)
        if now < self._next:
            return
        if self.up:
            for n, (what, since) in self._untaken.items():
                if now - since >= protocol.SET_S:
                    self._out.append(protocol.encode(protocol.BoardLine(self._count(), protocol.StatusQuery(n, what))))
            self._send_set(now)
        else:
            self._out.append(protocol.encode(protocol.BoardLine(0, protocol.Hello(version=protocol.VERSION))))
            self._next = now + GREET_S

    def deadline(self) -> float:
        """Return when `tick` has to be called."""
        if not self.up:
            return self._next
        oldest = min(self._unobeyed.values(), default=self._received_at)
        untaken = min((since for _, since in self._untaken.values()), default=self._received_at)
        return min(self._next, *(each + self._lost_s for each in (self._received_at, oldest, untaken)))

    def events(self) -> list[Event]:
        """Return the events, in order, and clear them."""
        events, self._events = self._events, []
        return events

    def output(self) -> bytes:
        """Return the data to send, and clear it."""
        out, self._out = b"".join(self._out), []
        return out

    # -- inside

    def _greeted(self, hello: protocol.Hello, now: float) -> None:
        if hello.version != protocol.VERSION:
            self._lose("board_incompatible", f"version {hello.version}, not {protocol.VERSION}", now)
            return
        known = self.hello
        if known is not None and known.boot != hello.boot:
            self._lose("board_lost", "restarted", now)
        if self.hello is None:
            self.hello, self._down, self._obeys = hello, "", False
            self._received_at, self._board_seq = now, None
            self._events.append(BoardUp(hello))
            self._send_set(now)

    def _status(self, seq: int, status: protocol.BoardStatus, now: float) -> None:
        if self._board_seq is not None:
            ahead = (seq - self._board_seq) % protocol.SEQUENCES
            if ahead == 0 or ahead > protocol.SEQUENCES // 2:
                return  # repeated, or late
            self.missed += ahead - 1
        self._board_seq = seq
        self._received_at = now
        if status.set in self._unobeyed:
            for sent in list(self._unobeyed):
                del self._unobeyed[sent]
                if sent == status.set:
                    break
            self._obeys = True
        if status.told in self._untaken:
            for n in list(self._untaken):
                del self._untaken[n]
                if n == status.told:
                    break
        if self._obeys:  # before that its state is not from our commands
            self._events.append(status)

    def _count(self) -> int:
        self._seq = self._seq % (protocol.SEQUENCES - 1) + 1
        return self._seq

    def _send_set(self, now: float) -> None:
        self._next = now + protocol.SET_S
        if now < self._silent_until:
            return
        self._count()
        self._out.append(
            protocol.encode(protocol.BoardLine(self._seq, msgspec.structs.replace(self.wanted, told=self._told)))
        )
        if len(self._unobeyed) < _PENDING:
            self._unobeyed[self._seq] = now

    def _lose(self, fault: str, why: str, now: float) -> None:
        if self._down == fault:
            return
        self.hello, self._down = None, fault
        self.wanted, self._told = protocol.Set(), 0  # as a board begins
        self._unobeyed.clear()
        self._untaken.clear()
        self._next = now
        self._events.append(BoardDown(fault, why))
