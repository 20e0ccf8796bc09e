"""The charge loop of direct current in ISO 15118-2 and DIN 70121: what the response says of limits and output."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.guard import LOWERED
from tests.secc.session.d2.bench import CONFIG, Iso2Bench
from tests.secc.session.din.bench import DinBench
from tests.secc.session.message_bench import MessageBench
from v2g.energy.limits import SITE, Limit
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, watts
from v2g.iso15118.engine.sequence import State
from v2g.observe import Observe

pytestmark = pytest.mark.requirement("R15")


@pytest.fixture(params=[DinBench, Iso2Bench])
def bench(request: pytest.FixtureRequest, pki: PkiTree) -> MessageBench:
    made: MessageBench = request.param(pki, time.time_ns() // 1_000_000).reach(State.DC_CHARGE_LOOP)
    return made


def loop(bench: MessageBench, **changes: Any) -> Any:
    return bench.send(bench.ask("CurrentDemandReq", **changes))


@pytest.mark.parametrize(
    ("voltage_mv", "current_ma", "achieved"),
    [
        (400_000, 20_000, (False, False, False)),
        (420_000, 0, (False, False, False)),
        (400_000, 48_997, (False, False, False)),
        (400_000, 49_000, (False, False, True)),
        (400_000, 293_999, (False, False, True)),
        (400_000, 294_000, (True, False, True)),
    ],
)
def test_a_limit_is_achieved_from_98_percent_of_current_and_power_on(
    bench: MessageBench, voltage_mv: int, current_ma: int, achieved: tuple[bool, bool, bool]
) -> None:
    """The charger's own, as it sends them: 920 V, 300 A, and the 20 kW that the vehicle takes at most. That it gives
    the 20 A, or 420 V, that the vehicle asks for is no limit."""
    bench.fact(ports.Measured(voltage_mv, current_ma))
    found = loop(bench)
    assert achieved == (
        found.evse_current_limit_achieved,
        found.evse_voltage_limit_achieved,
        found.evse_power_limit_achieved,
    )
    assert millivolts(found.evse_present_voltage) == pytest.approx(voltage_mv, abs=100)
    assert milliamperes(found.evse_present_current) == pytest.approx(current_ma, abs=100)


def test_the_highest_voltage_is_a_limit_that_is_achieved(pki: PkiTree) -> None:
    config = replace(CONFIG, rating=replace(CONFIG.rating, max_voltage_v=430))
    bench = Iso2Bench(pki, time.time_ns() // 1_000_000, config).reach(State.DC_CHARGE_LOOP)
    for voltage_mv, achieved in ((429_999, False), (430_000, True)):
        bench.fact(ports.Measured(voltage_mv, 0))
        assert loop(bench).evse_voltage_limit_achieved is achieved


@pytest.mark.parametrize(("charge_w", "told_w"), [(40_000, 20_000), (9_000, 9_000), (0, 0)])
def test_the_maxima_are_those_of_the_rating_and_of_the_present_limit(
    bench: MessageBench, charge_w: int, told_w: int
) -> None:
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=charge_w, discharge_w=0, version=7),)))
    found, rating = loop(bench), bench.config.rating
    assert millivolts(found.evse_maximum_voltage_limit) == rating.max_voltage_v * 1000
    assert milliamperes(found.evse_maximum_current_limit) == rating.max_charge_current_a * 1000
    assert watts(found.evse_maximum_power_limit) == told_w


def test_what_is_commanded_at_the_end_is_no_more_than_the_vehicle_asked_for(bench: MessageBench) -> None:
    loop(bench, ev_target_voltage=bench.volts(420), ev_target_current=bench.amperes(0))
    bench.fact(ports.StopRequested("remote"))
    output = bench.commands(ports.SetOutput)[-1]
    assert (output.voltage_mv, output.current_ma, output.charge_w) == (420_000, 0, 0)


def test_targets_that_nobody_can_drive(bench: MessageBench) -> None:
    loop(bench, ev_target_voltage=bench.volts(-5))
    assert bench.commands(ports.SetOutput)[-1].voltage_mv == 0
    assert "target_current_out_of_range" not in bench.quirks()
    most_a = bench.config.rating.max_charge_current_a
    loop(bench, ev_target_current=bench.amperes(most_a + 0.1))
    assert "target_current_out_of_range" in bench.quirks()


def test_a_target_voltage_of_0_keeps_the_last_one(bench: MessageBench) -> None:
    loop(bench, ev_target_voltage=bench.volts(410), ev_target_current=bench.amperes(10))
    loop(bench, ev_target_voltage=bench.volts(0), ev_target_current=bench.amperes(20))
    output = bench.commands(ports.SetOutput)[-1]
    assert (output.voltage_mv, output.current_ma) == (410_000, 20_000)
    assert bench.quirks().count("target_voltage_zero") == 1


@pytest.mark.parametrize(("value", "expected"), [(-5, 0), (0, 0), (30, 30)])
def test_limits_of_the_vehicle_in_the_loop(bench: MessageBench, value: int, expected: int) -> None:
    bench.fact(ports.Measured(0, 0))
    loop(
        bench,
        ev_maximum_power_limit=bench.values.power(value, Rounding.NEAREST),
        ev_maximum_current_limit=bench.amperes(value),
        ev_maximum_voltage_limit=bench.volts(value),
    )
    known = bench.session.vehicle
    assert known is not None
    assert (known.max_charge_w, known.max_charge_ma, known.max_voltage_mv) == (
        expected,
        expected * 1000,
        expected * 1000,
    )


def test_no_voltage_above_that_with_which_the_insulation_was_tested(bench: MessageBench) -> None:
    for most, allowed_mv in ((512, 450_000), (420, 420_000), (451, 450_000)):
        loop(bench, ev_maximum_voltage_limit=bench.volts(most), ev_target_voltage=bench.volts(490))
        assert bench.commands(ports.SetOutput)[-1].voltage_mv == allowed_mv


@pytest.mark.parametrize("volts", [0, 300])
def test_a_maximum_far_below_the_present_voltage_ends_the_session_as_a_mistake_of_the_vehicle(
    bench: MessageBench, volts: int
) -> None:
    response = loop(bench, ev_maximum_voltage_limit=bench.volts(volts))
    assert response.response_code.name == "FAILED"
    assert response.dc_evse_status.evse_status_code.name == "EVSE_Shutdown"
    assert bench.commands(ports.EmergencyOff) == [ports.EmergencyOff(LOWERED)]
    assert not bench.events("hardware_fault")
    assert bench.go("SessionStopReq").response_code.name == "OK"
    assert bench.reason == LOWERED


def test_a_maximum_a_little_below_the_present_voltage_is_followed_within_0_4_s(bench: MessageBench) -> None:
    del bench.auto[ports.SetOutput]  # the battery keeps its voltage
    lower = {"ev_maximum_voltage_limit": bench.volts(380)}
    assert loop(bench, **lower).response_code.name == "OK"
    assert bench.commands(ports.SetOutput)[-1].voltage_mv == 380_000
    bench.pass_time(0.39)
    bench.fact(ports.Measured(385_000, 0))
    bench.pass_time(1.0)
    assert loop(bench, ev_maximum_voltage_limit=bench.volts(370)).response_code.name == "OK"
    bench.pass_time(0.39)
    assert not bench.commands(ports.EmergencyOff)
    bench.pass_time(0.02)
    assert bench.commands(ports.EmergencyOff) == [ports.EmergencyOff(LOWERED)]
    response = loop(bench, **lower)
    assert response.response_code.name == "FAILED"
    assert response.dc_evse_status.evse_status_code.name == "EVSE_Shutdown"
    assert not bench.events("hardware_fault")


def test_errors_are_reported(bench: MessageBench) -> None:
    bench.error = "FAILED_RESSTemperatureInhibit"
    loop(bench)
    errors = [each for each in bench.actions if isinstance(each, Observe) and each.name == "vehicle_error"]
    assert [(each.stage, each.data) for each in errors] == [("loop", {"code": bench.error})]
    assert bench.commands(ports.SetOutput)[-1].current_ma == 0


def test_a_strict_charger_accepts_a_vehicle_without_a_plan(pki: PkiTree) -> None:
    strict = replace(CONFIG, iso2=replace(CONFIG.iso2, strict=True))
    bench = Iso2Bench(pki, time.time_ns() // 1_000_000, strict).reach(State.DC_CHARGE_LOOP)
    assert bench.quirks() == ["charging_profile"]


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize(("fact", "reported"), [(None, "None"), ("again", "ReNegotiation"), ("stop", "StopCharging")])
def test_what_the_status_asks_for(pki: PkiTree, alternating: bool, fact: str | None, reported: str) -> None:
    bench = Iso2Bench(pki, time.time_ns() // 1_000_000, alternating=alternating)
    bench.reach(State.AC_CHARGE_LOOP if alternating else State.DC_CHARGE_LOOP)
    if fact == "again":
        bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=5_000, discharge_w=0, version=7),)))
        bench.fact(ports.RenegotiationRequested())
    elif fact == "stop":
        bench.fact(ports.StopRequested("remote"))
    found = bench.go("ChargingStatusReq") if alternating else loop(bench)
    status = found.ac_evse_status if alternating else found.dc_evse_status
    assert status.evse_notification.value == reported
    assert not getattr(status, "rcd", False)
