"""Each package says in its docstring what it is and where its decisions are made, by names that exist."""

import ast
import re
from pathlib import Path

from tests.docs.documents import ROOT
from tests.together import together

PACKAGES = sorted(
    file.parent
    for top in (*(each for each in ROOT.iterdir() if each.is_dir() and each.name[0] != "."), ROOT / "pki-tools")
    if top.name != "tests"
    for file in top.rglob("__init__.py")
)
_FILE = re.compile(r"`([\w/.-]+\.(?:py|c|dbc|md|asn))`")


def _docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""


def _exists(name: str, package: Path) -> bool:
    """Beside the package's modules, below it, or by its path in the project, its packages or its ISO 15118 twin."""
    return any((folder / name).is_file() for folder in (package, package.parent, ROOT)) or any(package.rglob(name))


@together("package", PACKAGES, ids=lambda package: str(package.relative_to(ROOT)))
def test_a_package_says_what_it_is_and_where(package: Path) -> None:
    docstring = _docstring(package)
    assert len(docstring.split()) >= 4
    assert [name for name in _FILE.findall(docstring) if not _exists(name, package)] == []


def test_architecture_is_a_page_and_names_what_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(text.split()) <= 1_000
    names = re.findall(r"`([\w.]+(?:/[\w.]+)+)`", text)
    assert len(names) > 20
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_architecture_names_every_package_at_the_top() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    top = {package.name for package in PACKAGES if package.parent == ROOT} - {"benchmarks"}
    assert {name for name in top if not re.search(rf"\b{name}\b", text)} == set()
