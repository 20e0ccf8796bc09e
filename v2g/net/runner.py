"""Runs a sans-I/O session on a byte stream: the only place where a protocol core meets asyncio.

The runner feeds what it reads, executes the actions in order, arms one timer, and lets slow commands run as tasks
whose outcomes return as facts. It knows no message and no role.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from v2g.errors import TransportError, V2GError
from v2g.iso15118.session import Close, Command, Fact, Send, Session
from v2g.net.clock import Clock
from v2g.observe import Observe

READ_SIZE = 16 * 1024
LINGER = 3.0
"""Seconds that commands given before Close (contactors, journal) may still take."""

Execute = Callable[[Command], Coroutine[Any, Any, Fact | None] | None]
"""Carries a command out: at once and returning None, or by a coroutine, whose outcome is a fact or None.

What must be true before the next action (a journal entry on disk, a lowered limit at the hardware) is done at once.
"""


class ByteStream(Protocol):
    """What a session runs on: `v2g.net.tls.TlsStream`, a TCP connection, one half of a pair in tests."""

    async def read(self, n: int) -> bytes:
        """Return up to `n` bytes, b"" at the end. Raises TransportError."""

    async def write(self, data: bytes) -> None:
        """Send everything. Raises TransportError."""

    async def close(self) -> None:
        """Close in good order; harmless when already closed."""


class Runner:
    """One session on one stream. `fact` and `abort` may be called from anywhere in the event loop."""

    def __init__(
        self,
        session: Session,
        stream: ByteStream,
        *,
        execute: Execute,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        self._session = session
        self._stream = stream
        self._execute = execute
        self._clock = clock
        self._observe = observe
        self._out = bytearray()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Fact | None]] = set()
        self._failure: BaseException | None = None
        self._steps: deque[Callable[[float, int], None]] = deque()
        self._stepping = False

    async def run(self) -> str:
        """Run to the end; return the reason of Close. Raises what broke here, not the peer, with all stopped safely."""
        reader = asyncio.create_task(self._read())
        try:
            self._feed(self._session.start)
            await self._write()
        except asyncio.CancelledError:
            self.abort("cancelled")
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            reader.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LINGER)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await self._close_stream()
        if self._failure is not None:
            raise self._failure
        return self._session.reason

    def fact(self, fact: Fact) -> None:
        """Tell the session something."""
        self._feed(lambda now, utc_ms: self._session.fact(fact, now, utc_ms))

    def abort(self, reason: str) -> None:
        """End the session at once and safely; `reason` is a stable word."""
        self._feed(lambda now, utc_ms: self._session.abort(reason, now, utc_ms))

    async def _read(self) -> None:
        data = b"?"
        while data and not self._session.closed:
            try:
                data = await self._stream.read(READ_SIZE)
            except TransportError as error:
                self._observe(Observe("session", "link_lost", {"error": str(error)}))
                data = b""
            self._feed(partial(self._session.receive, data) if data else self._session.receive_eof)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            data = bytes(self._out)
            self._out.clear()
            if data:
                try:
                    await self._stream.write(data)
                except TransportError as error:
                    self._observe(Observe("session", "link_lost", {"error": str(error)}))
                    self._feed(self._session.receive_eof)
            if self._session.closed and not self._out:
                return

    def _feed(self, step: Callable[[float, int], None]) -> None:
        """Take one step and execute its actions; a step asked for meanwhile follows it, so that order is kept."""
        self._steps.append(step)
        if self._stepping:
            return
        self._stepping = True
        while self._steps:
            try:
                self._steps.popleft()(self._clock.monotonic(), self._clock.utc_ms())
                self._perform()
            except Exception as error:  # noqa: BLE001 - whatever broke, the power has to stop first
                self._broke(error)
        self._stepping = False
        self._arm()

    def _perform(self) -> None:
        for action in self._session.actions():
            match action:
                case Send():
                    self._out += action.data
                case Observe():
                    self._observe(action)
                case Command():
                    self._carry_out(action, self._done)
                case Close():
                    pass
        if self._out or self._session.closed:
            self._wake.set()

    def _carry_out(self, command: Command, done: Callable[["asyncio.Task[Fact | None]"], None]) -> None:
        outcome = self._execute(command)
        if outcome is not None:
            task = asyncio.create_task(outcome)
            self._tasks.add(task)
            task.add_done_callback(done)

    def _done(self, task: "asyncio.Task[Fact | None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._broke(error)
            self._arm()
        elif (fact := task.result()) is not None:
            self.fact(fact)

    def _broke(self, error: BaseException) -> None:
        """Stop everything after a defect or a failed command: what can still be executed is executed."""
        self._failure = self._failure or error
        reason = "command_failed" if isinstance(error, V2GError) else "internal_error"
        self._observe(Observe("session", "broke_down", {"reason": reason, "error": f"{type(error).__name__}: {error}"}))
        self._session.abort(reason, self._clock.monotonic(), self._clock.utc_ms())
        for action in self._session.actions():
            try:
                if isinstance(action, Command):
                    self._carry_out(action, self._tasks.discard)
                elif isinstance(action, Observe):
                    self._observe(action)
            except Exception as again:  # noqa: BLE001 - one failed safety command must not keep the next from running
                self._observe(Observe("session", "broke_down", {"error": f"{type(again).__name__}: {again}"}))
        self._wake.set()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._session.deadline()
        if deadline is not None:
            delay = deadline - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._feed, self._session.tick)

    async def _close_stream(self) -> None:
        try:
            await self._stream.close()
        except TransportError as error:
            self._observe(Observe("session", "close_failed", {"error": str(error)}))
