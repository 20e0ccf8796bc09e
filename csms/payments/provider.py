"""Requests to a payment provider, or the adapter to one: JSON over HTTPS, each with a key."""

import ssl
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import CodecError, RefusedError, TransferError, TransportError
from v2g.io.http.client import request as _request
from v2g.text import printable
from v2g.units import payable

T = TypeVar("T")

_MAX_BYTES: Final = 65_536
_ANSWER_S: Final = 20.0
_REPEATED: Final = frozenset({401, 403, 408, 409, 425, 429})
"""Statuses of a request that is to be repeated, beside those of server errors: it has not been decided."""


class ProviderClient:
    """Asks a provider at a URL. `token` is a bearer token, `tls` has the roots. Redirects are not followed."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        self._url, self._token, self._tls = url.rstrip("/"), token, tls

    async def request(self, method: str, path: str, key: str = "", body: object = None) -> bytes:
        """Return the body of an answer. Raises RefusedError where repeating is useless, else TransportError."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        url = f"{self._url}{path}"
        try:
            answer = await _request(
                method, url, most=_MAX_BYTES, timeout_s=_ANSWER_S, body=content, headers=headers, context=self._tls
            )
        except TransferError as error:
            raise TransportError(f"payment provider {url}: {error}", hint="is it reachable?") from None
        if answer.ok:
            return answer.body
        text = f"HTTP status {answer.status}: {printable(answer.body[:200].decode(errors='replace'))}"
        if 400 <= answer.status < 500 and answer.status not in _REPEATED:
            raise RefusedError(text, reason="provider_refused")
        hint = "is the token in secret_file right?" if answer.status in (401, 403) else ""
        raise TransportError(f"the payment provider answers {method} {url} with {text}", hint=hint)


def decimal_of(micro: int, currency: str) -> str:
    """Return an amount with the currency's digits."""
    return f"{payable(Decimal(micro).scaleb(-6), currency)}"


def answer_of(body: bytes, kind: type[T]) -> T:
    """Return an answer. Raises CodecError."""
    try:
        found = typed_json.decode(body, kind)
    except msgspec.DecodeError as error:
        raise CodecError(f"the payment provider's answer: {error}"[:300]) from None
    return found
