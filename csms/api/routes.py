"""All routes, collected from the resources."""

from functools import cache
from typing import Any, Final

import msgspec

from csms.api.authorization import contracts, local_lists, tokens
from csms.api.billing import books, mandates, payments, quarantine, reports, tariffs
from csms.api.charging import dispatch, fleets, grid, prequalifications, sites, smart_charging
from csms.api.diagnostics import (
    alerts,
    batteries,
    diagnostics,
    events,
    health,
    metrics,
    overview,
    positions,
    system,
    telemetry,
    vehicles,
    webhooks,
)
from csms.api.http.call import Call
from csms.api.http.openapi import document
from csms.api.http.operations import Operation, get
from csms.api.security import access, station_security, users
from csms.api.stations import (
    admission,
    attestations,
    commands,
    device_model,
    display,
    firmware,
    remote_control,
    requests,
    reservations,
    session_metrics,
    stations,
)
from csms.api.transactions import settlements, transactions
from csms.domain.security.access import Permission


@get("/openapi.json", Permission.PUBLIC, answer=dict[str, Any])
async def read_interface(call: Call) -> bytes:
    """Return the OpenAPI 3.1 document."""
    return interface()


OPERATIONS: Final[tuple[Operation, ...]] = (
    *health.OPERATIONS,
    *overview.OPERATIONS,
    *system.OPERATIONS,
    *stations.OPERATIONS,
    *admission.OPERATIONS,
    *remote_control.OPERATIONS,
    *device_model.OPERATIONS,
    *commands.OPERATIONS,
    *transactions.OPERATIONS,
    *reservations.OPERATIONS,
    *smart_charging.OPERATIONS,
    *sites.OPERATIONS,
    *dispatch.OPERATIONS,
    *fleets.OPERATIONS,
    *tokens.OPERATIONS,
    *tariffs.OPERATIONS,
    *payments.OPERATIONS,
    *settlements.OPERATIONS,
    *quarantine.OPERATIONS,
    *books.OPERATIONS,
    *reports.OPERATIONS,
    *mandates.OPERATIONS,
    *local_lists.OPERATIONS,
    *firmware.OPERATIONS,
    *diagnostics.OPERATIONS,
    *display.OPERATIONS,
    *requests.OPERATIONS,
    *station_security.OPERATIONS,
    *contracts.OPERATIONS,
    *grid.OPERATIONS,
    *prequalifications.OPERATIONS,
    *attestations.OPERATIONS,
    *session_metrics.OPERATIONS,
    *telemetry.OPERATIONS,
    *vehicles.OPERATIONS,
    *batteries.OPERATIONS,
    *alerts.OPERATIONS,
    *events.OPERATIONS,
    *positions.OPERATIONS,
    *webhooks.OPERATIONS,
    *access.OPERATIONS,
    *users.OPERATIONS,
    *metrics.OPERATIONS,
    read_interface,
)
"""All routes."""


@cache
def interface() -> bytes:
    """Return the OpenAPI document."""
    return msgspec.json.encode(document(OPERATIONS))
