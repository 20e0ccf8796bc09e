"""Every route there is, gathered from the resources."""

from functools import cache
from typing import Any, Final

import msgspec

from csms.api import (
    access,
    charging,
    commands,
    contracts,
    device_model,
    diagnostics,
    dispatch,
    display,
    doors,
    events,
    firmware,
    grid,
    health,
    local_lists,
    metrics,
    payments,
    remote_control,
    requests,
    reservations,
    security,
    settlements,
    sites,
    stations,
    tariffs,
    telemetry,
    tokens,
    transactions,
    webhooks,
)
from csms.api.call import Call
from csms.api.openapi import document
from csms.api.operations import Operation, get
from csms.domain.access import Permission


@get("/openapi.json", Permission.PUBLIC, answer=dict[str, Any])
async def read_interface(call: Call) -> bytes:
    """Describe this interface, as OpenAPI 3.1."""
    return interface()


OPERATIONS: Final[tuple[Operation, ...]] = (
    *health.OPERATIONS,
    *stations.OPERATIONS,
    *doors.OPERATIONS,
    *remote_control.OPERATIONS,
    *device_model.OPERATIONS,
    *commands.OPERATIONS,
    *transactions.OPERATIONS,
    *reservations.OPERATIONS,
    *charging.OPERATIONS,
    *sites.OPERATIONS,
    *dispatch.OPERATIONS,
    *tokens.OPERATIONS,
    *tariffs.OPERATIONS,
    *payments.OPERATIONS,
    *settlements.OPERATIONS,
    *local_lists.OPERATIONS,
    *firmware.OPERATIONS,
    *diagnostics.OPERATIONS,
    *display.OPERATIONS,
    *requests.OPERATIONS,
    *security.OPERATIONS,
    *contracts.OPERATIONS,
    *grid.OPERATIONS,
    *telemetry.OPERATIONS,
    *events.OPERATIONS,
    *webhooks.OPERATIONS,
    *access.OPERATIONS,
    *metrics.OPERATIONS,
    read_interface,
)
"""What is not here is no route."""


@cache
def interface() -> bytes:
    """Return the OpenAPI document."""
    return msgspec.json.encode(document(OPERATIONS))
