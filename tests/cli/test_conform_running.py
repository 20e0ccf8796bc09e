"""A run of cases: a device that is stuck is restarted, or the run ends and every report says what was not run."""

import asyncio
import json
import signal
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path

import pytest

from v2g_cli.conform import report
from v2g_cli.conform.frames import FrameFile, read_frames, records_of
from v2g_cli.conform.running import Reporter, ending, read_results, run_cases
from v2g_testkit.cases.case import PRECONDITION, REFUSED, Case, Result, Verdict
from v2g_testkit.cases.report import chosen, junit
from v2g_testkit.ocpi.cases import CASES as OCPI_CASES
from v2g_testkit.ocpp.connection import Frame
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES

CASES = [Case(id=f"SECC-X-{n:02}", title=f"Case {n}", required="it works") for n in range(1, 9)]
RULE = Case(id="RUN-RULE", title="The whole run", required="nothing is wrong")
FRAMES = [
    Frame(1.0, "sent", json.dumps([2, "id-1", "Reset", {"type": "OnIdle"}]), station="CS", connection=3),
    Frame(1.5, "received", '[4,"id-1","NotSupported","",{}]', station="CS", connection=3),
    Frame(2.0, "received", "no JSON", "not JSON"),
    Frame(2.5, "note", "connection ended"),
]


class Device:
    """Is stuck in cases until it is restarted, which some can be."""

    def __init__(self, *stuck: int, restarts: bool, found: str = f"{PRECONDITION}it does not answer") -> None:
        self.found = found
        self.stuck, self.restarts = {CASES[n - 1].id for n in stuck}, restarts
        self.ran: list[str] = []
        self.restarted = 0

    async def run(self, case: Case) -> Result:
        self.ran.append(case.id)
        if case.id in self.stuck and not (self.restarted and self.restarts):
            return Result(case=case.id, verdict=Verdict.INCONCLUSIVE, found=self.found)
        return Result(case=case.id, verdict=Verdict.PASS, found="as required")

    async def reboot(self) -> bool:
        self.restarted += 1
        return self.restarts


def played(
    device: Device,
    reboot: Callable[[], Awaitable[bool]] | None,
    done: tuple[Result, ...] = (),
    frames: dict[str, list[Frame]] | None = None,
) -> tuple[list[Result], Reporter]:
    reporter = Reporter(
        [*CASES, RULE],
        {"device": "X"},
        json=True,
        more=lambda case: {"frames": records_of((frames or {}).get(case, ()))},
    )
    found = run_cases(device.run, [*CASES, RULE], reporter, done, reboot=reboot, without_device={RULE.id})
    return asyncio.run(found), reporter


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_failure_names_what_it_violates(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(id="SECC-X-01", title="x", required="x", requirements=("V2G2-538", "V2G2-539"))
    reporter = Reporter([case], {}, json=False)
    for verdict in (Verdict.PASS, Verdict.FAIL):
        reporter.ended(case, Result(case=case.id, verdict=verdict, found="answers OK"))
    passed, failed = capsys.readouterr().out.splitlines()
    assert passed == "pass\tSECC-X-01\tanswers OK"
    assert failed == "fail\tSECC-X-01\tanswers OK [V2G2-538, V2G2-539]"


def test_a_stuck_device_is_restarted_and_its_cases_are_repeated_once(capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(2, 3, 4, restarts=True)
    results, reporter = played(device, device.reboot)
    assert {each.verdict for each in results} == {Verdict.PASS}
    assert [name[-2:] for name in device.ran] == [
        "01",
        "02",
        "03",
        "04",
        "02",
        "03",
        "04",
        *["05", "06", "07", "08"],
        "LE",
    ]
    assert (device.restarted, ending(results, [*CASES, RULE], stuck=reporter.stuck)) == (1, 0)
    assert records(capsys.readouterr().out)[-1]["not_run"] == []


def test_two_cases_in_a_row_are_no_reason(capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(1, 2, 4, 5, restarts=True)
    results, _ = played(device, device.reboot)
    assert len(results) == len(device.ran) == 9
    assert device.restarted == 0
    assert capsys.readouterr().out


def test_rules_that_hold_make_no_run_conclusive() -> None:
    """Else a device that comes to no case would end a build as if it had passed."""
    held = Result(case=RULE.id, verdict=Verdict.PASS, found="as required")
    case = Result(case=CASES[0].id, verdict=Verdict.INCONCLUSIVE, found="it does not answer")
    broken = Result(case=RULE.id, verdict=Verdict.FAIL, found="wrong")
    for results, code in (([case, held], 3), ([held], 0), ([case, broken], 1)):
        assert ending(results, results, rules={RULE.id}) == code  # type: ignore[arg-type]  # as many as cases


def test_a_device_that_answers_and_refuses_does_not_end_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(1, 2, 3, 4, 5, 6, restarts=False, found=f"{REFUSED}answers VersionMismatch")
    device.restarted = 1  # also where it can be restarted, in vain
    results, reporter = played(device, device.reboot)
    assert (len(results), reporter.stuck, device.restarted) == (9, "", 2)
    assert ending(results, [*CASES, RULE], stuck=bool(reporter.stuck)) == 0
    assert records(capsys.readouterr().out)[-1]["not_run"] == []


def test_a_device_that_stays_stuck_ends_the_run_and_every_report_says_what_was_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(2, 3, 4, restarts=False)
    results, reporter = played(device, device.reboot)
    left = [case.id for case in CASES[4:]]
    assert device.ran == [*(case.id for case in CASES[:4]), RULE.id]
    assert ending(results, [*CASES, RULE], stuck=reporter.stuck) == 3
    assert records(capsys.readouterr().out)[-1]["not_run"] == left
    tree = ET.fromstring(junit("x", {}, [*CASES, RULE], results))
    missing = {each.get("name", "")[:9] for each in tree.iter("testcase") if (e := each.find("error")) is not None
               and e.get("message") == "not run"}  # fmt: skip
    assert [tree.get(each) for each in ("tests", "skipped", "errors")] == ["9", "3", "4"]
    assert missing == set(left), "a build server must not show them as passed"
    report.write_pages(tmp_path, "station", {}, [*CASES, RULE], results, lambda case, title: None)
    page = (tmp_path / "index.html").read_text()
    assert page.count('<span class="state">not run</span>') == 4
    assert all(name in page for name in left)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_ends_the_run_and_not_its_report(
    which: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of `timeout`, which signals the program and then its group."""

    class Interrupted(Device):
        async def run(self, case: Case) -> Result:
            if self.ran:
                signal.raise_signal(which)
                signal.raise_signal(which)
                await asyncio.Event().wait()
            return await super().run(case)

    results, _ = played(Interrupted(restarts=False), None)
    assert [each.case for each in results] == [CASES[0].id]
    assert records(capsys.readouterr().out)[-1]["not_run"] == [each.id for each in (*CASES[1:], RULE)]


def test_a_resumed_run_has_all_records_with_their_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played(Device(restarts=False), None, frames={CASES[0].id: FRAMES})
    first, file = capsys.readouterr().out, tmp_path / "run.jsonl"
    file.write_text("\n".join([*first.splitlines()[:5], '{"case": "']))  # killed in the next one
    frames = read_frames(file)
    assert [json.loads(each.text) for each in frames[CASES[0].id][:2]] == [json.loads(each.text) for each in FRAMES[:2]]
    assert frames[CASES[0].id][2:] == FRAMES[2:]
    device = Device(restarts=False)
    played(device, None, tuple(read_results(file)), frames)
    assert device.ran == [*(case.id for case in CASES[5:]), RULE.id]
    again = capsys.readouterr().out
    assert [each.get("case") for each in records(again)] == [each.get("case") for each in records(first)]
    assert records(again)[0] == records(first)[0]


def test_frames_are_json_with_their_message_ids_and_are_there_while_the_run_goes_on(tmp_path: Path) -> None:
    file = FrameFile(tmp_path / "frames.jsonl")
    file.case = "TC_1"
    for each in FRAMES:
        file.append(each)
    found = records((tmp_path / "frames.jsonl").read_text())
    assert found[0] == {
        "case": "TC_1", "at_s": 1.0, "way": "sent", "station": "CS", "connection": 3, "id": "id-1",
        "frame": [2, "id-1", "Reset", {"type": "OnIdle"}],
    }  # fmt: skip
    assert found[1]["id"] == "id-1"
    assert (found[2]["text"], found[2]["fault"]) == ("no JSON", "not JSON")
    assert found[3] == {"case": "TC_1", "at_s": 2.5, "way": "note", "text": "connection ended"}


def test_cases_can_be_left_out() -> None:
    assert [case.id for case in chosen(CASES, skip=("SECC-X-0[2-8]*", "X-01"))] == []
    assert len(chosen(CASES, ("X",), skip=("SECC-X-03",))) == 7


def test_a_page_of_a_case_begins_with_verdict_reason_and_what_would_be_right(tmp_path: Path) -> None:
    case = STATION_CASES[0]
    found = Result(case=case.id, verdict=Verdict.FAIL, found="<b>wrong</b> \x1b[31m")
    report.write_page(tmp_path, case, lambda _, title: f"<h1>{title}</h1><i {report.JUDGED}></i>", found)
    page = (tmp_path / f"{case.id}.html").read_text()
    assert page.index("</h1>") < page.index(">fail</span>") < page.index("Right would be") < page.index("<i id=")
    assert "&lt;b&gt;wrong&lt;/b&gt;" in page
    assert "\x1b" not in page
    assert f"<dd>{escape(case.required)}</dd>" in page
    assert ", ".join(case.requirements) in page
    assert '<a href="#judged">' in page


def test_groups_of_cases_have_names(tmp_path: Path) -> None:
    cases = [*STATION_CASES, *CSMS_CASES, *OCPI_CASES]
    assert {each.group for each in cases} - report.GROUPS.keys() == set()
    some = [next(each for each in cases if each.group == group) for group in ("B", "K")]
    results = [Result(case=each.id, verdict=Verdict.PASS, found="") for each in some]
    report.write_pages(tmp_path, "station", {}, some, results, lambda case, title: None)
    assert "<td>Smart charging K</td>" in (tmp_path / "index.html").read_text()
