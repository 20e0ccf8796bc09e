"""The connection of a charging station to its CSMS: connect, register, deliver what waits, beat, reconnect.

One task lives as long as the station. Everything it sends on its own passes here, in this order: the boot
notification, connector states that the CSMS has not heard, transaction events, journal lines.
"""

import asyncio
import logging
import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from secc.station_store import QueuedEvent, QueuedLines, StationStore
from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError, V2GError
from v2g.net.clock import Clock
from v2g.net.websocket import RpcConnection, connect
from v2g.observe import Observe
from v2g.ocpp.answers import HANDLED, VENDOR, Registration
from v2g.ocpp.messages.availability import (
    ConnectorStatus,
    HeartbeatRequest,
    HeartbeatResponse,
    StatusNotificationRequest,
    StatusNotificationResponse,
)
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootNotificationResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.station import BOOT_WAIT, BackOff
from v2g.ocpp.times import format_time, parse_time
from v2g.ocpp.transactions import for_201

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

LINES_PER_MESSAGE: Final = 50
CHARACTERS_PER_MESSAGE: Final = 48_000


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the CSMS and how long to wait (s). Intervals can be changed by the CSMS, see `Settings`."""

    url: str
    identity: str
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    message_timeout: float = 30.0
    connect_timeout: float = 10.0
    ping_interval: float | None = 20.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Device model values that the connection obeys (s)."""

    heartbeat: float = 300.0
    offline_threshold: float = 60.0
    attempts: int = 5
    attempt_interval: float = 10.0
    back_off: BackOff = BackOff()


class StationLink:
    """The connection.

    `boot` makes the boot notification; `handle` answers requests; `settings` are read afresh each time they matter;
    `on_event_answered` sees what the CSMS says to a transaction event.
    """

    def __init__(
        self,
        link: LinkSettings,
        *,
        context: ssl.SSLContext | None,
        store: StationStore,
        clock: Clock,
        entropy: Callable[[int], bytes],
        observe: Callable[[Observe], None],
        boot: Callable[[], BootNotificationRequest],
        handle: Callable[[str, Message], Awaitable[Message]],
        settings: Callable[[], Settings],
        on_event_answered: Callable[[TransactionEventRequest, TransactionEventResponse], None],
    ) -> None:
        self._link = link
        self._context = context
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._observe = observe
        self._boot = boot
        self._handle = handle
        self._settings = settings
        self._on_event_answered = on_event_answered
        self._rpc: RpcConnection | None = None
        self._wake = asyncio.Event()
        self._boot_now = asyncio.Event()
        self._failures = 0
        self._interval = 0.0
        self._last_sent = 0.0
        self._events_from = self._lines_from = 0.0
        self._lines_attempts = 0
        self._went_offline = clock.monotonic()
        self._connectors: dict[tuple[int, int], ConnectorStatus] = {}
        self._unreported: dict[tuple[int, int], None] = {}
        self.registration: Registration = "Unknown"
        self.online = asyncio.Event()
        """Set while the CSMS is connected and has accepted this station."""
        self.idle = asyncio.Event()
        """Set while online and nothing waits."""

    @property
    def version(self) -> Version:
        """The version that is spoken, or would be offered first."""
        return self._rpc.version if self._rpc else self._link.versions[0]

    def connector(self, evse_id: int, connector_id: int, status: ConnectorStatus, *, again: bool = False) -> None:
        """Take note of a connector's state; a new one, or `again` any, is reported as soon as possible."""
        place = (evse_id, connector_id)
        if again or self._connectors.get(place) != status:
            self._connectors[place] = status
            self._unreported[place] = None
            self.wake()

    def wake(self) -> None:
        """Say that something waits for delivery."""
        self._wake.set()
        self.idle.clear()

    def boot_now(self) -> None:
        """Register without waiting for the interval (TriggerMessage)."""
        self._boot_now.set()

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request of any kind. Raises as `RpcConnection.call`, TransportError when there is no connection."""
        if self._rpc is None:
            raise TransportError("the CSMS is not connected")
        self._last_sent = self._clock.monotonic()
        return await self._rpc.call(request, response, timeout=timeout)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                socket = await connect(
                    self._link.url,
                    self._link.identity,
                    context=self._context,
                    versions=self._link.versions,
                    timeout=self._link.connect_timeout,
                    ping_interval=self._link.ping_interval,
                )
            except TransportError as error:
                self._note("csms_unreachable", reason=str(error)[:200], attempt=self._failures + 1)
            else:
                peer = RpcPeer(
                    socket.version, handles=HANDLED, entropy=self._entropy, timeout=self._link.message_timeout
                )
                rpc = RpcConnection(socket, peer, handle=self._handle, clock=self._clock, observe=self._observe)
                self._note("csms_connected", version=socket.version)
                await self._use(rpc)
                self._note("csms_disconnected", waiting=self._store.waiting())
            wait = self._settings().back_off.wait(self._failures, self._entropy)
            self._failures += 1
            await asyncio.sleep(wait)

    async def _use(self, rpc: RpcConnection) -> None:
        """Work on one connection until it ends."""
        self._rpc = rpc
        tasks = [asyncio.ensure_future(rpc.run()), asyncio.ensure_future(self._work(rpc))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if error := task.exception():
                    raise error
        finally:
            self._rpc = None
            if self.online.is_set():
                self.online.clear()
                self._went_offline = self._clock.monotonic()
            await rpc.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, rpc: RpcConnection) -> None:
        """Register, then deliver and beat; return when the connection is of no more use."""
        try:
            while True:
                await self._register()
                self._failures = 0
                self._report_connectors()
                self.online.set()
                self._note("csms_online", waiting=self._store.waiting())
                beat = asyncio.ensure_future(self._beat())
                try:
                    await self._deliver(rpc)
                finally:
                    beat.cancel()
                    await asyncio.gather(beat, return_exceptions=True)
                # Here the CSMS wants a registration that it has forgotten (B01.FR.10).
                self.online.clear()
                self.registration = "Unknown"
        except (TransportError, TimeoutExpired, RefusedError) as error:
            _log.info("connection given up: %s", error)

    # -- registration

    async def _register(self) -> None:
        """Send boot notifications until one is accepted; not at all when the CSMS knows this boot (OCPP-J 5.3)."""
        while self.registration != "Accepted":
            self._boot_now.clear()
            try:
                answer = await self.call(self._boot(), BootNotificationResponse)
            except OcppError as error:
                self._note("boot_refused", reason=str(error)[:200])
                wait = BOOT_WAIT
            else:
                self.registration = answer.status
                self._note("boot", status=answer.status, interval=answer.interval)
                self._clock_offset(answer.current_time)
                if answer.status == "Accepted":
                    self._interval = float(answer.interval)
                    self._unreported.update(dict.fromkeys(self._connectors))  # B01.FR.05
                    return
                wait = float(answer.interval) if answer.interval > 0 else BOOT_WAIT
            try:
                await asyncio.wait_for(self._boot_now.wait(), wait)
            except TimeoutError:
                continue

    def _report_connectors(self) -> None:
        """After a long time offline all connectors are reported, after a short one those that changed (B04)."""
        if self._clock.monotonic() - self._went_offline > self._settings().offline_threshold:
            self._unreported.update(dict.fromkeys(self._connectors))

    def _clock_offset(self, current_time: str) -> None:
        """Compare clocks. They are set by the operating system, which has better means than OCPP."""
        try:
            offset = parse_time(current_time) - self._clock.utc_ms()
        except OcppError:
            return
        self._note("clock_compared", offset_ms=offset)

    # -- heartbeat

    async def _beat(self) -> None:
        """Send a heartbeat whenever nothing else was sent for an interval (G02)."""
        while True:
            interval = self._interval or self._settings().heartbeat
            rest = self._last_sent + interval - self._clock.monotonic()
            if rest > 0:
                await asyncio.sleep(rest)
                continue
            try:
                answer = await self.call(HeartbeatRequest(), HeartbeatResponse)
            except V2GError as error:
                _log.info("heartbeat: %s", error)
            else:
                self._clock_offset(answer.current_time)

    # -- delivery

    async def _deliver(self, rpc: RpcConnection) -> None:
        """Send what waits, forever; return when the CSMS says that this station is not registered."""
        self._events_from = self._lines_from = 0.0
        try:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                event = self._store.next_event()
                lines = None if event else self._store.next_lines(LINES_PER_MESSAGE, CHARACTERS_PER_MESSAGE)
                if self._unreported:
                    await self._send_state()
                elif event is not None and now >= self._events_from:
                    await self._send_event(rpc, event)
                elif lines is not None and now >= self._lines_from:
                    await self._send_lines(lines)
                else:
                    if event is None and lines is None:
                        self.idle.set()
                    again = self._events_from if event else self._lines_from if lines else math.inf
                    await self._pause(again - now)
        except OcppError as error:
            if error.answer != "SecurityError":
                raise
            self._note("registration_forgotten")

    async def _pause(self, seconds: float) -> None:
        """Wait until something new is to be sent, or for some time."""
        try:
            await asyncio.wait_for(self._wake.wait(), None if math.isinf(seconds) else seconds)
        except TimeoutError:
            return

    async def _send_state(self) -> None:
        place = next(iter(self._unreported))
        del self._unreported[place]
        request = StatusNotificationRequest(
            timestamp=format_time(self._clock.utc_ms()),
            connector_status=self._connectors[place],
            evse_id=place[0],
            connector_id=place[1],
        )
        try:
            await self.call(request, StatusNotificationResponse)
        except OcppError as error:
            if error.answer == "SecurityError":
                raise
            self._note("status_refused", reason=str(error)[:200])
        except (TransportError, TimeoutExpired):
            self._unreported[place] = None
            raise

    async def _send_event(self, rpc: RpcConnection, event: QueuedEvent) -> None:
        """Send the oldest transaction event; when the CSMS cannot process it, wait and try again (E13)."""
        request = for_201(event.request) if rpc.version == "2.0.1" else event.request
        try:
            answer = await self.call(request, TransactionEventResponse)
        except OcppError as error:
            if error.answer == "SecurityError":
                raise
            self._event_failed(event, error)
        else:
            self._store.delivered(event)
            self._on_event_answered(event.request, answer)

    def _event_failed(self, event: QueuedEvent, error: OcppError) -> None:
        settings = self._settings()
        attempts = self._store.failed(event)
        facts: dict[str, Any] = {"seq_no": event.request.seq_no, "attempts": attempts, "reason": str(error)[:200]}
        if attempts >= settings.attempts:
            self._store.refuse(event, str(error))
            self._note("event_given_up", **facts)
            return
        self._note("event_refused", **facts)
        self._events_from = self._clock.monotonic() + settings.attempt_interval * attempts

    async def _send_lines(self, lines: QueuedLines) -> None:
        """Send journal lines. A CSMS that rejects them is asked again later, and at last not any more: what it has
        refused for good (a fork of its copy) must not hold up the sessions that follow, and the charger's own bundle
        is the evidence. A CSMS that does not know them is not asked until the next connection."""
        data = {"stationId": self._link.identity, "sessionId": lines.session_id, "lines": list(lines.lines)}
        request = DataTransferRequest(vendor_id=VENDOR, message_id="JournalEntries", data=data)
        status = "no answer"
        try:
            answer = await self.call(request, DataTransferResponse)
            status = answer.status
        except OcppError as error:
            if error.answer == "SecurityError":
                raise
            status = error.answer
        if status == "Accepted":
            self._lines_attempts = 0
            self._store.lines_delivered(lines)
            return
        self._note("journal_refused", status=status, lines=len(lines.lines))
        if status != "Rejected":
            self._lines_from = math.inf
            return
        settings = self._settings()
        self._lines_attempts += 1
        self._lines_from = self._clock.monotonic() + settings.attempt_interval
        if self._lines_attempts >= settings.attempts:
            self._lines_attempts = 0
            self._store.lines_delivered(lines)
            self._note("journal_given_up", session_id=lines.session_id, lines=len(lines.lines))

    def _note(self, name: str, **data: Any) -> None:
        self._observe(Observe("ocpp", name, data))
