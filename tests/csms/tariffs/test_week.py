"""The week of a tariff: the prices that its receipts use, hours without one, holidays as Sundays."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.tariffs.rules import (
    PricedHours,
    as_sundays,
    blocks,
    by_clock,
    changes,
    filling,
    gaps,
    has_clock_of,
    offered,
    week,
    weeks,
)
from tests.together import together
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
    noon = rate("0.5", from_minute=660, to_minute=780)
    found = blocks(plan(noon, rate("0.29", from_minute=900), rate("0.29")), "energy", MONDAY)
    assert found == (PricedHours(0, 660, "0.29"), PricedHours(660, 780, "0.5"), PricedHours(780, 1440, "0.29"))
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
    kept = (rate("1", holidays=True, weekdays=(6,)), rate("0.3"), rate("0.2", from_minute=60))
    assert as_sundays(kept) == kept, "they say themselves what they do on holidays, or hold on all days"


def test_weeks_to_look_at_are_this_one_and_those_that_differ() -> None:
    made = plan(rate("0.3", from_day=date(2027, 4, 1), to_day=date(2027, 10, 1)), rate("0.5", holidays=True))
    assert weeks(made, MONDAY) == [MONDAY, date(2027, 4, 1), date(2027, 10, 1)]
    holiday = PricePlan(id="p", currency="EUR", holidays=(date(2027, 12, 24),), energy=made.energy)
    assert weeks(holiday, MONDAY)[-1] == date(2027, 12, 24)


def day(number: int) -> date:
    """Return a Monday, later by this many weeks."""
    return MONDAY + timedelta(weeks=number)


@pytest.mark.parametrize(
    ("seasons", "holidays", "shown"),
    [
        ([], [], [day(0)]),
        ([day(-2)], [day(-1)], [day(0)]),
        ([day(2)], [day(9), day(5), day(0)], [day(0), day(2), day(5)]),
        ([day(2), day(2) + timedelta(days=3)], [], [day(0), day(2)]),
        ([day(each) for each in range(8)], [], [day(each) for each in range(8)]),
        ([day(each) for each in range(1, 12)], [day(20)], [day(each) for each in range(8)]),
    ],
    ids=["none", "past", "next-holiday", "same-week", "eight", "eight-at-most"],
)
def test_a_week_is_shown_for_each_season_to_come_and_the_next_holiday(
    seasons: list[date], holidays: list[date], shown: list[date]
) -> None:
    rates = [rate("0.3", from_day=each) for each in seasons]
    made = plan(*rates, rate("0.5", holidays=True), holidays=tuple(holidays))
    assert weeks(made, MONDAY) == shown
    regardless = plan(*rates, rate("0.5"), holidays=tuple(holidays))
    assert weeks(regardless, MONDAY) == [each for each in shown if each == MONDAY or each not in holidays], (
        "no price differs then"
    )


BY_CLOCK = {
    "from_minute": 60, "to_minute": 60, "weekdays": (1,), "holidays": False, "from_day": MONDAY, "to_day": MONDAY,
}  # fmt: skip
BERLIN = "Europe/Berlin"
TURKEY = date(2016, 3, 27)
"""From that morning on it has had the time of Riyadh."""


@together("name", sorted(BY_CLOCK))
def test_a_plan_by_the_clock_means_the_same_only_where_clocks_are_alike(name: str) -> None:
    """Else a partner publishes prices for hours at which others are charged."""
    made = msgspec.structs.replace(plan(rate("0.2", **{name: BY_CLOCK[name]}), rate("0.3")), zone=BERLIN)
    assert by_clock(made)
    today = (MONDAY - date(1970, 1, 1)).days
    alike = [zone for zone in (BERLIN, "Europe/Paris", "Europe/London", "UTC") if has_clock_of(made, zone, today)]
    assert alike == [BERLIN, "Europe/Paris"]


@pytest.mark.parametrize(("day", "alike"), [(TURKEY - timedelta(days=1), False), (TURKEY, True)])
def test_clocks_are_compared_from_today_on(day: date, alike: bool) -> None:
    made = msgspec.structs.replace(plan(NIGHT), zone="Europe/Istanbul")
    assert has_clock_of(made, "Asia/Riyadh", (day - date(1970, 1, 1)).days) is alike


def test_a_plan_by_use_means_the_same_everywhere() -> None:
    made = plan(rate("0.3", min_power_w=1), rate("0.4"))
    assert not by_clock(made)
    assert has_clock_of(made, "Asia/Tokyo", 0)
    assert has_clock_of(plan(NIGHT), "UTC", 0), "its own zone"


def test_prices_of_drivers_have_taxes_and_change_by_the_clock() -> None:
    made = plan(NIGHT, rate("0.42"), taxes=(Tax(kind="VAT", ppm=190_000),))
    evening = datetime(2027, 1, 4, 21, 30, tzinfo=UTC)
    assert (offered(made, evening).energy, offered(made, evening).export) == ("0.4998", None)
    assert [(at, prices.energy) for at, prices in changes(made, evening)] == [(1320, "0.3451")]
    assert offered(plan(NIGHT), evening).energy is None, "no rate holds: free"


@together(
    ("hour", "minute", "later"),
    [
        (0, 0, [(75, "0.50"), (105, None), (1335, "0.20")]),
        (1, 15, [(105, None), (1335, "0.20")]),
        (1, 30, [(105, None), (1335, "0.20")]),
        (1, 45, [(1335, "0.20")]),
        (22, 0, [(1335, "0.20")]),
        (22, 15, []),
    ],
)
def test_a_driver_is_told_the_prices_that_are_still_to_come_today(
    hour: int, minute: int, later: list[tuple[int, str | None]]
) -> None:
    """Also one that returns to what it is now."""
    made = plan(rate("0.5", from_minute=75, to_minute=105, weekdays=(0,)), rate("0.2", from_minute=1335, to_minute=75))
    moment = datetime(2027, 1, 4, hour, minute, tzinfo=UTC)
    assert [(at, prices.energy) for at, prices in changes(made, moment)] == later
    back = plan(rate("0.5", from_minute=75, to_minute=105), rate("0.2"))
    assert [at for at, _ in changes(back, moment)] == [each for each in (75, 105) if each > hour * 60 + minute]


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
