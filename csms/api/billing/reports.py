"""Reports over all transactions that ended: energy, time and money by group and currency, as decimal text."""

from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Annotated

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import Page, get
from csms.api.http.paging import page_of
from csms.api.http.parameters import Paged
from csms.api.http.problems import ApiError
from csms.db.queries import reports as rows
from csms.domain.security.access import Permission
from csms.domain.transactions.transactions import plain
from v2g.units import Currency, Decimals, decimals_of


class TransactionSum(msgspec.Struct, frozen=True, kw_only=True):
    """The transactions of a group in a currency: their number, energy (kWh), time from start to end (s), and money.

    `group` is null where they have none, such as no site. `currency` and money are null for transactions without a
    price. `preliminary`: how many have a cost so far, and no final one. `held` and `unpriced` transactions wait for a
    decision (`GET /books/quarantine`): their amounts are not in these sums. Below 0 drivers are owed.
    """

    group: str | None
    currency: Currency | None
    transactions: int
    held: int
    unpriced: int
    preliminary: int
    import_kwh: str
    export_kwh: str
    duration_s: str
    net: Decimals | None
    vat: Decimals | None
    gross: Decimals | None


class WhichReport(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How transactions are grouped, and the days on which those that count ended."""

    by: rows.Grouping = "month"
    from_day: Annotated[date | None, msgspec.Meta(description="First day, in `accounting_time_zone`.")] = None
    to_day: Annotated[date | None, msgspec.Meta(description="Last day.")] = None


@get("/reports/transactions", Permission.READ_SETTLEMENTS, for_sites=True)
async def report_transactions(call: Call, parameters: WhichReport) -> Page[TransactionSum]:
    """Sum transactions that ended, by month, day, site, station, token or tariff, and by currency.

    A transaction counts when it ended; running ones are left out. Where its session is booked from the journal, the
    books have its energy and money; otherwise its registers and its cost do. Import and export are never netted.
    """
    first, last = parameters.from_day, parameters.to_day
    if first is not None and last is not None and first > last:
        raise ApiError(400, "from_day is after to_day")
    zone = call.services.config.accounting_zone
    begin_ms = None if first is None else _midnight(first, zone)
    end_ms = None if last is None or last == date.max else _midnight(last + timedelta(days=1), zone)
    found = await call.run(rows.sums, parameters.by, zone, begin_ms, end_ms, call.stations)
    page = page_of(call, found, parameters, lambda each: f"{each.group}\0{each.currency}")
    return Page(tuple(map(_shown, page.items)), page.next)


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp() * 1000)


def _shown(found: rows.Sum) -> TransactionSum:
    def money(micro: int) -> str | None:
        return decimals_of(micro, found.currency) if found.currency else None

    return TransactionSum(
        group=found.group or None,
        currency=found.currency or None,
        transactions=found.transactions,
        held=found.held,
        unpriced=found.unpriced,
        preliminary=found.preliminary,
        import_kwh=plain(Decimal(found.import_mwh).scaleb(-6)),
        export_kwh=plain(Decimal(found.export_mwh).scaleb(-6)),
        duration_s=plain(Decimal(found.duration_ms).scaleb(-3)),
        net=money(found.net),
        vat=money(found.gross - found.net),
        gross=money(found.gross),
    )
