"""Frames of IEC 60870-5-104, and one connection of a controlled station: start and stop, acknowledgement, timers.

Clause 5 of the standard by public implementations: numbers modulo 32768, k, w, and times t1 to t3. Time is an argument.
"""

from collections import deque
from enum import IntEnum
from typing import Final

import msgspec

from v2g.errors import FrameError

START: Final = 0x68
MOST_ASDU: Final = 249
"""Octets of an ASDU."""
_CONTROL: Final = 4
_MODULUS: Final = 1 << 15


class UFunction(IntEnum):
    """The functions of frames without a number."""

    STARTDT_ACT = 0x07
    STARTDT_CON = 0x0B
    STOPDT_ACT = 0x13
    STOPDT_CON = 0x23
    TESTFR_ACT = 0x43
    TESTFR_CON = 0x83


_U_OCTETS: Final = frozenset(UFunction)


class LinkTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a connection: `k` own frames unacknowledged at most, acknowledgement after `w` received ones; times
    in s: `t1_s` for an answer, `t2_s` until an acknowledgement, `t3_s` of silence until a test."""

    k: int = 12
    w: int = 8
    t1_s: float = 15.0
    t2_s: float = 10.0
    t3_s: float = 20.0


def u_frame(function: UFunction) -> bytes:
    """Return a frame without a number."""
    return bytes((START, _CONTROL, function, 0, 0, 0))


def s_frame(received: int) -> bytes:
    """Return a frame that acknowledges all below a number."""
    return bytes((START, _CONTROL, 1, 0)) + _number(received)


def i_frame(sent: int, received: int, asdu: bytes) -> bytes:
    """Return a numbered frame with an ASDU."""
    return bytes((START, _CONTROL + len(asdu))) + _number(sent) + _number(received) + asdu


def _number(number: int) -> bytes:
    return (number << 1).to_bytes(2, "little")


class ApciConnection:
    """One connection of a controlled station, stopped until the control centre starts it.

    `received` and `tick` return the octets to send, `asdus` the ASDUs that came meanwhile. Raises FrameError where the
    connection has to be closed.
    """

    def __init__(self, times: LinkTimes, now_s: float) -> None:
        self._times = times
        self._buffer = bytearray()
        self._sent = self._received = self._acknowledged = 0
        self._unacknowledged: deque[tuple[bytes, float]] = deque()
        self._waits_since: float | None = None
        self._to_acknowledge = 0
        self._heard_s = now_s
        self._tested_s: float | None = None
        self._stops = False
        self.started = False
        self.asdus: list[bytes] = []

    @property
    def room(self) -> int:
        """How many ASDUs may be sent now."""
        return self._times.k - len(self._unacknowledged) if self.started else 0

    def send(self, asdu: bytes, now_s: float) -> bytes:
        """Return the frame of an ASDU; there must be room."""
        frame = i_frame(self._sent, self._received, asdu)
        self._sent = (self._sent + 1) % _MODULUS
        self._unacknowledged.append((asdu, now_s))
        self._to_acknowledge, self._waits_since = 0, None
        return frame

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Take received octets, and return the answers. Raises FrameError."""
        self._buffer += data
        out = bytearray()
        while len(self._buffer) >= 2:
            if self._buffer[0] != START:
                raise FrameError(f"a frame of IEC 60870-5-104 begins with 68 hex, not {self._buffer[0]:02x}")
            length = self._buffer[1]
            if not _CONTROL <= length <= _CONTROL + MOST_ASDU:
                raise FrameError(f"a frame of {length} octets")
            if len(self._buffer) < 2 + length:
                break
            body = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            self._heard_s = now_s
            out += self._take(body, now_s)
        return bytes(out)

    def tick(self, now_s: float) -> bytes:
        """Return what is due: an acknowledgement, a test. Raises FrameError when the peer has not answered in time."""
        times = self._times
        oldest = self._unacknowledged[0][1] if self._unacknowledged else None
        for since in (oldest, self._tested_s):
            if since is not None and now_s - since >= times.t1_s:
                raise FrameError(f"no acknowledgement within {times.t1_s:g} s")
        out = b""
        if self._waits_since is not None and now_s - self._waits_since >= times.t2_s:
            out += self._acknowledge()
        if self._tested_s is None and now_s - self._heard_s >= times.t3_s:
            self._tested_s = now_s
            out += u_frame(UFunction.TESTFR_ACT)
        return out

    def stop(self) -> tuple[bytes, ...]:
        """Send no more ASDUs; return those that may not have arrived, the oldest first, for another connection."""
        self.started = False
        left = tuple(asdu for asdu, _ in self._unacknowledged if asdu)
        self._unacknowledged = deque((b"", since) for _, since in self._unacknowledged)
        return left

    def _take(self, body: bytes, now_s: float) -> bytes:
        control = body[0]
        if control & 1 == 0:
            return self._take_numbered(body, now_s)
        if len(body) != _CONTROL:
            raise FrameError("a frame without a number has no ASDU")
        received = int.from_bytes(body[2:4], "little") >> 1
        if control == 1:
            self._confirm(received)
            return self._stopped()
        if control not in _U_OCTETS:
            raise FrameError(f"unknown function {control:02x}")
        return self._take_function(UFunction(control))

    def _take_function(self, function: UFunction) -> bytes:
        match function:
            case UFunction.STARTDT_ACT:
                self.started, self._stops = True, False
                return u_frame(UFunction.STARTDT_CON)
            case UFunction.STOPDT_ACT:
                self.started, self._stops = False, True
                return (self._acknowledge() if self._to_acknowledge else b"") + self._stopped()
            case UFunction.TESTFR_ACT:
                return u_frame(UFunction.TESTFR_CON)
            case UFunction.TESTFR_CON:
                self._tested_s = None
                return b""
        raise FrameError(f"{function.name} without a request")

    def _stopped(self) -> bytes:
        """Confirm a stop once all is acknowledged: a control centre acknowledges nothing after it."""
        if not self._stops or self._unacknowledged:
            return b""
        self._stops = False
        return u_frame(UFunction.STOPDT_CON)

    def _take_numbered(self, body: bytes, now_s: float) -> bytes:
        if not self.started:
            raise FrameError("an ASDU before STARTDT")
        sent, received = (int.from_bytes(body[at : at + 2], "little") >> 1 for at in (0, 2))
        if body[2] & 1:
            raise FrameError("a receive number with its lowest bit set")
        if sent != self._received:
            raise FrameError(f"frame {sent} received, {self._received} expected")
        self._confirm(received)
        self._received = (self._received + 1) % _MODULUS
        self.asdus.append(body[_CONTROL:])
        self._to_acknowledge += 1
        self._waits_since = now_s if self._waits_since is None else self._waits_since
        return self._acknowledge() if self._to_acknowledge >= self._times.w else b""

    def _confirm(self, number: int) -> None:
        count = (number - self._acknowledged) % _MODULUS
        if count > len(self._unacknowledged):
            raise FrameError(f"frames below {number} are acknowledged, but not sent")
        for _ in range(count):
            self._unacknowledged.popleft()
        self._acknowledged = number

    def _acknowledge(self) -> bytes:
        self._to_acknowledge, self._waits_since = 0, None
        return s_frame(self._received)
