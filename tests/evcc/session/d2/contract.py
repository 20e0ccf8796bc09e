"""What several tests of contract use."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from evcc.session.contracts import Contract
from v2g.iso15118.d2.messages import data_types as types
from v2g.pki.keys import SoftwareKey

CONTRACT, EXTERNAL = types.PaymentOption.Contract, types.PaymentOption.ExternalPayment


def certificate(name: str, key: ec.EllipticCurvePrivateKey, *, days: int = 365) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2023, 11, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=days))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


KEY, SUB_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
OWN = Contract(
    (certificate("DEABCC123456789", KEY), certificate("MO Sub 2", SUB_KEY), certificate("MO Sub 1", SUB_KEY)),
    SoftwareKey(KEY),
)
