"""Alerts: taken over from reports, listed, acknowledged, silenced and announced. Their evidence is sealed where it is a
vehicle's."""

from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Final, get_args

import msgspec
import sqlalchemy as sa

from csms.alerts import rules
from csms.alerts.rules import announcement as announcement_of
from csms.alerts.tables import alert_mails, alert_silences, alerts
from csms.alerts.tables import alert_mails as mails
from csms.db.base import AnyRow, AnySelect, newest
from csms.telemetry.seal import seal_of
from csms.webhooks import store as webhooks
from csms.webhooks.rules import Announcement, next_attempt
from v2g import typed_json
from v2g.errors import RefusedError
from v2g.events import Severity
from v2g.typed_json import Fields

MOST_KINDS: Final = 100
"""Kinds of alerts that one subject may have."""

MOST_SILENCES: Final = 1000

MOST_PRESENT: Final = 50_000
"""Alerts that are grouped at once."""

STEP: Final = 200
"""Alerts announced in one transaction."""

Key = tuple[str, str, str]
Said = tuple[Announcement, rules.Alert]


class Announcing(msgspec.Struct, frozen=True):
    """Where announcements go: deliveries (webhook, kind, body) to those of the webhooks that want one, and addresses.

    `escalate_ms`: how long after its announcement an alert is announced again, each time.
    """

    escalate_ms: tuple[int, ...]
    hooks: Callable[[Announcement, rules.Alert, list[webhooks.Webhook]], Iterable[tuple[str, str, str]]] = lambda *_: ()
    addresses: Callable[[rules.Alert], Iterable[str]] = lambda _: ()
    mails_after_ms: int = 0
    """How long e-mails wait for others to the same address."""


_decode = typed_json.decoder(rules.Evidence).decode
_encode: Final = msgspec.json.Encoder().encode

# Another node may store the same beginning at the same time.
_INSERT: Final = sa.text(
    "INSERT INTO alerts (subject_kind, subject, kind, severity, raised_ms, changed_ms, cleared_ms, count, announced,"
    " announced_ms, escalations, escalated_ms, acknowledged_ms, acknowledged_by, note, assigned, evidence)"
    " VALUES (:subject_kind, :subject, :kind, :severity, :raised_ms, :changed_ms, :cleared_ms, :count, :announced,"
    " :announced_ms, :escalations, :escalated_ms, :acknowledged_ms, :acknowledged_by, :note, :assigned, :evidence)"
    " ON CONFLICT DO NOTHING"
)


def take(connection: sa.Connection, reports: Iterable[rules.Report], now_ms: int) -> bool:
    """Take over reports, those of a subject in order; return whether one changed something. Repetitions do not."""
    changed = False
    for report in sorted(reports, key=_key):  # nodes wait for each other in one order
        while (done := _take(connection, report, now_ms)) is None:
            pass
        changed |= done
    return changed


def _take(connection: sa.Connection, report: rules.Report, now_ms: int) -> bool | None:
    """Take over a report; return whether that changed something, None if another node has begun the alert meanwhile."""
    key = _key(report)
    row = connection.execute(sa.select(alerts).where(_latest(key)).with_for_update()).one_or_none()
    after = rules.follow(None if row is None else _alert(connection, row), report, now_ms)
    if after is None:
        return False
    values = _values(connection, after)
    if after.alert_id:
        connection.execute(sa.update(alerts).where(alerts.c.id == after.alert_id).values(**values))
        return True
    if row is not None:
        connection.execute(sa.update(alerts).where(alerts.c.id == row.id).values(latest=False))
    elif _kinds(connection, report) >= MOST_KINDS:
        return False
    return True if connection.execute(_INSERT, values).rowcount else None


def _kinds(connection: sa.Connection, report: rules.Report) -> int:
    there = (alerts.c.subject_kind == report.subject_kind) & (alerts.c.subject == report.subject) & alerts.c.latest
    return connection.execute(sa.select(sa.func.count()).select_from(alerts).where(there)).scalar() or 0


def listed(
    connection: sa.Connection,
    before: int | None,
    limit: int,
    subjects: rules.Readable,
    active: bool | None,
    subject: str | None,
    kind: str | None,
) -> list[Fields]:
    """Return alerts that began, newest first by number, below `before`."""
    wanted = newest(alerts, before, limit, subject=subject, kind=kind).where(alerts.c.count > 0, _among(subjects))
    if active is not None:
        wanted = wanted.where(alerts.c.cleared_ms.is_(None) if active else alerts.c.cleared_ms.is_not(None))
    rows = connection.execute(wanted).all()
    return [msgspec.structs.asdict(_alert(connection, row)) for row in rows]


def _among(subjects: rules.Readable) -> sa.ColumnElement[bool]:
    column = alerts.c
    return sa.or_(
        sa.false(),
        *(
            (column.subject_kind == each) & (column.subject.is_not(None) if only is None else column.subject.in_(only))
            for each, only in subjects
        ),
    )


def present(connection: sa.Connection, subjects: rules.Readable, since_ms: int) -> list[rules.Alert]:
    """Return alerts that have not ended, or not before `since_ms`, the oldest first, without their evidence."""
    fresh = sa.or_(alerts.c.cleared_ms.is_(None), alerts.c.cleared_ms >= since_ms)
    columns = (alerts.c.id, *(alerts.c[name] for name in _COLUMNS))
    wanted = sa.select(*columns).where(alerts.c.latest, alerts.c.count > 0, fresh, _among(subjects))
    found = connection.execute(wanted.order_by(alerts.c.raised_ms, alerts.c.id).limit(MOST_PRESENT)).all()
    return [rules.Alert(alert_id=row[0], **dict(zip(_COLUMNS, row[1:], strict=True))) for row in found]


def assign(connection: sa.Connection, alert_id: int, to: str) -> None:
    """Store who takes care of an alert, "" for nobody."""
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(assigned=to))


def find(connection: sa.Connection, alert_id: int) -> rules.Alert | None:
    """Return one alert that began."""
    row = connection.execute(sa.select(alerts).where(alerts.c.id == alert_id, alerts.c.count > 0)).one_or_none()
    return None if row is None else _alert(connection, row)


def active_by_rules(connection: sa.Connection) -> dict[rules.RuleName, set[str]]:
    """Return the subjects that have an alert of a rule."""
    found: dict[rules.RuleName, set[str]] = {name: set() for name in get_args(rules.RuleName)}
    there = alerts.c.latest & alerts.c.cleared_ms.is_(None) & alerts.c.kind.in_(list(found))
    for row in connection.execute(sa.select(alerts.c.kind, alerts.c.subject).where(there)):
        found[row.kind].add(row.subject)
    return found


def is_active(connection: sa.Connection, kind: rules.SubjectKind, subject: str, what: str) -> bool:
    """Return whether a subject has an alert that has not ended."""
    there = _latest((kind, subject, what)) & alerts.c.cleared_ms.is_(None)
    return connection.execute(sa.select(alerts.c.id).where(there)).first() is not None


def counts(connection: sa.Connection) -> dict[str, int]:
    """Return how many alerts of each severity have not ended."""
    query = sa.select(alerts.c.severity, sa.func.count()).where(alerts.c.latest, alerts.c.cleared_ms.is_(None))
    found = dict.fromkeys(get_args(Severity), 0)
    return found | {row[0]: row[1] for row in connection.execute(query.group_by(alerts.c.severity))}


def acknowledge(connection: sa.Connection, alert_id: int, by: str, note: str, now_ms: int) -> None:
    """Store who has seen an alert."""
    values = {"acknowledged_ms": now_ms, "acknowledged_by": by[:128], "note": note}
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(**values))


@cache
def _due(escalate_ms: tuple[int, ...]) -> AnySelect:
    """Return the query for alerts that are to be announced at `now_ms`, made once: it is asked all the time."""
    column, now_ms = alerts.c, sa.bindparam("now_ms", type_=sa.BigInteger)
    unseen = (column.severity == "error") & column.acknowledged_ms.is_(None) & (column.announced == "raised")
    escalation = sa.or_(
        sa.false(),
        *(
            (column.escalations == number) & (column.announced_ms <= now_ms - after_ms)
            for number, after_ms in enumerate(escalate_ms)
        ),
    )
    silenced = sa.exists().where(
        alert_silences.c.until_ms > now_ms,
        alert_silences.c.subject_kind == column.subject_kind,
        alert_silences.c.subject.in_(["", column.subject]),
        alert_silences.c.kind.in_(["", column.kind]),
    )
    due = sa.or_(
        column.cleared_ms.is_(None) & ~silenced & ((column.announced != "raised") | (unseen & escalation)),
        column.cleared_ms.is_not(None) & (column.announced == "") & (column.count > 0),
        (column.announced == "raised") & (column.cleared_ms <= now_ms - rules.HOLD_MS),
    )
    wanted = sa.select(alerts, silenced.label("silenced")).where(column.latest, due).order_by(column.id).limit(STEP)
    return wanted.with_for_update(of=alerts, skip_locked=True)


def announce(connection: sa.Connection, now_ms: int, to: Announcing) -> list[Said]:
    """Return what is to be announced now, each once, with its alert; what webhooks and addresses get is stored with it.

    Empty: nothing is left to be announced now.
    """
    found: list[Said] = []
    # A batch may have only silenced ones, which end without an announcement.
    while not found and (rows := connection.execute(_due(to.escalate_ms), {"now_ms": now_ms}).all()):
        for row in rows:
            said = announcement_of(
                _alert(connection, row), now_ms, escalate_ms=to.escalate_ms, silenced=bool(row.silenced)
            )
            if said is None:
                continue
            kind, after = said
            connection.execute(sa.update(alerts).where(alerts.c.id == row.id).values(**_values(connection, after)))
            if kind is not None:
                found.append((kind, after))
    if found:
        known = webhooks.list_all(connection)
        webhooks.enqueue(connection, [each for said in found for each in to.hooks(*said, known)], now_ms)
        mails: list[dict[str, object]] = [
            {
                "alert_id": alert.alert_id,
                "announcement": kind,
                "address": address,
                "created_ms": now_ms,
                "due_ms": now_ms + to.mails_after_ms,
                "attempts": 0,
                "error": "",
            }
            for kind, alert in found
            for address in to.addresses(alert)
        ]
        if mails:
            connection.execute(sa.insert(alert_mails), mails)
    return found


def add_silence(connection: sa.Connection, silence: rules.Silence) -> int:
    """Store a silence; return its number. Those that are over are deleted. Raises RefusedError: there are too many."""
    connection.execute(sa.delete(alert_silences).where(alert_silences.c.until_ms <= silence.created_ms))
    if (connection.execute(sa.select(sa.func.count()).select_from(alert_silences)).scalar() or 0) >= MOST_SILENCES:
        raise RefusedError(f"there are {MOST_SILENCES} silences", hint="end some of them", reason="too_many")
    values = msgspec.structs.asdict(silence)
    del values["silence_id"]
    made = connection.execute(sa.insert(alert_silences).values(**values)).inserted_primary_key
    assert made is not None
    return int(made[0])


def silences(connection: sa.Connection, now_ms: int) -> list[rules.Silence]:
    """Return the silences that are not over."""
    wanted = sa.select(alert_silences).where(alert_silences.c.until_ms > now_ms).order_by(alert_silences.c.id)
    return [_silence(row) for row in connection.execute(wanted)]


def find_silence(connection: sa.Connection, silence_id: int, now_ms: int) -> rules.Silence | None:
    """Return a silence that is not over."""
    here = (alert_silences.c.id == silence_id) & (alert_silences.c.until_ms > now_ms)
    row = connection.execute(sa.select(alert_silences).where(here)).one_or_none()
    return None if row is None else _silence(row)


def end_silence(connection: sa.Connection, silence_id: int) -> None:
    """Delete a silence."""
    connection.execute(sa.delete(alert_silences).where(alert_silences.c.id == silence_id))


def _silence(row: AnyRow) -> rules.Silence:
    names = rules.Silence.__struct_fields__
    return rules.Silence(silence_id=row.id, **{name: getattr(row, name) for name in names if name != "silence_id"})


def erase(connection: sa.Connection, ev: str) -> None:
    """Erase the alerts of a vehicle, and e-mails about them that wait."""
    there = (alerts.c.subject_kind == "vehicle") & (alerts.c.subject == ev)
    connection.execute(sa.delete(alert_mails).where(alert_mails.c.alert_id.in_(sa.select(alerts.c.id).where(there))))
    connection.execute(sa.delete(alerts).where(there))


def _key(report: rules.Report) -> Key:
    return report.subject_kind, report.subject, report.kind


def _latest(key: Key) -> sa.ColumnElement[bool]:
    column = alerts.c
    return column.latest & (column.subject_kind == key[0]) & (column.subject == key[1]) & (column.kind == key[2])


_EVIDENCE: Final = frozenset(rules.Evidence.__struct_fields__)
_COLUMNS: Final = tuple(name for name in rules.Alert.__struct_fields__ if name not in _EVIDENCE | {"alert_id"})


def _alert(connection: sa.Connection, row: AnyRow) -> rules.Alert:
    kind: rules.SubjectKind = row.subject_kind
    document = seal_of(connection).find(connection, row.evidence, "alert", kind, row.subject, row.kind)
    evidence = rules.Evidence() if document is None else _decode(document)
    state = {name: getattr(row, name) for name in _COLUMNS}
    return rules.Alert(alert_id=row.id, **state, **msgspec.structs.asdict(evidence))


def _values(connection: sa.Connection, alert: rules.Alert) -> dict[str, object]:
    document = _encode(rules.Evidence(alert.value, alert.limit, alert.facts, alert.record))
    if alert.subject_kind == "vehicle":
        document = seal_of(connection).seal(document, "alert", alert.subject_kind, alert.subject, alert.kind)
    return {name: getattr(alert, name) for name in _COLUMNS} | {"evidence": document}


LEASE_MS: Final = 120_000
"""Lease of claimed e-mails, before another node tries: longer than a slow server can take by its timeouts."""


def claim(connection: sa.Connection, now_ms: int) -> list[rules.Mail]:
    """Claim for `LEASE_MS` what is to be sent to one address, oldest first; empty: nothing is due.

    With the due ones go those to the same address that only wait for others: not yet claimed, and no attempt failed.
    """
    due = sa.select(mails.c.address).where(mails.c.due_ms <= now_ms).order_by(mails.c.due_ms, mails.c.id).limit(1)
    address = connection.execute(due).scalar()
    if address is None:
        return []
    ready = sa.or_(mails.c.due_ms <= now_ms, mails.c.due_ms <= mails.c.created_ms + rules.MOST_WAIT_MS)
    rows = connection.execute(
        sa.select(mails)
        .where(mails.c.address == address, mails.c.due_ms.is_not(None), ready)
        .order_by(mails.c.id)
        .limit(rules.MOST_LINES)
        .with_for_update(skip_locked=True)
    ).all()
    found, gone = [], []
    for row in rows:
        alert = find(connection, row.alert_id)
        if alert is None:  # erased, or deleted by age
            gone.append(row.id)
        else:
            found.append(rules.Mail(row.id, row.address, row.announcement, alert, row.attempts))
    if gone:
        connection.execute(sa.update(mails).where(mails.c.id.in_(gone)).values(due_ms=None, error="no alert any more"))
    if found:
        ids = [each.mail_id for each in found]
        connection.execute(sa.update(mails).where(mails.c.id.in_(ids)).values(due_ms=now_ms + LEASE_MS))
    return found


def settle(connection: sa.Connection, sent: Collection[rules.Mail], error: str, now_ms: int) -> int:
    """Store the result of an attempt (`error` "": sent); return how many are given up by it."""
    given_up = 0
    for each in sent:
        attempts = each.attempts + 1
        due_ms = next_attempt(attempts, now_ms) if error else None
        given_up += bool(error) and due_ms is None
        values = {"attempts": attempts, "error": error[:300], "due_ms": due_ms, "sent_ms": None if error else now_ms}
        connection.execute(sa.update(mails).where(mails.c.id == each.mail_id).values(**values))
    return given_up


def oldest(connection: sa.Connection) -> int | None:
    """Return when the oldest e-mail that waits was made (UTC ms)."""
    return connection.execute(sa.select(sa.func.min(mails.c.created_ms)).where(mails.c.due_ms.is_not(None))).scalar()
