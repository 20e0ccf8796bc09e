"""Price plans, their assignments, the costs of transactions, and which prices stations were sent."""

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, update

from csms.booking import held
from csms.booking.plausibility import JudgedUsage
from csms.booking.rules import PriceDelivery
from csms.reservations import store as reservations
from csms.settlements.rules import PriceStep
from csms.settlements.tables import price_deliveries
from csms.tariffs.plans import Scope as Scope
from csms.tariffs.plans import find_driver_plan as find_driver_plan
from csms.tariffs.plans import find_plan as find_plan
from csms.tariffs.plans import plan as plan
from csms.tariffs.plans import plans as plans
from csms.tariffs.plans import plans_at as plans_at
from csms.tariffs.plans import plans_by_id, scope_of
from csms.tariffs.plans import plans_of as plans_of
from csms.tariffs.plans import wrong_zones as wrong_zones
from csms.tariffs.tables import (
    past_plans,
    plan_assignments,
    plans_of_many,
    price_plans,
    transaction_costs,
    transaction_plans,
)
from csms.transactions import store as transactions
from csms.transactions.rules import Dated, Transaction
from csms.transactions.tables import transaction_events
from v2g import typed_json
from v2g.energy.price_plan import PricePlan
from v2g.energy.settlement.costing import Bill, bill, energy_prices
from v2g.errors import RefusedError
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.translate.details import bill_of
from v2g.typed_json import Fields

_PAST_MS: Final = 400 * 86_400_000
"""A station that was away for longer reports no session of before."""


def add_plan(connection: Connection, plan: PricePlan, now_ms: int) -> None:
    """Store a plan. Raises RefusedError (`plan_taken`): the content under an id never changes (I08.FR.08), and ids
    that differ in case are one for stations and partners (identifierString, CiString)."""
    document = msgspec.json.encode(plan).decode()
    same = func.lower(price_plans.c.plan_id) == plan.id.lower()
    known = connection.execute(select(price_plans.c.document).where(same | (price_plans.c.plan_id == plan.id))).scalar()
    if known is None:
        connection.execute(
            insert(price_plans).values(plan_id=plan.id, currency=plan.currency, created_ms=now_ms, document=document)
        )
    elif known != document:
        raise RefusedError(f"plan {plan.id} exists with different content", reason="plan_taken", hint="use a new id")


def stored_plans(connection: Connection, *plan_ids: str) -> dict[str, str]:
    """Return when plans were stored, as text, by id: all of them, or some."""
    query = select(price_plans.c.plan_id, price_plans.c.created_ms)
    query = query.where(price_plans.c.plan_id.in_(plan_ids)) if plan_ids else query
    return {row.plan_id: str(row.created_ms) for row in connection.execute(query)}


def remove_plan(connection: Connection, plan_id: str) -> bool:
    """Delete a plan; False when it is unknown. Raises RefusedError (`plan_in_use`) for one that is in use."""
    for table in (plan_assignments, plans_of_many, transaction_plans):
        if connection.execute(select(table.c.plan_id).where(table.c.plan_id == plan_id).limit(1)).scalar():
            raise RefusedError(f"plan {plan_id} is in use", reason="plan_in_use", hint="assign another one first")
    return plans_by_id.remove(connection, plan_id)


def assign(connection: Connection, scope: Scope, plan_id: str, now_ms: int) -> None:
    """Assign a plan to a scope, replacing an earlier one. Raises RefusedError (`unknown_plan`)."""
    if plan(connection, plan_id) is None:
        raise RefusedError(f"no plan {plan_id}", reason="unknown_plan")
    table, key = _stored(scope)
    where = [table.c[name] == of for name, of in key.items()]
    if connection.execute(select(table.c.plan_id).where(*where)).scalar() == plan_id:
        return
    unassign(connection, scope, now_ms)
    connection.execute(insert(table).values(plan_id=plan_id, since_ms=now_ms, **key))


def _stored(scope: Scope) -> tuple[Table, dict[str, str | int]]:
    """Return the table of a scope's assignment, and its key there."""
    for kind in ("site", "group"):
        if name := getattr(scope, f"{kind}_id"):
            return plans_of_many, {"kind": kind, "name": name}
    return plan_assignments, {each.name: getattr(scope, each.name) for each in plan_assignments.primary_key}


def unassign(connection: Connection, scope: Scope, now_ms: int) -> bool:
    """End the assignment of a scope; False when there was none. It holds for sessions that began before."""
    table, key = _stored(scope)
    where = [table.c[name] == of for name, of in key.items()]
    row = connection.execute(select(table).where(*where)).first()
    if row is None:
        return False
    connection.execute(delete(table).where(*where))
    connection.execute(delete(past_plans).where(past_plans.c.until_ms < now_ms - _PAST_MS))
    empty = {"station_id": "", "evse_id": 0, "token_type": "", "id_token": "", "kind": "", "name": ""}
    connection.execute(insert(past_plans).values(**{**empty, **row._mapping, "until_ms": now_ms}))
    return True


def assignments(connection: Connection) -> list[tuple[Scope, str]]:
    """Return every scope with its plan's id."""
    names = [each.name for each in plan_assignments.primary_key]
    rows = connection.execute(select(plan_assignments).order_by(*plan_assignments.primary_key))
    many = connection.execute(select(plans_of_many).order_by(*plans_of_many.primary_key))
    return [
        *((Scope(**{name: getattr(row, name) for name in names}), row.plan_id) for row in rows),
        *((Scope(**{f"{row.kind}_id": row.name}), row.plan_id) for row in many),
    ]


def any_assigned(connection: Connection) -> bool:
    """Return whether any plan is assigned."""
    columns = (plan_assignments.c.plan_id, plans_of_many.c.plan_id, transaction_plans.c.id)
    return any(connection.execute(select(each).limit(1)).scalar() is not None for each in columns)


def driver_plan_due(connection: Connection, station_id: str, transaction_id: str) -> PricePlan | None:
    """Return the driver's own plan of a running transaction whose station calculates its cost by another one."""
    found = transactions.get(connection, station_id, transaction_id)
    if found is None or not found.active or found.tariff_id is None or found.id_token is None:
        return None
    running = plans_of(connection, found)
    last = running[-1][1] if running else None
    if last is None or last.export is not None or last.id.lower() == found.tariff_id.value.lower():
        return None
    return last if find_driver_plan(connection, scope_of(found)) == last else None


def change_plan(connection: Connection, transaction: Transaction, new: PricePlan, now_ms: int) -> None:
    """Change the plan of a transaction from now on (I11). Raises RefusedError (`currency`)."""
    running = plans_of(connection, transaction)
    if running and running[-1][1].currency != new.currency:
        raise RefusedError("a transaction keeps its currency", reason="currency")  # I11.FR.05
    if running:
        known = msgspec.structs.replace(transaction, id_token=transaction.id_token or Dated(0, ""))
        keep_plan(connection, known, running[0][1].id)
    if not running or running[-1][1].id != new.id:
        _add_plan(connection, transaction, new.id, now_ms)  # I11.FR.08: the time without a plan stays free


def keep_plan(connection: Connection, transaction: Transaction, plan_id: str) -> None:
    """Fix the plan of a transaction from its start, once its driver is known or it has ended."""
    key = (transaction_plans.c.station_id == transaction.station_id) & (
        transaction_plans.c.transaction_id == transaction.transaction_id
    )
    settled = transaction.id_token is not None or not transaction.active
    if settled and connection.execute(select(transaction_plans.c.id).where(key).limit(1)).scalar() is None:
        _add_plan(connection, transaction, plan_id, 0)


def fix_plan(connection: Connection, station_id: str, transaction_id: str) -> None:
    """Fix the plan of a transaction that is in force now, as `keep_plan`: another one that is assigned later is not for
    it."""
    transaction = transactions.get(connection, station_id, transaction_id)
    running = [] if transaction is None else plans_of(connection, transaction)
    if transaction is not None and running:
        keep_plan(connection, transaction, running[0][1].id)


def _add_plan(connection: Connection, transaction: Transaction, plan_id: str, since_ms: int) -> None:
    connection.execute(
        insert(transaction_plans).values(
            station_id=transaction.station_id,
            transaction_id=transaction.transaction_id,
            since_ms=since_ms,
            plan_id=plan_id,
        )
    )


class Worked(msgspec.Struct, frozen=True):
    """The cost of a transaction, its first plan, and whether it is held: then the cost is a proposal."""

    transaction: Transaction
    plan_id: str
    bill: Bill
    held: bool = False


def update_cost(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> Bill | None:
    """Calculate, store and return a transaction's cost until now or its end; None when it has no price, or is held.

    A held transaction has no cost before a person releases it.
    """
    if held.is_open(connection, station_id, transaction_id):
        fix_plan(connection, station_id, transaction_id)
        connection.execute(delete(transaction_costs).where(_is(station_id, transaction_id)))
        return None
    found = work_out(connection, station_id, transaction_id, now_ms)
    if found is None or (found.held and found.transaction.active):
        return None
    keep_cost(connection, found, now_ms)
    return found.bill


def release_cost(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> None:
    """Store the cost of a transaction that a person has released: by its plan, else as its station calculated it."""
    if update_cost(connection, station_id, transaction_id, now_ms) is not None:
        return
    event = transaction_events.c
    documents = connection.execute(
        select(event.document)
        .where((event.station_id == station_id) & (event.transaction_id == transaction_id) & (event.kind == "Ended"))
        .order_by(event.seq_no.desc())
    ).scalars()
    requests = (typed_json.decode(each, TransactionEventRequest) for each in documents if '"costDetails"' in each)
    details = next((each.cost_details for each in requests if each.cost_details is not None), None)
    if details is not None and not details.failure_to_calculate:
        document = msgspec.json.encode(details).decode()
        found = bill_of(details)
        save_cost(connection, station_id, transaction_id, found, document, now_ms, final=True, source="station")


def keep_cost(connection: Connection, found: Worked, now_ms: int) -> None:
    """Store a calculated cost, and its plan."""
    transaction = found.transaction
    keep_plan(connection, transaction, found.plan_id)
    key = transaction.station_id, transaction.transaction_id
    document = msgspec.json.encode(found.bill).decode()
    save_cost(connection, *key, found.bill, document, now_ms, final=not transaction.active, source="csms")


def work_out(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> Worked | None:
    """Calculate a transaction's cost until now or its end; None when it has no price."""
    priced = _priced(connection, station_id, transaction_id, now_ms)
    if priced is None:
        return None
    transaction, running, usage = priced
    if not usage.timed:
        untimed = {"charging_time": None, "idle_time": None, "reservation_time": None}
        running = [(since_ms, msgspec.structs.replace(each, **untimed)) for since_ms, each in running]
    cost = bill(running, usage.usage, ended=not transaction.active)
    return Worked(transaction, running[0][1].id, cost, bool(usage.findings))


def prices(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> tuple[PriceStep, ...]:
    """Return the prices of a kWh over a transaction by its plans, until now or its end; none when it has no price."""
    priced = _priced(connection, station_id, transaction_id, now_ms)
    if priced is None:
        return ()
    _, running, usage = priced
    currency = running[0][1].currency
    return tuple(
        PriceStep(at_ms=at_ms, currency=currency, import_price=taken, export_price=fed_back)
        for at_ms, taken, fed_back in energy_prices(running, usage.usage)
    )


def _priced(
    connection: Connection, station_id: str, transaction_id: str, now_ms: int
) -> tuple[Transaction, list[tuple[int, PricePlan]], JudgedUsage] | None:
    """Return a transaction with its plans, and its usage until now or its end; None when it has no price."""
    transaction = transactions.get(connection, station_id, transaction_id)
    running = [] if transaction is None else plans_of(connection, transaction)
    if transaction is None or not running:
        return None
    judged = held.judged(connection, transaction, now_ms)
    first = running[0][1]
    if first.reservation_time is not None or first.reservation_fixed is not None:
        reserved_ms = reservations.reserved_since(connection, station_id, transaction_id)
        judged = msgspec.structs.replace(judged, usage=msgspec.structs.replace(judged.usage, reserved_ms=reserved_ms))
    return transaction, running, judged


def save_cost(
    connection: Connection,
    station_id: str,
    transaction_id: str,
    totals: Bill,
    document: str,
    now_ms: int,
    *,
    final: bool,
    source: str,
) -> None:
    """Store a transaction's cost, replacing the previous one."""
    values: dict[str, object] = {
        "currency": totals.currency,
        "excl_tax": totals.excl_tax,
        "incl_tax": totals.incl_tax,
        "final": final,
        "source": source,
        "updated_ms": now_ms,
        "document": document,
    }
    key = _is(station_id, transaction_id)
    if connection.execute(update(transaction_costs).where(key).values(**values)).rowcount == 0:
        connection.execute(
            insert(transaction_costs).values(station_id=station_id, transaction_id=transaction_id, **values)
        )


def cost(connection: Connection, station_id: str, transaction_id: str) -> Fields | None:
    """Return a transaction's stored cost: totals in micro-units, and the calculation."""
    row = connection.execute(select(transaction_costs).where(_is(station_id, transaction_id))).first()
    return None if row is None else {**row._mapping, "document": msgspec.json.decode(row.document)}


def _is(station_id: str, transaction_id: str) -> ColumnElement[bool]:
    return (transaction_costs.c.station_id == station_id) & (transaction_costs.c.transaction_id == transaction_id)


def begin(connection: Connection, station_id: str, tariff: str, now_ms: int) -> None:
    """Note that a station is about to be sent prices, unless it may hold them already."""
    if connection.execute(select(price_deliveries.c.tariff).where(_open(station_id, tariff))).first() is None:
        connection.execute(insert(price_deliveries).values(station_id=station_id, tariff=tariff, sent_ms=now_ms))


def accept(connection: Connection, station_id: str, tariff: str, now_ms: int) -> None:
    """Note that a station has accepted prices: it holds no others any more."""
    there = price_deliveries.c
    fresh = _open(station_id, tariff) & there.accepted_ms.is_(None)
    connection.execute(update(price_deliveries).where(fresh).values(accepted_ms=now_ms))
    others = (there.station_id == station_id) & (there.tariff != tariff) & there.ended_ms.is_(None)
    connection.execute(update(price_deliveries).where(others).values(ended_ms=now_ms))


def refuse(connection: Connection, station_id: str, tariff: str) -> None:
    """Note that a station does not take prices, which it has not accepted before."""
    connection.execute(
        delete(price_deliveries).where(_open(station_id, tariff) & price_deliveries.c.accepted_ms.is_(None))
    )


def deliveries(
    connection: Connection, station_id: str, tariffs: Collection[str]
) -> dict[str, tuple[PriceDelivery, ...]]:
    """Return when a station was sent some tariffs; those that it never was are left out."""
    there = price_deliveries.c
    found: dict[str, tuple[PriceDelivery, ...]] = {}
    for row in connection.execute(
        select(there.tariff, there.sent_ms, there.ended_ms)
        .where((there.station_id == station_id) & there.tariff.in_(tariffs))
        .order_by(there.sent_ms)
    ):
        found[row.tariff] = (*found.get(row.tariff, ()), PriceDelivery(row.sent_ms, row.ended_ms))
    return found


def _open(station_id: str, tariff: str) -> ColumnElement[bool]:
    there = price_deliveries.c
    return (there.station_id == station_id) & (there.tariff == tariff) & there.ended_ms.is_(None)
