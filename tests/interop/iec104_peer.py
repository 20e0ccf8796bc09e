"""c104 as a control centre, in a process of its own."""

import asyncio
import json
from typing import Any


class ControlCentre:
    """c104 in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, what: str, **more: float) -> Any:
        """Ask it, and return what it says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())

    async def shows(self, expected: dict[str, float]) -> None:
        """Wait until its points have these values."""
        async with asyncio.timeout(60):
            while {each: (await self.do("values"))[each][0] for each in expected} != expected:
                await asyncio.sleep(0.02)
