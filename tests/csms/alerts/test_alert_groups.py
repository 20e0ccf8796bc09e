"""Alerts in groups, and outages of many stations."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from csms.alerts.groups import OUTAGE_GAP_MS, OUTAGE_OVER, grouped
from csms.alerts.rules import RULES, Alert, Silence
from csms.alerts.sentences import SENTENCES, quantity, said

NOW = 1_800_000_000_000


def offline(number: int, at_ms: int = NOW, **more: Any) -> Alert:
    about = {"subject_kind": "station", "subject": f"CS-{number}", "kind": "station_offline", "severity": "warning"}
    return Alert(**{**about, "alert_id": number + 1, "raised_ms": at_ms, "changed_ms": at_ms, "count": 1, **more})


def test_every_rule_has_a_sentence_whose_fields_have_values() -> None:
    assert RULES.keys() <= SENTENCES.keys()
    for kind, sentence in SENTENCES.items():
        for count in (1, 2):
            text, values = said(offline(1, kind=kind, value=1.5, limit=1.0), count, NOW)
            assert text == (sentence.one if count == 1 else sentence.many)
            assert "{" not in text.format_map(values)


def test_values_have_units_and_times_grow_until_the_end() -> None:
    shown = {
        ("s", 61.0): "1 min",
        ("W", 1250.0): "1.2 kW",
        ("%", 0.153): "15 %",
        ("d", 8.9): "8 d",
        ("A", 3.5): "3.5 A",
    }
    for (unit, value), text in shown.items():
        assert quantity(value, unit).replace("\u00a0", " ") == text
    running, ended = offline(1, value=900.0), offline(1, value=900.0, cleared_ms=NOW)
    assert said(running, 1, NOW + 900_000)[1]["value"] == "30\u00a0min"
    assert said(ended, 1, NOW + 900_000)[1]["value"] == "15\u00a0min"


def test_stations_lost_together_are_an_outage_by_number_or_share_of_a_site() -> None:
    few = [offline(number) for number in range(OUTAGE_OVER)]
    assert grouped(few, (), {}, (), NOW).outages == ()
    (outage,) = grouped([*few, offline(99)], (), {}, (), NOW).outages
    assert (outage.lost, outage.back, len(outage.alert_ids)) == (OUTAGE_OVER + 1, 0, OUTAGE_OVER + 1)
    apart = [offline(number, NOW + number * (OUTAGE_GAP_MS + 1)) for number in range(30)]
    assert grouped(apart, (), {}, (), NOW).outages == ()
    site = {f"CS-{number}": "north" for number in range(30)}
    assert grouped(few[:2], (), site, (), NOW).outages == ()
    (small,) = grouped(few[:3], (), site, (), NOW).outages
    assert (small.lost, small.sites) == (3, ("north",))
    assert grouped(few[:3], (), {f"CS-{number}": "north" for number in range(31)}, (), NOW).outages == ()


def test_an_outage_counts_who_is_back_and_ends_with_the_last() -> None:
    lost = [offline(number, cleared_ms=NOW + 60_000 if number < 20 else None) for number in range(30)]
    (outage,) = grouped(lost, (), {}, (), NOW + 60_000).outages
    assert (outage.lost, outage.back, outage.pace) == (30, 20, ((NOW, 30), (NOW + 60_000, 10)))
    ended = grouped([offline(number, cleared_ms=NOW) for number in range(30)], (), {}, (), NOW)
    assert ended.outages == ()
    assert [(each.state, each.count) for each in ended.groups] == [("cleared", 30)]


def test_a_group_says_when_it_is_announced_again() -> None:
    new, old = (offline(each, kind="node_gone", severity="error", announced_ms=NOW - each) for each in (1, 2))
    (group,) = grouped([old, new], (), {}, (900_000,), NOW).groups
    assert group.escalates_ms == NOW + 900_000 - 2


@given(
    some.lists(
        some.tuples(
            some.integers(0, 5),
            some.sampled_from(["station_offline", "station_faulted"]),
            some.sampled_from([0, 200_000, 900_000]),
            some.sampled_from([None, NOW]),
            some.booleans(),
        ),
        max_size=40,
    )
)
def test_every_alert_is_in_one_group_or_outage(drawn: list[tuple[int, str, int, int | None, bool]]) -> None:
    found = [
        offline(number * 10 + subject, NOW - before, kind=kind, cleared_ms=end, acknowledged_ms=NOW if seen else None)
        for number, (subject, kind, before, end, seen) in enumerate(drawn)
    ]
    found.sort(key=lambda each: each.raised_ms)
    quiet = Silence(subject_kind="station", subject="CS-1", until_ms=NOW + 1, created_ms=NOW, created_by="ada")
    sites = {f"CS-{number}": f"site {number % 3}" for number in range(400)}
    told = grouped(found, [quiet], sites, (), NOW)
    ids = [number for each in (*told.outages, *told.groups) for number in each.alert_ids]
    back = sum(each.back for each in told.outages)
    assert len(ids) == len(set(ids)) == len(found) - back
    for each in told.groups:
        assert each.count == len(each.alert_ids)
