"""`v2g station`: what keeps stations out is said, with a hint and an exit code."""

import asyncio
import json
import math
import shlex
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets

from csms.app import running
from pki_tools.tree import PkiTree
from tests.cli.csms import run
from tests.csms.support import make_config
from tests.secc.backend import Backend, backend
from tests.station.profiles import profile
from v2g.io.runtime.supervision import cancel_tasks
from v2g_cli.init import of_init
from v2g_cli.station import behaviour_of, contexts_of
from v2g_station.simulator.behaviour import QUIET
from v2g_station.simulator.fleet import Simulator, StationFleet

NOBODY = "ws://127.0.0.1:1/ocpp"
WRONG = (
    (("--url", "http://127.0.0.1:9000/ocpp"), "not a URL of a back end"),
    (("--url", "ws://127.0.0.1:99999/ocpp"), "not a URL of a back end"),
    (("--url", "somewhere"), "not a URL of a back end"),
    (("--url", NOBODY, "--prefix", "a/b"), "does not make valid identities"),
    (("--url", NOBODY, "--prefix", "a" * 48), "does not make valid identities"),
    (("--url", NOBODY, "--report", "/nowhere/at/all.json"), "no such folder"),
    (("--url", "wss://127.0.0.1:1/ocpp", "--ca", "/nowhere.pem"), "--ca"),
    (("--url", NOBODY, "--ocpp", "1.5"), "1.5"),
    (("--url", "wss://127.0.0.1:1/ocpp", "--cert", "a.pem"), "belong together"),
    (("--url", NOBODY, "--cert", "a.pem", "--key", "a.key"), "needs TLS"),
    (("--url", "wss://127.0.0.1:1/ocpp", "--cert", "a.pem", "--key", "a.key", "--count", "2"), "needs its own"),
    (("--url", NOBODY, "--behaviour", "/nowhere.toml"), "/nowhere.toml"),
    (("--csms", "/nowhere", "--url", NOBODY), "--csms excludes --url"),
    (("--csms", "/nowhere"), "/nowhere/csms.toml"),
    (("--url", NOBODY, "--speed", "2", "--fast-forward", "5"), "--speed and --fast-forward exclude each other"),
)


@pytest.mark.parametrize(("words", "text"), WRONG)
def test_what_cannot_be_is_said_before_anything_runs(words: tuple[str, ...], text: str) -> None:
    code, output, errors = run("station", *words)
    assert (code, output) == (2, "")
    assert errors.startswith("v2g: ")
    assert text in errors


def test_stations_that_a_list_of_passwords_lacks_are_said(tmp_path: Path) -> None:
    file = tmp_path / "passwords.csv"
    file.touch(mode=0o600)
    file.write_text("SIM1,a-password-of-the-station\n")
    words = ("--url", NOBODY, "--passwords", str(file), "--duration", "0")
    assert run("station", *words, "--count", "2")[0] == 2
    assert "has none for SIM2" in run("station", *words, "--count", "2")[2]
    assert run("station", *words, "--count", "1")[0] == 7, "nobody is there"


def test_a_key_that_is_missing_or_of_another_certificate_is_said(pki: PkiTree, tmp_path: Path) -> None:
    chain = pki.path("csms/station/chain.pem")
    words = ("station", "--url", "wss://127.0.0.1:1/ocpp", "--cert", str(chain), "--key")
    assert run(*words, str(tmp_path / "no.key"))[0] == 4
    code, _output, errors = run(*words, str(pki.path("csms/server/leaf.key")))
    assert (code, "--cert" in errors) == (2, True)


@pytest.mark.long
async def test_a_station_comes_in_with_its_certificate(tmp_path: Path, pki: PkiTree) -> None:
    async with running(make_config(tmp_path, pki)) as csms:
        url = f"wss://127.0.0.1:{csms.ports['ocpp']}/ocpp"
        files = (str(pki.path("csms/station/chain.pem")), str(pki.path("csms/station/leaf.key")))
        fleet = StationFleet(url=url, prefix="CS-V2G-000", certificate=files[0])
        simulator = Simulator(fleet, contexts_of(url, fleet.identities, pki.path("csms/root.pem"), *files))
        going = asyncio.create_task(simulator.run(None))
        async with asyncio.timeout(60):
            while "CS-V2G-0001" not in csms.connected():
                await asyncio.sleep(0.005)
        await cancel_tasks(going)


@pytest.fixture
def until_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run be over, instead of after some time, as soon as every station was kept out."""
    go = Simulator.run

    async def run_so_long(self: Simulator, _duration_s: float | None, look: Callable[[Simulator], None]) -> None:
        going = asyncio.create_task(go(self, None, look))
        while self.tally.kept_out.total() < len(self.stations):
            assert not going.done()
            await asyncio.sleep(0.002)
        look(self)
        await cancel_tasks(going)

    monkeypatch.setattr(Simulator, "run", run_so_long)


@pytest.mark.usefixtures("until_kept_out")
def test_stations_of_a_new_back_end_need_its_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "my csms"
    assert run("csms", "init", str(folder), "--host", "localhost", "--station", "CS-7", "--port", "9")[0] == 0
    url, pki = "wss://localhost:9/ocpp", folder.absolute() / "pki"
    first = str(pki / "csms/station/chain.pem"), str(pki / "csms/station/leaf.key")
    assert of_init(folder, ()) == (("CS-7",), url, pki / "csms/root.pem", *first)
    code, _output, errors = run("station", "--csms", str(folder), "--count", "2")
    assert (code, "'SIM1' is not the name in" in errors) == (2, True)
    for identity in ("SIM1", "SIM2"):
        assert run(*shlex.split(errors.partition("repeat this: v2g ")[2])[:-1], identity)[0] == 0
    code, _output, errors = run("station", "--csms", str(folder), "--count", "2", "--duration", "0", "--speed", "60")
    assert code == 7, "nobody is there"
    assert "a minute takes 1 s here" in errors


@pytest.mark.usefixtures("until_kept_out")
def test_a_back_end_that_is_not_there_is_said_once_and_in_the_report() -> None:
    code, output, errors = run("station", "--url", NOBODY, "--count", "3")
    assert code == 7
    (reason,) = json.loads(output)["kept_out"]
    assert "Connect call failed" in reason
    assert errors.count("rejected: ") == 1
    assert "v2g: no station connected: " in errors


def test_a_memory_that_cannot_be_is_one_line() -> None:
    code, _output, errors = run("station", "--url", NOBODY, "--store", "/proc/nowhere")
    assert code == 8
    assert errors.startswith("v2g: /proc/nowhere")


@pytest.mark.usefixtures("until_kept_out")
async def test_why_a_back_end_refuses_is_shown_in_its_words_whichever_station_it_is() -> None:
    def refuse(connection: Any, request: Any) -> Any:
        name = request.path.rpartition("/")[2]
        return connection.respond(HTTPStatus.NOT_FOUND, f"{name} is not\x1b known here\n")

    async def unused(_connection: Any) -> None:
        raise AssertionError

    async with websockets.serve(unused, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ocpp"
        code, output, errors = await asyncio.to_thread(run, "station", "--url", url, "--count", "3")
    assert code == 7
    assert json.loads(output)["kept_out"] == {f"{url}: HTTP status 404: STATION is not\\u001b known here": 3}
    assert "\x1b" not in errors


def test_steps_by_hand_have_no_drivers_beside_them_unless_the_file_says_so(tmp_path: Path) -> None:
    (file := tmp_path / "meters.toml").write_text("signed_readings = true\n")
    assert behaviour_of(file, quiet=True) == msgspec.structs.replace(QUIET, signed_readings=True)
    assert behaviour_of(file, quiet=False).arrivals_per_hour > 0


@pytest.mark.usefixtures("until_kept_out")
async def test_a_station_without_tls_gets_the_advice_to_use_it() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)  # as TLS refuses plain text
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
        code, _output, errors = await asyncio.to_thread(run, "station", "--url", url)
    assert (code, "does it need TLS: --url wss://...?" in errors) == (7, True)


@pytest.mark.usefixtures("until_kept_out")
async def test_a_boot_that_is_not_accepted_is_reported(tmp_path: Path) -> None:
    async with backend() as csms:
        csms.boot_answers = [("Rejected", 60)]
        url, file = f"ws://127.0.0.1:{csms.port}/ocpp", tmp_path / "report.json"
        code, _output, errors = await asyncio.to_thread(run, "station", "--url", url, "--report", str(file))
    assert (code, "no station connected: boot: Rejected" in errors) == (7, True)
    assert json.loads(file.read_text())["kept_out"] == {"boot: Rejected": 1}


FEEDER = """arrivals_per_hour = 3600.0
bidirectional = 1.0
plug_and_charge = 0.0
vehicle_kw = [40.0, 40.0]
battery_kwh = [90.0, 90.0]
energy_kwh = [80.0, 80.0]
stay_hours = [9.0, 9.0]
offline_per_day = 0.0
faults_per_day = 0.0
[grid]
voltage_v = 249.0
every_s = 0.5
[[grid.feeder.nodes]]
name = "end"
r_ohm = 0.1
"""
LIMIT_V = 253.0
"""A tenth above 230 V."""
VOLT_WATT = ((106.0, 100.0), (110.0, 0.0))
"""Percent of power over percent of the nominal voltage, with their zero at the limit."""


def end_v(export_w: float) -> float:
    """Return the voltage at the end of a line of three phases of 0.1 ohm with 249 V at its head, in closed form."""
    return 124.5 + math.sqrt(124.5**2 + 0.1 * export_w / 3)


async def exports(csms: Backend, holds: Callable[[float], bool]) -> float:
    """Wait until a vehicle feeds back so much in three messages in turn; return the last, W."""

    def export_w(event: dict[str, Any]) -> float:
        values = [each for meter in event.get("meter_value", ()) for each in meter["sampled_value"]]
        return sum(each["value"] for each in values if each["measurand"] == "Power.Active.Export")

    def found() -> list[float]:
        return [export_w(each) for each in csms.all("TransactionEvent")[-3:]]

    await csms.wait("TransactionEvent", where=lambda _: all(map(holds, found())))
    return found()[-1]


@pytest.mark.requirement("R46")
@pytest.mark.long
async def test_volt_watt_keeps_the_voltage_of_a_weak_feeder(tmp_path: Path) -> None:
    """A back end asks for 40 kW at the end of a line that does not carry as much within its voltages."""
    (tmp_path / "feeder.toml").write_text(FEEDER)
    async with backend() as csms:
        csms.versions = ["ocpp2.1"]
        csms.answers["Authorize"] = {"allowed_energy_transfer": ["DC", "DC_BPT"]}
        station = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "v2g_cli", "station", "--url", f"ws://127.0.0.1:{csms.port}/ocpp", "--evses", "1",
            "--fast-forward", "40", "--behaviour", str(tmp_path / "feeder.toml"), stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await csms.wait("BootNotification")
        variables = [
            {"component": {"name": "SampledDataCtrlr"}, "variable": {"name": name}, "attributeValue": value}
            for name, value in (("TxUpdatedInterval", "1"), ("TxUpdatedMeasurands", "Power.Active.Export"))
        ]
        results = (await csms.request("SetVariables", {"setVariableData": variables}))["setVariableResult"]
        assert {each["attributeStatus"] for each in results} == {"Accepted"}
        period = {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": -40_000.0}
        wanted = {"evseId": 1, "chargingProfile": profile("TxDefaultProfile", periods=[period])}
        assert (await csms.request("SetChargingProfile", wanted))["status"] == "Accepted"
        assert end_v(await exports(csms, lambda export_w: export_w > 39_900)) > LIMIT_V, "which nothing prevents yet"
        curve = {"priority": 1, "yUnit": "PctMaxW", "curveData": [{"x": x, "y": y} for x, y in VOLT_WATT]}
        control = {"isDefault": True, "controlId": "vw", "controlType": "VoltWatt", "curve": curve}
        assert (await csms.request("SetDERControl", control))["status"] == "Accepted"
        settled_w = await exports(csms, lambda export_w: end_v(export_w) < LIMIT_V)
        assert settled_w > 10_000, "it feeds back what the line carries"
        station.terminate()
        assert await station.wait() == 0
