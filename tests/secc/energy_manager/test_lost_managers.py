"""A lost, lying or flapping energy manager at the whole charger, in each language that has no state machine of its own:
silence never raises what may flow, and what replaced the commands is named (R206)."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import paho.mqtt.client as paho
import pytest
from pymodbus.client import AsyncModbusTcpClient

import secc.charger
from pki_tools.tree import PkiTree
from secc.charger import Charger
from tests.secc.bench_program import BENCH, made
from tests.telemetry.brokers import plain_broker
from v2g.errors import TransportError
from v2g.io.hardware import energy_relays
from v2g.io.hardware.energy_modbus import ModbusEnergyManager
from v2g.observe import Observe

Limits = tuple[int, int]

FALLBACK: Final = 6_000, 1_000
STATION: Final = """[site]
charge_w = 20000
discharge_w = 20000
[station]
url = "ws://127.0.0.1:9/ocpp"
identity = "CS-V2G-0001"
store = "station.db"
[[station.energy_managers]]
backend = "{backend}"
fallback_charge_w = 6000
fallback_discharge_w = 1000
timeout_s = 0.3
{backend} = {section}
"""


class ModbusWriter:
    """pymodbus, as an energy manager."""

    section = "{ port = 0 }"

    def __init__(self, patch: pytest.MonkeyPatch, _folder: Path, _stack: ExitStack) -> None:
        self._links: list[ModbusEnergyManager] = []
        opened, links = ModbusEnergyManager.open, self._links

        async def note(link: ModbusEnergyManager) -> None:
            await opened(link)
            links.append(link)

        patch.setattr(ModbusEnergyManager, "open", note)
        self._client: AsyncModbusTcpClient | None = None

    async def _open(self) -> AsyncModbusTcpClient:
        if self._client is None:
            self._client = AsyncModbusTcpClient("127.0.0.1", port=self._links[0].port)
            await self._client.connect()
        return self._client

    async def say(self, limits: Limits) -> None:
        await (await self._open()).write_registers(2, [0, limits[0], 0, limits[1]])

    async def lie(self) -> None:
        assert (await (await self._open()).write_registers(3, [7])).isError(), "half of a value"

    def vanish(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class MqttPublisher:
    """paho, as an energy manager at a broker in the house."""

    def __init__(self, _patch: pytest.MonkeyPatch, folder: Path, stack: ExitStack) -> None:
        port = stack.enter_context(plain_broker(folder)).port
        self.section = f'{{ prefix = "site", broker = {{ host = "127.0.0.1", port = {port}, without_tls = true }} }}'
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        stack.callback(self._client.loop_stop)
        stack.callback(self._client.disconnect)

    def _publish(self, text: str) -> None:
        self._client.publish("site/set", text, qos=1).wait_for_publish(5)

    async def say(self, limits: Limits) -> None:
        await asyncio.to_thread(self._publish, json.dumps({"limit_w": limits[0], "discharge_w": limits[1]}))

    async def lie(self) -> None:
        await asyncio.to_thread(self._publish, '{"limit_w": -1e99, "discharge_w": "all"}')

    def vanish(self) -> None:
        """It says no more."""


class Contacts:
    """Relays of a control box: W4 dims to 4.2 kW, S1 leaves 30 % of 10 kW."""

    section = "{ dim = { line = 4 }, feed_in_30 = { line = 2 }, installed_w = 10000 }"

    def __init__(self, patch: pytest.MonkeyPatch, _folder: Path, _stack: ExitStack) -> None:
        self._active: dict[str, bool] | None = {}
        patch.setattr(energy_relays, "POLL_S", 0.01)
        patch.setattr(energy_relays, "GpiodLines", lambda _out, _in: self)

    def read(self) -> dict[str, bool]:
        if self._active is None:
            raise TransportError("the chip is gone")
        return self._active

    def write(self, name: str, *, active: bool) -> None:
        raise AssertionError(name)

    def close(self) -> None:
        """Nothing is open."""

    async def say(self, limits: Limits) -> None:
        self._active = {"dim": limits[0] == 4_200, "feed_in_30": limits[1] == 3_000}

    async def lie(self) -> None:
        """A contact that bounces is read as nothing new."""

    def vanish(self) -> None:
        self._active = None


SPOKEN: Final = [(3_000, 500), (9_000, 5_000), (0, 0), (2_000, 20_000)]
CLOSED: Final = [(4_200, 3_000), (20_000, 20_000), (4_200, 20_000)]
"""What contacts can say; those that are open leave what the site may."""


@pytest.mark.requirement("R206")
@pytest.mark.parametrize(
    ("backend", "kind", "words"),
    [("modbus", ModbusWriter, SPOKEN), ("mqtt", MqttPublisher, SPOKEN), ("relays", Contacts, CLOSED)],
    ids=["modbus", "mqtt", "relays"],
)
async def test_a_manager_that_is_lost_lies_or_flaps_raises_nothing_and_its_successor_is_named(
    backend: str,
    kind: Callable[[pytest.MonkeyPatch, Path, ExitStack], ModbusWriter | MqttPublisher | Contacts],
    words: list[Limits],
    pki: PkiTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secc.charger, "DRAIN_S", 0.0)
    with ExitStack() as stack:
        manager, events = kind(monkeypatch, tmp_path, stack), list[Observe]()
        text = BENCH + STATION.format(backend=backend, section=manager.section)
        async with made(tmp_path, pki, text) as charger, asyncio.timeout(60):
            charger.observe.on_event.append(events.append)

            def lost() -> list[str]:
                return [str(each.data["instead"]) for each in events if each.name == "energy_manager_lost"]

            for word in (*words, *reversed(words)):  # it flaps: it comes and goes
                before = len(lost())
                await manager.say(word)
                while allowed(charger) != word and len(lost()) == before:
                    await asyncio.sleep(0.01)
                    await manager.say(word)  # until now the charger may not have listened
                said = allowed(charger)
                await manager.lie()
                manager.vanish()
                while len(lost()) == before:
                    now = allowed(charger)
                    assert all(each <= most for each, most in zip(now, said, strict=True)), "silence raises nothing"
                    await asyncio.sleep(0.001)
                least = tuple(map(min, word, FALLBACK))
                assert allowed(charger) == least
                limited = least != FALLBACK
                assert lost()[-1].startswith("fall-back, and the last command below it: " if limited else "fall-back: ")
                assert f"{least[0]} W in, {least[1]} W out" in lost()[-1]


def allowed(charger: Charger) -> Limits:
    """Return W that the charger may draw and feed back."""
    (controller,) = charger.controllers
    limits = controller.grid.limits
    return min(each.charge_w for each in limits), min(each.discharge_w for each in limits)
