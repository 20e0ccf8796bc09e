"""Interfaces are used when the kernel says so, by all of SDP: addresses under test, floods, comings and goings."""

import asyncio
import contextlib
import errno
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from v2g.errors import TimeoutExpired, TransportError
from v2g.io.network import interfaces
from v2g.io.network.interfaces import InterfaceSupervisor, InterfaceWatch, Usable, usable, wait_usable
from v2g.io.network.sdp import LOOPBACK, SdpServer, discover, tls_answer
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SdpLimits, SdpRequest
from v2g.observe import Observe

_LOCALHOST = IPv6Address("::1")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _make(one: str, two: str) -> None:
    """Lay the cable; without duplicate address detection its ends can be used at once."""
    _ip("link", "add", one, "type", "veth", "peer", "name", two)
    for name in (one, two):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0")
    for name in (one, two):
        _ip("link", "set", name, "up")


@pytest.fixture
def quick(veth: tuple[str, str]) -> tuple[str, str]:
    """Return a cable whose ends can be used as soon as they are up."""
    _ip("link", "del", veth[0])
    _make(*veth)
    return veth


def _iproute(interface: str) -> set[str]:
    """Return the link-local addresses that iproute2 calls usable: neither tentative nor failed."""
    words = _ip("-o", "-6", "address", "show", interface, "scope", "link", "-tentative", "-dadfailed").split()
    return {word.partition("/")[0] for word in words if word.startswith("fe80::")}


async def test_an_address_is_waited_for_until_duplicate_detection_is_over(veth: tuple[str, str]) -> None:
    """No fixed wait: within 0.2 s of the moment from which on iproute2 shows it as usable."""
    one, _ = veth
    assert usable(one) is None, "made a moment ago"
    waiting = asyncio.create_task(wait_usable(one, timeout=10))
    shown_at, clock = None, asyncio.get_running_loop().time
    while not waiting.done():
        if shown_at is None and _iproute(one):
            shown_at = clock()
        await asyncio.sleep(0.01)
    found = await waiting
    assert {str(found.address)} == _iproute(one)
    assert found.index == socket.if_nametoindex(one)
    assert shown_at is None or clock() - shown_at < 0.2


async def test_no_address_is_a_timeout_with_a_hint(veth: tuple[str, str]) -> None:
    _ip("link", "set", veth[0], "down")
    with pytest.raises(TimeoutExpired, match="link-local address of") as caught:
        await wait_usable(veth[0], timeout=0.05)
    assert "ip -6 address" in caught.value.hint
    assert (await wait_usable(LOOPBACK)).address == _LOCALHOST


@contextlib.contextmanager
def _no_netlink(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = socket.socket

    def refuse(family: int = -1, *arguments: Any) -> socket.socket:
        if family == socket.AF_NETLINK:
            raise OSError(errno.EPERM, "Operation not permitted")
        return real(family, *arguments)

    monkeypatch.setattr(interfaces.socket, "socket", refuse)
    yield
    monkeypatch.undo()


@pytest.mark.parametrize("netlink", [True, False])
async def test_coming_and_going_is_reported(
    quick: tuple[str, str], until: Callable, monkeypatch: pytest.MonkeyPatch, netlink: bool
) -> None:
    one, two = quick
    first = await wait_usable(one, timeout=5)
    seen: list[Usable | None] = []
    if netlink:
        watch = InterfaceWatch([one], lambda _, state: seen.append(state))
    else:
        with _no_netlink(monkeypatch):
            watch = InterfaceWatch([one], lambda _, state: seen.append(state))
    assert watch.state == {one: first}
    _ip("link", "del", one)
    await until(lambda: seen == [None])
    _make(one, two)
    await until(lambda: len(seen) == 2)
    assert seen[1] is not None
    assert seen[1].index != first.index, "another interface under the same name"
    watch.close()
    watch.close()


class _Sdp:
    """A charger's SDP server as a Service."""

    def __init__(self, interface: str, address: IPv6Address, port: int) -> None:
        self.server = SdpServer(interface, tls_answer(address, 61000), port=port)

    async def close(self) -> None:
        self.server.close()


async def test_a_charger_is_found_again_on_an_interface_that_was_deleted(
    quick: tuple[str, str], until: Callable
) -> None:
    """The vehicle searches all the while, on two interfaces; the charger serves two, of which one vanishes."""
    one, two = quick
    events: list[Observe] = []
    port = _free_port()

    async def serve(interface: str, address: IPv6Address) -> _Sdp:
        return _Sdp(interface, address, port)

    presence = InterfaceSupervisor([one, LOOPBACK], serve, observe=events.append)
    await presence.ready()
    await until(lambda: ("served", one) in _named(events))
    await wait_usable(two, timeout=5)
    found = await discover(two, port=port)
    assert found.host.startswith("fe80::")
    _ip("link", "del", one)
    await until(lambda: ("interface_lost", one) in _named(events))
    with pytest.raises(TransportError, match="no such interface"):
        await discover(two, port=port)
    assert (await discover(LOOPBACK, port=port)).host == "::1", "the other interface is served all the time"
    _make(one, two)
    again = await discover(two, port=port, retry_s=0.05, max_tries=100)
    assert again.host.startswith("fe80::")
    assert _named(events).count(("served", one)) == 2
    await presence.close()
    with pytest.raises(TimeoutExpired):
        await discover(LOOPBACK, port=port, retry_s=0.01, max_tries=2)


async def test_a_search_outlives_its_interface(quick: tuple[str, str], until: Callable) -> None:
    one, two = quick
    port = _free_port()
    search = asyncio.create_task(discover(two, port=port, retry_s=0.02, max_tries=400))
    await asyncio.sleep(0)
    _ip("link", "del", one)
    await asyncio.sleep(0.05)
    assert not search.done()
    _make(one, two)
    address = (await wait_usable(one, timeout=5)).address
    server = SdpServer(one, tls_answer(address, 61000), port=port)
    assert (await search).host == f"{address}%{two}"
    server.close()


async def test_what_cannot_be_served_at_first_is_an_error_and_later_is_tried_again(until: Callable) -> None:
    events: list[Observe] = []

    async def refuse(_: str, __: IPv6Address) -> _Sdp:
        raise TransportError("the port is taken")

    presence = InterfaceSupervisor([LOOPBACK], refuse, observe=events.append)
    with pytest.raises(TransportError, match="taken"):
        await presence.ready()
    await presence.close()
    with pytest.raises(TransportError, match="no such interface"):
        InterfaceSupervisor(["not-there"], refuse, observe=events.append)


async def test_a_flood_is_answered_in_part_and_a_vehicle_beside_it_is_served(until: Callable) -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0, limits=SdpLimits(source_burst=20))
    request = sdp.encode_request(SdpRequest())
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for count in range(1, 501):
            sock.sendto(request, ("::1", server.port))
            if count % 50 == 0:
                await until(lambda count=count: server.requests + server.limited == count)
    assert 20 <= server.requests < 60
    assert server.limited > 400
    server.close()


def _named(events: list[Observe]) -> list[tuple[str, object]]:
    return [(event.name, event.data["interface"]) for event in events]


def _free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        return int(sock.getsockname()[1])
