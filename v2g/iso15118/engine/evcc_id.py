"""EVCCID of ISO 15118-2 and DIN 70121: the MAC address of the vehicle's modem, and what vehicles send instead.

It identifies a vehicle only where it is a whole MAC address that a maker has assigned: never where it is empty, padded
to 8 bytes, zero, broadcast, of a group, or local, which several vehicles may have. Even then it is easily copied, a
known weakness of authorisation by it (Autocharge).
"""

from typing import Final

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
