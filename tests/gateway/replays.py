"""What a gateway makes of a recording that it replays in place of the bus."""

import asyncio
from pathlib import Path
from typing import Any

import can

from evcc.hardware.ecu import BatteryEcu
from tests.gateway.gateway import EV, NOBODY, snapshot, until_event
from v2g.io.can import CanConfig
from v2g.io.runtime.clock import Clock
from v2g.io.storage.outbox import Outbox
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g.telemetry.signals import Record, decode_record
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway

BEGAN_S = 1_700_000_000.0


def drive(path: Path, *, seconds: int = 20, began_s: float = BEGAN_S) -> Path:
    """Write what a car's control units would have sent: 0.5 % less charge a second, at 5 Hz."""
    ecu = BatteryEcu(CanConfig(), lambda: snapshot(0))
    with can.Logger(path) as logger:
        for tick in range(seconds * 5):
            for frame_id, data in ecu.frames(snapshot(90.0 - 0.1 * tick)):
                at_s = began_s + tick / 5
                logger(can.Message(timestamp=at_s, arbitration_id=frame_id, is_extended_id=False, data=data))
    return path


async def kept(outbox: Path) -> list[Record]:
    """Return the records in an outbox."""
    box = await Outbox.open(outbox, EV, 1, keys=RecordKeys(outbox.with_suffix(".keys")))
    found = [decode_record(row.body) for row in await box.pending(limit=10_000)]
    await box.close()
    return found


async def replayed(
    folder: Path, recording: Path, speed: float = 1e6, **more: Any
) -> tuple[list[Record], list[Observe]]:
    """Return records and events of a gateway after it has replayed a recording; `more` is of its configuration."""
    events = list[Observe]()
    source = CanSource(replay=recording, replay_speed=speed)
    config = GatewayConfig(ev=EV, outbox=folder / f"{speed}.db", mqtt=NOBODY, can=source, **more)
    async with asyncio.timeout(60):
        running = await Gateway.open(config, Clock(), events.append)
        await until_event(events, "replay_ended")
        await running.close(drain=0)
    return await kept(config.outbox), events


def content(records: list[Record]) -> list[tuple[object, ...]]:
    return [(each.seq, each.utc_ms, each.context, each.keyframe, each.signals) for each in records]
