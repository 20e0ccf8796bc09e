"""A certificate chain together with its private key, as a TLS endpoint or a signer holds it."""

from pathlib import Path

import msgspec

from v2g.errors import CertificateError, KeyAccessError
from v2g.pki.certificates import chain_from_pem, load_certificate
from v2g.pki.keys import PrivateKey, SoftwareKey, load_private_key


class Credentials(msgspec.Struct, frozen=True):
    """DER certificates, leaf first and without the root, and the key of the leaf."""

    chain: tuple[bytes, ...]
    private_key: PrivateKey

    @property
    def leaf(self) -> bytes:
        """The leaf certificate, DER."""
        return self.chain[0]

    @property
    def signing_key(self) -> SoftwareKey:
        """The key as a SigningKey."""
        return SoftwareKey(self.private_key)

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


def load_credentials(chain_path: Path, key_path: Path) -> Credentials:
    """Return the credentials in two PEM files.

    Raises CertificateError(malformed) for a bad chain file; KeyAccessError for an unreadable or too readable key,
    and for a key that is not the leaf's.
    """
    chain = load_chain(chain_path)
    key = load_private_key(key_path)
    if load_certificate(chain[0]).public_key() != key.public_key():
        raise KeyAccessError(f"{key_path} is not the key of {chain_path}", hint="check that both are of one leaf")
    return Credentials(chain, key)
