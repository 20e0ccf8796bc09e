"""Sink: Apache Kafka. A topic for each class of vehicles; the key is the vehicle, whose records keep their order.

The producer is idempotent and waits for all replicas in sync. A batch that is only partly acknowledged is sent again as
a whole, by a new producer: consumers ignore (boot, seq) that they have.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from csms.config import TelemetrySink
from csms.domain.diagnostics.sink_records import StoredRecord, class_of
from v2g.errors import TransportError
from v2g.extras import extras_named

with extras_named():
    from confluent_kafka import KafkaException, Producer

TIMEOUT_S: Final = 30.0
"""How long brokers may take to acknowledge a batch."""

_POLL_S: Final = 0.1


class KafkaSink:
    """The brokers of a `kafka://host:port,host:port` URL."""

    def __init__(
        self, config: TelemetrySink, classes: Mapping[str, Sequence[str]], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._prefix, self._classes, self._timeout_s = config.topic_prefix, classes, timeout_s
        self._settings = {
            **config.properties,
            "bootstrap.servers": config.url.removeprefix("kafka://").rstrip("/"),
            "client.id": "v2g-csms",
            "enable.idempotence": True,  # includes acks=all, and order over retries
            "enable.gapless.guarantee": True,
            "acks": "all",
            "message.timeout.ms": round(timeout_s * 1000),
            "linger.ms": 5,
        }
        self._producer: Any = None

    def topic_of(self, ev: str) -> str:
        """Return the topic of a vehicle: PREFIX.CLASS."""
        return f"{self._prefix}.{class_of(ev, self._classes)}"

    async def write(self, records: Sequence[StoredRecord]) -> None:
        """See Sink."""
        await asyncio.to_thread(
            self._send,
            [
                (each.ev, each.document, [("boot", str(each.boot).encode()), ("seq", str(each.seq).encode())])
                for each in records
            ],
        )

    async def erase(self, ev: str) -> None:
        """Send a tombstone: a compacted topic forgets the vehicle, others after their retention."""
        await asyncio.to_thread(self._send, [(ev, None, [])])

    async def close(self) -> None:
        """See Sink."""
        await asyncio.to_thread(self._drop)

    def _send(self, messages: Sequence[tuple[str, bytes | None, list[tuple[str, bytes]]]]) -> None:
        """Produce messages and wait for all. Raises TransportError."""
        failed: list[str] = []
        arrived = 0

        def report(error: Any, _message: Any) -> None:
            nonlocal arrived
            arrived += error is None
            if error is not None:
                failed.append(str(error))

        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            for ev, value, headers in messages:
                while not self._offer(self.topic_of(ev), ev, value, headers, report):
                    if failed:
                        break
            self._producer.flush(self._timeout_s + 1)
        except KafkaException as error:
            failed.append(str(error))
        if failed or arrived != len(messages):
            self._drop()
            reason = failed[0] if failed else "no acknowledgement in time"
            raise TransportError(f"Kafka: {reason}", hint="are enough brokers running?")

    def _offer(self, topic: str, key: str, value: bytes | None, headers: Any, report: Any) -> bool:
        """Queue a message; False when the queue is full."""
        try:
            self._producer.produce(topic, value, key.encode(), headers=headers, on_delivery=report)
        except BufferError:
            self._producer.poll(_POLL_S)
            return False
        self._producer.poll(0)
        return True

    def _drop(self) -> None:
        """Forget the producer with what it still holds."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None
