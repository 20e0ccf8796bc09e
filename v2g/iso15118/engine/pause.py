"""How both ends recognise each other after a pause: the worked example of the standard."""

import hashlib


def binding(session_id: bytes, leaf: bytes) -> bytes:
    """Return SHA-512(SessionID || SHA-512(leaf)), `leaf` being the other side's TLS certificate (DER).

    The charger stores the vehicle's (V2G20-2545, -2550, -2630), the vehicle the charger's (V2G20-2539).
    """
    return hashlib.sha512(session_id + hashlib.sha512(leaf).digest()).digest()
