"""The journal: the cost of an entry until it is on disk, alone and in batches, and of its verification."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Figure, median, microseconds, percentile
from benchmarks.settlement import finished
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import MeterReading
from v2g.io.storage.journal_file import JournalFile
from v2g.io.storage.record_keys import RecordKeys

ABOUT = "append chained entries, in memory and durably, and verify them"

REQUIREMENTS = ("R32", "R145")

_BATCH = 500
"""Entries in a batch."""

_DURABLE_US = 1e6 / 4_000
_BATCHED_US = 1e6 / 50_000
_VERIFIED_US = 1e6 / 300_000
"""Aims: 4,000 durable entries a second one by one where the disk allows, 50,000 in batches, 300,000 verified."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield appending in memory and on disk."""
    calls = 20 if quick else 1000
    lines, _ = finished()
    head = b"".join(lines[:4])
    journal = Journal.resume(head)
    state = journal.state
    utc_ms = state.utc_ms
    counter = 0

    def record() -> bytes:
        nonlocal counter
        counter += 1
        reading = MeterReading(
            import_mwh=state.import_mwh + 1, export_mwh=state.export_mwh, reason="interval", power_w=11_000, soc=60
        )
        return journal.append(reading, utc_ms + counter)

    in_memory = microseconds(record, calls=calls)
    size = len(record())
    yield Figure(
        f"chain and encode a meter reading ({size} octets)",
        median(in_memory),
        "µs",
        note="p50; canonical JSON and SHA-256",
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        journal = Journal.resume(head)
        state = journal.state
        file = JournalFile.open(Path(folder) / "journal.jsonl")
        file.append([head])
        durable = microseconds(lambda: file.append([record()]), calls=calls)
        file.close()
        descriptor = os.open(Path(folder) / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        line = lines[-1][:size].ljust(size)

        def write() -> None:
            os.write(descriptor, line)
            os.fdatasync(descriptor)

        raw = microseconds(write, calls=calls)
        os.close(descriptor)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(
            f"append durably, {name}",
            percentile(durable, share),
            "µs",
            peer="write and fdatasync alone",
            peer_value=percentile(raw, share),
            note="depends on the disk",
        )
    yield from _rates(head, quick=quick)


def _rates(head: bytes, *, quick: bool) -> Iterator[Figure]:
    """Yield the time for an entry: durable one by one and in batches, beside SQLite's; verified."""
    alone, batched = (20, 2 * _BATCH) if quick else (2_000, 100 * _BATCH)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for name, count, batch, target in (
            ("one by one", alone, 1, _DURABLE_US),
            (f"in batches of {_BATCH}", batched, _BATCH, _BATCHED_US),
        ):
            path = Path(folder) / f"{batch}.jsonl"
            ours, lines = _append(head, path, count, batch)
            RecordKeys.rotate(keys := Path(folder) / "journal.keys")
            sealed, _ = _append(head, path.with_suffix(".sealed"), count, batch, RecordKeys(keys))
            yield Figure(
                f"append durably, {name}",
                ours,
                "µs/entry",
                target=target,
                peer="SQLite, WAL, synchronous=FULL",
                peer_value=_sqlite(Path(folder) / f"{batch}.db", lines, batch),
                note="chain, encode, write, fdatasync; depends on the disk",
            )
            yield Figure(
                f"append durably and sealed, {name}",
                sealed,
                "µs/entry",
                target=target,
                peer="plain",
                peer_value=ours,
                note="AES-256-GCM a line; depends on the disk",
            )
    data = head + b"".join(lines)
    spans = microseconds(lambda: verify_lines(data), calls=1 if quick else 5)
    yield Figure(
        f"verify a journal of {len(lines) + 4} entries",
        median(spans) / (len(lines) + 4),
        "µs/entry",
        target=_VERIFIED_US,
        note="p50; parse, canonical form, hash, chain and rules",
    )


def _append(
    head: bytes, path: Path, count: int, batch: int, keys: RecordKeys | None = None
) -> tuple[float, list[bytes]]:
    """Return µs for each of `count` entries, each batch durable before the next, and their lines."""
    journal = Journal.resume(head)
    state, file, lines = journal.state, JournalFile.open(path, keys), list[bytes]()
    file.append([head])
    start, first_ms = time.perf_counter_ns(), state.utc_ms
    for at in range(0, count, batch):
        made = [
            journal.append(
                MeterReading(import_mwh=state.import_mwh + 1, export_mwh=state.export_mwh, power_w=11_000, soc=60),
                first_ms + at + each,
            )
            for each in range(batch)
        ]
        file.append(made)
        lines += made
    spent = (time.perf_counter_ns() - start) / 1000 / count
    file.close()
    return spent, lines


def _sqlite(path: Path, lines: Sequence[bytes], batch: int) -> float:
    """Return µs for each line that SQLite inserts, each batch in a transaction of its own."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE lines (id INTEGER PRIMARY KEY, line BLOB)")
    start = time.perf_counter_ns()
    for at in range(0, len(lines), batch):
        database.execute("BEGIN")
        database.executemany("INSERT INTO lines (line) VALUES (?)", [(line,) for line in lines[at : at + batch]])
        database.execute("COMMIT")
    spent = (time.perf_counter_ns() - start) / 1000 / len(lines)
    database.close()
    return spent
