"""Payloads of a Fleet Telemetry server, and brokers of Kafka for tests."""

import contextlib
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

from tests.gateway.control_unit import VIN
from v2g.telemetry.tesla import payload_class


def payload(soc: float, *, miles: str = "1000", at_ms: int = 0) -> bytes:
    """Return a payload of protobuf as a vehicle sends it; one of `at_ms` 0 says no time."""
    made: Any = payload_class()()
    made.vin = VIN
    made.created_at.seconds, made.created_at.nanos = at_ms // 1000, at_ms % 1000 * 1_000_000
    for key, value in ((8, f"{soc:.2f}"), (5, miles)):
        datum = made.data.add()
        datum.key, datum.value.string_value = key, value
    return bytes(made.SerializeToString())


@contextlib.contextmanager
def fleet_brokers() -> Iterator[tuple[Any, str]]:
    """Run librdkafka's brokers for tests; yield a producer, and where they listen."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "linger.ms": 0})
    (broker,) = producer.list_topics(timeout=60).brokers.values()
    yield producer, f"{broker.host}:{broker.port}"
