"""What must hold for any octets on the wires of the hardware: a value, or the one documented error."""

import contextlib
import math
import struct
from pathlib import Path

import msgspec

from v2g.errors import CodecError, FrameError
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.host import BoardHost
from v2g.hardware.board.protocol import BoardLine, BoardStatus, Set, Temperatures, encode
from v2g.hardware.energy_manager.commands import EnergyCommand, read_command
from v2g.hardware.energy_manager.modbus_server import ModbusConversation
from v2g.hardware.energy_manager.registers import EnergyRegisters
from v2g.hardware.meters import iec62056
from v2g.hardware.meters.iec62056 import MOST_TELEGRAM, ReadoutFramer
from v2g.hardware.readers import pn532
from v2g.hardware.readers.pn532 import FrameReader, Pn532
from v2g.sml import MOST_FILE, SmlFramer


def board(data: bytes) -> None:
    """Both ends of the control board's line take anything, and go on; the first octet says how it is cut."""
    if not data:
        return
    host, firmware, cut, now = BoardHost(), BoardFirmware(), data[0] + 16, 0.0
    for at in range(1, len(data), cut):
        part, now = data[at : at + cut], now + 0.003
        for end in (host, firmware):
            end.tick(now)
            end.receive(part, now)
            assert end.output().isascii()
            assert end.deadline() <= now + 1.0


def board_seeds() -> list[bytes]:
    """Return real exchanges."""
    hello = encode(BoardLine(0, BoardFirmware().hello))
    lines = [
        hello + encode(BoardLine(1, BoardStatus(set=0, cp="B", high=9_000, low=-12_000, duty=500, pp=220))),
        hello + encode(BoardLine(1, Set(duty=500, contactor=True))) + encode(BoardLine(2, Set(pilot="F"))),
        hello + encode(BoardLine(1, Temperatures({"plug": 300, "board": None}))),
    ]
    return [bytes((at * 13,)) + line for at, line in enumerate(lines)]


def energy(data: bytes) -> None:
    """An energy manager's registers take anything, and answer in frames or end the connection; the first octet says how
    it is cut. What was taken makes sense."""
    if not data:
        return
    registers, words = EnergyRegisters(2), []
    conversation = ModbusConversation(registers.read, lambda at, values: words.extend(registers.write(at, values)))
    cut = data[0] + 1
    try:
        for at in range(1, len(data), cut):
            for answer in conversation.receive(data[at : at + cut]):
                assert len(answer) == 6 + int.from_bytes(answer[4:6], "big") <= 260
    except FrameError:
        pass
    for place, word in words:
        assert place in (0, 1, 2)
        assert msgspec.convert(msgspec.structs.asdict(word), EnergyCommand) == word


def energy_seeds() -> list[bytes]:
    """Return real requests: a limit written, a heartbeat, the state read, what is not there."""
    written = struct.pack(">HHHBBHHBI", 1, 0, 11, 1, 16, 2, 2, 4, 11_000)
    heartbeat = struct.pack(">HHHBBHH", 2, 0, 6, 255, 6, 0, 7)
    state = struct.pack(">HHHBBHH", 3, 0, 6, 1, 4, 100, 20)
    absent = struct.pack(">HHHBBHH", 4, 0, 6, 1, 3, 99, 2) + struct.pack(">HHHBB", 5, 0, 2, 1, 43)
    return [bytes((at * 7,)) + each for at, each in enumerate((written, heartbeat + state, written + absent))]


def energy_word(data: bytes) -> None:
    """Any text is a word of an energy manager, or refused."""
    try:
        word = read_command(data)
    except CodecError:
        return
    assert read_command(msgspec.json.encode(word)) == word


def energy_word_seeds() -> list[bytes]:
    """Return real words."""
    return [
        b'{"limit_w": 11000, "discharge_w": 5000, "setpoint_w": -3000, "valid_s": 60}',
        b'{"schedule": [{"start_s": 0, "limit_w": 5000}, {"start_s": 900, "setpoint_w": -1}], "load_w": 1}',
    ]


METERS = Path(__file__).parent.parent / "vectors" / "meters"


def meter(data: bytes) -> None:
    """A meter's line takes anything; the first octet says how it is cut, and which protocol it is."""
    if not data:
        return
    framers = (SmlFramer(), ReadoutFramer(parity=True), ReadoutFramer(parity=False))
    framer, cut = framers[data[0] % 3], data[0] // 3 + 1
    for at in range(1, len(data), cut):
        for telegram in framer.receive(data[at : at + cut]):
            assert len(telegram) <= max(MOST_FILE, MOST_TELEGRAM)
            try:
                found = iec62056.sml_codes(telegram) if isinstance(telegram, bytes) else iec62056.codes(telegram)
            except FrameError:
                continue
            wrong = {code for code, value in found.items() if not abs(value) < 1e45}
            assert wrong <= iec62056.PARTS
            assert all(math.isnan(found[code]) for code in wrong)
    payloads = (data[1:], data[1:].decode("latin-1"))
    for decode, payload in zip((iec62056.sml_codes, iec62056.codes), payloads, strict=True):
        with contextlib.suppress(FrameError):
            decode(payload)  # type: ignore[operator]


def meter_seeds() -> list[bytes]:
    """Return telegrams of real meters, and what is in one."""
    files = [b"\x60" + bytes.fromhex(each.read_text()) for each in sorted(METERS.glob("*.hex"))]
    lines = [each.read_bytes() for each in sorted(METERS.glob("*.txt"))]
    inner = [b"\x01" + payload for each in files for payload in SmlFramer().receive(each)]
    return [
        *files,
        *inner,
        *(b"\x61" + iec62056.with_parity(each) for each in lines),
        *(b"\x62" + each for each in lines),
    ]


def cards(data: bytes) -> None:
    """A card reader's line takes anything, and goes on; the first octet says how it is cut."""
    if not data:
        return
    reader, frames, cut, now = Pn532(0.0), FrameReader(), data[0] + 1, 0.0
    for at in range(1, len(data), cut):
        now += 0.05
        reader.tick(now)
        reader.output()
        part = data[at : at + cut]
        assert all(len(uid) in (8, 14, 20) and set(uid) <= set("0123456789ABCDEF") for uid in reader.receive(part, now))
        assert all(len(payload) <= 255 for payload in frames.receive(part))
        assert now <= reader.deadline() <= now + 2.0


def cards_seeds() -> list[bytes]:
    """Return what a reader answers: acknowledgements, its setup, no card, and a card."""
    answers = (b"\xd5\x15", b"\xd5\x33", b"\xd5\x4b\x00", b"\xd5\x4b\x01\x01\x00\x04\x08\x04\xde\xad\xbe\xef")
    return [bytes((cut,)) + b"".join(pn532.ACK + pn532.frame(each) for each in answers) for cut in (3, 90)]
