"""What a CSMS is told at its start: one TOML (or YAML) file, every key described here.

Relative paths are relative to the file's folder. Unknown keys are refused with line and nearest name; so is a file that
anyone but its owner may read, and so are such private keys.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from csms.core.access import Role
from csms.core.authorize import Group, Terms
from v2g.config import Flaw, faults, parse_config
from v2g.errors import ConfigError
from v2g.iso15118.envelope_rules import RULES, EnvelopeRules
from v2g.net.clock import ClockConfig
from v2g.net.config_files import file_faults
from v2g.net.mqtt_config import MqttConfig, TopicPrefix
from v2g.net.program import read_config
from v2g.pki.reference import KeyReference
from v2g.telemetry.delivery import TOPIC_PREFIX

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Identity = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_*=+|@-][A-Za-z0-9_*=+|@.-]{0,47}\Z")]
"""An OCPP identity (OCPP-J 3.1.1: `identifierString`), and never the start of a path to elsewhere."""


class OcppDoor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One more address for stations, with a security profile of its own (A00.FR.006): `host`, `port`, and
    `security_profile` as in `[ocpp]`, whose other keys hold here, too."""

    host: str = "127.0.0.1"
    port: Port
    security_profile: Literal[1, 2, 3]


TimeZone = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z][A-Za-z0-9_+/-]*)?\Z")]


class OcppListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where charging stations connect: `wss://host:port/<path>/<identity>`.

    `host` (127.0.0.1) and `port` (9443; 0 picks a free one, named in the event `ready`); `path` before the identity.
    `security_profile`: 3 (client certificate), 2 (password over TLS) or 1 (password, no TLS at all: for closed networks
    and trials only). `doors`: further addresses, one for each profile that is in use.
    `certificate` (PEM, leaf first, then its chain) and `key` (PEM, mode 0600) of the server, for profiles 2 and 3;
    `rsa_certificate` and `rsa_key`: a second one, for stations that know suites with RSA only (A00.FR.318).
    `client_roots`: PEM files of the roots under which stations' certificates are issued, for profile 3.
    `strict_certificates`: take only those that our own profile allows (critical extensions, elliptic keys, an O); by
    default what RFC 5280 and OCPP allow, such as RSA keys of 2048 bit.
    `organization`: what their certificates must have as O (A00.FR.404); empty does not look.
    `subprotocols`: OCPP versions in order of preference; list one to force it.
    `heartbeat_interval_s`: what BootNotification answers; `call_timeout_s`: how long a station may take to answer.
    `pending_interval_s`: when a station that was not accepted may boot again.
    `check_serial_number`: close when BootNotification names another serial number than the certificate (B01.FR.12).
    `read_device_model`: have a station that is new, or has new firmware, report its device model after its boot.
    `time_zone`: of stations whose site has none of its own ("Europe/Berlin"); empty leaves their clocks alone.
    """

    host: str = "127.0.0.1"
    port: Port = 9443
    path: str = "/ocpp"
    security_profile: Literal[1, 2, 3] = 3
    doors: tuple[OcppDoor, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    rsa_certificate: Path | None = None
    rsa_key: Path | None = None
    client_roots: tuple[Path, ...] = ()
    strict_certificates: bool = False
    organization: str = ""
    subprotocols: tuple[Literal["ocpp2.1", "ocpp2.0.1"], ...] = ("ocpp2.1", "ocpp2.0.1")
    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    pending_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 60
    call_timeout_s: Seconds = 30.0
    check_serial_number: bool = True
    read_device_model: bool = True
    time_zone: TimeZone = ""


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bearer token of the HTTP API: whose it is (`name`), what it may do (`role`), and `sha256` of it in hex.

    Tokens are random, at least 128 bits (`openssl rand -base64 24`), so a plain hash gives nothing away.
    """

    name: str
    role: Role
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


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
    `requests_per_s`, `requests_at_once`: how fast one caller may ask on and on, and how much at once; beyond it 429.
    `cors_origins`: pages of other origins that may ask from a browser; none by default.
    """

    host: str = "127.0.0.1"
    port: Port = 8443
    certificate: Path
    key: Path
    client_roots: tuple[Path, ...] = ()
    tokens: tuple[ApiToken, ...] = ()
    clients: tuple[ApiClient, ...] = ()
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=67_108_864)] = 4_194_304
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 100.0
    requests_at_once: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    cors_origins: tuple[str, ...] = ()


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose contract certificates are believed.

    `roots`: PEM files of MO and V2G roots. `cross_certificates`: PEM files of cross certificates, over which chains of
    contracts, and of vehicles that ask for them, may lead to roots. `issuers`: PEM files of CA certificates below them,
    needed where stations send hash data without the chain. `crls`: revocation lists (PEM or DER). `revoked`: serial
    numbers in hex. `ocsp_responder`: URL that is asked whatever responder a certificate names; `ocsp_timeout_s` for its
    answer.
    `status_urls`: beginnings of the URLs of further responders and lists that contract certificates and stations name,
    and that may be asked (C07, M06, M07); by default nothing is that they name.
    `require_ocsp`: without a responder's good word a contract certificate is not accepted.
    `profile`: `iso15118-20` (secp521r1, SHA-512) or `interop` (also P-256, SHA-256).
    """

    roots: tuple[Path, ...]
    cross_certificates: tuple[Path, ...] = ()
    issuers: tuple[Path, ...] = ()
    crls: tuple[Path, ...] = ()
    revoked: tuple[str, ...] = ()
    ocsp_responder: str = ""
    ocsp_timeout_s: Seconds = 5.0
    status_urls: tuple[Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]+/")], ...] = ()
    require_ocsp: bool = False
    profile: Literal["iso15118-20", "interop"] = "iso15118-20"


class Provisioning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate provisioning service, which gives contracts to vehicles (ISO 15118-20, OCPP M01).

    `pool`: folder of the contracts with the source of the passphrase that encrypts their keys, such as
    `file:pool?pin-source=file:pool.secret`. `chain` (PEM, leaf first) and `key` (PEM of mode 0600, or key URI) of the
    service's own certificate. `oem_roots`: PEM files of OEM and V2G roots of vehicles.
    `envelope`: what is open about sealed keys, for vehicles that differ.
    """

    pool: KeyReference
    chain: Path
    key: KeyReference
    oem_roots: tuple[Path, ...]
    envelope: EnvelopeRules = RULES


class StationAuthority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A built-in authority, which signs the certificates that stations ask for (OCPP A02, A03).

    `chain` (PEM: the CA's own certificate, then those above it) and `key` (PEM of mode 0600, or a reference with the
    source of its passphrase). `organization`: O of what it signs; the CA's own when empty. `days`: how long that lives;
    by the certificate profile when left out. `ocsp_url`, `crl_url`: where its revocation is told.
    """

    chain: Path
    key: KeyReference
    organization: str = ""
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    ocsp_url: str | None = None
    crl_url: str | None = None


class StationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charging station: `id` (as in URL and certificate CN) and what BootNotification answers (`boot`).

    `password`: the one it has at first, for security profiles 1 and 2; used until it is given another one.
    """

    id: Identity
    password: Annotated[str, msgspec.Meta(pattern=r"^\Z|^[ -~]{16,40}\Z")] = ""
    boot: Literal["Accepted", "Pending", "Rejected"] = "Accepted"


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who may charge: `id_token`, its `type`, its `status` (OCPP AuthorizationStatusEnumType).

    `energy_transfer`: what the contract covers, in OCPP 2.1 EnergyTransferModeEnumType words; empty: any.
    `terms`: its group, end, places, allowances, and what the driver is shown.
    """

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    type: str = "eMAID"
    status: Literal[
        "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
        "NotAtThisTime", "Unknown",
    ] = "Accepted"  # fmt: skip
    energy_transfer: tuple[str, ...] = ()
    terms: Terms = Terms()


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody whose own messages are taken: `vendor_id` (a reversed domain name) and `message_ids` (empty: all).

    What comes in DataTransfer of these is kept and shown to whoever watches; everything else is answered as unknown.
    """

    vendor_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    message_ids: tuple[str, ...] = ()


class Payments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments at terminals and on the web (OCPP C18 to C25).

    `terminals`: stations have payment terminals, and who paid there may charge; who paid on the web may without it.
    `receipt_url`: where receipts are that this side makes, with `{receipt_id}` for the receipt's number; without it
    stations make receipts themselves.
    """

    terminals: bool = False
    receipt_url: Annotated[str, msgspec.Meta(pattern=r"^(|https://[^{}]*\{receipt_id\}[^{}]*)\Z", max_length=1900)] = ""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid operator's signal: `signal_file` (JSON; read at start, on change and on SIGHUP), `poll_interval_s`.

    HTTP `PUT /grid/signal` works with or without a file. `retry_interval_s`: when a station did not take a signal.
    """

    signal_file: Path | None = None
    poll_interval_s: Seconds = 1.0
    retry_interval_s: Seconds = 30.0


class Transactions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Transactions that nobody ends: after `silent_after_s` without a word the station is asked whether it goes on.

    `check_interval_s`: how often the open ones are looked through; after a station's boot they are at once.
    """

    silent_after_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    check_interval_s: Seconds = 60.0


class Balancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sharing out of sites: anew `settle_s` after something changed, and every `interval_s` in any case.

    A set-point of dispatch ends `dispatch_duration_s` after it was last kept up.
    """

    settle_s: Seconds = 1.0
    interval_s: Seconds = 60.0
    dispatch_duration_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300


class Tariffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What charging costs: `running_cost_interval_s` is how often stations are told the cost so far (I02).

    `vehicles_are_told`: what vehicles that told their needs hear with their charging profiles: `prices` in money where
    they and the plan know it, else levels; `levels` always; `nothing`.
    """

    running_cost_interval_s: Seconds = 60.0
    vehicles_are_told: Literal["prices", "levels", "nothing"] = "prices"


class MqttSource(MqttConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker (MQTT 5, TLS 1.3) over which vehicles deliver telemetry.

    `prefix`: beginning of the topics. `stream`: publish every record that was stored at `PREFIX/stream`. `client_id`:
    by default of this node's name and `data_dir`, the same at every start; nodes of one back end need different ones.
    """

    prefix: TopicPrefix = TOPIC_PREFIX
    stream: bool = True


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom webhooks may call beside hosts of the internet: `allow` names hosts, addresses and networks.

    Such as `["billing.lan", "10.20.0.0/16"]`. By default none that is private, local, or of a cloud's own services.
    """

    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()


Days = Annotated[int, msgspec.Meta(ge=1, le=36500)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many days things are kept before they are deleted; what is not named here is kept for ever.

    `transactions_days`: transactions that are over, with their events and meter values, since something was last heard
    of them. `reports_days`: what stations reported, data transfers, values of event streams, delivered webhooks.
    `events_days`: events of devices and of security, alarms. `telemetry_days`: records of vehicles. `audit_days`: who
    did what through the API.
    """

    transactions_days: Days | None = None
    reports_days: Days | None = None
    events_days: Days | None = None
    telemetry_days: Days | None = None
    audit_days: Days | None = None


class CsmsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    `data_dir`: database, keys (mode 0700, made when missing). `log_level`: debug, info, warning, error.
    `store_url`: where the database is when not in `data_dir`, such as `postgresql://user@host/name` (a password belongs
    into `~/.pgpass`, not here).
    `store_key`: file (mode 0600, `openssl rand -hex 32`) of the key that encrypts secrets in the database, the same for
    all nodes; without it `store.key` in `data_dir`, made when missing.
    `bus_url`: the Redis server (`redis://host:6379/0`, `rediss:` for TLS) over which several back ends with one
    PostgreSQL database act as one; none by default. It needs a password (`redis://:PASSWORD@host`) unless
    `bus_without_password` says that nobody else reaches it. `node`: what this one is called there (the host's name).
    `mqtt`: broker from which telemetry is taken as well as by HTTP; none by default.
    `unknown_stations`: what becomes of stations about which neither `stations` nor an operator says anything: `refuse`
    lists them as seen at the door, `pending` lets them in and answers their boot with Pending, `accept` takes them.
    Certificates are asked of them all the same, and passwords: of those that `accept` takes and for whom none is set
    here, the first that they show is kept and asked for from then on; with `onboarding_password` that has to be it.
    `retention`: when what is old is deleted; never by default.
    `provisioning`: contracts for vehicles that ask for them; none by default.
    `station_ca`: signs certificates of stations for this end; `v2g_ca`: those that they show to vehicles, and those for
    both. Without them such requests are rejected.
    """

    data_dir: Path
    store_key: Path | None = None
    store_url: Annotated[str, msgspec.Meta(pattern=r"^(|sqlite:///.+|postgresql://.+)\Z")] = ""
    bus_url: Annotated[str, msgspec.Meta(pattern=r"^(|(redis|rediss|unix)://.+)\Z")] = ""
    bus_without_password: bool = False
    node: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{0,64}\Z")] = ""
    ocpp: OcppListener
    api: ApiListener
    trust: Trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    unknown_stations: Literal["refuse", "pending", "accept"] = "refuse"
    onboarding_password: Annotated[str, msgspec.Meta(pattern=r"^(|[ -~]{16,40})\Z")] = ""
    stations: tuple[StationEntry, ...] = ()
    tokens: tuple[TokenEntry, ...] = ()
    token_groups: tuple[Group, ...] = ()
    vendors: tuple[Vendor, ...] = ()
    payments: Payments = Payments()
    grid: Grid = Grid()
    transactions: Transactions = Transactions()
    tariffs: Tariffs = Tariffs()
    balancing: Balancing = Balancing()
    mqtt: MqttSource | None = None
    provisioning: Provisioning | None = None
    station_ca: StationAuthority | None = None
    v2g_ca: StationAuthority | None = None
    webhooks: Webhooks = Webhooks()
    retention: Retention = Retention()
    clock: ClockConfig = ClockConfig()


def load_config(path: Path) -> CsmsConfig:
    """Return the file's configuration. Raises ConfigError."""
    return parse_config(read_config(path), CsmsConfig, name=str(path), look=look)


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return everything that is wrong with a configuration, files that it names among it."""
    found = faults(text, CsmsConfig, name=name, look=look)
    return found or file_faults(text, parse_config(text, CsmsConfig, name=name), name=name)


def look(config: CsmsConfig) -> Iterator[Flaw]:
    """Tell what in a configuration cannot be meant."""
    if not config.ocpp.subprotocols:
        yield ("ocpp", "subprotocols"), "is empty", '["ocpp2.1", "ocpp2.0.1"] offers both'
    bus = urlsplit(config.bus_url)
    if bus.scheme in ("redis", "rediss") and not bus.password and not config.bus_without_password:
        hint = "set requirepass in Redis and redis://:PASSWORD@host here, or bus_without_password = true"
        yield ("bus_url",), "has no password: who reaches that Redis keeps the nodes from each other", hint
