"""Health checks, for load balancers and monitoring."""

from typing import Literal

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import get
from csms.domain.security.access import Permission


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Health of the back end. `grid_signal_version` is null before the first grid signal.

    `status` is `degraded` while this node has no connection to its MQTT broker; `broker_connected` is null without one.
    `revocation_unknown`: the configured policy for contracts whose revocation status is unknown;
    `accepted_unknown`: how many of them this node has accepted since its start.
    `crls_until_ms`: when the first of this node's revocation lists expires; null without any.
    """

    status: Literal["ok", "degraded"]
    broker_connected: bool | None
    connected_stations: int
    grid_signal_version: int | None
    revocation_unknown: Literal["refuse", "accept"]
    accepted_unknown: int
    crls_until_ms: int | None


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is always `ok`: a failing process does not answer."""

    status: str = "ok"


@get("/health", Permission.PUBLIC)
async def read_health(call: Call) -> Health:
    """Report the health of the back end; 503 while the store does not work."""
    await call.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    signal = call.services.grid.current
    broker = call.backend.subscriber
    connected = None if broker is None else broker.connected
    return Health(
        status="degraded" if connected is False else "ok",
        broker_connected=connected,
        connected_stations=len(call.services.connections.connected()),
        grid_signal_version=signal.version if signal else None,
        revocation_unknown=call.services.config.trust.revocation_unknown,
        accepted_unknown=call.services.contracts.accepted_unknown,
        crls_until_ms=call.services.certificate_status.crls.until_ms(),
    )


@get("/health/live", Permission.PUBLIC)
async def read_liveness(call: Call) -> Alive:
    """Report that the process works, without further checks. A supervisor restarts a process that does not answer."""
    return Alive()


@get("/health/ready", Permission.PUBLIC)
async def read_readiness(call: Call) -> Alive:
    """Report that requests can be served; 503 while the store does not work. For load balancers."""
    await call.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    return Alive()
