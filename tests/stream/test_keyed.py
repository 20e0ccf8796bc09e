"""A vehicle's stream finds what the back end finds, whatever the order and the watermarks."""

import random

import pytest

from deploy.stream.keyed import Stream, is_record, offered, passed, record_of
from tests.stream.fleet import LATE_MS, embedded, fleet
from tests.together import together
from v2g.battery.detectors import DetectorSettings


@pytest.mark.parametrize("seed", range(4))
def test_records_out_of_order_and_repeated_give_the_same_findings(seed: int) -> None:
    lines, scatter = fleet(3, 420, seed), random.Random(seed)
    streams: dict[str, Stream] = {}
    found: list[bytes] = []
    newest_ms = 0
    for line in lines:
        record = record_of(line)
        streams[record.ev] = offered(streams.get(record.ev, Stream()), record)
        newest_ms = max(newest_ms, record.at_ms)
        if scatter.random() < 0.1:
            streams[record.ev], new = passed(DetectorSettings(), streams[record.ev], newest_ms - LATE_MS - 10)
            found += new
    for stream in streams.values():
        found += passed(DetectorSettings(), stream, 2**62)[1]
    expected = embedded(lines)
    assert sorted(found) == expected
    assert len(expected) > 3


@together("line", [b"", b"no record", b"[]", b'{"ev": 1}', b"\xff\xfe", b"[" * 10_000, fleet(1, 1)[0][:-1]])
def test_what_is_no_record_is_known_as_such(line: bytes) -> None:
    assert not is_record(line)


def test_numbers_of_any_size_are_records_or_not() -> None:
    (line,) = fleet(1, 1)
    huge = line.replace(b'"signals":{', b'"signals":{"x":' + b"9" * 400 + b",")
    assert is_record(line)
    assert huge != line
    assert isinstance(is_record(huge), bool)


def test_what_the_watermark_has_not_passed_waits() -> None:
    stream = offered(Stream(), record_of(fleet(1, 1)[0]))
    same, found = passed(DetectorSettings(), stream, 999)
    assert (same, found) == (stream, ())
    assert passed(DetectorSettings(), stream, 1000)[0].battery.seq == 1
