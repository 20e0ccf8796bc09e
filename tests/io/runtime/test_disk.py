"""What is brought to the disk by the thread is done in order, reported when it is done, and survives kill -9 once
reported."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import MeterReading
from v2g.errors import StoreError
from v2g.io.runtime.disk import DiskThread, disk_threads


async def test_everything_is_done_in_the_order_of_asking_and_reported_in_the_event_loop() -> None:
    disk, done = DiskThread(), []
    asked = [disk.do(lambda n=n: done.append(n), lambda n=n: (n, threading.current_thread())) for n in range(100)]  # type: ignore[misc]
    assert await asyncio.gather(*asked) == [(n, threading.main_thread()) for n in range(100)]
    assert done == list(range(100))
    await disk.close()


async def test_the_event_loop_goes_on_while_the_disk_takes_its_time() -> None:
    disk, slow = DiskThread(), threading.Event()
    asked = disk.do(lambda: slow.wait(5), lambda: "told")
    await asyncio.sleep(0)
    assert not asked.done()
    slow.set()
    assert await asked == "told"
    await disk.close()


async def test_what_fails_is_the_future_s_and_nobody_else_s() -> None:
    def full() -> None:
        raise StoreError("disk full")

    disk = DiskThread()
    work, then, next_one = disk.do(full, list), disk.do(list, full), disk.do(list, lambda: "next")
    for each in (work, then):
        with pytest.raises(StoreError, match="disk full"):
            await each
    assert await next_one == "next"
    await disk.close()


async def test_what_was_asked_for_is_done_though_nobody_waits_and_reported_before_the_end() -> None:
    disk, done = DiskThread(), []
    disk.do(lambda: done.append("work"), lambda: done.append("then")).cancel()
    await disk.close()
    assert done == ["work", "then"]
    await disk.close()  # which is harmless


async def test_who_writes_files_of_his_own_does_not_wait_for_another_one_s_disk() -> None:
    first, second, *_ = threads = disk_threads(40)
    slow = threading.Event()
    waiting = first.do(lambda: slow.wait(5), lambda: "slow")
    assert await second.do(list, lambda: "told") == "told"
    assert not waiting.done()
    slow.set()
    assert await waiting == "slow"
    assert await asyncio.gather(*(each.do(list, lambda n=n: n) for n, each in enumerate(threads))) == list(range(40))
    assert len(set(threads)) < 10, "they are few, however many EVSEs there are"
    for each in set(threads):
        await each.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from secc.evse.journal import JournalWriter
from secc.hardware.meter import SimulatedMeter
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import JournalFile
from v2g.energy.settlement.records import SessionStarted

start = SessionStarted(station_id="CS", evse_id="DE*V2G*E1", session_id="00" * 8, meter_serial="M",
    meter_certificate="ab" * 32, charger_certificate="cd" * 32, import_mwh=0, export_mwh=0)

async def main():
    folder, clock = Path(sys.argv[1]), Clock()
    meter = SimulatedMeter("M", folder / "meter.bin", now_ms=clock.elapsed_ms)
    journal = JournalWriter(lambda name: JournalFile.open(folder / name), meter=meter, clock=clock, disk=DiskThread(),
        on_line=lambda line: None)
    meter.flow(clock.elapsed_ms() - 3_600_000, 400_000, 100_000)
    await journal.write(start)
    while True:
        asked = [journal.record_meter("direction") for _ in range(3)]
        for each in asked:
            reading = await each
            sys.stdout.write(f"{reading.import_mwh}\\n")
            sys.stdout.flush()

asyncio.run(main())
"""


@pytest.mark.requirement("R27")
@pytest.mark.parametrize("acknowledged", [1, 50])
def test_the_journal_of_a_process_killed_with_9_holds_every_reading_that_became_a_fact(
    tmp_path: Path, acknowledged: int
) -> None:
    """Killed at an arbitrary place, with entries under way: no fact without its entry, no entry torn in the middle."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as child:
        assert child.stdout is not None
        facts = [int(child.stdout.readline()) for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        facts += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    data = (tmp_path / ("00" * 8)).read_bytes()
    entries = verify_lines(data[: data.rfind(b"\n") + 1])
    kept = [each.data.import_mwh for each in entries if isinstance(each.data, MeterReading)]
    assert kept[: len(facts)] == facts
    assert facts[0] >= 40_000_000
