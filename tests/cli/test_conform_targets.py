"""Several devices at once: each has its reports, the exit code is that of all, and no more run than are allowed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.together import together
from v2g.errors import ConfigError, TransportError
from v2g_cli.conform.command import Target, targets_of
from v2g_cli.main import app
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.vehicle_tester import VehicleBench

ONLY = Target(interface="lo", sdp_port=15118)
PASSES, FAILS, VAGUE, ABSENT, ENDS = 1, 2, 3, 4, 5
"""SDP ports of vehicles, by their behaviour."""

VERDICTS = {
    PASSES: Verdict.PASS,
    PASSES + 10: Verdict.PASS,
    FAILS: Verdict.FAIL,
    VAGUE: Verdict.INCONCLUSIVE,
    ENDS: Verdict.PASS,
}


class Bay:
    """How many devices are tested at this moment, and which cases ran."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.ran: list[tuple[int, str]] = []
        self.commands: list[str | None] = []


@pytest.fixture
def bay(monkeypatch: pytest.MonkeyPatch) -> Bay:
    found = Bay()

    class Known:
        def __init__(self, bench: VehicleBench, clock: Any, *, starter: Any) -> None:
            self.port, self.lines = bench.sdp_port, []  # type: ignore[var-annotated]

        async def run(self, case: Case) -> Result:
            found.now += 1
            found.most = max(found.most, found.now)
            await asyncio.sleep(0)
            found.now -= 1
            if self.port == ABSENT:
                raise TransportError("the port is in use", hint="another port")
            if self.port == ENDS:
                raise asyncio.CancelledError
            found.ran.append((self.port, case.id))
            return Result(case=case.id, verdict=VERDICTS[self.port], found="seen")

    def starter(command: str | None) -> None:
        found.commands.append(command)

    monkeypatch.setattr("v2g_cli.conform.command.EvccTester", Known)
    monkeypatch.setattr("v2g_cli.conform.command.Starter", starter)
    return found


def conform(*words: str) -> tuple[int, str]:
    given = ("conform", "evcc", "--profile", "interop", "--without-tls", "--only", "RUN-DC")
    done = CliRunner().invoke(app, [*given, *words])
    return done.exit_code, done.output


def test_each_device_has_its_reports(bay: Bay, tmp_path: Path) -> None:
    words = ("--target", f"good=lo:{PASSES}", "--target", f"bad=lo:{FAILS}", "--start", "go {target}")
    code, output = conform(*words, "--html", str(tmp_path / "report"), "--junit", str(tmp_path / "x.xml"))
    assert code == 1
    assert f"good\t{Verdict.PASS.value}\tEVCC-RUN-DC-EIM\tseen" in output
    assert f"bad\t{Verdict.FAIL.value}\tEVCC-RUN-DC-EIM\tseen" in output
    assert "good: 2 pass, 0 fail" in output
    assert "<failure" not in (tmp_path / "x-good.xml").read_text()
    assert (tmp_path / "x-bad.xml").read_text().count("<failure") == 2
    assert "<dd>good</dd>" in (tmp_path / "report" / "good" / "index.html").read_text()
    assert (tmp_path / "report" / "bad" / "index.html").exists()
    assert bay.commands == ["go good", "go bad"]


@pytest.mark.parametrize(
    ("ports", "code"),
    [
        ((PASSES, PASSES + 10), 0),
        ((PASSES, VAGUE), 3),
        ((PASSES, ABSENT), 3),
        ((VAGUE, FAILS, ABSENT), 1),
        ((FAILS, ENDS, PASSES), 130),
    ],
)
def test_the_exit_code_is_that_of_all(bay: Bay, ports: tuple[int, ...], code: int) -> None:
    words = [word for port in ports for word in ("--target", f"n{port}=lo:{port}")]
    found, output = conform(*words)
    assert found == code, output
    finished = [port for port in ports if port not in (ABSENT, ENDS)]
    assert {port: sum(each == port for each, _ in bay.ran) for port in finished} == dict.fromkeys(finished, 2)
    assert ("n4: the port is in use" in output) == (ABSENT in ports)


def test_the_reports_of_a_device_that_is_not_there_say_why(bay: Bay, tmp_path: Path) -> None:
    """A build server must not show its cases as passed."""
    words = ("--target", f"good=lo:{PASSES}", "--target", f"gone=lo:{ABSENT}", "--json")
    code, output = conform(*words, "--html", str(tmp_path), "--junit", str(tmp_path / "x.xml"))
    last = json.loads([line for line in output.splitlines() if line.startswith('{"device":"gone"')][-1])
    assert (code, last["about"]["not run"]) == (3, "the port is in use")
    assert (tmp_path / "x-gone.xml").read_text().count('<error message="not run: the port is in use"/>') == 2
    assert "<dt>not run</dt><dd>the port is in use</dd>" in (tmp_path / "gone" / "index.html").read_text()


@pytest.mark.parametrize(("parallel", "most"), [("1", 1), ("2", 2), ("64", 3)])
def test_no_more_devices_at_once_than_allowed(bay: Bay, parallel: str, most: int) -> None:
    words = [word for port in (PASSES, FAILS, VAGUE) for word in ("--target", f"n{port}=lo:{port}")]
    conform(*words, "--parallel", parallel)
    assert bay.most == most


def test_records_name_the_device_and_each_goes_on_with_its_own(bay: Bay, tmp_path: Path) -> None:
    words = ("--target", f"a=lo:{PASSES}", "--target", f"b=lo:{FAILS}", "--json")
    _, output = conform(*words)
    records = [json.loads(line) for line in output.splitlines()]
    assert {each["device"] for each in records} == {"a", "b"}
    earlier = tmp_path / "run.jsonl"
    earlier.write_text("".join(json.dumps(each) + "\n" for each in records if each["device"] == "a"))
    bay.ran.clear()
    code, _ = conform(*words, "--resume", str(earlier))
    assert code == 1
    assert {port for port, _ in bay.ran} == {FAILS}


def test_devices_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "devices"
    file.write_text("# the bay\nleft=eth1\n\nright=eth2:15200  # the new one\n")
    assert targets_of([f"@{file}", "third=eth3"], ONLY) == (
        Target(name="left", interface="eth1", sdp_port=15118),
        Target(name="right", interface="eth2", sdp_port=15200),
        Target(name="third", interface="eth3", sdp_port=15118),
    )
    assert targets_of([], ONLY) == (ONLY,)


@together(
    ("texts", "said"),
    [
        (["eth1"], "not a device"),
        (["../x=eth1"], "not a device"),
        (["a=eth1:0"], "not a device"),
        (["a=eth1:70000"], "not a device"),
        (["a=eth1", "a=eth2"], "used twice"),
        (["a=eth1", "b=eth1"], "at one port"),
        (["@/nowhere/devices"], "/nowhere/devices"),
    ],
)
def test_what_names_no_device_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        targets_of(texts, ONLY)
