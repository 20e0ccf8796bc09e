"""What the CSMS wants of the charger as such happens: out of service, kept for somebody, started anew."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.charger import Charger
from secc.evse import core as evse
from secc.evse import restarting
from secc.evse.controller import EvseController
from secc.evse.restarting import AGAIN, restart_device
from tests.secc.backend import Backend, backend
from tests.secc.bench_program import BENCH, made
from tests.secc.charger import SilentVehicle
from tests.secc.station.commands import STATION
from tests.secc.station.station import Fixture
from v2g.observe import Observe
from v2g.ocpp.messages.authorization import IdToken
from v2g_station.blocks.evse import Indicate, Restart, TokenPresented
from v2g_station.blocks.transactions.managed import RemoteStopRequested


@pytest.fixture
async def csms() -> AsyncIterator[Backend]:
    async with backend() as found:
        yield found


@contextlib.asynccontextmanager
async def online(tmp_path: Path, pki: PkiTree, csms: Backend) -> AsyncIterator[Charger]:
    """Return a charger whose CSMS has accepted it."""
    async with made(tmp_path, pki, BENCH + STATION.format(port=csms.port)) as charger:
        assert charger.station is not None
        async with asyncio.timeout(60):
            await charger.station.online.wait()
        yield charger


async def arrive(controller: EvseController, vehicle: SilentVehicle) -> "asyncio.Task[None]":
    """Let a vehicle connect; return once it is served."""
    task = asyncio.create_task(controller.vehicle(vehicle, lambda stream: stream))  # type: ignore[arg-type]
    while not controller.busy:
        await asyncio.sleep(0)
    return task


async def test_at_an_evse_out_of_service_nobody_begins(tmp_path: Path, pki: PkiTree, csms: Backend) -> None:
    """G03.FR.03; who is there goes on (G03.FR.05), and after a restart it is still so (G03.FR.08)."""
    seen: list[Observe] = []
    async with online(tmp_path, pki, csms) as charger:
        (controller,) = charger.controllers
        controller.observe = seen.append
        first = SilentVehicle(controller)
        serving = await arrive(controller, first)
        await csms.ask("ChangeAvailability", operational_status="Inoperative")
        await csms.wait("StatusNotification", where=lambda status: status["connector_status"] == "Unavailable")
        assert controller.busy
        first.closed.set()
        await serving
        await controller.vehicle(SilentVehicle(controller), lambda stream: stream)  # type: ignore[arg-type]
    async with online(tmp_path, pki, csms) as charger:
        (controller,) = charger.controllers
        controller.observe = seen.append
        await controller.vehicle(SilentVehicle(controller), lambda stream: stream)  # type: ignore[arg-type]
        refused = [event.data["reason"] for event in seen if event.name == "refused"]
        assert refused == ["out_of_service", "out_of_service"]
        await csms.ask("ChangeAvailability", operational_status="Operative")
        await csms.wait("StatusNotification", where=lambda status: status["connector_status"] == "Available")
        second = SilentVehicle(controller)
        serving = await arrive(controller, second)
        second.closed.set()
        await serving


async def test_a_reset_waits_for_who_is_served_and_lets_nobody_new_begin(
    tmp_path: Path, pki: PkiTree, csms: Backend
) -> None:
    """B12.FR.01, and B01: the next boot says why."""
    async with online(tmp_path, pki, csms) as charger:
        (controller,) = charger.controllers
        vehicle = SilentVehicle(controller)
        serving = await arrive(controller, vehicle)
        await csms.ask("Reset", type="OnIdle")
        await csms.wait("StatusNotification", where=lambda status: status["connector_status"] == "Unavailable")
        assert not controller.in_service
        assert not charger.restarting.due.is_set()
        vehicle.closed.set()
        await serving
        async with asyncio.timeout(60):
            await charger.restarting.due.wait()
    async with online(tmp_path, pki, csms):
        assert [boot["reason"] for boot in csms.all("BootNotification")] == ["PowerUp", "RemoteReset"]


async def test_a_reset_at_once_cuts_a_vehicle_off_that_does_not_stop(
    tmp_path: Path, pki: PkiTree, csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B12.FR.04."""
    monkeypatch.setattr(evse, "GRACE_S", 0.0)
    async with online(tmp_path, pki, csms) as charger:
        (controller,) = charger.controllers
        serving = await arrive(controller, SilentVehicle(controller))
        assert (await csms.ask("Reset", type="Immediate")).status == "Accepted"
        async with asyncio.timeout(60):
            await serving
            await charger.restarting.due.wait()


async def test_a_reset_that_keeps_transactions_leaves_open_what_rests() -> None:
    """B13: a session that its vehicle has paused is not waited for."""
    facts: list[Restart] = []

    async def settled() -> None:
        pass

    controller: Any = SimpleNamespace(busy=False, paused=object(), fact=facts.append, settled=settled)
    waiting = restarting.Restarting([controller], lambda _: None)
    waiting.ask(Restart(evse_id=None, at_once=True, keep=True), lambda: None)
    async with asyncio.timeout(60):
        await waiting.due.wait()
    assert facts == [Restart(evse_id=None, at_once=True, keep=True)]


async def test_one_evse_is_not_reset_alone(tmp_path: Path, pki: PkiTree, csms: Backend) -> None:
    """B11.FR.09: all EVSEs are one program."""
    async with online(tmp_path, pki, csms) as charger:
        assert (await csms.ask("Reset", type="Immediate", evse_id=1)).status == "Rejected"
        assert charger.controllers[0].in_service


async def test_a_reserved_evse_is_kept_for_its_contract(tmp_path: Path, csms: Backend) -> None:
    """H03.FR.01, .09: others are refused, whoever has reserved uses it up."""
    fixture = Fixture(tmp_path, csms.port)
    async with fixture.online() as station:
        expiry = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        token: dict[str, Any] = {"id_token": "EMAID1", "type": "eMAID"}
        answer = await csms.ask("ReserveNow", id=5, expiry_date_time=expiry, id_token=token, evse_id=1)
        assert answer.status == "Accepted"
        assert (await station.requests.authorize("EMAID2", ())).decision == "refused"
        assert (await station.requests.authorize("EMAID1", ())).decision == "accepted"
        station.started("a", "EMAID1")
        assert (await csms.wait("TransactionEvent"))["reservation_id"] == 5
        station.ended("a", trigger="EVDeparted", reason="EVDisconnected")
        assert (await station.requests.authorize("EMAID2", ())).decision == "accepted"


async def test_a_card_of_its_group_ends_what_a_contract_pays(tmp_path: Path, csms: Backend) -> None:
    """C09.FR.11."""
    fixture = Fixture(tmp_path, csms.port)
    info: dict[str, Any] = {"status": "Accepted", "group_id_token": {"id_token": "FAMILY", "type": "Central"}}
    csms.answers["Authorize"] = {"id_token_info": info}
    async with fixture.online() as station:
        assert (await station.requests.authorize("EMAID1", ())).decision == "accepted"
        station.started("a", "EMAID1")
        for group, ended in (("ANOTHER", []), ("FAMILY", ["a"])):
            csms.answers["Authorize"] = {
                "id_token_info": info | {"group_id_token": {"id_token": group, "type": "Central"}}
            }
            before = len(fixture.charger.all(Indicate))
            station.fact(TokenPresented(id_token=IdToken(id_token=group, type="ISO14443"), evse_id=1))
            while len(fixture.charger.all(Indicate)) == before and not fixture.charger.all(RemoteStopRequested):
                await asyncio.sleep(0.001)
            assert [each.reference for each in fixture.charger.all(RemoteStopRequested)] == ended


async def test_a_device_that_cannot_be_restarted_starts_its_program_anew() -> None:
    reported: list[Observe] = []
    assert await restart_device((), reported.append) == AGAIN
    assert await restart_device(("true",), reported.append) == 0
    assert not reported
    assert await restart_device(("false",), reported.append) == AGAIN
    assert await restart_device(("/not/there",), reported.append) == AGAIN
    assert [event.name for event in reported] == ["restart_failed", "restart_failed"]


@pytest.mark.long
def test_a_program_that_starts_anew_keeps_its_arguments_and_its_process(tmp_path: Path) -> None:
    code = """
import os, sys, pathlib
from secc.evse.restarting import start_anew
told = pathlib.Path(sys.argv[1])
with told.open("a") as file:
    print(os.getpid(), *sys.argv[1:], file=file)
if len(told.read_text().splitlines()) < 2:
    start_anew()
"""
    reported = tmp_path / "told"
    process = subprocess.Popen([sys.executable, "-c", code, str(reported), "--flag"])
    assert process.wait() == 0
    assert reported.read_text().splitlines() == [f"{process.pid} {reported} --flag"] * 2
