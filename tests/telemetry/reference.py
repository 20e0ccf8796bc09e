"""A back end as docs/reference/telemetry-delivery.md has it, in the simplest way: what gateways are tried against."""

import asyncio
import json
from typing import Any

from pki_tools.tree import PkiTree
from tests.telemetry.brokers import access
from v2g.io.mqtt.client import MqttClient
from v2g_cli.demo.broker import Broker

PREFIX = "v2g/telemetry/vehicle"


class ReferenceBackEnd:
    """Keeps records and what was given up in memory, and answers with marks. `deaf`: it takes nothing."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int, int], dict[str, Any]] = {}
        self.missing: set[tuple[str, int, int]] = set()
        self.ids: dict[tuple[str, int], str] = {}
        self.duplicates = self.deliveries = 0
        self.deaf = False
        self.changed = asyncio.Event()

    def take(self, delivery: bytes) -> list[dict[str, Any]]:
        """Take a delivery; return marks."""
        self.deliveries += 1
        boots = set()
        for element in json.loads(delivery):
            ev, boot = element["ev"], element["boot"]
            boots.add((ev, boot))
            if element.get("boot_id"):
                assert self.ids.setdefault((ev, boot), element["boot_id"]) == element["boot_id"]
            if "seq" in element:
                key = ev, boot, element["seq"]
                self.duplicates += key in self.records
                assert self.records.setdefault(key, element) == element
            else:
                self.missing |= {(ev, boot, n) for first, last in element["missing"] for n in range(first, last + 1)}
        self.changed.set()
        return [self._mark(ev, boot) for ev, boot in sorted(boots)]

    def _mark(self, ev: str, boot: int) -> dict[str, Any]:
        numbers = {seq for whose, of, seq in self.records.keys() | self.missing if (whose, of) == (ev, boot)}
        contiguous = next((n for n in range(len(numbers) + 1) if n + 1 not in numbers), 0)
        highest, boot_id = max(numbers, default=0), self.ids.get((ev, boot), "")
        return {"boot": boot, "contiguous": contiguous, "highest": highest, "boot_id": boot_id}

    async def connect(self, broker: Broker, pki: PkiTree) -> None:
        """Serve vehicles over a broker."""
        self._client = MqttClient(access(broker, pki, "csms-ingest"), on_message=self._received)
        self._client.subscribe(f"{PREFIX}/+/records")
        self._client.start()
        await self._client.connected.wait()

    def _received(self, topic: str, payload: bytes) -> None:
        if not self.deaf:
            self._client.offer(topic.replace("/records", "/marks"), json.dumps(self.take(payload)).encode())

    async def has(self, count: int) -> None:
        """Wait for so many records."""
        while len(self.records) < count:
            self.changed.clear()
            await self.changed.wait()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()
