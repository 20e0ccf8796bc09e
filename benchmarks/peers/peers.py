"""The independent ISO 15118 implementation as a peer, and the resources of a tree of processes."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from tests.interop import peer as interop

JOSEV = interop.PACKAGE.replace("==", " ")
"""Josev, a Python implementation whose EXI codec is Java (EXIficient)."""

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def environment() -> dict[str, str]:
    """Return the environment for the peer's interpreter: without our packages, with those that it fails to declare."""
    passed = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return passed | {"PYTHONPATH": str(interop.CACHE / "extra")}


def codec_python() -> Path | str:
    """Return the interpreter of the peer's environment, or why it cannot run here."""
    if shutil.which("java") is None:
        return "needs Java (Debian package openjdk-17-jre-headless)"
    try:
        return interop.install()
    except subprocess.CalledProcessError as error:
        return f"cannot be installed: {(error.stderr or b'').decode(errors='replace').strip().splitlines()[-1:]}"


class TreeMeter:
    """Watches the processes of a session (started with `start_new_session`) until stopped.

    `cpu_s` is their total CPU time, `rss_mib` their maximum simultaneous memory.
    """

    def __init__(self, leader: int, *, period_s: float = 0.02) -> None:
        self._leader, self._period_s = leader, period_s
        self._cpu: dict[int, float] = {}
        self.rss_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> float:
        """Total CPU of the observed processes, user and system."""
        return sum(self._cpu.values())

    def now(self) -> float:
        """Take a sample; return their CPU time so far, s."""
        self._look()
        return self.cpu_s

    def stop(self) -> None:
        """Take the last sample."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            time.sleep(self._period_s)
        self._look()

    def _look(self) -> None:
        resident = 0
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self._leader:
                self._cpu[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICKS
                resident += int(fields[21]) * PAGE
        self.rss_mib = max(self.rss_mib, resident / 2**20)
