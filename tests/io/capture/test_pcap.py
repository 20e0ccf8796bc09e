"""Captures in the older format, as machines of both byte orders write them; any bytes give packets or FrameError."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import FrameError
from v2g.io.capture import recorder as capture
from v2g.io.capture.pcap import MAX_PACKET, PcapReader

PACKETS = ((1_700_000_000, 123_456, b"one"), (1_700_000_001, 0, b""), (1_700_000_002, 999_999, b"three" * 20))


def written(order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 113) -> bytes:
    found = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for seconds, parts, data in PACKETS:
        found += struct.pack(order + "IIII", seconds, parts, len(data), len(data) + 1) + data
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_both_byte_orders_and_units_are_read_in_any_split(order: str, magic: int, unit_ns: int) -> None:
    wire = written(order, magic)
    for size in (1, 7, len(wire)):
        reader = PcapReader()
        found = [each for at in range(0, len(wire), size) for each in reader.feed(wire[at : at + size])]
        times = [(each.time_ns, each.data, each.length) for each in found]
        assert times == [(s * 1_000_000_000 + part * unit_ns, data, len(data) + 1) for s, part, data in PACKETS]
        assert {each.interface.link_type for each in found} == {113}


def test_a_file_is_read_by_its_first_bytes_also_when_it_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "older.pcap"
    path.write_bytes(written()[:-1])
    assert [each.data for each in capture.packets(path)] == [b"one", b""]


@pytest.mark.parametrize(
    "wrong",
    [
        b"\0" * 24,
        struct.pack("<IHHiIII", 0xA1B2C3D4, 3, 0, 0, 0, 0, 1),
        written()[:24] + struct.pack("<IIII", 0, 0, MAX_PACKET + 1, 0),
    ],
)
def test_other_files_are_refused(wrong: bytes) -> None:
    with pytest.raises(FrameError):
        PcapReader().feed(wrong)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_packets_or_one_error(data: bytes, begins: bool) -> None:
    wire = written()[:24] + data if begins else data
    try:
        found = PcapReader().feed(wire)
    except FrameError:
        return
    assert sum(map(len, (each.data for each in found))) <= len(wire)
