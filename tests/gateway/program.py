"""What several tests of program use."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from v2g.errors import ConfigError

CONFIG = """ev = "EV-1"
outbox = "o.db"
outbox_sealed = false
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
        self.started_at: list[float] = []
        self._exit_codes: list[int] = []

    async def run(self) -> None:
        events = self._folder / "gateway.events.jsonl"
        while True:
            self.started_at.append(asyncio.get_running_loop().time())
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
                self._exit_codes.append(await process.wait())
            self.ended_at.append(time.monotonic())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the gateway's events of that name, of all its lives."""
        path = self._folder / "gateway.events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["name"] == name]

    async def until(self, name: str, times: int) -> None:
        """Wait for the so-manieth event; a release installed later may have a configuration that is refused."""
        refused = [ConfigError.exit_code]
        while len(self.events(name)) < times:
            assert self._exit_codes[:1] != refused, "its configuration is refused: start it by hand to see why"
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def supervised(
    folder: Path, *command: str, config: str = CONFIG, most_s: float = 300.0
) -> AsyncIterator[Supervised]:
    file = folder / "gateway.toml"
    file.touch(mode=0o600)
    file.write_text(config)
    gateway = Supervised(folder, *command)
    task = asyncio.create_task(gateway.run())
    try:
        async with asyncio.timeout(most_s):
            yield gateway
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
