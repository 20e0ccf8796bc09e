"""Keys that seal stored records: AES-256-GCM, several keys in one file, the last one for new records (R145).

A line of the file (mode 0600) is a key: its number, rising from 1 to 2^31 - 1, and 64 hexadecimal digits. To rotate,
append a line (`RecordKeys.rotate`); an old key may be deleted once no stored record needs it.
"""

import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from v2g.errors import ConfigError, StoreError
from v2g.pki.keys import read_secret, save_secret

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_KEYS: Final = 100
_MAX_NUMBER: Final = 2**31 - 1


class RecordKeys:
    """Seals records with the newest key, and opens them with the key whose number is beside them."""

    def __init__(self, keys: dict[int, bytes], source: str) -> None:
        """`keys` by rising number; `source` names them in errors."""
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._source = source
        self.newest: Final = max(keys)
        """The number of the key for new records."""

    @classmethod
    def read(cls, path: Path) -> "RecordKeys":
        """Return the keys of a file. Raises ConfigError, and KeyAccessError for a file that others may read."""
        return cls(_read(path), str(path))

    @staticmethod
    def rotate(path: Path) -> int:
        """Append a new key to a file, created when missing; return its number. Raises as `read`."""
        keys = _read(path) if path.exists() else {}
        number = max(keys, default=0) + 1
        keys[number] = secrets.token_bytes(_KEY_BYTES)
        save_secret(path, "".join(f"{each} {key.hex()}\n" for each, key in keys.items()).encode())
        return number

    def has(self, number: int) -> bool:
        """Return whether there is a key of this number."""
        return number in self._ciphers

    def missing(self, number: int) -> StoreError:
        """Return the error of a missing key."""
        return StoreError(
            f"{self._source} has no key {number}, which seals stored records",
            hint="restore the line of that key; delete a key only once its records are delivered",
        )

    def seal(self, record: bytes, name: bytes) -> bytes:
        """Return a record sealed with the newest key; it opens only under the same `name`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._ciphers[self.newest].encrypt(nonce, record, name)

    def open(self, number: int, sealed: bytes, name: bytes) -> bytes:
        """Return a record that was sealed with the key of this number. Raises StoreError: key missing or wrong."""
        if number not in self._ciphers:
            raise self.missing(number)
        try:
            return self._ciphers[number].decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            raise StoreError(
                f"key {number} of {self._source} does not open a stored record",
                hint="is this the key file of the gateway that wrote the records, or is the outbox damaged?",
            ) from None


def _read(path: Path) -> dict[int, bytes]:
    keys: dict[int, bytes] = {}
    try:
        for line in read_secret(path).decode("ascii").splitlines():
            number, digits = line.split()
            keys[int(number)] = bytes.fromhex(digits)
    except ValueError:
        keys = {}
    numbers = list(keys)
    valid = numbers and numbers == sorted(numbers) and numbers[0] >= 1 and numbers[-1] <= _MAX_NUMBER
    if not valid or len(keys) > _MAX_KEYS or any(len(key) != _KEY_BYTES for key in keys.values()):
        hint = "each line is a rising number and 64 hexadecimal digits, as `v2g telemetry key` writes them"
        raise ConfigError(f"{path} is no file of record keys", hint=hint)
    return keys
