"""What a transaction costs: against the standard's own examples, and against counting second by second."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import (
    Bill,
    Period,
    Tally,
    bill,
    energy_prices,
    extend,
    open_tally,
    total,
    with_taxes,
)
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.units import decimals_of

BERLIN = "Europe/Berlin"
HOUR = 3_600_000


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def rates(*pairs: tuple[int, When], taxes: tuple[Tax, ...] = ()) -> Charge:
    return Charge(rates=tuple(Rate(price=decimals_of(price), when=when) for price, when in pairs), taxes=taxes)


def plan(**more: object) -> PricePlan:
    return PricePlan(id="p", currency="EUR", **more)  # type: ignore[arg-type]


def cost(found: PricePlan, usage: Usage, *, ended: bool = True) -> Bill:
    return bill([(usage.start_ms, found)], usage, ended=ended)


def steady(start: int, hours: float, kwh: float, *, exported: float = 0) -> Usage:
    """A transaction that charges all the time, evenly."""
    end = start + int(hours * HOUR)
    readings = (Registers(start, 5_000, 7_000), Registers(end, 5_000 + int(kwh * 1e6), 7_000 + int(exported * 1e6)))
    return Usage(start_ms=start, end_ms=end, readings=readings, charging=((start, True),))


def test_tariff_10_of_the_standard_costs_what_the_standard_says() -> None:
    federal, state = Tax(kind="federal", ppm=60_000), Tax(kind="state", ppm=40_000)
    found = plan(energy=rates((250_000, When()), taxes=(federal, state)))
    result = cost(found, steady(at("2023-04-05T14:01:02"), 1, 10))
    assert (result.excl_tax, result.incl_tax) == (2_500_000, 2_750_000)
    assert len(result.periods) == 1


def test_tariff_11_of_the_standard_is_cut_by_the_clock() -> None:
    vat = (Tax(kind="vat", ppm=100_000),)
    found = plan(energy=rates((400_000, When(from_minute=480, to_minute=1080)), (250_000, When()), taxes=vat))
    start = at("2023-04-05T17:24:00")
    result = cost(found, steady(start, 1, 10))  # six tenths before 18:00
    assert [(line.price, line.quantity) for line in result.lines] == [(400_000, 6_000_000), (250_000, 4_000_000)]
    assert (result.excl_tax, result.incl_tax) == (3_400_000, 3_740_000)
    assert [period.start_ms for period in result.periods] == [start, at("2023-04-05T18:00:00")]


def test_tariff_12_of_the_standard_adds_a_fee_time_by_power_and_idle_time() -> None:
    weekday = When(from_minute=540, to_minute=1080, min_idle_s=300, weekdays=(0, 1, 2, 3, 4))
    found = plan(
        fixed=rates(
            (3_000_000, When(payment_recognition="CC")), (2_500_000, When()), taxes=(Tax(kind="vat", ppm=150_000),)
        ),
        charging_time=rates((1_000_000, When(max_power_w=11_000)), (2_000_000, When(min_power_w=11_000))),
        idle_time=rates((1_000_000, weekday)),
    )
    start = at("2023-04-05T14:00:00")
    readings = (
        Registers(start, 0, 0),
        Registers(start + HOUR, 10_500_000, 0),
        Registers(start + 3 * HOUR // 2, 21_500_000, 0),
        Registers(start + 2 * HOUR, 21_500_000, 0),
    )
    usage = Usage(
        start_ms=start,
        end_ms=start + 2 * HOUR,
        readings=readings,
        charging=((start, True), (start + 3 * HOUR // 2, False)),
    )
    result = cost(found, usage)
    amounts = {(line.kind, line.price): line.excl_tax for line in result.lines}
    assert amounts == {
        ("fixed", 2_500_000): 2_500_000,
        ("charging_time", 1_000_000): 60_000_000,
        ("charging_time", 2_000_000): 60_000_000,
        ("idle_time", 1_000_000): 25_000_000,
    }
    card = msgspec.structs.replace(usage, payment_recognition="CC")
    assert cost(found, card).lines[0].excl_tax == 3_000_000
    assert result.lines[0].incl_tax == 2_875_000  # the standard's own figure


def test_energy_blocks_are_split_at_their_very_bound() -> None:
    found = plan(energy=rates((100_000, When(max_energy_wh=3_000)), (300_000, When(min_energy_wh=3_000))))
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1, 10))
    assert [(line.price, line.quantity) for line in result.lines] == [(100_000, 3_000_000), (300_000, 7_000_000)]


def test_energy_fed_back_has_its_own_price() -> None:
    found = plan(energy=rates((300_000, When())), export=rates((200_000, When())))
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1, 4, exported=10))
    assert {line.kind: line.excl_tax for line in result.lines} == {"energy": 1_200_000, "export": -2_000_000}
    assert result.excl_tax == -800_000


@pytest.mark.requirement("R34")
def test_the_hour_that_comes_twice_is_priced_by_its_clock_time_both_times() -> None:
    found = plan(zone=BERLIN, charging_time=rates((1_000_000, When(from_minute=120, to_minute=180))))
    start = at("2026-10-25T00:00:00", BERLIN)
    usage = Usage(start_ms=start, end_ms=start + 6 * HOUR, charging=((start, True),))
    assert cost(found, usage).charging_ms == 6 * HOUR
    assert sum(line.quantity for line in cost(found, usage).lines) == 2 * HOUR  # 02:00 to 03:00, twice
    spring = at("2026-03-29T00:00:00", BERLIN)
    usage = Usage(start_ms=spring, end_ms=spring + 6 * HOUR, charging=((spring, True),))
    assert cost(found, usage).lines == ()  # that hour does not exist


def test_holidays_have_prices_of_their_own() -> None:
    found = plan(
        zone=BERLIN,
        holidays=(date(2026, 12, 25),),
        energy=rates((100_000, When(holidays=True)), (400_000, When())),
    )
    start = at("2026-12-24T22:00:00", BERLIN)
    assert [line.quantity for line in cost(found, steady(start, 4, 4)).lines] == [2_000_000, 2_000_000]


def test_a_new_plan_holds_from_then_on_and_never_back() -> None:
    usage = steady(at("2030-01-01T00:00:00"), 2, 8)
    old, new = plan(energy=rates((100_000, When()))), PricePlan(id="q", currency="EUR", energy=rates((500_000, When())))
    result = bill([(usage.start_ms, old), (usage.start_ms + HOUR, new)], usage, ended=True)
    assert [(line.plan_id, line.excl_tax) for line in result.lines] == [("p", 400_000), ("q", 2_000_000)]
    with pytest.raises(ValueError, match="one currency"):
        bill([(0, old), (1, msgspec.structs.replace(new, currency="USD"))], usage, ended=True)


def test_what_was_before_the_first_plan_is_free() -> None:
    usage = steady(at("2030-01-01T00:00:00"), 2, 8)
    late = plan(energy=rates((500_000, When())), fixed=rates((1_000_000, When())))
    result = bill([(usage.start_ms + HOUR, late)], usage, ended=True)
    assert [(line.kind, line.quantity) for line in result.lines] == [("energy", 4_000_000)]
    assert [(period.plan_id, period.energy_mwh) for period in result.periods] == [("", 4_000_000), ("p", 4_000_000)]


def test_the_least_cost_is_asked_for_at_the_end_and_the_greatest_at_once() -> None:
    usage = steady(at("2030-01-01T00:00:00"), 1, 10)
    least = plan(energy=rates((100_000, When())), least=Bound(excl_tax="2"))
    assert (cost(least, usage, ended=False).kind, cost(least, usage, ended=False).excl_tax) == ("NormalCost", 1_000_000)
    assert (cost(least, usage).kind, cost(least, usage).excl_tax) == ("MinCost", 2_000_000)
    vat = (Tax(kind="vat", ppm=200_000),)
    greatest = plan(energy=rates((100_000, When()), taxes=vat), greatest=Bound(excl_tax="0.5"))
    capped = cost(greatest, usage, ended=False)
    assert (capped.kind, capped.excl_tax, capped.incl_tax) == ("MaxCost", 500_000, 600_000)
    assert sum(line.incl_tax for line in capped.lines) == 600_000  # the parts are frozen with the total
    assert capped.energy_mwh == 10_000_000  # use counts on (I12.FR.40)


def test_the_greatest_cost_freezes_what_was_reached_then() -> None:
    vat = (Tax(kind="vat", ppm=190_000),)
    found = plan(
        fixed=rates((3_000_000, When()), taxes=vat),
        energy=rates((400_000, When()), taxes=vat),
        idle_time=rates((100_000, When())),
        greatest=Bound(incl_tax="5"),
    )
    start = at("2030-01-01T00:00:00")
    result = cost(found, steady(start, 2, 40))
    assert (result.kind, result.incl_tax) == ("MaxCost", 5_000_000)
    assert {line.kind: line.incl_tax for line in result.lines} == {"fixed": 3_570_000, "energy": 1_430_000}
    assert result.excl_tax == 4_201_681  # 5 / 1.19
    tiny = msgspec.structs.replace(found, greatest=Bound(excl_tax="1"))
    assert [(line.kind, line.excl_tax) for line in cost(tiny, steady(start, 2, 40)).lines] == [("fixed", 1_000_000)]


def test_a_least_cost_keeps_the_share_of_taxes() -> None:
    vat = (Tax(kind="vat", ppm=200_000),)
    found = plan(energy=rates((100_000, When()), taxes=vat), least=Bound(incl_tax="6"))
    start = at("2030-01-01T00:00:00")
    assert (cost(found, steady(start, 1, 1)).excl_tax, cost(found, steady(start, 1, 1)).incl_tax) == (
        5_000_000,
        6_000_000,
    )
    without = msgspec.structs.replace(found, least=Bound(excl_tax="5"))
    assert cost(without, steady(start, 1, 0)).incl_tax == 6_000_000  # the plan says which taxes
    assert cost(found, steady(start, 1, 0)).excl_tax == 5_000_000
    mixed = msgspec.structs.replace(without, fixed=rates((0, When())))
    assert cost(mixed, steady(start, 1, 0)).incl_tax == 5_000_000  # nothing says which
    assert cost(without, steady(start, 1, 1)).incl_tax == 6_000_000


def test_charging_and_pausing_by_one_price_is_one_period() -> None:
    start = at("2030-01-01T00:00:00")
    usage = msgspec.structs.replace(
        steady(start, 2, 10), charging=((start, True), (start + HOUR, False), (start + HOUR + 60_000, True))
    )
    assert len(cost(plan(energy=rates((250_000, When()))), usage).periods) == 1


@pytest.mark.parametrize(
    ("more", "hours"),
    [
        ({"charging_time": rates((1, When())), "idle_time": rates((1, When()))}, [0]),
        ({"energy": rates((1, When(min_energy_wh=6_000)), (1, When()))}, [0, 1, 3, 4]),
        ({"energy": rates((1, When()), (1, When(max_power_w=2_000)))}, [0, 1, 2, 3, 4]),
        ({"energy": rates((1, When()), (1, When(max_current_a=10)))}, [0, 1, 2, 3]),
        ({"energy": rates((1, When()), (1, When(min_time_s=60)))}, [0]),
    ],
)
def test_a_period_ends_where_another_one_would_be_priced_otherwise(more: dict[str, Charge], hours: list[int]) -> None:
    """Else nobody could calculate the cost again from periods (I12.FR.35)."""
    start = at("2030-01-01T00:00:00")
    at_hour = ((0, 0), (1, 2), (2, 3), (3, 5), (4, 6), (5, 9))
    usage = Usage(
        start_ms=start,
        end_ms=start + 5 * HOUR,
        readings=tuple(Registers(start + hour * HOUR, kwh * 1_000_000, 0) for hour, kwh in at_hour),
        charging=((start, True), (start + HOUR, False), (start + 3 * HOUR, True)),
        currents=((start, 16), (start + 2 * HOUR, 9), (start + 3 * HOUR, 10)),
    )
    found = cost(plan(**{"energy": rates((1, When())), **more}), usage).periods
    assert [(each.start_ms - start) // HOUR for each in found] == hours


def test_a_reservation_is_paid_by_fee_and_by_time() -> None:
    start = at("2030-01-01T12:00:00")
    found = plan(reservation_fixed=rates((500_000, When())), reservation_time=rates((20_000, When())))
    usage = msgspec.structs.replace(steady(start, 1, 1), reserved_ms=start - 30 * 60_000)
    assert {line.kind: line.excl_tax for line in cost(found, usage).lines} == {
        "reservation_fixed": 500_000,
        "reservation_time": 600_000,
    }


def test_a_period_says_how_much_power_and_current_flowed_in_it() -> None:
    """One while rates stay the same; energy that came at no time says nothing of power."""
    start = at("2030-01-01T00:00:00")
    at_hour = [(0, 0), (1, 4), (1, 5), (2, 7), (3, 15), (4, 21), (5, 21)]
    usage = Usage(
        start_ms=start,
        end_ms=start + 5 * HOUR,
        readings=tuple(Registers(start + hour * HOUR, kwh * 1_000_000, 0) for hour, kwh in at_hour),
        charging=((start, True), (start + 4 * HOUR, False)),
        currents=((start, 10), (start + HOUR, 5), (start + 2 * HOUR, 30), (start + 3 * HOUR, 16)),
    )
    found = plan(energy=rates((100_000, When(max_time_s=3 * 3600)), (200_000, When())))
    result = cost(found, usage)
    assert [
        (
            (each.start_ms - start) // HOUR,
            each.energy_mwh // 1_000_000,
            (each.charging_ms // HOUR, each.idle_ms // HOUR),
            (each.min_power_w, each.max_power_w),
            (each.min_current_a, each.max_current_a),
        )
        for each in result.periods
    ] == [(0, 15, (3, 0), (2_000, 8_000), (5, 30)), (3, 6, (1, 1), (0, 6_000), (16, 16))]
    assert (result.energy_mwh, result.charging_ms, result.idle_ms) == (21_000_000, 4 * HOUR, HOUR)


@pytest.mark.parametrize(
    ("changes", "least"),
    [(((0, 10), (60_000, 2)), 10), (((0, 10), (59_999, 2)), 2), (((0, 10), (20_000, 2), (30_000, 20)), 2)],
)
@pytest.mark.parametrize("charging", [False, True])
def test_the_least_current_of_a_period_lasted_a_ms_at_least(
    changes: tuple[tuple[int, int], ...], least: int, charging: bool
) -> None:
    """One that came with the very end is of no time in it, though a last reading may have come then."""
    start = at("2030-01-01T00:00:00")
    readings = (Registers(start, 0, 0), Registers(start + 60_000, 5, 0), Registers(start + 60_000, 6, 0))
    usage = Usage(
        start_ms=start,
        end_ms=start + 60_000,
        readings=readings,
        charging=((start, charging),),
        currents=tuple((start + ms, current) for ms, current in changes),
    )
    (period,) = cost(plan(energy=rates((1, When()))), usage).periods
    assert (period.min_current_a, period.max_current_a) == (least, max(current for _, current in changes))


def test_of_three_lines_that_grow_the_last_one_takes_what_rounding_leaves() -> None:
    """Two, one back and three a minute; at half of it 1, 0 (half to even) and 2 are one too many."""
    found = plan(
        energy=rates((2, When())),
        export=rates((1, When())),
        charging_time=rates((3, When())),
        greatest=Bound(excl_tax="0.000002"),
    )
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1 / 60, 1, exported=1))
    assert [(line.kind, line.excl_tax) for line in result.lines] == [("energy", 1), ("export", 0), ("charging_time", 1)]


def test_periods_have_an_end_and_costs_do_not_depend_on_it() -> None:
    """The last one grows."""
    usage = steady(at("2030-01-01T00:00:00"), 4, 8, exported=4)
    found = plan(energy=rates(*((n * 1000, When(max_time_s=n * 3600)) for n in (1, 2, 3, 4))))
    plans = [(usage.start_ms, found)]
    whole, short = (
        total(extend(open_tally(plans, usage, fees=True), plans, usage, most_periods=most), plans, ended=True)
        for most in (None, 2)
    )
    assert [each.energy_mwh for each in whole.periods] == [2_000_000] * 4
    assert [each.energy_mwh for each in short.periods] == [2_000_000, 6_000_000]
    assert [each.export_mwh for each in short.periods] == [1_000_000, 3_000_000]
    assert msgspec.structs.replace(short, periods=whole.periods) == whole
    assert (short.energy_mwh, short.export_mwh) == (8_000_000, 4_000_000)


@together(
    ("least", "kind", "excl", "incl"),
    [
        (Bound(excl_tax="1"), "NormalCost", 1_000_000, 1_200_000),
        (Bound(incl_tax="1.2"), "NormalCost", 1_000_000, 1_200_000),
        (Bound(excl_tax="1.000001"), "MinCost", 1_000_001, 1_200_001),
        (Bound(incl_tax="1.200001"), "MinCost", 1_000_001, 1_200_001),
        (Bound(excl_tax="2", incl_tax="1"), "MinCost", 2_000_000, 1_200_000),
        (Bound(excl_tax="0.5", incl_tax="3"), "MinCost", 1_000_000, 3_000_000),
        (Bound(excl_tax="2", incl_tax="3"), "MinCost", 2_000_000, 3_000_000),
        (Bound(), "NormalCost", 1_000_000, 1_200_000),
    ],
)
def test_each_total_is_raised_to_its_own_least(least: Bound, kind: str, excl: int, incl: int) -> None:
    """To the micro-unit; where one bound only is known the other total keeps its share of taxes."""
    found = plan(energy=rates((100_000, When()), taxes=(Tax(kind="vat", ppm=200_000),)), least=least)
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1, 10))
    assert (result.kind, result.excl_tax, result.incl_tax) == (kind, excl, incl)


def test_nothing_costs_nothing_until_a_least_is_due() -> None:
    """Without any line nothing says which taxes."""
    usage = steady(at("2030-01-01T00:00:00"), 1, 0)
    for least in (
        Bound(excl_tax="0.000005"),
        Bound(incl_tax="0.000005"),
        Bound(excl_tax="0.000005", incl_tax="0.000005"),
    ):
        result = cost(plan(least=least), usage)
        assert (result.kind, result.excl_tax, result.incl_tax, result.lines) == ("MinCost", 5, 5, ())
    fed_back = plan(export=rates((100_000, When())), least=Bound(excl_tax="0"))
    assert cost(fed_back, steady(usage.start_ms, 1, 0, exported=1)).excl_tax == 0
    with pytest.raises(ValueError, match="one currency, not 0"):
        bill([], usage, ended=True)


@pytest.mark.requirement("R34")
def test_prices_of_energy_change_by_clock_and_duration() -> None:
    found = plan(
        zone=BERLIN,
        energy=rates((250_000, When(from_minute=1320, to_minute=360)), (400_000, When())),
        export=rates((80_000, When(max_time_s=1800))),
    )
    start = at("2026-06-01T21:45:00", BERLIN)
    night = at("2026-06-01T22:00:00", BERLIN)
    prices = [(start, 400_000, 80_000), (night, 250_000, 80_000), (start + HOUR // 2, 250_000, 0)]
    usage = steady(start, 1, 10)
    for readings in (usage.readings, usage.readings[:1], ()):
        assert energy_prices([(start, found)], msgspec.structs.replace(usage, readings=readings)) == prices
    assert energy_prices([(0, plan(idle_time=rates((1, When()))))], steady(start, 1, 10)) == [(start, 0, 0)]
    with pytest.raises(ValueError, match="one currency, not 0"):
        energy_prices([], steady(start, 1, 10))


@pytest.mark.requirement("R34")
def test_prices_of_energy_change_by_power_between_readings_and_by_plan() -> None:
    """The first plan applies five minutes after the start, the second five before the end."""
    start, minute = at("2026-06-01T12:00:00"), 60_000
    first = plan(energy=rates((600_000, When(min_power_w=11_000)), (300_000, When())))
    plans = [(start + 5 * minute, first), (start + 25 * minute, plan(energy=rates((100_000, When()))))]
    kwh = (0, 1, 3, 4)  # 6, 12 and 6 kW
    readings = tuple(Registers(start + 10 * minute * at, each * 1_000_000, 0) for at, each in enumerate(kwh))
    found = energy_prices(plans, Usage(start_ms=start, end_ms=start + 30 * minute, readings=readings))
    assert [((since - start) // minute, price) for since, price, _ in found] == [
        (5, 300_000),
        (10, 600_000),
        (20, 300_000),
        (25, 100_000),
    ]


@pytest.mark.requirement("R34")
@pytest.mark.parametrize(
    "energy",
    [
        rates((600_000, When(min_power_w=11_000)), (300_000, When())),
        rates((300_000, When(max_power_w=11_000)), (600_000, When())),
    ],
)
def test_a_price_by_power_holds_on_after_the_last_reading(energy: Charge) -> None:
    """Nothing is known of the power since; without any reading there was none."""
    start, minute = at("2026-06-01T12:00:00"), 60_000
    readings = tuple(Registers(start + 10 * minute * at, kwh * 1_000_000, 0) for at, kwh in enumerate((0, 1, 3)))
    usage = Usage(start_ms=start, end_ms=start + HOUR, readings=readings)
    prices = [(start, 300_000, 0), (start + 10 * minute, 600_000, 0)]
    assert energy_prices([(start, plan(energy=energy))], usage) == prices
    assert energy_prices([(start, plan(energy=energy))], msgspec.structs.replace(usage, readings=())) == prices[:1]


def test_a_price_of_no_time_is_left_out() -> None:
    """Two readings of one moment pass a range of energy with a price of its own."""
    start = at("2026-06-01T12:00:00")
    found = plan(energy=rates((500_000, When(min_energy_wh=1500, max_energy_wh=2500)), (200_000, When())))
    readings = tuple(
        Registers(start + hour * HOUR, kwh * 1_000_000, 0) for hour, kwh in ((0, 0), (1, 1), (1, 3), (2, 4))
    )
    usage = Usage(start_ms=start, end_ms=start + 2 * HOUR, readings=readings)
    assert energy_prices([(start, found)], usage) == [(start, 200_000, 0)]


def test_fees_are_asked_for_once_by_the_first_plan_alone() -> None:
    """From its beginning on, not a ms later; a reservation that ends late took no time before."""
    start = at("2030-01-01T12:00:00")
    found = plan(
        fixed=rates((7, When())), reservation_fixed=rates((5, When())), reservation_time=rates((60_000, When()))
    )
    usage = msgspec.structs.replace(steady(start, 1, 1), reserved_ms=start - 1_000)
    amounts = {"fixed": 7, "reservation_fixed": 5, "reservation_time": 1_000}
    for since, expected in ((start - 1, amounts), (start, amounts), (start + 1, {})):
        result = bill([(since, found), (start + 2, msgspec.structs.replace(found, id="q"))], usage, ended=True)
        assert {line.kind: line.excl_tax for line in result.lines} == expected
        assert result.reserved_ms == 1_000
    late = msgspec.structs.replace(usage, reserved_ms=start + 1_000)
    assert {line.kind: line.excl_tax for line in cost(found, late).lines} == {"fixed": 7, "reservation_fixed": 5}
    assert cost(found, steady(start, 1, 1)).reserved_ms == 0


@pytest.mark.parametrize(
    ("greatest", "excl", "incl"),
    [
        (Bound(excl_tax="5", incl_tax="9"), 5_000_000, 6_000_000),
        (Bound(excl_tax="5", incl_tax="5.5"), 4_583_333, 5_500_000),
        (Bound(excl_tax="10", incl_tax="12.000001"), 10_000_000, 12_000_000),
        (Bound(excl_tax="10.000001", incl_tax="12"), 10_000_000, 12_000_000),
    ],
)
def test_of_two_greatest_costs_the_one_that_is_reached_first_counts(greatest: Bound, excl: int, incl: int) -> None:
    """I12.FR.39; to reach a bound exactly is to reach it."""
    found = plan(energy=rates((1_000_000, When()), taxes=(Tax(kind="vat", ppm=200_000),)), greatest=greatest)
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1, 10))
    assert (result.kind, result.excl_tax, result.incl_tax) == ("MaxCost", excl, incl)
    (line,) = result.lines
    assert (line.excl_tax, line.incl_tax) == (excl, incl)
    assert abs(line.quantity - excl) <= 1  # a micro-unit is a mWh here


def in_turns(start: int, *charging: bool) -> Usage:
    """A minute and a kWh for each time that it charges, a minute for each pause."""
    readings, states = [Registers(start, 0, 0)], []
    for number, flows in enumerate(charging):
        last = readings[-1]
        states.append((last.utc_ms, flows))
        readings.append(Registers(start + (number + 1) * 60_000, last.import_mwh + (1_000_000 if flows else 0), 0))
    return Usage(start_ms=start, end_ms=readings[-1].utc_ms, readings=tuple(readings), charging=tuple(states))


@pytest.mark.parametrize(
    ("charging", "greatest", "amounts"),
    [
        ((True,), 1, {"energy": 0, "charging_time": 1}),
        ((True, False, True), 4, {"energy": 1, "charging_time": 2, "idle_time": 1}),
        ((True, False, True, True), 5, {"energy": 2, "charging_time": 2, "idle_time": 1}),
        ((False, True, True), 2, {"idle_time": 1, "energy": 0, "charging_time": 1}),
        ((False, True, True), 3, {"idle_time": 1, "energy": 1, "charging_time": 1}),
    ],
)
def test_the_last_micro_unit_falls_on_the_line_that_grew_last(
    charging: tuple[bool, ...], greatest: int, amounts: dict[str, int]
) -> None:
    """Each kWh and each minute costs one; halves are rounded to even, so that one is missing."""
    one = rates((1, When()))
    found = plan(energy=one, charging_time=one, idle_time=one, greatest=Bound(excl_tax=decimals_of(greatest)))
    result = cost(found, in_turns(at("2030-01-01T00:00:00"), *charging))
    assert [(line.kind, line.excl_tax) for line in result.lines] == list(amounts.items())
    assert (result.kind, result.excl_tax) == ("MaxCost", greatest)


@pytest.mark.parametrize("price", [0, 1_000_000])
def test_a_plan_with_a_lower_greatest_cost_takes_nothing_back(price: int) -> None:
    """What was more expensive before stays so, whether or not the new plan has a price."""
    start = at("2030-01-01T00:00:00")
    old = plan(energy=rates((1_000_000, When())))
    new = PricePlan(id="q", currency="EUR", energy=rates((price, When())), greatest=Bound(excl_tax="2"))
    result = bill([(start, old), (start + HOUR, new)], steady(start, 2, 10), ended=True)
    assert (result.kind, result.excl_tax) == ("MaxCost", 5_000_000)
    assert [line.quantity for line in result.lines if line.excl_tax] == [5_000_000]
    assert [line.quantity for line in result.lines if line.plan_id == "q"] == [0]


@pytest.mark.parametrize(
    ("greatest", "total_cost", "kind"),
    [
        (None, 7_000_000, "NormalCost"),
        (Bound(excl_tax="9"), 7_000_000, "NormalCost"),
        (Bound(excl_tax="4"), 4_000_000, "MaxCost"),
    ],
)
def test_a_plan_after_one_whose_greatest_cost_was_reached_counts_from_there(
    greatest: Bound | None, total_cost: int, kind: str
) -> None:
    """I11.FR.08: 2 for the first 5 kWh, of which 3 are free; then 1 each kWh."""
    start = at("2030-01-01T00:00:00")
    old = plan(energy=rates((1_000_000, When())), greatest=Bound(excl_tax="2"))
    new = PricePlan(id="q", currency="EUR", energy=rates((1_000_000, When())), greatest=greatest)
    plans, usage = [(start, old), (start + HOUR, new)], steady(start, 2, 10)
    result = bill(plans, usage, ended=True)
    assert (result.kind, result.excl_tax, result.energy_mwh) == (kind, total_cost, 10_000_000)
    assert sum(line.excl_tax for line in result.lines) == total_cost
    assert [line.quantity for line in result.lines if line.plan_id == "p"] == [2_000_000]


def test_a_fee_of_a_micro_unit_can_be_the_greatest_cost() -> None:
    found = plan(fixed=rates((1, When())), energy=rates((1_000, When())), greatest=Bound(excl_tax="0.000001"))
    result = cost(found, steady(at("2030-01-01T00:00:00"), 1, 10))
    assert [(line.kind, line.quantity, line.excl_tax) for line in result.lines] == [("fixed", 1, 1)]


def test_the_least_cost_is_that_of_the_plan_that_holds_last() -> None:
    start = at("2030-01-01T00:00:00")
    low, high = (plan(least=Bound(excl_tax=least)) for least in ("0.000001", "0.000002"))
    assert bill([(start, low), (start + HOUR, high)], steady(start, 2, 1), ended=True).excl_tax == 2


@pytest.mark.parametrize(
    ("import_tax", "export_tax", "prices", "least", "excl", "incl"),
    [
        (1_000_000, 0, (1, 0), Bound(excl_tax="0.000005"), 5, 10),
        (0, 1_000_000, (3, 1), Bound(incl_tax="0.000005"), 10, 5),
        (1_000_000, 0, (10, 10), Bound(excl_tax="0.000005"), 5, 10),
        (0, 1_000_000, (10, 10), Bound(incl_tax="0.000005"), 5, 5),
    ],
)
def test_taxes_of_a_least_cost_follow_what_the_lines_say(
    import_tax: int, export_tax: int, prices: tuple[int, int], least: Bound, excl: int, incl: int
) -> None:
    """A kWh each way: the share of taxes is that of the sums, where those say any."""
    energy, export = (
        rates((price, When()), taxes=(Tax(kind="vat", ppm=ppm),)) if price else None
        for price, ppm in zip(prices, (import_tax, export_tax), strict=True)
    )
    result = cost(plan(energy=energy, export=export, least=least), steady(at("2030-01-01T00:00:00"), 1, 1, exported=1))
    assert (result.excl_tax, result.incl_tax) == (excl, incl)


def test_what_a_store_leaves_out_is_nothing() -> None:
    start = at("2030-01-01T00:00:00")
    empty = total(
        open_tally([(start, plan())], Usage(start_ms=start, end_ms=start), fees=True), [(start, plan())], ended=True
    )
    assert msgspec.json.decode(b'{"currency":"EUR"}', type=Bill) == empty
    numbers = ("excl_tax", "incl_tax", "energy_mwh", "export_mwh", "charging_ms", "idle_ms", "reserved_ms")
    assert [empty.kind, *(getattr(empty, each) for each in numbers)] == ["NormalCost", *[0] * 7]
    period = msgspec.json.decode(b'{"plan_id":"p","start_ms":5}', type=Period)
    assert [getattr(period, each) for each in period.__struct_fields__[2:]] == [0] * 8


def test_taxes_are_laid_upon_taxes() -> None:
    taxes = (Tax(kind="energy", ppm=100_000), Tax(kind="vat", ppm=200_000, stack=1))
    assert with_taxes(1_000_000, taxes) == 1_320_000
    assert with_taxes(1_000_000, (*taxes, Tax(kind="more", ppm=300_000, stack=1))) == 1_650_000
    assert with_taxes(7, ()) == 7


# -- counted second by second, with nothing but the calendar of the standard library

_STEP = 60  # s; prices change at whole minutes only


def _applies(when: When, clock: datetime, spent: dict[str, int], holidays: tuple[date, ...]) -> bool:
    minute, day = clock.hour * 60 + clock.minute, clock.date()
    begin, end = when.from_minute, when.to_minute
    if begin is not None and end is not None and end <= begin:
        if not (minute >= begin or minute < end):
            return False
    elif not (begin or 0) <= minute < (end or 1440):
        return False
    if when.weekdays and day.weekday() not in when.weekdays:
        return False
    if when.holidays is not None and when.holidays != (day in holidays):
        return False
    pairs = (("mwh", 1000, "energy_wh"), ("time", 1, "time_s"), ("charging", 1, "charging_s"), ("idle", 1, "idle_s"))
    for key, scale, name in pairs:
        least: int | None
        below: int | None
        least, below = getattr(when, f"min_{name}"), getattr(when, f"max_{name}")
        if (least is not None and spent[key] < least * scale) or (below is not None and spent[key] >= below * scale):
            return False
    return True


def counted(found: PricePlan, start: int, minutes: list[tuple[bool, int]]) -> dict[tuple[str, int], int]:
    """Return the quantity of each (kind, rate), minute by minute."""
    zone, total = ZoneInfo(found.zone), {"mwh": 0, "time": 0, "charging": 0, "idle": 0}
    quantities: dict[tuple[str, int], int] = {}
    for index, (charging, wh) in enumerate(minutes):
        clock = (datetime.fromtimestamp(start / 1000, UTC) + timedelta(minutes=index)).astimezone(zone)
        parts = [("energy", wh * 1000), ("charging_time" if charging else "idle_time", _STEP * 1000)]
        spent = {**total, "idle": 0} if charging else total
        for kind, quantity in parts:
            charge = getattr(found, kind)
            for number, rate in enumerate(charge.rates if charge else ()):
                if _applies(rate.when, clock, spent, found.holidays):
                    quantities[kind, number] = quantities.get((kind, number), 0) + quantity
                    break
        total["mwh"] += wh * 1000
        total["time"] += _STEP
        total["charging"] += _STEP if charging else 0
        total["idle"] = 0 if charging else total["idle"] + _STEP
    return {key: quantity for key, quantity in quantities.items() if quantity}


_minutes = st.none() | st.integers(0, 23).map(lambda hour: hour * 60 + 30 * (hour % 2))
_seconds = st.none() | st.integers(1, 10).map(lambda n: n * 1800)
_whens = st.builds(
    When,
    from_minute=_minutes,
    to_minute=_minutes,
    weekdays=st.sampled_from([(), (5, 6), (0, 1, 2, 3, 4)]),
    holidays=st.none() | st.booleans(),
    min_time_s=_seconds,
    max_charging_s=_seconds,
    min_idle_s=_seconds,
)
_rates = st.builds(Rate, price=st.integers(0, 10**6).map(decimals_of), when=_whens)
_charges = st.none() | st.lists(_rates, min_size=1, max_size=3).map(lambda found: Charge(rates=tuple(found)))


@settings(max_examples=15, deadline=None)
@given(
    st.builds(
        PricePlan,
        id=st.just("p"),
        currency=st.just("EUR"),
        zone=st.sampled_from([BERLIN, "UTC", "America/St_Johns"]),
        holidays=st.just((date(2026, 10, 25), date(2026, 3, 30))),
        energy=_charges,
        charging_time=_charges,
        idle_time=_charges,
    ),
    st.sampled_from([at("2026-10-24T20:00:00"), at("2026-03-28T18:00:00"), at("2026-07-03T08:00:00")]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=12),
)
def test_quantities_are_those_of_counting(found: PricePlan, start: int, runs: list[tuple[bool, int, int]]) -> None:
    minutes = [(charging, wh if charging else 0) for charging, wh, length in runs for _ in range(length * 10)]
    register, readings = 0, [Registers(start, 0, 0)]
    states: list[tuple[int, bool]] = []
    for index, (charging, wh) in enumerate(minutes):
        if not states or states[-1][1] != charging:
            states.append((start + index * 60_000, charging))
        register += wh * 1000
        readings.append(Registers(start + (index + 1) * 60_000, register, 0))
    usage = Usage(
        start_ms=start,
        end_ms=start + len(minutes) * 60_000,
        readings=tuple(readings),
        charging=tuple(states),
    )
    result = cost(found, usage)
    expected: dict[tuple[str, int], int] = {}
    for (kind, number), quantity in counted(found, start, minutes).items():
        price = getattr(found, kind).rates[number].micro
        expected[kind, price] = expected.get((kind, price), 0) + quantity
    actual: dict[tuple[str, int], int] = {}
    for line in result.lines:
        actual[line.kind, line.price] = actual.get((line.kind, line.price), 0) + line.quantity
    assert actual == expected
    assert result.energy_mwh == register
    units = {"energy": 1_000_000, "charging_time": 60_000, "idle_time": 60_000}
    exact = sum((Decimal(q * price) / units[kind] for (kind, price), q in expected.items()), Decimal(0))
    assert abs(result.excl_tax - exact) <= len(result.lines)  # each line is rounded once


_bounds = st.none() | st.builds(
    Bound, excl_tax=st.none() | st.integers(0, 10**7), incl_tax=st.none() | st.integers(0, 10**7)
)


@settings(max_examples=15, deadline=None)
@given(
    st.builds(
        PricePlan,
        id=st.just("p"),
        currency=st.just("EUR"),
        zone=st.sampled_from([BERLIN, "+05:30"]),
        energy=_charges,
        charging_time=_charges,
        idle_time=_charges,
        fixed=st.none() | st.just(rates((500_000, When()))),
        least=_bounds,
        greatest=_bounds,
    ),
    st.lists(st.tuples(st.booleans(), st.integers(0, 40_000), st.integers(1, 300)), min_size=1, max_size=10),
)
def test_a_tally_that_grows_comes_to_what_the_whole_does(found: PricePlan, runs: list[tuple[bool, int, int]]) -> None:
    start = time = at("2026-10-24T21:00:00")
    plans, register = [(start, found)], 0
    tally = open_tally(plans, Usage(start_ms=start, end_ms=start), fees=True)
    readings, states = [Registers(start, 0, 0)], []
    for charging, wh, minutes in runs:
        states.append((time, charging))
        first = Registers(time, register, 0)
        time, register = time + minutes * 60_000, register + (wh * 1000 if charging else 0)
        readings.append(Registers(time, register, 0))
        part = Usage(start_ms=first.utc_ms, end_ms=time, readings=(first, readings[-1]), charging=(states[-1],))
        tally = msgspec.json.decode(msgspec.json.encode(extend(tally, plans, part)), type=Tally)  # as a store keeps it
    usage = Usage(start_ms=start, end_ms=time, readings=tuple(readings), charging=tuple(states))
    assert total(tally, plans, ended=True) == cost(found, usage)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=5))
def test_running_costs_never_fall_while_prices_are_no_gift(steps: list[tuple[int, int]]) -> None:
    found = plan(energy=rates((123_457, When())), charging_time=rates((777, When())))
    start, totals = at("2030-06-01T10:00:00"), []
    readings, time, energy = [Registers(start, 0, 0)], start, 0
    for length, wh in steps:
        time, energy = time + length + 1, energy + wh
        readings.append(Registers(time, energy, 0))
        usage = Usage(start_ms=start, end_ms=time, readings=tuple(readings), charging=((start, True),))
        totals.append(cost(found, usage, ended=False).excl_tax)
    assert totals == sorted(totals)
