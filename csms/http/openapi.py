"""The OpenAPI 3.1 document, from the declarations of the routes (its schemas are JSON Schema 2020-12, as msgspec's).

Minimal example bodies have the required members only.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, get_args, get_origin

import msgspec

from csms.accounts.rules import ALLOWED, Permission
from csms.http.operations import ArrayOf, Lazy, Operation, Page, Reply
from csms.http.problems import MEDIA_TYPE, ProblemDetails
from v2g.pki.pools import SIGNATURE_HEADERS
from v2g.typed_json import Fields
from v2g.version import VERSION

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (429, 500, 503)

_ABOUT: Final = """What operators do with the back end.

A caller sends a bearer token or a client certificate. Every route needs one permission (`x-permission`), granted by
roles.
Lists come in pages: the header `Link` refers to the next one. Errors are `application/problem+json`
(RFC 9457) with a `hint`. Times are ms since 1970 in UTC.
"""

_HEADERS: Final[dict[str, Fields]] = {
    "ETag": {"description": "The value for `If-None-Match` and `If-Match`.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page, `rel="next"` (RFC 8288).', "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "Location": {"description": "URL of the new resource.", "schema": {"type": "string"}},
}

_REQUEST_HEADERS: Final = {
    "Last-Event-ID": "Continue after this event.",
    **dict.fromkeys(SIGNATURE_HEADERS, "HMAC-SHA256 of the body, hex, perhaps behind `sha256=`."),
}

_MEANING: Final = {
    206: "the bytes in `Range`",
    304: "unchanged: still the version in `If-None-Match`",
    400: "invalid parameters or body; `detail` names the field",
    401: "missing or unknown token or certificate",
    403: "permission denied",
    404: "not found",
    409: "conflict with the current state; `code` says why",
    412: "changed: no longer the version in `If-Match`",
    413: "the body is too large",
    416: "`Range` begins beyond the end",
    429: "too many requests; see `Retry-After`",
    500: "internal error; see the back end's log",
    501: "not implemented by the station (CALLERROR NotImplemented or NotSupported)",
    502: "the station answered with a CALLERROR (`code`) or lost its connection",
    503: "the store is not available; try again",
    504: "the station did not answer in time",
}


def document(operations: Iterable[Operation]) -> Fields:
    """Return the document about these routes."""
    operations = tuple(operations)
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, object]] = {}
    for each in operations:
        summary, description = described(each)
        found: dict[str, object] = {
            "operationId": each.name,
            "tags": [each.tag],
            "summary": summary,
            "description": description + _who(each),
            "x-permission": each.permission.value,
            **({"x-lasting": True} if each.lasting else {}),
            "security": [] if each.permission is Permission.PUBLIC else [{"token": []}, {"certificate": []}],
            "parameters": _parameters(each, schemas),
            "responses": _responses(each, schemas),
        }
        if each.takes is not None:
            content: dict[str, object] = {
                "schema": schemas.of(each.takes) if _described(each.takes) else {"type": "string"}
            }
            if each.example is not None:
                content["example"] = each.example
            elif _described(each.takes):
                content["example"] = smallest(schemas.of(each.takes), schemas.components)
            found["requestBody"] = {"required": each.body_required, "content": {"application/json": content}}
        paths.setdefault(each.path, {})[each.method.lower()] = found
    modules = {each.tag: inspect.getmodule(each.handler) for each in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "v2g-engine back end",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": tag, "description": (inspect.getdoc(module) or "").partition("\n")[0]}
            for tag, module in sorted(modules.items())
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "From `api.tokens`, or `POST /access/tokens`.",
                },
                "certificate": {"type": "mutualTLS", "description": "A client certificate from `api.clients`."},
            },
        },
    }


class _Schemas:
    """Schemas of all types, and references to them."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        types: list[object] = [ProblemDetails]
        for each in operations:
            takes = each.takes.kinds if isinstance(each.takes, ArrayOf) else (each.takes,)
            types += [resolved(kind) for kind in (each.parameters, *takes, each.answer) if _described(kind)]
        unique = list({repr(kind): kind for kind in types}.values())
        found, components = msgspec.json.schema_components(unique, ref_template=_REF)
        names = {name: _short(name) for name in components}
        assert len({*names.values()}) == len(names), "types of one name in one module"
        self._by_type = {repr(kind): _named(schema, names) for kind, schema in zip(unique, found, strict=True)}
        self.components = {names[name]: _named(components[name], names) for name in sorted(components)}
        together = {self.of(each.parameters).get("$ref", "") for each in operations if each.parameters is not None}
        self._parameters = {each: self.components.pop(each.rpartition("/")[2]) for each in together}
        for name, schema in self.components.items():
            if "title" in schema:
                schema["title"] = name  # generators name classes by it
        for each in operations:
            reference = self.of(each.takes).get("$ref", "") if each.example is not None and each.takes else ""
            if reference:
                self.components[reference.rpartition("/")[2]]["examples"] = [each.example]

    def of(self, kind: object) -> Fields:
        """Return the schema of a type, mostly a reference."""
        if isinstance(kind, ArrayOf):
            return {"type": "array", "items": {"anyOf": [self.of(each) for each in kind.kinds]}}
        found: dict[str, object] = self._by_type[repr(resolved(kind))]
        return found

    def properties(self, kind: type[msgspec.Struct]) -> tuple[Fields, frozenset[str]]:
        """Return the schemas of a Struct's fields, and the names of those that are required."""
        schema = self._parameters[self.of(kind)["$ref"]]
        return schema["properties"], frozenset(schema.get("required", ()))


def _short(name: str) -> str:
    """Return the name of a component: of types that share theirs, with the feature's or module's before it."""
    *places, own = ("", *name.split("."))
    place = places[2] if places[1:2] == ["csms"] else places[-1]
    return place.title().replace("_", "") + own


def _named(schema: object, names: Mapping[str, str]) -> Any:
    """Return a schema as generators of clients take it.

    Components have names that classes may have; regular expressions are in JSON Schema's dialect (ECMA-262), in which
    the end of a text is `$`; each array has `items`, a tuple of one type that type's, but none that are `false`:
    `maxItems` says the same.
    """
    if isinstance(schema, list):
        return [_named(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _named(each, names) for key, each in schema.items()}
    if isinstance(pattern := found.get("pattern"), str):
        found["pattern"] = pattern.replace(r"\Z", "$")
    if isinstance(ref := found.get("$ref"), str):
        found["$ref"] = _REF.format(name=names[ref.rpartition("/")[2]])
    if found.get("type") == "array":
        first, *others = found.get("prefixItems", [{}])
        if all(each == first for each in others):
            found.pop("prefixItems", None)
            found["items"] = found.get("items") or first
        elif found.get("items") is False and found["maxItems"] == len(others) + 1:
            del found["items"]
    return found


def resolved(kind: object) -> Any:
    """Return the documented type: an array for a page, the content of a reply."""
    if isinstance(kind, Lazy):
        return kind.load()
    if get_origin(kind) is Page:
        return Sequence[get_args(kind)[0]]  # type: ignore[misc]  # a type made at run time
    if get_origin(kind) is Reply:
        return resolved(get_args(kind)[0])
    return kind


def _described(kind: object) -> bool:
    return kind not in (None, type(None), bytes, Reply[bytes])


def described(each: Operation) -> tuple[str, str]:
    """Return summary and description: the first paragraph of the docstring, and the rest."""
    summary, _, rest = (each.about or inspect.getdoc(each.handler) or each.name).partition("\n\n")
    return summary.replace("\n", " ").rstrip("."), rest.strip()


def _who(each: Operation) -> str:
    if each.permission is Permission.PUBLIC:
        return ""
    roles = ", ".join(f"`{role.value}`" for role, may in ALLOWED.items() if each.permission in may)
    return f"\n\nFor {roles}." if roles else ""


def _parameters(each: Operation, schemas: _Schemas) -> list[Fields]:
    found: list[dict[str, object]] = []
    in_path = set(re.findall(r"{(\w+)}", each.path))
    if each.parameters is not None:
        properties, required = schemas.properties(each.parameters)
        for name, schema in properties.items():
            where = "path" if name in in_path else "query"
            one = {"name": name, "in": where, "required": name in required or where == "path", "schema": schema}
            if "description" in schema:
                one["description"] = schema["description"]
            found.append(one)
    if each.changes:
        found.append(_header("Idempotency-Key", "Repeating a key repeats the answer; nothing is done twice.", 255))
    if each.conditional:
        found.append(_header("If-Match", "Change it only if it still has this entity tag.", 1000))
    if each.method == "GET" and not each.streams:
        found.append(_header("If-None-Match", "Answer 304 if it still has this entity tag.", 1000))
        found.append(_header("Range", "Answer 206 with these bytes only, as `bytes=1000-`.", 100))
        found.append(_header("If-Range", "Heed `Range` only if it still has this entity tag.", 1000))
    found += [_header(name, _REQUEST_HEADERS[name], 1000) for name in each.request_headers]
    return found


def _header(name: str, about: str, longest: int) -> dict[str, object]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": about,
        "schema": {"type": "string", "minLength": 1, "maxLength": longest},
    }


def _responses(each: Operation, schemas: _Schemas) -> Fields:
    good: Fields = {"description": HTTPStatus(each.status).phrase}
    if each.status != 204:
        kind = each.answer
        content = {"schema": schemas.of(kind) if _described(kind) else {"type": "string"}}
        good["content"] = dict.fromkeys((each.media_type, *each.other_media), content)
        if _described(kind) and not each.streams:
            content["example"] = example_of(content["schema"], schemas.components)
        names = ["ETag"] if each.method == "GET" and not each.streams else []
        names += ["Link"] if get_origin(kind) is Page else []
        names += ["Location"] if each.status == 201 else []
        if names:
            good["headers"] = {name: _HEADERS[name] for name in names}
    found = {str(each.status): good}
    if each.method == "GET" and not each.streams:
        found["304"] = {"description": _MEANING[304]}
        parts = {name: {"schema": {"type": "string"}} for name in good["content"]}
        found["206"] = {"description": _MEANING[206], "content": parts}
    for status in sorted(problems_of(each)):
        found[str(status)] = {
            "description": _MEANING[status],
            "content": {MEDIA_TYPE: {"schema": schemas.of(ProblemDetails)}},
        }
        if status in (429, 503):
            found[str(status)]["headers"] = {"Retry-After": _HEADERS["Retry-After"]}
    return found


def problems_of(each: Operation) -> frozenset[int]:
    """Return every error status that a route may answer."""
    found = {*each.problems, *_ALWAYS}
    if each.permission is not Permission.PUBLIC:
        found |= {401, 403}
    if each.parameters is not None or each.takes is not None or each.changes:
        found.add(400)
    if each.takes is not None:
        found.add(413)
    if each.changes or 504 in found:
        found.add(409)  # a reused idempotency key; a station that is not connected
    if each.conditional:
        found.add(412)
    if each.method == "GET" and not each.streams:
        found.add(416)
    return frozenset(found)


_TIME: Final = "2030-01-01T00:00:00Z"
_TEXTS: Final = {"date-time": _TIME, "date": "2030-01-01", "byte": "AA=="}
_DEPTH: Final = 12


def smallest(schema: Fields, components: Fields, name: str = "", depth: int = 0) -> Any:
    """Return a value that a JSON schema allows: with required members only, the first of any choice.

    `components` are the schemas that `#/components/schemas/NAME` refers to; `name` is that of the member. Patterns
    are ignored: a declaration with one must bring its own example.
    """
    if depth > _DEPTH:
        raise ValueError(f"{name}: a recursive type has no minimal example")
    if "$ref" in schema:
        return smallest(components[schema["$ref"].rpartition("/")[2]], components, name, depth + 1)
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        choices = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return smallest(choices[0], components, name, depth + 1)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {
                each: smallest(properties[each], components, each, depth + 1) for each in schema.get("required", ())
            }
        case "array":
            items = schema.get("items", schema.get("prefixItems", [{}])[0])
            return [smallest(items, components, name, depth + 1)] * schema.get("minItems", 0)
        case "string":
            text = _TEXTS.get(
                schema.get("format", ""), _TIME if _is_time(name) else name[: schema.get("maxLength", 99)]
            )
            return text.ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
            return min(max(least, 1), schema.get("maximum", 1))
        case "boolean":
            return True
    return {}


def example_of(schema: Fields, components: Fields) -> Any:
    """Return the smallest value of an answer; of an array one with an element."""
    return smallest({**schema, "minItems": 1} if schema.get("type") == "array" else schema, components)


def _is_time(name: str) -> bool:
    return name.lower().endswith(("timestamp", "datetime", "time", "schedulestart", "from", "to"))
