"""`v2g csms campaigns` and `v2g csms inventory`, over the API of a back end that runs."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from csms.accounts.rules import Role
from tests.cli.csms import Cli, boot, cli
from tests.csms.api_support import ask, batch, record
from tests.csms.conftest import start
from tests.csms.support import STATION, TOKENS
from v2g.telemetry.local_events import INSTALLED, LocalEvent, Program
from v2g.telemetry.signals import SCHEMA_4, Record
from v2g_cli.csms.campaigns import course, recall_report

__all__ = ["cli", "start"]

HOUR_MS = 3_600_000
PLAN: dict[str, Any] = {
    "image": {"location": "https://files.example/1.4.bin"},
    "rollback": {"location": "https://files.example/1.3.bin"},
}


@pytest.fixture
def plan(tmp_path: Path) -> str:
    """A plan that begins no station by itself."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**PLAN, "install_after_ms": 4_000_000_000_000}))
    return str(path)


@pytest.mark.long
@pytest.mark.requirement("R136", "R137")
async def test_a_campaign_from_the_command_line(cli: Cli, plan: str, tmp_path: Path) -> None:
    code, _output, errors = await cli("campaigns", "create", "1.4", plan)
    assert (code, "which stations?" in errors) == (2, True)
    code, output, errors = await cli("campaigns", "create", "1.4", plan, "--station", STATION, "--station", "CS-2")
    assert (code, output, errors) == (0, "campaign 1: 2 stations\n", "")
    (listed,) = await cli.records("campaigns", "list")
    assert (listed["name"], listed["state"]) == ("1.4", "Running")
    for what, state in (("pause", "Paused"), ("resume", "Running")):
        assert await cli("campaigns", what, "1") == (0, f"campaign 1: {state}\n", "")
    assert (await cli("campaigns", "exclude", "1", "CS-2"))[0] == 0
    assert (await cli("campaigns", "exclude", "1", "CS-2"))[0] != 0
    (found,) = await cli.records("campaigns", "force", "1", STATION)
    assert {each["station_id"]: each["state"] for each in found["members"]} == {STATION: "Waiting", "CS-2": "Excluded"}
    chart = tmp_path / "course.svg"
    code, output, errors = await cli("campaigns", "show", "1", "--chart", str(chart))
    assert (code, errors) == (0, "")
    assert output.splitlines()[0] == "1.4: Running"
    assert "2 stations" in str(ElementTree.fromstring(chart.read_text()).get("aria-label"))
    assert (await cli("campaigns", "show", "1", "--chart", str(chart)))[0] == 2, "it does not overwrite"
    assert await cli("campaigns", "rollback", "1") == (0, "campaign 1: RollingBack\n", "")
    assert await cli("campaigns", "cancel", "1") == (0, "campaign 1: Cancelled\n", "")
    assert (await cli("campaigns", "cancel", "1"))[0] != 0
    assert (await cli("campaigns", "show", "2"))[0] == 5
    assert (await cli("campaigns", "pause", "1", role=Role.VIEWER))[0] == 4


@pytest.mark.some(1)
@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 100_000, '{"image": 1}', "\x00", None],
    ids=["empty", "cut", "deep", "another", "zero", "none"],
)
async def test_a_plan_that_is_none(cli: Cli, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    code, output, errors = await cli("campaigns", "create", "1.4", str(path), "--station", STATION)
    assert (code, output) == (2, ""), errors
    assert "Traceback" not in errors
    assert await cli.records("campaigns", "list") == []


@pytest.mark.requirement("R142")
async def test_a_drill_reports_what_it_reached(cli: Cli, plan: str, tmp_path: Path) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
    out = tmp_path / "drill.json"
    code, output, errors = await cli("campaigns", "drill", "recall", plan, "--model", "M", "--out", str(out))
    assert (code, errors) == (0, "")
    assert "share reached: 0.0" in output
    found = json.loads(out.read_text())
    assert (found["name"], found["stations"], found["verdict"]) == ("recall", 1, "open")
    assert (await cli("campaigns", "cancel", "1"))[0] == 0
    code, output, _errors = await cli("campaigns", "report", "1", "--wait", "60", "--json")
    assert (code, json.loads(output)["verdict"]) == (1, "missed")
    assert (await cli("campaigns", "drill", "recall", plan, "--firmware", "none"))[0] != 0


def campaign(state: str, *members: tuple[str, int, int]) -> dict[str, Any]:
    """A campaign that began at 0: state of each station, hours until its begin and its installation."""
    return {
        "campaign_id": 7,
        "name": "c",
        "state": state,
        "reason": "",
        "created_ms": 0,
        "updated_ms": HOUR_MS,
        "members": [
            {"state": each, "begun_ms": begun * HOUR_MS, "installed_ms": done * HOUR_MS, "updated_ms": done * HOUR_MS}
            for each, begun, done in members
        ],
    }


@pytest.mark.requirement("R142")
def test_times_to_patch_by_hand() -> None:
    done = [("Installed", each, each + 1) for each in range(1, 19)]
    found = recall_report(campaign("Running", *done, ("Waiting", 0, 0), ("Excluded", 0, 0)), 0, share=0.95, days=1)
    assert (found["stations"], found["excluded"], found["reached"], found["share_reached"]) == (19, 1, 18, 0.9474)
    assert (found["time_to_patch_50_percent_h"], found["time_to_patch_95_percent_h"]) == (11.0, None)
    assert (found["update_median_min"], found["updates_over_45_min"], found["verdict"]) == (60.0, 18, "open")
    done.append(("Installed", 20, 23))
    found = recall_report(campaign("Finished", *done), 0, share=0.95, days=1)
    assert (found["time_to_patch_all_h"], found["update_longest_min"], found["verdict"]) == (23.0, 180.0, "met")
    late = recall_report(campaign("Finished", ("Installed", 1, 25)), 0, share=1, days=1)
    assert (late["reached"], late["verdict"]) == (1, "missed")
    assert recall_report(campaign("Running", ("Waiting", 0, 0)), 24 * HOUR_MS, share=1, days=1)["verdict"] == "open"
    assert (
        recall_report(campaign("Running", ("Waiting", 0, 0)), 24 * HOUR_MS + 1, share=1, days=1)["verdict"] == "missed"
    )
    assert recall_report(campaign("Finished", ("Excluded", 0, 0)), 0, share=0.95, days=1)["verdict"] == "missed"


def test_the_course_of_a_campaign_is_a_picture() -> None:
    drawn = ElementTree.fromstring(course(campaign("Halted", ("Reverted", 1, 2), ("Failed", 1, 3)), 10 * HOUR_MS))
    titles = {each.text for each in drawn.iter() if each.tag.endswith("title")}
    assert titles == {"begun", "installed", "failed", "went back"}
    assert ElementTree.fromstring(course(campaign("Running"), 0)).tag.endswith("svg")


ADVISORY = {
    "id": "V-2026-1",
    "modified": "2026-11-01T00:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "generic", "name": "V/M"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.4.0"}]}],
        }
    ],
}


NO_RELEASE = {"number": None, "failed": None}


async def test_what_is_installed_where_and_what_is_known_of_it(cli: Cli, tmp_path: Path) -> None:
    assert await cli("inventory") == (0, "", "")
    async with cli.csms.connect() as station:
        said = {"model": "M", "vendorName": "V", "firmwareVersion": "1.3.0"}
        await station.send(json.dumps([2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": said}]))
        await station.recv()
    assert await cli("inventory") == (0, "station\tV\tM\t1.3.0\t\t\t1\n", "")
    assert await cli.records("inventory", "--each") == [
        {"part": "station", "where": STATION, "vendor": "V", "model": "M", "firmware": "1.3.0"} | NO_RELEASE
    ]
    file = tmp_path / "advisories.jsonl"
    for fixed, flaws, code in (("1.4.0", "V-2026-1", 1), ("1.3.0", "", 0)):
        text = json.dumps(ADVISORY).replace("1.4.0", fixed)
        file.write_text(json.dumps({"sources": []}) + "\n" + text + "\n")
        ended, output, errors = await cli("inventory", "--advisories", str(file), "--csv")
        rows = list(csv.reader(io.StringIO(output)))
        assert (ended, errors) == (code, "")
        columns = ["part", "vendor", "model", "firmware", "number", "failed", "count", "flaws"]
        assert rows == [columns, ["station", "V", "M", "1.3.0", "", "", "1", flaws]]
    file.write_text("{}\n{}\n")
    code, _output, errors = await cli("inventory", "--advisories", str(file))
    assert (code, "Traceback" in errors) == (2, False)
    assert (await cli("inventory", "--advisories", str(tmp_path / "none")))[0] == 2


async def test_a_spreadsheet_gets_no_formula_from_a_station(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        said = {"model": 'a,"b"', "vendorName": "=1+1", "firmwareVersion": "x\ny"}
        await station.send(json.dumps([2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": said}]))
        await station.recv()
    _code, output, _errors = await cli("inventory", "--csv")
    row = ["station", "'=1+1", 'a,"b"', r"x\u000ay", "", "", "1"]
    assert list(csv.reader(io.StringIO(output)))[1] == row


INSTALLED_IN: tuple[tuple[str, Program, int, int | None], ...] = (
    ("EV-1", "evcc", 9, None),
    ("EV-1", "gateway", 10, 11),
    ("EV-2", "evcc", 9, None),
)


@pytest.mark.requirement("R113")
async def test_what_is_installed_in_vehicles_is_for_those_who_read_them(cli: Cli, tmp_path: Path) -> None:
    """The same hardware with the same release is one row; its flaws are known by the number of the release."""
    async with cli.csms.connect() as station:
        await boot(station)
    records: list[Record] = []
    tags: dict[str, Any] = {"schema": SCHEMA_4, "trip": "1-0", "ambient_c": None, "charging_w": None}
    for ev, program, number, failed in INSTALLED_IN:
        said = {"hardware": program, "version": f"{program}.img", "number": number, "failed": failed}
        records.append(record(len(records) + 1, ev=ev, event=LocalEvent(program, INSTALLED, 1, said), **tags))
    async with ask(cli.csms, "POST", "/telemetry", token=TOKENS[Role.ADMIN], body=batch(*records)) as answer:
        assert (await answer.json())["stored"] == 3
    vehicle = {"part": "vehicle", "vendor": "", "model": "evcc", "firmware": "evcc.img", "number": 9, "failed": None}
    gateway = {**vehicle, "part": "gateway", "model": "gateway", "firmware": "gateway.img", "number": 10, "failed": 11}
    first, *others = await cli.records("inventory")
    assert (first["part"], others) == ("station", [{**vehicle, "count": 2}, {**gateway, "count": 1}])
    code, output, errors = await cli("inventory", "--each", "--json", role=Role.DRIVER)
    assert [json.loads(line) for line in output.splitlines()] == [
        {**gateway, "where": "EV-1"},
        {**vehicle, "where": "EV-1"},
    ]
    assert (code, "without stations: " in errors) == (0, True)
    code, output, errors = await cli("inventory", role=Role.OPERATOR)
    assert (code, output[:7], "without vehicles: " in errors) == (0, "station", True)
    assert (await cli("inventory", role=Role.GRID_OPERATOR))[:2] == (0, ""), "some signals only"
    assert (await cli("inventory", role=Role.INSURER))[0] == 4
    file = tmp_path / "advisories.jsonl"
    text = json.dumps(ADVISORY).replace("1.4.0", "10").replace("V/M", "evcc")
    file.write_text(json.dumps({"sources": []}) + "\n" + text + "\n" + text.replace("evcc", "gateway") + "\n")
    code, output, _errors = await cli("inventory", "--advisories", str(file), "--json")
    assert code == 1
    assert [json.loads(line)["flaws"] for line in output.splitlines()] == [[], ["V-2026-1"], []]
