"""What an operator asks for beside the energy, and which schedules are offered: configuration of the core."""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=31 * 86_400)]
Text = Annotated[str, Meta(min_length=1, max_length=80)]


class PowerRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kWh costs more from a power on."""

    from_w: Annotated[int, Meta(ge=1, le=10_000_000)]
    """The surcharge holds from this power on."""
    surcharge: Decimal
    """Currency units per kWh beside the tariff's price."""


class TaxTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tax."""

    name: Text
    """What vehicles are told of it."""
    rate: Decimal
    """As a factor: 0.19 is 19 %."""
    included: bool = False
    """Whether prices hold it already."""
    energy: bool = True
    """Whether it is due on energy."""
    parking: bool = True
    """Whether it is due on the parking fee."""
    overstay: bool = True
    """Whether it is due on the overstay fee."""
    bounds: bool = True
    """Whether it is due on the least and the most cost, else those are the last word."""

    def __post_init__(self) -> None:
        """No negative taxes."""
        if self.rate < 0:
            raise ValueError("a tax rate must not be negative")


class OverstayStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What staying costs from a time on."""

    fee: Decimal
    """Amount for each `period_s`."""
    period_s: Seconds = 3600
    """Time for which one fee is due; parts of it cost their share."""
    from_s: Annotated[int, Meta(ge=0, le=31 * 86_400)] = 0
    """When the step begins, counted from the beginning of overstaying."""
    description: Annotated[str, Meta(max_length=160)] = ""
    """What the vehicle's user is told of it."""


class OverstayTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What staying after charging costs."""

    rules: Annotated[tuple[OverstayStep, ...], Meta(min_length=1, max_length=5)]
    after_s: Annotated[int, Meta(ge=0, le=31 * 86_400)] | None = None
    """Free time. Without `below_w` it counts from the beginning of the schedule."""
    below_w: Watts | None = None
    """The vehicle only stays while its power is not above this."""


class AddedService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something else that the price holds, once."""

    name: Text
    """What the vehicle's user is told of it."""
    fee: Decimal
    """Amount, once a session."""


class PriceTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the tariff becomes price schedules; amounts in the tariff's currency."""

    forms: Annotated[tuple[Literal["absolute", "levels"], ...], Meta(min_length=1, max_length=2)] = ("absolute",)
    """Pricing that is offered as service parameter: prices, or levels (which is cheaper), best first."""
    from_back_end: bool = False
    """The back end tells prices with charging profiles, after a vehicle has selected its services: they are on offer
    before they are known."""
    levels: Annotated[int, Meta(ge=1, le=255)] = 3
    """How many price levels the tariff is cut into."""
    algorithm: Literal["1-Power", "2-PeakPower", "3-StackedEnergy"] = "1-Power"
    """How power ranges count."""
    power_ranges: Annotated[tuple[PowerRange, ...], Meta(max_length=7)] = ()
    description: Annotated[str, Meta(max_length=160)] = ""
    """What vehicles are told that the schedule is; empty tells nothing."""
    language: Annotated[str, Meta(pattern=r"^[a-z]{3}\Z")] = "eng"
    """Language of the texts, three letters (ISO 639-2)."""
    minimum_cost: Decimal | None = None
    """Least that a session costs; none has no least."""
    maximum_cost: Decimal | None = None
    """Most that a session costs; none has no most."""
    taxes: Annotated[tuple[TaxTerms, ...], Meta(max_length=10)] = ()
    parking_fee: Decimal | None = None
    """Amount for each `parking_period_s`; none asks for nothing."""
    parking_period_s: Seconds = 3600
    """Time for which one parking fee is due; parts of it cost their share."""
    carbon_dioxide: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    """g of CO2 per kWh."""
    renewable_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Share of the energy that is renewable; none tells nothing."""
    overstay: OverstayTerms | None = None
    services: Annotated[tuple[AddedService, ...], Meta(max_length=5)] = ()
    receipt_every_s: Annotated[float, Meta(ge=0, le=86_400)] | None = 60.0
    """How often the vehicle is told what it has cost until then, beside the meter's reading; none never."""

    def __post_init__(self) -> None:
        """Keep ranges rising and bounds in order."""
        starts = [each.from_w for each in self.power_ranges]
        if starts != sorted(set(starts)):
            raise ValueError("power_ranges must rise")
        if None not in (self.minimum_cost, self.maximum_cost) and self.minimum_cost > self.maximum_cost:  # type: ignore[operator]
            raise ValueError("minimum_cost must not exceed maximum_cost")


class ScheduleOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One schedule tuple for vehicles to choose."""

    power_percent: Annotated[int, Meta(ge=1, le=100)] = 100
    """Share of the power that could flow, with all that vehicle, charger, site and operator allow."""
    cheapest: bool = False
    """Power only in the cheapest time that suffices for the target energy; left out where that is not known."""
    discharge: bool = True
    """Whether energy may flow back, where the service allows it."""
    surcharge: Decimal = Decimal(0)
    """Currency units per kWh beside the tariff's price; negative is a rebate."""


class ScheduleRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Schedules for vehicles in Scheduled mode."""

    offers: Annotated[tuple[ScheduleOffer, ...], Meta(min_length=1, max_length=3)] = (
        ScheduleOffer(),
        ScheduleOffer(cheapest=True, discharge=False),
        ScheduleOffer(discharge=False),
    )
    """Tuples, the first is the one that undecided vehicles take; one that equals an earlier one is left out."""
    available_energy_wh: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    """Energy that there is for one vehicle, if it is bounded."""
    patience_s: Annotated[float, Meta(ge=0, le=50)] = 30.0
    """How long a back end that is still at work (Processing) may take before the charger plans with what it has."""


class SeccNeeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a vehicle whose mobility needs come from the charger is told (MobilityNeedsMode 2)."""

    departure_after_s: Annotated[int, Meta(ge=60, le=0xFFFFFFFF)] | None = None
    """When the vehicle is expected to leave, counted from the negotiation; none knows no departure."""
    minimum_soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    """MinimumSOC: charge that has to be there whatever happens; only together with `target_soc` (V2G20-2681)."""
    target_soc: Annotated[int, Meta(ge=0, le=100)] | None = None
    """TargetSOC: charge that is wanted at departure; only together with `minimum_soc` (V2G20-2681)."""

    def __post_init__(self) -> None:
        """Keep both states of charge together, and in order (V2G20-2681)."""
        if (self.minimum_soc is None) != (self.target_soc is None):
            raise ValueError("minimum_soc and target_soc come together or not at all")
        if self.minimum_soc is not None and self.target_soc is not None and self.minimum_soc > self.target_soc:
            raise ValueError("minimum_soc must not exceed target_soc")
