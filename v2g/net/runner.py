"""Runs a sans-I/O session on a byte stream: the only place where a protocol core meets asyncio.

The runner feeds what it reads, executes the actions in order, arms one timer, and lets slow commands run as tasks
whose outcomes return as facts. It knows no message and no role.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from v2g.errors import TransportError, V2GError
from v2g.iso15118.session import Action, Close, Command, Fact, Send, Session
from v2g.net.clock import Clock
from v2g.observe import Observe, Scalar

READ_SIZE = 16 * 1024
LINGER = 3.0
"""Seconds that commands given before Close (contactors, journal) may still take, and the last words to the peer."""

MAX_UNSENT: Final = 1024 * 1024
"""Bytes that may wait for a peer that asks and does not read the answers."""

_log = logging.getLogger(__name__)

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
        self._actions: deque[Action] = deque()
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> str:
        """Run to the end; return the reason of Close. Raises what broke here, not the peer, with all stopped safely."""
        reader = asyncio.create_task(self._read())
        try:
            self._feed(self._session.start)
            await self._write()
        except asyncio.CancelledError:
            self.abort("cancelled")
            raise
        except Exception as error:  # noqa: BLE001 - a stream that fails in a way that it never promised
            self._broke(error)
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
            except Exception as error:  # noqa: BLE001 - nobody hears the peer any more, so power stops
                self._broke(error)
                return
            self._feed(partial(self._session.receive, data) if data else self._session.receive_eof)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            data = bytes(self._out)
            self._out.clear()
            if data:
                try:
                    async with asyncio.timeout(LINGER if self._over else None) as self._patience:
                        try:
                            await self._stream.write(data)
                        finally:
                            self._patience = None
                except TransportError as error:
                    self._observe(Observe("session", "link_lost", {"error": str(error)}))
                    self._feed(self._session.receive_eof)
                except TimeoutError:
                    self._observe(Observe("session", "link_lost", {"error": "the peer does not read"}))
                    return
            if self._over and not self._out:
                return

    @property
    def _over(self) -> bool:
        return self._session.closed or self._failure is not None

    def _end(self) -> None:
        """Wake the writer; what it still has to say to a peer that does not read is not said forever."""
        self._wake.set()
        if self._over and self._patience is not None and self._patience.when() is None:
            self._patience.reschedule(asyncio.get_running_loop().time() + LINGER)

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
        self._actions.extend(self._session.actions())
        while self._actions:
            match action := self._actions.popleft():
                case Send():
                    self._out += action.data
                case Observe():
                    self._observe(action)
                case Command():
                    self._carry_out(action, self._done)
                case Close():
                    pass
        if len(self._out) > MAX_UNSENT and not self._session.closed:
            self._steps.append(partial(self._session.abort, "not_reading"))
        if self._out or self._session.closed:
            self._end()

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
        # What failed may have stood before the commands that make safe, in a session that is over by now.
        actions = [each for each in self._actions if isinstance(each, Command) and each.always]
        self._actions.clear()
        try:
            self._session.abort(reason, self._clock.monotonic(), self._clock.utc_ms())
        except Exception:  # noqa: BLE001 - what it has asked for until then is still done
            _log.exception("the session cannot even abort")
        for action in (*actions, *self._session.actions()):
            try:
                if isinstance(action, Command):
                    self._carry_out(action, self._tasks.discard)
                elif isinstance(action, Observe):
                    self._observe(action)
            except Exception as again:  # noqa: BLE001 - one failed safety command must not keep the next from running
                self._tell_broken({"error": f"{type(again).__name__}: {again}"})
        self._tell_broken({"reason": reason, "error": f"{type(error).__name__}: {error}"})
        self._end()

    def _tell_broken(self, data: dict[str, Scalar]) -> None:
        """Tell what broke, unless telling is what broke."""
        try:
            self._observe(Observe("session", "broke_down", data))
        except Exception:  # noqa: BLE001 - a full disk must not keep power on
            _log.exception("cannot record %s", data)

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
