"""Alerts that people see as one: of a kind, severity and site, and an outage of many stations (pure)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec

from csms.alerts.rules import Alert, Silence, SubjectKind, escalates_at
from csms.alerts.sentences import OTHER, SENTENCES, said
from v2g.events import Severity

RECENT_MS: Final = 86_400_000
"""So long alerts that have ended are shown."""

OUTAGE_GAP_MS: Final = 300_000
"""Stations that are lost within so long of each other are lost together."""

OUTAGE_OVER: Final = 20
"""More stations that are lost together are an outage."""

OUTAGE_SHARE: Final = 0.1
"""So is this share of a site's, if at least `OUTAGE_LEAST`."""

OUTAGE_LEAST: Final = 3

OUTAGE: Final = "station_offline"
_PACE: Final = 120

AlertState = Literal["open", "acknowledged", "muted", "cleared"]


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of one state, severity, kind, site and assignee. `text` has `fields` in braces; times are ms (UTC)."""

    state: AlertState
    severity: Severity
    subject_kind: SubjectKind
    kind: str
    site: str
    assigned: str
    count: int
    text: str
    fields: Mapping[str, str]
    then: str
    """What happens by itself, or has to be done."""
    first_ms: int
    last_ms: int
    escalates_ms: int | None
    """When it is announced again, unless somebody acknowledges it."""
    by: str
    """Who has acknowledged the first one, with the note."""
    note: str
    subjects: tuple[str, ...]
    """At most 20, oldest first."""
    facts: Mapping[str, float]
    """Of the first one."""
    alert_ids: tuple[int, ...]


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """Many stations that were lost within minutes. It ends when the last one is back."""

    state: AlertState
    first_ms: int
    last_ms: int
    lost: int
    back: int
    sites: tuple[str, ...]
    """Where, most stations first; "" is no site."""
    by: str
    note: str
    assigned: str
    escalates_ms: int | None
    pace: tuple[tuple[int, int], ...]
    """Times (ms) and how many were missing from then on."""
    subjects: tuple[str, ...]
    """Missing ones, at most 20."""
    alert_ids: tuple[int, ...]
    """Alerts that have not ended."""


class PresentAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """Outages, and all other alerts in groups, worst first."""

    outages: tuple[Outage, ...]
    groups: tuple[AlertGroup, ...]


_ORDER: Final[Mapping[str, int]] = {"error": 0, "warning": 1, "info": 2, "debug": 3}


def grouped(
    alerts: Iterable[Alert],
    silences: Collection[Silence],
    site_of: Mapping[str, str],
    escalate_ms: Sequence[int],
    now_ms: int,
    whole: Callable[[Alert], Alert] = lambda alert: alert,
) -> PresentAlerts:
    """Return alerts, oldest first, in groups. `site_of`: sites by station; `whole` adds the evidence of an alert."""
    quiet = {(each.subject_kind, each.subject, each.kind) for each in silences}

    def state_of(alert: Alert) -> AlertState:
        if not alert.active:
            return "cleared"
        if any((alert.subject_kind, name, kind) in quiet for name in ("", alert.subject) for kind in ("", alert.kind)):
            return "muted"
        return "open" if alert.acknowledged_ms is None else "acknowledged"

    def site(alert: Alert) -> str:
        return alert.subject if alert.subject_kind == "site" else site_of.get(alert.subject, "")

    outages: list[Outage] = []
    rows: dict[tuple[str, ...], list[Alert]] = {}
    lost: list[Alert] = []
    others: list[Alert] = []
    for each in alerts:
        (lost if each.kind == OUTAGE else others).append(each)
    sizes = Counter(site_of.values())
    found: list[list[Alert]] = [list(lost[:1])] if lost else []
    for before, each in pairwise(lost):
        if each.raised_ms - before.raised_ms > OUTAGE_GAP_MS:
            found.append([])
        found[-1].append(each)
    for together in found:
        if _is_outage(together, site_of, sizes):
            outages.append(_outage(together, state_of, site_of, escalate_ms))
        else:
            others += together
    for each in others:
        key = (state_of(each), each.severity, each.subject_kind, each.kind, site(each), each.assigned)
        rows.setdefault(key, []).append(each)
    groups = [_group(state_of(found[0]), site(found[0]), found, escalate_ms, now_ms, whole) for found in rows.values()]
    groups.sort(key=lambda each: (_ORDER[each.severity], -each.first_ms, each.kind, each.site))
    return PresentAlerts(outages=tuple(reversed(outages)), groups=tuple(groups))


def _is_outage(lost: Collection[Alert], site_of: Mapping[str, str], sizes: Mapping[str, int]) -> bool:
    """Return whether stations that were lost together are an outage, of which one is still missing."""
    if not any(each.active for each in lost):
        return False
    at = Counter(site_of[each.subject] for each in lost if each.subject in site_of)
    return len(lost) > OUTAGE_OVER or any(
        number >= max(OUTAGE_LEAST, OUTAGE_SHARE * sizes[name]) for name, number in at.items()
    )


def _outage(
    lost: Sequence[Alert],
    state_of: Callable[[Alert], AlertState],
    site_of: Mapping[str, str],
    escalate_ms: Sequence[int],
) -> Outage:
    missing = [each for each in lost if each.active]
    states = {state_of(each) for each in missing}
    steps = Counter(each.raised_ms for each in lost)
    steps.subtract(each.cleared_ms for each in lost if each.cleared_ms is not None)
    pace, count = [], 0
    for at_ms in sorted(steps):
        count += steps[at_ms]
        pace.append((at_ms, count))
    every = -(-len(pace) // _PACE)
    at = Counter(site_of.get(each.subject, "") for each in lost)
    return Outage(
        state="open" if "open" in states else "acknowledged" if "acknowledged" in states else "muted",
        first_ms=lost[0].raised_ms,
        last_ms=lost[-1].raised_ms,
        lost=len(lost),
        back=len(lost) - len(missing),
        sites=tuple(name for name, _ in at.most_common(50)),
        by=missing[0].acknowledged_by,
        note=missing[0].note,
        assigned=missing[0].assigned,
        escalates_ms=_escalates(missing, escalate_ms),
        pace=tuple(each for number, each in enumerate(pace) if number % every == 0 or number == len(pace) - 1),
        subjects=tuple(each.subject for each in missing[:20]),
        alert_ids=tuple(each.alert_id for each in missing),
    )


def _group(
    state: AlertState,
    site: str,
    found: Sequence[Alert],
    escalate_ms: Sequence[int],
    now_ms: int,
    whole: Callable[[Alert], Alert],
) -> AlertGroup:
    first = whole(found[0])
    text, fields = said(first, len(found), now_ms)
    return AlertGroup(
        state=state,
        severity=first.severity,
        subject_kind=first.subject_kind,
        kind=first.kind,
        site=site,
        assigned=first.assigned,
        count=len(found),
        text=text,
        fields=fields,
        then=SENTENCES.get(first.kind, OTHER).then,
        first_ms=first.raised_ms,
        last_ms=found[-1].raised_ms,
        escalates_ms=_escalates(found, escalate_ms),
        by=first.acknowledged_by,
        note=first.note,
        subjects=tuple(each.subject for each in found[:20]),
        facts=first.facts,
        alert_ids=tuple(each.alert_id for each in found),
    )


def _escalates(alerts: Iterable[Alert], escalate_ms: Sequence[int]) -> int | None:
    """Return when the first of some alerts is announced again."""
    times = (escalates_at(each, escalate_ms) for each in alerts if each.active)
    return min((each for each in times if each is not None), default=None)
