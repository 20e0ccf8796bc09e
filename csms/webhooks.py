"""Calls webhooks: what happens is first written into the outbox of the database, then delivered until it arrives."""

import asyncio
import contextlib
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from csms.core.webhooks import signature
from csms.feed import Feed, FeedEvent
from csms.rows import webhooks as rows
from csms.rows.webhooks import Due, Webhook
from csms.store import Store
from v2g.errors import StoreError
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.observe import Observe

_LOOK_S: Final = 5.0  # how long other nodes' changes of webhooks may go unnoticed
_ANSWER_S: Final = 10.0
_AT_ONCE: Final = 8
_KEPT_MS: Final = 30 * 24 * 3600 * 1000
_encode: Final = msgspec.json.Encoder().encode


class Webhooks:
    """The webhooks of this back end; works while `run` does. Each node delivers its own events."""

    def __init__(self, store: Store, feed: Feed, clock: Clock, observe: EventLog) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._observe = observe
        self._known: tuple[Webhook, ...] = ()
        self._fresh: list[tuple[str, str, str]] = []
        self._wake = asyncio.Event()

    def take(self, event: FeedEvent) -> None:
        """Note an event of this node for whoever wants it."""
        if len(self._fresh) >= rows.MAX_WAITING:
            return
        body = ""
        for webhook in self._known:
            if webhook.wants(event.kind, event.station_id):
                body = body or _encode(event).decode()
                self._fresh.append((webhook.webhook_id, event.kind, body))
        if body:
            self._wake.set()

    async def refresh(self) -> None:
        """Look again which webhooks there are."""
        self._known = tuple(await self._store.run(rows.list_all))
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            with contextlib.suppress(StoreError):
                await self.refresh()
                self._wake.clear()
                await self._work()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()

    async def _work(self) -> None:
        """Write what happened into the outbox, then make what deliveries are due."""
        now_ms = self._clock.utc_ms()
        if fresh := self._fresh[:]:
            await self._store.run(rows.enqueue, fresh, now_ms)
            del self._fresh[: len(fresh)]  # not before: a database that refuses may take them next time
        if not self._known:
            return
        await self._store.run(rows.forget_old, now_ms - _KEPT_MS)
        while due := await self._store.run(rows.claim, self._clock.utc_ms(), _AT_ONCE):
            await self._deliver(due)

    async def _deliver(self, due: list[Due]) -> None:
        import aiohttp  # slow to load, and needed only where there are webhooks

        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            errors = await asyncio.gather(*(self._call(session, each) for each in due))
        now_ms = self._clock.utc_ms()
        disabled = await self._store.run(_note, list(zip(due, errors, strict=True)), now_ms)
        for webhook_id in disabled:
            self._observe(Observe("ocpp", "webhook_disabled", {"webhook": webhook_id}))
            self._feed.publish("webhook_disabled", None, {"webhook": webhook_id})

    async def _call(self, session: Any, due: Due) -> str:
        """Make a delivery; return what went wrong, or nothing."""
        import aiohttp

        body = due.body.encode()
        message_id, now_s = f"msg_{due.id}", self._clock.utc_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": signature(due.webhook.secret, message_id, now_s, body),
        }
        try:
            async with session.post(due.webhook.url, data=body, headers=headers, allow_redirects=False) as response:
                return "" if 200 <= response.status < 300 else f"HTTP status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return str(error) or f"no answer in {_ANSWER_S:g} s"


def _note(connection: Connection, results: list[tuple[Due, str]], now_ms: int) -> list[str]:
    """Note what became of deliveries; return the webhooks that are disabled now."""
    disabled = []
    for due, error in results:
        if not error:
            rows.delivered(connection, due, now_ms)
        elif rows.failed(connection, due, error, now_ms):
            disabled.append(due.webhook.webhook_id)
    return disabled
