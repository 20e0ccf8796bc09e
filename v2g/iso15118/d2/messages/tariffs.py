"""ISO 15118-2:2013 data types: power and prices over time."""

from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, Element, Ref, UnsignedByte, UnsignedInt, global_elements
from v2g.iso15118.d2.messages.data_types import SAID, PhysicalValue
from v2g.iso15118.d2.schemas import ISO2_DATA_TYPES
from v2g.iso15118.engine.older_types import CostKind as CostKind
from v2g.iso15118.engine.older_types import TariffDescription, UnitMultiplier

SCHEMA: Final = ISO2_DATA_TYPES


class SASchedules(Element, frozen=True, kw_only=True, tag=True):
    """Head of the lists of schedules; only SAScheduleList can substitute it."""

    abstract: ClassVar[bool] = True


class TimeInterval(Element, frozen=True, kw_only=True, tag=True):
    """Head of the intervals; only RelativeTimeInterval can substitute it (type IntervalType)."""

    abstract: ClassVar[bool] = True


class RelativeTimeInterval(TimeInterval, frozen=True, kw_only=True, tag=True):
    """An interval in s from now; the last one has a duration."""

    start: Annotated[int, Meta(ge=0, le=16777214)] = field(name="start")
    duration: Annotated[int, Meta(ge=0, le=86400)] | None = field(name="duration", default=None)


class Entry(Element, frozen=True, kw_only=True):
    """Base of the entries of schedules."""

    abstract: ClassVar[bool] = True
    time_interval: Annotated[TimeInterval | RelativeTimeInterval, Ref(TimeInterval)]


class PMaxScheduleEntry(Entry, frozen=True, kw_only=True):
    """The maximum power in an interval, in W."""

    p_max: PhysicalValue


class PMaxSchedule(Element, frozen=True, kw_only=True):
    """Limits of power over time."""

    p_max_schedule_entry: Annotated[
        tuple[PMaxScheduleEntry, ...], Meta(min_length=1, max_length=1024), Ref(PMaxScheduleEntry)
    ]


class Cost(Element, frozen=True, kw_only=True):
    """An amount in units of its kind, times 10^amountMultiplier."""

    cost_kind: CostKind = field(name="costKind")
    amount: UnsignedInt = field(name="amount")
    amount_multiplier: UnitMultiplier | None = field(name="amountMultiplier", default=None)


class ConsumptionCost(Element, frozen=True, kw_only=True):
    """Costs from a power on."""

    start_value: PhysicalValue = field(name="startValue")
    cost: Annotated[tuple[Cost, ...], Meta(min_length=1, max_length=3)]


class SalesTariffEntry(Entry, frozen=True, kw_only=True):
    """Price level and costs of an interval."""

    e_price_level: UnsignedByte | None = None
    consumption_cost: Annotated[tuple[ConsumptionCost, ...], Meta(max_length=3)] = ()


class SalesTariff(Element, frozen=True, kw_only=True):
    """Prices over time; signed by the energy provider where it has an Id."""

    sales_tariff_id: SAID
    sales_tariff_description: TariffDescription | None = None
    num_e_price_levels: UnsignedByte | None = None
    sales_tariff_entry: Annotated[
        tuple[SalesTariffEntry, ...], Meta(min_length=1, max_length=1024), Ref(SalesTariffEntry)
    ]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class SAScheduleTuple(Element, frozen=True, kw_only=True):
    """Power over time, and prices over time."""

    sa_schedule_tuple_id: SAID
    p_max_schedule: PMaxSchedule
    sales_tariff: SalesTariff | None = None


class SAScheduleList(SASchedules, frozen=True, kw_only=True, tag=True):
    """Up to three schedules to choose from."""

    sa_schedule_tuple: Annotated[tuple[SAScheduleTuple, ...], Meta(min_length=1, max_length=3)]


ELEMENTS: Final = global_elements(__name__, Entry, SalesTariffEntry, PMaxScheduleEntry)
