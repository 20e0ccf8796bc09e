"""CAN databases (DBC) as makers write them: what can be read is read, and each flaw is named with its line. Pure.

A flaw concerns a message, or some of its signals, or nothing that frames are decoded with. Whoever uses a message asks
`Dbc.use`, which is strict; flaws of the rest are warnings. Statements that say nothing of how frames are decoded
(comments, nodes, most attributes) are skipped.
"""

import codecs
import math
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from v2g.errors import ConfigError
from v2g.text import printable

MOST_BYTES: Final = 32 << 20
MOST_SIGNALS: Final = 2048
"""Signals of a message; further ones are flaws."""

MOST_FLAWS: Final = 10_000

LONGEST_MESSAGE: Final = 1785
"""Octets of the longest message: one of J1939's transport protocol."""

LARGEST_ID, STANDARD_ID = (1 << 29) - 1, 0x7FF
"""The largest identifiers: of 29 and of 11 bits."""

_EXTENDED, _INDEPENDENT = 1 << 31, 0xC0000000

_NUMBER = r"[-+]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][-+]?\d{1,4})?"
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_KEYWORD: Final = re.compile(
    r"\s*(VERSION|NS_|BS_|BU_|BO_|SG_|VAL_|VAL_TABLE_|CM_|BA_DEF_DEF_|BA_DEF_|BA_|SIG_VALTYPE_|SG_MUL_VAL_|BO_TX_BU_"
    r"|EV_|ENVVAR_DATA_|EV_DATA_|SGTYPE_VAL_|SGTYPE_|BA_DEF_SGTYPE_|BA_SGTYPE_|SIG_TYPE_REF_|SIG_GROUP_|SIGTYPE_VALTYPE_"
    r"|BA_DEF_DEF_REL_|BA_DEF_REL_|BA_REL_|BU_SG_REL_|BU_EV_REL_|BU_BO_REL_|FILTER|CAT_DEF_|CAT_)(?=[\s:\"]|\Z)"
)
_MESSAGE: Final = re.compile(r"\s*BO_\s+(\d{1,20})\s+([^\s:]+)\s*:\s*(\d{1,6})(?:\s+.*)?")
_SIGNAL: Final = re.compile(
    r"\s*SG_\s+(?P<name>[^\s:]+)\s*(?P<mux>M|m\d{1,9}M?)?\s*:\s*(?P<start>\d{1,6})\s*\|\s*(?P<length>\d{1,6})\s*@\s*"
    rf"(?P<order>[01])\s*(?P<sign>[-+])\s*\(\s*(?P<scale>{_NUMBER})\s*,\s*(?P<offset>{_NUMBER})\s*\)\s*"
    rf"(?:\[\s*(?P<low>{_NUMBER})\s*\|\s*(?P<high>{_NUMBER})\s*\])?\s*{_TEXT}.*"
)
_ENTRY: Final = re.compile(rf"\s*({_NUMBER})\s*{_TEXT}")
_VALUES: Final = re.compile(
    rf"\s*VAL_\s+(\d{{1,20}})\s+([^\s;]+)(?=[\s;])((?:{_ENTRY.pattern})*|\s+[A-Za-z_]\w*)\s*;\s*", re.DOTALL
)
_TABLE: Final = re.compile(rf"\s*VAL_TABLE_\s+([^\s;]+)(?=[\s;])((?:{_ENTRY.pattern})*)\s*;\s*", re.DOTALL)
_VALTYPE: Final = re.compile(r"\s*SIG_VALTYPE_\s+(\d{1,20})\s+(\S+?)\s*:?\s*([0-3])\s*;\s*")
_MULTIPLEXED: Final = re.compile(
    r"\s*SG_MUL_VAL_\s+(\d{1,20})\s+(\S+)\s+(\S+)\s+(\d{1,9}\s*-\s*\d{1,9}(?:[\s,]+\d{1,9}\s*-\s*\d{1,9})*)\s*;\s*"
)
_RANGE: Final = re.compile(r"(\d+)\s*-\s*(\d+)")
_ATTRIBUTE: Final = re.compile(
    rf'\s*BA_\s+"(\w+)"\s+(?:(BO_|SG_)\s+(\d{{1,20}})\s+)?(?:(\w+)\s+)?(?:{_TEXT}|({_NUMBER}))\s*;\s*'
)
_CHOICE: Final = re.compile(r'\s*BA_DEF_\s+BO_\s+"VFrameFormat"\s+ENUM\s+(.*);\s*')
_DEFAULT: Final = re.compile(rf'\s*BA_DEF_DEF_\s+"(VFrameFormat|ProtocolType)"\s+{_TEXT}\s*;\s*')
_WHOSE: Final = re.compile(r"\s*(?:VAL_|SIG_VALTYPE_|SG_MUL_VAL_)\s+(\d{1,20})\s+([^\s:]+)")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_ABSENCE_ATTRIBUTE: Final = re.compile(r"(?i).*(SNA|Invalid|NotAvail|Unavail|ErrorValue)")
_CODE: Final = re.compile(r"(?:0x([0-9A-Fa-f]{1,16})|([0-9A-Fa-f]{1,16})h|(\d{1,19}))\Z")
_FORMATS: Final = ("StandardCAN", "ExtendedCAN", "reserved", "J1939PG")
_SYMBOL: Final = re.compile(r"\s*(?:[A-Z_]+_|FILTER)?\s*")
"""In the list of new symbols, each on a line of its own."""
_COMMENT_END: Final = re.compile(r'"\s*;\s*\Z')
_LONGEST_LINE: Final = 4096
_FLOATS: Final = {("1", 32): "f", ("2", 64): "d"}

Ranges = tuple[tuple[int, int], ...]
_Key = tuple[int, bool]


class Flaw(NamedTuple):
    """What is wrong in a line of the file; `signals` of the message that it concerns, empty for the whole message."""

    line: int
    text: str
    signals: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class DbcSignal(msgspec.Struct):
    """A signal. `start` as in the file: the lowest bit of a little-endian signal, the highest of a big-endian one."""

    name: str
    line: int
    start: int
    length: int
    little: bool
    signed: bool
    scale: float
    offset: float
    minimum: float
    maximum: float
    """The range that the file gives, in `unit`; equal where it gives none."""
    unit: str
    multiplexer: bool = False
    selector: str = ""
    """The multiplexer that decides whether the signal is in a frame."""
    selected_by: Ranges = ()
    float_format: str = ""
    """`f` or `d` of `struct` for floating point."""
    names: dict[float, str] = {}
    """Named raw values."""
    absent: frozenset[float] = frozenset()
    """Raw values that an attribute calls invalid or not available."""

    @property
    def codes(self) -> tuple[int, int]:
        """Least and largest raw value of an integer."""
        return (-(1 << self.length - 1), (1 << self.length - 1) - 1) if self.signed else (0, (1 << self.length) - 1)

    @property
    def shift(self) -> int:
        """Place of the lowest bit from the right, little-endian; from the left of the highest bit, big-endian."""
        return self.start if self.little else self.start // 8 * 8 + 7 - self.start % 8

    def bits(self, octets: int) -> int:
        """Return a mask of the signal's bits in a message of so many octets: bit 8 n is the lowest of octet n."""
        if self.little:
            return ((1 << self.length) - 1) << self.start
        ones = ((1 << self.length) - 1) << max(0, 8 * octets - self.shift - self.length)
        return int.from_bytes(ones.to_bytes(max(octets, -(-ones.bit_length() // 8)), "big"), "little")

    def raw(self, data: bytes) -> float:
        """Return the raw value in the data of a frame that has all its bits."""
        if self.little:
            code = int.from_bytes(data, "little") >> self.start
        else:
            code = int.from_bytes(data, "big") >> 8 * len(data) - self.shift - self.length
        code &= (1 << self.length) - 1
        if self.float_format:
            number: float = struct.unpack(f">{self.float_format}", code.to_bytes(self.length // 8, "big"))[0]
            return number
        return code - (1 << self.length) if self.signed and code >> self.length - 1 else code


class DbcMessage(msgspec.Struct):
    """A message, and the flaws that concern it. `j1939`: whether it is one of J1939; None: the file does not say."""

    frame_id: int
    extended: bool
    name: str
    line: int
    length: int
    signals: dict[str, DbcSignal] = {}
    flaws: list[Flaw] = []
    j1939: bool | None = None

    @property
    def identity(self) -> int:
        """See the function."""
        return identity(self.frame_id, extended=self.extended)

    def present(self, signal: DbcSignal, data: bytes) -> bool:
        """Return whether a signal is in a frame with these data, by its multiplexers."""
        while signal.selector:
            above = self.signals[signal.selector]
            code = above.raw(data)
            if not any(low <= code <= high for low, high in signal.selected_by):
                return False
            signal = above
        return True


def identity(frame_id: int, *, extended: bool) -> int:
    """Return an identifier as no other has it: one of 29 bits whose number would fit into 11 has bit 31 set."""
    return frame_id | _EXTENDED if extended and frame_id <= STANDARD_ID else frame_id


class Dbc:
    """A database: its messages in the order of the file, and the flaws that concern none of them."""

    def __init__(self, messages: list[DbcMessage], flaws: list[Flaw]) -> None:
        self.messages = messages
        self._flaws = flaws
        self._named: defaultdict[str, list[DbcMessage]] = defaultdict(list)
        for each in messages:
            self._named[each.name].append(each)

    def use(self, message_name: str, *signals: str) -> DbcMessage:
        """Return a message for the use of some of its signals. Raises ConfigError if it is missing, or if what is
        wrong with it concerns one of them, or the multiplexer that one depends on."""
        found = self._named.get(message_name, [])
        flaws = [flaw for each in found for flaw in each.flaws]
        missing = [name for name in signals if not any(name in each.signals for each in found)]
        if missing or not found:
            what = f"signal {f'{message_name}.{missing[0]}'!r}" if missing else f"message {message_name!r}"
            reason = next((f": {flaw}" for flaw in flaws if missing and missing[0] in flaw.signals), "")
            known = ", ".join(found[0].signals if found else self._named)[:200]
            raise ConfigError(f"the CAN database has no {what}{reason}", hint=f"there are {known}")
        message = found[0]
        if any(_content(each) != _content(message) for each in found):
            lines = ", ".join(str(each.line) for each in found)
            raise ConfigError(f"the CAN database has several messages {message_name!r}: lines {lines}")
        needed = set(signals)
        for name in signals:
            while name := message.signals[name].selector:
                needed.add(name)
        for flaw in flaws:
            if not flaw.signals or flaw.signals & needed:
                raise ConfigError(f"CAN database, {flaw}", hint=f"correct {message_name}: its values are needed")
        return message

    def warnings(self, used: Iterable[str] = ()) -> list[Flaw]:
        """Return all flaws but those of messages in use, by line."""
        names = frozenset(used)
        rest = [flaw for each in self.messages if each.name not in names for flaw in each.flaws]
        kept = [flaw for name in names for each in self._named.get(name, ()) for flaw in each.flaws if flaw.signals]
        return sorted({*self._flaws, *rest, *kept})

    def sound(self) -> Iterator[DbcMessage]:
        """Yield messages that may be used with all their signals."""
        for each in self.messages:
            if not each.flaws and self._named[each.name] == [each]:
                yield each


def strict_text(dbc: Dbc) -> str:
    """Return the messages of a database that have no flaw, as a file that strict readers take, without named values."""
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_:"]
    types = []
    for message in dbc.sound():
        if not all(map(_IDENTIFIER.match, (message.name, *message.signals))) or not message.signals:
            continue
        number = message.frame_id | (_EXTENDED if message.extended else 0)
        lines.append(f"BO_ {number} {message.name}: {message.length} Vector__XXX")
        for each in message.signals.values():
            mux = (f"m{each.selected_by[0][0]}" if each.selector else "") + ("M" if each.multiplexer else "")
            form = f"{each.start}|{each.length}@{int(each.little)}{'-' if each.signed else '+'}"
            low, high = (0.0 if math.isnan(end) else end for end in (each.minimum, each.maximum))
            numbers = f"({each.scale:.17g},{each.offset:.17g}) [{low:.17g}|{high:.17g}]"
            lines.append(f' SG_ {each.name} {mux} : {form} {numbers} "{each.unit}" Vector__XXX')
            if each.float_format:
                types.append(f"SIG_VALTYPE_ {number} {each.name} : {'0fd'.index(each.float_format)};")
            if each.selector:
                ranges = ", ".join(f"{first}-{last}" for first, last in each.selected_by)
                types.append(f"SG_MUL_VAL_ {number} {each.name} {each.selector} {ranges};")
    return "\n".join((*lines, *types, ""))


def read_dbc(path: Path) -> Dbc:
    """Return the database in a file, in whatever encoding. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: CAN database: more than {MOST_BYTES} octets")
    try:
        return parse_dbc(_decoded(data))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", hint=error.hint) from None


def _decoded(data: bytes) -> str:
    """Return text in UTF-8 or UTF-16 with a byte-order mark, in UTF-8, or else in Windows' Western encoding."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def parse_dbc(text: str) -> Dbc:
    """Return the database in `text`. Raises ConfigError if it has no message at all."""
    reader = _Reader()
    for line, keyword, statement, ended in _statements(text):
        reader.take(line, keyword, statement, ended=ended)
    if not reader.messages:
        raise ConfigError("CAN database: there is no message in it", hint="it must be a DBC file")
    return reader.finished()


def _statements(text: str) -> Iterator[tuple[int, str, str, bool]]:
    """Yield each statement: its line, its keyword ("": none), its text, and whether it is complete.

    A message or signal is a line; other statements end with a semicolon outside texts, or, without one, where the next
    keyword begins a line. Comments, which may have any content, are left out.
    """
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    number, comments_end = 0, True
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        found = _KEYWORD.match(line)
        keyword = "" if found is None else found[1]
        if keyword in ("NS_", "BS_", "BU_", "VERSION"):
            while keyword == "NS_" and number < len(lines) and _SYMBOL.fullmatch(lines[number]):
                number += 1
            continue
        if keyword in ("", "BO_", "SG_"):
            yield first, keyword, line[:_LONGEST_LINE], True
            continue
        if keyword == "CM_":
            last = first
            while comments_end and last < len(lines) and not _COMMENT_END.search(lines[last - 1]):
                last += 1
            comments_end = _COMMENT_END.search(lines[last - 1]) is not None  # else none of the rest has an end
            number = last if comments_end else first
            continue
        parts, quoted = [line], _open_text(line, quoted=False)
        while (quoted or not parts[-1].rstrip().endswith(";")) and number < len(lines):
            if _KEYWORD.match(lines[number]):
                break
            parts.append(lines[number])
            quoted = _open_text(lines[number], quoted=quoted)
            number += 1
        yield first, keyword, "\n".join(parts), not quoted and parts[-1].rstrip().endswith(";")


def _open_text(line: str, *, quoted: bool) -> bool:
    """Return whether a text is open after a line."""
    return quoted ^ bool(len(re.findall(r'(?<!\\)"', line)) % 2)


class _Reader:
    """Collects statements."""

    def __init__(self) -> None:
        self.messages: list[DbcMessage] = []
        self._flaws: list[Flaw] = []
        self._by_id: dict[_Key, list[DbcMessage]] = {}
        self._current: DbcMessage | None = None
        self._raw_mux: list[tuple[DbcMessage, DbcSignal, str]] = []
        self._extended_mux: set[tuple[int, str]] = set()
        self._tables: dict[str, dict[float, str]] = {}
        self._later: list[tuple[int, str, str]] = []
        """Statements about signals, which come after all messages."""
        self._formats: tuple[str, ...] = _FORMATS
        self._default_format, self._protocol = "", ""
        self._long_names: list[tuple[DbcMessage, str, str]] = []

    def take(self, line: int, keyword: str, statement: str, *, ended: bool) -> None:
        if keyword == "BO_":
            self._current = self._message(line, statement)
        elif keyword == "SG_":
            self._signal(line, statement)
        elif not ended and keyword in ("VAL_", "SIG_VALTYPE_", "SG_MUL_VAL_"):
            self._spoilt(line, f"{keyword} does not end with a semicolon", statement)
        elif keyword in ("VAL_", "SIG_VALTYPE_", "SG_MUL_VAL_", "BA_"):
            self._later.append((line, keyword, statement))
        elif keyword == "VAL_TABLE_":
            if found := _TABLE.fullmatch(statement):
                self._tables[found[1]] = _entries(found[2])
            else:
                self._flaw(line, f"VAL_TABLE_ cannot be read: {_short(statement)}")
        elif keyword == "BA_DEF_" and (found := _CHOICE.fullmatch(statement)):
            self._formats = tuple(re.findall(_TEXT, found[1]))
        elif keyword == "BA_DEF_DEF_" and (found := _DEFAULT.fullmatch(statement)):
            if found[1] == "VFrameFormat":
                self._default_format = found[2]
            else:
                self._protocol = found[2]
        elif not keyword:
            self._flaw(line, f"not a statement: {_short(statement)}")

    def finished(self) -> Dbc:
        """Return the database once all statements are there."""
        for line, keyword, statement in self._later:
            if keyword == "VAL_":
                self._values(line, statement)
            elif keyword == "SIG_VALTYPE_":
                self._value_type(line, statement)
            elif keyword == "SG_MUL_VAL_":
                self._multiplexed(line, statement)
            else:
                self._attribute(line, statement)
        for message, signal, word in self._raw_mux:
            self._select(message, signal, word)
        protocol = {"": None}.get(self._protocol, "J1939" in self._protocol)
        for message in self.messages:
            if message.j1939 is None:
                message.j1939 = "J1939" in self._default_format or protocol
            message.flaws += _cycles(message)
            message.flaws += _overlaps(message)
        for message, signal_name, long_name in self._long_names:
            _rename(message, signal_name, long_name)
        return Dbc(self.messages, self._flaws)

    def _flaw(self, line: int, text: str) -> None:
        if len(self._flaws) < MOST_FLAWS:
            self._flaws.append(Flaw(line, text))

    def _spoilt(self, line: int, text: str, statement: str) -> None:
        """Note a flaw in a statement about a signal, which concerns that signal if it can be told."""
        found = _WHOSE.match(statement)
        messages = [] if found is None else self._by_id.get(_identifier(int(found[1])), [])
        text = f"{text}: {_short(statement)}"
        for each in messages:
            if found is not None and found[2] in each.signals:
                each.flaws.append(Flaw(line, text, frozenset((found[2],))))
                return
        self._flaw(line, text)

    def _message(self, line: int, statement: str) -> DbcMessage | None:
        found = _MESSAGE.fullmatch(statement)
        if found is None:
            self._flaw(line, f"BO_ cannot be read, its signals are left out: {_short(statement)}")
            return None
        number, name, length = int(found[1]), found[2], int(found[3])
        if number == _INDEPENDENT:  # where tools put signals of no message
            return DbcMessage(0, False, name, line, length, {}, [])  # noqa: FBT003
        frame_id, extended = _identifier(number)
        message = DbcMessage(frame_id, extended, name, line, length, {}, [])
        if number > LARGEST_ID | _EXTENDED or LARGEST_ID < number < _EXTENDED:
            message.flaws.append(Flaw(line, f"{_short(name)}: {number} is not an identifier of 11 or 29 bits"))
        elif extended and number < _EXTENDED:
            self._flaw(line, f"{_short(name)}: {number:#x} has more than 11 bits without the flag; taken as 29 bits")
        if not _IDENTIFIER.match(name):
            self._flaw(line, f"{_short(name)!r} is not a name as DBC has them")
        if not length <= LONGEST_MESSAGE:
            message.flaws.append(Flaw(line, f"{_short(name)} has {length} octets"))
        same_id = self._by_id.setdefault((frame_id, extended), [])
        if same_id:
            self._flaw(line, f"{_short(name)} has the identifier of {_short(same_id[0].name)}, line {same_id[0].line}")
        same_id.append(message)
        self.messages.append(message)
        return message

    def _signal(self, line: int, statement: str) -> None:
        message, found = self._current, _SIGNAL.fullmatch(statement)
        if message is None:
            return  # of a message that cannot be read
        if found is None:
            word = re.match(r"\s*SG_\s+([^\s:]+)", statement)
            signals = frozenset((word[1],)) if word else frozenset(("",))
            message.flaws.append(Flaw(line, f"SG_ cannot be read: {_short(statement)}", signals))
            return
        low, high = (math.nan, math.nan) if found["low"] is None else (float(found["low"]), float(found["high"]))
        signal = DbcSignal(
            found["name"], line, int(found["start"]), int(found["length"]), found["order"] == "1", found["sign"] == "-",
            float(found["scale"]), float(found["offset"]), low, high, found[found.re.groups],
            multiplexer=(found["mux"] or "").endswith("M"), names={},
        )  # fmt: skip
        name, problem = signal.name, ""
        if name in message.signals:
            problem = f"{_short(name)} is there twice, also in line {message.signals[name].line}"
        elif not 1 <= signal.length <= 8 * LONGEST_MESSAGE or signal.shift + signal.length > 8 * message.length:
            problem = f"{_short(name)} does not fit into the {message.length} octets of {_short(message.name)}"
        elif not signal.scale or not all(map(math.isfinite, (signal.scale, signal.offset))):
            problem = f"{_short(name)} has the factor {found['scale']} and the offset {found['offset']}"
        elif len(message.signals) >= MOST_SIGNALS:
            problem = f"{_short(message.name)} has more than {MOST_SIGNALS} signals"
        if problem:
            message.flaws.append(Flaw(line, problem, frozenset((name,))))
        if name in message.signals or len(message.signals) >= MOST_SIGNALS:
            return
        message.signals[name] = signal
        if not _IDENTIFIER.match(name):
            self._flaw(line, f"{_short(name)!r} is not a name as DBC has them")
        if (found["mux"] or "").startswith("m"):
            self._raw_mux.append((message, signal, found["mux"]))

    def _named_signals(self, line: int, keyword: str, number: str, name: str) -> list[tuple[DbcMessage, DbcSignal]]:
        """Return the signals that a statement is about; note a flaw if there are none."""
        messages = self._by_id.get(_identifier(int(number)), [])
        found = [(each, each.signals[name]) for each in messages if name in each.signals]
        if not found and int(number) != _INDEPENDENT:
            what = f"no signal {_short(name)}" if messages else f"no message {number}"
            self._flaw(line, f"{keyword} is not used: there is {what}")
        return found

    def _values(self, line: int, statement: str) -> None:
        found = _VALUES.fullmatch(statement)
        if found is None:
            if not re.match(r"\s*VAL_\s+[A-Za-z_]", statement):  # of an environment variable
                self._spoilt(line, "VAL_ cannot be read", statement)
            return
        reference = found[3].strip()
        names = self._tables.get(reference) if re.fullmatch(r"[A-Za-z_]\w*", reference) else _entries(found[3])
        if names is None:
            self._spoilt(line, "VAL_ names a table that is not there", statement)
            return
        for _, signal in self._named_signals(line, "VAL_", found[1], found[2]):
            _, most = signal.codes
            # codes of negative numbers are also written as they are on the bus
            wrap = 1 << signal.length if signal.signed and not signal.float_format else 0
            signal.names = {code - wrap if wrap and most < code < wrap else code: name for code, name in names.items()}

    def _value_type(self, line: int, statement: str) -> None:
        found = _VALTYPE.fullmatch(statement)
        if found is None:
            self._spoilt(line, "SIG_VALTYPE_ cannot be read", statement)
            return
        for message, signal in self._named_signals(line, "SIG_VALTYPE_", found[1], found[2]):
            if found[3] == "0":
                continue
            form = _FLOATS.get((found[3], signal.length))
            if form is None:
                text = f"{_short(signal.name)} of {signal.length} bits is no floating-point number"
                message.flaws.append(Flaw(line, text, frozenset((signal.name,))))
            else:
                signal.float_format = form

    def _multiplexed(self, line: int, statement: str) -> None:
        found = _MULTIPLEXED.fullmatch(statement)
        if found is None:
            self._spoilt(line, "SG_MUL_VAL_ cannot be read", statement)
            return
        for message, signal in self._named_signals(line, "SG_MUL_VAL_", found[1], found[2]):
            self._extended_mux.add((id(message), signal.name))
            above = message.signals.get(found[3])
            if above is None or above is signal:
                text = f"{_short(signal.name)} has no multiplexer {_short(found[3])}"
                message.flaws.append(Flaw(line, text, frozenset((signal.name,))))
                continue
            signal.selector = found[3]
            signal.selected_by = tuple((int(low), int(high)) for low, high in _RANGE.findall(found[4]))

    def _select(self, message: DbcMessage, signal: DbcSignal, word: str) -> None:
        """Give a multiplexed signal the only multiplexer of its message, unless it has one by SG_MUL_VAL_."""
        if (id(message), signal.name) in self._extended_mux:
            return
        above = [each.name for each in message.signals.values() if each.multiplexer and each is not signal]
        if len(above) != 1:
            text = f"{_short(signal.name)} is multiplexed, and {_short(message.name)} has {len(above)} multiplexers"
            message.flaws.append(Flaw(signal.line, text, frozenset((signal.name,))))
            return
        number = int(word[1:].removesuffix("M"))
        signal.selector, signal.selected_by = above[0], ((number, number),)

    def _attribute(self, line: int, statement: str) -> None:
        found = _ATTRIBUTE.fullmatch(statement)
        if found is None:
            return
        attribute, kind, number, name, text, value = found.groups()
        if kind is None:
            if attribute == "ProtocolType" and text is not None:
                self._protocol = text
            return
        messages = self._by_id.get(_identifier(int(number)), [])
        if kind == "BO_":
            for each in messages:
                if attribute == "VFrameFormat":
                    place = int(float(value)) if value else -1
                    word = text or (self._formats[place] if 0 <= place < len(self._formats) else "")
                    each.j1939 = "J1939" in word
                elif attribute == "SystemMessageLongSymbol" and text:
                    self._long_names.append((each, "", text))
            return
        for each in messages:
            if (signal := each.signals.get(name or "")) is None:
                continue
            if attribute == "SystemSignalLongSymbol" and text:
                self._long_names.append((each, signal.name, text))
            elif _ABSENCE_ATTRIBUTE.match(attribute) and (code := _CODE.match(text or value or "")):
                raw = int(code[1] or code[2] or code[3], 10 if code[3] else 16)
                least, most = signal.codes
                if signal.signed and raw > most:
                    raw -= 1 << signal.length
                if least <= raw <= most and not signal.float_format:
                    signal.absent |= {raw}


def _identifier(number: int) -> _Key:
    """Return an identifier, and whether it has 29 bits; one above 11 bits has, whether the file flags it or not."""
    return number & LARGEST_ID, number >= _EXTENDED or number > STANDARD_ID


def _entries(text: str) -> dict[float, str]:
    return {float(number): name.replace('\\"', '"') for number, name in _ENTRY.findall(text)}


def _short(text: str) -> str:
    return printable(" ".join(text[:200].split()))[:80]


def _content(message: DbcMessage) -> tuple[object, ...]:
    """Return what a message says, wherever it stands."""
    signals = [msgspec.structs.replace(each, line=0) for each in message.signals.values()]
    return message.frame_id, message.extended, message.length, signals


def _rename(message: DbcMessage, signal_name: str, long_name: str) -> None:
    """Give a message or signal the long name of which its name in the file is the beginning."""
    if not _IDENTIFIER.match(long_name):
        return
    if not signal_name:
        message.name = long_name
        return
    if long_name in message.signals:
        return
    message.signals = {long_name if name == signal_name else name: each for name, each in message.signals.items()}
    message.signals[long_name].name = long_name
    for each in message.signals.values():
        if each.selector == signal_name:
            each.selector = long_name
    message.flaws = [
        flaw._replace(signals=frozenset(long_name if name == signal_name else name for name in flaw.signals))
        for flaw in message.flaws
    ]


def _cycles(message: DbcMessage) -> Iterator[Flaw]:
    """Yield signals whose multiplexers depend on themselves, and release them."""
    for signal in message.signals.values():
        seen, above = {signal.name}, signal.selector
        while above and above not in seen:
            seen.add(above)
            above = message.signals[above].selector
        if above:
            signal.selector = ""
            text = f"the multiplexers of {_short(signal.name)} depend on each other"
            yield Flaw(signal.line, text, frozenset(seen))


def _overlaps(message: DbcMessage) -> Iterator[Flaw]:
    """Yield each pair of signals that share bits in one frame."""
    size = 8 * message.length
    masks = [(s, s.bits(message.length)) for s in message.signals.values() if s.shift + s.length <= size]
    covered = shared = 0
    for _, mask in masks:
        shared |= covered & mask
        covered |= mask
    conditions = {each.name: dict(_conditions(message, each)) for each, mask in masks if mask & shared}
    found = 0
    for (one, mask), (other, another) in combinations([each for each in masks if each[1] & shared], 2):
        if mask & another and found < MOST_SIGNALS and _coexist(conditions[one.name], conditions[other.name]):
            found += 1
            text = f"{_short(one.name)} (line {one.line}) and {_short(other.name)} share bits in {_short(message.name)}"
            yield Flaw(other.line, text, frozenset((one.name, other.name)))


def _conditions(message: DbcMessage, signal: DbcSignal) -> Iterator[tuple[str, Ranges]]:
    while signal.selector:
        yield signal.selector, signal.selected_by
        signal = message.signals[signal.selector]


def _coexist(one: Mapping[str, Ranges], other: Mapping[str, Ranges]) -> bool:
    """Return whether signals may be in one frame: no multiplexer that both depend on keeps them apart."""
    return all(
        any(low <= last and first <= high for low, high in one[name] for first, last in other[name])
        for name in one.keys() & other.keys()
    )
