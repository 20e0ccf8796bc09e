"""Conditions on payloads: `path: value`, or `path: {min: 3}` and the like.

A path is keys joined by dots (`transactionInfo.chargingState`); in a list a number is an index and `*` any item.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from v2g.config import nearest

OPERATORS: Final = frozenset({"is", "not", "one_of", "like", "min", "max", "present"})
"""`is` and `not` a value, `one_of` several, `like` a pattern with * and ?, from `min` to `max`, `present` or not."""


def matches(conditions: Mapping[str, object], payload: object) -> bool:
    """Return whether a payload meets all conditions."""
    return not unmet(conditions, payload)


def unmet(conditions: Mapping[str, object], payload: object) -> list[str]:
    """Return the conditions that a payload does not meet, as text."""
    return [
        f"{path} is {_shown(list(_values(payload, path.split('.'))))}, not {_wanted(condition)}"
        for path, condition in conditions.items()
        if not _holds(condition, list(_values(payload, path.split("."))))
    ]


def check_conditions(conditions: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield path, problem and hint of every invalid condition."""
    for path, condition in conditions.items():
        if not isinstance(condition, dict):
            continue
        for name, value in condition.items():
            if name not in OPERATORS:
                yield path, f"unknown condition {name!r}", nearest(name, OPERATORS)
            elif name == "one_of" and not isinstance(value, list):
                yield path, "one_of needs a list", ""
            elif name == "like" and not isinstance(value, str):
                yield path, "like needs a text with * and ?", ""
            elif name in ("min", "max") and not _is_number(value):
                yield path, f"{name} needs a number", ""
            elif name == "present" and not isinstance(value, bool):
                yield path, "present needs true or false", ""


def _values(payload: object, path: list[str]) -> Iterator[object]:
    if not path:
        yield payload
        return
    step, *rest = path
    if isinstance(payload, dict) and step in payload:
        yield from _values(payload[step], rest)
    elif isinstance(payload, list) and step == "*":
        for item in payload:
            yield from _values(item, rest)
    elif isinstance(payload, list) and step.isdecimal() and int(step) < len(payload):
        yield from _values(payload[int(step)], rest)


def _holds(condition: object, found: list[object]) -> bool:
    if not isinstance(condition, dict):
        return any(_equal(value, condition) for value in found)
    if "present" in condition and condition["present"] != bool(found):
        return False
    rest = {name: wanted for name, wanted in condition.items() if name != "present"}
    return not rest or any(all(_meets(value, name, wanted) for name, wanted in rest.items()) for value in found)


def _meets(value: Any, name: str, wanted: Any) -> bool:
    match name:
        case "is":
            return _equal(value, wanted)
        case "not":
            return not _equal(value, wanted)
        case "one_of":
            return any(_equal(value, each) for each in wanted)
        case "like":
            return isinstance(value, str) and fnmatchcase(value, wanted)
        case "min":
            return _is_number(value) and bool(value >= wanted)
    return _is_number(value) and bool(value <= wanted)


def _equal(value: object, wanted: object) -> bool:
    """Compare as JSON does: true is not 1, 1.0 is."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(found: list[object]) -> str:
    return "absent" if not found else " and ".join(repr(value)[:60] for value in found[:3])


def _wanted(condition: object) -> str:
    if not isinstance(condition, dict):
        return repr(condition)
    return ", ".join(f"{name} {value!r}" for name, value in condition.items())
