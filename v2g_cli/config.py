"""`v2g config`: what may stand in the programs' configuration files: keys with type, range, default and meaning.

It is read from the Structs that the programs read their files into, and from the texts below their fields.
"""

import ast
import enum
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Final, get_args

import msgspec
import typer
from msgspec import inspect as types

from v2g.config import Table, nearest
from v2g.errors import ConfigError
from v2g.pki.reference import KeyReference
from v2g.typed_json import Fields
from v2g_cli.output import print_json, print_table, say

PROGRAMS: Final = {
    "secc": ("secc.config", "ProgramConfig"),
    "evcc": ("evcc.config", "EvccConfig"),
    "csms": ("csms.config", "CsmsConfig"),
    "telemetry": ("v2g_gateway.config", "GatewayConfig"),
}
"""Program -> module and type of its configuration."""


class Key(msgspec.Struct, frozen=True):
    """A key as the field of a Struct: its type and range in words (`kind`), its default, its meaning with its unit."""

    name: str
    kind: str
    default: str
    meaning: str
    section: type[msgspec.Struct] | None
    """What stands below it."""


def configuration(program: str) -> type[msgspec.Struct]:
    """Return the type of a program's configuration. KeyError for another program."""
    module, name = PROGRAMS[program]
    found: type[msgspec.Struct] = getattr(import_module(module), name)
    return found


def sections(program: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield every section of a program's file with its dotted path: the file itself (""), those of our drivers, too."""
    root = configuration(program)
    yield "", root
    for path, struct in (*inside(root, ""), *drivers(program)):
        yield path.strip("[]"), struct


_SIDE_TABLES: Final = {"card_reader": "card_readers", "display": "display"}


def drivers(program: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield the tables of our drivers that have none of their own in a program's file."""
    if program != "secc":
        return
    from secc.hardware.drivers import BUILT_IN, POWER_KINDS, find

    own = {struct for _, struct in inside(configuration(program), "")}
    for kind, driver in BUILT_IN:
        struct = find(kind, driver).config
        if struct not in own:
            table = f"hardware.drivers.{driver}" if kind in POWER_KINDS else f"station.{_SIDE_TABLES[kind]}.settings"
            yield table, struct


def inside(
    struct: type[msgspec.Struct], path: str, *, stop: frozenset[type[msgspec.Struct]] = frozenset()
) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield the sections below a Struct with their TOML headings, depth first."""
    for field in msgspec.structs.fields(struct):
        for inner, many in _structs(field.type):
            if inner in stop:
                continue
            below = f"{path}.{field.encode_name}" if path else field.encode_name
            yield (f"[{below}]" if many else below), inner
            yield from inside(inner, below, stop=stop)


def _structs(kind: object, *, many: bool = False) -> Iterator[tuple[type[msgspec.Struct], bool]]:
    """Yield the Structs in a type, each with whether it comes in a list."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind, many
        return
    repeated = many or getattr(kind, "__origin__", None) in (tuple, list)
    for each in get_args(kind):
        yield from _structs(each, many=repeated)


def keys_of(struct: type[msgspec.Struct]) -> Iterator[Key]:
    """Yield the keys of one section."""
    described = attribute_docs(struct)
    for field in msgspec.structs.fields(struct):
        below = next(_structs(field.type), None)
        info = types.type_info(field.type)
        text = _description(info) or described.get(field.name, "") or (_first_sentence(below[0]) if below else "")
        unit = _unit(field.encode_name)
        if unit and not re.search(rf"(^|[ (,]){re.escape(unit)}(?!\w)", text):
            text = f"{text.removesuffix('.')}, {unit}"
        yield Key(field.encode_name, _type(info), _default(field, below), text, below[0] if below else None)


def _first_sentence(struct: type[msgspec.Struct]) -> str:
    return " ".join((inspect.getdoc(struct) or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


@cache
def attribute_docs(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    """Return the strings that stand below fields in the source, by field."""
    docs: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            docs |= _docs(sys.modules[base.__module__])[base.__name__]
    return docs


@cache
def _docs(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """Return them of all classes of a module, by class: parsed once, as `inspect.getsource` does for each class."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ClassDef) and node.name not in found:
            docs: dict[str, str] = {}
            found[node.name] = docs
            for before, after in pairwise(node.body):
                match before, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                        docs[name] = " ".join(str(text).split())
    return found


_UNITS: Final = {
    "w": "W", "va": "VA", "kw": "kW", "kwh": "kWh", "mwh": "mWh", "wh": "Wh", "v": "V", "mv": "mV", "a": "A",
    "ma": "mA",
    "s": "s", "ms": "ms", "minutes": "minutes", "hz": "Hz", "mm": "mm", "cm": "cm", "c": "°C", "db": "dB", "ohm": "Ω",
    "percent": "%", "permille": "‰", "bytes": "bytes", "soc": "%",
}  # fmt: skip


def _unit(key: str) -> str:
    """Return the unit that the end of a key names: `delay_ms`, `current_a_per_s`, `ramp_w_s`."""
    *before, last = key.split("_")
    if not before or before[-1] == "utc" or last not in _UNITS:  # a moment is no time
        return ""
    upper = before[-2] if before[-1] == "per" else before[-1]
    if upper in _UNITS:
        return f"{_UNITS[upper]}/{_UNITS[last]}"
    return "" if before[-1] == "per" else _UNITS[last]


def _description(info: types.Type) -> str:
    if isinstance(info, types.Metadata):
        schema = info.extra_json_schema or {}
        return str(schema.get("description", "")) or _description(info.type)
    return ""


def _type(info: types.Type) -> str:
    """Return a type in words, with its range."""
    match info:
        case types.Metadata():
            return _type(info.type)
        case types.UnionType():
            kinds = [_type(each) for each in info.types if not isinstance(each, types.NoneType)]
            return " or ".join(kinds)
        case types.IntType() | types.FloatType():
            return ("integer" if isinstance(info, types.IntType) else "number") + _range(info)
        case types.StrType():
            return "text" + _length(info) + (f" like `{info.pattern}`" if info.pattern else "")
        case types.DateType():
            return "date"
        case types.BoolType():
            return "true or false"
        case types.DecimalType():
            return "decimal number"
        case types.EnumType():
            return " or ".join(_member(each) for each in info.cls)
        case types.LiteralType():
            return " or ".join(f"`{json.dumps(each)}`" for each in info.values)
        case types.CustomType() if info.cls is Path:
            return "path"
        case types.CustomType() if info.cls is Table:
            return "section"
        case types.CustomType() if info.cls is KeyReference:
            return "path or key URI"
        case types.VarTupleType():
            return f"list of {_type(info.item_type)}" + _length(info)
        case types.TupleType():
            return f"[{', '.join(_type(each) for each in info.item_types)}]"
        case types.DictType():
            return f"table of {_type(info.key_type)} to {_type(info.value_type)}"
        case types.StructType():
            return "section"
    raise AssertionError(f"no words for {info}")


def _member(member: enum.Enum) -> str:
    if isinstance(member.value, int):
        return f"`{member.value}` ({member.name})"
    return f'`"{member.value}"`'


def _range(info: types.IntType | types.FloatType) -> str:
    low = (
        f"from {_number(info.ge)}"
        if info.ge is not None
        else f"above {_number(info.gt)}"
        if info.gt is not None
        else ""
    )
    high = (
        f"to {_number(info.le)}" if info.le is not None else f"below {_number(info.lt)}" if info.lt is not None else ""
    )
    return " " + " ".join(filter(None, (low, high))) if low or high else ""


def _number(value: float) -> str:
    return _toml(value) if isinstance(value, int) else f"{value:g}"


def _length(info: types.StrType | types.VarTupleType) -> str:
    low, high = info.min_length, info.max_length
    if low is not None and low == high:
        return f", length {low}"
    words = " ".join(filter(None, (f"from {low}" if low else "", f"to {high}" if high is not None else "")))
    return f", length {words}" if words else ""


def _default(field: msgspec.structs.FieldInfo, inner: tuple[type[msgspec.Struct], bool] | None) -> str:
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "**required**"
    if value is None:
        return "none"
    if isinstance(value, Table) or value == {}:
        return "`{}`"
    if inner is not None and not inner[1]:
        needs = any(each.required for each in msgspec.structs.fields(inner[0]))
        return "its defaults" if not needs and value == inner[0]() else f"`{_as_json(value)}`"
    return f"`{_toml(value)}`"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case enum.Enum():
            return _toml(value.value)
        case str() | Path():
            return f'"{value}"'
        case tuple() | list():
            return f"[{', '.join(_toml(each) for each in value)}]"
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
        case msgspec.Struct():
            return _as_json(value)
        case int():
            return f"{value:_}" if value >= 100_000 else str(value)
    return str(value)


def _as_json(value: msgspec.Struct) -> str:
    """Return what differs from a Struct's defaults, as an inline table."""
    given = {
        field.encode_name: getattr(value, field.name)
        for field in msgspec.structs.fields(type(value))
        if getattr(value, field.name) != field.default
    }
    return _toml(given)


app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Program = Annotated[str, typer.Argument(help=f"One of {', '.join(PROGRAMS)}.")]


@app.callback()
def _config() -> None:
    """Describe the configuration files of the programs."""


@app.command()
def schema(program: Program) -> None:
    """Print the JSON schema of a program's configuration, for editors and for tools that write such files.

    The program itself checks more: `v2g PROGRAM --config FILE --check-config` names each bad key with its line.

    Example: `v2g config schema secc > secc.schema.json`
    """
    from v2g.config import schema_of

    described: Fields = schema_of(_of(program), f"Configuration of v2g {program}")
    for _, struct in inside(_of(program), ""):
        names = struct.__name__, f"{struct.__module__}.{struct.__name__}"  # the longer one where several have the other
        keys = next(described["$defs"][name]["properties"] for name in names if name in described["$defs"])
        for field in msgspec.structs.fields(struct):
            if text := attribute_docs(struct).get(field.name):
                keys[field.encode_name].setdefault("description", text)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n")


@app.command()
def explain(
    program: Program,
    key: Annotated[str, typer.Argument(help="A key or section, as `tls.chain`; all without one.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON record per line.")] = False,
) -> None:
    """Explain the keys of a program's configuration: type, range, default, meaning.

    Examples:

    - `v2g config explain secc tls.chain`
    - `v2g config explain csms api`
    - `v2g config explain telemetry --json | jq -r .key`
    """
    found = list(_keys(program))
    chosen = [(path, each) for path, each in found if path == key or path.startswith(f"{key}.") or not key]
    if not chosen:
        paths = [path for path, _ in found]
        hint = nearest(key, paths, [path for path in paths if "." not in path])
        raise ConfigError(f"no key of {program} is called {key!r}", hint=hint)
    if json:
        for path, each in chosen:
            print_json({"key": path, "type": each.kind, "default": each.default, "meaning": each.meaning})
    elif len(chosen) == 1:
        [(path, each)] = chosen
        say(f"{path}: {each.kind}; {each.default}\n{each.meaning}", lines=True)
    else:
        rows = [(path, each.kind, each.default, each.meaning) for path, each in chosen]
        print_table(f"Configuration of v2g {program}", ("Key", "Type", "Default", "Meaning"), rows)


def _keys(program: str) -> Iterator[tuple[str, Key]]:
    """Yield every key with its dotted path; its texts without the marks of pages."""
    _of(program)
    for section, struct in sections(program):
        for key in keys_of(struct):
            plain = Key(key.name, _plain(key.kind), _plain(key.default), _plain(key.meaning), key.section)
            yield f"{section}.{key.name}".strip("."), plain


def _of(program: str) -> type[msgspec.Struct]:
    if program not in PROGRAMS:
        raise ConfigError(f"{program!r} is no program with a configuration", hint=nearest(program, PROGRAMS))
    return configuration(program)


def _plain(text: str) -> str:
    """Return text without the marks that a page shows it with, and links as what they show."""
    return re.sub(r"\[([^\]]+)\]\([^)\s]+\)", r"\1", text).replace("`", "").replace("**", "")
