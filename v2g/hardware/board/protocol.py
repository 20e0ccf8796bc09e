"""The protocol between the controller and a control board: ASCII lines with states and checksums. Pure.

`KIND SEQ key=value ...*CCCC` and a newline. Lines carry complete states, not changes, and are repeated: the next line
replaces a lost or broken one, and missing lines show that the other side failed. See docs/reference/board-protocol.md.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import FrameError
from v2g.hardware.board.inputs import Input
from v2g.hardware.faults import Light
from v2g.typed_json import Fields

VERSION: Final = 1
"""Protocol version. Another number is another protocol; new fields may be added without a new version."""

MAX_LINE: Final = 240
"""Bytes of a line with its newline; longer ones are discarded."""

SEQUENCES: Final = 65_536
BAUD_RATE: Final = 115_200

STATUS_S: Final = 0.02
"""Interval of a board's status without changes."""
SET_S: Final = 0.025
"""Interval of a controller's repeated commands."""
LOST_S: Final = 0.1
"""Time without lines after which either side considers the other failed."""

OFF: Final = 10_000
"""The duty cycle for an oscillator that is off, in 0.01 %."""

Duty = Annotated[int, Meta(ge=0, le=OFF)]
ShortText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:+-]{0,32}\Z")]
Millivolts = Annotated[int, Meta(ge=-20_000, le=20_000)]


class Hello(msgspec.Struct, frozen=True, tag="HELLO", kw_only=True):
    """Both ways: introduction. A board adds its name, serial number, firmware, and parts; `boot` changes
    with each of its starts. `monitor`: it runs the safety monitor and wants TELL."""

    version: Annotated[int, Meta(ge=0, le=999)]
    board: ShortText = ""
    serial: ShortText = ""
    firmware: ShortText = ""
    boot: Annotated[int, Meta(ge=0, le=2**32)] = 0
    contactor: bool = False
    latch: bool = False
    fan: bool = False
    monitor: bool = False


class Set(msgspec.Struct, frozen=True, tag="SET", kw_only=True):
    """Controller to board: the complete commanded state. `duty` in 0.01 %, 10000 is off; `pilot` forces E or F;
    `fan` percent. `told` is the number of the last TELL: a board with a monitor closes only after it has
    taken that. The defaults are the safe state."""

    duty: Duty = OFF
    pilot: Literal["run", "E", "F"] = "run"
    contactor: bool = False
    latch: bool = False
    fan: Annotated[int, Meta(ge=0, le=100)] = 0
    light: Light = "available"
    told: Annotated[int, Meta(ge=0, lt=SEQUENCES)] = 0


class BoardStatus(msgspec.Struct, frozen=True, tag="STATUS", kw_only=True):
    """Board to controller: the present state. `set` is the sequence number of the last executed SET, `cp` the filtered
    pilot state, `high` and `low` its levels (mV; no `low` while the oscillator is off), `pp` the proximity contact
    (ohm; none is open), `contactor` and `latch` their auxiliary contacts, `fan` rpm. `told` is the number of
    the last TELL taken, `rule` why the monitor keeps the contactor open."""

    set: Annotated[int, Meta(ge=0, lt=SEQUENCES)]
    cp: Literal["A", "B", "C", "D", "E", "F"]
    high: Millivolts
    low: Millivolts | None = None
    duty: Duty = OFF
    pp: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    contactor: bool = False
    latch: bool = False
    estop: bool = False
    fan: Annotated[int, Meta(ge=0, le=100_000)] = 0
    told: Annotated[int, Meta(ge=0, lt=SEQUENCES)] = 0
    rule: ShortText = ""


class Temperatures(msgspec.Struct, frozen=True, tag="TEMP"):
    """Board to controller: each sensor's temperature in 0.1 degrees C by name, None for a failed one."""

    sensors: dict[str, int | None]


class StatusQuery(msgspec.Struct, frozen=True, tag="TELL"):
    """Controller to a board with a monitor: input `n` of it (1 follows 0 and 65535), with the fields of `what`. The
    board takes inputs in order, each once; the controller repeats those that STATUS has not acknowledged (`told`)."""

    n: Annotated[int, Meta(ge=1, lt=SEQUENCES)]
    input: Input


class RefusedLine(msgspec.Struct, frozen=True, tag="NAK", kw_only=True):
    """Either way: the last HELLO was of another version, or a SET came before any HELLO."""

    reason: ShortText = ""


Message = Hello | Set | BoardStatus | Temperatures | StatusQuery | RefusedLine

_KINDS: Final[dict[str, type[Hello | Set | BoardStatus | RefusedLine]]] = {
    str(kind.__struct_config__.tag): kind for kind in (Hello, Set, BoardStatus, RefusedLine)
}
_LINE: Final = re.compile(
    rb"(?P<kind>[A-Z]{1,8}) (?P<seq>[0-9]{1,5})(?P<fields>(?: [a-z_]{1,16}=[A-Za-z0-9_.:+-]{0,32}){0,16})"
    rb"\*(?P<check>[0-9A-F]{4})"
)


class BoardLine(msgspec.Struct, frozen=True):
    """One line: its number and its message."""

    seq: int
    message: Message


def checksum(body: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of everything before the asterisk."""
    return binascii.crc_hqx(body, 0xFFFF)


def encode(line: BoardLine) -> bytes:
    """Return the line with its checksum and newline."""
    message = line.message
    match message:
        case Temperatures(sensors=sensors):
            fields = {name: "none" if value is None else str(value) for name, value in sensors.items()}
        case StatusQuery(n=n, input=told):
            fields = {"n": str(n), "what": str(told.__struct_config__.tag), **_fields(told)}
        case _:
            fields = _fields(message)
    parts = (str(message.__struct_config__.tag), str(line.seq), *(f"{name}={text}" for name, text in fields.items()))
    body = " ".join(parts).encode("ascii")
    return body + b"*%04X\n" % checksum(body)


def _fields(struct: msgspec.Struct) -> dict[str, str]:
    return {
        name: str(int(value) if isinstance(value, bool) else value)
        for name, value in msgspec.structs.asdict(struct).items()
        if value is not None
    }


def decode(line: bytes) -> BoardLine | None:
    """Return the message of a line without its newline, None for an unknown kind of a newer version.

    Raises FrameError for an invalid line, a wrong checksum, or a field outside its range.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise FrameError(f"{line[:32]!r} is not a line of the board protocol")
    if checksum(line[:-5]) != int(found["check"], 16):
        raise FrameError("the checksum is wrong")
    seq = int(found["seq"])
    if seq >= SEQUENCES:
        raise FrameError(f"sequence number {seq}")
    pairs = [field.split("=", 1) for field in found["fields"].decode("ascii").split()]
    kind = found["kind"].decode("ascii")
    if kind == Temperatures.__struct_config__.tag:
        sensors: dict[str, str | None] = {name: None if text == "none" else text for name, text in pairs}
        try:
            converted = typed_json.convert(
                sensors, dict[str, Annotated[int, Meta(ge=-2_731, le=20_000)] | None], strict=False
            )
        except msgspec.ValidationError as error:
            raise FrameError(f"TEMP: {error}") from None
        return BoardLine(seq, Temperatures(converted))
    fields: Fields = dict(pairs)
    struct: Any = _KINDS.get(kind)
    if kind == StatusQuery.__struct_config__.tag:
        struct, fields = StatusQuery, {"n": fields.get("n"), "input": fields}
    if struct is None:
        return None
    try:
        return BoardLine(seq, typed_json.convert(fields, struct, strict=False))
    except msgspec.ValidationError as error:
        raise FrameError(f"{kind}: {error}") from None


class LineReader:
    """Splits a stream into lines: invalid data is counted and discarded, and the buffer is bounded."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False
        self.broken = 0
        """Number of invalid lines."""

    def feed(self, data: bytes) -> Iterator[BoardLine]:
        """Yield the complete lines; unknown kinds are skipped."""
        for part in data.splitlines(keepends=True):
            ended = part.endswith((b"\n", b"\r"))
            if self._skipping:
                self._skipping = not ended
                continue
            self._rest += part
            if not ended:
                if len(self._rest) >= MAX_LINE:
                    self._overlong()
                    self._skipping = True
                continue
            text = bytes(self._rest).strip(b"\r\n")
            self._rest.clear()
            if not text:
                continue
            if len(text) >= MAX_LINE:
                self._overlong()
                continue
            try:
                line = decode(text)
            except FrameError:
                self.broken += 1
                continue
            if line is not None:
                yield line

    def _overlong(self) -> None:
        self._rest.clear()
        self.broken += 1
