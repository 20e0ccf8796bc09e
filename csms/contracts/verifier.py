"""Verification of contract certificates: chain and revocation (C07)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from csms.config import Trust
from csms.contracts.rules import Verdict, assess, conclude, questions_about
from csms.tokens.rules import ChainVerdict
from csms.trust.certificate_status import CertificateStatus
from v2g.errors import RevocationError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.revocation import Fail, RevocationEvidence, RevocationPolicy, decide_revocation
from v2g.pki.verify import VerifiedChain

_MAX_SEEN: Final = 65_536
"""Limit of serial numbers, and of contracts accepted with unknown status; about 150 bytes each."""


class ContractVerifier:
    """Verifies contract certificates; one instance for the whole program."""

    def __init__(
        self, config: Trust, clock: Clock, status: CertificateStatus, observe: Callable[[Observe], None]
    ) -> None:
        self._clock = clock
        self._status = status
        self._observe = observe
        self._accept_unknown = config.revocation_unknown == "accept"
        self._seen: dict[tuple[bytes, int], bytes] = {}
        self._unproven: set[tuple[bytes, int]] = set()
        self.accepted_unknown = 0
        """Certificates accepted since the start with unknown revocation status."""

    async def judge(self, emaid: str, pem: str | None, hash_data: Sequence[OCSPRequestData]) -> Verdict:
        """Return the verdict on a station's data for `emaid`. Never raises."""
        at, anchors = self._clock.now(), self._status.anchors
        verdict = assess(emaid, pem, hash_data, anchors, at, seen=self._seen)
        if verdict.chain is not ChainVerdict.VALID:
            return verdict
        questions = verdict.questions
        found = await asyncio.gather(*(self._status.ask(question) for question in questions))
        answers = {question.request: answer for question, (answer, _) in zip(questions, found, strict=True)}
        verdict = conclude(verdict, answers, anchors, at, accept_unknown=self._accept_unknown)
        if verdict.unproven:
            reason = _with(verdict.unproven, found[0][1])
            if verdict.chain is not ChainVerdict.VALID:
                return Verdict(verdict.chain, reason)
            self._note_unknown((questions[0].issuer.subject.public_bytes(), questions[0].serial), emaid, reason)
        if verdict.chain is ChainVerdict.VALID and verdict.path is not None:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.update(verdict.path.serials)
        return verdict

    async def check_revocation(self, path: VerifiedChain, owner: str) -> None:
        """Check a chain of another use by the same lists, responders and policy. Raises RevocationError.

        `owner` identifies its owner in events.
        """
        at, anchors = self._clock.now(), self._status.anchors
        questions = questions_about(path, anchors)
        answers = await asyncio.gather(*(self._status.ask(question) for question in questions))
        given = {place: (answer,) for place, (answer, _) in enumerate(answers) if answer}
        policy = RevocationPolicy(leaf=Fail.SOFT if self._accept_unknown else Fail.HARD)
        evidence = RevocationEvidence(ocsp=given, asked=True, crls=anchors.crls)
        found = decide_revocation(path, evidence, at=at, policy=policy)
        leaf, why = found.findings[0], answers[0][1]
        try:
            found.require()
        except RevocationError as error:
            if found.refusal is leaf and error.reason != "revoked":
                raise RevocationError(_with(str(error), why), reason=error.reason) from None
            raise
        if leaf.reason is not None:
            key = questions[0].issuer.subject.public_bytes(), questions[0].serial
            self._note_unknown(key, owner, _with(f"{leaf.reason}: {leaf.message}", why))

    def _note_unknown(self, key: tuple[bytes, int], owner: str, reason: str) -> None:
        """Report once for each certificate that it was accepted only because of `revocation_unknown`."""
        if key in self._unproven:
            return
        if len(self._unproven) >= _MAX_SEEN:
            self._unproven.clear()
        self._unproven.add(key)
        self.accepted_unknown += 1
        data: dict[str, Scalar] = {"owner": owner, "serial": f"{key[1]:x}", "reason": reason[:300]}
        self._observe(Observe("authorization", "revocation_unknown", data))


def _with(unproven: str, why: str) -> str:
    """Return why a status is unknown, with why no responder said it, if none did."""
    return f"{unproven}; {why}" if why else unproven
