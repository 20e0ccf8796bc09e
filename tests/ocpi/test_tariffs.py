"""Charging periods cost what the examples of OCPI's specification say; what OCPI cannot say is not published."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import CdrPeriod, OcpiElement, OcpiTariff, PriceBound
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
SIXTY_DAYS_MS = 60 * 86_400_000
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
    "a reservation that expired, with a fee beside its time": (
        tariff(element(("FLAT", "4.00", "20", 1), reservation="RESERVATION_EXPIRES"),
               element(("TIME", "2.00", "20", 600), reservation="RESERVATION"), START, ENERGY),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "1"})), "2019-01-07T11:00:00Z", "6.00", "7.20",
    ),
    "a reservation that expired, with a time of its own, whichever comes first": (
        tariff(element(("TIME", "3.00", "20", 600), reservation="RESERVATION"),
               element(("TIME", "6.00", "20", 600), reservation="RESERVATION_EXPIRES"), START, ENERGY),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "1.5"})), "2019-01-07T11:30:00Z", "9.00", "10.80",
    ),
    "a reservation that expired costs no less than one that did not": (
        tariff(element(("FLAT", "2.00", "20", 1), ("TIME", "5.00", "20", 300), reservation="RESERVATION"), ENERGY),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "0.2167"})), "2019-01-07T10:13:00Z", "3.25", "3.90",
    ),
    "a clock time across the end of summer time": (
        tariff(element(("TIME", "2", "0", 1), start_time="02:00", end_time="04:00")),
        periods(("2026-10-24T23:00:00Z", {"TIME": "4", "ENERGY": "1"})), "2026-10-25T03:00:00Z", "6", "6",
    ),
    "charging and parking in one period, 40 min of 60": (
        tariff(element(("TIME", "3", "0", 60)), element(("PARKING_TIME", "6", "0", 60))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "9", "TIME": "0.6667", "PARKING_TIME": "0.3333"})),
        "2019-01-07T11:00:00Z", "4.0001", "4.0001",
    ),
    "energy of a period in which it also parks has the power of the time in which it flowed": (
        tariff(element(("ENERGY", "1", "0", 1), min_power="13.4"), element(("ENERGY", "5", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "9", "TIME": "0.6667", "PARKING_TIME": "0.3333"})),
        "2019-01-07T11:00:00Z", "9", "9",
    ),
    "parked at no power after it has charged": (
        tariff(element(("PARKING_TIME", "6", "0", 60), max_power="0.000001"), element(("PARKING_TIME", "60", "0", 60))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "9", "TIME": "0.6667", "PARKING_TIME": "0.3333"})),
        "2019-01-07T11:00:00Z", "2", "2",
    ),
    "time as long as no period says": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"TIME": "0.5"}), ("2019-01-07T10:30:00Z", {"ENERGY": "0"}),
                ("2019-01-07T10:40:00Z", {"ENERGY": "1"})), "2019-01-07T11:00:00Z", "3.50", "3.50",
    ),
    "a period of energy fed back beside one taken charges": (
        tariff(element(("ENERGY", "1", "0", 1)), element(("TIME", "3", "0", 1)), element(("FLAT", "7", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "2", "TIME": "1"}), ("2019-01-07T10:00:00Z", {"ENERGY": "-5"})),
        "2019-01-07T11:00:00Z", "7", "7",
    ),
    "nothing is taken while energy is fed back": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "9", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "0"}), ("2019-01-07T10:00:00Z", {"ENERGY": "-5"})),
        "2019-01-07T11:00:00Z", "3", "3",
    ),
    "powers": (
        tariff(element(("ENERGY", "1", "0", 1), max_power="11"), element(("ENERGY", "2", "0", 1), max_power="22.05"),
               element(("ENERGY", "4", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "MIN_POWER": "10.999", "MAX_POWER": "10.999"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "1", "MIN_POWER": "11", "MAX_POWER": "22"}),
                ("2019-01-07T12:00:00Z", {"ENERGY": "1", "MAX_POWER": "22.049"}),
                ("2019-01-07T13:00:00Z", {"ENERGY": "1", "MAX_POWER": "22.05"}),
                ("2019-01-07T14:00:00Z", {"ENERGY": "22.05"})), "2019-01-07T15:00:00Z", "97.20", "97.20",
    ),
    "currents": (
        tariff(element(("ENERGY", "1", "0", 1), max_current="16"), element(("ENERGY", "2", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "MIN_CURRENT": "15", "MAX_CURRENT": "16"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "1", "MAX_CURRENT": "16"}),
                ("2019-01-07T12:00:00Z", {"ENERGY": "1"})), "2019-01-07T13:00:00Z", "4", "4",
    ),
    "bounds of energy": (
        tariff(element(("ENERGY", "1", "0", 1), max_kwh="0.5"), element(("ENERGY", "3", "0", 1), min_kwh="0.5")),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "0.5"}), ("2019-01-07T11:00:00Z", {"ENERGY": "1"})),
        "2019-01-07T12:00:00Z", "3.50", "3.50",
    ),
    "an end of clock times at midnight": (
        tariff(element(("TIME", "3", "0", 1), start_time="22:00", end_time="24:00")),
        periods(("2019-01-07T21:00:00Z", {"TIME": "4"})), "2019-01-08T01:00:00Z", "6", "6",
    ),
    "of two components of a type in an element the first": (
        tariff(element(("ENERGY", "1", "0", 1), ("ENERGY", "9", "0", 1), min_duration=3600),
               element(("ENERGY", "4", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1"}), ("2019-01-07T11:00:00Z", {"ENERGY": "1"})),
        "2019-01-07T12:00:00Z", "5", "5",
    ),
    "a step of 1 Wh, of which there is a part": (
        tariff(element(("ENERGY", "1", "0", 1))), periods(("2019-01-07T10:00:00Z", {"ENERGY": "1.0004"})),
        "2019-01-07T11:00:00Z", "1.0004", "1.0004",
    ),
    "steps of two Wh; what is fed back has none": (
        tariff(element(("ENERGY", "1", "0", 2))), periods(("2019-01-07T10:00:00Z", {"ENERGY": "0.0002"}),
                                                          ("2019-01-07T11:00:00Z", {"ENERGY": "0.0003"})),
        "2019-01-07T12:00:00Z", "0.002", "0.002",
    ),
    "fed back, in steps": (
        tariff(element(("ENERGY", "1", "0", 100))), periods(("2019-01-07T10:00:00Z", {"ENERGY": "-0.25"})),
        "2019-01-07T11:00:00Z", "-0.25", "-0.25",
    ),
    "energy in steps although it parks in the end; charging time is not rounded then": (
        tariff(element(("ENERGY", "1", "0", 1000)), element(("TIME", "60", "0", 3600)),
               element(("PARKING_TIME", "6", "0", 3600))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1.5", "TIME": "0.5"}),
                ("2019-01-07T10:30:00Z", {"PARKING_TIME": "0.5"})), "2019-01-07T11:00:00Z", "38", "38",
    ),
    "charging time in steps, where parking is free": (
        tariff(element(("TIME", "60", "0", 3600))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1.5", "TIME": "0.5"}),
                ("2019-01-07T10:30:00Z", {"PARKING_TIME": "0.5"})), "2019-01-07T11:00:00Z", "60", "60",
    ),
    "it parks first and charges last: charging time is rounded, parking is not": (
        tariff(element(("TIME", "60", "0", 3600)), element(("PARKING_TIME", "6", "0", 3600))),
        periods(("2019-01-07T10:00:00Z", {"PARKING_TIME": "0.5"}),
                ("2019-01-07T10:30:00Z", {"ENERGY": "1.5", "TIME": "0.5"})), "2019-01-07T11:00:00Z", "63", "63",
    ),
    "reserved for a third of an hour, by the second": (
        tariff(element(("TIME", "9", "0", 1), reservation="RESERVATION"), element(("ENERGY", "1", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "0.3333", "ENERGY": "1"})), "2019-01-07T11:00:00Z",
        "4", "4",
    ),
    "a reservation of the other kind, and what has no restriction": (
        tariff(element(("FLAT", "4", "0", 1), reservation="RESERVATION_EXPIRES"),
               element(("FLAT", "2", "0", 1), max_kwh="5"), element(("ENERGY", "1", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"RESERVATION_TIME": "0.5", "ENERGY": "1"})), "2019-01-07T11:00:00Z",
        "3", "3",
    ),
    "what uses nothing has no step": (
        tariff(element(("ENERGY", "1", "0", 1000), max_duration=3600), element(("ENERGY", "5", "0", 1000))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1.5", "TIME": "1"}),
                ("2019-01-07T11:00:00Z", {"PARKING_TIME": "1"})), "2019-01-07T12:00:00Z", "2", "2",
    ),
    "energy that flows while it parks": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "PARKING_TIME": "1"})), "2019-01-07T11:00:00Z", "6", "6",
    ),
    "charging for longer than its period lasts": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "TIME": "2", "PARKING_TIME": "0.5"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "0"})), "2019-01-07T12:00:00Z", "9", "9",
    ),
    "a mean power between two bounds": (
        tariff(element(("ENERGY", "1", "0", 1), min_power="10.5", max_power="10.501"),
               element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "10.5"})), "2019-01-07T11:00:00Z", "10.5", "10.5",
    ),
    "a current of a fraction of an ampere below its bound": (
        tariff(element(("ENERGY", "1", "0", 1), max_current="16"), element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "10", "MAX_CURRENT": "15.9"})), "2019-01-07T11:00:00Z", "10", "10",
    ),
    "a current of a fraction of an ampere below a bound that has one": (
        tariff(element(("ENERGY", "1", "0", 1), min_current="16.5"), element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "10", "MIN_CURRENT": "16.4999"})), "2019-01-07T11:00:00Z",
        "30", "30",
    ),
    "a power of a fraction of a watt below its bound": (
        tariff(element(("ENERGY", "1", "0", 1), max_power="11.04"), element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "10", "MAX_POWER": "11.0399"})), "2019-01-07T11:00:00Z",
        "10", "10",
    ),
    "a mean power of a fraction of a watt below its bound": (
        tariff(element(("ENERGY", "1", "0", 1), min_power="11.0395"), element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "11.0394"})), "2019-01-07T11:00:00Z", "33.1182", "33.1182",
    ),
    "charging for less than its period lasts": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "TIME": "0.4"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "0", "TIME": "0.3333", "PARKING_TIME": "0"}),
                ("2019-01-07T11:20:00Z", {"ENERGY": "0"})), "2019-01-07T12:20:00Z", "8.20", "8.20",
    ),
    "charging for no time of a period, or for a part of it with a parking time of none": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "TIME": "0"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "1", "TIME": "0.4", "PARKING_TIME": "0"})), "2019-01-07T12:00:00Z",
        "1.20", "1.20",
    ),
    "parking for the last decimal of an hour": (
        tariff(element(("TIME", "3", "0", 1)), element(("PARKING_TIME", "6", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "1", "TIME": "0.9999", "PARKING_TIME": "0.0001"})),
        "2019-01-07T11:00:00Z", "3.0003", "3.0003",
    ),
    "time within a decimal of its period is all of it, with more beside it not": (
        tariff(element(("TIME", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"TIME": "0.3333"}), ("2019-01-07T10:20:00.240Z", {"TIME": "0.3333"})),
        "2019-01-07T10:40:00.481Z", "2.0001", "2.0001",
    ),
    "energy fed back after energy taken has a time of its own": (
        tariff(element(("TIME", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "2", "TIME": "1"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "-5", "TIME": "1"})), "2019-01-07T12:00:00Z", "6", "6",
    ),
    "a period that ends as it starts is not the last of time": (
        tariff(element(("TIME", "60", "0", 3600)), element(("PARKING_TIME", "6", "0", 3600))),
        periods(("2019-01-07T10:00:00Z", {"PARKING_TIME": "0.5"}),
                ("2019-01-07T10:30:00Z", {"ENERGY": "1.5", "TIME": "0.5"}),
                ("2019-01-07T11:00:00Z", {"ENERGY": "0"})), "2019-01-07T11:00:00Z", "63", "63",
    ),
    "decimals of a time are no other time": (
        tariff(element(("ENERGY", "1", "0", 1), max_power="30.001"), element(("ENERGY", "3", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "10", "TIME": "0.3333"})), "2019-01-07T10:20:00Z", "10", "10",
    ),
    "no power and no current": (
        tariff(element(("PARKING_TIME", "1", "0", 1), min_power="0.001"),
               element(("PARKING_TIME", "2", "0", 1), min_current="1"), element(("PARKING_TIME", "4", "0", 1))),
        periods(("2019-01-07T10:00:00Z", {"PARKING_TIME": "1"})), "2019-01-07T11:00:00Z", "4", "4",
    ),
    "a least price without its taxes": (
        tariff(element(("ENERGY", "0.25", "20", 1)), min_price={"excl_vat": "2"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "4"})), "2019-01-07T11:00:00Z", "2", "2.40",
    ),
    "a least price without its taxes, nor energy": (
        tariff(element(("ENERGY", "0.25", "20", 1)), min_price={"excl_vat": "2"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "0"})), "2019-01-07T11:00:00Z", "2", "2.40",
    ),
    "a least price, nor energy, in a tariff without taxes": (
        tariff({"price_components": [{"type": "ENERGY", "price": "0.25", "step_size": 1}]},
               min_price={"excl_vat": "2"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "0"})), "2019-01-07T11:00:00Z", "2", "2",
    ),
    "a greatest price without its taxes, of two rates": (
        tariff(element(("ENERGY", "1", "10", 1)), element(("FLAT", "2", "20", 1)), max_price={"excl_vat": "3"}),
        periods(("2019-01-07T10:00:00Z", {"ENERGY": "4"})), "2019-01-07T11:00:00Z", "3", "3.40",
    ),
}  # fmt: skip


@together("name", EXAMPLES)
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


def test_periods_end_at_or_after_the_last_one_and_within_sixty_days() -> None:
    (period,) = periods(("2019-01-07T10:00:00Z", {"ENERGY": "1"}))
    begin = wire.utc_ms(period.start_date_time)
    for lasted_ms in (0, SIXTY_DAYS_MS):
        assert costs_by([(period, tariff(ENERGY))], begin + lasted_ms, "").before_taxes == Decimal("0.25")
    for lasted_ms in (-1, SIXTY_DAYS_MS + 1):
        with pytest.raises(CodecError, match="do not end"):
            costs_by([(period, tariff(ENERGY))], begin + lasted_ms, "UTC")
    (later,) = periods(("2019-01-07T11:00:00Z", {"ENERGY": "1"}))
    with pytest.raises(CodecError, match="do not end"):
        costs_by([(each, tariff(ENERGY)) for each in (period, later)], begin + 1, "UTC")


def test_periods_of_both_directions_at_once_have_the_price_of_each() -> None:
    """Where two have one start, one of energy taken and one of energy fed back; else each is a time of its own."""
    night = element(("ENERGY", "9", "0", 1), start_time="11:00")
    taken, fed_back = tariff(night, ENERGY, id="taken"), tariff(element(("ENERGY", "3", "0", 1)), id="fed back")
    at = {number: f"2019-01-07T{number}:00:00Z" for number in (10, 11)}
    for parts, wanted in (
        ([(10, "0.5", taken), (10, "-2", fed_back)], Decimal("0.125") - 6),
        ([(10, "-2", fed_back), (10, "0.5", taken)], Decimal("0.125") - 6),
        ([(10, "0", taken), (10, "-2", fed_back)], Decimal(-6)),
        ([(10, "0.5", taken), (11, "-2", fed_back)], Decimal("0.125") - 6),
        ([(11, "-2", taken)], Decimal(-18)),
        ([(10, "1", fed_back), (11, "0.5", fed_back), (11, "-2", taken)], 3 + Decimal("1.5") - 18),
        ([(10, "4", taken), (10, "4", fed_back)], Decimal(24)),  # energy of a period without time is of the next
    ):
        priced = [(periods((at[hour], {"ENERGY": kwh, "TIME": "1"}))[0], one) for hour, kwh, one in parts]
        end_ms = wire.read_time(f"2019-01-07T{parts[-1][0] + 1}:00:00Z")
        assert costs_by(priced, end_ms, "UTC").before_taxes == wanted, parts


def test_a_day_that_no_week_has_is_an_error() -> None:
    (period,) = periods(("2019-01-07T10:00:00Z", {"ENERGY": "1"}))
    odd = element(("ENERGY", "1", "0", 1), day_of_week=["MONDAY", "SOMEDAY"])
    with pytest.raises(CodecError, match="SOMEDAY"):
        costs_by([(period, tariff(odd))], wire.utc_ms(period.start_date_time), "UTC")


def test_each_condition_counts_in_its_own_unit() -> None:
    """A session at 10.5 kW and 15 A, from 0 to 21 kWh, has the first rate up to each bound."""
    for restrictions, first_kwh in (
        ({"max_kwh": "1.001"}, "1.001"),
        ({"min_kwh": "1.001"}, "19.999"),
        ({"max_power": "10.501"}, "21"),
        ({"max_power": "10.5"}, "0"),
        ({"min_power": "10.501"}, "0"),
        ({"min_power": "10.5"}, "21"),
        ({"max_current": "15"}, "0"),
        ({"max_current": "16"}, "21"),
        ({"min_duration": 3600}, "10.5"),
        ({"max_duration": 1800}, "5.25"),
        ({"start_time": "10:30", "end_time": "10:31"}, "0.175"),
    ):
        rates = element(("ENERGY", "1", "0", 1), **restrictions), element(("ENERGY", "3", "0", 1))
        (period,) = periods(
            ("2019-01-07T10:00:00Z", {"ENERGY": "21", "TIME": "2", "MIN_POWER": "10.5", "MIN_CURRENT": "15"})
        )
        end_ms = wire.utc_ms(period.start_date_time) + 2 * 3_600_000
        cost = costs_by([(period, tariff(*rates))], end_ms, "UTC").before_taxes
        assert (63 - cost) / 2 == Decimal(first_kwh), restrictions


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


@together(
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


VAT = (Tax(kind="VAT", ppm=190_000),)


def test_a_plan_with_all_that_ocpi_can_say() -> None:
    night = When(from_minute=1320, to_minute=60, weekdays=(0, 6), from_day=date(2026, 1, 2), to_day=date(2026, 2, 3))
    narrow = When(min_energy_wh=1500, max_energy_wh=2500, min_power_w=3500, max_power_w=11_000, min_current_a=6,
                  max_current_a=16, min_time_s=60, max_time_s=3600)  # fmt: skip

    def charge(price: str, when: When = When(), taxes: tuple[Tax, ...] = VAT) -> Charge:  # noqa: B008 (frozen)
        return Charge(rates=(Rate(price=price, when=when),), taxes=taxes)

    plan = PricePlan(
        id="Ä night", currency="SEK", energy=charge("0.30", narrow), charging_time=charge("0.05", night),
        idle_time=charge("0.10", taxes=()), fixed=charge("1.00", night), reservation_time=charge("0.02"),
        reservation_fixed=charge("2.00"), export=charge("-0.20", narrow, ()),
    )  # fmt: skip
    there, back = tariffs_of(plan, "SE", "ABC", wire.moment(0))
    assert (there.id, back.id) == (tariff_id("Ä night"), tariff_id("Ä night") + "-export")
    for each in (there, back):
        assert (each.country_code, each.party_id, each.currency, each.tax_included) == ("SE", "ABC", "SEK", "NO")
        assert (each.last_updated, each.min_price, each.max_price) == (wire.moment(0), None, None)
    by_clock = {"start_time": "22:00", "end_time": "01:00", "start_date": "2026-01-02", "end_date": "2026-02-03",
                "day_of_week": ("MONDAY", "SUNDAY")}  # fmt: skip
    by_use = {"min_kwh": "1.5", "max_kwh": "2.5", "min_power": "3.5", "max_power": "11", "min_current": "6",
              "max_current": "16", "min_duration": 60, "max_duration": 3600}  # fmt: skip
    reserved = {"reservation": "RESERVATION"}
    assert [seen(each) for each in there.elements] == [
        ("ENERGY", "0.30", "19", by_use),
        ("TIME", "3.00", "19", by_clock),
        ("PARKING_TIME", "6.00", None, {}),
        ("FLAT", "1.00", "19", by_clock),
        ("TIME", "1.20", "19", reserved),
        ("FLAT", "2.00", "19", reserved),
    ]
    assert [seen(each) for each in back.elements] == [("ENERGY", "-0.20", None, by_use)]


def seen(element: OcpiElement) -> tuple[str, str, str | None, dict[str, Any]]:
    """Return type, price, VAT and restrictions of an element of one component, whose step is 1."""
    (part,) = element.price_components
    assert part.step_size == 1
    given = {} if element.restrictions is None else msgspec.structs.asdict(element.restrictions)
    plain = {name: value if isinstance(value, int | tuple) else str(value) for name, value in given.items() if value}
    return part.type, str(part.price), None if part.vat is None else f"{part.vat:f}", plain


@together(
    ("bounds", "least", "greatest"),
    [
        ({"least": Bound(excl_tax="2")}, ("2", None), None),
        ({"least": Bound(excl_tax="2", incl_tax="2.50")}, ("2", "2.50"), None),
        ({"least": Bound(incl_tax="2.38")}, ("2", "2.38"), None),
        ({"least": Bound()}, None, None),
        ({"greatest": Bound(excl_tax="2")}, None, ("2", "2.38")),
        ({"greatest": Bound(incl_tax="2.38")}, None, ("2", "2.38")),
        ({"greatest": Bound(excl_tax="2", incl_tax="2.20")}, None, ("1.8487", "2.20")),  # what is reached first
        ({"greatest": Bound(excl_tax="2.00001", incl_tax="3")}, None, ("2.00001", "2.380012")),
        ({"greatest": Bound()}, None, None),
        ({"least": Bound(excl_tax="0.1"), "greatest": Bound(excl_tax="0.5")}, ("0.1", None), ("0.5", "0.595")),
        ({"least": Bound(excl_tax="2"), "greatest": Bound(excl_tax="2")}, ("2", None), ("2", "2.38")),
        (
            {"least": Bound(excl_tax="1", incl_tax="2.38"), "greatest": Bound(excl_tax="2")},
            ("1", "2.38"),
            ("2", "2.38"),
        ),
    ],
)
def test_bounds_of_a_price(
    bounds: dict[str, Any], least: tuple[str, str | None] | None, greatest: tuple[str, str | None] | None
) -> None:
    plan = PricePlan(id="a", currency="EUR", energy=Charge(rates=(Rate(price="0"),), taxes=VAT), **bounds)
    (found,) = tariffs_of(plan, "DE", "ABC", wire.moment(0))
    for bound, wanted in ((found.min_price, least), (found.max_price, greatest)):
        assert bound == (wanted and PriceBound(
            before_taxes=Decimal(wanted[0]), after_taxes=None if wanted[1] is None else Decimal(wanted[1])
        ))  # fmt: skip


def test_a_least_price_above_the_greatest_by_taxes_alone_is_not_published() -> None:
    plan = PricePlan(
        id="a", currency="EUR", energy=Charge(rates=(Rate(price="1"),), taxes=VAT),
        least=Bound(excl_tax="1", incl_tax="2.39"), greatest=Bound(excl_tax="2"),
    )  # fmt: skip
    with pytest.raises(CodecError, match="above the greatest"):
        tariffs_of(plan, "DE", "ABC", wire.moment(0))


def test_a_plan_without_charges_may_have_a_bound() -> None:
    (found,) = tariffs_of(PricePlan(id="a", currency="EUR", greatest=Bound(excl_tax="2")), "DE", "ABC", wire.moment(0))
    assert found.max_price == PriceBound(before_taxes=Decimal(2), after_taxes=Decimal(2))


def test_ids_and_rates() -> None:
    assert tariff_id("day") == "day"
    assert tariff_id("day-export") not in {
        "day-export",
        "day",
    }  # else it were the tariff of energy that "day" feeds back
    assert tariff_id("day-EXPORT").lower() != "day-export"  # ids of OCPI have no case
    assert len(tariff_id("ä" * 60)) <= 29
    assert tariff_id("a" * 60) != tariff_id("a" * 59 + "b")
    assert percent_of((Tax(kind="a", ppm=100_000), Tax(kind="b", ppm=50_000, stack=1))) == Decimal("15.5")
    assert percent_of((Tax(kind="a", ppm=200_000),)) == 20
