"""`v2g conform csms` with our back end as the device, over TLS with certificates, and our API as the operator."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from csms.accounts.rules import Role
from tests.cli.csms import run
from tests.csms.conftest import Start, start
from tests.csms.support import STATION, TOKENS, Running
from tests.testkit.ocpp.load_rig import load_back_end
from tests.together import together
from tests.waiting import until
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Token, read_csms_declaration, written_csms
from v2g_testkit.ocpp.load_criteria import CRITERIA

__all__ = ["start"]

PROGRAM = (str(Path(sys.executable).with_name("v2g")),)


@pytest_asyncio.fixture
async def words(start: Start, tmp_path: Path) -> object:
    """A back end, and the options by which the tester finds it."""
    async with start() as csms:
        yield _options(csms, tmp_path)


def _options(csms: Running, folder: Path) -> list[str]:
    access = folder / "access.toml"
    access.touch(mode=0o600)
    root = csms.pki.path("csms/root.pem")
    url = f"https://localhost:{csms.csms.ports['api']}"
    access.write_text(f'url = "{url}"\ntoken = "{TOKENS[Role.ADMIN]}"\nca = "{root}"\n')
    declaration = folder / "csms.toml"
    chain, key = csms.pki.path("csms/station/chain.pem"), csms.pki.path("csms/station/leaf.key")
    declaration.write_text(
        f'url = "wss://localhost:{csms.csms.ports["ocpp"]}/ocpp"\nca = "{root}"\n[supports]\nunlock = false\n'
        f'[station]\nidentity = "{STATION}"\nchain = "{chain}"\nkey = "{key}"\n'
    )
    return ["conform", "csms", "--declaration", str(declaration), "--operator", f"v2g:{access}", "--json"]


async def conform(words: list[str], *more: str) -> tuple[int | None, str, str]:
    """Run the command as a program, which handles signals; return exit code, output and errors."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*PROGRAM, *words, *more, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.long
async def test_a_back_end_is_tested_and_reported(words: list[str], tmp_path: Path) -> None:
    only = [
        each
        for case in ("A_07", "A_08", "B_01", "B_06", "B_20", "C_02", "F_06")
        for each in ("--only", f"TC_{case}_CSMS")
    ]
    report = ["--html", str(tmp_path / "report"), "--junit", str(tmp_path / "junit.xml")]
    code, output, errors = await conform(words, *only, *report)
    records = [json.loads(line) for line in output.splitlines()]
    verdicts = {each["case"][3:7]: each["verdict"] for each in records if "case" in each}
    passed = dict.fromkeys(("A_07", "A_08", "B_01", "B_06", "B_20", "C_02"), "pass")
    assert verdicts == passed | {"F_06": "not applicable"}, errors
    assert code == 0
    assert "GetVariables" in (tmp_path / "report" / "TC_B_06_CSMS.html").read_text()
    assert records[-1]["about"]["identity"] == STATION


@pytest.mark.long
async def test_a_case_that_fails_ends_with_1(words: list[str]) -> None:
    code, output, _ = await conform(words, "--only", "V2G-C-01-CSMS")
    assert code == 1
    assert "answers Unknown, not Accepted (C01.FR.07)" in output, "the declared token is not known here"


LOAD = """stations = 4
ramp_s = 0.05
steady_s = 0.4
event_every_s = 0.1
meter_every_s = 0.1
ping_every_s = 0.1
slow_s = 0.1
slow_readers = 1
unread = 50
offline_events = 3
p99_s = 5
"""


@pytest.mark.long
async def test_a_load_is_reported_like_cases(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(LOAD)
    page, junit = tmp_path / "report", tmp_path / "junit.xml"
    async with load_back_end("error") as (_, url):
        words = ["conform", "csms", "--load", str(plan), "--url", url, "--json"]
        code, output, errors = await conform(words, "--html", str(page), "--junit", str(junit))
    records = [json.loads(line) for line in output.splitlines()]
    verdicts = {each["case"]: each["verdict"] for each in records if "case" in each}
    assert [name for name, verdict in verdicts.items() if verdict != "pass"] == ["LOAD-ERRORS"], errors
    assert code == 1
    assert records[-1]["about"]["identity"] == "LOAD1 to LOAD4"
    assert 'failures="1"' in junit.read_text()
    assert "1 CALLERRORs" in (page / "index.html").read_text()
    assert "MeterValues" in (page / "LOAD-FRAMES.html").read_text()


async def test_a_load_that_is_ended_leaves_a_report(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(LOAD.replace("steady_s = 0.4", "steady_s = 600"))
    junit = tmp_path / "junit.xml"
    async with load_back_end() as (csms, url):
        words = ["conform", "csms", "--load", str(plan), "--url", url, "--junit", str(junit)]
        process = await asyncio.create_subprocess_exec(*PROGRAM, *words, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(60):
            await until(lambda: csms.seen["MeterValues"])
            process.terminate()
            output, _ = await process.communicate()
    assert process.returncode == 130
    assert "pass\tLOAD-RAMP\t4 of 4 accepted" in output.decode()
    assert "interrupted after 1 of 11" in output.decode()
    assert "LOAD-RAMP" in junit.read_text()


def test_criteria_of_a_load_are_listed() -> None:
    code, output, _ = run("conform", "csms", "--load", "small", "--list", "--json")
    assert code == 0
    assert [json.loads(line)["id"] for line in output.splitlines()] == [each.id for each in CRITERIA]


def test_a_declaration_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "csms.toml"
    assert run("conform", "csms", "--declare", str(file))[0] == 0
    assert read_csms_declaration(file) == CsmsDeclaration()
    other = CsmsDeclaration(url="ws://x/ocpp", group='"g"', token=Token("A", "KeyCode"), supports={"a b": False})
    file.write_text(written_csms(other))
    assert read_csms_declaration(file) == other


@together(
    ("options", "said"),
    [
        (("--profile", "Nonsense"), "no case has this profile"),
        (("--only", "TC_X"), "no case named TC_X"),
        ((), "no back-end URL given"),
        (("--url", "localhost:9443"), "not a URL of OCPP"),
        (("--url", "ws://127.0.0.1:1/ocpp", "--cert", "a.pem"), "belong together"),
        (("--url", "ws://127.0.0.1:1/ocpp", "--ocpp", "1.5"), "--ocpp 1.5"),
        (("--url", "wss://127.0.0.1:1/ocpp", "--ca", "/nowhere.pem"), "/nowhere.pem: No such file"),
        (("--operator", "x {nothing}"), "are replaced"),
        (("--operator", "x", "--prompt"), "exclude each other"),
        (("--prompt",), "needs a terminal"),
        (("--load", "huge"), "small, medium, large"),
        (("--list", "--ocpp", "1.5"), "--ocpp 1.5"),
        (("--passwords", "x.csv"), "--passwords is for --load"),
        (("--load", "small"), "no back-end URL given"),
        (("--load", "small", "--operator", "x", "--prompt"), "--operator, --prompt: not with --load"),
        (("--load", "small", "--profile", "Core", "--resume", "x"), "--profile, --resume: not with --load"),
        (("--load", "small", "--identity", "CS1"), "`prefix` names the stations"),
        (("--load", "small", "--only", "X"), "no criterion named X"),
        (("--load", "small", "--url", "wss://h/ocpp", "--cert", "a", "--key", "b"), "its own certificate"),
        (("--declaration", "/nowhere.toml"), "/nowhere.toml"),
        (("--declare", "/nowhere/csms.toml"), "/nowhere/csms.toml"),
        (("--declare", __file__), f"{__file__} exists"),
    ],
)
def test_what_cannot_be_run_is_refused(options: tuple[str, ...], said: str) -> None:
    code, _, errors = run("conform", "csms", *options)
    assert code != 0
    assert said in errors


def test_nobody_answers() -> None:
    code, output, _ = run("conform", "csms", "--url", "ws://127.0.0.1:1/ocpp", "--only", "TC_B_01_CSMS")
    assert (code, "cannot connect" in output) == (3, True)
