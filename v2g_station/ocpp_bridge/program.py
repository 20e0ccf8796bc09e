"""The program: a listener for stations, and for each one connection to the back end, of the other version.

What has to outlive the program is in a SQLite file before the answer that rests on it. Nothing is queued here: without
the back end a station is disconnected, keeps its messages of transactions, and sends them again.
"""

import asyncio
import hmac
import logging
import os
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from v2g import typed_json
from v2g.errors import ConfigError, OcppError, StoreError, V2GError
from v2g.io.metrics import counter, exposition, gauge
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.io.tls.files import TlsFiles, server_context
from v2g.io.websocket.bridged import HANDLES, BridgedConnection
from v2g.io.websocket.client import OcppSocket, connect
from v2g.io.websocket.rpc import RpcConnection
from v2g.io.websocket.server import Handshake, OcppServer, Refusal, serve, welcome
from v2g.observe import Observe
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.quirks import quirks_of
from v2g.ocpp.routes import Version, answer_to, known
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.v16 import to_back_end as _to_back_end  # noqa: F401 - registers its translations
from v2g.ocpp.v16.bridge import TO_STATION, Question
from v2g.ocpp.v16.mirror import FROM_OUR_STATION
from v2g.ocpp.v16.mirrored import MirroredPeer
from v2g.ocpp.v16.tolerance import answer_anyway, read_softly
from v2g.pki.keys import read_secret
from v2g_station.ocpp_bridge.facts import BridgeFacts
from v2g_station.ocpp_bridge.station_behind import StationBehind

_log = logging.getLogger(__name__)

_TO_16: Final = frozenset(each.__name__.removesuffix("Request") for each in TO_STATION)
_FROM_20: Final = frozenset(each.__name__.removesuffix("Request") for each in FROM_OUR_STATION) | {"NotifyReport"}
_MAKE: Final = ("make", "")
"""Where vendor, model and firmware of a station are kept."""


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where stations come in, and where they go on.

    With `client_roots` a station shows a certificate with its identity, else a password. `identities` has a folder for
    each station: `chain.pem` and `leaf.key`, by which the back end knows it, and `password`, by which it is known here,
    and to the back end if it has no certificate; without `identities` its own password goes on, and the back end judges
    it. `back_end`: the version that it speaks; the stations speak the other. `pause_s`: how long after its boot a
    station of 1.6 gets no requests, at least.
    """

    back_end: Version = "2.0.1"
    listen: str
    to: str
    store: Path
    chain: Path | None = None
    key: Path | None = None
    client_roots: tuple[Path, ...] = ()
    ca: Path | None = None
    identities: Path | None = None
    metrics: Path | None = None
    pause_s: float = 1.0


class OcppBridge:
    """The program. Raises ConfigError, KeyAccessError or StoreError where it cannot start."""

    def __init__(self, options: BridgeOptions, clock: Clock, observe: Callable[[Observe], None]) -> None:
        self._options, self._clock, self._observe = options, clock, observe
        self._passwords: dict[str, str] = {}
        self._behind: dict[str, StationBehind] = {}
        self._connected: dict[str, OcppSocket] = {}
        self._counts: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        if urlsplit(options.listen).scheme == "wss" and (options.chain is None or options.key is None):
            raise ConfigError("--listen wss: needs --chain and --key", hint="make them: v2g pki --help")
        if urlsplit(options.to).scheme == "wss" and options.ca is None:
            raise ConfigError("--to wss: needs --ca", hint="the root of the back end's certificate")
        self.facts: Final = BridgeFacts(options.store, clock.utc_ms())

    async def start(self) -> OcppServer:
        """Listen for stations; return the listener."""
        options, where = self._options, urlsplit(self._options.listen)
        context = None
        if where.scheme == "wss":
            assert options.chain is not None
            assert options.key is not None
            context = server_context(options.chain, options.key, options.client_roots)
        return await serve(
            where.hostname or "127.0.0.1", where.port or 0, self._serve,
            context=context, path=where.path or "/",
            versions=("2.0.1",) if options.back_end == "1.6" else ("1.6",), welcome=self._welcome,
        )  # fmt: skip

    async def _welcome(self, handshake: Handshake) -> Refusal | None:
        shown = handshake.credentials
        identity, folder = handshake.identity, self._options.identities
        if identity is None or identity.startswith("."):  # which would be another folder
            return Refusal(404, "no such charging station")
        if self._options.client_roots:
            return await welcome(handshake)
        if shown is None or shown.username != identity:
            return Refusal(401, "a password is needed")
        if folder is None:
            self._passwords[identity] = shown.password
        else:
            try:
                wanted = read_secret(folder / identity / "password").strip()
            except V2GError:
                return Refusal(401, "unknown station or password")
            if not hmac.compare_digest(wanted, shown.password.encode()):
                return Refusal(401, "unknown station or password")
        return None

    def _upward(self, identity: str) -> tuple[ssl.SSLContext | None, str | None]:
        """Return how the back end knows a station: by a certificate, or by a password."""
        folder, own, password = self._options.identities, None, self._passwords.get(identity)
        if folder is not None and (folder / identity / "chain.pem").exists():
            own = (folder / identity / "chain.pem", folder / identity / "leaf.key")
        elif folder is not None:
            password = read_secret(folder / identity / "password").strip().decode()
        if self._options.ca is None or urlsplit(self._options.to).scheme != "wss":
            return None, password
        return TlsFiles(self._options.ca, *(own or ())).context(), password

    async def _serve(self, socket: OcppSocket) -> None:
        """Serve a station until either side ends its connection; an older connection of it is closed."""
        identity = socket.identity
        try:
            context, password = self._upward(identity)
            upward = await connect(
                self._options.to, identity, context=context, versions=(self._options.back_end,), password=password
            )
        except V2GError as error:
            self._report("back_end_not_reached", identity, str(error))
            await socket.close("the back end cannot be reached", code=1013)
            return
        if (older := self._connected.get(identity)) is not None:
            await older.close("connected again")
        self._connected[identity] = socket
        self._counts["connections"] += 1
        join = self._join_20 if self._options.back_end == "1.6" else self._join_16
        sides = [spawn(each.run()) for each in await join(socket, upward)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await asyncio.gather(socket.close("the other side has ended"), upward.close(), return_exceptions=True)
            await asyncio.gather(*sides, return_exceptions=True)
            if self._connected.get(identity) is socket:
                del self._connected[identity]

    async def _join_16(self, socket: OcppSocket, upward: OcppSocket) -> tuple[BridgedConnection, RpcConnection]:
        """Connect a station of 1.6 with a back end of 2.0.1."""
        identity, clock = socket.identity, self._clock
        ready_at = 0.0

        def apply(make: tuple[str, str, str]) -> None:
            nonlocal ready_at
            station.bridge.quirks = quirks_of(*make, ())
            if station.bridge.quirks.never_ping:
                socket.stop_pings()
            ready_at = clock.monotonic() + max(self._options.pause_s, station.bridge.quirks.delay_after_boot_s)

        async def up(action: str, request: Message) -> Message:
            self._counts["up"] += 1
            answer = await back_end.call(request, answer_to(request))
            if isinstance(request, TransactionEventRequest):
                await self.facts.note(request)
            if isinstance(request, ocpp.BootNotificationRequest):
                about = request.charging_station
                apply(make := (about.vendor_name, about.model, about.firmware_version or ""))
                await self.facts.keep(identity, {_MAKE: msgspec.json.encode(make)})
            return answer

        async def down(action: str, request: Message) -> Message:
            self._counts["down"] += 1
            while (wait_s := ready_at - clock.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            answer = await station.call(request, answer_to(request))
            if getattr(answer, "status", "") == "Accepted":
                await self.facts.note_profiles(identity, request)
            return answer

        async def find(question: Question) -> Any:
            return await self.facts.find(identity, question)

        def mend(payload: bytes, type_: type[Message]) -> Message:
            message, shown = read_softly(payload, type_)
            self._refusals.update(f"tolerated {each}" for each in shown)
            return message

        def excuse(action: str, error: OcppError) -> Message | None:
            if (answer := answer_anyway(action)) is not None:
                self._report("transaction_message_refused", identity, str(error))
            return answer

        below = RpcPeer("1.6", handles=HANDLES, entropy=os.urandom, mend=mend, excuse=excuse)
        above = RpcPeer("2.0.1", handles=_TO_16, entropy=os.urandom)
        observe = self._observer(identity)
        station = BridgedConnection(socket, below, handle=up, find=find, clock=clock, observe=observe)
        back_end = RpcConnection(upward, above, handle=down, clock=clock, observe=observe)
        for kind, name, value in await self.facts.kept(identity):
            if (kind, name) == _MAKE:
                apply(typed_json.decode(value, tuple[str, str, str]))
        return station, back_end

    async def _join_20(self, socket: OcppSocket, upward: OcppSocket) -> tuple[RpcConnection, RpcConnection]:
        """Connect a station of 2.0.1 with a back end of 1.6."""
        identity, clock = socket.identity, self._clock
        here = self._behind.get(identity)
        if here is None:
            here = self._behind.setdefault(identity, StationBehind(await self.facts.kept(identity)))
        behind = here

        async def up(action: str, request: Message) -> Message:
            self._counts["up"] += 1
            try:
                answer = behind.hear(request)
                try:
                    if answer is None:
                        answer = await back_end.call(request, answer_to(request))
                        behind.ended(request)
                finally:
                    await self._keep(identity, behind)
            except OcppError:
                raise
            except V2GError:
                if isinstance(request, TransactionEventRequest):  # an error counts as an attempt: it would be given up
                    await socket.close("not delivered")
                raise
            if isinstance(answer, ocpp.BootNotificationResponse) and answer.status == "Accepted":
                spawn(ask_limits())
            return answer

        async def ask_limits() -> None:
            asked = behind.report_wanted(clock.utc_ms() // 1000 % 2**31)
            try:
                if asked is not None:
                    await station.call(asked, ocpp.GetReportResponse)
            except V2GError as error:
                self._report("limits_not_reported", identity, str(error))

        async def down(action: str, request: Message) -> Message:
            self._counts["down"] += 1
            await self._keep(identity, behind)
            if isinstance(request, ocpp.SetVariablesRequest) and self._knows_passwords:
                (one,) = request.set_variable_data
                if one.variable.name == "BasicAuthPassword":
                    refused = ocpp.SetVariableResult(
                        attribute_status="Rejected", component=one.component, variable=one.variable
                    )
                    return ocpp.SetVariablesResponse(set_variable_result=(refused,))
            return await station.call(request, answer_to(request))

        below = RpcPeer("2.0.1", handles=_FROM_20, entropy=os.urandom)
        above = MirroredPeer(
            behind.mirror, handles=known("2.0.1"), find=behind.find, utc_ms=clock.utc_ms, entropy=os.urandom
        )
        observe = self._observer(identity)
        station = RpcConnection(socket, below, handle=up, clock=clock, observe=observe)
        back_end = RpcConnection(upward, above, handle=down, clock=clock, observe=observe)
        return station, back_end

    async def _keep(self, identity: str, behind: StationBehind) -> None:
        changes = behind.changes()
        try:
            await self.facts.keep(identity, changes)
        except StoreError:
            behind.not_kept(changes)
            raise

    @property
    def _knows_passwords(self) -> bool:
        return self._options.identities is not None or bool(self._options.client_roots)

    def _observer(self, identity: str) -> Callable[[Observe], None]:
        return lambda event: self._observe(msgspec.structs.replace(event, data={**event.data, "station": identity}))

    def _report(self, name: str, identity: str, reason: str) -> None:
        self._refusals[name] += 1
        _log.warning("%s: %s", identity, reason)

    async def write_metrics(self) -> None:
        """Write the file for the textfile collector of Prometheus' node exporter every 15 s, until cancelled."""
        path = self._options.metrics
        while path is not None:
            part = path.with_name(f".{path.name}.part")
            part.write_bytes(self.metrics())
            part.replace(path)
            await asyncio.sleep(15.0)

    def metrics(self) -> bytes:
        """Return the program's metrics."""
        return exposition((
            gauge("v2g_bridge_stations", "Stations connected.", len(self._connected)),
            counter("v2g_bridge_connections", "Connections of stations.", self._counts["connections"]),
            counter("v2g_bridge_requests", "Requests by direction.",
                    {each: self._counts[each] for each in ("up", "down")}, "direction"),
            counter("v2g_bridge_problems", "Deviations and failures by kind.", dict(self._refusals), "kind"),
        ))  # fmt: skip
