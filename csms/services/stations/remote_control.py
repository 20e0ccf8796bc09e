"""Functional blocks F and P: remote start and stop, unlocking, triggered messages, vendors' data."""

from typing import Any

import msgspec

from csms.db.queries import commands
from csms.ocpp.base import Services
from csms.services.charging.smart_charging import SmartCharging
from csms.services.stations.requests import call, failure
from v2g.errors import RefusedError, V2GError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.ocpp.messages.remote_control import (
    MessageTrigger,
    RequestStartTransactionRequest,
    RequestStartTransactionResponse,
    RequestStopTransactionRequest,
    RequestStopTransactionResponse,
    TriggerMessageRequest,
    TriggerMessageResponse,
    UnlockConnectorRequest,
    UnlockConnectorResponse,
)
from v2g.ocpp.messages.transactions import TransactionLimit


class Started(msgspec.Struct, frozen=True):
    """The remoteStartId, which the transaction's events name, and the station's answer."""

    remote_start_id: int
    response: RequestStartTransactionResponse


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
    """Request a transaction (F01, F02); `limit` is sent to the station when the transaction begins (F07, 2.1).

    Raises RefusedError for an invalid profile, and V2GError as `ConnectionRegistry.call` does.
    """
    request = RequestStartTransactionRequest(
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
    services: Services, station_id: str, request: RequestStartTransactionRequest, timeout_s: float | None = None
) -> RequestStartTransactionResponse:
    """Send a stored remote start; store the answer. Raises V2GError as `ConnectionRegistry.call` does."""
    run, number = services.store.run, request.remote_start_id
    try:
        response = await call(services, station_id, request, RequestStartTransactionResponse, timeout_s=timeout_s)
    except V2GError as error:
        await run(commands.save_start_answer, number, failure(error), None)
        raise
    await run(commands.save_start_answer, number, response.status, response.transaction_id)
    return response


async def stop(
    services: Services, transaction_id: str, station_id: str | None = None
) -> RequestStopTransactionResponse:
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
    request = RequestStopTransactionRequest(transaction_id=transaction_id)
    return await call(services, station_id, request, RequestStopTransactionResponse)


async def unlock(services: Services, station_id: str, evse_id: int, connector_id: int) -> UnlockConnectorResponse:
    """Unlock a connector (F05)."""
    request = UnlockConnectorRequest(evse_id=evse_id, connector_id=connector_id)
    return await call(services, station_id, request, UnlockConnectorResponse)


async def trigger(
    services: Services,
    station_id: str,
    message: MessageTrigger,
    evse: EVSE | None = None,
    custom_trigger: str | None = None,
) -> TriggerMessageResponse:
    """Trigger a message (F06). Raises RefusedError for a status without connector, a custom trigger without name."""
    if message == "StatusNotification" and (evse is None or evse.connector_id is None):  # F06.FR.13
        raise RefusedError(
            "StatusNotification needs a connector", reason="no_connector", hint="specify EVSE and connector"
        )
    if (message == "CustomTrigger") != (custom_trigger is not None):
        raise RefusedError("a name is required for CustomTrigger, and only for it", reason="custom_trigger")
    request = TriggerMessageRequest(evse=evse, requested_message=message, custom_trigger=custom_trigger)
    return await call(services, station_id, request, TriggerMessageResponse)


async def transfer_data(
    services: Services, station_id: str, vendor_id: str, message_id: str | None = None, data: Any = None
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
