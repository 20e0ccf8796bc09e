"""One typed configuration per program: TOML or YAML text in, a validated Struct out.

Unknown keys are rejected with their line and the nearest known name; wrong types with the key's path. Reading
the file, and checking its mode, is up to the caller: this module handles text only.
"""

import ast
import contextlib
import enum
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from v2g import typed_json
from v2g.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

Tree = dict[str, object]
"""A configuration as its file has it: tables, lists and values."""


Flaw = tuple[tuple[str, ...], str, str]
"""A key by its path, its error, and a hint."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36500)]

UNKNOWN: Final = "unknown key"

_ELSEWHERE: Final = {
    "voltmeter_offset": "hardware.voltmeter_offset_mv of the charger, in mV",
    "ingestion_worker": "ingestion_worker.threads of the back end",
}
"""Keys of a manual's one configuration for all programs -> where they are here (R216)."""


def parse_config(
    text: str,
    type_: type[T],
    *,
    name: str,
    look: Callable[[T], Iterable[Flaw]] = lambda _config: (),
    defaults: Callable[[Tree], Tree] = lambda _tree: {},
) -> T:
    """Return `text` as a `type_`; `name` is the file name, with extension .toml, .yaml or .yml.

    Fields of type `Path` are relative to the folder of `name`; so are those of a class that parses itself by
    `from_text(text, folder)`. `look` yields inconsistencies; `defaults` returns keys that apply
    where the text has none, before those of the type. Raises ConfigError with `name`, line and the
    nearest key name: the first of `faults`.
    """
    tree = parse_tree(text, name)
    config, found = _read(_laid_over(defaults(tree), tree), type_, text, name, look)
    if found:
        first, others = found[0], len(found) - 1
        if not others:
            raise first
        more = f"; {others} more error{'s' if others > 1 else ''}: --check-config lists all"
        raise ConfigError(f"{first}{more}", hint=first.hint)
    assert config is not None
    return config


def faults(
    text: str,
    type_: type[T],
    *,
    name: str,
    look: Callable[[T], Iterable[Flaw]] = lambda _config: (),
    defaults: Callable[[Tree], Tree] = lambda _tree: {},
) -> list[ConfigError]:
    """Return all errors of a configuration, each with `name`, line and, if there is one, a hint."""
    try:
        tree = parse_tree(text, name)
        return _read(_laid_over(defaults(tree), tree), type_, text, name, look)[1]
    except ConfigError as error:
        return [error]


def _read(
    tree: dict[str, object], type_: type[T], text: str, name: str, look: Callable[[T], Iterable[Flaw]]
) -> tuple[T | None, list[ConfigError]]:
    """Return the configuration, None if invalid, and all errors."""
    config, flaws = Table(tree, Path(name).parent).read(type_)
    if config is not None and not flaws:
        flaws = list(dict.fromkeys(look(config)))  # drivers of one name read the same table
    return config, [fault(text, name, *flaw) for flaw in flaws]


class Table:
    """A table that is not read yet. As the type of a field: one whose Struct is known later only. Paths in it are
    relative to `folder`."""

    def __init__(self, tree: Tree, folder: Path = Path()) -> None:
        self.tree: Final = tree
        self.folder: Final = folder

    def read(self, type_: type[T]) -> tuple[T | None, list[Flaw]]:
        """Return the table as a `type_`, None if it is invalid, and its errors."""
        found = list(_unknown_keys(self.tree, type_, ()))
        try:
            config = typed_json.convert(
                self.tree, type_, dec_hook=lambda kind, value: _located(self.folder, kind, value)
            )
        except msgspec.ValidationError as error:  # it reports only the first of possibly several errors
            for path, why in _misfits(self.tree, type_, (), self.folder):
                if found and why.startswith("Object contains unknown field"):
                    continue
                allowed = _allowed(type_, path) if "enum value" in why else []
                found.append((path, reworded(why), f"one of {', '.join(map(str, allowed))}" if allowed else ""))
            return None, found or [((), reworded(str(error)), "")]
        if not found:
            found.extend(contradictions(config))
        return config, found


def without_flaw(found: tuple[T | None, Sequence[Flaw]], place: str) -> T:
    """Return a table that was read without flaws. Raises ConfigError with the first one; `place` is put before its
    key."""
    config, flaws = found
    if config is None or flaws:
        path, why, hint = flaws[0]
        raise ConfigError(place + ": ".join(filter(None, (".".join(path), why))), hint=hint)
    return config


def schema_of(type_: type[msgspec.Struct], title: str) -> dict[str, object]:
    """Return the JSON schema (draft 2020-12) of a file that is read as `type_`: its keys, types, ranges and defaults.

    What concerns several keys, names of files, and drivers, only `faults` checks.
    """

    def other(kind: type) -> dict[str, object]:  # else paths, and references to keys
        return {"type": "object" if kind is Table else "string"}

    schema = msgspec.json.schema(type_, schema_hook=other)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def fault(text: str, name: str, path: tuple[str, ...], why: str, hint: str) -> ConfigError:
    """Return the error of a key, with its place in the file."""
    shown = ".".join(key for key in path if not key.isdigit())
    about = f"{why} {shown!r}" if why == UNKNOWN else f"{shown}: {why}" if shown else why
    return ConfigError(f"{name}:{locate(text, path, name)}: {about}", hint=hint)


def _misfits(
    value: object, type_: object, path: tuple[str, ...], folder: Path
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each value that its type does not allow, and why: the innermost ones only."""
    structs = _struct_types(type_)
    if len(structs) == 1 and get_origin(type_) is not dict:
        inner: list[tuple[tuple[str, ...], str]] = []
        items = [((*path, str(place)), each) for place, each in enumerate(value)] if isinstance(value, list) else []
        for place, item in items or [(path, value)]:
            if isinstance(item, dict):
                inner += _misfits_of(item, structs[0], place, folder)
        if inner:
            yield from inner
            return
    try:
        typed_json.convert(value, type_, dec_hook=lambda kind, found: _located(folder, kind, found))
    except msgspec.ValidationError as error:
        where = re.search(r" - at `(?:key in )?\$\.?([^`]*)`", str(error))
        further = tuple(re.findall(r"\w+", where[1])) if where else ()
        yield (*path, *further), re.sub(r" - at `[^`]*`", "", str(error))


def _misfits_of(
    table: dict[str, object], type_: type[msgspec.Struct], path: tuple[str, ...], folder: Path
) -> Iterator[tuple[tuple[str, ...], str]]:
    hints = get_type_hints(type_, include_extras=True)
    fine = True
    for field in msgspec.structs.fields(type_):
        key = field.encode_name
        if key in table:
            for each in _misfits(table[key], hints[field.name], (*path, key), folder):
                fine = False
                yield each
    for field in msgspec.structs.fields(type_):
        if field.required and field.encode_name not in table:
            fine = False
            yield path, f"Object missing required field `{field.encode_name}`"
    known = {field.encode_name for field in msgspec.structs.fields(type_)}
    if fine:  # validation of the table as a whole
        try:
            values = {key: value for key, value in table.items() if key in known}
            typed_json.convert(values, type_, dec_hook=lambda kind, found: _located(folder, kind, found))
        except msgspec.ValidationError as error:
            yield path, re.sub(r" - at `[^`]*`", "", str(error))


_KINDS: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "a table", "null": "nothing", "bytes": "octets",
    "date": "a date",
}  # fmt: skip
_WORDINGS: Final = (
    (r"Object missing required field `([^`]*)`", r"the key \1 is missing"),
    (r"Expected `(?:str|array|object)` of length >= 1", "must not be empty"),
    (r"Expected `str` of length >= (\d+)", r"must have at least \1 characters"),
    (r"Expected `str` of length <= (\d+)", r"may have at most \1 characters"),
    (r"Expected `(?:array|object)` of length >= (\d+)", r"must have at least \1 entries"),
    (r"Expected `(?:array|object)` of length <= (\d+)", r"may have at most \1 entries"),
    (r"Expected `(?:int|float)` >= (\S+)", r"must be at least \1"),
    (r"Expected `(?:int|float)` <= (\S+)", r"must be at most \1"),
    (r"Expected `(?:int|float)` > (\S+)", r"must be more than \1"),
    (r"Expected `(?:int|float)` < (\S+)", r"must be less than \1"),
    (r"Object contains unknown field `([^`]*)`", r"the key \1 is unknown"),
    (r"Invalid enum value (.*)", r"\1 is not an allowed value"),
    (r"Invalid RFC3339 encoded date", "is not a date such as 2026-11-30"),
    (r"Input data was truncated", "the JSON is empty or not complete"),
)


def misfit(error: msgspec.DecodeError, type_: object) -> str:
    """Return why a value does not fit a type, in plain words, its field first: `limit: must be at most 1000`."""
    why, _, place = str(error).partition(" - at `")
    field = place.removeprefix("key` in `").removeprefix("$").strip(".`").replace("[...]", "")
    allowed = _allowed(type_, tuple(re.findall(r"\w+", field))) if "enum value" in why else []
    words = reworded(why) + (f"; allowed are {', '.join(map(str, allowed))}" if allowed else "")
    return f"{field}: {words}" if field else words


def _formed(pattern: str) -> str:
    """Return a pattern without its ends; a set of characters and their number in words."""
    form: str = ast.literal_eval(pattern)
    form = form.removeprefix("^").removesuffix("$").removesuffix(r"\Z")
    several = re.fullmatch(r"\[([^\]\\^]+)\]\{(\d+),(\d+)\}", form)
    return form if several is None else f"of {several[2]} to {several[3]} characters of {several[1]}"


def reworded(why: str) -> str:
    """Return a validator's message in the terms of a configuration."""
    if form := re.fullmatch(r"Expected `str` matching regex ('.*'|\".*\")", why, re.DOTALL):
        return f"does not have the form {_formed(form[1])}"
    kinds = re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", why)
    if kinds is not None:
        wanted = " or ".join(_KINDS.get(each.strip(), each.strip()) for each in kinds[1].split("|"))
        return f"must be {wanted}, but is {_KINDS.get(kinds[2], kinds[2])}"
    for pattern, words in _WORDINGS:
        if re.fullmatch(pattern, why):
            return re.sub(pattern, words, why)
    return why


def values_in(
    config: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object, Mapping[str, object]]]:
    """Yield each key of a configuration, sections included: its path, its value, and the values of its section."""
    if isinstance(config, tuple | list):
        for place, each in enumerate(config):
            yield from values_in(each, (*path, str(place)))
    if not isinstance(config, msgspec.Struct):
        return
    section = {field.encode_name: getattr(config, field.name) for field in msgspec.structs.fields(config)}
    for name, value in section.items():
        yield (*path, name), value, section
        yield from values_in(value, (*path, name))


def contradictions(config: object) -> Iterator[Flaw]:
    """Yield what no section can mean: a minimum above its maximum, more power than its voltage and current give, two
    entries of one name."""
    for path, value, section in values_in(config):
        name, number = path[-1], _number(value)
        if number is not None:
            for least, most in _PAIRS:
                other = re.sub(rf"(^|_){least}(_|\Z)", rf"\g<1>{most}\2", name)
                if other != name and (highest := _number(section.get(other))) is not None and number > highest:
                    yield path, f"is above {other}", f"{name} must not exceed {other}"
            if power := re.fullmatch(r"(max_(?:dis)?charge_)power_w", name):
                volts, amperes = (_number(section.get(key)) for key in ("max_voltage_v", f"{power[1]}current_a"))
                if volts is not None and amperes is not None and number > volts * amperes:
                    most = f"max_voltage_v times {power[1]}current_a, {volts * amperes:,} W"
                    yield path, f"is above {most}", "a digit too many?"
        entries = value if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct) else ()
        for key in _NAMES if entries else ():
            taken = {section.get(key)}
            for place, entry in enumerate(entries):
                if (own := getattr(entry, key, None)) and own in taken:
                    yield (*path, str(place), key), f"{str(own)!r} is listed twice", "remove one of them"
                taken.add(own)


def _number(value: object) -> Decimal | None:
    """Return a number of a configuration, of decimal text, too; else None."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ArithmeticError):
            return number if (number := Decimal(str(value))).is_finite() else None
    return None


_PAIRS: Final = (("min", "max"), ("minimum", "maximum"), ("least", "most"), ("lowest", "highest"), ("cool", "hot"))
_NAMES: Final = ("id", "name", "common_name", "evse_id", "vendor_id", "group_id", "chain")
"""Keys by which entries of a list are told apart."""


def _located(folder: Path, kind: type, value: object) -> object:
    if isinstance(value, str) and (read := getattr(kind, "from_text", None)) is not None:
        return read(value, folder)
    if kind is Table:
        if not isinstance(value, dict):
            raise ValueError("Expected a table")
        return Table(value, folder)
    if kind is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("Expected the name of a file or folder")
    return folder / value


def _laid_over(below: Tree, above: Tree) -> Tree:
    """Return two trees as one: values and lists of `above` win, tables are merged."""
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        merged[key] = _laid_over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def parse_tree(text: str, name: str) -> Tree:
    """Return the keys in TOML or YAML text, by the extension of its name. Raises ConfigError."""
    try:
        if name.endswith(".toml"):
            return tomllib.loads(text)
        import yaml  # imported only for YAML

        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            _refuse_repeated_keys(node, name)
            tree = None if node is None else loader.construct_document(node)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
            why = " ".join(str(error).split())
            if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
                why = f"{error.problem} (at line {mark.line + 1}, column {mark.column + 1})"
            raise ConfigError(f"{name}: not YAML: {why}", hint=_by_its_name(name)) from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ConfigError(f"{name}: not TOML: {str(error).partition(';')[0]}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}: has no keys", hint=_by_its_name(name))
    return tree


def _by_its_name(name: str) -> str:
    return "" if name.endswith((".yaml", ".yml")) else "the name of a file in TOML ends in .toml; others are YAML"


def _struct_types(type_: object) -> list[type[msgspec.Struct]]:
    """Return the Structs in a field's type, including those in unions, lists and Annotated."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [type_]
    return [s for a in get_args(type_) for s in _struct_types(a)] if get_origin(type_) else []


def _allowed(type_: object, path: tuple[str, ...]) -> list[object]:
    """Return the allowed values of the field at `path`, if it is an enumeration."""
    for key in path:
        for struct in _struct_types(type_):
            names = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
            if key in names:
                type_ = get_type_hints(struct)[names[key]]
                break
    return _words(type_)


def _words(type_: object) -> list[object]:
    if get_origin(type_) is Literal:
        return list(get_args(type_))
    if isinstance(type_, enum.EnumType):
        return [member.value for member in type_]  # type: ignore[var-annotated]
    return [word for each in get_args(type_) for word in _words(each)]


def _unknown_keys(tree: dict[str, object], type_: type[msgspec.Struct], path: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield each unknown key; `renamed` of a type: former key -> key."""
    hints = get_type_hints(type_)
    types = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(type_)}
    foreign = not path and 2 < len(tree.keys() - types) > len(tree) / 2
    for key, value in tree.items():
        if key not in types:
            now = getattr(type_, "renamed", {}).get(key)
            name = str(key)  # YAML allows keys that are not text
            other = "is this the right file?" if foreign else nearest(name, types)
            hint = f"renamed to {now!r}" if now else other
            yield (*path, name), UNKNOWN, _ELSEWHERE.get(name, hint) if not path else hint
            continue
        inner = _struct_types(types[key])
        items = [((), value)] if not isinstance(value, list) else [((str(at),), item) for at, item in enumerate(value)]
        if isinstance(value, dict) and get_origin(types[key]) in (dict, Mapping):  # keys are the user's own
            items = [((str(name),), item) for name, item in value.items()]
        for place, item in items:
            if len(inner) == 1 and isinstance(item, dict):
                yield from _unknown_keys(item, inner[0], (*path, key, *place))


def locate(text: str, path: tuple[str, ...], name: str) -> int:
    """Return the line of the key at `path` in the valid text of a file `name`, else of the innermost table known.

    A number in `path` is the index of an item in the preceding list.
    """
    if name.endswith(".toml"):
        lines = _toml_lines(text)
        return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 1)
    import yaml

    node, line = _yaml_nodes(text), 0
    for key in path:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == key), None)
        elif isinstance(node, yaml.SequenceNode) and key.isdecimal() and int(key) < len(node.value):
            found = (node.value[int(key)],) * 2
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return line + 1


@lru_cache(maxsize=1)
def _toml_lines(text: str) -> Mapping[tuple[str, ...], int]:
    try:
        return _TomlLines(text).lines
    except RecursionError:
        return {}


@lru_cache(maxsize=1)  # errors are located one after the other
def _yaml_nodes(text: str) -> object:
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _refuse_repeated_keys(root: object, name: str) -> None:
    """Raise ConfigError for a key that stands twice in a mapping, as TOML does: else the last value would hold."""
    import yaml

    left, seen = [root], set[int]()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line, word = key.start_mark.line + 1, str(key.value)
                if word in lines:
                    raise ConfigError(f"{name}: {word!r} at line {line} stands at line {lines[word]} already")
                lines[word] = line
                left.append(value)


_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


class _TomlLines:
    """The line of each key of a valid TOML document (TOML 1.0), by its path; items of lists by their index."""

    def __init__(self, text: str) -> None:
        self.lines: dict[tuple[str, ...], int] = {}
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._counts: dict[tuple[str, ...], int] = {}
        """Tables of each array of tables so far."""
        table: tuple[str, ...] = ()
        while self._skip():
            if self._take("[["):
                array = self._resolved(self._key())
                self._counts[array] = self._counts.get(array, 0) + 1
                table = self._note((*array, str(self._counts[array] - 1)))
                self._take("]]")
            elif self._take("["):
                table = self._note(self._resolved(self._key()))
                self._take("]")
            else:
                self._pair(table)

    def _pair(self, table: tuple[str, ...]) -> None:
        path = (*table, *self._key())
        self._note(path)
        self._take("=")
        self._value(path)

    def _note(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Note the line of a key, and of tables that only its path names."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        for size in range(1, len(path) + 1):
            self.lines.setdefault(path[:size], self._line)
        return path

    def _resolved(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return a header's path: within an array of tables it means its last one."""
        path: tuple[str, ...] = ()
        for part in key:
            path = (*((*path, str(self._counts[path] - 1)) if path in self._counts else path), part)
        return path

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip()
            if (bare := _BARE.match(self._text, self._at)) is not None:
                self._at = bare.end()
                parts.append(bare[0])
            else:
                parts.append(tomllib.loads(f"key = {self._string()}")["key"])
            if not self._take("."):
                return tuple(parts)

    def _value(self, path: tuple[str, ...]) -> None:
        self._skip()
        if self._take("["):
            place = 0
            while not self._take("]"):
                self._note((*path, str(place)))
                self._value((*path, str(place)))
                self._take(",")
                place += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(path)
                self._take(",")
        elif not self._string():
            self._at = _SCALAR.match(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too

    def _string(self) -> str:
        found = _STRING.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _take(self, mark: str) -> bool:
        self._skip()
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _skip(self) -> bool:
        """Skip space and comments; return whether something follows."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._at < len(self._text)


def nearest(word: str, known: Iterable[str], listed: Iterable[str] = ()) -> str:
    """Return the hint about an unknown name: the nearest of the choices, else those to be listed, by default all."""
    import difflib  # only for errors

    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(listed or choices)}"
