"""Firmware campaigns: who is updated when, and that a bad image stops by itself."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain.stations.campaigns import (
    SETTLED,
    CampaignPlan,
    Image,
    Member,
    assign,
    begin,
    check,
    hear,
    overdue,
    step,
    unreached,
)
from v2g.errors import ConfigError

IMAGE = Image(location="https://fw.example/1.bin")
PLAN = CampaignPlan(image=IMAGE, cohorts=(0.1, 0.5, 1.0), retries=0, max_failure_rate=0.2)
IDS = [f"CS-{number:03}" for number in range(20)]
EVERYBODY = frozenset(IDS)


def run(
    plan: CampaignPlan, members: list[Member], good: frozenset[str], until_ms: int = 10**9
) -> tuple[str, list[Member]]:
    """Let stations answer at once, those in `good` with Installed, until the campaign is over; return how it ended."""
    by_id = {each.station_id: each for each in members}
    now = 0
    while now < until_ms:
        now += 60_000
        found = step(plan, list(by_id.values()), EVERYBODY, now)
        if found.state != "Running":
            return found.state, list(by_id.values())
        for station_id in found.start:
            working = begin(by_id[station_id], 1, now)
            word = "Installed" if station_id in good else "InstallationFailed"
            by_id[station_id] = hear(plan, hear(plan, working, "Downloading", now), word, now)
    raise AssertionError("the campaign does not end")


@pytest.mark.requirement("R136")
def test_cohorts_grow_as_planned_and_hold_everybody_once() -> None:
    members = assign(IDS, PLAN, "1")
    assert [sum(each.cohort <= cohort for each in members) for cohort in range(3)] == [2, 10, 20]
    assert sorted(each.station_id for each in members) == IDS
    assert assign(reversed(IDS), PLAN, "1") == members
    assert assign(IDS, PLAN, "2") != members


def test_a_campaign_of_few_stations_begins_with_one() -> None:
    assert [each.cohort for each in assign(IDS[:3], PLAN, "1")] == [0, 1, 2]
    assert [each.cohort for each in assign(IDS[:1], PLAN, "1")] == [0]


def test_a_cohort_begins_when_the_one_before_is_settled_and_has_soaked() -> None:
    plan = msgspec.structs.replace(PLAN, soak_s=600)
    members = assign(IDS, plan, "1")
    first = step(plan, members, EVERYBODY, 0).start
    assert first == tuple(each.station_id for each in members if each.cohort == 0)
    settled = [hear(plan, begin(each, 1, 0), "Installed", 1000) if each.cohort == 0 else each for each in members]
    assert step(plan, settled, EVERYBODY, 600_999).start == ()
    assert len(step(plan, settled, EVERYBODY, 601_000).start) == 8


@pytest.mark.requirement("R137")
def test_an_image_that_fails_halts_after_the_first_cohort() -> None:
    state, members = run(PLAN, assign(IDS, PLAN, "1"), good=frozenset())
    assert state == "Halted"
    assert sum(each.state == "Failed" for each in members) == 2
    assert sum(each.state == "Waiting" for each in members) == 18


def test_a_good_image_reaches_everybody() -> None:
    state, members = run(PLAN, assign(IDS, PLAN, "1"), good=EVERYBODY)
    assert state == "Finished"
    assert {each.state for each in members} == {"Installed"}


@pytest.mark.requirement("R137")
@given(st.sets(st.sampled_from(IDS)), st.floats(0, 1), st.integers(1, 5), st.integers(0, 3), st.integers(1, 30))
def test_a_campaign_never_goes_on_above_its_failure_rate(
    bad: set[str], rate: float, min_settled: int, retries: int, parallel: int
) -> None:
    plan = msgspec.structs.replace(
        PLAN, max_failure_rate=rate, min_settled=min_settled, retries=retries, parallel=parallel, retry_after_s=0
    )
    state, members = run(plan, assign(IDS, plan, "1"), EVERYBODY - bad)
    failed = sum(each.state == "Failed" for each in members)
    settled = sum(each.state in SETTLED for each in members)
    if state == "Halted":
        assert failed > rate * settled
    else:
        assert settled == len(IDS)
        assert failed == len(bad) <= max(rate * settled, 0)
    assert all(each.attempts <= retries + 1 for each in members)


def test_only_so_many_work_at_once_and_only_those_that_are_connected() -> None:
    plan = msgspec.structs.replace(PLAN, parallel=3, cohorts=(1.0,))
    members = assign(IDS, plan, "1")
    assert len(step(plan, members, EVERYBODY, 0).start) == 3
    assert step(plan, members, frozenset({"CS-007"}), 0).start == ("CS-007",)
    working = [begin(each, 1, 0) if number < 2 else each for number, each in enumerate(members)]
    assert len(step(plan, working, EVERYBODY, 0).start) == 1


def test_a_failure_is_tried_again_later_unless_that_is_hopeless() -> None:
    plan = msgspec.structs.replace(PLAN, retries=1, retry_after_s=100)
    member = begin(Member(station_id="CS", cohort=0), 1, 0)
    again = hear(plan, member, "DownloadFailed", 5000)
    assert (again.state, again.not_before_ms) == ("Waiting", 105_000)
    assert hear(plan, begin(again, 2, 105_000), "DownloadFailed", 106_000).state == "Failed"
    for word in ("InvalidSignature", "InvalidCertificate", "RevokedCertificate"):
        assert hear(plan, member, word, 5000).state == "Failed"


def test_words_after_the_end_change_nothing() -> None:
    installed = hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), "Installed", 1)
    assert hear(PLAN, installed, "InstallationFailed", 2) is installed


def test_silence_is_a_failure_and_absence_is_none() -> None:
    working = begin(Member(station_id="CS", cohort=0), 1, 0)
    assert overdue(PLAN, working, PLAN.patience_s * 1000 - 1) is working
    assert overdue(PLAN, working, PLAN.patience_s * 1000).state == "Failed"
    away = unreached(PLAN, working, 7)
    assert (away.state, away.attempts, away.status) == ("Waiting", 0, "Unreached")


@pytest.mark.parametrize("cohorts", [(), (0.5,), (0.5, 0.2, 1.0), (0.5, 0.5, 1.0)])
def test_cohorts_must_grow_to_the_whole(cohorts: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        check(msgspec.structs.replace(PLAN, cohorts=cohorts))
