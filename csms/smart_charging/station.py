"""Functional block K: needs and plans of vehicles, and stations' reports of limits and profiles."""

import msgspec

from csms.grid.source import GridSource
from csms.handlers import answers, small
from csms.prequalifications.work import ExportPermits
from csms.requests import store as requests
from csms.services import HandlerContext
from csms.sites import store as site_store
from csms.sites.rules import external_limit_w
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import exceeds
from csms.smart_charging.rules import Needs, answer_needs, needs_of
from csms.stations import work as station_records
from csms.tariffs import vehicle_prices
from csms.tokens import store as tokens
from csms.tokens.rules import CONTRACT, normalise
from csms.transactions import store as transactions
from csms.transactions.events import find_last
from csms.transactions.rules import Transaction
from v2g.ocpp.messages import ev_charging
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.times import parse_time


@answers
async def answer_charging_needs(
    context: HandlerContext, request: ev_charging.NotifyEVChargingNeedsRequest
) -> ev_charging.NotifyEVChargingNeedsResponse:
    """Answer whether a profile will follow; it is sent after this answer (K15, K19, Q01)."""
    small(request.evse_id)
    needs = needs_of(request)
    newest = await _newest(context, needs.evse_id)
    allowed: tuple[str, ...] = ()
    if newest is not None and newest.id_token is not None:
        token_type = newest.token_type.value if newest.token_type else CONTRACT
        known = await context.services.store.read(tokens.find, token_type, normalise(token_type, newest.id_token.value))
        allowed = known.energy_transfer if known is not None else ()
    plans = (
        context.services[GridSource].current is not None
        or (needs.bidirectional and context.services[ExportPermits].concerns(context.station_id))
        or await _is_balanced(context, needs.evse_id)
        or (
            needs.bounded
            and await vehicle_prices.are_there(context.services, context.station_id, newest, needs.evse_id)
        )
    )  # a profile with only prices must have the vehicle's maximum (K15.FR.07)
    status = answer_needs(needs, allowed, has_signal=plans, version=context.version)
    if status != "Rejected" and newest is not None:
        await take_needs(context, newest.transaction_id, needs)
    elif status != "Rejected":
        context.early_needs[needs.evse_id] = needs  # its transaction's start may still be queued
        status = "Processing" if status == "Accepted" else status
    refusal = (
        context.services[ExportPermits].of(context.station_id, needs.evse_id).reason if needs.bidirectional else ""
    )
    info = StatusInfo(reason_code="NotPrequalified", additional_info=refusal) if refusal else None
    data = {"refusal": refusal} if refusal else {}
    context.observe("ocpp", "charging_needs", evse=needs.evse_id, requested=needs.requested, status=status, **data)
    return ev_charging.NotifyEVChargingNeedsResponse(status=status, status_info=info)  # type: ignore[arg-type]  # core.profiles speaks OCPP


async def take_needs(context: HandlerContext, transaction_id: str, needs: Needs) -> None:
    """Store a vehicle's needs, and have its profile sent."""
    known = await context.services.store.run(transactions.save_needs, context.station_id, transaction_id, needs)
    context.on_needs(transaction_id, known)


@answers
async def answer_ev_schedule(
    context: HandlerContext, request: ev_charging.NotifyEVChargingScheduleRequest
) -> ev_charging.NotifyEVChargingScheduleResponse:
    """Compare a vehicle's plan with its profiles; if it exceeds them, send the profile again (K15.FR.11 to 13)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    evse_id, base_ms = small(request.evse_id), parse_time(request.time_base)
    newest = await _newest(context, evse_id)
    held = await run(charging.profiles, context.station_id)
    ours = [(at_evse, profile) for at_evse, source, profile in held if source == charging.CSO]  # K15.FR.11
    bounds = [profile for at_evse, profile in ours if _concerns(profile, at_evse, newest, evse_id)]
    started_ms = newest.started_ms if newest is not None and newest.started_ms is not None else base_ms
    within = not exceeds(request.charging_schedule, base_ms, bounds, started_ms)
    document = msgspec.json.encode(request)
    await run(charging.save_ev_schedule, context.station_id, evse_id, document, now_ms, within_limits=within)
    context.observe("ocpp", "ev_schedule", evse=evse_id, within_limits=within)
    if within:
        return ev_charging.NotifyEVChargingScheduleResponse(status="Accepted")
    if newest is not None:  # K15.FR.13, K16: the profile is sent again, which makes the station renegotiate
        needs_of = dict(await run(transactions.with_needs, context.station_id))
        if newest.transaction_id in needs_of:
            context.on_needs(newest.transaction_id, needs_of[newest.transaction_id])
    info = StatusInfo(reason_code="InvalidSchedule", additional_info="the plan exceeds the charging profile")
    return ev_charging.NotifyEVChargingScheduleResponse(status="Rejected", status_info=info)


@answers
async def answer_charging_limit(
    context: HandlerContext, request: ocpp.NotifyChargingLimitRequest
) -> ocpp.NotifyChargingLimitResponse:
    """Store an external limit (K12)."""
    evse_id, now_ms = small(request.evse_id or 0), context.services.clock.utc_ms()
    external_limit_w(request, now_ms, now_ms)  # rejects an invalid schedule
    await context.services.store.run(charging.save_limit, context.station_id, request, now_ms)
    limit = request.charging_limit
    context.observe(
        "ocpp",
        "charging_limit",
        evse=evse_id,
        source=limit.charging_limit_source,
        critical=bool(limit.is_grid_critical),
    )
    return ocpp.NotifyChargingLimitResponse()


@answers
async def answer_cleared_limit(
    context: HandlerContext, request: ocpp.ClearedChargingLimitRequest
) -> ocpp.ClearedChargingLimitResponse:
    """Delete an external limit (K13)."""
    evse_id, source = small(request.evse_id or 0), request.charging_limit_source
    about = context.station_id, evse_id, source, context.services.clock.utc_ms()
    known = await context.services.store.run(charging.clear_limit, *about)
    context.observe("ocpp", "charging_limit_cleared", evse=evse_id, source=source, known=known)
    return ocpp.ClearedChargingLimitResponse()


@answers
async def answer_profile_report(
    context: HandlerContext, request: ocpp.ReportChargingProfilesRequest
) -> ocpp.ReportChargingProfilesResponse:
    """Store the profiles that a station reported (K09)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    request_id, evse_id = small(request.request_id), small(request.evse_id)
    source, held = request.charging_limit_source, request.charging_profile
    for profile in held:
        small(profile.id)
        small(profile.stack_level)
    await run(charging.save_reported, context.station_id, evse_id, source, held, now_ms)
    part = await run(requests.count_parts, request_id)
    document = msgspec.json.encode(request).decode()
    about = (context.station_id, "GetChargingProfiles", request_id, part, document, now_ms)
    await run(requests.save_part, *about, last=not request.tbc)
    context.observe("ocpp", "profile_report", request=request_id, evse=evse_id, profiles=len(held), tbc=request.tbc)
    if not request.tbc:
        await station_records.drop_unreported_profiles(context.services, context.station_id, request_id)
    return ocpp.ReportChargingProfilesResponse()


@answers
async def answer_pull(
    context: HandlerContext, request: ocpp.PullDynamicScheduleUpdateRequest
) -> ocpp.PullDynamicScheduleUpdateResponse:
    """Answer with the present values of a dynamic profile (K28.FR.07, FR.12)."""
    values = await context.services.store.read(charging.dynamic, context.station_id, small(request.charging_profile_id))
    if values is None:
        info = StatusInfo(reason_code="InvalidProfile")
        return ocpp.PullDynamicScheduleUpdateResponse(status="Rejected", status_info=info)
    return ocpp.PullDynamicScheduleUpdateResponse(status="Accepted", schedule_update=values)


@answers
async def answer_priority(
    context: HandlerContext, request: ocpp.NotifyPriorityChargingRequest
) -> ocpp.NotifyPriorityChargingResponse:
    """Store the priority of a transaction (K21.FR.09, K22.FR.06)."""
    priority = 1 if request.activated else 0
    run, transaction_id = (
        context.services.store.run,
        await context.services.store.read(find_last, context.station_id, request.transaction_id),
    )
    known = await run(transactions.save_priority, context.station_id, transaction_id, priority)
    context.observe("ocpp", "priority_charging", transaction=transaction_id, activated=request.activated, known=known)
    return ocpp.NotifyPriorityChargingResponse()


async def _newest(context: HandlerContext, evse_id: int) -> Transaction | None:
    """Return the newest open transaction at an EVSE."""
    running = await context.services.store.read(transactions.active, context.station_id)
    here = [each for each in running if each.evse_id == evse_id]
    return max(here, key=lambda each: each.started_ms or 0, default=None)


async def _is_balanced(context: HandlerContext, evse_id: int) -> bool:
    """Return whether an EVSE belongs to a site, whose balancing will send a profile."""
    here = (context.station_id, evse_id)
    sites = await context.services.store.read(site_store.all_sites)
    return any((place.station_id, place.evse_id) == here for site in sites for place in site.places)


def _concerns(profile: ChargingProfile, at_evse: int, newest: Transaction | None, evse_id: int) -> bool:
    """Return whether a profile applies to the vehicle at an EVSE: its transaction's, or one of the EVSE or station."""
    if profile.transaction_id is not None:
        return newest is not None and profile.transaction_id == newest.transaction_id
    return at_evse in (0, evse_id)
