"""DER controls by time: primacy, creation, defaults, superseded and cancelled events, random shifts, responses."""

import itertools
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.ieee2030_5.controls import FOREVER, ControlResponse, Demanded, ProgramState, demanded, responses, with_unlisted
from v2g.ieee2030_5.resources import Control, ControlBase, Program

START_S = 1_000_000


def control(mrid: str, export_limit_w: int | None = 1000, **more: Any) -> Control:
    """Return an event that begins at START_S for ten minutes."""
    base = more.pop("base", ControlBase(export_limit_w=export_limit_w))
    settings: dict[str, Any] = {"start_s": START_S, "duration_s": 600, "creation_s": 1, "reply_to": "/rsp"}
    return Control(**(settings | {"mrid": mrid, "base": base, "response_required": 3} | more))


def program(*controls: Control, primacy: int = 1, default: ControlBase | None = None) -> ProgramState:
    """Return a program with events."""
    about = Program(mrid=f"P{primacy}", primacy=primacy, controls_path="/c", default_path="")
    return ProgramState(program=about, controls=controls, default=default or ControlBase())


def at(second: int, *programs: ProgramState, known: Mapping[str, ControlResponse] | None = None) -> Demanded:
    """Return what is in force so many seconds after the start."""
    return demanded(programs, START_S + second, device="me", known=known or {})


def test_an_event_applies_in_its_time_and_the_default_outside_of_it() -> None:
    """And the next change is known."""
    one = program(control("A"), default=ControlBase(export_limit_w=1500, import_limit_w=7000))
    before, during, after = at(-10, one), at(0, one), at(600, one, known={"A": ControlResponse.STARTED})
    assert [each.base.export_limit_w for each in (before, during, after)] == [1500, 1000, 1500]
    assert [each.until_s for each in (before, during, after)] == [START_S, START_S + 600, FOREVER]
    assert during.base.import_limit_w == 7000, "the event says nothing of it"
    assert during.events == {"export_limit_w": "A"}
    assert [each.states["A"] for each in (before, during, after)] == [
        ControlResponse.RECEIVED,
        ControlResponse.STARTED,
        ControlResponse.COMPLETED,
    ]


def test_the_lowest_primacy_comes_first_then_the_last_created() -> None:
    """For each demand of its own."""
    low = program(control("A", base=ControlBase(export_limit_w=1, import_limit_w=2)), primacy=5)
    high = program(control("B", 10, creation_s=1), control("C", 20, creation_s=2), primacy=2)
    found = at(5, low, high)
    assert (found.base.export_limit_w, found.base.import_limit_w) == (20, 2)
    assert found.states == {"A": ControlResponse.STARTED, "B": ControlResponse.SUPERSEDED, "C": ControlResponse.STARTED}


def test_a_superseded_event_does_not_return() -> None:
    """Also when the other one ends first, and the server has forgotten it."""
    long, short = control("A", 1), control("B", 2, creation_s=2, start_s=START_S + 60, duration_s=60)
    default = ControlBase(export_limit_w=9)
    assert at(30, program(long, short, default=default)).base.export_limit_w == 1
    found = at(
        60, program(long, short, default=default), known={"A": ControlResponse.STARTED, "B": ControlResponse.RECEIVED}
    )
    assert (found.base.export_limit_w, found.states["A"]) == (2, ControlResponse.SUPERSEDED)
    later = at(130, program(long, default=default), known=found.states)
    assert (later.base.export_limit_w, later.states["A"]) == (9, ControlResponse.SUPERSEDED)


@pytest.mark.parametrize(("status", "state"), [(2, ControlResponse.CANCELLED), (4, ControlResponse.SUPERSEDED)])
def test_what_the_server_ends_ends_at_once(status: int, state: ControlResponse) -> None:
    """And stays over."""
    found = at(5, program(control("A", status=status)), known={"A": ControlResponse.STARTED})
    assert (found.base.export_limit_w, found.states["A"]) == (None, state)
    again = at(6, program(control("A", status=1)), known=found.states)
    assert again.base.export_limit_w is None


@pytest.mark.parametrize("random_s", [2000, -2000])
def test_an_event_takes_over_at_once_from_one_that_the_server_ends_as_superseded(random_s: int) -> None:
    """Whatever it has drawn: no default applies between them. Not where the other one might not have begun either."""
    stated_s = 300 + max(0, -random_s)
    next_one = control("B", 2, start_s=START_S + stated_s, creation_s=2, randomize_start_s=random_s)
    begun = {"start_s": START_S - 3000, "duration_s": 9000}
    default = ControlBase(export_limit_w=9000)
    assert at(0, program(next_one)).until_s > START_S + 310
    before = at(299, program(control("A", 1, **begun), next_one, default=default))
    ended = control("A", 1, **begun, status=4, status_s=START_S + 300)
    found = at(301, program(ended, next_one, default=default), known=before.states)
    assert (before.base.export_limit_w, found.base.export_limit_w) == (1, 2)
    assert found.states == {"A": ControlResponse.SUPERSEDED, "B": ControlResponse.STARTED}
    forgotten = at(302, program(next_one, default=default), known=found.states)
    assert forgotten.base.export_limit_w == 2, "also once the server has forgotten it"
    both = msgspec.structs.replace(ended, randomize_start_s=3600)
    assert at(301, program(both, next_one, default=default)).states["B"] is ControlResponse.RECEIVED


def test_an_event_takes_over_at_once_from_one_of_another_program_if_it_comes_before_it() -> None:
    begun = {"start_s": START_S - 3000, "duration_s": 9000}
    next_one = control("B", 2, start_s=START_S + 300, randomize_start_s=2000)
    ended = control("A", 1, **begun, status=4, status_s=START_S + 300)
    assert at(301, program(ended, primacy=5), program(next_one)).base.export_limit_w == 2
    assert at(301, program(ended), program(next_one, primacy=5)).base.export_limit_w is None


def test_an_event_waits_for_its_random_start_after_one_that_gave_way_to_another() -> None:
    """All devices of a server would else begin at once."""
    ended = control("A", 1, start_s=START_S - 3000, duration_s=9000, status=4, status_s=START_S)
    other = control("B", 2, creation_s=2, duration_s=400)
    later = control("C", 3, creation_s=3, start_s=START_S + 500, duration_s=3000, randomize_start_s=2000)
    known = {"A": ControlResponse.SUPERSEDED, "B": ControlResponse.COMPLETED, "C": ControlResponse.RECEIVED}
    assert at(501, program(ended, other, later), known=known).states["C"] is ControlResponse.RECEIVED


def test_a_random_cancellation_ends_within_its_time() -> None:
    """The larger of both random times."""
    one = control("A", status=3, status_s=START_S + 100, randomize_duration_s=50)
    states = [at(second, program(one), known={"A": ControlResponse.STARTED}).states["A"] for second in (100, 150)]
    assert states == [ControlResponse.STARTED, ControlResponse.CANCELLED]


@pytest.mark.parametrize("known", [{}, {"A": ControlResponse.RECEIVED}])
def test_an_event_that_is_cancelled_randomly_before_it_begins_never_does(known: dict[str, ControlResponse]) -> None:
    """Only its end would be random."""
    one = control("A", status=3, status_s=START_S - 100, randomize_start_s=3600)
    found = at(-100, program(one), known=known)
    assert found.states == {"A": ControlResponse.CANCELLED}
    assert at(300, program(one), known=found.states).base.export_limit_w is None


def test_an_event_that_was_over_when_it_was_first_seen_is_expired() -> None:
    """It never applies."""
    found = at(600, program(control("A")))
    assert (found.states["A"], found.base.export_limit_w) == (ControlResponse.EXPIRED, None)


@given(st.integers(-3600, 3600), st.integers(-3600, 3600), st.text("0123456789ABCDEF", min_size=1, max_size=8))
def test_random_shifts_stay_in_their_bounds_and_are_the_same_on_every_node(start: int, length: int, mrid: str) -> None:
    """Between zero and the given seconds, of either sign."""
    one = program(control(mrid, randomize_start_s=start, randomize_duration_s=length, duration_s=7200))
    edge = at(-7200, one).until_s - START_S
    assert min(0, start) <= edge <= max(0, start)
    assert at(-7200, one) == at(-7200, one)
    end = at(edge, one).until_s - START_S
    assert 7200 + min(0, length) <= end - edge <= 7200 + max(0, length)


@given(st.integers(-600, 600), st.integers(-600, 600), st.text("0123456789ABCDEF", min_size=4, max_size=8))
def test_successive_events_follow_each_other_without_gap(start: int, length: int, name: str) -> None:
    """Each is received, started and completed, whatever is drawn; no default applies between them."""
    events = [
        control(f"{name}{number}", number, start_s=START_S + number * 86_400, duration_s=86_400, creation_s=number,
                randomize_start_s=start, randomize_duration_s=length)
        for number in range(7)
    ]  # fmt: skip
    one = program(*events, default=ControlBase(export_limit_w=99))
    known: Mapping[str, ControlResponse] = {}
    said: dict[str, list[int]] = {each.mrid: [] for each in events}
    second, limits = -4000, []
    while second < 8 * 86_400:
        found = at(second, one, known=known)
        for each in events:
            said[each.mrid] += responses(each, known.get(each.mrid), found.states[each.mrid])
        known = found.states
        limits.append(found.base.export_limit_w)
        second = found.until_s - START_S
    assert limits == [99, *range(7), 99]
    assert set(map(tuple, said.values())) == {(1, 2, 3)}


def test_random_shifts_alone_supersede_nothing_of_another_program() -> None:
    """Two programs in turn: both run, the lower primacy counts while they overlap."""
    first = program(control("A", 1), primacy=5)
    second = program(control("B", 2, start_s=START_S + 600, randomize_start_s=-600), primacy=2)
    start = at(-1, second).until_s - START_S
    assert 0 < start < 600
    found = at(start, first, second)
    assert found.base.export_limit_w == 2
    assert set(found.states.values()) == {ControlResponse.STARTED}


def test_an_event_is_superseded_by_several_only_where_they_cover_all_its_demands_at_once() -> None:
    """One after the other is not enough."""
    both = control("A", base=ControlBase(export_limit_w=1, import_limit_w=1))
    one = control("B", base=ControlBase(export_limit_w=2), creation_s=2, duration_s=100)
    for begins, state in ((100, ControlResponse.STARTED), (50, ControlResponse.SUPERSEDED)):
        other = control("C", base=ControlBase(import_limit_w=2), creation_s=2, start_s=START_S + begins, duration_s=99)
        assert at(begins, program(both, one, other)).states["A"] is state


def test_many_events_at_once_are_evaluated_by_few_comparisons() -> None:
    """All overlap, none covers all demands of another: a server cannot keep the back end busy by that."""
    pairs = [{"export_limit_w": 1}, {"import_limit_w": 1}, {"load_limit_w": 1}]
    events = [
        control(f"{number:04}", creation_s=number, start_s=START_S - number, duration_s=9000,
                base=ControlBase(**pairs[number % 3], target_w=number % 2 or None))
        for number in range(300)
    ]  # fmt: skip
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        found = at(0, program(*events))
    finally:
        sys.setprofile(None)
    assert found.base.target_w == 1
    assert calls < 600_000


@pytest.mark.parametrize("status", [0, 2])
def test_an_event_without_a_mode_that_has_an_effect_never_starts(status: int) -> None:
    """It supersedes nothing, and is not superseded."""
    curve = control("A", base=ControlBase(others=("opModVoltVar",)), status=status, creation_s=2)
    found = at(5, program(curve, control("B", 5)))
    assert (found.base.export_limit_w, found.states["A"]) == (5, ControlResponse.NOT_APPLICABLE)
    assert tuple(responses(curve, None, found.states["A"])) == (1, 252)
    assert tuple(responses(curve, None, found.states["A"], "csip-aus")) == (1,)
    assert tuple(responses(curve, None, ControlResponse.EXPIRED, "csip-aus")) == ()


def test_an_event_that_leaves_the_list_stays_until_its_end() -> None:
    """One that is over does not; one of another program that is listed again is not doubled."""
    before = [program(control("A"), control("B", start_s=START_S + 700)), program(control("C"), primacy=2)]
    known = {"A": ControlResponse.COMPLETED, "B": ControlResponse.RECEIVED, "C": ControlResponse.STARTED}
    now = [program(), program(control("C"), primacy=2)]
    assert [[each.mrid for each in state.controls] for state in with_unlisted(now, before, known)] == [["B"], ["C"]]
    assert with_unlisted(now[1:], before, known) == (now[1],)


def test_responses_follow_the_life_of_an_event() -> None:
    """By the bits of `responseRequired`."""
    one = control("A")
    lives = [None, ControlResponse.RECEIVED, ControlResponse.STARTED, ControlResponse.COMPLETED]
    said = [tuple(responses(one, before, after)) for before, after in itertools.pairwise(lives) if after]
    assert said == [(ControlResponse.RECEIVED,), (ControlResponse.STARTED,), (ControlResponse.COMPLETED,)]
    assert tuple(responses(one, None, ControlResponse.STARTED)) == (ControlResponse.RECEIVED, ControlResponse.STARTED)
    assert tuple(responses(one, ControlResponse.RECEIVED, ControlResponse.CANCELLED)) == (ControlResponse.CANCELLED,)
    assert tuple(responses(one, None, ControlResponse.EXPIRED)) == (ControlResponse.EXPIRED,)
    assert tuple(responses(one, ControlResponse.STARTED, ControlResponse.STARTED)) == ()
    only = msgspec.structs.replace(one, response_required=1)
    assert tuple(responses(only, None, ControlResponse.STARTED)) == (ControlResponse.RECEIVED,)
    assert tuple(responses(msgspec.structs.replace(one, reply_to=""), None, ControlResponse.STARTED)) == ()


def test_an_event_that_was_superseded_supersedes_none() -> None:
    first, third = control("A", 1), control("C", 3, start_s=START_S + 300)
    second = control("B", 2, start_s=START_S + 100)
    lists = program(first, primacy=2), program(second), program(third, primacy=3)
    known = at(150, *lists).states
    assert known["A"] is ControlResponse.SUPERSEDED
    second = msgspec.structs.replace(second, status=2)
    found = at(310, lists[0], program(second), lists[2], known=known)
    assert found.states["C"] is ControlResponse.STARTED, "A does not return, and B is cancelled"
    assert found.base.export_limit_w == 3


def test_an_event_that_was_over_when_it_was_received_supersedes_none() -> None:
    over = control("B", 2, start_s=START_S + 100, duration_s=100)
    found = at(300, program(control("A", 1), primacy=2), program(over))
    assert found.states == {"A": ControlResponse.STARTED, "B": ControlResponse.EXPIRED}
