"""Plausible times of transactions, one rule at a time."""

from typing import Any

import msgspec
import pytest

from csms.booking.plausibility import (
    Conflict,
    Finding,
    HeldBefore,
    JudgedUsage,
    RatedPower,
    ReceivedEvent,
    TransactionContext,
    earliest_ms,
    judge_usage,
    last_shown,
)
from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Kind, Sample
from tests.csms.booking.events import transaction_of
from tests.csms.support import utc
from tests.together import together
from v2g.energy.settlement.pieces import Usage

pytestmark = pytest.mark.requirement("R194")

START = 1_795_046_400_000
MINUTE = 60_000
HOUR = 3_600_000
ABOUT = TransactionContext(rating=RatedPower(22_000, 22_000))


def reading(at_ms: int, value: float | str, measurand: str = IMPORT_REGISTER, context: str = "") -> Sample:
    return Sample(at_ms=at_ms, measurand=measurand, value=str(value), unit="Wh", context=context)


def heard(seq_no: int, kind: Kind, at_ms: int, *samples: Sample, **more: Any) -> ReceivedEvent:
    """Return an event that arrived at once, unless `received_ms` says when."""
    return ReceivedEvent(
        **{"seq_no": seq_no, "kind": kind, "at_ms": at_ms, "received_ms": at_ms, "samples": samples, **more}
    )


def begun(at_ms: int = START, value: float = 1000, seq_no: int = 0, **more: Any) -> ReceivedEvent:
    return heard(seq_no, "Started", at_ms, reading(at_ms, value, context="Transaction.Begin"), **more)


def ended(at_ms: int = START + HOUR, value: float = 1100, seq_no: int = 1, **more: Any) -> ReceivedEvent:
    return heard(seq_no, "Ended", at_ms, reading(at_ms, value, context="Transaction.End"), **more)


def judged(
    *events: ReceivedEvent, about: TransactionContext = ABOUT, end_ms: int = START + HOUR, **more: Any
) -> JudgedUsage:
    """Return what is judged of a transaction that the back end has after these events."""
    return judge_usage(transaction_of(events, **more), events, end_ms, about)


def knowing(**more: Any) -> TransactionContext:
    return msgspec.structs.replace(ABOUT, **more)


def details(found: JudgedUsage) -> list[tuple[str, str]]:
    return [(each.reason, each.detail) for each in found.findings]


def span(found: JudgedUsage) -> tuple[int, int]:
    return found.usage.start_ms, found.usage.end_ms


def times(found: JudgedUsage) -> list[int]:
    return [each.utc_ms for each in found.usage.readings]


# -- bounds


def test_an_event_that_is_not_offline_is_at_most_two_minutes_old() -> None:
    assert earliest_ms(START, offline=False, booted_ms=None, away_ms=None, known_ms=None) == START - 120_000


def test_a_station_s_clock_is_right_to_a_minute() -> None:
    assert earliest_ms(START, offline=False, booted_ms=START, away_ms=None, known_ms=None) == START - 60_000
    assert earliest_ms(START, offline=True, booted_ms=None, away_ms=START - 1, known_ms=0) == START - 60_001
    for by_ms, found in (
        (60_000, []),
        (60_001, [("clock", f"event 0 is of {utc(START + 60_001)}, but came at {utc(START)}")]),
    ):
        assert details(judged(begun(START + by_ms, received_ms=START), ended())) == found


def test_what_waited_for_this_back_end_is_older_by_that() -> None:
    for known, found in (
        ({"booted_ms": None, "away_ms": None}, START - 121_000),
        ({"booted_ms": START - 1, "away_ms": None}, START - 61_001),
        ({"booted_ms": None, "away_ms": START - 2, "offline": True}, START - 61_002),
    ):
        assert earliest_ms(START, **{"offline": False, "known_ms": 0, "waited_ms": 1000} | known) == found


def test_a_person_is_told_what_to_do_about_the_first_finding() -> None:
    found = judged(begun(START + 60_001, received_ms=START), ended())
    told = f"event 0 is of {utc(START + 60_001)}, but came at {utc(START)}"
    assert (
        found.detail
        == f"{told}. Look at the station's clock (a simulated one: `--speed`); release it if the energy is right."
    )
    assert judged(begun(), ended()).detail == ""


def test_without_a_bound_any_time_before_its_receipt_may_be() -> None:
    for at_ms, start_ms in ((-5, 0), (0, 0), (1, 1)):
        found = judged(begun(at_ms, offline=True, received_ms=HOUR), ended(HOUR))
        assert (details(found), span(found)) == ([], (start_ms, HOUR))


def test_only_a_begin_is_bounded_by_the_transaction_before() -> None:
    about = knowing(free_ms=START + HOUR)
    assert details(judged(heard(1, "Updated", START), about=about)) == []
    assert details(judged(heard(1, "Started", START), about=about)) == [
        ("clock", f"event 1 is of {utc(START)}, but can be of {utc(START + HOUR - 60_000)} at the earliest")
    ]


def test_an_offline_event_before_its_bound_is_of_its_bound() -> None:
    late = {"offline": True, "received_ms": START + 2 * HOUR}
    first = judged(begun(START - HOUR, earliest_ms=START, **late), ended())
    assert (details(first), span(first)) == (
        [("clock", f"event 0 is of {utc(START - HOUR)}, but can be of {utc(START)} at the earliest")],
        (START, START + HOUR),
    )
    last = judged(begun(), ended(START + MINUTE, earliest_ms=START + HOUR, **late))
    assert span(last) == (START, START + HOUR)
    assert not last.timed


def test_offline_events_by_a_clock_that_was_never_set_are_as_far_apart_as_it_says() -> None:
    late = {"offline": True, "earliest_ms": START, "received_ms": START + 2 * HOUR}
    for end_ms, lasted_ms in ((HOUR, HOUR), (3 * HOUR, 2 * HOUR)):  # not beyond their receipt
        found = judged(begun(0, **late), ended(end_ms, 9000, **late))
        assert {each.reason for each in found.findings} == {"clock"}
        assert (span(found), found.import_mwh) == ((START, START + lasted_ms), 8_000_000)


def test_offline_events_by_a_clock_in_the_future_are_as_far_apart_as_it_says() -> None:
    late = {"offline": True, "earliest_ms": START, "received_ms": START + 2 * HOUR}
    for start_ms, lasted_ms in ((8 * HOUR, HOUR), (6 * HOUR, 2 * HOUR)):  # not before their bound
        found = judged(begun(START + start_ms, **late), ended(START + 9 * HOUR, 9000, **late))
        assert {each.reason for each in found.findings} == {"clock"}
        assert (span(found), found.import_mwh) == ((START + 2 * HOUR - lasted_ms, START + 2 * HOUR), 8_000_000)


def test_an_offline_event_after_its_receipt_is_of_its_receipt() -> None:
    found = judged(begun(), ended(START + 9 * HOUR, offline=True, earliest_ms=START, received_ms=START + HOUR))
    assert (details(found), span(found)) == (
        [("clock", f"event 1 is of {utc(START + 9 * HOUR)}, but came at {utc(START + HOUR)}")],
        (START, START + HOUR),
    )


def test_an_event_of_another_day_is_of_its_receipt() -> None:
    found = judged(begun(), ended(START - 24 * HOUR, earliest_ms=START + HOUR - 120_000, received_ms=START + HOUR))
    assert (span(found), found.timed, times(found)) == ((START, START + HOUR), False, [START, START + HOUR])


# -- readings


def test_a_reading_within_a_minute_of_its_event_moves_with_it() -> None:
    for by_ms, more in ((60_000, 0), (-60_000, 0), (60_001, 1), (-60_001, 1)):
        wrong_ms = START - 24 * HOUR
        update = heard(
            1, "Updated", wrong_ms, reading(wrong_ms + by_ms, 1050), earliest_ms=START, received_ms=START + 10 * MINUTE
        )
        found = judged(begun(), update, ended(seq_no=2))
        assert details(found)[1:] == more * [("clock", f"a reading in event 1 is of {utc(wrong_ms + by_ms)}")]
        assert times(found) == [START, START + 10 * MINUTE + (0 if more else by_ms), START + HOUR]


def test_a_reading_is_at_most_a_minute_after_its_event() -> None:
    for by_ms, found in (
        (60_000, []),
        (60_001, [("clock", f"a reading in event 1 is of {utc(START + 660_001)}")]),
        (9 * HOUR, [("clock", f"a reading in event 1 is of {utc(START + 33_000_000)}")]),
    ):
        at_ms = START + 10 * MINUTE
        judgement = judged(begun(), heard(1, "Updated", at_ms, reading(at_ms + by_ms, 1050)), ended(seq_no=2))
        assert details(judgement) == found
        assert times(judgement) == [START, at_ms if found else at_ms + 60_000, START + HOUR]
        assert judgement.timed is not bool(found)


def test_a_reading_is_at_most_a_minute_before_its_transaction() -> None:
    for at_ms, found in (
        (START - 60_000, []),
        (START - 60_001, [("clock", f"a reading in event 1 is of {utc(START - 60_001)}")]),
    ):
        at = START + 10 * MINUTE
        assert details(judged(begun(), heard(1, "Updated", at, reading(at_ms, 1000)), ended(seq_no=2))) == found


# -- offline


def test_an_offline_event_that_nothing_bounds_has_no_price_by_time() -> None:
    told = "its price depends on time, and only its station knows that of the offline events 0"
    events = begun(START, offline=True, received_ms=START + 2 * HOUR), ended()
    assert details(judged(*events, about=knowing(by_time=True))) == [("clock", told)]
    assert details(judged(*events)) == []


def test_an_offline_event_is_known_to_three_minutes() -> None:
    for away_ms, held in ((180_000, False), (180_001, True)):
        late = begun(START, offline=True, received_ms=START + HOUR, earliest_ms=START + MINUTE - away_ms)
        update = heard(1, "Updated", START + MINUTE)
        found = judged(late, update, ended(seq_no=2), about=knowing(by_time=True))
        assert [each.reason for each in found.findings] == (["clock"] if held else [])


def test_a_time_that_was_corrected_is_told_once() -> None:
    late = begun(START, offline=True, received_ms=START + 2 * HOUR)
    wrong = ended(START - 24 * HOUR, earliest_ms=START + HOUR, received_ms=START + HOUR)
    assert details(judged(late, wrong, about=knowing(by_time=True))) == [
        (
            "clock",
            f"event 1 is of {utc(START - 24 * HOUR)}, but can be of {utc(START + HOUR)} at the earliest",
        )
    ]


# -- begin and end


def test_without_its_start_a_transaction_begins_with_its_first_event() -> None:
    later = heard(2, "Updated", START + MINUTE, reading(START + MINUTE, 1010))
    found = judged(heard(1, "Updated", START, reading(START, 1000)), later)
    assert (details(found), span(found)) == ([], (START, START + HOUR)), "it goes on, and its start may still come"
    found = judged(heard(1, "Updated", START, reading(START, 1000)), later, ended(seq_no=3))
    assert (found.findings, span(found)) == (
        (Finding("events", "its start has not arrived", missing=True),),
        (START, START + HOUR),
    )


def test_a_transaction_begins_with_its_start_not_with_an_earlier_number() -> None:
    found = judged(heard(0, "Updated", START - MINUTE), begun(seq_no=1), ended(seq_no=2))
    assert (details(found), span(found)) == ([], (START, START + HOUR))


def test_a_transaction_that_goes_on_ends_when_it_is_asked_for_but_not_before_it_began() -> None:
    assert span(judged(begun(), end_ms=START + 5)) == (START, START + 5)
    assert span(judged(begun(), end_ms=START - 5)) == (START, START)


def test_a_transaction_lasts_at_most_366_days() -> None:
    for by_ms, lasts_ms in (
        (31_622_399_999, 31_622_399_999),
        (31_622_400_000, 31_622_400_000),
        (31_622_400_001, 31_622_400_000),
        (99_999_999_999, 31_622_400_000),
    ):
        assert span(judged(begun(), ended(START + by_ms))) == (START, START + lasts_ms)


def test_a_transaction_begins_at_most_in_the_year_3000() -> None:
    for at_ms in (32_503_679_999_999, 32_503_680_000_000, 32_503_680_000_001, 99_999_999_999_999):
        found = judged(begun(at_ms), ended(at_ms))
        assert found.usage.start_ms == min(at_ms, 32_503_680_000_000)


# -- events


def test_what_arrived_since_its_id_was_used_again_does_not_count() -> None:
    """Its end is the last of before, and the earliest start that came again counts."""
    about = knowing(
        conflicts=(
            Conflict(0, START + 30 * MINUTE, "Started 8000 Wh"),
            Conflict(0, START + 20 * MINUTE, "Started 9000 Wh"),
            Conflict(1, START + 10 * MINUTE, "Updated 1040 Wh"),
        )
    )
    first, second = (
        heard(n, "Updated", at, reading(at, 1000 + n)) for n, at in ((1, START + 1), (2, START + 1_199_999))
    )
    third = heard(3, "Updated", START + 1_200_000, reading(START + 1_200_000, 1060))
    found = judged(begun(), first, second, third, ended(seq_no=4), about=about)
    assert details(found)[:3] == [
        ("reused", "it began again with event 0: Started 8000 Wh"),
        ("reused", "it began again with event 0: Started 9000 Wh"),
        ("reused", "it has a second content of event 1: Updated 1040 Wh"),
    ]
    assert (span(found), found.import_mwh) == ((START, START + 1_199_999), 2000)


def test_a_second_content_alone_ends_nothing() -> None:
    found = judged(begun(), ended(), about=knowing(conflicts=(Conflict(1, START, "Ended 1200 Wh"),)))
    assert details(found) == [("events", "it has a second content of event 1: Ended 1200 Wh")]
    assert (span(found), found.import_mwh) == ((START, START + HOUR), 100_000)


def test_events_after_the_end_without_readings_contradict_nothing() -> None:
    assert details(judged(begun(), ended(), heard(2, "Updated", START + HOUR))) == []


def test_gaps_are_evidence_that_may_still_arrive_and_count_when_it_has_ended() -> None:
    about = knowing(by_time=True, gaps=((1, 2), (4, 4)))
    told = "its price depends on time, and events are missing: 1 to 2, 4 to 4"
    assert judged(begun(), ended(seq_no=5), about=about).findings == (Finding("events", told, missing=True),)
    assert judged(begun(), about=about).findings == ()


def test_eight_findings_of_one_kind_are_shown() -> None:
    conflicts = tuple(Conflict(1, START, f"Ended {n} Wh") for n in range(9))
    assert len(judged(begun(), ended(), about=knowing(conflicts=conflicts)).findings) == 8
    wrong = [heard(n, "Updated", START + HOUR, received_ms=START) for n in range(1, 10)]
    assert len(judged(begun(), *wrong).findings) == 8
    for last, listed in ((9, "2, 3, 4, 5, 6, 7, 8, 9"), (10, "2, 3, 4, 5, 6, 7, 8, 9 and 1 more")):
        after = [heard(n, "Updated", START + HOUR, reading(START + HOUR, 1100)) for n in range(2, last + 1)]
        told = ("events", f"readings came after its end: events {listed}")
        assert details(judged(begun(), ended(), *after)) == [told]


# -- registers since the transaction before


def test_an_evse_is_not_idle_unless_that_is_known() -> None:
    about = TransactionContext(free_ms=START, left_mwh=(900_000, None))
    assert details(judged(begun(), ended(), about=about)) == []
    assert details(judged(begun(), ended(), about=msgspec.structs.replace(about, since=()))) == [
        ("begin", "it begins at 1000 Wh, the import register of its EVSE stood at 900 Wh before it")
    ]


def test_without_a_transaction_before_nothing_is_known_of_between() -> None:
    assert details(judged(begun(), ended(), about=knowing(left_mwh=(900_000, None), since=()))) == []


@together(
    ("ended_ms", "shown", "most_wh", "when"),
    [
        (START - HOUR, (START - HOUR, 950_000), 991, "950 Wh after tx-2"),  # 40 Wh of 2 h at 20 W, 1 Wh is rounded
        (START - HOUR, (START - 90 * MINUTE, 950_000), 13_091, "950 Wh after tx-2"),  # half an hour at 24.2 kW
        (None, (START - 90 * MINUTE, 950_000), 37_291, "950 Wh after tx-2"),  # an hour and a half
        (START - HOUR, None, 13_041, "900 Wh before it"),  # as long as it was there
        (START - 2 * HOUR, (START - HOUR, 700_000), 941, "900 Wh before it"),  # a liar's register shows less
        (START - HOUR, (START - HOUR, 900_000), 941, "900 Wh before it"),
    ],
)
def test_after_one_that_is_held_a_begin_is_at_most_what_may_have_flowed(
    ended_ms: int | None, shown: tuple[int, int] | None, most_wh: int, when: str
) -> None:
    """Its last reading is evidence; behind that its EVSE may have delivered all that it can."""
    held = HeldBefore("tx-2", START - 90 * MINUTE, ended_ms, (shown, None))
    about = knowing(left_mwh=(900_000, 0), free_ms=START - 2 * HOUR, since=(held,))
    for begin_wh, found in (
        (most_wh, []),
        (
            most_wh + 0.001,
            [("begin", f"it begins at {most_wh}.001 Wh, the import register of its EVSE stood at {when}")],
        ),
    ):
        assert details(judged(begun(value=begin_wh), ended(value=begin_wh + 10), about=about)) == found


def test_of_several_that_are_held_the_highest_register_counts_and_all_that_is_unread() -> None:
    held = [
        HeldBefore("tx-3", START - 20 * MINUTE, START - 20 * MINUTE, (None, (START - 30 * MINUTE, 6_000_000))),
        HeldBefore("tx-2", START - HOUR, START - 57 * MINUTE, (None, (START - HOUR, 7_000_000))),
    ]
    about = knowing(left_mwh=(None, 5_000_000), free_ms=START, since=held)
    for begin_wh, found in (  # 13 minutes at 24.2 kW
        (12_244.333, []),
        (12_244.334, ["it begins at 12244.334 Wh, the export register of its EVSE stood at 7000 Wh after tx-2"]),
    ):
        first = heard(0, "Started", START, reading(START, begin_wh, EXPORT_REGISTER, "Transaction.Begin"))
        last = reading(START + HOUR, begin_wh + 1, EXPORT_REGISTER, "Transaction.End")
        whole = judged(first, heard(1, "Ended", START + HOUR, last), about=about)
        assert [detail for reason, detail in details(whole) if reason == "begin"] == found


def test_the_last_reading_of_those_that_count_is_the_latest_of_its_value() -> None:
    values = [reading(START, 5), reading(START + MINUTE, 7), reading(START + 2 * MINUTE, 7), reading(START + HOUR, 9)]
    assert last_shown(values, (5_000, 7_000)) == (START + 2 * MINUTE, 7_000)
    assert last_shown(values, (5_000, 8_000)) is None, "it was added up"
    assert last_shown(values, None) is None


def test_a_begin_before_the_end_before_it_is_as_at_that_time() -> None:
    """Clocks may differ by a minute: no energy is less than none in between."""
    for left_mwh, found in (
        (999_000, []),
        (998_999, [("begin", "it begins at 1000 Wh, the import register of its EVSE stood at 998.999 Wh before it")]),
    ):
        about = knowing(left_mwh=(left_mwh, None), since=(), free_ms=START + 60_000)
        assert details(judged(begun(), ended(), about=about)) == found


def test_a_reading_of_before_the_transaction_before_is_left_out() -> None:
    update = heard(1, "Updated", START + MINUTE, reading(START + MINUTE, 1100))
    found = judged(begun(), update, ended(value=1200, seq_no=2), about=knowing(left_mwh=(1_050_000, None)))
    assert details(found) == [
        ("rise", "it begins at 1000 Wh, the import register of its EVSE stood at 1050 Wh before it")
    ]
    assert (found.import_mwh, times(found)) == (100_000, [START + MINUTE, START + HOUR])


def test_what_a_meter_showed_first_and_last_is_kept() -> None:
    assert (judged(begun(), ended()).imports, judged(begun(), ended()).exports) == ((1_000_000, 1_100_000), None)


def test_each_register_is_held_to_the_limits_of_its_direction() -> None:
    """Of 22 kW 5 s and 10 % are 33.6 Wh, and 1 Wh is rounded."""
    for way, name, measurand in ((0, "import", IMPORT_REGISTER), (1, "export", EXPORT_REGISTER)):
        first = reading(START, 1000, measurand, "Transaction.Begin")
        for limit_w, taken_wh, found in ((10_000, 11_034.6, []), (10_000, 11_034.7, [name]), (None, 22_000, [])):
            limits: list[tuple[tuple[int, int], ...]] = [(), ()]
            limits[way] = () if limit_w is None else ((START - 1, limit_w),)
            about = knowing(permitted=(limits[0], limits[1]))
            last = reading(START + HOUR, 1000 + taken_wh, measurand, "Transaction.End")
            whole = judged(heard(0, "Started", START, first), heard(1, "Ended", START + HOUR, last), about=about)
            told = [detail for reason, detail in details(whole) if reason == "limits"]
            assert [each.split()[1] for each in told] == found, (name, limit_w, taken_wh)


def test_a_higher_begin_is_told_and_stays() -> None:
    about = knowing(left_mwh=(900_000, None), since=(), free_ms=START)
    assert judged(begun(), ended(), about=about).import_mwh == 100_000


def test_a_register_that_falls_is_told_by_its_direction() -> None:
    for measurand, name in ((IMPORT_REGISTER, "import"), (EXPORT_REGISTER, "export")):
        first = reading(START, 1000, measurand, "Transaction.Begin")
        last = reading(START + HOUR, 900, measurand, "Transaction.End")
        found = judged(heard(0, "Started", START, first), heard(1, "Ended", START + HOUR, last))
        assert ("fall", f"the {name} register falls from 1000 to 900 Wh, at {utc(START + HOUR)}") in details(found)


# -- charging


def test_charging_is_told_where_it_changes() -> None:
    flows = (None, True, None, True, False, False, None, True, False)
    events = [heard(n, "Updated", START + n, charging=flow) for n, flow in enumerate(flows)]
    events[0] = begun()
    assert judged(*events).usage.charging == (
        (START + 1, True), (START + 4, False), (START + 7, True), (START + 8, False)
    )  # fmt: skip


def test_a_transaction_s_charging_is_within_it() -> None:
    before = heard(0, "Updated", START - MINUTE, charging=True)
    after = heard(3, "Updated", START + 2 * HOUR, charging=False)
    found = judged(before, begun(seq_no=1), ended(seq_no=2), after)
    assert found.usage.charging == ((START, True), (START + HOUR, False))


# -- a station's own cost


def test_a_station_s_cost_may_differ_by_ten_watt_hours() -> None:
    told = "the station's cost is for 110.001 Wh, its register says 100 Wh"
    for cost_wh, found in ((110.0, []), (90.0, []), (110.0005, [("cost", told)])):
        assert details(judged(begun(), ended(cost_wh=cost_wh))) == found


def test_a_station_s_cost_may_differ_by_one_percent() -> None:
    for cost_wh, found in (
        (2040.2, []),
        (1999.8, []),
        (2040.25, [("cost", "the station's cost is for 2040.25 Wh, its register says 2020 Wh")]),
    ):
        assert details(judged(begun(), ended(value=3020, cost_wh=cost_wh))) == found


def test_the_last_cost_of_an_ended_transaction_counts() -> None:
    for first, last, found in ((9.0, 100.0, []), (100.0, 9.0, ["cost"])):
        judgement = judged(begun(cost_wh=first), ended(cost_wh=last))
        assert [each.reason for each in judgement.findings] == found
    update = heard(1, "Updated", START + MINUTE, reading(START + MINUTE, 1100), cost_wh=9.0)
    assert details(judged(begun(), update)) == [], "it goes on"
    assert details(judged(begun(cost_wh=9.0), ended())) == [], "of a part: the station could not calculate the rest"


# -- what is said without more


def test_a_usage_without_findings_is_exact_and_of_right_times() -> None:
    found = JudgedUsage(usage=Usage(start_ms=0, end_ms=1))
    assert (found.findings, found.timed, found.detail) == ((), True, "")
    assert (found.import_mwh, found.export_mwh) == (0, 0), "nothing was read"
    assert not Finding("clock", "").missing


def test_an_evse_without_a_rating_is_of_400_kw() -> None:
    assert RatedPower() == RatedPower(400_000, 400_000) == TransactionContext().rating


# -- states


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ({0: True}, ""),
        ({0: False, 10: True, 50: False}, ""),
        ({}, "no event says whether it charges: the import register rises from 1000 to 12000 Wh in 1\u00a0h"),
        ({59: False}, "the import register rises from 1000 to 12000 Wh in 1\u00a0h"),
        ({0: False, 58: True}, "the import register rises from 1000 to 12000 Wh in 1\u00a0h"),
    ],
)
def test_energy_that_flows_while_no_event_says_so_has_no_price_by_state(states: dict[int, bool], found: str) -> None:
    """All of it would be priced as idle time."""
    events = [begun(), ended(value=12_000)]
    events += [
        heard(0, "Updated", START + at_min * MINUTE, charging=flows, evse_id=1) for at_min, flows in states.items()
    ]
    events.sort(key=lambda each: each.at_ms)
    events = [msgspec.structs.replace(each, seq_no=number) for number, each in enumerate(events)]
    assert details(judged(*events)) == []
    by_state = details(judged(*events, about=knowing(by_state=True)))
    assert [(reason, detail.startswith(found)) for reason, detail in by_state] == ([("events", True)] if found else [])
    assert details(judged(*events[:-1], about=knowing(by_state=True))) == []


@pytest.mark.parametrize(("value", "held"), [(1804.594, False), (1804.595, True)])
def test_1_a_on_three_phases_is_no_charging(value: float, held: bool) -> None:
    """With a tenth more, and what a meter of 22 kW has counted 5 s ago: 770 Wh, 34 Wh and 1 Wh of rounding."""
    state, end = heard(1, "Updated", START, charging=False), ended(START + HOUR - 80, value, seq_no=2)
    found = details(judged(begun(), state, end, about=knowing(by_state=True)))
    assert bool(found) is held, found
    going_on = heard(2, "Updated", START + HOUR - 80, reading(START + HOUR - 80, 9_000))
    assert details(judged(begun(), state, going_on, about=knowing(by_state=True))) == [], "more states may come"


@together(
    ("values", "unit", "held"),
    [
        ((1000, 1001), "Wh", False),
        ((1000, 1001.001), "Wh", True),
        (("1.00", "1.01"), "kWh", False),
        (("1.000", "1.003"), "kWh", True),
        (("1.00", "1.00", "1.02"), "kWh", True),
        (("1.00", "1.02", "1.02"), "kWh", True),
    ],
)
def test_without_energy_no_event_has_to_say_whether_it_charges(
    values: tuple[float | str, ...], unit: str, held: bool
) -> None:
    """A register may be wrong by 1 Wh and by its resolution."""
    at_ms = [START + HOUR * number // (len(values) - 1) for number in range(len(values))]
    events = [
        heard(number, "Updated", at, msgspec.structs.replace(reading(at, value), unit=unit))
        for number, (at, value) in enumerate(zip(at_ms, values, strict=True))
    ]
    events[0] = msgspec.structs.replace(events[0], kind="Started")
    events[-1] = msgspec.structs.replace(events[-1], kind="Ended")
    found = judged(*events, about=knowing(by_state=True))
    assert [each.reason for each in found.findings] == ["events"] * held
    assert found.timed is not held


def test_a_begin_that_the_end_repeats_in_its_meter_value_is_of_the_start() -> None:
    """Then the register does not rise in no time."""
    both = (
        reading(START + HOUR, value, context=f"Transaction.{name}") for name, value in (("Begin", 1000), ("End", 3000))
    )
    found = judged(heard(0, "Started", START), heard(1, "Ended", START + HOUR, *both))
    assert (details(found), found.import_mwh, times(found)) == ([], 2_000_000, [START, START + HOUR])


def test_a_begin_that_is_not_repeated_or_not_a_begin_keeps_its_time() -> None:
    later = reading(START + MINUTE, 1000, context="Transaction.Begin")
    found = judged(heard(0, "Started", START), heard(1, "Ended", START + HOUR, later, reading(START + HOUR, 3000)))
    assert times(found) == [START + MINUTE, START + HOUR]
    both = (reading(START + HOUR, value, context="Transaction.End") for value in (1000, 3000))
    found = judged(heard(0, "Started", START), heard(1, "Ended", START + HOUR, *both))
    rises = "the import register rises from 1000 to 3000 Wh in 0 s"
    assert ("rise", rises) in [(reason, detail[: len(rises)]) for reason, detail in details(found)]


def test_a_begin_of_before_the_start_that_the_end_repeats_stays_before_it() -> None:
    both = (
        reading(START - MINUTE, value, context=f"Transaction.{name}")
        for name, value in (("Begin", 1000), ("End", 1000.5))
    )
    found = judged(heard(0, "Started", START), heard(1, "Ended", START + HOUR, *both))
    assert found.import_mwh == 500


def test_a_begin_that_the_end_repeats_is_not_older_than_the_transaction() -> None:
    """Then anything could have flowed."""
    both = (
        reading(START + HOUR, value, context=f"Transaction.{name}")
        for name, value in (("Begin", 1000), ("End", 99_000))
    )
    found = details(judged(heard(0, "Started", START), heard(1, "Ended", START + HOUR, *both)))
    assert {reason for reason, _ in found} == {"rise"}


@pytest.mark.parametrize(("seconds", "text"), [(119, "119 s"), (120, "2\u00a0min")])
def test_a_rise_is_shown_with_how_long_it_lasted(seconds: int, text: str) -> None:
    at_ms = START + seconds * 1000
    found = details(judged(begun(), ended(at_ms, 99_000)))
    assert f"in {text}, at {utc(at_ms)}" in found[0][1]


@together(
    ("reason", "advice"),
    [
        ("clock", "Look at the station's clock (a simulated one: `--speed`); release it if the energy is right"),
        *[(each, "Compare the meter; release it if the energy is right") for each in
          ("rise", "fall", "begin", "end", "series")],
        ("limits", "Find out why the station did not obey"),
        ("events", ""),
    ],
)  # fmt: skip
def test_a_person_is_told_what_to_do_about_each_reason(reason: Any, advice: str) -> None:
    found = JudgedUsage(usage=Usage(start_ms=0, end_ms=1), findings=(Finding(reason, "one"), Finding("limits", "two")))
    assert found.detail == ("one; two" + (f". {advice}." if advice else ""))
