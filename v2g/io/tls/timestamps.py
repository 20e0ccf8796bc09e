"""Time-stamps by RFC 3161: an authority signs that a digest existed at a time."""

from typing import Final

from v2g.errors import TransferError, TransportError

_REQUEST: Final = bytes.fromhex("30590201013051300d060960864801650304020305000440")
"""TimeStampReq version 1 with a SHA-512 imprint, as far as the digest; certReq follows."""
_CERT_REQ: Final = bytes.fromhex("0101ff")
_MAX_ANSWER: Final = 65_536
_TIMEOUT_S: Final = 30.0


async def time_stamp(url: str, digest: bytes) -> bytes:
    """Return an authority's TimeStampResp (DER) for a SHA-512 digest; its signature is not verified here.

    Raises TransportError when there is none, or it does not repeat the digest: then it was refused.
    """
    from v2g.io.http.client import request  # rarely needed

    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    body = _REQUEST + digest + _CERT_REQ
    try:
        answer = await request("POST", url, most=_MAX_ANSWER, timeout_s=_TIMEOUT_S, body=body, headers=headers)
    except TransferError as error:
        raise TransportError(f"{url}: {error}") from None
    if answer.status != 200:
        raise TransportError(f"{url}: HTTP status {answer.status}")
    if digest not in answer.body:
        raise TransportError(
            f"{url}: the authority did not time-stamp the digest", hint="openssl ts -reply -in shows why"
        )
    return answer.body
