"""The configuration of a CSMS: one TOML (or YAML) file; every key is described here.

Relative paths are relative to the file's folder. Unknown keys are rejected with line and nearest name; so are files
and private keys that others than their owner may read.
"""

import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from csms.accounts.rules import NO_PEOPLE, OF_VEHICLES, Role
from csms.alerts.rules import ESCALATE_MS, MOST_WAIT_MS, Address, Recipient, RuleChange, RuleName, contradiction
from csms.grid.rules import PriceBounds, SiteLimits
from csms.telemetry.aggregates import AGGREGATES
from csms.tokens.rules import CONTRACT, Group, Terms, TokenKind, check_form
from csms.webhooks.rules import is_reach
from v2g.battery.detectors import DetectorSettings
from v2g.config import Flaw, faults, parse_config
from v2g.energy.grid_signal import ALL, ConnectionPoint, parse_grid_signal
from v2g.energy.price_feeds import Markup, parse_feed
from v2g.energy.settlement.taxes import Taxation, VatRate
from v2g.errors import ConfigError
from v2g.ieee2030_5.resources import with_check_digit
from v2g.io.http.est import EstServer
from v2g.io.keys.wrapped import read_wrapped
from v2g.io.mqtt.config import MqttConfig, TopicPrefix
from v2g.io.ota.opening import FollowerConfig, installer_flaws
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_folder, file_faults
from v2g.io.runtime.program import read_config
from v2g.io.storage.growing_file import LogFiles
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.quirks import StationQuirks
from v2g.pki.reference import KeyReference
from v2g.telemetry.delivery import TOPIC_PREFIX
from v2g.units import Decimals, PositiveDecimals, micro_of

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Identity = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_*=+|@-][A-Za-z0-9_*=+|@.-]{0,47}\Z")]
"""An OCPP identity (OCPP-J 3.1.1: `identifierString`), and never the start of a path to elsewhere."""


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


class ApiToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bearer token of the HTTP API.

    Tokens are random, at least 128 bits (`openssl rand -base64 24`), so a plain hash is enough.
    """

    name: str
    """Its owner, as shown in the audit log."""
    role: Role
    """Its role."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the token, hex."""
    evs: tuple[str, ...] | None = None
    """Pseudonyms of the vehicles that it may handle or read; `["*"]`: all, as by default. The roles `driver`, `fleet`
    and `insurer` need it."""


class ApiClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client certificate of the HTTP API."""

    common_name: str
    """Common name of the certificate."""
    role: Role = Role.GATEWAY
    """Its role."""
    evs: tuple[str, ...] = ()
    """Pseudonyms of the vehicles whose telemetry it may deliver; empty: only the one equal to the common name;
    `["*"]`: all."""


class FirstAdmin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first administrator of the console: added when it has no user, and has to change the password."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}\Z")]
    """Name at the login, in lower case."""
    password_hash: Annotated[str, msgspec.Meta(pattern=r"^\$argon2id\$[!-~]{20,190}\Z")]
    """Hash of the first password (argon2id), as `v2g csms init` writes it."""


class OpenIdRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The role of people for whom a claim of the provider's token has a value."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """The value, such as a group."""
    role: Role
    """Their role."""
    sites: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    """The only sites that it is for; all by default."""


class OpenId(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenID provider by which people log in to the console. Needs the extra `accounts`."""

    issuer: Annotated[str, msgspec.Meta(pattern=r"^https://[^\s?#]+\Z", max_length=1900)]
    """The provider, such as `https://login.example/realms/depot`."""
    client_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,256}\Z")]
    """Name of this client there."""
    client_secret_file: Path
    """File (mode 0600) with the client secret."""
    redirect_uri: Annotated[
        str, msgspec.Meta(pattern=r"^https://[^\s?#]+/console/login/provider/back\Z", max_length=1900)
    ]
    """Where the provider sends browsers back, as registered there: `https://HOST:PORT/console/login/provider/back`."""
    scope: Annotated[str, msgspec.Meta(pattern=r"^openid( [!-~]+)*\Z", max_length=1000)] = "openid profile email"
    """Scopes to request."""
    name_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = "email"
    """Claim with a person's name in the console."""
    role_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = "groups"
    """Claim with the values by which people have roles."""
    roles: Annotated[tuple[OpenIdRole, ...], msgspec.Meta(min_length=1, max_length=1000)]
    """Roles; the first that fits counts, and people without any are refused."""
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "your organisation"
    """Its name on the login page."""
    root: Path | None = None
    """CA of the provider's certificate (PEM); without it those of the system."""


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
    """Policy for certificates, of contracts and of vehicles that request them, whose revocation status is unknown from
    responders and `crls`: `refuse` (C07.FR.05), or `accept`, which is reported once for each
    (`revocation_unknown`) and counted by `GET /health`. Certificates known to be revoked are always rejected."""
    profile: Literal["iso15118-20", "interop"] = "iso15118-20"
    """Accepted certificates: `iso15118-20` (secp521r1, SHA-512; contracts on secp256r1 by the profile of ISO 15118-2)
    or `interop` (also P-256, SHA-256)."""


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

    est: EstServer
    """Its EST server, and how this back end shows who it is."""
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


class AttestedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A release that stations may run."""

    manifest: Path
    """Its manifest, as the packages install it; the signature has the same name and `.sig`."""
    registers: Path | None = None
    """Evidence (`v2g attest quote`) of a station that is whole: others must have the same registers."""


class AttestationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attestation of stations by their TPMs, for those that are enrolled (`v2g csms attestation enrol`)."""

    signer: Path
    """Public key, or certificate, of the manifests' signer, PEM."""
    releases: Annotated[tuple[AttestedRelease, ...], msgspec.Meta(min_length=1, max_length=1000)]
    """The releases."""
    every_s: Annotated[float, msgspec.Meta(ge=1, le=604_800)] = 3600.0
    """Time between questions to a station that is whole."""
    answer_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 900.0
    """How long a station has to answer: it reads its files slowly."""
    discharge: Literal["refused", "permitted"] = "refused"
    """Whether a station that fails, or does not answer, may still feed back. It may charge in any case."""


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


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token that may charge."""

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The identifier, such as an eMAID or a card number."""
    type: TokenKind = CONTRACT
    """Kind of identifier (OCPP IdTokenType)."""
    status: Literal[
        "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
        "NotAtThisTime", "Unknown",
    ] = "Accepted"  # fmt: skip
    """Status in Authorize responses (OCPP AuthorizationStatusEnumType)."""
    energy_transfer: tuple[EnergyTransferMode, ...] = ()
    """Modes of energy transfer that the token allows (OCPP 2.1 EnergyTransferModeEnumType); empty: any."""
    terms: Terms = Terms()
    """Group, expiry, places, allowances, and text for the driver."""


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vendor whose messages are accepted.

    Their DataTransfer content is stored and published; that of other vendors is answered as unknown.
    """

    vendor_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The vendor id, a reversed domain name."""
    message_ids: tuple[str, ...] = ()
    """Accepted message ids; empty: all."""


class Mandates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment provider that debits by mandates, such as those of UPI AutoPay."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """Base URL of the provider or of the adapter to it; `http:` only on this machine."""
    secret_file: Path
    """File (mode 0600) with the bearer token."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between looks for new postings and open requests."""


class Payments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments at terminals and on the web (OCPP C18 to C25)."""

    terminals: bool = False
    """Stations have payment terminals; a payment there authorizes charging. Web payments need no such setting."""
    receipt_url: Annotated[str, msgspec.Meta(pattern=r"^(|https://[^{}]*\{receipt_id\}[^{}]*)\Z", max_length=1900)] = ""
    """URL of receipts made by the back end, with `{receipt_id}` for the receipt's number; empty has stations make
    receipts themselves."""
    mandates: Mandates | None = None
    """A payment provider that debits what sessions cost; none by default."""


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
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 30.0
    """Time between requests for events."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from this long after the VTN's last answer."""
    price_horizon_s: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 86400
    """How far ahead prices are passed on to stations."""


class PriceFeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prices of a market, from a file or by HTTPS: a day ahead, or by the minute."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,40}\Z")]
    """Name of the feed, in events."""
    format: Literal["energy-charts", "entsoe", "caiso", "elexon", "jepx", "grid-signal"]
    """`energy-charts`: JSON of Energy-Charts; `entsoe`: publication document A44 of ENTSO-E; `caiso`: prices of nodes
    (CSV) of CAISO's OASIS, also zipped; `elexon`: market index data (JSON) of Great Britain; `jepx`: spot prices (CSV)
    of Japan; `grid-signal`: a grid signal, whose limits apply as well."""
    series: Annotated[str, msgspec.Meta(max_length=60)] = ""
    """Which prices of a document: the node (`caiso`, required if there are several), the data provider (`elexon`, else
    APXMIDP), the area (`jepx`, such as `tokyo`, else the system price)."""
    file: Path | None = None
    """File, read on change; write a new one and rename it. A feed has either a file or a URL."""
    url: Annotated[str, msgspec.Meta(pattern=r"^(|https?://[^\s]+)\Z", max_length=1900)] = ""
    """URL; `{today}`, `{tomorrow}` (UTC, 2026-11-21), `{today8}`, `{tomorrow8}` (20261121) and `{secret}` are replaced.
    `http:` only on this machine."""
    secret_file: Path | None = None
    """File (mode 0600) with the `{secret}` of the URL."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 900.0
    """Time between requests, and between looks at a file; longer after errors."""
    stale_after_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86400)] = 7200
    """Without an answer for so long the feed is reported as stale. Its known prices stay."""
    horizon_s: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 172_800
    """How far ahead prices are passed on to stations."""
    import_factor: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """Factor from the market's price to what a vehicle pays, such as 1.19 for VAT; not for `grid-signal`."""
    import_surcharge: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0
    """Added after the factor, per kWh."""
    export_factor: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1.0
    """Factor from the market's price to what a vehicle receives; not for `grid-signal`."""
    export_surcharge: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0
    """Added after the factor, per kWh; negative for fees."""


class Ieee2030(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A server of IEEE 2030.5, whose DER controls bring limits and set-points; this end is its client."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s]+\Z", max_length=1900)]
    """URL of the server's DeviceCapability, such as `https://utility.example/dcap`; `http:` only on this machine."""
    certificate: Path
    """PEM file of our certificate, then its chain."""
    key: Path
    """PEM file of its key, mode 0600."""
    root: Path | None = None
    """CA of the server's certificate (PEM); without it those of the system."""
    lfdi: Annotated[str, msgspec.Meta(pattern=r"^(|[0-9A-Fa-f]{40})\Z")] = ""
    """LFDI of the end device whose programs are followed; empty is that of `certificate`."""
    check_hostname: bool = True
    """Require the host of `url` in the server's certificate. Certificates of IEEE 2030.5 devices name no host."""
    ccm8: bool = False
    """Offer the standard's cipher suite with CCM-8, too, over TLS 1.2, for servers that have no other."""
    max_charge_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Charging power that 100 % of opModFixedW stands for (setMaxChargeRateW), W."""
    max_discharge_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Discharging power that 100 % of opModFixedW stands for (setMaxDischargeRateW), W."""
    profile: Literal["csip", "csip-aus"] = "csip"
    """Whose rules the server follows. `csip-aus` (Australia) takes fewer responses, lets a device register itself, and
    may say by `/.well-known/csipaus` where its DeviceCapability is."""
    pin: Annotated[int, msgspec.Meta(ge=0, le=999_999)] | None = None
    """PIN of the device's registration, its check digit included: a server with another one is not obeyed."""
    connection_point: Annotated[str, msgspec.Meta(max_length=32)] = ""
    """Where the site is connected to the grid, such as its NMI; announced to servers of Australia."""
    metering: bool = False
    """Send the mean power of all vehicles, every 300 s or as the server asks."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] | None = None
    """Time between requests for controls; by default each resource is requested at the rate that the server states."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from this long after the server's last answer; without `poll_interval_s`, after the next one is due."""


ObjectAddress = Annotated[int, msgspec.Meta(ge=1, le=16_777_215)]


class Iec104Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses of an outstation's points."""

    remote: ObjectAddress = 1001
    """State: the centre's values are in force."""
    dead_man: ObjectAddress = 1002
    """State: nothing was commanded for `dead_man_s`, and the safe state applies."""
    overflow: ObjectAddress = 1005
    """State: events were lost."""
    charging: ObjectAddress = 1105
    """Charging power of all vehicles together, kW."""
    discharging: ObjectAddress = 1106
    """Power that they feed back together, kW."""
    import_limit: ObjectAddress = 1109
    """Import limit in force, kW."""
    export_limit: ObjectAddress = 1110
    """Export limit in force, kW."""
    enable: ObjectAddress = 2001
    """Switch: off allows no power in either direction."""
    follow_setpoint: ObjectAddress = 2002
    """Switch: off ends the set-point."""
    set_import_limit: ObjectAddress = 2101
    """Import limit, kW."""
    set_export_limit: ObjectAddress = 2102
    """Export limit, kW."""
    set_setpoint: ObjectAddress = 2103
    """Set-point of all vehicles together, kW; negative is export."""
    heartbeat: ObjectAddress = 2104
    """Dead-man time of these values, s; each command begins it anew. Never selected."""

    def __post_init__(self) -> None:
        """Refuse points at one address."""
        if len(set(msgspec.structs.astuple(self))) < len(self.__struct_fields__):
            raise ValueError("two points have one address")


class Iec104(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An outstation of IEC 60870-5-104 for a control centre. Without `certificate` nothing authenticates it: only for
    networks of the operator's own."""

    host: str = "127.0.0.1"
    """Listen address: that of an interface of such a network."""
    port: Port = 2404
    """TCP port; 0 picks a free one. With TLS 19998 is usual."""
    clients: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ("127.0.0.1", "::1")
    """Addresses that may connect."""
    certificate: Path | None = None
    """PEM file of the certificate and its chain, for TLS (IEC 62351-3); none by default."""
    key: Path | None = None
    """PEM file of its key, mode 0600."""
    roots: tuple[Path, ...] = ()
    """PEM files of roots of control centres' certificates; required with `certificate`."""
    common_address: Annotated[int, msgspec.Meta(ge=1, le=65534)] = 1
    """Common address of the site."""
    points: Iec104Points = Iec104Points()
    """Addresses of points."""
    select_before_operate: bool = True
    """Whether limits, set-point and switches are selected before they are operated."""
    select_s: Annotated[float, msgspec.Meta(ge=1, le=300)] = 20.0
    """How long a selection holds."""
    command_age_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 10.0
    """Commands with a time that is further from ours are refused."""
    k: Annotated[int, msgspec.Meta(ge=1, le=32_767)] = 12
    """Frames of ours that may wait for their acknowledgement."""
    w: Annotated[int, msgspec.Meta(ge=1, le=32_767)] = 8
    """Received frames that are acknowledged at the latest."""
    t1_s: Annotated[float, msgspec.Meta(ge=1, le=255)] = 15.0
    """An answer that takes longer ends the connection."""
    t2_s: Annotated[float, msgspec.Meta(ge=0.1, le=254)] = 10.0
    """Time until received frames are acknowledged."""
    t3_s: Annotated[float, msgspec.Meta(ge=1, le=172_800)] = 20.0
    """Silence until the connection is tested."""
    dead_band_kw: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0.1
    """Changes of powers and limits up to this are no events."""
    most_events: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Events that wait for a control centre; beyond them the oldest are lost, and `overflow` is set."""
    follow_clock: bool = True
    """Whether time stamps follow a clock that the control centre sets; ours stays."""

    def __post_init__(self) -> None:
        """Refuse TLS that authenticates nobody."""
        if (self.certificate is None) != (self.key is None) or (self.certificate is None) == bool(self.roots):
            raise ValueError("certificate, key and roots belong together")
        if self.t2_s >= self.t1_s:
            raise ValueError("t2_s is less than t1_s")


class Scada(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Registers over Modbus TCP, by which a SCADA system limits the site. The protocol has no authentication: only for
    networks of the operator's own. With `iec104` it steers by that instead."""

    host: str = "127.0.0.1"
    """Listen address: that of an interface of such a network."""
    port: Port = 502
    """TCP port; 0 picks a free one."""
    dead_man_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 60.0
    """The safe state applies when nothing was written for this long."""
    safe_import_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    """Import limit of the safe state, W."""
    safe_export_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Export limit of the safe state, W."""
    outage_s: Annotated[int, msgspec.Meta(ge=60, le=86400)] = 900
    """No export from stations that do not hear of the back end for this long."""
    iec104: Iec104 | None = None
    """An outstation of IEC 60870-5-104 in place of the registers; none by default."""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid operator's signal: of a file or HTTP `PUT /grid/signal`, or made from sources (`prices`,
    `scada`, `ieee2030_5`, `openadr`).

    Of several sources the lowest limit applies, and the price or set-point of the first one that has one, in this
    order.
    """

    signal_file: Path | None = None
    """JSON file of the signal, read at start, on change and on SIGHUP; empty: none."""
    poll_interval_s: Seconds = 1.0
    """Interval of checks for a changed file."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^(|[A-Z]{3})\Z")] = ""
    """ISO 4217 code of the prices of sources; those in another currency are not used."""
    least_price: Decimals = "-20"
    """Lowest price per kWh that is accepted, in the currency; a signal or feed with a lower one is refused."""
    most_price: Decimals = "20"
    """Highest price per kWh that is accepted. Currencies of small units need more: JPY about 1000."""
    import_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    """Import limit of the site, W, where no source sets a lower one; required with sources."""
    export_limit_w: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    """Export limit of the site, W, where no source sets a lower one."""
    connection_point: ConnectionPoint = ALL
    """Where these limits, and limits and set-points of sources, hold: `{ site = "depot" }`, also with `feeder`, or an
    EVSE by `station_id` and `evse_id`; by default all stations together."""
    retry_interval_s: Seconds = 30.0
    """After this time a station that did not accept a signal is sent it again."""
    scada: Scada | None = None
    """Registers for a SCADA system as a source; none by default."""
    ieee2030_5: Ieee2030 | None = None
    """A server of IEEE 2030.5 as a source; none by default."""
    prequalified_only: bool = True
    """Export only from stations with a valid prequalification record; false where the grid operator demands none. A
    station that has records is bound by them in any case."""
    openadr: OpenAdr | None = None
    """A VTN of OpenADR 3.1 as a source; none by default."""
    prices: tuple[PriceFeed, ...] = ()
    """Price feeds as sources; the first one that has a price counts."""

    @property
    def price_bounds(self) -> PriceBounds:
        """The prices that are accepted."""
        return PriceBounds(least=micro_of(self.least_price), most=micro_of(self.most_price))

    @property
    def site(self) -> SiteLimits | None:
        """The site's own limits and its sources; None without sources."""
        sources = [price_source(feed.name) for feed in self.prices]
        if self.scada is not None:
            sources.append(SCADA)
        if self.ieee2030_5 is not None:
            sources.append(IEEE_2030_5)
        if self.openadr is not None:
            sources.append(openadr_source(self.openadr.ven_name))
        if not sources:
            return None
        return SiteLimits(
            currency=self.currency or "EUR",  # required with sources, by `look`
            import_limit_w=self.import_limit_w or 0,
            export_limit_w=self.export_limit_w,
            connection_point=self.connection_point,
            sources=tuple(sources),
        )


SCADA: Final = "scada"
"""The source of registers for a SCADA system."""
IEEE_2030_5: Final = "ieee2030.5"
"""The source of an IEEE 2030.5 server."""


def price_source(name: str) -> str:
    """Return the source of a price feed."""
    return f"prices:{name}"


def openadr_source(ven_name: str) -> str:
    """Return the source of a VEN."""
    return f"openadr:{ven_name}"[:64]


class Transactions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Abandoned transactions."""

    silent_after_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    """After this time without a message the station is asked for a transaction's status."""
    check_interval_s: Seconds = 60.0
    """Interval of checks of open transactions; they are also checked after a station's boot."""


class SettlementRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a session's journal must fulfil to be booked."""

    wait_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    """So long a complete journal waits for its transaction, meter values and certificates; then it goes into
    quarantine."""
    unsigned_feed_in: bool = False
    """Book feed-in that no signed command of the vehicle covers, as vehicles without signed discharge do it."""
    unsigned_contracts: bool = False
    """Book sessions of contracts for which no vehicle has signed, as chargers of version 0.2 and earlier have them."""
    wear_per_kwh: PositiveDecimals | None = None
    """What stations are configured to pay for wear, per kWh fed back; journals with another price go into
    quarantine. None by default."""


class Balancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Load balancing of sites."""

    settle_s: Seconds = 1.0
    """Changes within this time are handled together."""
    interval_s: Seconds = 60.0
    """Interval of balancing without changes."""
    dispatch_duration_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    """A dispatch set-point ends this long after its last renewal."""


class Tariffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Costs of charging."""

    renamed: ClassVar[Mapping[str, str]] = {"vehicles_are_told": "vehicle_prices"}

    running_cost_interval_s: Seconds = 60.0
    """Interval of updates of the running cost to stations (I02)."""
    vehicle_prices: Literal["prices", "levels", "nothing"] = "prices"
    """Prices in the charging profiles of vehicles that sent their needs: `prices` in money where vehicle and plan
    support it, else levels; `levels` always; `nothing`."""


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
    """How many; 1: the back end itself; 0: one for each core. More than one needs PostgreSQL. A vehicle keeps its
    worker as long as that lives."""


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


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hosts that webhooks may call besides those of the internet."""

    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Hosts, addresses and networks, such as `["billing.lan", "10.20.0.0/16"]`; by default no private or local address,
    and no cloud metadata service."""


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
    roles: Annotated[tuple[Literal["CPO", "EMSP"], ...], msgspec.Meta(min_length=1, max_length=2)] = ("CPO", "EMSP")
    """`CPO` offers stations to partners' drivers, `EMSP` gives own drivers access to partners' stations."""
    open_data: bool = False
    """Places, status and prices for everybody, as DATEX II and OCPI, below `/ocpi/open`."""
    allow: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Private hosts, addresses and networks that may be called, as in `webhooks`."""
    roots: tuple[Path, ...] = ()
    """PEM files of roots for partners' certificates; by default those of the system."""
    timeout_s: Seconds = 10.0
    """How long a partner may take to answer, s."""
    authorize_timeout_s: Seconds = 4.0
    """How long a partner may take to authorize a driver, s; then the token's whitelist rule decides."""
    requests_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 20.0
    """Requests a second that each partner may send."""
    requests_at_once: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Requests that each partner may send at once."""


class AlertEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mail server by which alerts go to people, and to whom."""

    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]{1,253}\Z")]
    """Mail server (SMTP)."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    """Its port."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` demands STARTTLS, `tls` TLS from the first byte (port 465), `none` is for a server on this machine."""
    root: Path | None = None
    """PEM file of the root of its certificate; without it those of the system."""
    user: Annotated[str, msgspec.Meta(max_length=320)] = ""
    """Account; empty does not log in."""
    password_file: Path | None = None
    """File (mode 0600) with its password."""
    sender: Address
    """Address that e-mails come from."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=15)] = 10.0
    """How long the server may take for each answer."""
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MOST_WAIT_MS / 1000)] = 10.0
    """How long an alert waits for others to the same address, which then share an e-mail."""
    recipients: Annotated[tuple[Recipient, ...], msgspec.Meta(min_length=1, max_length=200)]
    """Who gets which alerts."""


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is an alert, and who gets it."""

    rules: dict[RuleName, RuleChange] = {}
    """Changes of rules, by name (`v2g csms alerts rules`)."""
    escalate_s: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=604_800)], ...], msgspec.Meta(max_length=10)] = (
        tuple(each // 1000 for each in ESCALATE_MS)
    )
    """How long after its announcement an alert of severity `error` that is not acknowledged is announced again."""
    poll_interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=300)] = 5.0
    """Interval in which it is looked whether rules hold."""
    email: AlertEmail | None = None
    """E-mails; none by default."""


Days = Annotated[int, msgspec.Meta(ge=1, le=36500)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retention in days; what is set to nothing is stored for ever."""

    transactions_days: Days | None = None
    """Completed transactions, with their events and meter values, since their last message, days."""
    reports_days: Days | None = None
    """Station reports, data transfers, values of event streams, delivered webhooks, days."""
    events_days: Days | None = None
    """Device and security events, alarms, courses of power, days."""
    telemetry_days: Annotated[int, msgspec.Meta(ge=1, le=730)] = 3
    """Telemetry records, days since their arrival; 24 months at most. Their aggregates stay."""
    telemetry_aggregates_days: Annotated[int, msgspec.Meta(ge=1, le=1095)] = 730
    """Aggregates of telemetry, days; 36 months at most."""
    audit_days: Days | None = None
    """The audit log of the API, days."""


class CsmsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

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
    provisioning: Provisioning | None = None
    """Contracts for vehicles; none by default."""
    station_ca: StationAuthority | None = None
    """Signs certificates that stations use towards the CSMS; without it such requests are rejected."""
    v2g_ca: StationAuthority | None = None
    """Signs certificates that stations use towards vehicles, and combined ones; without it such requests are
    rejected."""
    outside_cas: Annotated[tuple[OutsideCa, ...], msgspec.Meta(max_length=20)] = ()
    """CAs outside that are asked in place of these two."""
    webhooks: Webhooks = Webhooks()
    """Hosts that webhooks may call."""
    roaming: RoamingConfig | None = None
    """Roaming by OCPI; none by default."""
    alerts: AlertsConfig = AlertsConfig()
    """Alerts: rules, escalation, e-mail."""
    accounting_time_zone: TimeZone = "UTC"
    """Time zone of the months in which settlements are posted; it cannot change later."""
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
        """`accounting_time_zone`. Raises ZoneInfoNotFoundError if it is unknown."""
        return UTC if self.accounting_time_zone in ("", "UTC") else ZoneInfo(self.accounting_time_zone)

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
            yield ("grid", "prices", str(number), "file"), partial(_check_prices, feed)
    for number, token in enumerate(config.tokens):
        yield ("tokens", str(number), "id_token"), partial(check_form, token.type, token.id_token)
    if (key := config.store_key) is not None:
        yield ("store_key",), lambda: read_wrapped(key)
    if (provisioning := config.provisioning) is not None and (pool := provisioning.pool.path) is not None:
        yield ("provisioning", "pool"), lambda: check_folder(pool)


def _check_prices(feed: PriceFeed) -> None:
    assert feed.file is not None
    parse_feed(feed.file.read_bytes(), feed.format, Markup(), feed.series)


def look(config: CsmsConfig) -> Iterator[Flaw]:
    """Yield contradictions in a configuration."""
    if not config.ocpp.subprotocols:
        yield ("ocpp", "subprotocols"), "is empty", '["ocpp2.1", "ocpp2.0.1", "ocpp1.6"] offers all'
    yield from installer_flaws(config.update, ("update",))
    yield from _look_at_grid(config.grid)
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
    if config.ingestion_worker.threads != 1 and not config.store_url.startswith("postgresql:"):
        yield ("ingestion_worker", "threads"), "needs PostgreSQL: SQLite has one writer", "set store_url, or leave it 1"
    for number, sink in enumerate(config.telemetry.sinks):
        sink_place = ("telemetry", "sinks", str(number))
        if sink.name == AGGREGATES:
            yield (*sink_place, "name"), f"{sink.name!r} is taken", "give each sink a name of its own"
        if not _is_private(sink.url):
            yield (*sink_place, "url"), "would send telemetry without encryption", "use https://"
    provider = config.payments.mandates
    if provider is not None and not _is_private(provider.url):
        yield ("payments", "mandates", "url"), "would send the token without encryption", "use https://"
    yield from _look_at_alerts(config.alerts)
    for number, each in enumerate(() if config.api.openid is None else config.api.openid.roles):
        if each.role in NO_PEOPLE:
            yield ("api", "openid", "roles", str(number), "role"), "is not of people", "such as operator or viewer"
    try:
        _ = config.accounting_zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield ("accounting_time_zone",), "is not a known time zone", 'names are those of IANA, such as "Europe/Berlin"'
    bus = urlsplit(config.bus_url)
    if config.shared_ports and not config.bus_url:
        hint = "connect the nodes by bus_url, or leave shared_ports out"
        yield ("shared_ports",), "is set without bus_url: nobody could command stations of another back end", hint
    if bus.scheme in ("redis", "rediss") and not bus.password and not config.bus_without_password:
        hint = "set requirepass in Redis and redis://:PASSWORD@host here, or bus_without_password = true"
        yield ("bus_url",), "has no password: anyone who reaches that Redis can disrupt the cluster", hint


def _look_at_alerts(alerts: AlertsConfig) -> Iterator[Flaw]:
    for name, change in sorted(alerts.rules.items()):
        if wrong := contradiction(name, change):
            yield ("alerts", "rules", name), wrong, "an alert has to end before it begins again"
    if list(alerts.escalate_s) != sorted(set(alerts.escalate_s)):
        yield ("alerts", "escalate_s"), "is not ascending", "such as [900, 3600]"
    email = alerts.email
    if email is None:
        return
    if email.tls == "none" and email.host not in ("127.0.0.1", "::1", "localhost"):
        yield ("alerts", "email", "tls"), "would send alerts without encryption", 'use "starttls" or "tls"'
    if bool(email.user) != (email.password_file is not None):
        yield ("alerts", "email", "password_file"), "and user belong together", "set both, or none"
    for number, each in enumerate(email.recipients):
        if each.role in OF_VEHICLES and each.evs is None:
            place = ("alerts", "email", "recipients", str(number), "evs")
            yield place, f"is missing: {each.address!r} is a {each.role.value}", 'evs = ["EV-1"] names its vehicles'


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


def _look_at_grid(grid: Grid) -> Iterator[Flaw]:
    vtn = grid.openadr
    for key, url in (("url", vtn.url), ("token_url", vtn.token_url)) if vtn is not None else ():
        if not _is_private(url):
            yield ("grid", "openadr", key), "would send the client secret without encryption", "use https://"
    der = grid.ieee2030_5
    if der is not None and der.pin is not None and with_check_digit(der.pin // 10) != der.pin:
        yield ("grid", "ieee2030_5", "pin"), "has a wrong check digit", "the sum of its digits is a multiple of 10"
    if der is not None and not _is_private(der.url):
        yield ("grid", "ieee2030_5", "url"), "would follow controls without encryption", "use https://"
    if grid.site is not None:
        if not grid.currency:
            yield ("grid", "currency"), "is missing: the sources need it", 'currency = "EUR"'
        if grid.import_limit_w is None:
            yield ("grid", "import_limit_w"), "is missing: the sources need it", "the site's import limit, W"
        if grid.signal_file is not None:
            hint = 'read the file by a price feed of format = "grid-signal" instead'
            yield ("grid", "signal_file"), "excludes sources such as prices and openadr", hint
    for number, feed in enumerate(grid.prices):
        place = ("grid", "prices", str(number))
        if (feed.file is None) == (not feed.url):
            yield place, "must have either file or url", "set one of them"
        if not _is_private(feed.url):
            yield (*place, "url"), "would read prices without encryption", "use https://"
        if ("{secret}" in feed.url) != (feed.secret_file is not None):
            yield (*place, "secret_file"), "and {secret} in url belong together", "set both, or none"
        plain = (feed.import_factor, feed.import_surcharge, feed.export_factor, feed.export_surcharge)
        if feed.format == "grid-signal" and plain != (1, 0, 1, 0):
            yield place, "has prices of both directions: factors and surcharges do not apply", "remove them"


def _is_private(url: str) -> bool:
    """Return whether others cannot read what is sent: TLS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme != "http" or parts.hostname in ("127.0.0.1", "::1", "localhost")
