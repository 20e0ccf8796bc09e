"""Outboxes whose files a disk has damaged: nothing else than what was put is read, and the gateway goes on."""

import asyncio
import random
import shutil
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from v2g.io.storage.outbox import Outbox, OutboxEntry, Position
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import Record, encode_record

pytestmark = pytest.mark.requirement("R97", "R98")

EV = "EV-1"
RECORDS = 60
MANY = 10_000


def body(boot: int, seq: int) -> bytes:
    """A record; every tenth takes more than a page."""
    signals: dict[str, float | int | str] = {"battery.soc": seq % 100, "battery.voltage": 400.0}
    plain = encode_record(Record(EV, boot, seq, seq, "charging", keyframe=True, signals=signals))
    return plain + b" " * (5000 if seq % 10 == 0 else seq)


async def made(folder: Path, keys: RecordKeys | None) -> dict[Position, bytes]:
    """Make an outbox of two boots, the files of which are those after kill -9; return its records."""
    folder.mkdir()
    put: dict[Position, bytes] = {}
    for part in (1, 2):
        box = await Outbox.open(folder / "o.db", EV, 5, keys=keys)
        for first in range(1, RECORDS // 2, 5):
            entries = [OutboxEntry(seq, body(box.boot, seq), Priority(seq % 5), seq) for seq in range(first, first + 5)]
            await box.put_all(entries)
            put |= {(box.boot, each.seq): each.body for each in entries}
        if part == 1:
            await box.confirm(box.boot, 3, [(7, 8)])
            put = {key: value for key, value in put.items() if key[1] > 3 and key[1] not in (7, 8)}
            await box.close()
    for path in list(folder.iterdir()):
        shutil.copy(path, path.with_name(f"{path.name}.copy"))
    await box.close()
    for path in list(folder.glob("*.copy")):
        path.rename(path.with_suffix(""))
    return put


def damage(path: Path, chance: random.Random) -> str:
    """Change a bit, or a page as a write that was cut would; return what was done."""
    data = bytearray(path.read_bytes())
    kind = chance.choice(["bit", "bit", "bit", "bit", "zeros", "former", "noise", *["end"] * (path.suffix == ".db")])
    place = chance.randrange(len(data))
    sector = slice(place // 512 * 512, place // 512 * 512 + 512)
    if kind == "bit":
        data[place] ^= 1 << chance.randrange(8)
    elif kind == "zeros":
        data[sector] = bytes(len(data[sector]))
    elif kind == "former":
        other = chance.randrange(len(data) // 512) * 512
        data[sector] = data[other : other + len(data[sector])]
    elif kind == "noise":
        data[sector] = chance.randbytes(len(data[sector]))
    else:
        del data[sector.start :]
    path.write_bytes(data)
    return f"{kind} at {place} of {path.name}"


async def everything(box: Outbox) -> dict[Position, bytes]:
    found: dict[Position, bytes] = {}
    after = (0, 0)
    while rows := await box.pending(after, 20):
        found |= {row.position: row.body for row in rows}
        after = rows[-1].position
    return found


@pytest.mark.some(1)
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("times", [60, pytest.param(MANY // 2, marks=pytest.mark.long)])
async def test_whatever_the_disk_does_no_other_record_is_read_and_each_lost_one_is_known(
    tmp_path: Path, times: int, sealed: bool
) -> None:
    """Bits and parts of pages in the database and in its log, after kill -9; it opens, and takes records.

    That the end of the log is missing cannot be seen: this is how a log looks before its last write.
    """
    seed = time.time_ns()
    chance, lost, aside = random.Random(seed), 0, 0
    RecordKeys.rotate(tmp_path / "keys")
    keys = RecordKeys.read(tmp_path / "keys") if sealed else None
    put = await made(tmp_path / "made", keys)
    names = [path.name for path in (tmp_path / "made").iterdir() if not path.name.endswith("-shm")]
    assert sorted(names) == ["o.db", "o.db-wal"]
    newest = {key for key in put if key[0] == max(put)[0] and key[1] > RECORDS // 2 - 5}
    for number in range(times):
        folder = tmp_path / "now"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "made", folder, ignore=shutil.ignore_patterns("*-shm"))
        done = damage(folder / chance.choice(names), chance)
        what, events = f"{done}, {number} of seed {seed}", list[Observe]()
        async with asyncio.timeout(60):
            box = await Outbox.open(folder / "o.db", EV, 5, keys=keys, observe=events.append)
            found = await everything(box)
            assert found.items() <= put.items(), what
            gone = put.keys() - found.keys()
            lasts = {each.boot: each.last for each in await box.waiting()}
            unseen = {key for key in gone if key[1] > lasts.get(key[0], 0)}
            assert unseen <= (newest if done.endswith("-wal") else set()), what
            await box.put(1, body(box.boot, 1))
            assert (await everything(box))[box.boot, 1] == body(box.boot, 1), what
            await box.close()
            again = await Outbox.open(folder / "o.db", EV, 5, keys=keys)
            assert (await everything(again)).keys() == found.keys() | {(box.boot, 1)}, what
            await again.close()
        lost += len(gone)
        aside += any(each.name == "outbox_damaged" for each in events)
    assert aside
    sys.stderr.write(f"{times} times: {lost} of {len(put) * times} records lost, {aside} files set aside\n")


async def test_a_file_that_is_damaged_while_it_is_open_is_set_aside(tmp_path: Path) -> None:
    """The record that found it out is stored all the same."""
    events: list[Observe] = []
    box = await Outbox.open(tmp_path / "o.db", EV, 5, observe=events.append)
    await box.put_all([OutboxEntry(seq, body(box.boot, seq)) for seq in range(1, 41)])
    await box.confirm(box.boot, 10)
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("PRAGMA writable_schema = ON")
    other.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'by_priority'")
    other.execute("PRAGMA schema_version = 100")
    other.close()
    await box.put(41, body(box.boot, 41))
    assert sorted(seq for _, seq in await everything(box)) == list(range(11, 42))
    await asyncio.sleep(0)
    assert [(each.name, each.data["records"]) for each in events] == [("outbox_damaged", 30)]
    assert (tmp_path / "o.db.damaged").exists()
    await box.close()


async def test_an_exchange_that_was_cut_goes_on(tmp_path: Path) -> None:
    """The new file is complete: it counts, whatever the former one and its log say."""
    for name, count in (("o.db", 3), ("other.db", 2)):
        box = await Outbox.open(tmp_path / name, EV, 5)
        await box.put_all([OutboxEntry(seq, body(box.boot, seq)) for seq in range(1, count + 1)])
        await box.close()
    (tmp_path / "other.db").rename(tmp_path / "o.db.new")
    (tmp_path / "o.db-wal").write_bytes(b"")
    box = await Outbox.open(tmp_path / "o.db", EV, 5)
    assert len(await everything(box)) == 2
    await box.close()
    assert {"o.db", "o.db.damaged"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "o.db.new").exists()
