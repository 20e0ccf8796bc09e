"""kill -9 between a station's acceptance of more power and its note: what it then delivers is not held."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from sqlalchemy import Connection, select

from csms.booking import held
from csms.db.store import Store
from csms.dispatch import store as dispatch_store
from csms.dispatch.rules import Order
from csms.sites.rules import Balancing
from csms.smart_charging.tables import limits_in_force
from pki_tools.tree import PkiTree
from tests.csms.killable import BackendProcess, survivors_killed
from tests.csms.settlement.journals import booted
from tests.waiting import until
from v2g.io.runtime.clock import ClockConfig
from v2g.ocpp.times import format_time

__all__ = ["survivors_killed"]  # a fixture

pytestmark = pytest.mark.requirement("R195")

NAME, BEGIN_MS = "CS-V2G-0001", 1_795_000_000_000
LATER_MS = 30 * 60_000


class ObedientStation:
    """It accepts every set-point (W); `kills` is killed when it has accepted another one, before it says so."""

    def __init__(self, pki: PkiTree) -> None:
        self._pki, self._numbers = pki, itertools.count(1)
        self.setpoints: asyncio.Queue[float] = asyncio.Queue()
        self.kills: BackendProcess | None = None

    @contextlib.asynccontextmanager
    async def connected(self, backend: BackendProcess) -> AsyncIterator[Any]:
        """Connect, and answer requests after what the test asks."""
        async with backend.connect(backend.port, NAME, self._pki) as socket:
            yield socket

    async def call(self, socket: Any, action: str, payload: dict[str, Any]) -> None:
        """Send a request and wait for its answer."""
        number = str(next(self._numbers))
        await socket.send(json.dumps([2, number, action, payload]))
        while (frame := json.loads(await socket.recv()))[:2] != [3, number]:
            assert frame[0] == 2, (action, payload, frame)
            await self._answer(socket, *frame[1:])

    async def follow(self, socket: Any) -> None:
        """Answer requests, until the connection ends."""
        with contextlib.suppress(websockets.WebSocketException):
            while True:
                await self._answer(socket, *json.loads(await socket.recv())[1:])

    async def _answer(self, socket: Any, number: str, action: str, payload: dict[str, Any]) -> None:
        status = "Accepted"
        if action == "GetChargingProfiles":
            status = "NoProfiles"
        elif action == "SetChargingProfile":
            (period,) = payload["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"]
            self.setpoints.put_nowait(period["setpoint"])
        elif action == "UpdateDynamicSchedule":
            self.setpoints.put_nowait(payload["scheduleUpdate"]["setpoint"])
            if self.kills is not None:
                await asyncio.to_thread(self.kills.kill)
        await socket.send(json.dumps([3, number, {"status": status}]))


def event(kind: str, seq_no: int, at_ms: int, wh: int, **more: Any) -> dict[str, Any]:
    """A TransactionEvent with the import register."""
    at = format_time(at_ms)
    sample = {"value": wh, "measurand": "Energy.Active.Import.Register"}
    return {
        "eventType": kind, "timestamp": at, "triggerReason": "MeterValuePeriodic", "seqNo": seq_no,
        "transactionInfo": {"transactionId": "tx", "chargingState": "Charging"}, "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": at, "sampledValue": [sample]}], **more,
    }  # fmt: skip


def noted(connection: Connection) -> bool:
    """Whether a limit is on record."""
    return connection.execute(select(limits_in_force.c.id)).first() is not None


@pytest.mark.parametrize("raised", [True, False])
async def test_what_a_station_delivers_by_a_limit_that_its_killed_node_has_not_noted_is_not_held(
    store_url: str, tmp_path: Path, pki: PkiTree, *, raised: bool
) -> None:
    """Nobody else knows of it: no event follows for half an hour. Without the higher one the same energy is held."""
    root = pki.path("mo/root.pem")
    clock = partial(ClockConfig, origin_monotonic=time.monotonic())
    start = partial(BackendProcess, tmp_path, store_url, root, balancing=Balancing(settle_s=0.01))
    first = await asyncio.to_thread(start, clock=clock(origin_utc_ms=BEGIN_MS))
    station = ObedientStation(pki)
    with contextlib.closing(Store(store_url)) as store:

        async def order(setpoint_w: int) -> None:
            """Another node, that is gone, has left a set-point: it is sent when its station connects."""
            until_ms = BEGIN_MS + 2 * LATER_MS
            left = Order(setpoint_w=setpoint_w, stations=None, frequency=False, pull_s=None, until_ms=until_ms)
            store.do(dispatch_store.put_order, "gone", left, BEGIN_MS)
            async with station.connected(first) as socket:
                following = asyncio.create_task(station.follow(socket))
                async with asyncio.timeout(60):
                    assert await station.setpoints.get() == setpoint_w
                    await until(lambda: station.kills is not None or store.do(noted))
            await following

        async with station.connected(first) as socket:
            await booted(socket)
            await station.call(socket, "TransactionEvent", event("Started", 0, BEGIN_MS, 1_000))
            able = {"evMaxCurrent": 100, "evMaxVoltage": 500, "evMaxPower": 50_000}
            needs = {"requestedEnergyTransfer": "DC", "dcChargingParameters": able}
            await station.call(socket, "NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": needs})
        await order(5_000)
        if raised:
            station.kills = first
            await order(40_000)
        else:
            first.kill()
        now_ms = BEGIN_MS + LATER_MS
        second = await asyncio.to_thread(start, clock=clock(origin_utc_ms=now_ms))
        async with station.connected(second) as socket:
            for seq_no, (kind, minute, wh) in enumerate((("Updated", 4, 1_000), ("Ended", 24, 11_000)), 1):
                told = event(kind, seq_no, BEGIN_MS + minute * 60_000, wh, offline=True)
                await station.call(socket, "TransactionEvent", told)
        found = store.do(held.find, NAME, "tx")
        assert (found and found["reason"]) == (None if raised else "limits"), found
        second.kill()
