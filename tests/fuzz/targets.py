"""What must hold for any octets and any text: a value, or the one documented error. Shared by all fuzzers."""

from collections.abc import Callable
from typing import Any

from tests.exi.vectors import load
from tests.fuzz import csms, eebus, feeds, judges, links, meter_records, ocpp, pages, payment, pki, sessions, tls, trust
from tests.fuzz.hardware import (
    board,
    board_seeds,
    cards,
    cards_seeds,
    energy,
    energy_seeds,
    energy_word,
    energy_word_seeds,
    meter,
    meter_seeds,
)
from tests.fuzz.slac import frame, frame_seeds
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi import Dialect, decode, decode_fragment, encode, encode_fragment
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.grammar import fragment
from v2g.exi.json import from_json, to_json
from v2g.exi.xml import from_xml, to_xml
from v2g.iso15118.select import NAMESPACES

SCHEMAS = tuple(NAMESPACES.values())
KINDS = tuple((schema, is_fragment) for schema in SCHEMAS for is_fragment in (False, True))


def stream(data: bytes) -> None:
    """The first octet chooses grammar and dialect, the rest is a stream."""
    if not data:
        return
    schema, is_fragment = KINDS[data[0] % len(KINDS)]
    dialect = Dialect.CBEXIGEN if data[0] & 128 else Dialect.EXI
    any_stream(data[1:], schema, is_fragment=is_fragment, dialect=dialect)


def any_stream(octets: bytes, schema: Schema, *, is_fragment: bool, dialect: Dialect = Dialect.EXI) -> None:
    """Decode; what comes out can be shown, and written again, and is then the same."""
    function = decode_fragment if is_fragment else decode
    try:
        element = function(octets, schema, dialect=dialect)
    except ExiDecodeError as error:
        assert 0 <= error.bit_position <= 8 * len(octets)  # noqa: PT017 - any stream may be refused, none must be
        return
    name = None
    if is_fragment:
        roots = fragment(schema)
        root = roots.names[int.from_bytes(octets[1:3]) >> 16 - roots.width]
        name = f"{{{root.uri}}}{root.local}"
    to_xml(element, schema=schema, name=name)
    to_json(element, schema=schema, name=name)
    if is_fragment:
        assert decode_fragment(encode_fragment(element, schema, name=name), schema) == element
    else:  # an imported element is written as a document of its own namespace
        assert decode(encode(element), schema_of(type(element))) == element


def text(data: bytes) -> None:
    """The first octet chooses grammar and notation, the rest is XML or JSON."""
    if not data:
        return
    schema, is_xml = KINDS[data[0] % len(KINDS)]
    notation = data[1:].decode("utf-8", "replace")
    element = parsed(from_xml if is_xml else from_json, notation, schema)
    if element is None:
        return
    try:
        octets = encode(element)
    except ExiEncodeError:
        return
    assert decode(octets, schema_of(type(element))) == element


def parsed(function: Callable[[str, Schema], Element], notation: str, schema: Schema) -> Any:
    """Return the element, or none where the notation is refused."""
    try:
        return function(notation, schema)
    except ExiEncodeError:
        return None


def seeds() -> list[bytes]:
    """Return real streams of every kind, as `stream` takes them."""
    found = []
    for vector in load():
        kind = KINDS.index((vector.schema, vector.fragment))
        found.append(bytes((kind,)) + vector.octets)
    return found


def text_seeds() -> list[bytes]:
    """Return real messages in both notations, as `text` takes them."""
    found = []
    for vector in load()[::20]:
        schema = vector.schema
        element = (decode_fragment if vector.fragment else decode)(vector.octets, schema)
        for is_xml, function in ((True, to_xml), (False, to_json)):
            notation = function(element, schema=schema, name=vector.root)
            found.append(bytes((KINDS.index((schema, is_xml)),)) + notation.encode())
    return found


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = (
    {
        "stream": (stream, seeds),
        "text": (text, text_seeds),
        "board": (board, board_seeds),
        "energy": (energy, energy_seeds),
        "energy_word": (energy_word, energy_word_seeds),
        "meter": (meter, meter_seeds),
        "cards": (cards, cards_seeds),
        "frame": (frame, frame_seeds),
        "capture": (links.capture, links.capture_seeds),
        "serial": (links.serial, links.serial_seeds),
        "discovery": (links.discovery, links.discovery_seeds),
        "watched": (links.watched, links.watched_seeds),
        "hello": (tls.hello, tls.hello_seeds),
        "asked": (pki.asked, pki.asked_seeds),
        "typed": (pki.typed, pki.typed_seeds),
    }
    | eebus.TARGETS
    | feeds.TARGETS
    | ocpp.TARGETS
    | csms.TARGETS
    | judges.TARGETS
    | meter_records.TARGETS
    | pages.TARGETS
    | payment.TARGETS
    | trust.TARGETS
    | sessions.TARGETS
)
"""Name: function and where its corpus begins."""
