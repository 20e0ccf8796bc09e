"""A client of EST servers (RFC 7030, RFC 8951), also by the paths of public ecosystems (OPCP): over HTTPS only."""

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509

from v2g.errors import CertificateError
from v2g.io.http.authorized import AuthorizedRequests, require_success
from v2g.io.http.client import HttpAnswer
from v2g.io.http.known_client import EstServer
from v2g.io.runtime.clock import Clock
from v2g.pki.certificates import key_kind
from v2g.pki.est import (
    CERTIFICATES,
    MOST_BYTES,
    REQUEST,
    WANTED,
    issued_chain,
    pause_s,
    read_certificates,
    read_wanted,
    write_csr,
)
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.verify import VerifiedChain

_ANSWER_S: Final = 30.0
_EDITIONS: Final = {Generation.ISO15118_2: "ISO15118-2", Generation.ISO15118_20: "ISO15118-20"}


class EnrolmentPending(msgspec.Struct, frozen=True):
    """The CA has not decided yet, or is busy: the same request is to be repeated after `pause_s` seconds."""

    pause_s: float


class EstClient:
    """Speaks to one server. Secrets are sent to a server only whose certificate has been verified.

    Methods raise TransportError when a later attempt may succeed, RefusedError (`refused`) when not, CertificateError
    for an unreadable answer.
    """

    def __init__(self, server: EstServer, clock: Clock) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._server, self._clock = server, clock
        self._requests = AuthorizedRequests(server, clock, most_bytes=MOST_BYTES)

    async def cacerts(
        self, csr: x509.CertificateSigningRequest, generation: Generation
    ) -> tuple[x509.Certificate, ...]:
        """Return the CA's certificates, which are to be trusted no more than the roots that are configured."""
        answer = await self._get(self._url(self._server.cacerts, csr, generation), CERTIFICATES)
        return read_certificates(answer.body)

    async def wanted(self, kind: KeyKind | None, generation: Generation) -> tuple[str, ...]:
        """Return the OIDs that the CA wants in a request (RFC 7030 4.5), none with 204 or 404.

        `kind`: of the key, as far as paths have it. Raises CertificateError (`malformed`) for an unreadable answer.
        """
        answer = await self._get(self._path(self._server.csrattrs, kind, generation), WANTED, _NONE_WANTED)
        return () if answer.status in _NONE_WANTED else read_wanted(answer.body)

    async def enrol(
        self, csr: x509.CertificateSigningRequest, generation: Generation, *, renewal: bool = False
    ) -> tuple[x509.Certificate, ...] | EnrolmentPending:
        """Request a certificate; return the certificates of the answer, in any order.

        `renewal`: by the own TLS certificate, whose subject the request has.
        """
        path = self._server.reenrol if renewal else self._server.enrol
        url = self._url(path, csr, generation)
        answer = await self._send("POST", url, write_csr(csr), CERTIFICATES)
        asked = answer.headers.get("retry-after", "")
        if answer.status == 202 or (answer.status in _BUSY and asked):
            return EnrolmentPending(pause_s(asked, self._clock.now()))
        require_success("POST", url, answer, _HINTS, good=(200,))
        return read_certificates(answer.body)

    async def chain(
        self,
        csr: x509.CertificateSigningRequest,
        roots: Sequence[bytes],
        *,
        role: Role,
        generation: Generation,
        renewal: bool = False,
    ) -> VerifiedChain | EnrolmentPending:
        """Request a certificate; return its chain, verified up to one of `roots` (DER), also where the server sends the
        leaf alone. Raises CertificateError as `issued_chain`."""
        found = await self.enrol(csr, generation, renewal=renewal)
        if isinstance(found, EnrolmentPending):
            return found
        at = self._clock.now()
        try:
            return issued_chain(found, csr, roots, role=role, generation=generation, at=at)
        except CertificateError as error:
            if error.reason not in ("unknown_root", "bad_profile"):
                raise
            found += await self.cacerts(csr, generation)
        return issued_chain(found, csr, roots, role=role, generation=generation, at=at)

    def _url(self, path: str, csr: x509.CertificateSigningRequest, generation: Generation) -> str:
        return self._path(path, key_kind(csr.public_key()), generation)

    def _path(self, path: str, kind: KeyKind | None, generation: Generation) -> str:
        filled = path.replace("{iso}", _EDITIONS[generation]).replace("{curve}", kind.value if kind else "")
        return f"{self._server.url.rstrip('/')}/{filled}"

    async def _get(self, url: str, wanted: str, good: tuple[int, ...] = ()) -> HttpAnswer:
        answer = await self._send("GET", url, None, wanted)
        require_success("GET", url, answer, _HINTS, good=(200, *good))
        return answer

    async def _send(self, method: str, url: str, body: bytes | None, wanted: str) -> HttpAnswer:
        headers = {"Accept": wanted}
        if body is not None:
            headers |= {"Content-Type": REQUEST, "Content-Transfer-Encoding": "base64"}
        return await self._requests.send(method, url, body, headers, timeout_s=_ANSWER_S)


_BUSY: Final = (429, 503)
_NONE_WANTED: Final = (204, 404)
_HINTS: Final = {
    401: "is this client known to the CA: password, token or certificate?",
    403: "may this client have certificates of that name?",
    404: "are url and label right?",
    400: "is the common name registered at the CA, and the key of a kind that it takes?",
}
