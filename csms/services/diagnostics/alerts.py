"""Announces alerts as events of the feed, to webhooks and by e-mail: when they begin, end, or are not acknowledged."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from csms.cluster.feed import Feed, FeedEvent
from csms.config import AlertsConfig
from csms.db.queries import alerts as rows
from csms.db.queries.webhooks import Webhook
from csms.db.store import Store
from csms.domain.diagnostics.alert_mails import addressees
from csms.domain.diagnostics.alerts import Alert, Announcement, Report
from csms.services.diagnostics.webhooks import deliveries_of
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar

POLL_S: Final = 5.0
"""Interval in which what has ended or is not acknowledged is looked for, and what other nodes have stored."""


class Alerts:
    """Takes reports of any part of the back end, and announces while `run` does."""

    def __init__(self, store: Store, clock: Clock, observe: EventLog, feed: Feed, config: AlertsConfig) -> None:
        self._store, self._clock, self._observe = store, clock, observe
        self._feed, self._wake = feed, asyncio.Event()
        email = config.email
        recipients = () if email is None else email.recipients
        self._to = rows.Announcing(
            escalate_ms=tuple(1000 * each for each in config.escalate_s),
            hooks=self._deliveries,
            addresses=lambda alert: addressees(recipients, alert),
            mails_after_ms=0 if email is None else round(1000 * email.wait_s),
        )

    async def take(self, reports: Sequence[Report]) -> None:
        """Take over reports. Raises StoreError: none is."""
        changed = await self._store.run(rows.take, reports, self._clock.utc_ms())
        if changed:
            self.wake()

    def wake(self) -> None:
        """Announce now: alerts have changed."""
        self._wake.set()

    async def run(self) -> None:
        """Announce until cancelled. Raises StoreError."""
        while True:
            self._wake.clear()
            while said := await self._store.run(rows.announce, self._clock.utc_ms(), self._to):
                for kind, alert in said:
                    self._announce(kind, alert)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    def _announce(self, kind: Announcement, alert: Alert) -> None:
        cleared = "alert_cleared"
        name = cleared if kind == cleared else "alert_raised" if kind == "alert_raised" else "alert_escalated"
        self._observe(Observe("alerts", name, event_of(alert)))
        self._feed.publish(name, station_of(alert), event_of(alert))

    def _deliveries(self, kind: Announcement, alert: Alert, webhooks: list[Webhook]) -> list[tuple[str, str, str]]:
        event = FeedEvent(kind, station_of(alert), event_of(alert), self._clock.utc_ms(), self._feed.node)
        return deliveries_of(event, webhooks)


def station_of(alert: Alert) -> str | None:
    """Return the station that an alert is about, if it is about one."""
    return alert.subject if alert.subject_kind == "station" else None


def event_of(alert: Alert) -> dict[str, Scalar]:
    """Return what the feed has of an alert. A vehicle is not named: who may know it reads the alert (R113)."""
    data: dict[str, Scalar] = {
        "alert": alert.alert_id,
        "subject_kind": alert.subject_kind,
        "kind": alert.kind,
        "severity": alert.severity,
    }
    if alert.subject_kind == "station":
        data["station"] = alert.subject
    elif alert.subject_kind != "vehicle":
        data["subject"] = alert.subject
    return data
