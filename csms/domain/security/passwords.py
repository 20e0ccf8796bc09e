"""Passwords of stations (use case A01): generated, hashed, compared."""

import base64
import binascii
import hmac
import string
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from v2g.errors import RefusedError

MIN_LENGTH: Final = 16
MAX_LENGTH: Final = 40  # A00.FR.205; 2.1 allows 64, which stations of 2.0.1 reject
MAX_PASSWORDS: Final = 1000
"""Limit of passwords set at once: a minute, if all need slow hashes."""

SALT_BYTES: Final = 16
_ALPHABET: Final = string.ascii_letters + string.digits
_COST: Final = 2**14
_COST_RANDOM: Final = 2**8
"""Cost for passwords of `new_password`: 190 bits cannot be guessed, and hundreds of stations reconnect at once."""

_BLOCK: Final = 8


def new_password(entropy: Callable[[int], bytes]) -> str:
    """Return 32 random letters and digits, 190 bits (A00.FR.205, A01.FR.07). `entropy(n)` returns n random bytes."""
    found: list[str] = []
    while len(found) < 32:
        found += [_ALPHABET[byte] for byte in entropy(64) if byte < len(_ALPHABET)]
    return "".join(found[:32])


def check_password(password: str) -> None:
    """Raise RefusedError (`password`) for one that is too short, too long, or not printable."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH or not password.isprintable():
        raise RefusedError(
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} printable characters",
            reason="password",
            hint="leave it out for a random one",
        )


def hash_password(password: str, salt: bytes, *, random: bool = False) -> str:
    """Return the hash of a password for storage (A01.FR.08): `scrypt$cost$block$salt$hash`.

    Takes about 50 ms; 1 ms for a `random` one, from `new_password`.
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


class PasswordMarks:
    """Marks of verified passwords, which are cheap to compare: a station that reconnects, also after
    a restart, needs no slow hash. `secret` is of the store key, which is not in the database: without it, a mark
    reveals nothing about its password.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mark(self, identity: str, password: str, hashed: str) -> str:
        """Return the mark of a password that matches the hash `hashed`."""
        return f"{self._of(hashed)[:16]}${self._of(chr(0).join((identity, hashed, password)))}"

    def judge(self, mark: str, identity: str, password: str, hashed: str) -> bool | None:
        """Return whether a password matches by its mark; None when there is none of this key and hash."""
        if not mark or not hmac.compare_digest(mark.partition("$")[0], self._of(hashed)[:16]):
            return None
        return hmac.compare_digest(mark, self.mark(identity, password, hashed))

    def _of(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), "sha256").hex()
