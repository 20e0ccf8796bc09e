"""The servers that `benchmarks.csms` measures:
`python -m benchmarks.load.csms_server KIND FOLDER CORE ROOT [STORE [BUS]]`.

`rpc`: our WebSocket and RPC, validating, with responses that need no store; 1.6 is bridged. `csms`: the back end with
its store, on unencrypted WebSocket. `ocpp`: the `ocpp` library's ChargePoint on the same event loop and WebSocket
library. Each prints its port, then serves until its standard input ends.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import ocpp.v16
import uvloop
import websockets
from ocpp.routing import on
from ocpp.v21 import ChargePoint, call_result
from websockets.typing import Subprotocol

from csms.app import open_services
from csms.config import ApiListener, CsmsConfig, OcppListener, Trust
from csms.grid.config import Grid
from csms.ocpp.server import StationServer
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import keep_responsive
from v2g.io.websocket.bridged import HANDLES as HANDLES_16
from v2g.io.websocket.bridged import BridgedConnection
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.rpc import RpcConnection
from v2g.io.websocket.server import serve
from v2g.ocpp.messages.availability import HeartbeatResponse
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventResponse
from v2g.ocpp.routes import Version
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.times import format_time
from v2g.ocpp.v16.bridge import IsStored, Numbered, Question, TypeOf

VERSIONS: Final[tuple[Version, ...]] = ("2.1", "2.0.1", "1.6")
Serving = Callable[[Path, Path, str, str], contextlib.AbstractAsyncContextManager[int]]


@contextlib.asynccontextmanager
async def rpc(_folder: Path, _root: Path, _store_url: str, _bus_url: str) -> AsyncIterator[int]:
    """Serve with our RPC only."""
    clock = Clock()

    def answer(action: str, _request: Message) -> Message | None:
        if action == "Heartbeat":
            return HeartbeatResponse(current_time=format_time(clock.utc_ms()))
        return TransactionEventResponse()

    async def never(_action: str, _request: Message) -> Message:
        raise AssertionError("all requests are answered at once")

    async def answer_later(action: str, request: Message) -> Message:
        found = answer(action, request)
        assert found is not None
        return found

    async def find(question: Question) -> Numbered | bool | str:
        match question:
            case TypeOf():
                return "ISO14443"
            case IsStored():
                return False
        return Numbered(number=1, connector_id=1, next_seq=1)

    async def handle(socket: OcppSocket) -> None:
        if socket.version == "1.6":
            bridged = RpcPeer("1.6", handles=HANDLES_16, entropy=os.urandom)
            await BridgedConnection(
                socket, bridged, handle=answer_later, quick=answer, find=find, clock=clock, observe=lambda _event: None
            ).run()
            return
        peer = RpcPeer(socket.version, handles=("Heartbeat", "TransactionEvent"), entropy=os.urandom)
        await RpcConnection(socket, peer, handle=never, quick=answer, clock=clock, observe=lambda _event: None).run()

    server = await serve("127.0.0.1", 0, handle, context=None, versions=VERSIONS)
    yield server.port
    await server.close()


@contextlib.asynccontextmanager
async def csms(folder: Path, root: Path, store_url: str, bus_url: str) -> AsyncIterator[int]:
    """Serve with the back end's own sessions and store."""
    config = CsmsConfig(
        data_dir=folder / "data",
        store_url=store_url,
        bus_url=bus_url,
        store_key=root.with_name("store.key") if bus_url else None,  # nodes share it
        ocpp=OcppListener(
            port=0, certificate=root, key=root, client_roots=(root,), read_device_model=False, pause_after_boot_s=0
        ),
        api=ApiListener(certificate=root, key=root),
        trust=Trust(roots=(root,)),
        grid=Grid(prequalified_only=False),
        unknown_stations="accept",
    )
    clock = Clock()
    async with contextlib.AsyncExitStack() as stack:
        services = await open_services(config, clock, EventLog("csms", clock), stack)
        stations = StationServer(services)
        server = await serve("127.0.0.1", 0, stations.serve, context=None, versions=VERSIONS)
        yield server.port
        await server.close()


class Theirs(ChargePoint):  # type: ignore[misc]
    """The `ocpp` library's side, with the same responses."""

    @on("Heartbeat")  # type: ignore[untyped-decorator]
    async def on_heartbeat(self, **_content: Any) -> Any:
        """Return the time."""
        return call_result.Heartbeat(current_time=format_time(Clock().utc_ms()))

    @on("TransactionEvent")  # type: ignore[untyped-decorator]
    async def on_transaction_event(self, **_content: Any) -> Any:
        """Accept the event."""
        return call_result.TransactionEvent()


class Theirs16(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """Its side in 1.6."""

    @on("Heartbeat")  # type: ignore[untyped-decorator]
    async def on_heartbeat(self, **_content: Any) -> Any:
        """Return the time."""
        return ocpp.v16.call_result.Heartbeat(current_time=format_time(Clock().utc_ms()))

    @on("MeterValues")  # type: ignore[untyped-decorator]
    async def on_meter_values(self, **_content: Any) -> Any:
        """Take the values."""
        return ocpp.v16.call_result.MeterValues()


@contextlib.asynccontextmanager
async def library(_folder: Path, _root: Path, _store_url: str, _bus_url: str) -> AsyncIterator[int]:
    """Serve with the `ocpp` library."""

    async def handle(connection: Any) -> None:
        kind = Theirs16 if connection.subprotocol == "ocpp1.6" else Theirs
        with contextlib.suppress(websockets.ConnectionClosed):
            await kind("CS", connection).start()

    protocols = [Subprotocol("ocpp2.1"), Subprotocol("ocpp1.6")]
    async with websockets.serve(handle, "127.0.0.1", 0, subprotocols=protocols, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


KINDS: dict[str, Serving] = {"rpc": rpc, "csms": csms, "ocpp": library}


async def main(kind: str, folder: str, core: str, root: str, store_url: str = "", bus_url: str = "") -> None:
    """Serve until standard input ends."""
    os.sched_setaffinity(0, {int(core)})
    async with KINDS[kind](Path(folder), Path(root), store_url, bus_url) as port:
        gc.collect()
        keep_responsive()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
