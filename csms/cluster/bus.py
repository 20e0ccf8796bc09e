"""Communication between the nodes of one back end: claims of stations, questions to one node, announcements to all.

A node claims the stations that are connected to it; every node sees every claim. The node that a question is
addressed to answers it, or it fails with TransportError: at once when that node is gone, else at its time-out. An
announcement reaches every other live node, in the order of its sender. Nothing here is durable: what must not
be lost is in the database.

`LocalBus` connects nodes of one process (a single-node back end has its own hub); `csms.cluster.redis_bus` connects
machines.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Final

import msgspec

from v2g.errors import TransportError
from v2g.io.runtime.supervision import child
from v2g.ocpp.routes import Version


class Claim(msgspec.Struct, frozen=True):
    """Where a station is connected: the name of the `node`, and its `version` of OCPP."""

    node: str
    version: Version


async def _no_answer(_question: bytes) -> bytes:
    raise TransportError("this node answers no questions")


class Bus(ABC):
    """One node's place on the bus. Set the callbacks, then `start`; they are called in the event loop.

    `answer(question)` answers a question of another node. `on_announcement(announcement)` receives another node's.
    `moved(station_id)`: another node has claimed a station that was claimed here. `hears`: this node wants frequent
    events of others; they know within two seconds.
    """

    def __init__(self, node: str) -> None:
        self.node: Final = node
        self.answer: Callable[[bytes], Coroutine[object, object, bytes]] = _no_answer
        self.on_announcement: Callable[[bytes], None] = lambda _announcement: None
        self.moved: Callable[[str], None] = lambda _station_id: None
        self.hears = False

    @property
    @abstractmethod
    def heard(self) -> bool:
        """Whether another node wants frequent events."""

    @abstractmethod
    async def start(self) -> None:
        """Join the bus. Raises TransportError when it cannot be reached."""

    @abstractmethod
    async def close(self) -> None:
        """Leave: all claims of this node end, pending questions fail."""

    @abstractmethod
    def claim(self, station_id: str, version: Version) -> None:
        """Announce that a station is connected here; the newest claim counts. Immediate here, soon elsewhere."""

    @abstractmethod
    def release(self, station_id: str) -> None:
        """Announce that a station is no longer connected here; has no effect if another node has claimed it since."""

    @abstractmethod
    def find(self, station_id: str) -> Claim | None:
        """Return where a station is connected, as far as this node knows."""

    @abstractmethod
    def stations(self) -> frozenset[str]:
        """Return the stations that are connected anywhere, as far as this node knows."""

    @abstractmethod
    def nodes(self) -> frozenset[str]:
        """Return the names of the live nodes, including this one."""

    @abstractmethod
    async def ask(self, node: str, question: bytes, timeout_s: float) -> bytes:
        """Return another node's answer. Raises TransportError when it is gone or does not respond."""

    @abstractmethod
    def announce(self, announcement: bytes) -> None:
        """Announce to every other node; never waits. When the bus is down for long, the oldest are dropped."""


class LocalHub:
    """Connects the nodes of one process."""

    def __init__(self) -> None:
        self.members: Final[dict[str, LocalBus]] = {}
        self.claims: Final[dict[str, Claim]] = {}


class LocalBus(Bus):
    """A node of one process; with its own hub it is the only one."""

    def __init__(self, node: str = "local", hub: LocalHub | None = None) -> None:
        super().__init__(node)
        self._hub = hub or LocalHub()
        self.answering: Final[set[asyncio.Future[bytes]]] = set()

    @property
    def heard(self) -> bool:
        """Whether another node wants frequent events."""
        return any(member.hears for member in self._hub.members.values() if member is not self)

    async def start(self) -> None:
        """Join the bus."""
        self._hub.members[self.node] = self

    async def close(self) -> None:
        """Leave."""
        if self._hub.members.pop(self.node, None) is not None:
            for station_id in [key for key, claim in self._hub.claims.items() if claim.node == self.node]:
                del self._hub.claims[station_id]
        for answering in self.answering:
            answering.cancel()

    def claim(self, station_id: str, version: Version) -> None:
        """Announce that a station is connected here."""
        older = self._hub.claims.get(station_id)
        self._hub.claims[station_id] = Claim(self.node, version)
        if older is not None and older.node != self.node and (member := self._hub.members.get(older.node)):
            asyncio.get_running_loop().call_soon(member.moved, station_id)

    def release(self, station_id: str) -> None:
        """Announce that a station is no longer connected here."""
        claim = self._hub.claims.get(station_id)
        if claim is not None and claim.node == self.node:
            del self._hub.claims[station_id]

    def find(self, station_id: str) -> Claim | None:
        """Return where a station is connected."""
        return self._hub.claims.get(station_id)

    def stations(self) -> frozenset[str]:
        """Return the stations that are connected anywhere."""
        return frozenset(self._hub.claims)

    def nodes(self) -> frozenset[str]:
        """Return the names of the live nodes."""
        return frozenset(self._hub.members)

    async def ask(self, node: str, question: bytes, timeout_s: float) -> bytes:
        """Return another node's answer."""
        member = self._hub.members.get(node)
        if member is None:
            raise TransportError(f"node {node} is gone")
        answering = child(member.answer(question), name="answer")
        member.answering.add(answering)
        try:
            await asyncio.wait({answering}, timeout=timeout_s)
            if not answering.done():
                raise TransportError(f"node {node} did not answer within {timeout_s:g} s")
            if answering.cancelled():
                raise TransportError(f"node {node} is gone")
            return answering.result()
        finally:
            answering.cancel()
            member.answering.discard(answering)

    def announce(self, announcement: bytes) -> None:
        """Announce to every other node."""
        loop = asyncio.get_running_loop()
        for member in self._hub.members.values():
            if member is not self:
                loop.call_soon(member.on_announcement, announcement)
