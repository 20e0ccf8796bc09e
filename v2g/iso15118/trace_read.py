"""Analysis of a trace: exchanges with response times, important fields, and differences between two conversations.

Pure: `v2g trace` reads the file and shows the result.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final

import msgspec

from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.din.timing import MESSAGES as MESSAGES_DIN
from v2g.iso15118.engine.message_timing import MessageTiming
from v2g.iso15118.trace import Line

VEHICLE, CHARGER = "vehicle", "charger"

_FIRST: Final[tuple[str, ...]] = (
    "ResponseCode", "ChargeProgress", "ChargingSession", "EVProcessing", "EVSEProcessing", "SchemaID", "EVCCID",
    "EVSEID", "SelectedAuthorizationService", "ServiceID", "ParameterSetID", "EVSENotification", "PresentSOC",
    "EVSEPresentVoltage", "EVSEPresentCurrent", "EVSEPresentActivePower", "EVTargetVoltage", "EVPresentVoltage",
    "EVTargetCurrent", "EVRESSSOC", "EVSEStatusCode", "ReadyToChargeState",
    "ChargedEnergyReadingWh", "BPT_DischargedEnergyReadingWh",
)  # fmt: skip
"""Elements that people look for first, in the order shown."""

_ROWS: Final = {**MESSAGES_DIN, **MESSAGES_2}
"""Times of messages that share the stream of the handshake; -2 allows longer ones than DIN 70121."""

_LONGEST: Final = 48
"""Longest text, characters, in a summary; longer ones are certificates and signatures."""

VOLATILE: Final = re.compile(
    r"(TimeStamp|Timestamp|TimeAnchor|SessionID|GenChallenge|SignatureValue|DigestValue"
    r"|_ms|offer_id|session_id|nonce|Signer)\Z"
)
"""Elements that differ between any two sessions: times, random numbers, signatures."""


class Entry(msgspec.Struct, frozen=True):
    """A line in its conversation.

    `number` counts the lines of the file from 1, `at_ms` the time since the conversation's first line, `answer_ms`,
    of a response, that since its request.
    """

    number: int
    line: Line
    at_ms: float
    answer_ms: float | None = None

    @property
    def speaker(self) -> str:
        """Its sender, or an empty text for a fact."""
        if self.line.way == "fact":
            return ""
        ours, theirs = (VEHICLE, CHARGER) if self.line.process == "evcc" else (CHARGER, VEHICLE)
        return ours if self.line.way == "out" else theirs

    @property
    def row(self) -> MessageTiming | None:
        """The times of its exchange in its edition, None if that has none."""
        return (_ROWS if self.line.stream == "SAP" else MESSAGES).get(_request(self.line.name))

    @property
    def late(self) -> bool:
        """Whether a response exceeded the standard's limit for the charger."""
        row = self.row
        return self.answer_ms is not None and row is not None and self.answer_ms > row.performance * 1000


def entries(lines: Iterable[Line]) -> list[Entry]:
    """Return the lines of a trace with their response times, in order."""
    found: list[Entry] = []
    begun: dict[str, float] = {}
    asked: dict[tuple[str, str, str], float] = {}
    for number, line in enumerate(lines, 1):
        first = begun.setdefault(line.run, line.mono_ms)
        answer: float | None = None
        if line.name.endswith("Req"):
            asked[line.run, line.stream, line.name] = line.mono_ms
        elif line.name.endswith("Res"):
            since = asked.pop((line.run, line.stream, _request(line.name)), None)
            answer = None if since is None else round(line.mono_ms - since, 3)
        found.append(Entry(number, line, round(line.mono_ms - first, 3), answer))
    return found


def runs(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return the conversations of a trace by run."""
    sorted_: dict[str, list[Entry]] = {}
    for each in found:
        sorted_.setdefault(each.line.run, []).append(each)
    return sorted_


# -- content of a message -----------------------------------------------------------------------------------------


def leaves(body: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield path and value of everything in a message; RationalNumber and PhysicalValue are one value."""
    if isinstance(body, dict):
        if body.keys() == {"Exponent", "Value"}:
            yield path, body["Value"] * 10 ** body["Exponent"]
            return
        if body.keys() - {"Unit"} == {"Multiplier", "Value"}:
            yield path, body["Value"] * 10 ** body["Multiplier"]
            return
        for name, each in body.items():
            yield from leaves(each, f"{path}/{name}" if path else name)
        if not body and path:
            yield path, {}
    elif isinstance(body, list):
        for at, each in enumerate(body):
            yield from leaves(each, f"{path}[{at}]")
    else:
        yield path, body


def summary(line: Line, *, most: int = 6) -> list[tuple[str, str]]:
    """Return the most important fields, by the last part of their path; of a handshake all that the vehicle offers."""
    if line.name == "SupportedAppProtocolReq" and isinstance(line.body, dict):
        return [_offer(each) for each in line.body.get("AppProtocol", ())]
    shown: dict[str, str] = {}
    for path, value in leaves(line.body):
        name = path.rpartition("/")[2]
        short = value not in (None, {}) and len(str(value)) <= _LONGEST
        if short and not path.startswith("Header/") and "Signature" not in path and name not in shown:
            shown[name] = word(value)
    order = [name for name in _FIRST if name in shown]
    order += [name for name in shown if name not in order]
    return [(name, shown[name]) for name in order[:most]]


def _offer(entry: object) -> tuple[str, str]:
    """Return an entry of SupportedAppProtocolReq: its priority, and namespace, version and SchemaID."""
    known = entry if isinstance(entry, dict) else {}
    version = f"{known.get('VersionNumberMajor', '?')}.{known.get('VersionNumberMinor', '?')}"
    shown = f"{known.get('ProtocolNamespace', '?')} {version}, SchemaID {known.get('SchemaID', '?')}"
    return f"Priority {known.get('Priority', '?')}", shown


def word(value: object) -> str:
    """Return a value for display."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# -- response times -----------------------------------------------------------------------------------------------


class Times(msgspec.Struct, frozen=True):
    """Response times of one kind of exchange, ms; `performance` and `timeout` are the standard's."""

    message: str
    count: int
    median: float
    p99: float
    longest: float
    performance: float | None
    timeout: float | None
    late: int


def times(found: Iterable[Entry]) -> list[Times]:
    """Return the response times of each request, and the vehicle's times from a response to its next request."""
    answers: dict[str, list[float]] = {}
    limits: dict[str, MessageTiming | None] = {}
    pauses: dict[str, list[float]] = {}
    last: dict[str, Entry] = {}
    for each in found:
        if each.answer_ms is not None:
            answers.setdefault(_request(each.line.name), []).append(each.answer_ms)
            limits.setdefault(_request(each.line.name), each.row)
            if not parallel(each.line):
                last[each.line.run] = each
        elif each.line.name.endswith("Req") and not parallel(each.line):
            before = last.pop(each.line.run, None)
            if before is not None:
                looping = before.line.name.endswith("ChargeLoopRes")
                kind = "vehicle, after a loop" if looping else "vehicle, to its next request"
                pauses.setdefault(kind, []).append(each.at_ms - before.at_ms)
    rows = [_times(name, values, *_limits(limits[name])) for name, values in answers.items()]
    performance = Timing()
    own = {
        "vehicle, to its next request": performance.evcc_sequence_performance,
        "vehicle, after a loop": performance.evcc_loop_performance,
    }
    return rows + [_times(name, pauses[name], limit * 1000, None) for name, limit in own.items() if name in pauses]


def _times(name: str, values: list[float], performance: float | None, timeout: float | None) -> Times:
    values = sorted(values)
    late = sum(value > performance for value in values) if performance is not None else 0
    return Times(
        name,
        len(values),
        values[len(values) // 2],
        values[min(len(values) - 1, len(values) * 99 // 100)],
        values[-1],
        performance,
        timeout,
        late,
    )


def _limits(row: MessageTiming | None) -> tuple[float | None, float | None]:
    return (row.performance * 1000, row.timeout * 1000) if row is not None else (None, None)


def _request(name: str) -> str:
    return name.removesuffix("Res").removesuffix("Req") + "Req"


_PARALLEL: Final = frozenset(
    {"SCHEDULE_RENEGOTIATION", "METERING_CONFIRMATION", "ACDP_SYSTEM_STATUS", "PARKING_STATUS", "SIGNED_DISCHARGE"}
)


def parallel(line: Line) -> bool:
    """Return whether a message is on a side stream."""
    return line.stream in _PARALLEL


def _stream(line: Line) -> str:
    return line.stream if parallel(line) else ""


# -- differences between two conversations ------------------------------------------------------------------------


class Field(msgspec.Struct, frozen=True):
    """A different value: in how many exchanges of the group, and both values at the first one (None: absent)."""

    path: str
    times: int
    a: object
    b: object


class Difference(msgspec.Struct, frozen=True):
    """A group of equal requests in sequence that differs: how many there are, and the differences.

    `first` are the numbers of the first lines in either trace, 0 if there is none.
    """

    message: str
    count: tuple[int, int]
    first: tuple[int, int]
    fields: tuple[Field, ...] = ()


Exchange = tuple[Entry, ...]
"""A request and its response, or one message without response."""


def differences(a: Sequence[Entry], b: Sequence[Entry], *, strict: bool = False) -> list[Difference]:
    """Return the differences of two conversations. Times, random numbers and signatures count only if `strict`.

    The traces may be of either side, so the two ends of one conversation can be compared, too.
    """
    streams = dict.fromkeys(_stream(each.line) for each in (*a, *b) if each.line.way != "fact")
    found: list[Difference] = []
    for stream in streams:  # side streams have no order with the main one
        ours, theirs = (_groups([each for each in side if _stream(each.line) == stream]) for side in (a, b))
        found += _aligned(ours, theirs, strict=strict)
    return found


Group = tuple[str, list["Exchange"]]
"""Equal requests in sequence."""


def _aligned(a: list[Group], b: list[Group], *, strict: bool) -> Iterator[Difference]:
    names = [[name for name, _ in side] for side in (a, b)]
    for tag, a_from, a_to, b_from, b_to in SequenceMatcher(None, names[0], names[1], autojunk=False).get_opcodes():
        if tag == "equal":
            for ours, theirs in zip(a[a_from:a_to], b[b_from:b_to], strict=True):
                difference = _compare(ours, theirs, strict=strict)
                if difference is not None:
                    yield difference
            continue
        yield from (Difference(name, (len(x), 0), (x[0][0].number, 0)) for name, x in a[a_from:a_to])
        yield from (Difference(name, (0, len(x)), (0, x[0][0].number)) for name, x in b[b_from:b_to])


def _groups(found: Sequence[Entry]) -> list[Group]:
    return [(name, list(group)) for name, group in groupby(_exchanges(found), key=lambda each: each[0].line.name)]


def _exchanges(found: Sequence[Entry]) -> list[Exchange]:
    made: list[list[Entry]] = []
    open_: dict[tuple[str, str], list[Entry]] = {}
    for each in found:
        if each.line.way == "fact":
            continue
        waiting = open_.pop((each.line.stream, _request(each.line.name)), None)
        if each.line.name.endswith("Res") and waiting is not None:
            waiting.append(each)
            continue
        made.append([each])
        if each.line.name.endswith("Req"):
            open_[each.line.stream, each.line.name] = made[-1]
    return [tuple(each) for each in made]


def _compare(a: Group, b: Group, *, strict: bool) -> Difference | None:
    fields: dict[str, Field] = {}
    for one, other in zip(a[1], b[1], strict=False):
        left, right = _values(one, strict=strict), _values(other, strict=strict)
        for path in [*left, *(path for path in right if path not in left)]:
            if left.get(path) != right.get(path):
                known = fields.get(path)
                fields[path] = (
                    Field(path, 1, left.get(path), right.get(path))
                    if known is None
                    else msgspec.structs.replace(known, times=known.times + 1)
                )
    count = (len(a[1]), len(b[1]))
    if not fields and count[0] == count[1]:
        return None
    return Difference(a[0], count, (a[1][0][0].number, b[1][0][0].number), tuple(fields.values()))


def _values(exchange: Exchange, *, strict: bool) -> dict[str, object]:
    """Return the content of an exchange, by message and path."""
    found: dict[str, object] = {}
    for each in exchange:
        line = each.line
        found[f"{line.name}, next state"] = line.next
        if line.error:
            found[f"{line.name}, error"] = line.error
        for path, value in leaves(line.body):
            if strict or not VOLATILE.search(path):
                found[f"{line.name}/{path}"] = value
        if strict and each.answer_ms is not None:
            found[f"{line.name}, answered after ms"] = each.answer_ms
    return found
