"""Every five minutes: what all stations and those of each site did, for charts beside yesterday's, and use by hour."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from csms.fleets import store as fleets
from csms.overview.rules import PowerPoint
from csms.overview.store import power_course
from csms.sites.rules import Site, site_of_stations
from csms.stations.tables import connectors
from csms.transactions.powers import FRESH_MS, connection_readings, powers
from v2g.energy.conductors import VOLTAGE
from v2g.energy.grid_signal import ALL, ConnectionPoint, GridLimit
from v2g.typed_json import Fields

STEP_MS: Final = 300_000
"""Distance of points."""

_OUT: Final = frozenset({"Faulted", "Unavailable"})


def has(connection: Connection, at_ms: int) -> bool:
    """Return whether a point is stored."""
    there = (power_course.c.site_id == "") & (power_course.c.at_ms == at_ms)
    return connection.execute(select(power_course.c.at_ms).where(there)).first() is not None


def now(
    connection: Connection,
    sites: Sequence[Site],
    connected: Collection[str],
    limits: Sequence[GridLimit],
    at_ms: int,
    now_ms: int,
) -> list[Fields]:
    """Return the points of a time (UTC ms) as rows: of all stations ("") and of each site."""
    site_of = site_of_stations(sites)
    sums = {name: Counter[str]() for name in ("", *(each.id for each in sites))}

    def add(station_id: str, **values: int) -> None:
        for name in {"", site_of.get(station_id, "")}:
            sums[name].update(values)

    for each in powers(connection, since_ms=now_ms - FRESH_MS):
        watts = each.watts
        power_w = 0 if watts is None else round(watts)
        add(
            each.station_id, sessions=1, unknown=int(watts is None), import_w=max(0, power_w), export_w=max(0, -power_w)
        )
    column = connectors.c
    works: dict[tuple[str, int], bool] = {}
    for station_id, evse_id, status in connection.execute(select(column.station_id, column.evse_id, column.status)):
        key = station_id, evse_id
        works[key] = works.get(key, False) or (station_id in connected and status not in _OUT)
    for (station_id, _), ready in works.items():
        add(station_id, evses=1, ready=int(ready))
    bounds = {site.id: _bounds(site, limits) for site in sites} | {"": _least(limits, ALL)}
    # what grid connections draw beside the vehicles: by a site's meter, else what its fleets expect
    meters = connection_readings(connection, now_ms - FRESH_MS)
    found = {}
    for site in sites:
        own = {each.station_id for each in site.places}
        read = [reading.power_w or 0 for station_id, reading in meters.items() if station_id in own]
        if read and not sums[site.id]["unknown"]:
            found[site.id] = read[-1] - sums[site.id]["import_w"] + sums[site.id]["export_w"]
        elif own and (planned := fleets.expected_base(connection, own, now_ms)) is not None:
            found[site.id] = planned
    base = found | ({"": sum(found.values())} if found else {})
    names = ("import_w", "export_w", "unknown", "sessions", "evses", "ready")
    return [
        {
            "site_id": name, "at_ms": at_ms, **{each: of[each] for each in names},
            "import_limit_w": bounds[name][0], "export_limit_w": bounds[name][1], "base_w": base.get(name),
        }
        for name, of in sums.items()
    ]  # fmt: skip


def _bounds(site: Site, limits: Iterable[GridLimit]) -> tuple[int | None, int | None]:
    """Return what a site may draw and feed back: by its fuses, and the grid's limits there."""
    roots = [each for each in site.nodes if each.parent is None]
    fuses = (
        sum(sum(each.limits) for each in roots) * VOLTAGE // 1000,
        sum(sum(each.feed_back or each.limits) for each in roots) * VOLTAGE // 1000,
    )
    grid = _least(limits, ConnectionPoint(site=site.id))
    least = (round(fuse) if limit is None else min(round(fuse), limit) for fuse, limit in zip(fuses, grid, strict=True))
    drawn, fed_back = least
    return drawn, fed_back


def _least(limits: Iterable[GridLimit], point: ConnectionPoint) -> tuple[int | None, int | None]:
    found: dict[str, int] = {}
    for each in limits:
        watts = sum(each.phases_ma) * VOLTAGE // 1000 if each.phases_ma else each.limit_w
        if each.connection_point == point and watts is not None:
            found[each.direction] = min(found.get(each.direction, round(watts)), round(watts))
    return found.get("import"), found.get("export")


def add(connection: Connection, rows: Sequence[Fields]) -> None:
    """Store points, unless another node has."""
    if not has(connection, rows[0]["at_ms"]):
        connection.execute(insert(power_course), rows)


def read(connection: Connection, site_id: str, from_ms: int, to_ms: int, step_ms: int = STEP_MS) -> list[PowerPoint]:
    """Return the points of a site, or of all stations (""), in `[from_ms, to_ms)`: averages of each step."""
    column = power_course.c
    there = (column.site_id == site_id) & (column.at_ms >= from_ms) & (column.at_ms < to_ms)
    found: dict[int, list[Any]] = {}
    for row in connection.execute(select(power_course).where(there).order_by(column.at_ms)):
        found.setdefault(row.at_ms - (row.at_ms - from_ms) % step_ms, []).append(row)

    def mean(rows: list[object], name: str) -> float:
        return float(sum(getattr(each, name) for each in rows)) / len(rows)

    def known(rows: list[Any]) -> int | None:
        values = [each.base_w for each in rows if each.base_w is not None]
        return round(sum(values) / len(values)) if values else None

    def least(rows: list[object], name: str) -> int | None:
        return min((value for each in rows if (value := getattr(each, name)) is not None), default=None)

    return [
        PowerPoint(
            at_ms=at_ms,
            import_w=round(mean(rows, "import_w")),
            export_w=round(mean(rows, "export_w")),
            unknown=max(each.unknown for each in rows),
            sessions=mean(rows, "sessions"),
            evses=mean(rows, "evses"),
            ready=mean(rows, "ready"),
            import_limit_w=least(rows, "import_limit_w"),
            export_limit_w=least(rows, "export_limit_w"),
            base_w=known(rows),
        )
        for at_ms, rows in found.items()
    ]
