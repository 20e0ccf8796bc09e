"""Payments without a token of the operator, battery swaps, and vendor data."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.admission.work import StationAdmissions
from csms.http.call import Call
from csms.http.operations import STATION_PROBLEMS, Page, get, post, to_station
from csms.http.parameters import EvseId, OfAnyStation, Paged, RowNumber, StationId, newest_first, pages
from csms.http.problems import ApiError, missing
from csms.payments import store as rows
from csms.payments import work as payments
from csms.payments.work import Scan, note_swap
from csms.remote_control.store import list_transfers
from csms.remote_control.work import Started
from csms.requests.work import Asked
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.battery_swap import BatterySwapRequest, RequestBatterySwapResponse
from v2g.ocpp.messages.provisioning import SetVariableResult
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.typed_json import Fields


class PaymentSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a payment terminal settled (NotifySettlement); `amount` is decimal text, `document` the whole message."""

    station_id: str
    psp_ref: str
    settled_ms: int
    transaction_id: str | None
    status: str
    amount: str
    receipt_id: str
    received_ms: int
    document: Any


class NewWebPayment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payment on the web that begins, for an EVSE; the station waits `timeout_s`."""

    evse_id: EvseId
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300


class NewQrCodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a station makes the addresses in its QR codes (WebPaymentsCtrlr)."""

    template: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    validity_s: Annotated[int, msgspec.Meta(ge=10, le=3600)] = 30
    length: Annotated[int, msgspec.Meta(ge=6, le=32)] = 8
    static: bool = False
    """A sticker: `template` has no one-time password, and the station is not configured."""


class NewScan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address that was scanned, and how long the station waits for the payment."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300


class WebPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The number of the new payment."""

    payment_id: int


class Paid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A successful payment: its reference, which becomes the token, and its limits."""

    psp_ref: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    limit: TransactionLimit | None = None


class BatterySwap(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a battery swap; `document` is the whole message."""

    id: int
    station_id: str
    request_id: int
    event: str
    token_type: str
    id_token: str
    received_ms: int
    document: Any


class NewSwap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token for which a swap begins."""

    id_token: IdToken


class VendorData(msgspec.Struct, frozen=True, kw_only=True):
    """Data of a vendor's message (P02)."""

    id: int
    station_id: str
    vendor_id: str
    message_id: str
    received_ms: int
    document: Any


class WhichSwaps(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for swaps."""

    station_id: StationId
    request_id: Annotated[
        Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None,
        msgspec.Meta(description="Only of this request."),
    ] = None


@get("/payments/settlements", Permission.READ_SETTLEMENTS)
async def list_payment_settlements(call: Call, parameters: OfAnyStation) -> Page[PaymentSettlement]:
    """List settlements of payment terminals, newest first."""

    def fetch(connection: Connection, after: tuple[int, str, str, int] | None, limit: int) -> list[Fields]:
        found = rows.list_settlements(connection, parameters.station_id, limit, after)
        return [{**row, "document": msgspec.json.decode(row["document"])} for row in found]

    keys = ("received_ms", "station_id", "psp_ref", "settled_ms")
    return await pages(call, parameters, PaymentSettlement, tuple[int, str, str, int], keys, fetch)


@to_station("POST", "/web-payments", Permission.COMMAND_STATIONS, example={"evse_id": 1})
async def begin_web_payment(call: Call, station_id: StationId, body: NewWebPayment) -> WebPayment:
    """Notify a station of a web payment for an EVSE (C25)."""
    number = await payments.web_payment_started(call.services, station_id, body.evse_id, body.timeout_s)
    return WebPayment(payment_id=number)


@post(
    "/web-payments/{payment_id}/paid",
    Permission.COMMAND_STATIONS,
    problems=STATION_PROBLEMS,
    example={"psp_ref": "p-17"},
)
async def web_payment_paid(call: Call, payment_id: RowNumber, body: Paid) -> Started:
    """Start the transaction of a payment (C25), once: reporting it again, with the same reference, is harmless."""
    return await payments.web_payment_paid(call.services, payment_id, body.psp_ref, body.limit)


@to_station(
    "POST",
    "/qr-codes",
    Permission.WRITE_MAINTENANCE,
    example={"template": "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"},
)
async def configure_qr_codes(call: Call, station_id: StationId, body: NewQrCodes) -> tuple[SetVariableResult, ...]:
    """Have a station show QR codes for payment, with a new secret, or register those of its sticker (C25)."""
    if body.static:
        await payments.stick(call.services, station_id, body.template)
        return ()
    results = await payments.configure(
        call.services, station_id, body.template, validity_s=body.validity_s, length=body.length
    )
    return tuple(results)


@to_station(
    "POST",
    "/qr-scans",
    Permission.COMMAND_STATIONS,
    example={"url": "https://pay.example/CS-1/1/aHicux89/v1?maxenergy=20000"},
)
async def scan_qr_code(call: Call, station_id: StationId, body: NewScan) -> Scan:
    """Check a scanned address; if it is valid, begin a payment and notify the station (C25)."""
    return await payments.scan(call.services, station_id, body.url, body.timeout_s)


@get("/stations/{station_id}/battery-swaps", Permission.READ_TRANSACTIONS)
async def list_battery_swaps(call: Call, parameters: WhichSwaps) -> Page[BatterySwap]:
    """List the events of battery swaps at a station, oldest first (S01 to S03)."""
    which = parameters.station_id, parameters.request_id
    return await pages(call, parameters, BatterySwap, tuple[int], ("id",), rows.list_swaps, *which)


@to_station(
    "POST",
    "/battery-swaps",
    Permission.COMMAND_STATIONS,
    example={"id_token": {"idToken": "04A1B2C3", "type": "ISO14443"}},
)
async def begin_battery_swap(call: Call, station_id: StationId, body: NewSwap) -> Asked[RequestBatterySwapResponse]:
    """Have a station begin a battery swap for an authorized token (S02)."""
    return await payments.request_battery_swap(call.services, station_id, body.id_token)


@post(
    "/stations/{station_id}/battery-swaps/events",
    Permission.COMMAND_STATIONS,
    status=204,
    problems=(404,),
    example={
        "batteryData": [{"evseId": 2, "serialNumber": "B-17", "soC": 12.5, "soH": 98.0}],
        "eventType": "BatteryIn",
        "idToken": {"idToken": "04A1B2C3", "type": "ISO14443"},
        "requestId": 17,
    },
)
async def report_battery_swap(call: Call, station_id: StationId, body: BatterySwapRequest) -> None:
    """Report an event of a battery swap for a station that does not do so itself, once for each `Idempotency-Key`.

    The body is that of OCPP 2.1's BatterySwap (S01 to S03), and so are its effects. The key is required; the station
    must be admitted, but need not be connected.
    """
    if "idempotency-key" not in call.headers:
        raise ApiError(400, "Idempotency-Key required", "send the event's own number, and the same one when you repeat")
    admission = await call.services[StationAdmissions].admission(station_id)
    if admission is None or admission.boot != "Accepted":
        raise missing("station")
    try:
        await note_swap(call.services, station_id, body)
    except OcppError as error:
        raise ApiError(400, f"body: {error}") from None


@get("/vendor-data", Permission.READ_MAINTENANCE)
async def list_vendor_data(call: Call, parameters: OfAnyStation) -> Page[VendorData]:
    """List vendor data (P02), newest first."""
    return await newest_first(call, parameters, VendorData, "id", list_transfers, parameters.station_id)
