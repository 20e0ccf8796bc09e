"""An outstation of IEC 60870-5-104: points, interrogation, events that wait for a line, commands (select and operate).

One redundancy group: several connections, of which the last one that was started is active; one queue of events, kept
while nobody is connected. What was sent and not acknowledged on a lost line is sent again, in order, with its old time.
"""

import math
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from v2g.errors import FrameError
from v2g.iec60870.apci import ApciConnection, LinkTimes
from v2g.iec60870.asdu import (
    BROADCAST,
    SIZES,
    Asdu,
    Cause,
    Quality,
    TypeId,
    decode,
    decode_time,
    encode,
    encode_time,
    packed,
)

_QOI_STATION: Final = 20
_COUNTERS_GENERAL: Final = 5
_SELECT: Final = 0x80
_OF_ALL: Final = frozenset({TypeId.C_IC_NA, TypeId.C_CI_NA, TypeId.C_CS_NA, TypeId.C_RP_NA})
"""What may be sent to the common address of all stations."""
_FREEZE: Final = 1
"""FRZ of a counter interrogation: 0 reads, 1 freezes, 2 and 3 would set registers of meters back."""
_CARRY: Final = 0x20
ValueForm = Literal["float", "scaled", "normalised"]
"""How a value is coded: as a number, or in 16 bits: in whole units, or as a fraction from -1 until before 1."""


class _PointTypes(NamedTuple):
    """Types by which a kind of point is reported and commanded, without and with a time."""

    reported: TypeId
    event: TypeId
    commanded: TypeId
    dated: TypeId


_TYPES: Final = {
    "single": _PointTypes(TypeId.M_SP_NA, TypeId.M_SP_TB, TypeId.C_SC_NA, TypeId.C_SC_TA),
    "float": _PointTypes(TypeId.M_ME_NC, TypeId.M_ME_TF, TypeId.C_SE_NC, TypeId.C_SE_TC),
    "scaled": _PointTypes(TypeId.M_ME_NB, TypeId.M_ME_TE, TypeId.C_SE_NB, TypeId.C_SE_TB),
    "normalised": _PointTypes(TypeId.M_ME_NA, TypeId.M_ME_TD, TypeId.C_SE_NA, TypeId.C_SE_TA),
}
_COMMANDS: Final = frozenset(each for types in _TYPES.values() for each in (types.commanded, types.dated))
_DATED: Final = frozenset(types.dated for types in _TYPES.values())
_STEPS: Final = {"scaled": 1, "normalised": 1 << 15}


class MonitoredPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point that is reported: a state, a value, or a counter (of which changes are no events). `unit`: what 1 of a
    scaled value or counter, or 1.0 of a normalised one, stands for."""

    address: int
    kind: ValueForm | Literal["single", "counter"]
    dead_band: float = 0.0
    unit: float = 1.0


class CommandPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point that is commanded: a state or a value within bounds, `unit` as of MonitoredPoint; `select`: selected
    before it is operated."""

    address: int
    kind: ValueForm | Literal["single"]
    least: float = 0.0
    most: float = 1.0
    select: bool = True
    unit: float = 1.0


class OutstationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`select_s`: how long a selection holds; `command_age_s`: commands with an older or later time are refused;
    `follow_clock`: whether time stamps follow the control centre's clock (ours is never set)."""

    common_address: int = 1
    select_s: float = 20.0
    command_age_s: float = 10.0
    most_events: int = 10_000
    follow_clock: bool = True
    overflow: int | None = None
    """Address of the point that says that events were lost."""
    times: LinkTimes = LinkTimes()


class _Selected(msgspec.Struct, frozen=True):
    element: bytes
    until_s: float


class _Frozen(NamedTuple):
    """Counters at a moment (UTC, ms), by address, with how often each has overflowed."""

    at_ms: int
    elements: dict[int, bytes]
    rounds: dict[int, int]


class _Session(msgspec.Struct):
    link: ApciConnection
    out: bytearray
    replies: deque[Asdu]
    selected: dict[int, _Selected]


Execute = Callable[[int, float], bool]
"""Carries out a command (address, value; a switch has 0 or 1) and says whether it was."""


class Outstation:
    """The station; `key` names a connection. Times: `now_s` monotonic, `now_ms` UTC."""

    def __init__(
        self,
        settings: OutstationSettings,
        monitored: Sequence[MonitoredPoint],
        commands: Sequence[CommandPoint],
        execute: Execute,
    ) -> None:
        self._settings, self._execute = settings, execute
        self._monitored = {each.address: each for each in monitored}
        self._commands = {each.address: each for each in commands}
        unknown = (0.0, Quality.INVALID | Quality.NOT_TOPICAL)
        self._values: dict[int, tuple[float, Quality]] = dict.fromkeys(self._monitored, unknown)
        if settings.overflow is not None:
            self._values[settings.overflow] = (0.0, Quality.GOOD)
        self._frozen: _Frozen | None = None
        self._freezes = 0
        self._events: deque[Asdu] = deque()
        self._sessions: dict[int, _Session] = {}
        self._active: int | None = None
        self._initialised = False
        self._offset_ms = 0

    @property
    def patience_s(self) -> float:
        """How long a connection may take nothing."""
        return self._settings.times.t1_s

    @property
    def waiting(self) -> int:
        """How many events wait to be sent."""
        return len(self._events)

    # -- connections

    def open(self, key: int, now_s: float) -> None:
        """Begin a connection, stopped."""
        self._sessions[key] = _Session(ApciConnection(self._settings.times, now_s), bytearray(), deque(), {})

    def close(self, key: int) -> None:
        """End a connection; events that were not acknowledged wait for the next one."""
        session = self._sessions.pop(key, None)
        if session is None:
            return
        if key == self._active:
            self._active = None
        self._take_back(session)

    def receive(self, key: int, data: bytes, now_s: float, now_ms: int) -> None:
        """Take octets of a connection. Raises FrameError: close it then."""
        session = self._sessions[key]
        link, before = session.link, session.link.started
        session.out += link.receive(data, now_s)
        if link.started and not before:
            if self._active is not None and self._active != key:
                former = self._sessions[self._active]
                former.replies.clear()
                former.selected.clear()
                self._take_back(former)
            self._active = key
            if not self._initialised:
                self._initialised = True
                self._sessions[key].replies.append(self._own(TypeId.M_EI_NA, Cause.INITIALISED, ((0, b"\0"),)))
        elif before and not link.started and self._active == key:
            self._active = None
        for each in link.asdus:
            session.replies.extend(self._answers(session, decode(each), now_s, now_ms))
        link.asdus.clear()
        self._flush(now_s, now_ms)

    def tick(self, key: int, now_s: float) -> None:
        """Let a connection do what is due. Raises FrameError: close it then."""
        session = self._sessions[key]
        session.out += session.link.tick(now_s)

    def to_send(self, key: int) -> bytes:
        """Return, once, the octets to send on a connection."""
        session = self._sessions.get(key)
        if session is None:
            return b""
        out = bytes(session.out)
        session.out.clear()
        return out

    def _take_back(self, session: _Session) -> None:
        sent = [decode(each) for each in session.link.stop()]
        self._events.extendleft(reversed([each for each in sent if each.cause == Cause.SPONTANEOUS]))

    def _flush(self, now_s: float, now_ms: int) -> None:
        if self._active is None:
            return
        session = self._sessions[self._active]
        while session.link.room and (session.replies or self._events):
            asdu = session.replies.popleft() if session.replies else self._events.popleft()
            session.out += session.link.send(encode(asdu), now_s)
        if not self._events and self._settings.overflow is not None:
            self.update(self._settings.overflow, 0.0, now_s, now_ms)

    # -- points

    def update(self, address: int, value: float, now_s: float, now_ms: int, quality: Quality = Quality.GOOD) -> None:
        """Set the value of a point; a change beyond its dead band is an event."""
        point, (last, before) = self._monitored[address], self._values[address]
        if quality == before and abs(value - last) <= point.dead_band:
            return
        self._values[address] = (value, quality)
        if point.kind == "counter":
            return
        self._events.append(self._event(point, now_ms))
        while len(self._events) > self._settings.most_events:
            self._events.popleft()
            if self._settings.overflow is not None:  # where the lost ones were, lest it be lost, too
                self._values[self._settings.overflow] = (1.0, Quality.GOOD)
                self._events[0] = self._event(self._monitored[self._settings.overflow], now_ms)
        self._flush(now_s, now_ms)

    def _event(self, point: MonitoredPoint, now_ms: int) -> Asdu:
        element = self._element(point) + encode_time(now_ms + self._offset_ms)
        return self._own(_TYPES[point.kind].event, Cause.SPONTANEOUS, ((point.address, element),))

    def _element(self, point: MonitoredPoint) -> bytes:
        value, quality = self._values[point.address]
        match point.kind:
            case "single":
                return bytes((int(bool(value)) | quality & ~Quality.OVERFLOW,))
            case "float":
                return struct.pack("<fB", value, quality)
            case "scaled" | "normalised":
                steps = round(value / point.unit * _STEPS[point.kind])
                bounded = max(-(1 << 15), min((1 << 15) - 1, steps))
                return struct.pack("<hB", bounded, quality | (Quality.OVERFLOW if bounded != steps else 0))
        # a counter in its 32 bits
        return struct.pack(
            "<iB", (int(value / point.unit) + 2**31) % 2**32 - 2**31, quality & Quality.INVALID | self._freezes % 32
        )

    def _freeze(self, now_ms: int) -> None:
        """Keep the counters as they are, until the next time."""
        before, self._freezes = self._frozen, self._freezes + 1
        counters = [each for each in self._monitored.values() if each.kind == "counter"]
        rounds = {each.address: int(self._values[each.address][0] / each.unit + 2**31) >> 32 for each in counters}
        elements = {}
        for each in counters:
            *counted, flags = self._element(each)
            carried = before is not None and before.rounds[each.address] != rounds[each.address]
            elements[each.address] = bytes((*counted, flags | (_CARRY if carried else 0)))
        self._frozen = _Frozen(now_ms + self._offset_ms, elements, rounds)

    def _own(self, kind: TypeId, cause: Cause, objects: tuple[tuple[int, bytes], ...]) -> Asdu:
        return Asdu(type=kind, cause=cause, common_address=self._settings.common_address, objects=objects)

    # -- requests

    def _answers(self, session: _Session, asdu: Asdu, now_s: float, now_ms: int) -> Iterator[Asdu]:
        """Yield the answers to a request of the control centre."""
        own, kind = self._settings.common_address, asdu.type
        if kind not in SIZES or kind < TypeId.C_SC_NA or kind == TypeId.M_EI_NA:
            yield asdu.answer(Cause.UNKNOWN_TYPE, negative=True)
            return
        if asdu.common_address != own and not (asdu.common_address == BROADCAST and kind in _OF_ALL):
            yield asdu.answer(Cause.UNKNOWN_COMMON_ADDRESS, negative=True)
            return
        asdu = msgspec.structs.replace(asdu, common_address=own)
        known = (Cause.REQUESTED,) if kind == TypeId.C_RD_NA else (Cause.ACTIVATION, Cause.DEACTIVATION)
        if asdu.cause not in known:
            yield asdu.answer(Cause.UNKNOWN_CAUSE, negative=True)
        elif len(asdu.objects) != 1:
            yield asdu.answer(Cause.ACTIVATION_CON, negative=True)
        elif kind in _COMMANDS:
            yield from self._commanded(session, asdu, now_s, now_ms)
        elif asdu.cause == Cause.DEACTIVATION:
            yield asdu.answer(Cause.DEACTIVATION_CON, negative=True)
        else:
            yield from self._served(asdu, now_ms)

    def _served(self, asdu: Asdu, now_ms: int) -> Iterator[Asdu]:
        """Yield the answers to what is no command of a point."""
        ((address, element),) = asdu.objects
        match asdu.type:
            case TypeId.C_IC_NA if element[0] == _QOI_STATION:
                yield asdu.answer(Cause.ACTIVATION_CON)
                for name, types in _TYPES.items():
                    points = [each for each in self._monitored.values() if each.kind == name]
                    found = [(each.address, self._element(each)) for each in points]
                    yield from packed(types.reported, Cause.INTERROGATED, asdu.common_address, found, asdu.originator)
                yield asdu.answer(Cause.ACTIVATION_TERM)
            case TypeId.C_CI_NA if element[0] & 0x3F == _COUNTERS_GENERAL and element[0] >> 6 <= _FREEZE:
                yield asdu.answer(Cause.ACTIVATION_CON)
                if element[0] >> 6 == _FREEZE:
                    self._freeze(now_ms)
                else:
                    found = self._counters(now_ms)
                    yield from packed(TypeId.M_IT_TB, Cause.COUNTERS, asdu.common_address, found, asdu.originator)
                yield asdu.answer(Cause.ACTIVATION_TERM)
            case TypeId.C_RD_NA:
                point = self._monitored.get(address)
                if point is None or point.kind == "counter":
                    yield asdu.answer(Cause.UNKNOWN_OBJECT, negative=True)
                    return
                objects = ((address, self._element(point)),)
                yield msgspec.structs.replace(asdu, type=_TYPES[point.kind].reported, objects=objects)
            case TypeId.C_CS_NA:
                try:
                    said_ms = decode_time(element)
                except FrameError:
                    yield asdu.answer(Cause.ACTIVATION_CON, negative=True)
                    return
                before = encode_time(now_ms + self._offset_ms)
                if self._settings.follow_clock:
                    self._offset_ms = said_ms - now_ms
                changed = msgspec.structs.replace(asdu, objects=((address, before),))
                yield changed.answer(Cause.ACTIVATION_CON)
            case TypeId.C_TS_NA | TypeId.C_TS_TA:
                yield asdu.answer(Cause.ACTIVATION_CON)
            case _:  # a reset, groups, counters by group
                yield asdu.answer(Cause.ACTIVATION_CON, negative=True)

    def _counters(self, now_ms: int) -> list[tuple[int, bytes]]:
        """Return counters as they were frozen, with that time; before the first time, as they are."""
        if self._frozen is not None:
            dated = encode_time(self._frozen.at_ms)
            return [(address, element + dated) for address, element in self._frozen.elements.items()]
        dated = encode_time(now_ms + self._offset_ms)
        points = [each for each in self._monitored.values() if each.kind == "counter"]
        return [(each.address, self._element(each) + dated) for each in points]

    def _commanded(self, session: _Session, asdu: Asdu, now_s: float, now_ms: int) -> Iterator[Asdu]:
        """Yield the answers to a command: select, operate, or the end of a selection."""
        ((address, element),) = asdu.objects
        point = self._commands.get(address)
        if point is None or asdu.type not in _TYPES[point.kind][2:]:
            yield asdu.answer(Cause.UNKNOWN_OBJECT, negative=True)
            return
        size = SIZES[_TYPES[point.kind].commanded]
        selected = session.selected.pop(address, None)
        if asdu.cause == Cause.DEACTIVATION:
            yield asdu.answer(Cause.DEACTIVATION_CON, negative=selected is None)
            return
        value, qualifier = _value_of(point, element[:size])
        said = element[: size - 1] + bytes((qualifier & ~_SELECT, asdu.test))  # a test selects nothing that operates
        if not point.least <= value <= point.most or not self._timely(asdu, element[size:], now_ms):
            yield asdu.answer(Cause.ACTIVATION_CON, negative=True)
        elif qualifier & _SELECT:
            session.selected[address] = _Selected(said, now_s + self._settings.select_s)
            yield asdu.answer(Cause.ACTIVATION_CON)
        elif point.select and not (selected and selected.element == said and now_s < selected.until_s):
            yield asdu.answer(Cause.ACTIVATION_CON, negative=True)
        elif asdu.test or self._execute(address, value):
            yield asdu.answer(Cause.ACTIVATION_CON)
            yield asdu.answer(Cause.ACTIVATION_TERM)
        else:
            yield asdu.answer(Cause.ACTIVATION_CON, negative=True)

    def _timely(self, asdu: Asdu, dated: bytes, now_ms: int) -> bool:
        if asdu.type not in _DATED:
            return True
        try:
            age_ms = now_ms + self._offset_ms - decode_time(dated)
        except FrameError:
            return False
        return abs(age_ms) <= self._settings.command_age_s * 1000


def _value_of(point: CommandPoint, element: bytes) -> tuple[float, int]:
    """Return the value of a command and its qualifier; NaN for one that is no number."""
    if point.kind == "single":
        return float(element[0] & 1), element[0]
    if point.kind != "float":
        steps, qualifier = struct.unpack("<hB", element)
        return steps * point.unit / _STEPS[point.kind], qualifier
    value, qualifier = struct.unpack("<fB", element)
    return (value if math.isfinite(value) else math.nan), qualifier
