"""Configuration of the charger program: one typed file, TOML or YAML. Relative paths are relative to its folder."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.x509 import Certificate
from cryptography.x509.oid import NameOID
from msgspec import Meta

from secc.attestation import SelfAttestationConfig
from secc.energy_manager.grid_code import NEEDS_GRID, GridCodeConfig, check_code, demanded
from secc.energy_manager.grid_frequency import FrequencyConfig, without_frequency
from secc.energy_manager.mains import MainsContactorConfig
from secc.energy_manager.sharing import LEAST_MA
from secc.hardware.config import (
    HardwareConfig,
    Kind,
    check_parts,
    devices_of,
    hardware_flaws,
    on_simulated_wires,
    settings_of,
    switches_phases,
)
from secc.hardware.drivers import find
from secc.retention import RetentionConfig
from secc.session.config import Amperes, EnergyService, SeccConfig
from secc.station_config import StationConfig, password_of, running_firmware, station_flaws
from v2g.config import Flaw, faults, parse_config
from v2g.energy.conductors import LINES
from v2g.energy.frequency_trace import load_grid_trace
from v2g.energy.grid_signal import parse_grid_signal
from v2g.energy.settlement.ocmf import OcmfText
from v2g.energy.settlement.records import MOST_REACTION_MS
from v2g.errors import CertificateError, ConfigError, KeyAccessError
from v2g.hardware.power_modules.bank import ModuleBusConfig
from v2g.io.hardware.modules import check_modules
from v2g.io.http.known_client import SelfEnrolmentConfig
from v2g.io.keys.quotes import quote_registers
from v2g.io.plc.link import LinkEndConfig
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_evse_id, crossed, file_faults
from v2g.io.runtime.event_socket import EventSocketConfig
from v2g.io.runtime.processor_heat import ProcessorConfig
from v2g.io.runtime.trace import LogConfig
from v2g.io.simulation.power import without_medium
from v2g.io.storage.grid_code_file import read_grid_code
from v2g.io.tls.endpoint import ISO15118_2, PROFILES, Backend, Curves, KeyLog, TlsProfile
from v2g.io.tls.peer_verifier import check_own_key, signs_with
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.services import AC_DER
from v2g.iso15118.select import EditionName
from v2g.pki.certificates import is_emaid, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import read_secret
from v2g.pki.reference import KeyReference
from v2g.slac.evse import EvseSlacConfig
from v2g.text import printable, redacted

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
SecurityProfile = Literal["iso15118-20", "interop"]


class LinkConfig(LinkEndConfig, frozen=True, forbid_unknown_fields=True):
    """The charger's connection to vehicles."""

    name: Annotated[str, Meta(min_length=1, max_length=30)] = "evse"
    """This charger's name on the medium."""
    connector: Annotated[int, Meta(ge=1, le=255)] = 1
    """Number of the simulated plug; several may share one medium."""
    slac: EvseSlacConfig | None = None
    """Match by SLAC; none for plain Ethernet test benches."""


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Discovery by vehicles (SDP)."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 15118
    """UDP port of the SDP server; 0 picks a free one."""
    without_tls: bool = False
    """Accept vehicles that request no TLS, but never by contract: those of DIN 70121 and ISO 15118-2
    (charger.editions), and with security_profile = "interop" of ISO 15118-20, for laboratories."""


class ChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further chain of the charger, such as one on Ed448 or under another V2G root."""

    chain: Path
    """SECC certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""
    ocsp: Path | None = None
    """OCSP response (DER) for this certificate."""


class StaplerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fetching OCSP responses before vehicles need them."""

    responder: str = ""
    """URL of the responder; empty: that of the certificate."""
    cache: Path | None = None
    """Folder that stores responses; default: in data_dir."""


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The charger's TLS credentials and trust anchors.

    Files of chains, keys and OCSP responses may be renewed at any time: new handshakes use them once they are complete
    and match.
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """TCP port; 0 picks a free one of 49152 to 65535, as standardised."""
    chain: Path
    """SECC certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""
    ocsp: Path | None = None
    """OCSP response (DER) for the SECC certificate; read again for each vehicle."""
    stapler: StaplerConfig | None = None
    """Fetch OCSP responses from the responder, instead of `ocsp` files."""
    enrolment: SelfEnrolmentConfig | None = None
    """Get and renew the certificate in `chain` and `key` by EST; `key` is a file then. None: by other means."""
    other_chains: Annotated[tuple[ChainConfig, ...], Meta(max_length=8)] = ()
    """Further chains, best first; each vehicle gets the first whose root and signature it supports; those on secp256r1
    are for vehicles of ISO 15118-2."""
    v2g_roots: Annotated[tuple[Path, ...], Meta(min_length=1)]
    """V2G root certificates, PEM."""
    oem_roots: tuple[Path, ...] = ()
    """OEM root certificates of vehicles, PEM."""
    mo_roots: tuple[Path, ...] = ()
    """MO root certificates of contracts, PEM."""
    cross_certificates: tuple[Path, ...] = ()
    """Cross certificates, PEM, that may link chains of vehicles and contracts to these roots."""
    crls: tuple[Path, ...] = ()
    """Revocation lists (PEM or DER) for chains of vehicles and contracts; read again when renewed."""
    backend: Backend = "auto"
    curves: Curves = ("secp521r1", "x448")
    falls_back: bool = True
    """Where charger.editions has 2: give TLS 1.2 of ISO 15118-2 to a vehicle that offers it beside TLS 1.3 without the
    algorithms of ISO 15118-20, instead of refusing it."""
    iso15118_2_in_tls13: bool = True
    """Serve ISO 15118-2 within TLS 1.3, too, if the vehicle prefers it there."""
    key_log: KeyLog = None


class MeterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The meter's identity and signing key (OCMF: secp256r1)."""

    chain: Path
    """Meter certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""
    vendor: OcmfText = ""
    """Its manufacturer, in signed readings."""
    model: OcmfText = ""
    """Its type, in signed readings."""
    firmware: OcmfText = ""
    """Version of its firmware, in signed readings."""


class SiteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits and contracts before, or without, a connection to the back end."""

    charge_w: Watts = 150_000
    """Maximum power drawn by the site, W."""
    discharge_w: Watts = 0
    """Maximum power fed back by the site, W; 0 until the operator permits it."""
    charge_a: Amperes | None = None
    """Maximum current that the site draws from each line conductor, A; none: that of `charge_w`."""
    discharge_a: Amperes | None = None
    """Maximum current fed back in each line conductor, A; none: that of `discharge_w`."""
    unbalance_a: Amperes | None = None
    """By how much its EVSEs may draw more from one line conductor than from another, A (VDE-AR-N 4100: 4.6 kVA, 20 A);
    none: any."""
    signal_file: Path | None = None
    """Grid signal (JSON: prices and limits) used until the back end sends one."""
    contracts: tuple[str, ...] = ()
    """EMAIDs that may charge without a back end; ignored if there is a station."""
    pause_after_s: Annotated[int, Meta(ge=1, le=31_622_400)] | None = None
    """Request a pause when site or operator have allowed no power for so long, s; none: never."""
    pause_for_s: Annotated[int, Meta(ge=1, le=31_622_400)] | None = None
    """Request a pause at once when charging profiles allow no power for at least so long, s."""
    free: bool = False
    """External identification always succeeds (no back end; laboratory)."""
    mains_contactor: MainsContactorConfig | None = None
    """Contactor between mains and power electronics, opened by a trip of the grid code or of the back end's DER
    controls, and closed again when they let power return; none: a trip ends the output only."""


SHORTEST_TOKEN: Final = 20
"""Characters of the status page's token, at least."""


class StatusPageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Status page for commissioning, read-only: HTML at `/`, JSON at `/status.json`, metrics at `/metrics`.

    Clients send the token as password of HTTP Basic authentication (any user) or as Bearer token. Beyond this machine
    it needs TLS: `chain` and `key`.
    """

    host: Annotated[str, Meta(min_length=2, max_length=45)] = "127.0.0.1"
    """Address to listen at, not all addresses."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8018
    """TCP port; 0 picks a free one."""
    token_file: Path
    """File of mode 0600 with the token, at least 20 characters."""
    chain: Path | None = None
    """Certificate for TLS and its sub-CAs, PEM."""
    key: Path | None = None
    """Its private key: PEM file of mode 0600."""
    metrics: bool = False
    """Metrics for Prometheus at /metrics, with the same token."""

    def __post_init__(self) -> None:
        """Reject a listener that others could read from or reach by accident."""
        try:
            address = ip_address(self.host)
        except ValueError:
            raise ValueError(f"{self.host!r} is not an IP address") from None
        if address.is_unspecified:
            raise ValueError(f"{self.host} is every address, also the vehicle's side: name one")
        if (self.chain is None) is not (self.key is None):
            raise ValueError("chain and key belong together")
        if self.chain is None and not address.is_loopback:
            raise ValueError(f"{self.host} needs TLS, as the token would be readable: set chain and key")


class EvseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several EVSEs. Tables left out are the program's; within a table, keys left out have their defaults."""

    evse_id: Annotated[str, Meta(min_length=7, max_length=255)]
    """EVSEID sent to vehicles."""
    charger: SeccConfig | None = None
    """Its own settings and rating, except `evse_id`."""
    link: LinkConfig | None = None
    """Its own interface, pilot and powerline port."""
    sdp: SdpConfig | None = None
    """Its own SDP port: vehicles that use it are at this EVSE."""
    tls_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Its own TCP port."""
    meter: MeterConfig | None = None
    """Its own meter."""
    hardware: HardwareConfig | None = None
    """Its own power electronics."""


KIND_OF: Final[Mapping[Family, Kind]] = {Family.AC: "ac", Family.DC: "dc", Family.WPT: "wpt", Family.ACDP: "acdp"}
"""Kind of hardware that a message set needs."""
FAMILY_OF: Final[Mapping[Kind, Family]] = {kind: family for family, kind in KIND_OF.items()}


class ProgramConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of `v2g secc --config FILE`."""

    data_dir: Path
    """Folder for journals, settlement bundles and meter registers."""
    charger: SeccConfig = SeccConfig()
    """ISO 15118 settings of the charger."""
    station: StationConfig | None = None
    """OCPP charging station; none: no back end."""
    link: LinkConfig = LinkConfig()
    """Powerline link and its simulation."""
    sdp: SdpConfig = SdpConfig()
    """discovery."""
    security_profile: SecurityProfile = "iso15118-20"
    """iso15118-20, or interop: also P-256 and SHA-256, for peers that do not meet ISO 15118-20."""
    tls: TlsConfig
    """Transport security."""
    price_key: KeyReference | None = None
    """Key of the contract operator (eMSP) that signs price schedules: PEM file of mode 0600, or key URI; none: they are
    sent unsigned."""
    meter: MeterConfig
    """meter."""
    journal_keys: Path | None = None
    """Keys that seal journals, settlement bundles, paused sessions and meter registers in data_dir, and the station's
    queue and settings: a file of `v2g settle key`; none: they are plain files of mode 0600."""
    hardware: HardwareConfig = HardwareConfig()
    """Power electronics."""
    site: SiteConfig = SiteConfig()
    """Limits and contracts without a back end."""
    evses: Annotated[tuple[EvseConfig, ...], Meta(max_length=256)] = ()
    """EVSEs, if there are several; the tables above are their defaults."""
    grid_code: GridCodeConfig | None = None
    """Grid code that the charger keeps by itself, also without a back end; none: it keeps none."""
    clock: ClockConfig = ClockConfig()
    """Simulated time."""
    log: LogConfig = LogConfig()
    """Logs and events."""
    local_events: EventSocketConfig | None = None
    """Socket for readers of events; none: only files and logs have them."""
    processor: ProcessorConfig = ProcessorConfig()
    """When the processor is hot."""
    status_page: StatusPageConfig | None = None
    """Status page for commissioning; none: no page."""
    attestation: SelfAttestationConfig | None = None
    """Comparison of the program's files with a signed manifest; none: they are not compared."""
    retention: RetentionConfig = RetentionConfig()
    """How long data of ended sessions is stored."""

    def __post_init__(self) -> None:
        """Reject editions without transport, links that the hardware does not have, and two sources of a frequency."""
        code = self.grid_code
        if code is not None and code.frequency is not None and self.station is not None and self.station.frequency:
            raise ValueError("station.frequency is the source for grid_code, too: remove grid_code.frequency")
        for place in self.places:
            if "din" in place.charger.editions and not place.sdp.without_tls:
                raise ValueError('charger.editions has "din", which has no TLS: set sdp.without_tls = true')
            if place.hardware.kind in ("wpt", "acdp") and place.link.slac is not None:
                raise ValueError(f'hardware.kind = "{place.hardware.kind}" has no plug to match at: remove link.slac')

    @property
    def places(self) -> "tuple[ProgramConfig, ...]":
        """The configuration of each EVSE; the first one is number 1.

        One of several has its own folder for files, and its own name on the medium.
        """
        return tuple(self._place(number, each) for number, each in enumerate(self.evses, 1)) or (self,)

    def _place(self, number: int, own: EvseConfig) -> "ProgramConfig":
        replace = msgspec.structs.replace
        return replace(
            self,
            evses=(),
            data_dir=self.data_dir / f"evse-{number}",
            charger=replace(own.charger or self.charger, evse_id=own.evse_id),
            link=own.link or replace(self.link, name=f"{self.link.name}-{number}", connector=number),
            sdp=own.sdp or self.sdp,
            tls=self.tls if own.tls_port is None else replace(self.tls, port=own.tls_port),
            meter=own.meter or self.meter,
            hardware=own.hardware or self.hardware,
        )


def load_config(text: str, *, name: str) -> ProgramConfig:
    """Return the configuration in `text`; the extension of the file name `name` determines the format.

    Raises ConfigError with line and nearest key name.
    """
    return parse_config(text, ProgramConfig, name=name, look=look)


def notes(text: str, *, name: str) -> list[str]:
    """Return what is not sealed on the disk by a valid configuration, and what it leaves to be assumed or derived."""
    config = load_config(text, name=name)
    sealed = "plain on the disk: journals and settlements in {} (journal_keys)"
    found = [] if config.journal_keys else [sealed.format(config.data_dir)]
    most = sum(each.charger.power_rating(each.charger.services[0].family)[0] for each in config.places)
    if config.site.charge_w > 10 * most:
        found.append(f"site.charge_w: {config.site.charge_w:,} W, where all EVSEs together draw {most:,} W at most")
    one_phase_w = min(LEAST_MA * each.charger.ac_rating.nominal_voltage_v // 1000 for each in config.places)
    if 0 < config.site.charge_w < one_phase_w and all(each.hardware.kind == "ac" for each in config.places):
        found.append(f"site.charge_w: {config.site.charge_w:,} W: no vehicle charges below 6 A ({one_phase_w:,} W)")
    for each in config.places:
        found += crossed(each.link.interfaces, each.link.medium, each.link.plc.backend)
        of_din = each.charger.offers(Family.DC) and Authorization.EIM in each.charger.authorization
        if "din" in each.charger.editions and not of_din:
            found.append(
                f"EVSE {each.charger.evse_id}: it serves no vehicle of DIN 70121, which has direct current and EIM "
                "only (services, authorization)"
            )
        rating = each.charger.ac_rating
        if each.hardware.kind == "ac" and rating.max_charge_current_a is None:
            found.append(
                f"EVSE {each.charger.evse_id}: {rating.charge_ma / 1000:g} A for each line conductor, by "
                "ac_rating.max_charge_power_w (max_charge_current_a is omitted)"
            )
        if each.hardware.kind == "ac" and 0 < rating.charge_ma < LEAST_MA:
            found.append(f"EVSE {each.charger.evse_id}: no vehicle charges below 6 A (IEC 61851-1)")
        modbus = each.hardware.modbus
        alternating = each.hardware.kind == "ac" and rating.phases > 1
        if (
            alternating
            and each.hardware.meter == "modbus"
            and modbus is not None
            and not modbus.register_map().measures_lines
        ):
            found.append(
                f"EVSE {each.charger.evse_id}: its meter has no currents of L1 to L3 (line_current of its map); "
                "the sum is taken as equal on the phases in use"
            )
    return found


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration, including the files in it."""
    found = faults(text, ProgramConfig, name=name, look=look)
    if found:
        return found
    config = load_config(text, name=name)
    serves = ("tls", "tls.other_chains")
    roots = {"tls": ("tls.v2g_roots", config.tls.v2g_roots, config.tls.cross_certificates)}  # others may lead elsewhere
    enrolled = None if config.tls.enrolment is None else config.tls.chain
    return file_faults(text, config, name=name, openers=_openers(config), serves=serves, roots=roots, enrolled=enrolled)


def check_places(places: Sequence[ProgramConfig]) -> None:
    """Reject what would end the start: parts that do not belong together, EVSEs that share a meter, or a listener that
    cannot assign vehicles to an EVSE. Raises ConfigError."""
    for place in places:
        check_parts(place.hardware)
        if place.hardware.backend == "bench" and place.link.slac is not None:
            raise ConfigError("link.slac needs a control pilot", hint="a bench has none: remove [link.slac]")
        simulated = on_simulated_wires(place.hardware)
        if not simulated and place.link.slac is not None and place.link.plc.backend == "loopback":
            simulated = "the powerline"
        if simulated and place.link.medium is None:
            raise without_medium(simulated)
        if place.charger.basic is not None and place.hardware.kind != "ac":
            raise ConfigError("charger.basic is for alternating current", hint='set hardware.kind = "ac"')
    for number, place in enumerate(places, 1):
        for other, later in enumerate(places[number:], number + 1):
            if place.charger.evse_id == later.charger.evse_id:
                raise ConfigError(f"EVSEs {number} and {other} have the same evse_id", hint="give each its own")
            if place.meter.chain == later.meter.chain:
                raise ConfigError(f"EVSEs {number} and {other} share a meter", hint="give each its own [evses.meter]")
            wires = place.link.medium
            if wires is not None and (wires, place.link.name) == (later.link.medium, later.link.name):
                raise ConfigError(f"EVSEs {number} and {other} share link.medium and link.name", hint="name them apart")
            shared = set(place.link.interfaces) & set(later.link.interfaces)
            if not shared:
                continue
            if place.sdp.port != later.sdp.port or not place.sdp.port:
                if place.tls.port == later.tls.port != 0:
                    raise ConfigError(
                        f"EVSEs {number} and {other} share TCP port {place.tls.port}, but no SDP port",
                        hint="give each a tls_port of its own, or leave it out",
                    )
                continue
            if place.link.slac is None or later.link.slac is None:
                raise ConfigError(
                    f"EVSEs {number} and {other} share {min(shared)} and SDP port {place.sdp.port}, so the EVSE "
                    "of a vehicle cannot be determined",
                    hint="give each an interface or SDP port of its own, or use SLAC at both",
                )
            if place.tls.port != later.tls.port:
                raise ConfigError(
                    f"EVSEs {number} and {other} share an SDP port, which leads to one TCP port",
                    hint="give each an SDP port of its own, or leave out tls_port",
                )
            if set(place.charger.editions) != set(later.charger.editions):
                raise ConfigError(
                    f"EVSEs {number} and {other} share an SDP port, but not charger.editions",
                    hint="give each an SDP port of its own, or both the same editions",
                )


def _openers(config: ProgramConfig) -> Iterator[OfKey]:
    """Yield what else has to be opened, each with its key."""
    yield ("tls", "chain"), lambda: _check_chains(config)
    station = config.station
    if station is not None and station.tls is not None and station.tls.own is not None:
        chain, _ = station.tls.own
        yield ("station", "identity"), lambda: check_identity(station.identity, chain)
    if station is not None:
        yield ("station", "firmware_file"), lambda: running_firmware(station)
        where = ("station", "password_file" if station.password_file is not None else "url")
        yield where, lambda: _check_password(station)
        if (frequency := station.frequency) is not None:
            key = "source" if frequency.trace is None else "trace"
            yield ("station", "frequency", key), lambda: _check_frequency(config, frequency)
    if (grid := config.hardware.simulated.grid) is not None:
        yield ("hardware", "simulated", "grid"), lambda: load_grid_trace(grid)
    for number, each in enumerate(config.evses):
        if each.hardware is not None and (mains := each.hardware.simulated.grid) is not None:
            yield ("evses", str(number), "hardware", "simulated", "grid"), partial(load_grid_trace, mains)
    if config.grid_code is not None:
        yield ("grid_code", "file"), partial(_check_grid_code, config, config.grid_code)
    if (signal := config.site.signal_file) is not None:
        yield ("site", "signal_file"), lambda: parse_grid_signal(signal.read_bytes())
    if config.attestation is not None and (quote := config.attestation.quote) is not None:
        yield ("attestation", "quote", "key"), lambda: quote_registers(quote.key, quote.registers, bytes(32))
    if (page := config.status_page) is not None:
        yield ("status_page", "token_file"), lambda: _check_token(page.token_file)
    ids: list[tuple[str, ...]] = [("evses", str(place), "evse_id") for place in range(len(config.evses))] or [
        ("charger", "evse_id")
    ]
    yield ("evses" if config.evses else "hardware",), lambda: check_places(config.places)
    for place, (id_, charger) in enumerate(zip(ids, config.places, strict=True)):
        yield id_, partial(check_evse_id, charger.charger.evse_id)
        own = bool(config.evses) and config.evses[place].hardware is not None
        section = ("evses", str(place), "hardware") if own else ("hardware",)
        if isinstance(modules := settings_of(charger.hardware, "stage"), ModuleBusConfig):
            table = ("can",) if modules is charger.hardware.can else ("drivers", charger.hardware.stage)
            yield (*section, *table, *(() if modules.dbc is None else ("dbc",))), partial(check_modules, modules)
        if (modbus := charger.hardware.modbus) is not None:
            yield (*section, "modbus", "map" if modbus.map_file is None else "map_file"), modbus.register_map


def _check_frequency(config: ProgramConfig, frequency: FrequencyConfig) -> None:
    if frequency.trace is not None:
        load_grid_trace(frequency.trace)
    elif config.places[0].hardware.meter == "simulated":
        raise without_frequency()


def _check_grid_code(config: ProgramConfig, kept: GridCodeConfig) -> None:
    """Look for what would end the start: an unfit code, or a grid that nothing measures."""
    own = None if config.station is None else config.station.frequency
    frequency = own or kept.frequency or FrequencyConfig()
    code = read_grid_code(kept.file).code
    check_code(code, frequency, kept.reactive, narrow=kept.narrow or kept.narrow_contact is not None)
    for each in config.places:
        demanded(each.charger, code, kept.reactive)
    trace = None if frequency.trace is None else load_grid_trace(frequency.trace)
    if config.places[0].hardware.meter == "simulated" if trace is None else not trace.volts:
        raise ConfigError("grid_code needs the grid's frequency and voltage", hint=NEEDS_GRID)


def _check_password(station: StationConfig) -> None:
    """A station without a certificate needs a password, until its back end has set another one."""
    with contextlib.suppress(KeyAccessError):  # that the file cannot be read is a flaw of its own
        needed = station.security_profile == 2 and not station.store.exists()
        if not password_of(station, os.environ) and needed:
            why = f"has neither a password nor a certificate for {redacted(station.url)}"
            raise ConfigError(why, hint="station.password_file, or chain and key in [station.tls]")


def _check_token(file: Path) -> None:
    with contextlib.suppress(KeyAccessError):
        if len(read_secret(file).strip()) < SHORTEST_TOKEN:
            raise ConfigError(f"{file} has fewer than {SHORTEST_TOKEN} characters", hint="v2g secc init makes one")


def tls_profiles(config: ProgramConfig) -> dict[EditionName, TlsProfile]:
    """Return what TLS demands in -20; and in -2, whose keys differ, unless -20 is the only edition."""
    profile = PROFILES[config.security_profile].with_curves(config.tls.curves)
    of_2 = msgspec.structs.replace(ISO15118_2, revocation=profile.revocation, interop=profile.interop)
    return {"20": profile} if _editions(config) == {"20"} else {"20": profile, "2": of_2}


def served_profiles(config: ProgramConfig, leaves: Sequence[Certificate]) -> dict[EditionName, TlsProfile]:
    """Return what TLS demands in each edition that these chains' leaves serve.

    ISO 15118-2 needs none where all vehicles may do without TLS. Raises ConfigError for another edition without a
    chain, and TlsError for a key of no edition.
    """
    profiles, editions = tls_profiles(config), _editions(config)
    for leaf in leaves:
        check_own_key(leaf, *profiles.values())
    served: dict[EditionName, TlsProfile] = {}
    for name, profile in profiles.items():
        if name not in editions:
            continue
        if any(signs_with(leaf, profile) for leaf in leaves):
            served[name] = profile
        elif name != "2" or not all(each.sdp.without_tls for each in config.places if name in each.charger.editions):
            raise ConfigError(
                f'charger.editions has "{name}", and no chain has a key for {profile.name}',
                hint="add one to tls.other_chains" + (" or set sdp.without_tls = true" if name == "2" else ""),
            )
    return served


def _editions(config: ProgramConfig) -> set[EditionName]:
    return {name for place in config.places for name in place.charger.editions}


def _check_chains(config: ProgramConfig) -> None:
    """Look for chains that no vehicle accepts. That files cannot be read is a flaw of its own."""
    with contextlib.suppress(KeyAccessError, CertificateError):
        files = [config.tls.chain, *(each.chain for each in config.tls.other_chains)]
        served_profiles(config, [load_certificate(load_chain(each)[0]) for each in files])


def check_identity(identity: str, chain: Path, hint: str = "back ends compare them") -> None:
    """Compare the station's identity with its certificate's common name (A00.FR.507). Raises ConfigError."""
    names = load_certificate(load_chain(chain)[0]).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not any(each.value == identity for each in names):
        found = ", ".join(printable(str(each.value)) for each in names) or "no name"
        raise ConfigError(f"{identity!r} is not the name in {chain}, {found}", hint=hint)


def look(config: ProgramConfig) -> Iterator[Flaw]:
    """Yield ignored and implausible settings of a configuration."""
    if config.tls.enrolment is not None and (config.tls.key.path is None or config.tls.key.pin is not None):
        yield ("tls", "enrolment"), f"cannot renew {config.tls.key}", "a PEM file of mode 0600, without passphrase"
    for contract in config.site.contracts:
        if not is_emaid(contract):
            yield ("site", "contracts"), f"{contract!r} is not an EMAID", "such as DEV2GC00000001: 14 or 15 characters"
    longest = round(MOST_REACTION_MS * max(1.0, config.clock.scale))
    if config.charger.reaction_ms > longest:
        why = f"is more than {longest}, the most that verifiers of a settlement accept"
        yield ("charger", "reaction_ms"), why, "set the time in which the power electronics follow a lower limit, ms"
    answers = [config.tls.ocsp, *(each.ocsp for each in config.tls.other_chains)]
    if config.tls.stapler is not None and any(answers):
        yield ("tls", "stapler"), "and ocsp exclude each other", "remove one of them"
    if config.station is not None:
        yield from station_flaws(config.station, ("station",), evses=len(config.places))
    for number, charger in enumerate(config.places):
        own = bool(config.evses) and config.evses[number].charger is not None
        where = ("evses", str(number), "charger") if own else ("charger",)
        yield from _service_flaws(charger.charger, charger.hardware, where)
        if switches_phases(charger.hardware) and (
            charger.hardware.kind != "ac" or charger.charger.ac_rating.phases != len(LINES)
        ):
            of_evse = ("evses", str(number)) if config.evses and config.evses[number].hardware is not None else ()
            key = (*of_evse, "hardware", "drivers", charger.hardware.pilot, "phase_relay")
            yield key, "needs an outlet of three phases", 'hardware.kind = "ac", and charger.ac_rating.phases = 3'
    yield from _shared_devices(config)
    yield from hardware_flaws(config.hardware, ("hardware",))
    for place, each in enumerate(config.evses):
        if each.hardware is not None:
            yield from hardware_flaws(each.hardware, ("evses", str(place), "hardware"))


def _shared_devices(config: ProgramConfig) -> Iterator[Flaw]:
    """Yield what two EVSEs would command at the same time: a board, a module, a meter."""
    taken: dict[str, int] = {}
    for number, place in enumerate(config.places, 1):
        for kind, device in devices_of(place.hardware):
            first = taken.setdefault(device, number)
            if first != number:
                why = f"{kind}: {device} is that of EVSE {first}, too"
                yield ("evses", str(number - 1), "evse_id"), why, "each EVSE needs its own, in [evses.hardware]"


def _service_flaws(charger: SeccConfig, hardware: HardwareConfig, where: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield services that this hardware cannot provide."""
    kind, one_way = hardware.kind, _one_way(hardware)
    fitting = ", ".join(f"{int(each)} ({each.name})" for each in EnergyService if KIND_OF[each.family] == kind)
    flavours = {int(each): name for name, each in AC_DER.items()}
    rest = [int(each) for each in charger.services if not each.bidirectional]
    without = f"services = {rest}" if rest else "remove it"
    for service in charger.services:
        found, needed = f"has {int(service)} ({service.name})", KIND_OF[service.family]
        if flavour := flavours.get(int(service)):
            yield (*where, "services"), found, f'offer it by der = "{flavour}"'
        elif needed != kind:
            hint = f'hardware.kind = "{kind}" provides {fitting}'
            yield (*where, "services"), f'{found}, which needs hardware.kind = "{needed}"', hint
        elif service.bidirectional and one_way:
            yield (*where, "services"), f"{found}, but {one_way} gives energy to vehicles only", without
        elif service.bidirectional and not charger.power_rating(service.family)[1]:
            rating = "ac_rating" if service.family is Family.AC else "rating"
            why = f"{found}, but {'.'.join(where)}.{rating}.max_discharge_power_w is 0"
            yield (*where, "services"), why, f"{without}, or set what the power electronics take from a vehicle, W"

    if charger.der is not None and not charger.offers(Family.AC):
        yield (*where, "der"), f'is "{charger.der}" without a service of alternating current', "services = [1]"
    if charger.der == "sae" and charger.grid_support.functions:
        from v2g.iso15118.d20.der_sae import carried  # its declarations are loaded for it alone

        demanded = charger.grid_support
        lost = demanded.functions - carried(demanded, charger.ac_rating.nominal_frequency_hz).functions
        if lost:
            why = f"has {', '.join(sorted(lost))}, which messages by SAE cannot say, so no vehicle would feed back"
            yield (*where, "grid_support"), why, 'remove them, or der = "iec"'


def _one_way(hardware: HardwareConfig) -> str:
    """Return the power stage if its driver cannot take energy from a vehicle."""
    if hardware.backend == "bench" or hardware.kind not in ("dc", "acdp"):
        return ""
    with contextlib.suppress(ConfigError):  # that there is none is a flaw of its own
        if not find("stage", hardware.stage).bidirectional:
            return f'hardware.stage = "{hardware.stage}"'
    return ""
