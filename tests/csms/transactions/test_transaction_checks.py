"""What does not fit in a transaction's events is named; when a transaction is over is decided by its station's word."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.transactions.rules import (
    EXPORT_REGISTER,
    Event,
    EventFault,
    Sample,
    Transaction,
    Transactions,
    close,
    faults_of,
    forgotten,
    judge_status,
    limit_to_tell,
    lost,
    merge,
    reached,
    suspects,
    tightest,
)
from tests.together import together
from v2g.ocpp.messages.transactions import TransactionLimit


def event(seq_no: int, kind: str = "Updated", *wh: float, at_ms: int | None = None) -> Event:
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


@together(
    ("events", "new", "kinds"),
    [
        ([event(0, "Started", 5)], event(1, "Updated", 6), []),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(1, "Updated", 7), ["late"]),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(1, "Updated", 10), ["late", "register_decreased"]),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(3, "Updated", 8), ["register_decreased"]),
        ([event(0, "Started", 5)], event(1, "Updated", 7, 6), ["register_decreased"]),
        ([event(0, "Started", 371)], event(1, "Updated", 370.806), []),  # meterStart of OCPP 1.6 is in whole Wh
        ([event(0, "Started", 371)], event(1, "Updated", 370.001, 371, 370.5), []),
        ([event(0, "Started", 371)], event(1, "Updated", 370), ["register_decreased"]),
        ([event(0, "Started", 5), event(1, "Updated", 9)], event(2, "Ended", 5, 12), []),
        ([event(0, "Started", 5), event(1, "Updated", 9)], event(2, "Ended", 4, 12), ["register_decreased"]),
        ([event(0, "Started"), event(1, "Ended")], event(2), ["after_end"]),
        ([event(0, "Started")], event(1, "Started"), ["started_twice"]),
        ([event(0, "Started"), event(3, "Ended")], event(2, "Ended"), ["late", "ended_twice"]),
        ([event(1)], event(0, "Started"), ["late"]),
        ([event(0, "Started", 5), event(2, "Updated", 9)], event(1, "Updated", 6, 10), ["late", "register_decreased"]),
        ([event(0, "Started", 5)], event(0, "Updated", 4), []),
        ([event(0, "Started"), event(3, "Ended", at_ms=5000)], event(3, at_ms=9000), []),
        ([event(0, "Started"), event(3, "Ended", 5)], event(2, "Updated", 5, 5), ["late"]),
        ([event(0, "Started"), event(3, "Ended")], event(2, at_ms=3000), ["late"]),
        ([event(5, "Started")], event(6, at_ms=5000), []),
        ([event(5, "Started")], event(5, at_ms=10), []),
        ([event(5, "Started")], event(4, at_ms=10), ["late"]),
        ([event(5)], event(6, at_ms=10), []),
        ([event(5, "Started")], event(6, at_ms=10), ["clock_backwards"]),
        ([event(0, "Started"), event(3, "Ended")], event(2, at_ms=99_000), ["late", "clock_backwards"]),
    ],
)
def test_what_does_not_fit_is_named(events: list[Event], new: Event, kinds: list[str]) -> None:
    assert [fault.kind for fault in faults_of(after(*events), new)] == kinds


def test_each_register_is_compared_even_within_the_first_event() -> None:
    falling = event(0, "Started", 7, 6)
    assert [fault.kind for fault in faults_of(None, falling)] == ["register_decreased"]
    first, second = (
        msgspec.structs.replace(
            each,
            samples=tuple(msgspec.structs.replace(one, measurand=EXPORT_REGISTER) for one in each.samples),
        )
        for each in (event(0, "Started", 7), event(1, "Updated", 6))
    )
    assert [fault.detail for fault in faults_of(after(first), second)] == [
        "Energy.Active.Export.Register 6 Wh beside 7 Wh of 0"
    ]


def test_gaps_of_what_has_ended_are_lost_when_nothing_is_queued() -> None:
    assert lost([(1, 2), (5, 5)]) == [
        EventFault("lost", 1, "1 to 2 will not come"),
        EventFault("lost", 5, "5 to 5 will not come"),
    ]


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
    assert suspects(open_one, {"t": 5100}, 5500, booted_ms=5100, silent_ms=1000) == []


def test_a_transaction_of_which_nothing_was_heard_is_as_old_as_its_start() -> None:
    ask = {"booted_ms": None, "silent_ms": 1000}
    begun = [after(event(5, "Started"))]
    assert suspects(begun, {}, 5999, **ask) == []  # type: ignore[arg-type]
    assert suspects(begun, {}, 6000, **ask) == ["t"]  # type: ignore[arg-type]
    unbegun = [after(event(5))]
    assert suspects(unbegun, {}, 999, **ask) == []  # type: ignore[arg-type]
    assert suspects(unbegun, {}, 1000, **ask) == ["t"]  # type: ignore[arg-type]


def test_forgotten_is_what_began_before_on_the_same_evse() -> None:
    def one(name: str, began_ms: int | None, evse_id: int | None = 1) -> Transaction:
        return Transaction(
            station_id="s", transaction_id=name, first_seq=0, last_seq=0, started_ms=began_ms, evse_id=evse_id
        )

    new = one("new", 100)
    beside = [(one("other", 50, 2), 60), (one("nowhere", 50, None), 60), (one("unknown", None), 60), (new, 100)]
    assert forgotten(new, 100, [(one("old", 50), 60), *beside]) == ["old"]
    assert forgotten(new, 100, [(one("old", 50), 100)]) == ["old"]
    assert forgotten(new, 100, [(one("later", 150), 60)]) == [], "its Started arrived late"
    assert forgotten(new, 100, [(one("alive", 50), 101)]) == [], "the clock was set"
    assert forgotten(one("new", None), 100, [(one("old", 50), 60)]) == []
    used_again = msgspec.structs.replace(one("old", 50, 2), next_id="old~")
    assert forgotten(new, 100, [(used_again, 200)]) == ["old"], "its station cannot tell about it"


def test_a_closed_transaction_goes_on_when_an_event_shows_it() -> None:
    closed = close(after(event(0, "Started"), event(3)), 99, "station_lost_it")
    assert not closed.active
    assert not merge(closed, event(2)).active  # from before it was closed
    assert not merge(closed, event(3)).active
    assert merge(closed, event(4)).active


OURS = TransactionLimit(max_cost=10, max_energy=20_000, max_time=3600, max_soc=80)


@together(
    ("reported", "supported", "expected"),
    [
        (None, (), OURS),
        (TransactionLimit(max_cost=11, max_energy=20_001, max_time=3601, max_soc=81), (), OURS),
        (OURS, (), None),
        (TransactionLimit(max_cost=9, max_energy=1, max_time=60, max_soc=20), (), None),
        (TransactionLimit(max_cost=9), (), msgspec.structs.replace(OURS, max_cost=None)),
        (None, ("maxCost",), TransactionLimit(max_cost=10)),
        (None, ("maxEnergy",), TransactionLimit(max_energy=20_000)),
        (None, ("maxTime", "Other"), TransactionLimit(max_time=3600)),
        (None, ("maxLength",), TransactionLimit(max_time=3600)),
        (None, ("maxSoC",), TransactionLimit(max_soc=80)),
        (None, ("Other",), None),
    ],
)
def test_a_station_is_told_the_limits_that_it_supports_and_that_are_lower_than_its_own(
    reported: TransactionLimit | None, supported: tuple[str, ...], expected: TransactionLimit | None
) -> None:
    assert limit_to_tell(OURS, reported, supported) == expected


def test_a_limit_that_nobody_wants_is_not_told() -> None:
    assert limit_to_tell(TransactionLimit(max_soc=80), None) == TransactionLimit(max_soc=80)
    assert limit_to_tell(TransactionLimit(), OURS) is None


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (None, TransactionLimit(max_cost=10, max_energy=20_000)),
        (TransactionLimit(max_cost=9, max_energy=20_001), TransactionLimit(max_cost=9, max_energy=20_000)),
        (TransactionLimit(max_time=60), TransactionLimit(max_cost=10, max_energy=20_000, max_time=60)),
    ],
)
def test_of_two_limits_of_a_kind_the_lower_one_holds(other: TransactionLimit | None, expected: object) -> None:
    assert tightest(TransactionLimit(max_cost=10, max_energy=20_000), other) == expected


def test_without_limits_none_holds() -> None:
    assert tightest(TransactionLimit(), TransactionLimit()) is None


@together(
    ("wanted", "which"),
    [
        (TransactionLimit(max_cost=4.5), "max_cost"),
        (TransactionLimit(max_cost=4.51), ""),
        (TransactionLimit(max_energy=7_000), "max_energy"),
        (TransactionLimit(max_energy=7_001), ""),
        (TransactionLimit(max_time=3_600), "max_time"),
        (TransactionLimit(max_time=3_601), ""),
        (TransactionLimit(max_soc=80), "max_soc"),
        (TransactionLimit(max_soc=81), ""),
        (TransactionLimit(max_cost=4.51, max_soc=80), "max_soc"),
        (TransactionLimit(), ""),
    ],
)
def test_a_limit_is_reached_at_its_value(wanted: TransactionLimit, which: str) -> None:
    """OCPP 2.1, TransactionLimitType."""
    soc = Sample(at_ms=3_000_000, measurand="SoC", value="80", unit="Percent")
    events = event(0, "Started", 1_000, at_ms=1_000), event(1, "Updated", 8_000, at_ms=3_000_000)
    running = after(events[0], msgspec.structs.replace(events[1], samples=(*events[1].samples, soc)))
    assert reached(running, wanted, Decimal("4.50"), 3_601_000) == which


@pytest.mark.parametrize("unknown", ["import_start_wh", "import_wh"])
def test_what_is_not_known_reaches_no_limit(unknown: str) -> None:
    """As where the first event of a transaction is still on its way."""
    known = after(event(1, "Updated", 1_000, at_ms=1), event(2, "Updated", 30_000, at_ms=2))
    assert reached(known, OURS, None, 10**10) == "max_energy"
    assert reached(msgspec.structs.replace(known, **{unknown: None}), OURS, None, 10**10) == ""


def test_a_station_is_asked_after_an_hour_of_silence_within_a_minute() -> None:
    assert Transactions() == Transactions(silent_after_s=3600.0, check_interval_s=60.0)
