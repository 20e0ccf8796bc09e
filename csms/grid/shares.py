"""Shares the limits of the grid signal over all stations behind their connection points, on all nodes together."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed
from csms.db.store import Store
from csms.grid import store as grid_shares
from csms.grid.limits import limited, to_share
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.grid.store import Share
from csms.sites.rules import Site
from csms.smart_charging.charging_plans import FOLLOWED_MS
from v2g.energy.grid_signal import GridLimit
from v2g.energy.limits import MOST_W
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar

GRID_SHARES: Final = "grid_shares"
"""Kind of the feed's event that shares of stations, named in its data, have changed."""

_ACCEPTED: Final = "grid_share"

_TRIGGERS: Final = frozenset({
    _ACCEPTED, GRID_SHARES, GRID_SIGNAL, "charging_needs", "dispatched", "site_changed", "station_connected",
    "station_disconnected", "transaction_closed", "transaction_ended", "transaction_started",
})  # fmt: skip
"""Events after which stations may need more, or less."""

_INTERVAL_S: Final = 5.0
"""Readings, and limits that begin by the clock, are looked at this often."""


class GridShares:
    """The shares of this node's stations. `follow` and `leave` say which: they are called when theirs has changed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observe: EventLog,
        feed: Feed,
        connections: ConnectionRegistry,
        grid: GridSource,
        settle_s: float,
    ) -> None:
        self._store, self._clock, self._observe, self._feed = store, clock, observe, feed
        self._connections, self._grid, self._settle_s = connections, grid, settle_s
        self._followers: dict[str, Callable[[], None]] = {}
        self._beyond: dict[str, dict[str, int]] = {}
        """By site, "" for all, the stations that do not obey, and by how much, W."""
        self.suspects: Mapping[str, int] = {}
        """All stations that did not obey when this node shared last, and by how much, W."""
        self._since_ms: Mapping[str, int] = {}
        """Since when this node knows of the stations that are connected."""
        self._by: tuple[list[GridLimit], str] = ([], "")
        """The limits that this node has shared last, and the hash by which shares of them are known."""
        self._sharing = asyncio.Lock()
        self._kept = True
        """Whether shares may be stored, by this node or before it started."""

    def follow(self, station_id: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the share of a station has changed."""
        self._followers[station_id] = wake

    def leave(self, station_id: str, wake: Callable[[], None]) -> None:
        """Stop calling it."""
        if self._followers.get(station_id) == wake:
            del self._followers[station_id]

    async def run(self) -> None:
        """Share after every relevant event of this node's stations, and at intervals; for ever."""
        with self._feed.subscribe(_TRIGGERS) as triggers:
            while True:
                events = await triggers.batch(self._settle_s, within_s=_INTERVAL_S)
                others = {name for each in events if each.kind == GRID_SHARES for name in each.data["stations"]}
                self._wake(others)
                if not events or any(each.kind != GRID_SHARES and each.node == self._feed.node for each in events):
                    await self.share()

    async def of(self, station_id: str) -> Share:
        """Return the share of a station, after sharing the limits in force where it has none of them."""
        signal = self._grid.current
        limits = self._limits()
        if not limits:
            return Share() if signal is None else Share(signal.site_import_limit_w, signal.export_limit_w)
        if (found := await self._found(station_id, limits)) is None:
            async with self._sharing:  # many stations may come at once
                if (found := await self._found(station_id, limits)) is None:
                    await self.share()
                    found = await self._found(station_id, limits)
        return found or Share(0, 0)

    async def _found(self, station_id: str, limits: list[GridLimit]) -> Share | None:
        by, shared = self._by
        return await self._store.read(grid_shares.share_of, station_id, shared) if by == limits else None

    async def share(self) -> None:
        """Share the limits in force; have stations sent what has changed, and name those that do not obey."""
        limits = self._limits()
        if not limits:
            if self._kept:
                self._kept = False
                await self._store.run(grid_shares.forget)
            self.name({})
            return
        self._kept = True
        now_ms, connected = self._clock.utc_ms(), self._connections.connected()
        self._since_ms = {each: self._since_ms.get(each, now_ms) for each in connected}
        about = limits, connected, now_ms, self.followed_ms, self.suspects, self._since_ms
        changed, self.suspects, shared = await self._store.run(grid_shares.share_all, *about)
        self._by = limits, shared
        here = self._connections.connected_here()
        self.name({name: power_w for name, power_w in self.suspects.items() if name in here})
        if changed:
            self._wake(changed)
            self._feed.publish(GRID_SHARES, None, {"stations": sorted(changed)})

    @property
    def followed_ms(self) -> int:
        """Readings that come in this time after a limit was sent may be from before, ms."""
        return round(FOLLOWED_MS * self._clock.scale)

    @property
    def judges(self) -> tuple[int, Collection[str]]:
        """How readings are judged: how long a station may take to follow, ms, and those that do not."""
        return self.followed_ms, frozenset(self.suspects)

    @property
    def beyond(self) -> dict[str, int]:
        """Stations that draw or feed back more than they may, and by how much, W, as far as this node looks at them."""
        found: dict[str, int] = {}
        for each in self._beyond.values():
            found |= {name: max(power_w, found.get(name, 0)) for name, power_w in each.items()}
        return found

    def name(self, beyond: Mapping[str, int], site: str = "") -> None:
        """Name the stations, of a site or of all, that are beyond their shares, and by how much, W."""
        for station_id in beyond.keys() - self.beyond.keys():
            data: dict[str, Scalar] = {"excess_w": beyond[station_id]}
            self._observe(Observe("ocpp", "limit_not_obeyed", {"station": station_id, **data}))
            self._feed.publish("limit_not_obeyed", station_id, data)
        self._beyond[site] = dict(beyond)

    async def accepted(self, station_id: str, import_w: int | None, export_w: int | None) -> None:
        """Note what a station has accepted of its share, None: not that. The next sharing gives others the rest."""
        await self._store.run(grid_shares.accept, station_id, import_w, export_w, self._clock.utc_ms())

    async def site_within(self, site_id: str, part_w: int | None) -> None:
        """Note that what a site's EVSEs may draw is within a part, as `limited` returned it."""
        if part_w is not None and self._limits():
            new = await self._store.run(grid_shares.accept_site, site_id, part_w, self._clock.utc_ms())
            if new:
                self._feed.publish(_ACCEPTED, None, {"site": site_id})

    async def limited(self, site: Site) -> tuple[Site, int | None]:
        """Return a site with the limits in force in its tree, and its part of what all stations may draw, W."""
        limits = self._limits()
        if not limits:
            return site, None
        part_w = (await self._store.read(grid_shares.parts_of)).get(site.id)
        return limited(site, limits, part_w), part_w

    def _limits(self) -> list[GridLimit]:
        """Return the limits to share; none where nothing is bounded."""
        signal = self._grid.current
        limits = [] if signal is None else to_share(signal, self._clock.utc_ms())
        return limits if any(each.phases_ma is not None or (each.limit_w or 0) < MOST_W for each in limits) else []

    def _wake(self, stations: Collection[str]) -> None:
        for station_id in self._followers.keys() & stations:
            self._followers[station_id]()
