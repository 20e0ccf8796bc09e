"""Sites: fuses and the EVSEs behind them, among which the back end distributes power (load balancing)."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.backend import SITE_CHANGED
from csms.grid.limits import unbound
from csms.grid.source import GridSource
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, delete, get, post, put
from csms.http.parameters import Paged, StationId, page_of
from csms.http.problems import ApiError, existing
from csms.sites import store as rows
from csms.sites.rules import Site, homes
from csms.sites.work import Balancer
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import Step
from csms.smart_charging.limits_in_force import EvseLimits, evse_limits
from csms.smart_charging.work import SmartCharging
from csms.transactions.powers import FRESH_MS, powers
from v2g.energy.grid_signal import GridSignal

SiteId = Annotated[str, msgspec.Meta(min_length=1, max_length=60, examples=["depot"])]
_EXAMPLE = {
    "id": "depot",
    "nodes": [{"id": "main", "limits": [63_000, 63_000, 63_000]}],
    "places": [{"station_id": "CS-V2G-0001", "evse_id": 1, "node": "main", "most_ma": 32_000}],
}


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """What each EVSE (`station/evse`) may draw now, mA on each phase."""

    shares_ma: dict[str, int]


@get("/sites", Permission.READ_ENERGY)
async def list_sites(call: Call, parameters: Paged) -> Page[Site]:
    """List sites, by id."""
    return page_of(call, await call.run(rows.all_sites), parameters, lambda each: each.id)


@get("/sites/{site_id}", Permission.READ_ENERGY, problems=(404,))
async def read_site(call: Call, site_id: SiteId) -> Site:
    """Return one site."""
    return await _site(call, site_id)


@put("/sites/{site_id}", Permission.WRITE_ENERGY, problems=(409,), conditional=True, example=_EXAMPLE)
async def put_site(call: Call, site_id: SiteId, body: Site) -> Site:
    """Store a site, replacing one of the same id; its power is distributed again.

    An EVSE stands in one site: 409 (`evse_elsewhere`) names the one that has it already.
    """
    if body.id != site_id:
        raise ApiError(400, f"the body has site {body.id}, the path {site_id}")
    if body.zone != body.known_zone:
        raise ApiError(400, f"zone: unknown time zone {body.zone!r}", "such as Europe/Berlin")
    signal = call.services[GridSource].current

    def write(connection: Connection, _before: Site | None) -> None:
        rows.save_site(connection, body, call.now_ms)
        at = homes(rows.all_sites(connection))
        for place in body.places:
            if others := [each for each in at[place.id] if each != body.id]:
                hint = f"take it out of site {others[0]} first"
                raise ApiError(409, f"EVSE {place.id} stands in site {others[0]}", hint, code="evse_elsewhere")
        _check_bound(connection, signal)

    await call.change(lambda connection: rows.site(connection, body.id), write)
    await call.services.connections.decided()
    call.services.feed.publish(SITE_CHANGED, None, {"site": body.id})
    return body


@delete("/sites/{site_id}", Permission.WRITE_ENERGY, problems=(404, 409), conditional=True)
async def delete_site(call: Call, site_id: SiteId) -> None:
    """Delete a site: its EVSEs keep their last limits."""
    signal = call.services[GridSource].current

    def write(connection: Connection, site: Site) -> None:
        rows.remove_site(connection, site.id)
        _check_bound(connection, signal)

    await call.remove("site", lambda connection: rows.site(connection, site_id), write)
    await call.services.connections.decided()
    call.services.feed.publish(SITE_CHANGED, None, {"site": site_id})


def _check_bound(connection: Connection, signal: GridSignal | None) -> None:
    """Refuse a change after which a limit of the grid in force has no connection point. Raises ApiError."""
    if signal is not None and (refusal := unbound(signal.every_limit, rows.all_sites(connection))):
        raise ApiError(409, refusal, "send a grid signal without it first")


@post("/sites/{site_id}/balance", Permission.WRITE_ENERGY, problems=(404,))
async def balance_site(call: Call, site_id: SiteId) -> Shares:
    """Balance a site now, and send the limits to its stations."""
    sites = await call.run(rows.all_sites)
    site = existing("site", next((each for each in sites if each.id == site_id), None))
    return Shares(shares_ma=await Balancer(call.services).balance(site, homes(sites)))


@get("/sites/{site_id}/composite-schedule", Permission.READ_ENERGY, problems=STATION_PROBLEMS)
async def read_site_composite(
    call: Call, site_id: SiteId, duration_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 86_400
) -> tuple[Step, ...]:
    """Return the combined limit of a site's EVSEs over time (W)."""
    return tuple(await SmartCharging(call.services).site_composite(site_id, duration_s))


@get("/stations/{station_id}/evse-limits", Permission.READ_ENERGY)
async def list_evse_limits(call: Call, station_id: StationId) -> tuple[EvseLimits, ...]:
    """List what limits the running transactions of a station, lowest first, and what dispatch asked of each."""
    seen = await call.run(charging.look, station_id, call.now_ms)
    return await _limits(call, {station_id: seen}, {})


@get("/sites/{site_id}/evse-limits", Permission.READ_ENERGY, problems=(404,))
async def list_site_limits(call: Call, site_id: SiteId) -> tuple[EvseLimits, ...]:
    """List what limits the running transactions of a site, lowest first, and what dispatch asked of each."""
    site = await _site(call, site_id)
    phases = {(each.station_id, each.evse_id): len(each.phases) for each in site.places}
    seen = await call.run(charging.look_all, sorted({each.station_id for each in site.places}), call.now_ms)
    return tuple(each for each in await _limits(call, seen, phases) if (each.station_id, each.evse_id) in phases)


async def _limits(
    call: Call, seen: Mapping[str, charging.Seen], phases: Mapping[tuple[str, int], int]
) -> tuple[EvseLimits, ...]:
    """Return limits of transactions; power that is old or that an EVSE cannot have is unknown, as sums are made of it
    (R194)."""
    listed = [
        found
        for station_id, one in seen.items()
        for evse_id, known in sorted(one.known.items())
        if (found := evse_limits(station_id, known, one.shares.get(evse_id), phases.get((station_id, evse_id), 3)))
    ]
    running = await call.run(powers, frozenset(seen), call.now_ms - FRESH_MS)
    believed = {(each.station_id, each.transaction_id) for each in running if each.watts is not None}
    return tuple(
        each if (each.station_id, each.transaction_id) in believed else msgspec.structs.replace(each, power_w=None)
        for each in listed
    )


async def _site(call: Call, site_id: str) -> Site:
    return existing("site", await call.run(rows.site, site_id))
