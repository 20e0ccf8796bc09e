"""What a vehicle watches by itself: flows, sensors, its battery's word and its contactor.

Each of these the vehicle once bore: it charged on at 600 A, 520 V, without a reading, or with a faulty battery.
"""

import msgspec
import pytest

from evcc.session.ports import BatteryState, CloseContactor, ContactorState, PresentVoltage
from evcc.session.settings import ProgramStep, SessionConfig
from tests.evcc.session.bench import Bench, Identities, number
from tests.evcc.session.d2.charger import DC, Bench2


def flow(bench: Bench, seconds: float, *, volts: float | None = None, amps: float | None = None) -> None:
    """Let the charger give this for so long, whatever it is asked for, and go on with the loop."""
    end = bench.now + seconds
    known = bench.drive

    def drive() -> None:
        known()
        bench.charger.voltage = bench.charger.voltage if volts is None else volts
        bench.charger.current = bench.charger.current if amps is None else amps

    bench.drive = drive  # type: ignore[method-assign]
    drive()
    bench.run(lambda: bench.now >= end)
    bench.drive = known  # type: ignore[method-assign]


@pytest.fixture
def charging(identities: Identities) -> Bench:
    """A vehicle that charges for long."""
    bench = Bench(identities, SessionConfig(program=(ProgramStep(do="charge", for_s=3600),)))
    bench.run_to("DC_ChargeLoopReq")
    bench.run(lambda: bench.now > 1001)
    return bench


def test_more_current_than_the_battery_bears_is_cut_off_after_a_second(charging: Bench) -> None:
    flow(charging, 0.2, amps=600)
    assert not charging.closed
    flow(charging, 0.5, amps=600)
    charging.assert_safe("over_current")


def test_more_voltage_than_the_battery_bears_is_cut_off(charging: Bench) -> None:
    flow(charging, 0.3, volts=420)
    assert not charging.closed
    flow(charging, 1.0)
    assert not charging.closed
    flow(charging, 1.0, volts=420)
    charging.assert_safe("over_voltage")


def test_far_too_much_voltage_is_cut_off_at_once(charging: Bench) -> None:
    charging.fact(PresentVoltage(520_000, 0))
    charging.assert_safe("over_voltage")


def test_a_charger_that_says_that_it_gives_too_much_is_left(charging: Bench) -> None:
    charging.battery()
    response = charging.charger.answer(charging.unanswered.pop(0))
    charging.reply(msgspec.structs.replace(response, evse_present_voltage=number(520)))
    charging.battery()
    charging.assert_safe("over_voltage")


def test_power_that_is_not_wanted_is_cut_off_after_two_seconds(identities: Identities) -> None:
    bench = Bench(identities, SessionConfig(program=(ProgramStep(do="wait", for_s=3600),)))
    bench.run_to("DC_ChargeLoopReq")
    flow(bench, 0.2, amps=100)
    assert not bench.closed
    flow(bench, 0.6, amps=100)
    bench.assert_safe("power_not_obeyed")


@pytest.mark.parametrize("sensor", ["battery", "inlet"])
def test_a_sensor_that_falls_silent_while_energy_flows_ends_the_session(charging: Bench, sensor: str) -> None:
    def battery() -> None:
        charging.fact(PresentVoltage(370_000, 0) if sensor == "battery" else reported(charging))

    charging.battery = battery  # type: ignore[method-assign]
    began = charging.now
    charging.run(lambda: charging.now > began + 3)
    charging.assert_safe(f"{sensor}_silent")
    assert 1.0 <= charging.now - began <= 1.6


def reported(bench: Bench) -> BatteryState:
    bench.model.advance(bench.utc_ms, 0)
    return bench.model.state


def test_a_battery_that_says_the_same_again_and_again_is_silent(charging: Bench) -> None:
    state = charging.model.state

    def battery() -> None:
        charging.fact(state)
        charging.fact(PresentVoltage(370_000, 0))

    charging.battery = battery  # type: ignore[method-assign]
    began = charging.now
    charging.run(lambda: charging.now > began + 3)
    charging.assert_safe("battery_silent")


def test_no_contactor_closes_on_readings_that_are_too_old(bench: Bench) -> None:
    bench.run_to("DC_PreChargeReq")
    bench.battery()
    bench.fact(PresentVoltage(bench.model.state.voltage_mv))
    bench.silent = True
    bench.battery = lambda: None  # type: ignore[method-assign]
    bench.now += 0.6
    bench.step()
    assert not bench.contactor_closed
    bench.run()
    assert not [each for each in bench.commands if isinstance(each, CloseContactor)]
    assert bench.closed in ("battery_silent", "inlet_silent")


@pytest.mark.parametrize("at", ["DC_CableCheckReq", "DC_PreChargeReq"])
def test_a_battery_with_a_fault_is_not_connected(bench: Bench, at: str) -> None:
    bench.run_to(at)
    bench.fact(msgspec.structs.replace(bench.model.state, fault="isolation"))
    bench.assert_safe("isolation")
    assert not [each for each in bench.commands if isinstance(each, CloseContactor)]


def test_a_fault_while_the_contactor_closes_opens_it(bench: Bench) -> None:
    bench.obey = False
    bench.run(lambda: any(isinstance(each, CloseContactor) for each in bench.commands))
    bench.fact(msgspec.structs.replace(bench.model.state, fault="isolation"))
    bench.assert_safe("isolation")


def test_a_battery_with_a_fault_leaves_before_anything_is_asked_for(bench: Bench) -> None:
    bench.run_to("ServiceDiscoveryReq")
    bench.fact(msgspec.structs.replace(bench.model.state, fault="isolation"))
    bench.run()
    assert bench.closed == "isolation"
    assert bench.names()[-1] == "SessionStopReq"


def test_voltage_that_nobody_has_asked_for_ends_the_session(bench: Bench) -> None:
    bench.run_to("AuthorizationReq")
    bench.charger.voltage = 400.0
    bench.battery()
    assert not bench.closed
    bench.now += 1.1
    bench.battery()
    bench.assert_safe("voltage_not_asked_for")


def test_a_contactor_that_has_opened_may_not_close_again() -> None:
    """It has time to open, which a contactor that closes by itself does not get."""
    bench = Bench2(DC, scale=20)
    bench.charger.renegotiate = 1
    bench.run_to("CurrentDemandReq")
    bench.run_to("ChargeParameterDiscoveryReq")
    bench.fact(ContactorState(closed=True))
    bench.pass_time(0.2)
    bench.assert_safe("contactor_welded")
