"""From authorisation to the charge loop in DIN 70121; the rest is alike in ISO 15118-2 (`secc.session.v2g_message`)."""

from functools import partial

from msgspec.structs import replace

from secc.session.config import EnergyService
from secc.session.din.setup import is_offered, transfer_type
from secc.session.offers import OfferedTuple
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait, refuse
from secc.session.stages import AfterPlan, Authorized, Awaiting, Charging, Parametrised, Plan, Planned, Stage
from secc.session.v2g_message import delivery, loop, parameters, setup
from secc.session.v2g_message.delivery import check_profile, dc_evse_status
from secc.session.v2g_message.request_context import DIN_HANDLERS, Authorizing, Paying, RequestContext, Step
from v2g.exi.declare import Element
from v2g.iso15118.din import schedules
from v2g.iso15118.din.messages import common as iso
from v2g.iso15118.din.messages.charging import CableCheckReq, CurrentDemandReq, PreChargeReq, WeldingDetectionReq
from v2g.iso15118.din.messages.parameters import (
    DC_EVChargeParameter,
    DC_EVPowerDeliveryParameter,
    DC_EVSEChargeParameter,
)
from v2g.iso15118.engine.dc_status import Phase
from v2g.iso15118.engine.physical_values import MOST
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.quirks import CHARGING_PROFILE, Quirk


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
    request: iso.ChargeParameterDiscoveryReq, stage: Authorized | Awaiting, context: RequestContext
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
        Parametrised(selected=selected, vehicle=vehicle, rated=vehicle),
        stage,
        context,
        parameters.dc_needs(parameter, vehicle),
        Plan(tuples=(OfferedTuple(tuple_id=1, charge=parameters.allowed_power(context)),)),
        partial(_discovery_response, context),
        quirks=quirks,
    )


@DIN_HANDLERS.on_request(iso.PowerDeliveryReq)
def power_delivery(request: iso.PowerDeliveryReq, stage: Stage, context: RequestContext) -> CommonStep | Wait:
    """Start or stop the transfer of energy."""
    if request.ready_to_charge_state:
        assert isinstance(stage, Planned | AfterPlan), "the chart allows only a stop before"
        quirks = _check_profile(request, stage, context)
        # there is no renegotiation
        always, respond = parameters.unbounded(1, context), partial(delivery.power_response, Phase.ENERGY, context)
        return delivery.start(always, stage, context, respond, quirks=quirks)
    respond = partial(delivery.power_response, Phase.STOPPED, context)
    parameter = request.ev_power_delivery_parameter
    if isinstance(parameter, DC_EVPowerDeliveryParameter):
        return delivery.stop(stage, context, parameter.dc_ev_status.ev_error_code.value, respond)
    return delivery.stop(stage, context, delivery.NO_ERROR, respond)


@DIN_HANDLERS.on_request(CurrentDemandReq)
def current_demand(request: CurrentDemandReq, stage: Charging, context: RequestContext) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output."""
    return loop.current_demand(request, stage, context)


def _check_profile(
    request: iso.PowerDeliveryReq, stage: Planned | AfterPlan, context: RequestContext
) -> tuple[Quirk, ...]:
    """Check a vehicle's plan against the offered schedule (V2G-DC-399, -400); vehicles in the field send none, or one
    above it."""
    profile = request.charging_profile
    if profile is None:
        return (CHARGING_PROFILE,)
    planned = stage if isinstance(stage, Planned) else stage.planned
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


def _discovery_response(context: RequestContext, processing: str, plan: Plan) -> Element:
    return context.messages.response(
        "ChargeParameterDiscoveryRes",
        evse_processing=context.messages.processing(processing),
        sa_schedules=schedules.schedule_list(parameters.schedule_of(plan.tuples[0].charge, schedules.MOST_ENTRIES)),
        evse_charge_parameter=DC_EVSEChargeParameter(
            dc_evse_status=dc_evse_status(Phase.PARAMETERS, context), **parameters.dc_limits(context)
        ),
    )


DIN_HANDLERS.on_request(CableCheckReq)(delivery.cable_check)
DIN_HANDLERS.on_request(PreChargeReq)(delivery.pre_charge)
DIN_HANDLERS.on_request(WeldingDetectionReq)(delivery.welding_detection)
DIN_HANDLERS.on_request(iso.SessionStopReq)(delivery.session_stop)
