"""A partner of roaming whose answers a test scripts."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE = {"role": "EMSP", "country_code": "NL", "party_id": "TNM", "business_details": {"name": "The Partner"}}


class ScriptedPartner:
    """A partner whose answers a test scripts by path; it keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.once: dict[str, tuple[int, Any]] = {}
        """Answers to the next request only, by path with query."""
        self.codes: dict[str, int] = {}
        """OCPI's status of answers that are no success, by path."""
        self.headers: dict[str, dict[str, str]] = {}
        """Of answers, by path with query."""
        self.held: dict[str, threading.Event] = {}
        """What answers wait for, by path."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[tuple[str, str, Any]] = []
        self.takes = False
        """Whether it takes whatever it is sent."""
        self.timestamp: str | None = "2100-01-01T00:00:00"
        """Its clock, as its answers say it."""
        self.url = ""

    def offers(self, version: str = "2.2.1", modules: tuple[str, ...] = ("credentials", "locations")) -> None:
        """Offer a version."""
        endpoints = [{"identifier": each, "role": "RECEIVER", "url": f"{self.url}/{each}"} for each in modules]
        self.answers["/versions"] = (
            200,
            [{"version": "2.1.1", "url": f"{self.url}/old"}, {"version": version, "url": f"{self.url}/d"}],
        )
        self.answers["/d"] = 200, {"version": version, "endpoints": endpoints}

    async def sent(self, method: str, path: str, count: int = 1) -> Any:
        """Wait for the `count`-th request at a path that begins so; return its body."""
        async with asyncio.timeout(60):
            while True:
                found = [body for how, where, body in self.bodies if how == method and where.startswith(path)]
                if len(found) >= count:
                    return found[count - 1]
                await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def running(self) -> Iterator["ScriptedPartner"]:
        """Listen at a port of this machine."""
        partner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                partner.requests.append((self.command, self.path, dict(self.headers)))
                partner.bodies.append((self.command, self.path, json.loads(sent) if sent else None))
                if (held := partner.held.get(self.path.partition("?")[0])) is not None:
                    held.wait(60)
                unknown = (404, None) if self.command == "GET" or not partner.takes else (200, None)
                status, data = partner.answers.get(self.path.partition("?")[0], unknown)
                status, data = partner.once.pop(self.path, partner.answers.get(self.path, (status, data)))
                code = str(partner.codes.get(self.path.partition("?")[0], 1000))
                said = {"data": data, "status_code": code, "timestamp": partner.timestamp}
                body = json.dumps(said).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", str(data))
                for name, value in partner.headers.get(self.path, {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
