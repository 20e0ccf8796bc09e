"""Energy services that the back end allows (OCPP 2.1 EnergyTransferModeEnum), and those of the charger among them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from secc.session.config import EnergyService

SERVICES: Final[Mapping[str, frozenset[EnergyService]]] = MappingProxyType(
    {
        "AC_single_phase": frozenset({EnergyService.AC}),
        "AC_two_phase": frozenset({EnergyService.AC}),
        "AC_three_phase": frozenset({EnergyService.AC}),
        "AC_BPT": frozenset({EnergyService.AC_BPT}),
        "DC": frozenset({EnergyService.DC, EnergyService.MCS}),
        "DC_BPT": frozenset({EnergyService.DC_BPT, EnergyService.MCS_BPT}),
        "DC_ACDP": frozenset({EnergyService.DC_ACDP}),
        "DC_ACDP_BPT": frozenset({EnergyService.DC_ACDP_BPT}),
        "WPT": frozenset({EnergyService.WPT}),
    }
)
"""OCPP's energy transfer mode -> services of ISO 15118-20; megawatt charging counts as direct current there."""


def services_of(modes: Iterable[str]) -> frozenset[int]:
    """Return the ids of all services that these modes allow; unknown modes allow none."""
    return frozenset(int(service) for mode in modes for service in SERVICES.get(mode, ()))


def offered(own: Iterable[EnergyService], allowed: frozenset[int] | None) -> tuple[EnergyService, ...]:
    """Return the services on offer, best first: the charger's own, less those that the CSMS excludes, if it does."""
    return tuple(each for each in own if allowed is None or int(each) in allowed)
