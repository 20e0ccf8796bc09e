"""A manufacturer's signatures of firmware, and what a charger reports of it."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.secc.backend import Backend


def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> str:
    """Return a certificate in PEM; one that has signed itself is an authority."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    )
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


async def reported(csms: Backend, *statuses: str) -> None:
    """Wait until the CSMS has received these, in this order."""
    await csms.wait("FirmwareStatusNotification", len(statuses))
    assert tuple(each["status"] for each in csms.all("FirmwareStatusNotification")) == statuses
