"""How messages of ISO 15118 name certificates."""

from v2g.iso15118.engine.xmldsig import X509IssuerSerial
from v2g.pki.certificates import load_certificate


def issuer_serial(certificate: bytes) -> X509IssuerSerial:
    """Return a certificate's (DER) issuer and serial number. Raises CertificateError."""
    found = load_certificate(certificate)
    return X509IssuerSerial(x509_issuer_name=found.issuer.rfc4514_string(), x509_serial_number=found.serial_number)
