"""Runs a service unit as systemd does, as far as tests need it: sd_notify, WatchdogSec, Restart, RestartSec,
ExecStopPost.

Times are those of the event loop, which counts only the time in which this process could run (`tests.patient`).
"""

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

UNITS: Final = Path(__file__).parents[2] / "deploy" / "systemd"
TRIAL: Final = UNITS.with_name("trial.py")


def settings(unit: str) -> dict[str, list[str]]:
    """Return the settings of a unit with those of its drop-ins, in order."""
    found: dict[str, list[str]] = {}
    for path in (UNITS / f"{unit}.service", *sorted((UNITS / "v2g-.service.d").iterdir())):
        for line in path.read_text().splitlines():
            name, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                found.setdefault(name, []).append(value)
    return found


class Service:
    """A service; `command` is what its ExecStart becomes here, `folder` is its StateDirectory, and has the socket."""

    def __init__(
        self,
        unit: str,
        folder: Path,
        command: Callable[[list[str]], Sequence[str]],
        *,
        watchdog_s: float | None = None,
        socket_name: str | None = None,
    ) -> None:
        self.settings = settings(unit)
        self._command = command(shlex.split(self.settings["ExecStart"][0]))
        self._watchdog_s = watchdog_s or float(self.settings["WatchdogSec"][0])
        self._folder, self._path = folder, folder / "notify.sock"
        self._socket_name = socket_name or str(self._path)
        self._process: asyncio.subprocess.Process | None = None
        self._fed = 0.0
        self.started_at: list[float] = []
        self.ready_at: list[float] = []
        self.ended_at: list[float] = []
        self.states: list[str] = []

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None
        return self._process.pid

    async def run(self) -> None:
        """Start the service again whenever it ends, and whenever it does not feed its watchdog."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as incoming:
            incoming.bind(str(self._path))
            self._path.chmod(0o777)
            incoming.settimeout(0)
            asyncio.get_running_loop().add_reader(incoming, self._take, incoming)
            try:
                while True:
                    await self._live()
                    self.ended_at.append(asyncio.get_running_loop().time())
                    assert self.settings["Restart"] == ["always"]
                    await asyncio.sleep(float(self.settings["RestartSec"][0]))
            finally:
                asyncio.get_running_loop().remove_reader(incoming)

    async def _live(self) -> None:
        """Run one process to its end."""
        reported = {"NOTIFY_SOCKET": self._socket_name, "WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))}
        lives = len(self.ready_at)
        self.started_at.append(asyncio.get_running_loop().time())
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, **reported},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            while process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 0.05)
                if len(self.ready_at) > lives and asyncio.get_running_loop().time() - self._fed > self._watchdog_s:
                    break  # it hangs
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._stopped(process.returncode)

    async def _stopped(self, code: int | None) -> None:
        """Run what the unit runs after each end, by this interpreter and from this checkout."""
        (stopped,) = self.settings["ExecStopPost"]
        python, *words = shlex.split(stopped)
        assert (python, words[-2]) == ("-/usr/bin/python3", f"/usr/share/v2g/{TRIAL.name}")
        words[-2] = str(TRIAL)
        result = {0: "success", -signal.SIGTERM: "success"}.get(code or 0, "exit-code")
        environment = os.environ | {"STATE_DIRECTORY": str(self._folder), "SERVICE_RESULT": result}
        process = await asyncio.create_subprocess_exec(sys.executable, *words, env=environment)
        await process.wait()

    def _take(self, incoming: socket.socket) -> None:
        for state in incoming.recv(4096).decode().splitlines():
            self.states.append(state)
            self._fed = asyncio.get_running_loop().time()
            if state == "READY=1":
                self.ready_at.append(self._fed)

    async def until_ready(self, times: int) -> None:
        """Wait until it was ready so often."""
        await self.until("READY=1", times)

    async def until(self, state: str, times: int) -> None:
        """Wait until it notified a state so often."""
        while self.states.count(state) < times:
            await asyncio.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process."""
        os.kill(self.pid, number)


@contextlib.asynccontextmanager
async def running(service: Service, *, within_s: float = 60) -> AsyncIterator[Service]:
    """Run a service until it is ready, and until the block ends."""
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(within_s):
            await service.until_ready(1)
            yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
