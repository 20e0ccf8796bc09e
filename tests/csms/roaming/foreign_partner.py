"""Partners that we did not write: extrawest-ocpi or py-ocpi as a process of its own."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from pki_tools.tree import PkiTree
from tests.interop.environments import environment
from v2g_cli.demo.processes import free_port

INTEROP = Path(__file__).parents[2] / "interop"


class ForeignPartner:
    """The package as a server of its own."""

    def __init__(self, python: Path, pki: PkiTree, folder: Path) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.versions = f"{self.url}/ocpi/versions"
        files = [str(pki.path(f"csms/server/{name}")) for name in ("chain.pem", "leaf.key")]
        self._command = [str(python), str(INTEROP / "ocpi_partner.py"), str(self.port), *files, str(folder / "kept")]
        self._root = str(pki.path("csms/root.pem"))
        self._context = ssl.create_default_context(cafile=self._root)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it answers."""
        environ = {"SSL_CERT_FILE": self._root, "OCPI_HOST": f"127.0.0.1:{self.port}", "COUNTRY_CODE": "NL",
                   "PARTY_ID": "XTW"}  # fmt: skip
        self._process = await asyncio.create_subprocess_exec(*self._command, env=environ)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    await self.kept()
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request of the test."""
        token = {"Authorization": "Token dG9rZW4tYw=="}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=body, ssl=self._context, headers=token) as answer,
        ):
            return await answer.json()

    async def kept(self) -> Any:
        """Return what it was sent."""
        return await self.ask("GET", "/kept")

    async def has(self, module: str, count: int, idle: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Wait until it was sent so many objects, as long as there are more and more; `idle` lets time pass."""
        now, known = asyncio.get_running_loop().time, -1
        since = now()
        while len(found := (await self.kept())["sent"].get(module, {})) < count:
            if len(found) > known:
                known, since = len(found), now()
            elif now() - since > 2:
                idle()
            assert now() - since < 120, f"{known} of {count} {module}"
            await asyncio.sleep(0.1)
        assert len(found) == count
        return dict(found)


@contextlib.asynccontextmanager
async def foreign(pki: PkiTree, folder: Path, package: str = "extrawest-ocpi") -> AsyncIterator[ForeignPartner]:
    """Run a package."""
    pinned = {"extrawest-ocpi": "extrawest-ocpi==2025.7.16", "py-ocpi": "py-ocpi==0.3.1"}[package]
    partner = ForeignPartner(environment(package, (pinned, "uvicorn==0.30.6")), pki, folder)
    try:
        await partner.start()
        yield partner
    finally:
        await partner.kill()
