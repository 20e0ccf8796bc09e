"""How the nodes of one back end reach each other: who is where, questions to one node, announcements to all.

A node claims the stations that are connected to it; every node sees every claim. A question is answered by the node
that it is put to, or fails with TransportError: at once when that node is gone, at its time-out otherwise. What is
announced reaches every other node that is alive, in the order of its announcer. None of it is durable: what must not
be lost is in the database.

`LocalBus` joins nodes of one process (a back end of one node has a hub of its own); `csms.cluster.redis_bus` joins
machines.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from v2g.errors import TransportError
from v2g.ocpp.routes import Version


class Claim(msgspec.Struct, frozen=True):
    """Where a station is connected: the name of the `node`, and the `version` of OCPP that it speaks there."""

    node: str
    version: Version


async def _no_answer(_question: bytes) -> bytes:
    raise TransportError("this node answers nothing")


class Bus(ABC):
    """One node's place on the bus. Set the callbacks, then `start`; they are called in the event loop.

    `answer(question)` answers a question of another node. `heard(announcement)` takes what another node announced.
    `moved(station_id)`: another node has claimed a station that was claimed here.
    """

    def __init__(self, node: str) -> None:
        self.node: Final = node
        self.answer: Callable[[bytes], Awaitable[bytes]] = _no_answer
        self.heard: Callable[[bytes], None] = lambda _announcement: None
        self.moved: Callable[[str], None] = lambda _station_id: None

    @abstractmethod
    async def start(self) -> None:
        """Take part. Raises TransportError when the bus cannot be reached."""

    @abstractmethod
    async def close(self) -> None:
        """Leave: every claim of this node ends, questions under way fail."""

    @abstractmethod
    def claim(self, station_id: str, version: Version) -> None:
        """Say that a station is connected here; the newest claim stands. Here at once, elsewhere soon."""

    @abstractmethod
    def release(self, station_id: str) -> None:
        """Say that a station is no longer connected here; no matter if another node has claimed it since."""

    @abstractmethod
    def find(self, station_id: str) -> Claim | None:
        """Return where a station is connected, as far as is known here."""

    @abstractmethod
    def stations(self) -> frozenset[str]:
        """Return the stations that are connected anywhere, as far as is known here."""

    @abstractmethod
    def nodes(self) -> frozenset[str]:
        """Return the names of the nodes that are alive, this one among them."""

    @abstractmethod
    async def ask(self, node: str, question: bytes, timeout_s: float) -> bytes:
        """Return another node's answer. Raises TransportError when it is gone or silent."""

    @abstractmethod
    def announce(self, announcement: bytes) -> None:
        """Tell every other node; never waits. When the bus is down for long, what is oldest is forgotten."""


class LocalHub:
    """What joins the nodes of one process."""

    def __init__(self) -> None:
        self.members: Final[dict[str, LocalBus]] = {}
        self.claims: Final[dict[str, Claim]] = {}


class LocalBus(Bus):
    """A node of one process; with a hub of its own it is alone."""

    def __init__(self, node: str = "local", hub: LocalHub | None = None) -> None:
        super().__init__(node)
        self._hub = hub or LocalHub()
        self.answering: Final[set[asyncio.Future[bytes]]] = set()

    async def start(self) -> None:
        """Take part."""
        self._hub.members[self.node] = self

    async def close(self) -> None:
        """Leave."""
        if self._hub.members.pop(self.node, None) is not None:
            for station_id in [key for key, claim in self._hub.claims.items() if claim.node == self.node]:
                del self._hub.claims[station_id]
        for answering in self.answering:
            answering.cancel()

    def claim(self, station_id: str, version: Version) -> None:
        """Say that a station is connected here."""
        older = self._hub.claims.get(station_id)
        self._hub.claims[station_id] = Claim(self.node, version)
        if older is not None and older.node != self.node and (member := self._hub.members.get(older.node)):
            asyncio.get_running_loop().call_soon(member.moved, station_id)

    def release(self, station_id: str) -> None:
        """Say that a station is no longer connected here."""
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
        """Return the names of the nodes that are alive."""
        return frozenset(self._hub.members)

    async def ask(self, node: str, question: bytes, timeout_s: float) -> bytes:
        """Return another node's answer."""
        member = self._hub.members.get(node)
        if member is None:
            raise TransportError(f"node {node} is gone")
        answering = asyncio.ensure_future(member.answer(question))
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
        """Tell every other node."""
        loop = asyncio.get_running_loop()
        for member in self._hub.members.values():
            if member is not self:
                loop.call_soon(member.heard, announcement)
