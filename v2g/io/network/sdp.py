"""SDP over UDP: the charger's server and the vehicle's search (ISO 15118-20, clause 7.10.1).

On a real interface the request goes by multicast to ff02::1 there. The loopback interface has no multicast: there
it goes by unicast to ::1, and separate ports keep runs on one machine apart.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv6Address
from typing import Final

import msgspec

from v2g.errors import FrameError, TimeoutExpired, TransportError
from v2g.io.network.interfaces import has_multicast, usable
from v2g.iso15118.d20 import sdp_wireless
from v2g.iso15118.d20.association import Behind, associate, belongs
from v2g.iso15118.d20.sdp_wireless import Diagnosis, SdpWirelessRequest, SdpWirelessResponse
from v2g.iso15118.engine import sdp, v2gtp
from v2g.iso15118.engine.sdp import SdpLimiter, SdpLimits, SdpRequest, SdpResponse, Security, Transport

LOOPBACK: Final = "lo"
FLOOD_S: Final = 10.0
"""Seconds between two reports of a flood."""

_MAX_DATAGRAM = 2048
_READ_BATCH = 64


class SdpAnswer(msgspec.Struct, frozen=True):
    """A charger's answer: `host` ready to connect to (with `%interface` when link-local), TCP `port`.

    `evse_id` is the vehicle's detected place, only with wireless SDP.
    """

    host: str
    port: int
    response: SdpResponse
    tries: int
    evse_id: str = ""


Answer = Callable[[SdpRequest], SdpResponse | None]


def link_local_address(interface: str) -> IPv6Address:
    """Return the address to announce on `interface`: link-local, or ::1 on the loopback interface.

    Raises TransportError when the interface has none that can be used yet: see `v2g.io.network.interfaces.wait_usable`.
    """
    has_multicast(interface)
    found = usable(interface)
    if found is None:
        raise TransportError(f"{interface} has no IPv6 link-local address", hint=f"ip link set {interface} up")
    return found.address


class SdpServer:
    """Answers vehicles' requests.

    `requests` counts answered ones, `limited` those of a flood, `ignored` every other datagram: other versions,
    lengths and payload types, other transports, garbage.
    """

    def __init__(
        self,
        interface: str,
        answer: Answer,
        *,
        port: int = sdp.PORT,
        wireless: Behind | None = None,
        limits: SdpLimits | None = None,
        on_flood: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Listen on UDP `port` (0 draws one) of `interface`, in the running loop.

        `answer` returns the answer to a request, or None for none. Requests of wireless SDP are answered if
        `wireless` is given. `on_flood` is called with the address of a
        sender that is no longer answered, once in FLOOD_S.

        Raises TransportError when the port is in use or the interface missing.
        """
        self._answer, self._wireless = answer, wireless
        self._loop = asyncio.get_running_loop()
        self._limiter = SdpLimiter(limits)
        self._on_flood = on_flood
        self._flood_reported = float("-inf")
        self.requests = 0
        self.limited = 0
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
                with contextlib.suppress(PermissionError):  # then it shares the port with no other interface's server
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                self._socket.bind(("::1", port))
        except OSError as error:
            self._socket.close()
            raise TransportError(
                f"SDP cannot listen on UDP port {port} of {interface}: {error.strerror}",
                hint="another SECC uses this port; give each its own SDP port",
            ) from None
        except TransportError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Stop answering; idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):  # then let the loop run
            if self._socket.fileno() < 0:
                return
            try:
                datagram, sender = self._socket.recvfrom(_MAX_DATAGRAM)
            except OSError:
                return
            try:
                response = self._reply(datagram)
            except FrameError:
                response = None
            if response is None:
                self.ignored += 1
            elif not self._limiter.allow(sender[0], self._loop.time()):
                self.limited += 1
                if self._loop.time() - self._flood_reported > FLOOD_S:
                    self._flood_reported = self._loop.time()
                    self._on_flood(sender[0])
            else:
                self.requests += 1
                with contextlib.suppress(OSError):  # a lost answer is requested again
                    self._socket.sendto(response, sender)

    def _reply(self, datagram: bytes) -> bytes | None:
        """Return the answer to a request of either form. Raises FrameError for an invalid one."""
        if self._wireless is not None and (datagram[2:4] == v2gtp.PayloadType.SDP_WIRELESS_REQ.to_bytes(2, "big")):
            placed = associate(sdp_wireless.decode_request(datagram), self._wireless)
            return None if placed is None else sdp_wireless.encode_response(placed)
        response = self._answer(sdp.decode_request(datagram))
        return None if response is None else sdp.encode_response(response)


def tls_answer(address: IPv6Address, port: int | None, *, plain_port: int | None = None) -> Answer:
    """Return an `answer` for a charger at `address`: with TLS at TCP `port`, without at `plain_port`, or both.

    A vehicle gets what it requests where both are there. The security byte is the charger's decision: where there is
    no `plain_port`, TLS is required (V2G20-1238), and where there is no `port`, the vehicle may go on without TLS.
    """
    secured = SdpResponse(address, port, Security.TLS, Transport.TCP) if port is not None else None
    plain = SdpResponse(address, plain_port, Security.NONE, Transport.TCP) if plain_port is not None else None

    def answer(request: SdpRequest) -> SdpResponse | None:
        if request.transport is not Transport.TCP:
            return None
        return plain or secured if request.security is Security.NONE else secured or plain

    return answer


async def discover(
    *interfaces: str,
    port: int = sdp.PORT,
    security: Security = Security.TLS,
    accepted: Collection[Security] = (),
    wireless: SdpWirelessRequest | None = None,
    avoided: Collection[tuple[str, int]] = (),
    retry_s: float = sdp.RETRY_S,
    max_tries: int = sdp.MAX_TRIES,
    within_s: float = sdp.SETUP_S,
) -> SdpAnswer:
    """Send requests on all `interfaces` until a charger with the requested security, or one of `accepted`, answers:
    every `retry_s`, at most `max_tries` times and `within_s`. With `wireless` that request is used, and an answer
    counts once the vehicle's place is known or left to the session.

    Of several chargers the first counts, but one at an `avoided` host and port only where no other answers a request.
    Garbage and answers with another security are ignored; an interface that vanishes is used again when it is back.
    Raises TimeoutExpired without a usable answer, naming others received; TransportError when an interface is
    missing at the start.
    """
    loop = asyncio.get_running_loop()
    search = _Search(interfaces, port, security, frozenset((security, *accepted)), wireless, frozenset(avoided))
    deadline = loop.time() + within_s
    try:
        for search.tries in range(1, max_tries + 1):
            search.ask()
            pause = min(retry_s, deadline - loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    return await asyncio.shield(search.found)
            if search.spare is not None:
                return search.spare
            if loop.time() >= deadline:
                break
    finally:
        search.close()
    raise TimeoutExpired("SDP", min(retry_s * max_tries, within_s), hint=search.hint())


class _Search:
    """Searches on several interfaces, and stores what has been received."""

    def __init__(
        self,
        interfaces: Sequence[str],
        port: int,
        security: Security,
        accepted: frozenset[Security],
        wireless: SdpWirelessRequest | None,
        avoided: Collection[tuple[str, int]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.found: asyncio.Future[SdpAnswer] = self._loop.create_future()
        self.spare: SdpAnswer | None = None
        self._avoided = avoided
        self.tries = 0
        self._port = port
        self._security = security
        self._accepted = accepted
        self._wireless = None if wireless is None else msgspec.structs.replace(wireless, security=security)
        self._garbage, self._flaw = 0, ""
        self._elsewhere: SdpWirelessResponse | None = None
        self._other: SdpResponse | None = None
        # There is no multicast on loopback; an unknown interface is an error at once.
        self._real = {interface: has_multicast(interface) for interface in interfaces}
        self._sockets: dict[str, tuple[int, socket.socket]] = {}

    def ask(self) -> None:
        """Send the request once on every present interface."""
        plain = SdpRequest(self._security)
        wireless = self._wireless
        request = sdp.encode_request(plain) if wireless is None else sdp_wireless.encode_request(wireless)
        for interface, real in self._real.items():
            # No interface, address, route, or listener at ::1 yet: the next attempt may succeed.
            with contextlib.suppress(OSError):
                index = socket.if_nametoindex(interface)
                target = (str(sdp.MULTICAST), self._port, 0, index) if real else ("::1", self._port, 0, 0)
                self._socket(interface, index, real=real).sendto(request, target)

    def close(self) -> None:
        """Stop listening."""
        for interface in list(self._sockets):
            self._drop(interface)

    def _socket(self, interface: str, index: int, *, real: bool) -> socket.socket:
        """Return the socket of an interface; one that was recreated gets a new one."""
        known = self._sockets.get(interface)
        if known is not None and known[0] == index:
            return known[1]
        self._drop(interface)
        sock = _udp_socket()
        if real:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        self._sockets[interface] = (index, sock)
        self._loop.add_reader(sock, self._readable, interface, sock)
        return sock

    def _drop(self, interface: str) -> None:
        _, sock = self._sockets.pop(interface, (0, None))
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()

    def _readable(self, interface: str, sock: socket.socket) -> None:
        try:
            datagram = sock.recv(_MAX_DATAGRAM)
        except OSError:  # such as the port being unreachable at ::1
            return
        try:
            response, evse_id = self._understand(datagram)
            if response is not None and (response.address.is_multicast or response.address.is_unspecified):
                raise FrameError(f"SDP response with the address {response.address}")
        except FrameError as error:
            self._garbage, self._flaw = self._garbage + 1, str(error)
            return
        if response is None:
            return
        if response.security not in self._accepted or response.transport is not Transport.TCP:
            self._other = response
        elif not self.found.done():
            host = str(response.address) + (f"%{interface}" if response.address.is_link_local else "")
            answer = SdpAnswer(host, response.port, response, self.tries, evse_id)
            if (host, response.port) in self._avoided:
                self.spare = answer
            else:
                self.found.set_result(answer)

    def _understand(self, datagram: bytes) -> tuple[SdpResponse | None, str]:
        """Return an answer and its EVSE; None for one that is not usable (yet). Raises FrameError."""
        if self._wireless is None:
            return sdp.decode_response(datagram), ""
        placed = sdp_wireless.decode_response(datagram)
        if not belongs(self._wireless, placed):
            self._elsewhere = placed
            return None, ""
        return SdpResponse(placed.address, placed.port, placed.security, placed.transport), placed.evseid

    def hint(self) -> str:
        """Return what was received instead."""
        if self._other is not None:
            return f"a charger answered with {self._other.security.name} over {self._other.transport.name} only"
        if self._elsewhere is not None:
            return _NOWHERE[self._elsewhere.diagnosis]
        if self._garbage:
            return f"{self._garbage} invalid datagrams received, the last: {self._flaw}"
        return "is the charger running, on this interface and SDP port, and the powerline matched?"


_NOWHERE: Final = {
    Diagnosis.ONGOING: "a charger answered that it has not yet located the vehicle",
    Diagnosis.FINISHED: "a charger answered for another EVSE than the requested one",
    Diagnosis.FINISHED_WITHOUT_EVSEID: "a charger answered without confirming the requested EVSE",
    Diagnosis.ERROR: "a charger answered that it has no compatible coupler",
}


def _udp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
