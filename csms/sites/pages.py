"""Sites: is each within its limits, what limits it next, and whose power is lowered, and why."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from csms.console.course import course_of
from csms.console.listing import Column, Listing, show_list
from csms.console.present import flow_bar, number
from csms.console.visit import Visit, page, segment
from csms.fleets import api as fleets
from csms.grid import api as grid
from csms.grid.limits import FUSE, LimitState, tightest
from csms.http.pipeline import Answer
from csms.sites import api as sites
from csms.sites.rules import Place, Site
from csms.smart_charging.limits_in_force import EvseLimits
from v2g.energy.conductors import LINE_NAMES, VOLTAGE, line_current_ma
from v2g.typed_json import Fields

_FLEETS: Final = 50

SITES: Final = (
    Column("site", "Site", lambda row: row["id"], href=lambda row: f"/sites/{segment(row['id'])}"),
    Column("evses", "EVSEs", lambda row: len(row["places"]), "number"),
    Column("connection", "Grid connection, A on L1, L2, L3", lambda row: _connections(row)),
    Column("place", "Place", lambda row: _place_of(row), phone=False),
)


def _connections(site: Fields) -> str:
    """Return the fuses that the grid feeds."""
    roots = (each for each in site["nodes"] if not each["parent"])
    return " ".join(f"{each['id']}: {' / '.join(map(_amperes, each['limits']))}" for each in roots)


def _amperes(milliamperes: int) -> str:
    return number(milliamperes / 1000, 1 if milliamperes % 1000 else 0)


def _place_of(site: Mapping[str, object]) -> str | None:
    known = site["latitude"] is not None and site["longitude"] is not None
    return f"{site['latitude']}, {site['longitude']}" if known else None


@page("/sites", sites.list_sites)
async def list_sites(visit: Visit) -> Answer:
    """List sites."""
    rows = [each async for each in visit.every(sites.list_sites)]
    known = await visit.ask(fleets.list_fleets, limit=_FLEETS)
    empty = "No site. One is stored by v2g csms api put-site NAME --body FILE: fuses, and the EVSEs behind them."
    shown = Listing(title="Sites", columns=SITES, rows=rows, empty=empty)
    return await show_list(visit, shown, template="sites.html", fleets=known)


class PhaseLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A conductor of a fuse: what flows, the least limit in force, and the fuse, A."""

    fuse: str
    line: str
    flows: float
    limit: float
    most: float


class GrantedPower(msgspec.Struct, frozen=True, kw_only=True):
    """What an EVSE's vehicle may draw of what it asks for, W, and why not more; `limits` None without a session."""

    place: Place
    limits: EvseLimits | None
    asked_w: int = 0
    granted_w: int = 0
    why: str = ""
    at: str = ""


@page("/sites/{site_id}", sites.read_site)
async def one_site(visit: Visit) -> Answer:
    """Show a site's power beside its limits, its phases, and whose power is lowered, and why."""
    name = visit.path["site_id"]
    site = await visit.find(Site, sites.read_site, site_id=name)
    limits = await visit.find(tuple[LimitState, ...], grid.list_limits_of_site, site_id=name)
    running = await visit.find(tuple[EvseLimits, ...], sites.list_site_limits, site_id=name)
    now = [each for each in limits if each.from_ms <= visit.now_ms]
    roots = {f"site {name}", *(f"feeder {name}/{node.id}" for node in site.nodes if node.parent is None)}
    course = await course_of(visit, (name,), [each for each in limits if each.connection_point in roots])
    powers = [round(float(each.power_w)) for each in running if each.power_w is not None]
    flows = {
        "import_w": sum(each for each in powers if each > 0),
        "export_w": -sum(each for each in powers if each < 0),
        "unknown": len(running) - len(powers),
    }
    limit_w = min((e.watts for e in now if e.connection_point in roots and e.direction == "import"), default=None)
    base_w = course.last.base_w if course.last is not None else None
    granted = granted_of(site, running, now)
    return visit.show(
        "site.html",
        site=site,
        limits=limits,
        phases=phases_of(site, now),
        granted=granted,
        lowered=sum(bool(each.why) for each in granted),
        tightest=next(iter(tightest(now)), None),
        following=min(
            (each for each in limits if each.from_ms > visit.now_ms and each.direction == "import"),
            key=lambda each: each.from_ms,
            default=None,
        ),
        sums=flows,
        flows=flow_bar(flows["import_w"], flows["export_w"], limit_w, base_w or 0),
        course=course,
    )


def phases_of(site: Site, limits: Iterable[LimitState]) -> list[PhaseLoad]:
    """Return the conductors of the fuses that the grid feeds; a limit in W is the same current on each."""
    found = []
    here = [each for each in limits if each.direction == "import"]
    whole = [each for each in here if each.connection_point == f"site {site.id}"]
    for node in site.nodes:
        own = [each for each in here if each.connection_point == f"feeder {site.id}/{node.id}"]
        fuse = next((each for each in own if each.source == FUSE), None)
        if node.parent is not None or fuse is None:
            continue
        for at, line in enumerate(LINE_NAMES):
            bounds = (
                line_current_ma(each.watts, VOLTAGE, len(LINE_NAMES)) if each.phases_ma is None else each.phases_ma[at]
                for each in (*own, *whole)
            )
            flows, limit, most = fuse.flow_ma[at] / 1000, min(bounds) / 1000, node.limits[at] / 1000
            found.append(PhaseLoad(fuse=node.id, line=line, flows=flows, limit=limit, most=most))
    return found


_WHY: Final = {"external": "Limit from outside", "set_point": "Set-point of dispatch"}


def granted_of(site: Site, running: Sequence[EvseLimits], limits: Iterable[LimitState]) -> list[GrantedPower]:
    """Return what each EVSE's vehicle may draw, the lowered ones first: less than vehicle and EVSE could."""
    of = {(each.station_id, each.evse_id): each for each in running}
    inward = sorted((each for each in limits if each.direction == "import"), key=lambda each: each.room_w)
    parents = {node.id: node.parent for node in site.nodes}
    found = []
    for place in site.places:
        own = of.get((place.station_id, place.evse_id))
        if own is None:
            found.append(GrantedPower(place=place, limits=None))
            continue
        most_w = place.most_ma * VOLTAGE * len(place.phases) // 1000
        asked_w = min([most_w, *(each.power_w for each in own.bounds if each.name == "vehicle")])
        least = min(own.bounds, key=lambda each: each.power_w, default=None)
        granted_w = asked_w if least is None else max(0, min(asked_w, least.power_w))
        why, at = "", ""
        if least is not None and granted_w < asked_w - asked_w // 50:
            why = _WHY.get(least.name, "")
            at = least.source
            if least.name == "share":
                points, node = {f"EVSE {place.station_id}/{place.evse_id}", f"site {site.id}"}, place.node
                while node:
                    points.add(f"feeder {site.id}/{node}")
                    node = parents[node] or ""
                why = "Others share"
                at = next((each.connection_point for each in inward if each.connection_point in points), "")
        found.append(GrantedPower(place=place, limits=own, asked_w=asked_w, granted_w=granted_w, why=why, at=at))
    return sorted(found, key=lambda each: (not each.why, each.limits is None))
