"""Webhooks and their pending deliveries."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, true, update

from csms.db.base import AnyRow
from csms.db.outbox import Outbox
from csms.webhooks.rules import BACK_OFF_S, MAX_FAILURES
from csms.webhooks.tables import webhook_deliveries as deliveries
from csms.webhooks.tables import webhooks
from v2g.typed_json import Fields

_outbox: Final = Outbox(deliveries, "webhook_id", lease_s=60, back_off_s=BACK_OFF_S, gives_up=True)

MAX_WAITING: Final = 10_000
"""Limit of pending deliveries of one webhook; further events are not delivered."""

MAX_WEBHOOKS: Final = 200

_encode = msgspec.json.Encoder().encode


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Destination of events: all, or those of some `kinds`, of one station. The store's key opens `sealed_secret`.

    `shows_tokens`: include token numbers, which its creator may read.
    """

    webhook_id: str
    url: str
    sealed_secret: str
    kinds: tuple[str, ...]
    station_id: str | None
    enabled: bool
    failures: int
    created_ms: int
    created_by: str
    shows_tokens: bool = False

    def wants(self, kind: str, station_id: str | None) -> bool:
        """Return whether an event matches."""
        return self.enabled and (not self.kinds or kind in self.kinds) and self.station_id in (None, station_id)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to be made now."""

    id: int
    webhook: Webhook
    body: str
    attempts: int
    created_ms: int

    @property
    def message_id(self) -> str:
        """By which receivers recognise a repetition: unlike the number alone, not used again after a restore."""
        return f"msg_{self.created_ms}_{self.id}"


def add(connection: Connection, webhook: Webhook) -> None:
    """Store a webhook."""
    row = msgspec.structs.asdict(webhook)
    connection.execute(insert(webhooks).values(**{**row, "kinds": _encode(webhook.kinds).decode()}))


def replace(connection: Connection, webhook: Webhook) -> None:
    """Store the changed settings of a webhook."""
    row = {**msgspec.structs.asdict(webhook), "kinds": _encode(webhook.kinds).decode()}
    connection.execute(update(webhooks).where(webhooks.c.webhook_id == row.pop("webhook_id")).values(**row))


def change_secret(connection: Connection, webhook_id: str, sealed_secret: str) -> None:
    """Store a new secret, sealed."""
    here = webhooks.c.webhook_id == webhook_id
    connection.execute(update(webhooks).where(here).values(sealed_secret=sealed_secret))


def disable(connection: Connection, webhook_ids: Iterable[str]) -> None:
    """Disable these webhooks."""
    connection.execute(update(webhooks).where(webhooks.c.webhook_id.in_(list(webhook_ids))).values(enabled=False))


def remove(connection: Connection, webhook_id: str) -> None:
    """Delete a webhook and its pending deliveries."""
    connection.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
    connection.execute(delete(webhooks).where(webhooks.c.webhook_id == webhook_id))


def find(connection: Connection, webhook_id: str) -> Webhook | None:
    row = connection.execute(select(webhooks).where(webhooks.c.webhook_id == webhook_id)).first()
    return None if row is None else _webhook(row)


def list_all(connection: Connection) -> list[Webhook]:
    """Return every webhook."""
    return [_webhook(row) for row in connection.execute(select(webhooks).order_by(webhooks.c.webhook_id))]


def _webhook(row: AnyRow) -> Webhook:
    return Webhook(**{**row._mapping, "kinds": tuple(msgspec.json.decode(row.kinds))})


def enqueue(connection: Connection, entries: Iterable[tuple[str, str, str]], now_ms: int) -> None:
    """Add pending deliveries: (webhook, kind, body)."""
    rows: list[Fields] = [
        {
            "webhook_id": webhook_id,
            "kind": kind[:64],
            "body": body,
            "created_ms": now_ms,
            "due_ms": now_ms,
            "attempts": 0,
            "error": "",
        }
        for webhook_id, kind, body in entries
    ]
    counts = connection.execute(
        select(deliveries.c.webhook_id, func.count())
        .where(deliveries.c.due_ms.is_not(None))
        .group_by(deliveries.c.webhook_id)
    )
    waiting: Counter[str] = Counter({row[0]: row[1] for row in counts})
    known = set(connection.execute(select(webhooks.c.webhook_id)).scalars())
    fits = []
    for row in rows:
        if row["webhook_id"] in known and waiting[row["webhook_id"]] < MAX_WAITING:
            waiting[row["webhook_id"]] += 1
            fits.append(row)
    if fits:
        connection.execute(insert(deliveries), fits)


def with_due(connection: Connection, now_ms: int) -> set[str]:
    """Return the webhooks with due deliveries."""
    enabled = select(webhooks.c.webhook_id).where(webhooks.c.enabled)
    return _outbox.with_due(connection, now_ms, deliveries.c.webhook_id.in_(enabled))


def claim(connection: Connection, webhook_id: str, now_ms: int, limit: int = 20) -> list[Due]:
    """Claim the due deliveries of a webhook exclusively."""
    webhook = find(connection, webhook_id)
    if webhook is None or not webhook.enabled:
        return []
    rows = _outbox.claim(connection, webhook_id, now_ms, limit)
    names = ("id", "body", "attempts", "created_ms")
    return [Due(webhook=webhook, **{name: getattr(row, name) for name in names}) for row in rows]


def delivered(connection: Connection, due: Due, now_ms: int) -> None:
    """Mark a delivery as delivered."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == due.id)
        .values(due_ms=None, delivered_ms=now_ms, attempts=due.attempts + 1, error="")
    )
    connection.execute(update(webhooks).where(webhooks.c.webhook_id == due.webhook.webhook_id).values(failures=0))


def failed(connection: Connection, due: Due, error: str, now_ms: int, *, gone: bool = False) -> bool:
    """Store a failed attempt; `gone`: its receiver wants no more. Return whether it disabled the webhook."""
    _outbox.failed(connection, due.id, due.attempts, error, now_ms)
    here = webhooks.c.webhook_id == due.webhook.webhook_id
    if due.attempts >= len(BACK_OFF_S):
        connection.execute(update(webhooks).where(here).values(failures=webhooks.c.failures + 1))
    ends = here & webhooks.c.enabled & (true() if gone else webhooks.c.failures >= MAX_FAILURES)
    return connection.execute(update(webhooks).where(ends).values(enabled=False)).rowcount > 0


def list_deliveries(
    connection: Connection, webhook_id: str, *, before: int | None = None, limit: int = 1000
) -> list[Fields]:
    """Return deliveries, newest first: at most `limit` of those with an id below `before`."""
    wanted = select(deliveries).where(deliveries.c.webhook_id == webhook_id)
    if before is not None:
        wanted = wanted.where(deliveries.c.id < before)
    rows = connection.execute(wanted.order_by(deliveries.c.id.desc()).limit(limit))
    return [{**row._mapping, "body": msgspec.Raw(row.body)} for row in rows]


def replay(connection: Connection, webhook_id: str, ids: Sequence[int] | None, now_ms: int) -> int:
    """Schedule deliveries again, those of `ids` or all abandoned ones; return how many."""
    wanted = (deliveries.c.webhook_id == webhook_id) & deliveries.c.due_ms.is_(None)
    wanted &= deliveries.c.delivered_ms.is_(None) if ids is None else deliveries.c.id.in_(ids)
    return connection.execute(
        update(deliveries).where(wanted).values(due_ms=now_ms, attempts=0, delivered_ms=None)
    ).rowcount


def forget_old(connection: Connection, before_ms: int) -> None:
    """Delete old deliveries that are completed."""
    connection.execute(delete(deliveries).where(deliveries.c.due_ms.is_(None) & (deliveries.c.created_ms < before_ms)))
