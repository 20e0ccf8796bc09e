"""Requests to a server that has to know its client: TLS certificate, password, or OAuth 2.0 token, over HTTPS only."""

import base64
import ssl
from collections.abc import Container, Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError, ConfigError, RefusedError, TransportError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.http.known_client import KnownClient
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import client_context
from v2g.pki.keys import read_secret_text
from v2g.text import printable

_ANSWER_S: Final = 20.0
_MOST_BYTES: Final = 64 * 1024
_RENEW_S: Final = 30.0
"""A token that ends within this time is not used any more."""


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """Response of a token endpoint (RFC 6749, 5.1)."""

    access_token: Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[\x21-\x7e]+\Z")]
    token_type: str = "Bearer"  # noqa: S105 - the kind of token
    expires_in: Annotated[int, Meta(ge=0)] = 3600


def read_token(data: bytes) -> AccessToken:
    """Return the token in a response. Raises CodecError."""
    try:
        fields = typed_json.decode(typed_json.whole_numbers(data), object)
        token = typed_json.convert(fields, AccessToken, strict=False)  # some write `expires_in` as text
    except msgspec.DecodeError as error:
        raise CodecError(f"the token endpoint returned no token: {error}") from None
    if token.token_type.lower() != "bearer":
        raise CodecError(f"the token endpoint returned a token of type {token.token_type[:40]!r}, not Bearer")
    return token


class ClientCredentials:
    """The tokens of one client. `form`: how the grant is sent, as RFC 6749 says, or as JSON (OPCP)."""

    def __init__(
        self,
        clock: Clock,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        tls: ssl.SSLContext | None,
        form: Literal["urlencoded", "json"] = "urlencoded",
        **more: str,
    ) -> None:
        """`more`: further fields of the grant, such as `scope` and `audience`; empty ones are left out."""
        self._clock, self._url, self._tls, self._form = clock, url, tls, form
        grant = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        self._grant = grant | {name: value for name, value in more.items() if value}
        self._token = ""
        self._until = 0.0

    async def token(self) -> str:
        """Return a valid token. Raises TransportError, TransferError, CodecError."""
        now = self._clock.monotonic()
        if not self._token or now > self._until:
            coded = self._form == "json"
            answer = await request(
                "POST",
                self._url,
                most=_MOST_BYTES,
                timeout_s=_ANSWER_S,
                body=msgspec.json.encode(self._grant) if coded else urlencode(self._grant).encode(),
                headers={
                    "Content-Type": "application/json" if coded else "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
                context=self._tls,
            )
            if not answer.ok:
                raise TransportError(
                    f"{self._url} gives no token: HTTP status {answer.status}",
                    hint="are client_id and client_secret right?",
                )
            found = read_token(answer.body)
            self._token, self._until = found.access_token, now + max(0.0, found.expires_in - _RENEW_S)
        return self._token

    def refused(self) -> None:
        """Forget the token: the server has answered 401."""
        self._token = ""


class AuthorizedRequests:
    """Sends requests to one server. Secrets are sent to a server only whose certificate has been verified."""

    def __init__(self, server: KnownClient, clock: Clock, *, most_bytes: int) -> None:
        """`most_bytes`: of an answer's body. Read files. Raises ConfigError, KeyAccessError."""
        self._most_bytes = most_bytes
        if bool(server.user) != (server.password_file is not None):
            raise ConfigError(f"{server.url}: user and password_file belong together")
        # servers of public ecosystems have no newer TLS
        self._tls = client_context(server.root, server.certificate, server.key, older=True)
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
