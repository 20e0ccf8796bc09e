"""TCP connections by netlink, beside getsockopt of the same kernel; retransmissions of packets that scapy made."""

import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from v2g.errors import TransportError
from v2g.io.network.tcp_info import RetransmissionCounter, connections, read_connection, watch_wire


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as server:
        client = socket.create_connection(server.getsockname()[:2])
        accepted, _ = server.accept()
        with client, accepted:
            yield client, accepted


@pytest.mark.requirement("R89", "R90")
def test_a_connection_is_as_its_own_socket_says(pair: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = pair
    client.sendall(bytes(100_000))
    received = 0
    while received < 100_000:
        received += len(accepted.recv(65536))
    port = client.getsockname()[1]
    (found,) = (each for each in connections() if each.local_port == port)
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    mss, cwnd = struct.unpack_from("=I", info, 16)[0], struct.unpack_from("=I", info, 80)[0]
    assert (found.mss, found.congestion_window) == (mss, mss * cwnd)
    assert (found.remote_port, found.local) == (accepted.getsockname()[1], client.getsockname()[0])
    assert found.rtt_us > 0
    if found.sent_bytes is not None and found.retransmitted_bytes is not None:
        assert found.sent_bytes - found.retransmitted_bytes == 100_000  # lo, too, may drop and send again
    assert found.waiting == 0
    assert 0 < found.window <= found.congestion_window


@given(st.binary(max_size=400))
def test_any_answer_of_the_kernel_is_a_connection_or_none(data: bytes) -> None:
    message = bytes([2]) + data
    assert len(list(read_connection(message))) <= len(message)


def packets(layer: Any, *parts: tuple[int, int]) -> list[bytes]:
    return [bytes(layer / TCP(sport=1, dport=2, seq=seq) / Raw(bytes(size))) for seq, size in parts]


@pytest.mark.requirement("R90")
@pytest.mark.parametrize("layer", [IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fe80::1", dst="fe80::2")])
def test_segments_that_were_sent_before_are_counted(layer: Any) -> None:
    counter = RetransmissionCounter()
    for each in packets(layer, (2**32 - 100, 100), (0, 50), (2**32 - 100, 100), (50, 0), (50, 10), (0, 50), (60, 5)):
        counter.take(each[:256])
    counter.take(bytes(layer / UDP() / Raw(b"abc")))
    assert (counter.counts.packets, counter.counts.segments, counter.counts.retransmitted) == (8, 6, 2)
    assert counter.counts.loss_percent == pytest.approx(100 / 3)


@given(st.binary(max_size=120))
def test_any_packet_is_counted(data: bytes) -> None:
    counter = RetransmissionCounter()
    for packet in (data, b"\x45" + data, b"\x60" + data):
        counter.take(packet)
    assert counter.counts.packets == 3


WATCH = """
import json, socket, threading, msgspec
from v2g.io.network.tcp_info import watch_wire
server = socket.create_server(("127.0.0.1", 0))
def talk():
    with socket.create_connection(server.getsockname()) as client:
        for _ in range(20):
            client.sendall(b"x")
            client.recv(1)
def echo():
    accepted, _ = server.accept()
    with accepted:
        while data := accepted.recv(1):
            accepted.sendall(data)
threading.Thread(target=echo).start()
threading.Timer(0.2, talk).start()
print(json.dumps(msgspec.to_builtins(watch_wire("lo", 0.6))))
"""


@pytest.mark.requirement("R90")
def test_the_wire_is_watched_with_cap_net_raw_alone() -> None:
    only = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw"]
    none = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*only, "true"], check=False).returncode:
        pytest.skip("setpriv cannot set capabilities here")
    done = subprocess.run([*only, sys.executable, "-c", WATCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segments"] >= 40
    refused = subprocess.run([*none, sys.executable, "-c", WATCH], capture_output=True, text=True, check=False)
    assert "packets cannot be read" in refused.stderr


def test_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(TransportError):
        watch_wire("no_such_interface", 0.1)
