"""The choice of payment and charge service in DIN 70121."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from evcc.session.steps import seen
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Choice, Discovering, Ending, Selecting, Step
from evcc.session.v2g_message.stop import stop
from v2g.iso15118.din.messages.common import ServiceDiscoveryReq, ServiceDiscoveryRes, ServicePaymentSelectionReq
from v2g.iso15118.din.messages.data_types import (
    EVRequestedEnergyTransferType,
    EVSESupportedEnergyTransferType,
    PaymentOption,
    SelectedService,
    SelectedServiceList,
)
from v2g.iso15118.engine.quirks import SERVICE_ID

_USUAL_ID: Final = 1
"""ServiceID of the charge service."""

_OFFERS, _REQUESTS = EVSESupportedEnergyTransferType, EVRequestedEnergyTransferType

MODES: Final[Mapping[EVSESupportedEnergyTransferType, EVRequestedEnergyTransferType]] = MappingProxyType(
    {
        _OFFERS.DC_core: _REQUESTS.DC_core,
        _OFFERS.DC_extended: _REQUESTS.DC_extended,
        _OFFERS.DC_combo_core: _REQUESTS.DC_combo_core,
        _OFFERS.DC_dual: _REQUESTS.DC_extended,
        _OFFERS.AC_core1p_DC_extended: _REQUESTS.DC_extended,
        _OFFERS.AC_single_DC_core: _REQUESTS.DC_core,
        _OFFERS.AC_single_phase_three_phase_core_DC_extended: _REQUESTS.DC_extended,
        _OFFERS.AC_core3p_DC_extended: _REQUESTS.DC_extended,
    }
)
"""Type on offer -> the vehicle's request; types without direct current are missing."""


def on_services(
    stage: Discovering, request: ServiceDiscoveryReq, response: ServiceDiscoveryRes, context: MessageContext
) -> Step:
    """Select the charge service and external payment [V2G-DC-252], or end the session without them."""
    service = response.charge_service
    mode = MODES.get(service.energy_transfer_type)
    if mode is None:
        return stop(stage, context, Ending("no_energy_service", failed=True))
    if PaymentOption.ExternalPayment not in response.payment_options.payment_option:
        return stop(stage, context, Ending("no_payment_option", failed=True))
    service_id = service.service_tag.service_id
    return Step(
        stage=Selecting(),
        request=ServicePaymentSelectionReq(
            selected_payment_option=PaymentOption.ExternalPayment,
            selected_service_list=SelectedServiceList(selected_service=(SelectedService(service_id=service_id),)),
        ),
        choice=Choice(service_id, mode),
        observed=(seen("service", "selected", service_id=service_id, mode=mode.value),),
        quirks=() if service_id == _USUAL_ID else (SERVICE_ID,),
    )
