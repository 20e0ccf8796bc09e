"""Functional blocks F, G and P: remote start and stop, availability, vendors' data."""

from typing import Final

import msgspec

from csms.remote_control import store as commands
from csms.remote_control.rules import Order, OrderState
from csms.requests.work import call, detail_of, failure, for_each
from csms.services import Services
from csms.smart_charging.work import SmartCharging
from csms.stations import store as stations
from v2g.errors import RefusedError, V2GError
from v2g.ocpp.messages import remote_control as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import ChangeAvailabilityRequest, ChangeAvailabilityResponse, OperationalStatus
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.transactions import TransactionLimit

SETTLED_MS: Final = 120_000
"""So long after it was away a station has sent what happened meanwhile, and it is waited for."""
AWAY_MS: Final = 86_400_000
"""A station that is away as long after it was asked to start has begun nothing."""


class Started(msgspec.Struct, frozen=True):
    """The remoteStartId, which the transaction's events name, and the station's answer."""

    remote_start_id: int
    response: ocpp.RequestStartTransactionResponse


async def start(
    services: Services,
    station_id: str,
    id_token: IdToken,
    *,
    evse_id: int | None = None,
    group_id_token: IdToken | None = None,
    charging_profile: ChargingProfile | None = None,
    limit: TransactionLimit | None = None,
) -> Started:
    """Request a transaction (F01, F02); `limit` is sent to the station when the transaction begins (F07, 2.1), or kept
    by the back end.

    Raises RefusedError for an invalid profile, and V2GError as `ConnectionRegistry.call` does.
    """
    request = ocpp.RequestStartTransactionRequest(
        evse_id=evse_id,
        group_id_token=group_id_token,
        id_token=id_token,
        remote_start_id=0,
        charging_profile=charging_profile,
    )
    await SmartCharging(services).check_command(station_id, request)
    run, now_ms = services.store.run, services.clock.utc_ms()
    number = await run(commands.open_start, station_id, evse_id, id_token, limit, now_ms)
    request = msgspec.structs.replace(request, remote_start_id=number)
    return Started(number, await deliver_start(services, station_id, request))


async def deliver_start(
    services: Services, station_id: str, request: ocpp.RequestStartTransactionRequest, timeout_s: float | None = None
) -> ocpp.RequestStartTransactionResponse:
    """Send a stored remote start; store the answer. Raises V2GError as `ConnectionRegistry.call` does."""
    run, number = services.store.run, request.remote_start_id
    try:
        response = await call(services, station_id, request, ocpp.RequestStartTransactionResponse, timeout_s=timeout_s)
    except V2GError as error:
        await run(commands.save_start_answer, number, failure(error), None)
        raise
    await run(commands.save_start_answer, number, response.status, response.transaction_id)
    return response


async def has_not_begun(services: Services, station_id: str, asked_ms: int, start_ms: int) -> bool:
    """Return whether a station that was asked to start has begun nothing, nor will: no transaction is known, and a
    vehicle had `start_ms` to come."""
    now_ms = services.clock.utc_ms()
    if station_id not in services.connections.connected():
        return now_ms >= asked_ms + AWAY_MS
    station = await services.store.read(stations.find, station_id)
    back_ms = (station or {}).get("connected_ms") or 0  # also where it came back while no back end ran
    return now_ms >= max(asked_ms + start_ms, back_ms + SETTLED_MS)


async def stop(
    services: Services, transaction_id: str, station_id: str | None = None
) -> ocpp.RequestStopTransactionResponse:
    """Request a transaction's end (F03, F04); its station is known from its events unless given.

    Raises RefusedError when no transaction of that id runs, or several do.
    """
    if station_id is None:
        found = await services.store.run(commands.stations_of, transaction_id)
        if len(found) != 1:
            raise RefusedError(
                f"several stations run transaction {transaction_id!r}"
                if found
                else f"no active transaction {transaction_id!r}",
                reason="unknown_transaction" if not found else "ambiguous_transaction",
                hint="specify the station" if found else "list them: v2g csms transactions --active",
            )
        (station_id,) = found
    request = ocpp.RequestStopTransactionRequest(transaction_id=transaction_id)
    return await call(services, station_id, request, ocpp.RequestStopTransactionResponse)


async def unlock(services: Services, station_id: str, evse_id: int, connector_id: int) -> ocpp.UnlockConnectorResponse:
    """Unlock a connector (F05)."""
    request = ocpp.UnlockConnectorRequest(evse_id=evse_id, connector_id=connector_id)
    return await call(services, station_id, request, ocpp.UnlockConnectorResponse)


async def transfer_data(
    services: Services, station_id: str, vendor_id: str, message_id: str | None = None, data: object = None
) -> DataTransferResponse:
    """Send a vendor's message; `data` is writable as JSON (P01).

    Raises as `check_vendor` and `ConnectionRegistry.call`.
    """
    check_vendor(vendor_id)
    request = DataTransferRequest(message_id=message_id, data=data, vendor_id=vendor_id)
    return await call(services, station_id, request, DataTransferResponse)


def check_vendor(vendor_id: str) -> None:
    """Refuse messages in the back end's own name, which it keeps account of. Raises RefusedError (`own_messages`)."""
    if vendor_id == VENDOR:
        raise RefusedError(
            f"{VENDOR} is the back end's own vendorId: it records what it sends in that name",
            reason="own_messages",
            hint="set grid signals by PUT /grid/signal, and ask for evidence by `v2g csms attestation`",
        )


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
