"""An operator's fees, taxes and schedules on offer: configuration of the core."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.energy.limits import Limit, limits_over
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=31 * 86_400)]
Text = Annotated[str, Meta(min_length=1, max_length=80)]


MOST_WEAR: Final = 1_000_000
"""Largest price of wear, per kWh: as much as a journal takes."""


class OfferedRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A surcharge per kWh above a power."""

    from_w: Annotated[int, Meta(ge=1, le=10_000_000)]
    """The surcharge applies from this power."""
    surcharge: Decimal
    """Currency units per kWh beside the tariff's price."""


class TaxTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tax."""

    name: Text
    """Its name for vehicles."""
    rate: Decimal
    """As a factor: 0.19 is 19 %."""
    included: bool = False
    """Whether prices include it already."""
    energy: bool = True
    """Whether it applies to energy."""
    parking: bool = True
    """Whether it applies to the parking fee."""
    overstay: bool = True
    """Whether it applies to the overstay fee."""
    bounds: bool = True
    """Whether it applies to the minimum and maximum cost; if not, those are final amounts."""

    def __post_init__(self) -> None:
        """Reject negative taxes."""
        if self.rate < 0:
            raise ValueError("a tax rate must not be negative")


class OverstayStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of staying from a time on."""

    fee: Decimal
    """Amount for each `period_s`."""
    period_s: Seconds = 3600
    """Time for which one fee is due; parts of it are charged pro rata."""
    from_s: Annotated[int, Meta(ge=0, le=31 * 86_400)] = 0
    """Beginning of the step, counted from the beginning of overstaying."""
    description: Annotated[str, Meta(max_length=160)] = ""
    """Description for the vehicle's user."""


class OverstayTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price of staying after charging."""

    rules: Annotated[tuple[OverstayStep, ...], Meta(min_length=1, max_length=5)]
    after_s: Annotated[int, Meta(ge=0, le=31 * 86_400)] | None = None
    """Free time. Without `below_w` it counts from the beginning of the schedule."""
    below_w: Watts | None = None
    """The vehicle counts as overstaying only while its power is not above this."""


class AddedService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An additional service included in the price, once."""

    name: Text
    """Its name for the vehicle's user."""
    fee: Decimal
    """Amount, once per session."""


class PriceTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules that turn the tariff into price schedules; amounts in the tariff's currency."""

    forms: Annotated[tuple[Literal["absolute", "levels"], ...], Meta(min_length=1, max_length=2)] = ("absolute",)
    """Kinds of pricing offered as service parameter: prices, or levels (relative prices), best first."""
    from_back_end: bool = False
    """The back end sends prices with charging profiles, after a vehicle has selected its services: prices are offered
    before they are known."""
    levels: Annotated[int, Meta(ge=1, le=255)] = 3
    """Number of price levels into which the tariff is divided."""
    algorithm: Literal["1-Power", "2-PeakPower", "3-StackedEnergy"] = "1-Power"
    """Rule for counting power ranges."""
    power_ranges: Annotated[tuple[OfferedRange, ...], Meta(max_length=7)] = ()
    description: Annotated[str, Meta(max_length=160)] = ""
    """Description of the schedule for vehicles; not sent if empty."""
    language: Annotated[str, Meta(pattern=r"^[a-z]{3}\Z")] = "eng"
    """Language of the texts, three letters (ISO 639-2)."""
    minimum_cost: Decimal | None = None
    """Minimum cost of a session; none by default."""
    maximum_cost: Decimal | None = None
    """Maximum cost of a session; none by default."""
    taxes: Annotated[tuple[TaxTerms, ...], Meta(max_length=10)] = ()
    parking_fee: Decimal | None = None
    """Amount for each `parking_period_s`; none by default."""
    parking_period_s: Seconds = 3600
    """Time for which one parking fee is due; parts of it are charged pro rata."""
    carbon_dioxide: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    """g of CO2 per kWh."""
    renewable_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Share of the energy that is renewable; not sent by default."""
    overstay: OverstayTerms | None = None
    services: Annotated[tuple[AddedService, ...], Meta(max_length=5)] = ()
    wear: Decimal | None = None
    """Paid for each kWh fed back, beside its price, for the battery's wear: a line of its own in the settlement. None
    by default."""
    receipt_every_s: Annotated[float, Meta(ge=0, le=86_400)] | None = 60.0
    """Interval at which the vehicle gets the cost so far, beside the meter's reading; none: never."""

    def __post_init__(self) -> None:
        """Check that ranges rise, bounds are in order, and wear is in range."""
        starts = [each.from_w for each in self.power_ranges]
        if starts != sorted(set(starts)):
            raise ValueError("power_ranges must rise")
        if None not in (self.minimum_cost, self.maximum_cost) and self.minimum_cost > self.maximum_cost:  # type: ignore[operator]
            raise ValueError("minimum_cost must not exceed maximum_cost")
        if self.wear is not None and not (self.wear.is_finite() and 0 <= self.wear <= MOST_WEAR):
            raise ValueError(f"wear must be from 0 to {MOST_WEAR} a kWh")


class ScheduleOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One schedule tuple for vehicles to choose."""

    power_percent: Annotated[int, Meta(ge=1, le=100)] = 100
    """Share of the power that vehicle, charger, site and operator allow."""
    cheapest: bool = False
    """Power only in the cheapest time that suffices for the target energy; left out if that is not known, at all times
    if nothing else is offered."""
    discharge: bool = True
    """Whether energy may flow back, if the service allows it."""
    surcharge: Decimal = Decimal(0)
    """Currency units per kWh beside the tariff's price; negative is a rebate."""


class ScheduleRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Schedules for vehicles in Scheduled mode."""

    offers: Annotated[tuple[ScheduleOffer, ...], Meta(min_length=1, max_length=3)] = (
        ScheduleOffer(),
        ScheduleOffer(cheapest=True, discharge=False),
        ScheduleOffer(discharge=False),
    )
    """Schedule tuples; undecided vehicles take the first. Duplicates are left out."""
    available_energy_wh: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    """Energy available for one vehicle, if limited."""
    patience_s: Annotated[float, Meta(ge=0, le=50)] = 30.0
    """How long a back end may be busy (Processing) before the charger plans without it."""


class SeccNeeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Needs for a vehicle whose mobility needs come from the charger (MobilityNeedsMode 2)."""

    departure_after_s: Annotated[int, Meta(ge=60, le=0xFFFFFFFF)] | None = None
    """Expected departure, counted from the first schedule; unknown by default, and once it has passed."""
    minimum_soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    """MinimumSOC: charge required in any case; only together with `target_soc` (V2G20-2681)."""
    target_soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    """TargetSOC: charge desired at departure; only together with `minimum_soc` (V2G20-2681)."""

    def __post_init__(self) -> None:
        """Check that both states of charge are given, and in order (V2G20-2681)."""
        if (self.minimum_soc is None) != (self.target_soc is None):
            raise ValueError("minimum_soc and target_soc must be given together or not at all")
        if self.minimum_soc is not None and self.target_soc is not None and self.minimum_soc > self.target_soc:
            raise ValueError("minimum_soc must not exceed target_soc")


class PowerSpan(msgspec.Struct, frozen=True):
    """Power in W, never negative, during `[start_ms, end_ms)` of UTC."""

    start_ms: int
    end_ms: int
    power_w: int


Spans = tuple[PowerSpan, ...]
"""Consecutive spans without gaps."""


class OfferedTuple(msgspec.Struct, frozen=True):
    """One schedule tuple. `discharge` is empty if no energy may flow back."""

    tuple_id: int
    charge: Spans
    discharge: Spans = ()
    charge_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    discharge_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    available_wh: int | None = None
    """Energy available for charging, if limited."""

    def charge_w(self, utc_ms: int) -> int:
        """Return the maximum W into the vehicle at a time."""
        return power_at(self.charge, utc_ms)

    def discharge_w(self, utc_ms: int) -> int:
        """Return the maximum W out of the vehicle at a time."""
        return power_at(self.discharge, utc_ms) if self.discharge and utc_ms < self.discharge[-1].end_ms else 0


def power_at(spans: Spans, utc_ms: int) -> int:
    """Return the power at a time. The first span also applies before it, and the last one after it.

    Sources do not specify the power after the end of a schedule: present limits apply in any case.
    """
    index = bisect_right(spans, utc_ms, key=lambda span: span.start_ms) - 1
    return spans[max(0, index)].power_w


def allowed_over(
    limits: Iterable[Limit],
    utc_ms: int,
    horizon_s: int,
    *,
    charge_w: int,
    discharge_w: int = 0,
    lines: int = 0,
    volts: int = 0,
) -> tuple[list[PowerSpan], list[PowerSpan]]:
    """Return power of charge and of discharge over so many s: by the limits, as far as known, and these maxima; with
    alternating current, of so many `lines` at V between one and the neutral."""
    now = utc_ms // 1000 * 1000
    charge, discharge = [], []
    for start, end, allowed in limits_over(limits, now, now + horizon_s * 1000):
        # entries have whole seconds: an edge within one is moved to its beginning
        begin, until = start // 1000 * 1000, end // 1000 * 1000
        if until > begin:
            allowed = allowed.over(lines, volts) if lines else allowed
            charge.append(PowerSpan(begin, until, max(0, min(charge_w, allowed.charge_w))))
            discharge.append(PowerSpan(begin, until, max(0, min(discharge_w, allowed.discharge_w))))
    return charge, discharge


def merged(spans: Iterable[PowerSpan], *, at_most: int) -> Spans:
    """Return spans with equal neighbours joined, at most so many: beyond that, pairs take the lower power."""
    found = list(_joined(spans))
    while len(found) > at_most:
        pairs = [found[index : index + 2] for index in range(0, len(found), 2)]
        found = list(
            _joined(PowerSpan(pair[0].start_ms, pair[-1].end_ms, min(each.power_w for each in pair)) for pair in pairs)
        )
    return tuple(found)


def _joined(spans: Iterable[PowerSpan]) -> Iterator[PowerSpan]:
    last: PowerSpan | None = None
    for span in spans:
        if last is not None and last.power_w == span.power_w and last.end_ms == span.start_ms:
            last = PowerSpan(last.start_ms, span.end_ms, span.power_w)
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
