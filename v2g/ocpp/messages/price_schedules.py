"""Prices over time in the forms of ISO 15118-2 (sales tariff) and -20 (absolute prices, price levels)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base


class RationalNumber(base.Datatype, frozen=True, kw_only=True):
    """`value` times ten to the `exponent`. 2.1 only."""

    exponent: base.Exponent
    value: base.Integer


class AdditionalSelectedServices(base.Datatype, frozen=True, kw_only=True):
    """A fee for a service besides charging. 2.1 only."""

    service_fee: RationalNumber
    service_name: base.String80


class OverstayRule(base.Datatype, frozen=True, kw_only=True):
    """A fee for staying after charging. 2.1 only."""

    overstay_fee: RationalNumber
    overstay_rule_description: base.String32 | None = None
    start_time: base.Integer
    overstay_fee_period: base.Integer


class OverstayRuleList(base.Datatype, frozen=True, kw_only=True):
    """Fees for staying after charging; times in s, power in W. 2.1 only."""

    overstay_power_threshold: RationalNumber | None = None
    overstay_rule: Annotated[base.OneOrMore[OverstayRule], Meta(max_length=5)]
    overstay_time_threshold: base.Integer | None = None


class PriceRule(base.Datatype, frozen=True, kw_only=True):
    """Prices that apply from a power (W) on. 2.1 only."""

    parking_fee_period: base.Integer | None = None
    carbon_dioxide_emission: base.NonNegative | None = None
    renewable_generation_percentage: Annotated[int, Meta(ge=0, le=100)] | None = None
    energy_fee: RationalNumber
    parking_fee: RationalNumber | None = None
    power_range_start: RationalNumber


class PriceRuleStack(base.Datatype, frozen=True, kw_only=True):
    """Price rules of one interval, `duration` s long. 2.1 only."""

    duration: base.Integer
    price_rule: Annotated[base.OneOrMore[PriceRule], Meta(max_length=8)]


class TaxRule(base.Datatype, frozen=True, kw_only=True):
    """A tax and what it applies to; the rate is in percent of the fee. 2.1 only."""

    tax_rule_id: base.NonNegative = field(name="taxRuleID")
    tax_rule_name: base.String100 | None = None
    tax_included_in_price: bool | None = None
    applies_to_energy_fee: bool
    applies_to_parking_fee: bool
    applies_to_overstay_fee: bool
    applies_to_minimum_maximum_cost: bool
    tax_rate: RationalNumber


class AbsolutePriceSchedule(base.Datatype, frozen=True, kw_only=True):
    """Prices over time as in ISO 15118-20. 2.1 only."""

    time_anchor: base.DateTime
    price_schedule_id: base.NonNegative = field(name="priceScheduleID")
    price_schedule_description: base.String160 | None = None
    currency: base.String3
    language: base.String8
    price_algorithm: base.String2000
    minimum_cost: RationalNumber | None = None
    maximum_cost: RationalNumber | None = None
    price_rule_stacks: Annotated[base.OneOrMore[PriceRuleStack], Meta(max_length=1024)]
    tax_rules: Annotated[base.OneOrMore[TaxRule], Meta(max_length=10)] = ()
    overstay_rule_list: OverstayRuleList | None = None
    additional_selected_services: Annotated[base.OneOrMore[AdditionalSelectedServices], Meta(max_length=5)] = ()


class PriceLevelScheduleEntry(base.Datatype, frozen=True, kw_only=True):
    """A price level for `duration` s. 2.1 only."""

    duration: base.Integer
    price_level: base.NonNegative


class PriceLevelSchedule(base.Datatype, frozen=True, kw_only=True):
    """Price levels over time as in ISO 15118-20. 2.1 only."""

    price_level_schedule_entries: Annotated[base.OneOrMore[PriceLevelScheduleEntry], Meta(max_length=100)]
    time_anchor: base.DateTime
    price_schedule_id: base.NonNegative
    price_schedule_description: base.String32 | None = None
    number_of_price_levels: base.NonNegative


CostKind = Literal["CarbonDioxideEmission", "RelativePricePercentage", "RenewableGenerationPercentage"]


class Cost(base.Datatype, frozen=True, kw_only=True):
    """A relative cost or share."""

    cost_kind: CostKind
    amount: base.Integer
    amount_multiplier: base.Exponent | None = None


class ConsumptionCost(base.Datatype, frozen=True, kw_only=True):
    """Costs that apply from a power on."""

    start_value: base.Decimal
    cost: Annotated[base.OneOrMore[Cost], Meta(max_length=3)]


class RelativeTimeInterval(base.Datatype, frozen=True, kw_only=True):
    """An interval, s after the schedule's start."""

    start: base.Integer
    duration: base.Integer | None = None


class SalesTariffEntry(base.Datatype, frozen=True, kw_only=True):
    """A price level in one interval."""

    relative_time_interval: RelativeTimeInterval
    e_price_level: base.NonNegative | None = None
    consumption_cost: Annotated[base.OneOrMore[ConsumptionCost], Meta(max_length=3)] = ()


class SalesTariff(base.Datatype, frozen=True, kw_only=True):
    """Price levels over time as in ISO 15118-2."""

    id: base.NonNegative
    sales_tariff_description: base.String32 | None = None
    num_e_price_levels: base.NonNegative | None = None
    sales_tariff_entry: Annotated[base.OneOrMore[SalesTariffEntry], Meta(max_length=1024)]
