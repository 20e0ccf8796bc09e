"""Periodic event streams: values of periodic monitors, in messages without a response (N11 to N15, 2.1).

A stream belongs to a monitor and has its id. It is opened again after each start, as the CSMS may have forgotten it.
Values are queued while the CSMS is unreachable; the oldest are dropped when there are too many.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from v2g.ocpp.messages import monitoring as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import format_time
from v2g_station.kernel.kernel import Answer, Handler, Kernel, status_info

MAX_WAITING: Final = 1000
"""Maximum number of queued values of one stream."""

VALUES_PER_MESSAGE: Final = 100
"""Values in one message of a stream without a limit of its own."""


class _Stream(msgspec.Struct, kw_only=True):
    params: ocpp.PeriodicEventStreamParams
    open: bool = False
    asked: bool = False
    """Whether the CSMS's answer to the opening is pending."""
    values: deque[tuple[int, str]] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_WAITING))


class EventStreams:
    """The streams of one station. `adjusted` stores parameters changed by the CSMS."""

    def __init__(self, kernel: Kernel, adjusted: Callable[[int, ocpp.PeriodicEventStreamParams], None]) -> None:
        self._k = kernel
        self._streams: dict[int, _Stream] = {}
        self._adjusted = adjusted
        self.answers: dict[str, Handler] = {
            "AdjustPeriodicEventStream": self._adjust,
            "GetPeriodicEventStream": self._get,
        }

    # -- for monitors

    def assign(self, monitor_id: int, params: ocpp.PeriodicEventStreamParams | None) -> None:
        """Set or remove the stream of a monitor (N11.FR.01, N13.FR.06)."""
        if monitor_id in self._streams:
            self.close(monitor_id)
        if params is not None:
            self._streams[monitor_id] = _Stream(params=params)
            self._k.after(f"stream.open.{monitor_id}", 0, partial(self._open, monitor_id))  # after the response

    def close(self, monitor_id: int) -> None:
        """End a stream after sending all queued values (N13.FR.01, .03, .04)."""
        stream = self._streams.get(monitor_id)
        if stream is None:
            return
        if stream.open:
            self._flush(monitor_id, whole=True)
            self._k.after(
                f"stream.close.{monitor_id}",
                0,
                lambda: self._k.call(ocpp.ClosePeriodicEventStreamRequest(id=monitor_id)),
            )
        del self._streams[monitor_id]
        self._k.cancel(f"stream.{monitor_id}")

    def take(self, monitor_id: int, text: str) -> bool:
        """Queue a value; return False for a monitor without an open stream, which reports it as an event."""
        stream = self._streams.get(monitor_id)
        if stream is None or not stream.open:
            return False
        stream.values.append((self._k.utc_ms, text))
        if stream.params.values and len(stream.values) >= stream.params.values:  # N15.FR.08
            self._flush(monitor_id)
        return True

    # -- opening

    def registered(self) -> None:
        """Open streams that are not open yet, and send queued values, once registered."""
        for monitor_id, stream in list(self._streams.items()):
            if stream.open:
                self._flush(monitor_id)
            else:
                self._open(monitor_id)

    def forgotten(self) -> None:
        """Open all streams again: the CSMS has accepted another boot of the station."""
        for stream in self._streams.values():
            stream.open = False

    def _open(self, monitor_id: int) -> None:
        """N11.FR.02."""
        stream = self._streams.get(monitor_id)
        used = sum(each.open or each.asked for each in self._streams.values())
        most = self._k.model.number("MonitoringCtrlr.MaxPeriodicEventStreams")
        if stream is None or stream.open or stream.asked or used >= most:
            return
        stream.asked = True
        data = ocpp.ConstantStreamData(id=monitor_id, params=stream.params, variable_monitoring_id=monitor_id)
        self._k.call(
            ocpp.OpenPeriodicEventStreamRequest(constant_stream_data=data), partial(self._opened, stream, monitor_id)
        )

    def _opened(self, stream: _Stream, monitor_id: int, answer: Answer) -> None:
        """Use the stream if the CSMS accepts it (N11.FR.06, .07)."""
        stream.asked = False
        if not isinstance(answer, ocpp.OpenPeriodicEventStreamResponse) or answer.status != "Accepted":
            return
        if self._streams.get(monitor_id) is stream:
            stream.open = True
            self._plan(monitor_id)
        elif monitor_id not in self._streams:  # no longer needed
            self._k.call(ocpp.ClosePeriodicEventStreamRequest(id=monitor_id))

    # -- sending

    def _plan(self, monitor_id: int) -> None:
        interval = self._streams[monitor_id].params.interval
        if interval:
            self._k.after(f"stream.{monitor_id}", interval, partial(self._due, monitor_id))
        else:
            self._k.cancel(f"stream.{monitor_id}")

    def _due(self, monitor_id: int) -> None:
        self._flush(monitor_id, whole=not self._streams[monitor_id].params.values)
        self._plan(monitor_id)

    def _flush(self, monitor_id: int, *, whole: bool = False) -> None:
        """Send queued values, at most the stream's `values` at a time (N15.FR.04, .06, .07, .09)."""
        stream = self._streams[monitor_id]
        most = stream.params.values or VALUES_PER_MESSAGE
        while stream.values and self._k.online:
            part = [stream.values.popleft() for _ in range(min(most, len(stream.values)))]
            base = part[0][0]
            self._k.notify(
                ocpp.NotifyPeriodicEventStream(
                    id=monitor_id,
                    basetime=format_time(base),
                    pending=len(stream.values),
                    data=tuple(ocpp.StreamDataElement(t=(at - base) / 1000, v=text) for at, text in part),
                )
            )
            if not whole and len(stream.values) < most:
                return

    # -- the CSMS

    def _adjust(self, request: ocpp.AdjustPeriodicEventStreamRequest) -> Message:
        """N14."""
        stream, params = self._streams.get(request.id), request.params
        if stream is None:
            return ocpp.AdjustPeriodicEventStreamResponse(status="Rejected", status_info=status_info("NotFound"))
        if not usable(params):
            return ocpp.AdjustPeriodicEventStreamResponse(status="Rejected", status_info=status_info("InvalidValue"))
        stream.params = params
        self._adjusted(request.id, params)
        if stream.open:
            self._plan(request.id)
        return ocpp.AdjustPeriodicEventStreamResponse(status="Accepted")

    def _get(self, _: ocpp.GetPeriodicEventStreamRequest) -> Message:
        """N12."""
        return ocpp.GetPeriodicEventStreamResponse(
            constant_stream_data=tuple(
                ocpp.ConstantStreamData(id=number, params=stream.params, variable_monitoring_id=number)
                for number, stream in self._streams.items()
                if stream.open
            )
        )


def usable(params: ocpp.PeriodicEventStreamParams) -> bool:
    """Return whether a stream with these parameters ever sends anything (N11.FR.09), within the queue's limit."""
    values = params.values or 0
    return bool(params.interval or values) and values <= MAX_WAITING
