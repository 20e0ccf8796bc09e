"""What the messages of a vehicle's session mean to its safety monitor."""

from typing import Any

import msgspec
import pytest

from evcc.hardware.safety import reading
from evcc.session.d20.quantities import whole
from evcc.session.d20.safety import Iso20Messages
from evcc.session.settings import SessionConfig
from tests.evcc.session.bench import Bench, Identities
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import wpt
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus, Processing, ResponseCode
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import UNBOUNDED, Ask, Output, Phase

MAIN = PayloadType.COMMON


class Talk:
    """A whole session of direct current, message by message, and what each one means."""

    def __init__(self, identities: Identities) -> None:
        bench = Bench(identities)
        bench.run_to("DC_ChargeLoopReq")
        self.requests = {type(each).__name__: each for each in bench.requests}
        self.responses = {name: bench.charger.answer(each) for name, each in self.requests.items()}
        self.messages = Iso20Messages(SessionConfig())
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


def test_side_streams_say_nothing_of_what_may_flow(talk: Talk) -> None:
    stream = PayloadType.SCHEDULE_RENEGOTIATION
    assert talk.messages.sent(talk.requests["PowerDeliveryReq"], stream) == Ask()
    assert talk.messages.received(talk.responses["PowerDeliveryReq"], stream) == Ask()


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
