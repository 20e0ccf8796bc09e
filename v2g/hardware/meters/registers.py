"""Register maps of Modbus meters as data: shipped and own files, requests that read a map, and decoding. Pure."""

import importlib.resources
import math
import struct
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.config import nearest, parse_config
from v2g.energy.conductors import Currents
from v2g.errors import ConfigError, FrameError, TransportError
from v2g.hardware.energy_manager.modbus_server import MOST_READ, Table
from v2g.hardware.interfaces import MeterValues

Kind = Literal["float32", "float64", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
Order = Literal["high_first", "low_first"]
Unit = Literal["Wh", "kWh", "MWh", "V", "mV", "W", "kW", "A", "mA", "Hz", "mHz"]

_FORMATS: Final[Mapping[Kind, str]] = {
    "float32": ">f",
    "float64": ">d",
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "uint64": ">Q",
    "int64": ">q",
}
_FACTORS: Final[Mapping[Unit, float]] = {
    "Wh": 1,
    "kWh": 1e3,
    "MWh": 1e6,
    "V": 1,
    "mV": 1e-3,
    "W": 1,
    "kW": 1e3,
    "A": 1,
    "mA": 1e-3,
    "Hz": 1,
    "mHz": 1e-3,
}
_UNITS: Final[Mapping[str, tuple[Unit, ...]]] = {
    "import_wh": ("Wh", "kWh", "MWh"),
    "export_wh": ("Wh", "kWh", "MWh"),
    "voltage": ("V", "mV"),
    "power": ("W", "kW"),
    "frequency": ("Hz", "mHz"),
    "line_current": ("A", "mA"),
    "line_power": ("W", "kW"),
    "line_voltage": ("V", "mV"),
}
"""Quantity of a map -> its units."""
_NEEDED: Final = ("import_wh", "export_wh", "power")
"""Quantities that a charger cannot do without; power keeps it within its limits."""

MOST_LINE_A: Final = 1000
"""A line current above this, A, is an error of the meter: no connection for vehicles carries it."""

MOST_EXPONENT: Final = 10
"""Range of exponents: SunSpec's scale factors are -10 to 10."""

Words = Mapping[tuple[Table, int], int]
"""What was read: table and address -> register, 0 to 65535."""


class MeterRegister(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One value of a meter: the number in its registers times `scale`, in `unit`."""

    address: Annotated[int, Meta(ge=0, le=65_535)]
    """First register, counted from 0 as on the wire: 30073 of a data sheet is 72 of table `input`."""
    kind: Kind = "float32"
    """Encoding of the value."""
    scale: Annotated[float, Meta(ge=-(10**9), le=10**9)] = 1.0
    """Factor to `unit`; below 0 for a power that the meter counts positive out of the vehicle."""
    unit: Unit | None = None
    """Unit of the scaled value; none: Wh, V, W, A or Hz."""
    table: Literal["input", "holding"] = "input"
    """Its table: `input` is read by function 4, `holding` by function 3."""
    words: Order = "high_first"
    """Order of its registers."""
    octets: Order = "high_first"
    """Order of the octets in each register."""
    exponent: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    """Register (int16) with a power of ten as a further factor, such as a scale factor of SunSpec."""
    absent: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Content of the registers, read as a number without sign, that means that there is no value."""

    @property
    def count(self) -> int:
        """Number of its registers."""
        return struct.calcsize(_FORMATS[self.kind]) // 2

    def read(self, words: Sequence[int], exponent: int = 0) -> float:
        """Return the value of `words` (16 bits each) in Wh, V, W, A or Hz. Raises FrameError for an invalid number."""
        if self.words == "low_first":
            words = words[::-1]
        data = b"".join(word.to_bytes(2, "big" if self.octets == "high_first" else "little") for word in words)
        if self.absent is not None and int.from_bytes(data, "big") == self.absent:
            raise FrameError(f"register {self.address} has no value")
        exponent = exponent - 0x10000 if exponent & 0x8000 else exponent
        if abs(exponent) > MOST_EXPONENT:
            raise FrameError(f"register {self.exponent} has the exponent {exponent}")
        factor = self.scale * 10.0**exponent * (1 if self.unit is None else _FACTORS[self.unit])
        value = float(struct.unpack(_FORMATS[self.kind], data)[0]) * factor
        if not math.isfinite(value):
            raise FrameError(f"register {self.address} has {value}")
        return value


class LineRegisters(MeterRegister, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value of each line: `address` has that of L1."""

    step: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Registers from a line's value to that of the next one."""
    lines: Annotated[int, Meta(ge=1, le=3)] = 3
    """How many lines have one; 1: a meter of one phase."""


class RegisterMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of meter."""

    import_wh: MeterRegister
    """Energy towards the vehicle, never falling."""
    export_wh: MeterRegister
    """Energy from the vehicle, never falling."""
    voltage: MeterRegister | None = None
    """Voltage between phase and neutral, or of direct current, V, if available."""
    power: MeterRegister | None = None
    """Power of all phases, signed, W, if available."""
    frequency: MeterRegister | None = None
    """The grid's frequency, Hz, if available."""
    line_current: LineRegisters | None = None
    """Currents of L1 to L3, A; without sign each has that of its line's power, or of the power of all."""
    line_power: LineRegisters | None = None
    """Powers of L1 to L3, signed, W."""
    line_voltage: LineRegisters | None = None
    """Voltages of L1 to L3 to the neutral, V."""
    name: str = ""
    """Maker and types, for people."""
    source: str = ""
    """Where its registers are published."""
    most_gap: Annotated[int, Meta(ge=0, lt=MOST_READ)] = 0
    """Registers between two values that may be read along with them; 0 where the meter rejects that."""
    most_read: Annotated[int, Meta(ge=4, le=MOST_READ)] = MOST_READ
    """Registers that one request may read."""
    sunspec: tuple[Annotated[int, Meta(ge=1, le=65_534)], ...] = ()
    """Models of SunSpec, of which the meter has one: addresses count from its first register (its id)."""

    def __post_init__(self) -> None:
        """Reject units of other quantities, and values beyond the last register."""
        for quantity, register in self.registers():
            units = _UNITS[quantity.rstrip("_123")]
            if register.unit is not None and register.unit not in units:
                raise ValueError(f"{quantity}: the unit {register.unit} must be {' or '.join(units)}")
            if register.address + register.count > 0x10000:
                raise ValueError(f"{quantity}: {register.kind} at {register.address} ends beyond register 65535")

    def registers(self) -> Iterator[tuple[str, MeterRegister]]:
        """Yield every quantity that the meter has, those of lines by their number, and its register."""
        for quantity in _UNITS:
            register = getattr(self, quantity)
            if isinstance(register, LineRegisters):
                for line in range(register.lines):
                    address = register.address + line * register.step
                    yield f"{quantity}_{line + 1}", msgspec.structs.replace(register, address=address)
            elif register is not None:
                yield quantity, register

    @property
    def measures_lines(self) -> bool:
        """Whether it has what the current of each line conductor follows from."""
        return self.line_current is not None or self.line_power is not None

    def requests(self) -> tuple[tuple[Table, int, int], ...]:
        """Return the fewest requests that read the map: table, first register and their number, in order."""
        parts = {(each.table, each.address, each.count) for _, each in self.registers()}
        parts |= {(each.table, each.exponent, 1) for _, each in self.registers() if each.exponent is not None}
        requests: list[tuple[Table, int, int]] = []
        for table, address, count in sorted(parts):
            if requests:
                before, first, length = requests[-1]
                end = max(first + length, address + count)
                near = table == before and address <= first + length + self.most_gap
                if near and end - first <= self.most_read:
                    requests[-1] = (table, first, end - first)
                    continue
            requests.append((table, address, count))
        return tuple(requests)


def swapped(values: MeterValues) -> MeterValues:
    """Return the values of a meter that counts energy into the vehicle as export."""
    return msgspec.structs.replace(
        values,
        import_mwh=values.export_mwh,
        export_mwh=values.import_mwh,
        power_w=None if values.power_w is None else -values.power_w,
        currents=None if values.currents is None else Currents(*(-each for each in values.currents)),
        line_w=tuple(-each for each in values.line_w),
    )


def values_of(registers: RegisterMap, read: Words) -> MeterValues:
    """Return the values of a poll; `read` has the registers of all `requests`.

    Raises FrameError for an invalid energy or power; what else is invalid is left out.
    """
    values = {}
    for quantity, each in registers.registers():
        words = [read[each.table, each.address + at] for at in range(each.count)]
        exponent = 0 if each.exponent is None else read[each.table, each.exponent]
        try:
            values[quantity] = each.read(words, exponent)
        except FrameError:
            if quantity in _NEEDED:
                raise
            values[quantity] = math.nan
    return meter_values(values)


def meter_values(values: Mapping[str, float]) -> MeterValues:
    """Return a reading of values by the names of a map, in Wh, V, W, A and Hz; NaN is a reading that failed.

    Raises FrameError for an energy below 0.
    """
    if values["import_wh"] < 0 or values["export_wh"] < 0:
        raise FrameError("a register of energy is negative")
    voltage, frequency, power = (_known(values, name) for name in ("voltage", "frequency", "power"))
    volts, watts, amperes = (_by_line(values, f"line_{name}") for name in ("voltage", "power", "current"))
    return MeterValues(
        round(values["import_wh"] * 1000),
        round(values["export_wh"] * 1000),
        None if voltage is None else round(voltage * 1000),
        None if power is None else round(power),
        None if frequency is None else round(frequency * 1000),
        None if amperes is None or watts is None else _currents(amperes, watts, volts or (), voltage, power),
        tuple(round(each * 1000) for each in volts or ()),
        tuple(round(each) for each in watts or ()),
    )


def _known(values: Mapping[str, float], name: str) -> float | None:
    value = values.get(name)
    return None if value is None or not math.isfinite(value) else value


def _by_line(values: Mapping[str, float], name: str) -> tuple[float, ...] | None:
    """Return a quantity of L1, L1 and L2, or all lines; none if the meter does not have it, None if one is wrong."""
    found = [values.get(f"{name}_{line}") for line in (1, 2, 3)]
    while found and found[-1] is None:
        found.pop()
    return tuple(each for each in found if each is not None) if None not in found and _finite(found) else None


def _finite(found: Sequence[float | None]) -> bool:
    return all(each is None or math.isfinite(each) for each in found)


def _currents(
    amperes: Sequence[float], watts: Sequence[float], volts: Sequence[float], voltage: float | None, power: float | None
) -> Currents | None:
    """Return the current of each line, signed; None if the meter has none, or if they cannot be true.

    A line carries at least what its power needs. Where no current has a sign, that of the power counts.
    """
    count = max(len(amperes), len(watts))
    line_v = [(volts[line] if line < len(volts) else 0.0) or voltage or 0.0 for line in range(count)]
    if not count or (not amperes and not all(line_v)) or {len(amperes), len(watts)} - {0, count}:
        return None
    signed = any(each < 0 for each in amperes)
    found: list[float] = []
    for line in range(count):
        size = abs(amperes[line]) if amperes else 0.0
        outward = amperes[line] < 0 if signed else (power or 0) < 0
        if watts:
            outward = watts[line] < 0
            size = max(size, abs(watts[line]) / line_v[line]) if line_v[line] else size
        found.append(-size if outward else size)
    carried = sum(abs(each) * volt for each, volt in zip(found, line_v, strict=False))
    if any(abs(each) > MOST_LINE_A for each in found):
        return None
    if power is not None and all(line_v) and abs(power) > carried * 1.1 + 500:
        return None  # less than the power of all lines needs
    return Currents(*(round(each * 1000) for each in found))


def shipped_maps() -> tuple[str, ...]:
    """Return the names of the maps in this package."""
    files = importlib.resources.files("v2g.hardware.meters").joinpath("maps").iterdir()
    return tuple(sorted(each.name.removesuffix(".toml") for each in files if each.name.endswith(".toml")))


def shipped_map(name: str) -> RegisterMap:
    """Return a map of this package. Raises ConfigError for an unknown name."""
    known = shipped_maps()
    if name not in known:
        raise ConfigError(f"unknown register map {name!r}", hint=f"{nearest(name, known)}; your own file: map_file")
    file = importlib.resources.files("v2g.hardware.meters").joinpath("maps", f"{name}.toml")
    return parse_config(file.read_text("utf-8"), RegisterMap, name=f"{name}.toml")


def load_map(file: Path) -> RegisterMap:
    """Return the map in a TOML or YAML file. Raises ConfigError with file, line and key."""
    try:
        text = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the register map {file} cannot be read: {error}") from None
    return parse_config(text, RegisterMap, name=str(file))


# Finds a model in a SunSpec device: a marker at one of three addresses, then a chain of models. Pure.
#
# Source: SunSpec Device Information Model Specification, version 1.1, section 6.

MARKER: Final = (0x5375, 0x6E53)
"""`SunS` in the registers before the first model."""
STARTS: Final = (40_000, 50_000, 0)
"""Addresses of the marker, most usual first."""
END: Final = 0xFFFF
"""Model id after the last model."""
MOST_MODELS: Final = 100
"""Limit of models that are looked at."""

Read = Callable[[int, int], Awaitable[Sequence[int]]]
"""Returns a number of holding registers from an address on. Raises TransportError, also for those not there."""


async def find_model(read: Read, models: Collection[int]) -> int:
    """Return the address of the first of these models in a device: that of its id, which its length follows.

    Raises FrameError for a device without marker or model, TransportError if it answers nowhere.
    """
    refused: TransportError | None = None
    for start in STARTS:
        try:
            marker = tuple(await read(start, len(MARKER)))
        except TransportError as error:
            refused = error
            continue
        refused = None
        if marker == MARKER:
            address = start + len(MARKER)
            seen: list[int] = []
            while len(seen) < MOST_MODELS and address < 0xFFFE:
                model, length = await read(address, 2)
                if model in models:
                    return address
                if model == END:
                    break
                seen.append(model)
                address += 2 + length
            raise FrameError(f"the meter has the SunSpec models {seen or 'none'}, but none of {sorted(models)}")
    if refused is not None:
        raise refused
    raise FrameError("the meter is no SunSpec device: no marker `SunS`")
