"""Metrics for Prometheus."""

import asyncio
import shutil
from pathlib import Path

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.core import Metric

from csms.api.http.call import Call
from csms.api.http.operations import Reply, get
from csms.db.queries import alert_mails, alerts, reviews, telemetry, telemetry_pending, transactions
from csms.db.queries.overview import flow_w
from csms.domain.charging.grid_sources import limits_at
from csms.domain.diagnostics.aggregates import AGGREGATES
from csms.domain.security.access import Permission
from v2g.io.metrics import gauge


@get("/metrics", Permission.READ_METRICS, media_type=CONTENT_TYPE_PLAIN_0_0_4)
async def read_metrics(call: Call) -> Reply[bytes]:
    """Export metrics in Prometheus text format."""
    services = call.services
    unbooked = await call.run(reviews.counts)
    active = await call.run(transactions.count_active)
    oldest_ms, now_ms = await call.run(alert_mails.oldest), services.clock.utc_ms()
    waits_s = 0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000
    present = [
        gauge("v2g_stations_connected", "Connected stations.", len(services.connections.connected())),
        gauge("v2g_transactions_active", "Transactions that have not ended.", active),
        gauge("v2g_journals_waiting", "Complete journals that wait for evidence.", unbooked["waiting"]),
        gauge("v2g_journals_quarantined", "Journals in quarantine.", unbooked["quarantined"]),
        gauge("v2g_transactions_held", "Transactions whose amounts need a decision.", unbooked["held"]),
        gauge("v2g_alerts_active", "Alerts that have not ended.", await call.run(alerts.counts), "severity"),
        gauge("v2g_alert_emails_waiting_seconds", "How long the oldest e-mail about an alert has waited.", waits_s),
        gauge("v2g_store_waiting", "Operations waiting for the store.", services.store.waiting),
        gauge(
            "v2g_store_reports_waiting",
            "Those of them that are readings: they wait behind all others.",
            services.store.reports_waiting,
        ),
        gauge("v2g_event_streams", "Open event streams.", call.backend.streams.open),
        *await _grid(call),
        *await _telemetry(call),
        *await _disk(services.config.data_dir),
    ]
    return Reply(content=services.metrics.text(present), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _grid(call: Call) -> list[Metric]:
    signal, flow = call.services.grid.current, await call.run(flow_w)
    found = [gauge("v2g_grid_flow_watts", "Power into all vehicles by their last readings, below 0 out.", flow)]
    if signal is not None:
        limits = dict(zip(("import", "export"), limits_at(signal, call.now_ms), strict=True))
        found.append(gauge("v2g_grid_limit_watts", "Limits of the grid signal in force.", limits, "direction"))
    return found


async def _telemetry(call: Call) -> list[Metric]:
    backend, config = call.backend, call.services.config
    counts = await call.run(telemetry.counts)
    backlogs = await call.run(telemetry_pending.backlogs)
    now_ms = call.services.clock.utc_ms()
    names = (AGGREGATES, *(each.name for each in config.telemetry.sinks))
    waiting = {name: backlogs.get(name, (0, now_ms)) for name in names}
    broker = backend.subscriber
    found = [
        gauge("v2g_telemetry_quarantine", "Records in quarantine.", counts["quarantined"]),
        gauge("v2g_telemetry_gaps", "Boots of vehicles that lack records before others.", counts["gaps"]),
        gauge("v2g_telemetry_vehicles", "Vehicles whose latest state is known.", len(backend.latest.all())),
        gauge(
            "v2g_telemetry_silent_vehicles",
            "Vehicles without new values for `telemetry.silent_after_s`.",
            backend.latest.silent(config.telemetry.silent_after_s),
        ),
        gauge(
            "v2g_telemetry_sink_backlog",
            "Records that wait for a sink; `aggregates` is the back end's own.",
            {name: records for name, (records, _) in waiting.items()},
            "sink",
        ),
        gauge(
            "v2g_telemetry_sink_backlog_seconds",
            "How long the oldest record has waited for a sink.",
            {name: max(0, now_ms - since) / 1000 for name, (_, since) in waiting.items()},
            "sink",
        ),
    ]
    if broker is not None:
        found.append(gauge("v2g_telemetry_broker_connected", "1: connected to the MQTT broker.", broker.connected))
    return found


async def _disk(folder: Path) -> list[Metric]:
    disk = await asyncio.to_thread(shutil.disk_usage, folder)
    return [
        gauge("v2g_disk_free_bytes", "Free space of the disk with `data_dir`.", disk.free),
        gauge("v2g_disk_size_bytes", "Size of the disk with `data_dir`.", disk.total),
    ]
