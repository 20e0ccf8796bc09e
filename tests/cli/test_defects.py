"""A defect of a command: a line, a file for a report without secrets, exit code 70, and never a traceback."""

import json
import logging
import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, Run
from v2g.energy.settlement import bundle
from v2g_cli.main import MOST, reporting_defects
from v2g_cli.output import print_json
from v2g_station.runner import StationRunner
from v2g_testkit.charger_tester import SeccTester

NOBODY = "ws://127.0.0.1:1/ocpp"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def report_of(done: Done) -> str:
    """Return the file of the defect that a command named."""
    assert done.code == 70
    assert "Traceback" not in done.errors + done.output
    assert "\x1b" not in done.errors + done.output
    found = re.search(r"report it with (\S+),", done.errors)
    assert found is not None
    file = Path(found[1])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_text()


def fail(*_: Any, **__: Any) -> Any:
    """Fail with text of a peer."""
    raise TypeError("on\x1b[31m purpose, at wss://CS-1:hunter2@host/ocpp")


async def fail_later(*_: Any, **__: Any) -> Any:
    """Fail in a task."""
    fail()


def test_a_command_that_fails_says_what_to_do(v2g: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundle, "verify_bundle", fail)
    report = report_of(v2g("settle", "verify", str(tmp_path)))
    assert "Traceback" in report
    assert report.startswith(f"v2g settle verify {tmp_path}\n")
    assert "hunter2" not in report
    assert "v2g-engine" not in report.splitlines()[0]


def test_an_argument_that_no_text_or_file_can_be_is_no_defect(v2g: Run) -> None:
    latin = v2g("csms", "--url", "https://127.0.0.1:1", "station", os.fsdecode(b"Hof S\xfcd"))
    assert (latin.code, latin.errors.splitlines()[0]) == (2, "v2g: 'Hof S\\udcfcd' is not UTF-8")
    inside = v2g("settle", "key", f"{__file__}/books.key")
    assert (inside.code, "is a file" in inside.errors) == (8, True)
    long = v2g("conform", "gridcode", "x" * 300)
    assert (long.code, long.errors.splitlines()[-1].strip()) == (8, "choose a shorter name")


def test_a_number_that_would_switch_off_a_limit_is_refused(v2g: Run) -> None:
    for number in ("nan", "inf", "1e999"):
        refused = v2g("settle", "reconcile", "books", "readings", "--alarm", number)
        assert (refused.code, f"{number!r} is not a valid float" in refused.errors) == (2, True), refused.errors
    assert v2g("settle", "reconcile", "--help").code == 0


def test_a_command_whose_output_is_closed_has_no_defect(v2g: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as Python does for `>&-`
    assert v2g("exi", "decode", "80400040").code == 0
    assert v2g("trace", "/nowhere/at/all").code == 2
    for each in (sys.stdout, sys.stderr):
        each.close()


def test_a_station_whose_task_fails_ends_with_the_code_of_a_defect_and_hides_its_password(
    v2g: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StationRunner, "run", fail_later)
    words = ("--url", NOBODY, "--password=a-password-of-the-station", "--duration", "0.2")
    report = report_of(v2g("station", *words))
    assert "TypeError: on" in report
    assert "a-password-of-the-station" not in report


def test_a_defect_within_a_station_is_reported(v2g: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g_station.station.StationCore.start", fail)
    assert "TypeError: on" in report_of(v2g("station", "--url", NOBODY, "--duration", "0.2"))


def test_a_tester_that_fails_fails_the_run(v2g: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeccTester, "run", fail_later)
    words = ("--interface", "lo", "--without-tls", "--profile", "interop", "--quick", "--only", "SDP")
    done = v2g("conform", "secc", *words)
    assert "the tester failed: TypeError" in done.output
    assert "0 pass" in done.output
    report_of(done)


def test_what_other_packages_log_about_peers_is_a_line_and_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting_defects() as defects:
        try:
            fail()
        except TypeError:
            logging.getLogger("websockets.server").exception("opening handshake failed")
    assert defects.count == 0
    assert capsys.readouterr().err.count("\n") == 1


def test_a_program_that_ran_in_this_process_leaves_nothing_of_its_log(v2g: Run, tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    assert v2g("secc", "--config", str(tmp_path / "none.toml")).code == 2
    assert (root.handlers, root.level) == before


def test_defects_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting_defects() as defects:
        for number in range(1000):
            defects.report(str(number), {"error": "E", "traceback": "T"})
    assert defects.count == 1000
    assert capsys.readouterr().err.count("\n") == 2 * MOST


def test_a_secret_among_the_arguments_is_said_and_one_in_the_environment_is_not(
    v2g: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "other users of this machine can read --password; they cannot read V2G_STATION_PASSWORD"
    words = ("station", "--url", NOBODY, "--duration", "0")
    assert said in v2g(*words, "--password", "a-password-of-the-station").errors
    monkeypatch.setenv("V2G_STATION_PASSWORD", "a-password-of-the-station")
    assert said not in v2g(*words).errors


def test_a_record_with_anything_a_device_has_sent_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"frame": [3, "\ud800", {"a": 10**100}]}
    print_json(record)
    assert json.loads(capsys.readouterr().out) == record
