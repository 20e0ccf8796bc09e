"""The objects of OCPI in the inner form, with the fields that are read here; others stay in the plain values."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id36 = Annotated[str, Meta(pattern=r"^[ -~]{1,36}\Z")]
Id39 = Annotated[str, Meta(pattern=r"^[ -~]{1,39}\Z")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Za-z]{2}\Z")]
PartyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{3}\Z")]
OcpiUrl = Annotated[str, Meta(min_length=1, max_length=2000)]
OcpiText = Annotated[str, Meta(max_length=255)]
ClockTime = Annotated[str, Meta(pattern=r"^([0-1][0-9]|2[0-3]):[0-5][0-9]\Z")]
OpenEnum = Annotated[str, Meta(pattern=r"^(IEC_60309_2_(single|three))?[^a-z]{1,64}\Z")]
"""A value of an enumeration that partners may extend; `wire.read` takes small letters for capitals, but for those of
industrial sockets, the only ones that OCPI has."""
ModuleRole = Literal["SENDER", "RECEIVER"]


class OcpiObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object of OCPI; unknown fields are tolerated."""


# -- versions and credentials


class OfferedVersion(OcpiObject, frozen=True, kw_only=True):
    """A version that a party offers, and where its details are."""

    version: Annotated[str, Meta(max_length=16)]
    url: Annotated[str, Meta(max_length=2000)] = ""


class ModuleEndpoint(OcpiObject, frozen=True, kw_only=True):
    """Where a module of a role is."""

    identifier: Annotated[str, Meta(min_length=1, max_length=64)]
    url: Annotated[str, Meta(max_length=2000)] = ""
    role: OpenEnum = ""


class VersionDetails(OcpiObject, frozen=True, kw_only=True):
    """The modules of a version."""

    version: Annotated[str, Meta(max_length=16)]
    endpoints: Annotated[tuple[ModuleEndpoint, ...], Meta(max_length=100)]


class BusinessDetails(OcpiObject, frozen=True, kw_only=True):
    """Whose party it is."""

    name: Annotated[str, Meta(max_length=100)]


class PartyRole(OcpiObject, frozen=True, kw_only=True):
    """A party that a platform speaks for, and its role (CPO, EMSP, HUB, ...)."""

    role: OpenEnum
    business_details: BusinessDetails
    country_code: CountryCode
    party_id: PartyId


class OcpiCredentials(OcpiObject, frozen=True, kw_only=True):
    """What parties exchange to reach each other. `url` is that of the versions. A hub of 2.3.0 is `hub_party_id`
    (country and party, as `NLHUB`), and all parties behind it are its `roles`."""

    token: Annotated[str, Meta(pattern=r"^[!-~]{1,512}\Z")]
    url: OcpiUrl
    roles: Annotated[tuple[PartyRole, ...], Meta(min_length=1, max_length=10_000)]
    hub_party_id: Annotated[str, Meta(pattern=r"^[A-Za-z]{2}[ -~]{1,3}\Z")] | None = None


# -- locations


class OcpiConnector(OcpiObject, frozen=True, kw_only=True):
    """A connector: V, A and W; the voltage of AC_3_PHASE is that of a line to neutral."""

    id: Id36
    standard: OpenEnum
    format: OpenEnum
    power_type: OpenEnum
    max_voltage: Annotated[int, Meta(ge=0, le=10_000)]
    max_amperage: Annotated[int, Meta(ge=0, le=100_000)]
    max_electric_power: Annotated[int, Meta(ge=0, le=100_000_000)] | None = None
    tariff_ids: Annotated[tuple[Id36, ...], Meta(max_length=100)] = ()
    capabilities: Annotated[tuple[OpenEnum, ...], Meta(max_length=20)] = ()
    last_updated: datetime

    @property
    def most_w(self) -> int:
        """The greatest power: `max_electric_power`, else what voltage, current and phases come to."""
        phases = {"AC_3_PHASE": 3, "AC_2_PHASE": 2, "AC_2_PHASE_SPLIT": 2}.get(self.power_type, 1)
        return self.max_electric_power or self.max_voltage * self.max_amperage * phases


class OcpiEvse(OcpiObject, frozen=True, kw_only=True):
    """An EVSE; it is never deleted, its status becomes REMOVED."""

    uid: Id36
    evse_id: Annotated[str, Meta(pattern=r"^[ -~]{1,48}\Z")] | None = None
    status: OpenEnum
    capabilities: Annotated[tuple[OpenEnum, ...], Meta(max_length=50)] = ()
    parking_restrictions: Annotated[tuple[OpenEnum, ...], Meta(max_length=20)] = ()
    connectors: Annotated[tuple[OcpiConnector, ...], Meta(max_length=100)] = ()
    """At least one is required, but EVSEs that are PLANNED or REMOVED may have none."""
    last_updated: datetime


class OcpiPlace(OcpiObject, frozen=True, kw_only=True):
    """Degrees, as text (WGS 84); 7 decimals at most, but many write all that a float has."""

    latitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,2}(\.[0-9]{1,20})?\Z")]
    longitude: Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}(\.[0-9]{1,20})?\Z")]


class RegularHours(OcpiObject, frozen=True, kw_only=True):
    """When a location is open on a day of the week (1: Monday), local time."""

    weekday: Annotated[int, Meta(ge=1, le=7)]
    period_begin: ClockTime
    period_end: ClockTime


class OpeningTimes(OcpiObject, frozen=True, kw_only=True):
    """When EVSEs of a location can be reached: always, or within regular hours."""

    twentyfourseven: bool
    regular_hours: Annotated[tuple[RegularHours, ...], Meta(max_length=100)] = ()


class EnergyMix(OcpiObject, frozen=True, kw_only=True):
    """Where energy is from."""

    is_green_energy: bool
    """All of it from renewable sources."""


class OcpiLocation(OcpiObject, frozen=True, kw_only=True):
    """A location with its EVSEs; `country` is ISO 3166-1 alpha-3, `time_zone` of IANA."""

    country_code: CountryCode
    party_id: PartyId
    id: Id36
    publish: bool
    name: OcpiText | None = None
    address: Annotated[str, Meta(max_length=255)]
    city: Annotated[str, Meta(max_length=255)]
    postal_code: Annotated[str, Meta(max_length=10)] | None = None
    country: Annotated[str, Meta(max_length=3)]
    coordinates: OcpiPlace
    evses: Annotated[tuple[OcpiEvse, ...], Meta(max_length=5000)] = ()
    operator: BusinessDetails | None = None
    time_zone: Annotated[str, Meta(max_length=255)]
    opening_times: OpeningTimes | None = None
    energy_mix: EnergyMix | None = None
    help_phone: Annotated[str, Meta(max_length=25)] | None = None
    nuts: Annotated[str, Meta(max_length=5)] | None = None
    """Of our own, with the next two: NUTS-1, and numbers of parking spaces."""
    parking_spaces: Annotated[int, Meta(ge=0)] | None = None
    disabled_spaces: Annotated[int, Meta(ge=0)] | None = None
    last_updated: datetime


# -- tariffs


class PriceBound(OcpiObject, frozen=True, kw_only=True):
    """The least or greatest price of a session."""

    before_taxes: Decimal
    after_taxes: Decimal | None = None


class OcpiComponent(OcpiObject, frozen=True, kw_only=True):
    """A price per kWh, hour or session, without taxes unless `tax_included`; `vat` in percent; `step_size` Wh or s."""

    type: OpenEnum
    price: Decimal
    vat: Decimal | None = None
    step_size: Annotated[int, Meta(ge=0, le=10_000_000)] = 0


class TariffRestrictions(OcpiObject, frozen=True, kw_only=True):
    """When an element applies: clock times and days are local; kWh, A over all phases, kW, s."""

    start_time: Annotated[str, Meta(pattern=r"^([0-1]?[0-9]|2[0-4]):[0-5][0-9]\Z")] | None = None
    end_time: Annotated[str, Meta(pattern=r"^([0-1]?[0-9]|2[0-4]):[0-5][0-9]\Z")] | None = None
    start_date: date | None = None
    end_date: date | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_duration: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    max_duration: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    day_of_week: Annotated[tuple[OpenEnum, ...], Meta(max_length=7)] = ()
    reservation: OpenEnum | None = None


class OcpiElement(OcpiObject, frozen=True, kw_only=True):
    """Prices, and when they apply."""

    price_components: Annotated[tuple[OcpiComponent, ...], Meta(min_length=1, max_length=20)]
    restrictions: TariffRestrictions | None = None


class OcpiTariff(OcpiObject, frozen=True, kw_only=True):
    """A tariff: of each dimension the first element that applies counts."""

    country_code: CountryCode
    party_id: PartyId
    id: Id36
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    elements: Annotated[tuple[OcpiElement, ...], Meta(min_length=1, max_length=500)]
    min_price: PriceBound | None = None
    max_price: PriceBound | None = None
    tax_included: OpenEnum | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None
    last_updated: datetime


# -- tokens


class CdrToken(OcpiObject, frozen=True, kw_only=True):
    """Who charges."""

    country_code: CountryCode
    party_id: PartyId
    uid: Id36
    type: OpenEnum
    contract_id: Id36


class OcpiToken(OcpiObject, frozen=True, kw_only=True):
    """A driver's token; `uid` and `type` are its key."""

    country_code: CountryCode
    party_id: PartyId
    uid: Id36
    type: OpenEnum
    contract_id: Id36
    issuer: Annotated[str, Meta(max_length=64)]
    group_id: Id36 | None = None
    valid: bool
    whitelist: OpenEnum
    last_updated: datetime


class LocationReferences(OcpiObject, frozen=True, kw_only=True):
    """Where a driver wants to charge."""

    location_id: Id36
    evse_uids: Annotated[tuple[Id36, ...], Meta(max_length=5000)] = ()


class AuthorizationInfo(OcpiObject, frozen=True, kw_only=True):
    """The answer to a question about a token; `token` is one (OcpiToken), but some leave parts, or all of it, out."""

    allowed: OpenEnum
    token: object = None
    authorization_reference: Id36 | None = None


# -- sessions and CDRs


class TaxAmount(OcpiObject, frozen=True, kw_only=True):
    """A tax on a price."""

    name: Annotated[str, Meta(max_length=100)]
    percentage: Decimal | None = None
    amount: Decimal


class OcpiPrice(OcpiObject, frozen=True, kw_only=True):
    """A price and its taxes; None: they are not known."""

    before_taxes: Decimal
    taxes: Annotated[tuple[TaxAmount, ...], Meta(max_length=20)] | None = None

    @property
    def total(self) -> Decimal | None:
        """The price with taxes."""
        return None if self.taxes is None else self.before_taxes + sum((each.amount for each in self.taxes), Decimal(0))


class CdrDimension(OcpiObject, frozen=True, kw_only=True):
    """kWh, h, A, kW or percent; ENERGY below zero was fed back."""

    type: OpenEnum
    volume: Decimal


class CdrPeriod(OcpiObject, frozen=True, kw_only=True):
    """A charging period: it lasts until the next one starts."""

    start_date_time: datetime
    dimensions: Annotated[tuple[CdrDimension, ...], Meta(max_length=50)]
    tariff_id: Id36 | None = None


class OcpiSession(OcpiObject, frozen=True, kw_only=True):
    """A session."""

    country_code: CountryCode
    party_id: PartyId
    id: Id36
    start_date_time: datetime
    end_date_time: datetime | None = None
    kwh: Decimal
    cdr_token: CdrToken
    auth_method: OpenEnum
    authorization_reference: Id36 | None = None
    location_id: Id36
    evse_uid: Id36
    connector_id: Id36
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    charging_periods: Annotated[tuple[CdrPeriod, ...], Meta(max_length=10_000)] = ()
    total_cost: OcpiPrice | None = None
    status: OpenEnum
    last_updated: datetime


class CdrLocation(OcpiObject, frozen=True, kw_only=True):
    """Where the session was."""

    id: Id36
    name: OcpiText | None = None
    address: Annotated[str, Meta(max_length=255)]
    city: Annotated[str, Meta(max_length=255)]
    postal_code: Annotated[str, Meta(max_length=10)] | None = None
    state: Annotated[str, Meta(max_length=20)] | None = None
    country: Annotated[str, Meta(max_length=3)]
    coordinates: OcpiPlace
    evse_uid: Id36 | None = None
    """Required, but some leave it, or the next, out."""
    evse_id: Annotated[str, Meta(pattern=r"^[ -~]{1,48}\Z")] = ""
    connector_id: Id36
    connector_standard: OpenEnum
    connector_format: OpenEnum
    connector_power_type: OpenEnum


class CdrSignedValue(OcpiObject, frozen=True, kw_only=True):
    """A meter's signed value: in plain, and the record in base64. OCPI has 5000 characters, and records in XML more."""

    nature: Annotated[str, Meta(max_length=32)]
    plain_data: Annotated[str, Meta(max_length=100_000)]
    signed_data: Annotated[str, Meta(max_length=100_000)]


class CdrSignedData(OcpiObject, frozen=True, kw_only=True):
    """The signed values of a session."""

    encoding_method: Annotated[str, Meta(max_length=36)]
    public_key: Annotated[str, Meta(max_length=2000)] | None = None
    signed_values: Annotated[tuple[CdrSignedValue, ...], Meta(min_length=1, max_length=1000)]


class OcpiCdr(OcpiObject, frozen=True, kw_only=True):
    """A charge detail record. It never changes: a credit CDR takes it back."""

    country_code: CountryCode
    party_id: PartyId
    id: Id39
    start_date_time: datetime
    end_date_time: datetime
    session_id: Id36 | None = None
    cdr_token: CdrToken
    auth_method: OpenEnum
    authorization_reference: Id36 | None = None
    cdr_location: CdrLocation
    meter_id: OcpiText | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    tariffs: Annotated[tuple[OcpiTariff, ...], Meta(max_length=100)] = ()
    charging_periods: Annotated[tuple[CdrPeriod, ...], Meta(min_length=1, max_length=10_000)]
    signed_data: CdrSignedData | None = None
    total_cost: OcpiPrice
    total_fixed_cost: OcpiPrice | None = None
    total_energy: Decimal
    total_energy_cost: OcpiPrice | None = None
    total_time: Decimal
    total_time_cost: OcpiPrice | None = None
    total_parking_time: Decimal | None = None
    total_parking_cost: OcpiPrice | None = None
    total_reservation_cost: OcpiPrice | None = None
    remark: OcpiText | None = None
    credit: bool = False
    credit_reference_id: Id39 | None = None
    last_updated: datetime


class ClientInfo(OcpiObject, frozen=True, kw_only=True):
    """A party behind a hub, and whether it is CONNECTED, OFFLINE, PLANNED or SUSPENDED."""

    country_code: CountryCode
    party_id: PartyId
    role: OpenEnum
    status: OpenEnum
    last_updated: datetime


# -- commands, preferences, profiles


class StartSession(OcpiObject, frozen=True, kw_only=True):
    """START_SESSION."""

    response_url: OcpiUrl
    token: OcpiToken
    location_id: Id36
    evse_uid: Id36 | None = None
    connector_id: Id36 | None = None
    authorization_reference: Id36 | None = None


class StopSession(OcpiObject, frozen=True, kw_only=True):
    """STOP_SESSION."""

    response_url: OcpiUrl
    session_id: Id36


class ReserveNow(OcpiObject, frozen=True, kw_only=True):
    """RESERVE_NOW; with a known id it replaces that reservation."""

    response_url: OcpiUrl
    token: OcpiToken
    expiry_date: datetime
    reservation_id: Id36
    location_id: Id36
    evse_uid: Id36 | None = None
    authorization_reference: Id36 | None = None


class CancelReservation(OcpiObject, frozen=True, kw_only=True):
    """CANCEL_RESERVATION."""

    response_url: OcpiUrl
    reservation_id: Id36


class UnlockConnector(OcpiObject, frozen=True, kw_only=True):
    """UNLOCK_CONNECTOR."""

    response_url: OcpiUrl
    location_id: Id36
    evse_uid: Id36
    connector_id: Id36


class CommandResponse(OcpiObject, frozen=True, kw_only=True):
    """The answer to a command; `timeout`: how long its result may take, s."""

    result: OpenEnum
    timeout: int = 60
    """Required, but some leave it out."""
    message: object = None


class CommandResult(OcpiObject, frozen=True, kw_only=True):
    """What became of a command."""

    result: OpenEnum
    message: object = None


class ChargingPreferences(OcpiObject, frozen=True, kw_only=True):
    """What a driver wants; `energy_need` in kWh."""

    profile_type: OpenEnum
    departure_time: datetime | None = None
    energy_need: Decimal | None = None
    discharge_allowed: bool | None = None


class ProfilePeriod(OcpiObject, frozen=True, kw_only=True):
    """A limit from a second on."""

    start_period: Annotated[int, Meta(ge=0, le=10**8)]
    limit: Decimal


class OcpiProfile(OcpiObject, frozen=True, kw_only=True):
    """A charging profile in A or W."""

    charging_rate_unit: Literal["A", "W"]
    start_date_time: datetime | None = None
    duration: Annotated[int, Meta(ge=1, le=10**8)] | None = None
    min_charging_rate: Decimal | None = None
    charging_profile_period: Annotated[tuple[ProfilePeriod, ...], Meta(max_length=1024)] = ()


class SetChargingProfile(OcpiObject, frozen=True, kw_only=True):
    """A charging profile for a session, and where its result goes."""

    charging_profile: OcpiProfile
    response_url: OcpiUrl
