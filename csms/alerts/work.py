"""Watches alert rules; announces alerts as events of the feed, to webhooks and by e-mail.

A node that dies between the server's answer and its own commit sends again, with the same Message-ID.

An alert that has begun is in the database, and whichever node looks next finds whether it still holds. So none is lost
when a node dies, and none is raised twice.
"""

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509

from csms.alerts import sources as alert_sources
from csms.alerts import store as rows
from csms.alerts.config import AlertEmail, AlertsConfig
from csms.alerts.rules import Alert, Mail, Observed, Report, RuleName, addressees, reports, rules_of
from csms.alerts.sentences import body, subject_line
from csms.catalogues import catalogues
from csms.cluster.feed import Feed, FeedEvent
from csms.db import leases
from csms.db.store import Store
from csms.grid import store as grid_shares
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.services import Services
from csms.sites.rules import Overloads
from csms.stations.last_seen import LastSeen
from csms.webhooks.rules import Announcement
from csms.webhooks.store import Webhook
from csms.webhooks.work import deliveries_of
from v2g.errors import ConfigError, StoreError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import wait_at_most
from v2g.observe import Observe, Scalar
from v2g.pki.keys import read_secret
from v2g.text import printable
from v2g.units import DAY_MS

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
                    cleared = "alert_cleared"
                    name = (
                        cleared if kind == cleared else "alert_raised" if kind == "alert_raised" else "alert_escalated"
                    )
                    self._observe(Observe("alerts", name, event_of(alert)))
                    self._feed.publish(name, station_of(alert), event_of(alert))
            await wait_at_most(POLL_S, self._wake.wait())

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


MAIL_POLL_S: Final = 2.0


class AlertMails:
    """Sends what waits, while `run` does."""

    def __init__(
        self, store: Store, clock: Clock, observe: EventLog, config: AlertEmail, zone: tzinfo = UTC, origin: str = ""
    ) -> None:
        self._store, self._clock, self._observe, self._config = store, clock, observe, config
        self._zone, self._origin = zone, origin

    async def run(self) -> None:
        """Send until cancelled. Raises StoreError."""
        while True:
            while mails := await self._store.run(rows.claim, self._clock.utc_ms()):
                error = await asyncio.to_thread(self._send, mails)
                given_up = await self._store.run(rows.settle, mails, error, self._clock.utc_ms())
                if error:
                    data: dict[str, Scalar] = {"alerts": len(mails), "given_up": given_up, "reason": error}
                    self._observe(Observe("alerts", "email_failed", data))
            await asyncio.sleep(MAIL_POLL_S)

    def _send(self, mails: Sequence[Mail]) -> str:
        """Send an e-mail; return why not, "" for nothing."""
        try:
            message = message_of(self._config, mails, self._clock.utc_ms(), self._zone, self._origin)
            send(self._config, message)
        except (smtplib.SMTPException, OSError, V2GError, ValueError) as error:
            return printable(f"{type(error).__name__}: {error}")[:300]
        return ""


def message_of(
    config: AlertEmail, mails: Sequence[Mail], now_ms: int, zone: tzinfo = UTC, origin: str = ""
) -> EmailMessage:
    """Return the e-mail about announcements to one address, with times of a zone and the address of the console;
    repeated, it has the same Message-ID."""
    language = next((each.language for each in config.recipients if each.address == mails[0].address), "en")
    texts = catalogues().get(language, {})
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = config.sender, mails[0].address
    message["Subject"] = subject_line(mails, now_ms, texts)
    message["Date"] = datetime.fromtimestamp(now_ms / 1000, UTC)
    first = mails[0]
    domain = config.sender.rpartition("@")[2]
    message["Message-ID"] = f"<alert-{first.alert.alert_id}-{first.mail_id}-{first.alert.raised_ms}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    message.set_content(body(mails, now_ms, zone, origin, texts))
    return message


def send(config: AlertEmail, message: EmailMessage) -> None:
    """Give an e-mail to the server. Raises SMTPException, OSError, ConfigError."""
    tls = None if config.tls == "none" else _context(config)
    if config.tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, config.port, timeout=config.timeout_s, context=tls)
    else:
        server = smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
    with contextlib.closing(server):
        if config.tls == "starttls":
            server.starttls(context=tls)  # raises SMTPNotSupportedError where the server offers none
        if config.user and config.password_file is not None:
            server.login(config.user, read_secret(config.password_file).decode().strip())
        server.send_message(message)
        with contextlib.suppress(smtplib.SMTPException, OSError):  # it has taken the e-mail
            server.quit()


def _context(config: AlertEmail) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.root}: {error}") from None


_LEASE: Final = "alert rules"


class AlertWatch:
    """Reports what begins and ends by the rules, while `run` does."""

    def __init__(self, services: Services, alerts: Alerts) -> None:
        self._services, self._alerts = services, alerts
        self._every_s: Final = services.config.alerts.poll_interval_s
        self._rules: Final = rules_of(services.config.alerts.rules)
        self._node: Final = services.config.node_name[:56]
        # the files of certificates by which this node shows who it is
        config = services.config
        ocpp = config.ocpp
        self._files: Final = tuple(
            {each for each in (config.api.certificate, ocpp.certificate, ocpp.rsa_certificate) if each is not None}
        )

    async def run(self) -> NoReturn:
        """Look until cancelled. Raises StoreError."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Look once. Raises StoreError."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        until_ms = now_ms + round(6000 * self._every_s * services.clock.scale)
        await services.store.run(leases.take, alert_sources.NODE + self._node, self._node, now_ms, until_ms)
        active = await services.store.read(rows.active_by_rules)
        found = await self._here(active, now_ms)
        if await services.leads(_LEASE, self._every_s * services.clock.scale):
            found += await self._everywhere(active, now_ms)
        if found:
            await self._alerts.take(found)

    async def leave(self) -> None:
        """Give up the sign of life: this node does not die, it stops."""
        with contextlib.suppress(StoreError):
            await self._services.store.run(leases.give_up, [alert_sources.NODE + self._node], self._node)

    async def _everywhere(self, active: dict[RuleName, set[str]], now_ms: int) -> list[Report]:
        services, rules = self._services, self._rules
        seen = await services.store.read(alert_sources.observe, now_ms, rules)
        # Stations that have not come back since this node started may be those that it could not see.
        settled = now_ms - services[LastSeen].since_ms >= 1000 * rules["station_offline"].limit
        found: list[Report] = []
        for name, observed in seen.values.items():
            ready = settled or name != "station_offline"
            found += reports(name, rules[name], observed, active[name], now_ms, settled=ready)
        name = "grid_limit_exceeded"
        # by how much vehicles draw and feed back more than each limit in force permits, by what their stations have
        # reported since it came
        signal, worst = services[GridSource].current, dict[str, Observed]()
        limits = () if signal is None else signal.limits_at(now_ms)
        followed_ms, suspects = services[GridShares].judges
        for begins_ms in {max(each.from_ms, signal.issued_at_ms) for each in limits if signal is not None}:
            some = [each for each in limits if signal and max(each.from_ms, signal.issued_at_ms) == begins_ms]
            states = await services.store.read(
                grid_shares.states_of, some, begins_ms + followed_ms, followed_ms, suspects
            )
            for each in states:
                excess_w = max(0, -each.left_w)
                if each.subject not in worst or worst[each.subject].value < excess_w:
                    worst[each.subject] = Observed(each.subject, excess_w, {"flow_w": float(each.flow_w)})
        found += reports(name, rules[name], list(worst.values()), active[name], now_ms)
        # What only its own node knows ends with that: a site that was removed, a node that has gone.
        of_sites, of_nodes = active["fuse_overloaded"] - seen.sites, active["node_certificate_expires"] - seen.nodes
        found += reports("fuse_overloaded", rules["fuse_overloaded"], (), of_sites, now_ms)
        name = "node_certificate_expires"
        return found + reports(name, rules[name], (), of_nodes, now_ms)

    async def _here(self, active: dict[RuleName, set[str]], now_ms: int) -> list[Report]:
        rules, overloads = self._rules, dict(self._services[Overloads])
        sites = [Observed(site, amperes) for site, amperes in sorted(overloads.items())]
        name: RuleName = "fuse_overloaded"
        found = reports(name, rules[name], sites, active[name] & overloads.keys(), now_ms)
        name, beyond = "limit_not_obeyed", self._services[GridShares].beyond
        stations = [Observed(station, power_w) for station, power_w in sorted(beyond.items())]
        here = self._services.connections.connected_here()
        found += reports(name, rules[name], stations, active[name] & (here | beyond.keys()), now_ms)
        name = "node_certificate_expires"
        until_ms = await asyncio.to_thread(_first_to_expire, self._files)
        if until_ms is not None:
            days = Observed(self._node, (until_ms - now_ms) / DAY_MS, {"until_ms": float(until_ms)})
            found += reports(name, rules[name], [days], active[name] & {self._node}, now_ms)
        return found


def _first_to_expire(files: Iterable[Path]) -> int | None:
    """Return when the first certificate of these files expires (UTC ms); those that cannot be read have no time."""
    found: list[float] = []
    for path in files:
        with contextlib.suppress(OSError, ValueError):
            chain = x509.load_pem_x509_certificates(path.read_bytes())
            found += (each.not_valid_after_utc.timestamp() for each in chain)
    return round(1000 * min(found)) if found else None
