"""Entries of a journal: their defaults are part of its format."""

import pytest

from v2g.asn1.discharge import ResultStatus
from v2g.energy.discharge_gate import Rejected
from v2g.energy.settlement.canonical import canonical, sha256_hex
from v2g.energy.settlement.records import MOST_REACTION_MS, CommandRejected, MeterReading, record_of


def test_a_reading_is_periodic_unless_it_says_otherwise() -> None:
    reading = MeterReading(import_mwh=1, export_mwh=2, power_w=3)
    assert b'"reason":"periodic"' in canonical(reading)


@pytest.mark.parametrize(("size", "stored"), [(4096, True), (4097, False)])
def test_of_long_rejected_messages_only_the_hash_is_stored(size: int, stored: bool) -> None:
    payload = bytes(size)
    record = record_of(Rejected(reason=ResultStatus.MALFORMED, detail="", sequence=0, payload=payload, reply=None))
    assert isinstance(record, CommandRejected)
    assert record.payload == (payload if stored else b"")
    assert record.sha256 == sha256_hex(payload)


def test_power_electronics_follow_within_ten_seconds_or_the_verifier_objects() -> None:
    assert MOST_REACTION_MS == 10_000
