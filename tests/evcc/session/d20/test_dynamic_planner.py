"""Planning where the charger decides on power: needs are met where they can be, limits hold, nothing is given away."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from evcc.policy.policy import Compensation, DischargeTerms
from evcc.session import program
from evcc.session.context import EvseLimits
from evcc.session.d20 import dynamic_planner, loop
from evcc.session.d20.request_context import Agreement, Outlook, Plan, RequestContext
from evcc.session.d20.requests import energy_requests, v2x_requests
from evcc.session.d20.stages import Looping
from evcc.session.paused import PausedChoice
from evcc.session.ports import BatteryState, PresentVoltage
from evcc.session.settings import (
    DischargeConfig,
    NeedsConfig,
    PlanningConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
)
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceRule, PriceRuleStack, PriceRuleStackList
from v2g.iso15118.d20.prices import Algorithm
from v2g.iso15118.d20.quantities import rational
from v2g.iso15118.engine.sequence import State

NOW = 1_800_000_000_000
HOUR = 3_600_000
STEP_MS = 60_000
CAPACITY = 60_000
ZERO = rational(0, 0)
LIMITS = EvseLimits(charge_w=11_000, discharge_w=10_000, charge_ma=30_000, discharge_ma=30_000, voltage_mv=500_000)


def battery(energy_wh: float) -> BatteryState:
    return BatteryState(
        at_ms=0, soc=100 * energy_wh / CAPACITY, capacity_wh=CAPACITY, energy_wh=energy_wh, voltage_mv=400_000,
        current_ma=0, temperature_c=20, max_voltage_mv=450_000, min_voltage_mv=300_000, max_charge_ma=100_000,
        max_discharge_ma=100_000, max_charge_w=50_000, max_discharge_w=20_000,
    )  # fmt: skip


def fees(*each_hour: int) -> AbsolutePriceSchedule:
    """Return prices by the hour in tenths of a euro."""
    stacks = tuple(
        PriceRuleStack(duration=3600, price_rule=(PriceRule(energy_fee=rational(fee, -1), power_range_start=ZERO),))
        for fee in each_hour
    )
    return AbsolutePriceSchedule(
        time_anchor=NOW // 1000,
        price_schedule_id=1,
        currency="EUR",
        language="eng",
        price_algorithm=Algorithm.POWER.uri,
        price_rule_stacks=PriceRuleStackList(price_rule_stack=stacks),
    )


def terms(*cents: int, currency: str = "EUR") -> DischargeTerms:
    slots = tuple(Compensation(NOW + n * HOUR, NOW + (n + 1) * HOUR, each * 10_000) for n, each in enumerate(cents))
    return DischargeTerms(currency, slots, 10_000, NOW + 24 * HOUR)


class Drive:
    """A vehicle in the loop of a charger that holds it down to `allowed(hour)` W, minute by minute until departure."""

    def __init__(
        self, energy_wh: int, target_soc: float, prices: tuple[int, ...], offer: DischargeTerms | None = None
    ) -> None:
        self.energy_wh, self.ms, self.hours = float(energy_wh), 0, len(prices)
        config = SessionConfig(
            program=(ProgramStep(do="plan"),),
            services=ServiceConfig(energy=("DC_BPT",)),
            needs=NeedsConfig(target_soc=target_soc, minimum_soc=0, departure_after_s=3600 * self.hours),
            planning=PlanningConfig(losses_percent=0),
            discharge=DischargeConfig(minimum_soc=20.0, departure_reserve_s=0),
        )
        self.context = RequestContext(
            config=config, now=0, utc_ms=NOW, session_ms=NOW, state=State.DC_CHARGE_LOOP, session_id=bytes(8),
            battery=battery(energy_wh), inlet=PresentVoltage(400_000), contactor_closed=True,
            departure_ms=NOW + self.hours * HOUR, terms=offer,
            agreement=Agreement.AGREED if offer is not None else Agreement.NONE,
        )  # fmt: skip
        plan = Plan(PausedChoice(6, 1, bpt=True, dynamic=True, signed_set=1 if offer is not None else None), LIMITS)
        plan = dynamic_planner.foresee(plan, Outlook(fees(*prices)), self.context)
        self.stage = Looping(plan, program.begin(self.context.battery, NOW), since=0)
        self.hourly = [0.0] * self.hours
        self.requested: list[tuple[int, Any]] = []

    def minute(self, allowed_w: int) -> bool:
        """Ask once, take what is allowed for a minute, and return whether the vehicle goes on."""
        step = loop.ask_loop(self.stage, self.context)
        if not isinstance(step.stage, Looping):
            return False
        power_request = step.stage.power_request
        self.requested.append((self.ms, power_request))
        charge_w = min(power_request.charge_w, allowed_w)
        plan = dynamic_planner.learned(step.stage.plan, power_request.charge_w, charge_w)
        self.stage = msgspec.structs.replace(step.stage, plan=plan)
        moved = (charge_w - power_request.discharge_w) * STEP_MS / HOUR
        self.energy_wh = min(CAPACITY, self.energy_wh + moved)
        self.hourly[self.ms // HOUR] += moved
        self.ms += STEP_MS
        now_ms, have = NOW + self.ms, battery(self.energy_wh)
        self.context = msgspec.structs.replace(self.context, utc_ms=now_ms, session_ms=now_ms, battery=have)
        return True

    def run(self, *allowed_w: int) -> "Drive":
        """Drive on until departure; what is allowed is said for each hour, the last one for the rest."""
        while self.ms < self.hours * HOUR and self.minute(allowed_w[min(self.ms // HOUR, len(allowed_w) - 1)]):
            pass
        return self


def test_energy_flows_in_the_cheap_hours_only() -> None:
    drive = Drive(30_000, 75.0, (5, 1, 5, 2)).run(11_000)
    first, *rest = (round(each, -2) for each in drive.hourly)
    assert (first, rest) == (400, [11_000, 0, 4_000])  # two minutes of all that there is show what the charger allows
    assert drive.energy_wh >= 45_000


def test_a_charger_that_allows_less_makes_the_vehicle_begin_earlier() -> None:
    drive = Drive(30_000, 75.0, (5, 1, 5, 2)).run(4_000)
    assert drive.energy_wh >= 44_900
    assert [round(each, -3) for each in drive.hourly] == [4_000, 4_000, 3_000, 4_000]


def test_what_the_charger_allows_again_is_found_out() -> None:
    drive = Drive(30_000, 75.0, (1, 2, 1, 9)).run(0, 11_000)
    assert drive.energy_wh >= 44_900
    assert drive.hourly[0] == 0
    assert drive.hourly[3] < 500


def test_a_driver_who_wants_more_gets_a_new_plan_without_a_word_to_the_charger() -> None:
    drive = Drive(30_000, 60.0, (1, 5, 2, 5))
    for _ in range(20):
        assert drive.minute(11_000)
    config = drive.context.config
    needs = msgspec.structs.replace(config.needs, target_soc=80.0)
    drive.context = msgspec.structs.replace(drive.context, config=msgspec.structs.replace(config, needs=needs))
    drive.run(11_000)
    assert drive.energy_wh >= 47_900
    assert drive.hourly[1] < 500 < 6_000 < drive.hourly[2]


def test_energy_is_given_back_where_that_is_paid_and_bought_back_when_it_is_cheap() -> None:
    drive = Drive(45_000, 70.0, (5, 1, 1, 1), offer=terms(60, 0, 0, 0)).run(11_000)
    assert drive.hourly[0] < -5_000
    assert drive.energy_wh >= 41_900


def test_nothing_is_given_back_for_too_little_or_in_the_wrong_currency_or_unagreed() -> None:
    for offer in (terms(5, 5, 5, 5), terms(60, 60, 60, 60, currency="SEK"), None):
        drive = Drive(45_000, 70.0, (5, 1, 1, 1), offer=offer).run(11_000)
        assert all(power_request.discharge_w == 0 for _, power_request in drive.requested)


def test_what_may_be_moved_to_and_fro_is_sent_only_where_somebody_pays() -> None:
    paid = Drive(45_000, 70.0, (5, 1), offer=terms(60, 0))
    reported = v2x_requests(paid.stage.plan, paid.context)
    assert reported["ev_maximum_v2x_energy_request"].value == 15_000
    assert reported["ev_minimum_v2x_energy_request"].value < 0
    for drive in (Drive(45_000, 70.0, (5, 1), offer=terms(5, 0)), Drive(45_000, 70.0, (5, 1))):
        assert v2x_requests(drive.stage.plan, drive.context) == {}


def test_who_follows_the_charger_says_what_it_can_spare() -> None:
    drive = Drive(45_000, 70.0, (5, 1), offer=terms(60, 0))
    plan = msgspec.structs.replace(drive.stage.plan, outlook=None)
    assert v2x_requests(plan, drive.context) == {}
    config = msgspec.structs.replace(drive.context.config, program=(ProgramStep(do="follow"),))
    follows = msgspec.structs.replace(drive.context, config=config)
    reported = v2x_requests(plan, follows)
    assert reported["ev_minimum_v2x_energy_request"].value < 0
    assert reported["ev_minimum_energy_request"].value < 0
    unpaid = msgspec.structs.replace(follows, terms=terms(5, 0))
    assert v2x_requests(plan, unpaid) == {}


def test_an_answer_to_what_was_asked_before_is_not_taken_for_less_than_is_asked_now() -> None:
    """A charger that is one exchange behind: what it allows is what it was asked for the time before."""
    drive = Drive(30_000, 75.0, (5, 1, 5, 2))
    before, plans = 0, []
    while drive.ms < 4 * HOUR and drive.minute(min(before, 11_000)):
        before = drive.requested[-1][1].charge_w
        plans.append(dynamic_planner.made_of(drive.stage.plan))
    assert drive.energy_wh >= 44_900
    assert all(plan is not None and plan.until_ms for plan in plans)


hours = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)
offers = st.none() | st.lists(st.integers(0, 80), min_size=6, max_size=6).map(lambda each: terms(*each))


@settings(max_examples=40, deadline=None)
@given(st.integers(6_000, 54_000), st.integers(10, 100), hours, offers, st.integers(0, 22).map(lambda kw: kw * 500))
def test_the_target_is_reached_whenever_it_can_be_and_no_limit_is_exceeded(
    energy_wh: int, target_soc: int, prices: tuple[int, ...], offer: DischargeTerms | None, allowed_w: int
) -> None:
    drive = Drive(energy_wh, target_soc, prices, offer)
    config, floor_wh = drive.context.config.discharge, CAPACITY * 0.2
    lowest = drive.energy_wh
    while drive.ms < drive.hours * HOUR and drive.minute(allowed_w):
        _, power_request = drive.requested[-1]
        assert 0 <= power_request.charge_w <= LIMITS.charge_w
        assert 0 <= power_request.discharge_w <= min(config.max_power_w, LIMITS.discharge_w)
        assert not (power_request.charge_w and power_request.discharge_w)
        if power_request.discharge_w:
            assert offer is not None
            at = NOW + drive.ms - STEP_MS
            paid = next(each for each in offer.compensation if each.start_ms <= at < each.end_ms)
            assert paid.micro_per_kwh >= config.minimum_compensation_micro
            lowest = min(lowest, drive.energy_wh)
        least, target, most = sorted(energy_requests(drive.context, drive.stage.plan.outlook))
        assert (target, most, least) == energy_requests(drive.context, drive.stage.plan.outlook)
    assert lowest >= min(energy_wh, floor_wh) - 200
    target_wh = CAPACITY * target_soc / 100
    reachable = energy_wh + allowed_w * drive.hours
    assert drive.energy_wh >= min(target_wh, reachable, CAPACITY) - 0.01 * CAPACITY


@settings(max_examples=25, deadline=None)
@given(st.integers(6_000, 50_000), st.integers(30, 95), hours)
def test_no_plan_costs_more_than_charging_at_once(energy_wh: int, target_soc: int, prices: tuple[int, ...]) -> None:
    drive = Drive(energy_wh, target_soc, prices).run(11_000)
    left, at_once = max(0.0, CAPACITY * target_soc / 100 - energy_wh), 0.0
    for price in prices:
        taken = min(left, 11_000.0)
        left -= taken
        at_once += taken * (price + 1)
    cost = sum(max(0.0, each) * (price + 1) for each, price in zip(drive.hourly, prices, strict=True))
    assert cost <= at_once + 800 * (max(prices) + 1)  # the minutes that show what is allowed, and rounding
