"""SDP finds a charger on loopback by unicast and on a real interface by multicast, through garbage and silence."""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from v2g.errors import TimeoutExpired, TransportError
from v2g.io.network.sdp import LOOPBACK, SdpServer, discover, has_multicast, link_local_address, tls_answer
from v2g.iso15118.d20 import sdp_wireless
from v2g.iso15118.d20.association import Behind
from v2g.iso15118.d20.sdp_wireless import Diagnosis, Positioning, SdpWirelessRequest, SdpWirelessResponse
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SdpRequest, SdpResponse, Security, Transport

_LOCALHOST = IPv6Address("::1")


async def test_a_charger_on_loopback_is_found_at_once() -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0)
    found = await discover(LOOPBACK, port=server.port)
    assert (found.host, found.port, found.tries) == ("::1", 61000, 1)
    assert found.response == SdpResponse(_LOCALHOST, 61000, Security.TLS, Transport.TCP)
    assert (server.requests, server.ignored) == (1, 0)
    server.close()
    server.close()


async def test_a_charger_that_comes_later_is_found_by_a_later_try() -> None:
    draws = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0)
    port = draws.port
    draws.close()
    search = asyncio.create_task(discover(LOOPBACK, port=port, retry_s=0.02))
    await asyncio.sleep(0.03)
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=port)
    found = await search
    assert found.tries > 1
    server.close()


async def test_nobody_there_is_a_timeout_with_a_hint() -> None:
    with pytest.raises(TimeoutExpired) as caught:
        await discover(LOOPBACK, port=9, retry_s=0.01, max_tries=3)
    assert caught.value.timer == "SDP"
    assert "is the charger running" in caught.value.hint


PARKED = SdpWirelessRequest(positioning=Positioning.WPT_LF_VEHICLE, coupling=0x10, evid="WMIV2GENGINE0000001X")
PLACE = Behind(("DE*V2G*E00001",), frozenset({0x10}), _LOCALHOST, 61000)


async def test_a_vehicle_above_a_coil_learns_its_place_and_a_plain_request_is_still_answered() -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0, wireless=PLACE)
    found = await discover(LOOPBACK, port=server.port, wireless=PARKED)
    assert (found.host, found.port, found.evse_id) == ("::1", 61000, "DE*V2G*E00001")
    assert (await discover(LOOPBACK, port=server.port)).evse_id == ""
    assert (server.requests, server.ignored) == (2, 0)
    server.close()


@pytest.mark.parametrize(
    ("place", "wish", "hint"),
    [
        (PLACE, {"coupling": 0x03}, "no compatible coupler"),
        (PLACE, {"evseid": "DEV2GE00002"}, "is the charger running"),
        (None, {}, "is the charger running"),
    ],
)
async def test_a_charger_that_is_not_the_vehicles_own_is_not_taken(
    place: Behind | None, wish: dict[str, Any], hint: str
) -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0, wireless=place)
    wireless = replace(PARKED, **wish)
    with pytest.raises(TimeoutExpired) as caught:
        await discover(LOOPBACK, port=server.port, wireless=wireless, retry_s=0.05, max_tries=2)
    assert hint in caught.value.hint
    server.close()


async def test_an_ongoing_association_is_asked_for_again() -> None:
    def answer(diagnosis: Diagnosis) -> bytes:
        return sdp_wireless.encode_response(
            SdpWirelessResponse(address=_LOCALHOST, port=61002, diagnosis=diagnosis, coupling=0x10)
        )

    transport, port = await _liar([answer(Diagnosis.ONGOING), answer(Diagnosis.FINISHED_WITHOUT_EVSEID)])
    assert (await discover(LOOPBACK, port=port, wireless=PARKED)).port == 61002
    transport.close()
    transport, port = await _liar([answer(Diagnosis.ONGOING), sdp.encode_response(SdpResponse(_LOCALHOST, 61001))])
    with pytest.raises(TimeoutExpired) as caught:
        await discover(LOOPBACK, port=port, wireless=PARKED, retry_s=0.05, max_tries=2)
    assert "not yet located" in caught.value.hint
    transport.close()


class Liar(asyncio.DatagramProtocol):
    """Answers every request with the same datagrams, right or not."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for answer in self.answers:
            self.transport.sendto(answer, addr)  # type: ignore[attr-defined]


async def _liar(answers: list[bytes]) -> tuple[asyncio.DatagramTransport, int]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Liar(answers), local_addr=("::1", 0)
    )
    return transport, transport.get_extra_info("sockname")[1]


async def test_garbage_before_an_answer_is_ignored() -> None:
    good = sdp.encode_response(SdpResponse(_LOCALHOST, 61001))
    transport, port = await _liar([b"", b"\x01\xfe", bytes(28), good[:-1], sdp.encode_request(SdpRequest()), good])
    found = await discover(LOOPBACK, port=port)
    assert found.port == 61001
    transport.close()


@pytest.mark.parametrize("avoided", [(), (61001,), (61001, 61002)])
async def test_of_several_chargers_one_that_could_not_be_reached_comes_last(avoided: tuple[int, ...]) -> None:
    answers = [sdp.encode_response(SdpResponse(_LOCALHOST, each)) for each in (61001, 61002)]
    transport, port = await _liar(answers)
    found = await discover(LOOPBACK, port=port, retry_s=0.2, avoided=[("::1", each) for each in avoided])
    assert found.port == {0: 61001, 1: 61002, 2: 61002}[len(avoided)]
    assert found.tries == 1
    transport.close()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        *(
            (sdp.encode_response(SdpResponse(IPv6Address(each), 61001)), f"the address {each}")
            for each in ("::", "ff02::1")
        ),
        (sdp.encode_response(SdpResponse(_LOCALHOST, 61001, Security.NONE)), "with NONE over TCP only"),
        (b"garbage", "2 invalid datagrams received, the last: 7 bytes are shorter than a V2GTP header"),
    ],
)
async def test_a_charger_without_tls_or_sense_is_named_in_the_hint(answer: bytes, hint: str) -> None:
    transport, port = await _liar([answer])
    with pytest.raises(TimeoutExpired) as caught:
        await discover(LOOPBACK, port=port, retry_s=0.05, max_tries=2)
    assert hint in caught.value.hint
    transport.close()


async def test_the_server_ignores_garbage_and_answers_tls_to_whoever_asks(until: Callable) -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # noqa: FBT003
        for datagram in (b"", b"x" * 3000, sdp.encode_request(SdpRequest(transport=Transport.UDP))):
            sock.sendto(datagram, ("::1", server.port))
        await until(lambda: server.ignored == 3)
        sock.sendto(sdp.encode_request(SdpRequest(Security.NONE)), ("::1", server.port))
        await until(lambda: server.requests == 1)
        response = sdp.decode_response(await asyncio.get_running_loop().sock_recv(sock, 100))
    assert response.security is Security.TLS
    server.close()


@pytest.mark.parametrize(
    "datagram",
    [
        "02fd 9000 00000002 0000",  # another version of V2GTP
        "01ff 9000 00000002 0000",  # a version that is not inverted
        "01fe 9001 00000002 0000",  # an answer
        "01fe 9002 00000002 0000",  # wireless charging
        "01fe 8001 00000002 0000",
        "01fe 9000 00000002 00",
        "01fe 9000 00000002 000000",
        "01fe 9000 00000003 000000",
        "01fe 9000 00000000",
        "01fe 9000 ffffffff 0000",
        "01fe 9000 00000002 2000",  # reserved security
        "01fe 9000 00000002 0020",  # reserved transport
        "01fe 9000 00000002 0010",  # UDP, which nobody serves
    ],
)
async def test_other_versions_lengths_and_values_are_ignored_and_the_next_request_is_answered(
    until: Callable, datagram: str
) -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # noqa: FBT003
        sock.sendto(bytes.fromhex(datagram), ("::1", server.port))
        await until(lambda: server.ignored == 1)
        assert server.requests == 0
        sock.sendto(bytes.fromhex("01fe 9000 00000002 1000"), ("::1", server.port))
        answer = await asyncio.get_running_loop().sock_recv(sock, 100)
    assert answer == bytes.fromhex("01fe 9001 00000014") + _LOCALHOST.packed + bytes.fromhex("ee48 00 00")
    server.close()


async def test_a_search_ends_with_the_set_up_timer_whatever_tries_are_left() -> None:
    start = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutExpired) as caught:
        await discover(LOOPBACK, port=9, retry_s=0.02, max_tries=50, within_s=0.05)
    assert asyncio.get_running_loop().time() - start < 0.5
    assert caught.value.seconds == 0.05
    assert sdp.RETRY_S * sdp.MAX_TRIES < sdp.SETUP_S, "by the standard all tries fit"


async def test_two_servers_on_one_port_of_loopback_clash_with_a_clear_error() -> None:
    server = SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=0)
    with pytest.raises(TransportError, match=f"port {server.port} of lo"):
        SdpServer(LOOPBACK, tls_answer(_LOCALHOST, 61000), port=server.port)
    server.close()


async def test_interfaces_that_are_missing_or_loopback() -> None:
    assert not has_multicast(LOOPBACK)
    assert link_local_address(LOOPBACK) == _LOCALHOST
    for use in (has_multicast, link_local_address, lambda name: SdpServer(name, tls_answer(_LOCALHOST, 1))):
        with pytest.raises(TransportError, match="no such interface"):
            use("not-there")
    with pytest.raises(TransportError, match="no such interface"):
        await discover("not-there")


async def test_a_real_interface_uses_multicast_and_scoped_addresses(veth: tuple[str, str], until: Callable) -> None:
    charger, vehicle = veth

    def ready() -> bool:  # the kernel checks for duplicates before it lets an address be used
        lines = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
        return {line[5] for line in lines if line[3] == "20" and not int(line[4], 16) & 0x40} >= {charger, vehicle}

    await until(ready)
    assert has_multicast(charger)
    address = link_local_address(charger)
    assert address.is_link_local
    server = SdpServer(charger, tls_answer(address, 61000), port=0)
    found = await discover(vehicle, port=server.port)
    assert (found.host, found.port) == (f"{address}%{vehicle}", 61000)
    server.close()
