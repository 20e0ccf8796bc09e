"""Telemetry by MQTT: through a real broker, stored once, answered with marks, and shown as a stream."""

import asyncio
import contextlib
import functools
import json
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from csms import app
from csms.accounts.rules import Role
from csms.db.store import Store
from csms.telemetry import subscriber
from csms.telemetry.config import MqttSource
from csms.telemetry.subscriber import TelemetrySubscriber
from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree
from tests.csms.api_support import T0
from tests.csms.conftest import Start
from tests.csms.databases import Databases
from tests.csms.support import TOKENS, Running
from tests.telemetry.brokers import access, mosquitto, source
from v2g.errors import TransportError
from v2g.io.http.client import HttpSession
from v2g.io.mqtt.client import MqttClient
from v2g.io.storage.outbox import Outbox, OutboxEntry
from v2g.io.tls.files import keep_renewed
from v2g.observe import Observe
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import TOPIC_PREFIX, DeliveryNotice, encode_delivery, encode_notice
from v2g.telemetry.signals import Record, encode_record
from v2g_cli.demo.broker import Broker
from v2g_gateway.delivery import UplinkDelivery
from v2g_gateway.uplink import MqttUplink

EV = "EV-1"
RECORDS = f"v2g/telemetry/vehicle/{EV}/records"
MARKS = f"v2g/telemetry/vehicle/{EV}/marks"
STREAM = "v2g/telemetry/stream"


def record(seq: int, soc: float = 50.0, ev: str = EV) -> bytes:
    return encode_record(Record(ev, 1, seq, T0 + seq, "charging", False, {"battery.soc": soc}))  # noqa: FBT003


class Vehicle:
    """A vehicle's connection, and the marks that it is sent."""

    def __init__(self, client: MqttClient, marks: "asyncio.Queue[list[dict[str, int]]]") -> None:
        self.client, self._marks = client, marks

    async def deliver(self, *elements: bytes, topic: str = RECORDS) -> None:
        await self.client.publish(topic, encode_delivery(elements))

    async def reaches(self, contiguous: int) -> None:
        """Wait for a mark."""
        while (await self._marks.get())[-1]["contiguous"] != contiguous:
            pass


@contextlib.asynccontextmanager
async def vehicle(broker: Broker, pki: PkiTree) -> AsyncIterator[Vehicle]:
    marks: asyncio.Queue[list[dict[str, int]]] = asyncio.Queue()
    client = MqttClient(access(broker, pki, EV), on_message=lambda _, payload: marks.put_nowait(json.loads(payload)))
    client.subscribe(MARKS)
    client.start()
    async with asyncio.timeout(60):
        await client.connected.wait()
        yield Vehicle(client, marks)
    await client.close()


async def stored(csms: Running) -> list[int]:
    """The numbers of the records in the database."""
    store = Store(f"sqlite:///{csms.config.data_dir / 'csms.sqlite3'}")
    found = store.do(lambda c: c.execute(text("SELECT seq FROM telemetry ORDER BY boot, seq")).scalars().all())
    store.close()
    return list(found)


@pytest.mark.requirement("R82", "R99")
async def test_records_are_stored_once_whatever_comes_twice_or_is_none(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    """A question is answered at once; what is repeated, contradicts or is nonsense does no harm."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        await car.deliver(encode_notice(DeliveryNotice(EV, 1)))
        await car.reaches(0)
        await car.deliver(record(1), record(2))
        await car.reaches(2)
        await car.deliver(b"17", record(2), record(3), record(3, soc=99.0))
        await car.reaches(3)
        await car.client.publish(RECORDS, b"\xff no delivery")
        assert (await csms.event("telemetry_refused"))["sender"] == csms.log_name(EV)
        assert await csms.event("telemetry_conflict") == {"ev": csms.log_name(EV), "boot": 1, "records": 1}
        assert await stored(csms) == [1, 2, 3]


async def test_nothing_is_acknowledged_to_a_vehicle_while_the_back_end_is_away(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    async with vehicle(broker, pki) as car:
        assert not await car.client.publish(RECORDS, encode_delivery([record(1)]))
        async with start(mqtt=source(broker, pki)) as csms:
            await csms.event("subscribed")
            await car.deliver(encode_notice(DeliveryNotice(EV, 1)))
            await car.reaches(0)
            await car.deliver(record(1))
            await car.reaches(1)
            assert await stored(csms) == [1]


@pytest.mark.long
async def test_a_store_that_fails_delays_records_and_loses_none(start: Start, broker: Broker, pki: PkiTree) -> None:
    """More messages fail than a broker sends unacknowledged; the same connection goes on afterwards."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        other = Store(f"sqlite:///{csms.config.data_dir / 'csms.sqlite3'}")
        full = "CREATE TRIGGER full BEFORE INSERT ON telemetry BEGIN INSERT INTO disk_full VALUES (1); END"
        other.do(lambda c: c.execute(text(full)))
        await asyncio.gather(*(car.deliver(record(seq)) for seq in range(1, 301)))
        assert "disk_full" in (await csms.event("telemetry_not_stored"))["reason"]
        other.do(lambda c: c.execute(text("DROP TRIGGER full")))
        other.close()
        await car.reaches(300)
        assert await stored(csms) == list(range(1, 301))
        assert len(csms.events("telemetry_not_stored")) < 5  # reported now and then, not 300 times


@pytest.mark.long
async def test_what_the_database_rejects_stops_no_ingest(start: Start, broker: Broker, pki: PkiTree) -> None:
    """As many messages as a broker sends unacknowledged have a record that no attempt can store."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        other = Store(f"sqlite:///{csms.config.data_dir / 'csms.sqlite3'}")
        for table, numbers in (
            ("telemetry", "NEW.seq <= 128 AND NEW.seq % 2"),
            ("telemetry_quarantine", "NEW.seq = 1"),
        ):
            poison = f"CREATE TRIGGER poison_{table} BEFORE INSERT ON {table} WHEN {numbers}"
            other.do(lambda c, poison=poison: c.execute(text(f"{poison} BEGIN SELECT RAISE(ABORT, 'poison'); END")))
        other.close()
        for seq in range(1, 129, 2):
            await car.deliver(record(seq), record(seq + 1))
        await car.deliver(record(129))
        await car.reaches(129)
        assert await stored(csms) == [*range(2, 129, 2), 129]
        assert "poison" in (await csms.event("telemetry_refused"))["reason"]
        assert "poison" in (await csms.event("telemetry_quarantined"))["reason"]
        assert csms.events("telemetry_not_stored") == csms.events("telemetry_missing") == []


async def test_a_vehicle_that_publishes_as_another_is_an_alarm_and_not_believed(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        with csms.csms.feed.subscribe({"telemetry_foreign"}) as alarms:
            await car.deliver(record(1, ev="EV-2"), record(1))
            assert await csms.event("telemetry_foreign") == {
                "sender": csms.log_name(EV),
                "ev": csms.log_name("EV-2"),
                "records": 2,
            }
            assert (await anext(alarms)).data["ev"] == csms.log_name("EV-2")
        assert await stored(csms) == []


def api(csms: Running, pki: PkiTree, path: str) -> HttpSession:
    """Return a client of the back end's interface, with a certificate of a gateway."""
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/gateway/chain.pem"), pki.path("csms/gateway/leaf.key"))
    return HttpSession(f"https://localhost:{csms.csms.ports['api']}{path}", most=10_000, timeout_s=10, context=context)


@pytest.mark.requirement("R85", "R99")
async def test_the_same_record_by_mqtt_and_by_http_is_stored_once(start: Start, broker: Broker, pki: PkiTree) -> None:
    """Also other content under its number is refused on either way."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        session = api(csms, pki, "/telemetry")

        async def post(*elements: bytes) -> dict[str, Any]:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}
            answer = await session.request("POST", encode_delivery(elements), headers)
            assert answer.ok, answer.body
            found: dict[str, Any] = json.loads(answer.body)
            return found

        await car.deliver(record(1), record(2))
        await car.reaches(2)
        by_http = await post(record(2), record(3))
        assert (by_http["stored"], by_http["duplicates"]) == (1, 1)
        assert by_http["high_water"][0]["contiguous"] == 3
        assert (await post(record(1, soc=99.0)))["conflicts"] == [{"ev": EV, "boot": 1, "seq": 1}]
        await car.deliver(record(3), record(4))
        await car.reaches(4)
        assert await stored(csms) == [1, 2, 3, 4]
        await session.close()


@pytest.mark.requirement("R80")
async def test_what_an_mqtt_3_1_1_client_publishes_is_refused(start: Start, broker: Broker, pki: PkiTree) -> None:
    """Mosquitto 2.1 refuses its connection; of older ones, which cannot, the back end takes nothing that it sends."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        command = mosquitto("mosquitto_pub", broker, pki, "EV-2")
        command[command.index("5")] = "mqttv311"
        topic = RECORDS.replace(EV, "EV-2")
        message = encode_delivery([record(1, ev="EV-2")]).decode()
        old = await asyncio.create_subprocess_exec(
            *command, "-t", topic, "-q", "1", "-m", message, stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await old.communicate()
        if old.returncode == 0:
            refused = await csms.event("telemetry_refused")
            assert (refused["sender"], "publish by MQTT 5" in refused["reason"]) == (csms.log_name("EV-2"), True)
        else:
            assert b"protocol version" in complaint
        await car.deliver(record(1))
        await car.reaches(1)
        assert await stored(csms) == [1]


@pytest.mark.long
async def test_a_stranger_gets_none_of_the_records_and_puts_nobody_out(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    """Neither by subscribing to everything, nor by joining a shared subscription, nor under the back end's client id,
    nor by publishing as another vehicle."""
    received: list[str] = []
    rogue = MqttClient(
        access(broker, pki, "EV-9", client_id="csms-ingest"), on_message=lambda topic, _: received.append(topic)
    )
    for topic in (
        "#",
        "v2g/telemetry/#",
        RECORDS,
        f"$share/csms/{RECORDS}",
        "$share/csms/v2g/telemetry/vehicle/+/records",
    ):
        rogue.subscribe(topic)
    async with start(mqtt=source(broker, pki, client_id="csms-ingest")) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        rogue.start()
        await rogue.connected.wait()
        with pytest.raises(Exception, match="Not authorized"):
            await rogue.publish(RECORDS, encode_delivery([record(1)]))
        for seq in range(1, 101):
            await car.deliver(record(seq))
        await car.reaches(100)
        assert await stored(csms) == list(range(1, 101))
        assert len(csms.events("subscribed")) == 1
        assert received == []
        await rogue.close()


@pytest.mark.requirement("R81")
async def test_the_stream_can_be_watched_with_mosquitto_sub(
    start: Start, broker: Broker, pki: PkiTree, tmp_path: Path
) -> None:
    """Every record that was stored, once and one in a message, at v2g/telemetry/stream."""
    async with start(mqtt=source(broker, pki)) as csms, vehicle(broker, pki) as car:
        await csms.event("subscribed")
        command = [*mosquitto("mosquitto_sub", broker, pki, "telemetry-reader"), "-t", STREAM, "-q", "1"]
        pipe = asyncio.subprocess.PIPE
        reader = await asyncio.create_subprocess_exec(*command, stdout=pipe)
        assert reader.stdout is not None
        seen: dict[int, Any] = {}
        first = 0
        while not seen:  # until it has subscribed
            first += 1
            await car.deliver(record(first))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    line = json.loads(await reader.stdout.readline())
                    seen[line["seq"]] = line
        await car.deliver(*(record(first + n) for n in range(1, 101)), record(first + 1))
        while len(seen) < 101:
            line = json.loads(await reader.stdout.readline())
            assert line["seq"] not in seen
            seen[line["seq"]] = line
        assert list(seen)[-100:] == list(range(first + 1, first + 101))
        assert encode_record(Record(**seen[first + 5])) == record(first + 5)
        reader.terminate()
        await reader.wait()


class Unsteady:
    """A client whose first message is lost with its connection."""

    def __init__(self, *_: object, **__: object) -> None:
        self.connected, self.published = asyncio.Event(), asyncio.Queue[bytes]()
        self._lost = False

    def subscribe(self, _: str) -> None: ...

    def start(self) -> None:
        self.connected.set()

    async def publish(self, _: str, payload: bytes) -> bool:
        await self.connected.wait()
        if not self._lost:
            self._lost = True
            self.connected.clear()
            asyncio.get_running_loop().call_soon(self.connected.set)
            raise TransportError("MQTT connection lost before the acknowledgement")
        self.published.put_nowait(payload)
        return True

    async def close(self) -> None: ...


async def test_a_lost_connection_takes_nothing_from_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers missed all that was stored and not yet published: hundreds of records."""
    client, listeners = Unsteady(), list[Any]()
    monkeypatch.setattr(subscriber, "MqttClient", lambda *_, **__: client)
    ingest: Any = SimpleNamespace(subscribe=listeners.append)
    streaming = TelemetrySubscriber(MqttSource(host="broker"), ingest, lambda _: None, client_id="node", group="g")
    await streaming.start()
    listeners[0]([record(1), record(2), record(3)])
    async with asyncio.timeout(60):
        assert [await client.published.get() for _ in range(3)] == [record(1), record(2), record(3)]
    await streaming.close()


async def test_without_readers_the_stream_costs_next_to_nothing(start: Start, broker: Broker, pki: PkiTree) -> None:
    """The broker says that nobody is subscribed."""
    config = broker.folder / "mosquitto.conf"
    config.write_text(config.read_text() + "log_type all\n")
    broker.stop()
    telling = await asyncio.to_thread(broker.again)
    async with start(mqtt=source(telling, pki)) as csms, vehicle(telling, pki) as car:
        await csms.event("subscribed")
        for first in range(1, 1000, 100):
            await car.deliver(*(record(seq) for seq in range(first, first + 100)))
            await car.reaches(first + 99)
    telling.stop()
    log = (broker.folder / "mosquitto.log").read_text()
    assert log.count(f"'{STREAM}'") < 50


@pytest.mark.long
async def test_two_nodes_share_the_deliveries_and_either_can_go(
    start: Start, broker: Broker, pki: PkiTree, tmp_path: Path, postgresql_databases: Databases
) -> None:
    """Nothing waits in the session of a node that has gone."""
    other = broker.folder / "acl"
    other.write_text(
        other.read_text().replace("user telemetry-reader", "user csms-2\n" + BACK_END + "\nuser telemetry-reader")
    )
    broker.stop()
    running = await asyncio.to_thread(broker.again)
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    both = {"store_url": postgresql_databases.create(), "store_key": key}
    async with vehicle(running, pki) as car, start(**both, mqtt=source(running, pki), data_dir=tmp_path / "1") as one:
        await one.event("subscribed")
        async with start(**both, mqtt=source(running, pki, "csms-2"), data_dir=tmp_path / "2") as two:
            await two.event("subscribed", 2)
            for seq in range(1, 101):
                await car.deliver(record(seq))
            await car.reaches(100)
        for seq in range(101, 151):
            await car.deliver(record(seq))
        await car.reaches(150)
    running.stop()


BACK_END = """topic read v2g/telemetry/vehicle/+/records
topic write v2g/telemetry/vehicle/+/marks
topic write v2g/telemetry/stream
"""


async def test_each_node_has_an_id_of_its_own_that_stays_the_same(
    start: Start, broker: Broker, pki: PkiTree, tmp_path: Path
) -> None:
    """At a broker that takes the id which a client names: nodes on one machine do not put each other out."""
    config = broker.folder / "mosquitto.conf"
    config.write_text(config.read_text().replace("use_username_as_clientid true\n", ""))
    broker.stop()
    running = await asyncio.to_thread(broker.again)
    async with start(mqtt=source(running, pki), data_dir=tmp_path / "1") as one:
        await one.event("subscribed")
        for times in (2, 3):
            async with start(mqtt=source(running, pki), data_dir=tmp_path / "2") as two:
                await two.event("subscribed", times)
    running.stop()
    log = (broker.folder / "mosquitto.log").read_text()
    assert "already connected" not in log
    ids = re.findall(r" as (csms-\S+) ", log)
    assert len(ids) == 3
    assert ids[0] != ids[1] == ids[2]


async def test_a_broker_that_is_away_does_not_keep_the_back_end_from_starting(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    broker.stop()
    async with start(mqtt=source(broker, pki)) as csms:
        assert "no connection" in (await csms.event("broker_unreachable"))["reason"]
        assert (await csms.event("ready"))["ocpp_port"]


@pytest.mark.requirement("R152")
async def test_a_renewed_certificate_is_shown_to_the_broker_and_deliveries_go_on(
    start: Start, broker: Broker, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "keep_renewed", functools.partial(keep_renewed, interval_s=0.02))
    tree = PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "tree")))
    async with start(mqtt=source(broker, tree)) as csms, vehicle(broker, pki) as ev:
        await ev.deliver(record(1))
        await ev.reaches(1)
        renew_certificate(tree.directory, "csms/ingest", Renewal(), at=datetime.now(UTC))
        assert (await csms.event("credentials_renewed"))["certificate"] == "csms-ingest"
        while (broker.folder / "mosquitto.log").read_text().count("as csms-ingest (") < 2:
            await asyncio.sleep(0.02)

        async def deliver() -> None:
            while True:
                await ev.deliver(record(2))
                await asyncio.sleep(0.05)

        delivering = asyncio.create_task(deliver())
        await ev.reaches(2)
        delivering.cancel()
        assert await stored(csms) == [1, 2]


async def deliver_all(broker: Broker, pki: PkiTree, path: Path, utc_s: int, count: int, soc: float) -> list[Observe]:
    """Deliver so many records of an outbox, which begins at a time; return the gateway's events."""
    events: list[Observe] = []
    box = await Outbox.open(path, EV, utc_s)
    first = Record(EV, box.boot, 1, T0, "parked", keyframe=True, signals={"battery.soc": soc})
    records = [msgspec.structs.replace(first, seq=seq) for seq in range(1, count + 1)]
    await box.put_all([OutboxEntry(each.seq, encode_record(each)) for each in records])
    delivery = UplinkDelivery(EV, box, events.append, encode=encode_compact)
    uplink = MqttUplink(access(broker, pki, EV), TOPIC_PREFIX, EV, delivery.on_marks, boot=box.boot)
    uplink.start()
    task = asyncio.create_task(delivery.run(uplink))
    async with asyncio.timeout(60):
        while await box.waiting():
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await uplink.close()
    await box.close()
    return events


@pytest.mark.some(1)
@pytest.mark.requirement("R97", "R98", "R173")
@pytest.mark.parametrize("clock_s", [1_900_000_000, 1_000])
async def test_an_outbox_that_repeats_a_boot_loses_no_record(
    start: Start, broker: Broker, pki: PkiTree, tmp_path: Path, clock_s: int
) -> None:
    """The first outbox is lost; the next one begins in the same second, or with a clock that was set back.

    The latest state is that of the new records.
    """
    async with start(mqtt=source(broker, pki)) as csms:
        await csms.event("subscribed")
        await deliver_all(broker, pki, tmp_path / "lost.db", 1_900_000_000, 300, 50.0)
        events = await deliver_all(broker, pki, tmp_path / "new.db", clock_s, 300, 60.0)
        assert await stored(csms) == [*range(1, 301), *range(1, 301)]
        refused = await csms.event("telemetry_boot_refused")
        assert (refused["ev"], refused["boot"], refused["next_boot"]) == (csms.log_name(EV), clock_s, 1_900_000_001)
        assert {"boot": clock_s, "number": 1_900_000_001} in [each.data for each in events]
        session = api(csms, pki, f"/vehicles/{EV}")
        answer = await session.request("GET", b"", {"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"})
        assert json.loads(answer.body)["values"]["battery.soc"]["value"] == 60.0
        await session.close()
