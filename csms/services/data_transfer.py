"""Functional block P: vendors' own messages to stations."""

from typing import Any

from csms.ocpp.base import Services
from csms.services.asking import call
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse


async def send(
    services: Services, station_id: str, vendor_id: str, message_id: str | None = None, data: Any = None
) -> DataTransferResponse:
    """Send a vendor's message; `data` is what JSON can hold (P01). Raises V2GError as `ConnectionRegistry.call`
    does."""
    request = DataTransferRequest(message_id=message_id, data=data, vendor_id=vendor_id)
    return await call(services, station_id, request, DataTransferResponse)
