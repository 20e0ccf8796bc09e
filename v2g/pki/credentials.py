"""A certificate chain with its private key, for a TLS endpoint or a signer."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import CertificateError, KeyAccessError
from v2g.pki import keys
from v2g.pki.certificates import chain_from_pem, chain_to_pem, load_certificate

MOST_RENEWALS: Final = 10
"""So many in a row between the reading of a chain and of its key are followed."""


class Credentials(msgspec.Struct, frozen=True):
    """DER certificates, leaf first and without the root, and the key of the leaf."""

    chain: tuple[bytes, ...]
    key: keys.LeafKey

    @property
    def leaf(self) -> bytes:
        """The leaf certificate, DER."""
        return self.chain[0]

    @property
    def private_key(self) -> keys.PrivateKey:
        """The private half, for libraries that need it. Raises KeyAccessError for a key in a store."""
        if not isinstance(self.key, keys.SoftwareKey):
            raise KeyAccessError(f"{self.key} cannot leave its store", hint="only the native TLS backend can use it")
        return self.key.expose()

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"Credentials({len(self.chain)} certificates)"


def load_chain(path: Path) -> tuple[bytes, ...]:
    """Return the PEM certificates of a file as DER, in file order. Raises CertificateError(malformed)."""
    try:
        return chain_from_pem(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}", reason="malformed") from None
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}", reason=error.reason, hint=error.hint) from None


def load_authorities(paths: Iterable[Path]) -> tuple[bytes, ...]:
    """Return all certificates of PEM files as DER, such as roots, an old and its new one in one file.

    Raises CertificateError(malformed).
    """
    return tuple(der for path in paths for der in load_chain(path))


def load_bundle(path: Path, passphrase: bytes | None = None) -> Credentials:
    """Return the credentials in one PEM file with key and chain.

    Raises as `load_credentials`, and KeyAccessError for a wrong passphrase.
    """
    pem = keys.read_secret(path)
    try:
        chain = chain_from_pem(pem)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}", reason=error.reason) from None
    key = keys.SoftwareKey(keys.load_private_key(path, passphrase))
    if load_certificate(chain[0]).public_key() != key.public_key:
        raise KeyAccessError(f"{path}: its key does not match its certificate")
    return Credentials(chain, key)


def save_bundle(path: Path, chain: tuple[bytes, ...], key: keys.PrivateKey, passphrase: bytes | None = None) -> None:
    """Write key and chain atomically into one PEM file of mode 0600; the key encrypted if there is a passphrase.

    Raises OSError.
    """
    keys.save_secret(path, keys.private_pem(key, passphrase) + chain_to_pem(chain).encode())


def load_credentials(chain_path: Path, key_path: Path) -> Credentials:
    """Return the credentials in two PEM files.

    Raises CertificateError(malformed) for a bad chain file; KeyAccessError for an unreadable or too permissive key,
    and for a key that does not match the leaf.
    """
    return matching(chain_path, lambda _: keys.load_key(key_path), key_path)


def matching(chain_path: Path, open_key: Callable[[object], keys.LeafKey], name: object) -> Credentials:
    """Return a chain with the key that is opened for its leaf's public key; `name` is the key's, for errors.

    Both are read again while renewals happen between the two. Raises CertificateError(malformed) for a bad chain file,
    KeyAccessError for a key that is not the leaf's, and what opening the key raises.
    """
    chain = load_chain(chain_path)
    for _ in range(MOST_RENEWALS):
        leaf = load_certificate(chain[0]).public_key()
        key = open_key(leaf)
        if leaf == key.public_key:
            return Credentials(chain, key)
        before, chain = chain, load_chain(chain_path)
        if chain == before:
            break
    raise KeyAccessError(f"{name} is not the key of {chain_path}", hint="check that both are of one leaf")
