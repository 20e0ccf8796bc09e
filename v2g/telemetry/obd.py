"""Reading a vehicle's control units: OBD-II (SAE J1979, ISO 15031-5) and UDS (ISO 14229-1) requests and answers (R212).

Nothing here can write: a request is one of three reading services, and one frame long.
"""

from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.telemetry.gnss import ODOMETER
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.ovms import HIGHWAY_KMH
from v2g.telemetry.signals import SIGNALS


class ReadService(IntEnum):
    """Services that only read."""

    CURRENT_DATA = 0x01
    VEHICLE_INFORMATION = 0x09
    DATA_BY_IDENTIFIER = 0x22


class ReadRequest(msgspec.Struct, frozen=True):
    """What is asked for: a parameter (one octet), or a data identifier of UDS (two)."""

    service: ReadService
    what: Annotated[int, Meta(ge=0, le=0xFFFF)]

    @property
    def data(self) -> bytes:
        """The request. Raises ValueError for a service that does not read."""
        return bytes([ReadService(self.service)]) + self._what

    @property
    def _what(self) -> bytes:
        return self.what.to_bytes(2 if self.service == ReadService.DATA_BY_IDENTIFIER else 1, "big")

    def content(self, answer: bytes) -> bytes | None:
        """Return what follows the echo in a positive answer to this request; None: it is another one."""
        echo = bytes([self.service | _POSITIVE]) + self._what
        return answer[len(echo) :] if answer.startswith(echo) else None

    def refusal(self, answer: bytes) -> int | None:
        """Return the code of a negative answer to this request; None: it is another one."""
        return answer[2] if len(answer) == 3 and answer[:2] == bytes([_NEGATIVE, self.service]) else None


_POSITIVE, _NEGATIVE = 0x40, 0x7F
PENDING: Final = 0x78
"""The answer follows later."""


class UnitValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that a control unit tells by UDS: `scale` times its number, plus `offset`, in the signal's unit."""

    did: Annotated[int, Meta(ge=0, le=0xFFFF, description="data identifier, such as 0x0101")]
    signal: Annotated[str, Meta(description="name of the signal")]
    first: Annotated[int, Meta(ge=0, le=4092, description="first octet behind the identifier, from 0")] = 0
    octets: Annotated[int, Meta(ge=1, le=8, description="length, the highest octet first")] = 1
    signed: Annotated[bool, Meta(description="whether it is a two's complement")] = False
    scale: Annotated[float, Meta(ge=-1e9, le=1e9, description="unit of its number")] = 1.0
    offset: Annotated[float, Meta(ge=-1e9, le=1e9, description="value of number 0")] = 0.0

    def __post_init__(self) -> None:
        """Reject signals that are unknown."""
        if self.signal not in SIGNALS:
            raise ValueError(f"{self.signal!r} is not a signal: the reference of telemetry lists them")

    @property
    def request(self) -> ReadRequest:
        """What asks for it."""
        return ReadRequest(ReadService.DATA_BY_IDENTIFIER, self.did)

    def read(self, content: bytes) -> Mapped | None:
        """Return the value in an answer; None: the answer is too short."""
        part = content[self.first : self.first + self.octets]
        if len(part) < self.octets:
            return None
        number = int.from_bytes(part, "big", signed=self.signed) * self.scale + self.offset
        if self.signal != _SPEED or not number:
            return Mapped({self.signal: number})
        return Mapped({self.signal: number}, "highway" if number > HIGHWAY_KMH else "city")


_SPEED: Final = "vehicle.speed"

PARAMETERS: Final = {
    0x0D: UnitValue(0, _SPEED),
    0x46: UnitValue(0, "ambient.temperature", offset=-40.0),
    0x5B: UnitValue(0, "battery.soc", scale=100 / 255),
    0xA6: UnitValue(0, ODOMETER, octets=4, scale=0.1),
}
"""Parameters of service 0x01 that are signals (J1979-DA); their `did` is not used."""

VIN_REQUESTS: Final = (
    ReadRequest(ReadService.VEHICLE_INFORMATION, 0x02),
    ReadRequest(ReadService.DATA_BY_IDENTIFIER, 0xF190),
)


def vin_of(content: bytes) -> str:
    """Return the VIN in the answer to one of `VIN_REQUESTS`: 17 characters at its end."""
    return content.rstrip(b"\0")[-17:].decode("ascii", "replace")


def supported(first: int, content: bytes) -> frozenset[int]:
    """Return the parameters that a unit has, by its answer to parameter `first` (0x00, 0x20, ...) of service 0x01."""
    bits = int.from_bytes(content[:4], "big") if len(content) >= 4 else 0
    return frozenset(first + 1 + place for place in range(32) if bits >> 31 - place & 1)
