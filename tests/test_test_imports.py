"""Helpers live in modules of their own: no test module imports from another."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

_IMPORT = re.compile(r"from tests[\w.]* import (?:\([^)]*\)|.*)")

NAMED = {"tests/sessions/test_timers.py"}
"""Tables that name tests of other modules."""


def of_test_modules(source: str) -> Iterator[str]:
    """Yield what a module imports from test modules."""
    if not any("test_" in each for each in _IMPORT.findall(source)):
        return  # most modules, which need not be parsed
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
            found = node.module if node.module.rpartition(".")[2].startswith("test_") else ""
            yield from [found] if found else (each.name for each in node.names if each.name.startswith("test_"))


def test_no_test_module_imports_from_another() -> None:
    places = {str(file.relative_to(TESTS.parent)): file for file in sorted(TESTS.rglob("*.py"))}
    found = {name: list(of_test_modules(file.read_text())) for name, file in places.items() if name not in NAMED}
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tests.csms.test_api import ask", ["tests.csms.test_api"]),
        ("from tests.csms import support, test_api", ["test_api"]),
        ("from tests.csms.api import ask\nfrom v2g.testkit import test_it", []),
    ],
)
def test_an_import_of_a_test_module_is_seen(source: str, found: list[str]) -> None:
    assert list(of_test_modules(source)) == found
