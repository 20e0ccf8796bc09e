"""Costs of price schedules: by hand, and against a reference that goes second by second over the message itself."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from v2g.iso15118.d20.prices import Account, Algorithm, Flow, add, amount, cost, fraction, read_prices, settle
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
        tax_rate=number(rate),
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


@pytest.mark.parametrize(
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
    assert cost(read_prices(message), flows((1, 0), (1, 10_000))).overstay == Fraction("0.5") + 3


def test_without_thresholds_staying_begins_when_no_power_flows() -> None:
    assert cost(read_prices(staying()), flows((1, 10_000), (0.5, 0))).overstay == Fraction("0.5")


def test_emission_and_energy_without_a_price_are_counted() -> None:
    prices = read_prices(schedule(stack(1, rule("0.30", carbon_dioxide_emission=400))))
    account = add(prices, Account(), Flow(T0 * 1000 - 1_800_000, T0 * 1000 + 5_400_000, 10_000))
    assert account.emission_g == 4000
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
    import msgspec

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
rates = st.integers(0, 40).map(lambda n: RationalNumber(exponent=-2, value=n))
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
        part: paid / (1 + sum(value(each.tax_rate) for each in rules if each.tax_included_in_price and on(each, part)))
        for part, paid in parts.items()
    }
    due = [sum(value(each.tax_rate) * net[part] for part in parts if on(each, part)) for each in rules]
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
        base = (bound - inside) / (1 + sum(value(each.tax_rate) for each in flagged if each.tax_included_in_price))
        on_top = sum((value(each.tax_rate) * base for each in flagged if not each.tax_included_in_price), Fraction(0))
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
