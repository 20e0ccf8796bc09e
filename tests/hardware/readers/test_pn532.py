"""A card reader with a PN532: frames as in NXP's manual, and one token for each stay of a card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hardware.readers.pn532_sim import SimulatedPn532
from tests.together import together
from v2g.hardware.readers.pn532 import ACK, SETUP, WAKE, FrameReader, Pn532, frame

# UM0701-02: GetFirmwareVersion (7.2.2), its answer of a PN532 1.6, and InListPassiveTarget (7.3.5), as in its examples
PRINTED = {
    bytes.fromhex("D402"): "0000FF02FED4022A00",
    bytes.fromhex("D50332010607"): "0000FF06FAD50332010607E800",
    bytes.fromhex("D44A0100"): "0000FF04FCD44A0100E100",
    bytes.fromhex("D41401"): "0000FF03FDD414011700",
}


@together("payload", list(PRINTED), ids=bytes.hex)
def test_frames_are_those_of_the_manual(payload: bytes) -> None:
    assert frame(payload) == bytes.fromhex(PRINTED[payload])
    assert list(FrameReader().receive(b"\xff\x00" + ACK + frame(payload))) == [payload]


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=5), st.integers(1, 300))
def test_frames_are_found_however_they_are_cut(payloads: list[bytes], cut: int) -> None:
    line, reader, found = b"".join(ACK + frame(each) for each in payloads), FrameReader(), []
    for at in range(0, len(line), cut):
        found += reader.receive(line[at : at + cut])
    assert found == payloads


@given(st.binary(min_size=1, max_size=60), st.integers(0, 500), st.integers(1, 255))
def test_a_changed_octet_is_no_frame_with_other_contents(payload: bytes, place: int, change: int) -> None:
    line = bytearray(frame(payload))
    line[place % len(line)] ^= change
    for found in FrameReader().receive(bytes(line)):
        assert found == payload or len(found) < len(payload)


class Antenna:
    """A reader and its core, joined in memory; `wait` lets time pass."""

    def __init__(self) -> None:
        self.now, self.core, self.reader = 0.0, Pn532(0.0), SimulatedPn532()
        self.tokens: list[str] = []

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.core.tick(self.now)
            self.tokens += self.core.receive(self.reader.receive(self.core.output()), self.now)
            self.now += 0.05


@pytest.mark.parametrize("uid", ["DEADBEEF", "04A1B2C3D4E5F6", "0102030405060708090A"])
def test_a_card_is_one_token_for_each_stay(uid: str) -> None:
    """In hexadecimal digits, as OCPP has identifiers of ISO 14443."""
    antenna = Antenna()
    antenna.wait(1.0)
    assert antenna.core.ready
    antenna.reader.card = bytes.fromhex(uid)
    antenna.wait(30.0)
    assert antenna.tokens == [uid]
    antenna.reader.card = b""
    antenna.wait(0.5)  # moved a little
    antenna.reader.card = bytes.fromhex(uid)
    antenna.wait(1.0)
    assert antenna.tokens == [uid]
    antenna.reader.card = b""
    antenna.wait(1.5)
    antenna.reader.card = bytes.fromhex(uid)
    antenna.wait(1.0)
    assert antenna.tokens == [uid, uid]


def test_two_cards_in_turn_are_two_tokens() -> None:
    antenna = Antenna()
    for uid in ("DEADBEEF", "CAFEBABE", "DEADBEEF"):
        antenna.reader.card = bytes.fromhex(uid)
        antenna.wait(0.6)
    assert antenna.tokens == ["DEADBEEF", "CAFEBABE"]


def test_a_reader_that_restarted_is_set_up_again() -> None:
    antenna = Antenna()
    antenna.wait(1.0)
    antenna.reader = SimulatedPn532()  # has lost its setup, and answers with errors
    antenna.reader.card = bytes.fromhex("DEADBEEF")
    antenna.wait(3.0)
    assert antenna.tokens == ["DEADBEEF"]
    antenna.reader.silent = True
    antenna.wait(1.5)
    assert not antenna.core.ready
    antenna.core.tick(antenna.now + 1.0)
    assert antenna.core.output().startswith(WAKE + frame(SETUP[0]))


@pytest.mark.parametrize("uid", [b"", b"\x01" * 3, b"\x01" * 5, b"\x01" * 11])
def test_an_identifier_of_another_length_is_no_token(uid: bytes) -> None:
    core = Pn532(0.0)
    for answer in (b"\xd5\x15", b"\xd5\x33"):
        core.receive(frame(answer), 0.0)
        core.tick(0.5)
    answer = b"\xd5\x4b\x01\x01\x00\x04\x08" + bytes((len(uid),)) + uid
    assert core.ready
    assert core.receive(frame(answer), 0.5) == []
