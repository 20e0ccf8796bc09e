"""Price plans: what a driver pays for energy, time and services, depending on clock, calendar and use.

The rules are those of OCPP 2.1's tariffs (block I), with holidays, energy fed back, and a time zone for clock times.
Prices are decimal text, without tax: per kWh of energy, per minute of time, once for a fixed fee; they have at most six
decimals and so are exact in micro-units. Of several applicable rates the first counts (I12.FR.34); clock times follow
daylight saving time (I12.FR.37).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.energy.grid_signal import local_day
from v2g.units import MINUTE_MS, Currency, Decimals, PositiveDecimals, UtcMs, micro_of

Minute = Annotated[int, Meta(ge=0, le=1439)]
NonNegative = Annotated[int, Meta(ge=0, le=10**12)]


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a rate applies: all fields that are set must match. Lower bounds are inclusive, upper ones exclusive.

    Clock times are minutes after local midnight; a period that ends before it starts continues past midnight, and an
    end of 0 means the end of the day. `weekdays`: 0 is Monday. `holidays`: only on (True) or never on (False) the
    plan's holidays. Energy is Wh taken from the grid since the start, power and current are instantaneous (W, A over
    all phases). Times are s: of the whole transaction, of all charging, and of the current pause.
    """

    from_minute: Minute | None = None
    to_minute: Minute | None = None
    weekdays: tuple[Annotated[int, Meta(ge=0, le=6)], ...] = ()
    holidays: bool | None = None
    from_day: date | None = None
    to_day: date | None = None
    evse_kind: Literal["AC", "DC"] | None = None
    min_energy_wh: NonNegative | None = None
    max_energy_wh: NonNegative | None = None
    min_power_w: NonNegative | None = None
    max_power_w: NonNegative | None = None
    min_current_a: NonNegative | None = None
    max_current_a: NonNegative | None = None
    min_time_s: NonNegative | None = None
    max_time_s: NonNegative | None = None
    min_charging_s: NonNegative | None = None
    max_charging_s: NonNegative | None = None
    min_idle_s: NonNegative | None = None
    max_idle_s: NonNegative | None = None
    payment_brand: str | None = None
    payment_recognition: str | None = None

    def on_clock(self, moment: datetime, holidays: frozenset[date]) -> bool:
        """Return whether clock and calendar match at a local time."""
        day = moment.date()
        return (
            self._within_day(_minute_of(moment))
            and (not self.weekdays or day.weekday() in self.weekdays)
            and (self.holidays is None or self.holidays == (day in holidays))
            and (self.from_day is None or self.from_day <= day)
            and (self.to_day is None or day < self.to_day)
        )

    def in_use(self, use: "Use") -> bool:
        """Return whether the use in the transaction matches."""
        return (
            self.evse_kind in (None, use.evse_kind)
            and _within(use.energy_mwh, self.min_energy_wh, self.max_energy_wh, 1000)
            and _within(use.power_w, self.min_power_w, self.max_power_w, 1)
            and _within(use.current_a, self.min_current_a, self.max_current_a, 1)
            and _within(use.time_ms, self.min_time_s, self.max_time_s, 1000)
            and _within(use.charging_ms, self.min_charging_s, self.max_charging_s, 1000)
            and _within(use.idle_ms, self.min_idle_s, self.max_idle_s, 1000)
            and self.payment_brand in (None, use.payment_brand)
            and self.payment_recognition in (None, use.payment_recognition)
        )

    def _within_day(self, minute: int) -> bool:
        begin, end = self.from_minute or 0, self.to_minute or 0
        return begin <= minute < end if begin < end else minute >= begin or minute < end


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of conditions at one moment of a transaction: mWh and ms so far, power (W) and current (A) now."""

    energy_mwh: int = 0
    power_w: int = 0
    current_a: int = 0
    time_ms: int = 0
    charging_ms: int = 0
    idle_ms: int = 0
    evse_kind: str | None = None
    payment_brand: str | None = None
    payment_recognition: str | None = None


def _within(value: int, least: int | None, below: int | None, scale: int) -> bool:
    return (least is None or least * scale <= value) and (below is None or value < below * scale)


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A price and when it applies."""

    price: Decimals
    when: When = When()

    @property
    def micro(self) -> int:
        """The price in micro-units."""
        return micro_of(self.price)


class Tax(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tax of `ppm` parts per million; those of a higher `stack` apply to the result of the lower (I12.FR.13)."""

    kind: Annotated[str, Meta(min_length=1, max_length=20)]
    ppm: Annotated[int, Meta(ge=0, le=10_000_000)]
    stack: Annotated[int, Meta(ge=0, le=9)] = 0


class Charge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rates of one kind of charge, in order of preference, and the taxes on them."""

    rates: Annotated[tuple[Rate, ...], Meta(min_length=1, max_length=100)]
    taxes: Annotated[tuple[Tax, ...], Meta(max_length=5)] = ()


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The minimum or maximum total of a transaction, with or without taxes or both."""

    excl_tax: PositiveDecimals | None = None
    incl_tax: PositiveDecimals | None = None

    @property
    def excl_micro(self) -> int | None:
        """That without taxes in micro-units."""
        return None if self.excl_tax is None else micro_of(self.excl_tax)

    @property
    def incl_micro(self) -> int | None:
        """That with taxes in micro-units."""
        return None if self.incl_tax is None else micro_of(self.incl_tax)


ChargeKind = Literal["energy", "export", "charging_time", "idle_time", "fixed", "reservation_time", "reservation_fixed"]
KINDS: Final[tuple[ChargeKind, ...]] = (
    "energy",
    "export",
    "charging_time",
    "idle_time",
    "fixed",
    "reservation_time",
    "reservation_fixed",
)


class PricePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole plan."""

    id: Annotated[str, Meta(min_length=1, max_length=60, description="The content of an id never changes.")]
    currency: Annotated[Currency, Meta(description="Three letters (ISO 4217); a transaction keeps its currency.")]
    zone: Annotated[
        str, Meta(min_length=1, max_length=64, description='Time zone of clock times and days, as "Europe/Berlin".')
    ] = "UTC"
    description: Annotated[str, Meta(max_length=1024, description="What stations may show.")] = ""
    valid_from_ms: Annotated[
        UtcMs | None, Meta(description="Not before this time (ms since 1970, UTC) at stations that compute costs.")
    ] = None
    holidays: Annotated[tuple[date, ...], Meta(max_length=500, description="Dates for the condition `holidays`.")] = ()
    energy: Annotated[Charge | None, Meta(description="Per kWh taken from the grid.")] = None
    export: Annotated[Charge | None, Meta(description="Per kWh fed back, paid to the driver.")] = None
    charging_time: Annotated[Charge | None, Meta(description="Per minute with energy flow.")] = None
    idle_time: Annotated[Charge | None, Meta(description="Per minute without.")] = None
    fixed: Annotated[Charge | None, Meta(description="Once, at the start.")] = None
    reservation_time: Annotated[Charge | None, Meta(description="Per minute between reservation and start.")] = None
    reservation_fixed: Annotated[Charge | None, Meta(description="Once, for a transaction that was reserved.")] = None
    least: Annotated[
        Bound | None, Meta(description="The least total (`excl_tax`, `incl_tax`), applied at the end.")
    ] = None
    greatest: Annotated[
        Bound | None,
        Meta(description="The greatest total; there every part of the cost stops, usage continues to count."),
    ] = None

    def charge(self, kind: ChargeKind) -> Charge | None:
        """Return the rates of a kind, None if it is free."""
        found: Charge | None = getattr(self, kind)
        return found

    def conditions(self) -> Iterator[When]:
        """Yield the conditions of every rate."""
        for kind in KINDS:
            yield from (rate.when for rate in self._rates(kind))

    def rate(self, kind: ChargeKind, moment: datetime, use: Use) -> int | None:
        """Return the index of the first rate of a kind that applies at a local time, None if none does."""
        holidays = frozenset(self.holidays)
        for index, rate in enumerate(self._rates(kind)):
            if rate.when.on_clock(moment, holidays) and rate.when.in_use(use):
                return index
        return None

    def price(self, kind: ChargeKind, moment: datetime, use: Use) -> int | None:
        """Return the price (micro-units, without taxes) of the first rate that applies, as `rate` does."""
        index = self.rate(kind, moment, use)
        return None if index is None else self._rates(kind)[index].micro

    def _rates(self, kind: ChargeKind) -> tuple[Rate, ...]:
        charge = self.charge(kind)
        return charge.rates if charge else ()

    def clock_cuts(self, start_ms: int, end_ms: int, zone: tzinfo) -> set[int]:
        """Return the moments (UTC ms) strictly between two at which clock or calendar may change a rate.

        These are every local midnight, every clock time of a condition on every day, and every daylight saving change.
        """
        minutes = {
            minute for when in self.conditions() for minute in (when.from_minute, when.to_minute) if minute is not None
        }
        if not minutes and not any(_has_calendar(when) for when in self.conditions()):
            return set()
        cuts: set[int] = set()
        day = local_time(start_ms, zone).date()
        while (begin := local_day(day, zone)[0]) < end_ms:
            _, end = local_day(day, zone)
            cuts.add(begin)
            cuts |= _clock_times(begin, end, minutes, zone)
            day += timedelta(days=1)
        return {cut for cut in cuts if start_ms < cut < end_ms}


def local_time(utc_ms: int, zone: tzinfo) -> datetime:
    """Return the local clock time of a moment."""
    return datetime.fromtimestamp(utc_ms // 1000, tz=UTC).astimezone(zone)


def _minute_of(clock: datetime) -> int:
    return clock.hour * 60 + clock.minute


def _has_calendar(when: When) -> bool:
    return bool(when.weekdays or when.from_day or when.to_day or when.holidays is not None)


def _clock_times(begin_ms: int, end_ms: int, minutes: set[int], zone: tzinfo) -> set[int]:
    """Return when the clock shows any of some minutes within one local day, including days with clock changes."""
    if end_ms - begin_ms == 1440 * MINUTE_MS:
        return {begin_ms + minute * MINUTE_MS for minute in minutes}

    def changes(at: int) -> bool:
        clock, before = local_time(at, zone), local_time(at - MINUTE_MS, zone)
        return _minute_of(clock) in minutes or clock.utcoffset() != before.utcoffset()

    return {at for at in range(begin_ms, end_ms, MINUTE_MS) if changes(at)}
