"""Register maps of Modbus meters as data, and their decoding. Pure."""

import math
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.errors import FrameError
from v2g.hardware.interfaces import MeterValues

Kind = Literal["float32", "float64", "uint16", "int16", "uint32", "int32", "uint64", "int64"]

_FORMATS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "float32": ">f",
        "float64": ">d",
        "uint16": ">H",
        "int16": ">h",
        "uint32": ">I",
        "int32": ">i",
        "uint64": ">Q",
        "int64": ">q",
    }
)


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One value of a meter."""

    address: Annotated[int, Meta(ge=0, le=65_535)]
    """First register, counted from 0 as on the wire: 30073 of a data sheet is 72 of table `input`."""
    kind: Kind = "float32"
    """Encoding of the value."""
    scale: float = 1.0
    """Factor to Wh, V, A, W or Hz."""
    table: Literal["input", "holding"] = "input"
    """Its table."""
    words: Literal["high_first", "low_first"] = "high_first"
    """Order of its registers."""

    @property
    def count(self) -> int:
        """Number of its registers."""
        return struct.calcsize(_FORMATS[self.kind]) // 2

    def read(self, words: Sequence[int]) -> float:
        """Return the value of `words` (16 bits each). Raises FrameError for an invalid number."""
        if self.words == "low_first":
            words = words[::-1]
        data = b"".join(word.to_bytes(2, "big") for word in words)
        value = float(struct.unpack(_FORMATS[self.kind], data)[0]) * self.scale
        if not math.isfinite(value):
            raise FrameError(f"register {self.address} has {value}")
        return value


class RegisterMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of meter."""

    import_wh: Register
    """Energy towards the vehicle, never falling."""
    export_wh: Register
    """Energy from the vehicle, never falling."""
    voltage: Register | None = None
    """Voltage between phase and neutral, V, if available."""
    power: Register | None = None
    """Power of all phases, signed, W, if available."""
    frequency: Register | None = None
    """The grid's frequency, Hz, if available."""


MAPS: Final[Mapping[str, RegisterMap]] = MappingProxyType(
    {
        # Eastron SDM630: 30043 mean voltage, 30053 total power, 30071 frequency, 30073/30075 total import/export in kWh
        "sdm630": RegisterMap(
            import_wh=Register(address=0x48, scale=1000.0),
            export_wh=Register(address=0x4A, scale=1000.0),
            voltage=Register(address=0x2A),
            power=Register(address=0x34),
            frequency=Register(address=0x46),
        ),
        # ours: four values of 32 bits at the start of the holding registers
        "generic": RegisterMap(
            import_wh=Register(address=0, kind="uint32", table="holding"),
            export_wh=Register(address=2, kind="uint32", table="holding"),
            voltage=Register(address=4, kind="uint32", scale=0.001, table="holding"),
            power=Register(address=6, kind="int32", table="holding"),
        ),
    }
)
"""Configured name -> map."""


def values_of(registers: RegisterMap, read: Mapping[str, Sequence[int]]) -> MeterValues:
    """Return the values of a poll; `read` has the words of each field of the map. Raises FrameError."""
    import_wh = registers.import_wh.read(read["import_wh"])
    export_wh = registers.export_wh.read(read["export_wh"])
    if import_wh < 0 or export_wh < 0:
        raise FrameError("a register of energy is negative")
    voltage = registers.voltage.read(read["voltage"]) if registers.voltage is not None else None
    power = registers.power.read(read["power"]) if registers.power is not None else None
    frequency = registers.frequency.read(read["frequency"]) if registers.frequency is not None else None
    return MeterValues(
        round(import_wh * 1000),
        round(export_wh * 1000),
        None if voltage is None else round(voltage * 1000),
        None if power is None else round(power),
        None if frequency is None else round(frequency * 1000),
    )
