"""Telemetry by MQTT: a shared subscription whose messages are acknowledged once their records are stored."""

import asyncio
from typing import Final

from csms.config import MqttSource
from csms.core.telemetry import MAX_BATCH
from csms.ingest import Ingest
from v2g.errors import CodecError
from v2g.net.events import EventLog
from v2g.net.mqtt import MqttClient
from v2g.observe import Observe
from v2g.telemetry.signals import Record, decode_record

CONNECT_S: Final = 5.0
"""How long the start waits for the broker; after that it is looked for in the background."""


class TelemetrySubscriber:
    """Runs from `start` to `close`.

    Records that arrive while others are being stored share the next transaction. A message that holds no record is
    counted, reported and acknowledged: delivering it again would not mend it.
    """

    def __init__(self, config: MqttSource, ingest: Ingest, observe: EventLog) -> None:
        self._ingest, self._observe = ingest, observe
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._client = MqttClient(config, on_message=self._take)
        self._client.subscribe(f"$share/{config.group}/{config.topic}")

    async def start(self) -> None:
        """Connect, waiting for the broker a little."""
        self._worker = asyncio.create_task(self._store(), name="telemetry")
        self._client.start()
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.connected.wait()
            self._observe(Observe("telemetry", "subscribed"))
        except TimeoutError:
            self._observe(Observe("telemetry", "broker_unreachable"))

    async def close(self) -> None:
        """Store what has arrived and disconnect; what is not acknowledged comes again."""
        while self._waiting and self._worker is not None and not self._worker.done():
            await asyncio.sleep(0.01)
        await self._client.close()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _take(self, _topic: str, payload: bytes) -> asyncio.Future[None] | None:
        try:
            record = decode_record(payload)
        except CodecError as error:
            self._observe(Observe("telemetry", "telemetry_refused", {"reason": str(error)}))
            return None
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((record, stored))
        self._arrived.set()
        return stored

    async def _store(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                try:
                    await self._ingest.store([record for record, _ in batch])
                except Exception as error:  # noqa: BLE001  a full disk must not end the subscription
                    self._observe(Observe("telemetry", "telemetry_not_stored", {"reason": str(error)}))
                    for _, stored in batch:
                        stored.set_exception(error)
                else:
                    for _, stored in batch:
                        stored.set_result(None)
                del self._waiting[: len(batch)]
