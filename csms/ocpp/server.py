"""The OCPP server: listens, admits stations, runs one session for each connection."""

import asyncio
import itertools
import math
import os
import ssl
from collections import Counter
from collections.abc import Collection, Coroutine
from functools import partial
from importlib import import_module
from typing import Final, TypeVar

from csms.admission.rules import Admission, Boot, SecurityProfile, follows, serial_number_fits
from csms.admission.work import StationAdmissions
from csms.cluster.connections import Deviations
from csms.config import FurtherListener
from csms.device_model.work import mirror_after_boot
from csms.features import modules
from csms.grid.signal_delivery import Pusher
from csms.handlers import ANSWERS, QUICK, TAKES
from csms.ocpp16.work import StationFacts
from csms.services import HandlerContext, Services
from csms.smart_charging.rules import StationAbilities
from csms.station_security.authority import StationCa
from csms.stations import store as stations
from csms.stations.last_seen import LastSeen
from v2g.errors import ConfigError, OcppError, RefusedError, TimeoutExpired, V2GError
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.io.tls.files import RenewedContext, server_context
from v2g.io.tls.peer_chain import PeerJudge
from v2g.io.websocket.bridged import HANDLES as HANDLES_16
from v2g.io.websocket.bridged import BridgedConnection
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.rpc import RpcConnection
from v2g.io.websocket.server import OcppServer, serve, watch_handshakes
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages import remote_control as ocpp
from v2g.ocpp.messages.authorization import AuthorizeRequest
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootNotificationResponse
from v2g.ocpp.quirks import STRICT, StationQuirks, make_in_boot, quirks_of, read_tolerantly
from v2g.ocpp.routes import SUBPROTOCOLS, Version, action_of
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.times import format_time
from v2g.ocpp.v16.messages import RemoteStartTransactionReq, RemoteStopTransactionReq
from v2g.ocpp.v16.tolerance import answer_anyway, read_softly
from v2g.pki.profile import Role as CertificateRole

M = TypeVar("M", bound=Message)

_IN_WORK: Final = (
    "device_model", "dispatch", "display", "firmware", "payments", "reservations", "station_security", "tariffs",
    "tokens",
)  # fmt: skip
"""Features with few handlers, which are in `work`; those of other features load when something needs them."""

STATIONS: Final = (*modules("station"), *(import_module(f"csms.{feature}.work") for feature in _IN_WORK))
"""The modules with handlers: `station` of each feature, or `work`."""

HANDLES: Final = frozenset({"BootNotification", *ANSWERS, *QUICK, *TAKES})
"""Every action that stations may send; the session itself handles BootNotification."""

_STARTS_OR_STOPS: Final = (
    ocpp.RequestStartTransactionRequest, ocpp.RequestStopTransactionRequest,
    RemoteStartTransactionReq, RemoteStopTransactionReq,
)  # fmt: skip
_FRESH_S = 5.0  # validity of the handshake's data for the boot; later decisions are applied to the session
SILENT_BEATS: Final = 3
"""Heartbeats after which a connected station that has sent nothing is asked whether it is alive."""
_WATCH_S: Final = 10.0
_ASKED_AT_ONCE: Final = 100
_USUAL_S: Final = 1.0
"""Answers that take no longer do not count as waits: a station could ask for as many as it likes."""
_QUIET_S = 2.0  # a reconnected station may send nothing for a while


class StationSession:
    """One connection of one station, from handshake to end; registered as its connection."""

    __slots__ = (
        "_accepted",
        "_admission",
        "_admitted_at",
        "_after_boot",
        "_answered",
        "_answered_at",
        "_applying",
        "_asking",
        "_connection",
        "_context",
        "_decisions",
        "_noted_at",
        "_pause_s",
        "_profile",
        "_pusher",
        "_quirks",
        "_ready_at",
        "_services",
        "_tolerated",
        "_wanted",
        "station_id",
    )

    def __init__(self, services: Services, socket: OcppSocket, admission: Admission, profile: SecurityProfile) -> None:
        config = services.config.ocpp
        self._services = services
        self._admission = admission
        self._admitted_at = self._noted_at = services.clock.monotonic()
        self._profile = profile
        self._accepted = False
        self._answered: Boot | None = None
        self._wanted: frozenset[str] = frozenset()
        self._after_boot: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._applying: asyncio.Task[None] | None = None
        self._decisions = 0
        self._quirks = STRICT
        self._tolerated: Counter[str] = Counter()
        self._ready_at = self._pause_s = self._answered_at = 0.0
        self.station_id = socket.identity
        of_16 = socket.version == "1.6"
        peer = RpcPeer(
            socket.version,
            handles=HANDLES_16 if of_16 else HANDLES,
            entropy=os.urandom,
            timeout=config.call_timeout_s,
            mend=self._read_softly if of_16 else self._read_tolerantly,
            excuse=self._excuse,
        )
        tap = partial(services.frames.show, self.station_id)
        self._connection: RpcConnection | BridgedConnection
        if of_16:
            self._connection = BridgedConnection(
                socket,
                peer,
                handle=self._handle_any,
                quick=self._answer_quickly,
                find=StationFacts(services.store, services.clock, self.station_id).find,
                clock=services.clock,
                observe=self._observe,
                tap=tap,
            )
        else:
            self._connection = RpcConnection(
                socket,
                peer,
                handle=self._handle,
                clock=services.clock,
                observe=self._observe,
                on_send=self._take,
                quick=self._answer_quickly,
                tap=tap,
            )
        self._pusher = Pusher(services, self.station_id, self._connection)
        self._context = HandlerContext(
            services,
            self.station_id,
            self._connection.version,
            self._pusher.add_needs,
            self._pusher.transactions_changed,
        )

    async def run(self) -> None:
        """Serve the station until the connection ends."""
        version = self._connection.socket.version
        now_ms = self._services.clock.utc_ms()
        here_ms = self._services[LastSeen].unsaved_ms(self.station_id)
        contact = stations.StationContact(self.station_id, f"ocpp{version}", now_ms, here_ms)
        known = await self._services.store.gather(stations.touch_all, contact)
        self._accepted = known == "Accepted" == self._admission.boot and self._answered is None
        self._set_quirks(*await self._services.store.look_up(stations.makes, self.station_id))
        self._report("station_connected", version=version, profile=self._profile)
        quiet = asyncio.get_running_loop().call_later(_QUIET_S, self._begin)
        try:
            await self._connection.run()
        finally:
            quiet.cancel()
            self._accepted = False
            await cancel_tasks(self._after_boot)
            await self._pusher.close()
            self._services[LastSeen].left(self.station_id, self._services.clock.utc_ms())
            self._report("station_disconnected")

    @property
    def version(self) -> Version:
        """The version of OCPP."""
        return self._connection.version

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return its response, as `RpcConnection.call`.

        Raises RefusedError (`not_accepted`) until the station is accepted: everything while its boot
        is rejected (B03.FR.03), starts and stops while it is pending (B02.FR.05).
        """
        if not self._accepted:
            if self._answered is None and self._connection.socket.version == "1.6":  # some boot again and again
                raise RefusedError(f"{self.station_id} has not booted", reason="not_accepted", hint="wait for its boot")
            waits = isinstance(request, _STARTS_OR_STOPS)
            pending = self._answered == "Pending" or self._admission.boot != "Accepted"
            if self._answered == "Rejected" or (waits and pending):
                raise RefusedError(f"{self.station_id} is not accepted", reason="not_accepted", hint="admit it first")
            self._wanted |= follows(request)  # B02.FR.02
        clock = self._services.clock
        while (wait_s := self._ready_at - clock.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        begun = clock.monotonic()
        try:
            return await self._connection.call(request, response, timeout=timeout)
        finally:
            self._services.metrics.request_sent(action_of(request), clock.monotonic() - begun)

    @property
    def deviations(self) -> Deviations:
        """What was tolerated since the station connected, and what it has refused since its boot."""
        connection = self._connection
        if not isinstance(connection, BridgedConnection):
            return Deviations(dict(self._tolerated), ())
        return Deviations(dict(self._tolerated + connection.bridge.tolerated), tuple(sorted(connection.bridge.lacks)))

    async def close(self, reason: str = "") -> None:
        """Close the connection; `run` then returns."""
        await self._connection.close(reason)

    @property
    def silent_s(self) -> float:
        """Seconds since the station last sent anything; 0 while it is not accepted, or already asked."""
        asked = self._asking is not None and not self._asking.done()
        return 0.0 if asked or not self._accepted else self._services.clock.monotonic() - self._connection.received_at

    def note_seen(self, every_s: float) -> None:
        """Note when the station last sent anything, so often: one that sends other things need send no heartbeats."""
        clock, heard_at = self._services.clock, self._connection.received_at
        if heard_at >= self._noted_at + every_s:
            self._noted_at = heard_at
            ago_ms = round((clock.monotonic() - heard_at) * 1000 * clock.scale)
            self._services[LastSeen].note(self.station_id, clock.utc_ms() - ago_ms)

    def ask_whether_alive(self) -> None:
        """Ask a silent station for a heartbeat; one that does not answer is reported and disconnected."""
        self._asking = spawn(self._ask_whether_alive(round(self.silent_s)), name="silent station")

    async def _ask_whether_alive(self, silent_s: int) -> None:
        try:
            await self.call(ocpp.TriggerMessageRequest(requested_message="Heartbeat"), ocpp.TriggerMessageResponse)
        except TimeoutExpired:
            self._report("station_silent", silent_s=silent_s)
            await self.close("silent")
        except V2GError:
            pass  # refused, hence alive; or disconnected, which is reported

    def signal_changed(self) -> None:
        """Wake the sender of grid signals."""
        self._pusher.wake()

    async def apply_decision(self, *, credentials: bool = False) -> None:
        """Apply an operator's decision: take nothing more from the station, or have it boot again (F06, B02).

        On return it is in force, also for a boot that is being answered; one whose answer is still on its way ends the
        connection. See `StationAdmissions.standing`.
        """
        self._decisions += 1
        held, why = self._admission, "refused"
        try:
            admission = await self._services[StationAdmissions].standing(
                self.station_id, self._profile, held, credentials=credentials
            )
        except V2GError as error:  # the station reconnects, and is checked again
            self._report("decision_not_read", reason=str(error)[:200])
            admission, why = None, "decided anew"
        if admission is None:
            self._admitted_at = -math.inf
            self._accepted, self._answered = False, "Rejected"
            if not self._connection.socket.drop_unread():
                self._applying = spawn(self._connection.close(why))
        elif admission != held:
            self._admission = admission
            self._accepted = self._accepted and admission.boot == "Accepted"
            if not self._connection.socket.drop_unread():
                self._applying = spawn(self._trigger_boot())

    async def _trigger_boot(self) -> None:
        try:
            await self.call(
                ocpp.TriggerMessageRequest(requested_message="BootNotification"), ocpp.TriggerMessageResponse
            )
        except V2GError as error:  # it boots again after the interval in its boot response
            self._report("boot_not_triggered", reason=str(error)[:200])

    def _begin(self) -> None:
        """Send grid signals once the station is accepted: by this boot, or by an earlier one that still counts."""
        if self._accepted and self._services.clock.monotonic() >= self._ready_at:
            self._pusher.begin()

    def _answer_quickly(self, action: str, request: Message) -> Message | None:
        quick = QUICK.get(action)
        if quick is None:
            return None
        self._admit(action)
        self._services.metrics.request_received(action, 0.0)
        return quick(self._context, request)

    def _admit(self, action: str) -> None:
        """Check that the station may send this before and after it is accepted. Raises OcppError."""
        if not self._accepted and action not in self._wanted:  # B01.FR.10, B02.FR.09, B03.FR.07
            raise OcppError("BootNotification has not been accepted", answer="SecurityError")
        self._begin()

    async def _handle_any(self, action: str, request: Message) -> Message:
        return self._answer_quickly(action, request) or await self._handle(action, request)

    async def _handle(self, action: str, request: Message) -> Message:
        if isinstance(request, BootNotificationRequest):
            return await self._boot(request)
        self._admit(action)
        clock, context = self._services.clock, self._context
        begun = clock.monotonic()
        context.behind_s = max(0.0, context.behind_s - max(0.0, begun - self._answered_at))  # meanwhile it had none
        try:
            try:
                answered = await ANSWERS[action](context, request)
            finally:
                context.behind_s += max(0.0, clock.monotonic() - begun - _USUAL_S)
            if isinstance(request, AuthorizeRequest):  # which is the station's own time
                await self._pusher.limit_first()
            return answered
        finally:
            self._answered_at = clock.monotonic()
            self._services.metrics.request_received(action, self._answered_at - begun)

    async def _take(self, action: str, message: Message) -> None:
        if self._accepted:
            await TAKES[action](self._context, message)

    async def _boot(self, request: BootNotificationRequest) -> BootNotificationResponse:
        services, station = self._services, request.charging_station
        config = services.config.ocpp
        check = config.check_serial_number and self._profile == 3  # B01.FR.11
        if check and not serial_number_fits(station.serial_number, self.station_id):
            self._report("boot_refused", serial_number=station.serial_number)
            await services[StationAdmissions].note_boot(self.station_id, station.serial_number or "")
            await self._connection.close("serial number differs from certificate")  # B01.FR.12
            raise OcppError("serial number differs from certificate", answer="SecurityError")
        while True:
            decisions, expired = self._decisions, self._admission.expired
            await self._read_admission()
            status, now_ms = self._admission.boot, services.clock.utc_ms()
            changed = await self._save_boot(request, status, now_ms)
            if decisions == self._decisions:  # else an operator has decided meanwhile
                break
        services[StationAbilities].forget(self.station_id, firmware_changed=changed)
        self._set_quirks(station.vendor_name, station.model, station.firmware_version or "")
        self._answered, self._accepted = status, status == "Accepted"
        self._wanted = frozenset()
        name = "boot_accepted" if self._accepted else "boot_pending" if status == "Pending" else "boot_rejected"
        self._report(name, vendor=station.vendor_name, model=station.model, reason=request.reason)
        loop = asyncio.get_running_loop()
        loop.call_later(self._pause_s, self._begin)  # the answer is sent first
        if self._accepted:
            self._after(mirror_after_boot(services, self.station_id, changed=changed))
        elif expired and status == "Pending":  # A00.FR.429: it connects only to renew its certificate
            self._after(services[StationCa].renew_expired(self.station_id))
        interval = config.heartbeat_interval_s if self._accepted else config.pending_interval_s
        return BootNotificationResponse(current_time=format_time(now_ms), interval=interval, status=status)

    async def _read_admission(self) -> None:
        fresh = self._answered is None and self._services.clock.monotonic() - self._admitted_at <= _FRESH_S
        if fresh:
            return
        admission = await self._services[StationAdmissions].standing(
            self.station_id, self._profile, self._admission, credentials=False
        )
        if admission is None:
            await self._connection.close("refused")
            raise OcppError("not admitted", answer="SecurityError")
        self._admission = admission

    async def _save_boot(self, request: BootNotificationRequest, status: Boot, now_ms: int) -> bool:
        """Store what a station says of itself; return whether its firmware has changed."""
        station = request.charging_station
        facts = {
            "boot_status": status,
            "boot_reason": request.reason,
            "vendor": station.vendor_name,
            "model": station.model,
            "serial_number": station.serial_number or "",
            "firmware": station.firmware_version or "",
        }
        return await self._services.store.gather(
            stations.save_boots, stations.StationBoot(self.station_id, facts, now_ms)
        )

    def _set_quirks(self, vendor: str, model: str, firmware: str) -> None:
        """Set what is done for a make; its pause begins at the connection, too, as its boot may follow."""
        self._quirks = quirks_of(vendor, model, firmware, self._own_quirks)
        self._pause_s = self._quirks.delay_after_boot_s
        if self._quirks.never_ping:
            self._connection.socket.stop_pings()
        if isinstance(self._connection, BridgedConnection):
            self._connection.bridge.quirks = self._quirks
            self._pause_s = max(self._pause_s, self._services.config.ocpp.pause_after_boot_s)
        self._ready_at = self._services.clock.monotonic() + self._pause_s

    @property
    def _own_quirks(self) -> tuple[StationQuirks, ...]:
        return self._services.config.ocpp.quirks

    def _read_tolerantly(self, payload: bytes, type_: type[Message]) -> Message:
        """Read a refused payload by the quirks of the station, and report each once. Raises OcppError."""
        quirks = self._quirks
        if type_ is BootNotificationRequest:  # it says what the station is now
            quirks = quirks_of(*make_in_boot(payload), self._own_quirks)
        message, shown = read_tolerantly(payload, type_, self.version, quirks.tolerates)
        self._tolerate(shown, type_)
        return message

    def _read_softly(self, payload: bytes, type_: type[Message]) -> Message:
        """Read a refused payload of 1.6, of which every soft violation is tolerated. Raises OcppError."""
        message, shown = read_softly(payload, type_)
        self._tolerate(shown, type_)
        return message

    def _excuse(self, action: str, error: OcppError) -> Message | None:
        """Return the answer to a message of a transaction that cannot be read."""
        answer = answer_anyway(action) if self._connection.socket.version == "1.6" else None
        if answer is not None:
            self._report("transaction_message_refused", action=action, reason=str(error)[:200])
        return answer

    def _tolerate(self, shown: frozenset[str], type_: type[Message]) -> None:
        for name in sorted(shown - self._tolerated.keys()):
            self._report("quirk_tolerated", quirk=name, message=type_.__name__)
        self._tolerated.update(shown)

    def _after(self, work: Coroutine[object, object, None]) -> None:
        """Run something after the answer to the boot was sent."""
        self._after_boot = spawn(work)
        self._after_boot.add_done_callback(self._mirrored)

    def _mirrored(self, task: asyncio.Task[None]) -> None:
        if self._after_boot is task:
            self._after_boot = None

    def _observe(self, event: Observe) -> None:
        self._services.report(event.stage, event.name, self.station_id, event.data)

    def _report(self, name: str, **data: Scalar) -> None:
        self._services.report("ocpp", name, self.station_id, data)


class StationServer:
    """All stations. Serves from `start` to `close`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: dict[StationSession, None] = {}
        self._servers: list[OcppServer] = []
        services.connections.apply = self._apply_decisions
        self.renewed: list[RenewedContext] = []

    async def start(self) -> list[int]:
        """Listen; return the ports, of `[ocpp]` first, then of its `listeners`.

        Raises ConfigError, KeyAccessError, or OSError when a port is in use.
        """
        config = self._services.config.ocpp
        main = FurtherListener(host=config.host, port=config.port, security_profile=config.security_profile)
        for listener in (main, *config.listeners):
            self._servers.append(await self._listen(listener))
        return [server.port for server in self._servers]

    async def _listen(self, listener: FurtherListener) -> OcppServer:
        services, config, profile = self._services, self._services.config.ocpp, listener.security_profile
        admissions, judge = services[StationAdmissions], None
        if profile == 3:
            if not config.client_roots:
                raise ConfigError("[ocpp]: client_roots is empty", hint="add the root of the stations' certificates")
            judge = PeerJudge(
                config.client_roots, CertificateRole.STATION, services.clock, strict=config.strict_certificates
            )
        if profile == 1:
            services.observe(Observe("ocpp", "listener_without_tls", {"host": listener.host, "port": listener.port}))
        return await serve(
            listener.host,
            listener.port,
            partial(self.serve, profile=profile),
            context=None if profile == 1 else self._context(profile),
            path=config.path,
            versions=[SUBPROTOCOLS[name] for name in config.subprotocols],
            welcome=admissions.handshake_check(profile, judge),
            strange=admissions.tls_without_need,
            shared=services.config.shared_ports,
            without_subprotocol=frozenset(each.id for each in services.config.stations if each.without_subprotocol),
        )

    def _context(self, profile: SecurityProfile) -> ssl.SSLContext:
        config = self._services.config.ocpp
        if config.certificate is None or config.key is None:
            raise ConfigError("[ocpp]: certificate and key are missing", hint="only security profile 1 works without")
        pairs = [(config.certificate, config.key)]
        if (config.rsa_certificate is None) != (config.rsa_key is None):
            raise ConfigError("[ocpp]: rsa_certificate and rsa_key belong together", hint="set both, or neither")
        if config.rsa_certificate is not None and config.rsa_key is not None:
            pairs.append((config.rsa_certificate, config.rsa_key))
        roots = config.client_roots if profile == 3 else ()
        context = server_context(*pairs[0], roots, second=pairs[1] if pairs[1:] else None, check_dates=profile != 3)
        watch_handshakes(context, self._services[StationAdmissions].tls_failed)
        self.renewed += [RenewedContext(context, *pair, self._services.observe) for pair in pairs]
        return context

    async def close(self) -> None:
        """Stop listening and close every connection."""
        for server in self._servers:
            await server.close()

    async def watch_silence(self) -> None:
        """Find stations whose connection is open, but which have sent nothing for several heartbeats."""
        beat_s = self._services.config.ocpp.heartbeat_interval_s
        longest_s = SILENT_BEATS * beat_s
        while True:
            await asyncio.sleep(min(_WATCH_S, beat_s))
            for session in self._sessions:
                session.note_seen(beat_s)
            silent = (session for session in list(self._sessions) if session.silent_s > longest_s)
            for session in itertools.islice(silent, _ASKED_AT_ONCE):
                session.ask_whether_alive()

    def signal_changed(self) -> None:
        """Send the new grid signal to every station."""
        for session in self._sessions:
            session.signal_changed()

    async def serve(self, socket: OcppSocket, profile: SecurityProfile = 3) -> None:
        """Serve an admitted station until its connection ends; an older connection of it is closed."""
        admission = await self._services[StationAdmissions].let_in(socket.identity, profile, socket.transport)
        if admission is None:  # decided since the handshake
            await socket.close("not admitted", code=1008)
            return
        session = StationSession(self._services, socket, admission, profile)
        connections = self._services.connections
        older = connections.register(socket.identity, session)
        self._sessions[session] = None
        try:
            if older is not None:  # the station came back before its dead connection was noticed
                await older.close("connected again")
            await session.run()
        finally:
            del self._sessions[session]
            connections.unregister(socket.identity, session)

    async def _apply_decisions(self, station_ids: Collection[str], credentials: bool) -> None:
        """Apply operators' decisions, made on any node, to stations that are connected here."""
        self._services[StationAdmissions].decided()
        decided = frozenset(station_ids)
        sessions = [each for each in self._sessions if each.station_id in decided]
        await asyncio.gather(*(each.apply_decision(credentials=credentials) for each in sessions))
