"""Charging periods cost what the examples of OCPI's specification say; what OCPI cannot say is not published."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import CdrPeriod, OcpiTariff, PriceBound
from v2g.ocpi.tariffs import costs_by, percent_of, tariff_id, tariffs_of

pytestmark = pytest.mark.requirement("R202")


def element(*components: tuple[str, str, str, int], **restrictions: Any) -> dict[str, Any]:
    """Return an element of components: type, price, VAT and step."""
    parts = [{"type": kind, "price": price, "vat": vat, "step_size": step} for kind, price, vat, step in components]
    return {"price_components": parts, **({"restrictions": restrictions} if restrictions else {})}


def tariff(*elements: dict[str, Any], **more: Any) -> OcpiTariff:
    fields = {"country_code": "DE", "party_id": "ABC", "id": "1", "currency": "EUR", "elements": list(elements)}
    return wire.read(wire.inner({**fields, "last_updated": "2019-01-01T00:00:00Z", **more}), OcpiTariff)


def periods(*parts: tuple[str, dict[str, str]]) -> list[CdrPeriod]:
    """Return periods of start and volumes."""
    plain = [
        {"start_date_time": start, "dimensions": [{"type": kind, "volume": each} for kind, each in volumes.items()]}
        for start, volumes in parts
    ]
    return wire.read(plain, list[CdrPeriod])


START = element(("FLAT", "0.50", "20", 1))
ENERGY = element(("ENERGY", "0.25", "10", 1))
COMPLEX = (
    element(("FLAT", "2.50", "15", 1)),
    element(("TIME", "1.00", "20", 900), max_current="32"),
    element(("TIME", "2.00", "20", 600), min_current="32",
            day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]),
    element(("TIME", "1.25", "20", 600), min_current="32", day_of_week=["SATURDAY", "SUNDAY"]),
    element(("PARKING_TIME", "5.00", "10", 300), start_time="09:00", end_time="18:00",
            day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]),
    element(("PARKING_TIME", "6.00", "10", 300), start_time="10:00", end_time="17:00", day_of_week=["SATURDAY"]),
)  # fmt: skip
LIMIT = {"excl_vat": "10", "incl_vat": "11"}

EXAMPLES: dict[str, tuple[OcpiTariff, list[CdrPeriod], str, str, str]] = {
    "20 kWh": (
        tariff(ENERGY), periods(("2019-01-07T10:00:00Z", {"ENERGY": "20", "TIME": "1"})),
        "2019-01-07T11:00:00Z", "5.00", "5.50",
    ),
    "start fee": (
        tariff(START, ENERGY), periods(("2019-01-07T10:00:00Z", {"ENERGY": "20", "TIME": "1"})),
        "2019-01-07T11:00:00Z", "5.50", "6.10",
    ),
    "minimum price": (
        tariff(ENERGY, min_price={"excl_vat": "0.50", "incl_vat": "0.55"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1.5", "TIME": "1"})), "2019-01-07T11:00:00Z", "0.50", "0.55",
    ),
    "minimum price without energy, where taxes differ": (
        tariff(ENERGY, element(("PARKING_TIME", "2.00", "20", 900)), min_price={"excl_vat": "0.50"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "0", "TIME": "1"})), "2019-01-07T11:00:00Z", "0.50", "0.50",
    ),
    "parking in steps": (
        tariff(START, ENERGY, element(("PARKING_TIME", "2.00", "20", 900))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "20", "TIME": "1"}),
                ("2019-01-07T11:00:00Z", {"PARKING_TIME": "0.6667"})), "2019-01-07T11:40:00Z", "7.00", "7.90",
    ),
    "maximum price": (
        tariff(START, ENERGY, max_price=LIMIT), periods(("2019-01-07T10:00:00Z", {"ENERGY": "50", "TIME": "1"})),
        "2019-01-07T11:00:00Z", "10", "11",
    ),
    "below the maximum": (
        tariff(START, ENERGY, max_price=LIMIT), periods(("2019-01-07T10:00:00Z", {"ENERGY": "30", "TIME": "1"})),
        "2019-01-07T11:00:00Z", "8.00", "8.85",
    ),
    "by the hour": (
        tariff(element(("TIME", "2.00", "10", 60))), periods(("2019-01-07T10:00:00Z", {"TIME": "2.5", "ENERGY": "9"})),
        "2019-01-07T12:30:00Z", "5.00", "5.50",
    ),
    "hour and parking": (
        tariff(element(("TIME", "3.00", "10", 60)), element(("PARKING_TIME", "5.00", "20", 300))),
        periods(("2019-01-07T10:00:00Z", {"TIME": "2.5", "ENERGY": "9"}),
                ("2019-01-07T12:30:00Z", {"PARKING_TIME": "0.7"})), "2019-01-07T13:12:00Z", "11.25", "12.75",
    ),
    "steps of 100 Wh": (
        tariff(element(("ENERGY", "0.25", "10", 100))), periods(("2019-01-07T10:00:00Z", {"ENERGY": "20.45"})),
        "2019-01-07T12:30:00Z", "5.125", "5.6375",
    ),
    "a step counts once, at the last price (ocpi#494)": (
        tariff(element(("ENERGY", "2", "0", 10_000), max_kwh="3"), element(("ENERGY", "5", "0", 10_000), max_kwh="6"),
               element(("ENERGY", "2", "0", 10_000))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "3", "TIME": "1"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "3", "TIME": "1"}),
                ("2019-01-07T12:00:00Z", {"ENERGY": "3", "TIME": "1"})), "2019-01-07T13:00:00Z", "29", "29",
    ),
    "complex, on a Saturday: only parking is rounded, charging 114 min and parking 75 min, until 17:00": (
        tariff(*COMPLEX),
        periods(("2019-01-05T13:30:00Z", {"TIME": "1.9", "ENERGY": "9", "MIN_CURRENT": "43"}),
                ("2019-01-05T15:24:00Z", {"PARKING_TIME": "1.1833"})), "2019-01-05T16:35:00Z", "12.375", "13.975",
    ),
    "taxes included": (
        tariff(element(("ENERGY", "0.275", "10", 1)), tax_included="YES"),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "20"})), "2019-01-07T11:00:00Z", "5.00", "5.50",
    ),
    "fed back": (
        tariff(ENERGY), periods(("2019-01-07T10:00:00Z", {"ENERGY": "-4", "TIME": "1"})), "2019-01-07T11:00:00Z",
        "-1.00", "-1.10",
    ),
    "reserved for an hour": (
        tariff(element(("TIME", "5.00", "20", 60), reservation="RESERVATION"), START, ENERGY),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "1", "ENERGY": "20"})), "2019-01-07T11:00:00Z",
        "10.50", "12.10",
    ),
    "reserved for an hour in a period of its own, where parking costs": (
        tariff(element(("TIME", "5.00", "20", 60), reservation="RESERVATION"), START, ENERGY,
               element(("PARKING_TIME", "9.00", "0", 1))),
        periods(("2019-01-07T09:00:00Z", {"RESERVATION_TIME": "1"}), ("2019-01-07T10:00:00Z", {"ENERGY": "20"})),
        "2019-01-07T11:00:00Z", "10.50", "12.10",
    ),
    "a reservation that expired": (
        tariff(element(("FLAT", "4.00", "20", 1), ("TIME", "2.00", "20", 600), reservation="RESERVATION_EXPIRES"),
               element(("FLAT", "9.00", "20", 1), reservation="RESERVATION"), START, ENERGY),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "0.25"})), "2019-01-07T10:15:00Z",
        "4.66667", "5.60",
    ),
    "a clock time across the end of summer time": (
        tariff(element(("TIME", "2", "0", 1), start_time="02:00", end_time="04:00")),
        periods(("2026-10-24T23:00:00Z", {"TIME": "4", "ENERGY": "1"})), "2026-10-25T03:00:00Z", "6", "6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    found, parts, end, net, gross = EXAMPLES[name]
    zone = "Europe/Berlin" if "summer" in name else "UTC"
    costs = costs_by([(each, found) for each in parts], wire.read_time(end), zone)
    exact = Decimal("0.00001")
    assert costs.before_taxes.quantize(exact) == Decimal(net)
    assert costs.after_taxes.quantize(exact) == Decimal(gross)


def test_what_cannot_be_priced_is_an_error() -> None:
    priced = [(each, tariff(ENERGY)) for each in periods(("2019-01-07T10:00:00Z", {"ENERGY": "1"}))]
    with pytest.raises(CodecError):
        costs_by([], 0, "UTC")
    with pytest.raises(CodecError):
        costs_by(priced, 0, "UTC")
    end = wire.read_time("2019-01-07T11:00:00Z")
    with pytest.raises(CodecError):
        costs_by(priced, end, "Nowhere/At_All")


def test_conditions_that_ocpi_lacks_are_refused() -> None:
    rate = Rate(price="1", when=When(holidays=True))
    with pytest.raises(CodecError, match="holidays"):
        tariffs_of(PricePlan(id="a", currency="EUR", energy=Charge(rates=(rate,))), "DE", "ABC", wire.moment(0))


def test_a_bound_with_taxes_alone_needs_one_rate_of_tax() -> None:
    """OCPI has none without `before_taxes`; a least price that is left out would be billed, but not published."""
    vat = Charge(rates=(Rate(price="1"),), taxes=(Tax(kind="VAT", ppm=190_000),))
    plan = PricePlan(id="a", currency="EUR", energy=vat, fixed=vat, least=Bound(incl_tax="20.00"))
    (found,) = tariffs_of(plan, "DE", "ABC", wire.moment(0))
    assert found.min_price == PriceBound(before_taxes=Decimal("16.8067"), after_taxes=Decimal(20))
    mixed = msgspec.structs.replace(plan, fixed=Charge(rates=(Rate(price="1"),)))
    with pytest.raises(CodecError, match="taxes alone"):
        tariffs_of(mixed, "DE", "ABC", wire.moment(0))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"least": Bound(excl_tax="2"), "export": Charge(rates=(Rate(price="1"),))}, "fed back together"),
        ({"greatest": Bound(excl_tax="2"), "fixed": Charge(rates=(Rate(price="1"),))}, "different taxes"),
        ({"greatest": Bound(excl_tax="2"), "least": Bound(excl_tax="3")}, "above the greatest"),
        ({"greatest": Bound(excl_tax="2"), "energy": Charge(rates=(Rate(price="-1"),))}, "below zero"),
        ({"fixed": Charge(rates=(Rate(price="1", when=When(min_energy_wh=1000)),))}, "paid once"),
        ({"reservation_time": Charge(rates=(Rate(price="1", when=When(from_minute=60)),))}, "paid once"),
    ],
)
def test_what_would_cost_something_else_at_partners_is_not_published(more: dict[str, Any], why: str) -> None:
    vat = Charge(rates=(Rate(price="1"),), taxes=(Tax(kind="VAT", ppm=190_000),))
    plan = msgspec.structs.replace(PricePlan(id="a", currency="EUR", energy=vat), **more)
    with pytest.raises(CodecError, match=why):
        tariffs_of(plan, "DE", "ABC", wire.moment(0))


def test_ids_and_rates() -> None:
    assert tariff_id("day") == "day"
    assert len(tariff_id("ä" * 60)) <= 29
    assert tariff_id("a" * 60) != tariff_id("a" * 59 + "b")
    assert percent_of((Tax(kind="a", ppm=100_000), Tax(kind="b", ppm=50_000, stack=1))) == Decimal("15.5")
    assert percent_of((Tax(kind="a", ppm=200_000),)) == 20
