"""Patterns for text from outside end where the text does: `$` would let a line feed stand behind it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from csms.config import Identity
from csms.http.parameters import StationId
from csms.settlements.rules import SafeName
from v2g.telemetry.signals import Pseudonym

ROOT = Path(__file__).parents[1]
_PACKAGES = ("csms", "evcc", "pki-tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit")
_ENDS_IN_DOLLAR = re.compile(r"(?<!\\)(?:\\\\)*\$(?=\Z|[|)])")


def patterns(tree: ast.Module) -> Iterator[ast.expr]:
    """Return what is a regular expression: `pattern=` of a declaration, the first argument of `re`, and `^...`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "pattern":
            yield node.value
        if isinstance(node, ast.Call) and node.args and _of_re(node.func):
            yield node.args[0]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("^"):
            yield node


def _of_re(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"


def texts(node: ast.expr) -> Iterator[str]:
    """Return the texts in an expression."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str | bytes):
            yield each.value if isinstance(each.value, str) else each.value.decode("latin-1")


def test_no_pattern_ends_in_a_dollar() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for package in _PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        if "$" in (text := file.read_text())
        for node in patterns(ast.parse(text))
        if any(_ENDS_IN_DOLLAR.search(text) for text in texts(node))
    ]
    assert not found


@pytest.mark.parametrize("text", ["a$", r"(|b$)", r"a\\$", "(a$|b)"])
def test_a_dollar_at_an_end_is_found(text: str) -> None:
    (node,) = patterns(ast.parse(f"f(pattern={text!r})"))
    assert any(map(_ENDS_IN_DOLLAR.search, texts(node)))


@pytest.mark.parametrize("kind", [Identity, Pseudonym, SafeName, StationId])
def test_no_name_may_have_a_line_feed_behind_it(kind: object) -> None:
    assert msgspec.convert("CS-1", kind) == "CS-1"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("CS-1\n", kind)
