"""Functional block N of 2.1: periodic event streams, which have no answers."""

from typing import Final

from csms.db.queries import diagnostics
from csms.ocpp.base import HandlerContext, small
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.event_streams import (
    ClosePeriodicEventStreamRequest,
    ClosePeriodicEventStreamResponse,
    NotifyPeriodicEventStream,
    OpenPeriodicEventStreamRequest,
    OpenPeriodicEventStreamResponse,
)

_LONGEST_S: Final = 1e10
_BEHIND: Final = 3  # consecutive messages with a growing backlog


async def answer_open_stream(
    context: HandlerContext, request: OpenPeriodicEventStreamRequest
) -> OpenPeriodicEventStreamResponse:
    """Accept a stream (N11.FR.04, .06)."""
    data = request.constant_stream_data
    for number in (data.id, data.variable_monitoring_id, data.params.interval or 0, data.params.values or 0):
        small(number)
    await context.services.store.run(diagnostics.open_stream, context.station_id, data, context.services.clock.utc_ms())
    context.observe("ocpp", "event_stream_opened", stream=data.id, monitor=data.variable_monitoring_id)
    return OpenPeriodicEventStreamResponse(status="Accepted")


async def answer_close_stream(
    context: HandlerContext, request: ClosePeriodicEventStreamRequest
) -> ClosePeriodicEventStreamResponse:
    """End a stream (N13.FR.02)."""
    number = small(request.id)
    await context.services.store.run(
        diagnostics.close_stream, context.station_id, number, context.services.clock.utc_ms()
    )
    context.observe("ocpp", "event_stream_closed", stream=number)
    return ClosePeriodicEventStreamResponse()


async def take(context: HandlerContext, message: Message) -> None:
    """Store the readings of an open stream (N15.FR.03)."""
    assert isinstance(message, NotifyPeriodicEventStream)
    small(message.id)
    if any(abs(each.t) > _LONGEST_S for each in message.data):
        raise OcppError("implausible time of a reading", answer="PropertyConstraintViolation")
    monitor = await context.services.store.report(diagnostics.add_stream_values, context.station_id, message)
    if monitor is not None:
        _watch_pending(context, message)
    context.observe(
        "ocpp",
        "event_stream",
        stream=message.id,
        monitor=monitor,
        values=len(message.data),
        latest=message.data[-1].v[:255],
        pending=message.pending,
        known=monitor is not None,
    )


def _watch_pending(context: HandlerContext, message: NotifyPeriodicEventStream) -> None:
    """Report when a station falls behind with a stream, so that the operator can adjust it (N15.FR.05)."""
    before, grown = context.pending.get(message.id, (0, 0))
    grown = grown + 1 if message.pending > before else 0
    context.pending[message.id] = message.pending, grown
    if grown >= _BEHIND:
        context.observe("ocpp", "event_stream_behind", stream=message.id, pending=message.pending)
