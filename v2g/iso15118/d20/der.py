"""AC DER by IEC (ISO 15118-20 Amendment 1, Annex L): grid support in the messages, and back. Built from public facts.

Load it where such a session runs: it needs declarations that others do not. What is by one other implementation
(EVerest) only: bits, sign and unit of the values; see docs/reference/open-points.md.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from v2g import typed_json
from v2g.energy import grid_support
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.typed_json import Fields
from v2g.units import to_rational

_REFERENCES: Final = {
    "maximum": iso.PowerReference.MaximumDischargePower,
    "momentary": iso.PowerReference.MomentaryPower,
}
_REFERRED: Final = {each: name for name, each in _REFERENCES.items()}
_V, _W, _VAR = iso.CurveDataPointsUnit.V, iso.CurveDataPointsUnit.W, iso.CurveDataPointsUnit.var
_CURVES: Final[dict[grid_support.Function, tuple[iso.CurveDataPointsUnit, iso.LockValueUnit | None]]] = {
    "volt_var": (_V, iso.LockValueUnit.W),
    "watt_var": (_W, iso.LockValueUnit.V),
    "watt_cos_phi": (_W, iso.LockValueUnit.V),
}
"""Curve -> units of its x and of what locks it in. There is none for a power factor: EVerest's charger sends var."""

_OVER, _UNDER = iso.PowerFactorExcitation.OverExcited, iso.PowerFactorExcitation.UnderExcited


def number(value: float) -> RationalNumber:
    """Return a number for the wire."""
    mantissa, exponent = to_rational(Decimal(str(round(value, 6))))
    return RationalNumber(exponent=exponent, value=mantissa)


def real(value: RationalNumber) -> float:
    """Return a number from the wire."""
    return float(Decimal(value.value).scaleb(value.exponent))


def factor(value: float) -> tuple[RationalNumber, iso.PowerFactorExcitation]:
    """Return a signed power factor as magnitude and excitation."""
    return number(abs(value)), _UNDER if value < 0 else _OVER


def signed(value: RationalNumber, excitation: iso.PowerFactorExcitation | None) -> float:
    """Return a power factor with the sign of its reactive power. Raises ValueError unless it is within 0 and 1."""
    magnitude = real(value)
    if not 0 <= magnitude <= 1:
        raise ValueError(f"power factor {magnitude:g} is not within 0 and 1")
    return -magnitude if excitation is _UNDER else magnitude


def control(support: grid_support.GridSupport, functions: Iterable[str]) -> iso.DERControl:
    """Return the values of these functions as DERControl; set-points are part of the loop."""
    asked = support.only(functions)
    curves = {name: _curve(curve, name) for name in _CURVES if (curve := getattr(asked, name)) is not None}
    over, under, volts, zero = (
        asked.over_frequency_watt,
        asked.under_frequency_watt,
        asked.volt_watt,
        asked.zero_current,
    )
    active = over is not None or under is not None or volts is not None
    return iso.DERControl(
        overvoltage_fault_ride_through=None if asked.over_ride_through is None else _through(asked.over_ride_through),
        undervoltage_fault_ride_through=None
        if asked.under_ride_through is None
        else _through(asked.under_ride_through),
        zero_current=None
        if zero is None
        else iso.ZeroCurrent(
            over_voltage_limit=_maybe(zero.over_v),
            under_voltage_limit=_maybe(zero.under_v),
            over_voltage_recovery_limit=_maybe(zero.over_recovery_v),
            under_voltage_recovery_limit=_maybe(zero.under_recovery_v),
            **_both(zero.response_s),
        ),
        reactive_power_support=iso.ReactivePowerSupport(**curves) if curves else None,
        active_power_support=iso.ActivePowerSupport(
            under_frequency_watt=None if under is None else _frequency(under),
            over_frequency_watt=None if over is None else _frequency(over),
            volt_watt=None
            if volts is None
            else iso.VoltWatt(
                power_reference=_REFERENCES[volts.reference],
                u_start=number(volts.start_v),
                u_stop=number(volts.stop_v),
                intentional_delay_power_control=volts.delay_s or None,
                **_active(volts.response_s),
            ),
        )
        if active
        else None,
        maximum_level_dc_injection=_maybe(asked.dc_injection),
    )


def support_of(control: iso.DERControl) -> grid_support.GridSupport:
    """Return the values of DERControl. Raises ValueError, which names it, for a value that no inverter can follow."""
    found: Fields = {}
    for name, each in (
        ("over_ride_through", control.overvoltage_fault_ride_through),
        ("under_ride_through", control.undervoltage_fault_ride_through),
    ):
        if each is not None:
            found[name] = {
                "start_v": real(each.voltage_limit_start_frt),
                "stop_v": _known(each.voltage_limit_stop_frt),
                "recovery_v": _known(each.voltage_recovery_limit),
                "k_positive": abs(_known(each.voltage_ride_through_positive_curve_k_factor) or 0.0),
                "k_negative": abs(_known(each.voltage_ride_through_negative_curve_k_factor) or 0.0),
                "response_s": real(each.step_response_time_constant_active_power),
            }
    if (zero := control.zero_current) is not None:
        found["zero_current"] = {
            "over_v": _known(zero.over_voltage_limit),
            "under_v": _known(zero.under_voltage_limit),
            "over_recovery_v": _known(zero.over_voltage_recovery_limit),
            "under_recovery_v": _known(zero.under_voltage_recovery_limit),
            "response_s": real(zero.step_response_time_constant_active_power),
        }
    if (reactive := control.reactive_power_support) is not None:
        found |= {name: _points(curve, name) for name in _CURVES if (curve := getattr(reactive, name)) is not None}
    if (active := control.active_power_support) is not None:
        for name in ("over_frequency_watt", "under_frequency_watt"):
            if (each := getattr(active, name)) is not None:
                found[name] = _droop(each)
        if (volts := active.volt_watt) is not None:
            found["volt_watt"] = {
                "start_v": real(volts.u_start),
                "stop_v": real(volts.u_stop),
                "reference": _REFERRED[volts.power_reference],
                "response_s": _time(volts, "active"),
                "delay_s": volts.intentional_delay_power_control or 0,
            }
    if (most := _known(control.maximum_level_dc_injection)) is not None:
        found["dc_injection"] = min(grid_support.MOST_DC, abs(most))  # its unit is not public: a wider limit is none
    return made(found)


def made(fields: Fields) -> grid_support.GridSupport:
    """Return grid support of these values, checked. Raises ValueError."""
    return typed_json.convert(fields, grid_support.GridSupport)  # ValidationError is a ValueError, with the path


def q_setpoint(setpoint: iso.DSOQSetpoint) -> dict[str, float]:
    """Return a set-point of the loop, the sum of its phases."""
    value = setpoint.dso_q_setpoint_value
    phases = (value, setpoint.dso_q_setpoint_value_l2, setpoint.dso_q_setpoint_value_l3)
    return {"var": sum(real(each) for each in phases if each is not None), "response_s": _time(setpoint, "reactive")}


def cos_phi_setpoint(setpoint: iso.DSOCosPhiSetpoint) -> dict[str, float]:
    """Return a set-point of the loop: the least of its phases. Raises ValueError unless all are within 0 and 1."""
    value = setpoint.dso_cos_phi_setpoint_value
    phases = (value, setpoint.dso_cos_phi_setpoint_value_l2, setpoint.dso_cos_phi_setpoint_value_l3)
    factors = [signed(each, setpoint.excitation) for each in phases if each is not None]
    return {"cos_phi": min(factors, key=abs), "response_s": _time(setpoint, "reactive")}


def setpoints(support: grid_support.GridSupport, functions: Iterable[str], lines: int) -> Fields:
    """Return the set-points of these functions as fields of a loop response, reactive power in equal parts."""
    asked, found = support.only(functions), Fields()
    if asked.q_setpoint is not None:
        part = number(asked.q_setpoint.var / max(1, lines))
        more: Fields = {f"dso_q_setpoint_value_l{line}": part for line in range(2, lines + 1)}
        found["dso_q_setpoint"] = iso.DSOQSetpoint(
            dso_q_setpoint_value=part, **more, **_reactive(asked.q_setpoint.response_s)
        )
    if asked.cos_phi_setpoint is not None:
        magnitude, excitation = factor(asked.cos_phi_setpoint.cos_phi)
        found["dso_cos_phi_setpoint"] = iso.DSOCosPhiSetpoint(
            dso_cos_phi_setpoint_value=magnitude, excitation=excitation, **_reactive(asked.cos_phi_setpoint.response_s)
        )
    return found


def _maybe(value: float | None) -> RationalNumber | None:
    return None if value is None else number(value)


def _known(value: RationalNumber | None) -> float | None:
    return None if value is None else real(value)


def _active(seconds: float) -> Fields:
    return {"pt1_response_active_power": seconds > 0, "step_response_time_constant_active_power": number(seconds)}


def _reactive(seconds: float) -> Fields:
    return {"pt1_response_reactive_power": seconds > 0, "step_response_time_constant_reactive_power": number(seconds)}


def _both(seconds: float) -> Fields:
    return {**_active(seconds), **_reactive(seconds)}


def _time(each: Element, kind: str) -> float:
    return real(getattr(each, f"step_response_time_constant_{kind}_power"))


def _through(each: grid_support.RideThrough) -> iso.FaultRideThrough:
    return iso.FaultRideThrough(
        voltage_limit_start_frt=number(each.start_v),
        voltage_limit_stop_frt=_maybe(each.stop_v),
        voltage_recovery_limit=_maybe(each.recovery_v),
        voltage_ride_through_positive_curve_k_factor=number(each.k_positive),
        voltage_ride_through_negative_curve_k_factor=number(each.k_negative),
        **_both(each.response_s),
    )


def _frequency(each: grid_support.FrequencySupport) -> iso.FrequencyWatt:
    return iso.FrequencyWatt(
        fstart=number(each.start_hz),
        fstop=number(each.stop_hz),
        intentional_delay_fstop=each.stop_delay_s or None,
        slope=number(each.slope),
        deactivation_time=each.deactivation_s or None,
        intentional_delay_power_control=each.delay_s or None,
        power_reference=_REFERENCES[each.reference],
        hysteresis_control=each.hysteresis,
        power_up_ramp=each.ramp,
        **_active(each.response_s),
    )


def _droop(each: iso.FrequencyWatt) -> Fields:
    return {
        "start_hz": real(each.fstart),
        "stop_hz": real(each.fstop),
        "slope": min(grid_support.STEEPEST, abs(real(each.slope))),
        "reference": _REFERRED[each.power_reference],
        "delay_s": each.intentional_delay_power_control or 0,
        "stop_delay_s": each.intentional_delay_fstop or 0,
        "hysteresis": each.hysteresis_control,
        "deactivation_s": each.deactivation_time or 0,
        "ramp": each.power_up_ramp,
        "response_s": _time(each, "active"),
    }


def _curve(curve: grid_support.SupportCurve, name: grid_support.Function) -> iso.DERCurve:
    x_unit, lock_unit = _CURVES[name]
    locked = curve.lock_in is not None or curve.lock_out is not None
    points = []
    for x, y in curve.points:
        value, excitation = factor(y) if name == "watt_cos_phi" else (number(y), None)
        point = iso.SetpointExcitation(setpoint_value=value, excitation=excitation)
        points.append(iso.DataTuple(x_value=number(x), y_value=point))
    return iso.DERCurve(
        x_unit=x_unit,
        y_unit=_VAR,
        curve_data_points=iso.CurveDataPointsList(curve_data_point=tuple(points)),
        min_cos_phi=_maybe(curve.min_cos_phi),
        lock_value_unit=lock_unit if locked else None,
        lock_in_value=_maybe(curve.lock_in),
        lock_out_value=_maybe(curve.lock_out),
        intentional_delay=number(curve.delay_s) if curve.delay_s else None,
        **_reactive(curve.response_s),
    )


def _points(curve: iso.DERCurve, name: grid_support.Function) -> Fields:
    x_unit, lock_unit = _CURVES[name]
    if curve.lock_value_unit is not None and curve.lock_value_unit is not lock_unit:
        raise ValueError(f"{name}: it is locked in by {curve.lock_value_unit.value}")
    if curve.x_unit is not x_unit or (curve.y_unit is not _VAR and name != "watt_cos_phi"):
        raise ValueError(f"{name}: a curve of {curve.y_unit.value} by {curve.x_unit.value}")
    points = [
        (
            real(each.x_value),
            signed(y.setpoint_value, y.excitation) if name == "watt_cos_phi" else real(y.setpoint_value),
        )
        for each in curve.curve_data_points.curve_data_point
        for y in (each.y_value,)
    ]
    return {
        "points": points,
        "lock_in": _known(curve.lock_in_value),
        "lock_out": _known(curve.lock_out_value),
        "min_cos_phi": _known(curve.min_cos_phi),
        "response_s": _time(curve, "reactive"),
        "delay_s": _known(curve.intentional_delay) or 0.0,
    }
