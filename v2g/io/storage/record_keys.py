"""Keys that seal stored records: AES-256-GCM, several keys in one file, the last one for new records (R145).

A line of the file (mode 0600, which a key in a token or TPM may wrap) is a key: its number, rising from 1 to 2^31 - 1,
and 64 hexadecimal digits. To rotate, append a line (`RecordKeys.rotate`); programs read it again while they run
(`RecordKeys.renew`, R152). An old key may be deleted once no stored record needs it.
"""

import base64
import binascii
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from v2g.errors import ConfigError, SealedError, StoreError, VerificationError
from v2g.io.keys.wrapped import read_wrapped, save_wrapped, wrapped_by
from v2g.io.runtime.file_watch import FileWatch

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_KEYS: Final = 100
_MAX_NUMBER: Final = 2**31 - 1


class RecordKeys:
    """Seals records with the newest key, and opens them with the key whose number is beside them. For any thread."""

    def __init__(self, path: Path) -> None:
        """Read the keys of a file. Raises ConfigError, and KeyAccessError for a file that others may read."""
        self._path, self._watch = path, FileWatch((path,))
        self._ciphers = _ciphers(path)

    @classmethod
    def read(cls, path: Path | None) -> "RecordKeys | None":
        """Return the keys of a file, None without one. Raises as the constructor."""
        return None if path is None else cls(path)

    def renew(self) -> bool:
        """Read the file again if it has changed; return whether it has.

        Raises as the constructor, once for each change: the keys stay as they were.
        """
        if not self._watch.changed():
            return False
        self._ciphers = _ciphers(self._path)
        return True

    @property
    def newest(self) -> int:
        """The number of the key for new records."""
        return max(self._ciphers)

    @staticmethod
    def rotate(path: Path) -> int:
        """Append a new key to a file, created when missing; what wraps it stays. Return the key's number.

        Raises as the constructor.
        """
        keys, wrapping = (_read(path), wrapped_by(path)) if path.exists() else ({}, None)
        number = max(keys, default=0) + 1
        keys[number] = secrets.token_bytes(_KEY_BYTES)
        save_wrapped(path, "".join(f"{each} {key.hex()}\n" for each, key in keys.items()).encode(), wrapping)
        return number

    def has(self, number: int) -> bool:
        """Return whether there is a key of this number."""
        return number in self._ciphers

    def missing(self, number: int) -> SealedError:
        return SealedError(
            f"{self._path} has no key {number}, which seals stored records",
            hint="restore the line of that key; delete a key only once no record needs it",
        )

    def seal(self, record: bytes, name: bytes) -> tuple[int, bytes]:
        """Return the number of the newest key, and a record sealed with it; it opens only under the same `name`."""
        nonce, (number, cipher) = secrets.token_bytes(_NONCE_BYTES), max(self._ciphers.items())
        return number, nonce + cipher.encrypt(nonce, record, name)

    def open(self, number: int, sealed: bytes, name: bytes) -> bytes:
        """Return a record that was sealed with the key of this number.

        Raises SealedError when that key is missing, StoreError when it does not open the record.
        """
        cipher = self._ciphers.get(number)
        if cipher is None:
            raise self.missing(number)
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            raise StoreError(
                f"key {number} of {self._path} does not open a stored record",
                hint="is this the key file of the program that wrote the records, or are they damaged?",
            ) from None


def _ciphers(path: Path) -> dict[int, AESGCM]:
    return {number: AESGCM(key) for number, key in _read(path).items()}


def _read(path: Path) -> dict[int, bytes]:
    keys: dict[int, bytes] = {}
    try:
        for line in read_wrapped(path).decode("ascii").splitlines():
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


_BEGIN: Final = b"sealed "
_LINE: Final = re.compile(rb"sealed ([1-9][0-9]{0,9}) ([A-Za-z0-9+/]+={0,2})")


def is_sealed(data: bytes) -> bool:
    """Return whether a file with this content is sealed; an empty one is not."""
    return data.startswith(_BEGIN)


def seal_line(keys: RecordKeys, record: bytes, name: str, position: int = 0) -> bytes:
    """Return a record of the file `name` as a line, sealed with the newest key."""
    number, sealed = keys.seal(record, _place(name, position))
    return b"%b%d %b\n" % (_BEGIN, number, base64.b64encode(sealed))


def open_line(keys: RecordKeys, line: bytes, name: str, position: int = 0) -> bytes:
    """Return the record in a line without its line feed.

    Raises SealedError for a missing key, VerificationError for a line that this key did not seal for this place.
    """
    found = _LINE.fullmatch(line)
    if found is not None:
        try:
            sealed = base64.b64decode(found[2], validate=True)
            if base64.b64encode(sealed) == found[2]:
                return keys.open(int(found[1]), sealed, _place(name, position))
        except SealedError:
            raise
        except (binascii.Error, StoreError):
            pass
    raise VerificationError(
        "the sealed line does not open: it was changed, moved or cut, or sealed with other keys",
        where=f"{name}:{position + 1}",
        hint="a sealed file opens with the keys of the program that wrote it, and under its own name",
    )


def open_lines(data: bytes, keys: RecordKeys | None, name: str) -> bytes:
    """Return the content of the file `name`; of a plain one, as it is. The last line of a sealed one ends, too.

    Raises as `open_line`; SealedError also without keys.
    """
    if not is_sealed(data):
        return data
    if keys is None:
        raise SealedError(f"{name} is sealed", hint="give the file of its keys: `journal_keys`, or --keys")
    lines = data.split(b"\n")
    if lines.pop():
        raise VerificationError("the last line is incomplete", where=f"{name}:{len(lines) + 1}")
    return b"".join(open_line(keys, line, name, position) for position, line in enumerate(lines))


def readable(data: bytes, keys: RecordKeys | None, name: str) -> bytes:
    """Return a sealed file that `open_lines` rejects, for people: lines that open, and the others as they are."""
    found = []
    for position, line in enumerate(data.splitlines()):
        try:
            if keys is None:
                raise SealedError(name)
            found.append(open_line(keys, line, name, position).removesuffix(b"\n"))
        except (SealedError, VerificationError):
            found.append(line)
    return b"".join(b"%b\n" % each for each in found)


def seal_lines(keys: RecordKeys, data: bytes, name: str) -> bytes:
    """Return the content of the file `name` sealed line by line, so that a broken one can be read as far as it goes."""
    lines = data.splitlines(keepends=True) if name.endswith(".jsonl") else [data]
    return b"".join(seal_line(keys, line, name, position) for position, line in enumerate(lines))


def read_sealed(path: Path, keys: RecordKeys | None) -> bytes:
    """Return the content of a file, sealed or not. Raises OSError and StoreError."""
    try:
        return open_lines(path.read_bytes(), keys, path.name)
    except VerificationError as error:
        raise StoreError(f"{path.parent}: {error}", hint=error.hint) from None


def _place(name: str, position: int) -> bytes:
    return f"{name}/{position}".encode()
