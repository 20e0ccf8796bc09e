"""Pure packages say what they handle: `Any` is left where a value has no type of its own, and does not spread."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MOST = 117
"""Lines of the pure packages that use `Any`. Whoever needs fewer lowers it."""


def pure_modules() -> list[Path]:
    """Return the files of the packages that the import contract keeps free of I/O."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (each["source_modules"] for each in contracts if each["name"].startswith("Cores do no I/O"))
    paths = [name.replace(".", "/") for name in pure]
    files = [file for path in paths for pattern in (f"{path}.py", f"{path}/**/*.py") for file in ROOT.glob(pattern)]
    assert len(files) >= len(pure)
    return files


def lines_with_any(source: str) -> set[int]:
    """Return the lines that use the name, without imports, comments and texts."""
    nodes = ast.walk(ast.parse(source)) if "Any" in source else ()
    return {node.lineno for node in nodes if isinstance(node, ast.Name) and node.id == "Any"}


def test_any_does_not_spread() -> None:
    found = {str(file.relative_to(ROOT)): len(lines_with_any(file.read_text())) for file in pure_modules()}
    assert sum(found.values()) <= MOST, {name: count for name, count in found.items() if count}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from typing import Any\n\n# Any\nnames: dict[str, Any] = {}", {4}),
        ('def f(a: Any, b: Any) -> None:\n    """Any."""', {1}),
    ],
)
def test_a_use_of_any_is_seen(source: str, lines: set[int]) -> None:
    assert lines_with_any(source) == lines
