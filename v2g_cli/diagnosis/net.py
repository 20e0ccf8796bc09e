"""`v2g diag net`: TCP connections whose window is too small for the line, and retransmissions."""

from collections.abc import Iterable

import msgspec

from v2g.io.network.tcp_info import Connection

LOSS_PERCENT = 1.0
"""Share of segments sent again from which a line counts as bad."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, the octets that the line holds (bandwidth times round trip), and what is wrong."""

    connection: Connection
    product: int
    complaints: tuple[str, ...]


def judge(connection: Connection, mbit_s: float) -> Judged:
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


def chosen(found: Iterable[Connection], port: int | None) -> list[Connection]:
    """Return the connections with this port at one end; all without one."""
    return [each for each in found if port is None or port in (each.local_port, each.remote_port)]
