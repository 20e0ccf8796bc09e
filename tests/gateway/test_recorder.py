"""Records on their way into the outbox: groups, order, boots and failures."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.telemetry.mirror import BatchMirror
from tests.virtual_time import in_simulated_time
from tests.waiting import until
from v2g.errors import StoreError
from v2g.io.storage.outbox import MAX_ISLANDS, Gap, Outbox
from v2g.telemetry.batch import Batcher
from v2g.telemetry.local_events import DROPPED, LocalEvent
from v2g.telemetry.priority import Prioritiser, Priority
from v2g.telemetry.signals import Record, Value, decode_record
from v2g_gateway.recorder import COMMIT_S, OutboxRecorder

EV = "EV-1"


def record(seq: int, signals: dict[str, Value], *, boot: int = 1, keyframe: bool = False, utc_ms: int = 0) -> Record:
    return Record(EV, boot, seq, utc_ms or seq, "charging", keyframe, signals)


def live(seq: int) -> Record:
    return record(seq, {"battery.soc": 50.0})


class Made:
    """A recorder, and what it has reported."""

    def __init__(self, box: Outbox, begin: Batcher) -> None:
        self.stored: list[int] = []
        self.boots: list[int] = []
        self.recorder = OutboxRecorder(box, Prioritiser(), on_stored=self._stored, on_boot=self._boot)
        self._batcher = begin

    async def _stored(self, records: list[Record], _dropped: int, _prompt: bool) -> None:
        self.stored += [each.seq for each in records]

    def _boot(self, boot: int) -> None:
        self.boots.append(boot)
        self._batcher.begin(boot)


@contextlib.asynccontextmanager
async def recording(folder: Path) -> AsyncIterator[tuple[Made, Outbox]]:
    box = await Outbox.open(folder / "o.db", EV, 1)
    made = Made(box, Batcher(EV, 1))
    task = asyncio.create_task(made.recorder.run())
    async with asyncio.timeout(60):
        yield made, box
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await box.close()


async def reaches(made: Made, count: int) -> None:
    await until(lambda: len(made.stored) >= count)


@pytest.mark.requirement("R97")
async def test_fifty_records_a_second_cost_five_commits(tmp_path: Path) -> None:
    """The first is brought in at once, the next ones together."""
    async with recording(tmp_path) as (made, box):
        for seq in range(1, 51):
            made.recorder.add(live(seq))
            await asyncio.sleep(0.02)
        await reaches(made, 50)
        assert made.stored == list(range(1, 51))
        assert box.commits <= 2 + 50 * 0.03 / COMMIT_S
        assert [row.seq for row in await box.pending()] == made.stored


async def test_what_is_urgent_does_not_wait_for_a_group(tmp_path: Path) -> None:
    async with recording(tmp_path) as (made, _box):
        made.recorder.add(live(1))
        await reaches(made, 1)
        made.recorder.add(live(2))
        made.recorder.add(record(3, {"vehicle.contactor": 0.0}))
        begin = asyncio.get_running_loop().time()
        await reaches(made, 3)
        assert asyncio.get_running_loop().time() - begin < COMMIT_S


async def test_a_disk_that_fails_delays_records_and_loses_none(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    made = Made(box, Batcher(EV, 1))
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    made.recorder.add(live(1))
    with pytest.raises(StoreError, match="disk full"):
        await made.recorder.run()
    made.recorder.add(live(2))
    assert not made.recorder.empty
    other.execute("DROP TRIGGER full")
    other.close()
    await made.recorder.commit()
    assert made.stored == [1, 2]
    assert made.recorder.empty
    await box.close()


async def test_a_crowded_boot_ends_and_the_next_begins_with_a_keyframe(tmp_path: Path) -> None:
    """A reader of the records has the whole state afterwards."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    batcher = Batcher(EV, 1)
    made = Made(box, batcher)
    for number in range(MAX_ISLANDS + 5):
        batcher.offer({"battery.soc": number % 100, "vehicle.contactor": 1.0}, 10.0 * number, number)
        made.recorder.add(batcher.flush(10.0 * number) or pytest.fail("nothing is due"))
        event = LocalEvent("secc", "safety.opened", number, {"reason": "test"})
        made.recorder.add(batcher.event(event, number))
        await made.recorder.commit()
    assert made.boots == [2]
    found = [
        decode_record(row.body) for boot in (0, 1) for row in await box.pending((boot, 10**6 if boot else 0), 1000)
    ]
    begins = next(each for each in found if each.boot == 2)
    assert (begins.seq, begins.keyframe, set(begins.signals)) == (1, True, {"battery.soc", "vehicle.contactor"})
    mirror = BatchMirror()
    for each in found:
        mirror.apply(each)
    assert mirror.complete
    await box.close()


async def test_records_are_reported_as_stored_even_if_no_new_boot_can_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    made = Made(box, Batcher(EV, 1))
    last = 2 * MAX_ISLANDS
    for seq in range(1, last):
        await box.put(seq, b"", Priority.DIAGNOSTIC if seq % 2 else Priority.SETTLEMENT, seq)

    async def fail() -> int:
        raise StoreError("disk full")

    monkeypatch.setattr(box, "next_boot", fail)
    made.recorder.add(record(last, {"vehicle.contactor": 0.0}))
    with pytest.raises(StoreError):
        await made.recorder.commit()
    assert (made.stored, made.boots) == ([last], [])
    await box.close()


def test_priorities_follow_from_what_a_record_says() -> None:
    chooser = Prioritiser(summary_s=10)
    says = [
        (record(1, {"battery.soc": 50.0}, keyframe=True, utc_ms=1000), Priority.SUMMARY),
        (record(2, {"battery.soc": 50.0}, keyframe=True, utc_ms=2000), Priority.LIVE),
        (record(3, {"battery.cell_voltage.min": 3.7, "battery.temperature.coolant": 20.0}), Priority.DIAGNOSTIC),
        (record(4, {"battery.cell_voltage.imbalance": 0.06}), Priority.DIAGNOSTIC),  # what it means is a finding
        (record(5, {"battery.temperature.module.3": 21.0, "battery.coolant.flow": 9.5}), Priority.DIAGNOSTIC),
        (record(6, {"battery.contactor.negative": 0.0}), Priority.SAFETY),
        (record(7, {"vehicle.contactor": 0.0, "battery.soc": 49.0}), Priority.SAFETY),
        (record(8, {"battery.soc": 50.0}, keyframe=True, utc_ms=11_000), Priority.SUMMARY),
    ]
    assert [chooser.priority(each) for each, _ in says] == [expected for _, expected in says]


async def test_the_record_of_a_gap_ends_it(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1, max_bytes=1000)
    for seq in range(1, 20):
        await box.put(seq, bytes(200), Priority.DIAGNOSTIC, seq)
    (gap,) = await box.gaps()
    assert gap == Gap(Priority.DIAGNOSTIC, 14, 1, 14)
    made = Made(box, Batcher(EV, 1))
    event = LocalEvent("gateway", DROPPED, gap.last_ms, {"records": gap.count})
    made.recorder.add(record(20, {}), gap)
    assert Prioritiser().priority(Record(EV, 1, 1, 1, "parked", False, {}, event=event)) == Priority.SETTLEMENT  # noqa: FBT003
    await made.recorder.commit()
    assert [each.count for each in await box.gaps()] == [1]  # the one that made room for the report
    await box.close()


def test_a_recorder_waits_for_room_while_the_disk_fails() -> None:
    """Meanwhile changes are merged, instead of filling the memory."""

    class Fails:
        """An outbox whose disk fails."""

        async def put_all(self, _entries: object) -> int:
            raise StoreError("disk full")

    async def run() -> None:
        async def stored(_records: list[Record], _dropped: int, _prompt: bool) -> None:
            pytest.fail("nothing is stored")

        recorder = OutboxRecorder(Fails(), Prioritiser(), on_stored=stored, on_boot=lambda _: None)  # type: ignore[arg-type]
        for seq in range(1, 1001):
            await asyncio.wait_for(recorder.room(), 1)
            recorder.add(live(seq))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(recorder.room(), 1)

    in_simulated_time(run())
