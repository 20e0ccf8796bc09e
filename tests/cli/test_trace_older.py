"""`v2g trace` reads a recording of a DIN 70121 session over plain TCP."""

import contextlib
import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Run
from v2g import exi
from v2g.errors import ConfigError
from v2g.io.capture import pcapng, recorder
from v2g.io.capture.pcapng import Packet
from v2g.io.capture.tcp_segments import SYN, segment_of
from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.iso15118.trace import Line, encode_line
from v2g.iso15118.trace_read import Entry, leaves, times
from v2g_cli.trace.source import read_entries

FOLDER = Path(__file__).parents[1] / "vectors" / "din70121"
RECORDING = "2022-12-13_compleo_with_bulb"


@pytest.fixture(scope="module")
def found() -> list[Entry]:
    return read_entries(FOLDER / f"{RECORDING}.pcapng")


def test_every_message_of_the_connection_is_found_in_order_with_its_time(found: list[Entry]) -> None:
    """Beside the messages that were taken from the same frames by another program."""
    expected = [json.loads(line) for line in (FOLDER / f"{RECORDING}.jsonl").read_text().splitlines()]
    assert [each.line.exi for each in found] == [each["exi_hex"] for each in expected]
    assert [each.speaker for each in found] == [each["sender"] for each in expected]
    for entry, each in zip(found, expected, strict=True):
        assert entry.at_ms == pytest.approx(each["t"] * 1000, abs=0.2)


def test_messages_are_named_and_numbers_are_numbers(found: list[Entry]) -> None:
    names = [each.line.name for each in found]
    assert names[:4] == ["SupportedAppProtocolReq", "SupportedAppProtocolRes", "SessionSetupReq", "SessionSetupRes"]
    assert not [each for each in found if each.line.error]
    assert {each.line.session for each in found[3:]} == {"208d826dfbef942a"}
    (voltage,) = {
        value for each in found if each.line.name == "PreChargeReq"
        for path, value in leaves(each.line.body) if path.endswith("/EVTargetVoltage")
    }  # fmt: skip
    assert voltage == 230


def test_answers_are_late_by_the_times_of_their_edition() -> None:
    def entry(stream: str, name: str, answer_ms: float) -> Entry:
        line = Line(time="", mono_ms=0, run="1", process="secc", way="out", name=name, stream=stream)
        return Entry(number=1, line=line, at_ms=0, answer_ms=answer_ms)

    assert MESSAGES_2["PowerDeliveryReq"].performance == 4.5
    assert not entry("SAP", "PowerDeliveryRes", 2000).late
    assert entry("SAP", "PowerDeliveryRes", 4600).late
    assert entry("COMMON", "PowerDeliveryRes", 2000).late
    assert entry("SAP", "CurrentDemandRes", 26).late


def test_statistics_have_the_limits_of_the_edition(found: list[Entry]) -> None:
    limits = {each.message: (each.performance, each.timeout) for each in times(found)}
    assert limits["PreChargeReq"] == (1500, 2000)
    assert limits["ContractAuthenticationReq"] == (1500, 2000)


# -- recordings of other programs -------------------------------------------------------------------------------------


def frames() -> list[Packet]:
    return list(recorder.packets(FOLDER / f"{RECORDING}.pcapng"))


def is_tcp(packet: Packet) -> bool:
    return segment_of(packet) is not None


def older_format(packets: list[Packet], link_type: int = 1, head: bytes | None = None) -> bytes:
    """Return a pcap file; `head` takes the place of the Ethernet header."""
    found = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link_type)
    for each in packets:
        data = each.data if head is None else head + each.data[14:]
        seconds, rest = divmod(each.time_ns, 1_000_000_000)
        found += struct.pack("<IIII", seconds, rest // 1000, len(data), len(data)) + data
    return found


def messages(path: Path, data: bytes) -> list[str]:
    path.write_bytes(data)
    return [each.line.exi for each in read_entries(path)]


def newer_format(packets: list[Packet]) -> bytes:
    return pcapng.section() + pcapng.interface("any") + b"".join(pcapng.packet(0, e.time_ns, e.data) for e in packets)


def test_other_formats_and_link_layers_hold_the_same_messages(found: list[Entry], tmp_path: Path) -> None:
    expected = [each.line.exi for each in found]
    tcp = [each for each in frames() if is_tcp(each)]
    heads = {
        113: bytes.fromhex("0000 0001 0006 0200000000010000 86dd"),  # Linux cooked
        276: bytes.fromhex("86dd 0000 00000002 0001 00 06 0200000000010000"),
        101: b"",
        1: bytes.fromhex("020000000001 020000000002 81000005 86dd"),  # VLAN
        0x2400_0001: bytes.fromhex("020000000001 020000000002 86dd"),  # an FCS of 4 octets
    }
    assert messages(tmp_path / "a.pcap", older_format(frames())) == expected
    for link_type, head in heads.items():
        assert messages(tmp_path / f"{link_type}.pcap", older_format(tcp, link_type, head)) == expected, link_type
    speakers = [each.speaker for each in found]
    assert [each.speaker for each in read_entries(tmp_path / "113.pcap")] == speakers


@pytest.mark.parametrize("head", ["1f8b0800", "28b52ffd", "34cdb2a1"], ids=["gzip", "zstd", "pcap of 1998"])
def test_octets_of_no_format_are_refused_at_once(tmp_path: Path, head: str) -> None:
    (tmp_path / "other").write_bytes(bytes.fromhex(head) + bytes(range(256)) * 20)
    with pytest.raises(ConfigError, match="neither a trace nor a recording"):
        read_entries(tmp_path / "other", [])


def test_segments_out_of_order_and_repeated_change_nothing(found: list[Entry], tmp_path: Path) -> None:
    expected = [each.line.exi for each in found]
    tcp = [each for each in frames() if is_tcp(each)]
    repeated = [again for each in tcp for again in (each, each)]
    assert messages(tmp_path / "repeated.pcapng", newer_format(repeated)) == expected
    split = list(chain.from_iterable(reversed(halves(each)) for each in tcp))
    assert messages(tmp_path / "mixed.pcapng", newer_format(split)) == expected


def halves(packet: Packet) -> list[Packet]:
    """Return the segment in two; one without data as it is."""
    segment = segment_of(packet)
    assert segment is not None
    if len(segment.data) < 2:
        return [packet]
    cut, ip = len(segment.data) // 2, 14
    whole = packet.data[: packet.data.rindex(segment.data)]
    parts = []
    for at, data in ((0, segment.data[:cut]), (cut, segment.data[cut:])):
        head = bytearray(whole)
        head[ip + 4 : ip + 6] = (len(whole) - ip - 40 + len(data)).to_bytes(2, "big")
        head[ip + 44 : ip + 48] = ((segment.sequence + at) % 2**32).to_bytes(4, "big")
        parts.append(replace(packet, data=bytes(head) + data, length=len(head) + len(data)))
    return parts


@pytest.mark.parametrize("missing", [1, 3, 4, 11, 40])
def test_a_recording_that_begins_later_is_read_from_there(found: list[Entry], tmp_path: Path, missing: int) -> None:
    """Edition and vehicle follow from the messages: no handshake shows them."""
    tcp = [each for each in frames() if is_tcp(each)]
    talk = [number for number, each in enumerate(tcp) if (known := segment_of(each)) and known.data]
    path = tmp_path / "later.pcapng"
    assert messages(path, newer_format(tcp[talk[missing] :])) == [each.line.exi for each in found[missing:]]
    read = read_entries(path)
    assert [each.speaker for each in read] == [each.speaker for each in found[missing:]]
    assert [each.line.name for each in read] == [each.line.name for each in found[missing:]]


def test_a_gap_costs_the_messages_in_it_only(found: list[Entry], tmp_path: Path) -> None:
    tcp = [each for each in frames() if is_tcp(each)]
    talk = [number for number, each in enumerate(tcp) if (known := segment_of(each)) and known.data]
    lost = talk[20:24]
    kept = [each for number, each in enumerate(tcp) if number not in lost]
    messages(path := tmp_path / "gap.pcapng", newer_format(kept))
    read = read_entries(path)
    assert [each.line.exi for each in read if each.speaker] == [
        each.line.exi for number, each in enumerate(found) if number not in range(20, 24)
    ]
    gaps = [(each.number, each.line.name) for each in read if not each.speaker]
    assert gaps == [(21, "gap"), (23, "gap")]  # of each way


def test_a_later_connection_of_the_same_ends_is_another_one(found: list[Entry], tmp_path: Path) -> None:
    tcp = [each for each in frames() if is_tcp(each)]
    again = [replace(each, data=moved(each.data)) for each in tcp]
    path = tmp_path / "twice.pcapng"
    assert messages(path, newer_format(tcp + again)) == [each.line.exi for each in found] * 2
    assert len({each.line.run for each in read_entries(path)}) == 2
    opened = [each for each in tcp if not (known := segment_of(each)) or not known.flags & SYN]
    for step in (1 << 31, 3 << 30):  # its opening was not recorded
        far = [replace(each, data=moved(each.data, step)) for each in opened]
        assert messages(path, newer_format(tcp + far)) == [each.line.exi for each in found] * 2
        assert len({each.line.run for each in read_entries(path)}) == 2


def test_segments_of_one_octet_are_read(found: list[Entry], tmp_path: Path) -> None:
    parts = [each for each in frames() if is_tcp(each)]
    for _ in range(9):
        parts = list(chain.from_iterable(map(halves, parts)))
    assert messages(tmp_path / "octets.pcapng", newer_format(parts)) == [each.line.exi for each in found]


def moved(data: bytes, step: int = 77_777) -> bytes:
    """Return a segment with other sequence numbers."""
    numbers = struct.unpack_from(">II", data, 58)
    return data[:58] + struct.pack(">II", *((each + step) % 2**32 for each in numbers)) + data[66:]


# -- what is broken ----------------------------------------------------------------------------------------------------


def segment_with(packet: Packet, old: bytes, new: bytes) -> Packet:
    """Return a packet whose TCP data has other bytes of the same number."""
    assert len(old) == len(new)
    assert packet.data.count(old) == 1
    return replace(packet, data=packet.data.replace(old, new))


@pytest.mark.requirement("R197")
def test_an_empty_session_id_hides_no_message(found: list[Entry], v2g: Run, tmp_path: Path) -> None:
    """A vehicle that asks for a new session without any; another frame without payload fills what is missing."""
    asked = next(each for each in found if each.line.name == "SessionSetupReq")
    payload = bytes.fromhex(asked.line.exi)
    whole: Any = decode_message(payload, DIN, handshake=False)[0]
    empty = exi.encode(replace(whole, header=replace(whole.header, session_id=b"")))
    filled = frame(PayloadType.SAP, empty) + b"\x01\xfe\x80\x01".ljust(len(payload) - len(empty), b"\0")
    old = frame(PayloadType.SAP, payload)
    changed = [segment_with(each, old, filled) if old in each.data else each for each in frames()]
    path = tmp_path / "empty.pcapng"
    path.write_bytes(newer_format([each for each in changed if is_tcp(each)]))
    shown = v2g("trace", str(path))
    assert shown.code == 0
    assert len([line for line in shown.output.splitlines() if "→" in line or "←" in line]) == len(found) + 1


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("how", ["cut", "broken"])
def test_what_precedes_the_break_of_a_recording_is_shown(
    found: list[Entry], v2g: Run, tmp_path: Path, kind: str, how: str
) -> None:
    tcp = [each for each in frames() if is_tcp(each)]
    whole = older_format(tcp) if kind == "pcap" else newer_format(tcp)
    size = len(older_format(tcp[:-1]) if kind == "pcap" else newer_format(tcp[:-1]))
    data = whole[: size + 20] if how == "cut" else whole[:size] + b"\xff" * (len(whole) - size)
    path = tmp_path / f"break.{kind}"
    path.write_bytes(data)
    shown = v2g("trace", str(path), "--json")
    assert shown.code not in (0, 70)
    lines = [json.loads(line)["exi"] for line in shown.output.splitlines()]
    assert len(lines) >= len(found) - 1
    assert lines == [each.line.exi for each in found][: len(lines)]
    assert str(path) in shown.errors
    assert "octet" in shown.errors


@pytest.mark.requirement("R197")
def test_a_header_that_is_broken_is_named_and_costs_its_message_only(
    found: list[Entry], v2g: Run, tmp_path: Path
) -> None:
    tcp = [each for each in frames() if is_tcp(each)]
    talk = [number for number, each in enumerate(tcp) if (known := segment_of(each)) and known.data]
    broken = tcp[talk[30]]
    segment = segment_of(broken)
    assert segment is not None
    wrong = replace(broken, data=broken.data.replace(segment.data, b"\x01\xfe\x80\x01\xff" + segment.data[5:]))
    other = [replace(each, data=moved(each.data)) for each in tcp]
    path = tmp_path / "two.pcapng"
    path.write_bytes(newer_format([*tcp[: talk[30]], wrong, *tcp[talk[30] + 1 :], *other]))
    shown = v2g("trace", str(path), "--json")
    assert shown.code not in (0, 70)
    assert len(shown.output.splitlines()) == 2 * len(found) - 1
    assert "connection 1, after 30 messages" in shown.errors


@pytest.mark.requirement("R197")
def test_a_recording_without_a_connection_is_for_another_command(v2g: Run, tmp_path: Path) -> None:
    path = tmp_path / "slac.pcapng"
    path.write_bytes(newer_format([each for each in frames() if not is_tcp(each)]))
    done = v2g("trace", str(path))
    assert done.code == 2
    assert "no connection" in done.errors
    assert "v2g plc replay" in done.errors
    assert v2g("plc", "replay", str(path)).code == 0


def test_frames_of_a_link_layer_that_is_not_read_are_named(v2g: Run, tmp_path: Path) -> None:
    path = tmp_path / "wireless.pcap"
    path.write_bytes(older_format(frames(), 127))
    done = v2g("trace", str(path))
    assert done.code == 2
    assert "frames of link type 127 are not understood" in done.errors


def test_a_pipe_is_read_once(v2g: Run) -> None:
    recorded = (FOLDER / f"{RECORDING}.pcapng").read_bytes()
    for words, code in ((("plc", "replay"), 0), (("trace",), 2)):
        reader, writer = os.pipe()
        with ThreadPoolExecutor(1) as other, os.fdopen(reader, "rb"):
            other.submit(_pour, writer, recorded)
            done = v2g(*words, f"/dev/fd/{reader}")
            assert (done.code, done.output == "") == (code, code != 0), done.errors
            if code:
                assert "a pipe" in done.errors


def _pour(writer: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as pipe:
        pipe.write(data)


def test_files_that_are_not_there_are_no_lost_connection(v2g: Run, tmp_path: Path) -> None:
    recorded = str(FOLDER / f"{RECORDING}.pcapng")
    for words in (("trace",), ("plc", "replay"), ("diag", "can", "--from")):
        assert v2g(*words, str(tmp_path / "none.log")).code == 2, words
    assert v2g("trace", recorded, "--html", str(tmp_path)).code == 8
    assert v2g("trace", str(tmp_path)).code == 2


def test_a_line_that_is_none_hides_no_other(v2g: Run, tmp_path: Path) -> None:
    line = Line(time="2026-01-01T00:00:00.000Z", mono_ms=0, run="1", process="secc", way="out", name="SessionStopRes")
    text = encode_line(line)
    path = tmp_path / "a.trace.jsonl"
    path.write_bytes(text * 200 + b"{broken\n" + text * 200 + b"\xff\xfe[]\n" + text)
    shown = v2g("trace", str(path))
    assert shown.code not in (0, 70)
    assert shown.output.count("SessionStopRes") == 401
    assert f"{path}:201" in shown.errors
    assert f"{path}:402" in shown.errors


@pytest.mark.requirement("R197")
def test_what_is_beyond_the_schema_is_shown(v2g: Run, tmp_path: Path, found: list[Entry]) -> None:
    """The recorded state of charge of 20 becomes 127, whose seven bits are all set."""
    asked = next(each for each in found if each.line.name == "CableCheckReq")
    payload = bytes.fromhex(asked.line.exi)
    whole: Any = decode_message(payload, DIN, handshake=False)[0]
    soc = whole.body.body_element.dc_ev_status
    body = replace(whole.body.body_element, dc_ev_status=replace(soc, ev_ress_soc=soc.ev_ress_soc ^ 1))
    other = exi.encode(replace(whole, body=replace(whole.body, body_element=body)))
    at = next(n for n, (a, b) in enumerate(zip(bits(payload), bits(other), strict=True)) if a != b)
    stream = bits(payload)[: at - 6] + "1" * 7 + bits(payload)[at + 1 :]
    high = bytes(int(stream[n : n + 8], 2) for n in range(0, len(stream), 8))
    changed = [segment_with(each, payload, high) if payload in each.data else each for each in frames()]
    path = tmp_path / "soc.pcapng"
    path.write_bytes(newer_format([each for each in changed if is_tcp(each)]))
    shown = v2g("trace", str(path), "--only", "CableCheckReq")
    assert shown.code == 0
    assert "EVRESSSOC: number 127 where at least 0 and at most 100 is allowed" in shown.output


def bits(data: bytes) -> str:
    return "".join(f"{each:08b}" for each in data)
