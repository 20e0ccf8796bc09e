"""Alert rules: what begins and ends by values, with hysteresis, and what a configuration may change."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.alerts.rules import RULES, Observed, Rule, RuleChange, RuleName, contradiction, reports, rules_of
from tests.together import together

NOW = 10**12
HOT: RuleName = "over_temperature"
EXPIRES: RuleName = "node_certificate_expires"


@pytest.mark.requirement("R125")
def test_rules_are_those_that_operators_were_promised() -> None:
    found = {name: (each.subject_kind, each.limit, each.clear, each.severity) for name, each in RULES.items()}
    week, month = 604_800, 2_678_400
    assert found == {
        "station_offline": ("station", 900, 900, "warning"),
        "station_faulted": ("station", 60, 60, "error"),
        "station_not_attested": ("station", 0, 0, "error"),
        "over_temperature": ("station", 80, 75, "error"),
        "station_drifts": ("station", 10, 5, "warning"),
        "station_differs": ("station", 7, 5, "warning"),
        "fuse_overloaded": ("site", 0, 0, "error"),
        "queue_ages": ("queue", 900, 300, "warning"),
        "node_gone": ("node", 60, 60, "error"),
        "station_certificate_expires": ("station", 30, 31, "warning"),
        "station_certificate_ends": ("station", 7, 8, "error"),
        "node_certificate_expires": ("node", 14, 15, "error"),
        "money_quarantined": ("settlement", 0, 0, "warning"),
        "vehicle_silent": ("vehicle", week, week, "warning"),
        "battery_unchecked": ("vehicle", month, month, "warning"),
        "campaign_halted": ("campaign", 0, 0, "error"),
        "grid_limit_exceeded": ("grid", 0, 0, "error"),
        "limit_not_obeyed": ("station", 0, 0, "error"),
        "update_failed": ("campaign", 0, 0, "warning"),
        "partner_silent": ("partner", 86_400, 86_400, "warning"),
        "cdrs_refused": ("partner", 0, 0, "warning"),
        "cdrs_disputed": ("partner", 0, 0, "warning"),
        "cdr_missing": ("partner", 3 * 86_400, 3 * 86_400, "warning"),
        "price_unpublished": ("station", 0, 0, "warning"),
    }
    assert all(each.enabled for each in RULES.values())
    assert set(RULES) == set(get_args(RuleName))


def begun(name: RuleName, values: dict[str, float], active: set[str], rule: Rule | None = None) -> dict[str, bool]:
    observed = [Observed(subject, value) for subject, value in values.items()]
    found = reports(name, rule or RULES[name], observed, active, NOW)
    assert all((each.kind, each.at_ms) == (name, NOW) for each in found)
    return {each.subject: each.raised for each in found}


@together(
    ("name", "value", "active", "expected"),
    [
        (HOT, 80.0, False, None),
        (HOT, 80.1, False, True),
        (HOT, 75.1, True, None),
        (HOT, 75.0, True, False),
        (EXPIRES, 14.0, False, None),
        (EXPIRES, 13.9, False, True),
        (EXPIRES, -3.0, False, True),
        (EXPIRES, 14.9, True, None),
        (EXPIRES, 15.0, True, False),
        ("money_quarantined", 1.0, False, True),
        ("money_quarantined", 0.0, True, False),
    ],
)
def test_a_value_begins_beyond_the_limit_and_ends_at_another(
    name: RuleName, value: float, active: bool, expected: bool | None
) -> None:
    found = begun(name, {"X": value}, {"X"} if active else set())
    assert found == ({} if expected is None else {"X": expected})


def test_a_subject_that_is_not_observed_any_more_has_ended_unless_it_is_unknown_here() -> None:
    assert begun(HOT, {"A": 90.0}, {"A", "B"}) == {"B": False}
    rule = RULES[HOT]
    assert reports(HOT, rule, [], {"B"}, NOW, known=set()) == []
    assert [each.subject for each in reports(HOT, rule, [], {"B"}, NOW, known={"B"})] == ["B"]


def test_before_a_node_is_settled_nothing_begins_but_what_has_ended_ends() -> None:
    observed = [Observed("A", 90.0), Observed("B", 20.0)]
    found = reports(HOT, RULES[HOT], observed, {"B"}, NOW, settled=False)
    assert [(each.subject, each.raised) for each in found] == [("B", False)]


def test_a_disabled_rule_ends_what_it_had_raised() -> None:
    rule = rules_of({HOT: RuleChange(enabled=False)})[HOT]
    assert begun(HOT, {"A": 90.0}, {"A"}, rule) == {"A": False}


def test_evidence_and_severity_are_in_the_report() -> None:
    rule = rules_of({HOT: RuleChange(severity="warning", limit=60.0)})[HOT]
    (found,) = reports(HOT, rule, [Observed("A", 61.0, {"evse": 2.0})], (), NOW)
    assert (found.subject_kind, found.severity) == ("station", "warning")
    assert (found.evidence.value, found.evidence.limit, found.evidence.facts) == (61.0, 60.0, {"evse": 2.0})


@given(st.floats(0, 1e6), st.sampled_from(sorted(RULES)))
def test_a_changed_limit_keeps_the_hysteresis(limit: float, name: RuleName) -> None:
    change = RuleChange(limit=limit)
    rule, usual = rules_of({name: change})[name], RULES[name]
    below = usual.clear > usual.limit
    assert (contradiction(name, change) == "") is not (below and rule.clear == limit), "0 days is no time to renew"
    assert (rule.limit, rule.severity) == (limit, usual.severity)
    if usual.limit:
        assert rule.clear == pytest.approx(limit * usual.clear / usual.limit)


def test_an_alert_that_could_not_end_before_it_begins_is_a_contradiction() -> None:
    assert "above limit" in contradiction(HOT, RuleChange(clear=81.0))
    for clear in (13.0, 14.0):
        assert "not above limit" in contradiction(EXPIRES, RuleChange(clear=clear))
    assert contradiction(HOT, RuleChange(clear=80.0)) == ""
    assert rules_of({HOT: RuleChange(clear=70.0)})[HOT].clear == 70.0
