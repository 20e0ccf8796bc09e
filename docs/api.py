"""The reference of the HTTP interface, from the declarations of its routes."""

import shlex
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from itertools import groupby
from typing import Any

import msgspec

from csms.commands import api as commands
from csms.http.openapi import described, document, problems_of, smallest
from csms.http.operations import Operation
from csms.http.routes import OPERATIONS
from csms.requests.rules import RECORDS
from docs.markdown import table as markdown
from v2g_cli.csms.commands import ApiOperation, Field


def routes() -> str:
    """Return every route by resource: what it does, what it needs; commands to stations are one line."""
    return "\n".join(_resource(tag, list(found)) for tag, found in groupby(_documented(), key=lambda each: each.tag))


def _documented() -> Iterator[Operation]:
    actions = {each.name for each in commands.OPERATIONS}
    yield from (each for each in OPERATIONS if each.name not in actions)


def _resource(tag: str, found: list[Operation]) -> str:
    module = __import__(found[0].handler.__module__, fromlist=["_"])
    about = (module.__doc__ or "").partition("\n")[0]
    rows = (
        (f"`{each.method} {each.path}`", described(each)[0], f"`{each.permission.value}`", _errors(each))
        for each in found
    )
    return f"### {tag.replace('_', ' ')}\n\n{about}\n\n{markdown(('Request', 'What', 'Needs', 'Errors'), rows)}"


def _errors(each: Operation) -> str:
    usual = {400, 401, 403, 409, 413, 429, 500, 503}
    return ", ".join(str(status) for status in sorted(problems_of(each) - usual))


def records() -> str:
    """Return what the back end records when a station accepts a request, by the action."""
    return markdown(("Action", "What the back end records of the station"), RECORDS.items())


def actions() -> str:
    """Return the actions that can be sent to stations, by the permission that it takes."""
    by_permission: dict[str, list[str]] = {}
    for each in commands.OPERATIONS:
        by_permission.setdefault(each.permission.value, []).append(each.path.rpartition("/")[2])
    return markdown(("Needs", "Actions"), ((f"`{name}`", ", ".join(found)) for name, found in by_permission.items()))


def operations() -> str:
    """Return what `v2g csms` knows of the routes, an operation a line; commands to stations are `v2g csms send`."""
    whole = document(_documented())
    found = (
        _command(path, method, each, whole["components"]["schemas"])
        for path, methods in whole["paths"].items()
        for method, each in methods.items()
    )
    return "".join(msgspec.json.encode(each).decode() + "\n" for each in sorted(found, key=lambda each: each.name))


def _command(path: str, method: str, each: Mapping[str, Any], components: Mapping[str, Any]) -> ApiOperation:
    parameters = [one for one in each["parameters"] if one["in"] != "header"]
    content = each.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _whole(content.get("schema", {}), components)
    example = content.get("example")
    given = example if "example" in content and isinstance(example, dict) else {}
    fields = [
        _field(one["name"], one["in"], one["schema"], components, one["required"], None)
        for one in parameters
        if one["name"] not in ("cursor", "limit")
    ]
    fields += [
        _field(name, "body", one, components, name in schema.get("required", ()), given.get(name))
        for name, one in schema.get("properties", {}).items()
    ]
    good = next(answer for status, answer in each["responses"].items() if status[0] == "2")
    texts = (f"{each['summary']}.", each["description"].strip(), cleandoc(schema.get("description", "")))
    return ApiOperation(
        name=each["operationId"],
        tag=each["tags"][0],
        method=method.upper(),
        path=path,
        about="\n\n".join(filter(None, texts)),
        media=next(iter(good.get("content", {})), ""),
        paged=any(one["name"] == "cursor" for one in parameters),
        body="requestBody" in each,
        lasting="x-lasting" in each,
        fields=tuple(fields),
    )


def _field(
    name: str, place: Any, schema: Mapping[str, Any], components: Mapping[str, Any], required: bool, given: object
) -> Field:
    whole = _whole(schema, components)
    one = _whole(whole.get("items", {}), components) if whole.get("type") == "array" else whole
    kind: Any = one.get("type", "string" if "enum" in one else "json")
    choices = tuple(map(str, one.get("enum", ()))) if kind == "string" else ()
    if given is None and (place == "path" or required):
        given = smallest(schema, components, name)
    about = (
        schema.get("description") or whole.get("description") or ("" if kind == "json" else one.get("description", ""))
    )
    simple = kind in ("string", "integer", "number", "boolean")
    text = given if isinstance(given, str) else "" if given is None else msgspec.json.encode(given).decode()
    if simple and whole is not one and isinstance(given, list | tuple):
        text = str(given[0]) if given else ""
    return Field(
        name=name,
        place=place,
        kind=kind if simple else "json",
        many=simple and whole is not one,
        required=required,
        about=about.partition("\n\n")[0],
        choices=choices,
        example=shlex.quote(text) if text else "",
    )


def _whole(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema without references and null."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = components[schema["$ref"].rpartition("/")[2]]
        else:
            others = [each for each in schema["anyOf"] if each.get("type") != "null"]
            schema = others[0] if len(others) == 1 else {"type": "any"}
    return schema
