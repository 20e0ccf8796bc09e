"""Debian packages that a test needs: installed when the machine lets us, else the test is skipped with the reason."""

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_LOCK = Path(__file__).resolve().parents[1] / ".cache" / "packages.lock"
_EVERY = (
    *("chromium", "curl", "iproute2", "jq", "mosquitto", "mosquitto-clients", "openssl", "openjdk-17-jre-headless"),
    *("apparmor", "fail2ban", "gpsd", "gpsd-clients", "groff", "haproxy", "logrotate", "nftables", "prometheus"),
    *("tshark", "opensc", "opensc-pkcs11", "libp11-kit0", "softhsm2", "swtpm", "tpm2-openssl", "tpm2-tools"),
    *("rauc", "rauc-service", "squashfs-tools", "dbus", "libglib2.0-bin"),
)
"""What `make test` has installed at once, while types are checked: alone each takes seconds, and others wait."""

_INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120")


def need(*packages: str, program: str = "") -> None:
    """Skip the running test unless these Debian packages, or `program` in their stead, are here or can be installed."""
    if reason := missing(*packages, program=program):
        pytest.skip(reason)


@functools.cache
def missing(*packages: str, program: str = "", install: bool = True) -> str:
    """Return why these Debian packages are not here, or an empty string.

    Root installs them (`install`), one process at a time. A `program` on the PATH makes them unnecessary, so that
    other distributions can run the tests, too.
    """
    if (program and shutil.which(program)) or _installed(packages):
        return ""
    what = " ".join(packages)
    if not install or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{program or what} is not installed (Debian: apt-get install {what})"
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _installed(packages) or _run(*_INSTALL, *packages) == "":
            return ""
        _run("apt-get", "update", "-q")  # the lists may be old, or have never been fetched
        failure = _run(*_INSTALL, *packages)
    return f"{what} cannot be installed: {failure}" if failure else ""


def _installed(packages: tuple[str, ...]) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}\n", *packages]
    found = subprocess.run(query, capture_output=True, text=True)
    return found.returncode == 0 and set(found.stdout.split()) == {"installed"}


def _run(*command: str) -> str:
    """Return the last line of what went wrong, or an empty string."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]


if __name__ == "__main__":
    missing(*_EVERY)  # a test that lacks one tries again, and says so
