"""What a grid code demands of an inverter: values that make sense, defaults, units, and who may feed back."""

from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.energy.grid_support import (
    FUNCTIONS,
    REACTIVE,
    FactorSetpoint,
    FrequencySupport,
    GridSupport,
    ReactiveSetpoint,
    RideThrough,
    SupportCurve,
    VoltageSupport,
    ZeroCurrentLimits,
    alternatives,
    covers,
)

pytestmark = pytest.mark.requirement("R221")

CURVE = {"points": [[1, 0], [2, 0.5]]}
RIDE = {"start_v": 200}


@together(
    ("values", "why"),
    [
        ({"volt_var": {"points": [[1, 0], [1, 1]]}}, "points: the first numbers must rise"),
        ({"volt_var": {"points": [[1, 0], [2, 1], [1.5, 1]]}}, "points: the first numbers must rise"),
        ({"volt_var": {"points": [[-1, 0], [2, 1]]}}, "volt_var: a voltage is not negative"),
        ({"volt_watt": {"start_v": 250, "stop_v": 250}}, "start_v must be below stop_v"),
        ({"zero_current": {}}, "zero_current needs over_v or under_v"),
        ({"zero_current": {"over_v": 200, "under_v": 200}}, "under_v must be below over_v"),
        ({"over_frequency_watt": {"start_hz": 50.2, "stop_hz": 50.2}}, "over_frequency_watt: start_hz must be below"),
        ({"under_frequency_watt": {"start_hz": 49.8, "stop_hz": 49.8}}, "under_frequency_watt: start_hz must be above"),
        ({"watt_cos_phi": {"points": [[1, 0], [2, 1.01]]}}, "watt_cos_phi: a power factor is between 0 and 1"),
        ({"watt_cos_phi": {"points": [[1, 0], [2, -1.01]]}}, "watt_cos_phi: a power factor is between 0 and 1"),
        ({"over_frequency_watt": {"start_hz": 50.2, "stop_hz": 51.5, "slope": 1000.5}}, "<= 1000"),
        ({"dc_injection": 100.5}, "<= 100"),
        ({"over_ride_through": {**RIDE, "stop_v": 199.5}}, "^over_ride_through: stop_v must be beyond start_v"),
        ({"under_ride_through": {**RIDE, "stop_v": 200.5}}, "^under_ride_through: stop_v must be beyond start_v"),
    ],
)
def test_values_without_sense_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert(values, GridSupport)


@together(
    "values",
    [
        {"volt_var": {"points": [[0, -5], [1, 5]]}},
        {"over_frequency_watt": {"start_hz": 50.2, "stop_hz": 51.5, "slope": 1000}, "dc_injection": 100},
        {"zero_current": {"over_v": 200}},
        {"zero_current": {"under_v": 200}},
        {"zero_current": {"over_v": 200.1, "under_v": 200}},
        {"watt_cos_phi": {"points": [[-5, -1], [2, 1]]}},
        {"over_ride_through": {**RIDE, "stop_v": 200}, "under_ride_through": {**RIDE, "stop_v": 200}},
        {"over_ride_through": {**RIDE, "stop_v": 200.5}, "under_ride_through": {**RIDE, "stop_v": 199.5}},
        {"over_ride_through": RIDE, "under_ride_through": RIDE},
    ],
)
def test_values_at_their_ends_are_taken(values: dict[str, Any]) -> None:
    assert msgspec.convert(values, GridSupport).functions == set(values)


def test_what_is_not_said_is_as_documented() -> None:
    curve = msgspec.convert(CURVE, SupportCurve)
    assert (curve.lock_in, curve.lock_out, curve.min_cos_phi, curve.response_s, curve.delay_s) == (
        None, None, None, 10.0, 0.0,
    )  # fmt: skip
    volt = VoltageSupport(start_v=250, stop_v=260)
    assert (volt.reference, volt.response_s, volt.delay_s) == ("maximum", 10.0, 0)
    hertz = FrequencySupport(start_hz=50.2, stop_hz=51.5)
    assert (hertz.slope, hertz.reference, hertz.ramp, hertz.response_s) == (40.0, "momentary", None, 0.0)
    assert (hertz.delay_s, hertz.stop_delay_s, hertz.deactivation_s, hertz.hysteresis) == (0, 0, 0, False)
    ride = RideThrough(start_v=200)
    assert (ride.stop_v, ride.recovery_v, ride.k_positive, ride.k_negative, ride.response_s) == (None, None, 0, 0, 0)
    assert ZeroCurrentLimits(over_v=1).response_s == 0
    assert (ReactiveSetpoint().var, ReactiveSetpoint().response_s) == (0.0, 10.0)
    assert (FactorSetpoint().cos_phi, FactorSetpoint().response_s) == (1.0, 10.0)


@pytest.mark.parametrize(("volts", "share"), [(0, 1), (250, 1), (252.5, 0.75), (260, 0), (300, 0)])
def test_power_falls_with_voltage_between_two(volts: float, share: float) -> None:
    assert VoltageSupport(start_v=250, stop_v=260).share_at(volts) == share


EVERY = GridSupport(
    over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5),
    under_frequency_watt=FrequencySupport(start_hz=49.8, stop_hz=48.5),
    volt_watt=VoltageSupport(start_v=1.0625, stop_v=1.125),
    volt_var=SupportCurve(points=((0.9, 0.4), (1.125, -0.4)), lock_in=0.2, lock_out=0.05),
    watt_var=SupportCurve(points=((0.5, 0.0), (1.0, -0.3)), lock_in=1.05, lock_out=0.98),
    watt_cos_phi=SupportCurve(points=((0.5, 1.0), (1.0, -0.9)), lock_in=1.05, lock_out=0.98),
    q_setpoint=ReactiveSetpoint(var=0.25),
    cos_phi_setpoint=FactorSetpoint(cos_phi=-0.95),
    dc_injection=0.5,
    zero_current=ZeroCurrentLimits(over_v=1.2, under_v=0.5, over_recovery_v=1.125, under_recovery_v=0.85),
    over_ride_through=RideThrough(start_v=1.125, stop_v=1.25, recovery_v=1.05, k_positive=2.0),
    under_ride_through=RideThrough(start_v=0.9, stop_v=0.15, recovery_v=0.95, k_negative=2.0),
)
"""Each function, in per unit."""


def test_values_in_per_unit_are_made_those_of_a_grid_and_an_inverter() -> None:
    """200 V, 10 kW: voltages, reactive powers and powers of curves change, and nothing else."""
    assert EVERY.functions == set(FUNCTIONS)
    found = EVERY.scaled(volts=200, watts=10_000)
    assert found == msgspec.structs.replace(
        EVERY,
        volt_watt=VoltageSupport(start_v=212.5, stop_v=225),
        volt_var=SupportCurve(points=((180, 4_000), (225, -4_000)), lock_in=2_000, lock_out=500),
        watt_var=SupportCurve(points=((5_000, 0), (10_000, -3_000)), lock_in=210, lock_out=196),
        watt_cos_phi=SupportCurve(points=((5_000, 1.0), (10_000, -0.9)), lock_in=210, lock_out=196),
        q_setpoint=ReactiveSetpoint(var=2_500),
        zero_current=ZeroCurrentLimits(over_v=240, under_v=100, over_recovery_v=225, under_recovery_v=170),
        over_ride_through=RideThrough(start_v=225, stop_v=250, recovery_v=210, k_positive=2.0),
        under_ride_through=RideThrough(start_v=180, stop_v=30, recovery_v=190, k_negative=2.0),
    )
    bare = GridSupport(volt_var=SupportCurve(points=((1, 1), (2, 2))), over_ride_through=RideThrough(start_v=1.1))
    assert bare.scaled(volts=1, watts=1) == bare


def test_values_of_one_are_laid_over_those_of_another() -> None:
    own = EVERY.only({"volt_watt", "watt_var", "dc_injection"})
    assert own.functions == {"volt_watt", "watt_var", "dc_injection"}
    assert own.overlaid(None) is own
    assert own.overlaid(GridSupport(dc_injection=0.25)) == msgspec.structs.replace(own, dc_injection=0.25)
    found = own.overlaid(EVERY.only({"volt_var", "q_setpoint"}))
    assert found == EVERY.only({"volt_watt", "dc_injection", "volt_var", "q_setpoint"}), "one curve, not both"


@together(
    ("function", "nominal_hz", "start_hz", "wrong"),
    [
        ("over_frequency_watt", 50, 49.9, True),
        ("over_frequency_watt", 50, 50.0, False),
        ("over_frequency_watt", 50, 55.0, False),
        ("over_frequency_watt", 50, 1.1 * 50, False),
        ("over_frequency_watt", 50, 55.1, True),
        ("over_frequency_watt", 45, 60.0, True),
        ("over_frequency_watt", 65, 60.0, True),
        ("over_frequency_watt", 44.9, 60.0, False),
        ("over_frequency_watt", 65.1, 60.0, False),
        ("over_frequency_watt", 0, 60.0, False),
        ("under_frequency_watt", 50, 50.1, True),
        ("under_frequency_watt", 50, 50.0, False),
        ("under_frequency_watt", 50, 45.0, False),
        ("under_frequency_watt", 50, 44.9, True),
    ],
)
def test_frequencies_fit_the_grid(function: str, nominal_hz: float, start_hz: float, *, wrong: bool) -> None:
    stop_hz = start_hz + (1 if function.startswith("over") else -1)
    support = msgspec.structs.replace(GridSupport(), **{function: FrequencySupport(start_hz=start_hz, stop_hz=stop_hz)})
    said = f"{function} begins at {start_hz:g} Hz in a grid of {nominal_hz:g} Hz" if wrong else ""
    assert support.wrong_at(nominal_hz) == said


@pytest.mark.parametrize(("band", "wrong"), [((49.9, 50.1), False), ((50.0, 50.1), True), ((49.9, 50.0), True)])
def test_power_returns_within_a_band_around_the_grid_s_frequency(band: tuple[float, float], *, wrong: bool) -> None:
    each = FrequencySupport(start_hz=50.2, stop_hz=51.5, hysteresis=True, return_band=band)
    said = "return_band does not have 50 Hz within it" if wrong else ""
    assert GridSupport(over_frequency_watt=each).wrong_at(50) == said


def test_an_inverter_is_asked_for_one_curve_of_reactive_power() -> None:
    assert alternatives(("volt_watt", "volt_var", "watt_var")) == ({"volt_watt", "volt_var"}, {"volt_watt", "watt_var"})
    assert alternatives(("volt_watt",)) == ({"volt_watt"},)
    assert alternatives(()) == (frozenset(),)
    assert REACTIVE == ("volt_var", "watt_var", "watt_cos_phi")


@together(
    ("own", "demanded", "may"),
    [
        ((), (), True),
        (("volt_watt",), (), True),
        ((), ("volt_watt",), False),
        (("volt_watt",), ("volt_watt",), True),
        (("volt_watt", "dc_injection"), ("volt_watt",), True),
        (("volt_watt",), ("volt_watt", "dc_injection"), False),
        (("volt_var",), ("volt_var", "watt_var"), True),
        (("watt_cos_phi",), ("volt_var", "watt_var"), False),
        (("volt_var",), ("volt_var", "volt_watt"), False),
        (("volt_watt",), ("volt_var", "volt_watt"), False),
        ((), ("volt_var",), False),
        ((), ("q_setpoint", "cos_phi_setpoint"), True),
    ],
)
def test_a_vehicle_may_feed_back_where_it_has_each_function_and_one_curve(
    own: tuple[str, ...], demanded: tuple[str, ...], *, may: bool
) -> None:
    assert covers(own, demanded) is may
