"""Charging profiles at stations, templates, dynamic values, priority (K01 to K29); the course of limits."""

import asyncio
import contextlib
import itertools
from collections.abc import Collection
from typing import Final

import msgspec

from csms.device_model.store import external_ids, list_variables, only_unit
from csms.prequalifications.rules import W_PER_A, export_of, export_of_values
from csms.prequalifications.work import ExportPermits
from csms.requests.store import UNANSWERED
from csms.requests.work import Asked, ask, call, failure
from csms.services import Services
from csms.sites import store as site_store
from csms.smart_charging import rules
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import Step, add_up, dynamic_share, from_template, in_unit
from csms.smart_charging.local_schedules import at_present, is_local, marked
from csms.smart_charging.profile_rules import limit_problems, problems
from csms.stations import store as stations
from csms.stations.clocks import clock_settings
from csms.stations.rules import CLOCK, mirror_of
from csms.tariffs.vehicle_prices import has_prices, with_prices
from csms.transactions import store as transactions
from v2g.energy.conductors import LINES
from v2g.errors import OcppError, RefusedError, TimeoutExpired, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.base import Component, Message, Variable
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingProfilePurpose, ChargingRateUnit
from v2g.ocpp.messages.provisioning import GetVariableData, GetVariablesRequest, GetVariablesResponse
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest
from v2g.ocpp.times import parse_time
from v2g.ocpp.versions import without_21

_RESUMED: Final = "transaction_resumed"
_REPORT: Final = "profile_report"
_OF_CSMS: Final = ocpp.ChargingProfileCriterion(charging_limit_source=("CSO",))
_NAMED: Final = 5
"""How many profiles of others an event names."""

_CTRLR: Final = "SmartChargingCtrlr"
_RATE_UNIT: Final = "RateUnit"
_ASK_S: Final = 3.0
"""So long a limit that is rejected waits for what its station says of its units: others have to make room for it."""

_FOLLOWS: Final[Collection[str]] = frozenset({"Accepted"})


class SmartCharging:
    """Operators' actions on charging profiles. Raises as `ConnectionRegistry.call`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Send resumed transactions their profiles again (E17.FR.15), for ever."""
        services = self._services
        with services.feed.subscribe({_RESUMED}) as resumed:
            async with asyncio.TaskGroup() as group:
                async for event in resumed:
                    if event.station_id in services.connections.connected_here():
                        group.create_task(self._try_restore(event.station_id, str(event.data["transaction"])))

    async def _try_restore(self, station_id: str, transaction_id: str) -> None:
        with contextlib.suppress(V2GError):  # the result is in the feed
            await self.restore(station_id, transaction_id)

    async def restore(self, station_id: str, transaction_id: str) -> None:
        """Set a transaction's profiles again, unless its station keeps them through an interruption."""
        read = self._services.store.read
        persistence = await read(list_variables, station_id, _CTRLR, "ChargingProfilePersistence")
        if any(each["variable_instance"] == "TxProfile" and each["value"] == "true" for each in persistence):
            return
        for evse_id, source, profile in await read(charging.profiles, station_id, None, transaction_id):
            if source == charging.CSO:
                await self.set_profile(station_id, evse_id, profile)

    async def set_profile(
        self, station_id: str, evse_id: int, profile: ChargingProfile, *, phases: int = 1, zone: str | None = None
    ) -> ocpp.SetChargingProfileResponse:
        """Set a profile (K01), an own one in the unit that its station takes. `phases`: so many carry the current of
        one that is sent in W, for sure. `zone`: that of its site, where the caller knows it.

        Raises RefusedError: `bad_profile` for an invalid one, `reserved_id` for an id that the
        station reserves for external constraints (MaxExternalConstraintsId), `not_prequalified` for one that feeds back
        more than the station's prequalification permits, `place_taken` for an own one in the place of another.
        """
        services = self._services
        if rules.is_own(profile):
            await self.read_held(station_id)
            held = await self._services.store.read(charging.profiles, station_id)
            there = [(at_evse, each) for at_evse, source, each in held if source == charging.CSO]
            for other in rules.in_the_way(there, evse_id, profile):
                data: dict[str, Scalar] = {
                    "profile": profile.id,
                    "by": other.id,
                    "purpose": other.charging_profile_purpose,
                    "stack_level": other.stack_level,
                }
                self._services.report("ocpp", "charging_profile_blocked", station_id, data)
                raise RefusedError(
                    f"the station holds profile {other.id} in the place of profile {profile.id}",
                    reason="place_taken",
                    hint=f"clear it, or set it at a higher stack level than {other.stack_level}",
                )
        await self._check_rules(station_id, evse_id, profile)
        await self._check_export(station_id, evse_id, profile)
        if not is_local(profile):
            zone = ""
        elif zone is None:
            zone = await self._zone(station_id)
        if zone:
            profile = at_present(profile, zone, services.clock.utc_ms())
        if services.connections.version(station_id) == "2.0.1":
            profile = marked(without_21(profile), local=is_local(profile))
        request = ocpp.SetChargingProfileRequest(evse_id=evse_id, charging_profile=profile)
        answer = await self._set(station_id, request, phases, zone)
        if answer.status == "Rejected" and rules.is_own(profile) and await self._asked_unit(station_id):
            answer = await self._set(station_id, request, phases, zone)
        return answer

    async def _set(
        self, station_id: str, request: ocpp.SetChargingProfileRequest, phases: int, zone: str
    ) -> ocpp.SetChargingProfileResponse:
        profile, sent = request.charging_profile, None
        own = rules.is_own(profile) and profile.charging_profile_kind != "Dynamic"
        if own and (unit := await self._only_unit(station_id)) is not None:
            turned = in_unit(profile, unit, len(LINES) if unit == "A" else phases)
            sent = msgspec.structs.replace(request, charging_profile=turned)
        elif is_local(profile) and not await self.knows_local_time(station_id, zone):
            sent = msgspec.structs.replace(request, charging_profile=marked(profile, local=False))
        return await call(self._services, station_id, request, ocpp.SetChargingProfileResponse, sent=sent)

    async def _zone(self, station_id: str) -> str:
        """Return the time zone of a station's site, "" where none is configured."""
        return (await clock_settings(self._services, {station_id}))[station_id].zone

    async def knows_local_time(self, station_id: str, zone: str) -> bool:
        """Return whether a station follows the wall clock of its site (`zone`, if known) by itself."""
        known = mirror_of(await self._services.store.read(list_variables, station_id, CLOCK)).values
        return self._services.connections.version(station_id) == "2.1" and zone in ("", known.get(("TimeZone", "")))

    async def _only_unit(self, station_id: str) -> ChargingRateUnit | None:
        """Return the unit of a station that says it takes no other (RateUnit, K01.FR.26)."""
        found = await self._services.store.read(list_variables, station_id, _CTRLR, _RATE_UNIT)
        return only_unit(found[0]["value"]) if found else None

    async def _asked_unit(self, station_id: str) -> ChargingRateUnit | None:
        """Ask a station that has rejected a profile, once, which units it takes; return the only one."""
        abilities = self._services[rules.StationAbilities]
        if not abilities.has(station_id, _RATE_UNIT):
            return None
        abilities.lack(station_id, _RATE_UNIT)
        wanted = GetVariableData(component=Component(name=_CTRLR), variable=Variable(name=_RATE_UNIT))
        request = GetVariablesRequest(get_variable_data=(wanted,))
        with contextlib.suppress(V2GError):  # reported in the answer to the request
            await call(self._services, station_id, request, GetVariablesResponse, timeout_s=_ASK_S)
        return await self._only_unit(station_id)

    async def set_operators(
        self, station_id: str, evse_id: int, profile: ChargingProfile, *, zone: str | None = None
    ) -> ocpp.SetChargingProfileResponse:
        """Set an operator's profile, as `set_profile`. Raises RefusedError, also for the places of own profiles."""
        await self.check_operators(station_id, evse_id, profile)
        return await self.set_profile(station_id, evse_id, profile, zone=zone)

    async def check_command(self, station_id: str, request: Message) -> None:
        """Refuse an operator's command that would replace an own profile, breaks a rule, or feeds back too much.

        Raises RefusedError: `reserved_id`, `reserved_level`, `place_taken`, `bad_profile`, `not_prequalified`.
        """
        match request:
            case ocpp.SetChargingProfileRequest(evse_id=evse_id, charging_profile=profile):
                await self.check_operators(station_id, evse_id, profile)
                await self._check_rules(station_id, evse_id, profile)
                await self._check_export(station_id, evse_id, profile)
            case RequestStartTransactionRequest(evse_id=evse, charging_profile=ChargingProfile() as profile):
                rules.check_operators_id(profile.id)
                if profile.charging_profile_purpose != "TxProfile":  # F01.FR.09
                    raise RefusedError("a remote start needs a TxProfile (F01.FR.09)", reason="profile_purpose")
                if profile.transaction_id is not None:  # the transaction has no id yet
                    raise RefusedError(
                        "a profile in a remote start must not name a transaction (F01.FR.11)",
                        reason="profile_transaction",
                    )
                await self._check_rules(station_id, None, profile)
                await self._check_export(station_id, evse or 0, profile)
            case ocpp.UpdateDynamicScheduleRequest(charging_profile_id=profile_id, schedule_update=values):
                rules.check_operators_id(profile_id)
                await self._check_dynamic(station_id, profile_id, values)

    async def check_operators(self, station_id: str, evse_id: int, profile: ChargingProfile) -> None:
        """Refuse an operator's profile in the place of another. Raises RefusedError."""
        held = [(place, each) for place, _, each in await self._services.store.read(charging.profiles, station_id)]
        rules.check_operators(held, evse_id, profile)
        rules.check_distinct(held, evse_id, profile, self._services.clock.utc_ms())

    async def _check_rules(self, station_id: str, evse_id: int | None, profile: ChargingProfile) -> None:
        """Refuse a profile that breaks a rule of its own, or has an id that the station reserves. Raises RefusedError.

        `evse_id` is None in a remote start.
        """
        store = self._services.store
        if profile.id <= await store.look_up(external_ids, station_id):
            raise RefusedError(
                f"the station reserves id {profile.id} for external constraints (K01.FR.80)", reason="reserved_id"
            )
        for problem in problems(profile, evse_id):
            raise RefusedError(f"profile {profile.id}: {problem}", reason="bad_profile")
        if len(profile.charging_schedule) > 1 and evse_id is not None:
            needs = dict(await store.read(transactions.with_needs, station_id))
            if profile.transaction_id not in needs:
                raise RefusedError(
                    f"profile {profile.id}: several schedules need a vehicle that has sent its needs (K01.FR.34)",
                    reason="bad_profile",
                )

    async def _check_export(self, station_id: str, evse_id: int, profile: ChargingProfile) -> None:
        """Reject a profile that feeds back more than prequalification permits. Raises RefusedError."""
        services = self._services
        if services[ExportPermits].concerns(station_id) and (export_w := export_of(profile)):
            evses = await services.store.read(stations.count_evses, station_id)
            services[ExportPermits].check(station_id, evse_id, export_w, evses=evses)

    async def read_held(self, station_id: str) -> None:
        """Have a station report its profiles (K09) before the first own one after its boot; report those of others.

        A station that cannot or does not report them is not asked again until it boots. Profiles of version 0.1, which
        had other ids, are cleared. Raises as `get_profiles`.
        """
        services = self._services
        if services[rules.StationAbilities].is_read(station_id):
            return
        with services.feed.subscribe({_REPORT}) as reports:
            try:
                asked = await self.get_profiles(station_id, _OF_CSMS)
            except (OcppError, TimeoutExpired) as error:
                services.report("ocpp", "charging_profiles_unread", station_id, {"reason": str(error)[:200]})
                services[rules.StationAbilities].note_read(station_id, whole=False)
                return
            complete = getattr(asked.response, "status", "") != "Accepted"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(services.config.ocpp.call_timeout_s):
                    while not complete:
                        event = await anext(reports)
                        reported = event.station_id == station_id and event.data["request"] == asked.request_id
                        complete = reported and not event.data["tbc"]
        if not complete:
            services.report("ocpp", "charging_profiles_unread", station_id, {"reason": "no complete report"})
        services[rules.StationAbilities].note_read(station_id, whole=complete)
        held = await services.store.read(charging.profiles, station_id)
        version = await services.store.read(stations.signal_version, station_id)
        others = [each for _, source, each in held if source == charging.CSO and not rules.is_own(each)]
        for each in others:
            if rules.is_former(each, version):
                await self.clear(station_id, profile_id=each.id)
        others = [each for each in others if not rules.is_former(each, version)]
        if others:
            names = (f"{each.id} ({each.charging_profile_purpose}, level {each.stack_level})" for each in others)
            data: dict[str, Scalar] = {"profiles": len(others), "which": ", ".join(itertools.islice(names, _NAMED))}
            services.report("ocpp", "charging_profiles_of_others", station_id, data)

    async def set_priced(
        self, station_id: str, evse_id: int, profile: ChargingProfile, *, phases: int = 1
    ) -> ocpp.SetChargingProfileResponse:
        """Set a profile of a transaction, as `set_profile`, with the prices for its vehicle."""
        version = self._services.connections.version(station_id)
        priced = await with_prices(self._services, station_id, version, profile)
        return await self.set_profile(station_id, evse_id, priced, phases=phases)

    async def reprice(self, station_id: str, transaction_id: str) -> None:
        """Send the vehicle of a transaction the prices in force, replacing the previous ones (K16)."""
        for evse_id, source, profile in await self._services.store.read(
            charging.profiles, station_id, None, transaction_id
        ):
            if source == charging.CSO and has_prices(profile):
                await self.set_priced(station_id, evse_id, profile)

    async def clear(
        self,
        station_id: str,
        *,
        profile_id: int | None = None,
        evse_id: int | None = None,
        purpose: ChargingProfilePurpose | None = None,
        stack_level: int | None = None,
    ) -> ocpp.ClearChargingProfileResponse:
        """Clear one profile by its id, or those that meet all criteria (K10.FR.02, FR.03)."""
        criteria = None
        if profile_id is None and (evse_id, purpose, stack_level) != (None, None, None):
            criteria = ocpp.ClearChargingProfile(
                evse_id=evse_id, charging_profile_purpose=purpose, stack_level=stack_level
            )
        request = ocpp.ClearChargingProfileRequest(charging_profile_id=profile_id, charging_profile_criteria=criteria)
        return await call(self._services, station_id, request, ocpp.ClearChargingProfileResponse)

    async def get_profiles(
        self, station_id: str, criterion: ocpp.ChargingProfileCriterion, evse_id: int | None = None
    ) -> Asked[ocpp.GetChargingProfilesResponse]:
        """Have a station report its profiles (K09); they are stored as the reports arrive."""

        def request(request_id: int) -> ocpp.GetChargingProfilesRequest:
            return ocpp.GetChargingProfilesRequest(request_id=request_id, evse_id=evse_id, charging_profile=criterion)

        return await ask(self._services, station_id, request, ocpp.GetChargingProfilesResponse, _FOLLOWS)

    async def composite(
        self, station_id: str, evse_id: int, duration_s: int, unit: ChargingRateUnit | None = None
    ) -> ocpp.GetCompositeScheduleResponse:
        """Get the composite schedule of an EVSE, or as EVSE 0 of the station (K08)."""
        request = ocpp.GetCompositeScheduleRequest(evse_id=evse_id, duration=duration_s, charging_rate_unit=unit)
        return await call(self._services, station_id, request, ocpp.GetCompositeScheduleResponse)

    async def site_composite(self, site_id: str, duration_s: int) -> list[Step]:
        """Return the combined limit of the reachable EVSEs of a site over time (W).

        Raises RefusedError (`unknown_site`).
        """
        services = self._services
        site = await services.store.read(site_store.site, site_id)
        if site is None:
            raise RefusedError(f"no site {site_id}", reason="unknown_site")
        connected = services.connections.connected()
        schedules = []
        for place in site.places:
            if place.station_id in connected:
                answer = await self.composite(place.station_id, place.evse_id, duration_s, "W")
                if answer.schedule is not None:
                    schedules.append(answer.schedule)
        start_ms = min((parse_time(each.schedule_start) for each in schedules), default=services.clock.utc_ms())
        return add_up(schedules, start_ms, duration_s)

    async def apply_template(
        self,
        name: str,
        station_id: str,
        evse_id: int,
        profile_id: int,
        *,
        start_ms: int | None = None,
        transaction_id: str | None = None,
    ) -> ocpp.SetChargingProfileResponse:
        """Set a template as a profile. Raises RefusedError (`unknown_template`)."""
        services = self._services
        template = await services.store.read(charging.template, name)
        if template is None:
            raise RefusedError(f"no template {name}", reason="unknown_template")
        about = template, profile_id, services.clock.utc_ms()
        zone = await self._zone(station_id)
        profile = from_template(*about, start_ms=start_ms, transaction_id=transaction_id, zone=zone)
        return await self.set_operators(station_id, evse_id, profile, zone=zone)

    async def update_dynamic(
        self, station_id: str, profile_id: int, values: ocpp.ChargingScheduleUpdate, timeout_s: float | None = None
    ) -> ocpp.UpdateDynamicScheduleResponse:
        """Change the values of a dynamic profile, sent at once (K28); pulls return the same."""
        services = self._services
        now_ms = services.clock.utc_ms()
        await self._check_dynamic(station_id, profile_id, values)
        await services.store.gather(charging.save_dynamic, charging.Dynamic(station_id, profile_id, values, now_ms))
        request = ocpp.UpdateDynamicScheduleRequest(charging_profile_id=profile_id, schedule_update=values)
        return await call(services, station_id, request, ocpp.UpdateDynamicScheduleResponse, timeout_s=timeout_s)

    async def _check_dynamic(self, station_id: str, profile_id: int, values: ocpp.ChargingScheduleUpdate) -> None:
        """Reject negative limits, and values that feed back more than prequalification permits. Raises RefusedError."""
        for problem in limit_problems(values):
            raise RefusedError(f"profile {profile_id}: {problem}", reason="bad_profile")
        if not self._services[ExportPermits].concerns(station_id) or export_of_values(values) <= 0:
            return
        read = self._services.store.read
        held = {each.id: (evse_id, each) for evse_id, _, each in await read(charging.profiles, station_id)}
        evse_id, profile = held.get(profile_id, (0, None))
        watts = profile is None or profile.charging_schedule[0].charging_rate_unit == "W"
        export_w = round(export_of_values(values) * (1 if watts else W_PER_A))
        evses = await read(stations.count_evses, station_id)
        self._services[ExportPermits].check(station_id, evse_id, export_w, evses=evses)

    async def share(self, station_id: str, evse_id: int, profile: ChargingProfile, *, phases: int = 1) -> str:
        """Send a transaction its share of a site, as `set_profile`; return the station's status.

        A station that supports dynamic profiles gets one, and later only the new limit (K28). What it refuses, it
        cannot pull.
        """
        services = self._services
        if not await self._takes_dynamic(station_id):
            return (await self.set_priced(station_id, evse_id, profile, phases=phases)).status
        held, before = await services.store.look_up(charging.held_profiles, (station_id, profile.id))
        status = UNANSWERED
        try:
            status = await self._share_dynamic(station_id, evse_id, profile, held)
        except V2GError as error:
            status = failure(error)
            raise
        finally:
            if status not in ("Accepted", UNANSWERED):
                await services.store.run(charging.put_back, station_id, profile.id, before)
        return status

    async def _share_dynamic(
        self, station_id: str, evse_id: int, profile: ChargingProfile, held: ChargingProfile | None
    ) -> str:
        services, now_ms = self._services, self._services.clock.utc_ms()
        dynamic = await with_prices(services, station_id, "2.1", dynamic_share(profile, now_ms))
        values = ocpp.ChargingScheduleUpdate(limit=profile.charging_schedule[0].charging_schedule_period[0].limit)
        if (
            held is not None
            and held.charging_profile_kind == "Dynamic"
            and held.transaction_id == profile.transaction_id
            and has_prices(held) == has_prices(dynamic)
            and (await self.update_dynamic(station_id, profile.id, values)).status == "Accepted"
        ):
            return "Accepted"
        await services.store.gather(charging.save_dynamic, charging.Dynamic(station_id, profile.id, values, now_ms))
        return (await self.set_profile(station_id, evse_id, dynamic)).status

    async def _takes_dynamic(self, station_id: str) -> bool:
        """Return whether a station supports dynamic profiles, by either name that OCPP 2.1 gives the variable."""
        services = self._services
        if services.connections.version(station_id) != "2.1" or await self._only_unit(station_id) == "W":
            return False
        for variable, instance in (("SupportsDynamicProfiles", ""), ("SupportsFeature", "DynamicProfiles")):
            found = await services.store.read(list_variables, station_id, _CTRLR, variable)
            if any(each["variable_instance"] == instance and each["value"] == "true" for each in found):
                return True
        return False

    async def use_priority(
        self, station_id: str, transaction_id: str, *, activate: bool
    ) -> ocpp.UsePriorityChargingResponse:
        """Turn priority charging of a transaction on or off (K21)."""
        request = ocpp.UsePriorityChargingRequest(transaction_id=transaction_id, activate=activate)
        return await call(self._services, station_id, request, ocpp.UsePriorityChargingResponse)


_TRIGGERS: Final = frozenset({
    "charging_limit", "charging_limit_cleared", "charging_needs", "dispatched", "share", "station_connected",
    "transaction_started",
})  # fmt: skip
"""Events after which another limit may bind."""

_SETTLE_S: Final = 5.0
"""A transaction gets no more than one point in this time."""

_EVERY_MS: Final = 60_000
"""How often limits are looked at that begin or end by the clock."""

_STEP: Final = 20
"""Stations looked at in one operation of the store."""


class LocalSchedules:
    """Sets profiles of local time again once the clocks of their site have changed, and at stations that were away."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._charging = SmartCharging(services)
        self._refused: dict[tuple[str, int], ChargingProfile] = {}
        """Profiles that stations have refused, by station and number."""

    async def run(self) -> None:
        """Look every minute, for ever."""
        while True:
            await self.set_all()
            await asyncio.sleep(_EVERY_MS / 1000)

    async def set_all(self) -> None:
        """Set those that began by another offset than the present one."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        here = services.connections.connected_here()
        held = await services.store.read(charging.local_profiles, here)
        settings = await clock_settings(services, {station_id for station_id, _, _ in held})
        for station_id, evse_id, profile in held:
            zone, key = settings[station_id].zone, (station_id, profile.id)
            wanted = at_present(profile, zone, now_ms) if zone else profile
            if wanted in (profile, self._refused.get(key)) or await self._charging.knows_local_time(station_id, zone):
                continue
            with contextlib.suppress(V2GError):  # reported in the answer to the request
                answer = await self._charging.set_profile(station_id, evse_id, wanted, zone=zone)
                if answer.status != "Accepted":
                    self._refused[key] = wanted


class LimitCourse:
    """Looks at stations after events, and at those with limits that depend on the time once a minute."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._timed: set[str] = set()
        self._looked_ms = 0

    async def run(self) -> None:
        """Store limits, for ever."""
        with self._services.feed.subscribe(_TRIGGERS) as triggers:
            while True:
                events = await triggers.batch(_SETTLE_S, within_s=_EVERY_MS / 1000)
                await self.note({each.station_id for each in events if each.station_id is not None})

    async def note(self, stations: Collection[str]) -> None:
        """Store what limits transactions at some stations of this node, and at those that a minute has passed for."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        due = set(stations)
        if now_ms >= self._looked_ms + _EVERY_MS:
            self._looked_ms = now_ms
            due |= self._timed
        here = sorted(due & services.connections.connected_here())
        self._timed -= due
        if not here:
            return
        sites = await services.store.read(site_store.all_sites)
        phases = {(each.station_id, each.evse_id): len(each.phases) for site in sites for each in site.places}
        for at in range(0, len(here), _STEP):
            some = here[at : at + _STEP]
            self._timed.update(await services.store.run(charging.note_limits, some, phases, now_ms))
