"""Trust anchors, revocation lists, and the status of certificates by responders and lists (C07, M06, M07).

Lists are read again when their files change, and reported before they expire; answers are cached.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from csms.config import StationAuthority, Trust
from csms.revocation_lists import RevocationLists
from csms.trust.rules import (
    FAILED,
    Anchors,
    Question,
    StatusFinding,
    check_answer,
    may_ask,
    question_about,
    read_answer,
    read_list,
)
from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import child
from v2g.io.tls.revocation import ask, fetch_list
from v2g.observe import Observe
from v2g.ocpp.messages.base import CertificateHashData, OCSPRequestData
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain


def load_roots(name: str, files: Sequence[Path]) -> tuple[bytes, ...]:
    """Return the certificates (DER) in PEM files of the setting `name`. Raises ConfigError, also for none."""
    try:
        roots = tuple(der for file in files for der in load_chain(file))
    except CertificateError as error:
        raise ConfigError(f"{name}: {error}", hint="roots are PEM files") from None
    if not roots:
        raise ConfigError(f"{name} contains no certificate")
    return roots


def load_anchors(config: Trust) -> Anchors:
    """Read the files of `[trust]`, except revocation lists, which change. Raises ConfigError."""
    try:
        roots = tuple(der for name in config.roots for der in load_chain(Path(name)))
        crosses = tuple(der for name in config.cross_certificates for der in load_chain(Path(name)))
        issuers = tuple(
            x509.load_der_x509_certificate(der) for name in config.issuers for der in load_chain(Path(name))
        )
        revoked = frozenset(int(serial, 16) for serial in config.revoked)
    except CertificateError as error:
        raise ConfigError(f"[trust]: {error}", hint="roots and issuers are PEM files") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"[trust]: {error}", hint="revoked are serial numbers in hex") from None
    if not roots:
        raise ConfigError("[trust]: roots contains no certificate", hint="list the MO and V2G roots")
    return Anchors(roots=roots, crosses=crosses, issuers=issuers, revoked=revoked, interop=config.profile == "interop")


_MAX_CACHED: Final = 4096
_CACHED_S: Final = 3600.0
_CACHED_FAILED_S: Final = 60.0
_MAX_PLACES: Final = 5


class _Cached(msgspec.Struct, frozen=True):
    """An answer, whether it was trusted on arrival, and until when (s, monotonic) it is cached."""

    body: bytes
    trusted: bool
    until: float


class CertificateStatus:
    """One instance for the whole program. Only trusted issuers are asked about, only at allowed URLs.

    Stations may also ask about what `own`, the built-in authority for vehicles, has issued, at the URLs it puts there.
    """

    def __init__(
        self,
        config: Trust,
        clock: Clock,
        observe: Callable[[Observe], None],
        own: StationAuthority | None = None,
    ) -> None:
        """Raises ConfigError for unreadable files."""
        self._config = config
        self._anchors = load_anchors(config)
        self._own: tuple[x509.Certificate, ...] = ()
        self._allowed = config.status_urls
        if own is not None:
            self._own = tuple(map(load_certificate, load_roots("v2g_ca.chain", (own.chain,))))
            self._allowed += tuple(url for url in (own.ocsp_url, own.crl_url) if url)
        self.crls: Final = RevocationLists(config.crls, clock, observe)
        self._clock = clock
        self._cache: dict[tuple[str, bytes], _Cached] = {}
        self._asking: dict[tuple[str, bytes], asyncio.Task[bytes]] = {}

    @property
    def anchors(self) -> Anchors:
        """The present trust anchors."""
        return msgspec.structs.replace(self._anchors, crls=self.crls.current())

    @property
    def _issuing(self) -> Anchors:
        """The anchors with the own authority, which signs no contracts."""
        return msgspec.structs.replace(self.anchors, issuers=(*self._anchors.issuers, *self._own))

    async def ask(self, question: Question) -> tuple[bytes | None, str]:
        """Return the first trusted answer, else the last one, else None and why there is none (C07.FR.05).

        An untrusted one is cached for a minute: it may be broken or forged, and must not reject a
        contract for longer; but responders that do not cover CAs should not be asked each time.
        """
        body, why = None, self._nobody(question.places)
        for url in self._places(question.places, "OCSP"):
            try:
                body, found = await self._get(url, question, also_failed=True)
            except RevocationError as error:
                why = str(error)
                continue
            if found.status != "Failed":
                break
        return body, "" if body is not None else why

    async def answer(self, data: OCSPRequestData) -> bytes:
        """Return a responder's trusted answer, DER: good, revoked or unknown (M06).

        Raises RevocationError when there is none, CertificateError for invalid hashes or unknown issuers.
        """
        question = question_about(data, self._issuing)
        why = RevocationError(self._nobody(question.places), reason="refused")
        for url in self._places(question.places, "OCSP"):
            try:
                body, found = await self._get(url, question)
                if found.status != "Failed":
                    return body
                check_answer(question, body, self._clock.now())
            except RevocationError as error:
                why = error
        raise why

    async def find(self, data: CertificateHashData, source: str, urls: Sequence[str]) -> StatusFinding:
        """Return the status from the first trusted source of a certificate (M07)."""
        try:
            question = question_about(data, self._issuing)
        except CertificateError:
            return FAILED
        for url in self._places(urls, source):
            try:
                if source == "OCSP":
                    _, found = await self._get(url, question)
                else:
                    _, found = await self._get(url, question, by_list=True)
            except RevocationError:
                continue
            if found.status != "Failed":
                return found
        return FAILED

    @staticmethod
    def _nobody(named: Sequence[str]) -> str:
        """Return why no responder can be asked, and what to do."""
        if not named:
            return "no responder is named: set trust.ocsp_responder or crls"
        return f"{named[0]} may not be asked: set trust.ocsp_responder, status_urls or crls"

    def _places(self, urls: Sequence[str], source: str) -> list[str]:
        """Return the URLs to ask: the configured responder first, then those from a station, if allowed."""
        first = [self._config.ocsp_responder] if source == "OCSP" and self._config.ocsp_responder else []
        named = [url for url in urls if may_ask(url, self._allowed)]
        return [*first, *named][:_MAX_PLACES]

    async def _get(
        self, url: str, question: Question, *, by_list: bool = False, also_failed: bool = False
    ) -> tuple[bytes, StatusFinding]:
        """Return a responder's answer, or a list, and the status in it; a trusted one is cached for an hour at most.

        `also_failed`: accept an untrusted one, if it is not older than a minute. Concurrent callers share
        one question.
        """
        asked, read = (b"", read_list) if by_list else (question.request, read_answer)
        key, now = (url, asked), self._clock.monotonic()
        cached = self._cache.get(key)
        if cached is not None and now < cached.until:
            found = read(cached.body, question, self._clock.now())
            if found.status != "Failed" or (also_failed and not cached.trusted):
                return cached.body, found
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = child(self._fetch(url, asked))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        body = await asyncio.shield(task)
        found = read(body, question, self._clock.now())
        trusted = found.status != "Failed"
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = _Cached(body, trusted, now + (_CACHED_S if trusted else _CACHED_FAILED_S))
        return body, found

    async def _fetch(self, url: str, question: bytes) -> bytes:
        timeout_s = self._config.ocsp_timeout_s
        return await (ask(url, question, timeout_s=timeout_s) if question else fetch_list(url, timeout_s=timeout_s))
