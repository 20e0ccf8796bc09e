"""One station at a scripted back end: answers, calls, what it did, and the report. No I/O: time is an argument."""

import heapq
import itertools
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from csms.cluster.frames import presentable
from csms.script.declared import ANY, Call, Expectation, ScriptedAnswer, StationScript, answer_payload
from csms.script.payloads import matches, response_payload, unmet
from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.routes import UNCONFIRMED, Version, known, request_type, response_type
from v2g.ocpp.rpc import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND
from v2g.ocpp.versions import MAX_ID, read_payload


class SendText(msgspec.Struct, frozen=True):
    """Send this text as a frame."""

    text: str


class CloseNow(msgspec.Struct, frozen=True):
    """Close the connection."""

    code: int


class Line(msgspec.Struct, frozen=True):
    """A line of the live log. `mark`: `<` from the station, `>` to it, `.` about it, `!` wrong."""

    mark: str
    text: str


Action = SendText | CloseNow | Line


_LATE_S: Final = 0.001  # an expectation fails after its time, not at it


class CallState:
    """Progress of a call of the script."""

    def __init__(self, call: Call, name: str) -> None:
        self.call: Final = call
        self.name: Final = name
        self.seen = 0
        self.sent = 0
        self.first_sent: float | None = None
        self.answered = 0
        self.problems: list[str] = []

    @property
    def done(self) -> bool:
        """Whether it has been sent completely and, where it has an answer, answered or timed out."""
        return self.answered == self.call.times


class _Open(NamedTuple):
    """A call that waits for its answer, which has one of `ids`, until it expires."""

    state: CallState
    ids: frozenset[str]
    expires: float


class ExpectationWatch:
    """Progress of an expectation."""

    def __init__(self, expected: Expectation) -> None:
        self.expected: Final = expected
        self.since: float | None = None
        self.count = 0
        self.reached: float | None = None

    def see(self, now: float) -> None:
        """Count a matching request."""
        if self.since is not None:
            self.count += 1
            if self.count >= self.expected.at_least and self.reached is None:
                self.reached = now

    def failed(self, now: float) -> bool:
        """Return whether it can no longer be met."""
        expected = self.expected
        if expected.at_most is not None and self.count > expected.at_most:
            return True
        if expected.within_s is None or self.since is None or expected.at_least == 0:
            return False
        return (now if self.reached is None else self.reached) - self.since > expected.within_s

    def met(self, now: float) -> bool:
        """Return whether it is met so far."""
        reached = self.reached is not None or (self.expected.at_least == 0 and self.since is not None)
        return reached and not self.failed(now)


class ScriptedLine:
    """The back end's side of one station, over all its connections. `entropy(n)` returns n random bytes for ids."""

    def __init__(self, script: StationScript, station_id: str, entropy: Callable[[int], bytes]) -> None:
        self.station_id: Final = station_id
        self.version: Version = script.versions[0]
        self.requests: Final[Counter[str]] = Counter()
        self.problems: Final[list[str]] = []
        self.calls: Final = [
            CallState(call, call.name or f"{call.action or 'frame'} ({number})")
            for number, call in enumerate(script.calls, 1)
        ]
        self.watches: Final = [ExpectationWatch(expected) for expected in script.expect]
        self._script = script
        self._entropy = entropy
        self._uses = [0] * len(script.answers)
        self._actions: deque[Action] = deque()
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._serial = itertools.count()
        self._queue: deque[CallState] = deque()
        self._outstanding: _Open | None = None
        self._loose: set[str] = set()
        self._connections = 0
        self._connected = False
        self._utc_ms = 0

    # -- events

    def connected(self, version: Version, now: float, utc_ms: int) -> int:
        """Handle a connection; the first one starts the script. Returns the number of the connection."""
        self.version, self._connected, self._utc_ms = version, True, utc_ms
        self._connections += 1
        self._log(".", f"connected, OCPP {version}")
        if self._connections == 1:
            for state in self.calls:
                if not state.call.after:
                    self._plan(state, now)
            for watch in self.watches:
                if not watch.expected.after:
                    watch.since = now
        self._next(now)
        return self._connections

    def disconnected(self, connection: int, now: float) -> bool:
        """Handle the end of a connection. False: the station has a newer one."""
        if connection != self._connections:
            return False
        self._connected = False
        self._log(".", "disconnected")
        if self._outstanding is not None:
            self._end_call(self._outstanding.state, now, "the connection ended before the answer")
        return True

    def receive(self, text: str, now: float, utc_ms: int) -> None:
        """Handle a frame of the station."""
        self._utc_ms = utc_ms
        try:
            frame = msgspec.json.decode(typed_json.whole_numbers(text))
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            frame = None
        if not isinstance(frame, list) or len(frame) < 2 or not isinstance(frame[0], int):
            self._wrong(f"not an OCPP-J message: {text[:80]!r}")
            self._error("-1", "RpcFrameworkError", "not an OCPP-J message", now, 0.0)
            return
        kind = frame[0]
        if kind == CALL or (kind == SEND and self.version == "2.1"):
            self._receive_request(frame, now, answered=kind == CALL)
        elif kind in (CALLRESULT, CALLERROR) and isinstance(frame[1], str):
            self._receive_answer(frame, now)
        elif kind != CALLRESULTERROR or self.version != "2.1":
            self._wrong(f"unexpected frame: {short(frame)}")

    def tick(self, now: float, utc_ms: int) -> None:
        """Perform all due actions."""
        self._utc_ms = utc_ms
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2](now)
        if self._outstanding is not None and now >= self._outstanding.expires:
            state = self._outstanding.state
            limit = state.call.within_s or self._script.call_timeout_s
            self._end_call(state, now, f"no answer within {limit:g} s")

    def deadline(self, now: float) -> float | None:
        """Return when `tick` is due, or when an expectation will have failed; None for neither."""
        due = [self._agenda[0][0]] if self._agenda else []
        if self._outstanding is not None:
            due.append(self._outstanding.expires)
        late = (
            watch.since + watch.expected.within_s for watch in self.watches if watch.since and watch.expected.within_s
        )
        due += [at + _LATE_S for at in late if at + _LATE_S > now]
        return min(due, default=None)

    def actions(self) -> list[Action]:
        """Return the pending effects, in order, and clear them."""
        drained = list(self._actions)
        self._actions.clear()
        return drained

    # -- requests from the station

    def _receive_request(self, frame: list[Any], now: float, *, answered: bool) -> None:
        identifier, action, payload = (*frame[1:4], None, None, None)[:3]
        readable = isinstance(identifier, str) and 0 < len(identifier) <= MAX_ID
        if len(frame) != 4 or not readable:
            self._wrong(f"a request that is not [2, id, action, payload]: {short(frame)}")
            # OCPP-J 4.2.3: -1 only where the message id cannot be read
            self._error(str(identifier) if readable else "-1", "RpcFrameworkError", "not a CALL", now, 0.0)
            return
        self._log("<", f"{action} {short(payload)}")
        try:
            if not isinstance(action, str) or action not in known(self.version):
                raise OcppError(f"{action!r} is not an action of OCPP {self.version}", answer="NotImplemented")
            if (action in UNCONFIRMED) == answered:
                raise OcppError(f"{action} has another message type", answer="RpcFrameworkError")
            read_payload(msgspec.json.encode(payload), request_type(action, self.version), self.version)
        except OcppError as error:
            self._wrong(f"{action}: {error}")
            if answered:
                self._error(identifier, error.answer, str(error)[:255], now, 0.0)
            return
        self.requests[action] += 1
        for watch in self.watches:
            if watch.expected.action == action and matches(watch.expected.when, payload):
                watch.see(now)
        delay_s = self._answer(identifier, action, payload, now) if answered else 0.0
        for state in self.calls:
            if state.call.after == action and matches(state.call.when, payload):
                state.seen += 1
                if state.seen == state.call.count:
                    self._plan(state, now + delay_s)

    def _answer(self, identifier: str, action: str, payload: dict[str, object], now: float) -> float:
        """Apply the script to a request; return its delay (s)."""
        answer = self._chosen(action, payload)
        if answer is None:
            if self._script.default == "not_supported":
                self._error(identifier, "NotSupported", "by the script", now, 0.0)
                return 0.0
            answer = ScriptedAnswer(action=ANY, do=self._script.default)
        match answer.do:
            case "silent":
                self._log(".", f"{action} is not answered")
            case "error":
                self._error(identifier, answer.code, answer.description, now, answer.delay_s)
            case "close":
                self._at(now + answer.delay_s, lambda _: self._actions.append(CloseNow(answer.close_code)))
            case "malformed":
                self._damage(identifier, action, payload, answer, now)
            case _:
                content = self._content(answer, action, payload)
                self._send(now + answer.delay_s, f"{action} {short(content)}", [CALLRESULT, identifier, content])
        return answer.delay_s

    def _chosen(self, action: str, payload: dict[str, object]) -> ScriptedAnswer | None:
        for number, answer in enumerate(self._script.answers):
            used_up = answer.times is not None and self._uses[number] >= answer.times
            if not used_up and answer.action in (action, ANY) and matches(answer.when, payload):
                self._uses[number] += 1
                return answer
        return None

    def _content(self, answer: ScriptedAnswer, action: str, payload: dict[str, object]) -> dict[str, object]:
        if answer.do == "reject" and self._standard(action, payload, good=False) is None:
            return self._standard(action, payload, good=True) or {}  # cannot reject: `default`
        return answer_payload(answer, action, payload, self._utc_ms, self.version)

    def _standard(self, action: str, payload: dict[str, object], *, good: bool) -> dict[str, object] | None:
        return response_payload(action, payload, good=good, utc_ms=self._utc_ms, version=self.version)

    def _damage(
        self, identifier: str, action: str, payload: dict[str, object], answer: ScriptedAnswer, now: float
    ) -> None:
        content = self._standard(action, payload, good=True) or {}
        frame: list[object] = [CALLRESULT, identifier, content]
        text = ""
        match answer.how:
            case "not_json":
                text = msgspec.json.encode(frame).decode()[:-1]
            case "not_an_array":
                frame_ = {"messageTypeId": CALLRESULT, "id": identifier, "payload": content}
                text = msgspec.json.encode(frame_).decode()
            case "wrong_id":
                frame[1] = self._entropy(16).hex()
            case "no_payload":
                del frame[2]
            case "text_payload":
                frame[2] = "nonsense"
            case "missing_field":
                frame[2] = dict(list(content.items())[1:])
            case "unknown_field":
                frame[2] = {**content, "unheardOf": 1}
        text = text or msgspec.json.encode(frame).decode()
        for _ in range(2 if answer.how == "twice" else 1):
            self._send_text(now + answer.delay_s, f"{action} damaged ({answer.how}): {text[:100]}", text)

    def _error(self, identifier: str, code: str, description: str, now: float, delay_s: float) -> None:
        self._send(now + delay_s, f"{code} {description}", [CALLERROR, identifier, code, description, {}])

    # -- requests of the script

    def _plan(self, state: CallState, now: float) -> None:
        for number in range(state.call.times):
            due = now + state.call.delay_s + number * state.call.every_s
            self._at(due, lambda at: self._queue_call(state, at))

    def _queue_call(self, state: CallState, now: float) -> None:
        self._queue.append(state)
        self._next(now)

    def _next(self, now: float) -> None:
        """Send the next call, one at a time (OCPP-J 4.1.1); a raw frame expects no answer."""
        while self._connected and self._outstanding is None and self._queue:
            state = self._queue.popleft()
            call = state.call
            state.sent += 1
            if state.first_sent is None:
                state.first_sent = now
                for watch in self.watches:
                    if call.name and watch.expected.after == call.name and watch.since is None:
                        watch.since = now
            expires = now + (call.within_s or self._script.call_timeout_s)
            if call.frame:
                self._send_frame(state, now, expires)
                continue
            identifier = self._entropy(16).hex()
            self._outstanding = _Open(state, frozenset({identifier}), expires)
            text = f"{call.action} {short(call.payload)}"
            self._send(now, text, [CALL, identifier, call.action, call.payload])

    def _send_frame(self, state: CallState, now: float, expires: float) -> None:
        """Send a text unchanged; wait only if the script specifies the answer."""
        call = state.call
        self._send_text(now, f"frame {call.frame[:100]}", call.frame)
        ids = frozenset({"-1", *re.findall(r'^\s*\[\s*\d+\s*,\s*"([^"]+)"', call.frame)})
        if call.expect or call.error:
            self._outstanding = _Open(state, ids, expires)
        else:
            self._loose |= ids
            state.answered += 1

    def _receive_answer(self, frame: list[object], now: float) -> None:
        if self._outstanding is None or frame[1] not in self._outstanding.ids:
            if frame[1] in self._loose:
                self._log("<", f"answer to a frame: {short(frame[2:])}")
            else:
                self._wrong(f"unexpected answer: {short(frame)}")
            return
        state = self._outstanding.state
        call = state.call
        if frame[0] == CALLERROR:
            code = frame[2] if len(frame) > 2 else "no code"
            self._log("<", f"{state.name} CALLERROR {short(frame[2:])}")
            self._end_call(state, now, "" if call.error == code else f"CALLERROR {code}")
            return
        payload = frame[2] if len(frame) == 3 else None
        self._log("<", f"{state.name} {short(payload)}")
        problem = ""
        if call.action and not call.unchecked:
            try:
                read_payload(msgspec.json.encode(payload), response_type(call.action, self.version), self.version)
            except OcppError as error:
                problem = f"the answer violates the schema: {error}"
        if call.error:
            problem = f"answered, where CALLERROR {call.error} was expected"
        self._end_call(state, now, problem or "; ".join(unmet(call.expect, payload)))

    def _end_call(self, state: CallState, now: float, problem: str) -> None:
        self._outstanding = None
        state.answered += 1
        if problem:
            state.problems.append(problem)
            self._log("!", f"{state.name}: {problem}")
        if state.call.name and state.answered == state.call.times:
            for other in self.calls:
                if other.call.after == state.call.name:
                    self._plan(other, now)
        self._next(now)

    # -- output

    def _send(self, at: float, shown: str, frame: list[object]) -> None:
        self._send_text(at, shown, msgspec.json.encode(frame).decode())

    def _send_text(self, at: float, shown: str, text: str) -> None:
        def send(_: float) -> None:
            if self._connected:
                self._log(">", shown)
                self._actions.append(SendText(text))

        self._at(at, send)

    def _at(self, at: float, work: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._serial), work))

    def _wrong(self, problem: str) -> None:
        self.problems.append(problem)
        self._log("!", problem)

    def _log(self, mark: str, text: str) -> None:
        self._actions.append(Line(mark, text))


_WIDTH: Final = 160


def short(payload: object) -> str:
    """Return a payload on one line, truncated, without secrets."""
    text = presentable(msgspec.json.encode(payload).decode())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


class ScriptCheck(msgspec.Struct, frozen=True):
    """One check, and its result."""

    station: str
    what: str
    ok: bool
    detail: str = ""


class ScriptReport(msgspec.Struct, frozen=True):
    """A run: its checks, and how many requests of each action each station sent."""

    checks: tuple[ScriptCheck, ...]
    requests: dict[str, dict[str, int]]

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(check.ok for check in self.checks)


def report(script: StationScript, lines: Iterable[ScriptedLine], now: float) -> ScriptReport:
    """Return the report if the run ends now."""
    lines = list(lines)
    checks = [check for line in lines for check in _checks(script, line, now)]
    if not lines:
        checks = [ScriptCheck("", "a station connects", ok=False, detail="none did")]
    return ScriptReport(tuple(checks), {line.station_id: dict(sorted(line.requests.items())) for line in lines})


def settled(script: StationScript, lines: Iterable[ScriptedLine], now: float) -> bool:
    """Return whether the report is final, apart from further errors.

    A script without calls and expectations is never final; one with `at_most` only at the end of its
    time.
    """
    lines = list(lines)
    if not lines or not (script.calls or script.expect):
        return False
    if script.duration_s is not None and any(each.at_most is not None for each in script.expect):
        return False
    return all(
        all(state.done for state in line.calls) and all(watch.met(now) or watch.failed(now) for watch in line.watches)
        for line in lines
    )


def _checks(script: StationScript, line: ScriptedLine, now: float) -> Iterator[ScriptCheck]:
    for state in line.calls:
        yield _call(line.station_id, state)
    for watch in line.watches:
        yield _expectation(line.station_id, watch, now)
    if script.strict:
        detail = "; ".join(line.problems[:5])
        more = f"; and {len(line.problems) - 5} more" if len(line.problems) > 5 else ""
        yield ScriptCheck(
            line.station_id, "frames conform to OCPP-J and the schemas", ok=not line.problems, detail=detail + more
        )


def _call(station: str, state: CallState) -> ScriptCheck:
    if not state.done and not state.problems:
        detail = "never sent" if state.sent == 0 else f"answered {state.answered} of {state.call.times} times"
        return ScriptCheck(station, state.name, ok=False, detail=detail)
    return ScriptCheck(station, state.name, ok=not state.problems, detail="; ".join(state.problems))


def _expectation(station: str, watch: ExpectationWatch, now: float) -> ScriptCheck:
    expected = watch.expected
    name = expected.name or expected.action
    if watch.met(now):
        return ScriptCheck(station, name, ok=True, detail=f"{watch.count} times")
    if watch.since is None:
        return ScriptCheck(station, name, ok=False, detail=f"{expected.after} was never sent")
    wanted = f"at least {expected.at_least}"
    if expected.at_most is not None:
        wanted += f", at most {expected.at_most}"
    if expected.within_s is not None:
        wanted += f" within {expected.within_s:g} s"
    late = watch.reached is not None and watch.failed(now) and watch.count <= (expected.at_most or watch.count)
    after = f", after {watch.reached - watch.since:.1f} s" if late and watch.reached is not None else ""
    return ScriptCheck(station, name, ok=False, detail=f"{watch.count} times{after}; expected {wanted}")
