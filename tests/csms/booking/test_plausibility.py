"""The judge before money: truth is exact, and what glitches did to it is exact or held."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms.booking.plausibility import (
    CLOCK_MS,
    LATE_MS,
    UNKNOWN_RATING_W,
    Conflict,
    JudgedUsage,
    RatedPower,
    ReceivedEvent,
    TransactionContext,
    earliest_ms,
    energy_between,
    judge_register,
    judge_usage,
    rating_of,
)
from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Dated, Kind, Sample
from tests.csms.booking.events import transaction_of
from tests.together import together
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage

pytestmark = pytest.mark.requirement("R194")

START = 1_795_046_400_000
MINUTE = 60_000
HOUR = 3_600_000
RATED_W = 22_000
ABOUT = TransactionContext(rating=RatedPower(RATED_W, RATED_W))


def reading(at_ms: int, value: float | str, measurand: str = IMPORT_REGISTER, **more: Any) -> Sample:
    return Sample(**{"at_ms": at_ms, "measurand": measurand, "value": str(value), "unit": "Wh", **more})


def heard(seq_no: int, kind: Kind, at_ms: int, *samples: Sample, **more: Any) -> ReceivedEvent:
    received_ms = more.pop("received_ms", at_ms)
    bound = earliest_ms(
        received_ms, offline=more.get("offline", False), booted_ms=START - HOUR, away_ms=START - HOUR, known_ms=0
    )
    return ReceivedEvent(
        **{"seq_no": seq_no, "kind": kind, "at_ms": at_ms, "received_ms": received_ms, "earliest_ms": bound,
           "samples": samples, **more}
    )  # fmt: skip


def judged(
    *events: ReceivedEvent, about: TransactionContext = ABOUT, end_ms: int = START + HOUR, **more: Any
) -> JudgedUsage:
    ordered = sorted(events, key=lambda each: each.seq_no)
    return judge_usage(transaction_of(ordered, **more), ordered, end_ms, about)


def course(*values: float, **more: Any) -> list[ReceivedEvent]:
    """Return a transaction with a reading each minute, the first at its begin, the last at its end."""
    events = []
    for number, value in enumerate(values):
        at_ms = START + number * MINUTE
        last = number == len(values) - 1
        kind: Kind = "Started" if number == 0 else "Ended" if last else "Updated"
        context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(kind, "Sample.Periodic")
        events.append(heard(number, kind, at_ms, reading(at_ms, value, context=context), charging=not last, **more))
    return events


def reasons(found: JudgedUsage) -> list[str]:
    return [each.reason for each in found.findings]


# -- truth and glitches


class Case(NamedTuple):
    """Events as they were heard, what its EVSE's registers (Wh) stood at before, and the energy that flowed, mWh."""

    left_mwh: tuple[int, int]
    events: list[ReceivedEvent]
    import_mwh: int
    export_mwh: int
    duration_ms: int


@st.composite
def truths(draw: st.DrawFn) -> Case:
    """Return a right transaction: every step within the rating, on time or offline."""
    steps = draw(st.lists(st.tuples(st.integers(10, 900), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12))
    least = 10_000_000  # a meter that has counted less than one step can rise from a wrong 0 like a new one
    taken = draw(st.integers(least, 10**9))
    given_ = draw(st.integers(least, 10**9))
    begin = taken, given_
    offline = draw(st.booleans())
    at_ms = START + draw(st.integers(0, HOUR))
    began_ms, events = at_ms, []
    arrives_ms = at_ms + draw(st.integers(10, 24)) * HOUR if offline else 0
    phases = draw(st.booleans())

    def samples(context: str) -> tuple[Sample, ...]:
        found = []
        for measurand, value in ((IMPORT_REGISTER, taken), (EXPORT_REGISTER, given_)):
            if not phases:
                found.append(reading(at_ms, value / 1000, measurand, context=context))
                continue
            parts = value // 3, value // 3, value - 2 * (value // 3)
            found += [
                reading(at_ms, each / 1000, measurand, context=context, phase=f"L{n}")
                for n, each in enumerate(parts, 1)
            ]
        return tuple(found)

    for number in range(len(steps) + 1):
        kind: Kind = "Started" if number == 0 else "Ended" if number == len(steps) else "Updated"
        context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(kind, "Sample.Periodic")
        received_ms = max(arrives_ms, at_ms)
        events.append(
            heard(
                number, kind, at_ms, *samples(context), received_ms=received_ms, offline=offline,
                charging=kind != "Ended", evse_id=1,
            )
        )  # fmt: skip
        if number < len(steps):
            seconds, share, back = steps[number]
            at_ms += seconds * 1000
            taken += int(share * RATED_W * seconds / 3.6)
            given_ += int(back * RATED_W * seconds / 3.6)
    left_mwh = begin[0], begin[1]
    return Case(left_mwh, events, taken - begin[0], given_ - begin[1], at_ms - began_ms)


def changed(event: ReceivedEvent, change: Callable[[Sample], Sample | None]) -> ReceivedEvent:
    """Return an event with other samples."""
    return msgspec.structs.replace(
        event, samples=tuple(each for each in map(change, event.samples) if each is not None)
    )


def valued(value: str) -> Callable[[Sample], Sample]:
    return lambda each: msgspec.structs.replace(each, value=value)


def off_by(watt_hours: int, draw: st.DrawFn) -> Callable[[Sample], Sample]:
    """Return what a begin that is wrong by less than 10 kWh does to a reading."""
    by = watt_hours * draw(st.sampled_from([-1, 1]))
    return lambda each: (
        each if each.phase in ("L2", "L3") else msgspec.structs.replace(each, value=str(float(each.value) + by))
    )


def shifted(event: ReceivedEvent, by_ms: int) -> ReceivedEvent:
    """Return an event whose station's clock was wrong by so much."""
    samples = tuple(msgspec.structs.replace(each, at_ms=each.at_ms + by_ms) for each in event.samples)
    return msgspec.structs.replace(event, at_ms=event.at_ms + by_ms, samples=samples)


def reset(events: list[ReceivedEvent], since: int) -> list[ReceivedEvent]:
    """Return events whose registers begin anew at 0."""
    base = {(each.measurand, each.phase): float(each.value) for each in events[since].samples}

    def fallen(each: Sample) -> Sample:
        return msgspec.structs.replace(each, value=str(round(float(each.value) - base[each.measurand, each.phase], 3)))

    return [*events[:since], *(changed(each, fallen) for each in events[since:])]


Glitch = Callable[[list[ReceivedEvent], int, st.DrawFn], list[ReceivedEvent]]


def at(
    number: int, one: Callable[[ReceivedEvent], ReceivedEvent | None]
) -> Callable[[list[ReceivedEvent]], list[ReceivedEvent]]:
    return lambda events: [
        each for n, old in enumerate(events) if (each := one(old) if n == number else old) is not None
    ]


GLITCHES: dict[str, Glitch] = {
    "none": lambda events, _n, _draw: events,
    "placeholder": lambda events, n, _draw: at(n, lambda each: changed(each, valued("0")))(events),
    "spike": lambda events, n, draw: at(n, lambda each: changed(each, valued(str(draw(st.integers(10**8, 10**12))))))(
        events
    ),
    "negative": lambda events, n, _draw: at(n, lambda each: changed(each, valued("-5000")))(events),
    "reset": lambda events, n, _draw: reset(events, n),
    "unread": lambda events, n, _draw: at(n, lambda each: msgspec.structs.replace(each, samples=()))(events),
    "lost": lambda events, n, _draw: at(n, lambda each: None)(events),
    "repeated": lambda events, n, _draw: events[: n + 1] + events[n + 1 :],  # the store keeps one of each number
    "late": lambda events, n, _draw: at(
        n, lambda each: msgspec.structs.replace(each, received_ms=each.received_ms + 90_000)
    )(events),
    "phases swapped": lambda events, n, _draw: at(
        n,
        lambda each: changed(
            each,
            lambda one: msgspec.structs.replace(one, phase={"L1": "L2", "L2": "L1"}.get(one.phase, one.phase)),
        ),
    )(events),
    "phase missing": lambda events, n, _draw: at(
        n, lambda each: changed(each, lambda one: None if one.phase == "L2" else one)
    )(events),
    "clock": lambda events, n, draw: at(
        n, lambda each: shifted(each, draw(st.sampled_from([-1, 1])) * draw(st.integers(10 * MINUTE, 10**12)))
    )(events),
    "1970": lambda events, n, _draw: at(n, lambda each: shifted(each, -each.at_ms))(events),
    "summer time": lambda events, n, draw: (
        events[:n]
        + [shifted(each, draw(st.sampled_from([-HOUR, HOUR]))) for each in events[n : n + 1]]
        + events[n + 1 :]
    ),
    "begin": lambda events, _n, draw: at(0, lambda each: changed(each, off_by(draw(st.integers(500, 9999)), draw)))(
        events
    ),
    "unit": lambda events, n, _draw: at(
        n, lambda each: changed(each, lambda one: msgspec.structs.replace(one, unit="kWh"))
    )(events),
}


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, Case]:
    truth = draw(truths())
    name = draw(st.sampled_from(sorted(GLITCHES)))
    number = draw(st.integers(0, len(truth.events) - 1))
    return name, truth._replace(events=GLITCHES[name](truth.events, number, draw))


def check(name: str, case: Case) -> None:
    if not case.events:
        return
    numbers = {each.seq_no for each in case.events}
    gaps = [(number, number) for number in range(min(numbers), max(numbers)) if number not in numbers]
    closed: dict[str, Any] = {}
    if case.events[-1].kind != "Ended":
        closed = {"closed_ms": case.events[-1].received_ms + HOUR, "closed_reason": "station_lost_it"}
    offline = case.events[0].offline
    for by_time in (False, True):
        about = msgspec.structs.replace(
            ABOUT, gaps=tuple(gaps), by_time=by_time, left_mwh=case.left_mwh, free_ms=START - HOUR, since=()
        )
        found = judged(*case.events, about=about, **closed)
        if name in ("none", "late", "repeated", "phases swapped"):
            of_time = ["clock"] if by_time and offline else []
            assert reasons(found) == of_time, "truth is not held, unless money depends on what nobody else knows"
        if not found.findings:
            slack_mwh = RATED_W * 5000 * 110 // 360_000 + 1000  # within the judge's own tolerance nothing can be known
            assert abs(found.import_mwh - case.import_mwh) <= slack_mwh, name
            assert abs(found.export_mwh - case.export_mwh) <= slack_mwh, name
            if by_time or not offline:
                lasted_ms = found.usage.end_ms - found.usage.start_ms
                assert abs(lasted_ms - case.duration_ms) <= CLOCK_MS + LATE_MS, name


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_each_transaction_is_exact_or_held(story: tuple[str, Case]) -> None:
    check(*story)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_each_of_ten_thousand_transactions_is_exact_or_held(story: tuple[str, Case]) -> None:
    check(*story)


# -- one rule each


def test_a_register_may_rise_by_rating_times_time_and_no_more() -> None:
    """22 kW, 10 % and 5 s: 65 s give 436,944 mWh and 1 Wh of rounding."""
    most = RATED_W * 65_000 * 110 // 360_000 + 1000
    for rise, reason in ((most, None), (most + 1, "rise"), (-1000, None), (-1001, "fall")):
        points, findings = judge_register("import", [(0, 5_000_000), (MINUTE, 5_000_000 + rise)], RATED_W)
        assert [each.reason for each in findings[:1]] == ([] if reason is None else [reason])
        if reason is None:
            assert points == [(0, 5_000_000), (MINUTE, 5_000_000 + max(0, rise))], "it never falls"
    assert judge_register("import", [], RATED_W) == ([], [])


def test_what_is_left_out_is_no_new_base() -> None:
    _, findings = judge_register("import", [(0, 1_000_000), (MINUTE, 10**10), (2 * MINUTE, 1_000_000)], RATED_W)
    assert [each.detail for each in findings] == [
        "the import register rises from 1000 to 10000000 Wh in 60 s, at 1970-01-01 00:01:00 UTC: more than 22 kW",
        "the import register falls from 10000000 to 1000 Wh, at 1970-01-01 00:02:00 UTC",
        "left out: 10000000 Wh",
    ]


def test_a_register_that_is_rounded_never_falls() -> None:
    points = [(0, 1_000_000), (MINUTE, 1_100_000), (2 * MINUTE, 1_099_500)]
    assert judge_register("import", points, RATED_W) == ([*points[:2], (2 * MINUTE, 1_100_000)], [])


def test_what_breaks_is_told_with_its_time() -> None:
    for later_ms, told in (
        (0, "in 0 s, at 1970-01-01 00:00:00"),
        (MINUTE + 1500, "in 1.5 s, at 1970-01-01 00:01:01"),
    ):
        _, findings = judge_register("import", [(MINUTE, 1_000_000), (later_ms, 10**12)], RATED_W)
        assert findings[0].detail.endswith(f"from 1000 to 1000000000 Wh {told} UTC: more than 22 kW")
    same_but_earlier = [(0, 1_000_000), (MINUTE, 1_400_000), (0, 1_400_000)]
    assert judge_register("import", same_but_earlier, RATED_W)[1][0].reason == "rise", "since its begin, in no time"


def test_a_register_may_rise_in_no_time_by_what_flows_until_it_is_renewed() -> None:
    most = RATED_W * 5000 * 110 // 360_000 + 1000
    for later_ms in (0, -MINUTE):
        for rise, found in ((most, []), (most + 1, ["rise"])):
            points = [(0, 5_000_000), (later_ms, 5_000_000 + rise)]
            assert [each.reason for each in judge_register("import", points, RATED_W)[1]][:1] == found


def test_after_fifteen_wrong_runs_a_register_begins_anew() -> None:
    """Otherwise a long list of nonsense would take time with the square of its length."""
    for wrong in (15, 16):
        values = [1000, 1100]
        for number in range(wrong):
            values += [10**9 - number * 10**7, 10**9 - number * 10**7 + 10]
        points = [(n * MINUTE, value * 1000) for n, value in enumerate([*values, 1200, 1300])]
        _, findings = judge_register("import", points, RATED_W)
        bases = [each.detail for each in findings if "new base" in each.detail]
        assert bool(bases) == (wrong > 15)


def test_many_small_steps_are_not_more_than_one_large_one() -> None:
    """Each of 60 steps alone is within the tolerance of 5 s."""
    points = [(second * 1000, second * 30_000) for second in range(60)]
    assert [each.reason for each in judge_register("import", points, RATED_W)[1]][:1] == ["rise"]


def test_a_coarse_register_in_kwh_may_step_by_its_resolution() -> None:
    begin = reading(START, 5, unit="kWh", context="Transaction.Begin")
    for end, exact in ((6, True), (7.5, False)):
        last = reading(START + MINUTE, end, unit="kWh", context="Transaction.End")
        found = judged(heard(0, "Started", START, begin), heard(1, "Ended", START + MINUTE, last))
        assert (not found.findings) == exact


@together(
    ("values", "reason", "detail", "proposed_wh"),
    [
        ((0, 909_948, 910_000, 910_031), "rise", "left out: 0 Wh", 83),
        ((1000, 9_999_999, 1200, 1300), "rise", "left out: 9999999 Wh", 300),
        ((1000, 1100, 9_999_999), "rise", "left out: 9999999 Wh", 100),
        ((1000, 1100, 0), "fall", "left out: 0 Wh", 100),
        ((1000, 1100, 0, 0, 1200, 1300), "fall", "left out: 0 Wh, 0 Wh", 300),
        ((1000, 1100, 0, 200, 300), "fall", "new base: 0 Wh", 400),
        ((1000, 1100, 500_000, 500_100), "rise", "new base: 500000 Wh", 200),
        ((1000, 1100, 0, 200, 9_999_999, 300, 400), "fall", "left out: 9999999 Wh", 500),
        ((1000, 1100, 9_999_999, 1200, 1300, 0, 100), "rise", "new base: 0 Wh", 400),
        ((1000, 1300, 1100, 1200), "fall", "new base: 1100 Wh", 400),
        ((1000, 1100, 0, 200, 9_999_999), "fall", "rises from 200 to 9999999 Wh in 60 s", 300),
        ((1000, 1100, 0, 200, 300), "fall", "falls from 1100 to 0 Wh", 400),
    ],
)
def test_what_cannot_be_is_left_out_or_a_new_base(
    values: tuple[float, ...], reason: str, detail: str, proposed_wh: int
) -> None:
    found = judged(*course(*values))
    assert found.findings[0].reason == reason
    assert detail in found.detail
    assert found.import_mwh == proposed_wh * 1000
    exported = [
        msgspec.structs.replace(
            each,
            samples=tuple(msgspec.structs.replace(one, measurand=EXPORT_REGISTER) for one in each.samples),
        )
        for each in course(*values)
    ]
    assert judged(*exported).export_mwh == proposed_wh * 1000, "in both directions"


@together(
    ("offline", "by_ms", "held"),
    [
        (False, CLOCK_MS, False),
        (False, CLOCK_MS + 1, True),
        (False, -LATE_MS, False),
        (False, -LATE_MS - 1, True),
        (True, -HOUR - CLOCK_MS, False),
        (True, -HOUR - CLOCK_MS - 1, True),
        (True, CLOCK_MS, False),
        (True, CLOCK_MS + 1, True),
    ],
)
def test_receipt_and_the_time_offline_bound_the_start(offline: bool, by_ms: int, held: bool) -> None:
    began, *others = course(1000, 1100, 1200, offline=offline)
    later = [shifted(each, 2 * MINUTE) for each in others]
    later = [msgspec.structs.replace(each, received_ms=each.at_ms, earliest_ms=None) for each in later]
    found = judged(shifted(began, by_ms), *later)
    assert reasons(found) == (["clock"] if held else [])
    assert found.timed is not held
    assert found.import_mwh == 200_000
    if held and not offline:
        assert found.usage.start_ms == START, "the time of receipt"


def test_boot_and_the_transaction_before_bound_it_as_well() -> None:
    assert earliest_ms(START, offline=False, booted_ms=START - 5, away_ms=None, known_ms=None) == START - 5 - CLOCK_MS
    assert earliest_ms(START, offline=False, booted_ms=None, away_ms=1, known_ms=1) == START - LATE_MS
    assert earliest_ms(START, offline=True, booted_ms=START, away_ms=None, known_ms=7) == 7 - CLOCK_MS
    assert earliest_ms(START, offline=True, booted_ms=START, away_ms=None, known_ms=None) is None
    for free_ms, found in ((START + CLOCK_MS, []), (START + CLOCK_MS + 1, ["clock"])):
        assert reasons(judged(*course(1000, 1100), about=msgspec.structs.replace(ABOUT, free_ms=free_ms))) == found


def test_times_never_fall_from_event_to_event() -> None:
    for by_ms, found in ((-MINUTE - 2000, []), (-MINUTE - 2001, ["clock"])):
        events = course(1000, 1010, 1020, 1030, offline=True)
        events[2] = shifted(events[2], by_ms)
        assert reasons(judged(*events)) == found


def test_a_reading_is_of_its_transaction_s_time() -> None:
    for at_ms, found in ((START - CLOCK_MS, []), (START - CLOCK_MS - 1, ["clock"]), (START + 10 * MINUTE, ["clock"])):
        begin, end = course(1000, 1100)
        end = msgspec.structs.replace(end, samples=(*end.samples, reading(at_ms, 1000, context="Sample.Periodic")))
        assert reasons(judged(begin, shifted(end, 0)))[:1] == found


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"seq_no": 5, "kind": "Started"}, "events", "2 events Started: 0, 5"),
        ({"seq_no": 5, "kind": "Ended"}, "events", "2 events Ended: 2, 5"),
        ({"seq_no": 5, "kind": "Updated"}, "events", "readings came after its end: events 5"),
        ({"seq_no": 1, "kind": "Updated", "evse_id": 2}, "evse", "it is at EVSEs 1, 2"),
    ],
)
def test_events_that_contradict_each_other_are_found(change: dict[str, Any], reason: str, detail: str) -> None:
    events = course(1000, 1100, 1200, evse_id=1)
    other = msgspec.structs.replace(events[2 if change["seq_no"] == 5 else 1], **change)
    events = [each for each in events if each.seq_no != other.seq_no] + [other]
    found = judged(*events)
    assert reason in reasons(found)
    assert detail in found.detail


def test_what_a_second_content_says_is_shown_and_a_second_start_ends_the_first_transaction() -> None:
    events = course(1000, 1100, 1200)
    for number, reason, proposed in ((1, "events", 200_000), (0, "reused", 200_000)):
        conflict = Conflict(number, START + HOUR, "Started 9000 Wh")
        later = heard(3, "Updated", START + HOUR, reading(START + HOUR, 9000))
        mixed = [*events, later] if reason == "reused" else events
        found = judged(*mixed, about=msgspec.structs.replace(ABOUT, conflicts=(conflict,)))
        assert found.findings[0].reason == reason
        assert "Started 9000 Wh" in found.detail
        assert found.import_mwh == proposed


def test_gaps_count_where_prices_depend_on_time() -> None:
    for by_time, found in ((False, []), (True, ["events"])):
        about = msgspec.structs.replace(ABOUT, gaps=((1, 2),), by_time=by_time)
        assert reasons(judged(*course(1000, 1100, 1200), about=about)) == found


def test_an_end_that_never_came_is_held_unless_a_person_closed_it() -> None:
    events = course(1000, 1100, 1200)[:2]
    for reason, found in (("station_lost_it", ["end"]), ("next_began", ["end"]), ("operator", [])):
        closed = judged(*events, closed_ms=START + HOUR, closed_reason=reason)
        assert (reasons(closed), closed.import_mwh) == (found, 100_000)
    assert reasons(judged(*events)) == [], "it goes on"


def test_begin_and_end_are_by_context_else_by_time_and_flow() -> None:
    def ends(first_ms: int, last_ms: int, contexts: tuple[str, str]) -> list[str]:
        return reasons(
            judged(
                heard(0, "Started", START, charging=True),
                heard(1, "Updated", first_ms, reading(first_ms, 1000, context=contexts[0])),
                heard(2, "Updated", last_ms, reading(last_ms, 1100, context=contexts[1])),
                heard(3, "Ended", START + HOUR, charging=False),
            )
        )

    plain = "Sample.Periodic", "Sample.Periodic"
    assert ends(START + 2000, START + HOUR - 2000, plain) == []
    assert ends(START + 2001, START + HOUR - 2000, plain) == ["begin"]
    assert ends(START + 2000, START + HOUR - 2001, plain) == ["end"]
    assert ends(START + MINUTE, START + 2 * MINUTE, ("Transaction.Begin", "Transaction.End")) == []


def test_without_two_readings_it_is_unpriced_unless_nobody_charged() -> None:
    lone = heard(1, "Ended", START + MINUTE, reading(START + MINUTE, 5000))
    assert reasons(judged(heard(0, "Started", START), lone)) == ["unpriced"]
    empty = heard(0, "Started", START), heard(1, "Ended", START + MINUTE)
    assert reasons(judged(*empty)) == ["unpriced"]
    assert reasons(judged(*empty, id_token=None)) == []
    assert reasons(judged(*empty, token_type=Dated(0, "DirectPayment"))) == []
    charged = heard(0, "Started", START, charging=True), empty[1]
    assert reasons(judged(*charged, id_token=None)) == ["unpriced"]


def test_a_stale_begin_is_left_out() -> None:
    for left_mwh, found in (
        (1_050_000, ["rise"]), (1_150_000, ["rise"]), (1_200_000, ["rise"]), (1_201_000, []), (9_000_000, []),
        (None, []), (1_001_000, []),
    ):  # fmt: skip
        about = msgspec.structs.replace(ABOUT, left_mwh=(left_mwh, None))
        assert reasons(judged(*course(1000, 1100, 1200), about=about)) == found


def test_a_single_reading_is_no_begin() -> None:
    about = msgspec.structs.replace(ABOUT, left_mwh=(10_000, None), free_ms=START, since=())
    lone = heard(0, "Started", START), heard(1, "Ended", START + MINUTE, reading(START + MINUTE, 5000))
    assert reasons(judged(*lone, about=about)) == ["unpriced"]


def test_a_begin_above_the_end_before_needs_another_transaction_between() -> None:
    """An hour of an EVSE without a vehicle takes 20 Wh at most, and 1 Wh is rounded."""
    for left_mwh, idle, found in (
        (979_000, True, []),
        (978_999, True, ["begin"]),
        (900_000, False, []),
        (1_000_000, True, []),
        (None, True, []),
    ):
        about = msgspec.structs.replace(
            ABOUT, left_mwh=(left_mwh, None), free_ms=START - HOUR, since=() if idle else None
        )
        judgement = judged(*course(1000, 1100, 1200), about=about)
        assert (reasons(judgement), judgement.import_mwh) == (found, 200_000)
    begin = reading(START, 5, unit="kWh", context="Transaction.Begin")
    last = reading(START + MINUTE, 5, unit="kWh", context="Transaction.End")
    coarse = heard(0, "Started", START, begin), heard(1, "Ended", START + MINUTE, last)
    for left_mwh, found in ((4_000_000, []), (3_900_000, ["begin"])):
        about = msgspec.structs.replace(ABOUT, left_mwh=(left_mwh, None), free_ms=START, since=())
        assert reasons(judged(*coarse, about=about)) == found, "its resolution is 1 kWh"


@together(
    ("offline", "received_min", "away_min", "free_min", "found"),
    [
        ((0, 1, 2), 2, 0, None, []),
        ((0, 1, 2), 60, -1, None, ["clock"]),
        ((1,), 60, -1, None, []),
        ((1, 2), 60, -1, None, ["clock"]),
        ((1, 2), 3, -60, None, []),
        ((0,), 4, -60, None, ["clock"]),
        ((0,), 4, -60, -1, []),
    ],
)
def test_times_of_offline_events_need_others_that_bound_them_where_prices_depend_on_them(
    offline: tuple[int, ...], received_min: int, away_min: int, free_min: int | None, found: list[str]
) -> None:
    """Receipt, the time before they were offline, events that were not, and the transaction before it do."""
    events = [
        msgspec.structs.replace(
            each,
            offline=True,
            received_ms=START + received_min * MINUTE,
            earliest_ms=START + away_min * MINUTE - CLOCK_MS,
        )
        if each.seq_no in offline
        else each
        for each in course(1000, 1100, 1200)
    ]
    free_ms = None if free_min is None else START + free_min * MINUTE
    for by_time in (True, False):
        about = msgspec.structs.replace(ABOUT, by_time=by_time, free_ms=free_ms)
        judgement = judged(*events, about=about)
        assert reasons(judgement) == (found if by_time else [])
        assert judgement.timed, "no time was corrected"


def test_a_station_s_own_cost_is_for_the_energy_of_its_register() -> None:
    for cost_wh, found in ((200.0, []), (210.0, []), (210.1, ["cost"]), (189.9, ["cost"]), (0.0, ["cost"])):
        events = course(1000, 1100, 1200)
        events[-1] = msgspec.structs.replace(events[-1], cost_wh=cost_wh)
        assert reasons(judged(*events)) == found


@together(
    ("power", "discharge", "connectors", "expected"),
    [
        (None, None, [], (UNKNOWN_RATING_W, UNKNOWN_RATING_W)),
        (22_000.0, None, ["sType2"], (22_000, 22_000)),
        (150_000.0, 50_000.0, ["cCCS2"], (150_000, 50_000)),
        (None, None, ["sType2", "cType2"], (44_000, 44_000)),
        (None, None, ["sType2", "cCCS2"], (UNKNOWN_RATING_W, UNKNOWN_RATING_W)),
        (None, None, ["cMCS"], (3_750_000, 3_750_000)),
        (0.0, -1.0, [], (UNKNOWN_RATING_W, UNKNOWN_RATING_W)),
        (1e12, 4_000_001.0, [], (UNKNOWN_RATING_W, UNKNOWN_RATING_W)),
        (4_000_000.0, 4_000_000.0, [], (4_000_000, 4_000_000)),
    ],
)
def test_the_rating_is_what_the_station_reports_else_a_default(
    power: float | None, discharge: float | None, connectors: list[str], expected: tuple[int, int]
) -> None:
    assert rating_of(power, discharge, connectors) == RatedPower(*expected)


def test_power_may_be_a_tenth_above_the_rating_both_ways() -> None:
    rated = RatedPower(22_000, 11_000)
    found = [rated.permits(Decimal(watts)) for watts in ("24200", "24200.1", "0", "-12100", "-12100.1")]
    assert found == [True, False, True, True, False]


@together(
    ("wh_each", "unit", "watts", "held"),
    [
        (11, "Wh", 11_000, True), (0, "Wh", 11_000, True), (11_000, "Wh", 11_000, False), (11, "kWh", 11_000, False),
        (0, "Wh", 900, False), (1_200, "Wh", 11_000, False),
    ],
)  # fmt: skip
def test_a_register_in_kwh_that_is_labelled_wh_is_held_by_the_power(
    wh_each: int, unit: str, watts: int, held: bool
) -> None:
    power = {"measurand": "Power.Active.Import", "unit": "W"}
    events = [
        heard(number, kind, at_ms, reading(at_ms, 500 + number * wh_each, unit=unit), reading(at_ms, watts, **power))
        for number, kind in enumerate(("Started", "Ended"))
        for at_ms in [START + number * HOUR]
    ]
    found = judged(*events)
    assert reasons(found) == (["series"] if held else [])
    if held:
        assert found.detail.endswith(
            "11000 Wh or more by the power that was read meanwhile. "
            "Compare the meter; release it if the energy is right."
        )


@together(
    ("wh_each", "flow", "by"),
    [
        (11, {"Current.Import": (16, "A")}, "current"),
        (11, {"Current.Import": (16, "Wh")}, "current"),  # without a unit
        (11, {"Current.Import": (16, "A"), "Power.Active.Import": (11, "W")}, "current"),  # it is in kW
        (11, {"Current.Import": (16, "A"), "Power.Active.Import": (11, "kW")}, "power"),
        (11_000, {"Current.Import": (16, "A")}, ""),
        (11_000, {"Current.Import": (11_000, "A")}, ""),  # W
        (11_000, {"Power.Active.Import": (11_000_000, "W")}, ""),  # mW
        (11, {"Power.Active.Import": (11_000, "A")}, ""),
        (11, {"Current.Import": (16, "A"), EXPORT_REGISTER: (5, "Wh")}, ""),  # it may flow out
    ],
)
def test_a_register_that_is_labelled_wrong_is_held_by_what_flowed_by_readings_in_their_units(
    wh_each: int, flow: dict[str, tuple[float, str]], by: str
) -> None:
    events = [
        heard(number, kind, at_ms, reading(at_ms, 500 + number * wh_each),
              *(reading(at_ms, value, measurand, unit=unit) for measurand, (value, unit) in flow.items()))
        for number, kind in enumerate(("Started", "Ended"))
        for at_ms in [START + number * HOUR]
    ]  # fmt: skip
    found = judged(*events)
    assert reasons(found) == (["series"] if by else [])
    assert f"by the {by} that was read" in found.detail or not by


@pytest.mark.parametrize(
    ("wh_each", "states", "held"),
    [
        (36, (20, 50, 80), True),
        (0, (20, 50, 80), True),
        (18_000, (20, 50, 80), False),
        (150, (20, 50, 80), False),  # a battery of 5 kWh, as far as that goes
        (36, (60, 62, 64), False),  # less than a register has to show
        (36, (80, 60, 50), False),
        (36, (0, 79, 80), False),  # not known at the begin
        (36, (255, 80, 80), False),
    ],
)
def test_a_register_in_kwh_that_is_labelled_wh_is_held_by_the_state_of_charge(
    wh_each: int, states: tuple[int, ...], held: bool
) -> None:
    events = [
        heard(number, kind, at_ms, reading(at_ms, 500 + number * wh_each), reading(at_ms, state, "SoC", unit="Percent"))
        for number, (kind, state) in enumerate(zip(("Started", "Updated", "Ended"), states, strict=True))
        for at_ms in [START + number * HOUR]
    ]
    found = judged(*events, end_ms=START + 2 * HOUR)
    assert reasons(found) == (["series"] if held else [])
    assert "3000 Wh or more by the state of charge that was read" in found.detail or not held


def test_a_state_of_charge_that_jumps_says_nothing_of_a_register() -> None:
    """From 1 to 90 % in 2 s, at 400 kW at most."""
    events = [
        heard(number, kind, at_ms, reading(at_ms, 500), reading(at_ms, state, "SoC", unit="Percent"))
        for number, (kind, state) in enumerate((("Started", 1), ("Ended", 90)))
        for at_ms in [START + number * 2_000]
    ]
    assert reasons(judged(*events)) == []


def test_power_readings_far_apart_and_in_the_other_direction_say_nothing_of_a_register() -> None:
    def events(measurand: str, apart_ms: int) -> list[ReceivedEvent]:
        return [
            heard(number, kind, at_ms, reading(at_ms, 500), reading(at_ms, 11_000, measurand, unit="W"))
            for number, kind in enumerate(("Started", "Ended"))
            for at_ms in [START + number * apart_ms]
        ]

    assert reasons(judged(*events("Power.Active.Import", HOUR))) == ["series"]
    assert reasons(judged(*events("Power.Active.Import", HOUR + 1), end_ms=START + 2 * HOUR)) == []
    assert reasons(judged(*events("Power.Active.Export", HOUR))) == []


def test_energy_between_times_is_net_and_none_outside_the_readings() -> None:
    usage = Usage(start_ms=0, end_ms=400, readings=(Registers(100, 0, 0), Registers(200, 1000, 200)))
    assert [energy_between(usage, *span) for span in ((0, 400), (100, 150), (0, 100), (200, 400))] == [800, 400, 0, 0]
    assert energy_between(Usage(start_ms=0, end_ms=1), 0, 1) == 0
