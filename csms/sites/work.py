"""Keeps sites within their limits: rebalances after every change, lowering before it raises (K02)."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from csms.cluster.feed import UPDATED, Subscription
from csms.cluster.precedence import for_each
from csms.grid.shares import GRID_SHARES, GridShares
from csms.grid.source import GRID_SIGNAL
from csms.services import Services
from csms.sites import store as rows
from csms.sites.rules import Known, Overloads, Place, Site, beyond_w, chosen_phases, homes, loads_of, sure_phases
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import milliampere, share_profile, waiting_profile
from csms.smart_charging.rules import SHARE_PROFILE, WAITING_PROFILE
from csms.smart_charging.work import SmartCharging
from v2g.energy.balancing import Change, Overload, changes, overload, share
from v2g.energy.conductors import LINE_NAMES
from v2g.errors import TimeoutExpired, TransportError, V2GError
from v2g.observe import Scalar

_BOOTED: Final = "boot_accepted"
_CHANGED: Final = "site_changed"
_LOADS: Final = "site_loads"
"""Readings of `stations` have come, to a node that does not balance their sites."""
_GATHER_S: Final = 0.05
_TRIGGERS: Final = frozenset({
    _BOOTED, _CHANGED, _LOADS, GRID_SHARES, GRID_SIGNAL, UPDATED, "charging_limit", "charging_limit_cleared",
    "charging_needs", "connector_status", "dispatched", "priority_charging", "station_connected",
    "station_disconnected", "transaction_closed", "transaction_ended", "transaction_started",
})  # fmt: skip
"""Events after which a site may have to be rebalanced."""


class Balancer:
    """Balances the sites whose first connected station is on this node. Stations' limits are in the store."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._charging = SmartCharging(services)
        self._overloads: dict[str, Overload] = {}
        self._led: set[str] = set()
        self._elsewhere: set[str] = set()
        """The stations of sites that another node balances."""
        self._twice: set[str] = set()
        """EVSEs that were reported to stand in several sites."""
        self._spread: dict[str, tuple[str, int]] = {}
        """The transaction of each EVSE's last share, and for how many phases it counts in W."""

    async def run(self) -> None:
        """Balance after every relevant event, and at every interval; for ever."""
        while True:
            kinds = _TRIGGERS if await self._services.store.read(rows.all_sites) else {_CHANGED}
            with self._services.feed.subscribe(kinds) as triggers:
                await self._run_until_changed(triggers)

    async def _run_until_changed(self, triggers: Subscription) -> None:
        """Balance until the sites change. Events within `settle_s` are handled together."""
        config = self._services.config.balancing
        for station_id in self._services.connections.connected():
            await self.prepare(station_id, again=False)
        await self.balance_all()
        while True:
            events = await triggers.batch(config.settle_s, within_s=config.interval_s)
            if any(each.kind == _CHANGED for each in events):
                return
            booted = {each.station_id for each in events if each.kind == _BOOTED}
            for station_id in self._services.connections.connected() & booted:
                await self.prepare(station_id)
            touched: set[str | None] = set()
            for each in events:
                touched.update(each.data["stations"] if each.kind == _LOADS else (each.station_id,))
            await self.balance_all(touched, booted)

    async def tell(self) -> None:
        """Have the nodes that balance sites of others look when readings of theirs come here, for ever."""
        feed = self._services.feed
        with feed.subscribe({UPDATED}) as readings:
            while True:
                events = await readings.batch(_GATHER_S)
                read = {str(each.station_id) for each in events if each.node == feed.node}
                if stations := sorted(read & self._elsewhere):
                    feed.publish(_LOADS, None, {"stations": stations})

    async def balance_all(self, stations: Collection[str | None] = (), booted: Collection[str | None] = ()) -> None:
        """Balance every site of this node, or only those of some stations (None: any); `booted` as in `balance`."""
        elsewhere: set[str] = set()
        sites = await self._services.store.read(rows.all_sites)
        at = homes(sites)
        for site in sites:
            touched = not stations or None in stations or any(place.station_id in stations for place in site.places)
            if not self._leads(site):
                self._overloads.pop(site.id, None)
                self._services[Overloads].pop(site.id, None)
                self._services[GridShares].name({}, site.id)
                self._services.metrics.site_overloaded(site.id, 0)  # another node reports it
                elsewhere.update(place.station_id for place in site.places)
            elif touched:
                await self.balance(site, at, booted)
        self._elsewhere = elsewhere

    async def prepare(self, station_id: str, *, again: bool = True) -> None:
        """Send a station of a site its default limit for transactions without a share; not `again`: once."""
        held = await self._services.store.read(charging.profile, station_id, WAITING_PROFILE)
        for site in await self._services.store.read(rows.all_sites):
            reported = held is not None and milliampere(held) == site.waiting_ma // 100 * 100 and not again
            if not reported and any(place.station_id == station_id for place in site.places) and self._leads(site):
                profile = waiting_profile(site.waiting_ma, self._services.clock.utc_ms())
                accepted = False
                with contextlib.suppress(V2GError):  # reported in the answer to the command
                    accepted = (await self._charging.set_profile(station_id, 0, profile)).status == "Accepted"
                if not accepted:  # its transactions may draw all that they can
                    run, now_ms = self._services.store.run, self._services.clock.utc_ms()
                    await run(charging.clear_profiles, station_id, now_ms, profile_id=WAITING_PROFILE)

    async def balance(
        self, site: Site, at: Mapping[str, Sequence[str]] = {}, booted: Collection[str | None] = ()
    ) -> dict[str, int]:
        """Balance a site and notify its stations; return the present limit of each EVSE (mA), as far as known.

        What a station does not lower is taken from the others. An overload that then remains is reported. `at`: the
        sites of each EVSE; one of several is balanced by the first, and counts here with what it may draw there.
        `booted`: stations that may have lost their shares; those of OCPP 1.6 cannot say so.
        """
        own = site  # without the limits of the grid, which are no fuse's
        site, part_w = await self._services[GridShares].limited(site)
        known, given = await look_at(self._services, site)
        self._services[GridShares].name(
            {each.station_id: beyond for each in site.places if (beyond := beyond_w(each, known[each.id], given))},
            site.id,
        )
        places = {place.id: place for place in site.places}
        kept = {place.id for place in site.places if place.id in at and at[place.id][0] != site.id}
        for each in sorted(kept - self._twice):
            self._services.announce("ocpp", "evse_at_several_sites", evse=each, sites=", ".join(at[each]))
        self._twice |= kept
        chosen: dict[str, int] = {}

        async def send(change: Change) -> bool:
            name = change.load
            return await self._send(change, places[name], known[name], chosen.get(name), given)

        while True:
            chosen = chosen_phases(site, known)
            now_ms = self._services.clock.utc_ms()
            loads = [
                msgspec.structs.replace(load, fixed=given[load.id]) if load.id in kept and load.fixed is None else load
                for load in loads_of(site, known, given, now_ms)
            ]
            wanted = share(site.nodes, loads)
            free = {load.id: given[load.id] for load in loads if load.fixed is None}
            lower, raises = changes(free, {name: wanted[name] for name in free}, least_raise=site.least_raise_ma)
            changed = {change.load for change in (*lower, *raises)}
            lower += [
                Change(name, min(wanted[name], limit))
                for name, limit in free.items()
                if name not in changed
                and (places[name].station_id in booted or self._knows_another(places[name], known, chosen.get(name)))
            ]
            booted, taken = (), await for_each(lower, send)
            for change, took in zip(lower, taken, strict=True):
                name, line = change.load, chosen.get(change.load)
                if took:  # its power was read before
                    known[name] = msgspec.structs.replace(known[name], drawn_w=0)
                if took and line is not None:
                    known[name] = msgspec.structs.replace(known[name], phase_to_use=line + 1)
                elif line is not None and known[name].phase_to_use != line + 1:  # once more, without a phase
                    known[name] = msgspec.structs.replace(known[name], selects_phase=False)
                elif not took:
                    kept.add(name)
            if all(taken):
                break
        since, _ = await look_at(self._services, site) if raises else (known, given)
        if all(since[name].dispatch_w == about.dispatch_w for name, about in known.items()):
            await for_each(raises, send)  # else a vehicle was dispatched meanwhile; start again
        drawn = {load.id: given[load.id] if load.fixed is None else load.fixed for load in loads}
        homes = {place.id: place.node for place in own.places}
        of_fuses = [msgspec.structs.replace(load, node=homes[load.id]) for load in loads]
        self._report_overload(site.id, overload(own.nodes, of_fuses, drawn))
        if overload(site.nodes, loads, drawn) is None:
            await self._services[GridShares].site_within(site.id, part_w)
        return given

    async def _send(self, change: Change, place: Place, about: Known, line: int | None, given: dict[str, int]) -> bool:
        """Send an EVSE its share, on the chosen phase or on all; return whether it was accepted, and is `given` now."""
        phase = None if line is None else line + 1
        assert about.transaction is not None
        now_ms, evse = self._services.clock.utc_ms(), (place.station_id, place.evse_id)
        shared = (place.evse_id, change.limit, len(place.phases), now_ms, about.transaction.transaction_id)
        profile = share_profile(*shared, phase_to_use=phase)
        spread = _spread(place, about, phase)
        try:
            status = await self._charging.share(*evse, profile, phases=spread[1])
        except (TimeoutExpired, TransportError):
            if change.limit > given[place.id]:  # it may have accepted it: assume so
                await self._services.store.run(charging.save_profile, *evse, profile, charging.CSO, now_ms)
                given[place.id] = change.limit
            return False
        except V2GError:
            return False
        data: dict[str, Scalar] = {"evse": place.evse_id, "limit_ma": change.limit, "status": status}
        self._services.report("ocpp", "share", place.station_id, data)
        if status != "Accepted":
            return False
        given[place.id], self._spread[place.id] = change.limit, spread
        return True

    def _knows_another(self, place: Place, known: Mapping[str, Known], line: int | None) -> bool:
        """Return whether a station knows its share on another phase, or in W for others than its vehicle uses."""
        about = known[place.id]
        of_line = line is not None and about.phase_to_use != line + 1
        return of_line or (about.in_watts and self._spread.get(place.id) != _spread(place, about, line))

    def _report_overload(self, site_id: str, found: Overload | None) -> None:
        """Report that a site's stations may draw more than a fuse of it carries, and when they no longer may."""
        services, before = self._services, self._overloads.pop(site_id, None)
        if found is not None:
            self._overloads[site_id] = found
        excess_ma = 0 if found is None else found.excess_ma
        services.metrics.site_overloaded(site_id, excess_ma)
        services[Overloads][site_id] = excess_ma / 1000
        if found == before:
            return
        if found is None:
            services.announce("ocpp", "site_overload_ended", site=site_id)
        else:
            phase, above = LINE_NAMES[found.phase], None if found.other is None else LINE_NAMES[found.other]
            services.announce(
                "ocpp", "site_overloaded", site=site_id, node=found.node, phase=phase, above=above, excess_ma=excess_ma
            )

    def _leads(self, site: Site) -> bool:
        """Return whether this node balances a site: its first connected station is here.

        While none is connected anywhere, the last one goes on: what stations were given flows without a connection.
        """
        connections = self._services.connections
        connected = connections.connected()
        first = next((place.station_id for place in site.places if place.station_id in connected), None)
        if first in connections.connected_here():
            self._led.add(site.id)
        elif first is not None:
            self._led.discard(site.id)
        return site.id in self._led


def _spread(place: Place, about: Known, line: int | None) -> tuple[str, int]:
    assert about.transaction is not None
    return about.transaction.transaction_id, 1 if line is not None else sure_phases(place, about)


async def hold_back(services: Services, station_id: str, evse_id: int, transaction_id: str) -> bool:
    """Limit a transaction at a site that has no share yet, before it gets another profile of its own: any overrules the
    default for those without a share (K01, TxProfile over TxDefaultProfile). Return whether it has a limit now."""
    read, name = services.store.read, f"{station_id}/{evse_id}"
    if await read(charging.profile, station_id, WAITING_PROFILE) is None:
        return True
    held = await read(charging.profile, station_id, SHARE_PROFILE + evse_id)
    if held is not None and held.transaction_id == transaction_id:
        return True
    sites = await read(rows.all_sites)
    found = next(((site, place) for site in sites for place in site.places if place.id == name), None)
    if found is None:
        return True
    site, place = found
    now_ms = services.clock.utc_ms()
    profile = share_profile(evse_id, site.waiting_ma, len(place.phases), now_ms, transaction_id)
    with contextlib.suppress(V2GError):  # reported in the answer to the command
        return await SmartCharging(services).share(station_id, evse_id, profile) == "Accepted"
    return False


async def look_at(services: Services, site: Site) -> tuple[dict[str, Known], dict[str, int]]:
    """Return the state of a site's EVSEs, and the last limit (mA) of each with a transaction or a share.

    Before its first share a transaction may draw `waiting_ma`, or all that its EVSE can where the station does not hold
    that default.
    """
    connected = services.connections.connected()
    known: dict[str, Known] = {}
    given: dict[str, int] = {}
    stations = sorted({place.station_id for place in site.places})
    now_ms, followed_ms = services.clock.utc_ms(), services[GridShares].followed_ms
    found = await services.store.read(charging.look_all, stations, now_ms, followed_ms)
    for place in sorted(site.places, key=lambda place: place.station_id):
        seen = found[place.station_id]
        about = seen.known.get(place.evse_id, Known(external=seen.station))
        known[place.id] = msgspec.structs.replace(
            about, connected=place.station_id in connected, uncontrolled=place.evse_id in seen.uncontrolled
        )
        if place.evse_id in seen.shares:
            given[place.id] = seen.shares[place.evse_id]
        elif about.transaction is not None:
            given[place.id] = min(place.most_ma, site.waiting_ma) if seen.waiting else place.most_ma
    return known, given
