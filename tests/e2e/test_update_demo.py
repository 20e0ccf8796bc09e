"""`v2g demo` of updates: stations, a back end and a repository of releases as programs, on real protocols."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.emissions import fault

ATTACKS = {
    "not listed",
    "older image",
    "for other hardware",
    "tampered image",
    "endless data",
    "older metadata",
    "frozen",
    "signed by two of five",
    "mixed and matched",
}


def run(scenario: str, folder: Path) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    """Return the events of a run, and its checks."""
    command = [sys.executable, "-m", "v2g_cli", "demo", "--json", "--scenario", scenario, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert not done.stderr, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert not {fault(**each) for each in records[:-1]} - {""}, "declare it in v2g/events.py"
    checks = {each["name"]: each["passed"] for each in records[-1]["checks"]}
    assert all(checks.values()), records[-1]["checks"]
    assert done.returncode == 0
    assert not [each for each in folder.glob("*.log") if "Traceback" in each.read_text()]
    return records[:-1], checks


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R139", "R140", "R141")
def test_a_back_end_in_wrong_hands_installs_nothing(tmp_path: Path) -> None:
    events, checks = run("update-attack", tmp_path / "run")
    assert checks.keys() > ATTACKS
    refused = [each for each in events if each["name"] == "security_event"]
    assert [each["data"]["type"] for each in refused].count("InvalidFirmwareSignature") == len(ATTACKS)


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R133", "R136", "R137", "R141")
def test_a_bad_release_stops_and_the_fleet_is_on_the_old_one(tmp_path: Path) -> None:
    events, _ = run("update", tmp_path / "run")
    campaign = [each["data"]["state"] for each in events if each["name"] == "campaign"]
    assert campaign == ["Running", "Finished", "Running", "RollingBack", "Halted"]
    boots = [each for each in events if each["name"] == "security_event" and each["data"]["type"] == "FirmwareUpdated"]
    assert len(boots) == 10 + 3 + 3


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R136", "R137")
def test_campaigns_over_two_nodes_end_or_are_named(tmp_path: Path) -> None:
    """Some stations are offline, 0, 3 and 10 % crash, and a file server dies."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian package redis-server)")
    events, checks = run("update-fleet", tmp_path / "run")
    ends = {each["data"]["state"] for each in events if each["name"] == "campaign"}
    assert ends >= {"Finished", "Halted"}
    assert {"csms-a ended well", "csms-b ended well", "redis ended well"} <= checks.keys()
