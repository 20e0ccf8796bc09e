"""Access tokens by the OAuth 2.0 client credentials grant (RFC 6749 4.4), kept until shortly before they end."""

import ssl
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError, TransportError
from v2g.io.http.client import request
from v2g.io.runtime.clock import Clock

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
        token = typed_json.decode(data, AccessToken)
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
