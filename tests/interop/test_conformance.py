"""The tester against devices that are not ours: whole sessions pass, and what is known to be wrong is found.

What it finds is written down in docs/how-to/test-a-charger-or-vehicle.md, as seen.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside
from tests.interop.peer import Peer
from v2g.iso15118.select import EditionName

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop, pytest.mark.long]

READY_S = 300
TOOL = (sys.executable, "-m", "v2g_cli", "conform")


def verdicts(namespace: str, *words: str) -> dict[str, str]:
    """Run the tester in a namespace; return the verdict of each case."""
    done = subprocess.run(inside(namespace, *TOOL, *words, "--json"), capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["case"]: each["verdict"] for each in records if "case" in each}


def test_the_peers_charger(peer: Peer, cable: Cable, tmp_path: Path) -> None:
    charger = peer.charger(cable, tmp_path / "charger.log")
    charger.start()
    try:
        deadline = time.monotonic() + READY_S
        while "UDP server started" not in (tmp_path / "charger.log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "charger.log").read_text()
            time.sleep(0.1)
        own = ("--vehicle-chain", str(peer.chain("vehicle")), "--vehicle-key", str(peer.key("vehicle")))
        contract = ("--contract-chain", str(peer.chain("contract")), "--contract-key", str(peer.key("contract")))
        cases = ("RUN-DC-scheduled", "TLS-version-1.2", "AUT-DC-challenge", "SAP-DC-priority", "SVC-DC-selection")
        only = [word for case in cases for word in ("--only", case)]
        found = verdicts(
            cable.evcc, "secc", "-i", EVCC_INTERFACE, "--profile", "interop", *own, *contract,
            "--without-power", "--root", str(peer.root("v2g")), *only,
        )  # fmt: skip
    finally:
        charger.stop()
    assert found == {
        "SECC-RUN-DC-scheduled": "fail",  # its schedules begin in 1970, and its least power changes in the loop
        "SECC-RUN-DC-scheduled-bpt": "fail",
        "SECC-TLS-version-1.2": "fail",  # it agrees on -20 there
        "SECC-AUT-DC-challenge": "fail",  # it never looks at the challenge
        "SECC-AUT-DC-challenge-reused": "fail",
        "SECC-SAP-DC-priority": "pass",
        "SECC-SVC-DC-selection": "pass",
    }


def test_the_peers_vehicle(peer: Peer, cable: Cable, tmp_path: Path) -> None:
    vehicle = peer.vehicle(cable, tmp_path / "vehicle.log", service="DC")
    start = f"exec {shlex.join(vehicle.command)} > {tmp_path / 'said.log'} 2>&1"
    cases = ("TLS-good", "TLS-unknown-root", "COD-DC-ServiceDiscoveryRes-FAILED", "SIL-DC-ServiceDiscoveryReq")
    found = verdicts(
        cable.secc, "evcc", "-i", SECC_INTERFACE, "--profile", "interop", "--wait", "60", "--start", start,
        "--charger-chain", str(peer.chain("secc")), "--charger-key", str(peer.key("secc")),
        "--root", str(peer.root("oem")), *[word for case in cases for word in ("--only", case)],
    )  # fmt: skip
    assert found == {
        "EVCC-TLS-good": "pass",
        "EVCC-TLS-unknown-root": "pass",
        "EVCC-COD-DC-ServiceDiscoveryRes-FAILED": "pass",
        "EVCC-SIL-DC-ServiceDiscoveryReq": "pass",
    }


@pytest.mark.parametrize(
    ("edition", "expected"),
    [
        (
            "din",
            {
                "SECC-RUN-DIN-EIM": "fail",  # its schedule ends after an hour
                "SECC-CableCheck-DIN-session": "pass",
                "SECC-ServiceDiscovery-DIN-sequence": "pass",
                "SECC-ServicePaymentSelection-DIN-service_not_offered": "fail",  # it accepts any service
            },
        ),
        (
            "2",
            {
                "SECC-RUN-2-DC-EIM": "pass",
                "TC_SECC_DC_VTB_CableCheck_004": "pass",
                "TC_SECC_CMN_VTB_ServiceDiscovery_002": "pass",
                "TC_SECC_CMN_VTB_PaymentServiceSelection_006": "pass",
                "TC_SECC_DC_VTB_ChargeParameterDiscovery_001": "pass",
            },
        ),
    ],
    ids=["din", "2"],
)
def test_the_peers_charger_of_older_editions(
    peer: Peer, cable: Cable, tmp_path: Path, edition: EditionName, expected: dict[str, str]
) -> None:
    charger = peer.charger(cable, tmp_path / "charger.log", edition=edition, modes="EIM", with_tls=False)
    charger.start()
    try:
        deadline = time.monotonic() + READY_S
        while "UDP server started" not in (tmp_path / "charger.log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "charger.log").read_text()
            time.sleep(0.1)
        only = [word for case in expected for word in ("--only", case)]
        found = verdicts(
            cable.evcc, "secc", "-i", EVCC_INTERFACE, "--edition", edition, "--without-tls", "--without-power", *only
        )
    finally:
        charger.stop()
    assert found == expected
