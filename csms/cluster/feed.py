"""Live events: published by any node, read by event streams, webhooks and the console on every node.

Nothing here is durable or waits. A slow reader loses the oldest events and is notified of that; what must not be
lost is in the database, and is published after it has been stored.

The OCPP log shows frames of stations while a client watches, on any node. Watching is announced repeatedly; without a
recent announcement frames cost nothing.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Final, Literal

import msgspec

from csms.cluster.bus import Bus
from csms.cluster.frames import presentable
from v2g import typed_json
from v2g.io.runtime.clock import Clock

_log = logging.getLogger(__name__)

MAX_QUEUED: Final = 1000
"""Events that may be queued for one reader."""

UPDATED: Final = "transaction_updated"
"""Kind of the event of each reading: other nodes get it while they `hear`."""

LOST: Final = "feed_lost"
"""Kind of the event that reports to a reader how many (`data["count"]`) it has lost."""


class FeedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event: a `kind` (`station_connected`, ...), its station, its time (UTC), and details.

    `data` can be written as JSON. `node` is where it happened.
    """

    kind: str
    station_id: str | None
    data: Mapping[str, Any]
    at_ms: int
    node: str


class Subscription:
    """One reader's queue: an async iterator that ends after `close`; also a context manager that closes it."""

    def __init__(
        self, feed: "Feed", kinds: frozenset[str] | None, station_id: str | None, max_queued: int = MAX_QUEUED
    ) -> None:
        self._feed = feed
        self._kinds = kinds
        self._station_id = station_id
        self._events: deque[FeedEvent] = deque(maxlen=max_queued)
        self._lost = 0
        self._there = asyncio.Event()
        self._closed = False

    def wants(self, kind: str, station_id: str | None) -> bool:
        """Return whether such an event is for this reader."""
        return (self._kinds is None or kind in self._kinds) and self._station_id in (None, station_id)

    def put(self, event: FeedEvent) -> None:
        """Queue an event, dropping the oldest if full."""
        if len(self._events) == self._events.maxlen:
            self._lost += 1
        self._events.append(event)
        self._there.set()

    def close(self) -> None:
        """Close it, also for a waiting reader; idempotent."""
        self._closed = True
        self._there.set()
        self._feed.forget(self)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> FeedEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            oldest = self._events[0]
            return FeedEvent(LOST, None, {"count": lost}, oldest.at_ms, self._feed.node)
        return self._events.popleft()

    async def batch(self, settle_s: float, *, within_s: float | None = None) -> list[FeedEvent]:
        """Return the next event and those that follow within `settle_s`; none if none comes within `within_s`.

        Raises StopAsyncIteration after `close`.
        """
        events: list[FeedEvent] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                events.append(await anext(self))
            async with asyncio.timeout(settle_s):
                while True:
                    events.append(await anext(self))
        return events

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Feed:
    """All published events, of any node. Created before the bus starts."""

    def __init__(self, bus: Bus, utc_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._utc_ms = utc_ms
        self._readers: dict[Subscription, None] = {}
        self._hearers = 0
        bus.on_announcement = self._on_announcement

    @property
    def node(self) -> str:
        """This node's name."""
        return self._bus.node

    def nodes(self) -> frozenset[str]:
        """Return the names of the live nodes, including this one."""
        return self._bus.nodes()

    def publish(
        self,
        kind: str,
        station_id: str | None,
        data: Mapping[str, object],
        *,
        also_away: bool = False,
        only_here: bool = False,
    ) -> None:
        """Publish to all readers, here and on other nodes; `data` must be writable as JSON by msgspec. `also_away`: to
        nodes that are silent, too, and hear it when they are back. `only_here`: to readers of this node."""
        alone = len(self._bus.nodes()) < 2 and not also_away
        if alone and not self._readers:
            return
        event = FeedEvent(kind, station_id, data, self._utc_ms(), self._bus.node)
        self._put(event)
        if not (alone or only_here) and (kind != UPDATED or self._bus.heard):
            self._bus.announce(_encode(event))

    def subscribe(
        self, kinds: Collection[str] | None = None, station_id: str | None = None, *, max_queued: int = MAX_QUEUED
    ) -> Subscription:
        """Return a queue of events published from now on, of these kinds (empty: all) and this station (None: any)."""
        subscription = Subscription(self, None if kinds is None else frozenset(kinds), station_id, max_queued)
        self._readers[subscription] = None
        return subscription

    def hear(self, more: int) -> None:
        """Count those who want frequent events of other nodes, too: so many more, or, below 0, fewer."""
        self._hearers += more
        self._bus.hears = self._hearers > 0

    def forget(self, subscription: Subscription) -> None:
        """Remove a reader."""
        self._readers.pop(subscription, None)

    def close(self) -> None:
        """Close every subscription."""
        for subscription in list(self._readers):
            subscription.close()

    def _put(self, event: FeedEvent) -> None:
        for subscription in self._readers:
            if subscription.wants(event.kind, event.station_id):
                subscription.put(event)

    def _on_announcement(self, announcement: bytes) -> None:
        try:
            event = typed_json.decode(announcement, FeedEvent)
        except msgspec.DecodeError as error:
            _log.warning("cannot decode an event of another node: %s", error)
        else:
            self._put(event)


_encode = msgspec.json.Encoder().encode


FRAME: Final = "ocpp_frame"
"""Kind of the event that shows a frame: `direction` (as seen from the back end) and `text`."""

WANTED: Final = "ocpp_frames_wanted"
"""Kind of the event that announces that a client watches a station (or, without one, all)."""

LEASE_S: Final = 30.0


class FrameLog:
    """The stations whose frames are watched, as announced to this node."""

    def __init__(self, feed: Feed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._until: dict[str | None, float] = {}

    def want(self, station_id: str | None) -> None:
        """Request frames of a station (None: of all) from every node for the next `LEASE_S`."""
        self.wanted(station_id)
        self._feed.publish(WANTED, station_id, {})

    def wanted(self, station_id: str | None) -> None:
        """Note that a client watches, on any node."""
        now = self._clock.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[station_id] = now + LEASE_S

    def show(self, station_id: str, direction: Literal["received", "sent"], text: str) -> None:
        """Publish a frame if a client watches."""
        if not self._until:
            return
        now = self._clock.monotonic()
        if max(self._until.get(station_id, now), self._until.get(None, now)) > now:
            self._feed.publish(FRAME, station_id, {"direction": direction, "text": presentable(text)})
