"""What several tests of local source use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from evcc.checkpoints import CheckpointsConfig, kept
from tests.gateway.gateway import EV, NOBODY
from tests.waiting import until
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.event_socket import EventSocket, EventSocketConfig
from v2g.io.runtime.events import EventLog
from v2g.io.storage.outbox import BEGINNING, Outbox
from v2g.observe import Observe
from v2g.telemetry.signals import Record, decode_record
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway


def copies(numbers: Iterable[int]) -> list[Copy]:
    return [Copy(session_id="00" * 8, number=n, checkpoint=b"checkpoint", receipt=b"receipt") for n in numbers]


@contextlib.asynccontextmanager
async def program(folder: Path, stored: int = 0) -> AsyncIterator[tuple[EventSocket, EventLog]]:
    """Run the local end of a vehicle's program that keeps checkpoints 1 to `stored`."""
    file = CheckpointsConfig(file=folder / "checkpoints.jsonl")
    file.file.write_bytes(b"".join(map(encode_copy, copies(range(1, stored + 1)))) + b'{"torn')
    local = EventSocket(EventSocketConfig(socket=folder / "evcc.sock"), lambda: kept(file))
    await local.open()
    yield local, EventLog("evcc", Clock(), local=local)
    await local.close()


@contextlib.asynccontextmanager
async def gateway(folder: Path, **more: Any) -> AsyncIterator[list[Observe]]:
    """Run a gateway without an uplink that reads the program's socket."""
    events: list[Observe] = []
    settings = {
        "ev": EV,
        "outbox": folder / "o.db",
        "outbox_sealed": False,
        "mqtt": NOBODY,
        "can": CanSource(channel=str(folder)),
    }
    config = GatewayConfig(**(settings | {"event_sockets": (folder / "evcc.sock",)} | more))
    running = await Gateway.open(config, Clock(), events.append)
    async with asyncio.timeout(60):
        yield events
        await running.close(drain=0)


async def records(folder: Path) -> list[Record]:
    box = await Outbox.open(folder / "o.db", EV, 1)
    found = await box.pending()
    while rows := await box.pending(found[-1].position if found else BEGINNING):
        found += rows
    await box.close()
    return [decode_record(row.body) for row in found]


async def numbers(folder: Path) -> list[int]:
    return [each.checkpoint.number for each in await records(folder) if isinstance(each.checkpoint, Copy)]


async def taken(folder: Path, count: int) -> None:
    """Wait until so many checkpoints are in the outbox."""
    file = folder / "o.checkpoints"
    await until(lambda: file.exists() and len(file.read_bytes().splitlines()) >= count)
