"""Remote control: transactions started and stopped, connectors unlocked, availability changed, messages triggered."""

from typing import Annotated, Any

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import Page, get, post
from csms.api.http.paging import page_of
from csms.api.http.parameters import OfStation, OneStation, Paged, StationId
from csms.db.queries import commands as rows
from csms.domain.security.access import Permission
from csms.domain.stations.availability import Order
from csms.services.stations import availability, remote_control
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import OperationalStatus
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import DataTransferResponse
from v2g.ocpp.messages.remote_control import (
    RequestStartTransactionResponse,
    RequestStopTransactionResponse,
    UnlockConnectorResponse,
)
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.units import UtcMs

EvseId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Place = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_STATION = (404, 501, 502, 504)


class NewStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction to start: its token, EVSE (null: the station chooses), profile and limit."""

    id_token: IdToken
    evse_id: EvseId | None = None
    group_id_token: IdToken | None = None
    charging_profile: ChargingProfile | None = None
    limit: TransactionLimit | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The remoteStartId, which the transaction's events name, and the station's answer."""

    remote_start_id: int
    response: RequestStartTransactionResponse


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An availability change: of the station (`evse_id` 0), an EVSE, or a connector; now or at `at_ms`."""

    wanted: OperationalStatus
    evse_id: Place = 0
    connector_id: Place = 0
    at_ms: UtcMs | None = None


class VendorMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor's own message; `data` is any JSON."""

    vendor_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    message_id: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    data: Any = None


class WhichOrders(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for availability orders."""

    station_id: StationId
    open: Annotated[bool, msgspec.Meta(description="Only those not yet fulfilled.")] = False


class OneConnector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a connector."""

    station_id: StationId
    evse_id: EvseId
    connector_id: EvseId


class WhichTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a transaction."""

    transaction_id: Annotated[str, msgspec.Meta(description="The station's transactionId.")]
    station: OfStation = None


@post(
    "/stations/{station_id}/transactions",
    Permission.COMMAND_STATIONS,
    problems=_STATION,
    example={"id_token": {"idToken": "04A1B2C3", "type": "ISO14443"}, "evse_id": 1},
)
async def start_transaction(call: Call, parameters: OneStation, body: NewStart) -> Started:
    """Start a transaction at a station (F01, F02)."""
    started = await remote_control.start(
        call.services,
        parameters.station_id,
        body.id_token,
        evse_id=body.evse_id,
        group_id_token=body.group_id_token,
        charging_profile=body.charging_profile,
        limit=body.limit,
    )
    return Started(remote_start_id=started.remote_start_id, response=started.response)


@post("/transactions/{transaction_id}/stop", Permission.COMMAND_STATIONS, problems=_STATION)
async def stop_transaction(call: Call, parameters: WhichTransaction) -> RequestStopTransactionResponse:
    """Stop a transaction (F03)."""
    return await remote_control.stop(call.services, parameters.transaction_id, parameters.station)


@post(
    "/stations/{station_id}/evses/{evse_id}/connectors/{connector_id}/unlock",
    Permission.COMMAND_STATIONS,
    problems=_STATION,
)
async def unlock_connector(call: Call, parameters: OneConnector) -> UnlockConnectorResponse:
    """Unlock a connector (F05)."""
    return await remote_control.unlock(
        call.services, parameters.station_id, parameters.evse_id, parameters.connector_id
    )


@get("/stations/{station_id}/availability", Permission.READ_STATIONS)
async def list_availability(call: Call, parameters: WhichOrders) -> Page[Order]:
    """List availability orders of a station, its EVSEs and connectors, oldest first."""
    found = await call.run(rows.list_orders, parameters.station_id, only_open=parameters.open)
    return page_of(call, found, parameters, lambda each: each.order_id)


@post(
    "/stations/{station_id}/availability",
    Permission.COMMAND_STATIONS,
    problems=_STATION,
    example={"wanted": "Inoperative", "evse_id": 1},
)
async def change_availability(call: Call, parameters: OneStation, body: NewOrder) -> Order:
    """Take a station, an EVSE or a connector in or out of service (G03, G04); `state` is the station's answer."""
    return await availability.change(
        call.services, parameters.station_id, body.wanted, body.evse_id, body.connector_id, at_ms=body.at_ms
    )


@post(
    "/stations/{station_id}/data-transfer",
    Permission.COMMAND_STATIONS,
    problems=_STATION,
    example={"vendor_id": "com.example", "message_id": "Hello"},
)
async def transfer_data(call: Call, parameters: OneStation, body: VendorMessage) -> DataTransferResponse:
    """Send a vendor's own message to a station (P01)."""
    return await remote_control.transfer_data(
        call.services, parameters.station_id, body.vendor_id, body.message_id, body.data
    )
