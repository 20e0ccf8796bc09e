"""Events are written as long as the disk takes them, and nobody suffers when it does not."""

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe


@pytest.fixture
def full_at() -> Iterator[int]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_costs_events_and_nothing_else(tmp_path: Path, full_at: int) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("secc", Clock(), path)
    for _ in range(50):
        log(Observe("loop", "response", {"power_w": 1}))
    assert path.stat().st_size == full_at
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    log(Observe("loop", "later", {}))
    log.close()
    *lines, torn, last = path.read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["response"] * len(lines)
    assert torn
    assert json.loads(last)["name"] == "later"


def test_events_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.touch(mode=0o644)
    log = EventLog("csms", Clock(), path)
    log(Observe("ocpp", "authorize", {"emaid": "04AABBCCDD"}))
    log.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_log_says_what_happens_and_not_every_loop(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog("secc", Clock())
    with caplog.at_level("INFO"):
        log(Observe("loop", "response", {"power_w": 1}))
        log(Observe("loop", "notice", {"notification": "Pause", "code": None}))
    assert [record.getMessage() for record in caplog.records] == ["loop notice notification=Pause"]
    with caplog.at_level("DEBUG"):
        log(Observe("loop", "response", {"power_w": 1}))
    assert caplog.records[-1].levelname == "DEBUG"
    log.close()


def test_while_control_needs_the_processor_details_are_left_out(tmp_path: Path) -> None:
    """R130: those who follow the state of the program see them all the same."""
    path, seen = tmp_path / "events.jsonl", list[str]()
    log = EventLog("secc", Clock(), path)
    log.on_event(lambda event: seen.append(event.name))
    for log.brief in (False, True, False):
        log(Observe("loop", "response", {"soc": 1}))
        log(Observe("loop", "notice", {}))
    log.close()
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == [
        "response", "notice", "notice", "response", "notice",
    ]  # fmt: skip
    assert seen == ["response", "notice"] * 3
