"""Metrics for Prometheus."""

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from csms.api.http.call import Call
from csms.api.http.operations import Reply, get
from csms.db.queries import reviews, transactions
from csms.domain.security.access import Permission


@get("/metrics", Permission.READ_METRICS, media_type=CONTENT_TYPE_PLAIN_0_0_4)
async def read_metrics(call: Call) -> Reply[bytes]:
    """Export metrics in Prometheus text format."""
    services = call.services
    unbooked = await call.run(reviews.counts)
    gauges = {
        "v2g_stations_connected": ("Connected stations.", len(services.connections.connected())),
        "v2g_transactions_active": (
            "Transactions that have not ended.",
            await call.run(transactions.count_active),
        ),
        "v2g_journals_waiting": ("Complete journals that wait for evidence.", unbooked["waiting"]),
        "v2g_journals_quarantined": ("Journals in quarantine.", unbooked["quarantined"]),
        "v2g_store_waiting": ("Operations waiting for the store.", services.store.waiting),
        "v2g_event_streams": ("Open event streams.", call.backend.streams.open),
    }
    return Reply(content=services.metrics.text(gauges), media_type=CONTENT_TYPE_PLAIN_0_0_4)


OPERATIONS = (read_metrics,)
