"""Selection of the EVSE of a vehicle that connects on a shared interface. Pure.

By matching (SLAC) each EVSE knows the MAC address of the vehicle at its plug. If the MAC address of a connection
is known, it decides; otherwise the only matched vehicle without a connection is
assumed. Anything else is ambiguous, and rejected: a contract must not pay for another vehicle.
"""

import ipaddress
from collections.abc import Sequence
from typing import Literal

import msgspec


class MatchedPlug(msgspec.Struct, frozen=True):
    """State of one EVSE: the MAC address of the matched vehicle, None without one; whether it is
    already connected."""

    number: int
    matched: bytes | None
    busy: bool


Refusal = Literal["no_evse", "ambiguous_evse", "occupied"]


def pair(plugs: Sequence[MatchedPlug], mac: bytes | None) -> int | Refusal:
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
    """Return the MAC address in a link-local address (modified EUI-64), None if there is none."""
    try:
        packed = ipaddress.IPv6Address(address.partition("%")[0]).packed
    except ValueError:
        return None
    if packed[:8] != b"\xfe\x80" + bytes(6) or packed[11:13] != b"\xff\xfe":
        return None
    return bytes((packed[8] ^ 2,)) + packed[9:11] + packed[13:]
