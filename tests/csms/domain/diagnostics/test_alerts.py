"""Alerts: one for what many reports say, whatever their order, and announced as a reader has to hear it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain.diagnostics.alerts import ESCALATE_MS, HOLD_MS, Alert, Report, announcement, follow
from v2g.events import Severity

NOW = 10**12


def report(at_ms: int, *, raised: bool = True, severity: Severity = "warning") -> Report:
    return Report("vehicle", "EV-1", "over_temperature", severity, at_ms, raised)


def after(*reports: Report, alert: Alert | None = None) -> Alert:
    for each in reports:
        alert = follow(alert, each, NOW) or alert
    assert alert is not None
    return alert


def announced(alert: Alert, now_ms: int) -> tuple[list[str], Alert]:
    found = []
    while (said := announcement(alert, now_ms)) is not None:
        found.append(said[0])
        alert = said[1]
    return found, alert


@pytest.mark.requirement("R125")
@given(st.lists(st.tuples(st.integers(0, NOW), st.booleans()), min_size=1, unique_by=lambda each: each[0]), st.data())
def test_the_newest_report_counts_in_whatever_order_and_however_often_they_come(
    reports: list[tuple[int, bool]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(reports + reports))
    alert = after(*(report(at_ms, raised=raised) for at_ms, raised in shuffled))
    newest_ms, raised = max(reports)
    assert (alert.active, alert.changed_ms) == (raised, newest_ms)
    assert alert.cleared_ms is None or alert.cleared_ms <= newest_ms
    assert alert.count <= sum(raised for _, raised in reports + reports)


@pytest.mark.requirement("R125")
def test_an_alert_is_announced_once_when_it_begins_and_once_when_it_has_ended_for_a_while() -> None:
    alert = after(report(1), report(2), report(3))
    said, alert = announced(alert, 10)
    assert (said, alert.count) == (["alert_raised"], 1)
    alert = after(report(1000, raised=False), alert=alert)
    assert announced(alert, 999 + HOLD_MS)[0] == []
    flapping = after(report(2000), alert=alert)
    assert (flapping.count, announced(flapping, 10**6)[0]) == (2, [])
    said, ended = announced(alert, 1000 + HOLD_MS)
    assert said == ["alert_cleared"]
    again = after(report(500_000), alert=ended)
    assert (again.raised_ms, announced(again, 500_000)[0]) == (500_000, ["alert_raised"])


@pytest.mark.requirement("R125")
def test_one_that_begins_and_ends_before_anybody_looks_is_announced_too() -> None:
    alert = after(report(1), report(2, raised=False))
    assert announced(alert, HOLD_MS + 2)[0] == ["alert_raised", "alert_cleared"]
    only_ended = after(report(2, raised=False), report(1))
    assert not only_ended.active
    assert announced(only_ended, NOW)[0] == []


@pytest.mark.requirement("R125")
def test_an_error_that_nobody_acknowledges_is_announced_again_and_a_worse_one_at_once() -> None:
    _, warning = announced(after(report(1)), 1)
    assert announced(warning, ESCALATE_MS + 1)[0] == []
    worse = after(report(2, severity="error"), alert=warning)
    said, worse = announced(worse, 2)
    assert (said, worse.severity) == (["alert_raised"], "error")
    said, escalated = announced(worse, ESCALATE_MS + 1)
    assert said == ["alert_escalated"]
    assert announced(escalated, 10 * ESCALATE_MS)[0] == []
    assert after(report(3), alert=worse).severity == "error", "a milder report of the same thing lowers nothing"


@pytest.mark.requirement("R125")
def test_a_new_beginning_has_to_be_acknowledged_anew() -> None:
    _, alert = announced(after(report(1)), 1)
    seen = Alert(**{name: getattr(alert, name) for name in Alert.__struct_fields__} | {"acknowledged_ms": 5})
    _, ended = announced(after(report(10, raised=False), alert=seen), 10 + HOLD_MS)
    assert after(report(HOLD_MS * 2), alert=ended).acknowledged_ms is None


def test_a_time_in_the_future_holds_nothing_up() -> None:
    alert = after(report(NOW + 10**10))
    assert alert.changed_ms == NOW
    assert not after(report(NOW, raised=False), alert=alert).active
    assert [each for each, _ in itertools.groupby(announced(alert, NOW)[0])] == ["alert_raised"]
