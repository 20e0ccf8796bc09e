"""Sink: InfluxDB 2 and what speaks its line protocol (VictoriaMetrics, Telegraf), by HTTP.

A repeated record has the same series and time, so it replaces itself.

Sink: a SQLite or PostgreSQL database of values (`csms.telemetry.series`).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, TypeVarTuple, Unpack
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from csms.telemetry.config import TelemetrySink
from csms.telemetry.rules import StoredRecord, line_of
from csms.telemetry.series import SeriesDatabase
from v2g.errors import TransferError, TransportError, UnstorableError
from v2g.io.http.client import request
from v2g.pki.keys import read_secret

TIMEOUT_S: Final = 20.0
_MOST: Final = 65_536
_LASTING: Final = {400, 413, 422}
"""Answers to points that the server rejects: of another type or time than it takes, or too many octets."""


class InfluxSink:
    """Sink: the server of a URL such as `https://host:8086/?org=ORG&bucket=BUCKET`, with its token in a file."""

    def __init__(self, config: TelemetrySink) -> None:
        self._parts = urlsplit(config.url)
        self._secret_file = config.secret_file

    async def write(self, records: Sequence[StoredRecord]) -> None:
        lines = [line for each in records if (line := line_of(each)) is not None]
        if lines:
            await self._post(
                "/api/v2/write", {"precision": "ns"}, "\n".join(lines).encode(), "text/plain; charset=utf-8"
            )

    async def erase(self, ev: str) -> None:
        end = datetime(2262, 4, 11, 23, 47, tzinfo=UTC).isoformat()
        body = {"start": "1970-01-01T00:00:00Z", "stop": end, "predicate": f'_measurement="telemetry" AND ev="{ev}"'}
        await self._post("/api/v2/delete", {}, msgspec.json.encode(body), "application/json")

    async def close(self) -> None:
        """See Sink."""

    async def _post(self, path: str, query: dict[str, str], body: bytes, kind: str) -> None:
        parts = self._parts
        where = parts._replace(
            path=parts.path.rstrip("/") + path, query=urlencode(parse_qsl(parts.query) + list(query.items()))
        )
        headers = {"Content-Type": kind}
        if self._secret_file is not None:
            secret = await asyncio.to_thread(read_secret, self._secret_file)
            headers["Authorization"] = f"Token {secret.decode().strip()}"
        try:
            answer = await request(
                "POST", urlunsplit(where), body=body, headers=headers, timeout_s=TIMEOUT_S, most=_MOST
            )
        except TransferError as error:
            raise TransportError(f"InfluxDB: {error}", hint=error.hint) from error
        if not answer.ok:
            reason = f"InfluxDB answered {answer.status}: {answer.body.decode(errors='replace')[:200]!r}"
            if answer.status in _LASTING:
                raise UnstorableError(reason, hint="see the bucket's schema and retention")
            raise TransportError(reason, hint="see org, bucket and token")


Ts = TypeVarTuple("Ts")

CLOSE_S: Final = 2.0
"""How long closing waits for a batch under way, before it is broken off."""


class DatabaseSink:
    """Sink: the database at `url`, with a thread of its own: one that is slow must not hold what others need."""

    def __init__(self, url: str) -> None:
        self._database = SeriesDatabase(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database-sink")

    async def write(self, records: Sequence[StoredRecord]) -> None:
        await self._do(self._database.write, records)

    async def erase(self, ev: str) -> None:
        await self._do(self._database.erase, ev)

    async def close(self) -> None:
        """See Sink. Callers of what is broken off get StoreError, and repeat it."""
        self._database.hurry(CLOSE_S)
        await self._do(self._database.close)
        self._thread.shutdown()

    async def _do(self, work: Callable[[Unpack[Ts]], None], *arguments: *Ts) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
