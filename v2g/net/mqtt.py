"""MQTT 5 for asyncio, over TLS 1.3 unless the configuration says otherwise, by paho-mqtt (R80, R82).

paho runs its own network thread; everything the caller sees happens in the event loop. Connecting and reconnecting
with back-off are paho's; publishing before the connection stands waits until it does.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from v2g.errors import TransportError
from v2g.net.mqtt_config import MqttConfig


class MqttClient:
    """One connection. `on_message(topic, payload)` is called in the loop, and returns None or something to await.

    A message is acknowledged when it has returned and what it returned is done. An exception leaves the message
    unacknowledged, so the broker delivers it again. `will` is a topic and what the broker retains there when the
    connection is lost. `lasting` connections get what was retained, or came while they were away; others do not.
    """

    def __init__(
        self,
        config: MqttConfig,
        *,
        on_message: Callable[[str, bytes], Awaitable[None] | None] | None = None,
        on_connection: Callable[[bool], None] | None = None,
        will: tuple[str, bytes] | None = None,
        lasting: bool = True,
    ) -> None:
        """Raises TransportError for files that cannot be read."""
        self._config, self._lasting = config, lasting
        self._loop = asyncio.get_running_loop()
        self._on_message, self._on_connection = on_message, on_connection
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._subscriptions: list[str] = []
        self.connected = asyncio.Event()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id,
            protocol=paho.MQTTv5,
            manual_ack=on_message is not None,
        )
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        if not config.without_tls:
            client.tls_set_context(_tls_context(config))
        if config.username is not None:
            client.username_pw_set(config.username, _password(config))
        if will is not None:
            client.will_set(*will, qos=1, retain=True)

    def start(self) -> None:
        """Begin connecting; returns at once.

        `connected` is set whenever the broker has accepted us and, where there is a subscription, that too.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._config.session_expiry if self._lasting else 0
        self._client.connect_async(
            self._config.host,
            self._config.port,
            keepalive=self._config.keep_alive,
            clean_start=not self._lasting,
            properties=properties,
        )
        self._client.loop_start()

    def subscribe(self, topic: str) -> None:
        """Subscribe with QoS 1 at every connect; to be called before `start`."""
        self._subscriptions.append(topic)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and return when the broker has acknowledged.

        Raises TransportError when the connection is lost before that; the message may or may not have arrived.
        """
        await self.connected.wait()
        done = self._loop.create_future()
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise TransportError(f"MQTT publish refused: {paho.error_string(info.rc)}")
        self._waiting[info.mid] = done
        await done

    async def close(self, *, last: tuple[str, bytes] | None = None) -> None:
        """Disconnect and wait for paho's thread; `last` is a topic and what is retained there from now on."""
        if last is not None and self.connected.is_set():
            self._client.publish(*last, qos=1, retain=True)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    # paho's thread calls these; each hands over to the loop.

    def _connected(self, client: paho.Client, _user: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            return
        if self._subscriptions:
            retained = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
            if not self._lasting:
                retained = SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, retainHandling=retained)
            client.subscribe([(topic, options) for topic in self._subscriptions])
        else:
            self._call(self._set_connected, True)  # noqa: FBT003

    def _subscribed(self, _client: Any, _user: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        if not any(reason.is_failure for reason in reasons):
            self._call(self._set_connected, True)  # noqa: FBT003

    def _disconnected(self, _client: Any, _user: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        self._call(self._set_connected, False)  # noqa: FBT003

    def _published(self, _client: Any, _user: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._call(self._settle, mid, str(reason) if reason.is_failure else None)

    def _received(self, client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        self._call(self._deliver, client, message)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # These run in the loop.

    def _set_connected(self, connected: bool) -> None:
        if connected:
            self.connected.set()
        else:
            self.connected.clear()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(TransportError("MQTT connection lost before the acknowledgement"))
            self._waiting.clear()
        if self._on_connection is not None:
            self._on_connection(connected)

    def _settle(self, mid: int, failure: str | None) -> None:
        waiting = self._waiting.pop(mid, None)
        if waiting is None or waiting.done():
            return
        if failure is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(TransportError(f"MQTT broker refused the message: {failure}"))

    def _deliver(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        assert self._on_message is not None
        taken = self._on_message(message.topic, bytes(message.payload))
        if taken is None:
            client.ack(message.mid, message.qos)
        else:
            task = asyncio.ensure_future(taken)
            task.add_done_callback(lambda done: self._acknowledge(client, message, done))

    def _acknowledge(self, client: paho.Client, message: paho.MQTTMessage, done: asyncio.Future[None]) -> None:
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            logging.getLogger(__name__).error("message of %s not taken: %s", message.topic, error)
            return
        client.ack(message.mid, message.qos)


def _password(config: MqttConfig) -> str | None:
    if config.password_file is None:
        return None
    try:
        return config.password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"MQTT password in {config.password_file}: {error}") from None


def _tls_context(config: MqttConfig) -> ssl.SSLContext:
    """TLS 1.3 only, peer verified, own certificate when there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if config.ca is not None:
            context.load_verify_locations(config.ca)
        if config.chain is not None:
            context.load_cert_chain(config.chain, config.key)
    except OSError as error:
        raise TransportError(f"MQTT certificates: {error}") from None
    return context
