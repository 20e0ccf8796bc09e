"""Which price plans apply to a place, a driver and a transaction."""

import msgspec
from sqlalchemy import Connection, or_, select

from csms.tariffs.tables import plan_assignments, price_plans, transaction_plans
from csms.tokens.rules import normalise
from csms.transactions.rules import Transaction
from v2g import typed_json
from v2g.energy.price_plan import PricePlan

_decode = typed_json.decoder(PricePlan).decode


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Scope of a plan: empty and 0 mean any. `id_token` is normalised."""

    station_id: str = ""
    evse_id: int = 0
    token_type: str = ""
    id_token: str = ""


def plan(connection: Connection, plan_id: str) -> PricePlan | None:
    """Return a plan by its id."""
    document = connection.execute(select(price_plans.c.document).where(price_plans.c.plan_id == plan_id)).scalar()
    return None if document is None else _decode(document)


def find_plan(connection: Connection, wanted: Scope) -> PricePlan | None:
    """Return the plan in force: the driver's before the place's, the narrower place before the wider."""
    columns = plan_assignments.c
    rows = connection.execute(
        select(plan_assignments).where(
            or_(columns.station_id == "", columns.station_id == wanted.station_id),
            or_(columns.evse_id == 0, columns.evse_id == wanted.evse_id),
            or_(
                columns.token_type == "",
                (columns.token_type == wanted.token_type) & (columns.id_token == wanted.id_token),
            ),
        )
    ).all()
    best = max(rows, key=lambda row: (row.token_type != "", row.station_id != "", row.evse_id), default=None)
    return None if best is None else plan(connection, best.plan_id)


def plans_of(connection: Connection, transaction: Transaction) -> list[tuple[int, PricePlan]]:
    """Return the plans of a transaction, each with its start; none when it has no price.

    Until its driver is known it uses the plan of the place; then its plan is fixed (`keep_plan`).
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
        return [(row.since_ms, _decode(row.document)) for row in rows]
    found = find_plan(connection, scope_of(transaction))
    return [] if found is None else [(0, found)]


def scope_of(transaction: Transaction) -> Scope:
    """Return the scope of a transaction."""
    token, kind = transaction.id_token, transaction.token_type
    return Scope(
        station_id=transaction.station_id,
        evse_id=transaction.evse_id or 0,
        token_type=kind.value if kind else "",
        id_token=normalise(kind.value, token.value) if token and kind else "",
    )
