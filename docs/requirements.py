"""The table of requirements: what is asked of such a controller, what shows it here, and what is missing."""

import ast
import os
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
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


def marks(tree: ast.Module) -> dict[str, frozenset[str]]:
    """Return each test of a module, functions and classes, with the rows that it names, as does
    `pytest.mark.requirement("R1")`; a benchmark is one, under the name of its `REQUIREMENTS = ("R1",)`."""
    found: dict[str, frozenset[str]] = {}
    of_all: frozenset[str] = frozenset()
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                of_all = frozenset(_rows(value))
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == CONSTANT:
                found[name] = frozenset(ast.literal_eval(value))
    for name, marked in _tests(tree.body, of_all):
        found[name] = found.get(name, frozenset()) | marked
    return found


def _tests(body: Iterable[ast.stmt], of_all: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                yield name, of_all.union(*map(_rows, node.decorator_list))
            case ast.ClassDef():
                own = of_all.union(*map(_rows, node.decorator_list))
                yield from ((node.name, found) for _, found in _tests(node.body, own))


def _rows(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Attribute(attr="requirement"), args=ids):
                yield from map(ast.literal_eval, ids)


@cache
def marked(path: Path) -> Mapping[str, frozenset[str]]:
    """Return the marks of a module of tests, or of a benchmark."""
    source = path.read_text()
    return marks(ast.parse(source)) if "requirement(" in source or CONSTANT in source else {}


@cache
def shown() -> dict[str, tuple[Path, ...]]:
    """Return the test modules and benchmarks that show each row, by id."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "benchmarks").glob("*.py")]):
        for row in frozenset[str]().union(*marked(path).values()):
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
