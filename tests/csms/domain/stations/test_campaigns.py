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
    Step,
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


def test_a_new_member_waits_and_nothing_is_known_of_it() -> None:
    (member,) = assign(IDS[:1], PLAN, "1")
    assert member == Member(
        station_id=IDS[0],
        cohort=0,
        state="Waiting",
        attempts=0,
        status="",
        request_id=None,
        not_before_ms=0,
        updated_ms=0,
    )


def test_what_a_plan_leaves_out_is_careful() -> None:
    """The defaults of the API."""
    assert msgspec.to_builtins(CampaignPlan(image=IMAGE)) == {
        "image": {"location": IMAGE.location, "signing_certificate": None, "signature": None},
        "cohorts": (0.05, 0.25, 1.0),
        "soak_s": 0,
        "max_failure_rate": 0.1,
        "min_settled": 1,
        "parallel": 50,
        "retries": 1,
        "retry_after_s": 3600,
        "patience_s": 14_400,
        "install_after_ms": None,
    }


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


def members_of(*states: str, **more: object) -> list[Member]:
    """One member for each state, with a cohort: `Installed 0`."""
    found = []
    for number, each in enumerate(states):
        state, cohort = each.split()
        about = {"station_id": IDS[number], "cohort": int(cohort), "state": state} | more
        found.append(msgspec.convert(about, Member))
    return found


def test_one_that_is_not_settled_holds_up_the_next_cohort() -> None:
    members = members_of("Installed 0", "Working 0", "Waiting 1")
    assert step(PLAN, members, EVERYBODY, 10**9) == Step("Running", "", ())


def test_the_last_that_was_settled_counts_for_the_soak() -> None:
    plan = msgspec.structs.replace(PLAN, soak_s=600)
    early, late, waiting = members_of("Installed 0", "Installed 0", "Waiting 1")
    members = [early, msgspec.structs.replace(late, updated_ms=5000), waiting]
    assert step(plan, members, EVERYBODY, 604_999) == Step("Running", "", ())
    assert step(plan, members, EVERYBODY, 605_000) == Step("Running", "", (waiting.station_id,))


def test_a_cohort_without_stations_is_passed_over() -> None:
    """5 and 5.1 of ten stations are the same ones."""
    plan = msgspec.structs.replace(PLAN, cohorts=(0.5, 0.51, 1.0), soak_s=600)
    members = assign(IDS[:10], plan, "1")
    assert {each.cohort for each in members} == {0, 2}
    settled = [msgspec.structs.replace(each, state="Installed") if each.cohort == 0 else each for each in members]
    assert len(step(plan, settled, EVERYBODY, 600_000).start) == 5


@pytest.mark.requirement("R137")
def test_a_campaign_halts_only_when_enough_are_settled_and_too_many_of_them_failed() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(1.0,), min_settled=2, max_failure_rate=0.5)
    assert step(plan, members_of("Failed 0", "Working 0", "Working 0"), EVERYBODY, 0).state == "Running"
    assert step(plan, members_of("Failed 0", "Installed 0", "Working 0"), EVERYBODY, 0).state == "Running"
    assert step(plan, members_of("Failed 0", "Failed 0", "Working 0"), EVERYBODY, 0) == Step(
        "Halted", "2 of 2 stations failed"
    )
    assert step(plan, members_of("Failed 0", "Installed 0"), EVERYBODY, 0) == Step(
        "Finished", "1 of 2 stations installed it"
    )


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
    for at_once in (2, 1):  # a plan may be made smaller
        assert step(msgspec.structs.replace(plan, parallel=at_once), working, EVERYBODY, 0).start == ()


def test_who_has_to_wait_begins_at_its_time() -> None:
    waiting = members_of("Waiting 0", not_before_ms=5000)
    assert step(PLAN, waiting, EVERYBODY, 4999).start == ()
    assert step(PLAN, waiting, EVERYBODY, 5000).start == (IDS[0],)


def test_a_failure_is_tried_again_later_unless_that_is_hopeless() -> None:
    plan = msgspec.structs.replace(PLAN, retries=1, retry_after_s=100)
    member = begin(Member(station_id="CS", cohort=0), 1, 0)
    again = hear(plan, member, "DownloadFailed", 5000)
    assert (again.state, again.not_before_ms) == ("Waiting", 105_000)
    assert hear(plan, begin(again, 2, 105_000), "DownloadFailed", 106_000).state == "Failed"
    for word in ("InvalidSignature", "InvalidCertificate", "RevokedCertificate"):
        assert hear(plan, member, word, 5000).state == "Failed"


@pytest.mark.parametrize(
    "word", ["DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature", "Rejected"]
)
def test_each_failure_is_one(word: str) -> None:
    """FirmwareStatusEnumType and UpdateFirmwareStatusEnumType."""
    failed = hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), word, 7)
    assert (failed.state, failed.status, failed.updated_ms) == ("Failed", word, 7)


def test_an_attempt_begins_without_the_words_of_the_last_one() -> None:
    again = Member(station_id="CS", cohort=0, attempts=1, status="DownloadFailed", request_id=1, updated_ms=5)
    begun = begin(again, 2, 9)
    assert (begun.state, begun.attempts, begun.status, begun.request_id, begun.updated_ms) == ("Working", 2, "", 2, 9)


def test_words_after_the_end_change_nothing() -> None:
    installed = hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), "Installed", 1)
    assert hear(PLAN, installed, "InstallationFailed", 2) is installed


def test_silence_is_a_failure_and_absence_is_none() -> None:
    working = begin(Member(station_id="CS", cohort=0), 1, 0)
    assert overdue(PLAN, working, PLAN.patience_s * 1000 - 1) is working
    late_ms = PLAN.patience_s * 1000
    silent = overdue(PLAN, working, late_ms)
    assert (silent.state, silent.status, silent.updated_ms) == ("Failed", "Silent", late_ms)
    assert overdue(msgspec.structs.replace(PLAN, retries=1), working, late_ms).state == "Waiting"
    installed = hear(PLAN, working, "Installed", 1)
    assert overdue(PLAN, installed, 10**12) is installed
    away = unreached(PLAN, working, 7)
    assert (away.state, away.attempts, away.status) == ("Waiting", 0, "Unreached")


@pytest.mark.parametrize(("retry_after_s", "waits_s"), [(3600, 60), (61, 60), (10, 10)])
def test_who_was_not_reached_is_asked_again_after_a_minute_at_most(retry_after_s: int, waits_s: int) -> None:
    working = begin(Member(station_id="CS", cohort=0), 1, 0)
    plan = msgspec.structs.replace(PLAN, retry_after_s=retry_after_s)
    assert unreached(plan, working, 7).not_before_ms == 7 + waits_s * 1000


@pytest.mark.parametrize("cohorts", [(), (0.5,), (0.5, 0.2, 1.0), (0.5, 0.5, 1.0)])
def test_cohorts_must_grow_to_the_whole(cohorts: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        check(msgspec.structs.replace(PLAN, cohorts=cohorts))


@pytest.mark.parametrize("cohorts", [(1.0,), (0.05, 0.25, 1.0)])
def test_cohorts_that_grow_to_the_whole_are_taken(cohorts: tuple[float, ...]) -> None:
    check(msgspec.structs.replace(PLAN, cohorts=cohorts))
