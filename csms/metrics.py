"""Metrics of one back end, as Prometheus reads them."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

from v2g.observe import DEFECTS, Observe

_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # an unused second series beside each counter


class Metrics:
    """Counters of a running back end, in their own registry: a process may run several."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        self._http: Final = self._seconds("v2g_http_request", "HTTP requests", "operation", "status")
        self._received: Final = self._seconds("v2g_ocpp_received", "Stations' requests until answered", "action")
        self._sent: Final = self._seconds("v2g_ocpp_sent", "Requests to stations until answered", "action")
        self._overloads: Final = Gauge(
            "v2g_site_overload_amperes", "What may be drawn above a fuse of the site", ["site"], registry=self._registry
        )
        self._events: Final = Counter("v2g_events", "Events", ["kind"], registry=self._registry)
        self._defects: Final = Counter("v2g_defects", "Exceptions that no code expected", registry=self._registry)

    def _seconds(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(f"{name}_seconds", about, labels, buckets=_BOUNDS_S, registry=self._registry)

    def http_answered(self, operation: str, status: int, seconds: float) -> None:
        """Count an HTTP request."""
        self._http.labels(operation, str(status)).observe(seconds)

    def request_received(self, action: str, seconds: float) -> None:
        """Count a station's request, and how long its answer took."""
        self._received.labels(action).observe(seconds)

    def request_sent(self, action: str, seconds: float) -> None:
        """Count a request to a station, and how long its answer took."""
        self._sent.labels(action).observe(seconds)

    def site_overloaded(self, site_id: str, excess_ma: int) -> None:
        """Note by how much (mA) the vehicles of a site may exceed its most overloaded fuse; 0: they do not."""
        self._overloads.labels(site_id).set(excess_ma / 1000)

    def event_published(self, kind: str) -> None:
        """Count an event of the feed."""
        self._events.labels(kind).inc()

    def saw(self, event: Observe) -> None:
        """Count an event of the program if it is a defect."""
        if (event.stage, event.name) in DEFECTS:
            self._defects.inc()

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> bytes:
        """Return everything in text format 0.0.4. `gauges`: name -> (description, present value)."""
        values = CollectorRegistry()
        values.register(_Values(gauges))
        return generate_latest(values) + generate_latest(self._registry)


class _Values:
    """Gauges with given values."""

    def __init__(self, gauges: Mapping[str, tuple[str, float]]) -> None:
        self._gauges = gauges

    def collect(self) -> list[GaugeMetricFamily]:
        """See prometheus_client."""
        return [GaugeMetricFamily(name, about, value=value) for name, (about, value) in self._gauges.items()]
