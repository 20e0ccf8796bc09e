"""`v2g station` with alternating current at the back end, both as programs: phases are switched, each is bounded.

What flows is read from the meter values that the back end has stored.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.program import Program, write_config
from tests.csms.support import STATION, make_config, provide
from v2g.ocpp.times import format_time
from v2g_cli.demo.processes import free_port

TOKEN = "04A1B2C3"
BEHAVIOUR = """
arrivals_per_hour = 0.0
offline_per_day = 0.0
faults_per_day = 0.0
phases = 3
phase_switch = {switch}
bidirectional = 1.0
vehicle_kw = [11.04, 11.04]
battery_kwh = [100.0, 100.0]
energy_kwh = [500.0, 500.0]
"""
MEASURANDS = "Current.Import,Power.Active.Import,Voltage"


class Site:
    """Both programs. A step moves the simulated vehicle; simulated time passes 20 times faster."""

    def __init__(self, program: Program, control: int) -> None:
        self._program, self._control = program, control
        self.transaction = ""

    async def step(self, *lines: str) -> None:
        """Take steps at the station."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._control)
        for line in lines:
            writer.write(f"{line}\n".encode())
            assert (await reader.readline()) == b"ok\n", line
        writer.close()

    async def ask(self, action: str, **payload: Any) -> Any:
        """Have the back end send a request to the station; return the answer."""
        path = f"/stations/{STATION}/commands/{action}"
        status, answer = await self._program.request("POST", path, json.dumps(payload).encode())
        assert status == 200, answer
        return answer

    async def charge(self, vehicle: str) -> None:
        """Let a vehicle come, and wait for its transaction."""
        variables = {"TxUpdatedInterval": "1", "TxUpdatedMeasurands": MEASURANDS}
        data = [
            {"component": {"name": "SampledDataCtrlr"}, "variable": {"name": name}, "attributeValue": value}
            for name, value in variables.items()
        ]
        set_ = (await self.ask("SetVariables", setVariableData=data))["setVariableResult"]
        assert {each["attributeStatus"] for each in set_} == {"Accepted"}
        await self.step(vehicle, f"present 1 {TOKEN}")
        self.transaction = (await self._program.event("transaction_started"))["transaction"]

    async def profile(self, mode: str = "ChargingOnly", **period: Any) -> Any:
        """Set a profile of the transaction, in A; return the station's answer."""
        schedule = {
            "id": 1, "chargingRateUnit": "A", "startSchedule": format_time(0),
            "chargingSchedulePeriod": [{"startPeriod": 0, "operationMode": mode} | period],
        }  # fmt: skip
        wanted = {
            "id": 7, "stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Absolute",
            "transactionId": self.transaction, "chargingSchedule": [schedule],
        }  # fmt: skip
        return await self.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)

    async def state(self) -> Any:
        """Return the transaction as the back end knows it."""
        return (await self._program.request("GET", f"/transactions/{self.transaction}"))[1]

    async def carries(self, *amperes: float) -> None:
        """Wait until the newest readings have these currents of L1, L2, L3 and N."""
        seen: list[float] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while seen != pytest.approx(list(amperes), abs=0.02):
                    await asyncio.sleep(0.1)
                    values = (await self.state())["meter_values"]
                    newest = {
                        each["phase"]: float(each["value"])
                        for each in values
                        if each["measurand"] == "Current.Import" and each.get("phase")
                    }
                    seen = [newest.get(name, -1.0) for name in ("L1", "L2", "L3", "N")]
        assert seen == pytest.approx(list(amperes), abs=0.02)


@contextlib.asynccontextmanager
async def site(folder: Path, pki: PkiTree, database: Path, *, switch: bool) -> AsyncIterator[Site]:
    """Run both programs."""
    given = make_config(folder, pki, tokens=(TokenEntry(id_token=TOKEN, type="ISO14443", energy_transfer=()),))
    provide(database, given)
    program = await Program.start(write_config(folder / "csms.yaml", given), folder / "events", pki)
    behaviour, control = folder / "behaviour.toml", free_port()
    behaviour.write_text(BEHAVIOUR.format(switch=str(switch).lower()))
    files = {"--ca": "csms/root.pem", "--cert": "csms/station/chain.pem", "--key": "csms/station/leaf.key"}
    station = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("v2g")), "station", "--url", f"wss://127.0.0.1:{program.ports['ocpp']}/ocpp",
        *(word for name, file in files.items() for word in (name, str(pki.path(file)))),
        "--prefix", STATION[:-1], "--evses", "1", "--speed", "20", "--ocpp", "2.1", "--no-live",
        "--behaviour", str(behaviour), "--control", str(control), stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await program.event("boot_accepted")
        yield Site(program, control)
    finally:
        station.terminate()
        await station.wait()
        await program.stop()


@pytest.mark.requirement("R192")
@pytest.mark.long
async def test_a_simulated_station_switches_phases_and_back_with_a_pause(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    """K01.FR.46, .47: three, L2 alone, three; the neutral carries what one phase carries."""
    async with site(tmp_path, pki, empty_database, switch=True) as one:
        await one.charge("plug 1")
        await one.carries(16, 16, 16, 0)
        assert (await one.profile(limit=10.0, numberPhases=1, phaseToUse=2))["status"] == "Accepted"
        await one.carries(0, 10, 0, 10)
        assert (await one.profile(limit=12.0, numberPhases=3))["status"] == "Accepted"
        await one.carries(12, 12, 12, 0)
        state = await one.state()
        changes = [each for each in state["events"] if each["trigger"] == "ChargingStateChanged"]
        assert len(changes) == 1 + 2 * 2, "it charges, and each switch is a pause"


@pytest.mark.long
@pytest.mark.requirement("R192")
async def test_a_simulated_station_bounds_each_conductor_and_refuses_to_switch_without_a_switch(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    """K01.FR.43, K08.FR.09: for a vehicle of ISO 15118-20, which has sent powers of all three."""
    async with site(tmp_path, pki, empty_database, switch=False) as one:
        await one.charge("vehicle 1 dynamic")
        await one.carries(16, 16, 16, 0)
        refused = await one.profile(limit=10.0, numberPhases=1)
        assert (refused["status"], refused["statusInfo"]["reasonCode"]) == ("Rejected", "InvalidSchedule")
        assert "cannot be switched" in refused["statusInfo"]["additionalInfo"]
        lines: dict[str, Any] = {"limit": 15.0, "limit_L2": 10.0, "limit_L3": 5.0}
        assert (await one.profile(**lines))["status"] == "Accepted"
        await one.carries(15, 10, 5, 8.66)
        found = await one.ask("GetCompositeSchedule", evseId=1, duration=60, chargingRateUnit="A")
        (period,) = found["schedule"]["chargingSchedulePeriod"]
        assert {name: period[name] for name in lines} == lines
