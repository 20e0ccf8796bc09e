"""Requests to a server that has to know its client: TLS certificate, password, or OAuth 2.0 token, over HTTPS only."""

import base64
import ssl
from collections.abc import Container, Mapping
from typing import Final
from urllib.parse import urlsplit

from v2g.errors import ConfigError, RefusedError, TransportError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.http.known_client import KnownClient
from v2g.io.http.oauth import ClientCredentials
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import client_context
from v2g.pki.keys import read_secret_text
from v2g.text import printable


class AuthorizedRequests:
    """Sends requests to one server. Secrets are sent to a server only whose certificate has been verified."""

    def __init__(self, server: KnownClient, clock: Clock, *, most_bytes: int) -> None:
        """`most_bytes`: of an answer's body. Read files. Raises ConfigError, KeyAccessError."""
        self._most_bytes = most_bytes
        if bool(server.user) != (server.password_file is not None):
            raise ConfigError(f"{server.url}: user and password_file belong together")
        self._tls = client_context(server.root, server.certificate, server.key)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2  # servers of public ecosystems have no more
        if server.root is None:
            self._tls.load_default_certs()
        self._basic = ""
        if server.password_file is not None:
            secret = f"{server.user}:{read_secret_text(server.password_file)}"
            self._basic = f"Basic {base64.b64encode(secret.encode()).decode()}"
        self._oauth = None
        if (oauth := server.oauth) is not None:
            secret = read_secret_text(oauth.client_secret_file)
            self._oauth = ClientCredentials(
                clock, oauth.url, oauth.client_id, secret, tls=self._tls, form="json", audience=oauth.audience
            )

    async def send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], *, timeout_s: float
    ) -> HttpAnswer:
        """Return the answer, of any status; a token that the server no longer takes (401) is renewed once.

        Raises TransportError, CodecError.
        """
        answer = await self._once(method, url, body, headers, timeout_s)
        if answer.status == 401 and self._oauth is not None:
            self._oauth.refused()
            answer = await self._once(method, url, body, headers, timeout_s)
        return answer

    async def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> HttpAnswer:
        own = {"Authorization": self._basic} if self._basic else {}
        if self._oauth is not None:
            own = {"Authorization": f"Bearer {await self._oauth.token()}"}
        return await request(
            method,
            url,
            most=self._most_bytes,
            timeout_s=timeout_s,
            body=body,
            headers={**headers, **own},
            context=self._tls,
        )


def require_success(
    method: str, url: str, answer: HttpAnswer, hints: Mapping[int, str], good: Container[int] = range(200, 300)
) -> None:
    """Raise TransportError for an answer after which a later attempt may succeed, RefusedError (`refused`) for any
    other whose HTTP status is not `good`; `hints` by status."""
    if answer.status in good:
        return
    text = printable(answer.body[:200].decode(errors="replace"))
    where = urlsplit(url)
    said = f"{where.hostname} answers {method} {where.path} with HTTP status {answer.status}: {text}"
    if answer.status in _PASSING or answer.status >= 500:
        raise TransportError(said)
    raise RefusedError(said, reason="refused", hint=hints.get(answer.status, "see the answer of the server"))


_PASSING: Final = frozenset({408, 429})
