"""What else a transaction's event or a connector's status brings about: wishes of operators come true."""

from csms.db.queries import commands, diagnostics, stations
from csms.domain.transactions import Transaction
from csms.ocpp.base import Desk, small
from v2g import typed_json
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionLimit


async def follow_transaction(
    desk: Desk, request: TransactionEventRequest, at_ms: int, transaction: Transaction
) -> TransactionLimit | None:
    """After an event was stored: join it to the remote start and the reservation that it names.

    Returns the limit that was asked for with a remote start, for the answer to its first event (F07.FR.02).
    """
    info, run, limit = request.transaction_info, desk.services.store.run, None
    if info.remote_start_id is not None:  # F01.FR.25, F02.FR.05
        number = small(info.remote_start_id)
        start = await run(commands.match_start, desk.station_id, number, info.transaction_id, at_ms)
        desk.observe(
            "ocpp",
            "remote_start_matched",
            remote_start=number,
            transaction=info.transaction_id,
            known=start is not None,
        )
        if start is not None and start["transaction_limit"] and request.event_type == "Started":
            limit = typed_json.decode(start["transaction_limit"], TransactionLimit)
    if request.reservation_id is not None:  # H03.FR.09: the reservation has its transaction
        number, now_ms = small(request.reservation_id), desk.services.clock.utc_ms()
        used = await run(commands.save_reservation, desk.station_id, number, "Used", now_ms, info.transaction_id)
        desk.observe("ocpp", "reservation", reservation=number, state="Used", known=used)
    if request.event_type == "Ended":  # O02.FR.02: the station removes them by itself
        await run(diagnostics.end_messages_of, desk.station_id, info.transaction_id, desk.services.clock.utc_ms())
        _tell_payment_due(desk, transaction)
    return limit if desk.version == "2.1" else None


def _tell_payment_due(desk: Desk, transaction: Transaction) -> None:
    """A transaction that was paid for without a token is over: whoever settles with the provider shall know.

    C21.FR.05, C24.FR.10 and C25.FR.40; a webhook brings it to the provider's side.
    """
    if transaction.token_type is None or transaction.token_type.value != DIRECT_PAYMENT:
        return
    reference = transaction.id_token.value if transaction.id_token else ""
    desk.observe("ocpp", "payment_due", transaction=transaction.transaction_id, psp_ref=reference)


async def take_status(desk: Desk, evse_id: int, connector_id: int, status: str, at_ms: int) -> None:
    """Store a connector's status; orders about its availability may have come true."""
    told = stations.Status(desk.station_id, evse_id, connector_id, status, at_ms)
    done = await desk.services.store.gather(commands.take_statuses, (told, desk.services.clock.utc_ms()))
    desk.observe("ocpp", "connector_status", evse=evse_id, connector=connector_id, status=status)
    for order in done:
        desk.observe("ocpp", "availability_done", order=order.order_id, wanted=order.wanted)
