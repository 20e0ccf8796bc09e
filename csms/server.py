"""The OCPP end: listens, lets stations in, runs one session for each connection."""

import asyncio
import contextlib
import os
from pathlib import Path

from csms.core.admission import Admission, admit, serial_number_fits
from csms.desk import ANSWERS, REPORTS, Desk, Services
from csms.push import Pusher
from csms.rows import stations
from v2g.errors import ConfigError, OcppError
from v2g.net.websocket import OcppServer, OcppSocket, RpcConnection, TlsFiles, serve, server_context
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootNotificationResponse
from v2g.ocpp.routes import SUBPROTOCOLS
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.times import format_time

HANDLES = frozenset({"BootNotification", *ANSWERS, *REPORTS})
_QUIET_S = 2.0  # a station that only lost its connection may have nothing to say for a while


class Session:
    """One connection of one station, from handshake to end."""

    def __init__(self, services: Services, socket: OcppSocket, admission: Admission) -> None:
        config = services.config.ocpp
        self._services = services
        self._admission = admission
        self._accepted = False
        self._spoke = asyncio.Event()
        self.station_id = socket.identity
        peer = RpcPeer(socket.version, handles=HANDLES, entropy=os.urandom, timeout=config.call_timeout_s)
        self._connection = RpcConnection(socket, peer, handle=self._handle, clock=services.clock, observe=self._observe)
        self._pusher = Pusher(services, self.station_id, self._connection)
        self._desk = Desk(services, self.station_id, socket.version, self._pusher.add_needs)

    async def run(self) -> None:
        """Serve the station until the connection ends."""
        version = self._connection.version
        now_ms = self._services.clock.utc_ms()
        known = await self._services.store.run(stations.touch, self.station_id, f"ocpp{version}", now_ms)
        self._accepted = known == "Accepted" == self._admission.boot
        self._tell("station_connected", version=version)
        push = asyncio.create_task(self._push())
        try:
            await self._connection.run()
        finally:
            push.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await push
            self._tell("station_disconnected")

    def signal_changed(self) -> None:
        """There is a new grid signal."""
        self._pusher.wake()

    async def close(self, reason: str) -> None:
        """End the connection."""
        await self._connection.close(reason)

    async def _push(self) -> None:
        """Bring grid signals once the station is accepted: by boot now, or by an earlier boot and still so."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._spoke.wait(), _QUIET_S)
        while not self._accepted:
            self._spoke.clear()
            await self._spoke.wait()
        await self._pusher.run()

    async def _handle(self, action: str, request: Message) -> Message:
        if isinstance(request, BootNotificationRequest):
            return await self._boot(request)
        if not self._accepted:  # B01.FR.10, B02.FR.09, B03.FR.07
            raise OcppError("BootNotification has not been accepted", answer="SecurityError")
        self._spoke.set()
        return await self._desk.answer(action, request)

    async def _boot(self, request: BootNotificationRequest) -> BootNotificationResponse:
        services, station = self._services, request.charging_station
        config = services.config.ocpp
        if config.check_serial_number and not serial_number_fits(station.serial_number, self.station_id):
            self._tell("boot_refused", serial_number=station.serial_number)
            await self._connection.close("serial number differs from certificate")  # B01.FR.12
            raise OcppError("serial number differs from certificate", answer="SecurityError")
        status = self._admission.boot
        now_ms = services.clock.utc_ms()
        facts = {
            "boot_status": status,
            "boot_reason": request.reason,
            "vendor": station.vendor_name,
            "model": station.model,
            "serial_number": station.serial_number or "",
            "firmware": station.firmware_version or "",
        }
        await services.store.run(stations.save_boot, self.station_id, facts, now_ms)
        self._accepted = status == "Accepted"
        self._tell(f"boot_{status.lower()}", vendor=station.vendor_name, model=station.model, reason=request.reason)
        asyncio.get_running_loop().call_soon(self._spoke.set)  # the answer goes out first
        return BootNotificationResponse(
            current_time=format_time(now_ms), interval=config.heartbeat_interval_s, status=status
        )

    def _observe(self, event: Observe) -> None:
        self._services.observe(Observe(event.stage, event.name, {"station": self.station_id, **event.data}))

    def _tell(self, name: str, **data: Scalar) -> None:
        self._services.observe(Observe("ocpp", name, {"station": self.station_id, **data}))


class StationServer:
    """All stations. Serves from `start` to `close`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: dict[str, Session] = {}
        self._server: OcppServer | None = None

    async def start(self) -> int:
        """Listen; return the port. Raises ConfigError, KeyAccessError, or OSError when the port is taken."""
        config = self._services.config.ocpp
        if not config.client_roots:
            raise ConfigError("[ocpp]: client_roots is empty", hint="name the root of the stations' certificates")
        first, *others = config.client_roots
        context = server_context(TlsFiles(ca=Path(first), chain=Path(config.certificate), key=Path(config.key)))
        try:
            for root in others:
                context.load_verify_locations(root)
        except OSError as error:
            raise ConfigError(f"[ocpp]: {error}", hint="client_roots are PEM files") from None
        self._server = await serve(
            config.host,
            config.port,
            self._serve,
            context=context,
            path=config.path,
            versions=[SUBPROTOCOLS[name] for name in config.subprotocols],
            admit=lambda identity: self._admission(identity) is not None,
        )
        return self._server.port

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            await self._server.close()

    def connected(self) -> frozenset[str]:
        """Return the identities of connected stations."""
        return frozenset(self._sessions)

    def signal_changed(self) -> None:
        """Bring the new grid signal to every station."""
        for session in self._sessions.values():
            session.signal_changed()

    def _admission(self, identity: str) -> Admission | None:
        config = self._services.config
        return admit(identity, {entry.id: entry.boot for entry in config.stations}, unknown=config.accept_unknown)

    async def _serve(self, socket: OcppSocket) -> None:
        admission = self._admission(socket.identity)
        assert admission is not None
        session = Session(self._services, socket, admission)
        older = self._sessions.get(socket.identity)
        self._sessions[socket.identity] = session
        if older is not None:  # the station came back before its dead connection was noticed
            await older.close("connected again")
        try:
            await session.run()
        finally:
            if self._sessions.get(socket.identity) is session:
                del self._sessions[socket.identity]
