"""Messages as JSON: objects of the schema's element and attribute names.

=====================================  ==================================================================
schema                                 JSON
=====================================  ==================================================================
message                                an object whose only key is the element's name
complex type                           an object; absent fields have no key
member of a substitution group         a key of its own name, such as `BPT_Dynamic_DC_CLReqControlMode`
repeated element                       an array
xs:hexBinary, xs:base64Binary          a string in hexadecimal, in base64
enumeration                            its name
simple content                         the value; with an attribute, an object with the key `value`
mixed or repeated content in order     the key `content`: strings and objects with one key, the element's name
undeclared element                     the key `*`: namespace, name, attributes, content
=====================================  ==================================================================
"""

import base64
import binascii
import json
from enum import Enum
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from v2g import typed_json
from v2g.errors import ExiEncodeError
from v2g.exi.declare import AnyElement, Element, Schema, schema_of
from v2g.exi.grammar import root_name, root_type_of_local
from v2g.exi.model import Event, Kind, Model, Particle, Simple, leaves, model_of, qname_of

__all__ = ["from_json", "from_object", "to_json", "to_object"]

_TEXT: Final = "value"
_CONTENT: Final = "content"
_UNDECLARED: Final = "*"


def to_json(element: Element, *, schema: Schema | None = None, name: str | None = None) -> str:
    """Return an element as JSON on one line.

    `schema` and `name` are needed only where `encode_fragment` needs them. Raises ExiEncodeError if the element has
    no name in the schema.
    """
    # The standard library writes integers of any length, such as certificate serial numbers.
    return json.dumps(to_object(element, schema=schema, name=name), ensure_ascii=False)


def to_object(element: Element, *, schema: Schema | None = None, name: str | None = None) -> dict[str, object]:
    """Return the result of `to_json` as dictionaries, lists and plain values. Raises the same ExiEncodeError."""
    root = root_name(type(element), schema or schema_of(type(element)), name)
    return {root.local: _write(element)}


def _write(element: Element) -> object:
    found: dict[str, Any] = {}
    for slot in _slots(type(element)):
        value = getattr(element, slot.field)
        if value is None:
            continue
        for item in value if slot.repeated else (value,):
            key, simple = slot.events[0] if len(slot.events) == 1 else slot.member(type(item))
            written = _write(item) if isinstance(item, Element) else _plain(simple, item)
            if not slot.repeated:
                found[key] = written
            elif slot.group:
                found.setdefault(slot.group, []).append({key: written})
            else:
                found.setdefault(key, []).append(written)
    model = model_of(type(element))
    if model.content is not None and getattr(element, model.content_field):
        found[_CONTENT] = [_item(item) for item in getattr(element, model.content_field)]
    return found[_TEXT] if len(found) == 1 and _TEXT in found else found


class _Slot(NamedTuple):
    """A field of a declaration: its position, and the key and type of each of its events."""

    field: str
    repeated: bool
    group: str
    """Key of a repeated substitution group, whose items have their own names."""
    events: tuple[tuple[str, Simple | type[Element] | None], ...]

    def member(self, declaration: type) -> tuple[str, Simple | type[Element] | None]:
        """Return key and type of the member of a substitution group."""
        return next(each for each in self.events if each[1] is declaration)


@cache
def _slots(declaration: type[Element]) -> tuple[_Slot, ...]:
    found = []
    for particle in model_of(declaration).particles:
        group = _key(particle) if particle.repeated and len(particle.events) > 1 else ""
        for field in dict.fromkeys(event.field for event in particle.events):
            events = tuple((_event_key(event), event.type) for event in particle.events if event.field == field)
            found.append(_Slot(field, particle.repeated, group, events))
    return tuple(found)


def _event_key(event: Event) -> str:
    return _TEXT if event.kind is Kind.TEXT else event.qname.local


def _key(particle: Particle) -> str:
    """Return the name of the head of a repeated substitution group."""
    return next((event.qname.local for event in particle.events if event.type is None), particle.events[0].qname.local)


def _plain(simple: Simple | type[Element] | None, value: object) -> object:
    if isinstance(value, bytes):
        hexadecimal = isinstance(simple, Simple) and simple.hexadecimal
        return value.hex().upper() if hexadecimal else base64.b64encode(value).decode("ascii")
    return value._value_ if isinstance(value, Enum) else value


def _item(item: str | Element) -> object:
    if isinstance(item, str):
        return item
    if isinstance(item, AnyElement):
        return {_UNDECLARED: msgspec.to_builtins(item)}
    return {qname_of(type(item)).local: _write(item)}


def from_json(text: str, schema: Schema) -> Element:
    """Return the element described by JSON. Raises ExiEncodeError with the path of undeclared content."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExiEncodeError(f"not JSON: {error}") from None
    return from_object(found, schema)


def from_object(value: object, schema: Schema) -> Element:
    """Return the element described by parsed JSON. Ranges are checked at encoding. Raises ExiEncodeError."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ExiEncodeError("not the JSON of a message: an object whose only key is the element's name")
    ((name, content),) = value.items()
    try:
        return _read(content, root_type_of_local(name, schema), name)
    except RecursionError:
        raise ExiEncodeError("nests too deeply", path=name) from None


def _read(value: object, declaration: type[Element], path: str) -> Element:
    model = model_of(declaration)
    if not isinstance(value, dict):
        if not any(event.kind is Kind.TEXT for particle in model.particles for event in particle.events):
            raise ExiEncodeError(f"{_kind(value)} where an object is expected", path=path)
        value = {_TEXT: value}
    left = dict(value)
    fields: dict[str, object] = {}
    for particle in model.particles:
        if particle.repeated:
            _read_list(particle, left, fields, path)
            continue
        for event in particle.events:
            key = _TEXT if event.kind is Kind.TEXT else event.qname.local
            if key not in left or event.type is None:
                continue
            if event.field in fields:
                raise ExiEncodeError(f"{key} and another member of its substitution group", path=path)
            fields[event.field] = _read_value(left.pop(key), event, f"{path}/{key}")
    if model.content is not None:
        fields[model.content_field] = _read_items(left.pop(_CONTENT, []), model, path)
    if left:
        raise ExiEncodeError("is not declared here", path=f"{path}/{next(iter(left))}")
    _check_presence(model, fields, path)
    return declaration(**fields)


def _check_presence(model: Model, fields: dict[str, object], path: str) -> None:
    for particle in model.particles:
        if particle.least and not any(event.field in fields for event in particle.events):
            names = " or ".join(event.qname.local or _TEXT for event in particle.events if event.type is not None)
            raise ExiEncodeError(f"{names} is missing", path=path)


def _read_list(particle: Particle, left: dict[str, object], fields: dict[str, object], path: str) -> None:
    key = _key(particle)
    if key not in left:
        return
    items = left.pop(key)
    here = f"{path}/{key}"
    if not isinstance(items, list):
        raise ExiEncodeError(f"{_kind(items)} where an array is expected", path=here)
    found = []
    for index, item in enumerate(items):
        event, member = particle.events[0], item
        if len(particle.events) > 1:
            name, member = _only(item, f"{here}[{index}]")
            events = [each for each in particle.events if each.qname.local == name and each.type is not None]
            if not events:
                raise ExiEncodeError("is not declared here", path=f"{here}[{index}]/{name}")
            event = events[0]
        found.append(_read_value(member, event, f"{here}[{index}]"))
    fields[particle.events[0].field] = tuple(found)


def _only(value: object, path: str) -> tuple[str, object]:
    """Return key and value of an object with one key."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ExiEncodeError("not text or an object with one key, the element's name", path=path)
    ((name, content),) = value.items()
    return name, content


def _read_items(items: object, model: Model, path: str) -> tuple[object, ...]:
    assert model.content is not None
    if not isinstance(items, list):
        raise ExiEncodeError(f"{_kind(items)} where an array is expected", path=f"{path}/{_CONTENT}")
    declared = {qname_of(leaf).local: leaf for leaf in leaves(model.content.model)}
    found: list[str | Element] = []
    for index, item in enumerate(items):
        if isinstance(item, str):
            found.append(item)
            continue
        name, content = _only(item, f"{path}/{_CONTENT}[{index}]")
        here = f"{path}/{name}[{index}]"
        if name == _UNDECLARED:
            try:
                found.append(typed_json.convert(content, AnyElement))
            except msgspec.ValidationError as error:
                raise ExiEncodeError(str(error), path=here) from None
        elif name in declared:
            found.append(_read(content, declared[name], here))
        else:
            raise ExiEncodeError("is not declared here", path=here)
    return tuple(found)


def _read_value(value: Any, event: Event, path: str) -> object:
    simple = event.type
    if not isinstance(simple, Simple):
        assert simple is not None
        return _read(value, simple, path)
    expected: type = {"boolean": bool, "bits": int, "unsigned": int, "integer": int}.get(simple.kind, str)
    fits = isinstance(value, expected) and not (expected is int and isinstance(value, bool))
    if not fits:
        words = {bool: "a boolean", int: "an integer"}.get(expected, "a string")
        raise ExiEncodeError(f"{_kind(value)} where {words} is expected", path=path)
    try:
        if simple.kind == "binary":
            return bytes.fromhex(value) if simple.hexadecimal else base64.b64decode(value, validate=True)
        return simple.members(value) if simple.members is not None else value
    except (ValueError, binascii.Error):
        what = f"a value of {simple.members.__name__}" if simple.members else "hexadecimal"
        what = "base64" if simple.kind == "binary" and not simple.hexadecimal else what
        raise ExiEncodeError(f"{value[:40]!r} is not {what}", path=path) from None


def _kind(value: object) -> str:
    """Return JSON's name of a value's type."""
    words = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return words.get(type(value), "a number")
