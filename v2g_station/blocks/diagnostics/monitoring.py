"""Variable monitors and their events (N02 to N08)."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages import monitoring as ocpp
from v2g.ocpp.messages.base import Component, Message
from v2g.ocpp.messages.base import Variable as VariableName
from v2g.ocpp.messages.diagnostics import EventData, EventNotification, EventTrigger, NotifyEventRequest
from v2g.ocpp.messages.monitoring import PeriodicEventStreamParams
from v2g.ocpp.times import format_time
from v2g.units import DAY_MS
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.device_model import DeviceModel, component_of
from v2g_station.kernel.kernel import Answer, Handler, Kernel, status_info
from v2g_station.kernel.layout import Variable

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


NUMERIC: Final = ("integer", "decimal")
TARGET: Final = ("TargetDelta", "TargetDeltaRelative")


class Monitoring(msgspec.Struct, frozen=True, kw_only=True):
    """One monitor. `exceeded` means that a threshold is exceeded; `last` is the last reported value."""

    id: int
    key: str
    type: ocpp.Monitor
    value: float
    severity: int
    kind: EventNotification = "CustomMonitor"
    transaction: bool = False
    exceeded: bool = False
    last: str = ""
    stream: PeriodicEventStreamParams | None = None


def factory_monitors(model: DeviceModel) -> tuple[Monitoring, ...]:
    """Return the preconfigured monitors: every Problem of the station's components."""
    keys = sorted(v.key for v in model.variables("2.1") if v.name == "Problem")
    return tuple(
        Monitoring(id=number, key=key, type="Delta", value=1, severity=3, kind="PreconfiguredMonitor", last="false")
        for number, key in enumerate(keys, 1)
    )


def names_of(variable: Variable) -> tuple[Component, VariableName]:
    return (component_of(variable), VariableName(name=variable.name, instance=variable.instance))


def in_range(variable: Variable, value: float) -> bool:
    low, high = variable.low, variable.high
    return (low is None or value >= low) and (high is None or value <= high)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def shown(variable: Variable, text: str) -> str:
    return "" if variable.mutability == "WriteOnly" else text[:2500]  # N07.FR.10


def exceeds(monitor: Monitoring, text: str, target: str) -> bool:
    value, aim = _number(text), _number(target)
    if value is None or (aim is None and monitor.type in TARGET):
        return monitor.exceeded
    if aim is not None:
        share = abs(aim) if monitor.type == "TargetDeltaRelative" else 1.0
        return abs(value - aim) > monitor.value * share  # N07.FR.22, .23
    return value > monitor.value if monitor.type == "UpperThreshold" else value < monitor.value


def differs(monitor: Monitoring, variable: Variable, text: str) -> bool:
    new, old = _number(text), _number(monitor.last)
    if variable.data_type not in NUMERIC or new is None or old is None:
        return text != monitor.last
    return abs(new - old) > monitor.value


ITEMS_PER_MESSAGE: Final = 50
MAX_MONITORS: Final = 200
FASTEST_S: Final = 1.0
ALERT_SEVERITY: Final = 3
_RESERVED: Final = 100
"""Event numbers reserved at once: a crash skips the rest, and disk writes are rare."""

_CRITERIA: Final = {
    "ThresholdMonitoring": ("UpperThreshold", "LowerThreshold"),
    "DeltaMonitoring": ("Delta", "TargetDelta", "TargetDeltaRelative"),
    "PeriodicMonitoring": ("Periodic", "PeriodicClockAligned"),
}

_CLEARED: Final = "cleared_monitors"
"""Keys of the preconfigured monitors that the CSMS has cleared, until it sets a base with them."""


class Monitors(FunctionalBlock):
    """The monitors of one station."""

    def __init__(self, shared: Shared, *, factory: tuple[Monitoring, ...] = ()) -> None:
        super().__init__(shared)
        self._factory = {each.id: each for each in factory}
        stored = self._k.stored("monitors", Monitoring)
        texts = self._k.stored_text("monitoring")
        self._base: ocpp.MonitoringBase = next((b for b in _BASES if b == texts.get("base")), "All")
        self._level = int(texts.get("level", "9"))
        self._cleared = set(self._k.stored_text(_CLEARED))
        start: dict[int, Monitoring] = {}
        if self._base != "HardWiredOnly":
            start = {number: each for number, each in self._factory.items() if each.key not in self._cleared}
        self._all = start | {each.id: each for each in stored.values() if self._k.model.has(each.key)}
        self._next_event = self._reserved = int(texts.get("event", "1"))
        self.streams = EventStreams(self._k, self._stream_adjusted)
        self.answers: dict[str, Handler] = self.streams.answers | {
            "SetVariableMonitoring": self._set,
            "ClearVariableMonitoring": self._clear,
            "SetMonitoringBase": self._set_base,
            "SetMonitoringLevel": self._set_level,
            "GetMonitoringReport": self._report,
        }
        self._k.watch(self._changed)
        self._sessions.on_started(lambda _: self._check_transactions())
        self._sessions.on_ended(lambda *_: self._check_transactions())
        self._show()

    def start(self) -> None:
        """Check all monitors once: values may have recovered while the power was off (N07.FR.14)."""
        for monitor in list(self._all.values()):
            self._plan(monitor)
            if monitor.stream is not None:
                self.streams.assign(monitor.id, monitor.stream)
            variable = self._variable(monitor)
            self._evaluate(monitor, variable, self._k.model.text(variable.key))

    # -- the CSMS

    def _set(self, request: ocpp.SetVariableMonitoringRequest) -> Message:
        """N04."""
        if len(request.set_monitoring_data) > ITEMS_PER_MESSAGE:
            raise OcppError("too many monitors in one request", answer="OccurrenceConstraintViolation")
        return ocpp.SetVariableMonitoringResponse(
            set_monitoring_result=tuple(self._set_one(wanted) for wanted in request.set_monitoring_data)
        )

    def _set_one(self, wanted: ocpp.SetMonitoringData) -> ocpp.SetMonitoringResult:
        variable = self._k.model.find(wanted.component, wanted.variable, self._k.version)
        status, why = self._refuse(wanted, variable)
        identifier: int | None = None
        if status == "Accepted" and not isinstance(variable, str):
            identifier = wanted.id if wanted.id is not None else max((*self._all, *self._factory), default=0) + 1
            text = self._k.model.text(variable.key)
            monitor = Monitoring(
                id=identifier, key=variable.key, type=wanted.type, value=wanted.value, severity=wanted.severity,
                transaction=wanted.transaction, last=text,
                exceeded=wanted.id is not None and self._all[wanted.id].exceeded,
                stream=wanted.periodic_event_stream,
            )  # fmt: skip
            self._keep(monitor)
            self.streams.assign(identifier, monitor.stream)
            self._plan(monitor)
            self._check(identifier)
        return ocpp.SetMonitoringResult(
            id=identifier,
            status=status,
            status_info=status_info(why) if why else None,
            type=wanted.type,
            component=wanted.component,
            variable=wanted.variable,
            severity=wanted.severity,
        )

    def _refuse(self, wanted: ocpp.SetMonitoringData, variable: Variable | str) -> tuple[ocpp.SetMonitoringStatus, str]:
        """Return whether a monitor can be set, or why not."""
        if isinstance(variable, str):
            return ("UnknownComponent" if variable == "component" else "UnknownVariable"), ""
        threshold, aimed = wanted.type in ("UpperThreshold", "LowerThreshold"), wanted.type in TARGET
        numeric = variable.data_type in NUMERIC
        if (threshold and not numeric) or (aimed and not (numeric and "Target" in variable.attributes)):
            return "UnsupportedMonitorType", ""  # N04.FR.05
        stream = wanted.periodic_event_stream
        if stream is not None and not (wanted.type.startswith("Periodic") and usable(stream)):
            return "Rejected", "InvalidValue"  # N11.FR.09; the values of a stream count as Periodic (N15.FR.03)
        if threshold and not in_range(variable, wanted.value):
            return "Rejected", "ValueOutOfRange"  # N04.FR.06
        if not threshold and wanted.value < 0:
            return "Rejected", "ValuePositiveOnly"  # N04.FR.14
        if wanted.type.startswith("Periodic") and wanted.value < FASTEST_S:
            return "Rejected", "ValueTooLow"
        if not 0 <= wanted.severity <= 9:
            return "Rejected", "InvalidValue"
        if wanted.id is not None:
            old = self._all.get(wanted.id)
            if old is None or old.key != variable.key or old.kind == "HardWiredMonitor":
                return "Rejected", "InvalidValue"  # N04.FR.13, .16, .18
        elif len(self._all) >= MAX_MONITORS:
            return "Rejected", "TooManyElements"
        for other in self._all.values():
            same = (other.key, other.type, other.severity) == (variable.key, wanted.type, wanted.severity)
            if same and other.id != wanted.id:
                return "Duplicate", ""  # N04.FR.10
        return "Accepted", ""

    def _clear(self, request: ocpp.ClearVariableMonitoringRequest) -> Message:
        """N06."""
        results = []
        for identifier in request.id:
            monitor = self._all.get(identifier)
            status: ocpp.ClearMonitoringStatus = "Accepted"
            if monitor is None:
                status = "NotFound"
            elif monitor.kind == "HardWiredMonitor":
                status = "Rejected"
            else:
                self._drop(identifier)
                if identifier in self._factory:
                    self._cleared.add(monitor.key)
                    self._k.keep_text(_CLEARED, monitor.key, "")
            results.append(ocpp.ClearMonitoringResult(status=status, id=identifier))
        return ocpp.ClearVariableMonitoringResponse(clear_monitoring_result=tuple(results))

    def _set_base(self, request: ocpp.SetMonitoringBaseRequest) -> Message:
        """N03."""
        self._base = request.monitoring_base
        self._k.keep_text("monitoring", "base", self._base)
        if self._base != "All":
            for identifier in list(self._all):
                self._drop(identifier)
        if self._base != "HardWiredOnly":
            while self._cleared:
                self._k.forget(_CLEARED, self._cleared.pop())
            for identifier, monitor in self._factory.items():
                if identifier not in self._all:
                    self._all[identifier] = monitor
                    self._plan(monitor)
                    self._check(identifier)
        self._show()
        return ocpp.SetMonitoringBaseResponse(status="Accepted")

    def _set_level(self, request: ocpp.SetMonitoringLevelRequest) -> Message:
        """N05."""
        if not 0 <= request.severity <= 9:
            return ocpp.SetMonitoringLevelResponse(status="Rejected")
        self._level = request.severity
        self._k.keep_text("monitoring", "level", str(request.severity))
        self._show()
        return ocpp.SetMonitoringLevelResponse(status="Accepted")

    def _report(self, request: ocpp.GetMonitoringReportRequest) -> Message:
        """N02."""
        wanted = [(item.component, item.variable) for item in request.component_variable]
        keys = {variable.key for variable in self._k.model.chosen(wanted, self._k.version)}
        types = {kind for criterion in request.monitoring_criteria for kind in _CRITERIA[criterion]}
        found = [m for m in self._all.values() if m.key in keys and (not types or m.type in types)]
        if not found:
            return ocpp.GetMonitoringReportResponse(status="EmptyResultSet")
        data = tuple(
            self._described(key, [m for m in found if m.key == key]) for key in dict.fromkeys(m.key for m in found)
        )
        parts = [data[i : i + ITEMS_PER_MESSAGE] for i in range(0, len(data), ITEMS_PER_MESSAGE)]
        for number, part in enumerate(parts):
            report = ocpp.NotifyMonitoringReportRequest(
                request_id=request.request_id,
                monitor=part,
                tbc=number + 1 < len(parts),
                seq_no=number,
                generated_at=format_time(self._k.utc_ms),
            )
            self._k.after(f"monitors.{request.request_id}.{number:03d}", 0, partial(self._k.call, report, always=True))
        return ocpp.GetMonitoringReportResponse(status="Accepted")

    def _described(self, key: str, monitors: list[Monitoring]) -> ocpp.MonitoringData:
        component, name = names_of(self._variable(monitors[0]))
        new = self._k.version == "2.1"
        return ocpp.MonitoringData(
            component=component,
            variable=name,
            variable_monitoring=tuple(
                ocpp.VariableMonitoring(
                    id=m.id, transaction=m.transaction, value=m.value, type=m.type, severity=m.severity,
                    event_notification_type=m.kind if new else None,
                )
                for m in monitors
            ),
        )  # fmt: skip

    # -- events

    def _changed(self, variable: Variable, old: str, new: str) -> None:
        del old
        for monitor in [each for each in self._all.values() if each.key == variable.key]:
            self._evaluate(monitor, variable, new)

    def _check(self, identifier: int) -> None:
        """Check a new monitor once the CSMS has its answer: the value may be one to report already (N07.FR.11)."""
        self._k.after(f"monitor.poll.{identifier}", 0, partial(self._poll, identifier))

    def _check_transactions(self) -> None:
        """Check the monitors that a transaction activates or deactivates, once it has begun or ended."""
        for monitor in self._all.values():
            if monitor.transaction:
                self._check(monitor.id)

    def _is_active(self, monitor: Monitoring, variable: Variable) -> bool:
        """Return whether a monitor for transactions has one at its EVSE, or at any if it is not of an EVSE (N04)."""
        place = None if variable.evse is None else variable.evse.id
        running = (number for number, evse in self._evses.items() if evse.record is not None)
        return not monitor.transaction or any(place in (None, number) for number in running)

    def _poll(self, identifier: int) -> None:
        monitor = self._all.get(identifier)
        if monitor is not None:
            variable = self._variable(monitor)
            self._evaluate(monitor, variable, self._k.model.text(variable.key))

    def _evaluate(self, monitor: Monitoring, variable: Variable, text: str) -> None:
        """Check whether a value triggers an event (N07.FR.02, .16 to .19)."""
        if not self._is_active(monitor, variable):
            if monitor.exceeded:
                self._keep(msgspec.structs.replace(monitor, exceeded=False))
        elif monitor.type in ("UpperThreshold", "LowerThreshold") or monitor.type in TARGET:
            aim = self._k.model.target(variable) if monitor.type in TARGET else ""
            exceeded = exceeds(monitor, text, aim)
            if exceeded != monitor.exceeded:
                self._keep(msgspec.structs.replace(monitor, exceeded=exceeded))
                self._notify(monitor, variable, text, "Alerting", cleared=not exceeded)
        elif monitor.type == "Delta" and differs(monitor, variable, text):
            self._keep(msgspec.structs.replace(monitor, last=text))
            self._notify(monitor, variable, text, "Delta")

    def _plan(self, monitor: Monitoring) -> None:
        name = f"monitor.{monitor.id}"
        self._k.cancel(name)
        if monitor.type == "Periodic":
            self._k.after(name, monitor.value, partial(self._period, monitor.id))
        elif monitor.type == "PeriodicClockAligned":
            step = int(monitor.value * 1000)
            self._k.after(name, (step - self._k.utc_ms % DAY_MS % step) / 1000, partial(self._period, monitor.id))

    def _period(self, identifier: int) -> None:
        """N08."""
        monitor = self._all.get(identifier)
        if monitor is not None:
            variable = self._variable(monitor)
            text = self._k.model.text(variable.key)
            streamed = self._is_reported(monitor) and self._is_active(monitor, variable)
            if streamed and not self.streams.take(monitor.id, shown(variable, text)):
                self._notify(monitor, variable, text, "Periodic")
            self._plan(monitor)

    def _is_reported(self, monitor: Monitoring) -> bool:
        """Return whether the event is to be reported (N05.FR.03, N07.FR.15)."""
        return monitor.severity <= self._level and self._k.model.flag("MonitoringCtrlr.Enabled")

    def _notify(
        self, monitor: Monitoring, variable: Variable, text: str, trigger: EventTrigger, *, cleared: bool = False
    ) -> None:
        if not self._is_reported(monitor):
            return
        component, name = names_of(variable)
        event = EventData(
            event_id=self.next_event(),
            timestamp=format_time(self._k.utc_ms),
            trigger=trigger,
            actual_value=shown(variable, text),
            cleared=cleared or None,
            component=component,
            variable=name,
            variable_monitoring_id=monitor.id,
            event_notification_type=monitor.kind,
            severity=monitor.severity,
        )
        self.send(event, monitor.severity)

    def send(self, event: EventData, severity: int) -> None:
        """Send an event; offline only sufficiently severe ones are queued (N07.FR.04)."""
        request = NotifyEventRequest(generated_at=event.timestamp, seq_no=0, event_data=(event,))
        if self._k.online or severity <= self._k.model.number("MonitoringCtrlr.OfflineQueuingSeverity"):
            self._outbox.add(request)

    def alert(self, key: str, text: str, why: str) -> None:
        """Report a changed variable unless a monitor of it already does (hard-wired, N07)."""
        if self._k.model.flag("MonitoringCtrlr.Enabled") and any(
            each.key == key and each.type == "Delta" and each.severity <= self._level for each in self._all.values()
        ):
            return
        component, name = names_of(self._k.model.variable(key))
        event = EventData(
            event_id=self.next_event(),
            timestamp=format_time(self._k.utc_ms),
            trigger="Alerting",
            actual_value=text,
            tech_code=why[:50] or None,
            component=component,
            variable=name,
            event_notification_type="HardWiredNotification",
        )
        self.send(event, ALERT_SEVERITY)

    def show_problem(self, key: str, value: str) -> None:
        """Change a Problem whose reason is reported as a hard-wired event: preconfigured monitors need not say it."""
        for monitor in [each for each in self._all.values() if (each.key, each.kind) == (key, "PreconfiguredMonitor")]:
            self._keep(msgspec.structs.replace(monitor, last=value))
        self._k.put(key, value)

    def next_event(self) -> int:
        """Return an event number higher than all before, also across restarts."""
        if self._next_event >= self._reserved:
            self._reserved = self._next_event + _RESERVED
            self._k.keep_text("monitoring", "event", str(self._reserved))
        self._next_event += 1
        return self._next_event - 1

    # -- storage

    def _variable(self, monitor: Monitoring) -> Variable:
        return self._k.model.variable(monitor.key)

    def _keep(self, monitor: Monitoring) -> None:
        self._all[monitor.id] = monitor
        self._k.keep("monitors", str(monitor.id), monitor, durable=monitor.kind == "CustomMonitor")

    def _stream_adjusted(self, identifier: int, params: PeriodicEventStreamParams) -> None:
        self._keep(msgspec.structs.replace(self._all[identifier], stream=params))

    def _drop(self, identifier: int) -> None:
        if self._all[identifier].kind != "HardWiredMonitor":
            del self._all[identifier]
            self.streams.close(identifier)
            self._k.forget("monitors", str(identifier))
            self._k.cancel(f"monitor.{identifier}")

    def _show(self) -> None:
        for name in ("MonitoringBase", "ActiveMonitoringBase"):
            self._k.put(f"MonitoringCtrlr.{name}", self._base)
        for name in ("MonitoringLevel", "ActiveMonitoringLevel"):
            self._k.put(f"MonitoringCtrlr.{name}", str(self._level))


_BASES: Final[tuple[ocpp.MonitoringBase, ...]] = ("All", "FactoryDefault", "HardWiredOnly")
