"""Heat in a battery and in a plug, as processes: charger, vehicle, and this one, which sees the line between them."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pki_tools.tree import PkiTree
from tests.emissions import fault
from tests.processor import Thermal
from tests.secc_toml import identity
from v2g.io.simulation.lines import ChargerAcLine, VehicleAcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium

pytestmark = pytest.mark.e2e


class Site:
    """A charger, a vehicle, and the line between them."""

    def __init__(self, folder: Path, pki: PkiTree, medium: Medium) -> None:
        self.folder, self._pki = folder, pki
        self._charger_end, self._vehicle_end = VehicleAcLine(medium), ChargerAcLine(medium)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, hardware: str = "") -> subprocess.Popen[bytes]:
        config = self.folder / f"{name}.toml"
        config.touch(mode=0o600)
        config.write_text((self._charger if name == "secc" else self._vehicle) + hardware)
        self.events_path(name).unlink(missing_ok=True)
        command = [sys.executable, "-m", name, "--config", str(config), "--events", str(self.events_path(name))]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log)
        return self.running[name]

    def events_path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def named(self, program: str, name: str) -> list[dict[str, Any]]:
        """Return what a program has reported under a stage and name."""
        path = self.events_path(program)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        assert {fault(**each) for each in found} <= {""}
        return [each["data"] for each in found if f"{each['stage']}.{each['name']}" == name]

    async def until(self, holds: Callable[[], object], seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.logs()
            await asyncio.sleep(0.02)

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))

    async def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        self.running[name].send_signal(how)
        await asyncio.to_thread(self.running[name].wait)

    @property
    def closed(self) -> bool:
        """Whether mains are at the vehicle's inlet."""
        return self._charger_end.seen is not None and self._charger_end.seen.contactor_closed

    @property
    def flows(self) -> bool:
        """Whether the vehicle draws a current."""
        return self.closed and self._vehicle_end.seen is not None and self._vehicle_end.seen.currents.total_ma > 1000

    async def charges(self) -> None:
        await self.until(lambda: self.flows)

    async def command(self, *arguments: str) -> tuple[int, str]:
        made = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "v2g_cli", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
        )
        return made.returncode, made.stdout + made.stderr

    @property
    def _charger(self) -> str:
        pki = self._pki
        return f"""data_dir = "secc"
[link]
medium = "medium"
[sdp]
port = 0
without_tls = true
{identity(pki, "v2g", ocsp=True)}
[site]
free = true
[charger]
editions = ["20", "2", "din"]
services = [1]
[charger.basic]
max_current_a = 16
[hardware]
kind = "ac"
"""

    @property
    def _vehicle(self) -> str:
        pki = self._pki
        return f"""[link]
medium = "medium"
[sdp]
port = 9
tries = 1
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
[basic]
wait_s = 10
[[program]]
do = "charge"
for_s = 600
"""


@pytest_asyncio.fixture
async def site(tmp_path: Path, pki: PkiTree) -> AsyncIterator[Site]:
    medium = await FolderMedium.attach(tmp_path / "medium", "outside")
    site = Site(tmp_path, pki, medium)
    yield site
    for each in site.running.values():
        each.kill()
        await asyncio.to_thread(each.wait)
    medium.close()


def record(path: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(each["what"], each["cause"] or each["reason"]) for each in lines]


EMERGENCY = '[hardware.emergency]\nfolder = "vehicle"\n'


@pytest.mark.requirement("R126", "R127")
@pytest.mark.long
async def test_a_battery_that_burns_is_isolated_and_stays_so_until_a_person_resets_it(site: Site) -> None:
    output, file = site.folder / "vehicle" / "emergency.output", site.folder / "vehicle" / "emergency.jsonl"
    site.start("secc")
    await site.until(lambda: site.named("secc", "session.ready"))
    site.start("evcc", f'{EMERGENCY}[hardware.heat]\nwhat = "runaway"\nafter_s = 1\nrise = 30\n')
    await site.charges()
    assert not output.exists()
    await site.until(lambda: site.named("evcc", "emergency.asserted"))
    assert record(file) == [("asserted", "thermal_runaway")]  # on the disk before the event
    assert site.named("evcc", "safety.opened")[0]["reason"] == "thermal_runaway"
    assert output.exists()
    await site.until(lambda: not site.flows and not site.closed, 10)

    await site.end("evcc", signal.SIGKILL)
    site.start("evcc", EMERGENCY)
    await site.until(lambda: site.named("evcc", "emergency.asserted"))
    code, said = await site.command("emergency", "reset", "evcc", "--config", "evcc.toml", "--reason", "too early")
    assert (code, "another program uses" in said) == (5, True)
    assert not site.named("evcc", "link.plugged_in")
    await site.end("evcc")

    reset = ("emergency", "reset", "evcc", "--config", "evcc.toml", "--reason")
    assert (await site.command(*reset, " "))[0] == 2
    code, said = await site.command(*reset, "module 3 replaced")
    assert (code, "thermal_runaway" in said) == (0, True)
    assert record(file) == [("asserted", "thermal_runaway"), ("reset", "module 3 replaced")]
    assert (await site.command(*reset, "once more"))[0] == 5
    site.start("evcc", EMERGENCY)
    await site.charges()
    assert not output.exists()


@pytest.mark.long
@pytest.mark.requirement("R126")
async def test_wrong_samples_do_not_end_a_session(site: Site) -> None:
    site.start("secc")
    await site.until(lambda: site.named("secc", "session.ready"))
    site.start("evcc", f'{EMERGENCY}[hardware.heat]\nwhat = "glitches"\nafter_s = 0\n')
    await site.charges()
    began = time.monotonic()
    await site.until(lambda: time.monotonic() - began > 4.5)
    assert site.flows
    assert not site.named("evcc", "safety.opened")


@pytest.mark.long
@pytest.mark.requirement("R126", "R127")
async def test_a_plug_that_heats_itself_takes_the_charger_out_of_service_until_a_reset(site: Site) -> None:
    folder = site.folder / "secc"
    output, file = folder / "emergency.output", folder / "emergency.jsonl"
    fault_ = '[[hardware.simulated.faults]]\nfault = "runaway"\nwhen = "closed"\nafter_s = 1\nvalue = 20\n'
    site.start("secc", fault_)
    await site.until(lambda: site.named("secc", "session.ready"))
    site.start("evcc")
    await site.charges()
    await site.until(lambda: site.named("secc", "emergency.asserted"))
    assert record(file) == [("asserted", "thermal_runaway")]
    assert output.exists()
    assert "thermal_runaway" in {each["reason"] for each in site.named("secc", "safety.opened")}
    assert "thermal_runaway" in {each["fault"] for each in site.named("secc", "hardware.fault_began")}
    await site.until(lambda: not site.flows and not site.closed, 10)

    await site.end("secc", signal.SIGKILL)
    site.start("secc")
    await site.until(lambda: site.named("secc", "emergency.asserted"))
    await site.until(lambda: site.named("secc", "session.ready"))
    assert not site.closed
    await site.end("secc")
    code, _ = await site.command("emergency", "reset", "secc", "--config", "secc.toml", "--reason", "cable replaced")
    assert code == 0
    assert record(file)[1] == ("reset", "cable replaced")
    site.start("secc")
    await site.until(lambda: site.named("secc", "session.ready"))
    assert not output.exists()
    assert not site.named("secc", "emergency.asserted")


@pytest.mark.requirement("R128")
async def test_a_warm_plug_lowers_what_the_charger_offers_and_the_session_goes_on(site: Site) -> None:
    """84 degrees leave a fifth of 22 kW: 6 A a phase, where the cable permits 13 A."""
    hot = '[[hardware.simulated.faults]]\nfault = "over_temperature"\nwhen = "closed"\nafter_s = 2\nvalue = 84\n'
    site.start("secc", hot)
    await site.until(lambda: site.named("secc", "session.ready"))
    site.start("evcc")
    await site.charges()
    await site.until(lambda: site.named("evcc", "basic.draws"))
    before_w = site.named("evcc", "basic.draws")[-1]["power_w"]
    await site.until(lambda: 0 < site.named("evcc", "basic.draws")[-1]["power_w"] < before_w)
    assert site.named("evcc", "basic.draws")[-1]["power_w"] <= 22_080 * 20 // 100
    assert site.flows
    assert not site.named("secc", "safety.opened")
    assert not site.named("secc", "hardware.fault_began")


@pytest.mark.requirement("R130")
async def test_a_charger_with_a_hot_processor_says_so_and_charges_on_without_details(site: Site) -> None:
    state = Thermal(site.folder / "thermal").cooling("thermal-cpufreq-0", "0")
    site.start("secc", '[processor]\nthermal = "thermal"\npoll_s = 0.05\n')
    await site.until(lambda: site.named("secc", "session.ready"))
    site.start("evcc")
    await site.charges()
    state.write_text("3\n")
    await site.until(lambda: site.named("secc", "hardware.fault_began"))
    assert site.named("secc", "hardware.fault_began") == [
        {"fault": "cpu_throttled", "component": "Controller", "stops": False}
    ]
    assert site.flows
    state.write_text("0\n")
    await site.until(lambda: site.named("secc", "hardware.fault_ended"))
    assert site.flows
