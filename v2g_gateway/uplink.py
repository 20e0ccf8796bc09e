"""Uplinks of a vehicle's gateway to the back end: MQTT 5 through a broker, or HTTPS."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError, TransportError
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe
from v2g.telemetry.columns import COMPACT_TYPE, is_compact
from v2g.telemetry.delivery import (
    MAX_DELIVERY_BYTES,
    DeliveryStatus,
    Mark,
    decode_marks,
    encode_status,
    marks_topic,
    records_topic,
    slot_of,
    slot_topic,
    status_topic,
)
from v2g.text import redacted

READY_S: Final = 5.0
"""Time for connecting to a broker before a failure is reported."""

_ANSWER_S: Final = 10.0
"""Time-out of a delivery over HTTPS."""

WILL_DELAY_S: Final = 15
"""After so long without a connection the broker reports that the gateway is offline."""

_PACKET_REST: Final = 1024
"""Maximum overhead of a packet, octets."""

OnMarks = Callable[[Sequence[Mark]], None]
Observer = Callable[[Observe], None]


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """HTTPS uplink: `POST url`, TLS 1.3, with a client certificate if the back end requests one."""

    url: Annotated[str, Meta(pattern="^https://", description="the back end's /telemetry")]
    ca: Annotated[Path, Meta(description="PEM file of the back end's root")]
    chain: Annotated[Path | None, Meta(description="PEM file of the gateway's certificate chain")] = None
    key: Annotated[Path | None, Meta(description="PEM file of the gateway's private key, mode 0600")] = None
    token: Annotated[str, Meta(description="bearer token, if the back end uses one")] = ""


class Uplink(Protocol):
    """A connection to the back end, which reports its marks by the uplink's callback."""

    name: str
    parallel: int
    """How many deliveries may be under way at a time."""
    low_rate: bool
    """Whether it carries important records only (`v2g.telemetry.priority`)."""

    @property
    def max_bytes(self) -> int:
        """Maximum size of a delivery."""

    def start(self) -> None:
        """Start connecting."""

    async def ready(self) -> None:
        """Return when something can be sent. Raises TransportError on timeout."""

    async def send(self, delivery: bytes) -> None:
        """Send a delivery. Raises TransportError; it may have arrived all the same."""

    def poll(self) -> None:
        """Connect again with a renewed certificate, if there is one; one that cannot be used is reported (R152)."""

    async def close(self) -> None:
        """Release the connection."""


class MqttUplink:
    """Deliveries as MQTT 5 messages, QoS 1; marks as messages to the vehicle. Implements Uplink."""

    name = "mqtt"
    parallel = 8

    def __init__(
        self,
        config: MqttConfig,
        prefix: str,
        ev: str,
        on_marks: OnMarks,
        *,
        boot: int,
        low_rate: bool = False,
        observe: Observer = lambda _: None,
    ) -> None:
        """`boot` is part of the status that readers of `status_topic` see."""
        from v2g.io.mqtt.client import MqttClient  # 11 ms to import: only a vehicle with a broker pays

        self._prefix, self._ev, self._on_marks, self.low_rate = prefix, ev, on_marks, low_rate
        self._slots, self._slot_failed, self._slots_refused = 0, False, False
        self._status = status_topic(prefix, ev)
        self._online, self._offline = (encode_status(DeliveryStatus(online, boot)) for online in (True, False))
        self._client = MqttClient(
            config,
            client_id=ev,
            on_message=self._received,
            on_connection=self._connection,
            will=(self._status, self._offline),
            will_delay_s=WILL_DELAY_S,
            observe=observe,
        )
        self._client.subscribe(marks_topic(prefix, ev))
        self._announcing: asyncio.Task[None] | None = None

    @property
    def max_bytes(self) -> int:
        """See Uplink: a broker may have a lower limit than we do."""
        return min(MAX_DELIVERY_BYTES, self._client.max_packet_bytes - _PACKET_REST)

    def start(self) -> None:
        self._client.start()

    def poll(self) -> None:
        self._client.poll()

    async def ready(self) -> None:
        """See Uplink; what follows goes to any node again, if that of the vehicle's slot was not reached."""
        await self._ready()
        if self._slot_failed:
            self._slots, self._slot_failed = 0, False

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(READY_S):
                await self._client.connected.wait()
        except TimeoutError:
            raise TransportError(self._client.problem or "no connection to the broker") from None

    async def send(self, delivery: bytes) -> None:
        """See Uplink: returns when the broker has the message.

        Once the back end has said that its nodes share slots, it goes to the node of the vehicle's slot. When one
        fails, all do until `ready` is called: records take one way, which keeps their order.
        """
        await self._ready()
        if self._slot_failed:
            raise TransportError("no node has the vehicle's slot")
        slots = self._slots
        if slots:
            topic = slot_topic(self._prefix, slot_of(self._ev, slots), self._ev)
        else:
            topic = records_topic(self._prefix, self._ev)
        try:
            delivered = await self._client.publish(topic, delivery, utf8=not is_compact(delivery))
        except TransportError:
            self._slot_failed = self._slots_refused = slots > 0  # by an older access list of the broker
            raise
        if not delivered:
            self._slot_failed = slots > 0
            raise TransportError("no back end is connected to the broker")

    def _connection(self, connected: bool) -> None:
        if connected:
            self._slots, self._slot_failed, self._slots_refused = 0, False, False
            self._announcing = spawn(self._announce(), name="telemetry status")

    async def _announce(self) -> None:
        with contextlib.suppress(TransportError):  # again with the next connection
            await self._client.publish(self._status, self._online, retain=True)

    def _received(self, _topic: str, payload: bytes) -> None:
        with contextlib.suppress(CodecError):  # unreadable marks are requested again
            marks = decode_marks(payload)
            if not self._slots_refused:
                self._slots = max((each.slots for each in marks), default=0)
            self._on_marks(marks)

    async def close(self) -> None:
        """Report the end, and disconnect."""
        if self._announcing is not None:
            self._announcing.cancel()
        await self._client.close(last=(self._status, self._offline))


class _UplinkAnswer(msgspec.Struct, frozen=True):
    """The parts of the response to POST /telemetry that a gateway uses."""

    high_water: tuple[Mark, ...]


class HttpsUplink:
    """Each delivery as a request over a connection that is kept, answered with the marks. Implements Uplink."""

    name = "http"
    parallel = 1
    max_bytes = MAX_DELIVERY_BYTES

    def __init__(
        self, config: HttpConfig, on_marks: OnMarks, *, low_rate: bool = False, observe: Observer = lambda _: None
    ) -> None:
        from v2g.io.http.client import HttpSession  # only a vehicle with this uplink pays for loading it
        from v2g.io.tls.files import RenewedContext, client_context

        self.low_rate, self._on_marks = low_rate, on_marks
        context = client_context(config.ca, config.chain, config.key)
        self._url = config.url
        self._headers: dict[str, str] = {}
        if config.token:
            self._headers["Authorization"] = f"Bearer {config.token}"
        self._session = HttpSession(config.url, most=MAX_DELIVERY_BYTES, timeout_s=_ANSWER_S, context=context)
        self._renewed: RenewedContext | None = None
        if config.chain is not None:
            key = config.key or config.chain
            self._renewed = RenewedContext(context, config.chain, key, observe, self._session.renew)

    def start(self) -> None:
        """See Uplink: the first delivery connects."""

    def poll(self) -> None:
        if self._renewed is not None:
            self._renewed.poll()

    async def ready(self) -> None:
        try:
            await self._session.connect()
        except TransportError as error:
            raise TransportError(f"{redacted(self._url)}: {error}") from None

    async def send(self, delivery: bytes) -> None:
        """See Uplink: returns when the back end has answered."""
        content_type = {"Content-Type": COMPACT_TYPE if is_compact(delivery) else "application/json"}
        try:
            answer = await self._session.request("POST", delivery, self._headers | content_type)
            if not answer.ok:
                raise TransportError(f"HTTP status {answer.status}")
            marks = typed_json.decode(answer.body, _UplinkAnswer).high_water
        except (TransportError, msgspec.DecodeError) as error:
            raise TransportError(f"{redacted(self._url)}: {error}") from None
        self._on_marks(marks)

    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()
