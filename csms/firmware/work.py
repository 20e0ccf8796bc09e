"""Functional block L: firmware of single stations, and images that local controllers publish."""

from collections.abc import Callable
from typing import Final

from csms.firmware.rules import Image, check_image
from csms.ocpp.base import Services
from csms.requests.work import Asked, ask, call
from v2g.ocpp.messages.firmware import (
    Firmware,
    PublishFirmwareRequest,
    PublishFirmwareResponse,
    UnpublishFirmwareRequest,
    UnpublishFirmwareResponse,
    UpdateFirmwareRequest,
    UpdateFirmwareResponse,
)
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
) -> Asked[UpdateFirmwareResponse]:
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
    return await ask(services, station_id, make, UpdateFirmwareResponse, UPDATE_FOLLOWS)


def update_request(
    image: Image,
    retrieve_ms: int,
    install_ms: int | None,
    *,
    retries: int | None = None,
    retry_interval_s: int | None = None,
) -> Callable[[int], UpdateFirmwareRequest]:
    """Return the function that builds the request from its number."""
    firmware = Firmware(
        location=image.location,
        retrieve_date_time=format_time(retrieve_ms),
        install_date_time=None if install_ms is None else format_time(install_ms),
        signing_certificate=image.signing_certificate,  # L01.FR.11
        signature=image.signature,
    )
    return lambda number: UpdateFirmwareRequest(
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
) -> Asked[PublishFirmwareResponse]:
    """Have a local controller publish an image to its stations (L03); `checksum` is MD5 in hex."""
    return await ask(
        services,
        station_id,
        lambda number: PublishFirmwareRequest(
            location=location, retries=retries, checksum=checksum, request_id=number, retry_interval=retry_interval_s
        ),
        PublishFirmwareResponse,
        follows=("Accepted",),
    )


async def unpublish(services: Services, station_id: str, checksum: str) -> UnpublishFirmwareResponse:
    """Have a local controller unpublish an image (L04)."""
    return await call(services, station_id, UnpublishFirmwareRequest(checksum=checksum), UnpublishFirmwareResponse)
