"""`v2g conform station` with `v2g station` as the device: both as programs, over a real websocket; and what follows."""

import asyncio
import base64
import contextlib
import json
import re
import ssl
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.exceptions import WebSocketException

from pki_tools.tree import PkiTree
from tests.cli.csms import run
from tests.together import together
from v2g_cli.conform.command import drawn
from v2g_cli.conform.frames_page import frames_page
from v2g_cli.conform.running import describe
from v2g_cli.demo.processes import free_port
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.connection import Frame

PROGRAM = (str(Path(sys.executable).with_name("v2g")),)


@contextlib.contextmanager
def simulated(url: str, port: int, *words: str) -> Iterator[int]:
    """Run a simulated station at a back end's URL; the port of its steps."""
    steps = free_port()
    device = subprocess.Popen(
        [*PROGRAM, "station", "--url", f"{url}:{port}/ocpp", "--control", str(steps), "--ocpp", "2.0.1", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield steps
    finally:
        device.terminate()
        device.wait(300)


def play(
    folder: Path, *words: str, url: str = "ws://127.0.0.1", station: tuple[str, ...] = ()
) -> tuple[int, list[dict[str, Any]]]:
    """Test a simulated station; return the exit code and the records."""
    port = free_port()
    with simulated(url, port, *station) as steps:
        where = ("--listen", f"127.0.0.1:{port}", "--driver", f"tcp://127.0.0.1:{steps}")
        done = subprocess.run(
            [*PROGRAM, "conform", "station", *where, "--json", *words], cwd=folder, capture_output=True, timeout=1200
        )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


@pytest.mark.long
def test_a_station_of_ocpp_1_6_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async def offers(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ocpp/CS-1"
        while True:
            with contextlib.suppress(OSError, WebSocketException):
                async with websockets.connect(url, subprotocols=[websockets.Subprotocol("ocpp1.6")]) as socket:
                    await socket.wait_closed()
            await asyncio.sleep(0.1)

    async def test() -> str:
        port = free_port()
        words = ("conform", "station", "--listen", f"127.0.0.1:{port}", "--wait", "5", "--only", "TC_B_06_CS")
        device = asyncio.create_task(offers(port))
        tester = await asyncio.create_subprocess_exec(*PROGRAM, *words, stderr=asyncio.subprocess.PIPE)
        _, said = await tester.communicate()
        device.cancel()
        return said.decode()

    said = asyncio.run(test())
    assert "the station offers ocpp1.6: cases are for those of --ocpp; let it speak one of them" in said
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("profile", [1, 2, 3])
def test_the_quick_cases_pass_in_every_security_profile(profile: int, pki: PkiTree, tmp_path: Path) -> None:
    password, identity = "a-Password_of=32*characters+4321", "CS-V2G-0001"
    server = ("--cert", str(pki.path("csms/server/chain.pem")), "--key", str(pki.path("csms/server/leaf.key")))
    root = ("--ca", str(pki.path("csms/root.pem")))
    own = ("--cert", str(pki.path("csms/station/chain.pem")), "--key", str(pki.path("csms/station/leaf.key")))
    tester, station = {
        1: (("--password", password), ("--password", password)),
        2: ((*server, "--password", password), (*root, "--password", password)),
        3: ((*server, *root), (*root, *own)),
    }[profile]
    url = "ws://127.0.0.1" if profile == 1 else "wss://localhost"
    common = ("--prefix", identity[:-1], *station)
    code, records = play(tmp_path, "--quick", "--identity", identity, *tester, url=url, station=common)
    wrong = {each["case"]: each["found"] for each in records if each.get("verdict") in ("fail", "inconclusive")}
    assert (code, wrong) == (0, {})
    assert records[-1]["totals"]["pass"] >= 25


@pytest.mark.long
def test_a_station_gets_a_new_certificate_and_uploads_its_log(pki: PkiTree, tmp_path: Path) -> None:
    identity = "CS-V2G-0001"
    server = ("--cert", str(pki.path("csms/server/chain.pem")), "--key", str(pki.path("csms/server/leaf.key")))
    root = ("--ca", str(pki.path("csms/root.pem")))
    own = ("--cert", str(pki.path("csms/station/chain.pem")), "--key", str(pki.path("csms/station/leaf.key")))
    ids = ("TC_A_05_CS", "TC_A_11_CS", "TC_B_45_CS", "TC_L_06_CS", "TC_N_25_CS")
    only = [word for each in ids for word in ("--only", each)]
    words = (*server, *root, "--ca-key", str(pki.path("csms/root.key")), "--identity", identity, *only)
    code, records = play(tmp_path, *words, url="wss://localhost", station=("--prefix", identity[:-1], *root, *own))
    found = {each["case"]: (each["verdict"], each["found"]) for each in records if "case" in each}
    assert (code, found) == (0, dict.fromkeys(ids, ("pass", "as required")))


@pytest.mark.long
def test_a_station_is_tested_and_reported(tmp_path: Path) -> None:
    only = ("--only", "TC_B_06_CS", "--only", "TC_B_22_CS", "--only", "TC_B_28_CS")
    reports = ("--html", "report", "--junit", "junit.xml", "--frames", "frames.jsonl", "--device", "<b>X</b>")
    code, records = play(tmp_path, *only, "--only", "TC_B_07_CS", "--skip", "B_07", *reports)
    verdicts = {each["case"]: each["verdict"] for each in records if "case" in each}
    assert (code, verdicts) == (0, {"TC_B_06_CS": "pass", "TC_B_22_CS": "pass", "TC_B_28_CS": "not applicable"})
    assert records[-1]["about"]["identity"] == "SIM1"
    page = (tmp_path / "report" / "index.html").read_text()
    assert "&lt;b&gt;X" in page
    frames = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    of_case = [each for each in frames if each["case"] == "TC_B_22_CS"]
    assert [{"case": "TC_B_22_CS", **each} for each in records[1]["frames"]] == of_case
    (sent,) = (each for each in of_case if each.get("frame", [0, 0, 0])[2] == "Reset")
    assert f"&quot;{sent['id']}&quot;" in (tmp_path / "report" / "TC_B_22_CS.html").read_text()
    assert len(list(ET.parse(tmp_path / "junit.xml").iter("testcase"))) == 3


@pytest.mark.long
def test_a_tester_that_dies_within_a_case_leaves_the_frames_so_far(tmp_path: Path) -> None:
    """The case waits for a step at the station that nobody does."""
    file, port = tmp_path / "frames.jsonl", free_port()
    with simulated("ws://127.0.0.1", port):
        words = (
            "--listen",
            f"127.0.0.1:{port}",
            "--driver",
            "sleep 600",
            "--only",
            "TC_C_02_CS",
            "--frames",
            str(file),
        )
        tester = subprocess.Popen([*PROGRAM, "conform", "station", *words], stdout=subprocess.DEVNULL)
        try:
            while tester.poll() is None and not (file.is_file() and "TC_C_02_CS" in file.read_text()):
                time.sleep(0.1)
            assert tester.poll() is None
        finally:
            tester.kill()
            tester.wait(300)
    frames = [json.loads(line) for line in file.read_text().splitlines()]
    boot = [each for each in frames if each.get("frame", [0, 0, 0])[2] == "BootNotification"]
    assert [each["way"] for each in boot] == ["received"]
    assert frames[-1]["case"] == "TC_C_02_CS"


@pytest.mark.long
def test_a_station_shows_a_new_password_which_no_frame_of_the_report_has(tmp_path: Path) -> None:
    password, identity = "a-Password_of=32*characters+4321", "CS-V2G-0001"
    words = ("--only", "TC_A_09_CS", "--only", "TC_A_10_CS", "--html", "report", "--identity", identity)
    station = ("--prefix", identity[:-1], "--password", password)
    code, records = play(tmp_path, *words, "--password", password, url="ws://127.0.0.1", station=station)
    assert (code, [each["verdict"] for each in records if "case" in each]) == (0, ["pass", "pass"])
    pages = {page.stem: page.read_text() for page in (tmp_path / "report").rglob("TC_*.html")}
    assert len(pages) == 2
    assert "***" in pages["TC_A_09_CS"]
    assert not any(password in page for page in pages.values())


@pytest.mark.long
def test_time_may_pass_faster_at_both(tmp_path: Path) -> None:
    factor = ("--fast-forward", "20")
    ids = ("TC_B_30_CS", "TC_E_05_CS", "TC_E_50_CS", "TC_J_01_CS")  # more than four minutes
    only = [word for each in ids for word in ("--only", each)]
    code, records = play(tmp_path, *factor, *only, station=factor)
    found = {each["case"]: (each["verdict"], each["found"]) for each in records if "case" in each}
    assert (code, found) == (0, dict.fromkeys(ids, ("pass", "as required")))


def test_a_password_is_not_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["v2g", "conform", "station", "--password", "s3cret", "--password=s3cret", "--quick"]
    )
    assert describe("")["command"] == "v2g conform station --password '***' '--password=***' --quick"


@pytest.mark.long
def test_a_declaration_is_made_of_the_base_report(tmp_path: Path) -> None:
    code, _ = play(tmp_path, "--declare", "station.toml")
    assert code == 0
    assert "evses = 2" in (tmp_path / "station.toml").read_text()
    words = ("conform", "station", "--declaration", str(tmp_path / "station.toml"), "--list", "--only", "TC_B_06_CS")
    assert run(*words)[1].startswith("TC_B_06_CS\t")


@together(
    ("words", "said"),
    [
        (("--profile", "Nonsense"), "no case has this profile"),
        (("--only", "TC_X"), "no case named TC_X"),
        (("--profile", "Advanced Security", "--quick"), "no case of these profiles is a quick one"),
        (("--listen", "9000"), "not an address"),
        (("--ocpp", "1.5"), "--ocpp 1.5"),
        (("--ocpp", "1.6", "--ocpp", "2.1"), "--ocpp 1.6"),
        (("--driver", "tcp://x"), "not an address"),
        (("--prompt",), "needs a terminal"),
        (("--cert", "a.pem"), "belong together"),
        (("--ca", "a.pem"), "needs TLS"),
        (("--ca-key", "a.key"), "needs its root"),
        (("--declaration", "/nowhere.toml"), "/nowhere.toml"),
        (("--resume", "/nowhere.jsonl"), "/nowhere.jsonl"),
        (("--declare", __file__), f"{__file__} exists"),
    ],
)
def test_what_cannot_be_run_is_refused(words: tuple[str, ...], said: str) -> None:
    code, _, errors = run("conform", "station", *words)
    assert code == 2
    assert said in errors


def test_a_declaration_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    file.write_text('seconds = 5.0\n[supports]\n"ReservationCtrlr.Available" = false\n')
    words = ("conform", "station", "--declaration", str(file), "--check", "--only", "H_01", "--only", "B_06")
    code, output, _ = run(*words)
    assert code == 0
    assert "not applicable\tTC_H_01_CS\tdeclared: ReservationCtrlr.Available = false" in output
    assert "1 of 2 cases and rules may run" in output
    file.write_text('firmware = "nowhere.bin"\n')
    code, _, errors = run(*words)
    assert (code, "firmware: there is no file" in errors) == (2, True)
    assert run("conform", "station", "--check")[0] == 2


def test_nobody_connects(tmp_path: Path) -> None:
    code, _, errors = run("conform", "station", "--listen", "127.0.0.1:0", "--wait", "1", "--only", "TC_B_06_CS")
    assert code == 7
    assert "does not connect" in errors


@pytest.mark.parametrize(
    ("user", "words", "why"),
    [
        ("", (), "it shows no password"),
        ("CS1:another", (), "its password is another"),
        ("CS2:secret-of-16-octets", (), "its user name is CS2, not its identity"),
        ("CS1:secret-of-16-octets", ("--path", "/other"), "it asks for /ocpp/CS1, not for /other/IDENTITY"),
        ("CS1:secret-of-16-octets", ("--identity", "CS2"), "its identity is CS1, and not CS2"),
        ("tls", (), "attempts ended before a request: does it trust the certificate of --cert?"),
    ],
)
def test_a_station_that_is_turned_away_is_reported_with_the_reason(
    user: str, words: tuple[str, ...], why: str, pki: PkiTree
) -> None:
    port = free_port()
    shown = base64.b64encode(user.encode()).decode()
    headers = {"Authorization": f"Basic {shown}"} if ":" in user else {}
    trusts = ssl.create_default_context() if user == "tls" else None
    url = f"{'ws' if trusts is None else 'wss'}://localhost:{port}/ocpp/CS1"

    async def attempts() -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException):
                await websockets.connect(
                    url, ssl=trusts, additional_headers=headers, subprotocols=[websockets.Subprotocol("ocpp2.0.1")]
                )
            await asyncio.sleep(0.2)

    async def refused() -> str:
        trying = asyncio.create_task(attempts())
        server = ("--cert", str(pki.path("csms/server/chain.pem")), "--key", str(pki.path("csms/server/leaf.key")))
        secret = server if trusts is not None else ("--password", "secret-of-16-octets")
        listens = ("--listen", f"127.0.0.1:{port}", "--wait", "2")
        _, _, said = await asyncio.to_thread(run, "conform", "station", *listens, *words, *secret)
        trying.cancel()
        return said

    assert why in asyncio.run(refused())


def records(file: Path, **verdicts: str) -> str:
    """Write records of a run."""
    lines = [json.dumps({"case": case, "verdict": verdict, "found": "x"}) for case, verdict in verdicts.items()]
    file.write_text("\n".join([*lines, json.dumps({"totals": {}})]) + "\n")
    return str(file)


def test_two_runs_are_compared(tmp_path: Path) -> None:
    before = records(tmp_path / "a.jsonl", A="pass", B="fail", C="pass")
    after = records(tmp_path / "b.jsonl", A="fail", B="pass", D="pass")
    code, output, _ = run("conform", "diff", before, after)
    assert code == 1
    rows = {line.split("\t")[0]: line.split("\t")[1:3] for line in output.splitlines()}
    assert rows == {"A": ["pass", "fail"], "B": ["fail", "pass"], "C": ["pass", "not run"], "D": ["not run", "pass"]}
    code, output, _ = run("conform", "diff", before, before)
    assert (code, output) == (0, "no verdict changed, in 3 cases\n")
    (tmp_path / "c.jsonl").write_text("not json")
    assert run("conform", "diff", before, str(tmp_path / "c.jsonl"))[0] == 2


@pytest.mark.parametrize(
    ("verdicts", "text", "colour"),
    [
        ((Verdict.PASS, Verdict.PASS, Verdict.NOT_APPLICABLE), "2 of 2", "#2e7d32"),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), "1 of 2", "#b26a00"),
        ((Verdict.PASS, Verdict.FAIL), "1 of 2", "#c0392b"),
        ((), "0 of 0", "#b26a00"),  # an empty run has shown nothing
    ],
)
def test_a_badge_shows_how_many_passed(verdicts: tuple[Verdict, ...], text: str, colour: str) -> None:
    found = drawn("A & B", [Result(case=str(n), verdict=each, found="") for n, each in enumerate(verdicts)])
    texts = [each.text for each in ET.fromstring(found).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["A & B", text]
    assert colour in found


def test_the_page_of_frames_marks_the_faulty_field_and_shows_no_markup_of_a_device() -> None:
    boot = [2, "1", "BootNotification", {"reason": "<script>", "chargingStation": {"model": "M", "vendorName": "V"}}]
    frames = [
        Frame(1.0, "received", json.dumps(boot), "BootNotificationRequest: $.reason: '<script>' is not one of"),
        Frame(1.5, "sent", json.dumps([3, "1", {"status": "Accepted"}])),
        Frame(2.0, "received", "\x1b[31mnonsense", "not JSON"),
        Frame(2.5, "note", "connection ended"),
    ]
    page = frames_page("A: <title>", frames)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert page.count("<mark>") == 1
    assert "<mark>    &quot;reason&quot;: &quot;&lt;script&gt;&quot;,</mark>" in page
    shown = unescape(re.sub("</?mark>", "", page.split("<pre>")[1].split("</pre>")[0]))
    assert json.loads(shown) == boot
    assert "BootNotification answer" in page
    assert page.count('id="judged"') == 1, "the first faulty frame"
    assert page.index('id="judged"') < page.index("BootNotification answer")
    assert "0.500 s" in page
