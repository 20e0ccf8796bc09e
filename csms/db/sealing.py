"""Secrets in the database, encrypted with a key that is not in the database (AES-256-GCM)."""

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, delete, insert, select

from csms.accounts.tables import store_keys
from v2g.errors import StoreError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_SEALED: Final = "sealed:1:"


def seal(key: bytes, nonce: bytes, secret: str, purpose: str) -> str:
    """Return a sealed secret. `nonce`: random; `purpose`: must be the same for opening."""
    sealed = nonce + AESGCM(key).encrypt(nonce, secret.encode(), purpose.encode())
    return _SEALED + base64.b64encode(sealed).decode()


def unseal(key: bytes, sealed: str, purpose: str) -> str:
    """Return a secret. Raises StoreError for another purpose or key, or damage."""
    try:
        octets = base64.b64decode(sealed.removeprefix(_SEALED), validate=True)
        return AESGCM(key).decrypt(octets[:NONCE_BYTES], octets[NONCE_BYTES:], purpose.encode()).decode()
    except (InvalidTag, binascii.Error, ValueError):
        raise StoreError(
            "a secret in the database cannot be opened", hint="is store_key the key that sealed it?"
        ) from None


def is_sealed(text: str) -> bool:
    """Return whether a text was returned by `seal`; old databases have clear secrets."""
    return text.startswith(_SEALED)


def fingerprint(key: bytes) -> str:
    """Return a fingerprint of a key, which reveals nothing about it."""
    return hashlib.sha256(b"v2g csms store key\0" + key).hexdigest()[:32]


def key_in_use(connection: Connection) -> str | None:
    """Return the fingerprint of the key, None without one."""
    found: str | None = connection.execute(select(store_keys.c.fingerprint)).scalar()
    return found


def use_key(connection: Connection, fingerprint: str) -> None:
    """Store the fingerprint of the present key."""
    connection.execute(delete(store_keys))
    connection.execute(insert(store_keys).values(fingerprint=fingerprint))
