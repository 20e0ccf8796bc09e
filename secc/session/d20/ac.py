"""Alternating current: the vehicle's own charger controls the power, the charge point sets targets and monitors."""

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from msgspec.structs import replace

from secc.session.config import ControlMode, EnergyService
from secc.session.d20.loop import displayed, needed, report_costs, report_meter, status
from secc.session.d20.parameters import discharge_sign, limits_event
from secc.session.d20.quantities import by_phase, to_w
from secc.session.d20.stages import HANDLERS, RequestContext, Step, refuse
from secc.session.ports import SetAcOutput
from secc.session.power import apply_output, loop_event, on_lines, overdraw, power
from secc.session.stages import Charging, Parametrised, Selected, Vehicle, selected_of
from v2g.energy.conductors import LOWEST_VOLTAGE, line_power_w
from v2g.exi.declare import Element, schema_of
from v2g.iso15118.d20.messages import ac as iso
from v2g.iso15118.d20.messages.common_types import Processing, RationalNumber, ResponseCode
from v2g.iso15118.d20.quantities import PHASES, each_phase, whole
from v2g.iso15118.d20.schemas import AC
from v2g.iso15118.d20.services import DER_SCHEMAS
from v2g.observe import Observe
from v2g.typed_json import Fields

RequestMode = iso.Dynamic_AC_CLReqControlMode | iso.Scheduled_AC_CLReqControlMode
ResponseMode = iso.Dynamic_AC_CLResControlMode | iso.Scheduled_AC_CLResControlMode

_MODES: Final[Mapping[tuple[ControlMode, bool], tuple[type[RequestMode], type[ResponseMode]]]] = {
    (ControlMode.DYNAMIC, True): (iso.BPT_Dynamic_AC_CLReqControlMode, iso.BPT_Dynamic_AC_CLResControlMode),
    (ControlMode.DYNAMIC, False): (iso.Dynamic_AC_CLReqControlMode, iso.Dynamic_AC_CLResControlMode),
    (ControlMode.SCHEDULED, True): (iso.BPT_Scheduled_AC_CLReqControlMode, iso.BPT_Scheduled_AC_CLResControlMode),
    (ControlMode.SCHEDULED, False): (iso.Scheduled_AC_CLReqControlMode, iso.Scheduled_AC_CLResControlMode),
}
"""(control mode, both directions) -> control modes of request and response in the loop (V2G20-1600)."""


@HANDLERS.on_request(iso.AC_ChargeParameterDiscoveryReq)
def charge_parameter_discovery(
    request: iso.AC_ChargeParameterDiscoveryReq, stage: Selected | Parametrised, context: RequestContext
) -> Step:
    """Store the vehicle's limits and send the charger's rating, which bounds every later limit (V2G20-2654). A vehicle
    of AC DER repeats the request while it applies the demands (V2G20-3150)."""
    mode, selected = request.ac_cpd_req_energy_transfer_mode, selected_of(stage)
    assert selected is not None
    if type(mode).__name__ != _PARAMETERS[selected.service] or not _is_of(request, selected):
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, "the parameters do not match the selected service")
    vehicle, events = _vehicle(mode, context), tuple[Observe, ...]()
    why = _impossible(mode)
    if not why and vehicle.min_charge_w > _most_w(context, vehicle.phases, charge=True):
        why = "the vehicle's lowest power is above the charger's highest"
    if why:  # V2G20-1619
        raise refuse(ResponseCode.FAILED_WrongChargeParameter, why)
    parametrised = Parametrised(selected=selected, vehicle=vehicle, rated=vehicle)
    answer: type[iso.AC_ChargeParameterDiscoveryRes] = iso.AC_ChargeParameterDiscoveryRes
    rating = rating_mode(context, vehicle.phases, selected)
    if (der := _flavour(selected)) is not None:
        answer, began = der.PARAMETERS, applying_since(stage, mode, context)
        rating, vehicle, events = der.rating(rating, mode, vehicle, selected, context)
        parametrised = replace(parametrised, vehicle=vehicle, rated=vehicle, applying_since=began)
    response = answer(header=context.header, response_code=ResponseCode.OK, ac_cpd_res_energy_transfer_mode=rating)
    return Step(response, parametrised, (limits_event(selected, vehicle, context), *events))


_PARAMETERS: Final = {
    EnergyService.AC: "AC_CPDReqEnergyTransferMode",
    EnergyService.AC_BPT: "BPT_AC_CPDReqEnergyTransferMode",
    EnergyService.AC_DER_IEC: "DER_AC_CPDReqEnergyTransferMode",
    EnergyService.AC_DER_SAE: "DER_AC_CPDReqEnergyTransferMode",
}
"""Service -> the charge parameters that belong to it."""


def _flavour(selected: Selected) -> ModuleType | None:
    """Return the module of AC DER by IEC, or by SAE, loaded by the first such session; None in others."""
    if selected.service is EnergyService.AC_DER_IEC:
        from secc.session.d20 import der  # only where such a session runs

        return der
    if selected.service is EnergyService.AC_DER_SAE:
        from secc.session.d20 import der_sae

        return der_sae
    return None


def _is_of(message: Element, selected: Selected) -> bool:
    """Return whether a message has the grammar of this service: those of AC DER have their own."""
    return schema_of(type(message)) is DER_SCHEMAS.get(selected.service, AC)


def applying_since(stage: Selected | Parametrised, mode: Element, context: RequestContext) -> float:
    """Return since when (s) a vehicle of AC DER applies the demands. Raises Iso15118Error if it takes too long: no
    limit of the standard is public."""
    began = stage.applying_since if isinstance(stage, Parametrised) else None
    began = context.now if began is None else began
    ongoing = mode.ev_processing is not Processing.Finished  # type: ignore[attr-defined] # both flavours have it
    if ongoing and context.now - began > context.config.timing.ongoing:
        raise refuse(ResponseCode.FAILED, "the vehicle applies the grid support for too long", reason="ongoing_timeout")
    return began


def rating_mode(context: RequestContext, lines: int, selected: Selected) -> iso.AC_CPDResEnergyTransferMode:
    """Return the charge point's rating as the schema requires it, for each of the phases that the vehicle uses."""
    rating, charge_w = context.config.ac_rating, _most_w(context, lines, charge=True)
    fields: Fields = {
        **each_phase("evse_maximum_charge_power", charge_w, lines),
        **each_phase("evse_minimum_charge_power", min(charge_w, rating.min_charge_power_w), lines),
        "evse_nominal_frequency": whole(rating.nominal_frequency_hz),
        "maximum_power_asymmetry": None if rating.max_asymmetry_w is None else whole(rating.max_asymmetry_w),
        "evse_power_ramp_limitation": None if rating.ramp_w_s is None else whole(rating.ramp_w_s),
    }
    if not selected.bidirectional:
        return iso.AC_CPDResEnergyTransferMode(**fields)
    sign, discharge_w = discharge_sign(context), _most_w(context, lines, charge=False)
    fields |= each_phase("evse_maximum_discharge_power", sign * discharge_w, lines)
    fields |= each_phase("evse_minimum_discharge_power", sign * min(discharge_w, rating.min_discharge_power_w), lines)
    return iso.BPT_AC_CPDResEnergyTransferMode(**fields)


def _most_w(context: RequestContext, lines: int, *, charge: bool) -> int:
    """Return the charge point's maximum power (W) over so many phases."""
    rating = context.config.ac_rating
    power_w, current_ma = (
        (rating.max_charge_power_w, rating.charge_ma) if charge else (rating.max_discharge_power_w, rating.discharge_ma)
    )
    return min(power_w, line_power_w(current_ma, rating.nominal_voltage_v, lines))


@HANDLERS.on_request(iso.AC_ChargeLoopReq)
def charge_loop(request: iso.AC_ChargeLoopReq, stage: Charging, context: RequestContext) -> Step:
    """Store the vehicle's limits and measured power, and send the target power."""
    selected = stage.selected
    mode = request.cl_req_control_mode
    asked, answered = _modes(selected)
    if type(mode) is not asked or not _is_of(request, selected):
        raise refuse(ResponseCode.FAILED, f"{type(mode).__name__} does not match the selection")
    assert isinstance(mode, RequestMode)
    stage = replace(_updated(stage, mode, displayed(request), context), halted="")
    stage, commands = apply_output(stage, context)
    output = stage.output
    assert isinstance(output, SetAcOutput)
    stage, meter_info = report_meter(request, stage, context)
    stage, receipt = report_costs(stage, meter_info, context)
    stage, code = keeps_profile(stage, context)
    answer: type[iso.AC_ChargeLoopRes] = iso.AC_ChargeLoopRes
    fields: Fields = _targets(output, stage.vehicle, context)
    if (der := _flavour(selected)) is not None:
        answer = der.LOOP
        fields |= der.loop_fields(stage, context)
        stage, events = der.noted(stage, mode)
        commands += events
    response = answer(
        header=context.header,
        response_code=code,
        evse_status=status(context),
        meter_info=meter_info,
        receipt=receipt,
        cl_res_control_mode=answered(**fields),
    )
    return Step(response, replace(stage, loops=stage.loops + 1), (*commands, *loop_event(stage, context)))


def _modes(selected: Selected) -> tuple[type[RequestMode], type[ResponseMode]]:
    """Return the control modes of request and response in the loop."""
    der = _flavour(selected)
    return _MODES[selected.control_mode, selected.bidirectional] if der is None else der.MODES[selected.control_mode]


def keeps_profile(stage: Charging, context: RequestContext) -> tuple[Charging, ResponseCode]:
    """Check that the vehicle keeps to its permitted power: first a warning, then the end (V2G20-1864).

    The charge point cannot lower the power of an on-board charger itself; it can only send targets and open its
    contactor.
    """
    stage, above_w, level = overdraw(stage, context)
    if level == "fail":
        raise refuse(ResponseCode.FAILED_EVPowerProfileViolation, f"{above_w} W more than allowed")
    return stage, ResponseCode.WARNING_EVPowerProfileViolation if level else ResponseCode.OK


def _targets(output: SetAcOutput, vehicle: Vehicle, context: RequestContext) -> dict[str, RationalNumber]:
    """Return the present targets: binding in dynamic mode, under a schedule only if power must be cut."""
    # the present power of each phase as measured, of one in equal parts where only the sum is
    measured = context.facts.measured
    if measured.currents is None or output.lines == 1:
        fields = each_phase("evse_present_active_power", power(context), output.lines)
    else:
        volts = measured.voltage_mv // 1000
        powers = [int(current_ma * volts / 1000) for current_ma in measured.currents[: output.lines]]
        fields = by_phase("evse_present_active_power", powers)
    target = output.power_w
    if target is None:
        target = min(max(power(context), -output.discharge_w), output.charge_w)
        target = None if target == power(context) else target
    if target is not None:
        line_ma = output.charge_ma if target > 0 else output.discharge_ma
        fields |= by_phase("evse_target_active_power", on_lines(target, line_ma, vehicle, context))
    return fields


def _updated(stage: Charging, mode: RequestMode, battery: dict[str, int], context: RequestContext) -> Charging:
    """Return the stage with the vehicle's new limits; those that it omits stay."""
    parametrised = stage.parametrised
    changes: dict[str, object] = {}
    if mode.ev_maximum_charge_power is not None:
        changes["max_charge_w"] = max(0, total(mode, "ev_maximum_charge_power"))
        changes["max_charge_ma"] = strongest_ma(mode, "ev_maximum_charge_power", context)
        changes["line_charge_w"] = _each(mode, "ev_maximum_charge_power", parametrised.able.phases)
    if getattr(mode, "ev_maximum_discharge_power", None) is not None:
        # sources disagree on the sign of discharge limits: the magnitude counts
        changes["max_discharge_w"] = abs(total(mode, "ev_maximum_discharge_power"))
        changes["max_discharge_ma"] = strongest_ma(mode, "ev_maximum_discharge_power", context)
        changes["line_discharge_w"] = _each(mode, "ev_maximum_discharge_power", parametrised.able.phases)
    vehicle = replace(parametrised.vehicle, **changes | battery | needed(mode))
    vehicle = vehicle.bounded(parametrised.able, raises=context.config.raised_limits)
    if vehicle == parametrised.vehicle:
        return stage
    planned = replace(stage.planned, parametrised=replace(parametrised, vehicle=vehicle))
    return replace(stage, planned=planned)


def _vehicle(mode: iso.AC_CPDReqEnergyTransferMode, context: RequestContext) -> Vehicle:
    """Return the vehicle's limits; its phases are those that it gives powers of, its currents are those of
    the one with the highest power."""
    rating, charge_w = context.config.ac_rating, total(mode, "ev_maximum_charge_power")
    given = 3 if mode.ev_maximum_charge_power_l3 is not None else 1 + (mode.ev_maximum_charge_power_l2 is not None)
    phases, voltage = min(given, rating.phases), rating.nominal_voltage_v
    bidirectional = hasattr(mode, "ev_maximum_discharge_power")
    return Vehicle(
        max_charge_w=charge_w,
        max_charge_ma=strongest_ma(mode, "ev_maximum_charge_power", context),
        max_discharge_ma=strongest_ma(mode, "ev_maximum_discharge_power", context) if bidirectional else 0,
        max_voltage_mv=voltage * 1000,
        min_voltage_mv=voltage * 1000,
        max_discharge_w=abs(total(mode, "ev_maximum_discharge_power")) if bidirectional else 0,
        min_charge_w=max(0, total(mode, "ev_minimum_charge_power")),
        min_discharge_w=abs(total(mode, "ev_minimum_discharge_power")) if bidirectional else 0,
        phases=phases,
        line_charge_w=_each(mode, "ev_maximum_charge_power", phases),
        line_discharge_w=_each(mode, "ev_maximum_discharge_power", phases),
    )


def _impossible(mode: iso.AC_CPDReqEnergyTransferMode) -> str:
    """Return the contradiction in these limits, or empty."""
    for phase in PHASES:
        most, least = _value(mode, "ev_maximum_charge_power" + phase), _value(mode, "ev_minimum_charge_power" + phase)
        if most < 0:
            return "a limit is negative"
        if least > most:
            return "the vehicle's charge powers contradict each other"
        most = _value(mode, "ev_maximum_discharge_power" + phase)
        least = _value(mode, "ev_minimum_discharge_power" + phase)
        if abs(least) > abs(most):
            return "the vehicle's discharge powers contradict each other"
    return ""


def total(mode: Element, name: str) -> int:
    """Return the power (W) of all phases: the value without suffix is phase 1, or the total if it is the only one."""
    return sum(_value(mode, name + phase) for phase in PHASES)


def _each(mode: Element, name: str, phases: int) -> tuple[int, ...]:
    """Return the power (W) of each of so many phases, 0 of one left out; nothing where only a total is given."""
    if all(getattr(mode, name + phase, None) is None for phase in PHASES[1:]):
        return ()
    return _sizes(mode, name)[:phases]


def strongest_ma(mode: Element, name: str, context: RequestContext) -> int:
    """Return the current, mA, of the phase with the highest power at the lowest voltage of operation: a vehicle may
    keep its power there, as far as conductors carry it (`line_v`)."""
    return int(max(_sizes(mode, name)) * 1000 / (LOWEST_VOLTAGE * context.config.ac_rating.nominal_voltage_v))


def _sizes(mode: Element, name: str) -> tuple[int, ...]:
    """Return the maximum power (W) of each phase: of discharge the magnitude, of charge none where it is negative."""
    powers = (_value(mode, name + phase) for phase in PHASES)
    return tuple(abs(each) if "discharge" in name else max(0, each) for each in powers)


def _value(mode: Element, name: str) -> int:
    value: RationalNumber | None = getattr(mode, name, None)
    return 0 if value is None else to_w(value)
