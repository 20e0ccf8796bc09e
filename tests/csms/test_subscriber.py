"""Telemetry by MQTT: through a real broker, stored once, acknowledged when stored."""

import asyncio

from cli.demo.broker import Broker
from csms.config import MqttSource
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from v2g.net.mqtt import MqttClient
from v2g.net.mqtt_config import MqttConfig
from v2g.telemetry.signals import Record, encode_record

TOPIC = "v2g/telemetry/stream"


def files(pki: PkiTree, leaf: str) -> dict[str, object]:
    return {
        "ca": pki.path("csms/root.pem"),
        "chain": pki.path(f"csms/{leaf}/chain.pem"),
        "key": pki.path(f"csms/{leaf}/leaf.key"),
    }


def source(broker: Broker, pki: PkiTree) -> MqttSource:
    return MqttSource(host="127.0.0.1", port=broker.port, client_id="csms", **files(pki, "ingest"))  # type: ignore[arg-type]


def record(seq: int, soc: float = 50.0) -> bytes:
    return encode_record(Record("EV-1", 1, seq, 1000 + seq, "charging", False, {"battery.soc": soc}))  # noqa: FBT003


async def test_records_are_stored_once_whatever_comes_twice_or_is_none(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    gateway = MqttClient(MqttConfig(host="127.0.0.1", port=broker.port, **files(pki, "gateway")))  # type: ignore[arg-type]
    gateway.start()
    async with start(mqtt=source(broker, pki)) as csms, asyncio.timeout(15):
        await csms.event("subscribed")
        for body in (record(1), record(2), b"\xff no record", record(2), record(3), record(3, soc=99.0)):
            await gateway.publish(TOPIC, body)
        await csms.event("telemetry_conflict")
        assert (await csms.event("telemetry_refused"))["reason"]
        assert csms.events("telemetry_stored")[-1]["highest"] == 3
        assert csms.events("telemetry_conflict") == [{"ev": "EV-1", "boot": 1, "seq": 3}]
    await gateway.close()


async def test_what_arrived_while_the_back_end_was_away_is_delivered_when_it_is_back(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    gateway = MqttClient(MqttConfig(host="127.0.0.1", port=broker.port, **files(pki, "gateway")))  # type: ignore[arg-type]
    gateway.start()
    async with asyncio.timeout(20):
        async with start(mqtt=source(broker, pki)) as csms:
            await csms.event("subscribed")
        for seq in range(1, 31):
            await gateway.publish(TOPIC, record(seq))
        async with start(mqtt=source(broker, pki)) as csms:
            while not csms.events("telemetry_stored") or csms.events("telemetry_stored")[-1]["highest"] < 30:
                await asyncio.sleep(0)
            assert sum(each["stored"] for each in csms.events("telemetry_stored")) == 30
    await gateway.close()


async def test_a_broker_that_is_away_does_not_keep_the_back_end_from_starting(
    start: Start, broker: Broker, pki: PkiTree
) -> None:
    nobody = source(Broker(1, broker.process), pki)
    async with start(mqtt=nobody) as csms:
        await csms.event("broker_unreachable")
        assert (await csms.event("ready"))["ocpp_port"]
