"""Outboxes: tables of what is yet to be delivered, by destination, and one courier for each destination.

A delivery is claimed for a lease, so that one of several nodes makes it, and another node if that one dies.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, case, exists, select, type_coerce, update

from csms.db.base import AnyRow
from v2g.errors import StoreError
from v2g.io.runtime.supervision import spawn
from v2g.text import printable


class Outbox:
    """A table with `id`, `due_ms`, `attempts` and `error`, and the column `to` of destinations.

    With a column `chain`, deliveries of a chain (not empty) are made in order: each when those before it are deleted.
    """

    def __init__(
        self, table: Table, to: str, *, lease_s: int, back_off_s: Sequence[int], gives_up: bool, asked_s: int = 0
    ) -> None:
        """`back_off_s`: the pauses after failed attempts; then it `gives_up`, or repeats the last one for ever. A
        receiver may ask for `asked_s` at most."""
        self._table, self._columns = table, table.c
        self._to: ColumnElement[str] = table.c[to]
        self._name, self._lease_s, self._back_off_s, self._gives_up = to, lease_s, back_off_s, gives_up
        longest_ms = {n: 1000 * max(lease_s, asked_s, each) for n, each in enumerate(back_off_s, 1)}
        pause = case({0: 1000 * lease_s, **longest_ms}, value=table.c.attempts, else_=max(longest_ms.values()))
        self._longest_ms = type_coerce(pause, BigInteger)

    def _due(self, now_ms: int) -> ColumnElement[bool]:
        """What is due; also what waits for longer than any pause: the clock was set back."""
        far = (self._columns.due_ms > now_ms + 1000 * self._lease_s) & (
            self._columns.due_ms > now_ms + self._longest_ms
        )
        return (self._columns.due_ms <= now_ms) | far

    def with_due(self, connection: Connection, now_ms: int, *wanted: ColumnElement[bool]) -> set[str]:
        """Return the destinations with due deliveries."""
        query = select(self._to).where(self._due(now_ms), *wanted).distinct()
        return set(connection.execute(query).scalars())

    def claim(
        self, connection: Connection, destination: str, now_ms: int, limit: int, *wanted: ColumnElement[bool]
    ) -> Sequence[AnyRow]:
        """Claim due deliveries to a destination exclusively, oldest first."""
        here = (self._to == destination) & self._due(now_ms)
        if "chain" in self._columns:
            before = self._table.alias().c
            here &= (self._columns.chain == "") | ~exists().where(
                before[self._name] == destination, before.chain == self._columns.chain, before.id < self._columns.id
            )
        order = self._columns.due_ms, self._columns.id
        query = select(self._table).where(here, *wanted).order_by(*order).limit(limit).with_for_update(skip_locked=True)
        found = connection.execute(query).all()
        if found:
            until_ms = now_ms + 1000 * self._lease_s
            claimed = self._columns.id.in_([each.id for each in found])
            connection.execute(update(self._table).where(claimed).values(due_ms=until_ms))
        return found

    def failed(
        self, connection: Connection, number: int, attempts: int, error: str, now_ms: int, wait_s: float | None = None
    ) -> None:
        """Store that an attempt has failed after so many others; `wait_s`: the pause that the receiver asks for."""
        last = len(self._back_off_s) - 1
        if wait_s is None and (attempts <= last or not self._gives_up):
            wait_s = self._back_off_s[min(attempts, last)]
        due_ms = None if wait_s is None else now_ms + round(1000 * wait_s)
        # a receiver's words may have a NUL, which PostgreSQL does not store
        values = {"due_ms": due_ms, "attempts": attempts + 1, "error": printable(error)[:300]}
        connection.execute(update(self._table).where(self._columns.id == number).values(**values))

    def hasten(self, connection: Connection, destination: str, now_ms: int) -> None:
        """Make due now what has failed and waits for longer than a lease, unless its receiver has asked for that."""
        least_ms, most_ms = now_ms + 1000 * self._lease_s, now_ms + 1000 * self._back_off_s[-1]
        waits = (self._to == destination) & (self._columns.attempts > 0)
        waits &= (self._columns.due_ms > least_ms) & (self._columns.due_ms <= most_ms)
        connection.execute(update(self._table).where(waits).values(due_ms=now_ms))


class Couriers:
    """A task for each destination, so that a slow or failing one does not delay the others."""

    def __init__(self, deliver: Callable[[str], Awaitable[None]]) -> None:
        """`deliver` makes every due delivery to a destination."""
        self._deliver: Final = deliver
        self._couriers: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    @property
    def destinations(self) -> Collection[str]:
        """Where there is a courier."""
        return self._couriers.keys()

    def wake(self, destinations: Collection[str]) -> None:
        """Let these couriers deliver, also those that a defect has ended."""
        for each in destinations:
            if each not in self._couriers or self._couriers[each][1].done():
                awake = asyncio.Event()
                self._couriers[each] = awake, spawn(self._run(each, awake))
            self._couriers[each][0].set()

    async def dismiss(self, destinations: Collection[str]) -> None:
        """End couriers; what they have claimed is delivered after its lease, by any node."""
        for each in tuple(destinations):
            task = self._couriers[each][1]
            task.cancel()
            await asyncio.wait((task,))  # unlike awaiting the task itself, it distinguishes whose cancellation it is
            del self._couriers[each]  # not before: on cancellation it must still be ended

    async def _run(self, destination: str, awake: asyncio.Event) -> None:
        while True:
            await awake.wait()
            awake.clear()
            with contextlib.suppress(StoreError):  # the next look wakes it again
                await self._deliver(destination)
