"""`v2g trace`: the conversation in words, as a page, in figures, and beside another one."""

import json
import re
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner, Result

from pki_tools.tree import PkiTree
from tests.iso15118.trace import Traced
from tests.packages import missing
from v2g.errors import CodecError, ConfigError, FrameError
from v2g.io.runtime import trace
from v2g.iso15118.trace import encode_line
from v2g.iso15118.trace_read import entries
from v2g_cli.main import app
from v2g_cli.trace.html import opening, page, picture


@pytest.fixture(scope="module")
def traces(pki: PkiTree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Traces of one session as both ends wrote them."""
    traced = Traced(pki, time.time_ns() // 1_000_000)
    folder = tmp_path_factory.mktemp("traces")
    for process in ("evcc", "secc"):
        path = folder / f"{process}.jsonl"
        path.write_bytes(b"".join(encode_line(each) for each in traced.of(process)))
    return {process: folder / f"{process}.jsonl" for process in ("evcc", "secc")}


def run(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["trace", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def test_each_message_is_one_line_with_speaker_fields_and_next_state(traces: dict[str, Path]) -> None:
    lines = run(traces["secc"]).stdout.splitlines()
    assert lines[0].startswith("run ")
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 1 + len(traces["secc"].read_bytes().splitlines())
    (setup,) = (each for each in lines if "SessionSetupRes" in each)
    assert "charger ←" in setup
    assert "ResponseCode OK_NewSessionEstablished" in setup
    assert setup.endswith("⇒ authorization_setup")


def test_only_the_messages_asked_for(traces: dict[str, Path]) -> None:
    lines = run(traces["evcc"], "--only", "powerdelivery").stdout.splitlines()[1:]
    assert [re.search(r"PowerDelivery\w+", each)[0] for each in lines] == ["PowerDeliveryReq", "PowerDeliveryRes"] * 2  # type: ignore[index]


def test_a_trace_without_such_messages_says_so(traces: dict[str, Path], tmp_path: Path) -> None:
    done = run(traces["evcc"], "--only", "certificateinstallation")
    assert (done.stdout, done.stderr) == ("", "no messages\n")
    (tmp_path / "empty").touch()
    with pytest.raises(FrameError, match="empty: an empty file"):
        run(tmp_path / "empty")


def test_a_message_is_shown_to_its_last_element(traces: dict[str, Path]) -> None:
    records = [json.loads(each) for each in run(traces["evcc"], "--json").stdout.splitlines()]
    wanted = next(each for each in records if each["name"] == "ServiceDetailRes")
    shown = run(traces["evcc"], "--message", wanted["number"]).stdout
    assert "Name ControlMode" in shown
    assert f"exi       {wanted['exi']}" in shown
    decoded = CliRunner().invoke(app, ["exi", "decode", wanted["exi"], "-n", "cm", "--to", "json"])
    assert json.loads(decoded.stdout) == {wanted["name"]: wanted["body"]}


def test_answer_times_stand_beside_the_standards(traces: dict[str, Path]) -> None:
    rows = {row[0]: row for row in (each.split("\t") for each in run(traces["secc"], "--stats").stdout.splitlines())}
    assert rows["SessionSetupReq"][5:7] == ["1500.0", "2000.0"]
    assert rows["DC_ChargeLoopReq"][5:7] == ["250.0", "500.0"]


def test_the_two_ends_differ_in_nothing_but_the_order_of_what_crosses(traces: dict[str, Path]) -> None:
    done = CliRunner().invoke(app, ["trace", "--diff", str(traces["evcc"]), str(traces["secc"])])
    assert not [each for each in done.stdout.splitlines()[2:] if not re.match(r"[-+ ] +Discharge|[-+] Discharge", each)]


def test_a_difference_is_reported_by_path_and_ends_with_1(traces: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(traces["evcc"].read_text().replace('"EVSEID":"DEV2GE00001"', '"EVSEID":"DEXXXE00001"'))
    assert "no difference" in run("--diff", traces["evcc"], traces["evcc"]).stdout
    said = run("--diff", traces["evcc"], other, code=1).stdout
    assert "SessionSetupRes/EVSEID: DEV2GE00001 | DEXXXE00001" in said


class _Page(HTMLParser):
    """What a page holds and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "details"
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_the_page_holds_every_message_and_loads_nothing(traces: dict[str, Path], tmp_path: Path) -> None:
    run(traces["evcc"], "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    found = _Page()
    found.feed(text)
    assert not found.loads
    assert "url(" not in text
    assert found.rows == len(traces["evcc"].read_bytes().splitlines())
    (svg,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    drawn = ElementTree.fromstring(svg)
    marks = [each for each in drawn.iter() if each.get("data-n")]
    assert len([each for each in marks if each.tag == "line"]) == found.rows
    assert drawn.findall("polyline")


def test_the_first_second_of_a_long_session_is_drawn_by_itself(traces: dict[str, Path]) -> None:
    found = entries(list(trace.read(traces["evcc"])))
    first = next(each.at_ms for each in found if each.speaker)
    assert not opening(found)  # all of it is short
    found[-1] = msgspec.structs.replace(found[-1], at_ms=first + 60_000)
    text = page("long", found)
    _whole, zoomed = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    near = [each for each in found if first <= each.at_ms <= first + 1000]
    lines = [each for each in ElementTree.fromstring(zoomed).iter("line") if each.get("data-n")]
    assert [each.get("data-n") for each in lines] == [str(each.number) for each in near]
    assert float(str(lines[-1].get("x1"))) - float(str(lines[0].get("x1"))) > 900  # of 970


@pytest.mark.some(1)
@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.long
def test_a_browser_shows_the_fields_of_every_row(traces: dict[str, Path], tmp_path: Path, width: int) -> None:
    """A field that is cut is cut at its end: not so short that nothing but the dots are left."""
    if reason := missing("chromium", program="chromium", install=False):
        pytest.skip(reason)
    run(traces["evcc"], "--html", tmp_path / "page.html")
    look = """<script>const told=[...document.querySelectorAll('.f')].filter(e=>e.textContent);
    document.title=JSON.stringify([told.length,Math.min(...told.map(e=>e.getBoundingClientRect().width)),
    document.documentElement.scrollWidth,innerWidth])</script></body>"""
    page_file = tmp_path / "page.html"
    page_file.write_text(page_file.read_text().replace("</body>", look))
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    done = subprocess.run([*browser, f"--user-data-dir={tmp_path}", page_file.as_uri()], capture_output=True, text=True)
    title = re.findall("<title>(.*?)</title>", done.stdout)[0]
    rows, narrowest, wide, window = json.loads(title)
    assert rows > 20
    assert narrowest > 150
    assert wide <= window  # nothing but the pictures goes beyond the edge, and they scroll by themselves


def test_what_a_peer_says_is_no_markup(traces: dict[str, Path]) -> None:
    text = "<script>alert(1)</script>"
    hostile = [
        msgspec.structs.replace(each, body={text: text}, name=text, state=text, next=text)
        for each in list(trace.read(traces["evcc"]))[:3]
    ]
    shown = page(text, entries(hostile))
    assert text not in shown
    ElementTree.fromstring(picture(entries(hostile)))


def test_mistakes_are_errors_with_a_hint(traces: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "none").write_text("hello\n")
    for arguments, error in (
        ((tmp_path / "missing",), ConfigError),
        ((tmp_path / "none",), CodecError),
        (("/dev/zero",), CodecError),
        ((traces["evcc"], "--diff"), ConfigError),
        ((traces["evcc"], "--message", 9999), ConfigError),
        ((traces["evcc"], "--run", "ffff"), ConfigError),
    ):
        with pytest.raises(error) as raised:
            run(*arguments)
        assert raised.value.hint
