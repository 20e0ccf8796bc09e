"""Between a driver and the charger: whatever a driver raises, reports wrongly or leaves hanging becomes a fault.

A part is guarded by the declaration of its interface in `v2g.hardware.interfaces`: what it returns and reports has to
be of the declared types, within their ranges. The charger gets the last valid value instead.
"""

import asyncio
import enum
import inspect
from collections.abc import Mapping
from functools import cache, partial
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import msgspec

from v2g import typed_json
from v2g.errors import TransportError
from v2g.hardware.faults import FAULTS
from v2g.io.hardware.driver import OnFailure
from v2g.text import printable

Part = TypeVar("Part")

LONGEST_S: Final[Mapping[str, float]] = {"measure": 30.0, "refresh": 5.0, "show": 10.0}
"""Time for methods that a driver may take time for."""


def guarded(part: Part, interface: type, failed: OnFailure) -> Part:
    """Return the part behind the guard; `interface` is its protocol. Raises TransportError if the part lacks something
    of it, or has an invalid value at the start."""
    guard = _guard_of(interface)(part, interface, failed)
    for each, member in _members(interface).items():
        if isinstance(member, _Value):
            guard.take(member, at_start=True)
        elif not callable(getattr(part, each, None)):
            raise TransportError(f"the driver's {interface.__name__} has no method {each!r}")
    return cast(Part, guard)


class _Value(msgspec.Struct, frozen=True):
    """A property, or a value of a report: its name, the classes of values that do not change once they are valid, and
    the declared type."""

    name: str
    constants: frozenset[type]
    type: Any


class _Listener(msgspec.Struct, frozen=True):
    """A method that takes a callback, and what it is called with."""

    values: tuple[_Value, ...]


class _Answer(msgspec.Struct, frozen=True):
    """A method that takes time, and the type of its result."""

    type: Any


class _Command(msgspec.Struct, frozen=True):
    """A method that returns nothing."""


@cache
def _members(interface: type) -> Mapping[str, _Value | _Listener | _Answer | _Command]:
    return {
        name: _member(name, inspect.getattr_static(interface, name))
        for name in dir(interface)
        if not name.startswith("_")
    }


def _member(name: str, declared: object) -> _Value | _Listener | _Answer | _Command:
    if isinstance(declared, property):
        declared_type = get_type_hints(declared.fget, include_extras=True)["return"]
        return _Value(name, _constants(declared_type), declared_type)
    hints = get_type_hints(declared, include_extras=True)
    if inspect.iscoroutinefunction(declared):
        return _Answer(hints["return"])
    if name.startswith("on_"):
        types = get_args(hints["callback"])[0]
        return _Listener(tuple(_Value(f"{name} {at}", _constants(each), each) for at, each in enumerate(types)))
    return _Command()


_PLAIN: Final[frozenset[type]] = frozenset({bool, int, float, str, NoneType})


def _constants(type_: object) -> frozenset[type]:
    """Return the classes of a type's values that do not change: plain ones, enumerations, frozen structures of
    plain ones."""
    if isinstance(type_, enum.EnumMeta):
        return _PLAIN | {type_}
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct) and type_.__struct_config__.frozen):
        return _PLAIN
    return _PLAIN | {type_} if _PLAIN.issuperset(get_type_hints(type_).values()) else _PLAIN


class _Guard:
    """A part. Its members are those of the interface."""

    def __init__(self, part: object, interface: type, failed: OnFailure) -> None:
        self._part, self._interface, self._failed = part, interface, failed
        self._last: dict[str, tuple[object, Any]] = {}
        """The last valid value of each property and report, as the driver gave it, and converted."""

    def __getattr__(self, name: str) -> Any:
        member = _members(self._interface).get(name)
        match member:
            case None:
                raise AttributeError(name)
            case _Command() if name == "cut":  # in any thread: who cuts goes on with the next part
                return self._part.cut  # type: ignore[attr-defined]
            case _Listener(values=declared):
                return lambda callback: self._call(name, partial(self._on_report, name, declared, callback))
            case _Answer(type=type_):
                return partial(self._answer, name, type_)
            case _Command():
                return partial(self._call, name)

    def take(self, member: _Value, *, at_start: bool = False) -> Any:
        """Return a property; the last valid value if it has none now."""
        try:
            return self._valid(getattr(self._part, member.name), member)
        except Exception as error:  # noqa: BLE001 - whatever a driver of others raises
            why = f"{self._interface.__name__}.{member.name}: {_said(error)}"
            if at_start:
                raise TransportError(f"the driver's {why}") from None
            self._failed(why)
        return self._last[member.name][1]

    def _valid(self, value: object, declared: _Value) -> object:
        """Return a value as its type is declared; the same one again, if it cannot have changed, is not checked again:
        it is read, or reported to others. Raises an exception otherwise."""
        known = self._last.get(declared.name)
        if known is None or value is not known[0] or type(value) not in declared.constants:
            known = self._last[declared.name] = value, _checked(value, declared.type)
        return known[1]

    def _call(self, name: str, *args: object, **kwargs: object) -> None:
        try:
            getattr(self._part, name)(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            self._failed(f"{self._interface.__name__}.{name}: {_said(error)}")

    async def _answer(self, name: str, type_: object, *args: object) -> Any:
        try:
            async with asyncio.timeout(LONGEST_S[name]):
                return _checked(await getattr(self._part, name)(*args), type_)
        except TimeoutError:
            self._failed(f"{self._interface.__name__}.{name}: no result within {LONGEST_S[name]:g} s")
        except Exception as error:  # noqa: BLE001
            self._failed(f"{self._interface.__name__}.{name}: {_said(error)}")

    def _on_report(self, name: str, declared: tuple[_Value, ...], callback: Any, *reported: Any) -> None:
        """Pass on what a driver reports."""
        try:
            values = [self._valid(value, each) for value, each in zip(reported, declared, strict=True)]
            if name == "on_fault" and values[0] not in FAULTS:
                raise ValueError(f"{values[0]!r} is not a fault")
        except Exception as error:  # noqa: BLE001
            self._failed(f"{self._interface.__name__}.{name}: {_said(error)}")
        else:
            callback(*values)


@cache
def _guard_of(interface: type) -> type[_Guard]:
    """Return the guard of an interface, with its properties: they are read in each turn of the safety channel."""
    values = {name: _property(each) for name, each in _members(interface).items() if isinstance(each, _Value)}
    return type(f"{interface.__name__}Guard", (_Guard,), values)


def _property(member: _Value) -> property:
    return property(lambda guard: guard.take(member))


def _checked(value: object, type_: object) -> object:
    """Return a value of the declared type. Raises an exception otherwise."""
    return typed_json.convert(msgspec.to_builtins(value), type_)


def _said(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {error}")[:200]
