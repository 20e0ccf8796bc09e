"""Certificate signing requests (PKCS #10): parsing, and check of the key for a role."""

import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from v2g.errors import CertificateError
from v2g.pki.certificates import key_kind
from v2g.pki.issue import CertifiedKey
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import profile_of

_MAX_BYTES: Final = 16 * 1024
_X509_ERRORS: Final = (x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def load_csr(data: bytes) -> x509.CertificateSigningRequest:
    """Return the request in PEM text or DER, with valid proof of possession of its key.

    Raises CertificateError: malformed or bad_signature.
    """
    if len(data) > _MAX_BYTES:
        raise CertificateError(f"certificate request of {len(data)} bytes", reason="malformed")
    load = x509.load_pem_x509_csr if b"-----BEGIN" in data else x509.load_der_x509_csr
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            csr = load(data)
            _ = csr.public_key(), csr.subject.rfc4514_string(), tuple(csr.extensions)
            proven = csr.is_signature_valid
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, *_X509_ERRORS) as error:
        raise CertificateError(f"not a certificate request: {error}", reason="malformed") from None
    if not proven:
        raise CertificateError("the certificate request is not signed by its own key", reason="bad_signature")
    return csr


def requested_key(
    csr: x509.CertificateSigningRequest,
    role: Role,
    generation: Generation = Generation.ISO15118_20,
    *,
    interop: bool = False,
) -> CertifiedKey:
    """Return the key of a request, if the profile of `role` allows it. Raises CertificateError(wrong_curve)."""
    key = csr.public_key()
    kind = key_kind(key)
    allowed = kind in profile_of(role, generation).key_kinds or (interop and kind is KeyKind.SECP256R1)
    if allowed and isinstance(key, ec.EllipticCurvePublicKey | ed448.Ed448PublicKey | rsa.RSAPublicKey):
        return key
    raise CertificateError(
        f"a {role.value} certificate cannot have a key of kind {kind.value if kind else 'unknown'}",
        reason="wrong_curve",
        hint=f"use {', '.join(sorted(each.value for each in profile_of(role, generation).key_kinds))}",
    )
