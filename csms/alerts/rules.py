"""Alerts: the rules by which they begin and end, who is told, and e-mails about them.

There is at most one current alert of a kind for a subject. Reports may come late, repeated, in any order and from
several places: the newest by its own time counts, of the same millisecond one that raises; of a vehicle's records,
whose clock may be wrong or set, the newest by (boot, seq). One that ends is announced only after it has stayed so for
`HOLD_MS`, and one that begins again before that is the same alert; one that begins later is another.

A rule is data: what it observes has a value, which begins to be an alert beyond `limit` and ends at `clear`. What is
observed is the same at every node and after every restart, so an alert is neither lost nor doubled.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from csms.accounts.rules import Permission, Principal, Role, allowed, evs_of
from csms.webhooks.rules import Announcement
from v2g.battery.sample import Sample, judge
from v2g.events import Severity

HOLD_MS: Final = 60_000
"""How long an alert has ended before that is announced."""

ESCALATE_MS: Final = (900_000, 3_600_000)
"""An alert of severity `error` that is not acknowledged for so long after its announcement is announced again."""

SubjectKind = Literal["vehicle", "station", "site", "node", "queue", "settlement", "campaign", "grid", "partner"]
Kind = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Readable = tuple[tuple[SubjectKind, tuple[str, ...] | None], ...]
"""Whose alerts may be read: kinds of subjects, with the only ones of a kind (None: all)."""

_SEVERITIES: Final = get_args(Severity)


class Evidence(msgspec.Struct, frozen=True):
    """Value and limit in the same unit, and what was measured or calculated beside them; `record`: (boot, seq) of the
    vehicle's newest record about it."""

    value: float | None = None
    limit: float | None = None
    facts: Mapping[str, float] = {}
    record: tuple[int, int] | None = None


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
    assigned: str = ""
    """Who takes care of it."""

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
    at_ms, record = min(report.at_ms, now_ms), report.evidence.record
    worse = alert is not None and report.raised and _rank(report) > _rank(alert)
    if alert is not None and record is not None and alert.record is not None:
        if record < alert.record or (record == alert.record and not (worse and alert.active)):
            return None
        at_ms = max(at_ms, alert.changed_ms)
    elif alert is not None and (at_ms, report.raised) < (alert.changed_ms, alert.active):
        return None
    if alert is None or (report.raised and alert.announced == "cleared"):
        # a new alert; one whose end arrives before its beginning is kept, and not announced
        return Alert(
            subject_kind=report.subject_kind,
            subject=report.subject,
            kind=report.kind,
            severity=report.severity,
            raised_ms=at_ms,
            changed_ms=at_ms,
            cleared_ms=None if report.raised else at_ms,
            count=int(report.raised),
            **(msgspec.structs.asdict(report.evidence) if report.raised else {"record": record}),
        )
    record = record or alert.record
    if not report.raised:
        same = (at_ms, record) == (alert.changed_ms, alert.record)
        if not alert.active:
            return None if same else msgspec.structs.replace(alert, changed_ms=at_ms, record=record)
        return msgspec.structs.replace(alert, changed_ms=at_ms, cleared_ms=at_ms, record=record)
    if alert.active and not worse and (at_ms, record) == (alert.changed_ms, alert.record):
        return None
    after = msgspec.structs.replace(
        alert,
        raised_ms=alert.raised_ms if alert.count else at_ms,
        changed_ms=at_ms,
        cleared_ms=None,
        count=alert.count + (not alert.active),
        **msgspec.structs.asdict(report.evidence) | {"record": record},
    )
    if not worse:
        return after
    return msgspec.structs.replace(  # announced, escalated and acknowledged anew
        after, severity=report.severity, announced="", escalations=0, escalated_ms=None,
        acknowledged_ms=None, acknowledged_by="", note="",
    )  # fmt: skip


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


def escalates_at(alert: Alert, escalate_ms: Sequence[int]) -> int | None:
    """Return when an announced alert that nobody acknowledges is announced again (UTC ms)."""
    if alert.severity != "error" or alert.acknowledged_ms is not None or alert.announced_ms is None:
        return None
    return alert.announced_ms + escalate_ms[alert.escalations] if alert.escalations < len(escalate_ms) else None


def escalation_due(alert: Alert, now_ms: int, escalate_ms: Sequence[int]) -> bool:
    """Return whether an announced alert has not been acknowledged in time."""
    at_ms = escalates_at(alert, escalate_ms)
    return at_ms is not None and now_ms >= at_ms


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
    if allowed(caller, Permission.READ_SETTLEMENTS):
        found.append(("settlement", stations))
    if caller.sites is not None:
        return tuple(found)
    if allowed(caller, Permission.READ_BATTERIES):
        found.append(("vehicle", caller.only_evs))
    if allowed(caller, Permission.READ_STATIONS):
        found += [("node", None), ("queue", None)]
    if allowed(caller, Permission.READ_MAINTENANCE):
        found.append(("campaign", None))
    if allowed(caller, Permission.READ_GRID):
        found.append(("grid", None))
    if allowed(caller, Permission.MANAGE_ROAMING):
        found.append(("partner", None))
    return tuple(found)


def may_read(who: Readable, subject_kind: SubjectKind, subject: str) -> bool:
    """Return whether an alert about a subject ("" for all of its kind) is among those that may be read."""
    return any(kind == subject_kind and (only is None or subject in only) for kind, only in who)


def _rank(each: Report | Alert) -> int:
    return _SEVERITIES.index(each.severity)


RuleName = Literal[
    "station_offline",
    "station_faulted",
    "station_not_attested",
    "over_temperature",
    "fuse_overloaded",
    "grid_limit_exceeded",
    "limit_not_obeyed",
    "queue_ages",
    "node_gone",
    "station_drifts",
    "station_differs",
    "station_certificate_expires",
    "station_certificate_ends",
    "node_certificate_expires",
    "money_quarantined",
    "vehicle_silent",
    "battery_unchecked",
    "campaign_halted",
    "update_failed",
    "partner_silent",
    "cdrs_refused",
    "cdrs_disputed",
    "cdr_missing",
    "price_unpublished",
]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: its value begins to be an alert beyond `limit`, and ends at `clear`: above where that is less."""

    subject_kind: SubjectKind
    value: str
    """What its value is, with the unit."""
    limit: float
    clear: float
    severity: Severity = "warning"
    enabled: bool = True


class RuleChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from a rule's default."""

    enabled: bool = True
    """Whether it raises alerts."""
    severity: Severity | None = None
    """`error` is escalated, `info` and `warning` are not."""
    limit: Annotated[float, Meta(ge=0, le=10**15)] | None = None
    """Value that begins to be an alert, in the unit of the rule (`v2g csms alerts rules`)."""
    clear: Annotated[float, Meta(ge=0, le=10**15)] | None = None
    """Value at which it ends; by default in the proportion of the rule's default."""


RULES: Final[Mapping[RuleName, Rule]] = {
    "station_offline": Rule(subject_kind="station", value="seconds without a message", limit=900, clear=900),
    "station_faulted": Rule(
        subject_kind="station", value="seconds that a connector is Faulted", limit=60, clear=60, severity="error"
    ),
    "station_not_attested": Rule(
        subject_kind="station", value="seconds since it failed to prove its files", limit=0, clear=0, severity="error"
    ),
    "over_temperature": Rule(
        subject_kind="station", value="highest temperature that it reports, Celsius", limit=80, clear=75,
        severity="error",
    ),
    "station_drifts": Rule(
        subject_kind="station", value="standard deviations that its sessions have moved from its first ones, in sum",
        limit=10, clear=5,
    ),
    "station_differs": Rule(
        subject_kind="station", value="deviations between its sessions and those of its make and firmware", limit=7,
        clear=5,
    ),
    "fuse_overloaded": Rule(
        subject_kind="site", value="amperes above the worst fuse's share", limit=0, clear=0, severity="error"
    ),
    "grid_limit_exceeded": Rule(
        subject_kind="grid", value="watts that vehicles draw, or feed back, beyond a limit at its connection point",
        limit=0, clear=0, severity="error",
    ),
    "limit_not_obeyed": Rule(
        subject_kind="station", value="watts that it draws, or feeds back, beyond its share of a limit", limit=0,
        clear=0, severity="error",
    ),
    "queue_ages": Rule(subject_kind="queue", value="seconds that its oldest entry waits", limit=900, clear=300),
    "node_gone": Rule(
        subject_kind="node", value="seconds without a sign of life", limit=60, clear=60, severity="error"
    ),
    "station_certificate_expires": Rule(
        subject_kind="station", value="days until a certificate expires", limit=30, clear=31
    ),
    "station_certificate_ends": Rule(
        subject_kind="station", value="days until a certificate expires", limit=7, clear=8, severity="error"
    ),
    "node_certificate_expires": Rule(
        subject_kind="node", value="days until a certificate expires", limit=14, clear=15, severity="error"
    ),
    "money_quarantined": Rule(
        subject_kind="settlement", value="journals and transactions in quarantine", limit=0, clear=0
    ),
    "vehicle_silent": Rule(subject_kind="vehicle", value="seconds without a record", limit=604_800, clear=604_800),
    "battery_unchecked": Rule(
        subject_kind="vehicle", value="seconds since the last reference of its battery", limit=31 * 86_400,
        clear=31 * 86_400,
    ),
    "campaign_halted": Rule(
        subject_kind="campaign", value="1: it has halted or goes back", limit=0, clear=0, severity="error"
    ),
    "update_failed": Rule(
        subject_kind="campaign", value="stations at which it failed and that are not back on the old image", limit=0,
        clear=0,
    ),
    "partner_silent": Rule(
        subject_kind="partner", value="seconds since it asked, or answered, last", limit=86_400, clear=86_400
    ),
    "cdrs_refused": Rule(subject_kind="partner", value="CDRs that it has not taken", limit=0, clear=0),
    "cdrs_disputed": Rule(subject_kind="partner", value="its CDRs that differ from what we find", limit=0, clear=0),
    "cdr_missing": Rule(
        subject_kind="partner", value="seconds since its first session without a CDR ended, of the last 31 days",
        limit=3 * 86_400, clear=3 * 86_400,
    ),
    "price_unpublished": Rule(
        subject_kind="station", value="EVSEs whose price partners are not shown", limit=0, clear=0
    ),
}  # fmt: skip


class Observed(msgspec.Struct, frozen=True):
    """A value of a subject at present."""

    subject: str
    value: float
    facts: Mapping[str, float] = {}


def rules_of(changes: Mapping[RuleName, RuleChange]) -> dict[RuleName, Rule]:
    """Return all rules with what a configuration changes."""
    return {name: _changed(rule, changes.get(name, RuleChange())) for name, rule in RULES.items()}


def _changed(rule: Rule, change: RuleChange) -> Rule:
    limit = rule.limit if change.limit is None else change.limit
    scaled = limit * (rule.clear / rule.limit) if rule.limit else limit  # the same where both are
    return msgspec.structs.replace(
        rule,
        limit=limit,
        clear=scaled if change.clear is None else change.clear,
        severity=change.severity or rule.severity,
        enabled=change.enabled,
    )


def contradiction(name: RuleName, change: RuleChange) -> str:
    """Return what is wrong with a change; "" for nothing: an alert has to end before it begins again."""
    rule, after = RULES[name], _changed(RULES[name], change)
    if rule.clear > rule.limit:
        wrong = f"has clear = {after.clear:g}, not above limit = {after.limit:g}"  # equal, it would begin above
        return "" if after.clear > after.limit else wrong
    return "" if after.clear <= after.limit else f"has clear = {after.clear:g} above limit = {after.limit:g}"


def reports(
    name: RuleName,
    rule: Rule,
    observed: Iterable[Observed],
    active: Collection[str],
    now_ms: int,
    *,
    settled: bool = True,
    known: Collection[str] | None = None,
) -> list[Report]:
    """Return what begins and ends by a rule. `active`: subjects with an alert of it.

    A subject that is not observed has none any more, if it is among the `known` ones (None: all are). Not `settled`:
    what is observed may still be of the time before a start, and nothing begins.
    """
    found: list[Report] = []
    values = {each.subject: each for each in observed} if rule.enabled else {}
    for subject, each in sorted(values.items()):
        begun, changes = judge(
            name, rule.severity, subject in active, each.value, rule.limit, rule.clear, Sample(now_ms, each.facts)
        )
        if changes and (settled or not begun):
            evidence = Evidence(each.value, rule.limit, each.facts)
            found.append(Report(rule.subject_kind, subject, name, rule.severity, now_ms, begun, evidence))
    gone = [each for each in sorted(active) if each not in values and (known is None or each in known)]
    return found + [Report(rule.subject_kind, each, name, rule.severity, now_ms, raised=False) for each in gone]


MOST_LINES: Final = 100
"""Announcements in one e-mail."""

MOST_WAIT_MS: Final = 60_000
"""Longest time for which an e-mail waits for other announcements to the same address."""

Address = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{0,252}[A-Za-z0-9]\Z")]


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who gets e-mails about which alerts."""

    address: Address
    """E-mail address."""
    role: Role = Role.OPERATOR
    """Only alerts that a caller of the API with this role may read."""
    evs: tuple[str, ...] | None = None
    """Vehicles of a `driver` or `fleet`."""
    severities: Annotated[tuple[Severity, ...], Meta(min_length=1)] = ("error", "warning")
    """Severities."""
    level: Annotated[int, Meta(ge=0, le=10)] = 0
    """0: from the beginning; 1: once an alert was escalated, 2: twice, ..."""
    language: Literal["en", "de"] = "en"
    """Language of the e-mails."""

    @property
    def principal(self) -> Principal:
        """The caller of the API that it corresponds to."""
        return Principal(self.address, self.role, evs_of(self.role, self.evs))


class Mail(msgspec.Struct, frozen=True):
    """An announcement on its way to an address."""

    mail_id: int
    address: str
    announcement: Announcement
    alert: Alert
    attempts: int


def addressees(recipients: Iterable[Recipient], alert: Alert) -> list[str]:
    """Return the addresses that an announcement of an alert goes to, each once."""
    found = {
        each.address: None
        for each in recipients
        if alert.severity in each.severities
        and each.level <= alert.escalations
        and may_read(readable(each.principal), alert.subject_kind, alert.subject)
    }
    return list(found)
