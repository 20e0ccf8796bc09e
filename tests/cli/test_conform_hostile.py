"""`v2g conform station|csms|secc|evcc` as programs, against devices that attack: the run ends, no attacker passes."""

import asyncio
import contextlib
import itertools
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

import pytest
import websockets
from websockets.asyncio.server import serve
from websockets.exceptions import WebSocketException

from pki_tools.tree import PkiTree
from v2g import exi
from v2g.errors import V2GError
from v2g.io.network.sdp import discover
from v2g.iso15118.d20.schemas import DC
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sdp import SdpResponse, Security, encode_response
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.ocpp.rpc import CALL
from v2g_cli.demo.processes import free_port

pytestmark = [pytest.mark.requirement("R56", "R153"), pytest.mark.long]

PROGRAM: Final = str(Path(sys.executable).with_name("v2g"))

LONGEST_S: Final = 480.0
"""A run that has not ended by then does not end."""

Attack = Callable[[str], str]
"""Takes the message id of a request, returns the frame that answers it."""

ATTACKS: Final[dict[str, Attack]] = {
    "lists in lists": lambda _: "[" * 50_000,
    "objects in objects": lambda id_: f'[3,"{id_}",{{"a":' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}]",
    "halves of surrogates": lambda id_: f'[3,"{id_}",{{"currentTime":"\\ud800","status":"\\udfff"}}]',
    "a number of 5000 digits": lambda id_: f'[3,"{id_}",{{"interval":{"9" * 5000}}}]',
    "no JSON": lambda _: "\x00\x1b[31m" * 1000,
}


MEMORY: Final = 2**30
"""Address space of a run, octets: a program that needs more fails."""


async def conform(*words: str) -> tuple[int | None, str]:
    """Run a command; return exit code and all that it said."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        PROGRAM, "conform", *words, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    resource.prlimit(program.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        async with asyncio.timeout(LONGEST_S):
            output, _ = await program.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
    said = output.decode()
    assert "Traceback" not in said
    assert "\x1b" not in said
    return program.returncode, said


async def station(port: int, attack: Attack) -> None:
    """Connect, boot as any station does, and answer every request with an attack."""
    boot = {"reason": "PowerUp", "chargingStation": {"model": "x", "vendorName": "y"}}
    url = f"ws://127.0.0.1:{port}/ocpp/CS-1"
    while True:
        with contextlib.suppress(OSError, WebSocketException):
            protocols = [websockets.Subprotocol("ocpp2.0.1")]
            async with websockets.connect(url, subprotocols=protocols) as wire:
                await wire.send(json.dumps([CALL, "1", "BootNotification", boot]))
                async for text in wire:
                    frame = json.loads(text)
                    if frame[0] == CALL:
                        await wire.send(attack(frame[1]))
        await asyncio.sleep(0.05)


async def test_a_station_that_attacks_fails() -> None:
    """In another way with each answer."""
    port, ways = free_port(), itertools.cycle(ATTACKS.values())
    device = asyncio.create_task(station(port, lambda asked: next(ways)(asked)))
    only = ("--only", "TC_B_09_CS", "--only", "TC_B_13_CS")
    try:
        code, said = await conform("station", "--listen", f"127.0.0.1:{port}", "--seconds", "0.5", *only)
    finally:
        device.cancel()
    assert code == 1
    assert "0 pass, 2 fail" in said


@contextlib.asynccontextmanager
async def back_end(handle: Callable[[Any], Any]) -> AsyncIterator[str]:
    protocols = [websockets.Subprotocol("ocpp2.0.1")]
    async with serve(handle, "127.0.0.1", 0, subprotocols=protocols, compression=None) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ocpp"


def words_for(url: str) -> tuple[str, ...]:
    """Return the words of a short test of a back end."""
    return ("csms", "--url", url, "--identity", "CS-1", "--seconds", "0.5", "--only", "TC_B_01", "--only", "TC_C_02")


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_back_end_that_attacks_fails(attack: str) -> None:
    async def answer(wire: Any) -> None:
        async for text in wire:
            frame = json.loads(text)
            if frame[0] == CALL:
                await wire.send(ATTACKS[attack](frame[1]))

    async with back_end(answer) as url:
        code, said = await conform(*words_for(url))
    assert code == 1
    assert "0 pass, 2 fail" in said


async def test_a_back_end_that_sends_without_end_and_never_reads_fails() -> None:
    """The tester's own buffers are full then: nothing of it may wait for the others."""

    async def flood(wire: Any) -> None:
        with contextlib.suppress(WebSocketException):
            await wire.recv()
            while True:
                await wire.send('[2,"1","Reset",{"type":"Immediate"}]')

    async with back_end(flood) as url:
        code, said = await conform(*words_for(url))
    assert code == 1
    assert "0 pass, 2 fail" in said


def offer() -> bytes:
    """Return the first request of a vehicle."""
    own = app.AppProtocol(
        protocol_namespace=DC.uri, version_number_major=1, version_number_minor=0, schema_id=1, priority=1
    )
    return frame(PayloadType.SAP, exi.encode(app.SupportedAppProtocolReq(app_protocol=(own,))))


def agreed() -> bytes:
    """Return the first response of a charger."""
    found = app.SupportedAppProtocolRes(response_code=app.ResponseCode.OK_SuccessfulNegotiation, schema_id=1)
    return frame(PayloadType.SAP, exi.encode(found))


STREAMS: Final[dict[str, bytes]] = {
    "no V2GTP": b"\x00" * 65_536,
    "a frame of 4 GiB": struct.pack(">BBHI", 1, 0xFE, 0x8001, 2**32 - 1) + b"\x80" * 65_536,
    "EXI of nothing": (struct.pack(">BBHI", 1, 0xFE, 0x8001, 64) + b"\x80" + b"\xff" * 63) * 1000,
    "frames of a manufacturer": frame(0xA000, bytes(100_000)),
    "requests": offer() * 1000,
    "responses": agreed() * 1000,
}


@contextlib.asynccontextmanager
async def charger(stream: bytes) -> AsyncIterator[int]:
    """Answer SDP on the loopback, and send a stream without end to whoever connects; yield the port of SDP."""
    serving: set[asyncio.Task[None]] = set()

    async def attack(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while True:
                writer.write(stream)
                await writer.drain()
        serving.discard(task)
        writer.close()

    server = await asyncio.start_server(attack, "::1", 0)
    found = SdpResponse(IPv6Address("::1"), server.sockets[0].getsockname()[1], Security.NONE)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.settimeout(0)
    udp.bind(("::", 0))
    group = socket.inet_pton(socket.AF_INET6, "ff02::1") + struct.pack("@I", socket.if_nametoindex("lo"))
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    loop = asyncio.get_running_loop()

    def asked() -> None:
        _, sender = udp.recvfrom(2048)
        udp.sendto(encode_response(found), sender)

    loop.add_reader(udp, asked)
    try:
        yield udp.getsockname()[1]
    finally:
        loop.remove_reader(udp)
        udp.close()
        server.close()
        for each in list(serving):
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@pytest.mark.parametrize("stream", STREAMS)
async def test_a_charger_that_attacks_does_not_pass(stream: str) -> None:
    async with charger(STREAMS[stream]) as port:
        words = ("-i", "lo", "--sdp-port", str(port), "--without-tls", "--profile", "interop")
        code, said = await conform("secc", *words, "--only", "SECC-SAP-DC-known", "--only", "SECC-SES-DC-new")
    assert code in (1, 3), said
    assert "0 pass" in said


Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def stream(octets: bytes) -> Way:
    """Return a way to send this without end, and to read nothing."""

    async def attack(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(octets)
            await writer.drain()

    return attack


async def same(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Repeat the first request after each response."""
    while not writer.is_closing():
        writer.write(offer())
        if not await reader.read(65_536):
            return


async def drops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the first response."""
    writer.write(offer())
    await reader.read(65_536)


def beginning(octets: bytes) -> Way:
    """Return a way to send this, and never to close."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        while await reader.read(65_536):
            pass

    return attack


@contextlib.asynccontextmanager
async def vehicle(way: Way) -> AsyncIterator[int]:
    """Search a charger on the loopback and attack it, again and again; yield the port of SDP."""
    port = free_port(socket.SOCK_DGRAM)

    async def visits() -> None:
        while True:
            with contextlib.suppress(OSError, V2GError):
                found = await discover("lo", port=port, accepted=(Security.NONE,))
                reader, writer = await asyncio.open_connection(found.host, found.port)
                try:
                    await way(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(visits())
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


VEHICLES: Final[dict[str, Way]] = {
    **{name: stream(octets) for name, octets in STREAMS.items()},
    "the same again and again": same,
    "drops": drops,
    "half of a request": beginning(offer()[:20]),
}


@pytest.mark.parametrize("attack", VEHICLES)
async def test_a_vehicle_that_attacks_fails(attack: str) -> None:
    async with vehicle(VEHICLES[attack]) as port:
        words = ("-i", "lo", "--sdp-port", str(port), "--without-tls", "--profile", "interop", "--wait", "5")
        only = ("--only", "EVCC-RUN-DC-EIM", "--only", "EVCC-COD-DC-SessionSetupRes-FAILED_UnknownSession")
        code, said = await conform("evcc", *words, *only)
    assert code == 1, said
    assert "0 pass" in said
    assert "EVCC-COD-DC-SessionSetupRes-FAILED_UnknownSession" in said


TLS: Final[dict[str, Way]] = {
    "no TLS": stream(bytes(65_536)),
    "text": stream(b"GET / HTTP/1.1\r\n\r\n"),
    "a record of nothing": stream(b"\x16\x03\x01\x40\x00" + bytes(0x4000)),
    "half of a ClientHello": beginning(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)),
    "drops": drops,
}


@pytest.mark.parametrize("attack", TLS)
async def test_a_vehicle_that_breaks_the_handshake_has_refused_no_certificate(attack: str, pki: PkiTree) -> None:
    async with vehicle(TLS[attack]) as port:
        words = ("-i", "lo", "--sdp-port", str(port), "--pki", str(pki.directory), "--wait", "5", "--only", "TLS")
        code, said = await conform("evcc", *words)
    assert code == 1, said
    assert "0 pass" in said


async def test_a_vehicle_whose_program_does_not_end_is_killed() -> None:
    words = ("--without-tls", "--profile", "interop", "--wait", "1", "--only", "EVCC-RUN-DC-EIM")
    port = free_port(socket.SOCK_DGRAM)
    code, said = await conform(
        "evcc",
        "-i",
        "lo",
        "--sdp-port",
        str(port),
        *words,
        "--start",
        "trap '' TERM; echo $$; while :; do sleep 1; done",
    )
    assert code == 1, said
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.split()[0]), 0)
