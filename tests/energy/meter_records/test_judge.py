"""Verdicts: whose record it is, and whether the records of a transaction belong together."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import KEY, OCMF, PAYLOAD, READING, der_of, judged, record, sign
from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.judge import Expected, RecordJudgement, judge, judge_all
from v2g.energy.meter_records.keys import MeterKey, key_of, read_key
from v2g.energy.settlement import ocmf
from v2g.pki.keys import SoftwareKey

KNOWN = Expected(keys=(key_of(KEY.public_key()),))
OTHER = ec.derive_private_key(77, ec.SECP256R1()).public_key()


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


def test_what_does_not_belong_together_is_named() -> None:
    begin, end = page(4, "B", 100), page(5, "E", 400)
    assert verdicts(begin) == ["verified"]  # by itself it promises no end
    assert verdicts(end, begin) == ["reordered", "incomplete"]
    assert verdicts(begin, page(3, "E", 400)) == ["verified", "reordered"]
    assert verdicts(begin, page(4, "E", 400)) == ["verified", "reordered"]
    assert verdicts(begin, page(6, "C", 200), page(5, "E", 400)) == ["verified", "incomplete", "verified"]
    assert verdicts(begin, page(7, "E", 400)) == ["verified", "incomplete"]
    assert verdicts(begin, page(5, "E", 400, MS="OTHER")) == ["incomplete", "other_meter"]
    assert verdicts(begin, page(5, "E", 400, ID="04BB")) == ["verified", "other_transaction"]
    assert verdicts(begin, end, names=["7", "8"]) == ["verified", "verified"]  # files number their records, too
    assert verdicts(begin, page(5, "B", 200), page(6, "E", 400)) == ["incomplete", "verified", "verified"]
    assert verdicts(record(), page(5, "E", 400)) == ["verified", "incomplete"]
    assert verdicts(begin, page(5, "C", 200, ID="04BB"), end) == ["verified", "other_transaction", "verified"]


def test_records_without_pages_are_ordered_by_their_times() -> None:
    early = record({**READING, "RV": 1}, PG=None)
    late = record({**READING, "TX": "E", "TM": "2026-11-26T09:00:00,000+0000 S", "RV": 2}, PG=None)
    assert verdicts(early, late) == ["verified", "verified"]
    before = record({**READING, "TX": "E", "TM": "2026-11-26T07:00:00,000+0000 S", "RV": 2}, PG=None)
    assert verdicts(early, before) == ["verified", "reordered"]


def test_whole_records_stand_for_themselves_in_any_order() -> None:
    """Also twice, beside those that nobody can read, and beside readings out of transactions."""
    fiscal = record({**READING, "TX": None}, PG="F9")
    found = together(
        record(PG="T9"), record(PG="T2"), record(PG="T2"), b"OCMF|", fiscal, page(3, "B", 1), page(4, "E", 2)
    )
    assert [each.verdict for each in found] == [*["verified"] * 3, "incomplete", *["verified"] * 3]
    assert [len(each.energies) for each in found] == [1, 1, 1, 0, 0, 0, 1]


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
    assert (none.verdict, none.key_source, none.energies) == ("no_key", "", ())
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
    ("expected", "verdict"),
    [
        ({"meter": "METER"}, "verified"), ({"meter": "GATEWAY"}, "verified"), ({"meter": "METE"}, "other_meter"),
        ({"transaction": "T1"}, "verified"), ({"transaction": "T2"}, "other_transaction"),
    ],
)  # fmt: skip
def test_a_record_of_another_meter_or_transaction_than_expected_is_named(
    expected: dict[str, str], verdict: str
) -> None:
    assert judged(record(), **expected).verdict == verdict
    assert judged(record(), key_of(OTHER), **expected).verdict == "invalid"  # which says more


def test_a_key_that_cannot_be_used_hides_no_other() -> None:
    unusable = MeterKey("", b"\x04" + bytes(64))
    assert judged(record(), unusable).verdict == "unsupported"
    assert judged(record(), unusable, key_of(KEY.public_key())).verdict == "verified"


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
