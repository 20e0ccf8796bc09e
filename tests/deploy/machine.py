"""A Debian in a container whose first process is systemd, and which reaches no network."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.deploy.package import run
from tests.docs.reader import Elsewhere

SUITE: Final = "bookworm"
PYTHON: Final = (3, 11)
"""Of that suite."""

BOOT_S: Final = 600

_RECOMMENDED: Final = "apparmor,iproute2,nftables"
"""What apt installs with the package; the kernel of a Debian that was installed recommends the first, too."""

_NETWORK: Final = "ca-certificates,curl"
_TOOLS: Final = "jq,openssl,procps,sudo"
_PYTHON: Final = "python3,python3-venv"
_SYSTEM: Final = "dbus,systemd,systemd-sysv"


_LAN: Final = (
    "ip link add lan type veth peer name far && ip link set far up && ip link set lan up "
    "&& ip address add 192.0.2.1/24 dev lan && ip route add default via 192.0.2.254"
)
"""A network in which nobody answers: the demo's CAN bus is multicast, which needs a route."""


def debian(root: Path, *more: str) -> None:
    """Make a Debian that boots, with what the pages ask for, and with `more` packages; needs root and a mirror."""
    included = ",".join((_SYSTEM, _PYTHON, _RECOMMENDED, _NETWORK, _TOOLS, *more))
    run("debootstrap", "--variant=minbase", f"--include={included}", SUITE, root)
    (root / "etc/hostname").write_text("machine\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost machine\n::1 localhost\n")  # as an installer has it
    (root / "etc/apt/apt.conf.d/90-yes").write_text('APT::Get::Assume-Yes "true";\n')  # nobody is there to answer
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")  # its disk is thrown away
    shutil.rmtree(root / "var/cache/apt/archives")


@contextlib.contextmanager
def booted(root: Path, environment: Mapping[str, str]) -> Iterator[Elsewhere]:
    """Boot a Debian, and halt it.

    systemd writes what it does to a terminal only, so nspawn gets one. `--keep-unit` and `--register` are for machines
    whose own first process is not systemd.
    """
    nspawn = f"systemd-nspawn -q --boot --keep-unit --register=no --private-network -M {root.name} -D {root}"
    console = root.with_name(f"{root.name}.console")
    process = subprocess.Popen(
        ["script", "-qfec", nspawn, str(console)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + BOOT_S
        while (first := _first_process(process.pid)) is None:
            assert time.monotonic() < end, console.read_text()
            time.sleep(0.05)
        variables = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **environment,
        }
        machine = Elsewhere(root, ("nsenter", "-t", str(first), "--all", "--"), variables)
        while said(machine, "systemctl is-system-running", fails=True) not in ("running", "degraded"):
            assert time.monotonic() < end, console.read_text()
            time.sleep(0.05)
        said(machine, _LAN)
        yield machine
        said(machine, "systemctl poweroff", fails=True)
        process.wait(BOOT_S)
    finally:
        for each in (*_below(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, 9)
        process.wait()


def said(machine: Elsewhere, script: str, *, fails: bool = False) -> str:
    """Return what a script of bash writes on a machine, without the last line end; it may fail."""
    variables = [f"{name}={value}" for name, value in machine.environment.items()]
    words = [*machine.enter, "env", "-i", *variables, "bash", "-c", script]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=900)
    assert fails or done.returncode == 0, f"$ {script}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def until(machine: Elsewhere, script: str) -> None:
    """Wait until a script of bash succeeds on a machine: dpkg alone takes minutes where others use it, too."""
    said(machine, f"end=$((SECONDS + 800)); until {script}; do [ $SECONDS -lt $end ] || exit 1; sleep 0.2; done")


def _below(pid: int) -> list[int]:
    """Return the processes that a process has begun, and those that these have."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in _below(child))]


def _first_process(pid: int) -> int | None:
    """Return the process below one that is the first in a container."""
    for each in _below(pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{each}/status").read_text()
            (ids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
            if len(ids) > 1 and ids[-1] == "1" and Path(f"/proc/{each}/comm").read_text() == "systemd\n":
                return each
    return None
