"""Configuration of the telemetry gateway."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.config import faults, parse_config
from v2g.errors import ConfigError
from v2g.io.can import CanConfig
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.runtime.clock import ClockConfig
from v2g.io.storage.growing_file import LogFiles
from v2g.telemetry.batch import KEYFRAME_S, Bands
from v2g.telemetry.delivery import TOPIC_PREFIX
from v2g.telemetry.privacy import VIN, WITHOUT_CONSENT
from v2g.telemetry.signals import Pseudonym
from v2g_gateway.uplink import HttpConfig


class FallbackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second uplink, used while the first one fails."""

    class_: Annotated[
        Literal["satellite", "usual"],
        Meta(description="satellite: only settlement, safety, events and summaries go over it; usual: everything"),
    ] = msgspec.field(name="class", default="satellite")
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS, used if there is no mqtt section")] = None
    after_s: Annotated[float, Meta(ge=1, description="how long the first uplink has failed before, s")] = 60.0


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of `v2g telemetry --config FILE`."""

    ev: Annotated[Pseudonym, Meta(description="pseudonym of the vehicle (never its VIN): CN of its certificate")]
    outbox: Annotated[Path, Meta(description="SQLite file with the records that the back end has not stored yet")]
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS fall-back, used if there is no mqtt section")] = None
    fallback: Annotated[FallbackConfig | None, Meta(description="uplink for the time without the first one")] = None
    prefix: Annotated[TopicPrefix, Meta(description="beginning of the MQTT topics")] = TOPIC_PREFIX
    can: Annotated[CanConfig, Meta(description="the battery's CAN bus")] = CanConfig()
    dbc: Annotated[Path | None, Meta(description="CAN database; default: that of the simulated battery")] = None
    signals: Annotated[dict[str, str], Meta(description="Message.Signal of the DBC to signal name")] = {}
    event_sockets: Annotated[
        tuple[Path, ...],
        Meta(max_length=8, description="sockets of programs on this machine: `local_events.socket` of evcc and secc"),
    ] = ()
    rates: Annotated[Bands, Meta(description="rates of records by the vehicle's mode")] = Bands()
    keyframe_s: Annotated[float, Meta(gt=0, le=3600, description="interval of records with all signals, s")] = (
        KEYFRAME_S
    )
    max_outbox_bytes: Annotated[
        int, Meta(ge=65536, description="maximum size of the records, bytes; the least important are dropped")
    ] = 1 << 30
    outbox_keys: Annotated[
        Path | None, Meta(description="keys that seal records in the outbox: a file of `v2g telemetry key`")
    ] = None
    summary_s: Annotated[float, Meta(ge=1, description="minimum interval of summaries for a satellite, s")] = 300.0
    consent: Annotated[
        tuple[Literal["battery", "cells", "charging", "driving", "location"], ...],
        Meta(description="groups of signals that may leave the vehicle"),
    ] = WITHOUT_CONSENT
    consent_file: Annotated[
        Path | None, Meta(description="file with such groups, one a line, instead; read again when it changes")
    ] = None
    position_noise_m: Annotated[
        float, Meta(ge=0, le=100_000, description="mean distance of reported positions to the true ones, m")
    ] = 200.0
    uplink_interval: Annotated[
        float,
        Meta(ge=0, le=60, description="minimum interval of deliveries, s; safety and settlement do not wait"),
    ] = 1.0
    encoding: Annotated[
        Literal["columns", "json"], Meta(description="form of deliveries: columns, or json for older back ends")
    ] = "columns"
    schemas: Annotated[
        Path | None, Meta(description="schema registry, such as /usr/share/v2g/schemas; none: the installed package's")
    ] = None
    error_log: Annotated[
        Path | None,
        Meta(description="file of one line for each error, such as /var/log/v2g-bridge.log; bounded as `log`"),
    ] = None
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogFiles, Meta(description="logs and events")] = LogFiles()

    def __post_init__(self) -> None:
        if VIN.fullmatch(self.ev.upper()):
            raise ValueError("ev is a VIN, not a pseudonym: use `v2g telemetry pseudonym`")


def load_config(text: str, *, name: str) -> GatewayConfig:
    """Return the configuration in `text`; `name` is the file's name. Raises ConfigError."""
    return parse_config(text, GatewayConfig, name=name)


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration."""
    return faults(text, GatewayConfig, name=name)
