"""When a rate applies, field by field, and where clock and calendar may change it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Use, When

MONDAY = datetime(2026, 3, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def plan(*whens: When, zone: str = "UTC") -> PricePlan:
    rates = tuple(Rate(price="0.000001", when=when) for when in whens)
    return PricePlan(id="p", currency="EUR", zone=zone, idle_time=Charge(rates=rates))


@together(
    ("first", "end"),
    [(None, None), (None, 600), (600, None), (600, 601), (600, 1200), (1200, 600), (600, 0), (0, 600), (600, 600)],
)
def test_a_rate_holds_from_its_first_minute_to_the_one_before_its_end(first: int | None, end: int | None) -> None:
    """Walking from the one clock time to the other: over midnight where it has to, all day where both are the same."""
    begin = first or 0
    length = ((end or 0) - begin - 1) % 1440 + 1
    holds = {(begin + minute) % 1440 for minute in range(length)}
    when = When(from_minute=first, to_minute=end)
    clocks = [datetime(2026, 3, 30, tzinfo=UTC) + minute * MINUTE for minute in range(1440)]
    assert {minute for minute, clock in enumerate(clocks) if when.on_clock(clock, frozenset())} == holds


@together(
    ("when", "on"),
    [
        (When(weekdays=(0, 6)), {"29", "30"}),
        (When(from_day=date(2026, 3, 30)), {"30", "31"}),
        (When(to_day=date(2026, 3, 30)), {"28", "29"}),
        (When(from_day=date(2026, 3, 29), to_day=date(2026, 3, 31)), {"29", "30"}),
        (When(holidays=True), {"29"}),
        (When(holidays=False), {"28", "30", "31"}),
        (When(weekdays=(0, 6), holidays=False), {"30"}),
    ],
)
def test_the_calendar_decides_by_the_day(when: When, on: set[str]) -> None:
    """Saturday to Tuesday, of which the Sunday is a holiday; the first day counts, the last does not."""
    days = [MONDAY + timedelta(days=shift) for shift in (-2, -1, 0, 1)]
    assert {f"{day:%d}" for day in days if when.on_clock(day, frozenset({date(2026, 3, 29)}))} == on
    midnights = {int(day.replace(hour=0).timestamp() * 1000) for day in days}
    start, end = min(midnights) - 1, max(midnights) + 1
    assert plan(When(max_idle_s=5), when).clock_cuts(start, end, UTC) == midnights
    assert plan(When(max_idle_s=5)).clock_cuts(start, end, UTC) == set()
    assert plan(when).clock_cuts(start + 1, end - 1, UTC) == midnights - {start + 1, end - 1}
    assert plan(When(from_minute=720)).clock_cuts(start + 1, start + 1 + 43_200_000, UTC) == set()  # noon is its end


@together(
    ("bound", "used", "scale"),
    [
        ("energy_wh", "energy_mwh", 1000),
        ("power_w", "power_w", 1),
        ("current_a", "current_a", 1),
        ("time_s", "time_ms", 1000),
        ("charging_s", "charging_ms", 1000),
        ("idle_s", "idle_ms", 1000),
    ],
)
def test_use_counts_from_the_least_and_below_the_most(bound: str, used: str, scale: int) -> None:
    """Each quantity has bounds of its own, and a transaction begins with nothing of it."""
    least, below = When(**{f"min_{bound}": 7}), When(**{f"max_{bound}": 7})
    for value, enough in ((7 * scale - 1, False), (7 * scale, True)):
        use = Use(**{used: value})
        assert (least.in_use(use), below.in_use(use)) == (enough, not enough)
    assert getattr(Use(), used) == 0


@pytest.mark.parametrize(
    ("field", "wanted", "other"),
    [("evse_kind", "DC", "AC"), ("payment_brand", "VISA", "AMEX"), ("payment_recognition", "CC", "RFID")],
)
def test_a_rate_for_one_kind_is_for_no_other(field: str, wanted: Any, other: Any) -> None:
    when = When(**{field: wanted})
    assert [when.in_use(Use(**{field: each})) for each in (wanted, other, None)] == [True, False, False]
    assert When().in_use(Use(**{field: other}))


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/Havana", "America/Santiago", "Australia/Lord_Howe", "UTC"]),
    day=st.sampled_from([date(2026, 3, 7), date(2026, 3, 28), date(2026, 4, 4), date(2026, 9, 5), date(2026, 10, 24)]),
    start=st.integers(0, 1440),
    length=st.integers(1, 3 * 1440),
    clocks=st.lists(st.sampled_from([None, 0, 30, 90, 120, 150, 1439]), min_size=2, max_size=2),
    weekdays=st.sampled_from([(), (0, 1, 2)]),
)
def test_cuts_are_the_clock_times_the_midnights_and_the_jumps_of_the_clock(
    zone: str, day: date, start: int, length: int, clocks: list[int | None], weekdays: tuple[int, ...]
) -> None:
    """Against looking at the clock every minute, around summer time of four countries: one jumps at midnight."""
    when = When(from_minute=clocks[0], to_minute=clocks[1], weekdays=weekdays)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) + start * MINUTE
    expected = set()
    for number in range(1, length) if weekdays or clocks != [None, None] else ():
        now, before = ((begin + count * MINUTE).astimezone(ZoneInfo(zone)) for count in (number, number - 1))
        if now.hour * 60 + now.minute in {0, *clocks} or now.utcoffset() != before.utcoffset():
            expected.add(int(now.timestamp() * 1000))
    first = int(begin.timestamp() * 1000)
    assert plan(when).clock_cuts(first, first + length * 60_000, ZoneInfo(zone)) == expected


def test_the_first_rate_that_applies_counts() -> None:
    found = plan(When(min_idle_s=60), When(from_minute=700), When())
    assert found.rate("idle_time", MONDAY, Use(idle_ms=60_000)) == 0
    assert found.rate("idle_time", MONDAY, Use()) == 1
    assert found.rate("idle_time", MONDAY.replace(hour=3), Use()) == 2
    assert plan(When(min_idle_s=60)).rate("idle_time", MONDAY, Use()) is None
    assert found.rate("energy", MONDAY, Use()) is None


def test_a_plan_says_no_more_than_it_has_to() -> None:
    """Clock times are UTC and taxes the first of their stack, where nothing else is said."""
    text = b'{"id":"p","currency":"EUR","energy":{"rates":[{"price":"0.01"}],"taxes":[{"kind":"vat","ppm":1}]}}'
    found = msgspec.json.decode(text, type=PricePlan)
    assert (found.zone, found.description, found.energy.taxes[0].stack) == ("UTC", "", 0)  # type: ignore[union-attr]
    assert msgspec.json.encode(found) == text


def test_a_price_is_that_of_the_first_rate_that_applies() -> None:
    rates = (Rate(price="0.40", when=When(min_power_w=11)), Rate(price="0.30", when=When(min_time_s=5)))
    found = PricePlan(id="p", currency="EUR", energy=Charge(rates=rates))
    for use, price in (
        (Use(power_w=11, time_ms=5000), 400_000),
        (Use(power_w=10, time_ms=5000), 300_000),
        (Use(), None),
    ):
        assert found.price("energy", MONDAY, use) == price
    assert found.price("export", MONDAY, Use(power_w=11)) is None


def test_prices_are_exact_in_micro_units() -> None:
    assert (Rate(price="0.35").micro, Rate(price="-0.000001").micro) == (350_000, -1)
    bound = Bound(excl_tax="1.5", incl_tax="80")
    assert (bound.excl_micro, bound.incl_micro) == (1_500_000, 80_000_000)
    assert (Bound().excl_micro, Bound().incl_micro) == (None, None)
    for price in ("", "1e3", "0.0000001", "NaN", "+1", "1,5", " 1", "12345678901234"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"price": price}, Rate)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"incl_tax": "-1"}, Bound)
