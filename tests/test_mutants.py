"""The tool behind `make mutants`: what it changes, and that what it lists as equivalent is a mutant."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

from tests.imports import imported, sources
from tests.mutants.__main__ import swap
from tests.mutants.operators import mutants
from tests.mutants.outside import OUTSIDE
from tests.mutants.targets import EQUIVALENT, TARGETS
from tests.together import together

SOURCE = r'''
"""About it."""
MOST = 3

if TYPE_CHECKING:
    import doors

doors: Final = declare_table("doors", Column("id", String(9)))

class Lock:
    """Of a door."""

    word: str = "shut"

    @property
    def free(self) -> bool:
        """Whether it is."""
        return not self.shut and self.at < MOST

FORM = r"\d{8}"

def pick(a: int, b: int = 2) -> int:
    if a:
        print("a word for people")
    return min(a, b)
'''

CHANGES = {
    "module: 3 -> 4",
    "module: 3 -> 0",
    r"module: '\\d{8}' -> '\\d{8}!'",
    "Lock: 'shut' -> 'shut?'",
    "Lock.free: return not self.shut and self.at < MOST -> return None",
    "Lock.free: not self.shut and self.at < MOST -> not self.shut or self.at < MOST",
    "Lock.free: not self.shut and self.at < MOST -> not self.shut",
    "Lock.free: not self.shut and self.at < MOST -> self.at < MOST",
    "Lock.free: not self.shut -> self.shut",
    "Lock.free: self.at < MOST -> self.at <= MOST",
    "Lock.free: self.at < MOST -> self.at >= MOST",
    "pick: 2 -> 3",
    "pick: 2 -> 0",
    "pick: a -> not a",
    "pick: print('a word for people') -> pass",
    "pick: return min(a, b) -> return None",
    "pick: min(a, b) -> max(a, b)",
    "pick: min(a, b) -> a",
    "pick: min(a, b) -> b",
}


def test_every_kind_of_change_is_made_once() -> None:
    found = mutants(SOURCE)
    assert {each.name for each in found} == CHANGES
    assert len(found) == len(CHANGES)
    sources = {ast.unparse(each.tree) for each in found}
    assert len(sources) == len(found)
    assert ast.unparse(ast.parse(SOURCE)) not in sources


def test_only_bodies_of_functions_are_changed_in_functions() -> None:
    functions = {each.name: each.function for each in mutants(SOURCE)}
    assert functions["module: 3 -> 4"] == functions["Lock: 'shut' -> 'shut?'"] == functions["pick: 2 -> 3"] == ""
    assert functions["Lock.free: not self.shut -> self.shut"] == "Lock.free"


def test_what_a_decorator_keeps_is_changed_too() -> None:
    source = "from contextlib import contextmanager\n\n@contextmanager\ndef one():\n    yield 7\n\nKEPT = one\n"
    module = ModuleType("decorated")
    module.__file__ = "decorated"
    exec(compile(source, "decorated", "exec"), vars(module))
    swap(module, next(each for each in mutants(source) if each.name == "one: 7 -> 8"))
    with module.KEPT() as value:
        assert value == 8


@together("name", TARGETS)
@pytest.mark.long
def test_what_is_listed_as_equivalent_exists(name: str) -> None:
    names = {each.name for each in mutants(Path(TARGETS[name].path).read_text())}
    assert set(EQUIVALENT.get(name, {})) <= names
    assert all(Path(each).exists() for each in TARGETS[name].tests)


FOLDERS = ("v2g/battery", "v2g/energy", "v2g/hardware", "v2g/ocpi", "v2g/ota", "v2g/pki", "v2g/safety")
"""Where what a target imports decides, too."""
WHOLE = ("v2g/energy", "v2g/ocpi", "v2g/ota", "v2g/pki", "v2g/safety", "v2g/translate")
"""Where each module decides, whatever imports it."""


def test_what_decides_is_a_target_or_has_a_reason() -> None:
    targets, modules = {each.path for each in TARGETS.values()}, sources()
    needed = {name for each in TARGETS.values() for name in imported(Path(each.path).read_text(), modules)}
    deciding = {f"{name.replace('.', '/')}.py" for name in needed if not name.endswith("__init__")}
    deciding = {name for name in deciding if name.startswith(FOLDERS) or name.endswith("/rules.py")}
    deciding |= {str(each) for each in Path("csms").glob("*/rules.py")}
    deciding |= {str(each) for top in WHOLE for each in Path(top).rglob("*.py") if each.name != "__init__.py"}
    assert deciding - targets == set(OUTSIDE)
