"""Quirks of charging stations in the field: named deviations of makes from OCPP that a back end tolerates.

The table is `station_quirks.toml` beside this module: by vendor, model and firmware. Nothing is tolerated of stations
that neither it nor the operator's entries name. A message is mended only after it was refused, at the place of its
error, and only by the quirks of its station; so what is right costs nothing. Pure.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import read_payload
from v2g.tables import table

M = TypeVar("M", bound=Message)

QuirkName = Literal[
    "empty_list", "empty_text", "enum_case", "null_field", "object_for_list", "text_too_long", "time_without_zone",
    "unknown_field",
]  # fmt: skip

QUIRKS: Final[Mapping[QuirkName, tuple[str, str]]] = {
    "empty_list": ("an empty list", "the list is left out, or the element that must have one"),
    "empty_text": ("an empty text where it is not allowed", "the field is left out"),
    "enum_case": ("a value of an enumeration in other case", "it is read as the value that differs in case only"),
    "null_field": ("null in place of a field that is left out", "the field is left out"),
    "object_for_list": ("an object in place of a list of one", "it is read as the list"),
    "text_too_long": (
        "a text longer than allowed that describes (model, serial number, firmware and others)",
        "it is cut; identifiers never are",
    ),
    "time_without_zone": (
        "a time without zone, with hours alone (+02), with a comma, or without seconds",
        "without zone it is read as UTC",
    ),
    "unknown_field": ("a field that the message does not have", "it is left out"),
}
"""What a station with a quirk sends, and what is done about it."""

ProfileOption = Literal["stack_level_0", "relative", "no_start", "watts", "zero_ends"]

PROFILE_OPTIONS: Final[Mapping[ProfileOption, tuple[str, str]]] = {
    "no_start": (
        "refuses profiles that say when they begin",
        "a constant limit that applies now is sent without its beginning; others are refused before they are sent",
    ),
    "relative": ("takes Relative profiles only", "as `no_start`, and sent as Relative"),
    "stack_level_0": (
        "refuses stack levels above 0",
        "level 0: the profile of another level is replaced by one that is nowhere higher, or refused before it is sent",
    ),
    "watts": ("takes limits in W only", "A x 230 V x the phases that the limit names, else one"),
    "zero_ends": (
        "ends the transaction at a limit of 0",
        "sent all the same, as it is a limit, and said in the answer",
    ),
}
"""What a station of 1.6 does with charging profiles, and what is done about it."""

_Pattern = Annotated[str, msgspec.Meta(max_length=100)]


class StationQuirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tolerated of the stations of a make."""

    vendor: _Pattern = "*"
    """Vendor in BootNotification, as a shell pattern in any case; `*` is any."""
    model: _Pattern = "*"
    """Model, as `vendor`."""
    firmware: _Pattern = "*"
    """Firmware version, as `vendor`."""
    tolerates: tuple[QuirkName, ...] = ()
    """Names of the quirks that are tolerated; none: the stations are held to the standard."""
    delay_after_boot_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    """How long after its boot a station gets no requests, s."""
    answer_delay_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.0
    """How long the answer to a StartTransaction of 1.6 waits, s."""
    never_ping: bool = False
    """Whether its connection is kept without pings, which it does not answer."""
    never_read: tuple[_Pattern, ...] = ()
    """Keys of 1.6 that are never read, in any case."""
    profiles: tuple[ProfileOption, ...] = ()
    """Options for charging profiles of 1.6."""
    steps_a: tuple[Annotated[float, msgspec.Meta(gt=0, le=1000)], ...] = ()
    """The only limits that it accepts beside 0, A: others are rounded down."""
    source: str = ""
    """Where the quirk was reported."""

    def fits(self, vendor: str, model: str, firmware: str) -> bool:
        """Return whether an entry applies to a station."""
        wanted = (self.vendor, self.model, self.firmware)
        return all(
            fnmatchcase(found.casefold(), pattern.casefold())
            for found, pattern in zip((vendor, model, firmware), wanted, strict=True)
        )


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    station: tuple[StationQuirks, ...]


STRICT: Final = StationQuirks()
"""Nothing is tolerated, as of every station that no entry names."""


@cache
def known_quirks() -> tuple[StationQuirks, ...]:
    """Return the table of quirks."""
    return table("v2g.ocpp", "station_quirks.toml", _Table).station


def quirks_of(vendor: str, model: str, firmware: str, own: Iterable[StationQuirks] = ()) -> StationQuirks:
    """Return what is tolerated of a station: by the first fitting entry of the operator (`own`), else by the table."""
    for each in own:
        if each.fits(vendor, model, firmware):
            return each
    found = [each for each in known_quirks() if each.fits(vendor, model, firmware)]
    if not found or not (vendor or model):  # one that has not booted
        return STRICT
    return StationQuirks(
        vendor=vendor,
        model=model,
        firmware=firmware,
        tolerates=tuple(sorted({name for each in found for name in each.tolerates})),
        delay_after_boot_s=max(each.delay_after_boot_s for each in found),
        answer_delay_s=max(each.answer_delay_s for each in found),
        never_ping=any(each.never_ping for each in found),
        never_read=tuple(key for each in found for key in each.never_read),
        profiles=tuple(sorted({name for each in found for name in each.profiles})),
        steps_a=next((each.steps_a for each in found if each.steps_a), ()),
        source="; ".join(each.source for each in found),
    )


def make_in_boot(payload: bytes) -> tuple[str, str, str]:
    """Return vendor, model and firmware in a BootNotification that may be wrong otherwise; empty: not there."""
    try:
        found = typed_json.decode(payload, _Boot).charging_station
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return "", "", ""
    return found.vendor_name or "", found.model or "", found.firmware_version or ""


class _Make(msgspec.Struct, frozen=True, rename="camel"):
    vendor_name: str | None = None
    model: str | None = None
    firmware_version: str | None = None


class _Boot(msgspec.Struct, frozen=True, rename="camel"):
    charging_station: _Make


def read_tolerantly(
    payload: bytes, type_: type[M], version: Version, tolerates: Iterable[QuirkName]
) -> tuple[M, frozenset[QuirkName]]:
    """Return a message that a station, or a back end, with quirks has sent, and the quirks that it shows.

    Raises OcppError as `read_payload`: the error of what no quirk of its explains.
    """
    shown: set[QuirkName] = set()
    for _ in range(_MOST_MENDED):
        try:
            return read_payload(payload, type_, version), frozenset(shown)
        except OcppError as error:
            try:
                document = msgspec.json.decode(payload)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                raise error from None
            fault = _Fault(str(error), document, type_)
            found = next((each for each in tolerates if fault.names and _MENDS[each](fault)), None)
            if found is None:
                raise
            shown.add(found)
            payload = msgspec.json.encode(document)
    return read_payload(payload, type_, version), frozenset(shown)


_MOST_MENDED: Final = 30
"""Different errors of one message: each is mended at all elements of lists at once."""

_AT: Final = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$(.*)`)?\Z", re.DOTALL)
_ABSENT: Final = re.compile(r"[12][.\d]+ has no \$(.*)\Z", re.DOTALL)
_STEP: Final = re.compile(r"\[[^]]*\]|[^.\[]+")
_LONGEST: Final = re.compile(r"Expected `str` of length <= (\d+)")
_TIME: Final = re.compile(
    r"\s*(\d{4})[-/](\d{1,2})[-/](\d{1,2})[Tt ]\s*(\d{1,2}:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s*"
    r"(?:([+-]\d\d):?(\d\d)?)?\s*(?:Z|z|UTC|GMT)?\s*\Z"
)


class _Fault:
    """An error of a document: its text, and what stands at its place, in each element where lists are on the way."""

    def __init__(self, problem: str, document: object, type_: type[Message]) -> None:
        self.problem = problem
        self.type = type_
        at, unknown, absent = _AT.search(problem), _UNKNOWN.match(problem), _ABSENT.match(problem)
        self.path = at.group(1) if at else ""
        if unknown or absent:
            self.path = f"{unknown.group(2) or ''}.{unknown.group(1)}" if unknown else absent.group(1)  # type: ignore[union-attr]
        self.is_unknown = bool(unknown or absent)
        self.steps: list[str] = _STEP.findall(self.path)
        self.names = [each for each in self.steps if not each.startswith("[")]
        self.document = document

    def places(self, names: list[str] | None = None) -> list[tuple[Any, Any]]:
        """Return every container, and the key or index in it, that the path of names leads to."""
        names = self.names if names is None else names
        found = [self.document]
        for name in names[:-1]:
            found = [each[name] for each in _elements(found) if isinstance(each, dict) and name in each]
        there = [
            (each, names[-1]) for each in _elements(found) if isinstance(each, dict) and names and names[-1] in each
        ]
        if not self.steps or not self.steps[-1].startswith("["):
            return there
        lists = [container[key] for container, key in there if isinstance(container[key], list)]
        return [(each, index) for each in lists for index in range(len(each))]

    def change(self, change: Callable[[object], object]) -> bool:
        """Replace what stands there; `change` returns the new value, or the same."""
        found = [(container, key, change(container[key])) for container, key in self.places()]
        found = [each for each in found if each[2] is not each[0][each[1]]]
        for container, key, value in found:
            container[key] = value
        return bool(found)

    def leave_out(self, what: Callable[[object], bool]) -> bool:
        """Remove what stands there."""
        found = [(container, key) for container, key in self.places() if what(container[key])]
        for container, key in reversed(found):
            del container[key]
        return bool(found)


def _elements(found: list[object]) -> list[object]:
    return [item for each in found for item in (_elements(each) if isinstance(each, list) else [each])]


def _empty_list(fault: _Fault) -> bool:
    if "`array` of length >=" not in fault.problem:
        return False
    parent, _, name = fault.path.rpartition(".")
    if not parent.endswith("]"):
        return fault.leave_out(lambda value: value == [])
    gone = False
    for container, key in fault.places(fault.names[:-1]):  # the element goes that has to have the list
        full = [each for each in container[key] if not (isinstance(each, dict) and each.get(name) == [])]
        gone = gone or len(full) < len(container[key])
        container[key] = full
    return gone


_DESCRIBES: Final = frozenset(
    {
        *("additionalInfo", "firmwareVersion", "model", "serialNumber", "techCode", "techInfo", "vendorName"),
        *("chargePointModel", "chargePointVendor", "chargePointSerialNumber", "chargeBoxSerialNumber", "info"),
        *("meterSerialNumber", "meterType"),
    }
)
"""Fields that identify nothing: only these are cut, so that no token or transaction becomes another."""


def _text_too_long(fault: _Fault) -> bool:
    if fault.names[-1] not in _DESCRIBES:
        return False
    most = _LONGEST.match(fault.problem)
    length = int(most.group(1)) if most else 0
    return most is not None and fault.change(
        lambda text: text[:length] if isinstance(text, str) and len(text) > length else text
    )


def _time_without_zone(fault: _Fault) -> bool:
    def mended(text: object) -> object:
        found = _TIME.match(text) if isinstance(text, str) else None
        if found is None:
            return text
        year, month, day, time, second, part, hours, minutes = found.groups()
        whole = f"{year}-{month:>02}-{day:>02}T{time:>05}{second or ':00'}" + (f".{part}" if part else "")
        return whole + (f"{hours}:{minutes or '00'}" if hours else "Z")

    return "`str` matching" in fault.problem and fault.change(mended)


def _enum_case(fault: _Fault) -> bool:
    words = {each.casefold(): each for each in _words(fault.type, tuple(fault.names))}
    return fault.problem.startswith("Invalid enum value") and fault.change(
        lambda text: words.get(text.casefold(), text) if isinstance(text, str) else text
    )


@cache
def _words(type_: type[Message], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of the enumeration at a place."""
    hints: list[object] = [type_]
    for name in names:
        structs = (each for hint in hints for each in typed_json.structs_in(hint))
        fields = [field for each in structs for field in msgspec.structs.fields(each)]
        hints = [field.type for field in fields if field.encode_name == name]
    return tuple(each for hint in hints for each in typed_json.parts(hint) if isinstance(each, str))


_MENDS: Final[Mapping[QuirkName, Callable[[_Fault], bool]]] = {
    "empty_list": _empty_list,
    "empty_text": lambda fault: not fault.is_unknown and fault.leave_out(lambda value: value == ""),
    "enum_case": _enum_case,
    "null_field": lambda fault: not fault.is_unknown and fault.leave_out(lambda value: value is None),
    "object_for_list": lambda fault: (
        "Expected `array`, got `object`" in fault.problem
        and fault.change(lambda value: [value] if isinstance(value, dict) else value)
    ),
    "text_too_long": _text_too_long,
    "time_without_zone": _time_without_zone,
    "unknown_field": lambda fault: fault.is_unknown and fault.leave_out(lambda _: True),
}
