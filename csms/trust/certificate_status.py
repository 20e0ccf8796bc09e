"""Asks responders and fetches lists, for contracts and for stations, and remembers what they said (C07, M06, M07)."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from csms.config import Trust
from csms.domain.authorization.certificates import FAILED, Finding, may_ask, read_answer, read_list
from csms.domain.authorization.contracts import Anchors, Question, question_about
from csms.trust.revocation_lists import RevocationLists
from csms.trust.roots import load_anchors
from v2g.errors import CertificateError, RevocationError
from v2g.io.runtime.clock import Clock
from v2g.io.tls.ocsp import ask, fetch_list
from v2g.observe import Observe
from v2g.ocpp.messages.base import CertificateHashData, OCSPRequestData

_MAX_KEPT: Final = 4096
_KEPT_S: Final = 3600.0
_KEPT_FAILED_S: Final = 60.0
_MAX_PLACES: Final = 5


class _Kept(msgspec.Struct, frozen=True):
    """An answer, whether it was believed when it came, and until when (s, monotonic) it is kept."""

    body: bytes
    believed: bool
    until: float


class CertificateStatus:
    """One for the whole program. Only issuers that are trusted here are asked about, at places that are allowed."""

    def __init__(self, config: Trust, clock: Clock, observe: Callable[[Observe], None]) -> None:
        """Raises ConfigError for files that cannot be read."""
        self._config = config
        self._anchors = load_anchors(config)
        self.crls: Final = RevocationLists(config.crls, clock, observe)
        self._clock = clock
        self._kept: dict[tuple[str, bytes], _Kept] = {}
        self._asking: dict[tuple[str, bytes], asyncio.Task[bytes]] = {}

    @property
    def anchors(self) -> Anchors:
        """What is trusted now."""
        return msgspec.structs.replace(self._anchors, crls=self.crls.current())

    def may_ask(self, question: Question) -> bool:
        """Say whether there is a responder that may be asked this."""
        return bool(self._places(question.places, "OCSP"))

    async def ask(self, question: Question) -> bytes | None:
        """Return the first answer that is believed, else the last one, else None (C07.FR.05).

        One that is not believed is kept for a minute: it may be broken, or forged on its way, and must not refuse a
        contract for longer; but few responders know the CAs, and those that do not need not hear it each time.
        """
        body: bytes | None = None
        judge = partial(read_answer, question=question)
        for url in self._places(question.places, "OCSP"):
            try:
                body, found = await self._get(url, question.request, judge, also_failed=True)
            except RevocationError:
                continue
            if found.status != "Failed":
                break
        return body

    async def answer(self, data: OCSPRequestData) -> bytes:
        """Return a responder's answer, DER, that can be believed: good, revoked or unknown (M06).

        Raises RevocationError when there is none, CertificateError for hashes that are none or of nobody known.
        """
        question = question_about(data, self.anchors)
        for url in self._places([data.responder_url], "OCSP"):
            judge = partial(read_answer, question=question)
            body, found = await self._get(url, question.request, judge)
            if found.status != "Failed":
                return body
        raise RevocationError("no responder that may be asked answers", reason="refused")

    async def find(self, data: CertificateHashData, source: str, urls: Sequence[str]) -> Finding:
        """Return what the first place that can be believed says of a certificate (M07)."""
        try:
            question = question_about(data, self.anchors)
        except CertificateError:
            return FAILED
        for url in self._places(urls, source):
            try:
                if source == "OCSP":
                    _, found = await self._get(url, question.request, partial(read_answer, question=question))
                else:
                    _, found = await self._get(url, b"", partial(read_list, question=question))
            except RevocationError:
                continue
            if found.status != "Failed":
                return found
        return FAILED

    def _places(self, urls: Sequence[str], source: str) -> list[str]:
        """Return where to ask: the configured responder before all, then what a station names, if it is allowed."""
        first = [self._config.ocsp_responder] if source == "OCSP" and self._config.ocsp_responder else []
        named = [url for url in urls if may_ask(url, self._config.status_urls)]
        return [*first, *named][:_MAX_PLACES]

    async def _get(
        self, url: str, question: bytes, judge: Callable[..., Finding], *, also_failed: bool = False
    ) -> tuple[bytes, Finding]:
        """Return an answer and what it says; one that can still be believed is kept for an hour at most.

        `also_failed`: do with one that was not believed, if it is not older than a minute. Who asks for the same at
        the same time waits for one question.
        """
        key, now = (url, question), self._clock.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            found = judge(kept.body, at=self._clock.now())
            if found.status != "Failed" or (also_failed and not kept.believed):
                return kept.body, found
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._fetch(url, question))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        body = await asyncio.shield(task)
        found = judge(body, at=self._clock.now())
        believed = found.status != "Failed"
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[key] = _Kept(body, believed, now + (_KEPT_S if believed else _KEPT_FAILED_S))
        return body, found

    async def _fetch(self, url: str, question: bytes) -> bytes:
        timeout_s = self._config.ocsp_timeout_s
        return await (ask(url, question, timeout_s=timeout_s) if question else fetch_list(url, timeout_s=timeout_s))
