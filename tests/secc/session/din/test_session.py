"""A DIN 70121 session from the handshake to the end: what is asked, answered, metered and reported."""

from typing import Any

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import EnergyService
from secc.session.din.session import Din
from tests.secc.session.din.bench import CONFIG, DinBench, amperes, selected, volts, watts
from tests.secc.session.din.conftest import MakeDin
from tests.secc.session.message_bench import OTHER_MAKE
from tests.secc.session.message_bench import protocol as any_protocol
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.schedules import power_schedules
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.quirks import VehicleQuirks
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.smart_charging.smart_charging import ProfileTaken

pytestmark = pytest.mark.requirement("R15")


def protocol(namespace: str = DIN.uri, *numbers: int, **changes: int) -> Any:
    return any_protocol(namespace, *numbers, **changes)


def code(response: Any) -> str:
    return str(response.response_code.name)


def status(response: Any) -> tuple[str, str, str]:
    each = getattr(response, "dc_evse_status", None) or response.evse_status
    return each.evse_status_code.value, each.evse_isolation_status.value, each.evse_notification.value


def test_a_session_by_the_book(din: DinBench) -> None:
    assert din.go("SupportedAppProtocolReq").schema_id == 1
    setup = din.go("SessionSetupReq")
    assert code(setup) == "OK_NewSessionEstablished"
    assert setup.evse_id == b"DEV2GE00001"
    assert len(din.session.session_id) == 8
    services = din.go("ServiceDiscoveryReq")
    assert services.payment_options.payment_option == (types.PaymentOption.ExternalPayment,)
    assert services.charge_service.energy_transfer_type.value == "DC_extended"
    assert code(din.go("ServicePaymentSelectionReq")) == "OK"
    assert din.go("ContractAuthenticationReq").evse_processing.value == "Finished"
    parameters = din.go("ChargeParameterDiscoveryReq")
    assert status(parameters.evse_charge_parameter) == ("EVSE_Ready", "Invalid", "None")
    (schedule,) = power_schedules(parameters.sa_schedules).values()
    assert schedule.power_at(0) == 32_767, "int16 holds no more of the site's 40 kW"
    assert schedule.end_s == 86_400
    assert parameters.evse_charge_parameter.evse_maximum_power_limit == watts(40_000)
    assert status(din.go("CableCheckReq")) == ("EVSE_Ready", "Valid", "None")
    din.go("PreChargeReq")
    assert din.go("PreChargeReq").evse_present_voltage == volts(400)
    assert status(din.go("PowerDeliveryReq")) == ("EVSE_Ready", "Valid", "None")
    din.go("CurrentDemandReq")
    loop = din.go("CurrentDemandReq")
    assert (loop.evse_present_current, loop.evse_present_voltage) == (amperes(20), volts(400))
    assert loop.evse_maximum_power_limit == watts(20_000)
    assert status(din.stop()) == ("EVSE_Shutdown", "Valid", "None")
    din.fact(ports.PilotChanged(PilotState.B))
    assert code(din.go("WeldingDetectionReq")) == "OK"
    assert code(din.go("WeldingDetectionReq")) == "OK"
    assert code(din.go("SessionStopReq")) == "OK"
    assert not din.reason, "the vehicle closes first"
    din.pass_time(2.0)
    assert din.reason == "finished"
    assert {each.session_id for each in din.headers} == {din.session.session_id}
    assert not din.session.powered


def test_journal_and_transaction_are_those_of_any_edition(din: DinBench) -> None:
    din.reach(State.ENDED)
    assert din.records()[0] == "SessionStarted"
    assert [type(each).__name__ for each in din.commands() if type(each).__name__.startswith("Transaction")] == [
        "TransactionStarted",
        "TransactionUpdated",
        "TransactionUpdated",
        "TransactionEnded",
    ]
    (started,) = din.commands(ports.TransactionStarted)
    assert started.evcc_id == "0465650064C3"
    readings = [each.reason for each in din.commands(ports.RecordMeter)]
    assert readings == ["begin", "direction", "direction", "stop"]
    (ended,) = din.commands(ports.TransactionEnded)
    assert (ended.reason, ended.stopped_reason, ended.soc) == ("vehicle", "StoppedByEV", 40)
    assert len(din.commands(ports.CloseJournal)) == 1


def test_the_back_end_gets_the_vehicles_needs(make_din: MakeDin) -> None:
    din = make_din(can_plan=True)
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    assert din.go("ChargeParameterDiscoveryReq") is None
    (report,) = din.commands(ports.ReportChargingNeeds)
    assert report.needs.service == "DC"
    assert (report.needs.soc, report.needs.target_soc, report.needs.target_energy_wh) == (40, 100, 20_000)
    assert (report.needs.max_charge_w, report.needs.max_discharge_w) == (20_000, 0)
    din.pass_time(0.5)
    assert din.responses[-1].evse_processing.value == "Ongoing"
    assert din.session.state is State.CHARGE_PARAMETER_DISCOVERY
    din.post(din.ask("ChargeParameterDiscoveryReq"))
    din.fact(ports.ChargingNeedsAnswered("Accepted"))
    din.fact(ProfileTaken(evse_id=1))
    assert din.responses[-1].evse_processing.value == "Finished"
    assert len(din.commands(ports.ReportChargingNeeds)) == 1
    assert din.records().count("SessionStarted") == 1


def test_a_back_end_that_rejects_the_transfer_ends_the_session(make_din: MakeDin) -> None:
    din = make_din(can_plan=True)
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    din.post(din.ask("ChargeParameterDiscoveryReq"))
    din.fact(ports.ChargingNeedsAnswered("Rejected"))
    assert code(din.responses[-1]) == "FAILED"
    assert din.commands(ports.TransactionEnded)[0].stopped_reason == "ReqEnergyTransferRejected"


@pytest.mark.parametrize("allowed", [frozenset({1}), frozenset({2})])
def test_a_back_end_that_allows_no_direct_current(din: DinBench, allowed: frozenset[int]) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    din.fact(ports.EnergyTransferAllowed(allowed))
    assert code(din.go("ChargeParameterDiscoveryReq")) == ("OK" if 2 in allowed else "FAILED")


def test_authorisation_is_polled_and_must_come_in_time(din: DinBench) -> None:
    del din.auto[ports.AuthorizeExternally]
    din.reach(State.AUTHORIZATION)
    asked = din.now
    while not din.reason and din.now < asked + 70:
        if din.go("ContractAuthenticationReq") is None:
            din.pass_time(0.5)
        if code(din.responses[-1]) != "OK":
            break
        assert din.responses[-1].evse_processing.value == "Ongoing"
        assert not din.commands(ports.TransactionStarted)
    assert code(din.responses[-1]) == "FAILED"
    assert 54.0 < din.now - asked < 56.0
    assert len(din.commands(ports.AuthorizeExternally)) == 1
    din.pass_time(2.0)
    assert din.reason == "ongoing_timeout"


@pytest.mark.parametrize("how", list(AuthorizationStatus))
def test_the_decision_is_the_answer(din: DinBench, how: AuthorizationStatus) -> None:
    din.auto[ports.AuthorizeExternally] = lambda c: ports.AuthorizationDecided(c.attempt, how)
    din.reach(State.AUTHORIZATION)
    accepted = how is AuthorizationStatus.ACCEPTED
    assert code(din.go("ContractAuthenticationReq")) == ("OK" if accepted else "FAILED")
    assert len(din.commands(ports.TransactionStarted)) == accepted


def test_a_stop_while_the_customer_is_awaited_is_a_refusal(din: DinBench) -> None:
    del din.auto[ports.AuthorizeExternally]
    din.reach(State.AUTHORIZATION)
    din.post(din.ask("ContractAuthenticationReq"))
    din.fact(ports.StopRequested("remote"))
    assert code(din.responses[-1]) == "FAILED"
    assert not din.commands(ports.TransactionStarted)


def test_an_answer_to_an_earlier_question_does_not_authorise(din: DinBench) -> None:
    del din.auto[ports.AuthorizeExternally]
    din.reach(State.AUTHORIZATION)
    din.post(din.ask("ContractAuthenticationReq"))
    din.fact(ports.AuthorizationDecided(7, AuthorizationStatus.ACCEPTED))
    assert len(din.responses) == 4


# -- negotiation and selection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        ((protocol(),), "OK_SuccessfulNegotiation"),
        ((protocol(minor=1),), "OK_SuccessfulNegotiationWithMinorDeviation"),
        ((protocol(major=1),), "Failed_NoNegotiation"),
        ((protocol("urn:iso:15118:2:2013:MsgDef"),), "Failed_NoNegotiation"),
        (
            (protocol("urn:tesla:din:2018:MsgDef", 0, 7, 2, 1), protocol(schema=1, rank=2)),
            "OK_SuccessfulNegotiation",
        ),
    ],
)
def test_the_handshake(din: DinBench, offered: tuple[Any, ...], answer: str) -> None:
    response = din.send(din.ask("SupportedAppProtocolReq", app_protocol=offered))
    assert code(response) == answer
    assert response.schema_id == (1 if answer.startswith("OK") else None)
    assert din.reason == ("" if answer.startswith("OK") else "Failed_NoNegotiation")


@pytest.mark.parametrize(
    ("offered", "quirks"),
    [
        ((protocol(),), []),
        ((protocol(schema=0),), ["schema_id_zero"]),
        ((protocol("urn:tesla:din:2018:MsgDef", 0, 7, 2, 1), protocol(schema=1, rank=2)), ["protocol_order"]),
        ((protocol(), protocol("urn:iso:15118:2:2013:MsgDef", schema=2, rank=2)), ["protocol_order"]),
        ((protocol(rank=2), protocol("urn:iso:15118:2:2013:MsgDef", schema=2, rank=1)), []),
    ],
)
def test_unusual_offers_are_served_and_named(din: DinBench, offered: tuple[Any, ...], quirks: list[str]) -> None:
    response = din.send(din.ask("SupportedAppProtocolReq", app_protocol=offered))
    assert response.schema_id == next(each.schema_id for each in offered if "din:70121" in each.protocol_namespace)
    assert din.quirks() == quirks


@pytest.mark.parametrize(
    ("changes", "served"),
    [
        ({}, True),
        ({"authorization": (Authorization.PnC,)}, False),
        ({"services": (EnergyService.AC,)}, False),
        ({"services": (EnergyService.AC, EnergyService.DC_BPT)}, True),
    ],
)
def test_which_chargers_serve_it(changes: dict[str, Any], served: bool) -> None:
    config = replace(CONFIG, **changes)
    assert Din().serves(protocol(), config) is served
    assert not Din().serves(protocol("urn:iso:std:iso:15118:-20:DC"), config)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"selected_payment_option": types.PaymentOption.Contract}, "FAILED_PaymentSelectionInvalid"),
        ({"selected_service_list": selected(2)}, "FAILED_ServiceSelectionInvalid"),
        ({"selected_service_list": selected(1, 77)}, "FAILED_ServiceSelectionInvalid"),
        ({"selected_service_list": selected(1, 1)}, "OK"),
    ],
)
def test_what_may_be_selected(din: DinBench, changes: dict[str, Any], answer: str) -> None:
    din.reach(State.SERVICE_SELECTION)
    assert code(din.send(din.ask("ServicePaymentSelectionReq", **changes))) == answer


def test_a_core_inlet(make_din: MakeDin) -> None:
    din = make_din(replace(CONFIG, connector=1))
    din.reach(State.SERVICE_DISCOVERY)
    assert din.go("ServiceDiscoveryReq").charge_service.energy_transfer_type.value == "DC_core"


# -- charge parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(types.EVRequestedEnergyTransferType))
def test_only_what_was_offered_may_be_requested(din: DinBench, kind: types.EVRequestedEnergyTransferType) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    response = din.send(din.ask("ChargeParameterDiscoveryReq", ev_requested_energy_transfer_type=kind))
    assert code(response) == ("OK" if kind.value == "DC_extended" else "FAILED_WrongEnergyTransferType")


@pytest.mark.parametrize(
    "changes",
    [
        {"ev_maximum_current_limit": amperes(-100)},
        {"ev_maximum_voltage_limit": volts(-1)},
        {"ev_maximum_power_limit": watts(-1)},
        {"ev_maximum_voltage_limit": volts(100)},
        {"ev_maximum_voltage_limit": amperes(400)},
    ],
)
def test_impossible_limits_are_refused(din: DinBench, changes: dict[str, Any]) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    request = din.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=din.parameters(**changes))
    assert code(din.send(request)) == "FAILED_WrongChargeParameter"


def test_parameters_of_alternating_current_are_refused(din: DinBench) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameter = types.AC_EVChargeParameter(
        departure_time=0,
        e_amount=watts(0),
        ev_max_voltage=volts(400),
        ev_max_current=amperes(16),
        ev_min_current=amperes(0),
    )
    response = din.send(din.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=parameter))
    assert code(response) == "FAILED_WrongChargeParameter"


def test_missing_fields_get_defaults(din: DinBench) -> None:
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    plain = types.PhysicalValue(multiplier=0, unit=None, value=100)
    parameter = din.parameters(
        ev_maximum_current_limit=plain, ev_maximum_power_limit=None, ev_energy_request=None, full_soc=None
    )
    assert code(din.send(din.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=parameter))) == "OK"
    assert din.session.vehicle is not None
    assert din.session.vehicle.max_charge_w == 45_000
    assert din.quirks() == ["missing_fields"]


def test_known_later_limits_are_in_the_schedule(make_din: MakeDin) -> None:
    din = make_din()
    now = din.utc_ms
    din.fact(
        ports.GridChanged(
            (Limit(source=SITE, charge_w=5_000, discharge_w=0, version=2),),
            foreseen=(Limit(source=SITE, charge_w=10_000, discharge_w=0, valid_from_ms=now + 3_600_000),),
        )
    )
    din.reach(State.CHARGE_PARAMETER_DISCOVERY)
    response = din.go("ChargeParameterDiscoveryReq")
    (schedule,) = power_schedules(response.sa_schedules).values()
    assert schedule.power_at(0) == 5_000
    assert schedule.power_at(3_700) == 10_000
    assert response.evse_charge_parameter.evse_maximum_power_limit == watts(10_000), "which vehicles keep"


# -- power ------------------------------------------------------------------------------------------------------------


def test_no_power_before_the_voltage_is_reached(din: DinBench) -> None:
    din.auto[ports.StartPreCharge] = lambda c: ports.Measured(100_000, 0)
    din.reach(State.DC_PRE_CHARGE_ONGOING)
    assert din.go("PowerDeliveryReq") is None
    din.pass_time(0.5)
    assert code(din.responses[-1]) == "FAILED_EVSEPresentVoltageToLow"
    assert not din.commands(ports.CloseContactors)
    assert din.commands(ports.EmergencyOff)


def test_the_cable_check_waits_for_state_c(din: DinBench) -> None:
    din.reach(State.DC_CABLE_CHECK)
    din.fact(ports.PilotChanged(PilotState.B))
    assert din.go("CableCheckReq") is None
    din.pass_time(1.4)
    assert not din.commands(ports.StartCableCheck)
    din.fact(ports.PilotChanged(PilotState.C))
    assert code(din.responses[-1]) == "OK"


def test_a_vehicle_that_stays_in_state_b_gets_no_voltage(din: DinBench) -> None:
    din.reach(State.DC_CABLE_CHECK)
    din.fact(ports.PilotChanged(PilotState.B))
    din.go("CableCheckReq")
    din.pass_time(1.5)
    assert code(din.responses[-1]) == "FAILED"
    assert not din.commands(ports.StartCableCheck)


@pytest.mark.parametrize("request_name", ["WeldingDetectionReq", "SessionStopReq"])
def test_after_energy_the_vehicle_shows_state_b(din: DinBench, request_name: str) -> None:
    din.fact(ports.PilotChanged(PilotState.C))
    din.reach(State.DC_WELDING_DETECTION)
    assert din.go(request_name) is None
    din.pass_time(1.5)
    assert code(din.responses[-1]) == "FAILED"


def test_a_cable_check_that_takes_long_is_polled_and_ends(din: DinBench) -> None:
    del din.auto[ports.StartCableCheck]
    din.reach(State.DC_CABLE_CHECK)
    began = din.now
    while code(din.responses[-1]).startswith("OK") and din.now < began + 60:
        din.go("CableCheckReq")
        din.pass_time(0.5)
        if code(din.responses[-1]) == "OK":
            assert status(din.responses[-1]) == ("EVSE_IsolationMonitoringActive", "Invalid", "None")
    assert 37.0 < din.now - began < 39.0
    assert din.commands(ports.EmergencyOff) == [ports.EmergencyOff("cable_check_timeout")]


def test_a_failed_cable_check(din: DinBench) -> None:
    din.auto[ports.StartCableCheck] = lambda c: ports.CableCheckFinished(passed=False)
    din.reach(State.DC_CABLE_CHECK)
    assert code(din.go("CableCheckReq")) == "FAILED"
    assert din.commands(ports.TransactionEnded)[0].stopped_reason == "Other"


def test_voltage_is_tested_up_to_the_vehicles_maximum_only(din: DinBench) -> None:
    din.reach(State.DC_PRE_CHARGE)
    assert din.commands(ports.StartCableCheck) == [ports.StartCableCheck(450_000)]
    din.send(din.ask("PreChargeReq", ev_target_voltage=volts(500)))
    assert din.commands(ports.StartPreCharge) == [ports.StartPreCharge(450_000)]


@pytest.mark.parametrize(
    ("state", "name", "reason"),
    [
        (State.DC_PRE_CHARGE, "PreChargeReq", "pre_charge_timeout"),  # V2G-DC-969
        (State.DC_WELDING_DETECTION, "WeldingDetectionReq", "welding_detection_timeout"),  # V2G-DC-925, -926
    ],
)
def test_pre_charge_and_welding_detection_last_20_s(din: DinBench, state: State, name: str, reason: str) -> None:
    din.reach(state)
    for _ in range(20):
        assert code(din.go(name)) == "OK"
        din.pass_time(0.99)
    assert not din.reason
    din.pass_time(0.21)
    assert din.reason == reason
    assert bool(din.commands(ports.EmergencyOff)) is (state is State.DC_PRE_CHARGE)


@pytest.mark.parametrize("way", ["contactor_stuck_open", "contactor_welded"])
def test_a_contactor_that_does_not_obey(din: DinBench, way: str) -> None:
    opening = way == "contactor_welded"
    din.reach(State.DC_CHARGE_LOOP if opening else State.DC_PRE_CHARGE_ONGOING)
    del din.auto[ports.OpenContactors if opening else ports.CloseContactors]
    din.post(din.ask("PowerDeliveryReq", ready_to_charge_state=not opening))
    din.pass_time(1.4)
    assert code(din.responses[-1]) == "FAILED_PowerDeliveryNotApplied"
    assert din.events("session_ended") == [{"reason": way, "session_id": din.session.session_id.hex()}]


def profile(power_w: int, tuple_id: int = 1) -> types.ChargingProfile:
    entry = types.ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=power_w)
    return types.ChargingProfile(sa_schedule_tuple_id=tuple_id, profile_entry=(entry,))


def test_the_vehicle_may_plan_its_power(din: DinBench) -> None:
    din.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=10_000, discharge_w=0, version=2),)))
    din.reach(State.DC_PRE_CHARGE_ONGOING)
    assert code(din.send(din.ask("PowerDeliveryReq", charging_profile=profile(10_000)))) == "OK"
    assert not din.quirks()
    (plan,) = din.commands(ports.ReportChargingPlan)
    assert (plan.steps, plan.dynamic) == (((0, 10_000),), False)
    assert 86_000 < plan.duration_s <= 86_400


@pytest.mark.parametrize("strict", [False, True])
def test_a_profile_above_the_schedule(make_din: MakeDin, strict: bool) -> None:
    din = make_din(replace(CONFIG, din=replace(CONFIG.din, strict=strict)))
    din.evcc_id = OTHER_MAKE
    din.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=10_000, discharge_w=0, version=2),)))
    din.reach(State.DC_PRE_CHARGE_ONGOING)
    response = din.send(din.ask("PowerDeliveryReq", charging_profile=profile(10_001)))
    assert code(response) == ("FAILED_ChargingProfileInvalid" if strict else "OK")
    assert din.quirks() == ([] if strict else ["charging_profile"])


@pytest.mark.parametrize("starts", [(0, 0), (600, 300), (600, 600)])
@pytest.mark.parametrize("powers", [(5_000, 10_001), (10_001, 5_000)])
def test_entries_of_a_profile_without_order_count_by_the_higher_power(
    din: DinBench, starts: tuple[int, int], powers: tuple[int, int]
) -> None:
    din.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=10_000, discharge_w=0, version=2),)))
    din.reach(State.DC_PRE_CHARGE_ONGOING)
    entries = tuple(
        types.ProfileEntry(charging_profile_entry_start=start, charging_profile_entry_max_power=power_w)
        for start, power_w in zip(starts, powers, strict=True)
    )
    din.send(din.ask("PowerDeliveryReq", charging_profile=replace(profile(0), profile_entry=entries)))
    assert din.quirks() == ["charging_profile"]


def test_a_schedule_that_was_not_offered(din: DinBench) -> None:
    din.reach(State.DC_PRE_CHARGE_ONGOING)
    request = din.ask("PowerDeliveryReq", charging_profile=profile(1, tuple_id=9))
    assert code(din.send(request)) == "FAILED_TariffSelectionInvalid"


# -- the loop ---------------------------------------------------------------------------------------------------------


def output(din: DinBench) -> ports.SetOutput:
    found = din.commands(ports.SetOutput)[-1]
    assert isinstance(found, ports.SetOutput)
    return found


def test_a_lower_limit_reaches_the_hardware_before_the_journal_and_the_vehicle(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    before = len(din.actions)
    din.fact(ports.GridChanged((Limit(source=SITE, charge_w=3_000, discharge_w=0, version=2),)))
    assert output(din).charge_w == 3_000
    assert isinstance(din.actions[before], ports.SetOutput)
    response = din.go("CurrentDemandReq")
    assert response.evse_maximum_power_limit == watts(3_000)
    assert response.evse_power_limit_achieved
    assert status(response) == ("EVSE_Ready", "Valid", "None"), "limits need no renegotiation"
    din.fact(ports.GridChanged((Limit(source=SITE, charge_w=30_000, discharge_w=0, version=3),)))
    assert output(din).charge_w == 20_000, "raised again, up to the vehicle's limit"


def test_the_vehicles_limits_of_the_loop_hold(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.send(din.ask("CurrentDemandReq", ev_maximum_power_limit=watts(5_000), ev_maximum_current_limit=amperes(9)))
    assert (output(din).charge_w, output(din).current_ma, output(din).discharge_w) == (5_000, 9_000, 0)
    din.go("CurrentDemandReq")
    assert output(din).charge_w == 5_000, "what is omitted stays"


@pytest.mark.parametrize(
    ("asked", "sent_ma", "quirks"),
    [(20, 20_000, []), (-5, 0, ["target_current_out_of_range"]), (301, 60_000, ["target_current_out_of_range"])],
)
def test_odd_target_currents_are_clamped(din: DinBench, asked: int, sent_ma: int, quirks: list[str]) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    response = din.send(din.ask("CurrentDemandReq", ev_target_current=amperes(asked)))
    assert code(response) == "OK"
    assert output(din).current_ma == sent_ma
    assert din.quirks()[1:] == quirks


def test_a_silent_loop_carries_no_current(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.pass_time(1.9)
    assert output(din).charge_w
    din.pass_time(0.2)
    assert output(din).charge_w == 0
    assert not din.reason
    din.go("CurrentDemandReq")
    assert output(din).charge_w == 20_000


def test_a_vehicle_that_reports_an_error_gets_no_current(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.error = "FAILED_RESSTemperatureInhibit"
    assert code(din.go("CurrentDemandReq")) == "OK"
    assert output(din).current_ma == 0
    assert din.events("vehicle_error") == [{"code": "FAILED_RESSTemperatureInhibit"}]


@pytest.mark.parametrize("reason", ["remote", "emergency_stop"])
def test_the_charger_asks_to_stop_and_ends_it_itself_in_the_end(din: DinBench, reason: str) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.fact(ports.StopRequested(reason))
    assert output(din).charge_w == 0
    response = din.go("CurrentDemandReq")
    emergency = reason == "emergency_stop"
    wanted = "EVSE_EmergencyShutdown" if emergency else "EVSE_Shutdown"
    assert status(response) == (wanted, "Valid", "None"), "V2G-DC-500"
    assert response.dc_evse_status.notification_max_delay == 0
    began = din.now
    while not din.reason and din.now < began + 70:
        din.go("CurrentDemandReq")
        din.pass_time(0.25)
    assert 59 < din.now - began < 61
    assert din.reason == reason


def test_a_vehicle_that_follows_a_stop(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.fact(ports.StopRequested("remote"))
    din.go("CurrentDemandReq", "stop", "SessionStopReq")
    assert din.commands(ports.TransactionEnded)[0].stopped_reason == "Remote"
    din.pass_time(2.0)
    assert din.reason == "finished"


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (State.DC_CABLE_CHECK, "CableCheckReq"),
        (State.DC_PRE_CHARGE, "PreChargeReq"),
        (State.DC_PRE_CHARGE_ONGOING, "PowerDeliveryReq"),
    ],
)
def test_after_a_stop_nothing_brings_power(din: DinBench, state: State, name: str) -> None:
    din.reach(state)
    din.fact(ports.StopRequested("remote"))
    assert code(din.go(name)) == ("FAILED_PowerDeliveryNotApplied" if name == "PowerDeliveryReq" else "FAILED")
    assert not din.session.powered


def test_nothing_is_renegotiated(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    din.fact(ports.RenegotiationRequested())
    din.fact(ports.PauseRequested())
    assert status(din.go("CurrentDemandReq")) == ("EVSE_Ready", "Valid", "None")
    assert not din.session.scheduled
    assert not din.session.bidirectional


# -- quirks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("evcc_id", "quirks"), [(b"", ["evccid_length"]), (bytes(8), ["evccid_length"])])
def test_odd_identities_are_accepted(din: DinBench, evcc_id: bytes, quirks: list[str]) -> None:
    din.reach(State.SESSION_SETUP)
    assert code(din.send(din.ask("SessionSetupReq", evcc_id=evcc_id))) == "OK_NewSessionEstablished"
    assert din.quirks() == quirks


@pytest.mark.parametrize("first", [b"", b"\0", bytes(8), b"\1\2\3\4"])
def test_any_first_session_id(din: DinBench, first: bytes) -> None:
    din.reach(State.SESSION_SETUP)
    response = din.send(din.ask("SessionSetupReq"), session_id=first)
    assert code(response) == "OK_NewSessionEstablished"
    assert din.session.session_id not in (first, bytes(8))
    assert din.events("session_started")[0]["resumed"] == any(first)


def test_pre_charge_targets_of_the_field(din: DinBench) -> None:
    din.reach(State.DC_PRE_CHARGE)
    din.send(din.ask("PreChargeReq", ev_target_voltage=volts(-20)))
    din.send(din.ask("PreChargeReq", ev_target_voltage=volts(200)))
    assert code(din.send(din.ask("PreChargeReq", ev_target_voltage=volts(400)))) == "OK"
    assert [each.voltage_mv for each in din.commands(ports.StartPreCharge)] == [200_000, 400_000]
    assert din.quirks() == ["pre_charge_target_out_of_range", "pre_charge_target_changes"]


def test_a_quirk_is_named_once(din: DinBench) -> None:
    din.reach(State.DC_CHARGE_LOOP)
    for _ in range(3):
        din.send(din.ask("CurrentDemandReq", ev_target_current=amperes(-1)))
    assert din.quirks().count("target_current_out_of_range") == 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("state", "name", "quirk"),
    [
        (State.DC_PRE_CHARGE_ONGOING, "SessionStopReq", "early_session_stop"),
        (State.DC_CHARGE_LOOP, "SessionStopReq", "early_session_stop"),
        (State.SERVICE_DISCOVERY, "SessionStopReq", "early_session_stop"),
        (State.DC_CABLE_CHECK, "stop", "early_power_stop"),
        *(
            (state, "stop", "early_power_stop")
            for state in (State.SERVICE_DISCOVERY, State.AUTHORIZATION, State.CHARGE_PARAMETER_DISCOVERY)
        ),
    ],
)
def test_stops_where_the_text_has_none(make_din: MakeDin, strict: bool, state: State, name: str, quirk: str) -> None:
    din = make_din(replace(CONFIG, din=replace(CONFIG.din, strict=strict)))
    din.error, din.evcc_id = "FAILED_ChargerConnectorLockFault", OTHER_MAKE
    din.reach(state)
    assert code(din.go(name)) == ("FAILED_SequenceError" if strict else "OK")
    assert (quirk in din.quirks()) is not strict
    assert not din.session.powered
    if name == "stop" and not strict:
        assert code(din.go("WeldingDetectionReq", "SessionStopReq")) == "OK"
        din.pass_time(2.0)
        assert din.reason == "finished"


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("evcc_id", "own", "tolerated"),
    [
        ("0465650064C3", (), True),
        ("0465650064C3", (VehicleQuirks("046565", ()),), False),
        ("0465AA0064C3", (VehicleQuirks("0465", ("early_power_stop",)),), True),
    ],
)
def test_quirks_are_tolerated_by_the_beginning_of_the_evccid(
    make_din: MakeDin, strict: bool, evcc_id: str, own: tuple[VehicleQuirks, ...], tolerated: bool
) -> None:
    din = make_din(replace(CONFIG, din=replace(CONFIG.din, strict=strict), vehicle_quirks=own))
    din.go("SupportedAppProtocolReq")
    din.send(din.ask("SessionSetupReq", evcc_id=bytes.fromhex(evcc_id)))
    din.go("ServiceDiscoveryReq")
    assert code(din.go("stop")) == ("OK" if tolerated else "FAILED_SequenceError")


def test_frames_without_a_message_are_ignored_twice(din: DinBench) -> None:
    din.reach(State.SERVICE_DISCOVERY)
    for _ in range(2):
        din.raw(frame(PayloadType.SAP, b""))
    assert code(din.go("ServiceDiscoveryReq")) == "OK"
    din.raw(frame(PayloadType.COMMON, b"\0"))
    assert din.reason == "undecodable"


# -- failures ---------------------------------------------------------------------------------------------------------


def test_after_a_failure_the_vehicle_may_end_the_session(din: DinBench) -> None:
    din.reach(State.SERVICE_SELECTION)
    request = din.ask("ServicePaymentSelectionReq", selected_service_list=selected(9))
    assert code(din.send(request)) == "FAILED_ServiceSelectionInvalid"
    assert not din.reason
    assert code(din.go("SessionStopReq")) == "OK"
    assert din.reason == "FAILED_ServiceSelectionInvalid"


def test_after_a_failure_nothing_else_is_served(din: DinBench) -> None:
    din.reach(State.SERVICE_SELECTION)
    din.send(din.ask("ServicePaymentSelectionReq", selected_service_list=selected(9)))
    assert code(din.go("ContractAuthenticationReq")) == "FAILED_SequenceError"
    assert din.reason == "FAILED_ServiceSelectionInvalid"


def test_only_this_edition_is_spoken_after_the_handshake(din: DinBench) -> None:
    din.reach(State.SESSION_SETUP)
    assert DIN.uri.startswith("urn:din")
    assert code(din.go("SupportedAppProtocolReq")) == "Failed_NoNegotiation"
    assert din.reason == "FAILED_SequenceError"
