"""What the back end and the grid change while a vehicle is at a whole charger."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymodbus.client import AsyncModbusTcpClient

from pki_tools.tree import PkiTree
from tests.secc.backend import Backend, backend
from tests.secc.stand import bundle, charge, signal, stand
from tests.station.profiles import profile
from v2g.energy.frequency_trace import FrequencyTrace
from v2g.energy.grid_signal import GridSignal, PriceSignal, SignalSlot
from v2g.hardware.interfaces import Demand
from v2g.io.hardware.energy_modbus import ModbusEnergyManager
from v2g.io.simulation.power import SimulatedStage
from v2g.ocpp.messages.data_transfer import VENDOR

DC = '[charger]\nservices = [6]\npoll_hold_s = 0.05\n[hardware]\nkind = "dc"\n'
STATION = """[station]
url = "ws://127.0.0.1:{port}/ocpp"
identity = "CS-1"
store = "station.db"
retry_minimum = 0.02
"""
MINUTE_MS = 60_000
PAID_LESS = 50_000
"""What a kWh fed back earns less than one taken costs."""


@pytest.fixture
async def csms() -> AsyncIterator[Backend]:
    async with backend() as found:
        found.versions = ["ocpp2.1"]
        found.answers["Authorize"] = {"allowed_energy_transfer": ["DC", "DC_BPT"]}
        yield found


async def push(csms: Backend, grid: GridSignal) -> None:
    """Send a grid signal over the wire."""
    data = msgspec.to_builtins(grid.part(PriceSignal))
    answer = await csms.request("DataTransfer", {"vendorId": VENDOR, "messageId": "GridSignal", "data": data})
    assert answer == {"status": "Accepted"}


def minutes(begin_ms: int, prices: dict[int, int], *, version: int) -> GridSignal:
    """Return prices of minutes from `begin_ms` on."""
    slots = tuple(
        SignalSlot(
            start_ms=begin_ms + n * MINUTE_MS, duration_s=60, import_price=price, export_compensation=price - PAID_LESS
        )
        for n, price in prices.items()
    )
    return msgspec.structs.replace(signal(begin_ms, 22_000), slots=slots, version=version)


@pytest.mark.requirement("R7")
async def test_a_changed_minute_price_reaches_the_vehicle_and_prices_each_metered_minute(
    csms: Backend, pki: PkiTree, tmp_path: Path
) -> None:
    wish = charge("DC_BPT", 'do = "discharge"\nfor_s = 500')
    async with stand(tmp_path, pki, DC, wish, tables=STATION.format(port=csms.port)) as both:
        await csms.wait("BootNotification")
        begin_ms = both.vehicle.clock.utc_ms() // MINUTE_MS * MINUTE_MS
        first = {n: 250_000 + n * 1_000 for n in range(60)}
        await push(csms, minutes(begin_ms, first, version=2))
        running = asyncio.create_task(both.run())
        await both.until(lambda: any(each["power_w"] < 0 for each in both.named("evcc", "loop", "flow")))
        changed_ms, offers = both.vehicle.clock.utc_ms(), len(both.named("evcc", "offer", "decided"))
        from_minute = (changed_ms - begin_ms) // MINUTE_MS + 2
        second = first | {n: 400_000 + n * 1_000 for n in range(from_minute, 60)}
        await push(csms, minutes(begin_ms, second, version=3))
        await both.until(lambda: len(both.named("evcc", "offer", "decided")) > offers)
        assert both.vehicle.clock.utc_ms() - changed_ms <= MINUTE_MS
        assert both.named("evcc", "offer", "received")[-1]["best_compensation"] == max(second.values()) - PAID_LESS
        assert await running == "finished"
        taken, fed_back, *_ = both.energy_wh()
    _, settlement = bundle(tmp_path)
    for line in settlement["lines"]:
        n = (line["start_ms"] - begin_ms) // MINUTE_MS
        assert line["end_ms"] <= begin_ms + (n + 1) * MINUTE_MS, "no line spans two minutes"
        assert line["price"] == second[n] - (PAID_LESS if line["direction"] == "export" else 0)
    exported = [line for line in settlement["lines"] if line["direction"] == "export"]
    assert len({line["price"] for line in exported if line["price"] >= 350_000}) > 2, "changed prices were paid"
    assert sum(line["energy_mwh"] for line in exported) == round(fed_back * 1000)
    assert sum(line["energy_mwh"] for line in settlement["lines"]) == round((taken + fed_back) * 1000)


CURVE = ((49.5, -10_000.0), (49.9, 0.0), (50.1, 0.0), (50.5, 10_000.0))
"""What a back end sets: W at Hz."""


def on_curve(hz: float) -> float:
    """Return the power by the straight line between the two points on either side."""
    (low, least), (high, most) = next(pair for pair in itertools.pairwise(CURVE) if pair[0][0] <= hz <= pair[1][0])
    return least + (hz - low) / (high - low) * (most - least)


@pytest.mark.requirement("R47")
async def test_power_follows_the_frequency_by_the_curve_that_the_back_end_sets(
    csms: Backend, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 500 ms and 5 % (or 50 W), in both directions, and for as long as the frequency stays."""
    grid, now = [50.0], asyncio.get_running_loop().time
    monkeypatch.setattr(FrequencyTrace, "at", lambda _trace, _seconds: grid[-1])
    (tmp_path / "trace.csv").write_text("0,50\n1,50\n")
    frequency = '[station.frequency]\nsource = "trace"\ntrace = "trace.csv"\nevery_s = 0.1\n'
    unsigned = "direction_change_s = 0.0\n[charger.signed_discharge]\noffered = false\nrequired = false\n[hardware]"
    wish = '[services]\nenergy = ["DC_BPT"]\nsigned_discharge = false\n[[program]]\ndo = "follow"\nfor_s = 6\n'
    period = {
        "startPeriod": 0, "operationMode": "LocalFrequency", "v2xBaseline": 0.0,
        "v2xFreqWattCurve": [{"frequency": each, "power": watts} for each, watts in CURVE],
    }  # fmt: skip
    async with stand(
        tmp_path, pki, DC.replace("[hardware]", unsigned), wish, tables=STATION.format(port=csms.port) + frequency,
        scale=1.0, policy="minimum_soc = 20\nrequire_signed = false",
    ) as both:  # fmt: skip
        await csms.wait("BootNotification")
        wanted = {"evseId": 1, "chargingProfile": profile("TxDefaultProfile", periods=[period])}
        assert (await csms.request("SetChargingProfile", wanted))["status"] == "Accepted"

        def off_w() -> float:
            """Return how far the power that flows is from the curve, beyond what it may be."""
            present, wanted_w = both.controller.hardware.present, on_curve(grid[-1])
            return abs(present.voltage_mv * present.current_ma / 1e6 - wanted_w) - max(50.0, 0.05 * abs(wanted_w))

        running = asyncio.create_task(both.run())
        await both.until(lambda: both.named("secc", "power", "started"))
        for hz in (49.5, 49.6, 50.0, 50.3, 50.5, 49.7):
            grid.append(hz)
            began = now()
            await both.until(lambda: off_w() <= 0)
            assert now() - began <= 0.5
            loops = len(both.named("secc", "loop", "response"))
            while len(both.named("secc", "loop", "response")) < loops + 3:
                assert off_w() <= 0
                await asyncio.sleep(0.01)
        assert await running == "finished"
        taken, fed_back, *_ = both.energy_wh()
        assert min(taken, fed_back) > 0


MANAGER = """[[station.energy_managers]]
backend = "modbus"
source = "{source}"
fallback_charge_w = 10000
fallback_discharge_w = 10000
modbus = {{ port = 0 }}
"""
RATED_W, DEAD_S = 10_000, 0.5
STEP_S = 0.05
"""What may lie between a decision of the charger and the command: its dead time counts from the decision."""


@pytest.mark.requirement("R28")
async def test_power_keeps_every_limit_while_back_end_grid_operator_and_energy_manager_command_at_once(
    csms: Backend, pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command that the stage gets after a limit was acknowledged is above it; power turns around after a pause, and
    in the end it is what the newest command of each side makes of it."""
    chance, now = random.Random(28), asyncio.get_running_loop().time
    limits = dict.fromkeys(("back end", "SO", "EMS"), (RATED_W, RATED_W))
    setpoint_w, turned, broken = [0], [(0, 0.0)], list[str]()
    ports, opened, drive = list[int](), ModbusEnergyManager.open, SimulatedStage.drive

    async def opens(manager: ModbusEnergyManager, *arguments: Any) -> None:
        await opened(manager, *arguments)
        ports.append(manager.port)

    def drives(stage: SimulatedStage, demand: Demand) -> None:
        way = (demand.current_ma > 0) - (demand.current_ma < 0) if demand.power_w else 0
        most = [min(each[side] for each in limits.values()) for side in (0, 1)]
        if way and demand.power_w > most[way < 0]:
            broken.append(f"{way * demand.power_w} W, allowed {most}")
        last, ended = turned[-1]
        if way and last == -way and now() - ended < DEAD_S - STEP_S:
            broken.append(f"turns around after {now() - ended} s")
        present = stage.present.current_ma
        flows = way or (present > 100) - (present < -100)
        if flows:
            turned.append((flows, now()))
        drive(stage, demand)

    monkeypatch.setattr(ModbusEnergyManager, "open", opens)
    monkeypatch.setattr(SimulatedStage, "drive", drives)
    unsigned = (
        f"direction_change_s = {DEAD_S}\n[charger.signed_discharge]\noffered = false\nrequired = false\n[hardware]"
    )
    wish = '[services]\nenergy = ["DC_BPT"]\nsigned_discharge = false\n[[program]]\ndo = "follow"\nfor_s = 60\n'
    managers = "".join(MANAGER.format(source=side) for side in ("SO", "EMS"))

    def watts() -> int:
        return 500 * chance.randrange(RATED_W // 500 + 1)

    @contextlib.contextmanager
    def commands(side: str, most: tuple[int, int]) -> Iterator[None]:
        """Until it is acknowledged, a limit may hold or the one before."""
        limits[side] = max(most[0], limits[side][0]), max(most[1], limits[side][1])
        yield
        limits[side] = most

    async def profiles(power_w: int | None = None) -> None:
        most = (watts(), watts()) if power_w is None else (RATED_W, RATED_W)
        wanted = max(-most[1], min(most[0], 2 * watts() - RATED_W if power_w is None else power_w))
        period = {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": float(wanted)}
        period |= {"limit": float(most[0]), "dischargeLimit": -float(most[1])}
        data = {"evseId": 1, "chargingProfile": profile("TxDefaultProfile", periods=[period])}
        with commands("back end", most):
            assert (await csms.request("SetChargingProfile", data))["status"] == "Accepted"
        setpoint_w[0] = wanted

    async def registers(client: AsyncModbusTcpClient, side: str, most: tuple[int, int] | None = None) -> None:
        most = most or (watts(), watts())
        with commands(side, most):
            assert not (await client.write_registers(2, [0, most[0], 0, most[1]])).isError()

    async with stand(
        tmp_path, pki, DC.replace("[hardware]", unsigned), wish, tables=STATION.format(port=csms.port) + managers,
        scale=1.0, policy="minimum_soc = 20\nrequire_signed = false",
    ) as both:  # fmt: skip
        await csms.wait("BootNotification")
        clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for port in ports]
        await asyncio.gather(*(each.connect() for each in clients))
        await profiles()
        running = asyncio.create_task(both.run())
        await both.until(lambda: both.named("secc", "power", "started"))

        async def side(command: Callable[[], Awaitable[None]]) -> None:
            for _ in range(12):
                await command()
                await asyncio.sleep(chance.choice([0, 0, 0.02, 0.3, 0.7]))

        await asyncio.gather(
            side(profiles), *(side(partial(registers, *each)) for each in zip(clients, ("SO", "EMS"), strict=True))
        )
        charge_w, discharge_w = (min(each[way] for each in limits.values()) for way in (0, 1))
        newest_w = max(-discharge_w, min(charge_w, setpoint_w[0]))

        def off_w() -> float:
            present = both.controller.hardware.present
            return abs(present.voltage_mv * present.current_ma / 1e6 - newest_w)

        await both.until(lambda: off_w() <= 50)
        for client, name in zip(clients, ("SO", "EMS"), strict=True):
            await registers(client, name, (RATED_W, RATED_W))
        for newest_w in (RATED_W // 2, -RATED_W // 2):
            await profiles(newest_w)
            await both.until(lambda: off_w() <= 50)
        both.vehicle.driver.end()
        assert await running == "finished"
        for each in clients:
            each.close()
    assert broken == []
    assert {way for way, _ in turned} >= {-1, 1}, "power has turned around"
