"""Usable network interfaces: their link-local addresses, by notification instead of polling.

The kernel assigns a link-local address when an interface gets its carrier, and enables it after duplicate address
detection, one to two seconds later. It reports changes over netlink; where that is not available, the table of
addresses is read ten times a second.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, Protocol

import msgspec

from v2g.errors import TimeoutExpired, TransportError
from v2g.io.runtime.supervision import Supervisor
from v2g.observe import Observe

_IFF_LOOPBACK, _IFF_MULTICAST = 0x8, 0x1000  # linux/if.h
_LINK_SCOPE: Final = "20"
_NOT_YET: Final = 0x40 | 0x08  # IFA_F_TENTATIVE, IFA_F_DADFAILED of linux/if_addr.h
_NETLINK_ROUTE, _GROUPS = 0, 0x1 | 0x100  # RTMGRP_LINK, RTMGRP_IPV6_IFADDR of linux/rtnetlink.h
_TABLE: Final = Path("/proc/net/if_inet6")
_POLL_S: Final = 0.1
_MESSAGE: Final = 64 * 1024


class Usable(msgspec.Struct, frozen=True):
    """A usable interface. `index` changes when the interface is deleted and recreated."""

    address: IPv6Address
    index: int


def has_multicast(interface: str) -> bool:
    """Return whether `interface` is a real one. Raises TransportError when there is no such interface."""
    try:
        flags = int(Path("/sys/class/net", interface, "flags").read_text(), 16)
    except (OSError, ValueError):
        raise TransportError(f"no such interface: {interface!r}", hint="`ip link` lists them") from None
    return bool(flags & _IFF_MULTICAST) and not flags & _IFF_LOOPBACK


def usable(interface: str) -> Usable | None:
    """Return the link-local address of `interface` (::1 on loopback), or None without address or interface."""
    with contextlib.suppress(TransportError, OSError):
        if not has_multicast(interface):
            return Usable(IPv6Address("::1"), socket.if_nametoindex(interface))
        for line in _TABLE.read_text().splitlines():
            address, index, _, scope, flags, name = line.split()
            if name == interface and scope == _LINK_SCOPE and not int(flags, 16) & _NOT_YET:
                return Usable(IPv6Address(int(address, 16)), int(index, 16))
    return None


class InterfaceWatch:
    """Reports when interfaces become usable and unusable."""

    def __init__(self, interfaces: Collection[str], on_change: Callable[[str, Usable | None], None]) -> None:
        """Call `on_change` with each change of one of `interfaces`; the initial state is in `state`."""
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._netlink: socket.socket | None = None
        try:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
            self._netlink.bind((0, _GROUPS))
            self._loop.add_reader(self._netlink, self._on_netlink)
        except OSError:  # forbidden by a sandbox
            self._schedule()
        self.state: dict[str, Usable | None] = {name: usable(name) for name in interfaces}

    def close(self) -> None:
        """Stop watching; idempotent."""
        if self._netlink is not None:
            self._loop.remove_reader(self._netlink)
            self._netlink.close()
            self._netlink = None
        if self._timer is not None:
            self._timer.cancel()

    def _on_netlink(self) -> None:
        """Handle a notification by reading the state: messages may have been lost."""
        while self._netlink is not None:
            try:
                self._netlink.recv(_MESSAGE)
            except OSError:  # no more messages, or queue overflow
                break
        self._poll()

    def _schedule(self) -> None:
        self._timer = self._loop.call_later(_POLL_S, self._poll_and_notify)

    def _poll_and_notify(self) -> None:
        self._schedule()
        self._poll()

    def _poll(self) -> None:
        for name, before in list(self.state.items()):
            now = usable(name)
            if now != before:
                self.state[name] = now
                self._on_change(name, now)


async def wait_usable(*interfaces: str, timeout: float | None = None) -> Usable:
    """Return as soon as one of `interfaces` can be used. Raises TimeoutExpired after `timeout` s."""
    found: asyncio.Future[Usable] = asyncio.get_running_loop().create_future()

    def changed(_: str, state: Usable | None) -> None:
        if state is not None and not found.done():
            found.set_result(state)

    watch = InterfaceWatch(interfaces, changed)
    for interface, state in watch.state.items():
        changed(interface, state)
    try:
        async with asyncio.timeout(timeout):
            return await found
    except TimeoutError:
        hint = "is the interface there and up, with IPv6? `ip -6 address` shows it"
        names = ", ".join(interfaces)
        raise TimeoutExpired(f"link-local address of {names}", timeout or 0.0, hint=hint) from None
    finally:
        watch.close()


_PAUSE_S: Final = 1.0


class InterfaceService(Protocol):
    """A listener on one interface."""

    async def close(self) -> None:
        """Stop listening."""


class InterfaceSupervisor:
    """Serves each of `interfaces` whenever it has a usable link-local address.

    `serve(interface, address)` begins to listen there. It is closed when the interface or its address disappears, and
    called again when there is a new one.
    """

    def __init__(
        self,
        interfaces: Collection[str],
        serve: Callable[[str, IPv6Address], Awaitable[InterfaceService]],
        *,
        observe: Callable[[Observe], None],
    ) -> None:
        """Raises TransportError when an interface does not exist at the start."""
        for interface in interfaces:
            has_multicast(interface)
        self._serve = serve
        self._observe = observe
        self._changes = {interface: asyncio.Event() for interface in interfaces}
        self._watch = InterfaceWatch(interfaces, lambda interface, _: self._changes[interface].set())
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = Supervisor(observe)
        for interface in interfaces:
            self._supervisor.keep(f"presence on {interface}", partial(self._keep, interface))

    @property
    def usable(self) -> bool:
        return any(state is not None for state in self._watch.state.values())

    async def ready(self) -> None:
        """Wait until one interface is served. Raises TransportError when the first usable one fails."""
        await asyncio.shield(self._first)

    async def close(self) -> None:
        """Stop serving everywhere."""
        self._watch.close()
        await self._supervisor.close()
        self._first.cancel()

    async def _keep(self, interface: str) -> None:
        while True:
            state = await self._until(interface, lambda now: now is not None)
            assert state is not None
            try:
                service = await self._serve(interface, state.address)
            except TransportError as error:
                if not self._first.done():
                    self._first.set_exception(error)
                    return
                self._observe(Observe("sdp", "not_served", {"interface": interface, "error": str(error)}))
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                self._observe(Observe("sdp", "served", {"interface": interface, "address": str(state.address)}))
                if not self._first.done():
                    self._first.set_result(None)
                await self._until(interface, lambda now, served=state: now != served)  # type: ignore[misc]
                self._observe(Observe("sdp", "interface_lost", {"interface": interface}))
            finally:
                await service.close()

    async def _until(self, interface: str, condition: Callable[[Usable | None], bool]) -> Usable | None:
        change = self._changes[interface]
        while not condition(self._watch.state[interface]):
            change.clear()
            await change.wait()
        return self._watch.state[interface]


_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30  # linux/rtnetlink.h
_NLMSG_DONE, _NLMSG_ERROR = 3, 2
_REQUEST_DUMP: Final = 0x1 | 0x300
_NDA_DST, _NDA_LLADDR = 1, 2  # linux/neighbour.h
_HEADER: Final = struct.Struct("=IHHII")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_REPLY: Final = 64 * 1024
_PATIENCE_S: Final = 0.5


def mac_of(address: str) -> bytes | None:
    """Return the MAC address of a neighbour (`fe80::1%eth0`, or without interface), None if there is none:
    the loopback interface, a peer behind a router, no permission."""
    text, _, interface = address.partition("%")
    try:
        wanted = IPv6Address(text).packed
        index = socket.if_nametoindex(interface) if interface else 0
        table = _table()
    except (OSError, ValueError):
        return None
    return next((mac for where, ip, mac in table if ip == wanted and index in (0, where)), None)


def _table() -> list[tuple[int, bytes, bytes]]:
    """Return (interface index, IPv6 address, MAC) of every known neighbour."""
    found: list[tuple[int, bytes, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as netlink:
        netlink.settimeout(_PATIENCE_S)
        body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, _REQUEST_DUMP, 1, 0) + body)
        while True:
            reply = netlink.recv(_REPLY)
            for kind, payload in _messages(reply):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return found
                if kind == _RTM_NEWNEIGH:
                    found += _neighbour(payload)


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    messages = []
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            break
        messages.append((kind, data[_HEADER.size : length]))
        data = data[(length + 3) & ~3 :]
    return messages


def _neighbour(payload: bytes) -> list[tuple[int, bytes, bytes]]:
    _, index, _, _, _ = _NEIGHBOUR.unpack_from(payload)
    fields: dict[int, bytes] = {}
    rest = payload[_NEIGHBOUR.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        fields[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]
    ip, mac = fields.get(_NDA_DST, b""), fields.get(_NDA_LLADDR, b"")
    return [(index, ip, mac)] if len(mac) == 6 and any(mac) else []  # the loopback interface has zeros
