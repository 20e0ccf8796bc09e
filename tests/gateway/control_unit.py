"""A control unit on a CAN bus, independent of what reads it: scapy cuts its answers into frames (ISO 15765-2)."""

from collections.abc import Callable
from typing import Any, Self

from scapy.contrib.isotp import ISOTP

from v2g.io.can import CanConfig, CanPort

VIN = "WV2ZZZ7HZ8H000001"


class ControlUnit:
    """Answers single-frame requests by `answers`: what it returns for a request, frame by frame as flow control lets
    it; nothing for None. `requests` and `flow` are what it has received."""

    def __init__(
        self, can: CanConfig, answers: Callable[[bytes], bytes | None], request_id: int = 0x7E0, answer_id: int = 0x7E8
    ) -> None:
        self.requests: list[bytes] = []
        self.flow: list[bytes] = []
        self.others: list[int] = []
        self._answers, self._request_id, self._answer_id = answers, request_id, answer_id
        self._rest: list[bytes] = []
        self._port = CanPort(can, self._received)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._port.close()

    def _received(self, frame_id: int, data: bytes, _: float) -> None:
        if frame_id != self._request_id:
            self.others.append(frame_id)
        elif data[0] >> 4 == 0:
            request = data[1 : 1 + data[0]]
            self.requests.append(request)
            answer = self._answers(request)
            if answer is not None:
                first, *self._rest = _frames(answer)
                self._port.send(self._answer_id, first)
        else:
            self.flow.append(data)
            if data[0] == 0x30:
                rest, self._rest = self._rest, []
                for each in rest:
                    self._port.send(self._answer_id, each)

    def send(self, data: bytes) -> None:
        """Send a frame that nobody asked for."""
        self._port.send(self._answer_id, data)


def _frames(answer: bytes) -> list[bytes]:
    cut: Any = ISOTP(answer, rx_id=0x7E8)
    return [bytes(each.data) for each in cut.fragment()]


class Vehicle:
    """What a vehicle's unit answers: parameters of J1979, its VIN, and an identifier of UDS in 30 octets. `number`
    counts how often that was asked."""

    def __init__(self, vin: str = VIN) -> None:
        self.number, self._vin = 0, vin.encode()

    def __call__(self, request: bytes) -> bytes | None:
        """Return the answer to a request."""
        match request:
            case b"\x01\x00":
                return bytes.fromhex("4100 00080001")
            case b"\x01\x20":
                return bytes.fromhex("4120 00000001")
            case b"\x01\x40":
                return bytes.fromhex("4140 04000021")
            case b"\x01\x60" | b"\x01\x80":
                return bytes([0x41, request[1]]) + bytes.fromhex("00000001")
            case b"\x01\xa0":
                return bytes.fromhex("41a0 04000000")
            case b"\x01\x0d":
                return bytes.fromhex("410d 5a")
            case b"\x01\x46":
                return bytes.fromhex("4146 3c")
            case b"\x01\x5b":
                return bytes.fromhex("415b 80")
            case b"\x01\xa6":
                return bytes.fromhex("41a6 0001e240")
            case b"\x09\x02":
                return b"\x49\x02\x01" + self._vin
            case b"\x22\x01\x01":
                self.number += 1
                return b"\x62\x01\x01" + (self.number).to_bytes(4, "big") + bytes(26)
        return bytes([0x7F, request[0], 0x31])
