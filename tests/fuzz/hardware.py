"""What must hold for any octets on the wires of the hardware: a value, or the one documented error."""

import struct

import msgspec

from v2g.errors import CodecError, FrameError
from v2g.hardware.board import Line, Set, Status, Temperatures, encode
from v2g.hardware.board_firmware import BoardFirmware
from v2g.hardware.board_host import BoardHost
from v2g.hardware.energy_manager import EnergyCommand, read_command
from v2g.hardware.energy_registers import EnergyRegisters
from v2g.hardware.modbus_server import ModbusConversation


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
    hello = encode(Line(0, BoardFirmware().hello))
    lines = [
        hello + encode(Line(1, Status(set=0, cp="B", high=9_000, low=-12_000, duty=500, pp=220))),
        hello + encode(Line(1, Set(duty=500, contactor=True))) + encode(Line(2, Set(pilot="F"))),
        hello + encode(Line(1, Temperatures({"plug": 300, "board": None}))),
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
