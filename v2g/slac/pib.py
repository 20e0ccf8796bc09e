"""The parameter block (PIB) of a QCA7000-class modem, as far as it determines its role.

A modem configured for a vehicle does not act as a charger's, nor the other way round: a common cause of a line
without answers. Offsets and values are those of public tools; all are little endian.
"""

from typing import Final, Literal

import msgspec

from v2g.errors import FrameError
from v2g.slac import vendor

Role = Literal["ev", "evse"]


class Setting(msgspec.Struct, frozen=True):
    """One parameter: offset, size, and the value for each role."""

    name: str
    offset: int
    size: int
    ev: int
    evse: int
    words: tuple[str, ...] = ()

    def wanted(self, role: Role) -> int:
        """Return the value for `role`."""
        return self.ev if role == "ev" else self.evse

    def text(self, value: int) -> str:
        return f"{value} ({self.words[value]})" if value < len(self.words) else str(value)


SETTINGS: Final = (
    Setting("central coordinator", 0xF4, 1, 1, 2, ("auto", "never", "always", "by user")),
    Setting("membership of a network", 0xFF, 1, 0, 0),
    Setting("SLAC role", 0x1653, 1, 1, 2, ("off", "vehicle", "charger")),
    Setting("fast association", 0x16D3, 1, 1, 1),
    Setting("low speed link", 0x1C98, 4, 10240, 10240),
    Setting("high speed link", 0x1C9C, 4, 102400, 102400),
)
"""Checked settings. The user's name of the modem (0x74) is displayed, but not checked."""

NAME_AT: Final = 0x74
NAME_SIZE: Final = 64

_SIZE: Final = 0x2800
_LENGTH_AT: Final = 4
_CHECKSUM_AT: Final = 8


class PibFinding(msgspec.Struct, frozen=True):
    """A setting's present value, and whether it suits the role."""

    name: str
    found: str
    wanted: str
    good: bool


def checksum(data: bytes) -> int:
    """Return the checksum of a module or a part of one: the complement of all 32-bit words, combined bit by bit."""
    padded = data + bytes(-len(data) % 4)
    value = 0
    for at in range(0, len(padded), 4):
        value ^= int.from_bytes(padded[at : at + 4], "little")
    return value ^ 0xFFFFFFFF


def questions() -> tuple[vendor.VsRdModReq, ...]:
    """Return the messages that read every setting: one for each part of the block with settings."""
    parts = sorted({(offset // vendor.BLOCK) * vendor.BLOCK for offset in (NAME_AT, *(s.offset for s in SETTINGS))})
    return tuple(vendor.VsRdModReq(length=vendor.BLOCK, offset=part) for part in parts)


def part_of(answer: vendor.VsRdModCnf | vendor.VsModuleOperationCnf) -> tuple[int, bytes]:
    """Return offset and content of a part. Raises FrameError when it was rejected or is damaged."""
    if answer.mstatus != 0:
        raise FrameError(f"the modem does not show its parameters (status {answer.mstatus:#x})")
    if isinstance(answer, vendor.VsRdModCnf) and answer.checksum != checksum(answer.data):
        raise FrameError(f"the parameters from {answer.offset:#x} on are damaged")
    return answer.offset, answer.data


def findings(parts: dict[int, bytes], role: Role) -> tuple[PibFinding, ...]:
    """Return the settings in the parts (offset to content) for `role`; missing ones are skipped."""
    found = []
    for setting in SETTINGS:
        value = _read(parts, setting.offset, setting.size)
        if value is not None:
            number, wanted = int.from_bytes(value, "little"), setting.wanted(role)
            found.append(PibFinding(setting.name, setting.text(number), setting.text(wanted), number == wanted))
    return tuple(found)


def user_name(parts: dict[int, bytes]) -> str:
    """Return the modem's user-defined name, or an empty string."""
    return (_read(parts, NAME_AT, NAME_SIZE) or b"").split(b"\0")[0].decode("ascii", "backslashreplace")


def simulated_pib(role: Role, mac: bytes) -> bytes:
    """Return the block of a simulated modem."""
    block = bytearray(_SIZE)
    block[_LENGTH_AT : _LENGTH_AT + 2] = _SIZE.to_bytes(2, "little")
    block[0x0C:0x12] = mac
    name = b"PEV" if role == "ev" else b"EVSE"
    block[NAME_AT : NAME_AT + len(name)] = name
    for setting in SETTINGS:
        block[setting.offset : setting.offset + setting.size] = setting.wanted(role).to_bytes(setting.size, "little")
    block[_CHECKSUM_AT : _CHECKSUM_AT + 4] = checksum(bytes(block)).to_bytes(4, "little")
    return bytes(block)


def _read(parts: dict[int, bytes], offset: int, size: int) -> bytes | None:
    for start, data in parts.items():
        if start <= offset and offset + size <= start + len(data):
            return data[offset - start : offset - start + size]
    return None
