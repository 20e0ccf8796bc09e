"""Calls webhooks: events are first written to the database's outbox, then delivered."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection

from csms.cluster.feed import Feed, FeedEvent
from csms.cluster.frames import hide_tokens
from csms.db.outbox import Couriers
from csms.db.store import Store
from csms.db.store_key import StoreKey, purpose
from csms.webhooks import store as rows
from csms.webhooks.rules import ALLOW_HINT, ANNOUNCEMENTS, Reach, check_url, signature
from csms.webhooks.store import Due, Webhook
from v2g.errors import ConfigError, StoreError, TransferError
from v2g.io.http.client import Resolve, request
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import wait_at_most
from v2g.observe import Observe

_LOOK_S: Final = 5.0  # interval of checks for other nodes' changes
_AT_ONCE: Final = 8  # concurrent calls of one webhook
_KEPT_MS: Final = 30 * 24 * 3600 * 1000
_GONE: Final = "HTTP status 410"  # Standard Webhooks: the receiver wants no more
_encode: Final = msgspec.json.Encoder().encode


def deliveries_of(event: FeedEvent, webhooks: Iterable[Webhook]) -> list[tuple[str, str, str]]:
    """Return the deliveries of an event: (webhook, kind, body)."""
    bodies: dict[bool, str] = {}
    found = []
    for webhook in webhooks:
        if webhook.wants(event.kind, event.station_id):
            shown = webhook.shows_tokens
            if shown not in bodies:
                hidden = event if shown else msgspec.structs.replace(event, data=hide_tokens(event.data))
                bodies[shown] = _encode(hidden).decode()
            found.append((webhook.webhook_id, event.kind, bodies[shown]))
    return found


class WebhookDeliveries:
    """The webhooks of this back end; works while `run` does. Each node delivers its own events."""

    def __init__(
        self, store: Store, feed: Feed, clock: Clock, observe: EventLog, key: StoreKey, allowed: tuple[str, ...] = ()
    ) -> None:
        self.reach: Final = Reach(allowed)
        self._store = store
        self._feed = feed
        self._clock = clock
        self._observe = observe
        self._key = key
        self._known: tuple[Webhook, ...] = ()
        self._fresh: list[tuple[str, str, str]] = []
        self._wake = asyncio.Event()
        self._couriers = Couriers(self._deliver_all)

    def take(self, event: FeedEvent) -> None:
        """Queue an event of this node for all matching webhooks; but for alerts, which are stored with deliveries."""
        if len(self._fresh) >= rows.MAX_WAITING:
            return
        deliveries = deliveries_of(event, self._known)
        if event.kind not in ANNOUNCEMENTS:
            self._fresh += deliveries
        if deliveries:
            self._wake.set()

    async def refresh(self) -> None:
        """Read the webhooks again."""
        self._known = tuple(await self._store.run(rows.list_all))
        self._wake.set()

    def seal(self, webhook_id: str, secret: str) -> str:
        return self._key.seal(secret, purpose(webhook_id))

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                with contextlib.suppress(StoreError):
                    await self.refresh()
                    self._wake.clear()
                    await self._work()
                await wait_at_most(_LOOK_S, self._wake.wait())
        finally:
            await self._couriers.dismiss(self._couriers.destinations)

    async def _work(self) -> None:
        """Write queued events to the outbox, then wake the couriers of webhooks with deliveries."""
        now_ms = self._clock.utc_ms()
        if fresh := self._fresh[:]:
            await self._store.run(rows.enqueue, fresh, now_ms)
            del self._fresh[: len(fresh)]  # not before: if the database fails they stay queued
        await self._couriers.dismiss(set(self._couriers.destinations) - {each.webhook_id for each in self._known})
        if not self._known:
            return
        await self._store.run(rows.forget_old, now_ms - _KEPT_MS)
        self._couriers.wake(await self._store.run(rows.with_due, self._clock.utc_ms()))

    async def _deliver_all(self, webhook_id: str) -> None:
        """Make every due delivery of a webhook."""
        while due := await self._store.run(rows.claim, webhook_id, self._clock.utc_ms(), _AT_ONCE):
            errors = await asyncio.gather(*(self._call(each) for each in due))
            now_ms = self._clock.utc_ms()
            for disabled in await self._store.run(_note, list(zip(due, errors, strict=True)), now_ms):
                self._observe(Observe("ocpp", "webhook_disabled", {"webhook": disabled}))
                self._feed.publish("webhook_disabled", None, {"webhook": disabled})

    async def _call(self, due: Due) -> str:
        """Make a delivery; return the error, or an empty text."""
        try:
            secret = self._key.open(due.webhook.sealed_secret, purpose(due.webhook.webhook_id))
        except StoreError as error:
            return f"{error}: {error.hint}"
        body = due.body.encode()
        message_id, now_s = due.message_id, self._clock.utc_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": signature(secret, message_id, now_s, body),
        }
        return await call_webhook(due.webhook.url, body, headers, self.reach)


def _note(connection: Connection, results: list[tuple[Due, str]], now_ms: int) -> list[str]:
    """Store the results of deliveries; return the webhooks disabled by them."""
    disabled = []
    for due, error in results:
        if not error:
            rows.delivered(connection, due, now_ms)
        elif rows.failed(connection, due, error, now_ms, gone=error == _GONE):
            disabled.append(due.webhook.webhook_id)
    return disabled


ANSWER_S: Final = 10.0
"""Time-out of a receiver."""


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a host by the system's resolver; blocking. Raises OSError."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def within(reach: Reach, resolve: Resolve = addresses_of) -> Resolve:
    """Return a resolver of hosts that may be called: only these addresses are connected to."""

    def allowed(host: str) -> list[str]:
        found = [each for each in resolve(host) if reach.names(host) or reach.takes(each)]
        if not found:
            raise OSError(errno.EACCES, f"{host} is not a host of the internet; {ALLOW_HINT}")
        return found

    return allowed


async def call_webhook(
    url: str, body: bytes, headers: dict[str, str], reach: Reach, resolve: Resolve = addresses_of
) -> str:
    """Post; return the error, or an empty text. Redirects are not followed."""
    allowed = within(reach, resolve)
    try:
        check_url(url, reach)
        answer = await request("POST", url, most=0, timeout_s=ANSWER_S, body=body, headers=headers, resolve=allowed)
    except ConfigError as error:
        return str(error)
    except TransferError as error:
        return f"{urlsplit(url).hostname}: {error}"
    return "" if answer.ok else f"HTTP status {answer.status}"
