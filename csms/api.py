"""The HTTPS API: TLS 1.3, bearer tokens or client certificates, denied unless `csms.core.access` allows it."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from aiohttp import http_exceptions, web

from csms.config import ApiListener
from csms.core.access import Operation, Principal, allowed, find_bearer, find_certificate, may_handle
from csms.core.telemetry import read_batch
from csms.grid_source import GridSource
from csms.ingest import Ingest
from csms.rows import records, stations, transactions
from csms.store import Store
from v2g.errors import CodecError, ConfigError, RefusedError, StoreError
from v2g.grid.tariff import parse_grid_signal
from v2g.net.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.pki.keys import load_key

Handler = Callable[[web.Request, Principal | None], Awaitable[web.Response]]

_encode = msgspec.json.Encoder().encode


def _without_traceback(record: logging.LogRecord) -> bool:
    """Make one line of a request that was no HTTP: anybody can send it, and its traceback tells nothing."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError):
        record.exc_info = None
        record.msg, record.args = "not HTTP: %s", (" ".join(str(error).split())[:200],)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


_log = logging.getLogger(__name__)
_log.addFilter(_without_traceback)


class Connected(Protocol):
    """Who knows which stations are connected."""

    def connected(self) -> frozenset[str]:
        """Return their identities."""


class Api:
    """Serves from `start` to `close`."""

    def __init__(
        self,
        config: ApiListener,
        store: Store,
        grid: GridSource,
        ingest: Ingest,
        connected: Connected,
        observe: EventLog,
    ) -> None:
        self._config = config
        self._store = store
        self._grid = grid
        self._ingest = ingest
        self._connected = connected
        self._observe = observe
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; return the port. Raises ConfigError, KeyAccessError, or OSError when the port is taken."""
        context = server_context(self._config)
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=2.0, logger=_log)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, self._config.host, self._config.port, ssl_context=context)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    async def close(self) -> None:
        """Finish requests under way (2 s at most) and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def application(self) -> web.Application:
        """Return the routes. Every one is bound to an operation, so that none can forget to ask for permission."""
        application = web.Application(client_max_size=self._config.max_body_bytes, middlewares=[_answer_errors])
        for method, path, operation, handler in (
            ("GET", "/health", Operation.HEALTH, self._health),
            ("GET", "/stations", Operation.READ_STATIONS, self._stations),
            ("GET", "/transactions/{id}", Operation.READ_TRANSACTIONS, self._transaction),
            ("GET", "/settlements/{session}", Operation.READ_SETTLEMENTS, self._settlement),
            ("GET", "/grid/signal", Operation.READ_GRID, self._get_signal),
            ("PUT", "/grid/signal", Operation.WRITE_GRID, self._put_signal),
            ("POST", "/telemetry", Operation.WRITE_TELEMETRY, self._post_telemetry),
            ("GET", "/telemetry/{ev}/hwm", Operation.READ_TELEMETRY, self._marks),
        ):
            application.router.add_route(method, path, self._guard(operation, handler))
        return application

    def _guard(self, operation: Operation, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            principal = self._principal(request)
            if not allowed(principal, operation):
                by = principal.name if principal else ""
                data: dict[str, Scalar] = {"operation": operation.value, "by": by, "peer": request.remote}
                self._observe(Observe("ocpp", "http_refused", data))
                if principal is None:
                    return problem(401, "who are you?", "send a bearer token or a client certificate")
                return problem(403, f"{principal.role.value} may not do that", "ask the operator for another role")
            return await handler(request, principal)

        return guarded

    def _principal(self, request: web.Request) -> Principal | None:
        header = request.headers.get("Authorization")
        if header is not None:  # a wrong token is refused even beside a good certificate
            return find_bearer(header, ((t.name, t.role, t.sha256) for t in self._config.tokens))
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        name = _common_name(certificate) if certificate else None
        if name is None:
            return None
        return find_certificate(name, ((c.common_name, c.role, c.evs) for c in self._config.clients))

    async def _health(self, _request: web.Request, _principal: Principal | None) -> web.Response:
        await self._store.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        signal = self._grid.current
        return _json(
            {
                "status": "ok",
                "connected_stations": len(self._connected.connected()),
                "grid_signal_version": signal.version if signal else None,
            }
        )

    async def _stations(self, _request: web.Request, _principal: Principal | None) -> web.Response:
        connected = self._connected.connected()
        rows = await self._store.run(stations.list_all)
        return _json([{**row, "connected": row["station_id"] in connected} for row in rows])

    async def _transaction(self, request: web.Request, _principal: Principal | None) -> web.Response:
        found = await self._store.run(transactions.find, request.match_info["id"])
        return _one_of(request, found, "transaction")

    async def _settlement(self, request: web.Request, _principal: Principal | None) -> web.Response:
        found = await self._store.run(records.find_settlements, request.match_info["session"])
        return _one_of(request, found, "settlement")

    async def _get_signal(self, _request: web.Request, _principal: Principal | None) -> web.Response:
        if self._grid.current is None:
            return problem(404, "there is no grid signal yet")
        return web.Response(body=self._grid.current.to_json(), content_type="application/json")

    async def _put_signal(self, request: web.Request, principal: Principal | None) -> web.Response:
        signal = parse_grid_signal(await request.read())
        if signal == self._grid.current:
            return _json({"version": signal.version})  # delivered again: as good as the first time
        try:
            await self._grid.offer(signal, f"http:{principal.name if principal else ''}"[:64])
        except RefusedError as error:
            return problem(409, str(error), error.hint)
        return _json({"version": signal.version})

    async def _post_telemetry(self, request: web.Request, principal: Principal | None) -> web.Response:
        batch, refused = read_batch(await request.read())
        assert principal is not None
        for record in batch:
            if not may_handle(principal, record.ev):
                return problem(403, f"{principal.name} does not report for {record.ev!r}", "see api.clients.evs")
        result = await self._ingest.store(batch)
        for index, reason in refused:
            self._observe(Observe("telemetry", "telemetry_refused", {"index": index, "reason": reason}))
        return _json(
            {
                "stored": result.stored,
                "duplicates": result.duplicates,
                "conflicts": [{"ev": ev, "boot": boot, "seq": seq} for ev, boot, seq in result.conflicts],
                "refused": [{"index": index, "reason": reason} for index, reason in refused],
                "high_water": msgspec.to_builtins(result.marks),
            }
        )

    async def _marks(self, request: web.Request, principal: Principal | None) -> web.Response:
        ev = request.match_info["ev"]
        assert principal is not None
        if not may_handle(principal, ev):
            return problem(403, f"{principal.name} does not report for {ev!r}", "see api.clients.evs")
        marks = await self._ingest.marks(ev)
        return _json([{"boot": m.boot, "highest": m.highest, "contiguous": m.contiguous} for m in marks])


def server_context(config: ApiListener) -> ssl.SSLContext:
    """Return TLS 1.3 with the API's certificate, asking for client certificates where roots are configured."""
    load_key(Path(config.key))  # for its checks: readable by its owner only, and of a known kind
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(config.certificate, config.key)
        for root in config.client_roots:
            context.load_verify_locations(root)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[api]: {error}", hint="certificate, key and client_roots are PEM files") from None
    context.verify_mode = ssl.CERT_OPTIONAL if config.client_roots else ssl.CERT_NONE
    return context


def problem(status: int, error: str, hint: str = "") -> web.Response:
    """Return what went wrong, in one sentence, and what to do about it."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return web.Response(
        status=status, body=_encode({"error": error, "hint": hint}), content_type="application/json", headers=headers
    )


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return problem(error.status, error.reason)
    except web.RequestPayloadError as error:
        return problem(400, f"the body cannot be read: {error}"[:200])
    except CodecError as error:
        return problem(400, str(error), error.hint)
    except StoreError as error:
        return problem(503, str(error), "try again")
    except asyncio.CancelledError:
        raise


def _json(value: Any) -> web.Response:
    return web.Response(body=_encode(value), content_type="application/json")


def _one_of(request: web.Request, found: list[dict[str, Any]], what: str) -> web.Response:
    """Answer with the only match; stations choose ids themselves, so that two may share one."""
    station = request.query.get("station")
    if station is not None:
        found = [row for row in found if row["station_id"] == station]
    if not found:
        return problem(404, f"there is no such {what}")
    if len(found) > 1:
        names = ", ".join(row["station_id"] for row in found)
        return problem(409, f"several stations have that {what}: {names}", "add ?station=")
    return _json(found[0])


def _common_name(certificate: dict[str, Any]) -> str | None:
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else None
