"""Costs of transactions in OCPP 2.1's form, both ways, with amounts by hand (2.15, 2.107 to 2.109, 3.26; I12)."""

import json
from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.energy.price_plan import Tax
from v2g.energy.settlement.costing import Bill, Line, Period
from v2g.errors import OcppError
from v2g.ocpp.messages.tariff_cost import CostDetails
from v2g.translate.details import bill_of, cost_details, itemised

USAGE = {"energy": 1234.567, "chargingTime": 61, "idleTime": 59}
VAT = Tax(kind="vat", ppm=190_000)


def details(
    total: dict[str, float], usage: dict[str, Any] | None = None, periods: tuple[object, ...] = (), **cost: Any
) -> CostDetails:
    """What a station sends."""
    parts = {"currency": "EUR", "typeOfCost": "NormalCost", "total": total} | cost
    sent = {"totalCost": parts, "totalUsage": usage or USAGE, "chargingPeriods": periods}
    return msgspec.convert({name: part for name, part in sent.items() if part}, CostDetails)


def test_totals_are_read_in_micro_units_mwh_and_ms() -> None:
    found = details({"exclTax": 2.0, "inclTax": 2.4}, USAGE | {"reservationTime": 30}, typeOfCost="MaxCost")
    assert bill_of(found) == Bill(
        currency="EUR",
        kind="MaxCost",
        excl_tax=2_000_000,
        incl_tax=2_400_000,
        energy_mwh=1_234_567,
        charging_ms=61_000,
        idle_ms=59_000,
        reserved_ms=30_000,
    )
    assert bill_of(details({"exclTax": 2.0})).reserved_ms == 0


@pytest.mark.parametrize(
    ("total", "excl_tax", "incl_tax"),
    [
        ({"exclTax": 1.5}, 1_500_000, 1_500_000),
        ({"inclTax": 1.8}, 1_800_000, 1_800_000),
        ({"exclTax": 0.0, "inclTax": 0.2}, 0, 200_000),
        ({"exclTax": -0.000001, "inclTax": 0.0000004}, -1, 0),
        ({}, 0, 0),
    ],
)
def test_one_total_stands_for_the_other(total: dict[str, float], excl_tax: int, incl_tax: int) -> None:
    """2.108: either can be absent."""
    found = bill_of(details(total))
    assert (found.excl_tax, found.incl_tax) == (excl_tax, incl_tax)


@together(
    ("currency", "code"), [("eur", "EUR"), ("UsD", "USD"), ("", "XXX"), ("EU", "XXX"), ("E1R", "XXX"), ("€", "XXX")]
)
def test_what_is_no_code_of_iso_4217_is_that_of_no_currency(currency: str, code: str) -> None:
    assert bill_of(details({"exclTax": 1.0}, currency=currency)).currency == code


@pytest.mark.parametrize("amount", [1e12, -1e12])
def test_an_amount_that_is_too_large_to_store_is_refused(amount: float) -> None:
    with pytest.raises(OcppError) as caught:
        bill_of(details({"exclTax": amount}))
    assert caught.value.answer == "PropertyConstraintViolation"
    assert bill_of(details({"exclTax": 999_999_999_999.0})).excl_tax == 999_999_999_999_000_000


def period(second: int, tariff: str = "day", **volumes: float) -> dict[str, object]:
    """A period that begins so many seconds after 2026."""
    dimensions = [{"type": kind, "volume": volume} for kind, volume in volumes.items()]
    named = {"tariffId": tariff} if tariff else {}
    return {"startPeriod": f"2026-01-01T00:00:{second:02}Z", "dimensions": dimensions, **named}


START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
FIRST = period(
    1, Energy=10_000.0, ChargingTime=1_800.0, IdleTIme=600.0, MinPower=3_000.0, MaxPower=11_000.0, MinCurrent=13.0,
    MaxCurrent=48.0,
)  # fmt: skip
SECOND = period(2, Energy=5_500.5, ChargingTime=900.0)
RATES = [{"type": "vat", "tax": 19.0}, {"type": "city", "tax": 0.5, "stack": 1}]
TAXES = (VAT, Tax(kind="city", ppm=5_000, stack=1))


def test_a_cost_by_one_tariff_has_a_line_for_each_kind_at_its_mean_price() -> None:
    """15.5005 kWh, 45 minutes of charging, 10 of idling, 5 reserved; the station counts all 55 as charging time."""
    found = itemised(
        details(
            {"exclTax": 9.4001},
            {"energy": 15_500.5, "chargingTime": 3_300, "idleTime": 600, "reservationTime": 300},
            (FIRST, SECOND),
            fixed={"exclTax": 1.0, "inclTax": 1.19},
            energy={"exclTax": 3.1001, "inclTax": 3.7, "taxRates": RATES},
            chargingTime={"exclTax": 2.7},
            idleTime={"inclTax": 0.1},
            reservationTime={"exclTax": 0.5},
            reservationFixed={"exclTax": 2.0},
        )
    )
    named: Any = {"plan_id": "day"}
    assert found.lines == (
        Line(kind="fixed", price=1_000_000, quantity=1, excl_tax=1_000_000, incl_tax=1_190_000, **named),
        Line(
            kind="energy", price=200_000, quantity=15_500_500, excl_tax=3_100_100, incl_tax=3_700_000, taxes=TAXES,
            **named,
        ),
        Line(kind="charging_time", price=60_000, quantity=2_700_000, excl_tax=2_700_000, incl_tax=2_700_000, **named),
        Line(kind="idle_time", price=10_000, quantity=600_000, excl_tax=100_000, incl_tax=100_000, **named),
        Line(kind="reservation_time", price=100_000, quantity=300_000, excl_tax=500_000, incl_tax=500_000, **named),
        Line(kind="reservation_fixed", price=2_000_000, quantity=1, excl_tax=2_000_000, incl_tax=2_000_000, **named),
    )  # fmt: skip
    assert (found.charging_ms, found.idle_ms, found.excl_tax) == (2_700_000, 600_000, 9_400_100)
    assert found.periods == (
        Period(
            plan_id="day", start_ms=START_MS + 1000, energy_mwh=10_000_000, charging_ms=1_800_000, idle_ms=600_000,
            min_power_w=3_000, max_power_w=11_000, min_current_a=13, max_current_a=48,
        ),
        Period(plan_id="day", start_ms=START_MS + 2000, energy_mwh=5_500_500, charging_ms=900_000),
    )  # fmt: skip


def test_a_price_of_what_was_not_used_has_no_line() -> None:
    priced = {"energy": {"exclTax": 0.0}, "idleTime": {"exclTax": 0.3}, "chargingTime": {"exclTax": 0.9}}
    found = itemised(details({"exclTax": 1.2}, USAGE, (period(0, ChargingTime=60.0),), **priced))
    assert [each.kind for each in found.lines] == ["charging_time"]


@pytest.mark.parametrize("periods", [(), (FIRST, period(2, "night", Energy=1.0)), (FIRST, period(2, "", Energy=1.0))])
def test_a_cost_by_several_tariffs_has_periods_alone(periods: tuple[dict[str, object], ...]) -> None:
    found = itemised(details({"exclTax": 1.0}, USAGE, periods, energy={"exclTax": 1.0}))
    assert (found.lines, len(found.periods)) == ((), len(periods))
    assert found.excl_tax == 1_000_000


def test_a_cost_by_no_tariff_is_of_no_plan() -> None:
    """2.15: then it was calculated by some other means."""
    found = itemised(details({"exclTax": 1.0}, USAGE, (period(0, "", Energy=500.0),), energy={"exclTax": 1.0}))
    assert [(each.plan_id, each.price) for each in found.lines] == [("", 2_000_000)]
    assert found.periods == (Period(plan_id="", start_ms=START_MS, energy_mwh=500_000),)


def line(kind: Any, excl_tax: int, incl_tax: int) -> Line:
    return Line(
        plan_id="day", kind=kind, price=1, quantity=1, excl_tax=excl_tax, incl_tax=incl_tax, taxes=(VAT,)
    )  # fmt: skip


BILL = Bill(
    currency="EUR",
    lines=(
        line("fixed", 1_000_000, 1_190_000),
        line("energy", 5_000_000, 5_950_000),
        line("energy", 500_000, 595_000),
        line("export", -2_000_000, -2_380_000),
        line("charging_time", 100_000, 119_000),
        line("idle_time", 200_000, 238_000),
        line("reservation_time", 300_000, 357_000),
        line("reservation_fixed", 400_000, 476_000),
    ),
    periods=(
        Period(
            plan_id="day", start_ms=START_MS, energy_mwh=1_234_567, charging_ms=61_500, idle_ms=500, min_power_w=1,
            max_power_w=2, min_current_a=3, max_current_a=4,
        ),
        Period(plan_id="", start_ms=START_MS + 1000, idle_ms=2_000),
    ),
    excl_tax=5_500_000,
    incl_tax=6_545_000,
    energy_mwh=1_234_567,
    charging_ms=61_060,
    idle_ms=2_001,
    reserved_ms=30_999,
)  # fmt: skip


def test_a_bill_is_written_by_kinds_with_energy_fed_back_in_that_of_energy() -> None:
    rates = [{"type": "vat", "tax": 19.0, "stack": 0}]
    assert json.loads(msgspec.json.encode(cost_details(BILL))) == {
        "totalCost": {
            "currency": "EUR",
            "typeOfCost": "NormalCost",
            "fixed": {"exclTax": 1.0, "inclTax": 1.19, "taxRates": rates},
            "energy": {"exclTax": 3.5, "inclTax": 4.165, "taxRates": rates},
            "chargingTime": {"exclTax": 0.1, "inclTax": 0.119, "taxRates": rates},
            "idleTime": {"exclTax": 0.2, "inclTax": 0.238, "taxRates": rates},
            "reservationTime": {"exclTax": 0.3, "inclTax": 0.357, "taxRates": rates},
            "reservationFixed": {"exclTax": 0.4, "inclTax": 0.476, "taxRates": rates},
            "total": {"exclTax": 5.5, "inclTax": 6.545},
        },
        "totalUsage": {"energy": 1234.567, "chargingTime": 61, "idleTime": 2, "reservationTime": 30},
        "chargingPeriods": [
            {
                "tariffId": "day",
                "startPeriod": "2026-01-01T00:00:00Z",
                "dimensions": [
                    {"type": "Energy", "volume": 1234.567},
                    {"type": "ChargingTime", "volume": 61.5},
                    {"type": "IdleTIme", "volume": 0.5},
                    {"type": "MinPower", "volume": 1.0},
                    {"type": "MaxPower", "volume": 2.0},
                    {"type": "MinCurrent", "volume": 3.0},
                    {"type": "MaxCurrent", "volume": 4.0},
                ],
            },
            {"startPeriod": "2026-01-01T00:00:01Z", "dimensions": [{"type": "IdleTIme", "volume": 2.0}]},
        ],
    }


def test_a_running_cost_has_no_periods_and_what_was_not_reserved_no_time() -> None:
    found = cost_details(msgspec.structs.replace(BILL, lines=BILL.lines[1:2], reserved_ms=999), periods=False)
    assert (found.charging_periods, found.total_usage.reservation_time) == ((), None)
    cost = msgspec.to_builtins(found.total_cost)
    assert cost.keys() == {"currency", "typeOfCost", "energy", "total"}


def test_the_least_cost_replaces_what_was_calculated() -> None:
    """I12.FR.38: `fixed` has it, usage and periods stay."""
    found = msgspec.to_builtins(cost_details(msgspec.structs.replace(BILL, kind="MinCost")))
    total = {"exclTax": 5.5, "inclTax": 6.545}
    assert found["totalCost"] == {"currency": "EUR", "typeOfCost": "MinCost", "fixed": total, "total": total}
    assert found["totalUsage"]["energy"] == 1234.567
    assert len(found["chargingPeriods"]) == 2
