"""Smart charging: profiles at stations, external limits, templates, dynamic values, priority (block K)."""

from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, delete, get, put, to_station
from csms.http.parameters import Number, Paged, StationId, page_of
from csms.http.problems import existing
from csms.requests.work import Asked
from csms.smart_charging import store as rows
from csms.smart_charging.charging_plans import ProfileTemplate
from csms.smart_charging.rules import check_operators_id
from csms.smart_charging.work import SmartCharging
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingProfilePurpose, ChargingRateUnit
from v2g.units import UtcMs

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class HeldProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that a station holds; `source` is its origin."""

    evse_id: int
    source: str
    profile: ChargingProfile


class NewProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile for an EVSE; 0 is the whole station."""

    evse_id: Number
    profile: ChargingProfile


class OtherLimit(msgspec.Struct, frozen=True, kw_only=True):
    """An external limit on a station (K12)."""

    evse_id: int
    at_ms: int
    limit: ocpp.NotifyChargingLimitRequest


class VehiclePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of the vehicle at an EVSE (K15); `document` is its ChargingScheduleType."""

    station_id: str
    evse_id: int
    at_ms: int
    within_limits: bool
    document: Any


class UseTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template to be applied to an EVSE: its start and transaction."""

    template: Name
    evse_id: Number
    profile_id: Number
    start_ms: UtcMs | None = None
    transaction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class WantedReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Criteria of the profiles that a station reports."""

    criterion: ocpp.ChargingProfileCriterion = ocpp.ChargingProfileCriterion()
    evse_id: Number | None = None


class Priority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a transaction charges with priority."""

    transaction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    activate: bool


class WhichProfiles(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for profiles."""

    station_id: StationId
    evse_id: Annotated[Number | None, msgspec.Meta(description="Only of this EVSE.")] = None


class WhichToClear(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile id, or criteria."""

    station_id: StationId
    profile_id: Number | None = None
    evse_id: Number | None = None
    purpose: ChargingProfilePurpose | None = None
    stack_level: Number | None = None


class WhichComposite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The EVSE (0: the station), the duration, and the unit."""

    station_id: StationId
    evse_id: Number = 0
    duration_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 86_400
    unit: ChargingRateUnit | None = None


@get("/stations/{station_id}/charging-profiles", Permission.READ_ENERGY)
async def list_charging_profiles(call: Call, parameters: WhichProfiles) -> Page[HeldProfile]:
    """List the profiles of a station that were set here or reported."""
    found = await call.run(rows.profiles, parameters.station_id, parameters.evse_id)
    held = [HeldProfile(evse_id=evse_id, source=source, profile=profile) for evse_id, source, profile in found]
    return page_of(call, held, parameters, lambda each: each.profile.id)


@to_station("POST", "/charging-profiles", Permission.WRITE_ENERGY)
async def set_charging_profile(call: Call, station_id: StationId, body: NewProfile) -> ocpp.SetChargingProfileResponse:
    """Set a profile (K01), with another id and stack level than those of the back end's own profiles."""
    return await SmartCharging(call.services).set_operators(station_id, body.evse_id, body.profile)


@to_station("DELETE", "/charging-profiles", Permission.WRITE_ENERGY, status=200)
async def clear_charging_profiles(call: Call, parameters: WhichToClear) -> ocpp.ClearChargingProfileResponse:
    """Clear one profile, or those that meet all criteria (K10)."""
    return await SmartCharging(call.services).clear(**asdict(parameters))


@to_station("POST", "/charging-profiles/report", Permission.WRITE_ENERGY, example={})
async def report_charging_profiles(
    call: Call, station_id: StationId, body: WantedReport
) -> Asked[ocpp.GetChargingProfilesResponse]:
    """Have a station report the profiles that it holds (K09)."""
    return await SmartCharging(call.services).get_profiles(station_id, body.criterion, body.evse_id)


@to_station("GET", "/composite-schedule", Permission.READ_ENERGY)
async def read_composite_schedule(call: Call, parameters: WhichComposite) -> ocpp.GetCompositeScheduleResponse:
    """Get the composite schedule of a station (K08)."""
    return await SmartCharging(call.services).composite(**asdict(parameters))


@to_station("PUT", "/charging-profiles/{profile_id}/schedule", Permission.WRITE_ENERGY)
async def update_dynamic_schedule(
    call: Call, station_id: StationId, profile_id: Number, body: ocpp.ChargingScheduleUpdate
) -> ocpp.UpdateDynamicScheduleResponse:
    """Change the values of a dynamic profile (K28)."""
    check_operators_id(profile_id)
    return await SmartCharging(call.services).update_dynamic(station_id, profile_id, body)


@to_station("POST", "/priority-charging", Permission.WRITE_ENERGY)
async def use_priority_charging(call: Call, station_id: StationId, body: Priority) -> ocpp.UsePriorityChargingResponse:
    """Turn priority charging of a transaction on or off (K21)."""
    return await SmartCharging(call.services).use_priority(station_id, **asdict(body))


@get("/stations/{station_id}/charging-limits", Permission.READ_ENERGY)
async def list_charging_limits(call: Call, station_id: StationId) -> tuple[OtherLimit, ...]:
    """List the external limits on a station (K12)."""
    found = await call.run(rows.limits, station_id)
    return tuple(OtherLimit(evse_id=evse_id, at_ms=at_ms, limit=limit) for evse_id, at_ms, limit in found)


@get("/stations/{station_id}/evses/{evse_id}/vehicle-plan", Permission.READ_ENERGY, problems=(404,))
async def read_vehicle_plan(call: Call, station_id: StationId, evse_id: Number) -> VehiclePlan:
    """Return the plan of the vehicle at an EVSE (K15, K17)."""
    found = await call.run(rows.ev_schedule, station_id, evse_id)
    return VehiclePlan(**existing("charging plan at this EVSE", found))


@get("/profile-templates", Permission.READ_ENERGY, for_sites=True)
async def list_templates(call: Call, parameters: Paged) -> Page[ProfileTemplate]:
    """List templates of profiles, by name."""
    return page_of(call, await call.run(rows.templates), parameters, lambda each: each.name)


@put(
    "/profile-templates",
    Permission.WRITE_ENERGY,
    example={"name": "night", "purpose": "TxDefaultProfile", "periods": [{"start_s": 0, "limit": 7000}]},
)
async def put_template(call: Call, body: ProfileTemplate) -> ProfileTemplate:
    """Store a template, replacing one of the same name."""
    await call.change(
        lambda connection: rows.template(connection, body.name),
        lambda connection, _before: rows.save_template(connection, body, call.now_ms),
    )
    return body


@get("/profile-templates/{name}", Permission.READ_ENERGY, for_sites=True, problems=(404,))
async def read_template(call: Call, name: Name) -> ProfileTemplate:
    """Return one template."""
    return existing("template", await call.run(rows.template, name))


@delete("/profile-templates/{name}", Permission.WRITE_ENERGY, problems=(404,), conditional=True)
async def delete_template(call: Call, name: Name) -> None:
    """Delete a template."""
    await call.remove(
        "template",
        lambda connection: rows.template(connection, name),
        lambda connection, template: rows.remove_template(connection, template.name),
    )


@to_station("POST", "/charging-profiles/from-template", Permission.WRITE_ENERGY)
async def apply_template(call: Call, station_id: StationId, body: UseTemplate) -> ocpp.SetChargingProfileResponse:
    """Set a template as a profile."""
    return await SmartCharging(call.services).apply_template(
        body.template,
        station_id,
        body.evse_id,
        body.profile_id,
        start_ms=body.start_ms,
        transaction_id=body.transaction_id,
    )
