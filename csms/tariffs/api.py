"""Price plans, their assignments, and the tariffs that OCPP 2.1 stations hold (block I)."""

from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post, put, to_station
from csms.http.parameters import Number, Paged, StationId, page_of
from csms.http.problems import ApiError, existing, missing
from csms.sites import store as site_store
from csms.tariffs import store as rows
from csms.tariffs.store import Scope
from csms.tariffs.work import TARIFFS_CHANGED, TariffService
from csms.tokens.rules import normalise
from v2g.energy.price_plan import ChargeKind, PricePlan
from v2g.energy.settlement.costing import UNITS, bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage, zone_of
from v2g.ocpp.messages.tariff_cost import ClearTariffsResponse, GetTariffsResponse
from v2g.units import LAST_MS, MICRO, MINUTE_MS, Currency, Decimals, UtcMs, decimals_of

PlanId = Annotated[str, msgspec.Meta(min_length=1, max_length=60, examples=["day-night"])]


class Assignment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scope of a plan: empty texts and 0 mean any. A site, or a group of tokens, stands alone."""

    plan_id: PlanId
    station_id: Annotated[str, msgspec.Meta(max_length=48)] = ""
    evse_id: Number = 0
    token_type: Annotated[str, msgspec.Meta(max_length=20)] = ""
    id_token: Annotated[str, msgspec.Meta(max_length=255)] = ""
    site_id: Annotated[str, msgspec.Meta(max_length=60)] = ""
    group_id: Annotated[str, msgspec.Meta(max_length=36)] = ""


class WhichScope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scope of an assignment."""

    station_id: Annotated[str, msgspec.Meta(description="Empty: every station.")] = ""
    evse_id: Number = 0
    token_type: Annotated[str, msgspec.Meta(description="Empty: every driver.")] = ""
    id_token: str = ""
    site_id: str = ""
    group_id: str = ""


class DefaultTariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plan that is to apply at a station, or at one of its EVSEs (0: all)."""

    plan_id: PlanId
    evse_id: Number = 0


class TariffStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The station's answer, or `Central` where the back end calculates costs."""

    status: str


class ExampleSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session that begins at `start_ms`, by default now, to be priced by a plan, stored or not: it takes energy, then
    feeds energy back, both evenly, and stays idle after that."""

    plan: PricePlan
    import_wh: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 30_000
    export_wh: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    charging_min: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 60
    idle_min: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    start_ms: UtcMs | None = None


class ExampleLine(msgspec.Struct, frozen=True, kw_only=True):
    """A rate and what it comes to. `quantity` is in kWh, minutes or times; amounts below 0 are owed to the driver."""

    kind: ChargeKind
    price: Decimals
    quantity: Decimals
    excl_tax: Decimals
    incl_tax: Decimals


class ExampleCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the session would cost, without and with taxes; `kind`: whether a least or greatest cost applies."""

    currency: Currency
    kind: str
    lines: tuple[ExampleLine, ...]
    excl_tax: Decimals
    incl_tax: Decimals


_EXAMPLE = {"id": "day-night", "currency": "EUR", "zone": "Europe/Berlin", "energy": {"rates": [{"price": "0.4"}]}}


@get("/tariffs", Permission.READ_TARIFFS, for_sites=True)
async def list_tariffs(call: Call, parameters: Paged) -> Page[PricePlan]:
    """List price plans, by id."""
    return page_of(call, await call.run(rows.plans), parameters, lambda each: each.id)


@get("/tariffs/{plan_id}", Permission.READ_TARIFFS, problems=(404,), for_sites=True)
async def read_tariff(call: Call, plan_id: PlanId) -> PricePlan:
    """Return one price plan."""
    return existing("plan", await call.run(rows.plan, plan_id))


@post("/tariffs", Permission.WRITE_TARIFFS, status=201, example=_EXAMPLE)
async def make_tariff(call: Call, body: PricePlan) -> Reply[PricePlan]:
    """Store a price plan. The content under an id never changes; storing the same plan again is harmless."""
    try:
        zone_of(body.zone)  # else no transaction that has the plan gets a cost
    except ValueError as error:
        raise ApiError(400, f"zone: {error}", "such as Europe/Berlin") from None
    await call.change(
        lambda connection: rows.plan(connection, body.id),
        lambda connection, _before: rows.add_plan(connection, body, call.now_ms),
    )
    return Reply(content=body, status=201, headers={"Location": f"/tariffs/{body.id}"})


@post(
    "/tariffs/example",
    Permission.READ_TARIFFS,
    audited=False,
    example={"plan": _EXAMPLE, "import_wh": 30_000},
    for_sites=True,
)
async def price_example(call: Call, body: ExampleSession) -> ExampleCost:
    """Return what a session would cost by a plan, with taxes. Nothing is stored."""
    start_ms = call.now_ms if body.start_ms is None else body.start_ms
    charging_ms = body.charging_min * MINUTE_MS
    half = start_ms + charging_ms // 2 if body.import_wh and body.export_wh else start_ms + charging_ms
    if not body.import_wh:
        half = start_ms
    end_ms = start_ms + charging_ms + body.idle_min * MINUTE_MS
    if end_ms > LAST_MS - 1440 * MINUTE_MS:
        raise ApiError(400, "start_ms: the session ends after what a calendar has")
    import_mwh, export_mwh = body.import_wh * 1000, body.export_wh * 1000
    usage = Usage(
        start_ms=start_ms,
        end_ms=end_ms,
        readings=tuple(
            dict.fromkeys(
                (
                    Registers(start_ms, 0, 0),
                    Registers(half, import_mwh, 0),
                    Registers(start_ms + charging_ms, import_mwh, export_mwh),
                )
            )
        ),
        charging=((start_ms, True), (start_ms + charging_ms, False)),
    )
    try:
        found = bill([(start_ms, body.plan)], usage, ended=True)
    except ValueError as error:
        raise ApiError(400, f"plan: {error}") from None
    return ExampleCost(
        currency=found.currency,
        kind=found.kind,
        lines=tuple(
            ExampleLine(
                kind=each.kind,
                price=decimals_of(each.price),
                quantity=decimals_of(each.quantity * MICRO // UNITS[each.kind]),
                excl_tax=decimals_of(each.excl_tax, found.currency),
                incl_tax=decimals_of(each.incl_tax, found.currency),
            )
            for each in found.lines
        ),
        excl_tax=decimals_of(found.excl_tax, found.currency),
        incl_tax=decimals_of(found.incl_tax, found.currency),
    )


@delete("/tariffs/{plan_id}", Permission.WRITE_TARIFFS, problems=(404,), conditional=True)
async def delete_tariff(call: Call, plan_id: PlanId) -> None:
    """Delete a price plan that is not in use."""
    await call.remove(
        "plan",
        lambda connection: rows.plan(connection, plan_id),
        lambda connection, plan: rows.remove_plan(connection, plan.id),
    )


@get("/tariff-assignments", Permission.READ_TARIFFS)
async def list_assignments(call: Call, parameters: Paged) -> Page[Assignment]:
    """List the assignments of plans."""
    return page_of(call, sorted(await call.run(_assignments), key=_whose), parameters, _whose)


@put("/tariff-assignments", Permission.WRITE_TARIFFS, problems=(404,), example={"plan_id": "day-night"})
async def assign_tariff(call: Call, body: Assignment) -> tuple[Assignment, ...]:
    """Assign a plan to stations, EVSEs, sites, drivers or their groups, replacing that of this scope; returns all.

    A driver's own plan stands before that of the driver's group, EVSE, station, site, and the one for all.
    """
    scope = _scope(body)

    def write(connection: Connection, _before: object) -> None:
        if body.site_id:
            existing("site", site_store.site(connection, body.site_id))
        rows.assign(connection, scope, body.plan_id, call.now_ms)

    after = await call.put(_assignments, write)
    call.services.feed.publish(TARIFFS_CHANGED, None, {"tariff": body.plan_id})
    return after


@delete("/tariff-assignments", Permission.WRITE_TARIFFS, problems=(404,))
async def unassign_tariff(call: Call, parameters: WhichScope) -> None:
    """Delete the assignment of this scope."""
    scope = _scope(parameters)

    def write(connection: Connection, _before: object) -> None:
        if not rows.unassign(connection, scope, call.now_ms):
            raise missing("assignment")

    await call.change(_assignments, write)
    call.services.feed.publish(TARIFFS_CHANGED, None, {})


@to_station("PUT", "/tariff", Permission.WRITE_TARIFFS, example={"plan_id": "day-night"})
async def set_default_tariff(call: Call, station_id: StationId, body: DefaultTariff) -> TariffStatus:
    """Apply a plan at a station; send it to the station if that calculates costs itself (I07)."""
    service = TariffService(call.services)
    return TariffStatus(status=await service.set_default(station_id, body.evse_id, body.plan_id))


@to_station("GET", "/tariffs", Permission.READ_TARIFFS)
async def read_station_tariffs(call: Call, station_id: StationId) -> GetTariffsResponse:
    """Get the tariffs of an OCPP 2.1 station (I09)."""
    return await TariffService(call.services).get(station_id)


@to_station("DELETE", "/tariffs", Permission.WRITE_TARIFFS, status=200)
async def clear_station_tariffs(call: Call, station_id: StationId) -> ClearTariffsResponse:
    """Clear a station's default tariffs (I10)."""
    return await TariffService(call.services).clear(station_id)


def _whose(assignment: Assignment) -> str:
    """Return the key of an assignment."""
    place = (assignment.station_id, f"{assignment.evse_id:010}", assignment.token_type, assignment.id_token)
    return "\n".join((*place, assignment.site_id, assignment.group_id))


def _scope(wanted: Assignment | WhichScope) -> Scope:
    """Return a scope. Raises ApiError for what would be taken for a wider one."""
    others = (wanted.station_id, wanted.evse_id, wanted.token_type, wanted.id_token)
    if (wanted.site_id or wanted.group_id) and (any(others) or (wanted.site_id and wanted.group_id)):
        raise ApiError(400, "a site or a group of tokens has a plan by itself", "make an assignment for each")
    if wanted.id_token and not wanted.token_type:
        raise ApiError(400, "token_type: an id_token has one")
    token = normalise(wanted.token_type, wanted.id_token) if wanted.token_type else ""
    place = Scope(station_id=wanted.station_id, evse_id=wanted.evse_id, token_type=wanted.token_type, id_token=token)
    return msgspec.structs.replace(place, site_id=wanted.site_id, group_id=wanted.group_id)


def _assignments(connection: Connection) -> tuple[Assignment, ...]:
    return tuple(
        Assignment(plan_id=plan_id, **msgspec.structs.asdict(scope)) for scope, plan_id in rows.assignments(connection)
    )
