"""Loads what is trusted, asks the OCSP responder, and says what a contract certificate is worth."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from cryptography import x509

from csms.config import Trust
from csms.core.authorize import Chain
from csms.core.contracts import Anchors, Question, Verdict, assess, conclude
from v2g.errors import CertificateError, ConfigError
from v2g.net.clock import Clock
from v2g.ocpp.messages.base import OCSPRequestData
from v2g.pki.credentials import load_chain

_MAX_ANSWER = 16 * 1024
_MAX_CACHE = 4096
_CACHE_S = 3600.0


class ContractJudge:
    """Judges contract certificates; one for the whole program. Use `close` at the end."""

    def __init__(self, config: Trust, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._anchors = load_anchors(config)
        self._session: aiohttp.ClientSession | None = None
        self._cache: dict[bytes, tuple[float, bytes]] = {}

    async def judge(self, emaid: str, pem: str | None, hash_data: Sequence[OCSPRequestData]) -> Verdict:
        """Return the verdict on what a station sent for `emaid`. Never raises."""
        at = datetime.fromtimestamp(self._clock.utc_ms() / 1000, UTC)
        verdict = assess(emaid, pem, hash_data, self._anchors, at)
        if verdict.chain is not Chain.VALID:
            return verdict
        answers: dict[int, bytes | None] = {}
        if self._config.ocsp_responder:
            found = await asyncio.gather(*(self._ask(question) for question in verdict.questions))
            answers = {question.serial: answer for question, answer in zip(verdict.questions, found, strict=True)}
        return conclude(verdict, answers, at, require_answer=self._config.require_ocsp)

    async def close(self) -> None:
        """Close the connections to the responder."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, question: Question) -> bytes | None:
        """Return the responder's answer, at most an hour old, or None. Only the configured responder is asked."""
        now = self._clock.monotonic()
        until, answer = self._cache.get(question.request, (0.0, b""))
        if now < until:
            return answer
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._config.ocsp_timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {"Content-Type": "application/ocsp-request"}
        try:
            async with self._session.post(
                self._config.ocsp_responder, data=question.request, headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(_MAX_ANSWER + 1)
                if response.status != 200 or len(body) > _MAX_ANSWER:
                    return None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        if len(self._cache) >= _MAX_CACHE:
            self._cache.clear()
        self._cache[question.request] = now + _CACHE_S, body
        return body


def load_anchors(config: Trust) -> Anchors:
    """Read the files that `[trust]` names. Raises ConfigError."""
    try:
        roots = tuple(der for name in config.roots for der in load_chain(Path(name)))
        issuers = tuple(
            x509.load_der_x509_certificate(der) for name in config.issuers for der in load_chain(Path(name))
        )
        crls = tuple(_load_crl(Path(name)) for name in config.crls)
        revoked = frozenset(int(serial, 16) for serial in config.revoked)
    except CertificateError as error:
        raise ConfigError(f"[trust]: {error}", hint="roots and issuers are PEM files") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"[trust]: {error}", hint="crls are PEM or DER files, revoked serial numbers in hex"
        ) from None
    if not roots:
        raise ConfigError("[trust]: roots names no certificate", hint="list the MO and V2G roots")
    return Anchors(roots=roots, issuers=issuers, crls=crls, revoked=revoked, interop=config.profile == "interop")


def _load_crl(path: Path) -> x509.CertificateRevocationList:
    data = path.read_bytes()
    if data.startswith(b"-----BEGIN"):
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)
