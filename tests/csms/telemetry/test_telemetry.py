"""Records are new, known, missing for good or contradictory, and what is none is told apart from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.telemetry.rules import (
    MAX_RANGES,
    Boot,
    BootProgress,
    Delivery,
    Numbers,
    Prepared,
    RecordKey,
    StoredContent,
    Unreadable,
    judge,
    prepare,
    read_delivery,
    suspects,
    timely,
)
from v2g.errors import CodecError
from v2g.telemetry.delivery import MAX_BATCH, DeliveryNotice, decode_marks, encode_delivery, encode_marks, encode_notice
from v2g.telemetry.signals import MAX_UTC_MS, Record, encode_record


def record(seq: int, soc: float = 50.0, **changes: Any) -> Record:
    fields = {"ev": "EV-1", "boot": 1, "seq": seq, "utc_ms": 1, "context": "parked", "keyframe": False}
    return Record(**(fields | {"signals": {"battery.soc": soc}} | changes))


def of_version(version: int, seq: int, what: int = 0) -> bytes:
    """A record of a schema version, which only the first is known of."""
    return b'{"schema":"v2g-telemetry/%d","ev":"EV-1","boot":1,"seq":%d,"what":%d}' % (version, seq, what)


NUMBER = st.integers(1, 40)
RANGE = st.tuples(NUMBER, NUMBER).map(sorted)


@given(st.lists(st.tuples(st.booleans(), RANGE), max_size=30), RANGE)
def test_ranges_of_numbers_are_a_set_of_them(steps: list[tuple[bool, list[int]]], asked: list[int]) -> None:
    ours, plain = Numbers(), set[int]()
    for adding, (first, last) in steps:
        if adding:
            ours.add(first, last)
            plain |= set(range(first, last + 1))
        elif first in plain:
            ours.remove(first)
            plain.discard(first)
    first, last = asked
    assert {n for n in range(1, 45) if n in ours} == plain
    assert len(ours) == len(plain)
    assert ours.highest == max(plain, default=0)
    assert ours.contiguous == next(n for n in range(50) if n + 1 not in plain)
    assert [n for a, b in ours.without(first, last) for n in range(a, b + 1)] == sorted(
        set(range(first, last + 1)) - plain
    )
    assert Numbers(ours.ranges).ranges == ours.ranges
    assert all(after[0] > before[1] + 1 for before, after in zip(ours.ranges, ours.ranges[1:], strict=False))


class Memory:
    """What a back end keeps, in memory."""

    def __init__(self) -> None:
        self.progress: dict[Boot, BootProgress] = {}
        self.stored: dict[RecordKey, StoredContent] = {}
        self.fresh: list[Prepared] = []
        self.quarantine: list[Unreadable] = []

    def take(self, *elements: bytes) -> Any:
        delivery = read_delivery(encode_delivery(elements))
        assert delivery.refused == ()
        for boot in delivery.boots:
            self.progress.setdefault(boot, BootProgress())
        kept = {key: self.stored[key] for key in suspects(delivery, self.progress) if key in self.stored}
        outcome = judge(delivery, self.progress, kept)
        self.stored |= kept
        self.fresh += outcome.fresh
        self.quarantine += outcome.quarantine
        return outcome


RECORDS = st.builds(record, st.integers(1, 8), st.sampled_from([1.0, 2.0]), boot=st.integers(1, 2)).map(encode_record)
UNKNOWN = st.builds(of_version, st.integers(2, 3), st.integers(1, 8), st.integers(0, 1))
NOTICES = st.builds(
    lambda first, more: encode_notice(DeliveryNotice("EV-1", 1, ((first, first + more),))),
    st.integers(1, 8),
    st.integers(0, 4),
)


@pytest.mark.requirement("R98", "R99", "R109")
@given(st.lists(st.lists(RECORDS | UNKNOWN | NOTICES, max_size=12), max_size=6))
def test_whatever_comes_each_key_is_kept_once_and_the_first_content_stands(deliveries: list[list[bytes]]) -> None:
    memory = Memory()
    for elements in deliveries:
        outcome = memory.take(*elements)
        records = sum(b'"missing"' not in each for each in elements)
        known = outcome.duplicates + len(outcome.conflicts)
        assert len(outcome.fresh) + len(outcome.quarantine) + known == records
    keys = [each.key for each in memory.fresh] + [each.key for each in memory.quarantine]
    assert len(set(keys)) == len(keys)
    for (ev, boot), progress in memory.progress.items():
        arrived = {seq for whose, of, seq in keys if (whose, of) == (ev, boot)}
        numbers = {n for n in range(1, 20) if n in progress.arrived}
        assert numbers == arrived | {n for n in range(1, 20) if n in progress.missing}
        assert not any(seq in progress.missing for seq in arrived)
    again = memory.take(*(each.sent for each in (*memory.fresh, *memory.quarantine)))
    assert (again.duplicates, again.fresh, again.quarantine, again.conflicts) == (len(keys), [], [], [])


@pytest.mark.requirement("R99")
def test_another_content_under_a_known_key_is_a_conflict() -> None:
    memory = Memory()
    memory.take(encode_record(record(1)), of_version(2, 2))
    again = memory.take(
        encode_record(record(1, soc=99.0)), of_version(2, 2, what=1), encode_record(record(2)), of_version(2, 1)
    )
    assert again.conflicts == [("EV-1", 1, 1), ("EV-1", 1, 2), ("EV-1", 1, 2), ("EV-1", 1, 1)]
    assert (again.fresh, again.quarantine) == ([], [])


@pytest.mark.requirement("R160")
def test_what_is_not_understood_counts_as_arrived_so_that_the_rest_is_not_held_up() -> None:
    memory = Memory()
    outcome = memory.take(
        encode_record(record(1)),
        of_version(9, 2),
        encode_record(record(3, signals={"engine.torque": 1})),
        encode_record(record(4, soc=1e9)),
        encode_record(record(5)),
        encode_record(record(6, utc_ms=MAX_UTC_MS + 1)),
    )
    assert [each.key[2] for each in outcome.quarantine] == [2, 3, 4, 6]
    assert "0x2B9 UNSUPPORTED_SCHEMA_VERSION" in outcome.quarantine[0].reason
    assert "unknown signal" in outcome.quarantine[1].reason
    assert "outside" in outcome.quarantine[2].reason
    assert outcome.marks[0].contiguous == 6


@pytest.mark.requirement("R98", "R103")
def test_a_gap_stops_the_mark_until_it_is_filled_or_given_up() -> None:
    memory = Memory()
    assert memory.take(*(encode_record(record(n)) for n in (1, 2, 5, 9))).marks[0].contiguous == 2
    assert memory.take(encode_record(record(3)), encode_record(record(4))).marks[0].contiguous == 5
    given_up = memory.take(encode_notice(DeliveryNotice("EV-1", 1, ((4, 8),))))
    assert given_up.missing == [("EV-1", 1, 6, 8)]  # what has arrived is not missing
    assert (given_up.marks[0].contiguous, given_up.marks[0].highest) == (9, 9)
    late = memory.take(encode_record(record(7)))  # it was on its way
    assert [each.key[2] for each in late.fresh] == [7]
    assert memory.progress["EV-1", 1].missing.ranges == ((6, 6), (8, 8))
    assert memory.take(encode_notice(DeliveryNotice("EV-1", 1))).marks == late.marks  # a question changes nothing


def test_what_was_deleted_for_its_age_is_known_all_the_same() -> None:
    memory = Memory()
    memory.take(encode_record(record(1)))
    memory.stored.clear()
    again = memory.take(encode_record(record(1)))
    assert (again.fresh, again.duplicates) == ([], 1)


def test_too_many_gaps_are_not_remembered_and_what_lies_beyond_waits() -> None:
    memory = Memory()
    outcome = memory.take(*(encode_record(record(2 * n)) for n in range(1, MAX_RANGES + 11)))
    assert len(outcome.deferred) == 10
    filled = memory.take(*(encode_record(record(n)) for n in (1, 3, 5)))
    assert filled.marks[0].contiguous == 6
    assert memory.take(*(encode_record(record(seq)) for _, _, seq in outcome.deferred[:2])).deferred == []
    beyond = memory.take(encode_notice(DeliveryNotice("EV-1", 1, ((9000, 9000), (7, 7)))))
    assert beyond.missing == [("EV-1", 1, 7, 7)]
    assert decode_marks(encode_marks([beyond.marks[0].mark])) == (beyond.marks[0].mark,)
    hostile = Memory()
    hostile.take(encode_notice(DeliveryNotice("EV-1", 1, ((1, 2**53 - 1),))))
    taken = hostile.take(*(encode_record(record(3 * n)) for n in range(1, MAX_RANGES + 11)))
    assert len(hostile.progress["EV-1", 1].missing.ranges) == MAX_RANGES
    assert len(taken.deferred) == 11


@given(st.binary(max_size=200))
def test_any_bytes_are_a_delivery_or_the_one_error(body: bytes) -> None:
    try:
        found = read_delivery(body)
    except CodecError:
        return
    assert len(found.elements) + len(found.refused) <= MAX_BATCH


def test_records_beside_bad_ones_are_read() -> None:
    good = encode_record(record(1))
    huge = encode_record(record(2)).replace(b'"seq":2', b'"seq":18446744073709551615')
    backwards = b'{"ev":"EV-1","boot":1,"missing":[[5,2]]}'
    wild = encode_record(record(3, ev="EV-1/+"))
    found = read_delivery(b"[" + b",".join([b"{}", good, b"null", huge, backwards, wild]) + b"]")
    assert found == Delivery((prepare(record(1)),), found.refused)
    assert [index for index, _ in found.refused] == [0, 2, 3, 4, 5]


@pytest.mark.requirement("R143")
@pytest.mark.parametrize("ev", ["WVWZZZ1JZXW000001", "wvwzzz1jzxw000001", "ev-WVWZZZ1JZXW000001"])
def test_a_vehicle_that_is_named_by_its_vin_is_refused(ev: str) -> None:
    """Gateways of others may know nothing of pseudonyms."""
    notice = encode_notice(DeliveryNotice(ev, 1))
    found = read_delivery(encode_delivery([encode_record(record(1, ev=ev)), encode_record(record(1)), notice]))
    assert [index for index, reason in found.refused if "VIN" in reason and ev not in reason] == [0, 2]
    assert [each.key[0] for each in found.elements] == ["EV-1"]


def test_more_than_a_delivery_is_refused() -> None:
    with pytest.raises(CodecError, match="at once"):
        read_delivery(b"[" + b",".join([b"1"] * (MAX_BATCH + 1)) + b"]")


@pytest.mark.parametrize(
    ("ahead_ms", "taken"),
    [(0, True), (86_400_000, True), (86_400_001, False), (-3653 * 86_400_000, True), (-3653 * 86_400_000 - 1, False)],
)
def test_a_record_of_a_time_that_cannot_be_goes_into_quarantine(ahead_ms: int, *, taken: bool) -> None:
    """By when it was received: a clock of 1970 or of 2262 would be the latest state, and silence for centuries."""
    received_ms = 1_900_000_000_000
    sent = encode_record(record(1, utc_ms=received_ms + ahead_ms))
    (element,) = timely(read_delivery(b"[" + sent + b"]"), received_ms).elements
    assert isinstance(element, Prepared) == taken
    assert isinstance(element, Unreadable) != taken
    if isinstance(element, Unreadable):
        assert element.sent == sent
        assert "its receipt" in element.reason
