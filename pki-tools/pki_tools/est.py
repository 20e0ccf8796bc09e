"""An EST server around a tree (RFC 7030, RFC 8951): a laboratory's CA for chargers, gateways and back ends (R217).

Below `/.well-known/est/`, with or without a label that names what certificates are for: `cacerts`, `csrattrs` (none
are asked for), `simpleenroll` and `simplereenroll`, also with the further path segments of OPCP. Clients show a TLS
certificate under a configured root, or a password. With `approve` a request waits (202) until a person has decided
(`v2g pki approve`); it does so in the tree, over restarts. A repeated request gets the certificate of the first.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki_tools.authority import chain_above, load_pem
from pki_tools.bounded_http import BoundedHttp, HttpBounds, Watch
from pki_tools.files import write_whole
from pki_tools.index import IndexEntry, load_index
from pki_tools.issuing import CertificateOrder, issue_certificate, read_request
from pki_tools.layout import SIGNERS
from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.serve import utc_now
from v2g.errors import CertificateError, ConfigError
from v2g.io.tls.files import show, trust
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.conformity import extension
from v2g.pki.est import CERTIFICATES, MOST_BYTES, read_csr, write_certificates
from v2g.pki.profile import Role

LABELS: Final[Mapping[str, Role]] = {
    "cpo": Role.SECC, "station": Role.STATION, "oem": Role.OEM_PROVISIONING, "veh": Role.VEHICLE,
    "mo": Role.CONTRACT, "cps": Role.CPS, "gateway": Role.GATEWAY,
}  # fmt: skip
"""Labels -> roles of the certificates; those of OPCP, and two for this project's programs."""

FOLDER: Final = "enrolments"
"""Folder in the tree of requests that wait for a decision."""
_WAITING, _APPROVED, _REJECTED = ".csr", ".approved", ".rejected"
_ID: Final = re.compile(r"[a-z]+-[0-9a-f]{16}")
_RETRY_S: Final = 30
_BOUNDS: Final = HttpBounds(most_bytes=MOST_BYTES, patience_s=30.0, most_connections=256)


class EstSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`role`: of certificates without a label; `users`: passwords by user name; `approve`: a person decides on each
    first request."""

    role: Role = Role.SECC
    users: Mapping[str, str] = {}
    approve: bool = False


class EstService:
    """Serves one tree from `start` to `close`."""

    def __init__(
        self, directory: Path, settings: EstSettings, *, observe: Watch, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._directory, self._settings, self._observe, self._now = directory, settings, observe, now
        self._signing = asyncio.Lock()
        routes = [web.get("/.well-known/est/{path:.+}", self._get), web.post("/.well-known/est/{path:.+}", self._post)]
        self._http = BoundedHttp(
            routes, _BOUNDS, observe=observe, failed=lambda: web.Response(status=500, text="failed\n")
        )

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Read the tree and listen; return the port. Raises ConfigError, TransportError."""
        load_index(self._directory)
        return await self._http.start(host, port, tls)

    async def close(self) -> None:
        """Stop listening, finish pending answers (2 s at most)."""
        await self._http.close()

    # -- operations

    async def _get(self, request: web.Request) -> web.Response:
        role, operation = self._operation(request)
        if operation == "csrattrs":
            return web.Response(status=204)
        if operation != "cacerts":
            raise web.HTTPNotFound
        index = load_index(self._directory)
        authority = index.find(SIGNERS[role] or "")
        certificate = load_pem(self._directory / authority.file)
        above = chain_above(self._directory, index, authority)
        roots = [load_pem(self._directory / each.file) for each in index.entries if each.is_root and not each.replaced]
        top = (certificate, *above)[-1]
        found = dict.fromkeys((certificate, *above, *(each for each in roots if each.subject == top.issuer)))
        return _answer(*found)

    async def _post(self, request: web.Request) -> web.Response:
        role, operation = self._operation(request)
        if operation not in ("simpleenroll", "simplereenroll"):
            raise web.HTTPNotFound
        # what the client has shown, and TLS has verified
        tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
        der = None if tls is None else tls.getpeercert(binary_form=True)
        client = load_certificate(der) if der else None
        if client is None and not self._is_known(request.headers.get("Authorization", "")):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="est", charset="UTF-8"'})
        former = None if client is None else self._entry_of(client)
        if former is not None and former.revoked_at is not None:
            raise web.HTTPForbidden(reason="the client's certificate is revoked")
        try:
            csr = read_csr(await request.read())
            if operation == "simplereenroll":
                # RFC 7030 4.2.2: subject and names have to be the same
                if client is None:
                    raise web.HTTPForbidden(reason="renewal is for the holder of the certificate, by TLS")
                if former is None:
                    raise web.HTTPForbidden(reason="the client's certificate was not issued by this CA")
                if csr.subject != client.subject or _names(csr) != _names(client):
                    return web.Response(status=400, text="subject and names differ from those of the certificate\n")
                async with self._signing:
                    renewal = Renewal(request=csr)
                    await asyncio.to_thread(renew_certificate, self._directory, former.name, renewal, at=self._now())
                self._report("renewed", csr=csr, role=former.role)
                renewed = self._issued(former.name)
                assert renewed is not None
                return renewed
            number = enrolment_id(role, csr)
            name = f"est/{number}"
            if (issued := self._issued(name)) is not None:
                return issued
            if self._settings.approve and (waiting := self._decision(number, csr)) is not None:
                return waiting
            wanted = read_request(csr.public_bytes(Encoding.DER), role)
            order = CertificateOrder(
                role=role,
                name=name,
                common_name=wanted.common_name,
                organization=wanted.organization,
                country=wanted.country,
                hosts=wanted.hosts,
                request=csr,
            )
            async with self._signing:
                if self._issued(name) is None:  # else the same request has come twice at once
                    await asyncio.to_thread(issue_certificate, self._directory, order, at=self._now())
            self._report("issued", csr=csr, role=role)
            issued = self._issued(name)
            assert issued is not None
            return issued
        except (CertificateError, ConfigError) as error:
            self._report("refused", csr=None, role=role, reason=str(error)[:200])
            return web.Response(status=400, text=f"{error}\n")

    # -- what is known

    def _operation(self, request: web.Request) -> tuple[Role, str]:
        """Return role and operation of a path: `[LABEL/]OPERATION[/EDITION[/CURVE]]`."""
        first, _, rest = request.match_info["path"].partition("/")
        if (role := LABELS.get(first.rpartition("-")[2])) is not None:
            return role, rest.partition("/")[0]
        return self._settings.role, first

    def _is_known(self, authorization: str) -> bool:
        kind, _, coded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        right = self._settings.users.get(user, "")
        same = hmac.compare_digest(hashlib.sha256(password.encode()).digest(), hashlib.sha256(right.encode()).digest())
        return kind.lower() == "basic" and same and right != ""

    def _entry_of(self, certificate: x509.Certificate) -> IndexEntry | None:
        """Return the entry of a certificate that this tree has issued."""
        found = extension(certificate, x509.AuthorityKeyIdentifier)
        if found is None or found.value.key_identifier is None:
            return None
        try:
            entry = load_index(self._directory).find_serial(
                f"{certificate.serial_number:x}", found.value.key_identifier.hex()
            )
        except ConfigError:
            return None
        return entry if entry.subject == certificate.subject.rfc4514_string() else None

    def _issued(self, name: str) -> web.Response | None:
        """Return the certificate called `name` with those above it, None if there is none."""
        index = load_index(self._directory)
        try:
            entry = index.find(name)
        except ConfigError:
            return None
        if entry.revoked_at is not None:
            raise web.HTTPForbidden(reason="the certificate of this request is revoked: use a new key")
        return _answer(load_pem(self._directory / entry.file), *chain_above(self._directory, index, entry))

    def _decision(self, number: str, csr: x509.CertificateSigningRequest) -> web.Response | None:
        """Return the answer to a request that nobody has approved; note it if it is new."""
        file = self._directory / FOLDER / f"{number}{_WAITING}"
        if file.with_suffix(_APPROVED).exists():
            return None
        if file.with_suffix(_REJECTED).exists():
            raise web.HTTPForbidden(reason="the request was rejected")
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            write_whole(file, csr.public_bytes(Encoding.PEM))
            self._observe(Observe("pki", "enrolment_waits", {"id": number, "subject": _subject(csr)}))
        return web.Response(status=202, headers={"Retry-After": str(_RETRY_S)}, text="a person has to approve it\n")

    def _report(self, what: str, *, csr: x509.CertificateSigningRequest | None, role: Role, reason: str = "") -> None:
        subject = "" if csr is None else _subject(csr)
        self._observe(
            Observe("pki", "enrolment", {"what": what, "role": role.value, "subject": subject, "why": reason})
        )


def enrolment_id(role: Role, csr: x509.CertificateSigningRequest) -> str:
    """Return what a request is called in its tree: the same one always has the same name."""
    digest = hashlib.sha256(csr.public_bytes(Encoding.DER)).hexdigest()
    return f"{''.join(each for each in role.value if each.isalpha())}-{digest[:16]}"


def waiting(directory: Path) -> list[tuple[str, str]]:
    """Return the requests that wait for a decision: id and subject."""
    return [
        (file.stem, _subject(read_csr(file.read_bytes()))) for file in sorted((directory / FOLDER).glob(f"*{_WAITING}"))
    ]


def decide(directory: Path, number: str, *, approve: bool) -> None:
    """Approve or reject a request that waits. Raises ConfigError for an unknown one."""
    file = directory / FOLDER / f"{number}{_WAITING}"
    if not _ID.fullmatch(number) or not file.exists():
        raise ConfigError(f"no request {number} waits", hint=f"v2g pki approve {directory} lists them")
    file.rename(file.with_suffix(_APPROVED if approve else _REJECTED))


def tls_context(chain: Path, key: Path, client_roots: Sequence[Path]) -> ssl.SSLContext:
    """Return a server's context, which asks clients for certificates under some roots. Raises KeyAccessError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    show(context, chain, key)
    for each in client_roots:
        trust(context, each)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _answer(*certificates: x509.Certificate) -> web.Response:
    kind = f"{CERTIFICATES}; smime-type=certs-only"
    headers = {"Content-Type": kind, "Content-Transfer-Encoding": "base64"}
    return web.Response(body=write_certificates(certificates), headers=headers)


def _names(holder: x509.Certificate | x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _subject(csr: x509.CertificateSigningRequest) -> str:
    return csr.subject.rfc4514_string()[:200]
