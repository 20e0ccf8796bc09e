"""Set-points in force of nodes, what vehicles have followed of them, and the stations that may hold some."""

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, String, Text, case, cast, func, select

from csms.db.base import declare_table
from csms.db.bulk import upsert_rows
from csms.db.leases import lock
from csms.dispatch.rules import Order
from csms.smart_charging import store as charging
from csms.smart_charging.rules import DISPATCH_PROFILE, LONGEST_SETPOINT_MS
from csms.smart_charging.tables import dynamic_schedules
from v2g import typed_json

_ORDERS: Final = "dispatch orders"
"""Name of a lock; no station has it, as there is a blank in it."""

dispatch_course: Final = declare_table(
    "dispatch_course",
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("node", String(64), primary_key=True),
    Column("asked_w", BigInteger, nullable=False),
    Column("accepted_w", BigInteger, nullable=False),
    Column("delivered_w", BigInteger),
    Column("vehicles", Integer, nullable=False),
)
"""Minute by minute: set-points that a node was asked for, what vehicles follow of them, and their power."""

dispatch_orders: Final = declare_table(
    "dispatch_orders", Column("node", String(64), primary_key=True), Column("document", Text, nullable=False)
)
"""Set-points in force of a node."""


class CoursePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Set-points in a minute from `at_ms` (UTC) on, W, negative out of vehicles: asked for, what `vehicles` vehicles
    follow of them, and the power of these, None where that of one is unknown."""

    at_ms: int
    asked_w: int
    accepted_w: int
    delivered_w: int | None
    vehicles: int


def note_course(connection: Connection, node: str, point: CoursePoint) -> None:
    """Store a node's point, replacing one of the same minute."""
    upsert_rows(connection, dispatch_course, [{"node": node} | msgspec.structs.asdict(point)])


def put_order(connection: Connection, node: str, order: Order, now_ms: int) -> None:
    """Put a set-point of a node in force, in place of all nodes' set-points for the same vehicles, so that the one that
    is stored last counts (Q04)."""
    lock(connection, (_ORDERS,))
    before = _orders(connection)
    left = {
        name: [each for each in found if each.until_ms > now_ms and not each.meets(order)]
        for name, found in before.items()
    }
    left[node] = [*left.get(node, ()), order]
    changed = [name for name, found in left.items() if found != before.get(name)]
    rows = [{"node": name, "document": msgspec.json.encode(left[name]).decode()} for name in changed]
    upsert_rows(connection, dispatch_orders, rows)


def orders(connection: Connection, node: str, living: Collection[str], now_ms: int) -> list[Order]:
    """Return the set-points in force of a node; the first of those that are `living` has also those of the others."""
    first = node == min(living, default=node)
    found = sorted(_orders(connection).items())
    mine = (each for name, each in found if name == node or (first and name not in living))
    return [order for each in mine for order in each if order.until_ms > now_ms]


def _orders(connection: Connection) -> dict[str, list[Order]]:
    rows = connection.execute(select(dispatch_orders))
    return {row.node: typed_json.decode(row.document, list[Order]) for row in rows}


def course(connection: Connection, from_ms: int) -> list[CoursePoint]:
    """Return the points of all nodes together, from a time on."""
    there = dispatch_course.c
    summed = (there.asked_w, there.accepted_w, there.vehicles)
    sums = [cast(func.sum(each), BigInteger).label(each.name) for each in summed]  # PostgreSQL: NUMERIC
    known = func.count(there.delivered_w) == func.count()
    delivered = case((known, cast(func.sum(there.delivered_w), BigInteger))).label("delivered_w")
    query = select(there.at_ms, *sums, delivered).where(there.at_ms >= from_ms)
    rows = connection.execute(query.group_by(there.at_ms).order_by(there.at_ms))
    return [CoursePoint(**row._mapping) for row in rows]


def dispatched_stations(connection: Connection, now_ms: int) -> list[str]:
    """Return the stations that may have valid dynamic profiles."""
    recent = dynamic_schedules.c.updated_ms > now_ms - LONGEST_SETPOINT_MS
    return list(connection.execute(select(dynamic_schedules.c.station_id).where(recent).distinct()).scalars())


def forget_dispatch(connection: Connection, station_id: str, now_ms: int) -> None:
    """Delete the dynamic profiles of dispatch: the station no longer has any."""
    for evse_id, _, held in charging.profiles(connection, station_id):
        if held.id == DISPATCH_PROFILE + evse_id and held.charging_profile_kind == "Dynamic":
            charging.clear_profiles(connection, station_id, now_ms, profile_id=held.id)
            charging.put_back(connection, station_id, held.id, None)
