"""The server's side of Modbus TCP for registers: parses requests from a stream, and answers them. Pure.

Read Holding Registers (3), Read Input Registers (4), Write Single Register (6), Write Multiple Registers (16). The
callback must reject a request completely or not at all.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from v2g.errors import FrameError

Table = Literal["holding", "input"]

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3

MOST_READ: Final = 125
MOST_WRITTEN: Final = 123
_HEADER: Final = struct.Struct(">HHHB")
"""Transaction, protocol (0), length of the rest, unit."""
_MOST_LENGTH: Final = 254


class ModbusRefused(Exception):
    """A request is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


Read = Callable[[Table, int, int], Sequence[int]]
"""Returns a number of registers from an address on. Raises ModbusRefused."""

Write = Callable[[int, Sequence[int]], None]
"""Writes holding registers from an address on, all or none. Raises ModbusRefused."""


class ModbusConversation:
    """One connection. The unit is ignored: a charger is one device."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read, self._write = read, write
        self._buffer = b""

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Process received bytes; return the answers. Raises FrameError for invalid Modbus TCP: close then."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= _MOST_LENGTH:
                raise FrameError("not a frame of Modbus TCP")
            end = _HEADER.size + length - 1
            if len(self._buffer) < end:
                return
            request, self._buffer = self._buffer[_HEADER.size : end], self._buffer[end:]
            answer = self._answer(request)
            yield _HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer

    def _answer(self, request: bytes) -> bytes:
        function, rest = request[0], request[1:]
        try:
            match function:
                case 3 | 4:
                    return bytes([function]) + self._do_read("holding" if function == 3 else "input", rest)
                case 6 | 16:
                    return bytes([function]) + self._do_write(rest, many=function == 16)
            raise ModbusRefused(ILLEGAL_FUNCTION)
        except ModbusRefused as refused:
            return bytes([function | 0x80, refused.code])

    def _do_read(self, table: Table, rest: bytes) -> bytes:
        if len(rest) != 4:
            raise ModbusRefused(ILLEGAL_VALUE)
        address, count = struct.unpack(">HH", rest)
        if not 1 <= count <= MOST_READ:
            raise ModbusRefused(ILLEGAL_VALUE)
        return bytes([2 * count]) + struct.pack(f">{count}H", *self._read(table, address, count))

    def _do_write(self, rest: bytes, *, many: bool) -> bytes:
        """Return the answer to a write: its first four bytes."""
        head, values = rest[:4], rest[2:]
        if many and len(rest) >= 5:
            count, size = struct.unpack_from(">HB", rest, 2)
            values = rest[5:] if 1 <= count <= MOST_WRITTEN and size == 2 * count == len(rest) - 5 else b""
        elif len(rest) != 4:
            values = b""
        if not values:
            raise ModbusRefused(ILLEGAL_VALUE)
        self._write(int.from_bytes(head[:2], "big"), struct.unpack(f">{len(values) // 2}H", values))
        return head
