"""Captures: our blocks read by tshark, capinfos and scapy, theirs read by us; any bytes give records or FrameError."""

import os
import stat
import struct
import subprocess
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.io.capture.pcapng import tshark
from tests.packages import need
from tests.together import together
from v2g.errors import FrameError, StoreError
from v2g.io.capture import pcapng
from v2g.io.capture import recorder as capture
from v2g.io.capture.pcapng import Interface, Packet, PcapngReader, Secrets
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.capture.tcp_recorder import MAX_SEGMENT, Socket, TcpFrames

FRAME = bytes.fromhex("ffffffffffff020000000001 88e1 01 6460 0000 0000") + bytes(range(8)) + bytes(31)
CLIENT, SERVER = Socket("fe80::1%eth0", 50000), Socket("fe80::2", 61341)

_texts = st.text(max_size=20).map(lambda text: text.replace("\0", "").encode("utf-8", "ignore").decode())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 2**63),
            st.binary(max_size=200),
            st.sampled_from((None, False, True)),
            _texts,
        ),
        max_size=8,
    ),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_what_is_written_is_read_in_any_split(
    packets: list[tuple[int, int, bytes, bool | None, str]], sizes: list[int]
) -> None:
    wire = pcapng.section("test", "a comment") + pcapng.interface("plc", "port") + pcapng.interface("tls")
    wire += pcapng.secrets(b"CLIENT_RANDOM 00 11\n")
    interfaces = (Interface("plc", "port"), Interface("tls"))
    expected: list[pcapng.Record] = [Secrets(pcapng.TLS_KEY_LOG, b"CLIENT_RANDOM 00 11\n")]
    for number, time_ns, data, outbound, comment in packets:
        wire += pcapng.packet(number, time_ns, data, outbound=outbound, comment=comment)
        expected.append(
            Packet(
                time_ns=time_ns,
                interface=interfaces[number],
                data=data,
                length=len(data),
                outbound=outbound,
                comment=comment,
            )
        )
    reader, found, at = PcapngReader(), [], 0
    for index in range(len(wire)):
        size = sizes[index % len(sizes)]
        found += reader.feed(wire[at : at + size])
        at += size
    assert found == expected
    assert (reader.whole, reader.unfinished) == (len(wire), 0)


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_an_error(data: bytes) -> None:
    for start in (b"", pcapng.section(), pcapng.section() + pcapng.interface("x")):
        reader = PcapngReader()
        try:
            reader.feed(start + data)
        except FrameError:
            continue
        assert reader.unfinished <= pcapng.MAX_BLOCK


@together(
    ("data", "words"),
    [
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "not a pcapng"),
        (pcapng.section()[:8] + bytes(20), "byte order"),
        (pcapng.section()[:4] + b"\xff\xff\xff\x7f" + pcapng.section()[8:], "multiple of 4"),
        (pcapng.section()[:-4] + bytes(4), "does not end"),
        (pcapng.section() + pcapng.packet(0, 0, b"x"), "interface 0, of which there are 0"),
        (pcapng.section() + pcapng.interface("x") * (pcapng.MAX_INTERFACES + 1), "more than 256"),
        (pcapng.section().replace(b"\x01\x00\x00\x00\xff", b"\x02\x00\x00\x00\xff"), "version 2"),
    ],
)
def test_what_is_no_capture_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        PcapngReader().feed(data)


@pytest.mark.parametrize("order", "<>")
def test_packets_of_the_kind_before_are_read(order: str) -> None:
    """Block type 2, which older Wiresharks wrote, with the number of lost packets beside a shorter interface."""

    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + length + body + length

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(1, struct.pack(order + "HHI", 113, 0, 0))
    flags = struct.pack(order + "HHIHH", 2, 4, 2, 0, 0)
    packet = block(2, struct.pack(order + "HHIIII", 0, 7, 1, 5, 3, 60) + b"abc\0" + flags)
    (found,) = PcapngReader().feed(section + interface + packet)
    time_ns = ((1 << 32) + 5) * 1000
    assert found == Packet(
        time_ns=time_ns, interface=Interface(link_type=113, tick=6), data=b"abc", length=60, outbound=True
    )


def test_stamps_count_in_the_unit_of_their_interface() -> None:
    assert Interface(tick=6).nanoseconds(1_500_000) == 1_500_000_000
    assert Interface(tick=0x80 | 10, offset_s=3).nanoseconds(512) == 3_500_000_000


def _record(path: Path, *, stamps: int = 1_700_000_000_123_456_789) -> None:
    clock = iter(range(stamps, stamps + 1_000_000_000, 1_000_000))
    recorder = FrameRecorder(RecordConfig(file=path), application="v2g", now_ns=lambda: next(clock))
    line, ip = recorder.interface("plc0", "powerline"), recorder.interface("tls", "TCP of the session")
    recorder.packet(line, FRAME, outbound=True, comment="our first: “é”")
    recorder.packet(line, FRAME, outbound=False)
    connection = TcpFrames(CLIENT, SERVER)
    payload = bytes(range(256)) * 12
    for frame in (
        *connection.open(),
        *connection.data(payload, from_client=True),
        *connection.data(b"answer!", from_client=False),
        *connection.close(),
    ):
        recorder.packet(ip, frame)
    recorder.close()
    recorder.close()
    recorder.packet(line, FRAME)


@pytest.mark.long
def test_wireshark_reads_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "one.pcapng"
    _record(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fields = ("frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "frame.comment", "eth.type")
    rows = [
        row.split("\t")
        for row in tshark(path, "-o", "tcp.analyze_sequence_numbers:TRUE", "-T", "fields", *_fields(fields))
    ]
    assert rows[0][:4] == ["1700000000.123456789", "plc0", "0x00000002", "our first: “é”"]
    assert rows[1][1:4] == ["plc0", "0x00000001", ""]
    assert [row[1] for row in rows[2:]] == ["tls"] * 10
    assert rows[0][4] == "0x88e1"
    done = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Number of packets:   12" in done.stdout
    assert "Number of interfaces in file: 2" in done.stdout


@pytest.mark.long
def test_wireshark_sees_the_connection_without_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "one.pcapng"
    _record(path)
    check = ("-o", "tcp.check_checksum:TRUE", "-Y")
    assert tshark(path, *check, "tcp.analysis.flags || tcp.checksum.status != 1 || _ws.malformed") == []
    assert len(tshark(path, *check, "tcp.checksum.status == 1 && tcp.port == 61341")) == 10
    followed = "".join(line.strip() for line in tshark(path, "-q", "-z", "follow,tcp,raw,0")[6:-1])
    assert followed == (bytes(range(256)) * 12).hex() + b"answer!".hex()


def test_scapy_reads_a_recording_and_checks_its_sums(tmp_path: Path) -> None:
    utils = pytest.importorskip("scapy.utils")
    inet6 = pytest.importorskip("scapy.layers.inet6")
    inet = pytest.importorskip("scapy.layers.inet")
    path = tmp_path / "one.pcapng"
    _record(path)
    packets = utils.rdpcap(str(path))
    assert bytes(packets[0]) == FRAME
    assert float(packets[0].time) == pytest.approx(1_700_000_000.123456)
    segments = [packet for packet in packets if packet.haslayer(inet.TCP)]
    assert len(segments) == 10
    for packet in segments:
        sum_ = packet[inet.TCP].chksum
        del packet[inet.TCP].chksum
        assert inet6.IPv6(bytes(packet[inet6.IPv6]))[inet.TCP].chksum == sum_
    assert segments[0][inet6.IPv6].src == "fe80::1"


def test_captures_of_other_programs_are_read(tmp_path: Path) -> None:
    """editcap rewrites; scapy writes big blocks of its own; the old format, pcap, is read, too."""
    need("tshark", program="editcap")
    ours, theirs, old = tmp_path / "ours.pcapng", tmp_path / "theirs.pcapng", tmp_path / "old.pcap"
    keys = tmp_path / "keys"
    keys.write_text("CLIENT_RANDOM " + "00" * 32 + " " + "11" * 48 + "\n")
    _record(ours)
    for target, options in ((theirs, ["--inject-secrets", f"tls,{keys}"]), (old, ["-F", "pcap"])):
        if target is old:
            options = [*options, "-r"]
        subprocess.run(
            ["editcap", *options, str(ours), str(target), *(["3-12"] if target is old else [])],
            check=True, capture_output=True,
        )  # fmt: skip
    records = list(capture.read(theirs))
    (secrets,) = [record for record in records if isinstance(record, Secrets)]
    assert secrets.data == keys.read_bytes()
    packets = [record for record in records if isinstance(record, Packet)]
    assert packets[0].comment == "our first: “é”"
    assert [packet.data for packet in packets] == [packet.data for packet in capture.packets(ours)]
    assert [packet.time_ns for packet in packets] == [packet.time_ns for packet in capture.packets(ours)]
    older = list(capture.packets(old))
    assert older
    microseconds = [(each.data, each.time_ns // 1000 * 1000) for each in packets]
    assert all((each.data, each.time_ns) in microseconds for each in older)


def test_scapy_writes_and_we_read(tmp_path: Path) -> None:
    utils = pytest.importorskip("scapy.utils")
    path = tmp_path / "scapy.pcapng"
    writer = utils.PcapNgWriter(str(path))
    writer.write(__import__("scapy.layers.l2", fromlist=["Ether"]).Ether(FRAME))
    writer.close()
    assert [packet.data for packet in capture.packets(path)] == [FRAME]


def test_a_recording_goes_on_after_a_killed_program(tmp_path: Path) -> None:
    path = tmp_path / "one.pcapng"
    _record(path)
    with path.open("ab") as file:
        file.write(pcapng.packet(0, 0, FRAME)[:-9])
    assert len(list(capture.packets(path))) == 12
    _record(path)
    assert len(list(capture.packets(path))) == 24
    assert len(tshark(path)) == 24


def test_a_full_recording_makes_room_and_a_full_disk_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "one.pcapng"
    recorder = FrameRecorder(RecordConfig(file=path, max_mib=1), application="v2g")
    number = recorder.interface("plc0", "powerline")
    for _ in range(1000):
        recorder.packet(number, bytes(1518))
    kept = len(list(capture.packets(path))) + len(list(capture.packets(tmp_path / "one.pcapng.1")))
    assert kept == 1000
    assert path.stat().st_size <= 1024 * 1024
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    recorder.packet(number, FRAME)
    recorder.packet(number, FRAME)
    assert [record.getMessage() for record in caplog.records] == [f"recording to {path} ends: No space left on device"]


def test_a_recording_does_not_write_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("precious, and longer than a block's head")
    with pytest.raises(StoreError, match="in the way"):
        FrameRecorder(RecordConfig(file=tmp_path / "book.txt"), application="v2g")
    assert (tmp_path / "book.txt").read_text().startswith("precious")
    first = FrameRecorder(RecordConfig(file=tmp_path / "one.pcapng"), application="v2g")
    with pytest.raises(StoreError, match="another program"):
        FrameRecorder(RecordConfig(file=tmp_path / "one.pcapng"), application="v2g")
    first.close()
    with pytest.raises(StoreError, match="No such file"):
        FrameRecorder(RecordConfig(file=tmp_path / "missing" / "one.pcapng"), application="v2g")


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=4000)), max_size=5))
def test_frames_of_a_connection_carry_each_byte_once(parts: list[tuple[bool, bytes]]) -> None:
    connection = TcpFrames(Socket("192.0.2.1", 1), Socket("::1", 2))
    frames = connection.open()
    for from_client, payload in parts:
        frames += connection.data(payload, from_client=from_client)
    for side, host in ((True, IPv6Address("::ffff:192.0.2.1")), (False, IPv6Address("::1"))):
        mine = [frame for frame in frames if frame[22:38] == host.packed]
        assert b"".join(frame[74:] for frame in mine) == b"".join(part for who, part in parts if who is side)
        assert all(len(frame) <= 74 + MAX_SEGMENT for frame in mine)


def _fields(names: tuple[str, ...]) -> list[str]:
    return [argument for name in names for argument in ("-e", name)]
