"""`v2g plc` and `v2g diag plc`: recordings and live lines shown to people, to machines, and as a page."""

import asyncio
import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Run
from tests.io.conftest import until, veth  # noqa: F401 - fixtures
from v2g.io.capture import pcapng, recorder
from v2g.io.plc.raw import RawLink
from v2g.io.simulation.medium import MediumChannel
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.slac import mme
from v2g.slac.mme import MmeFrame
from v2g.slac.modem import SimulatedModem

PEV, EVSE, OTHER = (bytes.fromhex(f"0200000000{number:02x}") for number in (2, 1, 9))
RUN = b"\x11" * 8
NEAR, FAR = bytes(range(5, 63)), bytes([50]) * 58
SECRET = b"NETWORKKEY-SECRE"


def _conversation() -> list[tuple[bool, bytes]]:
    """Return a matching as the charger's port sees it: frames, and whether the host sent them."""

    def of(source: bytes, destination: bytes, message: mme.Mme) -> tuple[bool, bytes]:
        return source == EVSE, mme.encode(MmeFrame(destination, source, message))

    def char(evse: bytes, aag: bytes) -> tuple[bool, bytes]:
        return of(evse, PEV, mme.CmAttenCharInd(source_address=PEV, run_id=RUN, num_sounds=10, aag=aag))

    sounds = [
        of(PEV, mme.BROADCAST, mme.CmMnbcSoundInd(cnt=cnt, run_id=RUN, rnd=bytes(16))) for cnt in range(9, -1, -1)
    ]
    match = mme.CmSlacMatchReq(pev_mac=PEV, evse_mac=EVSE, run_id=RUN)
    confirm = mme.CmSlacMatchCnf(pev_mac=PEV, evse_mac=EVSE, run_id=RUN, nid=b"network", nmk=SECRET)
    return [
        of(PEV, mme.BROADCAST, mme.CmSlacParmReq(run_id=RUN)),
        of(EVSE, PEV, mme.CmSlacParmCnf(forwarding_sta=PEV, run_id=RUN)),
        *[of(PEV, mme.BROADCAST, mme.CmStartAttenCharInd(forwarding_sta=PEV, run_id=RUN))] * 3,
        *sounds,
        char(EVSE, NEAR),
        char(OTHER, FAR),
        of(PEV, EVSE, match),
        of(EVSE, PEV, confirm),
        (True, PEV + EVSE + b"\x88\xe1" + b"\x01\x99\x60" + bytes(43)),
    ]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    data = pcapng.section("test") + pcapng.interface("eth1")
    for number, (outbound, frame) in enumerate(_conversation()):
        data += pcapng.packet(0, 1_700_000_000_000_000_000 + number * 10_000_000, frame, outbound=outbound)
    path = tmp_path / "line.pcapng"
    path.write_bytes(data)
    return path


def test_a_recording_is_shown_frame_by_frame_without_its_key(v2g: Run, recording: Path) -> None:
    done = v2g("plc", "replay", str(recording))
    lines = [line.split("\t") for line in done.output.splitlines()]
    assert done.code == 0
    assert len(lines) == len(_conversation())
    assert lines[0][:5] == ["22:13:20.000000", "<", PEV.hex(":"), "ff:ff:ff:ff:ff:ff", "CM_SLAC_PARM.REQ"]
    assert "run_id=1111111111111111" in lines[0][5]
    assert [line[1] for line in lines[:3]] == ["<", ">", "<"]
    assert "0x6098" in lines[-1][4] or "payload" in lines[-1][5], "what is not known is shown, too"
    assert SECRET.hex() not in done.output
    assert SECRET.hex() in v2g("plc", "replay", str(recording), "--keys").output


def test_machines_get_a_record_for_each_frame(v2g: Run, recording: Path) -> None:
    records = [json.loads(line) for line in v2g("plc", "replay", str(recording), "--json").output.splitlines()]
    assert [record["name"] for record in records[:3]] == [
        "CM_SLAC_PARM.REQ",
        "CM_SLAC_PARM.CNF",
        "CM_START_ATTEN_CHAR.IND",
    ]
    assert records[0]["time_ns"] == 1_700_000_000_000_000_000
    assert (records[0]["outbound"], records[1]["outbound"], records[0]["port"]) == (False, True, "eth1")
    assert records[1]["fields"]["forwarding_sta"] == PEV.hex(":")


def test_our_charger_answers_a_recorded_vehicle(v2g: Run, recording: Path) -> None:
    done = v2g("plc", "replay", str(recording), "--into", "evse")
    assert done.code == 0, done.errors
    names = [line.split("\t")[4 if line.split("\t")[1] == ">" else 3] for line in done.output.splitlines()]
    assert "CM_SLAC_PARM.CNF" in names
    assert "CM_ATTEN_CHAR.IND" in names
    assert "matching_started" in names


@pytest.mark.requirement("R170")
def test_the_view_of_a_recording(v2g: Run, recording: Path) -> None:
    done = v2g("diag", "plc", "--from", str(recording))
    assert done.code == 0
    rows = [line.split("\t") for line in done.output.splitlines()]
    (matching,) = [row for row in rows if row[0] == "matching"]
    assert matching[1:4] == [PEV.hex(":"), RUN.hex(), "matched"]
    measured = {row[2]: row for row in rows if row[0] == "attenuation"}
    assert measured[EVSE.hex(":")][3:5] == ["chosen", f"{sum(NEAR) / 58:.1f}"]
    assert measured[OTHER.hex(":")][3:5] == ["measured", "50.0"]
    assert measured[EVSE.hex(":")][5].split() == [str(db) for db in NEAR]
    record = json.loads(v2g("diag", "plc", "--from", str(recording), "--json").output)["matching"]
    assert record["chosen"] == EVSE.hex(":")
    assert record["average_db"][OTHER.hex(":")] == 50.0


def test_the_name_that_field_documents_use_is_a_command_of_its_own(
    v2g: Run, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = [each for each in entry_points(group="console_scripts") if each.name == "v2g-diag"]
    monkeypatch.setattr("tests.cli.conftest.main", entry.load())
    done = v2g("plc", "--from", str(recording))
    assert done.code == 0
    assert done.output.startswith("matching")
    assert v2g("plc").code == 2, "errors end as with v2g"


class _Page(HTMLParser):
    """Notes what a page would load, and which tags are left open."""

    VOID = frozenset(("meta", "rect", "line", "br"))

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]
        self.loads += [tag] if tag in ("script", "iframe", "link", "img") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing stays open."""

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_loads_nothing_and_draws_every_group(v2g: Run, recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "view.html"
    assert v2g("diag", "plc", "--from", str(recording), "--html", str(path)).code == 0
    text = path.read_text()
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert page.open == []
    charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(charts) == 2
    bars = [(bar[0].text, bar.get("class"), float(bar.get("height", 0))) for bar in charts[0].iter("rect")]
    assert len(bars) == 58
    assert bars[0][:2] == ("group 1: 5 dB", "green")
    assert bars[-1][:2] == ("group 58: 62 dB", "red")
    heights = [height for _, _, height in bars]
    assert heights == sorted(heights)
    assert SECRET.hex() not in text


@pytest.mark.requirement("R170")
def test_the_picture_in_a_terminal_grows_with_the_attenuation() -> None:
    from v2g_cli.plc.live import ROWS, bars

    lines = [str(line) for line in bars(range(58), top_db=60)]
    assert len(lines) == ROWS
    assert all(len(line) == 58 for line in lines)
    heights = [sum(" ▁▂▃▄▅▆▇█".index(line[column]) for line in lines) for column in range(58)]
    assert heights == sorted(heights)
    assert heights[0] == 0
    assert heights[-1] == 57 * ROWS * 8 // 60


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plc", "listen"], 2, "give one port"),
        (["plc", "listen", "--interface", "a", "--device", "b"], 2, "give one port"),
        (["plc", "listen", "--interface", "not-there"], 7, "not-there"),
        (["plc", "listen", "--medium", "not-there"], 2, "not a folder"),
        (["plc", "replay", "not-there"], 2, "not-there"),
        (["plc", "replay", __file__], 3, "not a pcapng"),
        (["diag", "plc", "--from", "x", "--interface", "y"], 2, "exclude each other"),
        (["diag", "plc"], 2, "give one port"),
    ],
)
def test_mistakes_are_reported_in_a_line(v2g: Run, arguments: list[str], code: int, words: str) -> None:
    done = v2g(*arguments)
    assert done.code == code
    assert words in done.errors
    assert "Traceback" not in done.errors


_MICROSECONDS, _SECONDS, _LONG_AGO = b"", pcapng.option(9, b"\0"), pcapng.option(14, b"\x80" * 8)
"""Options of an interface: what its stamps count, and from when on."""


@pytest.mark.parametrize(
    ("options", "link_type", "stamp", "words"),
    [
        (_MICROSECONDS, pcapng.ETHERNET, pcapng.LATEST_NS // 1000, ""),
        (_MICROSECONDS, pcapng.ETHERNET, pcapng.LATEST_NS // 1000 + 1, "invalid stamp"),
        (_SECONDS, pcapng.ETHERNET, 1 << 62, "invalid stamp"),
        (_LONG_AGO, pcapng.ETHERNET, 5, "invalid stamp"),
        (_MICROSECONDS, 113, 0, "not Ethernet frames (link type 113)"),
    ],
    ids=["last", "later", "seconds", "long_ago", "cooked"],
)
def test_stamps_and_links_that_make_no_sense_are_reported_in_a_line(
    v2g: Run, tmp_path: Path, options: bytes, link_type: int, stamp: int, words: str
) -> None:
    path = tmp_path / "odd.pcapng"
    interface = pcapng.block(1, struct.pack("<HHI", link_type, 0, 0) + options)
    path.write_bytes(pcapng.section() + interface + pcapng.packet(0, stamp, _conversation()[0][1]))
    page = str(tmp_path / "page.html")
    for command in (["plc", "replay", str(path)], ["diag", "plc", "--from", str(path), "--html", page]):
        done = v2g(*command)
        assert done.code == (3 if words else 0), done.errors
        assert words in done.errors
        assert "Traceback" not in done.errors


async def _command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "v2g_cli", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def test_a_simulated_line_is_listened_to_and_recorded(tmp_path: Path, until: Callable) -> None:  # noqa: F811
    medium = await FolderMedium.attach(tmp_path / "medium", "evse")
    file = tmp_path / "heard.pcapng"
    process = await _command(
        "plc", "listen", "-m", str(medium.directory), "--count", "19", "--record", str(file), "--json"
    )
    await until(lambda: medium.peers)
    for _, frame in _conversation()[:-1]:
        medium.send(MediumChannel.PLC, frame)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    records = [json.loads(line) for line in output.splitlines()]
    assert [record["outbound"] for record in records] == [None] * 19
    assert records[-1]["name"] == "CM_SLAC_MATCH.CNF"
    kept = [packet.data for packet in recorder.packets(file)]
    assert kept[:-1] == [frame for _, frame in _conversation()[:-2]]
    assert SECRET not in file.read_bytes()
    medium.close()


@pytest.mark.requirement("R170")
async def test_a_modem_on_an_interface_is_asked_and_its_line_watched(
    veth: tuple[str, str],  # noqa: F811
    until: Callable,  # noqa: F811
    tmp_path: Path,
) -> None:
    """At the far end of the cable sits a simulated modem, and then a vehicle."""
    ear = RawLink(veth[0])
    modem = SimulatedModem(host_mac=ear.mac, mac=b"\x06" + ear.mac[1:], measures=None)
    far = RawLink(veth[1])
    asked: list[bytes] = []

    def answer(frame: bytes) -> None:
        asked.append(frame)
        for delivery in modem.from_host(frame):
            if delivery.to == "host":
                far.send(delivery.frame)

    far.on_frame(answer)
    process = await _command("diag", "plc", "-i", veth[0], "--json", "--seconds", "1.5")
    await until(lambda: asked)
    for _ in range(20):
        for _, frame in _conversation()[:-1]:
            far.send(frame)
        await asyncio.sleep(0.1)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    first, *others = [json.loads(line) for line in output.splitlines()]
    assert first["modem"]["vendor"] == "qualcomm"
    assert first["modem"]["modem"] == modem.mac.hex(":")
    assert first["modem"]["link"] is False
    assert others[-1]["matching"]["pev"] == PEV.hex(":")
    ear.close()
    far.close()
