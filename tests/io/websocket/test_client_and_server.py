"""OCPP over WebSocket and TLS: who is let in, what is negotiated, and both shells against stations of other make."""

import asyncio
import contextlib
import gc
import json
import os
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import websockets
from ocpp import v21, v201
from ocpp.routing import on
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from pki_tools.tree import PkiTree
from tests.io.websocket.client_and_server import files
from v2g.errors import (
    KeyAccessError,
    OcppError,
    StoreError,
    TimeoutExpired,
    TlsError,
    TransportError,
    UpgradeRefusedError,
)
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import TlsFiles, server_context
from v2g.io.websocket.client import MAX_BYTES, OcppSocket, agreed, connect, tls_error
from v2g.io.websocket.rpc import RpcConnection
from v2g.io.websocket.server import Handshake, OcppServer, Refusal, serve
from v2g.observe import Observe
from v2g.ocpp.messages.availability import HeartbeatRequest, HeartbeatResponse
from v2g.ocpp.messages.base import Component, Message, Variable
from v2g.ocpp.messages.provisioning import (
    BootNotificationRequest,
    BootNotificationResponse,
    GetVariableData,
    GetVariablesRequest,
    GetVariablesResponse,
    ResetRequest,
    ResetResponse,
)
from v2g.ocpp.rpc import MAX_FRAME, RpcPeer

STATION = "CS-V2G-0001"
STATUS = json.dumps(
    [2, "a", "StatusNotification",
     {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}]
)  # fmt: skip
Handle = Callable[[str, Message], Awaitable[Message]]


def tls(pki: PkiTree) -> ssl.SSLContext:
    """The server's context, security profile 3."""
    found = files(pki, "csms/server")
    return server_context(found.chain, found.key, (found.ca,))


def rpc(socket: OcppSocket, handle: Handle, *handles: str, timeout: float = 5.0) -> RpcConnection:
    """A connection that answers with `handle`."""
    peer = RpcPeer(socket.version, handles=handles, entropy=os.urandom, timeout=timeout)
    return RpcConnection(socket, peer, handle=handle, clock=Clock(), observe=lambda _: None)


async def nothing(action: str, request: Message) -> Message:
    """Handle no request."""
    raise OcppError(f"{action} is not expected", answer="NotSupported")


class Csms:
    """Our server shell with a back end that accepts every boot."""

    def __init__(self) -> None:
        self.connections: list[RpcConnection] = []
        self.requests: list[Message] = []
        self.observed: list[Observe] = []
        self.server: OcppServer | None = None
        self.arrived = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.server is not None
        return self.server.port

    async def handle(self, action: str, request: Message) -> Message:
        """Accept a boot; fail on purpose over a status."""
        self.requests.append(request)
        if isinstance(request, BootNotificationRequest):
            return BootNotificationResponse(current_time="2026-01-01T00:00:00Z", interval=60, status="Accepted")
        if action == "Heartbeat":
            return HeartbeatResponse(current_time="2026-01-01T00:00:00Z")
        if action == "DataTransfer":
            raise RuntimeError("a mistake of the program")
        if action == "FirmwareStatusNotification":
            raise StoreError('connection to "db.example" failed')
        raise OcppError("no", answer="SecurityError")

    async def serve(self, socket: OcppSocket) -> None:
        """Run one connection."""
        actions = ("BootNotification", "Heartbeat", "StatusNotification", "DataTransfer", "FirmwareStatusNotification")
        peer = RpcPeer(socket.version, handles=actions, entropy=os.urandom, timeout=5)
        connection = RpcConnection(socket, peer, handle=self.handle, clock=Clock(), observe=self.observed.append)
        self.connections.append(connection)
        self.arrived.set()
        await connection.run()


@contextlib.asynccontextmanager
async def csms(context: ssl.SSLContext | None = None, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Csms]:
    """Run our server."""
    found = Csms()
    found.server = await serve(host, 0, found.serve, context=context, **options)
    try:
        yield found
    finally:
        await found.server.close()


@contextlib.asynccontextmanager
async def raw(url: str, *subprotocols: str, context: ssl.SSLContext | None = None) -> AsyncIterator[Any]:
    """Connect with the websockets library alone."""
    names = [Subprotocol(name) for name in subprotocols] or None
    async with websockets.connect(url, subprotocols=names, ssl=context) as connection:
        yield connection


async def test_a_station_with_its_certificate_is_let_in_and_both_ends_call(pki: PkiTree) -> None:
    async with csms(tls(pki)) as found:
        url = f"wss://localhost:{found.port}/ocpp"
        socket = await connect(url, STATION, context=files(pki, "csms/station").context())
        assert (socket.identity, socket.version) == (STATION, "2.1")

        async def handle(action: str, request: Message) -> Message:
            assert isinstance(request, ResetRequest)
            return ResetResponse(status="Rejected")

        connection = rpc(socket, handle, "Reset")
        run = asyncio.create_task(connection.run())
        answer = await connection.call(HeartbeatRequest(), HeartbeatResponse)
        assert answer.current_time == "2026-01-01T00:00:00Z"
        await found.arrived.wait()
        back = await found.connections[0].call(ResetRequest(type="OnIdle"), ResetResponse)
        assert back.status == "Rejected"
        with pytest.raises(OcppError, match="NotSupported"):
            await found.connections[0].call(_variables(), GetVariablesResponse)
        await connection.close("done")
        await run


def _variables() -> GetVariablesRequest:
    wanted = GetVariableData(component=Component(name="a"), variable=Variable(name="b"))
    return GetVariablesRequest(get_variable_data=(wanted,))


@pytest.mark.parametrize("identity", ["CS-OTHER", "cs-v2g-0001"])
async def test_an_identity_that_is_not_the_certificates_is_refused(pki: PkiTree, identity: str) -> None:
    async with csms(tls(pki)) as found:
        with pytest.raises(TransportError, match="403"):
            await connect(f"wss://localhost:{found.port}/ocpp", identity, context=files(pki, "csms/station").context())
        assert found.connections == []


async def test_a_client_without_or_with_a_foreign_certificate_is_refused(pki: PkiTree) -> None:
    async with csms(tls(pki)) as found:
        url = f"wss://localhost:{found.port}/ocpp"
        bare = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        foreign = files(pki, "secc").context()
        foreign.load_verify_locations(pki.path("csms/root.pem"))
        for context in (bare, foreign):
            with pytest.raises(TransportError):
                await connect(url, STATION, context=context)
        assert found.connections == []


@pytest.mark.parametrize(("code", "clock"), [(9, True), (10, True), (20, False)])
def test_a_certificate_that_is_not_valid_now_is_named_with_the_time_by_which_it_is_not(code: int, clock: bool) -> None:
    """A charger whose clock has lost its time cannot connect: the log says which time it has."""
    error = ssl.SSLCertVerificationError("verify")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    found = str(tls_error("wss://csms.example", error))
    assert found.startswith("wss://csms.example: what OpenSSL says")
    assert (f"by the clock of this machine ({datetime.now(UTC):%Y-}" in found) is clock


async def test_a_csms_with_a_foreign_certificate_or_other_name_is_not_trusted(pki: PkiTree) -> None:
    async with csms(tls(pki)) as found:
        other = files(pki, "csms/station", root="mo/root.pem").context()
        with pytest.raises(TlsError) as caught:
            await connect(f"wss://localhost:{found.port}/ocpp", STATION, context=other)
        assert caught.value.reason == "peer_certificate"
    right = files(pki, "csms/station").context()
    async with csms(tls(pki), host="127.0.0.2") as found:
        with pytest.raises(TlsError, match="IP address mismatch"):
            await connect(f"wss://127.0.0.2:{found.port}/ocpp", STATION, context=right)


async def test_tls_before_12_is_refused(pki: PkiTree) -> None:
    async with csms(tls(pki)) as found:
        old = files(pki, "csms/station").context()
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(TransportError):
            await connect(f"wss://localhost:{found.port}/ocpp", STATION, context=old)


@pytest.mark.parametrize("path", ["/", "/ocpp", "/ocpp/", "/ocpp/a/b", "/other/CS-1", "/ocpp/a:b", "/ocpp/" + "x" * 49])
async def test_a_path_that_names_no_station_is_not_found(path: str) -> None:
    async with csms() as found:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with raw(f"ws://127.0.0.1:{found.port}{path}", "ocpp2.0.1"):
                pass
        assert caught.value.response.status_code == 404


async def test_a_station_nobody_knows_is_not_found() -> None:
    async def welcome(shown: Handshake) -> Refusal | None:
        return None if shown.identity == STATION else Refusal(404, "no such charging station")

    async with csms(welcome=welcome) as found:
        with pytest.raises(TransportError, match="404"):
            await connect(f"ws://127.0.0.1:{found.port}/ocpp", "CS-2", context=None)
        await (await connect(f"ws://127.0.0.1:{found.port}/ocpp", STATION, context=None)).close()


async def test_a_busy_server_says_how_long_to_wait() -> None:
    async def welcome(_: Handshake) -> Refusal | None:
        return Refusal(503, "too many stations", retry_after_s=40)

    async with csms(welcome=welcome) as found:
        with pytest.raises(UpgradeRefusedError, match="503: too many stations") as caught:
            await connect(f"ws://127.0.0.1:{found.port}/ocpp", STATION, context=None)
    assert caught.value.wait_s == 40


async def test_the_servers_first_version_that_is_offered_is_taken() -> None:
    async with (
        csms() as found,
        raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp1.6", "ocpp2.0.1", "ocpp2.1") as c,
    ):
        assert c.subprotocol == "ocpp2.1"
    async with csms(versions=("2.0.1",)) as found:
        socket = await connect(f"ws://127.0.0.1:{found.port}/ocpp", STATION, context=None)
        assert socket.version == "2.0.1"
        await socket.close()


async def test_without_a_common_version_the_handshake_completes_and_the_connection_closes() -> None:
    async with csms() as found, raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp1.6") as connection:
        assert connection.subprotocol is None
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
    async with csms(versions=("2.1",)) as found:
        with pytest.raises(TransportError, match="does not support"):
            await connect(f"ws://127.0.0.1:{found.port}/ocpp", STATION, context=None, versions=("2.0.1",))


async def test_a_client_asks_which_of_several_names_is_agreed_to() -> None:
    async def keep(connection: websockets.ServerConnection) -> None:
        await connection.wait_closed()

    async with csms() as found:
        url = f"ws://127.0.0.1:{found.port}/ocpp"
        assert await agreed(url, STATION, ("ocpp1.6", "ocpp2.1"), context=None) == "ocpp2.1"
        assert await agreed(url, STATION, ("ocpp1.6",), context=None) is None
    async with websockets.serve(keep, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(TransportError, match="keeps a connection"):
            await agreed(f"ws://127.0.0.1:{port}/ocpp", STATION, ("ocpp1.6",), context=None, timeout=0.3)


async def test_a_station_may_compress_and_nothing_is_kept_for_it_meanwhile() -> None:
    """OCPP-J 3.4: a CSMS supports RFC 7692."""
    async with (
        csms() as found,
        websockets.connect(
            f"ws://127.0.0.1:{found.port}/ocpp/{STATION}",
            subprotocols=[Subprotocol("ocpp2.0.1")],
            compression="deflate",
        ) as station,
    ):
        assert station.response is not None
        agreed = station.response.headers["Sec-WebSocket-Extensions"]
        assert agreed.startswith("permessage-deflate")
        assert "server_no_context_takeover" in agreed
        assert "client_no_context_takeover" in agreed
        for number in range(3):
            await station.send(json.dumps([2, f"{number}", "Heartbeat", {}]))
            assert json.loads(await station.recv())[:2] == [3, f"{number}"]
        big = json.dumps([2, "big", "DataTransfer", {"vendorId": "x", "data": "y" * (2 * MAX_BYTES)}])
        await station.send(big)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await station.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_nobody_there_is_a_transport_error() -> None:
    async with csms() as found:
        port = found.port
    with pytest.raises(TransportError):
        await connect(f"ws://127.0.0.1:{port}/ocpp", STATION, context=None)


async def test_what_the_database_says_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Stations read that they cannot be served now, at the handshake and later: host and role are not for them."""

    async def welcome(_: Handshake) -> Refusal | None:
        raise StoreError('connection to "admission.example" failed')

    async with csms(welcome=welcome) as found:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp2.0.1"):
                pass
    answer = caught.value.response
    assert (answer.status_code, answer.body) == (503, b"the store is unavailable\n")
    async with csms() as found, raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp2.0.1") as connection:
        await connection.send('[2,"a","FirmwareStatusNotification",{"status":"Idle"}]')
        assert json.loads(await connection.recv())[2:4] == ["InternalError", "the request could not be handled"]
    for host in ("admission.example", "db.example"):
        assert host in caplog.text


async def test_malformed_frames_are_answered_and_the_connection_stays() -> None:
    async with csms() as found, raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp2.0.1") as connection:
        for frame, code in (
            ("hello", "RpcFrameworkError"),
            (b"\x00\x01", "RpcFrameworkError"),
            ('[2,"a","Heartbeat",{"x":1}]', "FormatViolation"),
            ('[2,"a","Fly",{}]', "NotImplemented"),
            ('[2,"a","Reset",{"type":"Immediate"}]', "NotSupported"),
            (STATUS, "SecurityError"),
            ('[2,"a","DataTransfer",{"vendorId":"a"}]', "InternalError"),
            ('[2,"a","DataTransfer",{"vendorId":"a","data":"' + "x" * MAX_FRAME + '"}]', "RpcFrameworkError"),
        ):  # fmt: skip
            await connection.send(frame)
            assert json.loads(await connection.recv())[2] == code
        await connection.send('[2,"b","Heartbeat",{}]')
        assert json.loads(await connection.recv())[0] == 3


async def test_a_frame_beyond_all_bounds_ends_the_connection() -> None:
    async with csms() as found, raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp2.0.1") as connection:
        await connection.send("x" * (MAX_BYTES + 1))
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await connection.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def test_a_silent_peer_times_out_and_a_lost_one_fails_open_calls() -> None:
    async with csms() as found, raw(f"ws://127.0.0.1:{found.port}/ocpp/{STATION}", "ocpp2.0.1") as connection:
        await found.arrived.wait()
        station = found.connections[0]
        with pytest.raises(TimeoutExpired):
            await station.call(ResetRequest(type="OnIdle"), ResetResponse, timeout=0.05)
        pending = asyncio.create_task(station.call(ResetRequest(type="OnIdle"), ResetResponse))
        await connection.recv()
        await connection.recv()
        await connection.close()
        with pytest.raises(TransportError):
            await pending


class Stuck:
    """A socket whose peer reads nothing, until it is lost."""

    version = "2.0.1"

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def listen(self, _on_text: Any) -> None:
        """Nothing comes."""

    def send_now(self, _text: str) -> bool:
        """Its buffer is full."""
        return False

    async def send(self, _text: str) -> None:
        """Wait for the peer."""
        await asyncio.Event().wait()

    async def receive(self) -> str:
        """Wait for the end."""
        await self.lost.wait()
        raise TransportError("lost")


async def test_a_call_that_is_cancelled_while_it_writes_to_a_lost_peer_leaves_nothing_behind() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    socket: Any = Stuck()
    connection = rpc(socket, nothing)
    call = asyncio.create_task(connection.call(ResetRequest(type="OnIdle"), ResetResponse))
    run = asyncio.create_task(connection.run())
    await asyncio.sleep(0)
    socket.lost.set()
    await run
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    del call
    gc.collect()
    assert reported == []


@pytest.mark.parametrize("module", [v201, v21])
async def test_a_station_of_other_make_talks_to_our_server(pki: PkiTree, module: Any) -> None:
    name = "ocpp2.0.1" if module is v201 else "ocpp2.1"
    context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
    context.load_cert_chain(pki.path("csms/station/chain.pem"), pki.path("csms/station/leaf.key"))

    class Point(module.ChargePoint):  # type: ignore[misc]
        @on("Reset")
        def reset(self, **_: Any) -> Any:
            return module.call_result.Reset(status="Accepted")

    async with (
        csms(tls(pki)) as found,
        raw(f"wss://localhost:{found.port}/ocpp/{STATION}", name, context=context) as connection,
    ):
        point = Point(STATION, connection)
        task = asyncio.create_task(point.start())
        boot = module.call.BootNotification(charging_station={"model": "M", "vendor_name": "V"}, reason="PowerUp")
        assert (await point.call(boot, suppress=False)).status == "Accepted"
        assert (await point.call(module.call.Heartbeat(), suppress=False)).current_time == "2026-01-01T00:00:00Z"
        answer = await found.connections[0].call(ResetRequest(type="Immediate"), ResetResponse)
        assert answer.status == "Accepted"
        task.cancel()


def test_a_key_that_others_may_read_is_not_used(pki: PkiTree, tmp_path: Path) -> None:
    key = tmp_path / "leaf.key"
    key.write_bytes(pki.path("csms/station/leaf.key").read_bytes())
    key.chmod(0o644)
    with pytest.raises(KeyAccessError, match="0644"):
        TlsFiles(ca=pki.path("csms/root.pem"), chain=pki.path("csms/station/chain.pem"), key=key).context()
    with pytest.raises(KeyAccessError):
        TlsFiles(ca=tmp_path / "none", chain=tmp_path / "none", key=tmp_path / "none").context()


async def test_a_peer_that_sends_no_request_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a station has to send before anything is checked is one request; half of one is none."""
    monkeypatch.setattr("v2g.io.websocket.server.REQUEST_S", 0.2)

    async def handler(socket: OcppSocket) -> None:
        await socket.send(await socket.receive())

    server = await serve("127.0.0.1", 0, handler, context=None)
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
    silent[1][1].write(b"GET /ocpp/CS-1 HTTP/1.1\r\nHost: csms\r\n")
    station = await connect(f"ws://127.0.0.1:{server.port}/ocpp", "CS-1", context=None)
    async with asyncio.timeout(60):
        for reader, writer in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        await station.send("still here")
        assert await station.receive() == "still here"
    await station.close()
    await server.close()


async def test_a_station_pings_at_another_interval_at_once() -> None:
    pings: list[bytes] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        (key,) = (line.split(": ")[1] for line in request.splitlines() if line.lower().startswith("sec-websocket-key"))
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\nSec-WebSocket-Protocol: ocpp2.1\r\n\r\n".encode()
        )
        while (head := await reader.read(2)) == b"\x89\x84":
            await reader.readexactly(4)
            body = await reader.readexactly(4)
            pings.append(body)
            writer.write(b"\x8a\x04" + body)
        writer.close()
        assert head[:1] in (b"\x88", b"")

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for begins_with in (None, 600.0):
        socket = await connect(f"ws://127.0.0.1:{port}/ocpp", "CS-1", context=None, ping_interval=begins_with)
        await asyncio.sleep(0.05)
        assert not pings
        socket.ping_every(0.01)
        async with asyncio.timeout(10):
            while not pings:
                await asyncio.sleep(0.01)
        socket.ping_every(None)
        await asyncio.sleep(0.05)
        pings.clear()
        await asyncio.sleep(0.05)
        await socket.close()
        socket.ping_every(0.01)
        await asyncio.sleep(0.05)
        assert not pings
    server.close()


async def test_a_peer_that_answers_no_ping_may_stay() -> None:
    sockets: dict[str, OcppSocket] = {}

    async def handler(socket: OcppSocket) -> None:
        sockets[socket.identity] = socket
        if socket.identity == "CS-1":
            socket.stop_pings()
        with contextlib.suppress(TransportError):
            await socket.receive()

    server = await serve("127.0.0.1", 0, handler, context=None, versions=("1.6",), ping_interval=0.05)
    mute = []
    for name in ("CS-1", "CS-2"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            f"GET /ocpp/{name} HTTP/1.1\r\nHost: csms\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        mute.append((reader, writer))
    await mute[1][0].read()
    assert [sockets[name].is_open for name in ("CS-1", "CS-2")] == [True, False]
    for _, writer in mute:
        writer.close()
    await server.close()
