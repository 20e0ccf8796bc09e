"""Association of a vehicle without a plug with a charger: the rules of both ends of wireless SDP (ISO 15118-20).

On a wireless network every charger receives every vehicle's requests. A vehicle that knows its place names the EVSE,
and no other charger answers; otherwise it uses a charger with a compatible coupler. Its place is
then determined by pairing within the session (WPT), or is the only one.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final

import msgspec

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.sdp_wireless import EVSEID_LENGTH, Diagnosis, Positioning, SdpWirelessRequest, SdpWirelessResponse
from v2g.iso15118.engine.sdp import Security, Transport

NOT_APPLICABLE: Final = 0xFF
"""Coupling type of a vehicle that does not state one."""

COUPLINGS: Final[Mapping[Family, tuple[int, ...]]] = {Family.WPT: (0x10,), Family.ACDP: tuple(range(0x06))}
"""Coupling types of the services without a plug; a vehicle requests the first by default."""

_WAYS: Final = MappingProxyType(
    {
        "LF_TxPrimaryDevice": Positioning.WPT_LF_INFRASTRUCTURE,
        "LF_TxEV": Positioning.WPT_LF_VEHICLE,
        "Optical": Positioning.WPT_CAMERA_VEHICLE,
    }
)


class Behind(msgspec.Struct, frozen=True):
    """Chargers behind one SDP port: EVSEs, coupling types, addresses, and a port without TLS if any."""

    evse_ids: tuple[str, ...]
    couplings: frozenset[int]
    address: IPv6Address
    port: int
    plain_port: int | None = None


def positioning(methods: Iterable[str]) -> Positioning:
    """Return the bits for methods of WPT positioning and pairing; not every method has one."""
    found = Positioning(0)
    for each in methods:
        found |= _WAYS.get(each, Positioning(0))
    return found


def associate(request: SdpWirelessRequest, behind: Behind) -> SdpWirelessResponse | None:
    """Return a charger's answer to a vehicle, None if another charger is meant.

    A vehicle with another coupling gets an error, so that its driver can be informed.
    """
    named = [each for each in behind.evse_ids if _same(each, request.evseid)]
    if request.transport is not Transport.TCP or (request.evseid and not named):
        return None
    only = named or [each for each in behind.evse_ids if len(behind.evse_ids) == 1 and len(each) <= EVSEID_LENGTH]
    if request.coupling != NOT_APPLICABLE and request.coupling not in behind.couplings:
        diagnosis, evseid, coupling = Diagnosis.ERROR, "", min(behind.couplings, default=NOT_APPLICABLE)
    else:
        diagnosis = Diagnosis.FINISHED if only else Diagnosis.FINISHED_WITHOUT_EVSEID
        evseid, coupling = only[0] if only else "", request.coupling
    plain = request.security is Security.NONE and behind.plain_port is not None
    return SdpWirelessResponse(
        address=behind.address,
        port=behind.plain_port if plain and behind.plain_port is not None else behind.port,
        security=Security.NONE if plain else Security.TLS,
        diagnosis=diagnosis,
        coupling=coupling,
        evseid=evseid,
    )


def belongs(request: SdpWirelessRequest, response: SdpWirelessResponse) -> bool:
    """Return whether a vehicle may use this answer: its place is known, or determined in the session."""
    if response.diagnosis is Diagnosis.FINISHED:
        return not request.evseid or _same(request.evseid, response.evseid)
    return response.diagnosis is Diagnosis.FINISHED_WITHOUT_EVSEID and not request.evseid


def _same(one: str, other: str) -> bool:
    """Compare EVSEIDs, with or without separators."""
    return one.replace("*", "").upper() == other.replace("*", "").upper()
