"""Application data of IEC 60870-5-104 (ASDU): types, causes, values with quality, times. Pure.

Lengths of the 104 profile: cause 2 octets, common address 2, object address 3.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.iec60870.apci import MOST_ASDU

BROADCAST: Final = 65535
"""The common address of all stations."""


class TypeId(IntEnum):
    """Types that an outstation of a charging site sends and takes."""

    M_SP_NA = 1
    M_ME_NA = 9
    M_ME_NB = 11
    M_ME_NC = 13
    M_SP_TB = 30
    M_ME_TD = 34
    M_ME_TE = 35
    M_ME_TF = 36
    M_IT_TB = 37
    C_SC_NA = 45
    C_SE_NA = 48
    C_SE_NB = 49
    C_SE_NC = 50
    C_SC_TA = 58
    C_SE_TA = 61
    C_SE_TB = 62
    C_SE_TC = 63
    M_EI_NA = 70
    C_IC_NA = 100
    C_CI_NA = 101
    C_RD_NA = 102
    C_CS_NA = 103
    C_TS_NA = 104
    C_RP_NA = 105
    C_TS_TA = 107


class Cause(IntEnum):
    """Causes of transmission."""

    SPONTANEOUS = 3
    INITIALISED = 4
    REQUESTED = 5
    ACTIVATION = 6
    ACTIVATION_CON = 7
    DEACTIVATION = 8
    DEACTIVATION_CON = 9
    ACTIVATION_TERM = 10
    INTERROGATED = 20
    COUNTERS = 37
    UNKNOWN_TYPE = 44
    UNKNOWN_CAUSE = 45
    UNKNOWN_COMMON_ADDRESS = 46
    UNKNOWN_OBJECT = 47


class Quality(IntFlag):
    """Why a value may not count."""

    GOOD = 0
    OVERFLOW = 0x01
    BLOCKED = 0x10
    SUBSTITUTED = 0x20
    NOT_TOPICAL = 0x40
    INVALID = 0x80


_TIME: Final = 7
SIZES: Final = {
    TypeId.M_SP_NA: 1, TypeId.M_ME_NA: 3, TypeId.M_ME_NB: 3, TypeId.M_ME_NC: 5, TypeId.M_SP_TB: 1 + _TIME,
    TypeId.M_ME_TD: 3 + _TIME, TypeId.M_ME_TE: 3 + _TIME, TypeId.M_ME_TF: 5 + _TIME, TypeId.M_IT_TB: 5 + _TIME,
    TypeId.C_SC_NA: 1, TypeId.C_SE_NA: 3, TypeId.C_SE_NB: 3, TypeId.C_SE_NC: 5, TypeId.C_SC_TA: 1 + _TIME,
    TypeId.C_SE_TA: 3 + _TIME, TypeId.C_SE_TB: 3 + _TIME, TypeId.C_SE_TC: 5 + _TIME,
    TypeId.M_EI_NA: 1, TypeId.C_IC_NA: 1, TypeId.C_CI_NA: 1, TypeId.C_RD_NA: 0,
    TypeId.C_CS_NA: _TIME, TypeId.C_TS_NA: 2, TypeId.C_RP_NA: 1, TypeId.C_TS_TA: 2 + _TIME,
}  # fmt: skip
"""Octets of an information element, without its object address."""


class Asdu(msgspec.Struct, frozen=True, kw_only=True):
    """An ASDU. `objects`: object address and octets of the element. A type that is not known has them raw, in one."""

    type: int
    cause: int
    common_address: int
    objects: tuple[tuple[int, bytes], ...]
    negative: bool = False
    test: bool = False
    originator: int = 0
    count: int = 1

    def answer(self, cause: Cause, *, negative: bool = False) -> "Asdu":
        """Return this one sent back."""
        return msgspec.structs.replace(self, cause=cause, negative=negative)


_HEADER: Final = struct.Struct("<BBBBH")


def encode(asdu: Asdu) -> bytes:
    """Return the octets of an ASDU, each object with its address."""
    cause = asdu.cause | asdu.negative << 6 | asdu.test << 7
    count = len(asdu.objects) if asdu.type in SIZES else asdu.count
    body = b"".join(address.to_bytes(3, "little") + element for address, element in asdu.objects)
    return _HEADER.pack(asdu.type, count, cause, asdu.originator, asdu.common_address) + body


def decode(data: bytes) -> Asdu:
    """Return an ASDU. Raises FrameError for one that cannot be."""
    if len(data) < _HEADER.size + 3 or len(data) > MOST_ASDU:
        raise FrameError(f"an ASDU of {len(data)} octets")
    kind, qualifier, cause, originator, common = _HEADER.unpack_from(data)
    count, body = qualifier & 0x7F, data[_HEADER.size :]
    size = SIZES.get(kind)
    if size is None:
        objects: tuple[tuple[int, bytes], ...] = ((int.from_bytes(body[:3], "little"), body[3:]),)
    elif qualifier & 0x80:
        if len(body) != 3 + count * size or not count or not size:
            raise FrameError(f"a sequence of {count} objects in {len(body)} octets")
        first = int.from_bytes(body[:3], "little")
        objects = tuple((first + n, body[3 + n * size : 3 + (n + 1) * size]) for n in range(count))
    else:
        if len(body) != count * (3 + size) or not count:
            raise FrameError(f"{count} objects in {len(body)} octets")
        each = [body[at : at + 3 + size] for at in range(0, len(body), 3 + size)]
        objects = tuple((int.from_bytes(one[:3], "little"), one[3:]) for one in each)
    return Asdu(
        type=kind, cause=cause & 0x3F, negative=bool(cause & 0x40), test=bool(cause & 0x80), originator=originator,
        common_address=common, objects=objects, count=count,
    )  # fmt: skip


def packed(
    kind: TypeId, cause: Cause, common: int, objects: Sequence[tuple[int, bytes]], origin: int = 0
) -> list[Asdu]:
    """Return as few ASDUs as hold these objects."""
    room = min(127, (MOST_ASDU - _HEADER.size) // (3 + SIZES[kind]))
    return [
        Asdu(type=kind, cause=cause, common_address=common, originator=origin, objects=tuple(objects[at : at + room]))
        for at in range(0, len(objects), room)
    ]


# -- times (CP56Time2a)


def encode_time(ms: int) -> bytes:
    """Return a time (UTC ms since 1970)."""
    at = datetime.fromtimestamp(ms // 1000, UTC)
    head = struct.pack("<HBB", at.second * 1000 + ms % 1000, at.minute, at.hour)
    return head + bytes((at.day | at.isoweekday() << 5, at.month, at.year % 100))


def decode_time(octets: bytes) -> int:
    """Return a time as UTC ms since 1970. Raises FrameError for an invalid one."""
    milliseconds, minute, hour, day, month, year = struct.unpack("<HBBBBB", octets)
    try:
        if minute & 0x80:
            raise ValueError("marked as invalid")
        second, rest = divmod(milliseconds, 1000)
        at = datetime(2000 + (year & 0x7F), month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F, second, tzinfo=UTC)
        at -= timedelta(hours=1) if hour & 0x80 else timedelta()  # summer time
    except ValueError as error:
        raise FrameError(f"a time of {octets.hex()}: {error}") from None
    return int(at.timestamp()) * 1000 + int(rest)
