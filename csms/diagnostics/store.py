"""Monitors as stations hold them, events of device models, and event streams."""

from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa

from csms.db.base import declare_table, newest, page, row_id
from csms.db.bulk import delete_rows
from v2g import typed_json
from v2g.ocpp.messages.diagnostics import EventData
from v2g.ocpp.messages.monitoring import (
    ConstantStreamData,
    MonitoringData,
    NotifyPeriodicEventStream,
    SetMonitoringData,
)
from v2g.ocpp.times import parse_time

monitors: Final = declare_table(
    "monitors",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("monitor_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("component", sa.Text, nullable=False),
    sa.Column("variable", sa.Text, nullable=False),
    sa.Column("kind", sa.String(24), nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("severity", sa.Integer, nullable=False),
    sa.Column("in_transaction", sa.Boolean, nullable=False),
    sa.Column("source", sa.String(24), nullable=False, default="", server_default=""),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)

device_events: Final = declare_table(
    "device_events",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("event_id", sa.BigInteger, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("trigger", sa.String(16), nullable=False),
    sa.Column("component", sa.String(50), nullable=False),
    sa.Column("variable", sa.String(50), nullable=False),
    sa.Column("monitor_id", sa.BigInteger),
    sa.Column("severity", sa.Integer),
    sa.Column("cleared", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "station_id", "at_ms"),
)

event_streams: Final = declare_table(
    "event_streams",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("stream_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("monitor_id", sa.BigInteger, nullable=False),
    sa.Column("interval_s", sa.Integer),
    sa.Column("batch", sa.Integer),
    sa.Column("opened_ms", sa.BigInteger, nullable=False),
    sa.Column("closed_ms", sa.BigInteger),
)

stream_values: Final = declare_table(
    "stream_values",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("stream_id", sa.BigInteger, nullable=False),
    sa.Column("monitor_id", sa.BigInteger),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Index(None, "station_id", "stream_id", "at_ms"),
)


# -- monitors


def save_monitor(
    connection: sa.Connection, station_id: str, monitor_id: int, asked: SetMonitoringData, now_ms: int
) -> None:
    """Store a monitor that a station has accepted (N04)."""
    _put_monitor(
        connection, station_id, monitor_id, component=_text(asked.component), variable=_text(asked.variable),
        kind=asked.type, value=asked.value, severity=asked.severity, in_transaction=asked.transaction,
        source="CustomMonitor", updated_ms=now_ms,
    )  # fmt: skip


def save_reported(connection: sa.Connection, station_id: str, reported: Iterable[MonitoringData], now_ms: int) -> None:
    """Store monitors that a station reported (N02)."""
    for data in reported:
        for each in data.variable_monitoring:
            _put_monitor(
                connection, station_id, each.id, component=_text(data.component), variable=_text(data.variable),
                kind=each.type, value=each.value, severity=each.severity, in_transaction=each.transaction,
                source=each.event_notification_type or "", updated_ms=now_ms,
            )  # fmt: skip


def drop_monitors(connection: sa.Connection, station_id: str, monitor_ids: Iterable[int]) -> None:
    """Delete monitors (N06)."""
    where = (monitors.c.station_id == station_id) & monitors.c.monitor_id.in_(tuple(monitor_ids))
    connection.execute(sa.delete(monitors).where(where))


def drop_custom_monitors(connection: sa.Connection, station_id: str) -> None:
    """Delete monitors set by the CSMS: the station has restored its own (N03.FR.03, .04)."""
    delete_rows(connection, monitors, station_id=station_id, source="CustomMonitor")


def list_monitors(connection: sa.Connection, station_id: str) -> list[dict[str, object]]:
    """Return the monitors of a station, component and variable decoded."""
    query = sa.select(monitors).where(monitors.c.station_id == station_id).order_by(monitors.c.monitor_id)
    return [
        {**row._mapping, "component": msgspec.json.decode(row.component), "variable": msgspec.json.decode(row.variable)}
        for row in connection.execute(query)
    ]


def _put_monitor(connection: sa.Connection, station_id: str, monitor_id: int, **values: object) -> None:
    where = (monitors.c.station_id == station_id) & (monitors.c.monitor_id == monitor_id)
    if connection.execute(sa.update(monitors).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(monitors).values(station_id=station_id, monitor_id=monitor_id, **values))


# -- events


def add_events(connection: sa.Connection, station_id: str, events: Iterable[EventData], now_ms: int) -> None:
    """Store events of a device model; one without severity gets that of its monitor (N07)."""
    severities = {
        row.monitor_id: row.severity
        for row in connection.execute(
            sa.select(monitors.c.monitor_id, monitors.c.severity).where(monitors.c.station_id == station_id)
        )
    }
    connection.execute(
        sa.insert(device_events),
        [
            {
                "station_id": station_id,
                "event_id": event.event_id,
                "at_ms": parse_time(event.timestamp),
                "received_ms": now_ms,
                "trigger": event.trigger,
                "component": event.component.name,
                "variable": event.variable.name,
                "monitor_id": event.variable_monitoring_id,
                "severity": event.severity
                if event.severity is not None
                else severities.get(event.variable_monitoring_id),
                "cleared": bool(event.cleared),
                "document": _text(event),
            }
            for event in events
        ],
    )


_OPEN: Final = frozenset({"contactor_stuck_open", "contactor_dropped"})
"""Technical codes of our chargers for contactors that do not conduct (`v2g.hardware.faults`)."""


def uncontrolled(connection: sa.Connection, station_id: str, faulted: frozenset[int]) -> frozenset[int]:
    """Return those of a station's `faulted` EVSEs whose contactor has a problem by the last event about it: what flows
    there nobody limits, unless the problem is that it is open."""
    if not faulted:
        return frozenset()
    table = device_events.c
    about = (table.station_id == station_id) & (table.component == "PowerContactor") & (table.variable == "Problem")
    last: dict[int, EventData] = {}
    for document in connection.execute(sa.select(table.document).where(about).order_by(table.id)).scalars():
        event = typed_json.decode(document, EventData)
        if event.component.evse is not None:
            last[event.component.evse.id] = event
    problems = {
        number for number, event in last.items() if event.actual_value == "true" and event.tech_code not in _OPEN
    }
    return faulted & problems


def list_events(
    connection: sa.Connection, before: int | None = None, limit: int = 100, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return the newest events first, documents decoded: of those below the number `before`."""
    query = newest(device_events, before, limit, station_id=station_id)
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in connection.execute(query)]


# -- event streams (2.1)


def open_stream(connection: sa.Connection, station_id: str, data: ConstantStreamData, now_ms: int) -> None:
    """Store a stream, ending one of the same number (N11)."""
    where = (event_streams.c.station_id == station_id) & (event_streams.c.stream_id == data.id)
    values = {
        "monitor_id": data.variable_monitoring_id, "interval_s": data.params.interval, "batch": data.params.values,
        "opened_ms": now_ms, "closed_ms": None,
    }  # fmt: skip
    if connection.execute(sa.update(event_streams).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(event_streams).values(station_id=station_id, stream_id=data.id, **values))


def close_stream(connection: sa.Connection, station_id: str, stream_id: int, now_ms: int) -> bool:
    """Mark a stream as ended (N13). False: it was not open."""
    where = (
        (event_streams.c.station_id == station_id)
        & (event_streams.c.stream_id == stream_id)
        & event_streams.c.closed_ms.is_(None)
    )
    return connection.execute(sa.update(event_streams).where(where).values(closed_ms=now_ms)).rowcount > 0


def adjust_stream(
    connection: sa.Connection, station_id: str, stream_id: int, interval_s: int | None, batch: int | None
) -> None:
    """Store the new rate of a stream (N14)."""
    where = (event_streams.c.station_id == station_id) & (event_streams.c.stream_id == stream_id)
    connection.execute(sa.update(event_streams).where(where).values(interval_s=interval_s, batch=batch))


def add_stream_values(connection: sa.Connection, station_id: str, message: NotifyPeriodicEventStream) -> int | None:
    """Store readings of an open stream; return its monitor (N15.FR.03). None: no such stream, nothing stored."""
    monitor_id: int | None = connection.execute(
        sa.select(event_streams.c.monitor_id).where(
            (event_streams.c.station_id == station_id)
            & (event_streams.c.stream_id == message.id)
            & event_streams.c.closed_ms.is_(None)
        )
    ).scalar()
    if monitor_id is None:
        return None
    base_ms = parse_time(message.basetime)
    connection.execute(
        sa.insert(stream_values),
        [
            {
                "station_id": station_id,
                "stream_id": message.id,
                "monitor_id": monitor_id,
                "at_ms": base_ms + round(each.t * 1000),
                "value": each.v,
            }
            for each in message.data
        ],
    )
    return monitor_id


def list_streams(connection: sa.Connection, station_id: str) -> list[dict[str, object]]:
    query = sa.select(event_streams).where(event_streams.c.station_id == station_id).order_by(event_streams.c.stream_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def list_stream_values(
    connection: sa.Connection, after: tuple[int, int] | None, limit: int, station_id: str, stream_id: int
) -> list[dict[str, object]]:
    """Return the newest readings of a stream first, those `after` a time and number."""
    where = (stream_values.c.station_id == station_id) & (stream_values.c.stream_id == stream_id)
    query = page(sa.select(stream_values).where(where), (stream_values.c.at_ms, stream_values.c.id), after, limit)
    return [dict(row._mapping) for row in connection.execute(query)]


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
