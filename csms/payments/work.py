"""Web payments, QR codes that lead to them (C25), settlements of payment terminals, and battery swaps, all of 2.1."""

import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec

from csms.db.store_key import qr_purpose
from csms.device_model.work import set_variables
from csms.handlers import answers, small
from csms.payments import store as payments
from csms.payments import store as rows
from csms.payments.rules import Scanned, check_own_template, decode, is_valid
from csms.remote_control import work as remote_control
from csms.remote_control.work import Started
from csms.requests.store import UNANSWERED
from csms.requests.work import Asked, ask, call
from csms.services import STEP_S, HandlerContext, Services
from csms.tokens import store as tokens
from csms.tokens.rules import Where, answer_known, normalise
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.observe import Scalar
from v2g.ocpp.messages import battery_swap as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.payment import (
    DIRECT_PAYMENT,
    NotifySettlementRequest,
    NotifySettlementResponse,
    NotifyWebPaymentStartedRequest,
    NotifyWebPaymentStartedResponse,
)
from v2g.ocpp.messages.provisioning import SetVariableData, SetVariableResult
from v2g.ocpp.messages.remote_control import RequestStartTransactionRequest, RequestStartTransactionResponse
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import VERSION, QrCode

_LEASE: Final = "web payments"
_ON_THE_WAY_S: Final = 10.0
"""Longer than any node waits for a station's answer, beyond the time-out of requests (s)."""
_START_MS: Final = 600_000
"""How long a driver who has paid may take to plug in."""
_OLD_MS: Final = 30 * 86_400_000
"""Older payments are not looked at."""


async def web_payment_started(
    services: Services,
    station_id: str,
    evse_id: int,
    timeout_s: int,
    limit: TransactionLimit | None = None,
    *,
    answer_s: float | None = None,
) -> int:
    """Notify a station of a web payment for an EVSE (C25.FR.21); return the payment's number.

    `limit` is the driver's choice for the transaction, `answer_s` how long to wait for the station's answer.
    """
    now_ms = services.clock.utc_ms()
    request = NotifyWebPaymentStartedRequest(evse_id=evse_id, timeout=timeout_s)
    await call(services, station_id, request, NotifyWebPaymentStartedResponse, timeout_s=answer_s)
    expires_ms = now_ms + timeout_s * 1000
    return await services.store.run(payments.open_web_payment, station_id, evse_id, now_ms, expires_ms, limit)


async def web_payment_paid(
    services: Services, number: int, psp_ref: str, limit: TransactionLimit | None = None
) -> Started:
    """Start the transaction of a payment (C25.FR.23): the payment's reference is the token, type DirectPayment.

    If no vehicle comes, the event `payment_unused` says that the provider may give all of it back. One that is reported
    again has the same answer. Raises RefusedError for an unknown payment, or one that is being started (`under_way`),
    V2GError as `ConnectionRegistry.call` does.
    """
    run = services.store.run
    paid = await run(rows.pay, number, psp_ref, limit, services.clock.utc_ms())
    if paid is None:
        return await _again(services, number, psp_ref)
    try:
        response = await _deliver(services, paid)
    except (RefusedError, OcppError):  # the station has not begun; the request may be repeated
        await run(rows.save_web_payment, number, "Started")
        raise
    if response.status != "Accepted":
        await run(rows.save_web_payment, number, "Refused")
    return Started(paid.remote_start_id, response)


async def _again(services: Services, number: int, psp_ref: str) -> Started:
    """Answer a provider that reports a payment once more: one payment has one transaction. Raises RefusedError."""
    known = await services.store.read(rows.paid_by, number, psp_ref)
    if known is None:
        raise RefusedError(f"no pending payment {number}", reason="unknown_payment")
    if known.answer != "Accepted" and not known.refused:
        hint = "its transaction begins, or the event payment_unused follows"
        raise RefusedError(f"payment {number} is being started", reason="under_way", hint=hint)
    response = RequestStartTransactionResponse(status="Rejected" if known.refused else "Accepted")
    return Started(known.remote_start_id, response)


async def _deliver(services: Services, paid: rows.PaidStart) -> RequestStartTransactionResponse:
    request = RequestStartTransactionRequest(
        evse_id=paid.evse_id,
        id_token=IdToken(id_token=paid.psp_ref, type=DIRECT_PAYMENT),
        remote_start_id=paid.remote_start_id,
    )
    return await remote_control.deliver_start(services, paid.station_id, request)


async def advance(services: Services) -> None:
    """End timed-out payments; take up those whose node has ended while it asked their stations to start, once; give
    those back whose vehicles do not come. One node does so."""
    now_ms, clock = services.clock.utc_ms(), services.clock
    if not await services.leads(_LEASE, STEP_S * clock.scale):
        return
    await services.store.run(payments.expire_web_payments, now_ms)
    lost_ms = round(1000 * clock.scale * (services.config.ocpp.call_timeout_s + _ON_THE_WAY_S))
    for paid in await services.store.read(rows.awaited, now_ms - _OLD_MS):
        if await remote_control.has_not_begun(services, paid.station_id, paid.paid_ms, _START_MS):
            if await services.store.run(rows.give_back, paid):
                data: dict[str, Scalar] = {"payment": paid.payment_id, "psp_ref": paid.psp_ref, "evse": paid.evse_id}
                services.report("ocpp", "payment_unused", paid.station_id, data)
        elif paid.answer == "" and now_ms - paid.paid_ms >= lost_ms:
            # Ask again. It may have begun: then it refuses, and its transaction is awaited.
            connected = paid.station_id in services.connections.connected()
            if connected and await services.store.run(rows.take_up, paid, UNANSWERED):
                with contextlib.suppress(V2GError):
                    await _deliver(services, paid)


async def request_battery_swap(
    services: Services, station_id: str, id_token: IdToken
) -> Asked[ocpp.RequestBatterySwapResponse]:
    """Begin a swap for an authorized token (S02.FR.03); its events have the number returned.

    Raises RefusedError for a token that is not accepted, V2GError as `ConnectionRegistry.call` does.
    """
    key = id_token.type, normalise(id_token.type, id_token.id_token)
    now_ms = services.clock.utc_ms()
    known = await services.store.read(tokens.look_up, *key, now_ms)
    status = answer_known(known, Where(station_id, None, now_ms)).status
    if status != "Accepted":
        raise RefusedError(f"the token is {status}", reason="unauthorized")
    return await ask(
        services,
        station_id,
        lambda number: ocpp.RequestBatterySwapRequest(id_token=id_token, request_id=number),
        ocpp.RequestBatterySwapResponse,
        follows=("Accepted",),
    )


_COMPONENT = Component(name="WebPaymentsCtrlr")


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """A valid scanned code: the payment that has begun, and its target."""

    payment_id: int
    scanned: Scanned


async def configure(
    services: Services, station_id: str, template: str, *, validity_s: int = 30, length: int = 8
) -> Sequence[SetVariableResult]:
    """Have a station show QR codes with a new secret (C25.FR.01); stored when it accepted every variable.

    Raises RefusedError for an invalid template, V2GError as `ConnectionRegistry.call` does.
    """
    check_own_template(template)
    code = QrCode(template=template, shared_secret=secrets.token_urlsafe(32), validity_s=validity_s, length=length)
    values = {
        "URLTemplate": template, "TOTPVersion": VERSION, "ValidityTime": str(validity_s), "Length": str(length),
        "SharedSecret": code.shared_secret, "Enabled": "true",
    }  # fmt: skip
    wanted = [
        SetVariableData(attribute_value=value, component=_COMPONENT, variable=Variable(name=name))
        for name, value in values.items()
    ]
    results = await set_variables(services, station_id, wanted)
    if all(result.attribute_status in ("Accepted", "RebootRequired") for result in results):
        sealed = services.store_key.seal(code.shared_secret, qr_purpose(station_id))
        stored = msgspec.structs.replace(code, shared_secret=sealed)
        await services.store.run(rows.save_qr_code, station_id, stored)
    return results


async def stick(services: Services, station_id: str, template: str) -> None:
    """Register the addresses of a static code, as on a sticker, for a station (C25, second scenario).

    They can be read and copied by anyone, so they identify the place and nothing else. They end the station's
    dynamic codes. Raises RefusedError for an invalid template.
    """
    check_own_template(template, static=True)
    await services.store.run(rows.save_qr_code, station_id, QrCode(template=template, shared_secret=""))


async def scan(services: Services, station_id: str, url: str, timeout_s: int = 300) -> Scan:
    """Begin the payment of an address scanned at a station, which must be one that the station shows now.

    The station is notified of the payment (C25.FR.21). Raises RefusedError for an address that is wrong or old
    (C25.FR.08), or when another payment for that EVSE is pending, StoreError when the key of the store was lost, and
    V2GError as `ConnectionRegistry.call` does.
    """
    code = await services.store.run(rows.find_qr_code, station_id)
    if code is None:
        raise RefusedError(f"{station_id} has no QR codes", reason="no_codes")
    if code.shared_secret:
        secret = services.store_key.open(code.shared_secret, qr_purpose(station_id))
        code = msgspec.structs.replace(code, shared_secret=secret)
    scanned = decode(url, code.template)
    now_ms = services.clock.utc_ms()
    if scanned.station_id != station_id or not is_valid(scanned.totp, code, now_ms):
        services.report("ocpp", "qr_code_refused", station_id, {"evse": scanned.evse_id})
        raise RefusedError("the code has expired, or is of another station", reason="totp", hint="scan it again")
    evse_id = scanned.evse_id or 1
    if await services.store.run(rows.is_paying, station_id, evse_id, now_ms):
        raise RefusedError(f"a payment for EVSE {evse_id} is already pending", reason="under_way")
    number = await web_payment_started(services, station_id, evse_id, timeout_s, scanned.limit)
    return Scan(payment_id=number, scanned=scanned)


@answers
async def answer_settlement(context: HandlerContext, request: NotifySettlementRequest) -> NotifySettlementResponse:
    """Store a settlement, once (C20.FR.05, C21.FR.02, C22.FR.01, .02); answer with the receipt's URL if made here."""
    now_ms = context.services.clock.utc_ms()
    new = await context.services.store.run(payments.add_settlement, context.station_id, request, now_ms)
    context.observe(
        "ocpp",
        "payment_settled" if new else "payment_settled_again",
        transaction=request.transaction_id,
        psp_ref=request.psp_ref,
        status=request.status,
        amount=request.settlement_amount,
    )
    template = context.services.config.payments.receipt_url
    if not template or request.status != "Settled" or request.receipt_id or request.receipt_url:
        return NotifySettlementResponse()
    # C21.FR.03; not after a rejected or failed settlement (C22)
    key = f"{context.station_id}/{request.psp_ref}/{request.settlement_time}"
    receipt_id = hashlib.sha256(key.encode()).hexdigest()[:32]
    return NotifySettlementResponse(receipt_id=receipt_id, receipt_url=template.replace("{receipt_id}", receipt_id))


@answers
async def answer_battery_swap(context: HandlerContext, request: ocpp.BatterySwapRequest) -> ocpp.BatterySwapResponse:
    """Store an event of a swap, once; it cannot be rejected (S01.FR.06, S03)."""
    if not await context.services.store.read(payments.is_last_swap, context.station_id, request):  # it was repeated
        await note_swap(context.services, context.station_id, request)
    return ocpp.BatterySwapResponse()


async def note_swap(services: Services, station_id: str, request: ocpp.BatterySwapRequest) -> None:
    """Store and report an event of a swap at a station, however it arrived. Raises OcppError for too large numbers."""
    small(request.request_id)
    for battery in request.battery_data:
        small(battery.evse_id)
    await services.store.run(payments.add_swap, station_id, request, services.clock.utc_ms())
    batteries = " ".join(each.serial_number for each in request.battery_data)
    data = {"request_id": request.request_id, "change": request.event_type, "batteries": batteries}
    services.report("ocpp", "battery_swap", station_id, data)
