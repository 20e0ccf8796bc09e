"""Requests to a payment provider's mandates over HTTPS; see docs/reference/payment-mandates.md for the interface."""

import ssl
from decimal import Decimal
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from csms.domain.billing.mandates import DebitAnswer, Mandate, MandateAnswer
from v2g import typed_json
from v2g.errors import CodecError, RefusedError, TransferError, TransportError
from v2g.io.http.client import request
from v2g.text import printable
from v2g.units import payable

_MAX_BYTES: Final = 65_536
_ANSWER_S: Final = 20.0
_REPEATED: Final = frozenset({401, 403, 408, 409, 425, 429})
"""Statuses of a request that is to be repeated, beside those of server errors: it has not been decided."""

T = TypeVar("T")


class MandateClient:
    """See PaymentProvider. `token` is a bearer token, `tls` has the roots. Redirects are not followed."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        self._url, self._token, self._tls = url.rstrip("/"), token, tls

    async def create(self, mandate: Mandate) -> MandateAnswer:
        """See PaymentProvider."""
        body = {
            "payer": mandate.payer,
            "currency": mandate.currency,
            "most": _decimal(mandate.most_micro, mandate.currency),
            "expires_ms": mandate.expires_ms,
        }
        return _answer(await self._request("POST", "/mandates", mandate.key, body), MandateAnswer)

    async def find(self, reference: str) -> MandateAnswer:
        """See PaymentProvider."""
        return _answer(await self._request("GET", f"/mandates/{quote(reference, safe='')}"), MandateAnswer)

    async def debit(self, key: str, mandate: str, amount_micro: int, currency: str) -> DebitAnswer:
        """See PaymentProvider."""
        body = {"amount": _decimal(amount_micro, currency), "currency": currency}
        path = f"/mandates/{quote(mandate, safe='')}/debits"
        return _answer(await self._request("POST", path, key, body), DebitAnswer)

    async def reverse(self, key: str, debit: str) -> DebitAnswer:
        """See PaymentProvider."""
        return _answer(await self._request("POST", f"/debits/{quote(debit, safe='')}/reversals", key, {}), DebitAnswer)

    async def _request(self, method: str, path: str, key: str = "", body: object = None) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        url = f"{self._url}{path}"
        try:
            answer = await request(
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


def _decimal(micro: int, currency: str) -> str:
    """Return an amount with the currency's digits."""
    return f"{payable(Decimal(micro).scaleb(-6), currency)}"


def _answer(body: bytes, kind: type[T]) -> T:
    try:
        found = typed_json.decode(body, kind)
    except msgspec.DecodeError as error:
        raise CodecError(f"the payment provider's answer: {error}"[:300]) from None
    return found
