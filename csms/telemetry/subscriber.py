"""Telemetry by MQTT: receives vehicles' deliveries, publishes marks and the stream of stored records.

A message is acknowledged once its records are stored. That only paces the broker: vehicles rely on the marks,
and send again what was not stored.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

from csms.config import MqttSource
from csms.telemetry.ingest import Ingest
from v2g.errors import StoreError, TransportError
from v2g.io.mqtt.client import MqttClient
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import Supervisor
from v2g.observe import Observe
from v2g.telemetry.delivery import Mark, encode_marks, marks_topic, records_topic, stream_topic
from v2g.telemetry.signals import EV_PATTERN

CONNECT_S: Final = 5.0
"""How long the start waits for the broker; after that it is connected in the background."""

MARKS_S: Final = 0.5
"""How long a mark may wait for further ones. Questions and large deliveries are answered at once."""

MANY: Final = 50

QUIET_S: Final = 1.0
"""Pause of the stream after the broker has reported that it has no subscribers."""

MOST_STREAMED: Final = 10_000
"""Records queued for a slow broker; the oldest are dropped from the stream."""


class TelemetrySubscriber:
    """Runs from `start` to `close`.

    Several nodes share the deliveries by a group with a secret name: a vehicle that joined it would receive some.
    """

    def __init__(self, config: MqttSource, ingest: Ingest, observe: EventLog, *, client_id: str, group: str) -> None:
        self._config, self._ingest, self._observe = config, ingest, observe
        self._before, self._behind = records_topic(config.prefix, "+").split("+")
        self._client = MqttClient(
            config,
            client_id=client_id,
            on_message=self._take,
            on_unmarked=self._refuse_older_protocol,
            observe=observe,
        )
        self._client.subscribe(f"$share/{group}/{records_topic(config.prefix, '+')}")
        self._tasks = Supervisor(observe)
        self._due: dict[str, dict[int, Mark]] = {}
        self._stream: deque[bytes] = deque(maxlen=MOST_STREAMED)
        self._streaming = asyncio.Event()
        self._quiet_until = 0.0

    async def start(self) -> None:
        """Connect, waiting briefly for the broker."""
        self._tasks.keep("telemetry marks", self._publish_marks)
        if self._config.stream:
            self._ingest.subscribe(self._offer)
            self._tasks.keep("telemetry stream", self._publish_stream)
        self._client.start()
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.connected.wait()
            self._observe(Observe("telemetry", "subscribed"))
        except TimeoutError:
            self._observe(Observe("telemetry", "broker_unreachable", {"reason": self._client.problem}))

    def poll(self) -> None:
        """Connect again with a renewed certificate (`v2g.io.tls.renewal.Renewed`)."""
        self._client.poll()

    async def close(self) -> None:
        """Publish pending marks, and disconnect; unstored deliveries are repeated."""
        await self._tasks.close()
        for ev in list(self._due):
            self._answer(ev)
        await self._client.close()

    def _refuse_older_protocol(self, topic: str) -> None:
        """Refuse a message that was not published by MQTT 5: older protocols cannot say why a message is refused."""
        ev = topic.removeprefix(self._before).removesuffix(self._behind)
        self._ingest.refuse(ev if re.match(EV_PATTERN, ev) else "", "no Payload Format Indicator: publish by MQTT 5")

    async def _take(self, topic: str, payload: bytes) -> None:
        """Store a delivery. Raises StoreError: it is retried."""
        ev = topic.removeprefix(self._before).removesuffix(self._behind)
        if not re.match(EV_PATTERN, ev):
            self._ingest.refuse("", "no vehicle in the topic")
            return
        try:
            reception = await self._ingest.receive(ev, payload)
        except StoreError as error:
            self._ingest.fail(error)
            raise
        if reception.outcome is None:
            return
        self._due.setdefault(ev, {}).update({each.boot: each.mark for each in reception.outcome.marks})
        if reception.asks or reception.elements >= MANY:
            self._answer(ev)

    def _answer(self, ev: str) -> None:
        """Publish a vehicle's marks; a lost one is requested again."""
        marks = self._due.pop(ev, {})
        if marks:
            self._client.offer(marks_topic(self._config.prefix, ev), encode_marks(marks.values()))

    async def _publish_marks(self) -> None:
        while True:
            await asyncio.sleep(MARKS_S)
            for ev in list(self._due):
                self._answer(ev)

    def _offer(self, bodies: Sequence[bytes]) -> None:
        """Queue records for the stream, unless it has no subscribers."""
        if asyncio.get_running_loop().time() >= self._quiet_until:
            self._stream.extend(bodies)
            self._streaming.set()

    async def _publish_stream(self) -> None:
        topic, time = stream_topic(self._config.prefix), asyncio.get_running_loop().time
        while True:
            await self._streaming.wait()
            self._streaming.clear()
            while self._stream:
                try:
                    delivered = await self._client.publish(topic, self._stream.popleft())
                except TransportError:
                    delivered = False
                if not delivered:
                    self._stream.clear()
                    self._quiet_until = time() + QUIET_S
