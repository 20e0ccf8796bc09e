"""What must hold for any octets on the wires of the hardware: a value, or the one documented error."""

from v2g.hardware.board import Line, Set, Status, Temperatures, encode
from v2g.hardware.board_firmware import BoardFirmware
from v2g.hardware.board_host import BoardHost


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
