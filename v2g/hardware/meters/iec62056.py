"""Readouts of meters by IEC 62056-21: lines of text, sent unasked (mode D, DSMR) or on request (modes A to C). Pure.

An octet on the line has 7 bits and even parity, which is the same as 8 bits: `receive` takes and `with_parity` makes
those.
Source: IEC 62056-21:2002, clauses 5 (characters), 6.3 (messages), 6.4 (modes), annex A.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from v2g.errors import FrameError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.registers import meter_values
from v2g.sml import Value, list_bodies

# -- Values of a meter by their OBIS codes (IEC 62056-61), as readouts and SML have them. Pure -----------------------

IMPORT: Final = "1.8.0"
EXPORT: Final = "2.8.0"
POWER: Final = "16.7.0"
POWER_IN: Final = "1.7.0"
POWER_OUT: Final = "2.7.0"
VOLTAGE: Final = "32.7.0"
FREQUENCY: Final = "14.7.0"

LINE_CURRENTS: Final = ("31.7.0", "51.7.0", "71.7.0")
LINE_VOLTAGES: Final = (VOLTAGE, "52.7.0", "72.7.0")
LINE_POWERS: Final = ("36.7.0", "56.7.0", "76.7.0")
LINE_POWERS_IN: Final = ("21.7.0", "41.7.0", "61.7.0")
LINE_POWERS_OUT: Final = ("22.7.0", "42.7.0", "62.7.0")
"""Of L1, L2 and L3."""

RATES: Final[Mapping[str, tuple[str, ...]]] = {
    total: tuple(f"{total[:-1]}{rate}" for rate in range(1, 5)) for total in (IMPORT, EXPORT)
}
"""Total energy -> that of each rate: some meters (DSMR) send these only."""

UNITS: Final[Mapping[str, str]] = (
    {IMPORT: "Wh", EXPORT: "Wh", POWER: "W", POWER_IN: "W", POWER_OUT: "W", FREQUENCY: "Hz"}
    | dict.fromkeys(LINE_CURRENTS, "A")
    | dict.fromkeys(LINE_VOLTAGES, "V")
    | dict.fromkeys((*LINE_POWERS, *LINE_POWERS_IN, *LINE_POWERS_OUT), "W")
    | dict.fromkeys((*RATES[IMPORT], *RATES[EXPORT]), "Wh")
)
"""Code (groups C, D and E) -> its unit. Import is towards the consumer: here, the vehicle."""

PARTS: Final = frozenset(
    (*LINE_CURRENTS, *LINE_VOLTAGES[1:], *LINE_POWERS, *LINE_POWERS_IN, *LINE_POWERS_OUT, *sum(RATES.values(), ()))
)
"""Codes of single lines and rates, which a telegram may have wrong and still be of use."""


def values_of_codes(found: Mapping[str, float], *, export: bool) -> MeterValues:
    """Return a reading from values by code, in `UNITS`; NaN is a wrong value. A meter without `export` only counts
    energy to the vehicle.

    Raises FrameError for a missing register of energy, or for power in a direction that the meter does not count.
    """
    energy = {EXPORT: 0.0}
    for code in (IMPORT, EXPORT) if export else (IMPORT,):
        rates = [found[each] for each in RATES[code] if each in found]
        energy[code] = found.get(code, sum(rates) if rates else math.nan)
        if math.isnan(energy[code]):
            raise FrameError(f"the meter sends no {code}")
    power = _both_ways(found, POWER, POWER_IN, POWER_OUT)
    if not export and power is not None and power < 0:
        raise FrameError(f"the power is {power:g} W, but the meter does not count energy out of the vehicle")
    values = {"import_wh": energy[IMPORT], "export_wh": energy[EXPORT], "power": power}
    values |= {"voltage": found.get(VOLTAGE), "frequency": found.get(FREQUENCY)}
    for line, codes in enumerate(zip(LINE_POWERS, LINE_POWERS_IN, LINE_POWERS_OUT, strict=True)):
        values[f"line_current_{line + 1}"] = found.get(LINE_CURRENTS[line])
        values[f"line_voltage_{line + 1}"] = found.get(LINE_VOLTAGES[line])
        values[f"line_power_{line + 1}"] = _both_ways(found, *codes)
        if export and power is None and values[f"line_power_{line + 1}"] is None:
            values[f"line_current_{line + 1}"] = None  # its direction is unknown
    return meter_values({name: value for name, value in values.items() if value is not None})


def _both_ways(found: Mapping[str, float], both: str, inward: str, outward: str) -> float | None:
    """Return a power, signed; None without one."""
    if both in found or inward not in found:
        return found.get(both)
    return found[inward] - found.get(outward, 0.0)


MOST_TELEGRAM: Final = 16 * 1024
"""Limit of characters of one readout."""
MOST_LINES: Final = 512

REQUEST: Final = b"/?!\r\n"
"""Request of any meter on the line."""
BAUD_RATES: Final[Mapping[str, int]] = {"0": 300, "1": 600, "2": 1_200, "3": 2_400, "4": 4_800, "5": 9_600, "6": 19_200}
"""Identification of a speed in mode C -> bit/s."""

_NOW: Final = 255
"""Group F of a present value; others have those of days, months and billing periods before."""
_STX, _LF, _SLASH = 0x02, 0x0A, 0x2F
_DATA_SET: Final = re.compile(
    r"(?:^|(?<=\)))(?:\d{1,3}-\d{1,3}:)?(\d{1,3}\.\d{1,3}\.\d{1,3})(?:\*255)?\(([^()*]{1,32})\*([A-Za-z]{1,8})\)(?!\()"
)
_FACTORS: Final[Mapping[str, tuple[str, float]]] = {
    "Wh": ("Wh", 1),
    "kWh": ("Wh", 1e3),
    "MWh": ("Wh", 1e6),
    "W": ("W", 1),
    "kW": ("W", 1e3),
    "V": ("V", 1),
    "A": ("A", 1),
    "mA": ("A", 1e-3),
    "Hz": ("Hz", 1),
}


def with_parity(text: bytes) -> bytes:
    """Return characters with even parity in their highest bit."""
    return bytes(each | (each.bit_count() & 1) << 7 for each in text)


def answer_to(identification: bytes) -> tuple[bytes, int] | None:
    """Return what asks the meter for its readout, and the speed of it, bit/s; None for a meter that sends it unasked.

    `identification` is the meter's first line, such as `/ESY5Q3DA1004 V3.04`. Raises FrameError if it is none.
    """
    if not re.fullmatch(rb"/[A-Za-z]{3}[\x21-\x7e][\x20-\x7e]{0,64}", identification):
        raise FrameError("the meter's first line is no identification")
    speed = chr(identification[4])
    if speed not in BAUD_RATES:
        return None  # mode A, and mode B, whose letters change the speed without being asked
    return b"\x060" + speed.encode() + b"0\r\n", BAUD_RATES[speed]


class ReadoutFramer:
    """Finds whole readouts in a stream of octets, and drops everything else. `parity`: octets have even parity."""

    def __init__(self, *, parity: bool) -> None:
        self._parity = parity
        self._text = bytearray()
        self.identification = b""
        """The last line that began with a slash."""
        self.errors = 0
        """Readouts that were too long, or had a wrong parity or checksum."""

    @property
    def waiting(self) -> bool:
        """Whether a readout has begun and not ended."""
        return bool(self._text)

    def receive(self, data: bytes) -> Iterator[str]:
        """Process received octets; yield every whole readout."""
        for octet in data:
            if self._parity and octet.bit_count() & 1:
                self._drop()
                continue
            self._text.append(octet & 0x7F if self._parity else octet)
            readout = None
            if self._text[-2:-1] == b"\x03" and self._text[0] == _STX:
                # the block that ends with its check: all octets after STX, and ETX, by exclusive or
                check = 0
                for each in self._text[1:]:
                    check ^= each
                readout = self._ended(bytes(self._text[1:-2]), fits=check == 0)
            elif self._text[-1] in (_STX, _SLASH):  # neither is part of a line (6.3, NOTE on reserved characters)
                # begin with the last character; a block after an identification alone continues it
                last = self._text.pop()
                if not (last == _STX and self._text.count(b"\n") == 1):
                    self._drop()
                self._text[:] = bytes((last,))
            elif self._text[0] not in (_STX, _SLASH) or len(self._text) > MOST_TELEGRAM:
                self._drop()
            elif self._text[-1] == _LF and self._text[0] == _SLASH:
                readout = self._line()
            if readout is not None:
                yield readout

    def _drop(self) -> None:
        if self._text and self._text[0] in (_STX, _SLASH):
            self.errors += 1
        self._text.clear()

    def _line(self) -> str | None:
        """Return the readout if its last line has come: `!`, of DSMR 4 with a checksum."""
        if self._text.count(b"\n") == 1:
            self.identification = bytes(self._text).strip()
        begin = self._text.rfind(b"\n", 0, -1) + 1
        if self._text[begin : begin + 1] != b"!":
            return None
        sent, body = bytes(self._text[begin + 1 :]).strip(), bytes(self._text[:begin])
        return self._ended(body, fits=not sent or sent.upper() == b"%04X" % _crc_arc(body + b"!"))

    def _ended(self, body: bytes, *, fits: bool) -> str | None:
        self._text.clear()
        self.errors += not fits
        return body.decode("ascii", "replace") if fits else None


def codes(readout: str) -> dict[str, float]:
    """Return values by OBIS code, in Wh, W, V, A or Hz; NaN for a wrong one of a single line or rate.

    Raises FrameError for any other number that is none.
    """
    found: dict[str, float] = {}
    for match in (each for line in readout.splitlines()[:MOST_LINES] for each in _DATA_SET.finditer(line.strip())):
        unit = UNITS.get(match[1])
        if unit is None:
            continue
        of, factor = _FACTORS.get(match[3], ("", 0.0))
        if of != unit or not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", match[2]):
            if match[1] in PARTS:
                found[match[1]] = math.nan
                continue
            raise FrameError(f"{match[1]} is {match[2]} {match[3]}, not a number of {unit}")
        found[match[1]] = float(match[2]) * factor
    return found


def _crc_arc(data: bytes) -> int:
    """Return CRC-16/ARC, which DSMR 4 adds (P1 Companion Standard 5.0.2, 5.2)."""
    crc = 0
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


# -- What German meters send by their optical interface (D0) in SML, once to four times in 4 s. Pure -----------------

UNIT_NAMES: Final[Mapping[int, str]] = {27: "W", 30: "Wh", 33: "A", 35: "V", 44: "Hz"}
"""Units of DLMS (IEC 62056-62)."""


class SmlEntry(NamedTuple):
    """One value of a list: its OBIS code (groups C, D, E), `unit` of DLMS, and the value with its power of ten."""

    code: str
    unit: int | None
    scaler: int
    value: int


def entries(payload: bytes) -> list[SmlEntry]:
    """Return all numbers of the lists in a file. Raises FrameError for octets that are no messages of SML."""
    return [entry for body in list_bodies(payload) for entry in _list_entries(body[4])]


def sml_codes(payload: bytes) -> dict[str, float]:
    """Return values by OBIS code, in Wh, W, V, A or Hz; NaN for a single line's or rate's in another unit.

    Raises FrameError as `entries`, and for another unit.
    """
    found = {}
    for each in entries(payload):
        unit = UNITS.get(each.code)
        if unit is None:
            continue
        if UNIT_NAMES.get(each.unit or 0) != unit:
            if each.code in PARTS:
                found[each.code] = math.nan
                continue
            raise FrameError(f"{each.code} has the unit {each.unit}, not {unit}")
        found[each.code] = each.value * 10.0**each.scaler
    return found


def _list_entries(rows: Value) -> Iterator[SmlEntry]:
    assert isinstance(rows, list), "checked by list_bodies"
    for row in rows:
        match row:
            case [bytes(name), _, _, unit, scaler, value, _]:
                pass
            case _:
                raise FrameError("a value of SML has not its seven parts")
        if isinstance(value, bool) or not isinstance(value, int) or len(name) != 6 or name[5] != _NOW:
            continue  # a text, such as the meter's number, or what was
        if not isinstance(unit, int | None) or not isinstance(scaler, int | None) or abs(scaler or 0) > 18:
            raise FrameError("a value of SML has a wrong unit or power of ten")
        yield SmlEntry(f"{name[2]}.{name[3]}.{name[4]}", unit, scaler or 0, value)
