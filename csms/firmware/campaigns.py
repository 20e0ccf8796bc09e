"""Firmware campaigns: many stations, in cohorts, halted when too many fail (decided in the domain)."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from csms.firmware import rules
from csms.firmware import store as campaigns
from csms.firmware import work as firmware
from csms.firmware.store import Campaign
from csms.grid.source import GridSource
from csms.requests import store as requests
from csms.requests.work import deliver
from csms.reservations import store as reservations
from csms.services import Services
from csms.sites import store as site_store
from csms.stations.last_seen import LastSeen
from csms.transactions import store as transactions
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.firmware import UpdateFirmwareResponse
from v2g.ota.window import offset_of, parse_window


async def create(services: Services, name: str, plan: rules.CampaignPlan, station_ids: Iterable[str]) -> Campaign:
    """Begin a campaign. Raises ConfigError for invalid cohorts, RefusedError for no stations or bad firmware."""
    rules.check(plan)
    for image in (plan.image, plan.rollback):
        if image is not None:
            rules.check_image(image, services.clock.utc_ms())
    chosen = sorted(set(station_ids))
    if not chosen:
        raise RefusedError("a campaign without stations", reason="no_stations")
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        number = campaigns.create(connection, name, plan, now_ms)
        campaigns.add_members(connection, number, rules.assign(chosen, plan, str(number)))
        return _found(connection, number)

    campaign = await services.store.run(work)
    _report(services, campaign, "Running", f"{len(chosen)} stations")
    return campaign


async def pause(services: Services, campaign_id: int) -> None:
    """Pause a running campaign: no further station begins until it is resumed. Raises RefusedError for others."""
    await _turn(services, campaign_id, "Paused", "by an operator", only=("Running",))


async def roll_back(services: Services, campaign_id: int) -> None:
    """Take the stations with the new image back to the old one. Raises RefusedError without an image for that."""
    await _turn(
        services, campaign_id, "RollingBack", "by an operator", only=("Running", "Paused", "Halted", "Finished")
    )


async def cancel(services: Services, campaign_id: int) -> None:
    """Cancel a campaign: no further station begins, also of those that are offline; present attempts finish. Raises
    RefusedError when it is cancelled already."""
    only: tuple[rules.CampaignState, ...] = ("Running", "Paused", "RollingBack", "Halted", "Finished")
    await _turn(services, campaign_id, "Cancelled", "by an operator", only=only)


async def _turn(
    services: Services,
    campaign_id: int,
    state: rules.CampaignState,
    reason: str,
    *,
    only: tuple[rules.CampaignState, ...],
) -> None:
    """Change the state of a campaign in one of some states."""
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        campaign = _found(connection, campaign_id)
        if campaign.state not in only:
            raise RefusedError(f"campaign {campaign_id} is {campaign.state}", reason="campaign_state")
        if state == "RollingBack" and campaign.plan.rollback is None:
            raise RefusedError(f"campaign {campaign_id} has no image to go back to", reason="no_rollback")
        _change_state(connection, campaign, state, reason, now_ms)
        return campaign

    _report(services, await services.store.run(work), state, reason)


def _change_state(
    connection: Connection, campaign: Campaign, state: rules.CampaignState, reason: str, now_ms: int
) -> None:
    """Change the state of a campaign. Raises RefusedError if another node did at the same time."""
    number = campaign.campaign_id
    if not campaigns.save_state(connection, number, state, reason, now_ms, before=campaign.state):
        raise RefusedError(f"campaign {number} is no longer {campaign.state}", reason="campaign_state")


async def resume(services: Services, campaign_id: int) -> None:
    """Resume a campaign that is paused, or one that has halted or finished: then the stations that failed, went back or
    did not connect in time are tried again. Raises RefusedError for others."""
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        campaign = _found(connection, campaign_id)
        if campaign.state not in ("Paused", "Halted", "Finished"):
            raise RefusedError(f"campaign {campaign_id} is {campaign.state}", reason="campaign_state")
        _change_state(connection, campaign, "Running", "", now_ms)
        if campaign.state != "Paused":
            for member in campaigns.members(connection, campaign_id):
                if member.failed or member.state == "Absent":
                    again = rules.Member(station_id=member.station_id, cohort=member.cohort)
                    campaigns.save_member(connection, campaign_id, again)
        return campaign

    _report(services, await services.store.run(work), "Running", "resumed")


async def exclude(services: Services, campaign_id: int, station_ids: Iterable[str]) -> None:
    """Leave out stations that have not begun. Raises RefusedError if one has, or does not belong to the campaign."""
    await _change(services, campaign_id, station_ids, {"state": "Excluded"})


async def force(services: Services, campaign_id: int, station_ids: Iterable[str]) -> None:
    """Update stations now: before their cohort, beyond the limit a day, outside the window, also those that have
    scheduled it for later. They themselves still wait for the end of a session. Raises RefusedError for others."""
    await _change(services, campaign_id, station_ids, {"forced": True, "not_before_ms": 0}, scheduled=True)


async def _change(
    services: Services,
    campaign_id: int,
    station_ids: Iterable[str],
    values: dict[str, object],
    *,
    scheduled: bool = False,
) -> None:
    chosen = sorted(set(station_ids))

    def work(connection: Connection) -> None:
        if _found(connection, campaign_id).state == "Cancelled":
            raise RefusedError(f"campaign {campaign_id} is Cancelled", reason="campaign_state")
        for station_id in chosen:
            if scheduled:
                campaigns.take_from_schedule(connection, campaign_id, station_id)
            if not campaigns.change_waiting(connection, campaign_id, station_id, values):
                raise RefusedError(f"{station_id} does not wait in campaign {campaign_id}", reason="not_waiting")

    await services.store.run(work)


async def advance(services: Services) -> None:
    """Advance every campaign that is not over, or has stations that were offline."""
    known = await services.store.read(campaigns.unsettled)
    if not known:
        return
    now_ms = services.clock.utc_ms()
    until_ms = max((each.emergency_until_ms for each in await services[GridSource].stated()), default=0)
    emergency = until_ms > now_ms
    default = services.config.ocpp.time_zone or "UTC"
    for campaign in known:
        scene = _Scene(services.connections.connected(), services[LastSeen].since_ms, now_ms, emergency, default)
        found, changed = await services.store.read(_decide, campaign, scene)
        turned = False
        if (found.state, found.reason) != (campaign.state, campaign.reason) or changed:
            turned = await services.store.run(_note, campaign, found, changed, now_ms)
        if turned:
            _report(services, campaign, found.state, found.reason)
        await asyncio.gather(*(_attempt(services, campaign, station_id) for station_id in found.start))
        if emergency:
            # ask stations that have scheduled the installation to do it after an emergency of the grid,
            # in their window
            for member in await services.store.read(campaigns.members, campaign.campaign_id):
                if rules.postponable(member, until_ms):
                    taken = await services.store.run(
                        _take_again, campaign, member.station_id, until_ms, default, services.clock.utc_ms()
                    )
                    if taken is not None:
                        await _send(services, member.station_id, *taken)


def _take_again(
    connection: Connection, campaign: Campaign, station_id: str, until_ms: int, zone: str, now_ms: int
) -> tuple[int, Message] | None:
    """Claim a member to be asked again, unless another node was faster or it has begun; return the request."""
    member = next(
        (each for each in campaigns.members(connection, campaign.campaign_id) if each.station_id == station_id), None
    )
    if member is None or not rules.postponable(member, until_ms):
        return None
    plan, install_ms = campaign.plan, max(until_ms, campaign.plan.install_after_ms or 0)
    if plan.window is not None:
        there = _zones(connection).get(station_id, zone)
        install_ms = parse_window(plan.window).next_open(install_ms, offset_of(zone_of(there)))
    make = firmware.update_request(plan.image, now_ms, install_ms)
    request_id, request = requests.open_request(connection, station_id, make, now_ms)
    campaigns.save_member(connection, campaign.campaign_id, rules.postpone(member, request_id, until_ms, now_ms))
    return request_id, request


class _Scene(NamedTuple):
    """What a node knows beside the database: stations that are connected, since when it is there itself, the time,
    whether there is an emergency of the grid, and the time zone of stations without a site."""

    connected: frozenset[str]
    since_ms: int
    now_ms: int
    emergency: bool
    zone: str


def _decide(
    connection: Connection, campaign: Campaign, scene: _Scene
) -> tuple[rules.CampaignStep, list[tuple[rules.Member, int]]]:
    """Return the next step, and the members that have changed, with the time of their last change.

    Read-only, beside the writer, since there are many members.
    """
    plan, now_ms = campaign.plan, scene.now_ms
    back = campaign.state in ("RollingBack", "Halted")
    stored = campaigns.members(connection, campaign.campaign_id)
    seen = campaigns.health(
        connection, {each.station_id: each.installed_ms for each in stored if each.state == "Watched"}
    )
    offline = {each.station_id for each in stored if each.state == "Waiting"} - scene.connected
    last_seen = campaigns.last_seen(connection, offline)
    newer = campaigns.updated_later(connection, campaign.campaign_id)
    members, changed, absent = [], [], set()
    for member in stored:
        later = rules.overdue(plan, member, now_ms)
        if (facts := seen.get(member.station_id)) is not None:
            away_ms = max(facts.heard_ms, scene.since_ms)
            heard_ms = now_ms if member.station_id in scene.connected else away_ms
            later = rules.judge(plan, later, facts._replace(heard_ms=heard_ms), now_ms)
        if member.station_id in offline:
            seen_ms = max(campaign.created_ms, last_seen.get(member.station_id, 0))
            later = rules.give_up(plan, later, seen_ms, now_ms)
            if now_ms >= max(seen_ms, scene.since_ms) + rules.ABSENT_AFTER_S * 1000:
                absent.add(member.station_id)
        if back or (later.state == "Failed" and plan.rollback is not None):
            later = rules.turn_back(later)
        if member.station_id in newer:
            later = rules.supersede(later)
        if later is not member:
            changed.append((later, member.updated_ms))
        members.append(later)
    held = _held(connection, plan.window, members, scene)
    free = scene.connected - campaigns.busy_elsewhere(connection, campaign.campaign_id)
    if back:
        found = rules.step_back(plan, members, free, now_ms, held=held, absent=absent, reason=campaign.reason)
    else:
        finished = campaign.state == "Finished"
        found = rules.step(plan, members, free, now_ms, held=held, absent=absent, finished=finished)
    if campaign.state == "Paused" and found.state == "Running":
        return rules.CampaignStep("Paused", campaign.reason), changed
    if found.state == {"Finished": "Running", "Halted": "RollingBack"}.get(campaign.state):  # one came back online
        found = found._replace(state=campaign.state, reason=campaign.reason)
    return found, changed


def _held(connection: Connection, hours: str | None, members: list[rules.Member], scene: _Scene) -> set[str]:
    """Return the stations that must not be disturbed now: an emergency, a session, a reservation, the time (R138).

    Those that go back to the old image do so at any time of the day.
    """
    names = {each.station_id for each in members}
    if scene.emergency:
        return names
    reserved = {
        each.station_id
        for each in reservations.list_reservations(connection, only_active=True)
        if each.expires_ms > scene.now_ms
    }
    held = reserved.union(transactions.stations_with_open(connection))
    if hours is not None:
        window = parse_window(hours)
        zones = _zones(connection)
        shut = {
            zone for zone in {scene.zone, *zones.values()} if not window.is_open(scene.now_ms, offset_of(zone_of(zone)))
        }
        new = [each.station_id for each in members if not each.back]
        held |= {name for name in new if zones.get(name, scene.zone) in shut}
    return held


def _zones(connection: Connection) -> dict[str, str]:
    """Return the time zones of stations whose site has one."""
    sites = site_store.all_sites(connection)
    return {place.station_id: site.known_zone for site in sites if site.known_zone for place in site.places}


def _note(
    connection: Connection,
    campaign: Campaign,
    found: rules.CampaignStep,
    changed: list[tuple[rules.Member, int]],
    now_ms: int,
) -> bool:
    """Store what was decided; return whether that changed the campaign's state."""
    for member, seen_ms in changed:
        campaigns.save_member(connection, campaign.campaign_id, member, seen_ms)
    number, before = campaign.campaign_id, campaign.state
    saved = campaigns.save_state(connection, number, found.state, found.reason, now_ms, before=before)
    return saved and found.state != before


async def _attempt(services: Services, campaign: Campaign, station_id: str) -> None:
    """Send one station its request, and store the answer."""
    taken = await services.store.run(_take, campaign, station_id, services.clock.utc_ms())
    if taken is not None:
        await _send(services, station_id, *taken)


async def _send(services: Services, station_id: str, request_id: int, request: Message) -> None:
    """Send a stored request for an update, and store the answer."""
    try:
        response = await deliver(
            services, station_id, request_id, request, UpdateFirmwareResponse, firmware.UPDATE_FOLLOWS
        )
        word: str = response.status
    except RefusedError:
        word = "Unreached"
    except OcppError:
        word = "Rejected"
    except V2GError:
        word = "Unanswered"  # notifications, or their absence, show whether the station acts
    await services.store.run(_answered, station_id, request_id, word, services.clock.utc_ms())


def _take(connection: Connection, campaign: Campaign, station_id: str, now_ms: int) -> tuple[int, Message] | None:
    """Claim a waiting member for an attempt, unless another node was faster, or the campaign has turned; return the
    request."""
    if _found(connection, campaign.campaign_id).state != campaign.state:
        return None
    member = campaigns.take(connection, campaign.campaign_id, station_id)
    if member is None:
        return None
    plan = campaign.plan
    image = plan.rollback if member.back and plan.rollback is not None else plan.image
    make = firmware.update_request(image, now_ms, now_ms if member.forced or member.back else plan.install_after_ms)
    request_id, request = requests.open_request(connection, station_id, make, now_ms)
    campaigns.save_member(connection, campaign.campaign_id, rules.begin(member, request_id, now_ms))
    return request_id, request


def _answered(connection: Connection, station_id: str, request_id: int, word: str, now_ms: int) -> None:
    found = campaigns.find_attempt(connection, station_id, request_id)
    if found is None or found[1].status:  # a notification came first, and is more specific
        return
    campaign, member = found
    after = (
        rules.unreached(campaign.plan, member, now_ms)
        if word == "Unreached"
        else rules.hear(campaign.plan, member, word, now_ms)
    )
    campaigns.save_member(connection, campaign.campaign_id, after)


def _found(connection: Connection, campaign_id: int) -> Campaign:
    campaign = campaigns.find(connection, campaign_id)
    if campaign is None:
        raise RefusedError(f"no campaign {campaign_id}", reason="unknown_campaign")
    return campaign


def _report(services: Services, campaign: Campaign, state: rules.CampaignState, reason: str) -> None:
    services.feed.publish("campaign", None, {"campaign": campaign.campaign_id, "state": state, "reason": reason})
    services.observe(Observe("ocpp", "campaign", {"campaign": campaign.campaign_id, "state": state, "reason": reason}))
