"""Firmware campaigns: many stations, in cohorts, halted when too many fail (decided in the domain)."""

import asyncio
from collections.abc import Iterable

from sqlalchemy import Connection

from csms.db.queries import campaigns, requests
from csms.db.queries.campaigns import Campaign
from csms.domain.stations.campaigns import (
    CampaignPlan,
    CampaignState,
    Member,
    Step,
    assign,
    begin,
    check,
    hear,
    overdue,
    step,
    unreached,
)
from csms.domain.stations.firmware import check_image
from csms.ocpp.base import Services
from csms.services.stations import firmware
from csms.services.stations.requests import deliver
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.firmware import UpdateFirmwareResponse


async def create(services: Services, name: str, plan: CampaignPlan, station_ids: Iterable[str]) -> Campaign:
    """Begin a campaign. Raises ConfigError for invalid cohorts, RefusedError for no stations or bad firmware."""
    check(plan)
    check_image(plan.image, services.clock.utc_ms())
    chosen = sorted(set(station_ids))
    if not chosen:
        raise RefusedError("a campaign without stations", reason="no_stations")
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        number = campaigns.create(connection, name, plan, now_ms)
        campaigns.add_members(connection, number, assign(chosen, plan, str(number)))
        return _found(connection, number)

    campaign = await services.store.run(work)
    _report(services, campaign, "Running", f"{len(chosen)} stations")
    return campaign


async def resume(services: Services, campaign_id: int, plan: CampaignPlan | None = None) -> None:
    """Resume a halted campaign: the stations that failed are tried again. Raises RefusedError for others."""
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        campaign = _found(connection, campaign_id)
        if campaign.state != "Halted":
            raise RefusedError(f"campaign {campaign_id} is {campaign.state}", reason="not_halted")
        for member in campaigns.members(connection, campaign_id):
            if member.state == "Failed":
                campaigns.save_member(
                    connection, campaign_id, Member(station_id=member.station_id, cohort=member.cohort)
                )
        campaigns.save_state(connection, campaign_id, "Running", "", now_ms)
        return campaign

    _report(services, await services.store.run(work), "Running", "resumed")


async def cancel(services: Services, campaign_id: int) -> None:
    """Cancel a campaign: no further station begins; present attempts finish. Raises RefusedError when it is over."""
    now_ms = services.clock.utc_ms()

    def work(connection: Connection) -> Campaign:
        campaign = _found(connection, campaign_id)
        if campaign.state not in ("Running", "Halted"):
            raise RefusedError(f"campaign {campaign_id} is {campaign.state}", reason="over")
        campaigns.save_state(connection, campaign_id, "Cancelled", "by an operator", now_ms)
        return campaign

    _report(services, await services.store.run(work), "Cancelled", "by an operator")


async def advance(services: Services) -> None:
    """Advance every running campaign."""
    for campaign in await services.store.read(campaigns.list_campaigns, "Running"):
        connected, now_ms = services.connections.connected(), services.clock.utc_ms()
        found, given_up = await services.store.read(_decide, campaign, connected, now_ms)
        if found.state != "Running" or given_up:
            await services.store.run(_note, campaign, found, given_up, now_ms)
        if found.state != "Running":
            _report(services, campaign, found.state, found.reason)
        await asyncio.gather(*(_attempt(services, campaign, station_id) for station_id in found.start))


def _decide(
    connection: Connection, campaign: Campaign, connected: frozenset[str], now_ms: int
) -> tuple[Step, list[tuple[Member, int]]]:
    """Return the next step, and the members whose attempt timed out, with the time of their last message.

    Read-only, beside the writer, since there are many members.
    """
    members, given_up = [], []
    for member in campaigns.members(connection, campaign.campaign_id):
        later = overdue(campaign.plan, member, now_ms)
        if later is not member:
            given_up.append((later, member.updated_ms))
        members.append(later)
    return step(campaign.plan, members, connected, now_ms), given_up


def _note(
    connection: Connection, campaign: Campaign, found: Step, given_up: list[tuple[Member, int]], now_ms: int
) -> None:
    for member, seen_ms in given_up:
        campaigns.save_member(connection, campaign.campaign_id, member, seen_ms)
    if found.state != "Running":
        campaigns.save_state(connection, campaign.campaign_id, found.state, found.reason, now_ms)


async def _attempt(services: Services, campaign: Campaign, station_id: str) -> None:
    """Send one station its request, and store the answer."""
    taken = await services.store.run(_take, campaign, station_id, services.clock.utc_ms())
    if taken is None:
        return
    request_id, request = taken
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
        return  # notifications, or their absence, show whether the station acts
    await services.store.run(_answered, station_id, request_id, word, services.clock.utc_ms())


def _take(connection: Connection, campaign: Campaign, station_id: str, now_ms: int) -> tuple[int, Message] | None:
    """Claim a waiting member for an attempt, unless another node was faster; return the request."""
    member = campaigns.take(connection, campaign.campaign_id, station_id)
    if member is None:
        return None
    make = firmware.update_request(campaign.plan.image, now_ms, campaign.plan.install_after_ms)
    request_id, request = requests.open_request(connection, station_id, make, now_ms)
    campaigns.save_member(connection, campaign.campaign_id, begin(member, request_id, now_ms))
    return request_id, request


def _answered(connection: Connection, station_id: str, request_id: int, word: str, now_ms: int) -> None:
    found = campaigns.find_attempt(connection, station_id, request_id)
    if found is None or found[1].status:  # a notification came first, and is more specific
        return
    campaign, member = found
    after = (
        unreached(campaign.plan, member, now_ms) if word == "Unreached" else hear(campaign.plan, member, word, now_ms)
    )
    campaigns.save_member(connection, campaign.campaign_id, after)


def _found(connection: Connection, campaign_id: int) -> Campaign:
    campaign = campaigns.find(connection, campaign_id)
    if campaign is None:
        raise RefusedError(f"no campaign {campaign_id}", reason="unknown_campaign")
    return campaign


def _report(services: Services, campaign: Campaign, state: CampaignState, reason: str) -> None:
    services.feed.publish("campaign", None, {"campaign": campaign.campaign_id, "state": state, "reason": reason})
    services.observe(Observe("ocpp", "campaign", {"campaign": campaign.campaign_id, "state": state, "reason": reason}))
