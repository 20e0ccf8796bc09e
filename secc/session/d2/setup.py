"""From the handshake to the selected payment in ISO 15118-2."""

from typing import Final

from msgspec.structs import replace

from secc.session.config import EnergyService, SeccConfig, offered
from secc.session.d2 import services
from secc.session.journal import resume_journal
from secc.session.ports import JoinSession, Paused
from secc.session.request_context import refuse
from secc.session.stages import Fresh, Opened
from secc.session.v2g_message import setup
from secc.session.v2g_message.request_context import ISO2_HANDLERS, Discovered, Paying, Presenting, RequestContext, Step
from v2g.exi.declare import Element
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as iso
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.timing import CHARGE_SERVICE, CONTRACT_SERVICE
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import identifiers as evse_ids
from v2g.iso15118.engine.quirks import EVCCID_LENGTH
from v2g.iso15118.engine.v2g_message import asks_for_new_session, is_same_session
from v2g.iso15118.select import best_ranked
from v2g.observe import Observe

_CORE: Final = 1
"""Value of `charger.connector` for the DC pins of a core inlet; all others are of an extended one."""


def serves(protocol: app.AppProtocol, config: SeccConfig) -> bool:
    """Return whether a protocol is ISO 15118-2, and the charger has an energy service."""
    known = protocol.protocol_namespace == ISO2.uri and protocol.version_number_major == setup.VERSION[0]
    return known and bool(transfer_modes(config, None))


def payment_options(context: RequestContext) -> tuple[iso.PaymentOption, ...]:
    """Return the payment options on this connection: contracts over TLS only, and in a joined session the earlier one
    [V2G2-741], [V2G2-828]."""
    found = []
    for each in context.config.authorization:
        contract = each is Authorization.PnC
        earlier = context.joined is None or (context.joined.contract is not None) == contract
        if earlier and (context.connection.tls or not contract):
            found.append(iso.PaymentOption.Contract if contract else iso.PaymentOption.ExternalPayment)
    return tuple(found)


def transfer_modes(
    config: SeccConfig, allowed: frozenset[int] | None
) -> tuple[tuple[iso.EnergyTransferMode, EnergyService], ...]:
    """Return the energy transfer modes on offer and their services, in the order of the charger's services.

    `allowed` are the services that the back end allows, None without a restriction.
    """
    found: list[tuple[iso.EnergyTransferMode, EnergyService]] = []
    families = dict.fromkeys(each.family for each in config.services)
    for family in families:
        if family is Family.AC and offered((EnergyService.AC,), allowed):
            if config.ac_rating.phases > 1:
                found.append((iso.EnergyTransferMode.AC_three_phase_core, EnergyService.AC))
            found.append((iso.EnergyTransferMode.AC_single_phase_core, EnergyService.AC))
        elif family is Family.DC and offered((EnergyService.DC,), allowed):
            core = config.connector == _CORE
            mode = iso.EnergyTransferMode.DC_core if core else iso.EnergyTransferMode.DC_extended
            found.append((mode, EnergyService.DC))
    return tuple(found)


@ISO2_HANDLERS.on_request(app.SupportedAppProtocolReq)
def supported_app_protocol(request: app.SupportedAppProtocolReq, stage: Fresh, context: RequestContext) -> Step:
    """Accept ISO 15118-2, if there is a payment option on this connection."""
    best = best_ranked(request.app_protocol, lambda each: serves(each, context.config))
    best = best if payment_options(context) else None
    return setup.supported_app_protocol(request, best, context)


@ISO2_HANDLERS.on_request(common.SessionSetupReq)
def session_setup(request: common.SessionSetupReq, stage: Fresh, context: RequestContext) -> Step:
    """Open a session, or join the paused one: by its id alone [V2G2-753], [V2G2-754], [V2G2-756]."""
    quirks = () if evse_ids.is_regular(request.evcc_id) else (EVCCID_LENGTH,)
    paused = context.paused
    if paused is not None and _is_resumed(paused, context):
        joined = Observe(
            "session",
            "session_joined",
            {
                "session_id": paused.session_id.hex(),
                "evse_id": context.config.evse_id,
                "evcc_id": evse_ids.shown(request.evcc_id),
            },
        )
        resumed = resume_journal(paused.service.name, "none", context.facts.tariff)
        commands = (JoinSession(paused.session_id.hex()), *resumed)
        again = Opened(session_id=paused.session_id, evcc_id=evse_ids.shown(request.evcc_id))
        return Step(_setup_response("OK_OldSessionJoined", context), again, (*commands, joined), quirks=quirks)
    begun, started = setup.opened(request.evcc_id, context, resumed=not asks_for_new_session(context.asked_session))
    return Step(_setup_response("OK_NewSessionEstablished", context), begun, started, quirks=quirks)


def _is_resumed(paused: Paused, context: RequestContext) -> bool:
    """Return whether a request names the paused session of a vehicle of this edition, which can go on: on this
    connection it can be paid, and the charger served, as before [V2G2-741]."""
    asked = context.asked_session
    if paused.vehicle or asks_for_new_session(asked) or not is_same_session(paused.session_id, asked):
        return False
    served = {service for _, service in transfer_modes(context.config, None)}
    return paused.service in served and bool(payment_options(replace(context, joined=paused)))


@ISO2_HANDLERS.on_request(common.ServiceDiscoveryReq)
def service_discovery(request: common.ServiceDiscoveryReq, stage: Opened, context: RequestContext) -> Step:
    """Offer the charge service; a joined session only with its earlier kind of energy transfer [V2G2-741]."""
    modes = tuple(
        mode
        for mode, service in transfer_modes(context.config, context.facts.allowed)
        if (context.joined is None or context.joined.service is service)
    )
    if not modes:
        raise refuse("FAILED", "the back end allows no energy service", reason="energy_transfer_rejected")
    options = payment_options(context)
    others = services.offered(request, context, by_contract=iso.PaymentOption.Contract in options)
    response = context.messages.response(
        "ServiceDiscoveryRes",
        payment_option_list=iso.PaymentOptionList(payment_option=options),
        charge_service=iso.ChargeService(
            service_id=CHARGE_SERVICE,
            service_name="AC_DC_Charging",
            service_category=iso.ServiceCategory.EVCharging,
            free_service=False,
            supported_energy_transfer_mode=iso.SupportedEnergyTransferMode(energy_transfer_mode=modes),
        ),
        service_list=iso.ServiceList(service=tuple(each.service for each in others)) if others else None,
    )
    ids = frozenset(each.service.service_id for each in others)
    opened = replace(stage, installable=CONTRACT_SERVICE in ids)
    return Step(response, Discovered(opened, ids | {CHARGE_SERVICE}))


@ISO2_HANDLERS.on_request(common.ServiceDetailReq)
def service_detail(request: common.ServiceDetailReq, stage: Discovered, context: RequestContext) -> Step:
    """Describe a service [V2G2-464]: that of charging has no parameters."""
    if request.service_id not in stage.services:
        raise refuse("FAILED_ServiceIDInvalid", f"service {request.service_id} was not offered")
    response = context.messages.response(
        "ServiceDetailRes",
        service_id=request.service_id,
        service_parameter_list=services.described(request.service_id, context.config),
    )
    return Step(response, stage)


@ISO2_HANDLERS.on_request(common.PaymentServiceSelectionReq)
def payment_service_selection(
    request: common.PaymentServiceSelectionReq, stage: Discovered, context: RequestContext
) -> Step:
    """Accept an offered payment option [V2G2-465] for the charge service [V2G2-467], [V2G2-804]."""
    if request.selected_payment_option not in payment_options(context):
        raise refuse("FAILED_PaymentSelectionInvalid", f"{request.selected_payment_option.value} was not offered")
    chosen = request.selected_service_list.selected_service
    selected = {each.service_id for each in chosen}
    if CHARGE_SERVICE not in selected:
        raise refuse("FAILED_NoChargeServiceSelected", "the charge service is not selected")
    if not selected <= stage.services:
        raise refuse("FAILED_ServiceSelectionInvalid", f"services {sorted(selected - stage.services)} were not offered")
    for service_id, parameter_set in services.wrong_sets(chosen, context.config):
        what = f"parameter set {parameter_set} of service {service_id} was not offered"
        raise refuse("FAILED_ServiceSelectionInvalid", what)
    contract = request.selected_payment_option is iso.PaymentOption.Contract
    paying = Presenting(stage.opened) if contract else Paying(stage.opened)
    added = tuple(
        Observe("service", "added", {"service_id": each.service_id, "parameter_set": each.parameter_set_id})
        for each in chosen
        if each.service_id not in (CHARGE_SERVICE, CONTRACT_SERVICE)
    )
    return Step(context.messages.response("PaymentServiceSelectionRes"), paying, added)


def _setup_response(code: str, context: RequestContext) -> Element:
    return context.messages.response(
        "SessionSetupRes",
        code,
        evse_id=evse_ids.as_text(context.config.evse_id),
        evse_time_stamp=context.utc_ms // 1000,
    )
