"""The books over all sessions, the closing of periods, and reports over all transactions that ended.

Amounts are decimal text: energy in kWh, money in units of its currency.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.booking import store as reviews
from csms.books import reports as report_rows
from csms.books import store as rows
from csms.books.audit import audit_periods, audit_session
from csms.books.operator_key import BooksKeys
from csms.http.call import Call
from csms.http.operations import Page, Reply, get, post
from csms.http.parameters import Money, OfStation, Paged, money_of, page_of, pages
from csms.http.problems import ApiError, missing
from csms.transactions.rules import plain
from v2g import typed_json
from v2g.energy.settlement.bookkeeping import MILLIWATT_HOURS, Entry, Period, Posting, Use
from v2g.energy.settlement.operator import OperatorSeal
from v2g.energy.settlement.rows import csv_text
from v2g.typed_json import Fields
from v2g.units import Currency, Decimals, decimals_of

_MILLIONTH = Decimal("0.000001")

RECOMPUTED_LINES: Final = 20_000
"""Lines of journals that one request recomputes: about a second or two."""


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """The exact sum of an account; `unit` is kWh or a currency."""

    account: str
    unit: str
    amount: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Energy (kWh), full equivalent cycles by throughput and by discharge, and time (s), as decimal text.

    Cycles are those of batteries with a known capacity, null if there is none.
    """

    import_kwh: str
    export_kwh: str
    full_cycles: str | None
    v2g_cycles: str | None
    charging_s: str
    discharging_s: str
    idle_s: str


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over sessions. The amounts of each unit sum to zero.

    `held`: how many journals and transactions wait for evidence or a person, and are in no sum.
    """

    sessions: int
    held: int
    amounts: tuple[Amount, ...]
    usage: Usage


class PeriodState(msgspec.Struct, frozen=True, kw_only=True):
    """A period with postings. Closed: when, how many postings, their digest, which covers earlier periods, too, and
    the key (SHA-256 of its public half) that signed it.
    """

    period: str
    closed_ms: int | None = None
    postings: int | None = None
    digest: str | None = None
    signer: str | None = None


class PeriodSheet(msgspec.Struct, frozen=True, kw_only=True):
    """A period's sums.

    `intact`, of a closed period: whether its postings are those of its digest, and the operator has signed that. Of an
    open one: whether its sessions follow from their journals, recomputed now; null if these have over 20,000 lines.
    """

    state: PeriodState
    intact: bool | None
    sheet: Sheet


class ShownPosting(msgspec.Struct, frozen=True, kw_only=True):
    """A posting of a session, by its number, and its period. Amounts and usage of a reversal have the other sign."""

    number: int
    period: str
    kind: Literal["settlement", "reversal"]
    journal_head: str
    vehicle: str
    begin_ms: int
    end_ms: int
    amounts: tuple[Amount, ...]
    usage: Usage


class AuditedPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """What does not hold of a period."""

    period: str
    finding: str


class AuditedSession(msgspec.Struct, frozen=True, kw_only=True):
    """What does not hold of a session."""

    station_id: str
    session_id: str
    findings: tuple[str, ...]


class OnePeriod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a period, a calendar month."""

    period: Period


class ClosedPeriod(OnePeriod, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a period to close."""

    leave_unposted: Annotated[
        bool, msgspec.Meta(description="Close although complete sessions are not posted: they go into a later period.")
    ] = False


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What drivers owe by sessions, in each currency (below 0: are owed), and energy in kWh, as decimal text.

    Each session's amount is rounded as on its receipt; sums are of these. Of one session: its station, id, vehicle and
    times. Of a vehicle's or a period's: that one, and their number.
    """

    station_id: str | None
    session_id: str | None
    vehicle: str | None
    period: str | None
    begin_ms: int | None
    end_ms: int | None
    sessions: int
    import_kwh: str
    export_kwh: str
    owed: tuple[Money, ...]


class WhichCosts(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How costs are grouped, and which count: those posted in a period, those of a vehicle (EMAID)."""

    by: rows.Grouping = "session"
    period: Period | None = None
    vehicle: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None


Emaid = Annotated[str, msgspec.Meta(min_length=1, max_length=255, examples=["DEV2GC00000001"])]


SessionId = Annotated[str, msgspec.Meta(description="The ISO 15118 session id.", examples=["0A1B2C3D4E5F6071"])]


@get("/books/key", Permission.READ_SETTLEMENTS, media_type="application/x-pem-file", answer=str)
async def read_books_key(call: Call) -> Reply[bytes]:
    """Return the public half of the operator's key, with which `v2g settle verify --operator` checks signatures."""
    pem = call.services[BooksKeys].own.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Reply(content=pem, media_type="application/x-pem-file")


@get("/books/periods", Permission.READ_SETTLEMENTS)
async def list_periods(call: Call) -> tuple[PeriodState, ...]:
    """List periods: closed ones, then open ones with postings."""
    closed = [_closed(each) for each in await call.run(rows.closed_periods)]
    return (*closed, *(PeriodState(period=each) for each in await call.run(rows.open_periods)))


@get("/books/periods/{period}", Permission.READ_SETTLEMENTS)
async def read_period(call: Call, parameters: OnePeriod) -> PeriodSheet:
    """Return a period's sums, verified."""
    closed = await call.run(rows.closed_period, parameters.period)
    held = await call.run(reviews.count_held, parameters.period, call.services.config.accounting_zone)
    return PeriodSheet(
        state=PeriodState(period=parameters.period) if closed is None else _closed(closed),
        intact=await (_follows(call, parameters.period) if closed is None else _holds(call, closed)),
        sheet=_sheet(await call.run(rows.sums, parameters.period), held),
    )


async def _follows(call: Call, period: str) -> bool | None:
    """Return whether the sessions of an open period follow from their journals; None if that takes too long."""
    names = await call.run(rows.sessions_of, period, RECOMPUTED_LINES)
    return None if names is None else not any(each.findings for each in await _audited(call, names))


async def _holds(call: Call, closed: rows.ClosedPeriod) -> bool:
    changed = () if await call.run(rows.is_intact, closed) else (closed.period,)
    found = audit_periods(await call.run(rows.closed_periods), changed, (), call.services[BooksKeys].public)
    return closed.period not in {period for period, _ in found}


@post("/books/periods/{period}/close", Permission.CLOSE_PERIODS, problems=(409,), lasting=True)
async def close_period(call: Call, parameters: ClosedPeriod) -> PeriodState:
    """Close a period for ever: settlements that come later are posted in the next one.

    It must be over, earlier ones closed, and all its complete sessions posted. Closing a closed one again changes
    nothing, but signs one that an earlier version closed, if its postings are those that were closed.

    The event `period_closed` brings its digest to webhooks, which keep it elsewhere. Closing again repeats it: it may
    have been lost with its node.
    """
    zone = call.services.config.accounting_zone
    _, closed = await call.change(
        lambda connection: rows.closed_period(connection, parameters.period),
        lambda connection, _before: rows.close(
            connection,
            parameters.period,
            call.now_ms,
            zone,
            call.services[BooksKeys].own,
            leave_unposted=parameters.leave_unposted,
        ),
    )
    assert closed is not None, "it is read after it was written"
    state = _closed(closed)
    data = {name: value for name, value in structs.asdict(state).items() if value is not None}
    call.services.announce("settlement", "period_closed", **data)
    return state


@get("/books/audit/periods", Permission.READ_SETTLEMENTS, large=True)
async def audit_closed_periods(call: Call) -> tuple[AuditedPeriod, ...]:
    """Verify closed periods: postings by the digest, digests by the one before and the operator's signature."""
    periods = await call.run(rows.closed_periods)
    changed = [each.period for each in periods if not await call.run(rows.is_intact, each)]
    found = audit_periods(periods, changed, await call.run(rows.open_periods), call.services[BooksKeys].public)
    return tuple(AuditedPeriod(period=period, finding=each) for period, each in found)


@get("/books/audit/sessions", Permission.READ_SETTLEMENTS)
async def audit_sessions(call: Call, parameters: Paged) -> Page[AuditedSession]:
    """Recompute settlements and postings from journals, by station and session, and list what does not hold of each."""
    keys = ("station_id", "session_id")
    page = await pages(call, parameters, dict[str, str], tuple[str, str], keys, rows.booked_sessions)
    names = [(each["station_id"], each["session_id"]) for each in page.items]
    return Page(tuple(await _audited(call, names)), page.next)


async def _audited(call: Call, names: Sequence[tuple[str, str]]) -> list[AuditedSession]:
    """Recompute some sessions, by (station, session)."""
    config, keys = call.services.config, call.services[BooksKeys].public
    closed = {each.period: each.closed_ms for each in await call.run(rows.closed_periods)}
    items = []
    for station_id, session_id in names:
        stored = await call.run(rows.session_rows, station_id, session_id)
        found = await asyncio.to_thread(audit_session, stored, keys, config.taxation, closed)
        items.append(AuditedSession(station_id=station_id, session_id=session_id, findings=tuple(found)))
    return items


@get("/books/costs", Permission.READ_SETTLEMENTS)
async def list_costs(call: Call, parameters: WhichCosts) -> Page[Cost]:
    """List what sessions cost, by session, vehicle or period, in order of these."""
    names = rows.GROUPS[parameters.by]
    position: Any = tuple[str] if len(names) == 1 else tuple[str, str]

    def fetch(connection: Connection, after: Any, limit: int) -> list[Fields]:
        found = rows.costs(
            connection, parameters.by, after, limit, period=parameters.period, vehicle=parameters.vehicle
        )
        return [structs.asdict(_cost(each)) for each in found]

    return await pages(call, parameters, Cost, position, names, fetch)


def _cost(found: rows.Cost) -> Cost:
    return Cost(
        station_id=found.station_id,
        session_id=found.session_id,
        vehicle=found.vehicle,
        period=found.period,
        begin_ms=found.begin_ms,
        end_ms=found.end_ms,
        sessions=found.sessions,
        import_kwh=_decimal(found.import_mwh),
        export_kwh=_decimal(found.export_mwh),
        owed=tuple(money_of(amount, currency) for currency, amount in found.owed.items()),
    )


@get("/books/vehicles/{emaid}", Permission.READ_SETTLEMENTS)
async def read_vehicle_books(call: Call, emaid: Emaid, period: Period | None = None) -> Sheet:
    """Return the sums of a vehicle's contract: what it owes or is owed, its energy, cycles and time."""
    zone = call.services.config.accounting_zone
    held = await call.run(reviews.count_held, period, zone, emaid)
    return _sheet(await call.run(rows.sums, period, emaid), held)


@get("/settlements/{session_id}/postings", Permission.READ_SETTLEMENTS, problems=(404,))
async def read_postings(call: Call, session_id: SessionId, station: OfStation = None) -> tuple[ShownPosting, ...]:
    """Return a session's postings: its settlement, and reversals of earlier ones."""
    found = await call.run(rows.of_session, station, session_id)
    if not found:
        raise missing("session")
    return tuple(_posting(*each) for each in found)


def _posting(number: int, period: str, posting: Posting) -> ShownPosting:
    return ShownPosting(
        number=number,
        period=period,
        kind=posting.kind,
        journal_head=posting.journal_head,
        vehicle=posting.vehicle,
        begin_ms=posting.begin_ms,
        end_ms=posting.end_ms,
        amounts=tuple(map(_amount, posting.entries)),
        usage=_usage(posting.use),
    )


def _closed(found: rows.ClosedPeriod) -> PeriodState:
    try:
        signer = None if found.seal is None else typed_json.decode(found.seal, OperatorSeal).key_id
    except msgspec.DecodeError:  # `intact` says that it does not hold
        signer = None
    return PeriodState(
        period=found.period, closed_ms=found.closed_ms, postings=found.postings, digest=found.digest, signer=signer
    )


def _sheet(found: rows.Sums, held: int) -> Sheet:
    amounts = tuple(map(_amount, found.entries))
    return Sheet(sessions=found.sessions, held=held, amounts=amounts, usage=_usage(found.use))


def _amount(entry: Entry) -> Amount:
    unit = "kWh" if entry.unit == MILLIWATT_HOURS else entry.unit
    return Amount(account=entry.account, unit=unit, amount=_decimal(entry.amount))


def _known(number: int | None) -> str | None:
    return None if number is None else _decimal(number)


def _usage(use: Use) -> Usage:
    return Usage(
        import_kwh=_decimal(use.import_mwh),
        export_kwh=_decimal(use.export_mwh),
        full_cycles=_known(use.full_cycles),
        v2g_cycles=_known(use.v2g_cycles),
        charging_s=plain(Decimal(use.charging_ms) / 1000),
        discharging_s=plain(Decimal(use.discharging_ms) / 1000),
        idle_s=plain(Decimal(use.idle_ms) / 1000),
    )


def _decimal(millionths: int) -> str:
    return plain(millionths * _MILLIONTH)


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


FirstDay = Annotated[date | None, msgspec.Meta(description="First day, in `accounting_time_zone`.")]
LastDay = Annotated[date | None, msgspec.Meta(description="Last day.")]


class WhichReport(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How transactions are grouped, and the days on which those that count ended."""

    by: report_rows.Grouping = "month"
    from_day: FirstDay = None
    to_day: LastDay = None


@get("/reports/transactions", Permission.READ_SETTLEMENTS, for_sites=True, large=True, tag="reports")
async def report_transactions(call: Call, parameters: WhichReport) -> Page[TransactionSum]:
    """Sum transactions that ended, by month, day, site, station, token or tariff, and by currency.

    A transaction counts when it ended; running ones are left out. Where its session is booked from the journal, the
    books have its energy and money; otherwise its registers and its cost do. Import and export are never netted.
    Money is what is billed: each transaction's is rounded, not the sum.
    """
    begin_ms, end_ms = _span(call, parameters.from_day, parameters.to_day)
    zone = call.services.config.accounting_zone
    found = await call.run(report_rows.sums, parameters.by, zone, begin_ms, end_ms, call.stations)
    page = page_of(call, found, parameters, lambda each: f"{each.group}\0{each.currency}")
    return Page(tuple(map(_shown, page.items)), page.next)


MOST_ENTRIES: Final = 100_000
"""Transactions in one file of charging entries."""

_ENTRY_COLUMNS: Final = (
    "vehicle_name", "charging_started_at", "charging_ended_at", "charging_duration_minutes", "total_energy_kwh",
    "energy_price", "total_cost", "currency", "reference", "fed_back_kwh",
)  # fmt: skip
"""As the form of Fleetio's charging entries has them (https://help.fleetio.com, "EV Charge Tracking")."""


@get(
    "/reports/charging-entries",
    Permission.READ_SETTLEMENTS,
    for_sites=True,
    large=True,
    tag="reports",
    media_type="text/csv",
    answer=bytes,
)
async def export_charging_entries(call: Call, from_day: FirstDay = None, to_day: LastDay = None) -> Reply[bytes]:
    """Return ended transactions as CSV for the import of charging entries into Fleetio, oldest first.

    The token stands for the vehicle. Amounts are those of `/reports/transactions`; held ones are left out. A
    transaction in several currencies has a line for each, the first with its energy.
    """
    span = _span(call, from_day, to_day)
    found = await call.run(report_rows.entries, *span, call.stations, MOST_ENTRIES + 1)
    if len(found) > MOST_ENTRIES:
        raise ApiError(400, f"more than {MOST_ENTRIES} transactions", "choose fewer days")
    text = await asyncio.to_thread(lambda: csv_text(_ENTRY_COLUMNS, *map(_entry, found)))
    return Reply(content=text.encode(), media_type="text/csv")


def _entry(found: report_rows.ChargingEntry) -> tuple[object, ...]:
    kwh = Decimal(found.import_mwh).scaleb(-6)
    cost = Decimal(found.gross).scaleb(-6)
    began, ended = (
        datetime.fromtimestamp(each / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
        for each in (max(0, found.end_ms - found.duration_ms), found.end_ms)
    )
    return (
        found.token,
        began,
        ended,
        round(found.duration_ms / 60_000),
        plain(kwh),
        plain((cost / kwh).quantize(_MILLIONTH)) if kwh > 0 and found.currency else None,
        decimals_of(found.gross, found.currency) if found.currency else None,
        found.currency or None,
        f"{found.station_id} {found.transaction_id}",
        plain(Decimal(found.export_mwh).scaleb(-6)),
    )


def _span(call: Call, first: date | None, last: date | None) -> tuple[int | None, int | None]:
    """Return begin and end of some days, UTC ms."""
    if first is not None and last is not None and first > last:
        raise ApiError(400, "from_day is after to_day")
    zone = call.services.config.accounting_zone
    begin_ms = None if first is None else _midnight(first, zone)
    return begin_ms, None if last is None or last == date.max else _midnight(last + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp() * 1000)


def _shown(found: report_rows.Sum) -> TransactionSum:
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
