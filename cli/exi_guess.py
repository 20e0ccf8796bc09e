"""Which grammar a stream or a message is in: as named, or by trying those that there are."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import msgspec

from cli.exi_input import Stream
from v2g.errors import ConfigError, ExiDecodeError, ExiEncodeError, ExiError
from v2g.exi import decode, decode_fragment, encode, encode_fragment
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.grammar import document, fragment, root_name
from v2g.exi.json import from_json
from v2g.exi.model import QName
from v2g.exi.python import from_python
from v2g.exi.xml import from_xml
from v2g.iso15118.messages.schemas import NAMESPACES

__all__ = ["Encoded", "Message", "decode_stream", "encode_text", "nearest_schema", "schema_named", "schemas"]

_T = TypeVar("_T")


class Message(msgspec.Struct, frozen=True):
    """An element with the grammar that it is read or written in."""

    element: Element
    schema: Schema
    root: QName

    @property
    def name(self) -> str:
        """Name of the message: of the root element, or of what the body holds where every root has the same name."""
        body = getattr(self.element, "body", None)
        content = getattr(body, "body_element", None)
        return type(content).__name__ if content is not None else self.root.local


class Encoded(msgspec.Struct, frozen=True):
    """A message and its stream."""

    message: Message
    octets: bytes


def schemas() -> list[Schema]:
    """Return all grammars that streams can be in."""
    return list(NAMESPACES.values())


def schema_named(name: str) -> Schema:
    """Return the grammar of a namespace, given whole, by its prefix (`cm`) or its last part (`CommonMessages`)."""
    if name in NAMESPACES:
        return NAMESPACES[name]
    wanted = name.lower()
    found = [each for each in schemas() if wanted == each.prefix]
    found = found or [each for each in schemas() if wanted == re.split("[:/]", each.uri.rstrip("#"))[-1].lower()]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.prefix} ({each.uri})" for each in found or schemas())
    raise ConfigError(f"{'several namespaces are' if found else 'no namespace is'} {name!r}", hint=f"known: {known}")


def decode_stream(stream: Stream, schema: Schema | None, *, is_fragment: bool) -> Message:
    """Decode in the given grammar, or in the only one that fits. Raises ExiError or ConfigError."""
    if schema is not None:
        return _decode(stream, schema, is_fragment=is_fragment)
    found, errors = _try(stream, is_fragment=is_fragment)
    if found:
        return _only([(each.schema, each) for each in found], "the stream")
    kind = "document" if is_fragment else "fragment"
    others = [each.schema.prefix for each in _try(stream, is_fragment=not is_fragment)[0]]
    nearest, error = max(errors, key=lambda each: each[1].bit_position)
    hint = f"as a {kind} it fits {' and '.join(others)}" if others else "--namespace tells why one does not fit"
    raise ExiError(f"no namespace fits; the nearest is {nearest.prefix} ({nearest.uri}): {error}", hint=hint)


def nearest_schema(stream: Stream, *, is_fragment: bool) -> Schema:
    """Return the grammar in which most of a stream can be read. Raises ConfigError when several are as near."""
    found, errors = _try(stream, is_fragment=is_fragment)
    if found:
        return _only([(each.schema, each.schema) for each in found], "the stream")
    furthest = max(error.bit_position for _, error in errors)
    near = [(schema, schema) for schema, error in errors if error.bit_position == furthest]
    return _only(near, "no namespace fits; as much of the stream")


def _try(stream: Stream, *, is_fragment: bool) -> tuple[list[Message], list[tuple[Schema, ExiDecodeError]]]:
    """Decode in every grammar that the payload type allows; return what fits best, and why the others do not."""
    found: list[Message] = []
    errors: list[tuple[Schema, ExiDecodeError]] = []
    allowed = [each for each in schemas() if stream.payload_type in (None, each.payload_type)]
    for schema in allowed or schemas():
        try:
            found.append(_decode(stream, schema, is_fragment=is_fragment))
        except ExiDecodeError as error:
            errors.append((schema, error))
    own = [each for each in found if each.root.uri in _own(each.schema)]
    return own or found, errors


def _decode(stream: Stream, schema: Schema, *, is_fragment: bool) -> Message:
    element = decode_fragment(stream.octets, schema) if is_fragment else decode(stream.octets, schema)
    roots = fragment(schema) if is_fragment else document(schema)
    begin = int.from_bytes(stream.octets[1:4].ljust(3, b"\0"))  # event codes have at most 9 bits
    return Message(element, schema, roots.names[begin >> 24 - roots.width])


def _own(schema: Schema) -> set[str]:
    """Return the namespaces that only this grammar knows, and that of the grammar itself."""
    others = {each.uri for other in schemas() if other is not schema for each in other.closure()}
    return {each.uri for each in schema.closure()} - others | {schema.uri}


def _only(found: Sequence[tuple[Schema, _T]], what: str) -> _T:
    if len(found) > 1:
        names = " and ".join(f"{schema.prefix} ({schema.uri})" for schema, _ in found)
        raise ConfigError(f"{what} fits {names}", hint=f"say which one it is: --namespace {found[0][0].prefix}")
    return found[0][1]


def encode_text(text: str, schema: Schema | None, *, is_fragment: bool) -> Encoded:
    """Encode XML, JSON or Python in the given grammar, or in the only one that it fits. Raises as `decode_stream`."""
    if schema is not None:
        return _encode(text, schema, is_fragment=is_fragment)
    name = _root_name(text)
    candidates = [each for each in schemas() if name is None or name in _names(each)]
    if not candidates:
        raise ExiError(f"no namespace declares {name}")
    found: list[Encoded] = []
    errors: list[ExiError] = []
    for each in candidates:
        try:
            found.append(_encode(text, each, is_fragment=is_fragment))
        except ExiEncodeError as error:
            errors.append(error)
    own = [each for each in found if each.message.root.uri in _own(each.message.schema)]
    if found:
        return _only([(each.message.schema, each) for each in own or found], "the message")
    raise max(errors, key=lambda error: error.path.count("/"))


def _root_name(text: str) -> str | None:
    """Return the name of the outermost element or class, if the text has the looks of XML, JSON or Python."""
    forms = (
        r"^\s*(?:<\?[^>]*\?>\s*)?<(?:[^\s<>/?:]+:)?([^\s<>/?:]+)(?=[\s/>])",
        r"^\s*\{\s*\"([^\"]*)\"",
        r"(?:^|\n)(\w+)\(",
    )
    return next((match[1] for form in forms if (match := re.search(form, text))), None)


@cache
def _names(schema: Schema) -> frozenset[str]:
    """Return the names of all elements and types of a schema and its imports."""
    types = {kind.__name__ for each in schema.closure() for kind in each.types()}
    return frozenset(types | {name.local for name in fragment(schema).names})


def _encode(text: str, schema: Schema, *, is_fragment: bool) -> Encoded:
    element, name = _parse(text, schema)
    root = root_name(type(element), schema, name)
    if not is_fragment and schema_of(type(element)) is not schema:
        raise ExiEncodeError(f"{root.local} is no document of {schema.uri}", hint="--fragment encodes any element")
    octets = encode_fragment(element, schema, name=root.local) if is_fragment else encode(element)
    return Encoded(Message(element, schema, root), octets)


def _parse(text: str, schema: Schema) -> tuple[Element, str | None]:
    """Return the element that some text describes, and the name that it gives to the root."""
    begin = text.lstrip()[:1]
    if begin == "<":
        return from_xml(text, schema), _root_name(text)
    if begin == "{":
        return from_json(text, schema), _root_name(text)
    return from_python(text, [schema]), None
