"""What tests of charging share: stations and their answers, vehicles that also discharge, services that go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Protocol

from csms.cluster.bus import LocalBus, LocalHub
from csms.config import StationEntry
from csms.grid.source import GridSource
from csms.smart_charging.rules import DISPATCH_PROFILE
from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, TestClock, running_backend
from tests.csms.charging import VALID, Charging
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.support import grid_signal, make_config
from v2g.energy.grid_signal import SignalSlot
from v2g.ocpp.routes import Version

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}
NAMES = [f"CS-V2G-000{n}" for n in range(1, 6)]
TOKENS = (TokenEntry(id_token=VALID["idToken"], type=VALID["type"], energy_transfer=("DC", "DC_BPT")),)
HOUR_MS = 3_600_000


async def booted(csms: Backend, name: str = NAMES[0], version: Version = "2.1") -> ScriptedStation:
    """A station that accepts every profile."""
    station = await csms.booted(name, version)
    actions = (
        "SetChargingProfile", "UpdateDynamicSchedule", "ClearChargingProfile", "UsePriorityCharging", "DataTransfer"
    )  # fmt: skip
    station.answers |= dict.fromkeys(actions, ACCEPTED) | {"GetVariables": Refused("NotSupported")}
    return station


async def vehicle(
    csms: Backend, station: ScriptedStation, evse_id: int = 1, requested: str = "DC_BPT", **able: float
) -> Charging:
    """A vehicle of 11 kW in and 8 kW out, plugged in and authorised."""
    charge = Charging(csms, station, evse_id=evse_id)
    await charge.authorized()
    await charge.plugged()
    await send_needs(station, evse_id, requested, **able)
    return charge


async def send_needs(
    station: ScriptedStation, evse_id: int = 1, requested: str = "DC_BPT", departure: str = "", **able: float
) -> None:
    """Have a vehicle say what it can, or something else than before."""
    able = {"maxChargePower": 11000.0, "maxDischargePower": -8000.0, "evTargetEnergyRequest": 20000.0, **able}
    needs: Payload = {
        "requestedEnergyTransfer": requested, "controlMode": "DynamicControl", "v2xChargingParameters": able
    }  # fmt: skip
    if departure:
        needs["departureTime"] = departure
    await station.call("NotifyEVChargingNeeds", {"evseId": evse_id, "chargingNeeds": needs})


async def send_older_needs(station: ScriptedStation) -> None:
    """Have a vehicle at a station of 2.0.1 say what it can."""
    able = {"evMaxCurrent": 100, "evMaxVoltage": 400, "evMaxPower": 11_000}
    needs = {"requestedEnergyTransfer": "DC", "dcChargingParameters": able}
    await station.call("NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": needs})


FLEET_ENERGIES = {"evTargetEnergyRequest": 5000.0, "evMaxEnergyRequest": 30000.0, "evMinEnergyRequest": -20000.0}
"""Of a vehicle that can take 30 kWh and give 20, Wh."""


async def fleet_vehicle(csms: Backend, name: str = NAMES[0], **able: float) -> Charging:
    """A vehicle that a plan can trade with, at a station of its own."""
    return await vehicle(csms, await booted(csms, name), **{**FLEET_ENERGIES, **able})


def next_hour(clock: TestClock) -> None:
    """Make it the next full hour."""
    clock.now_ms = (clock.now_ms // HOUR_MS + 1) * HOUR_MS


async def offer(csms: Backend, *prices: tuple[int, int], version: int = 1, **changes: Any) -> None:
    """Set prices (import, export in micro-units), each for two hours from now on."""
    begin = csms.clock.utc_ms() // 900_000 * 900_000
    slots = tuple(
        SignalSlot(start_ms=begin + n * 2 * HOUR_MS, duration_s=7200, import_price=buy, export_compensation=sell)
        for n, (buy, sell) in enumerate(prices)
    )
    limits = {
        "site_import_limit_w": 60_000, "export_limit_w": 60_000, "valid_until_ms": begin + 48 * HOUR_MS, **changes
    }  # fmt: skip
    await csms.services[GridSource].offer(grid_signal(version, issued_at_ms=begin, slots=slots, **limits), "test")


def limit_ma(found: Payload) -> int:
    """The limit (mA) of a share or default profile."""
    return round(found["chargingSchedule"][0]["chargingSchedulePeriod"][0]["limit"] * 1000)


def setpoint(found: Payload) -> float:
    """The set-point (W) of a dispatch profile."""
    return float(found["chargingSchedule"][0]["chargingSchedulePeriod"][0]["setpoint"])


def commanded(station: ScriptedStation) -> list[float]:
    """Every set-point (W) that a station received, in order."""
    found = []
    for action, payload in station.calls:
        if action == "UpdateDynamicSchedule":
            found.append(float(payload["scheduleUpdate"]["setpoint"]))
        elif action == "SetChargingProfile" and payload["chargingProfile"]["id"] > DISPATCH_PROFILE:
            found.append(setpoint(payload["chargingProfile"]))
    return found


class Service(Protocol):
    """What goes on for ever."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Do so."""
        ...


@contextlib.asynccontextmanager
async def node(
    name: str, hub: LocalHub, tmp_path: Path, pki: PkiTree, empty_database: Path, **changes: Any
) -> AsyncIterator[Backend]:
    """One of the nodes of a back end, at a full hour."""
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    config = make_config(
        tmp_path, pki, tokens=TOKENS, stations=tuple(StationEntry(id=each) for each in NAMES), node=name,
        store_key=key, store_url=f"sqlite:///{tmp_path}/shared.sqlite", data_dir=tmp_path / name, **changes,
    )  # fmt: skip
    async with running_backend(config, empty_database, HOUR_MS * 500_000, LocalBus(name, hub)) as csms:
        next_hour(csms.clock)
        yield csms


@contextlib.asynccontextmanager
async def two_nodes(tmp_path: Path, pki: PkiTree, empty_database: Path) -> AsyncIterator[tuple[Backend, Backend]]:
    """Two nodes of one back end."""
    hub = LocalHub()
    async with (
        node("a", hub, tmp_path, pki, empty_database) as here,
        node("b", hub, tmp_path, pki, empty_database) as there,
    ):
        yield here, there


@contextlib.asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Let a service do its work; it has begun, and must not end by itself."""
    work = asyncio.create_task(service.run())
    await at_rest()
    try:
        yield
    finally:
        assert not work.done(), work.exception()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def at_rest() -> None:
    """Let everything go on that needs no time."""
    await asyncio.sleep(0.001)


async def settled() -> None:
    """Let a back end handle the events of before; it waits for others for a second first."""
    await asyncio.sleep(1.5)
