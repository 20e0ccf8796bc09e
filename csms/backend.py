"""The part of a running back end that the API uses: services, ingest, event history, webhooks, event streams."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from csms.alerts.work import Alerts
from csms.batteries.rules import found_in
from csms.batteries.work import BATTERIES
from csms.cluster.feed import FeedEvent, Subscription
from csms.events.work import History
from csms.services import Services
from csms.settlements.journals import check_checkpoints
from csms.telemetry.ingest import Ingest
from csms.telemetry.latest import LatestStates, StateExchange
from csms.telemetry.seal import TelemetrySeal
from csms.telemetry.workers import IngestWorkers
from csms.webhooks.work import WebhookDeliveries
from v2g.telemetry.signals import Record

if TYPE_CHECKING:  # loaded only if configured
    from csms.telemetry.subscriber import TelemetrySubscriber

ACCESS_CHANGED: Final = "access_changed"
SITE_CHANGED: Final = "site_changed"
"""Kind of the event that reports that access has been revoked."""


class Streams:
    """Open event streams, their owners, and a counter of changes of access."""

    def __init__(self) -> None:
        self.by_caller: Counter[str] = Counter()
        self.changes = 0
        self._subscriptions: set[Subscription] = set()

    def judge_again(self) -> None:
        """Let each stream go on only where its caller still may."""
        self.changes += 1

    @property
    def open(self) -> int:
        """Number of open streams."""
        return self.by_caller.total()

    @contextlib.contextmanager
    def reading(self, subscription: Subscription) -> Iterator[None]:
        """Register a subscription to be closed with the API."""
        self._subscriptions.add(subscription)
        try:
            yield
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Close all subscriptions."""
        for each in tuple(self._subscriptions):
            each.close()


class Exports:
    """Files of values: one is made at a time, some wait for their readers."""

    def __init__(self) -> None:
        self.making = asyncio.Lock()
        self.by_caller: Counter[str] = Counter()
        """Files that are made or sent."""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """The back end as the API sees it."""

    services: Services
    ingest: Ingest
    latest: LatestStates
    history: History
    webhooks: WebhookDeliveries
    alerts: Alerts
    subscriber: "TelemetrySubscriber | None" = None
    streams: Streams = msgspec.field(default_factory=Streams)
    exports: Exports = msgspec.field(default_factory=Exports)
    backing_up: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


def make_backend(services: Services, workers: IngestWorkers | None = None) -> Backend:
    """Return the back end for the API. Its history and webhooks work once they run. `workers` store telemetry."""
    webhooks = WebhookDeliveries(
        services.store,
        services.feed,
        services.clock,
        services.observe,
        services.store_key,
        services.config.webhooks.allow,
    )

    streams = Streams()

    services.connections.access_changed = streams.judge_again

    def received(event: FeedEvent) -> None:
        if event.node == services.feed.node:
            services.metrics.event_published(event.kind)
            webhooks.take(event)

    alerts = Alerts(services.store, services.clock, services.observe, services.feed, services.config.alerts)

    async def take_reports(records: Sequence[Record]) -> None:
        if found := found_in(records):
            await alerts.take(found)

    latest = LatestStates(services.store, services.clock, _state_exchange(services))
    ingest = Ingest(
        services.store,
        services.clock,
        services.observe,
        services.feed,
        services.precedence,
        latest,
        services.metrics,
        take_reports,
        partial(check_checkpoints, services.store, services.observe, services.log_name),
        [BATTERIES, *(each.name for each in services.config.telemetry.sinks)],
        workers,
        log_name=services.log_name,
    )
    return Backend(
        services=services,
        ingest=ingest,
        latest=latest,
        subscriber=_subscriber(services, ingest),
        streams=streams,
        history=History(services.feed, services.frames, received),
        webhooks=webhooks,
        alerts=alerts,
    )


def _subscriber(services: Services, ingest: Ingest) -> "TelemetrySubscriber | None":
    """Return what receives telemetry from a broker, if one is configured."""
    config = services.config
    if config.mqtt is None:
        return None
    from csms.telemetry.subscriber import (
        TelemetrySubscriber,  # on demand: imports an MQTT client
        VehicleSlots,
    )

    place = hashlib.sha256(str(config.data_dir.resolve()).encode()).hexdigest()[:8]
    client_id = f"csms-{services.feed.node}-{place}"  # unique, and the same at every start
    group = services.store_key.derive("telemetry deliveries")
    slots = VehicleSlots(services.store, services.clock, client_id) if config.bus_url and config.mqtt.slots else None
    return TelemetrySubscriber(config.mqtt, ingest, services.observe, client_id=client_id, group=group, slots=slots)


def _state_exchange(services: Services) -> StateExchange | None:
    """Return where the nodes exchange latest states, if there are several."""
    if not services.config.bus_url:
        return None
    from csms.telemetry.redis_states import RedisStates  # on demand: its import is slow

    return RedisStates(services.config.bus_url, services.store, services[TelemetrySeal])
