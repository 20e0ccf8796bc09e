"""Periodic event streams (functional block N, OCPP 2.1 only)."""

from v2g.ocpp.messages.base import (
    Datatype,
    DateTime,
    Decimal,
    GenericStatus,
    Message,
    NonNegative,
    OneOrMore,
    StatusInfo,
    String2500,
)


class PeriodicEventStreamParams(Datatype, frozen=True, kw_only=True):
    """When a stream sends: every `interval` s, or after `values` readings."""

    interval: NonNegative | None = None
    values: NonNegative | None = None


class ConstantStreamData(Datatype, frozen=True, kw_only=True):
    """A stream, and the monitor that feeds it."""

    id: NonNegative
    params: PeriodicEventStreamParams
    variable_monitoring_id: NonNegative


class OpenPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    """Station opens a stream (N11)."""

    constant_stream_data: ConstantStreamData


class OpenPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    """Answer to OpenPeriodicEventStream."""

    status: GenericStatus
    status_info: StatusInfo | None = None


class StreamDataElement(Datatype, frozen=True, kw_only=True):
    """A reading `v`, `t` seconds after the message's `basetime`."""

    t: Decimal
    v: String2500


class NotifyPeriodicEventStream(Message, frozen=True, kw_only=True):
    """Readings of a stream; `pending` are queued at the station. It is a SEND, without an answer (N15)."""

    data: OneOrMore[StreamDataElement]
    id: NonNegative
    pending: NonNegative
    basetime: DateTime


class ClosePeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    """Station closes a stream (N13)."""

    id: NonNegative


class ClosePeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    """Answer to ClosePeriodicEventStream."""


class GetPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the open streams (N12)."""


class GetPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    """Answer to GetPeriodicEventStream."""

    constant_stream_data: OneOrMore[ConstantStreamData] = ()


class AdjustPeriodicEventStreamRequest(Message, frozen=True, kw_only=True):
    """CSMS changes the rate of a stream (N14)."""

    id: NonNegative
    params: PeriodicEventStreamParams


class AdjustPeriodicEventStreamResponse(Message, frozen=True, kw_only=True):
    """Answer to AdjustPeriodicEventStream."""

    status: GenericStatus
    status_info: StatusInfo | None = None
