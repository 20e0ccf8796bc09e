"""What the messages of a vehicle's session mean to its safety monitor."""

from typing import Any

import msgspec
import pytest

from evcc.hardware.safety import reading
from evcc.session.d20.safety import Iso20Messages
from evcc.session.settings import OnBoardChargerConfig, SessionConfig
from tests.evcc.session.bench import Bench, Identities
from v2g import exi
from v2g.iso15118.d20.messages import ac, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus, Processing, ResponseCode
from v2g.iso15118.d20.quantities import each_phase, whole
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import UNBOUNDED, Ask, Output, Phase

MAIN = PayloadType.COMMON


class Talk:
    """A whole session of direct current, message by message, and what each one means."""

    def __init__(self, identities: Identities, **config: Any) -> None:
        bench = Bench(identities)
        bench.run_to("DC_ChargeLoopReq")
        self.requests = {type(each).__name__: each for each in bench.requests}
        self.responses = {name: bench.charger.answer(each) for name, each in self.requests.items()}
        self.messages = Iso20Messages(SessionConfig(**config))
        self.header = self.requests["PowerDeliveryReq"].header

    def sent(self, name: str, **changes: Any) -> Ask:
        return self.messages.sent(msgspec.structs.replace(self.requests[name], **changes), MAIN)

    def received(self, name: str, **changes: Any) -> Ask:
        return self.messages.received(msgspec.structs.replace(self.responses[name], **changes), MAIN)

    def deliver(self, progress: cm.ChargeProgress, **changes: Any) -> Ask:
        return self.sent("PowerDeliveryReq", charge_progress=progress, **changes)


@pytest.fixture
def talk(identities: Identities) -> Talk:
    return Talk(identities)


def test_a_session_of_direct_current(talk: Talk) -> None:
    phases = []
    for name in talk.requests:
        phases += [talk.sent(name).phase, talk.received(name).phase]
    seen = dict(zip([each for name in talk.requests for each in (name, name[:-3] + "Res")], phases, strict=True))
    assert seen["ServiceSelectionReq"] is Phase.IDLE
    assert seen["DC_ChargeParameterDiscoveryReq"] is Phase.IDLE
    assert seen["ScheduleExchangeReq"] is None
    assert seen["ScheduleExchangeRes"] is Phase.VOLTAGE, "state C comes before DC_CableCheckReq (V2G20-1418)"
    assert seen["DC_CableCheckReq"] is seen["DC_PreChargeReq"] is Phase.VOLTAGE
    assert seen["PowerDeliveryReq"] is Phase.POWER
    assert seen["DC_ChargeLoopReq"] is seen["DC_ChargeLoopRes"] is None
    assert (
        talk.messages.sent(
            cm.SessionStopReq(header=talk.header, charging_session=cm.ChargingSession.Terminate), MAIN
        ).phase
        is Phase.IDLE
    )


def test_a_schedule_that_is_not_finished_brings_nothing(talk: Talk) -> None:
    talk.sent("DC_ChargeParameterDiscoveryReq")
    assert talk.received("ScheduleExchangeReq", evse_processing=Processing.Ongoing).phase is None


def test_alternating_current_waits_for_power_delivery(talk: Talk) -> None:
    assert talk.received("ScheduleExchangeReq").phase is None
    assert talk.deliver(cm.ChargeProgress.Start, ev_processing=Processing.Ongoing).phase is None
    assert talk.deliver(cm.ChargeProgress.Start).phase is Phase.POWER


def test_a_wireless_vehicle_lets_power_pass_to_find_its_place(talk: Talk) -> None:
    request = wpt.WPT_AlignmentCheckReq(
        header=talk.header, ev_processing=Processing.Ongoing, ev_result_code=wpt.WPT_EVResult.EVResultUnknown
    )
    asked = talk.messages.sent(request, PayloadType.WPT)
    assert (asked.phase, asked.charge_w) == (Phase.POWER, UNBOUNDED)


@pytest.mark.parametrize(("wanted_w", "told_w"), [(0, 0), (7_000, 7_000), (-5, 0)])
def test_a_wireless_vehicle_reports_what_it_wants(talk: Talk, wanted_w: int, told_w: int) -> None:
    request = wpt.WPT_ChargeLoopReq(
        header=talk.header,
        meter_info_requested=False,
        evpc_power_request=whole(wanted_w),
        evpc_power_output=whole(0),
        evpc_charge_diagnostics=wpt.WPT_EVPCChargeDiagnostics.EVPCNoIssue,
    )
    asked = talk.messages.sent(request, PayloadType.WPT)
    assert (asked.phase, asked.charge_w) == (None, told_w)
    assert asked.alive_s == 1.0


@pytest.mark.parametrize("progress", ["Stop", "Standby", "ScheduleRenegotiation"])
def test_the_ways_out_of_the_loop(talk: Talk, progress: str) -> None:
    assert talk.deliver(cm.ChargeProgress[progress]).phase is Phase.REST
    assert talk.received("PowerDeliveryReq").phase is None
    refused = talk.received("PowerDeliveryReq", response_code=ResponseCode.WARNING_StandbyNotAllowed)
    assert refused.phase is (None if progress == "Stop" else Phase.POWER)


def test_an_old_schedule_that_is_kept_goes_on(talk: Talk) -> None:
    talk.sent("DC_ChargeParameterDiscoveryReq")
    talk.deliver(cm.ChargeProgress.ScheduleRenegotiation)
    talk.received("PowerDeliveryReq")
    assert talk.sent("ScheduleExchangeReq").phase is None
    assert talk.received("ScheduleExchangeReq").phase is None, "power comes with PowerDeliveryReq (Start)"
    code = ResponseCode.WARNING_ScheduleRenegotiationFailed
    assert talk.received("ScheduleExchangeReq", response_code=code).phase is Phase.POWER


def test_a_new_schedule_begins_with_a_start(talk: Talk) -> None:
    talk.deliver(cm.ChargeProgress.ScheduleRenegotiation)
    assert talk.deliver(cm.ChargeProgress.Start).phase is Phase.POWER
    code = ResponseCode.WARNING_PowerToleranceNotConfirmed
    assert talk.received("PowerDeliveryReq", response_code=code).phase is None


def test_a_failure_ends_everything(talk: Talk) -> None:
    assert talk.received("DC_ChargeLoopReq", response_code=ResponseCode.FAILED) == Ask(phase=Phase.IDLE)


@pytest.mark.parametrize("notice", list(EvseNotification))
def test_notices_that_end_the_session(talk: Talk, notice: EvseNotification) -> None:
    status = EVSEStatus(notification_max_delay=0, evse_notification=notice)
    ends = notice in (EvseNotification.Terminate, EvseNotification.Pause)
    assert talk.received("DC_ChargeLoopReq", evse_status=status).stop is ends


def test_how_long_somebody_may_be_silent(talk: Talk) -> None:
    assert talk.sent("DC_ChargeLoopReq").alive_s == 1.0
    assert talk.sent("PowerDeliveryReq").alive_s == 2.5
    timing = SessionConfig().timing
    pause_s = timing.poll_pause_s + timing.loop_pause_s + timing.contactor_s
    assert talk.received("DC_ChargeLoopReq").alive_s == pytest.approx(pause_s + 0.5)


SIDE = PayloadType.SCHEDULE_RENEGOTIATION


def test_side_streams_say_nothing_of_what_may_flow(talk: Talk) -> None:
    assert talk.messages.sent(talk.requests["PowerDeliveryReq"], SIDE) == Ask()
    assert talk.messages.received(talk.responses["PowerDeliveryReq"], SIDE) == Ask()


# -- what is agreed before power --------------------------------------------------------------------------------------

NAME = "DC_ChargeParameterDiscoveryReq"


def parameters(talk: Talk, most_w: int, back_w: int, most_a: int, most_v: int) -> Any:
    """Return the charger's parameters of direct current, with the same current in both directions."""
    response = talk.responses[NAME]
    changes = {
        "evse_maximum_charge_power": whole(most_w),
        "evse_maximum_discharge_power": whole(back_w),
        "evse_maximum_charge_current": whole(most_a),
        "evse_maximum_discharge_current": whole(-most_a),
        "evse_maximum_voltage": whole(most_v),
    }
    mode = msgspec.structs.replace(response.dc_cpd_res_energy_transfer_mode, **changes)
    return msgspec.structs.replace(response, dc_cpd_res_energy_transfer_mode=mode)


@pytest.mark.parametrize(("own_v", "agreed_mv"), [(450, 450_000), (900, 500_000)])
def test_the_chargers_parameters_bound_what_follows_and_loops_do_not_change_it(
    talk: Talk, own_v: int, agreed_mv: int
) -> None:
    own = msgspec.structs.replace(talk.requests[NAME].dc_cpd_req_energy_transfer_mode, ev_maximum_voltage=whole(own_v))
    talk.sent(NAME, dc_cpd_req_energy_transfer_mode=own)
    agreed = Output(20_000, 7_000, 60_000, 60_000, agreed_mv)
    assert talk.messages.received(parameters(talk, 20_000, -7_000, 60, 500), PayloadType.DC).limit == agreed
    mode = talk.responses["DC_ChargeLoopReq"].cl_res_control_mode
    more = {"evse_maximum_charge_power": whole(150_000), "evse_maximum_charge_current": whole(200)}
    for each in (more, dict.fromkeys(more, whole(0))):
        assert (
            talk.received("DC_ChargeLoopReq", cl_res_control_mode=msgspec.structs.replace(mode, **each)).limit == agreed
        )
    assert talk.messages.received(parameters(talk, 150_000, 9_000, 200, 900), PayloadType.DC).limit == agreed, "unasked"
    talk.sent(NAME, dc_cpd_req_energy_transfer_mode=own)
    assert talk.received(NAME, response_code=ResponseCode.FAILED) == Ask(phase=Phase.IDLE)


def test_where_loops_may_raise_what_was_agreed_the_voltage_is_what_remains(identities: Identities) -> None:
    talk = Talk(identities, raised_limits=True)
    talk.sent(NAME)
    found = talk.messages.received(parameters(talk, 20_000, -7_000, 60, 300), PayloadType.DC)
    assert found.limit == Output(UNBOUNDED, UNBOUNDED, UNBOUNDED, UNBOUNDED, 300_000)


@pytest.mark.parametrize(
    ("code", "accepted"),
    [
        (ResponseCode.OK, True),
        (ResponseCode.WARNING_ScheduleRenegotiationFailed, False),
        (ResponseCode.FAILED, False),
    ],
)
def test_a_side_stream_agrees_with_its_power_delivery_and_raises_no_voltage(
    talk: Talk, code: ResponseCode, accepted: bool
) -> None:
    talk.sent(NAME)
    before = talk.messages.received(parameters(talk, 20_000, 7_000, 60, 400), PayloadType.DC).limit
    done = msgspec.structs.replace(talk.responses["PowerDeliveryReq"], response_code=code)
    assert talk.messages.received(parameters(talk, 90_000, 9_000, 200, 600), SIDE) == Ask(), "unasked"
    assert talk.messages.received(talk.responses["PowerDeliveryReq"], SIDE) == Ask()
    talk.messages.sent(talk.requests[NAME], SIDE)
    assert talk.messages.received(parameters(talk, 90_000, 9_000, 200, 600), SIDE) == Ask()
    assert talk.received("DC_ChargeLoopReq").limit == before, "until the charger has accepted the profile"
    found = talk.messages.received(done, SIDE)
    after = Output(90_000, 9_000, 200_000, 200_000, 400_000) if accepted else before
    assert found.limit == (after if accepted else None)
    assert talk.received("DC_ChargeLoopReq").limit == after


def test_each_stream_has_its_own_request(talk: Talk) -> None:
    more = parameters(talk, 90_000, 9_000, 200, 400)
    talk.sent(NAME)
    assert talk.messages.received(more, SIDE) == Ask()
    done = talk.messages.received(talk.responses["PowerDeliveryReq"], SIDE)
    assert done == Ask()
    assert talk.messages.received(more, PayloadType.DC).limit == Output(90_000, 9_000, 200_000, 200_000, 400_000)
    talk.messages.sent(talk.requests[NAME], SIDE)
    talk.messages.received(parameters(talk, 5_000, 0, 10, 400), SIDE)
    assert talk.messages.received(talk.responses["ScheduleExchangeReq"], SIDE) == Ask(), "no profile is accepted yet"


def test_a_negative_limit_of_charge_is_none(talk: Talk) -> None:
    talk.sent(NAME)
    found = talk.messages.received(parameters(talk, -20_000, 7_000, 60, 400), PayloadType.DC).limit
    assert found is not None
    assert found.charge_w == 0


def test_what_no_response_is_means_nothing(talk: Talk) -> None:
    assert talk.messages.received(talk.requests["DC_ChargeLoopReq"], MAIN).phase is None
    assert talk.messages.received(talk.requests["DC_ChargeLoopReq"], SIDE) == Ask()


def test_a_warning_is_no_old_state_where_there_is_none(talk: Talk) -> None:
    code = ResponseCode.WARNING_ScheduleRenegotiationFailed
    talk.sent(NAME)
    assert talk.received("ScheduleExchangeReq", response_code=code).phase is Phase.VOLTAGE
    talk.deliver(cm.ChargeProgress.ScheduleRenegotiation)
    assert [talk.received("PowerDeliveryReq", response_code=code).phase for _ in range(2)] == [Phase.POWER, None]


def test_a_side_stream_is_read_as_that_of_direct_current_before_there_are_parameters(talk: Talk) -> None:
    assert talk.messages.decode(SIDE, exi.encode(talk.responses[NAME])) == talk.responses[NAME]


def test_alternating_current_in_one_direction_agrees_on_no_discharge(talk: Talk) -> None:
    talk.messages.sent(ac_request(talk, 3), PayloadType.AC)
    mode = ac.AC_CPDResEnergyTransferMode(
        evse_maximum_charge_power=whole(9_000),
        evse_minimum_charge_power=whole(0),
        evse_nominal_frequency=whole(50),
    )
    response = ac.AC_ChargeParameterDiscoveryRes(
        header=talk.header, response_code=ResponseCode.OK, ac_cpd_res_energy_transfer_mode=mode
    )
    found = talk.messages.received(response, PayloadType.AC)
    assert (found.limit, found.line_w) == (Output(9_000), (9_000, 0))


@pytest.mark.parametrize("family", ["DC", "AC", "WPT"])
def test_parameters_on_a_side_stream_are_read_by_the_kind_of_power(talk: Talk, family: str) -> None:
    request, response = talk.requests[NAME], talk.responses[NAME]
    if family == "AC":
        request, response = ac_request(talk, 1), ac_response(talk, 3_000)
    if family != "WPT":
        talk.messages.sent(request, MAIN)
    else:
        talk.messages.sent(wpt_request(talk), MAIN)
    seen = [talk.messages.decode(SIDE, exi.encode(each)) for each in (talk.requests["PowerDeliveryReq"], response)]
    assert seen == [talk.requests["PowerDeliveryReq"], response if family != "WPT" else None]
    assert talk.messages.decode(0x9999, b"") is None


def ac_request(talk: Talk, lines: int) -> ac.AC_ChargeParameterDiscoveryReq:
    fields = each_phase("ev_maximum_charge_power", 3_680 * lines, lines) | each_phase(
        "ev_minimum_charge_power", 0, lines
    )
    mode = ac.AC_CPDReqEnergyTransferMode(**fields)  # type: ignore[arg-type]
    return ac.AC_ChargeParameterDiscoveryReq(header=talk.header, ac_cpd_req_energy_transfer_mode=mode)


def phased(field: str, watts: tuple[int, ...]) -> dict[str, Any]:
    return {field + phase: whole(each) for phase, each in zip(("", "_l2", "_l3"), watts, strict=False)}


def ac_response(talk: Talk, *watts: int, back: tuple[int, ...] = (0,)) -> ac.AC_ChargeParameterDiscoveryRes:
    mode = ac.BPT_AC_CPDResEnergyTransferMode(
        **phased("evse_maximum_charge_power", watts),
        **phased("evse_maximum_discharge_power", back),
        evse_minimum_charge_power=whole(0),
        evse_minimum_discharge_power=whole(0),
        evse_nominal_frequency=whole(50),
    )
    return ac.AC_ChargeParameterDiscoveryRes(
        header=talk.header, response_code=ResponseCode.OK, ac_cpd_res_energy_transfer_mode=mode
    )


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("phases", "given", "back", "most_w", "line_w"),
    [
        (3, (3_680, 3_680, 3_680), (-2_000, -2_000, -2_000), (11_040, 6_000), (3_680, 2_000)),
        (3, (3_680, 3_680, 1_000), (2_000, 2_000, 500), (3_000, 1_500), (1_000, 500)),
        (1, (3_680, 1_000, 1_000), (2_000, 0, 0), (3_680, 2_000), (3_680, 2_000)),
        (2, (3_680, 3_000, 0), (2_000, 1_000, 0), (6_000, 2_000), (3_000, 1_000)),
        (3, (3_680, 3_000), (2_000, 1_000), (6_000, 2_000), (3_000, 1_000)),
        (3, (11_040,), (6_000,), (11_040, 6_000), (11_040, 6_000)),
        (3, (-5,), (0,), (0, 0), (0, 0)),
    ],
)
def test_the_powers_of_alternating_current_bound_each_line(
    identities: Identities, phases: int, given: Any, back: Any, most_w: tuple[int, int], line_w: tuple[int, int]
) -> None:
    talk = Talk(identities, on_board_charger=OnBoardChargerConfig(phases=phases))  # type: ignore[arg-type]
    talk.messages.sent(ac_request(talk, phases), PayloadType.AC)
    found = talk.messages.received(ac_response(talk, *given, back=back), PayloadType.AC)
    assert (found.limit, found.lines, found.line_w) == (Output(*most_w), phases, line_w)
    assert found.phase is None
    assert found.alive_s > 0


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("target", "line_w"),
    [
        (None, (3_680, 2_000)),
        ((1_100, 1_100, 1_100), (1_100, 0)),
        ((-700, -700, -700), (0, 700)),
        ((5_000, 5_000, 5_000), (3_680, 0)),
        ((0, 0, 0), (0, 0)),
    ],
)
def test_a_target_of_a_loop_is_a_limit_of_each_line_until_the_next_one(talk: Talk, target: Any, line_w: Any) -> None:
    talk.messages.sent(ac_request(talk, 3), PayloadType.AC)
    talk.messages.received(ac_response(talk, 3_680, 3_680, 3_680, back=(2_000, 2_000, 2_000)), PayloadType.AC)
    for fields, expected in ((target, line_w), (None, (3_680, 2_000))):
        mode = ac.BPT_Scheduled_AC_CLResControlMode(**phased("evse_target_active_power", fields or ()))
        response = ac.AC_ChargeLoopRes(header=talk.header, response_code=ResponseCode.OK, cl_res_control_mode=mode)
        found = talk.messages.received(response, PayloadType.AC)
        assert (found.line_w, found.limit) == (expected, Output(11_040, 6_000))


def wpt_request(talk: Talk) -> wpt.WPT_ChargeParameterDiscoveryReq:
    return wpt.WPT_ChargeParameterDiscoveryReq(
        header=talk.header,
        evpc_max_receivable_power=whole(11_000),
        sd_max_ground_clearence=210,
        sd_min_ground_clearence=140,
        evpc_natural_frequency=whole(85_000),
        evpc_device_local_control=False,
    )


@pytest.mark.parametrize(("given_w", "most_w"), [(7_000, 7_000), (-5, 0)])
def test_a_coil_gives_no_more_than_its_parameters_say(talk: Talk, given_w: int, most_w: int) -> None:
    talk.messages.sent(wpt_request(talk), PayloadType.WPT)
    response = wpt.WPT_ChargeParameterDiscoveryRes(
        header=talk.header,
        response_code=ResponseCode.OK,
        pd_input_power_class=wpt.WPT_PowerClass.MF_WPT3,
        sd_min_output_power=whole(0),
        sd_max_output_power=whole(given_w),
        sd_max_ground_clearance_support=250,
        sd_min_ground_clearance_support=100,
        pd_min_coil_current=whole(0),
        pd_max_coil_current=whole(50),
    )
    found = talk.messages.received(response, PayloadType.WPT)
    assert (found.limit, found.lines) == (Output(most_w), 0)


def test_what_a_battery_bears(identities: Identities) -> None:
    state = Bench(identities).model.state
    seen = reading(msgspec.structs.replace(state, fault="hot"))
    assert seen.fault == "hot"
    assert (seen.voltage_mv, seen.current_ma) == (state.voltage_mv, state.current_ma)
    assert seen.bears == Output(
        charge_w=state.max_charge_w,
        discharge_w=state.max_discharge_w,
        charge_ma=state.max_charge_ma,
        discharge_ma=state.max_discharge_ma,
        voltage_mv=state.max_voltage_mv,
    )
