"""Configuration of the charger program: one typed file, TOML or YAML. Relative paths are relative to its folder."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secc.core.config import SeccConfig
from secc.hardware import SimulatedEvseConfig
from secc.station import StationConfig
from v2g.config import parse_config
from v2g.net.clock import ClockConfig
from v2g.net.plc.link import PlcConfig
from v2g.slac.evse import EvseSlacConfig

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
SecurityProfile = Literal["iso15118-20", "interop"]


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the charger is joined to vehicles."""

    interface: Annotated[str, Meta(min_length=1, description="network interface for SDP and TCP")] = "lo"
    medium: Annotated[
        Path | None, Meta(description="folder that joins simulated charger and vehicle (pilot, powerline, DC line)")
    ] = None
    name: Annotated[str, Meta(min_length=1, max_length=32, description="this charger's name on the medium")] = "evse"
    slac: Annotated[EvseSlacConfig | None, Meta(description="match by SLAC; none for plain Ethernet test benches")] = (
        None
    )
    plc: Annotated[PlcConfig, Meta(description="powerline port that SLAC runs on")] = PlcConfig()


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Being discovered."""

    port: Annotated[int, Meta(ge=0, le=65535, description="UDP port of the SDP server; 0 picks a free one")] = 15118


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The charger's TLS credentials and whom it believes."""

    port: Annotated[
        int, Meta(ge=0, le=65535, description="TCP port; 0 picks a free one of 49152 to 65535, as the standard wants")
    ] = 0
    chain: Annotated[Path, Meta(description="SECC certificate and its sub-CAs, PEM")]
    key: Annotated[Path, Meta(description="private key of the SECC certificate, PEM, mode 0600")]
    ocsp: Annotated[
        Path | None, Meta(description="OCSP answer (DER) for the SECC certificate; read anew for each vehicle")
    ] = None
    v2g_roots: Annotated[tuple[Path, ...], Meta(min_length=1, description="V2G root certificates, PEM")]
    oem_roots: Annotated[tuple[Path, ...], Meta(description="OEM root certificates of vehicles, PEM")] = ()
    mo_roots: Annotated[tuple[Path, ...], Meta(description="MO root certificates of contracts, PEM")] = ()


class MeterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The meter's identity and signing key (OCMF: secp256r1)."""

    chain: Annotated[Path, Meta(description="meter certificate and its sub-CAs, PEM")]
    key: Annotated[Path, Meta(description="private key of the meter, PEM, mode 0600")]


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The power electronics."""

    backend: Annotated[
        Literal["simulated", "bench"],
        Meta(description="simulated: on the medium's DC line; bench: a load at the output stands for the vehicle"),
    ] = "simulated"
    simulated: Annotated[SimulatedEvseConfig, Meta(description="how the simulation behaves")] = SimulatedEvseConfig()


class SiteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds before, or without, a word from the back end."""

    charge_w: Annotated[Watts, Meta(description="what the site may draw, W")] = 150_000
    discharge_w: Annotated[
        Watts, Meta(description="what the site may feed back, W; 0 until the operator permits it")
    ] = 0
    signal_file: Annotated[
        Path | None, Meta(description="grid signal (JSON: prices and limits) that holds until the back end sends one")
    ] = None
    contracts: Annotated[
        tuple[str, ...], Meta(description="EMAIDs that may charge without a back end; ignored when there is a station")
    ] = ()
    free: Annotated[bool, Meta(description="external identification always succeeds (no back end, lab use)")] = False


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program writes down."""

    events: Annotated[Path | None, Meta(description="file for one JSON line per event")] = None
    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="least important log line that is written")
    ] = "INFO"


class ProgramConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that `python -m secc --config FILE` reads."""

    data_dir: Annotated[Path, Meta(description="folder for journals, settlement bundles and meter registers")]
    charger: Annotated[SeccConfig, Meta(description="ISO 15118 choices of the charge point")] = SeccConfig()
    station: Annotated[StationConfig | None, Meta(description="OCPP charging station; none runs without back end")] = (
        None
    )
    link: Annotated[LinkConfig, Meta(description="powerline link and its simulation")] = LinkConfig()
    sdp: Annotated[SdpConfig, Meta(description="discovery")] = SdpConfig()
    security_profile: Annotated[
        SecurityProfile,
        Meta(description="iso15118-20, or interop: also P-256 and SHA-256, for peers that cannot do what -20 asks"),
    ] = "iso15118-20"
    tls: Annotated[TlsConfig, Meta(description="transport security")]
    meter: Annotated[MeterConfig, Meta(description="meter")]
    hardware: Annotated[HardwareConfig, Meta(description="power electronics")] = HardwareConfig()
    site: Annotated[SiteConfig, Meta(description="limits and contracts without a back end")] = SiteConfig()
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogConfig, Meta(description="logs and events")] = LogConfig()


def load_config(text: str, *, name: str) -> ProgramConfig:
    """Return the configuration in `text`; `name` is the file name, whose ending tells the format.

    Raises ConfigError with line and nearest key name.
    """
    return parse_config(text, ProgramConfig, name=name)
