"""One typed configuration per program: TOML or YAML text in, a validated Struct out.

Unknown keys are refused with their line and the nearest known name; wrong types with the key's path. Reading
the file, and its mode check, is the caller's business: this module sees text only.
"""

import difflib
import enum
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from v2g.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def parse_config(text: str, type_: type[T], *, name: str) -> T:
    """Return `text` as a `type_`; `name` is the file name, whose ending (.toml, .yaml, .yml) tells the format.

    Fields of type `Path` are taken relative to the folder of `name`; so are those of a class that reads itself by
    `from_text(text, folder)`. Raises ConfigError with `name`, line and the nearest key name.
    """
    folder = Path(name).parent
    tree = _parse(text, name)
    for path, unknown, known in _unknown_keys(tree, type_, ()):
        shown = ".".join(key for key in (*path, unknown) if not key.isdigit())
        raise ConfigError(
            f"{name}:{locate(text, (*path, unknown))}: unknown key {shown!r}", hint=nearest(unknown, known)
        )
    try:
        return msgspec.convert(tree, type_, dec_hook=lambda kind, value: _located(folder, kind, value))
    except msgspec.ValidationError as error:
        match = re.search(r"`\$\.?([^`]*)`", str(error))
        path = tuple(re.findall(r"\w+", match[1])) if match else ()
        allowed = _allowed(type_, path) if "enum value" in str(error) else []
        raise ConfigError(
            f"{name}:{locate(text, path)}: {error}",
            hint=f"one of {', '.join(map(str, allowed))}" if allowed else "",
        ) from None


def _located(folder: Path, kind: type, value: Any) -> Any:
    if isinstance(value, str) and (read := getattr(kind, "from_text", None)) is not None:
        return read(value, folder)
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


def _allowed(type_: Any, path: tuple[str, ...]) -> list[Any]:
    """Return the words that the field at `path` may hold; none where these are not a few."""
    for key in path:
        for struct in _struct_types(type_):
            names = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
            if key in names:
                type_ = get_type_hints(struct)[names[key]]
                break
    return _words(type_)


def _words(type_: Any) -> list[Any]:
    if get_origin(type_) is Literal:
        return list(get_args(type_))
    if isinstance(type_, enum.EnumType):
        return [member.value for member in type_]  # type: ignore[var-annotated]
    return [word for each in get_args(type_) for word in _words(each)]


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
        for place, item in enumerate(value if isinstance(value, list) else [value]):
            if len(inner) == 1 and isinstance(item, dict) and get_origin(types[key]) is not dict:
                place_ = (str(place),) if isinstance(value, list) else ()
                yield from _unknown_keys(item, inner[0], (*path, key, *place_))


def locate(text: str, path: tuple[str, ...]) -> int:
    """Return the line on which the last key of `path` stands, searching section by section; 1 if unseen.

    A number in `path` is the place of an item in the list before it.
    """
    line, lines = 0, [line.split("#")[0] for line in text.splitlines()]
    for key, before in zip(path, ("", *path), strict=False):
        pattern = re.compile(rf"(^|[\s{{,.\[\"']){re.escape(key)}[\"']?\s*([=:\].]|$)")
        if key.isdigit():
            line = _item(lines, line, before, int(key))
        else:
            found = [number for number in range(line, len(lines)) if pattern.search(lines[number])]
            outermost = [number for number in found if not before and not _indent(lines[number])]
            line = (outermost or found or [line])[0]
    return line + 1


def _item(lines: list[str], line: int, name: str, place: int) -> int:
    """Return the line of an item of the list that begins on `line`: `[[name]]` of TOML, a dash of YAML."""
    headers = [number for number, text in enumerate(lines) if re.match(rf"\s*\[\[[\w.]*\b{re.escape(name)}\]\]", text)]
    if not headers:
        dashes = [number for number in range(line + 1, len(lines)) if lines[number].lstrip().startswith("- ")]
        indent = _indent(lines[dashes[0]]) if dashes else 0
        headers = [number for number in dashes if _indent(lines[number]) == indent]
    return headers[place] if place < len(headers) else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint about a word that is none of those known: the nearest of them, else all."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(choices)}"
