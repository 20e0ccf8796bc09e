"""The durable outbox."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2g.errors import ConfigError, KeyAccessError, StoreError
from v2g.io.storage import outbox_file
from v2g.io.storage.outbox import MAX_ISLANDS, BootName, Gap, Outbox, OutboxEntry, Waiting
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g.telemetry.priority import Priority

WRITER = """
import asyncio, sys
from pathlib import Path
from v2g.io.storage import outbox_file
from v2g.io.storage.outbox import Outbox
async def main():
    box = await Outbox.open(Path(sys.argv[1]), "EV-1", 1)
    for seq in range(1, 100000):
        await box.put(seq, b"x" * 50)
        print(seq, flush=True)
asyncio.run(main())
"""


async def opened(folder: Path, utc_s: int = 1, max_bytes: int = 1 << 30, keys: RecordKeys | None = None) -> Outbox:
    return await Outbox.open(folder / "o.db", "EV-1", utc_s, max_bytes=max_bytes, keys=keys)


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
    assert await box.confirm(1, 2) == 2
    assert await numbers(box) == [(1, 3), (1, 4), (1, 5)]
    assert await box.count() == 3
    await box.close()


@pytest.mark.requirement("R97")
async def test_a_record_that_is_put_again_after_its_delivery_does_not_return(tmp_path: Path) -> None:
    """Who is cancelled while the disk works does not know that his records were stored, and puts them once more."""
    box = await opened(tmp_path)
    entries = [OutboxEntry(1, b"a"), OutboxEntry(2, b"b")]
    await box.put_all(entries)
    assert await box.confirm(box.boot, 1) == 1
    await box.put_all([*entries, OutboxEntry(3, b"c")])
    assert (await numbers(box), box.size) == ([(1, 2), (1, 3)], 2)
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
    assert await box.waiting() == [Waiting(1, 3, 5)]
    await box.close()
    again = await opened(tmp_path, max_bytes=100)
    assert (again.dropped, await again.count()) == (2, 3)
    assert await again.put(1, b"y" * 95) == 3
    assert await again.waiting() == [Waiting(1, None, 5), Waiting(2, 1, 1)]  # boot 1 is gone, and that is known
    assert await again.confirm(1, 4) == 0
    assert (await again.waiting())[0] == Waiting(1, None, 5)
    await again.confirm(1, 5)
    assert await again.waiting() == [Waiting(2, 1, 1)]
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


SIZE = 100


async def put(box: Outbox, seq: int, priority: Priority) -> int:
    return await box.put(seq, bytes(SIZE), priority, utc_ms=seq * 1000)


@pytest.mark.requirement("R102", "R103")
async def test_a_full_outbox_drops_diagnostics_first_and_settlement_never(tmp_path: Path) -> None:
    """In each priority the oldest go first; what was dropped is counted by priority, with its time."""
    box = await opened(tmp_path, max_bytes=8 * SIZE)
    order = [Priority.DIAGNOSTIC, Priority.SETTLEMENT, Priority.LIVE, Priority.SAFETY] * 2
    for seq, priority in enumerate(order, 1):
        assert await put(box, seq, priority) == 0
    for seq in range(9, 11):
        assert await put(box, seq, Priority.LIVE) == 1
    assert [seq for _, seq in await numbers(box)] == [2, 3, 4, 6, 7, 8, 9, 10]  # diagnostics went, the oldest first
    for seq in range(11, 18):
        assert await put(box, seq, Priority.SETTLEMENT) == (seq <= 16)
    assert [seq for _, seq in await numbers(box)] == [2, 6, *range(11, 18)]
    assert await box.gaps() == [
        Gap(Priority.SAFETY, 2, 4000, 8000),
        Gap(Priority.LIVE, 4, 3000, 10_000),
        Gap(Priority.DIAGNOSTIC, 2, 1000, 5000),
    ]
    assert await put(box, 18, Priority.DIAGNOSTIC) == 1  # at once: only settlement may exceed the limit
    assert box.dropped == 9
    await box.close()


@pytest.mark.requirement("R103")
async def test_a_gap_ends_with_the_record_that_reports_it_and_grows_until_then(tmp_path: Path) -> None:
    box = await opened(tmp_path, max_bytes=2 * SIZE)
    for seq in range(1, 6):
        await put(box, seq, Priority.DIAGNOSTIC)
    (gap,) = await box.gaps()
    assert gap == Gap(Priority.DIAGNOSTIC, 3, 1000, 3000)
    await put(box, 6, Priority.DIAGNOSTIC)  # while the report is being made
    await box.close()
    box = await opened(tmp_path, max_bytes=2 * SIZE)  # a gap outlives the process
    await box.put_all([OutboxEntry(1, b"report", Priority.SETTLEMENT, reports=gap)])
    assert await box.gaps() == [Gap(Priority.DIAGNOSTIC, 2, 3000, 5000)]  # of the last, one went for the report
    await box.close()


async def test_the_size_is_right_after_any_end(tmp_path: Path) -> None:
    """Else the limit would creep from start to start."""
    box = await opened(tmp_path, max_bytes=5 * SIZE)
    for seq in range(1, 6):
        await put(box, seq, Priority.LIVE)
    await put(box, 5, Priority.LIVE)  # the same again
    await box.confirm(box.boot, 1, [(3, 4)])
    assert [seq for _, seq in await numbers(box)] == [2, 5]
    await box.close()
    box = await opened(tmp_path, max_bytes=5 * SIZE)
    assert [await put(box, seq, Priority.LIVE) for seq in range(1, 5)] == [0, 0, 0, 1]
    await box.close()


async def test_an_important_record_is_found_among_many_others(tmp_path: Path) -> None:
    box = await opened(tmp_path)
    priorities = {3: Priority.SETTLEMENT, 8: Priority.SUMMARY, 9: Priority.SAFETY}
    await box.put_all([OutboxEntry(seq, b"x" * 9, priorities.get(seq, Priority.LIVE)) for seq in range(1, 20)])
    assert [row.seq for row in await box.pending(least=Priority.SUMMARY)] == [3, 8, 9]
    assert [row.seq for row in await box.pending(least=Priority.SUMMARY, limit=2)] == [3, 8]
    assert [row.seq for row in await box.pending((1, 3), least=Priority.SAFETY)] == [9]
    assert [row.seq for row in await box.pending(least=Priority.SUMMARY, max_bytes=21)] == [3, 8]
    assert [row.seq for row in await box.pending((1, 15), through=(1, 17))] == [16, 17]
    assert await box.newest() == (1, 19)
    assert box.commits == 1
    await box.close()


async def test_a_boot_with_many_important_records_gives_way_to_the_next(tmp_path: Path) -> None:
    """Sent ahead of the others each is a gap at the back end, which keeps 256 in a boot."""
    box = await opened(tmp_path)
    for number in range(MAX_ISLANDS):
        assert not box.crowded
        await box.put_all([OutboxEntry(3 * number + 1, b"a"), OutboxEntry(3 * number + 2, b"b", Priority.SETTLEMENT)])
        await put(box, 3 * number + 3, Priority.SAFETY)  # beside the last one
    assert box.crowded
    assert (await box.next_boot(), box.boot, box.crowded) == (2, 2, False)
    await box.close()
    box = await opened(tmp_path)
    assert box.boot == 3
    await box.close()


async def test_an_outbox_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "o.db")
    old.executescript("""
        CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
        CREATE TABLE owner (ev TEXT PRIMARY KEY);
        CREATE TABLE outbox (boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (boot, seq))
            WITHOUT ROWID;
        INSERT INTO meta VALUES ('boot', 7);
        INSERT INTO owner VALUES ('EV-1');
        INSERT INTO outbox VALUES (7, 1, 'old');
    """)
    old.close()
    box = await opened(tmp_path, max_bytes=7)
    assert [row.position for row in await box.pending()] == [(7, 1)]
    assert box.name(7) == BootName(7, ""), "the back end knows it by its number"
    assert box.name(box.boot).boot_id
    assert await box.put(1, b"12345") == 1  # it counts
    await box.close()


@pytest.mark.requirement("R97", "R133")
async def test_an_outbox_to_which_a_later_version_has_added_goes_on(tmp_path: Path) -> None:
    box = await opened(tmp_path)
    await box.put(1, b"one")
    before = box.name(1)
    await box.close()
    newer = sqlite3.connect(tmp_path / "o.db")
    newer.executescript("""
        ALTER TABLE outbox ADD COLUMN place TEXT;
        CREATE TABLE places (name TEXT PRIMARY KEY);
        INSERT INTO places VALUES ('later');
    """)
    state = msgspec.msgpack.decode(newer.execute("SELECT body FROM state").fetchone()[0], type=outbox_file.OutboxState)
    state.schema = outbox_file.schema_of(newer)
    outbox_file.save_state(newer, state)
    newer.commit()
    newer.close()
    events: list[Observe] = []
    box = await Outbox.open(tmp_path / "o.db", "EV-1", 1, observe=events.append)
    assert (await numbers(box), box.name(1), box.boot, events) == ([(1, 1)], before, 2, [])
    await box.put(1, b"two")
    assert await box.count() == 2
    await box.close()
    newer = sqlite3.connect(tmp_path / "o.db")
    assert newer.execute("SELECT name FROM places").fetchall() == [("later",)]
    newer.close()


@pytest.mark.requirement("R98")
async def test_a_boot_takes_another_number_and_later_ones_are_higher(tmp_path: Path) -> None:
    """Its records stay as they are in the file, and its id stays, also after a restart."""
    first = await opened(tmp_path, utc_s=5)
    await first.put(1, b"one")
    await first.close()
    second = await opened(tmp_path, utc_s=5)
    await second.put(1, b"two")
    before = second.name(5), second.name(6)
    await second.renumber([6, 5], 100)
    assert [second.name(boot).number for boot in (5, 6)] == [100, 101]
    assert [second.name(boot).boot_id for boot in (5, 6)] == [each.boot_id for each in before]
    assert len({each.boot_id for each in before}) == 2
    assert second.boot_named(second.name(5)) == 5
    assert second.boot_named(before[0]) is None
    assert await second.next_boot() == 102
    await second.close()
    third = await opened(tmp_path, utc_s=5)
    assert (third.boot, third.name(5).number, third.name(6).number) == (103, 100, 101)
    assert await numbers(third) == [(5, 1)]
    await third.close()


SECRET = b'{"signals":{"battery.soc":71.25}}'


@pytest.mark.requirement("R145")
async def test_the_file_of_a_sealed_outbox_has_no_plaintext(tmp_path: Path) -> None:
    key = tmp_path / "outbox.keys"
    RecordKeys.rotate(key)
    box = await opened(tmp_path, keys=RecordKeys.read(key))
    for seq in range(1, 50):
        await box.put(seq, SECRET)
    await box.confirm(box.boot, 20)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("o.db")}
    assert "o.db-wal" in files
    for content in files.values():
        assert not any(part in content for part in (b"battery", b"71.25", b"signals", b"EV-1"))
    assert {row.body for row in await box.pending()} == {SECRET}
    await box.close()


@pytest.mark.requirement("R145")
async def test_keys_rotate_and_old_records_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "outbox.keys"
    assert [RecordKeys.rotate(path) for _ in range(2)] == [1, 2]
    assert path.stat().st_mode & 0o777 == 0o600
    first = "".join(path.read_text().splitlines(keepends=True)[:1])
    both = path.read_text()
    path.write_text(first)
    box = await opened(tmp_path, keys=RecordKeys.read(path))
    await box.put(1, b"old")
    await box.close()
    path.write_text(both)
    box = await opened(tmp_path, keys=RecordKeys.read(path))
    await box.put(1, b"new")
    assert [row.body for row in await box.pending()] == [b"old"]
    await box.close()
    path.write_text(second := both.removeprefix(first))
    with pytest.raises(StoreError, match="has no key 1, which seals stored records"):
        await opened(tmp_path, keys=RecordKeys.read(path))
    path.write_text(both)
    box = await opened(tmp_path, keys=RecordKeys.read(path))
    await box.confirm(1, 1)
    await box.close()
    path.write_text(second)
    box = await opened(tmp_path, keys=RecordKeys.read(path))
    assert [row.body for row in await box.pending()] == [b"new"]
    await box.close()


@pytest.mark.requirement("R145")
async def test_a_wrong_or_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.keys"
    RecordKeys.rotate(path)
    box = await opened(tmp_path, keys=RecordKeys.read(path))
    await box.put(1, SECRET)
    await box.close()
    with pytest.raises(StoreError, match="is sealed"):
        await opened(tmp_path)
    path.unlink()
    RecordKeys.rotate(path)
    with pytest.raises(StoreError, match=r"key 1 of .*outbox\.keys does not open"):
        await opened(tmp_path, keys=RecordKeys.read(path))
    path.chmod(0o644)
    with pytest.raises(KeyAccessError, match="has mode 0644"):
        RecordKeys.read(path)
    path.chmod(0o600)
    for nonsense in ("", "1 abcd", "2 " + "ab" * 32 + "\n1 " + "ab" * 32, "key", "0 " + "ab" * 32, "\xff"):
        path.write_text(nonsense)
        with pytest.raises(ConfigError, match="no file of record keys"):
            RecordKeys.read(path)


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_record_that_was_moved_or_damaged_in_the_file_is_given_up(tmp_path: Path, sealed: bool) -> None:
    """Its place is part of what is sealed, and of the checksum. The back end receives numbers up to the last."""
    path = tmp_path / "outbox.keys"
    RecordKeys.rotate(path)
    box = await opened(tmp_path, keys=RecordKeys.read(path) if sealed else None)
    for seq in range(1, 4):
        await box.put(seq, b"%d" % seq)
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("UPDATE outbox SET body = (SELECT body FROM outbox WHERE seq = 1) WHERE seq = 2")
    other.execute("UPDATE outbox SET body = x'00' WHERE seq = 3")
    other.close()
    assert [row.body for row in await box.pending()] == [b"1"]
    assert await box.waiting() == [Waiting(1, 1, 3)]
    await box.confirm(1, 1)
    assert await box.waiting() == [Waiting(1, None, 3)]
    await box.close()


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 60)), max_size=60), st.integers(50, 300))
@settings(deadline=None, max_examples=30)
def test_whatever_is_put_the_limit_holds_and_nothing_more_important_goes_first(
    puts: list[tuple[Priority, int]], most: int
) -> None:
    async def run(folder: Path) -> None:
        box = await opened(folder, max_bytes=most)
        sent = dict(enumerate(puts, 1))
        gone = 0
        for seq, (priority, size) in sent.items():
            gone += await box.put(seq, bytes(size), priority, seq)
            left = {row.seq: sent[row.seq] for row in await box.pending(limit=1000)}
            held = sum(size for _, size in left.values())
            assert held <= most or {priority for priority, _ in left.values()} <= {Priority.SETTLEMENT}
            assert not [n for n in range(1, seq) if sent[n][0] == Priority.SETTLEMENT and n not in left]
            assert gone == seq - len(left) == sum(gap.count for gap in await box.gaps()) == box.dropped
        await box.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
