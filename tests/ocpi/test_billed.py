"""What was billed, as charging periods; and as tariffs where OCPI cannot say the plan."""

from decimal import Decimal
from typing import Any

import pytest

from v2g.energy.price_plan import Tax
from v2g.energy.settlement.costing import Bill, Line, Period
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiTariff, PriceBound
from v2g.ocpi.tariffs import hours_of, periods_of, tariffs_billed

pytestmark = pytest.mark.requirement("R202")

HOUR_MS = 3_600_000
VAT = (Tax(kind="VAT", ppm=190_000),)


def period(**more: Any) -> Period:
    return Period(**{"plan_id": "day", "start_ms": HOUR_MS, **more})


def seen(*periods: Period) -> list[tuple[str, str | None, dict[str, str]]]:
    """Return start, tariff and volumes of what these periods become."""
    return [
        (wire.encode(each.start_date_time).decode().strip('"'), each.tariff_id,
         {one.type: str(one.volume) for one in each.dimensions})
        for each in periods_of(Bill(currency="EUR", periods=periods))
    ]  # fmt: skip


def test_periods_have_their_volumes_by_name() -> None:
    whole = period(
        energy_mwh=1_500_000, charging_ms=HOUR_MS // 2, idle_ms=HOUR_MS // 4,
        min_current_a=6, max_current_a=16, min_power_w=1380, max_power_w=11_040,
    )  # fmt: skip
    volumes = {"ENERGY": "1.5000", "TIME": "0.5000", "PARKING_TIME": "0.2500", "MIN_CURRENT": "6", "MAX_CURRENT": "16",
               "MIN_POWER": "1.38", "MAX_POWER": "11.04"}  # fmt: skip
    assert seen(whole) == [("1970-01-01T01:00:00Z", "day", volumes)]


def test_energy_fed_back_has_a_period_of_its_own() -> None:
    begin = "1970-01-01T01:00:00Z"
    back = (begin, "day-export", {"ENERGY": "-2.0000"})
    assert seen(period(energy_mwh=1_000_000, export_mwh=2_000_000)) == [(begin, "day", {"ENERGY": "1.0000"}), back]
    assert seen(period(export_mwh=2_000_000)) == [back]
    assert seen(period(export_mwh=2_000_000, idle_ms=HOUR_MS)) == [(begin, "day", {"PARKING_TIME": "1.0000"}), back]
    assert seen(period()) == [(begin, "day", {"ENERGY": "0.0000"})]
    assert seen(period(plan_id="", export_mwh=2_000_000)) == [(begin, None, {"ENERGY": "-2.0000"})]


def test_rounded_volumes_add_up_to_the_rounded_sum() -> None:
    """Three times 40 mWh are 0.0001 kWh, not 0.0000 three times."""
    third = period(energy_mwh=40, export_mwh=40)
    found = seen(third, third, third)
    assert [each["ENERGY"] for _, name, each in found if name == "day"] == ["0.0000", "0.0001", "0.0000"]
    assert [each["ENERGY"] for _, name, each in found if name == "day-export"] == ["0.0000", "-0.0001", "0.0000"]
    assert [each["ENERGY"] for *_, each in seen(period(energy_mwh=50))] == ["0.0000"]


def test_hours_have_four_decimals_and_are_never_below_zero() -> None:
    assert (str(hours_of(HOUR_MS * 2 // 3)), str(hours_of(0)), str(hours_of(-HOUR_MS))) == (
        "0.6667",
        "0.0000",
        "0.0000",
    )


def line(kind: Any, price: int, plan_id: str = "day", taxes: tuple[Tax, ...] = VAT) -> Line:
    return Line(plan_id=plan_id, kind=kind, price=price, quantity=1, excl_tax=0, incl_tax=0, taxes=taxes)


def billed(*lines: Line, **more: Any) -> tuple[OcpiTariff, ...]:
    return tariffs_billed(Bill(currency="SEK", lines=lines, **more), "day", "one", "SE", "ABC", wire.moment(0))


def test_what_was_billed_by_a_plan_is_a_tariff_of_each_direction() -> None:
    there, back = billed(
        line("energy", 300_000), line("charging_time", 50_000), line("idle_time", 100_000, taxes=()),
        line("fixed", 1_000_000), line("reservation_time", 20_000), line("reservation_fixed", 2_000_000),
        line("export", -200_000), line("energy", 1, "night"),
    )  # fmt: skip
    parts = [
        (one.type, one.price, one.vat, one.step_size, each.restrictions and each.restrictions.reservation)
        for each in there.elements
        for one in each.price_components
    ]
    assert parts == [
        ("ENERGY", Decimal("0.3"), 19, 1, None),
        ("TIME", Decimal(3), 19, 1, None),
        ("PARKING_TIME", Decimal(6), None, 1, None),
        ("FLAT", Decimal(1), 19, 1, None),
        ("TIME", Decimal("1.2"), 19, 1, "RESERVATION"),
        ("FLAT", Decimal(2), 19, 1, "RESERVATION"),
    ]
    (fed,) = back.elements[0].price_components
    assert (fed.type, fed.price) == ("ENERGY", Decimal("-0.2"))
    assert len(back.elements) == 1
    assert (there.id, back.id) == ("one", "one-export")
    for each in (there, back):
        assert (each.country_code, each.party_id, each.currency, each.tax_included) == ("SE", "ABC", "SEK", "NO")
        assert (each.last_updated, each.min_price, each.max_price) == (wire.moment(0), None, None)


def test_two_prices_of_one_kind_are_no_tariff() -> None:
    assert billed(line("energy", 1), line("energy", 2)) == ()
    assert billed(line("energy", 1), line("energy", 2, "night")) != ()
    assert billed(line("energy", 1, "night")) == ()


@pytest.mark.parametrize(("kind", "name"), [("MinCost", "min_price"), ("MaxCost", "max_price")])
def test_a_bound_that_was_billed_is_one_of_the_tariff(kind: Any, name: str) -> None:
    paid = {"kind": kind, "excl_tax": 2_000_001, "incl_tax": 2_380_001}
    (found,) = billed(line("energy", 1), **paid)
    bounds = {"min_price": found.min_price, "max_price": found.max_price}
    bound = PriceBound(before_taxes=Decimal("2.000001"), after_taxes=Decimal("2.380001"))
    assert bounds == {"min_price": None, "max_price": None} | {name: bound}
    assert billed(line("energy", 1), line("export", -1), **paid) == (), "OCPI has no bound of both directions"
    assert billed(line("energy", 1), line("fixed", 1, "night"), **paid) == (), "nor one of two tariffs"
