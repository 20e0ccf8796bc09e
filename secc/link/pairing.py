"""At which of several EVSEs a vehicle stands that connects on an interface which they share. Pure.

Matching (SLAC) has told each EVSE the MAC address of the vehicle at its plug. Where the MAC address behind a connection
is known, it decides; where it cannot be known, a vehicle is taken for the only one that is matched and does not talk
yet. What is left is ambiguous, and refused: a contract must not pay for somebody else's plug.
"""

import ipaddress
from collections.abc import Sequence
from typing import Literal

import msgspec


class Plug(msgspec.Struct, frozen=True):
    """What one EVSE knows: the MAC address of the vehicle that it has matched, None when none is; whether that talks
    already."""

    number: int
    matched: bytes | None
    busy: bool


Refusal = Literal["no_evse", "ambiguous_evse", "occupied"]


def pair(plugs: Sequence[Plug], mac: bytes | None) -> int | Refusal:
    """Return the number of the EVSE of a new connection from `mac`, or why it has none."""
    if len(plugs) == 1:
        return plugs[0].number
    there = [plug for plug in plugs if plug.matched is not None]
    if mac is not None:
        there = [plug for plug in there if plug.matched == mac]
        if len(there) == 1 and there[0].busy:
            return "occupied"
    free = [plug for plug in there if not plug.busy]
    if len(free) == 1:
        return free[0].number
    return "ambiguous_evse" if free else "no_evse"


def address_mac(address: str) -> bytes | None:
    """Return the MAC address that a link-local address was made of (modified EUI-64), None when it was not."""
    try:
        packed = ipaddress.IPv6Address(address.partition("%")[0]).packed
    except ValueError:
        return None
    if packed[:8] != b"\xfe\x80" + bytes(6) or packed[11:13] != b"\xff\xfe":
        return None
    return bytes((packed[8] ^ 2,)) + packed[9:11] + packed[13:]
