"""The gateway as a process: killed, stopped and restarted beside a program that charges on."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from evcc.checkpoints import line_of
from tests.gateway.test_local_source import copies, numbers, program, taken
from v2g.energy.settlement.checkpoints import encode_copy
from v2g.io.runtime.event_socket import MAX_WAITING
from v2g.observe import Observe

CONFIG = """ev = "EV-1"
outbox = "o.db"
event_sockets = ["evcc.sock"]

[can]
interface = "virtual"

[mqtt]
host = "127.0.0.1"
port = 1
without_tls = true
"""


class Supervised:
    """A gateway under the smallest supervisor: whenever it ends, it is started."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._folder, self._command = folder, command
        self.pids: list[int] = []
        self.ended_at: list[float] = []

    async def run(self) -> None:
        events = self._folder / "gateway.events.jsonl"
        while True:
            process = await asyncio.create_subprocess_exec(
                *self._command, "--config", str(self._folder / "gateway.toml"), "--events", str(events),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            self.pids.append(process.pid)
            try:
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            self.ended_at.append(asyncio.get_running_loop().time())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the gateway's events of that name, of all its lives."""
        path = self._folder / "gateway.events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["name"] == name]

    async def until(self, name: str, times: int) -> None:
        """Wait for the so-manieth event."""
        while len(self.events(name)) < times:
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def supervised(folder: Path, *command: str) -> AsyncIterator[Supervised]:
    config = folder / "gateway.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG)
    gateway = Supervised(folder, *command)
    task = asyncio.create_task(gateway.run())
    try:
        async with asyncio.timeout(60):
            yield gateway
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


DAEMON = (sys.executable, "-c", "from v2g_cli.telemetry import main; main()")
"""What the installed command v2g-telemetry-daemon runs."""


@pytest.mark.requirement("R156", "R167")
async def test_a_killed_daemon_runs_again_within_5_s_and_has_lost_nothing(tmp_path: Path) -> None:
    async with program(tmp_path, stored=2) as (local, _), supervised(tmp_path, *DAEMON) as gateway:
        await gateway.until("started", 1)
        await taken(tmp_path, 2)
        os.kill(gateway.pids[0], signal.SIGKILL)
        for copy in copies([3]):
            local.publish(line_of(encode_copy(copy)))  # to nobody
        (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(map(encode_copy, copies([1, 2, 3]))))
        await gateway.until("started", 2)
        assert gateway.events("started")[1]["t"] - gateway.ended_at[0] < 5
        await taken(tmp_path, 3)
        first, second = (each["data"]["boot"] for each in gateway.events("started"))
        assert first < second
    assert sorted(await numbers(tmp_path)) == [1, 2, 3]


@pytest.mark.requirement("R29", "R167")
async def test_a_stopped_gateway_delays_no_event_and_catches_up(tmp_path: Path) -> None:
    """The program goes on at its own pace; the gateway is disconnected, comes back, and takes what is kept."""
    async with (
        program(tmp_path, stored=1) as (local, log),
        supervised(tmp_path, sys.executable, "-m", "v2g_gateway") as gateway,
    ):
        await gateway.until("started", 1)
        await taken(tmp_path, 1)
        os.kill(gateway.pids[0], signal.SIGSTOP)
        for number in range(3 * MAX_WAITING):
            log(Observe("loop", "flow", {"power_w": number, "text": "x" * 300}))
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert not local.is_read
        (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(map(encode_copy, copies([1, 2]))))
        os.kill(gateway.pids[0], signal.SIGCONT)
        await taken(tmp_path, 2)
    assert len(gateway.pids) == 1
    assert sorted(await numbers(tmp_path)) == [1, 2]
