"""Functional block J: meter values outside transactions."""

from csms.db.queries import events
from csms.domain.transactions.meters import samples_of
from csms.ocpp.base import HandlerContext, small
from v2g.ocpp.messages.metering import MeterValuesRequest, MeterValuesResponse


async def answer_meter_values(context: HandlerContext, request: MeterValuesRequest) -> MeterValuesResponse:
    """Store meter values outside a transaction (J01)."""
    evse_id, samples = small(request.evse_id), samples_of(request.meter_value)
    await context.services.store.report(events.add_samples, context.station_id, evse_id, samples)
    context.observe("metering", "meter_values", evse=evse_id, samples=len(samples))
    return MeterValuesResponse()
