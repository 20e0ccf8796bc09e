"""The reference of the HTTP interface from its OpenAPI document: a page for each operation, public as that is."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

import msgspec

from csms.console.visit import Visit, page
from csms.http.pipeline import Answer
from csms.http.problems import missing
from csms.http.routes import interface
from v2g.typed_json import Fields

REFERENCE: Final = "/api-docs"
_COMMON: Final = frozenset({"401", "403", "413", "429", "500", "503"})
"""Answers that every operation may give; the first page has them."""

_BOUNDS: Final = {
    "minimum": "\u2265",
    "maximum": "\u2264",
    "exclusiveMinimum": ">",
    "exclusiveMaximum": "<",
    "minLength": "length \u2265",
    "maxLength": "length \u2264",
    "minItems": "items \u2265",
    "maxItems": "items \u2264",
    "pattern": "pattern",
}


class Field(msgspec.Struct, frozen=True):
    """A field of a body, or a parameter. `refers`: names of schemas in its type."""

    name: str
    kind: str
    refers: tuple[str, ...]
    required: bool
    about: str


class Schema(msgspec.Struct, frozen=True):
    """A named type: its fields, or the type that it stands for."""

    name: str
    about: str
    kind: str
    fields: tuple[Field, ...]


class Body(msgspec.Struct, frozen=True):
    """A body of a request or an answer."""

    kind: str
    refers: tuple[str, ...]
    media_type: str
    example: str


class Response(msgspec.Struct, frozen=True):
    """An answer by its status."""

    status: str
    about: str
    body: Body | None


class Described(msgspec.Struct, frozen=True):
    """An operation. `schemas`: all that it uses."""

    id: str
    method: str
    path: str
    summary: str
    about: str
    parameters: tuple[Field, ...]
    body: Body | None
    responses: tuple[Response, ...]
    schemas: tuple[Schema, ...]


class Resource(msgspec.Struct, frozen=True):
    """Operations under one tag, by their ids."""

    name: str
    about: str
    operations: Mapping[str, Described]


@cache
def resources() -> Mapping[str, Resource]:
    """Return what the OpenAPI document describes, by tag."""
    document = json.loads(interface())
    schemas, found = document["components"]["schemas"], {}
    for tag in document["tags"]:
        name = tag["name"]
        operations = {
            each["operationId"]: _operation(method, path, each, schemas)
            for path, methods in document["paths"].items()
            for method, each in methods.items()
            if name in each["tags"]
        }
        found[name] = Resource(name, tag.get("description", ""), operations)
    return found


def _operation(method: str, path: str, found: Fields, schemas: Fields) -> Described:
    parameters = tuple(
        Field(
            each["name"],
            f"{each['in']}, {_kind(each['schema'])}",
            tuple(_refers(each["schema"])),
            each.get("required", False),
            each.get("description", ""),
        )
        for each in found.get("parameters", ())
        if each["in"] != "header" or each["name"] != "Idempotency-Key"
    )
    answers = tuple(
        Response(status, each["description"], _body(each))
        for status, each in found["responses"].items()
        if status not in _COMMON
    )
    about = found.get("description", "").strip()
    body = _body(found["requestBody"]) if "requestBody" in found else None
    types = (body, *(each.body for each in answers), *parameters)
    used = sorted(_used({name for each in types if each for name in each.refers}, schemas))
    its = tuple(_schema(each, schemas[each]) for each in used)
    return Described(
        found["operationId"], method.upper(), path, found["summary"], about, parameters, body, answers, its
    )


def _body(found: Fields) -> Body | None:
    for media_type, each in found.get("content", {}).items():
        if media_type == "application/problem+json":
            return None
        schema = each.get("schema", {})
        example = json.dumps(each["example"], indent=2, ensure_ascii=False) if "example" in each else ""
        return Body(_kind(schema), tuple(_refers(schema)), media_type, example)
    return None


def _schema(name: str, found: Fields) -> Schema:
    required = found.get("required", ())
    fields = tuple(
        Field(key, _kind(each), tuple(_refers(each)), key in required, _about(each))
        for key, each in found.get("properties", {}).items()
    )
    return Schema(name, found.get("description", ""), "" if fields else _kind(found), fields)


def _about(found: Fields) -> str:
    bounds = ", ".join(f"{sign} {found[name]}" for name, sign in _BOUNDS.items() if name in found)
    return "; ".join(filter(None, (found.get("description", "").rstrip("."), bounds)))


def _kind(found: Fields) -> str:
    """Return a type as people write it."""
    if "$ref" in found:
        return _name(found["$ref"])
    if "enum" in found:
        return " | ".join(json.dumps(each) for each in found["enum"])
    if "const" in found:
        return json.dumps(found["const"])
    choices = found.get("anyOf") or found.get("oneOf")
    if choices:
        return " | ".join(map(_kind, choices))
    kind = found.get("type", "any")
    if kind == "array":
        return f"array of {_kind(found.get('items') or {})}"
    if kind == "object" and isinstance(found.get("additionalProperties"), dict):
        return f"object of {_kind(found['additionalProperties'])}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _refers(found: object) -> Iterator[str]:
    """Yield the schemas in a type."""
    if isinstance(found, dict):
        if isinstance(reference := found.get("$ref"), str):
            yield _name(reference)
        for name, each in found.items():
            if name not in ("example", "examples", "mapping"):
                yield from _refers(each)
    elif isinstance(found, list):
        for each in found:
            yield from _refers(each)


def _used(new: set[str], schemas: Mapping[str, object]) -> set[str]:
    """Return schemas, and all within them."""
    used: set[str] = set()
    while new:
        used |= new
        new = {inner for name in new for inner in _refers(schemas[name])} - used
    return used


@page(REFERENCE, public=True)
async def show_reference(visit: Visit) -> Answer:
    """List the resources of the HTTP interface."""
    about = json.loads(interface())["info"]
    return visit.show(
        "reference.html", resources=resources().values(), about=about["description"], found=None, operation=None
    )


@page(REFERENCE + "/{resource}", public=True)
async def show_resource(visit: Visit) -> Answer:
    """List the operations of a resource."""
    return visit.show("reference.html", found=_resource(visit), operation=None)


@page(REFERENCE + "/{resource}/{operation}", public=True)
async def show_operation(visit: Visit) -> Answer:
    """Show an operation, and the types that it uses."""
    found = _resource(visit)
    operation = found.operations.get(visit.path["operation"])
    if operation is None:
        raise missing("operation")
    return visit.show("reference.html", found=found, operation=operation)


def _resource(visit: Visit) -> Resource:
    found = resources().get(visit.path["resource"])
    if found is None:
        raise missing("resource")
    return found
