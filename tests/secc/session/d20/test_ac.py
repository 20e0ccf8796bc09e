"""Alternating current: the charge point sends targets within all limits, and opens when the pilot says so."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import AcRating, ControlMode, EnergyService, ProfileRules, SeccConfig
from secc.session.d20.safety import Iso20Requests
from tests.secc.session.bench import (
    AC,
    AC_BPT,
    AC_NAMESPACE,
    AC_WAYS,
    DC_NAMESPACE,
    REQUESTS,
    Bench,
    each_phase,
    number,
    protocol,
)
from tests.secc.session.d20.ac import UNSIGNED, expect_order, target, watts
from tests.together import together
from v2g.energy.limits import OPERATOR, SITE, GridResponse, Limit, Setpoint
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.messages.schedules import PowerToleranceAcceptance
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import ChargerMonitor, ChargerRating, Output

SERVICES = (EnergyService.AC_BPT, EnergyService.AC, EnergyService.DC_BPT, EnergyService.DC)
LIVE = [state for state in AC_WAYS if state is not State.ENDED]

Make = Callable[..., Bench]


def on_ac(make_bench: Make, *, service: int = AC_BPT, scheduled: bool = False, **config: Any) -> Bench:
    """Return a bench whose vehicle will choose an AC service."""
    modes = (ControlMode.SCHEDULED,) if scheduled else (ControlMode.DYNAMIC,)
    settings = {"services": SERVICES, "control_modes": modes, "signed_discharge": UNSIGNED, **config}
    bench = make_bench(SeccConfig(**settings), pilot=PilotState.C)
    bench.selection, bench.scheduled = (service, 0, False), scheduled
    return bench


def draw(bench: Bench, power_w: int) -> None:
    """Let the vehicle draw that power, all phases together."""
    bench.fact(ports.Measured(230_000, power_w * 1000 // 230))


def test_a_charger_of_both_kinds_speaks_the_one_that_the_vehicle_ranks_first(make_bench: Make) -> None:
    bench = on_ac(make_bench)
    offers = (protocol(DC_NAMESPACE, schema=1, rank=2), protocol(AC_NAMESPACE, schema=2, rank=1))
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=offers))
    assert (response.response_code, response.schema_id) == (app.ResponseCode.OK_SuccessfulNegotiation, 2)
    assert bench.session.family is Family.AC


def test_a_charger_without_ac_does_not_speak_it(make_bench: Make) -> None:
    bench = make_bench(SeccConfig())
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=(protocol(AC_NAMESPACE),)))
    assert response.response_code is app.ResponseCode.Failed_NoNegotiation


def test_only_services_of_the_negotiated_kind_are_offered(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.SERVICE_DISCOVERY)
    response = bench.go("ServiceDiscoveryReq")
    assert [each.service_id for each in response.energy_transfer_service_list.service] == [AC_BPT, AC]


@pytest.mark.parametrize("connector", [2, 3])
@pytest.mark.parametrize("name", ["GridCodeIslandingDetectionMethod", "DetectionMethodGridCodeIslanding"])
def test_parameters_are_those_of_tables_205_and_206(make_bench: Make, connector: Any, name: Any) -> None:
    rating = AcRating(three_phase_connector=connector, islanding_parameter=name, islanding_detection="passive")
    bench = on_ac(make_bench, ac_rating=rating).reach(State.SERVICE_DETAIL)
    (offered,) = bench.go("ServiceDetailReq").service_parameter_list.parameter_set
    values = {each.name: each.int_value for each in offered.parameter}
    assert values == {
        "Connector": connector,
        "ControlMode": 2,
        "MobilityNeedsMode": 1,
        "Pricing": 1,
        "EVSENominalVoltage": 230,
        "BPTChannel": 1,
        "GeneratorMode": 1,
        name: 2,
    }


def test_a_single_phase_charger_says_so(make_bench: Make) -> None:
    bench = on_ac(make_bench, service=AC, ac_rating=AcRating(phases=1)).reach(State.SERVICE_DETAIL)
    (offered,) = bench.go("ServiceDetailReq").service_parameter_list.parameter_set
    assert {each.name: each.int_value for each in offered.parameter}["Connector"] == 1
    bench.go("ServiceSelectionReq")
    mode = bench.go("AC_ChargeParameterDiscoveryReq").ac_cpd_res_energy_transfer_mode
    assert watts(mode.evse_maximum_charge_power) == 22_000
    assert mode.evse_maximum_charge_power_l2 is None


def test_the_rating_is_shared_between_the_phases(make_bench: Make) -> None:
    bench = on_ac(make_bench, ac_rating=AcRating(max_asymmetry_w=4600, ramp_w_s=1000))
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.go("AC_ChargeParameterDiscoveryReq").ac_cpd_res_energy_transfer_mode
    assert [watts(getattr(mode, "evse_maximum_charge_power" + p)) for p in ("", "_l2", "_l3")] == [7333] * 3
    assert watts(mode.evse_maximum_discharge_power) == 3666
    assert watts(mode.maximum_power_asymmetry) == 4600
    assert watts(mode.evse_power_ramp_limitation) == 1000
    assert watts(mode.evse_nominal_frequency) == 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"ev_maximum_charge_power": number(-9000)},
        {"ev_minimum_charge_power_l2": number(9000)},
        {"ev_minimum_discharge_power": number(20_000)},
        {"ev_maximum_charge_power": number(30_000), "ev_minimum_charge_power": number(21_081)},
    ],
    ids=str,
)
def test_limits_that_leave_nothing_are_refused(make_bench: Make, wrong: dict[str, Any]) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = bench.ask("AC_ChargeParameterDiscoveryReq")
    mode = replace(request.ac_cpd_req_energy_transfer_mode, **wrong)
    response = bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=mode))
    assert response.response_code.name == "FAILED_WrongChargeParameter"


def test_parameters_of_the_other_service_are_refused(make_bench: Make) -> None:
    bench = on_ac(make_bench, service=AC).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    bench.selection = (AC_BPT, 0, False)
    response = bench.go("AC_ChargeParameterDiscoveryReq")
    assert response.response_code.name == "FAILED_WrongChargeParameter"


def test_the_contactor_closes_once_the_vehicle_is_in_state_c(make_bench: Make) -> None:
    bench = on_ac(make_bench)
    bench.fact(ports.PilotChanged(PilotState.B))
    bench.reach(State.POWER_DELIVERY)
    assert bench.go("PowerDeliveryReq") is None
    bench.fact(ports.PilotChanged(PilotState.C))
    assert bench.responses[-1].response_code.name == "OK"
    assert bench.session.state is State.AC_CHARGE_LOOP
    assert len(bench.commands(ports.CloseContactors)) == 1


def test_a_vehicle_that_stays_in_state_b_gets_no_power(make_bench: Make) -> None:
    bench = on_ac(make_bench)
    bench.fact(ports.PilotChanged(PilotState.B))
    bench.reach(State.POWER_DELIVERY).go("PowerDeliveryReq")
    bench.pass_time(1.4)
    assert bench.responses[-1].response_code.name == "FAILED"
    assert not bench.commands(ports.CloseContactors)


def test_a_contactor_that_does_not_close_is_named(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.POWER_DELIVERY)
    del bench.auto[ports.CloseContactors]
    bench.go("PowerDeliveryReq")
    bench.pass_time(1.4)
    assert bench.responses[-1].response_code.name == "FAILED_ContactorError"


def test_dynamic_targets_keep_to_every_limit(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    mode = bench.responses[-1].cl_res_control_mode
    assert target(mode) == 10_800  # the vehicle's three times 3.6 kW
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=6_000, discharge_w=15_000, version=2),)))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 6_000
    bench.fact(ports.SetpointChanged(Setpoint(power_w=-5_000, source="csms")))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == -4_998  # three equal shares of 5 kW
    bench.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=40_000, discharge_w=0, version=2),)))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0


def test_without_both_directions_nothing_is_asked_back(make_bench: Make) -> None:
    bench = on_ac(make_bench, service=AC).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.SetpointChanged(Setpoint(power_w=-5_000, source="csms")))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0


def test_a_schedule_is_left_to_the_vehicle_until_a_limit_falls_below_what_it_draws(make_bench: Make) -> None:
    bench = on_ac(make_bench, scheduled=True).reach(State.AC_CHARGE_LOOP)
    draw(bench, 9_000)
    assert bench.go("AC_ChargeLoopReq").cl_res_control_mode.evse_target_active_power is None
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=6_000, discharge_w=15_000, version=2),)))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 6_000


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_vehicle_that_negotiates_goes_on_by_its_present_schedule(make_bench: Make, scheduled: bool) -> None:
    """It may take 60 s (V2G20-443), also with EVProcessing Ongoing, and no response asks for less meanwhile."""
    bench = on_ac(make_bench, service=AC, scheduled=scheduled).reach(State.AC_CHARGE_LOOP)
    monitor, reader = ChargerMonitor(ChargerRating(charge_w=22_000, discharge_w=0)), Iso20Requests(bench.config)
    monitor.begin(0.0)
    monitor.authorise(0.0, allowed=True)
    before = bench.commands(ports.SetAcOutput)[-1]
    assert before.charge_w == 10_800
    lasting = bench.ask("PowerDeliveryReq", ev_processing=Processing.Ongoing)
    asked = [
        bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation, ev_power_profile=None),
        bench.ask("ScheduleExchangeReq"),
        lasting,
        lasting,
    ]
    for request in (bench.ask("AC_ChargeParameterDiscoveryReq"), bench.ask("PowerDeliveryReq")):
        monitor.request(reader.read(request, PayloadType.COMMON), 0.0)
    monitor.close(0.0)
    monitor.feedback(0.0, closed=True)
    monitor.drive(Output(10_800, 0), 0.0)
    for n, request in enumerate(asked):
        assert bench.send(request).response_code.name == "OK"
        monitor.request(reader.read(request, PayloadType.COMMON), n * 25.0)
        bench.pass_time(25)
        monitor.tick(n * 25.0 + 24)
    assert bench.commands(ports.SetAcOutput)[-1] is before
    assert not bench.reason
    assert not monitor.verdicts()


def test_the_loop_of_another_mode_is_refused(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.scheduled = True
    assert bench.go("AC_ChargeLoopReq").response_code.name == "FAILED"


def test_limits_that_the_vehicle_lowers_in_the_loop_count(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    mode = bench.ac_loop_mode(**each_phase("ev_maximum_charge_power", 1_500))
    response = bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=mode))
    assert target(response.cl_res_control_mode) == 4_500


def test_a_vehicle_in_state_b_interrupts_and_goes_on_without_leaving_the_loop(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.PilotChanged(PilotState.B))
    assert len(bench.commands(ports.OpenContactors)) == 1
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    bench.fact(ports.PilotChanged(PilotState.C))
    assert len(bench.commands(ports.CloseContactors)) == 2
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800
    assert not bench.reason


@pytest.mark.parametrize("pilot", [True, False], ids=["pilot", "grid"])
def test_what_was_interrupted_before_a_stop_stays_open_after_it(make_bench: Make, pilot: bool) -> None:
    """To close without energy is of no use, and the monitor forbids it."""
    held: tuple[Any, Any] = (ports.PilotChanged(PilotState.B), ports.PilotChanged(PilotState.C))
    if not pilot:
        held = TRIP, ports.GridResponseChanged(GridResponse())
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(held[0])
    bench.fact(ports.StopRequested("driver"))
    bench.fact(held[1])
    assert [len(bench.commands(each)) for each in (ports.OpenContactors, ports.CloseContactors)] == [1, 1]
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop))
    bench.go("SessionStopReq")
    assert not bench.reason


def test_a_trip_of_the_grid_disconnects_mains_without_asking_the_vehicle(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    draw(bench, -6_000)
    bench.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0)))
    assert bench.commands(ports.OpenContactors) == []  # a cessation: the vehicle follows
    bench.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    assert len(bench.commands(ports.OpenContactors)) == 1
    bench.fact(ports.PilotChanged(PilotState.B))
    bench.fact(ports.PilotChanged(PilotState.C))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    assert len(bench.commands(ports.CloseContactors)) == 1
    bench.fact(ports.GridResponseChanged(GridResponse()))
    assert len(bench.commands(ports.CloseContactors)) == 2
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800
    assert not bench.reason


TRIP = ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True))


def test_a_session_that_begins_in_a_trip_of_the_grid_closes_when_it_is_over(make_bench: Make) -> None:
    bench = on_ac(make_bench)
    bench.fact(TRIP)
    bench.reach(State.AC_CHARGE_LOOP)
    assert bench.commands(ports.CloseContactors) == []
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    bench.fact(ports.GridResponseChanged(GridResponse()))
    assert len(bench.commands(ports.CloseContactors)) == 1
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800
    assert not bench.reason


def test_a_trip_of_the_grid_while_the_contactor_closes_opens_it(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.POWER_DELIVERY)
    bench.auto = {each: answer for each, answer in bench.auto.items() if each is not ports.CloseContactors}
    assert bench.go("PowerDeliveryReq") is None
    bench.fact(TRIP)
    assert bench.responses[-1].response_code.name == "OK"
    assert len(bench.commands(ports.OpenContactors)) == 1
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0


def test_news_of_an_opening_after_the_vehicle_is_ready_again_ends_nothing(make_bench: Make) -> None:
    """A vehicle that shows B for an instant: the contactor is still opening when it is to close."""
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.auto = {each: answer for each, answer in bench.auto.items() if each is not ports.CloseContactors}
    bench.fact(ports.PilotChanged(PilotState.B))
    bench.fact(ports.PilotChanged(PilotState.C))
    bench.fact(ports.ContactorState(closed=False, why="pilot_B"))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    assert bench.commands(ports.SetAcOutput)[-1].charge_w == 0
    bench.fact(ports.ContactorState(closed=True))
    assert bench.commands(ports.SetAcOutput)[-1].charge_w == 10_800
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800
    assert not bench.reason


def test_what_could_not_close_in_state_d_closes_in_state_c(make_bench: Make) -> None:
    """Without ventilation the interlock refuses to close in D; nothing else would ask again."""
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.auto = {each: answer for each, answer in bench.auto.items() if each is not ports.CloseContactors}
    bench.fact(ports.PilotChanged(PilotState.B))
    bench.fact(ports.PilotChanged(PilotState.D))
    bench.fact(ports.ContactorState(closed=False))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    bench.fact(ports.PilotChanged(PilotState.C))
    assert len(bench.commands(ports.CloseContactors)) == 3
    bench.fact(ports.ContactorState(closed=True))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800


def test_the_interlock_may_be_faster_than_the_news_of_the_pilot(make_bench: Make) -> None:
    """It opens the contactor as the vehicle shows B, and the auxiliary contact shows it before the pilot does."""
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.ContactorState(closed=False, why="pilot_B"))
    bench.fact(ports.PilotChanged(PilotState.B))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 0
    bench.fact(ports.PilotChanged(PilotState.C))
    assert target(bench.go("AC_ChargeLoopReq").cl_res_control_mode) == 10_800
    assert not bench.reason


@pytest.mark.parametrize("state", [PilotState.A, PilotState.E, PilotState.F])
def test_a_pilot_that_is_gone_ends_everything_at_once(make_bench: Make, state: PilotState) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.PilotChanged(state))
    assert bench.commands(ports.EmergencyOff)
    assert bench.reason in ("unplugged", "pilot_lost")


def test_a_contactor_that_opens_by_itself_ends_the_session(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.ContactorState(closed=False))
    assert bench.go("AC_ChargeLoopReq").response_code.name == "FAILED"
    assert bench.reason == "contactor_dropped"


def test_after_the_stop_comes_the_end_of_the_session(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    response = bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop))
    assert response.response_code.name == "OK"
    assert bench.session.state is State.SESSION_STOP
    bench.go("SessionStopReq")
    assert bench.session.state is State.ENDED
    assert bench.records()[-1] != "SessionStarted"
    assert bench.commands(ports.TransactionEnded)


def test_meter_readings_can_be_confirmed_with_alternating_current_too(make_bench: Make) -> None:
    bench = on_ac(make_bench).reach(State.AC_CHARGE_LOOP)
    response = bench.send(bench.ask("AC_ChargeLoopReq", meter_info_requested=True))
    assert response.meter_info is not None
    assert bench.go("MeteringConfirmationReq").response_code.name == "OK"


@pytest.mark.some(4)
@together(
    ("state", "name"), [(state, name) for state in LIVE for name in sorted(REQUESTS)], by=lambda each: each[0].value
)
def test_every_message_in_every_state(make_bench: Make, state: State, name: str) -> None:
    expect_order(on_ac(make_bench).reach(state), state, name)


def test_an_ac_vehicle_that_takes_more_than_allowed_is_warned_and_then_left(make_bench: Make) -> None:
    """V2G20-1864; what counts is what the meter sees, not what the vehicle says."""
    bench = on_ac(make_bench, profile=ProfileRules(margin_w=300, warn_s=1.0, fail_s=3.0)).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=6_000, discharge_w=15_000, version=2),)))
    draw(bench, 6_250)
    assert bench.go("AC_ChargeLoopReq").response_code.name == "OK"
    draw(bench, 6_500)
    codes = []
    while not bench.reason:
        codes.append(bench.go("AC_ChargeLoopReq").response_code.name)
        bench.pass_time(0.5)
    assert codes == ["OK"] * 2 + ["WARNING_EVPowerProfileViolation"] * 4 + ["FAILED_EVPowerProfileViolation"]
    assert bench.commands(ports.EmergencyOff)


def test_a_vehicle_that_comes_back_below_its_limit_is_forgiven(make_bench: Make) -> None:
    bench = on_ac(make_bench, profile=ProfileRules(warn_s=1.0, fail_s=3.0)).reach(State.AC_CHARGE_LOOP)
    for _ in range(4):
        draw(bench, 14_000)
        bench.go("AC_ChargeLoopReq")
        bench.pass_time(0.9)
        draw(bench, 10_000)
        assert bench.go("AC_ChargeLoopReq").response_code.name == "OK"


def test_giving_more_than_allowed_counts_as_well(make_bench: Make) -> None:
    bench = on_ac(make_bench, service=AC, profile=ProfileRules(warn_s=0.0)).reach(State.AC_CHARGE_LOOP)
    draw(bench, -1_000)
    assert bench.go("AC_ChargeLoopReq").response_code.name == "WARNING_EVPowerProfileViolation"


@pytest.mark.parametrize(
    ("required", "word", "code"),
    [
        (False, PowerToleranceAcceptance.PowerToleranceConfirmed, "OK_PowerToleranceConfirmed"),
        (True, PowerToleranceAcceptance.PowerToleranceConfirmed, "OK_PowerToleranceConfirmed"),
        (False, PowerToleranceAcceptance.PowerToleranceNotConfirmed, "WARNING_PowerToleranceNotConfirmed"),
        (False, None, "WARNING_PowerToleranceNotConfirmed"),
        (True, PowerToleranceAcceptance.PowerToleranceNotConfirmed, "FAILED_PowerToleranceNotConfirmed"),
        (True, None, "FAILED_PowerToleranceNotConfirmed"),
    ],
)
def test_the_vehicles_word_on_the_tolerance_decides(make_bench: Make, required: bool, word: Any, code: str) -> None:
    rules = ProfileRules(power_tolerance_w=800, tolerance_required=required)
    bench = on_ac(make_bench, scheduled=True, profile=rules).reach(State.SCHEDULE_EXCHANGE)
    offered, *_ = bench.go("ScheduleExchangeReq").scheduled_se_res_control_mode.schedule_tuple
    assert watts(offered.charging_schedule.power_schedule.power_tolerance) == 800
    profile = bench.profile(1, 10_000)
    mode = replace(profile.scheduled_evppt_control_mode, power_tolerance_acceptance=word)
    profile = replace(profile, scheduled_evppt_control_mode=mode)
    response = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile))
    assert response.response_code.name == code
    assert (bench.session.state is State.AC_CHARGE_LOOP) is not code.startswith("FAILED")


@pytest.mark.parametrize(
    ("word", "code"),
    [("PowerToleranceConfirmed", "OK_PowerToleranceConfirmed"), ("PowerToleranceNotConfirmed", "OK"), (None, "OK")],
)
def test_a_vehicle_may_confirm_a_tolerance_it_was_not_asked_for(make_bench: Make, word: str | None, code: str) -> None:
    bench = on_ac(make_bench, scheduled=True).reach(State.SCHEDULE_EXCHANGE)
    bench.go("ScheduleExchangeReq")
    profile = bench.profile(1, 10_000)
    acceptance = None if word is None else PowerToleranceAcceptance[word]
    mode = replace(profile.scheduled_evppt_control_mode, power_tolerance_acceptance=acceptance)
    profile = replace(profile, scheduled_evppt_control_mode=mode)
    response = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile))
    assert response.response_code.name == code  # V2G20-1944
    assert bench.session.state is State.AC_CHARGE_LOOP
