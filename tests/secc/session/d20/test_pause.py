"""A session that stops for a while: paused and joined, in standby, or back at the choice of services."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig
from secc.session.ports import Paused
from tests.secc.session.bench import AC, AC_BPT, DC, Bench
from v2g.energy.limits import Setpoint
from v2g.energy.settlement.records import ServiceChanged
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine.sequence import State

Make = Callable[..., Bench]
VEHICLE = b"the vehicle's leaf"


def pause(bench: Bench) -> Any:
    return bench.send(bench.ask("SessionStopReq", charging_session=cm.ChargingSession.Pause))


def power(bench: Bench, progress: cm.ChargeProgress) -> Any:
    profile = bench.profile(1, 10_000) if bench.scheduled and progress is cm.ChargeProgress.Start else None
    return bench.send(bench.ask("PowerDeliveryReq", charge_progress=progress, ev_power_profile=profile))


@pytest.fixture
def paused(make_bench: Make) -> Bench:
    """A bench whose session has been paused after some energy."""
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.SESSION_STOP)
    assert pause(bench).response_code.name == "OK"
    return bench


def kept(bench: Bench) -> Paused:
    """What was kept, after a way through a file."""
    (command,) = bench.commands(ports.SaveSession)
    return msgspec.json.decode(msgspec.json.encode(command.paused), type=Paused)


def back(make_bench: Make, paused: Paused, **options: Any) -> tuple[Bench, Any]:
    """Return a new connection on which the vehicle has said its old session id, and the answer."""
    bench = make_bench(**{"vehicle_certificate": VEHICLE, "paused": paused, **options})
    bench.go("SupportedAppProtocolReq")
    response = bench.send(bench.ask("SessionSetupReq", header=bench.header(session_id=paused.session_id)))
    return bench, response


def test_a_paused_session_keeps_journal_and_transaction_open(paused: Bench) -> None:
    assert paused.session.state is State.PAUSED
    assert not paused.commands(ports.CloseJournal)
    assert not paused.commands(ports.TransactionEnded)
    assert paused.commands(ports.TransactionUpdated)[-1].charging_state == "SuspendedEV"
    paused.pass_time(5)
    assert paused.reason == "paused"


def test_power_is_off_before_a_pause_ends_the_authorisation(make_bench: Make) -> None:
    """Else the output's voltage is above that of a vehicle that is no longer known: a fault until it is unplugged."""
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    assert pause(bench).response_code.name == "OK"
    off = [type(each) for each in bench.commands() if isinstance(each, ports.EmergencyOff | ports.SaveSession)]
    assert off == [ports.EmergencyOff, ports.SaveSession]


def test_what_is_kept_is_bound_to_the_vehicle(paused: Bench) -> None:
    assert kept(paused).vehicle == binding(paused.session.session_id, VEHICLE)
    assert kept(paused).meter_begin == (5_000_000, 2_000_000)
    assert kept(paused).service is EnergyService.DC_BPT


def test_power_is_off_before_the_pause_is_granted_whatever_the_vehicle_left_out(make_bench: Make) -> None:
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    pause(bench)
    off = next(n for n, each in enumerate(bench.actions) if isinstance(each, ports.EmergencyOff))
    assert off < len(bench.actions) - 1
    assert not bench.session.powered


def test_the_same_vehicle_goes_on_at_the_charge_parameters(paused: Bench, make_bench: Make) -> None:
    bench, response = back(make_bench, kept(paused))
    assert response.response_code.name == "OK_OldSessionJoined"
    assert response.header.session_id == paused.session.session_id == bench.session.session_id
    assert bench.session.state is State.DC_CHARGE_PARAMETER_DISCOVERY
    (joined,) = bench.commands(ports.JoinSession)
    assert joined.session_id == paused.session.session_id.hex()
    assert bench.records() == ["ServiceChanged", "TariffSet"]  # prices may have changed meanwhile
    bench.go("DC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq")
    bench.go("PowerDeliveryReq", "DC_ChargeLoopReq")
    assert bench.session.state is State.DC_CHARGE_LOOP
    assert not bench.commands(ports.TransactionStarted)


def test_readings_of_a_joined_session_count_from_its_beginning(paused: Bench, make_bench: Make) -> None:
    bench, _ = back(make_bench, kept(paused), meter=ports.MeterRead(1, 6_000_000, 2_500_000))
    bench.import_mwh, bench.export_mwh = 6_000_000, 2_500_000
    bench.go("DC_ChargeParameterDiscoveryReq", "ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq")
    info = bench.go("PowerDeliveryReq", "DC_ChargeLoopReq").meter_info
    assert (info.charged_energy_reading_wh, info.bpt_discharged_energy_reading_wh) == (1_000, 500)


def test_the_end_of_a_joined_session_closes_journal_and_transaction(paused: Bench, make_bench: Make) -> None:
    bench, _ = back(make_bench, kept(paused))
    bench.go("SessionStopReq")
    assert bench.commands(ports.CloseJournal)
    assert bench.commands(ports.TransactionEnded)[0].session_id == paused.session.session_id.hex()


@pytest.mark.parametrize("other", ["certificate", "no_certificate", "session", "service"])
def test_anybody_else_gets_a_new_session_and_the_old_one_is_closed(paused: Bench, make_bench: Make, other: str) -> None:
    """V2G20-2626, -2627."""
    options: dict[str, Any] = {
        "certificate": {"vehicle_certificate": b"another"},
        "no_certificate": {"vehicle_certificate": b""},
        "session": {},
        "service": {"config": SeccConfig(services=(EnergyService.DC,))},
    }[other]
    own = b"\xff" * 8  # the bench draws the same session ids in every run
    old = msgspec.structs.replace(kept(paused), session_id=own, vehicle=binding(own, VEHICLE))
    if other == "session":
        bench = make_bench(vehicle_certificate=VEHICLE, paused=old)
        bench.go("SupportedAppProtocolReq")
        response = bench.go("SessionSetupReq")
    else:
        bench, response = back(make_bench, old, **options)
    assert response.response_code.name == "OK_NewSessionEstablished"
    assert response.header.session_id != old.session_id
    assert [each.session_id for each in bench.commands(ports.ForgetSession)] == [old.session_id.hex()]
    assert not bench.commands(ports.JoinSession)


@pytest.mark.parametrize(
    ("state", "options"),
    [
        (State.SESSION_STOP, {"vehicle_certificate": b""}),
        (State.SESSION_STOP, {"vehicle_certificate": VEHICLE, "config": SeccConfig(pause=False)}),
        (State.SERVICE_DISCOVERY, {"vehicle_certificate": VEHICLE}),
        (State.AUTHORIZATION, {"vehicle_certificate": VEHICLE}),
    ],
    ids=["no_certificate", "not_configured", "nothing_selected", "not_authorised"],
)
def test_a_pause_that_cannot_be_kept_is_refused(make_bench: Make, state: State, options: dict[str, Any]) -> None:
    bench = make_bench(**options).reach(state)
    assert pause(bench).response_code.name == "FAILED_PauseNotAllowed"
    assert not bench.commands(ports.SaveSession)


def test_a_vehicle_that_does_not_sign_is_asked_to_pause_all_the_same(make_bench: Make) -> None:
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.MeterRead(bench.utc_ms, 5_900_000, 2_000_000))
    bench.fact(ports.PauseRequested())
    began, notices = bench.now, []
    while bench.now < began + 6:
        notices.append(bench.go("DC_ChargeLoopReq").evse_status.evse_notification)
        bench.pass_time(0.4)
    assert notices[0] is EvseNotification.MeteringConfirmation
    assert notices[-1] is EvseNotification.Pause
    assert 11 <= notices.count(EvseNotification.MeteringConfirmation) <= 13


def test_a_meter_that_went_back_delays_no_pause(make_bench: Make) -> None:
    """No message can name its reading, so there is nothing to sign."""
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.MeterRead(bench.utc_ms, 4_999_999, 2_000_000))
    bench.fact(ports.PauseRequested())
    assert bench.go("DC_ChargeLoopReq").evse_status.evse_notification is EvseNotification.Pause


def test_a_reading_that_is_asked_for_again_still_goes_before_the_pause(make_bench: Make) -> None:
    """A quarter hour that ends just then asks for a signature, too."""
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.MeterRead(bench.utc_ms, 5_900_000, 2_000_000))
    bench.fact(ports.PauseRequested())
    bench.fact(ports.MeteringConfirmationRequested())
    reported = bench.go("DC_ChargeLoopReq").evse_status.evse_notification
    assert reported is EvseNotification.MeteringConfirmation


def test_the_charger_asks_for_a_pause_in_the_loop(make_bench: Make) -> None:
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.PauseRequested())
    status = bench.go("DC_ChargeLoopReq").evse_status
    assert status.evse_notification is EvseNotification.Pause
    assert status.notification_max_delay == 60
    bench.pass_time(0.4)
    bench.go("DC_ChargeLoopReq")
    assert bench.responses[-1].evse_status.notification_max_delay == 59  # it counts down


def test_a_vehicle_that_has_not_begun_is_asked_to_pause_with_its_schedule(make_bench: Make) -> None:
    """V2G20-2122."""
    bench = make_bench(vehicle_certificate=VEHICLE).reach(State.SCHEDULE_EXCHANGE)
    bench.fact(ports.PauseRequested())
    assert bench.go("ScheduleExchangeReq").go_to_pause
    assert power(bench, cm.ChargeProgress.Stop).response_code.name == "OK"
    assert pause(bench).response_code.name == "OK"


# -- standby ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "scheduled"), [(6, False), (6, True), (DC, False), (AC_BPT, False), (AC, True)])
def test_in_standby_nothing_flows_and_start_goes_on(make_bench: Make, service: int, scheduled: bool) -> None:
    modes = (ControlMode.SCHEDULED,) if scheduled else (ControlMode.DYNAMIC,)
    services = (EnergyService.AC_BPT, EnergyService.AC, EnergyService.DC_BPT, EnergyService.DC)
    bench = make_bench(SeccConfig(services=services, control_modes=modes), pilot=None)
    bench.selection, bench.scheduled = (service, 0, service in (6, AC_BPT)), scheduled
    loop = State.AC_CHARGE_LOOP if service in (AC, AC_BPT) else State.DC_CHARGE_LOOP
    request = "AC_ChargeLoopReq" if service in (AC, AC_BPT) else "DC_ChargeLoopReq"
    bench.reach(loop)
    driven = bench.session.stage.output
    assert driven.charge_w > 0
    assert power(bench, cm.ChargeProgress.Standby).response_code.name == "OK"
    assert bench.session.state is State.STANDBY
    output = bench.session.stage.output
    assert (output.charge_w, output.discharge_w) == (0, 0)
    bench.fact(ports.SetpointChanged(Setpoint(power_w=9_000, source="csms")))
    bench.go(request)
    assert (bench.session.stage.output.charge_w, bench.session.state) == (0, State.STANDBY)
    bench.pass_time(30)  # nothing arrives for longer than the loop allows
    assert not bench.reason
    assert power(bench, cm.ChargeProgress.Start).response_code.name == "OK"
    assert bench.session.state is loop
    assert bench.go(request).response_code.name == "OK"
    assert bench.session.stage.output.charge_w > 0


def test_standby_is_not_granted_where_it_is_not_configured_or_nothing_was_started(make_bench: Make) -> None:
    bench = make_bench(SeccConfig(standby=False)).reach(State.DC_CHARGE_LOOP)
    assert power(bench, cm.ChargeProgress.Standby).response_code.name == "WARNING_StandbyNotAllowed"
    assert bench.session.state is State.DC_CHARGE_LOOP
    bench = make_bench().reach(State.DC_CABLE_CHECK)
    assert power(bench, cm.ChargeProgress.Standby).response_code.name == "WARNING_StandbyNotAllowed"


def requested(power_w: int | None) -> ports.SetpointChanged:
    return ports.SetpointChanged(None if power_w is None else Setpoint(power_w=power_w, source="csms"))


def test_a_requested_power_calls_a_vehicle_out_of_standby(make_bench: Make) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    bench.fact(requested(-5_000))
    assert bench.go("DC_ChargeLoopReq").evse_status is None  # it is not in standby
    power(bench, cm.ChargeProgress.Standby)
    for fact in (requested(-4_000), requested(0), requested(None)):
        bench.fact(fact)
        assert bench.go("DC_ChargeLoopReq").evse_status is None  # it rests by its own wish, or no power is requested
    bench.fact(requested(-4_000))
    assert bench.go("DC_ChargeLoopReq").evse_status.evse_notification is EvseNotification.ExitStandby
    power(bench, cm.ChargeProgress.Start)
    assert bench.go("DC_ChargeLoopReq").evse_status is None


def test_a_vehicle_that_falls_silent_in_standby_is_let_go_after_the_sequence_time(make_bench: Make) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    power(bench, cm.ChargeProgress.Standby)
    bench.go("DC_ChargeLoopReq")
    bench.pass_time(61)
    assert bench.reason == "sequence_timeout"
    assert bench.commands(ports.EmergencyOff)


def test_a_stop_out_of_standby_opens_the_contactors(make_bench: Make) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    power(bench, cm.ChargeProgress.Standby)
    assert power(bench, cm.ChargeProgress.Stop).response_code.name == "OK"
    assert bench.session.state is State.DC_WELDING_DETECTION
    assert bench.commands(ports.OpenContactors)


# -- services anew ------------------------------------------------------------------------------------------------


def reselect(bench: Bench) -> Any:
    return bench.send(bench.ask("SessionStopReq", charging_session=cm.ChargingSession.ServiceRenegotiation))


def test_services_are_selected_anew_in_the_same_session(make_bench: Make) -> None:
    bench = make_bench().reach(State.SESSION_STOP)
    session_id = bench.session.session_id
    assert reselect(bench).response_code.name == "OK"
    assert bench.session.state is State.SERVICE_DISCOVERY
    bench.selection = (DC, 0, False)
    bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq", "DC_ChargeParameterDiscoveryReq")
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    assert bench.session.session_id == session_id
    assert bench.records().count("SessionStarted") == 1
    changes = [each.record for each in bench.commands(ports.Journal) if isinstance(each.record, ServiceChanged)]
    assert [(each.service, each.discharge, each.reason) for each in changes[1:]] == [("DC", "none", "renegotiated")]
    assert len(bench.commands(ports.TransactionStarted)) == 1


def test_signed_discharge_begins_anew_with_the_services(make_bench: Make) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    bench.decide()
    assert bench.command(5_000).status.name == "ACCEPTED"
    bench.go("DC_ChargeLoopReq")
    assert bench.commands(ports.SetOutput)[-1].discharge_w == 5_000
    power(bench, cm.ChargeProgress.Stop)
    reselect(bench)
    bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq", "DC_ChargeParameterDiscoveryReq")
    frames = len(bench.signed_frames)
    bench.go("ScheduleExchangeReq")
    assert len(bench.signed_frames) == frames + 1  # a new offer
    bench.go("DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    assert bench.commands(ports.SetOutput)[-1].discharge_w == 0


@pytest.mark.parametrize("state", [State.AUTHORIZATION, State.AUTHORIZATION_SETUP])
def test_before_authorization_there_is_nothing_to_go_back_to(make_bench: Make, state: State) -> None:
    bench = make_bench().reach(state)
    assert reselect(bench).response_code.name == "FAILED_NoServiceRenegotiationSupported"


def test_the_charger_asks_for_other_services(make_bench: Make) -> None:
    bench = make_bench().reach(State.DC_CHARGE_LOOP)
    bench.fact(ports.EnergyTransferAllowed(frozenset({DC})))
    status = bench.go("DC_ChargeLoopReq").evse_status
    assert status.evse_notification is EvseNotification.ServiceRenegotiation
    power(bench, cm.ChargeProgress.Stop)
    reselect(bench)
    bench.selection = (DC, 0, False)
    bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq", "DC_ChargeParameterDiscoveryReq")
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    assert bench.go("DC_ChargeLoopReq").evse_status is None, "it has done so"
