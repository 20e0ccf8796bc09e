"""A certificate chain with its private key, for a TLS endpoint or a signer."""

from pathlib import Path

import msgspec

from v2g.errors import CertificateError, KeyAccessError
from v2g.pki.certificates import chain_from_pem, chain_to_pem, load_certificate
from v2g.pki.keys import (
    LeafKey,
    PrivateKey,
    SoftwareKey,
    load_key,
    load_private_key,
    private_pem,
    read_secret,
    save_secret,
)


class Credentials(msgspec.Struct, frozen=True):
    """DER certificates, leaf first and without the root, and the key of the leaf."""

    chain: tuple[bytes, ...]
    key: LeafKey

    @property
    def leaf(self) -> bytes:
        """The leaf certificate, DER."""
        return self.chain[0]

    @property
    def private_key(self) -> PrivateKey:
        """The private half, for libraries that need it. Raises KeyAccessError for a key in a store."""
        if not isinstance(self.key, SoftwareKey):
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
        raise CertificateError(f"{path}: {error}", reason=error.reason) from None


def load_bundle(path: Path, passphrase: bytes | None = None) -> Credentials:
    """Return the credentials in one PEM file with key and chain.

    Raises as `load_credentials`, and KeyAccessError for a wrong passphrase.
    """
    pem = read_secret(path)
    try:
        chain = chain_from_pem(pem)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}", reason=error.reason) from None
    key = SoftwareKey(load_private_key(path, passphrase))
    if load_certificate(chain[0]).public_key() != key.public_key:
        raise KeyAccessError(f"{path}: its key does not match its certificate")
    return Credentials(chain, key)


def save_bundle(path: Path, chain: tuple[bytes, ...], key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write key and chain atomically into one PEM file of mode 0600; the key encrypted if there is a passphrase.

    Raises OSError.
    """
    save_secret(path, private_pem(key, passphrase) + chain_to_pem(chain).encode())


def load_credentials(chain_path: Path, key_path: Path) -> Credentials:
    """Return the credentials in two PEM files.

    Raises CertificateError(malformed) for a bad chain file; KeyAccessError for an unreadable or too permissive key,
    and for a key that does not match the leaf.
    """
    for _ in range(2):  # a renewal may happen between the two files: then the second read finds both new
        chain = load_chain(chain_path)
        key = load_key(key_path)
        if load_certificate(chain[0]).public_key() == key.public_key:
            return Credentials(chain, key)
    raise KeyAccessError(f"{key_path} is not the key of {chain_path}", hint="check that both are of one leaf")
