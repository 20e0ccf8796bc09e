"""pyslac, an independent implementation, as charger: our vehicle matches with it over a virtual cable.

Its flaws do not matter here: sizes of frames are ignored, a lost sound or profile fails the whole attempt, receipts and
results are not repeated. So nothing gets lost in this test.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside
from tests.interop.environments import environment
from v2g.slac.host import nid_of
from v2g.slac.modem import AttenuationConfig

pytestmark = [pytest.mark.interop, pytest.mark.long]

_HERE = Path(__file__).resolve().parent
_EV = bytes.fromhex("020000000201")


def _start(command: list[str], folder: Path, log: Path) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended; see its log"
    reported: dict[str, Any] = json.loads(line)
    return reported


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_our_vehicle_matches_with_an_independent_charger(cable: Cable, tmp_path: Path) -> None:
    python = environment("pyslac", ("pyslac==0.8.3", "marshmallow<4"))
    shown = subprocess.run(
        ["ip", "-n", cable.secc, "-j", "link", "show", SECC_INTERFACE], check=True, capture_output=True, text=True
    )
    charger_mac = json.loads(shown.stdout)[0]["address"].replace(":", "")
    ours = [sys.executable, "-m", "tests.interop.slac_vehicle", EVCC_INTERFACE, charger_mac]
    vehicle = _start(inside(cable.evcc, *ours), _HERE.parents[1], tmp_path / "vehicle.log")
    charger: subprocess.Popen[str] | None = None
    try:
        assert _line(vehicle) == {"action": "listening"}
        theirs = inside(cable.secc, str(python), "-m", "tests.interop.slac_peer", SECC_INTERFACE)
        charger = _start(theirs, _HERE.parents[1], tmp_path / "charger.log")
        prepared = _line(charger)
        _tell(vehicle)
        while (reported := _line(vehicle))["action"] == "Observe":
            assert reported["name"] != "attempt_failed", reported
        assert reported["action"] == "Matched", reported
        matched = _line(charger)
        assert (reported["nid"], reported["nmk"]) == (matched["nid"], matched["nmk"])
        assert matched["nid"] == prepared["nid"] == nid_of(bytes.fromhex(matched["nmk"])).hex()
        assert (matched["pev_mac"], reported["evse_mac"]) == (_EV.hex(), charger_mac)
        profile = AttenuationConfig().profile(_EV)
        assert reported["attenuation_db"] == pytest.approx(sum(profile) / len(profile), abs=0.1)
    finally:
        for process in (vehicle, charger):
            if process is not None:
                process.kill()
                process.communicate()
