"""Signing and opening the messages of signed discharge."""

import hashlib
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec, ed448

from v2g.asn1 import discharge
from v2g.errors import Asn1Error, CertificateError, RefusedError, SignatureError
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PublicKey, SigningKey, algorithm_of, verify_signature


class Party:
    """A trusted signer: the public key of one certificate that was validated before."""

    def __init__(self, certificate: bytes, public_key: PublicKey) -> None:
        self.fingerprint = hashlib.sha256(certificate).digest()
        self.public_key = public_key

    @classmethod
    def of(cls, certificate: bytes) -> Self:
        """Return the party of a certificate (DER), whose chain the caller has validated. Raises CertificateError."""
        key = load_certificate(certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey | ed448.Ed448PublicKey):
            raise CertificateError("the certificate's key is neither EC nor Ed448", reason="bad_profile")
        return cls(certificate, key)


def sign_content(content: discharge.DischargeContent, key: SigningKey, fingerprint: bytes) -> bytes:
    """Return the frame payload (DER SignedMessage) of `content`; `fingerprint` is SHA-256 of the key's certificate.

    Raises Asn1Error if a field is outside its declared range.
    """
    data = discharge.encode_content(content)
    message = discharge.SignedMessage(
        content=data,
        signer=fingerprint,
        algorithm=discharge.SignatureAlgorithm(key.algorithm.value),
        signature=key.sign(data),
    )
    return discharge.encode_signed(message)


def open_signed(payload: bytes, party: Party) -> discharge.DischargeContent:
    """Return what `party` signed. Raises RefusedError with reason `malformed`, `unknown_signer` or `bad_signature`."""
    try:
        message = discharge.decode_signed(payload)
    except Asn1Error as error:
        raise _refused(str(error), discharge.ResultStatus.MALFORMED) from None
    if message.signer != party.fingerprint:
        raise _refused(f"signed by certificate {message.signer.hex()[:16]}", discharge.ResultStatus.UNKNOWN_SIGNER)
    try:
        if message.algorithm.value != algorithm_of(party.public_key).value:
            raise SignatureError(f"{message.algorithm.value} is not the algorithm of this key")
        verify_signature(party.public_key, message.content, message.signature)
    except SignatureError as error:
        raise _refused(str(error), discharge.ResultStatus.BAD_SIGNATURE) from None
    try:
        return discharge.decode_content(message.content)
    except Asn1Error as error:
        raise _refused(str(error), discharge.ResultStatus.MALFORMED) from None


def terms_hash(payload: bytes) -> bytes:
    """Return the 64 bytes by which decision and commands refer to an offer: SHA-512 of its signed form."""
    return hashlib.sha512(payload).digest()


def _refused(message: str, status: discharge.ResultStatus) -> RefusedError:
    return RefusedError(message, reason=status.value)
