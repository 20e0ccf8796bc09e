"""`v2g diag prereq`: what this machine has of what the programs need."""

import os
import platform
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


class Check(msgspec.Struct, frozen=True):
    """One condition: what was found, what is needed, and for what; `required` by every program."""

    name: str
    found: str
    needed: str
    met: bool
    required: bool = True
    hint: str = ""


class Machine(msgspec.Struct, frozen=True):
    """What is checked."""

    kernel: str
    python: tuple[int, ...]
    openssl: tuple[int, ...]
    capabilities: int
    can: bool
    ip: bool


def this_machine() -> Machine:
    """Return this machine, and this process's capabilities."""
    return Machine(
        kernel=os.uname().release,
        python=sys.version_info[:3],
        openssl=ssl.OPENSSL_VERSION_INFO[:3],
        capabilities=_effective(),
        can=_has_can(),
        ip=shutil.which("ip") is not None,
    )


def checks(machine: Machine) -> Iterator[Check]:
    """Yield every check."""
    found = re.match(r"(\d+)\.(\d+)", machine.kernel)
    kernel = tuple(map(int, found.groups())) if found else (0, 0)
    yield Check("Linux", machine.kernel, "5.15", kernel >= (5, 15), hint="update the kernel")
    python = ".".join(map(str, machine.python))
    yield Check("Python", python, "3.11", machine.python >= (3, 11), hint="install a newer Python")
    openssl = ".".join(map(str, machine.openssl))
    yield Check(
        "OpenSSL", openssl, "3.0", machine.openssl >= (3, 0), hint="install OpenSSL 3 and a Python built with it"
    )
    for name, bit in CAPABILITIES.items():
        has = bool(machine.capabilities >> bit & 1)
        use = "a powerline modem, `v2g diag net --raw`" if name == "CAP_NET_RAW" else "setting bit rates of CAN"
        program = os.path.realpath(sys.executable)
        hint = f"setcap {name.lower()}+ep {program}, or AmbientCapabilities={name} of systemd"
        yield Check(name, "yes" if has else "no", use, has, required=False, hint=hint)
    can = "yes" if machine.can else "no"
    yield Check("AF_CAN", can, "CAN by socketcan", machine.can, required=False, hint="modprobe can_raw; else use slcan")
    ip = "yes" if machine.ip else "no"
    yield Check("ip", ip, "bit rate and state of CAN", machine.ip, required=False, hint="apt install iproute2")


def _effective() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^CapEff:\s*([0-9a-f]+)\n", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def _has_can() -> bool:
    if platform.system() != "Linux":
        return False
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
    except OSError:
        return False
    return True
