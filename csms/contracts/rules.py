"""Verification of contract certificates: chain, eMAID, revocation; questions to OCSP responders are returned as data.

`assess` decides with local knowledge and lists the questions for responders (C07.FR.05);
`conclude` adds their answers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import unquote, urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from csms.tokens.rules import ChainVerdict, normalise
from v2g.errors import CertificateError, RevocationError
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.ocpp.messages.base import CertificateHashData, OCSPRequestData
from v2g.ocpp.routes import Version
from v2g.pki.certificates import chain_from_pem, key_kind, load_certificate
from v2g.pki.crl import RevocationList, check_serial, is_listed, load_crl
from v2g.pki.ocsp import check_ocsp, responder_url
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import generation_of
from v2g.pki.reference import KeyReference
from v2g.pki.revocation import RevocationEvidence, RevocationPolicy, decide_revocation
from v2g.pki.verify import NOTHING_SEEN, Serials, VerifiedChain, verify_chain

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


LONGEST: Final[Mapping[Version, int]] = {"2.0.1": 7500, "2.1": 17_000}
"""Maximum length of exiResponse (Get15118EVCertificate)."""


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """Trust anchors: `roots` and `crosses` (DER), `issuers` below them, `crls`, and `revoked` serial numbers."""

    roots: tuple[bytes, ...]
    crosses: tuple[bytes, ...] = ()
    issuers: tuple[x509.Certificate, ...] = ()
    crls: tuple[RevocationList, ...] = ()
    revoked: frozenset[int] = frozenset()
    interop: bool = False


class Question(msgspec.Struct, frozen=True):
    """A question for a responder, `request` (DER OCSPRequest): is `serial` of `issuer` good?

    `places`: URLs of responders in the certificate, or from the station; whether they may be used is decided
    elsewhere.
    """

    request: bytes
    serial: int
    issuer: x509.Certificate
    places: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """A verdict, its reason, and, while VALID, the questions left. `path` is None for hash data.

    `unproven`: why the leaf's revocation status is unknown; empty if known.
    """

    chain: ChainVerdict
    reason: str = ""
    questions: tuple[Question, ...] = ()
    path: VerifiedChain | None = None
    unproven: str = ""


def assess(
    emaid: str,
    pem: str | None,
    hash_data: Sequence[OCSPRequestData],
    anchors: Anchors,
    at: datetime,
    *,
    seen: Serials = NOTHING_SEEN,
) -> Verdict:
    """Verify a station's data for `emaid`: the chain, if present, else its hash data. Never raises.

    `seen` are the serial numbers of chains that were valid before.
    """
    if pem is not None:
        return _assess_chain(emaid, pem, anchors, at, seen)
    if hash_data:
        # check a chain that the station verified itself (TC_C_50): known issuers, no revocation
        questions = []
        for data in hash_data:
            try:
                question = question_about(data, anchors)
            except CertificateError as error:
                return Verdict(ChainVerdict.BROKEN, str(error))
            if _is_revoked(question.serial, question.issuer, anchors):
                return Verdict(ChainVerdict.REVOKED, f"revoked: certificate {data.serial_number}")
            questions.append(question)
        return Verdict(ChainVerdict.VALID, questions=tuple(questions))
    return Verdict(ChainVerdict.ABSENT, "no certificate was sent")


def conclude(
    verdict: Verdict, answers: Mapping[bytes, bytes | None], anchors: Anchors, at: datetime, *, accept_unknown: bool
) -> Verdict:
    """Return the verdict with the responders' `answers` (DER by request; None: no answer) (C07.FR.05).

    A leaf whose revocation status is unknown is VALID with `accept_unknown`, else BROKEN
    (C07.FR.17). For CAs only a revocation counts, since few responders cover them.
    """
    if verdict.chain is not ChainVerdict.VALID:
        return verdict
    unproven = ""
    if verdict.path is not None:
        given = {
            place: (answer,)
            for place, question in enumerate(verdict.questions)
            if (answer := answers.get(question.request))
        }
        evidence = RevocationEvidence(ocsp=given, crls=anchors.crls)
        leaf, *authorities = decide_revocation(verdict.path, evidence, at=at, policy=RevocationPolicy()).findings
        for finding in (leaf, *authorities):
            if finding.reason == "revoked":
                return Verdict(ChainVerdict.REVOKED, f"revoked: {finding.message}")
        if leaf.reason is not None:
            unproven = f"{leaf.reason}: {leaf.message}"
    for place, question in enumerate(verdict.questions if verdict.path is None else ()):
        try:
            check_answer(question, answers.get(question.request) or b"", at)
        except RevocationError as error:
            if error.reason == "revoked":
                return Verdict(ChainVerdict.REVOKED, f"revoked: {error}")
            if place == 0 and not _is_cleared(question, anchors, at):
                unproven = f"{error.reason}: {error}"
    if unproven and not accept_unknown:
        return Verdict(ChainVerdict.BROKEN, unproven, unproven=unproven)
    return msgspec.structs.replace(verdict, unproven=unproven) if unproven else verdict


def _is_cleared(question: Question, anchors: Anchors, at: datetime) -> bool:
    """Return whether a revocation list covers a certificate identified by its number."""
    for crl in anchors.crls:
        try:
            check_serial(crl, question.serial, question.issuer, at)
        except RevocationError:
            continue
        return True
    return False


def _assess_chain(emaid: str, pem: str, anchors: Anchors, at: datetime, seen: Serials) -> Verdict:
    try:
        leaf, *intermediates = chain_from_pem(pem.encode())
        kind = key_kind(load_certificate(leaf))
        verified = verify_chain(
            leaf,
            intermediates,
            anchors.roots,
            role=Role.CONTRACT,
            at=at,
            interop=anchors.interop,
            generation=Generation.ISO15118_20 if anchors.interop else generation_of(kind),
            crosses=anchors.crosses,
            seen=seen,
        )
        named = normalise("eMAID", verified.emaid)
    except CertificateError as error:
        return Verdict(
            ChainVerdict.EXPIRED if error.reason == "expired" else ChainVerdict.BROKEN, f"{error.reason}: {error}"
        )
    if named != normalise("eMAID", emaid):
        return Verdict(ChainVerdict.BROKEN, f"the certificate is for {named}")
    try:
        questions = questions_about(verified, anchors)
    except RevocationError as error:
        return Verdict(ChainVerdict.REVOKED, f"revoked: {error}")
    return Verdict(ChainVerdict.VALID, questions=questions, path=verified)


def charger_fault(chain: Sequence[bytes], anchors: Anchors, at: datetime) -> str:
    """Return why a charger's chain (DER, leaf first) leads to no trusted root; empty if it does.

    Journals may arrive late: a leaf that has expired meanwhile is judged as of its last moment.
    """
    leaf, *authorities = chain
    try:
        certificate = load_certificate(leaf)
        path = verify_chain(
            leaf,
            authorities,
            anchors.roots,
            role=Role.SECC,
            at=min(at, certificate.not_valid_after_utc),
            interop=anchors.interop or key_kind(certificate) is KeyKind.SECP256R1,
            crosses=anchors.crosses,
        )
        questions_about(path, anchors)
    except (CertificateError, RevocationError) as error:
        return f"{error.reason}: {error}"
    return ""


def questions_about(path: VerifiedChain, anchors: Anchors) -> tuple[Question, ...]:
    """Return the questions for responders about a chain, leaf first.

    Raises RevocationError for a certificate that is known to be revoked.
    """
    questions = []
    for certificate, issuer in pairwise((*path.certificates, path.anchor)):
        if _is_revoked(certificate.serial_number, issuer, anchors):
            raise RevocationError(certificate.subject.rfc4514_string(), reason="revoked")
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
        questions.append(
            Question(_der(request), certificate.serial_number, issuer, _named_at(responder_url(certificate)))
        )
    return tuple(questions)


def check_answer(question: Question, answer: bytes, at: datetime) -> None:
    """Check that a responder's answer confirms the certificate. Raises RevocationError."""
    # stands in for a certificate of which only the serial number is known, which is all that OCSP needs
    check_ocsp(answer, cast(x509.Certificate, _Named(question.serial)), question.issuer, at)


def question_about(data: OCSPRequestData | CertificateHashData, anchors: Anchors) -> Question:
    """Return the questions for responders about a certificate identified by its hashes.

    Raises CertificateError: `malformed` for invalid hashes, `unknown_root` for an untrusted issuer.
    """
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
        raise CertificateError("invalid hash data", reason="malformed") from None
    candidates = (*anchors.issuers, *(x509.load_der_x509_certificate(root) for root in anchors.roots))
    issuer = next((each for each in candidates if _is_issuer(each, request)), None)
    if issuer is None:
        raise CertificateError(f"certificate {data.serial_number} has an unknown issuer", reason="unknown_root")
    named = data.responder_url if isinstance(data, OCSPRequestData) else ""
    return Question(_der(request), serial, issuer, _named_at(named))


def _named_at(url: str) -> tuple[str, ...]:
    return (url,) if url else ()


def _is_issuer(certificate: x509.Certificate, request: ocsp.OCSPRequest) -> bool:
    """Return whether `certificate` is the issuer whose hashes `request` has."""
    digest = hashes.Hash(request.hash_algorithm)
    digest.update(certificate.subject.public_bytes())
    keyed = ocsp.OCSPRequestBuilder().add_certificate(certificate, certificate, request.hash_algorithm).build()
    found = digest.finalize(), keyed.issuer_key_hash
    return found == (request.issuer_name_hash, request.issuer_key_hash)


def _is_revoked(serial: int, issuer: x509.Certificate, anchors: Anchors) -> bool:
    return serial in anchors.revoked or any(is_listed(crl, serial, issuer) for crl in anchors.crls)


class _Named(msgspec.Struct, frozen=True):
    serial_number: int


def _der(request: ocsp.OCSPRequest) -> bytes:
    return request.public_bytes(serialization.Encoding.DER)


Status = Literal["Good", "Revoked", "Unknown", "Failed"]

_REASONS: Final[dict[str, Status]] = {"revoked": "Revoked", "unknown": "Unknown"}


class StatusFinding(msgspec.Struct, frozen=True):
    """Status of a certificate from a responder or list, and its validity (None: not stated)."""

    status: Status
    until: datetime | None = None


_PORTS: Final = {"http": 80, "https": 443}

FAILED: Final = StatusFinding("Failed")


def read_answer(answer: bytes, question: Question, at: datetime) -> StatusFinding:
    """Return the status in a responder's answer; Failed for an untrusted one."""
    try:
        check_answer(question, answer, at)
    except RevocationError as error:
        status = _REASONS.get(error.reason, "Failed")
        return StatusFinding(status, None if status == "Failed" else _until(answer))
    return StatusFinding("Good", _until(answer))


def read_list(data: bytes, question: Question, at: datetime) -> StatusFinding:
    """Return the status in a revocation list; Failed for an untrusted one."""
    try:
        found = load_crl(data)
        until = found.crl.next_update_utc
        check_serial(found, question.serial, question.issuer, at)
    except RevocationError as error:
        return StatusFinding("Revoked", until) if error.reason == "revoked" else FAILED
    return StatusFinding("Good", until)


def may_ask(url: str, allowed: Sequence[str]) -> bool:
    """Return whether a URL is below an allowed one, as a server would parse it, not by comparing text."""
    asked = _parts(url)
    for each in allowed:
        place = _parts(each)
        if asked is not None and place is not None and asked[:3] == place[:3] and asked[3].startswith(place[3]):
            return True
    return False


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Return scheme, host, port and path; None for URLs that servers may parse differently."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in _PORTS or not found.hostname or "@" in found.netloc:
        return None
    path = unquote(found.path) or "/"
    odd = "\\" in path or "%" in path or any(character <= " " or character > "~" for character in url + path)
    if odd or any(step in (".", "..") for step in path.split("/")):
        return None
    return found.scheme, found.hostname, port or _PORTS[found.scheme], path


def _until(answer: bytes) -> datetime | None:
    return ocsp.load_der_ocsp_response(answer).next_update_utc


class Provisioning2(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provisioning service's certificate for vehicles of ISO 15118-2, on secp256r1."""

    chain: Path
    """PEM file of its certificate, leaf first."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or key URI."""


class Provisioning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate provisioning service, which issues contracts to vehicles (ISO 15118-20, ISO 15118-2; OCPP M01,
    M02)."""

    pool: KeyReference
    """Folder of the contracts with the source of the passphrase that encrypts their keys, such as
    `file:pool?pin-source=file:pool.secret`."""
    chain: Path
    """PEM file of the service's own certificate, leaf first."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or key URI."""
    oem_roots: tuple[Path, ...]
    """PEM files of OEM and V2G roots of vehicles."""
    oem_sub_cas: tuple[Path, ...] = ()
    """PEM files of the CAs below them: vehicles of ISO 15118-2 send their provisioning certificate alone."""
    iso15118_2: Provisioning2 | None = None
    """The service's certificate for ISO 15118-2; none: the one above, if it is on secp256r1."""
    envelope: EnvelopeRules = RULES
    """Options of sealed keys, for vehicles that differ."""
