"""AC DER of Amendment 1 at a charge point: its services, messages and order (R221)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests.exi.vectors import FOLDER
from tests.secc.session.bench import AC, AC_BPT, AC_DER, AC_DER_WAYS, REQUESTS, Bench, each_phase, number, protocol
from tests.secc.session.d20.ac import UNSIGNED, expect_order, target, watts
from tests.together import together
from v2g.energy.grid_support import (
    FactorSetpoint,
    GridSupport,
    ReactiveSetpoint,
    RideThrough,
    SupportCurve,
    VoltageSupport,
)
from v2g.energy.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.energy.settlement.records import GridSupportGiven
from v2g.exi import decode
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import ac, ac_der_iec
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.schemas import AC_DER_IEC
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g_station.blocks.smart_charging.ev_needs import needs_request

SUPPORT = GridSupport(
    volt_watt=VoltageSupport(start_v=248, stop_v=253),
    volt_var=SupportCurve(points=((214, 4800), (223, 0))),
    watt_cos_phi=SupportCurve(points=((0, 1.0), (11_000, -0.9))),
    q_setpoint=ReactiveSetpoint(var=900),
)
LIVE = [state for state in AC_DER_WAYS if state is not State.ENDED]
NAMESPACE = "urn:iso:std:iso:15118:-20:AC-DER-IEC"
NAMESPACES_OF_AC = (NAMESPACE, "urn:iso:std:iso:15118:-20:AC", "urn:iso:std:iso:15118:-20:AC-DER-SAE")

Make = Callable[..., Bench]


def on_der(make_bench: Make, *, scheduled: bool = False, service: int = AC_DER, **config: Any) -> Bench:
    """Return a bench whose vehicle will choose AC DER."""
    modes = (ControlMode.SCHEDULED,) if scheduled else (ControlMode.DYNAMIC,)
    settings = {
        "services": (EnergyService.AC_BPT, EnergyService.AC),
        "der": "iec",
        "grid_support": SUPPORT,
        "control_modes": modes,
        "signed_discharge": UNSIGNED,
    }
    bench = make_bench(SeccConfig(**{**settings, **config}), pilot=PilotState.C)
    bench.selection, bench.scheduled = (service, 0, False), scheduled
    return bench


@pytest.mark.some(4)
@together(
    ("state", "name"), [(state, name) for state in LIVE for name in sorted(REQUESTS)], by=lambda each: each[0].value
)
def test_every_message_in_every_state(make_bench: Make, state: State, name: str) -> None:
    bench = on_der(make_bench).reach(state)
    expect_order(bench, state, name)
    own = name in ("AC_ChargeParameterDiscoveryReq", "AC_ChargeLoopReq")
    assert (bench.payload_types[-1] == PayloadType.AC_DER_IEC) == own


@pytest.mark.requirement("R221")
def test_a_set_demands_one_curve_of_reactive_power(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.SERVICE_DETAIL)
    sets = bench.go("ServiceDetailReq").service_parameter_list.parameter_set
    shown = [{each.name: each.int_value for each in offered.parameter} for offered in sets]
    assert shown[0] == {
        "Connector": 2,
        "ControlMode": 2,
        "MobilityNeedsMode": 1,
        "Pricing": 1,
        "EVSENominalVoltage": 230,
        "DERControlFunctions": 0b1001100,
    }
    assert [each["DERControlFunctions"] for each in shown] == [0b1001100, 0b1100100]
    plain = bench.send(bench.ask("ServiceDetailReq", service_id=AC)).service_parameter_list.parameter_set
    assert [each.parameter_set_id for each in plain] == [0]
    assert "DERControlFunctions" not in {each.name for each in plain[0].parameter}


@pytest.mark.parametrize(("chosen", "curve"), [(0, "volt_var"), (1, "watt_cos_phi")])
def test_the_demands_are_those_of_the_set(make_bench: Make, chosen: int, curve: str) -> None:
    bench = on_der(make_bench)
    bench.selection = (AC_DER, chosen, False)
    mode = bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY).go("AC_ChargeParameterDiscoveryReq")
    mode = mode.ac_cpd_res_energy_transfer_mode
    reactive = mode.der_control.reactive_power_support
    assert [name for name in ("volt_var", "watt_var", "watt_cos_phi") if getattr(reactive, name)] == [curve]
    assert mode.evse_nominal_discharge_power == mode.evse_maximum_discharge_power
    assert mode.ev_operating_mode is ac_der_iec.EvOperatingMode.GridFollowing
    assert mode.grid_connection_mode is ac_der_iec.GridConnectionMode.GridConnected


def test_without_functions_the_demands_are_empty(make_bench: Make) -> None:
    bench = on_der(make_bench, grid_support=GridSupport()).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.go("AC_ChargeParameterDiscoveryReq").ac_cpd_res_energy_transfer_mode
    assert mode.der_control == ac_der_iec.DERControl()


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_loop_has_targets_limits_and_the_setpoints_that_were_negotiated(make_bench: Make, scheduled: bool) -> None:
    bench = on_der(make_bench, scheduled=scheduled).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.GridSupportChanged(replace(SUPPORT, cos_phi_setpoint=FactorSetpoint(cos_phi=0.9))))
    bench.fact(ports.SetpointChanged(Setpoint(source=OPERATOR, power_w=-2_000)))
    mode = bench.go("AC_ChargeLoopReq").cl_res_control_mode
    if not scheduled:
        assert target(mode) == pytest.approx(-2_000, abs=3)
    assert watts(mode.evse_maximum_charge_power) == (0 if scheduled else 3_600)
    assert watts(mode.evse_maximum_discharge_power) == (666 if scheduled else 3_000)
    assert mode.dso_q_setpoint.dso_q_setpoint_value == number(300)
    assert mode.dso_q_setpoint.dso_q_setpoint_value_l3 == number(300)
    assert mode.dso_cos_phi_setpoint is None


def test_a_vehicle_on_three_phases_gets_the_limits_of_those_in_use(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    limit = Limit(source=SITE, charge_w=1_840, discharge_w=1_380, charge_ma=8_000, discharge_ma=6_000, version=2)
    for used, charge_w, discharge_w, var in ((1, 1_840, 1_380, 900), (3, 613, 460, 300)):
        bench.fact(ports.PhasesChanged(used))
        bench.fact(ports.GridChanged((limit,)))
        mode = bench.go("AC_ChargeLoopReq").cl_res_control_mode
        assert watts(mode.evse_maximum_charge_power) == charge_w
        assert watts(mode.evse_maximum_discharge_power) == discharge_w
        assert mode.dso_q_setpoint.dso_q_setpoint_value == number(var)
        assert (mode.evse_maximum_charge_power_l2 is None) is (used == 1)


@pytest.mark.parametrize("scheduled", [False, True])
def test_no_limit_of_a_phase_is_below_what_the_others_leave_it(make_bench: Make, scheduled: bool) -> None:
    """A vehicle that bears nothing on L3 may use all of its power on the others."""
    bench = on_der(make_bench, scheduled=scheduled).reach(State.AC_CHARGE_LOOP)
    powers = {"": 3_000, "_l2": 2_500, "_l3": 0}
    names = ("maximum_charge_power", "maximum_discharge_power")
    mode = bench.ac_loop_mode(**{f"ev_{name}{phase}": number(w) for name in names for phase, w in powers.items()})
    answer = bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=mode)).cl_res_control_mode
    for name in names:
        assert [watts(getattr(answer, f"evse_{name}{phase}")) for phase in powers] == [*powers.values()]


@pytest.mark.parametrize("negative", [False, True])
def test_the_sign_of_discharge_is_written_as_configured_and_read_by_magnitude(make_bench: Make, negative: bool) -> None:
    bench = on_der(make_bench, negative_discharge_limits=negative).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = bench.ask("AC_ChargeParameterDiscoveryReq")
    mode = replace(request.ac_cpd_req_energy_transfer_mode, **each_phase("ev_maximum_discharge_power", -3_000))
    response = bench.send(replace(request, ac_cpd_req_energy_transfer_mode=mode))
    assert (watts(response.ac_cpd_res_energy_transfer_mode.evse_maximum_discharge_power) < 0) is negative
    assert bench.events("limits")[-1]["ev_discharge_w"] == 9_000


def test_a_vehicle_may_take_its_time_to_apply_the_demands_but_not_for_ever(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = bench.ask("AC_ChargeParameterDiscoveryReq")
    mode = replace(request.ac_cpd_req_energy_transfer_mode, ev_processing=Processing.Ongoing)
    while not bench.reason and bench.now < 10_000:
        response = bench.send(replace(request, ac_cpd_req_energy_transfer_mode=mode))
        bench.pass_time(5)
    assert response.response_code.name == "FAILED"
    assert bench.reason == "ongoing_timeout"


def test_services_are_selected_again_after_finished_and_only_with_ac_der(make_bench: Make) -> None:
    """V2G20-3154, -3348."""
    bench = on_der(make_bench).reach(State.SCHEDULE_EXCHANGE)
    assert bench.go("ServiceDiscoveryReq").response_code.name == "OK"
    bench.selection = (AC, 0, False)
    bench.go("ServiceDetailReq", "ServiceSelectionReq", "AC_ChargeParameterDiscoveryReq")
    assert bench.session.state is State.SCHEDULE_EXCHANGE
    assert bench.go("ServiceDiscoveryReq").response_code.name == "FAILED_SequenceError"


FIELDS = {**each_phase("ev_maximum_charge_power", 3_600), **each_phase("ev_minimum_charge_power", 460)}
BOTH = FIELDS | each_phase("ev_maximum_discharge_power", 3_000) | each_phase("ev_minimum_discharge_power", 0)
PLAIN, BPT = ac.AC_CPDReqEnergyTransferMode(**FIELDS), ac.BPT_AC_CPDReqEnergyTransferMode(**BOTH)


@pytest.mark.parametrize("mode", [PLAIN, BPT], ids=["plain", "BPT"])
@pytest.mark.parametrize("module", [ac, ac_der_iec], ids=["0x8003", "0x8010"])
def test_other_parameters_are_refused_in_either_grammar(make_bench: Make, module: Any, mode: Any) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = module.AC_ChargeParameterDiscoveryReq(header=bench.header(), ac_cpd_req_energy_transfer_mode=mode)
    assert bench.send(request).response_code.name == "FAILED_WrongChargeParameter"
    assert bench.payload_types[-1] == (PayloadType.AC if module is ac else PayloadType.AC_DER_IEC)


@pytest.mark.parametrize("service", [AC, AC_BPT])
def test_messages_of_ac_der_are_refused_in_other_sessions(make_bench: Make, service: int) -> None:
    bench = on_der(make_bench, service=service).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.ask("AC_ChargeParameterDiscoveryReq").ac_cpd_req_energy_transfer_mode
    request = ac_der_iec.AC_ChargeParameterDiscoveryReq(header=bench.header(), ac_cpd_req_energy_transfer_mode=mode)
    assert bench.send(request).response_code.name == "FAILED_WrongChargeParameter"


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("module", [ac, ac_der_iec], ids=["0x8003", "0x8010"])
def test_a_plain_loop_is_refused(make_bench: Make, module: Any, scheduled: bool) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.selection, bench.scheduled = (AC_BPT, 0, False), scheduled
    mode = bench.ac_loop_mode()
    request = module.AC_ChargeLoopReq(
        header=bench.header(), meter_info_requested=False, cl_req_control_mode=mode, display_parameters=None
    )
    assert bench.send(request).response_code.name == "FAILED"
    assert bench.commands(ports.EmergencyOff)


@pytest.mark.parametrize(("der", "code"), [("iec", "OK_SuccessfulNegotiation"), (None, "Failed_NoNegotiation")])
def test_its_namespace_is_served_where_it_is_switched_on(make_bench: Make, der: Any, code: str) -> None:
    bench = on_der(make_bench, der=der)
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=(protocol(NAMESPACE),)))
    assert response.response_code.name == code
    if der is None:
        return
    bench.go("SessionSetupReq", "AuthorizationSetupReq", "AuthorizationReq")
    services = bench.go("ServiceDiscoveryReq").energy_transfer_service_list.service
    assert [each.service_id for each in services] == [AC_DER, AC_BPT, AC]


def test_a_grid_event_is_reported_at_its_edges(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    for condition in (0, 3, 3, 0):
        bench.send(
            bench.ask("AC_ChargeLoopReq", cl_req_control_mode=bench.ac_loop_mode(grid_event_condition=condition))
        )
    assert [each["condition"] for each in bench.events("grid_event")] == [3, 0]
    assert [each.begun for each in bench.commands(ports.ReportGridEvent)] == [True, False]


def test_a_grid_event_ends_with_its_loop(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=bench.ac_loop_mode(grid_event_condition=3)))
    bench.send(bench.ask("SessionStopReq"))
    assert [each.begun for each in bench.commands(ports.ReportGridEvent)] == [True, False]


def test_the_back_end_is_told_of_the_vehicles_inverter(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = bench.ask("AC_ChargeParameterDiscoveryReq")
    limits = ac_der_iec.EVReactivePowerLimits(
        ev_maximum_charge_reactive_power=number(2_000),
        ev_maximum_discharge_reactive_power=number(-1_500),
        ev_maximum_discharge_reactive_power_l2=number(-1_500),
    )
    mode = replace(
        request.ac_cpd_req_energy_transfer_mode,
        ev_reactive_power_limits=limits,
        ev_session_total_discharge_energy_available=number(12_000),
    )
    bench.send(replace(request, ac_cpd_req_energy_transfer_mode=mode))
    bench.go("ScheduleExchangeReq")
    (report,) = bench.commands(ports.ReportChargingNeeds)
    told = needs_request(1, report.needs, 0, "2.1").charging_needs
    assert told.requested_energy_transfer == "AC_DER"
    inverter = told.der_charging_parameters
    assert inverter is not None
    assert inverter.ev_supported_der_control == ("FixedVar", "VoltVar", "VoltWatt")
    assert (inverter.max_charge_reactive_power, inverter.max_discharge_reactive_power) == (2_000, 3_000)
    assert inverter.ev_session_total_discharge_energy_available == 12_000


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (GridSupport(q_setpoint=ReactiveSetpoint(var=-600)), False),
        (GridSupport(q_setpoint=ReactiveSetpoint(var=-600), cos_phi_setpoint=FactorSetpoint(cos_phi=0.9)), True),
        (GridSupport(volt_var=SupportCurve(points=((210, 2400), (220, 0)))), True),
    ],
    ids=["set-point", "one that was not selected", "curve"],
)
def test_the_operators_values_precede_and_curves_need_another_selection(
    make_bench: Make, change: GridSupport, asked: bool
) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.GridSupportChanged(GridSupport(q_setpoint=ReactiveSetpoint(var=300))))
    bench.fact(ports.GridSupportChanged(change))
    response = bench.go("AC_ChargeLoopReq")
    notified = response.evse_status is not None and response.evse_status.evse_notification.name
    assert (notified == "ServiceRenegotiation") is asked
    if not asked:
        assert response.cl_res_control_mode.dso_q_setpoint.dso_q_setpoint_value == number(-200)


def test_what_is_demanded_between_details_and_selection_needs_another_selection(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.SERVICE_SELECTION)
    bench.fact(ports.GridSupportChanged(GridSupport(dc_injection=0.5)))
    bench.go("ServiceSelectionReq", "AC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "PowerDeliveryReq")
    assert bench.go("AC_ChargeLoopReq").evse_status.evse_notification.name == "ServiceRenegotiation"


def test_values_that_were_given_beside_the_loop_are_those_of_the_vehicle(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.GridSupportChanged(GridSupport(volt_watt=VoltageSupport(start_v=250, stop_v=255))))
    for name in ("AC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "PowerDeliveryReq"):
        assert bench.send(bench.ask(name), PayloadType.SCHEDULE_RENEGOTIATION).response_code.name == "OK"
    given = [each.record for each in bench.commands(ports.Journal) if isinstance(each.record, GridSupportGiven)]
    assert [json.loads(each.values)["volt_watt"]["start_v"] for each in given] == [248, 250]


@pytest.mark.requirement("R221")
@pytest.mark.parametrize(
    ("support", "allowed"),
    [
        (GridSupport(volt_watt=VoltageSupport(start_v=250, stop_v=255)), True),
        (GridSupport(cos_phi_setpoint=FactorSetpoint(cos_phi=0.9)), True),
        (GridSupport(dc_injection=0.5), False),
        (GridSupport(under_ride_through=RideThrough(start_v=207)), False),
        (GridSupport(watt_var=SupportCurve(points=((0, 0), (9_000, 900)))), False),
    ],
    ids=["other values", "set-point", "another function", "ride-through", "another curve"],
)
def test_the_vehicles_functions_are_held_against_those_of_the_site(
    make_bench: Make, support: GridSupport, allowed: bool
) -> None:
    """At once, although the vehicle has yet to select its services again."""
    bench = on_der(make_bench, grid_support=replace(SUPPORT, watt_cos_phi=None)).reach(State.AC_CHARGE_LOOP)
    assert watts(bench.go("AC_ChargeLoopReq").cl_res_control_mode.evse_maximum_discharge_power) == 3_000
    bench.fact(ports.GridSupportChanged(support))
    mode = bench.go("AC_ChargeLoopReq").cl_res_control_mode
    assert watts(mode.evse_maximum_discharge_power) == (3_000 if allowed else 0)
    if not allowed:
        assert bench.events("limited")[-1]["discharge_limited_by"] == "no_grid_support"


# -- what a vehicle of another make may do ---------------------------------------------------------------------------

ALONE = {name: number(value) for name, value in (("ev_maximum_charge_power", 11_000), ("ev_minimum_charge_power", 0))}


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_optional_elements_may_be_missing(make_bench: Make, scheduled: bool, sign: int) -> None:
    bench = on_der(make_bench, scheduled=scheduled).reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = ac_der_iec.DER_AC_CPDReqEnergyTransferMode(
        **(FIELDS if scheduled else ALONE),
        ev_processing=Processing.Finished,
        ev_maximum_discharge_power=number(sign * 3_000),
        ev_minimum_discharge_power=number(sign * 100),
    )
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=mode))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")
    assert bench.session.state is State.AC_CHARGE_LOOP, bench.events("request_failed")
    least: dict[str, Any] = {
        "ev_present_active_power": number(0),
        "ev_maximum_discharge_power": number(sign * 3_000),
        "ev_minimum_discharge_power": number(0),
        "grid_event_condition": 255,
    }
    kind: Any = ac_der_iec.DER_Scheduled_AC_CLReqControlMode
    if not scheduled:
        kind = ac_der_iec.DER_Dynamic_AC_CLReqControlMode
        energy = ("ev_target_energy_request", "ev_maximum_energy_request", "ev_minimum_energy_request")
        least |= {**ALONE, "ev_present_reactive_power": number(0), **dict.fromkeys(energy, number(-9_000))}
    bench.fact(ports.SetpointChanged(Setpoint(source=OPERATOR, power_w=-2_000)))
    request = ac_der_iec.AC_ChargeLoopReq(
        header=bench.header(), meter_info_requested=False, cl_req_control_mode=kind(**least), display_parameters=None
    )
    answer = bench.send(request).cl_res_control_mode
    lines = 3 if scheduled else 1
    assert watts(answer.evse_maximum_discharge_power) == (2_000 // 3 if scheduled else 3_000)
    assert (answer.evse_maximum_discharge_power_l2 is None) is not scheduled
    assert answer.dso_q_setpoint.dso_q_setpoint_value == number(900 // lines)
    if not scheduled:
        assert watts(answer.evse_target_active_power) == -2_000


@pytest.mark.parametrize("uri", NAMESPACES_OF_AC)
def test_the_grammar_follows_the_payload_type_under_any_namespace_of_ac(make_bench: Make, uri: str) -> None:
    bench = on_der(make_bench)
    response = bench.send(bench.ask("SupportedAppProtocolReq", app_protocol=(protocol(uri),)))
    assert response.response_code.name == "OK_SuccessfulNegotiation"
    bench.go("SessionSetupReq", "AuthorizationSetupReq", "AuthorizationReq", "ServiceDiscoveryReq", "ServiceDetailReq")
    bench.go("ServiceSelectionReq", "AC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "PowerDeliveryReq")
    assert bench.go("AC_ChargeLoopReq").response_code.name == "OK"
    assert bench.payload_types[-1] == PayloadType.AC_DER_IEC


def test_details_may_be_asked_for_in_any_order_and_twice(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.SERVICE_DETAIL)
    for service in (AC, AC_DER, AC_BPT, AC_DER):
        assert bench.send(bench.ask("ServiceDetailReq", service_id=service)).response_code.name == "OK"
    assert bench.go("ServiceSelectionReq").response_code.name == "OK"


def test_a_vehicle_may_stand_by_and_come_back(make_bench: Make) -> None:
    bench = on_der(make_bench).reach(State.STANDBY)
    assert bench.go("AC_ChargeLoopReq").response_code.name == "OK"
    assert bench.go("PowerDeliveryReq", "AC_ChargeLoopReq").response_code.name == "OK"
    assert bench.payload_types[-1] == PayloadType.AC_DER_IEC


VECTORS = [json.loads(line) for line in (FOLDER / "iso20_ac_der_iec.jsonl").read_text().splitlines()]
ASKED = {
    "AC_ChargeParameterDiscoveryReq": State.AC_CHARGE_PARAMETER_DISCOVERY,
    "AC_ChargeLoopReq": State.AC_CHARGE_LOOP,
}


@pytest.mark.some(2)
@together(
    ("n", "vector"),
    enumerate(each for each in VECTORS if each["message"] in ASKED),
    by=lambda each: f"part {each[0] % 10}",
)
def test_whatever_another_codec_says_is_answered(make_bench: Make, n: int, vector: dict[str, str]) -> None:
    """Extreme values among it; what is refused ends the session without power."""
    bench = on_der(make_bench, scheduled="Scheduled" in vector["variant"]).reach(ASKED[vector["message"]])
    drawn: Any = decode(bytes.fromhex(vector["exi_hex"]), AC_DER_IEC)
    response = bench.send(replace(drawn, header=bench.header()), PayloadType.AC_DER_IEC)
    assert response is not None
    assert response.response_code.name.startswith("FAILED") == bool(bench.reason)
    assert not bench.reason or not bench.session.powered
