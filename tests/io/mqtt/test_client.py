"""MQTT 5 against a real broker, and against one that misbehaves."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from pki_tools.tree import PkiTree
from tests.proxy import WAYS, Proxy
from tests.telemetry.brokers import access, files, mosquitto
from tests.waiting import until
from v2g.errors import KeyAccessError, StoreError, TransportError
from v2g.io.mqtt.client import MAX_PACKET_BYTES, MqttClient
from v2g.io.mqtt.config import MqttConfig
from v2g_cli.demo.broker import Broker

TOPIC = "v2g/telemetry/vehicle/EV-1/records"


@contextlib.asynccontextmanager
async def joined(
    broker: Broker, pki: PkiTree, on_message: Callable[[str, bytes], object]
) -> AsyncIterator[tuple[MqttClient, MqttClient]]:
    """A client that publishes, and one that receives."""
    sink = MqttClient(access(broker, pki, "csms-ingest"), on_message=on_message)  # type: ignore[arg-type]
    sink.subscribe(TOPIC)
    sink.start()
    source = MqttClient(access(broker, pki, "EV-1"))
    source.start()
    async with asyncio.timeout(60):
        await sink.connected.wait()
        await source.connected.wait()
        yield sink, source
    await source.close()
    await sink.close()


@pytest.mark.requirement("R80", "R82")
async def test_a_published_message_reaches_a_subscriber_and_is_acknowledged(broker: Broker, pki: PkiTree) -> None:
    received: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    async with joined(broker, pki, lambda *message: received.put_nowait(message)) as (_sink, source):
        for number in range(20):
            assert await source.publish(TOPIC, str(number).encode())
        assert [await received.get() for _ in range(20)] == [(TOPIC, str(number).encode()) for number in range(20)]


async def test_that_nobody_listens_is_reported_to_whoever_publishes(broker: Broker, pki: PkiTree) -> None:
    source = MqttClient(access(broker, pki, "EV-1"))
    source.start()
    async with asyncio.timeout(60):
        assert not await source.publish(TOPIC, b"into the void")
    await source.close()


async def test_what_could_not_be_taken_is_tried_again_over_the_same_connection(broker: Broker, pki: PkiTree) -> None:
    """A broker delivers again after a reconnect only; until then unacknowledged messages would fill its window."""
    received: list[bytes] = []
    done = asyncio.Event()
    connections: list[bool] = []

    def take(_topic: str, payload: bytes) -> None:
        received.append(payload)
        if received.count(payload) < 2:
            raise StoreError("disk full")
        if len(received) == 2 * 200:
            done.set()

    sink = MqttClient(access(broker, pki, "csms-ingest"), on_message=take, on_connection=connections.append)
    sink.subscribe(TOPIC)
    sink.start()
    source = MqttClient(access(broker, pki, "EV-1"))
    source.start()
    async with asyncio.timeout(60):
        await sink.connected.wait()
        await asyncio.gather(*(source.publish(TOPIC, str(number).encode()) for number in range(200)))
        await done.wait()
    assert connections == [True]
    await source.close()
    await sink.close()


async def test_a_message_that_a_handler_chokes_on_does_not_stop_the_others(broker: Broker, pki: PkiTree) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    def take(_topic: str, payload: bytes) -> None:
        if payload == b"poison":
            raise ZeroDivisionError
        received.put_nowait(payload)

    async with joined(broker, pki, take) as (_sink, source):
        for _ in range(100):  # more than the broker sends before the first is acknowledged
            await source.publish(TOPIC, b"poison")
        await source.publish(TOPIC, b"good")
        assert await received.get() == b"good"


async def test_a_message_that_is_too_large_is_neither_sent_nor_received(pki: PkiTree, broker: Broker) -> None:
    """Else six messages of 200 MiB fill the receiver's memory, whose broker takes them."""
    config = broker.folder / "mosquitto.conf"
    config.write_text(config.read_text().replace("max_packet_size 262144\n", ""))
    broker.stop()
    generous = await asyncio.to_thread(broker.again)
    received: asyncio.Queue[bytes] = asyncio.Queue()
    async with joined(generous, pki, lambda _, payload: received.put_nowait(payload)) as (_sink, source):
        with pytest.raises(TransportError, match="allowed"):
            await source.publish(TOPIC, b"x" * MAX_PACKET_BYTES)
        arguments = ["-t", TOPIC, "-q", "1", "-s"]
        publish = [*mosquitto("mosquitto_pub", generous, pki, "EV-1"), *arguments]
        program = await asyncio.create_subprocess_exec(*publish, stdin=asyncio.subprocess.PIPE)
        await program.communicate(b"x" * 2 * MAX_PACKET_BYTES)  # the broker takes it
        assert program.returncode == 0
        await source.publish(TOPIC, b"small")
        assert await received.get() == b"small"
    generous.stop()


async def test_the_broker_of_the_demo_puts_out_whoever_sends_too_much(broker: Broker, pki: PkiTree) -> None:
    """Asked with a client that heeds no limit. What the broker says last can be lost with the connection that it
    resets; the client comes back and sends once more."""
    reasons: asyncio.Queue[str] = asyncio.Queue()
    loop, paths = asyncio.get_running_loop(), files(pki, "EV-1")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.tls_set(*(str(paths[name]) for name in ("ca", "chain", "key")))
    client.on_connect = lambda *_: client.publish(TOPIC, b"x" * MAX_PACKET_BYTES, qos=1)
    client.on_disconnect = lambda *facts: loop.call_soon_threadsafe(reasons.put_nowait, str(facts[3]))
    client.reconnect_delay_set(1, 1)  # each time it may be lost
    await asyncio.to_thread(client.connect, "127.0.0.1", broker.port)
    client.loop_start()
    async with asyncio.timeout(60):
        while (reason := await reasons.get()) != "Packet too large":
            assert reason == "Unspecified error"
    client.disconnect()
    await asyncio.to_thread(client.loop_stop)


async def test_a_lost_broker_fails_the_publish_and_is_found_again(pki: PkiTree, broker: Broker) -> None:
    changes: asyncio.Queue[bool] = asyncio.Queue()
    source = MqttClient(access(broker, pki, "EV-1"), on_connection=changes.put_nowait)
    source.start()
    async with asyncio.timeout(60):
        assert await changes.get() is True
        await asyncio.to_thread(broker.stop)
        assert await changes.get() is False
        assert source.problem
        second = await asyncio.to_thread(broker.again)
        assert await changes.get() is True
        assert source.problem == ""
        await source.publish(TOPIC, b"after")
    await source.close()
    second.stop()


class FakeBroker:
    """Answers CONNECT with `connack` (flags, reason, properties), and then sends what a test wants."""

    def __init__(self, *after: bytes | None, connack: bytes = b"\x00\x00\x00") -> None:
        self._after, self._connack = list(after), connack
        self.connections = 0
        self.connects: list[bytes] = []
        self.published: list[tuple[str, int, bytes]] = []
        """Of each PUBLISH with QoS 1: topic, alias (0: none) and payload."""
        self.unacknowledged: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> MqttConfig:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return MqttConfig(host="127.0.0.1", port=port, without_tls=True, keep_alive=1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        self.connects.append((await read_packet(reader))[1])
        writer.write(bytes([0x20, len(self._connack)]) + self._connack)
        said = self._after.pop(0) if self._after else None
        if said is not None:
            writer.write(said)
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await read_packet(reader)
                if kind & 0xF6 == 0x32:
                    self._take(writer, body)

    def _take(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        """Take a PUBLISH with QoS 1: topic, packet identifier, properties, payload (MQTT 5, 3.3)."""
        end = 2 + int.from_bytes(body[:2], "big")
        after = end + 3 + body[end + 2]
        properties, alias = body[end + 3 : after], 0
        while properties:
            wide = 3 if properties[0] == 0x23 else 2  # Topic Alias; Payload Format Indicator
            alias = int.from_bytes(properties[1:3], "big") if wide == 3 else alias
            properties = properties[wide:]
        self.published.append((body[2:end].decode(), alias, body[after:]))
        self.unacknowledged.append((writer, body[end : end + 2]))

    def acknowledge(self) -> None:
        """Send PUBACK for the oldest message."""
        writer, number = self.unacknowledged.pop(0)
        writer.write(b"\x40\x02" + number)

    async def stop(self) -> None:
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first octet of a packet, and its body (MQTT 5, 2.1)."""
    kind = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        octet = (await reader.readexactly(1))[0]
        size |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            return kind, await reader.readexactly(size)


@pytest.mark.requirement("R80", "R82")
async def test_no_more_messages_are_in_flight_than_the_broker_allows_and_their_topic_is_sent_once() -> None:
    """Receive Maximum 3, Topic Alias Maximum 1."""
    fake = FakeBroker(connack=b"\x00\x00\x06\x21\x00\x03\x22\x00\x01")
    client = MqttClient(await fake.start())
    client.start()
    async with asyncio.timeout(60):
        publishing = [asyncio.create_task(client.publish(TOPIC, b"%d" % n)) for n in range(10)]
        for acknowledged in range(8):
            while len(fake.published) < acknowledged + 3 or len(fake.unacknowledged) < 3:
                await asyncio.sleep(0.005)
            assert len(fake.unacknowledged) == 3
            fake.acknowledge()
        await until(lambda: len(fake.unacknowledged) >= 2)
        other = asyncio.create_task(client.publish("other", b"x"))
        await until(lambda: len(fake.published) >= 11)
        while fake.unacknowledged:
            fake.acknowledge()
        assert all(await asyncio.gather(*publishing, other))
    assert fake.published[:2] == [(TOPIC, 1, b"0"), ("", 1, b"1")]
    assert [payload for _, _, payload in fake.published[:10]] == [b"%d" % n for n in range(10)]
    assert fake.published[10] == ("other", 0, b"x")
    assert b"\x21\x00\x40" in fake.connects[0]  # our own Receive Maximum: 64
    assert b"\x11" + bytes(4) in fake.connects[0]  # Session Expiry Interval: 0
    await client.close()
    await fake.stop()


@pytest.mark.requirement("R80")
async def test_after_a_reconnect_nothing_old_is_sent_again_and_topics_are_named_anew() -> None:
    """An alias is known to its connection only, and the sender decides what is sent again."""
    fake = FakeBroker(None, None, connack=b"\x00\x00\x03\x22\x00\x05")
    changes: asyncio.Queue[bool] = asyncio.Queue()
    client = MqttClient(await fake.start(), on_connection=changes.put_nowait)
    client.start()
    async with asyncio.timeout(60):
        assert await changes.get() is True
        lost = [asyncio.create_task(client.publish(TOPIC, b"%d" % n)) for n in range(2)]
        await until(lambda: len(fake.published) >= 2)
        fake.unacknowledged[0][0].transport.abort()
        assert [type(each) for each in await asyncio.gather(*lost, return_exceptions=True)] == [TransportError] * 2
        assert [await changes.get(), await changes.get()] == [False, True]
        fake.unacknowledged.clear()
        again = asyncio.create_task(client.publish(TOPIC, b"again"))
        await until(lambda: fake.unacknowledged)
        fake.acknowledge()
        assert await again
    assert fake.published == [(TOPIC, 1, b"0"), ("", 1, b"1"), (TOPIC, 1, b"again")]
    await client.close()
    await fake.stop()


@pytest.mark.requirement("R101")
async def test_a_half_open_connection_is_found_within_one_and_a_half_keep_alives(broker: Broker, pki: PkiTree) -> None:
    """Also while the client sends: its octets go nowhere, without any error."""
    proxy = Proxy(broker.port)
    await proxy.start()
    changes: asyncio.Queue[bool] = asyncio.Queue()
    config = msgspec.structs.replace(access(broker, pki, "EV-1", keep_alive=4), port=proxy.port)
    client = MqttClient(config, on_connection=changes.put_nowait)
    client.start()
    time = asyncio.get_running_loop().time
    async with asyncio.timeout(60):
        assert await changes.get() is True
        for way in WAYS:
            proxy.be_deaf(way)
        begin = time()
        with pytest.raises(TransportError, match="connection lost"):
            await client.publish(TOPIC, b"unheard")
        assert await changes.get() is False
        assert time() - begin <= 6.0
        proxy.heal()
        assert await changes.get() is True
    await client.close()
    await proxy.close()


@pytest.mark.requirement("R80")
async def test_a_will_is_retained_once_the_connection_has_been_away_for_its_delay(broker: Broker, pki: PkiTree) -> None:
    """A short interruption is not reported; an orderly end is, at once."""
    proxy, topic = Proxy(broker.port), "v2g/telemetry/vehicle/EV-1/status"
    await proxy.start()
    seen: asyncio.Queue[bytes] = asyncio.Queue()
    reader = MqttClient(access(broker, pki, "telemetry-reader"), on_message=lambda _, payload: seen.put_nowait(payload))
    reader.subscribe("v2g/telemetry/vehicle/+/status")
    config = msgspec.structs.replace(access(broker, pki, "EV-1"), port=proxy.port)
    changes: asyncio.Queue[bool] = asyncio.Queue()
    client = MqttClient(config, will=(topic, b"dead"), will_delay_s=2, on_connection=changes.put_nowait)
    reader.start()
    async with asyncio.timeout(60):
        await reader.connected.wait()
        client.start()
        assert await changes.get() is True
        await client.publish(topic, b"born", retain=True)
        assert await seen.get() == b"born"
        proxy.cut()
        assert [await changes.get(), await changes.get()] == [False, True]
        await client.publish(topic, b"born again", retain=True)
        assert await seen.get() == b"born again"  # and no death before it
        await proxy.close()
        assert await seen.get() == b"dead"
        await client.close()
        shown = await asyncio.create_subprocess_exec(
            *mosquitto("mosquitto_sub", broker, pki, "telemetry-reader"), "-t", topic, "-C", "1",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert (await shown.communicate())[0] == b"dead\n"  # retained
    await reader.close()


async def test_a_packet_that_cannot_be_read_breaks_the_connection_and_not_the_client() -> None:
    """A PUBLISH of no length at all ends paho's thread for good, and nobody is notified."""
    fake = FakeBroker(b"\x32\x00")
    changes: asyncio.Queue[bool] = asyncio.Queue()
    client = MqttClient(await fake.start(), on_connection=changes.put_nowait, on_message=lambda *_: None)
    client.start()
    async with asyncio.timeout(60):
        assert [await changes.get() for _ in range(3)] == [True, False, True]
    assert fake.connections == 2
    await client.close()
    await fake.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho drops a socket whose TLS failed
async def test_a_broker_under_a_foreign_root_is_never_talked_to(broker: Broker, pki: PkiTree) -> None:
    stranger = MqttConfig(host="127.0.0.1", port=broker.port, ca=pki.path("v2g/root.pem"))
    client = MqttClient(stranger)
    client.start()
    await until(lambda: client.problem)
    assert not client.connected.is_set()
    await client.close()


@pytest.mark.requirement("R80")
async def test_the_broker_speaks_tls_1_3_only(broker: Broker, pki: PkiTree) -> None:
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/gateway/chain.pem"), pki.path("csms/gateway/leaf.key"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=context)


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    async def make() -> None:
        MqttClient(MqttConfig(host="localhost", ca=tmp_path / "nowhere.pem"))

    with pytest.raises(KeyAccessError, match="nowhere"):
        asyncio.run(make())
