"""Costs of price schedules: by hand, and against a reference that goes second by second over the message itself."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g import exi
from v2g.errors import RefusedError
from v2g.iso15118.d20.messages.common_messages import ScheduleExchangeRes
from v2g.iso15118.d20.messages.common_types import MessageHeader, Processing, RationalNumber, ResponseCode
from v2g.iso15118.d20.messages.schedules import (
    AbsolutePriceSchedule,
    AdditionalService,
    AdditionalServiceList,
    Dynamic_SEResControlMode,
    OverstayRule,
    OverstayRuleList,
    PriceRule,
    PriceRuleStack,
    PriceRuleStackList,
    TaxRule,
    TaxRuleList,
)
from v2g.iso15118.d20.prices import Account, Algorithm, Flow, add, amount, cost, during, fraction, read_prices, settle
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

T0 = 1_700_000_000
"""Where schedules begin, s."""


def number(value: str | int) -> RationalNumber:
    """Return a decimal of at most four digits as the wire has it."""
    whole, _, part = str(value).partition(".")
    return RationalNumber(exponent=-len(part), value=int(whole + part))


def rule(fee: str, start: int = 0, **options: Any) -> PriceRule:
    return PriceRule(energy_fee=number(fee), power_range_start=number(start), **options)


def stack(hours: Fraction | int, *rules: PriceRule) -> PriceRuleStack:
    return PriceRuleStack(duration=int(hours * 3600), price_rule=rules)


def schedule(*stacks: PriceRuleStack, algorithm: Algorithm = Algorithm.POWER, **options: Any) -> AbsolutePriceSchedule:
    return AbsolutePriceSchedule(
        time_anchor=T0,
        price_schedule_id=1,
        currency="EUR",
        language="eng",
        price_algorithm=algorithm.uri,
        price_rule_stacks=PriceRuleStackList(price_rule_stack=stacks),
        **options,
    )


def tax(
    rate: str, *, included: bool | None = None, rule_id: int = 1, applies: str = "epo", bounds: bool = False
) -> Any:
    return TaxRule(
        tax_rule_id=rule_id,
        tax_rate=number(f"{100 * Decimal(rate):f}"),
        tax_included_in_price=included,
        applies_to_energy_fee="e" in applies,
        applies_to_parking_fee="p" in applies,
        applies_to_overstay_fee="o" in applies,
        applies_minimum_maximum_cost=bounds,
    )


def taxes(*rules: TaxRule) -> TaxRuleList:
    return TaxRuleList(tax_rule=rules)


def flows(*steps: tuple[Fraction | float, int]) -> list[Flow]:
    """Return flows of (hours, W), one after the other from the schedule's beginning."""
    found, begin = [], T0 * 1000
    for hours, power in steps:
        end = begin + int(hours * 3_600_000)
        found.append(Flow(begin, end, power))
        begin = end
    return found


def total(message: AbsolutePriceSchedule, *steps: tuple[Fraction | float, int]) -> Fraction:
    return cost(read_prices(message), flows(*steps)).total


# -- by hand ------------------------------------------------------------------------------------------------------

RANGES = (rule("0.30"), rule("0.50", 11_000), rule("0.90", 22_000))


def test_energy_costs_what_its_hour_costs() -> None:
    two = schedule(stack(1, rule("0.30")), stack(1, rule("0.10")))
    # 10 kWh at 0.30 and 5 kWh at 0.10
    assert total(two, (1, 10_000), (1, 5_000)) == Fraction("3.50")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        # 22 kW for an hour, 11 kW for an hour, 5.5 kW for two
        (Algorithm.POWER, 22 * Fraction("0.90") + 11 * Fraction("0.50") + 11 * Fraction("0.30")),
        (Algorithm.PEAK_POWER, (22 + 11 + 11) * Fraction("0.90")),
        (
            Algorithm.STACKED_ENERGY,
            (11 * Fraction("0.30") + 11 * Fraction("0.50")) + 11 * Fraction("0.30") + 11 * Fraction("0.30"),
        ),
    ],
)
def test_power_ranges_by_each_algorithm(algorithm: Algorithm, expected: Fraction) -> None:
    message = schedule(stack(4, *RANGES), algorithm=algorithm)
    assert total(message, (1, 22_000), (1, 11_000), (2, 5_500)) == expected


def test_a_later_peak_does_not_make_earlier_energy_dearer() -> None:
    message = schedule(stack(2, *RANGES), algorithm=Algorithm.PEAK_POWER)
    assert total(message, (1, 5_000), (1, 22_000)) == 5 * Fraction("0.30") + 22 * Fraction("0.90")


def test_power_for_no_time_is_no_peak() -> None:
    message = schedule(stack(2, *RANGES), algorithm=Algorithm.PEAK_POWER)
    assert total(message, (0, 22_000), (1, 5_000)) == 5 * Fraction("0.30")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_single_watt_costs_what_it_costs(algorithm: Algorithm) -> None:
    message = schedule(stack(2, *RANGES), algorithm=algorithm)
    assert (total(message, (1, 1)), total(message, (1, -1))) == (Fraction("0.0003"), Fraction("-0.0003"))


def test_energy_given_back_is_received() -> None:
    message = schedule(stack(2, rule("0.25")))
    assert total(message, (1, -8_000)) == -2
    sliced = schedule(stack(1, rule("0.20"), rule("0.10", 5_000)), algorithm=Algorithm.STACKED_ENERGY)
    assert total(sliced, (1, -8_000)) == -(5 * Fraction("0.20") + 3 * Fraction("0.10"))


def test_parking_is_paid_by_the_time() -> None:
    parking = rule("0.30", parking_fee=number("1.20"), parking_fee_period=1800)
    found = cost(read_prices(schedule(stack(2, parking))), flows((1.25, 0)))
    assert (found.parking, found.total) == (3, 3)


def test_taxes_come_on_top_or_are_held_in_the_price() -> None:
    on_top = cost(read_prices(schedule(stack(1, rule("0.30")), tax_rules=taxes(tax("0.19")))), flows((1, 10_000)))
    assert (on_top.energy, on_top.taxes, on_top.total) == (3, ((1, Fraction("0.57")),), Fraction("3.57"))
    message = schedule(stack(1, rule("0.357")), tax_rules=taxes(tax("0.19", included=True)))
    held = cost(read_prices(message), flows((1, 10_000)))
    assert (held.taxes, held.total) == (((1, Fraction("0.57")),), Fraction("3.57"))


def test_a_tax_on_energy_leaves_parking_alone() -> None:
    price = rule("0.30", parking_fee=number("1"), parking_fee_period=3600)
    rules = taxes(tax("0.10", applies="e"), tax("0.20", applies="p", rule_id=2))
    found = cost(read_prices(schedule(stack(1, price), tax_rules=rules)), flows((1, 10_000)))
    assert dict(found.taxes) == {1: Fraction("0.3"), 2: Fraction("0.2")}
    assert found.total == Fraction("4.5")


def test_a_tax_of_nothing_is_none() -> None:
    assert total(schedule(stack(1, rule("0.30")), tax_rules=taxes(tax("0"))), (1, 10_000)) == 3


def test_only_taxes_on_the_same_part_are_held_in_its_price() -> None:
    price = rule("0.30", parking_fee=number("1"), parking_fee_period=3600)
    rules = taxes(tax("0.25", applies="e", included=True), tax("0.10", applies="ep", rule_id=2))
    found = cost(read_prices(schedule(stack(1, price), tax_rules=rules)), flows((1, 10_000)))
    assert dict(found.taxes) == {1: Fraction("0.6"), 2: Fraction("0.24") + Fraction("0.1")}
    assert found.total == 4 + Fraction("0.34")


@together(
    ("kwh", "bounds", "expected"),
    [
        (10, True, Fraction("3.57")),  # 3.00 lies between 2 and 5; 19 % on top
        (1, True, Fraction("2.38")),  # the least is 2.00, 19 % on top
        (100, True, Fraction("5.95")),
        (1, False, Fraction("2.00")),  # the bound is the last word
        (100, False, Fraction("5.00")),
        (0, False, Fraction("2.00")),
    ],
)
def test_bounds_with_the_tax_on_top_of_them_or_within(kwh: int, bounds: bool, expected: Fraction) -> None:
    message = schedule(
        stack(1, rule("0.30")),
        minimum_cost=number("2"),
        maximum_cost=number("5"),
        tax_rules=taxes(tax("0.19", bounds=bounds)),
    )
    found = cost(read_prices(message), flows((1, kwh * 1000)))
    assert found.total == expected
    assert found.total == found.energy + found.parking + found.overstay + sum(due for _, due in found.taxes)


def test_a_tax_that_prices_hold_is_held_in_their_bound_too() -> None:
    """Of 5 EUR 19/119 are the tax; another one, of 5 % of what is left, comes on top."""
    message = schedule(
        stack(1, rule("0.357")),
        maximum_cost=number("5"),
        tax_rules=taxes(tax("0.19", included=True, bounds=True), tax("0.05", rule_id=2, bounds=True)),
    )
    found = cost(read_prices(message), flows((1, 100_000)))
    assert found.taxes == ((1, Fraction(95, 119)), (2, Fraction(25, 119)))
    assert found.total == 5 + Fraction(25, 119)


@pytest.mark.parametrize(("fee", "included"), [("0.30", False), ("0.357", True)])
def test_one_tax_may_be_within_a_bound_and_another_on_top_of_it(fee: str, included: bool) -> None:
    """Of 5 EUR 500/119 are without the tax within; 5 % of these are on top."""
    rules = taxes(tax("0.19", included=included), tax("0.05", rule_id=2, bounds=True))
    message = schedule(stack(1, rule(fee)), maximum_cost=number("5"), tax_rules=rules)
    found = cost(read_prices(message), flows((1, 100_000)))
    assert found.taxes == ((1, Fraction(95, 119)), (2, Fraction(25, 119)))
    assert found.total == 5 + Fraction(25, 119)


def test_a_bound_lowers_all_parts_alike() -> None:
    """3 EUR of energy, 2 of parking and 1 of staying come to 2 EUR."""
    price = rule("0.30", parking_fee=number("1"), parking_fee_period=3600)
    fee = OverstayRule(start_time=0, overstay_fee=number("1"), overstay_fee_period=3600)
    message = schedule(stack(2, price), maximum_cost=number("2"), overstay_rules=OverstayRuleList(overstay_rule=(fee,)))
    found = cost(read_prices(message), flows((1, 10_000), (1, 0)))
    assert (found.energy, found.parking, found.overstay) == (1, Fraction(2, 3), Fraction(1, 3))
    assert found.total == 2


@pytest.mark.parametrize(
    ("algorithm", "parking"), [(Algorithm.POWER, 5), (Algorithm.PEAK_POWER, 8), (Algorithm.STACKED_ENERGY, 5)]
)
def test_parking_and_emission_are_those_of_the_range_of_power(algorithm: Algorithm, parking: int) -> None:
    """An hour of 22 kW, then one of 5 kW, in whose range parking costs 1 instead of 4."""
    ranges = (
        rule("0.30", parking_fee=number("1"), parking_fee_period=3600, carbon_dioxide_emission=100),
        rule("0.30", 11_000, parking_fee=number("4"), parking_fee_period=3600, carbon_dioxide_emission=400),
    )
    prices = read_prices(schedule(stack(2, *ranges), algorithm=algorithm))
    account = Account()
    for flow in flows((1, 22_000), (1, 5_000)):
        account = add(prices, account, flow)
    assert account.parking == parking
    assert account.emission_g == 22 * 400 + 5 * (400 if algorithm is Algorithm.PEAK_POWER else 100)


def test_additional_services_stand_outside_the_bounds() -> None:
    services = (AdditionalService(service_name="wash", service_fee=number("7")),)
    message = schedule(
        stack(1, rule("0.30")),
        maximum_cost=number("1"),
        additional_selected_services=AdditionalServiceList(additional_service=services),
    )
    assert total(message, (1, 10_000)) == 8


def staying(**thresholds: Any) -> AbsolutePriceSchedule:
    rules = (
        OverstayRule(start_time=0, overstay_fee=number("1"), overstay_fee_period=3600),
        OverstayRule(start_time=1800, overstay_fee=number("6"), overstay_fee_period=3600),
    )
    return schedule(stack(10, rule("0.30")), overstay_rules=OverstayRuleList(overstay_rule=rules, **thresholds))


def test_staying_after_charging_costs_by_its_rules() -> None:
    message = staying(overstay_time_threshold=900, overstay_power_threshold=number(500))
    waits = (2, 0)  # waiting for the first energy is no staying
    # 15 minutes free, 30 minutes at 1 an hour, 15 at 6 an hour
    found = cost(read_prices(message), flows(waits, (1, 10_000), (0.5, 400), (0.5, 0)))
    assert found.overstay == Fraction("0.5") + Fraction("1.5")
    # more power in between begins the free time anew
    found = cost(read_prices(message), flows(waits, (1, 10_000), (0.5, 400), (0.1, 501), (0.25, 0)))
    assert found.overstay == Fraction("0.25")


def test_a_time_threshold_alone_counts_from_the_beginning() -> None:
    message = staying(overstay_time_threshold=3600)
    steps = [(1, 0), (1, 10_000), (0.5, 0), (0.5, 0)]
    assert cost(read_prices(message), flows(*steps[:2])).overstay == Fraction("0.5") + 3
    assert cost(read_prices(message), flows(*steps)).overstay == Fraction("0.5") + 9


def test_without_thresholds_staying_begins_when_no_power_flows() -> None:
    assert cost(read_prices(staying()), flows((1, 10_000), (0.5, 0))).overstay == Fraction("0.5")


@together(("hours", "due"), [(0.5, 0), (0.75, 0), (1, "0.25"), (1.25, "0.5"), (1.5, 2), (1.75, "3.5"), (2, 6), (3, 16)])
def test_each_rule_of_staying_holds_until_the_next(hours: float, due: str) -> None:
    """Three quarters of an hour are free, then half an hour at 1, half an hour at 6, and more at 10 an hour."""
    fees = ((3600, "10"), (0, "1"), (1800, "6"))
    rules = tuple(
        OverstayRule(start_time=start, overstay_fee=number(fee), overstay_fee_period=3600) for start, fee in fees
    )
    stay = OverstayRuleList(overstay_rule=rules, overstay_time_threshold=2700)
    found = cost(read_prices(schedule(stack(10, rule("0.30")), overstay_rules=stay)), flows((hours, 0)))
    assert found.overstay == Fraction(due)


@pytest.mark.parametrize(("period_s", "due"), [(3600, 3), (1800, 6), (0, 3)])
def test_a_fee_for_staying_is_in_proportion_to_its_period(period_s: int, due: int) -> None:
    """Without one it is that of an hour."""
    fee = OverstayRule(start_time=0, overstay_fee=number("6"), overstay_fee_period=period_s)
    message = schedule(stack(2, rule("0.30")), overstay_rules=OverstayRuleList(overstay_rule=(fee,)))
    assert cost(read_prices(message), flows((1, 10_000), (0.5, 0))).overstay == due


def test_an_interval_is_in_force_from_its_begin_to_that_of_the_next() -> None:
    two = schedule(stack(1, rule("0.30")), stack(0, rule("0.70")), stack(2, rule("0.10")))
    prices, begin, hour = read_prices(two), T0 * 1000, 3_600_000
    assert (prices.anchor_ms, prices.end_ms) == (begin, begin + 3 * hour)
    fees = []
    for ms in (-1, 0, hour - 1, hour, 3 * hour - 1, 3 * hour):
        found = prices.at(begin + ms)
        fees.append(None if found is None else found.rules[0].fee)
    assert fees == [None, *[Fraction("0.30")] * 2, *[Fraction("0.10")] * 2, None]


def test_an_interval_of_no_time_has_no_price_of_parking() -> None:
    parking = rule("0.30", parking_fee=number("1.20"))
    assert total(schedule(stack(0, parking), stack(1, rule("0.30"))), (1, 0)) == 0
    assert total(schedule(stack(2, parking)), (1, 0)) == Fraction("0.60"), "without a period it is for the interval"


@together(
    ("begin_ms", "end_ms", "found"),
    [(-9, 0, ""), (-9, 1, "a"), (0, 3_600_000, "a"), (3_599_999, 3_600_001, "ab"), (3_600_000, 7_200_000, "b"),
     (7_199_999, 7_300_000, "bc"), (0, 10_800_001, "abc"), (10_800_000, 10_800_001, "")],
)  # fmt: skip
def test_intervals_during_a_time_are_those_that_share_some_of_it(begin_ms: int, end_ms: int, found: str) -> None:
    stacks = read_prices(schedule(*(stack(1, rule(fee)) for fee in ("0.30", "0.20", "0.10")))).stacks
    flow = Flow(T0 * 1000 + begin_ms, T0 * 1000 + end_ms, 0)
    assert "".join("abc"[stacks.index(each)] for each in during(stacks, flow)) == found


@pytest.mark.parametrize(("anchor", "begins"), [(0, 7_000), (1, 1_000)])
def test_a_schedule_without_a_time_begins_now(anchor: int, begins: int) -> None:
    message = msgspec.structs.replace(schedule(stack(1, rule("0.30"))), time_anchor=anchor)
    prices = read_prices(message, begin_ms=7_000)
    assert (prices.anchor_ms, prices.stacks[0].start_ms, prices.end_ms) == (begins, begins, begins + 3_600_000)
    assert read_prices(msgspec.structs.replace(message, time_anchor=0)).anchor_ms == 0


def test_emission_and_energy_without_a_price_are_counted() -> None:
    prices = read_prices(schedule(stack(1, rule("0.30", carbon_dioxide_emission=400))))
    account = add(prices, Account(), Flow(T0 * 1000 - 1_800_000, T0 * 1000 + 5_400_000, 10_000))
    assert account.emission_g == 4000
    other = read_prices(schedule(stack(1, rule("0.30"))))
    assert add(other, Account(), Flow(T0 * 1000, T0 * 1000 + 5_400_000, 10_000)).emission_g == 0
    assert account.energy_w_ms == 10_000 * 3_600_000
    assert account.unpriced_w_ms == 10_000 * 3_600_000
    assert settle(prices, account).total == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price_algorithm": "urn:iso:std:iso:15118:-20:PriceAlgorithm:4-Mood"}, "unknown_price_algorithm"),
        ({"tax_rules": taxes(tax("-1"))}, "negative_tax"),
        ({"price_rule_stacks": PriceRuleStackList(price_rule_stack=(stack(0, rule("1")),))}, "no_prices"),
    ],
)
def test_a_schedule_that_cannot_be_priced_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_prices(msgspec.structs.replace(schedule(stack(1, rule("1"))), **change))
    assert caught.value.reason == reason


@given(st.fractions(-(10**9), 10**9))
def test_no_amount_on_the_wire_is_more_than_what_is_due(due: Fraction) -> None:
    reported = fraction(amount(due))
    assert reported <= due
    assert due - reported <= max(Fraction(1, 10**6), abs(due) / 3000)


# -- against the reference ----------------------------------------------------------------------------------------

cents = st.integers(-50, 300).map(lambda n: RationalNumber(exponent=-2, value=n))
fees = st.integers(0, 300).map(lambda n: RationalNumber(exponent=-2, value=n))
rates = st.integers(0, 400).map(lambda n: RationalNumber(exponent=-1, value=n))
starts = st.lists(st.integers(0, 12), min_size=1, max_size=3, unique=True)


@st.composite
def schedules(draw: st.DrawFn) -> AbsolutePriceSchedule:
    def stacks() -> PriceRuleStack:
        rules = tuple(
            PriceRule(
                energy_fee=draw(cents),
                power_range_start=RationalNumber(exponent=3, value=start),
                parking_fee=draw(st.none() | fees),
                parking_fee_period=draw(st.none() | st.integers(1, 90)),
            )
            for start in sorted(draw(starts))
        )
        return PriceRuleStack(duration=draw(st.integers(0, 40)), price_rule=rules)

    first = PriceRuleStack(duration=draw(st.integers(1, 40)), price_rule=(rule("0.30"),))
    overstay = None
    if draw(st.booleans()):
        overstay = OverstayRuleList(
            overstay_time_threshold=draw(st.none() | st.integers(0, 30)),
            overstay_power_threshold=draw(
                st.none() | st.integers(0, 3).map(lambda n: RationalNumber(exponent=3, value=n))
            ),
            overstay_rule=tuple(
                OverstayRule(start_time=start, overstay_fee=draw(fees), overstay_fee_period=draw(st.integers(1, 60)))
                for start in sorted(draw(st.lists(st.integers(0, 30), min_size=1, max_size=3, unique=True)))
            ),
        )
    rules = tuple(
        TaxRule(
            tax_rule_id=index + 1,
            tax_rate=draw(rates),
            tax_included_in_price=draw(st.none() | st.booleans()),
            applies_to_energy_fee=draw(st.booleans()),
            applies_to_parking_fee=draw(st.booleans()),
            applies_to_overstay_fee=draw(st.booleans()),
            applies_minimum_maximum_cost=draw(st.booleans()),
        )
        for index in range(draw(st.integers(0, 3)))
    )
    return schedule(
        first,
        *(stacks() for _ in range(draw(st.integers(0, 4)))),
        algorithm=draw(st.sampled_from(Algorithm)),
        minimum_cost=draw(st.none() | fees),
        maximum_cost=draw(st.none() | fees),
        tax_rules=TaxRuleList(tax_rule=rules) if rules else None,
        overstay_rules=overstay,
    )


profiles = st.lists(st.tuples(st.integers(1, 40), st.integers(-15, 15)), max_size=6)


def value(each: RationalNumber | None) -> Fraction:
    return Fraction(0) if each is None else Fraction(each.value) * Fraction(10) ** each.exponent


def percent(each: RationalNumber) -> Fraction:
    return value(each) / 100


def reference(message: AbsolutePriceSchedule, seconds: list[int]) -> Fraction:
    """Return what W for each second cost: one second after the other, straight from the message."""
    rules_of_second = []
    for each in message.price_rule_stacks.price_rule_stack:
        rules_of_second += [each] * each.duration
    energy = parking = overstay = Fraction(0)
    peak, idle = 0, None
    for second, power in enumerate(seconds):
        peak = max(peak, abs(power))
        if second < len(rules_of_second):
            now = rules_of_second[second]
            kwh = Fraction(power, 3_600_000)
            used = peak if message.price_algorithm.endswith("PeakPower") else abs(power)
            rules = [each for each in now.price_rule if value(each.power_range_start) <= used] or [now.price_rule[0]]
            if message.price_algorithm.endswith("StackedEnergy"):
                edges = [0, *[value(each.power_range_start) for each in now.price_rule[1:]], 10**9]
                for each, low, high in zip(now.price_rule, edges, edges[1:], strict=False):
                    slice_w = max(Fraction(0), min(Fraction(abs(power)), Fraction(high)) - low)
                    energy += value(each.energy_fee) * slice_w / 3_600_000 * (1 if power > 0 else -1)
            else:
                energy += value(rules[-1].energy_fee) * kwh
            if rules[-1].parking_fee is not None:
                parking += value(rules[-1].parking_fee) / (rules[-1].parking_fee_period or now.duration)
        if message.overstay_rules is not None:
            limits = message.overstay_rules
            threshold = limits.overstay_power_threshold
            if threshold is None and limits.overstay_time_threshold is not None:
                stayed: int | None = second
            else:
                idle = 0 if abs(power) > value(threshold) else None if idle is None else idle + 1
                stayed = None if idle in (None, 0) else idle - 1  # type: ignore[operator]
            if stayed is not None:
                stayed -= limits.overstay_time_threshold or 0
                begun = [each for each in limits.overstay_rule if each.start_time <= stayed] if stayed >= 0 else []
                if begun:
                    overstay += value(begun[-1].overstay_fee) / begun[-1].overstay_fee_period
    return _with_taxes(message, energy, parking, overstay)


def _with_taxes(message: AbsolutePriceSchedule, energy: Fraction, parking: Fraction, overstay: Fraction) -> Fraction:
    rules = message.tax_rules.tax_rule if message.tax_rules else ()
    parts = {"energy": energy, "parking": parking, "overstay": overstay}

    def on(each: TaxRule, part: str) -> bool:
        return bool(getattr(each, f"applies_to_{part}_fee"))

    net = {
        part: paid
        / (1 + sum(percent(each.tax_rate) for each in rules if each.tax_included_in_price and on(each, part)))
        for part, paid in parts.items()
    }
    due = [sum(percent(each.tax_rate) * net[part] for part in parts if on(each, part)) for each in rules]
    within = sum(parts.values(), Fraction(0))
    on_top = Fraction(0)
    for each, tax_due in zip(rules, due, strict=True):
        if not each.tax_included_in_price:
            if each.applies_minimum_maximum_cost:
                on_top += tax_due
            else:
                within += tax_due
    bound = within
    if message.maximum_cost is not None and bound > value(message.maximum_cost):
        bound = value(message.maximum_cost)
    if message.minimum_cost is not None and bound < value(message.minimum_cost):
        bound = value(message.minimum_cost)
    if bound != within:
        flagged = [each for each in rules if each.applies_minimum_maximum_cost]
        others = [d for each, d in zip(rules, due, strict=True) if not each.applies_minimum_maximum_cost]
        inside = sum(others, Fraction(0)) * bound / within if within else Fraction(0)
        base = (bound - inside) / (1 + sum(percent(each.tax_rate) for each in flagged if each.tax_included_in_price))
        on_top = sum((percent(each.tax_rate) * base for each in flagged if not each.tax_included_in_price), Fraction(0))
    return bound + on_top


@given(schedules(), profiles)
def test_every_cost_is_that_of_the_reference(message: AbsolutePriceSchedule, steps: list[tuple[int, int]]) -> None:
    seconds = [power * 1000 for duration, power in steps for _ in range(duration)]
    pieces = flows(*((Fraction(duration, 3600), power * 1000) for duration, power in steps))
    assert cost(read_prices(message), pieces).total == reference(message, seconds)


@given(schedules(), profiles, st.integers(1, 50_000))
def test_a_running_account_comes_to_what_the_whole_profile_costs(
    message: AbsolutePriceSchedule, steps: list[tuple[int, int]], cut_ms: int
) -> None:
    prices = read_prices(message)
    whole = flows(*((Fraction(duration, 3600), power * 1000) for duration, power in steps))
    pieces = []
    for flow in whole:
        middle = flow.start_ms + cut_ms
        inside = flow.start_ms < middle < flow.end_ms
        pieces += (
            [Flow(flow.start_ms, middle, flow.power_w), Flow(middle, flow.end_ms, flow.power_w)] if inside else [flow]
        )
    assert cost(prices, pieces) == cost(prices, whole)


@given(schedules())
def test_a_schedule_costs_the_same_after_a_way_over_the_wire(message: AbsolutePriceSchedule) -> None:
    response = ScheduleExchangeRes(
        header=MessageHeader(session_id=bytes(8), time_stamp=T0),
        response_code=ResponseCode.OK,
        evse_processing=Processing.Finished,
        dynamic_se_res_control_mode=Dynamic_SEResControlMode(absolute_price_schedule=message),
    )
    there = exi.decode(exi.encode(response), COMMON_MESSAGES).dynamic_se_res_control_mode.absolute_price_schedule
    assert read_prices(there) == read_prices(message)
