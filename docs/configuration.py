"""The configuration reference, from the Structs that the programs read their files into."""

import inspect
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import msgspec

from secc.status import ChargerStatus
from v2g_cli.config import PROGRAMS, configuration, drivers, inside, keys_of, sections
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Declaration


def program(name: str) -> str:
    """Return the sections of one program's file; sections that several programs share are only pointed to."""
    return "\n".join([_sections(configuration(name)), *(_section(*each, _elsewhere()) for each in drivers(name))])


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
    for path, struct in inside(root, "", stop=_elsewhere()):
        if first[struct] == path:
            parts.append(_section(path, struct, _elsewhere(), first))
    return "\n".join(parts)


def _first(root: type[msgspec.Struct]) -> dict[type[msgspec.Struct], str]:
    """Return where each section of a program stands for the first time, as a heading."""
    first: dict[type[msgspec.Struct], str] = {}
    for path, struct in inside(root, "", stop=_elsewhere()):
        first.setdefault(struct, path)
    return first


def shared() -> str:
    """Return the sections that several programs have."""
    return "\n".join(_section(f"shared: {_title(struct)}", struct, _elsewhere()) for struct in _shared())


@cache
def keys() -> frozenset[str]:
    """Return every key of every program as a dotted path, sections among them."""
    found = set()
    for name in PROGRAMS:
        for section, struct in sections(name):
            found |= {f"{section}.{each.encode_name}".strip(".") for each in msgspec.structs.fields(struct)}
    return frozenset(found)


def _uses(struct: type[msgspec.Struct]) -> str:
    """Return where a shared section stands, program by program."""
    places = []
    for name in PROGRAMS:
        paths = [f"`[{path}]`" for path, each in inside(configuration(name), "") if each is struct]
        places += [f"{', '.join(paths)} of {name}"] if paths else []
    return f"Stands as {'; '.join(places)}."


@cache
def _shared() -> tuple[type[msgspec.Struct], ...]:
    counts: Counter[type[msgspec.Struct]] = Counter()
    for name in PROGRAMS:
        counts.update({struct for _, struct in inside(configuration(name), "")})
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
    lines += ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for key in keys_of(struct):
        text, inner = key.meaning, key.section
        if inner is not None and inner in elsewhere:
            title = _title(inner)
            text = f"{text.removesuffix('.')}; see [{title}](#{title.lower().replace(' ', '-')})"
        elif inner is not None and not _stands_at(first.get(inner), path, key.name):
            text = f"{text.removesuffix('.')}; keys as in `[{first[inner]}]`"
        cells = (f"`{key.name}`", key.kind, key.default, text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _stands_at(heading: str | None, path: str, key: str) -> bool:
    """Say whether a section's table is that of this key; None stands for sections without a table of their own."""
    return heading is None or heading.strip("[]") == f"{path.strip('[]')}.{key}".strip(".")


def _text(doc: str) -> str:
    """Return a docstring as Markdown: paragraphs stay, lines are joined."""
    return "\n\n".join(" ".join(part.split()) for part in doc.split("\n\n"))
