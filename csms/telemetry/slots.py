"""Which node stores a vehicle's deliveries: vehicles are in slots by a hash, and each slot has one node (R171).

A node has a lease of its presence, and leases of its slots, renewed together. All nodes compute the same owner of each
slot from those that are present (`csms.telemetry.rules`), so that few slots move when one comes or goes.
A node takes a slot only when the former owner has finished and given up its lease, or when that has expired; one that
cannot renew its leases stops storing before they do. So two nodes never store the same vehicle, as long as their clocks
agree within `SKEW_S` and a transaction takes no longer than the rest of a lease.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final

from csms.db import leases
from csms.db.store import Store
from csms.telemetry.rules import owner
from v2g.io.runtime.clock import Clock
from v2g.telemetry.delivery import slot_of

SLOTS: Final = 64
RENEW_S: Final = 2.0
LEASE_S: Final = 10.0
"""A dead node's slots move after so long, and one more renewal."""

SKEW_S: Final = 1.0

_PRESENCE: Final = "telemetry node "
_SLOT: Final = "telemetry slot "

OnHeld = Callable[[frozenset[int]], None]


class VehicleSlots:
    """The slots of this node. Every method with a database raises StoreError."""

    def __init__(self, store: Store, clock: Clock, node: str) -> None:
        """`node`: its name, the same at every start, and no other node's."""
        self._store, self._clock = store, clock
        self._node = blake2b(node.encode(), digest_size=16).hexdigest()
        self._held: frozenset[int] = frozenset()
        self._leaving: frozenset[int] = frozenset()
        self._until = 0.0
        self._storing = Counter[int]()

    @contextlib.contextmanager
    def storing(self, ev: str) -> Iterator[bool]:
        """Whether this node may store a vehicle's deliveries; if so, no other does before the end of the block."""
        slot = slot_of(ev, SLOTS)
        if slot not in self._held or self._clock.monotonic() >= self._until:
            yield False
            return
        self._storing[slot] += 1
        try:
            yield True
        finally:
            self._storing[slot] -= 1

    async def renew(self, on_held: OnHeld) -> None:
        """Renew the leases; take slots and give some up. `on_held` is called with those that this node has."""
        begun, now_ms = self._clock.monotonic(), self._clock.utc_ms()
        until_ms = now_ms + round(1000 * LEASE_S * self._clock.scale)
        await self._store.run(leases.take_all, [_PRESENCE + self._node], self._node, now_ms, until_ms)
        nodes = await self._store.read(leases.holders, _PRESENCE, now_ms)
        wanted = {slot for slot in range(SLOTS) if owner(str(slot), nodes | {self._node}) == self._node}
        self._leaving = (self._leaving | self._held) - wanted
        self._held &= wanted
        on_held(self._held)
        await self._give_up_idle()
        taken = await self._store.run(leases.take_all, _names(wanted), self._node, now_ms, until_ms)
        self._held = frozenset(slot for slot in wanted if f"{_SLOT}{slot}" in taken)
        self._until = begun + LEASE_S - SKEW_S
        on_held(self._held)

    async def leave(self, on_held: OnHeld) -> None:
        """Give up everything that is not being stored, so that other nodes take over at once."""
        self._leaving |= self._held
        self._held = frozenset()
        on_held(self._held)
        await self._store.run(leases.give_up, [_PRESENCE + self._node], self._node)
        await self._give_up_idle()

    async def _give_up_idle(self) -> None:
        idle = frozenset(slot for slot in self._leaving if not self._storing[slot])
        if idle:
            await self._store.run(leases.give_up, _names(idle), self._node)
            self._leaving -= idle


def _names(slots: Iterable[int]) -> list[str]:
    return [f"{_SLOT}{slot}" for slot in slots]
