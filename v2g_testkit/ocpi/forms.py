"""The forms of OCPI's objects in 2.2.1 and 2.3.0, strictly as they are written on the wire. Pure.

Readers of partners are tolerant; this one is not, as it judges. A field is `name:kind`, with `?` (optional), `*` (a
list) or `+` (a list of at least one) after its name, and `@` a version that alone has it. Kinds are the names of
objects and enumerations in `forms.toml`, a number (the most characters of a CiString), or one of `_SIMPLE`.
"""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from v2g.errors import OcpiError
from v2g.ocpi.wire import Version, read_time
from v2g.tables import table

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z?\Z")
_CODES: Final = {"alpha2": r"[A-Za-z]{2}", "alpha3": r"[A-Z]{3}", "party": r"[A-Za-z0-9]{3}", "currency": r"[A-Z]{3}",
                 "latitude": r"-?\d{1,2}\.\d{5,7}", "longitude": r"-?\d{1,3}\.\d{5,7}", "date": r"\d{4}-\d\d-\d\d",
                 "clock": r"([01]\d|2[0-3]):[0-5]\d", "url": r"https?://[!-~]{1,247}"}  # fmt: skip


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.match(value):
        return False
    try:
        read_time(value)
    except OcpiError:
        return False
    return True


_SIMPLE: Final[dict[str, Callable[[object], bool]]] = {
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str) and len(value) <= 5000,
    "time": _is_time,
    "object": lambda value: isinstance(value, dict),
}

_DATA: Final = table("v2g_testkit.ocpi", "forms.toml", dict[str, dict[str, str]])

_OPEN: Final = _DATA["open"]
"""Enumerations that 2.3.0 has opened: there any name is one."""

_VALUES: Final = {name: frozenset(text.split()) for name, text in (_DATA["enumerations"] | _OPEN).items()}


_FIELD: Final = re.compile(r"([a-z_]+)([?*+]?)(?:@([0-9.]+))?:(\w+)")

FORMS: Final = {
    name: [found.groups() for each in text.split() if (found := _FIELD.fullmatch(each))]
    for name, text in _DATA["objects"].items()
}
"""By name of an object, its fields: name, how often, the version that alone has it, kind."""


def faults(kind: str, value: object, version: Version, *, partly: bool = False) -> list[str]:
    """Return what is wrong with an object of the wire; `partly`: as in a PATCH, where only `last_updated` is due."""
    return list(_faults(kind, value, version, kind, partly=partly))


def _faults(kind: str, value: object, version: Version, where: str, *, partly: bool = False) -> Iterator[str]:
    if kind not in FORMS:
        if not _fits(kind, value, version):
            yield f"{where} is {value!r:.60}"
        return
    if not isinstance(value, dict):
        yield f"{where} is not an object"
        return
    for name, often, only, inner in FORMS[kind]:
        if only and only != version:
            continue
        there, place = value.get(name), f"{where}.{name}"
        if there is None or (often in ("*", "+") and there == []):
            if often in ("", "+") and (name == "last_updated" or not partly):
                yield f"{place} is missing"
        elif often not in ("*", "+"):
            yield from _faults(inner, there, version, place)
        elif not isinstance(there, list):
            yield f"{place} is not a list"
        else:
            for each in there:
                yield from _faults(inner, each, version, f"{place}[]")


def _fits(kind: str, value: object, version: Version) -> bool:
    if kind in _SIMPLE:
        return _SIMPLE[kind](value)
    if not isinstance(value, str):
        return False
    if kind in _VALUES:
        return value in _VALUES[kind] or (kind in _OPEN and version == "2.3.0" and bool(value))
    if kind in _CODES:
        return re.fullmatch(_CODES[kind], value) is not None
    return 1 <= len(value) <= int(kind)
