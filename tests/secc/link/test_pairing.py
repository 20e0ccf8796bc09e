"""On an interface that EVSEs share, a vehicle is served where it stands, or not at all."""

import itertools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.link.listening import MatchedPlug, address_mac, pair
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, cable, inside, missing
from tests.together import together
from v2g.io.network.interfaces import mac_of

ONE, TWO, THREE = (bytes.fromhex(f"02000000000{n}") for n in (1, 2, 3))
macs = st.sampled_from([None, ONE, TWO, THREE])
plugs = st.lists(st.tuples(macs, st.booleans()), min_size=2, max_size=4).map(
    lambda found: [MatchedPlug(number, mac, busy) for number, (mac, busy) in enumerate(found, 1)]
)


def test_the_only_evse_of_a_listener_needs_no_address() -> None:
    assert pair([MatchedPlug(3, None, busy=True)], None) == 3  # which refuses a second vehicle by itself


@together(
    ("there", "mac", "found"),
    [
        ([(ONE, False), (TWO, False)], TWO, 2),
        ([(ONE, True), (TWO, False)], ONE, 1),  # which refuses a second vehicle by itself
        ([(ONE, False), (TWO, False)], THREE, "no_evse"),
        ([(ONE, False), (None, False)], None, 1),
        ([(ONE, True), (TWO, False)], None, 2),
        ([(ONE, False), (TWO, False)], None, "ambiguous_evse"),
        ([(None, False), (None, False)], None, "no_evse"),
        ([(ONE, False), (ONE, False)], ONE, "ambiguous_evse"),
    ],
)
def test_who_is_served_where(there: list[tuple[bytes | None, bool]], mac: bytes | None, found: int | str) -> None:
    assert pair([MatchedPlug(number, *each) for number, each in enumerate(there, 1)], mac) == found


@given(plugs, macs)
def test_a_vehicle_never_gets_an_evse_that_has_matched_another_one(there: list[MatchedPlug], mac: bytes | None) -> None:
    found = pair(there, mac)
    if isinstance(found, int):
        plug = there[found - 1]
        assert mac is not None or not plug.busy
        assert plug.matched is not None
        assert mac in (None, plug.matched)
        others = [each for each in there if each is not plug and not each.busy and each.matched is not None]
        assert all(mac is not None and each.matched != mac for each in others)


@given(plugs, macs)
def test_the_order_of_evses_decides_nothing(there: list[MatchedPlug], mac: bytes | None) -> None:
    assert len({pair(order, mac) for order in itertools.islice(itertools.permutations(there), 6)}) == 1


@together(
    ("address", "mac"),
    [
        ("fe80::211:22ff:fe33:4455", "001122334455"),  # RFC 4291, appendix A
        ("fe80::211:22ff:fe33:4455%plc0", "001122334455"),
        ("fe80::1234:5678:9abc:def0", None),  # a random one
        ("2001:db8::211:22ff:fe33:4455", None),
        ("::1", None),
        ("", None),
    ],
)
def test_an_address_that_was_made_of_a_mac_contains_it(address: str, mac: str | None) -> None:
    assert address_mac(address) == (None if mac is None else bytes.fromhex(mac))


def test_loopback_has_no_neighbours() -> None:
    assert mac_of("::1") is None
    assert mac_of("fe80::1%no-such-interface") is None
    assert mac_of("no address") is None


ASK = """
import socket, sys, time
from v2g.io.network.interfaces import mac_of
address, interface = sys.argv[1:]
there = f"{address}%{interface}"
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
    udp.sendto(b"", socket.getaddrinfo(there, 9)[0][4])
until = time.monotonic() + 60
while mac_of(there) is None and time.monotonic() < until:
    time.sleep(0.01)
print([mac_of(each) for each in (there, address, f"{address}%lo", f"fe80::78%{interface}")])
"""


def test_the_kernel_knows_the_mac_of_a_neighbour() -> None:
    if reason := missing():
        pytest.skip(reason)
    with cable(f"neigh-{os.getpid()}") as wire:
        (link,) = json.loads(in_namespace(wire.evcc, "ip", "-j", "link", "show", EVCC_INTERFACE))
        (there,) = json.loads(in_namespace(wire.evcc, "ip", "-j", "-6", "address", "show", EVCC_INTERFACE))
        address = there["addr_info"][0]["local"]
        reported = in_namespace(wire.secc, sys.executable, "-c", ASK, address, SECC_INTERFACE)
        mac = bytes.fromhex(link["address"].replace(":", ""))
        assert reported.strip() == str([mac, mac, None, None])
        assert address_mac(address) == mac


def in_namespace(namespace: str, *command: str) -> str:
    return subprocess.run(inside(namespace, *command), check=True, capture_output=True, text=True).stdout
