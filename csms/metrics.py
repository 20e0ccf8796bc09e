"""Metrics of one back end, as Prometheus reads them."""

from collections.abc import Iterable
from functools import cache
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric

from v2g.io.metrics import exposition
from v2g.observe import Observe

_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_DELAYS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Of records: an outage of the uplink takes hours."""

RecordResult = Literal["stored", "duplicate", "quarantined", "conflict", "refused", "deferred", "missing"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # an unused second series beside each counter


class Metrics:
    """Counters of a running back end, in their own registry: a process may run several."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        self._http: Final = self._seconds("v2g_http_request", "HTTP requests until answered", "operation", "status")
        self._received: Final = self._seconds("v2g_ocpp_received", "Stations' requests until answered", "action")
        self._sent: Final = self._seconds("v2g_ocpp_sent", "Requests to stations until answered", "action")
        self._overloads: Final = Gauge(
            "v2g_site_overload_amperes",
            "What vehicles may draw above the most overloaded fuse of a site",
            ["site"],
            registry=self._registry,
        )
        self._events: Final = self._count("v2g_events", "Events of the feed", "kind")
        self._defects: Final = self._count("v2g_defects", "Exceptions that no code expected")
        self._delivered: Final = self._seconds("v2g_telemetry_delivery", "Deliveries of telemetry until stored")
        self._not_stored: Final = self._count("v2g_telemetry_deliveries_failed", "Failed attempts to store a delivery")
        self._records: Final = self._count("v2g_telemetry_records", "Records of telemetry, by result", "result")
        self._delays: Final = self._seconds(
            "v2g_telemetry_ingest_delay", "Age of a record when it is stored, by its vehicle's clock", buckets=_DELAYS_S
        )
        self._sent_on: Final = self._count(
            "v2g_telemetry_sink_records", "Records that this node has given to a sink", "sink"
        )
        self._sent_late: Final = self._count(
            "v2g_telemetry_sink_late_records", "Those of them after later ones: detectors pass over these", "sink"
        )
        self._sink_failures: Final = self._count(
            "v2g_telemetry_sink_failures", "Failed attempts to feed a sink", "sink"
        )
        self._sinks_failing: Final = Gauge(
            "v2g_telemetry_sink_failing",
            "1: the attempts of this node to feed a sink fail",
            ["sink"],
            registry=self._registry,
        )
        # looking for a series by its labels takes longer than counting
        self._received_by: Final = cache(self._received.labels)
        self._events_of: Final = cache(self._events.labels)
        self._http_by: Final = cache(self._http.labels)
        self._records_of: Final = cache(self._records.labels)
        for result in get_args(RecordResult):  # a series that begins with its first event hides this from `increase`
            self._records_of(result)

    def _seconds(self, name: str, about: str, *labels: str, buckets: tuple[float, ...] = _BOUNDS_S) -> Histogram:
        return Histogram(f"{name}_seconds", about, labels, buckets=buckets, registry=self._registry)

    def _count(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, registry=self._registry)

    def http_answered(self, operation: str, status: int, seconds: float) -> None:
        """Count an HTTP request."""
        self._http_by(operation, str(status)).observe(seconds)

    def request_received(self, action: str, seconds: float) -> None:
        """Count a station's request, and how long its answer took."""
        self._received_by(action).observe(seconds)

    def request_sent(self, action: str, seconds: float) -> None:
        """Count a request to a station, and how long its answer took."""
        self._sent.labels(action).observe(seconds)

    def site_overloaded(self, site_id: str, excess_ma: int) -> None:
        """Note by how much (mA) the vehicles of a site may exceed its most overloaded fuse; 0: they do not."""
        self._overloads.labels(site_id).set(excess_ma / 1000)

    def event_published(self, kind: str) -> None:
        """Count an event of the feed."""
        self._events_of(kind).inc()

    def saw(self, event: Observe) -> None:
        """Count an event of the program if it is a defect."""
        if event.declaration.defect:
            self._defects.inc()

    def delivery_stored(self, seconds: float) -> None:
        """Count a delivery of telemetry, and how long storing it took."""
        self._delivered.observe(seconds)

    def delivery_failed(self) -> None:
        """Count an attempt to store a delivery that failed."""
        self._not_stored.inc()

    def records_judged(self, result: RecordResult, records: int) -> None:
        """Count what became of records of telemetry."""
        if records:
            self._records_of(result).inc(records)

    def record_stored(self, age_s: float) -> None:
        """Note how old a new record was by its vehicle's clock, which may be fast."""
        self._delays.observe(max(0.0, age_s))

    def sink_configured(self, sink: str) -> None:
        """Begin the series of a sink."""
        self._sent_on.labels(sink)
        self._sent_late.labels(sink)
        self._sink_failures.labels(sink)
        self._sinks_failing.labels(sink)

    def sink_fed(self, sink: str, records: int, late: int) -> None:
        """Count records that a sink has got, and of how many it had later ones of the vehicle before."""
        self._sent_on.labels(sink).inc(records)
        self._sent_late.labels(sink).inc(late)

    def sink_failed(self, sink: str) -> None:
        """Count a failed attempt to feed a sink."""
        self._sink_failures.labels(sink).inc()
        self._sinks_failing.labels(sink).set(1)

    def sink_works(self, sink: str) -> None:
        """Note that a sink works, or that another node feeds it."""
        self._sinks_failing.labels(sink).set(0)

    def text(self, present: Iterable[Metric] = ()) -> bytes:
        """Return everything in text format 0.0.4, with metrics that were read for it."""
        return exposition(present) + generate_latest(self._registry)
