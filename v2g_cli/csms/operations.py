"""Operations of the back end's API as commands need them: `operations.jsonl`, made from its OpenAPI document.

`docs/generate.py` writes that file, so that `--help` needs no back end and no import of one.
"""

import importlib.resources
from functools import cache
from typing import Literal

import msgspec

from v2g import typed_json


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter or a member of the body. `many`: an array of them; `json`: a value with members of its own."""

    name: str
    place: Literal["path", "query", "body"]
    kind: Literal["string", "integer", "number", "boolean", "json"] = "string"
    many: bool = False
    required: bool = False
    about: str = ""
    choices: tuple[str, ...] = ()
    example: str = ""


class ApiOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route. `media`: of its answer, empty for none. `body`: whether it takes one; `paged`: whether its answer is a
    list that comes in pages."""

    name: str
    tag: str
    method: str
    path: str
    about: str
    media: str = ""
    paged: bool = False
    body: bool = False
    fields: tuple[Field, ...] = ()


@cache
def operations() -> dict[str, ApiOperation]:
    """Return all operations by their names."""
    lines = (importlib.resources.files("v2g_cli.csms") / "operations.jsonl").read_bytes().splitlines()
    read = typed_json.decoder(ApiOperation).decode
    return {each.name: each for each in map(read, lines)}
