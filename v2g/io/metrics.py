"""Metrics in the text format of Prometheus (0.0.4), for programs that report what they read at this moment."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Values = float | Mapping[str, float] | Mapping[tuple[str, str], float]
"""A value, or values by label or labels."""


def gauge(name: str, about: str, values: Values, *labels: str) -> Metric:
    """Return a metric with its present value, or one for each value of its `labels`."""
    return _filled(GaugeMetricFamily(name, about, labels=labels), values)


def counter(name: str, about: str, values: Values, label: str = "") -> Metric:
    """Return a metric that only rises while the program runs; `_total` is appended to the name."""
    return _filled(CounterMetricFamily(name, about, labels=[label] if label else []), values)


def _filled(metric: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for value, number in values.items() if isinstance(values, Mapping) else [((), values)]:
        metric.add_metric([value] if isinstance(value, str) else [*value], number)
    return metric


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as text."""
    registry = CollectorRegistry()
    registry.register(_Present(metrics))
    return generate_latest(registry)


class _Present:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield from self._metrics
