"""The operator's own key: it signs corrections, receipts of journals and closed months."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from v2g.io.keys.stores import open_key
from v2g.pki.keys import PublicKey, SigningKey, SoftwareKey, save_secret
from v2g.pki.reference import KeyReference

FILE: Final = "books.key"


class BooksKeys(NamedTuple):
    """The operator's own key, and the public keys of all that it has had."""

    own: SigningKey
    public: tuple[PublicKey, ...]


class OneThreadKey:
    """A key in a token or TPM, which only one thread may use, for signing from any thread."""

    def __init__(self, key: SigningKey) -> None:
        self.algorithm, self.public_key = key.algorithm, key.public_key
        self._key = key
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="books_key")

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`, once the key has made it."""
        return self._thread.submit(self._key.sign, data).result()


def open_books_key(reference: KeyReference | None, data_dir: Path) -> SigningKey:
    """Return the key; by default one on secp256r1 in a file of `data_dir`, created when missing.

    Raises KeyAccessError, SignatureError and ConfigError as `open_key`.
    """
    if reference is None:
        place = data_dir / FILE
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            save_secret(place, pem)
        reference = KeyReference.of(place)
    key = open_key(reference)
    return key if isinstance(key, SoftwareKey) else OneThreadKey(key)
