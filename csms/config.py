"""What a CSMS is told at its start: one TOML (or YAML) file, every key described here.

Relative paths are relative to the file's folder. Unknown keys are refused with line and nearest name; so is a file that
anyone but its owner may read, and so are such private keys.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from csms.core.access import Role
from v2g.config import parse_config
from v2g.errors import ConfigError
from v2g.net.clock import ClockConfig
from v2g.net.mqtt import MqttConfig
from v2g.net.program import read_config

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Identity = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_*=+|@-][A-Za-z0-9_*=+|@.-]{0,47}$")]
"""An OCPP identity (OCPP-J 3.1.1: `identifierString`), and never the start of a path to elsewhere."""


class OcppListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where charging stations connect: `wss://host:port/<path>/<identity>`, client certificate required.

    `host` (127.0.0.1) and `port` (9443; 0 picks a free one, named in the event `ready`); `path` before the identity.
    `certificate` (PEM, leaf first, then its chain) and `key` (PEM, mode 0600) of the server.
    `client_roots`: PEM files of the roots under which stations' certificates are issued.
    `subprotocols`: OCPP versions in order of preference; list one to force it.
    `heartbeat_interval_s`: what BootNotification answers; `call_timeout_s`: how long a station may take to answer.
    `check_serial_number`: close when BootNotification names another serial number than the certificate (B01.FR.12).
    """

    host: str = "127.0.0.1"
    port: Port = 9443
    path: str = "/ocpp"
    certificate: Path
    key: Path
    client_roots: tuple[Path, ...]
    subprotocols: tuple[Literal["ocpp2.1", "ocpp2.0.1"], ...] = ("ocpp2.1", "ocpp2.0.1")
    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    call_timeout_s: Seconds = 30.0
    check_serial_number: bool = True


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bearer token of the HTTP API: whose it is (`name`), what it may do (`role`), and `sha256` of it in hex.

    Tokens are random, at least 128 bits (`openssl rand -base64 24`), so a plain hash gives nothing away.
    """

    name: str
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class ApiClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client certificate of the HTTP API: `common_name`, its `role`, and which `evs` it may report.

    Empty: only the vehicle whose pseudonym is the common name. `["*"]`: all.
    """

    common_name: str
    role: Role = Role.GATEWAY
    evs: tuple[str, ...] = ()


class ApiListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTPS API (TLS 1.3 only). Who is not named here is refused.

    `host` (127.0.0.1), `port` (8443; 0 picks a free one), `certificate` and `key` as for OCPP.
    `client_roots`: PEM files of roots for client certificates; empty accepts bearer tokens only.
    `tokens`, `clients`: who may do what. `max_body_bytes`: larger requests are refused with 413.
    """

    host: str = "127.0.0.1"
    port: Port = 8443
    certificate: Path
    key: Path
    client_roots: tuple[Path, ...] = ()
    tokens: tuple[ApiToken, ...] = ()
    clients: tuple[ApiClient, ...] = ()
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=67_108_864)] = 4_194_304


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose contract certificates are believed.

    `roots`: PEM files of MO and V2G roots. `issuers`: PEM files of CA certificates below them, needed where stations
    send hash data without the chain. `crls`: revocation lists (PEM or DER). `revoked`: serial numbers in hex.
    `ocsp_responder`: URL that is asked whatever responder a certificate names; `ocsp_timeout_s` for its answer.
    `require_ocsp`: without a responder's good word a contract certificate is not accepted.
    `profile`: `iso15118-20` (secp521r1, SHA-512) or `interop` (also P-256, SHA-256).
    """

    roots: tuple[Path, ...]
    issuers: tuple[Path, ...] = ()
    crls: tuple[Path, ...] = ()
    revoked: tuple[str, ...] = ()
    ocsp_responder: str = ""
    ocsp_timeout_s: Seconds = 5.0
    require_ocsp: bool = False
    profile: Literal["iso15118-20", "interop"] = "iso15118-20"


class StationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charging station: `id` (as in URL and certificate CN) and what BootNotification answers (`boot`)."""

    id: Identity
    boot: Literal["Accepted", "Pending", "Rejected"] = "Accepted"


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who may charge: `id_token`, its `type`, its `status` (OCPP AuthorizationStatusEnumType).

    `energy_transfer`: what the contract covers, in OCPP 2.1 EnergyTransferModeEnumType words.
    """

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    type: str = "eMAID"
    status: Literal[
        "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
        "NotAtThisTime", "Unknown",
    ] = "Accepted"  # fmt: skip
    energy_transfer: tuple[str, ...] = ("DC", "DC_BPT")


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid operator's signal: `signal_file` (JSON; read at start, on change and on SIGHUP), `poll_interval_s`.

    HTTP `PUT /grid/signal` works with or without a file. `retry_interval_s`: when a station did not take a signal.
    """

    signal_file: Path | None = None
    poll_interval_s: Seconds = 1.0
    retry_interval_s: Seconds = 30.0


class MqttSource(MqttConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker (MQTT 5, TLS 1.3) and what is subscribed there.

    `topic`: subscribed as `$share/<group>/<topic>`, so that several back ends share the stream.
    """

    topic: str = "v2g/telemetry/stream"
    group: str = "csms"


class CsmsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    `data_dir`: database, journal copies (mode 0700, made when missing). `log_level`: debug, info, warning, error.
    `mqtt`: broker from which telemetry is taken as well as by HTTP; none by default.
    `accept_unknown`: take stations that have a good certificate but no entry in `stations`.
    """

    data_dir: Path
    ocpp: OcppListener
    api: ApiListener
    trust: Trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    accept_unknown: bool = False
    stations: tuple[StationEntry, ...] = ()
    tokens: tuple[TokenEntry, ...] = ()
    grid: Grid = Grid()
    mqtt: MqttSource | None = None
    clock: ClockConfig = ClockConfig()


def load_config(path: Path) -> CsmsConfig:
    """Return the file's configuration. Raises ConfigError."""
    text = read_config(path)
    config = parse_config(text, CsmsConfig, name=str(path))
    if not config.ocpp.subprotocols:
        raise ConfigError(f"{path}: ocpp.subprotocols is empty", hint='["ocpp2.1", "ocpp2.0.1"] offers both')
    return config
