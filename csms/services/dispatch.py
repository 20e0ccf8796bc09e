"""Dispatch of vehicles that charge and discharge: set-points split over them, frequency signals, permissions (Q)."""

from collections.abc import Collection, Sequence

import msgspec

from csms.core.profiles import Needs
from csms.core.site_dispatch import Wish, bound
from csms.core.v2x import DISPATCH_PROFILE, Participant, dispatch_profile, setpoint_update, split
from csms.desk.base import Services
from csms.rows import charging, transactions
from csms.services.asking import call
from csms.services.crowd import for_each
from csms.services.site_state import look_at
from csms.services.smart_charging import SmartCharging
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


class Dispatched(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle was told: W, and whether its station took it (its status, or why it could not be told)."""

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


class Dispatch:
    """Dispatches the vehicles of stations of 2.1 that are connected and have told their needs."""

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
    ) -> list[Dispatched]:
        """Split a set-point (W, positive into the vehicles) over the vehicles of some stations, or of all (Q04, Q07).

        On a balanced site nobody is asked for more than its nodes allow in either direction, with what others have.
        A vehicle that is under central control already only gets the new value; `pull_s` lets its station ask for it.
        """
        vehicles = await self._vehicles(stations)
        wishes = await self._within_sites(vehicles)
        shares = split(
            setpoint_w,
            [
                Participant(id=each.id, most_w=wishes[each.id].most_w, most_out_w=wishes[each.id].most_out_w)
                for each in vehicles
            ],
        )
        mode = "CentralFrequency" if frequency else "CentralSetpoint"
        return await for_each(vehicles, lambda each: self._tell(each, shares[each.id], mode, pull_s))

    async def afrr(self, signal: int, stations: Collection[str]) -> dict[str, str]:
        """Pass on a signal of frequency restoration (Q08); return each station's status, or why it has none."""
        services = self._services
        request = AFRRSignalRequest(timestamp=format_time(services.clock.utc_ms()), signal=signal)

        async def pass_on(station_id: str) -> tuple[str, str]:
            try:
                return station_id, (await call(services, station_id, request, AFRRSignalResponse)).status
            except V2GError as error:
                return station_id, str(error)

        return dict(await for_each(sorted(stations), pass_on))

    async def allow(self, station_id: str, transaction_id: str, modes: Sequence[EnergyTransferMode]) -> str:
        """Tell which ways of transfer a transaction may use from now on (Q02.FR.05); return the station's status."""
        if not modes:
            raise RefusedError("some way of energy transfer has to be allowed", reason="no_mode")
        request = NotifyAllowedEnergyTransferRequest(
            transaction_id=transaction_id, allowed_energy_transfer=tuple(modes)
        )
        answer = await call(self._services, station_id, request, NotifyAllowedEnergyTransferResponse)
        return answer.status

    async def _vehicles(self, stations: Collection[str] | None) -> list[_Vehicle]:
        services = self._services
        found = []
        for station_id in sorted(services.switchboard.connected()):
            chosen = stations is None or station_id in stations
            if chosen and services.switchboard.version(station_id) == "2.1":
                running = await services.store.read(transactions.with_needs, station_id)
                found += [_Vehicle(station_id, transaction_id, needs) for transaction_id, needs in running]
        return found

    async def _within_sites(self, vehicles: Sequence[_Vehicle]) -> dict[str, Wish]:
        """Return what each vehicle can do, and may on the balanced site where it stands."""
        services = self._services
        able = {each.id: Wish(most_w=each.needs.most_w, most_out_w=_out(each.needs)) for each in vehicles}
        at_place = {f"{each.station_id}/{each.needs.evse_id}": each for each in vehicles}
        for site in await services.store.read(charging.all_sites):
            here = [at_place[place.id] for place in site.places if place.id in at_place]
            if not here:
                continue
            known, given = await look_at(services, site)
            wishes = {f"{each.station_id}/{each.needs.evse_id}": able[each.id] for each in here}
            allowed = bound(site, known, given, wishes, services.clock.utc_ms())
            able |= {at_place[name].id: wish for name, wish in allowed.items()}
        return able

    async def _tell(self, vehicle: _Vehicle, setpoint_w: int, mode: str, pull_s: int | None) -> Dispatched:
        services, evse_id = self._services, vehicle.needs.evse_id
        profile_id = DISPATCH_PROFILE + evse_id
        now_ms = services.clock.utc_ms()
        values = setpoint_update(setpoint_w)
        held = await services.store.read(charging.profile, vehicle.station_id, profile_id)
        period = held.charging_schedule[0].charging_schedule_period[0] if held is not None else None
        try:
            if (
                held is not None
                and held.transaction_id == vehicle.transaction_id
                and period is not None
                and (period.operation_mode == mode)
            ):
                status: str = (await self._charging.update_dynamic(vehicle.station_id, profile_id, values)).status
            else:
                profile = dispatch_profile(
                    evse_id,
                    setpoint_w,
                    mode,
                    now_ms,
                    vehicle.transaction_id,
                    duration_s=services.config.balancing.dispatch_duration_s,
                    pull_interval_s=pull_s,
                )
                await services.store.run(charging.save_dynamic, vehicle.station_id, profile_id, values, now_ms)
                status = (await self._charging.set_priced(vehicle.station_id, evse_id, profile)).status
        except V2GError as error:
            status = str(error)
        data: dict[str, Scalar] = {"evse": evse_id, "setpoint_w": setpoint_w, "status": status[:200]}
        services.tell("ocpp", "dispatched", vehicle.station_id, data)
        return Dispatched(
            station_id=vehicle.station_id,
            evse_id=evse_id,
            transaction_id=vehicle.transaction_id,
            setpoint_w=setpoint_w,
            status=status,
        )


def _out(needs: Needs) -> int:
    return needs.most_discharge_w if needs.bidirectional else 0
