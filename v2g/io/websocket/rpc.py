"""Remote procedure calls of OCPP on a socket: runs a pure `v2g.ocpp.rpc.RpcPeer` in asyncio."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from v2g.errors import OcppError, TransportError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.io.websocket.client import OcppSocket
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import Answered, Called, Failed, RpcPeer, Send, SendReceived

if TYPE_CHECKING:
    from v2g.ocpp.v16.mirrored import MirroredPeer

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

MAX_SENDS: Final = 256
"""Limit of unanswered messages being handled: nothing else slows their sender."""


class RpcConnection:
    """Runs an RpcPeer on a socket.

    `handle(action, request)` answers the peer's requests, several at a time; it returns the response or
    raises OcppError, whose `answer` becomes the CALLERROR. Any other exception is logged and answered with
    InternalError. `quick(action, request)` is tried first: it answers immediately, or returns None.
    `on_send(action, message)` handles messages without a response (2.1); its exceptions are
    logged, and messages are dropped while too many are being handled. `tap` is called with every frame.
    """

    __slots__ = (
        "_armed",
        "_calls",
        "_clock",
        "_handle",
        "_handlers",
        "_observe",
        "_on_send",
        "_out",
        "_peer",
        "_quick",
        "_tap",
        "_timer",
        "_writing",
        "received_at",
        "socket",
    )

    def __init__(
        self,
        socket: OcppSocket,
        peer: "RpcPeer | MirroredPeer",
        *,
        handle: Callable[[str, Message], Awaitable[Message]],
        clock: Clock,
        observe: Callable[[Observe], None],
        on_send: Callable[[str, Message], Awaitable[None]] | None = None,
        quick: Callable[[str, Message], Message | None] = lambda _action, _request: None,
        tap: Callable[[Literal["received", "sent"], str], None] = lambda _direction, _text: None,
    ) -> None:
        self.socket: Final = socket
        self._tap = tap
        self._peer = peer
        self._handle = handle
        self._quick = quick
        self._on_send = on_send
        self._clock = clock
        self._observe = observe
        self._out: list[str] = []
        self._writing: asyncio.Lock | None = None  # created when a frame must wait, which is rare
        self._calls: dict[str, asyncio.Future[Message]] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self.received_at = clock.monotonic()
        """When the peer last sent a frame, s on the monotonic clock; at first, when it connected."""

    @property
    def version(self) -> Version:
        """The version of OCPP."""
        return self._peer.version

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return its response.

        Raises OcppError for a CALLERROR, or a request or answer that violates its schema;
        TimeoutExpired; TransportError when the connection ends first; RefusedError when it is closed or too many
        requests wait.
        """
        identifier = self._peer.call(request, self._clock.monotonic(), timeout=timeout)
        future = self._calls[identifier] = asyncio.get_running_loop().create_future()
        try:
            self._step()
            await self._flush()
            answer = await future
        finally:
            self._calls.pop(identifier, None)
            if future.done() and not future.cancelled():
                future.exception()  # retrieved: its caller may have been cancelled while it wrote
        assert isinstance(answer, response)
        return answer

    async def run(self) -> None:
        """Read until either side ends the connection; then every open call fails."""
        self.socket.listen(self._receive)
        try:
            while True:
                self._receive(await self.socket.receive())
                await self._flush()
        except TransportError as error:
            _log.info("%s", error)
        finally:
            if self._timer:
                self._timer.cancel()
            self._peer.close(self._clock.monotonic())
            self._step()
            for task in self._handlers:
                task.cancel()

    async def close(self, reason: str = "") -> None:
        """End the connection; `run` then returns."""
        await self.socket.close(reason)

    def _receive(self, text: str) -> None:
        self._tap("received", text)
        self.received_at = self._clock.monotonic()
        self._peer.receive(text, self.received_at)
        self._step()
        if self._out and not self._is_writing():
            self._spawn(self._flush())

    def _step(self) -> None:
        while actions := self._peer.actions():  # a quick answer adds another one
            for action in actions:
                match action:
                    case Called():
                        self._start(action)
                    case Send():
                        # send immediately if nothing is queued and the peer can receive
                        text = action.text
                        if not self._out and not self._is_writing() and self.socket.send_now(text):
                            self._tap("sent", text)
                        else:
                            self._out.append(text)
                    case SendReceived():
                        self._notify(action)
                    case Answered(id=identifier, response=response):
                        if (future := self._calls.get(identifier)) and not future.done():
                            future.set_result(response)
                    case Failed(id=identifier, error=error):
                        if (future := self._calls.get(identifier)) and not future.done():
                            future.set_exception(error)
                    case Observe():
                        self._observe(action)
        deadline = self._peer.deadline()
        if deadline == self._armed:
            return
        self._armed = deadline
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _is_writing(self) -> bool:
        return self._writing is not None and self._writing.locked()

    def _tick(self) -> None:
        self._armed = None
        self._peer.tick(self._clock.monotonic())
        self._step()
        self._spawn(self._flush())

    def _start(self, called: Called) -> None:
        try:
            quick = self._quick(called.action, called.request)
        except OcppError as error:
            self._peer.answer(called.id, error)
            return
        if quick is not None:
            self._peer.answer(called.id, quick)
            return

        async def work() -> None:
            answer: Message | OcppError | None = None
            try:
                answer = await self._handle(called.action, called.request)
            except OcppError as error:
                answer = error
            except V2GError as error:  # its words are for the log: those of a database name host and role
                _log.warning("%s: %s", called.action, error)
            finally:
                unhandled = "the request could not be handled"
                self._peer.answer(called.id, answer or OcppError(unhandled, answer="InternalError"))
                self._step()
                await self._flush()

        self._spawn(work())

    def _notify(self, on_send: SendReceived) -> None:
        if self._on_send is None or len(self._handlers) >= MAX_SENDS:
            self._observe(Observe("ocpp", "send_dropped", {"action": on_send.action}))
            return
        handler = self._on_send

        async def work() -> None:
            try:
                await handler(on_send.action, on_send.message)
            except V2GError as error:
                _log.warning("%s: %s", on_send.action, error)

        self._spawn(work())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = spawn(work)
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _flush(self) -> None:
        if not self._out:
            return
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            while self._out:
                text = self._out.pop(0)
                self._tap("sent", text)
                try:
                    await self.socket.send(text)
                except TransportError:
                    return  # `run` sees the end, too, and fails open calls
