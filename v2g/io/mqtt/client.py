"""MQTT 5 for asyncio, over TLS 1.3 unless the configuration says otherwise, by paho-mqtt (R80, R82).

paho runs its own network thread; callbacks to the caller run in the event loop. Connecting and reconnecting
with back-off are paho's; messages published before the connection are queued.

No connection leaves messages at the broker: every connection begins a new session, so that none waits for an absent
reader. Receipt must be confirmed by the application, which otherwise sends again.

Messages to a broker that allows it carry a topic alias instead of their topic, from the second one on; no more are
unacknowledged than its Receive Maximum. Each has a Payload Format Indicator, which only MQTT 5 has.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from v2g.errors import TransportError, V2GError
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import ArgumentTs, Backoff, cancel_tasks, spawn
from v2g.io.tls.files import RenewedContext, client_context
from v2g.observe import Observe

_log = logging.getLogger(__name__)

RECEIVE_MAXIMUM: Final = 64
"""Messages that a broker may send before the first of them is acknowledged."""

_ANY_NUMBER: Final = 65_535
"""Receive Maximum of a broker that does not send one."""

_ALIASES: Final = 16
"""Maximum number of topic aliases used of those that a broker allows."""

LAST_S: Final = 1.0
"""How long a connection that ends waits for the acknowledgement of its last message."""

MAX_PACKET_BYTES: Final = 262_144
"""Larger packets are not sent, and are excluded by Maximum Packet Size."""

_HEADERS: Final = 64
"""Maximum bytes of a PUBLISH besides topic and payload, without properties."""

_NO_MATCHING_SUBSCRIBERS: Final = 0x10
_BROKEN_PAUSE_S: Final = 1.0


class _Client(paho.Client):
    """paho's client with a network thread that survives packets which paho cannot decode."""

    def __init__(self, client_id: str, broken: Callable[[Exception], None], *, manual_ack: bool) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=manual_ack)
        self._broken = broken
        self._ending, self._renewing = threading.Event(), threading.Event()

    def renew(self) -> None:
        """Disconnect; the network thread then connects again."""
        self._renewing.set()
        self.disconnect()

    def end(self) -> None:
        """Disconnect, and wait for the network thread."""
        self._ending.set()
        self.disconnect()
        self.loop_stop()

    def _messages_reconnect_reset_out(self) -> None:
        """Forget unacknowledged messages: they ended with their session, whose topic aliases they may have, and their
        senders have had an error. paho would send them again."""
        with self._out_message_mutex:
            self._out_messages.clear()
            self._inflight_messages = 0

    def forget_callbacks(self) -> None:
        """Drop all references: paho closes its last sockets once nothing refers to it."""
        self.on_connect = self.on_connect_fail = self.on_disconnect = None
        self.on_publish = self.on_subscribe = self.on_message = None
        self._broken = lambda _error: None

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """Run until `end`; paho's thread calls this."""
        while True:
            try:
                code = super().loop_forever(timeout, retry_first_connection)
                if self._ending.is_set() or not self._renewing.is_set():
                    return code
                self._renewing.clear()
            except Exception as error:  # noqa: BLE001 - paho does not wrap errors of its packet decoder
                self._broken(error)
                if self._ending.wait(_BROKEN_PAUSE_S):
                    return MQTTErrorCode.MQTT_ERR_CONN_LOST
            with contextlib.suppress(Exception):  # the next iteration reports it
                self.reconnect()


class MqttClient:
    """One connection. `on_message(topic, payload)` is called in the loop, and returns None or an awaitable.

    A message is acknowledged when the call and its awaitable are done. After a V2GError it is called again
    with the same message, after growing pauses, until it succeeds: a broker does not deliver twice over one connection.
    Any other exception is logged, and the message dropped. At most 64 messages are handled at a time.

    `will` is a topic and the payload that the broker retains there when the connection is lost, and has not come back
    within `will_delay_s`. `client_id` replaces an empty one in `config`. With `on_unmarked(topic)` a message without
    Payload Format Indicator, so not published by MQTT 5 as our interface demands, is reported there instead.
    """

    def __init__(
        self,
        config: MqttConfig,
        *,
        client_id: str = "",
        on_message: Callable[[str, bytes], Awaitable[None] | None] | None = None,
        on_connection: Callable[[bool], None] | None = None,
        will: tuple[str, bytes] | None = None,
        will_delay_s: int = 0,
        on_unmarked: Callable[[str], None] | None = None,
        observe: Callable[[Observe], None] = lambda _: None,
    ) -> None:
        """`observe` gets events of renewed certificates. Raises KeyAccessError, TransportError for unusable files."""
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._on_message, self._on_connection = on_message, on_connection
        self._on_unmarked = on_unmarked
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._room = asyncio.Event()
        self._most_in_flight = _ANY_NUMBER
        self._aliases: dict[str, int] = {}
        self._most_aliases = 0
        self._will_delay_s = will_delay_s
        self._subscriptions: list[str] = []
        self._followed: frozenset[str] = frozenset()
        self._first_mid: int | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._slots = threading.Semaphore(RECEIVE_MAXIMUM)
        self._connection = 0
        self._closed = False
        self._problem = self._failing = ""
        self.connected = asyncio.Event()
        self.max_packet_bytes = MAX_PACKET_BYTES
        """The largest packet that the broker accepts, if known."""
        # what may raise comes before paho's sockets
        context = None if config.without_tls else client_context(config.ca, config.chain, config.key)
        password = None if config.username is None else _password(config)
        self._client = client = _Client(config.client_id or client_id, self._broken, manual_ack=on_message is not None)
        client.on_connect = self._connected
        client.on_connect_fail = self._not_connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.max_inflight_messages_set(_ANY_NUMBER)  # `publish` waits instead
        self._renewed: RenewedContext | None = None
        if context is not None:
            client.tls_set_context(context)
            if config.chain is not None:
                key = config.key or config.chain
                self._renewed = RenewedContext(context, config.chain, key, observe, client.renew)
        if config.username is not None:
            client.username_pw_set(config.username, password)
        if will is not None:
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            properties.WillDelayInterval = will_delay_s
            client.will_set(*will, qos=1, retain=True, properties=properties)

    @property
    def problem(self) -> str:
        """Why there is no connection; empty while connected or unknown."""
        return self._problem

    def start(self) -> None:
        """Begin connecting; returns at once.

        `connected` is set whenever the broker has accepted the connection and any subscription.
        """
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._will_delay_s  # a will waits no longer than its session lasts
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect_async(
            self._config.host,
            self._config.port,
            keepalive=_keep_alive(self._config.keep_alive),
            clean_start=True,
            properties=properties,
        )
        self._client.loop_start()

    def poll(self) -> None:
        """Connect again if the own certificate was renewed; an unusable one is reported, and the connection stays.

        What the broker has not acknowledged by then fails, and is for its sender to send again.
        """
        if self._renewed is not None:
            self._renewed.poll()

    def subscribe(self, topic: str) -> None:
        """Subscribe with QoS 1 at every connect; to be called before `start`. Retained messages are not delivered."""
        self._subscriptions.append(topic)

    def follow(self, topics: Iterable[str]) -> None:
        """Subscribe to these topics from now on, besides those of `subscribe`, and to no others of before.

        A broker that refuses one of them is left connected.
        """
        before, self._followed = self._followed, frozenset(topics)
        if self.connected.is_set():
            if new := self._followed - before:
                self._client.subscribe(_options(new))
            if gone := before - self._followed:
                self._client.unsubscribe(sorted(gone))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, utf8: bool = True) -> bool:
        """Publish with QoS 1 and return when the broker has acknowledged: whether there are subscribers.

        Waits while as many messages are unacknowledged as the broker allows. `utf8`: whether the payload is text. A
        broker that does not report subscribers counts as having some. Raises TransportError when the message is too
        large or rejected, or the connection is lost before the acknowledgement; it may still have arrived.
        """
        await self.connected.wait()
        while len(self._waiting) >= self._most_in_flight:
            self._room.clear()
            await self._room.wait()
            await self.connected.wait()
        self._check_size(topic, payload)
        done: asyncio.Future[bool] = self._loop.create_future()
        name, properties = self._named(topic, utf8=utf8)
        info = self._client.publish(name, payload, qos=1, retain=retain, properties=properties)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise TransportError(f"MQTT publish refused: {paho.error_string(info.rc)}")
        self._waiting[info.mid] = done
        return await done

    def offer(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0: it arrives unless the connection is lost. Raises TransportError when it is too large."""
        self._check_size(topic, payload)
        if self.connected.is_set():
            name, properties = self._named(topic, utf8=True)
            self._client.publish(name, payload, qos=0, properties=properties)

    def _named(self, topic: str, *, utf8: bool) -> tuple[str, Properties]:
        """Return the topic of a PUBLISH, empty if the broker knows its alias, and the properties."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = int(utf8)
        alias = self._aliases.get(topic)
        if alias is not None:
            properties.TopicAlias = alias
            return "", properties
        if len(self._aliases) < self._most_aliases:
            properties.TopicAlias = self._aliases[topic] = len(self._aliases) + 1
        return topic, properties

    def _check_size(self, topic: str, payload: bytes) -> None:
        size = len(payload) + len(topic.encode()) + _HEADERS
        if size > self.max_packet_bytes:
            raise TransportError(f"MQTT message of {size} bytes; {self.max_packet_bytes} are allowed")

    async def close(self, *, last: tuple[str, bytes] | None = None) -> None:
        """Disconnect and wait for paho's thread; `last` is a topic and the payload to retain there."""
        self._closed = True
        tasks = list(self._handling)
        await cancel_tasks(*tasks)
        if last is not None and self.connected.is_set():
            with contextlib.suppress(TimeoutError, TransportError):
                await asyncio.wait_for(self.publish(*last, retain=True), LAST_S)
        await asyncio.to_thread(self._client.end)
        self._client.forget_callbacks()
        self._on_message = self._on_connection = self._on_unmarked = (
            None  # drop references that keep paho's sockets open
        )

    # paho's thread calls these; each passes its work to the loop.

    def _connected(
        self, client: paho.Client, _user: object, _flags: object, reason: ReasonCode, properties: object
    ) -> None:
        self._connection += 1
        if reason.is_failure:
            self._call(self._set_problem, f"the broker refuses the connection: {reason}")
            return
        size = getattr(properties, "MaximumPacketSize", MAX_PACKET_BYTES)
        self._call(setattr, self, "max_packet_bytes", min(size, MAX_PACKET_BYTES))
        receive_maximum = getattr(properties, "ReceiveMaximum", _ANY_NUMBER)
        aliases = getattr(properties, "TopicAliasMaximum", 0)
        self._call(self._set_limits, receive_maximum, min(aliases, _ALIASES))
        if self._subscriptions:
            _, self._first_mid = client.subscribe(_options(self._subscriptions))
        else:
            self._call(self._set_connected, True)  # noqa: FBT003

    def _not_connected(self, _client: object, _user: object) -> None:
        self._call(self._set_problem, f"no connection to {self._config.host}:{self._config.port}")

    def _subscribed(
        self, _client: object, _user: object, mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if mid != self._first_mid:
            if refused:
                _log.warning("MQTT: the broker refuses a further subscription: %s", refused[0])
        elif refused:
            self._call(self._set_problem, f"the broker refuses the subscription: {refused[0]}")
        else:
            self._call(self._set_connected, True)  # noqa: FBT003

    def _disconnected(
        self, _client: object, _user: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        self._call(self._set_connected, False)  # noqa: FBT003
        self._call(self._set_problem, f"the connection was lost: {reason}")

    def _broken(self, error: Exception) -> None:
        self._call(self._set_connected, False)  # noqa: FBT003
        self._call(self._set_problem, f"the connection broke down: {type(error).__name__}: {error}")

    def _published(self, _client: object, _user: object, mid: int, reason: ReasonCode, _properties: object) -> None:
        self._call(self._settle, mid, reason)

    def _received(self, client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        if message.qos > 0 or self._slots.acquire(blocking=False):  # QoS 0 is not limited by Receive Maximum
            self._call(self._deliver, client, message, self._connection)

    def _call(self, function: Callable[[*ArgumentTs], None], *arguments: *ArgumentTs) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # These run in the loop.

    def _set_problem(self, problem: str) -> None:
        if problem != self._problem and not self._closed:
            _log.warning("MQTT: %s", problem)
        self._problem = problem

    def _set_limits(self, receive_maximum: int, aliases: int) -> None:
        """Begin a connection; the broker has forgotten the aliases of the last one."""
        self._most_in_flight, self._most_aliases = receive_maximum, aliases
        self._aliases.clear()

    def _set_connected(self, connected: bool) -> None:
        if connected == self.connected.is_set():  # paho may report a lost connection twice
            return
        if connected:
            self._problem = ""
            self.connected.set()
            if self._followed:
                self._client.subscribe(_options(self._followed))
        else:
            self.connected.clear()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(TransportError("MQTT connection lost before the acknowledgement"))
            self._waiting.clear()
            self._room.set()
        if self._on_connection is not None:
            self._on_connection(connected)

    def _settle(self, mid: int, reason: ReasonCode) -> None:
        waiting = self._waiting.pop(mid, None)
        if waiting is None:
            return
        self._room.set()
        if waiting.done():
            return
        if reason.is_failure:
            waiting.set_exception(TransportError(f"MQTT broker refused the message: {reason}"))
        else:
            waiting.set_result(reason.value != _NO_MATCHING_SUBSCRIBERS)

    def _set_failing(self, reason: str) -> None:
        if reason and not self._failing:
            _log.warning("handling of MQTT messages failed, retrying: %s", reason)
        self._failing = reason

    def _deliver(self, client: paho.Client, message: paho.MQTTMessage, connection: int) -> None:
        task = spawn(self._handle(client, message, connection))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        if message.qos == 0:
            task.add_done_callback(lambda _done: self._slots.release())

    async def _handle(self, client: paho.Client, message: paho.MQTTMessage, connection: int) -> None:
        """Handle a message, retrying as long as necessary, and acknowledge it."""
        assert self._on_message is not None
        backoff = Backoff()
        on_message = self._on_message
        if self._on_unmarked is not None and not hasattr(message.properties, "PayloadFormatIndicator"):
            on_unmarked = self._on_unmarked
            on_message = lambda topic, _payload: on_unmarked(topic)  # noqa: E731
        while True:
            try:
                taken = on_message(message.topic, bytes(message.payload))
                if taken is not None:
                    await taken
                self._set_failing("")
                break
            except V2GError as error:
                self._set_failing(str(error))
            except Exception:  # noqa: BLE001 - one invalid message must not block the others
                _log.exception("a message of %s is dropped", message.topic)
                break
            await asyncio.sleep(backoff.pause_s())
        if connection == self._connection:  # numbers are per connection
            client.ack(message.mid, message.qos)


def _options(topics: Iterable[str]) -> list[tuple[str, SubscribeOptions]]:
    options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    return [(topic, options) for topic in sorted(topics)]


def _keep_alive(limit_s: int) -> int:
    """Return the keep-alive by which a dead connection is found within 1.5 times `limit_s`, from 4 s on (R101).

    paho sends PINGREQ after one keep-alive without a packet, waits another one for the answer, and looks once a second.
    """
    return max(1, (3 * limit_s - 4) // 4)


def _password(config: MqttConfig) -> str | None:
    if config.password_file is None:
        return None
    try:
        return config.password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"MQTT password in {config.password_file}: {error}") from None
