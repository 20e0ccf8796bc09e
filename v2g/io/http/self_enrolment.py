"""Programs that get and renew their own TLS certificate by EST, without a person (R217).

The key and request of an attempt stay beside the files until the CA has decided, also over restarts: a repeated request
buys no second certificate. The files change only once the answer has been verified; whoever shows the certificate reads
them again. A leaf for servers only, as a charger's towards vehicles, cannot be shown to the CA: such a program shows a
password, a token or another certificate, and asks for a new one (`simpleenroll`); others show the old one
(`simplereenroll`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from v2g.errors import V2GError
from v2g.io.http.est import EnrolmentPending, EstClient
from v2g.io.http.known_client import SelfEnrolmentConfig
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.service_manager import notify
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import chain_to_pem, is_due, key_kind, load_certificate
from v2g.pki.credentials import load_chain, load_credentials
from v2g.pki.csr import load_csr
from v2g.pki.est import CURVES, DIGESTS, MOST_PAUSE_S, lacking
from v2g.pki.issue import signature_hash
from v2g.pki.keys import PrivateKey, load_private_key, save_key, save_secret
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import generation_of, profile_of

_AGAIN_S: Final = 3600.0
"""Pause after a failure, and between looks at the certificate."""
_PATIENCE_US: Final = round((MOST_PAUSE_S + 300) * 1e6)
"""For a look, and the longest pause after it."""


class SelfEnrolment:
    """Keeps the certificate in two files, chain and key (PEM), valid while `run` does."""

    def __init__(
        self,
        config: SelfEnrolmentConfig,
        chain: Path,
        key: Path,
        role: Role,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        """Read the roots. Raises CertificateError."""
        self._config, self._chain, self._key, self._role = config, chain, key, role
        self._roots = tuple(der for path in config.roots for der in load_chain(path))
        self._new_key, self._request = key.with_name(f"{key.name}.new"), key.with_name(f"{key.name}.csr")
        self._clock, self._observe = clock, observe

    async def first(self) -> None:
        """Return once there is a certificate; a program without one has nothing to show."""
        with contextlib.suppress(V2GError, OSError):  # `look` reports it
            await asyncio.to_thread(self._former)
        while not (self._chain.exists() and self._key.exists()):
            notify(f"EXTEND_TIMEOUT_USEC={_PATIENCE_US}")  # else the service manager ends it before the CA decides
            pause_s = await self.look()
            if not (self._chain.exists() and self._key.exists()):
                await asyncio.sleep(pause_s)

    async def run(self) -> None:
        """Look at the certificate, and enrol when that is due, for ever."""
        while True:
            await asyncio.sleep(await self.look())

    async def look(self) -> float:
        """Enrol if that is due; return after how many seconds to look again. Never raises."""
        name = self._config.common_name
        try:
            former = await asyncio.to_thread(self._former)
            if former is not None and not is_due(former, self._clock.now(), timedelta(days=self._config.before_days)):
                return _AGAIN_S
            client = EstClient(self._config.est, self._clock)
            csr = await asyncio.to_thread(self._waiting, former)
            if csr is None:
                wanted = await self._wanted(client, None if former is None else key_kind(former))
                csr = await asyncio.to_thread(self._requested, former, wanted)
                if lacks := ", ".join(lacking(wanted, csr))[:200]:
                    self._observe(Observe("tls", "enrolment_lacks", {"certificate": name, "lacks": lacks, "error": ""}))
            old = generation_of(key_kind(csr.public_key())) is Generation.ISO15118_2 and self._role is Role.SECC
            generation = Generation.ISO15118_2 if old else Generation.ISO15118_20
            renewal = former is not None and await asyncio.to_thread(self._shown) == former
            found = await client.chain(csr, self._roots, role=self._role, generation=generation, renewal=renewal)
            if isinstance(found, EnrolmentPending):
                self._observe(Observe("tls", "enrolment_pending", {"certificate": name, "again_s": found.pause_s}))
                return found.pause_s
            await asyncio.to_thread(self._take, chain_to_pem(found.der))
        except (V2GError, OSError) as error:
            self._observe(Observe("tls", "enrolment_failed", {"certificate": name, "error": str(error)[:200]}))
            return _AGAIN_S
        until = f"{found.leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        self._observe(Observe("tls", "enrolled", {"certificate": found.subject_cn, "until": until}))
        return _AGAIN_S

    def _former(self) -> x509.Certificate | None:
        """Return the certificate in use, None if there is none. Raises V2GError: unreadable, of another key."""
        if not self._chain.exists():
            return None
        leaf = load_certificate(load_chain(self._chain)[0])
        if self._new_key.exists() and load_private_key(self._new_key).public_key() == leaf.public_key():
            self._new_key.replace(self._key)  # it was stopped between the two files
            self._request.unlink(missing_ok=True)
        if not self._key.exists():
            return None
        return load_certificate(load_credentials(self._chain, self._key).leaf)

    def _shown(self) -> x509.Certificate | None:
        """Return what is shown to the CA; one of another name cannot renew this one (RFC 7030 4.2.2)."""
        shown = self._config.est.certificate
        return None if shown is None else load_certificate(load_chain(shown)[0])

    async def _wanted(self, client: EstClient, kind: KeyKind | None) -> tuple[str, ...]:
        """Return what the CA wants in requests; nothing where that cannot be read, which the CA may not mind."""
        try:
            return await client.wanted(kind, generation_of(kind))
        except V2GError as error:
            data: dict[str, Scalar] = {"lacks": "", "error": str(error)[:200]}
            self._observe(Observe("tls", "enrolment_lacks", {"certificate": self._config.common_name, **data}))
            return ()

    def _subject(self, former: x509.Certificate | None) -> x509.Name:
        first = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self._config.common_name)])
        return first if former is None else former.subject

    def _waiting(self, former: x509.Certificate | None) -> x509.CertificateSigningRequest | None:
        """Return the request that waits, unless its name has been corrected in the configuration."""
        if not (self._request.exists() and self._new_key.exists()):
            return None
        waiting = load_csr(self._request.read_bytes())
        return waiting if waiting.subject == self._subject(former) else None

    def _requested(self, former: x509.Certificate | None, wanted: Sequence[str]) -> x509.CertificateSigningRequest:
        """Return a new request: for the names of the certificate before, and for its kind of key unless the CA wants
        another one that the role's profile has."""
        kind = KeyKind.SECP521R1 if former is None else key_kind(former)
        kinds = [each for oid in wanted if (each := CURVES.get(oid)) is not None and self._may_have(each, former)]
        if kinds and kind not in kinds:
            kind = kinds[0]
        key: PrivateKey = ec.generate_private_key(_CURVES.get(kind, ec.SECP521R1()) if kind else ec.SECP521R1())
        builder = x509.CertificateSigningRequestBuilder().subject_name(self._subject(former))
        if former is not None:
            for each in former.extensions:
                if isinstance(each.value, x509.SubjectAlternativeName):  # RFC 7030 4.2.2: the same names
                    builder = builder.add_extension(each.value, critical=each.critical)
        usual, digests = signature_hash(key), [DIGESTS[oid] for oid in wanted if oid in DIGESTS]
        same = not digests or any(usual is not None and each.name == usual.name for each in digests)
        csr = builder.sign(key, usual if same else digests[0])
        self._request.unlink(missing_ok=True)  # it is of the key before
        save_key(self._new_key, key)
        save_secret(self._request, csr.public_bytes(Encoding.PEM))
        return csr

    def _may_have(self, kind: KeyKind, former: x509.Certificate | None) -> bool:
        """Return whether a profile allows a key: for a renewal that of the edition of the certificate before."""
        generation = generation_of(kind) if self._role is Role.SECC else Generation.ISO15118_20
        same = former is None or self._role is not Role.SECC or generation is generation_of(key_kind(former))
        return same and kind in profile_of(self._role, generation).key_kinds

    def _take(self, chain: str) -> None:
        """Put the new chain and its key in place: stopped in between, `_former` finishes it."""
        save_secret(self._chain, chain.encode())
        self._new_key.replace(self._key)
        self._request.unlink(missing_ok=True)


_CURVES: Final = {
    KeyKind.SECP256R1: ec.SECP256R1(),
    KeyKind.SECP384R1: ec.SECP384R1(),
    KeyKind.SECP521R1: ec.SECP521R1(),
}
