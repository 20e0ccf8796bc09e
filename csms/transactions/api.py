"""OCPP transactions: their events, missing events, meter values, and costs."""

from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from csms.accounts.rules import Permission, allowed
from csms.booking import held
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, get, post, put
from csms.http.parameters import Money, Number, OfStation, Paged, StationId, money_of, one_of, pages, shown
from csms.http.problems import conflict, existing, missing
from csms.settlements.rules import PriceStep
from csms.sites import store as site_store
from csms.smart_charging import store as charging
from csms.smart_charging.limits_in_force import LimitPoint
from csms.tariffs import store as tariffs
from csms.tariffs.work import TariffService
from csms.transactions import store as rows
from csms.transactions.events import meter_key
from csms.transactions.store import Position, TransactionFilter
from csms.transactions.work import TransactionWatch
from v2g.energy.meter_records.keys import read_key
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.typed_json import Fields
from v2g.units import UtcMs, decimals_of

_METER_KEY = {
    "public_key": (
        "b2NhOmJhc2UxNjphc24xOjMwNTkzMDEzMDYwNzJhODY0OGNlM2QwMjAxMDYwODJhODY0OGNlM2QwMzAxMDcwMzQyMDAwNDZiMTdk"
        "MWYyZTEyYzQyNDdmOGJjZTZlNTYzYTQ0MGYyNzcwMzdkODEyZGViMzNhMGY0YTEzOTQ1ZDg5OGMyOTY0ZmUzNDJlMmZlMWE3Zjli"
        "OGVlN2ViNGE3YzBmOWUxNjJiY2UzMzU3NmIzMTVlY2VjYmI2NDA2ODM3YmY1MWY1"
    )
}

_AMOUNTS = frozenset({"price", "excl_tax", "incl_tax"})


class TransactionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a transaction. `at_ms` is the station's time, `received_ms` the back end's."""

    seq_no: int
    kind: str
    trigger: str
    at_ms: int
    received_ms: int
    offline: bool


class TransactionFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault in a station's events of a transaction."""

    kind: str
    seq_no: int | None
    detail: str


class MeterValue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sampled value: a decimal number in `unit`.

    `signed` is the OCPP SignedMeterValue, verbatim, `verdict` the result of verifying its signature.
    """

    seq_no: int | None
    at_ms: int
    measurand: str
    value: str
    unit: str
    context: str
    phase: str
    location: str
    signed: Any = None
    verdict: str = ""


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction. Registers are in Wh, as decimal text; null is not known yet.

    `power_w` (negative out of the vehicle) and `soc` (percent) are the last readings, `cost` (with
    taxes) the cost so far or, once it has ended, the total, from its journal if that is booked with prices; null if
    unknown. `held` says why its amounts are in quarantine, null if they are not.
    `limit` and `wanted_limit` are TransactionLimits as JSON: the station's, and an operator's. `closed_ms`: when the
    back end concluded that no end will come, and `closed_reason` why. `transaction_id` is the station's, with `~` and
    the begin if it had used that id before its last boot.
    """

    station_id: str
    transaction_id: str
    first_seq: int
    last_seq: int
    started_seq: int | None
    started_ms: int | None
    ended_seq: int | None
    ended_ms: int | None
    evse_id: int | None
    connector_id: int | None
    id_token: str | None
    token_type: str | None
    charging_state: str | None
    operation_mode: str | None
    stopped_reason: str | None
    import_start_wh: str | None
    import_wh: str | None
    export_start_wh: str | None
    export_wh: str | None
    power_w: str | None
    soc: str | None
    cost: Money | None
    held: str | None
    tariff_id: str | None
    limit: str | None
    wanted_limit: str | None
    limit_told: bool
    closed_ms: int | None
    closed_reason: str | None
    active: bool


class WholeTransaction(Transaction, frozen=True, kw_only=True):
    """A transaction with all its events and values.

    `complete`: from Started to Ended no event is missing; `missing`: the first and last seqNo of every gap.
    """

    complete: bool
    missing: tuple[tuple[int, int], ...]
    faults: tuple[TransactionFault, ...]
    events: tuple[TransactionEvent, ...]
    meter_values: tuple[MeterValue, ...]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a transaction without and with taxes, so far or, where `final`, in total.

    `source`: `csms`, or `station` where the station calculated it; `document` is the calculation (the station's: OCPP
    CostDetails).
    """

    station_id: str
    transaction_id: str
    excl_tax: Money
    incl_tax: Money
    final: bool
    source: str
    updated_ms: int
    document: Any


class WhichTransactions(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for transactions."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only at this station.")] = None
    active: Annotated[bool | None, msgspec.Meta(description="Only those that have not, or have, ended.")] = None
    since_ms: Annotated[UtcMs | None, msgspec.Meta(description="Only those that began then or later.")] = None
    before_ms: Annotated[UtcMs | None, msgspec.Meta(description="Only those that began earlier.")] = None
    site: Annotated[str | None, msgspec.Meta(description="Only at stations of this site.")] = None
    text: Annotated[
        str,
        msgspec.Meta(max_length=60, description="Only those with this in their id, their station's, or this token."),
    ] = ""


class OneTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a transaction."""

    transaction_id: Annotated[
        str, msgspec.Meta(description="The station's transactionId; with its begin if used before.", examples=["tx-1"])
    ]
    station: OfStation = None


class NewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price plan that applies to a transaction from now on."""

    plan_id: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class NewLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a transaction: cost (in its currency, with taxes), energy, time, state of charge; null is no limit."""

    max_cost: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    max_energy_wh: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    max_time_s: Annotated[int, msgspec.Meta(ge=0, le=31_536_000)] | None = None
    max_soc: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None


class MeterKeySetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A meter's public key, as OCPP's `publicKey` has it: base64 of `oca:base16:asn1:` and the DER in hex.

    `evse_id`: the meter's EVSE; 0 stands for the whole station.
    """

    public_key: Annotated[str, msgspec.Meta(min_length=1, max_length=2500)]
    evse_id: Number = 0


class PlanStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The station's answer, or `Central` where the back end calculates costs."""

    status: str


@get("/transactions", Permission.READ_TRANSACTIONS)
async def list_transactions(call: Call, parameters: WhichTransactions) -> Page[Transaction]:
    """List transactions, newest first."""
    stations = None
    if parameters.site is not None:
        site = await call.run(site_store.site, parameters.site)
        stations = () if site is None else tuple({each.station_id for each in site.places})
    wanted = TransactionFilter(
        station_id=parameters.station_id,
        active=parameters.active,
        since_ms=parameters.since_ms,
        before_ms=parameters.before_ms,
        stations=stations,
        text=parameters.text,
        tokens=allowed(call.principal, Permission.READ_TOKENS),
    )
    keys = ("started_ms", "station_id", "transaction_id")
    return await pages(
        call,
        parameters,
        Transaction,
        Position,
        keys,
        lambda connection, after, limit: [
            _with_cost(each) for each in rows.list_page(connection, wanted, after, limit)
        ],
    )


@get("/transactions/{transaction_id}", Permission.READ_TRANSACTIONS, problems=(404, 409))
async def read_transaction(call: Call, parameters: OneTransaction) -> WholeTransaction:
    """Return a transaction with events, gaps, faults, and meter values."""
    found = await call.run(rows.find, await _station_of(call, parameters), parameters.transaction_id)
    return shown(_with_cost(existing("transaction", found)), WholeTransaction)


def _with_cost(row: Fields) -> Fields:
    """Return a row with its cost as an amount."""
    return {**row, "cost": None if row["cost"] is None else asdict(money_of(row["cost"], row["currency"]))}


@get("/transactions/{transaction_id}/limits", Permission.READ_TRANSACTIONS, problems=(404, 409))
async def read_limits(call: Call, parameters: OneTransaction) -> tuple[LimitPoint, ...]:
    """Return what has limited a transaction's power (W), lowest first, and its set-points; each holds until the next.

    Limits of discharging are in the journal that its charger signs.
    """
    station_id = await _station_of(call, parameters)
    return tuple(await call.run(charging.limits_over_time, station_id, parameters.transaction_id))


@get("/transactions/{transaction_id}/prices", Permission.READ_TRANSACTIONS, problems=(404, 409))
async def read_prices(call: Call, parameters: OneTransaction) -> tuple[PriceStep, ...]:
    """Return what a kWh costs over a transaction, and one fed back pays, by its price plans; each holds until the next.

    Sessions with a signed journal have the prices of that (`/course`).
    """
    station_id = await _station_of(call, parameters)
    return await call.run(tariffs.prices, station_id, parameters.transaction_id, call.now_ms)


@get("/transactions/{transaction_id}/cost", Permission.READ_TRANSACTIONS, problems=(404, 409))
async def read_cost(call: Call, parameters: OneTransaction) -> Cost:
    """Return the cost of a transaction; 404 where it has no price, 409 while it is held, or if it was rejected."""
    key = await _station_of(call, parameters), parameters.transaction_id
    review = await call.run(held.find, *key)
    if review is not None and review["state"] in held.OPEN:
        state = "held" if review["state"] == "quarantined" else "rejected"
        raise conflict(f"the transaction is {state}", f"GET /books/quarantine/{key[1]} says why", code=state)
    found = await call.run(tariffs.cost, *key)
    if found is None:
        raise missing("cost: the transaction has no price")
    taxed = {name: asdict(money_of(found[name], found["currency"])) for name in ("excl_tax", "incl_tax")}
    document = found["document"]
    if found["source"] == "csms":
        document = _in_units(document) | {"lines": [_in_units(each) for each in document.get("lines", ())]}
    return shown({**found, **taxed, "document": document}, Cost)


def _in_units(row: Fields) -> Fields:
    """Return a row of a calculation with its amounts as decimal text."""
    return {name: decimals_of(value) if name in _AMOUNTS else value for name, value in row.items()}


@put(
    "/transactions/{transaction_id}/tariff",
    Permission.WRITE_TARIFFS,
    problems=STATION_PROBLEMS,
    example={"plan_id": "day-night"},
)
async def change_tariff(call: Call, parameters: OneTransaction, body: NewPlan) -> PlanStatus:
    """Change the price plan of a running transaction (I11)."""
    station_id = await _station_of(call, parameters)
    service = TariffService(call.services)
    status = await service.change_transaction(station_id, parameters.transaction_id, body.plan_id)
    return PlanStatus(status=status)


@post("/transactions/{transaction_id}/close", Permission.COMMAND_STATIONS, problems=(404,), lasting=True)
async def close_transaction(call: Call, parameters: OneTransaction) -> Transaction:
    """Close a transaction whose end will never arrive, with the data received so far."""
    station_id = await _station_of(call, parameters)
    watch = TransactionWatch(call.services)
    if not await watch.close(station_id, parameters.transaction_id, "operator"):
        raise conflict("the transaction has ended already", code="ended")
    found = await call.run(rows.find, station_id, parameters.transaction_id)
    return shown(_with_cost(existing("transaction", found)), Transaction)


@put(
    "/transactions/{transaction_id}/limit",
    Permission.COMMAND_STATIONS,
    status=204,
    problems=(404,),
    example={"max_energy_wh": 20_000},
)
async def limit_transaction(call: Call, parameters: OneTransaction, body: NewLimit) -> None:
    """Limit a running transaction; a station of OCPP 2.1 receives the limit with its next event (E16), another one is
    asked to stop the transaction when it has reached the limit."""
    wanted = TransactionLimit(
        max_cost=body.max_cost, max_energy=body.max_energy_wh, max_time=body.max_time_s, max_soc=body.max_soc
    )
    watch = TransactionWatch(call.services)
    await watch.limit(await _station_of(call, parameters), parameters.transaction_id, wanted)


@put("/stations/{station_id}/meter-key", Permission.ADMIT_STATIONS, status=204, problems=(404,), example=_METER_KEY)
async def set_meter_key(call: Call, station_id: StationId, body: MeterKeySetting) -> None:
    """Set the trusted public key of a station's meter; later signed values are verified with it."""
    read_key(body.public_key)
    where = station_id, body.evse_id
    await call.change(
        lambda connection: {"public_key": meter_key(connection, *where)},
        lambda connection, _before: rows.save_meter_key(connection, *where, body.public_key, call.now_ms),
    )


async def _station_of(call: Call, parameters: OneTransaction) -> str:
    if parameters.station is not None:
        return parameters.station
    found = [{"station_id": each} for each in await call.run(rows.stations_of, parameters.transaction_id)]
    return str(one_of(call, found, None, "transaction")["station_id"])
