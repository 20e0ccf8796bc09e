"""A vehicle's session of ISO 15118-2 with direct and alternating current, paid externally."""

from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.paused import PausedSession
from evcc.session.ports import (
    DutyRead,
    NeedsChanged,
    OpenContactor,
    SetAcPower,
    SetCpState,
    SetPowerLimits,
    StopRequested,
)
from evcc.session.settings import AuthorizationConfig, OnBoardChargerConfig, ProgramStep, ServiceConfig, SessionConfig
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.d2.session import CHEAP_LATER, HOUR, PLAN, offer
from tests.evcc.session.message_bench import SESSION_ID
from tests.evcc.session.vehicle_bench import T0
from tests.together import together
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.schedules import PriceStep, planned, schedule_tuple
from v2g.iso15118.engine.dc_status import Stop
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, exceeds

pytestmark = pytest.mark.requirement("R15")

OPENING = [
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "ServiceDiscoveryReq",
    "PaymentServiceSelectionReq",
    "AuthorizationReq",
    "ChargeParameterDiscoveryReq",
]
WHOLE_DC = [
    *OPENING,
    "CableCheckReq",
    "PreChargeReq",
    "PowerDeliveryReq",
    "CurrentDemandReq",
    "PowerDeliveryReq",
    "WeldingDetectionReq",
    "SessionStopReq",
]
WHOLE_AC = [*OPENING, "PowerDeliveryReq", "ChargingStatusReq", "PowerDeliveryReq", "SessionStopReq"]


@pytest.fixture
def dc() -> Bench2:
    return Bench2(DC, scale=20)


@pytest.fixture
def ac() -> Bench2:
    return Bench2(AC, scale=20)


@pytest.fixture(params=["dc", "ac"])
def bench(request: pytest.FixtureRequest) -> Bench2:
    return Bench2(DC if request.param == "dc" else AC, scale=20)


def of(bench: Bench2, kind: type) -> list[Any]:
    return [each for each in bench.requests if type(each) is kind]


def progress(bench: Bench2) -> list[str]:
    return [each.charge_progress.name for each in of(bench, common.PowerDeliveryReq)]


def in_loop(bench: Bench2) -> None:
    """Go on until the vehicle awaits a response of the charge loop."""
    bench.run(lambda: bool(bench.unanswered) and bench.names()[-1] in ("CurrentDemandReq", "ChargingStatusReq"))


def test_a_whole_session_with_direct_current(dc: Bench2) -> None:
    dc.run()
    assert dc.names() == WHOLE_DC
    assert dc.closed == "finished"
    assert dc.model.state.charged_mwh >= 100_000
    assert dc.requests[-1].charging_session is types.ChargingSession.Terminate


def test_a_whole_session_with_alternating_current(ac: Bench2) -> None:
    ac.run()
    assert ac.names() == WHOLE_AC
    assert ac.closed == "finished"
    assert ac.model.state.charged_mwh >= 100_000


def test_state_c_follows_the_start_of_alternating_current_and_b_its_stop(ac: Bench2) -> None:
    ac.run_to("PowerDeliveryReq")
    assert ac.commands == []
    ac.pass_time(0.06)
    assert ac.commands == [SetCpState(PilotState.C)]
    ac.run_to("ChargingStatusReq")
    ac.fact(StopRequested("owner"))
    ac.run_to("PowerDeliveryReq")
    assert SetCpState(PilotState.B) not in ac.commands
    assert ac.commands[-2:] == [SetAcPower(0), SetPowerLimits(0, 0)]
    ac.pass_time(0.06)
    assert ac.commands[-1] == SetCpState(PilotState.B)
    ac.run()
    assert OpenContactor() in ac.commands
    assert ac.closed == "finished"


def test_alternating_current_stays_within_the_current_per_phase(ac: Bench2) -> None:
    ac.charger.ac_ma = 10_000
    ac.run_to("ChargingStatusReq")
    assert SetAcPower(3 * 230 * 10) in ac.commands
    ac.charger.ac_ma = 6_000
    ac.step()
    ac.run_to("ChargingStatusReq")
    assert ac.commands[-1] == SetAcPower(3 * 230 * 6)


def test_alternating_current_obeys_the_pilot_beside_the_messages(ac: Bench2) -> None:
    ac.run_to("ChargingStatusReq")
    ac.step()
    drawn = ac.ac_power_w()
    assert drawn == 11_000
    for reading, most_w in (
        (DutyReading("current", 10.0), 3 * 230 * 10),
        (DutyReading("off"), 0),
        (DutyReading("digital"), drawn),
        (DutyReading("error"), 0),
        (DutyReading("current", 32.0), drawn),
    ):
        ac.fact(DutyRead(reading))
        assert ac.ac_power_w() == most_w, reading
    ac.charger.ac_ma = 8_000
    ac.fact(DutyRead(DutyReading("off")))
    ac.run(lambda: len(of(ac, common.ChargingStatusReq)) == 6)
    assert ac.ac_power_w() == 0
    ac.fact(DutyRead(DutyReading("digital")))
    assert ac.ac_power_w() == 3 * 230 * 8
    ac.run()
    assert ac.closed == "finished"


@pytest.mark.parametrize(("most_w", "currents"), [(40_000, (15_942, 2_000)), (1_000, (1_449, 1_449)), (0, (0, 0))])
def test_a_vehicle_that_is_nearly_full_needs_no_more_than_it_takes(
    ac: Bench2, most_w: int, currents: tuple[int, int]
) -> None:
    """Chargers refuse a least current above the greatest (FAILED_WrongChargeParameter)."""

    def report() -> None:
        ac.fact(replace(ac.model.state, max_charge_w=most_w))

    ac.report = report  # type: ignore[method-assign]
    ac.run_to("ChargeParameterDiscoveryReq")
    parameter = of(ac, common.ChargeParameterDiscoveryReq)[-1].ev_charge_parameter
    assert (milliamperes(parameter.ev_max_current), milliamperes(parameter.ev_min_current)) == currents


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("lines", "rated_a", "power_w"), [(3, None, 6_900), (1, None, 2_300), (0, None, 2_300), (3, 8.0, 5_520)]
)
def test_what_it_draws_is_within_the_current_of_each_conductor(lines: int, rated_a: float, power_w: int) -> None:
    """On one where the inlet does not report on how many there is voltage."""
    bench = Bench2(replace(AC, on_board_charger=OnBoardChargerConfig(max_current_a=rated_a)))
    bench.charger.ac_ma, bench.lines = 10_000, lines
    in_loop(bench)
    bench.run_to("ChargingStatusReq")
    assert bench.ac_power_w() == power_w


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("config", [AC, DC], ids=["ac", "dc"])
def test_a_loop_does_not_raise_what_was_agreed_unless_that_is_allowed(config: SessionConfig, raises: bool) -> None:
    bench = Bench2(replace(config, raised_limits=raises))
    bench.charger.ac_ma, bench.charger.max_power_w = 10_000, 10_000
    answered = bench.charger.CurrentDemandReq

    def limited(request: Any) -> Any:
        most = bench.charger.values.power(bench.charger.max_power_w or 0, Rounding.DOWN)
        return replace(answered(request), evse_maximum_power_limit=most)

    bench.charger.CurrentDemandReq = limited  # type: ignore[method-assign]
    bench.charger.tuples = ()
    in_loop(bench)
    loop = "ChargingStatusReq" if config is AC else "CurrentDemandReq"
    powers: list[int] = []
    for ac_ma, power_w in ((10_000, 10_000), (8_000, 5_000), (12_000, 12_000)):
        bench.charger.ac_ma, bench.charger.max_power_w = ac_ma, power_w
        for _ in range(4):
            bench.step()
            bench.run_to(loop)
        powers.append([each.charge_w for each in bench.commands if isinstance(each, SetPowerLimits)][-1])
    low, high = (5_520, 6_900 + 1_380 * raises) if config is AC else (5_000, 10_000 + 2_000 * raises)
    assert powers == [6_900 if config is AC else 10_000, low, high]


def test_line_to_line_voltage_does_not_raise_the_current(ac: Bench2) -> None:
    """Some chargers send 400 V as the nominal voltage: what the inlet measures counts."""
    ac.charger.ac_mv, ac.charger.ac_ma = 400_000, 10_000
    ac.run_to("PowerDeliveryReq")
    ac.charger.ac_mv = 230_000
    ac.run_to("ChargingStatusReq")
    powers = [each.power_w for each in ac.commands if isinstance(each, SetAcPower)]
    assert powers == [6_900]


def test_less_than_the_on_board_charger_can_draw_is_nothing(ac: Bench2) -> None:
    ac.charger.ac_ma = 1_000
    ac.run_to("ChargingStatusReq")
    ac.run(lambda: len(of(ac, common.ChargingStatusReq)) > 5)
    assert {each.power_w for each in ac.commands if isinstance(each, SetAcPower)} <= {0}


@together(
    ("energy", "phases", "offered", "mode"),
    [
        (("DC", "AC"), 3, ("AC_three_phase_core", "DC_extended"), "DC_extended"),
        (("AC", "DC"), 3, ("AC_three_phase_core", "DC_extended"), "AC_three_phase_core"),
        (("AC",), 1, ("AC_three_phase_core",), "AC_three_phase_core"),
        (("AC",), 3, ("AC_single_phase_core",), "AC_single_phase_core"),
        (("DC",), 3, ("DC_core",), "DC_core"),
        (("DC",), 3, ("AC_single_phase_core",), ""),
    ],
)
def test_the_mode_is_the_vehicles_best_on_offer(energy: Any, phases: Any, offered: tuple[str, ...], mode: str) -> None:
    config = replace(DC, services=ServiceConfig(energy=energy), on_board_charger=OnBoardChargerConfig(phases=phases))
    bench = Bench2(config, scale=20)
    bench.charger.modes = tuple(types.EnergyTransferMode(each) for each in offered)
    bench.run()
    asked = [each.requested_energy_transfer_mode.name for each in of(bench, common.ChargeParameterDiscoveryReq)]
    assert asked == ([mode] if mode else [])
    assert bench.closed == ("finished" if mode else "no_energy_service")


@pytest.mark.parametrize("option", types.PaymentOption)
def test_external_payment_has_to_be_allowed(option: types.PaymentOption) -> None:
    bench = Bench2(replace(DC, authorization=AuthorizationConfig()), scale=20)
    bench.charger.payment = (option,)
    bench.run()
    assert bench.closed == "no_payment_option"
    assert bench.names()[-1] == "SessionStopReq"


@pytest.mark.long
def test_a_customer_may_take_longer_than_other_ongoing_answers(dc: Bench2) -> None:
    dc.charger.customer = True
    dc.charger.ongoing["AuthorizationReq"] = 1_000_000
    began = dc.now
    dc.run(most=20_000)
    dc.assert_safe("authorization_timeout")
    assert dc.now - began == pytest.approx(300, abs=0.2)


# -- renegotiation ---------------------------------------------------------------------------------------------------


def test_the_charger_asks_for_other_parameters(bench: Bench2) -> None:
    in_loop(bench)
    bench.charger.renegotiate = 1
    bench.charger.tuples = (schedule_tuple(7, PowerSchedule((Step(0, 5_000),), 86_400)),)
    bench.run()
    assert progress(bench) == ["Start", "Renegotiate", "Start", "Stop"]
    assert of(bench, common.PowerDeliveryReq)[2].sa_schedule_tuple_id == 7
    assert SetPowerLimits(5_000, 0) in bench.commands
    assert bench.closed == "finished"
    assert bench.names().count("CableCheckReq") == (2 if "CurrentDemandReq" in bench.names() else 0)


def test_a_request_for_other_parameters_that_stays_is_followed_once(bench: Bench2) -> None:
    """For a minute: the contactor of direct current opens each time."""
    in_loop(bench)
    bench.charger.renegotiate = 1_000_000
    bench.run()
    assert progress(bench) == ["Start", "Renegotiate", "Start", "Stop"]
    assert bench.closed == "finished"


def test_a_charger_that_stays_at_it_gets_other_parameters_again_after_a_minute() -> None:
    bench = Bench2(replace(DC, program=(ProgramStep(do="charge", for_s=90),)), scale=20)
    bench.charger.renegotiate = 1_000_000
    bench.run()
    assert progress(bench) == ["Start", "Renegotiate", "Start", "Renegotiate", "Start", "Stop"]


def test_direct_current_opens_the_contactor_before_the_cable_is_checked_again(dc: Bench2) -> None:
    dc.charger.renegotiate = 1
    dc.run_to("CurrentDemandReq")
    dc.run(lambda: dc.names().count("CableCheckReq") == 2)
    assert not dc.contactor_closed
    pilots = [each.state for each in dc.commands if isinstance(each, SetCpState)]
    assert pilots == [PilotState.C, PilotState.B, PilotState.C]
    dc.run()
    assert dc.model.state.charged_mwh == pytest.approx(107_000, rel=0.1)  # the program goes on where it was


def test_new_needs_ask_for_a_new_schedule(bench: Bench2) -> None:
    bench.run(lambda: bool(bench.unanswered) and bench.names()[-1] in ("CurrentDemandReq", "ChargingStatusReq"))
    bench.fact(NeedsChanged(departure_ms=T0 + 7_200_000, target_soc=90))
    bench.run()
    assert progress(bench) == ["Start", "Renegotiate", "Start", "Stop"]
    first, second = of(bench, common.ChargeParameterDiscoveryReq)
    assert second.ev_charge_parameter.departure_time < first.ev_charge_parameter.departure_time
    assert bench.closed == "finished"


def test_needs_of_before_the_parameters_do_not_ask_for_others(bench: Bench2) -> None:
    bench.run_to("AuthorizationReq")
    bench.fact(NeedsChanged(departure_ms=T0 + 7_200_000))
    bench.run()
    assert progress(bench) == ["Start", "Stop"]
    (only,) = of(bench, common.ChargeParameterDiscoveryReq)
    assert only.ev_charge_parameter.departure_time == 7200
    assert bench.closed == "finished"


@pytest.mark.long
def test_a_schedule_that_ends_asks_for_another_one() -> None:
    bench = Bench2(replace(DC, program=(ProgramStep(do="charge", energy_wh=10_000),)), scale=20)
    bench.charger.tuples = (schedule_tuple(1, PowerSchedule((Step(0, 16_000),), 900)),)
    bench.run()
    assert bench.closed == "finished"
    assert progress(bench).count("Renegotiate") == 2
    assert bench.seen("schedule", "renegotiating")


def test_the_owner_may_stop_while_parameters_are_exchanged_again(bench: Bench2) -> None:
    bench.charger.renegotiate = 1
    bench.run(lambda: progress(bench) == ["Start", "Renegotiate"])
    bench.fact(StopRequested("owner"))
    bench.run()
    assert bench.closed == "finished"
    assert not bench.contactor_closed
    assert progress(bench)[-1] == "Stop"


# -- pause -----------------------------------------------------------------------------------------------------------


PAUSING = (
    ProgramStep(do="charge", energy_wh=50),
    ProgramStep(do="wait", for_s=600, pause=True),
    ProgramStep(do="charge", energy_wh=50),
)


@pytest.mark.parametrize("config", [DC, AC])
def test_a_pause_is_resumed_with_the_same_values(config: SessionConfig) -> None:
    first = Bench2(replace(config, program=PAUSING), scale=20)
    first.run()
    assert first.closed == "paused"
    assert first.requests[-1].charging_session is types.ChargingSession.Pause
    paused = first.session.paused
    assert paused is not None
    assert paused.session_id == SESSION_ID

    second = Bench2(
        replace(config, program=PAUSING, services=ServiceConfig(energy=("AC", "DC"))), scale=20, resume=paused
    )
    second.charger.joins = True
    second.run()
    assert second.closed == "finished"
    assert second.headers[1].session_id == SESSION_ID
    assert of(second, common.ChargeParameterDiscoveryReq)[0].requested_energy_transfer_mode.name == paused.mode
    assert second.seen("session", "joined")


def test_a_charger_that_forgot_the_pause_begins_a_new_session() -> None:
    bench = Bench2(DC, scale=20, resume=PausedSession(b"12345678", "AC_three_phase_core", contract=False))
    bench.run()
    assert bench.closed == "finished"
    assert of(bench, common.ChargeParameterDiscoveryReq)[0].requested_energy_transfer_mode.name == "DC_extended"


@pytest.mark.parametrize("stays", [True, False])
def test_the_program_goes_on_at_a_charger_that_forgot_the_pause_unless_the_vehicle_was_away(stays: bool) -> None:
    first = Bench2(replace(DC, program=PAUSING), scale=20)
    first.run()
    second = Bench2(replace(DC, program=PAUSING), scale=20, resume=first.session.paused, stays=stays)
    second.run()
    assert second.closed == ("finished" if stays else "paused")
    assert second.seen("power", "wish")[0]["step"] == (2 if stays else 0)
    assert second.seen("session", "established")


@pytest.mark.parametrize("resume", [None, PausedSession(b"12345678", "DC_extended", contract=False)])
def test_a_session_that_was_never_paused_cannot_be_joined(resume: PausedSession | None) -> None:
    bench = Bench2(DC, scale=20, resume=resume)
    bench.charger.joins = True
    bench.run()
    bench.assert_safe("joined_unknown_session")


@pytest.mark.parametrize("early", [True, False])
def test_the_owner_may_pause_once_energy_flows(bench: Bench2, early: bool) -> None:
    """Before that there is nothing to resume."""
    if early:
        bench.run_to("PaymentServiceSelectionReq")
    else:
        in_loop(bench)
    bench.fact(StopRequested("owner", pause=True))
    bench.run()
    assert bench.closed == ("finished" if early else "paused")
    assert (bench.session.paused is None) is early


def test_a_schedule_and_a_pause_do_not_move_when_the_clock_is_set() -> None:
    bench = Bench2(replace(DC, program=(ProgramStep(do="wait", for_s=60), *PAUSING)), scale=20)
    bench.charger.tuples = (schedule_tuple(1, PowerSchedule((Step(0, 5_000), Step(43_200, 16_000)), 86_400)),)
    in_loop(bench)
    bench.set_ms = 50_000_000
    bench.run()
    assert bench.closed == "paused"
    wishes = [each["charge_w"] for each in bench.seen("power", "wish")]
    assert max(wishes) == 5_000
    paused = bench.session.paused
    assert paused is not None
    assert paused.progress is not None
    assert paused.progress.since_ms == pytest.approx(bench.utc_ms, abs=5_000)


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ChargeParameterDiscoveryReq", "PowerDeliveryReq", "ChargingStatusReq"])
def test_a_charger_of_alternating_current_may_stop(ac: Bench2, name: str) -> None:
    ac.charger.stop, ac.charger.stop_in = Stop.REQUESTED, frozenset({name})
    ac.run()
    assert ac.closed == "finished"
    assert ac.names()[-1] == "SessionStopReq"
    assert ac.charger.current == 0


@pytest.mark.parametrize("name", ["ChargeParameterDiscoveryReq", "ChargingStatusReq"])
def test_a_residual_current_ends_the_session(ac: Bench2, name: str) -> None:
    ac.run_to(name)
    ac.charger.rcd = True
    ac.run()
    assert ac.closed == "evse_rcd_fault"


@pytest.mark.parametrize("mode", types.EnergyTransferMode)
def test_the_other_kind_of_parameters_ends_the_session(bench: Bench2, mode: types.EnergyTransferMode) -> None:
    bench.run_to("ChargeParameterDiscoveryReq")
    request = bench.unanswered.pop()
    other = request.requested_energy_transfer_mode.name[:2] != mode.name[:2]
    bench.reply(bench.charger.ChargeParameterDiscoveryReq(replace(request, requested_energy_transfer_mode=mode)))
    assert bench.closed == ("wrong_charge_parameters" if other else "")


@pytest.mark.parametrize("fault", [False, True])
def test_a_charger_may_stop_instead_of_a_renegotiation(bench: Bench2, fault: bool) -> None:
    """It says so in the answer to PowerDeliveryReq (Renegotiate), and only there."""
    bench.charger.renegotiate = 1
    again = types.ChargeProgress.Renegotiate
    bench.run(lambda: bool(bench.unanswered) and getattr(bench.unanswered[0], "charge_progress", None) is again)
    alternating = bench.session.family.value.startswith("AC")
    if fault and alternating:
        bench.charger.rcd = True
    else:
        bench.charger.stop = Stop.EMERGENCY if fault else Stop.REQUESTED
    bench.charger.stop_in = frozenset({"PowerDeliveryReq"})
    bench.step()
    bench.charger.stop, bench.charger.rcd = None, False
    bench.run()
    reason = "evse_rcd_fault" if alternating else "evse_emergency_shutdown"
    assert bench.closed == (reason if fault else "finished")
    assert bench.names()[-2:] == ["PowerDeliveryReq" if alternating else "WeldingDetectionReq", "SessionStopReq"]
    assert bench.requests[-1 - (not alternating) - 1].charge_progress is types.ChargeProgress.Stop


# -- prices ----------------------------------------------------------------------------------------------------------


def test_the_profile_charges_where_it_is_cheapest() -> None:
    bench = Bench2(PLAN, scale=600)
    bench.charger.tuples = (offer(1, 11_000, CHEAP_LATER),)
    bench.run_to("CurrentDemandReq")
    profile = planned(of(bench, common.PowerDeliveryReq)[0].charging_profile)
    assert profile is not None
    assert profile.power_at(0) == 0
    assert profile.power_at(2 * HOUR) == 11_000
    assert exceeds(profile, PowerSchedule((Step(0, 11_000),), 86_400)) is None
    assert milliamperes(bench.requests[-1].ev_target_current) == 0
    bench.run(most=50_000)
    assert bench.closed == "finished"
    assert bench.model.state.soc == pytest.approx(70, abs=1)


def test_the_cheaper_of_two_schedules_is_selected() -> None:
    bench = Bench2(PLAN, scale=600)
    bench.charger.tuples = (offer(1, 22_000, (PriceStep(0, 9),)), offer(2, 11_000, (PriceStep(0, 2),)))
    bench.run_to("CurrentDemandReq")
    assert of(bench, common.PowerDeliveryReq)[0].sa_schedule_tuple_id == 2


@pytest.mark.parametrize("config", [PLAN, DC], ids=["plan", "charge"])
def test_of_two_schedules_with_the_same_id_the_first_one_counts(config: Any) -> None:
    """A charger that looks the id up finds that one: a profile by the other was above it, and refused."""
    bench = Bench2(config, scale=600)
    bench.charger.tuples = (offer(1, 11_000, (PriceStep(0, 9),)), offer(1, 22_000, (PriceStep(0, 2),)))
    bench.run_to("CurrentDemandReq")
    profile = planned(of(bench, common.PowerDeliveryReq)[0].charging_profile)
    assert profile is not None
    assert exceeds(profile, PowerSchedule((Step(0, 11_000),), 86_400)) is None


def test_without_a_plan_the_schedule_with_the_most_energy_is_selected(dc: Bench2) -> None:
    dc.charger.tuples = (offer(1, 11_000, (PriceStep(0, 1),)), offer(2, 22_000, (PriceStep(0, 5),)))
    dc.run_to("CurrentDemandReq")
    start = of(dc, common.PowerDeliveryReq)[0]
    assert start.sa_schedule_tuple_id == 2
    assert watts(start.charging_profile.profile_entry[0].charging_profile_entry_max_power) == 22_000


def test_unsigned_prices_may_be_refused_and_are_then_ignored() -> None:
    planning = replace(SessionConfig().planning, unsigned_prices="refuse")
    bench = Bench2(replace(PLAN, planning=planning), scale=600)
    bench.charger.tuples = (offer(1, 11_000, CHEAP_LATER),)
    bench.run_to("CurrentDemandReq")
    assert bench.seen("schedule", "prices_ignored")
    profile = planned(of(bench, common.PowerDeliveryReq)[0].charging_profile)
    assert profile is not None
    assert profile.power_at(0) == 11_000
