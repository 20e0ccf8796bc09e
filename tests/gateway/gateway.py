"""What several tests of gateway use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from tests.waiting import until
from v2g.io.can import CanConfig, CanPort
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.telemetry.batch import Band, Bands
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway
from v2g_gateway.sources import Intake

EV = "EV-1"
AT_ONCE = Bands(parked=Band(0), driving=Band(0), charging=Band(0), fast_charging=Band(0))
NOBODY = MqttConfig(host="127.0.0.1", port=1, without_tls=True)


def snapshot(soc: float) -> BatterySnapshot:
    return BatterySnapshot(
        voltage_v=400.0, current_a=-25.0, soc_percent=soc, soh_percent=98.0, temperature_min=20.0, temperature_max=24.5,
        coolant_temperature=19.0, cell_voltage_min=3.701, cell_voltage_max=3.712, cell_voltage_mean=3.705,
        charged_wh=1200, discharged_wh=345,
        contactor_closed=True, power_request_w=-10_000, charging_power_w=-10_000, motor_rpm=0,
        ambient_temperature=18.5, context="discharging", grid_hz=49.987,
    )  # fmt: skip


def send_frames(can: CanConfig, port: CanPort, *socs: int) -> None:
    """Send the battery's state as a car's control units would, once for each state of charge."""
    ecu = BatteryEcu(can, lambda: snapshot(0))
    for soc in socs:
        for frame_id, data in ecu.frames(snapshot(float(soc))):
            port.send(frame_id, data)


@contextlib.asynccontextmanager
async def gateway(
    tmp_path: Path, mqtt: MqttConfig, *, drain: float = 10.0, **more: Any
) -> AsyncIterator[tuple[CanConfig, CanPort, list[Observe]]]:
    """Run a gateway on a virtual bus of its own, with no least interval between records."""
    can = CanSource(channel=str(tmp_path))
    settings = {
        "ev": EV,
        "outbox": tmp_path / "outbox.db",
        "outbox_sealed": "outbox_keys" in more,  # tests read the file
        "mqtt": mqtt,
        "can": can,
        "rates": AT_ONCE,
        "encoding": "json",
        "uplink_interval": 0.05,
    }
    events: list[Observe] = []
    running = await Gateway.open(GatewayConfig(**(settings | more)), Clock(), events.append)
    port = CanPort(can)
    async with asyncio.timeout(60):
        yield can, port, events
        await port.close()
        await running.close(drain=drain)


def data_of(events: list[Observe], name: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.name == name]


async def until_event(events: list[Observe], name: str) -> dict[str, Any]:
    """Wait for an event."""
    return (await until(lambda: data_of(events, name)))[0]


def intake(take: Callable[[Any], None]) -> Intake:
    """Return what gives all that sources have to `take`, which stores it."""

    async def on_payload(found: Sequence[Any]) -> None:
        for each in found:
            take(each)

    async def stored() -> None:
        pass

    return Intake(take, take, on_payload, stored)
