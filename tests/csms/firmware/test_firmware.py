"""Signed firmware: what stations would refuse for sure is not sent."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from csms.firmware.rules import Image, check_image
from tests.together import together
from v2g.errors import RefusedError

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)
YEAR_MS = 365 * 86_400_000


def certificate(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """Return a certificate of a year, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGIN, BEGIN + timedelta(days=365))
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


GOOD = certificate(ec.generate_private_key(ec.SECP256R1()))


def image(signing_certificate: str | None = GOOD, signature: str | None = "c2ln") -> Image:
    return Image(location="https://fw.example/1", signing_certificate=signing_certificate, signature=signature)


def test_signed_firmware_in_its_time_and_unsigned_firmware_may_be_sent() -> None:
    check_image(image(), NOW)
    check_image(image(None, None), NOW)


@pytest.mark.parametrize("at_ms", [NOW - YEAR_MS, NOW + YEAR_MS])
def test_a_certificate_out_of_its_time_is_refused(at_ms: int) -> None:
    with pytest.raises(RefusedError, match="valid from"):
        check_image(image(), at_ms)


def test_a_certificate_is_valid_from_its_first_to_its_last_second() -> None:
    begin_ms = int(BEGIN.timestamp() * 1000)
    for at_ms in (begin_ms, begin_ms + YEAR_MS):
        check_image(image(), at_ms)
    for at_ms in (begin_ms - 1, begin_ms + YEAR_MS + 1):
        with pytest.raises(RefusedError) as refused:
            check_image(image(), at_ms)
        assert refused.value.reason == "firmware_certificate"


@together(
    "bad",
    [image(None), image(signature=None), image(signature="no base64!"), image(signature="𰆛"), image("PEM"), image("")],
)
def test_half_a_signature_is_none(bad: Image) -> None:
    with pytest.raises(RefusedError):
        check_image(bad, NOW)


def test_a_key_that_stations_cannot_use_is_refused() -> None:
    with pytest.raises(RefusedError, match="weak"):
        check_image(image(certificate(ed25519.Ed25519PrivateKey.generate())), NOW)
