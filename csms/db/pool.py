"""The contract certificate pool: which contracts wait for which vehicle, on disk.

`FOLDER/<PCID>/<EMAID>-<digest>.pem` holds a contract's private key, encrypted with the pool's passphrase, and its
chain. A file is there whole or not at all; the back end looks at the folder each time, so that a contract that is added
or removed counts at once.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from v2g.errors import CertificateError, ConfigError, KeyAccessError, StoreError, V2GError
from v2g.io.keys.secrets import read_pin
from v2g.iso15118.d20.installation import Contract, read_pcid
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.credentials import load_bundle, save_bundle
from v2g.pki.keys import PrivateKey
from v2g.pki.profiles import Role
from v2g.pki.reference import KeyReference
from v2g.pki.verify import check_profile


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A contract in the pool. `problem` says why it cannot be delivered, or is empty."""

    pcid: str
    emaid: str
    file: Path
    not_after: datetime | None = None
    problem: str = ""


class ContractPool:
    """The folder. `find` reads files: call it off the event loop."""

    def __init__(self, folder: Path, passphrase: bytes) -> None:
        self._folder, self._passphrase = folder, passphrase

    def find(self, pcid: str) -> tuple[tuple[Contract, ...], tuple[str, ...]]:
        """Return the contracts of a vehicle, and what is wrong with files of its that are none."""
        contracts, problems = [], []
        for path in sorted(self._vehicle(pcid).glob("*.pem")):
            try:
                credentials = load_bundle(path, self._passphrase)
            except V2GError as error:
                problems.append(str(error))
            else:
                contracts.append(Contract(credentials.chain, credentials.private_key))
        return tuple(contracts), tuple(problems)

    def add(self, pcid: str, chain: tuple[bytes, ...], key: PrivateKey, *, interop: bool = False) -> Entry:
        """Put a contract into the pool; another one of the same EMAID stays until it is removed.

        Raises CertificateError for what is no contract or no PCID, KeyAccessError for a key that is not the
        contract's, StoreError when the disk does not take it.
        """
        leaf = load_certificate(chain[0])
        check_profile(leaf, Role.CONTRACT, interop=interop)
        if not 2 <= len(chain) <= 4:
            raise CertificateError(f"a contract comes with 1 to 3 sub-CAs, not {len(chain) - 1}", reason="malformed")
        if leaf.public_key() != key.public_key():
            raise KeyAccessError("the key is not that of the contract certificate")
        emaid, folder = emaid_of(leaf), self._vehicle(read_pcid(pcid))
        path = folder / f"{emaid}-{hashlib.sha256(chain[0]).hexdigest()[:16]}.pem"
        try:
            for each in (self._folder, folder):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            save_bundle(path, chain, key, self._passphrase)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}", hint="provisioning.pool must be writable") from None
        return Entry(pcid=folder.name, emaid=emaid, file=path, not_after=leaf.not_valid_after_utc)

    def entries(self) -> Iterator[Entry]:
        """Yield everything in the pool."""
        for path in sorted(self._folder.glob("*/*.pem")):
            pcid, emaid = path.parent.name, path.name.partition("-")[0]
            try:
                leaf = load_certificate(load_bundle(path, self._passphrase).leaf)
            except V2GError as error:
                yield Entry(pcid=pcid, emaid=emaid, file=path, problem=str(error))
            else:
                yield Entry(pcid=pcid, emaid=emaid, file=path, not_after=leaf.not_valid_after_utc)

    def remove(self, pcid: str, emaid: str) -> int:
        """Take a contract out of the pool; return how many certificates it had there."""
        found = list(self._vehicle(read_pcid(pcid)).glob(f"{emaid}-*.pem"))
        for path in found:
            path.unlink()
        return len(found)

    def _vehicle(self, pcid: str) -> Path:
        return self._folder / read_pcid(pcid)


def open_pool(reference: KeyReference) -> ContractPool:
    """Return the pool that `[provisioning] pool` names. Raises ConfigError and KeyAccessError."""
    passphrase = read_pin(reference.pin)
    if reference.path is None or passphrase is None:
        raise ConfigError(
            f"provisioning.pool: {reference} is no folder with a passphrase",
            hint="file:pool?pin-source=file:pool.secret (mode 0600), env:NAME or credential:NAME",
        )
    return ContractPool(reference.path, passphrase)
