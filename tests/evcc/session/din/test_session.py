"""A vehicle's session of DIN 70121 from the handshake to the end."""

from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.ports import CloseContactor, OpenContactor, SetCpState, SetPowerLimits, StopRequested
from evcc.session.settings import NeedsConfig, ProgramStep, SessionConfig, VehicleConfig
from tests.evcc.session.din.charger import NO_SCHEDULES, DinBench
from tests.evcc.session.message_bench import SESSION_ID
from tests.together import together
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.din.messages import common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.schedules import VALUES, planned, schedule_list
from v2g.iso15118.engine.dc_status import Stop
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, watts
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, exceeds
from v2g.iso15118.engine.v2gtp import PayloadType, frame

pytestmark = pytest.mark.requirement("R15")

WHOLE = [
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "ServiceDiscoveryReq",
    "ServicePaymentSelectionReq",
    "ContractAuthenticationReq",
    "ChargeParameterDiscoveryReq",
    "CableCheckReq",
    "PreChargeReq",
    "PowerDeliveryReq",
    "CurrentDemandReq",
    "PowerDeliveryReq",
    "WeldingDetectionReq",
    "SessionStopReq",
]


@pytest.fixture
def bench() -> DinBench:
    return DinBench(scale=20)


def of(bench: DinBench, kind: type) -> list[Any]:
    return [each for each in bench.requests if type(each) is kind]


def quirks(bench: DinBench) -> list[Any]:
    return [each["quirk"] for each in bench.seen("session", "quirk_tolerated")]


def test_a_whole_session(bench: DinBench) -> None:
    bench.run()
    assert bench.names() == WHOLE
    assert bench.closed == "finished"
    assert bench.model.state.charged_mwh >= 100_000
    assert quirks(bench) == []


def test_hardware_is_commanded_in_the_safe_order(bench: DinBench) -> None:
    bench.run()
    switched = SetCpState | CloseContactor | OpenContactor | SetPowerLimits
    assert [each for each in bench.commands if isinstance(each, switched)] == [
        SetCpState(PilotState.C),
        CloseContactor(),
        SetPowerLimits(16_000, 0),
        SetPowerLimits(0, 0),  # in the loop
        SetPowerLimits(0, 0),  # with PowerDelivery
        SetCpState(PilotState.B),
        OpenContactor(),
    ]


def test_state_c_before_cable_check_and_b_before_welding_detection(bench: DinBench) -> None:
    bench.run_to("ChargeParameterDiscoveryReq")
    assert bench.commands == []
    bench.run_to("CableCheckReq")
    assert bench.commands == [SetCpState(PilotState.C)]
    bench.run_to("WeldingDetectionReq")
    assert bench.commands[-2:] == [SetCpState(PilotState.B), OpenContactor()]


def test_the_contactor_closes_once_the_voltage_at_the_inlet_matches(bench: DinBench) -> None:
    bench.charger.ongoing["PreChargeReq"] = 5
    bench.run_to("PowerDeliveryReq")
    asked = of(bench, common.PreChargeReq)
    assert len(asked) == 6
    assert {(millivolts(each.ev_target_voltage), milliamperes(each.ev_target_current)) for each in asked} == {
        (370_000, 2_000)
    }
    assert bench.seen("power", "connected") == [{"inlet_mv": 370_000, "battery_mv": 370_000}]


def test_the_mac_address_identifies_the_vehicle() -> None:
    config = SessionConfig(vehicle=VehicleConfig(mac_address="04:65:65:00:64:c3"))
    bench = DinBench(config)
    bench.run_to("ServiceDiscoveryReq")
    (setup,) = of(bench, common.SessionSetupReq)
    assert setup.evcc_id == bytes.fromhex("0465650064c3")
    assert [each.session_id for each in bench.headers if each] == [bytes(8), SESSION_ID]
    assert bench.seen("session", "established")[0]["evse_id"] == "49*89*6360"


def test_a_derived_mac_address_is_local_and_of_one_vehicle() -> None:
    one, other = VehicleConfig("WMIA").mac, VehicleConfig("WMIB").mac
    assert len(one) == len(other) == 6
    assert one != other
    assert one[0] & 3 == other[0] & 3 == 2


def test_authorization_and_parameters_are_repeated_until_finished(bench: DinBench) -> None:
    bench.charger.ongoing |= {"ContractAuthenticationReq": 7, "ChargeParameterDiscoveryReq": 3, "CableCheckReq": 4}
    bench.run()
    assert len(of(bench, common.ContractAuthenticationReq)) == 8
    assert len(of(bench, common.ChargeParameterDiscoveryReq)) == 4
    assert len(of(bench, common.CableCheckReq)) == 5
    assert bench.closed == "finished"


def test_all_fields_of_the_charge_parameters_are_sent(bench: DinBench) -> None:
    bench.run_to("CableCheckReq")
    (request,) = of(bench, common.ChargeParameterDiscoveryReq)
    sent = request.ev_charge_parameter
    assert None not in [getattr(sent, name) for name in type(sent).__struct_fields__]
    assert request.ev_requested_energy_transfer_type is types.EVRequestedEnergyTransferType.DC_extended
    assert (sent.dc_ev_status.ev_ready, sent.dc_ev_status.ev_ress_soc, sent.bulk_soc) == (False, 60, 80)
    assert watts(sent.ev_maximum_power_limit) == bench.model.state.max_charge_w


def test_the_vehicle_is_ready_from_the_cable_check_until_the_end_of_power(bench: DinBench) -> None:
    bench.run()
    ready = {
        type(each).__name__: each.dc_ev_status.ev_ready for each in bench.requests if hasattr(each, "dc_ev_status")
    }
    assert ready == {
        "CableCheckReq": True,
        "PreChargeReq": True,
        "CurrentDemandReq": True,
        "WeldingDetectionReq": False,
    }


# -- schedule and limits ---------------------------------------------------------------------------------------------


def test_the_profile_is_within_the_schedule_and_the_chargers_power(bench: DinBench) -> None:
    bench.charger.max_power_w = 12_000
    bench.run_to("CurrentDemandReq")
    start = of(bench, common.PowerDeliveryReq)[0]
    profile = planned(start.charging_profile)
    assert profile is not None
    assert exceeds(profile, PowerSchedule((Step(0, 12_000), Step(3600, 8_000)))) is None
    assert profile.steps == (Step(0, 12_000), Step(3600, 8_000))
    assert start.charging_profile.sa_schedule_tuple_id == 1
    assert start.ready_to_charge_state


def test_power_follows_the_schedule() -> None:
    bench = DinBench(replace(SessionConfig(), program=(ProgramStep(do="charge", until_soc=100),)), scale=3600)
    bench.run(lambda: bench.utc_ms > 1_700_000_000_000 + 3_700_000)
    limits = [each.charge_w for each in bench.commands if isinstance(each, SetPowerLimits)]
    assert limits == [16_000, 8_000]


@pytest.mark.parametrize("capped", [True, False])
def test_without_a_schedule_or_with_more_than_int16_holds_the_charger_limits(capped: bool) -> None:
    bench = DinBench(scale=20)
    full = PowerSchedule((Step(0, 50_000),), 86_400)
    bench.charger.schedules = schedule_list(full) if capped else NO_SCHEDULES
    bench.charger.max_power_w = 40_000
    bench.run_to("CurrentDemandReq")
    profile = of(bench, common.PowerDeliveryReq)[0].charging_profile
    assert [each.charging_profile_entry_max_power for each in profile.profile_entry] == [32_767] if capped else True
    assert (profile is None) is not capped
    assert SetPowerLimits(40_000, 0) in bench.commands


def test_a_negative_power_in_a_schedule_is_a_number_above_int16(bench: DinBench) -> None:
    """A charger of Tesla sends 63.401 kW as -2.135 kW."""
    offer = schedule_list(PowerSchedule((Step(0, 1),), 86_400))
    entry = replace(offer.sa_schedule_tuple[0].p_max_schedule.p_max_schedule_entry[0], p_max=-2135)
    schedule = replace(offer.sa_schedule_tuple[0].p_max_schedule, p_max_schedule_entry=(entry,))
    bench.charger.schedules = replace(
        offer, sa_schedule_tuple=(replace(offer.sa_schedule_tuple[0], p_max_schedule=schedule),)
    )
    bench.run_to("CurrentDemandReq")
    assert SetPowerLimits(50_000, 0) in bench.commands


def test_new_limits_in_the_loop_are_followed_at_once(bench: DinBench) -> None:
    bench.run_to("CurrentDemandReq")
    bench.step()
    bench.run_to("CurrentDemandReq")
    power = VALUES.power(5_000, Rounding.DOWN)
    current = VALUES.current(10_000, Rounding.DOWN)
    bench.altered(evse_maximum_power_limit=power, evse_maximum_current_limit=current)
    bench.pass_time(0.001)
    request = bench.unanswered[0]
    assert bench.commands[-1] == SetPowerLimits(5_000, 0)
    assert milliamperes(request.ev_target_current) == 10_000
    assert milliamperes(request.ev_target_current) * bench.model.state.voltage_mv <= 5_000_000_000


def test_a_wait_requests_no_current() -> None:
    program = (ProgramStep(do="wait", for_s=30), ProgramStep(do="charge", energy_wh=10))
    bench = DinBench(SessionConfig(program=program), scale=20)
    bench.run_to("CurrentDemandReq")
    assert milliamperes(bench.requests[-1].ev_target_current) == 0
    bench.run()
    assert bench.closed == "finished"


def test_steps_that_discharge_are_left_out() -> None:
    program = (ProgramStep(do="discharge"), ProgramStep(do="charge", energy_wh=10))
    bench = DinBench(SessionConfig(program=program), scale=20)
    bench.run()
    assert bench.closed == "finished"
    assert bench.model.state.discharged_mwh == 0


# -- ends ------------------------------------------------------------------------------------------------------------


def test_a_full_battery_ends_the_session() -> None:
    bench = DinBench(SessionConfig(program=(ProgramStep(do="charge"),)), soc=99.9, scale=60)
    bench.run()
    assert bench.closed == "finished"
    stop = of(bench, common.PowerDeliveryReq)[-1]
    assert not stop.ready_to_charge_state
    assert stop.ev_power_delivery_parameter.charging_complete
    assert bench.seen("stop", "stopping")[0]["cause"] == "program_finished"


def test_departure_ends_the_session() -> None:
    needs = NeedsConfig(departure_after_s=60)
    bench = DinBench(SessionConfig(program=(ProgramStep(do="charge"),), needs=needs), scale=20)
    bench.run()
    assert bench.seen("stop", "stopping")[0]["cause"] == "departure"
    assert bench.closed == "finished"


@together("name", [name for name in dict.fromkeys(WHOLE) if name not in WHOLE[:2]])
def test_the_owner_may_stop_at_any_time(name: str) -> None:
    bench = DinBench(scale=20)
    bench.run_to(name)
    bench.fact(StopRequested("owner"))
    bench.run()
    assert bench.closed == "finished"
    assert not bench.contactor_closed
    assert bench.requests[-1] == common.SessionStopReq()


STOPS = [
    (Stop.REQUESTED, "finished"),
    (Stop.UTILITY, "finished"),
    (Stop.EMERGENCY, "evse_emergency_shutdown"),
    (Stop.MALFUNCTION, "evse_malfunction"),
]


@pytest.mark.parametrize(("stop", "reason"), STOPS)
@pytest.mark.parametrize(
    "name", ["ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq"]
)
def test_the_charger_may_stop_by_its_status(stop: Stop, reason: str, name: str) -> None:
    bench = DinBench(scale=20)
    bench.charger.stop, bench.charger.stop_in = stop, frozenset({name})
    bench.run()
    assert bench.closed == reason
    assert not bench.contactor_closed
    assert bench.names()[-1] == "SessionStopReq"
    later = bench.names()[bench.names().index(name) + 1 :]
    assert set(later) <= {"PowerDeliveryReq", "WeldingDetectionReq", "SessionStopReq"}


@pytest.mark.parametrize("isolation", ["Fault", "Invalid"])
def test_no_voltage_on_bad_insulation(bench: DinBench, isolation: str) -> None:
    bench.charger.isolation = isolation
    bench.run()
    assert bench.closed == "insulation_fault"
    assert "PreChargeReq" not in bench.names()


def test_insulation_with_a_warning_is_good_enough(bench: DinBench) -> None:
    bench.charger.isolation = "Warning"
    bench.run()
    assert bench.closed == "finished"


@pytest.mark.parametrize(("least", "most"), [(380_000, 500_000), (150_000, 360_000)])
def test_a_charger_of_another_voltage(bench: DinBench, least: int, most: int) -> None:
    bench.charger.min_voltage_mv, bench.charger.max_voltage_mv = least, most
    bench.run()
    assert bench.closed == "incompatible_voltage"
    assert bench.names()[-2:] == ["ChargeParameterDiscoveryReq", "SessionStopReq"]


@together("mode", types.EVSESupportedEnergyTransferType)
def test_direct_current_is_requested_as_offered(mode: types.EVSESupportedEnergyTransferType) -> None:
    bench = DinBench(scale=20)
    bench.charger.mode = mode
    bench.run()
    asked = [each.ev_requested_energy_transfer_type.name for each in of(bench, common.ChargeParameterDiscoveryReq)]
    if "DC" in mode.name:
        assert len(asked) == 1
        assert asked[0] in mode.name or mode is types.EVSESupportedEnergyTransferType.DC_dual
    else:
        assert bench.closed == "no_energy_service"


def test_payment_by_contract_only_is_none(bench: DinBench) -> None:
    bench.charger.payment = (types.PaymentOption.Contract,)
    bench.run()
    assert bench.closed == "no_payment_option"


# -- quirks ----------------------------------------------------------------------------------------------------------


def test_a_short_session_id_is_sent_back_as_it_is(bench: DinBench) -> None:
    bench.charger.session_id = bytes.fromhex("01020304")
    bench.run()
    assert bench.closed == "finished"
    assert {each.session_id for each in bench.headers[2:]} == {bytes.fromhex("01020304")}
    assert quirks(bench) == ["session_id_length"]


def test_a_padded_session_id_is_the_same(bench: DinBench) -> None:
    bench.charger.session_id = bytes.fromhex("01020304")
    bench.run_to("ServiceDiscoveryReq")
    bench.charger.session_id += bytes(4)
    bench.run()
    assert bench.closed == "finished"
    assert bench.headers[-1].session_id == bytes.fromhex("01020304")


def test_an_evse_id_in_ascii(bench: DinBench) -> None:
    bench.charger.evse_id = b"ZZ00000"
    bench.run()
    assert bench.seen("session", "established")[0]["evse_id"] == "ZZ00000"
    assert quirks(bench) == ["evseid_text"]


def test_an_odd_service_id_is_selected_as_offered(bench: DinBench) -> None:
    bench.charger.service_id = 4660
    bench.run()
    assert of(bench, common.ServicePaymentSelectionReq)[0].selected_service_list.selected_service[0].service_id == 4660
    assert quirks(bench) == ["service_id"]


def test_missing_power_is_unlimited_power(bench: DinBench) -> None:
    bench.charger.max_power_w = None
    bench.run()
    assert bench.closed == "finished"
    assert quirks(bench) == ["missing_fields"]


def test_a_charger_that_is_not_ready_but_finished(bench: DinBench) -> None:
    bench.run_to("ChargeParameterDiscoveryReq")
    response = bench.answered()
    status = response.evse_charge_parameter.dc_evse_status
    not_ready = replace(status, evse_status_code=type(status.evse_status_code).EVSE_NotReady)
    bench.reply(
        replace(response, evse_charge_parameter=replace(response.evse_charge_parameter, dc_evse_status=not_ready))
    )
    bench.run()
    assert bench.closed == "finished"
    assert quirks(bench) == ["not_ready_but_finished"]


def test_slow_answers_are_waited_for(bench: DinBench) -> None:
    bench.run_to("ChargeParameterDiscoveryReq")
    bench.pass_time(5.9)
    bench.run_to("CurrentDemandReq")
    bench.pass_time(4.9)
    bench.run()
    assert bench.closed == "finished"
    assert quirks(bench) == ["slow_answer", "slow_current_demand"]


@pytest.mark.parametrize("answer", ["FAILED", "silent", "gone", "garbage"])
def test_welding_detection_that_fails_ends_the_session_anyway(bench: DinBench, answer: str) -> None:
    bench.run_to("WeldingDetectionReq")
    match answer:
        case "FAILED":
            bench.altered(response_code=types.ResponseCode.FAILED)
        case "silent":
            bench.pass_time(2.1)
        case "gone":
            bench.session.receive_eof(bench.now, bench.utc_ms)
            bench.pump()
        case _:
            bench.receive(frame(PayloadType.SAP, b"\xff" * 8))
    bench.assert_safe("finished")
    assert quirks(bench) == ["welding_detection"]


def test_a_voltage_that_stays_is_reported(bench: DinBench) -> None:
    bench.run_to("WeldingDetectionReq")
    bench.charger.voltage = 300.0
    bench.run()
    assert bench.closed == "finished"
    assert len(of(bench, common.WeldingDetectionReq)) > 50
    assert bench.seen("stop", "welding_suspected") == [{"voltage_mv": 300_000}]
