"""Dispatch of bidirectional vehicles: set-points split over them, frequency signals, allowed modes (Q)."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from csms.cluster.feed import FeedEvent
from csms.db.queries import charging, transactions
from csms.domain.charging.orders import Order
from csms.domain.charging.profiles import Needs
from csms.domain.charging.site_dispatch import PowerRange, bound
from csms.domain.charging.v2x import DISPATCH_PROFILE, Participant, dispatch_profile, setpoint_update, split
from csms.ocpp.base import Services
from csms.services.charging.site_state import look_at
from csms.services.charging.smart_charging import SmartCharging
from csms.services.concurrency import for_each
from csms.services.stations.requests import UNANSWERED, call, failure
from v2g.errors import RefusedError, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.messages.bidirectional import (
    AFRRSignalRequest,
    AFRRSignalResponse,
    NotifyAllowedEnergyTransferRequest,
    NotifyAllowedEnergyTransferResponse,
)
from v2g.ocpp.times import format_time

_BOOTED: Final = "boot_accepted"
_LOSSES: Final = frozenset({
    _BOOTED, "charging_profiles_gone", "station_connected", "transaction_closed", "transaction_ended",
    "transaction_resumed",
})  # fmt: skip
"""Events after which a vehicle may no longer follow its set-point."""

_ATTEMPTS: Final = 3
"""How often the part that was not accepted is split over the remaining vehicles."""


class Dispatched(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's set-point: W, and whether its station accepted it (status, or why it could not be sent)."""

    station_id: str
    evse_id: int
    transaction_id: str
    setpoint_w: int
    status: str


class _Vehicle(msgspec.Struct, frozen=True):
    station_id: str
    transaction_id: str
    needs: Needs

    @property
    def id(self) -> str:
        return f"{self.station_id}/{self.transaction_id}"

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
    ) -> list[Dispatched]:
        """Split a set-point (W, positive into the vehicles) over the vehicles of some stations, or of all (Q04, Q07).

        On a balanced site no charger exceeds the nodes' limits in either direction, with the other loads.
        A vehicle under central control already only gets the new value; `pull_s` is its station's request interval.
        What a station rejects is split over the others, and a lost station's part is assumed to continue;
        the same applies when one is lost later, until the set-point expires: after
        `dispatch_duration_s`, or at `until_ms` if that is sooner.
        """
        services = self._services
        end_ms = services.clock.utc_ms() + services.config.balancing.dispatch_duration_s * 1000
        order = Order(
            setpoint_w=setpoint_w,
            stations=None if stations is None else frozenset(stations),
            frequency=frequency,
            pull_s=pull_s,
            until_ms=end_ms if until_ms is None else min(end_ms, until_ms),
        )
        services.orders.put(order)
        return await self._carry_out(order, keep_up=True)

    async def run(self) -> None:
        """Split set-points again when vehicles or stations are lost, for ever."""
        services = self._services
        with services.feed.subscribe(_LOSSES) as losses:
            async for event in losses:
                events = [event]
                with contextlib.suppress(TimeoutError):  # handle events in quick succession together
                    async with asyncio.timeout(services.config.balancing.settle_s):
                        async for another in losses:
                            events.append(another)  # noqa: PERF401 - keep events received before the time-out
                await self._forget_restarted(events)
                stations = {each.station_id or "" for each in events}
                for order in services.orders.touched(stations, services.clock.utc_ms()):
                    await self._carry_out(order, keep_up=False)

    async def _forget_restarted(self, events: Sequence[FeedEvent]) -> None:
        """Handle a restarted station: it has lost its dynamic profiles until they are set again."""
        services = self._services
        booted = {each.station_id for each in events if each.kind == _BOOTED and each.data.get("reason") != "Triggered"}
        if not booted:
            return
        dispatched = await services.store.read(charging.dispatched_stations, services.clock.utc_ms())
        for station_id in dispatched:
            if station_id in booted and station_id in services.connections.connected_here():
                await services.store.run(charging.forget_dispatch, station_id)

    async def _carry_out(self, order: Order, *, keep_up: bool) -> list[Dispatched]:
        """Split a set-point; `keep_up`: send it also to those that have it. The rejected part is split again."""
        services = self._services
        vehicles = await self._vehicles(order.stations)
        following = await services.store.read(charging.following, services.clock.utc_ms())
        free = {each.id: each for each in vehicles}
        reported: dict[str, Dispatched] = {}
        unsure = services.orders.unsure
        for attempt in range(_ATTEMPTS):
            ranges = await self._within_sites(list(free.values()))
            others = sum(
                power
                for (station_id, transaction_id), power in following.items()
                if order.concerns(station_id)
                and f"{station_id}/{transaction_id}" not in free
                and (station_id, transaction_id) not in unsure
            )
            shares = split(
                order.setpoint_w - others,
                [
                    Participant(id=name, most_w=within.most_w, most_out_w=within.most_out_w)
                    for name, within in ranges.items()
                ],
            )
            fresh = keep_up and not attempt
            send = [
                each
                for each in free.values()
                if fresh or each.key in unsure or following.get(each.key) != shares[each.id]
            ]
            results = await self._send_all(send, shares, order)
            reported |= results
            failed = [name for name, result in results.items() if result.status != "Accepted"]
            if not failed:
                break
            following = await services.store.read(charging.following, services.clock.utc_ms())
            for name in failed:
                del free[name]
        return [reported[each.id] for each in vehicles if each.id in reported]

    async def afrr(self, signal: int, stations: Collection[str]) -> dict[str, str]:
        """Forward a frequency restoration signal (Q08); return each station's status, or why it has none."""
        services = self._services
        request = AFRRSignalRequest(timestamp=format_time(services.clock.utc_ms()), signal=signal)

        async def pass_on(station_id: str) -> tuple[str, str]:
            try:
                return station_id, (await call(services, station_id, request, AFRRSignalResponse)).status
            except V2GError as error:
                return station_id, str(error)

        return dict(await for_each(sorted(stations), pass_on))

    async def allow(self, station_id: str, transaction_id: str, modes: Sequence[EnergyTransferMode]) -> str:
        """Set the allowed transfer modes of a transaction (Q02.FR.05); return the station's status."""
        if not modes:
            raise RefusedError("at least one energy transfer mode must be allowed", reason="no_mode")
        request = NotifyAllowedEnergyTransferRequest(
            transaction_id=transaction_id, allowed_energy_transfer=tuple(modes)
        )
        answer = await call(self._services, station_id, request, NotifyAllowedEnergyTransferResponse)
        return answer.status

    async def _vehicles(self, stations: Collection[str] | None) -> list[_Vehicle]:
        services = self._services
        found = []
        for station_id in sorted(services.connections.connected()):
            chosen = stations is None or station_id in stations
            if chosen and services.connections.version(station_id) == "2.1":
                running = await services.store.read(transactions.with_needs, station_id)
                found += [_Vehicle(station_id, transaction_id, needs) for transaction_id, needs in running]
        return found

    async def _within_sites(self, vehicles: Sequence[_Vehicle]) -> dict[str, PowerRange]:
        """Return each vehicle's capability, within the limits of its balanced site."""
        services = self._services
        able = {each.id: PowerRange(most_w=each.needs.most_w, most_out_w=_out(each.needs)) for each in vehicles}
        at_place = {f"{each.station_id}/{each.needs.evse_id}": each for each in vehicles}
        for site in await services.store.read(charging.all_sites):
            here = [at_place[place.id] for place in site.places if place.id in at_place]
            if not here:
                continue
            known, given = await look_at(services, site)
            ranges = {f"{each.station_id}/{each.needs.evse_id}": able[each.id] for each in here}
            allowed = bound(site, known, given, ranges, services.clock.utc_ms())
            able |= {at_place[name].id: within for name, within in allowed.items()}
        return able

    async def _send_all(
        self, vehicles: Sequence[_Vehicle], shares: Mapping[str, int], order: Order
    ) -> dict[str, Dispatched]:
        results = await for_each(vehicles, lambda each: self._send(each, shares[each.id], order))
        return {each.id: result for each, result in zip(vehicles, results, strict=True)}

    async def _send(self, vehicle: _Vehicle, setpoint_w: int, order: Order) -> Dispatched:
        """Send a vehicle its set-point; a rejected one does not count.

        If the answer is lost, the site's limits assume that it was accepted, the set-point that it was not.
        """
        services, evse_id = self._services, vehicle.needs.evse_id
        place = vehicle.station_id, DISPATCH_PROFILE + evse_id
        before = await services.store.read(charging.dynamic_row, *place)
        sure = True
        try:
            status = await self._set(vehicle, setpoint_w, order)
        except V2GError as error:
            status, sure = str(error), failure(error) != UNANSWERED
        (services.orders.unsure.discard if sure else services.orders.unsure.add)(vehicle.key)
        if status != "Accepted" and sure:
            await services.store.run(charging.put_back, *place, before)
        data: dict[str, Scalar] = {"evse": evse_id, "setpoint_w": setpoint_w, "status": status[:200]}
        services.report("ocpp", "dispatched", vehicle.station_id, data)
        return Dispatched(
            station_id=vehicle.station_id,
            evse_id=evse_id,
            transaction_id=vehicle.transaction_id,
            setpoint_w=setpoint_w,
            status=status,
        )

    async def _set(self, vehicle: _Vehicle, setpoint_w: int, order: Order) -> str:
        """Change the value of a transaction's dynamic profile, or set one; return the station's status."""
        services, evse_id, now_ms = self._services, vehicle.needs.evse_id, self._services.clock.utc_ms()
        station_id, profile_id = vehicle.station_id, DISPATCH_PROFILE + evse_id
        values = setpoint_update(setpoint_w)
        mode = "CentralFrequency" if order.frequency else "CentralSetpoint"
        duration_s = max(1, min(services.config.balancing.dispatch_duration_s, -(-(order.until_ms - now_ms) // 1000)))
        held = await services.store.read(charging.profile, station_id, profile_id)
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
        await services.store.run(charging.save_dynamic, station_id, profile_id, values, now_ms)
        return (await self._charging.set_priced(station_id, evse_id, profile)).status


def _out(needs: Needs) -> int:
    return needs.most_discharge_w if needs.bidirectional else 0
