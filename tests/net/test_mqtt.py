"""MQTT 5 against a real broker."""

import asyncio
import ssl
from pathlib import Path

import pytest

from cli.demo.broker import Broker, find_mosquitto, start_broker
from pki_tools.tree import PkiTree
from v2g.errors import TransportError
from v2g.net.mqtt import MqttClient
from v2g.net.mqtt_config import MqttConfig

TOPIC = "v2g/telemetry/stream"


def config(broker: Broker, pki: PkiTree, leaf: str, **more: object) -> MqttConfig:
    return MqttConfig(
        host="127.0.0.1",
        port=broker.port,
        ca=pki.path("csms/root.pem"),
        chain=pki.path(f"csms/{leaf}/chain.pem"),
        key=pki.path(f"csms/{leaf}/leaf.key"),
        **more,  # type: ignore[arg-type]
    )


async def test_a_published_message_reaches_a_subscriber_and_is_acknowledged(broker: Broker, pki: PkiTree) -> None:
    received: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    sink = MqttClient(
        config(broker, pki, "ingest", client_id="sink"), on_message=lambda *message: received.put_nowait(message)
    )
    sink.subscribe(TOPIC)
    sink.start()
    source = MqttClient(config(broker, pki, "gateway", client_id="source"))
    source.start()
    async with asyncio.timeout(10):
        await sink.connected.wait()
        for number in range(20):
            await source.publish(TOPIC, str(number).encode())
        got = [(await received.get())[1] for _ in range(20)]
    assert got == [str(number).encode() for number in range(20)]
    await source.close()
    await sink.close()


async def test_what_the_subscriber_failed_to_take_comes_again(broker: Broker, pki: PkiTree) -> None:
    """A message whose handler raised is not acknowledged, so the persistent session still owes it."""
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: failed.set())

    def refuse(_topic: str, _payload: bytes) -> None:
        raise OSError("disk full")

    sink = MqttClient(config(broker, pki, "ingest", client_id="sink"), on_message=refuse)
    sink.subscribe(TOPIC)
    sink.start()
    source = MqttClient(config(broker, pki, "gateway", client_id="source"))
    source.start()
    received: asyncio.Queue[bytes] = asyncio.Queue()
    async with asyncio.timeout(10):
        await sink.connected.wait()
        await source.publish(TOPIC, b"precious")
        await failed.wait()
        await sink.close()
        again = MqttClient(
            config(broker, pki, "ingest", client_id="sink"), on_message=lambda _, payload: received.put_nowait(payload)
        )
        again.subscribe(TOPIC)
        again.start()
        assert await received.get() == b"precious"
    await again.close()
    await source.close()


async def test_a_lost_broker_fails_the_publish_and_is_found_again(pki: PkiTree, tmp_path: Path, broker: Broker) -> None:
    changes: asyncio.Queue[bool] = asyncio.Queue()
    source = MqttClient(config(broker, pki, "gateway"), on_connection=changes.put_nowait)
    source.start()
    async with asyncio.timeout(20):
        assert await changes.get() is True
        await asyncio.to_thread(broker.stop)
        assert await changes.get() is False
        program = find_mosquitto()
        assert program is not None
        names = {
            "ca": pki.path("csms/root.pem"),
            "chain": pki.path("csms/broker/chain.pem"),
            "key": pki.path("csms/broker/leaf.key"),
        }
        second = await asyncio.to_thread(lambda: start_broker(program, tmp_path / "again", broker.port, **names))
        assert await changes.get() is True
        await source.publish(TOPIC, b"after")
    await source.close()
    second.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho drops a socket whose TLS failed
async def test_a_broker_under_a_foreign_root_is_never_talked_to(broker: Broker, pki: PkiTree) -> None:
    stranger = MqttConfig(host="127.0.0.1", port=broker.port, ca=pki.path("v2g/root.pem"))
    client = MqttClient(stranger)
    client.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.connected.wait(), 1.5)
    await client.close()


async def test_the_broker_speaks_tls_1_3_only(broker: Broker, pki: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/gateway/chain.pem"), pki.path("csms/gateway/leaf.key"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=context)


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    async def make() -> None:
        MqttClient(MqttConfig(host="localhost", ca=tmp_path / "nowhere.pem"))

    with pytest.raises(TransportError, match="certificates"):
        asyncio.run(make())
