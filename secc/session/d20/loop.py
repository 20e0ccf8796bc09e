"""The charge loop: the vehicle's limits in, the present power out, and the signed confirmation of the meter."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from secc.session import journal
from secc.session.config import ControlMode, EvseRating
from secc.session.d20.parameters import discharge_sign
from secc.session.d20.quantities import to_milli, to_w
from secc.session.d20.scheduling import receipts
from secc.session.d20.stages import HANDLERS, SIDE_HANDLERS, RequestContext, Step, refuse
from secc.session.facts import SessionFacts
from secc.session.ports import Reported, SetOutput
from secc.session.power import apply_output, loop_event, power
from secc.session.stages import Charging, Stage, Stopping, Vehicle, plausible_capacity
from v2g import exi
from v2g.errors import SignatureError
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages import common_types as iso
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages.common_messages import MeteringConfirmationReq, MeteringConfirmationRes
from v2g.iso15118.d20.quantities import milli, whole
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.pki.certificates import load_certificate
from v2g.typed_json import Fields

RequestMode = (
    dc.BPT_Dynamic_DC_CLReqControlMode
    | dc.BPT_Scheduled_DC_CLReqControlMode
    | dc.Dynamic_DC_CLReqControlMode
    | dc.Scheduled_DC_CLReqControlMode
)
ResponseMode = (
    dc.BPT_Dynamic_DC_CLResControlMode
    | dc.BPT_Scheduled_DC_CLResControlMode
    | dc.Dynamic_DC_CLResControlMode
    | dc.Scheduled_DC_CLResControlMode
)

_MODES: Final[Mapping[tuple[ControlMode, bool], type[RequestMode]]] = {
    (ControlMode.DYNAMIC, True): dc.BPT_Dynamic_DC_CLReqControlMode,
    (ControlMode.DYNAMIC, False): dc.Dynamic_DC_CLReqControlMode,
    (ControlMode.SCHEDULED, True): dc.BPT_Scheduled_DC_CLReqControlMode,
    (ControlMode.SCHEDULED, False): dc.Scheduled_DC_CLReqControlMode,
}
"""(control mode, both directions) -> control mode of requests in the loop."""


@HANDLERS.on_request(dc.DC_ChargeLoopReq)
def charge_loop(request: dc.DC_ChargeLoopReq, stage: Charging, context: RequestContext) -> Step:
    """Store the vehicle's limits or targets, set the output, and report the present power (V2G20-2183 to -2188), and
    which of the limits that it sends it has reached."""
    selected = stage.selected
    mode = request.cl_req_control_mode
    if type(mode) is not _MODES[selected.control_mode, selected.bidirectional]:
        raise refuse(iso.ResponseCode.FAILED, f"{type(mode).__name__} does not match the selection")
    stage = replace(_updated(stage, mode, displayed(request), context), halted="")
    stage, commands = apply_output(stage, context)
    output = stage.output
    assert isinstance(output, SetOutput)
    vehicle = stage.vehicle
    reported = Reported(to_milli(request.ev_present_voltage), vehicle.max_charge_ma, vehicle.max_discharge_ma)
    stage, meter_info = report_meter(request, stage, context)
    stage, receipt = report_costs(stage, meter_info, context)
    measured, power_w, rating = context.facts.measured, power(context), context.config.rating
    bound_w = output.charge_w if power_w >= 0 else output.discharge_w
    bound_a = rating.max_charge_current_a if measured.current_ma >= 0 else rating.max_discharge_current_a
    response = replace(
        dc.DC_ChargeLoopRes(
            header=context.header,
            response_code=iso.ResponseCode.OK,
            evse_status=status(context),
            meter_info=meter_info,
            evse_present_current=milli(measured.current_ma),
            evse_present_voltage=milli(measured.voltage_mv),
            evse_power_limit_achieved=50 * abs(power_w) >= 49 * bound_w,
            evse_current_limit_achieved=0 < 49 * bound_a * 1000 <= 50 * abs(measured.current_ma),
            evse_voltage_limit_achieved=measured.voltage_mv >= rating.max_voltage_v * 1000,
            cl_res_control_mode=_mode(
                (output.charge_w, output.discharge_w),
                rating,
                selected.control_mode,
                bidirectional=selected.bidirectional,
                sign=discharge_sign(context),
            ),
        ),
        receipt=receipt,
    )
    return Step(response, replace(stage, loops=stage.loops + 1), (*commands, reported, *loop_event(stage, context)))


def displayed(request: iso.ChargeLoopReq) -> dict[str, int]:
    """Return what a vehicle reports of its battery in the loop: `soc` and `capacity_wh`, each if it does."""
    shown, found = request.display_parameters, dict[str, int]()
    if shown is not None and shown.present_soc is not None:
        found["soc"] = shown.present_soc
    if shown is not None and shown.battery_energy_capacity is not None:
        capacity_wh = plausible_capacity(to_w(shown.battery_energy_capacity))
        found |= {} if capacity_wh is None else {"capacity_wh": capacity_wh}
    return found


@SIDE_HANDLERS[PayloadType.METERING_CONFIRMATION].on_request(MeteringConfirmationReq)
@HANDLERS.on_request(MeteringConfirmationReq)
def metering_confirmation(
    request: MeteringConfirmationReq, stage: Charging | Stopping, context: RequestContext
) -> Step:
    """Handle the vehicle's signature of a reading from this session, also while power is being stopped."""
    data = request.signed_metering_data
    contract = stage.selected.contract
    if contract is None:
        raise refuse(iso.ResponseCode.FAILED_SignatureError, "only a contract can sign readings")
    interop = context.connection.trust.interop
    try:
        signature.verify(
            request.header.signature,
            data,
            load_certificate(contract.chain[0]).public_key(),  # type: ignore[arg-type] # judged with the chain
            allowed=signature.INTEROP if interop else signature.STANDARD,
            schema=COMMON_MESSAGES,
        )
    except SignatureError as error:
        raise refuse(iso.ResponseCode.FAILED_SignatureError, str(error)) from None
    if data.session_id != request.header.session_id or data.meter_info not in stage.sent_readings:
        raise refuse(iso.ResponseCode.FAILED_MeteringSignatureNotValid, "this reading was not sent in this session")
    if data.receipt is not None and data.receipt not in stage.sent_receipts:
        raise refuse(iso.ResponseCode.FAILED_MeteringSignatureNotValid, "this receipt was not sent in this session")
    if (data.scheduled_smdt_control_mode is None) is not (stage.selected.control_mode is ControlMode.DYNAMIC):
        raise refuse(
            iso.ResponseCode.FAILED_MeteringSignatureNotValid, "the reading is signed for another control mode"
        )
    response = MeteringConfirmationRes(header=context.header, response_code=iso.ResponseCode.OK)
    info = data.meter_info
    confirmed, commands = journal.confirm(
        stage,
        info,
        exi.encode(request),
        charged_wh=info.charged_energy_reading_wh,
        discharged_wh=info.bpt_discharged_energy_reading_wh,
    )
    return Step(response, confirmed, commands, followed="MeteringConfirmation")


def _updated(stage: Charging, mode: RequestMode, battery: dict[str, int], context: RequestContext) -> Charging:
    """Return the stage with the vehicle's new values; optional limits that it omits stay."""
    parametrised = stage.parametrised
    if parametrised.derived_from != (mode, battery):
        vehicle = _limits(parametrised.vehicle, mode, battery).bounded(
            parametrised.able, raises=context.config.raised_limits
        )
        parametrised = replace(parametrised, vehicle=vehicle, derived_from=(mode, battery))
        stage = replace(stage, planned=replace(stage.planned, parametrised=parametrised))
    if isinstance(mode, dc.Scheduled_DC_CLReqControlMode):
        asked_mv = to_milli(mode.ev_target_voltage)
        asked_mv = max(0, asked_mv) if asked_mv else stage.asked_mv  # only the current may be given (V2G20-2183)
        return replace(stage, asked_ma=to_milli(mode.ev_target_current), asked_mv=asked_mv)
    return stage


def _limits(known: Vehicle, mode: RequestMode, battery: dict[str, int]) -> Vehicle:
    given = (
        ("max_charge_w", mode.ev_maximum_charge_power, to_w),
        ("max_charge_ma", mode.ev_maximum_charge_current, to_milli),
        ("max_voltage_mv", mode.ev_maximum_voltage, to_milli),
        ("min_voltage_mv", mode.ev_minimum_voltage, to_milli),
    )
    changes: dict[str, object] = {name: max(0, read(number)) for name, number, read in given if number is not None}
    if isinstance(mode, dc.BPT_Dynamic_DC_CLReqControlMode | dc.BPT_Scheduled_DC_CLReqControlMode):
        # sources disagree on the sign of discharge limits: the magnitude counts
        if mode.ev_maximum_discharge_power is not None:
            changes["max_discharge_w"] = abs(to_w(mode.ev_maximum_discharge_power))
        if mode.ev_maximum_discharge_current is not None:
            changes["max_discharge_ma"] = abs(to_milli(mode.ev_maximum_discharge_current))
    return replace(known, **changes | battery | needed(mode))


def needed(mode: Element) -> dict[str, int]:
    """Return what follows from a dynamic vehicle's needs: a full one is not charged, one that lacks its minimum energy
    does not discharge, and one that has more than that and energy for V2X leaves the direction to the charger."""
    if not isinstance(mode, iso.Dynamic_CLReqControlMode):
        return {}
    full, least_wh = to_w(mode.ev_maximum_energy_request) <= 0, to_w(mode.ev_minimum_energy_request)
    return {
        "cycled": least_wh < 0 and getattr(mode, "ev_minimum_v2x_energy_request", None) is not None,
        **({"max_charge_w": 0} if full else {}),
        **({"max_discharge_w": 0} if least_wh > 0 else {}),
    }


def report_meter(
    request: iso.ChargeLoopReq, stage: Charging, context: RequestContext
) -> tuple[Charging, iso.MeterInfo | None]:
    """Return the meter's reading of this session (V2G20-902) if requested, in the first loop, or for confirmation.

    The stage stores the readings sent: a MeteringConfirmation has to repeat one of them.
    """
    meter = context.facts.meter
    first = context.config.meter_info and stage.loops == 0  # V2G20-1833
    confirm = context.notice is not None and context.notice.notification == "MeteringConfirmation"  # V2G20-1083
    energy_wh = _energy_wh(context.facts)
    if meter is None or energy_wh is None or not (request.meter_info_requested or first or confirm):
        return stage, None
    # Energy discharged before services were selected again stays part of the session's reading.
    charged_wh, exported_wh = energy_wh
    bidirectional = stage.selected.bidirectional or exported_wh > 0
    info = iso.MeterInfo(
        meter_id=context.connection.identity.meter_id,
        charged_energy_reading_wh=charged_wh,
        bpt_discharged_energy_reading_wh=exported_wh if bidirectional else None,
        meter_signature=meter.signature,
        meter_timestamp=meter.utc_ms // 1000,
    )
    return journal.remember(stage, info), info


def account(stage: Charging, context: RequestContext) -> Charging:
    """Return the stage with running costs by the prices of the schedule that was just agreed on, after those of the
    session so far."""
    meter, plan, chosen = context.facts.meter, stage.planned.plan, stage.chosen
    stage = replace(stage, running=stage.running or context.running)
    if meter is None or context.config.prices.receipt_every_s is None:
        return stage
    running = receipts.begin(
        chosen.charge_prices if chosen is not None else plan.prices,
        chosen.discharge_prices if chosen is not None else None,
        meter,
        _counted(stage, context),
    )
    return replace(stage, running=running)


def report_costs(
    stage: Charging, meter_info: iso.MeterInfo | None, context: RequestContext
) -> tuple[Charging, iso.Receipt | None]:
    """Return the session's cost so far, at intervals and only beside the meter's reading (V2G20-1919).

    The stage stores the receipts sent, as a MeteringConfirmation may repeat one of them.
    """
    every_s = context.config.prices.receipt_every_s
    running = _counted(stage, context)
    if running is None or every_s is None:
        return stage, None
    confirm = context.notice is not None and context.notice.notification == "MeteringConfirmation"
    due = running.sent_ms is None or context.utc_ms - running.sent_ms >= every_s * 1000
    if meter_info is None or not (due or confirm):
        return replace(stage, running=running), None
    running = replace(running, sent_ms=context.utc_ms)
    receipt = receipts.receipt(running)
    stage = replace(stage, running=running)
    return stage if receipt is None else journal.remember_receipt(stage, receipt), receipt


def _counted(stage: Charging, context: RequestContext) -> receipts.Running | None:
    meter, running = context.facts.meter, stage.running
    if meter is None or not isinstance(running, receipts.Running):
        return None
    return receipts.advance(running, meter)


@lru_cache(maxsize=512)  # most limits are equal to the previous ones
def _mode(
    most: tuple[int, int], rating: EvseRating, control_mode: ControlMode, *, bidirectional: bool, sign: int
) -> ResponseMode:
    """Return the present limits. In dynamic mode they are the command: power settles within them."""
    charge_w, discharge_w = most
    limits: Fields = {
        "evse_maximum_charge_power": whole(charge_w),
        # never below the first one (V2G20-2655), but where a limit is lower: a minimum above the maximum says nothing
        "evse_minimum_charge_power": whole(min(rating.min_charge_power_w, charge_w)),
        "evse_maximum_charge_current": whole(rating.max_charge_current_a),
        "evse_maximum_voltage": whole(rating.max_voltage_v),
    }
    dynamic = control_mode is ControlMode.DYNAMIC
    if not bidirectional:
        return dc.Dynamic_DC_CLResControlMode(**limits) if dynamic else dc.Scheduled_DC_CLResControlMode(**limits)
    limits |= {
        "evse_maximum_discharge_power": whole(sign * discharge_w),
        "evse_minimum_discharge_power": whole(sign * min(rating.min_discharge_power_w, discharge_w)),
        "evse_maximum_discharge_current": whole(sign * rating.max_discharge_current_a),
        "evse_minimum_voltage": whole(rating.min_voltage_v),
    }
    return dc.BPT_Dynamic_DC_CLResControlMode(**limits) if dynamic else dc.BPT_Scheduled_DC_CLResControlMode(**limits)


def status(context: RequestContext) -> iso.EVSEStatus | None:
    """Return the notification for the vehicle, with the remaining time."""
    if context.notice is None:
        return None
    return iso.EVSEStatus(
        notification_max_delay=max(0, min(65535, int(context.notice.until - context.now))),
        evse_notification=iso.EvseNotification(context.notice.notification),
    )


def is_unsigned(stage: Stage, facts: SessionFacts) -> bool:
    """Return whether energy has flowed that the vehicle has not signed yet."""
    energy_wh = _energy_wh(facts)
    if not isinstance(stage, Charging) or energy_wh is None:
        return False
    signed, known = stage.confirmed, (0, 0)
    if isinstance(signed, iso.MeterInfo):
        known = (signed.charged_energy_reading_wh, signed.bpt_discharged_energy_reading_wh or 0)
    return energy_wh != known


def _energy_wh(facts: SessionFacts) -> tuple[int, int] | None:
    """Return what was charged and discharged in this session; None without a meter, or of one that went back."""
    meter, (import_mwh, export_mwh) = facts.meter, facts.meter_begin
    if meter is None or meter.import_mwh < import_mwh or meter.export_mwh < export_mwh:
        return None
    return (meter.import_mwh - import_mwh) // 1000, (meter.export_mwh - export_mwh) // 1000
