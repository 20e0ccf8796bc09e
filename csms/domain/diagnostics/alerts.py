"""Alerts: what a person or another system has to know, once for each time that something begins and ends (R125).

There is at most one current alert of a kind for a subject. Reports may come late, repeated, in any order and from
several places: the newest by its own time counts, of the same millisecond one that raises. One that ends is announced
only after it has stayed so for `HOLD_MS`, and one that begins again before that is the same alert; one that begins
later is another.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from csms.domain.security.access import Permission, Principal, allowed, may_handle
from v2g.events import Severity

HOLD_MS: Final = 60_000
"""How long an alert has ended before that is announced."""

ESCALATE_MS: Final = (900_000, 3_600_000)
"""An alert of severity `error` that is not acknowledged for so long after its announcement is announced again."""

SubjectKind = Literal["vehicle", "station", "site", "node", "queue", "settlement", "campaign", "grid"]
Announcement = Literal["alert_raised", "alert_cleared", "alert_escalated"]
ANNOUNCEMENTS: Final[frozenset[str]] = frozenset(get_args(Announcement))
Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Subject = Annotated[str, Meta(min_length=1, max_length=64)]
Readable = tuple[tuple[SubjectKind, tuple[str, ...] | None], ...]
"""Whose alerts may be read: kinds of subjects, with the only ones of a kind (None: all)."""

_SEVERITIES: Final = get_args(Severity)


class Evidence(msgspec.Struct, frozen=True):
    """Value and limit in the same unit, and what was measured or calculated beside them."""

    value: float | None = None
    limit: float | None = None
    facts: Mapping[str, float] = {}


class Report(msgspec.Struct, frozen=True):
    """Something has begun (`raised`) or ended at `at_ms` (UTC)."""

    subject_kind: SubjectKind
    subject: str
    kind: str
    severity: Severity
    at_ms: int
    raised: bool
    evidence: Evidence = Evidence()


class Alert(Evidence, frozen=True, kw_only=True):
    """An alert about a vehicle, station or something else; times in ms since 1970, UTC.

    Active until `cleared_ms`. It began `count` times, first at `raised_ms`; `facts` are what was measured or calculated
    last, `value` what passed the `limit`. `changed_ms`: time of the newest report. `announced`: what was announced
    last, at `announced_ms`; `escalations`: how often again since then, as it was not acknowledged.
    """

    alert_id: int = 0  # 0: not stored yet
    subject_kind: SubjectKind
    subject: str
    kind: str
    severity: Severity
    raised_ms: int
    changed_ms: int
    cleared_ms: int | None = None
    count: int
    announced: Literal["", "raised", "cleared"] = ""
    announced_ms: int | None = None
    escalations: int = 0
    escalated_ms: int | None = None
    acknowledged_ms: int | None = None
    acknowledged_by: str = ""
    note: str = ""

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.cleared_ms is None


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that are not announced until `until_ms` (UTC); "" is any `subject`, any `kind`.

    They are listed all the same, and those that are still active then are announced.
    """

    silence_id: int = 0  # 0: not stored yet
    subject_kind: SubjectKind
    subject: str = ""
    kind: str = ""
    until_ms: int
    note: str = ""
    created_ms: int
    created_by: str


def follow(alert: Alert | None, report: Report, now_ms: int) -> Alert | None:
    """Return the alert after a report, None where that changes nothing. A time in the future counts as now.

    An alert whose end was announced is over: what begins then is another, without `alert_id`.
    """
    at_ms = min(report.at_ms, now_ms)
    if alert is not None and (at_ms, report.raised) < (alert.changed_ms, alert.active):
        return None
    if alert is None or (report.raised and alert.announced == "cleared"):
        return _first(report, at_ms)
    if not report.raised:
        if not alert.active:
            return None if at_ms == alert.changed_ms else msgspec.structs.replace(alert, changed_ms=at_ms)
        return msgspec.structs.replace(alert, changed_ms=at_ms, cleared_ms=at_ms)
    worse = _rank(report) > _rank(alert)
    if alert.active and not worse and at_ms == alert.changed_ms:
        return None
    after = msgspec.structs.replace(
        alert,
        raised_ms=alert.raised_ms if alert.count else at_ms,
        changed_ms=at_ms,
        cleared_ms=None,
        count=alert.count + (not alert.active),
        **msgspec.structs.asdict(report.evidence),
    )
    if not worse:
        return after
    return msgspec.structs.replace(  # announced, escalated and acknowledged anew
        after, severity=report.severity, announced="", escalations=0, escalated_ms=None,
        acknowledged_ms=None, acknowledged_by="", note="",
    )  # fmt: skip


def _first(report: Report, at_ms: int) -> Alert:
    """Return a new alert; one whose end arrives before its beginning is kept, and not announced."""
    return Alert(
        subject_kind=report.subject_kind,
        subject=report.subject,
        kind=report.kind,
        severity=report.severity,
        raised_ms=at_ms,
        changed_ms=at_ms,
        cleared_ms=None if report.raised else at_ms,
        count=int(report.raised),
        **(msgspec.structs.asdict(report.evidence) if report.raised else {}),
    )


def announcement(
    alert: Alert, now_ms: int, *, escalate_ms: Sequence[int] = ESCALATE_MS, silenced: bool = False
) -> tuple[Announcement | None, Alert] | None:
    """Return what is to be announced now, with the alert after it; None: nothing changes.

    A silenced alert waits, also with its escalation; without an announcement (None) it is over if it ends meanwhile.
    """
    if alert.active:
        if silenced:
            return None
        if alert.announced != "raised":
            return "alert_raised", msgspec.structs.replace(alert, announced="raised", announced_ms=now_ms)
        if escalation_due(alert, now_ms, escalate_ms):
            number = alert.escalations + 1
            return "alert_escalated", msgspec.structs.replace(alert, escalations=number, escalated_ms=now_ms)
        return None
    assert alert.cleared_ms is not None
    if alert.count and alert.announced == "":  # begun and ended in between: both are announced
        if silenced:
            return None, msgspec.structs.replace(alert, announced="cleared", announced_ms=now_ms)
        return "alert_raised", msgspec.structs.replace(alert, announced="raised", announced_ms=now_ms)
    if alert.announced == "raised" and now_ms >= alert.cleared_ms + HOLD_MS:
        return "alert_cleared", msgspec.structs.replace(alert, announced="cleared", announced_ms=now_ms)
    return None


def escalation_due(alert: Alert, now_ms: int, escalate_ms: Sequence[int]) -> bool:
    """Return whether an announced alert has not been acknowledged in time."""
    if alert.severity != "error" or alert.acknowledged_ms is not None or alert.announced_ms is None:
        return False
    return alert.escalations < len(escalate_ms) and now_ms >= alert.announced_ms + escalate_ms[alert.escalations]


def readable(caller: Principal) -> Readable:
    """Return whose alerts a caller may read."""
    stations = sites = None
    if caller.sites is not None:
        stations, sites = tuple(sorted(caller.sites.stations)), tuple(sorted(caller.sites.names))
    found: list[tuple[SubjectKind, tuple[str, ...] | None]] = []
    if allowed(caller, Permission.READ_STATIONS):
        found.append(("station", stations))
    if allowed(caller, Permission.READ_ENERGY):
        found.append(("site", sites))
    if caller.sites is not None:
        return tuple(found)
    if allowed(caller, Permission.READ_BATTERIES):
        found.append(("vehicle", None if may_handle(caller, "*") else caller.evs))
    if allowed(caller, Permission.READ_STATIONS):
        found += [("node", None), ("queue", None)]
    if allowed(caller, Permission.READ_MAINTENANCE):
        found.append(("campaign", None))
    if allowed(caller, Permission.READ_GRID):
        found.append(("grid", None))
    if allowed(caller, Permission.READ_SETTLEMENTS):
        found.append(("settlement", None))
    return tuple(found)


def may_read(who: Readable, subject_kind: SubjectKind, subject: str) -> bool:
    """Return whether an alert about a subject ("" for all of its kind) is among those that may be read."""
    return any(kind == subject_kind and (only is None or subject in only) for kind, only in who)


def _rank(each: Report | Alert) -> int:
    return _SEVERITIES.index(each.severity)
