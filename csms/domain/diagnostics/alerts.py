"""Alerts: what a person or another system is told of, once for each time that something begins and ends (R125).

There is at most one alert of a kind for a subject. Reports may come late, repeated, in any order and from several
places: the newest by its own time counts. One that ends is announced only after it has stayed so for `HOLD_MS`, and one
that begins again before that is the same alert.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from v2g.events import Severity

HOLD_MS: Final = 60_000
"""How long an alert has ended before that is announced."""

ESCALATE_MS: Final = 900_000
"""An alert of severity `error` that nobody has acknowledged for so long is announced once more."""

SubjectKind = Literal["vehicle", "station", "node", "settlement"]
Announcement = Literal["alert_raised", "alert_cleared", "alert_escalated"]
ANNOUNCEMENTS: Final[frozenset[str]] = frozenset(get_args(Announcement))
Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]

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


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert: active from `raised_ms` to `cleared_ms` (None: still), times in UTC.

    `changed_ms` is the time of the newest report, `count` how often it began, `told` what was announced last.
    """

    subject_kind: SubjectKind
    subject: str
    kind: str
    severity: Severity
    raised_ms: int
    changed_ms: int
    cleared_ms: int | None
    count: int
    told: Literal["", "raised", "cleared"] = ""
    escalated_ms: int | None = None
    acknowledged_ms: int | None = None
    acknowledged_by: str = ""
    note: str = ""

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.cleared_ms is None


def follow(alert: Alert | None, report: Report, now_ms: int) -> Alert | None:
    """Return the alert after a report, None where that changes nothing. A time in the future counts as now."""
    at_ms = min(report.at_ms, now_ms)
    if alert is None:  # one that ended before its beginning arrives is kept, and never announced
        cleared_ms = None if report.raised else at_ms
        return Alert(
            subject_kind=report.subject_kind,
            subject=report.subject,
            kind=report.kind,
            severity=report.severity,
            raised_ms=at_ms,
            changed_ms=at_ms,
            cleared_ms=cleared_ms,
            count=int(report.raised),
        )
    if at_ms < alert.changed_ms:
        return None
    if report.raised is alert.active and _rank(report) <= _rank(alert):
        return None if at_ms == alert.changed_ms else msgspec.structs.replace(alert, changed_ms=at_ms)
    if not report.raised:
        return msgspec.structs.replace(alert, changed_ms=at_ms, cleared_ms=at_ms)
    worse = _rank(report) > _rank(alert)
    if alert.active or (alert.told == "raised" and not worse):  # the same alert, perhaps worse
        return msgspec.structs.replace(
            alert,
            severity=report.severity if worse else alert.severity,
            changed_ms=at_ms,
            cleared_ms=None,
            count=alert.count + (not alert.active),
            told="" if worse else alert.told,
        )
    return msgspec.structs.replace(
        alert,
        severity=report.severity,
        raised_ms=at_ms,
        changed_ms=at_ms,
        cleared_ms=None,
        count=alert.count + 1,
        told="",
        escalated_ms=None,
        acknowledged_ms=None,
        acknowledged_by="",
        note="",
    )


def announcement(alert: Alert, now_ms: int) -> tuple[Announcement, Alert] | None:
    """Return what is to be announced now, with the alert after it; None: nothing is."""
    if alert.active:
        if alert.told != "raised":
            return "alert_raised", msgspec.structs.replace(alert, told="raised")
        unseen = alert.severity == "error" and alert.acknowledged_ms is None and alert.escalated_ms is None
        if unseen and now_ms >= alert.raised_ms + ESCALATE_MS:
            return "alert_escalated", msgspec.structs.replace(alert, escalated_ms=now_ms)
        return None
    assert alert.cleared_ms is not None
    if alert.count and alert.told == "":  # begun and ended in between: both are announced
        return "alert_raised", msgspec.structs.replace(alert, told="raised")
    if alert.told == "raised" and now_ms >= alert.cleared_ms + HOLD_MS:
        return "alert_cleared", msgspec.structs.replace(alert, told="cleared")
    return None


def _rank(each: Report | Alert) -> int:
    return _SEVERITIES.index(each.severity)
