"""No module of the product imports one that imports it in turn, not even inside functions or for types only."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.imports import imports, sources
from tests.together import together

MOST_PAIRS = 47
"""Pairs of features of the back end, or modules beside them, that import each other: only ever fewer."""


@cache
def product() -> dict[str, set[str]]:
    """Return which modules of the product each of them imports: half a second of reading."""
    return imports(sources())


def parts(package: str) -> dict[str, set[str]]:
    """Return which parts of a package each of them imports."""
    found = defaultdict[str, set[str]](set)
    for name, imported in product().items():
        for other in imported:
            if name.startswith(f"{package}.") and other.startswith(f"{package}."):
                part, needed = (each.removeprefix(f"{package}.").split(".")[0] for each in (name, other))
                found[part] |= {needed} - {part}
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return modules of which each is imported by the next one, and the last is the first; none without a circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_import_comes_back_to_its_module() -> None:
    assert len(product()) > 1_000
    assert circle(product()) == []


@together("package", ["secc", "v2g", "v2g_cli", "v2g_station", "v2g_station.blocks", "v2g_testkit"])
def test_nor_does_a_package_s_part_import_one_that_imports_it_in_turn(package: str) -> None:
    graph = parts(package)
    assert len(graph) > 5
    assert circle(graph) == []


def test_no_more_features_of_the_back_end_import_each_other() -> None:
    graph = parts("csms")
    pairs = [(one, other) for one in graph for other in graph[one] if one < other and one in graph.get(other, ())]
    assert len(pairs) <= MOST_PAIRS, sorted(pairs)


@pytest.mark.parametrize(
    "text",
    [
        "import a.one",
        "from a import one",
        "from a.one import x",
        "def f():\n    from a import one",
        "if TYPE_CHECKING:\n    from a.one import x",
    ],
)
def test_a_circle_is_found(text: str) -> None:
    assert circle(imports({"a.one": "from a.two import y", "a.two": text})) == ["a.one", "a.two", "a.one"]


def test_what_only_shares_a_package_is_none() -> None:
    modules = {"a.__init__": "", "a.one": "from a import two", "a.two": "import b", "b": "from other import one"}
    assert circle(imports(modules)) == []
