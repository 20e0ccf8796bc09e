"""Verification of TLS peers by our own profiles, after the standard library's `ssl` has accepted them.

Generic TLS checks roots, dates and signatures. Keys, subjects and usages are checked by the profile.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from weakref import WeakKeyDictionary

from v2g.errors import CertificateError, ConfigError, RevocationError
from v2g.io.runtime.clock import Clock
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.crl import RevocationList, is_listed
from v2g.pki.profile import Role
from v2g.pki.verify import VerifiedChain, verify_chain


class PeerJudge:
    """Verifies peers of one role under the roots in some PEM files. Raises ConfigError for unreadable files.

    `strict`: exactly by the profile of the role; else by RFC 5280. `crls` returns the present revocation lists: what
    one of them has is refused, also while its connection lasts; an issuer without a list revokes nothing.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        role: Role,
        clock: Clock,
        *,
        strict: bool = True,
        crls: Callable[[], Sequence[RevocationList]] = tuple,
    ) -> None:
        try:
            self._anchors = tuple(der for path in roots for der in load_chain(Path(path)))
        except CertificateError as error:
            raise ConfigError(str(error), hint="client_roots are PEM files") from None
        self._role = role
        self._interop = not strict
        self._clock = clock
        self._crls = crls
        self._verified: WeakKeyDictionary[ssl.SSLObject, VerifiedChain] = WeakKeyDictionary()

    def judge(self, transport: asyncio.BaseTransport) -> VerifiedChain:
        """Return the peer's chain. Raises CertificateError, RevocationError."""
        return self._judge(transport, self._clock.now())

    def judge_expired(self, transport: asyncio.BaseTransport) -> VerifiedChain:
        """Return the chain of a peer whose own certificate has expired, and was otherwise valid.

        Raises CertificateError for any other fault: its issuer must be valid now.
        """
        leaf = shown_chain(transport)[0]
        last = load_certificate(leaf).not_valid_after_utc
        found = self._judge(transport, min(last, self._clock.now()))
        if any(self._clock.now() > each.not_valid_after_utc for each in (*found.certificates[1:], found.anchor)):
            raise CertificateError("its issuer's certificate has expired as well", reason="expired")
        return found

    def _judge(self, transport: asyncio.BaseTransport, at: datetime) -> VerifiedChain:
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        found = None if connection is None else self._verified.get(connection)
        if found is None or not found.is_valid_at(at):
            leaf, *others = shown_chain(transport) or (b"",)
            found = verify_chain(leaf, others, self._anchors, role=self._role, at=at, interop=self._interop)
            if connection is not None:  # of a chain that was verified, only the time and the lists change
                self._verified[connection] = found
        issuers = *found.certificates[1:], found.anchor
        for listed in self._crls():
            for each, issuer in zip(found.certificates, issuers, strict=True):
                serial = each.serial_number
                if serial in listed.entries and is_listed(listed, serial, issuer):
                    raise RevocationError(f"{each.subject.rfc4514_string()} is revoked", reason="revoked")
        return found


def shown_chain(transport: asyncio.BaseTransport) -> tuple[bytes, ...]:
    """Return the certificates of a peer, DER, leaf first; none without TLS or certificate."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return ()
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13
        return tuple(connection.get_unverified_chain())
    shown = connection._sslobj.get_unverified_chain()  # older versions have it only in the C object
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in shown or ())
