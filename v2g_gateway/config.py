"""Configuration of the telemetry gateway."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from v2g.battery.detectors import DetectorSettings
from v2g.config import Flaw, faults, parse_config
from v2g.errors import CertificateError, ConfigError
from v2g.io.can import CanConfig
from v2g.io.http.known_client import SelfEnrolmentConfig
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.ota.opening import FollowerConfig, installer_flaws
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_folder, file_faults
from v2g.io.runtime.processor_heat import ProcessorConfig
from v2g.io.storage.growing_file import LogFiles
from v2g.pki.certificates import chain_from_pem, common_name, load_certificate
from v2g.telemetry.batch import KEYFRAME_S, Bands
from v2g.telemetry.cells import CellSummary
from v2g.telemetry.delivery import TOPIC_PREFIX
from v2g.telemetry.mapping import CanMapping
from v2g.telemetry.privacy import VIN, WITHOUT_CONSENT
from v2g.telemetry.registry import registered
from v2g.telemetry.signals import SIGNALS, Pseudonym
from v2g_gateway.consent import read_consent
from v2g_gateway.replay import beginning
from v2g_gateway.sources import SourceConfig
from v2g_gateway.uplink import HttpConfig

UPLINK_S = 2.0


class FallbackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second uplink, used while no back end answers over the first one."""

    class_: Annotated[
        Literal["satellite", "usual"],
        Meta(description="satellite: only settlement, safety, events and summaries go over it; usual: everything"),
    ] = msgspec.field(name="class", default="satellite")
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS, used if there is no mqtt section")] = None
    after_s: Annotated[
        float, Meta(ge=1, le=604_800, description="how long records have waited before for an answer, s")
    ] = 60.0
    back_s: Annotated[
        float, Meta(gt=0, le=3600, description="how long the first uplink answers before it is used again, s")
    ] = 15.0


class CanSource(CanConfig, frozen=True, forbid_unknown_fields=True):
    """A CAN bus, or a recording of one."""

    replay: Annotated[
        Path | None, Meta(description="recording in place of the bus: candump (.log), BLF, ASC, TRC or CSV")
    ] = None
    replay_speed: Annotated[float, Meta(gt=0, le=100_000_000, description="recorded seconds a second")] = 1.0


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of `v2g telemetry --config FILE`."""

    renamed: ClassVar[Mapping[str, str]] = {"topic": "prefix", "min_interval": "rates"}

    ev: Annotated[Pseudonym, Meta(description="pseudonym of the vehicle (never its VIN): CN of its certificate")]
    outbox: Annotated[Path, Meta(description="SQLite file with the records that the back end has not stored yet")]
    mqtt: Annotated[MqttConfig | None, Meta(description="MQTT 5 broker; preferred over http")] = None
    http: Annotated[HttpConfig | None, Meta(description="HTTPS fall-back, used if there is no mqtt section")] = None
    fallback: Annotated[FallbackConfig | None, Meta(description="uplink for the time without the first one")] = None
    prefix: Annotated[TopicPrefix, Meta(description="beginning of the MQTT topics")] = TOPIC_PREFIX
    can: Annotated[CanSource, Meta(description="the battery's CAN bus")] = CanSource()
    dbc: Annotated[Path | None, Meta(description="CAN database; default: that of the simulated battery")] = None
    signals: Annotated[dict[str, str], Meta(description="Message.Signal of the DBC to signal name")] = {}
    event_sockets: Annotated[
        tuple[Path, ...],
        Meta(max_length=8, description="sockets of programs on this machine: `local_events.socket` of evcc and secc"),
    ] = ()
    sources: Annotated[
        tuple[SourceConfig, ...], Meta(max_length=4, description="what values come from beside the bus, one of a kind")
    ] = ()
    rates: Annotated[Bands, Meta(description="rates of records by the vehicle's mode")] = Bands()
    dead_bands: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(description="least change of a signal that is reported at once, in its unit; default: as the page says"),
    ] = {}
    keyframe_s: Annotated[float, Meta(gt=0, le=3600, description="interval of records with all signals, s")] = (
        KEYFRAME_S
    )
    max_outbox_bytes: Annotated[
        int,
        Meta(ge=65536, le=1 << 50, description="maximum size of the records, bytes; the least important are dropped"),
    ] = 1 << 30
    outbox_keys: Annotated[
        Path | None,
        Meta(
            description="keys that seal records: a file of `v2g telemetry key`; default: OUTBOX.keys, made if missing"
        ),
    ] = None
    outbox_sealed: Annotated[bool, Meta(description="seal records in the outbox (AES-256-GCM)")] = True
    battery: Annotated[DetectorSettings, Meta(description="what detectors beside the cells look for")] = (
        DetectorSettings()
    )
    cells_around: Annotated[CellSummary, Meta(description="samples of single cells around a finding")] = CellSummary()
    processor: Annotated[ProcessorConfig, Meta(description="when the processor is hot, and records become fewer")] = (
        ProcessorConfig()
    )
    hot_interval_s: Annotated[
        float, Meta(ge=1, le=60, description="minimum interval of records meanwhile, s; findings do not wait")
    ] = 10.0
    summary_s: Annotated[
        float, Meta(ge=1, le=604_800, description="minimum interval of summaries for a satellite, s")
    ] = 300.0
    consent: Annotated[
        tuple[Literal["battery", "cells", "charging", "driving", "location", "scores"], ...],
        Meta(description="groups of signals that may leave the vehicle; `scores`: the back end may keep scores"),
    ] = WITHOUT_CONSENT
    consent_file: Annotated[
        Path | None, Meta(description="file with such groups, one a line, instead; read again when it changes")
    ] = None
    position_noise_m: Annotated[
        float, Meta(ge=0, le=100_000, description="mean distance of reported positions to the true ones, m")
    ] = 200.0
    uplink_interval: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="mean interval of deliveries, s; safety, settlement and changes beyond dead bands do not wait",
        ),
    ] = UPLINK_S
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
    metrics_file: Annotated[
        Path | None,
        Meta(
            description="file of metrics for the textfile collector of Prometheus' node exporter, such as "
            "/var/lib/prometheus/node-exporter/v2g_gateway.prom"
        ),
    ] = None
    enrolment: Annotated[
        SelfEnrolmentConfig | None,
        Meta(description="renew by EST the certificate in chain and key of mqtt, else of http; none: by other means"),
    ] = None
    update: Annotated[
        FollowerConfig | None, Meta(description="updates of the gateway by signed releases; none: by other means")
    ] = None
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogFiles, Meta(description="logs and events")] = LogFiles()

    @property
    def own_files(self) -> tuple[Path, Path] | None:
        """Chain and key of the gateway's certificate, of the first uplink that has both."""
        pairs = ((each.chain, each.key) for each in (self.mqtt, self.http) if each is not None)
        return next(((chain, key) for chain, key in pairs if chain is not None and key is not None), None)

    @property
    def emergency_log(self) -> Path:
        """Record of thermal runaways and their resets, beside the outbox."""
        return self.outbox.with_suffix(".emergency.jsonl")

    def __post_init__(self) -> None:
        if VIN.search(self.ev):  # anywhere in it, as the back end finds it
            raise ValueError("ev is a VIN, not a pseudonym: use `v2g telemetry pseudonym`")


def notes(text: str, *, name: str) -> list[str]:
    """Return what is not sealed on the disk by a valid configuration, and flaws of its DBC that nothing mapped has."""
    config = load_config(text, name=name)
    found = [] if config.outbox_sealed else ["plain on the disk: records in the outbox (outbox_sealed)"]
    second = FallbackConfig() if config.fallback is None else config.fallback
    chains = [each.chain for each in (config.http, second.http) if each is not None and each.chain is not None]
    found += [
        f"{chain} is of {other!r}: `api.clients` of the back end must give it evs = [{config.ev!r}]"
        for chain in chains
        if (other := _other_name(chain, config.ev))
    ]
    return found + [f"{config.dbc}: {each}" for each in CanMapping.read(config.dbc, config.signals or None).warnings]


def load_config(text: str, *, name: str) -> GatewayConfig:
    """Return the configuration in `text`; `name` is the file's name. Raises ConfigError."""
    return parse_config(text, GatewayConfig, name=name, look=look)


def look(config: GatewayConfig) -> Iterator[Flaw]:
    """Yield what is missing in a configuration."""
    if config.mqtt is None and config.http is None:
        yield ("mqtt",), "is missing: records need an uplink, mqtt or http", "add [mqtt] with host and ca"
    if config.fallback is not None and config.fallback.mqtt is None and config.fallback.http is None:
        yield ("fallback", "mqtt"), "is missing: an uplink is mqtt or http", "add [fallback.mqtt] with host and ca"
    if config.sources and config.can.replay is not None:
        yield ("can", "replay"), "a recording has times of its own, which sources do not have", "remove one of them"
    if len({each.kind for each in config.sources}) < len(config.sources):
        yield ("sources",), "two have the same kind", "values of one quantity come from one source"
    if config.enrolment is not None and config.own_files is None:
        yield ("enrolment",), "has no files to renew", "set chain and key of mqtt, or of http"
    for name in config.dead_bands.keys() - SIGNALS.keys():
        yield ("dead_bands", name), "is not a signal", "the reference of telemetry lists them"
    yield from installer_flaws(config.update, ("update",))


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration, including the files that it names."""
    found = faults(text, GatewayConfig, name=name, look=look)
    if found:
        return found
    config = load_config(text, name=name)
    enrolled = config.own_files[0] if config.enrolment is not None and config.own_files is not None else None
    return file_faults(text, config, name=name, openers=_openers(config), enrolled=enrolled)


def _other_name(chain: Path, ev: str) -> str:
    """Return the common name of a certificate that is not the vehicle's, else nothing; of an unusable file, too, which
    is named elsewhere."""
    try:
        name = common_name(load_certificate(chain_from_pem(chain.read_bytes())[0]))
    except (OSError, CertificateError):
        return ""
    return "" if name == ev else name or "no common name"


def _check_name(chain: Path, ev: str) -> None:
    """Raise ConfigError if a broker would not take `ev` for the owner of the certificate."""
    if name := _other_name(chain, ev):
        raise ConfigError(
            f"{chain} is the certificate of {name!r}, but `ev` is {ev!r}: the broker refuses its records",
            hint=f"set ev, or have a certificate issued: `v2g pki make --gateway-id {ev}`, `v2g pki issue --cn {ev}`",
        )


def _openers(config: GatewayConfig) -> Iterator[OfKey]:
    """Yield what else has to be opened, each with its key."""
    second = FallbackConfig() if config.fallback is None else config.fallback
    for where, each in ((("mqtt",), config.mqtt), (("fallback", "mqtt"), second.mqtt)):
        if each is not None and each.chain is not None:
            yield (*where, "chain"), partial(_check_name, each.chain, config.ev)
    yield ("outbox",), lambda: check_folder(config.outbox.parent)
    yield ("signals" if config.dbc is None else "dbc",), lambda: CanMapping.read(config.dbc, config.signals or None)
    if (recording := config.can.replay) is not None:
        yield ("can", "replay"), lambda: beginning(recording)
    if (consent := config.consent_file) is not None:
        yield ("consent_file",), lambda: read_consent(consent)
    if (schemas := config.schemas) is not None:
        yield ("schemas",), lambda: registered(schemas)
    if (log := config.error_log) is not None:
        yield ("error_log",), lambda: check_folder(log.parent)
