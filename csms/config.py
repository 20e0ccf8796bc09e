"""The configuration of a CSMS: one TOML (or YAML) file, every key described here.

Relative paths are relative to the file's folder. Unknown keys are refused with line and nearest name; so is a file that
anyone but its owner may read, and so are such private keys.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from csms.domain.authorization.authorize import Group, Terms
from csms.domain.security.access import Role
from v2g.config import Flaw, faults, parse_config
from v2g.errors import ConfigError
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import file_faults
from v2g.io.runtime.program import read_config
from v2g.io.storage.growing_file import LogFiles
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.pki.reference import KeyReference
from v2g.telemetry.delivery import TOPIC_PREFIX

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Identity = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_*=+|@-][A-Za-z0-9_*=+|@.-]{0,47}\Z")]
"""An OCPP identity (OCPP-J 3.1.1: `identifierString`), and never the start of a path to elsewhere."""


class FurtherListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One more address for stations, with a security profile of its own (A00.FR.006). The other keys of `[ocpp]` hold
    here, too."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port
    """TCP port; 0 takes a free one."""
    security_profile: Literal[1, 2, 3]
    """As in `[ocpp]`."""


TimeZone = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z][A-Za-z0-9_+/-]*)?\Z")]


class OcppListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where charging stations connect: `wss://HOST:PORT/PATH/IDENTITY`."""

    renamed: ClassVar[Mapping[str, str]] = {"doors": "listeners"}

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 9443
    """TCP port; 0 takes a free one, which the event `ready` names."""
    path: str = "/ocpp"
    """Path before the identity."""
    security_profile: Literal[1, 2, 3] = 3
    """3 (client certificate), 2 (password over TLS) or 1 (password, no TLS at all: for closed networks and trials
    only)."""
    listeners: tuple[FurtherListener, ...] = ()
    """Further addresses, one for each profile that is in use."""
    certificate: Path | None = None
    """PEM file of the server's certificate, then its chain; for profiles 2 and 3."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    rsa_certificate: Path | None = None
    """PEM file of a second certificate, for stations that know suites with RSA only (A00.FR.318)."""
    rsa_key: Path | None = None
    """PEM file of its key, mode 0600."""
    client_roots: tuple[Path, ...] = ()
    """PEM files of the roots under which stations' certificates are issued, for profile 3."""
    strict_certificates: bool = False
    """Take only certificates that our own profile allows (critical extensions, elliptic keys, an O); otherwise what RFC
    5280 and OCPP allow, such as RSA keys of 2048 bit."""
    organization: str = ""
    """What stations' certificates must have as O (A00.FR.404); empty does not look."""
    subprotocols: tuple[Literal["ocpp2.1", "ocpp2.0.1"], ...] = ("ocpp2.1", "ocpp2.0.1")
    """OCPP versions in order of preference; list one to force it."""
    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    """Interval of heartbeats that BootNotification answers."""
    pending_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 60
    """When a station that was not accepted may boot again."""
    call_timeout_s: Seconds = 30.0
    """How long a station may take to answer."""
    check_serial_number: bool = True
    """Close when BootNotification names another serial number than the certificate (B01.FR.12)."""
    read_device_model: bool = True
    """Have a station that is new, or has new firmware, report its device model after its boot."""
    time_zone: TimeZone = ""
    """Time zone of stations whose site has none of its own ("Europe/Berlin"); empty leaves their clocks alone."""


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bearer token of the HTTP API.

    Tokens are random, at least 128 bits (`openssl rand -base64 24`), so a plain hash gives nothing away.
    """

    name: str
    """Whose it is, as the audit log says."""
    role: Role
    """What it may do."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the token, hex."""


class ApiClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client certificate of the HTTP API."""

    common_name: str
    """Common name of the certificate."""
    role: Role = Role.GATEWAY
    """What it may do."""
    evs: tuple[str, ...] = ()
    """Pseudonyms of the vehicles that it may report; empty: only the vehicle whose pseudonym is the common name;
    `["*"]`: all."""


class ApiListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTPS API (TLS 1.3 only). Who is not named here is refused."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 8443
    """TCP port; 0 takes a free one, which the event `ready` names."""
    certificate: Path
    """PEM file of the server's certificate, then its chain."""
    key: Path
    """PEM file of its key, mode 0600."""
    client_roots: tuple[Path, ...] = ()
    """PEM files of roots for client certificates; empty accepts bearer tokens only."""
    tokens: tuple[ApiToken, ...] = ()
    """Bearer tokens, and what they may do."""
    clients: tuple[ApiClient, ...] = ()
    """Client certificates, and what they may do."""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=67_108_864)] = 4_194_304
    """Larger requests are refused with 413."""
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 100.0
    """How many requests a second one caller may make on and on; beyond it 429."""
    requests_at_once: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """How many requests one caller may make at once; beyond it 429."""
    cors_origins: tuple[str, ...] = ()
    """Pages of other origins that may ask from a browser; none by default."""


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose contract certificates are believed."""

    roots: tuple[Path, ...]
    """PEM files of MO and V2G roots."""
    cross_certificates: tuple[Path, ...] = ()
    """PEM files of cross certificates, over which chains of contracts, and of vehicles that ask for them, may lead to
    roots."""
    issuers: tuple[Path, ...] = ()
    """PEM files of CA certificates below the roots, needed where stations send hash data without the chain."""
    crls: tuple[Path, ...] = ()
    """Revocation lists (PEM or DER) by which chains of contracts, and of vehicles that ask for them, are judged; read
    anew when renewed."""
    revoked: tuple[str, ...] = ()
    """Serial numbers of revoked certificates, hex."""
    ocsp_responder: str = ""
    """URL of a responder that is asked whatever responder a certificate names; empty asks the one that it names, as far
    as `status_urls` allow."""
    ocsp_timeout_s: Seconds = 5.0
    """How long a responder's answer is waited for."""
    status_urls: tuple[Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]+/")], ...] = ()
    """Beginnings of the URLs of further responders and lists that contract certificates and stations name, and that may
    be asked (C07, M06, M07); by default nothing is that they name."""
    revocation_unknown: Literal["refuse", "accept"] = "refuse"
    """What becomes of certificates, of contracts and of vehicles that ask for contracts, of which neither a responder
    nor a list of `crls` says that they are not revoked: `refuse` (C07.FR.05), or `accept`, which is told once for each
    (`revocation_unknown`) and counted by `GET /health`. One that is known to be revoked is refused by either."""
    profile: Literal["iso15118-20", "interop"] = "iso15118-20"
    """Which certificates are believed: `iso15118-20` (secp521r1, SHA-512) or `interop` (also P-256, SHA-256)."""


class Provisioning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate provisioning service, which gives contracts to vehicles (ISO 15118-20, OCPP M01)."""

    pool: KeyReference
    """Folder of the contracts with the source of the passphrase that encrypts their keys, such as
    `file:pool?pin-source=file:pool.secret`."""
    chain: Path
    """PEM file of the service's own certificate, leaf first."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or key URI."""
    oem_roots: tuple[Path, ...]
    """PEM files of OEM and V2G roots of vehicles."""
    envelope: EnvelopeRules = RULES
    """What is open about sealed keys, for vehicles that differ."""


class StationAuthority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A built-in authority, which signs the certificates that stations ask for (OCPP A02, A03)."""

    chain: Path
    """PEM file: the CA's own certificate, then those above it."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or a reference with the source of its passphrase."""
    organization: str = ""
    """O of what it signs; the CA's own when empty."""
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    """How long that lives, days; by the certificate profile when left out."""
    ocsp_url: str | None = None
    """URL of the responder that tells its revocation; none names none."""
    crl_url: str | None = None
    """URL of the list that tells its revocation; none names none."""


class StationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charging station."""

    id: Identity
    """Identity, as in its URL and in its certificate's CN."""
    password: Annotated[str, msgspec.Meta(pattern=r"^\Z|^[ -~]{16,40}\Z")] = ""
    """Password that it has at first, for security profiles 1 and 2; used until it is given another one."""
    boot: Literal["Accepted", "Pending", "Rejected"] = "Accepted"
    """What BootNotification answers."""


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who may charge."""

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The identifier, such as an eMAID or a card's number."""
    type: str = "eMAID"
    """Kind of identifier (OCPP IdTokenType)."""
    status: Literal[
        "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
        "NotAtThisTime", "Unknown",
    ] = "Accepted"  # fmt: skip
    """What Authorize answers (OCPP AuthorizationStatusEnumType)."""
    energy_transfer: tuple[str, ...] = ()
    """What the contract covers, in words of OCPP 2.1's EnergyTransferModeEnumType; empty: any."""
    terms: Terms = Terms()
    """Its group, end, places, allowances, and what the driver is shown."""


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody whose own messages are taken.

    What comes in DataTransfer of these is kept and shown to whoever watches; everything else is answered as unknown.
    """

    vendor_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """Who it is, a reversed domain name."""
    message_ids: tuple[str, ...] = ()
    """Messages that are taken; empty: all."""


class Payments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments at terminals and on the web (OCPP C18 to C25)."""

    terminals: bool = False
    """Stations have payment terminals, and who paid there may charge; who paid on the web may without it."""
    receipt_url: Annotated[str, msgspec.Meta(pattern=r"^(|https://[^{}]*\{receipt_id\}[^{}]*)\Z", max_length=1900)] = ""
    """Where receipts are that this side makes, with `{receipt_id}` for the receipt's number; empty has stations make
    receipts themselves."""


class OpenAdr(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A VTN of OpenADR 3.1, whose events bring prices, limits and set-points; this end is its VEN."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """Base URL of the VTN's API, such as `https://vtn.example/openadr3/3.1.0`; `http:` only on this machine."""
    token_url: Annotated[str, msgspec.Meta(pattern=r"^(|https?://[^\s]+)\Z", max_length=1900)] = ""
    """Where tokens are requested (OAuth 2.0 client credentials); empty is `auth/token` below `url`."""
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Client ID from the VTN's operator."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    scope: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Scopes to request, separated by blanks; empty leaves them to the authorization server."""
    root: Path | None = None
    """CA of the VTN's certificate (PEM); without it those of the system."""
    ven_name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """Name of this VEN."""
    programs: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=128)], ...] = ()
    """Names of the programs to follow; empty: all that the VTN shows."""
    targets: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=128)], ...] = ()
    """Targets whose events are requested."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    """ISO 4217 code of the prices; those in another currency are not used."""
    import_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    """Import limit of the site, W, where no event sets a lower one."""
    export_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Export limit of the site, W, where no event sets a lower one."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between requests for events."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from this long after the VTN's last answer."""
    price_horizon_s: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 86400
    """How far ahead prices are passed on to stations."""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid operator's signal. HTTP `PUT /grid/signal` works with or without a file."""

    signal_file: Path | None = None
    """JSON file of the signal, read at start, on change and on SIGHUP; none reads none."""
    poll_interval_s: Seconds = 1.0
    """How often the file is looked at."""
    retry_interval_s: Seconds = 30.0
    """After which time a station that did not take a signal is sent it again."""
    openadr: OpenAdr | None = None
    """A VTN of OpenADR 3.1 as the signal's source; none by default."""


class Transactions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Transactions that nobody ends."""

    silent_after_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    """After this long without a word the station is asked whether a transaction goes on."""
    check_interval_s: Seconds = 60.0
    """How often the open ones are looked through; after a station's boot they are at once."""


class Balancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sharing out of sites."""

    settle_s: Seconds = 1.0
    """What changes within this time is shared out together."""
    interval_s: Seconds = 60.0
    """Shares are worked out anew this often in any case."""
    dispatch_duration_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    """A set-point of dispatch ends this long after it was last kept up."""


class Tariffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What charging costs."""

    running_cost_interval_s: Seconds = 60.0
    """How often stations are told the cost so far (I02)."""
    vehicles_are_told: Literal["prices", "levels", "nothing"] = "prices"
    """What vehicles that told their needs hear with their charging profiles: `prices` in money where they and the plan
    know it, else levels; `levels` always; `nothing`."""


class MqttSource(MqttConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker (MQTT 5, TLS 1.3) over which vehicles deliver telemetry.

    An empty `client_id` is made of this node's name and `data_dir`, the same at every start; nodes of one back end need
    different ones.
    """

    prefix: TopicPrefix = TOPIC_PREFIX
    """Beginning of the topics."""
    stream: bool = True
    """Publish every record that was stored at `PREFIX/stream`."""


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom webhooks may call beside hosts of the internet."""

    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Hosts, addresses and networks, such as `["billing.lan", "10.20.0.0/16"]`; by default none that is private, local,
    or of a cloud's own services."""


Days = Annotated[int, msgspec.Meta(ge=1, le=36500)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many days things are kept before they are deleted; what is not named here is kept for ever."""

    transactions_days: Days | None = None
    """Transactions that are over, with their events and meter values, since something was last heard of them, days."""
    reports_days: Days | None = None
    """What stations reported, data transfers, values of event streams, delivered webhooks, days."""
    events_days: Days | None = None
    """Events of devices and of security, alarms, days."""
    telemetry_days: Days | None = None
    """Records of vehicles, days."""
    audit_days: Days | None = None
    """Who did what through the API, days."""


class CsmsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    data_dir: Path
    """Folder of database and keys, mode 0700, made when missing."""
    store_key: Path | None = None
    """File (mode 0600, `openssl rand -hex 32`) of the key that encrypts secrets in the database, the same for all
    nodes; without it `store.key` in `data_dir`, made when missing."""
    store_url: Annotated[str, msgspec.Meta(pattern=r"^(|sqlite:///.+|postgresql://.+)\Z")] = ""
    """Where the database is when not in `data_dir`, such as `postgresql://user@host/name`; a password belongs into
    `~/.pgpass`, not here."""
    bus_url: Annotated[str, msgspec.Meta(pattern=r"^(|(redis|rediss|unix)://.+)\Z")] = ""
    """Redis server (`redis://:PASSWORD@host:6379/0`, `rediss:` for TLS) over which several back ends with one
    PostgreSQL database act as one; empty is none."""
    bus_without_password: bool = False
    """Take a Redis server without a password, because nobody else reaches it."""
    node: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{0,64}\Z")] = ""
    """What this node is called on the bus; empty is the host's name."""
    ocpp: OcppListener
    """Where charging stations connect."""
    api: ApiListener
    """The HTTPS API."""
    trust: Trust
    """Whose contract certificates are believed."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important log line that is written."""
    log: LogFiles = LogFiles()
    """Files of events and log."""
    unknown_stations: Literal["refuse", "pending", "accept"] = "refuse"
    """What becomes of stations about which neither `stations` nor an operator says anything: `refuse` lists their
    attempts (`v2g csms admissions`), `pending` lets them in and answers their boot with Pending, `accept` takes them.
    Certificates and passwords are asked of them all the same."""
    onboarding_password: Annotated[str, msgspec.Meta(pattern=r"^(|[ -~]{16,40})\Z")] = ""
    """The first password that `accept` takes of a station for whom none is set; empty takes the first that it shows. It
    is kept and asked for from then on."""
    stations: tuple[StationEntry, ...] = ()
    """Charging stations that are known."""
    tokens: tuple[TokenEntry, ...] = ()
    """Who may charge."""
    token_groups: tuple[Group, ...] = ()
    """Groups of those who may charge."""
    vendors: tuple[Vendor, ...] = ()
    """Whose own messages are taken."""
    payments: Payments = Payments()
    """Payments at terminals and on the web."""
    grid: Grid = Grid()
    """The grid operator's signal."""
    transactions: Transactions = Transactions()
    """Transactions that nobody ends."""
    tariffs: Tariffs = Tariffs()
    """What charging costs."""
    balancing: Balancing = Balancing()
    """Sharing out of sites."""
    mqtt: MqttSource | None = None
    """Broker from which telemetry is taken as well as by HTTP; none by default."""
    provisioning: Provisioning | None = None
    """Contracts for vehicles that ask for them; none by default."""
    station_ca: StationAuthority | None = None
    """Signs certificates of stations for this end; without it such requests are rejected."""
    v2g_ca: StationAuthority | None = None
    """Signs the certificates that stations show to vehicles, and those for both; without it such requests are
    rejected."""
    webhooks: Webhooks = Webhooks()
    """Whom webhooks may call."""
    retention: Retention = Retention()
    """When what is old is deleted; never by default."""
    clock: ClockConfig = ClockConfig()
    """Simulated time."""


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
    vtn = config.grid.openadr
    for key, url in (("url", vtn.url), ("token_url", vtn.token_url)) if vtn is not None else ():
        if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
            yield ("grid", "openadr", key), "would send the client secret without encryption", "use https://"
    bus = urlsplit(config.bus_url)
    if bus.scheme in ("redis", "rediss") and not bus.password and not config.bus_without_password:
        hint = "set requirepass in Redis and redis://:PASSWORD@host here, or bus_without_password = true"
        yield ("bus_url",), "has no password: who reaches that Redis keeps the nodes from each other", hint
