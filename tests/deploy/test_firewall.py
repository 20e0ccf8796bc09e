"""The firewall's rules in a charger's network namespace, between a vehicle and an uplink."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.service import UNITS
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, cable, inside, ip, missing
from tests.packages import need

RULES = UNITS.parent / "nftables.conf"
PYTHON = (sys.executable, "-I", "-S", "-c")
CHARGER, OPERATOR = "10.88.0.1", "10.88.0.2"

LISTEN = """
import socket, sys
for port in map(int, sys.argv[1:]):
    kept = globals().setdefault("kept", [])
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        one = socket.socket(socket.AF_INET6, kind)
        one.bind(("::", port))
        kept.append(one)
        if kind == socket.SOCK_STREAM:
            one.listen()
        else:
            import threading
            def echo(one=one):
                while True:
                    data, sender = one.recvfrom(99)
                    one.sendto(data, sender)
            threading.Thread(target=echo, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

PROBE = """
import concurrent.futures, json, socket, sys
host, interface = sys.argv[1:3]
def reached(each):
    kind, port = each.split("/")
    target = socket.getaddrinfo(host + ("%" + interface if interface else ""), int(port), type=1)[0]
    with socket.socket(target[0], socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as one:
        one.settimeout(0.7)
        try:
            one.connect(target[4])
            if kind == "udp":
                one.send(b"?")
                one.recv(99)
        except OSError:
            return None
        return each
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    print(" ".join(filter(None, pool.map(reached, sys.argv[3:]))))
"""


@pytest.fixture
def network() -> Iterator[Cable]:
    """A vehicle at the charger's powerline interface, an uplink to an operator's namespace, and the rules."""
    need("nftables", "iproute2")
    if reason := missing():
        pytest.skip(reason)
    tag = f"f{os.getpid() % 10000}"
    operator = f"v2g-o-{tag}"
    with cable(tag) as names:
        try:
            ip("netns", "add", operator)
            ip("link", "add", "uplink", "netns", names.secc, "type", "veth", "peer", "name", "far", "netns", operator)
            for namespace, interface, address in ((names.secc, "uplink", CHARGER), (operator, "far", OPERATOR)):
                ip("-n", namespace, "link", "set", interface, "up")
                ip("-n", namespace, "address", "add", f"{address}/24", "dev", interface)
            yield names
        finally:
            ip("netns", "del", operator, check=False)


def reached(namespace: str, host: str, interface: str, *ports: str) -> set[str]:
    """Return which of `tcp/22`, `udp/15118` and so on answer."""
    command = inside(namespace, *PYTHON, PROBE, host, interface, *ports)
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def link_local(namespace: str, interface: str) -> str:
    """Return the link-local address of an interface."""
    shown = ip("-n", namespace, "-6", "-o", "address", "show", interface, "scope", "link")
    return shown.split("inet6 ")[1].split("/")[0]


@pytest.mark.requirement("R161")
@pytest.mark.one_worker("cable")
def test_only_what_a_charger_needs_passes(network: Cable, tmp_path: Path) -> None:
    operator = network.secc.replace("v2g-s-", "v2g-o-")
    rules = tmp_path / "nftables.conf"
    rules.write_text(RULES.read_text().replace('"eth0"', '"uplink"').replace('"eth1"', f'"{SECC_INTERFACE}"'))
    ports = (22, 80, 443, 8443, 8883, 15118, 50000)
    listeners = [
        subprocess.Popen(inside(namespace, *PYTHON, LISTEN, *map(str, ports)), stdout=subprocess.PIPE)
        for namespace in (network.secc, operator)
    ]
    every = [f"{kind}/{port}" for kind in ("tcp", "udp") for port in ports]
    try:
        for each in listeners:
            assert each.stdout is not None
            assert each.stdout.readline() == b"ready\n"
        charger = link_local(network.secc, SECC_INTERFACE)
        assert reached(network.evcc, charger, EVCC_INTERFACE, *every) == set(every)  # without rules all of them do
        for _ in range(2):  # as a reload does
            subprocess.run(inside(network.secc, "nft", "-f", str(rules)), check=True)
        assert reached(network.evcc, charger, EVCC_INTERFACE, *every) == {"udp/15118", "tcp/50000"}
        assert reached(operator, CHARGER, "", *every) == set()
        assert reached(network.secc, OPERATOR, "", *every) == {"tcp/443", "tcp/8883"}
    finally:
        for each in listeners:
            each.kill()
            each.communicate()
