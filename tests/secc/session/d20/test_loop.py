"""The charge loop: limits hold at once, the meter is sent and signed for, and notices are followed."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, EvseRating, SeccConfig, SignedDischargeConfig
from secc.session.identity import Identity
from secc.session.stages import Charging
from secc.session.terms import PriceTerms
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import MakeBench
from v2g.energy.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages.common_messages import (
    Authorization,
    ChargeProgress,
    ChargingSession,
    Scheduled_SMDTControlMode,
)
from v2g.iso15118.d20.messages.common_types import CLReqControlMode, MeterInfo, Receipt, ResponseCode
from v2g.iso15118.d20.prices import fraction
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import PayloadType

replace = msgspec.structs.replace
SCHEDULED = (ControlMode.SCHEDULED,)
PLAIN = SignedDischargeConfig(required=False)


def value(number: Any) -> Fraction:
    return fraction(number)


def output(bench: Bench) -> ports.SetOutput:
    return bench.commands(ports.SetOutput)[-1]  # type: ignore[no-any-return]


def site(watts: int, discharge: int = 15_000, version: int = 1) -> ports.GridChanged:
    return ports.GridChanged((Limit(source=SITE, charge_w=watts, discharge_w=discharge, version=version),))


@pytest.fixture
def looping(bench: Bench) -> Bench:
    """Return a bench in the loop, charging."""
    return bench.reach(State.DC_CHARGE_LOOP)


def test_a_dynamic_vehicle_is_charged_with_the_smallest_of_all_limits(looping: Bench) -> None:
    assert output(looping) == ports.SetOutput(450_000, 60_000, 20_000, 0)
    response = looping.go("DC_ChargeLoopReq")
    mode = response.cl_res_control_mode
    assert isinstance(mode, dc.BPT_Dynamic_DC_CLResControlMode)
    assert (value(mode.evse_maximum_charge_power), value(mode.evse_maximum_discharge_power)) == (20_000, 0)
    assert (value(response.evse_present_voltage), value(response.evse_present_current)) == (400, 50)
    assert response.evse_power_limit_achieved
    assert not response.evse_current_limit_achieved


@pytest.mark.parametrize(
    ("voltage_mv", "current_ma", "achieved"),
    [
        (420_000, 20_000, (False, False)),
        (429_999, 293_999, (False, False)),
        (420_000, 294_000, (True, False)),
        (430_000, 0, (False, True)),
        (420_000, -122_499, (False, False)),
        (420_000, -122_500, (True, False)),
    ],
)
def test_the_limits_that_are_achieved_are_the_chargers_own(
    make_bench: MakeBench, voltage_mv: int, current_ma: int, achieved: tuple[bool, bool]
) -> None:
    """430 V, 300 A, and 125 A back; not the 420 V and 20 A that the vehicle asks for."""
    bench = make_bench(SeccConfig(control_modes=(ControlMode.SCHEDULED,), rating=EvseRating(max_voltage_v=430)))
    bench.scheduled = True
    bench.reach(State.DC_CHARGE_LOOP).fact(ports.Measured(voltage_mv, current_ma))
    found = bench.go("DC_ChargeLoopReq")
    assert (found.evse_current_limit_achieved, found.evse_voltage_limit_achieved) == achieved


def test_noise_of_the_current_is_no_limit_of_a_charger_that_takes_none_back(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(rating=EvseRating(max_discharge_current_a=0)))
    bench.reach(State.DC_CHARGE_LOOP).fact(ports.Measured(420_000, -5))
    assert not bench.go("DC_ChargeLoopReq").evse_current_limit_achieved


def test_the_vehicle_may_lower_its_limits_in_each_loop(looping: Bench) -> None:
    mode = looping.loop_mode(ev_maximum_charge_power=number(3_000), ev_maximum_charge_current=number(8))
    looping.send(looping.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert (output(looping).charge_w, output(looping).current_ma) == (3_000, 8_000)


@pytest.mark.requirement("R15")
@pytest.mark.parametrize("kind", ["looping", "scheduled"])
def test_no_voltage_above_that_with_which_the_insulation_was_tested(request: pytest.FixtureRequest, kind: str) -> None:
    bench = request.getfixturevalue(kind)
    asked = {"ev_target_voltage": number(512)} if bench.scheduled else {}
    for volts, allowed_mv in ((512, 450_000), (420, 420_000), (451, 450_000), (450, 450_000)):
        mode = bench.loop_mode(ev_maximum_voltage=number(volts), **asked)
        bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
        assert output(bench).voltage_mv == allowed_mv


def test_a_vehicle_that_wants_more_again_gets_an_answer_in_the_same_exchange(looping: Bench) -> None:
    for wanted, allowed in ((0, 0), (50_000, 20_000), (7_000, 7_000)):  # 20 kW were agreed before
        mode = looping.loop_mode(ev_maximum_charge_power=number(wanted))
        response = looping.send(looping.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
        assert value(response.cl_res_control_mode.evse_maximum_charge_power) == allowed
        assert output(looping).charge_w == allowed


def test_negative_wishes_are_no_limits_below_zero(looping: Bench) -> None:
    mode = looping.loop_mode(ev_maximum_charge_power=number(-3_000))
    looping.send(looping.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert output(looping).charge_w == 0


@pytest.mark.requirement("R5")
def test_a_lower_limit_reaches_the_hardware_before_journal_and_words(looping: Bench) -> None:
    before = len(looping.actions)
    looping.fact(site(5_000))
    actions = looping.actions[before:]
    assert output(looping).charge_w == 5_000
    kinds = [type(each) for each in actions]
    assert kinds.index(ports.SetOutput) < kinds.index(ports.Journal)
    mode = looping.go("DC_ChargeLoopReq").cl_res_control_mode
    assert value(mode.evse_maximum_charge_power) == 5_000


def test_an_older_limit_changes_nothing(looping: Bench) -> None:
    looping.fact(site(5_000, version=3))
    count = len(looping.actions)
    looping.fact(site(40_000, version=2))
    assert len(looping.actions) == count


def test_a_wish_of_the_back_end_is_obeyed_within_the_limits(looping: Bench) -> None:
    for wish, charge in ((7_000, 7_000), (0, 0), (90_000, 20_000)):
        looping.fact(ports.SetpointChanged(Setpoint(power_w=wish, source="csms")))
        assert (output(looping).charge_w, output(looping).discharge_w) == (charge, 0)
    looping.fact(ports.SetpointChanged(None))
    assert output(looping).charge_w == 20_000


def test_a_wish_for_power_begins_and_ends_by_itself(looping: Bench) -> None:
    """K20: what it is valid for holds to the second, whether or not the vehicle asks meanwhile."""
    start = looping.utc_ms
    wish = Setpoint(power_w=6_000, source="csms", valid_from_ms=start + 300, valid_until_ms=start + 600)
    looping.fact(ports.SetpointChanged(wish))
    assert output(looping).charge_w == 20_000
    looping.pass_time(0.35)
    assert output(looping).charge_w == 6_000
    looping.pass_time(0.3)
    assert output(looping).charge_w == 20_000


def test_a_wish_that_is_taken_back_no_longer_ends(looping: Bench) -> None:
    looping.fact(ports.SetpointChanged(Setpoint(power_w=6_000, source="csms", valid_until_ms=looping.utc_ms + 300)))
    looping.fact(ports.SetpointChanged(None))
    before = len(looping.commands(ports.SetOutput))
    looping.pass_time(0.5)
    assert len(looping.commands(ports.SetOutput)) == before


def test_a_wish_for_discharge_only_stops_charging_while_nobody_signed(looping: Bench) -> None:
    looping.fact(ports.SetpointChanged(Setpoint(power_w=-5_000, source="csms")))
    assert (output(looping).charge_w, output(looping).discharge_w) == (0, 0)


@pytest.mark.parametrize(
    ("required", "wish", "expected"),
    [(False, -5_000, (0, 5_000)), (False, -90_000, (0, 10_000)), (False, None, (20_000, 0)), (True, -5_000, (0, 0))],
)
def test_by_the_plain_standard_the_charger_decides_if_policy_lets_it(
    make_bench: MakeBench, required: bool, wish: int | None, expected: tuple[int, int]
) -> None:
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(required=required)))
    bench.selection = (6, 0, False)
    bench.reach(State.DC_CHARGE_LOOP)
    if wish is not None:
        bench.fact(ports.SetpointChanged(Setpoint(power_w=wish, source="csms")))
    assert (output(bench).charge_w, output(bench).discharge_w) == expected


def test_one_direction_is_never_discharged(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(signed_discharge=PLAIN, services=(EnergyService.DC,)))
    bench.selection = (2, 0, False)
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.SetpointChanged(Setpoint(power_w=-5_000, source="csms")))
    assert output(bench).discharge_w == 0
    assert isinstance(bench.go("DC_ChargeLoopReq").cl_res_control_mode, dc.Dynamic_DC_CLResControlMode)


@pytest.fixture
def scheduled(make_bench: MakeBench) -> Bench:
    """Return a bench in the loop with a scheduled vehicle, by the plain standard."""
    bench = make_bench(SeccConfig(control_modes=SCHEDULED, signed_discharge=PLAIN))
    bench.scheduled, bench.selection = True, (6, 0, False)
    return bench.reach(State.DC_CHARGE_LOOP)


@pytest.mark.parametrize(
    ("current", "voltage", "expected"),
    [
        (20, 420, ports.SetOutput(420_000, 20_000, 20_000, 10_000)),
        (-10, 420, ports.SetOutput(420_000, -10_000, 20_000, 10_000)),
        (900, 2000, ports.SetOutput(450_000, 60_000, 20_000, 10_000)),
        (-900, -1, ports.SetOutput(0, -40_000, 20_000, 10_000)),
    ],
)
def test_a_scheduled_vehicle_names_its_targets_within_limits(
    scheduled: Bench, current: int, voltage: int, expected: ports.SetOutput
) -> None:
    mode = scheduled.loop_mode(ev_target_current=number(current), ev_target_voltage=number(voltage))
    response = scheduled.send(scheduled.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert output(scheduled) == expected
    assert isinstance(response.cl_res_control_mode, dc.BPT_Scheduled_DC_CLResControlMode)


def test_a_vehicle_that_names_current_alone_is_charged_at_the_voltage_of_before(make_bench: MakeBench) -> None:
    """V2G20-2183 to -2187: first the voltage of the pre-charge, then the last one that it has named."""
    bench = make_bench(SeccConfig(control_modes=SCHEDULED, signed_discharge=PLAIN))
    bench.scheduled, bench.selection = True, (6, 0, False)
    bench.reach(State.POWER_DELIVERY).go("PowerDeliveryReq")
    for named, expected_mv in ((0, 400_000), (420, 420_000), (0, 420_000), (-1, 0)):
        mode = bench.loop_mode(ev_target_current=number(20), ev_target_voltage=number(named))
        bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
        assert output(bench) == ports.SetOutput(expected_mv, 20_000, 20_000, 10_000)


def test_a_scheduled_vehicle_may_tell_limits_too(scheduled: Bench) -> None:
    mode = scheduled.loop_mode(ev_maximum_charge_power=number(4_000), ev_maximum_discharge_power=number(-2_000))
    scheduled.send(scheduled.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert (output(scheduled).charge_w, output(scheduled).discharge_w) == (4_000, 2_000)
    scheduled.go("DC_ChargeLoopReq")  # what it leaves out stays
    assert (output(scheduled).charge_w, output(scheduled).discharge_w) == (4_000, 2_000)


def test_a_scheduled_vehicle_in_one_direction(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(control_modes=SCHEDULED))
    bench.scheduled, bench.selection = True, (2, 0, False)
    bench.reach(State.DC_CHARGE_LOOP)
    assert isinstance(bench.go("DC_ChargeLoopReq").cl_res_control_mode, dc.Scheduled_DC_CLResControlMode)
    assert output(bench).discharge_w == 0


@pytest.mark.parametrize("change", [{"scheduled": True}, {"selection": (2, 0, False)}], ids=str)
def test_a_loop_of_another_mode_is_refused(looping: Bench, change: dict[str, Any]) -> None:
    for name, wrong in change.items():
        setattr(looping, name, wrong)
    assert looping.go("DC_ChargeLoopReq").response_code.name == "FAILED"
    assert looping.commands(ports.EmergencyOff)


@pytest.mark.long
@pytest.mark.requirement("R9")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.tuples(st.sampled_from([SITE, OPERATOR]), st.integers(0, 60_000), st.integers(0, 60_000))),
    wish=st.none() | st.integers(-60_000, 60_000),
    vehicle=st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)),
)
def test_whatever_changes_no_limit_is_ever_exceeded(
    make_bench: MakeBench, limits: list[tuple[str, int, int]], wish: int | None, vehicle: tuple[int, int]
) -> None:
    bench = make_bench(SeccConfig(signed_discharge=PLAIN))
    bench.selection = (6, 0, False)
    bench.reach(State.DC_CHARGE_LOOP)
    if wish is not None:
        bench.fact(ports.SetpointChanged(Setpoint(power_w=wish, source="csms")))
    mode = bench.loop_mode(ev_maximum_charge_power=number(vehicle[0]), ev_maximum_discharge_power=number(vehicle[1]))
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    known = {SITE: (40_000, 15_000), OPERATOR: (40_000, 10_000), "ev": vehicle}
    for version, (source, charge, discharge) in enumerate(limits, 2):
        known[source] = (charge, discharge)
        bench.fact(ports.GridChanged((Limit(source=source, charge_w=charge, discharge_w=discharge, version=version),)))
        now = output(bench)
        assert now.charge_w <= min(each[0] for each in known.values())
        assert now.discharge_w <= min(each[1] for each in known.values())


# -- meter --------------------------------------------------------------------------------------------------------


def test_the_meter_is_sent_first_on_request_and_for_this_session_only(looping: Bench) -> None:
    first = looping.responses[-1].meter_info
    assert (first.meter_id, first.charged_energy_reading_wh, first.bpt_discharged_energy_reading_wh) == (
        "METER-0001", 0, 0)  # fmt: skip
    assert looping.go("DC_ChargeLoopReq").meter_info is None
    looping.fact(ports.MeterRead(looping.utc_ms, 6_234_999, 2_500_000, signature=b"signature"))
    info = looping.send(looping.ask("DC_ChargeLoopReq", meter_info_requested=True)).meter_info  # V2G20-1081
    assert (info.charged_energy_reading_wh, info.bpt_discharged_energy_reading_wh) == (1_234, 500)
    assert info.meter_signature == b"signature"
    assert info.meter_timestamp == looping.utc_ms // 1000


def test_a_long_serial_number_is_cut_to_what_a_meter_id_holds(make_bench: MakeBench) -> None:
    """A certificate's common name has up to 64 characters: no charge loop could be answered, in this edition only."""
    bench = make_bench(identity=Identity("CS-1", "M" * 64, b"")).reach(State.POWER_DELIVERY)
    bench.go("PowerDeliveryReq")
    assert bench.go("DC_ChargeLoopReq").meter_info.meter_id == "M" * 32


def test_a_meter_that_was_never_read_reports_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(meter=None)
    del bench.auto[ports.RecordMeter]
    bench.reach(State.DC_CHARGE_LOOP)
    assert bench.send(bench.ask("DC_ChargeLoopReq", meter_info_requested=True)).meter_info is None


@pytest.mark.parametrize("registers", [(4_999_999, 2_000_000), (5_000_000, 1_999_999)], ids=["import", "export"])
def test_a_meter_that_goes_back_ends_no_session(looping: Bench, registers: tuple[int, int]) -> None:
    """It was changed, or set back: its reading of this session is unknown."""
    looping.fact(ports.MeterRead(looping.utc_ms, *registers, signature=b"signature"))
    response = looping.send(looping.ask("DC_ChargeLoopReq", meter_info_requested=True))
    assert (response.response_code.name, response.meter_info) == ("OK", None)
    looping.fact(ports.MeterRead(looping.utc_ms, 5_000_000, 2_000_000, signature=b"signature"))
    info = looping.send(looping.ask("DC_ChargeLoopReq", meter_info_requested=True)).meter_info
    assert (info.charged_energy_reading_wh, info.bpt_discharged_energy_reading_wh) == (0, 0)


def test_a_receipt_counts_what_flows_after_utc_was_set_back(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(prices=PriceTerms(receipt_every_s=0))).reach(State.DC_CHARGE_LOOP)
    for wh, before_ms, after_ms in ((10, 0, 0), (20, 3_600_000, 0), (30, 0, 3_600_000), (40, 0, 0)):
        bench.utc_ms -= before_ms
        bench.pass_time(2)
        read_ms = bench.utc_ms
        bench.utc_ms -= after_ms
        bench.fact(ports.MeterRead(read_ms, 5_000_000 + wh * 1000, 2_000_000))
        answer = bench.send(bench.ask("DC_ChargeLoopReq", meter_info_requested=True))
        assert answer.receipt.time_anchor == answer.meter_info.meter_timestamp == answer.header.time_stamp
        cost = answer.receipt.energy_costs.amount
        assert cost.value * 10.0**cost.exponent == pytest.approx(wh / 1000 * 0.3, abs=0.000_1)


def test_the_first_reading_is_where_the_session_begins(make_bench: MakeBench) -> None:
    bench = make_bench(meter=None)
    bench.fact(ports.MeterRead(bench.utc_ms, 4_000_000, 2_000_000))
    bench.reach(State.DC_CHARGE_LOOP)
    info = bench.send(bench.ask("DC_ChargeLoopReq", meter_info_requested=True)).meter_info
    assert info.charged_energy_reading_wh == 1_000


@pytest.fixture
def confirming(looping: Bench) -> Bench:
    """Return a bench whose vehicle was just asked to confirm the meter."""
    looping.fact(ports.MeteringConfirmationRequested())
    status = looping.go("DC_ChargeLoopReq").evse_status
    assert status.evse_notification.name == "MeteringConfirmation"
    assert 0 < status.notification_max_delay <= 60
    assert looping.responses[-1].meter_info is not None  # V2G20-1083
    return looping


@pytest.mark.parametrize("stream", [PayloadType.METERING_CONFIRMATION, PayloadType.COMMON])
def test_a_reading_that_the_vehicle_signed_goes_into_the_journal(confirming: Bench, stream: PayloadType) -> None:
    request = confirming.ask("MeteringConfirmationReq")
    response = confirming.send(request, stream)
    assert response.response_code.name == "OK"
    assert confirming.payload_types[-1] == stream
    record = confirming.commands(ports.Journal)[-1].record
    assert isinstance(record, MeteringConfirmed)
    assert confirming.go("DC_ChargeLoopReq").evse_status is None


def test_a_reading_of_a_few_loops_ago_may_still_be_confirmed(confirming: Bench) -> None:
    request = confirming.ask("MeteringConfirmationReq")
    for energy in range(5):
        confirming.fact(ports.MeterRead(confirming.utc_ms, 6_000_000 + energy * 1_000, 2_000_000))
        confirming.go("DC_ChargeLoopReq")
    assert confirming.send(request, PayloadType.METERING_CONFIRMATION).response_code.name == "OK"


def test_the_same_reading_again_is_answered_and_does_not_fill_the_journal(confirming: Bench) -> None:
    request = confirming.ask("MeteringConfirmationReq")
    for _ in range(3):
        assert confirming.send(request).response_code.name == "OK"
        assert confirming.go("DC_ChargeLoopReq").response_code.name == "OK"
    records = [each.record for each in confirming.commands(ports.Journal)]
    assert len([each for each in records if isinstance(each, MeteringConfirmed)]) == 1


def test_after_a_newer_reading_an_older_one_is_not_confirmed_any_more(confirming: Bench) -> None:
    """Nor can two of them in turn fill the journal."""
    older = confirming.ask("MeteringConfirmationReq")
    confirming.fact(ports.MeterRead(confirming.utc_ms, 6_000_000, 2_000_000))
    confirming.go("DC_ChargeLoopReq")
    newer = confirming.ask("MeteringConfirmationReq")
    assert confirming.send(older).response_code.name == "OK"
    assert confirming.send(newer).response_code.name == "OK"
    assert confirming.send(older).response_code.name == "FAILED_MeteringSignatureNotValid"


@pytest.mark.parametrize(
    "how",
    [
        "unsigned",
        "by another",
        "changed",
        "invented",
        "invented receipt",
        "of another session",
        "of a schedule",
    ],
)
def test_a_confirmation_that_confirms_nothing_ends_the_session(confirming: Bench, how: str) -> None:
    request = confirming.ask("MeteringConfirmationReq")
    data, header = request.signed_metering_data, request.header
    match how:
        case "unsigned":
            header = confirming.header()
        case "by another":
            header = confirming.sign(data, key="vehicle")
        case "changed":
            data = replace(data, scheduled_smdt_control_mode=Scheduled_SMDTControlMode(selected_schedule_tuple_id=1),
                           dynamic_smdt_control_mode=None)  # fmt: skip
        case "invented":
            data = confirming.metering_data(MeterInfo(meter_id="METER-0001", charged_energy_reading_wh=1))
            header = confirming.sign(data)
        case "invented receipt":
            data = replace(data, receipt=Receipt(time_anchor=confirming.utc_ms // 1000))
            header = confirming.sign(data)
        case "of another session":
            data = replace(data, session_id=b"elsewhere"[:8])
            header = confirming.sign(data)
        case "of a schedule":  # the session is dynamic (V2G20-1600)
            data = replace(data, scheduled_smdt_control_mode=Scheduled_SMDTControlMode(selected_schedule_tuple_id=1),
                           dynamic_smdt_control_mode=None)  # fmt: skip
            header = confirming.sign(data)
    response = confirming.send(replace(request, signed_metering_data=data, header=header))
    signed = how in ("invented", "invented receipt", "of another session", "of a schedule")
    expected = "FAILED_MeteringSignatureNotValid" if signed else "FAILED_SignatureError"
    assert response.response_code.name == expected
    assert confirming.commands(ports.EmergencyOff)


def test_without_a_contract_nobody_is_asked_to_sign_nor_can(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(authorization=(Authorization.EIM,)))
    bench.selection = (6, 0, False)
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.MeteringConfirmationRequested())
    assert bench.go("DC_ChargeLoopReq").evse_status is None
    assert bench.go("MeteringConfirmationReq").response_code.name == "FAILED_SignatureError"


def test_a_charger_may_be_configured_to_ask_no_vehicle_to_sign(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(metering_confirmation=False)).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.MeteringConfirmationRequested())
    assert bench.go("DC_ChargeLoopReq").evse_status is None


def test_the_hardware_receives_what_the_vehicle_says_of_its_battery(looping: Bench) -> None:
    looping.go("DC_ChargeLoopReq")
    assert looping.commands(ports.Reported)[-1] == ports.Reported(400_000, 60_000, 40_000)


def test_other_messages_have_no_place_beside_the_main_stream(looping: Bench) -> None:
    response = looping.send(looping.ask("SessionStopReq"), PayloadType.METERING_CONFIRMATION)
    assert response.response_code.name == "FAILED_SequenceError"
    assert looping.payload_types[-1] == PayloadType.METERING_CONFIRMATION
    assert looping.reason == "FAILED_SequenceError"


# -- notices, the end ---------------------------------------------------------------------------------------------


def test_the_most_urgent_notice_is_sent_until_it_is_followed(looping: Bench) -> None:
    def reported() -> str:
        status = looping.go("DC_ChargeLoopReq").evse_status
        return status.evse_notification.name if status else ""

    looping.fact(ports.RenegotiationRequested())
    assert reported() == "ScheduleRenegotiation"
    looping.fact(ports.StopRequested("remote"))
    assert reported() == "Terminate"
    looping.send(looping.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    looping.go("DC_WeldingDetectionReq", "SessionStopReq")
    ended = looping.commands(ports.TransactionEnded)[0]
    assert (ended.reason, ended.stopped_reason, ended.soc) == ("remote", "Remote", 70)
    assert looping.commands(ports.CloseJournal)[0].reason == "remote"


def test_a_renegotiation_that_was_asked_for_is_not_asked_for_again(looping: Bench) -> None:
    looping.fact(ports.RenegotiationRequested())
    progress = ChargeProgress.ScheduleRenegotiation
    looping.send(looping.ask("PowerDeliveryReq", charge_progress=progress))
    looping.go("ScheduleExchangeReq", "PowerDeliveryReq")
    assert looping.go("DC_ChargeLoopReq").evse_status is None


def keep_looping(bench: Bench, seconds: float) -> None:
    end = bench.now + seconds
    while bench.now < end and not bench.reason:
        bench.pass_time(1.0)
        if not bench.reason:
            bench.go("DC_ChargeLoopReq")


def test_a_vehicle_that_does_not_follow_a_stop_is_stopped(looping: Bench) -> None:
    looping.fact(ports.StopRequested("remote"))
    keep_looping(looping, 59)
    assert not looping.reason
    keep_looping(looping, 2)
    assert looping.reason == "remote"
    assert looping.commands(ports.EmergencyOff)


def test_a_confirmation_that_never_comes_is_let_be(confirming: Bench) -> None:
    keep_looping(confirming, 62)
    assert not confirming.reason
    assert confirming.go("DC_ChargeLoopReq").evse_status is None


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (ChargingSession.Pause, "FAILED_PauseNotAllowed"),
        (ChargingSession.ServiceRenegotiation, "FAILED_NoServiceRenegotiationSupported"),
    ],
)
def test_what_is_not_served_is_refused_in_its_own_words(make_bench: Any, how: ChargingSession, code: str) -> None:
    bench = make_bench(SeccConfig(pause=False, service_renegotiation=False)).reach(State.SESSION_STOP)
    assert bench.send(bench.ask("SessionStopReq", charging_session=how)).response_code.name == code
    assert bench.reason == code


def test_a_session_that_is_stopped_in_the_loop_loses_its_power_first(looping: Bench) -> None:
    response = looping.go("SessionStopReq")
    assert response.response_code.name == "OK"
    kinds = [type(each) for each in looping.actions]
    assert kinds.index(ports.EmergencyOff) < kinds.index(ports.CloseJournal) < len(kinds) - 1 - kinds[::-1].index(Send)


def test_a_loop_is_recorded_unless_that_is_switched_off(looping: Bench, make_bench: MakeBench) -> None:
    looping.go("DC_ChargeLoopReq")
    event = looping.events("response")[-1]
    assert (event["power_w"], event["charge_limit_w"], event["soc"]) == (20_000, 20_000, 70)
    quiet = make_bench(SeccConfig(loop_events=False)).reach(State.DC_CHARGE_LOOP)
    assert quiet.events("response") == []
    assert isinstance(quiet.session.stage, Charging)


def test_the_abstract_head_of_the_control_modes_is_no_control_mode(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    response = bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=CLReqControlMode()))
    assert response.response_code is ResponseCode.FAILED
    assert bench.reason == "FAILED"


def test_a_higher_limit_is_recorded_before_the_hardware_gets_it_and_a_lower_one_after(
    looping: Bench,
) -> None:
    """Else a charger that is killed between both could have fed back what no record allows."""
    for version, (watts, first, second) in enumerate(
        ((4_000, ports.SetOutput, ports.Journal), (8_000, ports.Journal, ports.SetOutput)), 2
    ):
        looping.actions.clear()
        looping.fact(site(watts, watts, version))
        reported = [type(each) for each in looping.commands() if isinstance(each, ports.SetOutput | ports.Journal)]
        assert reported == [first, second]


@pytest.mark.parametrize("stream", [PayloadType.COMMON, PayloadType.METERING_CONFIRMATION])
def test_a_vehicle_that_signs_slowly_on_its_main_stream_is_not_cut_off(looping: Bench, stream: PayloadType) -> None:
    """V2G20-441: any response on the main stream begins the time anew, the loop's short one only its own. No power
    meanwhile."""
    looping.fact(ports.MeteringConfirmationRequested())
    looping.go("DC_ChargeLoopReq")
    looping.pass_time(4.0)
    assert looping.send(looping.ask("MeteringConfirmationReq"), stream).response_code is ResponseCode.OK
    looping.pass_time(4.0)
    assert (output(looping).charge_w, output(looping).discharge_w) == (0, 0)
    if stream is PayloadType.COMMON:
        assert looping.go("DC_ChargeLoopReq").response_code is ResponseCode.OK
        assert output(looping).charge_w
    else:
        assert looping.reason == "sequence_timeout"


@pytest.mark.parametrize("allowed_w", [0, 1_000, 1_500, 5_000])
def test_least_powers_in_the_loop_are_the_first_ones_but_never_above_the_most(
    make_bench: MakeBench, allowed_w: int
) -> None:
    """V2G20-2655 wants them not below the first ones; a vehicle can follow only limits that do not contradict."""
    rating = EvseRating(min_charge_power_w=1_500, min_discharge_power_w=1_000)
    bench = make_bench(SeccConfig(rating=rating)).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.SetpointChanged(Setpoint(power_w=allowed_w, source="csms")))
    mode = bench.go("DC_ChargeLoopReq").cl_res_control_mode
    assert value(mode.evse_maximum_charge_power) == allowed_w
    assert value(mode.evse_minimum_charge_power) == min(1_500, allowed_w)
    assert value(mode.evse_minimum_discharge_power) == value(mode.evse_maximum_discharge_power) == 0


def test_below_the_least_power_that_the_charger_can_hold_a_limit_lets_none_flow(make_bench: MakeBench) -> None:
    """More than the limit would flow, or what nobody knows; the vehicle knows that it gets nothing."""
    bench = make_bench(SeccConfig(rating=EvseRating(min_charge_power_w=3_000))).reach(State.DC_CHARGE_LOOP)
    for version, (site_w, allowed_w) in enumerate(((3_000, 3_000), (2_999, 0), (4_000, 4_000)), 1):
        bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=site_w, discharge_w=0, version=version),)))
        assert output(bench).charge_w == allowed_w
        mode = bench.go("DC_ChargeLoopReq").cl_res_control_mode
        assert value(mode.evse_maximum_charge_power) == allowed_w


def test_a_confirmation_does_not_grant_a_vehicle_a_longer_silence_while_energy_flows(make_bench: MakeBench) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    bench.go("DC_ChargeLoopReq")
    before = bench.session.deadline()
    bench.go("MeteringConfirmationReq")
    assert bench.session.state is State.DC_CHARGE_LOOP
    assert bench.session.deadline() <= before
