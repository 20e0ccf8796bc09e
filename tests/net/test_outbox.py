"""The durable outbox."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from v2g.errors import StoreError
from v2g.net.outbox import Outbox

WRITER = """
import sys
from pathlib import Path
from v2g.net.outbox import Outbox
box = Outbox(Path(sys.argv[1]))
for seq in range(1, 100000):
    box.put(seq, b"x" * 50)
    print(seq, flush=True)
"""


def test_records_come_back_in_order_until_they_are_acknowledged(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db")
    for seq in range(1, 6):
        box.put(seq, bytes([seq]))
    assert [seq for _, seq, _ in box.pending(limit=3)] == [1, 2, 3]
    assert [seq for _, seq, _ in box.pending(after=(1, 3))] == [4, 5]
    box.acknowledge([(1, 1), (1, 2), (9, 9)])
    assert [seq for _, seq, _ in box.pending()] == [3, 4, 5]
    box.close()


def test_every_start_is_a_new_boot_and_older_records_go_first(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "o.db")
    first.put(7, b"old")
    first.close()
    second = Outbox(tmp_path / "o.db")
    second.put(1, b"new")
    assert second.pending() == [(1, 7, b"old"), (2, 1, b"new")]
    second.close()


def test_what_was_stored_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "o.db")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(200):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    acknowledged = 200 + len(writer.stdout.read().splitlines())
    writer.wait()
    writer.stdout.close()
    box = Outbox(tmp_path / "o.db")
    stored = [seq for _, seq, _ in box.pending(limit=10**6)]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) >= acknowledged
    box.close()


def test_a_full_outbox_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "o.db", max_bytes=100)
    for seq in range(1, 6):
        box.put(seq, b"x" * 30)
    assert [seq for _, seq, _ in box.pending()] == [3, 4, 5]
    box.close()
    again = Outbox(tmp_path / "o.db", max_bytes=100)
    assert again.dropped == 2
    assert len(again) == 3
    again.close()


def test_a_file_that_is_no_outbox_is_named(tmp_path: Path) -> None:
    (tmp_path / "o.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(StoreError, match=r"o\.db"):
        Outbox(tmp_path / "o.db")
