"""Functional block L: firmware of single stations, and images that local controllers publish, with their progress."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from csms.firmware import store as campaigns
from csms.firmware.rules import Image, Member, check_image, hear
from csms.handlers import answers, small
from csms.requests import store as requests
from csms.requests.work import Asked, ask, call
from csms.services import HandlerContext, Services
from v2g.ocpp.messages import firmware as ocpp
from v2g.ocpp.times import format_time

UPDATE_FOLLOWS: Final = ("Accepted", "AcceptedCanceled")
"""Answers that notifications of progress follow."""


async def update(
    services: Services,
    station_id: str,
    image: Image,
    *,
    retrieve_ms: int | None = None,
    install_ms: int | None = None,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Asked[ocpp.UpdateFirmwareResponse]:
    """Have firmware downloaded (now) and installed (L01, L02). Its progress is stored under the number returned.

    Raises RefusedError for an invalid image, V2GError as `ConnectionRegistry.call` does.
    """
    check_image(image, services.clock.utc_ms())
    make = update_request(
        image,
        services.clock.utc_ms() if retrieve_ms is None else retrieve_ms,
        install_ms,
        retries=retries,
        retry_interval_s=retry_interval_s,
    )
    return await ask(services, station_id, make, ocpp.UpdateFirmwareResponse, UPDATE_FOLLOWS)


def update_request(
    image: Image,
    retrieve_ms: int,
    install_ms: int | None,
    *,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Callable[[int], ocpp.UpdateFirmwareRequest]:
    """Return the function that builds the request from its number."""
    firmware = ocpp.Firmware(
        location=image.location,
        retrieve_date_time=format_time(retrieve_ms),
        install_date_time=None if install_ms is None else format_time(install_ms),
        signing_certificate=image.signing_certificate,  # L01.FR.11
        signature=image.signature,
    )
    return lambda number: ocpp.UpdateFirmwareRequest(
        retries=retries, retry_interval=retry_interval_s, request_id=number, firmware=firmware
    )


async def publish(
    services: Services,
    station_id: str,
    location: str,
    checksum: str,
    *,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Asked[ocpp.PublishFirmwareResponse]:
    """Have a local controller publish an image to its stations (L03); `checksum` is MD5 in hex."""
    return await ask(
        services,
        station_id,
        lambda number: ocpp.PublishFirmwareRequest(
            location=location, retries=retries, checksum=checksum, request_id=number, retry_interval=retry_interval_s
        ),
        ocpp.PublishFirmwareResponse,
        follows=("Accepted",),
    )


async def unpublish(services: Services, station_id: str, checksum: str) -> ocpp.UnpublishFirmwareResponse:
    """Have a local controller unpublish an image (L04)."""
    return await call(
        services, station_id, ocpp.UnpublishFirmwareRequest(checksum=checksum), ocpp.UnpublishFirmwareResponse
    )


_UPDATED: Final = frozenset(
    {"Installed", "DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"}
)
_PUBLISHED: Final = frozenset({"Published", "DownloadFailed", "InvalidChecksum", "PublishFailed"})


@answers
async def answer_firmware_status(
    context: HandlerContext, request: ocpp.FirmwareStatusNotificationRequest
) -> ocpp.FirmwareStatusNotificationResponse:
    """Store the progress of an update, for its request and its campaign (L01.FR.25)."""
    if request.request_id is not None or request.status != "Idle":
        number, now_ms = request.request_id and small(request.request_id), context.services.clock.utc_ms()
        await context.services.store.run(_note, context.station_id, number, request.status, now_ms)
    context.observe("ocpp", "firmware_status", request_id=request.request_id, status=request.status)
    return ocpp.FirmwareStatusNotificationResponse()


def _note(connection: Connection, station_id: str, number: int | None, status: str, now_ms: int) -> Member | None:
    done = status in _UPDATED
    noted = requests.save_progress(connection, station_id, "UpdateFirmware", number, status, now_ms, done=done)
    if (request_id := noted or number) is None:
        return None
    found = campaigns.find_attempt(connection, station_id, request_id)
    if found is None and status == "Installed":  # by an attempt that was given up: the station has the image
        found = campaigns.find_earlier_attempt(connection, station_id, request_id)
    if found is None:
        return None
    campaign, member = found
    after = hear(campaign.plan, member, status, now_ms)
    if after is not member:
        campaigns.save_member(connection, campaign.campaign_id, after)
    return after


@answers
async def answer_publish_status(
    context: HandlerContext, request: ocpp.PublishFirmwareStatusNotificationRequest
) -> ocpp.PublishFirmwareStatusNotificationResponse:
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
    return ocpp.PublishFirmwareStatusNotificationResponse()
