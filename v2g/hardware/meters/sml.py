"""What German meters send by their optical interface (D0) in SML, once to four times in 4 s. Pure."""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from v2g.errors import FrameError
from v2g.hardware.meters.obis import OF_LINES, UNITS
from v2g.sml import Value, list_bodies

UNIT_NAMES: Final[Mapping[int, str]] = MappingProxyType({27: "W", 30: "Wh", 33: "A", 35: "V", 44: "Hz"})
"""Units of DLMS (IEC 62056-62)."""


class Entry(NamedTuple):
    """One value of a list: its OBIS code (groups C, D, E), `unit` of DLMS, and the value with its power of ten."""

    code: str
    unit: int | None
    scaler: int
    value: int


def entries(payload: bytes) -> list[Entry]:
    """Return all numbers of the lists in a file. Raises FrameError for octets that are no messages of SML."""
    return [entry for body in list_bodies(payload) for entry in _list_entries(body[4])]


def codes(payload: bytes) -> dict[str, float]:
    """Return values by OBIS code, in Wh, W, V, A or Hz; NaN for a single line's in another unit.

    Raises FrameError as `entries`, and for another unit.
    """
    found = {}
    for each in entries(payload):
        unit = UNITS.get(each.code)
        if unit is None:
            continue
        if UNIT_NAMES.get(each.unit or 0) != unit:
            if each.code in OF_LINES:
                found[each.code] = math.nan
                continue
            raise FrameError(f"{each.code} has the unit {each.unit}, not {unit}")
        found[each.code] = each.value * 10.0**each.scaler
    return found


def _list_entries(rows: Value) -> Iterator[Entry]:
    assert isinstance(rows, list), "checked by list_bodies"
    for row in rows:
        match row:
            case [bytes(name), _, _, unit, scaler, value, _]:
                pass
            case _:
                raise FrameError("a value of SML has not its seven parts")
        if isinstance(value, bool) or not isinstance(value, int) or len(name) != 6:
            continue  # a text, such as the meter's number
        if not isinstance(unit, int | None) or not isinstance(scaler, int | None) or abs(scaler or 0) > 18:
            raise FrameError("a value of SML has a wrong unit or power of ten")
        yield Entry(f"{name[2]}.{name[3]}.{name[4]}", unit, scaler or 0, value)
