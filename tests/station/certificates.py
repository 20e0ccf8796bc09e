"""Certificates that a station is given."""

import datetime
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from tests.station.bench import START_MS, Bench

NOW = datetime.datetime.fromtimestamp(START_MS / 1000, datetime.UTC)
DAY = datetime.timedelta(days=1)


class Authority:
    """A certification authority."""

    def __init__(self, name: str, issuer: "Authority | None" = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        parent = issuer or self
        self.certificate = self.sign(self.name, self.key.public_key(), by=parent, ca=True)

    def sign(
        self,
        name: x509.Name,
        key: Any,
        *,
        by: "Authority | None" = None,
        ca: bool = False,
        days: int = 30,
        begin: datetime.datetime = NOW - DAY * 40,
        responder: str | bytes = "",
        path_length: int | None = None,
        extensions: Iterable[x509.ExtensionType] = (),
        critical: bool = False,
    ) -> x509.Certificate:
        """Sign a key."""
        parent = by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(parent.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(NOW + DAY * days)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        )
        for each in extensions:
            builder = builder.add_extension(each, critical=critical)
        if isinstance(responder, bytes):
            unreadable = x509.UnrecognizedExtension(x509.AuthorityInformationAccess.oid, responder)
            builder = builder.add_extension(unreadable, critical=False)
        elif responder:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        return builder.sign(parent.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """Its certificate."""
        return pem(self.certificate)


def key_usage(*bits: str) -> x509.KeyUsage:
    """Return a key usage of these bits, named as `cryptography` names them."""
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{each: each in bits for each in names})


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


ROOT = Authority("Root")


def install(found: Bench, use: str = "CSMSRootCertificate", text: str | None = None) -> str:
    """Install a root."""
    status: str = found.ask("InstallCertificate", certificateType=use, certificate=text or ROOT.pem)["status"]
    return status
