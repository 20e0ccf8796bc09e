"""`v2g diag prereq`: what this machine has of what the programs need."""

import contextlib
import ctypes
import os
import platform
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from v2g.extras import to_install

CAPABILITIES: Final = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}

EXTRAS: Final = {
    "gateway": "CAN buses: power modules, telemetry",
    "pki": "servers of `v2g pki`, and the OpenADR VTN for tests",
    "gpio": '`pilot = "linux"`: GPIO lines of the charger',
    "ota": "`v2g ota`, and firmware by a repository of releases",
    "patches": "`v2g ota patch`, and chargers that load differences instead of whole images",
    "csms": "a back end",
    "accounts": "people who log in by an OpenID provider, or with passkeys",
    "planning": "plans for fleets",
    "analytics": "temperature profiles of batteries",
    "postgres": "a back end of several nodes",
    "kafka": "telemetry to Kafka",
    "tesla": "Tesla Fleet Telemetry by Kafka",
    "parquet": "exports as Parquet",
    "verify": "`v2g settle verify --independent`",
    "eebus": "EEBUS control boxes that are found by mDNS",
    "testkit": "`v2g conform station`, `v2g conform csms`, `v2g csms --script --official`",
}
"""Extra -> what needs it."""

_TIME_ERROR: Final = 5
"""Answer of ntp_adjtime (adjtimex(2)) while nothing keeps the clock right."""


class Check(msgspec.Struct, frozen=True):
    """One condition: what was found, what is needed, and for what; `required` by every program."""

    name: str
    found: str
    needed: str
    met: bool
    required: bool = True
    hint: str = ""


class Library(msgspec.Struct, frozen=True):
    """A package that the distribution demands: `specifier` as in its metadata, `version` empty if it is missing."""

    name: str
    specifier: str
    version: str
    extra: str = ""

    @property
    def fits(self) -> bool:
        """Whether the version is one of those demanded."""
        return bool(self.version) and fits(self.version, self.specifier)


class Machine(msgspec.Struct, frozen=True):
    """What is checked. `tls` is the OpenSSL of `cryptography`, which has its own; `clock` None if that is unknown."""

    kernel: str
    python: tuple[int, ...]
    openssl: tuple[int, ...]
    capabilities: int
    can: bool
    ip: bool
    tls: str = ""
    clock: bool | None = None
    libraries: tuple[Library, ...] = ()


def this_machine() -> Machine:
    """Return this machine, and this process's capabilities."""
    return Machine(
        kernel=os.uname().release,
        python=sys.version_info[:3],
        openssl=(*ssl.OPENSSL_VERSION_INFO[:2], ssl.OPENSSL_VERSION_INFO[3]),  # the third is always 0 since 3.0
        capabilities=_effective(),
        can=_has_can(),
        ip=shutil.which("ip") is not None,
        tls=_tls(),
        clock=_clock(),
        libraries=tuple(_libraries()),
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
    yield Check(
        "OpenSSL of cryptography",
        machine.tls or "missing",
        "3.0",
        numbers(machine.tls) >= (3,),
        hint="pip install -U cryptography",
    )
    for each in machine.libraries:
        if not each.extra:
            hint = f"pip install '{each.name}{each.specifier}'"
            yield Check(each.name, each.version or "missing", each.specifier, each.fits, hint=hint)
    for extra, use in EXTRAS.items():
        lacking = [each for each in machine.libraries if each.extra == extra and not each.fits]
        shown = ", ".join(f"{each.name} {each.version}".strip() for each in lacking)
        hint = to_install(extra)
        yield Check(
            f"extra {extra}", f"lacks {shown}" if lacking else "yes", use, not lacking, required=False, hint=hint
        )
    clock = {True: "yes", False: "no", None: "unknown"}[machine.clock]
    use = "validity of certificates, tariffs and signed commands"
    hint = "timedatectl set-ntp true, or another time service"
    yield Check("clock synchronised", clock, use, machine.clock is True, required=False, hint=hint)
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


def numbers(version: str) -> tuple[int, ...]:
    """Return the release of a version (PEP 440), without zeros at its end: 3.5.0 is (3, 5)."""
    found = re.match(r"v?\d+(\.\d+)*", version)
    parts = [int(each) for each in re.findall(r"\d+", found[0])] if found else []
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def fits(version: str, specifier: str) -> bool:
    """Return whether a release is within bounds such as `>=16,<18`; `==`, `!=`, `<=` and `>` are known, too."""
    have = numbers(version)
    for each in filter(None, map(str.strip, specifier.split(","))):
        operator, bound = re.match(r"([<>=!~]*)(.*)", each).groups()  # type: ignore[union-attr] # it matches anything
        limit = numbers(bound.strip())
        holds = {">=": have >= limit, "<": have < limit, "==": have == limit, "!=": have != limit,
                 "<=": have <= limit, ">": have > limit}  # fmt: skip
        if not holds.get(operator, True):
            return False
    return True


def _libraries() -> Iterator[Library]:
    """Yield the packages that the installed distribution demands (PEP 508), by extra."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for line in metadata.requires("v2g-engine") or ():
            demand, _, marker = line.partition(";")
            found = re.match(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*(.*?)\s*\Z", demand)
            extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", marker)
            if found is None or (extra is not None and extra[1] not in EXTRAS):
                continue
            version = ""
            with contextlib.suppress(metadata.PackageNotFoundError):
                version = metadata.version(found[1])
            yield Library(found[1], found[2].strip("()"), version, extra[1] if extra is not None else "")


def _tls() -> str:
    try:
        from cryptography.hazmat.backends.openssl import backend
    except ImportError:
        return ""
    found = re.search(r"\d+\.\d+\.\d+", backend.openssl_version_text())
    return found[0] if found else ""


def _clock() -> bool | None:
    """Return whether a time service keeps the kernel's clock right; None where it cannot be asked."""
    try:
        state = int(ctypes.CDLL(None).ntp_adjtime(ctypes.create_string_buffer(1024)))  # all 0: it only reads
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


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
