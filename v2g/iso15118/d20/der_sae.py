"""AC DER by SAE (ISO 15118-20 Amendment 1, Annex M): grid support in the messages, and back. Built from public facts.

Load it where such a session runs. The schema is published; bits, signs and meanings are by EVerest's open pull requests
alone, those of droops as in IEEE 1547: see docs/reference/open-points.md. Reactive power is positive here where it is
injected, and negative in messages. The messages have no field for ride-through, zero current, direct current and a
power factor by power, and trips have no meaning in `GridSupport`: none of these is guessed.
"""

import math
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from v2g.energy.grid_support import FrequencySupport, Function, GridSupport, SupportCurve, VoltageSupport
from v2g.iso15118.d20.der import made, number, real, signed
from v2g.iso15118.d20.messages import ac_der_iec
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.services import DER_MODES as MODES
from v2g.typed_json import Fields

CHARGE, DISCHARGE, ENTER_SERVICE, TARGET_P = 0, 1, 3, 22
"""Bits of the modes that every session of it has."""

_LN10: Final = math.log(10)  # an open-loop response time is that to 90 %
_PERCENT: Final = iso.DerUnit.PercentageEVMaximumConfiguredActivePower
_REFERENCES: Final = {"maximum": iso.PowerReference.MaximumActivePower, "momentary": iso.PowerReference.MomentaryPower}
_OVER, _UNDER = iso.PowerFactorExcitation.OverExcited, iso.PowerFactorExcitation.UnderExcited


def supported_modes(functions: Iterable[str]) -> int:
    """Return the modes of a vehicle that has these functions."""
    asked = frozenset(functions)
    bits = {
        CHARGE,
        DISCHARGE,
        ENTER_SERVICE,
        TARGET_P,
        *(bit for name in MODES if name in asked for bit in MODES[name]),
    }
    return sum(1 << bit for bit in bits)


def functions_of(modes: int) -> frozenset[Function]:
    """Return the functions that a vehicle of these modes has."""
    return frozenset(name for name, bits in MODES.items() if all(modes >> bit & 1 for bit in bits))


def carried(support: GridSupport, nominal_hz: float) -> GridSupport:
    """Return what the messages can say of grid support: what they cannot would mean another thing to the vehicle."""
    held = {name for name in MODES if getattr(support, name) is not None}
    for name in ("over_frequency_watt", "under_frequency_watt"):
        each = getattr(support, name)
        if each is not None and not _is_droop(each, nominal_hz):
            held.discard(name)
    for name in ("volt_var", "watt_var"):
        curve = getattr(support, name)
        if curve is not None and (curve.lock_in, curve.min_cos_phi, curve.delay_s) != (None, None, 0):
            held.discard(name)
    if support.volt_watt is not None and (support.volt_watt.reference, support.volt_watt.delay_s) != ("maximum", 0):
        held.discard("volt_watt")
    return support.only(held)


def _is_droop(each: FrequencySupport, nominal_hz: float) -> bool:
    """Return whether power falls as long as there is any, at once, and comes back with the frequency."""
    gone_hz = 100 / each.slope
    whole = abs(each.stop_hz - each.start_hz) >= gone_hz - 0.01
    later = each.hysteresis or each.delay_s or each.stop_delay_s or each.ramp is not None
    return whole and not later and 0 < gone_hz < nominal_hz


def control(support: GridSupport, *, permit: bool, nominal_v: float, nominal_hz: float) -> iso.DERControlCPDRes:
    """Return these functions as DERControl; all others, and trips, are there but not enabled."""
    flat = ((0.0, 0.0), (1.0, 0.0))
    seconds, volts, hertz = iso.DerUnit.s, iso.DerUnit.V, iso.DerUnit.Hz
    no_volts, no_hertz = _curve(flat, seconds, volts, enable=False), _curve(flat, seconds, hertz, enable=False)
    return iso.DERControlCPDRes(
        voltage_trip=iso.VoltageTrip(over_voltage_must_trip_curve=no_volts, under_voltage_must_trip_curve=no_volts),
        frequency_trip=iso.FrequencyTrip(
            over_frequency_must_trip_curve=no_hertz, under_frequency_must_trip_curve=no_hertz
        ),
        enter_service_cpd_res=iso.EnterServiceCPDRes(
            permit_service=permit,
            enter_service_voltage_high=number(1.05 * nominal_v),
            enter_service_voltage_low=number(0.917 * nominal_v),
            enter_service_frequency_high=number(nominal_hz + 0.1),
            enter_service_frequency_low=number(nominal_hz - 0.5),
        ),
        reactive_power_support_cpd_res=_reactive(support, nominal_v),
        active_power_support_cpd_res=_active(support, nominal_hz),
    )


def _reactive(support: GridSupport, nominal_v: float) -> iso.ReactivePowerSupportCPDRes:
    factor, var = support.cos_phi_setpoint, support.q_setpoint
    volts, watts, none = iso.DerUnit.V, iso.DerUnit.W, SupportCurve(points=((0, 0), (1, 0)))
    by_volts, by_watts = support.volt_var or none, support.watt_var or none
    return iso.ReactivePowerSupportCPDRes(
        constant_power_factor=iso.ConstantPowerFactor(
            enable=factor is not None,
            power_factor_value=number(1 if factor is None else abs(factor.cos_phi)),
            power_factor_excitation=_UNDER if factor is not None and factor.cos_phi < 0 else _OVER,
        ),
        volt_var=iso.VoltVar(
            **_axes(_absorbed(by_volts.points), volts, iso.DerUnit.var, enable=support.volt_var is not None),
            open_loop_response_time=number(by_volts.response_s * _LN10),
            reference_voltage=number(nominal_v),
            autonomous_reference_voltage_adjustment_enable=False,
            reference_voltage_adjustment_time_constant=0,
        ),
        watt_var=iso.WattVar(
            **_axes(_absorbed(by_watts.points), watts, iso.DerUnit.var, enable=support.watt_var is not None),
            open_loop_response_time=number(by_watts.response_s * _LN10),
        ),
        constant_var=iso.ConstantVar(
            enable=var is not None, var_setpoint=number(0 if var is None else -var.var), unit=iso.DerUnit.var
        ),
    )


def _active(support: GridSupport, nominal_hz: float) -> iso.ActivePowerSupportCPDRes:
    over, under = support.over_frequency_watt, support.under_frequency_watt
    volts = support.volt_watt or VoltageSupport(start_v=0, stop_v=1)
    return iso.ActivePowerSupportCPDRes(
        frequency_droop=iso.FrequencyDroop(
            enable=over is not None or under is not None,
            over_frequency_droop=None if over is None else _droop(over, nominal_hz),
            under_frequency_droop=None if under is None else _droop(under, nominal_hz),
        ),
        volt_watt=iso.VoltWatt(
            **_axes(
                ((volts.start_v, 100), (volts.stop_v, 0)), iso.DerUnit.V, _PERCENT, enable=support.volt_watt is not None
            ),
            open_loop_response_time=number(volts.response_s * _LN10),
        ),
        constant_watt=iso.ConstantWatt(enable=False, watt_setpoint=number(0), unit=iso.DerUnit.W),
        limit_max_discharge_power=iso.LimitMaxDischargePower(enable=False, percentage_value=100),
    )


def _droop(each: FrequencySupport, nominal_hz: float) -> iso.FrequencyDroopSettings:
    return iso.FrequencyDroopSettings(
        db=number(abs(each.start_hz - nominal_hz)),
        droop_factor=number(100 / each.slope / nominal_hz),
        power_reference=_REFERENCES[each.reference],
        open_loop_response_time=number(each.response_s * _LN10),
    )


def _absorbed(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, -y) for x, y in points)


def _axes(points: Iterable[tuple[float, float]], x: iso.DerUnit, y: iso.DerUnit, *, enable: bool) -> Fields:
    listed = tuple(iso.DataTuple(x_value=number(a), y_value=number(b)) for a, b in points)
    return {
        "enable": enable,
        "x_unit": x,
        "y_unit": y,
        "curve_data_points": iso.CurveDataPointsList(curve_data_point=listed),
    }


def _curve(points: Iterable[tuple[float, float]], x: iso.DerUnit, y: iso.DerUnit, *, enable: bool) -> iso.DERCurve:
    return iso.DERCurve(**_axes(points, x, y, enable=enable))


# -- what a vehicle reads --------------------------------------------------------------------------------------------

Blocks = iso.DERControlCPDRes | iso.DERControlCLRes


def support_of(
    given: Blocks, before: GridSupport, *, most_w: float, nominal_v: float, nominal_hz: float
) -> GridSupport:
    """Return the functions that are enabled; those of a block that is absent stay as `before`.

    `most_w` is the vehicle's maximum of discharge, which percentages refer to. Raises ValueError, which names it, for a
    function that has no meaning here, and for values that no inverter can follow.
    """
    found = Fields()
    reactive: iso.ReactivePowerSupportCPDRes | iso.ReactivePowerSupportCLRes | None
    active: iso.ActivePowerSupportCPDRes | iso.ActivePowerSupportCLRes | None
    if isinstance(given, iso.DERControlCLRes):
        reactive, active = given.reactive_power_support_cl_res, given.active_power_support_cl_res
    else:
        reactive, active = given.reactive_power_support_cpd_res, given.active_power_support_cpd_res
    for trips in (given.voltage_trip, given.frequency_trip):
        for name in () if trips is None else trips.__struct_fields__:
            _refuse(getattr(trips, name), name)
    if reactive is not None:
        if (factor := reactive.constant_power_factor) is not None:
            excitation = ac_der_iec.PowerFactorExcitation(factor.power_factor_excitation.value)
            value = signed(factor.power_factor_value, excitation)
            found["cos_phi_setpoint"] = {"cos_phi": value, "response_s": 0.0} if factor.enable else None
        if (var := reactive.constant_var) is not None:
            found["q_setpoint"] = {"var": -_var(var), "response_s": 0.0} if var.enable else None
        if (curve := reactive.volt_var) is not None:
            found["volt_var"] = _points(curve, nominal_v, "V") if curve.enable else None
        if (line := reactive.watt_var) is not None:
            found["watt_var"] = _points(line, most_w, "W") if line.enable else None
    if active is not None:
        _refuse(active.constant_watt, "constant_watt")
        _refuse(active.limit_max_discharge_power, "limit_max_discharge_power")
        if (droop := active.frequency_droop) is not None:
            over, under = droop.over_frequency_droop, droop.under_frequency_droop
            found["over_frequency_watt"] = _support(over, nominal_hz, 1) if over and droop.enable else None
            found["under_frequency_watt"] = _support(under, nominal_hz, -1) if under and droop.enable else None
        if (watts := active.volt_watt) is not None:
            found["volt_watt"] = _volt_watt(watts, nominal_v, most_w) if watts.enable else None
    new = made({name: value for name, value in found.items() if value is not None})
    return replace(before, **{name: getattr(new, name) for name in found})


def _refuse(each: object, name: str) -> None:
    if each is not None and getattr(each, "enable", False):
        raise ValueError(f"{name} is enabled, which has no meaning here")


def _time(value: RationalNumber | None) -> float:
    return 0.0 if value is None else real(value) / _LN10


def _var(each: iso.ConstantVar) -> float:
    if each.unit is not iso.DerUnit.var:
        raise ValueError(f"constant_var: a set-point in {each.unit.value}")
    phases = (each.var_setpoint, each.var_setpoint_l2, each.var_setpoint_l3)
    return sum(real(value) for value in phases if value is not None)


def _scale(unit: iso.DerUnit, plain: str, whole: float) -> float:
    """Return by what a value is multiplied: percent are of `whole`."""
    if unit.value == plain:
        return 1.0
    if unit is iso.DerUnit.PercentageV and plain == "V":
        return whole / 100
    if unit is _PERCENT and plain == "W":
        return whole / 100
    raise ValueError(f"a curve in {unit.value}")


def _xy(curve: iso.DERCurve) -> list[tuple[float, float]]:
    return [(real(each.x_value), real(each.y_value)) for each in curve.curve_data_points.curve_data_point]


def _points(curve: iso.VoltVar | iso.WattVar, whole: float, x: str) -> Fields:
    if isinstance(curve, iso.VoltVar) and curve.autonomous_reference_voltage_adjustment_enable:
        raise ValueError("volt_var: its reference voltage adjusts itself")
    across, up = _scale(curve.x_unit, x, whole), _scale(curve.y_unit, "var", 0.0)
    return {
        "points": [(a * across, -b * up) for a, b in _xy(curve)],
        "response_s": _time(curve.open_loop_response_time),
    }


def _volt_watt(curve: iso.VoltWatt, nominal_v: float, most_w: float) -> Fields:
    across, up = _scale(curve.x_unit, "V", nominal_v), _scale(curve.y_unit, "W", most_w)
    points = [(a * across, b * up) for a, b in _xy(curve)]
    (start, most), (stop, least) = points[0], points[-1]
    if len(points) != 2 or least or abs(most - most_w) > 0.01 * most_w:
        raise ValueError("volt_watt: only a line from all of the power to none has a meaning here")
    return {"start_v": start, "stop_v": stop, "response_s": _time(curve.open_loop_response_time)}


def _support(each: iso.FrequencyDroopSettings, nominal_hz: float, sign: int) -> Fields:
    gone_hz = real(each.droop_factor) * nominal_hz
    if gone_hz <= 0:
        raise ValueError("frequency_droop: the droop is 0")
    start = nominal_hz + sign * abs(real(each.db))
    named = {reference: name for name, reference in _REFERENCES.items()}
    return {
        "start_hz": start,
        "stop_hz": start + sign * gone_hz,
        "slope": 100 / gone_hz,
        "reference": named[each.power_reference],
        "response_s": _time(each.open_loop_response_time),
    }


def enabled_modes(support: GridSupport, *, permit: bool) -> int:
    """Return the modes that are enabled by these functions: what EnabledModes acknowledges."""
    bits = {CHARGE, TARGET_P, *((DISCHARGE, ENTER_SERVICE) if permit else ())}
    factor = support.cos_phi_setpoint
    for name in support.functions & MODES.keys():
        bits |= set(MODES[name])
    if factor is not None:
        bits.discard(5 if factor.cos_phi < 0 else 4)
    return sum(1 << bit for bit in bits)
