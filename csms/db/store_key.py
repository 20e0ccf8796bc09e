"""Secrets in the database are sealed (AES-256-GCM) with a key that is not in it: a file, the same for every node, which
a key in a token may wrap."""

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from v2g.errors import ConfigError, StoreError
from v2g.io.keys.wrapped import read_wrapped
from v2g.pki.keys import save_secret

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


_FILE: Final = "store.key"


class StoreKey:
    """Seals and opens secrets."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.fingerprint: Final = fingerprint(key)

    def derive(self, purpose: str) -> str:
        """Return a derived secret for one purpose: 128 bits in hex, the same on every node."""
        return hmac.new(self._key, purpose.encode(), "sha256").hexdigest()[:32]

    def log_name(self, ev: str) -> str:
        """Return what stands for a vehicle in the log of events, which keeps no pseudonym: the same at all nodes."""
        return f"vehicle-{self.derive(f'log of events {ev}')[:16]}"

    def seal(self, secret: str, purpose: str) -> str:
        """Return a secret sealed for storage, for one purpose."""
        return seal(self._key, secrets.token_bytes(NONCE_BYTES), secret, purpose)

    def open(self, sealed: str, purpose: str) -> str:
        """Return a secret sealed for this purpose. Raises StoreError for another key."""
        return unseal(self._key, sealed, purpose)


def load_store_key(path: Path | None, data_dir: Path) -> StoreKey:
    """Return the key in a file; by default one in `data_dir`, created when missing.

    Raises ConfigError, KeyAccessError.
    """
    place = path or data_dir / _FILE
    if path is None and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        save_secret(place, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    try:
        key = bytes.fromhex(read_wrapped(place).decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{place} holds no key", hint="64 hexadecimal digits, as openssl rand -hex 32 writes them")
    return StoreKey(key)


def qr_purpose(station_id: str) -> str:
    """Return the purpose for the secret of a station's QR codes."""
    return f"QR codes {station_id}"


def purpose(webhook_id: str) -> str:
    """Return the purpose for the secret of a webhook."""
    return f"webhook {webhook_id}"
