"""What several tests of program use."""

import asyncio
import html
import json
import re
import signal
import sys
import time
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
    async def start(
        cls, config: Path, events: Path, pki: PkiTree, *, quiet: bool = False, patient: bool = False
    ) -> "Program":
        """Start it and wait until it is ready. What it logs fits into a pipe, or is `quiet`. Of one that is `patient`
        only that time passes in which it could run."""
        events.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *(("tests.patient",) if patient else ()),
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
        async with asyncio.timeout(60):
            while True:
                assert self.process.returncode is None
                for found in self.events(name):
                    data: dict[str, Any] = found["data"]
                    return data
                await asyncio.sleep(0.01)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return what it has recorded so far, or only under a name."""
        lines = self._events.read_bytes().split(b"\n")[:-1] if self._events.exists() else []
        return [each for each in map(json.loads, lines) if name in ("", each["name"])]

    async def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        await self.process.communicate()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(120):  # it hangs
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
        headers = {"Authorization": f"Bearer {TOKENS[role]}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            self._ask(session, method, path, body) as response,
        ):
            there = response.content_type.endswith("json")
            return response.status, await (response.json() if there else response.text())

    async def console_pages(self, *paths: str) -> list[str]:
        """Return pages of the console as a new user sees them who has changed the issued password, without markup."""
        name, chosen = f"person{len(paths)}{time.monotonic_ns()}"[:30], "seven wild geese fly"
        _, made = await self.request("POST", "/access/users", json.dumps({"name": name, "role": "viewer"}).encode())
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            login = {"name": name, "password": made["password"]}
            async with self._ask(session, "POST", "/console/login", login) as response:
                page = await response.text()
            change = {"password": made["password"], "new": chosen, "again": chosen}
            change["csrf"] = re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[0]
            async with self._ask(session, "POST", "/console/account/password", change):
                pass
            found = []
            for path in paths:
                async with self._ask(session, "GET", path, None) as response:
                    found.append(re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", await response.text()))))
        return found

    def _ask(self, session: aiohttp.ClientSession, method: str, path: str, data: Any) -> Any:
        url = f"https://127.0.0.1:{self.ports['api']}{path}"
        return session.request(method, url, data=data, ssl=Running.context(self, None))  # type: ignore[arg-type]
