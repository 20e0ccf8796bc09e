"""Network keys of HomePlug Green PHY."""

import hashlib
from typing import Final

NMK_SIZE: Final = 16
"""Bytes of a network membership key. A charger generates one for every session."""

NID_SIZE: Final = 7
"""Bytes of a network identifier."""

_ROUNDS = 5


def nid_of(nmk: bytes) -> bytes:
    """Return the network identifier of a 16-byte key, at security level 0 (simple connect).

    Five rounds of SHA-256, of which 52 bits are used; the upper nibble of the last byte is the level. Raises ValueError
    for a key of another length.
    """
    if len(nmk) != NMK_SIZE:
        raise ValueError(f"a network membership key has {NMK_SIZE} bytes, not {len(nmk)}")
    digest = nmk
    for _ in range(_ROUNDS):
        digest = hashlib.sha256(digest).digest()
    return digest[:6] + bytes((digest[6] >> 4,))
