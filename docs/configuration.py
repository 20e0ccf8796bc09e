"""The configuration reference, from the Structs that the programs read their files into."""

import ast
import enum
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect as types

from csms.config import CsmsConfig
from evcc.config import EvccConfig
from secc.config import ProgramConfig
from secc.hardware.drivers import BUILT_IN, POWER_KINDS, find
from secc.status import ChargerStatus
from v2g.config import Table
from v2g.pki.reference import KeyReference
from v2g_gateway.config import GatewayConfig
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Declaration

PROGRAMS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "secc": ProgramConfig,
    "evcc": EvccConfig,
    "csms": CsmsConfig,
    "gateway": GatewayConfig,
}


def program(name: str) -> str:
    """Return the sections of one program's file; sections that several programs share are only pointed to."""
    return "\n".join([_sections(PROGRAMS[name]), *(_section(*each, _elsewhere()) for each in _drivers(name))])


def _drivers(name: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield the tables of our drivers that have none of their own in a program's file."""
    if name != "secc":
        return
    own = set(_first(ProgramConfig))
    for kind, driver in BUILT_IN:
        struct = find(kind, driver).config
        if struct not in own:
            table = f"hardware.drivers.{driver}" if kind in POWER_KINDS else f"station.{_SIDE_TABLES[kind]}.settings"
            yield table, struct


_SIDE_TABLES: Final = {"card_reader": "card_readers", "display": "display"}


def declaration(kind: str) -> str:
    """Return the keys of the declaration of a device under test: `secc`, `station` or `csms`."""
    return _sections({"secc": ChargerDeclaration, "station": Declaration, "csms": CsmsDeclaration}[kind])


def status() -> str:
    """Return the members of the JSON of a charger's status page."""
    text = _sections(ChargerStatus).replace("| Key |", "| Member |")
    return re.sub(
        r"^(\| [^|]* \| [^|]* \| )[^|]* \| ", r"\1", text.replace("|---|---|---|---|", "|---|---|---|"), flags=re.M
    )


def _sections(root: type[msgspec.Struct]) -> str:
    first = _first(root)
    parts = [_section("", root, _elsewhere(), first)]
    for path, struct in _inside(root, "", stop=_elsewhere()):
        if first[struct] == path:
            parts.append(_section(path, struct, _elsewhere(), first))
    return "\n".join(parts)


def _first(root: type[msgspec.Struct]) -> dict[type[msgspec.Struct], str]:
    """Return where each section of a program stands for the first time, as a heading."""
    first: dict[type[msgspec.Struct], str] = {}
    for path, struct in _inside(root, "", stop=_elsewhere()):
        first.setdefault(struct, path)
    return first


def shared() -> str:
    """Return the sections that several programs have."""
    return "\n".join(_section(f"shared: {_title(struct)}", struct, _elsewhere()) for struct in _shared())


def keys() -> frozenset[str]:
    """Return every key of every program as a dotted path, sections among them."""
    found = set()
    for name, root in PROGRAMS.items():
        for path, struct in (("", root), *_inside(root, "", stop=frozenset()), *_drivers(name)):
            section = path.strip("[]")
            found |= {f"{section}.{each.encode_name}".strip(".") for each in msgspec.structs.fields(struct)}
    return frozenset(found)


def _uses(struct: type[msgspec.Struct]) -> str:
    """Return where a shared section stands, program by program."""
    places = []
    for name, root in PROGRAMS.items():
        paths = [f"`[{path}]`" for path, each in _inside(root, "", stop=frozenset()) if each is struct]
        places += [f"{', '.join(paths)} of {name}"] if paths else []
    return f"Stands as {'; '.join(places)}."


@cache
def _shared() -> tuple[type[msgspec.Struct], ...]:
    counts: Counter[type[msgspec.Struct]] = Counter()
    for root in PROGRAMS.values():
        counts.update({struct for _, struct in _inside(root, "", stop=frozenset())})
    return tuple(
        sorted((each for each, count in counts.items() if count > 1), key=lambda each: (each.__name__, each.__module__))
    )


_EDITIONS: Final = {"d20": "ISO 15118-20", "d2": "ISO 15118-2", "din": "DIN 70121"}


@cache
def _title(struct: type[msgspec.Struct]) -> str:
    """Return the name of a shared section, with its edition if several have that name."""
    same = [each for each in _shared() if each.__name__ == struct.__name__]
    edition = _EDITIONS.get(struct.__module__.split(".")[-2])
    return f"{struct.__name__} of {edition}" if len(same) > 1 and edition else struct.__name__


@cache
def _elsewhere() -> frozenset[type[msgspec.Struct]]:
    return frozenset(_shared())


def _inside(
    struct: type[msgspec.Struct], path: str, *, stop: frozenset[type[msgspec.Struct]]
) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Yield the sections below a Struct with their TOML headings, depth first."""
    for field in msgspec.structs.fields(struct):
        for inner, many in _structs(field.type):
            if inner in stop:
                continue
            below = f"{path}.{field.encode_name}" if path else field.encode_name
            yield (f"[{below}]" if many else below), inner
            yield from _inside(inner, below, stop=stop)


def _structs(kind: Any, *, many: bool = False) -> Iterator[tuple[type[msgspec.Struct], bool]]:
    """Yield the Structs in a type, each with whether it comes in a list."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind, many
        return
    repeated = many or getattr(kind, "__origin__", None) in (tuple, list)
    for each in get_args(kind):
        yield from _structs(each, many=repeated)


def _section(
    path: str,
    struct: type[msgspec.Struct],
    elsewhere: frozenset[type[msgspec.Struct]],
    first: Mapping[type[msgspec.Struct], str] = MappingProxyType({}),
) -> str:
    lines = []
    if path.startswith("shared: "):
        lines += [f"### {path.removeprefix('shared: ')}", "", _uses(struct), ""]
    elif path:
        lines += [f"### `[{path}]`", ""]
    lines += [_text(inspect.getdoc(struct) or ""), ""]
    described = attribute_docs(struct)
    lines += ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        inner = next(_structs(field.type), None)
        info = types.type_info(field.type)
        text = _description(info) or described.get(field.name, "") or (_first_sentence(inner[0]) if inner else "")
        unit = _unit(field.encode_name)
        if unit and not re.search(rf"(^|[ (,]){re.escape(unit)}(?!\w)", text):
            text = f"{text.removesuffix('.')}, {unit}"
        if inner is not None and inner[0] in elsewhere:
            title = _title(inner[0])
            text = f"{text.removesuffix('.')}; see [{title}](#{title.lower().replace(' ', '-')})"
        elif inner is not None and not _stands_at(first.get(inner[0]), path, field.encode_name):
            text = f"{text.removesuffix('.')}; keys as in `[{first[inner[0]]}]`"
        cells = (f"`{field.encode_name}`", _type(info), _default(field, inner), text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _stands_at(heading: str | None, path: str, key: str) -> bool:
    """Say whether a section's table is that of this key; None stands for sections without a table of their own."""
    return heading is None or heading.strip("[]") == f"{path.strip('[]')}.{key}".strip(".")


def _first_sentence(struct: type[msgspec.Struct]) -> str:
    return " ".join((inspect.getdoc(struct) or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _text(doc: str) -> str:
    """Return a docstring as Markdown: paragraphs stay, lines are joined."""
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n"))


def attribute_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the strings that stand below fields in the source, by field."""
    docs: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if not issubclass(base, msgspec.Struct) or base is msgspec.Struct:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for before, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr):
                value = after.value
                if isinstance(before.target, ast.Name) and isinstance(value, ast.Constant):
                    docs[before.target.id] = " ".join(str(value.value).split())
    return docs


_UNITS: Final = {
    "w": "W", "va": "VA", "kw": "kW", "kwh": "kWh", "mwh": "mWh", "wh": "Wh", "v": "V", "mv": "mV", "a": "A",
    "ma": "mA",
    "s": "s", "ms": "ms", "minutes": "minutes", "hz": "Hz", "mm": "mm", "cm": "cm", "c": "°C", "db": "dB", "ohm": "Ω",
    "percent": "%", "permille": "‰", "bytes": "bytes", "soc": "%",
}  # fmt: skip


def _unit(key: str) -> str:
    """Return the unit that the end of a key tells: `delay_ms`, `current_a_per_s`, `ramp_w_s`."""
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
            return " or ".join(f'`"{each}"`' for each in info.values)
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
    if isinstance(value, Table):
        return "`{}`"
    if inner is not None and not inner[1]:
        needs = any(each.required for each in msgspec.structs.fields(inner[0]))
        return "its defaults" if not needs and value == inner[0]() else f"`{_plain(value)}`"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
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
            return _plain(value)
        case int():
            return f"{value:_}" if value >= 100_000 else str(value)
    return str(value)


def _plain(value: msgspec.Struct) -> str:
    """Return what differs from a Struct's defaults, as an inline table."""
    given = {
        field.encode_name: getattr(value, field.name)
        for field in msgspec.structs.fields(type(value))
        if getattr(value, field.name) != field.default
    }
    return _toml(given)
