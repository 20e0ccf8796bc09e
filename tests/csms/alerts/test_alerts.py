"""Alerts: one for what many reports say, whatever their order, and announced as readers need it."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.accounts.rules import Principal, Role, Sites
from csms.alerts.rules import (
    ESCALATE_MS,
    HOLD_MS,
    Alert,
    Evidence,
    Recipient,
    Report,
    SubjectKind,
    addressees,
    announcement,
    escalation_due,
    follow,
    may_read,
    readable,
)
from tests.together import together
from v2g.events import Severity

NOW = 10**12


def report(at_ms: int, *, raised: bool = True, severity: Severity = "warning", value: float = 1.0) -> Report:
    return Report("vehicle", "EV-1", "over_temperature", severity, at_ms, raised, Evidence(value, 0.5))


def after(*reports: Report, alert: Alert | None = None) -> Alert:
    for each in reports:
        alert = follow(alert, each, NOW) or alert
    assert alert is not None
    return alert


def announced(alert: Alert, now_ms: int, *, silenced: bool = False) -> tuple[list[str | None], Alert]:
    found: list[str | None] = []
    while (said := announcement(alert, now_ms, silenced=silenced)) is not None:
        found.append(said[0])
        alert = said[1]
    return found, alert


@pytest.mark.requirement("R125")
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1), st.data())
def test_the_newest_report_counts_in_whatever_order_and_however_often_they_come(
    reports: list[tuple[int, bool]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(reports + reports))
    alert = after(*(report(at_ms, raised=raised) for at_ms, raised in shuffled))
    newest_ms, raised = max(reports)
    assert (alert.active, alert.changed_ms) == (raised, newest_ms), "of the same time one that raises counts"
    assert alert.cleared_ms is None or alert.cleared_ms <= newest_ms
    assert alert.count <= sum(raised for _, raised in reports + reports)
    for each in sorted(set(reports)):
        assert follow(alert, report(each[0], raised=each[1]), NOW) is None, "a repetition changes nothing"


def recorded(seq: int, at_ms: int, *, raised: bool = True, severity: Severity = "warning") -> Report:
    found = report(at_ms, raised=raised, severity=severity)
    evidence = msgspec.structs.replace(found.evidence, record=(7, seq))
    return msgspec.structs.replace(found, evidence=evidence)


@pytest.mark.requirement("R125")
def test_a_vehicles_records_count_in_their_own_order_whatever_its_clock_says() -> None:
    hour = 3_600_000
    for clock_ms in (0, -6 * hour, 6 * hour):
        first = recorded(4, NOW - 10_000 + clock_ms)
        alert = follow(None, first, NOW - 10_000)
        alert = after(report(NOW, raised=False), alert=alert)  # a person, by our clock
        assert not alert.active
        for late in (first, recorded(3, NOW + hour), recorded(2, NOW + hour, raised=False)):
            assert follow(alert, late, NOW + hour) is None, "it was before that"
        again = follow(alert, recorded(5, NOW + clock_ms + 1000), NOW + 1000)
        assert again is not None
        assert (again.active, again.count, again.record) == (True, 2, (7, 5)), clock_ms
        assert follow(again, recorded(5, NOW + 2 * hour), NOW + 2 * hour) is None, "a repetition"
        worse = follow(again, recorded(5, NOW, severity="error"), NOW)
        assert worse is not None
        assert worse.severity == "error"
        ended = after(recorded(6, NOW - 9 * hour, raised=False), alert=again)
        assert (ended.active, ended.record) == (False, (7, 6)), "the clock was set back"
    swapped = after(recorded(2, 10, raised=False), recorded(1, 10))
    assert (swapped.active, swapped.count) == (False, 0), "an end of the same millisecond"


@pytest.mark.requirement("R125")
def test_an_alert_is_announced_once_when_it_begins_and_once_when_it_has_ended_for_a_while() -> None:
    alert = after(report(1), report(2), report(3, value=7.0))
    assert (alert.value, alert.raised_ms) == (7.0, 1)
    said, alert = announced(alert, 10)
    assert (said, alert.count, alert.announced_ms) == (["alert_raised"], 1, 10)
    alert = after(report(1000, raised=False), alert=alert)
    assert announced(alert, 60_999)[0] == []
    flapping = after(report(2000), alert=alert)
    assert (flapping.count, flapping.raised_ms, announced(flapping, 10**6)[0]) == (2, 1, [])
    said, ended = announced(alert, 61_000)
    assert said == ["alert_cleared"]
    assert announced(ended, NOW)[0] == []


@pytest.mark.requirement("R125")
def test_what_begins_after_the_announced_end_is_another_alert_with_nothing_of_the_first() -> None:
    _, alert = announced(after(report(1)), 1)
    seen = msgspec.structs.replace(alert, alert_id=7, acknowledged_ms=5, acknowledged_by="ops", note="on it")
    _, ended = announced(after(report(10, raised=False), alert=seen), 10 + HOLD_MS)
    assert (ended.alert_id, ended.note) == (7, "on it")
    again = after(report(HOLD_MS * 2), alert=ended)
    assert again == follow(None, report(HOLD_MS * 2), NOW)
    assert (again.alert_id, again.count, again.acknowledged_ms) == (0, 1, None)


@pytest.mark.requirement("R125")
def test_one_that_begins_and_ends_unobserved_is_announced_too_but_an_end_alone_is_not() -> None:
    alert = after(report(1), report(2, raised=False))
    assert announced(alert, HOLD_MS + 2)[0] == ["alert_raised", "alert_cleared"]
    only_ended = after(report(2, raised=False), report(1))
    assert (only_ended.active, only_ended.count) == (False, 0)
    assert announced(only_ended, NOW)[0] == []
    begun = after(report(5), alert=only_ended)
    assert (begun.raised_ms, begun.count, begun.value) == (5, 1, 1.0)


@pytest.mark.requirement("R125")
def test_an_error_without_acknowledgement_is_escalated_step_by_step_from_its_announcement_on() -> None:
    _, warning = announced(after(report(1)), 1)
    assert announced(warning, ESCALATE_MS[-1] + 1)[0] == []
    late = 10_000_000
    said, alert = announced(after(report(1, severity="error")), late)
    assert said == ["alert_raised"], "a late report is not escalated at once"
    assert announced(alert, late + ESCALATE_MS[0] - 1)[0] == []
    said, alert = announced(alert, late + ESCALATE_MS[0])
    assert (said, alert.escalations, alert.escalated_ms) == (["alert_escalated"], 1, late + ESCALATE_MS[0])
    assert announced(alert, late + ESCALATE_MS[1] - 1)[0] == []
    said, alert = announced(alert, late + ESCALATE_MS[1])
    assert (said, alert.escalations) == (["alert_escalated"], 2)
    assert announced(alert, late + 10 * ESCALATE_MS[1])[0] == []


@pytest.mark.requirement("R125")
def test_a_worse_report_is_announced_and_to_be_acknowledged_anew() -> None:
    _, warning = announced(after(report(1)), 1)
    seen = msgspec.structs.replace(warning, acknowledged_ms=2, acknowledged_by="ops", note="dull")
    worse = after(report(3, severity="error"), alert=seen)
    assert (worse.severity, worse.acknowledged_ms, worse.note, worse.count) == ("error", None, "", 1)
    said, worse = announced(worse, ESCALATE_MS[1])
    assert said == ["alert_raised"], "its time until escalation begins with that"
    assert announced(worse, ESCALATE_MS[1] + ESCALATE_MS[0])[0] == ["alert_escalated"]
    assert after(report(4), alert=worse).severity == "error", "a milder report of the same thing lowers nothing"


@pytest.mark.requirement("R125")
def test_a_silenced_alert_waits_with_announcement_and_escalation_and_is_not_lost() -> None:
    alert = after(report(1, severity="error"))
    assert announced(alert, 5, silenced=True)[0] == []
    said, raised = announced(alert, 5)
    assert said == ["alert_raised"]
    assert announced(raised, NOW, silenced=True)[0] == []
    over = after(report(6, raised=False), alert=alert)
    said, silent = announced(over, 7, silenced=True)
    assert (said, silent.announced) == ([None], "cleared")
    assert announced(silent, NOW)[0] == []
    ended = after(report(6, raised=False), alert=raised)
    assert announced(ended, 6 + HOLD_MS, silenced=True)[0] == ["alert_cleared"], "its beginning was announced"


@pytest.mark.requirement("R125")
def test_an_acknowledged_error_is_not_escalated_and_one_that_was_not_announced_is_not() -> None:
    alert = after(report(1, severity="error"))
    assert (alert.value, alert.limit) == (1.0, 0.5)
    assert escalation_due(alert, NOW, ESCALATE_MS) is False
    _, raised = announced(alert, 1)
    assert announced(raised, ESCALATE_MS[0] + 1)[0] == ["alert_escalated"]
    seen = msgspec.structs.replace(raised, acknowledged_ms=2, acknowledged_by="ops")
    assert announced(seen, NOW)[0] == []


@pytest.mark.requirement("R125")
def test_a_worse_report_of_the_same_time_counts_and_another_end_does_not_begin_anything() -> None:
    worse = after(report(1), report(1, severity="error"))
    assert (worse.severity, worse.count, worse.acknowledged_by, worse.note) == ("error", 1, "", "")
    _, ended = announced(after(report(1), report(2, raised=False)), 2 + HOLD_MS)
    ended = msgspec.structs.replace(ended, alert_id=7)
    again = after(report(9, raised=False), alert=ended)
    assert (again.alert_id, again.count, again.announced, again.cleared_ms) == (7, 1, "cleared", 2)


def test_a_time_in_the_future_delays_nothing() -> None:
    alert = after(report(NOW + 10**10))
    assert alert.changed_ms == NOW
    assert not msgspec.structs.replace(after(report(NOW + 1, raised=False), alert=after(report(NOW - 1)))).active
    assert [each for each, _ in itertools.groupby(announced(alert, NOW)[0])] == ["alert_raised"]


@pytest.mark.requirement("R113")
@pytest.mark.parametrize(
    ("role", "kinds"),
    [
        (Role.ADMIN, {"vehicle", "station", "site", "node", "queue", "settlement", "campaign", "grid", "partner"}),
        (Role.OPERATOR, {"station", "site", "node", "queue", "settlement", "campaign", "grid", "partner"}),
        (Role.BILLING, {"settlement"}),
        (Role.MONITOR, set()),
        (Role.INSURER, set()),
    ],
)
def test_roles_read_alerts_about_what_they_may_read(role: Role, kinds: set[SubjectKind]) -> None:
    who = readable(Principal("x", role))
    assert {kind for kind, _ in who} == kinds
    assert all(may_read(who, kind, "") for kind in kinds)


@pytest.mark.requirement("R113")
@pytest.mark.parametrize(
    ("role", "kinds"), [(Role.OPERATOR, {"station", "site", "settlement"}), (Role.BILLING, {"settlement"})]
)
def test_a_role_of_some_sites_reads_alerts_of_these_and_of_the_money_at_their_stations(
    role: Role, kinds: set[SubjectKind]
) -> None:
    who = readable(Principal("x", role, sites=Sites(frozenset({"north"}), frozenset({"CS-NORTH"}))))
    assert {kind for kind, _ in who} == kinds
    own = {"station": "CS-NORTH", "site": "north", "settlement": "CS-NORTH"}
    assert all(may_read(who, kind, own[kind]) for kind in kinds)
    assert not any(may_read(who, kind, each) for kind in kinds for each in ("CS-SOUTH", "south", ""))


def test_a_driver_reads_alerts_of_its_vehicles_alone() -> None:
    who = readable(Principal("x", Role.DRIVER, evs=("EV-1",)))
    assert may_read(who, "vehicle", "EV-1")
    assert not any(may_read(who, "vehicle", each) for each in ("EV-2", ""))
    assert not may_read(who, "station", "EV-1")
    assert may_read(readable(Principal("x", Role.FLEET, evs=("*",))), "vehicle", "EV-2")


@pytest.mark.requirement("R125", "R113")
@together(
    ("about", "expected"),
    [
        ({}, {"ops", "admin"}),
        ({"severity": "warning"}, {"ops"}),
        ({"escalations": 1}, {"ops", "boss", "admin"}),
        ({"subject_kind": "vehicle", "subject": "EV-1"}, {"admin", "driver"}),
        ({"subject_kind": "vehicle", "subject": "EV-2"}, {"admin"}),
        ({"subject_kind": "settlement"}, {"ops", "admin", "billing"}),
        ({"severity": "info"}, set()),
    ],
)
def test_an_alert_goes_to_those_who_may_read_it_by_severity_and_level(
    about: dict[str, Any], expected: set[str]
) -> None:
    recipients = [
        Recipient(address="ops@x"),
        Recipient(address="ops@x", severities=("error",)),
        Recipient(address="boss@x", level=1),
        Recipient(address="admin@x", role=Role.ADMIN, severities=("error",)),
        Recipient(address="driver@x", role=Role.DRIVER, evs=("EV-1",)),
        Recipient(address="billing@x", role=Role.BILLING),
    ]
    alert = Alert(
        subject_kind="station", subject="CS-1", kind="station_offline", severity="error", raised_ms=NOW, changed_ms=NOW,
        value=901.0, limit=900.0, count=1,
    )  # fmt: skip
    found = addressees(recipients, msgspec.structs.replace(alert, **about))
    assert len(found) == len(set(found))
    assert {each.removesuffix("@x") for each in found} == expected
