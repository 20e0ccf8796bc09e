"""Latest states of all vehicles: in memory, saved in the database from time to time, and exchanged between nodes.

Readers never wait for a database: ingest updates the memory, and what has changed is saved once in `SAVE_S`, however
many records there were. After a start the newest records fill in what was not saved. Nodes exchange changes through
Redis; without it, or while it is away, a node knows what it has received itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from csms.db.store import Store
from csms.vehicles import store as rows
from csms.vehicles.rules import VehicleState, readings_of, take
from v2g.errors import CodecError, StoreError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Backoff, Supervisor
from v2g.telemetry.signals import Record, decode_record

_log = logging.getLogger(__name__)

SAVE_S: Final = 10.0
"""Interval of saves: a node that dies has saved everything older."""

EXCHANGE_S: Final = 0.2
"""Interval of the exchange: other nodes' changes are at most about twice as old."""

_STEP: Final = 500
"""States saved in one transaction, or exchanged in one request."""


class StateExchange(Protocol):
    """Where nodes exchange states. Its methods raise TransportError, `changed` StoreError, too."""

    async def put(self, states: Sequence[VehicleState]) -> None:
        """Join states with those that are there: no reading goes backwards."""
        ...

    async def changed(self, since: str) -> tuple[list[VehicleState], str]:
        """Return the states that have changed since a position ("": all), and the next position."""
        ...

    async def erase(self, ev: str) -> None:
        """Remove a vehicle's state."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class LatestStates:
    """The latest states that this node knows. `run` loads, saves and exchanges them."""

    def __init__(self, store: Store, clock: Clock, exchange: StateExchange | None = None) -> None:
        self._store, self._clock, self._exchange = store, clock, exchange
        self._states: dict[str, VehicleState] = {}
        self._changed_ms: dict[str, int] = {}
        """When each state changed last (UTC), by our clock; after a start when the last record came."""
        self._unsaved: set[str] = set()
        self._unsent: set[str] = set()
        self._watchers: list[Changes] = []
        self._erased: dict[str, tuple[int, int]] = {}
        """(boot, seq) up to which readings are erased: what another node still sends of them does not come back."""

    def update(self, records: Iterable[Record]) -> None:
        """Take over what new records say."""
        for each in records:
            if each.signals:
                self._take(VehicleState(each.ev, readings_of(each)))

    @contextlib.contextmanager
    def watched(self) -> Iterator["Changes"]:
        """Collect which vehicles' states change."""
        changes = Changes()
        self._watchers.append(changes)
        try:
            yield changes
        finally:
            self._watchers.remove(changes)

    def get(self, ev: str) -> VehicleState | None:
        """Return a vehicle's state, if it is known."""
        return self._states.get(ev)

    def all(self) -> Sequence[VehicleState]:
        """Return all states, by name."""
        return [self._states[ev] for ev in sorted(self._states)]

    def silent(self, after_s: float) -> int:
        """Return how many vehicles have sent nothing new for `after_s`."""
        since = self._clock.utc_ms() - round(after_s * 1000)
        return sum(each < since for each in self._changed_ms.values())

    def forget(self, ev: str, through: tuple[int, int]) -> None:
        """Forget a vehicle's readings up to a position, in memory; newer ones come back with its next records."""
        self._states.pop(ev, None)
        self._changed_ms.pop(ev, None)
        self._erased[ev] = max(through, self._erased.get(ev, through))
        self._unsaved.discard(ev)
        self._unsent.discard(ev)

    async def erase(self, ev: str, through: tuple[int, int]) -> None:
        """Forget a vehicle, also in the database and between the nodes; each node does so, when it has stopped
        saving and sending what is erased. Raises StoreError, TransportError."""
        self.forget(ev, through)
        await self._store.run(rows.erase_state, ev)
        if self._exchange is not None:
            await self._exchange.erase(ev)

    async def load(self) -> None:
        """Read what is stored: saved states, and newer records. Raises StoreError."""
        came_ms = dict[str, int]()
        for state, changed_ms in await self._store.read(rows.states):
            self._take(state)
            came_ms[state.ev] = changed_ms
        saved = {ev: each.position for ev, each in self._states.items()}
        self._unsaved.clear()
        for document, received_ms in await self._store.read(rows.records_beyond, saved):
            try:
                record = decode_record(document)
            except CodecError as error:  # of a later version, before an older one was installed again
                _log.warning("stored record: %s", error)
                continue
            self.update([record])
            came_ms[record.ev] = max(received_ms, came_ms.get(record.ev, 0))
        for ev, now_ms in self._changed_ms.items():
            self._changed_ms[ev] = min(came_ms.get(ev, now_ms), now_ms)

    async def save(self) -> None:
        """Store what has changed. Raises StoreError: it is still unsaved."""
        for some in _steps(self._unsaved):
            self._unsaved.difference_update(some)
            try:
                states = [self._states[ev] for ev in some if ev in self._states]
                await self._store.run(rows.save_states, states, {each.ev: self._changed_ms[each.ev] for each in states})
            except StoreError:
                self._unsaved.update(some)
                raise

    async def exchange(self, since: str) -> str:
        """Send and fetch changes; return the position for the next time. Raises TransportError, StoreError: all are
        sent again."""
        if self._exchange is None:
            return since
        try:
            for some in _steps(self._unsent):
                self._unsent.difference_update(some)
                await self._exchange.put([self._states[ev] for ev in some if ev in self._states])
            states, since = await self._exchange.changed(since)
        except (TransportError, StoreError):
            self._unsent.update(self._states)  # it may have lost everything
            raise
        unsent = set(self._unsent)
        for each in states:
            self._take(each)
            if each.ev not in unsent:
                self._unsent.discard(each.ev)  # it came from there
        return since

    async def run(self, supervisor: Supervisor) -> None:
        """Load, then let `supervisor` save and exchange."""
        await self.load()
        supervisor.keep("latest states", self._keep_saving)
        if self._exchange is not None:
            supervisor.keep("exchange of latest states", self._keep_exchanging)

    async def close(self) -> None:
        """Save, and disconnect."""
        try:
            await self.save()
        except StoreError as error:
            _log.warning("latest states not saved: %s", error)
        if self._exchange is not None:
            await self._exchange.close()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            try:
                await self.save()
            except StoreError as error:
                _log.warning("latest states not saved: %s", error)

    async def _keep_exchanging(self) -> None:
        since, backoff = "", Backoff(EXCHANGE_S, 30.0)
        while True:
            try:
                since = await self.exchange(since)
                backoff.reset()
                await asyncio.sleep(EXCHANGE_S)
            except (TransportError, StoreError) as error:
                _log.warning("latest states not exchanged: %s", error)
                since = ""
                await asyncio.sleep(backoff.pause_s())

    def _take(self, state: VehicleState) -> None:
        readings = state.readings
        if (erased := self._erased.get(state.ev)) is not None:
            readings = {name: each for name, each in readings.items() if each.position > erased}
            if not readings:
                return
        known = self._states.setdefault(state.ev, VehicleState(state.ev, {}))
        if take(known.readings, readings):
            self._changed_ms[state.ev] = self._clock.utc_ms()
            self._unsaved.add(state.ev)
            self._unsent.add(state.ev)
            for each in self._watchers:
                each.put(state.ev)


class Changes:
    """Vehicles whose states have changed since they were taken last."""

    def __init__(self) -> None:
        self._evs: set[str] = set()
        self._there = asyncio.Event()

    def put(self, ev: str) -> None:
        """Add a vehicle."""
        self._evs.add(ev)
        self._there.set()

    async def take(self, within_s: float) -> set[str]:
        """Return and forget them, once there are any; none if there are none within a time."""
        try:
            async with asyncio.timeout(within_s):
                await self._there.wait()
        except TimeoutError:
            return set()
        self._there.clear()
        found, self._evs = self._evs, set()
        return found


def _steps(evs: Iterable[str]) -> list[list[str]]:
    ordered = sorted(evs)
    return [ordered[start : start + _STEP] for start in range(0, len(ordered), _STEP)]
