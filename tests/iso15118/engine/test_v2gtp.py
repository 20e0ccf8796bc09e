"""V2GTP frames survive any split of the stream, and nothing but FrameError comes out of garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import FrameError
from v2g.iso15118.engine import v2gtp
from v2g.iso15118.engine.v2gtp import Frame, Framer, PayloadType

frames = st.lists(st.builds(Frame, st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=5)


def test_header_is_version_inverse_type_and_length_big_endian() -> None:
    assert v2gtp.frame(PayloadType.SAP, b"\x80\x00").hex() == "01fe8001000000028000"
    assert v2gtp.frame(PayloadType.SIGNED_DISCHARGE, b"").hex() == "01fea00000000000"


@pytest.mark.parametrize("payload_type", [-1, 0x10000])
def test_a_type_that_does_not_fit_is_refused(payload_type: int) -> None:
    with pytest.raises(FrameError):
        v2gtp.frame(payload_type, b"")


@given(frames, st.lists(st.integers(1, 20), min_size=1))
def test_any_split_gives_the_same_frames(sent: list[Frame], sizes: list[int]) -> None:
    stream = b"".join(v2gtp.frame(f.payload_type, f.payload) for f in sent)
    framer, received, at = Framer(40), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        received += framer.feed(stream[at : at + size])
        at += size
    assert received == sent
    assert framer.pending == 0


@given(st.lists(st.binary(max_size=30)))
def test_garbage_gives_frames_or_frame_error_and_stays_bounded(chunks: list[bytes]) -> None:
    framer = Framer(16)
    for chunk in chunks:
        try:
            for _ in framer.feed(chunk):
                pass
        except FrameError:
            assert framer.pending == 0
        assert framer.pending <= 8 + 16


@given(st.binary(max_size=40))
def test_a_datagram_is_one_frame_or_frame_error(data: bytes) -> None:
    try:
        frame = v2gtp.parse(data, max_payload=32)
    except FrameError:
        return
    assert v2gtp.frame(frame.payload_type, frame.payload) == data


def test_whole_frames_before_a_bad_one_are_delivered_and_the_stream_stays_dead() -> None:
    framer = Framer()
    good = v2gtp.frame(PayloadType.DC, b"\x80")
    frames = framer.feed(good + b"\x02\xfd" + bytes(6))
    assert next(frames) == Frame(PayloadType.DC, b"\x80")
    with pytest.raises(FrameError, match="02fd"):
        next(frames)
    with pytest.raises(FrameError, match="02fd"):
        list(framer.feed(good))


def test_an_announced_length_above_the_bound_is_refused_before_it_arrives() -> None:
    with pytest.raises(FrameError, match="at most 100"):
        list(Framer(100).feed(bytes.fromhex("01fe800400000065")))


@pytest.mark.parametrize("data", [b"", b"\x01\xfe\x80\x01\x00\x00\x00", bytes.fromhex("01fe80010000000100ff")])
def test_a_datagram_too_short_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        v2gtp.parse(data)


@pytest.mark.parametrize("version", [b"\xff\xfe", b"\x01\xff"], ids=["version", "inverse"])
@pytest.mark.parametrize("cut", [3, 8, 11])
def test_a_message_of_another_version_is_skipped_where_that_is_wanted(version: bytes, cut: int) -> None:
    good = v2gtp.frame(PayloadType.SAP, b"\x80\x98")
    stream, framer = version + good[2:] + good, Framer(skips=True)
    found = [*framer.feed(stream[:cut]), *framer.feed(stream[cut:])]
    assert found == [Frame(PayloadType.SAP, b""), Frame(PayloadType.SAP, b"\x80\x98")]


@pytest.mark.parametrize("header", ["fffe900000000000", "fffe8001ffffffff", "8098021000000000"])
def test_what_is_no_message_of_another_version_is_not_skipped(header: str) -> None:
    with pytest.raises(FrameError):
        list(Framer(skips=True).feed(bytes.fromhex(header)))
