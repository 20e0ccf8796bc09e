"""Files of secrets that open only with a private key, such as one in a token or a TPM (R145).

Such a file has two lines, `wrapped by REFERENCE` and the sealed content in Base64 (`v2g.pki.hpke`). A copy of the disk
does not reveal it: what opens it is the key of `REFERENCE`, which never leaves its store. Plain files are read as they
are, so that every program with a file of secrets may have a wrapped one in its place.
"""

import base64
import binascii
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from v2g.errors import KeyAccessError
from v2g.io.keys.stores import open_key
from v2g.pki.hpke import open_sealed, seal_for
from v2g.pki.keys import LeafKey, read_secret, save_secret
from v2g.pki.reference import KeyReference

_BEGIN: Final = b"wrapped by "
_INFO: Final = b"v2g-engine wrapped secret"


def read_wrapped(path: Path) -> bytes:
    """Return the content of a file of mode 0600, opened where it is wrapped.

    Raises KeyAccessError, and as `open_key`.
    """
    data = read_secret(path)
    if not data.startswith(_BEGIN):
        return data
    try:
        sealed = base64.b64decode(data.split(b"\n")[1], validate=True)
    except (IndexError, binascii.Error):
        raise KeyAccessError(f"{path} is cut or altered", hint="restore it from a backup") from None
    reference = _reference(path, data)
    with _opened(reference) as key:
        try:
            return open_sealed(key, sealed, _INFO)
        except KeyAccessError as error:
            hint = error.hint or f"does {reference} still hold its key?"
            raise KeyAccessError(f"{path}: {error}", hint=hint) from None


def save_wrapped(path: Path, content: bytes, by: KeyReference | None) -> None:
    """Write a file of mode 0600, wrapped by a key, or plain. References in it are relative to its folder.

    Raises as `read_wrapped`, and OSError.
    """
    if by is not None:
        with _opened(by) as key:
            sealed = base64.b64encode(seal_for(key.public_key, content, _INFO))
        content = _BEGIN + f"{by}\n".encode() + sealed + b"\n"
    save_secret(path, content)


def wrapped_by(path: Path) -> KeyReference | None:
    """Return the key that opens a file, None for a plain one. Raises KeyAccessError."""
    data = read_secret(path)
    return _reference(path, data) if data.startswith(_BEGIN) else None


@contextlib.contextmanager
def _opened(reference: KeyReference) -> Iterator[LeafKey]:
    key = open_key(reference)
    try:
        yield key
    finally:
        if hasattr(key, "close"):  # a key in a file has nothing to close
            key.close()


def _reference(path: Path, data: bytes) -> KeyReference:
    try:
        text = data.split(b"\n")[0].removeprefix(_BEGIN).decode()
        return KeyReference.from_text(text, path.parent.absolute())
    except ValueError:
        raise KeyAccessError(f"{path} names no key", hint="restore it from a backup") from None
