"""An IEEE 2030.5 server of recorded resources, for tests of its clients."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from tests import web_server
from tests.csms.backend import TestClock
from v2g.xml_text import child, read_xml, text_at

VECTORS = Path(__file__).parents[2] / "vectors" / "ieee2030_5"
LFDI = "4075DE6031E562ACF4D9EAA765A5B2ED00057269"
FIRST_S = 1_682_475_300
"""When the first recorded event begins; each takes five minutes."""
NOW_MS = (FIRST_S - 276) * 1000


class Utility:
    """A server of recorded resources, some of them replaced."""

    def __init__(self) -> None:
        self.replaced: dict[str, bytes] = {}
        self.posted: list[tuple[str, str, str]] = []
        self.put: list[tuple[str, str]] = []
        """Path, and the state of a status."""
        self.readings: list[tuple[int, int]] = []
        self.mirrors = 0
        self.deleted: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.bodies_of: dict[str, list[bytes]] = {}
        """All bodies posted to a path."""
        self.created: dict[str, str] = {}
        """Paths of what is created by a POST to a path; of a usage point also by its roles, as "mup 0003"."""
        self.pages = 0
        self.clock: TestClock | None = None
        self.ahead_s = 0
        """How far its clock is ahead."""
        self.refused: dict[str, int] = {}
        """HTTP statuses by path; of responses by status and subject, as "2 DC1B"."""
        self.left: int | None = None
        """How many requests it still answers; then it cuts connections."""
        self.asked: list[str] = []
        self.accepts: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        path = request.path.removeprefix("/api/v2/")
        body = await request.read()
        self.asked.append(path)
        self.accepts.add(request.headers["Accept"])
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                assert request.transport is not None
                request.transport.close()
        if path in self.refused:
            return web.Response(status=self.refused[path])
        if request.method == "POST":
            if (status := self.refused.get(f"POST {path}")) is not None:
                return web.Response(status=status)
            self.bodies[path] = body
            self.mirrors += path == "mup"
            if path == "mup/3":
                period = child(read_xml(body, "reading", most_bytes=10_000), "Reading", "timePeriod")
                assert period is not None
                self.readings.append((int(text_at(period, "start")), int(text_at(period, "duration"))))
            self.bodies_of.setdefault(path, []).append(body)
            node = read_xml(body, "response", most_bytes=10_000)
            there = self.created.get(f"{path} {text_at(node, 'roleFlags')}", self.created.get(path))
            if there is not None:
                return web.Response(status=201, headers={"Location": there})
            said = text_at(node, "status"), text_at(node, "subject")[:4]
            if (status := self.refused.get(" ".join(said))) is not None:
                return web.Response(status=status)
            self.posted.append((request.path, *said))
            return web.Response(status=201)
        if request.method == "DELETE":
            self.deleted.append(path)
            return web.Response(status=204)
        if request.method == "PUT":
            self.bodies[path] = body
            self.put.append((path, text_at(read_xml(body, "status", most_bytes=10_000), "genConnectStatus", "value")))
            return web.Response(status=204)
        self.pages += "s" in request.query
        file = VECTORS / f"{path.replace('/', '_')}.xml"
        data = self.replaced.get(path) or (file.read_bytes() if file.exists() else None)
        if path == "tm" and path not in self.replaced and self.clock is not None and data is not None:
            data = data.replace(b"1682475024", str(self.clock.utc_ms() // 1000 + self.ahead_s).encode())
        return web.Response(status=404) if data is None else web.Response(body=data)


def recorded(path: str) -> bytes:
    """Return a recorded resource."""
    return (VECTORS / f"{path.replace('/', '_')}.xml").read_bytes()


@contextlib.asynccontextmanager
async def serving(utility: Utility, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Run a server; yield its URL."""
    async with web_server.serving(utility.answer, context) as port:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}/api/v2/dcap"
