"""TCP bytes out of captured frames: every link layer that recordings of charging have, in any order of segments."""

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from v2g.io.capture.pcapng import Interface, Packet
from v2g.io.capture.tcp_recorder import Socket, TcpFrames
from v2g.io.capture.tcp_segments import ACK, MAX_HELD, SYN, Direction, TcpSegment, segment_of

CLIENT, SERVER = Socket("fe80::1", 50000), Socket("fe80::2", 61341)
WORD = 0x1_0000_0000


def packet(data: bytes, link_type: int = 1) -> Packet:
    return Packet(time_ns=1, interface=Interface(link_type=link_type), data=data, length=len(data))


def piece(sequence: int, data: bytes, flags: int = ACK) -> TcpSegment:
    return TcpSegment(b"a", b"b", sequence % WORD, 0, flags, data)


def frame() -> bytes:
    frames = TcpFrames(CLIENT, SERVER)
    frames.open()
    return frames.data(b"hello", from_client=True)[0]


def ipv4(tcp: bytes, options: bytes = b"", fragment: int = 0) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(tcp), 1, fragment, 64, 6, 0)
    return header + bytes((192, 0, 2, 1, 192, 0, 2, 2)) + options + tcp


def extended(ip: bytes) -> bytes:
    """Return an IPv6 packet with hop-by-hop options, a routing header, and an atomic fragment."""
    more = bytes((43, 0)) + bytes(6) + bytes((44, 0)) + bytes(6) + bytes((6, 0)) + bytes(6)
    length = int.from_bytes(ip[4:6], "big") + len(more)
    return ip[:4] + length.to_bytes(2, "big") + bytes((0,)) + ip[7:40] + more + ip[40:]


def test_every_link_layer_and_header_shows_the_same_segment() -> None:
    ethernet = frame()
    ip, macs = ethernet[14:], ethernet[:12]
    expected = segment_of(packet(ethernet))
    assert expected is not None
    assert (expected.data, expected.sequence, expected.acknowledged) == (b"hello", 1, 1)
    same = (
        (macs + bytes.fromhex("81000001 86dd") + ip, 1),
        (macs + bytes.fromhex("88a80001 81000002 86dd") + ip, 1),
        (bytes.fromhex("0000 0001 0006 020000000001 0000 86dd") + ip, 113),
        (bytes.fromhex("0004 0001 0006 020000000001 0000 8100 0001 86dd") + ip, 113),
        (bytes.fromhex("86dd 0000 00000002 0001 00 06 0200000000010000") + ip, 276),
        (ip, 101),
        (ip, 229),
        (bytes.fromhex("1e000000") + ip, 0),
        (macs + b"\x86\xdd" + extended(ip), 1),
        (macs + b"\x86\xdd" + ip[:4] + bytes(2) + ip[6:], 1),  # left to the network card
        (ethernet + b"trailer of Ethernet", 1),
    )
    for data, link_type in same:
        assert segment_of(packet(data, link_type)) == expected, data.hex()


def test_ipv4_is_read_too_with_options_and_padding() -> None:
    tcp = frame()[54:]
    for options in (b"", bytes(8)):
        found = segment_of(packet(bytes(12) + b"\x08\x00" + ipv4(tcp, options) + bytes(6)))
        assert found is not None
        assert (found.source[:4], found.data) == (bytes((192, 0, 2, 1)), b"hello")


def test_what_is_no_segment_is_none() -> None:
    ethernet = frame()
    others = (
        b"",
        ethernet[:50],
        ethernet[:60],
        ethernet[:12] + b"\x88\xe1" + bytes(50),  # HomePlug
        ethernet[:20] + b"\x11" + ethernet[21:],  # UDP
        bytes(12) + b"\x08\x00" + ipv4(ethernet[54:], fragment=0x2000),
        bytes(12) + b"\x86\xdd" + b"\x50" + bytes(60),
    )
    for each in others:
        assert segment_of(packet(each)) is None, each.hex()
    assert segment_of(packet(ethernet, link_type=105)) is None


@given(st.binary(max_size=120), st.sampled_from((0, 1, 101, 113, 276, 999)))
def test_any_bytes_are_a_segment_or_none(data: bytes, link_type: int) -> None:
    found = segment_of(packet(data, link_type))
    assert found is None or found.data in data


@given(st.binary(min_size=1, max_size=300), st.integers(0, WORD - 1), st.data())
def test_bytes_come_in_order_once_however_segments_are_split_repeated_and_mixed(
    stream: bytes, begin: int, data: st.DataObject
) -> None:
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    pieces = [(low, high) for low, high in pairwise(cuts)]
    pieces += [tuple(sorted(data.draw(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream))))))  # type: ignore[misc]
               for _ in range(data.draw(st.integers(0, 5)))]  # fmt: skip
    direction = Direction()
    assert not list(direction.take(piece(begin - 1, b"", SYN)))
    found = b""
    for low, high in data.draw(st.permutations(pieces)):
        for part, gap in direction.take(piece(begin + low, stream[low:high])):
            found += part
            assert not gap
    assert found == stream
    assert not list(direction.end())


def test_what_the_recording_lacks_is_skipped_once_it_has_been_answered() -> None:
    direction = Direction()
    assert list(direction.take(piece(100, b"one"))) == [(b"one", False)]
    assert not list(direction.take(piece(110, b"three")))
    assert not list(direction.answered(103))
    assert list(direction.answered(115)) == [(b"three", True)]
    assert list(direction.take(piece(115, b"four"))) == [(b"four", False)]
    assert not list(direction.take(piece(103, b"two")))


def test_at_the_end_and_when_too_many_wait_the_rest_is_passed_on() -> None:
    direction = Direction()
    list(direction.take(piece(0, b"a")))
    found = [each for n in range(MAX_HELD + 1) for each in direction.take(piece(10 + 2 * n, b"x"))]
    assert found == [(b"x", True)]
    assert list(direction.end()) == [(b"x", True)] * MAX_HELD


def test_only_another_beginning_is_another_connection() -> None:
    direction = Direction()
    assert not direction.begins_anew(piece(5, b"", SYN))
    list(direction.take(piece(5, b"", SYN)))
    assert not direction.begins_anew(piece(5, b"", SYN)), "repeated"
    assert not direction.begins_anew(piece(900, b"", ACK))
    assert direction.begins_anew(piece(900, b"", SYN))
