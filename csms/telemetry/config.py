"""The keys of `[telemetry]`, `[mqtt]` and `[ingestion_worker]`."""

from pathlib import Path
from typing import Annotated

import msgspec

from v2g.config import Seconds
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.telemetry.delivery import TOPIC_PREFIX


class MqttSource(MqttConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker (MQTT 5, TLS 1.3) through which vehicles deliver telemetry.

    An empty `client_id` is derived from this node's name and `data_dir`, and the same at every start; nodes of one
    back end need different ones.
    """

    prefix: TopicPrefix = TOPIC_PREFIX
    """Prefix of the topics."""
    stream: bool = True
    """Publish every stored record at `PREFIX/stream`."""
    slots: bool = True
    """Nodes of a cluster (`bus_url`) share the vehicles by slots: one stores what a vehicle sends. The broker's access
    list has to allow the topics of slots; the same for all nodes."""


class IngestionWorker(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Processes that read, check and store telemetry."""

    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 1
    """How many; 1: the back end itself; 0: one for each core. On SQLite they read and check beside each other, and take
    turns to store. A vehicle keeps its worker as long as that lives."""


class TelemetrySink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A store or stream that gets every telemetry record from now on, in addition to the back end's database."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,32}\Z")]
    """Its name; what it has not got waits in the database under it."""
    url: Annotated[str, msgspec.Meta(pattern=r"^(sqlite:///|postgresql://|kafka://|https?://).+\Z")]
    """`sqlite:///FILE`, `postgresql://user@host/name` (also TimescaleDB), `kafka://host:9092,host:9092`, or the URL of
    an InfluxDB with `?org=ORG&bucket=BUCKET`."""
    secret_file: Path | None = None
    """File (mode 0600) of InfluxDB's token."""
    topic_prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,100}\Z")] = "v2g.telemetry"
    """Beginning of Kafka's topics; the class of the vehicle follows."""
    properties: dict[str, str] = {}
    """Further properties of librdkafka, such as `"security.protocol" = "SSL"`."""


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to stored telemetry."""

    sinks: tuple[TelemetrySink, ...] = ()
    """Further stores and streams; none by default."""
    vehicle_classes: dict[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,32}\Z")], tuple[str, ...]] = {}
    """Classes of vehicles: patterns of pseudonyms, such as `truck = ["T-*"]`; the first that matches counts, else
    `vehicle`."""
    sealed: bool = True
    """Seal new records, latest states, checkpoints and the quarantine in the database (AES-256-GCM), under keys that
    `store_key` seals. False: their values are plain columns, for queries by other programs."""
    key_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = 30
    """A new key seals after so many days."""
    silent_after_s: Seconds = 900.0
    """A vehicle without new values for so long counts as silent in the metrics."""
