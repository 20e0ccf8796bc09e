"""What several tests of csms use."""

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from csms.accounts.rules import Role
from tests.cli.conftest import become_here
from tests.csms.conftest import Start
from tests.csms.support import TOKENS, Running
from v2g_cli.main import main


class Cli:
    """The command, in a thread, against a back end in this process."""

    def __init__(self, csms: Running, folder: Path) -> None:
        self.csms = csms
        self._folder = folder

    async def __call__(self, *words: str, role: Role = Role.ADMIN, at_terminal: bool = False) -> tuple[int, str, str]:
        """Run `v2g csms`; return exit code, output and errors."""
        file = self._folder / f"{role.value}.toml"
        file.touch(mode=0o600)
        url = f"https://localhost:{self.csms.csms.ports['api']}"
        file.write_text(f'url = "{url}"\ntoken = "{TOKENS[role]}"\nca = "{self.csms.pki.path("csms/root.pem")}"\n')
        return await asyncio.to_thread(run, "csms", "--access", str(file), *words, at_terminal=at_terminal)

    async def records(self, *words: str, role: Role = Role.ADMIN) -> list[Any]:
        """Run it for machines; return what it printed."""
        code, output, errors = await self(*words, "--json", role=role)
        assert code == 0, errors
        return [json.loads(line) for line in output.splitlines()]


class Pipe(io.TextIOWrapper):
    """A stream of text and bytes, and what was written to it."""

    def __init__(self) -> None:
        self._written = io.BytesIO()
        super().__init__(self._written, encoding="utf-8", newline="\n", write_through=True)

    def getvalue(self) -> str:
        return self._written.getvalue().decode()


class Terminal(Pipe):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(*words: str, at_terminal: bool = False) -> tuple[int, str, str]:
    """Run `v2g` in this thread."""
    output, errors, code = Terminal() if at_terminal else Pipe(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(sys, "argv", ["v2g", *words])
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", errors)
        become_here(patch)
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return code, output.getvalue(), errors.getvalue()


@pytest_asyncio.fixture
async def cli(start: Start, tmp_path: Path) -> AsyncIterator[Cli]:
    """The command, and a back end."""
    async with start() as csms:
        yield Cli(csms, tmp_path)


async def boot(station: Any) -> None:
    """Boot, as a station does."""
    payload = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
    await station.send(json.dumps([2, "b", "BootNotification", payload]))
    assert json.loads(await station.recv())[2]["status"] == "Accepted"
