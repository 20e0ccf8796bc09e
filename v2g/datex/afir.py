"""Charging points as DATEX II v3 by the AFIR recharging profile 01-00-00 (JSON): the table, and the status of points.

Both are made of the objects that OCPI partners see, so that no place or price differs. A version is a digest of the
object's content: it changes when the object does, and the status refers to the same one. Names and structure are those
of the German profile's JSON schemas, which have no licence to be shipped with: tests/datex/profile.py has what of them
is used. The official XSD names some members otherwise.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from v2g.energy.settlement.pieces import zone_of
from v2g.errors import CodecError
from v2g.ocpi.objects import (
    OcpiComponent,
    OcpiConnector,
    OcpiEvse,
    OcpiLocation,
    OcpiTariff,
    OpeningTimes,
    PriceBound,
    TariffRestrictions,
)
from v2g.typed_json import Fields
from v2g.units import currency_digits

_STATUS: Final = {
    "AVAILABLE": "available", "BLOCKED": "blocked", "CHARGING": "charging", "INOPERATIVE": "inoperative",
    "OUTOFORDER": "outOfOrder", "PLANNED": "planned", "RESERVED": "reserved",
}  # fmt: skip
_CONNECTORS: Final = {
    "CHADEMO": "chademo", "MCS": "mcs", "IEC_62196_T1": "iec62196T1", "IEC_62196_T1_COMBO": "iec62196T1COMBO",
    "IEC_62196_T2": "iec62196T2", "IEC_62196_T2_COMBO": "iec62196T2COMBO", "IEC_62196_T3A": "iec62196T3A",
    "IEC_62196_T3C": "iec62196T3C", "IEC_60309_2_three_16": "iec60309x2three16",
    "IEC_60309_2_three_32": "iec60309x2three32", "IEC_60309_2_three_64": "iec60309x2three64",
    "IEC_60309_2_single_16": "iec60309x2single16", "PANTOGRAPH_BOTTOM_UP": "pantographBottomUp",
    "PANTOGRAPH_TOP_DOWN": "pantographTopDown", "TESLA_R": "teslaR", "TESLA_S": "teslaS",
    "SAE_J3400": "teslaConnectorAmerica",
}  # fmt: skip
_MEANS: Final = {
    "RFID_READER": "rfid", "CREDIT_CARD_PAYABLE": "creditCard", "DEBIT_CARD_PAYABLE": "debitCard",
    "CONTACTLESS_CARD_SUPPORT": "nfc", "PED_TERMINAL": "pinpad",
}  # fmt: skip
"""How drivers identify themselves or pay, by OCPI's capabilities."""

_SERVICES: Final = ("PLUG_AND_CHARGE", "plugAndCharge"), ("BIDIRECTIONAL", "bidirectionalRecharging")
"""By a part of a connector's capabilities; the second one is ours, as OCPI has none."""

_PRICES: Final = {
    "ENERGY": ("pricePerKWh", 1), "TIME": ("pricePerMinute", 60), "PARKING_TIME": ("pricePerMinute", 60),
    "FLAT": ("basePrice", 1),
}  # fmt: skip
"""By OCPI's kind: DATEX's, and by what OCPI's price is divided."""

_COUNTRIES: Final = {
    "AUT": "AT", "BEL": "BE", "BGR": "BG", "CHE": "CH", "CYP": "CY", "CZE": "CZ", "DEU": "DE", "DNK": "DK",
    "ESP": "ES", "EST": "EE", "FIN": "FI", "FRA": "FR", "GBR": "GB", "GRC": "GR", "HRV": "HR", "HUN": "HU",
    "IRL": "IE", "ISL": "IS", "ITA": "IT", "LIE": "LI", "LTU": "LT", "LUX": "LU", "LVA": "LV", "MLT": "MT",
    "NLD": "NL", "NOR": "NO", "POL": "PL", "PRT": "PT", "ROU": "RO", "SVK": "SK", "SVN": "SI", "SWE": "SE",
}  # fmt: skip
"""Countries with access points: ISO 3166-1 alpha-3, as OCPI has them, and alpha-2."""

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PROFILE: Final = "01-00-00"
_ALWAYS: Final = "2000-01-01T00:00:00Z"
"""When periods begin that have no begin: the profile demands one."""


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """Who publishes: country (ISO 3166-1 alpha-2) and party of the operator, its names, the language of texts."""

    country_code: str
    party_id: str
    name: str
    legal_name: str = ""
    language: str = "en"

    @property
    def table_id(self) -> str:
        return f"{self.country_code}*{self.party_id}"


def table(
    locations: Sequence[OcpiLocation], tariffs: Mapping[str, OcpiTariff], publisher: Publisher, now: datetime
) -> Fields:
    """Return the table publication: static data of all locations that are open to see, with prices."""
    sites = [_site(each, tariffs, publisher) for each in _open(locations)]
    body = {"energyInfrastructureTable": [_table(sites, publisher)]}
    return _payload("aegiEnergyInfrastructureTablePublication", body, publisher, now)


def _table(sites: list[Fields], publisher: Publisher) -> Fields:
    return _versioned(publisher.table_id, {"energyInfrastructureSite": sites})


def status(
    locations: Sequence[OcpiLocation], tariffs: Mapping[str, OcpiTariff], publisher: Publisher, now: datetime
) -> Fields:
    """Return the status publication: a snapshot, which refers to the table of the same objects."""
    found, sites = [], []
    for place in _open(locations):
        site = _site(place, tariffs, publisher)
        sites.append(site)
        for station in site["energyInfrastructureStation"]:
            points = []
            evses = {each.uid: each for each in place.evses}
            for each in station["refillPoint"]:
                point = each["aegiElectricChargingPoint"]
                evse = evses[point["idG"]]
                said = {"reference": _reference("FacilityObject", point), "lastUpdated": _time(evse.last_updated),
                        "status": {"value": _STATUS.get(evse.status, "unknown")}}  # fmt: skip
                points.append({"aegiElectricChargingPointStatus": said})
            one = {"reference": _reference("FacilityObject", station), "refillPointStatus": points}
            found.append({"reference": _reference("FacilityObject", site), "lastUpdated": _time(place.last_updated),
                          "energyInfrastructureStationStatus": [one]})  # fmt: skip
    refers = _reference("EnergyInfrastructureTable", _table(sites, publisher))
    body = {"tableReference": [refers], "energyInfrastructureSiteStatus": found}
    return _payload("aegiEnergyInfrastructureStatusPublication", body, publisher, now)


def container(document: Fields, publisher: Publisher, now: datetime) -> Fields:
    """Return a publication as it is sent to an access point: a snapshot, with who sends it."""
    supplier = {"internationalIdentifier": _identifier(publisher)}
    context = {"codedExchangeProtocol": {"value": "snapshotPush"}, "exchangeSpecificationVersion": "3.0",
               "supplierOrCisRequester": supplier}  # fmt: skip
    dynamic = {"exchangeStatus": {"value": "online"}, "messageGenerationTimestamp": _time(now)}
    exchange = {"exchangeContext": context, "dynamicInformation": dynamic}
    return {"messageContainer": {"payload": [document["payload"]], "exchangeInformation": exchange}}


def has_sites(found: Fields) -> bool:
    """Return whether a table publication has any site: one without is not valid."""
    (only,) = found["payload"]["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"]
    return bool(only["energyInfrastructureSite"])


def table_version(found: Fields) -> str:
    """Return the version by which a status publication refers to a table publication."""
    (only,) = found["payload"]["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"]
    return str(only["versionG"])


def of_table(found: Fields, version: str) -> Fields:
    """Return a status publication that refers to an earlier table: receivers drop one of a table that they lack."""
    name = "aegiEnergyInfrastructureStatusPublication"
    body = found["payload"][name]
    (refers,) = body["tableReference"]
    changed = {**body, "tableReference": [{**refers, "versionG": version}]}
    return {**found, "payload": {**found["payload"], name: changed}}


def version_of(document: Fields) -> str:
    """Return a version of what a publication says, whenever it was made."""
    said = [{name: each for name, each in part.items() if name != "publicationTime"}
            for part in document["payload"].values() if isinstance(part, dict)]  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:32]


def missing(locations: Sequence[OcpiLocation], tariffs: Mapping[str, OcpiTariff], publisher: Publisher) -> list[str]:
    """Return what the profile's notes demand, or a driver needs, and these objects do not have, by place."""
    found = [] if publisher.legal_name else ["legal name of the operator"]
    names = {"helpdesk phone": "help_phone", "opening hours": "opening_times", "NUTS-1 region": "nuts",
             "parking spaces": "parking_spaces", "renewable energy or not": "energy_mix"}  # fmt: skip
    for place in _open(locations):
        lacks = [said for said, name in names.items() if getattr(place, name) is None]
        found += [f"{place.id}: {', '.join(lacks)}"] if lacks else []
        for evse in place.evses:
            if evse.evse_id is None:
                found.append(f"{place.id}/{evse.uid}: EVSE id")
            found += [
                f"{place.id}/{evse.uid}/{each.id}: a price that DATEX II can say"
                for each in evse.connectors
                if not _rates(each.tariff_ids, tariffs, _zone(place))
            ]
    return found


def _open(locations: Sequence[OcpiLocation]) -> list[OcpiLocation]:
    """Return the locations that are published, by id, without EVSEs that are removed."""
    shown = (
        msgspec.structs.replace(each, evses=tuple(evse for evse in each.evses if evse.status != "REMOVED"))
        for each in sorted(locations, key=lambda each: each.id)
        if each.publish
    )
    return [each for each in shown if each.evses]


def _payload(name: str, body: Fields, publisher: Publisher, now: datetime) -> Fields:
    head = {"lang": publisher.language, "publicationTime": _time(now), "publicationCreator": _identifier(publisher)}
    profile = {"modelBaseVersionG": "3", "profileNameG": "AFIR Energy Infrastructure", "profileVersionG": _PROFILE}
    return {"payload": {**profile, name: {**head, **body}}}


def _identifier(publisher: Publisher) -> Fields:
    return {"country": publisher.country_code, "nationalIdentifier": publisher.table_id}


def _versioned(name: str, content: Fields) -> Fields:
    """Return an object with its id and version: a digest of the content."""
    digest = hashlib.sha256(msgspec.json.encode([name, content], order="sorted")).hexdigest()
    return {"idG": name, "versionG": digest[:16], **content}


def _reference(kind: str, found: Fields) -> Fields:
    return {"targetClass": kind, "idG": found["idG"], "versionG": found["versionG"]}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(text: str, publisher: Publisher) -> Fields:
    return {"values": [{"lang": publisher.language, "value": text}]}


def _site(place: OcpiLocation, tariffs: Mapping[str, OcpiTariff], publisher: Publisher) -> Fields:
    """Return a site with one station: OCPI does not say which EVSEs share a connection to the grid."""
    where = {"latitude": float(place.coordinates.latitude), "longitude": float(place.coordinates.longitude)}
    country = _COUNTRIES.get(place.country.upper(), place.country_code.upper())  # not always the operator's
    lines = [{"order": 1, "type": {"value": "street"}, "text": _text(place.address, publisher)}]
    address: Fields = {"city": _text(place.city, publisher), "countryCode": country,
                     "addressLine": lines}  # fmt: skip
    if place.postal_code is not None:
        address["postcode"] = place.postal_code
    # a place's time zone as DATEX II has it: hours and minutes from UTC, without summer time. That is the lesser offset
    # of the year: in Ireland summer time is the standard by law, and in data of time zones.
    halves = [datetime(place.last_updated.year, month, 1, tzinfo=_zone(place)).utcoffset() for month in (1, 7)]
    always = timezone(min(each or timedelta() for each in halves))
    facility: Fields = {"timeZone": always.tzname(None).removeprefix("UTC") or "+00:00", "address": address}
    if place.nuts is not None:
        facility["nutsArea"] = [{"nutsCodeType": {"value": "nuts1Code"}, "nutsCode": place.nuts}]
    point = {"coordinatesForDisplay": where, "pointByCoordinates": {"pointCoordinates": where},
             "locLocationExtensionG": {"FacilityLocation": facility}}  # fmt: skip
    legal = {"legalName": _text(publisher.legal_name, publisher)} if publisher.legal_name else {}
    operator = {"afacAnOrganisation": {"name": _text(publisher.name, publisher), **legal, "externalIdentifier": [
        {"identifier": publisher.party_id, "typeOfIdentifier": {"value": "extendedG", "extendedValueG": "operatorId"}}
    ]}}  # fmt: skip
    points = [{"aegiElectricChargingPoint": _point(each, place, tariffs)} for each in place.evses]
    known = {each for evse in place.evses for each in evse.capabilities}
    means = [{"value": name} for capability, name in _MEANS.items() if capability in known]
    most = sum(each["aegiElectricChargingPoint"]["availableChargingPower"][0] for each in points)
    station = _versioned(f"{place.id}-station", {
        "totalMaximumPower": most, "numberOfRefillPoints": len(points), "operator": operator, "refillPoint": points,
        "serviceType": [{"serviceType": {"value": "unattended"}}],
        **({"authenticationAndIdentificationMethods": means} if means else {}),
    })  # fmt: skip
    more: Fields = {} if place.opening_times is None else {"operatingHours": _hours(place.id, place.opening_times)}
    if place.help_phone is not None:
        contact = {"afacContactInformation": {"telephoneNumber": place.help_phone}}
        unit = {"name": _text(publisher.name, publisher), "contactInformation": [contact]}
        named = {"name": _text(publisher.name, publisher), "organisationUnit": [unit]}
        more["helpdesk"] = {"afacAnOrganisation": named}
    if place.parking_spaces is not None:
        more["dedicatedParkingSpaces"] = _parking(place.id, place.parking_spaces, place.disabled_spaces)
    return _versioned(place.id, {
        "name": _text(place.name or place.address, publisher), "operator": operator, **more,
        "locationReference": {"locPointLocation": point}, "energyInfrastructureStation": [station],
    })  # fmt: skip


def _parking(name: str, spaces: int, disabled: int | None) -> list[Fields]:
    """Return parking spaces: all, and those for people with disabilities among them."""
    found = [_versioned(f"{name}-parking", {"numberOfSpaces": spaces})]
    if disabled is not None:
        users = [{"value": "personsWithDisabilities"}]
        found.append(_versioned(f"{name}-parking-disabled", {"numberOfSpaces": disabled, "userSpecific": users}))
    return found


def _hours(name: str, times: OpeningTimes) -> Fields:
    """Return opening hours: days of the same hours together."""
    days: dict[tuple[str, str], list[str]] = {}
    for each in times.regular_hours:
        days.setdefault((each.period_begin, each.period_end), []).append(_DAYS[each.weekday - 1])
    if not days:
        return {"afacOpenAllHours": {}}
    valid = [{**_span(*hours), **_on(names)} for hours, names in days.items()]
    period = {"overallStartTime": _ALWAYS, "validPeriod": valid}
    specification = _versioned(f"{name}-hours", {"operatingAllYear": True, "overallPeriod": period})
    return {"afacOperatingHoursSpecification": specification}


def _zone(place: OcpiLocation) -> tzinfo:
    try:
        return zone_of(place.time_zone)
    except (ValueError, LookupError):
        return UTC


def _span(begin: str, end: str) -> Fields:
    """Return a span of local clock times, though they end in Z; a day has no 24:00."""
    until = "23:59:59Z" if end.startswith("24") else f"{end}:00Z"
    return {"recurringTimePeriodOfDay": [{"startTimeOfPeriod": f"{begin}:00Z", "endTimeOfPeriod": until}]}


def _on(days: Sequence[str]) -> Fields:
    found = [{"value": each.lower()} for each in days]
    return {"recurringDayWeekMonthPeriod": [{"comDayWeekMonth": {"applicableDay": found}}]}


def _point(evse: OcpiEvse, place: OcpiLocation, tariffs: Mapping[str, OcpiTariff]) -> Fields:
    direct = all(each.power_type == "DC" for each in evse.connectors)
    powers = sorted({each.most_w for each in evse.connectors}, reverse=True)
    names = dict.fromkeys(name for each in evse.connectors for name in each.tariff_ids)
    content: Fields = {
        "deliveryUnit": {"value": "kWh"}, "currentType": {"value": "dc" if direct else "ac"},
        "numberOfConnectors": len(evse.connectors), "availableChargingPower": powers,
        "availableVoltage": sorted({_volts(each) for each in evse.connectors}),
        "connector": [_connector(each) for each in evse.connectors],
    }  # fmt: skip
    if evse.evse_id is not None:
        kind = {"value": "extendedG", "extendedValueG": "evseId"}
        content["externalIdentifier"] = [{"identifier": evse.evse_id, "typeOfIdentifier": kind}]
    spoken = {each for connector in evse.connectors for each in connector.capabilities}
    if any(each.startswith("ISO_15118") for each in spoken):
        content["vehicleToGridCommunicationType"] = [{"value": "iso15118"}]
    services = [{"value": name} for word, name in _SERVICES if any(word in each for each in spoken)]
    if services:
        content["smartRechargingServices"] = services
    energy: Fields = {} if place.energy_mix is None else {"isGreenEnergy": place.energy_mix.is_green_energy}
    if rates := _rates(tuple(names), tariffs, _zone(place)):
        energy["energyRate"] = rates
    if energy:
        content["electricEnergy"] = [energy]
    return _versioned(evse.uid, content)


def _connector(given: OcpiConnector) -> Fields:
    kind = given.standard
    known = _CONNECTORS.get(kind) or (f"domestic{kind[-1]}" if kind.startswith("DOMESTIC_") else "other")
    other = {"otherConnector": kind} if known == "other" else {}
    return {
        "connectorType": {"value": known}, **other, "maxPowerAtSocket": given.most_w, "voltage": _volts(given),
        "maximumCurrent": given.max_amperage,
        "connectorFormat": {"value": "socket" if given.format == "SOCKET" else "otherCable"},
    }  # fmt: skip


def _volts(given: OcpiConnector) -> int:
    return round(given.max_voltage * 3**0.5) if given.power_type == "AC_3_PHASE" else given.max_voltage


# -- prices


def _rates(names: Sequence[str], tariffs: Mapping[str, OcpiTariff], zone: tzinfo) -> list[Fields]:
    """Return the ad-hoc rates; one that DATEX II cannot say is left out, as no price is better than a wrong one."""
    found = []
    for name in names:
        tariff = tariffs.get(name)
        try:
            if tariff is not None:
                found.append(rate_of(tariff, zone))
        except CodecError:
            continue
    return found


def rate_of(tariff: OcpiTariff, zone: tzinfo) -> Fields:
    """Return a tariff's public prices at a place in a time zone, taxes included. Raises CodecError for a condition that
    has no name there, and for a bound without taxes where these differ."""
    prices = list[Fields]()
    before: dict[str, list[TariffRestrictions]] = {}
    for element in tariff.elements:
        restrictions = element.restrictions or TariffRestrictions()
        if restrictions.reservation is None:
            _when(restrictions, zone)  # refuses what has no name, even if earlier prices leave nothing of it
            for each in element.price_components:
                others = before.setdefault(each.type, [])
                # when a price applies beside those before it: in OCPI the first that applies counts, in DATEX II each
                left = [restrictions]
                for other in others:
                    left = [part for each in left for part in _without(each, other)]
                prices += [{**_price(each, tariff), **_when(when, zone)} for when in left]
                others.append(restrictions)
    content: Fields = {"ratePolicy": {"value": "adHoc"}, "lastUpdated": _time(tariff.last_updated),
                     "applicableCurrency": [tariff.currency], "energyPrice": prices}  # fmt: skip
    for name, bound in (("minimumDeliveryFee", tariff.min_price), ("maximumDeliveryFee", tariff.max_price)):
        if bound is not None:
            content[name] = _number(_with_taxes(bound, tariff))
    return {"idG": tariff.id, **content}


def _without(given: TariffRestrictions, other: TariffRestrictions) -> list[TariffRestrictions]:
    """Return the parts of a condition in which another does not hold, too."""
    if not all(split(given, other)[0] for split in _SPLITS):
        return [given]
    left, rest = list[TariffRestrictions](), [given]
    for split in _SPLITS:
        parts = [split(each, other) for each in rest]
        left += [each for _, outside in parts for each in outside]
        rest = [each for inside, _ in parts for each in inside]
    return left


_DAY_MINUTES: Final = 1440
_Parts = tuple[list[TariffRestrictions], list[TariffRestrictions]]
"""The parts of a condition within another's range of one quantity, and those outside of it."""
_Split = Callable[[TariffRestrictions, TariffRestrictions], _Parts]


def _by_day(given: TariffRestrictions, other: TariffRestrictions) -> _Parts:
    all_days = tuple(each.upper() for each in _DAYS)
    days, theirs = given.day_of_week or all_days, other.day_of_week or all_days
    outside = tuple(each for each in days if each not in theirs)
    if not outside:
        return [given], []
    inside = tuple(each for each in days if each in theirs)
    return [replace(given, day_of_week=inside)] if inside else [], [replace(given, day_of_week=outside)]


def _by_time(given: TariffRestrictions, other: TariffRestrictions) -> _Parts:
    own, theirs = _minutes(given), _minutes(other)
    return _spans(given, own & theirs), _spans(given, own - theirs)


def _minutes(given: TariffRestrictions) -> frozenset[int]:
    """Return the minutes of a day in which a condition holds; one that ends before it begins goes on past midnight."""
    clocks = given.start_time or "0:00", given.end_time or "0:00"
    begin, end = (int(each[:-3]) * 60 + int(each[-2:]) for each in clocks)
    length = (end - begin) % _DAY_MINUTES or _DAY_MINUTES
    return frozenset((begin + each) % _DAY_MINUTES for each in range(length))


def _spans(given: TariffRestrictions, minutes: frozenset[int]) -> list[TariffRestrictions]:
    if len(minutes) == _DAY_MINUTES:
        return [replace(given, start_time=None, end_time=None)]
    begins = [each for each in sorted(minutes) if (each - 1) % _DAY_MINUTES not in minutes]
    ends = [next(end for end in itertools.count(begin) if end % _DAY_MINUTES not in minutes) for begin in begins]
    return [
        replace(given, start_time=_clock(begin), end_time=_clock((end - 1) % _DAY_MINUTES + 1))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


_Quantity = TypeVar("_Quantity", Decimal, float, date)


def _by_range(least_name: str, most_name: str, least: _Quantity, most: _Quantity) -> _Split:
    """Return what splits conditions by a quantity, of which there are `least` to `most`."""

    def split(given: TariffRestrictions, other: TariffRestrictions) -> _Parts:
        def ends(of: TariffRestrictions) -> tuple[_Quantity, _Quantity]:
            low, high = getattr(of, least_name), getattr(of, most_name)
            return least if low is None else low, most if high is None else high

        def between(low: _Quantity, high: _Quantity) -> list[TariffRestrictions]:
            found = {least_name: None if low == least else low, most_name: None if high == most else high}
            return [replace(given, **found)] if low < high else []

        (low, high), (their_low, their_high) = ends(given), ends(other)
        inside = between(max(low, their_low), min(high, their_high))
        return inside, between(low, min(high, their_low)) + between(max(low, their_high), high)

    return split


_SPLITS: Final = (
    _by_day, _by_time,
    _by_range("min_kwh", "max_kwh", Decimal(0), Decimal("Infinity")),
    _by_range("min_duration", "max_duration", 0, math.inf),
    _by_range("start_date", "end_date", date.min, date.max),
)  # fmt: skip


def _with_taxes(bound: PriceBound, tariff: OcpiTariff) -> Decimal:
    if bound.after_taxes is not None:
        return bound.after_taxes
    rates = {each.vat for element in tariff.elements for each in element.price_components}
    if len(rates) > 1:
        raise CodecError("DATEX II has no bound without taxes")
    return bound.before_taxes * (100 + (rates.pop() or 0)) / 100


def _price(given: OcpiComponent, tariff: OcpiTariff) -> Fields:
    kind, divisor = _PRICES.get(given.type, ("other", 1))
    gross = given.price
    if tariff.tax_included != "YES":
        gross = gross * (100 + (given.vat or 0)) / 100
    # more digits than the currency's, so that a kWh of 0.4977 EUR stays so
    value = (gross / divisor).quantize(Decimal(1).scaleb(-currency_digits(tariff.currency) - 4)).normalize()
    found: Fields = {"priceType": {"value": kind}, "value": _number(value), "taxIncluded": True}
    if given.vat is not None:
        found["taxRate"] = _number(given.vat)
    return found


def _number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)


def _when(given: TariffRestrictions, zone: tzinfo) -> Fields:
    """Return when a price applies: by whole minutes and kWh, and by days and local clock times."""
    for name in ("min_current", "max_current", "min_power", "max_power"):
        if getattr(given, name) is not None:
            raise CodecError(f"DATEX II has no condition {name}")
    found: Fields = {}
    if given.min_duration is not None or given.max_duration is not None:
        limits = {"fromMinute": given.min_duration, "toMinute": given.max_duration}
        if any(each is not None and each % 60 for each in limits.values()):
            raise CodecError("DATEX II has whole minutes")
        found["timeBasedApplicability"] = {name: each // 60 for name, each in limits.items() if each is not None}
    if given.min_kwh is not None or given.max_kwh is not None:
        amounts = {"fromKWh": given.min_kwh, "toKWh": given.max_kwh}
        if any(each is not None and each != int(each) for each in amounts.values()):
            raise CodecError("DATEX II has whole kWh")
        found["energyBasedApplicability"] = {name: int(each) for name, each in amounts.items() if each is not None}
    valid: Fields = {}
    if given.start_time is not None or given.end_time is not None:
        valid |= _span(given.start_time or "00:00", given.end_time or "24:00")
    if given.day_of_week:
        valid |= _on(given.day_of_week)
    period: Fields = {"validPeriod": [valid]} if valid else {}
    if given.end_date is not None:
        period["overallEndTime"] = _midnight(given.end_date, zone)
    if not period and given.start_date is None:
        return found
    begin = _ALWAYS if given.start_date is None else _midnight(given.start_date, zone)
    return {**found, "overallPeriod": {"overallStartTime": begin, **period}}


def _midnight(day: date, zone: tzinfo) -> str:
    """Return when a day begins: unlike clock times, moments are in UTC."""
    return _time(datetime.combine(day, time(), zone).astimezone(UTC))
