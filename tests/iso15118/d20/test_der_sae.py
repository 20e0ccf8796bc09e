"""Grid support in the messages of AC DER by SAE, and back (R221)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from v2g.energy.grid_support import (
    NO_SUPPORT,
    FactorSetpoint,
    FrequencySupport,
    GridSupport,
    ReactiveSetpoint,
    SupportCurve,
    VoltageSupport,
    ZeroCurrentLimits,
)
from v2g.exi import decode_fragment, encode_fragment
from v2g.iso15118.d20.der import number
from v2g.iso15118.d20.der_sae import carried, control, enabled_modes, functions_of, support_of, supported_modes
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.schemas import AC_DER_SAE
from v2g.iso15118.d20.services import DER_MODES

pytestmark = pytest.mark.requirement("R221")

MOST_W, VOLTS, HERTZ = 10_000, 230, 60
AT: dict[str, Any] = {"nominal_v": VOLTS, "nominal_hz": HERTZ}
ways = st.lists(st.integers(100, 300), min_size=2, max_size=10, unique=True).map(sorted)


@st.composite
def curves(draw: st.DrawFn) -> SupportCurve:
    points = tuple((float(x), float(draw(st.integers(-4400, 4400)))) for x in draw(ways))
    return SupportCurve(points=points, response_s=draw(st.integers(0, 100)) / 10)


@st.composite
def droops(draw: st.DrawFn, sign: int) -> FrequencySupport:
    start, slope = HERTZ + sign * draw(st.integers(0, 50)) / 100, draw(st.sampled_from([20.0, 40.0, 50.0, 100.0]))
    reference = draw(st.sampled_from(["maximum", "momentary"]))
    stop = start + sign * 100 / slope
    return FrequencySupport(start_hz=start, stop_hz=stop, slope=slope, reference=reference)  # type: ignore[arg-type]


SUPPORTS = st.builds(
    GridSupport,
    over_frequency_watt=st.none() | droops(1),
    under_frequency_watt=st.none() | droops(-1),
    volt_watt=st.none() | st.just(VoltageSupport(start_v=244, stop_v=253, response_s=4)),
    volt_var=st.none() | curves(),
    watt_var=st.none() | curves(),
    q_setpoint=st.none() | st.integers(-4400, 4400).map(lambda var: ReactiveSetpoint(var=var, response_s=0)),
    cos_phi_setpoint=st.none() | st.sampled_from([0.9, -0.95]).map(lambda f: FactorSetpoint(cos_phi=f, response_s=0)),
)


def flat(support: GridSupport) -> dict[str, Any]:
    """Return each value by its path: numbers within what percent, droops and times to 90 % leave of them."""
    found: dict[str, Any] = {}
    for name in support.functions:
        for field, value in asdict(getattr(support, name)).items():
            for n, each in enumerate(sum(value, ()) if field == "points" else (value,)):
                is_number = isinstance(each, float | int) and not isinstance(each, bool)
                found[f"{name}.{field}.{n}"] = pytest.approx(each, abs=0.02) if is_number else each
    return found


def values(support: GridSupport) -> dict[str, Any]:
    return {path: getattr(each, "expected", each) for path, each in flat(support).items()}


@settings(max_examples=25, deadline=None)
@given(SUPPORTS)
def test_demands_come_back_from_their_octets(support: GridSupport) -> None:
    assert carried(support, HERTZ) == support
    sent = control(support, permit=True, **AT)
    read = decode_fragment(encode_fragment(sent, AC_DER_SAE), AC_DER_SAE)
    assert isinstance(read, iso.DERControlCPDRes)
    back = support_of(read, NO_SUPPORT, most_w=MOST_W, **AT)
    assert flat(back).keys() == flat(support).keys()
    assert values(back) == flat(support)


def test_by_default_nothing_is_enabled() -> None:
    inert = control(NO_SUPPORT, permit=False, **AT)
    assert not inert.enter_service_cpd_res.permit_service
    assert support_of(inert, NO_SUPPORT, most_w=MOST_W, **AT) == NO_SUPPORT
    assert enabled_modes(NO_SUPPORT, permit=False) == 1 << 0 | 1 << 22


@given(st.sets(st.sampled_from(sorted(DER_MODES))))
def test_functions_come_back_from_their_modes(functions: set[str]) -> None:
    droop = {"over_frequency_watt", "under_frequency_watt"}  # one mode
    expected = functions | droop if functions & droop else functions
    assert functions_of(supported_modes(functions)) == expected


def test_what_the_messages_cannot_say_is_not_carried() -> None:
    support = GridSupport(
        over_frequency_watt=FrequencySupport(start_hz=60.2, stop_hz=61),  # ends before all of it is gone
        under_frequency_watt=FrequencySupport(start_hz=59.8, stop_hz=57.3, hysteresis=True),
        volt_watt=VoltageSupport(start_v=244, stop_v=253, reference="momentary"),
        volt_var=SupportCurve(points=((214, 100), (246, -100)), lock_in=500),
        watt_cos_phi=SupportCurve(points=((0, 1), (9_000, 0.9))),
        zero_current=ZeroCurrentLimits(over_v=270),
        dc_injection=0.5,
    )
    assert carried(support, HERTZ) == NO_SUPPORT


def trip(control: iso.DERControlCPDRes) -> iso.DERControlCPDRes:
    curve = replace(control.voltage_trip.over_voltage_must_trip_curve, enable=True)
    return replace(control, voltage_trip=replace(control.voltage_trip, over_voltage_must_trip_curve=curve))


def watts(control: iso.DERControlCPDRes) -> iso.DERControlCPDRes:
    active = control.active_power_support_cpd_res
    changed = replace(active, constant_watt=replace(active.constant_watt, enable=True))
    return replace(control, active_power_support_cpd_res=changed)


def percent(control: iso.DERControlCPDRes) -> iso.DERControlCPDRes:
    reactive = control.reactive_power_support_cpd_res
    unit = iso.DerUnit.PercentageEVMaximumConfiguredReactivePower
    changed = replace(reactive, constant_var=iso.ConstantVar(enable=True, var_setpoint=number(40), unit=unit))
    return replace(control, reactive_power_support_cpd_res=changed)


def moves(control: iso.DERControlCPDRes) -> iso.DERControlCPDRes:
    reactive = control.reactive_power_support_cpd_res
    volt_var = replace(reactive.volt_var, enable=True, autonomous_reference_voltage_adjustment_enable=True)
    return replace(control, reactive_power_support_cpd_res=replace(reactive, volt_var=volt_var))


@pytest.mark.parametrize("change", [trip, watts, percent, moves])
def test_what_is_enabled_and_has_no_meaning_is_refused_by_name(change: Any) -> None:
    with pytest.raises(ValueError, match=r"voltage_must_trip|constant_watt|constant_var|adjusts itself"):
        support_of(change(control(NO_SUPPORT, permit=True, **AT)), NO_SUPPORT, most_w=MOST_W, **AT)
