"""The choice of payment and charge service in ISO 15118-2."""

from collections.abc import Iterable
from typing import Final

from evcc.session.d2 import contract, installation
from evcc.session.d2.stages import Detailing
from evcc.session.settings import OnBoardChargerConfig
from evcc.session.steps import Stage, seen
from evcc.session.v2g_message import setup
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Choice, Discovering, Ending, Selecting, Step
from evcc.session.v2g_message.stop import stop
from v2g.iso15118.d2.messages.common import (
    PaymentServiceSelectionReq,
    PaymentServiceSelectionRes,
    ServiceDetailReq,
    ServiceDetailRes,
    ServiceDiscoveryReq,
    ServiceDiscoveryRes,
)
from v2g.iso15118.d2.messages.data_types import (
    EnergyTransferMode,
    PaymentOption,
    SelectedService,
    SelectedServiceList,
)

_MODES = EnergyTransferMode
_DC: Final = (_MODES.DC_extended, _MODES.DC_combo_core, _MODES.DC_core, _MODES.DC_unique)
_AC: Final = (_MODES.AC_three_phase_core, _MODES.AC_single_phase_core)
_ENERGY: Final = {"DC": _DC, "DC_BPT": _DC, "AC": _AC, "AC_BPT": _AC}
"""Service of the vehicle's configuration -> energy transfer modes, best first."""


def on_services(
    stage: Discovering, request: ServiceDiscoveryReq, response: ServiceDiscoveryRes, context: MessageContext
) -> Step:
    """Select services; before that ask for the details of the one that the vehicle gets a contract by."""
    options, config = response.payment_option_list.payment_option, context.config.authorization
    avoided = config.prefer_eim and PaymentOption.ExternalPayment in options
    if installation.wanted_set(context) is None or PaymentOption.Contract not in options or avoided:
        return _select(stage, response, None, context)
    return (
        installation.ask_details(response)
        if installation.is_offered(response)
        else _select(stage, response, None, context)
    )


def on_detail(stage: Detailing, request: ServiceDetailReq, response: ServiceDetailRes, context: MessageContext) -> Step:
    """Select services, and the one for contracts if it has what the vehicle needs."""
    return _select(stage, stage.services, installation.offered_set(response, context), context)


def _select(stage: Stage, response: ServiceDiscoveryRes, fetch: int | None, context: MessageContext) -> Step:
    """Select payment and charge service, or end the session without a common one."""
    service = response.charge_service
    mode = _mode(service.supported_energy_transfer_mode.energy_transfer_mode, context)
    if mode is None:
        return stop(stage, context, Ending("no_energy_service", failed=True))
    by_contract = _pays_by_contract(response.payment_option_list.payment_option, context, fetches=fetch is not None)
    if by_contract is None:
        return stop(stage, context, Ending("no_payment_option", failed=True))
    option = PaymentOption.Contract if by_contract else PaymentOption.ExternalPayment
    selected: tuple[SelectedService, ...] = (SelectedService(service_id=service.service_id),)
    if fetch is not None:
        selected = (*selected, installation.selection(fetch))
    phases = phases_of(mode, context.config.on_board_charger)
    return Step(
        stage=Selecting(),
        request=PaymentServiceSelectionReq(
            selected_payment_option=option, selected_service_list=SelectedServiceList(selected_service=selected)
        ),
        choice=Choice(service.service_id, mode, phases, by_contract, fetch),
        observed=(seen("service", "selected", service_id=service.service_id, mode=mode.value, payment=option.value),),
    )


def on_selected(
    stage: Selecting,
    request: PaymentServiceSelectionReq,
    response: PaymentServiceSelectionRes,
    context: MessageContext,
) -> Step:
    """Get or present the contract, or request authorisation by external means."""
    choice = context.choice
    if choice is None or not choice.contract:
        return setup.on_selected(stage, request, response, context)
    return contract.present(context) if choice.fetch is None else installation.fetch(choice.fetch, context)


def _mode(offered: Iterable[EnergyTransferMode], context: MessageContext) -> EnergyTransferMode | None:
    """Return the vehicle's best mode on offer; after a pause the earlier one [V2G2-740]."""
    there = set(offered)
    if context.joined and context.resume is not None:
        before = EnergyTransferMode(context.resume.mode)
        return before if before in there else None
    wanted = (mode for name in context.config.services.energy for mode in _ENERGY.get(name, ()))
    return next((mode for mode in wanted if mode in there), None)


def phases_of(mode: EnergyTransferMode, on_board: OnBoardChargerConfig) -> int:
    """Return the phases on which the vehicle draws, 0 with direct current."""
    if mode not in _AC:
        return 0
    return on_board.phases if mode is EnergyTransferMode.AC_three_phase_core else 1


def _pays_by_contract(offered: Iterable[PaymentOption], context: MessageContext, *, fetches: bool) -> bool | None:
    """Return whether a contract pays, False for external payment, None if no means are left.

    A contract is presented only over TLS [V2G2-828].
    """
    config, there = context.config.authorization, set(offered)
    external = PaymentOption.ExternalPayment in there
    own = fetches or context.contract is not None
    payable = PaymentOption.Contract in there and context.tls and own
    if context.joined and context.resume is not None:
        return context.resume.contract if (payable if context.resume.contract else external) else None
    if external and config.prefer_eim:
        return False
    if payable:
        return True
    return False if external and config.allow_eim else None
