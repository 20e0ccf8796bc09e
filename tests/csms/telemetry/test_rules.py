"""Deliveries of telemetry, element by element: whose they are, what is new, lost or too early, and what is answered."""

import hashlib
from typing import Any

import msgspec
import pytest

from csms.telemetry.rules import (
    MAX_RANGES,
    UNCLASSIFIED,
    Boot,
    BootProgress,
    Delivery,
    DeliveryOutcome,
    HighWater,
    Numbers,
    Prepared,
    RecordKey,
    StoredContent,
    StoredRecord,
    Unreadable,
    admit,
    boot_of,
    class_of,
    digest_of,
    high_water,
    judge,
    key_of,
    line_of,
    mistimed,
    owner,
    prepare,
    read_delivery,
    set_aside,
    suspects,
    timely,
)
from tests.together import together
from v2g.errors import CodecError
from v2g.telemetry.delivery import DeliveryNotice, Mark, encode_notice
from v2g.telemetry.signals import Key, Record, encode_record

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


def record(seq: int = 1, ev: str = "EV-1", boot: int = 1, soc: float = 50.0, utc_ms: int = 1) -> Record:
    return Record(ev, boot, seq, utc_ms, "parked", keyframe=False, signals={"battery.soc": soc})


def ready(seq: int = 1, **more: Any) -> Prepared:
    return prepare(record(seq, **more))


def unread(seq: int = 1, ev: str = "EV-1", boot: int = 1, sent: bytes = b"{}") -> Unreadable:
    return Unreadable(Key(ev, boot, seq), sent, digest_of(sent), "odd")


def of(*elements: Prepared | Unreadable | DeliveryNotice, **ids: str) -> Delivery:
    """Return a delivery whose boots (`EV_1` of EV) have these ids."""
    boots = {(name.split("_")[0].replace("EV", "EV-1"), int(name.split("_")[1])): each for name, each in ids.items()}
    return Delivery(elements, (), boots)


# -- elements


def test_a_record_is_kept_as_it_was_sent_and_compared_as_it_is() -> None:
    sent = b" " + encode_record(record())
    found = prepare(record(), sent)
    assert found == Prepared(record(), encode_record(record()), hashlib.sha256(encode_record(record())).digest(), sent)
    assert prepare(record()).sent == encode_record(record())
    assert (found.key, boot_of(found), key_of(found)) == (("EV-1", 1, 1), ("EV-1", 1), ("EV-1", 1, 1))
    aside = set_aside(found, "why")
    assert aside == Unreadable(Key("EV-1", 1, 1), sent, hashlib.sha256(sent).digest(), "why")
    assert (aside.key, boot_of(aside), key_of(aside)) == (("EV-1", 1, 1), ("EV-1", 1), ("EV-1", 1, 1))
    notice = DeliveryNotice("EV-1", 3)
    assert (boot_of(notice), key_of(notice)) == (("EV-1", 3), ("EV-1", 3, 0))


@together(
    ("ahead_ms", "reason"),
    [
        (0, ""),
        (86_400_000, ""),
        (86_400_001, "utc_ms is 86400 s after its receipt"),
        (90_000_999, "utc_ms is 90000 s after its receipt"),
        (-315_619_200_000, ""),
        (-315_619_200_001, "utc_ms is 315619200 s before its receipt"),
    ],
)
def test_a_record_is_of_the_day_after_at_most_and_ten_years_before(ahead_ms: int, reason: str) -> None:
    now_ms = 1_900_000_000_000
    late, good = ready(1, utc_ms=now_ms + ahead_ms), ready(2, utc_ms=now_ms)
    assert mistimed(late, now_ms) == reason
    delivery = Delivery((late, unread(3), good), ((3, "x"),), {("EV-1", 1): ID})
    taken = late if not reason else set_aside(late, reason)
    assert timely(delivery, now_ms) == Delivery((taken, unread(3), good), ((3, "x"),), {("EV-1", 1): ID})


def test_a_delivery_knows_its_boots_and_where_each_element_was() -> None:
    first, second = ready(1), ready(2, ev="EV-2", boot=3)
    delivery = Delivery((first, second, first, DeliveryNotice("EV-3", 1)), ((0, "x"), (2, "y")))
    assert delivery.boots == {("EV-1", 1), ("EV-2", 3), ("EV-3", 1)}
    assert delivery.places == {("EV-1", 1, 1): 1, ("EV-2", 3, 2): 3, ("EV-3", 1, 0): 5}
    assert Delivery(()).places == {}
    assert Delivery(()).boot_ids == {}


@together(
    ("elements", "asks"),
    [
        ((), True),
        ((DeliveryNotice("EV-1", 1),), True),
        ((DeliveryNotice("EV-1", 1), ready()), False),
        ((DeliveryNotice("EV-1", 1, ((1, 1),)), ready()), True),
        ((DeliveryNotice("EV-1", 1), DeliveryNotice("EV-1", 2, ((1, 1),)), ready()), True),
        ((ready(),), False),
    ],
)
def test_a_gateway_that_lists_what_is_lost_or_sends_nothing_else_asks(elements: tuple[Any, ...], asks: bool) -> None:
    assert Delivery(elements).asks is asks


def test_a_boot_of_a_delivery_has_one_id() -> None:
    notices = [encode_notice(DeliveryNotice("EV-1", 1, boot_id=each)) for each in (ID, ID, OTHER)]
    notices.append(encode_notice(DeliveryNotice("EV-1", 2, boot_id=OTHER)))
    notices.append(encode_notice(DeliveryNotice("EV-1", 1)))
    found = read_delivery(b"[" + b",".join(notices) + b"]")
    assert found.boot_ids == {("EV-1", 1): ID, ("EV-1", 2): OTHER}
    assert (len(found.elements), found.refused) == (4, ((2, "notice: two ids of one boot in a delivery"),))


def test_what_cannot_be_read_says_why_within_bounds() -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":1}', b"["):
        with pytest.raises(CodecError) as refused:
            read_delivery(body)
        assert str(refused.value).startswith("telemetry delivery: ")
        assert refused.value.hint == "send a JSON array of records"
    with pytest.raises(CodecError) as refused:
        read_delivery(b"[" + b",".join([b"1"] * 1001) + b"]")
    assert (str(refused.value), refused.value.hint) == ("1001 records at once", "send at most 1000 per delivery")
    assert len(read_delivery(b"[" + b",".join([b"1"] * 1000) + b"]").refused) == 1000
    odd = encode_record(record()).replace(b"battery.soc", b"x" * 300)
    (element,) = read_delivery(b"[" + odd + b"]").elements
    assert isinstance(element, Unreadable)
    assert (element.sent, element.digest, len(element.reason)) == (odd, hashlib.sha256(odd).digest(), 200)
    control = encode_record(record()).replace(b"battery.soc", b"\\u0000\\u001b")
    (element,) = read_delivery(b"[" + control + b"]").elements
    assert isinstance(element, Unreadable)
    assert element.reason.isprintable()


def test_what_is_neither_is_named_as_what_it_resembles() -> None:
    wrong = b'{"ev":"EV-1","boot":1,"missing":[[5,2]]}'
    found = read_delivery(b"[" + wrong + b',{"ev":"EV-1"}]')
    assert [index for index, _ in found.refused] == [0, 1]
    assert found.refused[0][1].startswith("notice")
    assert not found.refused[1][1].startswith("notice")


# -- numbers


def numbers(*ranges: tuple[int, int]) -> Numbers:
    return Numbers(ranges)


@together(
    ("ranges", "contiguous", "highest", "count"),
    [
        ((), 0, 0, 0),
        (((1, 1),), 1, 1, 1),
        (((1, 4), (6, 9)), 4, 9, 8),
        (((2, 4),), 0, 4, 3),
    ],
)
def test_numbers_are_counted(ranges: tuple[tuple[int, int], ...], contiguous: int, highest: int, count: int) -> None:
    found = Numbers(ranges)
    assert (found.contiguous, found.highest, len(found), found.ranges) == (contiguous, highest, count, ranges)


def test_a_number_is_in_its_range() -> None:
    found = numbers((2, 4), (7, 7))
    assert [number for number in range(10) if number in found] == [2, 3, 4, 7]


@together(
    ("first", "last", "ranges"),
    [
        (1, 1, ((1, 1), (3, 4), (8, 9))),
        (2, 2, ((2, 4), (8, 9))),
        (5, 5, ((3, 5), (8, 9))),
        (6, 6, ((3, 4), (6, 6), (8, 9))),
        (5, 7, ((3, 9),)),
        (4, 8, ((3, 9),)),
        (1, 20, ((1, 20),)),
        (3, 3, ((3, 4), (8, 9))),
        (10, 12, ((3, 4), (8, 12))),
        (11, 12, ((3, 4), (8, 9), (11, 12))),
    ],
)
def test_a_range_joins_those_beside_it(first: int, last: int, ranges: tuple[tuple[int, int], ...]) -> None:
    found = numbers((3, 4), (8, 9))
    found.add(first, last)
    assert found.ranges == ranges


@together(
    ("number", "ranges"),
    [
        (3, ((4, 6), (8, 8))),
        (4, ((3, 3), (5, 6), (8, 8))),
        (6, ((3, 5), (8, 8))),
        (8, ((3, 6),)),
    ],
)
def test_a_number_is_taken_out_of_its_range(number: int, ranges: tuple[tuple[int, int], ...]) -> None:
    found = numbers((3, 6), (8, 8))
    found.remove(number)
    assert found.ranges == ranges


@together(
    ("first", "last", "missing"),
    [
        (1, 12, [(1, 2), (5, 7), (10, 12)]),
        (3, 4, []),
        (4, 8, [(5, 7)]),
        (5, 5, [(5, 5)]),
        (1, 2, [(1, 2)]),
        (1, 3, [(1, 2)]),
        (9, 9, []),
        (9, 10, [(10, 10)]),
        (10, 11, [(10, 11)]),
    ],
)
def test_what_is_missing_lies_between_the_ranges(first: int, last: int, missing: list[tuple[int, int]]) -> None:
    assert numbers((3, 4), (8, 9)).without(first, last) == missing


def test_no_more_ranges_are_kept_than_may_be() -> None:
    assert MAX_RANGES == 256
    few = Numbers((2 * n, 2 * n) for n in range(1, 256))
    full = Numbers((3 * n, 3 * n + 1) for n in range(1, 257))
    assert not few.is_full_for(9000, 9000)
    assert full.is_full_for(9000, 9000)
    assert not full.is_full_for(5, 5)
    assert not full.is_full_for(2, 2)
    assert not full.is_full_for(770, 770)
    assert full.is_full_for(771, 771)
    assert full.is_full_for(1, 1)
    wide = Numbers((10 * n, 10 * n + 5) for n in range(1, 257))
    assert all(wide.is_full_without(number) for number in (11, 12, 14))
    assert not wide.is_full_without(10)
    assert not wide.is_full_without(15)
    assert not Numbers([(1, 9)]).is_full_without(5)
    wide.forget_lowest()
    assert (wide.ranges[0], len(wide.ranges)) == ((20, 25), 255)


# -- progress of a boot


def test_a_boot_begins_with_nothing() -> None:
    empty = BootProgress()
    assert (empty.arrived.ranges, empty.missing.ranges, empty.boot_id, empty.changed) == ((), (), "", False)
    assert (empty.stored, empty.duplicates, empty.conflicts, empty.quarantined, empty.lost) == (0, 0, 0, 0, 0)
    known = BootProgress(
        numbers((1, 9)), numbers((2, 4)), stored=5, duplicates=1, conflicts=2, quarantined=3, boot_id=ID
    )
    assert (known.stored, known.duplicates, known.conflicts, known.quarantined, known.lost) == (5, 1, 2, 3, 3)
    assert (BootProgress(missing=numbers((2, 4)), lost=9).lost, known.boot_id) == (9, ID)
    assert [seq for seq in range(1, 11) if known.has(seq)] == [1, 5, 6, 7, 8, 9]


def test_a_late_record_was_not_lost() -> None:
    here = BootProgress(numbers((1, 9)), numbers((2, 4)))
    assert here.take(3)
    assert (here.missing.ranges, here.lost, here.changed) == (((2, 2), (4, 4)), 2, True)
    assert here.take(10)
    assert (here.arrived.ranges, here.lost) == (((1, 10),), 2)


def test_a_number_that_would_be_one_range_too_many_waits() -> None:
    here = BootProgress(Numbers((3 * n, 3 * n) for n in range(1, 257)))
    assert here.take(9000) is False
    assert (here.changed, len(here.arrived)) == (False, 256)
    assert here.take(4)
    many = Numbers((10 * n, 10 * n + 5) for n in range(1, 257))
    lost = BootProgress(numbers((1, 9000)), many)
    assert lost.take(12) is False
    assert (lost.changed, lost.lost) == (False, 6 * 256)
    assert lost.take(10)


def test_numbers_are_given_up_once_and_the_oldest_are_forgotten_first() -> None:
    here = BootProgress(numbers((3, 4), (8, 9)))
    assert here.give_up(1, 8) == [(1, 2), (5, 7)]
    assert (here.arrived.ranges, here.missing.ranges, here.lost, here.changed) == (((1, 9),), ((1, 2), (5, 7)), 5, True)
    here.changed = False
    assert (here.give_up(1, 9), here.changed, here.lost) == ([], False, 5)
    full = BootProgress(Numbers((3 * n, 3 * n) for n in range(1, 257)))
    assert (full.give_up(9000, 9001), full.changed) == ([], False)
    assert full.give_up(4, 5) == [(4, 5)]
    lost = BootProgress(numbers((1, 9000)), Numbers((10 * n, 10 * n + 5) for n in range(1, 257)))
    assert lost.give_up(9001, 9002) == [(9001, 9002)]
    assert (lost.missing.ranges[0], lost.missing.ranges[-1]) == ((20, 25), (9001, 9002))
    assert (len(lost.missing.ranges), lost.lost) == (256, 6 * 256 + 2)


# -- judging


def test_only_what_may_be_known_is_looked_up() -> None:
    progress = {("EV-1", 1): BootProgress(numbers((1, 2))), ("EV-1", 2): BootProgress()}
    delivery = of(ready(1), unread(2), ready(3), ready(1, boot=2), DeliveryNotice("EV-1", 1))
    assert suspects(delivery, progress) == [("EV-1", 1, 1), ("EV-1", 1, 2)]


def test_each_element_is_judged_by_what_is_stored() -> None:
    progress: dict[Boot, BootProgress] = {("EV-1", 1): BootProgress(numbers((1, 6)))}
    quarantined = unread(3)
    stored: dict[RecordKey, StoredContent] = {
        ("EV-1", 1, 1): StoredContent(ready(1).digest, quarantined=False),
        ("EV-1", 1, 2): StoredContent(b"other", quarantined=False),
        ("EV-1", 1, 3): StoredContent(quarantined.digest, quarantined=True),
        ("EV-1", 1, 5): StoredContent(unread(5).digest, quarantined=False),
        ("EV-1", 1, 6): StoredContent(digest_of(ready(6).sent), quarantined=True),
    }
    outcome = judge(
        of(ready(1), ready(2), quarantined, ready(4), unread(5), ready(6), ready(7), ready(7), unread(8),
           DeliveryNotice("EV-1", 1, ((8, 10),)), ready(300)), progress, stored
    )  # fmt: skip
    assert outcome.duplicates == 5  # 1, 3, 4 (deleted for its age), 6, and 7 again
    assert [each.key[2] for each in outcome.repeated] == [1, 7]
    assert [key[2] for key in outcome.conflicts] == [2, 5]
    assert [each.key[2] for each in outcome.fresh] == [7, 300]
    assert [each.key[2] for each in outcome.quarantine] == [8]
    assert outcome.missing == [("EV-1", 1, 9, 10)]
    assert outcome.marks == (HighWater("EV-1", 1, 300, 10, ((300, 300),)),)
    assert (outcome.deferred, outcome.strangers) == ([], [])
    here = progress["EV-1", 1]
    assert (here.duplicates, here.conflicts, here.stored, here.quarantined, here.changed) == (5, 2, 2, 1, True)
    assert stored["EV-1", 1, 7] == StoredContent(ready(7).digest, quarantined=False)
    assert stored["EV-1", 1, 8] == StoredContent(unread(8).digest, quarantined=True)


def test_a_known_record_is_counted_in_whatever_way_it_is_written() -> None:
    here = BootProgress(numbers((1, 1)))
    again = prepare(record(), b" " + encode_record(record()))
    outcome = judge(of(again), {("EV-1", 1): here}, {("EV-1", 1, 1): StoredContent(ready().digest, quarantined=False)})
    assert (outcome.duplicates, outcome.conflicts, outcome.repeated) == (1, [], [again])
    assert (here.duplicates, here.changed) == (1, True)


def test_a_record_beyond_too_many_gaps_is_deferred() -> None:
    here = BootProgress(Numbers((3 * n, 3 * n) for n in range(1, 257)))
    outcome = judge(of(ready(9000), unread(9010)), {("EV-1", 1): here}, {})
    assert (outcome.deferred, outcome.fresh, outcome.quarantine) == ([("EV-1", 1, 9000), ("EV-1", 1, 9010)], [], [])
    assert (here.stored, here.quarantined) == (0, 0)


def test_a_boot_of_another_start_stores_nothing_and_is_told_a_free_number() -> None:
    progress = {("EV-1", 1): BootProgress(boot_id=ID), ("EV-1", 2): BootProgress(), ("EV-2", 1): BootProgress()}
    elements = ready(1), ready(2), ready(1, boot=2), ready(1, ev="EV-2")
    outcome = judge(of(*elements, EV_1=OTHER, EV_2=""), progress, {}, {"EV-1": 7})
    assert outcome.strangers == [(("EV-1", 1), 2)]
    assert [each.key for each in outcome.fresh] == [("EV-1", 2, 1), ("EV-2", 1, 1)]
    assert outcome.marks == (
        HighWater("EV-1", 1, 0, 0, (), OTHER, 8), HighWater("EV-1", 2, 1, 1), HighWater("EV-2", 1, 1, 1)
    )  # fmt: skip
    assert outcome.marks[0].mark == Mark(1, 0, 0, (), OTHER, 8)
    without = judge(of(ready(1)), {("EV-1", 1): BootProgress(boot_id=ID)}, {})
    assert without.marks == (HighWater("EV-1", 1, 0, 0, (), "", 2),)
    assert judge(of(ready(1), EV_1=ID), {("EV-1", 1): BootProgress(boot_id=ID)}, {}).strangers == []


@together(
    ("ids", "known", "highest", "begun"),
    [
        ({"EV_3": ID}, {}, {}, [3]),
        ({"EV_1": ID}, {}, {}, [1]),
        ({"EV_3": ID}, {}, {"EV-1": 2}, [3]),
        ({"EV_3": ID}, {}, {"EV-1": 3}, []),
        ({"EV_4": ID, "EV_3": OTHER}, {}, {"EV-1": 2}, [3, 4]),
        ({"EV_4": ID, "EV_3": OTHER}, {}, {"EV-1": 3}, []),
        ({"EV_4": ID, "EV_3": OTHER}, {3: OTHER}, {"EV-1": 3}, [4]),
        ({"EV_4": ID, "EV_3": OTHER}, {3: ID}, {"EV-1": 3}, []),
        ({"EV_3": ID}, {3: ID}, {}, []),
        ({}, {}, {}, []),
    ],
)
def test_a_new_boot_follows_all_of_its_vehicle(
    ids: dict[str, str], known: dict[int, str], highest: dict[str, int], begun: list[int]
) -> None:
    progress = {("EV-1", boot): BootProgress(boot_id=each) for boot, each in known.items()}
    after = dict(highest)
    assert admit(of(**ids), progress, after) == [("EV-1", boot) for boot in begun]
    assert {boot: each.boot_id for (_, boot), each in progress.items()} == known | {
        boot: ids[f"EV_{boot}"] for boot in begun
    }
    assert after == (highest | {"EV-1": begun[-1]} if begun else highest)


def test_boots_of_one_vehicle_do_not_keep_those_of_another_out() -> None:
    delivery = Delivery((), (), {("EV-2", 5): ID, ("EV-1", 1): OTHER})
    progress: dict[Boot, BootProgress] = {}
    highest = {"EV-1": 4}
    assert admit(delivery, progress, highest) == [("EV-2", 5)]
    assert highest == {"EV-1": 4, "EV-2": 5}


def test_outcomes_of_parts_are_one() -> None:
    parts = []
    for seq, boot in ((1, 2), (2, 1), (3, 2)):
        key = "EV-1", boot, seq
        parts.append(DeliveryOutcome(
            [ready(seq)], [unread(seq)], seq, [key], [(*key, seq)], [key], [(key, "x")], [ready(seq)],
            [(("EV-1", boot), seq)], (HighWater("EV-1", boot, seq, 0),),
        ))  # fmt: skip
    whole = DeliveryOutcome()
    for each in parts:
        whole.add(each)
    assert whole.duplicates == 6
    for name in ("fresh", "quarantine", "conflicts", "missing", "deferred", "refused", "repeated", "strangers"):
        assert getattr(whole, name) == [item for each in parts for item in getattr(each, name)]
    assert whole.marks == (HighWater("EV-1", 1, 2, 0), HighWater("EV-1", 2, 3, 0))


@together(
    ("ranges", "contiguous", "highest", "beyond"),
    [
        ((), 0, 0, ()),
        (((1, 3),), 3, 3, ()),
        (((1, 3), (5, 6)), 3, 6, ((5, 6),)),
        (((2, 3), (5, 6)), 0, 6, ((2, 3), (5, 6))),
    ],
)
def test_an_acknowledgement_says_what_has_arrived_beyond_the_first_gap(
    ranges: tuple[tuple[int, int], ...], contiguous: int, highest: int, beyond: tuple[tuple[int, int], ...]
) -> None:
    found = high_water("EV-1", 1, BootProgress(Numbers(ranges), boot_id=ID))
    assert found == HighWater("EV-1", 1, highest, contiguous, beyond, ID)
    assert found.mark == Mark(1, contiguous, highest, beyond, ID, 0)


# -- where stored records go


def test_a_vehicle_is_of_the_first_class_that_it_fits() -> None:
    classes = {"vans": ("V-*", "T-1"), "trucks": ("T-*",), "all": ()}
    assert [class_of(each, classes) for each in ("V-9", "T-1", "T-2", "X", "t-2")] == [
        "vans", "vans", "trucks", UNCLASSIFIED, UNCLASSIFIED,
    ]  # fmt: skip
    assert UNCLASSIFIED == "vehicle"


@together(
    ("boot", "seq", "ns"),
    [(0, 1, "000001"), (3, 42, "003042"), (699, 999, "699999"), (700, 1000, "000000"), (1403, 2005, "003005")],
)
def test_a_record_is_a_line_of_its_vehicles_series(boot: int, seq: int, ns: str) -> None:
    """Of InfluxDB's line protocol; records of one millisecond have times of their own."""
    found = StoredRecord("EV 1,a=\\b", boot, seq, 1_700_000_000_000, "parked", {"b x": 2, "a": 0.5}, b"{}")
    assert found.key == ("EV 1,a=\\b", boot, seq)
    assert line_of(found) == (
        f'telemetry,ev=EV\\ 1\\,a\\=\\\\b a=0.5,b\\ x=2.0,context="parked",boot={boot}i,seq={seq}i 1700000000000{ns}'
    )
    assert line_of(msgspec.structs.replace(found, values={})) is None
    assert not found.late


def test_vehicles_are_shared_among_workers_and_stay_where_they_are() -> None:
    """Those of a worker that leaves go to the others; nobody else's move."""
    names = [f"EV-{n}" for n in range(300)]
    three, two = {each: owner(each, "abc") for each in names}, {each: owner(each, "ab") for each in names}
    assert {each for each in names if three[each] != two[each]} == {each for each in names if three[each] == "c"}
    assert all(70 < list(three.values()).count(worker) < 130 for worker in "abc")
    assert "".join(owner(f"EV-{n}", "abc") for n in range(12)) == "acccbabccbac"  # nodes of two releases agree
    assert owner("EV-1", ["only"]) == "only"
    long = ["x" * 64 + "a", "x" * 64 + "b"]  # of a name 64 octets count
    assert owner("EV-1", long) == long[0]
