"""Fleets: vehicles that are planned together, what they can do for the grid, and calls of it."""

import asyncio
import uuid
from typing import Annotated, Literal

import msgspec

from csms.accounts.rules import Permission
from csms.dispatch.work import Dispatched
from csms.fleets import store as rows
from csms.fleets.rules import Fleet, FleetBid, FleetCall, describe_call
from csms.fleets.work import FLEET_CHANGED, Fleets
from csms.http.call import Call
from csms.http.operations import Page, delete, get, post, put
from csms.http.parameters import Money, Paged, in_money, money_of, page_of
from csms.http.problems import ApiError, existing
from v2g.energy.dispatch.earnings import earnings
from v2g.energy.dispatch.flexibility import FleetRange, bids, capabilities
from v2g.energy.dispatch.forecast import QuarterForecast, Series, Skill
from v2g.energy.dispatch.plan import Method, VehiclePlan
from v2g.energy.dispatch.planner import check_solver
from v2g.energy.dispatch.report import chart, explain
from v2g.errors import RefusedError
from v2g.units import Decimals, UtcMs, micro_of

_EXAMPLE = {
    "id": "depot",
    "stations": ["CS-V2G-0001"],
    "import_limit_w": 100_000,
    "peak": {"from_minute": 1020, "until_minute": 1260, "import_limit_w": 40_000},
    "zone": "Europe/Berlin",
}


FleetId = Annotated[str, msgspec.Meta(min_length=1, max_length=60, examples=["depot"])]


class PlannedPowers(msgspec.Struct, frozen=True, kw_only=True):
    """Powers of all vehicles between the edges of periods.

    `grid_w`: at the grid connection, negative if fed in, if all vehicles draw what is planned. `curtailed_w`: of the
    generation. `excess_w`: by which the site's own load exceeds its limit. `method`: `bounded` plans cost at most `gap`
    more than the best possible one; `at_once` is the fall-back without optimisation.
    """

    edges_ms: tuple[int, ...]
    vehicles: tuple[VehiclePlan, ...]
    grid_w: tuple[int, ...]
    curtailed_w: tuple[int, ...]
    excess_w: tuple[int, ...]
    method: Method
    gap: Money


class PlannedEarnings(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan of `ms` earns, for the site with its own load.

    `at_once`: cost if vehicles charge at once. `stored`: worth of the energy that batteries hold more (or less,
    negative) than then. `net`: what the plan is better by, after wear.
    """

    ms: int
    bought_wh: int
    sold_wh: int
    discharged_wh: int
    bought: Money
    sold: Money
    wear: Money
    at_once: Money
    stored: Money
    net: Money


class ShownPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan made now. `explanation`: in sentences; `chart`: an SVG picture. `call`: what vehicles answer before they
    follow the plan."""

    plan: PlannedPowers
    call: FleetCall | None
    explanation: tuple[str, ...]
    earnings: PlannedEarnings
    chart: str


class OfferedBid(msgspec.Struct, frozen=True, kw_only=True):
    """An offer for a period: whole blocks of power, and the price of a kWh at which a call neither gains nor loses.

    Up: the least that the fleet must get. Down: the most that it would pay for the energy.
    """

    start_ms: int
    end_ms: int
    direction: Literal["up", "down"]
    power_w: int
    break_even_per_kwh: Money


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet can do beside its plan, by period (the first is now), and bids for it."""

    ranges: tuple[FleetRange, ...]
    bids: tuple[OfferedBid, ...]


class ShownForecast(msgspec.Struct, frozen=True, kw_only=True):
    """A forecast, and its `skill` by series: mean pinball loss over so many days that it had not seen, and that of the
    naive line, which is a week before, W."""

    quarters: tuple[QuarterForecast, ...]
    skill: dict[Series, Skill]


class NewBid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bid: by how much less (`up`) or more (`down`) than planned is drawn in a period, and the price of a kWh."""

    start_ms: UtcMs
    end_ms: UtcMs
    direction: Literal["up", "down"]
    power_w: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
    price_per_kwh: Decimals

    def __post_init__(self) -> None:
        """Refuse a period that is none, or longer than a day."""
        if not 0 < self.end_ms - self.start_ms <= 86_400_000:
            raise ValueError("end_ms is after start_ms, by a day at most")


class CalledBid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a bid is called, W."""

    power_w: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


BidId = Annotated[str, msgspec.Meta(min_length=1, max_length=36)]


class ShownBid(msgspec.Struct, frozen=True, kw_only=True):
    """A bid that was given, until `gate_closure_ms`; what was called of it, and, once `settled`, what was asked for,
    delivered, and paid to the fleet (below 0: by it)."""

    id: str
    fleet_id: str
    start_ms: int
    end_ms: int
    direction: Literal["up", "down"]
    power_w: int
    price_per_kwh: Money
    gate_closure_ms: int
    called_w: int
    settled: bool
    asked_wh: int
    delivered_wh: int
    paid: Money


class Called(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`power_w` less drawn than planned (more fed back), negative: more drawn; for a time."""

    power_w: Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000)]
    duration_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


@get("/fleets", Permission.READ_ENERGY, for_sites=True)
async def list_fleets(call: Call, parameters: Paged) -> Page[Fleet]:
    """List fleets, by id; for a role limited to sites those with stations there only."""
    found = [each for each in await call.run(rows.every) if _is_seen(call, each)]
    return page_of(call, found, parameters, lambda each: each.id)


@get("/fleets/{fleet_id}", Permission.READ_ENERGY, problems=(404,), for_sites=True)
async def read_fleet(call: Call, fleet_id: FleetId) -> Fleet:
    """Return one fleet."""
    return await _fleet(call, fleet_id)


@put("/fleets/{fleet_id}", Permission.WRITE_ENERGY, conditional=True, example=_EXAMPLE)
async def put_fleet(call: Call, fleet_id: FleetId, body: Fleet) -> Fleet:
    """Store a fleet, replacing one of the same id; its vehicles follow the new plan. Needs the extra `planning`."""
    if body.id != fleet_id:
        raise ApiError(400, f"the body has fleet {body.id}, the path {fleet_id}")
    try:
        _ = body.tzinfo
    except RefusedError as error:
        raise ApiError(400, f"zone: {error}", error.hint) from None
    check_solver()
    await call.change(
        lambda connection: rows.get(connection, body.id),
        lambda connection, _before: rows.save(connection, body, call.now_ms),
    )
    call.services.feed.publish(FLEET_CHANGED, None, {"fleet": body.id})
    return body


@delete("/fleets/{fleet_id}", Permission.WRITE_ENERGY, problems=(404,), conditional=True)
async def delete_fleet(call: Call, fleet_id: FleetId) -> None:
    """Delete a fleet; set-points of its vehicles expire."""
    await call.remove(
        "fleet",
        lambda connection: rows.get(connection, fleet_id),
        lambda connection, fleet: rows.remove(connection, fleet.id),
    )
    call.services.feed.publish(FLEET_CHANGED, None, {"fleet": fleet_id})


@get("/fleets/{fleet_id}/plan", Permission.READ_ENERGY, problems=(404, 409), for_sites=True)
async def read_plan(call: Call, fleet_id: FleetId) -> ShownPlan:
    """Return the plan by which a fleet charges and discharges from now on, and why."""
    fleet = await _fleet(call, fleet_id)
    found = await Fleets(call.services).plan(fleet)
    problem, plan = found.problem, found.plan
    earned = await asyncio.to_thread(earnings, problem, plan)
    words = explain(problem, plan, earned, zone=fleet.tzinfo)
    currency = call.services.config.grid.currency
    return ShownPlan(
        plan=PlannedPowers(**in_money(plan, currency)),
        call=found.call,
        explanation=words if found.call is None else (describe_call(found.call, fleet.tzinfo), *words),
        earnings=PlannedEarnings(net=money_of(earned.net_micro, currency), **in_money(earned, currency)),
        chart=chart(problem, plan, zone=fleet.tzinfo),
    )


@get("/fleets/{fleet_id}/course", Permission.READ_ENERGY, problems=(404,), for_sites=True)
async def read_fleet_course(call: Call, fleet_id: FleetId, from_ms: UtcMs) -> tuple[rows.FleetPoint, ...]:
    """Return, by minute, what a fleet's plans said, and what was asked for, followed and delivered."""
    fleet = await _fleet(call, fleet_id)
    return tuple(await call.run(rows.course, fleet.id, from_ms))


@get("/fleets/{fleet_id}/forecast", Permission.READ_ENERGY, problems=(404, 409), for_sites=True)
async def read_forecast(call: Call, fleet_id: FleetId) -> ShownForecast:
    """Return what a fleet is expected to draw, and how far it can deviate from there, by quarter hour with quantiles;
    and how good such forecasts were in its last days."""
    found = await Fleets(call.services).forecast(await _fleet(call, fleet_id))
    return ShownForecast(quarters=found.quarters, skill=dict(found.skill))


@get("/fleets/{fleet_id}/bids", Permission.READ_ENERGY, problems=(404,), for_sites=True)
async def list_fleet_bids(call: Call, fleet_id: FleetId, from_ms: UtcMs = 0) -> tuple[ShownBid, ...]:
    """List the bids of a fleet whose periods begin from a time on: what was called, delivered and paid."""
    fleet = await _fleet(call, fleet_id)
    found = await call.run(rows.bids_of, fleet.id, from_ms)
    return tuple(_shown_bid(call, each) for each in found)


@post(
    "/fleets/{fleet_id}/bids",
    Permission.WRITE_ENERGY,
    problems=(404, 409),
    status=201,
    example={
        "start_ms": 1_800_000_000_000, "end_ms": 1_800_000_900_000, "direction": "up", "power_w": 20_000,
        "price_per_kwh": "0.20",
    },
)  # fmt: skip
async def give_bid(call: Call, fleet_id: FleetId, body: NewBid) -> ShownBid:
    """Give a bid for a period: refused (`gate_closed`) once that is nearer than the fleet's `gate_closure_s`, and
    (`beyond_range`) for more than the fleet can do beside its other bids, by its plan and forecast."""
    fleet = await _fleet(call, fleet_id)
    bid = FleetBid(
        id=str(uuid.uuid4()),
        fleet_id=fleet.id,
        start_ms=body.start_ms,
        end_ms=body.end_ms,
        direction=body.direction,
        power_w=body.power_w,
        price_micro_per_kwh=micro_of(body.price_per_kwh),
        gate_closure_ms=body.start_ms - fleet.gate_closure_s * 1000,
    )
    await Fleets(call.services).give(fleet, bid)
    return _shown_bid(call, bid)


@post(
    "/fleets/{fleet_id}/bids/{bid_id}/call", Permission.WRITE_ENERGY, problems=(404, 409), example={"power_w": 20_000}
)
async def call_bid(call: Call, fleet_id: FleetId, bid_id: BidId, body: CalledBid) -> tuple[Dispatched, ...]:
    """Call a bid in its period, or a part of its power; it is settled by what meters say when the period is over."""
    fleet = await _fleet(call, fleet_id)
    bid = existing("bid", await call.run(rows.bid, fleet.id, bid_id))
    return tuple(await Fleets(call.services).call_bid(fleet, bid, body.power_w))


def _shown_bid(call: Call, bid: FleetBid) -> ShownBid:
    return ShownBid(**in_money(bid, call.services.config.grid.currency))


@get("/fleets/{fleet_id}/capability", Permission.READ_ENERGY, problems=(404, 409), for_sites=True)
async def read_capability(call: Call, fleet_id: FleetId) -> Capability:
    """Return by how much a fleet can deviate from its plan, now and by quarter hour, and bids for it."""
    fleet = await _fleet(call, fleet_id)
    found = await Fleets(call.services).plan(fleet)
    ranges = capabilities(found.problem, found.plan, headroom=fleet.headroom)
    currency = call.services.config.grid.currency
    offered = (OfferedBid(**in_money(each, currency)) for each in bids(found.problem, ranges))
    return Capability(ranges=ranges, bids=tuple(offered))


@post(
    "/fleets/{fleet_id}/call",
    Permission.WRITE_ENERGY,
    problems=(404, 409),
    example={"power_w": 20_000, "duration_s": 900},
)
async def call_fleet(call: Call, fleet_id: FleetId, body: Called) -> tuple[Dispatched, ...]:
    """Have a fleet draw less than planned, or more, for a time; the response lists each vehicle's set-point.

    It must be within the fleet's range; an event reports afterwards how much was delivered.
    """
    fleet = await _fleet(call, fleet_id)
    return tuple(await Fleets(call.services).call(fleet, body.power_w, body.duration_s))


async def _fleet(call: Call, fleet_id: str) -> Fleet:
    found = await call.run(rows.get, fleet_id)
    return existing("fleet", found if found and _is_seen(call, found) else None)


def _is_seen(call: Call, fleet: Fleet) -> bool:
    """Return whether the caller's role extends to all stations of a fleet."""
    return call.stations is None or (bool(fleet.stations) and call.stations.issuperset(fleet.stations or ()))
