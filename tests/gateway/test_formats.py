"""Data of other makes through the gateway to the back end's store, nothing lost (R212)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.gateway import plain_broker
from csms.accounts.rules import Role
from pki_tools.tree import PkiTree
from tests.csms.api_support import ask, read
from tests.csms.conftest import Start, start
from tests.csms.support import TOKENS, Running
from tests.gateway.control_unit import VIN, ControlUnit, Vehicle
from tests.gateway.fleet import fleet_brokers, payload
from tests.gateway.gateway import AT_ONCE, data_of, until_event
from tests.packages import need
from tests.telemetry.j1939 import packets
from v2g.io.can import CanConfig, CanPort
from v2g.io.mqtt.client import MqttClient
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.obd import UnitValue
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway
from v2g_gateway.sources import SOURCES, FleetKafka, Intake, ObdConfig, Observer, OnMapped, SourceConfig, ValueSource
from v2g_gateway.uplink import HttpConfig

__all__ = ["start"]
pytestmark = pytest.mark.requirement("R212")

EACH: Final = pytest.mark.parametrize("number", [200, pytest.param(10_000, marks=pytest.mark.long)])
Step = Callable[[], Awaitable[list[Mapped]]]
Feed = Callable[[list[Observe], Step], Awaitable[None]]
"""Sends, given the gateway's events, and what waits until it has taken something more, and returns that."""


async def stored(
    monkeypatch: pytest.MonkeyPatch,
    start: Start,
    pki: PkiTree,
    folder: Path,
    source: SourceConfig,
    signal: str,
    feed: Feed,
) -> tuple[list[float], dict[str, float]]:
    """Return the values of a signal that the back end has stored, in order, once a gateway has delivered all, and the
    latest ones of all signals."""
    files = {name: pki.path(f"csms/{file}") for name, file in (("ca", "root.pem"), ("chain", "gateway/chain.pem"))}
    events = list[Observe]()
    async with asyncio.timeout(580), start() as csms:
        url = f"https://localhost:{csms.csms.ports['api']}/telemetry"
        config = GatewayConfig(
            ev="EV-1",
            outbox=folder / "o.db",
            http=HttpConfig(url=url, key=pki.path("csms/gateway/leaf.key"), **files),
            can=CanSource(channel=str(folder / "unused")),
            rates=AT_ONCE,
            dead_bands={signal: 0.0},
            consent=("battery", "cells", "charging", "driving", "location"),
            position_noise_m=0.0,
            signals={"BMS_Pack.StateOfCharge": "battery.soc"},  # no context, for which the first records would wait
            sources=(source,),
        )
        taken, recorded, make = list[Mapped](), list[Mapped](), SOURCES[source.kind]

        def counted(config: SourceConfig, intake: Intake, observe: Observer) -> ValueSource:
            async def on_payload(found: Sequence[Mapped]) -> None:
                await intake.on_payload(found)
                taken.extend(found)

            on_mapped: OnMapped = lambda mapped: (intake.on_mapped(mapped), taken.append(mapped))[0]  # noqa: E731
            return make(config, Intake(intake.on_fix, on_mapped, on_payload, intake.stored), observe)

        monkeypatch.setitem(SOURCES, source.kind, counted)

        async def step() -> list[Mapped]:
            """Let it take what was sent, and make a record of it."""
            while len(taken) == len(recorded):
                await asyncio.sleep(0.0005)
            new = taken[len(recorded) :]
            recorded.extend(new)
            await asyncio.sleep(0)
            return new

        gateway = await Gateway.open(config, Clock(), events.append)
        await feed(events, step)
        await gateway.close(drain=300.0)
        (stopped,) = data_of(events, "stopped")
        assert (stopped["waiting"], stopped["dropped"]) == (0, 0)
        (progress,) = await read(csms, "/telemetry/EV-1/hwm")
        assert progress["contiguous"] == progress["stored"] == progress["highest"]
        latest = {name: each["value"] for name, each in (await read(csms, "/vehicles/EV-1"))["values"].items()}
        return await _values(csms, signal), latest


async def _values(csms: Running, signal: str) -> list[float]:
    path, found = f"/vehicles/EV-1/values?signals={signal}&limit=1000", list[float]()
    while path:
        async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as answer:
            records = await answer.json()
            following = answer.links.get("next")
            path = "" if following is None else following["url"].path_qs
        keyframes = [each["values"][signal] for each in records]
        found += [
            value for place, value in enumerate(keyframes) if value != (keyframes[place - 1 : place] or [None])[0]
        ]
    return list(dict.fromkeys(found))


def truck_source(folder: Path, **more: Any) -> SourceConfig:
    return SourceConfig("j1939", can=CanConfig(channel=str(folder / "truck")), **more)


@EACH
async def test_messages_of_a_truck_are_stored_and_none_is_lost(
    number: int, start: Start, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = truck_source(tmp_path)

    async def feed(events: list[Observe], step: Step) -> None:
        await until_event(events, "source_connected")
        assert source.can is not None
        port = CanPort(source.can)
        for frame_id, data in packets(0xFC5E, bytes([240]) + b"\xff" * 36):
            port.send(frame_id, data)
        await step()
        for each in range(number):  # 5 m more each
            port.send(0x18FEC1EE, (100_000_000 + each).to_bytes(4, "little") + b"\xff" * 4)
            await step()
        await port.close()

    found, latest = await stored(monkeypatch, start, pki, tmp_path, source, "vehicle.odometer", feed)
    assert found == [round(500_000 + each * 0.005, 3) for each in range(number)]
    assert latest["battery.soh"] == 96


@EACH
async def test_answers_of_a_control_unit_are_stored_and_none_is_lost(
    number: int, start: Start, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can, vehicle = CanConfig(channel=str(tmp_path / "obd")), Vehicle()
    own = UnitValue(0x0101, "battery.energy.charged", octets=4)
    source = SourceConfig("obd", can=can, obd=ObdConfig(interval_s=0.01, values=(own,)), vin=VIN)

    async def feed(events: list[Observe], step: Step) -> None:
        await until_event(events, "source_connected")
        while vehicle.number < number:
            await asyncio.sleep(0.05)

    async with ControlUnit(can, vehicle) as unit:
        found, latest = await stored(monkeypatch, start, pki, tmp_path, source, "battery.energy.charged", feed)
    assert len(found) >= number - 1
    assert found == [float(each + 1) for each in range(len(found))]
    assert latest | {"battery.energy.charged": 0} == {
        "vehicle.speed": 90, "ambient.temperature": 20, "battery.soc": 50.2, "vehicle.odometer": 12_345.6,
        "battery.energy.charged": 0,
    }  # fmt: skip
    assert {each[0] for each in unit.requests} == {0x01, 0x09, 0x22}
    assert unit.others == []


@EACH
async def test_payloads_of_fleet_telemetry_by_kafka_are_stored_and_none_is_lost(
    number: int, start: Start, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fleet_brokers() as (producer, brokers):
        source = SourceConfig("tesla", kafka=FleetKafka(brokers), vin=VIN)

        async def feed(events: list[Observe], step: Step) -> None:
            producer.produce("tesla_V", payload(0), key=VIN)
            producer.flush(10)
            await until_event(events, "source_connected")
            for each in range(1, number):
                producer.produce("tesla_V", payload(each / 100), key=VIN)
                producer.produce("tesla_V", payload(99), key="5YJ3E1EA7HF000337")
                producer.poll(0)
            assert await asyncio.to_thread(producer.flush, 60) == 0
            while all(each.values.get("battery.soc") != (number - 1) / 100 for each in await step()):
                pass

        found, latest = await stored(monkeypatch, start, pki, tmp_path, source, "battery.soc", feed)
    assert found == [each / 100 for each in range(number)]
    assert latest["vehicle.odometer"] == pytest.approx(1609.344)


@EACH
async def test_fields_of_fleet_telemetry_by_mqtt_are_stored_and_none_is_lost(
    number: int, start: Start, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mosquitto", program="mosquitto")
    with plain_broker(tmp_path) as port:
        mqtt = MqttConfig(host="127.0.0.1", port=port, without_tls=True)
        source = SourceConfig("tesla", mqtt=mqtt, topic="telemetry", vin=VIN)

        async def feed(events: list[Observe], step: Step) -> None:
            await until_event(events, "source_connected")
            await asyncio.sleep(0.5)  # its subscription
            sender = MqttClient(mqtt, client_id="fleet-telemetry")
            sender.start()
            for each in range(number):
                body = (f'"{each / 100:.2f}"', f'{{"value": {each / 100}}}')[each % 2]
                await sender.publish(f"telemetry/{VIN}/v/Soc", body.encode())
                await step()
            await sender.close()

        found, _ = await stored(monkeypatch, start, pki, tmp_path, source, "battery.soc", feed)
    assert found == [each / 100 for each in range(number)]
