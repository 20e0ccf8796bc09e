"""`v2g hardware`: drivers listed and tested, by name."""

import json
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Run
from tests.cli.csms import run
from tests.driver_packages import install
from tests.secc_toml import SECC

SOURCE = """
from contextlib import asynccontextmanager
import msgspec
from v2g.errors import TransportError
from v2g.io.hardware.driver import Driver

class Config(msgspec.Struct):
    device: str
    size: int = 1
    inner: dict[str, str] = {}

@asynccontextmanager
async def opens(config, context):
    if config.device == "raises":
        1 / 0
    raise TransportError(f"{config.device} \\x1b[31m is not there", hint="plug it in")
    yield

DRIVER = Driver("meter", Config, opens)
"""
HARDWARE = """[hardware]
meter = "cli-acme"
drivers.cli-acme.device = "/dev/acme"
"""


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers of another distribution."""
    entries = {"cli-acme": "cli_acme:DRIVER", "cli-broken": "cli_acme_broken:DRIVER"}
    install(tmp_path / "site", monkeypatch, entries, {"cli_acme": SOURCE, "cli_acme_broken": "import no_such_library"})


def test_drivers_are_listed_with_where_they_come_from() -> None:
    code, output, _ = run("hardware", "list")
    rows = [line.split("\t") for line in output.splitlines()]
    assert code == 0
    assert ["cli-acme", "meter", "acme 1.2", ""] in rows
    assert ["can", "stage"] in [row[:2] for row in rows]
    assert next(row for row in rows if row[0] == "cli-broken")[3].startswith("cannot be imported: ModuleNotFound")
    records = [json.loads(line) for line in run("hardware", "list", "--json")[1].splitlines()]
    assert {"name": "cli-acme", "kind": "meter", "distribution": "acme", "version": "1.2", "error": ""} in records


def test_the_cases_of_a_driver_are_listed_without_opening_it() -> None:
    code, output, _ = run("hardware", "test", "cli-acme", "--list")
    assert code == 0
    assert "HW-METER-registers" in output


def test_a_simulated_driver_is_tested() -> None:
    code, output, _ = run("hardware", "test", "simulated", "--kind", "stage", "--only", "opens", "--only", "voltage")
    assert code == 0
    lines = output.splitlines()
    assert lines[0].startswith("pass\tHW-STAGE-opens")
    assert lines[1].startswith("inconclusive\tHW-STAGE-voltage\tenergises the part: --energised")
    assert lines[2].startswith("1 pass, 0 fail, 1 inconclusive")


def test_a_driver_that_fails_is_reported_for_people_and_build_servers(tmp_path: Path) -> None:
    """Whatever a driver says cannot reach the terminal as a control sequence."""
    report = tmp_path / "report.xml"
    words = ("hardware", "test", "cli-acme", "--set", "device=/dev/x", "--set", "inner.a=b", "--only", "opens")
    code, output, _ = run(*words, "--junit", str(report))
    assert code == 1
    assert output.startswith("fail\tHW-METER-opens\t/dev/x")
    assert "\x1b" not in output
    (case,) = ElementTree.parse(report).getroot().iter("testcase")
    assert case.find("failure") is not None
    code, output, _ = run(*words, "--json")
    assert json.loads(output.splitlines()[0])["verdict"] == "fail"


def test_a_part_that_does_not_open_fails_once_with_its_hint_and_a_wrong_key_is_no_failure_of_it() -> None:
    code, output, _ = run("hardware", "test", "cli-acme", "--set", "device=/dev/x")
    first, *others, totals = output.splitlines()
    assert (code, first.endswith("is not there (plug it in)"), len(others)) == (1, True, 8)
    assert all(each.startswith("not exercised\tHW-METER-") for each in others)
    assert totals.startswith("0 pass, 1 fail, 0 inconclusive, 0 open, 8 not exercised")
    code, output, error = run("hardware", "test", "modbus", "--set", "host=::1", "--set", "map=sdm63")
    assert (code, output, "did you mean 'sdm630'?" in error) == (2, "", True)


def test_an_exception_of_a_driver_is_a_failed_case_and_no_defect_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, v2g: Run
) -> None:
    """Its author finds the traceback in a file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = v2g("hardware", "test", "cli-acme", "--set", "device=raises", "--only", "opens")
    assert (done.code, done.output.split("\t")[0]) == (1, "fail")
    assert "defect" not in done.errors.splitlines()[0]
    assert "cli_acme.py" in Path(done.errors.split()[-1]).read_text()


def test_the_keys_of_a_charger_are_used(tmp_path: Path) -> None:
    file = tmp_path / "secc.toml"
    file.touch(mode=0o600)
    file.write_text(SECC + HARDWARE)
    code, output, _ = run("hardware", "test", "cli-acme", "--config", str(file), "--only", "opens")
    assert (code, output.split()[2]) == (1, "/dev/acme")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["simulated"], "there are several drivers 'simulated': emergency, meter, pilot, stage"),
        (["simulated", "--kind", "engine"], "--kind engine"),
        (["no-such"], "no driver 'no-such' is installed"),
        (["cli-broken"], "'cli-broken' of acme 1.2 cannot be imported: ModuleNotFoundError"),
        (["cli-acme"], "--set: the key device is missing"),
        (["cli-acme", "--set", "device"], "--set device"),
        (["cli-acme", "--set", "device=a", "--set", "sise=1"], "--set sise: unknown key"),
        (["cli-acme", "--set", "device=a", "--set", "size=x"], "--set size: must be a whole number, but is text"),
        (["cli-acme", "--set", "device=a", "--set", "device.b=c"], "another --set gives device a value"),
        (["cli-acme", "--only", "no-such-case"], "no case named no-such-case"),
    ],
)
def test_a_wrong_command_is_explained(words: list[str], error: str) -> None:
    code, _, errors = run("hardware", "test", *words)
    assert code == 2
    assert error in errors
    assert "Traceback" not in errors


def simulated(folder: Path) -> str:
    """Write a charger of simulated parts; return its configuration."""
    file = folder / "secc.toml"
    file.touch(mode=0o600)
    file.write_text(SECC + '[link]\nmedium = "copper"\n')
    return str(file)


def test_the_parts_are_shown_and_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secc.hardware.maintenance.SETTLE_S", 0.1)
    config = simulated(tmp_path)
    code, output, _ = run("hardware", "show", "--config", config)
    rows = dict(line.split("\t") for line in output.splitlines())
    assert code == 0
    assert (rows["contactor"], rows["pilot"], rows["lock"], rows["faults"]) == ("open", "A", "none", "none")
    record = json.loads(run("hardware", "show", "--config", config, "--json")[1])
    assert (record["contactor"], record["faults"], record["import_wh"]) == ("open", [], 0.0)
    assert run("hardware", "exercise", "fan", "--config", config)[:2] == (0, "fan turns after 0.0 s, 3000 rpm\n")
    code, _, errors = run("hardware", "exercise", "lock", "--config", config)
    assert (code, "the charger has no plug lock" in errors) == (5, True)


@pytest.mark.parametrize(
    ("words", "error"), [(["brake"], "'brake' is not a part that moves"), (["fan", "--evse", "2"], "--evse 2")]
)
def test_a_part_that_is_not_there_is_not_moved(tmp_path: Path, words: list[str], error: str) -> None:
    code, _, errors = run("hardware", "exercise", *words, "--config", simulated(tmp_path))
    assert (code, error in errors) == (2, True)
