"""Calls of webhooks, to allowed addresses only."""

import errno
import socket
from typing import Final
from urllib.parse import urlsplit

from csms.domain.diagnostics.webhooks import ALLOW_HINT, Reach, check_url
from v2g.errors import ConfigError, TransferError
from v2g.io.http.client import Resolve, request

ANSWER_S: Final = 10.0
"""Time-out of a receiver."""


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a host by the system's resolver; blocking. Raises OSError."""
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


async def call_webhook(
    url: str, body: bytes, headers: dict[str, str], reach: Reach, resolve: Resolve = addresses_of
) -> str:
    """Post; return the error, or an empty text. Redirects are not followed."""

    def allowed(host: str) -> list[str]:
        """Only these are connected to, whatever DNS answers later."""
        found = [each for each in resolve(host) if reach.names(host) or reach.takes(each)]
        if not found:
            raise OSError(errno.EACCES, f"{host} is not a host of the internet; {ALLOW_HINT}")
        return found

    try:
        check_url(url, reach)
        answer = await request("POST", url, most=0, timeout_s=ANSWER_S, body=body, headers=headers, resolve=allowed)
    except ConfigError as error:
        return str(error)
    except TransferError as error:
        return f"{urlsplit(url).hostname}: {error}"
    return "" if answer.ok else f"HTTP status {answer.status}"
