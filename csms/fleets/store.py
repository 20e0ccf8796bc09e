"""Fleets that are planned together, calls of their flexibility, and the plans that they follow."""

import bisect
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, select, update

from csms.db.bulk import upsert_rows
from csms.db.documents import Documents
from csms.fleets.rules import Fleet, FleetBid, FleetCall, known_sum
from csms.fleets.tables import fleet_bids, fleet_course, fleet_quarters, fleets
from v2g import typed_json
from v2g.energy.dispatch.forecast import FleetQuarter
from v2g.units import LAST_MS, QUARTER_MS


def _fleet(document: str) -> Fleet:
    """Return a stored fleet, without what those stored by version 0.1 still have."""
    fields = msgspec.json.decode(document)
    for name in ("preheat_below_c", "preheat_ms"):
        fields.get("climate", {}).pop(name, None)
    return typed_json.decode(msgspec.json.encode(fields), Fleet)


_fleets: Final = Documents(fleets, _fleet)

get = _fleets.find
every = _fleets.all
remove = _fleets.remove


def save(connection: Connection, fleet: Fleet, now_ms: int) -> None:
    """Store a fleet, replacing one of the same id; a call goes on."""
    _fleets.save(connection, fleet.id, fleet, updated_ms=now_ms)


def put_call(connection: Connection, fleet_id: str, of: FleetCall | None, instead_of: FleetCall | None = None) -> None:
    """Store the call of a fleet's flexibility, None when it has ended; not where there is another one meanwhile."""
    if instead_of is not None and call(connection, fleet_id) != instead_of:
        return
    text = None if of is None else msgspec.json.encode(of).decode()
    connection.execute(update(fleets).where(fleets.c.fleet_id == fleet_id).values(call=text))


def call(connection: Connection, fleet_id: str) -> FleetCall | None:
    """Return the call of a fleet's flexibility."""
    document = connection.execute(select(fleets.c.call).where(fleets.c.fleet_id == fleet_id)).scalar()
    return None if document is None else typed_json.decode(document, FleetCall)


class PlannedPower(msgspec.Struct, frozen=True, kw_only=True):
    """From `at_ms` (UTC) on until the next, W: what vehicles are to draw by the plans that are followed, below 0 out of
    them, and what is expected beside them at the grid connection, below 0 fed in; null: unknown."""

    at_ms: int
    power_w: int | None
    base_w: int | None


def put_planned(connection: Connection, fleet_id: str, points: Sequence[tuple[int, int]]) -> None:
    """Store the plan that a fleet follows: from a time (UTC ms) on, so much power, W; the last point ends it."""
    text = msgspec.json.encode(points).decode()
    connection.execute(update(fleets).where(fleets.c.fleet_id == fleet_id).values(planned=text))


def planned(
    connection: Connection, stations: Collection[str] | None, from_ms: int, to_ms: int, step_ms: int
) -> list[PlannedPower]:
    """Return what active fleets of these stations (None: of all) have planned and expect at each step of
    `[from_ms, to_ms)`: as it was then, and by the plan of now."""
    known = list(_of(connection, stations))
    there = fleet_course.c
    query = select(there.fleet_id, there.at_ms, there.planned_w).order_by(there.at_ms)
    here = there.fleet_id.in_([fleet.id for fleet, _ in known]) & (there.at_ms >= from_ms) & (there.at_ms < to_ms)
    past = {
        (row.fleet_id, row.at_ms - (row.at_ms - from_ms) % step_ms): row.planned_w
        for row in connection.execute(query.where(here))
    }
    found = []
    for at_ms in range(from_ms, to_ms, step_ms):
        powers = [past[fleet.id, at_ms] for fleet, _ in known if (fleet.id, at_ms) in past]
        for fleet, points in known:
            index = bisect.bisect_right(points, at_ms, key=lambda each: each[0])
            if (fleet.id, at_ms) not in past and 0 < index < len(points):
                powers.append(points[index - 1][1])
        power_w, base_w = known_sum(powers), known_sum(fleet.base_w(at_ms) for fleet, _ in known)
        if power_w is not None or base_w is not None:
            found.append(PlannedPower(at_ms=at_ms, power_w=power_w, base_w=base_w))
    return found


def expected_base(connection: Connection, stations: Collection[str], at_ms: int) -> int | None:
    """Return what fleets of these stations expect beside their vehicles, W, at a time; None if nothing is known."""
    return known_sum(fleet.base_w(at_ms) for fleet, _ in _of(connection, stations))


def _of(connection: Connection, stations: Collection[str] | None) -> Iterator[tuple[Fleet, list[tuple[int, int]]]]:
    """Yield active fleets all of whose stations are among these, None: all fleets, each with its plan."""
    for row in connection.execute(select(fleets.c.document, fleets.c.planned).order_by(fleets.c.fleet_id)):
        fleet = _fleet(row.document)
        if fleet.active and (stations is None or (fleet.stations and set(fleet.stations) <= set(stations))):
            yield fleet, _points(row.planned or "[]")


class FleetPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet in a minute from `at_ms` (UTC) on, W, negative out of vehicles: what its plan said, what was asked for
    (less while set-points rise step by step, and by a call), what `vehicles` vehicles follow, and their power, None if
    that of one is unknown."""

    at_ms: int
    planned_w: int
    asked_w: int
    accepted_w: int
    delivered_w: int | None
    vehicles: int


def note_course(connection: Connection, fleet_id: str, point: FleetPoint) -> None:
    """Store a fleet's point, replacing one of the same minute."""
    upsert_rows(connection, fleet_course, [{"fleet_id": fleet_id, **msgspec.structs.asdict(point)}])


def course(connection: Connection, fleet_id: str, from_ms: int) -> list[FleetPoint]:
    """Return a fleet's points from a time on."""
    there = fleet_course.c
    columns = [there[name] for name in FleetPoint.__struct_fields__]
    query = select(*columns).where((there.fleet_id == fleet_id) & (there.at_ms >= from_ms)).order_by(there.at_ms)
    return [FleetPoint(**row._mapping) for row in connection.execute(query)]


def note_quarter(connection: Connection, fleet_id: str, now: FleetQuarter) -> None:
    """Add what a fleet draws and can do at a time to the means of its quarter hour."""
    there = fleet_quarters.c
    at_ms = now.at_ms - now.at_ms % QUARTER_MS
    row = connection.execute(
        select(fleet_quarters).where((there.fleet_id == fleet_id) & (there.at_ms == at_ms))
    ).one_or_none()
    count = 0 if row is None else row.samples
    means = {
        name: getattr(now, name)
        if row is None
        else round((getattr(row, name) * count + getattr(now, name)) / (count + 1))
        for name in ("load_w", "up_w", "down_w")
    }
    upsert_rows(connection, fleet_quarters, [{"fleet_id": fleet_id, "at_ms": at_ms, "samples": count + 1, **means}])


def put_quarters(connection: Connection, fleet_id: str, known: Sequence[FleetQuarter]) -> None:
    """Store quarter hours of a fleet, replacing those of the same times."""
    rows = [{"fleet_id": fleet_id, "samples": 1, **msgspec.structs.asdict(each)} for each in known]
    upsert_rows(connection, fleet_quarters, rows)


def quarters(connection: Connection, fleet_id: str, from_ms: int) -> list[FleetQuarter]:
    """Return a fleet's quarter hours from a time on."""
    there = fleet_quarters.c
    query = select(there.at_ms, there.load_w, there.up_w, there.down_w).order_by(there.at_ms)
    return [
        FleetQuarter(*row)
        for row in connection.execute(query.where((there.fleet_id == fleet_id) & (there.at_ms >= from_ms)))
    ]


def put_bid(connection: Connection, bid: FleetBid) -> None:
    """Store a bid, replacing one of the same id."""
    document = msgspec.json.encode(bid).decode()
    row = {"bid_id": bid.id, "fleet_id": bid.fleet_id, "start_ms": bid.start_ms, "document": document}
    upsert_rows(connection, fleet_bids, [row])


def bid(connection: Connection, fleet_id: str, bid_id: str) -> FleetBid | None:
    """Return a fleet's bid."""
    there = fleet_bids.c
    query = select(there.document).where((there.fleet_id == fleet_id) & (there.bid_id == bid_id))
    document = connection.execute(query).scalar()
    return None if document is None else typed_json.decode(document, FleetBid)


def bids_of(connection: Connection, fleet_id: str, from_ms: int = 0, to_ms: int = LAST_MS) -> list[FleetBid]:
    """Return a fleet's bids whose periods begin in a time, in their order."""
    there = fleet_bids.c
    within = (there.fleet_id == fleet_id) & (there.start_ms >= from_ms) & (there.start_ms < to_ms)
    query = select(there.document).where(within).order_by(there.start_ms, there.bid_id)
    return [typed_json.decode(document, FleetBid) for document in connection.execute(query).scalars()]


_points = typed_json.decoder(list[tuple[int, int]]).decode
