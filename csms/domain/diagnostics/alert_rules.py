"""Alert rules: when the state of stations, sites, nodes, queues, money, vehicles and campaigns is an alert.

A rule is data: what it observes has a value, which begins to be an alert beyond `limit` and ends at `clear`. What is
observed is the same at every node and after every restart, so an alert is neither lost nor doubled.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from csms.domain.diagnostics.alerts import Evidence, Report, SubjectKind
from v2g.battery.finding import judge
from v2g.battery.sample import Sample
from v2g.events import Severity

RuleName = Literal[
    "station_offline",
    "station_faulted",
    "station_not_attested",
    "over_temperature",
    "fuse_overloaded",
    "grid_limit_exceeded",
    "queue_ages",
    "node_gone",
    "station_drifts",
    "station_differs",
    "station_certificate_expires",
    "node_certificate_expires",
    "money_quarantined",
    "vehicle_silent",
    "battery_unchecked",
    "campaign_halted",
    "update_failed",
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
    limit: Annotated[float, Meta(ge=0)] | None = None
    """Value that begins to be an alert, in the unit of the rule (`v2g csms alerts rules`)."""
    clear: Annotated[float, Meta(ge=0)] | None = None
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
        subject_kind="grid", value="watts that all vehicles draw, or feed back, beyond the limit of the grid signal",
        limit=0, clear=0, severity="error",
    ),
    "queue_ages": Rule(subject_kind="queue", value="seconds that its oldest entry waits", limit=900, clear=300),
    "node_gone": Rule(
        subject_kind="node", value="seconds without a sign of life", limit=60, clear=60, severity="error"
    ),
    "station_certificate_expires": Rule(
        subject_kind="station", value="days until a certificate expires", limit=14, clear=15
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
