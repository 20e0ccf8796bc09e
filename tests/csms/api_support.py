"""What several tests of api use."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from csms.accounts.rules import Role
from tests.csms.support import TOKENS, Running
from v2g.telemetry.signals import Record, encode_record

T0 = time.time_ns() // 1_000_000 - 3_600_000
"""Time of the first record, ms: what vehicles deliver is of today."""


@contextlib.asynccontextmanager
async def ask(
    csms: Running,
    method: str,
    path: str,
    *,
    token: str | None = None,
    leaf: str | None = None,
    body: bytes = b"",
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send one request."""
    url = f"https://127.0.0.1:{csms.csms.ports['api']}{path}"
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url, data=body, ssl=csms.context(leaf)) as response,
    ):
        yield response


async def read(csms: Running, path: str) -> Any:
    """Return what the administrator reads there."""
    async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as answer:
        assert answer.ok, await answer.text()
        return await answer.json()


def record(seq: int, **changes: Any) -> Record:
    """Return a telemetry record."""
    fields = {"ev": "EV-1", "boot": 1, "seq": seq, "utc_ms": T0 + seq, "context": "parked"}
    return Record(**({**fields, "keyframe": seq == 1, "signals": {"battery.soc": 50.0}} | changes))


def batch(*records: Record) -> bytes:
    """Return the body of a POST."""
    return b"[" + b",".join(map(encode_record, records)) + b"]"
