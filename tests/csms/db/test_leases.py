"""Leases of what one node does: they end by time, and where the clock was set back since."""

from csms.db import leases
from csms.db.store import Store

HOUR_MS = 3_600_000


def take(store: Store, node: str, now_ms: int) -> bool:
    return store.do(leases.take, "work", node, now_ms, now_ms + 60_000)


def test_a_lease_is_of_one_node_until_it_ends(store: Store) -> None:
    assert take(store, "a", HOUR_MS)
    assert not take(store, "b", HOUR_MS + 59_999)
    assert not take(store, "b", HOUR_MS - 60_000), "clocks differ"
    assert store.do(leases.holders, "wo", HOUR_MS, HOUR_MS + 60_000) == {"a"}
    assert take(store, "b", HOUR_MS + 60_000)


def test_a_clock_that_is_set_back_ends_leases(store: Store) -> None:
    """The work of a node that has died was done by nobody for as long."""
    assert take(store, "a", HOUR_MS)
    assert store.do(leases.holders, "work", 0, 60_000) == set()
    assert take(store, "b", 0)
    assert not take(store, "a", 0)
