"""Hashes of passwords for storage, by scrypt."""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_COST: Final = 2**14
_COST_RANDOM: Final = 2**8
"""Cost for random passwords: 190 bits cannot be guessed, and hundreds of stations reconnect at once."""

_BLOCK: Final = 8


def hash_password(password: str, salt: bytes, *, random: bool = False) -> str:
    """Return the hash of a password for storage (A01.FR.08): `scrypt$cost$block$salt$hash`.

    Takes about 50 ms; 1 ms for a `random` one, which nobody can guess.
    """
    cost = _COST_RANDOM if random else _COST
    derived = Scrypt(salt=salt, length=32, n=cost, r=_BLOCK, p=1).derive(password.encode())
    return f"scrypt${cost}${_BLOCK}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"


def password_fits(password: str, hashed: str) -> bool:
    """Return whether a password matches the hash; False for an empty or invalid hash."""
    try:
        kind, cost, block, salt, derived = hashed.split("$")
        if kind != "scrypt":
            return False
        kdf = Scrypt(salt=base64.b64decode(salt), length=32, n=int(cost), r=int(block), p=1)
        kdf.verify(password.encode(), base64.b64decode(derived))
    except (ValueError, binascii.Error, InvalidKey):
        return False
    return True
