"""Metrics of the back end as Prometheus reads them (text exposition format 0.0.4)."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Labels = tuple[tuple[str, str], ...]


class Counter:
    """Counts, by labels. A family has few labels with few values each; whoever counts sees to that."""

    kind = "counter"

    def __init__(self, name: str, about: str) -> None:
        self.name: Final = name
        self.about: Final = about
        self._values: dict[Labels, float] = {}

    def add(self, amount: float = 1, /, **labels: str) -> None:
        """Count."""
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + amount

    def lines(self) -> Iterable[str]:
        """Yield the samples."""
        for labels, value in self._values.items():
            yield f"{self.name}{_labels(labels)} {value:g}"


class Histogram:
    """Durations in s, by labels."""

    kind = "histogram"

    def __init__(self, name: str, about: str) -> None:
        self.name: Final = name
        self.about: Final = about
        self._values: dict[Labels, list[float]] = {}  # a count for each bound and beyond, then the sum

    def add(self, seconds: float, /, **labels: str) -> None:
        """Count one duration."""
        key = tuple(labels.items())
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = [0.0] * (len(_BOUNDS_S) + 2)
        found[bisect_left(_BOUNDS_S, seconds)] += 1
        found[-1] += seconds

    def lines(self) -> Iterable[str]:
        """Yield the samples."""
        for labels, found in self._values.items():
            total = 0.0
            for bound, count in zip((*_BOUNDS_S, None), found, strict=False):
                total += count
                le = "+Inf" if bound is None else f"{bound:g}"
                yield f"{self.name}_bucket{_labels((*labels, ('le', le)))} {total:g}"
            yield f"{self.name}_sum{_labels(labels)} {found[-1]:.6f}"
            yield f"{self.name}_count{_labels(labels)} {total:g}"


class Metrics:
    """What is counted while the back end runs."""

    def __init__(self) -> None:
        self.http: Final = Histogram("v2g_http_request_seconds", "HTTP requests by operation and status.")
        self.received: Final = Histogram("v2g_ocpp_received_seconds", "Requests of stations, until they were answered.")
        self.sent: Final = Histogram("v2g_ocpp_sent_seconds", "Requests to stations, until they answered.")
        self.events: Final = Counter("v2g_events_total", "What happened, by kind.")

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count an HTTP request."""
        self.http.add(seconds, operation=operation, status=str(status))

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return everything as text. `gauges`: name -> (what it is, its value now)."""
        lines: list[str] = []
        for name, (about, value) in gauges.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        for family in (self.http, self.received, self.sent, self.events):
            lines += [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {family.kind}", *family.lines()]
        return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
