"""Every kind of event in the feed, and recent ones, numbered: the source of event streams, which can resume."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from csms.cluster.feed import FRAME, LOST, WANTED, Feed, FeedEvent, FrameLog
from v2g.events import reported_by

_FEED_ONLY: Final = (
    "access_changed",
    "attestation_changed",
    "feed_lost",
    "fleet_changed",
    "grid_shares",
    "grid_signal",
    "limited_reading",
    "ocpp_frame",
    "prequalification_changed",
    "setpoint_unsure",
    "site_changed",
    "site_loads",
    "tariffs_changed",
    "token_group_put",
    "token_put",
    "token_removed",
    "token_status",
)
"""Changes by requests over HTTP, and frames: in the feed, not in the program's own events."""

KINDS: Final = tuple(sorted((*_FEED_ONLY, *(each.key[1] for each in reported_by("csms") if each.feed))))


MAX_KEPT: Final = 5000
"""Number of retained events. Readers share them: one that falls further behind has lost some."""

_LINGER_S: Final = 60.0
"""How long a node hears frequent events of others after its last reader, which may come back."""

_MAX_WAITING: Final = 20_000  # webhooks depend on this queue: larger than one reader's


class Numbered(msgspec.Struct, frozen=True):
    """An event, and its number since this back end's start; `lost` events of a reader have the next one's number."""

    number: int
    event: FeedEvent


class History:
    """Retains what is published from `run` on. `era` identifies this start of the back end."""

    def __init__(self, feed: Feed, frames: FrameLog, received: Callable[[FeedEvent], None] = lambda _: None) -> None:
        self.era: Final = secrets.token_hex(4)
        self._feed = feed
        self._frames = frames
        self._received = received
        self._recent: deque[Numbered] = deque(maxlen=MAX_KEPT)
        self._next = 1
        self._news = asyncio.Event()
        self._closed = False

    @property
    def newest(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._next - 1

    async def run(self) -> None:
        """Collect published events, until cancelled or the feed closes."""
        with self._feed.subscribe(max_queued=_MAX_WAITING) as events:
            async for event in events:
                if event.kind == FRAME:
                    continue
                if event.kind == WANTED:
                    self._frames.wanted(event.station_id)
                    continue
                self._recent.append(Numbered(self._next, event))
                self._next += 1
                self._wake()
                self._received(event)
        self.close()

    def close(self) -> None:
        """Close all readers."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def since(self, number: int) -> tuple[int, list[Numbered]]:
        """Return how many events after `number` are no longer retained, and those that are."""
        if not self._recent:
            return 0, []
        oldest = self._recent[0].number
        lost = max(0, oldest - number - 1)
        skip = max(0, number + 1 - oldest)
        return lost, [self._recent[index] for index in range(skip, len(self._recent))]

    async def follow(self, number: int, pause_s: float) -> AsyncIterator[list[Numbered]]:
        """Yield events after `number`, in portions; an empty one whenever there were none for `pause_s`."""
        self._feed.hear(1)
        try:
            while not self._closed:
                news = self._news
                lost, fresh = self.since(number)
                if lost:
                    reported = FeedEvent(LOST, None, {"count": lost}, fresh[0].event.at_ms, self._feed.node)
                    fresh.insert(0, Numbered(fresh[0].number - 1, reported))
                if fresh:
                    number = fresh[-1].number
                    yield fresh
                    continue
                try:
                    async with asyncio.timeout(pause_s):
                        await news.wait()
                except TimeoutError:
                    yield []
        finally:
            asyncio.get_running_loop().call_later(_LINGER_S, self._feed.hear, -1)
