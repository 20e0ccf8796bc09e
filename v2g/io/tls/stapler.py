"""Keeps the OCSP answers that a charger staples: asks the responder in time, and tolerates outages.

Every answer is verified as the vehicle will before it is stapled. When the responder is unreachable, the
last good answer is used; when it answers that our certificate is revoked, that answer is stapled.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509 import ocsp

from v2g.errors import RevocationError
from v2g.io.tls.endpoint import utc_now
from v2g.io.tls.revocation import Ask, ask, question
from v2g.observe import Observe
from v2g.pki.certificates import common_name, load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.ocsp import check_ocsp, responder_url

POLL: Final = timedelta(seconds=30)
"""Interval of checks, such as for a renewed certificate."""

FIRST_RETRY: Final = timedelta(minutes=1)
LAST_RETRY: Final = timedelta(hours=1)
URGENT_RETRY: Final = timedelta(minutes=5)
"""The longest wait without a good answer."""

_log = logging.getLogger(__name__)


def retry_after(failures: int, *, urgent: bool) -> timedelta:
    """Return how long to wait after that many failures in a row: twice as long each time, within limits."""
    doublings: int = min(failures - 1, 20)
    return min(FIRST_RETRY * (1 << doublings), URGENT_RETRY if urgent else LAST_RETRY)


class _CachedAnswer(msgspec.Struct, kw_only=True):
    """State of one certificate."""

    response: bytes = b""
    until: datetime = datetime.min.replace(tzinfo=UTC)
    due: datetime = datetime.min.replace(tzinfo=UTC)
    failures: int = 0


class Stapler:
    """Answers for all chains of a charger. `answer` is what a TlsIdentity staples; `run` keeps it fresh."""

    def __init__(
        self,
        *,
        anchors: Sequence[bytes],
        responder: str = "",
        cache: Path | None = None,
        observe: Callable[[Observe], None],
        ask: Ask = ask,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`anchors` (DER) contain the issuers of chains without sub-CAs.

        `responder` replaces the one in the certificate. In the folder `cache` answers survive a restart.
        """
        self._anchors = [load_certificate(each) for each in anchors]
        self._responder = responder
        self._cache = cache
        self._observe = observe
        self._ask = ask
        self._now = now
        self._cached: dict[bytes, _CachedAnswer] = {}

    def answer(self, credentials: Credentials) -> bytes:
        """Return the answer to staple for a chain, or b""."""
        return self._state(credentials).response

    async def run(self, wanted: Callable[[], Iterable[Credentials]]) -> None:
        """Refresh the answers for all chains that `wanted` returns, until cancelled."""
        while True:
            await self.refresh(wanted())
            await asyncio.sleep(POLL.total_seconds())

    async def refresh(self, wanted: Iterable[Credentials]) -> None:
        """Ask for answers that are due; never raises."""
        due = [each for each in wanted if self._state(each).due <= self._now()]
        await asyncio.gather(*(self._refresh(each) for each in due))

    async def _refresh(self, credentials: Credentials) -> None:
        leaf, cached = load_certificate(credentials.leaf), self._state(credentials)
        url = self._responder or responder_url(leaf)
        try:
            if not url:
                raise RevocationError("our certificate has no OCSP responder", reason="missing")
            issuer = self._issuer(credentials)
            response = await self._ask(url, question(leaf, issuer))
            self._take(cached, response, leaf, issuer)
        except RevocationError as error:
            if error.reason == "revoked":
                cached.response = response
                self._save(credentials, response)
            cached.failures += 1
            wait = retry_after(cached.failures, urgent=cached.until <= self._now())
            cached.due = self._now() + wait
            good = cached.until > self._now() and error.reason != "revoked"
            _log.warning("OCSP answer for our certificate: %s", error)
            data = {
                "certificate": common_name(leaf),
                "responder": url,
                "reason": error.reason,
                "error": str(error),
                "good_until": f"{cached.until:%Y-%m-%dT%H:%M:%SZ}" if good else None,
                "retry_s": int(wait.total_seconds()),
            }
            self._observe(Observe("tls", "staple_failed", dict(data)))
            return
        self._save(credentials, response)
        fresh = {"certificate": common_name(leaf), "responder": url, "until": f"{cached.until:%Y-%m-%dT%H:%M:%SZ}"}
        self._observe(Observe("tls", "staple_refreshed", dict(fresh)))

    def _take(self, cached: _CachedAnswer, response: bytes, leaf: x509.Certificate, issuer: x509.Certificate) -> None:
        """Store an answer that a vehicle would accept. Raises RevocationError for any other."""
        now = self._now()
        check_ocsp(response, leaf, issuer, now)
        mine = next(
            each for each in ocsp.load_der_ocsp_response(response).responses if each.serial_number == leaf.serial_number
        )
        assert mine.next_update_utc is not None  # or the check would have failed
        cached.response, cached.until, cached.failures = response, mine.next_update_utc, 0
        half = mine.this_update_utc + (mine.next_update_utc - mine.this_update_utc) / 2
        cached.due = max(half, now + FIRST_RETRY)

    def _state(self, credentials: Credentials) -> _CachedAnswer:
        """Return the state of a chain; the first time, from the cache."""
        cached = self._cached.get(credentials.leaf)
        if cached is None:
            cached = self._cached[credentials.leaf] = _CachedAnswer()
            with contextlib.suppress(OSError, RevocationError):
                response = self._file(credentials).read_bytes()
                self._take(cached, response, load_certificate(credentials.leaf), self._issuer(credentials))
        return cached

    def _issuer(self, credentials: Credentials) -> x509.Certificate:
        if len(credentials.chain) > 1:
            return load_certificate(credentials.chain[1])
        wanted = load_certificate(credentials.leaf).issuer
        for anchor in self._anchors:
            if anchor.subject == wanted:
                return anchor
        raise RevocationError("the issuer of our certificate is not known", reason="missing")

    def _file(self, credentials: Credentials) -> Path:
        if self._cache is None:
            raise FileNotFoundError
        return self._cache / f"{sha256(credentials.leaf).hexdigest()[:32]}.ocsp"

    def _save(self, credentials: Credentials, response: bytes) -> None:
        """Write an answer to the cache atomically; an unwritable cache only costs a query later."""
        if self._cache is None:
            return
        path = self._file(credentials)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_bytes(response)
            draft.replace(path)
        except OSError as error:
            _log.warning("cannot store an OCSP response: %s", error)
