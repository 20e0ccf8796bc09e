"""`v2g diag net`: TCP connections whose window is too small for the line, and retransmissions."""

import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from evcc.app import tls_endpoint
from evcc.config import load_config
from v2g.errors import TlsError, TransportError
from v2g.io.network.tcp_info import TcpConnection
from v2g.io.runtime.program import read_config
from v2g.io.tls.client import connect

LOSS_PERCENT = 1.0
"""Share of segments sent again from which a line counts as bad."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, the octets that the line holds (bandwidth times round trip), and what is wrong."""

    connection: TcpConnection
    product: int
    complaints: tuple[str, ...]


def judge(connection: TcpConnection, mbit_s: float) -> Judged:
    """Return what limits a connection on a line of this bandwidth (Mbit/s)."""
    product = round(mbit_s * connection.rtt_us / 8)
    found = []
    if connection.peer_window is not None and connection.peer_window < product:
        found.append(f"the peer's window of {connection.peer_window} octets is below {product}")
    if connection.congestion_window < product and connection.retransmitted:
        found.append(f"losses keep the congestion window at {connection.congestion_window} octets, below {product}")
    if connection.receive_window < product:
        found.append(f"our window of {connection.receive_window} octets is below {product}: see net.ipv4.tcp_rmem")
    sent, again = connection.sent_bytes, connection.retransmitted_bytes
    if sent and again and 100 * again / sent >= LOSS_PERCENT:
        found.append(f"{100 * again / sent:.1f} % of the octets were sent again")
    return Judged(connection=connection, product=product, complaints=tuple(found))


def chosen(found: Iterable[TcpConnection], port: int | None) -> list[TcpConnection]:
    """Return the connections with this port at one end; all without one."""
    return [each for each in found if port is None or port in (each.local_port, each.remote_port)]


# -- `v2g diag tls`: a handshake with a charger, and its outcome


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """How a handshake ended: `reason` is that of TlsError, or `unreachable`; `error` is empty after a success."""

    milliseconds: int
    peer: str = ""
    revocation: str = ""
    reason: str = ""
    error: str = ""
    hint: str = ""


async def handshake(host: str, port: int, config: Path) -> Handshake:
    """Connect once and close. Raises ConfigError, and V2GError for unusable files."""
    vehicle = load_config(read_config(config), name=str(config))
    endpoint = tls_endpoint(vehicle, lambda _event: None)
    begin = time.monotonic()
    try:
        stream = await connect(host, port, endpoint, timeout=vehicle.tls.timeout_s)
    except TransportError as error:
        reason = error.reason if isinstance(error, TlsError) else "unreachable"
        spent = round((time.monotonic() - begin) * 1000)
        return Handshake(milliseconds=spent, reason=reason, error=str(error), hint=error.hint)
    spent = round((time.monotonic() - begin) * 1000)
    known = "known" if stream.ocsp_response else "unknown"
    result = Handshake(milliseconds=spent, peer=stream.peer_name, revocation=known)
    await stream.close()
    return result
