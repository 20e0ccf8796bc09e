"""Tables that come with a package, as TOML files beside its modules."""

import tomllib
from importlib.resources import files
from typing import TypeVar

from v2g import typed_json

T = TypeVar("T")


def table(package: str, file: str, type_: type[T]) -> T:
    """Return a TOML file of a package as a type."""
    return typed_json.convert(tomllib.loads((files(package) / file).read_text("utf-8")), type_)
