"""From authorisation to the charge loop in DIN 70121; the rest is alike in ISO 15118-2 (`secc.session.v2g_message`)."""

from functools import partial
from typing import Final

from msgspec.structs import replace

from secc.session import stages
from secc.session.config import EnergyService, SeccConfig
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait, refuse
from secc.session.terms import OfferedTuple
from secc.session.v2g_message import delivery, parameters, setup
from secc.session.v2g_message.delivery import check_profile, dc_evse_status
from secc.session.v2g_message.request_context import DIN_HANDLERS, Authorizing, Discovered, Paying, RequestContext, Step
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.din import schedules
from v2g.iso15118.din.messages import common as iso
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages.data_types import (
    DC_EVChargeParameter,
    DC_EVPowerDeliveryParameter,
    DC_EVSEChargeParameter,
)
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import identifiers as evse_ids
from v2g.iso15118.engine.dc_status import Phase
from v2g.iso15118.engine.physical_values import MOST
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.quirks import CHARGING_PROFILE, EVCCID_LENGTH, Quirk
from v2g.iso15118.engine.v2g_message import asks_for_new_session
from v2g.iso15118.select import best_ranked

CHARGE_SERVICE: Final = 1
"""ServiceID of the charge service."""

_CORE: Final = 1
"""Value of `charger.connector` for the DC pins of a core inlet; all others are of an extended one."""


def serves(protocol: app.AppProtocol, config: SeccConfig) -> bool:
    """Return whether a protocol is DIN 70121, and the charger has direct current and external identification."""
    known = protocol.protocol_namespace == DIN.uri and protocol.version_number_major == setup.VERSION[0]
    return known and Authorization.EIM in config.authorization and bool(config.offers(Family.DC))


def transfer_type(config: SeccConfig) -> str:
    """Return the one energy transfer type on offer (V2G-DC-625, -635)."""
    return "DC_core" if config.connector == _CORE else "DC_extended"


def is_offered(requested: types.EVRequestedEnergyTransferType, config: SeccConfig) -> bool:
    """Return whether a requested type is that on offer (V2G-DC-397)."""
    return requested.value == transfer_type(config)


@DIN_HANDLERS.on_request(app.SupportedAppProtocolReq)
def supported_app_protocol(request: app.SupportedAppProtocolReq, stage: stages.Fresh, context: RequestContext) -> Step:
    """Accept DIN 70121."""
    best = best_ranked(request.app_protocol, lambda each: serves(each, context.config))
    return setup.supported_app_protocol(request, best, context)


@DIN_HANDLERS.on_request(iso.SessionSetupReq)
def session_setup(request: iso.SessionSetupReq, stage: stages.Fresh, context: RequestContext) -> Step:
    """Open a new session: there are no pauses."""
    begun, commands = setup.opened(request.evcc_id, context, resumed=not asks_for_new_session(context.asked_session))
    response = context.messages.response(
        "SessionSetupRes",
        "OK_NewSessionEstablished",
        evse_id=evse_ids.as_bytes(context.config.evse_id),
        date_time_now=context.utc_ms // 1000,
    )
    return Step(response, begun, commands, quirks=() if evse_ids.is_regular(request.evcc_id) else (EVCCID_LENGTH,))


@DIN_HANDLERS.on_request(iso.ServiceDiscoveryReq)
def service_discovery(request: iso.ServiceDiscoveryReq, stage: stages.Opened, context: RequestContext) -> Step:
    """Offer the charge service; scope and category select among services that there are not (V2G-DC-628, -629)."""
    response = context.messages.response(
        "ServiceDiscoveryRes",
        payment_options=types.PaymentOptions(payment_option=(types.PaymentOption.ExternalPayment,)),
        charge_service=types.ServiceCharge(
            service_tag=types.ServiceTag(service_id=CHARGE_SERVICE, service_category=types.ServiceCategory.EVCharging),
            free_service=False,
            energy_transfer_type=types.EVSESupportedEnergyTransferType(transfer_type(context.config)),
        ),
    )
    return Step(response, Discovered(stage, frozenset({CHARGE_SERVICE})))


@DIN_HANDLERS.on_request(iso.ServicePaymentSelectionReq)
def service_payment_selection(
    request: iso.ServicePaymentSelectionReq, stage: Discovered, context: RequestContext
) -> Step:
    """Accept external payment (V2G-DC-252, -395) for the charge service (V2G-DC-396)."""
    if request.selected_payment_option is not types.PaymentOption.ExternalPayment:
        raise refuse("FAILED_PaymentSelectionInvalid", f"{request.selected_payment_option.value} was not offered")
    selected = {each.service_id for each in request.selected_service_list.selected_service}
    if CHARGE_SERVICE not in selected or not selected <= stage.services:
        raise refuse("FAILED_ServiceSelectionInvalid", f"services {sorted(selected)} were not offered")
    return Step(context.messages.response("ServicePaymentSelectionRes"), Paying(stage.opened))


@DIN_HANDLERS.on_request(iso.ContractAuthenticationReq)
def contract_authentication(
    request: iso.ContractAuthenticationReq, stage: Paying | Authorizing, context: RequestContext
) -> Step | Wait:
    """Ask for external identification. No value asks to wait for the customer: Ongoing ends before the vehicle's
    time-out."""
    return setup.external(
        stage, context, partial(_authentication_response, context), ongoing="Ongoing", patience_s=context.ongoing_s
    )


@DIN_HANDLERS.on_request(iso.ChargeParameterDiscoveryReq)
def charge_parameter_discovery(
    request: iso.ChargeParameterDiscoveryReq, stage: stages.Authorized | stages.Awaiting, context: RequestContext
) -> Step | Wait:
    """Store the vehicle's limits, and send the charger's with one schedule."""
    requested, parameter = request.ev_requested_energy_transfer_type, request.ev_charge_parameter
    if not is_offered(requested, context.config):  # V2G-DC-397
        why = f"the vehicle requests {requested.value}, the charger has {transfer_type(context.config)}"
        raise refuse("FAILED_WrongEnergyTransferType", why)
    if not isinstance(parameter, DC_EVChargeParameter):  # V2G-DC-398
        raise refuse("FAILED_WrongChargeParameter", f"{type(parameter).__name__} with {requested.value}")
    selected = parameters.selected(parameters.authorized_of(stage), EnergyService.DC, context)
    vehicle, quirks = parameters.dc_vehicle(parameter, context)
    return parameters.discover(
        stages.Parametrised(selected=selected, vehicle=vehicle, rated=vehicle),
        stage,
        context,
        parameters.dc_needs(parameter, vehicle),
        stages.Plan(tuples=(OfferedTuple(tuple_id=1, charge=parameters.allowed_power(context)),)),
        partial(_discovery_response, context),
        quirks=quirks,
    )


@DIN_HANDLERS.on_request(iso.PowerDeliveryReq)
def power_delivery(request: iso.PowerDeliveryReq, stage: stages.Stage, context: RequestContext) -> CommonStep | Wait:
    """Start or stop the transfer of energy."""
    if request.ready_to_charge_state:
        assert isinstance(stage, stages.Planned | stages.AfterPlan), "the chart allows only a stop before"
        quirks = _check_profile(request, stage, context)
        # there is no renegotiation
        always, respond = parameters.unbounded(1, context), partial(delivery.power_response, Phase.ENERGY, context)
        return delivery.start(always, stage, context, respond, quirks=quirks)
    respond = partial(delivery.power_response, Phase.STOPPED, context)
    parameter = request.ev_power_delivery_parameter
    if isinstance(parameter, DC_EVPowerDeliveryParameter):
        return delivery.stop(stage, context, parameter.dc_ev_status.ev_error_code.value, respond)
    return delivery.stop(stage, context, delivery.NO_ERROR, respond)


@DIN_HANDLERS.on_request(iso.CurrentDemandReq)
def current_demand(request: iso.CurrentDemandReq, stage: stages.Charging, context: RequestContext) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output."""
    return delivery.current_demand(request, stage, context)


def _check_profile(
    request: iso.PowerDeliveryReq, stage: stages.Planned | stages.AfterPlan, context: RequestContext
) -> tuple[Quirk, ...]:
    """Check a vehicle's plan against the offered schedule (V2G-DC-399, -400); vehicles in the field send none, or one
    above it."""
    profile = request.charging_profile
    if profile is None:
        return (CHARGING_PROFILE,)
    planned = stage if isinstance(stage, stages.Planned) else stage.planned
    (offered,) = planned.plan.tuples
    if profile.sa_schedule_tuple_id != offered.tuple_id:
        raise refuse("FAILED_TariffSelectionInvalid", f"schedule {profile.sa_schedule_tuple_id} was not offered")
    allowed = parameters.schedule_of(offered.charge, schedules.MOST_ENTRIES)
    steps = tuple(replace(each, power_w=MOST) if schedules.is_capped(each.power_w) else each for each in allowed.steps)
    return check_profile(schedules.planned(profile), PowerSchedule(steps, allowed.end_s), context)


def _authentication_response(context: RequestContext, processing: str) -> Element:
    return context.messages.response(
        "ContractAuthenticationRes", evse_processing=context.messages.processing(processing)
    )


def _discovery_response(context: RequestContext, processing: str, plan: stages.Plan) -> Element:
    return context.messages.response(
        "ChargeParameterDiscoveryRes",
        evse_processing=context.messages.processing(processing),
        sa_schedules=schedules.schedule_list(parameters.schedule_of(plan.tuples[0].charge, schedules.MOST_ENTRIES)),
        evse_charge_parameter=DC_EVSEChargeParameter(
            dc_evse_status=dc_evse_status(Phase.PARAMETERS, context), **parameters.dc_limits(plan, context)
        ),
    )


DIN_HANDLERS.on_request(iso.CableCheckReq)(delivery.cable_check)
DIN_HANDLERS.on_request(iso.PreChargeReq)(delivery.pre_charge)
DIN_HANDLERS.on_request(iso.WeldingDetectionReq)(delivery.welding_detection)
DIN_HANDLERS.on_request(iso.SessionStopReq)(delivery.session_stop)
