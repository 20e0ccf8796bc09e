"""Whether a certificate was revoked: lists in files, for chains of peers and contracts, and OCSP responders."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from v2g.errors import ConfigError, RevocationError, TransferError
from v2g.io.runtime.file_watch import FileWatch
from v2g.observe import Observe
from v2g.pki.crl import CrlSeries, RevocationList, is_older, load_crls, series_of

_log = logging.getLogger(__name__)


class CrlFiles:
    """Returns the present lists, for an Endpoint or a verifier of contracts."""

    def __init__(self, files: Sequence[Path], observe: Callable[[Observe], None], *, key: str = "tls.crls") -> None:
        """Read the files of the configuration's `key`.

        Raises ConfigError for one that cannot be read now. Later the last list stays in use if its file is missing or
        broken, or an older list is put back, which would undo revocations; and besides the new one if that is
        of another issuer or its new key: certificates signed by the former key are still valid.
        """
        self._observe = observe
        self._files = [(path, FileWatch((path,))) for path in files]
        try:
            self._lists = [_newest(load_crls(path.read_bytes())) for path in files]
        except (OSError, RevocationError) as error:
            raise ConfigError(f"{key}: {error}", hint="CRLs are complete lists, PEM or DER files") from None

    def __call__(self) -> tuple[RevocationList, ...]:
        return tuple(each for _, each in self.with_files())

    def with_files(self) -> list[tuple[Path, RevocationList]]:
        """Return the lists with their files."""
        for place, (path, watched) in enumerate(self._files):
            if watched.changed():
                self._renew(place, path)
        return [
            (path, each) for (path, _), lists in zip(self._files, self._lists, strict=True) for each in lists.values()
        ]

    def _renew(self, place: int, path: Path) -> None:
        try:
            found = _newest(load_crls(path.read_bytes()))
            held = self._lists[place]
            if any(is_older(each, held[series]) for series, each in found.items() if series in held):
                raise RevocationError(f"{path}: the list is older than the one in use", reason="expired")
        except (OSError, RevocationError) as error:
            _log.warning("%s: the old revocation list stays in use: %s", path, error)
            self._observe(Observe("tls", "crls_kept", {"file": str(path), "error": str(error)}))
            return
        held.update(found)
        entries = sum(len(each.entries) for each in found.values())
        self._observe(Observe("tls", "crls_renewed", {"file": str(path), "entries": entries}))


def _newest(lists: Sequence[RevocationList]) -> dict[CrlSeries, RevocationList]:
    found: dict[CrlSeries, RevocationList] = {}
    for each in lists:
        held = found.get(series_of(each))
        if held is None or not is_older(each, held):
            found[series_of(each)] = each
    return found


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


_LATER: Final = {b"\x30\x03\x0a\x01\x02": "internalError", b"\x30\x03\x0a\x01\x03": "tryLater"}
"""Answers without a status, by the responder's state (RFC 6960, 2.3)."""


async def ask(url: str, request: bytes, *, timeout_s: float = RESPONDER_SECONDS) -> bytes:
    """Return a responder's answer, unverified. Redirects are not followed.

    Raises RevocationError(refused) when there is none: unreachable, too slow, too long, an HTTP error, or none at
    present.
    """
    headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
    answer = await _http("POST", url, _MAX_ANSWER, timeout_s, headers, request)
    if answer in _LATER:
        raise _refused("POST", url, f"it answered {_LATER[answer]}")
    return answer


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
