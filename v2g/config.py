"""One typed configuration per program: TOML or YAML text in, a validated Struct out.

Unknown keys are refused with their line and the nearest known name; wrong types with the key's path. Reading
the file, and its mode check, is the caller's business: this module sees text only.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from v2g.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def parse_config(text: str, type_: type[T], *, name: str) -> T:
    """Return `text` as a `type_`; `name` is the file name, whose ending (.toml, .yaml, .yml) tells the format.

    Fields of type `Path` are taken relative to the folder of `name`. Raises ConfigError with `name`, line and the
    nearest key name.
    """
    folder = Path(name).parent
    tree = _parse(text, name)
    for path, unknown, known in _unknown_keys(tree, type_, ()):
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
        raise ConfigError(
            f"{name}:{_line_of(text, (*path, unknown))}: unknown key {'.'.join((*path, unknown))!r}",
            hint=hint,
        )
    try:
        return msgspec.convert(tree, type_, dec_hook=lambda kind, value: _path(folder, kind, value))
    except msgspec.ValidationError as error:
        match = re.search(r"`\$\.?([^`]*)`", str(error))
        path = tuple(re.findall(r"\w+", match[1])) if match else ()
        raise ConfigError(f"{name}:{_line_of(text, path)}: {error}") from None


def _path(folder: Path, kind: type, value: Any) -> Path:
    if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("Expected the name of a file or folder")
    return folder / value


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        if name.endswith(".toml"):
            return tomllib.loads(text)
        import yaml  # only programs that are configured in YAML pay for its import

        try:
            tree = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
            raise ConfigError(f"{name}: not YAML: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: holds no keys")
    return tree


def _struct_types(type_: Any) -> list[type[msgspec.Struct]]:
    """Return the Structs among a field's type, looking into unions, lists and Annotated."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [type_]
    return [s for a in get_args(type_) for s in _struct_types(a)] if get_origin(type_) else []


def _unknown_keys(
    tree: dict[str, Any], type_: type[msgspec.Struct], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, list[str]]]:
    hints = get_type_hints(type_)
    types = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(type_)}
    for key, value in tree.items():
        if key not in types:
            yield path, key, list(types)
            continue
        inner = _struct_types(types[key])
        for item in value if isinstance(value, list) else [value]:
            if len(inner) == 1 and isinstance(item, dict) and get_origin(types[key]) is not dict:
                yield from _unknown_keys(item, inner[0], (*path, key))


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """Return the line on which the last key of `path` stands, searching section by section; 1 if unseen."""
    line = 0
    lines = text.splitlines()
    for key in path:
        if key.isdigit():
            continue
        pattern = re.compile(rf"(^|[\s{{,.\[\"']){re.escape(key)}[\"']?\s*([=:\].]|$)")
        for number in range(line, len(lines)):
            if pattern.search(lines[number].split("#")[0]):
                line = number
                break
    return line + 1
