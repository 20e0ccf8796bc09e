"""Grid support in the messages of AC DER, and back (R221)."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from v2g.energy.grid_support import (
    FUNCTIONS,
    FrequencySupport,
    Function,
    GridSupport,
    RideThrough,
    SupportCurve,
    VoltageSupport,
    ZeroCurrentLimits,
    alternatives,
)
from v2g.exi import decode_fragment, encode_fragment
from v2g.iso15118.d20.der import control, number, real, signed, support_of
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.schemas import AC_DER_IEC
from v2g.iso15118.d20.services import DER_FUNCTIONS, der_functions, der_mask

pytestmark = pytest.mark.requirement("R221")

volts = st.integers(1, 4000).map(lambda each: each / 10)
seconds = st.integers(0, 600).map(lambda each: each / 10)
ways = st.lists(st.integers(0, 3000), min_size=2, max_size=10, unique=True).map(sorted)


@st.composite
def curves(draw: st.DrawFn, *, factor: bool = False) -> SupportCurve:
    xs = draw(ways)
    y = st.integers(-100, 100).map(lambda each: each / 100) if factor else st.integers(-9000, 9000)
    return SupportCurve(
        points=tuple((float(x), float(draw(y))) for x in xs),
        lock_in=draw(st.none() | volts),
        min_cos_phi=draw(st.none() | st.just(0.9)),
        response_s=draw(seconds),
        delay_s=draw(seconds),
    )


def droops(start: float, stop: float) -> st.SearchStrategy[FrequencySupport]:
    return st.builds(
        FrequencySupport,
        start_hz=st.just(start),
        stop_hz=st.just(stop),
        slope=st.integers(1, 100).map(float),
        reference=st.sampled_from(["maximum", "momentary"]),
        delay_s=st.integers(0, 60),
        hysteresis=st.booleans(),
        deactivation_s=st.integers(0, 600),
        ramp=st.none() | st.integers(1, 100),
        response_s=seconds,
    )


@st.composite
def supports(draw: st.DrawFn) -> GridSupport:
    chosen = draw(st.sampled_from(["volt_var", "watt_var", "watt_cos_phi", ""]))
    reactive: dict[str, Any] = {chosen: draw(curves(factor=chosen == "watt_cos_phi"))} if chosen else {}
    low, high = sorted((draw(volts), draw(volts) + 400))
    maybe: dict[str, st.SearchStrategy[Any]] = {
        "over_frequency_watt": droops(50.2, 51.5),
        "under_frequency_watt": droops(49.8, 47.5),
        "volt_watt": st.builds(VoltageSupport, start_v=st.just(low), stop_v=st.just(high), response_s=seconds),
        "zero_current": st.builds(ZeroCurrentLimits, over_v=st.just(high), under_v=st.none() | st.just(low)),
        "over_ride_through": st.builds(RideThrough, start_v=st.just(low), stop_v=st.none() | st.just(high)),
        "dc_injection": st.integers(0, 100).map(lambda each: each / 10),
    }
    return GridSupport(**reactive | {name: draw(st.none() | each) for name, each in maybe.items()})


@given(supports())
def test_demands_come_back_from_their_octets(support: GridSupport) -> None:
    demands = control(support, support.functions)
    mode = iso.DER_AC_CPDResEnergyTransferMode(
        **{
            f"evse_{name}_power": number(0)
            for name in ("maximum_charge", "minimum_charge", "nominal_charge", "nominal_discharge", "maximum_discharge")
        },
        evse_nominal_frequency=number(50),
        ev_operating_mode=iso.EvOperatingMode.GridFollowing,
        grid_connection_mode=iso.GridConnectionMode.GridConnected,
        der_control=demands,
    )
    read = decode_fragment(encode_fragment(mode, AC_DER_IEC), AC_DER_IEC)
    assert isinstance(read, iso.DER_AC_CPDResEnergyTransferMode)
    assert support_of(read.der_control) == support


@given(st.sets(st.sampled_from(FUNCTIONS)))
def test_functions_come_back_from_their_bits_and_have_one_curve(functions: set[Function]) -> None:
    assert der_functions(der_mask(functions)) == (frozenset(functions), True)
    sets = alternatives(functions)
    assert {name for each in sets for name in each} == functions
    assert all(len(each & {"volt_var", "watt_var", "watt_cos_phi"}) <= 1 for each in sets)


def test_every_function_has_a_bit_and_an_unknown_bit_shows() -> None:
    assert set(DER_FUNCTIONS.values()) == set(FUNCTIONS)
    assert der_functions(1 << 12) == (frozenset(), False)
    assert der_functions(-1)[1] is False


@given(st.integers(-32768, 32767), st.integers(-128, 127))
def test_any_number_of_the_wire_is_read(value: int, exponent: int) -> None:
    read = real(RationalNumber(exponent=exponent, value=value))
    assert math.isfinite(read)
    within = 0 <= read <= 1
    if within:
        assert signed(RationalNumber(exponent=exponent, value=value), None) == read
    else:
        with pytest.raises(ValueError, match="power factor"):
            signed(RationalNumber(exponent=exponent, value=value), None)


def test_a_reactive_curve_is_of_its_own_units() -> None:
    demands = control(GridSupport(volt_var=SupportCurve(points=((0, 0), (1, 1)))), ["volt_var"])
    reactive = demands.reactive_power_support
    assert reactive is not None
    assert reactive.volt_var is not None
    wrong = replace(reactive.volt_var, y_unit=iso.CurveDataPointsUnit.Hz)
    with pytest.raises(ValueError, match="Hz by V"):
        support_of(replace(demands, reactive_power_support=replace(reactive, volt_var=wrong)))


def test_values_whose_sign_or_unit_is_not_public_are_read_in_either() -> None:
    support = GridSupport(
        over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5, slope=40),
        under_ride_through=RideThrough(start_v=207, k_negative=2),
        dc_injection=0.5,
    )
    demands = control(support, support.functions)
    under, active = demands.undervoltage_fault_ride_through, demands.active_power_support
    assert under is not None
    assert active is not None
    assert active.over_frequency_watt is not None
    droop = replace(active.over_frequency_watt, slope=number(-40))
    negative = replace(
        demands,
        undervoltage_fault_ride_through=replace(under, voltage_ride_through_negative_curve_k_factor=number(-2)),
        active_power_support=replace(active, over_frequency_watt=droop),
    )
    assert support_of(negative) == support
    steep = replace(active.over_frequency_watt, slope=number(4_400))
    wide = replace(
        demands,
        maximum_level_dc_injection=number(500),
        active_power_support=replace(active, over_frequency_watt=steep),
    )
    read = support_of(wide)
    assert read.dc_injection == 100
    assert read.over_frequency_watt is not None
    assert read.over_frequency_watt.slope == 1_000


def test_a_lock_by_another_unit_is_refused() -> None:
    curve = SupportCurve(points=((214, 100), (246, -100)), lock_in=2_000)
    reactive = control(GridSupport(volt_var=curve), ["volt_var"]).reactive_power_support
    assert reactive is not None
    assert reactive.volt_var is not None
    by_volts = replace(reactive.volt_var, lock_value_unit=iso.LockValueUnit.V)
    with pytest.raises(ValueError, match="locked in by V"):
        support_of(iso.DERControl(reactive_power_support=replace(reactive, volt_var=by_volts)))
    unnamed = replace(reactive.volt_var, lock_value_unit=None)
    read = support_of(iso.DERControl(reactive_power_support=replace(reactive, volt_var=unnamed)))
    assert read.volt_var == curve
