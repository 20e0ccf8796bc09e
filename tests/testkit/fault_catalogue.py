"""The faults that a charger's responses can have: each field of each response, wrong in each way that can be written.

They are derived from the responses of a good session. A charger with one fault sends it in every positive response of
that kind; a named case has to catch it, or `docs/fault-catalogue.toml` says why none can.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final

from msgspec.structs import fields, replace

from v2g.errors import CodecError
from v2g.exi.declare import Element

Path = tuple[str | int, ...]
Change = Callable[[Any], Any]

_DAY_S: Final = 86_400
_OTHER_UNIT: Final = {"V": "A", "A": "V", "W": "Wh", "Wh": "W", "s": "h"}
_HEADER: Final = ("header", "response_code")
"""Known from every case: the SessionID and the code of each response are judged everywhere."""


class Fault:
    """One way in which a field of a response is wrong."""

    def __init__(self, path: Path, kind: str, change: Change) -> None:
        self.path, self.kind, self._change = path, kind, change

    def __str__(self) -> str:
        where = ".".join(str(each) for each in self.path if isinstance(each, str))
        return f"{where}: {self.kind}"

    def put(self, message: Any) -> Any:
        """Return a response with the fault, or as it is where the field is not sent."""
        return _put(message, self.path, self._change)


def _put(value: Any, path: Path, change: Change) -> Any:
    if value is None:
        return None
    if not path:
        return change(value)
    first, *rest = path
    if isinstance(first, int):
        if len(value) <= first:
            return value
        return (*value[:first], _put(value[first], tuple(rest), change), *value[first + 1 :])
    if not hasattr(value, first):
        return value
    return replace(value, **{first: _put(getattr(value, first), tuple(rest), change)})


def faults(message: Any, written: Callable[[Any], bytes]) -> dict[str, Fault]:
    """Return the faults of a response, by their names; those that `written` cannot encode are left out."""
    found: dict[str, Fault] = {}
    for fault in _of(message, ()):
        altered = fault.put(message)
        if str(fault) in found or altered == message:
            continue
        try:
            written(altered)
        except CodecError:
            continue
        found[str(fault)] = fault
    return found


def _of(value: Any, path: Path) -> Iterator[Fault]:
    for field in fields(value):
        inner = getattr(value, field.name)
        if inner is None or (not path and field.name in _HEADER):
            continue
        here = (*path, field.name)
        if field.default is None:
            yield Fault(here, "absent", lambda _: None)
        yield from _in(inner, here)
        if _is_number(inner):
            yield from _swapped(value, field.name, path)


def _in(value: Any, path: Path) -> Iterator[Fault]:
    match value:
        case Element() if _is_number(value):
            yield Fault(path, "zero", lambda number: replace(number, value=0))
            yield Fault(path, "negative", lambda number: replace(number, value=-number.value))
            if getattr(value, "unit", None) is not None:
                yield Fault(path, "wrong unit", _other_unit)
            yield from _stale(path, value)
        case Element():
            yield from _of(value, path)
        case tuple() if value and isinstance(value[0], Element):
            yield from _in(value[0], (*path, 0))
        case bool():
            yield Fault(path, "swapped", lambda flag: not flag)
        case int():
            yield Fault(path, "zero", lambda _: 0)
            yield Fault(path, "negative", lambda number: -number)
            yield from _stale(path, value)
        case str() | bytes():
            yield Fault(path, "zero", lambda text: "0" * len(text) if isinstance(text, str) else bytes(len(text)))
            yield from _stale(path, value)
        case Enum():
            for other in type(value):
                if other is not value:
                    yield Fault(path, f"swapped to {other.value}", lambda _, other=other: other)


def _is_number(value: Any) -> bool:
    """Return whether a value is a PhysicalValue or a RationalNumber."""
    return hasattr(value, "value") and (hasattr(value, "multiplier") or hasattr(value, "exponent"))


def _swapped(struct: Any, name: str, path: Path) -> Iterator[Fault]:
    """Yield the exchange of a number with the next one of its struct."""
    names = [each.name for each in fields(struct) if _is_number(getattr(struct, each.name))]
    other = names[(names.index(name) + 1) % len(names)]
    if names.index(name) + 1 < len(names):
        yield Fault(
            path, f"{name} swapped with {other}",
            lambda both: replace(both, **{name: getattr(both, other), other: getattr(both, name)})
            if hasattr(both, other)
            else both,
        )  # fmt: skip


def _other_unit(number: Any) -> Any:
    return replace(number, unit=type(number.unit)(_OTHER_UNIT[number.unit.value]))


def _stale(path: Path, value: Any) -> Iterator[Fault]:
    """Yield the value of an earlier session, where that is another one."""
    name = path[-1]
    if "present_voltage" in str(name):
        yield Fault(path, "stale", lambda number: _numbered(number, 400))
    elif "present_current" in str(name):
        yield Fault(path, "stale", lambda number: _numbered(number, 60))
    elif name == "evse_id":
        yield Fault(path, "stale", lambda text: "DE*ABC*E9999" if isinstance(text, str) else b"DE*ABC*E9999")
    elif isinstance(value, bytes) and "challenge" in str(name):
        yield Fault(path, "stale", lambda text: b"\x17" * len(text))
    elif "id" in str(name).split("_") and isinstance(value, int):
        yield Fault(path, "stale", lambda number: number + 1)
    elif "time" in str(name).split("_") and isinstance(value, int):
        yield Fault(path, "stale", lambda number: number - _DAY_S)


def _numbered(number: Any, value: int) -> Any:
    power = "multiplier" if hasattr(number, "multiplier") else "exponent"
    return replace(number, value=value, **{power: 0})
