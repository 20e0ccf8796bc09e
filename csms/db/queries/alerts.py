"""Alerts: taken over from reports, listed, acknowledged and announced. Their evidence is sealed where it is a
vehicle's."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, false, func, insert, or_, select, update

from csms.db.queries import webhooks
from csms.db.tables import alerts
from csms.db.telemetry_seal import seal_of
from csms.domain.diagnostics.alerts import ESCALATE_MS, HOLD_MS, Alert, Announcement, Evidence, Report, follow
from csms.domain.diagnostics.alerts import announcement as announcement_of
from v2g import typed_json

MOST_KINDS: Final = 100
"""Alerts that one subject may have."""

STEP: Final = 200
"""Alerts announced in one transaction."""

Key = tuple[str, str, str]
Hooks = Callable[[Announcement, dict[str, Any], list[webhooks.Webhook]], Iterable[tuple[str, str, str]]]
"""Returns the deliveries (webhook, kind, body) of an announcement to those of the webhooks that want it."""
_decode = typed_json.decoder(Evidence).decode
_encode: Final = msgspec.json.Encoder().encode


def take(connection: Connection, reports: Sequence[Report], now_ms: int) -> bool:
    """Take over reports, in order; return whether one changed something. A repetition changes nothing."""
    changed = False
    for report in reports:
        key = report.subject_kind, report.subject, report.kind
        row = connection.execute(select(alerts).where(_here(key)).with_for_update()).one_or_none()
        after = follow(None if row is None else _alert(row), report, now_ms)
        if after is None:
            continue
        values: dict[str, Any] = msgspec.structs.asdict(after)
        if report.raised or row is None:
            values["evidence"] = _sealed(connection, key, report.evidence)
        if row is not None:
            connection.execute(update(alerts).where(alerts.c.id == row.id).values(**values))
        elif _number(connection, report) < MOST_KINDS:
            connection.execute(insert(alerts).values(**values))
        changed = True
    return changed


def _number(connection: Connection, report: Report) -> int:
    there = (alerts.c.subject_kind == report.subject_kind) & (alerts.c.subject == report.subject)
    return connection.execute(select(func.count()).select_from(alerts).where(there)).scalar() or 0


def listed(
    connection: Connection,
    subjects: Iterable[tuple[str, tuple[str, ...] | None]],
    *,
    active: bool | None,
    subject: str | None,
    before: int | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return alerts that began, newest first by number, below `before`.

    `subjects`: kinds of subjects, with the only ones of a kind (None: all).
    """
    wanted = select(alerts).where(
        alerts.c.count > 0,
        or_(false(), *((alerts.c.subject_kind == kind) & _among(only) for kind, only in subjects)),
    )
    if active is not None:
        wanted = wanted.where(alerts.c.cleared_ms.is_(None) if active else alerts.c.cleared_ms.is_not(None))
    if subject is not None:
        wanted = wanted.where(alerts.c.subject == subject)
    if before is not None:
        wanted = wanted.where(alerts.c.id < before)
    return [_shown(connection, row) for row in connection.execute(wanted.order_by(alerts.c.id.desc()).limit(limit))]


def _among(only: tuple[str, ...] | None) -> Any:
    return alerts.c.subject.is_not(None) if only is None else alerts.c.subject.in_(only)


def find(connection: Connection, alert_id: int) -> dict[str, Any] | None:
    """Return one alert that began."""
    row = connection.execute(select(alerts).where(alerts.c.id == alert_id, alerts.c.count > 0)).one_or_none()
    return None if row is None else _shown(connection, row)


def acknowledge(connection: Connection, alert_id: int, by: str, note: str, now_ms: int) -> None:
    """Store who has seen an alert."""
    values = {"acknowledged_ms": now_ms, "acknowledged_by": by[:128], "note": note}
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(**values))


def announce(
    connection: Connection, now_ms: int, hooks: Hooks = lambda *_: ()
) -> list[tuple[Announcement, dict[str, Any]]]:
    """Return what is to be announced now, each once, with its alert; deliveries to webhooks are stored with it."""
    column = alerts.c
    due = or_(
        (column.told != "raised") & column.cleared_ms.is_(None),
        (column.told == "") & (column.count > 0),
        (column.told == "raised") & (column.cleared_ms <= now_ms - HOLD_MS),
        (column.severity == "error")
        & column.cleared_ms.is_(None)
        & column.acknowledged_ms.is_(None)
        & column.escalated_ms.is_(None)
        & (column.raised_ms <= now_ms - ESCALATE_MS),
    )
    found: list[tuple[Announcement, dict[str, Any]]] = []
    rows = connection.execute(
        select(alerts).where(due).order_by(column.id).limit(STEP).with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        if (said := announcement_of(_alert(row), now_ms)) is not None:
            kind, after = said
            connection.execute(
                update(alerts).where(column.id == row.id).values(told=after.told, escalated_ms=after.escalated_ms)
            )
            found.append((kind, {"alert_id": row.id, **msgspec.structs.asdict(after)}))
    if found:
        known = webhooks.list_all(connection)
        webhooks.enqueue(connection, [each for said in found for each in hooks(*said, known)], now_ms)
    return found


def erase(connection: Connection, ev: str) -> None:
    """Erase the alerts of a vehicle."""
    connection.execute(delete(alerts).where(alerts.c.subject_kind == "vehicle", alerts.c.subject == ev))


def _here(key: Key) -> Any:
    return (alerts.c.subject_kind == key[0]) & (alerts.c.subject == key[1]) & (alerts.c.kind == key[2])


def _alert(row: Any) -> Alert:
    return Alert(**{name: getattr(row, name) for name in Alert.__struct_fields__})


def _sealed(connection: Connection, key: Key, evidence: Evidence) -> bytes:
    document = _encode(evidence)
    return seal_of(connection).seal(document, "alert", *key) if key[0] == "vehicle" else document


def _shown(connection: Connection, row: Any) -> dict[str, Any]:
    alert = _alert(row)
    key = alert.subject_kind, alert.subject, alert.kind
    document = seal_of(connection).find(connection, row.evidence, "alert", *key)
    evidence = Evidence() if document is None else _decode(document)
    return {"alert_id": row.id, **msgspec.structs.asdict(alert), **msgspec.structs.asdict(evidence)}
