"""Configuration of the vehicle program: one typed file, TOML or YAML, every key described.

Relative paths are relative to the file's own folder; the wiring resolves them. Reading files is its business too.
"""

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
from v2g.config import parse_config
from v2g.iso15118.timing import Timing
from v2g.net.clock import ClockConfig

Path_ = Annotated[str, Meta(min_length=1)]


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the vehicle is joined to the charger."""

    interface: Annotated[str, Meta(min_length=1, description="network interface of the powerline link")] = "lo"
    backend: Annotated[
        Literal["loopback", "raw", "serial"],
        Meta(description="powerline modem: simulated over `medium`, raw Ethernet on `interface`, or QCA7000 UART"),
    ] = "loopback"
    serial_port: Annotated[Path_ | None, Meta(description="device of a serial modem")] = None
    medium: Annotated[
        Path_ | None, Meta(description="folder that joins simulated vehicle and charger (pilot, powerline, DC line)")
    ] = None
    name: Annotated[str, Meta(min_length=1, max_length=64, description="this vehicle's name on the medium")] = "ev"
    slac: Annotated[bool, Meta(description="match by SLAC before discovery; off for plain Ethernet test benches")] = (
        True
    )


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Discovery of the charger."""

    port: Annotated[int, Meta(ge=1, le=65535, description="UDP port of the charger's SDP server")] = 15118
    tries: Annotated[int, Meta(ge=1, le=50, description="requests at most, 250 ms apart")] = 50
    host: Annotated[
        str | None, Meta(description="ask this address by unicast instead of ff02::1; default ::1 on the loopback")
    ] = None


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's TLS credentials and whom it believes."""

    profile: Annotated[
        Literal["iso15118-20", "interop"],
        Meta(description="security_profile: the standard's, or the one that also takes P-256 and SHA-256"),
    ] = "iso15118-20"
    chain: Annotated[Path_, Meta(description="vehicle certificate and its sub-CAs, PEM")] = "vehicle/chain.pem"
    key: Annotated[Path_, Meta(description="private key of the vehicle certificate, PEM, mode 0600")] = (
        "vehicle/leaf.key"
    )
    anchors: Annotated[
        tuple[Path_, ...], Meta(min_length=1, description="V2G root certificates that a charger may stand under, PEM")
    ] = ("v2g/root.pem",)
    require_ocsp: Annotated[
        bool | None, Meta(description="refuse a charger without a stapled OCSP answer; default: as the profile says")
    ] = None
    timeout_s: Annotated[float, Meta(gt=0, le=20, description="longest time for connecting and handshake, s")] = 5.0


class ContractConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract that pays for plug and charge, and whose key signs meter readings and discharge."""

    chain: Annotated[Path_, Meta(description="contract certificate and its sub-CAs, PEM")] = "contract/chain.pem"
    key: Annotated[Path_, Meta(description="private key of the contract certificate, PEM, mode 0600")] = (
        "contract/leaf.key"
    )


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle around the controller."""

    backend: Annotated[Literal["simulated"], Meta(description="name of the vehicle hardware backend")] = "simulated"
    step_s: Annotated[
        float, Meta(gt=0, le=1, description="real seconds between two steps of the simulated battery")
    ] = 0.05
    contactor_delay_s: Annotated[
        float, Meta(ge=0, le=1, description="real seconds the simulated contactor takes to move")
    ] = 0.0


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's telemetry gateway."""

    enabled: Annotated[bool, Meta(description="send battery telemetry")] = False


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the program writes down."""

    events: Annotated[Path_ | None, Meta(description="file for one JSON line per event")] = None
    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="least important log line that is written")
    ] = "INFO"


class EvccConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `python -m evcc --config FILE` reads."""

    vehicle: Annotated[VehicleConfig, Meta(description="identity")] = VehicleConfig()
    link: Annotated[LinkConfig, Meta(description="powerline link and its simulation")] = LinkConfig()
    sdp: Annotated[SdpConfig, Meta(description="charger discovery")] = SdpConfig()
    tls: Annotated[TlsConfig, Meta(description="transport security")] = TlsConfig()
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
    telemetry: Annotated[TelemetryConfig, Meta(description="telemetry gateway")] = TelemetryConfig()
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
