"""Verification of contract certificates: chain, eMAID, revocation; questions to OCSP responders are returned as data.

`assess` decides with local knowledge and lists the questions for responders (C07.FR.05);
`conclude` adds their answers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

import msgspec

from csms.tokens.rules import ChainVerdict, normalise
from csms.trust.rules import Anchors, Question, check_answer, is_revoked, question_about, question_of
from v2g.errors import CertificateError, RevocationError
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.ocpp.routes import Version
from v2g.pki.certificates import chain_from_pem, key_kind, load_certificate
from v2g.pki.crl import check_serial
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import generation_of
from v2g.pki.revocation import RevocationEvidence, RevocationPolicy, decide_revocation
from v2g.pki.verify import NOTHING_SEEN, Serials, VerifiedChain, verify_chain

LONGEST: Final[Mapping[Version, int]] = {"2.0.1": 7500, "2.1": 17_000}
"""Maximum length of exiResponse (Get15118EVCertificate)."""


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
        try:
            verified = _verify_contract(chain_from_pem(pem.encode()), anchors, at, seen)
            named = normalise("eMAID", verified.emaid)
        except CertificateError as error:
            return Verdict(
                ChainVerdict.EXPIRED if error.reason == "expired" else ChainVerdict.BROKEN, f"{error.reason}: {error}"
            )
        if named != normalise("eMAID", emaid):
            return Verdict(ChainVerdict.BROKEN, f"the certificate is for {named}")
        try:
            open_questions = questions_about(verified, anchors)
        except RevocationError as error:
            return Verdict(ChainVerdict.REVOKED, f"revoked: {error}")
        return Verdict(ChainVerdict.VALID, questions=open_questions, path=verified)
    if hash_data:
        # check a chain that the station verified itself (TC_C_50): known issuers, no revocation
        questions = []
        for data in hash_data:
            try:
                question = question_about(data, anchors)
            except CertificateError as error:
                return Verdict(ChainVerdict.BROKEN, str(error))
            if is_revoked(question.serial, question.issuer, anchors):
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
        evidence = RevocationEvidence(ocsp=given, asked=True, crls=anchors.crls)
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


def _verify_contract(chain: Sequence[bytes], anchors: Anchors, at: datetime, seen: Serials) -> VerifiedChain:
    leaf, *intermediates = chain
    kind = key_kind(load_certificate(leaf))
    return verify_chain(
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


def contract_fault(chain: Sequence[bytes], anchors: Anchors, at: datetime) -> str:
    """Return why a contract (DER, leaf first) cannot be delivered to its vehicle now; empty if it can."""
    try:
        _verify_contract(chain, anchors, at, NOTHING_SEEN)
    except CertificateError as error:
        return f"{error.reason}: {error}"
    return ""


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
        if is_revoked(certificate.serial_number, issuer, anchors):
            raise RevocationError(certificate.subject.rfc4514_string(), reason="revoked")
        questions.append(question_of(certificate, issuer))
    return tuple(questions)
