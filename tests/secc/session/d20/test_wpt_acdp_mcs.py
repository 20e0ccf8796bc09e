"""Without a plug in a hand: wireless power, pantographs, and the megawatt connector."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, EvseRating, NeighbourDevice, SeccConfig, WptRating
from secc.session.d20.stages import HANDLERS
from tests.secc.session.bench import ACDP, ACDP_BPT, ACDP_WAYS, MCS, MCS_BPT, REQUESTS, WPT, WPT_WAYS, Bench, number
from v2g.energy.limits import SITE, GridResponse, Limit
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import acdp, wpt
from v2g.iso15118.d20.messages import wpt_positioning as place
from v2g.iso15118.d20.messages.common_messages import Authorization, ChargeProgress, ChargingSession
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine.sequence import State, accepts
from v2g.iso15118.engine.v2gtp import PayloadType

Make = Callable[..., Bench]
WIRELESS = [state for state in WPT_WAYS if state is not State.ENDED]
AUTOMATIC = [state for state in ACDP_WAYS if state is not State.ENDED]


def of(make_bench: Make, service: int, *, leaf: bytes = b"", **config: Any) -> Bench:
    """Return a bench whose vehicle will choose that service, and has shown this certificate."""
    settings = {"services": (EnergyService(service),), "control_modes": (ControlMode.DYNAMIC,), **config}
    bench = make_bench(SeccConfig(**settings), vehicle_certificate=leaf)
    bench.selection = (service, 0, EnergyService(service).bidirectional)
    return bench


def reported(bench: Bench) -> dict[str, int | None]:
    """Return the parameters of the chosen service."""
    bench.selection = (*bench.selection[:2], False)
    (offered,) = bench.reach(State.SERVICE_DETAIL).go("ServiceDetailReq").service_parameter_list.parameter_set
    return {each.name: each.int_value for each in offered.parameter}


def change(bench: Bench, **changes: Any) -> None:
    bench.fact(bench.device(**changes))


# -- MCS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [MCS, MCS_BPT])
def test_megawatts_are_dc_with_a_connector_and_numbers_of_their_own(make_bench: Make, service: int) -> None:
    rating = EvseRating(max_charge_power_w=3_750_000, max_charge_current_a=3000, max_voltage_v=1250)
    bench = of(make_bench, service, rating=rating, mcs_connector=4)
    parameters = reported(bench)
    assert parameters["Connector"] == 4
    assert ("BPTChannel" in parameters) is (service == MCS_BPT)
    bench = of(make_bench, service, rating=rating).reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.go("DC_ChargeParameterDiscoveryReq").dc_cpd_res_energy_transfer_mode
    assert mode.evse_maximum_charge_power.value * 10**mode.evse_maximum_charge_power.exponent == 3_750_000
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    assert bench.session.state is State.DC_CHARGE_LOOP


# -- WPT ----------------------------------------------------------------------------------------------------------


def test_a_wireless_session_sends_what_the_vehicle_asks_within_all_limits(make_bench: Make) -> None:
    bench = of(make_bench, WPT).reach(State.WPT_CHARGE_LOOP)
    assert bench.commands(ports.SetWptOutput)[-1] == ports.SetWptOutput(charge_w=7_000, power_w=6_000)
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=3_000, discharge_w=0, version=2),)))
    assert bench.commands(ports.SetWptOutput)[-1] == ports.SetWptOutput(charge_w=3_000, power_w=3_000)
    response = bench.go("WPT_ChargeLoopReq")
    assert (response.evpc_power_request, response.sd_power_input) == (number(3_000), number(3_000))
    assert bench.payload_types[-1] == PayloadType.WPT


def test_wireless_services_have_no_connector(make_bench: Make) -> None:
    assert set(reported(of(make_bench, WPT))) == {"ControlMode", "MobilityNeedsMode"}


def test_methods_are_agreed_by_the_chargers_preference(make_bench: Make) -> None:
    bench = of(make_bench, WPT, wpt=WptRating(pairing=("LF_TxEV", "Optical", "LPE")))
    bench.reach(State.WPT_FINE_POSITIONING_SETUP).go("WPT_FinePositioningSetupReq")
    assert bench.session.stage.methods == ("Manual", "Optical", "PowerCheck")
    bench = of(make_bench, WPT, wpt=WptRating(pairing=("Proprietary",))).reach(State.WPT_FINE_POSITIONING_SETUP)
    assert bench.go("WPT_FinePositioningSetupReq").response_code.name == "FAILED_AssociationError"


def test_positioning_goes_on_until_both_sides_are_content(make_bench: Make) -> None:
    bench = of(make_bench, WPT, wpt=WptRating(positioning=("LF_TxEV",)))
    bench.auto[ports.StartPositioning] = lambda command: None
    methods = place.WPT_FinePositioningMethodList(
        wpt_fine_positioning_method=(place.WPT_FinePositioningMethod.LF_TxEV,)
    )
    bench.reach(State.WPT_FINE_POSITIONING_SETUP)
    bench.send(bench.ask("WPT_FinePositioningSetupReq", ev_device_fine_positioning_method_list=methods))
    assert bench.go("WPT_FinePositioningReq").evse_processing is Processing.Ongoing
    assert bench.session.state is State.WPT_FINE_POSITIONING
    change(bench, in_place=True)
    ongoing = bench.send(bench.ask("WPT_FinePositioningReq", ev_processing=Processing.Ongoing))
    assert ongoing.evse_processing is Processing.Finished
    assert bench.session.state is State.WPT_FINE_POSITIONING
    bench.go("WPT_FinePositioningReq")
    assert bench.session.state is State.WPT_PAIRING
    assert bench.commands(ports.StartPairing)


def test_a_vehicle_above_another_device_learns_which(make_bench: Make) -> None:
    rating = WptRating(device_id=1, neighbours=(NeighbourDevice(device_id=2, ssid="bay-2", port=50000),))
    bench = of(make_bench, WPT, wpt=rating).reach(State.WPT_PAIRING)
    response = bench.send(bench.ask("WPT_PairingReq", observed_id_code=2))
    assert response.evse_processing is Processing.Ongoing
    (other,) = response.alternative_secc_list.alternative_secc
    assert (other.ssid, other.port) == ("bay-2", 50000)
    assert bench.send(bench.ask("WPT_PairingReq", observed_id_code=3)).alternative_secc_list is None
    assert bench.session.state is State.WPT_PAIRING
    bench.go("WPT_PairingReq")
    assert bench.session.state is State.WPT_CHARGE_PARAMETER_DISCOVERY


@pytest.mark.parametrize(
    ("method", "change_"), [("External confirmation", {"confirmed": True}), ("LF_TxEV", {"observed_id": 77})]
)
def test_pairing_by_what_the_charger_or_a_person_sees(make_bench: Make, method: Any, change_: dict[str, Any]) -> None:
    bench = of(make_bench, WPT, wpt=WptRating(pairing=(method,))).reach(State.WPT_FINE_POSITIONING_SETUP)
    known = place.WPT_PairingMethodList(wpt_pairing_method=(place.WPT_PairingMethod(method),))
    bench.send(bench.ask("WPT_FinePositioningSetupReq", ev_device_pairing_method_list=known))
    bench.go("WPT_FinePositioningReq")
    assert bench.go("WPT_PairingReq").evse_processing is Processing.Ongoing
    change(bench, **change_)
    response = bench.go("WPT_PairingReq")
    assert response.evse_processing is Processing.Finished
    assert response.observed_id_code == change_.get("observed_id")


@pytest.mark.parametrize(
    "wrong",
    [
        {"evpc_max_receivable_power": number(-1)},
        {"sd_min_ground_clearence": 300, "sd_max_ground_clearence": 400},
        {"sd_min_ground_clearence": 200, "sd_max_ground_clearence": 150},
        {"evpc_natural_frequency": number(20_000)},
    ],
    ids=str,
)
def test_devices_that_cannot_work_together_are_refused(make_bench: Make, wrong: dict[str, Any]) -> None:
    bench = of(make_bench, WPT).reach(State.WPT_CHARGE_PARAMETER_DISCOVERY)
    response = bench.send(bench.ask("WPT_ChargeParameterDiscoveryReq", **wrong))
    assert response.response_code.name == "FAILED_WrongChargeParameter"


def test_no_power_without_alignment(make_bench: Make) -> None:
    bench = of(make_bench, WPT)
    bench.auto[ports.CheckAlignment] = lambda command: None
    bench.reach(State.WPT_ALIGNMENT_CHECK)
    assert bench.send(bench.ask("WPT_AlignmentCheckReq")) is None  # it waits a little for the coil
    order = [type(each) for each in bench.commands() if isinstance(each, ports.RecordMeter | ports.CheckAlignment)]
    assert order == [ports.RecordMeter, ports.CheckAlignment], "energy of the check is accounted for, too"
    bench.pass_time(0.5)
    assert bench.responses[-1].evse_processing is Processing.Ongoing
    assert bench.session.state is State.WPT_ALIGNMENT_CHECK
    change(bench, aligned=True, coil_ma=20_000, alignment_w=60)
    response = bench.go("WPT_AlignmentCheckReq")
    assert (response.evse_processing, response.power_transmitted) == (Processing.Finished, number(60))
    assert bench.session.state is State.POWER_DELIVERY


def test_the_field_of_an_alignment_obeys_the_grid(make_bench: Make) -> None:
    bench = of(make_bench, WPT)
    bench.auto[ports.CheckAlignment] = lambda command: None
    bench.reach(State.WPT_ALIGNMENT_CHECK)
    bench.fact(ports.GridResponseChanged(GridResponse(ceiling_w=600)))
    bench.send(bench.ask("WPT_AlignmentCheckReq"))
    assert bench.commands(ports.CheckAlignment)[-1].power_w == 600
    bench.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0)))
    assert bench.commands(ports.CheckAlignment)[-1] == ports.CheckAlignment(0, 0)


def test_a_vehicle_that_is_not_aligned_is_refused(make_bench: Make) -> None:
    bench = of(make_bench, WPT)
    bench.auto[ports.CheckAlignment] = lambda command: bench.device(aligned=False, coil_ma=command.current_ma)
    bench.reach(State.WPT_ALIGNMENT_CHECK)
    assert bench.go("WPT_AlignmentCheckReq").response_code.name == "FAILED_AssociationError"
    assert bench.reason == "misaligned"


def test_what_lies_on_the_coil_for_too_long_ends_the_session_by_its_name(make_bench: Make) -> None:
    bench = of(make_bench, WPT, wpt=WptRating(trouble_s=1.0)).reach(State.WPT_CHARGE_LOOP)
    change(bench, trouble="SPCLOPDetected")
    bench.pass_time(0.5)
    change(bench, trouble="")
    assert bench.go("WPT_ChargeLoopReq").evse_status is None  # it was gone in time
    change(bench, trouble="SPCLOPDetected")
    for _ in range(3):
        bench.pass_time(0.4)
        status = bench.go("WPT_ChargeLoopReq").evse_status
    assert status.evse_notification.value == "Terminate"
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    bench.fact(ports.ContactorState(closed=False))
    bench.go("SessionStopReq")
    (closed,) = bench.commands(ports.CloseJournal)
    assert closed.reason == "living_object"


@pytest.mark.parametrize("state", [State.WPT_FINE_POSITIONING, State.WPT_PAIRING, State.WPT_ALIGNMENT_CHECK])
def test_a_vehicle_that_has_failed_is_believed(make_bench: Make, state: State) -> None:
    bench = of(make_bench, WPT).reach(state)
    name = WPT_WAYS[State.WPT_CHARGE_LOOP][len(WPT_WAYS[state])]
    response = bench.send(bench.ask(name, ev_result_code=wpt.WPT_EVResult.EVResultFailed))
    assert response.response_code.name == "FAILED_AssociationError"


def test_a_foreign_object_stops_power_at_once_and_the_loop_goes_on_with_a_warning(make_bench: Make) -> None:
    bench = of(make_bench, WPT).reach(State.WPT_CHARGE_LOOP)
    change(bench, trouble="SPCFODDetected")
    assert bench.commands(ports.SetWptOutput)[-1] == ports.SetWptOutput(charge_w=0, power_w=0)
    response = bench.go("WPT_ChargeLoopReq")
    assert response.response_code.name == "WARNING_WPT"
    assert response.spc_charge_diagnostics is wpt.WPT_SPCChargeDiagnostics.SPCFODDetected
    change(bench, trouble="")
    assert bench.go("WPT_ChargeLoopReq").response_code.name == "OK"
    assert bench.commands(ports.SetWptOutput)[-1].power_w == 6_000


def test_trouble_in_the_vehicle_stops_power(make_bench: Make) -> None:
    bench = of(make_bench, WPT).reach(State.WPT_CHARGE_LOOP)
    hot = wpt.WPT_EVPCChargeDiagnostics.EVPCTempOverheatDetected
    response = bench.send(bench.ask("WPT_ChargeLoopReq", evpc_charge_diagnostics=hot))
    assert response.response_code.name == "WARNING_WPT"
    assert bench.commands(ports.SetWptOutput)[-1].power_w == 0


def test_a_pilot_means_nothing_to_a_wireless_charger(make_bench: Make) -> None:
    bench = of(make_bench, WPT).reach(State.WPT_CHARGE_LOOP)
    bench.fact(ports.PilotChanged(PilotState.A))
    assert not bench.reason


@pytest.mark.parametrize(
    ("service", "state"),
    [
        (WPT, State.WPT_FINE_POSITIONING_SETUP),
        (WPT, State.WPT_PAIRING),
        (WPT, State.SCHEDULE_EXCHANGE),
        (ACDP, State.ACDP_VEHICLE_POSITIONING),
        (ACDP, State.SCHEDULE_EXCHANGE),
    ],
)
def test_a_vehicle_that_is_not_in_its_place_cannot_pause(make_bench: Make, service: int, state: State) -> None:
    """It would return to the charge parameters (V2G20-5046), and never be positioned or paired."""
    bench = of(make_bench, service, leaf=b"leaf").reach(state)
    answer = bench.send(bench.ask("SessionStopReq", charging_session=ChargingSession.Pause))
    placed = state is State.SCHEDULE_EXCHANGE
    assert answer.response_code.name == ("OK" if placed else "FAILED_PauseNotAllowed")
    assert bool(bench.commands(ports.SaveSession)) is placed


# -- ACDP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [ACDP, ACDP_BPT])
def test_a_pantograph_connects_charges_and_comes_home(make_bench: Make, service: int) -> None:
    bench = of(make_bench, service).reach(State.ENDED)
    assert [each.to_vehicle for each in bench.commands(ports.MoveDevice)] == [True, False]
    order = [type(each) for each in bench.actions]
    assert order.index(ports.MoveDevice) < order.index(ports.StartCableCheck) < order.index(ports.OpenContactors)


def test_a_vehicle_that_moves_or_stands_wrong_is_guided(make_bench: Make) -> None:
    bench = of(make_bench, ACDP)
    bench.auto[ports.StartPositioning] = lambda command: bench.device(x_cm=120, y_cm=-10)
    bench.reach(State.ACDP_VEHICLE_POSITIONING)
    bench.go("ACDP_VehiclePositioningReq")
    bench.pass_time(0.5)  # nobody came into place in the time that the answer may wait
    response = bench.responses[-1]
    assert (response.ev_relative_x_deviation, response.ev_relative_y_deviation) == (120, -10)
    assert (response.evse_processing, response.ev_in_charge_position) == (Processing.Ongoing, False)
    change(bench, x_cm=10, in_place=True)
    bench.send(bench.ask("ACDP_VehiclePositioningReq", ev_mobility_status=True))
    bench.pass_time(0.5)
    assert bench.responses[-1].evse_processing is Processing.Ongoing
    assert bench.go("ACDP_VehiclePositioningReq").evse_processing is Processing.Finished
    assert len(bench.commands(ports.StartPositioning)) == 1
    assert bench.session.state is State.DC_CHARGE_PARAMETER_DISCOVERY


def test_connecting_is_polled_and_given_up_in_time(make_bench: Make) -> None:
    bench = of(make_bench, ACDP)
    bench.auto[ports.MoveDevice] = lambda command: bench.device(mechanical="Moving")
    bench.reach(State.ACDP_CONNECT)
    polls = 0
    while not bench.reason:
        if bench.send(bench.ask("ACDP_ConnectReq")) is None:
            bench.pass_time(0.5)
        polls += 1
        bench.pass_time(1.0)
        assert polls < 100
    assert bench.responses[-1].response_code.name == "FAILED_AssociationError"
    assert bench.responses[-2].evse_processing is Processing.Ongoing
    assert bench.responses[-2].evse_mechanical_charging_device_status.value == "Moving"


def test_contacts_that_open_under_power_end_everything_at_once(make_bench: Make) -> None:
    bench = of(make_bench, ACDP).reach(State.DC_CHARGE_LOOP)
    change(bench, connected=False, mechanical="Moving")
    assert bench.reason == "device_disconnected"
    assert bench.commands(ports.EmergencyOff)


@pytest.mark.parametrize("state", [State.ACDP_VEHICLE_POSITIONING, State.ACDP_CONNECT, State.DC_CHARGE_LOOP])
def test_states_are_exchanged_beside_everything_else(make_bench: Make, state: State) -> None:
    bench = of(make_bench, ACDP).reach(state)
    response = bench.send(bench.ask("ACDP_SystemStatusReq"), PayloadType.ACDP_SYSTEM_STATUS)
    assert response.response_code.name == "OK"
    assert bench.payload_types[-1] == PayloadType.ACDP_SYSTEM_STATUS
    assert bench.session.state is state
    assert response.ev_association_status is (state is State.DC_CHARGE_LOOP)
    assert not response.evse_utility_interrupt_event


def test_a_vehicle_that_wants_nothing_is_no_interruption_by_the_utility(make_bench: Make) -> None:
    bench = of(make_bench, ACDP).reach(State.DC_CHARGE_LOOP)
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=bench.loop_mode(ev_maximum_charge_power=number(0))))
    for site_w in (10_000, 0):
        bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=site_w, discharge_w=0),)))
        response = bench.send(bench.ask("ACDP_SystemStatusReq"), PayloadType.ACDP_SYSTEM_STATUS)
        assert response.evse_utility_interrupt_event is (site_w == 0)


def test_an_emergency_that_the_vehicle_reports_beside_ends_power(make_bench: Make) -> None:
    bench = of(make_bench, ACDP).reach(State.DC_CHARGE_LOOP)
    request = bench.ask("ACDP_SystemStatusReq")
    told_ = msgspec.structs.replace(request.ev_technical_status, ev_error_code=acdp.ErrorCode.FAILED_EmergencyEvent)
    bench.send(bench.ask("ACDP_SystemStatusReq", ev_technical_status=told_), PayloadType.ACDP_SYSTEM_STATUS)
    assert bench.reason == "FAILED"
    assert bench.commands(ports.EmergencyOff)


@pytest.mark.some(11)
@pytest.mark.parametrize(
    ("service", "state"),
    [(WPT, state) for state in WIRELESS] + [(ACDP, state) for state in AUTOMATIC],
    ids=lambda value: getattr(value, "value", str(value)),
)
def test_every_message_in_every_state(make_bench: Make, service: int, state: State) -> None:
    for name in sorted(REQUESTS):
        # Only somebody with a contract can sign; to get anywhere without one costs half as much.
        pays = Authorization.PnC if name == "MeteringConfirmationReq" else Authorization.EIM
        bench = of(make_bench, service, authorization=(pays,)).reach(state)
        request = bench.ask(name)
        elsewhere = name.startswith(("VehicleCheck", "CertificateInstallation"))  # neither is offered here
        served = name in HANDLERS and accepts(state, request, bench.session.chart) and not elsewhere
        response = bench.send(request)
        if response is None:
            bench.pass_time(0.6)
            response = bench.responses[-1]
        assert type(response).__name__ == name[:-3] + "Res"
        if served:
            assert not bench.reason, (name, bench.events("request_failed"))
            assert response.response_code.name.startswith("OK")
        else:
            assert bench.reason == "FAILED_SequenceError"
            assert not bench.session.powered
