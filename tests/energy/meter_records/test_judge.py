"""Verdicts: whose record it is, and whether the records of a transaction belong together."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.meter_records.signed_records import KEY, OCMF, PAYLOAD, READING, der_of, judged, record, sign
from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.judge import (
    FORMATS,
    MEANINGS,
    Expected,
    RecordJudgement,
    Verdict,
    carries,
    judge,
    judge_all,
    out_of_place,
    read_record,
)
from v2g.energy.meter_records.keys import MeterKey, key_of, read_key
from v2g.energy.meter_records.record import Direction, Format, Mark, Reading, Record
from v2g.energy.settlement import ocmf
from v2g.pki.keys import SoftwareKey

KNOWN = Expected(keys=(key_of(KEY.public_key()),))
OTHER = ec.derive_private_key(77, ec.SECP256R1()).public_key()
OF_384, OF_521 = (key_of(ec.derive_private_key(77, each).public_key()) for each in (ec.SECP384R1(), ec.SECP521R1()))
UNUSABLE = MeterKey("", b"\x04" + bytes(64))


def page(number: int, mark: str, wh: int, **fields: Any) -> bytes:
    """A record with one reading."""
    reading = {**READING, "TX": mark, "RV": wh, "RU": "Wh", "TM": f"2026-11-26T08:{number:02d}:00,000+0000 S"}
    return record(reading, PG=f"T{number}", **fields)


def together(*records: bytes, names: Sequence[str] = ()) -> list[RecordJudgement]:
    given_names = [*names, *[""] * len(records)]
    found = [
        FoundRecord(place=f"record {at}", data=data, name=given_names[at - 1]) for at, data in enumerate(records, 1)
    ]
    return judge_all(found, KNOWN)


def verdicts(*records: bytes, names: Sequence[str] = ()) -> list[str]:
    return [each.verdict for each in together(*records, names=names)]


@pytest.mark.requirement("R196")
def test_begin_and_end_in_two_records_are_one_transaction() -> None:
    begin, between, end = together(page(4, "B", 100), page(5, "C", 150), page(6, "E", 400))
    assert [each.verdict for each in (begin, between, end)] == ["verified"] * 3
    assert [each.wh for each in end.energies] == [Decimal(300)]
    assert begin.energies == between.energies == ()


def test_an_end_by_another_key_ends_nothing_unless_both_are_known() -> None:
    """Whoever appends an end may append a key, too; it has the serial number that the end says."""
    forger = ec.derive_private_key(0x1234, ec.SECP256R1())
    payload = {**PAYLOAD, "PG": "T5", "RD": [{**READING, "TX": "E", "RV": 999}]}
    forged = sign(json.dumps(payload).encode(), key=forger)
    parts = [(page(4, "B", 100), KEY), (forged, forger)]
    found = [
        FoundRecord(place=f"record {at}", data=data, key=der_of(key.public_key()).hex())
        for at, (data, key) in enumerate(parts, 1)
    ]
    begin, end = judge_all(found, Expected())
    assert (begin.verdict, end.verdict, end.energies) == ("verified", "other_meter", ())
    assert end.reason == "signed by another key than record 1"
    both = Expected(keys=tuple(key_of(key.public_key()) for _, key in parts))
    assert [each.verdict for each in judge_all(found, both)] == ["verified", "verified"]


@pytest.mark.requirement("R196")
def test_a_record_that_stands_again_counts_once() -> None:
    """Stations send a message again, and the begin beside the end; CDRs of OCPI have a record as plain and signed."""
    begin, end = page(4, "B", 100), page(5, "E", 400)
    for records in ([begin, begin, end], [begin, begin, end, end], [begin, end, begin, end]):
        found = together(*records)
        assert [each.verdict for each in found] == ["verified"] * len(records)
        assert [energy.wh for each in found for energy in each.energies] == [Decimal(300)]
    assert [each.remarks for each in together(begin, begin, end)] == [(), ("the same as record 1",), ()]
    again = page(4, "B", 100)  # signed again
    assert again != begin
    assert verdicts(begin, again, end) == ["verified"] * 3
    whole = together(record(), record(PG="T2"), record())
    assert [len(each.energies) for each in whole] == [1, 1, 0]
    assert [(each.verdict, each.reason) for each in together(begin, begin)] == [
        ("incomplete", "no record ends its transaction")
    ] * 2
    two = [page(4, "B", 100), page(4, "B", 101), end]
    assert verdicts(*two) == ["incomplete", "verified", "verified"]


def test_an_end_before_its_begin_is_no_energy() -> None:
    found = judged(record({**READING, "TX": "E", "RV": 4}, dict(READING)))
    assert (found.energies, found.remarks) == (
        (), ("no energy: no register has one begin and, after it, one end, in a unit of energy",)
    )  # fmt: skip


def test_each_verdict_has_a_meaning_and_each_format_a_reader() -> None:
    assert set(MEANINGS) == set(get_args(Verdict))
    assert {each.name for each in FORMATS} == set(get_args(Format))


BEGIN, END = page(4, "B", 100), page(5, "E", 400)
UNNAMED = {"MS": None, "GS": None}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([BEGIN], ["verified"]),  # by itself it promises no end
        ([END, BEGIN], ["reordered: it stands before record 2, which begins its transaction",
                        "incomplete: no record ends its transaction"]),
        ([END, page(4, "C", 50)], ["incomplete: no record begins its transaction", "verified"]),
        ([END, page(7, "B", 500)], ["incomplete: no record begins its transaction",
                                    "incomplete: no record ends its transaction"]),
        ([page(5, "E", 400, **UNNAMED), BEGIN], ["incomplete: no record begins its transaction",
                                                 "incomplete: no record ends its transaction"]),
        ([END, BEGIN.replace(b"100", b"101")], ["incomplete: no record begins its transaction",
                                                "invalid: the signature does not match"]),
        ([BEGIN, page(3, "E", 400)], ["verified", "reordered: page T3 after page T4: it follows record 1"]),
        ([BEGIN, page(4, "E", 400)], ["verified", "reordered: page T4 after page T4: it follows record 1"]),
        ([BEGIN, page(6, "C", 200), END], ["verified", "incomplete: no page T5 before T6: it follows record 1",
                                           "verified"]),
        ([BEGIN, page(7, "E", 400)], ["verified", "incomplete: no page T5 before T7: it follows record 1"]),
        ([BEGIN, page(5, "C", 200), page(5, "C", 201), page(6, "E", 400)],
         ["verified", "verified", "reordered: page T5 after page T5: it follows record 2", "verified"]),
        ([BEGIN, page(5, "E", 400, MS="OTHER")],
         ["incomplete: no record ends its transaction",
          "other_meter: it ends a transaction of OTHER, GATEWAY, that begun is of METER, GATEWAY"]),
        ([page(4, "B", 100, **UNNAMED), page(5, "B", 100, MS="\n"), page(5, "E", 400, MS="OTHER", GS=None)],
         [*["incomplete: no record ends its transaction"] * 2,
          "other_meter: it ends a transaction of OTHER, that begun is of unnamed and GATEWAY"]),
        ([BEGIN, page(5, "E", 400, ID="04BB")],
         ["verified", "other_transaction: its user is 04BB, not 04AA: it follows record 1"]),
        ([BEGIN, page(5, "C", 200, ID="04BB"), END],
         ["verified", "other_transaction: its user is 04BB, not 04AA: it follows record 1", "verified"]),
        ([BEGIN, page(5, "B", 200), page(6, "E", 400)],
         ["incomplete: no record ends its transaction", "verified", "verified"]),
        ([record(), END], ["verified", "incomplete: no record begins its transaction"]),
        ([BEGIN, record(PG="T9"), END], ["verified"] * 3),  # a whole one between them stands for itself
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_named(records: Sequence[bytes], expected: Sequence[str]) -> None:
    found = together(*records)
    assert [each.verdict + (f": {each.reason}" if each.reason else "") for each in found] == expected
    assert verdicts(BEGIN, END, names=["7", "8"]) == ["verified", "verified"]  # files number their records, too


def reading(*utc_ms: int) -> tuple[Reading, ...]:
    return tuple(Reading(register="1-0:1.8.0", wh=Decimal(1), utc_ms=each) for each in utc_ms)


@pytest.mark.parametrize(
    ("one", "two", "wrong"),
    [
        ({"serials": ("A",)}, {"serials": ("B", "C")}, ("other_meter", "of the meter B, C, not A")),
        ({"serials": ("A",)}, {}, None),
        ({}, {"serials": ("A",)}, None),
        ({"session": "7"}, {"session": "8"}, ("other_transaction", "its session is 8, not 7")),
        ({"session": "7"}, {}, None),
        ({}, {"session": "7"}, None),
        ({"user": "04AA"}, {"user": "04BB"}, ("other_transaction", "its user is 04BB, not 04AA")),
        ({"page": 1}, {"page": 3}, None),  # pages between them are of others
        ({"page": 1}, {"page": 3, "gapless": True}, ("incomplete", "no page 2 before 3")),
        ({"page": 3}, {"page": 3}, ("reordered", "page 3 after page 3")),
        ({"page": 3, "context": "F"}, {"page": 1, "context": "T"}, None),
        ({"page": 3}, {}, None),
        ({}, {"page": 3}, None),
        ({"page": 1, "readings": reading(9)}, {"page": 2, "readings": reading(1)}, None),  # clocks are set
        ({"readings": reading(1, 5)}, {"readings": reading(4, 9)}, ("reordered", "its time is earlier")),
        ({"readings": reading(1, 5)}, {"readings": reading(5, 9)}, None),
        ({"readings": reading(5)}, {}, None),
        ({}, {"readings": reading(5)}, None),
    ],
)  # fmt: skip
def test_whether_a_record_follows_another_is_said_by_what_both_have(
    one: dict[str, Any], two: dict[str, Any], wrong: tuple[str, str] | None
) -> None:
    bare = Record(format="OCMF", signed=b"", signatures=(), curve="")
    assert out_of_place(replace(bare, **one), replace(bare, **two)) == wrong


@pytest.mark.parametrize(
    ("direction", "wh", "digit_wh", "carried"),
    [
        ("import", "1500.9", "1", True),  # a message rounds down, up or to the nearest
        ("import", "1501.1", "1", True),
        ("import", "1500", "1", False),
        ("import", "1502", "1", False),
        ("import", "1491.1", "1000", True),
        ("import", "1491", "1000", False),
        ("import", "4000", "1", False),  # the meter marks an error in it
        ("import", "7000", "1", False),
        ("export", "7000", "1", True),
        ("export", "1501", "1", False),
    ],
)
def test_a_value_of_a_message_is_a_usable_reading_that_it_may_round(
    direction: Direction, wh: str, digit_wh: str, *, carried: bool
) -> None:
    export = {"RI": "1-0:2.8.0"}
    signed = read_record(
        record(
            {**READING, "RV": "1501", "RU": "Wh"}, {**READING, "RV": 4, "EF": "E"}, {**READING, **export, "RV": 7},
            {**READING, **export, "RU": "VA"},
        )
    )  # fmt: skip
    assert carries(signed, direction, Decimal(wh), Decimal(digit_wh)) == carried


def test_records_without_pages_are_ordered_by_their_times() -> None:
    early = record({**READING, "RV": 1}, PG=None)
    late = record({**READING, "TX": "E", "TM": "2026-11-26T09:00:00,000+0000 S", "RV": 2}, PG=None)
    assert verdicts(early, late) == ["verified", "verified"]
    before = record({**READING, "TX": "E", "TM": "2026-11-26T07:00:00,000+0000 S", "RV": 2}, PG=None)
    assert verdicts(early, before) == ["verified", "reordered"]


def test_whole_records_stand_for_themselves_in_any_order() -> None:
    """Also twice, which counts once, beside those that nobody can read, and beside readings out of transactions."""
    fiscal = record({**READING, "TX": None}, PG="F9")
    found = together(
        record(PG="T9"), record(PG="T2"), record(PG="T2"), b"OCMF|", fiscal, page(3, "B", 1), page(4, "E", 2)
    )
    assert [each.verdict for each in found] == [*["verified"] * 3, "incomplete", *["verified"] * 3]
    assert [len(each.energies) for each in found] == [1, 1, 0, 0, 0, 0, 1]


@given(order=st.permutations(range(5)), taken=st.sets(st.integers(0, 4), min_size=2))
def test_only_a_whole_transaction_in_its_order_has_energy(order: list[int], taken: set[int]) -> None:
    marks = "BCCCE"
    chosen = [at for at in order if at in taken]
    found = together(*(page(at + 1, marks[at], 100 * at) for at in chosen))
    whole = chosen == [0, 1, 2, 3, 4]
    assert any(each.energies for each in found) == whole
    assert all(each.verdict == "verified" for each in found) == (whole or not taken & {0, 4})


def test_whose_key_verified_a_record_is_said() -> None:
    row = OCMF[0]
    data, key = row["record"].encode(), row["public_key_as_given"]
    beside = FoundRecord(place="", data=data, key=key)
    within = FoundRecord(place="", data=data + b"|" + row["public_key_der"].encode())
    for found, source in ((beside, "file"), (within, "record")):
        own = judge(found, Expected())
        assert (own.verdict, own.key_source) == ("verified", source)
        known = judge(found, Expected(keys=(read_key(key),)))
        assert (known.verdict, known.key_source, known.remarks) == ("verified", "given", ())
        foreign = judge(found, Expected(keys=(key_of(OTHER),)))
        assert (foreign.verdict, foreign.key_source) == ("invalid", "given")
        assert "not a known one" in foreign.remarks[0]
    none = judge(FoundRecord(place="", data=data), Expected())
    assert (none.verdict, none.reason, none.key_source, none.energies) == ("no_key", "no public key", "", ())
    unreadable = judge(FoundRecord(place="", data=b"OCMF", key=key), Expected(keys=(read_key(key),)))
    assert (unreadable.verdict, unreadable.key_source, unreadable.key) == ("unreadable", "", None)
    broken = judge(FoundRecord(place="", data=data, key="zz"), Expected())
    assert (broken.verdict, broken.remarks) == (
        "no_key",
        ("not a meter's public key: neither DER nor a point of a known curve",),
    )


def test_only_verified_records_have_energy() -> None:
    assert judged(record()).energies
    assert not judged(record(), key_of(OTHER)).energies
    assert not judged(record(), meter="NONE").energies


@pytest.mark.parametrize(
    ("expected", "fields", "verdict", "reason"),
    [
        ({"meter": "METER"}, {}, "verified", ""),
        ({"meter": "GATEWAY"}, {}, "verified", ""),
        ({"meter": "METE"}, {}, "other_meter", "of the meter METER, GATEWAY, not METE"),
        ({"transaction": "T1"}, {}, "verified", ""),
        ({"transaction": "T2"}, {}, "other_transaction", "of the transaction T1, not T2"),
        ({"transaction": "T2"}, {"PG": None}, "other_transaction", "of the transaction unnamed, not T2"),
    ],
)
def test_a_record_of_another_meter_or_transaction_than_expected_is_named(
    expected: dict[str, str], fields: dict[str, None], verdict: str, reason: str
) -> None:
    found = judged(record(**fields), **expected)
    assert (found.verdict, found.reason) == (verdict, reason)
    assert judged(record(**fields), key_of(OTHER), **expected).verdict == "invalid"  # which says more


_OTHER_CURVE = "the record is signed by secp256r1, the key is of "
_NO_POINT = "the key is not a point of secp256r1"


@pytest.mark.parametrize(
    ("keys", "verdict", "reason"),
    [
        ([UNUSABLE, KNOWN.keys[0], OF_384], "verified", ""),
        ([OF_384, OF_521], "invalid", f"{_OTHER_CURVE}secp384r1"),
        ([OF_384, UNUSABLE], "invalid", f"{_OTHER_CURVE}secp384r1"),
        ([UNUSABLE, OF_384], "unsupported", _NO_POINT),
        ([UNUSABLE, key_of(OTHER)], "invalid", "the signature does not match"),
        ([OF_384, key_of(OTHER), UNUSABLE, OF_521], "invalid", "the signature does not match"),
    ],
)
def test_of_several_keys_each_is_tried_and_one_that_could_have_signed_says_why_none_did(
    keys: Sequence[MeterKey], verdict: str, reason: str
) -> None:
    data = sign(json.dumps(PAYLOAD).encode(), SA="ECDSA-secp256r1-SHA256")
    found = judge(FoundRecord(place="", data=data, key=der_of(KEY.public_key()).hex()), Expected(keys=tuple(keys)))
    assert (found.verdict, found.reason) == (verdict, reason)
    known = KNOWN.keys[0] in keys
    assert (found.remarks == (), found.key) == (known, KNOWN.keys[0] if known else None)


@pytest.mark.parametrize("mark", ["begin", "end"])
def test_a_file_marks_no_reading_whose_mark_is_signed(mark: Mark) -> None:
    found = FoundRecord(place="", data=record({**READING, "TX": None}), mark=mark)
    judgement = judge(found, KNOWN)
    assert judgement.record is not None
    assert (judgement.verdict, judgement.record.marks) == ("verified", frozenset())


def test_what_our_own_meter_signs_is_read_by_the_same_reader() -> None:
    """To the mWh, with the meter's serial, the contract and the key that it prints."""
    key = SoftwareKey(KEY)
    text = ocmf.sign_session(
        "export",
        begin=ocmf.Reading(1_800_000_000_123, 5),
        end=ocmf.Reading(1_800_003_600_000, 12_345_678),
        identity=ocmf.MeterIdentity(meter_serial="METER-1", gateway_serial="CS-1"),
        assignment=ocmf.Assignment(emaid="DEV2GC00000001", evse_id="DE*V2G*E0001"),
        pagination=7,
        key=key,
    )
    data = ocmf.signed_meter_data(text).encode()
    found = judge(FoundRecord(place="", data=data, key=der_of(KEY.public_key()).hex()), Expected(meter="METER-1"))
    assert (found.verdict, found.remarks) == ("verified", ())
    (energy,) = found.energies
    assert (energy.direction, energy.wh, energy.usable) == ("export", Decimal("12345.673"), True)
    assert found.record is not None
    assert (found.record.user, found.record.label) == ("DEV2GC00000001", "T7")
