"""A CSMS that we did not write: the package `ocpp`, which checks every message against the official schemas."""

import asyncio
import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import websockets
from ocpp import v16, v21, v201
from ocpp.exceptions import InternalError
from ocpp.routing import on
from websockets.typing import Subprotocol

MODULES = {"ocpp1.6": v16, "ocpp2.0.1": v201, "ocpp2.1": v21}
"""Imported before a charger runs in the same process: that takes seconds on a slow machine, and its watchdog would find
a loop that hangs."""


class Backend:
    """Records what a station says. Attributes and `answers` change the answers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.boot_answers: list[tuple[str, int]] = []
        self.refuse: dict[str, int] = {}
        """Action -> how many of the next requests fail with an InternalError."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.transfers: dict[str, dict[str, Any]] = {}
        """What DataTransfers of 1.6 are answered with, by message."""
        self.numbers: dict[str, int] = {}
        """The transactions of 1.6, by their StartTransaction."""
        self.silent: set[str] = set()
        """Actions that are not answered until `speak` is set."""
        self.versions = ["ocpp2.1", "ocpp2.0.1"]
        self.connections = 0
        self.certificates: list[bytes] = []
        """What stations showed in TLS (DER), connection by connection."""
        self.authorizations: list[str] = []
        """What stations said of themselves in HTTP, connection by connection."""
        self.point: Any = None
        self._news = asyncio.Condition()
        self._server: Any = None
        self.speak = asyncio.Event()
        self.port = 0

    def all(self, action: str) -> list[dict[str, Any]]:
        """Return the payloads of every request of an action so far."""
        return [payload for name, payload in self.seen if name == action]

    async def wait(self, action: str, count: int = 1, *, where: Callable[[dict[str, Any]], bool] | None = None) -> Any:
        """Wait for the `count`-th request of an action and return its payload."""

        def found() -> list[dict[str, Any]]:
            return [payload for payload in self.all(action) if where is None or where(payload)]

        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    async def note(self, action: str, payload: dict[str, Any]) -> None:
        """Record a request, and fail or keep silent as configured."""
        async with self._news:
            self.seen.append((action, payload))
            self._news.notify_all()
        if action in self.silent:
            await self.speak.wait()
        if self.refuse.get(action, 0) > 0:
            self.refuse[action] -= 1
            raise InternalError(description="on purpose")

    async def ask(self, request: str, **fields: Any) -> Any:
        """Send a request to the station and return the answer, as the package has it."""
        async with asyncio.timeout(60):
            return await self.point.call(getattr(self.point._call, request)(**fields), suppress=False)

    async def request(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a request with the names of the specification, and data of our own as it is; return the answer; empty
        for an error."""
        async with asyncio.timeout(60):
            await self.point._connection.send(json.dumps([2, str(uuid.uuid4()), action, payload]))
            answer: dict[str, Any] = getattr(await self.point._response_queue.get(), "payload", {})
        return answer

    async def start(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        """Listen."""
        self.speak.clear()
        self._server = await websockets.serve(
            self._serve,
            "127.0.0.1",
            port or self.port,
            ssl=context,
            subprotocols=[Subprotocol(version) for version in self.versions],
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        connections = list(self._server.connections)
        self._server.close()
        for connection in connections:
            await connection.wait_closed()
        self.speak.set()  # what was silent never answers: its connection is gone
        await self._server.wait_closed()

    async def _serve(self, connection: Any) -> None:
        self.connections += 1
        if (tls := connection.transport.get_extra_info("ssl_object")) is not None:
            self.certificates.append(tls.getpeercert(binary_form=True))
        self.authorizations.append(connection.request.headers.get("Authorization", ""))
        module = MODULES[connection.subprotocol]
        self.point = _point(module, self)(connection.request.path.rsplit("/", 1)[1], connection, response_timeout=60)
        with contextlib.suppress(websockets.ConnectionClosed):
            await self.point.start()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _point(module: Any, backend: Backend) -> Any:
    result, base = module.call_result, module.ChargePoint

    async def boot(_: Any, **payload: Any) -> Any:
        await backend.note("BootNotification", payload)
        status, interval = backend.boot_answers.pop(0) if backend.boot_answers else ("Accepted", 300)
        return result.BootNotification(current_time=_now(), interval=interval, status=status)

    def simple(action: str, **fields: Any) -> Any:
        async def handle(_: Any, **payload: Any) -> Any:
            await backend.note(action, payload)
            return getattr(result, action)(**(fields | backend.answers.get(action, {})))

        handle.__name__ = action  # the package finds handlers by the name of their function
        return on(action)(handle)

    async def beat(_: Any, **payload: Any) -> Any:
        await backend.note("Heartbeat", payload)
        return result.Heartbeat(current_time=_now())

    if module is v16:
        return type("Point", (base,), {each.__name__: each for each in _of_16(backend, boot, beat, simple, result)})
    accepted = {"id_token_info": {"status": "Accepted"}}
    handlers = [
        on("BootNotification")(boot),
        on("Heartbeat")(beat),
        simple("StatusNotification"),
        simple("Authorize", **accepted, certificate_status="Accepted"),
        simple("TransactionEvent"),
        simple("NotifyEVChargingNeeds", status="Accepted"),
        simple("NotifyEVChargingSchedule", status="Accepted"),
        simple("DataTransfer", status="Accepted"),
        simple("NotifyReport"),
        *([simple("NotifySettlement")] if module is v21 else []),
        simple("NotifyEvent"),
        simple("SecurityEventNotification"),
        simple("LogStatusNotification"),
        simple("SignCertificate", status="Accepted"),
        simple("FirmwareStatusNotification"),
        simple("MeterValues"),
        simple("ReportChargingProfiles"),
        simple("NotifyChargingLimit"),
        simple("ClearedChargingLimit"),
        simple("Get15118EVCertificate", status="Accepted", exi_response=""),
    ]
    return type("Point", (base,), {handler.__name__: handler for handler in handlers})


def _of_16(backend: Backend, boot: Any, beat: Any, simple: Any, result: Any) -> list[Any]:
    accepted = {"id_tag_info": {"status": "Accepted"}}

    async def transfer(_: Any, **payload: Any) -> Any:
        await backend.note("DataTransfer", payload)
        answer = backend.transfers.get(payload.get("message_id", ""))
        if answer is None:
            return result.DataTransfer(status="UnknownVendorId")
        return result.DataTransfer(status="Accepted", data=json.dumps(answer))

    async def begin(_: Any, **payload: Any) -> Any:
        await backend.note("StartTransaction", payload)
        number = backend.numbers.setdefault(json.dumps(payload, sort_keys=True), 71 + len(backend.numbers))
        return result.StartTransaction(transaction_id=number, **accepted)

    return [
        on("BootNotification")(boot),
        on("Heartbeat")(beat),
        on("DataTransfer")(transfer),
        on("StartTransaction")(begin),
        simple("StatusNotification"),
        simple("Authorize", **accepted),
        simple("StopTransaction"),
        simple("MeterValues"),
        simple("SecurityEventNotification"),
        simple("FirmwareStatusNotification"),
    ]


@contextlib.asynccontextmanager
async def backend(context: ssl.SSLContext | None = None) -> AsyncIterator[Backend]:
    """Run a CSMS on a free port."""
    csms = Backend()
    await csms.start(context)
    try:
        yield csms
    finally:
        await csms.stop()
