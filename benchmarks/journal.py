"""The journal: the cost of an entry until it is on disk."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, median, microseconds, percentile
from benchmarks.settlement import finished
from v2g.energy.settlement.journal import Journal
from v2g.energy.settlement.records import MeterReading
from v2g.io.storage.journal_file import JournalFile

ABOUT = "append a chained entry, in memory and durably"


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
        name="journal",
        figure=f"chain and encode a meter reading ({size} octets)",
        unit="µs",
        value=median(in_memory),
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
            name="journal",
            figure=f"append durably, {name}",
            unit="µs",
            value=percentile(durable, share),
            peer="write and fdatasync alone",
            peer_value=percentile(raw, share),
            note="depends on the disk",
        )
