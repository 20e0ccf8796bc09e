"""E-mails about alerts that wait, were sent or given up."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, func, or_, select, update

from csms.db.queries import alerts
from csms.db.tables import alert_mails as mails
from csms.domain.diagnostics.alert_mails import MOST_LINES, MOST_WAIT_MS, Mail
from csms.domain.diagnostics.webhooks import next_attempt

LEASE_MS: Final = 120_000
"""Lease of claimed e-mails, before another node tries: longer than a slow server can take by its timeouts."""


def claim(connection: Connection, now_ms: int) -> list[Mail]:
    """Claim for `LEASE_MS` what is to be sent to one address, oldest first; empty: nothing is due.

    With the due ones go those to the same address that only wait for others: not yet claimed, and no attempt failed.
    """
    due = select(mails.c.address).where(mails.c.due_ms <= now_ms).order_by(mails.c.due_ms, mails.c.id).limit(1)
    address = connection.execute(due).scalar()
    if address is None:
        return []
    ready = or_(mails.c.due_ms <= now_ms, mails.c.due_ms <= mails.c.created_ms + MOST_WAIT_MS)
    rows = connection.execute(
        select(mails)
        .where(mails.c.address == address, mails.c.due_ms.is_not(None), ready)
        .order_by(mails.c.id)
        .limit(MOST_LINES)
        .with_for_update(skip_locked=True)
    ).all()
    found, gone = [], []
    for row in rows:
        alert = alerts.find(connection, row.alert_id)
        if alert is None:  # erased, or deleted by age
            gone.append(row.id)
        else:
            found.append(Mail(row.id, row.address, row.announcement, alert, row.attempts))
    if gone:
        connection.execute(update(mails).where(mails.c.id.in_(gone)).values(due_ms=None, error="no alert any more"))
    if found:
        ids = [each.mail_id for each in found]
        connection.execute(update(mails).where(mails.c.id.in_(ids)).values(due_ms=now_ms + LEASE_MS))
    return found


def settle(connection: Connection, sent: Collection[Mail], error: str, now_ms: int) -> int:
    """Store the result of an attempt (`error` "": sent); return how many are given up by it."""
    given_up = 0
    for each in sent:
        attempts = each.attempts + 1
        due_ms = next_attempt(attempts, now_ms) if error else None
        given_up += bool(error) and due_ms is None
        values = {"attempts": attempts, "error": error[:300], "due_ms": due_ms, "sent_ms": None if error else now_ms}
        connection.execute(update(mails).where(mails.c.id == each.mail_id).values(**values))
    return given_up


def oldest(connection: Connection) -> int | None:
    """Return when the oldest e-mail that waits was made (UTC ms)."""
    return connection.execute(select(func.min(mails.c.created_ms)).where(mails.c.due_ms.is_not(None))).scalar()
