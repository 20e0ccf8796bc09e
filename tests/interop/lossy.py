"""A cable that loses, delays and reorders frames, between the namespaces of `tests.interop.cable`.

The two ends lead to a third namespace, where this module, run as a program, passes frames on: the kernel needs no netem
for it. Everything that charger and vehicle send is subject to it: neighbour discovery, SDP, TCP with its repetitions.
"""

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec

from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, await_address, inside, ip
from v2g.io.plc.link import DelayLine, Impairment, ImpairmentConfig

_SIOCETHTOOL, _OFFLOADS = 0x8946, (0x17, 0x1F, 0x24)  # ETHTOOL_STXCSUM, _STSO, _SGSO of linux/ethtool.h
_OUTGOING, _ALL = 4, 3  # PACKET_OUTGOING of linux/if_packet.h, ETH_P_ALL of linux/if_ether.h


@contextlib.contextmanager
def lossy_cable(tag: str, config: ImpairmentConfig) -> Iterator[Cable]:
    """Give two namespaces as `tests.interop.cable.cable` does, whose cable impairs frames in both directions."""
    names, between = Cable(f"v2g-s-{tag}", f"v2g-e-{tag}"), f"v2g-l-{tag}"
    ends = ((names.secc, SECC_INTERFACE), (names.evcc, EVCC_INTERFACE))
    relay = None
    try:
        ip("netns", "add", between)
        for namespace, interface in ends:
            ip("netns", "add", namespace)
            for scope in ("all", "default"):
                ip("netns", "exec", namespace, "sysctl", "-qw", f"net.ipv6.conf.{scope}.accept_dad=0", check=False)
            ip(
                "link",
                "add",
                interface,
                "netns",
                namespace,
                "type",
                "veth",
                "peer",
                "name",
                f"{interface}-l",
                "netns",
                between,
            )
            subprocess.run(
                inside(namespace, sys.executable, "-m", "tests.interop.lossy", "plain", interface), check=True
            )
            ip("-n", between, "link", "set", f"{interface}-l", "up", "promisc", "on")
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", interface, "up")
        far = [f"{interface}-l" for _, interface in ends]
        command = [sys.executable, "-m", "tests.interop.lossy", "relay", *far, msgspec.json.encode(config).decode()]
        relay = subprocess.Popen(inside(between, *command), stdout=subprocess.PIPE)
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"ready\n"
        for namespace, interface in ends:
            await_address(namespace, interface)
        yield names
    finally:
        if relay is not None:
            relay.kill()
            relay.communicate()
        for namespace in (names.secc, names.evcc, between):
            ip("netns", "del", namespace, check=False)


def plain(interface: str) -> None:
    """Have the kernel make whole frames with checksums: nothing behind this interface does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFFLOADS:
            wanted = array.array("B", struct.pack("II", command, 0))
            fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP", interface.encode(), wanted.buffer_info()[0]))


def relay(one: str, other: str, config: ImpairmentConfig) -> None:
    """Pass frames on between two interfaces, for ever."""
    ports = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) for _ in range(2)]
    for port, interface in zip(ports, (one, other), strict=True):
        port.bind((interface, 0))
        port.settimeout(0)
    impairments = [Impairment(config, direction) for direction in ("sent", "received")]
    lines = [DelayLine(), DelayLine()]
    os.write(1, b"ready\n")
    while True:
        now = time.monotonic()
        deadline = min((line.deadline for line in lines if line.deadline is not None), default=now + 1)
        for ready in select.select(ports, [], [], max(0.0, deadline - now))[0]:
            number = ports.index(ready)
            frame, address = ready.recvfrom(65536)
            if address[2] != _OUTGOING:
                for delay, arriving in impairments[number].arrivals(frame):
                    lines[number].put(time.monotonic() + delay, arriving)
        for number, line in enumerate(lines):
            for frame in line.due(time.monotonic()):
                with contextlib.suppress(OSError):  # the other end is gone
                    ports[1 - number].send(frame)


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2])
    else:
        relay(sys.argv[2], sys.argv[3], msgspec.json.decode(sys.argv[4], type=ImpairmentConfig))
