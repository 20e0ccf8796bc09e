"""ISO 15118-20 CommonMessages: power over time, prices over time, and the control modes with them."""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, Choice, Element, UnsignedByte, UnsignedInt, UnsignedLong, UnsignedShort
from v2g.iso15118.d20.messages import common_types
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

SCHEMA: Final = COMMON_MESSAGES

Currency: TypeAlias = Annotated[str, Meta(max_length=3)]
Language: TypeAlias = Annotated[str, Meta(max_length=3)]


class PowerScheduleEntry(Element, frozen=True, kw_only=True):
    """Power in W during a number of seconds; one value per phase where phases differ."""

    duration: UnsignedInt
    power: common_types.RationalNumber
    power_l2: common_types.RationalNumber | None = None
    power_l3: common_types.RationalNumber | None = None


class PowerScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    power_schedule_entry: Annotated[tuple[PowerScheduleEntry, ...], Meta(min_length=1, max_length=1024)]


class PowerSchedule(Element, frozen=True, kw_only=True):
    """Power over time from TimeAnchor (s since 1970 in UTC); energy in Wh, tolerance in W."""

    time_anchor: UnsignedLong
    available_energy: common_types.RationalNumber | None = None
    power_tolerance: common_types.RationalNumber | None = None
    power_schedule_entries: PowerScheduleEntryList


class PriceSchedule(Element, frozen=True, kw_only=True):
    """Common part of all price schedules."""

    abstract: ClassVar[bool] = True
    time_anchor: UnsignedLong
    price_schedule_id: common_types.NumericID
    price_schedule_description: common_types.Description | None = None


class PriceLevelScheduleEntry(Element, frozen=True, kw_only=True):
    """A relative price during a number of seconds; 0 is the lowest."""

    duration: UnsignedInt
    price_level: UnsignedByte


class PriceLevelScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    price_level_schedule_entry: Annotated[tuple[PriceLevelScheduleEntry, ...], Meta(min_length=1, max_length=1024)]


class PriceLevelSchedule(PriceSchedule, frozen=True, kw_only=True):
    """Relative prices over time."""

    number_of_price_levels: UnsignedByte
    price_level_schedule_entries: PriceLevelScheduleEntryList
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class TaxRule(Element, frozen=True, kw_only=True):
    """A tax and what it applies to; the rate is in percent."""

    tax_rule_id: common_types.NumericID
    tax_rule_name: common_types.Name | None = None
    tax_rate: common_types.RationalNumber
    tax_included_in_price: bool | None = None
    applies_to_energy_fee: bool
    applies_to_parking_fee: bool
    applies_to_overstay_fee: bool
    applies_minimum_maximum_cost: bool


class TaxRuleList(Element, frozen=True, kw_only=True):
    """All taxes of a price schedule."""

    tax_rule: Annotated[tuple[TaxRule, ...], Meta(min_length=1, max_length=10)]


class PriceRule(Element, frozen=True, kw_only=True):
    """Prices from a power (W) upwards: energy per kWh, parking per period in s; emission in g/kWh, share in %."""

    energy_fee: common_types.RationalNumber
    parking_fee: common_types.RationalNumber | None = None
    parking_fee_period: UnsignedInt | None = None
    carbon_dioxide_emission: UnsignedShort | None = None
    renewable_generation_percentage: UnsignedByte | None = None
    power_range_start: common_types.RationalNumber


class PriceRuleStack(Element, frozen=True, kw_only=True):
    """The price rules of an interval of a number of seconds."""

    duration: UnsignedInt
    price_rule: Annotated[tuple[PriceRule, ...], Meta(min_length=1, max_length=8)]


class PriceRuleStackList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    price_rule_stack: Annotated[tuple[PriceRuleStack, ...], Meta(min_length=1, max_length=1024)]


class OverstayRule(Element, frozen=True, kw_only=True):
    """A fee per period (s) from a time (s) after the threshold on."""

    overstay_rule_description: common_types.Description | None = None
    start_time: UnsignedInt
    overstay_fee: common_types.RationalNumber
    overstay_fee_period: UnsignedInt


class OverstayRuleList(Element, frozen=True, kw_only=True):
    """Prices of staying after charging."""

    overstay_time_threshold: UnsignedInt | None = None
    overstay_power_threshold: common_types.RationalNumber | None = None
    overstay_rule: Annotated[tuple[OverstayRule, ...], Meta(min_length=1, max_length=5)]


class AdditionalService(Element, frozen=True, kw_only=True):
    """A service with its own price."""

    service_name: common_types.Name
    service_fee: common_types.RationalNumber


class AdditionalServiceList(Element, frozen=True, kw_only=True):
    """Services that the price schedule adds."""

    additional_service: Annotated[tuple[AdditionalService, ...], Meta(min_length=1, max_length=5)]


class AbsolutePriceSchedule(PriceSchedule, frozen=True, kw_only=True):
    """Prices in a currency (ISO 4217) over time."""

    currency: Currency
    language: Language
    price_algorithm: common_types.Identifier
    minimum_cost: common_types.RationalNumber | None = None
    maximum_cost: common_types.RationalNumber | None = None
    tax_rules: TaxRuleList | None = None
    price_rule_stacks: PriceRuleStackList
    overstay_rules: OverstayRuleList | None = None
    additional_selected_services: AdditionalServiceList | None = None
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class ChargingSchedule(Element, frozen=True, kw_only=True):
    """Power over time and what it costs."""

    power_schedule: PowerSchedule
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, Choice("price_schedule", required=False)] = None
    price_level_schedule: Annotated[PriceLevelSchedule | None, Choice("price_schedule", required=False)] = None


class ScheduleTuple(Element, frozen=True, kw_only=True):
    """A schedule on offer, with one for discharging if available."""

    schedule_tuple_id: common_types.NumericID
    charging_schedule: ChargingSchedule
    discharging_schedule: ChargingSchedule | None = None


class EVPriceRule(Element, frozen=True, kw_only=True):
    """The vehicle's price per kWh from a power (W) upwards."""

    energy_fee: common_types.RationalNumber
    power_range_start: common_types.RationalNumber


class EVPriceRuleStack(Element, frozen=True, kw_only=True):
    """The price rules of an interval of a number of seconds."""

    duration: UnsignedInt
    ev_price_rule: Annotated[tuple[EVPriceRule, ...], Meta(min_length=1, max_length=8)]


class EVPriceRuleStackList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_price_rule_stack: Annotated[tuple[EVPriceRuleStack, ...], Meta(min_length=1, max_length=1024)]


class EVAbsolutePriceSchedule(Element, frozen=True, kw_only=True):
    """The vehicle's prices for its energy."""

    time_anchor: UnsignedLong
    currency: Currency
    price_algorithm: common_types.Identifier
    ev_price_rule_stacks: EVPriceRuleStackList


class EVPowerScheduleEntry(Element, frozen=True, kw_only=True):
    """Power in W during a number of seconds."""

    duration: UnsignedInt
    power: common_types.RationalNumber


class EVPowerScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_power_schedule_entry: Annotated[tuple[EVPowerScheduleEntry, ...], Meta(min_length=1, max_length=1024)]


class EVPowerSchedule(Element, frozen=True, kw_only=True):
    """Power that the vehicle offers, over time from TimeAnchor (s since 1970 in UTC)."""

    time_anchor: UnsignedLong
    ev_power_schedule_entries: EVPowerScheduleEntryList


class EVEnergyOffer(Element, frozen=True, kw_only=True):
    """Energy that the vehicle offers, and its price."""

    ev_power_schedule: EVPowerSchedule
    ev_absolute_price_schedule: EVAbsolutePriceSchedule


class Scheduled_SEReqControlMode(Element, frozen=True, kw_only=True):
    """Needs of a vehicle with a schedule: departure in s from now, energies in Wh."""

    departure_time: UnsignedInt | None = None
    ev_target_energy_request: common_types.RationalNumber | None = None
    ev_maximum_energy_request: common_types.RationalNumber | None = None
    ev_minimum_energy_request: common_types.RationalNumber | None = None
    ev_energy_offer: EVEnergyOffer | None = None


class Scheduled_SEResControlMode(Element, frozen=True, kw_only=True):
    """Schedules on offer."""

    schedule_tuple: Annotated[tuple[ScheduleTuple, ...], Meta(min_length=1, max_length=3)]


class Dynamic_SEReqControlMode(Element, frozen=True, kw_only=True):
    """Needs of a vehicle that leaves the decisions to the charger: s from now, %, Wh."""

    departure_time: UnsignedInt
    minimum_soc: common_types.PercentValue | None = None
    target_soc: common_types.PercentValue | None = None
    ev_target_energy_request: common_types.RationalNumber
    ev_maximum_energy_request: common_types.RationalNumber
    ev_minimum_energy_request: common_types.RationalNumber
    ev_maximum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_minimum_v2x_energy_request: common_types.RationalNumber | None = None


class Dynamic_SEResControlMode(Element, frozen=True, kw_only=True):
    """Goals of the charger, and prices."""

    departure_time: UnsignedInt | None = None
    minimum_soc: common_types.PercentValue | None = None
    target_soc: common_types.PercentValue | None = None
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, Choice("price_schedule", required=False)] = None
    price_level_schedule: Annotated[PriceLevelSchedule | None, Choice("price_schedule", required=False)] = None


class PowerToleranceAcceptance(Enum):
    """Whether the vehicle keeps to the power tolerance (powerToleranceAcceptanceType)."""

    PowerToleranceNotConfirmed = "PowerToleranceNotConfirmed"
    PowerToleranceConfirmed = "PowerToleranceConfirmed"


class Scheduled_EVPPTControlMode(Element, frozen=True, kw_only=True):
    """The schedule that the vehicle has chosen."""

    selected_schedule_tuple_id: common_types.NumericID
    power_tolerance_acceptance: PowerToleranceAcceptance | None = None


class Dynamic_EVPPTControlMode(Element, frozen=True, kw_only=True):
    """The charger decides."""


class EVPowerProfileEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_power_profile_entry: Annotated[tuple[PowerScheduleEntry, ...], Meta(min_length=1, max_length=2048)]


class EVPowerProfile(Element, frozen=True, kw_only=True):
    """Planned power of the vehicle, over time from TimeAnchor (s since 1970 in UTC)."""

    time_anchor: UnsignedLong
    dynamic_evppt_control_mode: Annotated[Dynamic_EVPPTControlMode | None, Choice("control_mode")] = field(
        name="Dynamic_EVPPTControlMode", default=None
    )
    scheduled_evppt_control_mode: Annotated[Scheduled_EVPPTControlMode | None, Choice("control_mode")] = field(
        name="Scheduled_EVPPTControlMode", default=None
    )
    ev_power_profile_entries: EVPowerProfileEntryList


ELEMENTS: Final[dict[str, type[Element]]] = {}
