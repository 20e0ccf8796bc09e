"""The job: records of a file or of Kafka, by vehicle, through the detectors, to files or to Kafka, each once.

It runs in an environment with `apache-flink`, where this project is only on the path:
`flink run -py deploy/stream/job.py --input records.jsonl --output findings`
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from pyflink import datastream
from pyflink.common import Duration, Encoder, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream.connectors.file_system import FileSink, FileSource, RollingPolicy, StreamFormat
from pyflink.datastream.state import ValueStateDescriptor

from deploy.stream.keyed import Stream, due_ms, is_record, offered, passed, record_of
from v2g.battery.detectors import DetectorSettings

_decode = msgspec.json.Decoder(Stream).decode
_encode = msgspec.json.Encoder().encode


class Readable(datastream.FilterFunction):  # type: ignore[misc]
    """Leaves out lines that are no records, and counts them: one of them would end the job at each of its restarts."""

    def open(self, context: datastream.RuntimeContext) -> None:
        """See FilterFunction."""
        self._unreadable = context.get_metrics_group().counter("unreadable")

    def filter(self, value: str) -> bool:
        """Return whether a line is a record."""
        readable = is_record(value.encode())
        if not readable:
            self._unreadable.inc()
        return readable


class Times(TimestampAssigner):  # type: ignore[misc]
    """Event time: when the vehicle has measured."""

    def extract_timestamp(self, value: str, record_timestamp: int) -> int:
        """Return it, ms since 1970."""
        return record_of(value.encode()).at_ms


class Detect(datastream.KeyedProcessFunction):  # type: ignore[misc]
    """Detectors of one vehicle; its state is in Flink's checkpoints."""

    def __init__(self, settings: bytes) -> None:
        self._json = settings

    def open(self, context: datastream.RuntimeContext) -> None:
        """See KeyedProcessFunction."""
        self._settings = msgspec.json.decode(self._json, type=DetectorSettings)
        self._stream = context.get_state(ValueStateDescriptor("battery", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: str, context: Any) -> Iterator[str]:
        """Let a record wait for the watermark."""
        record = record_of(value.encode())
        self._stream.update(offered(self._stream.value() or Stream(), record))
        context.timer_service().register_event_time_timer(due_ms(record.at_ms))
        yield from ()

    def on_timer(self, timestamp: int, context: Any) -> Iterator[str]:
        """Take what the watermark has passed."""
        stream, found = passed(self._settings, self._stream.value() or Stream(), timestamp)
        self._stream.update(stream)
        yield from (each.decode() for each in found)


def main() -> None:
    """Submit the job."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--input", required=True, help="file of records, one a line, or kafka://host:port/topic")
    options.add_argument("--output", required=True, help="folder of findings, or kafka://host:port/topic")
    options.add_argument("--settings", type=Path, help="JSON file: [battery] of the back end")
    options.add_argument("--lateness-s", type=int, default=60, help="how much later than others records may come")
    options.add_argument("--checkpoint-s", type=float, default=10.0, help="interval of checkpoints")
    given = options.parse_args()
    settings = given.settings.read_bytes() if given.settings else b"{}"
    msgspec.json.decode(settings, type=DetectorSettings)  # wrong ones are an error here, not in a worker
    env = datastream.StreamExecutionEnvironment.get_execution_environment()
    env.enable_checkpointing(round(given.checkpoint_s * 1000), datastream.CheckpointingMode.EXACTLY_ONCE)
    times = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(given.lateness_s))
    lines = env.from_source(_source(given.input), WatermarkStrategy.no_watermarks(), "records")
    found = (
        lines.filter(Readable())
        .assign_timestamps_and_watermarks(times.with_timestamp_assigner(Times()))
        .key_by(_vehicle, key_type=Types.STRING())
        .process(Detect(settings), output_type=Types.STRING())
    )
    found.sink_to(_sink(given.output))
    env.execute("detectors of batteries")


def _vehicle(line: str) -> str:
    return record_of(line.encode()).ev


def _source(place: str) -> Any:
    if not place.startswith("kafka://"):
        return FileSource.for_record_stream_format(StreamFormat.text_line_format(), place).build()
    from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource

    servers, topic = place.removeprefix("kafka://").split("/")
    return (
        KafkaSource.builder()
        .set_bootstrap_servers(servers)
        .set_topics(topic)
        .set_group_id("v2g-detectors")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )


def _sink(place: str) -> Any:
    if not place.startswith("kafka://"):
        rolling = RollingPolicy.on_checkpoint_rolling_policy()
        return FileSink.for_row_format(place, Encoder.simple_string_encoder()).with_rolling_policy(rolling).build()
    from pyflink.datastream.connectors.base import DeliveryGuarantee
    from pyflink.datastream.connectors.kafka import KafkaRecordSerializationSchema, KafkaSink

    servers, topic = place.removeprefix("kafka://").split("/")
    text = (
        KafkaRecordSerializationSchema.builder().set_topic(topic).set_value_serialization_schema(SimpleStringSchema())
    )
    return (
        KafkaSink.builder()
        .set_bootstrap_servers(servers)
        .set_record_serializer(text.build())
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix("v2g-detectors")
        .build()
    )


if __name__ == "__main__":
    main()
