"""Configuration of the vehicle program: one typed file, TOML or YAML, all keys described.

Relative paths are relative to the file's own folder.
"""

from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from evcc.checkpoints import CheckpointsConfig
from evcc.driver import DriverStep
from evcc.hardware.cells import HeatConfig
from evcc.hardware.drive import PlaceConfig
from evcc.hardware.pack import PackConfig
from evcc.own_policy import load_policy
from evcc.policy.battery import BatteryConfig
from evcc.session.settings import (
    BasicConfig,
    SessionConfig,
)
from v2g.battery.runaway import RunawaySettings
from v2g.config import Flaw, Tree, fault, faults, parse_config, parse_tree
from v2g.errors import ConfigError
from v2g.io.can import CanConfig
from v2g.io.capture.recorder import RecordConfig
from v2g.io.hardware.emergency import GpioEmergencyConfig
from v2g.io.ota.opening import ReleasesConfig, installer_flaws
from v2g.io.plc.link import PlcConfig
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_evse_id, crossed, file_faults
from v2g.io.runtime.event_socket import EventSocketConfig
from v2g.io.runtime.trace import LogConfig
from v2g.io.runtime.watchdog import HUNG_S
from v2g.io.tls.endpoint import Backend, Curves, KeyLog
from v2g.iso15118.d20.association import COUPLINGS, NOT_APPLICABLE, positioning
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.sdp_wireless import EVID_LENGTH, SdpWirelessRequest
from v2g.iso15118.d20.services import ENERGY_TRANSFER, ServiceId
from v2g.iso15118.select import EditionName
from v2g.pki.reference import KeyReference
from v2g.slac.ev import EvSlacConfig

SecurityProfile = Literal["iso15118-20", "interop"]
InterfaceName = Annotated[str, Meta(min_length=1, max_length=15)]
InterfaceNames = Annotated[tuple[InterfaceName, ...], Meta(min_length=1, max_length=16)]


class LinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's connection to the charger."""

    interface: Annotated[
        InterfaceName | InterfaceNames, Meta(description="network interface for SDP and TCP, or several")
    ] = "lo"
    medium: Annotated[
        Path | None, Meta(description="folder shared by simulated vehicle and charger (pilot, powerline, DC line)")
    ] = None
    name: Annotated[str, Meta(min_length=1, max_length=32, description="this vehicle's name on the medium")] = "ev"
    connector: Annotated[int, Meta(ge=1, le=255, description="number of the simulated plug to use")] = 1
    wait_s: Annotated[float, Meta(gt=0, le=3600, description="longest time from plug-in until the link is up, s")] = (
        60.0
    )
    slac: Annotated[
        EvSlacConfig | None, Meta(description="match by SLAC before discovery; none for plain Ethernet test benches")
    ] = None
    plc: Annotated[PlcConfig, Meta(description="powerline port for SLAC")] = PlcConfig()
    record: Annotated[
        RecordConfig | None,
        Meta(description="record powerline frames and the connection, of TLS with its secrets if tls.key_log is set"),
    ] = None

    @property
    def interfaces(self) -> tuple[str, ...]:
        """All of `interface`."""
        return (self.interface,) if isinstance(self.interface, str) else self.interface


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Discovery of the charger."""

    port: Annotated[int, Meta(ge=1, le=65535, description="UDP port of the charger's SDP server")] = 15118
    tries: Annotated[int, Meta(ge=1, le=50, description="maximum number of requests, 250 ms apart")] = 50
    without_tls: Annotated[
        bool,
        Meta(
            description="request a charger without TLS, without paying by contract: with DIN 70121 and ISO 15118-2 "
            '(editions), and with security_profile = "interop" with ISO 15118-20, for laboratories'
        ),
    ] = False
    accept_without_tls: Annotated[
        bool, Meta(description="request TLS, but use a charger that has none, with DIN 70121 or ISO 15118-2 (editions)")
    ] = False
    form: Annotated[
        Literal["auto", "plain", "wireless"],
        Meta(description="wireless or plain SDP requests; auto: wireless if there is no plug"),
    ] = "auto"
    evse_id: Annotated[
        str, Meta(max_length=37, description="EVSE of the vehicle's parking space, if known: only this one answers")
    ] = ""
    coupling: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None,
        Meta(description="coupling type of wireless SDP; none: 0x10 for WPT, 0x00 for a connection device"),
    ] = None


class ChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further vehicle certificate, such as one on Ed448 or under a V2G root."""

    chain: Annotated[Path, Meta(description="vehicle certificate and its sub-CAs, PEM")]
    key: Annotated[KeyReference, Meta(description="its private key: PEM file of mode 0600, or key URI")]


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The vehicle's TLS credentials and trust anchors."""

    chain: Annotated[Path, Meta(description="vehicle certificate and its sub-CAs, PEM")]
    key: Annotated[KeyReference, Meta(description="its private key: PEM file of mode 0600, or key URI")]
    anchors: Annotated[
        tuple[Path, ...], Meta(min_length=1, description="trusted V2G root certificates of chargers, PEM")
    ]
    cross_certificates: Annotated[
        tuple[Path, ...],
        Meta(
            description="cross certificates, PEM, that may link chains of a charger, a provisioning service and new "
            "contracts to the roots"
        ),
    ] = ()
    other_chains: Annotated[
        tuple[ChainConfig, ...],
        Meta(
            max_length=8,
            description="further certificates, best first; a charger gets the first whose root and signature "
            "it supports",
        ),
    ] = ()
    revocation: Annotated[
        Literal["hard", "soft"] | None,
        Meta(
            description="hard: reject a charger without a good OCSP response; soft: continue if there is none, or an "
            "old one; default: hard, in the profile interop soft"
        ),
    ] = None
    crls: Annotated[
        tuple[Path, ...],
        Meta(
            description="revocation lists (PEM or DER) also used to check chains of a charger, a provisioning service "
            "and new contracts"
        ),
    ] = ()
    ask_responder: Annotated[
        bool, Meta(description="request missing OCSP responses from the responder in the charger's certificate")
    ] = False
    timeout_s: Annotated[float, Meta(gt=0, le=20, description="timeout of connecting and handshake, s")] = 4.5
    backend: Backend = "auto"
    curves: Curves = ("secp521r1", "x448")
    key_log: KeyLog = None


class ContractConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract for plug and charge, whose key also signs meter readings and discharge."""

    chain: Annotated[Path, Meta(description="contract certificate and its sub-CAs, PEM")]
    key: Annotated[KeyReference, Meta(description="its private key: PEM file of mode 0600, or key URI")]


class ProvisioningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate with which the vehicle requests contracts from chargers, and where it stores them."""

    chain: Annotated[Path, Meta(description="OEM provisioning certificate (CN = PCID) and its sub-CAs, PEM")]
    key: Annotated[KeyReference, Meta(description="its private key: PEM file of mode 0600, or key URI")]
    store: Annotated[
        KeyReference,
        Meta(description="folder of the contracts; file:FOLDER?pin-source=... encrypts their keys with a passphrase"),
    ]
    mo_roots: Annotated[
        tuple[Path, ...],
        Meta(description="MO root certificates, PEM; without any, contracts of a trusted service are trusted"),
    ] = ()
    envelope: Annotated[
        EnvelopeRules, Meta(description="details of sealed keys that the standard leaves open, to match the service")
    ] = RULES


class EmergencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The emergency output: a solenoid or the input of a fire panel."""

    folder: Annotated[Path, Meta(description="folder of the record, and of the simulated output")]
    gpio: Annotated[GpioEmergencyConfig | None, Meta(description="line that switches it; none: it is simulated")] = None


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's hardware."""

    backend: Annotated[
        Literal["simulated", "bench"],
        Meta(description="simulated: battery on the medium's DC line; bench: battery that trusts the charger's values"),
    ] = "simulated"
    pre_charges: Annotated[
        bool,
        Meta(
            description="bench: wait for the voltage that the charger reports; false: every pre-charge counts as done"
        ),
    ] = False
    step_s: Annotated[float, Meta(gt=0, le=0.25, description="step of the simulated battery, s of real time")] = 0.05
    contactor_delay_s: Annotated[
        float, Meta(ge=0, le=1, description="switching time of the simulated contactor, s of real time")
    ] = 0.0
    hung_s: Annotated[
        float,
        Meta(
            ge=0.2,
            le=60,
            description="if the program hangs for so long, its watchdog opens the contactor and shows state B, s",
        ),
    ] = HUNG_S
    runaway: Annotated[RunawaySettings, Meta(description="signs of a thermal runaway")] = RunawaySettings()
    heat: Annotated[HeatConfig | None, Meta(description="what happens to the simulated cells; none: nothing")] = None
    emergency: Annotated[
        EmergencyConfig | None,
        Meta(
            description="emergency output for a thermal runaway, and its record; none: an end of the session that no "
            "restart remembers"
        ),
    ] = None
    pack: Annotated[PackConfig, Meta(description="cells of the simulated battery")] = PackConfig()
    can: Annotated[
        CanConfig | None, Meta(description="CAN bus on which the simulated control units send; none: they do not")
    ] = None
    ecu_hz: Annotated[
        float, Meta(ge=10, le=100, description="frames per second of each simulated control unit on the CAN bus")
    ] = 10.0
    place: Annotated[
        PlaceConfig, Meta(description="start position and driving of a vehicle without a plug (WPT, DC_ACDP)")
    ] = PlaceConfig()


class PauseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Resuming a session after a pause."""

    file: Annotated[Path, Meta(description="stores the paused session, mode 0600; a stored session is resumed")]
    resume_after_s: Annotated[
        Annotated[float, Meta(ge=0, le=31_622_400)] | None,
        Meta(
            description="length of the pause, s of simulated time, if the program has none; none: until "
            "the charger or SIGUSR1 wakes the vehicle"
        ),
    ] = None


class UpdateConfig(ReleasesConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Updates of the vehicle's controller, between sessions."""

    folder: Annotated[Path, Meta(description="folder of images and the state of an update")]


WITHOUT_PLUG: Final = frozenset({Family.WPT, Family.ACDP})
"""Message sets of vehicles that are driven to a position instead of being plugged in."""


class EvccConfig(SessionConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of `v2g evcc --config FILE`."""

    profile: Annotated[
        str | None,
        Meta(
            description="vehicle profile, whose keys apply where this file has none: ac-11kw, dc-60kw, dc-62.5kw, "
            "bench-200kw, or a file of one's own, NAME.toml"
        ),
    ] = None
    link: Annotated[LinkConfig, Meta(description="powerline link and its simulation")] = LinkConfig()
    sdp: Annotated[SdpConfig, Meta(description="charger discovery")] = SdpConfig()
    editions: Annotated[
        tuple[EditionName, ...],
        Meta(
            min_length=1,
            max_length=3,
            description="editions of the protocol that are offered, best first: 20 (ISO 15118-20), 2 (ISO 15118-2), "
            "din (DIN 70121)",
        ),
    ] = ("20",)
    security_profile: Annotated[
        SecurityProfile,
        Meta(description="iso15118-20, or interop: also P-256 and SHA-256, for peers that do not meet ISO 15118-20"),
    ] = "iso15118-20"
    tls: Annotated[TlsConfig, Meta(description="transport security")]
    contract: Annotated[
        ContractConfig | None, Meta(description="contract for plug and charge, besides installed ones")
    ] = None
    provisioning: Annotated[
        ProvisioningConfig | None, Meta(description="installation of contracts by chargers; none: no installation")
    ] = None
    basic: Annotated[
        BasicConfig | None, Meta(description="charge by nominal duty if communication fails; none: end the session")
    ] = None
    battery: Annotated[BatteryConfig, Meta(description="simulated battery")] = BatteryConfig()
    hardware: Annotated[HardwareConfig, Meta(description="vehicle hardware")] = HardwareConfig()
    price_signers: Annotated[
        tuple[Path, ...],
        Meta(
            description="certificates (PEM) of operators whose signed price schedules are trusted, besides the "
            "CAs of the vehicle's own contracts and provisioning.mo_roots"
        ),
    ] = ()
    pause: Annotated[
        PauseConfig | None, Meta(description="resume a paused session; none: a pause ends the program")
    ] = None
    checkpoints: Annotated[
        CheckpointsConfig | None, Meta(description="store countersigned checkpoints; none: they are not stored")
    ] = None
    journal_keys: Annotated[
        Path | None,
        Meta(
            description="keys that seal checkpoints and the paused session in their files: a file of `v2g settle key`; "
            "none: they are plain files of mode 0600"
        ),
    ] = None
    update: Annotated[
        UpdateConfig | None,
        Meta(description="updates by signed releases, looked for after each session; none: by other means"),
    ] = None
    driver: Annotated[tuple[DriverStep, ...], Meta(max_length=64, description="driver's requests")] = ()
    clock: Annotated[ClockConfig, Meta(description="simulated time")] = ClockConfig()
    log: Annotated[LogConfig, Meta(description="logs and events")] = LogConfig()
    local_events: Annotated[
        EventSocketConfig | None, Meta(description="socket for readers of events; none: only files and logs have them")
    ] = None

    def __post_init__(self) -> None:
        """Reject editions without transport, and a mixture of plug, coil and pantograph: a vehicle can use only one."""
        if len(set(self.editions)) < len(self.editions):
            raise ValueError("an edition is listed twice in editions")
        if "din" in self.editions and not (self.sdp.without_tls or self.sdp.accept_without_tls):
            raise ValueError('editions has "din", which has no TLS: set sdp.without_tls or sdp.accept_without_tls')
        if self.editions == ("din",) and not self.sdp.without_tls:
            raise ValueError('editions has only "din", which has no TLS: set sdp.without_tls = true')
        if self.without_plug is None:
            if any(family in WITHOUT_PLUG for family in self._families):
                raise ValueError("services.energy: WPT, DC_ACDP and services of a plug exclude each other")
            return
        if self.link.slac is not None:
            raise ValueError(f"services.energy: {self.services.energy[0]} has no plug to match at: remove link.slac")
        if self.hardware.backend == "bench":
            raise ValueError(f'services.energy: {self.services.energy[0]} needs hardware.backend = "simulated"')

    @property
    def _families(self) -> set[Family]:
        return {ENERGY_TRANSFER[ServiceId[name]].family for name in self.services.energy}

    @property
    def without_plug(self) -> Family | None:
        """The message set of a vehicle without a plug, None for one with a plug."""
        (family, *others) = self._families
        return family if not others and family in WITHOUT_PLUG else None

    @property
    def wireless_sdp(self) -> SdpWirelessRequest | None:
        """The wireless SDP request, None for plain SDP."""
        family = self.without_plug
        if self.sdp.form == "plain" or (self.sdp.form == "auto" and family is None):
            return None
        usual = COUPLINGS[family][0] if family is not None else NOT_APPLICABLE
        methods = (*self.wireless.positioning, *self.wireless.pairing) if family is Family.WPT else ()
        return SdpWirelessRequest(
            positioning=positioning(methods),
            coupling=usual if self.sdp.coupling is None else self.sdp.coupling,
            evid=self.vehicle.evcc_id[:EVID_LENGTH],
            evseid=self.sdp.evse_id,
        )


def _profile(tree: Tree, text: str, name: str) -> Tree:
    """Return the keys of the vehicle profile that a configuration names. Raises ConfigError."""
    wanted = tree.get("profile")
    if not isinstance(wanted, str):
        return {}
    known = resources.files("evcc") / "data" / "vehicles"
    path = Path(name).parent / wanted if wanted.endswith(".toml") else known / f"{wanted}.toml"
    names = sorted(each.name.removesuffix(".toml") for each in known.iterdir())
    if not wanted.endswith(".toml") and wanted not in names:
        raise fault(text, name, ("profile",), f"unknown vehicle {wanted!r}", f"{', '.join(names)}, or a file NAME.toml")
    try:
        return parse_tree(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        hint = "a TOML file with keys of this configuration"
        raise fault(text, name, ("profile",), f"{path}: {error}", hint) from None


def look(config: EvccConfig) -> Iterator[Flaw]:
    """Yield why updates cannot be installed as the configuration says."""
    return installer_flaws(config.update, ("update",))


def load_config(text: str, *, name: str) -> EvccConfig:
    """Return the configuration in `text`; the extension of the file name `name` determines the format.

    Raises ConfigError with line and nearest key name.
    """
    return parse_config(text, EvccConfig, name=name, look=look, defaults=lambda tree: _profile(tree, text, name))


def notes(text: str, *, name: str) -> list[str]:
    """Return what is not sealed on the disk by a valid configuration, and what it leaves to be assumed or derived."""
    config = load_config(text, name=name)
    stored, on_board = config.checkpoints is not None or config.pause is not None, config.on_board_charger
    found = ["plain on the disk: checkpoints and paused sessions (journal_keys)"]
    if not stored or config.journal_keys:
        found.clear()
    found += crossed(config.link.interfaces, config.link.medium, config.link.plc.backend)
    if not config.basic and not any(each.startswith("AC") for each in config.services.energy):
        return found
    if on_board.max_current_a is None:
        rating = f"{on_board.line_ma / 1000:g} A for each line conductor, by its power (max_current_a is omitted)"
        found.append(f"on_board_charger: {rating}")
    if not on_board.measures_lines:
        taken = "the sum is taken as equal on the phases with voltage, as all on one where these are not known"
        found.append(f"on_board_charger: no currents of L1 to L3 (measures_lines); {taken}")
    return found


def check_config(text: str, *, name: str) -> list[ConfigError]:
    """Return all errors of a configuration, including the files in it."""
    found = faults(text, EvccConfig, name=name, look=look, defaults=lambda tree: _profile(tree, text, name))
    if found:
        return found
    config = load_config(text, name=name)
    issuers = () if config.provisioning is None else config.provisioning.mo_roots
    roots = {"contract": ("provisioning.mo_roots", issuers, config.tls.cross_certificates)}
    openers: list[OfKey] = []
    if config.sdp.evse_id:
        openers.append((("sdp", "evse_id"), partial(check_evse_id, config.sdp.evse_id)))
    if (policy := config.discharge.policy) is not None:
        openers.append((("discharge", "policy"), partial(load_policy, policy, lambda _: None)))
    return file_faults(text, config, name=name, openers=openers, roots=roots)
