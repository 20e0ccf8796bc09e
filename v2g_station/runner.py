"""Runs a station's core: its connection, clock and storage. The charger and the simulator share it."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from v2g.errors import StoreError, TimeoutExpired, TlsError, TransportError, UpgradeRefusedError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.io.websocket.client import OcppSocket, connect
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import CALL
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.kernel.kernel import Action, Connect, Disconnect, Keep, Moment, Ping, SendToCsms, StationCommand
from v2g_station.station import StationCore


class ChargerPort(Protocol):
    """What a station needs from its charger. All calls are made in the event loop."""

    @property
    def able(self) -> frozenset[str]:
        """The members of `StationSettings.able` that the charger adds: `remote_start`, `reset`, `attestation`."""

    def carry_out(self, command: StationCommand) -> bool:
        """Begin to carry out a command; return False for one that is not the charger's."""

    async def unlock(self, evse_id: int) -> bool:
        """Try to release the plug; return whether it is free."""

    def online(self, reachable: bool) -> None:
        """Report that the CSMS has accepted this station, or is no longer reachable."""

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return the current meter sample of an EVSE."""

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return whether an EVSE has a service for any of these energy transfer modes."""

    def store_failed(self) -> None:
        """End the sessions: the station cannot save what their transactions report."""


M = TypeVar("M", bound=Message)

FLUSH_S = 2.0
"""Seconds that a closing connection may take to send its queued frames."""

SAVED_FIRST = frozenset({"outbox", "transactions", "managed", "numbers"})
"""Collections that must be saved before anything is sent."""


class StationMemory(Protocol):
    """Durable storage of a station."""

    def keep(self, changes: Iterable[Keep]) -> None:
        """Carry out changes, all or none, with those that failed before. Raises StoreError."""


Saving = asyncio.Future[None]
"""Done when the changes are on disk, or failed with the StoreError that prevented it."""


class StationRunner:
    """One running station.

    `command` carries out the core's commands to the hardware; `changed` is called after each step, `tap` with every
    frame (`sent` or `received`). `context` returns the TLS context for a connection, None without TLS. With `disk` the
    loop does not wait for the store: frames that report a change wait until it is saved, the hardware does not.
    A disk that fails calls `failed`, and the station goes on; without that, the run ends.
    """

    def __init__(
        self,
        core: StationCore,
        memory: StationMemory,
        *,
        clock: Clock,
        command: Callable[[StationCommand], None],
        observe: Callable[[Observe], None],
        context: Callable[[Connect], ssl.SSLContext | None] = lambda _: None,
        changed: Callable[[], None] = lambda: None,
        tap: Callable[[str, str], None] = lambda _way, _text: None,
        disk: DiskThread | None = None,
        failed: Callable[[], None] | None = None,
    ) -> None:
        self.core = core
        self._memory = memory
        self._clock = clock
        self._command = command
        self._observe = observe
        self._context = context
        self._changed = changed
        self._tap = tap
        self._disk = disk
        self._failed = failed
        self.saving: Saving | None = None
        """The outcome of the newest change."""
        self._outgoing: deque[tuple[str, Saving | None]] = deque()
        """Frames, each with the change whose saving it waits for."""
        self._flush = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._connection: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()
        """Includes those that are closing."""
        self._final_frames: dict[asyncio.Task[object], tuple[tuple[str, Saving | None], ...]] = {}
        self._failure: asyncio.Future[None] | None = None
        self._socket: OcppSocket | None = None
        self.online = asyncio.Event()
        """Set while the CSMS is connected and has accepted this station."""
        self.tried = asyncio.Event()
        """Set once the CSMS has accepted this station, or the first attempt to connect has failed."""

    @property
    def moment(self) -> Moment:
        """Return the current time."""
        return Moment(self._clock.monotonic(), self._clock.utc_ms())

    @property
    def connected(self) -> bool:
        """Whether the socket to the CSMS is open now, whatever the core believes."""
        return self._socket is not None and self._socket.is_open

    @property
    def served(self) -> bool:
        """Whether the CSMS is connected now and has accepted this station."""
        return self.connected and self.online.is_set()

    @property
    def version(self) -> Version:
        """The negotiated OCPP version, or the one to be offered first."""
        return self.core.version

    # -- lifecycle

    async def run(self) -> None:
        """Stay connected until cancelled. Raises StoreError when the disk fails, unless `failed` handles that."""
        self._failure = asyncio.get_running_loop().create_future()
        try:
            self.step(self.core.start)
            await self._failure
        finally:
            with contextlib.suppress(StoreError):
                self.step(self.core.stop)
            if self._timer is not None:
                self._timer.cancel()
            self._drop()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def step(self, work: Callable[[Moment], list[Action]]) -> Saving | None:
        """Run the core now and carry out its actions. Return the pending save, None if saved; StoreError for a failure
        to save what must not be lost, here or in the future."""
        return self.perform(work(self.moment))

    def perform(self, actions: list[Action]) -> Saving | None:
        """Carry out actions: save first, all or nothing."""
        changes = [action for action in actions if isinstance(action, Keep)]
        problem: StoreError | None = None
        saving = None
        if changes and self._disk is not None and _loop_runs():
            saving = self.saving = self._save_in_background(changes, self._disk)
        elif changes:
            try:
                self._memory.keep(changes)
            except StoreError as error:
                self._note_lost(changes, error)
                problem = error if _is_saved_first(changes) else None
        for action in actions:
            match action:
                case SendToCsms(text=text) if problem is None:
                    self._tap("sent", text)
                    self._outgoing.append((text, self._awaited(saving, text)))
                    self._flush.set()
                case Connect():
                    self._drop()
                    if self._failure is not None:
                        self._connection = spawn(self._use(action))
                        self._connections.add(self._connection)
                        self._connection.add_done_callback(self._forget)
                case Disconnect():
                    self._drop()
                case Ping(interval_s=interval_s):
                    if self._socket is not None:
                        self._socket.ping_every(interval_s or None)
                case StationCommand():
                    try:
                        self._command(action)  # a full disk does not justify exceeding a limit
                    except Exception as error:  # noqa: BLE001 - what follows it must still happen
                        self._report_defect(type(action).__name__, error)
                case Observe():
                    self._observe(action)
        self._settle()
        if problem is not None:
            raise problem
        return saving

    def _awaited(self, saving: Saving | None, text: str) -> Saving | None:
        """Return the change that a frame waits for: that of its step, or for a request one that is still being saved,
        as what it reports may have been queued before."""
        if saving is None and self.saving is not None and not self.saving.done() and _is_call(text):
            return self.saving
        return saving

    def _save_in_background(self, changes: list[Keep], disk: DiskThread) -> Saving:
        """Save changes in the disk thread; the future fails only for collections that must be saved before sending."""
        problems: list[StoreError] = []

        def keep() -> None:
            try:
                self._memory.keep(changes)
            except StoreError as error:
                problems.append(error)
                if _is_saved_first(changes):
                    raise

        saving = disk.do(keep, lambda: None)

        def see(saving: Saving) -> None:
            for problem in problems:
                self._note_lost(changes, problem)
            if not saving.cancelled() and saving.exception() is not None:  # nothing of it may be reported
                held = [(t, s) for t, s in self._outgoing if s is saving or (s is not None and _is_call(t))]
                self._outgoing = deque(each for each in self._outgoing if each not in held)
                unsent = any(_is_call(text) for text, _ in held)
                self._guarded(lambda moment: self.core.unsaved(moment, unsent=unsent))

        saving.add_done_callback(see)
        return saving

    def _note_lost(self, changes: list[Keep], error: StoreError) -> None:
        saved = ",".join(sorted({each.collection for each in changes}))
        self._observe(Observe("ocpp", "not_kept", {"collection": saved, "reason": str(error)[:200]}))

    def _settle(self) -> None:
        """Handle the core's new state, and schedule the next tick."""
        if self.core.kernel.online != self.online.is_set():
            (self.online.set if self.core.kernel.online else self.online.clear)()
            self.tried.set()
        try:
            self._changed()
        except Exception as error:  # noqa: BLE001 - the next tick must still come
            self._report_defect("changed", error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.core.deadline()
        if due is None or self._failure is None or self._failure.done():
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, min(due - self._clock.monotonic(), 86_400.0)), self._tick)

    def fact(self, fact: Fact) -> None:
        """Pass a fact of the hardware or the machine to the core."""
        self._guarded(lambda moment: self.core.handle(fact, moment))

    def _tick(self) -> None:
        self._guarded(self.core.tick)

    def _guarded(self, work: Callable[[Moment], list[Action]]) -> None:
        """Run a step whose result nothing awaits; see the class for a failing disk. A defect does not end the run."""
        try:
            saving = self.step(work)
        except StoreError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the next message and the next timer must still be handled
            self._report_defect("step", error)
            self._settle()
        else:
            if saving is not None:
                saving.add_done_callback(self._fail_with)

    def _report_defect(self, where: str, error: Exception) -> None:
        if (event := self.core.kernel.defect_event(where, error)) is not None:
            self._observe(event)

    def _fail_with(self, saving: Saving) -> None:
        if not saving.cancelled() and (error := saving.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None:
            self._failed()
        elif self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    # -- the connection

    def _drop(self) -> None:
        """End the connection after sending the queued frames: e.g. a response that makes the station reconnect."""
        connection, rest = self._connection, tuple(self._outgoing)
        self._connection = None
        self._outgoing.clear()
        if connection is None:
            return
        self._final_frames[connection] = rest
        if connection is not asyncio.current_task():
            connection.cancel()

    def _forget(self, connection: "asyncio.Task[None]") -> None:
        self._connections.discard(connection)
        self._final_frames.pop(connection, None)

    async def _use(self, wanted: Connect) -> None:
        """Connect, and pass frames both ways until the connection ends."""
        try:
            await self._converse(wanted)
        except Exception as error:  # noqa: BLE001 - the link must learn that there is no connection, and tries again
            self._report_defect("connection", error)
            if self._connection is asyncio.current_task():
                self._connection = None
                reason = f"{type(error).__name__}: {error}"
                self._guarded(lambda moment: self.core.lost(reason, moment))

    async def _converse(self, wanted: Connect) -> None:
        me = asyncio.current_task()
        try:
            socket = await connect(
                wanted.url,
                wanted.identity,
                context=self._context(wanted),
                versions=wanted.versions,
                timeout=wanted.timeout_s,
                ping_interval=wanted.ping_interval_s or None,
                password=wanted.password,
            )
        except V2GError as error:
            reason, tls = str(error), error.reason if isinstance(error, TlsError) else ""
            wait_s = error.wait_s if isinstance(error, UpgradeRefusedError) else 0.0
            self._guarded(lambda moment: self.core.failed(reason, moment, tls=tls, wait_s=wait_s))
            self.tried.set()
            return
        self._socket = socket
        sender = spawn(self._send(socket))
        try:
            self._guarded(lambda moment: self.core.opened(socket.version, moment))
            while self._connection is me:  # else the core has asked for another one
                text = await socket.receive()
                self._tap("received", text)
                self._guarded(lambda moment, text=text: self.core.receive(text, moment))  # type: ignore[misc]
        except TransportError as error:
            reason = str(error)
            if self._connection is me:
                self._connection = None
                self._guarded(lambda moment: self.core.closed(reason, moment))
        finally:
            await cancel_tasks(sender)
            with contextlib.suppress(TransportError, TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    for text, saving in self._final_frames.pop(me, ()) if me is not None else ():
                        if await _is_saved(saving):
                            await socket.send(text)
            if self._socket is socket:
                self._socket = None
            await socket.close()

    async def _send(self, socket: OcppSocket) -> None:
        try:
            while True:
                while self._outgoing:
                    first = self._outgoing[0]
                    if not await _is_saved(first[1]):
                        await asyncio.sleep(0)  # what sees the loss takes it out in the loop's next turn
                    elif self._outgoing and self._outgoing[0] is first:  # else the connection is gone
                        self._outgoing.popleft()
                        await socket.send(first[0])
                self._flush.clear()
                await self._flush.wait()
        except TransportError:
            pass  # the reader sees the end, too
        except Exception as error:  # noqa: BLE001 - a connection that cannot send is none
            self._report_defect("sender", error)
            await socket.close()

    # -- requests

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return the response; after `timeout` (s) the next one is sent.

        Raises OcppError (CALLERROR), TimeoutExpired, TransportError without a connection, RefusedError.
        """
        answered: asyncio.Future[Message | V2GError] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Message | V2GError) -> None:
            if not answered.done():
                answered.set_result(answer)

        self.step(lambda moment: self.core.call(request, on_answer, moment, timeout=timeout))
        try:
            async with asyncio.timeout(timeout):
                answer: object = await answered
        except TimeoutError:
            raise TimeoutExpired(f"{type(request).__name__} answer", timeout or 0.0) from None
        if isinstance(answer, V2GError):
            raise answer
        assert isinstance(answer, response)
        return answer


async def _is_saved(saving: Saving | None) -> bool:
    """Wait until a change is saved or lost; return whether what it reports may be sent."""
    if saving is None:
        return True
    if not saving.done():
        await asyncio.wait((saving,))
    return saving.cancelled() or saving.exception() is None


def _is_call(text: str) -> bool:
    return text.startswith(f"[{CALL},")


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_saved_first(changes: list[Keep]) -> bool:
    return any(each.collection in SAVED_FIRST and each.body is not None for each in changes)
