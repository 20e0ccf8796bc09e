"""HTTP for the API: uvicorn's protocol, in the back end's own event loop.

Loaded with the first connection, or with the framework after the back end is ready.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

import h11
import uvicorn
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_GRACE_S: Final = 2.0
_ABORTED_S: Final = 0.2
_IDLE_S: Final = 75
_REQUEST_S: Final = 30.0
STALLED_S: Final = 60.0
"""A client that reads nothing for so long, while an answer waits for it, is disconnected."""


@lru_cache(1)
def _date(at_s: int) -> list[tuple[bytes, bytes]]:
    """Return the header of each answer of a second."""
    return [(b"date", formatdate(at_s, usegmt=True).encode())]


class _Connection(H11Protocol):
    """One client. Handlers find its transport, which has the client's certificate, in the scope's state.

    A request must arrive completely within `_REQUEST_S`, however slowly its bytes come.
    """

    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def __init__(
        self, config: Any, state: ServerState, leave: Callable[[asyncio.BaseTransport], None], stalled_s: float
    ) -> None:
        super().__init__(config, state, {})
        self._leave, self._stalled_s = leave, stalled_s

    @property
    def is_busy(self) -> bool:
        """Whether an answer is in progress."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {"transport": transport, "leave": self._leave}
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        self.server_state.default_headers = _date(int(time.time()))
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._expect_request()
        else:
            self._forget_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self._forget_reader()
        self._leave(self.transport)
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_REQUEST_S, self.transport.abort)

    def _expect_reader(self, waiting: int | None = None) -> None:
        """Disconnect a client that has read none of the `waiting` octets."""
        left = self.transport.get_write_buffer_size()
        if left == waiting:
            self.transport.abort()
        else:
            self._reading = self.loop.call_later(self._stalled_s, self._expect_reader, left)

    def _forget_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Connections:
    """All connections; `answer` is the ASGI application, `leave` stops counting a connection as unauthenticated."""

    def __init__(
        self, answer: ASGIApp, leave: Callable[[asyncio.BaseTransport], None], *, stalled_s: float = STALLED_S
    ) -> None:
        self._leave, self._stalled_s = leave, stalled_s
        self._state = ServerState()

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            with contextlib.suppress(asyncio.CancelledError):  # by `close`: uvicorn would report a failure
                await answer(scope, receive, send)

        self._config = uvicorn.Config(
            answered,
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_S,
        )
        self._config.load()

    def new(self) -> asyncio.BaseProtocol:
        """Return the protocol for one client."""
        return _Connection(self._config, self._state, self._leave, self._stalled_s)

    async def close(self) -> None:
        """Finish current requests (2 s at most) and close every connection."""
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if not await self._finished_within(_GRACE_S):
            for connection in tuple(self._state.connections):
                if isinstance(connection, _Connection) and connection.is_busy:
                    connection.transport.abort()  # an idle client; this also ends streams
            if not await self._finished_within(_ABORTED_S):
                for task in self._state.tasks:
                    task.cancel()
        for connection in tuple(self._state.connections):
            connection.transport.close()

    async def _finished_within(self, seconds: float) -> bool:
        tasks = tuple(self._state.tasks)
        return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]
