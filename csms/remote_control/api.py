"""Remote control: transactions started and stopped, connectors unlocked, availability changed, messages triggered."""

from typing import Annotated, Any

import msgspec
from msgspec.structs import asdict

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, get, post, to_station
from csms.http.parameters import EvseId, Number, OfStation, Paged, StationId, page_of
from csms.remote_control import store as rows
from csms.remote_control import work as availability
from csms.remote_control.rules import Order
from csms.remote_control.work import Started
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import OperationalStatus
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import DataTransferResponse
from v2g.ocpp.messages.remote_control import RequestStopTransactionResponse, UnlockConnectorResponse
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.units import UtcMs


class NewStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction to start: its token, EVSE (null: the station chooses), profile and limit."""

    id_token: IdToken
    evse_id: EvseId | None = None
    group_id_token: IdToken | None = None
    charging_profile: ChargingProfile | None = None
    limit: TransactionLimit | None = None


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An availability change: of the station (`evse_id` 0), an EVSE, or a connector; now or at `at_ms`."""

    wanted: OperationalStatus
    evse_id: Number = 0
    connector_id: Number = 0
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


TransactionId = Annotated[str, msgspec.Meta(description="The station's transactionId.")]


@to_station(
    "POST",
    "/transactions",
    Permission.COMMAND_STATIONS,
    example={"id_token": {"idToken": "04A1B2C3", "type": "ISO14443"}, "evse_id": 1},
)
async def start_transaction(call: Call, station_id: StationId, body: NewStart) -> Started:
    """Start a transaction at a station (F01, F02)."""
    return await availability.start(call.services, station_id, **asdict(body))


@post("/transactions/{transaction_id}/stop", Permission.COMMAND_STATIONS, problems=STATION_PROBLEMS)
async def stop_transaction(
    call: Call, transaction_id: TransactionId, station: OfStation = None
) -> RequestStopTransactionResponse:
    """Stop a transaction (F03)."""
    return await availability.stop(call.services, transaction_id, station)


@to_station("POST", "/evses/{evse_id}/connectors/{connector_id}/unlock", Permission.COMMAND_STATIONS)
async def unlock_connector(call: Call, parameters: OneConnector) -> UnlockConnectorResponse:
    """Unlock a connector (F05)."""
    return await availability.unlock(call.services, **asdict(parameters))


@get("/stations/{station_id}/availability", Permission.READ_STATIONS)
async def list_availability(call: Call, parameters: WhichOrders) -> Page[Order]:
    """List availability orders of a station, its EVSEs and connectors, oldest first."""
    found = await call.run(rows.list_orders, parameters.station_id, only_open=parameters.open)
    return page_of(call, found, parameters, lambda each: each.order_id)


@to_station("POST", "/availability", Permission.COMMAND_STATIONS, example={"wanted": "Inoperative", "evse_id": 1})
async def change_availability(call: Call, station_id: StationId, body: NewOrder) -> Order:
    """Take a station, an EVSE or a connector in or out of service (G03, G04); `state` is the station's answer."""
    return await availability.change(call.services, station_id, **asdict(body))


@to_station(
    "POST", "/data-transfer", Permission.COMMAND_STATIONS, example={"vendor_id": "com.example", "message_id": "Hello"}
)
async def transfer_data(call: Call, station_id: StationId, body: VendorMessage) -> DataTransferResponse:
    """Send a vendor's own message to a station (P01)."""
    return await availability.transfer_data(call.services, station_id, **asdict(body))
