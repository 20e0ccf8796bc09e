"""Dispatch of bidirectional vehicles: set-points split over them, frequency signals, allowed modes (Q); reports (R)."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from csms.cluster.precedence import for_each
from csms.dispatch import der_controls as der
from csms.dispatch import store as rows
from csms.dispatch.rules import Order, Orders, dispatch_profile, reported, setpoint_update
from csms.fleets import store as fleets
from csms.fleets.rules import vehicle_id
from csms.grid.limits import chains, least_w, unbound
from csms.grid.shares import GRID_SHARES, GridShares
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.handlers import answers, small
from csms.prequalifications.work import ExportPermits
from csms.requests import store as requests
from csms.requests.store import UNANSWERED
from csms.requests.work import call, failure
from csms.services import HandlerContext, Services
from csms.sites import store as site_store
from csms.sites.rules import Known, Place, PowerRange, Site, bound, keeps_more, kept_shares, sure_phases
from csms.sites.work import look_at
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.rules import DISPATCH_PROFILE, Needs
from csms.smart_charging.work import SmartCharging
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from v2g.energy.dispatch.split import Participant, split
from v2g.energy.grid_signal import ALL, ConnectionPoint, Direction, GridLimit
from v2g.errors import RefusedError, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages import der_control as ocpp
from v2g.ocpp.messages import smart_charging
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.times import format_time, parse_time
from v2g.units import MINUTE_MS

_BOOTED: Final = "boot_accepted"
_UNSURE: Final = "setpoint_unsure"
"""Kind of the feed's event that a station has lost its set-points, or that vehicles, named in its data, may have
received one after that which replaces it."""
_LOSSES: Final = frozenset({
    _BOOTED, _UNSURE, GRID_SHARES, GRID_SIGNAL, "charging_profiles_gone", "station_connected", "transaction_closed",
    "transaction_ended", "transaction_resumed",
})  # fmt: skip
"""Events after which a vehicle may no longer follow its set-point, or not as much of it."""

_ATTEMPTS: Final = 3
"""How often the part that was not accepted is split over the remaining vehicles."""


class Dispatched(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's set-point: W, and whether its station accepted it (status, or why it could not be sent).

    `refusal`: why it must not discharge; otherwise empty.
    """

    station_id: str
    evse_id: int
    transaction_id: str
    setpoint_w: int
    status: str
    refusal: str


class _Vehicle(msgspec.Struct, frozen=True):
    station_id: str
    transaction_id: str
    needs: Needs

    @property
    def id(self) -> str:
        return vehicle_id(self.station_id, self.transaction_id)

    @property
    def evse(self) -> str:
        return f"{self.station_id}/{self.needs.evse_id}"

    @property
    def key(self) -> tuple[str, str]:
        return self.station_id, self.transaction_id


class Dispatch:
    """Dispatches the vehicles of connected stations of 2.1 that have sent their needs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._charging = SmartCharging(services)

    async def set_point(
        self,
        setpoint_w: int,
        stations: Collection[str] | None = None,
        *,
        frequency: bool = False,
        pull_s: int | None = None,
        until_ms: int | None = None,
        connection_point: ConnectionPoint = ALL,
        source: str = "",
    ) -> list[Dispatched]:
        """Split a set-point (W, positive into the vehicles) over the vehicles of some stations, or of all (Q04, Q07).

        `connection_point`: only over those behind it; raises RefusedError (`unbound`) for one that no site has.
        All set-points together stay within the limits of the grid signal, also of one that comes later.
        On a balanced site no charger exceeds the nodes' limits in either direction, with the other loads.
        A vehicle under central control already only gets the new value; `pull_s` is its station's request interval.
        What a station rejects is split over the others, and a lost station's part is assumed to continue;
        the same applies when one is lost later, until the set-point expires: after
        `dispatch_duration_s`, or at `until_ms` if that is sooner.
        """
        services = self._services
        evses = None
        if connection_point != ALL:
            sites = await services.store.read(site_store.all_sites)
            about = (GridLimit(connection_point=connection_point, direction="import", limit_w=0),)
            if refusal := unbound(about, sites):
                raise RefusedError(
                    refusal.replace("limit", "set-point"), reason="unbound", hint="PUT /sites/SITE adds it"
                )
            behind = [
                (name, evse_id)
                for (name, evse_id), points in chains(sites).items()
                if connection_point in points and (stations is None or name in stations)
            ]
            stations = {name for name, _ in behind}
            evses = frozenset(f"{name}/{evse_id}" for name, evse_id in behind)
        end_ms = services.clock.utc_ms() + services.config.balancing.dispatch_duration_s * 1000
        order = Order(
            setpoint_w=setpoint_w,
            stations=None if stations is None else frozenset(stations),
            frequency=frequency,
            pull_s=pull_s,
            until_ms=end_ms if until_ms is None else min(end_ms, until_ms),
            connection_point=connection_point,
            evses=evses,
            source=source,
        )
        return await self._begin(order, keep_up=True)

    async def follow(
        self, parts: Mapping[str, int], *, keep_up: bool, fleet: str = "", planned_w: int = 0
    ) -> list[Dispatched]:
        """Send vehicles their own set-points (W, by `fleets.vehicle_id`), lowered to what a balanced site allows.

        `fleet` and `planned_w`: whose plan it is, and what that says now (W).
        `keep_up`: also to those that follow it already, which renews it; it ends after `dispatch_duration_s`.
        """
        services = self._services
        order = Order(
            setpoint_w=sum(parts.values()),
            stations=frozenset(name.partition("/")[0] for name in parts),
            frequency=False,
            pull_s=None,
            until_ms=services.clock.utc_ms() + services.config.balancing.dispatch_duration_s * 1000,
            parts=parts,
            fleet=fleet,
            planned_w=planned_w,
        )
        return await self._begin(order, keep_up=keep_up)

    async def run(self) -> None:
        """Split set-points again when vehicles or stations are lost, for ever, also those from before a restart."""
        services = self._services
        with services.feed.subscribe(_LOSSES) as losses:
            while True:
                events = await losses.batch(services.config.balancing.settle_s)
                booted = {
                    each.station_id
                    for each in events
                    if each.kind == _BOOTED and each.data.get("reason") != "Triggered"
                }
                now_ms = services.clock.utc_ms()
                dispatched = await services.store.read(rows.dispatched_stations, now_ms) if booted else ()
                for name in dispatched:  # a restarted one has lost its dynamic profiles until they are set again
                    if name in booted and name in services.connections.connected_here():
                        await services.store.run(rows.forget_dispatch, name, now_ms)
                        services.feed.publish(_UNSURE, name, {"vehicles": []})  # another node may have looked too early
                stations = {each.station_id for each in events}
                unsure = {tuple(key) for each in events if each.kind == _UNSURE for key in each.data["vehicles"]}
                for order in await in_force(services):
                    services[Orders].unsure |= {key for key in unsure if order.concerns(key[0])}
                    if any(name is None or order.concerns(name) for name in stations):
                        await self._carry_out(order, keep_up=False)

    async def _begin(self, order: Order, *, keep_up: bool) -> list[Dispatched]:
        services = self._services
        with services.precedence.command():  # reports wait from now on
            await services.store.run(rows.put_order, services.feed.node, order, services.clock.utc_ms())
            return await self._carry_out(order, keep_up=keep_up)

    async def _carry_out(self, order: Order, *, keep_up: bool) -> list[Dispatched]:
        services = self._services
        with services.precedence.command():
            results = await self._distribute(order, keep_up=keep_up)
        if order not in await in_force(services):  # some may have received it after what replaces it
            vehicles = [(each.station_id, each.transaction_id) for each in results]
            services.feed.publish(_UNSURE, None, {"vehicles": vehicles})
        return results

    async def _distribute(self, order: Order, *, keep_up: bool) -> list[Dispatched]:
        """Split a set-point; `keep_up`: send it also to those that have it. The rejected part is split again."""
        services = self._services
        parts = order.parts
        every = [
            _Vehicle(station_id, transaction_id, needs)
            for station_id, transaction_id, needs in await services.store.read(
                transactions.all_with_needs, order.stations
            )
            if services.connections.version(station_id) == "2.1"  # None, unless it is connected
        ]
        sharers = Counter(each.station_id for each in every)  # of a permit, also where they keep another set-point
        vehicles = [
            each
            for each in every
            if (parts is None or each.id in parts) and (order.evses is None or each.evse in order.evses)
        ]
        at_others = {each.key for each in every if order.evses is not None and each.evse not in order.evses}
        following = await services.store.read(charging.following, services.clock.utc_ms())
        free = {each.id: each for each in vehicles}
        reported: dict[str, Dispatched] = {}
        unsure = services[Orders].unsure
        for _ in range(_ATTEMPTS):
            if order not in await in_force(services):
                break
            ranges, at_sites = await self._within_sites(list(free.values()), sharers, parts)
            if parts is not None:
                shares = {name: able.most_w - able.most_out_w for name, able in ranges.items()}  # one of them is 0
            else:
                shares = self._split(order, ranges, following, free, at_others)
            send = [
                each
                for each in free.values()
                if (keep_up and each.id not in reported)
                or each.key in unsure
                or following.get(each.key) != shares[each.id]
            ]
            raises = [each for each in send if each.id in at_sites and shares[each.id] > following.get(each.key, 0)]
            others = [each for each in send if each not in raises]
            results = await self._send_all(others, shares, order)
            failed = [name for name, result in results.items() if result.status != "Accepted"]
            if not at_sites.intersection(failed):  # else it was not lowered: its power is not available to others
                results |= await self._send_all(raises, shares, order)
                failed = [name for name, result in results.items() if result.status != "Accepted"]
            reported |= results
            if not failed:
                break
            following = await services.store.read(charging.following, services.clock.utc_ms())
            for name in failed:
                del free[name]
        return [reported[each.id] for each in vehicles if each.id in reported]

    def _split(
        self,
        order: Order,
        ranges: Mapping[str, PowerRange],
        following: Mapping[tuple[str, str], int],
        free: Collection[str],
        at_others: Collection[tuple[str, str]],
    ) -> dict[str, int]:
        """Return each vehicle's part of a set-point, beside what others follow that cannot be changed now."""
        elsewhere = [power for key, power in following.items() if not order.concerns(key[0]) or key in at_others]
        setpoint_w = self.within_grid(order.setpoint_w, elsewhere, order.connection_point)
        unsure = self._services[Orders].unsure
        others = sum(
            power
            for (station_id, transaction_id), power in following.items()
            if order.concerns(station_id)
            and (station_id, transaction_id) not in at_others
            and vehicle_id(station_id, transaction_id) not in free
            and (station_id, transaction_id) not in unsure
        )
        participants = [
            Participant(
                id=name,
                most_w=within.most_w,
                most_out_w=within.most_out_w,
                least_w=within.least_w,
                least_out_w=within.least_out_w,
            )
            for name, within in ranges.items()
        ]
        return split(setpoint_w - others, participants)

    def within_grid(self, setpoint_w: int, elsewhere: Iterable[int] = (), point: ConnectionPoint = ALL) -> int:
        """Return a set-point (W) that is within the grid's limits at a connection point, and of all stations together
        with those that are followed `elsewhere` in the same direction: others may end at any moment."""
        signal = self._services[GridSource].current
        if signal is None:
            return setpoint_w
        limits = signal.limits_at(self._services.clock.utc_ms())
        direction: Direction = "import" if setpoint_w > 0 else "export"
        sign = 1 if setpoint_w > 0 else -1
        left_w = least_w(limits, direction) - sum(max(0, sign * each) for each in elsewhere)
        return sign * max(0, min(sign * setpoint_w, left_w, least_w(limits, direction, point)))

    async def afrr(self, signal: int, stations: Collection[str]) -> dict[str, str]:
        """Forward a frequency restoration signal (Q08); return each station's status, or why it has none."""
        services = self._services
        request = smart_charging.AFRRSignalRequest(timestamp=format_time(services.clock.utc_ms()), signal=signal)

        async def pass_on(station_id: str) -> tuple[str, str]:
            try:
                return station_id, (await call(services, station_id, request, smart_charging.AFRRSignalResponse)).status
            except V2GError as error:
                return station_id, str(error)

        return dict(await for_each(sorted(stations), pass_on))

    async def allow(self, station_id: str, transaction_id: str, modes: Sequence[EnergyTransferMode]) -> str:
        """Set the allowed transfer modes of a transaction (Q02.FR.05); return the station's status."""
        if not modes:
            raise RefusedError("at least one energy transfer mode must be allowed", reason="no_mode")
        request = smart_charging.NotifyAllowedEnergyTransferRequest(
            transaction_id=transaction_id, allowed_energy_transfer=tuple(modes)
        )
        answer = await call(self._services, station_id, request, smart_charging.NotifyAllowedEnergyTransferResponse)
        return answer.status

    async def _within_sites(
        self, vehicles: Sequence[_Vehicle], sharers: Mapping[str, int], parts: Mapping[str, int] | None
    ) -> tuple[dict[str, PowerRange], set[str]]:
        """Return each vehicle's capability, within the limits of its balanced site, and those that have one.

        `sharers`: how many vehicles each station has. `parts`: their plan, which no vehicle exceeds, so that a site is
        shared by it.
        """
        services = self._services
        able, at_sites = {}, set()
        for each in vehicles:
            most_w, most_out_w = each.needs.most_w, self._out(each, sharers[each.station_id])
            if parts is not None:
                most_w, most_out_w = min(most_w, max(0, parts[each.id])), min(most_out_w, max(0, -parts[each.id]))
            able[each.id] = PowerRange(
                most_w=most_w,
                most_out_w=most_out_w,
                least_w=each.needs.least_w,
                least_out_w=each.needs.least_discharge_w,
            )
        at_place = {each.evse: each for each in vehicles}
        for site in await services.store.read(site_store.all_sites):
            here = [at_place[place.id] for place in site.places if place.id in at_place]
            if not here:
                continue
            site, _ = await services[GridShares].limited(site)
            known, given = await look_at(services, site)
            ranges = {each.evse: able[each.id] for each in here}
            allowed = bound(site, known, given, ranges, services.clock.utc_ms())
            bounded = [
                each for each in site.places if each.id in ranges and allowed[each.id].most_w < ranges[each.id].most_w
            ]
            if bounded and (parts is not None or any(keeps_more(each, given, allowed[each.id]) for each in bounded)):
                await self._lower_shares(site, known, given, ranges)
                allowed = bound(site, known, given, ranges, services.clock.utc_ms())
            able |= {at_place[name].id: within for name, within in allowed.items()}
            at_sites |= {each.id for each in here}
        return able, at_sites

    async def _lower_shares(
        self, site: Site, known: Mapping[str, Known], given: dict[str, int], ranges: Mapping[str, PowerRange]
    ) -> None:
        """Lower the shares of vehicles that are to draw less; update `given` where their stations accept."""
        now_ms = self._services.clock.utc_ms()
        kept = kept_shares(site, known, given, ranges, now_ms)

        async def lower(place: Place) -> None:
            transaction = known[place.id].transaction
            if transaction is None:
                return
            about = (place.evse_id, kept[place.id], len(place.phases), now_ms, transaction.transaction_id)
            limit = share_profile(*about, phase_to_use=known[place.id].phase_to_use)
            with contextlib.suppress(V2GError):  # reported in the answer to the command
                phases = sure_phases(place, known[place.id])
                if await self._charging.share(place.station_id, place.evse_id, limit, phases=phases) == "Accepted":
                    given[place.id] = kept[place.id]

        await for_each([place for place in site.places if place.id in kept], lower)

    def _out(self, vehicle: _Vehicle, sharers: int) -> int:
        """Return the most power out of a vehicle; its station's prequalification is shared evenly."""
        granted = self._services[ExportPermits].of(vehicle.station_id, vehicle.needs.evse_id)
        able_w = vehicle.needs.most_discharge_w if vehicle.needs.bidirectional else 0
        station_w = able_w if granted.station_w is None else granted.station_w // sharers
        return min(able_w, station_w, able_w if granted.evse_w is None else granted.evse_w)

    async def _send_all(
        self, vehicles: Sequence[_Vehicle], shares: Mapping[str, int], order: Order
    ) -> dict[str, Dispatched]:
        """Send all set-points at once: a station that does not answer delays no other."""
        results = await asyncio.gather(*(self._send(each, shares[each.id], order) for each in vehicles))
        return {each.id: result for each, result in zip(vehicles, results, strict=True)}

    async def _send(self, vehicle: _Vehicle, setpoint_w: int, order: Order) -> Dispatched:
        """Send a vehicle its set-point; a rejected one does not count.

        If the answer is lost, the site's limits assume that it was accepted, the set-point that it was not.
        """
        services, evse_id = self._services, vehicle.needs.evse_id
        place = vehicle.station_id, DISPATCH_PROFILE + evse_id
        held, before = await services.store.look_up(charging.held_profiles, place)
        sure = True
        try:
            status = await self._set(vehicle, setpoint_w, order, held)
        except V2GError as error:
            status, sure = str(error), failure(error) != UNANSWERED
        (services[Orders].unsure.discard if sure else services[Orders].unsure.add)(vehicle.key)
        if status != "Accepted" and sure:
            await services.store.run(charging.put_back, *place, before)
        refusal = services[ExportPermits].of(vehicle.station_id, evse_id).reason
        data: dict[str, Scalar] = {"evse": evse_id, "setpoint_w": setpoint_w, "status": status[:200]}
        data |= {"refusal": refusal} if refusal else {}
        services.report("ocpp", "dispatched", vehicle.station_id, data)
        return Dispatched(
            station_id=vehicle.station_id,
            evse_id=evse_id,
            transaction_id=vehicle.transaction_id,
            setpoint_w=setpoint_w,
            status=status,
            refusal=refusal,
        )

    async def _set(self, vehicle: _Vehicle, setpoint_w: int, order: Order, held: ChargingProfile | None) -> str:
        """Change the value of a transaction's dynamic profile, or set one; return the station's status."""
        services, evse_id, now_ms = self._services, vehicle.needs.evse_id, self._services.clock.utc_ms()
        station_id, profile_id = vehicle.station_id, DISPATCH_PROFILE + evse_id
        values = setpoint_update(setpoint_w)
        mode = "CentralFrequency" if order.frequency else "CentralSetpoint"
        until_ms = services[ExportPermits].of(station_id, evse_id).until_ms if setpoint_w < 0 else None
        end_ms = order.until_ms if until_ms is None else min(order.until_ms, until_ms)
        duration_s = max(1, -(-(end_ms - now_ms) // 1000))
        if (
            held is not None
            and held.transaction_id == vehicle.transaction_id
            and held.charging_schedule[0].charging_schedule_period[0].operation_mode == mode
            and held.charging_schedule[0].duration == duration_s
            and (await self._charging.update_dynamic(station_id, profile_id, values)).status == "Accepted"
        ):
            return "Accepted"
        profile = dispatch_profile(  # none, or lost by the station
            evse_id,
            setpoint_w,
            mode,
            now_ms,
            vehicle.transaction_id,
            duration_s=duration_s,
            pull_interval_s=order.pull_s,
        )
        await services.store.gather(charging.save_dynamic, charging.Dynamic(station_id, profile_id, values, now_ms))
        return (await self._charging.set_priced(station_id, evse_id, profile)).status


async def in_force(services: Services) -> list[Order]:
    """Return the set-points that this node keeps up: its own, and those of nodes that are gone. Raises StoreError."""
    living = services.feed.nodes()
    return await services.store.read(rows.orders, services.feed.node, living, services.clock.utc_ms())


async def note(services: Services) -> None:
    """Store this minute's points, unless they are stored, or no set-point is in force. Raises StoreError."""
    now_ms, orders = services.clock.utc_ms(), services[Orders]
    at_ms = now_ms // MINUTE_MS * MINUTE_MS
    if at_ms == orders.noted_ms or not (standing := await in_force(services)):
        return
    orders.noted_ms = at_ms
    followed = {
        key: watts
        for key, watts in (await services.store.read(charging.following, now_ms)).items()
        if any(each.concerns(key[0]) for each in standing)
    }
    stations = frozenset(station for station, _ in followed)
    running = await services.store.read(running_powers.powers, stations, now_ms - running_powers.FRESH_MS)
    powers = {(each.station_id, each.transaction_id): each.watts for each in running}
    point = rows.CoursePoint(
        at_ms=at_ms,
        asked_w=sum(each.setpoint_w for each in standing),
        accepted_w=sum(followed.values()),
        delivered_w=running_powers.flow_of([powers.get(key) for key in followed]).watts,
        vehicles=len(followed),
    )
    await services.store.run(rows.note_course, services.feed.node, point)
    for order in {each.fleet: each for each in standing if each.fleet}.values():
        of_fleet = [key for key in followed if vehicle_id(*key) in (order.parts or {})]
        of_plan = fleets.FleetPoint(
            at_ms=at_ms,
            planned_w=order.planned_w,
            asked_w=order.setpoint_w,
            accepted_w=sum(followed[key] for key in of_fleet),
            delivered_w=running_powers.flow_of([powers.get(key) for key in of_fleet]).watts,
            vehicles=len(of_fleet),
        )
        await services.store.run(fleets.note_course, order.fleet, of_plan)


@answers
async def answer_der_report(
    context: HandlerContext, request: ocpp.ReportDERControlRequest
) -> ocpp.ReportDERControlResponse:
    """Store the controls of a report (R04.FR.31, FR.32)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    for control, superseded in reported(request):
        await run(der.save_control, context.station_id, control, now_ms, superseded=superseded)
    request_id = small(request.request_id)
    part = await run(requests.count_parts, request_id)
    document = msgspec.json.encode(request).decode()
    about = (context.station_id, "GetDERControl", request_id, part, document, now_ms)
    await run(requests.save_part, *about, last=not request.tbc)
    context.observe("ocpp", "der_report", request=request_id, tbc=request.tbc)
    return ocpp.ReportDERControlResponse()


@answers
async def answer_der_alarm(context: HandlerContext, request: ocpp.NotifyDERAlarmRequest) -> ocpp.NotifyDERAlarmResponse:
    """Store an alarm (R05)."""
    at_ms = parse_time(request.timestamp)
    await context.services.store.run(der.add_alarm, context.station_id, request, at_ms)
    context.observe(
        "ocpp",
        "der_alarm",
        control=request.control_type,
        fault=request.grid_event_fault,
        ended=bool(request.alarm_ended),
    )
    return ocpp.NotifyDERAlarmResponse()


@answers
async def answer_der_start_stop(
    context: HandlerContext, request: ocpp.NotifyDERStartStopRequest
) -> ocpp.NotifyDERStartStopResponse:
    """Store the start or end of a scheduled control (R04.FR.20 to FR.22)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    await run(der.start_stop, context.station_id, request.control_id, now_ms, started=request.started)
    await run(der.supersede, context.station_id, request.superseded_ids, now_ms)
    context.observe("ocpp", "der_start_stop", control=request.control_id, started=request.started)
    return ocpp.NotifyDERStartStopResponse()
