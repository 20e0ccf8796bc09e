"""Sealed files: text of which only the keys of a `RecordKeys` file reveal anything (R145).

Each line is sealed by itself: `sealed KEY BASE64`, with the number of its key, and nonce, ciphertext and tag. The
file's name and the line's position are part of what is sealed, so a line that was edited, moved, cut or put into
another file does not open, nor does the line after a missing one. What is not made of lines is sealed as one.
"""

import base64
import binascii
import re
from pathlib import Path
from typing import Final

from v2g.errors import SealedError, StoreError, VerificationError
from v2g.io.storage.record_keys import RecordKeys

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
