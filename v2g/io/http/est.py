"""A client of EST servers (RFC 7030, RFC 8951), also by the paths of public ecosystems (OPCP): over HTTPS only."""

import base64
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from v2g.errors import CertificateError, ConfigError, RefusedError, TransportError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.http.oauth import ClientCredentials
from v2g.io.runtime.clock import Clock
from v2g.io.tls.files import client_context
from v2g.pki.certificates import key_kind
from v2g.pki.est import CERTIFICATES, MOST_BYTES, REQUEST, issued_chain, pause_s, read_certificates, write_csr
from v2g.pki.keys import read_secret
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import VerifiedChain
from v2g.text import printable

_ANSWER_S: Final = 30.0
_EDITIONS: Final = {Generation.ISO15118_2: "ISO15118-2", Generation.ISO15118_20: "ISO15118-20"}

HttpsUrl = Annotated[str, msgspec.Meta(pattern=r"^https://[^\s/]+[^\s]*\Z", max_length=1900)]
EstPath = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z", max_length=400)]


class OauthClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Client credentials (OAuth 2.0) at a token endpoint that takes JSON (OPCP)."""

    url: HttpsUrl
    """Token endpoint."""
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Client ID."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    audience: Annotated[str, msgspec.Meta(max_length=1900)] = ""
    """Audience that the server asks for."""


class EstServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An EST server and how this client shows who it is: TLS certificate, password, or OAuth 2.0 token."""

    url: HttpsUrl
    """URL of its operations, with the label if it has any: `https://est.example/.well-known/est/cpo`."""
    enrol: EstPath = "simpleenroll"
    """Path of enrolment below it; `{iso}` is replaced by ISO15118-2 or ISO15118-20, `{curve}` by the key's kind, as in
    `simpleenroll/{iso}`."""
    reenrol: EstPath = "simplereenroll"
    """Path of renewal."""
    cacerts: EstPath = "cacerts"
    """Path of the CA's certificates."""
    root: Path | None = None
    """Root of the server's TLS certificate (PEM); without it those of the system."""
    certificate: Path | None = None
    """Own TLS certificate with its chain (PEM)."""
    key: Path | None = None
    """Its key: PEM file of mode 0600."""
    user: Annotated[str, msgspec.Meta(pattern=r"^[^:\x00-\x1f]*\Z", max_length=255)] = ""
    """User name (HTTP Basic)."""
    password_file: Path | None = None
    """File (mode 0600) with the password."""
    oauth: OauthClient | None = None
    """OAuth 2.0 in place of a password."""


class EnrolmentPending(msgspec.Struct, frozen=True):
    """The CA has not decided yet: the same request is to be repeated after `pause_s` seconds."""

    pause_s: float


class EstClient:
    """Speaks to one server. Secrets are sent to a server only whose certificate has been verified.

    Methods raise TransportError when a later attempt may succeed, RefusedError (`refused`) when not, CertificateError
    for an unreadable answer.
    """

    def __init__(self, server: EstServer, clock: Clock) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._server, self._clock = server, clock
        if bool(server.user) != (server.password_file is not None):
            raise ConfigError(f"{server.url}: user and password_file belong together")
        self._tls = client_context(server.root, server.certificate, server.key)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2  # servers of public ecosystems have no more
        if server.root is None:
            self._tls.load_default_certs()
        self._basic = ""
        if server.password_file is not None:
            secret = f"{server.user}:{read_secret(server.password_file).decode().strip()}"
            self._basic = f"Basic {base64.b64encode(secret.encode()).decode()}"
        self._oauth = None
        if (oauth := server.oauth) is not None:
            secret = read_secret(oauth.client_secret_file).decode().strip()
            self._oauth = ClientCredentials(
                clock, oauth.url, oauth.client_id, secret, tls=self._tls, form="json", audience=oauth.audience
            )

    async def cacerts(
        self, csr: x509.CertificateSigningRequest, generation: Generation
    ) -> tuple[x509.Certificate, ...]:
        """Return the CA's certificates, which are to be trusted no more than the roots that are configured."""
        answer = await self._exchange("GET", self._url(self._server.cacerts, csr, generation), None)
        return read_certificates(answer.body)

    async def enrol(
        self, csr: x509.CertificateSigningRequest, generation: Generation, *, renewal: bool = False
    ) -> tuple[x509.Certificate, ...] | EnrolmentPending:
        """Request a certificate; return the certificates of the answer, in any order.

        `renewal`: by the own TLS certificate, whose subject the request has.
        """
        path = self._server.reenrol if renewal else self._server.enrol
        answer = await self._exchange("POST", self._url(path, csr, generation), write_csr(csr))
        if answer.status == 202:
            return EnrolmentPending(pause_s(answer.headers.get("retry-after", ""), self._clock.now()))
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
        kind = key_kind(csr.public_key())
        filled = path.replace("{iso}", _EDITIONS[generation]).replace("{curve}", kind.value if kind else "")
        return f"{self._server.url.rstrip('/')}/{filled}"

    async def _exchange(self, method: str, url: str, body: bytes | None) -> HttpAnswer:
        for attempt in range(2):
            headers = {"Accept": CERTIFICATES}
            if body is not None:
                headers |= {"Content-Type": REQUEST, "Content-Transfer-Encoding": "base64"}
            if self._oauth is not None:
                headers["Authorization"] = f"Bearer {await self._oauth.token()}"
            elif self._basic:
                headers["Authorization"] = self._basic
            answer = await request(
                method, url, most=MOST_BYTES, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
            )
            if answer.status == 401 and self._oauth is not None and attempt == 0:
                self._oauth.refused()
                continue
            break
        if answer.status in (200, 202):
            return answer
        text = printable(answer.body[:200].decode(errors="replace"))
        said = (
            f"{urlsplit(url).hostname} answers {method} {urlsplit(url).path} with HTTP status {answer.status}: {text}"
        )
        if answer.status in (408, 429) or answer.status >= 500:
            raise TransportError(said)
        raise RefusedError(said, reason="refused", hint=_HINTS.get(answer.status, "see the answer of the CA"))


_HINTS: Final = {
    401: "is this client known to the CA: password, token or certificate?",
    403: "may this client have certificates of that name?",
    404: "are url and label right?",
    400: "is the common name registered at the CA, and the key of a kind that it takes?",
}
