"""The table of requirements: what is asked of such a controller, what shows it here, and what is missing."""

import ast
import os
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from docs.markdown import table as markdown

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = ROOT / "docs" / "requirements.toml"
PAGE: Final = ROOT / "docs" / "reference"
CONSTANT: Final = "REQUIREMENTS"
"""What a benchmark calls the rows that it shows."""

State = Literal["done", "part", "open", "outside"]


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row: what it demands, what is claimed of it, and what is missing (of an outside one: why it is)."""

    demands: str
    state: State
    missing: str = ""


@cache
def areas() -> dict[str, dict[str, Requirement]]:
    """Return the rows by id, in their areas."""
    return msgspec.convert(tomllib.loads(ROWS.read_text()), dict[str, dict[str, Requirement]])


def rows() -> dict[str, Requirement]:
    """Return all rows by id."""
    return {row: each for area in areas().values() for row, each in area.items()}


def marked(source: str) -> Iterator[str]:
    """Yield the rows that a module names: `pytest.mark.requirement("R1")`, or `REQUIREMENTS = ("R1",)`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="requirement"), args=ids):
                yield from map(ast.literal_eval, ids)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == CONSTANT:
                yield from ast.literal_eval(value)


@cache
def shown() -> dict[str, tuple[Path, ...]]:
    """Return the test modules and benchmarks that show each row, by id."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "benchmarks").glob("*.py")]):
        source = path.read_text()
        if "requirement(" in source or CONSTANT in source:
            for row in set(marked(source)):
                found[row].append(path)
    return {row: tuple(paths) for row, paths in found.items()}


def table() -> str:
    """Return how many rows are in each state, then the rows of each area."""
    count = Counter(each.state for each in rows().values())
    parts = [markdown(("State", "Rows"), ((f"`{state}`", str(count[state])) for state in get_args(State)))]
    for area, members in areas().items():
        lines = ((row, each.demands, _links(row), _state(each)) for row, each in members.items())
        parts.append(f"## {area}\n\n{markdown(('Row', 'Demands', 'Shown by', 'State'), lines)}")
    return "\n".join(parts)


def _links(row: str) -> str:
    paths = shown().get(row, ())
    return ", ".join(f"[{_label(each)}]({os.path.relpath(each, PAGE)})" for each in paths)


def _label(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).removeprefix("tests/")


def _state(row: Requirement) -> str:
    return f"`{row.state}`" + (f": {row.missing}" if row.missing else "")
