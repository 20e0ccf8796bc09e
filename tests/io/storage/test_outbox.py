"""The durable outbox."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from v2g.errors import StoreError
from v2g.io.storage.outbox import Outbox, Waiting

WRITER = """
import asyncio, sys
from pathlib import Path
from v2g.io.storage.outbox import Outbox
async def main():
    box = await Outbox.open(Path(sys.argv[1]), "EV-1", 1)
    for seq in range(1, 100000):
        await box.put(seq, b"x" * 50)
        print(seq, flush=True)
asyncio.run(main())
"""


async def opened(folder: Path, utc_s: int = 1, max_bytes: int = 1 << 30) -> Outbox:
    return await Outbox.open(folder / "o.db", "EV-1", utc_s, max_bytes=max_bytes)


async def numbers(box: Outbox) -> list[tuple[int, int]]:
    return [row.position for row in await box.pending(limit=10**6)]


@pytest.mark.requirement("R97")
async def test_records_come_back_in_order_until_they_are_confirmed(tmp_path: Path) -> None:
    box = await opened(tmp_path)
    for seq in range(1, 6):
        assert await box.put(seq, bytes([seq])) == 0
    await box.put(5, b"again")  # a record that is put twice is one
    assert [row.seq for row in await box.pending(limit=3)] == [1, 2, 3]
    assert [(row.seq, row.body) for row in await box.pending(after=(1, 3))] == [(4, b"\4"), (5, b"\5")]
    assert [row.seq for row in await box.pending(max_bytes=5)] == [1, 2]  # each with one octet beside it
    assert [row.seq for row in await box.pending(max_bytes=1)] == [1]
    done = await box.confirm(1, 2, (1, 4))
    assert (done.forgotten, done.before) == (2, 2)
    assert await numbers(box) == [(1, 3), (1, 4), (1, 5)]
    assert await box.count() == 3
    await box.close()


async def test_every_start_is_a_later_boot_and_older_records_go_first(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    await first.put(7, b"old")
    await first.close()
    second = await opened(tmp_path)
    assert second.boot == first.boot + 1
    await second.put(1, b"new")
    assert [row.body for row in await second.pending()] == [b"old"]  # a batch is of one boot
    assert [row.body for row in await second.pending(after=(first.boot, 7))] == [b"new"]
    await second.close()


async def test_a_new_outbox_repeats_no_boot_of_one_that_was_lost(tmp_path: Path) -> None:
    """Else its records would contradict those of the lost one, and none of them would be stored."""
    first = await opened(tmp_path, utc_s=1_900_000_000)
    await first.close()
    (tmp_path / "o.db").unlink()
    second = await opened(tmp_path, utc_s=1_900_000_060)
    assert second.boot > first.boot
    await second.close()
    third = await opened(tmp_path, utc_s=5)  # a clock that was set back
    assert third.boot == second.boot + 1
    await third.close()


@pytest.mark.requirement("R97")
async def test_what_was_stored_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "o.db")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(200):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    acknowledged = 200 + len(writer.stdout.read().splitlines())
    writer.wait()
    writer.stdout.close()
    box = await opened(tmp_path)
    stored = [seq for _, seq in await numbers(box)]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) >= acknowledged
    await box.close()


@pytest.mark.requirement("R102", "R103")
async def test_a_full_outbox_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    box = await opened(tmp_path, max_bytes=100)
    assert [await box.put(seq, b"x" * 30) for seq in range(1, 6)] == [0, 0, 0, 1, 1]
    assert await box.waiting() == [Waiting(1, 3, 2)]
    await box.close()
    again = await opened(tmp_path, max_bytes=100)
    assert (again.dropped, await again.count()) == (2, 3)
    assert await again.put(1, b"y" * 95) == 3
    assert await again.waiting() == [Waiting(1, None, 5), Waiting(2, 1, 0)]  # boot 1 is gone, and that is known
    await again.confirm(1, 4)
    assert (await again.waiting())[0] == Waiting(1, None, 5)
    await again.confirm(1, 5)
    assert await again.waiting() == [Waiting(2, 1, 0)]
    assert again.dropped == 5
    await again.close()


@pytest.mark.requirement("R29")
async def test_the_event_loop_goes_on_while_the_disk_takes_its_time(tmp_path: Path) -> None:
    """Nothing waits for the database on the loop that charges: here another process holds it locked."""
    box = await opened(tmp_path)
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    putting = asyncio.create_task(box.put(1, b"x"))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not putting.done()
    other.execute("ROLLBACK")
    other.close()
    await putting
    assert await numbers(box) == [(1, 1)]
    await box.close()


async def test_a_disk_that_refuses_is_an_error_and_later_it_goes_on(tmp_path: Path) -> None:
    box = await opened(tmp_path)
    await box.put(1, b"x")
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(StoreError, match="disk full"):
        await box.put(2, b"x")
    other.execute("DROP TRIGGER full")
    other.close()
    await box.put(2, b"x")
    assert await numbers(box) == [(1, 1), (1, 2)]
    await box.close()


async def test_a_file_that_is_no_outbox_is_named(tmp_path: Path) -> None:
    (tmp_path / "o.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(StoreError, match=r"o\.db"):
        await opened(tmp_path)
    with pytest.raises(StoreError, match="nowhere"):
        await Outbox.open(tmp_path / "nowhere" / "o.db", "EV-1", 1)


async def test_the_outbox_of_another_vehicle_is_not_used(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    with pytest.raises(StoreError, match="outbox of 'EV-1', not of 'EV-2'"):
        await Outbox.open(tmp_path / "o.db", "EV-2", 1)
