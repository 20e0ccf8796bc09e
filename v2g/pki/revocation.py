"""Is any certificate of a chain revoked? One decision from whatever evidence there is: OCSP answers, CRLs, policy."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
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
    """What follows where there is no evidence."""

    HARD = "hard"  # not believed
    SOFT = "soft"  # believed; a revocation is not forgiven, nor a wrong OCSP answer, which the peer may have sent


class RevocationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How much has to be known, of the leaf and of the CAs above it."""

    leaf: Fail = Fail.HARD
    authorities: Fail = Fail.SOFT


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is at hand: DER OCSP answers by place in the chain (0 is the leaf), and CRLs of whomever."""

    ocsp: Mapping[int, Sequence[bytes]] = MappingProxyType({})
    crls: Sequence[RevocationList] = ()


class Finding(msgspec.Struct, frozen=True):
    """What is known of one certificate: good where `reason` is None, else why not. `source`: ocsp, crl or empty."""

    certificate: x509.Certificate
    reason: RevocationReason | None
    source: str
    message: str = ""


class Revocation(msgspec.Struct, frozen=True):
    """The decision. `refusal` is None where the chain may be believed; `findings` stand in the chain's order."""

    findings: tuple[Finding, ...]
    refusal: Finding | None

    def require(self) -> None:
        """Raise RevocationError unless the chain may be believed."""
        if self.refusal is not None and self.refusal.reason is not None:
            what = f"{label(self.refusal.certificate)}: {self.refusal.message}"
            raise RevocationError(what, reason=self.refusal.reason)

    @property
    def unproven(self) -> tuple[Finding, ...]:
        """The certificates that nobody vouches for, though they may be believed by policy."""
        return tuple(each for each in self.findings if each.reason is not None)


def decide_revocation(
    chain: VerifiedChain, evidence: Evidence, *, at: datetime, policy: RevocationPolicy
) -> Revocation:
    """Decide about every certificate of a chain but its root. Revoked by any evidence is revoked; then good is good."""
    path = (*chain.certificates, chain.anchor)
    findings = tuple(
        _find(certificate, issuer, evidence.ocsp.get(place, ()), evidence.crls, at)
        for place, (certificate, issuer) in enumerate(pairwise(path))
    )
    refused = [
        finding
        for place, finding in enumerate(findings)
        if not _is_tolerable(finding, policy.authorities if place else policy.leaf)
    ]
    # A revoked CA tells more than an answer that is missing for its leaf.
    refused.sort(key=lambda finding: finding.reason != "revoked")
    return Revocation(findings, refused[0] if refused else None)


def refuse_revoked(chain: VerifiedChain, crls: Sequence[RevocationList], *, at: datetime) -> None:
    """Raise RevocationError(revoked) when one of the lists, as far as they are believed, names the chain or a CA of it.

    What no list speaks about is left to whoever asks OCSP responders.
    """
    lenient = RevocationPolicy(leaf=Fail.SOFT, authorities=Fail.SOFT)
    decide_revocation(chain, Evidence(crls=crls), at=at, policy=lenient).require()


def _is_tolerable(finding: Finding, fail: Fail) -> bool:
    if finding.reason is None or fail is Fail.HARD:
        return finding.reason is None
    return finding.reason in ABSENT or (finding.source == "crl" and finding.reason != "revoked")


def _find(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    answers: Iterable[bytes],
    crls: Iterable[RevocationList],
    at: datetime,
) -> Finding:
    found: list[Finding] = []
    for answer in answers:
        try:
            check_ocsp(answer, certificate, issuer, at)
        except RevocationError as error:
            found.append(Finding(certificate, error.reason, "ocsp", str(error)))
        else:
            found.append(Finding(certificate, None, "ocsp"))
    for crl in crls:
        try:
            check_crl(crl, certificate, issuer, at)
        except RevocationError as error:
            if error.reason != "wrong_certificate":  # a list of somebody else is no evidence at all
                found.append(Finding(certificate, error.reason, "crl", str(error)))
        else:
            found.append(Finding(certificate, None, "crl"))
    for wanted in ("revoked", None):
        for finding in found:
            if finding.reason == wanted:
                return finding
    return found[0] if found else Finding(certificate, "missing", "", "its revocation status is unknown")
