"""Calls of webhooks, to allowed addresses only."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from csms.domain.diagnostics.webhooks import ALLOW_HINT, Reach, check_url
from v2g.errors import ConfigError

ANSWER_S: Final = 10.0
"""Time-out of a receiver."""


class _Resolver(AbstractResolver):
    """Resolves names to allowed addresses; only these are connected to, whatever DNS answers later."""

    def __init__(self, reach: Reach, beneath: AbstractResolver) -> None:
        self._reach = reach
        self._beneath = beneath

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError."""
        found = await self._beneath.resolve(host, port, family)
        if self._reach.names(host):
            return found
        fit = [each for each in found if self._reach.takes(each["host"])]
        if not fit:
            raise OSError(errno.EACCES, f"{host} is not a host of the internet; {ALLOW_HINT}")
        return fit

    async def close(self) -> None:
        """Close the resolver."""
        await self._beneath.close()


class Caller:
    """Makes calls over its own connections."""

    def __init__(self, session: aiohttp.ClientSession, reach: Reach) -> None:
        self._session = session
        self._reach = reach

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Post; return the error, or an empty text. Redirects are not followed."""
        try:
            check_url(url, self._reach)
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return "" if 200 <= response.status < 300 else f"HTTP status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ConfigError) as error:
            return str(error) or f"no answer from {urlsplit(url).hostname} in {ANSWER_S:g} s"


@asynccontextmanager
async def calling(reach: Reach, resolver: AbstractResolver | None = None) -> AsyncIterator[Caller]:
    """Make calls; `resolver` instead of the system's."""
    connector: Any = aiohttp.TCPConnector(
        resolver=_Resolver(reach, resolver or ThreadedResolver()), use_dns_cache=False
    )
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield Caller(session, reach)
