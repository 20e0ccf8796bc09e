"""Price schedules of plans, by hand: rules, taxes, bounds, pauses, fees, levels, and how many of each there may be."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, Use, When
from v2g.errors import RefusedError
from v2g.ocpp.messages import price_schedules as wire
from v2g.translate.price_schedules import Asked, absolute_prices, price_levels, sales_tariff

HOUR = 3_600_000
NOON = 1_780_315_200_000
"""2026-06-01T12:00:00Z."""
ASKED = Asked(from_ms=NOON, until_ms=NOON + 2 * HOUR, started_ms=NOON, evse_kind="DC")
VAT = (Tax(kind="vat", ppm=190_000),)


def charge(*rates: tuple[str, When], taxes: tuple[Tax, ...] = ()) -> Charge:
    return Charge(rates=tuple(Rate(price=price, when=when) for price, when in rates), taxes=taxes)


FLAT = charge(("0.4", When()), taxes=VAT)


def plan(**more: Any) -> PricePlan:
    return PricePlan(id="p", currency="EUR", zone="UTC", **more)


def absolute(asked: Asked = ASKED, **more: Any) -> wire.AbsolutePriceSchedule:
    return absolute_prices(plan(**more), asked, 5)


def number(given: wire.RationalNumber | None) -> Fraction | None:
    return None if given is None else given.value * Fraction(10) ** given.exponent


def rules(asked: Asked = ASKED, **more: Any) -> list[tuple[int, list[tuple[Fraction | None, Fraction | None]]]]:
    """(seconds, [(from W, fee)]) of each interval."""
    return [
        (stack.duration, [(number(each.power_range_start), number(each.energy_fee)) for each in stack.price_rule])
        for stack in absolute(asked, **more).price_rule_stacks
    ]


def refused(asked: Asked = ASKED, **more: Any) -> bool:
    """Whether absolute prices cannot express a plan."""
    try:
        absolute(asked, **more)
    except RefusedError as error:
        return error.reason == "not_expressible"
    return False


@pytest.mark.parametrize(
    ("given", "text"), [({}, None), ({"description": "City"}, "City"), ({"description": "x" * 161}, "x" * 160)]
)
def test_a_schedule_says_what_it_is(given: dict[str, str], text: str | None) -> None:
    found = absolute(energy=FLAT, **given)
    assert (found.time_anchor, found.price_schedule_id, found.currency) == ("2026-06-01T12:00:00Z", 5, "EUR")
    assert (found.price_schedule_description, found.language) == (text, "eng")
    assert found.price_algorithm == "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power"
    assert (found.minimum_cost, found.maximum_cost, found.overstay_rule_list) == (None, None, None)
    assert found.additional_selected_services == ()
    text = None if text is None else text[:32]
    assert price_levels(plan(energy=FLAT, **given), ASKED, 6).price_schedule_description == text
    assert sales_tariff(plan(energy=FLAT, **given), ASKED, 6).sales_tariff_description == text


def test_prices_hold_from_the_power_that_they_name() -> None:
    """11 kW is not below 11 kW; below the least power of all energy has no price."""
    energy = charge(("0.3", When(max_power_w=11_000)), ("0.5", When(max_power_w=22_000)), ("0.9", When()))
    fees = [(0, Fraction("0.3")), (11_000, Fraction("0.5")), (22_000, Fraction("0.9"))]
    assert rules(energy=energy) == [(7200, fees)]
    energy = charge(("0.5", When(min_power_w=4_000)))
    assert rules(energy=energy) == [(7200, [(0, 0), (4_000, Fraction("0.5"))])]
    energy = charge(("0.5", When(max_power_w=4_000)), ("0.5", When(min_power_w=5_000)))
    assert rules(energy=energy) == [(7200, [(0, Fraction("0.5")), (4_000, 0), (5_000, Fraction("0.5"))])]
    energy = charge(("0.5", When(max_power_w=4_000)), ("0.5", When()))
    assert rules(energy=energy) == [(7200, [(0, Fraction("0.5"))])], "one price is one rule"


def test_without_a_price_of_energy_it_is_free() -> None:
    assert rules(fixed=charge(("1", When()))) == [(7200, [(0, 0)])]


def test_prices_change_with_the_time_of_the_transaction() -> None:
    """It began half an hour before: an hour of it has half an hour left."""
    energy = charge(("0.2", When(max_time_s=3600)), ("0.4", When(min_time_s=3600, max_time_s=7200)), ("0.6", When()))
    begun = msgspec.structs.replace(ASKED, started_ms=NOON - HOUR // 2)
    expected = [(1800, "0.2"), (3600, "0.4"), (1800, "0.6")]
    assert rules(begun, energy=energy) == [(seconds, [(0, Fraction(fee))]) for seconds, fee in expected]
    assert [(each.duration, each.price_level) for each in entries(begun, energy=energy)] == [
        (1800, 0), (3600, 1), (1800, 2),
    ]  # fmt: skip
    ahead = msgspec.structs.replace(ASKED, started_ms=NOON + HOUR)
    expected = [(7200, "0.2")]
    assert rules(ahead, energy=energy) == [(seconds, [(0, Fraction(fee))]) for seconds, fee in expected]
    assert [(each.duration, each.price_level) for each in entries(ahead, energy=energy)] == [(7200, 0)]


def test_a_transaction_that_has_not_begun_has_taken_no_time() -> None:
    ahead = msgspec.structs.replace(ASKED, started_ms=NOON + HOUR)
    energy = charge(("0.2", When(min_time_s=0)), ("0.1", When()))
    assert rules(ahead, energy=energy) == [(7200, [(0, Fraction("0.2"))])]
    assert len(entries(ahead, energy=energy)) == 1


def entries(asked: Asked = ASKED, **more: Any) -> tuple[wire.PriceLevelScheduleEntry, ...]:
    return price_levels(plan(**more), asked, 6).price_level_schedule_entries


@pytest.mark.parametrize("kind", ["AC", "DC", None])
def test_prices_are_those_of_the_evse(kind: str | None) -> None:
    place = When(evse_kind="AC")
    fee = Fraction("0.2" if kind == "AC" else "0.4")
    asked = msgspec.structs.replace(ASKED, evse_kind=kind)
    energy = charge(("0.2", place), ("0.4", When()))
    assert rules(asked, energy=energy) == [(7200, [(0, fee)])]
    both = charge(("0.1", place), ("0.2", When()))
    (stack,) = absolute(asked, energy=energy, idle_time=both, charging_time=both).price_rule_stacks
    assert number(stack.price_rule[0].parking_fee) == fee / 2
    pauses = absolute(asked, energy=energy, idle_time=both).overstay_rule_list
    assert pauses is not None
    assert [number(each.overstay_fee) for each in pauses.overstay_rule] == [fee / 2]
    (service,) = absolute(asked, energy=energy, fixed=both).additional_selected_services
    assert number(service.service_fee) == fee / 2
    levels = charge(("0.2", place), ("0.1", When(min_time_s=3600)), ("0.4", When()))
    assert len(entries(asked, energy=levels)) == (1 if kind == "AC" else 2)


def test_what_is_fed_back_is_paid_by_a_rule_below_zero() -> None:
    back = charge(("0.1", When(max_time_s=3600)), ("0.2", When(min_time_s=5400)))
    fees = [(0, Fraction("0.4"))]
    assert rules(energy=FLAT, export=back) == [
        (3600, [*fees, (-1, Fraction("0.1"))]), (1800, fees), (1800, [*fees, (-1, Fraction("0.2"))]),
    ]  # fmt: skip
    taxed = charge(("0.123456", When()), taxes=(Tax(kind="a", ppm=10_000),))
    ((_, (_, found)),) = rules(energy=FLAT, export=taxed)
    assert found == (-1, Fraction("0.1247")), "0.12469056 in four digits, up"


def test_time_that_costs_the_same_with_and_without_power_is_paid_by_the_minute() -> None:
    time = charge(("0.05", When(max_time_s=3600)), ("0", When(max_time_s=5400)))
    found = absolute(energy=FLAT, charging_time=time, idle_time=time)
    parking = [
        (each.duration, number(rule.parking_fee), rule.parking_fee_period)
        for each in found.price_rule_stacks
        for rule in each.price_rule
    ]
    assert parking == [(3600, Fraction("0.05"), 60), (3600, None, None)]
    assert found.overstay_rule_list is None


def test_pauses_cost_by_how_long_they_are() -> None:
    idle = charge(("0.05", When(min_idle_s=7200)), ("0.02", When(min_idle_s=1800, max_idle_s=3600)))
    found = absolute(energy=FLAT, idle_time=idle)
    stay = found.overstay_rule_list
    assert stay is not None
    assert (stay.overstay_time_threshold, number(stay.overstay_power_threshold)) == (1800, 0)
    steps = [(each.start_time, number(each.overstay_fee), each.overstay_fee_period) for each in stay.overstay_rule]
    assert steps == [(0, Fraction("0.02"), 60), (1800, 0, 60), (5400, Fraction("0.05"), 60)]
    assert all(rule.parking_fee is None for each in found.price_rule_stacks for rule in each.price_rule)
    idle = charge(
        ("0.02", When(min_idle_s=3002)), ("0.05", When(min_idle_s=3001)),
        *(("0.02", When(min_idle_s=each)) for each in (3000, 60)),
    )  # fmt: skip
    stay = absolute(energy=FLAT, idle_time=idle).overstay_rule_list
    assert stay is not None
    steps = [(each.start_time, number(each.overstay_fee), each.overstay_fee_period) for each in stay.overstay_rule]
    assert steps == [(0, Fraction("0.02"), 60), (2941, Fraction("0.05"), 60), (2942, Fraction("0.02"), 60)]
    at_once = absolute(energy=FLAT, idle_time=charge(("0.02", When()))).overstay_rule_list
    assert at_once is not None
    assert (at_once.overstay_time_threshold, len(at_once.overstay_rule)) == (0, 1)
    assert absolute(energy=FLAT, idle_time=charge(("0", When()))).overstay_rule_list is None
    assert absolute(energy=FLAT, idle_time=charge(("0", When(min_idle_s=60)), ("0", When()))).overstay_rule_list is None


@pytest.mark.parametrize(("steps", "expressible"), [(5, True), (6, False)])
def test_pauses_have_five_steps_at_most(steps: int, expressible: bool) -> None:
    rates = [(f"0.{9 - n}", When(min_idle_s=60 * (9 - n))) for n in range(steps)]
    assert refused(energy=FLAT, idle_time=charge(*rates)) is not expressible


@pytest.mark.parametrize(
    ("ranges", "back", "expressible"), [(8, False, True), (9, False, False), (7, True, True), (8, True, False)]
)
def test_an_interval_has_eight_rules_at_most(ranges: int, back: bool, expressible: bool) -> None:
    rates = [(f"0.{n + 1}", When(max_power_w=1000 * (n + 1))) for n in range(ranges - 1)]
    export = charge(("0.1", When())) if back else None
    assert refused(energy=charge(*rates, ("1", When())), export=export) is not expressible


IN_USE = (
    "min_energy_wh", "max_energy_wh", "min_power_w", "max_power_w", "min_current_a", "max_current_a", "min_time_s",
    "max_time_s", "min_charging_s", "max_charging_s", "min_idle_s", "max_idle_s",
)  # fmt: skip
IN_ENERGY = {"min_power_w", "max_power_w", "min_time_s", "max_time_s"}
IN_TIME = {"min_time_s", "max_time_s"}
IN_PAUSES = {"min_idle_s", "max_idle_s"}
BRANDS = ("payment_brand", "payment_recognition")
CLOCK = {"from_minute": 60, "to_minute": 120, "weekdays": (0,), "holidays": True}


@together("name", [*IN_USE, *BRANDS])
def test_what_a_price_may_depend_on(name: str) -> None:
    """A schedule of prices is of power and time; one of pauses of their length."""
    when = When(**{name: "x" if name in BRANDS else 600})
    some = charge(("0.1", when))
    assert refused(energy=some) is (name not in IN_ENERGY)
    assert refused(energy=FLAT, export=some) is (name not in IN_TIME)
    assert refused(energy=FLAT, charging_time=some, idle_time=some) is (name not in IN_TIME)
    assert refused(energy=FLAT, idle_time=some) is (name not in IN_PAUSES)


LOADS = charge(("0.1", When(min_charging_s=60)))


@together(
    ("changes", "what"),
    [
        ({"energy": LOADS}, "such conditions of energy"),
        ({"export": LOADS}, "such conditions of energy fed back"),
        ({"charging_time": LOADS, "idle_time": LOADS}, "such conditions of time"),
        ({"idle_time": LOADS}, "such conditions of pauses"),
        ({"idle_time": charge(("0.1", When(holidays=False)))}, "clock times for pauses"),
        ({"charging_time": LOADS}, "a price for the time of charging alone"),
    ],
)
def test_a_person_reads_what_cannot_be_expressed(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(RefusedError) as error:
        absolute(**changes)
    assert str(error.value) == f"a price schedule cannot express {what}"


@pytest.mark.parametrize("name", CLOCK)
def test_only_pauses_cost_the_same_at_any_time(name: str) -> None:
    some = charge(("0.1", When(**{name: CLOCK[name]})), ("0.1", When()))
    assert not refused(energy=some)
    assert not refused(energy=FLAT, export=some)
    assert not refused(energy=FLAT, charging_time=some, idle_time=some)
    assert refused(energy=FLAT, idle_time=some)


def test_time_of_charging_alone_has_no_price() -> None:
    time = charge(("0.1", When()))
    assert refused(energy=FLAT, charging_time=time)
    assert refused(energy=FLAT, charging_time=time, idle_time=charge(("0.2", When())))
    assert not refused(energy=FLAT, idle_time=time)


def taxes(**more: Any) -> list[tuple[Any, ...]]:
    return [
        (
            each.tax_rule_id, each.tax_rule_name, number(each.tax_rate) / 100, each.tax_included_in_price,
            each.applies_to_energy_fee, each.applies_to_parking_fee, each.applies_to_overstay_fee,
            each.applies_to_minimum_maximum_cost,
        )
        for each in absolute(**more).tax_rules
    ]  # fmt: skip


def test_a_tax_is_on_what_it_is_due_on() -> None:
    rate = Fraction("0.19")
    assert taxes(energy=FLAT) == [(1, "vat", rate, False, True, True, True, True)]
    time = charge(("0.1", When()), taxes=VAT)
    assert taxes(energy=FLAT, idle_time=time) == [(1, "vat", rate, False, True, True, True, True)]
    free = charge(("0.1", When()))
    assert taxes(energy=FLAT, idle_time=free) == [(1, "vat", rate, False, True, False, False, True)]
    other = charge(("0.1", When()), taxes=(Tax(kind="city", ppm=50_000),))
    assert taxes(energy=FLAT, idle_time=other) == [
        (1, "vat", rate, False, True, False, False, True),
        (2, "city", Fraction("0.05"), False, False, True, True, True),
    ]  # fmt: skip
    assert taxes(idle_time=other) == [(1, "city", Fraction("0.05"), False, False, True, True, True)]
    assert taxes(fixed=other) == []


def test_a_higher_stack_is_on_top_of_all_lower_ones() -> None:
    """I12.FR.13: 10 % and 2 % of the net price, 5 % of 1.12, 1 % of 1.176."""
    levels = (("c", 50_000, 1), ("a", 100_000, 0), ("d", 10_000, 2), ("b", 20_000, 0))
    energy = charge(("1", When()), taxes=tuple(Tax(kind=kind, ppm=ppm, stack=stack) for kind, ppm, stack in levels))
    found = {name: rate for _, name, rate, *_ in taxes(energy=energy)}
    assert found == {
        "a": Fraction("0.1"), "b": Fraction("0.02"), "c": Fraction("0.056"), "d": Fraction("0.01176"),
    }  # fmt: skip


@pytest.mark.parametrize(("ppm", "expressible"), [(32_767, True), (32_768, False), (32_770, True), (1, True)])
def test_a_tax_rate_has_as_many_digits_as_fit(ppm: int, expressible: bool) -> None:
    """In 16 bits: 0.032768 would be more or less."""
    assert refused(energy=charge(("1", When()), taxes=(Tax(kind="odd", ppm=ppm),))) is not expressible


@together(
    ("least", "greatest", "expected", "net"),
    [
        (Bound(excl_tax="1.5"), None, ("1.5", None), True),
        (None, Bound(excl_tax="9"), (None, "9"), True),
        (Bound(incl_tax="1.5"), None, ("1.5", None), False),
        (None, Bound(incl_tax="9"), (None, "9"), False),
        (Bound(excl_tax="1", incl_tax="1.19"), Bound(incl_tax="9"), ("1.19", "9"), False),
        (Bound(excl_tax="1", incl_tax="1.19"), Bound(excl_tax="9"), ("1", "9"), True),
        (Bound(excl_tax="1", incl_tax="1.19"), Bound(excl_tax="9", incl_tax="10.71"), ("1", "9"), True),
    ],
)
def test_bounds_are_both_with_taxes_or_both_without(
    least: Bound | None, greatest: Bound | None, expected: tuple[str | None, str | None], net: bool
) -> None:
    found = absolute(energy=FLAT, least=least, greatest=greatest)
    bounds = tuple(None if each is None else Fraction(each) for each in expected)
    assert (number(found.minimum_cost), number(found.maximum_cost)) == bounds
    assert [each.applies_to_minimum_maximum_cost for each in found.tax_rules] == [net]


@together(
    ("changes", "expressible"),
    [
        ({"least": Bound(excl_tax="1"), "greatest": Bound(incl_tax="9")}, False),
        ({"least": Bound(incl_tax="1"), "greatest": Bound(excl_tax="9")}, False),
        ({"least": Bound(excl_tax="1"), "fixed": charge(("1", When()))}, False),
        ({"least": Bound(excl_tax="1"), "fixed": charge(("0", When()))}, True),
        ({"fixed": charge(("1", When()))}, True),
        ({"least": Bound(excl_tax="1"), "idle_time": charge(("1", When()), taxes=VAT)}, True),
        ({"least": Bound(excl_tax="1"), "idle_time": charge(("1", When()))}, False),
        ({"idle_time": charge(("1", When()))}, True),
        ({"greatest": Bound(excl_tax="1"), "idle_time": charge(("1", When())), "energy": None}, True),
    ],
)
def test_bounds_are_of_one_tax_and_without_fees(changes: dict[str, Any], expressible: bool) -> None:
    assert refused(**{"energy": FLAT, **changes}) is not expressible


def test_a_fee_is_that_of_the_start_with_its_taxes() -> None:
    fixed = charge(("0.5", When(from_minute=12 * 60, to_minute=13 * 60)), ("1", When()), taxes=VAT)

    def fees(started_ms: int, **more: Any) -> list[tuple[str, Fraction | None]]:
        asked = msgspec.structs.replace(ASKED, started_ms=started_ms)
        found = absolute(asked, energy=FLAT, fixed=fixed, **more).additional_selected_services
        return [(each.service_name, number(each.service_fee)) for each in found]

    assert fees(NOON) == [("fee", Fraction("0.595"))]
    assert fees(NOON - 1000) == [("fee", Fraction("1.19"))]
    assert fees(NOON, description="x" * 81) == [("x" * 80, Fraction("0.595"))]
    only = charge(("1", When(evse_kind="AC")))
    assert absolute(energy=FLAT, fixed=only).additional_selected_services == ()


HOURS = charge(*((f"0.{hour + 10}", When(from_minute=60 * hour, to_minute=60 * hour + 60)) for hour in range(10, 20)))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_entries_are_sent_than_are_taken(most: int) -> None:
    few = msgspec.structs.replace(ASKED, until_ms=NOON + 5 * HOUR, entries=most)
    assert [seconds for seconds, _ in rules(few, energy=HOURS)] == [3600] * most
    assert [(each.duration, each.price_level) for each in entries(few, energy=HOURS)] == [
        (3600, n) for n in range(most)
    ]
    found = sales_tariff(plan(energy=HOURS), few, 3)
    assert (found.id, found.num_e_price_levels) == (3, most)
    assert [
        (each.relative_time_interval.start, each.relative_time_interval.duration, each.e_price_level)
        for each in found.sales_tariff_entry
    ] == [(3600 * n, 3600, n + 1) for n in range(most)]


def test_entries_are_as_many_as_messages_hold() -> None:
    """100 levels of OCPP, 1,024 of everything else, whatever a station says that it takes. Equal neighbours are one,
    also behind the last."""
    all_day = charge(
        *((f"0.{hour + 10}", When(from_minute=60 * hour, to_minute=(60 * hour + 60) % 1440)) for hour in range(24))
    )
    for most in (Asked(from_ms=0, until_ms=0, started_ms=0).entries, 5000):
        long = msgspec.structs.replace(ASKED, until_ms=NOON + 1200 * HOUR, entries=most)
        assert [seconds for seconds, _ in rules(long, energy=all_day)] == [3600] * 1024
        assert len(sales_tariff(plan(energy=all_day), long, 3).sales_tariff_entry) == 1024
        assert len(entries(long, energy=all_day)) == 100
    steps = [(f"0.{1 + n % 2}", When(min_time_s=2 * n, max_time_s=2 * n + 2)) for n in range(100)]
    energy = charge(*steps)
    assert [each.duration for each in entries(energy=energy)] == [2] * 100
    assert [seconds for seconds, _ in rules(energy=energy)] == [2] * 100 + [7000]
    assert len(sales_tariff(plan(energy=energy), ASKED, 3).sales_tariff_entry) == 101
    two = msgspec.structs.replace(ASKED, entries=1)
    steps = [("0.1", When(max_time_s=60)), ("0.1", When(max_time_s=120)), ("0.2", When(max_time_s=180))]
    same = charge(*steps, ("0.1", When()))
    assert [seconds for seconds, _ in rules(two, energy=same)] == [120]
    assert [each.duration for each in entries(two, energy=same)] == [120]
    same = charge(*steps, ("0.2", When()))
    assert [seconds for seconds, _ in rules(energy=same)] == [120, 7080]
    assert [each.duration for each in entries(energy=same)] == [120, 7080]
    free = charge(("0", When(max_time_s=600)), ("0.1", When(min_time_s=1200)))
    assert [(each.duration, each.price_level) for each in entries(energy=free)] == [(1200, 0), (6000, 1)]
    least = charge(("0.000001", When(max_time_s=600)))
    assert [(each.duration, each.price_level) for each in entries(energy=least)] == [(600, 1), (6600, 0)]


def test_levels_are_numbered_by_price() -> None:
    energy = charge(
        ("0.3", When(max_time_s=600)), ("0.1", When(max_time_s=1200)), ("0.3", When(max_time_s=1800)), ("0.2", When()),
    )  # fmt: skip
    found = price_levels(plan(energy=energy), ASKED, 6)
    assert (found.price_schedule_id, found.time_anchor, found.number_of_price_levels) == (6, "2026-06-01T12:00:00Z", 3)
    assert [(each.duration, each.price_level) for each in found.price_level_schedule_entries] == [
        (600, 2), (600, 0), (600, 2), (5400, 1),
    ]  # fmt: skip
    assert entries(fixed=charge(("1", When()))) == (wire.PriceLevelScheduleEntry(duration=7200, price_level=0),)


def test_levels_are_of_the_power_that_is_asked_for() -> None:
    energy = charge(("0.2", When(max_power_w=11_000)), ("0.4", When(max_time_s=3600)), ("0.6", When()))
    slow, fast = (msgspec.structs.replace(ASKED, use=Use(power_w=watts)) for watts in (10_999, 11_000))
    assert len(entries(slow, energy=energy)) == 1
    assert len(entries(fast, energy=energy)) == 2


def test_less_than_a_second_is_no_interval() -> None:
    """Transactions begin at any ms."""
    energy = charge(("0.2", When(max_time_s=60)), ("0.4", When()))
    begun = msgspec.structs.replace(ASKED, started_ms=NOON - 59_500)
    assert rules(begun, energy=energy) == [(7199, [(0, Fraction("0.4"))])]
    assert [(each.duration, each.price_level) for each in entries(begun, energy=energy)] == [(7199, 0)]
