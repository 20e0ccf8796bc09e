"""What vehicles receive of a price plan: it comes to the same as the bill, worked out by another calculator."""

from datetime import date, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, Use, When
from v2g.energy.settlement.costing import bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.errors import RefusedError
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.d20.prices import Flow, cost, read_prices
from v2g.ocpp.messages import price_schedules as wire
from v2g.ocpp.messages.charging_profiles import ChargingSchedule, ChargingSchedulePeriod
from v2g.translate.csms_prices import read_csms_prices
from v2g.translate.price_schedules import Asked, absolute_prices, price_levels, sales_tariff
from v2g.units import decimals_of

HOUR = 3_600_000
NIGHT = When(from_minute=22 * 60, to_minute=6 * 60)
VAT = (Tax(kind="vat", ppm=190_000),)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)


EVENING = at("2026-10-24T20:00:00")  # the night after it has one hour twice
ASKED = Asked(from_ms=EVENING, until_ms=EVENING + 14 * HOUR, started_ms=EVENING, evse_kind="DC")


def charge(*rates: tuple[int, When], taxes: tuple[Tax, ...] = ()) -> Charge:
    return Charge(rates=tuple(Rate(price=decimals_of(price), when=when) for price, when in rates), taxes=taxes)


def plan(**more: Any) -> PricePlan:
    return PricePlan(id="p", currency="EUR", zone="Europe/Berlin", **more)


def schedule(**prices: Any) -> ChargingSchedule:
    period = ChargingSchedulePeriod(start_period=0, limit=11_000.0)
    return ChargingSchedule(id=1, charging_rate_unit="W", charging_schedule_period=(period,), **prices)


def as_told(found: PricePlan, asked: Asked = ASKED) -> AbsolutePriceSchedule:
    """What the vehicle's end of OCPP makes of a plan, over JSON."""
    sent = msgspec.json.encode(schedule(absolute_price_schedule=absolute_prices(found, asked, 101)))
    reported = read_csms_prices(msgspec.json.decode(sent, type=ChargingSchedule), 0)
    assert isinstance(reported, AbsolutePriceSchedule)
    return reported


def billed(found: PricePlan, powers: list[int], step_ms: int = HOUR) -> Fraction:
    """What the bill comes to for powers (W) that follow each other, with taxes."""
    readings, charging, register = [Registers(EVENING, 0, 0)], [], 0
    for index, power in enumerate(powers):
        register += power * step_ms // 3600
        readings.append(Registers(EVENING + (index + 1) * step_ms, register, 0))
        charging.append((EVENING + index * step_ms, power > 0))
    end = readings[-1].utc_ms
    usage = Usage(start_ms=EVENING, end_ms=end, readings=tuple(readings), charging=tuple(charging), evse_kind="DC")
    return Fraction(bill([(EVENING, found)], usage, ended=True).incl_tax, 1_000_000)


def asked_for(found: PricePlan, powers: list[int], step_ms: int = HOUR) -> Fraction:
    """What the price schedule comes to for the same powers."""
    flows = [Flow(EVENING + i * step_ms, EVENING + (i + 1) * step_ms, power) for i, power in enumerate(powers)]
    return cost(read_prices(as_told(found)), flows).total


PLANS = {
    "night": plan(energy=charge((250_000, NIGHT), (450_000, When()), taxes=VAT)),
    "power": plan(energy=charge((300_000, When(max_power_w=11_000)), (390_000, When()), taxes=VAT)),
    "idle": plan(
        energy=charge((400_000, When())),
        idle_time=charge((50_000, When(min_idle_s=7200)), (20_000, When(min_idle_s=1800))),
    ),
    "fee": plan(
        energy=charge((400_000, When()), taxes=VAT), fixed=charge((1_000_000, When(evse_kind="DC")), taxes=VAT)
    ),
    "stacked": plan(
        energy=charge(
            (400_000, When()), taxes=(Tax(kind="state", ppm=100_000), Tax(kind="city", ppm=50_000, stack=1))
        )
    ),
    "time": plan(
        energy=charge((200_000, When(max_time_s=3 * 3600)), (400_000, When())),
        charging_time=charge((10_000, NIGHT), (30_000, When())),
        idle_time=charge((10_000, NIGHT), (30_000, When())),
    ),
    "least": plan(energy=charge((400_000, When()), taxes=VAT), least=Bound(excl_tax="20")),
    "greatest": plan(energy=charge((400_000, When()), taxes=VAT), greatest=Bound(incl_tax="10")),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=8)
@given(powers=st.lists(st.sampled_from([0, 3_600, 7_200, 11_000, 22_000]), min_size=1, max_size=12))
def test_a_vehicle_plans_with_what_the_bill_comes_to(name: str, powers: list[int]) -> None:
    if not powers[0]:  # waiting for the first energy is no staying on, and nothing at all has no taxes
        powers = [3_600, *powers]
    assert asked_for(PLANS[name], powers) == pytest.approx(billed(PLANS[name], powers), abs=2e-6)


def test_what_is_fed_back_is_paid_below_zero_with_its_taxes() -> None:
    found = plan(energy=charge((400_000, When())), export=charge((100_000, NIGHT), (200_000, When()), taxes=VAT))
    stacks = as_told(found).price_rule_stacks.price_rule_stack
    assert [each.duration for each in stacks] == [2 * 3600, 9 * 3600, 3 * 3600]
    assert [each.price_rule[1].power_range_start.value < 0 for each in stacks] == [True] * 3
    fees = [each.price_rule[1].energy_fee for each in stacks]
    paid = [Fraction(fee.value) * Fraction(10) ** fee.exponent for fee in fees]
    assert paid == [Fraction("0.238"), Fraction("0.119"), Fraction("0.238")]


@together(
    "changes",
    [
        {"energy": charge((300_000, When(max_energy_wh=10_000)), (400_000, When()))},
        {"energy": charge((300_000, When(min_current_a=16)))},
        {"charging_time": charge((10_000, When()))},
        {"idle_time": charge((10_000, NIGHT))},
        {"fixed": charge((500_000, When())), "least": Bound(excl_tax="1")},
        {"least": Bound(excl_tax="0.000001"), "greatest": Bound(incl_tax="0.000002")},
        {"energy": charge((300_000, When()), taxes=(Tax(kind="odd", ppm=123_457),))},
    ],
)
def test_what_a_schedule_cannot_say_is_ranked_instead(changes: dict[str, Any]) -> None:
    found = plan(**changes)
    with pytest.raises(RefusedError) as refused:
        absolute_prices(found, ASKED, 1)
    assert refused.value.reason == "not_expressible"
    assert price_levels(found, ASKED, 1).number_of_price_levels >= 1


def test_levels_rank_times_with_the_use_so_far() -> None:
    energy = charge((100_000, When(max_energy_wh=5_000)), (250_000, NIGHT), (450_000, When()))
    found = price_levels(plan(energy=energy), ASKED, 7)
    assert [(each.duration, each.price_level) for each in found.price_level_schedule_entries] == [(14 * 3600, 0)]
    later = msgspec.structs.replace(ASKED, use=Use(energy_mwh=6_000_000))
    found = price_levels(plan(energy=energy), later, 7)
    night = (9 * 3600, 0)
    assert [(each.duration, each.price_level) for each in found.price_level_schedule_entries] == [
        (7200, 1), night, (3 * 3600, 1),
    ]  # fmt: skip
    reported = read_csms_prices(schedule(price_level_schedule=found), 0)
    assert isinstance(reported, PriceLevelSchedule)
    assert (reported.time_anchor, reported.number_of_price_levels) == (EVENING // 1000, 2)


def test_a_vehicle_that_takes_few_entries_gets_the_first_ones() -> None:
    few = msgspec.structs.replace(ASKED, entries=2)
    assert [each.duration for each in as_told(PLANS["night"], few).price_rule_stacks.price_rule_stack] == [
        7200,
        9 * 3600,
    ]


def test_vehicles_of_the_older_edition_receive_levels_from_one_on() -> None:
    found = sales_tariff(PLANS["night"], ASKED, 3)
    entries = [(e.relative_time_interval.start, e.e_price_level) for e in found.sales_tariff_entry]
    assert (found.num_e_price_levels, entries) == (2, [(0, 2), (7200, 1), (11 * 3600, 2)])
    reported = read_csms_prices(schedule(sales_tariff=found), EVENING)
    assert isinstance(reported, PriceLevelSchedule)
    levels = reported.price_level_schedule_entries.price_level_schedule_entry
    assert [(each.duration, each.price_level) for each in levels] == [(7200, 1), (9 * 3600, 0), (3 * 3600, 1)]
    assert reported.time_anchor == EVENING // 1000


def test_holidays_are_days_of_their_own() -> None:
    energy = charge((100_000, When(holidays=True)), (400_000, When()))
    found = as_told(plan(energy=energy, holidays=(date(2026, 10, 25),)))
    assert [each.duration for each in found.price_rule_stacks.price_rule_stack] == [4 * 3600, 10 * 3600]


def number(value: int, exponent: int = 0) -> wire.RationalNumber:
    return wire.RationalNumber(exponent=exponent, value=value)


FREE = wire.PriceRule(energy_fee=number(0), power_range_start=number(0))
GIVEN = absolute_prices(PLANS["fee"], ASKED, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minimum_cost", number(10**6, 10**9)),
        ("tax_rules", (msgspec.structs.replace(GIVEN.tax_rules[0], tax_rate=number(-1)),)),
        ("price_rule_stacks", (wire.PriceRuleStack(duration=0, price_rule=(FREE,)),)),
        ("price_rule_stacks", (wire.PriceRuleStack(duration=-1, price_rule=(FREE,)),)),
    ],
)
def test_numbers_that_no_vehicle_could_receive_are_refused(field: str, value: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        read_csms_prices(schedule(absolute_price_schedule=msgspec.structs.replace(GIVEN, **{field: value})), 0)
    assert refused.value.reason == "bad_prices"
