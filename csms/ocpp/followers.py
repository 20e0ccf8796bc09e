"""Side effects of transaction events and connector status: commands of operators that these complete."""

from csms.db.queries import charging, commands, diagnostics, stations
from csms.domain.transactions.transactions import Transaction
from csms.ocpp.base import HandlerContext, small
from csms.services.billing import payments
from v2g import typed_json
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionLimit


async def follow_transaction(
    context: HandlerContext, request: TransactionEventRequest, at_ms: int, transaction: Transaction
) -> TransactionLimit | None:
    """After an event was stored: link it to the remote start and the reservation that it names.

    Returns the limit of the remote start, for the answer to its first event (F07.FR.02).
    """
    info, run, limit = request.transaction_info, context.services.store.run, None
    transaction_id = transaction.transaction_id
    if info.remote_start_id is not None:  # F01.FR.25, F02.FR.05
        number = small(info.remote_start_id)
        start = await run(commands.match_start, context.station_id, number, transaction_id, at_ms)
        context.observe(
            "ocpp", "remote_start_matched", remote_start=number, transaction=transaction_id, known=start is not None
        )
        if start is not None:
            evse_id = transaction.evse_id or start["evse_id"] or 0
            await run(charging.bind_profile, context.station_id, number, evse_id, transaction_id)
        if start is not None and start["transaction_limit"] and request.event_type == "Started":
            limit = typed_json.decode(start["transaction_limit"], TransactionLimit)
    if request.reservation_id is not None:  # H03.FR.09: the reservation has its transaction
        number, now_ms = small(request.reservation_id), context.services.clock.utc_ms()
        used = await run(commands.save_reservation, context.station_id, number, "Used", now_ms, transaction_id)
        context.observe("ocpp", "reservation", reservation=number, state="Used", known=used)
    if request.event_type == "Ended":  # O02.FR.02: the station removes them
        await run(diagnostics.end_messages_of, context.station_id, transaction_id, context.services.clock.utc_ms())
        await payments.announce_due(context.services, context.station_id, transaction)
    return limit if context.version == "2.1" else None


async def take_status(context: HandlerContext, evse_id: int, connector_id: int, status: str, at_ms: int) -> None:
    """Store a connector's status, which may fulfil availability orders."""
    reported = stations.Status(context.station_id, evse_id, connector_id, status, at_ms)
    done = await context.services.store.gather(commands.take_statuses, (reported, context.services.clock.utc_ms()))
    context.observe("ocpp", "connector_status", evse=evse_id, connector=connector_id, status=status)
    for order in done:
        context.observe("ocpp", "availability_done", order=order.order_id, wanted=order.wanted)
