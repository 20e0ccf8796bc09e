"""Firmware campaigns: who is updated when, and that a bad image stops by itself."""

import math
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from csms.firmware.rules import (
    ACTIVE,
    FAILED_SESSION,
    NO_CRASH,
    SCHEDULED_S,
    SENT_S,
    SETTLED,
    CampaignPlan,
    CampaignState,
    CampaignStep,
    Image,
    Member,
    StationHealth,
    assign,
    begin,
    check,
    give_up,
    hear,
    judge,
    overdue,
    postponable,
    postpone,
    step,
    step_back,
    supersede,
    turn_back,
    unreached,
)
from tests.together import together
from v2g.errors import ConfigError
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.transactions import Reason
from v2g.units import DAY_MS

ROOT = Path(__file__).parents[3]
IMAGE = Image(location="https://fw.example/1.bin")
PLAN = CampaignPlan(image=IMAGE, cohorts=(0.1, 0.5, 1.0), retries=0, max_failure_rate=0.2, daily=1.0, watch_s=0)
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
        begun_ms=0,
        installed_ms=0,
        forced=False,
        back=False,
        trouble="",
        since_ms=0,
        spent_ms=0,
    )


def test_what_a_plan_leaves_out_is_careful() -> None:
    """The defaults of the API."""
    assert msgspec.to_builtins(CampaignPlan(image=IMAGE)) == {
        "image": {"location": IMAGE.location, "signing_certificate": None, "signature": None},
        "rollback": None,
        "cohorts": (0.05, 0.25, 1.0),
        "soak_s": 0,
        "daily": 0.1,
        "window": "22:00-06:00",
        "watch_s": 900,
        "test": {"tolerated": 0.01, "bad": 0.03, "false_alarm": 0.01},
        "max_failure_rate": 1.0,
        "min_settled": 1,
        "parallel": 50,
        "retries": 1,
        "retry_after_s": 3600,
        "patience_s": 14_400,
        "absent_s": 2_592_000,
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
    assert step(PLAN, members, EVERYBODY, 10**9) == CampaignStep("Running", "", ())


def test_the_last_that_was_settled_counts_for_the_soak() -> None:
    plan = msgspec.structs.replace(PLAN, soak_s=600)
    early, late, waiting = members_of("Installed 0", "Installed 0", "Waiting 1")
    members = [early, msgspec.structs.replace(late, updated_ms=5000), waiting]
    assert step(plan, members, EVERYBODY, 604_999) == CampaignStep("Running", "", ())
    assert step(plan, members, EVERYBODY, 605_000) == CampaignStep("Running", "", (waiting.station_id,))


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
    assert step(plan, members_of("Failed 0", "Failed 0", "Working 0"), EVERYBODY, 0) == CampaignStep(
        "Halted", "2 of 2 stations failed"
    )
    assert step(plan, members_of("Failed 0", "Installed 0"), EVERYBODY, 0) == CampaignStep(
        "Finished", "1 of 2 stations installed it, 1 failed"
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
        assert failed > rate * settled or plan.test.stops(failed, settled)
    else:
        assert settled == len(IDS)
        assert failed == len(bad) <= max(rate * settled, 0)
        assert not plan.test.stops(failed, settled)
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
    working = hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), "Accepted", 0)
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


# -- a day, the test, and what an operator wants


def test_cohorts_are_rounded_down() -> None:
    """Of 30 stations 5 % are one, not two; of 100, 29 % are 29, although the product of floats is less."""
    plan = msgspec.structs.replace(PLAN, cohorts=(0.05, 0.29, 1.0))
    for stations, first, second in ((30, 1, 8), (100, 5, 29), (39, 1, 11), (40, 2, 11)):
        members = assign([f"CS-{each}" for each in range(stations)], plan, "1")
        assert sum(each.cohort == 0 for each in members) == first
        assert sum(each.cohort <= 1 for each in members) == second


@pytest.mark.requirement("R136")
def test_no_more_begin_within_24_hours_than_the_plan_allows() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(1.0,), daily=0.1, parallel=50)
    now = 10 * DAY_MS
    members = assign(IDS, plan, "1")
    first = step(plan, members, EVERYBODY, now).start
    assert len(first) == 2
    begun = [begin(each, 1, now) if each.station_id in first else each for each in members]
    assert step(plan, begun, EVERYBODY, now + DAY_MS - 1).start == ()
    assert len(step(plan, begun, EVERYBODY, now + DAY_MS).start) == 2
    half = [begin(each, 1, now) if each.station_id == first[0] else each for each in members]
    assert len(step(plan, half, EVERYBODY, now + 1).start) == 1
    few = msgspec.structs.replace(plan, daily=0.01)
    assert len(step(few, members, EVERYBODY, now).start) == 1


@pytest.mark.requirement("R136")
def test_who_has_begun_is_tried_again_beyond_the_limit_a_day() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(1.0,), daily=0.05, retries=1, retry_after_s=0)
    failed = hear(plan, begin(Member(station_id="CS-000", cohort=0), 1, DAY_MS), "DownloadFailed", DAY_MS + 1)
    assert (failed.state, failed.begun_ms) == ("Waiting", DAY_MS)
    members = [failed, Member(station_id="CS-001", cohort=0), Member(station_id="CS-002", cohort=0)]
    assert step(plan, members, EVERYBODY, DAY_MS + 2).start == ("CS-000",)


def test_a_second_attempt_keeps_the_time_of_the_first_and_one_that_was_none_does_not() -> None:
    first = begin(Member(station_id="CS", cohort=0), 1, 5)
    assert first.begun_ms == 5
    assert begin(first, 2, 9).begun_ms == 5
    assert unreached(PLAN, first, 9).begun_ms == 0
    assert unreached(PLAN, begin(first, 2, 9), 9).begun_ms == 5
    assert unreached(PLAN, msgspec.structs.replace(first, back=True), 9).begun_ms == 5


@pytest.mark.requirement("R138")
def test_who_is_held_waits_unless_forced_and_who_is_forced_comes_first() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(0.5, 1.0), daily=0.1, parallel=2)
    members = members_of("Waiting 0", "Waiting 1", "Waiting 0")
    assert step(plan, members, EVERYBODY, 0, held={"CS-000"}).start == ("CS-002",)
    forced = [msgspec.structs.replace(each, forced=each.station_id == "CS-001") for each in members]
    assert step(plan, forced, EVERYBODY, 0, held={"CS-001"}).start == ("CS-001", "CS-000")
    assert step(plan, forced, EVERYBODY, 0, held=EVERYBODY).start == ("CS-001",)
    assert step(plan, forced, frozenset({"CS-000"}), 0, held=()).start == ("CS-000",)
    begun = [*forced, msgspec.structs.replace(members[0], station_id="CS-003", state="Working", begun_ms=1)]
    assert step(plan, begun, EVERYBODY, 2).start == ("CS-001",)


def test_who_is_excluded_counts_as_neither() -> None:
    members = members_of("Excluded 0", "Installed 0", "Excluded 1")
    assert step(PLAN, members, EVERYBODY, 0) == CampaignStep("Finished", "1 of 3 stations installed it")
    assert step(PLAN, members_of("Excluded 0", "Waiting 1"), EVERYBODY, 10**9).start == ("CS-001",)


@pytest.mark.requirement("R137")
def test_the_sequential_test_halts_or_takes_back() -> None:
    plan = CampaignPlan(image=IMAGE, cohorts=(1.0,))
    bad = members_of("Failed 0", "Failed 0", "Waiting 0")
    assert step(plan, bad, EVERYBODY, 0) == CampaignStep("Halted", "2 of 2 stations failed")
    plan = msgspec.structs.replace(plan, rollback=IMAGE)
    assert step(plan, bad, EVERYBODY, 0) == CampaignStep("RollingBack", "2 of 2 stations failed")
    assert step(plan, members_of("Failed 0", "Watched 0", "Working 0"), EVERYBODY, 0).state == "Running"


# -- watched after the installation

WATCHED = msgspec.structs.replace(PLAN, watch_s=900)
WELL = StationHealth(crashed=False, sessions_failed=False, heard_ms=0)


def watched(at_ms: int = 1000) -> Member:
    """Return a station that has installed the image."""
    return hear(WATCHED, begin(Member(station_id="CS-000", cohort=0), 1, 0), "Installed", at_ms)


@pytest.mark.requirement("R137")
def test_a_station_is_watched_before_it_counts_as_updated() -> None:
    member = watched()
    assert (member.state, member.installed_ms) == ("Watched", 1000)
    assert hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), "Installed", 1000).state == "Installed"
    end = 901_000
    assert judge(WATCHED, member, WELL._replace(heard_ms=end - 1), end - 1) is member
    well = judge(WATCHED, member, WELL._replace(heard_ms=end), end)
    assert (well.state, well.status, well.updated_ms) == ("Installed", "Installed", end)
    other = Member(station_id="CS", cohort=0)
    assert judge(WATCHED, other, StationHealth(crashed=True, sessions_failed=True, heard_ms=0), 10**9) is other


@pytest.mark.requirement("R137")
@pytest.mark.parametrize(
    ("health", "now_ms", "status"),
    [
        (StationHealth(crashed=True, sessions_failed=True, heard_ms=2000), 2000, "Crashed"),
        (StationHealth(crashed=False, sessions_failed=True, heard_ms=2000), 2000, "SessionsFailed"),
        (StationHealth(crashed=False, sessions_failed=False, heard_ms=1000), 901_000, "Silent"),
        (StationHealth(crashed=False, sessions_failed=False, heard_ms=500_000), 1_400_000, "Silent"),
    ],
)
def test_what_is_a_failure_after_the_installation(health: StationHealth, now_ms: int, status: str) -> None:
    failed = judge(WATCHED, watched(), health, now_ms)
    assert (failed.state, failed.status, failed.updated_ms) == ("Failed", status, now_ms)
    if status == "Silent":  # a moment earlier it may still come back
        member = watched()
        assert judge(WATCHED, member, health, now_ms - 1) is member
        assert judge(WATCHED, member, health._replace(heard_ms=now_ms), now_ms).state == "Installed"


def test_a_request_that_a_node_took_and_never_sent_is_no_attempt() -> None:
    """The node has ended in between: nothing was answered, nothing reported."""
    taken = begin(Member(station_id="CS", cohort=0), 1, 0)
    assert overdue(PLAN, taken, SENT_S * 1000 - 1) is taken
    again = overdue(PLAN, taken, SENT_S * 1000)
    assert (again.state, again.attempts, again.status) == ("Waiting", 0, "Unreached")


# -- back to the old image

BACK = msgspec.structs.replace(PLAN, rollback=IMAGE, parallel=2)


@pytest.mark.requirement("R137")
def test_only_stations_with_the_new_image_turn_back() -> None:
    for state in ("Watched", "Installed", "Failed"):
        (member,) = members_of(f"{state} 0", installed_ms=5, attempts=2, request_id=7, not_before_ms=9, forced=True)
        back = turn_back(member)
        assert (back.state, back.back, back.attempts, back.request_id) == ("Waiting", True, 0, None)
        assert (back.not_before_ms, back.forced, back.installed_ms) == (0, False, 5)
        assert turn_back(back) is back
    (working,) = members_of("Working 0", installed_ms=5)
    assert turn_back(working) is working
    (failed,) = members_of("Failed 0")
    assert turn_back(failed) is failed


@pytest.mark.requirement("R137")
def test_stations_go_back_and_the_campaign_halts_when_all_have() -> None:
    members = [
        turn_back(each)
        for each in [
            *members_of("Installed 0", "Failed 0", "Watched 1", installed_ms=5),
            Member(station_id="X", cohort=1),
        ]
    ]
    found = step_back(BACK, members, EVERYBODY, 0, held={"CS-001"}, reason="why")
    assert found == CampaignStep("RollingBack", "why", ("CS-000", "CS-002"))
    working = [begin(members[0], 1, 0), members[1], begin(members[2], 2, 0), members[3]]
    assert step_back(BACK, working, EVERYBODY, 0, reason="why") == CampaignStep("RollingBack", "why")
    done = [
        hear(BACK, working[0], "Installed", 1),
        msgspec.structs.replace(members[1], state="Failed"),
        hear(BACK, working[2], "Installed", 1),
        members[3],
    ]
    assert [each.state for each in done] == ["Reverted", "Failed", "Reverted", "Waiting"]
    assert step_back(BACK, done, EVERYBODY, 0, reason="why") == CampaignStep("Halted", "why; 2 of 3 stations went back")
    assert step_back(BACK, done[3:], EVERYBODY, 0) == CampaignStep("Halted", "0 of 0 stations went back")
    late = [*done, *members_of("Working 1")]  # it may still install the new one
    assert step_back(BACK, late, EVERYBODY, 0).state == "RollingBack"


@pytest.mark.parametrize("window", ["22:00", "25:00-06:00"])
def test_a_window_must_be_one(window: str) -> None:
    with pytest.raises(ValueError, match="is not a window"):
        CampaignPlan(image=IMAGE, window=window)
    assert CampaignPlan(image=IMAGE, window=None).window is None


def test_words_of_ocpp_and_of_campaigns_exist() -> None:
    assert set(get_args(get_args(Reason)[0])) > FAILED_SESSION
    assert set(get_args(BootReason)) > NO_CRASH
    assert set(get_args(CampaignState)) > ACTIVE
    assert SENT_S == 600


def test_one_failure_halts_a_plan_that_tolerates_none() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(1.0,), min_settled=1, max_failure_rate=0.0)
    assert step(plan, members_of("Failed 0", "Working 0"), EVERYBODY, 0) == CampaignStep(
        "Halted", "1 of 1 stations failed"
    )


def test_the_limit_a_day_holds_from_the_first_ms_and_when_more_have_begun() -> None:
    plan = msgspec.structs.replace(PLAN, cohorts=(1.0,), daily=0.05)
    for begun in (1, 3):
        members = [msgspec.structs.replace(each, begun_ms=1) for each in members_of(*["Working 0"] * begun)]
        assert step(plan, [*members, Member(station_id="CS-019", cohort=0)], EVERYBODY, 2).start == ()


def test_a_station_on_its_way_back_is_not_there_before_it_says_so() -> None:
    back = begin(turn_back(msgspec.structs.replace(Member(station_id="CS", cohort=0), installed_ms=5)), 1, 0)
    assert hear(BACK, back, "Downloading", 1).state == "Working"
    assert hear(BACK, back, "InstallationFailed", 1).state == "Failed"


@pytest.mark.requirement("R137")
@pytest.mark.parametrize("under_way", ["Waiting", "Working", "Watched"])
def test_early_failures_do_not_halt_a_good_update_of_many_at_once(under_way: str) -> None:
    """Of 50 stations that begin together, failures are known first. With 1 % failing, two of 50 have failed in 9 of 100
    fleets: counted among themselves, these would halt far more often than by the 1 % of the test."""
    plan = CampaignPlan(image=IMAGE, cohorts=(1.0,))
    one = Member(station_id="CS", cohort=0, begun_ms=1, attempts=1)

    def halts(failed: int) -> bool:
        states: list[str] = ["Failed"] * failed + [under_way] * (50 - failed)
        members = [msgspec.convert({**msgspec.structs.asdict(one), "state": each}, Member) for each in states]
        return step(plan, members, frozenset(), 2).state == "Halted"

    enough = next(failed for failed in range(51) if halts(failed))
    assert enough == 5
    chance = sum(math.comb(50, failed) * 0.01**failed * 0.99 ** (50 - failed) for failed in range(enough, 51))
    assert chance < plan.test.false_alarm


@pytest.mark.requirement("R137")
def test_stations_that_have_not_begun_dilute_no_failure() -> None:
    plan = CampaignPlan(image=IMAGE, cohorts=(1.0,))
    assert step(plan, members_of("Failed 0", "Failed 0", *["Waiting 0"] * 18), EVERYBODY, 2).state == "Halted"


@pytest.mark.requirement("R137")
def test_an_installation_that_is_reported_late_is_known_and_taken_back() -> None:
    gone = overdue(PLAN, hear(PLAN, begin(Member(station_id="CS", cohort=0), 1, 0), "Downloading", 0), 10**9)
    assert (gone.state, gone.status) == ("Failed", "Silent")
    late = hear(PLAN, gone, "Installed", 2 * 10**9)
    assert (late.state, late.status, late.installed_ms) == ("Failed", "Installed", 2 * 10**9)
    assert turn_back(late).back
    assert hear(PLAN, late, "Installed", 3 * 10**9) is late
    assert hear(PLAN, gone, "Downloaded", 2 * 10**9) is gone
    plan = msgspec.structs.replace(WATCHED, retries=1)
    again = overdue(plan, hear(plan, begin(Member(station_id="CS", cohort=0), 1, 0), "Downloading", 0), 10**9)
    assert again.state == "Waiting"
    assert hear(plan, again, "Installed", 2 * 10**9).state == "Watched"
    back = begin(turn_back(late), 2, 3 * 10**9)
    lost = overdue(PLAN, hear(PLAN, back, "Downloading", 3 * 10**9), 4 * 10**9)
    assert (lost.state, lost.back) == ("Failed", True)
    assert hear(PLAN, lost, "Installed", 5 * 10**9).state == "Reverted"


def test_a_station_may_postpone_what_it_has_scheduled() -> None:
    """Its own window, a vehicle that stays for two days, or the time of the plan."""
    patience_ms, days_ms = PLAN.patience_s * 1000, SCHEDULED_S * 1000
    assert days_ms > 10 * patience_ms
    member = begin(Member(station_id="CS", cohort=0), 1, 0)
    for status, most_ms in (
        ("Downloading", patience_ms),
        ("InstallScheduled", days_ms),
        ("DownloadScheduled", days_ms),
    ):
        waiting = hear(PLAN, member, status, 0)
        assert overdue(PLAN, waiting, most_ms - 1) is waiting
        assert overdue(PLAN, waiting, most_ms).status == "Silent"
    later = msgspec.structs.replace(PLAN, install_after_ms=10**10)
    scheduled = hear(later, member, "InstallScheduled", 0)
    assert overdue(later, scheduled, 10**10 + days_ms - 1) is scheduled
    assert overdue(later, scheduled, 10**10 + days_ms).state == "Failed"
    patient = msgspec.structs.replace(PLAN, patience_s=SCHEDULED_S * 2)
    assert overdue(patient, scheduled, days_ms) is scheduled
    again = hear(later, scheduled, "InstallScheduled", 10**10 + days_ms - 1)
    assert overdue(later, again, 10**10 + days_ms).state == "Failed", "a report of the same renews nothing"
    assert SCHEDULED_S == 259_200


@pytest.mark.requirement("R137")
def test_only_a_station_that_waits_is_left_out_for_a_later_campaign() -> None:
    waiting, working, installed = members_of("Waiting 0", "Working 0", "Installed 0")
    left_out = supersede(replace(waiting, back=True))
    assert (left_out.state, left_out.status, left_out.back) == ("Excluded", "Superseded", True)
    assert [supersede(working), supersede(installed)] == [working, installed]


def test_each_station_counts_once() -> None:
    """3 of 10 halt, 3 of 20 do not."""
    plan = CampaignPlan(image=IMAGE, cohorts=(1.0,))
    members = members_of(*["Failed 0"] * 3, *["Installed 0"] * 7, begun_ms=1)
    assert step(plan, [*members, Member(station_id="CS", cohort=0)], EVERYBODY, 2).state == "Halted"


def test_a_station_that_is_back_stays_so() -> None:
    (back,) = members_of("Reverted 0", back=True, installed_ms=5, updated_ms=6)
    assert hear(BACK, back, "Installed", 7) is back


@pytest.mark.requirement("R138")
def test_what_is_scheduled_is_postponed_once_for_each_end_of_an_emergency() -> None:
    scheduled = Member(
        station_id="CS-1", cohort=0, state="Working", status="InstallScheduled", attempts=1, request_id=3, begun_ms=5
    )
    assert postponable(scheduled, 1_000)
    assert postponable(replace(scheduled, status="DownloadScheduled"), 1_000)
    changes: list[dict[str, Any]] = [{"state": "Waiting"}, {"status": "Installing"}, {"forced": True}, {"back": True}]
    for change in changes:
        assert not postponable(replace(scheduled, **change), 1_000), change
    again = postpone(scheduled, 4, 1_000, 500)
    assert again == replace(scheduled, status="", request_id=4, not_before_ms=1_000, updated_ms=500, since_ms=1_000)
    reported = replace(again, status="InstallScheduled")
    assert not postponable(reported, 1_000)
    assert postponable(reported, 1_001)


# -- stations that are offline, and those that never finish


@pytest.mark.requirement("R137")
def test_an_offline_station_holds_up_nothing_and_is_updated_when_it_connects() -> None:
    members = assign(IDS, PLAN, "1")
    first, second, third = (each.station_id for each in members[:3])
    there = EVERYBODY - {first}
    assert step(PLAN, members, there, 0).start == (second,), "it may still connect"
    assert step(PLAN, members, there, 0, absent={first}).start == (second, third), "the next one takes its place"
    done = [each if each.station_id == first else replace(each, state="Installed") for each in members]
    assert step(PLAN, done, there, 10**9).state == "Running"
    found = step(PLAN, done, there, 10**9, absent={first})
    assert found == CampaignStep("Finished", "19 of 20 stations installed it, 1 offline")
    assert step(PLAN, done, EVERYBODY, 10**9).start == (first,)
    plan = replace(PLAN, cohorts=(0.05, 0.1, 1.0))
    late = [replace(each, state="Installed" if each.cohort > 1 else "Waiting") for each in assign(IDS, plan, "1")]
    assert len(step(plan, late, EVERYBODY, 10**9).start) == 1
    assert len(step(plan, late, EVERYBODY, 10**9, finished=True).start) == 2, "all cohorts have had their turn"
    lost = [replace(each, state="Absent") if each.station_id == first else each for each in done]
    assert step(PLAN, lost, EVERYBODY, 10**9) == CampaignStep(
        "Finished", "19 of 20 stations installed it, 1 did not connect in time"
    )


@pytest.mark.requirement("R137")
@given(st.sets(st.sampled_from(IDS)), st.integers(0, 19))
def test_offline_stations_never_widen_a_cohort(absent: set[str], number: int) -> None:
    """As many stations begin as planned, however many are offline; and never one of a cohort that is not open."""
    members = assign(IDS, PLAN, str(number))
    found = step(PLAN, members, EVERYBODY - absent, 0, absent=absent)
    assert len(found.start) == min(2, len(EVERYBODY - absent))
    if len(absent) == len(IDS):
        assert found == CampaignStep("Finished", "0 of 20 stations installed it, 20 offline")
    begun = [replace(each, state="Working", begun_ms=1) if each.station_id in found.start else each for each in members]
    for again in (EVERYBODY, EVERYBODY - absent):
        more = step(PLAN, begun, again, 2, absent=IDS if not again else absent - again).start
        returned = {each.station_id for each in members[:2]} & absent & again
        assert set(more) <= returned, "a cohort that is under way is joined only by its own"


@pytest.mark.requirement("R137")
def test_an_offline_station_is_expected_for_so_long_and_no_longer() -> None:
    waiting, back, failed = members_of("Waiting 0", "Waiting 0", "Installed 0", installed_ms=5)
    back = replace(back, back=True, trouble="Crashed")
    end_ms = 7 + PLAN.absent_s * 1000
    assert give_up(PLAN, waiting, 7, end_ms - 1) is waiting
    assert give_up(PLAN, failed, 7, end_ms) is failed
    gone = give_up(PLAN, waiting, 7, end_ms)
    assert (gone.state, gone.status, gone.updated_ms) == ("Absent", "Absent", end_ms)
    stuck = give_up(PLAN, back, 7, end_ms)
    assert (stuck.state, stuck.status, stuck.trouble) == ("Failed", "Absent", "Crashed"), "a person has to see to it"


@pytest.mark.requirement("R137")
def test_a_dead_station_does_not_keep_a_rollback_from_its_end() -> None:
    members = [turn_back(each) for each in members_of("Installed 0", "Installed 0", installed_ms=5)]
    members[0] = replace(members[0], state="Reverted")
    assert step_back(BACK, members, EVERYBODY - {IDS[1]}, 0, reason="why") == CampaignStep("RollingBack", "why")
    found = step_back(BACK, members, EVERYBODY - {IDS[1]}, 0, absent={IDS[1]}, reason="why")
    assert found == CampaignStep("Halted", "why; 1 of 2 stations went back, 1 offline")
    again = step_back(BACK, members, EVERYBODY, 0, reason=found.reason)
    assert again == CampaignStep("RollingBack", "why", (IDS[1],)), "it goes back when it connects"
    done = [members[0], hear(BACK, begin(members[1], 1, 0), "Installed", 1)]
    assert step_back(BACK, done, EVERYBODY, 0, reason=found.reason).reason == "why; 2 of 2 stations went back"


@pytest.mark.requirement("R137")
def test_each_station_that_failed_goes_back_though_the_campaign_goes_on_and_keeps_its_reason() -> None:
    plan = replace(BACK, watch_s=10, test=PLAN.test, max_failure_rate=1.0, cohorts=(1.0,), parallel=50)
    members = [replace(each, state="Watched", begun_ms=1, installed_ms=5) for each in assign(IDS, plan, "1")]
    crashed = judge(plan, members[0], StationHealth(crashed=True, sessions_failed=False, heard_ms=6), 6)
    assert (crashed.state, crashed.trouble) == ("Failed", "Crashed")
    back = turn_back(crashed)
    going = [back, *(replace(each, state="Installed") for each in members[1:])]
    found = step(plan, going, EVERYBODY, 7)
    assert found == CampaignStep("Running", "", (back.station_id,))
    assert step(plan, going, EVERYBODY, 7, held={back.station_id}).start == (), "not in the middle of a session"
    reverted = hear(plan, begin(back, 2, 8), "Installed", 9)
    assert (reverted.state, reverted.trouble) == ("Reverted", "Crashed")
    assert step(plan, [reverted, *going[1:]], EVERYBODY, 10) == CampaignStep(
        "Finished", "19 of 20 stations installed it, 1 failed (Crashed 1)"
    )


@pytest.mark.requirement("R137")
def test_stations_that_went_back_still_count_as_failures() -> None:
    plan = replace(BACK, max_failure_rate=1.0, cohorts=(1.0,))
    went = members_of("Reverted 0", "Waiting 0", "Reverted 0", begun_ms=1, back=True, trouble="Crashed")
    found = step(plan, [*went, *members_of("Installed 0", "Installed 0")], EVERYBODY, 2)
    assert found == CampaignStep("RollingBack", "3 of 5 stations failed (Crashed 3)")


@pytest.mark.requirement("R137")
@pytest.mark.parametrize("words", [("Downloading",), ("Downloading", "DownloadPaused"), ("Installing", "Downloading")])
def test_patience_is_a_budget_that_no_report_renews(words: tuple[str, ...]) -> None:
    """A file server that is gone: a station starts its download again and again."""
    plan = replace(PLAN, retries=0)
    member = hear(plan, begin(Member(station_id="CS", cohort=0), 1, 0), "Accepted", 0)
    for second in range(0, plan.patience_s, 60):
        assert overdue(plan, member, second * 1000).state == "Working"
        member = hear(plan, member, words[second // 60 % len(words)], second * 1000)
    silent = overdue(plan, member, plan.patience_s * 1000)
    assert (silent.state, silent.trouble) == ("Failed", "Silent")


@pytest.mark.requirement("R137")
def test_what_is_scheduled_takes_nothing_of_the_budget_and_has_its_own() -> None:
    plan = replace(PLAN, retries=0)
    day_ms, patience_ms = 86_400_000, PLAN.patience_s * 1000
    member = hear(plan, begin(Member(station_id="CS", cohort=0), 1, 0), "InstallScheduled", 1000)
    installing = hear(plan, member, "Installing", 2 * day_ms)
    assert installing.spent_ms == 1000
    assert overdue(plan, installing, 2 * day_ms + patience_ms - 1001) is installing
    assert overdue(plan, installing, 2 * day_ms + patience_ms - 1000).state == "Failed"
    for hour in range(72 + PLAN.patience_s // 3600):  # scheduled and begun again for ever
        member = hear(plan, member, "Installing" if hour % 2 else "InstallScheduled", hour * 3_600_000)
        member = replace(member, spent_ms=0)
    assert overdue(plan, member, SCHEDULED_S * 1000 + patience_ms).state == "Failed"


@together(("failures", "stations"), [(2, 5), (3, 14), (4, 40), (5, 67), (6, 96), (7, 132), (8, 179)])
def test_how_many_failures_halt_a_campaign_is_what_the_page_says(failures: int, stations: int) -> None:
    plan = CampaignPlan(image=IMAGE)
    assert plan.test.stops(failures, stations)
    assert not plan.test.stops(failures, stations + 1)
    page = (ROOT / "docs/explanation/firmware-campaigns.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| of so many stations"))
    assert [int(each) for each in row.strip("| ").split("|")[1:]] == [5, 14, 40, 67, 96, 132, 179]
