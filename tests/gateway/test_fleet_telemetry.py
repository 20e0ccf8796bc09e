"""Payloads of Fleet Telemetry by Kafka: what a gateway makes of their times, and what it reads again (R212)."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.gateway.control_unit import VIN
from tests.gateway.fleet import fleet_brokers, payload
from tests.gateway.gateway import EV, NOBODY, gateway, until_event
from tests.waiting import until
from v2g.errors import StoreError
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import Outbox
from v2g.observe import Observe
from v2g.telemetry.batch import Bands
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.signals import Record, decode_record
from v2g_gateway.sources import SOURCES, FleetKafka, Intake, SourceConfig

pytestmark = pytest.mark.requirement("R212")

FIRST_MS: Final = 1_750_000_000_000
SOCS: Final = [50 + each * 0.02 for each in range(300)]
"""Each is less than a dead band from the one before."""


async def kept(folder: Path) -> list[Record]:
    box = await Outbox.open(folder / "outbox.db", EV, 1)
    found = [decode_record(row.body) for row in await box.pending(limit=10_000)]
    await box.close()
    return found


async def recorded(folder: Path, payloads: Sequence[bytes], at_ms: Callable[[int], int], *, live: bool) -> list[Record]:
    """Return the records of payloads that are read at once, or each after the record of the one before (`live`)."""
    folder.mkdir()
    (consent := folder / "consent").write_text("battery\ndriving\n")  # it is read beside the loop for each record
    with fleet_brokers() as (producer, brokers):
        source = SourceConfig("tesla", kafka=FleetKafka(brokers), vin=VIN)

        def produce(number: int) -> None:
            producer.produce("tesla_V", payloads[number], key=VIN, timestamp=at_ms(number))
            assert producer.flush(60) == 0

        produce(0)
        if not live:
            for each in range(1, len(payloads)):
                produce(each)
        more: dict[str, Any] = {"rates": Bands(), "consent_file": consent, "sources": (source,)}
        async with gateway(folder, NOBODY, drain=0.0, **more) as (_, _, events):
            await until_event(events, "source_connected")
            number = 1
            while (count := await _count(folder)) < len(payloads):
                if live and count == number:
                    produce(number)
                    number += 1
                await asyncio.sleep(0.02)
    return await kept(folder)


async def _count(folder: Path) -> int:
    with sqlite3.connect(f"file:{folder}/outbox.db?mode=ro", uri=True) as box:
        return int(box.execute("SELECT count(*) FROM outbox").fetchone()[0])


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.some(1)
async def test_a_topic_that_is_read_again_gives_the_records_that_it_gave_live(tmp_path: Path, own: bool) -> None:
    """Each payload has a record of its own at its own time, else at that of its server, however late it is read."""

    def at_ms(number: int) -> int:
        return FIRST_MS + number * 250

    payloads = [payload(soc, at_ms=at_ms(number) if own else 0) for number, soc in enumerate(SOCS)]
    burst = await recorded(tmp_path / "burst", payloads, at_ms, live=False)
    assert [each.utc_ms for each in burst] == [at_ms(number) for number in range(len(SOCS))]
    assert [each.signals["battery.soc"] for each in burst] == pytest.approx(SOCS)
    live = await recorded(tmp_path / "live", payloads[:9], at_ms, live=True)
    assert [(each.utc_ms, each.signals, each.keyframe) for each in live] == [
        (each.utc_ms, each.signals, each.keyframe) for each in burst[:9]
    ]


SETTINGS: Final = {"session.timeout.ms": "6000", "auto.commit.interval.ms": "3600000"}
"""Brokers for tests let no member leave."""


def _committed(brokers: str) -> int:
    """Return from where a gateway would go on."""
    group = f"v2g-gateway-{hashlib.sha256(VIN.encode()).hexdigest()[:16]}"
    asking = Consumer({"bootstrap.servers": brokers, "group.id": group})
    found = [
        each.offset for each in asking.committed([TopicPartition("tesla_V", each) for each in range(4)], timeout=9)
    ]
    asking.close()
    return max(found)


async def test_what_the_outbox_does_not_have_yet_is_read_again_and_nothing_else() -> None:
    taken, may_store, events = list[float](), asyncio.Event(), list[Observe]()

    async def take(found: Sequence[Mapped]) -> None:
        taken.append(round(found[0].values["battery.soc"]))

    def following(brokers: str) -> asyncio.Task[None]:
        kafka = FleetKafka(brokers, properties=SETTINGS)
        source = SourceConfig("tesla", kafka=kafka, vin=VIN)
        intake = Intake(lambda _: None, lambda _: None, take, stored)
        return asyncio.create_task(SOURCES["tesla"](source, intake, events.append).run())

    async def stored() -> None:
        await may_store.wait()

    async def until_taken(number: int) -> None:
        await until(lambda: len(taken) >= number)

    with fleet_brokers() as (producer, brokers):
        for each in range(3):
            producer.produce("tesla_V", payload(each), key=VIN)
        assert producer.flush(60) == 0
        task = following(brokers)
        await until_taken(3)
        while not task.done():  # its end does not wait for a store that fails
            task.cancel()
            await asyncio.sleep(0.05)
        may_store.set()
        task = following(brokers)
        await until_taken(6)
        while _committed(brokers) != 3:  # at once: it may be killed
            await asyncio.sleep(0.05)
        await cancel_tasks(task)
        producer.produce("tesla_V", payload(3), key=VIN)
        assert producer.flush(60) == 0
        task = following(brokers)
        await until_taken(7)
        await cancel_tasks(task)
    assert taken == [0, 1, 2, 0, 1, 2, 3]


async def test_a_disk_that_fails_delays_payloads_and_loses_and_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all, failures = Outbox.put_all, 0

    async def failing(self: Outbox, entries: Any) -> int:
        nonlocal failures
        failures += 1
        if failures < 4:
            raise StoreError("the disk is full")
        return await put_all(self, entries)

    monkeypatch.setattr(Outbox, "put_all", failing)
    payloads = [payload(soc, at_ms=FIRST_MS + number) for number, soc in enumerate(SOCS)]
    records = await recorded(tmp_path / "disk", payloads, lambda _: FIRST_MS, live=False)
    assert [each.signals["battery.soc"] for each in records] == pytest.approx(SOCS)
