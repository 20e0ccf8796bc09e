"""What does not fit in a transaction's events is named; when a transaction is over is decided by its station's word."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.transactions.rules import (
    Event,
    Sample,
    Transaction,
    close,
    faults_of,
    forgotten,
    judge_status,
    merge,
    suspects,
)


def event(seq_no: int, kind: str = "Updated", *wh: int, at_ms: int | None = None) -> Event:
    at_ms = seq_no * 1000 if at_ms is None else at_ms
    samples = tuple(
        Sample(at_ms=at_ms + n, measurand="Energy.Active.Import.Register", value=str(value), unit="Wh")
        for n, value in enumerate(wh)
    )
    return Event(
        station_id="CS",
        transaction_id="t",
        seq_no=seq_no,
        kind=kind,  # type: ignore[arg-type]
        at_ms=at_ms,
        trigger="",
        digest="",
        samples=samples,
    )


def after(*events: Event) -> Transaction:
    known: Transaction | None = None
    for each in events:
        known = merge(known, each)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("events", "new", "kinds"),
    [
        ([event(0, "Started", 5)], event(1, "Updated", 6), []),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(1, "Updated", 7), ["late"]),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(1, "Updated", 10), ["late", "register_decreased"]),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(3, "Updated", 8), ["register_decreased"]),
        ([event(0, "Started", 5)], event(1, "Updated", 7, 6), ["register_decreased"]),
        ([event(0, "Started", 5), event(1, "Updated", 9)], event(2, "Ended", 5, 12), []),
        ([event(0, "Started", 5), event(1, "Updated", 9)], event(2, "Ended", 4, 12), ["register_decreased"]),
        ([event(0, "Started"), event(1, "Ended")], event(2), ["after_end"]),
        ([event(0, "Started")], event(1, "Started"), ["started_twice"]),
        ([event(0, "Started"), event(3, "Ended")], event(2, "Ended"), ["late", "ended_twice"]),
        ([event(5, "Started")], event(6, at_ms=10), ["clock_backwards"]),
        ([event(0, "Started"), event(3, "Ended")], event(2, at_ms=99_000), ["late", "clock_backwards"]),
    ],
)
def test_what_does_not_fit_is_named(events: list[Event], new: Event, kinds: list[str]) -> None:
    assert [fault.kind for fault in faults_of(after(*events), new)] == kinds


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=10))
def test_a_station_that_works_has_no_faults(flows: list[int]) -> None:
    known, wh = after(event(0, "Started", 0)), 0
    for number, flow in enumerate(flows, start=1):
        wh += flow
        new = event(number, "Ended" if number == len(flows) else "Updated", wh)
        assert faults_of(known, new) == []
        known = merge(known, new)


@pytest.mark.parametrize(
    ("ongoing", "queued", "verdict"),
    [
        (False, False, "over"),  # E14.FR.01, FR.03
        (False, True, "wait"),
        (True, True, "wait"),
        (True, False, "ongoing"),
        (None, False, "ongoing"),  # a station that leaves the indicator out has not said that it is over
    ],
)
def test_a_transaction_is_over_when_its_station_says_so_and_nothing_waits(
    ongoing: bool | None, queued: bool, verdict: str
) -> None:
    assert judge_status(ongoing=ongoing, messages_in_queue=queued) == verdict


def test_suspect_is_what_was_not_reported_since_the_boot_or_for_long() -> None:
    open_one = [after(event(0, "Started"))]
    ask = {"booted_ms": None, "silent_ms": 1000}
    assert suspects(open_one, {"t": 5000}, 5999, **ask) == []  # type: ignore[arg-type]
    assert suspects(open_one, {"t": 5000}, 6000, **ask) == ["t"]  # type: ignore[arg-type]
    assert suspects(open_one, {"t": 5000}, 5500, booted_ms=5100, silent_ms=1000) == ["t"]
    assert suspects(open_one, {"t": 5200}, 5500, booted_ms=5100, silent_ms=1000) == []


def test_forgotten_is_what_began_before_on_the_same_evse() -> None:
    def one(name: str, began_ms: int | None, evse_id: int | None = 1) -> Transaction:
        return Transaction(
            station_id="s", transaction_id=name, first_seq=0, last_seq=0, started_ms=began_ms, evse_id=evse_id
        )

    new = one("new", 100)
    beside = [(one("other", 50, 2), 60), (one("nowhere", 50, None), 60), (one("unknown", None), 60), (new, 100)]
    assert forgotten(new, 100, [(one("old", 50), 60), *beside]) == ["old"]
    assert forgotten(new, 100, [(one("later", 150), 60)]) == [], "its Started arrived late"
    assert forgotten(new, 100, [(one("alive", 50), 101)]) == [], "the clock was set"
    assert forgotten(one("new", None), 100, [(one("old", 50), 60)]) == []
    used_again = msgspec.structs.replace(one("old", 50, 2), next_id="old~")
    assert forgotten(new, 100, [(used_again, 200)]) == ["old"], "its station cannot tell about it"


def test_a_closed_transaction_goes_on_when_an_event_shows_it() -> None:
    closed = close(after(event(0, "Started"), event(3)), 99, "station_lost_it")
    assert not closed.active
    assert not merge(closed, event(2)).active  # from before it was closed
    assert merge(closed, event(4)).active
