"""Tests look at what comes out, and rarely into private attributes of what they test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.together import together

TESTS = Path(__file__).parent
MOST = 35
"""Places that do: only ever fewer. Some plant a fault that a judge has to find, some drive a package of others."""

PUBLIC = {"_asdict", "_clear", "_exit", "_fields", "_make", "_mapping", "_replace", "_run_exitfuncs"}
"""Names of Python and SQLAlchemy that are public nevertheless."""

_PERHAPS = re.compile(r"(?<!\bself)(?<!\bcls)\._")
"""What a text has that is worth parsing."""


def reaches(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each private attribute of something that is neither the class's own nor of its kind."""

    def visit(node: ast.AST, own: frozenset[str]) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.ClassDef):
            own = frozenset(each.attr for each in ast.walk(node) if _private(each) and _on_self(each))
            own |= {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        if _private(node) and node.attr not in own and not _on_self(node):
            yield node.lineno, ast.unparse(node)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, own)

    return visit(ast.parse(text), frozenset()) if _PERHAPS.search(text) else iter(())


def _private(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__" and node.attr not in PUBLIC


def _on_self(node: ast.Attribute) -> bool:
    return ast.unparse(node.value) in ("self", "cls", "super()")


@pytest.mark.long
def test_no_more_tests_reach_into_what_is_private() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}: {what}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, what in reaches(path.read_text())
    ]
    assert len(found) <= MOST, "\n".join(found)


@together(
    ("text", "count"),
    [
        ("a._x", 1),
        ("a._x._y = b.c", 2),
        ("a.x, a.__dict__, row._mapping", 0),
        ("class A:\n    def f(self, other):\n        self._x = super()._y + other._x", 0),
        ("class A:\n    def f(self, other):\n        self.x = other._x", 1),
        ("class A:\n    def f(self):\n        self._x = 1\nA()._x", 1),
    ],
)
def test_a_reach_is_an_attribute_of_somebody_else(text: str, count: int) -> None:
    assert len(list(reaches(text))) == count
