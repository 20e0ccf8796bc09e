"""Listeners for vehicles on one network interface: SDP with TLS, TCP alone, or both."""

import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address
from typing import Literal

import msgspec

from secc.config import ProgramConfig
from v2g.errors import TlsError
from v2g.io.capture.recorder import FrameRecorder
from v2g.io.capture.tcp_recorder import ConnectionRecorder
from v2g.io.capture.tls_recorder import recorded
from v2g.io.network import plain_tcp as plain
from v2g.io.network.sdp import SdpServer, tls_answer
from v2g.io.runtime.disk import Turnstile
from v2g.io.tls.endpoint import Endpoint
from v2g.io.tls.server import TlsServer, serve
from v2g.io.tls.stream import TlsStream
from v2g.iso15118.d20 import association
from v2g.iso15118.d20.association import Behind
from v2g.iso15118.engine import sdp
from v2g.observe import Observe, Scalar

Stream = TlsStream | plain.PlainStream
"""The connection to a vehicle."""


class Listening(msgspec.Struct, frozen=True):
    """An SDP server, and a TLS server, a server without TLS, or both."""

    server: TlsServer | None
    discovery: SdpServer
    plain: plain.PlainServer | None

    @property
    def ports(self) -> dict[str, Scalar]:
        """The ports, as events have them."""
        tls = {"tls_port": self.server.port} if self.server is not None else {}
        alone = {"plain_port": self.plain.port} if self.plain is not None else {}
        return {"sdp_port": self.discovery.port, **tls, **alone}

    async def close(self) -> None:
        """Stop SDP, then end the connections."""
        self.discovery.close()
        if self.server is not None:
            await self.server.close()
        if self.plain is not None:
            await self.plain.close()


class Listeners:
    """All listeners on one interface."""

    def __init__(self) -> None:
        self._open: list[Listening] = []

    async def add(self, opening: Awaitable[Listening]) -> None:
        """Open another one. Raises as `listen`."""
        self._open.append(await opening)

    @property
    def ports(self) -> dict[str, Scalar]:
        """The ports of the first one; the event `listens` reports the others."""
        return self._open[0].ports

    async def close(self) -> None:
        """Stop SDP, then end the connections."""
        for each in self._open:
            await each.close()


async def listen(
    interface: str,
    address: IPv6Address,
    *,
    config: ProgramConfig,
    endpoint: Endpoint | None,
    handler: Callable[[Stream], Awaitable[None]],
    observe: Callable[[Observe], None],
    evse_ids: Sequence[str],
    turnstile: Turnstile | None = None,
    recorder: FrameRecorder | None = None,
) -> Listening:
    """Listen at `address` of `interface` for vehicles of these EVSEs; with `endpoint` None without TLS.

    Connections are recorded with `recorder`; those with TLS begin as the `turnstile` permits.

    Raises TransportError when a port is in use, and as `tls.serve`.
    """
    host = f"{address}%{interface}" if address.is_link_local else str(address)

    def refused(error: TlsError) -> None:
        observe(Observe("tls", "refused", {"reason": error.reason, "error": str(error), "hint": error.hint}))

    async with contextlib.AsyncExitStack() as stack:
        server: TlsServer | None = None
        if endpoint is not None:
            ports = config.tls.port or sdp.TCP_PORTS
            shown = recorded(endpoint, recorder) if recorder is not None else endpoint
            server = await serve(host, ports, handler, shown, on_failure=refused, turnstile=turnstile)
            stack.push_async_callback(server.close)
        insecure: plain.PlainServer | None = None
        if config.sdp.without_tls:
            connections = ConnectionRecorder(recorder) if recorder is not None else None
            insecure = await plain.serve(host, sdp.TCP_PORTS, handler, recorder=connections)
            stack.push_async_callback(insecure.close)
        port, plain_port = (each.port if each is not None else None for each in (server, insecure))
        couplings = frozenset(
            kind for each in config.charger.services for kind in association.COUPLINGS.get(each.family, ())
        )
        wireless = Behind(tuple(evse_ids), couplings, address, port, plain_port) if couplings and port else None
        discovery = SdpServer(
            interface,
            tls_answer(address, port, plain_port=plain_port),
            port=config.sdp.port,
            wireless=wireless,
            on_flood=lambda source: observe(Observe("sdp", "flood", {"interface": interface, "source": source})),
        )
        stack.pop_all()
    listening = Listening(server, discovery, insecure)
    data: dict[str, Scalar] = {"evse_id": config.charger.evse_id, "interface": interface}
    observe(Observe("sdp", "listens", {**data, **listening.ports}))
    return listening


class MatchedPlug(msgspec.Struct, frozen=True):
    """State of one EVSE: the MAC address of the matched vehicle, None without one; whether it is
    already connected."""

    number: int
    matched: bytes | None
    busy: bool


Refusal = Literal["no_evse", "ambiguous_evse"]


def pair(plugs: Sequence[MatchedPlug], mac: bytes | None) -> int | Refusal:
    """Return the number of the EVSE of a new connection from `mac`, or why it has none."""
    if len(plugs) == 1:
        return plugs[0].number
    there = [plug for plug in plugs if plug.matched is not None]
    if mac is not None:
        there = [plug for plug in there if plug.matched == mac]
        if len(there) == 1:
            return there[0].number  # which may refuse it: one plug, one vehicle
    free = [plug for plug in there if not plug.busy]
    if len(free) == 1:
        return free[0].number
    return "ambiguous_evse" if free else "no_evse"


def address_mac(address: str) -> bytes | None:
    """Return the MAC address in a link-local address (modified EUI-64), None if there is none."""
    try:
        packed = ipaddress.IPv6Address(address.partition("%")[0]).packed
    except ValueError:
        return None
    if packed[:8] != b"\xfe\x80" + bytes(6) or packed[11:13] != b"\xff\xfe":
        return None
    return bytes((packed[8] ^ 2,)) + packed[9:11] + packed[13:]
