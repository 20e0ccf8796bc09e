"""Decision whether any certificate of a chain is revoked, from OCSP answers, CRLs and policy."""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

import msgspec
from cryptography import x509

from v2g.errors import RevocationError, RevocationReason
from v2g.pki.conformity import label
from v2g.pki.crl import RevocationList, check_crl
from v2g.pki.ocsp import check_ocsp
from v2g.pki.verify import VerifiedChain

ABSENT: Final[frozenset[RevocationReason]] = frozenset({"missing", "expired", "refused"})
"""No answer, as opposed to a wrong one."""


class Fail(enum.Enum):
    """Policy without evidence."""

    HARD = "hard"  # rejected
    SOFT = "soft"  # accepted, except a revocation or a wrong OCSP answer, which the peer may have sent


class RevocationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The required evidence, for the leaf and for the CAs above it."""

    leaf: Fail = Fail.HARD
    authorities: Fail = Fail.SOFT


class RevocationEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence: DER OCSP answers by position in the chain (0 is the leaf), and CRLs of any issuer.

    `asked`: the answers are of responders that were just asked, and were not presented by the peer.
    """

    ocsp: Mapping[int, Sequence[bytes]] = {}
    asked: bool = False
    crls: Sequence[RevocationList] = ()


class RevocationFinding(msgspec.Struct, frozen=True):
    """Result for one certificate: good if `reason` is None, else why not. `source`: ocsp, crl or empty."""

    certificate: x509.Certificate
    reason: RevocationReason | None
    source: str
    message: str = ""


class Revocation(msgspec.Struct, frozen=True):
    """The decision. `refusal` is None if the chain is accepted; `findings` are in the chain's order."""

    findings: tuple[RevocationFinding, ...]
    refusal: RevocationFinding | None

    def require(self) -> None:
        """Raise RevocationError unless the chain is accepted."""
        if self.refusal is not None and self.refusal.reason is not None:
            what = f"{label(self.refusal.certificate)}: {self.refusal.message}"
            raise RevocationError(what, reason=self.refusal.reason)

    @property
    def unproven(self) -> tuple[RevocationFinding, ...]:
        """The certificates with unknown status, accepted only by policy."""
        return tuple(each for each in self.findings if each.reason is not None)


def decide_revocation(
    chain: VerifiedChain, evidence: RevocationEvidence, *, at: datetime, policy: RevocationPolicy
) -> Revocation:
    """Decide about every certificate of a chain but its root. Any revocation counts first, then any good status."""
    path = (*chain.certificates, chain.anchor)
    findings = tuple(
        _find(certificate, issuer, evidence, place, at) for place, (certificate, issuer) in enumerate(pairwise(path))
    )
    refused = [
        finding
        for place, finding in enumerate(findings)
        if not _is_tolerable(finding, policy.authorities if place else policy.leaf)
    ]
    # A revoked CA is more relevant than a missing answer for its leaf.
    refused.sort(key=lambda finding: finding.reason != "revoked")
    return Revocation(findings, refused[0] if refused else None)


def refuse_revoked(chain: VerifiedChain, crls: Sequence[RevocationList], *, at: datetime) -> None:
    """Raise RevocationError(revoked) when one of the valid lists revokes the chain or a CA of it.

    Certificates not covered by a list are left to OCSP.
    """
    lenient = RevocationPolicy(leaf=Fail.SOFT, authorities=Fail.SOFT)
    decide_revocation(chain, RevocationEvidence(crls=crls), at=at, policy=lenient).require()


def _is_tolerable(finding: RevocationFinding, fail: Fail) -> bool:
    if finding.reason is None or fail is Fail.HARD:
        return finding.reason is None
    return finding.reason in ABSENT or (finding.source == "crl" and finding.reason != "revoked")


def _find(
    certificate: x509.Certificate, issuer: x509.Certificate, evidence: RevocationEvidence, place: int, at: datetime
) -> RevocationFinding:
    found: list[RevocationFinding] = []
    for answer in evidence.ocsp.get(place, ()):
        try:
            check_ocsp(answer, certificate, issuer, at, asked=evidence.asked)
        except RevocationError as error:
            found.append(RevocationFinding(certificate, error.reason, "ocsp", str(error)))
        else:
            found.append(RevocationFinding(certificate, None, "ocsp"))
    for crl in evidence.crls:
        try:
            check_crl(crl, certificate, issuer, at)
        except RevocationError as error:
            if error.reason != "wrong_certificate":  # a list of another issuer is not evidence
                found.append(RevocationFinding(certificate, error.reason, "crl", str(error)))
        else:
            found.append(RevocationFinding(certificate, None, "crl"))
    for wanted in ("revoked", None):
        for finding in found:
            if finding.reason == wanted:
                return finding
    return found[0] if found else RevocationFinding(certificate, "missing", "", "its revocation status is unknown")
