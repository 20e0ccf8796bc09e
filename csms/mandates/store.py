"""Payment mandates, and the debits of postings by them."""

from typing import Final

import sqlalchemy as sa

from csms.books.tables import postings, vehicle_of
from csms.db.base import declare_table, page, row_id
from csms.mandates.rules import Debit, DebitAnswer, Mandate, MandateAnswer, debt_of
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import Posting
from v2g.errors import RefusedError

mandates: Final = declare_table(
    "mandates",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("vehicle", sa.String(255), nullable=False),
    sa.Column("payer", sa.String(255), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("most_micro", sa.BigInteger, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reference", sa.String(255), nullable=False),
    sa.Column("approval_url", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index(None, "state"),
    sa.Index(None, "vehicle"),
)

debits: Final = declare_table(
    "debits",
    sa.Column("posting_id", row_id, sa.ForeignKey("postings.id"), primary_key=True, autoincrement=False),
    sa.Column("mandate_id", row_id, sa.ForeignKey("mandates.id"), nullable=False),
    sa.Column("key", sa.String(200), nullable=False, unique=True),
    sa.Column("amount_micro", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reference", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("notice", sa.String(255), nullable=False, default="", server_default=""),
    sa.Column("noticed_ms", sa.BigInteger),
    sa.Index(None, "state"),
    sa.Index(None, "mandate_id"),
)
"""One row for each posting that was looked at; `due` is stored before the provider is asked."""


_BATCH = 500


def add(
    connection: sa.Connection, *, vehicle: str, payer: str, currency: str, most_micro: int, now_ms: int, expires_ms: int
) -> int:
    """Store a mandate that is to be created; return its number. Raises RefusedError if the vehicle has one."""
    vehicle = vehicle_of(vehicle)
    live = (mandates.c.vehicle == vehicle) & (mandates.c.state != "ended")
    found = connection.execute(sa.select(mandates.c.id).where(live)).scalar()
    if found is not None:
        raise RefusedError(
            f"vehicle {vehicle} has mandate {found}", reason="has_mandate", hint=f"end it: DELETE /mandates/{found}"
        )
    inserted = connection.execute(
        sa.insert(mandates).values(
            vehicle=vehicle,
            payer=payer,
            currency=currency,
            most_micro=most_micro,
            created_ms=now_ms,
            expires_ms=expires_ms,
            state="requested",
            reference="",
            approval_url="",
            reason="",
        )
    ).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def find(connection: sa.Connection, number: int) -> Mandate | None:
    row = connection.execute(sa.select(mandates).where(mandates.c.id == number)).first()
    return None if row is None else Mandate(**row._mapping)


def list_page(
    connection: sa.Connection, after: tuple[int, ...] | None = None, limit: int = _BATCH
) -> list[dict[str, object]]:
    """Return mandates with numbers `after` one, in order."""
    query = page(sa.select(mandates), (mandates.c.id,), after, limit, rising=True)
    return [dict(row._mapping) for row in connection.execute(query)]


def undecided(connection: sa.Connection, after: int = 0) -> list[Mandate]:
    """Return some mandates `after` a number that wait for the provider or the payer, in order."""
    waiting = mandates.c.state.in_(("requested", "pending")) & (mandates.c.id > after)
    return [
        Mandate(**row._mapping)
        for row in connection.execute(sa.select(mandates).where(waiting).order_by(mandates.c.id).limit(_BATCH))
    ]


def save_answer(connection: sa.Connection, number: int, answer: MandateAnswer) -> bool:
    """Store a provider's answer. False: the mandate is in that state already, or has ended meanwhile."""
    where = (mandates.c.id == number) & mandates.c.state.not_in((answer.state, "ended"))
    values = {
        "state": answer.state,
        "reference": answer.reference,
        "approval_url": answer.approval_url,
        "reason": answer.reason,
    }
    return connection.execute(sa.update(mandates).where(where).values(**values)).rowcount > 0


def end(connection: sa.Connection, number: int, reason: str) -> None:
    """End a mandate: later postings are not debited by it. Debits that are due already remain so."""
    where = (mandates.c.id == number) & (mandates.c.state != "ended")
    connection.execute(sa.update(mandates).where(where).values(state="ended", reason=reason))


def end_expired(connection: sa.Connection, now_ms: int) -> None:
    """End mandates that have expired."""
    where = (mandates.c.state != "ended") & (mandates.c.expires_ms <= now_ms)
    connection.execute(sa.update(mandates).where(where).values(state="ended", reason="expired"))


def plan(connection: sa.Connection, now_ms: int) -> list[Debit]:
    """Store what follows from postings since the last time, before a provider is asked; return what failed at once.

    A settlement booked since the creation of an active mandate of its vehicle is to be debited, unless it replaces one
    of before then that no mandate was for: that was paid otherwise. The reversal of a debited one is to be reversed,
    once that debit is decided: until then nobody knows whether there is one.
    """
    older = postings.alias()
    otherwise = (
        sa.exists()
        .where(older.c.station_id == postings.c.station_id, older.c.session_id == postings.c.session_id)
        .where(older.c.reverses.is_(None), older.c.booked_ms < mandates.c.created_ms)
        .where(~sa.exists().where(debits.c.posting_id == older.c.id).correlate(older))
        .correlate(postings, mandates)
    )
    fresh = (
        sa.select(postings.c.id, postings.c.document, *(each.label(f"mandate_{each.name}") for each in mandates.c))
        .join(mandates, (mandates.c.vehicle == postings.c.vehicle) & (mandates.c.state == "active"))
        .outerjoin(debits, debits.c.posting_id == postings.c.id)
        .where(
            debits.c.posting_id.is_(None)
            & postings.c.reverses.is_(None)
            & (postings.c.reversed == 0)
            & (postings.c.booked_ms >= mandates.c.created_ms)
            & ~otherwise
        )
        .order_by(postings.c.id)
        .limit(_BATCH)
    )
    failed = []
    for row in {row.id: row for row in connection.execute(fresh)}.values():
        mandate = Mandate(**{each.name: getattr(row, f"mandate_{each.name}") for each in mandates.c})
        amount, state, reason = 0, "nothing", ""
        try:
            amount = debt_of(typed_json.decode(row.document, Posting), mandate)
            state = "due" if amount else "nothing"
        except RefusedError as error:
            state, reason = "failed", str(error)
        _plan(connection, row.id, mandate.id, amount, state, reason, now_ms)
        if state == "failed":
            failed.append(row.id)
    first, mine = debits.alias(), debits.alias()
    reversals = (
        sa.select(postings.c.id, first.c.mandate_id, first.c.amount_micro, first.c.state)
        .join(first, first.c.posting_id == postings.c.reverses)
        .outerjoin(mine, mine.c.posting_id == postings.c.id)
        .where(mine.c.posting_id.is_(None) & (first.c.state != "due"))
        .order_by(postings.c.id)
        .limit(_BATCH)
    )
    for row in connection.execute(reversals).all():
        amount, state = (-row.amount_micro, "due") if row.state == "done" else (0, "nothing")
        _plan(connection, row.id, row.mandate_id, amount, state, "", now_ms)
    return _debits(connection, debits.c.posting_id.in_(failed), _BATCH)


def _plan(
    connection: sa.Connection, posting: int, mandate: int, amount_micro: int, state: str, reason: str, now_ms: int
) -> None:
    mine = connection.execute(
        sa.select(postings.c.station_id, postings.c.session_id).where(postings.c.id == posting)
    ).one()
    which = connection.execute(
        sa.select(sa.func.count()).where(
            (postings.c.station_id == mine.station_id)
            & (postings.c.session_id == mine.session_id)
            & (postings.c.id <= posting)
        )
    ).scalar()
    connection.execute(
        sa.insert(debits).values(
            posting_id=posting,
            mandate_id=mandate,
            key=f"{mine.station_id}/{mine.session_id}/{which}",
            amount_micro=amount_micro,
            state=state,
            reference="",
            reason=reason,
            at_ms=now_ms,
        )
    )


def due(connection: sa.Connection, after: int = 0) -> list[tuple[Debit, str]]:
    """Return some debits that are due, `after` a posting, in order; each with the reference that it needs.

    That is the mandate's, for a reversal that of the debit.
    """
    first = debits.alias()
    found = _debits(connection, (debits.c.state == "due") & (debits.c.posting_id > after), _BATCH)
    references = (
        sa.select(debits.c.posting_id, sa.func.coalesce(first.c.reference, mandates.c.reference))
        .join(mandates, mandates.c.id == debits.c.mandate_id)
        .join(postings, postings.c.id == debits.c.posting_id)
        .outerjoin(first, first.c.posting_id == postings.c.reverses)
        .where(debits.c.posting_id.in_([each.posting for each in found]))
    )
    of = {row[0]: row[1] for row in connection.execute(references)}
    return [(each, of[each.posting]) for each in found]


def list_debits(connection: sa.Connection, mandate: int, after: int = 0, limit: int = _BATCH) -> list[Debit]:
    """Return the debits of a mandate with postings `after` one, in order."""
    return _debits(connection, (debits.c.mandate_id == mandate) & (debits.c.posting_id > after), limit)


def save_debit(connection: sa.Connection, posting: int, answer: DebitAnswer, now_ms: int) -> bool:
    """Store a provider's decision. False: it is decided already."""
    where = (debits.c.posting_id == posting) & (debits.c.state == "due")
    values = {"state": answer.state, "reference": answer.reference, "reason": answer.reason, "at_ms": now_ms}
    return connection.execute(sa.update(debits).where(where).values(**values)).rowcount > 0


def save_notice(connection: sa.Connection, posting: int, reference: str, now_ms: int) -> bool:
    """Store that a debit's payer has notice of it. False: that is stored already."""
    where = (debits.c.posting_id == posting) & debits.c.noticed_ms.is_(None)
    return connection.execute(sa.update(debits).where(where).values(notice=reference, noticed_ms=now_ms)).rowcount > 0


def drop_corrected(connection: sa.Connection, noticed_since_ms: int, now_ms: int) -> None:
    """Give up debits whose settlements were replaced before their notice, or while it runs, since a time (UTC ms): the
    provider has not been asked for them."""
    reversed_ones = sa.select(postings.c.id).where(postings.c.reversed != 0)
    unasked = debits.c.noticed_ms.is_(None) | (debits.c.noticed_ms > noticed_since_ms)
    where = (debits.c.state == "due") & unasked & debits.c.posting_id.in_(reversed_ones)
    values = {"state": "nothing", "amount_micro": 0, "reason": "corrected before the debit", "at_ms": now_ms}
    connection.execute(sa.update(debits).where(where).values(**values))


def _debits(connection: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[Debit]:
    query = (
        sa.select(debits, postings.c.station_id, postings.c.session_id, mandates.c.currency)
        .join(postings, postings.c.id == debits.c.posting_id)
        .join(mandates, mandates.c.id == debits.c.mandate_id)
        .where(where)
        .order_by(debits.c.posting_id)
        .limit(limit)
    )
    names = {"posting_id": "posting", "mandate_id": "mandate"}
    return [
        Debit(**{names.get(name, name): value for name, value in row._mapping.items()})
        for row in connection.execute(query)
    ]
