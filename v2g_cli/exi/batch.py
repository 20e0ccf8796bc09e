"""Batch mode: one JSON object per line in, one per line out, also for invalid lines."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from v2g.errors import V2GError
from v2g.exi import to_xml
from v2g.exi.json import to_object
from v2g_cli.exi.guess import How, Message, decode_stream, encode_text, schema_named
from v2g_cli.exi.input import Notation, stream_of

_ENCODE: Final = ("xml", "json", "python")


def record(message: Message) -> dict[str, Any]:
    """Return a message in every output form."""
    element, schema, name = message.element, message.schema, message.clark
    return {
        "message": message.name,
        "xml": to_xml(element, schema=schema, name=name),
        "json": to_object(element, schema=schema, name=name),
    }


def decode_lines(lines: Iterable[bytes], how: How) -> Iterator[str]:
    """Answer `{"namespace", "fragment", "exi_hex"}` with `{"message", "xml", "json"}`.

    The default `namespace` is that of `how`, or guessed and reported; the default `fragment` is that of `how`.
    A line that cannot be decoded is answered with `{"error"}`.
    """
    for line in lines:
        if line.strip():
            yield _answer(line, lambda given: _decode(given, how))


def encode_lines(lines: Iterable[bytes], how: How) -> Iterator[str]:
    """Answer `{"namespace", "fragment", "xml"}` (or `json`, or `python`) with `{"exi_hex"}`, as `decode_lines` does."""
    for line in lines:
        if line.strip():
            yield _answer(line, lambda given: _encode(given, how))


def _answer(line: bytes, work: Any) -> str:
    try:
        given = json.loads(line)
        if not isinstance(given, dict):
            raise ValueError("not an object")
        answer = work(given)
    except V2GError as error:
        answer = {"error": str(error)}
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        answer = {"error": f"not a JSON object: {error}"}
    return json.dumps(answer, ensure_ascii=False)


def _about(given: dict[str, Any], how: How) -> How:
    namespace = given.get("namespace")
    schema = schema_named(str(namespace)) if namespace else how.schema
    return How(schema, bool(given.get("fragment", how.is_fragment)), how.dialect)


def _decode(given: dict[str, Any], how: How) -> dict[str, Any]:
    how = _about(given, how)
    if not isinstance(given.get("exi_hex"), str):
        return {"error": "exi_hex is missing"}
    message = decode_stream(stream_of(given["exi_hex"].encode(), Notation.hex), how)
    return record(message) | _guessed(message, how)


def _encode(given: dict[str, Any], how: How) -> dict[str, Any]:
    how = _about(given, how)
    form = next((each for each in _ENCODE if given.get(each)), None)
    if form is None:
        return {"error": f"one of {', '.join(_ENCODE)} is missing"}
    text = given[form] if isinstance(given[form], str) else json.dumps(given[form])
    encoded = encode_text(text, how)
    return {"exi_hex": encoded.octets.hex()} | _guessed(encoded.message, how)


def _guessed(message: Message, how: How) -> dict[str, str]:
    return {} if how.schema else {"namespace": message.schema.uri}
