"""Input of `v2g exi`, and its grammar: as named, or by trying all.

Input is an argument, a file or standard input; bytes in any notation, or a message as text.
"""

import base64
import binascii
import re
import sys
from collections.abc import Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final, TypeVar
from xml.etree import ElementTree

import msgspec

from v2g.errors import ConfigError, ExiDecodeError, ExiEncodeError, ExiError, FrameError
from v2g.exi import Dialect, decode, decode_fragment, encode, encode_fragment
from v2g.exi.cbexigen import swapped
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.grammar import document, fragment, root_name
from v2g.exi.json import from_json
from v2g.exi.model import QName
from v2g.exi.xml import from_xml
from v2g.iso15118.engine.v2gtp import DEFAULT_MAX_PAYLOAD, HEADER_SIZE, VERSION, read_header
from v2g.iso15118.select import NAMESPACES
from v2g_cli.output import read_file

_HEX: Final = re.compile(r"(0[xX])?([0-9A-Fa-f]{2}[\s:,]*)+")
_SEPARATORS: Final = re.compile(r"0[xX]|[\s:,]")
_EXI_HEADER: Final = 0x80


class Notation(Enum):
    """Notations of bytes."""

    auto = "auto"
    hex = "hex"
    base64 = "base64"
    binary = "binary"


class Stream(msgspec.Struct, frozen=True):
    """An EXI stream, and the V2GTP payload type if it came with that header."""

    octets: bytes
    payload_type: int | None = None


def read_stream(given: str | None, notation: Notation) -> Stream:
    """Return the octets of an argument (hexadecimal, base64 or a file's name), or of standard input."""
    path = _file(given)
    if path is not None or given in (None, "-"):
        return stream_of(_content(path), notation)
    stream = stream_of(str(given).encode("utf-8", "replace"), notation)
    if notation is Notation.auto and stream.octets[0] != _EXI_HEADER:
        raise ConfigError(f"{given}: no such file, and not an EXI stream in hexadecimal or base64")
    return stream


def stream_of(content: bytes, notation: Notation = Notation.auto) -> Stream:
    """Return the bytes of an input, without a leading V2GTP header."""
    octets = _octets(content, notation)
    if not octets:
        raise ExiDecodeError("nothing to read", bit_position=0)
    if octets[:2] != VERSION:
        return Stream(octets)
    if len(octets) < HEADER_SIZE:
        raise FrameError("the V2GTP header is truncated")
    kind, size = read_header(octets, max_payload=DEFAULT_MAX_PAYLOAD)
    if len(octets) != HEADER_SIZE + size:
        raise FrameError(f"V2GTP header announces {size} octets, {len(octets) - HEADER_SIZE} follow")
    return Stream(octets[HEADER_SIZE:], kind)


def read_text(given: str | None) -> str:
    """Return a message as text: from a file, standard input, or the argument itself."""
    path = _file(given)
    if path is None and given not in (None, "-"):
        if not re.match(r"\s*(<|\{|from\s|\w+\()", str(given)):
            raise ConfigError(f"{given}: no such file, and not XML, JSON or Python")
        return str(given)
    try:
        return _content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path or 'standard input'}: not UTF-8 at octet {error.start}") from None


def _file(given: str | None) -> Path | None:
    try:
        return Path(given) if given and given != "-" and Path(given).exists() else None
    except (OSError, ValueError):  # too long for a name, or a null character
        return None


def _content(path: Path | None) -> bytes:
    if path is None:
        return sys.stdin.buffer.read()
    return read_file(path)


def _octets(content: bytes, notation: Notation) -> bytes:
    """Decode the notation. EXI begins with a byte that no text begins with, so it is recognised."""
    if notation is Notation.binary or (
        notation is Notation.auto and (content[:1] == bytes((_EXI_HEADER,)) or content[:2] == VERSION)
    ):
        return content
    text = content.decode("ascii", "replace").strip()
    if notation is Notation.hex or (notation is Notation.auto and _HEX.fullmatch(text)):
        try:
            return bytes.fromhex(_SEPARATORS.sub("", text))
        except ValueError:
            raise ConfigError(f"{text[:40]!r} is not hexadecimal") from None
    try:
        packed = re.sub(r"\s", "", text)
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (ValueError, binascii.Error):
        what = "base64" if notation is Notation.base64 else "no such file, and not hexadecimal or base64"
        raise ConfigError(f"{text[:40]!r} is {'not ' if what == 'base64' else ''}{what}") from None


_T = TypeVar("_T")


class How(msgspec.Struct, frozen=True):
    """What is known about a stream."""

    schema: Schema | None = None
    """Its grammar; None: unknown."""
    is_fragment: bool = False
    dialect: Dialect = Dialect.EXI


class Message(msgspec.Struct, frozen=True):
    """An element with the grammar that it is read or written in."""

    element: Element
    schema: Schema
    root: QName

    @property
    def clark(self) -> str:
        """Name of the root element in Clark notation, which is never ambiguous."""
        return f"{{{self.root.uri}}}{self.root.local}"

    @property
    def name(self) -> str:
        """Name of the message: of the root element, or of the body's content if all roots have the same name."""
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
    """Return the grammar of a namespace, by its URI, its prefix (`cm`) or its last part (`CommonMessages`)."""
    if name in NAMESPACES:
        return NAMESPACES[name]
    wanted = name.lower()
    found = [each for each in schemas() if wanted == each.prefix]
    found = found or [each for each in schemas() if wanted == re.split("[:/]", each.uri.rstrip("#"))[-1].lower()]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.prefix} ({each.uri})" for each in found or schemas())
    raise ConfigError(
        f"{'several namespaces named' if found else 'no namespace named'} {name!r}", hint=f"known: {known}"
    )


def decode_stream(stream: Stream, how: How) -> Message:
    """Decode in the given grammar, or in the only one that fits. Raises ExiError or ConfigError."""
    if how.schema is not None:
        return _decode(stream, how.schema, how)
    found, errors = _try(stream, how)
    if found:
        return _only([(each.schema, each) for each in found], "the stream")
    kind = "document" if how.is_fragment else "fragment"
    other = How(None, not how.is_fragment, how.dialect)
    others = [each.schema.prefix for each in _try(stream, other)[0]]
    nearest, error = max(errors, key=lambda each: each[1].bit_position)
    hint = f"as a {kind} it fits {' and '.join(others)}" if others else "--namespace shows why one does not match"
    raise ExiError(f"no namespace matches; the nearest is {nearest.prefix} ({nearest.uri}): {error}", hint=hint)


def nearest_schema(stream: Stream, how: How) -> Schema:
    """Return the grammar in which most of a stream can be read. Raises ConfigError if there are several."""
    found, errors = _try(stream, how)
    if not found:
        found, errors = _try(stream, how, tolerant=True)
    if found:
        return _only([(each.schema, each.schema) for each in found], "the stream")
    furthest = max(error.bit_position for _, error in errors)
    near = [(schema, schema) for schema, error in errors if error.bit_position == furthest]
    return _only(near, "no namespace fits; as much of the stream")


def _try(
    stream: Stream, how: How, *, tolerant: bool = False
) -> tuple[list[Message], list[tuple[Schema, ExiDecodeError]]]:
    """Decode in every grammar that the payload type allows; return the best matches, and the others' errors.

    With `tolerant` values may be beyond the schema.
    """
    found: list[Message] = []
    errors: list[tuple[Schema, ExiDecodeError]] = []
    allowed = [each for each in schemas() if stream.payload_type in (None, each.payload_type)]
    for schema in allowed or schemas():
        try:
            found.append(_decode(stream, schema, how, tolerant=tolerant))
        except ExiDecodeError as error:
            errors.append((schema, error))
    own = [each for each in found if each.root.uri in _own(each.schema)]
    return own or found, errors


def _decode(stream: Stream, schema: Schema, how: How, *, tolerant: bool = False) -> Message:
    read = decode_fragment if how.is_fragment else decode
    element = read(stream.octets, schema, dialect=how.dialect, deviations=[] if tolerant else None)
    roots = fragment(schema) if how.is_fragment else document(schema)
    begin = int.from_bytes(stream.octets[1:4].ljust(3, b"\0"))  # event codes have at most 9 bits
    root = roots.names[begin >> 24 - roots.width]
    return Message(element, schema, root if how.is_fragment or how.dialect is Dialect.EXI else swapped(root))


def _own(schema: Schema) -> set[str]:
    """Return the namespaces of this grammar alone, and that of the grammar itself."""
    others = {each.uri for other in schemas() if other is not schema for each in other.closure()}
    return {each.uri for each in schema.closure()} - others | {schema.uri}


def _only(found: Sequence[tuple[Schema, _T]], what: str) -> _T:
    if len(found) > 1:
        names = " and ".join(f"{schema.prefix} ({schema.uri})" for schema, _ in found)
        raise ConfigError(f"{what} matches {names}", hint=f"choose one: --namespace {found[0][0].prefix}")
    return found[0][1]


def encode_text(text: str, how: How) -> Encoded:
    """Encode XML or JSON in the given grammar, or in the only one that matches. Raises as `decode_stream`."""
    if how.schema is not None:
        return _encode(text, how.schema, how)
    name = _root_name(text)
    candidates = [each for each in schemas() if name is None or name in _names(each)]
    if not candidates:
        raise ExiError(f"no namespace declares {name}")
    found: list[Encoded] = []
    errors: list[ExiError] = []
    for each in candidates:
        try:
            found.append(_encode(text, each, how))
        except ExiEncodeError as error:
            errors.append(error)
    own = [each for each in found if each.message.root.uri in _own(each.message.schema)]
    if found:
        return _only([(each.message.schema, each) for each in own or found], "the message")
    raise max(errors, key=lambda error: error.path.count("/"))


def _root_name(text: str) -> str | None:
    """Return the name of the outermost element, if the text looks like XML or JSON."""
    forms = (r"^\s*(?:<\?[^>]*\?>\s*)?<(?:[^\s<>/?:]+:)?([^\s<>/?:]+)(?=[\s/>])", r"^\s*\{\s*\"([^\"]*)\"")
    return next((match[1] for form in forms if (match := re.search(form, text))), None)


@cache
def _names(schema: Schema) -> frozenset[str]:
    """Return the names of all elements and types of a schema and its imports."""
    types = {kind.__name__ for each in schema.closure() for kind in each.types()}
    return frozenset(types | {name.local for name in fragment(schema).names})


def _encode(text: str, schema: Schema, how: How) -> Encoded:
    element, name = _parse(text, schema)
    message = Message(element, schema, root_name(type(element), schema, name))
    if how.is_fragment:
        return Encoded(message, encode_fragment(element, schema, name=message.clark, dialect=how.dialect))
    if schema_of(type(element)) is not schema:
        why = f"{message.root.local} is not a document of {schema.uri}"
        raise ExiEncodeError(why, hint="--fragment encodes any element")
    return Encoded(message, encode(element, dialect=how.dialect))


def _parse(text: str, schema: Schema) -> tuple[Element, str | None]:
    """Return the element described by a text, and its name for the root."""
    begin = text.lstrip()[:1]
    if begin == "<":
        element = from_xml(text, schema)
        return element, ElementTree.fromstring(text).tag  # noqa: S314 - the line before refuses document types
    if begin == "{":
        return from_json(text, schema), _root_name(text)
    raise ExiEncodeError("neither XML nor JSON", hint="v2g exi decode prints both")
