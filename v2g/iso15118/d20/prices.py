"""The cost of energy over time by an AbsolutePriceSchedule: exact fractions, the same for both ends.

The schema has the fields, but the formulas behind them are not public. All interpretations of this project are
in this module and in docs/reference/prices.md; nothing else computes a cost of a price schedule.

Amounts are exact fractions of the schedule's currency. A negative power gives energy back, and what that costs is
negative: the vehicle receives it. Times are UTC ms, powers W.
"""

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from v2g.errors import RefusedError
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, OverstayRuleList, PriceRuleStack, TaxRule
from v2g.iso15118.d20.price_rules import PRICE_ALGORITHM, rounded

W_MS_PER_KWH: Final = 3_600_000_000
"""W times ms in one kWh."""

ZERO: Final = Fraction(0)


class Algorithm(enum.Enum):
    """Use of the power ranges of an interval (PriceAlgorithm without its prefix)."""

    POWER = "1-Power"
    """All energy at the fee of the range of the present power."""
    PEAK_POWER = "2-PeakPower"
    """All energy at the fee of the range of the highest power so far; earlier charges stay."""
    STACKED_ENERGY = "3-StackedEnergy"
    """Each slice of the power at the fee of its own range."""

    @property
    def uri(self) -> str:
        """The name in messages."""
        return PRICE_ALGORITHM + self.value


class Flow(msgspec.Struct, frozen=True):
    """One power during `[start_ms, end_ms)`; negative out of the vehicle."""

    start_ms: int
    end_ms: int
    power_w: Fraction | int


class Rule(msgspec.Struct, frozen=True):
    """Prices from a power upwards: per kWh, and per ms of parking."""

    start_w: Fraction
    fee: Fraction
    parking: Fraction = ZERO
    carbon_dioxide: int = 0
    """g of CO2 per kWh."""


class Stack(msgspec.Struct, frozen=True):
    """The rules of `[start_ms, end_ms)`, by rising power, at least one."""

    start_ms: int
    end_ms: int
    rules: tuple[Rule, ...]


class Tax(msgspec.Struct, frozen=True):
    """A tax, what it applies to, and whether prices include it. `rate` is a factor, in percent only on the wire."""

    rule_id: int
    rate: Fraction
    included: bool
    energy: bool
    parking: bool
    overstay: bool
    bounds: bool


class Overstay(msgspec.Struct, frozen=True):
    """The price of staying: per ms from a number of ms of staying, by rising time.

    Staying begins `after_ms` after the power has last been above `power_w`, or, without `power_w`, after the schedule's
    start.
    """

    after_ms: int
    power_w: Fraction | None
    rates: tuple[tuple[int, Fraction], ...]

    def due(self, stayed_ms: int) -> Fraction:
        """Return the total price of a stay."""
        due, stayed = ZERO, stayed_ms - self.after_ms
        for index, (start, rate) in enumerate(self.rates):
            end = min(stayed, self.rates[index + 1][0]) if index + 1 < len(self.rates) else stayed
            if end > start:
                due += rate * (end - start)
        return due


class Prices(msgspec.Struct, frozen=True):
    """A price schedule as numbers, from `anchor_ms` to `end_ms`."""

    algorithm: Algorithm
    currency: str
    anchor_ms: int
    stacks: tuple[Stack, ...]
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    taxes: tuple[Tax, ...] = ()
    overstay: Overstay | None = None
    services: Fraction = ZERO

    @property
    def end_ms(self) -> int:
        """When the last interval ends."""
        return self.stacks[-1].end_ms

    def at(self, utc_ms: int) -> Stack | None:
        """Return the interval in force, None before and after the schedule."""
        index = bisect_right(self.stacks, utc_ms, key=lambda stack: stack.start_ms) - 1
        return self.stacks[index] if index >= 0 and utc_ms < self.stacks[index].end_ms else None


class Account(msgspec.Struct, frozen=True):
    """Accumulated amounts, before bounds and taxes."""

    energy: Fraction = ZERO
    parking: Fraction = ZERO
    overstay: Fraction = ZERO
    energy_w_ms: Fraction = ZERO
    """Energy with a price, W times ms."""
    unpriced_w_ms: Fraction = ZERO
    """Energy outside the schedule's time."""
    emission_g: Fraction = ZERO
    peak_w: Fraction = ZERO
    idle_ms: int | None = None
    """How long the power has been low, since it was last above the overstay threshold; None before that."""


class Cost(msgspec.Struct, frozen=True):
    """The total: the parts after bounds, as the schedule states prices, the taxes, and the sum."""

    energy: Fraction
    parking: Fraction
    overstay: Fraction
    services: Fraction
    taxes: tuple[tuple[int, Fraction], ...]
    """(TaxRuleID, amount), including included ones."""
    total: Fraction


# -- parsing ------------------------------------------------------------------------------------------------------


def fraction(number: RationalNumber) -> Fraction:
    """Return the exact number."""
    power = Fraction(10) ** number.exponent
    return number.value * power


def read_prices(schedule: AbsolutePriceSchedule, *, begin_ms: int = 0) -> Prices:
    """Return a schedule as numbers. `begin_ms` is its start if its TimeAnchor is 0, as some chargers send it.

    Raises RefusedError (`unknown_price_algorithm`, `no_prices`, `negative_tax`).
    """
    algorithm = next((each for each in Algorithm if each.uri == schedule.price_algorithm), None)
    if algorithm is None:
        raise RefusedError(f"price algorithm {schedule.price_algorithm!r}", reason="unknown_price_algorithm")
    anchor_ms = schedule.time_anchor * 1000 or begin_ms
    stacks = tuple(_stacks(schedule.price_rule_stacks.price_rule_stack, anchor_ms))
    if not stacks:
        raise RefusedError("no interval of the price schedule has a length", reason="no_prices")
    taxes = tuple(map(_tax, schedule.tax_rules.tax_rule)) if schedule.tax_rules else ()
    if any(tax.rate < 0 for tax in taxes):
        raise RefusedError("a tax rate is negative", reason="negative_tax")
    added = schedule.additional_selected_services
    services = (fraction(each.service_fee) for each in added.additional_service) if added else ()
    return Prices(
        algorithm=algorithm,
        currency=schedule.currency,
        anchor_ms=anchor_ms,
        stacks=stacks,
        minimum=None if schedule.minimum_cost is None else fraction(schedule.minimum_cost),
        maximum=None if schedule.maximum_cost is None else fraction(schedule.maximum_cost),
        taxes=taxes,
        overstay=_overstay(schedule.overstay_rules) if schedule.overstay_rules else None,
        services=sum(services, ZERO),
    )


def _stacks(stacks: Sequence[PriceRuleStack], start_ms: int) -> Iterator[Stack]:
    """Intervals follow each other from the anchor on; those without length are skipped."""
    for stack in stacks:
        end_ms = start_ms + stack.duration * 1000
        rules = (
            Rule(
                start_w=fraction(rule.power_range_start),
                fee=fraction(rule.energy_fee),
                # without a period the fee is for the interval
                parking=ZERO
                if rule.parking_fee is None
                else fraction(rule.parking_fee) / ((rule.parking_fee_period or stack.duration) * 1000),
                carbon_dioxide=rule.carbon_dioxide_emission or 0,
            )
            for rule in stack.price_rule
        )
        if end_ms > start_ms:
            yield Stack(start_ms, end_ms, tuple(sorted(rules, key=lambda rule: rule.start_w)))
        start_ms = end_ms


def _tax(rule: TaxRule) -> Tax:
    return Tax(
        rule_id=rule.tax_rule_id,
        rate=fraction(rule.tax_rate) / 100,
        included=bool(rule.tax_included_in_price),
        energy=rule.applies_to_energy_fee,
        parking=rule.applies_to_parking_fee,
        overstay=rule.applies_to_overstay_fee,
        bounds=rule.applies_minimum_maximum_cost,
    )


def _overstay(rules: OverstayRuleList) -> Overstay:
    """Without any threshold staying begins when power stops."""
    power = rules.overstay_power_threshold
    ordered = sorted(rules.overstay_rule, key=lambda rule: rule.start_time)
    return Overstay(
        after_ms=(rules.overstay_time_threshold or 0) * 1000,
        power_w=fraction(power) if power is not None else ZERO if rules.overstay_time_threshold is None else None,
        # a fee without a period has no rate per ms: it counts as one per hour, like other prices
        rates=tuple(
            (rule.start_time * 1000, fraction(rule.overstay_fee) / ((rule.overstay_fee_period or 3600) * 1000))
            for rule in ordered
        ),
    )


# -- accumulation -------------------------------------------------------------------------------------------------


def cost(prices: Prices, flows: Iterable[Flow]) -> Cost:
    """Return the cost of a power profile by a schedule: flows in order of time, without overlap."""
    account = Account()
    for flow in flows:
        account = add(prices, account, flow)
    return settle(prices, account)


def add(prices: Prices, account: Account, flow: Flow) -> Account:
    """Return the account after a flow, which begins where the last one ended or later."""
    if flow.end_ms <= flow.start_ms:
        return account
    power = Fraction(flow.power_w)
    account = _stay(prices, replace(account, peak_w=max(account.peak_w, abs(power))), flow)
    energy, parking, emission = account.energy, account.parking, account.emission_g
    priced = 0
    for stack in during(prices.stacks, flow):
        span = min(flow.end_ms, stack.end_ms) - max(flow.start_ms, stack.start_ms)
        priced += span
        rule = rule_at(stack, account.peak_w if prices.algorithm is Algorithm.PEAK_POWER else abs(power))
        share = Fraction(span, W_MS_PER_KWH)
        energy += fee_rate(prices.algorithm, stack, power, account.peak_w) * share
        if rule.parking:
            parking += rule.parking * span
        if rule.carbon_dioxide:
            emission += rule.carbon_dioxide * power * share
    unpriced = flow.end_ms - flow.start_ms - priced
    return replace(
        account,
        energy=energy,
        parking=parking,
        emission_g=emission,
        energy_w_ms=account.energy_w_ms + power * priced,
        unpriced_w_ms=account.unpriced_w_ms + power * unpriced if unpriced else account.unpriced_w_ms,
    )


def rule_at(stack: Stack, power_w: Fraction | int) -> Rule:
    """Return the rule for a power (a magnitude); below the first range the first rule applies."""
    found = stack.rules[0]
    for rule in stack.rules:
        if rule.start_w > power_w:
            break
        found = rule
    return found


def fee_rate(algorithm: Algorithm, stack: Stack, power_w: Fraction, peak_w: Fraction) -> Fraction:
    """Return power times fee (W times currency per kWh) in an interval; negative while discharging."""
    if algorithm is not Algorithm.STACKED_ENERGY:
        return power_w * rule_at(stack, peak_w if algorithm is Algorithm.PEAK_POWER else abs(power_w)).fee
    rate, above = ZERO, abs(power_w)
    for index, rule in reversed(tuple(enumerate(stack.rules))):
        bottom = rule.start_w if index else ZERO
        if above > bottom:
            rate += (above - bottom) * rule.fee
            above = bottom
    return rate if power_w > 0 else -rate


def during(stacks: tuple[Stack, ...], flow: Flow) -> Iterator[Stack]:
    """Yield the intervals in force during a flow."""
    index = max(0, bisect_right(stacks, flow.start_ms, key=lambda stack: stack.start_ms) - 1)
    while index < len(stacks) and stacks[index].start_ms < flow.end_ms:
        if stacks[index].end_ms > flow.start_ms:
            yield stacks[index]
        index += 1


def _stay(prices: Prices, account: Account, flow: Flow) -> Account:
    """Count the time of staying without charging. Waiting before the first energy does not count."""
    rules = prices.overstay
    if rules is None:
        return account
    if rules.power_w is None:
        begin, end = flow.start_ms - prices.anchor_ms, flow.end_ms - prices.anchor_ms
        return replace(account, overstay=account.overstay + rules.due(end) - rules.due(begin))
    if abs(Fraction(flow.power_w)) > rules.power_w:
        return replace(account, idle_ms=0)
    if account.idle_ms is None:
        return account
    idle = account.idle_ms + flow.end_ms - flow.start_ms
    return replace(account, idle_ms=idle, overstay=account.overstay + rules.due(idle) - rules.due(account.idle_ms))


# -- bounds and taxes ---------------------------------------------------------------------------------------------


def settle(prices: Prices, account: Account) -> Cost:
    """Return the total of an account.

    Every tax is due on the price without taxes. MinimumCost and MaximumCost bound energy, parking and overstay together
    with those taxes that do not apply to them; if they bind, all parts are scaled to the bound. A tax that applies
    to them is due on the bound, or included in it. Additional services are not subject to bounds and taxes.
    """
    parts = (account.energy, account.parking, account.overstay)
    dues = [_due(tax, parts, prices.taxes) for tax in prices.taxes]
    if prices.minimum is not None or prices.maximum is not None:
        parts, dues = _within_bounds(prices, parts, dues)
    added = sum((due for tax, due in zip(prices.taxes, dues, strict=True) if not tax.included), ZERO)
    return Cost(
        energy=parts[0],
        parking=parts[1],
        overstay=parts[2],
        services=prices.services,
        taxes=tuple((tax.rule_id, due) for tax, due in zip(prices.taxes, dues, strict=True)),
        total=sum(parts, ZERO) + added + prices.services,
    )


_Parts = tuple[Fraction, Fraction, Fraction]


def _within_bounds(prices: Prices, parts: _Parts, dues: list[Fraction]) -> tuple[_Parts, list[Fraction]]:
    """Return the parts and taxes, changed if a bound replaces the counted amounts."""
    bounded = sum(parts, ZERO)
    bounded += sum((due for tax, due in zip(prices.taxes, dues, strict=True) if not (tax.bounds or tax.included)), ZERO)
    bound = bounded if prices.maximum is None else min(bounded, prices.maximum)
    bound = bound if prices.minimum is None else max(bound, prices.minimum)
    if bound == bounded:
        return parts, dues
    if bounded == 0:  # nothing to scale: the minimum counts as energy
        parts, dues = (bound, ZERO, ZERO), [ZERO] * len(dues)
    else:
        share = bound / bounded
        parts = (share * parts[0], share * parts[1], share * parts[2])
        dues = [share * due for due in dues]
    within = sum((due for tax, due in zip(prices.taxes, dues, strict=True) if not tax.bounds), ZERO)
    net = (bound - within) / (1 + sum((tax.rate for tax in prices.taxes if tax.bounds and tax.included), ZERO))
    return parts, [tax.rate * net if tax.bounds else due for tax, due in zip(prices.taxes, dues, strict=True)]


def _due(tax: Tax, parts: _Parts, taxes: Sequence[Tax]) -> Fraction:
    """Return the tax on the parts that it applies to, each without included taxes."""
    due = ZERO
    for name, part in zip(("energy", "parking", "overstay"), parts, strict=True):
        if getattr(tax, name):
            held = sum((each.rate for each in taxes if each.included and getattr(each, name)), ZERO)
            due += tax.rate * part / (1 + held)
    return due


# -- messages -----------------------------------------------------------------------------------------------------


def amount(value: Fraction) -> RationalNumber:
    """Return an amount of money, rounded as `rounded` does."""
    number, exponent = rounded(value)
    return RationalNumber(exponent=exponent, value=number)
