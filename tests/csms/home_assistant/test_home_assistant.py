"""Sites and vehicles at a broker of a house: what is there, what is not, what goes; read by Home Assistant itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as paho
import pytest

from csms.home_assistant.config import HomeAssistant
from csms.home_assistant.publisher import HomeAssistantPublisher
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import backend, csms
from tests.csms.program import Program, write_config
from tests.csms.support import make_config
from tests.interop.environments import environment
from tests.telemetry.brokers import plain_broker
from tests.waiting import until
from v2g.hardware.energy_manager.commands import ManagedEvse, ManagedStation
from v2g.home_assistant import EVSE, SITE, node_of
from v2g.io.hardware.energy_config import EnergyMqttConfig
from v2g.io.hardware.energy_mqtt import MqttEnergyManager
from v2g.io.mqtt.config import HomeAssistantConfig, MqttConfig
from v2g.telemetry.signals import Record, encode_record
from v2g_cli.demo.broker import Broker

__all__ = ["backend", "csms"]

PEER = Path(__file__).with_name("peer.py")
SITE_NAME = "Süd+# {{ x }}"
SITE_PATH = f"/sites/{quote(SITE_NAME)}"
EV = "EV.1:x"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Broker]:
    with plain_broker(tmp_path) as found:
        yield found


@pytest.fixture
async def ask(csms: Backend) -> AsyncIterator[ApiClient]:
    async with serving(csms) as client:
        yield client


class Retained:
    """What a client of another make finds at the broker, by topic."""

    def __init__(self, port: int) -> None:
        self.topics: dict[str, bytes] = {}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_message = lambda _client, _user, each: self._keep(each.topic, each.payload)
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _keep(self, topic: str, payload: bytes) -> None:
        if payload:
            self.topics[topic] = payload
        else:
            self.topics.pop(topic, None)

    def state(self, kind: str, name: str) -> Any:
        return json.loads(self.topics.get(f"v2g/state/{node_of(kind, name)}", b"null"))

    def configs(self, kind: str, name: str) -> set[str]:
        return {
            topic.split("/")[3] for topic in self.topics if topic.endswith("/config") and node_of(kind, name) in topic
        }

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        del self.client


@pytest.fixture
def retained(house: Broker) -> Iterator[Retained]:
    found = Retained(house.port)
    yield found
    found.close()


def reached(house: Broker, *, interval_s: float = 0.02, **more: Any) -> HomeAssistant:
    access = MqttConfig(host="127.0.0.1", port=house.port, without_tls=True)
    return HomeAssistant(broker=access, interval_s=interval_s, **more)


@contextlib.asynccontextmanager
async def publishing(ask: ApiClient, config: HomeAssistant) -> AsyncIterator[None]:
    publisher = HomeAssistantPublisher(ask.backend.services, ask.latest, config)
    task = asyncio.create_task(publisher.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def record(seq: int, ev: str = EV, *, keyframe: bool = False, **values: float) -> bytes:
    signals = {name.replace("__", "."): value for name, value in values.items()}
    return encode_record(Record(ev, 1, seq, 60_000 + seq * 1000, "charging", keyframe, signals))


async def deliver(ask: ApiClient, *records: bytes) -> None:
    ask.backend.clock.now_ms = 120_000
    assert (await ask("POST", "/telemetry", b"[" + b",".join(records) + b"]")).json["stored"] == len(records)


PLACE = {"station_id": "CS-V2G-0001", "evse_id": 1, "node": "main", "most_ma": 32_000}
DEPOT = {"id": SITE_NAME, "nodes": [{"id": "main", "limits": [63_000, 63_000, 63_000]}], "places": [PLACE]}


async def test_sites_appear_and_vehicles_only_if_they_are_named(
    ask: ApiClient, house: Broker, retained: Retained
) -> None:
    assert (await ask("PUT", SITE_PATH, DEPOT)).status == 200
    await deliver(ask, record(1, keyframe=True, battery__soc=50.5), record(1, ev="EV-2", battery__soc=20.0))
    async with publishing(ask, reached(house)):
        await until(lambda: retained.topics.get("v2g/state/status") == b"online")
        assert retained.configs("site", SITE_NAME) == SITE.keys()
        assert retained.state("site", SITE_NAME)["import_limit_w"] == 43_470
        assert not [topic for topic in retained.topics if "vehicle" in topic]
    await until(lambda: retained.topics.get("v2g/state/status") == b"offline")
    async with publishing(ask, reached(house, vehicles=("EV.*",))):
        await until(lambda: retained.state("vehicle", EV) is not None)
        assert retained.state("vehicle", EV)["battery.soc"] == 50.5
        assert retained.configs("vehicle", EV) == {"battery_soc", "context", "at"}
        assert not [topic for topic in retained.topics if "EV-2" in topic]
        await deliver(ask, record(2, battery__soc=51.0))
        await until(lambda: retained.state("vehicle", EV)["battery.soc"] == 51.0)
        assert (await ask("DELETE", SITE_PATH)).status == 204
        await until(lambda: not retained.configs("site", SITE_NAME) and retained.state("site", SITE_NAME) is None)


async def test_a_position_goes_with_its_consent_and_a_vehicle_with_its_erasure(
    ask: ApiClient, house: Broker, retained: Retained
) -> None:
    await deliver(ask, record(1, keyframe=True, battery__soc=50.0, location__latitude=52.5, location__longitude=13.4))
    async with publishing(ask, reached(house, vehicles=("*",))):
        await until(lambda: retained.state("vehicle", EV) is not None)
        assert "location" in retained.configs("vehicle", EV)
        assert retained.state("vehicle", EV)["location"] == {"latitude": 52.5, "longitude": 13.4}
        await deliver(ask, record(2, keyframe=True, battery__soc=50.0))
        await until(lambda: "location" not in retained.configs("vehicle", EV))
        await until(lambda: "location" not in retained.state("vehicle", EV))
        assert (await ask("DELETE", f"/vehicles/{EV}/telemetry")).status == 204
        await until(lambda: not [topic for topic in retained.topics if "vehicle" in topic])


async def test_what_is_not_wanted_any_more_goes_with_the_next_start(
    ask: ApiClient, house: Broker, retained: Retained
) -> None:
    await deliver(ask, record(1, battery__soc=50.0))
    async with publishing(ask, reached(house, vehicles=("*",))):
        await until(lambda: retained.state("vehicle", EV) is not None)
    async with publishing(ask, reached(house)):
        await until(lambda: not [topic for topic in retained.topics if "vehicle" in topic])


async def test_a_broker_that_is_away_is_given_everything_when_it_is_back(ask: ApiClient, house: Broker) -> None:
    await deliver(ask, record(1, battery__soc=50.0))
    async with publishing(ask, reached(house, vehicles=("*",))):
        house.stop()
        again = await asyncio.to_thread(house.again)
        found = Retained(house.port)
        await until(lambda: found.state("vehicle", EV) is not None)
        found.close()
        again.stop()


async def test_the_late_will_of_a_node_that_led_before_is_corrected(
    ask: ApiClient, house: Broker, retained: Retained
) -> None:
    async with publishing(ask, reached(house, interval_s=0.3)):
        for status in (b"online", b"offline", b"online"):
            if status == b"offline":
                retained.client.publish("v2g/state/status", status, 1, retain=True)
            await until(lambda status=status: retained.topics.get("v2g/state/status") == status)  # type: ignore[misc]


async def test_a_damaged_note_of_topics_stops_nothing_and_is_written_again(
    ask: ApiClient, house: Broker, retained: Retained
) -> None:
    note = ask.backend.services.config.data_dir / "home-assistant.json"
    note.write_bytes(b'["\xff')
    await deliver(ask, record(1, battery__soc=50.0))
    async with publishing(ask, reached(house, vehicles=("*",))):
        await until(lambda: retained.state("vehicle", EV) is not None)
    assert set(json.loads(note.read_bytes())) == retained.topics.keys() - {"v2g/state/status"}
    assert note.stat().st_mode & 0o777 == 0o600


@pytest.mark.long
async def test_home_assistant_finds_a_charger_and_the_sites_of_a_back_end(
    house: Broker, tmp_path: Path, pki: PkiTree, retained: Retained
) -> None:
    """Its own code reads what the charger's client and a back end's process have announced, and shows their states."""
    access = MqttConfig(host="127.0.0.1", port=house.port, without_tls=True)
    link = MqttEnergyManager(
        EnergyMqttConfig(broker=access, prefix="garage/one", home_assistant=HomeAssistantConfig()),
        1,
        lambda _evse, _command: None,
        lambda _reason: None,
    )
    await link.open()
    link.notify(ManagedStation(evses=(ManagedEvse(evse=1, status="Occupied", charging=True, power_w=-2_000),)))
    csms = await Program.start(
        write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki, home_assistant=reached(house, interval_s=1))),
        tmp_path / "csms.events",
        pki,
    )
    try:
        status, _ = await csms.request("PUT", "/sites/depot", json.dumps({**DEPOT, "id": "depot"}).encode())
        assert status == 200
        await until(lambda: retained.configs("site", "depot") == SITE.keys())
        installs = "homeassistant==2024.3.3", "paho-mqtt==1.6.1", "janus==1.0.0", "numpy==1.26.0"
        python = await asyncio.to_thread(environment, "home-assistant", installs)
        wanted = str(len(EVSE) + len(SITE))
        peer = await asyncio.create_subprocess_exec(
            python, PEER, str(house.port), wanted, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await peer.communicate()
    finally:
        await csms.stop()
        await link.close()
    shown = json.loads(output)
    assert len(shown) == len(EVSE) + len(SITE), errors.decode()
    evse, depot = node_of("evse", "garage/one/evse/1"), node_of("site", "depot")
    states = {key: each["state"] for key, each in shown.items()}
    assert (states[f"{evse}_status"], states[f"{evse}_power_w"]) == ("Occupied", "-2000")
    assert (states[f"{evse}_charging"], states[f"{evse}_setpoint_w"]) == ("on", "unknown")
    assert (states[f"{depot}_import_limit_w"], states[f"{depot}_sessions"]) == ("43470", "0")
    assert {each["device"] for each in shown.values()} == {"garage/one/evse/1", "depot"}
