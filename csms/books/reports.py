"""Sums over transactions that ended: energy, time, and what they cost, of whichever source has the amount.

Each transaction counts once. Where the session of a transaction is booked from its journal, energy and money are those
of its posting; otherwise energy is that of its registers, and money its stored cost. Money is what is billed: each
transaction's is rounded, not the sum.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

import msgspec
import sqlalchemy as sa

from csms.booking.held import OPEN
from csms.books.tables import billed
from csms.db.base import AnyColumn, AnySelect
from csms.sites import store as site_store
from csms.tariffs.tables import transaction_costs, transaction_plans
from csms.transactions.tables import booked_transactions, held_transactions, transaction_totals
from v2g.units import LAST_MS, MINUTE_MS, QUARTER_MS

Grouping = Literal["month", "day", "site", "station", "token", "tariff"]

_LAST_DAY_MS: Final = LAST_MS - 86_400_000
"""Stations' clocks may be wrong; no zone brings this time beyond the calendar."""

_totals = transaction_totals.c


class Sum(msgspec.Struct, kw_only=True):
    """The transactions of a group in a currency; `group` is empty where they have none, `currency` without a price.

    Energy in mWh, time from start to end in ms, money in micro-units. `preliminary`: how many have no final cost.
    `held` and `unpriced` ones wait for a person: they count nowhere else.
    """

    group: str
    currency: str
    transactions: int = 0
    held: int = 0
    unpriced: int = 0
    preliminary: int = 0
    import_mwh: int = 0
    export_mwh: int = 0
    duration_ms: int = 0
    net: int = 0
    gross: int = 0


def sums(
    connection: sa.Connection,
    by: Grouping,
    zone: tzinfo,
    begin_ms: int | None = None,
    end_ms: int | None = None,
    only: frozenset[str] | None = None,
) -> list[Sum]:
    """Return the sums of transactions that ended in `[begin_ms, end_ms)` (UTC), in order of group and currency.

    Days and months are of `zone`. A tariff is the plan at the start, else what the station reported. A transaction in
    several currencies counts, with its energy, in the first of them; each has its money. Running ones are left out, and
    rejected ones.
    `only`: stations; None is all.
    """
    wanted = _wanted(begin_ms, end_ms, only)
    columns, joined, name = _grouping(connection, by, zone)
    found: dict[tuple[str, str], Sum] = {}
    for row in connection.execute(_by_group(columns, joined, wanted)):
        key = name(*row[: len(columns)]), row.currency or ""
        of = found.setdefault(key, Sum(group=key[0], currency=key[1]))
        for each in Sum.__struct_fields__[2:]:
            setattr(of, each, getattr(of, each) + int(getattr(row, each)))
    return [found[key] for key in sorted(found) if any(msgspec.structs.astuple(found[key])[2:])]


class ChargingEntry(msgspec.Struct, frozen=True):
    """An ended transaction in a currency: energy in mWh and gross in micro-units."""

    station_id: str
    transaction_id: str
    token: str
    end_ms: int
    duration_ms: int
    import_mwh: int
    export_mwh: int
    currency: str
    gross: int


def entries(
    connection: sa.Connection, begin_ms: int | None, end_ms: int | None, only: frozenset[str] | None, limit: int
) -> list[ChargingEntry]:
    """Return what the sums are made of, in order of end: transactions that count, as in `sums`."""
    lasted = _totals.duration_ms.label("lasted_ms")
    columns = (_totals.end_ms, _totals.station_id, _totals.transaction_id, _totals.token, lasted)
    found = _by_group(columns, transaction_totals, _wanted(begin_ms, end_ms, only)).subquery()
    counted = sa.select(found).where(found.c.held == 0, found.c.unpriced == 0)
    query = counted.order_by(*list(found.c)[: len(columns)]).limit(limit)
    return [
        ChargingEntry(
            row.station_id, row.transaction_id, row.token, row.end_ms, row.lasted_ms, int(row.import_mwh),
            int(row.export_mwh), row.currency or "", int(row.gross),
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def _wanted(begin_ms: int | None, end_ms: int | None, only: frozenset[str] | None) -> sa.ColumnElement[bool]:
    wanted: sa.ColumnElement[bool] = sa.true()
    if begin_ms is not None:
        wanted &= _totals.end_ms >= begin_ms
    if end_ms is not None:
        wanted &= _totals.end_ms < end_ms
    if only is not None:
        wanted &= _totals.station_id.in_(only)
    return wanted


def _same(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that rows are of the same transaction as the totals."""
    return sa.and_(table.c.station_id == _totals.station_id, table.c.transaction_id == _totals.transaction_id)


def _by_group(columns: tuple[AnyColumn, ...], joined: sa.FromClause, wanted: sa.ColumnElement[bool]) -> AnySelect:
    """Return the query, in which a transaction has a row for each currency of its postings, and counts in the first."""
    booked, cost = booked_transactions.c, transaction_costs.c
    unposted = booked.net.is_(None)
    once = unposted | booked.import_mwh.is_not(None)
    waits = unposted & held_transactions.c.state.in_(OPEN)

    def counted(value: AnyColumn) -> AnyColumn:
        return sa.func.sum(sa.case((once & ~sa.func.coalesce(waits, sa.false()), value), else_=0))

    def waiting(*, unpriced: bool) -> AnyColumn:
        reason = (held_transactions.c.reason == "unpriced") == sa.literal(unpriced)
        return sa.func.sum(sa.case((waits & (held_transactions.c.state == "quarantined") & reason, 1), else_=0))

    currency = sa.func.coalesce(sa.func.nullif(booked.currency, ""), cost.currency).label("currency")
    source = joined
    for table in (transaction_costs, held_transactions, booked_transactions):
        source = source.outerjoin(table, _same(table))
    query = sa.select(
        *columns,
        currency,
        counted(sa.literal(1)).label("transactions"),
        waiting(unpriced=False).label("held"),
        waiting(unpriced=True).label("unpriced"),
        sa.func.sum(sa.case((unposted & cost.final.is_(False), 1), else_=0)).label("preliminary"),
        counted(sa.func.coalesce(booked.import_mwh, _totals.import_mwh)).label("import_mwh"),
        counted(sa.func.coalesce(booked.export_mwh, _totals.export_mwh)).label("export_mwh"),
        counted(_totals.duration_ms).label("duration_ms"),
        sa.func.sum(billed(sa.func.coalesce(booked.net, cost.excl_tax, 0), currency)).label("net"),
        sa.func.sum(billed(sa.func.coalesce(booked.gross, cost.incl_tax, 0), currency)).label("gross"),
    )
    return query.select_from(source).where(wanted).group_by(*columns, currency)


def _grouping(
    connection: sa.Connection, by: Grouping, zone: tzinfo
) -> tuple[tuple[AnyColumn, ...], sa.FromClause, Callable[..., str]]:
    """Return by which columns to group, of which tables, and what names a group of their values."""
    table = transaction_totals
    if by == "station":
        return (_totals.station_id,), table, str
    if by == "token":
        return (_totals.token,), table, str
    if by == "site":
        sites = {
            (place.station_id, place.evse_id): site.id
            for site in site_store.all_sites(connection)
            for place in site.places
        }
        return (_totals.station_id, _totals.evse_id), table, lambda *place: sites.get(place, "")
    if by == "tariff":
        plan, one = transaction_plans.c, transaction_plans.alias().c
        here = one.station_id, one.transaction_id
        first = sa.select(*here, sa.func.min(one.id).label("id")).group_by(*here).subquery()
        joined = table.outerjoin(first, _same(first)).outerjoin(transaction_plans, plan.id == first.c.id)
        return (sa.func.coalesce(plan.plan_id, _totals.tariff),), joined, str
    form = "%Y-%m" if by == "month" else "%Y-%m-%d"
    # a time that no day begins within: offsets of zones are quarters of an hour, unless given as minutes
    offset = zone.utcoffset(None)
    step_ms = QUARTER_MS if not (offset or timedelta()) % timedelta(milliseconds=QUARTER_MS) else MINUTE_MS

    def day(step: int) -> str:
        return (
            datetime.fromtimestamp(min(max(0, step * step_ms), _LAST_DAY_MS) / 1000, UTC)
            .astimezone(zone)
            .strftime(form)
        )

    return (_totals.end_ms // sa.literal_column(str(step_ms), sa.Integer),), table, day
