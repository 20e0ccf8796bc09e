"""A client that reads a stream of events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from csms.accounts.rules import Role
from tests.csms.api.support import ApiClient


class Line:
    """One event as a client sees it."""

    def __init__(self, text: str) -> None:
        fields = dict(line.split(": ", 1) for line in text.splitlines())
        self.id = fields.get("id", "")
        self.kind = fields["event"]
        self.data = json.loads(fields["data"])


class Watch:
    """A client that reads a stream."""

    def __init__(self, ask: ApiClient, path: str, *, role: Role = Role.ADMIN, token: str = "", **headers: str) -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.ended = asyncio.Event()
        self.start: dict[str, Any] = {}
        self._task = asyncio.create_task(ask.stream(path, self._send, self._gone, role=role, token=token, **headers))

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self._chunks.put_nowait(message["body"])
            if not message.get("more_body"):
                self.ended.set()

    async def __aenter__(self) -> "Watch":
        assert (await self._chunks.get()).startswith(b":")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        await asyncio.wait_for(self._task, 60)

    @property
    def left(self) -> list[bytes]:
        """What was received and not read, without signs of life."""
        found = [self._chunks.get_nowait() for _ in range(self._chunks.qsize())]
        return [each for each in found if each and not each.startswith(b":")]

    async def lines(self) -> AsyncIterator[Line]:
        """Yield events."""
        while True:
            chunk = await asyncio.wait_for(self._chunks.get(), 60)
            for text in chunk.decode().split("\n\n"):
                if text and not text.startswith(":"):
                    yield Line(text)

    async def first(self, kind: str) -> Line:
        """Return the next event of that kind."""
        async for line in self.lines():
            if line.kind == kind:
                return line
        raise AssertionError(kind)
