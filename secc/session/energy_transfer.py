"""Which energy services the back end allows (OCPP 2.1 EnergyTransferModeEnum), and which of ours that leaves."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from secc.session.config import EnergyService
from secc.session.d20.request_context import RequestContext

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
"""OCPP's word for a transfer of energy -> services of ISO 15118-20; megawatt charging is direct current there."""


def services_of(modes: Iterable[str]) -> frozenset[int]:
    """Return the ids of all services that these modes allow; modes that no service here stands for allow none."""
    return frozenset(int(service) for mode in modes for service in SERVICES.get(mode, ()))


def offered(context: RequestContext) -> tuple[EnergyService, ...]:
    """Return the energy services on offer, best first: the charger's own, less what the back end does not allow."""
    known = context.config.offers(context.family)
    return known if context.allowed is None else tuple(each for each in known if int(each) in context.allowed)
