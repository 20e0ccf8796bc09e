"""Payments for one session."""

from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, String, Text, select, text, update

from csms.booking import held
from csms.db.base import declare_table, newest, row_id, transaction_key
from csms.db.bulk import insert_absent
from csms.direct_payments.rules import ACCEPTED, BEGINNING, OVER, DirectPayment, PaymentState
from csms.remote_control.store import remote_starts
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from csms.transactions.tables import transactions as transactions_
from v2g.units import payable_micro

direct_payments: Final = declare_table(
    "direct_payments",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer, nullable=False),
    Column("token", String(20), nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("captured_micro", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(12), nullable=False),
    Column("reference", String(255), nullable=False),
    Column("approval_url", Text, nullable=False),
    Column("return_url", Text, nullable=False),
    Column("transaction_id", transaction_key, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Index(None, "state"),
    Index(None, "token"),
    Index(None, "changed_ms"),
    Index(
        "ix_direct_payments_beginning",
        "station_id",
        "evse_id",
        unique=True,
        sqlite_where=text(f"state IN {BEGINNING}"),  # partial in PostgreSQL, too, whose dialect is not loaded here
    ),
    sqlite_autoincrement=True,
)


def open_payment(
    connection: Connection,
    station_id: str,
    evse_id: int,
    amount_micro: int,
    currency: str,
    now_ms: int,
    returns: Callable[[int], str],
) -> DirectPayment | None:
    """Store a payment that begins; None while another one begins there. `returns`: its `return_url` by its number."""
    values: dict[str, object] = {
        "station_id": station_id, "evse_id": evse_id, "token": "", "amount_micro": amount_micro, "captured_micro": 0,
        "currency": currency, "state": "requested", "reference": "", "approval_url": "", "return_url": "",
        "transaction_id": "", "reason": "", "created_ms": now_ms, "changed_ms": now_ms,
    }  # fmt: skip
    number = insert_absent(connection, direct_payments, values)
    if number is None:
        return None
    rest = {"token": f"PAY{number:08}{now_ms % 10**9:09}", "return_url": returns(number)}
    connection.execute(update(direct_payments).where(direct_payments.c.id == number).values(**rest))
    return payment(connection, number)


def payment(connection: Connection, number: int) -> DirectPayment | None:
    row = connection.execute(select(direct_payments).where(direct_payments.c.id == number)).first()
    return None if row is None else DirectPayment(**row._asdict())


def open_payments(connection: Connection) -> list[DirectPayment]:
    """Return the payments that are not over, oldest first."""
    query = select(direct_payments).where(direct_payments.c.state.not_in(OVER)).order_by(direct_payments.c.id)
    return [DirectPayment(**row._asdict()) for row in connection.execute(query)]


def list_page(
    connection: Connection, before: int | None, limit: int, state: PaymentState | None
) -> list[dict[str, object]]:
    """Return payments, newest first: at most `limit` of those below the number `before`, of a state if one is given."""
    return [dict(row._mapping) for row in connection.execute(newest(direct_payments, before, limit, state=state))]


def save(connection: Connection, was: DirectPayment, state: PaymentState, now_ms: int, /, **changes: object) -> bool:
    """Store the next state of a payment. False: it is in another state meanwhile."""
    there = direct_payments.c
    values = {"state": state, "changed_ms": now_ms, **changes}
    where = (there.id == was.id) & (there.state == was.state)
    return connection.execute(update(direct_payments).where(where).values(**values)).rowcount > 0


def may_charge(connection: Connection, station_id: str, token: str) -> bool | None:
    """Return whether the token of a payment may charge at a station; None for one that is of no payment."""
    there = direct_payments.c
    row = connection.execute(select(there.station_id, there.state).where(there.token == token)).first()
    return None if row is None else row.station_id == station_id and row.state in ACCEPTED


def session_of(connection: Connection, of: DirectPayment) -> str:
    """Return the transaction that a payment's token has begun, "" while there is none; one that is paid already is not
    this one's, whatever its station says.

    Its events need not name the start: one of 1.6 that begins long after it does not.
    """
    start, its, paid = remote_starts.c, transactions_.c, direct_payments.c
    others = select(paid.transaction_id).where((paid.station_id == of.station_id) & (paid.id != of.id))
    named = (start.station_id == of.station_id) & (start.id_token == of.token) & start.started_ms.is_not(None)
    begun = (its.station_id == of.station_id) & (its.heard_ms >= of.created_ms) & transactions.of_token(of.token)
    for name, where in ((start.transaction_id, named), (its.transaction_id, begun)):
        if found := connection.execute(select(name).where(where, name.not_in(others)).limit(1)).scalar():
            return str(found)
    return ""


def is_in_use(connection: Connection, of: DirectPayment) -> bool:
    """Return whether somebody else charges where a payment's session is to begin: its vehicle may wait there, too."""
    running = transactions.active(connection, of.station_id)
    return any(
        each.evse_id == of.evse_id and each.id_token is not None and each.id_token.value != of.token for each in running
    )


class SessionCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs, in units that can be paid, so far or in the end; `held`: it has ended, and people check it
    first."""

    amount_micro: int
    currency: str
    ended: bool
    held: bool


def cost_of(connection: Connection, of: DirectPayment, now_ms: int) -> SessionCost | None:
    """Return the cost of a payment's session with taxes; None for an unknown session."""
    found = transactions.get(connection, of.station_id, of.transaction_id)
    if found is None:
        return None
    stored = tariffs.cost(connection, of.station_id, of.transaction_id)
    known, total, currency = held.find(connection, of.station_id, of.transaction_id), 0, of.currency
    state = "" if known is None else known["state"]  # of one that has ended: what was found, or decided, about it
    if state == "rejected":
        return SessionCost(amount_micro=0, currency=currency, ended=not found.active, held=False)
    is_held = state == "quarantined"
    if stored is not None and stored["source"] == "station":
        total, currency = stored["incl_tax"], stored["currency"]
        is_held = is_held or (not found.active and not stored["final"])
    elif (worked := tariffs.work_out(connection, of.station_id, of.transaction_id, now_ms)) is not None:
        total, currency = worked.bill.incl_tax, worked.bill.currency
    amount_micro = max(0, payable_micro(total, currency))
    return SessionCost(amount_micro=amount_micro, currency=currency, ended=not found.active, held=is_held)
