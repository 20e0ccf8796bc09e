"""Certification authorities of the tester: one for a case, whose root a station may install, or that of a file."""

import secrets
import ssl
import tempfile
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from v2g.errors import KeyAccessError
from v2g.io.tls.files import server_context
from v2g.ocpp.times import parse_time
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.issue import CertifiedKey, Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import PrivateKey, load_private_key, private_pem, save_secret
from v2g.pki.ocsp import make_response, ocsp_request_data
from v2g.pki.profile import Generation, Role
from v2g_testkit.ocpp.case import Payload

_DAY: Final = timedelta(days=1)
_ROLES: Final = {
    "CSMSRootCertificate": (Role.CSMS_ROOT, None),
    "ManufacturerRootCertificate": (Role.CSMS_ROOT, None),
    "V2GRootCertificate": (Role.V2G_ROOT, "V2G"),
    "MORootCertificate": (Role.MO_ROOT, "MO"),
}
"""Role and DC of a root, by InstallCertificateUseEnumType; firmware has no profile of its own."""
_ORGANIZATION: Final = "V2G conformance"


class Root:
    """A root certificate."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self._root = certificate

    @classmethod
    def read(cls, path: Path) -> "Root":
        """Return the root in a file, PEM. Raises KeyAccessError."""
        return cls(_certificate(path))

    @property
    def pem(self) -> str:
        """The root."""
        return _pem(self._root)

    def hash_data(self, algorithm: str = "SHA256") -> Payload:
        """Return CertificateHashDataType of the root; `algorithm` is SHA256, SHA384 or SHA512 (else KeyError)."""
        return self._names(self._root, algorithm)

    def _names(self, certificate: x509.Certificate, algorithm: str) -> Payload:
        data = ocsp_request_data(certificate, self._root, algorithm)
        return {
            "hashAlgorithm": algorithm,
            "issuerNameHash": data.issuer_name_hash,
            "issuerKeyHash": data.issuer_key_hash,
            "serialNumber": data.serial_number,
        }

    def is_named_by(self, data: Payload) -> bool:
        """Return whether CertificateHashDataType names the root; hexadecimal is compared without case."""
        own = self.hash_data(data["hashAlgorithm"])
        return {key: str(data.get(key)).lower() for key in own} == {key: value.lower() for key, value in own.items()}


class Authority(Root):
    """An authority with a root of a kind, valid from the day before `now` (a time of OCPP) to `last_day` after it.

    `files`: root and key (mode 0600) of an authority that exists, PEM. Raises KeyAccessError if they are unusable.
    """

    def __init__(self, use: str, now: str, *, last_day: int = 30, files: tuple[Path, Path] | None = None) -> None:
        role, domain = _ROLES[use]
        self.use = use
        self._now = datetime.fromtimestamp(parse_time(now) // 1000, UTC)
        self._key: PrivateKey
        if files is not None:
            root, self._key = _read(*files)
            super().__init__(root)
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = Subject(common_name="V2G conformance root", organization=_ORGANIZATION, country="DE", domain=domain)
        super().__init__(self._issue(role, name, self._key.public_key(), Issuer(None, self._key), last_day))

    def _issue(
        self,
        role: Role,
        name: Subject,
        key: CertifiedKey,
        issuer: Issuer,
        last_day: int,
        hosts: Sequence[str] = (),
        responder: str | None = None,
    ) -> x509.Certificate:
        last = self._now + last_day * _DAY
        request = IssueRequest(
            role=role,
            subject=name,
            public_key=key,
            serial=secrets.randbits(120) + 1,
            not_before=min(self._now, last) - _DAY,
            not_after=last,
            hosts=tuple(map(_host, hosts)),
            ocsp_url=responder,
            generation=Generation.ISO15118_2,
        )
        return issue(request, issuer)

    @property
    def _issuer(self) -> Issuer:
        return Issuer(self._root, self._key)

    def leaf(self) -> str:
        """Return a new certificate below the root, PEM; its key is not kept."""
        return self.signer().pem

    def signer(self) -> "Signer":
        """Return a new certificate below the root with its key: of firmware."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = Subject(common_name=_ORGANIZATION, organization=_ORGANIZATION, country="DE")
        return Signer(_pem(self._issue(Role.STATION, name, key.public_key(), self._issuer, 30)), key)

    def signed(self, csr: str, *, last_day: int = 30) -> str:
        """Return the certificate of a station's request (PEM), PEM. Raises ValueError for what is no request."""
        name, key = _requested(csr)
        return _pem(self._issue(Role.STATION, name, key, self._issuer, last_day))

    def chain(self, csr: str, responder: str) -> "Chain":
        """Return the chain of a station's request (PEM) for its V2G certificate, with a sub-CA; both name an OCSP
        responder. Raises ValueError for what is no request."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = Subject(common_name="V2G conformance sub-CA", organization=_ORGANIZATION, country="DE", domain="V2G")
        sub = self._issue(Role.CPO_SUB2, name, key.public_key(), self._issuer, 30, responder=responder)
        name, own = _requested(csr)
        leaf = self._issue(Role.SECC, name, own, Issuer(sub, key), 30, responder=responder)
        return Chain(((leaf, Issuer(sub, key)), (sub, self._issuer)), self._now)

    def server(self, host: str, *, last_day: int = 30, clients: "Authority | None" = None) -> ssl.SSLContext:
        """Return the TLS context of a back end with this name or address, whose certificate is below the root.

        `clients`: the authority of the stations' certificates, which they then must show (security profile 3).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = Subject(common_name=host, organization=_ORGANIZATION, country="DE")
        leaf = self._issue(Role.CSMS_SERVER, name, key.public_key(), self._issuer, last_day, (host,))
        with tempfile.TemporaryDirectory() as folder:
            chain, secret, root = (Path(folder) / each for each in ("chain.pem", "key.pem", "root.pem"))
            chain.write_text(_pem(leaf))
            save_secret(secret, private_pem(key))
            if clients is not None:
                root.write_text(clients.pem)
            return server_context(chain, secret, (root,) if clients is not None else ())

    def names(self, leaf: bytes) -> Payload:
        """Return CertificateHashDataType of a certificate that it has signed, DER."""
        return self._names(x509.load_der_x509_certificate(leaf), "SHA256")


class Chain:
    """Certificates, leaf first, each with its issuer, which answers about it at a time."""

    def __init__(self, certificates: Sequence[tuple[x509.Certificate, Issuer]], now: datetime) -> None:
        self._certificates, self._now = certificates, now

    @property
    def pem(self) -> str:
        """The certificates."""
        return "".join(_pem(each) for each, _ in self._certificates)

    @property
    def serials(self) -> list[int]:
        """Their serial numbers."""
        return [each.serial_number for each, _ in self._certificates]

    def status(self, serial: int) -> bytes:
        """Return the OCSP response that one of them is good, DER. Raises LookupError."""
        for each, issuer in self._certificates:
            if each.serial_number == serial and issuer.certificate is not None:
                return make_response(each, issuer.certificate, issuer, at=self._now)
        raise LookupError(f"no certificate {serial:x}")


class SigningRequest:
    """A station's request for a certificate, of a new key (A02).

    `like`: the chain of the station, whose organization and country it names, too (A00.FR.404). Raises
    CertificateError(malformed).
    """

    def __init__(self, common_name: str, like: Path | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        present = () if like is None else load_certificate(load_chain(like)[0]).subject
        others = (each for each in present if each.oid != NameOID.COMMON_NAME)
        name = x509.Name([*others, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._key, hashes.SHA256())
        self.pem = request.public_bytes(Encoding.PEM).decode()

    def is_of(self, certificate: x509.Certificate) -> bool:
        """Return whether a certificate is of the request's key."""
        return certificate.public_key() == self._key.public_key()

    def save(self, folder: Path, chain: str) -> tuple[Path, Path]:
        """Write a chain for the request's key, and the key, to a folder; return the files."""
        files = folder / "chain.pem", folder / "key.pem"
        files[0].write_text(chain)
        save_secret(files[1], private_pem(self._key))
        return files


class Signer:
    """A certificate (PEM) with its key."""

    def __init__(self, pem: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.pem = pem
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """Return the signature of data: ECDSA with SHA-256."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context speak nothing newer than TLS 1.1; return it."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that is what it is for
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _read(root: Path, key: Path) -> tuple[x509.Certificate, PrivateKey]:
    secret, certificate = load_private_key(key), _certificate(root)
    if certificate.public_key() != secret.public_key():
        raise KeyAccessError(f"{key} is not the key of {root}", hint="give the key of the root")
    return certificate, secret


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyAccessError(f"{path} is not usable: {error}", hint="a root in PEM") from None


def is_certificate(text: str) -> bool:
    """Return whether a text is a certificate in PEM."""
    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return False
    return True


def _requested(csr: str) -> tuple[Subject, CertifiedKey]:
    """Return the subject and the key of a request, PEM. Raises ValueError for what is none."""
    request = x509.load_pem_x509_csr(csr.encode())
    names = {each.oid: str(each.value) for each in request.subject}
    subject = Subject(
        common_name=names.get(NameOID.COMMON_NAME, ""),
        organization=names.get(NameOID.ORGANIZATION_NAME),
        domain=names.get(NameOID.DOMAIN_COMPONENT),
    )
    return subject, request.public_key()  # type: ignore[return-value]


def _host(host: str) -> str | IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        return host


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
