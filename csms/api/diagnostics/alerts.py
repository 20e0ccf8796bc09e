"""Alerts: what began, whether it has ended, and who has seen it (R125)."""

from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.api.http.call import Call
from csms.api.http.operations import Page, get, post
from csms.api.http.paging import newest_first, shown
from csms.api.http.parameters import Paged
from csms.api.http.problems import missing
from csms.db.queries import alerts as rows
from csms.domain.diagnostics.alerts import SubjectKind
from csms.domain.security.access import Permission, Principal, allowed, may_handle
from v2g.events import Severity


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert about a vehicle, station or something else; times in ms since 1970, UTC.

    Active until `cleared_ms`. It began `count` times, last at `raised_ms`; `facts` are what was measured or calculated
    then, `value` what passed the `limit`. `escalated_ms`: when it was announced again, since nobody acknowledged it.
    """

    alert_id: int
    subject_kind: SubjectKind
    subject: str
    kind: str
    severity: Severity
    raised_ms: int
    changed_ms: int
    cleared_ms: int | None
    count: int
    escalated_ms: int | None
    acknowledged_ms: int | None
    acknowledged_by: str
    note: str
    value: float | None
    limit: float | None
    facts: dict[str, float]


class WhichAlerts(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for alerts."""

    active: Annotated[bool | None, msgspec.Meta(description="Only those that have not ended, or only others.")] = None
    subject: Annotated[
        str | None, msgspec.Meta(description="Only of this vehicle, station or other subject.", examples=["EV-1"])
    ] = None


class OneAlert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of an alert."""

    alert_id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the caller says about an alert."""

    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


@get("/alerts", Permission.READ_ALERTS)
async def list_alerts(call: Call, parameters: WhichAlerts) -> Page[Alert]:
    """List alerts about what the caller may read, newest first."""
    subjects = _subjects(call.caller)

    def fetch(connection: Connection, before: int | None, limit: int) -> list[dict[str, object]]:
        return rows.listed(
            connection, subjects, active=parameters.active, subject=parameters.subject, before=before, limit=limit
        )

    return await newest_first(call, parameters, Alert, "alert_id", fetch)


@get("/alerts/{alert_id}", Permission.READ_ALERTS, problems=(404,))
async def read_alert(call: Call, parameters: OneAlert) -> Alert:
    """Return one alert."""
    found = await call.run(_theirs, parameters.alert_id, call.caller)
    if found is None:
        raise missing("alert")
    return found


@post("/alerts/{alert_id}/acknowledge", Permission.WRITE_ALERTS, problems=(404,), example={"note": "towed to workshop"})
async def acknowledge_alert(call: Call, parameters: OneAlert, body: Acknowledgement) -> Alert:
    """Note that the caller has seen an alert: it is not escalated. It ends by itself."""

    def read(connection: Connection) -> Alert | None:
        return _theirs(connection, parameters.alert_id, call.caller)

    def write(connection: Connection, before: Alert | None) -> None:
        if before is None:
            raise missing("alert")
        rows.acknowledge(connection, parameters.alert_id, call.caller.name, body.note, call.now_ms)

    _, after = await call.change(read, write)
    assert after is not None
    return after


def _theirs(connection: Connection, alert_id: int, caller: Principal) -> Alert | None:
    """Return an alert, None where the caller may not read it: its number says nothing."""
    found = rows.find(connection, alert_id)
    if found is None or not any(
        kind == found["subject_kind"] and (only is None or found["subject"] in only) for kind, only in _subjects(caller)
    ):
        return None
    return shown(found, Alert)


def _subjects(caller: Principal) -> list[tuple[SubjectKind, tuple[str, ...] | None]]:
    """Return whose alerts a caller may read: kinds of subjects, with the only ones of a kind (None: all)."""
    found: list[tuple[SubjectKind, tuple[str, ...] | None]] = []
    if allowed(caller, Permission.READ_BATTERIES):
        found.append(("vehicle", None if may_handle(caller, "*") else caller.evs))
    if allowed(caller, Permission.READ_STATIONS):
        found += [("station", None), ("node", None)]
    if allowed(caller, Permission.READ_SETTLEMENTS):
        found.append(("settlement", None))
    return found


OPERATIONS = (list_alerts, read_alert, acknowledge_alert)
"""Of alerts."""
