"""The vehicle's contracts on disk: one file each, with key and chain, written in one step.

`FOLDER/<EMAID>-<digest>.pem` holds the private key (PKCS#8, encrypted if a passphrase is configured) and the chain,
mode 0600. Files are written atomically, so that a kill or a power failure loses nothing. `FOLDER/postponed` has the
time (UTC, ms) before which no further one is requested, `FOLDER/refused` those of contracts refused by a charger, by
the digests of their leaves.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from evcc.config import EvccConfig, ProvisioningConfig
from evcc.session.contracts import RETRY_MS, Contract, Provisioning
from evcc.session.ports import PostponeInstallation, RefuseContract, StoreContract
from v2g import typed_json
from v2g.errors import ConfigError, StoreError, V2GError
from v2g.io.keys.pins import read_pin
from v2g.io.keys.stores import load_credentials
from v2g.io.runtime.runner import Execute, Outcome
from v2g.io.storage.journal_file import remove_file, write_files
from v2g.io.tls.revocation import CrlFiles
from v2g.iso15118.engine.contracts import pcid_of
from v2g.iso15118.engine.session import Command
from v2g.iso15118.engine.signature import EDITION_2
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_authorities, load_bundle, save_bundle
from v2g.pki.keys import SigningKey, algorithm_of

_POSTPONED: Final = "postponed"
_REFUSED: Final = "refused"


class ContractStore:
    """The folder; created if missing. Raises StoreError if it cannot be used."""

    def __init__(self, folder: Path, passphrase: bytes | None, observe: Callable[[Observe], None]) -> None:
        self._folder, self._passphrase, self._observe = folder, passphrase, observe
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for unfinished in folder.glob(".*.pem.*"):  # of a process killed while writing
                unfinished.unlink()
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}", hint="provisioning.store must be writable") from None

    def load(self) -> tuple[Contract, ...]:
        """Return all readable contracts; others are reported, and left in place."""
        found = []
        for path in sorted(self._folder.glob("*.pem")):
            try:
                credentials = load_bundle(path, self._passphrase)
            except V2GError as error:
                self._observe(Observe("installation", "not_readable", {"file": path.name, "error": str(error)}))
            else:
                found.append(Contract(credentials.chain, credentials.key))
        return tuple(found)

    def save(self, contract: StoreContract) -> None:
        """Store a contract; it is on disk when this returns, and its predecessors of the same EMAID are deleted.

        A contract that begins later is not a predecessor: if a charger replays an old contract, signed by its service,
        the vehicle does not lose the new one; nor is that of the other edition, whose key signs by another algorithm.
        Raises StoreError.
        """
        of_2, begin = algorithm_of(contract.key) in EDITION_2, load_certificate(contract.chain[0]).not_valid_before_utc
        name = f"{contract.emaid}-{hashlib.sha256(contract.chain[0]).hexdigest()[:16]}.pem"
        try:
            save_bundle(self._folder / name, contract.chain, contract.key, self._passphrase)
            for older in self._folder.glob(f"{contract.emaid}-*.pem"):
                if older.name != name and self._precedes(older, begin, of_2=of_2):
                    older.unlink()
        except OSError as error:
            raise StoreError(f"{self._folder / name}: {error.strerror}", hint="is the disk full?") from None
        remove_file(self._folder / _POSTPONED)

    def _precedes(self, path: Path, begin: datetime, *, of_2: bool) -> bool:
        try:
            known = load_bundle(path, self._passphrase)
        except V2GError:  # unreadable, so it cannot pay
            return True
        same = (known.key.algorithm in EDITION_2) is of_2
        return same and load_certificate(known.leaf).not_valid_before_utc <= begin

    @property
    def postponed_until_ms(self) -> int:
        """Before which time (UTC) no contract is requested, 0 without one."""
        try:
            return int((self._folder / _POSTPONED).read_bytes())
        except (OSError, ValueError):
            return 0

    def postpone(self, until_ms: int) -> None:
        """Store that time, until another contract is stored. Raises StoreError."""
        write_files(self._folder, {_POSTPONED: b"%d" % until_ms}, private=True)

    def refused(self, contracts: Iterable[Contract]) -> dict[bytes, int]:
        """Return the leaves (DER) of contracts that were refused, each with the time (UTC, ms) until which others come
        first."""
        known = self._refusals()
        leaves = {each.chain[0]: hashlib.sha256(each.chain[0]).hexdigest() for each in contracts}
        return {leaf: known[digest] for leaf, digest in leaves.items() if digest in known}

    def refuse(self, refused: RefuseContract) -> None:
        """Store a refusal, and forget those whose time was over before. Raises StoreError."""
        since_ms = refused.until_ms - RETRY_MS
        known = {leaf: until_ms for leaf, until_ms in self._refusals().items() if until_ms > since_ms}
        known[hashlib.sha256(refused.leaf).hexdigest()] = refused.until_ms
        write_files(self._folder, {_REFUSED: msgspec.json.encode(known)}, private=True)

    def _refusals(self) -> dict[str, int]:
        try:
            return typed_json.decode((self._folder / _REFUSED).read_bytes(), dict[str, int])
        except (OSError, msgspec.DecodeError):
            return {}


class Contracts:
    """The vehicle's contracts: the configured one, those in the store, and the means to request more."""

    def __init__(self, config: EvccConfig, observe: Callable[[Observe], None]) -> None:
        """Read everything. Raises V2GError for unusable files."""
        self._observe = observe
        self._store: ContractStore | None = None
        self.provisioning: Provisioning | None = None
        self.known: tuple[Contract, ...] = ()
        self.refused: dict[bytes, int] = {}
        if config.contract is not None:
            credentials = load_credentials(config.contract.chain, config.contract.key)
            self.known = (Contract(credentials.chain, credentials.key),)
        if config.provisioning is not None:
            # the vehicle's identity for contract requests
            own = config.provisioning
            self._store = _open_store(own, observe)
            credentials = load_credentials(own.chain, own.key)
            self.provisioning = Provisioning(
                chain=credentials.chain,
                key=credentials.key,
                pcid=pcid_of(load_certificate(credentials.leaf)),
                v2g_roots=load_authorities(config.tls.anchors),
                mo_roots=load_authorities(own.mo_roots),
                crosses=load_authorities(config.tls.cross_certificates),
                interop=config.security_profile == "interop",
                rules=own.envelope,
                crls=CrlFiles(config.tls.crls, observe)(),
                postponed_until_ms=self._store.postponed_until_ms,
            )
            self.known = (*self.known, *self._store.load())
            self.refused = self._store.refused(self.known)

    @property
    def first_key(self) -> SigningKey | None:
        """The key of the first contract, for tests of misbehaviour."""
        return self.known[0].key if self.known else None

    def execute(self, command: Command, others: Execute) -> Outcome | None:
        """Store a contract, its refusal, or when the next one may be requested, at once; other commands go to `others`.

        A contract that cannot be stored still pays for this session, and is reported; the next one requests it again.
        """
        if not isinstance(command, StoreContract | PostponeInstallation | RefuseContract):
            return others(command)
        if self._store is None and isinstance(command, RefuseContract):
            return None  # it has nowhere to remember it, and only this contract
        assert self._store is not None  # a vehicle that requests contracts has one
        emaid = command.emaid if isinstance(command, StoreContract) else ""
        try:
            if isinstance(command, PostponeInstallation):
                self._store.postpone(command.until_ms)
                return None
            if isinstance(command, RefuseContract):
                self._store.refuse(command)
                return None
            self._store.save(command)
        except StoreError as error:
            self._observe(Observe("installation", "not_stored", {"emaid": emaid, "error": str(error)}))
        else:
            self._observe(Observe("installation", "stored", {"emaid": emaid}))
        return None


def _open_store(config: ProvisioningConfig, observe: Callable[[Observe], None]) -> ContractStore:
    folder = config.store.path
    if folder is None:
        raise ConfigError(f"provisioning.store: {config.store} is not a folder", hint="contracts are kept in files")
    return ContractStore(folder, read_pin(config.store.pin), observe)
