"""Publishes sites and vehicles for a Home Assistant: devices, their states, and that this back end is there."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from csms.grid.source import GridSource
from csms.home_assistant.config import HomeAssistant
from csms.overview import course
from csms.services import Services
from csms.sites import store as site_store
from csms.telemetry.latest import LatestStates
from csms.vehicles.rules import VehicleState
from v2g import typed_json
from v2g.errors import StoreError, TransportError
from v2g.home_assistant import SITE, VEHICLE, HomeEntity, discovery, node_of
from v2g.io.mqtt.client import MqttClient
from v2g.io.storage.journal_file import write_files
from v2g.telemetry.signals import LATITUDE, LONGITUDE
from v2g.typed_json import Fields

_WORK: Final = "home assistant"

Values = Mapping[str, object]


class HomeAssistantPublisher:
    """Runs until cancelled. Topics that it has filled are noted in a file: what is gone, or not wanted any more, is
    removed from the broker, also after a restart."""

    def __init__(self, services: Services, latest: LatestStates, config: HomeAssistant) -> None:
        self._services, self._latest, self._config = services, latest, config
        self._status = f"{config.prefix}/status"
        self._file: Path = services.config.data_dir / "home-assistant.json"
        self._noted: set[str] = set()
        self._published: dict[str, bytes] = {}

    async def run(self) -> None:
        """Publish while this node is the one that does."""
        with contextlib.suppress(OSError, msgspec.DecodeError):  # without it, only old topics stay
            self._noted = set(typed_json.decode(self._file.read_bytes(), tuple[str, ...]))
        while True:
            if await self._leads():
                await self._lead()
            await asyncio.sleep(self._config.interval_s)

    async def _leads(self) -> bool:
        with contextlib.suppress(StoreError):
            return await self._services.leads(_WORK, self._config.interval_s)
        return False

    async def _lead(self) -> None:
        """Publish until another node leads."""
        client = MqttClient(
            self._config.broker,
            client_id=node_of("csms", f"{self._services.feed.node} {self._config.prefix}"),
            on_connection=lambda _: self._published.clear(),  # the broker may have lost it
            will=(self._status, b"offline"),
            observe=self._services.observe,
        )
        client.start()
        try:
            while await self._leads():
                client.poll()
                if client.connected.is_set():
                    with contextlib.suppress(TransportError, StoreError):  # repeated the next time
                        await self._publish(client)
                await asyncio.sleep(self._config.interval_s)
        finally:
            await client.close(last=(self._status, b"offline"))

    async def _publish(self, client: MqttClient) -> None:
        texts = {**await self._sites(), **self._vehicles()}
        gone = self._noted - texts.keys()
        if texts.keys() - self._noted:  # before they are there
            await self._note(self._noted | texts.keys())
        for topic, payload in {**dict.fromkeys(gone, b""), **texts}.items():
            if self._published.get(topic) != payload:
                await client.publish(topic, payload, retain=True)
                self._published[topic] = payload
        # each time: the will of a node that led before may come late
        await client.publish(self._status, b"online", retain=True)
        if gone:
            await self._note(set(texts))
            for topic in gone:
                self._published.pop(topic, None)

    async def _note(self, topics: set[str]) -> None:
        files = {self._file.name: msgspec.json.encode(sorted(topics))}
        await asyncio.to_thread(partial(write_files, self._file.parent, files, private=True))
        self._noted = topics

    async def _sites(self) -> dict[str, bytes]:
        if not self._config.sites:
            return {}
        services, now_ms = self._services, self._services.clock.utc_ms()
        signal, connected = services[GridSource].current, services.connections.connected()
        limits = () if signal is None else signal.limits_at(now_ms)
        sites = await services.store.read(site_store.all_sites)
        rows = await services.store.read(course.now, sites, connected, limits, now_ms, now_ms)
        texts: dict[str, bytes] = {}
        for row in (each for each in rows if each["site_id"]):
            values = {key: row[key] for key in SITE}
            texts |= self._device("site", row["site_id"], "Site", SITE, values)
        return texts

    def _vehicles(self) -> dict[str, bytes]:
        texts: dict[str, bytes] = {}
        for state in self._latest.all():
            if any(fnmatchcase(state.ev, each) for each in self._config.vehicles):
                values = _shown(state)
                entities = {key: each for key, each in VEHICLE.items() if key in values}
                texts |= self._device("vehicle", state.ev, "Vehicle", entities, values)
        return texts

    def _device(
        self, kind: str, name: str, model: str, entities: Mapping[str, HomeEntity], values: Values
    ) -> dict[str, bytes]:
        node = node_of(kind, name)
        topic = f"{self._config.prefix}/{node}"
        online = {"topic": self._status}
        found = discovery(self._config.discovery_prefix, node, name, model, entities, topic, online)
        return found | {topic: msgspec.json.encode(values)}


def _shown(state: VehicleState) -> Fields:
    """Return what a vehicle sends now, without what it has stopped to send."""
    present: dict[str, object] = {key: each.value for key in VEHICLE if (each := state.present(key)) is not None}
    latitude, longitude = state.present(LATITUDE), state.present(LONGITUDE)
    if latitude is not None and longitude is not None:
        present["location"] = {"latitude": latitude.value, "longitude": longitude.value}
    return present | {"at": datetime.fromtimestamp(state.at_ms / 1000, UTC).isoformat(timespec="seconds")}
