"""Two network namespaces joined by a virtual Ethernet cable: real interfaces, on which multicast works."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

SECC_INTERFACE = "vsecc"
EVCC_INTERFACE = "vevcc"
ADDRESS_S = 60


@dataclass(frozen=True)
class Cable:
    """The names of the two namespaces. Their ends of the cable are SECC_INTERFACE and EVCC_INTERFACE."""

    secc: str
    evcc: str


def missing() -> str:
    """Return why there can be no namespaces here, or an empty string."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is not installed (Debian package iproute2)"
    name = f"v2g-probe-{os.getpid()}"
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return "" if probe.returncode == 0 else f"no network namespaces here: {probe.stderr.strip()}"


@contextlib.contextmanager
def cable(tag: str) -> Iterator[Cable]:
    """Give two namespaces whose interfaces have usable link-local addresses; both vanish at the end."""
    names = Cable(f"v2g-s-{tag}", f"v2g-e-{tag}")
    ends = ((names.secc, SECC_INTERFACE), (names.evcc, EVCC_INTERFACE))
    try:
        for namespace, _ in ends:
            ip("netns", "add", namespace)
            # without duplicate address detection an address is usable at once
            for scope in ("all", "default"):
                ip("netns", "exec", namespace, "sysctl", "-qw", f"net.ipv6.conf.{scope}.accept_dad=0", check=False)
        ip("link", "add", SECC_INTERFACE, "netns", names.secc, "type", "veth",
            "peer", "name", EVCC_INTERFACE, "netns", names.evcc)  # fmt: skip
        for namespace, interface in ends:
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", interface, "up")
        for namespace, interface in ends:
            await_address(namespace, interface)
        yield names
    finally:
        for namespace, _ in ends:
            ip("netns", "del", namespace, check=False)


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command that runs `command` in a namespace, as the same process."""
    return ["ip", "netns", "exec", namespace, *command]


def await_address(namespace: str, interface: str) -> None:
    """Wait for the link-local address that the kernel gives an interface once it has a carrier."""
    deadline = time.monotonic() + ADDRESS_S
    while "fe80::" not in ip("-n", namespace, "-6", "address", "show", interface, "scope", "link", "-tentative"):
        assert time.monotonic() < deadline, f"{interface} has no address"
        time.sleep(0.02)


def ip(*arguments: str, check: bool = True) -> str:
    """Run ip, and return its output."""
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout
