"""What several tests of program use."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import websockets
import yaml
from websockets.typing import Subprotocol

from csms.accounts.rules import Role
from csms.config import CsmsConfig
from pki_tools.tree import PkiTree
from tests.csms.support import STATION, TOKENS, Running


def write_config(path: Path, config: CsmsConfig) -> Path:
    """Write a configuration file as an operator would."""
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(msgspec.to_builtins(config, enc_hook=str)))
    return path


class Program:
    """`python -m csms` as a process."""

    def __init__(self, process: asyncio.subprocess.Process, events: Path, pki: PkiTree) -> None:
        self.process = process
        self._events = events
        self._pki = pki
        self.ports: dict[str, int] = {}

    @classmethod
    async def start(cls, config: Path, events: Path, pki: PkiTree, *, quiet: bool = False) -> "Program":
        """Start it and wait until it is ready. What it logs fits into a pipe, or is `quiet`."""
        events.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "csms",
            "--config",
            str(config),
            "--events",
            str(events),
            stderr=asyncio.subprocess.DEVNULL if quiet else asyncio.subprocess.PIPE,
        )
        program = cls(process, events, pki)
        ready = await program.event("ready")
        program.ports = {"ocpp": ready["ocpp_port"], "api": ready["api_port"]}
        return program

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event."""
        async with asyncio.timeout(20):
            while True:
                assert self.process.returncode is None
                lines = self._events.read_bytes().splitlines() if self._events.exists() else []
                for line in lines:
                    if (found := json.loads(line))["name"] == name:
                        data: dict[str, Any] = found["data"]
                        return data
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        await self.process.communicate()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(10):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    def connect(self) -> Any:
        """Connect as the station."""
        context = Running.context(self, "csms/station")  # type: ignore[arg-type]
        url = f"wss://127.0.0.1:{self.ports['ocpp']}/ocpp/{STATION}"
        return websockets.connect(url, subprotocols=[Subprotocol("ocpp2.1")], ssl=context)

    @property
    def pki(self) -> PkiTree:
        """The certificates."""
        return self._pki

    async def request(self, method: str, path: str, body: bytes = b"", *, role: Role = Role.ADMIN) -> tuple[int, Any]:
        """Ask the API, by default as the administrator."""
        url = f"https://127.0.0.1:{self.ports['api']}{path}"
        headers = {"Authorization": f"Bearer {TOKENS[role]}"}
        context = Running.context(self, None)  # type: ignore[arg-type]
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, data=body, ssl=context) as response,
        ):
            return response.status, await response.json()
