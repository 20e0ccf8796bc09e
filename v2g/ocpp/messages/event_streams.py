"""Periodic event streams (functional block N, OCPP 2.1 only)."""

from v2g.ocpp.messages import base


class PeriodicEventStreamParams(base.Datatype, frozen=True, kw_only=True):
    """When a stream sends: every `interval` s, or after `values` readings."""

    interval: base.NonNegative | None = None
    values: base.NonNegative | None = None


class ConstantStreamData(base.Datatype, frozen=True, kw_only=True):
    """A stream, and the monitor that feeds it."""

    id: base.NonNegative
    params: PeriodicEventStreamParams
    variable_monitoring_id: base.NonNegative


class OpenPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """Station opens a stream (N11)."""

    constant_stream_data: ConstantStreamData


class OpenPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to OpenPeriodicEventStream."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


class StreamDataElement(base.Datatype, frozen=True, kw_only=True):
    """A reading `v`, `t` seconds after the message's `basetime`."""

    t: base.Decimal
    v: base.String2500


class NotifyPeriodicEventStream(base.Message, frozen=True, kw_only=True):
    """Readings of a stream; `pending` are queued at the station. It is a SEND, without an answer (N15)."""

    data: base.OneOrMore[StreamDataElement]
    id: base.NonNegative
    pending: base.NonNegative
    basetime: base.DateTime


class ClosePeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """Station closes a stream (N13)."""

    id: base.NonNegative


class ClosePeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClosePeriodicEventStream."""


class GetPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the open streams (N12)."""


class GetPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetPeriodicEventStream."""

    constant_stream_data: base.OneOrMore[ConstantStreamData] = ()


class AdjustPeriodicEventStreamRequest(base.Message, frozen=True, kw_only=True):
    """CSMS changes the rate of a stream (N14)."""

    id: base.NonNegative
    params: PeriodicEventStreamParams


class AdjustPeriodicEventStreamResponse(base.Message, frozen=True, kw_only=True):
    """Answer to AdjustPeriodicEventStream."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None
