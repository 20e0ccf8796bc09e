"""A signed record as any format has it: what is signed, by what, and the readings that it marks as begin and end."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g.energy.meter_records.keys import HashName, MeterKey
from v2g.errors import RecordError
from v2g.text import printable

Format = Literal["OCMF", "ALFEN", "EDL40", "ISA-EDL40", "PCDF"]
Direction = Literal["import", "export"]
Mark = Literal["begin", "end", ""]
"""What a record says of a reading: that it begins or ends a transaction, or neither."""

MOST_OCTETS: Final = 256 * 1024
"""Limit of one record."""

_LARGEST_WH: Final = Decimal(10) ** 15
_SMALLEST: Final = -12
"""Powers of ten of a Wh: no meter counts finer."""

_UNITS: Final = {"wh": 0, "kwh": 3}
"""Unit of energy in lower case -> power of ten of a Wh."""

_IMPORT: Final = frozenset({0x01, 0x98, 0x128, *range(0xB0, 0xB4)})
_EXPORT: Final = frozenset({0x02, *range(0xC0, 0xC4)})
"""Value group C of an OBIS code of energy: active energy (IEC 62056-6-1); B0 to C3 for mains and device, in total or of
a transaction, 98 with compensated losses, and 128 of PCDF are those of charging stations.
"""

_OBIS: Final = re.compile(
    r"(?:0*(?P<A>[0-9A-F]+)-0*(?P<B>[0-9A-F]+):)?0*(?P<C>[0-9A-F]+)\.0*(?P<D>[0-9A-F]+)\.0*(?P<E>[0-9A-F]+)"
    r"(?:[.*]0*(?P<F>[0-9A-F]+))?\Z"
)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A value at a time. `register` is the OBIS code as written, `transaction` the record's own word for `mark`.

    `wh` is exact, None for what is no energy; `utc_ms` is None without a time that can be told in UTC; `clock`, `state`
    and `errors` are those of OCMF (tables 19, 10 and 7), as written.
    """

    register: str
    wh: Decimal | None
    mark: Mark = ""
    transaction: str = ""
    utc_ms: int | None = None
    clock: str = ""
    state: str = ""
    errors: str = ""

    @property
    def code(self) -> tuple[str, ...]:
        """The register in one spelling: groups A to F in hexadecimal, or the text itself."""
        return obis(self.register) or (self.register,)

    @property
    def direction(self) -> Direction | None:
        """Whose energy it is, as seen from the grid; None if the code does not tell."""
        groups = obis(self.register)
        if groups is None or groups[3] not in ("8", "11"):  # 11: the signed register of EDL40
            return None
        kind = int(groups[2], 16)
        return "import" if kind in _IMPORT else "export" if kind in _EXPORT else None

    @property
    def usable(self) -> bool:
        """Whether the meter raises no doubt about its energy."""
        return self.state in ("", "G") and "E" not in self.errors and not self.breaks_off

    @property
    def breaks_off(self) -> bool:
        """Whether the transaction goes on without usable energy, from here on (`X` of OCMF's table 7)."""
        return self.transaction.upper() == "X"


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What a register counted between the readings that are marked as begin and end, in Wh."""

    register: str
    direction: Direction | None
    begin_wh: Decimal
    end_wh: Decimal
    usable: bool
    """Whether the meter raises no doubt about both or what is between them, and the register did not fall."""

    @property
    def wh(self) -> Decimal:
        """The difference."""
        return self.end_wh - self.begin_wh


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was read; nothing of it is verified.

    `signed` are the octets under the signature, as they came. `serials` name the meter or its gateway, `session` and
    `user` the transaction and whose it is, "" if the record does not. `page` counts the records of a meter within
    `context`, each one if `gapless`. `own_key` came within the record. `remarks` say where it deviates from its format.
    """

    format: Format
    signed: bytes
    signatures: tuple[bytes, ...]
    """Octets of the one signature, in each encoding that its text fits."""
    curve: str
    hash_name: HashName = "SHA256"
    serials: tuple[str, ...] = ()
    session: str = ""
    user: str = ""
    context: str = ""
    page: int | None = None
    gapless: bool = False
    readings: tuple[Reading, ...] = ()
    own_key: MeterKey | None = None
    remarks: tuple[str, ...] = ()
    sealed_marks: bool = True
    """Whether the signature covers which reading is begin and end."""

    @property
    def label(self) -> str:
        """The page with its context, as OCMF writes it: `T12`; "" without one."""
        return "" if self.page is None else f"{self.context}{self.page}"

    @property
    def marks(self) -> frozenset[Mark]:
        """What its readings of energy are marked as."""
        return frozenset(each.mark for each in self.readings if each.wh is not None and each.mark)


def energies(readings: Iterable[Reading]) -> tuple[Energy, ...]:
    """Return the energy of each register that has one reading marked as begin and, later, one marked as end."""
    sound = True
    kept = []
    for each in readings:
        sound = sound and not each.breaks_off
        if each.wh is not None and each.mark:
            kept.append((each, sound))
    counted = Counter((each.code, each.mark) for each, _ in kept)
    found = []
    for at, (begin, _) in enumerate(kept):
        if begin.mark != "begin" or counted[begin.code, "begin"] > 1 or counted[begin.code, "end"] != 1:
            continue
        ends = (pair for pair in kept[at + 1 :] if (pair[0].code, pair[0].mark) == (begin.code, "end"))
        end, sound = next(ends, (None, False))
        if end is None or begin.wh is None or end.wh is None:
            continue
        found.append(
            Energy(
                register=begin.register,
                direction=begin.direction,
                begin_wh=begin.wh,
                end_wh=end.wh,
                usable=sound and begin.usable and end.usable and end.wh >= begin.wh,
            )
        )
    return tuple(found)


def obis(written: str) -> tuple[str, ...] | None:
    """Return the groups A to F of an OBIS code in any spelling, in hexadecimal without leading zeros; None for others.

    What is left out is `1-0` and `*FF`. 255 is FF; other groups are read as written, as hexadecimal, which meters
    write.
    """
    text = re.sub(r"\s", "", written).upper()
    if re.fullmatch(r"[0-9A-F]{12}", text):
        return tuple(text[at : at + 2].lstrip("0") or "0" for at in range(0, 12, 2))
    match = _OBIS.match(text)
    if match is None:
        return None
    groups = match.group("A") or "1", match.group("B") or "0", *match.group("C", "D", "E"), match.group("F") or "FF"
    return (*groups[:5], "FF" if groups[5] == "255" else groups[5])


def watt_hours(number: Decimal, unit: str, place: str) -> Decimal | None:
    """Return a value in Wh, None for a unit that is not of energy. Raises RecordError for one that no meter counts."""
    power = _UNITS.get(unit.strip().lower())
    if power is None:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not _SMALLEST <= exponent + power <= 15 or abs(number) >= _LARGEST_WH:
        raise RecordError(f"{place}: {printable(str(number)[:40])} {unit.strip()} is out of reach")
    return number.scaleb(power)


def joined(serials: Sequence[str]) -> str:
    """Return the serials of a meter for people."""
    return ", ".join(serials) or "unnamed"
