"""EVSEID in ISO 15118-2 (text) and DIN 70121 (bytes).

In -2 it is a text of 7 to 37 characters, `CC*OOO*E...`, separators optional. DIN 70121 sends up to 32 bytes: by DIN
SPEC 91286 digits and separators as half bytes (`*` is A); many chargers send ASCII. Neither text says what stands for
an unknown id: here `ZZ00000` and one byte 00.
"""

import re
from typing import Final

UNKNOWN: Final = "ZZ00000"
"""EVSEID of -2 where none is known."""

UNKNOWN_BYTES: Final = b"\0"
"""EVSEID of DIN 70121 where none is known."""

_MOST_BYTES: Final = 32
_TEXT: Final = re.compile(r"[A-Z]{2}\*?[A-Z0-9]{3}\*?E[A-Z0-9*]{1,30}\Z", re.ASCII | re.IGNORECASE)
_DIGITS: Final = re.compile(r"\+?[0-9]{1,3}\*[0-9]+\*[0-9*]+\Z", re.ASCII)


def is_evse_id(text: str) -> bool:
    """Return whether a text has the form of an EVSEID of ISO 15118-2."""
    return 7 <= len(text) <= 37 and _TEXT.match(text) is not None


def is_digits(text: str) -> bool:
    """Return whether a text has the form of an EVSEID of digits by DIN SPEC 91286, such as `+49*810*000*438`."""
    return _DIGITS.match(text) is not None


def is_packed(evse_id: bytes) -> bool:
    """Return whether bytes are an EVSEID of digits by DIN SPEC 91286, packed as half bytes."""
    return is_digits(evse_id.hex().upper().replace("A", "*"))


def plain(evse_id: str) -> str:
    """Return an EVSEID of -2 without separators and in capitals, to compare; empty where it is unknown."""
    text = evse_id.replace("*", "").upper()
    return "" if text == UNKNOWN else text


def as_text(evse_id: str) -> str:
    """Return an EVSEID for -2: itself, UNKNOWN if it has another length."""
    return evse_id if 7 <= len(evse_id) <= 37 else UNKNOWN


def as_bytes(evse_id: str) -> bytes:
    """Return an EVSEID for DIN 70121: digits with separators packed if their number is even, else ASCII.

    UNKNOWN_BYTES if it is empty, not ASCII or too long.
    """
    if is_digits(evse_id):
        halves = evse_id.removeprefix("+").replace("*", "A")
        if len(halves) % 2 == 0 and len(halves) <= 2 * _MOST_BYTES:
            return bytes.fromhex(halves)
    if not evse_id or not evse_id.isascii() or len(evse_id) > _MOST_BYTES:
        return UNKNOWN_BYTES
    return evse_id.encode()


def from_bytes(evse_id: bytes) -> tuple[str, bool]:
    """Return the EVSEID that a charger sent by DIN 70121, and whether it came as ASCII; empty where it is unknown.

    Bytes of neither form are shown as upper-case hexadecimal.
    """
    if not any(evse_id):
        return "", False
    text = evse_id.decode("latin-1").rstrip("\0 ")
    if text.isascii() and text.isprintable() and text[:1].isalpha():
        return text, True
    shown = evse_id.hex().upper()
    return (shown.replace("A", "*") if is_packed(evse_id) else shown), False


MAC_BYTES: Final = 6
_GROUP_OR_LOCAL: Final = 0b11
"""Bits of the first byte: of groups, set in broadcast, too, and of local administration."""


def mac_address(evcc_id: bytes) -> str | None:
    """Return the MAC address that identifies a vehicle, as 12 upper-case hexadecimal digits; None if nothing does."""
    if len(evcc_id) != MAC_BYTES or not any(evcc_id) or evcc_id[0] & _GROUP_OR_LOCAL:
        return None
    return evcc_id.hex().upper()


def shown(evcc_id: bytes) -> str:
    """Return an EVCCID for logs, upper-case hexadecimal without the zeros that pad a MAC address; may be empty."""
    if len(evcc_id) > MAC_BYTES:
        padding = len(evcc_id) - MAC_BYTES
        if not any(evcc_id[MAC_BYTES:]):
            evcc_id = evcc_id[:MAC_BYTES]
        elif not any(evcc_id[:padding]):
            evcc_id = evcc_id[padding:]
    return evcc_id.hex().upper() if any(evcc_id) else ""


def is_regular(evcc_id: bytes) -> bool:
    """Return whether an EVCCID has the form of the texts; any other is accepted as a quirk (`EVCCID_LENGTH`)."""
    return len(evcc_id) == MAC_BYTES and any(evcc_id)
