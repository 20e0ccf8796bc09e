"""The contract certificate pool: contracts on disk, by vehicle.

`FOLDER/<PCID>/<EMAID>-<digest>.pem` holds a contract's private key, encrypted with the pool's passphrase, and its
chain. Files are written atomically; the back end reads the folder each time, so that additions and
removals apply at once.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import CertificateError, ConfigError, KeyAccessError, StoreError, V2GError
from v2g.io.keys.pins import read_pin
from v2g.iso15118.engine.contracts import Contract, read_pcid
from v2g.pki.certificates import emaid_of, key_kind, load_certificate
from v2g.pki.conformity import refusal
from v2g.pki.credentials import load_bundle, save_bundle
from v2g.pki.keys import PrivateKey
from v2g.pki.paths import is_self_signed, signature_matches
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.profiles import generation_of
from v2g.pki.reference import KeyReference
from v2g.pki.verify import check_profile

_ORDER: Final = "the contract first, then its sub-CAs, each after what it has signed"


class PoolEntry(msgspec.Struct, frozen=True, kw_only=True):
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
        """Return the contracts of a vehicle, with the problems of its invalid files."""
        return self._read(self._vehicle(pcid).glob("*.pem"))

    def find_successors(self, emaid: str, certificate: bytes) -> tuple[tuple[Contract, ...], tuple[str, ...]]:
        """Return the contracts of the vehicle that has `certificate` (DER) of the contract `emaid`, and problems.

        If the pool no longer has that certificate, the vehicle is the only one with this EMAID; of several, none is.
        """
        held = list(self._folder.glob(f"*/{_file_name(emaid, certificate)}"))
        of_emaid = self._folder.glob(f"*/{emaid[:14]}*.pem")  # with or without check digit
        folders = {path.parent for path in held or of_emaid}
        if len(folders) > 1:
            return (), (f"{emaid} is in the pool for {len(folders)} vehicles",)
        return self._read(path for folder in folders for path in folder.glob("*.pem"))

    def _read(self, paths: Iterable[Path]) -> tuple[tuple[Contract, ...], tuple[str, ...]]:
        contracts, problems = [], []
        for path in sorted(paths):
            try:
                credentials = load_bundle(path, self._passphrase)
            except V2GError as error:
                problems.append(str(error))
            else:
                contracts.append(Contract(credentials.chain, credentials.private_key))
        return tuple(contracts), tuple(problems)

    def add(self, pcid: str, chain: tuple[bytes, ...], key: PrivateKey, *, interop: bool = False) -> PoolEntry:
        """Add a contract to the pool, without a root after it; another one of the same EMAID stays until it is removed.

        Raises CertificateError for an invalid contract or PCID, or a chain out of order, KeyAccessError for a key that
        does not match the contract, EnvelopeError for one that cannot be delivered, StoreError if it cannot be written.
        """
        leaf, *above = map(load_certificate, chain)
        chain = (chain[0], *(der for der, each in zip(chain[1:], above, strict=True) if not is_self_signed(each)))
        generation = Generation.ISO15118_20 if interop else generation_of(key_kind(leaf))
        check_profile(leaf, Role.CONTRACT, interop=interop, generation=generation)
        if not 2 <= len(chain) <= 4:
            raise CertificateError(f"a contract comes with 1 to 3 sub-CAs, not {len(chain) - 1}", reason="malformed")
        for below, authority in pairwise(map(load_certificate, chain)):
            if not signature_matches(authority, below):
                raise refusal(below, "is not signed by what follows it", "chain_out_of_order", _ORDER)
        if leaf.public_key() != key.public_key():
            raise KeyAccessError("the key does not match the contract certificate")
        if key_kind(leaf) is KeyKind.ED448:
            from v2g.iso15118.d20.envelope import to_field  # loads the messages of a session, which few back ends need

            to_field(key)
        emaid, folder = emaid_of(leaf), self._vehicle(read_pcid(pcid))
        path = folder / _file_name(emaid, chain[0])
        try:
            for each in (self._folder, folder):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            save_bundle(path, chain, key, self._passphrase)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}", hint="provisioning.pool must be writable") from None
        return PoolEntry(pcid=folder.name, emaid=emaid, file=path, not_after=leaf.not_valid_after_utc)

    def entries(self, fault_of: Callable[[Sequence[bytes]], str]) -> Iterator[PoolEntry]:
        """Yield everything in the pool. `fault_of` says why a chain (DER, leaf first) cannot be delivered."""
        for path in sorted(self._folder.glob("*/*.pem")):
            pcid, emaid = path.parent.name, path.name.partition("-")[0]
            try:
                chain = load_bundle(path, self._passphrase).chain
            except V2GError as error:
                yield PoolEntry(pcid=pcid, emaid=emaid, file=path, problem=str(error))
            else:
                until = load_certificate(chain[0]).not_valid_after_utc
                yield PoolEntry(pcid=pcid, emaid=emaid, file=path, not_after=until, problem=fault_of(chain))

    def remove(self, pcid: str, emaid: str) -> int:
        """Remove a contract from the pool; return how many certificates it had there."""
        found = list(self._vehicle(read_pcid(pcid)).glob(f"{emaid}-*.pem"))
        for path in found:
            path.unlink()
        return len(found)

    def _vehicle(self, pcid: str) -> Path:
        return self._folder / read_pcid(pcid)


def _file_name(emaid: str, certificate: bytes) -> str:
    return f"{emaid}-{hashlib.sha256(certificate).hexdigest()[:16]}.pem"


def open_pool(reference: KeyReference) -> ContractPool:
    """Return the pool that `[provisioning] pool` names. Raises ConfigError and KeyAccessError."""
    passphrase = read_pin(reference.pin)
    if reference.path is None or passphrase is None:
        raise ConfigError(
            f"provisioning.pool: {reference} is not a folder with a passphrase source",
            hint="file:pool?pin-source=file:pool.secret (mode 0600), env:NAME or credential:NAME",
        )
    return ContractPool(reference.path, passphrase)
