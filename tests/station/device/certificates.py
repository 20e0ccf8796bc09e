"""What several tests of certificates use."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


def text(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)
