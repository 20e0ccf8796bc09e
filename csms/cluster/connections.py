"""Requests to stations, on whichever node they are connected.

All requests to stations go through the registry. For a station connected here it uses the station's connection; for
one connected elsewhere the question goes over the bus to the registry there, with the same answer or the same
error.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from csms.cluster.bus import Bus
from csms.transaction_keys import named_by_station
from v2g import typed_json
from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError, V2GError
from v2g.io.runtime.supervision import spawn
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version, action_of, answer_to, is_of_16, request_type
from v2g.ocpp.versions import check_integers, read_payload, write_payload

M = TypeVar("M", bound=Message)

_ON_THE_WAY_S: Final = 5.0  # added to the station's time-out, for the bus


class Deviations(msgspec.Struct, frozen=True):
    """What was tolerated on a station's connection (quirk -> how often), and what it has refused as not supported since
    its boot."""

    tolerated: dict[str, int] = {}
    refused: tuple[str, ...] = ()


class Line(Protocol):
    """The connection of one station."""

    @property
    def deviations(self) -> Deviations:
        """What was noticed on it."""

    @property
    def version(self) -> Version:
        """Its version of OCPP."""

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return the response. Raises V2GError."""

    async def close(self, reason: str = "") -> None:
        """Close the connection."""


class _Question(msgspec.Struct, frozen=True, tag="call"):
    station_id: str
    action: str
    payload: msgspec.Raw
    timeout_s: float
    of_16: bool = False


class _Noticed(msgspec.Struct, frozen=True, tag="noticed"):
    station_id: str


class _Decided(msgspec.Struct, frozen=True, tag="decided"):
    station_ids: tuple[str, ...]
    credentials: bool


class _Result(msgspec.Struct, frozen=True, tag="result"):
    payload: msgspec.Raw


class _Error(msgspec.Struct, frozen=True, tag="error"):
    kind: Literal["ocpp", "refused", "timeout", "transport", "other"]
    message: str
    code: str = ""
    seconds: float = 0.0


async def _nothing(_station_ids: Collection[str], _credentials: bool) -> None:
    """Of a node without stations."""


def not_connected(station_id: str) -> RefusedError:
    return RefusedError(f"{station_id} is not connected", reason="not_connected", hint="try again when it is back")


class ConnectionRegistry:
    """The connections to all stations. Created before the bus starts; `default_timeout_s` is for stations' answers.

    `apply(station_ids, credentials)`, set by the server of stations, applies stored decisions to connections of this
    node; `access_changed`, set by the API, has those of its clients judged again.
    """

    def __init__(self, bus: Bus, default_timeout_s: float = 30.0) -> None:
        self._bus = bus
        self._default_timeout_s = default_timeout_s
        self._lines: dict[str, Line] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.apply: Callable[[Collection[str], bool], Awaitable[None]] = _nothing
        self.access_changed: Callable[[], None] = lambda: None
        bus.answer = self._answer
        bus.moved = self._moved

    def register(self, station_id: str, line: Line) -> Line | None:
        """Register a station's connection; return its previous one on this node."""
        older = self._lines.get(station_id)
        self._lines[station_id] = line
        self._bus.claim(station_id, line.version)
        return older

    def unregister(self, station_id: str, line: Line) -> None:
        """Unregister a connection that has ended, unless a newer one has replaced it."""
        if self._lines.get(station_id) is line:
            del self._lines[station_id]
            self._bus.release(station_id)

    def connected(self) -> frozenset[str]:
        """Return the identities of the stations connected to any node."""
        return self._bus.stations()

    def connected_here(self) -> frozenset[str]:
        """Return the identities of the stations connected to this node."""
        return frozenset(self._lines)

    def version(self, station_id: str) -> Version | None:
        """Return a connected station's version of OCPP, None for one that is not connected."""
        claim = self._bus.find(station_id)
        return claim.version if claim is not None else None

    async def call(self, station_id: str, request: Message, *, timeout_s: float | None = None) -> Message:
        """Send a request to a station and return its response (of the class that belongs to the request).

        Raises RefusedError (`reason` is `not_connected`, or `full` when too many requests wait), OcppError (the
        station's CALLERROR, whose code is `answer`, or a request or response that violates its declaration),
        TimeoutExpired (no answer within `timeout_s`), TransportError (the connection or the station's node was lost:
        it is unknown whether the station acted).
        """
        request = request if is_of_16(request) else named_by_station(request)
        check_integers(request)  # before the station accepts what cannot be recorded
        try:
            line = self._lines.get(station_id)
            if line is not None:
                return await line.call(request, answer_to(request), timeout=timeout_s)
            claim = self._bus.find(station_id)
            if claim is None or claim.node == self._bus.node:
                raise not_connected(station_id)
            wait_s = self._default_timeout_s if timeout_s is None else timeout_s
            action = action_of(request)
            of_16 = is_of_16(request)
            version: Version = "1.6" if of_16 else claim.version
            question = _Question(station_id, action, msgspec.Raw(write_payload(request, version)), wait_s, of_16)
            reply = await self._bus.ask(claim.node, msgspec.json.encode(question), wait_s + _ON_THE_WAY_S)
            answer = typed_json.decode(reply, _Result | _Error)
            if isinstance(answer, _Error):
                raise _to_error(answer, action)
            return read_payload(bytes(answer.payload), answer_to(request), version)
        except TransportError as error:
            raise TransportError(str(error), hint=_UNSURE) from error

    async def deviations(self, station_id: str) -> Deviations:
        """Return what was noticed on a station's connection; nothing without one, or if its node does not answer."""
        if (line := self._lines.get(station_id)) is not None:
            return line.deviations
        claim = self._bus.find(station_id)
        if claim is None or claim.node == self._bus.node:
            return Deviations()
        with contextlib.suppress(V2GError, msgspec.ValidationError):
            reply = await self._bus.ask(claim.node, msgspec.json.encode(_Noticed(station_id)), _ON_THE_WAY_S)
            return typed_json.decode(bytes(typed_json.decode(reply, _Result).payload), Deviations)
        return Deviations()

    async def expect(
        self, station_id: str, request: Message, response: type[M], *, timeout_s: float | None = None
    ) -> M:
        """As `call`, with the type of the response."""
        answer = await self.call(station_id, request, timeout_s=timeout_s)
        assert isinstance(answer, response)
        return answer

    async def decided(self, *station_ids: str, credentials: bool = False) -> None:
        """Have every node apply what an operator has decided about stations, and is stored, to their connections;
        `credentials`: those of passwords that were replaced end. Without stations it is about clients of the API.

        On return it is in force. Raises StoreError, and TransportError where a node that is alive does not answer.
        """
        nodes = sorted(self._bus.nodes() - {self._bus.node})
        decision = _Decided(station_ids, credentials)
        question = msgspec.json.encode(decision)
        asked = (self._ask_living(node, question) for node in nodes)
        _, *replies = await asyncio.gather(self._decide(decision), *asked)
        for reply in filter(None, replies):
            if isinstance(answer := typed_json.decode(reply, _Result | _Error), _Error):
                raise _to_error(answer, "decision")

    async def _decide(self, decision: _Decided) -> None:
        if not decision.station_ids:
            self.access_changed()
        await self.apply(decision.station_ids, decision.credentials)

    async def _ask_living(self, node: str, question: bytes) -> bytes | None:
        """Return a node's answer, None if it is gone, and its connections with it."""
        try:
            return await self._bus.ask(node, question, _ON_THE_WAY_S)
        except TransportError:
            if node in self._bus.nodes():
                raise
            return None

    async def _answer(self, question: bytes) -> bytes:
        """Answer another node."""
        asked = typed_json.decode(question, _Question | _Decided | _Noticed)
        try:
            if isinstance(asked, _Decided):
                await self._decide(asked)
                return msgspec.json.encode(_Result(msgspec.Raw(b"null")))
            line = self._lines.get(asked.station_id)
            if line is None:
                raise not_connected(asked.station_id)
            if isinstance(asked, _Noticed):
                return msgspec.json.encode(_Result(msgspec.Raw(msgspec.json.encode(line.deviations))))
            version: Version = "1.6" if asked.of_16 else line.version
            request = read_payload(bytes(asked.payload), request_type(asked.action, version), version)
            response = await line.call(request, answer_to(request), timeout=asked.timeout_s)
            return msgspec.json.encode(_Result(msgspec.Raw(write_payload(response, version))))
        except V2GError as error:
            return msgspec.json.encode(_from_error(error))

    def _moved(self, station_id: str) -> None:
        """Close the connection of a station that has connected to another node."""
        line = self._lines.pop(station_id, None)
        if line is not None:
            task = spawn(line.close("connected again"))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


_UNSURE: Final = "the station may have acted, or may still act: look what it reports"


def _from_error(error: V2GError) -> _Error:
    match error:
        case OcppError(answer=code):
            return _Error("ocpp", str(error), code)
        case RefusedError(reason=reason):
            return _Error("refused", str(error), reason)
        case TimeoutExpired(timer=timer, seconds=seconds):
            return _Error("timeout", str(error), timer, seconds)
        case TransportError():
            return _Error("transport", str(error))
    return _Error("other", str(error))


def _to_error(error: _Error, action: str) -> V2GError:
    match error.kind:
        case "ocpp":
            return OcppError(error.message, answer=error.code)
        case "refused":
            return RefusedError(error.message, reason=error.code)
        case "timeout":
            return TimeoutExpired(error.code or f"{action} answer", error.seconds)
        case _:
            return TransportError(error.message)
