"""Scores of vehicles, for those who may see where they drive; and what has shifted since they were tuned."""

from typing import Annotated

import msgspec

from csms.accounts.rules import Permission
from csms.batteries import store as batteries
from csms.http.call import Call
from csms.http.operations import Page, get
from csms.http.parameters import Paged, page_of
from csms.http.problems import ApiError
from v2g.battery.scores import Drift, Score, drifts, scores

VehicleName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class VehicleScores(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's scores, of its records from `since_ms` to `at_ms`; of the downtime those signs that will stop it.

    Each has precision and recall in tests with labelled simulated fleets of another generator: those of events, of
    vehicles above their fleet's median, or of alarms 6 to 72 hours before a fault.
    """

    ev: str
    since_ms: int
    at_ms: int
    scores: tuple[Score, ...]
    downtime: tuple[str, ...]


@get("/scores", Permission.READ_ROUTES)
async def list_scores(call: Call, parameters: Paged) -> Page[VehicleScores]:
    """List the scores of vehicles whose persons consent (group `scores`); there are none of others."""
    return page_of(call, await _scores(call, None), parameters, lambda each: each.ev)


@get("/scores/drifts", Permission.READ_ROUTES)
async def list_score_drifts(call: Call) -> Page[Drift]:
    """List what has changed by over 10 % for all vehicles since their first four weeks: scores may be worse than their
    precision and recall."""
    states = await call.run(batteries.scored, call.caller.only_evs)
    return Page(drifts(states.values()))


@get("/vehicles/{ev}/scores", Permission.READ_ROUTES, problems=(404,))
async def read_scores(call: Call, ev: VehicleName) -> VehicleScores:
    """Return a vehicle's scores."""
    call.require_vehicle(ev)
    found = await _scores(call, (ev,))
    if not found:
        raise ApiError(404, "no scores of this vehicle", "the vehicle's `consent` lists scores, and its records arrive")
    return found[0]


async def _scores(call: Call, evs: tuple[str, ...] | None) -> list[VehicleScores]:
    states = await call.run(batteries.scored, call.caller.only_evs if evs is None else evs)
    return [
        VehicleScores(
            ev=ev,
            since_ms=state.since_ms,
            at_ms=state.at_ms,
            scores=scores(call.services.config.scores, state),
            downtime=state.downtime.expected,
        )
        for ev, state in sorted(states.items())
    ]
