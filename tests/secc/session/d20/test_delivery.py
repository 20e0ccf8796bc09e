"""Cable check, pre-charge, start and stop: contactors move first, words follow, and nothing takes for ever."""

from typing import Any

import msgspec
import pytest

from secc.session import ports
from secc.session.config import ControlMode, EvseRating, SeccConfig
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import MakeBench
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages.common_messages import ChargeProgress
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.prices import fraction
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send

SCHEDULED = SeccConfig(control_modes=(ControlMode.SCHEDULED,))


def volts(response: Any) -> float:
    number = response.evse_present_voltage
    return float(fraction(number))


def order(bench: Bench, *types: type) -> list[int]:
    """Return where the last action of each type stands."""
    return [max(n for n, each in enumerate(bench.actions) if isinstance(each, type_)) for type_ in types]


def test_the_cable_is_checked_at_the_highest_voltage_of_both(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    assert bench.go("DC_CableCheckReq").evse_processing is Processing.Finished
    assert bench.commands(ports.StartCableCheck) == [ports.StartCableCheck(450_000)]


def test_a_cable_check_is_polled_until_it_is_known(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK_ONGOING)
    assert bench.responses[-1].evse_processing is Processing.Ongoing
    bench.post(bench.ask("DC_CableCheckReq"))
    bench.fact(ports.CableCheckFinished(passed=True))
    assert bench.responses[-1].evse_processing is Processing.Finished
    assert bench.session.state is State.DC_PRE_CHARGE
    assert len(bench.commands(ports.StartCableCheck)) == 1


def test_a_failed_cable_check_ends_the_session_without_voltage(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    bench.auto[ports.StartCableCheck] = lambda c: ports.CableCheckFinished(passed=False)
    assert bench.go("DC_CableCheckReq").response_code.name == "FAILED"
    off, said = order(bench, ports.EmergencyOff, Send)
    assert off < said


def test_a_cable_check_that_does_not_end_is_given_up(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK_ONGOING)
    begin = bench.now
    while not bench.reason:
        bench.post(bench.ask("DC_CableCheckReq"))
        bench.pass_time(0.5)
        assert bench.now - begin < 60
    assert bench.reason == "cable_check_timeout"
    assert bench.responses[-1].response_code.name == "FAILED"
    assert 37 <= bench.now - begin < 39  # the vehicle gives up after 40 s


@pytest.mark.parametrize("pilot", [PilotState.C, PilotState.D, None])
def test_the_cable_check_begins_with_the_pilot_in_c(make_bench: MakeBench, pilot: PilotState | None) -> None:
    bench = make_bench(pilot=pilot).reach(State.DC_CABLE_CHECK)
    assert bench.go("DC_CableCheckReq").response_code.name == "OK"


def test_the_pilot_may_come_a_moment_after_the_message(make_bench: MakeBench) -> None:
    bench = make_bench(pilot=PilotState.B).reach(State.DC_CABLE_CHECK)
    assert bench.go("DC_CableCheckReq") is None
    bench.pass_time(0.2)
    assert not bench.commands(ports.StartCableCheck)
    bench.fact(ports.PilotChanged(PilotState.C))
    assert bench.responses[-1].evse_processing is Processing.Finished


def test_a_vehicle_that_stays_in_b_gets_no_cable_check(make_bench: MakeBench) -> None:
    bench = make_bench(pilot=PilotState.B).reach(State.DC_CABLE_CHECK)
    bench.go("DC_CableCheckReq")
    bench.pass_time(1.5)
    assert bench.reason == "FAILED"  # V2G20-1418
    assert not bench.commands(ports.StartCableCheck)


def test_pre_charge_reports_the_voltage_that_is_there(bench: Bench) -> None:
    bench.reach(State.DC_PRE_CHARGE)
    bench.auto[ports.StartPreCharge] = lambda c: ports.Measured(c.voltage_mv // 2, 0)
    request = bench.ask("DC_PreChargeReq", ev_processing=Processing.Ongoing)
    assert bench.send(request) is None  # it waits a little for the voltage
    bench.pass_time(0.5)
    assert volts(bench.responses[-1]) == 200
    bench.post(request)
    bench.fact(ports.Measured(385_000, 0))
    assert volts(bench.responses[-1]) == 385
    assert len(bench.commands(ports.StartPreCharge)) == 1
    assert bench.session.state is State.DC_PRE_CHARGE_ONGOING


def test_pre_charge_follows_a_new_target_and_stays_within_what_both_bear(bench: Bench) -> None:
    bench.reach(State.DC_PRE_CHARGE)
    for wish in (400, 2000, -5):
        bench.send(bench.ask("DC_PreChargeReq", ev_processing=Processing.Ongoing, ev_target_voltage=number(wish)))
        bench.pass_time(0.5)
    assert [each.voltage_mv for each in bench.commands(ports.StartPreCharge)] == [400_000, 450_000, 0]


@pytest.mark.parametrize("wish", [0, 200, 451, 2000])
def test_a_voltage_that_cannot_be_reached_is_never_matched(bench: Bench, wish: int) -> None:
    """V2G20-2005: what both sides bear is driven, and the contactor closes on what the vehicle asked for alone."""
    bench.reach(State.DC_PRE_CHARGE)
    bench.auto[ports.StartPreCharge] = lambda c: ports.Measured(
        c.voltage_mv - 20_000 if wish == 451 else c.voltage_mv, 0
    )
    bench.send(bench.ask("DC_PreChargeReq", ev_target_voltage=number(wish)))
    bench.post(bench.ask("PowerDeliveryReq"))
    bench.pass_time(0.5)
    assert bench.responses[-1].response_code.name == "FAILED_PowerDeliveryNotApplied"
    assert not bench.commands(ports.CloseContactors)
    (failed,) = bench.events("request_failed")
    assert ("mV or more" in failed["reason"]) is (wish in {0, 200}), "the output has what was asked for"


def test_power_may_start_with_and_without_a_last_pre_charge_that_says_finished(bench: Bench) -> None:
    bench.reach(State.DC_PRE_CHARGE_ONGOING)
    assert bench.go("PowerDeliveryReq").response_code.name == "OK"
    assert bench.session.state is State.DC_CHARGE_LOOP


def test_contactors_close_before_the_word(bench: Bench) -> None:
    bench.reach(State.POWER_DELIVERY)
    del bench.auto[ports.CloseContactors]
    assert bench.go("PowerDeliveryReq") is None
    bench.pass_time(1.0)
    bench.fact(ports.ContactorState(closed=True))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.session.state is State.DC_CHARGE_LOOP
    assert bench.commands(ports.TransactionUpdated)[0].charging_state == "Charging"


@pytest.mark.parametrize("answer", [None, ports.ContactorState(closed=False)])
def test_contactors_that_do_not_close_end_the_session(bench: Bench, answer: ports.ContactorState | None) -> None:
    bench.reach(State.POWER_DELIVERY)
    del bench.auto[ports.CloseContactors]
    begin = bench.now
    bench.go("PowerDeliveryReq")
    if answer:
        bench.fact(answer)
    else:
        bench.pass_time(1.4)
    assert bench.responses[-1].response_code.name == "FAILED_ContactorError"
    assert bench.now - begin < 1.5
    assert not bench.commands(ports.SetOutput)


def test_a_vehicle_that_is_not_ready_starts_nothing_and_not_for_ever(bench: Bench) -> None:
    bench.reach(State.POWER_DELIVERY)
    begin = bench.now
    while not bench.reason:
        bench.send(bench.ask("PowerDeliveryReq", ev_processing=Processing.Ongoing))
        assert not bench.commands(ports.CloseContactors)
        bench.pass_time(1.0)
    assert bench.reason == "ongoing_timeout"
    assert bench.now - begin == pytest.approx(60.0, abs=1.01)


def test_a_vehicle_that_got_ready_in_time_is_left_alone(bench: Bench) -> None:
    bench.reach(State.POWER_DELIVERY)
    bench.send(bench.ask("PowerDeliveryReq", ev_processing=Processing.Ongoing))
    bench.pass_time(59.0)
    bench.go("PowerDeliveryReq")
    for _ in range(3):
        bench.pass_time(2.0)
        bench.go("DC_ChargeLoopReq")
    assert not bench.reason


def test_standby_is_not_served(bench: Bench) -> None:
    for state in (State.DC_CABLE_CHECK, State.POWER_DELIVERY):
        bench.reach(state) if bench.session.state is State.SUPPORTED_APP_PROTOCOL else bench.go(
            "DC_CableCheckReq", "DC_PreChargeReq"
        )
        response = bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Standby))
        assert response.response_code.name == "WARNING_StandbyNotAllowed"
        assert bench.session.state is state


def test_a_vehicle_may_leave_before_anything_is_closed(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    response = bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))  # V2G20-2122
    assert response.response_code.name == "OK"
    assert bench.session.state is State.SESSION_STOP
    assert not bench.commands(ports.OpenContactors)


@pytest.mark.parametrize("state", [State.POWER_DELIVERY, State.DC_CHARGE_LOOP, State.SCHEDULE_RENEGOTIATION])
def test_contactors_open_before_the_word(bench: Bench, state: State) -> None:
    bench.reach(state)
    del bench.auto[ports.OpenContactors]
    stop = bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop)
    assert bench.send(stop) is None
    bench.fact(ports.PilotChanged(PilotState.B))  # the vehicle lets go as soon as its current is zero
    bench.pass_time(1.0)
    bench.fact(ports.ContactorState(closed=False))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.session.state is State.DC_WELDING_DETECTION
    assert not bench.commands(ports.EmergencyOff)


def test_contactors_that_stay_closed_are_an_error(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    del bench.auto[ports.OpenContactors]
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    bench.pass_time(1.4)
    assert bench.responses[-1].response_code.name == "FAILED_ContactorError"
    assert bench.commands(ports.EmergencyOff)


def test_contactors_that_open_by_themselves_end_the_session(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.ContactorState(closed=False))
    assert bench.go("DC_ChargeLoopReq").response_code.name == "FAILED"
    assert bench.reason == "contactor_dropped"


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("pilot_A", "unplugged"),
        ("pilot_B", "vehicle_not_ready"),
        ("pilot_E", "pilot_lost"),
        ("isolation_low", "isolation_low"),
    ],
)
def test_contactors_that_the_interlock_opens_end_the_session_by_what_it_saw(
    bench: Bench, why: str, reason: str
) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.ContactorState(closed=False, why=why))
    bench.go("DC_ChargeLoopReq")
    assert bench.reason == reason
    assert bench.commands(ports.EmergencyOff) == [ports.EmergencyOff(reason)]


def test_the_voltage_that_is_left_is_reported_once_it_is_safe_or_in_time(bench: Bench) -> None:
    bench.reach(State.DC_WELDING_DETECTION)
    bench.fact(ports.Measured(400_000, 0))
    assert bench.send(bench.ask("DC_WeldingDetectionReq", ev_processing=Processing.Ongoing)) is None
    bench.pass_time(bench.config.poll_hold_s)
    assert volts(bench.responses[-1]) == 400.0  # a contactor may be welded
    assert bench.send(bench.ask("DC_WeldingDetectionReq", ev_processing=Processing.Ongoing)) is None
    bench.fact(ports.Measured(59_000, 0))
    assert volts(bench.responses[-1]) == 59.0
    bench.fact(ports.Measured(12_345, 0))
    assert volts(bench.send(bench.ask("DC_WeldingDetectionReq", ev_processing=Processing.Ongoing))) == 12.345
    assert bench.session.state is State.DC_WELDING_DETECTION
    bench.go("DC_WeldingDetectionReq")
    assert bench.session.state is State.SESSION_STOP


@pytest.fixture
def choosing(make_bench: MakeBench) -> Bench:
    """Return a bench whose scheduled vehicle is about to start."""
    bench = make_bench(SCHEDULED)
    bench.scheduled = True
    return bench.reach(State.POWER_DELIVERY)


@pytest.mark.parametrize(
    ("tuple_id", "powers", "code"),
    [
        (1, (20_000, 0, -10_000), "OK"),
        (1, (20_001,), "FAILED_EVPowerProfileInvalid"),
        (1, (0, -10_001), "FAILED_EVPowerProfileInvalid"),
        (9, (0,), "FAILED_ScheduleSelectionInvalid"),
        (None, (0,), "FAILED_EVPowerProfileInvalid"),
    ],
)
def test_a_profile_is_one_of_the_offered_schedules(
    choosing: Bench, tuple_id: int | None, powers: tuple[int, ...], code: str
) -> None:
    profile = choosing.profile(tuple_id, *powers)
    response = choosing.send(choosing.ask("PowerDeliveryReq", ev_power_profile=profile))
    assert response.response_code.name == code


def test_a_scheduled_vehicle_names_its_schedule(choosing: Bench) -> None:
    response = choosing.send(choosing.ask("PowerDeliveryReq", ev_power_profile=None))
    assert response.response_code.name == "FAILED_EVPowerProfileInvalid"


@pytest.mark.parametrize(("tuple_id", "code"), [(None, "OK"), (1, "FAILED_EVPowerProfileInvalid")])
def test_a_dynamic_vehicle_may_show_a_profile_of_its_own_kind(bench: Bench, tuple_id: int | None, code: str) -> None:
    bench.reach(State.POWER_DELIVERY)
    request = bench.ask("PowerDeliveryReq", ev_power_profile=bench.profile(tuple_id, 5_000))
    assert bench.send(request).response_code.name == code


def test_renegotiation_goes_on_with_the_contactors_closed(choosing: Bench) -> None:
    choosing.go("PowerDeliveryReq", "DC_ChargeLoopReq")
    count = len(choosing.commands(ports.CloseContactors))
    progress = ChargeProgress.ScheduleRenegotiation
    assert choosing.send(choosing.ask("PowerDeliveryReq", charge_progress=progress)).response_code.name == "OK"
    choosing.pass_time(5.1)
    assert choosing.commands(ports.ReportLimits)[-1].charge_limited_by == "renegotiation"
    choosing.go("ScheduleExchangeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    assert choosing.session.state is State.DC_CHARGE_LOOP
    assert len(choosing.commands(ports.CloseContactors)) == count


def test_contactors_that_were_open_in_between_do_not_make_the_charger_forget_that_it_is_powered(bench: Bench) -> None:
    bench.reach(State.DC_PRE_CHARGE)
    bench.fact(ports.ContactorState(closed=False))  # as auxiliary contacts tell when they are asked
    bench.go("DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    bench.actions.clear()
    bench.session.receive_eof(bench.now, bench.utc_ms)
    bench.pump()
    assert len(bench.commands(ports.EmergencyOff)) == 1


def test_contactors_that_have_not_closed_yet_are_kept_open(bench: Bench) -> None:
    bench.reach(State.DC_PRE_CHARGE)
    bench.auto[ports.CloseContactors] = lambda c: ports.ContactorState(closed=False)
    assert bench.go("DC_PreChargeReq", "PowerDeliveryReq").response_code.name == "FAILED_ContactorError"
    assert len(bench.commands(ports.EmergencyOff)) == 1


@pytest.mark.parametrize("state", [State.DC_CHARGE_LOOP, State.STANDBY])
def test_nothing_is_planned_anew_for_a_session_that_is_to_end(bench: Bench, state: State) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    if state is State.STANDBY:
        bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Standby))
    bench.fact(ports.StopRequested("remote"))
    response = bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.ScheduleRenegotiation))
    assert response.response_code.name == "WARNING_ScheduleRenegotiationFailed"
    assert bench.session.state is state
    assert bench.go("DC_ChargeLoopReq").evse_status.evse_notification.value == "Terminate"


@pytest.mark.parametrize("over", [False, True])
def test_needs_that_contradict_themselves_leave_the_old_schedule_while_it_lasts(bench: Bench, over: bool) -> None:
    bench.reach(State.SCHEDULE_RENEGOTIATION)
    if over:
        bench.utc_ms += 8 * 3_600_000  # departure was in two hours
    mode = bench.ask("ScheduleExchangeReq").dynamic_se_req_control_mode
    contradicting = msgspec.structs.replace(mode, minimum_soc=90, target_soc=20)
    response = bench.send(bench.ask("ScheduleExchangeReq", dynamic_se_req_control_mode=contradicting))
    if over:
        assert response.response_code.name == "FAILED_ScheduleRenegotiation"
        assert bench.reason == "FAILED_ScheduleRenegotiation"
        assert bench.commands(ports.EmergencyOff)
    else:
        assert response.response_code.name == "WARNING_ScheduleRenegotiationFailed"
        assert bench.session.state is State.DC_CHARGE_LOOP
        assert bench.go("DC_ChargeLoopReq").response_code.name == "OK"
        assert bench.session.powered


@pytest.mark.parametrize("interop", [False, True])
def test_a_voltage_that_no_charger_has_is_reached_by_none_but_on_trial(make_bench: MakeBench, interop: bool) -> None:
    """V2G20-2005; a known vehicle asks for 20 kV, and is to be tried all the same."""
    rating = EvseRating(max_voltage_v=440)  # less than the vehicle bears
    bench = make_bench(SeccConfig(rating=rating), interop=interop)
    bench.reach(State.DC_PRE_CHARGE)
    bench.auto[ports.StartPreCharge] = lambda _: ports.Measured(bench.config.rating.max_voltage_v * 1000, 0)
    bench.send(bench.ask("DC_PreChargeReq", ev_target_voltage=number(20_000)))
    bench.pass_time(0.5)
    bench.go("PowerDeliveryReq")
    bench.pass_time(0.5)
    assert bench.responses[-1].response_code.name == ("OK" if interop else "FAILED_PowerDeliveryNotApplied")
