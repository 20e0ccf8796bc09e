"""Which tests run a program: a command, or what is behind a server's port; not only its parts.

A test does where it, a fixture that it names, or a helper of them starts a process or uses a program's own entry.
Everything is read from the sources by name, nothing is run.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from docs.requirements import CONSTANT

ROOT: Final = Path(__file__).resolve().parents[1]

PROCESSES: Final = frozenset({"CliRunner", "Popen", "create_subprocess_exec", "create_subprocess_shell", "get_context"})
"""What starts a process, or a command of `v2g` in this one."""

ENTRIES: Final = (
    "csms.app", "evcc.app", "secc.app", "subprocess", "v2g_cli.main", "v2g_cli.demo", "v2g_gateway.app",
    "v2g_gateway.gateway",
)  # fmt: skip
"""Modules of which anything that is used runs a program."""

Place = tuple[Path, str]


class Module(msgspec.Struct, frozen=True):
    """A module's definitions with the names that each uses, its imports, and its tests with their rows."""

    uses: dict[str, frozenset[str]]
    imports: dict[str, str]
    """Name -> dotted name of what it stands for."""
    tests: dict[str, frozenset[str]]


def _names(node: ast.AST, imports: dict[str, str]) -> frozenset[str]:
    """Return the names that a node uses, with those of fixtures; note what it imports."""
    found: set[str] = set()
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Constant(value=str(name)) if (
                name.isidentifier()
            ):  # usefixtures("broker"), getfixturevalue("broker")
                found.add(name)
            case ast.Import(names=names):
                imports.update({name.asname or name.name.partition(".")[0]: name.name for name in names})
            case ast.ImportFrom(module=str(module), names=names):
                imports.update({name.asname or name.name: f"{module}.{name.name}" for name in names})
    return frozenset(found)


def _rows(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Attribute(attr="requirement"), args=ids):
                yield from map(ast.literal_eval, ids)


def _tests(body: list[ast.stmt], rows: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                yield name, rows | {row for each in node.decorator_list for row in _rows(each)}
            case ast.ClassDef():
                own = rows | {row for each in node.decorator_list for row in _rows(each)}
                yield from ((node.name, found) for _, found in _tests(node.body, own))


@cache
def read(path: Path) -> Module:
    """Read a module of tests or benchmarks."""
    tree = ast.parse(path.read_text())
    uses: dict[str, frozenset[str]] = {}
    imports: dict[str, str] = {}
    marks: frozenset[str] = frozenset()
    for statement in tree.body:
        used = _names(statement, imports)
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = {name}
            case ast.Assign(targets=targets):
                names = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
                if names == {"pytestmark"}:
                    marks = frozenset(_rows(statement))
                elif names == {CONSTANT}:
                    marks = frozenset(ast.literal_eval(statement.value))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = {name}
            case _:
                continue
        uses |= {name: uses.get(name, frozenset()) | used for name in names}
    tests = dict[str, frozenset[str]]()
    for name, rows in _tests(tree.body, marks):
        tests[name] = tests.get(name, frozenset()) | rows
    if CONSTANT in uses:  # all of the module is one
        tests[CONSTANT], uses[CONSTANT] = marks, frozenset().union(*uses.values())
    return Module(uses, imports, tests)


@cache
def _file(dotted: str) -> Path | None:
    path = ROOT / dotted.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def _defined(path: Path, name: str) -> Iterator[Place]:
    """Yield where a name of a module is defined: there, where it is imported from, or in a conftest.py above."""
    module = read(path)
    if name in module.uses:
        yield path, name
    if name in module.imports:
        dotted = module.imports[name]
        whole, (inside, _, last) = _file(dotted), dotted.rpartition(".")
        if whole is not None and dotted.startswith(("tests.", "benchmarks.")):
            yield from ((whole, each) for each in read(whole).uses)
        elif (file := _file(inside)) is not None and dotted.startswith(("tests.", "benchmarks.")):
            yield from _defined(file, last)
    elif name not in module.uses and path.name != "conftest.py":
        for folder in path.parents:
            if (above := folder / "conftest.py").is_file() and name in {**read(above).uses, **read(above).imports}:
                yield from _defined(above, name)
                return
            if folder == ROOT:
                return


@cache
def _uses(place: Place) -> tuple[bool, frozenset[Place]]:
    """Say whether a definition itself runs a program; return the definitions of tests and benchmarks that it uses."""
    (path, name), found = place, set[Place]()
    module = read(path)
    for used in module.uses.get(name, ()):
        dotted = module.imports.get(used, used)
        if used in PROCESSES or any(f"{dotted}.".startswith(f"{entry}.") for entry in ENTRIES):
            return True, frozenset()
        found.update(_defined(path, used))
    return False, frozenset(found)


def runs_a_program(path: Path, name: str) -> bool:
    """Say whether a function, class or fixture of a module does."""
    seen, left = set[Place](), {(path, name), (path, "pytestmark")}
    while left:
        seen |= left
        uses = [_uses(each) for each in left]
        if any(itself for itself, _ in uses):
            return True
        left = {each for _, places in uses for each in places} - seen
    return False


@cache
def programs() -> dict[str, tuple[str, ...]]:
    """Return the tests and benchmarks that run a program, as `file::test`, by the rows that they show."""
    found: dict[str, list[str]] = {}
    for path in sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "benchmarks").glob("*.py")]):
        for name, rows in read(path).tests.items() if _may_show(path) else ():
            if rows and runs_a_program(path, name):
                for row in rows:
                    found.setdefault(row, []).append(f"{path.relative_to(ROOT)}::{name}")
    return {row: tuple(names) for row, names in found.items()}


def _may_show(path: Path) -> bool:
    source = path.read_text()
    return "requirement(" in source or CONSTANT in source
