"""Another system that webhooks call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from tests.web_server import serving


class Receiver:
    """Another system, which answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.location = ""
        self.url = ""
        self.answers = asyncio.Event()
        self.answers.set()
        self.calls: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.put_nowait((dict(request.headers), body))
        await self.answers.wait()
        return web.Response(status=self.status, headers={"Location": self.location} if self.location else {})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Receiver"]:
        async with serving(self._take) as port:
            self.url = f"http://127.0.0.1:{port}/hook"
            yield self

    async def call(self) -> tuple[dict[str, str], bytes]:
        """Return the next call."""
        return await asyncio.wait_for(self.calls.get(), 60)
