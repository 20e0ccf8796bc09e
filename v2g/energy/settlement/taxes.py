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

from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.pricing import NO_CURRENCY, Line
from v2g.energy.settlement.records import TariffSet
from v2g.energy.settlement.settle import Settlement
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


NO_RATES: Final[tuple[VatRate, ...]] = ()


def taxes_of(
    entries: Sequence[Entry], settlement: Settlement, rates: Sequence[VatRate], zone: tzinfo = UTC
) -> tuple[Tax, ...]:
    """Return the VAT of a settlement, by currency and rate; nothing without `rates`. Days are those of `zone`."""
    if not rates:
        return ()
    percent_of = percents(entries, settlement.station_id, rates, zone)
    nets: dict[tuple[str, Decimal], int] = defaultdict(int)
    for line in settlement.lines:
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


def percents(
    entries: Sequence[Entry], station_id: str, rates: Sequence[VatRate], zone: tzinfo
) -> Callable[[Line], Decimal | None]:
    """Return what returns the rate of a line with a price, percent; None: none applies."""
    tariffs = [(entry.utc_ms, entry.data.tariff.source) for entry in entries if isinstance(entry.data, TariffSet)]

    def percent(line: Line) -> Decimal | None:
        place = bisect_right(tariffs, line.start_ms, key=lambda each: each[0])
        return _percent(line, station_id, tariffs[place - 1][1] if place else "", rates, zone)

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
