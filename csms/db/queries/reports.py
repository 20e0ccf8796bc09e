"""Sums over transactions that ended: energy, time, and what they cost, of whichever source has the amount.

Each transaction counts once. Where the session of a transaction is booked from its journal, energy and money are those
of its posting; otherwise energy is that of its registers, and money its stored cost.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select

from csms.db.queries import charging
from csms.db.tables import (
    journal_reviews,
    posting_entries,
    postings,
    transaction_costs,
    transaction_plans,
    transactions,
)
from csms.domain.authorization.authorize import normalise
from csms.domain.transactions.transactions import Dated
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import MILLIWATT_HOURS
from v2g.units import LAST_MS

Grouping = Literal["month", "day", "site", "station", "token", "tariff"]

_LAST_DAY_MS: Final = LAST_MS - 86_400_000
"""Stations' clocks may be wrong; no zone brings this time beyond the calendar."""


class Sum(msgspec.Struct, kw_only=True):
    """The transactions of a group in a currency; `group` is empty where they have none, `currency` without a price.

    Energy in mWh, time from start to end in ms, money in micro-units. `preliminary`: how many have no final cost.
    """

    group: str
    currency: str
    transactions: int = 0
    preliminary: int = 0
    import_mwh: int = 0
    export_mwh: int = 0
    duration_ms: int = 0
    net: int = 0
    gross: int = 0


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """What counts of a stored `Transaction`."""

    evse_id: int | None = None
    id_token: Dated | None = None
    token_type: Dated | None = None
    tariff_id: Dated | None = None
    import_start_wh: Dated | None = None
    import_wh: Dated | None = None
    export_start_wh: Dated | None = None
    export_wh: Dated | None = None
    closed_ms: int | None = None


class _Booked(NamedTuple):
    """The energy of postings, mWh, and net and gross of each currency."""

    import_mwh: int
    export_mwh: int
    money: dict[str, tuple[int, int]]


_decode = typed_json.decoder(_Part).decode
_PLACE = transactions.c.station_id, transactions.c.transaction_id


def sums(
    connection: Connection,
    by: Grouping,
    zone: tzinfo,
    begin_ms: int | None = None,
    end_ms: int | None = None,
    only: frozenset[str] | None = None,
) -> list[Sum]:
    """Return the sums of transactions that ended in `[begin_ms, end_ms)` (UTC), in order of group and currency.

    Days and months are of `zone`. A tariff is the plan at the start, else what the station reported. A transaction in
    several currencies counts, with its energy, in the first of them; each has its money. Running ones are left out.
    `only`: stations; None is all.
    """
    ended: ColumnElement[bool] = transactions.c.active.is_(False)
    if begin_ms is not None:
        ended &= or_(transactions.c.ended_ms.is_(None), transactions.c.ended_ms >= begin_ms)
    if end_ms is not None:
        ended &= or_(transactions.c.ended_ms.is_(None), transactions.c.ended_ms < end_ms)
    booked = _booked(connection, ended)
    group_of = _groups(connection, by, zone, ended)
    costs = transaction_costs.c
    query = (
        select(transactions, costs.currency, costs.excl_tax, costs.incl_tax, costs.final)
        .outerjoin(transaction_costs, and_(costs.station_id == _PLACE[0], costs.transaction_id == _PLACE[1]))
        .where(ended)
        .execution_options(yield_per=1000)
    )
    found: dict[tuple[str, str], Sum] = {}
    for row in connection.execute(query):
        if only is not None and row.station_id not in only:
            continue
        part = _decode(row.document)
        at_ms = _end(row, part)
        if (begin_ms is not None and at_ms < begin_ms) or (end_ms is not None and at_ms >= end_ms):
            continue
        posted = booked.get((row.station_id, row.transaction_id))
        money = {} if row.currency is None else {row.currency: (row.excl_tax, row.incl_tax)}
        final = row.final is not False
        if posted is not None and posted.money:
            money, final = posted.money, True
        group = group_of(row, part)
        for number, currency in enumerate(sorted(money) or [""]):
            total = found.setdefault((group, currency), Sum(group=group, currency=currency))
            net, gross = money.get(currency, (0, 0))
            total.net += net
            total.gross += gross
            if number == 0:
                total.transactions += 1
                total.preliminary += not final
                total.duration_ms += 0 if row.started_ms is None else max(0, at_ms - row.started_ms)
                total.import_mwh += _mwh(part.import_start_wh, part.import_wh) if posted is None else posted.import_mwh
                total.export_mwh += _mwh(part.export_start_wh, part.export_wh) if posted is None else posted.export_mwh
    return [found[key] for key in sorted(found)]


def _end(row: Row[Any], part: _Part) -> int:
    """Return when a transaction ended; of one whose end never arrived, when it was closed."""
    found: int | None = part.closed_ms if row.ended_ms is None else row.ended_ms
    assert found is not None, "it is not active"
    return found


def _mwh(first: Dated | None, last: Dated | None) -> int:
    """Return by how much a register rose; 0 where it fell, or has no readings."""
    if first is None or last is None:
        return 0
    return max(0, round((Decimal(last.value) - Decimal(first.value)) * 1000))


def _booked(connection: Connection, ended: ColumnElement[bool]) -> dict[tuple[str, str], _Booked]:
    """Return what is posted of transactions, by their sessions; reversed postings do not count."""
    review = journal_reviews.c
    sessions = (
        select(*_PLACE, postings.c.id, postings.c.import_mwh, postings.c.export_mwh)
        .join(journal_reviews, and_(review.station_id == _PLACE[0], review.transaction_id == _PLACE[1]))
        .join(
            postings,
            and_(postings.c.station_id == review.station_id, postings.c.session_id == review.session_id),
        )
        .where(ended, postings.c.reversed == 0, postings.c.reverses.is_(None))
    ).subquery()
    place = sessions.c.station_id, sessions.c.transaction_id
    energy = connection.execute(
        select(*place, func.sum(sessions.c.import_mwh), func.sum(sessions.c.export_mwh)).group_by(*place)
    ).all()
    account, amount = posting_entries.c.account, posting_entries.c.amount
    money: dict[tuple[str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for station, transaction, unit, gross, vat in connection.execute(
        select(
            *place,
            posting_entries.c.unit,
            func.sum(case((account == "driver", amount), else_=0)),
            func.sum(case((account == "vat", -amount), else_=0)),
        )
        .join(posting_entries, posting_entries.c.posting_id == sessions.c.id)
        .where(posting_entries.c.unit != MILLIWATT_HOURS)
        .group_by(*place, posting_entries.c.unit)
    ):
        money[station, transaction][unit] = int(gross) - int(vat), int(gross)
    return {
        (station, transaction): _Booked(int(taken), int(given), money.get((station, transaction), {}))
        for station, transaction, taken, given in energy
    }


def _groups(
    connection: Connection, by: Grouping, zone: tzinfo, ended: ColumnElement[bool]
) -> Callable[[Row[Any], _Part], str]:
    """Return what names the group of a transaction."""
    if by == "station":
        return lambda row, _part: str(row.station_id)
    if by == "token":
        return lambda _row, part: _token(part)
    if by == "site":
        sites = {
            (place.station_id, place.evse_id): site.id
            for site in charging.all_sites(connection)
            for place in site.places
        }
        return lambda row, part: sites.get((row.station_id, part.evse_id or 0), "")
    if by == "tariff":
        plan = transaction_plans.c
        rows = connection.execute(
            select(plan.station_id, plan.transaction_id, plan.plan_id)
            .join(transactions, and_(plan.station_id == _PLACE[0], plan.transaction_id == _PLACE[1]))
            .where(ended)
            .order_by(plan.id.desc())
        )
        plans = {(row.station_id, row.transaction_id): str(row.plan_id) for row in rows}  # the first one stays
        return lambda row, part: plans.get(
            (row.station_id, row.transaction_id), "" if part.tariff_id is None else part.tariff_id.value
        )
    form = "%Y-%m" if by == "month" else "%Y-%m-%d"
    return lambda row, part: _local(_end(row, part), zone).strftime(form)


def _token(part: _Part) -> str:
    """Return type and id of a token, as in paths of the API; empty without one."""
    if part.id_token is None:
        return ""
    kind = "" if part.token_type is None else part.token_type.value
    return f"{kind}/{normalise(kind, part.id_token.value)}"


def _local(utc_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(min(max(0, utc_ms), _LAST_DAY_MS) / 1000, UTC).astimezone(zone)
