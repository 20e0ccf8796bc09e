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
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from v2g import typed_json
from v2g.errors import ExiEncodeError
from v2g.exi.declare import AnyElement, Element, Schema, schema_of
from v2g.exi.grammar import root_name, root_type_of_local
from v2g.exi.model import Event, Kind, Particle, Simple, leaves, model_of, qname_of

_TEXT: Final = "value"
_CONTENT: Final = "content"
_UNDECLARED: Final = "*"

_PLAIN: Final = {"boolean": bool, "bits": int, "unsigned": int, "integer": int, "string": str}
"""Types of the values that are the same in JSON, by their EXI representation."""


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
    slots, content = _layout(type(element))
    found: dict[str, object] = {}
    for field, key, write, repeated in slots:
        value = getattr(element, field)
        if value is None:
            continue
        if repeated:
            if value:
                found[key] = [write(item) for item in value]
        elif key:
            found[key] = write(value)
        else:
            found[type(value).__name__] = write(value)
    if content and (items := getattr(element, content)):
        found[_CONTENT] = [_item(item) for item in items]
    return found[_TEXT] if len(found) == 1 and _TEXT in found else found


_Write = Callable[[Any], object]
"""Returns the JSON of a field's value, or of each of its values if it is repeated."""


class _Slot(NamedTuple):
    """A field of a declaration."""

    field: str
    key: str
    """Empty for a single member of a substitution group, which has its own name."""
    write: _Write
    repeated: bool


@cache
def _layout(declaration: type[Element]) -> tuple[tuple[_Slot, ...], str]:
    """Return how a type is written: its slots, and the field of its content in order."""
    model = model_of(declaration)
    found = []
    for particle in model.particles:
        for field in dict.fromkeys(event.field for event in particle.events):
            events = [event for event in particle.events if event.field == field]
            if len(events) == 1:
                slot = _Slot(field, _event_key(events[0]), _writer(events[0].type), particle.repeated)
            elif particle.repeated:
                slot = _Slot(field, _key(particle), _item, repeated=True)
            else:
                slot = _Slot(field, "", _write, repeated=False)
            found.append(slot)
    return tuple(found), model.content_field


def _writer(declared: Simple | type[Element] | None) -> _Write:
    """Return the function that writes a value of a type, chosen once instead of for every value."""
    if not isinstance(declared, Simple):
        return _write
    if declared.members is not None:
        return attrgetter("_value_")
    if declared.kind == "binary":
        return _hexadecimal if declared.hexadecimal else _base64
    return _PLAIN[declared.kind]


def _event_key(event: Event) -> str:
    return _TEXT if event.kind is Kind.TEXT else event.qname.local


def _key(particle: Particle) -> str:
    """Return the name of the head of a repeated substitution group."""
    return next((event.qname.local for event in particle.events if event.type is None), particle.events[0].qname.local)


def _hexadecimal(value: bytes) -> str:
    return value.hex().upper()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _item(item: str | Element) -> object:
    if isinstance(item, str):
        return item
    if isinstance(item, AnyElement):
        return {_UNDECLARED: msgspec.to_builtins(item)}
    return {type(item).__name__: _write(item)}


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
        items = left.pop(_CONTENT, [])
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
        fields[model.content_field] = tuple(found)
    if left:
        raise ExiEncodeError("is not declared here", path=f"{path}/{next(iter(left))}")
    for particle in model.particles:
        if particle.least and not any(event.field in fields for event in particle.events):
            names = " or ".join(event.qname.local or _TEXT for event in particle.events if event.type is not None)
            raise ExiEncodeError(f"{names} is missing", path=path)
    return declaration(**fields)


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


def _read_value(value: Any, event: Event, path: str) -> object:
    simple = event.type
    if not isinstance(simple, Simple):
        assert simple is not None
        return _read(value, simple, path)
    expected: type = _PLAIN.get(simple.kind, str)
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
