"""Plans fleets and lets their vehicles follow: a new plan whenever a vehicle, a price or a limit changes.

One node at a time does it (`csms.db.leases`). Set-points end by themselves if they are not renewed.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from csms.dispatch.work import Dispatch, Dispatched
from csms.fleets import store as rows
from csms.fleets.rules import Fleet, FleetBid, FleetCall, called, delivered_wh, fleet_problem, vehicle_id
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.prequalifications.work import ExportPermits
from csms.services import Services
from csms.smart_charging import store as charging
from csms.smart_charging.rules import Needs
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from v2g.energy.dispatch.flexibility import FleetRange, capabilities
from v2g.energy.dispatch.forecast import (
    LEAST_DAYS,
    FleetQuarter,
    QuarterForecast,
    Series,
    Skill,
    forecast,
    since_ms,
    skill,
)
from v2g.energy.dispatch.plan import DispatchPlan, PlanFollower
from v2g.energy.dispatch.planner import make_plan
from v2g.energy.dispatch.problem import DispatchProblem
from v2g.energy.dispatch.transformer import raise_steps
from v2g.energy.limits import Limit
from v2g.errors import RefusedError, V2GError
from v2g.text import moment
from v2g.units import HOUR_MS, MINUTE_MS, QUARTER_MS

FLEET_CHANGED: Final = "fleet_changed"
_TRIGGERS: Final = frozenset({
    FLEET_CHANGED, GRID_SIGNAL, "charging_needs", "priority_charging", "station_connected", "station_disconnected",
    "transaction_closed", "transaction_ended", "transaction_resumed",
})  # fmt: skip
"""Events after which a plan may be out of date."""

_LEASE: Final = "fleets"
_RAISE: Final = 2
"""Set-points that had to wait until others were lowered rise after so many times `settle_s`."""
_MARGIN: Final = 50
"""Discharging starts again this part (1/x) of a vehicle's energy above the least."""


class FleetPlan(NamedTuple):
    """A plan, what it was made from, and the fleet's call, over or not."""

    problem: DispatchProblem
    plan: DispatchPlan
    called: FleetCall | None

    @property
    def call(self) -> FleetCall | None:
        """The call that vehicles answer before they follow the plan."""
        return self.called if self.called is not None and self.called.until_ms > self.problem.start_ms else None


class FleetForecast(NamedTuple):
    """What is expected, and how good that was."""

    quarters: tuple[QuarterForecast, ...]
    skill: Mapping[Series, Skill]


def _require_open_gate(bid: FleetBid, now_ms: int) -> None:
    if now_ms >= bid.gate_closure_ms:
        raise RefusedError(
            f"the gate of a bid from {moment(bid.start_ms)} on closed at {moment(bid.gate_closure_ms)}",
            reason="gate_closed",
            hint="`gate_closure_s` of the fleet is how long before",
        )


class Fleets:
    """Makes plans from the present state."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dispatch = Dispatch(services)
        self._followers: dict[str, PlanFollower] = {}
        self._unplanned: dict[str, str] = {}
        self._planned: dict[str, list[tuple[int, int]]] = {}
        self._noted: dict[str, int] = {}

    async def plan(self, fleet: Fleet) -> FleetPlan:
        """Return the plan for now. Raises RefusedError (`no_price`) without prices, ConfigError without SciPy."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        connected = services.connections.connected()
        stations = sorted(
            each for each in connected if fleet.concerns(each) and services.connections.version(each) == "2.1"
        )
        vehicles = [
            (transaction, self._permitted(transaction.station_id, needs))
            for transaction, needs in await services.store.read(transactions.vehicles, stations)
        ]
        problem = fleet_problem(fleet, vehicles, services[GridSource].current, now_ms)
        call = await services.store.read(rows.call, fleet.id)
        return FleetPlan(problem, await asyncio.to_thread(make_plan, problem), call)

    def _permitted(self, station_id: str, needs: Needs) -> Needs:
        """Return needs with no more discharge than prequalification permits."""
        most_w = self._services[ExportPermits].of(station_id, needs.evse_id).most_w
        return msgspec.structs.replace(needs, most_discharge_w=min(needs.most_discharge_w, most_w))

    async def forecast(self, fleet: Fleet) -> FleetForecast:
        """Return what is expected of a fleet in its horizon, and how good that was in its last days (R186).

        Raises RefusedError (`no_history`) before it has been followed for a week.
        """
        services, now_ms = self._services, self._services.clock.utc_ms()
        past = await services.store.read(rows.quarters, fleet.id, since_ms(now_ms))
        if not past or past[0].at_ms > now_ms - LEAST_DAYS * 24 * HOUR_MS:
            raise RefusedError(
                f"fleet {fleet.id} has been followed for less than {LEAST_DAYS} days",
                reason="no_history",
                hint="an active fleet is followed while the back end runs",
            )

        def made() -> FleetForecast:
            until_ms = now_ms + fleet.horizon_h * HOUR_MS
            return FleetForecast(
                quarters=forecast(past, now_ms, until_ms, zone=fleet.tzinfo), skill=skill(past, zone=fleet.tzinfo)
            )

        return await asyncio.to_thread(made)

    async def able_w(self, fleet: Fleet, bid: FleetBid) -> int:
        """Return by how much a fleet can deviate all through a bid's period: by its plan, as far as that reaches, then
        by the low quantile of its forecast, W."""
        found: list[tuple[int, int, int]] = []
        with contextlib.suppress(RefusedError):
            planned = await self.plan(fleet)
            ranges = capabilities(planned.problem, planned.plan, headroom=fleet.headroom)
            found += (
                (each.start_ms, each.end_ms, each.up_w if bid.direction == "up" else each.down_w) for each in ranges
            )
        with contextlib.suppress(RefusedError):
            reached_ms = found[-1][1] if found else 0
            for each in (await self.forecast(fleet)).quarters:
                quantiles = each.up_w if bid.direction == "up" else each.down_w
                if each.at_ms >= reached_ms:
                    found.append((each.at_ms, each.at_ms + QUARTER_MS, quantiles.low))
        covered_ms = sum(max(0, min(end, bid.end_ms) - max(start, bid.start_ms)) for start, end, _ in found)
        within = [power_w for start, end, power_w in found if start < bid.end_ms and bid.start_ms < end]
        return min(within) if covered_ms >= bid.end_ms - bid.start_ms else 0

    async def give(self, fleet: Fleet, bid: FleetBid) -> None:
        """Give a bid (R181). Raises RefusedError: `gate_closed` once it is too late, `beyond_range` for more than the
        fleet can do beside its other bids."""
        services = self._services
        _require_open_gate(bid, services.clock.utc_ms())
        others = await services.store.read(rows.bids_of, fleet.id, 0, bid.end_ms)
        same = [each for each in others if each.direction == bid.direction and each.end_ms > bid.start_ms]
        given_w, able_w = sum(each.power_w for each in same), await self.able_w(fleet, bid)
        if bid.power_w > able_w - given_w:
            raise RefusedError(
                f"fleet {fleet.id} can go {able_w} W {bid.direction} then, of which {given_w} W are bid already",
                reason="beyond_range",
                hint=f"GET /fleets/{fleet.id}/capability and /forecast show its range",
            )
        _require_open_gate(bid, services.clock.utc_ms())  # planning takes its time
        await services.store.run(rows.put_bid, bid)
        services.announce("ocpp", "fleet_bid_given", fleet=fleet.id, bid=bid.id, power_w=bid.power_w)

    async def call_bid(self, fleet: Fleet, bid: FleetBid, power_w: int) -> list[Dispatched]:
        """Call a bid, or a part of it, until its period ends; vehicles give what they can.

        Raises RefusedError: `not_callable` outside its period, twice, or for more than was bid.
        """
        now_ms = self._services.clock.utc_ms()
        if not bid.start_ms <= now_ms < bid.end_ms or bid.called_w or power_w > bid.power_w:
            when = f"from {moment(bid.start_ms)} to {moment(bid.end_ms)}"
            raise RefusedError(f"bid {bid.id} is for {bid.power_w} W {when}, and is called once", reason="not_callable")
        called = msgspec.structs.replace(bid, called_w=power_w)
        await self._services.store.run(rows.put_bid, called)
        duration_s = max(1, (bid.end_ms - now_ms) // 1000)
        return await self.call(fleet, power_w if bid.direction == "up" else -power_w, duration_s, bid=called)

    async def call(
        self, fleet: Fleet, power_w: int, duration_s: int, *, bid: FleetBid | None = None
    ) -> list[Dispatched]:
        """Have a fleet draw `power_w` less than planned (negative: more) for a time; return the vehicles' set-points.

        It ends an earlier call. Raises RefusedError (`beyond_range`) if it could not do so now, headroom included;
        a bid is called all the same, to the end of its period, and its delivery shows it.
        """
        services, now_ms = self._services, self._services.clock.utc_ms()
        found = await self.plan(fleet)
        now = capabilities(found.problem, found.plan, headroom=fleet.headroom)[0]
        if bid is None and not -now.down_w <= power_w <= now.up_w:
            raise RefusedError(
                f"fleet {fleet.id} can go {now.up_w} W up and {now.down_w} W down now, not {power_w} W",
                reason="beyond_range",
                hint=f"GET /fleets/{fleet.id}/capability shows its range",
            )
        earlier: list[FleetCall] = []
        if (before := found.called) is not None:
            ended = msgspec.structs.replace(before, until_ms=min(before.until_ms, now_ms), earlier=())
            earlier = [each for each in (*before.earlier, ended) if not await self._end(fleet, each)]
        planned = {each.id: each.planned_w for each in now.vehicles}
        call = FleetCall(
            power_w=power_w,
            from_ms=now_ms,
            until_ms=now_ms + duration_s * 1000 if bid is None else max(now_ms, bid.end_ms),
            planned_w=planned,
            bid_id="" if bid is None else bid.id,
            earlier=tuple(earlier),
        )
        await services.store.run(rows.put_call, fleet.id, call)
        self._services.announce("ocpp", "fleet_called", fleet=fleet.id, power_w=power_w, duration_s=duration_s)
        return await self._answer(fleet, call, now, keep_up=True)

    async def run(self) -> None:
        """Keep every active fleet on its plan, for ever."""
        services, config = self._services, self._services.config.balancing
        renew_ms = 0
        with services.feed.subscribe(_TRIGGERS) as triggers:
            while True:
                now_ms = services.clock.utc_ms()
                refresh = now_ms >= renew_ms  # also while events never cease, or set-points would end
                if refresh:
                    renew_ms = now_ms + config.dispatch_duration_s * 500
                wait_s = await self._follow_all(refresh=refresh)
                await triggers.batch(config.settle_s, within_s=min(wait_s, self._left_s(renew_ms)))

    def _left_s(self, until_ms: int) -> float:
        """Return the time (s) until `until_ms` (UTC), negative if that is over."""
        clock = self._services.clock
        return clock.at(until_ms) - clock.monotonic()

    async def _follow_all(self, *, refresh: bool) -> float:
        """Bring all vehicles onto their plans; return how long (s) these last."""
        services, interval_s = self._services, self._services.config.balancing.interval_s
        active = [each for each in await services.store.read(rows.every) if each.active]
        if not active or not await services.leads(_LEASE, interval_s):
            return interval_s
        before, self._followers = self._followers, {}  # of vehicles that have left, nothing stays
        return min([interval_s, *[await self._follow(fleet, before, refresh=refresh) for fleet in active]])

    async def _follow(self, fleet: Fleet, before: Mapping[str, PlanFollower], *, refresh: bool) -> float:
        services = self._services
        try:
            found = await self.plan(fleet)
        except V2GError as error:
            if self._unplanned.get(fleet.id) != str(error):  # once, not at every attempt
                self._unplanned[fleet.id] = str(error)
                self._services.announce("ocpp", "fleet_not_planned", fleet=fleet.id, reason=str(error)[:200])
            return services.config.balancing.interval_s
        self._unplanned.pop(fleet.id, None)
        await self._note(fleet, found)
        end_ms = found.problem.periods[0].end_ms
        unread = found.called is not None and await self._settle(fleet, found.called)
        if found.call is not None:
            now = capabilities(found.problem, found.plan)[0]
            await self._answer(fleet, found.call, now, keep_up=refresh)
            return self._left_s(min(end_ms, found.call.until_ms))
        if unread:
            end_ms = min(end_ms, found.problem.start_ms + MINUTE_MS)  # until then meters may have been read
        powers = [sum(each) for each in zip(*(each.power_w for each in found.plan.vehicles), strict=True)]
        points = list(zip(found.plan.edges_ms, [*(powers or [0] * (len(found.plan.edges_ms) - 1)), 0], strict=True))
        if self._planned.get(fleet.id) != points[1:]:  # not for each moment that has passed
            self._planned[fleet.id] = points[1:]
            await services.store.run(rows.put_planned, fleet.id, points)
        complete = await self._dispatch_plan(fleet, found, before, keep_up=refresh)
        left_s = self._left_s(end_ms)
        return left_s if complete else min(left_s, _RAISE * services.config.balancing.settle_s)

    async def _note(self, fleet: Fleet, found: FleetPlan) -> None:
        """Add what a fleet draws and could do to its past, once a minute; not while a reading is unknown."""
        services, now_ms = self._services, found.problem.start_ms
        if now_ms < self._noted.get(fleet.id, 0) + MINUTE_MS:
            return
        running = await services.store.read(running_powers.powers, since_ms=now_ms - running_powers.FRESH_MS)
        flowing = running_powers.flow_of([each.watts for each in running if fleet.concerns(each.station_id)])
        if flowing.watts is not None and not flowing.unknown:
            self._noted[fleet.id] = now_ms
            now = capabilities(found.problem, found.plan, headroom=fleet.headroom)[0]
            quarter = FleetQuarter(at_ms=now_ms, load_w=flowing.watts, up_w=now.up_w, down_w=now.down_w)
            await services.store.run(rows.note_quarter, fleet.id, quarter)

    async def _dispatch_plan(
        self, fleet: Fleet, found: FleetPlan, before: Mapping[str, PlanFollower], *, keep_up: bool
    ) -> bool:
        """Send the plan's set-points; return False if some may rise only later, when others have been lowered."""
        parts, planned_w, now = {}, 0, found.problem.periods[0]
        now_ms = now.start_ms  # the clock has gone on while the plan was made
        for each, planned in zip(found.problem.vehicles, found.plan.vehicles, strict=True):
            if now.presence(each):
                planned_w += planned.power_w[0]
                follower = self._followers[each.id] = before.get(each.id) or PlanFollower(
                    reserve_wh=each.reserve_wh, margin_wh=each.capacity_wh // _MARGIN
                )
                limit = Limit(source="vehicle", charge_w=each.charge_w, discharge_w=each.discharge_w)
                parts[each.id] = follower.setpoint_w(planned.power_w[0], each.energy_wh, limit, now_ms)
        following = await self._services.store.read(charging.following, now_ms)
        present = {vehicle_id(*key): power_w for key, power_w in following.items()}
        steps = raise_steps(
            now.import_limit_w - now.base_w,
            {name: present[name] for name in parts if name in present},
            parts,
            step_w=fleet.raise_w,
        )
        await self._dispatch.follow(steps, keep_up=keep_up, fleet=fleet.id, planned_w=planned_w)
        return steps == parts

    async def _answer(self, fleet: Fleet, call: FleetCall, now: FleetRange, *, keep_up: bool) -> list[Dispatched]:
        parts = called(call, now)
        return await self._dispatch.follow(parts, keep_up=keep_up, fleet=fleet.id, planned_w=now.planned_w)

    async def _settle(self, fleet: Fleet, called: FleetCall) -> bool:
        """Report what was delivered by a call and those before it, once they are over and meters have been read since;
        return whether some must wait for that."""
        calls, now_ms = (*called.earlier, called), self._services.clock.utc_ms()
        left = [each for each in calls if now_ms < each.until_ms or not await self._end(fleet, each)]
        if len(left) < len(calls):
            last = msgspec.structs.replace(left[-1], earlier=tuple(left[:-1])) if left else None
            await self._services.store.run(rows.put_call, fleet.id, last, called)
        return any(now_ms >= each.until_ms for each in left)

    async def _end(self, fleet: Fleet, call: FleetCall) -> bool:
        """Report how much of a call was delivered, by the stations' meters, once they have been read after its end, a
        quarter hour later at the latest; return whether that is done."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        period = call.from_ms, call.until_ms
        energies = await services.store.read(transactions.net_energy, call.planned_w, *period, now_ms)
        unread = any(known_ms < call.until_ms for _, known_ms in energies.values())
        if unread and now_ms < call.until_ms + QUARTER_MS:
            return False
        asked_wh = round(call.power_w * (call.until_ms - call.from_ms) / HOUR_MS)
        had_wh = delivered_wh(call, energies)
        if call.bid_id and (bid := await services.store.read(rows.bid, fleet.id, call.bid_id)) is not None:
            bid = bid.settle(asked_wh, had_wh)
            await services.store.run(rows.put_bid, bid)
            asked, had = bid.asked_wh, bid.delivered_wh
            services.announce("ocpp", "fleet_bid_settled", fleet=fleet.id, bid=bid.id, asked_wh=asked, delivered_wh=had)
        self._services.announce("ocpp", "fleet_call_ended", fleet=fleet.id, asked_wh=asked_wh, delivered_wh=had_wh)
        return True
