"""Serial framing of the QCA7000: any split, noise, false heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory import held
from v2g.errors import FrameError
from v2g.slac.uart import MAX_LENGTH, Deframer, wrap

_frames = st.lists(st.binary(min_size=60, max_size=200), max_size=4)


def test_layout() -> None:
    wire = wrap(b"\x01" * 61)
    assert wire == b"\xaa\xaa\xaa\xaa\x3d\x00\x00\x00" + b"\x01" * 61 + b"\x55\x55"
    assert wrap(b"short")[4:6] == b"\x3c\x00"
    with pytest.raises(FrameError):
        wrap(bytes(MAX_LENGTH + 1))


@given(_frames, st.lists(st.integers(1, 50), min_size=1))
def test_any_split_gives_the_same_frames(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(wrap, frames))
    deframer, found, at = Deframer(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        found += deframer.feed(stream[at : at + size])
        at += size
    assert found == frames
    assert deframer.dropped == 0


@given(st.binary(max_size=30).filter(lambda noise: b"\xaa" not in noise), _frames)
def test_noise_without_a_head_costs_no_frame(noise: bytes, frames: list[bytes]) -> None:
    assert Deframer().feed(noise + b"".join(map(wrap, frames))) == frames


@pytest.mark.parametrize("extra", [b"\xaa", b"\xaa\xaa\xaa\xaa\x05", b"\xaa\xaa\xaa\xaa\x00\x00\x00\x00", b"\xaa" * 9])
def test_a_false_head_in_front_is_skipped(extra: bytes) -> None:
    frame = bytes(range(100))
    assert Deframer().feed(extra + wrap(frame) + wrap(frame) + bytes(2000))[-2:] == [frame, frame]


def test_a_frame_without_its_tail_is_dropped_and_the_next_one_found() -> None:
    broken = wrap(b"\x01" * 80)[:-1] + b"\x00"
    assert Deframer().feed(broken + wrap(b"\x02" * 80)) == [b"\x02" * 80]


@given(st.lists(st.binary(max_size=64) | st.just(b"\xaa\xaa\xaa\xaa\xee\x05\x00\x00"), max_size=60))
def test_the_buffer_stays_bounded(chunks: list[bytes]) -> None:
    deframer, most = Deframer(), held(Deframer()) + (8 + MAX_LENGTH + 2) * 9 // 8 + 16  # a bytearray's own reserve
    for chunk in chunks:
        for frame in deframer.feed(chunk):
            assert 60 <= len(frame) <= MAX_LENGTH
        assert held(deframer) <= most
