"""Two attachments to one simulated copper."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import waiting
from tests.interop.cable import ip
from tests.io.tls.support import backend, ed448_pki, other_2, other_pki, pki_2
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium

CARRIER_S = 60

__all__ = ["backend", "ed448_pki", "other_2", "other_pki", "pki_2"]


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[object]]:
    """Return `tests.waiting.until`."""
    return waiting.until


@pytest_asyncio.fixture
async def charger_medium(tmp_path: Path) -> AsyncIterator[Medium]:
    medium = await FolderMedium.attach(tmp_path / "copper", "secc")
    yield medium
    medium.close()


@pytest_asyncio.fixture
async def vehicle_medium(tmp_path: Path, charger_medium: Medium) -> AsyncIterator[Medium]:
    medium = await FolderMedium.attach(tmp_path / "copper", "evcc")
    yield medium
    medium.close()


class PtyPair:
    """Two serial ports joined by a cable: the far sides of two pseudo-terminals, bytes pumped across."""

    def __init__(self) -> None:
        self._masters, self.devices = [], []
        self._slaves = []
        self._loop = asyncio.get_running_loop()
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)
            self.devices.append(os.ttyname(slave))
        for source, target in (self._masters, self._masters[::-1]):
            self._loop.add_reader(source, self._pump, source, target)

    def _pump(self, source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            os.write(target, os.read(source, 512))

    def close(self) -> None:
        for fd in self._masters:
            self._loop.remove_reader(fd)
        for fd in self._masters + self._slaves:
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Return the two ends of a virtual Ethernet cable."""
    names = (f"v2ga{os.getpid()}"[:15], f"v2gb{os.getpid()}"[:15])
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a virtual Ethernet pair needs root and the ip command")
    made = subprocess.run(
        ["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip(f"the kernel makes no virtual Ethernet pair: {made.stderr.decode().strip()}")
    for name in names:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    # A pair drops frames until the kernel's work for its carrier is done, up to a second later.
    deadline = time.monotonic() + CARRIER_S
    while not all("state UP" in ip("link", "show", name) for name in names):
        assert time.monotonic() < deadline, f"{' and '.join(names)} have no carrier"
        time.sleep(0.01)
    yield names
    subprocess.run(["ip", "link", "del", names[0]], check=True)
