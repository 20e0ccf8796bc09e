"""Which tests run a program: a command, or what is behind a server's port; not only its parts.

A test does where it, a fixture that it names, or a helper of them starts a process or uses a program's own entry.
Everything is read from the sources by name, nothing is run.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from docs.requirements import CONSTANT, marked

ROOT: Final = Path(__file__).resolve().parents[1]

PROCESSES: Final = frozenset({"CliRunner", "Popen", "create_subprocess_exec", "create_subprocess_shell", "get_context"})
"""What starts a process, or a command of `v2g` in this one."""

ENTRIES: Final = (
    "csms.app.", "evcc.app.", "secc.app.", "subprocess.", "v2g_cli.main.", "v2g_cli.demo.", "v2g_gateway.app.",
    "v2g_gateway.gateway.",
)  # fmt: skip
"""Modules of which anything that is used runs a program."""

Place = tuple[Path, str]


class Module(msgspec.Struct, frozen=True):
    """A module's definitions with the names that each uses, and its imports."""

    uses: dict[str, frozenset[str]]
    imports: dict[str, str]
    """Name -> dotted name of what it stands for."""
    seldom: frozenset[str]
    """The tests, functions and classes, that `make test` leaves out as a whole."""


def _names(node: ast.AST, imports: dict[str, str]) -> frozenset[str]:
    """Return the names that a node uses, with those of fixtures; note what it imports."""
    found: set[str] = set()
    left: list[Any] = [node]
    while left:  # by hand: there are millions of nodes, and `ast.walk` takes twice as long
        each = left.pop()
        kind = type(each)
        if kind is ast.Name:
            found.add(each.id)
            continue
        if kind is ast.Constant:
            if isinstance(each.value, str) and each.value.isidentifier():  # usefixtures("x"), getfixturevalue("x")
                found.add(each.value)
            continue
        if kind is ast.Attribute:
            found.add(each.attr)
        elif kind is ast.arg:
            found.add(each.arg)
        elif kind is ast.Import:
            imports.update({name.asname or name.name.partition(".")[0]: name.name for name in each.names})
        elif kind is ast.ImportFrom and each.module:
            imports.update({name.asname or name.name: f"{each.module}.{name.name}" for name in each.names})
        for field in kind._fields:
            part = getattr(each, field, None)
            if isinstance(part, ast.AST):
                left.append(part)
            elif type(part) is list:
                left += [one for one in part if isinstance(one, ast.AST)]
    return frozenset(found)


@cache
def read(path: Path) -> Module:
    """Read a module of tests or benchmarks."""
    tree = ast.parse(path.read_text())
    uses: dict[str, frozenset[str]] = {}
    imports: dict[str, str] = {}
    for statement in tree.body:
        used = _names(statement, imports)
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = {name}
            case ast.Assign(targets=targets):
                names = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = {name}
            case _:
                continue
        uses |= {name: uses.get(name, frozenset()) | used for name in names}
    if CONSTANT in uses:  # all of a benchmark is one
        uses[CONSTANT] = frozenset().union(*uses.values())
    return Module(uses, imports, seldom(tree))


@cache
def _file(dotted: str) -> Path | None:
    path = ROOT / dotted.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


@cache
def _conftests(folder: Path) -> tuple[Path, ...]:
    """Return the conftest.py of a folder and of those above it."""
    return tuple(each for each in (above / "conftest.py" for above in (folder, *folder.parents)) if each.is_file())


@cache
def _of_conftests(path: Path) -> frozenset[str]:
    """Return the names that a module has from each conftest.py above it."""
    return frozenset().union(*({*read(each).uses, *read(each).imports} for each in _conftests(path.parent)))


@cache
def _defined(path: Path, name: str) -> frozenset[Place]:
    """Return where a name of a module is defined: there, where it is imported from, or in a conftest.py above."""
    return frozenset(_definitions(path, name))


def _definitions(path: Path, name: str) -> Iterator[Place]:
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
        for above in _conftests(path.parent):
            if name in read(above).uses or name in read(above).imports:
                yield from _defined(above, name)
                return


@cache
def _uses(place: Place) -> tuple[bool, frozenset[Place]]:
    """Say whether a definition itself runs a program; return the definitions of tests and benchmarks that it uses."""
    (path, name), found = place, set[Place]()
    module = read(path)
    known = module.uses.keys() | module.imports.keys() | _of_conftests(path) | PROCESSES
    for used in module.uses.get(name, frozenset()) & known:  # most others are local, or attributes
        dotted = module.imports.get(used, used)
        if used in PROCESSES or f"{dotted}.".startswith(ENTRIES):
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
        for name, rows in marked(path).items():
            if rows and runs_a_program(path, name):
                for row in rows:
                    found.setdefault(row, []).append(f"{path.relative_to(ROOT)}::{name}")
    return {row: tuple(names) for row, names in found.items()}


SELDOM: Final = frozenset({"long", "hours"})
"""Marks of what `make test` leaves out."""


def _is_seldom(node: ast.expr) -> bool:
    """Say whether a decorator, or one of those in `pytestmark`, is such a mark."""
    marks = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    return any(isinstance(each, ast.Attribute) and each.attr in SELDOM for each in marks)


def seldom(tree: ast.Module) -> frozenset[str]:
    """Return the tests of a module, functions and classes, that `make test` leaves out as a whole; a benchmark is."""
    found, everything = {CONSTANT}, False
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                everything = _is_seldom(value)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if any(map(_is_seldom, node.decorator_list)):
                found.add(node.name)
            case ast.ClassDef():
                tests = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                tests = [each for each in tests if each.name.startswith("test_")]
                of_all = any(map(_is_seldom, node.decorator_list))
                if of_all or all(any(map(_is_seldom, each.decorator_list)) for each in tests):
                    found.add(node.name)
    names = (getattr(node, "name", "") for node in tree.body)
    return frozenset(found.union(names) if everything else found)


@cache
def always() -> dict[str, tuple[str, ...]]:
    """Return of `programs` the tests that `make test` runs, if only some of their cases."""
    left_out = {
        f"{name}::{test}"
        for name in {each.partition("::")[0] for names in programs().values() for each in names}
        for test in read(ROOT / name).seldom
    }
    found = {row: tuple(each for each in names if each not in left_out) for row, names in programs().items()}
    return {row: names for row, names in found.items() if names}
