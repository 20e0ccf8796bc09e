"""The configuration of a CSMS: one TOML (or YAML) file; every key is described here.

Relative paths are relative to the file's folder. Unknown keys are rejected with line and nearest name; so are files
and private keys that others than their owner may read.
"""

import socket
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

import msgspec

from csms.accounts.config import ApiClient, ApiToken, FirstAdmin, OpenId
from csms.accounts.rules import NO_PEOPLE, OF_VEHICLES
from csms.alerts.config import AlertsConfig, look_at_alerts
from csms.attestations.config import AttestationConfig
from csms.grid.config import Grid, _is_private, check_prices, look_at_grid
from csms.home_assistant.config import HomeAssistant
from csms.payments.config import Payments
from csms.settlements.rules import SettlementRules
from csms.sites.rules import Balancing
from csms.telemetry.aggregates import AGGREGATES
from csms.telemetry.config import IngestionWorker, MqttSource, TelemetryConfig
from csms.tokens.rules import Group, TokenEntry, check_form
from csms.transactions.rules import Transactions
from csms.uptime.rules import UptimeRules
from csms.webhooks.rules import Webhooks, is_reach
from v2g.battery.detectors import DetectorSettings
from v2g.battery.scores import ScoreSettings
from v2g.config import Days, Flaw, Port, Seconds, faults, parse_config
from v2g.energy.grid_signal import parse_grid_signal
from v2g.energy.settlement.pieces import zone_of
from v2g.energy.settlement.taxes import Taxation, VatRate
from v2g.errors import ConfigError
from v2g.io.http.known_client import EstServer
from v2g.io.http.pools import PoolServer
from v2g.io.keys.wrapped import read_wrapped
from v2g.io.ota.opening import FollowerConfig, installer_flaws
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_folder, file_faults
from v2g.io.runtime.program import read_config
from v2g.io.storage.growing_file import LogFiles
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.ocpp.quirks import StationQuirks
from v2g.pki.reference import KeyReference
from v2g.units import payable


class FurtherListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another address for stations, with its own security profile (A00.FR.006). The other keys of `[ocpp]` apply
    here, too."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port
    """TCP port; 0 picks a free one."""
    security_profile: Literal[1, 2, 3]
    """As in `[ocpp]`."""


TimeZone = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z][A-Za-z0-9_+/-]*)?\Z")]


class OcppListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where charging stations connect: `wss://HOST:PORT/PATH/IDENTITY`."""

    renamed: ClassVar[Mapping[str, str]] = {"doors": "listeners"}

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 9443
    """TCP port; 0 picks a free one, reported in the event `ready`."""
    path: str = "/ocpp"
    """Path before the identity."""
    security_profile: Literal[1, 2, 3] = 3
    """3 (client certificate), 2 (password over TLS) or 1 (password, no TLS at all: for closed networks and trials
    only)."""
    listeners: tuple[FurtherListener, ...] = ()
    """Further addresses, one for each security profile in use."""
    certificate: Path | None = None
    """PEM file of the server's certificate, then its chain; for profiles 2 and 3."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    rsa_certificate: Path | None = None
    """PEM file of a second certificate, for stations that support only RSA suites (A00.FR.318)."""
    rsa_key: Path | None = None
    """PEM file of its key, mode 0600."""
    client_roots: tuple[Path, ...] = ()
    """PEM files of the roots under which stations' certificates are issued, for profile 3."""
    strict_certificates: bool = False
    """Accept only certificates of the strict profile (critical extensions, elliptic keys, an O); otherwise all that RFC
    5280 and OCPP allow, such as RSA keys of 2048 bit."""
    organization: str = ""
    """Required O of stations' certificates (A00.FR.404); empty does not check."""
    subprotocols: tuple[Literal["ocpp2.1", "ocpp2.0.1", "ocpp1.6"], ...] = ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")
    """OCPP versions in order of preference; a single one forces it."""
    heartbeat_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    """Heartbeat interval in BootNotification responses."""
    pending_interval_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 60
    """Interval after which a station that was not accepted boots again."""
    call_timeout_s: Seconds = 30.0
    """Time-out for stations' answers."""
    pause_after_boot_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0
    """How long after its boot a station of 1.6 gets no requests, at least; makes that need longer are in `quirks`."""
    quirks: tuple[StationQuirks, ...] = ()
    """What is tolerated of stations by vendor, model and firmware; the first entry that fits replaces the built-in
    [table](field-quirks.md#stations)."""
    check_serial_number: bool = True
    """Close the connection when BootNotification and certificate have different serial numbers (B01.FR.12)."""
    read_device_model: bool = True
    """Request a report of the device model after the boot of a new station, or one with new firmware."""
    time_zone: TimeZone = ""
    """Time zone of stations whose site has none ("Europe/Berlin"); empty leaves their clocks unchanged."""


class ApiListener(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTPS API (TLS 1.3 only). Callers not listed here are rejected."""

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: Port = 8443
    """TCP port; 0 picks a free one, reported in the event `ready`."""
    certificate: Path
    """PEM file of the server's certificate, then its chain."""
    key: Path
    """PEM file of its key, mode 0600."""
    client_roots: tuple[Path, ...] = ()
    """PEM files of roots for client certificates; empty accepts bearer tokens only."""
    crls: tuple[Path, ...] = ()
    """Revocation lists (PEM or DER) of the authorities of client certificates, read again when they change: the next
    request with a certificate that one of them has is refused, also over a connection that is open."""
    tokens: tuple[ApiToken, ...] = ()
    """Bearer tokens and their roles."""
    clients: tuple[ApiClient, ...] = ()
    """Client certificates and their roles."""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=67_108_864)] = 4_194_304
    """Larger requests are rejected with 413."""
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 100.0
    """Sustained requests per second of one caller; beyond it 429."""
    requests_at_once: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Burst of requests of one caller; beyond it 429."""
    cors_origins: tuple[Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[a-z0-9.:\[\]-]{1,253})\Z")], ...] = ()
    """Origins of web pages that may call the API (CORS), such as `https://app.example`; none by default."""
    console: bool = True
    """Whether the operator's console is served at /console, and people may log in."""
    first_admin: FirstAdmin | None = None
    """The first administrator of the console."""
    origin: Annotated[str, msgspec.Meta(pattern=r"^(https://[a-z0-9.-]{1,253}(:[1-9][0-9]{0,4})?)?\Z")] = ""
    """Where browsers find the console, as `https://csms.example:8443`: passkeys are of this host. Without it there are
    none."""
    openid: OpenId | None = None
    """An OpenID provider by which people log in, too; none by default."""
    docs: Path | None = None
    """Folder of the documentation as `make docs` builds it, which everyone may then read at /docs."""


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Trusted contract certificates."""

    roots: tuple[Path, ...]
    """PEM files of MO and V2G roots: of contracts, and of chargers whose journals are booked."""
    cross_certificates: tuple[Path, ...] = ()
    """PEM files of cross certificates, over which chains of contracts and of vehicles that request them may lead to
    roots."""
    issuers: tuple[Path, ...] = ()
    """PEM files of CA certificates below the roots, needed where stations send hash data without the chain."""
    crls: tuple[Path, ...] = ()
    """Revocation lists (PEM or DER) for chains of contracts and of vehicles that request them; renewed files are
    read again."""
    revoked: tuple[Annotated[str, msgspec.Meta(pattern=r"^(0x)?[0-9A-Fa-f]{1,64}\Z")], ...] = ()
    """Serial numbers of revoked certificates, hex."""
    ocsp_responder: str = ""
    """URL of a responder that replaces the one in a certificate; empty uses the certificate's, if
    `status_urls` allow it."""
    ocsp_timeout_s: Seconds = 5.0
    """Time-out for a responder's answer."""
    status_urls: tuple[Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]+/")], ...] = ()
    """URL prefixes of further responders and lists that contract certificates and stations may
    name (C07, M06, M07); none by default."""
    revocation_unknown: Literal["refuse", "accept"] = "refuse"
    """Policy for certificates, of contracts, of vehicles that request them and of services that sign them in pools
    outside, whose revocation status is unknown from responders and `crls`: `refuse` (C07.FR.05), or `accept`, which is
    reported once for each (`revocation_unknown`) and counted by `GET /health`. Certificates known to be revoked are
    always rejected."""
    profile: Literal["iso15118-20", "interop"] = "iso15118-20"
    """Accepted certificates: `iso15118-20` (secp521r1, SHA-512; contracts on secp256r1 by the profile of ISO 15118-2)
    or `interop` (also P-256, SHA-256)."""


class StationAuthority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A built-in authority, which signs certificates that stations request (OCPP A02, A03)."""

    chain: Path
    """PEM file: the CA's own certificate, then its chain."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or a reference with the source of its passphrase."""
    organization: str = ""
    """O of issued certificates; the CA's own when empty."""
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    """Lifetime of issued certificates, days; by default that of the certificate profile."""
    ocsp_url: str | None = None
    """URL of the OCSP responder in issued certificates; empty omits it."""
    crl_url: str | None = None
    """URL of the revocation list in issued certificates; empty omits it."""


class OutsideCa(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CA outside, such as a V2G CA, that issues certificates which stations request, in place of a built-in one."""

    est: EstServer | None = None
    """Its EST server, and how this back end shows who it is; without, a person asks it: `v2g csms trust requests`."""
    roots: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Roots (PEM) to one of which its certificates have to lead."""
    kinds: Annotated[
        tuple[Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate", "Combined"], ...],
        msgspec.Meta(min_length=1),
    ] = ("V2GCertificate", "V2G20Certificate")
    """Kinds of certificates that it issues."""
    stations: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=48)], ...] = ()
    """Identities of its stations, with `*` and `?`; empty: all. The first CA that fits is asked."""
    patience_h: Annotated[float, msgspec.Meta(ge=0.01, le=2_160)] = 168.0
    """How long a request may take until its certificate is delivered, h."""


class Provisioning2(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provisioning service's certificate for vehicles of ISO 15118-2, on secp256r1."""

    chain: Path
    """PEM file of its certificate, leaf first."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or key URI."""


class Provisioning(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate provisioning service, which issues contracts to vehicles (ISO 15118-20, ISO 15118-2; OCPP M01,
    M02)."""

    pool: KeyReference
    """Folder of the contracts with the source of the passphrase that encrypts their keys, such as
    `file:pool?pin-source=file:pool.secret`."""
    chain: Path
    """PEM file of the service's own certificate, leaf first."""
    key: KeyReference
    """Its key: PEM file of mode 0600, or key URI."""
    oem_roots: tuple[Path, ...]
    """PEM files of OEM and V2G roots of vehicles."""
    oem_sub_cas: tuple[Path, ...] = ()
    """PEM files of the CAs below them: vehicles of ISO 15118-2 send their provisioning certificate alone."""
    iso15118_2: Provisioning2 | None = None
    """The service's certificate for ISO 15118-2; none: the one above, if it is on secp256r1."""
    envelope: EnvelopeRules = RULES
    """Options of sealed keys, for vehicles that differ."""


Identity = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_*=+|@-][A-Za-z0-9_*=+|@.-]{0,47}\Z")]
"""An OCPP identity (OCPP-J 3.1.1: `identifierString`), and never the start of a path to elsewhere."""


class StationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charging station."""

    id: Identity
    """Identity, as in its URL and in its certificate's CN."""
    password: Annotated[str, msgspec.Meta(pattern=r"^\Z|^[ -~]{16,40}\Z")] = ""
    """Initial password, for security profiles 1 and 2; used until it is changed."""
    boot: Literal["Accepted", "Pending", "Rejected"] = "Accepted"
    """Status in BootNotification responses."""
    without_password: bool = False
    """Admit it by its identity alone where it speaks OCPP 1.6 and shows no password (security profile 0), at the
    listener of profile 1: whoever knows the identity can be this station."""
    without_subprotocol: bool = False
    """Take it as a station of OCPP 1.6 if it offers no WebSocket subprotocol, and read one in wrong case."""


class OutsidePool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A pool outside that has contracts for vehicles, besides or in place of the own one (`provisioning`)."""

    server: PoolServer
    """Its server, and how this back end shows who it is."""
    vehicles: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=18)], ...] = ()
    """Provisioning identifiers (PCID) of its vehicles, with `*` and `?`, such as a maker's `WVW*`; empty: all."""
    editions: Annotated[tuple[Literal["iso15118-20", "iso15118-2"], ...], msgspec.Meta(min_length=1)] = (
        "iso15118-20",
        "iso15118-2",
    )
    """Whose vehicles it serves."""
    before_own: bool = False
    """Asked before the own pool; else when that has no contract. Pools are asked in their order."""


class TrustListSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed list of the roots that an ecosystem trusts (CTL of OPCP), to which stations are brought by order."""

    server: PoolServer
    """Its server, and how this back end shows who it is."""
    roots: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Roots (PEM) to one of which the certificate of the list's signer has to lead."""
    every_h: Annotated[float, msgspec.Meta(ge=0.1, le=720)] = 6.0
    """How often it is fetched, h."""
    secret_file: Path | None = None
    """File (mode 0600) with the secret of a subscription whose events come to `/trust/events`; none: they are
    refused."""


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vendor whose messages are accepted.

    Their DataTransfer content is stored and published; that of other vendors is answered as unknown.
    """

    vendor_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The vendor id, a reversed domain name."""
    message_ids: tuple[str, ...] = ()
    """Accepted message ids; empty: all."""


class Tariffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Costs of charging."""

    renamed: ClassVar[Mapping[str, str]] = {"vehicles_are_told": "vehicle_prices"}

    running_cost_interval_s: Seconds = 60.0
    """Interval of updates of the running cost to stations (I02)."""
    vehicle_prices: Literal["prices", "levels", "nothing"] = "prices"
    """Prices in the charging profiles of vehicles that sent their needs: `prices` in money where vehicle and plan
    support it, else levels; `levels` always; `nothing`."""


class DatexPush(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A national access point to which places, prices and status are sent as DATEX II: what is open, in snapshots."""

    table_url: Annotated[str, msgspec.Meta(pattern=r"^https://[!-~]{1,1000}\Z")]
    """Where static data is sent."""
    status_url: Annotated[str, msgspec.Meta(pattern=r"^https://[!-~]{1,1000}\Z")]
    """Where dynamic data is sent."""
    certificate: Path
    """PEM chain of our client certificate; a renewed one is used at once."""
    key: Path
    """Its key, mode 0600."""
    roots: tuple[Path, ...] = ()
    """PEM files of roots of its certificate, besides those of the system."""
    every_s: Annotated[float, msgspec.Meta(ge=1, le=60)] = 10.0
    """How often what has changed is sent, s."""


class RoamingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Roaming by OCPI 2.2.1 and 2.3.0. Partners reach it at the API's port, below `/ocpi`."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https://[!-~]{1,200}[^/]\Z")]
    """The API's URL as partners reach it, such as `https://csms.example:8443`, without a slash at its end."""
    country_code: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
    """The operator's country (ISO 3166-1 alpha-2)."""
    party_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{3}\Z")]
    """The operator's party id (eMI3)."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """The operator's name."""
    legal_name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """The company's name in the commercial register, for national access points; empty: it is not published."""
    roles: Annotated[tuple[Literal["CPO", "EMSP"], ...], msgspec.Meta(min_length=1, max_length=2)] = ("CPO", "EMSP")
    """`CPO` offers stations to partners' drivers, `EMSP` gives own drivers access to partners' stations."""
    open_data: bool = False
    """Places, status and prices for everybody, as DATEX II and OCPI, below `/ocpi/open`."""
    datex_push: DatexPush | None = None
    """A national access point to which the same is sent."""
    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Private hosts, addresses and networks that may be called, as in `webhooks`."""
    roots: tuple[Path, ...] = ()
    """PEM files of roots of partners' certificates, besides those of the system."""
    timeout_s: Seconds = 10.0
    """How long a partner may take to answer, s."""
    authorize_timeout_s: Seconds = 4.0
    """How long a partner may take to authorize a driver, s; then the token's whitelist rule decides."""
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 20.0
    """Requests a second that each partner may send."""
    requests_at_once: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Requests that each partner may send at once."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retention in days; what is set to nothing is stored for ever."""

    transactions_days: Days | None = None
    """Completed transactions, with their events and meter values, since their last message, and payments, starts,
    reservations, battery swaps and roaming sessions that are over, days."""
    reports_days: Days | None = None
    """Station reports, data transfers, values of event streams, delivered webhooks, days."""
    events_days: Days | None = None
    """Device and security events, alarms, courses of power, states of connectors, from which uptime follows, days."""
    telemetry_days: Annotated[int, msgspec.Meta(ge=1, le=730)] = 3
    """Telemetry records, days since their arrival; 24 months at most. Their aggregates stay."""
    telemetry_aggregates_days: Annotated[int, msgspec.Meta(ge=1, le=1095)] = 730
    """Aggregates of telemetry, days; 36 months at most."""
    audit_days: Days | None = None
    """The audit log of the API, days."""


class CsmsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    renamed: ClassVar[Mapping[str, str]] = {"log_level": "log.level", "accept_unknown": "unknown_stations"}

    data_dir: Path
    """Folder of database and keys, mode 0700, created when missing."""
    store_key: Path | None = None
    """File (mode 0600, `openssl rand -hex 32`) of the key that encrypts secrets in the database, the same for all
    nodes; without it `store.key` in `data_dir`, created when missing."""
    books_key: KeyReference | None = None
    """The operator's key, which signs corrections, receipts of journals and closed months: PEM file of mode 0600, or
    key URI, the same for all nodes; without it `books.key` in `data_dir`, created when missing."""
    books_earlier_keys: tuple[Path, ...] = ()
    """PEM files of public keys that signed before `books_key` (`v2g csms books key`): what they signed stays valid."""
    store_url: Annotated[str, msgspec.Meta(pattern=r"^(|sqlite:///.+|postgresql://.+)\Z")] = ""
    """URL of the database when not in `data_dir`, such as `postgresql://user@host/name`; a password belongs in
    `~/.pgpass`, not here."""
    bus_url: Annotated[str, msgspec.Meta(pattern=r"^(|(redis|rediss|unix)://.+)\Z")] = ""
    """Redis server (`redis://:PASSWORD@host:6379/0`, `rediss:` for TLS) that connects several back ends with one
    PostgreSQL database to a cluster; empty: none."""
    bus_without_password: bool = False
    """Accept a Redis server without a password, on an isolated network."""
    shared_ports: bool = False
    """Whether other nodes of this machine listen at the same ports: the kernel gives each new connection to one of
    them (SO_REUSEPORT). So one machine runs a node for each core."""
    node: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{0,64}\Z")] = ""
    """This node's name on the bus; empty is the host's name."""
    ocpp: OcppListener
    """Where charging stations connect."""
    api: ApiListener
    """The HTTPS API."""
    trust: Trust
    """Trusted contract certificates."""
    attestation: AttestationConfig | None = None
    """Attestation of stations; none: they are not asked."""
    log: LogFiles = LogFiles()
    """Events and log."""
    unknown_stations: Literal["refuse", "pending", "accept"] = "refuse"
    """Policy for stations that neither `stations` nor an operator decides about: `refuse` lists their
    attempts (`v2g csms admissions`), `pending` admits them and answers their boot with Pending, `accept` accepts them.
    Certificates and passwords are required in any case."""
    onboarding_password: Annotated[str, msgspec.Meta(pattern=r"^(|[ -~]{16,40})\Z")] = ""
    """The first password that `accept` requires of a station without one; empty accepts the first one it sends. It
    is stored and required from then on."""
    stations: tuple[StationEntry, ...] = ()
    """Known charging stations."""
    tokens: tuple[TokenEntry, ...] = ()
    """Known tokens."""
    token_groups: tuple[Group, ...] = ()
    """Groups of tokens."""
    vendors: tuple[Vendor, ...] = ()
    """Vendors whose messages are accepted."""
    payments: Payments = Payments()
    """Payments at terminals and on the web."""
    grid: Grid = Grid()
    """The grid operator's signal."""
    transactions: Transactions = Transactions()
    """Abandoned transactions."""
    settlement: SettlementRules = SettlementRules()
    """What a session's journal must fulfil to be booked."""
    vat: Annotated[tuple[VatRate, ...], msgspec.Meta(max_length=100)] = ()
    """Rates of VAT on settlements, whose prices are net; without any they have none. Each session keeps those of the
    time at which its complete journal arrived: the operator signs them with the receipt of the journal, and books,
    receipts, corrections and `v2g csms books verify` use them."""
    tariffs: Tariffs = Tariffs()
    """Costs of charging."""
    balancing: Balancing = Balancing()
    """Load balancing of sites."""
    mqtt: MqttSource | None = None
    """Broker for telemetry, in addition to HTTP; none by default."""
    ingestion_worker: IngestionWorker = IngestionWorker()
    """Processes that store telemetry."""
    telemetry: TelemetryConfig = TelemetryConfig()
    """What happens to stored telemetry."""
    battery: DetectorSettings = DetectorSettings()
    """What the detectors find in the telemetry of batteries."""
    scores: ScoreSettings = ScoreSettings()
    """What counts in scores of vehicles whose persons consent to them."""
    provisioning: Provisioning | None = None
    """Contracts for vehicles; none by default."""
    outside_pools: Annotated[tuple[OutsidePool, ...], msgspec.Meta(max_length=20)] = ()
    """Pools outside that are asked for contracts, too; what they answer is verified by `trust.roots`, which need the
    V2G roots of their services."""
    trust_list: TrustListSource | None = None
    """The roots that an ecosystem trusts; none: roots are installed one by one."""
    station_ca: StationAuthority | None = None
    """Signs certificates that stations use towards the CSMS; without it such requests are rejected."""
    v2g_ca: StationAuthority | None = None
    """Signs certificates that stations use towards vehicles, and combined ones; without it such requests are
    rejected."""
    outside_cas: Annotated[tuple[OutsideCa, ...], msgspec.Meta(max_length=20)] = ()
    """CAs outside that are asked in place of these two."""
    home_assistant: HomeAssistant | None = None
    """A Home Assistant where sites and vehicles appear; none by default."""
    webhooks: Webhooks = Webhooks()
    """Hosts that webhooks may call."""
    roaming: RoamingConfig | None = None
    """Roaming by OCPI; none by default."""
    alerts: AlertsConfig = AlertsConfig()
    """Alerts: rules, escalation, e-mail."""
    accounting_time_zone: TimeZone = "UTC"
    """Time zone of the months in which settlements are posted; it cannot change later."""
    uptime: Annotated[tuple[UptimeRules, ...], msgspec.Meta(max_length=20)] = ()
    """Own definitions of uptime, beside those that come with the program or in place of ones of the same name."""
    retention: Retention = Retention()
    """Retention of old data; by default nothing is deleted but telemetry."""
    update: FollowerConfig | None = None
    """Updates of this node by signed releases, one node of a cluster at a time; none: by other means."""
    clock: ClockConfig = ClockConfig()
    """Simulated time."""

    @property
    def node_name(self) -> str:
        """`node`, or the host's name."""
        return self.node or socket.gethostname()

    @property
    def accounting_zone(self) -> tzinfo:
        """`accounting_time_zone`. Raises ValueError if it is unknown."""
        return zone_of(self.accounting_time_zone or "UTC")

    @property
    def taxation(self) -> Taxation:
        """`vat`, by days of `accounting_time_zone`."""
        return Taxation(rates=self.vat, zone=self.accounting_time_zone or "UTC")


def load_config(path: Path) -> CsmsConfig:
    """Return the file's configuration. Raises ConfigError."""
    return parse(read_config(path), name=str(path))


def parse(text: str, *, name: str) -> CsmsConfig:
    """Return the configuration in `text`; `name` is the file's name. Raises ConfigError."""
    return parse_config(text, CsmsConfig, name=name, look=look)


def notes(text: str, *, name: str) -> list[str]:
    """Return what telemetry is not sealed in the database by a valid configuration."""
    sealed = parse_config(text, CsmsConfig, name=name).telemetry.sealed
    return [] if sealed else ["plain on the disk: telemetry with positions in the database (telemetry.sealed)"]


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration, including the files that it names."""
    found = faults(text, CsmsConfig, name=name, look=look)
    if found:
        return found
    config, serves = parse_config(text, CsmsConfig, name=name), ("ocpp", "ocpp.listeners", "api")
    roots = {"station_ca": ("ocpp.client_roots", config.ocpp.client_roots, ())}
    return file_faults(text, config, name=name, openers=_openers(config), serves=serves, roots=roots)


def _openers(config: CsmsConfig) -> Iterator[OfKey]:
    """Yield what else has to be opened, each with its key."""
    if (signal := config.grid.signal_file) is not None:
        yield ("grid", "signal_file"), lambda: parse_grid_signal(signal.read_bytes())
    for number, feed in enumerate(config.grid.prices):
        if feed.file is not None:
            yield ("grid", "prices", str(number), "file"), partial(check_prices, feed)
    for number, token in enumerate(config.tokens):
        yield ("tokens", str(number), "id_token"), partial(check_form, token.type, token.id_token)
    if (key := config.store_key) is not None:
        yield ("store_key",), lambda: read_wrapped(key)
    if config.store_url.startswith("sqlite:"):
        yield ("store_url",), lambda: check_folder(Path(config.store_url.removeprefix("sqlite:///")).parent)
    if (provisioning := config.provisioning) is not None and (pool := provisioning.pool.path) is not None:
        yield ("provisioning", "pool"), lambda: check_folder(pool)


def look(config: CsmsConfig) -> Iterator[Flaw]:
    """Yield contradictions in a configuration."""
    if not config.ocpp.subprotocols:
        yield ("ocpp", "subprotocols"), "is empty", '["ocpp2.1", "ocpp2.0.1", "ocpp1.6"] offers all'
    yield from installer_flaws(config.update, ("update",))
    yield from look_at_grid(config.grid)
    names = [(each.type, each.id_token) for each in config.tokens]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield ("tokens", str(number), "id_token"), f"{name[1]!r} is listed twice", "remove one of them"
    for section, hosts in (("webhooks", config.webhooks.allow), ("roaming", config.roaming and config.roaming.allow)):
        for host in hosts or ():
            if not is_reach(host):
                why = f"{host!r} is no host, address or network"
                yield (section, "allow"), why, 'such as ["billing.lan", "10.20.0.0/16"]'
    yield from _same_ports(config)
    for number, token in enumerate(config.api.tokens):
        if token.role in OF_VEHICLES and token.evs is None:
            place = ("api", "tokens", str(number), "evs")
            yield place, f"is missing: {token.name!r} is a {token.role.value}", 'evs = ["EV-1"] names its vehicles'
    for number, sink in enumerate(config.telemetry.sinks):
        sink_place = ("telemetry", "sinks", str(number))
        if sink.name == AGGREGATES:
            yield (*sink_place, "name"), f"{sink.name!r} is taken", "give each sink a name of its own"
        if not _is_private(sink.url):
            yield (*sink_place, "url"), "would send telemetry without encryption", "use https://"
    for provider_name, provider in (("mandates", config.payments.mandates), ("direct", config.payments.direct)):
        if provider is not None and not _is_private(provider.url):
            yield ("payments", provider_name, "url"), "would send the token without encryption", "use https://"
    if (direct := config.payments.direct) is not None:
        held = Decimal(direct.amount)
        if payable(held, direct.currency) != held:
            yield ("payments", "direct", "amount"), f"{held} {direct.currency} cannot be paid", 'such as "30.00"'
    yield from look_at_alerts(config.alerts)
    for number, each in enumerate(() if config.api.openid is None else config.api.openid.roles):
        if each.role in NO_PEOPLE:
            yield ("api", "openid", "roles", str(number), "role"), "is not of people", "such as operator or viewer"
    zones = (("accounting_time_zone",), config.accounting_time_zone), (("ocpp", "time_zone"), config.ocpp.time_zone)
    for where, zone in zones:
        try:
            zone_of(zone or "UTC")
        except ValueError:
            yield where, "is not a known time zone", 'names are those of IANA, such as "Europe/Berlin"'
    bus = urlsplit(config.bus_url)
    if config.shared_ports and not config.bus_url:
        hint = "connect the nodes by bus_url, or leave shared_ports out"
        yield ("shared_ports",), "is set without bus_url: nobody could command stations of another back end", hint
    if bus.scheme in ("redis", "rediss") and not bus.password and not config.bus_without_password:
        hint = "set requirepass in Redis and redis://:PASSWORD@host here, or bus_without_password = true"
        yield ("bus_url",), "has no password: anyone who reaches that Redis can disrupt the cluster", hint


def _same_ports(config: CsmsConfig) -> Iterator[Flaw]:
    """Yield listeners that the system could not open beside an earlier one: a host may be all addresses."""
    listeners = [
        (("ocpp",), config.ocpp.host, config.ocpp.port),
        *((("ocpp", "listeners", str(n)), each.host, each.port) for n, each in enumerate(config.ocpp.listeners)),
        (("api",), config.api.host, config.api.port),
    ]
    if (scada := config.grid.scada) is not None:
        listeners.append((("grid", "scada"), scada.host, scada.port))
    for number, (where, host, port) in enumerate(listeners):
        for other, other_host, other_port in listeners[:number]:
            same = host == other_host or not _ALL_ADDRESSES.isdisjoint((host, other_host))
            if port and port == other_port and same:
                name = ".".join(each for each in other if not each.isdigit())
                yield (*where, "port"), f"is that of {name}, too", "give each a port of its own"


_ALL_ADDRESSES: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not listened at
