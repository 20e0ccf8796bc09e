"""SDP over UDP: the charger's server and the vehicle's search (ISO 15118-20, clause 7.10.1).

On a real interface the request goes by multicast to ff02::1 there. The loopback interface has no multicast: there
it goes by unicast to ::1, and a port of their own keeps runs on one machine apart.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import FrameError, TimeoutExpired, TransportError
from v2g.iso15118 import sdp
from v2g.iso15118.sdp import SdpRequest, SdpResponse, Security, Transport

LOOPBACK: Final = "lo"
_MAX_DATAGRAM = 2048
_IFF_LOOPBACK, _IFF_MULTICAST = 0x8, 0x1000


class Found(msgspec.Struct, frozen=True):
    """A charger's answer: `host` ready to connect to (with `%interface` when link-local), TCP `port`."""

    host: str
    port: int
    response: SdpResponse
    tries: int


Answer = Callable[[SdpRequest], SdpResponse | None]


def has_multicast(interface: str) -> bool:
    """Return whether `interface` is a real one. Raises TransportError when there is no such interface."""
    try:
        flags = int(Path("/sys/class/net", interface, "flags").read_text(), 16)
    except (OSError, ValueError):
        raise TransportError(f"there is no interface {interface!r}", hint="`ip link` lists them") from None
    return bool(flags & _IFF_MULTICAST) and not flags & _IFF_LOOPBACK


def link_local_address(interface: str) -> IPv6Address:
    """Return the address to announce on `interface`: link-local, or ::1 on the loopback interface.

    Raises TransportError when the interface has none (yet: the kernel takes up to 2 s to make one).
    """
    if not has_multicast(interface):
        return IPv6Address("::1")
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, _, _, scope, _, name = line.split()
            if name == interface and scope == "20":
                return IPv6Address(int(address, 16))
    raise TransportError(f"{interface} has no IPv6 link-local address", hint=f"ip link set {interface} up")


class SdpServer:
    """Answers vehicles' requests. `requests` counts those answered, `ignored` every other datagram."""

    def __init__(self, interface: str, answer: Answer, *, port: int = sdp.PORT) -> None:
        """Listen on UDP `port` (0 draws one) of `interface`, in the running loop.

        `answer` returns what to say to a request, or None for nothing.

        Raises TransportError when the port is taken or the interface missing.
        """
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self.requests = 0
        self.ignored = 0
        self._socket = _udp_socket()
        try:
            if has_multicast(interface):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                index = socket.if_nametoindex(interface)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                self._socket.bind(("::", port))
                group = sdp.MULTICAST.packed + struct.pack("@I", index)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
            else:
                self._socket.bind(("::1", port))
        except OSError as error:
            self._socket.close()
            raise TransportError(
                f"SDP cannot listen on UDP port {port} of {interface}: {error.strerror}",
                hint="another SECC runs there; give each its own SDP port",
            ) from None
        except TransportError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Stop answering; safe to call twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        try:
            datagram, sender = self._socket.recvfrom(_MAX_DATAGRAM)
        except OSError:
            return
        try:
            response = self._answer(sdp.decode_request(datagram))
        except FrameError:
            response = None
        if response is None:
            self.ignored += 1
            return
        self.requests += 1
        with contextlib.suppress(OSError):  # a vehicle that is gone asks again or never
            self._socket.sendto(sdp.encode_response(response), sender)


def tls_answer(address: IPv6Address, port: int) -> Answer:
    """Return an `answer` for a charger that speaks TLS over TCP at `address`, `port`, whatever the vehicle asks for.

    A vehicle that asked for no TLS learns from the security byte that there is nothing else (V2G20-2356).
    """
    response = SdpResponse(address, port, Security.TLS, Transport.TCP)
    return lambda request: response if request.transport is Transport.TCP else None


async def discover(
    interface: str,
    *,
    port: int = sdp.PORT,
    security: Security = Security.TLS,
    retry_s: float = sdp.RETRY_S,
    max_tries: int = sdp.MAX_TRIES,
) -> Found:
    """Ask on `interface` until a charger with the wanted security answers: every `retry_s`, at most `max_tries` times.

    Garbage and answers with another security are ignored. Raises TimeoutExpired when nobody usable answered,
    saying what did answer; TransportError when the interface is missing.
    """
    loop = asyncio.get_running_loop()
    sock = _udp_socket()
    search = _Search(sock, interface, security)
    try:
        target = ("::1", port, 0, 0)
        if has_multicast(interface):
            index = socket.if_nametoindex(interface)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            target = (str(sdp.MULTICAST), port, 0, index)
        loop.add_reader(sock, search.readable)
        request = sdp.encode_request(SdpRequest(security))
        for search.tries in range(1, max_tries + 1):
            with contextlib.suppress(OSError):  # no route yet, or nobody at ::1 yet: the next try may do
                sock.sendto(request, target)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    return await asyncio.shield(search.found)
    finally:
        loop.remove_reader(sock)
        sock.close()
    raise TimeoutExpired("SDP", retry_s * max_tries, hint=search.hint())


class _Search:
    """What has come in so far."""

    def __init__(self, sock: socket.socket, interface: str, security: Security) -> None:
        self.found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.tries = 0
        self._socket = sock
        self._interface = interface
        self._security = security
        self._garbage = 0
        self._other: SdpResponse | None = None

    def readable(self) -> None:
        """Take one datagram."""
        try:
            datagram = self._socket.recv(_MAX_DATAGRAM)
        except OSError:  # such as the port being unreachable at ::1
            return
        try:
            response = sdp.decode_response(datagram)
        except FrameError:
            self._garbage += 1
            return
        if response.security is not self._security or response.transport is not Transport.TCP:
            self._other = response
        elif not self.found.done():
            host = str(response.address) + (f"%{self._interface}" if response.address.is_link_local else "")
            self.found.set_result(Found(host, response.port, response, self.tries))

    def hint(self) -> str:
        """Say what was heard instead."""
        if self._other is not None:
            return (
                f"a charger answered that it speaks {self._other.security.name} over {self._other.transport.name} only"
            )
        if self._garbage:
            return f"{self._garbage} datagrams came that are no SDP answers"
        return "is the charger running, on this interface and SDP port, and the powerline matched?"


def _udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
