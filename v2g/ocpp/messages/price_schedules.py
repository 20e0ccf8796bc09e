"""Prices over time in the forms of ISO 15118-2 (sales tariff) and -20 (absolute prices, price levels)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages.base import (
    Datatype,
    DateTime,
    Decimal,
    Exponent,
    Integer,
    NonNegative,
    OneOrMore,
    String3,
    String8,
    String32,
    String80,
    String100,
    String160,
    String2000,
)


class RationalNumber(Datatype, frozen=True, kw_only=True):
    """`value` times ten to the `exponent`. 2.1 only."""

    exponent: Exponent
    value: Integer


class AdditionalSelectedServices(Datatype, frozen=True, kw_only=True):
    """A fee for a service besides charging. 2.1 only."""

    service_fee: RationalNumber
    service_name: String80


class OverstayRule(Datatype, frozen=True, kw_only=True):
    """A fee for staying after charging. 2.1 only."""

    overstay_fee: RationalNumber
    overstay_rule_description: String32 | None = None
    start_time: Integer
    overstay_fee_period: Integer


class OverstayRuleList(Datatype, frozen=True, kw_only=True):
    """Fees for staying after charging; times in s, power in W. 2.1 only."""

    overstay_power_threshold: RationalNumber | None = None
    overstay_rule: Annotated[OneOrMore[OverstayRule], Meta(max_length=5)]
    overstay_time_threshold: Integer | None = None


class PriceRule(Datatype, frozen=True, kw_only=True):
    """Prices that apply from a power (W) on. 2.1 only."""

    parking_fee_period: Integer | None = None
    carbon_dioxide_emission: NonNegative | None = None
    renewable_generation_percentage: Annotated[int, Meta(ge=0, le=100)] | None = None
    energy_fee: RationalNumber
    parking_fee: RationalNumber | None = None
    power_range_start: RationalNumber


class PriceRuleStack(Datatype, frozen=True, kw_only=True):
    """Price rules of one interval, `duration` s long. 2.1 only."""

    duration: Integer
    price_rule: Annotated[OneOrMore[PriceRule], Meta(max_length=8)]


class TaxRule(Datatype, frozen=True, kw_only=True):
    """A tax and what it applies to. 2.1 only."""

    tax_rule_id: NonNegative = field(name="taxRuleID")
    tax_rule_name: String100 | None = None
    tax_included_in_price: bool | None = None
    applies_to_energy_fee: bool
    applies_to_parking_fee: bool
    applies_to_overstay_fee: bool
    applies_to_minimum_maximum_cost: bool
    tax_rate: RationalNumber


class AbsolutePriceSchedule(Datatype, frozen=True, kw_only=True):
    """Prices over time as in ISO 15118-20. 2.1 only."""

    time_anchor: DateTime
    price_schedule_id: NonNegative = field(name="priceScheduleID")
    price_schedule_description: String160 | None = None
    currency: String3
    language: String8
    price_algorithm: String2000
    minimum_cost: RationalNumber | None = None
    maximum_cost: RationalNumber | None = None
    price_rule_stacks: Annotated[OneOrMore[PriceRuleStack], Meta(max_length=1024)]
    tax_rules: Annotated[OneOrMore[TaxRule], Meta(max_length=10)] = ()
    overstay_rule_list: OverstayRuleList | None = None
    additional_selected_services: Annotated[OneOrMore[AdditionalSelectedServices], Meta(max_length=5)] = ()


class PriceLevelScheduleEntry(Datatype, frozen=True, kw_only=True):
    """A price level for `duration` s. 2.1 only."""

    duration: Integer
    price_level: NonNegative


class PriceLevelSchedule(Datatype, frozen=True, kw_only=True):
    """Price levels over time as in ISO 15118-20. 2.1 only."""

    price_level_schedule_entries: Annotated[OneOrMore[PriceLevelScheduleEntry], Meta(max_length=100)]
    time_anchor: DateTime
    price_schedule_id: NonNegative
    price_schedule_description: String32 | None = None
    number_of_price_levels: NonNegative


CostKind = Literal["CarbonDioxideEmission", "RelativePricePercentage", "RenewableGenerationPercentage"]


class Cost(Datatype, frozen=True, kw_only=True):
    """A relative cost or share."""

    cost_kind: CostKind
    amount: Integer
    amount_multiplier: Exponent | None = None


class ConsumptionCost(Datatype, frozen=True, kw_only=True):
    """Costs that apply from a power on."""

    start_value: Decimal
    cost: Annotated[OneOrMore[Cost], Meta(max_length=3)]


class RelativeTimeInterval(Datatype, frozen=True, kw_only=True):
    """An interval, s after the schedule's start."""

    start: Integer
    duration: Integer | None = None


class SalesTariffEntry(Datatype, frozen=True, kw_only=True):
    """A price level in one interval."""

    relative_time_interval: RelativeTimeInterval
    e_price_level: NonNegative | None = None
    consumption_cost: Annotated[OneOrMore[ConsumptionCost], Meta(max_length=3)] = ()


class SalesTariff(Datatype, frozen=True, kw_only=True):
    """Price levels over time as in ISO 15118-2."""

    id: NonNegative
    sales_tariff_description: String32 | None = None
    num_e_price_levels: NonNegative | None = None
    sales_tariff_entry: Annotated[OneOrMore[SalesTariffEntry], Meta(max_length=1024)]
