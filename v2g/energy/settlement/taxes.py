"""VAT on a session: rates by tariff, by place and by date, for receipt, charge detail record and books.

Prices in tariffs and offers are net. Energy is taxed by the rate of the local day on which it flowed. The net of each
rate is exact, in millionths; its VAT is rounded once, half up, to the currency's smallest unit. What is paid is net and
VAT together, and is rounded once.

Energy that a driver feeds back, and wear, is bought from the driver: without VAT, unless a rate says otherwise.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pieces import zone_of
from v2g.energy.settlement.pricing import NO_CURRENCY, WEAR, Line, standing_lines
from v2g.energy.settlement.records import SessionRepriced, TariffSet
from v2g.energy.settlement.settle import Settlement
from v2g.errors import CodecError
from v2g.units import payable

Percent = Annotated[str, Meta(pattern=r"^[0-9]{1,2}(\.[0-9]{1,3})?\Z", examples=["19", "8.1"])]
"""A rate, as decimal text."""


class VatRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rate of VAT. Of several that apply, that with the latest `from_day` counts, of equal ones the first."""

    percent: Percent
    """The rate, percent, such as "19"."""
    from_day: date | None = None
    """First local day, such as 2027-01-01; without one from ever."""
    stations: tuple[str, ...] = ()
    """Identities of the stations where it applies; empty: all."""
    tariffs: tuple[str, ...] = ()
    """Sources of the tariffs (`source` of the grid signal) to which it applies; empty: all."""
    feed_in: bool = False
    """Whether it applies to energy that is fed back, and to wear, too: drivers that charge VAT."""


class Tax(msgspec.Struct, frozen=True, kw_only=True):
    """What is taxed at a rate (0: nothing is), in micro-units of a currency: owed by the driver, below 0 to it."""

    currency: str
    percent: Decimal
    net: int
    vat: int


class Taxation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of VAT, and the time zone of their days: an IANA name, or an offset such as +01:00."""

    rates: tuple[VatRate, ...] = ()
    zone: Annotated[str, Meta(max_length=64)] = "UTC"

    def at(self, station_id: str) -> "Taxation":
        """Return what applies at a station."""
        here = (each for each in self.rates if not each.stations or station_id in each.stations)
        return replace(self, rates=tuple(replace(each, stations=()) for each in here))


class RateFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of VAT in a file of their own, named as in the facts of a charge detail record."""

    vat: Annotated[tuple[VatRate, ...], Meta(min_length=1)]
    """Rates by tariff, station and day."""
    vat_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    """Time zone of their days: an IANA name, or an offset such as +01:00."""


UNTAXED: Final = Taxation()


def taxes_of(entries: Sequence[Entry], settlement: Settlement, taxation: Taxation) -> tuple[Tax, ...]:
    """Return the VAT of a settlement, by currency and rate; nothing without rates.

    Raises CodecError for an unknown time zone.
    """
    if not taxation.rates:
        return ()
    percent_of = percents(entries, settlement, taxation)
    nets: dict[tuple[str, Decimal], int] = defaultdict(int)
    for line in standing_lines(settlement.lines).values():
        if line.currency != NO_CURRENCY:
            percent = percent_of(line) or Decimal(0)
            nets[line.currency, percent] += line.amount if line.direction == "import" else -line.amount
    return tuple(
        Tax(currency=currency, percent=percent, net=net, vat=_vat(net, percent, currency))
        for (currency, percent), net in sorted(nets.items())
    )


def gross_of(taxes: Sequence[Tax], currency: str) -> int:
    """Return net and VAT of a currency, micro-units."""
    return sum(each.net + each.vat for each in taxes if each.currency == currency)


def _vat(net: int, percent: Decimal, currency: str) -> int:
    exact = Decimal(net).scaleb(-6) * percent / 100
    return int(payable(exact, currency).scaleb(6))


def percents(entries: Sequence[Entry], settlement: Settlement, taxation: Taxation) -> Callable[[Line], Decimal | None]:
    """Return what returns the rate of a line in force with a price, percent; None: none applies.

    Raises CodecError for an unknown time zone.
    """
    try:
        zone = zone_of(taxation.zone)
    except ValueError as error:
        raise CodecError(f"vat_zone: {error}", hint="an IANA name such as Europe/Berlin") from None
    tariffs = [(entry.utc_ms, entry.data.tariff.source) for entry in entries if isinstance(entry.data, TariffSet)]
    repriced = [entry.data.tariff.source for entry in entries if isinstance(entry.data, SessionRepriced)]

    def percent(line: Line) -> Decimal | None:
        if repriced and line.basis != WEAR:  # the last one made the line, or what it corrects, or left it in force
            source = repriced[-1]
        else:
            place = bisect_right(tariffs, line.start_ms, key=lambda each: each[0])
            source = tariffs[place - 1][1] if place else ""
        return _percent(line, settlement.station_id, source, taxation.rates, zone)

    return percent


def _percent(line: Line, station_id: str, source: str, rates: Sequence[VatRate], zone: tzinfo) -> Decimal | None:
    day = datetime.fromtimestamp(line.start_ms / 1000, UTC).astimezone(zone).date()
    applying = [
        rate
        for rate in rates
        if (not rate.stations or station_id in rate.stations)
        and (not rate.tariffs or source in rate.tariffs)
        and (rate.from_day is None or rate.from_day <= day)
        and (rate.feed_in or line.direction == "import")
    ]
    latest = max((rate.from_day or date.min for rate in applying), default=None)
    found = next((rate for rate in applying if (rate.from_day or date.min) == latest), None)
    return None if found is None else Decimal(found.percent)
