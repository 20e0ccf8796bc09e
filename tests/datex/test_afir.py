"""DATEX II as the profile's notes describe it, from the objects that partners see, with the price of the contract."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.datex import profile
from v2g.datex import afir
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.errors import CodecError
from v2g.ocpi.objects import (
    EnergyMix,
    OcpiComponent,
    OcpiConnector,
    OcpiElement,
    OcpiEvse,
    OcpiLocation,
    OcpiPlace,
    OcpiTariff,
    OpeningTimes,
    RegularHours,
    TariffRestrictions,
)
from v2g.ocpi.tariffs import tariffs_of
from v2g.ocpi.wire import moment
from v2g.typed_json import Fields

pytestmark = pytest.mark.requirement("R205")

VALID = jsonschema_rs.Draft202012Validator(profile.schema("D2Payload"), validate_formats=True)
CONTAINED = jsonschema_rs.Draft202012Validator(profile.schema("Container"), validate_formats=True)
NOW = moment(1_795_161_600_000)
WHO = afir.Publisher(country_code="DE", party_id="ABC", name="The Operator")
VAT = (Tax(kind="VAT", ppm=190_000),)


def plan(energy: str, minute: str, fixed: str, when: When | None = None) -> PricePlan:
    rate = Rate(price=energy) if when is None else Rate(price=energy, when=when)
    return PricePlan(
        id="day", currency="EUR", energy=Charge(rates=(rate,), taxes=VAT),
        charging_time=Charge(rates=(Rate(price=minute),), taxes=VAT),
        fixed=Charge(rates=(Rate(price=fixed),), taxes=VAT),
    )  # fmt: skip


def place(*statuses: str, publish: bool = True) -> OcpiLocation:
    connector = OcpiConnector(
        id="1", standard="IEC_62196_T2_COMBO", format="CABLE", power_type="DC", max_voltage=1000, max_amperage=200,
        max_electric_power=150_000, tariff_ids=("day",), capabilities=("ISO_15118_20_PLUG_AND_CHARGE", "BIDIRECTIONAL"),
        last_updated=NOW,
    )  # fmt: skip
    return OcpiLocation(
        country_code="DE", party_id="ABC", id="Depot", publish=publish, address="Ladestr. 1", city="Berlin",
        postal_code="10115", country="DEU", coordinates=OcpiPlace(latitude="52.52000", longitude="13.40500"),
        time_zone="Europe/Berlin", last_updated=NOW,
        evses=tuple(
            OcpiEvse(uid=f"E{number}", evse_id=f"DE*ABC*E{number}", status=each, connectors=(connector,),
                     capabilities=("RFID_READER", "RESERVABLE", "CONTACTLESS_CARD_SUPPORT"), last_updated=NOW)
            for number, each in enumerate(statuses, 1)
        ),
    )  # fmt: skip


def tariffs(made: PricePlan) -> dict[str, OcpiTariff]:
    return {each.id: each for each in tariffs_of(made, "DE", "ABC", NOW)}


def tables(*places: OcpiLocation) -> tuple[Fields, Fields]:
    known = tariffs(plan("0.4977", "0.02", "0.35"))
    made = afir.table(places, known, WHO, NOW)["payload"]
    said = afir.status(places, known, WHO, NOW)["payload"]
    assert (made["modelBaseVersionG"], made["profileVersionG"]) == ("3", "01-00-00")
    (infrastructure,) = made["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"]
    return infrastructure, said["aegiEnergyInfrastructureStatusPublication"]


def test_the_table_has_what_the_profile_demands() -> None:
    table, _ = tables(place("AVAILABLE", "REMOVED"), place("AVAILABLE", publish=False))
    (site,) = table["energyInfrastructureSite"]
    (station,) = site["energyInfrastructureStation"]
    (point,) = [each["aegiElectricChargingPoint"] for each in station["refillPoint"]]
    for each in (table, site, station, point):
        assert each["idG"]
        assert each["versionG"]
    assert (station["totalMaximumPower"], station["numberOfRefillPoints"]) == (150_000, 1)
    assert (point["deliveryUnit"], point["currentType"]) == ({"value": "kWh"}, {"value": "dc"})
    assert point["externalIdentifier"][0]["identifier"] == "DE*ABC*E1"
    assert point["vehicleToGridCommunicationType"] == [{"value": "iso15118"}]
    services = [each["value"] for each in point["smartRechargingServices"]]
    assert services == ["plugAndCharge", "bidirectionalRecharging"]
    (connector,) = point["connector"]
    assert connector["connectorType"] == {"value": "iec62196T2COMBO"}
    (rate,) = point["electricEnergy"][0]["energyRate"]
    assert rate["ratePolicy"] == {"value": "adHoc"}
    assert [(each["priceType"]["value"], each["value"]) for each in rate["energyPrice"]] == [
        ("pricePerKWh", 0.592263), ("pricePerMinute", 0.0238), ("basePrice", 0.4165),
    ]  # fmt: skip


def test_opening_hours_and_helpdesk_are_said() -> None:
    days = [RegularHours(weekday=each, period_begin="06:00", period_end="22:00") for each in (1, 7)]
    later = RegularHours(weekday=6, period_begin="08:00", period_end="20:00")
    open_then = OpeningTimes(twentyfourseven=False, regular_hours=(*days, later))
    known = msgspec.structs.replace(place("AVAILABLE"), opening_times=open_then, help_phone="+49 30 1")
    (site,) = tables(known)[0]["energyInfrastructureSite"]
    hours = site["operatingHours"]["afacOperatingHoursSpecification"]
    found = {
        (span["startTimeOfPeriod"], span["endTimeOfPeriod"]): [each["value"] for each in days["applicableDay"]]
        for valid in hours["overallPeriod"]["validPeriod"]
        for span in valid["recurringTimePeriodOfDay"]
        for days in [each["comDayWeekMonth"] for each in valid["recurringDayWeekMonthPeriod"]]
    }
    assert found == {("06:00:00Z", "22:00:00Z"): ["monday", "sunday"], ("08:00:00Z", "20:00:00Z"): ["saturday"]}
    (unit,) = site["helpdesk"]["afacAnOrganisation"]["organisationUnit"]
    assert unit["contactInformation"] == [{"afacContactInformation": {"telephoneNumber": "+49 30 1"}}]
    (station,) = site["energyInfrastructureStation"]
    assert station["authenticationAndIdentificationMethods"] == [{"value": "rfid"}, {"value": "nfc"}]
    legal, lacks = afir.missing([known], tariffs(plan("1", "0", "0")), WHO)
    assert "renewable" in lacks
    assert "legal name" in legal
    assert "NUTS-1" in lacks
    assert "parking" in lacks
    assert "helpdesk" not in lacks
    assert "opening" not in lacks
    always = msgspec.structs.replace(
        known, opening_times=OpeningTimes(twentyfourseven=True), energy_mix=EnergyMix(is_green_energy=False)
    )
    (site,) = tables(always)[0]["energyInfrastructureSite"]
    assert site["operatingHours"] == {"afacOpenAllHours": {}}


def test_the_country_is_that_of_the_place() -> None:
    """Not that of the operator, whose party may be of another one."""
    for country, expected in (("DEU", "DE"), ("AUT", "AT"), ("XXX", "DE")):
        (site,) = tables(msgspec.structs.replace(place("AVAILABLE"), country=country))[0]["energyInfrastructureSite"]
        where = site["locationReference"]["locPointLocation"]["locLocationExtensionG"]
        assert where["FacilityLocation"]["address"]["countryCode"] == expected


def test_a_status_refers_to_the_versions_of_the_table_and_changes_none() -> None:
    before, _ = tables(place("AVAILABLE", "CHARGING"))
    after, status = tables(place("OUTOFORDER", "NEW"))
    assert before == after
    table = {"targetClass": "EnergyInfrastructureTable", "idG": after["idG"], "versionG": after["versionG"]}
    assert status["tableReference"] == [table]
    (site,) = status["energyInfrastructureSiteStatus"]
    (station,) = site["energyInfrastructureStationStatus"]
    points = [each["aegiElectricChargingPointStatus"] for each in station["refillPointStatus"]]
    assert [each["status"]["value"] for each in points] == ["outOfOrder", "unknown"]
    (known,) = after["energyInfrastructureSite"]
    (there,) = known["energyInfrastructureStation"]
    objects = known, there, *(each["aegiElectricChargingPoint"] for each in there["refillPoint"])
    referred = site["reference"], station["reference"], *(each["reference"] for each in points)
    assert [(each["idG"], each["versionG"]) for each in referred] == [
        (each["idG"], each["versionG"]) for each in objects
    ]
    changed, _ = tables(msgspec.structs.replace(place("AVAILABLE", "CHARGING"), city="Bonn"))
    assert changed["versionG"] != after["versionG"]
    two = place("AVAILABLE"), msgspec.structs.replace(place("CHARGING"), id="Yard")
    assert tables(*two) == tables(*reversed(two)), "databases return first, or last, what has changed"


def test_conditions_are_said_or_the_price_is_left_out_and_named() -> None:
    night = plan("0.30", "0", "0", When(from_minute=1320, to_minute=360, weekdays=(0, 6), max_energy_wh=5000))
    (rate,) = [afir.rate_of(each, UTC) for each in tariffs_of(night, "DE", "ABC", NOW)]
    price = next(each for each in rate["energyPrice"] if each["priceType"] == {"value": "pricePerKWh"})
    assert price["energyBasedApplicability"] == {"toKWh": 5}
    (valid,) = price["overallPeriod"]["validPeriod"]
    assert valid["recurringTimePeriodOfDay"] == [{"startTimeOfPeriod": "22:00:00Z", "endTimeOfPeriod": "06:00:00Z"}]
    days = valid["recurringDayWeekMonthPeriod"][0]["comDayWeekMonth"]["applicableDay"]
    assert days == [{"value": "monday"}, {"value": "sunday"}]
    fast = tariffs(plan("0.30", "0", "0", When(min_power_w=50_000)))
    with pytest.raises(CodecError, match="min_power"):
        afir.rate_of(fast["day"], UTC)
    said = afir.missing([place("AVAILABLE")], fast, WHO)
    assert any("price" in each for each in said)
    assert any("helpdesk" in each for each in said)
    assert not any("price" in each for each in afir.missing([place("AVAILABLE")], tariffs(plan("1", "0", "0")), WHO))


def test_a_price_begins_and_ends_at_midnight_of_its_place() -> None:
    """A time of a day has no zone there, but the begin and end of a period are moments, as in the profile's example."""
    summer = plan("0.30", "0", "0", When(from_day=date(2026, 3, 29), to_day=date(2026, 3, 30)))
    (rate,) = [afir.rate_of(each, ZoneInfo("Europe/Berlin")) for each in tariffs(summer).values()]
    period = next(each["overallPeriod"] for each in rate["energyPrice"] if "overallPeriod" in each)
    assert period == {"overallStartTime": "2026-03-28T23:00:00Z", "overallEndTime": "2026-03-29T22:00:00Z"}


def test_a_least_price_without_taxes_is_said_with_them_or_not_at_all() -> None:
    least = msgspec.structs.replace(plan("0.30", "0", "0"), least=Bound(excl_tax="5"))
    (rate,) = [afir.rate_of(each, UTC) for each in tariffs(least).values()]
    usage = Usage(start_ms=0, end_ms=60_000, charging=((0, True),), currents=(), readings=())
    assert rate["minimumDeliveryFee"] == 5.95 == bill([(0, least)], usage, ended=True).incl_tax / 10**6
    mixed = msgspec.structs.replace(least, fixed=Charge(rates=(Rate(price="1"),)))
    with pytest.raises(CodecError, match="taxes"):
        afir.rate_of(tariffs(mixed)["day"], UTC)


restrictions = st.builds(
    TariffRestrictions,
    start_time=st.none() | st.sampled_from(("00:00", "18:00", "22:00")),
    end_time=st.none() | st.sampled_from(("00:00", "06:00", "20:00", "24:00")),
    day_of_week=st.sampled_from(((), ("MONDAY",), ("MONDAY", "SUNDAY"))),
    start_date=st.none() | st.just(date(2031, 3, 2)), end_date=st.none() | st.just(date(2031, 3, 4)),
    min_kwh=st.none() | st.sampled_from((Decimal(0), Decimal(5))),
    max_kwh=st.none() | st.sampled_from((Decimal(3), Decimal(10))),
    min_duration=st.none() | st.just(600), max_duration=st.none() | st.just(3600),
)  # fmt: skip


def published(price: Any, at: datetime, kwh: int, minutes: int) -> bool:
    """Whether a published price applies, by its own words."""
    energy, use = price.get("energyBasedApplicability", {}), price.get("timeBasedApplicability", {})
    period = price.get("overallPeriod", {})
    clock, day = f"{at:%H:%M:%S}Z", f"{at:%A}".lower()
    for valid in period.get("validPeriod", ()):
        for span in valid.get("recurringTimePeriodOfDay", ()):
            begin, end = span["startTimeOfPeriod"], span["endTimeOfPeriod"]
            if not (begin <= clock < end if begin < end else clock >= begin or clock < end):
                return False
        for days in valid.get("recurringDayWeekMonthPeriod", ()):
            if day not in [each["value"] for each in days["comDayWeekMonth"]["applicableDay"]]:
                return False
    moment = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return bool(
        period.get("overallStartTime", "") <= moment < period.get("overallEndTime", "9")
        and energy.get("fromKWh", 0) <= kwh < energy.get("toKWh", 10**9)
        and use.get("fromMinute", 0) <= minutes < use.get("toMinute", 10**9)
    )


@given(
    conditions=st.lists(restrictions, min_size=1, max_size=3),
    at=st.integers(0, 7200).map(lambda minute: datetime(2031, 3, 1, tzinfo=UTC) + timedelta(minutes=minute)),
    kwh=st.integers(0, 12), minutes=st.integers(0, 70),
)  # fmt: skip
def test_of_published_prices_at_most_one_of_a_kind_applies_the_first_of_the_tariff(
    conditions: list[TariffRestrictions], at: datetime, kwh: int, minutes: int
) -> None:
    elements = [
        OcpiElement(
            restrictions=each, price_components=(OcpiComponent(type="ENERGY", price=Decimal(nth), step_size=1),)
        )
        for nth, each in enumerate(conditions)
    ]
    (base,) = tariffs_of(plan("1", "0", "0"), "DE", "ABC", NOW)
    rate = afir.rate_of(msgspec.structs.replace(base, elements=tuple(elements)), UTC)
    applying = [each["value"] for each in rate["energyPrice"] if published(each, at, kwh, minutes)]
    alone = [afir.rate_of(msgspec.structs.replace(base, elements=(each,)), UTC)["energyPrice"] for each in elements]
    first = [nth for nth, (price,) in enumerate(alone) if published(price, at, kwh, minutes)][:1]
    assert applying == first


def test_a_price_without_condition_is_published_for_the_time_that_others_leave() -> None:
    night = When(from_minute=1320, to_minute=360, weekdays=(0,))
    both = Charge(rates=(Rate(price="0.30", when=night), Rate(price="0.50")), taxes=VAT)
    (rate,) = (
        afir.rate_of(each, UTC) for each in tariffs(msgspec.structs.replace(plan("1", "0", "0"), energy=both)).values()
    )
    shown = [
        (each["value"], each["overallPeriod"]["validPeriod"][0])
        for each in rate["energyPrice"]
        if each["priceType"] == {"value": "pricePerKWh"}
    ]
    assert [value for value, _ in shown] == [0.357, 0.595, 0.595]
    tuesday, monday = shown[1][1], shown[2][1]
    (days,) = tuesday["recurringDayWeekMonthPeriod"]
    assert days["comDayWeekMonth"]["applicableDay"][0] == {"value": "tuesday"}
    assert "recurringTimePeriodOfDay" not in tuesday
    assert monday["recurringTimePeriodOfDay"] == [{"startTimeOfPeriod": "06:00:00Z", "endTimeOfPeriod": "22:00:00Z"}]


CONNECTORS = (
    "IEC_62196_T2",
    "IEC_62196_T2_COMBO",
    "CHADEMO",
    "MCS",
    "SAE_J3400",
    "DOMESTIC_F",
    "GBT_DC",
    "NEMA_5_20",
    "IEC_60309_2_three_32",
)
clocks = st.integers(0, 23).map(lambda hour: f"{hour:02}:00")
whens = st.builds(
    When, from_minute=st.integers(0, 1439), to_minute=st.integers(0, 1440), weekdays=st.just((0, 6)) | st.just(()),
    max_energy_wh=st.none() | st.integers(1, 20).map(lambda kwh: kwh * 500),
)  # fmt: skip


@given(
    standard=st.sampled_from(CONNECTORS), power=st.sampled_from(("DC", "AC_3_PHASE", "AC_1_PHASE")),
    status=st.sampled_from(("AVAILABLE", "CHARGING", "NEW", "OUTOFORDER")), when=st.none() | whens,
    hours=st.none() | st.just(()) | st.lists(st.tuples(st.integers(1, 7), clocks), min_size=1, max_size=3).map(tuple),
    zone=st.sampled_from(("Europe/Berlin", "Europe/Lisbon", "America/New_York", "Asia/Kolkata")),
    spaces=st.none() | st.integers(0, 99),
)  # fmt: skip
def test_whatever_is_published_has_the_members_that_the_profile_demands_and_no_others(
    standard: str,
    power: str,
    status: str,
    when: When | None,
    hours: tuple[tuple[int, str], ...] | None,
    zone: str,
    spaces: int | None,
) -> None:
    known = place(status)
    times = [RegularHours(weekday=day, period_begin=begin, period_end="24:00") for day, begin in hours or ()]
    connector = msgspec.structs.replace(known.evses[0].connectors[0], standard=standard, power_type=power)
    changed = msgspec.structs.replace(
        known, evses=(msgspec.structs.replace(known.evses[0], connectors=(connector,)),), time_zone=zone,
        opening_times=None if hours is None else OpeningTimes(twentyfourseven=not hours, regular_hours=tuple(times)),
        help_phone="+49 30 1", nuts="DE3", parking_spaces=spaces, disabled_spaces=spaces and spaces // 10,
        energy_mix=EnergyMix(is_green_energy=True),
    )  # fmt: skip
    prices = tariffs(plan("0.4977", "0.02", "0.35", when))
    for make in (afir.table, afir.status):
        who = msgspec.structs.replace(WHO, legal_name="The Operator plc")
        document = make([changed], prices, who, NOW)
        VALID.validate(document)
        CONTAINED.validate(afir.container(document, WHO, NOW))
    assert afir.has_sites(afir.table([changed], prices, WHO, NOW))
    assert not afir.has_sites(afir.table([], prices, WHO, NOW))
    said = afir.missing([changed], prices, who)
    assert ("Depot: " in " ".join(said)) == (hours is None or spaces is None)


def test_a_time_zone_is_its_standard_offset() -> None:
    for zone, offset in (("Europe/Berlin", "+01:00"), ("Europe/Dublin", "+00:00"), ("UTC", "+00:00"),
                         ("Asia/Kolkata", "+05:30"), ("America/New_York", "-05:00"),
                         ("Nowhere/At_All", "+00:00")):  # fmt: skip
        for month in (1, 7):
            updated = NOW.replace(month=month)
            table, _ = tables(msgspec.structs.replace(place("AVAILABLE"), time_zone=zone, last_updated=updated))
            point = table["energyInfrastructureSite"][0]["locationReference"]["locPointLocation"]
            assert point["locLocationExtensionG"]["FacilityLocation"]["timeZone"] == offset


prices = st.decimals("0", "3", places=4).map(str)


@given(energy=prices, minute=prices, fixed=prices, wh=st.integers(0, 200_000), minutes=st.integers(0, 600))
def test_a_session_costs_by_the_published_prices_what_is_billed(
    energy: str, minute: str, fixed: str, wh: int, minutes: int
) -> None:
    made = plan(energy, minute, fixed)
    end_ms = minutes * 60_000
    usage = Usage(
        start_ms=0, end_ms=end_ms, charging=((0, True),), currents=(),
        readings=(Registers(0, 0, 0, "metered"), Registers(end_ms, wh * 1000, 0, "metered")),
    )  # fmt: skip
    billed = bill([(0, made)], usage, ended=True).incl_tax / 10**6
    (rate,) = [afir.rate_of(each, UTC) for each in tariffs_of(made, "DE", "ABC", NOW)]
    shown = {each["priceType"]["value"]: each["value"] for each in rate["energyPrice"]}
    cost = shown["pricePerKWh"] * wh / 1000 + shown["pricePerMinute"] * minutes + shown["basePrice"]
    assert abs(cost - billed) <= 0.01
