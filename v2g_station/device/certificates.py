"""The charger's certificate files: trusted roots, and its own chains, whose keys never leave it (A02, M).

The core stores what the CSMS has set; these files follow. Every change is one rename, so that a kill leaves the old
file or the new one; a new chain and its key are two files, and the next start completes what a kill has interrupted
between them, before anybody reads them. Users of a file check by themselves whether it has changed.
"""

import asyncio
import contextlib
import ssl
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from v2g.errors import KeyAccessError, V2GError
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.tls.files import RenewedContext, TlsFiles, keep_renewed
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.keys import PrivateKey, PublicKey, save_secret
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.certificate_store import RootsChanged, StoredCertificate, parse_chain
from v2g_station.blocks.security.certificates import KeepStatus
from v2g_station.blocks.security.signing import CertificateTaken, ChainFound, MakeRequest, RequestMade, UseCertificate
from v2g_station.device.own_keys import NewKeys, new_keys

RETIRE_S: Final = 86_400.0
"""How long a key in a token outlives its certificate: sessions that started with it continue with it."""


class Own(msgspec.Struct, frozen=True):
    """The paths of a chain of the charger's own, PEM, and of its key."""

    chain: Path
    key: KeyReference


def root_file(folder: Path, use: str) -> Path:
    """Return the path of the roots of a kind, as set by the CSMS; it does not exist before a station has run."""
    return folder / f"{use}.pem"


def status_file(folder: Path, serial_number: str) -> Path:
    """Return the path of the OCSP response (DER) for a certificate, by its serial number in lower hexadecimal."""
    return folder / f"{serial_number}.ocsp"


class CertificateFiles:
    """The files of one station. `own` names the chains that can be renewed. Slow work (key generation, synced writes)
    is done in a thread, in order."""

    def __init__(
        self,
        folder: Callable[[], Path],
        own: Callable[[], Mapping[CertificateSigningUse, Own]],
        *,
        notify: Callable[[Fact], None],
        observe: Callable[[Observe], None],
    ) -> None:
        self._folder, self._own, self._notify, self._observe = folder, own, notify, observe
        self._thread = DiskThread()
        self._retiring: list[asyncio.TimerHandle] = []

    async def close(self) -> None:
        """Complete pending work."""
        for timer in self._retiring:
            timer.cancel()
        await self._thread.close()

    # -- before the core starts

    def complete(self) -> None:
        """Complete a change of key and chain that a kill has interrupted: until then they do not belong together."""
        with contextlib.suppress(OSError):
            for unfinished in self._folder().glob(".*"):  # of a process killed while writing
                unfinished.unlink()
        for use in self._own():
            with contextlib.suppress(OSError, ValueError, V2GError):
                if self._new_chain(use).exists():
                    self._take(use)

    def settle(self, by_use: Mapping[str, str]) -> None:
        """After `complete`, follow the core, where a kill came between it and its files; `by_use` contains the chains
        that it uses, PEM."""
        for use, own in self._own().items():
            with contextlib.suppress(OSError, ValueError, V2GError):
                if use in by_use and self._waits(use, by_use[use]):
                    self._use(use, by_use[use])
                if (keys := self._keys(use)) is not None:
                    keys.retire(_public(own.chain))
        with contextlib.suppress(OSError, ValueError):
            # delete the OCSP responses for chains that have been replaced
            chains = [each for pem in by_use.values() for each in x509.load_pem_x509_certificates(pem.encode())]
            kept = {status_file(self._folder(), f"{each.serial_number:x}") for each in chains}
            for file in self._folder().glob("*.ocsp"):
                if file not in kept:
                    file.unlink()

    def chains(self) -> dict[CertificateSigningUse, str]:
        """Return the chains in use, PEM; unreadable ones are left out."""
        found: dict[CertificateSigningUse, str] = {}
        for use, own in self._own().items():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found[use] = own.chain.read_text()
        return found

    # -- commands of the core

    def request(self, command: MakeRequest) -> None:
        """Generate a key and a request for it, of the kind of that in use, unless its chain is not the one to renew any
        more."""
        own, keys = self._own().get(command.use), self._keys(command.use)
        if own is None or keys is None:
            self._note("certificate_request_refused", use=command.use)
            return
        made: list[Fact] = []

        def make() -> None:
            leaf = _leaf(own.chain)
            if command.renews and leaf is not None and leaf not in parse_chain(command.renews)[:1]:
                made.append(ChainFound(use=command.use, chain=own.chain.read_text()))
                return
            key = keys.make(leaf.public_key() if leaf is not None else None)  # type: ignore[arg-type]
            subject = _subject(command, leaf)
            csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, _digest_for(key))
            made.append(RequestMade(use=command.use, csr=csr.public_bytes(Encoding.PEM).decode()))

        self._begin("certificate_request_failed", command.use, make, lambda: self._notify(made[0]))

    def use(self, command: UseCertificate) -> None:
        """Put a signed chain and the key generated for it into use."""
        taken: list[bool] = []

        def take() -> None:
            if command.use in self._own() and (
                self._waits(command.use, command.chain) or self._recalled(command.use, command.chain)
            ):
                self._use(command.use, command.chain)
                taken.append(True)

        def notify() -> None:
            if taken:
                self._note("certificate_taken", use=command.use)
                if self._own()[command.use].key.scheme == "pkcs11":
                    loop = asyncio.get_running_loop()
                    self._retiring.append(loop.call_later(RETIRE_S, self._retire, command.use))
            self._notify(CertificateTaken(use=command.use))

        self._begin("certificate_not_taken", command.use, take, notify)

    def _retire(self, use: CertificateSigningUse) -> None:
        """Delete the key replaced by a renewed one."""
        keys, own = self._keys(use), self._own()[use]
        if keys is not None:
            self._begin("certificate_key_kept", use, lambda: keys.retire(_public(own.chain)), lambda: None)

    def _begin(self, failure: str, use: str, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Run work in the thread; a failure is observed."""

        def finished(future: "asyncio.Future[None]") -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, OSError | ValueError | V2GError):
                self._note(failure, use=use, error=str(error)[:200])
            elif error is not None:
                raise error

        self._thread.do(work, then).add_done_callback(finished)

    def roots(self, command: RootsChanged) -> None:
        """Trust exactly these roots for this use."""
        file = root_file(self._folder(), command.use)
        text = "".join(pem if pem.endswith("\n") else pem + "\n" for pem in command.pem).encode()
        try:
            if not file.exists() or file.read_bytes() != text:
                save_secret(file, text)
                self._note("certificate_roots", use=command.use, count=len(command.pem))
        except OSError as error:
            self._note("certificate_not_taken", use=command.use, error=str(error)[:200])

    def keep_status(self, command: KeepStatus) -> None:
        """Keep the OCSP response for a certificate of a chain that the CSMS has signed (M06)."""

        def keep() -> None:
            save_secret(status_file(self._folder(), command.serial_number), b64decode(command.ocsp, validate=True))

        self._begin("certificate_not_taken", "V2GCertificateChain", keep, lambda: None)

    # -- two files in one step

    def _use(self, use: CertificateSigningUse, chain: str) -> None:
        save_secret(self._new_chain(use), chain.encode())  # from here on the next start completes it
        self._take(use)

    def _take(self, use: CertificateSigningUse) -> None:
        """Move key and chain to their place; may be repeated at any point."""
        own, new_chain, keys = self._own()[use], self._new_chain(use), self._keys(use)
        chain = new_chain.read_text()
        if keys is not None and self._waits(use, chain):
            keys.take()
            save_secret(own.chain, chain.encode())
        new_chain.unlink()
        if keys is not None:
            keys.done()

    def _keys(self, use: CertificateSigningUse) -> NewKeys | None:
        own = self._own().get(use)
        if own is None:
            return None
        # resolved at call time: tests interrupt save_secret like a kill
        return new_keys(
            own.key,
            self._folder() / f"{use}.new.key",
            save=lambda path, data: save_secret(path, data),
            in_use=lambda: _public(own.chain),
            replaced=self._folder() / f"{use}.old.key" if use == "ChargingStationCertificate" else None,
        )

    def _waits(self, use: CertificateSigningUse, chain: str) -> bool:
        """Return whether the new key belongs to a chain's leaf."""
        keys = self._keys(use)
        public = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
        return keys is not None and keys.waits(public)  # type: ignore[arg-type]

    def _recalled(self, use: CertificateSigningUse, chain: str) -> bool:
        """Return whether the key that was replaced belongs to a chain's leaf, which is not in use; it is to be taken
        again then (A02.FR.28)."""
        keys, own = self._keys(use), self._own()[use]
        public = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
        return keys is not None and public != _public(own.chain) and keys.recall(public)  # type: ignore[arg-type]

    def _new_chain(self, use: str) -> Path:
        return self._folder() / f"{use}.new.pem"

    def _note(self, name: str, **data: str | int) -> None:
        self._observe(Observe("ocpp", name, {**data}))


def seeds(files: Mapping[InstallCertificateUse, tuple[Path, ...]]) -> tuple[StoredCertificate, ...]:
    """Return the roots of the configuration, one by one. Raises V2GError for files without any."""
    from v2g.pki.credentials import load_chain

    found = []
    for use, paths in files.items():
        for path in paths:
            for der in load_chain(path):
                pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
                found.append(StoredCertificate(use=use, pem=pem))
    return tuple(found)


def _leaf(chain: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _public(chain: Path) -> PublicKey | None:
    leaf = _leaf(chain)
    return leaf.public_key() if leaf is not None else None  # type: ignore[return-value]


def _digest_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA512 | None:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return hashes.SHA512() if key.curve.key_size > 256 else hashes.SHA256()


def _subject(command: MakeRequest, leaf: x509.Certificate | None) -> x509.Name:
    """Return the subject of a request (A00.FR.509, part 2, 2.16.7 to 2.16.9)."""
    first = x509.NameAttribute(NameOID.COMMON_NAME, command.common_name)
    names = list(leaf.subject) if leaf is not None else [first]
    for oid, text in (
        (NameOID.COMMON_NAME, command.secc_id),
        (NameOID.ORGANIZATION_NAME, command.organization),
        (NameOID.COUNTRY_NAME, command.country),
    ):
        if text:
            new = x509.NameAttribute(oid, text)
            names = [new if each.oid == oid else each for each in names]
            names += [] if new in names else [new]
    return x509.Name(names)


# -- TLS towards the CSMS, with files renewed manually or by the CSMS: the next connection uses them


class CsmsTls:
    """Returns a context for each connection. The roots are the file installed by the CSMS if present, else `ca`."""

    def __init__(self, files: TlsFiles, folder: Path, observe: Callable[[Observe], None]) -> None:
        """Raises KeyAccessError for unusable files."""
        self._files, self._roots, self._observe = files, root_file(folder, "CSMSRootCertificate"), observe
        self._watched = FileWatch((files.ca, self._roots))
        self._context = replace(self._files, ca=self.roots).context()
        self._renewed = self._renewal()

    @property
    def roots(self) -> Path:
        """The file with the roots for the CSMS's certificate."""
        return self._roots if self._roots.exists() and self._roots.stat().st_size else self._files.ca

    def context(self, _wanted: object = None) -> ssl.SSLContext:
        """Return the context for a new connection; if the files are unusable, the previous one."""
        if self._watched.changed():
            try:
                self._context = replace(self._files, ca=self.roots).context()
                self._renewed[:] = self._renewal()
            except KeyAccessError as error:
                self._observe(Observe("tls", "roots_kept", {"error": str(error)}))
        for each in self._renewed:
            each.poll()
        return self._context

    async def run(self) -> None:
        """Check for renewed files until cancelled, so that an error is reported before the next connection."""
        await keep_renewed(self._renewed)

    def _renewal(self) -> list[RenewedContext]:
        own = self._files.own
        return [RenewedContext(self._context, *own, self._observe)] if own is not None else []
