"""From authorisation to the charge loop in DIN 70121; the rest is alike in ISO 15118-2 (`secc.session.v2g_message`)."""

from functools import partial
from typing import Any

from secc.session.config import EnergyService
from secc.session.din.setup import is_offered, transfer_type
from secc.session.offers import OfferedTuple, Span
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait, refuse
from secc.session.stages import AfterPlan, Authorized, Awaiting, Charging, Parametrised, Planned
from secc.session.v2g_message import authorization, delivery, loop, parameters
from secc.session.v2g_message.request_context import RequestContext, Step
from secc.session.v2g_message.stages import Authorizing, Paying
from secc.session.v2g_message.status import dc_evse_status
from v2g.iso15118.din import schedules
from v2g.iso15118.din.messages.charging import CurrentDemandReq
from v2g.iso15118.din.messages.common import (
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    ContractAuthenticationReq,
    PowerDeliveryReq,
)
from v2g.iso15118.din.messages.parameters import (
    DC_EVChargeParameter,
    DC_EVPowerDeliveryParameter,
    DC_EVSEChargeParameter,
)
from v2g.iso15118.engine.dc_status import Phase
from v2g.iso15118.engine.power_schedule import PowerSchedule, exceeds
from v2g.iso15118.engine.quirks import CHARGING_PROFILE, Quirk


def contract_authentication(
    request: ContractAuthenticationReq, stage: Paying | Authorizing, context: RequestContext
) -> Step | Wait:
    """Ask for external identification. No value asks to wait for the customer: Ongoing ends before the vehicle's
    time-out."""
    return authorization.external(
        stage, context, partial(_authentication_response, context), ongoing="Ongoing", patience_s=context.ongoing_s
    )


def charge_parameter_discovery(
    request: ChargeParameterDiscoveryReq, stage: Authorized | Awaiting, context: RequestContext
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
        partial(_discovery_response, context),
        most_entries=schedules.MOST_ENTRIES,
        quirks=quirks,
    )


def power_delivery(request: PowerDeliveryReq, stage: Planned | AfterPlan, context: RequestContext) -> CommonStep | Wait:
    """Start or stop the transfer of energy."""
    if request.ready_to_charge_state:
        quirks = _check_profile(request, stage, context)
        # without renegotiation, the schedule must not outlive a limit: present limits hold by themselves
        rating_w, _ = context.config.power_rating(context.family)
        always = OfferedTuple(tuple_id=1, charge=(Span(context.utc_ms, context.utc_ms, rating_w),))
        return delivery.start(always, stage, context, quirks=quirks)
    parameter = request.ev_power_delivery_parameter
    if isinstance(parameter, DC_EVPowerDeliveryParameter):
        return delivery.stop(stage, context, parameter.dc_ev_status.ev_error_code.value)
    return delivery.stop(stage, context, delivery.NO_ERROR)


def current_demand(request: CurrentDemandReq, stage: Charging, context: RequestContext) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output."""
    return loop.current_demand(request, stage, context)


def _check_profile(request: PowerDeliveryReq, stage: Any, context: RequestContext) -> tuple[Quirk, ...]:
    """Check a vehicle's plan against the offered schedule (V2G-DC-399, -400); vehicles in the field send none, or one
    above it."""
    profile = request.charging_profile
    if profile is None:
        return (CHARGING_PROFILE,)
    (offered,) = stage.planned.plan.tuples
    if profile.sa_schedule_tuple_id != offered.tuple_id:
        raise refuse("FAILED_TariffSelectionInvalid", f"schedule {profile.sa_schedule_tuple_id} was not offered")
    allowed = parameters.schedule_of(offered.charge, schedules.MOST_ENTRIES)
    steps = tuple(each for each in allowed.steps if not schedules.is_capped(each.power_w))
    planned = schedules.planned(profile)
    if planned is None or exceeds(planned, PowerSchedule(steps, allowed.end_s)) is None:
        return ()
    if context.strict:
        raise refuse("FAILED_ChargingProfileInvalid", "the charging profile is above PMax")
    return (CHARGING_PROFILE,)


def _authentication_response(context: RequestContext, processing: str) -> Any:
    return context.messages.response(
        "ContractAuthenticationRes", evse_processing=context.messages.processing(processing)
    )


def _discovery_response(
    context: RequestContext, processing: str, schedule: PowerSchedule
) -> ChargeParameterDiscoveryRes:
    response: ChargeParameterDiscoveryRes = context.messages.response(
        "ChargeParameterDiscoveryRes",
        evse_processing=context.messages.processing(processing),
        sa_schedules=schedules.schedule_list(schedule),
        evse_charge_parameter=DC_EVSEChargeParameter(
            dc_evse_status=dc_evse_status(Phase.PARAMETERS, context), **parameters.dc_limits(context)
        ),
    )
    return response
