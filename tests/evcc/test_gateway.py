"""The telemetry gateway, from CAN frames to a real broker and through outages."""

import asyncio
from pathlib import Path

from cli.demo.broker import Broker
from evcc.ecu import BatteryEcu, BatterySnapshot
from evcc.gateway import TOPIC, Gateway, GatewayConfig
from pki_tools.tree import PkiTree
from v2g.net.can import CanConfig, CanPort
from v2g.net.clock import Clock
from v2g.net.mqtt import MqttClient
from v2g.net.mqtt_config import MqttConfig
from v2g.net.outbox import Outbox
from v2g.observe import Observe
from v2g.telemetry.batch import Mirror
from v2g.telemetry.signals import decode_record


def snapshot(soc: float) -> BatterySnapshot:
    return BatterySnapshot(
        voltage_v=400.0, current_a=-25.0, soc_percent=soc, soh_percent=98.0, temperature_min=20.0, temperature_max=24.5,
        coolant_temperature=19.0, cell_voltage_min=3.701, cell_voltage_max=3.712, charged_wh=1200, discharged_wh=345,
        contactor_closed=True, power_request_w=-10_000, context="discharging",
    )  # fmt: skip


def mqtt(pki: PkiTree, broker: Broker, leaf: str, client_id: str) -> MqttConfig:
    return MqttConfig(
        host="127.0.0.1",
        port=broker.port,
        client_id=client_id,
        ca=pki.path("csms/root.pem"),
        chain=pki.path(f"csms/{leaf}/chain.pem"),
        key=pki.path(f"csms/{leaf}/leaf.key"),
    )


async def test_battery_frames_arrive_as_records_that_rebuild_the_state(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    mirror, whole = Mirror(), asyncio.Event()

    def take(_topic: str, payload: bytes) -> None:
        mirror.apply(decode_record(payload))
        if mirror.state.get("battery.soc") == 41.0:
            whole.set()

    sink = MqttClient(mqtt(pki, broker, "ingest", "sink"), on_message=take)
    sink.subscribe(TOPIC)
    sink.start()
    can = CanConfig(channel="state")
    config = GatewayConfig(
        ev="a1b2", outbox=tmp_path / "outbox.db", mqtt=mqtt(pki, broker, "gateway", "gw"), can=can, min_interval=0.0
    )
    events: list[Observe] = []
    gateway = Gateway(config, Clock(), events.append)
    async with asyncio.timeout(15):
        await sink.connected.wait()
        gateway.start()
        ecu, port = BatteryEcu(can, lambda: snapshot(0)), CanPort(can)
        for soc in range(50, 40, -1):
            for frame_id, data in ecu.frames(snapshot(float(soc))):
                port.send(frame_id, data)
        port.send(0x7DF, b"\x02\x01\x0c")  # somebody's diagnosis request: counted, not fatal
        await whole.wait()
        await port.close()
        await gateway.close()
    assert mirror.complete
    assert mirror.state["battery.current"] == -25.0
    assert mirror.state["battery.cell_voltage.max"] == 3.712
    assert events[-1].data == {
        "sent": gateway.sent, "waiting": 0, "dropped": 0, "unknown_frames": 1, "malformed_frames": 0
    }  # fmt: skip
    await sink.close()


async def test_without_an_uplink_records_wait_for_the_next_boot(pki: PkiTree, broker: Broker, tmp_path: Path) -> None:
    can = CanConfig(channel="offline")
    away = Broker(1, broker.process)  # nobody listens on port 1
    config = GatewayConfig(ev="a", outbox=tmp_path / "o.db", mqtt=mqtt(pki, away, "gateway", "gw"), can=can)
    gateway = Gateway(config, Clock(), lambda _: None)
    gateway.start()
    port = CanPort(can)
    for frame_id, data in BatteryEcu(can, lambda: snapshot(50)).frames(snapshot(50)):
        port.send(frame_id, data)
    await port.close()
    async with asyncio.timeout(10):
        while not len(gateway._outbox):
            await asyncio.sleep(0)
    await gateway.close(drain=0.0)
    box = Outbox(tmp_path / "o.db")
    assert [seq for _, seq, _ in box.pending()] == list(range(1, len(box) + 1))
    assert len(box) >= 1
    box.close()


async def test_it_ends_also_when_a_frame_comes_at_that_very_moment(pki: PkiTree, tmp_path: Path) -> None:
    away = Broker(1, None)  # type: ignore[arg-type]  # nobody connects
    config = GatewayConfig(
        ev="a", outbox=tmp_path / "o.db", mqtt=mqtt(pki, away, "gateway", "gw"), can=CanConfig(channel="moment")
    )
    gateway = Gateway(config, Clock(), lambda _: None)
    gateway._batcher.deadline = lambda: 1e12  # type: ignore[method-assign]  # something is due, but not yet
    task = asyncio.create_task(gateway._batch())
    for _ in range(3):
        await asyncio.sleep(0)
    gateway._work.set()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    assert done
    assert task.cancelled()
