"""One OCPP-J connection of the tester, as station or as back end: calls, answers, and every frame judged.

Frames are plain JSON here, so that a case can send what no correct program would. The official schemas of the package
`ocpp` judge what the device sends.

The verdict of one case comes from its script and its frames.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from v2g import typed_json
from v2g.errors import OcppError, TransportError
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.rpc import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND
from v2g.ocpp.versions import MAX_ID
from v2g.text import printable
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.case import CaseTest, Ended, Failed, Payload, WrongAnswer
from v2g_testkit.official_schemas import FrameJudge

_log = logging.getLogger(__name__)

CODES: Final = frozenset({
    "FormatViolation", "FormationViolation", "GenericError", "InternalError", "MessageTypeNotSupported",
    "NotImplemented", "NotSupported", "OccurrenceConstraintViolation", "PropertyConstraintViolation", "ProtocolError",
    "OccurenceConstraintViolation", "RpcFrameworkError", "SecurityError", "TypeConstraintViolation",
})  # fmt: skip
"""Error codes of OCPP-J 4.3; that of 1.6 has one r in Occurence."""

_ONLY_16: Final = frozenset({"FormationViolation", "OccurenceConstraintViolation"})

MOST_FRAMES: Final = 10_000
"""Stored frames of one case; a device that floods the tester does not fill its memory."""

_MOST_UNREAD: Final = 100
"""Frames that have arrived and wait for their turn; then the device has to wait."""

PATIENCE_S: Final = 10.0
"""An answer that comes later than this may be too late: the device may have given its request up."""

_CONNECTIONS: Final = itertools.count(1)


class CallError(WrongAnswer):
    """A CALLERROR: what `call` raises, and what a request may be answered with. Uncaught it fails a case."""

    def __init__(
        self, code: str, description: str = "", details: Mapping[str, object] | None = None, *, action: str = ""
    ) -> None:
        """`action` is that of the request that the device answers so."""
        about = f" as the answer to {action}" if action else ""
        found = f"CALLERROR {code}{about}" + (f": {printable(description)}" if description else "")
        super().__init__(found, "OCPP-J 4.2.3" if action else "")
        self.code, self.description, self.details = code, description, dict(details or {})


class Frame(msgspec.Struct, frozen=True):
    """A frame, `sent` or `received` by the tester; `at_s` of the loop's clock, `fault` what is wrong with it."""

    at_s: float
    way: Literal["sent", "received", "note"]
    text: str
    fault: str = ""
    station: str = ""
    connection: int = 0
    """Which of the tester's connections it belongs to."""
    secret: bool = False
    """Whether a password has been replaced in its text."""


def without_secrets(frame: Frame, secrets: Iterable[str]) -> Frame:
    """Return a frame whose text does not have these texts; shorter ones than 8 characters may stand there by chance."""
    for each in secrets:
        if len(each) >= 8 and each in frame.text:
            frame = replace(frame, text=frame.text.replace(each, "***"), secret=True)
    return frame


class Received(msgspec.Struct, frozen=True):
    """A request of the device."""

    action: str
    payload: Payload
    at_s: float


Answer = Payload | CallError | Callable[[Payload], "Payload | CallError | None"] | None
"""A payload, a CALLERROR, a function of the request that returns one, or None for no answer."""


class Inbox:
    """Requests of the device which no case has looked at yet, over all of its connections."""

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self._came = asyncio.Event()

    def add(self, message: Received) -> None:
        """Store a request."""
        if len(self.messages) < MOST_FRAMES:
            self.messages.append(message)
        self._came.set()

    async def take(
        self, matches: Callable[[Received], bool], within: float, *, skip: bool = False, keep: bool = False
    ) -> Received | None:
        """Return the first match, which may have come before; None after `within` seconds.

        `skip`: forget what came before it. `keep`: leave it for others.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    self._came.clear()
                    found = next((each for each in self.messages if matches(each)), None)
                    if found is not None and keep:
                        return found
                    if found is not None:
                        at = next(number for number, each in enumerate(self.messages) if each is found)
                        del self.messages[0 if skip else at : at + 1]
                        return found
                    await self._came.wait()
        return None

    async def expect(
        self, action: str, fields: Mapping[str, object], requirement: str, within: float, *, skip: bool = False
    ) -> Payload:
        """Return the next request of an action with these values, each at a path (see `field_of`). Raises Failed."""
        found = await self.take(having(action, fields), within, skip=skip)
        if found is None:
            about = ", ".join(f"{name.replace('__', '.')}={value}" for name, value in fields.items())
            others = {each.action for each in self.messages}
            sent = f"; it sent {', '.join(sorted(others))}" if others else ""
            raise Failed(f"no {action} {about}".rstrip() + f" within {within:g} s{sent}", requirement)
        return found.payload


def field_of(payload: object, path: str) -> Any:
    """Return the value at a path such as `transactionInfo__chargingState`; None if there is none."""
    for name in path.split("__"):
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload


def having(action: str, fields: Mapping[str, object]) -> Callable[[Received], bool]:
    """Return whether a request is of an action and has these values, each at a path."""
    return lambda each: (
        each.action == action and all(field_of(each.payload, path) == value for path, value in fields.items())
    )


class Connection:
    """A connection with a device, which `run` reads until it ends.

    `answer` returns the answer to a request of the device; `log` takes each frame; `role` is the tester's.
    """

    def __init__(
        self,
        socket: OcppSocket,
        inbox: Inbox,
        *,
        role: Literal["csms", "station"],
        answer: Callable[[str, Payload], Payload | CallError | None],
        log: Callable[[Frame], None],
    ) -> None:
        self.version: Final = socket.version
        self.identity: Final = socket.identity
        self.is_open = True
        self._socket = socket
        self._inbox = inbox
        self._from_station = role == "csms"
        self._answer = answer
        self._log = log
        self._judge = FrameJudge(socket.version)
        self._number = next(_CONNECTIONS)
        self._held: list[tuple[float, list[object]]] | None = None
        """Answers that are sent later, while answers are held, each with when it was due."""
        self._asked: dict[str, tuple[str, asyncio.Future[Payload]]] = {}
        """Message id of each request that waits for its answer -> its action, and the answer."""

    async def run(self) -> None:
        """Read frames until the connection ends.

        Each is logged when it arrives, also while an earlier one is answered: a device may not send a second request
        before it has the answer to the first one (OCPP-J 4.1.1).
        """
        texts: asyncio.Queue[str | None] = asyncio.Queue(_MOST_UNREAD)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(texts))
                while (text := await texts.get()) is not None:
                    await self._handle_safely(text)
        finally:
            self.is_open = False
            for _, each in self._asked.values():
                if not each.done():
                    each.set_exception(Failed("the connection ended before the answer"))
                    each.exception()  # marked as read: its caller may have timed out

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Send answers to the device after the body."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            for _, each in held or ():
                await self._reply(each)

    def impatient(self, timeout_s: float = PATIENCE_S) -> tuple[bool, str, str]:
        """Return for a check whether the device waits for a held answer, until its timeout."""
        times = [at for at, _ in self._held or ()]
        waits = all(later - sooner >= timeout_s for sooner, later in itertools.pairwise(times))
        return waits, "OCPP-J 4.1.1", f"sends {len(times)} requests before it has the answer to the first one"

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""
        self.is_open = False
        await self._socket.close(reason, code=code)

    async def call(self, action: str, payload: Payload, within: float) -> Payload:
        """Send a request and return the answer's payload. Raises CallError, Failed without an answer."""
        identifier = str(uuid.uuid4())  # unique over all connections of an identity (OCPP-J 4.1.4)
        answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._asked[identifier] = action, answer
        await self.send([CALL, identifier, action, payload])
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise Failed(f"no answer to {action} within {within:g} s", "OCPP-J 4.1") from None
        finally:
            self._asked.pop(identifier, None)

    async def send(self, frame: list[object] | str) -> None:
        """Send a frame as it is. Raises Failed without a connection."""
        text = frame if isinstance(frame, str) else json.dumps(frame)
        self._judge.judge(text, from_station=not self._from_station)  # what its answer belongs to
        self._log(Frame(_now(), "sent", text, station=self.identity, connection=self._number))
        try:
            await self._socket.send(text)
        except TransportError as error:
            raise Failed(f"the connection is lost: {error}") from None

    async def _read(self, texts: "asyncio.Queue[str | None]") -> None:
        try:
            while True:
                text = await self._socket.receive()
                fault = malformed(text, self.version) or self._judge.judge(text, from_station=self._from_station) or ""
                self._log(Frame(_now(), "received", text, fault, self.identity, self._number))
                await texts.put(text)
        except TransportError as error:
            self._note(f"connection ended: {error}")
        await texts.put(None)  # not when it is cancelled: nobody reads then, and the queue may be full

    async def _handle_safely(self, text: str) -> None:
        """Handle a frame; a tester that fails on it must not let the device pass."""
        try:
            await self._handle(text)
        except Exception as error:  # noqa: BLE001 - see above
            _log.exception("the tester failed on a frame")
            fault = f"the tester failed on a frame: {type(error).__name__}: {error}"
            self._log(Frame(_now(), "note", text, fault, self.identity, self._number))

    async def _handle(self, text: str) -> None:
        try:
            frame = json.loads(text, parse_float=typed_json.number)
        except (ValueError, RecursionError):
            return
        match frame:
            case [kind, str() as identifier, str() as action, dict() as payload] if kind in (CALL, SEND):
                self._inbox.add(Received(action, payload, _now()))
                answer = self._answered(action, payload) if kind == CALL else None
                if isinstance(answer, CallError):
                    await self._reply([CALLERROR, identifier, answer.code, answer.description, answer.details])
                elif answer is not None:
                    await self._reply([CALLRESULT, identifier, answer])
            case [3, str() as identifier, dict() as payload]:
                self._finish(identifier, payload)
            case [4, str() as identifier, str() as code, *rest]:
                action = self._asked[identifier][0] if identifier in self._asked else ""
                description = rest[0] if rest and isinstance(rest[0], str) else ""
                self._finish(identifier, CallError(code, description, action=action))

    def _answered(self, action: str, payload: Payload) -> Payload | CallError | None:
        try:
            return self._answer(action, payload)
        except (KeyError, TypeError, AttributeError):  # what the schema has found wrong in it is in the log
            return CallError("FormatViolation", "the tester cannot read this request")

    async def _reply(self, frame: list[object]) -> None:
        if self._held is not None:
            self._held.append((_now(), frame))
            return
        with contextlib.suppress(Failed):
            await self.send(frame)

    def _finish(self, identifier: str, answer: Payload | CallError) -> None:
        _, asked = self._asked.get(identifier, ("", None))
        if asked is None or asked.done():
            self._note(f"an answer to no request: {identifier[:MAX_ID]!r}")
        elif isinstance(answer, CallError):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)

    def _note(self, text: str) -> None:
        self._log(Frame(_now(), "note", text, station=self.identity, connection=self._number))


async def judge_unknown(t: CaseTest, answer: Awaitable[Payload]) -> None:
    """Check how a device answers a request whose action no version has. Raises Failed."""
    try:
        found = await answer
    except CallError as error:
        # the codes differ in whether the action is recognised, which implementations take differently
        known = "NotImplemented", "NotSupported"
        t.one_of(error.code, known, "OCPP-J 4.3", "answers an unknown action with {}")
    except Failed:
        t.judged += 1  # what is invalid may be dropped (OCPP-J 4.2.3)
    else:
        t.equal(found, None, "OCPP-J 4.3", "answers an unknown action with {}")


def decoded(text: str) -> object:
    """Return the JSON of a frame, or the text if it is none."""
    try:
        return json.loads(text, parse_float=typed_json.number)
    except (ValueError, RecursionError):
        return text


def malformed(text: str, version: str) -> str:
    """Return what is wrong with the form of a frame (OCPP-J 4.2), or nothing."""
    if not text:
        return "an empty or binary frame instead of text"
    try:
        try:
            frame = json.loads(
                text, parse_float=typed_json.number, parse_constant=_refuse, object_pairs_hook=_unambiguous
            )
            json.dumps(frame, ensure_ascii=False).encode()
        except KeyError as error:
            return f"an object has the name {_short(error.args[0])} twice"
        except UnicodeEncodeError:
            return "has half of a surrogate pair, which UTF-8 cannot say"
        except ValueError:
            return "not JSON"
        if not isinstance(frame, list) or len(frame) < 2:
            return "not a message of OCPP-J"
        kind, identifier = frame[0], frame[1]
        lengths = {CALL: 4, CALLRESULT: 3, CALLERROR: 5} | ({CALLRESULTERROR: 5, SEND: 4} if version == "2.1" else {})
        if not isinstance(kind, int) or isinstance(kind, bool) or kind not in lengths:
            return f"message type {_short(kind)} is not of OCPP {version}"
        if len(frame) != lengths[kind]:
            return f"{len(frame)} elements instead of {lengths[kind]}"
        unknown = kind in (CALLERROR, CALLRESULTERROR) and identifier == "-1"
        if not isinstance(identifier, str) or not (0 < len(identifier) <= MAX_ID or unknown):
            return f"message id {_short(identifier)} is not a text of 1 to {MAX_ID} characters"
        if kind in (CALLERROR, CALLRESULTERROR):
            if not isinstance(frame[2], str) or frame[2] not in CODES - (frozenset() if version == "1.6" else _ONLY_16):
                return f"error code {_short(frame[2])} is not of OCPP {version}"
            longest = 255 if version != "1.6" else len(text)
            if not isinstance(frame[3], str) or len(frame[3]) > longest or not isinstance(frame[4], dict):
                return "error description or details have the wrong form"
            return ""
        if kind != CALLRESULT and not isinstance(frame[2], str):
            return f"action {_short(frame[2])} is not a text"
        return "" if isinstance(frame[-1], dict) else f"payload {_short(frame[-1])} is not an object"
    except RecursionError:
        return "nested too deeply"


def _refuse(constant: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(constant)


def _unambiguous(members: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object, of which receivers may read either of two members with one name (RFC 8259, 4)."""
    found = dict(members)
    if len(found) < len(members):
        raise KeyError(next(name for name, count in Counter(name for name, _ in members).items() if count > 1))
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _now() -> float:
    return asyncio.get_running_loop().time()


MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OcppError)
"""What reading a payload of a wrong form raises; the schema has found it."""

LONGEST_S: Final = 900.0
"""Longest time of one case."""


async def verdict_of(case: str, script: Awaitable[int], frames: Sequence[Frame]) -> Result:
    """Run the script of a case, which returns how many duties it judged; return its result.

    An invalid frame of the device fails a case that would pass.
    """
    began = asyncio.get_running_loop().time()
    verdict, found = Verdict.PASS, ""
    try:
        async with asyncio.timeout(LONGEST_S):
            if not await script:
                verdict, found = Verdict.NOT_EXERCISED, "nothing that the case judges has happened"
    except Ended as end:
        verdict, found = end.verdict, str(end)
    except TimeoutError:
        verdict, found = Verdict.INCONCLUSIVE, f"took longer than {LONGEST_S:g} s"
    except MALFORMED as error:
        # what the script reads is judged by the schema at the same time: a wrong form is the reason, or our fault
        verdict, found = Verdict.INCONCLUSIVE, f"the case cannot read what the device sent: {error!r}"
    except Exception as error:  # noqa: BLE001 - a tester that fails must not let the device pass, nor end the run
        _log.exception("%s", case)
        verdict, found = Verdict.INCONCLUSIVE, f"the tester failed: {type(error).__name__}: {error}"
    faults = [each for each in frames if each.fault]
    if faults and verdict is not Verdict.NOT_APPLICABLE:
        before = f"{found}; " if verdict is Verdict.FAIL else ""
        verdict, found = Verdict.FAIL, f"{before}sends an invalid frame: {faults[0].fault} (OCPP-J 4.2)"
    seconds = asyncio.get_running_loop().time() - began
    return Result(case=case, verdict=verdict, found=found or "as required", seconds=seconds)
