"""Vehicles over nodes: one node stores a vehicle's records, in their order, and another one when that node dies.

Real nodes with PostgreSQL and Redis, a real mosquitto, whose log and subscribers say what happened.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.csms.cluster.buses import redis_server
from tests.csms.databases import Cluster, running_cluster
from tests.telemetry.brokers import access, mosquitto
from tests.telemetry.nothing_lost import Field, field
from v2g.io.mqtt.client import MqttClient
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import Outbox
from v2g.telemetry.columns import decode_compact, encode_compact, is_compact
from v2g.telemetry.delivery import TOPIC_PREFIX, decode_marks, encode_delivery, marks_topic, records_topic
from v2g.telemetry.signals import Record, encode_record
from v2g_cli.demo.broker import Broker
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.uplink import MqttUplink

NOW_MS = time.time_ns() // 1_000_000
VEHICLES = [f"EV-{number}" for number in range(1, 9)]
PER_S = 20

pytestmark = [pytest.mark.requirement("R171", "R187"), pytest.mark.long]


class Uplink(MqttUplink):
    """Counts how often each record is sent."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sent = Counter[tuple[int, int]]()

    async def send(self, delivery: bytes) -> None:
        if is_compact(delivery):
            elements = [json.loads(bytes(each)) for each in decode_compact(delivery)]
            self.sent.update((each["boot"], each["seq"]) for each in elements if "seq" in each)
        await super().send(delivery)


class Vehicle:
    """A gateway without a bus: its outbox, and what delivers it."""

    def __init__(self, ev: str, box: Outbox, mqtt: MqttConfig) -> None:
        self.ev, self.box, self.seq = ev, box, 0
        self.delivery = UplinkDelivery(ev, box, lambda _: None, encode=encode_compact)
        self.uplink = Uplink(mqtt, TOPIC_PREFIX, ev, self.delivery.on_marks, boot=box.boot)

    async def make(self, records: int) -> None:
        """Bring so many records into the outbox."""
        for _ in range(records):
            self.seq += 1
            await self.box.put(self.seq, encode_record(record(self.ev, self.box.boot, self.seq)))
            self.delivery.wake()
            await asyncio.sleep(1 / PER_S)

    async def delivered(self) -> None:
        """Wait until the back end has everything."""
        while await self.box.waiting():
            await asyncio.sleep(0.05)


def record(ev: str, boot: int, seq: int) -> Record:
    return Record(ev, boot, seq, NOW_MS + seq, "charging", seq == 1, {"battery.soc": float(seq % 100)})


@contextlib.asynccontextmanager
async def vehicles(here: Field, pki: PkiTree, folder: Path) -> AsyncIterator[list[Vehicle]]:
    """Vehicles whose first record is stored: what follows is new, and sent in order."""
    found, tasks = list[Vehicle](), list["asyncio.Task[None]"]()
    for ev in VEHICLES:
        box = await Outbox.open(folder / f"{ev}.db", ev, 1_900_000_000)
        each = Vehicle(ev, box, access(here.broker, pki, ev))
        each.uplink.start()
        found.append(each)
        tasks.append(asyncio.create_task(each.delivery.run(each.uplink)))
    try:
        await asyncio.gather(*(each.make(1) for each in found))
        await asyncio.gather(*(each.delivered() for each in found))
        yield found
    finally:
        await cancel_tasks(*tasks)
        for each in found:
            await each.uplink.close()
            await each.box.close()


class Stream:
    """What an independent client reads of the stream: (boot, seq) by vehicle, in the order of arrival."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            found = json.loads(line)
            self.seen[found["ev"]].append((found["boot"], found["seq"]))

    async def close(self) -> None:
        self._process.terminate()
        await self._process.wait()
        await self._reading


def storing_nodes(broker: Broker, since: int) -> dict[str, set[str]]:
    """Return which nodes have answered each vehicle, by the broker's log from a place on."""
    log = (broker.folder / "mosquitto.log").read_text()[since:]
    found: dict[str, set[str]] = defaultdict(set)
    for node, ev in re.findall(r"Received PUBLISH from (\S+) \(.*'v2g/telemetry/vehicle/([^/]+)/marks'", log):
        found[ev].add(node)
    return found


def size(broker: Broker) -> int:
    return len((broker.folder / "mosquitto.log").read_text())


@contextlib.asynccontextmanager
async def two_nodes(tmp_path: Path, pki: PkiTree, broker: Broker) -> AsyncIterator[Field]:
    """Two nodes with shares of the slots, at a broker that logs every message."""
    conf = broker.folder / "mosquitto.conf"
    conf.write_text(conf.read_text() + "log_type all\nmax_topic_alias 0\n")
    with contextlib.ExitStack() as stack:
        cluster: Cluster = stack.enter_context(running_cluster())
        (tmp_path / "redis").mkdir()
        redis = stack.enter_context(redis_server(tmp_path / "redis"))
        more: dict[str, Any] = {"bus_url": redis.url, "bus_without_password": True}
        async with field(tmp_path, pki, broker, cluster.url(cluster.create()), 2, config=more) as here:
            slots = "SELECT node, count(*) FROM leases WHERE name LIKE 'telemetry slot %%' GROUP BY node"

            def shares() -> list[int]:
                return [count for _, count in here.store.do(lambda c: c.exec_driver_sql(slots).all())]

            await here.until(lambda: len(shares()) == 2 and sum(shares()) == 64, 60.0)
            yield here


async def test_one_node_stores_a_vehicle_in_order_and_another_when_it_dies(
    tmp_path: Path, pki: PkiTree, broker: Broker
) -> None:
    """Each record is stored once; vehicles of the living node stay with it; the stream has each vehicle's order, except
    for records that had to be sent again."""
    async with two_nodes(tmp_path, pki, broker) as here, vehicles(here, pki, tmp_path) as fleet:
        reader = mosquitto("mosquitto_sub", here.broker, pki, "telemetry-reader")
        command = [*reader, "-t", "v2g/telemetry/stream", "-q", "1"]
        stream = Stream(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
        begin = size(here.broker)
        await asyncio.gather(*(each.make(60) for each in fleet))
        await asyncio.gather(*(each.delivered() for each in fleet))
        before = storing_nodes(here.broker, begin)
        assert {ev: len(nodes) for ev, nodes in before.items()} == dict.fromkeys(VEHICLES, 1)
        assert {next(iter(nodes)) for nodes in before.values()} == {"csms-ingest", "csms-2"}
        making = [asyncio.create_task(each.make(100)) for each in fleet]
        await here.progress(80)
        here.nodes[0].kill()
        at_kill = size(here.broker)
        await asyncio.gather(*making)
        await asyncio.gather(*(each.delivered() for each in fleet))
        after = storing_nodes(here.broker, at_kill)
        assert {ev: after[ev] for ev in VEHICLES if before[ev] == {"csms-2"}} == {
            ev: {"csms-2"} for ev in VEHICLES if before[ev] == {"csms-2"}
        }
        assert all("csms-2" in after[ev] for ev in VEHICLES)
        await stream.close()
        for each in fleet:
            assert each.uplink.sent.total() >= each.seq
            order = [key for key in stream.seen[each.ev] if each.uplink.sent[key] == 1]
            assert order == sorted(set(order)), each.ev
        assert here.stored() == sum(each.seq for each in fleet)


async def test_a_gateway_that_knows_no_slots_keeps_working(tmp_path: Path, pki: PkiTree, broker: Broker) -> None:
    """It publishes at the topic of any node, in JSON, one delivery a record; one node stores them all."""
    async with two_nodes(tmp_path, pki, broker) as here:
        begin = size(here.broker)
        for ev in VEHICLES[:4]:
            marks: list[int] = []
            client = MqttClient(
                access(here.broker, pki, ev),
                client_id=ev,
                on_message=lambda _topic, payload, marks=marks: marks.append(decode_marks(payload)[0].contiguous),
            )
            client.subscribe(marks_topic(TOPIC_PREFIX, ev))
            client.start()
            await client.connected.wait()
            for seq in range(1, 21):
                assert await client.publish(
                    records_topic(TOPIC_PREFIX, ev), encode_delivery([encode_record(record(ev, 5, seq))])
                )
            async with asyncio.timeout(60):
                while not marks or marks[-1] < 20:
                    await asyncio.sleep(0.05)
            await client.close()
        nodes = storing_nodes(here.broker, begin)
        assert {ev: len(found) for ev, found in nodes.items()} == dict.fromkeys(VEHICLES[:4], 1)
        assert here.stored() == 80


async def test_a_broker_with_an_older_access_list_costs_the_order_and_no_record(
    tmp_path: Path, pki: PkiTree, broker: Broker
) -> None:
    """Neither nodes nor gateways may use topics of slots."""
    acl = broker.folder / "acl"
    acl.write_text("".join(line for line in acl.read_text().splitlines(keepends=True) if "slot" not in line))
    async with two_nodes(tmp_path, pki, broker) as here, vehicles(here, pki, tmp_path) as fleet:
        begin = size(here.broker)
        await asyncio.gather(*(each.make(20) for each in fleet))
        await asyncio.gather(*(each.delivered() for each in fleet))
        assert here.stored() == sum(each.seq for each in fleet)
        assert {node for nodes in storing_nodes(here.broker, begin).values() for node in nodes} == {
            "csms-ingest",
            "csms-2",
        }
