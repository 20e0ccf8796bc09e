"""New keys until their certificates arrive, beside those in use: in files, a TPM's key files, or a PKCS#11 token (A02).

In a token a new key is another object, with a number appended to its label. The chain's leaf alone determines which key
is in use, so that one rename of the chain's file changes both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from v2g.errors import KeyAccessError, V2GError
from v2g.io.keys.foreign import as_private_key
from v2g.io.keys.stores import is_tpm_file, open_key
from v2g.pki.keys import Algorithm, PrivateKey, PublicKey, algorithm_of, load_key, private_pem
from v2g.pki.reference import KeyReference

Save = Callable[[Path, bytes], None]


class NewKeys(Protocol):
    """The key of one chain, and its successor. All methods raise OSError or V2GError."""

    def make(self, like: PublicKey | None) -> PrivateKey:
        """Generate a key of the kind of `like`, replacing a pending one."""

    def waits(self, public: PublicKey) -> bool:
        """Return whether this key is the pending one."""

    def recall(self, public: PublicKey) -> bool:
        """Make the key that was replaced the pending one; return whether it is this key."""

    def take(self) -> None:
        """Move the pending key to where it is used; may be repeated."""

    def done(self) -> None:
        """Clear the pending state."""

    def retire(self, public: PublicKey | None) -> None:
        """Delete predecessors of the key in use, which has this public key."""


class FileKeys(msgspec.Struct, frozen=True):
    """A file, PEM; the new key is in `pending`, the one before in `replaced`, if it is kept. Implements NewKeys."""

    key: Path
    pending: Path
    replaced: Path | None
    save: Save

    def make(self, like: PublicKey | None) -> PrivateKey:
        """See NewKeys; P-256 without a model (A00.FR.514)."""
        key: PrivateKey
        if isinstance(like, ed448.Ed448PublicKey):
            key = ed448.Ed448PrivateKey.generate()
        else:
            curve = like.curve if isinstance(like, ec.EllipticCurvePublicKey) else ec.SECP256R1()
            key = ec.generate_private_key(curve)
        self.save(self.pending, private_pem(key))
        return key

    def waits(self, public: PublicKey) -> bool:
        try:
            return self._public(self.pending) == public
        except V2GError:
            return False

    def _public(self, file: Path) -> PublicKey:
        return load_key(file).public_key

    def recall(self, public: PublicKey) -> bool:
        try:
            if self.replaced is None or self._public(self.replaced) != public:
                return False
        except V2GError:
            return False
        self.replaced.replace(self.pending)
        return True

    def take(self) -> None:
        new, old = self.pending.read_bytes(), self.key.read_bytes() if self.key.exists() else b""
        if self.replaced is not None and old and old != new:
            self.save(self.replaced, old)
        self.save(self.key, new)

    def done(self) -> None:
        self.pending.unlink(missing_ok=True)

    def retire(self, public: PublicKey | None) -> None:
        """See NewKeys: the file is replaced when the new key is taken."""


class TpmKeys(FileKeys, frozen=True):
    """A TPM's key file, usable only with that TPM. Implements NewKeys."""

    reference: KeyReference

    def make(self, like: PublicKey | None) -> PrivateKey:
        from v2g.io.keys.tpm import make_tpm

        self.pending.unlink(missing_ok=True)
        algorithm = algorithm_of(like) if like is not None else Algorithm.ECDSA_SHA256
        return as_private_key(make_tpm(self.reference.at(self.pending), algorithm))

    def _public(self, file: Path) -> PublicKey:
        return open_key(self.reference.at(file)).public_key


class TokenKeys(msgspec.Struct, frozen=True):
    """NewKeys: objects of a PKCS#11 token with numbered labels; the label of the pending one is in `pending`."""

    reference: KeyReference
    pending: Path
    save: Save
    in_use: Callable[[], PublicKey | None]

    def make(self, like: PublicKey | None) -> PrivateKey:
        """See NewKeys; P-521, as in ISO 15118-20, without a model."""
        from v2g.io.keys.pkcs11 import make_successor

        self.done()
        self.retire(self.in_use())
        algorithm = algorithm_of(like) if like is not None else Algorithm.ECDSA_SHA512
        key = make_successor(self.reference, algorithm)
        self.save(self.pending, key.reference.pkcs11["object"])
        return as_private_key(key)

    def waits(self, public: PublicKey) -> bool:
        try:
            key = open_key(self.reference.called(self.pending.read_bytes()))
        except (OSError, KeyAccessError):
            return False
        return key.public_key == public

    def recall(self, public: PublicKey) -> bool:
        from v2g.io.keys.pkcs11 import numbered

        found = [each for each in numbered(self.reference) if open_key(each).public_key == public]
        for each in found[:1]:
            self.save(self.pending, each.pkcs11["object"])
        return bool(found)

    def take(self) -> None:
        """See NewKeys: the chain determines the key in use."""

    def done(self) -> None:
        self.pending.unlink(missing_ok=True)

    def retire(self, public: PublicKey | None) -> None:
        """See NewKeys. A pending one stays, and so do all if none matches the chain."""
        from v2g.io.keys.pkcs11 import delete_pkcs11, numbered

        waiting = self.pending.read_bytes() if self.pending.exists() else b""
        found = [(each, open_key(each).public_key) for each in numbered(self.reference)]
        if public is None or public not in [key for _, key in found]:
            return
        for each, key in found:
            if key != public and each.pkcs11["object"] != waiting:
                delete_pkcs11(each)


def new_keys(
    reference: KeyReference,
    pending: Path,
    *,
    save: Save,
    in_use: Callable[[], PublicKey | None],
    replaced: Path | None = None,
) -> NewKeys | None:
    """Return how this key is renewed, None if it cannot be: a persistent handle, an encrypted file."""
    if reference.scheme == "pkcs11":
        return TokenKeys(reference, pending, save, in_use) if "object" in reference.pkcs11 else None
    if reference.path is None:
        return None
    if is_tpm_file(reference):
        return TpmKeys(reference.path, pending, replaced, save, reference)
    return FileKeys(reference.path, pending, replaced, save) if reference.pin is None else None
