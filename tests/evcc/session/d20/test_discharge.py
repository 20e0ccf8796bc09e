"""No energy leaves the vehicle that it did not agree to, and what it agreed to it signed."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from evcc.policy.policy import Permit, Situation
from evcc.session.ports import ConsentChanged, SetPowerLimits
from evcc.session.settings import DischargeConfig, NeedsConfig, ProgramStep, ServiceConfig, SessionConfig
from tests.evcc.session.bench import T0, Bench, Identities
from v2g.asn1.discharge import DischargeDecision, ResultStatus
from v2g.energy.discharge_gate import Accepted, Decided
from v2g.energy.signed import Party, open_signed
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.engine.v2gtp import PayloadType, frame

DISCHARGE = SessionConfig(program=(ProgramStep(do="discharge", energy_wh=200),))


def discharging(identities: Identities, config: SessionConfig = DISCHARGE, *, soc: float = 60.0, **more: Any) -> Bench:
    """Return a bench that waits for its first charge-loop answer, with an offer made before the cable check."""
    bench = Bench(identities, config, soc=soc, scale=20, **more)
    bench.run_to("DC_CableCheckReq")
    bench.send_offer()
    bench.run_to("DC_ChargeLoopReq")
    return bench


def decision(bench: Bench) -> DischargeDecision:
    content = open_signed(bench.discharge[0], Party.of(bench.identities.contract.chain[0]))
    assert isinstance(content, DischargeDecision)
    return content


def test_energy_flows_back_under_signed_terms_and_stops_where_the_program_says(identities: Identities) -> None:
    bench = discharging(identities)
    bench.run()
    assert bench.closed == "finished"
    assert 200_000 <= bench.model.state.discharged_mwh < 230_000
    assert bench.model.state.charged_mwh == 0
    assert isinstance(bench.charger.gate.current_offer, object)
    assert bench.seen("offer", "decided")[0]["accepted"]


def test_the_decision_is_signed_by_the_contract_key_and_names_the_owners_floor(identities: Identities) -> None:
    bench = discharging(identities)
    assert decision(bench).accepted
    assert decision(bench).minimum_soc == 40
    assert decision(bench).max_discharge_w == 8_000
    assert isinstance(bench.charger.judged[0], Decided)


def test_the_time_of_a_decision_is_measured(identities: Identities) -> None:
    times = iter([10.0, 10.012])
    bench = Bench(identities, DISCHARGE, stopwatch=lambda: next(times))
    bench.run_to("DC_CableCheckReq")
    bench.send_offer()
    assert bench.seen("offer", "decided")[0]["decision_ms"] == 12.0


def test_commands_are_renewed_before_they_end(identities: Identities) -> None:
    bench = discharging(identities)
    bench.run()
    signed = bench.seen("power", "command_signed")
    assert len(signed) > 5
    assert [each["sequence"] for each in signed] == list(range(1, len(signed) + 1))
    assert not bench.seen("power", "command_rejected")
    flowing = [each for each in bench.seen("loop", "flow")[2:] if each["power_w"] == 0]
    assert len(flowing) <= 1  # at the very end


def test_the_last_command_takes_the_power_back(identities: Identities) -> None:
    bench = discharging(identities)
    bench.run()
    assert bench.seen("power", "command_signed")[-1]["power_w"] == 0
    assert bench.charger.gate.allowed_w(bench.utc_ms) == 0


@pytest.mark.requirement("R30")
@pytest.mark.parametrize(
    ("config", "soc", "reason"),
    [
        (DischargeConfig(enabled=False), 60, "owner_refused"),
        (DischargeConfig(minimum_compensation=Decimal("0.26")), 60, "compensation_too_low"),
        (DischargeConfig(currency="USD"), 60, "terms_invalid"),
        (DischargeConfig(minimum_soc=60), 60, "state_of_charge_too_low"),
        (DischargeConfig(minimum_temperature_c=30), 60, "battery_condition"),
        (DischargeConfig(maximum_temperature_c=20), 60, "battery_condition"),
        (DischargeConfig(departure_reserve_s=8 * 3600), 60, "departure_too_soon"),
        (DischargeConfig(max_power_w=0), 60, "other"),
    ],
)
def test_an_offer_against_the_policy_is_declined_and_nothing_flows(
    identities: Identities, config: DischargeConfig, soc: float, reason: str
) -> None:
    bench = Bench(identities, msgspec.structs.replace(DISCHARGE, discharge=config), soc=soc, scale=20)
    bench.run_to("DC_CableCheckReq")
    bench.send_offer()
    bench.run()
    assert decision(bench).reason.value == reason
    assert not decision(bench).accepted
    assert len(bench.discharge) == 1, "no command after a refusal"
    assert bench.model.state.discharged_mwh == 0
    assert all(c.discharge_w == 0 for c in bench.commands if isinstance(c, SetPowerLimits))


def test_an_offer_that_the_charger_did_not_sign_is_not_answered(identities: Identities) -> None:
    other = Identities()
    bench = Bench(identities, DISCHARGE, scale=20)
    bench.run_to("DC_CableCheckReq")
    forged = Bench(other, DISCHARGE).charger.offer()
    bench.send_offer(forged)
    assert bench.seen("offer", "refused_message")[0]["reason"] == "unknown_signer"
    bench.run()
    assert bench.discharge == []
    assert bench.model.state.discharged_mwh == 0


def test_every_flipped_byte_of_an_offer_is_noticed(identities: Identities) -> None:
    bench = Bench(identities, DISCHARGE, scale=20)
    bench.run_to("DC_CableCheckReq")
    genuine = bench.charger.offer()
    for position in range(0, len(genuine), 7):
        broken = bytearray(genuine)
        broken[position] ^= 1
        bench.send_offer(bytes(broken))
    assert bench.discharge == []
    assert not bench.closed
    bench.send_offer(genuine)
    assert decision(bench).accepted


def test_our_own_messages_do_not_come_back_as_the_chargers(identities: Identities) -> None:
    bench = discharging(identities)
    bench.send_offer(bench.discharge[0])
    assert bench.seen("offer", "refused_message")[0]["reason"] == "unknown_signer"


def test_an_offer_without_the_service_is_passed_over(identities: Identities) -> None:
    config = msgspec.structs.replace(DISCHARGE, services=ServiceConfig(signed_discharge=False))
    bench = Bench(identities, config, scale=20)
    bench.run_to("DC_CableCheckReq")
    bench.send_offer()
    assert bench.seen("offer", "ignored")
    bench.run()
    assert bench.model.state.discharged_mwh == 0


def test_a_charger_of_another_version_of_the_service_is_not_taken_up_on_it(identities: Identities) -> None:
    bench = Bench(identities, DISCHARGE, scale=20)
    bench.run_to("ServiceDetailReq")
    bench.run(lambda: bool(bench.unanswered) and getattr(bench.unanswered[0], "service_id", 0) == 61440)
    response = bench.charger.answer(bench.unanswered.pop())
    sets = response.service_parameter_list.parameter_set
    second = msgspec.structs.replace(sets[0].parameter[0], int_value=4)
    parameters = msgspec.structs.replace(sets[0], parameter=(second, sets[0].parameter[1]))
    lists = msgspec.structs.replace(response.service_parameter_list, parameter_set=(parameters,))
    bench.reply(msgspec.structs.replace(response, service_parameter_list=lists))
    assert bench.unanswered[0].selected_vas_list is None


def test_a_lower_limit_lowers_the_power_and_a_higher_one_raises_it(identities: Identities) -> None:
    config = SessionConfig(program=(ProgramStep(do="discharge", for_s=300),))
    bench = discharging(identities, config)
    bench.run(lambda: bench.now > 1005)
    for operator_w in (3_000, 9_000):
        bench.charger.operator_w = operator_w
        bench.send_offer()
        began = len(bench.seen("loop", "flow"))
        bench.run(lambda began=began: len(bench.seen("loop", "flow")) >= began + 4)  # type: ignore[misc]
        assert bench.seen("power", "wish")[-1]["discharge_w"] == operator_w
        assert -bench.seen("loop", "flow")[-1]["power_w"] == pytest.approx(operator_w, rel=0.01)
    assert not bench.closed


@pytest.mark.requirement("R30")
def test_discharge_ends_at_the_minimum_charge(identities: Identities) -> None:
    config = SessionConfig(program=(ProgramStep(do="discharge"),), discharge=DischargeConfig(minimum_soc=59.9))
    bench = discharging(identities, config)
    bench.run()
    assert bench.closed == "finished"
    assert 59.8 < bench.model.state.soc <= 59.9


@pytest.mark.requirement("R30")
def test_discharge_ends_while_the_battery_gets_too_cold_for_it(identities: Identities) -> None:
    """It cools from 25 °C towards 20 °C."""
    config = SessionConfig(
        program=(ProgramStep(do="discharge", for_s=120),), discharge=DischargeConfig(minimum_temperature_c=24.98)
    )
    bench = discharging(identities, config)
    assert decision(bench).accepted
    bench.run(lambda: bench.model.state.temperature_c < 24.97)
    assert bench.seen("power", "wish")[-1]["held_back"] == "battery_too_cold"
    before = bench.model.state.discharged_mwh
    assert before > 0
    bench.run()
    assert bench.model.state.discharged_mwh == before
    assert bench.closed == "finished"


def test_charging_comes_first_when_the_battery_is_below_the_owners_floor(identities: Identities) -> None:
    steps = (ProgramStep(do="charge", until_soc=40.3), ProgramStep(do="discharge", energy_wh=60))
    bench = discharging(identities, SessionConfig(program=steps), soc=39.9)
    assert decision(bench).accepted
    bench.run()
    assert bench.model.state.discharged_mwh >= 60_000


def test_a_step_waits_for_an_hour_that_pays(identities: Identities) -> None:
    config = SessionConfig(program=(ProgramStep(do="discharge", for_s=200),))
    bench = discharging(identities, config)
    bench.run(lambda: bench.utc_ms > T0 + 60_000)
    bench.charger.compensation = 10_000
    bench.send_offer()
    before = bench.model.state.discharged_mwh
    bench.run()
    assert bench.seen("offer", "decided")[-1]["reason"] == "compensation_too_low"
    assert bench.model.state.discharged_mwh - before < 100_000
    assert bench.utc_ms - T0 >= 200_000
    assert bench.closed == "finished"


def test_an_announced_offer_that_never_comes_ends_the_step(identities: Identities) -> None:
    bench = Bench(identities, DISCHARGE, scale=1)
    bench.run()
    assert bench.closed == "finished"
    assert 10 <= bench.now - 1000 < 12


def test_results_that_reject_our_commands_end_the_discharge(identities: Identities) -> None:
    bench = discharging(identities)
    bench.charger.gate.stop()
    bench.run()
    assert {each["status"] for each in bench.seen("power", "command_rejected")} == {ResultStatus.STOPPED.value}
    _accepted, *rejected = bench.seen("power", "command_signed")
    assert [each["power_w"] for each in rejected] == [8_000] * 3 + [0]
    assert bench.model.state.discharged_mwh == 0
    assert bench.closed == "finished"


def test_more_than_was_signed_leaves_the_battery_for_a_moment_only(identities: Identities) -> None:
    config = SessionConfig(program=(ProgramStep(do="discharge", for_s=2000),))
    bench = discharging(identities, config)
    bench.run(lambda: bench.now > 1002)
    bench.drive = lambda: setattr(bench.charger, "current", -40.0)  # type: ignore[method-assign]
    began = bench.now
    bench.run()
    bench.assert_safe("more_discharged_than_agreed")
    assert 0.2 < bench.now - began < 0.8  # four times the tolerance, and no limit has fallen
    assert bench.seen("session", "failed")[0]["allowed_w"] == 8_000


def test_discharging_while_the_vehicle_wants_to_charge_is_stopped(identities: Identities) -> None:
    bench = discharging(identities, SessionConfig(program=(ProgramStep(do="charge", until_soc=90),)))
    bench.drive = lambda: setattr(bench.charger, "current", -5.0)  # type: ignore[method-assign]
    bench.run()
    bench.assert_safe("more_discharged_than_agreed")


def test_without_the_service_nothing_flows_back_unless_the_owner_allows_the_plain_standard(
    identities: Identities,
) -> None:
    bench = Bench(identities, DISCHARGE, scale=20)
    bench.charger.added = ()
    bench.run()
    assert bench.closed == "finished"
    assert bench.model.state.discharged_mwh == 0
    plain = msgspec.structs.replace(DISCHARGE, discharge=DischargeConfig(require_signed=False))
    bench = Bench(identities, plain, scale=20)
    bench.charger.added = ()

    def by_request() -> None:
        limits = next(each for each in reversed(bench.commands) if isinstance(each, SetPowerLimits))
        bench.charger.current = -20.0 if limits.discharge_w else 0.0

    bench.drive = by_request  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "finished"
    assert bench.model.state.discharged_mwh >= 200_000
    modes = [r.cl_req_control_mode for r in bench.requests if isinstance(r, dc.DC_ChargeLoopReq)]
    asked = [m.ev_maximum_discharge_power.value for m in modes]
    assert set(asked) == {10_000, 0}
    assert asked[-1] == 0  # before the loop is left


def test_in_a_plain_session_the_limit_of_discharge_is_what_is_wanted_now(identities: Identities) -> None:
    config = SessionConfig(
        program=(ProgramStep(do="charge", energy_wh=20),), discharge=DischargeConfig(require_signed=False)
    )
    bench = Bench(identities, config, scale=20)
    bench.charger.added = ()
    bench.run()
    modes = [r.cl_req_control_mode for r in bench.requests if isinstance(r, dc.DC_ChargeLoopReq)]
    assert {m.ev_maximum_discharge_power.value for m in modes} == {0}


def test_under_signatures_the_limit_of_discharge_is_what_the_battery_could_give(identities: Identities) -> None:
    bench = discharging(identities, SessionConfig(program=(ProgramStep(do="charge", energy_wh=20),)))
    bench.run()
    modes = [r.cl_req_control_mode for r in bench.requests if isinstance(r, dc.DC_ChargeLoopReq)]
    assert {m.ev_maximum_discharge_power.value for m in modes} == {10_000}
    assert bench.model.state.discharged_mwh == 0


def test_a_scheduled_discharge_asks_for_a_negative_current_within_the_tuple(identities: Identities) -> None:
    config = msgspec.structs.replace(DISCHARGE, services=ServiceConfig(control_mode=("scheduled",)))
    bench = discharging(identities, config)
    bench.run()
    assert bench.closed == "finished"
    targets = [r.cl_req_control_mode.ev_target_current for r in bench.requests if isinstance(r, dc.DC_ChargeLoopReq)]
    amps = [t.value * 10.0**t.exponent for t in targets]
    assert min(amps) == pytest.approx(-5_000 / 370, abs=0.2)
    assert max(amps) <= 0


@pytest.mark.parametrize(("starts_s", "lasts_s", "begins_s"), [(300, 90_000, 300), (-60, 30, None), (0, 90_000, 0)])
def test_a_discharging_schedule_has_its_own_time(
    identities: Identities, starts_s: int, lasts_s: int, begins_s: int | None
) -> None:
    """Whatever the time of the charging schedule beside it."""
    program = (ProgramStep(do="discharge", for_s=600),)
    discharge = DischargeConfig(require_signed=False)
    services = ServiceConfig(control_mode=("scheduled",))
    bench = Bench(identities, SessionConfig(program=program, discharge=discharge, services=services), scale=20)
    bench.charger.added = ()
    bench.run_to("ScheduleExchangeReq")
    response = bench.charger.answer(bench.unanswered.pop())
    tuples = response.scheduled_se_res_control_mode.schedule_tuple
    offered = tuples[1].discharging_schedule.power_schedule
    entry = offered.power_schedule_entries.power_schedule_entry[0]
    entries = msgspec.structs.replace(
        offered.power_schedule_entries, power_schedule_entry=(msgspec.structs.replace(entry, duration=lasts_s),)
    )
    power = msgspec.structs.replace(
        offered, time_anchor=bench.utc_ms // 1000 + starts_s, power_schedule_entries=entries
    )
    back = msgspec.structs.replace(tuples[1].discharging_schedule, power_schedule=power)
    mode = msgspec.structs.replace(
        response.scheduled_se_res_control_mode,
        schedule_tuple=(msgspec.structs.replace(tuples[1], discharging_schedule=back),),
    )
    agreed_ms = bench.utc_ms
    bench.reply(msgspec.structs.replace(response, scheduled_se_res_control_mode=mode))
    bench.drive = lambda: None  # type: ignore[method-assign]
    began: list[int] = []

    def discharges() -> bool:
        limits = [each.discharge_w for each in bench.commands if isinstance(each, SetPowerLimits)]
        if max(limits, default=0) and not began:
            began.append((bench.utc_ms - agreed_ms) // 1000)
        return False

    bench.run(discharges)
    assert bench.closed == "finished"
    assert began == ([] if begins_s is None else [pytest.approx(begins_s, abs=10)])


def test_discharge_leaves_time_to_recharge_before_departure(identities: Identities) -> None:
    config = SessionConfig(
        program=(ProgramStep(do="discharge"),),
        needs=NeedsConfig(departure_after_s=1100),
        discharge=DischargeConfig(departure_soc=62, departure_reserve_s=900),
    )
    bench = discharging(identities, config)
    bench.run()
    assert bench.closed == "finished"
    missing_s = 60_000 * (62 - bench.model.state.soc) / 100 / 50_000 * 3600
    assert bench.utc_ms - T0 <= (1100 - 900 - missing_s + 10) * 1000


def test_a_result_split_over_frames_with_an_answer_is_understood(identities: Identities) -> None:
    """Offer, result and answer may come glued together or in pieces."""
    bench = discharging(identities)
    payload = bench.charger.offer()
    glued = frame(PayloadType.SIGNED_DISCHARGE, payload) * 2
    for n in range(0, len(glued), 100):
        bench.receive(glued[n : n + 100])
    assert len(bench.seen("offer", "decided")) == 3
    bench.run()
    assert bench.closed == "finished"
    assert any(isinstance(each, Accepted) for each in bench.charger.judged) is False


def test_nothing_flows_back_without_the_owners_consent(identities: Identities) -> None:
    """Consent counts for the next offer, and its withdrawal at once, with a decision that the charger records."""
    config = SessionConfig(program=(ProgramStep(do="discharge", for_s=600),), discharge=DischargeConfig(consent="ask"))
    bench = discharging(identities, config)
    assert bench.seen("offer", "decided")[0]["reason"] == "owner_refused"
    bench.run(lambda: bench.utc_ms > T0 + 60_000)
    assert bench.model.state.discharged_mwh == 0
    bench.fact(ConsentChanged(given=True))
    bench.charger.operator_w = 5_000
    bench.send_offer()
    bench.run(lambda: bench.model.state.discharged_mwh > 20_000)
    bench.fact(ConsentChanged(given=False))
    assert bench.seen("offer", "withdrawn") == [{"reason": "owner_refused"}]
    withdrawn = bench.charger.judged[-1]
    assert isinstance(withdrawn, Decided)
    assert not withdrawn.decision.accepted
    before = bench.model.state.discharged_mwh
    bench.run()
    assert bench.model.state.discharged_mwh - before < 10_000
    assert bench.closed == "finished"


def test_no_more_is_fed_back_than_the_cycles_that_the_owner_grants(identities: Identities) -> None:
    config = SessionConfig(program=(ProgramStep(do="discharge"),), discharge=DischargeConfig(cycle_budget=0.005))
    bench = discharging(identities, config)
    bench.run()
    assert bench.closed == "finished"
    assert bench.model.state.discharged_mwh == pytest.approx(0.005 * 60_000_000, rel=0.1)


def test_a_policy_of_ones_own_answers_offers_and_lowers_power(identities: Identities) -> None:
    def decide(situation: Situation) -> Permit:
        assert situation.terms is not None
        if situation.offered:
            return Permit(situation.permitted_w)
        return Permit(2_000) if situation.fed_back_wh < 100 else Permit(0, "enough")

    config = SessionConfig(program=(ProgramStep(do="discharge", for_s=600),))
    bench = discharging(identities, config, own_policy=decide)
    bench.run()
    assert bench.seen("power", "wish")[0]["discharge_w"] == 2_000
    assert bench.seen("power", "wish")[-1]["held_back"] == "enough"
    assert bench.model.state.discharged_mwh == pytest.approx(100_000, rel=0.2)
    bench = discharging(identities, config, own_policy=lambda _: Permit(0, "not today"))
    assert bench.seen("offer", "decided")[0]["reason"] == "owner_refused"
