"""The price that a driver sees before the start is the one that OCPI partners and national access points read.

10,000 random plans at random times, each publication read by itself: OCPI by its tariff's elements, DATEX II by its
prices' applicability. What a publication cannot say it leaves out, and never says otherwise.
"""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from csms.tariffs.rules import offered
from v2g.datex import afir
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax, When
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiTariff
from v2g.ocpi.tariffs import tariffs_of

pytestmark = pytest.mark.requirement("R202", "R205")

DAY = date(2026, 7, 1)
BERLIN = ZoneInfo("Europe/Berlin")
KINDS = {"energy": "ENERGY", "charging_time": "TIME", "idle_time": "PARKING_TIME", "fixed": "FLAT"}
PUBLISHED = {"energy": "pricePerKWh", "charging_time": "pricePerMinute", "idle_time": "pricePerMinute",
             "fixed": "basePrice"}  # fmt: skip
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CLOSE = Decimal("0.00001")
"""Of a unit of money: taxes are in percent with four digits there, in parts per million here."""


def when(pick: random.Random) -> When:
    """Return random conditions, seldom one that not everybody can say."""
    found: dict[str, Any] = {}
    for name in pick.sample(("clock", "week", "dates", "energy", "time", "power", "zero"), pick.randint(0, 2)):
        match name:
            case "clock":
                found |= {"from_minute": pick.randrange(1440), "to_minute": pick.randrange(1440)}
            case "week":
                found["weekdays"] = tuple(sorted(pick.sample(range(7), pick.randint(1, 6))))
            case "dates":
                found |= {"from_day": DAY - timedelta(days=pick.randrange(5)), "to_day": DAY + timedelta(days=3)}
            case "energy":
                found[pick.choice(("min_energy_wh", "max_energy_wh"))] = pick.choice((1, 500, 20_000))
            case "time":
                found[pick.choice(("min_time_s", "max_time_s"))] = pick.choice((60, 3600, 3630))
            case "power" if pick.random() < 0.2:
                found[pick.choice(("min_power_w", "max_power_w"))] = 11_000
    return When(**found)


def by_clock(when: When) -> When:
    """Return the conditions of clock and calendar among some."""
    names = ("from_minute", "to_minute", "weekdays", "from_day", "to_day")
    return When(**{name: getattr(when, name) for name in names})


def plan(pick: random.Random) -> PricePlan:
    """Return a random plan."""

    def charge() -> Charge:
        rates = [Rate(price=str(Decimal(pick.randrange(20_000)) / 10_000), when=when(pick)) for _ in range(2)]
        rates = rates[: pick.randint(1, 2)] + ([Rate(price="0.31")] if pick.random() < 0.5 else [])
        taxes = [Tax(kind="VAT", ppm=190_000), Tax(kind="levy", ppm=12_345, stack=1)][: pick.randint(0, 2)]
        return Charge(rates=tuple(rates), taxes=tuple(taxes))

    charges = {name: charge() for name in KINDS if pick.random() < 0.7}
    if "fixed" in charges:  # its conditions count once, at the start: others than those of the clock are not published
        rates = [msgspec.structs.replace(each, when=by_clock(each.when)) for each in charges["fixed"].rates]
        charges["fixed"] = msgspec.structs.replace(charges["fixed"], rates=tuple(rates))
    return msgspec.structs.replace(PricePlan(id="day", currency="EUR", zone="Europe/Berlin"), **charges)


def clock_fits(given: dict[str, Any], moment: datetime, start: str, end: str) -> bool:
    """Return whether a span of clock times holds; one that ends before it starts goes on after midnight."""
    begin, until, now = given.get(start), given.get(end), moment.strftime("%H:%M:%S")
    midnight = until is None or until.startswith(("00:00", "24:00"))
    if begin is not None and until is not None and until <= begin and not midnight:
        return now >= begin or now < until
    return (begin is None or now >= begin) and (midnight or now < until)


def by_ocpi(tariff: OcpiTariff, kind: str, moment: datetime) -> Decimal | None:
    """Return the price with taxes that an OCPI reader finds for a session that begins."""
    for element in msgspec.to_builtins(tariff.elements, builtin_types=(Decimal, date)):
        given = element.get("restrictions", {})
        (component,) = element["price_components"]
        if component["type"] != kind or "reservation" in given:
            continue
        fits = clock_fits(given, moment, "start_time", "end_time")
        fits &= not given.get("day_of_week") or DAYS[moment.weekday()].upper() in given["day_of_week"]
        fits &= given.get("start_date", moment.date()) <= moment.date() < given.get("end_date", date.max)
        fits &= not any(given.get(name) for name in ("min_kwh", "min_duration", "min_power"))
        if fits:
            gross = component["price"] * (100 + component.get("vat", 0)) / 100
            return Decimal(gross) / (60 if kind in ("TIME", "PARKING_TIME") else 1)
    return None


def by_datex(prices: list[dict[str, Any]], moment: datetime) -> Decimal | None:
    """Return the price with taxes that a reader of DATEX II finds among those of one kind: one at most applies."""
    applying = list[Decimal]()
    for each in prices:
        assert each["taxIncluded"] is True
        period = each.get("overallPeriod", {})
        now = moment.replace(tzinfo=BERLIN).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fits = period.get("overallStartTime", "0") <= now < period.get("overallEndTime", "9")
        (valid,) = period.get("validPeriod", [{}])
        for span in valid.get("recurringTimePeriodOfDay", ()):
            clocks = {name: text[:8] for name, text in span.items()}
            fits &= clock_fits(clocks, moment, "startTimeOfPeriod", "endTimeOfPeriod")
        for some in valid.get("recurringDayWeekMonthPeriod", ()):
            fits &= {"value": DAYS[moment.weekday()]} in some["comDayWeekMonth"]["applicableDay"]
        fits &= not each.get("timeBasedApplicability", {}).get("fromMinute")
        fits &= not each.get("energyBasedApplicability", {}).get("fromKWh")
        applying += [Decimal(str(each["value"]))] if fits else []
    assert len(applying) <= 1
    return next(iter(applying), None)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.some(1)
def test_everybody_reads_the_same_price(seed: int) -> None:
    pick, said, left_out = random.Random(seed), 0, 0
    for _ in range(1000):
        made = plan(pick)
        moment = datetime.combine(DAY, datetime.min.time()) + timedelta(minutes=pick.randrange(7 * 1440))
        (tariff,) = tariffs_of(made, "DE", "ABC", wire.moment(1_790_000_000_000))
        shown = offered(made, moment)
        try:
            published = afir.rate_of(tariff, BERLIN)["energyPrice"]
        except CodecError:
            published, left_out = None, left_out + 1
        for name, kind in KINDS.items():
            page = getattr(shown, name)
            ocpi = by_ocpi(tariff, kind, moment)
            assert (page is None) == (ocpi is None) or (made.charge(name) is None and ocpi == 0)  # type: ignore[arg-type]
            if page is None or ocpi is None:
                continue
            assert abs(Decimal(page) - ocpi) < CLOSE
            if published is not None:
                elements = tuple(each for each in tariff.elements if each.price_components[0].type == kind)
                mine = afir.rate_of(msgspec.structs.replace(tariff, elements=elements), BERLIN)["energyPrice"]
                assert all(each in published and each["priceType"]["value"] == PUBLISHED[name] for each in mine)
                datex = by_datex(mine, moment)
                assert datex is not None
                assert abs(Decimal(page) - datex) < CLOSE
                said += 1
    assert said > 500
    assert left_out > 20
