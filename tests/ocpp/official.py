"""The official JSON schemas of OCPP, which the package `ocpp` carries, and values made from them.

Two directions are needed: what our declarations allow must be valid by the schema, and what the schema allows must be
readable by our declarations.
"""

import functools
import string
import typing
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema_rs
import msgspec
from hypothesis import strategies as st

from v2g.ocpp import routes
from v2g.ocpp.messages.base import DateTime, Message
from v2g.ocpp.routes import Version
from v2g.ocpp.v16.messages import Location16
from v2g_testkit.official_schemas import known_messages, schema

VERSIONS: tuple[Version, ...] = ("2.0.1", "2.1")
WITH_16: tuple[Version, ...] = ("1.6", *VERSIONS)
ALPHABET = string.ascii_letters + string.digits + " -_äß€"
TIMES = ("2026-01-31T23:59:59Z", "2026-06-01T12:00:00.250+02:00")


@functools.cache
def validator(name: str, version: Version) -> jsonschema_rs.Draft6Validator:
    """Return a validator that also checks formats."""
    return jsonschema_rs.Draft6Validator(schema(name, version), validate_formats=True)


def message_names(version: Version) -> list[str]:
    """Return the name of every message of a version."""
    return sorted(known_messages(version))


def actions(version: Version) -> frozenset[str]:
    """Return every action of a version by the official schemas."""
    return frozenset(name.removesuffix("Request").removesuffix("Response") for name in message_names(version))


def message_type(name: str, version: Version = "2.1") -> type[Message]:
    """Return our class for a message."""
    if name.endswith("Response"):
        return routes.response_type(name.removesuffix("Response"), version)
    return routes.request_type(name.removesuffix("Request"), version)


# -- values that our declarations allow


def instances(type_: Any, version: Version) -> st.SearchStrategy[Any]:
    """Return builtin values that a declared type allows in a version."""
    return _instances(type_, version, {})


def _instances(hint: Any, version: Version, limits: dict[str, Any]) -> st.SearchStrategy[Any]:
    if hint == Location16:
        return st.just("https://example.org/a")
    if hint == DateTime:
        return st.sampled_from(TIMES)
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *metas = get_args(hint)
        merged = dict(limits)
        for meta in metas:
            merged |= {
                k: getattr(meta, k) for k in ("ge", "le", "min_length", "max_length") if getattr(meta, k) is not None
            }
            merged |= (meta.extra or {}).get(version, {})
        return _instances(inner, version, merged)
    if origin in (Union, UnionType):
        kinds = [a for a in get_args(hint) if a is not NoneType]
        if [_bare(kind) for kind in kinds] == [int, float]:
            return st.integers(0, 10**6) if limits.get("integer") else st.floats(0, 1e6)
        return _instances(kinds[0], version, limits)
    if origin is Literal:
        return st.sampled_from([value for value in get_args(hint) if value not in limits.get("without", ())])
    if origin is tuple:
        item = _instances(get_args(hint)[0], version, {k: v for k, v in limits.items() if k == "values"})
        return st.lists(item, min_size=1, max_size=min(2, limits.get("max_length", 2)))
    return _plain(hint, version, limits)


def _bare(hint: Any) -> Any:
    """Return a type without its limits."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _plain(hint: Any, version: Version, limits: dict[str, Any]) -> st.SearchStrategy[Any]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct(hint, version)
    if hint is Any:
        return st.sampled_from([{"any": [1, None]}, "text", 3])
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(limits.get("least", limits.get("ge", -(2**31))), limits.get("le", 2**31 - 1))
    if hint is float and limits.get("tenths"):
        return st.integers(-(10**6), 10**6).map(lambda number: number / 10)
    if hint is float:
        return st.floats(limits.get("ge", -1e6), limits.get("le", 1e6))
    assert hint is str, hint
    if "values" in limits:
        return st.sampled_from(limits["values"])
    return st.text(ALPHABET, max_size=min(40, limits.get("max_length", 40)))


@functools.cache
def _struct(type_: type[msgspec.Struct], version: Version) -> st.SearchStrategy[dict[str, Any]]:
    hints = get_type_hints(type_, include_extras=True)
    required, optional = {}, {}
    for field in msgspec.structs.fields(type_):
        rule = _rule(hints[field.name], version)
        if rule.get("absent"):
            continue
        home = required if field.required or rule.get("required") else optional
        home[field.encode_name] = _instances(hints[field.name], version, {})
    return st.fixed_dictionaries(required, optional=optional)


def _rule(hint: Any, version: Version) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if get_origin(hint) is Annotated:
        for meta in get_args(hint)[1:]:
            found |= (meta.extra or {}).get(version, {})
    return found


# -- values that the official schema allows


def maximal(part: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a value that has every property the schema knows, at its longest."""
    if "$ref" in part:
        return maximal(root["definitions"][part["$ref"].rsplit("/", 1)[1]], root)
    if "enum" in part:
        return part["enum"][-1]
    match part.get("type"):
        case "object":
            return {name: maximal(inner, root) for name, inner in part.get("properties", {}).items()}
        case "array":
            return [maximal(part["items"], root)] * min(3, part.get("maxItems", 3))
        case "string":
            if part.get("format") == "uri":
                return "ftp://user:secret@example.org/logs?of=a%20station"
            return TIMES[1] if part.get("format") == "date-time" else "x" * min(part.get("maxLength", 50), 20_000)
        case "integer":
            return int(part.get("maximum", part.get("minimum", 1)))  # 2.1 bounds what 2.0.1 leaves open: 1 suits both
        case "number":
            return part.get("maximum", part.get("minimum", 7.5))
        case "boolean":
            return True
    return {"anything": None}


def minimal(part: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a value with nothing but what is required."""
    if "$ref" in part:
        return minimal(root["definitions"][part["$ref"].rsplit("/", 1)[1]], root)
    if "enum" in part:
        return part["enum"][0]
    if part.get("type") == "object":
        return {name: minimal(part["properties"][name], root) for name in part.get("required", ())}
    if part.get("type") == "array":
        return [minimal(part["items"], root)]
    return maximal(part, root)


def enumerations(
    part: dict[str, Any], root: dict[str, Any], path: tuple[str, ...] = ()
) -> typing.Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the path and values of every enumeration in a message."""
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if "enum" in part:
        yield path, part["enum"]
    for name, inner in part.get("properties", {}).items():
        yield from enumerations(inner, root, (*path, name))
    if "items" in part:
        yield from enumerations(part["items"], root, (*path, "0"))
