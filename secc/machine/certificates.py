"""The charger's certificates as files: roots that it believes, and its own chains, whose keys never leave it (A02, M).

The CSMS's wishes are kept by the core; these files follow. Every change is one rename, so that a kill leaves the old
file or the new one; a new chain and its key are two files, and what a kill leaves between them the next start brings to
its end. Nothing here is asked for twice: whoever uses a file looks whether it has changed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from secc.core.station.certificate_store import RootsChanged, Stored
from secc.core.station.evse import Fact
from secc.core.station.signing import MakeRequest, RequestMade, UseCertificate
from v2g.errors import V2GError
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.keys import PrivateKey, private_pem, save_secret


@dataclass(frozen=True)
class Own:
    """Where a chain of the charger's own and its key are, PEM."""

    chain: Path
    key: Path


def root_file(folder: Path, use: str) -> Path:
    """Return where the roots of a kind stand, as the CSMS wants them; not there before a station has run."""
    return folder / f"{use}.pem"


class CertificateFiles:
    """The files of one station. `own` names the chains that can be asked for anew: none for a key in a token."""

    def __init__(
        self,
        folder: Callable[[], Path],
        own: Callable[[], Mapping[CertificateSigningUse, Own]],
        *,
        tell: Callable[[Fact], None],
        observe: Callable[[Observe], None],
    ) -> None:
        self._folder, self._own, self._tell, self._observe = folder, own, tell, observe

    # -- before the core begins

    def settle(self, kept: Mapping[str, str]) -> None:
        """Finish what a kill has cut off; `kept` has the chains that the core has taken, PEM by use."""
        for use in self._own():
            with contextlib.suppress(OSError, ValueError):
                if self._coming(use).exists():
                    self._take(use)
                elif use in kept and self._pending(use).exists() and _fits(kept[use], self._pending(use)):
                    self._use(use, kept[use])

    def chains(self) -> dict[CertificateSigningUse, str]:
        """Return the chains in use, PEM; what cannot be read is left out."""
        found: dict[CertificateSigningUse, str] = {}
        for use, own in self._own().items():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found[use] = own.chain.read_text()
        return found

    # -- what the core wants

    def request(self, command: MakeRequest) -> None:
        """Make a key and a request for it, of the kind and for the subject of the chain in use."""
        own = self._own().get(command.use)
        if own is None:
            self._note("request_refused", use=command.use)
            return
        asyncio.get_running_loop().call_soon(self._make, command, own)

    def _make(self, command: MakeRequest, own: Own) -> None:
        try:
            leaf = _leaf(own.chain)
            key = _key_like(leaf)
            save_secret(self._pending(command.use), private_pem(key))
        except OSError as error:
            self._note("request_failed", use=command.use, error=str(error)[:200])
            return
        subject = leaf.subject if leaf is not None else _subject(command)
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, _digest_for(key))
        self._tell(RequestMade(use=command.use, csr=csr.public_bytes(Encoding.PEM).decode()))

    def use(self, command: UseCertificate) -> None:
        """Let a signed chain and the key that was made for it be the ones in use."""
        try:
            if command.use in self._own() and _fits(command.chain, self._pending(command.use)):
                self._use(command.use, command.chain)
        except (OSError, ValueError) as error:
            self._note("not_taken", use=command.use, error=str(error)[:200])

    def roots(self, command: RootsChanged) -> None:
        """Believe these roots, and no others, for this use."""
        file = root_file(self._folder(), command.use)
        text = "".join(pem if pem.endswith("\n") else pem + "\n" for pem in command.pem).encode()
        try:
            if not file.exists() or file.read_bytes() != text:
                save_secret(file, text)
                self._note("roots", use=command.use, count=len(command.pem))
        except OSError as error:
            self._note("not_taken", use=command.use, error=str(error)[:200])

    # -- two files in one step

    def _use(self, use: CertificateSigningUse, chain: str) -> None:
        save_secret(self._coming(use), chain.encode())  # from here on the next start finishes it
        self._take(use)

    def _take(self, use: CertificateSigningUse) -> None:
        """Put key and chain where they are used; may be done again at any point."""
        own, coming, pending = self._own()[use], self._coming(use), self._pending(use)
        chain = coming.read_text()
        if pending.exists() and _fits(chain, pending):
            save_secret(own.key, pending.read_bytes())
            save_secret(own.chain, chain.encode())
            self._note("taken", use=use)
        coming.unlink()
        pending.unlink(missing_ok=True)

    def _pending(self, use: str) -> Path:
        return self._folder() / f"{use}.new.key"

    def _coming(self, use: str) -> Path:
        return self._folder() / f"{use}.new.pem"

    def _note(self, name: str, **data: str | int) -> None:
        self._observe(Observe("ocpp", f"certificate_{name}", dict(data)))


def seeds(files: Mapping[InstallCertificateUse, tuple[Path, ...]]) -> tuple[Stored, ...]:
    """Return the roots that the configuration names, each by itself. Raises V2GError for files that hold none."""
    from v2g.pki.credentials import load_chain

    found = []
    for use, paths in files.items():
        for path in paths:
            for der in load_chain(path):
                pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
                found.append(Stored(use=use, pem=pem))
    return tuple(found)


def _leaf(chain: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except (OSError, ValueError):
        return None


def _key_like(leaf: x509.Certificate | None) -> PrivateKey:
    """Return a new key of the kind of a certificate's; P-256 where there is none (A00.FR.514)."""
    public = leaf.public_key() if leaf is not None else None
    if isinstance(public, ed448.Ed448PublicKey):
        return ed448.Ed448PrivateKey.generate()
    curve = public.curve if isinstance(public, ec.EllipticCurvePublicKey) else ec.SECP256R1()
    return ec.generate_private_key(curve)


def _digest_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA512 | None:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return hashes.SHA512() if key.curve.key_size > 256 else hashes.SHA256()


def _subject(command: MakeRequest) -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, command.common_name)]
    if command.organization:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, command.organization))
    return x509.Name(names)


def _fits(chain: str, key: Path) -> bool:
    """Return whether a chain's leaf is for the key in a file."""
    from v2g.pki.keys import load_key

    try:
        public = load_key(key).public_key
    except V2GError:
        return False
    return x509.load_pem_x509_certificates(chain.encode())[0].public_key() == public
