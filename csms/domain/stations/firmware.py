"""Checks of firmware before it is sent: its certificate and signature, as far as the back end can.

Stations verify the chain and the signature over the image themselves (L01.FR.04, L01.FR.12).
"""

import base64
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from csms.domain.stations.campaigns import Image
from v2g.errors import RefusedError

_LEAST_RSA: Final = 2048
_LEAST_EC: Final = 224  # A00.FR.502, A00.FR.503


def check_image(image: Image, utc_ms: int) -> None:
    """Raise RefusedError for an invalid, expired or not yet valid certificate, or a missing signature."""
    if (image.signing_certificate is None) != (image.signature is None):
        raise RefusedError("certificate and signature go together", reason="firmware_signature")
    if image.signing_certificate is None or image.signature is None:
        return
    try:
        base64.b64decode(image.signature, validate=True)
    except ValueError:  # not base64, or not even ASCII
        raise RefusedError("the signature is not base64", reason="firmware_signature") from None
    try:
        certificate = x509.load_pem_x509_certificate(image.signing_certificate.encode())
        key = certificate.public_key()
    except ValueError:
        raise RefusedError("the signing certificate is not valid PEM", reason="firmware_certificate") from None
    now = datetime.fromtimestamp(utc_ms / 1000, UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise RefusedError(
            f"the signing certificate is valid from {certificate.not_valid_before_utc} "
            f"to {certificate.not_valid_after_utc}",
            reason="firmware_certificate",
            hint="stations would answer InvalidCertificate",
        )
    strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= _LEAST_EC
    )
    if not strong:
        raise RefusedError(
            "the key of the signing certificate is too weak, or of a type that OCPP does not allow",
            reason="firmware_certificate",
        )
