"""Listeners for vehicles on one network interface: SDP and TLS together, in laboratories also TCP alone."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from secc.config import ProgramConfig
from v2g.errors import TlsError
from v2g.io.network import plain_tcp as plain
from v2g.io.network.sdp import SdpServer, tls_answer
from v2g.io.tls.endpoint import Endpoint
from v2g.io.tls.server import TlsServer, serve
from v2g.io.tls.stream import TlsStream
from v2g.iso15118.d20 import association
from v2g.iso15118.d20.association import Behind
from v2g.iso15118.engine import sdp
from v2g.observe import Observe, Scalar

Stream = TlsStream | plain.PlainStream
"""The connection to a vehicle."""


@dataclass(frozen=True)
class Listening:
    """A TLS server, its SDP server, and optionally a server without TLS."""

    server: TlsServer
    discovery: SdpServer
    plain: plain.PlainServer | None

    async def close(self) -> None:
        """Stop SDP, then end the connections."""
        self.discovery.close()
        await self.server.close()
        if self.plain is not None:
            await self.plain.close()


class Doors:
    """All listeners on one interface."""

    def __init__(self) -> None:
        self._open: list[Listening] = []

    async def add(self, opening: Awaitable[Listening]) -> None:
        """Open another one. Raises as `listen`."""
        self._open.append(await opening)

    @property
    def ports(self) -> dict[str, Scalar]:
        """The ports of the first one; the event `listens` reports the others."""
        return {"sdp_port": self._open[0].discovery.port, "tls_port": self._open[0].server.port}

    async def close(self) -> None:
        """Stop SDP, then end the connections."""
        for each in self._open:
            await each.close()


async def listen(
    interface: str,
    address: IPv6Address,
    *,
    config: ProgramConfig,
    endpoint: Endpoint,
    handler: Callable[[Stream], Awaitable[None]],
    observe: Callable[[Observe], None],
    evse_ids: Sequence[str],
) -> Listening:
    """Listen at `address` of `interface` for vehicles of these EVSEs.

    Raises TransportError when a port is in use, and as `tls.serve`.
    """
    host = f"{address}%{interface}" if address.is_link_local else str(address)
    server = await serve(
        host,
        config.tls.port or sdp.TCP_PORTS,
        handler,
        endpoint,
        on_failure=lambda error: observe(_refused(error)),
    )
    insecure: plain.PlainServer | None = None
    try:
        if config.sdp.without_tls:
            insecure = await plain.serve(host, sdp.TCP_PORTS, handler)
        plain_port = insecure.port if insecure is not None else None
        couplings = frozenset(
            kind for each in config.charger.services for kind in association.COUPLINGS.get(each.family, ())
        )
        behind = Behind(tuple(evse_ids), couplings, address, server.port, plain_port)
        discovery = SdpServer(
            interface,
            tls_answer(address, server.port, plain_port=plain_port),
            port=config.sdp.port,
            wireless=behind if couplings else None,
            on_flood=lambda source: observe(Observe("sdp", "flood", {"interface": interface, "source": source})),
        )
    except BaseException:
        await server.close()
        if insecure is not None:
            await insecure.close()
        raise
    data: dict[str, Scalar] = {"evse_id": config.charger.evse_id, "interface": interface}
    observe(Observe("sdp", "listens", {**data, "sdp_port": discovery.port, "tls_port": server.port}))
    return Listening(server, discovery, insecure)


def _refused(error: TlsError) -> Observe:
    return Observe("tls", "refused", {"reason": error.reason, "error": str(error)})
