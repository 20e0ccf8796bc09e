"""Public keys of meters, as stations print them."""

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def printed_public_key(key: ec.EllipticCurvePublicKey) -> str:
    """Return OCPP's `publicKey`: base64 of `oca:base16:asn1:<hex DER>`."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(b"oca:base16:asn1:" + der.hex().encode()).decode()
