"""Which node may install a release, in either database: one at a time, none after one failed."""

from typing import Any

import pytest

from csms.db.store import Store
from csms.nodes import store as rows

pytestmark = pytest.mark.requirement("R135", "R137")

MOST_MS = 1000
DAY_MS = 86_400_000


class Nodes:
    """Nodes that have said what they have: number 1."""

    def __init__(self, store: Store, *names: str) -> None:
        self._store = store
        for name in names:
            self.settled(name, 1)

    def settled(
        self, node: str, number: int, failed: int | None = None, *, at_ms: int = 0, hardware: str = "h"
    ) -> None:
        said = {"hardware": hardware, "version": f"{number}.img", "number": number, "failed": failed}
        self._store.do(rows.settled, node, said, at_ms)

    def begins(self, node: str, number: int, at_ms: int = 0) -> str:
        return self._store.do(rows.begin, node, number, at_ms, at_ms + MOST_MS)

    def all(self, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(each[name] for name in names) for each in self._store.do(rows.nodes, None, 100)]


def test_one_is_updated_after_the_other(store: Store) -> None:
    nodes = Nodes(store, "a", "b")
    assert nodes.begins("a", 2) == ""
    assert nodes.begins("a", 2, 5) == "", "after its restart"
    assert nodes.begins("b", 2) == "another node is updated"
    assert nodes.all("node", "number", "trying") == [("a", 1, 2), ("b", 1, None)]
    nodes.settled("a", 2, at_ms=7)
    assert nodes.all("node", "number", "trying", "at_ms") == [("a", 2, None, 7), ("b", 1, None, 0)]
    assert nodes.begins("b", 2) == ""


def test_a_release_that_failed_at_one_is_not_tried_by_others_but_the_next_one_is(store: Store) -> None:
    nodes = Nodes(store, "a", "b")
    nodes.settled("c", 1, hardware="other")
    assert nodes.begins("a", 2) == ""
    nodes.settled("a", 1, failed=2)
    assert nodes.begins("b", 2) == "it failed at node a"
    assert nodes.begins("c", 2) == "", "another kind of hardware, and nobody has the lease"
    nodes.settled("c", 2, hardware="other")
    assert nodes.begins("b", 3) == ""


def test_a_node_that_does_not_come_back_keeps_others_from_its_release_only(store: Store) -> None:
    nodes = Nodes(store, "a", "b")
    assert nodes.begins("a", 2) == ""
    assert nodes.begins("b", 2, MOST_MS - 1) == "another node is updated"
    assert nodes.begins("b", 2, MOST_MS) == "it failed at node a"
    assert nodes.begins("b", 3, MOST_MS) == ""
    nodes.settled("b", 3, at_ms=MOST_MS)
    nodes.settled("a", 2, at_ms=MOST_MS)
    assert nodes.all("node", "number", "trying") == [("a", 2, None), ("b", 3, None)]
    assert nodes.begins("b", 2, MOST_MS) == ""


def test_a_node_that_is_gone_is_forgotten(store: Store) -> None:
    nodes = Nodes(store, "a", "b")
    nodes.settled("b", 1, at_ms=90 * DAY_MS)
    assert len(nodes.all("node")) == 2
    nodes.settled("b", 1, at_ms=90 * DAY_MS + 1)
    assert nodes.all("node") == [("b",)]


def test_they_are_listed_by_name_a_page_at_a_time(store: Store) -> None:
    nodes = Nodes(store, "b", "c", "a")
    assert nodes.all("node") == [("a",), ("b",), ("c",)]
    assert [each["node"] for each in store.do(rows.nodes, ("a",), 1)] == ["b"]
