"""A back end on a socket for the tests of load, written without the product's websocket: sound, or with one fault."""

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Literal

Fault = Literal[
    "", "pending", "loses", "late", "no pong", "blocks", "refuses", "loses offline", "stray", "error", "cuts",
    "invalid", "starts late",
]  # fmt: skip
TIME = "2026-01-01T00:00:00Z"
LATE_S = 0.6


class LoadBackEnd:
    """Answers every request; `fault` says what it does wrong."""

    def __init__(self, fault: Fault = "") -> None:
        self.fault = fault
        self.seen: Counter[str] = Counter()
        self.events: dict[str, list[dict[str, Any]]] = {}
        """TransactionEvents by transaction."""
        self._names: set[str] = set()
        self._booted: set[str] = set()
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._take(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readuntil(b"\r\n\r\n")).split()[1].rpartition(b"/")[2].decode()
        late = self.fault == "starts late" and bool(self._names - {name})  # the first station comes in
        if (late and name not in self._names) or (self.fault == "refuses" and name in self._names):
            self._names.add(name)
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            await writer.drain()
            return
        self._names.add(name)
        writer.transport.set_write_buffer_limits(high=1024)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await self._session(name, reader, writer)

    async def stop(self) -> None:
        """End all connections."""
        for each in list(self._tasks):
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports end in the next round

    async def _session(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = ""
        while True:
            first, size = await reader.readexactly(2)
            size &= 0x7F
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2))
            payload = (await reader.readexactly(4 + size))[4:]
            if first == 0x89 and self.fault != "no pong":
                writer.write(bytes((0x8A, size)) + payload)
            if first != 0x81:
                continue
            _, identifier, action, request = json.loads(payload)
            self.seen[action] += 1
            if self._faulty(action, request) == "cuts":
                return
            if self._faulty(action, request) == "late":
                await asyncio.sleep(LATE_S)
            if self._faulty(action, request) == "stray":
                await self._send(writer, [3, before, {}])
            if not self._faulty(action, request).startswith("loses"):
                await self._send(writer, self._answer(name, identifier, action, request))
            before = identifier

    def _faulty(self, action: str, request: dict[str, Any]) -> Fault:
        """Return the fault if this request is to show it."""
        second = action == "MeterValues" and self.seen[action] == 2
        match self.fault:
            case "late" if action == "MeterValues":
                return self.fault
            case "loses" | "stray" | "error" | "cuts" if second:
                return self.fault
            case "loses offline" if request.get("offline") and request["seqNo"] == 1:
                return self.fault
        return ""

    def _answer(self, name: str, identifier: str, action: str, request: dict[str, Any]) -> list[Any]:
        if self._faulty(action, request) == "error":
            return [4, identifier, "InternalError", "", {}]
        if action != "BootNotification" and name not in self._booted:
            return [4, identifier, "SecurityError", "", {}]
        answer: dict[str, Any] = {}
        match action:
            case "BootNotification":
                self._booted.add(name)
                status = "Pending" if self.fault == "pending" and name.endswith("3") else "Accepted"
                answer = {"currentTime": TIME, "interval": 1, "status": status}
            case "Heartbeat":
                answer = {"currentTime": "now" if self.fault == "invalid" else TIME}
                if self.fault == "blocks":  # long answers: buffers are full soon
                    answer["customData"] = {"vendorId": "v2g", "more": "x" * 5000}
            case "TransactionEvent":
                self.events.setdefault(request["transactionInfo"]["transactionId"], []).append(request)
                if "idToken" in request:
                    answer = {"idTokenInfo": {"status": "Accepted"}}
            case "StartTransaction":
                number = len(self.events) + 1
                self.events[str(number)] = [request]
                answer = {"transactionId": number, "idTagInfo": {"status": "Accepted"}}
            case "MeterValues" | "StopTransaction" if "transactionId" in request:
                self.events[str(request["transactionId"])].append(request)
        return [3, identifier, answer]

    async def _send(self, writer: asyncio.StreamWriter, message: list[Any]) -> None:
        """Send; a back end that blocks does so while nobody else may send."""
        text = json.dumps(message).encode()
        head = bytes((0x81, len(text))) if len(text) < 126 else bytes((0x81, 126)) + len(text).to_bytes(2)
        async with self._sending if self.fault == "blocks" else contextlib.nullcontext():
            writer.write(head + text)
            await writer.drain()


@contextlib.asynccontextmanager
async def load_back_end(fault: Fault = "") -> AsyncIterator[tuple[LoadBackEnd, str]]:
    """Serve; yield the back end and where stations connect."""
    found = LoadBackEnd(fault)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = await asyncio.start_server(found.serve, sock=listening)
    try:
        yield found, f"ws://127.0.0.1:{listening.getsockname()[1]}/ocpp"
    finally:
        server.close()
        await found.stop()
