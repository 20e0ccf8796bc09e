"""Settled payments, web payments, battery swaps."""

from typing import Final

import msgspec
import sqlalchemy as sa

from csms.db.base import declare_table, page, row_id, transaction_key
from csms.remote_control import store as commands
from csms.transactions.events import find_last
from v2g import typed_json
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.battery_swap import BatterySwapRequest
from v2g.ocpp.messages.payment import DIRECT_PAYMENT, NotifySettlementRequest
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.times import parse_time
from v2g.ocpp.web_payment import QrCode
from v2g.typed_json import Fields

payment_settlements: Final = declare_table(
    "payment_settlements",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("psp_ref", sa.String(255), primary_key=True),
    sa.Column("settled_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("transaction_id", transaction_key),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("amount", sa.String(40), nullable=False),
    sa.Column("receipt_id", sa.String(50), nullable=False, default="", server_default=""),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "transaction_id"),
)

web_payments: Final = declare_table(
    "web_payments",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("remote_start_id", sa.BigInteger),
    sa.Column("transaction_limit", sa.Text),
    sa.Index(None, "station_id", "state"),
    sa.Index(None, "state", "started_ms"),
)

qr_codes: Final = declare_table(
    "qr_codes",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("shared_secret", sa.Text, nullable=False),  # sealed with the store's key; empty: a static code
    sa.Column("validity_s", sa.Integer, nullable=False),
    sa.Column("length", sa.Integer, nullable=False),
)

battery_swaps: Final = declare_table(
    "battery_swaps",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("request_id", sa.BigInteger, nullable=False),
    sa.Column("event", sa.String(20), nullable=False),
    sa.Column("token_type", sa.String(20), nullable=False),
    sa.Column("id_token", sa.String(255), nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "station_id", "request_id"),
)


def add_settlement(connection: sa.Connection, station_id: str, request: NotifySettlementRequest, now_ms: int) -> bool:
    """Store a settlement, once. False: known already (stations repeat unanswered messages)."""
    table, settled_ms = payment_settlements, parse_time(request.settlement_time)
    where = (
        (table.c.station_id == station_id) & (table.c.psp_ref == request.psp_ref) & (table.c.settled_ms == settled_ms)
    )
    if connection.execute(sa.select(table.c.status).where(where)).first() is not None:
        return False
    connection.execute(
        sa.insert(table).values(
            station_id=station_id,
            psp_ref=request.psp_ref,
            settled_ms=settled_ms,
            transaction_id=request.transaction_id and find_last(connection, station_id, request.transaction_id),
            status=request.status,
            amount=str(request.settlement_amount),
            receipt_id=request.receipt_id or "",
            received_ms=now_ms,
            document=msgspec.json.encode(request).decode(),
        )
    )
    return True


def list_settlements(
    connection: sa.Connection,
    station_id: str | None = None,
    limit: int = 100,
    after: tuple[int, str, str, int] | None = None,
) -> list[Fields]:
    """Return the newest settlements first, those `after` a time of arrival and key."""
    columns = payment_settlements.c
    falling = (columns.received_ms, columns.station_id, columns.psp_ref, columns.settled_ms)
    query = page(sa.select(payment_settlements), falling, after, limit)
    if station_id is not None:
        query = query.where(payment_settlements.c.station_id == station_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def open_web_payment(
    connection: sa.Connection, station_id: str, evse_id: int, now_ms: int, expires_ms: int,
    limit: TransactionLimit | None = None,
) -> int:  # fmt: skip
    """Store a payment that began for an EVSE, with the driver's choices; return its number."""
    inserted = connection.execute(
        sa.insert(web_payments).values(
            station_id=station_id,
            evse_id=evse_id,
            state="Started",
            started_ms=now_ms,
            expires_ms=expires_ms,
            transaction_limit=msgspec.json.encode(limit).decode() if limit is not None else None,
        )
    ).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


class PaidStart(msgspec.Struct, frozen=True, kw_only=True):
    """A payment whose transaction its station was, or is to be, asked to start; `answer`: what it said, "" for
    nothing yet; `refused`: that was final. Earlier versions left some without a remote start (0), and with it without
    their reference."""

    payment_id: int
    station_id: str
    evse_id: int
    psp_ref: str
    remote_start_id: int
    paid_ms: int
    answer: str
    refused: bool


def pay(
    connection: sa.Connection, number: int, psp_ref: str, limit: TransactionLimit | None, now_ms: int
) -> PaidStart | None:
    """Store that a pending payment is paid, and the remote start that is to follow. None: it is not pending."""
    where = (web_payments.c.id == number) & (web_payments.c.state == "Started")
    row = connection.execute(sa.update(web_payments).where(where).values(state="Paid").returning(web_payments)).first()
    if row is None:
        return None
    if limit is None and row.transaction_limit:
        limit = typed_json.decode(row.transaction_limit, TransactionLimit)
    token = IdToken(id_token=psp_ref, type=DIRECT_PAYMENT)
    start = commands.open_start(connection, row.station_id, row.evse_id, token, limit, now_ms)
    connection.execute(sa.update(web_payments).where(web_payments.c.id == number).values(remote_start_id=start))
    return paid_by(connection, number, psp_ref)


def awaited(connection: sa.Connection, since_ms: int) -> list[PaidStart]:
    """Return the payments since a time that are paid and whose transactions have not begun, oldest first."""
    unbegun = commands.remote_starts.c.transaction_id.is_(None)  # or none was asked for
    its = web_payments.c
    return _starts(connection, (its.state == "Paid") & (its.started_ms >= since_ms) & unbegun)


def paid_by(connection: sa.Connection, number: int, psp_ref: str) -> PaidStart | None:
    """Return a payment that is paid by a reference, also one whose station refused to start; None if it is not."""
    here = (web_payments.c.id == number) & (commands.remote_starts.c.id_token == psp_ref)
    return next(iter(_starts(connection, here & web_payments.c.state.in_(("Paid", "Refused")))), None)


def _starts(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[PaidStart]:
    its, start = web_payments.c, commands.remote_starts.c
    query = (
        sa.select(
            its.id.label("payment_id"), its.station_id, its.evse_id,
            sa.func.coalesce(start.id_token, "").label("psp_ref"),
            sa.func.coalesce(start.remote_start_id, 0).label("remote_start_id"),
            sa.func.coalesce(start.requested_ms, its.started_ms).label("paid_ms"),
            sa.func.coalesce(start.answer, commands.WITHDRAWN).label("answer"),
            (its.state == "Refused").label("refused"),
        )
        .outerjoin(commands.remote_starts, start.remote_start_id == its.remote_start_id)
        .where(which)
        .order_by(its.id)
    )  # fmt: skip
    return [PaidStart(**row._mapping) for row in connection.execute(query)]


def take_up(connection: sa.Connection, start: PaidStart, answer: str) -> bool:
    """Claim a remote start that has no answer yet, by storing one. False: it has one meanwhile."""
    there = commands.remote_starts.c
    where = (there.remote_start_id == start.remote_start_id) & (there.answer == "")
    return connection.execute(sa.update(commands.remote_starts).where(where).values(answer=answer)).rowcount > 0


def save_web_payment(connection: sa.Connection, number: int, state: str) -> bool:
    """Store the new state of a payment that is paid. False: it is in another one."""
    where = (web_payments.c.id == number) & (web_payments.c.state == "Paid")
    return connection.execute(sa.update(web_payments).where(where).values(state=state)).rowcount > 0


def give_back(connection: sa.Connection, start: PaidStart) -> bool:
    """Store that no transaction of a payment will begin, nor may any. False: that is known, or one has begun."""
    there = commands.remote_starts.c
    its = sa.select(there.transaction_id).where(there.remote_start_id == start.remote_start_id)
    begun = connection.execute(its.with_for_update()).scalar()  # its beginning waits, or is seen
    if begun or not save_web_payment(connection, start.payment_id, "Unused"):
        return False
    commands.save_start_answer(connection, start.remote_start_id, commands.WITHDRAWN, None)
    return True


def is_paying(connection: sa.Connection, station_id: str, evse_id: int, now_ms: int) -> bool:
    """Return whether a payment for an EVSE is pending."""
    where = (
        (web_payments.c.station_id == station_id)
        & (web_payments.c.evse_id == evse_id)
        & (web_payments.c.state == "Started")
        & (web_payments.c.expires_ms > now_ms)
    )
    return connection.execute(sa.select(web_payments.c.id).where(where)).first() is not None


def save_qr_code(connection: sa.Connection, station_id: str, code: QrCode) -> None:
    """Store a station's QR code settings."""
    values = msgspec.structs.asdict(code)
    where = qr_codes.c.station_id == station_id
    if connection.execute(sa.update(qr_codes).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(qr_codes).values(station_id=station_id, **values))


def qr_secrets(connection: sa.Connection) -> dict[str, str]:
    """Return the stored secrets of stations' QR codes, by station; static codes have none."""
    rows = connection.execute(
        sa.select(qr_codes.c.station_id, qr_codes.c.shared_secret).where(qr_codes.c.shared_secret != "")
    )
    return {row.station_id: row.shared_secret for row in rows}


def change_qr_secret(connection: sa.Connection, station_id: str, sealed: str) -> None:
    """Store the secret of a station's QR codes in another form."""
    connection.execute(sa.update(qr_codes).where(qr_codes.c.station_id == station_id).values(shared_secret=sealed))


def find_qr_code(connection: sa.Connection, station_id: str) -> QrCode | None:
    """Return a station's QR code settings, or None."""
    row = connection.execute(sa.select(qr_codes).where(qr_codes.c.station_id == station_id)).first()
    if row is None:
        return None
    return QrCode(template=row.template, shared_secret=row.shared_secret, validity_s=row.validity_s, length=row.length)


def expire_web_payments(connection: sa.Connection, now_ms: int) -> int:
    """Mark payments that timed out; return how many."""
    where = (web_payments.c.state == "Started") & (web_payments.c.expires_ms <= now_ms)
    return connection.execute(sa.update(web_payments).where(where).values(state="Expired")).rowcount


def add_swap(connection: sa.Connection, station_id: str, request: BatterySwapRequest, now_ms: int) -> None:
    """Store an event of a swap (S01 to S03)."""
    connection.execute(
        sa.insert(battery_swaps).values(
            station_id=station_id,
            request_id=request.request_id,
            event=request.event_type,
            token_type=request.id_token.type,
            id_token=request.id_token.id_token,
            received_ms=now_ms,
            document=msgspec.json.encode(request).decode(),
        )
    )


def is_last_swap(connection: sa.Connection, station_id: str, request: BatterySwapRequest) -> bool:
    """Return whether an event of a swap is a station's last one again."""
    table = battery_swaps.c
    last = sa.select(table.document).where(table.station_id == station_id).order_by(table.id.desc()).limit(1)
    return connection.execute(last).scalar() == msgspec.json.encode(request).decode()


def list_swaps(
    connection: sa.Connection, after: tuple[int, ...] | None, limit: int, station_id: str, request_id: int | None
) -> list[dict[str, object]]:
    """Return the events of swaps at a station, oldest first, documents decoded: those with numbers `after` one."""
    table = battery_swaps.c
    query = page(sa.select(battery_swaps).where(table.station_id == station_id), (table.id,), after, limit, rising=True)
    if request_id is not None:
        query = query.where(table.request_id == request_id)
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in connection.execute(query)]
