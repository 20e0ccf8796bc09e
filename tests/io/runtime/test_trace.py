"""Traces on disk: bounded, whole after a kill, readable while they grow, and apart for each conversation."""

import json
from pathlib import Path

import pytest

from v2g.errors import CodecError, ConfigError, StoreError
from v2g.io.runtime import trace
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.trace import LogConfig, Trace, TraceFile, open_trace
from v2g.iso15118.trace import Line
from v2g.observe import Observe


def line(name: str) -> Line:
    return Line(time="2026-01-01T00:00:00.000Z", mono_ms=1.0, run="a.1", process="secc", way="fact", name=name)


def test_a_full_trace_becomes_the_old_one_and_no_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    file = TraceFile(path, max_mib=1, keep=1, beside=lambda work: work())
    for number in range(9_000):
        file.write(line(f"{number:200}"))
    file.close()
    old = path.with_name("trace.jsonl.1")
    assert old.stat().st_size < 1024 * 1024 + 1000
    assert path.stat().st_size < 1024 * 1024 + 1000
    numbers = [int(each.name) for part in (old, path) for each in trace.read(part)]
    assert numbers == list(range(numbers[0], 9_000))
    assert {each.stat().st_mode & 0o777 for each in (old, path)} == {0o600}


def test_what_a_killed_program_left_is_ended_and_what_is_being_written_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b'{"time":"2026-01-0')
    assert not list(trace.read(path))
    file = TraceFile(path, max_mib=1)
    file.write(line("whole"))
    file.close()
    with pytest.raises(CodecError, match=r"trace\.jsonl:1: not a line of a trace"):
        list(trace.read(path))
    assert json.loads(path.read_text().splitlines()[1])["name"] == "whole"


def test_a_trace_that_cannot_be_opened_or_read_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        open_trace(LogConfig(trace=tmp_path / "none" / "trace.jsonl"), "secc", Clock())
    with pytest.raises(ConfigError, match="No such file"):
        list(trace.read(tmp_path / "none.jsonl"))
    assert open_trace(LogConfig(), "secc", Clock()) is None


def test_a_disk_that_fails_ends_the_trace_and_not_the_program(tmp_path: Path) -> None:
    file = TraceFile(Path("/dev/full"), max_mib=1)
    file.write(line("lost"))
    file.write(line("lost, too"))
    file.close()


def test_facts_stand_beside_messages_and_arrivals_begin_the_next_conversation(tmp_path: Path) -> None:
    made = Trace("secc", Clock(), TraceFile(tmp_path / "t.jsonl", max_mib=1), process_run="cafe0001")
    made.event(Observe("tls", "accepted", {"peer": "WMI"}))
    made.event(Observe("loop", "response", {"power_w": 1}))
    made.place().ended()
    made.event(Observe("link", "down", {"reason": "finished"}))
    made.event(Observe("link", "plugged_in"))
    made.event(Observe("sdp", "served", {"interface": "lo"}))
    made.close()
    seen = [(each.run, each.stage, each.name) for each in trace.read(tmp_path / "t.jsonl")]
    assert seen == [
        ("cafe0001.1", "tls", "accepted"),
        ("cafe0001.1", "link", "down"),
        ("cafe0001.2", "link", "plugged_in"),
        ("cafe0001.2", "sdp", "served"),
    ]


def test_conversations_at_several_evses_are_kept_apart(tmp_path: Path) -> None:
    made = Trace("secc", Clock(), TraceFile(tmp_path / "t.jsonl", max_mib=1), process_run="cafe0001")
    places = [made.place(each) for each in ("DEV2GE00001", "DEV2GE00002")]
    made.event(Observe("link", "plugged_in", {"evse_id": "DEV2GE00001"}))
    made.event(Observe("link", "plugged_in", {"evse_id": "DEV2GE00002"}))
    made.event(Observe("link", "matched", {"evse_id": "DEV2GE00001"}))
    places[0].ended()
    made.event(Observe("link", "plugged_in", {"evse_id": "DEV2GE00001"}))
    made.event(Observe("link", "matched", {"evse_id": "DEV2GE00002"}))
    made.close()
    seen = [(each.run.rpartition(".")[2], each.evse) for each in trace.read(tmp_path / "t.jsonl")]
    assert seen == [
        ("1", "DEV2GE00001"),
        ("2", "DEV2GE00002"),
        ("1", "DEV2GE00001"),
        ("3", "DEV2GE00001"),
        ("2", "DEV2GE00002"),
    ]
