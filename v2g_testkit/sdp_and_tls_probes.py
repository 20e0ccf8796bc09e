"""The charger tester's probes before a session: SDP datagrams, and invalid handshakes.

The handshakes use the standard library's TLS, which allows what vehicles must not do: older versions, other curves, no
certificate, no OCSP request. Only SupportedAppProtocolReq is sent on these connections.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

from v2g import exi
from v2g.errors import CodecError, TransportError
from v2g.io.network.interfaces import has_multicast
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.pki.credentials import Credentials, save_bundle
from v2g_testkit.cases.requests import NAMESPACES, protocol
from v2g_testkit.cases.secc_probes import DATAGRAMS, REFUSES, TALKS, sdp_facts

_ANSWER_S: Final = 3.0
_READ: Final = 16 * 1024
_MAX_DATAGRAM: Final = 2048


class _Stream(Protocol):
    async def read(self, n: int) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


async def ask_sdp(interface: str, port: int, form: str) -> list[str]:
    """Send the named datagrams, and return the facts in the answers. Raises TransportError."""
    loop, datagrams = asyncio.get_running_loop(), DATAGRAMS[form]
    real = has_multicast(interface)
    answers: list[bytes] = []
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            index = socket.if_nametoindex(interface)
            if real:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            target = (str(sdp.MULTICAST), port, 0, index) if real else ("::1", port, 0, 0)
            for datagram in datagrams:
                await loop.sock_sendto(sock, datagram, target)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(sdp.RETRY_S):
                        while True:
                            answers.append(await loop.sock_recv(sock, _MAX_DATAGRAM))
        except OSError as error:
            raise TransportError(f"SDP on {interface}: {error.strerror or error}") from None
    return sdp_facts(len(datagrams), answers)


async def negotiate(stream: _Stream, family: Family) -> list[str]:
    """Request -20 on a connection, and return the facts in the answer."""
    request = SupportedAppProtocolReq(app_protocol=(protocol(NAMESPACES[family]),))
    framer = Framer()
    try:
        async with asyncio.timeout(_ANSWER_S):
            await stream.write(frame(PayloadType.SAP, exi.encode(request)))
            while data := await stream.read(_READ):
                for each in framer.feed(data):
                    answer: Any = exi.decode(each.payload, APP_PROTOCOL)
                    code = answer.response_code.name
                    return [TALKS] if code.startswith("OK") else [REFUSES, code]
    except TimeoutError:
        return [REFUSES, "stays silent"]
    except CodecError as error:
        return [REFUSES, f"sends an undecodable message: {error}"]
    except TransportError as error:
        return [REFUSES, str(error)]
    return [REFUSES, "closes"]


class _Plain:
    """Reader and writer of asyncio as a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, n: int) -> bytes:
        try:
            return await self._reader.read(n)
        except OSError as error:
            raise TransportError(_named(error)) from None

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise TransportError(_named(error)) from None


async def shake(host: str, port: int, form: str, own: Credentials, family: Family, *, interop: bool) -> list[str]:
    """Make the named handshake; return the charger's reaction. With `interop` all are on secp256r1."""
    context = _context(form, own, interop=interop)
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="")
    except TimeoutError:
        return [REFUSES, "does not finish the handshake"]
    except OSError as error:  # ssl.SSLError is one
        return [REFUSES, _named(error)]
    try:
        version = writer.get_extra_info("ssl_object").version()
        return [str(version), *await negotiate(_Plain(reader, writer), family)]
    finally:
        writer.transport.abort()


def _context(form: str, own: Credentials, *, interop: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the charger is tested, not authenticated
    context.set_ecdh_curve("prime256v1" if interop or form == "curve-p256" else "secp521r1")
    if form == "version-1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if form != "no-certificate":
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "own.pem"
            save_bundle(bundle, own.chain, own.private_key)
            context.load_cert_chain(bundle)
    return context


def _named(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")
