"""Runs a sans-I/O session on a byte stream: the only connection of a protocol core with asyncio.

The runner passes on received data, executes the actions in order, arms one timer, and runs slow commands as tasks
whose results return as facts. If an action must be on the disk before the next one, that one waits, and the
event loop continues with other sessions. It depends on no message and no role.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from v2g.errors import StoreError, TlsError, TransportError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import child
from v2g.iso15118.engine.core import Core
from v2g.iso15118.engine.session import Action, Close, Command, Fact, Inquiry, Send
from v2g.observe import Observe, Scalar

READ_SIZE = 16 * 1024
LINGER = 3.0
"""Seconds that commands given before Close (contactors, journal) may still take, and the last messages to the peer."""

MAX_HELD: Final = 10.0
"""Seconds that an action may block the next one; a slower disk counts as failed, and power stops."""

MAX_UNSENT: Final = 1024 * 1024
"""Limit of bytes queued for a peer that does not read them."""

_log = logging.getLogger(__name__)

Outcome = Coroutine[object, object, Fact | None] | asyncio.Future[Any]
Execute = Callable[[Command], Outcome | None]
"""Executes a command: immediately, returning None; concurrently, by a coroutine; or blocking later actions, by a
future. The result of either is a fact or None.

Actions that must take effect before the next one are executed at once (a lower limit at the hardware) or by a future
(a journal entry on disk).
"""


class ByteStream(Protocol):
    """The transport of a session: `v2g.io.tls.client.TlsStream`, a TCP connection, one half of a pair in tests."""

    async def read(self, n: int) -> bytes:
        """Return up to `n` bytes, b"" at the end. Raises TransportError."""

    async def write(self, data: bytes) -> None:
        """Send everything. Raises TransportError."""

    async def close(self) -> None:
        """Close gracefully; idempotent."""


class Runner:
    """One session on one stream. `fact` and `abort` may be called from anywhere in the event loop."""

    def __init__(
        self, session: Core, stream: ByteStream, *, execute: Execute, clock: Clock, observe: Callable[[Observe], None]
    ) -> None:
        self._session = session
        self._stream = stream
        self._execute = execute
        self._clock = clock
        self._observe = observe
        self._out = bytearray()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Future[object], Command] = {}
        self._failure: BaseException | None = None
        self._steps: deque[Callable[[float, int], None]] = deque()
        self._stepping = False
        self._actions: deque[Action] = deque()
        self._held: asyncio.Future[object] | None = None
        self._armed = 0.0
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> str:
        """Run to the end; return the reason of Close. Raises local defects, not the peer's, with all stopped safely."""
        reader = child(self._read())
        try:
            self._feed(self._session.start)
            try:
                async with asyncio.timeout(None) as self._patience:
                    while not self._over or self._out:
                        await self._wake.wait()
                        self._wake.clear()
                        data = bytes(self._out)
                        self._out.clear()
                        if data:
                            await self._say(data)
            except TimeoutError:
                self._observe(Observe("session", "link_lost", {"error": "the peer does not read"}))
            finally:
                self._patience = None
        except asyncio.CancelledError:
            self.abort("cancelled")
            raise
        except Exception as error:  # noqa: BLE001 - a stream with an undeclared error
            self._broke(error)
        finally:
            while self._held is not None:  # ends after MAX_HELD at the latest
                await asyncio.wait((self._held,), timeout=LINGER)
            if self._timer is not None:
                self._timer.cancel()
            reader.cancel()
            for task, command in self._tasks.items():
                if isinstance(command, Inquiry):
                    task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LINGER)
            for task in self._tasks:
                if isinstance(task, asyncio.Task):  # other futures are not ours
                    task.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            try:
                await self._stream.close()
            except TransportError as error:
                self._observe(Observe("session", "close_failed", {"error": str(error)}))
        if self._failure is not None:
            raise self._failure
        return self._session.reason

    def fact(self, fact: Fact) -> None:
        """Pass a fact to the session."""
        self._feed(lambda now, utc_ms: self._session.fact(fact, now, utc_ms))

    def abort(self, reason: str) -> None:
        """End the session at once and safely; `reason` is a stable code."""
        self._feed(lambda now, utc_ms: self._session.abort(reason, now, utc_ms))

    async def _read(self) -> None:
        data = b"?"
        while data and not self._session.closed:
            try:
                data = await self._stream.read(READ_SIZE)
            except TransportError as error:
                self._observe(Observe("session", "link_lost", {"error": str(error)}))
                if isinstance(error, TlsError) and error.reason.startswith("own_"):  # in TLS 1.3 after the handshake
                    self.abort(error.reason)
                    return
                data = b""
            except Exception as error:  # noqa: BLE001 - the peer's messages are lost, so power stops
                self._broke(error)
                return
            self._feed(partial(self._session.receive, data) if data else self._session.receive_eof)
            await asyncio.sleep(0)  # a peer that sends faster than is read keeps nobody else waiting

    async def _say(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except TransportError as error:
            self._observe(Observe("session", "link_lost", {"error": str(error)}))
            self._feed(self._session.receive_eof)

    @property
    def _over(self) -> bool:
        """Whether only pending data is left to be sent."""
        return self._failure is not None or (self._session.closed and self._held is None and not self._actions)

    def _end(self) -> None:
        """Wake the writer; data for a peer that does not read is dropped after a time."""
        self._wake.set()
        if self._over and self._patience is not None and self._patience.when() is None:
            self._patience.reschedule(asyncio.get_running_loop().time() + LINGER)

    def _feed(self, step: Callable[[float, int], None]) -> None:
        """Take one step and execute its actions; a step requested meanwhile follows it, in order."""
        self._steps.append(step)
        if self._stepping:
            return
        self._stepping = True
        while self._steps:
            try:
                self._steps.popleft()(self._clock.monotonic(), self._clock.utc_ms())
                self._actions.extend(self._session.actions())
                while self._actions and self._held is None:
                    match action := self._actions.popleft():
                        case Send():
                            self._out += action.data
                        case Observe():
                            self._observe(action)
                        case Command():
                            self._carry_out(action, self._done)
                        case Close():
                            pass
                if self._actions:
                    self._overtake()
                if len(self._out) > MAX_UNSENT and not self._session.closed:
                    self._steps.append(partial(self._session.abort, "not_reading"))
                if self._out or self._session.closed:
                    self._end()
            except Exception as error:  # noqa: BLE001 - after any defect power must stop first
                self._broke(error)
        self._stepping = False
        self._arm()

    def _overtake(self) -> None:
        """Execute actions that lower power at once, before waiting ones; superseded actions are dropped."""
        waiting: list[Action] = []
        for action in self._actions:
            if isinstance(action, Command) and action.overtakes is not None:
                waiting = [each for each in waiting if not (isinstance(each, Command) and action.supersedes(each))]
            waiting.append(action)
        self._actions = deque(each for each in waiting if _urgent(each) is not each)
        for each in waiting:
            if (command := _urgent(each)) is not None:
                self._carry_out(command, self._done)

    def _carry_out(self, command: Command, done: Callable[["asyncio.Future[Any]"], None]) -> None:
        outcome = self._execute(command)
        if outcome is None:
            return
        if asyncio.isfuture(outcome) and done == self._done:
            # block later actions until this result
            self._held = outcome
            limit = asyncio.get_running_loop().call_later(MAX_HELD, self._overdue, outcome)

            def release(held: "asyncio.Future[Any]") -> None:
                limit.cancel()
                error = StoreError("it was never written") if held.cancelled() else held.exception()
                if self._held is not held:
                    return
                self._held = None
                if error is not None:
                    self._broke(error)
                    self._arm()
                elif (fact := held.result()) is not None:
                    self.fact(fact)
                else:
                    self._feed(_go_on)

            outcome.add_done_callback(release)
            return
        task = outcome if asyncio.isfuture(outcome) else child(outcome)
        self._tasks[task] = command
        task.add_done_callback(done)

    def _overdue(self, outcome: "asyncio.Future[Any]") -> None:
        if self._held is outcome:
            self._broke(StoreError(f"the disk has not answered for {MAX_HELD:.0f} s"))
            self._arm()

    def _done(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._broke(error)
            self._arm()
        elif (fact := task.result()) is not None:
            self.fact(fact)

    def _broke(self, error: BaseException) -> None:
        """Stop everything after a defect or a failed command; executable actions are still executed."""
        self._failure, self._held = self._failure or error, None
        reason = "command_failed" if isinstance(error, V2GError) else "internal_error"
        # The failed action may have preceded the commands that make safe, in a session that has ended by now.
        actions = [each for each in self._actions if isinstance(each, Command) and each.always]
        self._actions.clear()
        try:
            self._session.abort(reason, self._clock.monotonic(), self._clock.utc_ms())
        except Exception:  # noqa: BLE001 - its earlier actions are still executed
            _log.exception("the session cannot even abort")
        for action in (*actions, *self._session.actions()):
            try:
                if isinstance(action, Command):
                    self._carry_out(action, self._done_though_broken)
                elif isinstance(action, Observe):
                    self._observe(action)
            except Exception as again:  # noqa: BLE001 - one failed safety command must not keep the next from running
                self._report_broken({"error": f"{type(again).__name__}: {again}"})
        self._report_broken({"reason": reason, "error": f"{type(error).__name__}: {error}"})
        self._end()

    def _done_though_broken(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report_broken({"error": f"{type(error).__name__}: {error}"})

    def _report_broken(self, data: dict[str, Scalar]) -> None:
        """Report a defect, unless reporting is the defect."""
        try:
            self._observe(Observe("session", "broke_down", data))
        except Exception:  # noqa: BLE001 - a full disk must not keep power on
            _log.exception("cannot record %s", data)

    def _arm(self) -> None:
        """Arm the timer; if it fires too early, because the deadline was postponed, it is armed again."""
        deadline = self._session.deadline()
        if self._timer is not None:
            if deadline is not None and self._armed <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._armed = deadline
            delay = deadline - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._ring)

    def _ring(self) -> None:
        self._timer = None
        deadline = self._session.deadline()
        if deadline is not None and deadline <= self._clock.monotonic():
            self._feed(self._session.tick)
        else:
            self._arm()


def _urgent(action: Action) -> Command | None:
    """Return the part of an action that does not wait for the disk."""
    return action.overtakes if isinstance(action, Command) else None


def _go_on(_now: float, _utc_ms: int) -> None:
    """Take no step, but execute waiting actions."""


class NullStream:
    """See `v2g.io.runtime.runner.ByteStream`: reading ends when it is closed."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def read(self, n: int) -> bytes:
        """Wait until it is closed."""
        await self._closed.wait()
        return b""

    async def write(self, data: bytes) -> None:
        """Discard."""

    async def close(self) -> None:
        """End reading."""
        self._closed.set()
