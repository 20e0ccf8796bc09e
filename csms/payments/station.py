"""Functional blocks C and S of 2.1: settlements of payment terminals, and battery swaps."""

import hashlib

from csms.ocpp.base import HandlerContext, Services, small
from csms.ocpp.handlers import answers
from csms.payments import store as payments
from v2g.ocpp.messages.battery_swap import BatterySwapRequest, BatterySwapResponse
from v2g.ocpp.messages.payment import NotifySettlementRequest, NotifySettlementResponse


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
async def answer_battery_swap(context: HandlerContext, request: BatterySwapRequest) -> BatterySwapResponse:
    """Store an event of a swap; it cannot be rejected (S01.FR.06, S03)."""
    await note_swap(context.services, context.station_id, request)
    return BatterySwapResponse()


async def note_swap(services: Services, station_id: str, request: BatterySwapRequest) -> None:
    """Store and report an event of a swap at a station, however it arrived. Raises OcppError for too large numbers."""
    small(request.request_id)
    for battery in request.battery_data:
        small(battery.evse_id)
    await services.store.run(payments.add_swap, station_id, request, services.clock.utc_ms())
    batteries = " ".join(each.serial_number for each in request.battery_data)
    data = {"request_id": request.request_id, "change": request.event_type, "batteries": batteries}
    services.report("ocpp", "battery_swap", station_id, data)
