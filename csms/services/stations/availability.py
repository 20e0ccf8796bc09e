"""Functional block G: stations, EVSEs and connectors taken in and out of service, now or at a time."""

import msgspec

from csms.db.queries import commands
from csms.domain.stations.availability import Order, OrderState
from csms.ocpp.base import Services
from csms.services.stations.requests import call, detail_of, for_each
from v2g.errors import RefusedError, V2GError
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse, OperationalStatus


async def change(
    services: Services,
    station_id: str,
    wanted: OperationalStatus,
    evse_id: int = 0,
    connector_id: int = 0,
    *,
    at_ms: int | None = None,
) -> Order:
    """Order a station (`evse_id` 0), an EVSE or a connector in or out of service, now or at `at_ms` (G03, G04).

    Returns the order with the station's answer: Accepted, Scheduled (after the running transaction) or Rejected; or
    Planned before its time. It is Done once the connectors' status confirms it. Raises V2GError as
    `ConnectionRegistry.call` does when it is for now; the order is then Failed.
    """
    now_ms = services.clock.utc_ms()
    due_ms = now_ms if at_ms is None else at_ms
    order = await services.store.run(commands.open_order, station_id, evse_id, connector_id, wanted, due_ms, now_ms)
    return order if due_ms > now_ms else (await send(services, order))[0]


async def send_due(services: Services) -> None:
    """Send the due planned orders; those for disconnected stations wait until they are back."""
    connected, now_ms = services.connections.connected(), services.clock.utc_ms()
    if not await services.store.read(commands.is_order_due, now_ms):
        return
    due: dict[str, list[Order]] = {}
    for order in await services.store.run(commands.take_due_orders, connected, now_ms):
        due.setdefault(order.station_id, []).append(order)

    async def send_all(station_id: str) -> None:
        for order in due[station_id]:
            try:
                await send(services, order, again="Planned")
            except V2GError as error:
                services.report("ocpp", "availability_failed", station_id, {"reason": str(error)[:255]})

    await for_each(due, send_all)


async def send(
    services: Services, order: Order, again: OrderState = "Failed", timeout_s: float | None = None
) -> tuple[Order, ChangeAvailabilityResponse]:
    """Send a stored order; `again` is its state if the station turns out to be disconnected.

    Raises V2GError as `ConnectionRegistry.call` does.
    """
    request = ChangeAvailabilityRequest(evse=order.evse, operational_status=order.wanted)
    try:
        response = await call(services, order.station_id, request, ChangeAvailabilityResponse, timeout_s=timeout_s)
    except V2GError as error:
        await _save(services, order, again if isinstance(error, RefusedError) else "Failed", str(error))
        raise
    return await _save(services, order, response.status, detail_of(response)), response


async def _save(services: Services, order: Order, state: OrderState, detail: str) -> Order:
    now_ms = services.clock.utc_ms()
    await services.store.run(commands.save_order, order.order_id, state, detail, now_ms)
    return msgspec.structs.replace(order, state=state, updated_ms=now_ms, detail=detail)
