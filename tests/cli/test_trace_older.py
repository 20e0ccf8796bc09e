"""`v2g trace` reads a recording of a DIN 70121 session over plain TCP."""

import json
import struct
from itertools import chain
from pathlib import Path

import pytest
from msgspec.structs import replace

from v2g.io.capture import pcapng, recorder
from v2g.io.capture.pcapng import Packet
from v2g.io.capture.tcp_segments import segment_of
from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.trace import Line
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
    }
    assert messages(tmp_path / "a.pcap", older_format(frames())) == expected
    for link_type, head in heads.items():
        assert messages(tmp_path / f"{link_type}.pcap", older_format(tcp, link_type, head)) == expected, link_type
    speakers = [each.speaker for each in found]
    assert [each.speaker for each in read_entries(tmp_path / "113.pcap")] == speakers


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
    whole = packet.data[: packet.data.index(segment.data)]
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
    assert messages(tmp_path / "gap.pcapng", newer_format(kept)) == [
        each.line.exi for number, each in enumerate(found) if number not in range(20, 24)
    ]


def test_a_later_connection_of_the_same_ends_is_another_one(found: list[Entry], tmp_path: Path) -> None:
    tcp = [each for each in frames() if is_tcp(each)]
    again = [replace(each, data=moved(each.data)) for each in tcp]
    path = tmp_path / "twice.pcapng"
    assert messages(path, newer_format(tcp + again)) == [each.line.exi for each in found] * 2
    assert len({each.line.run for each in read_entries(path)}) == 2


def moved(data: bytes) -> bytes:
    """Return a segment with other sequence numbers."""
    numbers = struct.unpack_from(">II", data, 58)
    return data[:58] + struct.pack(">II", *((each + 77_777) % 2**32 for each in numbers)) + data[66:]
