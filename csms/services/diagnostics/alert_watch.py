"""Looks whether alert rules hold. One node at a time looks at the database, each node at what only it knows.

An alert that has begun is in the database, and whichever node looks next finds whether it still holds. So none is lost
when a node dies, and none is raised twice.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509

from csms.config import CsmsConfig
from csms.db.queries import alert_sources, leases
from csms.db.queries import alerts as rows
from csms.db.queries.overview import flow_w
from csms.domain.charging.grid_sources import excess_w
from csms.domain.diagnostics.alert_rules import Observed, RuleName, reports, rules_of
from csms.domain.diagnostics.alerts import Report
from csms.ocpp import Services
from csms.services.diagnostics.alerts import Alerts
from v2g.errors import StoreError

_LEASE: Final = "alert rules"
_DAY_MS: Final = 86_400_000
_FOLLOWED_MS: Final = 3000
"""So long after a new limit, readings may be of the time before."""


class AlertWatch:
    """Reports what begins and ends by the rules, while `run` does."""

    def __init__(self, services: Services, alerts: Alerts) -> None:
        self._services, self._alerts = services, alerts
        self._every_s: Final = services.config.alerts.poll_interval_s
        self._rules: Final = rules_of(services.config.alerts.rules)
        self._node: Final = node_name(services.config)
        self._files: Final = _certificates(services.config)

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
        settled = now_ms - services.seen.since_ms >= 1000 * rules["station_offline"].limit
        found: list[Report] = []
        for name, observed in seen.values.items():
            ready = settled or name != "station_offline"
            found += reports(name, rules[name], observed, active[name], now_ms, settled=ready)
        name = "grid_limit_exceeded"
        found += reports(name, rules[name], await self._beyond_grid(now_ms), active[name], now_ms)
        # What only its own node knows ends with that: a site that was removed, a node that is no more.
        of_sites, of_nodes = active["fuse_overloaded"] - seen.sites, active["node_certificate_expires"] - seen.nodes
        found += reports("fuse_overloaded", rules["fuse_overloaded"], (), of_sites, now_ms)
        name = "node_certificate_expires"
        return found + reports(name, rules[name], (), of_nodes, now_ms)

    async def _beyond_grid(self, now_ms: int) -> list[Observed]:
        """Return by how much vehicles draw and feed back more than the grid signal permits, by what their stations have
        reported since it came."""
        signal = self._services.grid.current
        if signal is None:
            return []
        begins_ms = signal.issued_at_ms if now_ms < signal.valid_until_ms else signal.valid_until_ms
        flow = await self._services.store.read(flow_w, begins_ms + _FOLLOWED_MS)
        facts = {"flow_w": float(flow)}
        return [Observed(direction, watts, facts) for direction, watts in excess_w(signal, flow, now_ms).items()]

    async def _here(self, active: dict[RuleName, set[str]], now_ms: int) -> list[Report]:
        rules, overloads = self._rules, dict(self._services.overloads)
        sites = [Observed(site, amperes) for site, amperes in sorted(overloads.items())]
        name: RuleName = "fuse_overloaded"
        found = reports(name, rules[name], sites, active[name] & overloads.keys(), now_ms)
        name = "node_certificate_expires"
        until_ms = await asyncio.to_thread(_first_to_expire, self._files)
        if until_ms is not None:
            days = Observed(self._node, (until_ms - now_ms) / _DAY_MS, {"until_ms": float(until_ms)})
            found += reports(name, rules[name], [days], active[name] & {self._node}, now_ms)
        return found


def node_name(config: CsmsConfig) -> str:
    """Return this node's name, the same at every start."""
    return (config.node or socket.gethostname())[:56]


def _certificates(config: CsmsConfig) -> tuple[Path, ...]:
    """Return the files of certificates by which this node shows who it is."""
    ocpp = config.ocpp
    return tuple(
        {each for each in (config.api.certificate, ocpp.certificate, ocpp.rsa_certificate) if each is not None}
    )


def _first_to_expire(files: Iterable[Path]) -> int | None:
    """Return when the first certificate of these files expires (UTC ms); those that cannot be read have no time."""
    found: list[float] = []
    for path in files:
        with contextlib.suppress(OSError, ValueError):
            chain = x509.load_pem_x509_certificates(path.read_bytes())
            found += (each.not_valid_after_utc.timestamp() for each in chain)
    return round(1000 * min(found)) if found else None
