"""DIN 70121:2012 data types: power and prices over time."""

from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, Element, Ref, UnsignedByte, UnsignedInt, global_elements
from v2g.iso15118.din.messages.data_types import SAID, PMax
from v2g.iso15118.din.schemas import DIN_DATA_TYPES
from v2g.iso15118.engine.older_types import CostKind as CostKind
from v2g.iso15118.engine.older_types import TariffDescription, UnitMultiplier

SCHEMA: Final = DIN_DATA_TYPES


class SASchedules(Element, frozen=True, kw_only=True, tag=True):
    """Head of the lists of schedules; only SAScheduleList can substitute it."""

    abstract: ClassVar[bool] = True


class TimeInterval(Element, frozen=True, kw_only=True, tag=True):
    """Head of the intervals; only RelativeTimeInterval can substitute it (type IntervalType)."""

    abstract: ClassVar[bool] = True


class RelativeTimeInterval(TimeInterval, frozen=True, kw_only=True, tag=True):
    """An interval in s from now; the last one has a duration."""

    start: UnsignedInt = field(name="start")
    duration: UnsignedInt | None = field(name="duration", default=None)


class Entry(Element, frozen=True, kw_only=True):
    """Base of the entries of schedules."""

    abstract: ClassVar[bool] = True
    time_interval: Annotated[TimeInterval | RelativeTimeInterval, Ref(TimeInterval)]


class PMaxScheduleEntry(Entry, frozen=True, kw_only=True):
    """The maximum power in an interval, in W."""

    p_max: PMax


class PMaxSchedule(Element, frozen=True, kw_only=True):
    """Limits of power over time."""

    p_max_schedule_id: SAID
    p_max_schedule_entry: Annotated[tuple[PMaxScheduleEntry, ...], Meta(min_length=1), Ref(PMaxScheduleEntry)]


class Cost(Element, frozen=True, kw_only=True):
    """An amount in units of its kind, times 10^amountMultiplier."""

    cost_kind: CostKind = field(name="costKind")
    amount: UnsignedInt = field(name="amount")
    amount_multiplier: UnitMultiplier | None = field(name="amountMultiplier", default=None)


class ConsumptionCost(Element, frozen=True, kw_only=True):
    """Costs from a value on."""

    start_value: UnsignedInt = field(name="startValue")
    cost: tuple[Cost, ...] = ()


class SalesTariffEntry(Entry, frozen=True, kw_only=True):
    """Price level and costs of an interval."""

    e_price_level: UnsignedByte
    consumption_cost: tuple[ConsumptionCost, ...] = ()


class SalesTariff(Element, frozen=True, kw_only=True):
    """Prices over time."""

    sales_tariff_id: SAID
    sales_tariff_description: TariffDescription | None = None
    num_e_price_levels: UnsignedByte
    sales_tariff_entry: Annotated[tuple[SalesTariffEntry, ...], Meta(min_length=1), Ref(SalesTariffEntry)]
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class SAScheduleTuple(Element, frozen=True, kw_only=True):
    """Power over time, and prices over time."""

    sa_schedule_tuple_id: SAID
    p_max_schedule: PMaxSchedule
    sales_tariff: SalesTariff | None = None


class SAScheduleList(SASchedules, frozen=True, kw_only=True, tag=True):
    """Schedules to choose from."""

    sa_schedule_tuple: Annotated[tuple[SAScheduleTuple, ...], Meta(min_length=1)]


ELEMENTS: Final = global_elements(__name__, Entry, SalesTariffEntry, PMaxScheduleEntry)
