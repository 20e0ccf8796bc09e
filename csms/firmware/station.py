"""Functional block L: progress of updates and publications of firmware."""

from typing import Final

from sqlalchemy import Connection

from csms.firmware import store as campaigns
from csms.firmware.rules import Member, hear
from csms.ocpp.base import HandlerContext, small
from csms.ocpp.handlers import answers
from csms.requests import store as requests
from v2g.ocpp.messages.firmware import (
    FirmwareStatusNotificationRequest,
    FirmwareStatusNotificationResponse,
    PublishFirmwareStatusNotificationRequest,
    PublishFirmwareStatusNotificationResponse,
)

_UPDATED: Final = frozenset(
    {"Installed", "DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"}
)
_PUBLISHED: Final = frozenset({"Published", "DownloadFailed", "InvalidChecksum", "PublishFailed"})


@answers
async def answer_firmware_status(
    context: HandlerContext, request: FirmwareStatusNotificationRequest
) -> FirmwareStatusNotificationResponse:
    """Store the progress of an update, for its request and its campaign (L01.FR.25)."""
    if request.request_id is not None:
        number, now_ms = small(request.request_id), context.services.clock.utc_ms()
        await context.services.store.run(_note, context.station_id, number, request.status, now_ms)
    context.observe("ocpp", "firmware_status", request_id=request.request_id, status=request.status)
    return FirmwareStatusNotificationResponse()


def _note(connection: Connection, station_id: str, request_id: int, status: str, now_ms: int) -> Member | None:
    requests.save_progress(
        connection, station_id, "UpdateFirmware", request_id, status, now_ms, done=status in _UPDATED
    )
    found = campaigns.find_attempt(connection, station_id, request_id)
    if found is None:
        return None
    campaign, member = found
    after = hear(campaign.plan, member, status, now_ms)
    if after is not member:
        campaigns.save_member(connection, campaign.campaign_id, after)
    return after


@answers
async def answer_publish_status(
    context: HandlerContext, request: PublishFirmwareStatusNotificationRequest
) -> PublishFirmwareStatusNotificationResponse:
    """Store the progress of a publication, and finally its URLs (L03)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    if request.request_id is not None:
        number, done = small(request.request_id), request.status in _PUBLISHED
        await run(
            requests.save_progress, context.station_id, "PublishFirmware", number, request.status, now_ms, done=done
        )
    context.observe(
        "ocpp",
        "publish_firmware_status",
        request_id=request.request_id,
        status=request.status,
        location=" ".join(request.location),
    )
    return PublishFirmwareStatusNotificationResponse()
