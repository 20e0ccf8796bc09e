"""Firmware: of single stations, and campaigns over many that halt when too many fail (block L)."""

from typing import Annotated

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.firmware import campaigns
from csms.firmware import store as rows
from csms.firmware import work as firmware
from csms.firmware.rules import CampaignPlan, CampaignState, Image, Member
from csms.firmware.store import Campaign
from csms.http.call import Call
from csms.http.operations import Page, Reply, get, post, to_station
from csms.http.parameters import Number, Paged, RowNumber, StationId, page_of
from csms.http.problems import existing, missing
from csms.requests.work import Asked
from v2g.ocpp.messages.firmware import PublishFirmwareResponse, UnpublishFirmwareResponse, UpdateFirmwareResponse
from v2g.units import UtcMs

Checksum = Annotated[str, msgspec.Meta(min_length=1, max_length=32, examples=["9e107d9d372bb6826bd81d3542a419d6"])]


class NewUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Firmware for a station: when to fetch it (null: now) and when it may be installed (null: as soon as possible)."""

    image: Image
    retrieve_ms: UtcMs | None = None
    install_ms: UtcMs | None = None
    retries: Number | None = None
    retry_interval_s: Number | None = None


class NewPublication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image that a local controller offers to its stations; `checksum` is MD5 in hex."""

    location: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    checksum: Checksum
    retries: Number | None = None
    retry_interval_s: Number | None = None


class Unpublication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The image that a local controller no longer offers."""

    checksum: Checksum


class NewCampaign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign: its name, its plan, and its stations."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    plan: CampaignPlan
    station_ids: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=48)], ...], msgspec.Meta(max_length=100_000)]


class CampaignWithMembers(Campaign, frozen=True, kw_only=True):
    """A campaign, and the progress of each of its stations."""

    members: tuple[Member, ...]


class WhichCampaigns(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for campaigns."""

    state: CampaignState | None = None


class SomeStations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stations of a campaign."""

    station_ids: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=48)], ...], msgspec.Meta(min_length=1, max_length=10_000)
    ]


_IMAGE = {"location": "https://files.example/firmware-1.4.bin"}


@to_station("POST", "/firmware", Permission.WRITE_MAINTENANCE, example={"image": _IMAGE})
async def update_firmware(call: Call, station_id: StationId, body: NewUpdate) -> Asked[UpdateFirmwareResponse]:
    """Have a station download and install firmware (L01, L02)."""
    return await firmware.update(call.services, station_id, **asdict(body))


@to_station(
    "POST",
    "/firmware/publish",
    Permission.WRITE_MAINTENANCE,
    example={**_IMAGE, "checksum": "9e107d9d372bb6826bd81d3542a419d6"},
)
async def publish_firmware(call: Call, station_id: StationId, body: NewPublication) -> Asked[PublishFirmwareResponse]:
    """Have a local controller publish an image to its stations (L03)."""
    return await firmware.publish(call.services, station_id, **asdict(body))


@to_station(
    "POST",
    "/firmware/unpublish",
    Permission.WRITE_MAINTENANCE,
    example={"checksum": "9e107d9d372bb6826bd81d3542a419d6"},
)
async def unpublish_firmware(call: Call, station_id: StationId, body: Unpublication) -> UnpublishFirmwareResponse:
    """Have a local controller unpublish an image (L04)."""
    return await firmware.unpublish(call.services, station_id, body.checksum)


@get("/campaigns", Permission.READ_MAINTENANCE, for_sites=True)
async def list_campaigns(call: Call, parameters: WhichCampaigns) -> Page[Campaign]:
    """List campaigns, newest first; for a role limited to sites those of stations there."""
    found = await call.run(rows.list_campaigns, parameters.state, call.stations)
    return page_of(call, found, parameters, lambda each: -each.campaign_id)


@get("/campaigns/{campaign_id}", Permission.READ_MAINTENANCE, problems=(404,), for_sites=True)
async def read_campaign(call: Call, campaign_id: RowNumber) -> CampaignWithMembers:
    """Return a campaign and the progress of each of its stations; of those that the caller's role extends to."""
    found = await call.run(_read, campaign_id)
    if call.stations is None:
        return found
    members = tuple(each for each in found.members if each.station_id in call.stations)
    if not members:
        raise missing("campaign")
    return msgspec.structs.replace(found, members=members)


@post(
    "/campaigns",
    Permission.WRITE_MAINTENANCE,
    status=201,
    example={"name": "1.4", "plan": {"image": _IMAGE}, "station_ids": ["CS-V2G-0001"]},
)
async def make_campaign(call: Call, body: NewCampaign) -> Reply[Campaign]:
    """Begin a campaign."""
    made = await campaigns.create(call.services, body.name, body.plan, body.station_ids)
    return Reply(content=made, status=201, headers={"Location": f"/campaigns/{made.campaign_id}"})


@post("/campaigns/{campaign_id}/resume", Permission.WRITE_MAINTENANCE, problems=(404,))
async def resume_campaign(call: Call, campaign_id: RowNumber) -> CampaignWithMembers:
    """Resume a campaign that is paused or halted: stations that failed or went back are tried again."""
    await campaigns.resume(call.services, campaign_id)
    return await call.run(_read, campaign_id)


@post("/campaigns/{campaign_id}/pause", Permission.WRITE_MAINTENANCE, problems=(404,))
async def pause_campaign(call: Call, campaign_id: RowNumber) -> CampaignWithMembers:
    """Pause a running campaign: no further station begins until it is resumed."""
    await campaigns.pause(call.services, campaign_id)
    return await call.run(_read, campaign_id)


@post("/campaigns/{campaign_id}/rollback", Permission.WRITE_MAINTENANCE, problems=(404,))
async def roll_back_campaign(call: Call, campaign_id: RowNumber) -> CampaignWithMembers:
    """Take the stations with the new image back to the `rollback` image of the plan."""
    await campaigns.roll_back(call.services, campaign_id)
    return await call.run(_read, campaign_id)


@post(
    "/campaigns/{campaign_id}/exclude",
    Permission.WRITE_MAINTENANCE,
    problems=(404,),
    example={"station_ids": ["CS-V2G-0001"]},
)
async def exclude_from_campaign(call: Call, campaign_id: RowNumber, body: SomeStations) -> CampaignWithMembers:
    """Leave out stations that have not begun."""
    await campaigns.exclude(call.services, campaign_id, body.station_ids)
    return await call.run(_read, campaign_id)


@post(
    "/campaigns/{campaign_id}/force",
    Permission.WRITE_MAINTENANCE,
    problems=(404,),
    example={"station_ids": ["CS-V2G-0001"]},
)
async def force_in_campaign(call: Call, campaign_id: RowNumber, body: SomeStations) -> CampaignWithMembers:
    """Update stations that wait now: before their cohort, beyond the limit a day, outside the window."""
    await campaigns.force(call.services, campaign_id, body.station_ids)
    return await call.run(_read, campaign_id)


@post("/campaigns/{campaign_id}/cancel", Permission.WRITE_MAINTENANCE, problems=(404,), lasting=True)
async def cancel_campaign(call: Call, campaign_id: RowNumber) -> CampaignWithMembers:
    """Cancel a campaign: no further station begins."""
    await campaigns.cancel(call.services, campaign_id)
    return await call.run(_read, campaign_id)


def _read(connection: Connection, campaign_id: int) -> CampaignWithMembers:
    found = existing("campaign", rows.find(connection, campaign_id))
    return CampaignWithMembers(**asdict(found), members=tuple(rows.members(connection, campaign_id)))
