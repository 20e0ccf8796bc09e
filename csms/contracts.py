"""Loads what is trusted, asks the OCSP responder, and says what a contract certificate is worth."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from csms.config import Trust
from csms.core.authorize import Chain
from csms.core.certificates import may_ask, read_answer
from csms.core.contracts import Anchors, Question, Verdict, assess, conclude, is_good, questions_about
from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g.net.clock import Clock
from v2g.net.ocsp import ask
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.credentials import load_chain
from v2g.pki.crl import load_crl
from v2g.pki.revocation import Evidence, Fail, RevocationPolicy, decide_revocation
from v2g.pki.verify import VerifiedChain

_MAX_CACHE = 4096
_MAX_PLACES = 4
_CACHE_S = 3600.0
_CACHE_BAD_S = 60.0
_MAX_SEEN = 65_536  # serial numbers; about 150 bytes each


class ContractJudge:
    """Judges contract certificates; one for the whole program."""

    def __init__(self, config: Trust, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._anchors = load_anchors(config)
        self._cache: dict[tuple[str, bytes], tuple[float, bool, bytes]] = {}
        self._seen: dict[tuple[bytes, int], bytes] = {}

    async def judge(self, emaid: str, pem: str | None, hash_data: Sequence[OCSPRequestData]) -> Verdict:
        """Return the verdict on what a station sent for `emaid`. Never raises."""
        at = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        verdict = assess(emaid, pem, hash_data, self._anchors, at, seen=self._seen)
        if verdict.chain is not Chain.VALID:
            return verdict
        questions, answers = verdict.questions, dict[bytes, bytes | None]()
        found = await asyncio.gather(*(self._ask(question) for question in questions))
        answers = {question.request: answer for question, answer in zip(questions, found, strict=True)}
        verdict = conclude(verdict, answers, self._anchors, at, require_answer=self._config.require_ocsp)
        if verdict.chain is Chain.VALID and verdict.path is not None:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.update(verdict.path.serials)
        return verdict

    async def check_revocation(self, path: VerifiedChain) -> None:
        """Check a chain that is no contract's by the same lists, responder and policy. Raises RevocationError."""
        at = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        questions = questions_about(path, self._anchors)
        answers = await asyncio.gather(*(self._ask(question) for question in questions))
        heard = {place: (answer,) for place, answer in enumerate(answers) if answer}
        policy = RevocationPolicy(leaf=Fail.HARD if self._config.require_ocsp else Fail.SOFT)
        evidence = Evidence(ocsp=heard, crls=self._anchors.crls)
        decide_revocation(path, evidence, at=at, policy=policy).require()

    async def _ask(self, question: Question) -> bytes | None:
        """Return the first answer that is believed, else the last one, else None.

        The configured responder is asked before those that the certificate or its station names, as far as
        `status_urls` allows them (C07.FR.05).
        """
        first = [self._config.ocsp_responder] if self._config.ocsp_responder else []
        named = [url for url in question.places if may_ask(url, self._config.status_urls)]
        answer: bytes | None = None
        for url in [*first, *named][:_MAX_PLACES]:
            found = await self._ask_at(url, question)
            answer = found or answer
            at = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
            if found is not None and read_answer(found, question, at).status != "Failed":
                break
        return answer

    async def _ask_at(self, url: str, question: Question) -> bytes | None:
        """Return a responder's answer, at most an hour old, or None.

        The caller judges it. What does not say that a certificate is good is kept for a minute only: it may be broken,
        or forged on its way, and must not refuse a contract for longer.
        """
        now, at = self._clock.monotonic(), datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        until, good, answer = self._cache.get((url, question.request), (0.0, False, b""))
        if now < until and (not good or is_good(question, answer, at)):  # a good one may have run out meanwhile
            return answer
        try:
            body = await ask(url, question.request, timeout_s=self._config.ocsp_timeout_s)
        except RevocationError:
            return None
        good = is_good(question, body, at)
        if len(self._cache) >= _MAX_CACHE:
            self._cache.clear()
        self._cache[url, question.request] = now + (_CACHE_S if good else _CACHE_BAD_S), good, body
        return body


def load_roots(name: str, files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the certificates (DER) in PEM files that `name` lists. Raises ConfigError, also for none."""
    try:
        roots = tuple(der for file in files for der in load_chain(file))
    except CertificateError as error:
        raise ConfigError(f"{name}: {error}", hint="roots are PEM files") from None
    if not roots:
        raise ConfigError(f"{name} names no certificate")
    return roots


def load_anchors(config: Trust) -> Anchors:
    """Read the files that `[trust]` names. Raises ConfigError."""
    try:
        roots = tuple(der for name in config.roots for der in load_chain(Path(name)))
        crosses = tuple(der for name in config.cross_certificates for der in load_chain(Path(name)))
        issuers = tuple(
            x509.load_der_x509_certificate(der) for name in config.issuers for der in load_chain(Path(name))
        )
        crls = tuple(load_crl(Path(name).read_bytes()) for name in config.crls)
        revoked = frozenset(int(serial, 16) for serial in config.revoked)
    except CertificateError as error:
        raise ConfigError(f"[trust]: {error}", hint="roots and issuers are PEM files") from None
    except RevocationError as error:
        raise ConfigError(f"[trust]: {error}", hint="crls are whole lists, PEM or DER") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"[trust]: {error}", hint="crls are PEM or DER files, revoked serial numbers in hex"
        ) from None
    if not roots:
        raise ConfigError("[trust]: roots names no certificate", hint="list the MO and V2G roots")
    return Anchors(
        roots=roots,
        crosses=crosses,
        issuers=issuers,
        crls=crls,
        revoked=revoked,
        interop=config.profile == "interop",
    )
