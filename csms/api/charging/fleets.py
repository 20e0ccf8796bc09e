"""Fleets: vehicles that are planned together, what they can do for the grid, and calls of it."""

import asyncio
from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.api.http.call import Call
from csms.api.http.operations import Page, delete, get, post, put
from csms.api.http.paging import page_of
from csms.api.http.parameters import Paged
from csms.api.http.problems import ApiError, missing
from csms.db.queries import fleets as rows
from csms.domain.charging.fleets import Fleet, FleetCall, describe_call
from csms.domain.security.access import Permission
from csms.services.charging.dispatch import Dispatched
from csms.services.charging.fleets import FLEET_CHANGED, Fleets
from v2g.energy.dispatch.earnings import Earnings, earnings
from v2g.energy.dispatch.flexibility import Bid, FleetRange, bids, capabilities
from v2g.energy.dispatch.plan import DispatchPlan
from v2g.energy.dispatch.report import chart, explain

_EXAMPLE = {
    "id": "depot",
    "stations": ["CS-V2G-0001"],
    "import_limit_w": 100_000,
    "peak": {"from_minute": 1020, "until_minute": 1260, "import_limit_w": 40_000},
    "zone": "Europe/Berlin",
}


class OneFleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a fleet."""

    fleet_id: Annotated[str, msgspec.Meta(min_length=1, max_length=60, examples=["depot"])]


class ShownPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan made now. `explanation`: in sentences; `net_micro`: gain over charging at once, after wear, in micro-units
    of the currency; `chart`: an SVG picture. `call`: what vehicles answer before they follow the plan."""

    plan: DispatchPlan
    call: FleetCall | None
    explanation: tuple[str, ...]
    earnings: Earnings
    net_micro: int
    chart: str


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet can do beside its plan, by period (the first is now), and bids for it."""

    ranges: tuple[FleetRange, ...]
    bids: tuple[Bid, ...]


class Called(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`power_w` less drawn than planned (more fed back), negative: more drawn; for a time."""

    power_w: Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000)]
    duration_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


@get("/fleets", Permission.READ_ENERGY)
async def list_fleets(call: Call, parameters: Paged) -> Page[Fleet]:
    """List fleets, by id."""
    return page_of(await call.run(rows.every), parameters, lambda each: each.id)


@get("/fleets/{fleet_id}", Permission.READ_ENERGY, problems=(404,))
async def read_fleet(call: Call, parameters: OneFleet) -> Fleet:
    """Return one fleet."""
    return await _fleet(call, parameters.fleet_id)


@put("/fleets/{fleet_id}", Permission.WRITE_ENERGY, conditional=True, example=_EXAMPLE)
async def put_fleet(call: Call, parameters: OneFleet, body: Fleet) -> Fleet:
    """Store a fleet, replacing one of the same id; its vehicles follow the new plan."""
    if body.id != parameters.fleet_id:
        raise ApiError(400, f"the body has fleet {body.id}, the path {parameters.fleet_id}")
    await call.change(
        lambda connection: rows.get(connection, body.id),
        lambda connection, _before: rows.save(connection, body, call.now_ms),
    )
    call.services.feed.publish(FLEET_CHANGED, None, {"fleet": body.id})
    return body


@delete("/fleets/{fleet_id}", Permission.WRITE_ENERGY, problems=(404,), conditional=True)
async def delete_fleet(call: Call, parameters: OneFleet) -> None:
    """Delete a fleet; set-points of its vehicles expire."""

    def write(connection: Connection, before: Fleet | None) -> None:
        if before is None:
            raise missing("fleet")
        rows.remove(connection, parameters.fleet_id)

    await call.change(lambda connection: rows.get(connection, parameters.fleet_id), write)
    call.services.feed.publish(FLEET_CHANGED, None, {"fleet": parameters.fleet_id})


@get("/fleets/{fleet_id}/plan", Permission.READ_ENERGY, problems=(404, 409))
async def read_plan(call: Call, parameters: OneFleet) -> ShownPlan:
    """Return the plan by which a fleet charges and discharges from now on, and why."""
    fleet = await _fleet(call, parameters.fleet_id)
    found = await Fleets(call.services).plan(fleet)
    problem, plan = found.problem, found.plan
    earned = await asyncio.to_thread(earnings, problem, plan)
    words = explain(problem, plan, earned, zone=fleet.tzinfo)
    return ShownPlan(
        plan=plan,
        call=found.call,
        explanation=words if found.call is None else (describe_call(found.call, fleet.tzinfo), *words),
        earnings=earned,
        net_micro=earned.net_micro,
        chart=chart(problem, plan, zone=fleet.tzinfo),
    )


@get("/fleets/{fleet_id}/capability", Permission.READ_ENERGY, problems=(404, 409))
async def read_capability(call: Call, parameters: OneFleet) -> Capability:
    """Return by how much a fleet can deviate from its plan, now and by quarter hour, and bids for it."""
    fleet = await _fleet(call, parameters.fleet_id)
    found = await Fleets(call.services).plan(fleet)
    ranges = capabilities(found.problem, found.plan, headroom=fleet.headroom)
    return Capability(ranges=ranges, bids=bids(found.problem, ranges))


@post(
    "/fleets/{fleet_id}/call",
    Permission.WRITE_ENERGY,
    problems=(404, 409),
    example={"power_w": 20_000, "duration_s": 900},
)
async def call_fleet(call: Call, parameters: OneFleet, body: Called) -> tuple[Dispatched, ...]:
    """Have a fleet draw less than planned, or more, for a time; the response lists each vehicle's set-point.

    It must be within the fleet's range; an event reports afterwards how much was delivered.
    """
    fleet = await _fleet(call, parameters.fleet_id)
    return tuple(await Fleets(call.services).call(fleet, body.power_w, body.duration_s))


async def _fleet(call: Call, fleet_id: str) -> Fleet:
    found = await call.run(rows.get, fleet_id)
    if found is None:
        raise missing("fleet")
    return found


OPERATIONS = (list_fleets, read_fleet, put_fleet, delete_fleet, read_plan, read_capability, call_fleet)
