"""Schedules to choose from: what limits and prices make of them, what a profile may hold, and what flows by them."""

import itertools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig, SignedDischargeConfig
from secc.session.d20.scheduling import receipts
from secc.session.terms import (
    AddedService,
    OfferedRange,
    OverstayStep,
    OverstayTerms,
    PowerSpan,
    PriceTerms,
    ScheduleOffer,
    ScheduleRules,
    SeccNeeds,
    TaxTerms,
    merged,
    power_at,
)
from tests.secc.session.bench import AC, Bench, number
from tests.secc.session.conftest import MakeBench
from tests.together import together
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.prices import Algorithm, Flow, cost, fraction, read_prices
from v2g.iso15118.engine.sequence import State
from v2g_station.blocks.smart_charging.smart_charging import ProfileTaken

replace = msgspec.structs.replace
SCHEDULED = SeccConfig(control_modes=(ControlMode.SCHEDULED,))
UNSIGNED = SignedDischargeConfig(offered=False, required=False)
HOUR = 3_600_000


def scheduled(make_bench: MakeBench, config: SeccConfig = SCHEDULED, **options: Any) -> Bench:
    """Return a bench whose scheduled vehicle is about to exchange schedules."""
    bench = make_bench(config, **options)
    bench.scheduled = True
    return bench.reach(State.SCHEDULE_EXCHANGE)


def exchange(bench: Bench, **changes: Any) -> tuple[sched.ScheduleTuple, ...]:
    request = bench.ask("ScheduleExchangeReq")
    mode = replace(request.scheduled_se_req_control_mode, **changes)
    response = bench.send(replace(request, scheduled_se_req_control_mode=mode))
    assert response.response_code.name == "OK"
    tuples: tuple[sched.ScheduleTuple, ...] = response.scheduled_se_res_control_mode.schedule_tuple
    return tuples


def powers(schedule: sched.ChargingSchedule) -> list[tuple[int, float]]:
    entries = schedule.power_schedule.power_schedule_entries.power_schedule_entry
    return [(each.duration, float(fraction(each.power))) for each in entries]


def flat(utc_ms: int, *cents: int) -> Tariff:
    """Return prices by the hour from the full hour on."""
    begin = utc_ms - utc_ms % HOUR
    slots = tuple(PriceSlot(begin + n * HOUR, HOUR, each * 10_000, 0) for n, each in enumerate(cents))
    return Tariff(currency="EUR", slots=slots, version=1)


# -- what is offered ----------------------------------------------------------------------------------------------


def test_every_vehicle_may_choose_and_ids_are_unique(make_bench: MakeBench) -> None:
    tuples = exchange(scheduled(make_bench))
    assert 1 < len(tuples) <= 3
    assert [each.schedule_tuple_id for each in tuples] == list(range(1, len(tuples) + 1))
    schedules = [s for each in tuples for s in (each.charging_schedule, each.discharging_schedule) if s is not None]
    prices = [each.absolute_price_schedule.price_schedule_id for each in schedules if each.absolute_price_schedule]
    assert len(prices) == len(set(prices)) == len(schedules)


def test_the_cheapest_time_that_suffices_is_one_tuple(make_bench: MakeBench) -> None:
    bench = scheduled(make_bench)
    bench.session.fact(ports.GridChanged((), flat(bench.utc_ms, 40, 10, 40, 20, 40)), bench.now, bench.utc_ms)
    left = 3600 - bench.utc_ms // 1000 % 3600
    _, cheap, *_ = exchange(bench, departure_time=left + 3 * 3600, ev_target_energy_request=number(30_000))
    # 20 kWh in the hour at 10 cents, the rest in the one at 20
    assert powers(cheap.charging_schedule) == [(left, 0), (3600, 20_000), (3600, 0), (3600, 20_000)]
    assert cheap.discharging_schedule is None


def test_without_a_known_cheapest_time_there_is_power_at_all_times(make_bench: MakeBench) -> None:
    """Where the operator offers nothing else no ScheduleExchangeRes could be made: without a tariff nobody charged."""
    offers = (ScheduleOffer(cheapest=True, power_percent=50), ScheduleOffer(cheapest=True))
    bench = scheduled(make_bench, replace(SCHEDULED, schedules=ScheduleRules(offers=offers)), tariff=None)
    (only,) = exchange(bench)
    assert [power_w for _, power_w in powers(only.charging_schedule)] == [10_000]


def test_limits_that_are_known_ahead_make_entries(make_bench: MakeBench) -> None:
    bench = scheduled(make_bench)
    begin = bench.utc_ms // 1000 * 1000
    until = Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=2, valid_until_ms=begin + HOUR)
    bench.fact(ports.GridChanged((until,)))
    bench.fact(
        ports.GridChanged(
            foreseen=(
                Limit(source=SITE, charge_w=5_000, discharge_w=9_000, version=1, valid_from_ms=begin + HOUR // 2),
            )
        )
    )
    first, *_ = exchange(bench)
    assert powers(first.charging_schedule) == [(1800, 20_000), (5400, 5_000)]
    assert first.discharging_schedule is not None
    assert powers(first.discharging_schedule) == [(1800, -10_000), (1800, -9_000), (3600, 0)]


def test_what_the_vehicle_wants_at_the_moment_is_not_what_it_can_do(make_bench: MakeBench) -> None:
    bench = scheduled(make_bench)
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    waiting = bench.loop_mode(ev_maximum_charge_power=number(0))
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=waiting))
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
    first, *_ = exchange(bench)
    assert powers(first.charging_schedule)[0][1] == 20_000


def test_phases_of_alternating_current_are_told_apart(make_bench: MakeBench) -> None:
    config = SeccConfig(services=(EnergyService.AC,), control_modes=(ControlMode.SCHEDULED,), signed_discharge=UNSIGNED)
    bench = make_bench(config, pilot=PilotState.C)
    bench.scheduled, bench.selection = True, (AC, 0, False)
    first, *_ = exchange(bench.reach(State.SCHEDULE_EXCHANGE))
    entry = first.charging_schedule.power_schedule.power_schedule_entries.power_schedule_entry[0]
    assert [fraction(each) for each in (entry.power, entry.power_l2, entry.power_l3) if each] == [3_600] * 3
    uneven = sched.PowerScheduleEntry(duration=60, power=number(3_700), power_l2=number(10), power_l3=number(10))
    profile = bench.profile(1, 0)
    profile = replace(profile, ev_power_profile_entries=sched.EVPowerProfileEntryList(ev_power_profile_entry=(uneven,)))
    response = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile))
    assert response.response_code.name == "FAILED_EVPowerProfileInvalid"


def test_energy_that_is_bounded_is_said_and_held(make_bench: MakeBench) -> None:
    rules = ScheduleRules(available_energy_wh=8_000)
    bench = scheduled(make_bench, SeccConfig(control_modes=(ControlMode.SCHEDULED,), schedules=rules))
    first, *_ = exchange(bench)
    assert fraction(first.charging_schedule.power_schedule.available_energy) == 8_000
    bench.go("DC_CableCheckReq", "DC_PreChargeReq")
    request = bench.ask("PowerDeliveryReq", ev_power_profile=bench.profile(1, 8_001))
    assert bench.send(request).response_code.name == "FAILED_EVPowerProfileInvalid"


@pytest.mark.requirement("R4")
def test_everything_that_the_operator_asks_for_is_in_the_prices(make_bench: MakeBench) -> None:
    terms = PriceTerms(
        algorithm="3-StackedEnergy",
        power_ranges=(OfferedRange(from_w=11_000, surcharge=Decimal("0.10")),),
        description="by the hour",
        minimum_cost=Decimal(2),
        maximum_cost=Decimal(80),
        taxes=(TaxTerms(name="VAT", rate=Decimal("0.19")), TaxTerms(name="city", rate=Decimal("0.01"), energy=False)),
        parking_fee=Decimal("0.60"),
        carbon_dioxide=380,
        renewable_percent=55,
        overstay=OverstayTerms(rules=(OverstayStep(fee=Decimal(5)),), after_s=900, below_w=200),
        services=(AddedService(name="wash", fee=Decimal("9.90")),),
    )
    bench = scheduled(make_bench, SeccConfig(control_modes=(ControlMode.SCHEDULED,), prices=terms))
    bench.session.fact(ports.GridChanged((), flat(bench.utc_ms, 30, 30, 30, 30)), bench.now, bench.utc_ms)
    first, *_ = exchange(bench)
    schedule = first.charging_schedule.absolute_price_schedule
    assert schedule is not None
    prices = read_prices(schedule)
    start = prices.anchor_ms
    # 15 kW for an hour, then an hour of staying of which a quarter is free
    found = cost(prices, [Flow(start, start + HOUR, 15_000), Flow(start + HOUR, start + 2 * HOUR, 0)])
    assert float(found.energy) == pytest.approx(11 * 0.30 + 4 * 0.40)
    assert float(found.parking) == pytest.approx(1.20)
    assert float(found.overstay) == pytest.approx(0.75 * 5)
    assert float(found.services) == pytest.approx(9.90)
    net = 4.90 + 1.20 + 3.75
    assert float(found.total) == pytest.approx(net * 1.19 + (1.20 + 3.75) * 0.01 + 9.90)
    rule = schedule.price_rule_stacks.price_rule_stack[0].price_rule[0]
    assert (rule.carbon_dioxide_emission, rule.renewable_generation_percentage) == (380, 55)
    assert first.discharging_schedule is not None
    back = first.discharging_schedule.absolute_price_schedule
    assert back is not None
    assert schedule.tax_rules is not None
    rates = [fraction(each.tax_rate) for each in schedule.tax_rules.tax_rule]
    assert rates == [19, 1], "in percent"
    assert (back.tax_rules, back.minimum_cost, back.overstay_rules, back.additional_selected_services) == (None,) * 4


def test_levels_rank_the_prices(make_bench: MakeBench) -> None:
    config = SeccConfig(
        control_modes=(ControlMode.SCHEDULED,), prices=PriceTerms(forms=("levels", "absolute"), levels=3)
    )
    bench = scheduled(make_bench, config)
    bench.session.fact(ports.GridChanged((), flat(bench.utc_ms, 40, 10, 20, 30, 50, 60)), bench.now, bench.utc_ms)
    first, *_ = exchange(bench, departure_time=6 * 3600 - bench.utc_ms // 1000 % 3600)
    levels = first.charging_schedule.price_level_schedule
    assert levels is not None
    entries = levels.price_level_schedule_entries.price_level_schedule_entry
    assert levels.number_of_price_levels == 3
    assert [each.price_level for each in entries] == [1, 0, 0, 1, 2, 2]


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 5)), min_size=1, max_size=60), st.integers(1, 20))
def test_fewer_entries_never_promise_more_power(lengths: list[tuple[int, int]], most: int) -> None:
    ends = list(itertools.accumulate(length for length, _ in lengths))
    spans = [PowerSpan(end - length, end, power) for end, (length, power) in zip(ends, lengths, strict=True)]
    found = merged(spans, at_most=most)
    assert len(found) <= most
    assert (found[0].start_ms, found[-1].end_ms) == (0, ends[-1])
    for moment in range(ends[-1]):
        assert power_at(found, moment) <= power_at(tuple(spans), moment)
    if len(merged(spans, at_most=10**6)) <= most:
        assert all(power_at(found, moment) == power_at(tuple(spans), moment) for moment in range(ends[-1]))


# -- what is chosen -----------------------------------------------------------------------------------------------


def step_limits(bench: Bench, late_w: int) -> Bench:
    """Let the site have less from half an hour on."""
    begin = bench.utc_ms // 1000 * 1000
    late = Limit(source=SITE, charge_w=late_w, discharge_w=0, version=1, valid_from_ms=begin + HOUR // 2)
    bench.fact(ports.GridChanged(foreseen=(late,)))
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq")
    return bench


def profile(bench: Bench, *entries: tuple[int, float], anchor: int | None = None) -> sched.EVPowerProfile:
    steps = tuple(sched.PowerScheduleEntry(duration=seconds, power=number(power)) for seconds, power in entries)
    base = bench.profile(1, 0)
    return replace(
        base,
        time_anchor=base.time_anchor if anchor is None else anchor,
        ev_power_profile_entries=sched.EVPowerProfileEntryList(ev_power_profile_entry=steps),
    )


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        (((1800, 20_000), (3600, 5_000)), "OK"),
        (((1801, 20_000), (3600, 5_000)), "FAILED_EVPowerProfileInvalid"),
        (((1800, 20_000), (3600, 5_001)), "FAILED_EVPowerProfileInvalid"),
        (((900, 0), (900, 20_000), (1800, 0)), "OK"),
        (((0, 0), (900, 5_000)), "FAILED_EVPowerProfileInvalid"),
    ],
)
def test_a_profile_is_checked_entry_by_entry(make_bench: MakeBench, entries: Any, code: str) -> None:
    bench = step_limits(scheduled(make_bench), 5_000)
    request = bench.ask("PowerDeliveryReq", ev_power_profile=profile(bench, *entries))
    assert bench.send(request).response_code.name == code


def test_a_profile_that_begins_later_is_checked_from_there(make_bench: MakeBench) -> None:
    bench = step_limits(scheduled(make_bench), 5_000)
    late = profile(bench, (600, 6_000), anchor=bench.utc_ms // 1000 + 1800)
    response = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=late))
    assert response.response_code.name == "FAILED_EVPowerProfileInvalid"


@given(
    schedule=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=6),
    wanted=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), min_size=1, max_size=6),
    shift=st.integers(-20, 40),
)
def test_a_profile_passes_exactly_when_no_second_of_it_is_above_the_schedule(
    schedule: list[tuple[int, int]], wanted: list[tuple[int, int]], shift: int
) -> None:
    from secc.session.d20.scheduling.schedules import check_profile
    from secc.session.terms import OfferedTuple
    from v2g.errors import Iso15118Error

    base = 1_000_000
    ends = list(itertools.accumulate(length for length, _ in schedule))
    spans = tuple(
        PowerSpan((base + end - length) * 1000, (base + end) * 1000, power)
        for end, (length, power) in zip(ends, schedule, strict=True)
    )
    message = sched.EVPowerProfile(
        time_anchor=base + shift,
        ev_power_profile_entries=sched.EVPowerProfileEntryList(
            ev_power_profile_entry=tuple(
                sched.PowerScheduleEntry(duration=length, power=RationalNumber(exponent=0, value=power))
                for length, power in wanted
            )
        ),
    )
    seconds = [power for length, power in wanted for _ in range(length)]
    allowed = all(power <= power_at(spans, (base + shift + second) * 1000) for second, power in enumerate(seconds))
    try:
        check_profile(message, OfferedTuple(1, spans), 0, base * 1000)
        passed = True
    except Iso15118Error:
        passed = False
    assert passed == allowed


def test_power_follows_the_entry_in_force(make_bench: MakeBench) -> None:
    bench = step_limits(scheduled(make_bench, time_scale=300.0), 5_000)
    bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile(bench, (1800, 20_000), (600, 5_000))))
    bench.go("DC_ChargeLoopReq")
    assert bench.commands(ports.SetOutput)[-1].charge_w == 20_000
    while bench.commands(ports.SetOutput)[-1].charge_w == 20_000:
        assert bench.now < 110
        bench.pass_time(1.0)
        bench.go("DC_ChargeLoopReq")
    assert bench.commands(ports.SetOutput)[-1].charge_w == 5_000
    assert bench.now == pytest.approx(106, abs=2)  # half an hour at three hundredfold speed


@pytest.mark.requirement("R7")
def test_new_prices_ask_a_vehicle_under_a_schedule_to_choose_again(make_bench: MakeBench) -> None:
    bench = scheduled(make_bench)
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    assert bench.go("DC_ChargeLoopReq").evse_status is None
    bench.fact(ports.GridChanged((), flat(bench.utc_ms, 10, 10)))
    assert bench.go("DC_ChargeLoopReq").evse_status.evse_notification.value == "ScheduleRenegotiation"


def test_a_running_bill_stands_beside_the_meter_from_time_to_time(make_bench: MakeBench) -> None:
    config = SeccConfig(control_modes=(ControlMode.SCHEDULED,), prices=PriceTerms(receipt_every_s=5))
    bench = scheduled(make_bench, config)
    bench.session.fact(ports.GridChanged((), flat(bench.utc_ms, 30, 30, 30, 30)), bench.now, bench.utc_ms)
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    reported = []
    for _ in range(12):
        bench.pass_time(1.0)
        bench.import_mwh += 1_000
        bench.fact(ports.MeterRead(bench.utc_ms, bench.import_mwh, bench.export_mwh))
        reported.append(bench.send(bench.ask("DC_ChargeLoopReq", meter_info_requested=True)))
    receipts = [each.receipt for each in reported if each.receipt is not None]
    assert len(receipts) == 3  # at once, and every five seconds
    assert all(each.meter_info is not None for each in reported)
    assert fraction(receipts[0].energy_costs.amount) == Fraction("0.0003")
    assert fraction(receipts[-1].energy_costs.amount) == 11 * Fraction("0.0003")
    assert float(fraction(receipts[-1].energy_costs.cost_per_unit)) == pytest.approx(0.30)
    silent = bench.send(bench.ask("DC_ChargeLoopReq"))
    assert silent.receipt is None  # V2G20-1919
    lower = replace(receipts[-1], energy_costs=replace(receipts[-1].energy_costs, amount=number(0)))
    for receipt, code in ((receipts[0], "OK"), (receipts[-1], "OK"), (lower, "FAILED_MeteringSignatureNotValid")):
        data = bench.metering_data(reported[-1].meter_info, receipt=receipt)
        answer = bench.send(bench.ask("MeteringConfirmationReq", signed_metering_data=data, header=bench.sign(data)))
        assert answer.response_code.name == code


def plan_anew(bench: Bench) -> None:
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")


def select_anew(bench: Bench) -> None:
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.Stop))
    bench.send(bench.ask("SessionStopReq", charging_session=cm.ChargingSession.ServiceRenegotiation))
    bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq", "DC_ChargeParameterDiscoveryReq")
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")


@pytest.mark.parametrize("anew", [plan_anew, select_anew])
@pytest.mark.parametrize("ms", range(0, 1000, 100))
def test_a_running_bill_has_all_energy_also_of_the_moment_of_a_new_schedule(
    make_bench: MakeBench, ms: int, anew: Callable[[Bench], None]
) -> None:
    """At whatever moment of a second, as schedules begin with whole ones."""
    config = SeccConfig(control_modes=(ControlMode.SCHEDULED,), prices=PriceTerms(receipt_every_s=0))
    bench = scheduled(make_bench, config)
    bench.session.fact(ports.GridChanged((), flat(bench.utc_ms, 30, 30, 30, 30)), bench.now, bench.utc_ms)
    bench.pass_time((1000 + ms - bench.utc_ms % 1000) / 1000)
    bench.fact(ports.MeterRead(bench.utc_ms, bench.import_mwh, bench.export_mwh))
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq")
    for step in range(9):
        bench.pass_time(0.4)
        bench.import_mwh += 10_000
        bench.fact(ports.MeterRead(bench.utc_ms, bench.import_mwh, bench.export_mwh))
        reported = bench.send(bench.ask("DC_ChargeLoopReq", meter_info_requested=True))
        if step == 3:  # the bill has been counted 0.4 s ago
            anew(bench)
    assert fraction(reported.receipt.energy_costs.amount) == 9 * Fraction("0.003")


def test_the_pay_for_discharge_stays_where_a_new_schedule_has_none() -> None:
    rule = sched.PriceRule(energy_fee=number(0.3), power_range_start=number(0))
    stack = sched.PriceRuleStack(duration=7200, price_rule=(rule,))
    prices = sched.AbsolutePriceSchedule(
        time_anchor=0,
        price_schedule_id=1,
        currency="EUR",
        language="eng",
        price_algorithm=Algorithm.POWER.uri,
        price_rule_stacks=sched.PriceRuleStackList(price_rule_stack=(stack,)),
    )
    begun = receipts.begin(prices, prices, ports.MeterRead(0, 0, 0))
    assert begun is not None
    before = receipts.advance(begun, ports.MeterRead(3_600_000, 0, 2_000_000))
    after = receipts.begin(prices, None, before.meter, before)
    assert after is not None
    assert receipts.receipt(after) == receipts.receipt(before) != receipts.receipt(begun)


# -- needs and the back end ---------------------------------------------------------------------------------------


def offer(
    power: float, seconds: int = 600, *, algorithm: str = "1-Power", currency: str = "EUR", anchor: int = 0
) -> sched.EVEnergyOffer:
    rules = tuple(sched.EVPriceRule(energy_fee=number(0.2), power_range_start=number(n * 1000)) for n in range(2))
    return sched.EVEnergyOffer(
        ev_power_schedule=sched.EVPowerSchedule(
            time_anchor=anchor,
            ev_power_schedule_entries=sched.EVPowerScheduleEntryList(
                ev_power_schedule_entry=(sched.EVPowerScheduleEntry(duration=seconds, power=number(power)),)
            ),
        ),
        ev_absolute_price_schedule=sched.EVAbsolutePriceSchedule(
            time_anchor=anchor,
            currency=currency,
            price_algorithm="urn:iso:std:iso:15118:-20:PriceAlgorithm:" + algorithm,
            ev_price_rule_stacks=sched.EVPriceRuleStackList(
                ev_price_rule_stack=(sched.EVPriceRuleStack(duration=600, ev_price_rule=rules),)
            ),
        ),
    )


@pytest.mark.parametrize(
    ("made", "service", "good"),
    [
        (offer(-12_000), 6, True),
        (offer(12_000), 6, True),
        (offer(-12_001), 6, False),
        (offer(-5_000, 0), 6, False),
        (offer(-5_000, algorithm="9-Mood"), 6, False),
        (offer(-5_000, currency="€"), 6, False),
        (offer(-5_000, anchor=2**63), 6, False),  # of which no time of OCPP can be made
        (offer(-5_000), 2, False),
    ],
    ids=["negative", "positive", "too_much", "no_time", "algorithm", "currency", "never", "one_way_service"],
)
def test_an_energy_offer_is_checked_and_passed_on(
    make_bench: MakeBench, made: sched.EVEnergyOffer, service: int, good: bool
) -> None:
    bench = make_bench(SCHEDULED)
    bench.scheduled, bench.selection = True, (service, 0, service == 6)
    bench.reach(State.SCHEDULE_EXCHANGE)
    exchange(bench, ev_energy_offer=made)  # a bad offer costs the offer, not the session
    (needs,) = (each.needs for each in bench.commands(ports.ReportChargingNeeds))
    if good:
        assert needs.offer.powers[0].power_w == 12_000
        assert [each.from_w for each in needs.offer.prices[0].rules] == [0, 1000]
    else:
        assert needs.offer is None
    assert bool(bench.events("offer_refused")) is not good


def test_needs_of_the_charger_are_offered_in_dynamic_mode_only(make_bench: MakeBench) -> None:
    needs = SeccNeeds(departure_after_s=7200, minimum_soc=40, target_soc=90)
    bench = make_bench(SeccConfig(mobility_needs=(2, 1), needs=needs)).reach(State.SERVICE_DETAIL)
    response = bench.send(bench.ask("ServiceDetailReq"))
    reported = [
        {each.name: each.int_value for each in one.parameter} for one in response.service_parameter_list.parameter_set
    ]
    pairs = [(each["ControlMode"], each["MobilityNeedsMode"]) for each in reported]
    assert pairs == [(2, 2), (2, 1), (1, 1)]  # V2G20-2663


@pytest.mark.parametrize(("chosen", "known"), [(0, True), (1, False)])
def test_the_charger_says_departure_and_charge_where_that_was_selected(
    make_bench: MakeBench, chosen: int, known: bool
) -> None:
    needs = SeccNeeds(departure_after_s=7200, minimum_soc=40, target_soc=90)
    bench = make_bench(SeccConfig(mobility_needs=(2, 1), needs=needs))
    bench.selection = (6, chosen, True)
    mode = bench.reach(State.SCHEDULE_EXCHANGE).go("ScheduleExchangeReq").dynamic_se_res_control_mode
    reported = (mode.departure_time, mode.minimum_soc, mode.target_soc)
    assert reported == ((7200, 40, 90) if known else (None, None, None))
    assert bench.commands(ports.ReportChargingNeeds)[0].needs.needs_by_secc is known


def test_a_departure_that_the_charger_has_said_does_not_move_with_another_schedule(make_bench: MakeBench) -> None:
    needs = SeccNeeds(departure_after_s=7200, minimum_soc=40, target_soc=90)
    bench = make_bench(SeccConfig(mobility_needs=(2, 1), needs=needs))
    bench.selection = (6, 0, True)
    bench.reach(State.DC_CHARGE_LOOP)
    said = []
    for _ in range(3):
        bench.utc_ms += 3_000_000
        bench.send(bench.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
        said.append(bench.go("ScheduleExchangeReq").dynamic_se_res_control_mode.departure_time)
        bench.go("PowerDeliveryReq")
    assert said == [4200, 1200, None]


def waiting(make_bench: MakeBench, **rules: Any) -> Bench:
    bench = make_bench(
        SeccConfig(control_modes=(ControlMode.SCHEDULED,), schedules=ScheduleRules(**rules)), can_plan=True
    )
    bench.scheduled = True
    return bench.reach(State.SCHEDULE_EXCHANGE)


def test_a_back_end_that_answers_at_once_costs_no_poll(make_bench: MakeBench) -> None:
    bench = waiting(make_bench)
    bench.auto[ports.ReportChargingNeeds] = lambda c: ports.ChargingNeedsAnswered("Accepted")
    before = len(bench.responses)
    bench.post(bench.ask("ScheduleExchangeReq"))
    assert len(bench.responses) == before, "its profile is about to come"
    bench.fact(ProfileTaken(evse_id=1))
    assert bench.responses[-1].evse_processing.value == "Finished"
    assert len(bench.commands(ports.ReportChargingNeeds)) == 1


def test_a_profile_that_was_promised_and_does_not_come_is_waited_for_a_moment(make_bench: MakeBench) -> None:
    bench = waiting(make_bench)
    bench.auto[ports.ReportChargingNeeds] = lambda c: ports.ChargingNeedsAnswered("Accepted")
    bench.post(bench.ask("ScheduleExchangeReq"))
    bench.pass_time(0.5)
    assert bench.responses[-1].evse_processing.value == "Finished"


@pytest.mark.parametrize("news", [None, ports.ChargingNeedsAnswered("Accepted"), ports.GridChanged((), None)])
def test_a_back_end_at_work_gets_its_time_and_no_more(make_bench: MakeBench, news: Any) -> None:
    bench = waiting(make_bench, patience_s=20)
    bench.auto[ports.ReportChargingNeeds] = lambda c: ports.ChargingNeedsAnswered("Processing")
    begin = bench.now
    while True:
        bench.post(bench.ask("ScheduleExchangeReq"))
        bench.pass_time(0.5)
        if bench.responses[-1].evse_processing.value == "Finished":
            break
        assert bench.session.state is State.SCHEDULE_EXCHANGE
        assert bench.now - begin < 25
        if news is not None and bench.now - begin > 5:
            bench.fact(news)
    assert len(bench.commands(ports.ReportChargingNeeds)) == 1
    assert bench.session.state is State.DC_CABLE_CHECK
    assert (bench.now - begin < 8) == (news is not None)


def test_offers_that_repeat_each_other_are_made_once(make_bench: MakeBench) -> None:
    same = ScheduleRules(offers=(ScheduleOffer(), ScheduleOffer(), ScheduleOffer(power_percent=50)))
    bench = scheduled(make_bench, SeccConfig(control_modes=(ControlMode.SCHEDULED,), schedules=same))
    assert [powers(each.charging_schedule)[0][1] for each in exchange(bench)] == [20_000, 10_000]


@together(
    ("kind", "fields"),
    [
        (TaxTerms, {"name": "x", "rate": Decimal("-0.1")}),
        (PriceTerms, {"minimum_cost": Decimal(2), "maximum_cost": Decimal(1)}),
        (PriceTerms, {"wear": Decimal("-0.01")}),
        (PriceTerms, {"wear": Decimal("NaN")}),
        (PriceTerms, {"wear": Decimal(1_000_001)}),
        (
            PriceTerms,
            {
                "power_ranges": (
                    OfferedRange(from_w=2, surcharge=Decimal(0)),
                    OfferedRange(from_w=1, surcharge=Decimal(0)),
                )
            },
        ),
        (SeccNeeds, {"minimum_soc": 40}),
        (SeccNeeds, {"minimum_soc": 40, "target_soc": 30}),
    ],
)
def test_terms_that_make_no_sense_are_refused(kind: type, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|come together"):
        kind(**fields)
