"""A chain in files that may be renewed while the program runs: new handshakes use the new chain once it is complete.

A renewal writes several files in turn, and the responder may know the new certificate a little later. Until
the new chain is usable, the old one is used.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from v2g.errors import RevocationError, V2GError
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.tls.endpoint import TlsIdentity, utc_now
from v2g.observe import Observe
from v2g.pki.certificates import common_name, is_due, load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.ocsp import check_ocsp

Answers = Callable[[Credentials], bytes]
"""Returns the OCSP answer to staple for a chain, or b"". Raises OSError when it cannot be read."""

_log = logging.getLogger(__name__)


class IdentityFiles:
    """One chain of a charger, with its key and its OCSP answers."""

    def __init__(
        self,
        load: Callable[[], Credentials],
        files: Sequence[Path],
        *,
        answers: Answers | None = None,
        observe: Callable[[Observe], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`load` reads the chain and its key, and is called again when one of `files` has changed.

        It raises V2GError for unusable files: in the constructor, and later, when the old chain stays in use.
        """
        self._load = load
        self._answers = answers
        self._observe = observe
        self._now = now
        self._watched = FileWatch(files)
        self._shown = load()
        self._next: Credentials | None = None
        self._warned = ""

    def current(self) -> TlsIdentity:
        """Return the present chain."""
        self._poll()
        answers = self._answers
        return TlsIdentity(self._shown, partial(self._staple, self._shown, answers) if answers is not None else None)

    def expired(self) -> bool:
        """Return whether no vehicle accepts the present chain any more."""
        return load_certificate(self._shown.leaf).not_valid_after_utc < self._now()

    def report_end(self) -> None:
        """Report a present chain that is to be renewed: vehicles will refuse it."""
        leaf = load_certificate(self.current().credentials.leaf)
        if is_due(leaf, self._now()):
            self._observe(Observe("tls", "credentials_expire_soon", dict(_about(leaf))))

    def wanted(self) -> tuple[Credentials, ...]:
        """Return the chains that need OCSP answers: the present one, and its successor."""
        self._poll()
        return (self._shown,) if self._next is None else (self._shown, self._next)

    def _poll(self) -> None:
        """Use the new chain if there is one and it is usable."""
        if self._watched.changed():
            try:
                loaded = self._load()
            except V2GError as error:
                self._next = None
                self._keep(str(error))
                return
            self._next = loaded if loaded.chain != self._shown.chain else None
        if self._next is None:
            return
        # why a new chain is not usable yet, or ""
        leaf, now = load_certificate(self._next.leaf), self._now()
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            unfit = f"the new certificate is valid from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}"
        elif self._answered(self._shown) and not self._answered(self._next):
            unfit = "no OCSP response for the new certificate yet"
        else:
            unfit = ""
        if unfit:
            self._keep(unfit)
            return
        self._shown, self._next, self._warned = self._next, None, ""
        self._observe(Observe("tls", "credentials_renewed", dict(_about(load_certificate(self._shown.leaf)))))

    def _staple(self, credentials: Credentials, answers: Answers) -> bytes:
        """Return the OCSP answer for a chain, b"" for one that says nothing now, such as an old one: it is worse than
        none, after which a vehicle may ask the responder (V2G20-2411). Raises OSError."""
        answer = answers(credentials)
        try:
            self._check(answer, credentials)
        except RevocationError as error:
            return answer if error.reason == "revoked" else b""
        return answer

    def _answered(self, credentials: Credentials) -> bool:
        """Return whether a vehicle would accept this chain and its OCSP answer."""
        expired = load_certificate(credentials.leaf).not_valid_after_utc < self._now()
        if self._answers is None or len(credentials.chain) < 2 or expired:
            return False
        try:
            self._check(self._answers(credentials), credentials)
        except (OSError, RevocationError):
            return False
        return True

    def _check(self, answer: bytes, credentials: Credentials) -> None:
        """Check an answer as vehicles do, unless the root, which they do not get, has issued the leaf."""
        leaf, *above = (load_certificate(each) for each in credentials.chain[:2])
        if above:
            check_ocsp(answer, leaf, above[0], self._now())

    def _keep(self, why: str) -> None:
        """Report once that the old chain stays in use."""
        if why == self._warned:
            return
        self._warned = why
        _log.warning("the old certificate stays in use: %s", why)
        data = {"certificate": common_name(load_certificate(self._shown.leaf)), "error": why}
        self._observe(Observe("tls", "credentials_kept", dict(data)))


def _about(leaf: x509.Certificate) -> dict[str, str]:
    return {"certificate": common_name(leaf), "until": f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}


def identities(files: Sequence[IdentityFiles]) -> Callable[[], tuple[TlsIdentity, ...]]:
    """Return the present chains, for an Endpoint: expired ones last, as another one may do."""
    return lambda: tuple(each.current() for each in sorted(files, key=IdentityFiles.expired))
