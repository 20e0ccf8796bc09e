"""A charge point and a vehicle, as processes: nominal duty when words fail, simulated pilot or control board."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pki_tools.tree import PkiTree
from tests.emissions import fault
from tests.secc_toml import identity
from v2g.energy.settlement.bundle import verify_bundle
from v2g.io.storage.journal_file import read_files
from v2g.iso15118.signed_requests import read_confirmation
from v2g.slac.shared import FAST as FAST_SLAC
from v2g_cli.demo.processes import free_port

PILOT = "{ step_x1_s = 0.1, step_ef_s = 0.1, after_ef_s = 0.05, duty_interval_s = 0.2, conversation_s = 1.0 }"
SLAC = "\n".join(
    f"{name} = {value}" for name, value in msgspec.to_builtins(FAST_SLAC).items() if name != "evse_slac_init_s"
)


class Programs:
    """The processes of one test, their events, and their end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        return self.running[name]

    def program(self, name: str, text: str) -> subprocess.Popen[bytes]:
        config = self.write(f"{name}.toml", text)
        return self.start(name, "-m", name, "--config", str(config), "--events", str(self.folder / f"{name}.jsonl"))

    def events(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        assert {fault(**each) for each in found} <= {""}
        return found

    def named(self, program: str, name: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events(program) if event["name"] == name]

    def until(self, holds: Callable[[], object], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert not re.search(r"ERROR (?!v2g\.io\.runtime\.events:)", self.logs()), self.logs()  # an event may
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        for each in reversed(self.running.values()):
            if each.poll() is None:
                each.send_signal(signal.SIGTERM)
        for each in self.running.values():
            each.wait(300)
            if each.stdin is not None:
                each.stdin.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    programs = Programs(tmp_path)
    yield programs
    programs.stop()


def secc(pki: PkiTree, *, slac: bool, hardware: str = "") -> str:
    link = f"[link.slac.timing]\nevse_slac_init_s = 0.5\n{SLAC}" if slac else ""
    return f"""data_dir = "secc"
[link]
medium = "medium"
{link}
[sdp]
port = 0
without_tls = true
{identity(pki, "v2g", "oem", ocsp=True)}
[site]
free = true
[charger]
editions = ["20", "2", "din"]
services = [1]
[charger.basic]
max_current_a = 16
timing = {PILOT}
[hardware]
kind = "ac"
{hardware}
[clock]
scale = 300
"""


def evcc(pki: PkiTree, *, slac: bool) -> str:
    link = f"[link.slac.timing]\n{SLAC}" if slac else ""
    return f"""[link]
medium = "medium"
{link}
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
energy_wh = 500
[clock]
scale = 300
"""


def check_journal(programs: Programs, pki: PkiTree) -> None:
    """The session is settled, proves itself, and holds what the vehicle got."""
    programs.until(lambda: programs.named("secc", "bundle_written"))
    (bundle,) = (programs.folder / "secc" / "settlements").iterdir()
    report = verify_bundle(
        read_files(bundle), anchors=[*pki.anchors("v2g"), *pki.anchors("mo")], confirmations=read_confirmation
    )
    energy_wh = sum(each.import_end_mwh - each.import_begin_mwh for each in report.settlement.intervals) / 1000
    assert 500 <= energy_wh <= 700


@pytest.mark.some(1)
@pytest.mark.e2e
@pytest.mark.parametrize(("charger_talks", "vehicle_talks"), [(False, False), (True, False), (False, True)])
def test_a_vehicle_without_words_is_charged_by_nominal_duty_and_billed(
    programs: Programs, pki: PkiTree, charger_talks: bool, vehicle_talks: bool
) -> None:
    programs.program("secc", secc(pki, slac=charger_talks))
    programs.until(lambda: programs.named("secc", "ready"))
    vehicle = programs.program("evcc", evcc(pki, slac=vehicle_talks))
    programs.until(lambda: vehicle.poll() is not None, 60)
    assert vehicle.returncode == 0, programs.logs()
    (fallback,) = programs.named("secc", "fallback")
    assert fallback["reason"] == ("vehicle_silent" if charger_talks else "no_data_link")
    draws = [each["power_w"] for each in programs.named("evcc", "draws")]
    assert 12.9 * 3 * 230 <= max(draws) <= 13 * 3 * 230  # the plug is coded for 13 A, less than the charger's 16
    assert draws[-1] == 0
    programs.until(lambda: programs.named("secc", "session_ended"))
    ends = programs.named("secc", "session_ended")
    assert [each["reason"] for each in ends] == ["unplugged"]
    check_journal(programs, pki)
    assert "Traceback" not in programs.logs()


@pytest.mark.long
@pytest.mark.e2e
def test_a_conversation_in_vain_ends_at_nominal_duty(programs: Programs, pki: PkiTree) -> None:
    """Both match; the vehicle finds nobody where it looks for the charger, leaves, and does not match again."""
    programs.program("secc", secc(pki, slac=True))
    programs.until(lambda: programs.named("secc", "ready"))
    vehicle = programs.program("evcc", evcc(pki, slac=True))
    programs.until(lambda: vehicle.poll() is not None, 60)
    assert vehicle.returncode == 0, programs.logs()
    assert programs.named("evcc", "matched")
    (fallback,) = programs.named("secc", "fallback")
    assert fallback["reason"] in ("vehicle_silent", "no_conversation")
    assert fallback["way"] == "x1"
    check_journal(programs, pki)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("editions", "table"),
    [
        ('["20"]', ""),  # it does not trust the charger's root: the handshake fails
        ('["20", "2"]', ""),
        ('["2"]', '[services]\nenergy = ["DC"]\n[authorization]\nallow_eim = true\n'),  # no common service
        ('["din"]', '[services]\nenergy = ["DC"]\n[authorization]\nallow_eim = true\n'),
    ],
    ids=["untrusted-20", "untrusted-both", "service-2", "service-din"],
)
def test_a_failed_conversation_of_any_edition_ends_at_nominal_duty(
    programs: Programs, pki: PkiTree, editions: str, table: str
) -> None:
    port = free_port(socket.SOCK_DGRAM)
    patient = secc(pki, slac=True).replace("port = 0", f"port = {port}")
    programs.program("secc", patient.replace("conversation_s = 1.0", "conversation_s = 8.0"))
    programs.until(lambda: programs.named("secc", "ready"))
    text = evcc(pki, slac=True).replace("port = 9", f"port = {port}\nwithout_tls = {str(bool(table)).lower()}")
    text = f"editions = {editions}\n" + text.replace("[basic]", f"{table}[basic]")
    other = str(pki.path("mo/root.pem"))
    vehicle = programs.program("evcc", text.replace(str(pki.path("v2g/root.pem")), other))
    programs.until(lambda: vehicle.poll() is not None, 60)
    assert vehicle.returncode == 0, programs.logs()
    assert bool(programs.named("secc", "accepted")) == bool(table)
    (fallback,) = programs.named("secc", "fallback")
    assert fallback["way"] == "x1"
    assert max(each["power_w"] for each in programs.named("evcc", "draws")) > 5_000
    check_journal(programs, pki)


@pytest.mark.long
@pytest.mark.e2e
def test_the_same_charge_point_serves_a_vehicle_that_talks(programs: Programs, pki: PkiTree) -> None:
    """ISO 15118-20, service AC: same contactor, same line, same meter."""
    charger = secc(pki, slac=True).replace("[meter]", f'mo_roots = ["{pki.path("mo/root.pem")}"]\n[meter]')
    charger = charger.replace("free = true", 'contracts = ["DEV2GC00000001"]').replace(
        "conversation_s = 1.0", "conversation_s = 10"
    )
    port = free_port(socket.SOCK_DGRAM)
    programs.program("secc", charger.replace("port = 0", f"port = {port}"))
    programs.until(lambda: programs.named("secc", "ready"))
    text = (
        evcc(pki, slac=True)
        .replace("port = 9\ntries = 1", f"port = {port}")
        .replace(
            "[basic]",
            f"""[contract]
chain = "{pki.path("contract/chain.pem")}"
key = "{pki.path("contract/leaf.key")}"
[services]
energy = ["AC"]
[basic]""",
        )
    )
    vehicle = programs.program("evcc", text)
    programs.until(lambda: vehicle.poll() is not None, 60)
    assert vehicle.returncode == 0, programs.logs()
    assert programs.named("secc", "fallback") == []
    assert [each["reason"] for each in programs.named("secc", "session_ended")] == ["vehicle"]
    assert max(each["power_w"] for each in programs.named("secc", "response")) > 5_000
    check_journal(programs, pki)


@pytest.mark.long
@pytest.mark.e2e
def test_the_same_with_a_control_board_and_with_its_emergency_stop(programs: Programs, pki: PkiTree) -> None:
    device = programs.folder / "board"
    board = subprocess.Popen(
        [
            sys.executable, "-m", "v2g_cli", "board-sim",
            "--link", str(device), "--medium", str(programs.folder / "medium"), "--lost-s", "2", "--monitor", "python",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    programs.running["board"] = board
    programs.until(device.exists)
    hardware = f'pilot = "board"\n[hardware.board]\ndevice = "{device}"\nlost_s = 2'  # a busy machine is no charger
    programs.program("secc", secc(pki, slac=False, hardware=hardware))
    programs.until(lambda: programs.named("secc", "ready"))
    vehicle = programs.program("evcc", evcc(pki, slac=False).replace("500", "50000"))
    programs.until(lambda: [each for each in programs.named("evcc", "draws") if each["power_w"]])
    assert board.stdin is not None
    board.stdin.write(b"estop on\n")
    board.stdin.flush()
    programs.until(lambda: programs.named("secc", "fault_began"))
    assert programs.named("secc", "fault_began")[0]["fault"] == "emergency_stop"
    programs.until(lambda: programs.named("evcc", "draws")[-1]["power_w"] == 0)
    vehicle.send_signal(signal.SIGTERM)
    programs.until(lambda: programs.named("secc", "bundle_written"))
