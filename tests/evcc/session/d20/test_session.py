"""A vehicle's session from the handshake to the end, as the sequence chart has it."""

from typing import Any

import msgspec
import pytest

from evcc.session.contracts import Contract
from evcc.session.ports import CloseContactor, NeedsChanged, OpenContactor, SetCpState, SetPowerLimits, StopRequested
from evcc.session.settings import (
    AuthorizationConfig,
    DischargeConfig,
    NeedsConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
    TimingConfig,
    VehicleConfig,
)
from tests.evcc.session.bench import SHORT, T0, Bench, Identities, whole
from v2g.errors import CertificateError
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import CHARTS, Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import (
    EvseNotification,
    EVSEStatus,
    Processing,
    RationalNumber,
    ResponseCode,
)
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.engine.signature import verify
from v2g.iso15118.engine.v2gtp import PayloadType

CHARGE = ProgramStep(do="charge", energy_wh=100)

WHOLE = [
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "AuthorizationSetupReq",
    "AuthorizationReq",
    "ServiceDiscoveryReq",
    "ServiceDetailReq",
    "ServiceSelectionReq",
    "DC_ChargeParameterDiscoveryReq",
    "ScheduleExchangeReq",
    "DC_CableCheckReq",
    "DC_PreChargeReq",
    "PowerDeliveryReq",
    "DC_ChargeLoopReq",
    "PowerDeliveryReq",
    "DC_WeldingDetectionReq",
    "SessionStopReq",
]


def of(bench: Bench, type_: type) -> list:  # type: ignore[type-arg]
    return [request for request in bench.requests if type(request) is type_]


def test_a_whole_session_runs_through_the_chart_and_ends_in_order(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run()
    assert bench.names() == WHOLE
    assert bench.closed == "finished"
    assert bench.session.state.value == "ended"
    assert bench.model.state.charged_mwh >= 100_000


def test_hardware_is_asked_in_the_safe_order(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run()
    hardware = [
        c for c in bench.commands if isinstance(c, SetCpState | CloseContactor | OpenContactor | SetPowerLimits)
    ]
    assert hardware == [
        SetCpState(PilotState.C),
        CloseContactor(),
        SetPowerLimits(22_000, 0),
        SetPowerLimits(0, 0),  # in the loop
        SetPowerLimits(0, 0),  # with PowerDelivery
        SetCpState(PilotState.B),
        OpenContactor(),
    ]


def test_the_pilot_is_in_c_before_the_cable_check_and_the_circuit_closed_before_the_last_pre_charge(
    bench: Bench,
) -> None:
    bench.run_to("DC_CableCheckReq")
    assert bench.commands == [SetCpState(PilotState.C)]
    bench.run_to("PowerDeliveryReq")
    assert CloseContactor() in bench.commands
    *waiting, last = [request.ev_processing for request in of(bench, dc.DC_PreChargeReq)]
    assert last is Processing.Finished
    assert set(waiting) == {Processing.Ongoing}


def test_the_contactor_stays_open_until_the_voltage_at_the_inlet_matches(bench: Bench) -> None:
    bench.charger.ongoing["DC_PreChargeReq"] = 5
    bench.run_to("PowerDeliveryReq")
    assert len(of(bench, dc.DC_PreChargeReq)) == 7  # five without voltage, one with, one Finished
    assert bench.seen("power", "connected") == [{"inlet_mv": 370_000, "battery_mv": 370_000}]


def test_who_we_are_is_sent_with_an_empty_session_id(identities: Identities) -> None:
    config = SessionConfig(vehicle=VehicleConfig(evcc_id="WMIXYZ"))
    bench = Bench(identities, config)
    bench.run_to("AuthorizationSetupReq")
    (setup,) = of(bench, cm.SessionSetupReq)
    assert setup.evcc_id == "WMIXYZ"
    assert setup.header.session_id == bytes(8)
    assert bench.requests[-1].header.session_id == bench.charger.session_id


def test_the_contract_key_signs_the_challenge_and_the_chain(bench: Bench, identities: Identities) -> None:
    bench.run_to("ServiceDiscoveryReq")
    (request,) = of(bench, cm.AuthorizationReq)
    mode = request.pnc_a_req_authorization_mode
    assert mode.gen_challenge == b"c" * 16
    assert mode.contract_certificate_chain.certificate == identities.contract.chain[0]
    assert mode.contract_certificate_chain.sub_certificates.certificate == identities.contract.chain[1:]
    verify(request.header.signature, mode, identities.contract.key.public_key, schema=COMMON_MESSAGES)


def test_an_authorization_that_takes_time_is_asked_again_with_nothing_changed_but_the_time(bench: Bench) -> None:
    bench.charger.ongoing["AuthorizationReq"] = 30
    bench.run_to("ServiceDiscoveryReq")
    first, *repeated = of(bench, cm.AuthorizationReq)
    assert len(repeated) == 30
    for request in repeated:
        header = msgspec.structs.replace(request.header, time_stamp=first.header.time_stamp)
        assert msgspec.structs.replace(request, header=header) == first
    assert repeated[-1].header.time_stamp > first.header.time_stamp


@pytest.mark.parametrize("code", [code for code in ResponseCode if code.name.startswith("WARNING")])
def test_a_warning_means_not_authorised_and_is_named(bench: Bench, code: ResponseCode) -> None:
    bench.charger.codes["AuthorizationReq"] = code
    bench.run()
    assert bench.names()[-2:] == ["AuthorizationReq", "SessionStopReq"]
    assert bench.closed == code.name
    assert bench.requests[-1].ev_termination_code == code.name


def test_without_tls_no_contract_is_shown_and_no_challenge_signed(identities: Identities) -> None:
    refusing = Bench(identities, SHORT, tls=False)
    refusing.run()
    assert refusing.closed == "no_authorization_possible"
    assert not of(refusing, cm.AuthorizationReq)
    card = Bench(
        identities, msgspec.structs.replace(SHORT, authorization=AuthorizationConfig(allow_eim=True)), tls=False
    )
    card.run_to("ServiceDiscoveryReq")
    (request,) = of(card, cm.AuthorizationReq)
    assert request.selected_authorization_service is cm.Authorization.EIM


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("processing", "seconds"),
    [(Processing.Ongoing, 60.0), (Processing.Ongoing_WaitingForCustomerInteraction, 300.0)],
)
def test_a_customer_is_given_more_time_than_a_back_end(
    identities: Identities, processing: Processing, seconds: float
) -> None:
    bench = Bench(identities, msgspec.structs.replace(SHORT, authorization=AuthorizationConfig(prefer_eim=True)))
    bench.charger.processing = lambda name: processing  # type: ignore[method-assign]
    bench.run_to("AuthorizationReq")
    began = bench.now
    bench.run(most=20_000)
    bench.assert_safe("authorization_timeout")
    assert bench.now - began == pytest.approx(seconds, abs=0.11)


def test_a_contract_that_ends_soon_still_pays(bench: Bench) -> None:
    bench.charger.codes["AuthorizationReq"] = ResponseCode.OK_CertificateExpiresSoon
    bench.run_to("ServiceDiscoveryReq")
    assert bench.seen("authorization", "granted")[0]["code"] == "OK_CertificateExpiresSoon"


@pytest.mark.parametrize(
    ("offered", "contract", "config", "taken"),
    [
        ("PnC EIM", True, {}, "PnC"),
        ("PnC EIM", True, {"allow_eim": True}, "PnC"),
        ("PnC EIM", True, {"prefer_eim": True}, "EIM"),
        ("PnC EIM", False, {"allow_eim": True}, "EIM"),
        ("EIM", True, {"allow_eim": True}, "EIM"),
        ("PnC EIM", False, {}, None),
        ("EIM", True, {}, None),
        ("PnC", False, {"allow_eim": True}, None),
    ],
)
def test_means_of_payment(
    identities: Identities,
    offered: str,
    contract: bool,
    config: dict[str, bool],
    taken: str | None,
) -> None:
    bench = Bench(identities, SessionConfig(authorization=AuthorizationConfig(**config)), contract=contract)
    bench.charger.authorization = tuple(cm.Authorization(name) for name in offered.split())
    bench.run(lambda: bool(of(bench, cm.ServiceDiscoveryReq)))
    if taken is None:
        assert bench.closed == "no_authorization_possible"
        assert bench.names()[-2:] == ["AuthorizationSetupReq", "SessionStopReq"]
    else:
        assert of(bench, cm.AuthorizationReq)[0].selected_authorization_service.name == taken


@pytest.mark.parametrize(
    ("services", "modes", "config", "selected"),
    [
        ((2, 6), (2, 1), {}, (6, 0, 61440)),
        ((2, 6), (1, 2), {}, (6, 1, 61440)),
        ((2, 6), (1,), {}, (6, 0, 61440)),
        ((2, 6), (2, 1), {"control_mode": ("scheduled", "dynamic")}, (6, 1, 61440)),
        ((2, 6), (2, 1), {"energy": ("DC",)}, (2, 0, None)),
        ((2,), (2, 1), {}, (2, 0, None)),
        ((1, 2, 5), (2, 1), {}, (2, 0, None)),
        ((2, 6), (2, 1), {"signed_discharge": False}, (6, 0, None)),
    ],
)
def test_services_are_chosen_by_preference(
    identities: Identities,
    services: tuple[int, ...],
    modes: tuple[int, ...],
    config: dict[str, object],
    selected: tuple[int, int, int | None],
) -> None:
    bench = Bench(identities, SessionConfig(services=ServiceConfig(**config)))  # type: ignore[arg-type]
    bench.charger.services, bench.charger.modes = services, modes
    bench.run_to("DC_ChargeParameterDiscoveryReq")
    (request,) = of(bench, cm.ServiceSelectionReq)
    energy, added = request.selected_energy_transfer_service, request.selected_vas_list
    vas = added.selected_service[0].service_id if added else None
    assert (energy.service_id, energy.parameter_set_id, vas) == selected
    detailed = {each.service_id for each in of(bench, cm.ServiceDetailReq)}
    assert {energy.service_id, *([vas] if vas else [])} <= detailed  # V2G20-1216


def test_every_service_is_asked_about_before_it_is_given_up(identities: Identities) -> None:
    bench = Bench(identities, SessionConfig(services=ServiceConfig(control_mode=("dynamic",))))
    bench.charger.modes = (1,)
    bench.run()
    assert [each.service_id for each in of(bench, cm.ServiceDetailReq)] == [6, 2]
    assert bench.closed == "no_usable_parameter_set"


def test_a_charger_without_a_service_of_ours_is_left(bench: Bench) -> None:
    bench.charger.services = (1, 5)
    bench.run()
    assert bench.closed == "no_usable_service"


def test_a_battery_outside_the_chargers_voltage_is_not_connected(identities: Identities) -> None:
    bench = Bench(identities, soc=60)
    bench.run_to("DC_ChargeParameterDiscoveryReq")
    request = bench.unanswered.pop()
    response = bench.charger.answer(request)
    mode = msgspec.structs.replace(
        response.dc_cpd_res_energy_transfer_mode,
        evse_maximum_voltage=response.dc_cpd_res_energy_transfer_mode.evse_minimum_voltage,
    )
    bench.reply(msgspec.structs.replace(response, dc_cpd_res_energy_transfer_mode=mode))
    bench.run()
    assert bench.closed == "incompatible_voltage"
    assert CloseContactor() not in bench.commands


def test_needs_are_stated_in_order(identities: Identities) -> None:
    needs = NeedsConfig(departure_after_s=7200, target_soc=80, minimum_soc=70)
    bench = Bench(identities, SessionConfig(needs=needs), soc=60)
    bench.run_to("DC_CableCheckReq")
    (request,) = of(bench, cm.ScheduleExchangeReq)
    mode = request.dynamic_se_req_control_mode
    energies = [
        r.value * 10**r.exponent
        for r in (mode.ev_minimum_energy_request, mode.ev_target_energy_request, mode.ev_maximum_energy_request)
    ]
    assert energies == [6_000, 12_000, 24_000]
    assert mode.departure_time == 7200
    assert (mode.minimum_soc, mode.target_soc) == (70, 80)


def test_a_scheduled_session_follows_the_tuple_that_can_discharge(identities: Identities) -> None:
    config = SessionConfig(services=ServiceConfig(control_mode=("scheduled",)), program=(CHARGE,))
    bench = Bench(identities, config, scale=20)
    bench.run()
    assert bench.closed == "finished"
    start = of(bench, cm.PowerDeliveryReq)[0]
    assert start.ev_power_profile.scheduled_evppt_control_mode.selected_schedule_tuple_id == 2
    powers = [
        e.power.value * 10**e.power.exponent
        for e in start.ev_power_profile.ev_power_profile_entries.ev_power_profile_entry
    ]
    assert powers == [16_000, 8_000]
    loop = of(bench, dc.DC_ChargeLoopReq)[0].cl_req_control_mode
    assert isinstance(loop, dc.BPT_Scheduled_DC_CLReqControlMode)
    assert loop.ev_target_current.value * 10.0**loop.ev_target_current.exponent == pytest.approx(16_000 / 370, abs=0.1)


def test_a_charger_that_asks_for_a_pause_gets_one(bench: Bench) -> None:
    bench.charger.go_to_pause = True
    bench.run()
    assert bench.names()[-2:] == ["ScheduleExchangeReq", "SessionStopReq"]
    assert bench.requests[-1].charging_session is cm.ChargingSession.Pause
    assert bench.closed == "paused"


def test_the_loop_is_paced(identities: Identities) -> None:
    bench = Bench(identities)
    bench.run_to("DC_ChargeLoopReq")
    began = bench.now
    for _ in range(21):
        bench.run(lambda: not bench.unanswered)
        bench.run_to("DC_ChargeLoopReq")
    assert bench.now - began == pytest.approx(21 * 0.1)


@pytest.mark.parametrize(
    ("notification", "names", "session", "closed"),
    [
        ("Terminate", ["PowerDeliveryReq", "DC_WeldingDetectionReq", "SessionStopReq"], "Terminate", "finished"),
        ("Pause", ["PowerDeliveryReq", "DC_WeldingDetectionReq", "SessionStopReq"], "Pause", "paused"),
    ],
)
def test_the_charger_ends_or_pauses_the_session(
    bench: Bench, notification: str, names: list[str], session: str, closed: str
) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification(notification)]
    bench.run()
    assert bench.names()[-3:] == names
    assert bench.requests[-1].charging_session.name == session
    assert bench.closed == closed


def test_schedules_are_renegotiated_with_no_power_flowing(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.ScheduleRenegotiation]
    bench.charger.ongoing["ScheduleExchangeReq"] = 1
    bench.run(lambda: bench.names()[-2:] == ["DC_ChargeLoopReq", "PowerDeliveryReq"])
    assert next(each for each in bench.commands[::-1] if isinstance(each, SetPowerLimits)) == SetPowerLimits(0, 0)
    bench.run()
    assert bench.names()[-8:] == [
        "DC_ChargeLoopReq",
        "PowerDeliveryReq",
        "ScheduleExchangeReq",
        "PowerDeliveryReq",
        "DC_ChargeLoopReq",
        "PowerDeliveryReq",
        "DC_WeldingDetectionReq",
        "SessionStopReq",
    ]
    assert bench.commands.count(CloseContactor()) == 1
    assert bench.closed == "finished"


def test_a_notification_that_stays_is_followed_once_a_minute_and_another_at_once(identities: Identities) -> None:
    bench = Bench(identities, SessionConfig(timing=TimingConfig(poll_pause_s=5.0)))
    bench.run_to("DC_ChargeLoopReq")

    def followed() -> int:
        return len(bench.seen("schedule", "renegotiating"))

    bench.charger.notify = [EvseNotification.ScheduleRenegotiation] * 1000
    bench.charger.ongoing["ScheduleExchangeReq"] = 10
    begun = bench.now
    bench.run(lambda: bench.now > begun + 58)
    assert followed() == 1
    bench.run(lambda: bench.now > begun + 61)
    assert followed() == 2
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = []
    bench.step()
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.ScheduleRenegotiation]
    bench.step()
    assert followed() == 3


@pytest.mark.parametrize("beside", [False, True])
def test_another_schedule_that_is_notified_with_the_start_of_power_is_asked_for(
    identities: Identities, beside: bool
) -> None:
    bench = Bench(identities, SessionConfig(services=ServiceConfig(renegotiate_beside=beside)))
    bench.run_to("PowerDeliveryReq")
    started = bench.charger.answer(bench.unanswered.pop())
    status = EVSEStatus(notification_max_delay=60, evse_notification=EvseNotification.ScheduleRenegotiation)
    bench.charger.notify = [EvseNotification.ScheduleRenegotiation] * 20
    bench.reply(msgspec.structs.replace(started, evse_status=status))
    if not beside:
        assert bench.unanswered[-1].cl_req_control_mode.ev_maximum_charge_power.value == 0, "before power flows"
    bench.run(lambda: not bench.charger.notify)
    assert len(of(bench, cm.ScheduleExchangeReq)) == 2
    assert len(of(bench, cm.PowerDeliveryReq)) == (2 if beside else 3)


@pytest.mark.parametrize(
    ("notification", "session"),
    [("Terminate", "Terminate"), ("Pause", "Pause"), ("ServiceRenegotiation", "ServiceRenegotiation")],
)
def test_a_charger_that_ends_the_session_with_the_start_of_power_gets_its_stop(
    bench: Bench, notification: str, session: str
) -> None:
    bench.run_to("PowerDeliveryReq")
    status = EVSEStatus(notification_max_delay=0, evse_notification=EvseNotification(notification))
    started = bench.charger.answer(bench.unanswered.pop())
    bench.reply(msgspec.structs.replace(started, evse_status=status))
    bench.run_to("SessionStopReq")
    assert bench.names()[-4:] == ["DC_ChargeLoopReq", "PowerDeliveryReq", "DC_WeldingDetectionReq", "SessionStopReq"]
    assert bench.requests[-1].charging_session.name == session
    assert bench.model.state.charged_mwh == 0


def test_a_refused_renegotiation_leaves_the_old_schedule(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.ScheduleRenegotiation]
    bench.run_to("PowerDeliveryReq")
    bench.charger.codes["PowerDeliveryReq"] = ResponseCode.WARNING_ScheduleRenegotiationFailed
    bench.run_to("DC_ChargeLoopReq")
    del bench.charger.codes["PowerDeliveryReq"]
    bench.run()
    assert bench.closed == "finished"


def test_another_service_is_looked_for_in_the_same_session(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.ServiceRenegotiation]
    bench.charger.services = (2,)
    bench.run()
    assert bench.names()[-13:] == [*WHOLE[14:], *WHOLE[4:-1][:8], *WHOLE[12:]][-13:]
    assert [r.charging_session.name for r in of(bench, cm.SessionStopReq)] == ["ServiceRenegotiation", "Terminate"]
    assert bench.commands.count(CloseContactor()) == 2
    assert bench.closed == "finished"


def test_a_notification_of_other_services_that_stays_does_not_keep_the_vehicle_from_charging(bench: Bench) -> None:
    """Each selection opens the contactors and tests the cable: one that is notified at once again waits a minute."""
    bench.charger.notify = [EvseNotification.ServiceRenegotiation] * 1000
    bench.run()
    assert bench.closed == "finished"
    assert [r.charging_session.name for r in of(bench, cm.SessionStopReq)] == ["ServiceRenegotiation", "Terminate"]


def test_a_charger_that_cannot_renegotiate_services_is_left(bench: Bench) -> None:
    bench.charger.renegotiable = False
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.ServiceRenegotiation]
    bench.run()
    assert bench.requests[-1].charging_session is cm.ChargingSession.Terminate


def test_meter_readings_are_confirmed_by_the_contract_key_on_their_own_stream(
    bench: Bench, identities: Identities
) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.meter_wh = 1234
    bench.charger.notify = [EvseNotification.MeteringConfirmation]
    bench.run_to("MeteringConfirmationReq")
    request = bench.unanswered[0]
    assert bench.payload_types[-1] == PayloadType.METERING_CONFIRMATION
    data = request.signed_metering_data
    assert data.meter_info.charged_energy_reading_wh == 1234
    assert data.session_id == bench.session.session_id
    verify(request.header.signature, data, identities.contract.key.public_key, schema=COMMON_MESSAGES)
    bench.run_to("DC_ChargeLoopReq")
    assert bench.seen("metering", "confirmed")


@pytest.mark.parametrize("beside", [False, True])
def test_a_charger_that_wants_each_reading_confirmed_does_not_hurry_the_loop(
    identities: Identities, beside: bool
) -> None:
    bench = Bench(identities, SessionConfig(services=ServiceConfig(confirm_beside=beside)))
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.MeteringConfirmation] * 1000
    began = bench.now
    bench.run(lambda: bench.now >= began + 2)
    assert 20 <= len(of(bench, dc.DC_ChargeLoopReq)) <= 22
    assert len(of(bench, cm.MeteringConfirmationReq)) <= 21


@pytest.mark.parametrize("contract", [False, True])
def test_without_a_contract_that_pays_readings_are_not_confirmed(identities: Identities, contract: bool) -> None:
    config = SessionConfig(authorization=AuthorizationConfig(allow_eim=True, prefer_eim=True))
    bench = Bench(identities, config, contract=contract)
    bench.run_to("DC_ChargeLoopReq")
    bench.charger.notify = [EvseNotification.MeteringConfirmation]
    bench.step()
    bench.run_to("DC_ChargeLoopReq")
    assert bench.seen("metering", "not_confirmed")


@pytest.mark.parametrize("energy", ["DC", "DC_BPT"])
@pytest.mark.parametrize("mobility", [1, 2])
def test_goals_that_the_charger_changes_in_the_loop_are_followed_where_it_sets_them(
    identities: Identities, energy: Any, mobility: int
) -> None:
    services = ServiceConfig(energy=(energy,), control_mode=("dynamic",), mobility_needs=("secc", "evcc"))
    config = SessionConfig(services=services, program=(ProgramStep(do="plan"),))
    bench = Bench(identities, config)
    bench.charger.mobility = mobility
    bench.run_to("DC_ChargeLoopReq")
    leaves_ms = bench.utc_ms + 1_800_000
    for _ in range(40):  # DepartureTime counts down
        bench.charger.goals = {
            "departure_time": (leaves_ms - bench.utc_ms) // 1000,
            "minimum_soc": 90,
            "target_soc": 70,
        }
        bench.step()
        bench.run_to("DC_ChargeLoopReq")
    request = bench.unanswered[0]
    mode, display = request.cl_req_control_mode, request.display_parameters
    if mobility == 1:
        assert display.target_soc == 80
        assert mode.departure_time > 8 * 3600 - 60
        assert not bench.seen("schedule", "needs_changed")
        return
    assert (display.target_soc, display.minimum_soc) == (70, 70)
    assert mode.departure_time == pytest.approx((leaves_ms - bench.utc_ms) // 1000, abs=1)
    assert bench.seen("schedule", "needs_changed") == [{"target_soc": 70, "minimum_soc": 70}]
    bench.charger.goals = {"departure_time": 120}
    bench.step()
    bench.run_to("DC_ChargeLoopReq")
    assert bench.unanswered[0].cl_req_control_mode.departure_time <= 120
    assert bench.seen("schedule", "needs_changed")[-1] == {"target_soc": 70, "minimum_soc": 70}


def test_a_session_ends_at_departure(identities: Identities) -> None:
    config = SessionConfig(needs=NeedsConfig(departure_after_s=60), discharge=DischargeConfig(enabled=False))
    bench = Bench(identities, config, scale=20)
    bench.run()
    assert bench.closed == "finished"
    assert bench.seen("stop", "stopping")[0]["cause"] == "departure"
    assert bench.utc_ms - T0 < 75_000


@pytest.mark.parametrize("set_s", [-86_400, 86_400])
def test_steps_and_departure_do_not_move_when_the_clock_is_set(identities: Identities, set_s: int) -> None:
    program = (ProgramStep(do="wait", for_s=120), ProgramStep(do="charge"))
    bench = Bench(identities, SessionConfig(program=program, needs=NeedsConfig(departure_after_s=300)), scale=20)
    bench.run_to("DC_ChargeLoopReq")
    bench.set_ms = set_s * 1000
    bench.run(lambda: "charge" in [each["do"] for each in bench.seen("power", "wish")])
    assert 120_000 <= bench.utc_ms - bench.set_ms - T0 < 150_000
    bench.run()
    assert bench.seen("stop", "stopping")[0]["cause"] == "departure"
    assert 300_000 <= bench.utc_ms - bench.set_ms - T0 < 315_000


REACHABLE = [name for name in dict.fromkeys(WHOLE) if name not in ("SupportedAppProtocolReq", "SessionSetupReq")]


@pytest.mark.parametrize("name", REACHABLE)
def test_a_session_can_be_ended_in_order_from_everywhere(bench: Bench, name: str) -> None:
    bench.run_to(name)
    energy = bench.session.state.value == "dc_charge_loop"
    bench.fact(StopRequested("driver"))
    bench.run()
    assert bench.closed == "finished"
    assert bench.requests[-1].charging_session is cm.ChargingSession.Terminate
    if energy:
        assert "PowerDeliveryReq" in bench.names()[-3:]
    assert not bench.contactor_closed


@pytest.mark.parametrize("name", REACHABLE)
def test_a_session_pauses_only_where_it_can_be_joined_again(bench: Bench, name: str) -> None:
    bench.run_to(name)
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    pauses = bench.requests[-1].charging_session is cm.ChargingSession.Pause
    assert pauses is (bench.closed == "paused") is (bench.session.paused is not None)
    assert pauses or REACHABLE.index(name) <= REACHABLE.index("ServiceSelectionReq") or name in REACHABLE[-2:]


@pytest.mark.parametrize(("name", "times"), [("DC_ChargeParameterDiscoveryReq", 1), ("DC_CableCheckReq", 2)])
def test_needs_that_a_schedule_request_has_do_not_ask_for_another(
    identities: Identities, name: str, times: int
) -> None:
    services = ServiceConfig(control_mode=("scheduled",))
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=services), scale=20)
    bench.run_to(name)
    bench.fact(NeedsChanged(departure_ms=bench.utc_ms + 7_200_000))
    bench.run()
    requests = of(bench, cm.ScheduleExchangeReq)
    assert len(requests) == times
    assert requests[-1].scheduled_se_req_control_mode.departure_time <= 7200
    assert bench.closed == "finished"


@pytest.mark.parametrize("name", ["SupportedAppProtocolReq", "SessionSetupReq"])
def test_before_there_is_a_session_there_is_nobody_to_tell(bench: Bench, name: str) -> None:
    bench.run_to(name)
    bench.fact(StopRequested("driver"))
    bench.run()
    assert bench.closed in ("driver", "finished")


def test_a_stop_in_a_pause_does_not_wait_for_its_end(bench: Bench) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.step()
    assert not bench.unanswered
    bench.fact(StopRequested("driver"))
    (request,) = bench.unanswered
    assert type(request) is dc.DC_ChargeLoopReq
    assert request.cl_req_control_mode.ev_maximum_charge_power.value == 0


def test_a_charger_that_gives_nothing_is_left_in_a_pause(identities: Identities) -> None:
    bench = Bench(identities, msgspec.structs.replace(SHORT, timing=TimingConfig(no_energy_s=60)))
    bench.drive = lambda: None  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "paused"
    assert [each["limited_by"] for each in bench.seen("power", "no_energy")] == ["charger"]


def test_a_paused_session_is_joined_again_at_the_same_charger(bench: Bench, identities: Identities) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    assert bench.closed == "paused"
    paused = bench.session.paused
    assert paused is not None
    again = Bench(identities, SHORT, resume=paused, scale=20)
    again.charger.joins = True
    again.run()
    assert again.names() == [*WHOLE[:2], *WHOLE[7:]]
    assert again.closed == "finished"


def test_the_needs_of_a_driver_outlast_a_pause(bench: Bench, identities: Identities) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(NeedsChanged(departure_ms=T0 + 200_000, target_soc=75, minimum_soc=20))
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    again = Bench(identities, SHORT, resume=bench.session.paused, scale=20)
    again.charger.joins = True
    again.run_to("ScheduleExchangeReq")
    again.step()
    asked = of(again, cm.ScheduleExchangeReq)[0].dynamic_se_req_control_mode
    assert (asked.target_soc, asked.minimum_soc) == (75, 20)
    assert asked.departure_time == pytest.approx(200, abs=10)


def test_a_paused_session_of_other_messages_than_negotiated_is_not_joined(bench: Bench, identities: Identities) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    config = msgspec.structs.replace(SHORT, services=ServiceConfig(energy=("AC", "DC_BPT")))
    again = Bench(identities, config, resume=bench.session.paused)
    again.charger.joins = True
    again.run_to("AuthorizationSetupReq")
    (setup,) = of(again, cm.SessionSetupReq)
    assert setup.header.session_id == NO_SESSION


def test_a_session_that_the_charger_forgot_begins_anew(bench: Bench, identities: Identities) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    again = Bench(identities, SHORT, resume=bench.session.paused, scale=20)
    again.run()
    assert again.names() == WHOLE


@pytest.mark.parametrize("certificate", ["the same", "another"])
def test_the_program_of_a_vehicle_that_stayed_goes_on_in_a_new_session(
    bench: Bench, identities: Identities, certificate: str
) -> None:
    """The charger has forgotten the paused one, or has had its certificate renewed, as another one has."""
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(NeedsChanged(target_soc=75))
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    paused = bench.session.paused
    assert paused is not None
    assert paused.progress is not None
    progress = msgspec.structs.replace(paused.progress, index=1)
    charger = paused.charger if certificate == "the same" else bytes(64)
    before = msgspec.structs.replace(paused, progress=progress, charger=charger)
    program = (ProgramStep(do="charge", energy_wh=50), ProgramStep(do="charge", energy_wh=20))
    config = msgspec.structs.replace(SHORT, program=program)
    again = Bench(identities, config, resume=before, stays=True, scale=20)
    again.run()
    assert again.names()[:3] == WHOLE[:3]
    assert {each["step"] for each in again.seen("power", "wish")} == {1}
    assert of(again, cm.ScheduleExchangeReq)[0].dynamic_se_req_control_mode.target_soc == 75
    assert again.closed == "finished"


def test_a_paused_session_is_not_named_to_another_charger(bench: Bench, identities: Identities) -> None:
    bench.run_to("DC_ChargeLoopReq")
    bench.fact(StopRequested("driver", pause=True))
    bench.run()
    assert bench.session.paused is not None
    other = msgspec.structs.replace(bench.session.paused, charger=bytes(64))
    again = Bench(identities, SHORT, resume=other)
    again.run_to("AuthorizationSetupReq")
    assert of(again, cm.SessionSetupReq)[0].header.session_id == bytes(8)


def test_a_voltage_that_stays_is_reported_as_a_welded_contactor(identities: Identities) -> None:
    bench = Bench(identities, SHORT, scale=20)
    bench.run_to("DC_WeldingDetectionReq")
    bench.charger.voltage = 370.0
    bench.run()
    assert bench.seen("stop", "welding_suspected") == [{"voltage_mv": 370_000}]
    assert bench.closed == "finished"
    finished = [request.ev_processing for request in of(bench, dc.DC_WeldingDetectionReq)]
    assert finished[-1] is Processing.Finished


@pytest.mark.parametrize("length", [1, 5])
def test_a_contract_chain_that_no_message_holds_is_refused(identities: Identities, length: int) -> None:
    contract = Contract((identities.contract.chain[0],) * length, identities.contract.key)
    with pytest.raises(CertificateError):
        Bench(_with(identities, contract))


def _with(identities: Identities, contract: Contract) -> Identities:
    changed = Identities.__new__(Identities)
    changed.__dict__.update(identities.__dict__, contract=contract)
    return changed


def test_the_vehicle_never_leaves_the_chart(identities: Identities) -> None:
    """The engine asserts it for every request; here the chart itself is walked by a long session."""
    bench = Bench(identities, SHORT, scale=20)
    bench.charger.ongoing = {
        "AuthorizationReq": 3,
        "ScheduleExchangeReq": 3,
        "DC_CableCheckReq": 3,
        "DC_PreChargeReq": 3,
    }
    bench.run()
    assert bench.closed == "finished"
    known = {name for edges in CHARTS[Family.DC].values() for name in edges}
    assert set(bench.names()) <= known


def scheduled(bench: Bench, **changes: object) -> None:
    """Answer the ScheduleExchangeReq that waits, with changed fields in every charging PowerSchedule."""
    response = bench.charger.answer(bench.unanswered.pop())
    mode = response.scheduled_se_res_control_mode
    tuples = []
    for each in mode.schedule_tuple:
        power = msgspec.structs.replace(each.charging_schedule.power_schedule, **changes)
        charging = msgspec.structs.replace(each.charging_schedule, power_schedule=power)
        tuples.append(msgspec.structs.replace(each, charging_schedule=charging))
    mode = msgspec.structs.replace(mode, schedule_tuple=tuple(tuples))
    bench.reply(msgspec.structs.replace(response, scheduled_se_res_control_mode=mode))


def test_a_plan_stays_within_the_first_of_two_tuples_with_the_same_id(identities: Identities) -> None:
    """A charger that looks the id up finds that one: the plan was by the second one's power."""
    services = ServiceConfig(energy=("DC",), control_mode=("scheduled",))
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=services, program=(ProgramStep(do="plan"),)))
    bench.run_to("ScheduleExchangeReq")
    response = bench.charger.answer(bench.unanswered.pop())
    mode = response.scheduled_se_res_control_mode
    same = tuple(msgspec.structs.replace(each, schedule_tuple_id=1) for each in mode.schedule_tuple)
    mode = msgspec.structs.replace(mode, schedule_tuple=same)
    bench.reply(msgspec.structs.replace(response, scheduled_se_res_control_mode=mode))
    bench.run_to("DC_ChargeLoopReq")
    start = of(bench, cm.PowerDeliveryReq)[0]
    entries = start.ev_power_profile.ev_power_profile_entries.ev_power_profile_entry
    assert max(each.power.value * 10**each.power.exponent for each in entries) == 11_000


@pytest.mark.parametrize(("powers", "available_wh", "chosen"), [
    ((0, 11_000), None, 2),  # a charger whose first tuple is for later
    ((50_000, 60_000), None, 1),  # both are more than this vehicle and this charger can do
    ((16_000, 11_000), 1_000, 2),
])  # fmt: skip
def test_without_a_plan_of_its_own_a_vehicle_takes_the_tuple_with_the_most_energy(
    identities: Identities, powers: tuple[int, int], available_wh: int | None, chosen: int
) -> None:
    services = ServiceConfig(energy=("DC",), control_mode=("scheduled",))
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=services))
    bench.run_to("ScheduleExchangeReq")
    response = bench.charger.answer(bench.unanswered.pop())
    first, second = (
        sched.PowerSchedule(
            time_anchor=T0 // 1000,
            available_energy=whole(available_wh) if available_wh and not n else None,
            power_schedule_entries=sched.PowerScheduleEntryList(
                power_schedule_entry=(sched.PowerScheduleEntry(duration=86_400, power=whole(power_w)),)
            ),
        )
        for n, power_w in enumerate(powers)
    )
    tuples = tuple(
        sched.ScheduleTuple(schedule_tuple_id=n, charging_schedule=sched.ChargingSchedule(power_schedule=each))
        for n, each in enumerate((first, second), 1)
    )
    mode = sched.Scheduled_SEResControlMode(schedule_tuple=tuples)
    bench.reply(msgspec.structs.replace(response, scheduled_se_res_control_mode=mode))
    bench.run_to("DC_ChargeLoopReq")
    profile = of(bench, cm.PowerDeliveryReq)[0].ev_power_profile
    assert profile.scheduled_evppt_control_mode.selected_schedule_tuple_id == chosen


@pytest.fixture
def following(identities: Identities) -> Bench:
    """A session in Scheduled mode that waits for its schedule."""
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=ServiceConfig(control_mode=("scheduled",))))
    bench.run_to("ScheduleExchangeReq")
    return bench


def test_a_schedule_without_a_time_begins_with_the_agreement(following: Bench) -> None:
    scheduled(following, time_anchor=0)
    following.run_to("DC_ChargeLoopReq")
    assert following.seen("power", "wish")[0]["charge_w"] == 16_000


def test_a_schedule_that_has_run_out_allows_nothing(following: Bench) -> None:
    scheduled(following, time_anchor=T0 // 1000 - 100_000)
    following.run_to("DC_ChargeLoopReq")
    assert following.commands.count(SetPowerLimits(0, 0)) == 0
    assert of(following, dc.DC_ChargeLoopReq)[0].cl_req_control_mode.ev_maximum_charge_power.value == 0


@pytest.mark.parametrize("beside", [False, True])
def test_after_the_end_of_its_schedule_a_vehicle_asks_for_another(identities: Identities, beside: bool) -> None:
    """Else it waits for the rest of its stay, as the power after the end is 0."""
    services = ServiceConfig(control_mode=("scheduled",), renegotiate_beside=beside)
    bench = Bench(identities, msgspec.structs.replace(SHORT, services=services))
    bench.run_to("ScheduleExchangeReq")
    scheduled(bench, time_anchor=T0 // 1000 - 100_000)
    bench.run()
    progress = [each.charge_progress.name for each in of(bench, cm.PowerDeliveryReq)]
    assert progress == ["Start", *([] if beside else ["ScheduleRenegotiation"]), "Start", "Stop"]
    assert bench.closed == "finished"


def test_a_charger_whose_schedules_have_always_run_out_is_asked_once_a_minute(following: Bench) -> None:
    begun = following.now
    while following.now < begun + 150:
        scheduled(following, time_anchor=T0 // 1000 - 100_000)
        following.run(lambda: following.names()[-1] == "ScheduleExchangeReq" or following.now >= begun + 150)
    assert len(of(following, cm.ScheduleExchangeReq)) == 4
    assert not following.closed


@pytest.mark.parametrize(
    ("entries", "available_wh", "planned"),
    [
        (((0, 16_000), (600, 4_000)), None, [(600, 4_000)]),
        (((0, 16_000), (0, 4_000)), None, [(1, 0)]),
        (((600, 6_000), (3600, 4_000), (60, 2_000)), 3_000, [(600, 6_000), (1800, 4_000), (1800, 0), (60, 0)]),
        (((3600, 4_000),), 4_000, [(3600, 4_000)]),
        (((3600, 4_000),), -1, [(3600, 0)]),
        (((1 << 31, 4_000), (1 << 31, 4_000)), 0, [(1 << 31, 0), (1 << 31, 0)]),
    ],
)
def test_a_profile_has_no_entry_without_time_and_no_more_energy_than_is_available(
    following: Bench, entries: tuple[tuple[int, int], ...], available_wh: int | None, planned: list[tuple[int, int]]
) -> None:
    """A charger refuses both (FAILED_EVPowerProfileInvalid), though it has offered them."""
    offered = tuple(sched.PowerScheduleEntry(duration=s, power=whole(power_w)) for s, power_w in entries)
    scheduled(
        following,
        available_energy=None if available_wh is None else whole(available_wh),
        power_schedule_entries=sched.PowerScheduleEntryList(power_schedule_entry=offered),
    )
    following.run(lambda: bool(of(following, cm.PowerDeliveryReq)))
    (start,) = of(following, cm.PowerDeliveryReq)
    found = start.ev_power_profile.ev_power_profile_entries.ev_power_profile_entry
    assert [(each.duration, each.power.value * 10**each.power.exponent) for each in found] == planned


def test_a_power_tolerance_is_confirmed_where_one_is_asked_for(following: Bench) -> None:
    tolerance = RationalNumber(exponent=0, value=2000)
    scheduled(following, power_tolerance=tolerance)
    following.run_to("DC_ChargeLoopReq")
    (start,) = of(following, cm.PowerDeliveryReq)
    mode = start.ev_power_profile.scheduled_evppt_control_mode
    assert mode.power_tolerance_acceptance.name == "PowerToleranceConfirmed"
