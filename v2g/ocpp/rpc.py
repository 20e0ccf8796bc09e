"""OCPP-J remote procedure calls without I/O: the same peer serves station and CSMS (OCPP 2.0.1 and 2.1, part 4).

One `RpcPeer` lives as long as one WebSocket connection. The caller feeds text frames and requests, drains
`actions()`, executes them, and calls `tick` at `deadline()`. A malformed frame is answered or
ignored; it never ends the connection.
"""

import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Final, Literal, NamedTuple

import msgspec

from v2g import typed_json
from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError
from v2g.observe import Observe
from v2g.ocpp import routes
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import MAX_ID, read_call, read_payload, without_nul, write_payload

CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND = 2, 3, 4, 5, 6

MAX_FRAME: Final = 1_048_576
"""Longest frame (characters) that is parsed: a StopTransaction of 1.6 may have about 1,000 for each minute of its
transaction; the longest other message, a signed reading, has about 45,000."""

MAX_WAITING: Final = 256
"""Limit of queued own requests behind the outstanding one."""

MAX_QUEUED: Final = 1_048_576
"""Limit of queued requests of the peer, characters; one at a time is allowed (OCPP-J 4.1.1),
and peers send more. Beyond half of it only those of transactions are accepted."""

_PRECIOUS: Final = frozenset({"TransactionEvent", "StartTransaction", "StopTransaction"})
_EACH: Final = 500  # characters added for each


_CODES_16: Final = {
    "FormatViolation": "FormationViolation",
    "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
    "RpcFrameworkError": "ProtocolError",
    "MessageTypeNotSupported": "ProtocolError",
}
"""Codes of errors that 1.6 spells otherwise, or lacks."""

_REMEMBERED: Final = 4
"""Number of own answers with a stored action, should the peer complain."""

_HEAD: Final = 100
"""Characters in which a CALL's action begins and ends, except for unusual ones."""

_CALL_HEAD: Final = re.compile(r'\s*\[\s*2\s*,\s*"([^"\\]{1,36})"')
"""How a CALL begins, also one that is too long to be read."""

_NO_ID: Final = "CALL has no message id of 1 to 36 characters"

_decode_call = typed_json.decoder(tuple[Literal[2], str, str, msgspec.Raw]).decode


class Send(msgspec.Struct, frozen=True):
    """Send this text frame."""

    text: str


class Called(msgspec.Struct, frozen=True):
    """The peer's `request` must be answered: call `RpcPeer.answer` with this `id`, once."""

    id: str
    action: str
    request: Message


class SendReceived(msgspec.Struct, frozen=True):
    """The peer sent `message`, without an answer (2.1, SEND)."""

    action: str
    message: Message


class Answered(msgspec.Struct, frozen=True):
    """The own `request` was answered."""

    id: str
    request: Message
    response: Message


class Failed(msgspec.Struct, frozen=True):
    """The own `request` got no usable answer.

    `error` is OcppError (the peer's CALLERROR, or its response violated the schema; `answer` is the code),
    TimeoutExpired, or TransportError (not sent, or the connection was lost before the answer).
    """

    id: str
    request: Message
    error: OcppError | TimeoutExpired | TransportError


Action = Send | Called | SendReceived | Answered | Failed | Observe


Mend = Callable[[bytes, type[Message]], Message]


class _Call(NamedTuple):
    id: str
    request: Message
    frame: str
    timeout: float


@cache
def _answered_in(version: Version, handles: frozenset[str]) -> frozenset[str]:
    """Return the answered actions; all peers of a program share them."""
    return (handles & routes.known(version)) - routes.UNCONFIRMED


class RpcPeer:
    """One end of a connection.

    `version` is the negotiated one; `handles` are the actions answered by this end (others are NotSupported, unknown
    ones NotImplemented). `entropy(n)` returns n random bytes for message ids. `timeout` (s) is for
    answers. `mend` reads a payload that was refused, by the quirks of the peer, or raises OcppError, too; then `excuse`
    may return the answer that is sent in place of a CALLERROR.
    """

    __slots__ = (
        "_actions",
        "_answered",
        "_answers",
        "_closed",
        "_entropy",
        "_excuse",
        "_expires",
        "_handles",
        "_known",
        "_mend",
        "_open",
        "_outstanding",
        "_queue",
        "_queued",
        "_timeout",
        "_waiting",
        "version",
    )

    def __init__(
        self,
        version: Version,
        *,
        handles: Collection[str],
        entropy: Callable[[int], bytes],
        timeout: float = 30.0,
        mend: Mend | None = None,
        excuse: Callable[[str, OcppError], Message | None] = lambda _action, _error: None,
    ) -> None:
        self.version: Final = version
        self._handles = frozenset(handles)
        self._known = routes.known(version)
        self._answers = _answered_in(version, self._handles)
        self._entropy = entropy
        self._timeout = timeout
        self._mend = mend
        self._excuse = excuse
        self._actions: list[Action] = []
        self._waiting: list[_Call] = []  # no deque: an empty one takes 600 octets, for each of thousands
        self._outstanding: _Call | None = None
        self._expires = 0.0
        self._open: dict[str, str] = {}
        self._queue: list[tuple[str, str, Message, int]] = []
        self._queued = 0
        self._answered: tuple[tuple[str, str], ...] = ()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no own request is outstanding or queued."""
        return self._outstanding is None and not self._waiting

    def actions(self) -> list[Action]:
        """Return the pending actions, in order, and clear them."""
        drained, self._actions = self._actions, []
        return drained

    def deadline(self) -> float | None:
        """Return when `tick` is due, on the clock of `now`, or None."""
        return self._expires if self._outstanding else None

    def call(self, request: Message, now: float, *, timeout: float | None = None) -> str:
        """Send a request after all before it were answered; return its id. Answered or Failed follows.

        Raises OcppError when the request is unknown in this version or violates its schema, RefusedError when
        too many are queued.
        """
        action = routes.action_of(request)
        if action not in self._known:
            raise OcppError(f"OCPP {self.version} has no {action}", answer="NotImplemented")
        payload = write_payload(request, self.version)
        if self._closed or len(self._waiting) >= MAX_WAITING:
            raise RefusedError("the connection accepts no more requests", reason="closed" if self._closed else "full")
        identifier = self._entropy(16).hex()
        frame = f'[{CALL},"{identifier}","{action}",{payload.decode()}]'
        self._waiting.append(_Call(identifier, request, frame, self._timeout if timeout is None else timeout))
        self._next(now)
        return identifier

    def notify(self, message: Message) -> None:
        """Send an unanswered message (OCPP-J 2.1, 4.2.4).

        Raises OcppError when it violates its schema or is unknown in this version.
        """
        action = routes.action_of(message)
        if action not in routes.UNCONFIRMED or action not in self._known:
            raise OcppError(f"{action} is not sent without an answer in {self.version}", answer="NotSupported")
        payload = write_payload(message, self.version).decode()
        if not self._closed:
            self._actions.append(Send(f'[{SEND},"{self._entropy(16).hex()}","{action}",{payload}]'))

    def answer(self, identifier: str, answer: Message | OcppError) -> None:
        """Answer a request of the peer with its response, or with a CALLERROR of the error's code.

        A response that violates its schema is sent as InternalError. Unknown and answered ids are ignored.
        """
        action = self._open.pop(identifier, None)
        if action is None or self._closed:
            return
        self._send_answer(identifier, action, answer)
        if self._queue:
            identifier, action, request, size = self._queue.pop(0)
            self._queued -= size
            self._open[identifier] = action
            self._actions.append(Called(identifier, action, request))

    def _send_answer(self, identifier: str, action: str, answer: Message | OcppError) -> None:
        if isinstance(answer, Message):
            try:
                payload = write_payload(answer, self.version)
            except OcppError as error:
                self._observe("answer_invalid", action=action, reason=str(error))
                answer = OcppError("the answer could not be written", answer="InternalError")
            else:
                self._answered = (*self._answered[1 - _REMEMBERED :], (identifier, action))
                self._actions.append(Send(f"[{CALLRESULT},{_json(identifier)},{payload.decode()}]"))
                return
        self._send_error(CALLERROR, identifier, answer, action=action)

    def tick(self, now: float) -> None:
        """Fail the outstanding request when it has timed out."""
        if self._outstanding and now >= self._expires:
            call = self._outstanding
            self._fail(call, TimeoutExpired(f"{routes.action_of(call.request)} answer", call.timeout), now)

    def unsent(self, now: float) -> None:
        """Fail the outstanding request: it could not be sent."""
        if self._outstanding:
            self._fail(self._outstanding, TransportError("the request was not sent"), now)

    def close(self, now: float) -> None:
        """Fail all outstanding and queued requests: the connection is lost."""
        self._closed = True
        calls = [self._outstanding] if self._outstanding else []
        calls += self._waiting
        self._outstanding = None
        self._waiting.clear()
        self._open.clear()
        self._queue.clear()
        for call in calls:
            self._actions.append(Failed(call.id, call.request, TransportError("connection lost")))

    def receive(self, text: str, now: float) -> None:
        """Process one text frame. Never raises: errors are returned to the peer or reported."""
        if self._closed:
            return
        if len(text) > MAX_FRAME:
            head = _CALL_HEAD.match(text)
            reason = f"frame has {len(text)} characters, more than {MAX_FRAME}"
            self._refuse(reason, head.group(1) if head else "-1")
            return
        if self._receive_good_call(text):
            return
        try:
            _, found, action, payload = _decode_call(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            self._receive_other(text, now)  # not a CALL, or not a valid one
        else:
            self._receive_call(found, action, payload, len(text))

    def _receive_good_call(self, text: str) -> bool:
        """Process a plain CALL, as nearly all are; False for any other frame."""
        head = text[:_HEAD].split('"', 4)  # [2,"id","Action",{
        if len(head) < 5 or head[3] not in self._answers or self._open:
            return False
        action = head[3]
        found = read_call(text, action, self.version)
        if found is None:
            return False
        identifier, request = found
        self._open[identifier] = action
        self._actions.append(Called(identifier, action, request))
        return True

    def _receive_other(self, text: str, now: float) -> None:
        try:
            frame = typed_json.decode(text, list[msgspec.Raw])
            kind = typed_json.decode_sent(frame[0], int)
        except (msgspec.DecodeError, IndexError):
            self._refuse("frame is not a JSON array that begins with a message type number")
            return
        identifier = _text(frame[1]) if len(frame) > 1 else None
        if identifier is not None and not 0 < len(identifier) <= MAX_ID:
            identifier = None
        if kind == CALL:
            action = _text(frame[2]) if len(frame) == 4 else None
            if identifier is None or action is None:
                # answer an invalid CALL
                if identifier is None:
                    self._refuse(_NO_ID)
                    return
                reason = "action is not a string" if len(frame) == 4 else f"CALL has {len(frame)} elements instead of 4"
                self._send_error(CALLERROR, identifier, OcppError(reason, answer="RpcFrameworkError"))
            else:  # its message type is 2.0
                self._receive_call(identifier, action, frame[3], len(text))
        elif kind in (CALLRESULT, CALLERROR):
            self._receive_answer(kind, frame, identifier, now)
        elif kind == SEND and self.version == "2.1":
            self._receive_send(frame)
        elif kind == CALLRESULTERROR and self.version == "2.1":
            # record that the peer could not use an own answer (OCPP-J 2.1, 4.2.3); nothing more can be done
            action = next((action for answered, action in self._answered if answered == identifier), "")
            code, description = ((_text(each) or "")[:255] for each in (*frame[2:4], *_NOTHING)[:2])
            self._observe("call_result_error", action=action, code=code[:50], reason=description)
        elif self.version == "2.1":
            self._observe("message_type_ignored")  # OCPP-J 2.1, 4.4: ignore the payload
        else:
            error = OcppError(f"message type {kind} is not supported", answer="MessageTypeNotSupported")
            self._send_error(CALLERROR, identifier or "-1", error)

    def _receive_call(self, identifier: str, action: str, payload: msgspec.Raw, size: int) -> None:
        if not 0 < len(identifier) <= MAX_ID:
            self._refuse(_NO_ID)
            return
        try:
            if identifier in self._open or any(identifier == waiting[0] for waiting in self._queue):
                raise OcppError("a request with this id is being handled", answer="RpcFrameworkError")
            if action not in self._known:
                raise OcppError(f"{action[:50]!r} is not an action of OCPP {self.version}", answer="NotImplemented")
            if action not in self._handles or action in routes.UNCONFIRMED:
                raise OcppError(f"{action} is not supported", answer="NotSupported")
            try:
                request = self._read(payload, routes.request_type(action, self.version))
            except OcppError as error:
                if (excused := self._excuse(action, error)) is None:
                    raise
                self._send_answer(identifier, action, excused)
                return
            self._take(identifier, action, request, size + _EACH)
        except OcppError as error:
            self._send_error(CALLERROR, identifier, error, action=action)

    def _take(self, identifier: str, action: str, request: Message, size: int) -> None:
        """Queue a request for its turn. Raises OcppError when too much is queued."""
        if not self._open:
            self._open[identifier] = action
            self._actions.append(Called(identifier, action, request))
            return
        if self._queued + size > (MAX_QUEUED if action in _PRECIOUS else MAX_QUEUED // 2):
            raise OcppError("too many requests are queued", answer="GenericError")
        self._queue.append((identifier, action, request, size))
        self._queued += size

    def _read(self, raw: msgspec.Raw, type_: type[Message]) -> Message:
        payload = without_nul(bytes(raw))
        try:
            return read_payload(payload, type_, self.version)
        except OcppError:
            if self._mend is None:
                raise
            return self._mend(payload, type_)

    def _receive_send(self, frame: list[msgspec.Raw]) -> None:
        """Handle an unanswered message; errors are not answered either (OCPP-J 2.1, 4.2.4)."""
        action = _text(frame[2]) if len(frame) == 4 else None
        if action is None or action not in routes.UNCONFIRMED or action not in self._handles:
            self._observe("send_ignored")
            return
        try:
            message = self._read(frame[3], routes.request_type(action))
        except OcppError as error:
            self._observe("send_ignored", action=action, reason=str(error)[:255])
            return
        self._actions.append(SendReceived(action, message))

    def _receive_answer(self, kind: int, frame: list[msgspec.Raw], identifier: str | None, now: float) -> None:
        call = self._outstanding
        if call is None or identifier != call.id:
            # Late or unexpected: an answer must not be answered.
            self._observe(
                "answer_ignored", error=(_text(frame[2]) or "")[:50] if kind == CALLERROR and frame[2:] else ""
            )
            return
        if kind == CALLERROR:
            code = (_text(frame[2]) if len(frame) > 2 else None) or "GenericError"
            description = (_text(frame[3]) if len(frame) > 3 else None) or ""
            self._fail(call, OcppError(f"{code[:50]}: {description[:255]}", answer=code[:50]), now)
            return
        try:
            if len(frame) != 3:
                raise OcppError(f"CALLRESULT has {len(frame)} elements instead of 3", answer="RpcFrameworkError")
            type_ = routes.response_type(routes.action_of(call.request), self.version)
            response = self._read(frame[2], type_)
        except OcppError as error:
            if self.version == "2.1":
                self._send_error(CALLRESULTERROR, call.id, error, action=routes.action_of(call.request))
            self._fail(call, error, now)
            return
        self._actions.append(Answered(call.id, call.request, response))
        self._outstanding = None
        self._next(now)

    def _next(self, now: float) -> None:
        if self._outstanding is None and self._waiting:
            self._outstanding = self._waiting.pop(0)
            self._expires = now + self._outstanding.timeout
            self._actions.append(Send(self._outstanding.frame))

    def _fail(self, call: _Call, error: OcppError | TimeoutExpired | TransportError, now: float) -> None:
        self._actions.append(Failed(call.id, call.request, error))
        self._outstanding = None
        self._next(now)

    def _refuse(self, reason: str, identifier: str = "-1") -> None:
        """Answer a frame that is not read, by default one with an unreadable message id (OCPP-J 4.2.3)."""
        self._send_error(CALLERROR, identifier, OcppError(reason, answer="RpcFrameworkError"))

    def _send_error(self, kind: int, identifier: str, error: OcppError, *, action: str = "") -> None:
        refused = {"action": action[:MAX_ID], "id": identifier[:MAX_ID]}
        self._observe("frame_refused", code=error.answer, reason=str(error)[:255], **refused)
        code = _CODES_16.get(error.answer, error.answer) if self.version == "1.6" else error.answer
        description = str(error)[:255]
        self._actions.append(Send(f"[{kind},{_json(identifier)},{_json(code)},{_json(description)},{{}}]"))

    def _observe(self, name: str, **data: str) -> None:
        self._actions.append(Observe("ocpp", name, {**data}))


_NOTHING: Final = (msgspec.Raw(b'""'),) * 2


def _text(raw: msgspec.Raw) -> str | None:
    """Return a JSON string's content, or None for anything else."""
    try:
        return typed_json.decode(raw, str)
    except msgspec.DecodeError:
        return None


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
