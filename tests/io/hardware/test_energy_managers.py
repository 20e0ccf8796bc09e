"""Energy managers on real wires: pymodbus at our registers, paho at a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import pytest_asyncio
from pymodbus.client import AsyncModbusTcpClient

from tests.telemetry.brokers import plain_broker
from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation
from v2g.io.hardware.energy_config import EnergyModbusConfig, EnergyMqttConfig
from v2g.io.hardware.energy_modbus import ModbusEnergyManager
from v2g.io.hardware.energy_mqtt import MqttEnergyManager
from v2g.io.mqtt.config import MqttConfig
from v2g_cli.demo.broker import Broker

STATE = ManagedStation(heard=True, timeout_s=60, evses=(ManagedEvse(evse=1, status="Occupied", power_w=-2_000),))


class Incoming:
    """What the charger receives."""

    def __init__(self) -> None:
        self.words: list[tuple[int, EnergyCommand]] = []
        self.refused: list[str] = []

    def take(self, evse_id: int, word: EnergyCommand) -> None:
        self.words.append((evse_id, word))


# -- Modbus TCP


@pytest_asyncio.fixture
async def modbus() -> AsyncIterator[tuple[ModbusEnergyManager, Incoming, AsyncModbusTcpClient]]:
    incoming = Incoming()
    link = ModbusEnergyManager(EnergyModbusConfig(port=0), 1, incoming.take, incoming.refused.append)
    await link.open()
    client = AsyncModbusTcpClient("127.0.0.1", port=link.port, timeout=5, retries=0)
    assert await client.connect()
    yield link, incoming, client
    client.close()
    await link.close()


async def test_pymodbus_writes_what_it_wants_and_reads_how_things_are(
    modbus: tuple[ModbusEnergyManager, Incoming, AsyncModbusTcpClient],
) -> None:
    link, incoming, client = modbus
    link.notify(STATE)
    kinds = client.DATATYPE
    limit = client.convert_to_registers(11_000, kinds.UINT32) + client.convert_to_registers(0, kinds.UINT32)
    assert not (await client.write_registers(2, limit)).isError()
    assert not (await client.write_register(0, 1)).isError()
    assert incoming.words == [(0, EnergyCommand(limit_w=11_000, discharge_w=0))] * 2
    assert (await client.read_holding_registers(2, count=4)).registers == limit
    shown = (await client.read_input_registers(100, count=20)).registers
    assert client.convert_from_registers(shown[2:4], kinds.INT32) == -2_000
    half = await client.write_register(2, 5)
    assert (half.isError(), half.exception_code) == (True, 3)
    assert (await client.read_coils(0, count=1)).exception_code == 1
    assert incoming.refused == ["register 2: Modbus exception 3"]


# -- MQTT


@pytest.fixture
def house_broker(tmp_path: Path) -> Iterator[Broker]:
    with plain_broker(tmp_path) as found:
        yield found


class Manager:
    """An energy manager of another make: paho alone."""

    def __init__(self, port: int) -> None:
        self.seen: dict[str, Any] = {}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.client.on_message = lambda _client, _user, each: self.seen.update({each.topic: json.loads(each.payload)})
        self.client.on_connect = lambda client, *_: client.subscribe("site/#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self.client.publish(f"site/{topic}", payload, qos=1, retain=retain).wait_for_publish(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        del self.client  # paho closes its last sockets once nothing refers to it


async def test_words_come_over_a_real_broker_and_the_state_is_retained(
    house_broker: Broker, until: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret\n")
    access = MqttConfig(
        host="127.0.0.1",
        port=house_broker.port,
        username="charger",
        password_file=tmp_path / "password",
        without_tls=True,
    )
    manager = Manager(house_broker.port)
    await asyncio.to_thread(manager.say, "set", '{"limit_w": 1}', retain=True)  # of an age that nobody knows
    incoming = Incoming()
    link = MqttEnergyManager(EnergyMqttConfig(broker=access, prefix="site"), 2, incoming.take, incoming.refused.append)
    await link.open()
    link.notify(STATE)
    await until(lambda: manager.seen.get("site/evse/1/state", {}).get("power_w") == -2_000)
    assert manager.seen["site/evse/1/state"]["status"] == "Occupied"
    await until(lambda: manager.seen.get("site/state") == {"online": True, "heard": True, "timeout_s": 60, "evses": 1})
    await asyncio.to_thread(manager.say, "evse/2/set", '{"setpoint_w": -3000}')
    await until(lambda: incoming.words == [(2, EnergyCommand(setpoint_w=-3_000))])
    await asyncio.to_thread(manager.say, "evse/1/set", '{"load_w": 5}')
    await until(lambda: manager.seen.get("site/refused", {}).get("topic") == "site/evse/1/set")
    assert len(incoming.refused) == 1
    await link.close()
    await until(lambda: manager.seen["site/state"] == {"online": False})
    manager.close()


async def test_a_password_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    incoming = Incoming()
    access = MqttConfig(host="127.0.0.1", username="charger", password_file=tmp_path / "none", without_tls=True)
    with pytest.raises(TransportError, match="none"):
        MqttEnergyManager(EnergyMqttConfig(broker=access), 1, incoming.take, incoming.refused.append)
