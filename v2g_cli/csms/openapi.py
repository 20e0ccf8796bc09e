"""Operations of the API by its OpenAPI document: that of the back end asked may know more than this program."""

import re
import shlex
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Annotated, Final, Literal, get_args

import msgspec

from v2g import typed_json
from v2g.errors import TransportError
from v2g.text import printable
from v2g_cli.csms.commands import ApiOperation, Field

_REFERENCES: Final = 16
"""So often a schema may refer to another one."""
_Path = Annotated[str, msgspec.Meta(pattern=r"\A(/|(/([A-Za-z0-9_.-]+|\{[A-Za-z_][A-Za-z0-9_]*\}))+)\Z")]
_Place = Literal["path", "query", "body"]
_Kind = Literal["string", "integer", "number", "boolean"]
_ASKED: Final[Mapping[str, _Place]] = {"path": "path", "query": "query"}
_SIMPLE: Final[tuple[_Kind, ...]] = get_args(_Kind)


class _Schema(msgspec.Struct, frozen=True, rename={"ref": "$ref", "any_of": "anyOf"}):
    ref: str = ""
    any_of: tuple["_Schema", ...] = ()
    type: str | tuple[str, ...] = ""
    enum: tuple[object, ...] = ()
    items: "_Schema | bool | None" = None
    properties: Mapping[str, "_Schema"] = {}
    required: tuple[str, ...] = ()
    description: str = ""


class _Parameter(msgspec.Struct, frozen=True, rename={"place": "in", "shape": "schema"}):
    name: str
    place: str
    shape: _Schema = _Schema()
    required: bool = False


class _Content(msgspec.Struct, frozen=True, rename={"shape": "schema"}):
    shape: _Schema = _Schema()
    example: object = None


class _Message(msgspec.Struct, frozen=True):
    content: Mapping[str, _Content] = {}


class _Operation(
    msgspec.Struct, frozen=True, rename={"name": "operationId", "body": "requestBody", "lasting": "x-lasting"}
):
    name: str
    tags: tuple[str, ...] = ("",)
    summary: str = ""
    description: str = ""
    parameters: tuple[_Parameter, ...] = ()
    body: _Message | None = None
    responses: Mapping[str, _Message] = {}
    lasting: bool = False


class _Components(msgspec.Struct, frozen=True):
    schemas: Mapping[str, _Schema] = {}


class _Document(msgspec.Struct, frozen=True):
    paths: Mapping[_Path, Mapping[str, _Operation]]
    components: _Components = _Components()


def operations_of(document: object) -> Iterator[ApiOperation]:
    """Yield the operations of an OpenAPI document. Raises TransportError if it is none."""
    try:
        found = typed_json.convert(document, _Document)
        for path, methods in found.paths.items():
            for method, each in methods.items():
                yield _operation(path, method, each, found.components.schemas)
    except (msgspec.ValidationError, KeyError) as error:
        raise TransportError(f"the back end's /openapi.json: {error}", hint="use `v2g csms request`") from None


def _operation(path: str, method: str, each: _Operation, known: Mapping[str, _Schema]) -> ApiOperation:
    content = (each.body or _Message()).content.get("application/json", _Content())
    schema = _whole(content.shape, known)
    given = content.example if isinstance(content.example, dict) else {}
    fields = [
        _field(one.name, _ASKED[one.place], one.shape, known, required=one.required)
        for one in each.parameters
        if one.place in _ASKED and one.name not in ("cursor", "limit")
    ]
    fields += [
        _field(name, "body", one, known, required=name in schema.required, example=given.get(name))
        for name, one in schema.properties.items()
    ]
    if missing := set(re.findall(r"\{(\w+)\}", path)) - {one.name for one in fields if one.place == "path"}:
        raise msgspec.ValidationError(f"{path} without the parameter {missing.pop()}")
    good = next((answer for status, answer in each.responses.items() if status.startswith("2")), _Message())
    texts = (f"{each.summary}.", each.description.strip(), cleandoc(schema.description))
    return ApiOperation(
        name=each.name,
        tag=each.tags[0],
        method=method.upper(),
        path=path,
        about=printable("\n\n".join(filter(None, texts)), lines=True),
        media=next(iter(good.content), ""),
        paged=any(one.name == "cursor" for one in each.parameters),
        body=each.body is not None,
        lasting=each.lasting,
        fields=tuple(fields),
    )


def _field(
    name: str,
    place: Literal["path", "query", "body"],
    schema: _Schema,
    known: Mapping[str, _Schema],
    *,
    required: bool,
    example: object = None,
) -> Field:
    if not name.isidentifier():
        raise msgspec.ValidationError(f"{name!r} cannot be an option")
    whole = _whole(schema, known)
    one = _whole(whole.items, known) if whole.type == "array" and isinstance(whole.items, _Schema) else whole
    kind = next((each for each in _SIMPLE if each == (one.type or (one.enum and "string"))), None)
    about = schema.description or whole.description or (one.description if one.type or one.enum else "")
    field = Field(
        name=name,
        place=place,
        kind=kind or "json",
        many=kind is not None and whole is not one,
        required=required,
        about=cleandoc(about.partition("\n\n")[0]),
        choices=tuple(map(str, one.enum)) if kind == "string" else (),
    )
    return with_example(field, example)


def with_example(field: Field, value: object) -> Field:
    """Return a field with the text of an example for a shell."""
    if field.many and isinstance(value, list | tuple):
        value = next(iter(value), None)
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return msgspec.structs.replace(field, example=shlex.quote(text) if text else "")


def _whole(schema: _Schema, known: Mapping[str, _Schema]) -> _Schema:
    """Return a schema without references and null."""
    for _ in range(_REFERENCES):
        if schema.ref:
            schema = known[schema.ref.rpartition("/")[2]]
        elif schema.any_of:
            others = [each for each in schema.any_of if each.type != "null"]
            schema = others[0] if len(others) == 1 else _Schema(type="any")
        else:
            break
    return schema
