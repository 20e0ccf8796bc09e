"""Web payments (C25) and battery swaps (S02), both of 2.1."""

from csms.db.queries import held, payments, tokens
from csms.domain.authorization.authorize import Where, answer_known, normalise
from csms.domain.transactions.transactions import Transaction
from csms.ocpp.base import Services
from csms.services.stations import remote_control
from csms.services.stations.remote_control import Started
from csms.services.stations.requests import Asked, ask, call
from v2g import typed_json
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.battery_swap import RequestBatterySwapRequest, RequestBatterySwapResponse
from v2g.ocpp.messages.payment import DIRECT_PAYMENT, NotifyWebPaymentStartedRequest, NotifyWebPaymentStartedResponse
from v2g.ocpp.messages.transactions import TransactionLimit


async def announce_due(services: Services, station_id: str, transaction: Transaction) -> None:
    """Publish the end of a transaction paid for without a token, for the settlement with the provider; of one that is
    held once it is released (R194).

    C21.FR.05, C24.FR.10 and C25.FR.40; a webhook delivers it to the provider.
    """
    if transaction.token_type is None or transaction.token_type.value != DIRECT_PAYMENT:
        return
    if await services.store.read(held.is_open, station_id, transaction.transaction_id):
        return
    reference = transaction.id_token.value if transaction.id_token else ""
    data = {"transaction": transaction.transaction_id, "psp_ref": reference}
    services.report("ocpp", "payment_due", station_id, data)


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

    Raises RefusedError for a completed or unknown payment, V2GError as `ConnectionRegistry.call` does.
    """
    payment = await services.store.run(payments.find_web_payment, number)
    if payment is None or payment["state"] != "Started":
        raise RefusedError(f"no pending payment {number}", reason="unknown_payment")
    if limit is None and payment["transaction_limit"]:
        limit = typed_json.decode(payment["transaction_limit"], TransactionLimit)
    token = IdToken(id_token=psp_ref, type=DIRECT_PAYMENT)
    save = payments.save_web_payment
    if not await services.store.run(save, number, "Paid"):  # providers may report twice: one payment, one transaction
        raise RefusedError(f"no pending payment {number}", reason="unknown_payment")
    try:
        started = await remote_control.start(
            services, payment["station_id"], token, evse_id=payment["evse_id"], limit=limit
        )
    except (RefusedError, OcppError):  # the station has not begun; the request may be repeated
        await services.store.run(save, number, "Started", was="Paid")
        raise
    state = "Paid" if started.response.status == "Accepted" else "Refused"
    await services.store.run(save, number, state, started.remote_start_id, was="Paid")
    return started


async def expire(services: Services) -> None:
    """End timed-out payments."""
    await services.store.run(payments.expire_web_payments, services.clock.utc_ms())


async def request_battery_swap(
    services: Services, station_id: str, id_token: IdToken
) -> Asked[RequestBatterySwapResponse]:
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
        lambda number: RequestBatterySwapRequest(id_token=id_token, request_id=number),
        RequestBatterySwapResponse,
        follows=("Accepted",),
    )
