"""A charger that no longer proves to be whole loses its discharge, not its charging: charger, vehicle, back end and a
TPM (swtpm) as processes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from tests.io.keys.stores import Tpm, swtpm
from tests.io.runtime.attestation import make_program, sign
from v2g.pki.keys import SoftwareKey
from v2g_cli.demo.folder import STATION, RunFolder
from v2g_cli.demo.processes import Event, Program, free_port, program
from v2g_cli.demo.scenario import find

pytestmark = pytest.mark.e2e

SCALE = 60.0
PROGRAM = '[[program]]\ndo = "discharge"\nfor_s = 900\n\n[[program]]\ndo = "charge"\nfor_s = 3600\n'
BACK_END = """[attestation]
signer = "signer.pem"
every_s = 2
answer_s = 30
[[attestation.releases]]
manifest = "manifest.json"
registers = "registers.json"
"""
CHARGER = """
[attestation]
public_key = "signer.pem"
manifest = "manifest.json"
kib_per_s = 1048576
[attestation.quote]
key = "{key}"
"""


class Site:
    """The programs of a run, and what they have reported."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.programs: list[Program] = []
        self.api = 0

    def start(self, name: str, config: Path) -> None:
        """Start a program."""
        started = program(name, self.folder.path, config)
        started.start()
        self.programs.append(started)

    def named(self, process: str, name: str) -> list[dict[str, Any]]:
        """Return what a program has reported under a name so far."""
        for each in self.programs:
            assert each.poll() is None, each.log.read_text()[-3000:]
            self.events += each.events.read()
        return [each.data for each in self.events if (each.process, each.name) == (process, name)]

    def until(self, holds: Callable[[], Any], seconds: float = 300) -> Any:
        """Wait until something holds; return it."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)
        return found

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"{each.name}:\n{each.log.read_text()[-3000:]}" for each in self.programs)

    def command(self, *arguments: str) -> Any:
        """Run `v2g csms` against the back end; return what it prints as JSON lines."""
        ca = str(self.folder.pki.path("csms/root.pem"))
        reach = {
            "V2G_CSMS_URL": f"https://127.0.0.1:{self.api}",
            "V2G_CSMS_TOKEN": self.folder.token,
            "V2G_CSMS_CA": ca,
        }
        command = [sys.executable, "-m", "v2g_cli", "csms", *arguments, "--json"]
        done = subprocess.run(command, env=os.environ | reach, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + self.logs()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def powers(self) -> list[int]:
        """Return the power of each charge loop so far, W; below 0 the vehicle discharges."""
        return [each["power_w"] for each in self.named("evcc", "flow")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, Tpm]]:
    scenario = find("discharge")
    assert scenario is not None
    with swtpm(tmp_path) as tpm:
        folder = RunFolder(tmp_path / "run", replace(scenario, program=PROGRAM), SCALE)
        folder.prepare()
        made = Site(folder)
        try:
            yield made, tpm
        finally:
            for each in reversed(made.programs):
                each.stop(patience=5)


def release(folder: Path, tpm: Tpm) -> str:
    """Write a signed manifest, its signer's key, and evidence of a whole charger; return the reference to the TPM's
    key."""
    signer = ec.generate_private_key(ec.SECP256R1())
    manifest = sign(make_program(folder), key=SoftwareKey(signer))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "signer.pem").write_bytes(signer.public_key().public_bytes(serialization.Encoding.PEM, form))
    tpm.make_quoting_key()
    key = f"handle:0x81010002?tcti={tpm.tcti}"
    quote = ["attest", "quote", str(manifest), "--public-key", str(folder / "signer.pem"), "--nonce", "ab" * 16]
    command = [sys.executable, "-m", "v2g_cli", *quote, "--key", key]
    (folder / "registers.json").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return key


@pytest.mark.long
@pytest.mark.requirement("R148", "R182")
def test_a_charger_with_another_boot_discharges_no_more_and_charges_on(site: tuple[Site, Tpm]) -> None:
    run, tpm = site
    folder = run.folder
    key = release(folder.path, tpm)
    run.start("csms", folder.csms_config(tables=BACK_END))
    ports = run.until(lambda: run.named("csms", "ready"))[0]
    run.api = ports["api_port"]
    enrolled = run.command("attestation", "enrol", STATION, str(tpm.folder / "ak.pem"))
    assert enrolled[0]["state"] == "Pending"

    sdp, folder.can_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    config = folder.secc_config(ocpp_port=ports["ocpp_port"], sdp_ports=[sdp])
    with config.open("a") as file:
        file.write(CHARGER.format(key=key))
    run.start("secc", config)
    run.until(lambda: run.named("csms", "attested"))
    (listed,) = run.command("attestation", "list")
    assert (listed["station_id"], listed["state"], listed["reasons"]) == (STATION, "Whole", [])

    run.until(lambda: run.named("secc", "ready"))
    run.start("evcc", folder.evcc_config(sdp_port=sdp))
    run.until(lambda: any(each < -1000 for each in run.powers()))
    assert run.named("csms", "attestation_failed") == []

    def extended() -> bool:  # the charger may have the TPM at that moment
        with contextlib.suppress(subprocess.SubprocessError):
            tpm.tool("tpm2_pcrextend", f"7:sha256={'ab' * 32}")
            return True
        return False

    run.until(extended)
    run.until(lambda: [each for each in run.named("csms", "attestation_failed") if "register 7: " in each["reason"]])
    run.until(lambda: "register 7: " in run.named("csms", "export_refused")[-1]["reason"])
    run.until(lambda: run.named("secc", "limits")[-1].get("discharge_w") == 0)
    (listed,) = run.command("attestation", "list", "--state", "Failed")
    assert "register 7: " in listed["reasons"][0]
    run.until(lambda: run.powers()[-1] >= 0)
    begun = len(run.powers())
    run.until(lambda: any(each > 1000 for each in run.powers()[begun:]))
    assert min(run.powers()[begun:]) >= 0
    assert run.named("evcc", "ended") == []
    assert run.named("secc", "changed") == []  # its own files are as they were
