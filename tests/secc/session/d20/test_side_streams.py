"""Beside the main stream: a new schedule while energy flows, signed readings, and the parking space."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, ParkingSpace, SeccConfig
from secc.session.d20.safety import Iso20Requests
from tests.secc.session.bench import AC_BPT, DC_BPT, Bench, number
from v2g import exi
from v2g.errors import CodecError
from v2g.iso15118.d20.charts import SIDE_CHARTS
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType, frame

Make = Callable[..., Bench]
SCHEDULE, PARKING = PayloadType.SCHEDULE_RENEGOTIATION, PayloadType.PARKING_STATUS
INTERNET_ID, PARKING_ID = 65, 66


def looping(make_bench: Make, service: int = DC_BPT) -> Bench:
    services = (EnergyService.DC_BPT, EnergyService.AC_BPT)
    bench = make_bench(SeccConfig(services=services, control_modes=(ControlMode.SCHEDULED,)))
    bench.selection, bench.scheduled = (service, 0, False), True
    return bench.reach(State.DC_CHARGE_LOOP if service == DC_BPT else State.AC_CHARGE_LOOP)


def start(bench: Bench, *powers: float, processing: Processing = Processing.Finished) -> Any:
    return bench.ask(
        "PowerDeliveryReq", ev_processing=processing, ev_power_profile=bench.profile(1, *powers or (5_000,))
    )


@pytest.mark.parametrize("service", [DC_BPT, AC_BPT])
def test_a_new_schedule_takes_effect_with_power_delivery_and_energy_flows_on(make_bench: Make, service: int) -> None:
    bench = looping(make_bench, service)
    loop = bench.session.state
    name = "AC" if service == AC_BPT else "DC"
    before = bench.session.stage.planned
    for request in (f"{name}_ChargeParameterDiscoveryReq", "ScheduleExchangeReq"):
        response = bench.send(bench.ask(request), SCHEDULE)
        assert response.response_code.name == "OK"
        assert bench.payload_types[-1] == SCHEDULE
        assert bench.session.state is loop
        assert bench.session.stage.planned == before
    assert bench.go(f"{name}_ChargeLoopReq").response_code.name == "OK"
    assert bench.send(start(bench, processing=Processing.Ongoing), SCHEDULE).response_code.name == "OK"
    assert bench.session.stage.beside is not None
    assert bench.send(start(bench), SCHEDULE).response_code.name == "OK"
    assert bench.session.stage.beside is None
    assert not bench.commands(ports.OpenContactors)
    assert bench.go(f"{name}_ChargeLoopReq").response_code.name == "OK"


def test_only_another_exchange_of_parameters_raises_what_was_agreed_and_none_the_tested_voltage(
    make_bench: Make,
) -> None:
    """The insulation was tested with 450 V: 600 V on the side stream allow no more, but more power and current do."""
    bench, reader = looping(make_bench), Iso20Requests(SeccConfig())
    reader.read(bench.ask("DC_ChargeParameterDiscoveryReq"), PayloadType.DC)

    def agreed() -> tuple[int, int, int]:
        """Raise everything in the loop; session and reader of the monitor hold the same."""
        mode = bench.loop_mode(
            ev_maximum_voltage=number(600),
            ev_maximum_charge_current=number(200),
            ev_maximum_charge_power=number(150_000),
        )
        request = bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode)
        assert bench.send(request).response_code.name == "OK"
        vehicle, bears = bench.session.stage.parametrised.vehicle, reader.read(request, PayloadType.DC).bears
        held = vehicle.max_voltage_mv, vehicle.max_charge_ma, vehicle.max_charge_w
        assert bears is not None
        assert held == (bears.voltage_mv, bears.charge_ma, bears.charge_w)
        return held

    assert agreed() == (450_000, 60_000, 20_000)
    most = bench.ask("DC_ChargeParameterDiscoveryReq").dc_cpd_req_energy_transfer_mode
    raised = replace(
        most,
        ev_maximum_voltage=number(600),
        ev_maximum_charge_current=number(100),
        ev_maximum_charge_power=number(30_000),
    )
    for request in (
        bench.ask("DC_ChargeParameterDiscoveryReq", dc_cpd_req_energy_transfer_mode=raised),
        bench.ask("ScheduleExchangeReq"),
    ):
        assert bench.send(request, SCHEDULE).response_code.name == "OK"
        reader.read(request, SCHEDULE)
    assert agreed() == (450_000, 60_000, 20_000), "not before PowerDeliveryReq"
    assert bench.send(start(bench), SCHEDULE).response_code.name == "OK"
    reader.read(start(bench), SCHEDULE)
    assert agreed() == (450_000, 100_000, 30_000)


def test_a_main_request_may_stand_open_meanwhile(make_bench: Make) -> None:
    """Each stream has its own outstanding request."""
    bench = looping(make_bench)
    del bench.auto[ports.OpenContactors]
    assert bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop)) is None
    bench.post(bench.ask("MeteringConfirmationReq"), PayloadType.METERING_CONFIRMATION)
    assert bench.payload_types[-1] == PayloadType.METERING_CONFIRMATION
    assert bench.responses[-1].response_code.name == "OK"
    late = bench.send(bench.ask("ScheduleExchangeReq"), SCHEDULE)
    assert late.response_code.name == "WARNING_ScheduleRenegotiationFailed"
    assert late.scheduled_se_res_control_mode.schedule_tuple  # V2G20-1600
    assert bench.session._sides.state(SCHEDULE) is State.SIDE_IDLE
    bench.fact(ports.ContactorState(closed=False))
    assert type(bench.responses[-1]).__name__ == "PowerDeliveryRes"


def test_a_profile_beyond_the_new_schedule_ends_the_session(make_bench: Make) -> None:
    bench = looping(make_bench)
    bench.send(bench.ask("ScheduleExchangeReq"), SCHEDULE)
    response = bench.send(start(bench, 90_000), SCHEDULE)
    assert response.response_code.name == "FAILED_EVPowerProfileInvalid"
    assert bench.reason == "FAILED_EVPowerProfileInvalid"
    assert bench.commands(ports.EmergencyOff)


@pytest.mark.parametrize(
    ("left_s", "code"), [(3_600, "WARNING_ScheduleRenegotiationFailed"), (-1, "FAILED_ScheduleRenegotiation")]
)
def test_what_cannot_be_planned_anew_goes_on_by_the_old_schedule_until_that_is_over(
    make_bench: Make, left_s: int, code: str
) -> None:
    bench = looping(make_bench)
    departure_ms = bench.session.stage.planned.plan.departure_ms
    renegotiate = cm.ChargeProgress.ScheduleRenegotiation
    assert bench.send(bench.ask("PowerDeliveryReq", charge_progress=renegotiate)).response_code.name == "OK"
    bench.utc_ms = departure_ms - left_s * 1000
    offered = [each.scheduled_se_res_control_mode for each in bench.responses if hasattr(each, "go_to_pause")][-1]
    bench.scheduled = False  # needs that do not fit what was selected
    response = bench.send(bench.ask("ScheduleExchangeReq"))
    assert response.response_code.name == code
    if left_s > 0:  # the old schedule, in the selected control mode (V2G20-1600)
        tuples = response.scheduled_se_res_control_mode.schedule_tuple
        assert [each.charging_schedule.power_schedule for each in tuples] == [
            each.charging_schedule.power_schedule for each in offered.schedule_tuple
        ]
        assert response.dynamic_se_res_control_mode is None


def test_a_conversation_that_is_not_gone_on_with_is_forgotten(make_bench: Make) -> None:
    bench = looping(make_bench)
    bench.send(bench.ask("ScheduleExchangeReq"), SCHEDULE)
    for _ in range(150):
        bench.pass_time(0.45)
        bench.go("DC_ChargeLoopReq")
    assert bench.events("side_stream_dropped") == [{"stream": "SCHEDULE_RENEGOTIATION"}]
    assert bench.session.stage.beside is None
    assert not bench.reason
    assert bench.send(start(bench), SCHEDULE).response_code.name == "FAILED_SequenceError"


@pytest.mark.parametrize("stream", SIDE_CHARTS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("state", [State.SERVICE_DISCOVERY, State.SCHEDULE_EXCHANGE, State.DC_CHARGE_LOOP])
@pytest.mark.parametrize(
    "name", ["SessionStopReq", "PowerDeliveryReq", "MeteringConfirmationReq", "VehicleCheckInReq", "DC_ChargeLoopReq"]
)
def test_what_has_no_place_beside_is_answered_on_its_stream_and_ends(
    make_bench: Make, stream: PayloadType, state: State, name: str
) -> None:
    bench = make_bench().reach(state)
    served = stream is PayloadType.METERING_CONFIRMATION and (name, state) == (
        "MeteringConfirmationReq",
        State.DC_CHARGE_LOOP,
    )
    of_dc = name == "DC_ChargeLoopReq"
    if stream is PayloadType.ACDP_SYSTEM_STATUS or of_dc or (stream is SCHEDULE and name != "PowerDeliveryReq"):
        # these bytes are of another schema than the stream's
        request = bench.ask(name)
        with contextlib.suppress(CodecError):  # the refusal may be of a kind that this bench cannot tell apart
            bench.raw(frame(stream, exi.encode(request)))
        assert bench.reason in ("undecodable", "FAILED_SequenceError")
        return
    response = bench.send(bench.ask(name), stream)
    if served:
        assert response.response_code.name == "OK"
        return
    assert bench.payload_types[-1] == stream
    assert response.response_code.name == "FAILED_SequenceError"
    assert bench.reason == "FAILED_SequenceError"


def test_another_session_has_no_word_beside(make_bench: Make) -> None:
    bench = looping(make_bench)
    request = bench.ask("ScheduleExchangeReq", header=bench.header(session_id=b"somebody"))
    assert bench.send(request, SCHEDULE).response_code.name == "FAILED_UnknownSession"
    assert bench.reason == "FAILED_UnknownSession"


# -- services beside energy ---------------------------------------------------------------------------------------


def parked(make_bench: Make, **space: Any) -> Bench:
    """Return a bench that has selected ParkingStatus with its energy service."""
    config = SeccConfig(parking=ParkingSpace(**space), internet=("https-443", "http-80"))
    bench = make_bench(config)
    bench.selection = (DC_BPT, 0, False)
    bench.reach(State.SERVICE_DETAIL).go("ServiceDetailReq")
    bench.send(bench.ask("ServiceDetailReq", service_id=PARKING_ID))
    bench.send(bench.ask("ServiceDetailReq", service_id=INTERNET_ID))
    vas = (cm.SelectedService(service_id=PARKING_ID, parameter_set_id=1),)
    energy = cm.SelectedService(service_id=DC_BPT, parameter_set_id=0)
    request = bench.ask(
        "ServiceSelectionReq",
        selected_energy_transfer_service=energy,
        selected_vas_list=cm.SelectedServiceList(selected_service=vas),
    )
    assert bench.send(request).response_code.name == "OK"
    return bench


def check_in(bench: Bench, status: cm.EvCheckInStatus, **fields: Any) -> Any:
    return bench.ask(
        "VehicleCheckInReq", ev_check_in_status=status, parking_method=cm.ParkingMethod.MVGuideManual, **fields
    )


def check_out(bench: Bench, status: cm.EvCheckOutStatus, after_s: int = 0) -> Any:
    return bench.ask("VehicleCheckOutReq", ev_check_out_status=status, check_out_time=bench.utc_ms // 1000 + after_s)


def test_internet_and_parking_are_offered_with_the_standards_parameters(make_bench: Make) -> None:
    config = SeccConfig(parking=ParkingSpace(automatic=True, inside=False), internet=("https-443", "ftp-20"))
    bench = make_bench(config).reach(State.SERVICE_DISCOVERY)
    offered = [each.service_id for each in bench.go("ServiceDiscoveryReq").vas_list.service]
    assert offered == [0xF000, INTERNET_ID, PARKING_ID]
    sets = bench.send(bench.ask("ServiceDetailReq", service_id=INTERNET_ID)).service_parameter_list.parameter_set
    reported = [(each.parameter_set_id, each.parameter[0].finite_string, each.parameter[1].int_value) for each in sets]
    assert reported == [(4, "https", 443), (1, "ftp", 20)]
    sets = bench.send(bench.ask("ServiceDetailReq", service_id=PARKING_ID)).service_parameter_list.parameter_set
    reported = [(each.parameter_set_id, {p.name: p.int_value for p in each.parameter}) for each in sets]
    assert reported == [(n, {"IntendedService": n, "ParkingStatusType": 2}) for n in (1, 2)]


def test_a_vehicle_that_names_the_services_that_it_knows_sees_no_others(make_bench: Make) -> None:
    """V2G20-1249."""
    bench = make_bench(SeccConfig(parking=ParkingSpace(), internet=("http-80",))).reach(State.SERVICE_DISCOVERY)
    known = cm.ServiceIDList(service_id=(INTERNET_ID,))
    response = bench.send(bench.ask("ServiceDiscoveryReq", supported_service_ids=known))
    assert [each.service_id for each in response.vas_list.service] == [INTERNET_ID]


def test_a_vehicle_is_guided_into_its_space_before_charge_parameters(make_bench: Make) -> None:
    bench = parked(make_bench, space=7, device_location=400)
    for status, travel, ahead in (
        (cm.EvCheckInStatus.CheckIn, 0, 400),
        (cm.EvCheckInStatus.Processing, 250, 150),
        (cm.EvCheckInStatus.Completed, 400, 0),
    ):
        response = bench.send(check_in(bench, status, vehicle_travel=travel))
        assert (response.response_code.name, response.parking_space) == ("OK", 7)
        assert (response.device_location, response.target_distance) == (400, ahead)
    assert bench.session.state is State.DC_CHARGE_PARAMETER_DISCOVERY
    assert bench.go("DC_ChargeParameterDiscoveryReq").response_code.name == "OK"


def test_progress_into_the_space_does_not_go_back(make_bench: Make) -> None:
    bench = parked(make_bench)
    bench.send(check_in(bench, cm.EvCheckInStatus.Processing))
    assert bench.send(check_in(bench, cm.EvCheckInStatus.CheckIn)).response_code.name == "FAILED_SequenceError"


def test_a_vehicle_may_leave_once_its_time_has_come_and_nothing_is_at_the_output(make_bench: Make) -> None:
    bench = parked(make_bench)
    bench.go("DC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq")
    bench.go("PowerDeliveryReq", "DC_ChargeLoopReq")
    early = bench.send(check_out(bench, cm.EvCheckOutStatus.CheckOut), PARKING)
    assert early.evse_check_out_status is cm.EvseCheckOutStatus.Scheduled
    assert bench.session.state is State.DC_CHARGE_LOOP
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop))
    bench.go("DC_WeldingDetectionReq")
    waiting = bench.send(check_out(bench, cm.EvCheckOutStatus.Processing, after_s=30))
    assert waiting.evse_check_out_status is cm.EvseCheckOutStatus.Scheduled
    bench.pass_time(31)
    gone = bench.send(check_out(bench, cm.EvCheckOutStatus.Completed))
    assert gone.evse_check_out_status is cm.EvseCheckOutStatus.Completed
    assert bench.go("SessionStopReq").response_code.name == "OK"


def test_who_has_not_selected_parking_is_not_served(make_bench: Make) -> None:
    bench = make_bench(SeccConfig(parking=ParkingSpace())).reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    response = bench.send(check_in(bench, cm.EvCheckInStatus.CheckIn))
    assert response.response_code.name == "FAILED_SequenceError"
