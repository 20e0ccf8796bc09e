"""Sinks of telemetry: other stores and streams that get every stored record, each at its own pace.

A sink takes batches, at least once and in order of each vehicle's (boot, seq); the key of a record makes repetitions
harmless. It may fail as long as it likes: what it has not got waits in the database.

Another sink: a class beside `influx.py`, a scheme in `open_sink`, a parameter of `tests/csms/telemetry/test_sinks.py`.
"""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from csms.telemetry.config import TelemetryConfig, TelemetrySink
from csms.telemetry.rules import StoredRecord


class Sink(Protocol):
    """Where records go. Its methods raise TransportError or StoreError when it cannot be reached: they are repeated."""

    async def write(self, records: Sequence[StoredRecord]) -> None:
        """Take records; when this returns, the sink has them for good. Raises UnstorableError if it rejects one."""
        ...

    async def erase(self, ev: str) -> None:
        """Remove a vehicle's records, as far as the sink can."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def open_sink(config: TelemetrySink, telemetry: TelemetryConfig) -> Sink:
    """Return the sink of a configuration. Raises ConfigError without its package."""
    match urlsplit(config.url).scheme:
        case "kafka":
            from csms.telemetry.sinks.kafka import KafkaSink  # on demand: each imports its client

            return KafkaSink(config, telemetry.vehicle_classes)
        case "http" | "https":
            from csms.telemetry.sinks.influx import InfluxSink

            return InfluxSink(config)
        case _:
            from csms.telemetry.sinks.influx import DatabaseSink

            return DatabaseSink(config.url)
