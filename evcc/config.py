"""Configuration of the vehicle program: one typed file, TOML or YAML, every key described.

Relative paths are relative to the file's own folder.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from evcc.core.battery import BatteryConfig
from evcc.core.settings import (
    AuthorizationConfig,
    DischargeConfig,
    NeedsConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
    TimingConfig,
    VehicleConfig,
)
from evcc.gateway import GatewayConfig
from v2g.config import parse_config
from v2g.iso15118.timing import Timing
from v2g.net.clock import ClockConfig
from v2g.net.plc.link import PlcConfig
from v2g.slac.ev import EvSlacConfig

SecurityProfile = Literal["iso15118-20", "interop"]


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the vehicle is joined to the charger."""

    interface: Annotated[str, Meta(min_length=1, description="network interface for SDP and TCP")] = "lo"
    medium: Annotated[
        Path | None, Meta(description="folder that joins simulated vehicle and charger (pilot, powerline, DC line)")
    ] = None
    name: Annotated[str, Meta(min_length=1, max_length=32, description="this vehicle's name on the medium")] = "ev"
    wait_s: Annotated[
        float, Meta(gt=0, le=3600, description="how long after plug-in the charger may take until the link is up, s")
    ] = 60.0
    slac: Annotated[
        EvSlacConfig | None, Meta(description="match by SLAC before discovery; none for plain Ethernet test benches")
    ] = None
    plc: Annotated[PlcConfig, Meta(description="powerline port that SLAC runs on")] = PlcConfig()


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Discovery of the charger."""

    port: Annotated[int, Meta(ge=1, le=65535, description="UDP port of the charger's SDP server")] = 15118
    tries: Annotated[int, Meta(ge=1, le=50, description="requests at most, 250 ms apart")] = 50


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The vehicle's TLS credentials and whom it believes."""

    chain: Annotated[Path, Meta(description="vehicle certificate and its sub-CAs, PEM")]
    key: Annotated[Path, Meta(description="private key of the vehicle certificate, PEM, mode 0600")]
    anchors: Annotated[
        tuple[Path, ...], Meta(min_length=1, description="V2G root certificates that a charger may stand under, PEM")
    ]
    require_ocsp: Annotated[
        bool | None, Meta(description="refuse a charger without a stapled OCSP answer; default: as the profile says")
    ] = None
    timeout_s: Annotated[float, Meta(gt=0, le=20, description="longest time for connecting and handshake, s")] = 5.0


class ContractConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract that pays for plug and charge, and whose key signs meter readings and discharge."""

    chain: Annotated[Path, Meta(description="contract certificate and its sub-CAs, PEM")]
    key: Annotated[Path, Meta(description="private key of the contract certificate, PEM, mode 0600")]


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle around the controller."""

    backend: Annotated[
        Literal["simulated", "bench"],
        Meta(
            description="simulated: battery on the medium's DC line; bench: battery that believes what a charger tells"
        ),
    ] = "simulated"
    step_s: Annotated[
        float, Meta(gt=0, le=1, description="real seconds between two steps of the simulated battery")
    ] = 0.05
    contactor_delay_s: Annotated[
        float, Meta(ge=0, le=1, description="real seconds the simulated contactor takes to move")
    ] = 0.0


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program writes down."""

    events: Annotated[Path | None, Meta(description="file for one JSON line per event")] = None
    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="least important log line that is written")
    ] = "INFO"


class EvccConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that `python -m evcc --config FILE` reads."""

    vehicle: Annotated[VehicleConfig, Meta(description="identity")] = VehicleConfig()
    link: Annotated[LinkConfig, Meta(description="powerline link and its simulation")] = LinkConfig()
    sdp: Annotated[SdpConfig, Meta(description="charger discovery")] = SdpConfig()
    security_profile: Annotated[
        SecurityProfile,
        Meta(description="iso15118-20, or interop: also P-256 and SHA-256, for peers that cannot do what -20 asks"),
    ] = "iso15118-20"
    tls: Annotated[TlsConfig, Meta(description="transport security")]
    contract: Annotated[
        ContractConfig | None, Meta(description="contract for plug and charge; none means EIM only")
    ] = None
    authorization: Annotated[AuthorizationConfig, Meta(description="means of payment")] = AuthorizationConfig()
    services: Annotated[ServiceConfig, Meta(description="services, best first")] = ServiceConfig()
    battery: Annotated[BatteryConfig, Meta(description="simulated battery")] = BatteryConfig()
    hardware: Annotated[HardwareConfig, Meta(description="vehicle hardware")] = HardwareConfig()
    needs: Annotated[NeedsConfig, Meta(description="departure and targets")] = NeedsConfig()
    discharge: Annotated[DischargeConfig, Meta(description="discharge policy")] = DischargeConfig()
    program: Annotated[
        tuple[ProgramStep, ...], Meta(min_length=1, max_length=64, description="steps of the session, in order")
    ] = (ProgramStep(do="charge", until_soc=80.0), ProgramStep(do="discharge"))
    timing: Annotated[TimingConfig, Meta(description="pace of requests")] = TimingConfig()
    timers: Annotated[Timing, Meta(description="the protocol's timeouts; the defaults are the standard's")] = Timing()
    telemetry: Annotated[GatewayConfig | None, Meta(description="telemetry gateway")] = None
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogConfig, Meta(description="logs and events")] = LogConfig()

    @property
    def session(self) -> SessionConfig:
        """The part that the session core reads."""
        return SessionConfig(
            vehicle=self.vehicle,
            authorization=self.authorization,
            services=self.services,
            needs=self.needs,
            discharge=self.discharge,
            program=self.program,
            timing=self.timing,
            timers=self.timers,
        )


def load_config(text: str, *, name: str) -> EvccConfig:
    """Return the configuration in `text`; `name` is the file name, whose ending tells the format.

    Raises ConfigError with line and nearest key name.
    """
    return parse_config(text, EvccConfig, name=name)
