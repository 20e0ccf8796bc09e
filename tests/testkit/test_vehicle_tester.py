"""The tester against our vehicle over real sockets: what memory cannot show."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner

from pki_tools.tree import PkiTree
from tests.testkit.vehicle_tester import Here, prepared
from tests.waiting import until
from v2g.iso15118.d20.charts import Family
from v2g_cli.conform.kit import chargers_of_files
from v2g_cli.demo.processes import free_port
from v2g_cli.main import app
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.cases.charger import ReferenceCharger
from v2g_testkit.cases.editions import VEHICLES, Edition
from v2g_testkit.cases.evcc_cases import evcc_cases
from v2g_testkit.cases.evcc_probes import ASKS_AGAIN, request_facts
from v2g_testkit.cases.report import chosen
from v2g_testkit.vehicle_tester import EvccTester, Starter

CASES = evcc_cases(Family.DC)


async def played(pki: PkiTree, folder: Path, *only: str, wait_s: float = 20.0) -> dict[str, Result]:
    tester = prepared(pki, partial(Here, folder), wait_s=wait_s)
    return {case.id: await tester.run(case) for case in chosen(CASES, only)}


async def test_handshakes_and_a_session_of_our_vehicle(pki: PkiTree, tmp_path: Path) -> None:
    results = await played(pki, tmp_path, "TLS", "COD-DC-ServiceDiscoveryRes-FAILED", "SDP-good")
    verdicts = {name: each.verdict for name, each in results.items()}
    assert set(verdicts.values()) == {Verdict.PASS}, results
    assert len(verdicts) == 11
    assert "revoked" in results["EVCC-TLS-revoked"].found
    assert "expired" in results["EVCC-TLS-expired"].found


@pytest.mark.long
async def test_whole_sessions_of_our_vehicle(pki: PkiTree, tmp_path: Path) -> None:
    results = await played(pki, tmp_path, "RUN", "END", "TIM", "NOT", "SDP")
    opened = {name for name, each in results.items() if each.verdict is Verdict.OPEN}
    assert {each.verdict for each in results.values()} <= {Verdict.PASS, Verdict.OPEN}, results
    assert opened <= {case.id for case in chosen(CASES, list(results)) if case.open}


async def test_nobody_comes(pki: PkiTree, tmp_path: Path) -> None:
    class Nobody(Here):
        @contextlib.asynccontextmanager
        async def going(self) -> AsyncIterator[None]:
            yield

    tester = prepared(pki, partial(Nobody, tmp_path), wait_s=0.1)
    for case in chosen(CASES, ["SDP-good", "TLS-version-1.2", "RUN-DC-EIM"]):
        result = await tester.run(case)
        assert result.verdict is Verdict.INCONCLUSIVE, result


async def test_a_defect_of_the_tester_ends_the_case(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ReferenceCharger):
        def _on_message(self, message: object, payload_type: int) -> None:
            raise ArithmeticError

    test = msgspec.structs.replace(VEHICLES[Edition.ISO20], charger=Broken)
    monkeypatch.setattr("v2g_testkit.vehicle_tester.VEHICLES", {Edition.ISO20: test})
    with pytest.raises(ArithmeticError):
        await played(pki, tmp_path, "RUN-DC-EIM")


async def test_a_program_brings_the_vehicle_and_is_ended(tmp_path: Path) -> None:
    async with Starter(f"echo came > {tmp_path / 'came'}").going():
        await until((tmp_path / "came").exists)
    with pytest.raises(RuntimeError):
        async with Starter("sleep 100").going():
            raise RuntimeError


@pytest.mark.long
def test_how_often_a_vehicle_asks_is_reported() -> None:
    assert request_facts([0.0, 0.25, 0.5]) == [ASKS_AGAIN]
    assert request_facts([0.0, 1.0, 2.0]) == ["asks 3 times, after 1.00, 1.00 s"]
    assert request_facts([]) == ["sends no request"]


def test_single_files_leave_out_what_only_a_ca_can_make(pki: PkiTree) -> None:
    files = (pki.path("secc/chain.pem"), pki.path("secc/leaf.key"))
    found = chargers_of_files(files, pki.path("secc/ocsp.der"), datetime.now(UTC))
    assert found.keys() == {"secc", "unknown-root", "no-staple"}
    assert found["secc"].answer()
    assert not chargers_of_files((None, None), None, datetime.now(UTC))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--energy", "WPT"), "supports AC and DC"),
        (("--only", "nothing"), "no case named nothing"),
        ((), "no charger certificate given"),
        (("--pay", "cash"), "--pay cash"),
    ],
)
def test_what_cannot_be_run_is_refused(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["conform", "evcc", *words])
    assert done.exit_code != 0
    assert said in str(done.exception)


def test_the_command_lists_its_cases() -> None:
    done = CliRunner().invoke(app, ["conform", "evcc", "--list", "--quick"])
    assert done.exit_code == 0
    assert done.output.splitlines()[0].startswith("EVCC-SDP-good\t")


def test_an_interrupted_run_reports_what_it_has_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Interrupted(EvccTester):
        async def run(self, case: Case) -> Result:
            if not case.id.endswith("EIM"):
                raise asyncio.CancelledError  # what Ctrl-C comes to
            return Result(case=case.id, verdict=Verdict.PASS, found="ends")

    monkeypatch.setattr("v2g_cli.conform.command.EvccTester", Interrupted)
    report = tmp_path / "new" / "report.xml"
    words = ["conform", "evcc", "--profile", "interop", "--without-tls", "--only", "RUN", "--junit", str(report)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 130
    assert "interrupted after 1 of 2 cases" in done.output
    text = report.read_text()
    assert (text.count("<testcase"), text.count("not run")) == (2, 1)


def test_an_interrupted_run_is_continued_by_its_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run: list[str] = []

    class Interrupted(EvccTester):
        async def run(self, case: Case) -> Result:
            run.append(case.id)
            if len(run) == 3:
                raise asyncio.CancelledError
            verdict = Verdict.INCONCLUSIVE if len(run) == 2 else Verdict.PASS
            return Result(case=case.id, verdict=verdict, found="ends")

    monkeypatch.setattr("v2g_cli.conform.command.EvccTester", Interrupted)
    records = tmp_path / "run.jsonl"
    words = ["conform", "evcc", "--profile", "interop", "--without-tls", "--only", "SID-DC", "--json"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 130
    records.write_text(first.output)
    again = CliRunner().invoke(app, [*words, "--resume", str(records)])
    assert again.exit_code == 0
    cases = [case.id for case in chosen(CASES, ["SID-DC"])]
    assert run == [*cases[:3], *cases[1:]]  # what was inconclusive, and what was not run
    assert json.loads(again.output.splitlines()[-1])["totals"]["pass"] == len(cases)


def test_a_report_that_has_no_place_is_reported_before_anything_is_run(tmp_path: Path) -> None:
    words = ["conform", "evcc", "--profile", "interop", "--without-tls", "--wait", "1", "--only", "RUN"]
    done = CliRunner().invoke(app, [*words, "--junit", str(tmp_path)])
    assert "--junit needs a file name" in str(getattr(done.exception, "hint", ""))
    assert "EVCC-RUN" not in done.output


@pytest.mark.long
def test_sigterm_leaves_a_report_of_what_was_tested_when_and_how(tmp_path: Path) -> None:
    report, pages, port = tmp_path / "report.xml", tmp_path / "pages", free_port(socket.SOCK_DGRAM)
    words = ["evcc", "--profile", "interop", "--without-tls", "--wait", "600", "--only", "RUN", "--device", "Car 7"]
    words += ["--sdp-port", str(port), "--junit", str(report), "--html", str(pages)]
    tool = (sys.executable, "-m", "v2g_cli", "conform", *words)
    with subprocess.Popen(tool, stdout=subprocess.PIPE, text=True) as process:
        while f":{port:04X} " not in Path("/proc/net/udp6").read_text():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate()
    assert process.returncode == 130
    assert "interrupted after 0 of" in output
    facts = {each.get("name"): each.get("value") for each in ElementTree.parse(report).iter("property")}
    assert facts["device"] == "Car 7"
    assert "v2g-engine " in facts["versions"]
    assert f"--sdp-port {port}" in facts["command"]
    assert facts["date"].endswith(" UTC")
    assert "Car 7" in (pages / "index.html").read_text()
