"""Bugs that chargers and vehicles in the field had, by name: none of them is ours.

Each test names where the bug was seen: a thread of a public project, or many. What is tested is the behaviour, at
both cores where both could have it.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evcc.session.d20.loop import entry_at
from evcc.session.d20.offers import entry_w
from evcc.session.settings import AuthorizationConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import AcRating, ControlMode, EnergyService, SeccConfig, SignedDischargeConfig
from tests.secc.session.bench import AC, AC_BPT, ACDP, DC, DC_BPT, WAYS, WPT, Bench, number
from tests.secc.session.shell import counter
from tests.sessions.joined import Joined
from tests.together import together
from v2g import exi
from v2g.energy.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import ENERGY
from v2g.iso15118.d20.messages import ac, dc
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.messages.common_types import Processing, RationalNumber
from v2g.iso15118.d20.messages.schedules import PowerSchedule, PowerScheduleEntry, PowerScheduleEntryList
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import frame
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

replace = msgspec.structs.replace
EVERYTHING = tuple(EnergyService)
UNSIGNED = SeccConfig(
    services=EVERYTHING, signed_discharge=SignedDischargeConfig(required=False), authorization=(Authorization.EIM,)
)
LIVE = [state for state in WAYS if state is not State.ENDED]
Make = Callable[..., Bench]
Join = Callable[..., Joined]


@pytest.fixture
def charger(pki: PkiTree) -> Make:
    """Return a maker of chargers with a vehicle by the book that has selected a service without signed discharge."""

    def make(service: int = DC_BPT, config: SeccConfig = UNSIGNED, *, signed: bool = False, **options: Any) -> Bench:
        bench = Bench(pki, time.time_ns() // 1_000_000, config, **options)
        bench.selection = (service, 0, signed)
        return bench

    return make


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of pairs that identify externally."""
    both = SessionConfig(
        program=(ProgramStep(do="charge", energy_wh=50), ProgramStep(do="discharge", energy_wh=20, for_s=60)),
        authorization=AuthorizationConfig(allow_eim=True),
    )
    by_card = SeccConfig(services=EVERYTHING, authorization=(Authorization.EIM,))
    return lambda **options: Joined(
        pki, time.time_ns() // 1_000_000, **{"vehicle": both, "charger": by_card, **options}
    )


def outputs(bench: Bench) -> list[Any]:
    return bench.commands(se.SetOutput) + bench.commands(se.SetAcOutput) + bench.commands(se.SetWptOutput)


def loop_of(service: int) -> tuple[State, str]:
    if service in (AC, AC_BPT):
        return State.AC_CHARGE_LOOP, "AC_ChargeLoopReq"
    return (
        (State.WPT_CHARGE_LOOP, "WPT_ChargeLoopReq") if service == WPT else (State.DC_CHARGE_LOOP, "DC_ChargeLoopReq")
    )


# -- EVerest/EVerest#1509: an external limit of 0 W for charging became discharging, and then full power -------------


@pytest.mark.parametrize("service", [DC, DC_BPT, AC, AC_BPT, WPT, ACDP])
@pytest.mark.parametrize("how", ["limit", "setpoint"])
def test_a_limit_of_zero_never_becomes_discharge_nor_full_power(charger: Make, service: int, how: str) -> None:
    state, name = loop_of(service)
    bench = charger(service).reach(state)
    before = len(bench.actions)
    if how == "limit":
        bench.fact(se.GridChanged((Limit(source=SITE, charge_w=0, discharge_w=15_000, version=7),)))
    else:
        bench.fact(se.SetpointChanged(Setpoint(power_w=0, source="csms")))
    bench.go(name)
    later = [
        each for each in bench.actions[before:] if isinstance(each, se.SetOutput | se.SetAcOutput | se.SetWptOutput)
    ]
    assert later
    assert all((each.charge_w, each.discharge_w) == (0, 0) for each in later)
    assert all(getattr(each, "power_w", 0) in (0, None) for each in later)


def test_a_limit_of_zero_stops_a_signed_discharge_and_nothing_else_starts(charger: Make) -> None:
    bench = charger(config=SeccConfig(), signed=True).reach(State.DC_CHARGE_LOOP)
    bench.fact(se.GridChanged((Limit(source=OPERATOR, charge_w=0, discharge_w=0, version=9),)))
    assert (outputs(bench)[-1].charge_w, outputs(bench)[-1].discharge_w) == (0, 0)


# -- EVerest/EVerest#2703: export was multiplied by the number of phases for import ----------------------------------


@pytest.mark.parametrize("phases", [1, 3])
def test_export_is_not_scaled_by_the_phases_of_import(charger: Make, phases: Any) -> None:
    rating = AcRating(phases=phases, max_charge_power_w=11_000, max_discharge_power_w=3_700)
    config = replace(UNSIGNED, ac_rating=rating)
    bench = charger(AC_BPT, config).reach(State.SCHEDULE_EXCHANGE)
    mode = bench.responses[-1].ac_cpd_res_energy_transfer_mode
    reported = [getattr(mode, f"evse_maximum_discharge_power{suffix}") for suffix in ("", "_l2", "_l3")]
    total = sum(each.value * 10**each.exponent for each in reported if each is not None)
    assert 3_680 <= total <= 3_700  # 16 A on one phase
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq", "AC_ChargeLoopReq")
    bench.fact(se.SetpointChanged(Setpoint(power_w=-11_000, source="csms")))
    bench.go("AC_ChargeLoopReq")
    answer = bench.responses[-1].cl_res_control_mode
    reported = [getattr(answer, f"evse_target_active_power{suffix}") for suffix in ("", "_l2", "_l3")]
    total = sum(each.value * 10**each.exponent for each in reported if each is not None)
    assert -3_700 <= total < 0
    assert -total <= 3_700


@pytest.mark.parametrize("state", LIVE, ids=lambda state: state.value)
def test_a_wish_to_discharge_before_a_service_is_selected_kills_nobody(charger: Make, state: State) -> None:
    """The same thread: a negative set-point before ServiceSelection ended the process."""
    bench = charger().reach(state)
    bench.fact(se.SetpointChanged(Setpoint(power_w=-5_000, source="csms")))
    assert not bench.reason
    if state not in ENERGY:
        assert not [each for each in outputs(bench) if each.discharge_w]


# -- ecog-io/iso15118#153, #341: Plug & Charge was offered, and taken, without TLS -----------------------------------


def test_no_plug_and_charge_is_offered_without_tls(charger: Make) -> None:
    config = replace(UNSIGNED, authorization=(Authorization.PnC, Authorization.EIM))
    bench = charger(config=config, tls=False).reach(State.AUTHORIZATION)
    assert bench.setup is not None
    assert bench.setup.authorization_services == (Authorization.EIM,)
    assert bench.setup.pnc_as_res_authorization_mode is None


def test_no_contract_is_shown_without_tls_even_when_it_is_asked_for(join: Join, pki: PkiTree) -> None:
    both = (Authorization.PnC, Authorization.EIM)
    joined = join(vehicle_tls=False, charger=SeccConfig(services=EVERYTHING, authorization=both))  # with that bug
    joined.run()
    assert joined.evcc_reason == "finished"
    contract = pki.chain("contract")[0]
    assert not any(contract in each.data for each in joined.evcc_actions if isinstance(each, Send))


# -- ecog-io/iso15118#320, dspace-group/dsV2Gshark#35: half a message was decoded, the second of two was lost --------


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 1600), min_size=1, max_size=20))
@example([1])
@example([8])
@example([1600])
def test_half_a_frame_waits_and_two_glued_frames_are_two(join: Join, pieces: list[int]) -> None:
    joined = join()
    sizes = iter(pieces * 10_000)
    for session in (joined.evcc, joined.secc):
        whole = session.receive

        def receive(data: bytes, now: float, utc_ms: int, whole: Any = whole) -> None:
            while data:
                size = next(sizes)
                whole(data[:size], now, utc_ms)
                data = data[size:]

        session.receive = receive  # type: ignore[method-assign]
    joined.complete()


def test_two_requests_in_one_segment_are_two_requests(charger: Make) -> None:
    bench = charger().reach(State.SERVICE_DETAIL)
    first = frame(0x8002, exi.encode(bench.ask("ServiceDetailReq")))
    second = frame(0x8002, exi.encode(bench.ask("ServiceDetailReq", service_id=DC)))
    count = len(bench.responses)
    bench.raw(first + second[:5])
    assert len(bench.responses) == count + 1
    bench.raw(second[5:])
    assert [each.service_id for each in bench.responses[count:]] == [DC_BPT, DC]


# -- many: a cable check that failed was polled for ever; one that was stopped on purpose was called a fault ---------


def test_a_failed_cable_check_ends_the_session_on_both_sides(join: Join) -> None:
    joined = join()
    obey = joined.obey_charger
    joined.obey_charger = lambda c: (  # type: ignore[method-assign]
        se.CableCheckFinished(passed=False) if isinstance(c, se.StartCableCheck) else obey(c)
    )
    joined.run(most_s=10)
    assert (joined.evcc_reason, joined.secc_reason) == ("FAILED", "cable_check_failed")
    assert joined.imported_mwh() == 0


def test_a_stop_during_the_cable_check_is_no_fault(charger: Make) -> None:
    """EVerest/EVerest#2522."""
    bench = charger().reach(State.DC_CABLE_CHECK_ONGOING)
    bench.fact(se.StopRequested("remote"))
    assert bench.go("SessionStopReq").response_code.name == "OK"
    bench.pass_time(5.1)
    assert bench.reason == "finished"
    assert bench.events("session_ended")[0]["reason"] == "remote"
    assert not bench.events("hardware_fault")


# -- many: authorization ---------------------------------------------------------------------------------------------


def test_a_decided_refusal_is_final_at_once_and_polling_on_ends(charger: Make) -> None:
    """V2G20-2219, -2230: vehicles of the -2 generation are kept polling by Ongoing; here the answer is Finished."""
    bench = charger(config=replace(UNSIGNED, authorization=(Authorization.EIM,))).reach(State.AUTHORIZATION)
    bench.auto[se.AuthorizeExternally] = lambda c: se.AuthorizationDecided(c.attempt, AuthorizationStatus.REFUSED)
    polls = 0
    while not bench.reason:
        assert bench.go("AuthorizationReq").evse_processing is Processing.Finished
        polls += 1
        assert polls < 50
    assert not bench.commands(se.TransactionStarted)


def test_a_challenge_of_yesterday_opens_nothing(charger: Make) -> None:
    yesterday = charger(config=SeccConfig()).reach(State.AUTHORIZATION)
    signed = yesterday.ask("AuthorizationReq")
    today = charger(config=SeccConfig(), entropy=counter(1 << 20))
    today.reach(State.AUTHORIZATION)
    replayed = replace(signed, header=today.header(signature=signed.header.signature))
    assert today.send(replayed).response_code.name == "WARNING_ChallengeInvalid"
    assert not today.commands(se.AuthorizeContract)


# -- many: session ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", LIVE[2:], ids=lambda state: state.value)
def test_a_session_id_of_zero_is_no_key_to_a_session(charger: Make, state: State) -> None:
    bench = charger().reach(state)
    response = bench.send(bench.ask("SessionStopReq", header=bench.header(session_id=bytes(8))))
    assert response.response_code.name == "FAILED_UnknownSession"


def test_a_charger_out_of_luck_with_entropy_gives_no_session_id_of_zero(charger: Make) -> None:
    draws = iter((bytes(8), bytes(8), b"\0\0\0\0\0\0\0\1"))
    bench = charger(entropy=lambda n: next(draws))
    bench.go("SupportedAppProtocolReq", "SessionSetupReq")
    assert bench.responses[-1].header.session_id == b"\0\0\0\0\0\0\0\1"


# -- EVerest/EVerest#1473: some vehicles tell discharge limits as negative numbers -----------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_discharge_limits_of_either_sign_mean_the_same(charger: Make, sign: int) -> None:
    bench = charger().reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.ask("DC_ChargeParameterDiscoveryReq").dc_cpd_req_energy_transfer_mode
    signed = {"ev_maximum_discharge_power": number(sign * 12_000), "ev_maximum_discharge_current": number(sign * 40)}
    mode = replace(mode, **signed)
    bench.send(bench.ask("DC_ChargeParameterDiscoveryReq", dc_cpd_req_energy_transfer_mode=mode))
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=bench.loop_mode(**signed)))
    assert bench.session.vehicle is not None
    assert (bench.session.vehicle.max_discharge_w, bench.session.vehicle.max_discharge_ma) == (12_000, 40_000)
    bench.fact(se.SetpointChanged(Setpoint(power_w=-4_000, source="csms")))
    last = bench.commands(se.SetOutput)[-1]
    assert (last.charge_w, last.discharge_w) == (0, 4_000)
    assert -40_000 <= last.current_ma < 0


@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize("service", ["DC_BPT", "AC_BPT"])
def test_a_vehicle_reads_either_sign_as_well(join: Join, negative: bool, service: Any) -> None:
    charger = SeccConfig(services=EVERYTHING, negative_discharge_limits=negative, authorization=(Authorization.PnC,))
    vehicle = SessionConfig(
        program=(ProgramStep(do="discharge", energy_wh=20, for_s=120),), services=ServiceConfig(energy=(service,))
    )
    joined = join(charger=charger, vehicle=vehicle)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.exported_mwh() >= 19_000
    assert joined.imported_mwh() < 1_000


# -- uhi22/pyPLC#14 and others: 20 gigawatts -------------------------------------------------------------------------

EXTREME = st.builds(
    RationalNumber,
    exponent=st.sampled_from((-128, -4, -3, 0, 3, 9, 127)),
    value=st.sampled_from((-32768, -1, 0, 1, 20_000, 32767)),
)


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from((DC, DC_BPT, AC, AC_BPT)))
def test_huge_and_tiny_exponents_are_numbers_that_limits_still_bound(charger: Make, data: Any, service: int) -> None:
    bench = charger(service).reach(loop_of(service)[0])
    mode = bench.ac_loop_mode() if service in (AC, AC_BPT) else bench.loop_mode()
    fields = [name for name in type(mode).__struct_fields__ if isinstance(getattr(mode, name), RationalNumber)]
    changes = {name: data.draw(EXTREME, label=name) for name in fields}
    request = bench.ask(loop_of(service)[1], cl_req_control_mode=replace(mode, **changes))
    bench.send(request)
    station = 40_000
    for each in outputs(bench):
        assert 0 <= each.charge_w <= station
        assert 0 <= each.discharge_w <= 15_000
        if isinstance(each, se.SetOutput):
            assert 0 <= each.voltage_mv <= 920_000
            assert -125_000 <= each.current_ma <= 300_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from((DC, DC_BPT, AC, AC_BPT)))
def test_extreme_charge_parameters_are_taken_or_refused_in_words(charger: Make, data: Any, service: int) -> None:
    name = "AC_ChargeParameterDiscoveryReq" if service in (AC, AC_BPT) else "DC_ChargeParameterDiscoveryReq"
    bench = charger(service).reach(
        State(name[:-3].replace("ChargeParameterDiscovery", "charge_parameter_discovery").lower())
    )
    request = bench.ask(name)
    (field,) = [each for each in type(request).__struct_fields__ if each.endswith("energy_transfer_mode")]
    mode = getattr(request, field)
    fields = [each for each in type(mode).__struct_fields__ if isinstance(getattr(mode, each), RationalNumber)]
    mode = replace(mode, **{each: data.draw(EXTREME, label=each) for each in fields})
    code = bench.send(replace(request, **{field: mode})).response_code.name
    assert code in ("OK", "FAILED_WrongChargeParameter")


# -- many: clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1, 24, 24 * 365])
def test_a_clock_that_is_set_back_neither_ends_nor_prolongs_anything(join: Join, hours: int) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    back = hours * 3_600_000
    fact, tick, receive = joined.secc.fact, joined.secc.tick, joined.secc.receive
    joined.secc.fact = lambda f, now, utc: fact(f, now, utc - back)  # type: ignore[method-assign]
    joined.secc.tick = lambda now, utc: tick(now, utc - back)  # type: ignore[method-assign]
    joined.secc.receive = lambda data, now, utc: receive(data, now, utc - back)  # type: ignore[method-assign]
    joined.run(most_s=120)
    assert joined.evcc_reason == "finished"
    battery = joined.plant.battery.state
    assert joined.imported_mwh() == pytest.approx(battery.charged_mwh, abs=1_000)


def test_time_stamps_of_a_vehicle_that_lives_in_the_past_are_its_own_affair(charger: Make) -> None:
    bench = charger().reach(State.DC_CHARGE_LOOP)
    for stamp in (0, 1, 2**40):
        request = bench.ask("DC_ChargeLoopReq", header=bench.header(time_stamp=stamp))
        assert bench.send(request).response_code.name == "OK"


# -- schema-valid nonsense -------------------------------------------------------------------------------------------


def schedule(*entries: tuple[int, int]) -> PowerSchedule:
    listed = tuple(PowerScheduleEntry(duration=seconds, power=number(watts)) for seconds, watts in entries)
    return PowerSchedule(time_anchor=0, power_schedule_entries=PowerScheduleEntryList(power_schedule_entry=listed))


@together(
    ("entries", "at_s", "watts"),
    [
        (((0, 9_000),), 0, None),
        (((0, 9_000), (0, 8_000)), 0, None),
        (((0, 9_000), (60, 8_000)), 0, 8_000),
        (((60, 9_000), (0, 8_000), (60, 7_000)), 60, 7_000),
        (((60, 9_000),), 60, None),
        (((60, 9_000),), -5, 9_000),
        (((60, -9_000),), 0, 0),
    ],
)
def test_a_schedule_of_no_length_allows_nothing_and_ends(entries: Any, at_s: int, watts: int | None) -> None:
    entry = entry_at(schedule(*entries), at_s * 1000)
    assert (None if entry is None else entry_w(entry, 3)) == watts


def test_a_profile_of_no_length_is_answered(charger: Make) -> None:
    config = replace(UNSIGNED, control_modes=(ControlMode.SCHEDULED,))
    bench = charger(DC, config)
    bench.scheduled = True
    bench.reach(State.POWER_DELIVERY)
    profile = bench.profile(1, 5_000)
    empty = PowerScheduleEntryList(power_schedule_entry=(PowerScheduleEntry(duration=0, power=number(5_000)),))
    entries = type(profile.ev_power_profile_entries)(ev_power_profile_entry=empty.power_schedule_entry)
    profile = replace(profile, ev_power_profile_entries=entries)
    code = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile)).response_code.name
    assert code in ("OK", "FAILED_EVPowerProfileInvalid")


def test_metering_confirmation_without_a_contract_is_refused_and_never_sent(charger: Make, join: Join) -> None:
    bench = charger(config=replace(UNSIGNED, authorization=(Authorization.EIM,))).reach(State.DC_CHARGE_LOOP)
    assert bench.go("MeteringConfirmationReq").response_code.name == "FAILED_SignatureError"
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert not joined.charger_saw("metering", "confirmed")


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", LIVE[2:], ids=lambda state: state.value)
def test_a_session_may_be_stopped_cleanly_from_every_state(charger: Make, state: State) -> None:
    """EVerest/EVerest#2841, Sevenstax/FreeV2G#20, ecog-io/iso15118#184: refused, or taken for an error."""
    bench = charger().reach(state)
    assert bench.go("SessionStopReq").response_code.name == "OK"
    bench.session.receive_eof(bench.now, bench.utc_ms)
    bench.pump()
    assert bench.reason == "finished"
    assert not bench.session.powered
    assert bench.events("session_ended") == [{"reason": "vehicle", "session_id": bench.session.session_id.hex()}]


@pytest.mark.parametrize("state", [State.DC_CHARGE_LOOP, State.SESSION_STOP, State.AUTHORIZATION])
def test_a_doubled_session_stop_ends_one_session_once(charger: Make, state: State) -> None:
    bench = charger().reach(state)
    request = bench.ask("SessionStopReq")
    bench.send(request)
    assert bench.send(request) is None
    bench.pass_time(5.1)
    assert bench.reason == "finished"
    assert len(bench.events("session_ended")) == 1
    assert len(bench.commands(se.TransactionEnded)) == (state is not State.AUTHORIZATION)
    assert len(bench.commands(se.CloseJournal)) == (state is not State.AUTHORIZATION)


@pytest.mark.parametrize("how", ["unplugged", "eof"])
def test_a_session_that_ends_while_the_contactor_moves_has_no_late_contactor_error(charger: Make, how: str) -> None:
    """EVerest/EVerest#2808: the time-out of the contactor outlived the session and failed it once more."""
    bench = charger().reach(State.POWER_DELIVERY)
    del bench.auto[se.CloseContactors]
    bench.post(bench.ask("PowerDeliveryReq"))
    if how == "eof":
        bench.session.receive_eof(bench.now, bench.utc_ms)
        bench.pump()
    else:
        bench.fact(se.PilotChanged(PilotState.A))
    count = len(bench.responses)
    bench.pass_time(10)
    assert bench.reason == {"eof": "connection_lost", "unplugged": "unplugged"}[how]
    assert len(bench.responses) == count
    assert len(bench.commands(se.TransactionEnded)) == 1


# -- EVerest/EVerest#1979, #2691: limits of a moment sent for the session, and limits that grew afterwards -----------


@pytest.mark.parametrize("service", [DC, DC_BPT])
def test_charge_parameters_have_the_rating_and_no_loop_has_more(charger: Make, service: int) -> None:
    bench = charger(service)
    bench.fact(se.GridChanged((Limit(source=SITE, charge_w=1_000, discharge_w=0, version=5),)))
    bench.reach(State.SCHEDULE_EXCHANGE)
    reported = bench.responses[-1].dc_cpd_res_energy_transfer_mode
    assert value(reported.evse_maximum_charge_power) == bench.config.rating.max_charge_power_w
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    assert value(bench.responses[-1].cl_res_control_mode.evse_maximum_charge_power) == 1_000
    bench.fact(se.GridChanged((Limit(source=SITE, charge_w=9_000_000, discharge_w=0, version=6),)))
    bench.go("DC_ChargeLoopReq")
    mode = bench.responses[-1].cl_res_control_mode
    assert value(mode.evse_maximum_charge_power) <= value(reported.evse_maximum_charge_power)  # V2G20-2654
    assert value(mode.evse_maximum_charge_current) <= value(reported.evse_maximum_charge_current)


def value(rational: RationalNumber) -> float:
    return float(rational.value * 10.0**rational.exponent)


def test_a_power_of_the_whole_is_not_repeated_for_each_phase() -> None:
    """EVerest/EVerest#2581: one sum was copied into all three phases."""
    from v2g.iso15118.d20.quantities import each_phase

    for lines, powers in ((1, [9_000.0]), (2, [4_500.0] * 2), (3, [3_000.0] * 3)):
        assert [value(each) for each in each_phase("power", 9_000, lines).values()] == powers


def test_messages_of_one_kind_of_current_are_not_taken_in_a_session_of_the_other(charger: Make) -> None:
    bench = charger(DC).reach(State.DC_CHARGE_LOOP)
    other = charger(AC)
    other.reach(State.AC_CHARGE_LOOP)
    request = replace(other.ask("AC_ChargeLoopReq"), header=bench.header())
    assert isinstance(request, ac.AC_ChargeLoopReq)
    assert bench.send(request).response_code.name == "FAILED_SequenceError"
    assert bench.commands(se.EmergencyOff)
    assert isinstance(bench.responses[-1], ac.AC_ChargeLoopRes)
    assert not issubclass(ac.AC_ChargeLoopRes, dc.DC_ChargeLoopRes)


def test_energy_that_is_paid_for_is_never_asked_for_in_the_wrong_direction(charger: Make) -> None:
    """A vehicle that asks for current out of its battery in a session for charging only gets none."""
    config = replace(UNSIGNED, control_modes=(ControlMode.SCHEDULED,))
    bench = charger(DC, config)
    bench.scheduled = True
    bench.reach(State.DC_CHARGE_LOOP)
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=bench.loop_mode(ev_target_current=number(-50))))
    last = bench.commands(se.SetOutput)[-1]
    assert last.discharge_w == 0
    assert last.current_ma >= 0


def test_the_order_of_start_is_kept_with_and_without_a_last_pre_charge(charger: Make) -> None:
    """EVerest/EVerest#2305: peers differ; power starts once, and only at the vehicle's voltage."""
    bench = charger(DC).reach(State.DC_PRE_CHARGE_ONGOING)
    assert bench.go("PowerDeliveryReq").response_code.name == "OK"
    assert len(bench.commands(se.CloseContactors)) == 1
    assert bench.session.state is State.DC_CHARGE_LOOP
