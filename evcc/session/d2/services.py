"""The choice of payment and charge service in ISO 15118-2."""

from typing import Final

from msgspec.structs import replace

from evcc.session.d2 import installation
from evcc.session.d2.stages import HANDLERS, Detailing
from evcc.session.settings import OnBoardChargerConfig
from evcc.session.steps import seen
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
from v2g.iso15118.d2.messages.data_types import EnergyTransferMode, PaymentOption, SelectedService, SelectedServiceList
from v2g.iso15118.d2.timing import CONTRACT_SERVICE, INTERNET_SERVICE

_MODES = EnergyTransferMode
_DC: Final = (_MODES.DC_extended, _MODES.DC_combo_core, _MODES.DC_core, _MODES.DC_unique)
_AC: Final = (_MODES.AC_three_phase_core, _MODES.AC_single_phase_core)
_ENERGY: Final = {"DC": _DC, "DC_BPT": _DC, "AC": _AC, "AC_BPT": _AC}
"""Service of the vehicle's configuration -> energy transfer modes, best first."""


@HANDLERS.on_response(Discovering)
def on_services(
    stage: Discovering, request: ServiceDiscoveryReq, response: ServiceDiscoveryRes, context: MessageContext
) -> Step:
    """Select services; before that ask for the details of those that the vehicle uses beside the charge service."""
    options, config = response.payment_option_list.payment_option, context.config.authorization
    avoided = config.prefer_eim and PaymentOption.ExternalPayment in options
    fetches = installation.wanted_set(context) is not None and PaymentOption.Contract in options and not avoided
    wanted = ((CONTRACT_SERVICE, fetches), (INTERNET_SERVICE, context.config.services.internet))
    offered = {each.service_id for each in response.service_list.service} if response.service_list else set()
    asked = () if context.joined else tuple(each for each, wants in wanted if wants and each in offered)
    return _next(Detailing(response, asked), context)


@HANDLERS.on_response(Detailing)
def on_detail(stage: Detailing, request: ServiceDetailReq, response: ServiceDetailRes, context: MessageContext) -> Step:
    """Choose a parameter set of a service, the first of Internet access; then examine the next one."""
    if response.service_id == request.service_id == CONTRACT_SERVICE:
        stage = replace(stage, fetch=installation.offered_set(response, context))
    elif response.service_id == request.service_id and response.service_parameter_list is not None:
        first = response.service_parameter_list.parameter_set[0].parameter_set_id
        chosen = SelectedService(service_id=response.service_id, parameter_set_id=first)
        stage = replace(stage, added=(*stage.added, chosen))
    return _next(stage, context)


def _next(stage: Detailing, context: MessageContext) -> Step:
    """Examine the next service, or select everything."""
    if not stage.further:
        return _select(stage, context)
    asked, *others = stage.further
    return Step(stage=replace(stage, further=tuple(others)), request=ServiceDetailReq(service_id=asked))


def _select(stage: Detailing, context: MessageContext) -> Step:
    """Select payment and services, or end the session without a common charge service."""
    response, fetch = stage.services, stage.fetch
    service = response.charge_service
    # the vehicle's best mode on offer; after a pause the earlier one [V2G2-740]
    offered = set(service.supported_energy_transfer_mode.energy_transfer_mode)
    if context.joined and context.resume is not None:
        before = EnergyTransferMode(context.resume.mode)
        mode: EnergyTransferMode | None = before if before in offered else None
    else:
        wanted = [mode for name in context.config.services.energy for mode in _ENERGY.get(name, ())]
        if context.config.on_board_charger.phases == 1 and _AC[1] in offered:
            wanted = [mode for mode in wanted if mode is not _AC[0]]
        mode = next((mode for mode in wanted if mode in offered), None)
    if mode is None:
        return stop(stage, context, Ending("no_energy_service", failed=True))
    # whether a contract pays, False for external payment, None if no means are left. A contract is presented only
    # over TLS [V2G2-828]
    fetches = fetch is not None
    config, there = context.config.authorization, set(response.payment_option_list.payment_option)
    external = PaymentOption.ExternalPayment in there
    own = fetches or context.contract is not None
    payable = PaymentOption.Contract in there and context.tls and own
    if context.joined and context.resume is not None:
        by_contract: bool | None = (
            context.resume.contract if (payable if context.resume.contract else external) else None
        )
    elif external and (config.prefer_eim or (config.allow_eim and not fetches and _is_refused(context))):
        by_contract = False
    elif payable:
        by_contract = True
    else:
        by_contract = False if external and config.allow_eim else None
    if by_contract is None:
        return stop(stage, context, Ending("no_payment_option", failed=True))
    option = PaymentOption.Contract if by_contract else PaymentOption.ExternalPayment
    fetched = () if fetch is None else (installation.selection(fetch),)
    selected = (SelectedService(service_id=service.service_id), *fetched, *stage.added)
    phases = phases_of(mode, context.config.on_board_charger)
    return Step(
        stage=Selecting(),
        request=PaymentServiceSelectionReq(
            selected_payment_option=option, selected_service_list=SelectedServiceList(selected_service=selected)
        ),
        choice=Choice(service.service_id, mode, phases, by_contract, fetch),
        observed=(seen("service", "selected", service_id=service.service_id, mode=mode.value, payment=option.value),),
    )


@HANDLERS.on_response(Selecting)
def on_selected(
    stage: Selecting, request: PaymentServiceSelectionReq, response: PaymentServiceSelectionRes, context: MessageContext
) -> Step:
    """Get or present the contract, or request authorisation by external means."""
    choice = context.choice
    if choice is None or not choice.contract:
        return setup.on_selected(stage, request, response, context)
    return installation.present(context) if choice.fetch is None else installation.fetch(choice.fetch, context)


def _is_refused(context: MessageContext) -> bool:
    """Return whether no contract is left that chargers have not refused lately."""
    return context.contract is not None and context.contract.chain[0] in context.refused


def phases_of(mode: EnergyTransferMode, on_board: OnBoardChargerConfig) -> int:
    """Return the phases on which the vehicle draws, 0 with direct current."""
    if mode not in _AC:
        return 0
    return on_board.phases if mode is EnergyTransferMode.AC_three_phase_core else 1
