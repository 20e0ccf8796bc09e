"""Usable network interfaces: their link-local addresses, by notification instead of polling.

The kernel assigns a link-local address when an interface gets its carrier, and enables it after duplicate address
detection, one to two seconds later. It reports changes over netlink; where that is not available, the table of
addresses is read ten times a second.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import TimeoutExpired, TransportError

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
