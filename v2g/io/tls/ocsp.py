"""Asks OCSP responders over HTTP (RFC 6960, appendix A), bounded in time and size."""

from collections.abc import Awaitable, Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from v2g.errors import RevocationError, TransferError

RESPONDER_SECONDS: Final = 3.0
"""Time-out of a responder."""

_MAX_ANSWER: Final = 16 * 1024
_MAX_LIST: Final = 1024 * 1024

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Takes a responder's URL and a DER OCSPRequest, returns the DER answer; raises RevocationError(refused)."""


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Return the DER OCSPRequest about one certificate, without a nonce, so that responders can use cached answers."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256())
    return builder.build().public_bytes(Encoding.DER)


async def ask(url: str, request: bytes, *, timeout_s: float = RESPONDER_SECONDS) -> bytes:
    """Return a responder's answer, unverified. Redirects are not followed.

    Raises RevocationError(refused) when there is none: unreachable, too slow, too long, or an HTTP error.
    """
    headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
    return await _http("POST", url, _MAX_ANSWER, timeout_s, headers, request)


async def fetch_list(url: str, *, timeout_s: float = RESPONDER_SECONDS) -> bytes:
    """Return a revocation list, unverified. Raises RevocationError(refused) as `ask` does."""
    return await _http("GET", url, _MAX_LIST, timeout_s, {"Accept": "application/pkix-crl"}, None)


async def _http(
    method: str, url: str, longest: int, timeout_s: float, headers: dict[str, str], data: bytes | None
) -> bytes:
    from v2g.io.http.client import request  # rarely needed

    try:
        answer = await request(method, url, most=longest, timeout_s=timeout_s, body=data, headers=headers)
    except TransferError as error:
        raise _refused(method, url, str(error)) from None
    if answer.status != 200:
        raise _refused(method, url, f"HTTP status {answer.status}")
    return answer.body


def _refused(method: str, url: str, why: str) -> RevocationError:
    whom = "OCSP responder" if method == "POST" else "revocation list"
    return RevocationError(f"{whom} {url}: {why}", reason="refused", hint="is the server reachable?")
