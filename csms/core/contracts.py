"""Is a contract certificate believed? Chain, eMAID, revocation; questions to an OCSP responder go out as data.

`assess` decides as much as local knowledge allows and lists what a responder has to be asked (C07.FR.05);
`conclude` puts the answers to it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, cast

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from csms.core.authorize import Chain, normalise
from v2g.errors import CertificateError, RevocationError
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.certificates import chain_from_pem
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profiles import Role
from v2g.pki.verify import verify_chain

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """What is trusted: `roots` (DER), `issuers` below them, `crls`, and `revoked` serial numbers."""

    roots: tuple[bytes, ...]
    issuers: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    revoked: frozenset[int] = frozenset()
    interop: bool = False


class Question(msgspec.Struct, frozen=True):
    """Ask a responder `request` (DER OCSPRequest): is `serial` of `issuer` good?"""

    request: bytes
    serial: int
    issuer: x509.Certificate


class Verdict(msgspec.Struct, frozen=True):
    """What is known, why, and, as long as it is VALID, what remains to be asked."""

    chain: Chain
    reason: str = ""
    questions: tuple[Question, ...] = ()


def assess(
    emaid: str, pem: str | None, hash_data: Sequence[OCSPRequestData], anchors: Anchors, at: datetime
) -> Verdict:
    """Judge what a station sent for `emaid`: the chain, if it sent one, else the hash data about it. Never raises."""
    if pem is not None:
        return _assess_chain(emaid, pem, anchors, at)
    if hash_data:
        return _assess_hashes(hash_data, anchors)
    return Verdict(Chain.ABSENT, "no certificate was sent")


def conclude(verdict: Verdict, answers: Mapping[int, bytes | None], at: datetime, *, require_answer: bool) -> Verdict:
    """Return the verdict with the responder's `answers` (DER by serial number; None: there was none).

    `require_answer` is about the leaf; of its CAs only bad news counts, since few responders speak for them too.
    """
    if verdict.chain is not Chain.VALID:
        return verdict
    for place, question in enumerate(verdict.questions):
        try:
            check_ocsp(answers.get(question.serial) or b"", _named(question.serial), question.issuer, at)
        except RevocationError as error:
            if error.reason == "revoked":
                return Verdict(Chain.REVOKED, str(error))
            if require_answer and place == 0:
                return Verdict(Chain.BROKEN, str(error))
    return Verdict(Chain.VALID)


def _assess_chain(emaid: str, pem: str, anchors: Anchors, at: datetime) -> Verdict:
    try:
        leaf, *intermediates = chain_from_pem(pem.encode())
        verified = verify_chain(leaf, intermediates, anchors.roots, role=Role.CONTRACT, at=at, interop=anchors.interop)
        named = normalise("eMAID", verified.emaid)
    except CertificateError as error:
        return Verdict(Chain.EXPIRED if error.reason == "expired" else Chain.BROKEN, f"{error.reason}: {error}")
    if named != normalise("eMAID", emaid):
        return Verdict(Chain.BROKEN, f"the certificate is for {named}")
    path = (*verified.certificates, verified.anchor)
    questions = []
    for certificate, issuer in pairwise(path):
        if _is_revoked(certificate.serial_number, issuer, anchors):
            return Verdict(Chain.REVOKED, f"{certificate.subject.rfc4514_string()} is revoked")
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
        questions.append(Question(_der(request), certificate.serial_number, issuer))
    return Verdict(Chain.VALID, questions=tuple(questions))


def _assess_hashes(hash_data: Sequence[OCSPRequestData], anchors: Anchors) -> Verdict:
    """Judge a chain that the station verified itself (TC_C_50): issuers must be known, nothing may be revoked."""
    candidates = (*anchors.issuers, *(x509.load_der_x509_certificate(root) for root in anchors.roots))
    questions = []
    for data in hash_data:
        try:
            serial = int(data.serial_number, 16)
            request = (
                ocsp.OCSPRequestBuilder()
                .add_certificate_by_hash(
                    bytes.fromhex(data.issuer_name_hash),
                    bytes.fromhex(data.issuer_key_hash),
                    serial,
                    _HASHES[data.hash_algorithm],
                )
                .build()
            )
        except (ValueError, TypeError):
            return Verdict(Chain.BROKEN, "the hash data cannot be read")
        issuer = next((each for each in candidates if _is_issuer(each, request)), None)
        if issuer is None:
            return Verdict(Chain.BROKEN, f"certificate {data.serial_number} has an unknown issuer")
        if _is_revoked(serial, issuer, anchors):
            return Verdict(Chain.REVOKED, f"certificate {data.serial_number} is revoked")
        questions.append(Question(_der(request), serial, issuer))
    return Verdict(Chain.VALID, questions=tuple(questions))


def _is_issuer(certificate: x509.Certificate, request: ocsp.OCSPRequest) -> bool:
    """Say whether `certificate` is the issuer whose hashes `request` carries."""
    digest = hashes.Hash(request.hash_algorithm)
    digest.update(certificate.subject.public_bytes())
    keyed = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, request.hash_algorithm).build()
    found = digest.finalize(), keyed.issuer_key_hash
    return found == (request.issuer_name_hash, request.issuer_key_hash)


def _is_revoked(serial: int, issuer: x509.Certificate, anchors: Anchors) -> bool:
    if serial in anchors.revoked:
        return True
    return any(
        crl.issuer == issuer.subject
        and crl.get_revoked_certificate_by_serial_number(serial) is not None
        and _has_signed(issuer, crl)
        for crl in anchors.crls
    )


def _has_signed(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # other key types raise
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


class _Named(msgspec.Struct, frozen=True):
    serial_number: int


def _named(serial: int) -> x509.Certificate:
    """Stand in for a certificate that is known by its serial number only, which is all that OCSP names it by."""
    return cast(x509.Certificate, _Named(serial))


def _der(request: ocsp.OCSPRequest) -> bytes:
    return request.public_bytes(serialization.Encoding.DER)
