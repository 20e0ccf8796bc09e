"""ISO 15118-20 CommonMessages: power over time, prices over time, and the control modes built of them."""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, Choice, Element, UnsignedByte, UnsignedInt, UnsignedLong, UnsignedShort
from v2g.iso15118.d20.messages.common_types import (
    Description,
    Identifier,
    Name,
    NumericID,
    PercentValue,
    RationalNumber,
)
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

SCHEMA: Final = COMMON_MESSAGES

Currency: TypeAlias = Annotated[str, Meta(max_length=3)]
Language: TypeAlias = Annotated[str, Meta(max_length=3)]


class PowerScheduleEntry(Element, frozen=True, kw_only=True):
    """Power in W during a number of seconds; one value per phase where phases differ."""

    duration: UnsignedInt = field(name="Duration")
    power: RationalNumber = field(name="Power")
    power_l2: RationalNumber | None = field(name="Power_L2", default=None)
    power_l3: RationalNumber | None = field(name="Power_L3", default=None)


class PowerScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    power_schedule_entry: Annotated[tuple[PowerScheduleEntry, ...], Meta(min_length=1, max_length=1024)] = field(
        name="PowerScheduleEntry"
    )


class PowerSchedule(Element, frozen=True, kw_only=True):
    """Power over time from TimeAnchor (s since 1970 in UTC); energy in Wh, tolerance in W."""

    time_anchor: UnsignedLong = field(name="TimeAnchor")
    available_energy: RationalNumber | None = field(name="AvailableEnergy", default=None)
    power_tolerance: RationalNumber | None = field(name="PowerTolerance", default=None)
    power_schedule_entries: PowerScheduleEntryList = field(name="PowerScheduleEntries")


class PriceSchedule(Element, frozen=True, kw_only=True):
    """What all price schedules begin with."""

    abstract: ClassVar[bool] = True
    time_anchor: UnsignedLong = field(name="TimeAnchor")
    price_schedule_id: NumericID = field(name="PriceScheduleID")
    price_schedule_description: Description | None = field(name="PriceScheduleDescription", default=None)


class PriceLevelScheduleEntry(Element, frozen=True, kw_only=True):
    """A relative price during a number of seconds; 0 is the lowest."""

    duration: UnsignedInt = field(name="Duration")
    price_level: UnsignedByte = field(name="PriceLevel")


class PriceLevelScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    price_level_schedule_entry: Annotated[tuple[PriceLevelScheduleEntry, ...], Meta(min_length=1, max_length=1024)] = (
        field(name="PriceLevelScheduleEntry")
    )


class PriceLevelSchedule(PriceSchedule, frozen=True, kw_only=True):
    """Relative prices over time."""

    number_of_price_levels: UnsignedByte = field(name="NumberOfPriceLevels")
    price_level_schedule_entries: PriceLevelScheduleEntryList = field(name="PriceLevelScheduleEntries")
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class TaxRule(Element, frozen=True, kw_only=True):
    """A tax and what it applies to; the rate is a factor."""

    tax_rule_id: NumericID = field(name="TaxRuleID")
    tax_rule_name: Name | None = field(name="TaxRuleName", default=None)
    tax_rate: RationalNumber = field(name="TaxRate")
    tax_included_in_price: bool | None = field(name="TaxIncludedInPrice", default=None)
    applies_to_energy_fee: bool = field(name="AppliesToEnergyFee")
    applies_to_parking_fee: bool = field(name="AppliesToParkingFee")
    applies_to_overstay_fee: bool = field(name="AppliesToOverstayFee")
    applies_minimum_maximum_cost: bool = field(name="AppliesMinimumMaximumCost")


class TaxRuleList(Element, frozen=True, kw_only=True):
    """All taxes of a price schedule."""

    tax_rule: Annotated[tuple[TaxRule, ...], Meta(min_length=1, max_length=10)] = field(name="TaxRule")


class PriceRule(Element, frozen=True, kw_only=True):
    """Prices from a power (W) upwards: energy per kWh, parking per period in s; emission in g/kWh, share in %."""

    energy_fee: RationalNumber = field(name="EnergyFee")
    parking_fee: RationalNumber | None = field(name="ParkingFee", default=None)
    parking_fee_period: UnsignedInt | None = field(name="ParkingFeePeriod", default=None)
    carbon_dioxide_emission: UnsignedShort | None = field(name="CarbonDioxideEmission", default=None)
    renewable_generation_percentage: UnsignedByte | None = field(name="RenewableGenerationPercentage", default=None)
    power_range_start: RationalNumber = field(name="PowerRangeStart")


class PriceRuleStack(Element, frozen=True, kw_only=True):
    """The price rules of an interval of a number of seconds."""

    duration: UnsignedInt = field(name="Duration")
    price_rule: Annotated[tuple[PriceRule, ...], Meta(min_length=1, max_length=8)] = field(name="PriceRule")


class PriceRuleStackList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    price_rule_stack: Annotated[tuple[PriceRuleStack, ...], Meta(min_length=1, max_length=1024)] = field(
        name="PriceRuleStack"
    )


class OverstayRule(Element, frozen=True, kw_only=True):
    """A fee per period (s) from a time (s) after the threshold on."""

    overstay_rule_description: Description | None = field(name="OverstayRuleDescription", default=None)
    start_time: UnsignedInt = field(name="StartTime")
    overstay_fee: RationalNumber = field(name="OverstayFee")
    overstay_fee_period: UnsignedInt = field(name="OverstayFeePeriod")


class OverstayRuleList(Element, frozen=True, kw_only=True):
    """What staying on after charging costs."""

    overstay_time_threshold: UnsignedInt | None = field(name="OverstayTimeThreshold", default=None)
    overstay_power_threshold: RationalNumber | None = field(name="OverstayPowerThreshold", default=None)
    overstay_rule: Annotated[tuple[OverstayRule, ...], Meta(min_length=1, max_length=5)] = field(name="OverstayRule")


class AdditionalService(Element, frozen=True, kw_only=True):
    """A service with a price of its own."""

    service_name: Name = field(name="ServiceName")
    service_fee: RationalNumber = field(name="ServiceFee")


class AdditionalServiceList(Element, frozen=True, kw_only=True):
    """Services that the price schedule adds."""

    additional_service: Annotated[tuple[AdditionalService, ...], Meta(min_length=1, max_length=5)] = field(
        name="AdditionalService"
    )


class AbsolutePriceSchedule(PriceSchedule, frozen=True, kw_only=True):
    """Prices in a currency (ISO 4217) over time."""

    currency: Currency = field(name="Currency")
    language: Language = field(name="Language")
    price_algorithm: Identifier = field(name="PriceAlgorithm")
    minimum_cost: RationalNumber | None = field(name="MinimumCost", default=None)
    maximum_cost: RationalNumber | None = field(name="MaximumCost", default=None)
    tax_rules: TaxRuleList | None = field(name="TaxRules", default=None)
    price_rule_stacks: PriceRuleStackList = field(name="PriceRuleStacks")
    overstay_rules: OverstayRuleList | None = field(name="OverstayRules", default=None)
    additional_selected_services: AdditionalServiceList | None = field(name="AdditionalSelectedServices", default=None)
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class ChargingSchedule(Element, frozen=True, kw_only=True):
    """Power over time and what it costs."""

    power_schedule: PowerSchedule = field(name="PowerSchedule")
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, Choice("price_schedule", required=False)] = field(
        name="AbsolutePriceSchedule", default=None
    )
    price_level_schedule: Annotated[PriceLevelSchedule | None, Choice("price_schedule", required=False)] = field(
        name="PriceLevelSchedule", default=None
    )


class ScheduleTuple(Element, frozen=True, kw_only=True):
    """A schedule that the vehicle may choose, with one for discharging where that is offered."""

    schedule_tuple_id: NumericID = field(name="ScheduleTupleID")
    charging_schedule: ChargingSchedule = field(name="ChargingSchedule")
    discharging_schedule: ChargingSchedule | None = field(name="DischargingSchedule", default=None)


class EVPriceRule(Element, frozen=True, kw_only=True):
    """What the vehicle wants per kWh from a power (W) upwards."""

    energy_fee: RationalNumber = field(name="EnergyFee")
    power_range_start: RationalNumber = field(name="PowerRangeStart")


class EVPriceRuleStack(Element, frozen=True, kw_only=True):
    """The price rules of an interval of a number of seconds."""

    duration: UnsignedInt = field(name="Duration")
    ev_price_rule: Annotated[tuple[EVPriceRule, ...], Meta(min_length=1, max_length=8)] = field(name="EVPriceRule")


class EVPriceRuleStackList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_price_rule_stack: Annotated[tuple[EVPriceRuleStack, ...], Meta(min_length=1, max_length=1024)] = field(
        name="EVPriceRuleStack"
    )


class EVAbsolutePriceSchedule(Element, frozen=True, kw_only=True):
    """What the vehicle wants for its energy."""

    time_anchor: UnsignedLong = field(name="TimeAnchor")
    currency: Currency = field(name="Currency")
    price_algorithm: Identifier = field(name="PriceAlgorithm")
    ev_price_rule_stacks: EVPriceRuleStackList = field(name="EVPriceRuleStacks")


class EVPowerScheduleEntry(Element, frozen=True, kw_only=True):
    """Power in W during a number of seconds."""

    duration: UnsignedInt = field(name="Duration")
    power: RationalNumber = field(name="Power")


class EVPowerScheduleEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_power_schedule_entry: Annotated[tuple[EVPowerScheduleEntry, ...], Meta(min_length=1, max_length=1024)] = field(
        name="EVPowerScheduleEntry"
    )


class EVPowerSchedule(Element, frozen=True, kw_only=True):
    """Power that the vehicle offers to give, over time from TimeAnchor (s since 1970 in UTC)."""

    time_anchor: UnsignedLong = field(name="TimeAnchor")
    ev_power_schedule_entries: EVPowerScheduleEntryList = field(name="EVPowerScheduleEntries")


class EVEnergyOffer(Element, frozen=True, kw_only=True):
    """Energy that the vehicle offers to give, and its price."""

    ev_power_schedule: EVPowerSchedule = field(name="EVPowerSchedule")
    ev_absolute_price_schedule: EVAbsolutePriceSchedule = field(name="EVAbsolutePriceSchedule")


class Scheduled_SEReqControlMode(Element, frozen=True, kw_only=True):
    """Needs of a vehicle that will follow a schedule: departure in s from now, energies in Wh."""

    departure_time: UnsignedInt | None = field(name="DepartureTime", default=None)
    ev_target_energy_request: RationalNumber | None = field(name="EVTargetEnergyRequest", default=None)
    ev_maximum_energy_request: RationalNumber | None = field(name="EVMaximumEnergyRequest", default=None)
    ev_minimum_energy_request: RationalNumber | None = field(name="EVMinimumEnergyRequest", default=None)
    ev_energy_offer: EVEnergyOffer | None = field(name="EVEnergyOffer", default=None)


class Scheduled_SEResControlMode(Element, frozen=True, kw_only=True):
    """Schedules to choose from."""

    schedule_tuple: Annotated[tuple[ScheduleTuple, ...], Meta(min_length=1, max_length=3)] = field(name="ScheduleTuple")


class Dynamic_SEReqControlMode(Element, frozen=True, kw_only=True):
    """Needs of a vehicle that leaves the decisions to the charger: s from now, %, Wh."""

    departure_time: UnsignedInt = field(name="DepartureTime")
    minimum_soc: PercentValue | None = field(name="MinimumSOC", default=None)
    target_soc: PercentValue | None = field(name="TargetSOC", default=None)
    ev_target_energy_request: RationalNumber = field(name="EVTargetEnergyRequest")
    ev_maximum_energy_request: RationalNumber = field(name="EVMaximumEnergyRequest")
    ev_minimum_energy_request: RationalNumber = field(name="EVMinimumEnergyRequest")
    ev_maximum_v2x_energy_request: RationalNumber | None = field(name="EVMaximumV2XEnergyRequest", default=None)
    ev_minimum_v2x_energy_request: RationalNumber | None = field(name="EVMinimumV2XEnergyRequest", default=None)


class Dynamic_SEResControlMode(Element, frozen=True, kw_only=True):
    """Goals that the charger will work towards, and prices."""

    departure_time: UnsignedInt | None = field(name="DepartureTime", default=None)
    minimum_soc: PercentValue | None = field(name="MinimumSOC", default=None)
    target_soc: PercentValue | None = field(name="TargetSOC", default=None)
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, Choice("price_schedule", required=False)] = field(
        name="AbsolutePriceSchedule", default=None
    )
    price_level_schedule: Annotated[PriceLevelSchedule | None, Choice("price_schedule", required=False)] = field(
        name="PriceLevelSchedule", default=None
    )


class PowerToleranceAcceptance(Enum):
    """Whether the vehicle keeps to the power tolerance (powerToleranceAcceptanceType)."""

    PowerToleranceNotConfirmed = "PowerToleranceNotConfirmed"
    PowerToleranceConfirmed = "PowerToleranceConfirmed"


class Scheduled_EVPPTControlMode(Element, frozen=True, kw_only=True):
    """The schedule that the vehicle has chosen."""

    selected_schedule_tuple_id: NumericID = field(name="SelectedScheduleTupleID")
    power_tolerance_acceptance: PowerToleranceAcceptance | None = field(name="PowerToleranceAcceptance", default=None)


class Dynamic_EVPPTControlMode(Element, frozen=True, kw_only=True):
    """The charger decides."""


class EVPowerProfileEntryList(Element, frozen=True, kw_only=True):
    """Intervals that follow each other without a gap."""

    ev_power_profile_entry: Annotated[tuple[PowerScheduleEntry, ...], Meta(min_length=1, max_length=2048)] = field(
        name="EVPowerProfileEntry"
    )


class EVPowerProfile(Element, frozen=True, kw_only=True):
    """Power that the vehicle plans to take, over time from TimeAnchor (s since 1970 in UTC)."""

    time_anchor: UnsignedLong = field(name="TimeAnchor")
    dynamic_evppt_control_mode: Annotated[Dynamic_EVPPTControlMode | None, Choice("control_mode")] = field(
        name="Dynamic_EVPPTControlMode", default=None
    )
    scheduled_evppt_control_mode: Annotated[Scheduled_EVPPTControlMode | None, Choice("control_mode")] = field(
        name="Scheduled_EVPPTControlMode", default=None
    )
    ev_power_profile_entries: EVPowerProfileEntryList = field(name="EVPowerProfileEntries")


ELEMENTS: Final[dict[str, type[Element]]] = {}
