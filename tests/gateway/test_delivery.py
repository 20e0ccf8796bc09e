"""Delivery of an outbox to a back end's own judgement: priorities, gaps, and backfill beside new records."""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.telemetry.rules import (
    Boot,
    BootProgress,
    DeliveryOutcome,
    RecordKey,
    StoredContent,
    admit,
    judge,
    read_delivery,
    suspects,
)
from csms.telemetry.rules import Delivery as Judged
from tests.waiting import until
from v2g.errors import TransportError
from v2g.io.storage.outbox import Outbox, OutboxEntry
from v2g.telemetry.batch import Batcher
from v2g.telemetry.delivery import DeliveryNotice, Mark, encode_delivery, encode_notice
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.priority import LOW_RATE, Priority
from v2g.telemetry.signals import Record, encode_record
from v2g_gateway.delivery import Timeout, UplinkDelivery, UplinkPace

EV = "EV-1"


def record(boot: int, seq: int, fill: int = 0) -> bytes:
    signals: dict[str, float | int | str] = {"battery.soc": 50.0, **({"battery.voltage": 400.0} if fill else {})}
    return encode_record(Record(EV, boot, seq, seq, "parked", False, signals))  # noqa: FBT003


class BackEnd:
    """An uplink to a back end in memory that judges as ours does. `chance` decides which deliveries fail."""

    name = "judge"
    max_bytes = 20_000

    def __init__(self, *, parallel: int = 4, low_rate: bool = False, fails: float = 0.0, seed: int = 0) -> None:
        self.parallel, self.low_rate = parallel, low_rate
        self.progress: dict[Boot, BootProgress] = {}
        self.highest: dict[str, int] = {}
        self.claims: set[tuple[int, str]] = set()
        self.stored: dict[RecordKey, StoredContent] = {}
        self.order: list[RecordKey] = []
        self.duplicates = 0
        self.delivery: UplinkDelivery | None = None
        self.fails, self._chance = fails, random.Random(seed)
        self.bytes_per_s = 0.0
        self._free_at = 0.0
        self.at: dict[RecordKey, float] = {}
        self.records: dict[RecordKey, Record] = {}
        self.jitter_s = 0.0
        self.latency_s = 0.0
        self._under_way = self.most_under_way = 0

    def start(self) -> None:
        """See Uplink."""

    async def ready(self) -> None:
        """See Uplink."""

    async def send(self, delivery: bytes) -> None:
        """Take it, perhaps without an answer, perhaps not at all."""
        assert len(delivery) <= self.max_bytes
        await asyncio.sleep(0)
        if self.bytes_per_s:  # a line: one octet after the other
            loop = asyncio.get_running_loop()
            self._free_at = max(self._free_at, loop.time()) + len(delivery) / self.bytes_per_s
            await asyncio.sleep(self._free_at - loop.time())
        records = delivery.count(b'"seq"')
        self._under_way += records
        self.most_under_way = max(self.most_under_way, self._under_way)
        await asyncio.sleep(self.latency_s)
        if self.jitter_s:
            await asyncio.sleep(self._chance.uniform(0, self.jitter_s))
        self._under_way -= records
        if self._chance.random() < self.fails:
            raise TransportError("lost on the way")
        found = read_delivery(delivery)
        assert not found.refused
        outcome = self.judge(found)
        assert not outcome.deferred
        assert not outcome.conflicts
        self.duplicates += outcome.duplicates
        self.order += [each.key for each in outcome.fresh]
        self.records |= {each.key: each.record for each in outcome.fresh}
        self.at |= {each.key: asyncio.get_running_loop().time() for each in outcome.fresh}
        if self._chance.random() < self.fails:
            raise TransportError("lost on the way back")
        assert self.delivery is not None
        self.delivery.on_marks([mark.mark for mark in outcome.marks])

    def judge(self, found: Judged) -> DeliveryOutcome:
        """Judge a delivery, as the database's queries do."""
        admit(found, self.progress, self.highest)
        self.claims |= {(boot, boot_id) for (_, boot), boot_id in found.boot_ids.items()}
        seen = {boot: BootProgress() for boot in found.boots} | self.progress
        known = {key: self.stored[key] for key in suspects(found, seen) if key in self.stored}
        outcome = judge(found, seen, known, self.highest)
        self.stored |= known
        return outcome

    async def close(self) -> None:
        """See Uplink."""


@contextlib.asynccontextmanager
async def delivering(box: Outbox, back_end: BackEnd, timeout: Timeout | None = None) -> AsyncIterator[UplinkDelivery]:
    """Deliver meanwhile."""
    delivery = back_end.delivery = UplinkDelivery(EV, box, lambda _: None, timeout=timeout)
    task = asyncio.create_task(delivery.run(back_end))
    yield delivery
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def fill(box: Outbox, priorities: list[Priority], first: int = 1) -> None:
    """Add records of these priorities, changing the boot as a gateway does."""
    waiting: list[OutboxEntry] = []
    seq = first
    for priority in priorities:
        waiting.append(OutboxEntry(seq, record(box.boot, seq), priority, seq))
        seq += 1
        if len(waiting) == 20:
            await box.put_all(waiting)
            waiting.clear()
            if box.crowded:
                await box.next_boot()
                seq = 1
    await box.put_all(waiting)


def is_whole(back_end: BackEnd) -> bool:
    """Whether every mark has reached the highest number."""
    return all(each.arrived.contiguous == each.arrived.highest for each in back_end.progress.values())


async def emptied(box: Outbox, delivery: UplinkDelivery) -> None:
    async with asyncio.timeout(60):
        while await box.waiting():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(delivery.drain(), 0.1)


async def drop_between(folder: Path, kinds: list[Priority], rounds: int, keep: int) -> tuple[BackEnd, Outbox]:
    """Fill an outbox with kinds in turn, so that only the important half remains, and deliver it."""
    box = await Outbox.open(folder / "o.db", EV, 1, max_bytes=keep * len(record(1, 1000)))
    await fill(box, kinds * rounds)
    back_end = BackEnd()
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    assert is_whole(back_end)
    return back_end, box


async def deliver(folder: Path, back_end: BackEnd, count: int, at_s: int, soc: float) -> list[int]:
    """Deliver records of an outbox that begins at a time, and return the boots at the back end."""
    before = set(back_end.records)
    folder.mkdir()
    box = await Outbox.open(folder / "o.db", EV, at_s)
    batcher = Batcher(EV, box.boot)
    batcher.offer({"battery.soc": soc}, 0.0, 1, "city")
    for _ in range(count):
        each = batcher.event(LocalEvent("evcc", "session.ended", 1, {"soc": soc}), 1)
        await box.put(each.seq, encode_record(each), Priority.LIVE, 1)
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    await box.close()
    new = set(back_end.records) - before
    assert len(new) == count
    assert all(each.trip == f"{each.boot}-1" for each in (back_end.records[key] for key in new))
    return sorted({boot for _, boot, _ in new})


@pytest.mark.some(1)
@pytest.mark.requirement("R97", "R98")
@pytest.mark.parametrize("clock", [1_900_000_000, 1_000, 2_000_000_000])
async def test_an_outbox_that_repeats_a_boot_delivers_every_record(tmp_path: Path, clock: int) -> None:
    """After the loss of an outbox: begun in the same second, with a clock set back, or later."""
    back_end = BackEnd()
    (first,) = await deliver(tmp_path / "lost", back_end, 300, 1_900_000_000, 50.0)
    (second,) = await deliver(tmp_path / "new", back_end, 300, clock, 60.0)
    assert second > first
    assert back_end.duplicates == 0


async def test_two_devices_of_one_identity_take_nothing_from_each_other(tmp_path: Path) -> None:
    """They begin in the same second, from the same image, and neither deletes what the other has delivered."""
    await (await Outbox.open(tmp_path / "image.db", EV, 1_900_000_000)).close()
    back_end, boxes = BackEnd(), []
    for name in ("a.db", "b.db"):
        shutil.copy(tmp_path / "image.db", tmp_path / name)
        boxes.append(await Outbox.open(tmp_path / name, EV, 1_900_000_000))
    for box in boxes:
        await box.put_all([OutboxEntry(seq, record(box.boot, seq), Priority.LIVE, seq) for seq in range(1, 51)])
    for box in boxes:
        async with delivering(box, back_end) as delivery:
            await emptied(box, delivery)
        await box.close()
    assert len({boot for _, boot, _ in back_end.order}) == 2
    assert len(back_end.order) == 100


async def test_marks_of_another_outbox_delete_nothing(tmp_path: Path) -> None:
    """Whatever a back end says about the same number under another id, or under none."""
    box = await Outbox.open(tmp_path / "o.db", EV, 7)
    await box.put(1, record(7, 1))

    class Liar(BackEnd):
        async def send(self, delivery: bytes) -> None:
            found = read_delivery(delivery)
            assert self.delivery is not None
            for boot_id in ("", "00" * 8):
                self.delivery.on_marks([Mark(boot, 9, 9, boot_id=boot_id) for _, boot in found.boots])

    back_end = Liar()
    async with delivering(box, back_end, Timeout(0.05, 0.05)) as delivery:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(delivery.drain(), 0.3)
    assert await box.count() == 1
    await box.close()


@pytest.mark.requirement("R98", "R102")
@pytest.mark.parametrize("low_rate", [False, True])
async def test_records_go_on_after_an_outage_that_left_many_gaps_at_the_back_end(
    tmp_path: Path, low_rate: bool
) -> None:
    """An earlier connection brought every other one of 200 records; more come once the backlog is gone."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await box.put_all([OutboxEntry(seq, record(box.boot, seq), Priority.SUMMARY, seq) for seq in range(1, 201)])
    back_end = BackEnd(low_rate=low_rate)
    name = box.name(box.boot)
    named = encode_notice(DeliveryNotice(EV, name.number, boot_id=name.boot_id))
    back_end.judge(read_delivery(encode_delivery([named, *(record(box.boot, seq) for seq in range(2, 201, 2))])))
    async with delivering(box, back_end) as delivery, asyncio.timeout(60):
        while await box.count():
            await asyncio.sleep(0.01)
        await box.put(201, record(box.boot, 201), Priority.SUMMARY, 201)
        delivery.wake()
        while await box.count():
            await asyncio.sleep(0.01)
    assert back_end.progress[EV, box.boot].arrived.contiguous == 201


@pytest.mark.some(1)
@pytest.mark.requirement("R102", "R103")
@pytest.mark.parametrize("important", [Priority.SETTLEMENT, Priority.LIVE])
async def test_what_was_dropped_between_others_holds_up_no_mark(tmp_path: Path, important: Priority) -> None:
    """Each of 2000 records left has dropped ones beside it: far more ranges than a back end keeps of a boot."""
    back_end, box = await drop_between(tmp_path, [Priority.DIAGNOSTIC] * 4 + [important], 2000, keep=2300)
    assert box.dropped > 6000
    assert len(back_end.order) == 10_000 - box.dropped
    assert sum(each.lost for each in back_end.progress.values()) == box.dropped
    assert back_end.duplicates == 0
    await box.close()


@pytest.mark.long
@pytest.mark.requirement("R102", "R103")
async def test_a_million_diagnostics_dropped_between_settlements_hold_up_no_mark(tmp_path: Path) -> None:
    kinds = [Priority.DIAGNOSTIC] * 100 + [Priority.SETTLEMENT]
    back_end, box = await drop_between(tmp_path, kinds, 10_000, keep=11_000)
    assert box.dropped > 990_000
    assert len(back_end.order) == 1_010_000 - box.dropped
    await box.close()


@given(
    st.lists(st.lists(st.sampled_from(Priority), max_size=120), min_size=1, max_size=4),
    st.integers(300, 6000),
    st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=10)
def test_whatever_is_dropped_or_lost_on_the_way_each_mark_reaches_the_end(
    starts: list[list[Priority]], most: int, seed: int
) -> None:
    """Records come while others are delivered; the gateway dies between; deliveries and answers are lost."""

    async def run(folder: Path) -> None:
        back_end = BackEnd(fails=0.1, seed=seed)
        for priorities in starts:
            box = await Outbox.open(folder / "o.db", EV, 1, max_bytes=most)
            half = len(priorities) // 2
            await fill(box, priorities[:half])
            async with delivering(box, back_end) as delivery:
                for seq, priority in enumerate(priorities[half:], half + 1):
                    await box.put(seq, record(box.boot, seq), priority, seq)
                    delivery.wake()
            dropped = box.dropped
            await box.close()
        box = await Outbox.open(folder / "o.db", EV, 1, max_bytes=most)
        async with delivering(box, back_end) as delivery:
            await emptied(box, delivery)
        await box.close()
        assert is_whole(back_end)
        everything = {(EV, n, seq): kind for n, kinds in enumerate(starts, 1) for seq, kind in enumerate(kinds, 1)}
        assert len(back_end.order) == len(set(back_end.order))
        absent = everything.keys() - set(back_end.order)
        assert len(absent) <= dropped
        assert not [key for key in absent if everything[key] == Priority.SETTLEMENT]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_important_records_of_an_outage_go_first_and_then_the_rest_in_order(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await fill(box, ([Priority.LIVE] * 99 + [Priority.SETTLEMENT]) * 10)
    back_end = BackEnd(parallel=1)
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    numbers = [seq for _, _, seq in back_end.order]
    assert numbers[:10] == list(range(100, 1001, 100))
    assert numbers[10:] == sorted(set(range(1, 1001)) - set(numbers[:10]))
    assert back_end.duplicates == 0
    await box.close()


@pytest.mark.requirement("R120")
async def test_the_ends_of_earlier_boots_go_first(tmp_path: Path) -> None:
    """So that the back end knows, before it has records of later boots, that some before them are missing."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    boots = []
    for _ in range(3):
        boots.append(box.boot)
        await fill(box, [Priority.SAFETY] * 120 + [Priority.LIVE] * 80)
        await box.next_boot()
    back_end = BackEnd(parallel=1)
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    assert back_end.order[:3] == [(EV, boot, 200) for boot in boots]
    assert back_end.order[3:] == [
        *((EV, boot, seq) for boot in boots for seq in range(1, 121)),
        *((EV, boot, seq) for boot in boots for seq in range(121, 200)),
    ]
    assert back_end.duplicates == 0
    await box.close()


@pytest.mark.requirement("R98", "R120")
@pytest.mark.parametrize("boots", [2, 12])
async def test_boots_that_begin_on_a_connection_keep_their_order_whichever_delivery_arrives_first(
    tmp_path: Path, boots: int
) -> None:
    """Nodes of a back end take deliveries at different paces, and the later of two boots may arrive first."""

    class Overtaking(BackEnd):
        """Delivers records of other boots only after those of the last, or a question."""

        last, overtaken = 1, asyncio.Event()

        async def send(self, delivery: bytes) -> None:
            if b'"seq"' in delivery and not any(record(self.last, seq) in delivery for seq in (1, 2, 3)):
                await self.overtaken.wait()
            await super().send(delivery)
            if self.last > 1:
                self.overtaken.set()

    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await fill(box, [Priority.LIVE])
    back_end = Overtaking(parallel=boots + 1)
    async with asyncio.timeout(60), delivering(box, back_end) as delivery:
        await emptied(box, delivery)
        for _ in range(boots):
            back_end.last = await box.next_boot()
            await fill(box, [Priority.SETTLEMENT] * 3)
        delivery.wake()
        await emptied(box, delivery)
    assert set(back_end.records) == {
        (EV, 1, 1),
        *((EV, 2 + boot, 1 + seq) for boot in range(boots) for seq in range(3)),
    }
    await box.close()


@pytest.mark.requirement("R94")
async def test_a_low_rate_uplink_carries_important_records_only_and_the_rest_waits(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    kinds = [Priority.DIAGNOSTIC, Priority.LIVE, Priority.SUMMARY, Priority.LIVE, Priority.SETTLEMENT, Priority.SAFETY]
    await fill(box, kinds * 10)
    satellite = BackEnd(low_rate=True)
    async with asyncio.timeout(60), delivering(box, satellite) as delivery:
        await until(lambda: len(satellite.order) >= 30)
        await fill(box, kinds, first=61)  # while it is connected
        delivery.wake()
        await until(lambda: len(satellite.order) >= 33)
    assert {kinds[(seq - 1) % 6] for _, _, seq in satellite.order} == set(Priority) - {
        Priority.LIVE,
        Priority.DIAGNOSTIC,
    }
    assert LOW_RATE == Priority.SUMMARY
    satellite.low_rate = False  # the usual uplink again: the same back end
    async with delivering(box, satellite) as delivery:
        await emptied(box, delivery)
    assert len(satellite.order) == 66
    assert is_whole(satellite)
    await box.close()


@pytest.mark.long
@pytest.mark.requirement("R102")
async def test_a_backlog_does_not_hold_up_new_records(tmp_path: Path) -> None:
    """0.8 MB wait for a line of 400 kB/s, and new records come meanwhile: each arrives long before the backlog has."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await fill(box, [Priority.LIVE] * 8000)
    back_end = BackEnd()
    back_end.max_bytes, back_end.bytes_per_s = 256_000, 400_000
    put: dict[int, float] = {}
    time = asyncio.get_running_loop().time
    async with asyncio.timeout(60), delivering(box, back_end) as delivery:
        await until(lambda: back_end.order)
        for seq in range(8001, 8041):
            put[seq] = time()
            await box.put(seq, record(box.boot, seq), Priority.LIVE, seq)
            delivery.wake()
            await asyncio.sleep(0.02)
        await emptied(box, delivery)
    ended = max(back_end.at.values())
    late = {seq: back_end.at[EV, 1, seq] - at for seq, at in put.items()}
    position = {seq: back_end.order.index((EV, 1, seq)) for seq in put}
    assert max(position.values()) < 6000  # none waits for the backlog
    assert sorted(late.values())[20] < 0.5 < ended - min(put.values())
    assert is_whole(back_end)
    await box.close()


async def test_what_was_new_before_an_interruption_does_not_wait_for_the_backlog_after_it(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await fill(box, [Priority.LIVE] * 6000)
    back_end = BackEnd()
    back_end.bytes_per_s = 200_000
    async with asyncio.timeout(60), delivering(box, back_end) as delivery:
        await until(lambda: back_end.order)
        back_end.fails = 1.0
        for seq in range(6001, 6021):
            await box.put(seq, record(box.boot, seq), Priority.LIVE, seq)
            delivery.wake()
        await until(lambda: not delivery.working.is_set())
        back_end.fails = 0.0
        await delivery.working.wait()
        await emptied(box, delivery)
    assert max(back_end.order.index((EV, 1, seq)) for seq in range(6001, 6021)) < 3000
    assert is_whole(back_end)
    await box.close()


@pytest.mark.requirement("R100")
async def test_the_route_of_an_hour_without_a_link_is_complete_afterwards(tmp_path: Path) -> None:
    """One position a second, in the order of the drive; the gateway starts again in between."""
    route = [(round(48.0 + n / 10_000, 6), round(11.0 + n / 20_000, 6)) for n in range(3600)]
    positions = iter(enumerate(route))
    for _ in range(2):
        box = await Outbox.open(tmp_path / "o.db", EV, 1)
        entries = []
        for seq in range(1, 1801):
            second, (latitude, longitude) = next(positions)
            signals: dict[str, float | int | str] = {"location.latitude": latitude, "location.longitude": longitude}
            body = encode_record(Record(EV, box.boot, seq, 1000 * second, "highway", False, signals))  # noqa: FBT003
            entries.append(OutboxEntry(seq, body, Priority.LIVE, 1000 * second))
        await box.put_all(entries)
        if box.boot == 1:
            await box.close()
    back_end = BackEnd(fails=0.1, seed=1)
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    await box.close()
    found = [back_end.records[key] for key in sorted(back_end.records)]
    assert [(each.signals["location.latitude"], each.signals["location.longitude"]) for each in found] == route
    assert [each.utc_ms for each in found] == [1000 * second for second in range(3600)]


@pytest.mark.requirement("R83", "R93")
async def test_latency_and_reorder_of_the_link_neither_lose_nor_repeat_nor_slow_the_gateway(tmp_path: Path) -> None:
    """Deliveries take up to 2 s and pass each other; meanwhile records come into the outbox as fast as ever."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    back_end = BackEnd(parallel=8)
    back_end.jitter_s = 2.0
    time, longest = asyncio.get_running_loop().time, 0.0
    async with delivering(box, back_end) as delivery:
        for seq in range(1, 151):
            begin = time()
            await box.put(seq, record(1, seq), Priority.LIVE, seq)
            longest = max(longest, time() - begin)
            delivery.wake()
            await asyncio.sleep(0.02)
        await emptied(box, delivery)
    await box.close()
    assert longest < 1.0  # a disk's time, not the link's
    assert back_end.order != sorted(back_end.order)  # they did pass each other
    assert sorted(back_end.order) == [(EV, 1, seq) for seq in range(1, 151)]
    assert [back_end.records[key].utc_ms for key in sorted(back_end.records)] == list(range(1, 151))
    assert back_end.duplicates == 0
    assert is_whole(back_end)


@pytest.mark.requirement("R83", "R102")
async def test_a_backlog_fills_a_link_with_much_latency(tmp_path: Path) -> None:
    """With 4 s of a round trip, 100 records under way are the 25 a second of fast charging, and no backlog ends."""
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    await fill(box, [Priority.LIVE] * 3000)
    back_end = BackEnd(parallel=20)
    back_end.max_bytes, back_end.latency_s = 4096, 0.6
    async with delivering(box, back_end) as delivery:
        await emptied(box, delivery)
    await box.close()
    assert back_end.most_under_way >= 400
    assert back_end.duplicates == 0
    assert is_whole(back_end)


@pytest.mark.requirement("R83")
async def test_a_link_slower_than_the_timeout_is_not_filled_with_repetitions(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.db", EV, 1)
    back_end = BackEnd()
    back_end.latency_s = 0.2
    async with delivering(box, back_end, Timeout(0.05, 10.0)) as delivery:
        for seq in range(1, 61):
            await box.put(seq, record(1, seq), Priority.LIVE, seq)
            delivery.wake()
            await asyncio.sleep(0.02)
        await emptied(box, delivery)
    await box.close()
    assert back_end.duplicates == 0
    assert is_whole(back_end)


def test_the_timeout_follows_the_round_trip_within_its_bounds() -> None:
    timeout = Timeout()
    assert timeout.seconds == 5.0
    timeout.took(4.0)
    assert timeout.seconds == 12.0  # RFC 6298, 2.2: R + 4 * R / 2
    timeout.took(4.0)
    assert timeout.seconds == 10.0  # 2.3: the deviation falls by a quarter
    timeout.expired()
    assert timeout.seconds == 20.0
    for _ in range(3):
        timeout.expired()
    assert timeout.seconds == 60.0
    for _ in range(50):
        timeout.took(0.1)
    assert timeout.seconds == 5.0


def test_backfill_grows_until_it_delays_and_then_gives_way() -> None:
    pace = UplinkPace(256_000)
    for _ in range(10):
        pace.took(0.6)  # a satellite's round trip is no congestion
    assert pace.size == 256_000
    pace.took(0.9)
    assert pace.size == 128_000
    for _ in range(20):
        pace.took(0.9)
    assert pace.size == 4096
    assert UplinkPace(1000).size == 1000
