"""Which price plans apply to a place, a driver and a transaction."""

from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, or_, select

from csms.db.base import AnySelect
from csms.db.documents import Documents
from csms.sites.rules import Site
from csms.sites.store import site, sites
from csms.stations.tables import connectors
from csms.tariffs.tables import past_plans, plan_assignments, plans_of_many, price_plans, transaction_plans
from csms.tokens.rules import Terms, normalise
from csms.tokens.tables import tokens
from csms.transactions.rules import Transaction
from v2g import typed_json
from v2g.energy.price_plan import PricePlan
from v2g.energy.settlement.pieces import zone_of

_decode = typed_json.decoder(PricePlan).decode


def read_plan(document: str) -> PricePlan:
    """Return a stored plan. One by a clock that nobody has, which earlier versions took, is by UTC, as drivers saw
    it."""
    found = _decode(document)
    try:
        zone_of(found.zone)
    except ValueError:
        return msgspec.structs.replace(found, zone="UTC")
    return found


plans_by_id: Final = Documents(price_plans, read_plan)

plan = plans_by_id.find
plans = plans_by_id.all


def wrong_zones(connection: Connection) -> dict[str, str]:
    """Return the time zones of plans that are by a clock that nobody has, by plan."""
    documents = connection.execute(select(price_plans.c.document)).scalars()
    both = [(_decode(each), read_plan(each)) for each in documents]
    return {stored.id: stored.zone for stored, read in both if stored.zone != read.zone}


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Scope of a plan: empty and 0 mean any. `id_token` is normalised. A site or a group of tokens stands alone."""

    station_id: str = ""
    evse_id: int = 0
    token_type: str = ""
    id_token: str = ""
    site_id: str = ""
    group_id: str = ""


class _Assigned(NamedTuple):
    """A plan that is assigned where it applies, or was: `rank` is greater for a narrower scope."""

    rank: tuple[int, int, int]
    plan_id: str
    since_ms: int
    until_ms: int | None


def find_plan(connection: Connection, wanted: Scope, at_ms: int | None = None) -> PricePlan | None:
    """Return the plan in force: the driver's own, that of the driver's group, and that of the place, of which the
    narrower stands before the wider: EVSE, station, site, everywhere.

    `at_ms`: the one that was in force then. From before the first assignment, as of a station whose clock is wrong, and
    where that plan is stored no more, it is the one of now.
    """
    found = _assigned(connection, wanted, plan_assignments, plans_of_many)
    if at_ms is not None:
        every = [*found, *_assigned(connection, wanted, past_plans)]
        then = [each for each in every if each.since_ms <= at_ms and (each.until_ms is None or at_ms < each.until_ms)]
        if any(each.since_ms <= at_ms for each in every):
            before = plan(connection, max(then).plan_id) if then else None
            if before is not None or not then:
                return before
    return plan(connection, max(found).plan_id) if found else None


def find_driver_plan(connection: Connection, wanted: Scope) -> PricePlan | None:
    """Return the driver's own plan or that of the driver's group, None for that of the place (I08.FR.01)."""
    best = max(_assigned(connection, wanted, plan_assignments, plans_of_many), default=None)
    return plan(connection, best.plan_id) if best is not None and best.rank[0] else None


def _assigned(connection: Connection, wanted: Scope, *tables: Table) -> list[_Assigned]:
    """Return which assignments apply: of a place and a driver, or with a `kind` of many of them."""
    rows = [row for table in tables for row in connection.execute(_around(table, wanted))]
    kinds = [getattr(row, "kind", "") for row in rows]
    group = group_of(connection, wanted) if "group" in kinds else ""
    found = list[_Assigned]()
    for row, kind in zip(rows, kinds, strict=True):
        if kind == "group":
            rank = (1, 0, 0) if row.name == group else None
        elif kind == "site":
            rank = (0, 1, 0) if _is_at(connection, wanted, row.name) else None
        else:
            rank = (2 * (row.token_type != ""), 2 * (row.station_id != ""), row.evse_id)
        if rank is not None:
            found.append(_Assigned(rank, row.plan_id, row.since_ms, getattr(row, "until_ms", None)))
    return found


def _around(table: Table, wanted: Scope) -> AnySelect:
    """Return the rows of a table that name no place or driver, or these."""
    columns = table.c
    if "station_id" not in columns:
        return select(table)
    return select(table).where(
        or_(columns.station_id == "", columns.station_id == wanted.station_id),
        or_(columns.evse_id == 0, columns.evse_id == wanted.evse_id),
        or_(
            columns.token_type == "", (columns.token_type == wanted.token_type) & (columns.id_token == wanted.id_token)
        ),
    )


def plans_at(connection: Connection, station_id: str) -> dict[int, PricePlan | None]:
    """Return the plan of each EVSE of a station for drivers without one of their own; None: it has no price.

    0 stands for EVSEs that it has not reported yet. Nothing is returned where no plan is stored.
    """
    if connection.execute(select(price_plans.c.plan_id).limit(1)).first() is None:
        return {}
    own = plan_assignments.c
    named = select(own.evse_id).where(own.station_id == station_id, own.token_type == "", own.evse_id != 0)
    known = select(connectors.c.evse_id).where(connectors.c.station_id == station_id)
    evses = {0, *connection.execute(known.union(named)).scalars()}
    placed = select(sites.c.document).where(
        sites.c.site_id.in_(select(plans_of_many.c.name).where(plans_of_many.c.kind == "site"))
    )
    for document in connection.execute(placed).scalars():
        places = typed_json.decode(document, Site).places
        evses |= {each.evse_id for each in places if each.station_id == station_id}
    return {each: find_plan(connection, Scope(station_id=station_id, evse_id=each)) for each in sorted(evses)}


def group_of(connection: Connection, wanted: Scope) -> str:
    """Return the group of a token, "" for none."""
    key = (tokens.c.token_type == wanted.token_type) & (tokens.c.id_token == wanted.id_token)
    terms = connection.execute(select(tokens.c.terms).where(key)).scalar()
    return "" if terms is None else typed_json.decode(terms, Terms).group_id


def _is_at(connection: Connection, wanted: Scope, site_id: str) -> bool:
    """Return whether an EVSE, or any of a station (0), is at a site."""
    found = site(connection, site_id)
    places = () if found is None else found.places
    return any(each.station_id == wanted.station_id and wanted.evse_id in (0, each.evse_id) for each in places)


def plans_of(connection: Connection, transaction: Transaction) -> list[tuple[int, PricePlan]]:
    """Return the plans of a transaction, each with its start; none when it has no price.

    Until its driver is known it uses the plan of the place; then its plan is fixed (`keep_plan`). It is the one that
    was assigned when it began: a station may report it much later.
    """
    rows = connection.execute(
        select(transaction_plans.c.since_ms, price_plans.c.document)
        .join(price_plans, price_plans.c.plan_id == transaction_plans.c.plan_id)
        .where(
            (transaction_plans.c.station_id == transaction.station_id)
            & (transaction_plans.c.transaction_id == transaction.transaction_id)
        )
        .order_by(transaction_plans.c.id)
    ).all()
    if rows:
        return [(row.since_ms, read_plan(row.document)) for row in rows]
    found = find_plan(connection, scope_of(transaction), transaction.started_ms)
    return [] if found is None else [(0, found)]


def scope_of(transaction: Transaction) -> Scope:
    token, kind = transaction.id_token, transaction.token_type
    return Scope(
        station_id=transaction.station_id,
        evse_id=transaction.evse_id or 0,
        token_type=kind.value if kind else "",
        id_token=normalise(kind.value, token.value) if token and kind else "",
    )
