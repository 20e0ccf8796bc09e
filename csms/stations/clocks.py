"""Keeps stations' clocks at their sites' local time, used for prices and profiles (ClockCtrlr)."""

from collections.abc import Collection
from typing import Final

from csms.device_model.store import list_variables
from csms.device_model.work import set_variables
from csms.requests.work import for_each
from csms.services import Services
from csms.sites import store as site_store
from csms.stations.rules import CLOCK, ClockSettings, by_name, by_offset, data_of, mirror_of
from v2g.errors import V2GError
from v2g.observe import Scalar

_BOOTED: Final = "boot_accepted"
_CHANGED: Final = "site_changed"
_SET: Final = frozenset({"Accepted", "RebootRequired"})
_DAY_S: Final = 86_400.0


async def clock_settings(services: Services, stations: Collection[str]) -> dict[str, ClockSettings]:
    """Return the settings of some stations' clocks, by their sites."""
    default = services.config.ocpp.time_zone
    configured = {
        place.station_id: ClockSettings(
            zone=site.known_zone or default,
            sources=site.time_sources,
            unknown=site.zone if site.zone != site.known_zone else "",
        )
        for site in await services.store.read(site_store.all_sites)
        for place in site.places
    }
    return {each: configured.get(each, ClockSettings(zone=default)) for each in sorted(stations)}


class ClockKeeper:
    """Sets the clocks of stations that are connected to this node: after a boot, when a site changes, and each day."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Set clocks, for ever."""
        services = self._services
        with services.feed.subscribe({_BOOTED, _CHANGED}) as news:
            await self.set_all(services.connections.connected_here())
            while True:
                events = await news.batch(services.config.balancing.settle_s, within_s=_DAY_S)
                here = services.connections.connected_here()
                only_boots = events and all(each.kind == _BOOTED for each in events)
                await self.set_all(here & {each.station_id for each in events} if only_boots else here)

    async def set_all(self, stations: Collection[str]) -> None:
        """Set the clocks of some stations, as far as configured and necessary."""
        wanted = await clock_settings(self._services, stations)
        await for_each(
            (each for each, settings in wanted.items() if settings != ClockSettings()),
            lambda each: self._set(each, wanted[each]),
        )

    async def _set(self, station_id: str, settings: ClockSettings) -> None:
        """Set a station's clock: by the zone's name if supported, else by its offset."""
        services = self._services
        if settings.unknown:
            reason = f"unknown time zone; {settings.zone or 'none'} in its place"
            self._report("clock_not_set", station_id, zone=settings.unknown, reason=reason)
        try:
            mirror = mirror_of(await services.store.read(list_variables, station_id, CLOCK))
            named = await self._write(station_id, by_name(settings, mirror))
            knows = mirror.values.get(("TimeZone", "")) == settings.zone or named.get(("TimeZone", "")) in _SET
            if settings.zone and not knows:
                named |= await self._write(station_id, by_offset(settings, mirror, services.clock.utc_ms()))
                knows = named.get(("TimeOffset", ""), "Accepted") in _SET
        except V2GError as error:
            self._report("clock_not_set", station_id, zone=settings.zone, reason=str(error)[:200])
            return
        refused = {name: status for (name, _), status in named.items() if status not in _SET}
        if refused and not (knows and set(refused) <= {"TimeZone"}):
            reason = ", ".join(f"{name}: {status}" for name, status in refused.items())
            self._report("clock_not_set", station_id, zone=settings.zone, reason=reason)
        elif named:
            self._report("clock_set", station_id, zone=settings.zone)

    async def _write(self, station_id: str, values: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        """Set variables; return the station's answer to each."""
        if not values:
            return {}
        results = await set_variables(self._services, station_id, data_of(values))
        return {(each.variable.name, each.variable.instance or ""): each.attribute_status for each in results}

    def _report(self, name: str, station_id: str, **data: Scalar) -> None:
        self._services.report("ocpp", name, station_id, data)
