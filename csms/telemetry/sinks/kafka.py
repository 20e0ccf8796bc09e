"""Sink: Apache Kafka. A topic for each class of vehicles; the key is the vehicle, whose records share a partition.

They come in the order of (boot, seq), but for those with the header `late`: 1, which come behind later ones since they
reached the back end more than `lateness_bound_ms` after these, as after an outage.

The producer is idempotent and waits for all replicas in sync. A batch that is only partly acknowledged is sent again as
a whole, by a new producer: consumers ignore (boot, seq) that they have.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from csms.telemetry.config import TelemetrySink
from csms.telemetry.rules import StoredRecord, class_of
from csms.telemetry.store import GAP_MS
from v2g.errors import TransportError, UnstorableError
from v2g.extras import extras_named

with extras_named():
    from confluent_kafka import KafkaError, KafkaException, Producer

TIMEOUT_S: Final = 30.0
"""How long brokers may take to acknowledge a batch."""

CLOSE_S: Final = 2.0
"""How long closing waits for a batch under way."""

_POLL_S: Final = 0.1

_LASTING: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG})
"""Errors by which brokers reject a message: another attempt fails in the same way."""


class KafkaMessage(msgspec.Struct, frozen=True):
    """A message about a vehicle; without a value a tombstone. `at_ms` is its time (UTC), 0: now."""

    ev: str
    value: bytes | None = None
    headers: dict[str, str] = {}
    at_ms: int = 0


def _message(record: StoredRecord) -> KafkaMessage:
    headers = {
        "boot": str(record.boot),
        "seq": str(record.seq),
        "event_ms": str(record.at_ms),
        "late": str(int(record.late)),
        "lateness_bound_ms": str(GAP_MS),
    }
    return KafkaMessage(record.ev, record.document, headers, record.at_ms)


class KafkaSink:
    """The brokers of a `kafka://host:port,host:port` URL. Implements Sink."""

    def __init__(
        self,
        config: TelemetrySink,
        classes: Mapping[str, Sequence[str]],
        *,
        timeout_s: float = TIMEOUT_S,
        close_s: float = CLOSE_S,
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
        self._close_s = close_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-sink")  # not those that others need
        self._sending = threading.Lock()  # a batch whose caller was cancelled goes on in its thread
        self._closed, self._broken_off = threading.Event(), threading.Event()

    async def write(self, records: Sequence[StoredRecord]) -> None:
        await self._do([_message(each) for each in records])

    async def erase(self, ev: str) -> None:
        """Send a tombstone: a compacted topic forgets the vehicle, others after their retention."""
        await self._do([KafkaMessage(ev)])

    async def close(self) -> None:
        """See Sink. A batch under way is waited for, then broken off: its caller gets TransportError and repeats it."""
        await asyncio.to_thread(self._close)

    async def _do(self, messages: Sequence[KafkaMessage]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._send, messages)

    def _close(self) -> None:
        self._closed.set()
        if not self._sending.acquire(timeout=self._close_s):
            self._broken_off.set()
            self._sending.acquire()
        try:
            self._drop()
        finally:
            self._sending.release()

    def _send(self, messages: Sequence[KafkaMessage]) -> None:
        """Produce messages and wait for all. Raises TransportError, UnstorableError."""
        with self._sending:
            if self._closed.is_set():
                raise TransportError("Kafka: the sink is closed")
            self._produce(messages)

    def _produce(self, messages: Sequence[KafkaMessage]) -> None:
        failed: list[KafkaError] = []
        arrived = 0

        def report(error: KafkaError | None, _message: object) -> None:
            nonlocal arrived
            arrived += error is None
            if error is not None:
                failed.append(error)

        until = time.monotonic() + self._timeout_s + 1
        try:
            if self._producer is None:
                self._producer = Producer(self._settings)
            for each in messages:
                while not self._offer(each, report):
                    if failed or self._broken_off.is_set():
                        break
            while self._producer.flush(_POLL_S) and time.monotonic() < until and not self._broken_off.is_set():
                pass
        except KafkaException as error:
            failed.append(error.args[0])
        if not failed and arrived == len(messages):
            return
        lasting = next((each for each in failed if each.code() in _LASTING), None)
        reason = failed[0] if failed else f"no acknowledgement of {len(messages) - arrived} records in time"
        self._drop()
        if lasting is not None:
            raise UnstorableError(f"Kafka: {lasting}", hint="see message.max.bytes, and max.message.bytes of the topic")
        raise TransportError(f"Kafka: {reason}", hint="are enough brokers running?")

    def _offer(self, message: KafkaMessage, report: object) -> bool:
        """Queue a message; False when the queue is full."""
        now_ms = time.time_ns() // 1_000_000  # brokers reject times in the future, which a vehicle's clock may have
        try:
            self._producer.produce(
                f"{self._prefix}.{class_of(message.ev, self._classes)}",
                message.value,
                message.ev.encode(),
                headers=[(name, value.encode()) for name, value in message.headers.items()],
                timestamp=min(message.at_ms, now_ms) if message.at_ms else now_ms,
                on_delivery=report,
            )
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
