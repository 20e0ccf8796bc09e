"""Places where sinks write, of which tests read what arrived: databases, brokers, and a server of line protocol; and
one that is silent."""

import asyncio
import contextlib
import re
import struct
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

Key = tuple[str, int, int]
Arrived = dict[Key, dict[str, float]]
"""Values of records by key."""


class Place(msgspec.Struct):
    """Where a sink writes: its URL, and what has arrived. `limit` makes it reject a battery that is charged over 90 %;
    `properties` do so for long records."""

    url: str
    arrived: Callable[[], Arrived]
    close: Callable[[], None] = lambda: None
    limit: Callable[[], None] = lambda: None
    properties: dict[str, str] = {}


_POINT: Final = re.compile(
    r"(?P<measurement>(?:\\.|[^,\s\\])+)"
    r"(?P<tags>(?:,(?:\\.|[^,=\s\\])+=(?:\\.|[^,=\s\\])+)*)"
    r" (?P<fields>.+) (?P<time>-?\d+)"
)
_TAG: Final = re.compile(r",((?:\\.|[^,=\s\\])+)=((?:\\.|[^,=\s\\])+)")
_FIELD: Final = re.compile(
    r"((?:\\.|[^,=\s\\])+)=(?:"
    r'"((?:\\["\\]|[^"\\])*)"'  # text
    r"|(-?\d+)i"  # integer
    r"|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"  # float
    r")(?:,|$)"
)


def parse_point(line: str) -> tuple[str, dict[str, str], dict[str, Any], int]:
    """Return measurement, tags, fields and time of a line, by InfluxDB's grammar. Raises ValueError."""
    found = _POINT.fullmatch(line)
    if found is None:
        raise ValueError(line)
    tags = {_plain(name): _plain(value) for name, value in _TAG.findall(found["tags"])}
    fields: dict[str, Any] = {}
    at = 0
    while at < len(found["fields"]):
        field = _FIELD.match(found["fields"], at)
        if field is None:
            raise ValueError(line)
        name, text, whole, number = field.groups()
        fields[_plain(name)] = text if text is not None else int(whole) if whole is not None else float(number)
        at = field.end()
    return _plain(found["measurement"]), tags, fields, int(found["time"])


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", r"\1", escaped)


class InfluxServer:
    """Stores points as InfluxDB does: by measurement, tags and time; a point that comes again is merged."""

    TOKEN: Final = "influx-secret"

    def __init__(self) -> None:
        self.points: dict[tuple[str, str, int], dict[str, Any]] = defaultdict(dict)
        self.failing = False
        self._limited = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(owner.take(self.path, self.headers["Authorization"], body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_request(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/?org=fleet&bucket=cars"

    def take(self, target: str, authorization: str, body: bytes) -> int:
        parts, query = urlsplit(target), parse_qs(urlsplit(target).query)
        if self.failing:
            return 503
        if authorization != f"Token {self.TOKEN}" or (query["org"], query["bucket"]) != (["fleet"], ["cars"]):
            return 401
        if parts.path == "/api/v2/delete":
            wanted = re.fullmatch(r'_measurement="telemetry" AND ev="(.+)"', msgspec.json.decode(body)["predicate"])
            assert wanted is not None
            for key in [key for key in self.points if key[1] == wanted[1]]:
                del self.points[key]
            return 204
        assert (parts.path, query["precision"]) == ("/api/v2/write", ["ns"])
        try:
            points = [parse_point(line) for line in body.decode().splitlines()]
        except ValueError:
            return 400
        if self._limited and any(fields.get("battery.soc", 0) > 90 for _, _, fields, _ in points):
            return 422
        for measurement, tags, fields, at_ms in points:
            self.points[measurement, tags["ev"], at_ms] |= fields
        return 204

    def limit(self) -> None:
        """Reject batches with a charge of more than 90 %."""
        self._limited = True

    def arrived(self) -> Arrived:
        return {
            (ev, fields["boot"], fields["seq"]): {
                name: value for name, value in fields.items() if isinstance(value, float)
            }
            for (_, ev, _), fields in self.points.items()
        }

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Connections = set[asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def silent_server(*, postgresql: bool) -> AsyncIterator[tuple[int, Connections]]:
    """A server that answers nothing, but for `postgresql`, which admits everybody before; yield its port, and the
    connections that it has."""
    here = Connections()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if postgresql:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                await reader.readexactly(length - 4)  # version, user and database
                writer.write(b"R" + struct.pack(">II", 8, 0))  # AuthenticationOk
                writer.write(b"Z" + struct.pack(">I", 5) + b"I")  # ReadyForQuery
            await reader.read()
        here.remove(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], here
    finally:
        server.close()
        for each in here:
            each.close()


def silent_url(port: int) -> str:
    """Return the URL of such a server that admits everybody."""
    return f"postgresql://csms@127.0.0.1:{port}/lake?sslmode=disable&gssencmode=disable"
