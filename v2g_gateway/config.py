"""Configuration of the telemetry gateway."""

from pathlib import Path
from typing import Annotated

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
from v2g.telemetry.signals import Pseudonym
from v2g_gateway.uplink import HttpConfig


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of `v2g telemetry --config FILE`."""

    ev: Annotated[Pseudonym, Meta(description="pseudonym of the vehicle (never its VIN): CN of its certificate")]
    outbox: Annotated[Path, Meta(description="SQLite file with the records that the back end has not stored yet")]
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS fall-back, used if there is no mqtt section")] = None
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
    max_outbox_bytes: Annotated[int, Meta(ge=65536, description="maximum size, bytes; older records are deleted")] = (
        1 << 30
    )
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogFiles, Meta(description="logs and events")] = LogFiles()


def load_config(text: str, *, name: str) -> GatewayConfig:
    """Return the configuration in `text`; `name` is the file's name. Raises ConfigError."""
    return parse_config(text, GatewayConfig, name=name)


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration."""
    return faults(text, GatewayConfig, name=name)
