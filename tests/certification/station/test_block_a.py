"""Certification cases of functional block A that need real TLS and HTTP: the station over loopback."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pki_tools.tree import PkiTree
from v2g.io.runtime.clock import Clock
from v2g.io.websocket.client import TlsFiles, basic_authorization, client_context
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.settings import StationSettings
from v2g_station.kernel.kernel import Connect, Moment
from v2g_station.runner import StationRunner
from v2g_station.simulator.fleet import Forgetful
from v2g_station.station import ChargingStation

IDENTITY = "CS-V2G-0001"
PASSWORD = "a-password-of-the-station"
ANSWER = {"currentTime": "2026-01-01T00:00:00Z", "interval": 300, "status": "Accepted"}


class Csms:
    """A server that notes what stations show, and accepts each boot."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.names: list[str | None] = []
        self.port = 0

    async def serve(self, connection: Any) -> None:
        """Talk to one station."""
        import json

        from websockets.exceptions import ConnectionClosed

        self.headers.append(dict(connection.request.headers))
        certificate = connection.transport.get_extra_info("peercert") or {}
        subject = [value for group in certificate.get("subject", ()) for key, value in group if key == "commonName"]
        self.names.append(subject[0] if subject else None)
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                frame = json.loads(text)
                if frame[0] == 2:
                    await connection.send(json.dumps([3, frame[1], ANSWER if frame[2] == "BootNotification" else {}]))


@contextlib.asynccontextmanager
async def csms(context: ssl.SSLContext | None) -> AsyncIterator[Csms]:
    """Run it."""
    from websockets.asyncio.server import serve
    from websockets.typing import Subprotocol

    found = Csms()
    server = await serve(found.serve, "127.0.0.1", 0, ssl=context, subprotocols=[Subprotocol("ocpp2.0.1")])
    found.port = next(iter(server.sockets)).getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def station(url: str, profile: int, context: ssl.SSLContext | None) -> AsyncIterator[StationRunner]:
    """Run a station."""
    clock = Clock()
    settings = StationSettings(
        identity=IDENTITY,
        network=first_profile(url, security_profile=profile, message_timeout=5),
        values={"SecurityCtrlr.BasicAuthPassword": PASSWORD} if profile < 3 else {},
        versions=("2.0.1",),
    )
    core = ChargingStation(
        settings,
        {},
        Moment(clock.monotonic(), clock.utc_ms()),
        entropy=os.urandom,
        read=lambda _: None,
        serves=lambda _evse, _modes: False,
    )

    def tls(_: Connect) -> ssl.SSLContext | None:
        return context

    runner = StationRunner(core, Forgetful(), clock=clock, command=lambda _: None, observe=lambda _: None, context=tls)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def server_side(pki: PkiTree, *, wants_certificate: bool = False) -> ssl.SSLContext:
    """The CSMS's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    if wants_certificate:
        context.load_verify_locations(pki.path("csms/root.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def station_side(root: Path) -> ssl.SSLContext:
    """The station's TLS without a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(root)
    return context


async def events_of(runner: StationRunner, type_: str) -> None:
    """Wait for a security event; it waits for a CSMS that can be trusted."""
    async with asyncio.timeout(10):
        while not any(type_ in str(body) for body in runner.core.outbox.bodies()):
            await asyncio.sleep(0.01)
    assert not runner.online.is_set()


async def test_tc_a_01_cs_basic_authentication() -> None:
    async with csms(None) as found, station(f"ws://127.0.0.1:{found.port}", 1, None) as runner:
        await asyncio.wait_for(runner.online.wait(), 10)
    assert found.headers[0]["authorization"] == basic_authorization(IDENTITY, PASSWORD)


async def test_tc_a_04_cs_valid_server_certificate(pki: PkiTree) -> None:
    trusted = station_side(pki.path("csms/root.pem"))
    async with csms(server_side(pki)) as found, station(f"wss://localhost:{found.port}", 2, trusted) as runner:
        await asyncio.wait_for(runner.online.wait(), 10)
    assert found.headers[0]["authorization"] == basic_authorization(IDENTITY, PASSWORD)


async def test_tc_a_05_cs_invalid_server_certificate(pki: PkiTree) -> None:
    stranger = station_side(pki.path("v2g/root.pem"))
    async with csms(server_side(pki)) as found, station(f"wss://localhost:{found.port}", 2, stranger) as runner:
        await events_of(runner, "InvalidCsmsCertificate")
        assert found.headers == []


async def test_tc_a_06_cs_tls_version_too_low(pki: PkiTree) -> None:
    """The server answers as one does that knows only TLS 1.1: with the alert protocol_version (RFC 4346, 7.2.2)."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(bytes.fromhex("15030200020246"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with station(f"wss://localhost:{port}", 2, station_side(pki.path("csms/root.pem"))) as runner:
        await events_of(runner, "InvalidTLSVersion")
    server.close()


async def test_tc_a_07_cs_client_certificate(pki: PkiTree) -> None:
    files = TlsFiles(
        ca=pki.path("csms/root.pem"),
        chain=pki.path("csms/station/chain.pem"),
        key=pki.path("csms/station/leaf.key"),
    )
    server = server_side(pki, wants_certificate=True)
    async with csms(server) as found, station(f"wss://localhost:{found.port}", 3, client_context(files)) as runner:
        await asyncio.wait_for(runner.online.wait(), 10)
    assert found.names == [IDENTITY]
    assert "authorization" not in found.headers[0]
