"""Another system that webhooks call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web


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
        application = web.Application()
        application.router.add_post("/hook", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def call(self) -> tuple[dict[str, str], bytes]:
        """Return the next call."""
        return await asyncio.wait_for(self.calls.get(), 60)
