"""Records are new, known or contradictory, and what is none is told apart from them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.core.telemetry import MAX_BATCH, advance, prepare, read_batch, sort_out
from v2g.errors import CodecError
from v2g.telemetry.signals import Record, encode_record


def record(seq: int, soc: float = 50.0, **changes: Any) -> Record:
    fields = {"ev": "EV-1", "boot": 1, "seq": seq, "utc_ms": 1, "context": "parked", "keyframe": False}
    return Record(**(fields | {"signals": {"battery.soc": soc}} | changes))


records = st.builds(record, st.integers(1, 5), st.sampled_from([1.0, 2.0]), boot=st.integers(1, 2))


@given(st.lists(records, max_size=20), st.lists(records, max_size=20))
def test_the_first_content_under_a_key_stands_for_ever(first: list[Record], second: list[Record]) -> None:
    stored: dict[Any, bytes] = {}
    for batch in (first, second):
        judged = sort_out([prepare(each) for each in batch], stored)
        assert len(judged.fresh) + judged.duplicates + len(judged.conflicts) == len(batch)
        for item in judged.fresh:
            assert item.key not in stored
            stored[item.key] = item.digest
    again = sort_out([prepare(each) for each in first + second], stored)
    assert again.fresh == ()


@given(st.sets(st.integers(1, 60)))
def test_the_gap_free_mark_is_the_first_number_before_a_hole(numbers: set[int]) -> None:
    mark = advance(0, sorted(numbers))
    assert set(range(1, mark + 1)) <= numbers
    assert mark + 1 not in numbers


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_the_one_error(body: bytes) -> None:
    try:
        found, refused = read_batch(body)
    except CodecError:
        return
    assert len(found) + len(refused) <= MAX_BATCH


def test_records_beside_bad_ones_are_read() -> None:
    good = encode_record(record(1))
    huge = encode_record(record(2)).replace(b'"seq":2', b'"seq":18446744073709551615')
    found, refused = read_batch(b"[" + b",".join([b"{}", good, b"null", huge]) + b"]")
    assert found == [record(1)]
    assert [index for index, _ in refused] == [0, 2, 3]


def test_more_than_a_batch_is_refused() -> None:
    with pytest.raises(CodecError, match="at once"):
        read_batch(b"[" + b",".join([b"1"] * (MAX_BATCH + 1)) + b"]")
