"""Stations of OCPP 1.6 behind any back end of 2.0.1 (R201), one connection upward for each: `v2g ocpp-bridge`.

`v2g.ocpp.v16` translates. What has to outlive the program is in a SQLite file: the numbers of transactions, and how
far the back end has confirmed their events. Nothing is queued here: without the back end a station is disconnected,
keeps its messages of transactions, and sends them again.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import sqlite3
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from v2g.errors import ConfigError, StoreError, V2GError
from v2g.io.metrics import counter, exposition, gauge
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.io.websocket.bridged import HANDLES, BridgedConnection
from v2g.io.websocket.client import OcppSocket, TlsFiles, client_context, connect, server_context
from v2g.io.websocket.rpc import RpcConnection
from v2g.io.websocket.server import Handshake, OcppServer, Refusal, serve, welcome
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.routes import answer_to
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.times import parse_time
from v2g.ocpp.v16.bridge import TO_STATION, IsStored, Numbered, NumberOf, OngoingAt, Question, TransactionOf, TypeOf
from v2g.ocpp.v16.tolerance import read_softly
from v2g.pki.keys import read_secret

_log = logging.getLogger(__name__)

REFUSED: Final[Mapping[str, str]] = {
    "ClearDisplayMessage GetDisplayMessages SetDisplayMessage": "no messages on displays",
    "ClearVariableMonitoring GetMonitoringReport SetMonitoringBase SetMonitoringLevel": "no monitors",
    "SetVariableMonitoring": "no monitors",
    "CustomerInformation": "no data of customers",
    "GetChargingProfiles": "no report of profiles",
    "GetReport": "reports of all keys alone (GetBaseReport)",
    "GetTransactionStatus": "no state of queued messages",
    "PublishFirmware UnpublishFirmware": "no local distribution of firmware",
    "SetNetworkProfile": "no network profiles",
}
"""Requests of 2.0.1 that no station of 1.6 gets, and why."""

PARTLY: Final[Mapping[str, str]] = {
    "CostUpdated": "by DataTransfer, where CustomDisplayCostAndPrice is true",
    "GetBaseReport": "no summary inventory",
    "GetLog": "no security log without the security whitepaper",
    "RequestStartTransaction": "an idTag has 20 characters",
    "Reset": "not of one EVSE",
    "SetChargingProfile": "one schedule, no discharge, limits in tenths, rounded down",
    "TriggerMessage": "of eight messages",
}
"""Requests of which a part is refused."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS transactions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, station TEXT NOT NULL, start TEXT NOT NULL, connector INTEGER NOT NULL,
  begun_ms INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
  state TEXT NOT NULL DEFAULT 'EVConnected', said TEXT NOT NULL DEFAULT '', UNIQUE (station, start))
"""
_CARD: Final = re.compile(r"(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20})\Z")
_CONTRACT: Final = re.compile(r"[A-Za-z]{2}-?[0-9A-Za-z]{3}-?C?[0-9A-Za-z]{8,9}(?:-?[0-9A-Za-z])?\Z")


def explain() -> str:
    """Return what a back end of 2.0.1 cannot do with a station of 1.6, a line for each request."""
    lost = {action: why for actions, why in REFUSED.items() for action in actions.split()}
    return "".join(
        f"{action}: {why}\n"
        for action, why in sorted([(name, f"refused: {why}") for name, why in lost.items()] + [*PARTLY.items()])
    )


_HANDLED: Final = frozenset(each.__name__.removesuffix("Request") for each in TO_STATION)


class BridgeFacts:
    """What is known of transactions, in a SQLite file. Raises StoreError."""

    def __init__(self, path: Path, now_ms: int) -> None:
        self._lock = asyncio.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'transactions'").fetchone():
                self._db.execute(_TABLES)
                # another file, should this one be lost, counts from another number
                self._db.execute("INSERT INTO sqlite_sequence VALUES ('transactions', ?)", (now_ms // 1000,))
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from None

    async def _run(self, sql: str, *values: object) -> list[Any]:
        def work() -> list[Any]:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(str(error)) from None

        async with self._lock:
            return await asyncio.to_thread(work)

    async def find(self, station: str, question: Question) -> Any:
        """Answer a question of the bridge."""
        match question:
            case NumberOf(connector_id=connector, timestamp=at):
                digest = hashlib.sha256(msgspec.json.encode(question)).hexdigest()
                begun = ("INSERT INTO transactions (station, start, connector, begun_ms) VALUES (?, ?, ?, ?)"
                         " ON CONFLICT DO NOTHING")  # fmt: skip
                await self._run(begun, station, digest, connector, parse_time(at))
                return (await self._numbered("station = ? AND start = ?", station, digest))[0]
            case TransactionOf(number=number):
                return next(iter(await self._numbered("station = ? AND number = ?", station, number)), None)
            case OngoingAt(at_ms=at_ms):
                return await self._numbered("station = ? AND active AND next_seq AND begun_ms <= ?", station, at_ms)
            case IsStored(event=event):
                same = "SELECT 1 FROM transactions WHERE number = ? AND said = ?"
                return bool(await self._run(same, int(event.transaction_info.transaction_id), _said(event)))
            case TypeOf(id_tag=id_tag):
                return "ISO14443" if _CARD.match(id_tag) else "eMAID" if _CONTRACT.match(id_tag) else "Central"
        raise TypeError(question)

    async def _numbered(self, where: str, *values: object) -> tuple[Numbered, ...]:
        columns = "number, connector, next_seq, active, state"
        rows = await self._run(f"SELECT {columns} FROM transactions WHERE {where} ORDER BY number", *values)  # noqa: S608
        return tuple(
            Numbered(number=number, connector_id=connector, next_seq=seq, active=bool(active), charging_state=state)
            for number, connector, seq, active, state in rows
        )

    async def note(self, event: TransactionEventRequest) -> None:
        """Keep that the back end has confirmed an event."""
        info = event.transaction_info
        if info.transaction_id.isdecimal():
            active, state = event.event_type != "Ended", info.charging_state or "EVConnected"
            said = "CASE WHEN ? THEN ? ELSE said END"
            kept = f"UPDATE transactions SET next_seq = ?, active = ?, state = ?, said = {said} WHERE number = ?"  # noqa: S608
            values = (event.seq_no + 1, active, state, bool(event.meter_value), _said(event), int(info.transaction_id))
            await self._run(kept, *values)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _said(event: TransactionEventRequest) -> str:
    about = (event.timestamp, event.trigger_reason, event.meter_value)
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where stations come in, and where they go on.

    With `client_roots` a station shows a certificate with its identity, else a password. `identities` has a folder for
    each station: `chain.pem` and `leaf.key`, by which the back end knows it, and `password`, by which it is known here;
    without that folder its own password goes on, and the back end judges it.
    """

    listen: str
    to: str
    store: Path
    chain: Path | None = None
    key: Path | None = None
    client_roots: tuple[Path, ...] = ()
    ca: Path | None = None
    identities: Path | None = None
    metrics: Path | None = None


class OcppBridge:
    """The program. Raises ConfigError, KeyAccessError or StoreError where it cannot start."""

    def __init__(self, options: BridgeOptions, clock: Clock, observe: Callable[[Observe], None]) -> None:
        self._options, self._clock, self._observe = options, clock, observe
        self._passwords: dict[str, str] = {}
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
            context=context, path=where.path or "/", versions=("1.6",), welcome=self._welcome,
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

    def _upward(self, identity: str) -> ssl.SSLContext | None:
        if self._options.ca is None or urlsplit(self._options.to).scheme != "wss":
            return None
        folder = None if self._options.identities is None else self._options.identities / identity
        own = (None, None) if folder is None else (folder / "chain.pem", folder / "leaf.key")
        return client_context(TlsFiles(self._options.ca, *own))

    async def _serve(self, socket: OcppSocket) -> None:
        """Serve a station until either side ends its connection; an older connection of it is closed."""
        identity = socket.identity
        try:
            upward = await connect(
                self._options.to, identity, context=self._upward(identity), versions=("2.0.1",),
                password=self._passwords.get(identity),
            )  # fmt: skip
        except V2GError as error:
            self._report("back_end_not_reached", identity, str(error))
            await socket.close("the back end cannot be reached", code=1013)
            return
        if (older := self._connected.get(identity)) is not None:
            await older.close("connected again")
        self._connected[identity] = socket
        self._counts["connections"] += 1

        async def up(action: str, request: Message) -> Message:
            self._counts["up"] += 1
            answer = await back_end.call(request, answer_to(request))
            if isinstance(request, TransactionEventRequest):
                await self.facts.note(request)
            return answer

        async def down(action: str, request: Message) -> Message:
            self._counts["down"] += 1
            return await station.call(request, answer_to(request))

        async def find(question: Question) -> Any:
            return await self.facts.find(identity, question)

        def observe(event: Observe) -> None:
            self._observe(msgspec.structs.replace(event, data={**event.data, "station": identity}))

        def mend(payload: bytes, type_: type[Message]) -> Message:
            message, shown = read_softly(payload, type_)
            self._refusals.update(f"tolerated {each}" for each in shown)
            return message

        clock = self._clock
        below = RpcPeer("1.6", handles=HANDLES, entropy=os.urandom, mend=mend)
        above = RpcPeer("2.0.1", handles=_HANDLED, entropy=os.urandom)
        station = BridgedConnection(socket, below, handle=up, find=find, clock=clock, observe=observe)
        back_end = RpcConnection(upward, above, handle=down, clock=clock, observe=observe)
        sides = [spawn(station.run()), spawn(back_end.run())]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await asyncio.gather(socket.close("the other side has ended"), upward.close(), return_exceptions=True)
            await asyncio.gather(*sides, return_exceptions=True)
            if self._connected.get(identity) is socket:
                del self._connected[identity]

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
