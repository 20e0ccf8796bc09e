"""From authorisation to the end of the session in ISO 15118-2; direct current is mostly alike in DIN 70121."""

from functools import partial

from msgspec.structs import replace

from secc.session import journal, stages
from secc.session.d2 import ac, contract, plans
from secc.session.d2.setup import transfer_modes
from secc.session.ports import Paused, SaveSession, TransactionUpdated
from secc.session.power import apply_output
from secc.session.request_context import Step as CommonStep
from secc.session.request_context import Wait, refuse
from secc.session.stages import Finished, Stage, Stopped
from secc.session.terms import OfferedTuple
from secc.session.v2g_message import delivery, parameters, setup
from secc.session.v2g_message.delivery import check_profile, dc_evse_status
from secc.session.v2g_message.request_context import (
    ISO2_HANDLERS,
    Authorizing,
    Challenged,
    Paying,
    RequestContext,
    Step,
)
from v2g.errors import SignatureError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import schedules, signatures
from v2g.iso15118.d2.messages import common, data_types
from v2g.iso15118.d2.timing import Timing
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import identifiers as evse_ids
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA, Phase, Stop
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.quirks import RENEGOTIATION_IGNORED, SIGNATURE_FORM, Quirk
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate


@ISO2_HANDLERS.on_request(common.AuthorizationReq)
def authorize(
    request: common.AuthorizationReq, stage: Paying | Challenged | Authorizing, context: RequestContext
) -> Step | Wait:
    """Ask for a decision on the contract, or for external identification: then the vehicle is asked to wait for its
    customer [V2G2-854]."""
    respond = partial(_authorization_response, context)
    if isinstance(stage, Challenged):
        return contract.authorize(request, stage, context, respond)
    timing = context.timing
    assert isinstance(timing, Timing)
    if isinstance(stage, Authorizing) and stage.contract is not None:
        return setup.external(stage, context, respond, ongoing="Ongoing", patience_s=context.ongoing_s)
    return setup.external(
        stage, context, respond, ongoing="Ongoing_WaitingForCustomerInteraction", patience_s=timing.secc_customer
    )


@ISO2_HANDLERS.on_request(common.ChargeParameterDiscoveryReq)
def charge_parameter_discovery(
    request: common.ChargeParameterDiscoveryReq,
    stage: stages.Authorized | stages.Awaiting | stages.Charging | stages.Stopped,
    context: RequestContext,
) -> Step | Wait:
    """Store the vehicle's limits, and send the charger's with schedules; also in a renegotiation, and to charge again
    after a stop of direct current [V2G2-601]."""
    if isinstance(stage, stages.Stopped) and stage.welding:  # [V2G2-597]
        raise refuse("FAILED_SequenceError", "charge parameters after the welding detection")
    if not isinstance(stage, stages.Authorized) and stages.parametrised_of(stage) is None:
        raise refuse("FAILED_SequenceError", "charge parameters of a vehicle that has stopped before its authorisation")
    mode, parameter = request.requested_energy_transfer_mode, request.ev_charge_parameter
    service = dict(transfer_modes(context.config, context.facts.allowed)).get(mode)
    known = (
        stage.selected.service
        if isinstance(stage, stages.Charging | stages.Stopped)
        else context.joined.service
        if context.joined
        else None
    )
    if service is None or known not in (None, service):  # [V2G2-476]
        raise refuse("FAILED_WrongEnergyTransferMode", f"{mode.value} was not offered")
    quirks: tuple[Quirk, ...] = ()
    departure_s = parameter.departure_time
    departure_ms = context.utc_ms + departure_s * 1000 if departure_s else None
    if service.family is Family.AC and isinstance(parameter, data_types.AC_EVChargeParameter):
        vehicle = ac.vehicle(parameter, mode, context)
        needs = ac.needs(parameter, vehicle, departure_ms)
    elif service.family is Family.DC and isinstance(parameter, data_types.DC_EVChargeParameter):
        vehicle, quirks = parameters.dc_vehicle(parameter, context)
        needs = parameters.dc_needs(parameter, vehicle, departure_ms)
    else:  # [V2G2-477]
        raise refuse("FAILED_WrongChargeParameter", f"{type(parameter).__name__} with {mode.value}")
    if isinstance(stage, stages.Charging):  # its earlier cable check holds
        vehicle = vehicle.bounded(stage.parametrised.able, raises=True)
    selected = parameters.selected(parameters.authorized_of(stage), service, context)
    return parameters.discover(
        stages.Parametrised(selected=selected, vehicle=vehicle, rated=vehicle),
        stage,
        context,
        needs,
        plans.plan(plans.horizon_s(departure_s), departure_ms, selected.contract, vehicle.phases, context),
        partial(_discovery_response, request, context),
        quirks=quirks,
    )


@ISO2_HANDLERS.on_request(common.CableCheckReq)
def cable_check(
    request: common.CableCheckReq,
    stage: stages.Planned | stages.CableChecking | stages.Charging,
    context: RequestContext,
) -> CommonStep | Wait:
    """Test the insulation; during a renegotiation the battery is connected, and the earlier result holds."""
    if isinstance(stage, stages.Charging):
        return Step(delivery.cable_check_response(context, "Finished"), stage, quirks=(RENEGOTIATION_IGNORED,))
    return delivery.cable_check(request, stage, context)


@ISO2_HANDLERS.on_request(common.PreChargeReq)
def pre_charge(
    request: common.PreChargeReq, stage: stages.PreCharging | stages.Charging, context: RequestContext
) -> CommonStep | Wait:
    """Bring the output to the vehicle's voltage; also during a renegotiation, for which it may open its contactor."""
    if isinstance(stage, stages.Charging):
        target_mv = max(0, millivolts(request.ev_target_voltage)) or stage.asked_mv
        stage, commands = apply_output(replace(stage, asked_mv=target_mv), context)
        return Step(delivery.pre_charge_response(context), stage, commands)
    return delivery.pre_charge(request, stage, context)


@ISO2_HANDLERS.on_request(common.PowerDeliveryReq)
def power_delivery(request: common.PowerDeliveryReq, stage: stages.Stage, context: RequestContext) -> CommonStep | Wait:
    """Start, stop or renegotiate the transfer of energy."""
    if request.charge_progress is data_types.ChargeProgress.Stop:
        parameter = request.ev_power_delivery_parameter
        known = parameter.dc_ev_status if isinstance(parameter, data_types.DC_EVPowerDeliveryParameter) else None
        error = delivery.NO_ERROR if known is None else known.ev_error_code.value
        return delivery.stop(stage, context, error, partial(_power_response, Phase.STOPPED, context))
    assert isinstance(stage, stages.Planned | stages.AfterPlan), "the chart allows only a stop before"
    starts = request.charge_progress is data_types.ChargeProgress.Start
    return _start(request, stage, context) if starts else _renegotiate(stage, context)


def _renegotiate(stage: stages.Planned | stages.AfterPlan, context: RequestContext) -> CommonStep | Wait:
    """Accept new parameters once no direct current flows, since the vehicle may then open its contactor.

    No power is permitted until its loop continues.
    """
    commands: tuple[Command | Observe, ...] = ()
    if isinstance(stage, stages.Charging) and context.family is Family.DC:
        stage, commands = apply_output(replace(stage, asked_ma=0, halted=stages.RENEGOTIATES), context)
        if abs(context.facts.measured.current_ma) > NO_CURRENT_MA and not context.waited:
            return Wait(stage, context.timing.contactor, commands)
    event = Observe("schedule", "renegotiation", {})
    return Step(_power_response(Phase.ENERGY, context), stage, (*commands, event), followed="ScheduleRenegotiation")


def _start(
    request: common.PowerDeliveryReq, stage: stages.Planned | stages.AfterPlan, context: RequestContext
) -> CommonStep | Wait:
    planned = stage if isinstance(stage, stages.Planned) else stage.planned
    chosen, quirks = _chosen(request, planned, context)
    respond = partial(_power_response, Phase.ENERGY, context)
    if isinstance(stage, stages.Charging):  # after a renegotiation; the contactors are closed
        renewed, commands = apply_output(replace(stage, chosen=chosen), context)
        return Step(respond(), renewed, commands, quirks=quirks)
    if isinstance(stage, stages.Planned):
        wait = ac.close(stage, context)
        if wait is not None:
            return wait
        stage = stages.Starting(planned=stage, since=context.now)
    return delivery.start(chosen, stage, context, respond, quirks=quirks)


def _chosen(
    request: common.PowerDeliveryReq, planned: stages.Planned, context: RequestContext
) -> tuple[OfferedTuple, tuple[Quirk, ...]]:
    """Return the tuple that bounds the power, and the quirks of the vehicle's choice [V2G2-479]."""
    tuple_id = request.sa_schedule_tuple_id
    offered = next((each for each in planned.plan.tuples if each.tuple_id == tuple_id), None)
    if offered is None:
        raise refuse("FAILED_TariffSelectionInvalid", f"schedule {tuple_id} was not offered")
    allowed = parameters.schedule_of(offered.charge, len(offered.charge) + 1)
    quirks = check_profile(schedules.planned(request.charging_profile), allowed, context)
    bounding = parameters.unbounded(tuple_id, context) if plans.is_whole(tuple_id, context) else offered
    return bounding, quirks


@ISO2_HANDLERS.on_request(common.CurrentDemandReq)
def current_demand(request: common.CurrentDemandReq, stage: stages.Charging, context: RequestContext) -> Step:
    """Follow the vehicle's targets within all limits, and report the present output and the meter."""
    stage, fields = loop_fields(stage, context)
    return delivery.current_demand(request, stage, context, **fields)


@ISO2_HANDLERS.on_request(common.ChargingStatusReq)
def charging_status(request: common.ChargingStatusReq, stage: stages.Charging, context: RequestContext) -> Step:
    """Report the present maximum current and the meter."""
    stage, fields = loop_fields(stage, context)
    return ac.charging_status(request, stage, context, **fields)


def loop_fields(stage: stages.Charging, context: RequestContext) -> tuple[stages.Charging, dict[str, object]]:
    """Return the fields that the responses of both charge loops have: EVSE, schedule and meter.

    A receipt is required of contracts [V2G2-691], once an interval and together with the demand to stop, after which no
    reading can be confirmed; the stage stores the readings for which it is.
    """
    assert stage.chosen is not None
    asked = context.notice is not None and context.notice.notification == "MeteringConfirmation"
    due = asked or (context.signs_last and context.stop is Stop.REQUESTED)
    reading = _meter_info(context) if due or context.config.meter_info else None
    required = due and reading is not None
    fields = {
        "evse_id": evse_ids.as_text(context.config.evse_id),
        "sa_schedule_tuple_id": stage.chosen.tuple_id,
        "meter_info": reading,
        "receipt_required": required,
    }
    return journal.remember(stage, reading) if required else stage, fields


@ISO2_HANDLERS.on_request(common.MeteringReceiptReq)
def metering_receipt(request: common.MeteringReceiptReq, stage: stages.Charging, context: RequestContext) -> Step:
    """Handle the vehicle's signature of a reading that was sent in this session [V2G2-903], [V2G2-904]."""
    contract = stage.selected.contract
    assert contract is not None, "the chart allows receipts only where one was required"
    try:
        key = load_certificate(contract.chain[0]).public_key()
        deviations = signatures.verify(context.signature, request, key)  # type: ignore[arg-type] # judged with the chain
    except SignatureError as error:  # [V2G2-481]
        raise refuse("FAILED_MeteringSignatureNotValid", str(error)) from None
    chosen, schedule = stage.chosen, request.sa_schedule_tuple_id
    elsewhere = request.session_id != stage.selected.session_id
    if elsewhere or (chosen is not None and schedule not in (None, chosen.tuple_id)):
        raise refuse("FAILED_MeteringSignatureNotValid", "the receipt is for another session or schedule")
    if request.meter_info not in stage.sent_readings:
        raise refuse("FAILED_MeteringSignatureNotValid", "no receipt was required for this reading")
    confirmed, commands = journal.confirm(
        stage, request.meter_info, context.exi, charged_wh=request.meter_info.meter_reading
    )
    response = context.messages.response("MeteringReceiptRes", evse_status=_status(Phase.ENERGY, context))
    quirks = (SIGNATURE_FORM,) if deviations else ()
    return Step(response, confirmed, commands, followed="MeteringConfirmation", quirks=quirks)


def is_unsigned(stage: stages.Stage, context: RequestContext) -> bool:
    """Return whether energy has flowed for which there is no receipt yet."""
    reading = _meter_info(context)
    if not isinstance(stage, stages.Charging) or reading is None:
        return False
    signed = stage.confirmed.meter_reading if isinstance(stage.confirmed, data_types.MeterInfo) else 0
    return reading.meter_reading != signed


def _meter_info(context: RequestContext) -> data_types.MeterInfo | None:
    """Return the meter's reading of this session [V2G2-902], None without one: also of a meter that went back."""
    meter = context.facts.meter
    if meter is None or meter.import_mwh < context.facts.meter_begin[0]:
        return None
    return data_types.MeterInfo(
        meter_id=context.connection.identity.meter_id,
        meter_reading=(meter.import_mwh - context.facts.meter_begin[0]) // 1000,
        sig_meter_reading=meter.signature,
        t_meter=meter.utc_ms // 1000,
    )


def _authorization_response(context: RequestContext, processing: str) -> Element:
    return context.messages.response("AuthorizationRes", evse_processing=context.messages.processing(processing))


def _power_response(phase: Phase, context: RequestContext) -> Element:
    return context.messages.response("PowerDeliveryRes", evse_status=_status(phase, context))


def _status(phase: Phase, context: RequestContext) -> Element:
    return ac.status(context) if context.family is Family.AC else dc_evse_status(phase, context)


def _discovery_response(
    request: common.ChargeParameterDiscoveryReq, context: RequestContext, processing: str, plan: stages.Plan
) -> Element:
    """Return the limits, and with Finished the schedules [V2G2-905]."""
    finished = processing == "Finished"
    return context.messages.response(
        "ChargeParameterDiscoveryRes",
        evse_processing=context.messages.processing(processing),
        sa_schedules=plans.schedule_list(plan, request.max_entries_sa_schedule_tuple) if finished else None,
        evse_charge_parameter=ac.limits(request.requested_energy_transfer_mode, plan, context)
        if context.family is Family.AC
        else data_types.DC_EVSEChargeParameter(
            dc_evse_status=dc_evse_status(Phase.PARAMETERS, context), **parameters.dc_limits(plan, context)
        ),
    )


ISO2_HANDLERS.on_request(common.WeldingDetectionReq)(delivery.welding_detection)


# -- The end of an ISO 15118-2 session, or its pause


@ISO2_HANDLERS.on_request(common.SessionStopReq)
def session_stop(request: common.SessionStopReq, stage: Stage, context: RequestContext) -> Step | Wait:
    """End the session, or store it: a pause counts after power was stopped only [V2G2-739]."""
    step = delivery.session_stop(request, stage, context)
    pauses = (
        request.charging_session is data_types.ChargingSession.Pause
        and isinstance(stage, Stopped)
        and not context.stopping
    )
    if isinstance(step, Wait) or not pauses or not context.config.pause:
        return step
    assert isinstance(stage, Stopped)
    selected = stage.selected
    paused = Paused(
        session_id=selected.session_id,
        vehicle=b"",  # the SessionID alone is compared [V2G2-753]
        evcc_id=selected.authorized.opened.evcc_id,
        contract=selected.contract,
        service=selected.service,
        control_mode=selected.control_mode,
        signed_discharge=False,
        meter_begin=context.facts.meter_begin,
        allowed=context.facts.allowed,
    )
    commands = (
        SaveSession(paused),
        TransactionUpdated(
            selected.session_id.hex(), "ChargingStateChanged", "SuspendedEV", power_w=0, soc=stage.vehicle.soc
        ),
        Observe("stop", "session_stop", {"session": "Pause"}),
    )
    return Step(step.response, Finished(paused=paused), commands, followed="Pause")
