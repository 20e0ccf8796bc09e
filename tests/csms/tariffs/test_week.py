"""The week of a tariff: the prices that its receipts use, hours without one, holidays as Sundays."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.tariffs.rules import PricedHours, as_sundays, blocks, by_clock, changes, filling, gaps, offered, week, weeks
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax, Use, When
from v2g.energy.settlement.costing import bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage

MONDAY = date(2027, 1, 4)


def plan(*rates: Rate, holidays: tuple[date, ...] = (), taxes: tuple[Tax, ...] = ()) -> PricePlan:
    return PricePlan(id="p", currency="EUR", holidays=holidays, energy=Charge(rates=rates, taxes=taxes))


def rate(price: str, **when: object) -> Rate:
    return Rate(price=price, when=When(**when))  # type: ignore[arg-type]  # fields of When


NIGHT = rate("0.29", from_minute=22 * 60, to_minute=6 * 60)


def test_a_day_has_the_price_of_each_hour_and_equal_neighbours_are_one() -> None:
    found = blocks(plan(NIGHT, rate("0.29", to_minute=420), rate("0.42")), "energy", MONDAY)
    assert found == (PricedHours(0, 420, "0.29"), PricedHours(420, 1320, "0.42"), PricedHours(1320, 1440, "0.29"))
    assert blocks(plan(rate("0.4")), "export", MONDAY) == ()
    days = week(plan(rate("0.4")), "energy", MONDAY + timedelta(days=6))
    assert [day for day, _ in days] == [MONDAY + timedelta(days=each) for each in range(7)]


def test_hours_without_a_price_are_named_once_by_weekday() -> None:
    workdays = rate("0.42", from_minute=360, to_minute=1320, weekdays=(0, 1, 2, 3, 4))
    found = gaps(plan(NIGHT, workdays), "energy", MONDAY)
    assert [(each.first.weekday(), each.begin, each.end, each.days) for each in found] == [
        (5, 360, 1320, 52), (6, 360, 1320, 52),
    ]  # fmt: skip
    assert gaps(plan(NIGHT, rate("0.42")), "energy", MONDAY) == []
    assert gaps(plan(NIGHT), "export", MONDAY) == [], "without rates it is free on purpose"
    summer = rate("0.3", from_day=date(2027, 4, 1), to_day=date(2027, 10, 1))
    assert sum(each.days for each in gaps(plan(summer), "energy", MONDAY)) == 366 - 183
    assert filling(Charge(rates=(NIGHT, workdays)), "energy") == "0.42"
    assert filling(Charge(rates=(NIGHT, workdays)), "export") == "0.29"


def test_holidays_are_as_sundays_where_that_is_wanted() -> None:
    rates = as_sundays((rate("0.2", weekdays=(5, 6)), rate("0.5", weekdays=(0, 1, 2, 3, 4)), rate("0.3")))
    made = plan(*rates, holidays=(MONDAY,))
    prices = [blocks(made, "energy", MONDAY + timedelta(days=each))[0].price for each in (0, 1, 5, 7)]
    assert prices == ["0.2", "0.5", "0.2", "0.5"]
    assert as_sundays((rate("1", holidays=True, weekdays=(6,)),)) == (rate("1", holidays=True, weekdays=(6,)),)


def test_weeks_to_look_at_are_this_one_and_those_that_differ() -> None:
    made = plan(rate("0.3", from_day=date(2027, 4, 1), to_day=date(2027, 10, 1)), rate("0.5", holidays=True))
    assert weeks(made, MONDAY) == [MONDAY, date(2027, 4, 1), date(2027, 10, 1)]
    holiday = PricePlan(id="p", currency="EUR", holidays=(date(2027, 12, 24),), energy=made.energy)
    assert weeks(holiday, MONDAY)[-1] == date(2027, 12, 24)
    assert not by_clock(plan(rate("0.3", min_power_w=1)))
    assert by_clock(made)


def test_prices_of_drivers_have_taxes_and_change_by_the_clock() -> None:
    made = plan(NIGHT, rate("0.42"), taxes=(Tax(kind="VAT", ppm=190_000),))
    evening = datetime(2027, 1, 4, 21, 30, tzinfo=UTC)
    assert (offered(made, evening).energy, offered(made, evening).export) == ("0.4998", None)
    assert [(at, prices.energy) for at, prices in changes(made, evening)] == [(1320, "0.3451")]


clock = st.integers(0, 1439)
RATES = st.builds(
    When,
    from_minute=st.none() | clock,
    to_minute=st.none() | clock,
    weekdays=st.lists(st.integers(0, 6), max_size=3, unique=True).map(tuple),
    holidays=st.sampled_from([None, True, False]),
    from_day=st.none() | st.dates(date(2027, 1, 1), date(2027, 12, 31)),
)


@given(st.lists(RATES, min_size=1, max_size=4), st.integers(0, 400), clock)
def test_a_week_shows_what_the_receipt_charges(whens: list[When], days: int, minute: int) -> None:
    """The bill of a minute's energy at any time has the price that the week shows there, or none."""
    rates = tuple(Rate(price=f"0.{at + 1}", when=when) for at, when in enumerate(whens))
    made = plan(*rates, holidays=(date(2027, 3, 1), date(2027, 5, 1)))
    day = MONDAY + timedelta(days=days)
    shown = next(each.price for each in blocks(made, "energy", day) if each.begin <= minute < each.end)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + minute * 60_000
    readings = (Registers(start, 0, 0), Registers(start + 60_000, 1_000_000, 0))
    usage = Usage(start_ms=start, end_ms=start + 60_000, readings=readings, charging=((start, True),))
    billed = bill([(start, made)], usage, ended=True)
    assert [each.price for each in billed.lines] == ([] if shown is None else [int(shown.removeprefix("0.")) * 100_000])


@given(st.lists(RATES, min_size=1, max_size=4))
def test_gaps_are_all_hours_of_a_year_without_a_price(whens: list[When]) -> None:
    made = plan(*(Rate(price="1", when=when) for when in whens), holidays=(date(2027, 3, 1),))
    days = [MONDAY + timedelta(days=each) for each in range(366)]
    missing = sum(each.end - each.begin for day in days for each in blocks(made, "energy", day) if each.price is None)
    assert missing == sum(each.days * (each.end - each.begin) for each in gaps(made, "energy", MONDAY))


@pytest.mark.parametrize("minute", [0, 59, 719, 1439])
def test_the_price_at_a_minute_is_that_of_its_block(minute: int) -> None:
    made = plan(NIGHT, rate("0.42"))
    moment = datetime(2027, 1, 4, tzinfo=UTC) + timedelta(minutes=minute)
    block = next(each for each in blocks(made, "energy", MONDAY) if each.begin <= minute < each.end)
    index = made.rate("energy", moment, Use())
    assert index is not None
    assert block.price == ("0.29", "0.42")[index]
