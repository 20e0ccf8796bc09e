"""Slots: each vehicle's deliveries are stored by one node, whatever nodes come, go and hang."""

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from csms.db.store import Store
from csms.telemetry.subscriber import LEASE_S, RENEW_S, SKEW_S, SLOTS, VehicleSlots
from v2g.io.runtime.clock import Clock
from v2g.telemetry.delivery import slot_of

EVS = [f"EV-{number}" for number in range(2000)]

pytestmark = pytest.mark.requirement("R171")


class Hand(Clock):
    """A clock that a test sets; `ahead_s` is by how much it is fast."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        super().__init__()
        self.ahead_s, self.now_s = ahead_s, 0.0

    def monotonic(self) -> float:
        return self.now_s

    def utc_ms(self) -> int:
        return round(1000 * (1_900_000_000 + self.now_s + self.ahead_s))


class Node:
    """A node and the slots that it follows at the broker."""

    def __init__(self, store: Store, name: str, ahead_s: float = 0.0) -> None:
        self.clock = Hand(ahead_s)
        self.slots = VehicleSlots(store, self.clock, name)
        self.followed: frozenset[int] = frozenset()

    def follow(self, slots: frozenset[int]) -> None:
        self.followed = slots

    async def renew(self) -> None:
        await self.slots.renew(self.follow)

    def stores(self, ev: str) -> bool:
        with self.slots.storing(ev) as here:
            return here


async def passed(nodes: Iterable[Node], seconds: float, *, renewing: Iterable[Node]) -> None:
    """Let time pass for all, while some renew their leases."""
    for _ in range(round(seconds / RENEW_S)):
        for node in nodes:
            node.clock.now_s += RENEW_S
        for node in renewing:
            await node.renew()


def owners(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    return {ev: [node for node in nodes if node.stores(ev)] for ev in EVS}


@pytest.mark.some(1)
async def test_every_vehicle_has_one_node_and_a_dead_ones_vehicles_move_and_no_others(store_url: str) -> None:
    """A node that comes takes its share from the others, by and by; never do two have a vehicle."""
    store = Store(store_url)
    nodes = [Node(store, f"n{number}") for number in range(3)]
    first, *_ = nodes
    await first.renew()
    assert all(found == [first] for found in owners(nodes).values())
    assert len(first.followed) == SLOTS
    for _ in range(4):
        for node in nodes:
            await node.renew()
            assert all(len(found) <= 1 for found in owners(nodes).values())
    before = owners(nodes)
    assert all(len(found) == 1 for found in before.values())
    shares = [sum(found == [node] for found in before.values()) for node in nodes]
    assert min(shares) > len(EVS) / 6
    assert sum(len(node.followed) for node in nodes) == SLOTS
    dead, *alive = nodes
    await passed(nodes, LEASE_S - RENEW_S, renewing=alive)
    assert [found for ev, found in owners(alive).items() if before[ev] == [dead]] == [[]] * shares[0]
    await passed(nodes, 2 * RENEW_S, renewing=alive)
    after = owners(nodes)
    assert all(len(found) == 1 for found in after.values())
    assert all(after[ev] == before[ev] for ev in EVS if before[ev] != [dead])
    store.close()


@pytest.mark.some(1)
async def test_a_node_that_hangs_stores_nothing_once_another_may_have_its_vehicles(store_url: str) -> None:
    """Also if its clock is slow by nearly as much as is allowed."""
    store = Store(store_url)
    hung, other = Node(store, "hung"), Node(store, "other", ahead_s=0.9 * SKEW_S)
    for _ in range(3):
        for node in (hung, other):
            await node.renew()
    mine = [ev for ev in EVS if hung.stores(ev)]
    assert mine
    for _ in range(200):
        for node in (hung, other):
            node.clock.now_s += 0.1
        await other.renew()
        assert not any(hung.stores(ev) and other.stores(ev) for ev in mine[:50])
    assert all(other.stores(ev) for ev in EVS)
    await hung.renew()
    await other.renew()
    await hung.renew()
    assert any(hung.stores(ev) for ev in mine)
    store.close()


async def test_a_slot_moves_when_what_is_being_stored_of_it_is_done(store_url: str) -> None:
    store = Store(store_url)
    one, two = Node(store, "one"), Node(store, "two")
    await one.renew()
    await two.renew()
    with contextlib.ExitStack() as under_way:
        for ev in EVS:
            assert under_way.enter_context(one.slots.storing(ev))
        for node in (one, two, one, two):
            await node.renew()
        moving = [ev for ev in EVS if not one.stores(ev)]
        assert moving
        assert not any(two.stores(ev) for ev in EVS)
    await one.renew()
    await two.renew()
    assert all(two.stores(ev) for ev in moving)
    store.close()


async def test_a_node_that_leaves_hands_its_vehicles_over_at_once(store_url: str) -> None:
    store = Store(store_url)
    one, two = Node(store, "one"), Node(store, "two")
    for _ in range(3):
        await asyncio.gather(one.renew(), two.renew())
    assert one.followed
    assert two.followed
    await one.slots.leave(one.follow)
    assert (one.followed, any(map(one.stores, EVS))) == (frozenset(), False)
    await two.renew()
    assert all(map(two.stores, EVS))
    store.close()


def test_the_slot_of_a_vehicle_is_the_same_for_all() -> None:
    """Gateways compute it, too: docs/reference/telemetry-delivery.md."""
    assert {ev: slot_of(ev, 64) for ev in KNOWN} == KNOWN
    assert {slot_of(ev, SLOTS) for ev in EVS} == set(range(SLOTS))


KNOWN = {"ev-0001": 39, "EV-1": 18, "T-9": 8}
"""By b2sum of GNU coreutils: `printf %s EV-1 | b2sum -l 64`, the number modulo 64."""
