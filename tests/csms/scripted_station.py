"""A charging station that does what a test says, joined to a back end in memory: no network, no TLS, no sleep.

Every frame that the back end sends is checked: its form by OCPP-J, its payload by the official JSON schema.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from tests.ocpp.official import validator
from v2g.ocpp.routes import Version

CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND = 2, 3, 4, 5, 6
PATIENCE_S = 60.0
"""How long a test waits before it fails; nothing waits that long when things work."""

CODES = frozenset({
    "FormatViolation", "FormationViolation", "GenericError", "InternalError", "MessageTypeNotSupported",
    "NotImplemented", "NotSupported", "OccurrenceConstraintViolation", "PropertyConstraintViolation", "ProtocolError",
    "RpcFrameworkError", "SecurityError", "TypeConstraintViolation",
})  # fmt: skip
"""Error codes of OCPP-J 4.3."""

Payload = dict[str, Any]
Answer = Payload | Callable[[Payload], Any] | Exception


class Refused(Exception):
    """A CALLERROR: as what `call` raises, and as what a station shall answer."""

    def __init__(self, code: str, description: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.details = dict(details or {})


class Wire:
    """A websocket in memory, as the back end holds it. `sent` is what it sent, `push` what it is to read."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[str | None] = asyncio.Queue()
        self._coming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._is_read = asyncio.Event()
        self.closed: tuple[int, str] | None = None

    async def served(self, session: asyncio.Task[None]) -> None:
        """Wait until the back end reads frames, or the session has ended without that."""
        session.add_done_callback(lambda _: self._is_read.set())
        await self._is_read.wait()

    def push(self, frame: str | bytes | None) -> None:
        """Give the back end a frame; None ends the connection."""
        self._coming.put_nowait(frame)

    async def send(self, message: str) -> None:
        """Take a frame of the back end."""
        if self.closed is not None:
            raise ConnectionClosedOK(None, Close(*self.closed))
        self.sent.put_nowait(message)

    async def recv(self) -> str | bytes:
        """Give the back end the next frame."""
        self._is_read.set()
        frame = await self._coming.get() if self.closed is None else None
        if frame is None:
            raise ConnectionClosedOK(None, None)
        return frame

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection from the back end's side."""
        if self.closed is None:
            self.closed = code, reason
            self._coming.put_nowait(None)
            self.sent.put_nowait(None)


class ScriptedStation:
    """The station's end.

    `call` sends a request and returns the answer's payload. Requests of the back end are kept in `calls` and answered
    from `answers` (a payload, a function of the request that returns one, or `Refused`; None: never); one that has no
    answer there waits for `expect`, unless `refuses_others`, which answers it NotSupported.
    """

    def __init__(self, wire: Wire, identity: str, version: Version) -> None:
        self.id = identity
        self.version = version
        self.answers: dict[str, Answer] = {"GetChargingProfiles": {"status": "NoProfiles"}}
        self.calls: list[tuple[str, Payload]] = []
        self.refuses_others = False
        self.stray: list[list[Any]] = []
        self._wire = wire
        self._numbers = iter(range(1, 1_000_000))
        self._asked: dict[str, tuple[str, asyncio.Future[Payload]]] = {}
        self._waiting: deque[tuple[str, str, Payload]] = deque()
        self._came = asyncio.Condition()
        self._ended = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    # -- what a station starts

    async def call(self, action: str, payload: Payload | None = None) -> Payload:
        """Send a request; return the answer's payload. Raises Refused for a CALLERROR."""
        payload = payload or {}
        problems = [error.message for error in validator(f"{action}Request", self.version).iter_errors(payload)]
        assert not problems, f"the test's own {action} violates the schema: {problems}"
        return await self.call_unchecked(action, payload)

    async def call_unchecked(self, action: str, payload: Payload) -> Payload:
        """Send a request that may violate the schema; return the answer's payload. Raises Refused for a CALLERROR."""
        identifier = f"cs-{next(self._numbers)}"
        answer: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._asked[identifier] = action, answer
        self.push([CALL, identifier, action, payload])
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    def send(self, action: str, payload: Payload) -> None:
        """Send an unconfirmed message (SEND of 2.1)."""
        self.push([SEND, f"cs-{next(self._numbers)}", action, payload])

    def push(self, frame: list[Any] | str | bytes) -> None:
        """Send a frame as it is."""
        self._wire.push(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def expect(self, action: str) -> "Request":
        """Return the next request of the back end for that action, to be answered by the test."""
        async with asyncio.timeout(PATIENCE_S), self._came:
            await self._came.wait_for(lambda: any(name == action for _, name, _ in self._waiting))
            found = next(each for each in self._waiting if each[1] == action)
            self._waiting.remove(found)
        return Request(self, *found)

    def payloads(self, action: str) -> list[Payload]:
        """Return what the back end has asked for under that action so far."""
        return [payload for name, payload in self.calls if name == action]

    async def disconnect(self) -> None:
        """Drop the connection."""
        self._wire.push(None)
        await self.stop()

    async def ended(self) -> tuple[int, str]:
        """Wait until the back end closes; return its code and reason."""
        async with asyncio.timeout(PATIENCE_S):
            await self._ended.wait()
        return self._wire.closed or (1006, "")

    async def stop(self) -> None:
        """End the reading, and fail the test for what the back end sent and should not have."""
        if not self._reader.done():
            self._reader.cancel()
        results = await asyncio.gather(self._reader, return_exceptions=True)
        for result in results:
            if isinstance(result, AssertionError):
                raise result

    def reply(self, identifier: str, action: str, answer: Payload | Exception) -> None:
        """Answer a request of the back end."""
        if isinstance(answer, Refused):
            self.push([CALLERROR, identifier, answer.code, answer.description, answer.details])
            return
        assert isinstance(answer, dict), answer
        problems = [error.message for error in validator(f"{action}Response", self.version).iter_errors(answer)]
        assert not problems, f"the test's own answer to {action} violates the schema: {problems}"
        self.push([CALLRESULT, identifier, answer])

    # -- the back end's frames

    async def _read(self) -> None:
        try:
            while (text := await self._wire.sent.get()) is not None:
                await self._take(json.loads(text))
        except AssertionError as error:
            for _, answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(error)
            raise
        finally:
            self._ended.set()

    async def _take(self, frame: list[Any]) -> None:
        kind = frame[0]
        if kind == CALL:
            await self._take_call(frame)
        elif kind in (CALLRESULT, CALLERROR) and frame[1] in self._asked:
            action, answer = self._asked.pop(frame[1])
            self._take_answer(frame, action, answer)
        else:
            assert kind in (CALLERROR, *((CALLRESULTERROR, SEND) if self.version == "2.1" else ())), frame
            if kind == CALLERROR:
                self._check_error(frame)
            self.stray.append(frame)

    def _take_answer(self, frame: list[Any], action: str, answer: "asyncio.Future[Payload]") -> None:
        if frame[0] == CALLERROR:
            self._check_error(frame)
            answer.set_exception(Refused(*frame[2:]))
            return
        assert len(frame) == 3, frame
        try:
            self._check(f"{action}Response", frame[2])
        except AssertionError as error:
            answer.set_exception(error)
            raise
        answer.set_result(frame[2])

    async def _take_call(self, frame: list[Any]) -> None:
        assert len(frame) == 4, frame
        _, identifier, action, payload = frame
        assert isinstance(identifier, str), frame
        assert 0 < len(identifier) <= 36, frame
        self._check(f"{action}Request", payload)
        self.calls.append((action, payload))
        if action in self.answers:
            answer = self.answers[action]
            answer = answer(payload) if callable(answer) else answer
            if answer is not None:
                self.reply(identifier, action, answer)
        elif self.refuses_others:
            self.push([CALLERROR, identifier, "NotSupported", "", {}])
        else:
            async with self._came:
                self._waiting.append((identifier, action, payload))
                self._came.notify_all()

    def _check(self, name: str, payload: Payload) -> None:
        problems = [error.message for error in validator(name, self.version).iter_errors(payload)]
        assert not problems, f"{name} breaks the official schema: {problems}: {payload}"

    @staticmethod
    def _check_error(frame: list[Any]) -> None:
        assert len(frame) == 5, frame
        assert frame[2] in CODES, frame
        assert isinstance(frame[3], str), frame
        assert len(frame[3]) <= 255, frame
        assert isinstance(frame[4], dict), frame


class Request:
    """A request of the back end that the test answers itself."""

    def __init__(self, station: ScriptedStation, identifier: str, action: str, payload: Payload) -> None:
        self.payload = payload
        self._station = station
        self.id = identifier
        self._action = action

    def reply(self, payload: Payload | Refused) -> None:
        """Answer it."""
        self._station.reply(self.id, self._action, payload)
