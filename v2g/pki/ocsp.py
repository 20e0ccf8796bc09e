"""OCSP (RFC 6960): creation and verification of a responder's answers, and the hash data of OCPP."""

import functools
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from v2g.errors import CertificateError, RevocationError
from v2g.pki.certificates import CLOCK_SKEW, extensions_of
from v2g.pki.conformity import check_profile
from v2g.pki.issue import Issuer, signature_hash
from v2g.pki.paths import signature_matches
from v2g.pki.profile import STAPLE_DAYS, Role

_OPEN_ENDED: Final = timedelta(hours=1)
"""How long an answer without nextUpdate counts: a newer one is always available then (RFC 6960 4.2.2.1)."""

_MAX_RESPONSE_BYTES: Final = 16 * 1024
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}
SIGNATURE_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
"""Hashes by which an answer or a list may be signed."""


class OcspRequestData(msgspec.Struct, frozen=True):
    """OCPP's OCSPRequestDataType; hashes and serial number in hexadecimal."""

    hash_algorithm: str  # SHA256, SHA384 or SHA512
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str  # without leading zeroes
    responder_url: str  # empty if the certificate has none


def ocsp_request_data(
    certificate: x509.Certificate, issuer: x509.Certificate, hash_algorithm: str = "SHA256"
) -> OcspRequestData:
    """Return the hashes by which a back end asks a responder about `certificate` (OCPP 2.0.1 part 2, 2.36).

    `hash_algorithm` is SHA256, SHA384 or SHA512; KeyError otherwise.
    """
    algorithm = _HASHES[hash_algorithm]
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm).build()
    return OcspRequestData(
        hash_algorithm=hash_algorithm,
        issuer_name_hash=request.issuer_name_hash.hex(),
        issuer_key_hash=request.issuer_key_hash.hex(),
        serial_number=f"{certificate.serial_number:x}",
        responder_url=responder_url(certificate),
    )


def responder_url(certificate: x509.Certificate) -> str:
    """Return the first OCSP responder in a certificate, or an empty string."""
    try:
        access = extensions_of(certificate).get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ""
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            return location.value
    return ""


def make_response(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    responder: Issuer,
    *,
    at: datetime,
    validity: timedelta = timedelta(days=STAPLE_DAYS),
    revoked_at: datetime | None = None,
) -> bytes:
    """Return a DER OCSP response about `certificate`, valid from `at` for `validity` (at most a week, V2G20-1021).

    `responder` is the issuing CA itself (certificate None or equal to `issuer`) or its delegated OCSP responder,
    whose certificate is then included in the answer.
    """
    if validity > timedelta(days=STAPLE_DAYS):
        raise ValueError(f"an OCSP answer is valid for at most {STAPLE_DAYS} days")
    signer = responder.certificate or issuer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=certificate,
            issuer=issuer,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD if revoked_at is None else ocsp.OCSPCertStatus.REVOKED,
            this_update=at,
            next_update=at + validity,
            revocation_time=revoked_at,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
    )
    if signer != issuer:
        builder = builder.certificates([signer])
    return builder.sign(responder.key, signature_hash(responder.key)).public_bytes(serialization.Encoding.DER)


def check_ocsp(
    response_der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime, *, asked: bool = False
) -> None:
    """Verify a responder's answer about `certificate` at `at`; on return it is good.

    Checked: form, signer (the issuer or a responder it delegated), signature, certID, validity, status. An answer that
    a peer presents is valid for at most a week (V2G20-1021); one that the responder was `asked` for until its
    nextUpdate, or for an hour without one. Raises RevocationError with its reason.
    """
    if not response_der:
        raise RevocationError("no OCSP answer", reason="missing")
    if len(response_der) > _MAX_RESPONSE_BYTES:
        raise RevocationError(f"OCSP answer has {len(response_der)} bytes", reason="malformed")
    response = _parsed(response_der)
    signer = _signer(response, issuer, at)
    _check_signature(response, signer)
    answers = list(response.responses)
    for answer in answers:
        if _is_about(answer, certificate, issuer):
            if answer.certificate_status is ocsp.OCSPCertStatus.REVOKED:
                raise RevocationError(f"certificate was revoked at {answer.revocation_time_utc}", reason="revoked")
            if answer.certificate_status is not ocsp.OCSPCertStatus.GOOD:
                raise RevocationError("the OCSP responder does not know the certificate", reason="unknown")
            if answer.this_update_utc > at + CLOCK_SKEW:
                raise RevocationError(f"OCSP answer is from {answer.this_update_utc}", reason="not_yet_valid")
            until = answer.next_update_utc
            if until is None and not asked:
                raise RevocationError("OCSP answer has no nextUpdate", reason="malformed")
            until = until or answer.this_update_utc + _OPEN_ENDED
            if not asked and until - answer.this_update_utc > timedelta(days=STAPLE_DAYS):
                raise RevocationError(f"OCSP answer is valid for more than {STAPLE_DAYS} days", reason="malformed")
            if until < at:
                raise RevocationError(
                    f"OCSP answer expired at {until}", reason="expired", hint="fetch a new answer from the responder"
                )
            return
    raise RevocationError("the OCSP answer covers another certificate", reason="wrong_certificate")


@functools.lru_cache(maxsize=16)  # a charger staples the same answer in each handshake, for a week
def _parsed(response_der: bytes) -> ocsp.OCSPResponse:
    try:
        response = ocsp.load_der_ocsp_response(response_der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise RevocationError(f"OCSP responder answered {response.response_status.name}", reason="refused")
        # Everything used later is parsed here once, so that only this function can meet bad encodings.
        _ = response.certificates, response.responder_key_hash, response.responder_name
        _ = response.signature_hash_algorithm, response.signature, response.tbs_response_bytes
        for answer in response.responses:
            _ = answer.certificate_status, answer.this_update_utc, answer.next_update_utc, answer.hash_algorithm
            _ = answer.revocation_time_utc
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as error:
        raise RevocationError(f"not an OCSP answer: {error}", reason="malformed") from None
    return response


def _key_hash(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> bytes:
    """Return the hash over the public key's BIT STRING value (RFC 6960 4.1.1)."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    elif isinstance(key, ed448.Ed448PublicKey):
        bits = key.public_bytes_raw()
    elif isinstance(key, rsa.RSAPublicKey):
        bits = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    else:
        raise RevocationError("issuer has a kind of key that ISO 15118 does not allow", reason="bad_signature")
    digest = hashes.Hash(algorithm)
    digest.update(bits)
    return digest.finalize()


def _matches_responder(certificate: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    if response.responder_key_hash is not None:
        return _key_hash(certificate, hashes.SHA1()) == response.responder_key_hash  # noqa: S303 - RFC 6960 names it
    return certificate.subject == response.responder_name


def _signer(response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime) -> x509.Certificate:
    """Return the certificate of the responder, if it is authorised by `issuer` (RFC 6960 4.2.2.2)."""
    if _matches_responder(issuer, response):
        return issuer
    for candidate in response.certificates:
        try:
            if not _matches_responder(candidate, response) or not signature_matches(issuer, candidate):
                continue
            check_profile(candidate, Role.OCSP_RESPONDER, interop=True)
            usage = extensions_of(candidate).get_extension_for_class(x509.ExtendedKeyUsage).value
            valid = candidate.not_valid_before_utc <= at <= candidate.not_valid_after_utc
        except (
            ValueError,
            TypeError,
            UnsupportedAlgorithm,
            CertificateError,
            x509.ExtensionNotFound,
            x509.DuplicateExtension,
        ):
            continue
        if ExtendedKeyUsageOID.OCSP_SIGNING in usage and valid:
            return candidate
    raise RevocationError("the OCSP answer is not signed by the issuer or its responder", reason="bad_signature")


@functools.lru_cache(maxsize=16)  # of `_parsed`; refusals are not kept
def _check_signature(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    signature, data = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ed448.Ed448PublicKey):
            key.verify(signature, data)
        elif not isinstance(algorithm, SIGNATURE_HASHES):
            raise RevocationError("the OCSP answer is signed with a weak hash", reason="bad_signature")
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        else:
            raise RevocationError("the OCSP answer is signed with an unknown kind of key", reason="bad_signature")
    except InvalidSignature:
        raise RevocationError("the signature of the OCSP answer does not match", reason="bad_signature") from None


def _is_about(answer: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if answer.serial_number != certificate.serial_number:
        return False
    digest = hashes.Hash(answer.hash_algorithm)
    digest.update(issuer.subject.public_bytes())
    return answer.issuer_name_hash == digest.finalize() and answer.issuer_key_hash == _key_hash(
        issuer, answer.hash_algorithm
    )
