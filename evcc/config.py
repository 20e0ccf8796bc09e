"""Configuration of the vehicle program: one typed file, TOML or YAML, all keys described.

Relative paths are relative to the file's own folder.
"""

import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from evcc.checkpoints import CheckpointsConfig
from evcc.driver import DriverStep
from evcc.hardware.drive import PlaceConfig
from evcc.hardware.pack import HeatConfig, PackConfig
from evcc.policy.battery import BatteryConfig
from evcc.policy.policy import POLICY_FAILED, OwnPolicy, Permit, Situation
from evcc.session.settings import BasicConfig, SessionConfig
from v2g.battery.runaway import RunawaySettings
from v2g.config import Flaw, Tree, fault, faults, parse_config, parse_tree
from v2g.errors import ConfigError
from v2g.io.can import CanConfig
from v2g.io.hardware.emergency import GpioEmergencyConfig
from v2g.io.ota.opening import ReleasesConfig, installer_flaws
from v2g.io.plc.link import LinkEndConfig
from v2g.io.runtime.clock import ClockConfig
from v2g.io.runtime.config_files import OfKey, check_evse_id, crossed, file_faults
from v2g.io.runtime.event_socket import EventSocketConfig
from v2g.io.runtime.program import read_config
from v2g.io.runtime.supervision import new_thread
from v2g.io.runtime.trace import LogConfig
from v2g.io.runtime.watchdog import CHECKS, HUNG_S
from v2g.io.tls.endpoint import Backend, Curves, KeyLog
from v2g.iso15118.d20.association import COUPLINGS, NOT_APPLICABLE, positioning
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.sdp_wireless import EVID_LENGTH, SdpWirelessRequest
from v2g.iso15118.d20.services import ENERGY_TRANSFER, ServiceId
from v2g.iso15118.engine.contracts import pcid_of
from v2g.iso15118.engine.signature import EDITION_2, INTEROP, STANDARD
from v2g.iso15118.select import EditionName
from v2g.observe import Observe
from v2g.pki.certificates import describe_key, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import Algorithm, algorithm_of
from v2g.pki.reference import KeyReference
from v2g.slac.ev import EvSlacConfig

DECIDE_S: Final = 0.2
"""Longest decision of an owner's own policy, s: the session waits for it, also with its watchdog (`HUNG_S`)."""


def load_policy(path: Path, observe: Callable[[Observe], None]) -> OwnPolicy:
    """Return the policy in a file, which others must not be able to read or change. Raises ConfigError.

    A policy that raises an exception, returns anything but a Permit, or takes longer than `DECIDE_S` permits nothing;
    `observe` gets the error. Each decision runs in a thread of its own, and no other begins while it runs.
    """
    text = read_config(path)
    names: dict[str, object] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(compile(text, str(path), "exec"), names)  # noqa: S102 - the owner's own program
    except Exception as error:  # noqa: BLE001 - whatever that program does
        raise ConfigError(f"{path}: {type(error).__name__}: {error}", hint="run it with python to see where") from None
    decide = names.get("decide")
    if not callable(decide):
        raise ConfigError(f"{path} has no function decide", hint="def decide(situation): return Permit(...)")
    reported = ""
    thread: threading.Thread | None = None

    def run(situation: Situation, answers: list[Permit | Exception | SystemExit]) -> None:
        try:
            answer = decide(situation)
            if not isinstance(answer, Permit):
                raise TypeError(f"decide returned {type(answer).__name__}, not a Permit")
            answer = Permit(math.floor(answer.power_w), str(answer.reason))  # a share of a power is a float
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever that program does
            answer = error
        answers.append(answer)

    def ask(situation: Situation) -> Permit:
        nonlocal reported, thread
        answers: list[Permit | Exception | SystemExit] = []
        if thread is None or not thread.is_alive():
            thread = new_thread(partial(run, situation, answers), name="policy")
            thread.start()
            for _ in range(CHECKS):  # as the watchdog does: a process that cannot run is not late
                thread.join(DECIDE_S / CHECKS)
        answer = answers[0] if answers else TimeoutError(f"decide took longer than {DECIDE_S} s")
        if isinstance(answer, Permit):
            return answer
        if (why := f"{type(answer).__name__}: {answer}") != reported:
            reported = why
            observe(Observe("power", "policy_failed", {"file": str(path), "error": why}))
        return Permit(0, POLICY_FAILED)

    return ask


SecurityProfile = Literal["iso15118-20", "interop"]


class LinkConfig(LinkEndConfig, frozen=True, forbid_unknown_fields=True):
    """The vehicle's connection to the charger."""

    name: Annotated[str, Meta(min_length=1, max_length=32)] = "ev"
    """This vehicle's name on the medium."""
    connector: Annotated[int, Meta(ge=1, le=255)] = 1
    """Number of the simulated plug to use."""
    wait_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """Longest time from plug-in until the link is up, s."""
    slac: EvSlacConfig | None = None
    """Match by SLAC before discovery; none for plain Ethernet test benches."""


class SdpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Discovery of the charger."""

    port: Annotated[int, Meta(ge=1, le=65535)] = 15118
    """UDP port of the charger's SDP server."""
    tries: Annotated[int, Meta(ge=1, le=50)] = 50
    """Maximum number of requests, 250 ms apart."""
    without_tls: bool = False
    """Request a charger without TLS, without paying by contract: with DIN 70121 and ISO 15118-2 (editions), and with
    security_profile = "interop" with ISO 15118-20, for laboratories."""
    accept_without_tls: bool = False
    """Request TLS, but use a charger that has none, with DIN 70121 or ISO 15118-2 (editions)."""
    form: Literal["auto", "plain", "wireless"] = "auto"
    """Wireless or plain SDP requests; auto: wireless if there is no plug."""
    evse_id: Annotated[str, Meta(max_length=37)] = ""
    """EVSE of the vehicle's parking space, if known: only this one answers."""
    coupling: Annotated[int, Meta(ge=0, le=255)] | None = None
    """Coupling type of wireless SDP; none: 0x10 for WPT, 0x00 for a connection device."""


class ChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further vehicle certificate, such as one on Ed448 or under a V2G root."""

    chain: Path
    """Vehicle certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The vehicle's TLS credentials and trust anchors."""

    renamed: ClassVar[Mapping[str, str]] = {"require_ocsp": "revocation"}

    chain: Path
    """Vehicle certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""
    anchors: Annotated[tuple[Path, ...], Meta(min_length=1)]
    """Trusted V2G root certificates of chargers, PEM."""
    cross_certificates: tuple[Path, ...] = ()
    """Cross certificates, PEM, that may link chains of a charger, a provisioning service and new contracts to the
    roots."""
    other_chains: Annotated[tuple[ChainConfig, ...], Meta(max_length=8)] = ()
    """Further certificates, best first; a charger gets the first whose root and signature it supports."""
    revocation: Literal["hard", "soft"] | None = None
    """hard: reject a charger without a good OCSP response; soft: continue if there is none, or an old one; default:
    hard, in the profile interop soft."""
    crls: tuple[Path, ...] = ()
    """Revocation lists (PEM or DER) also used to check chains of a charger, a provisioning service and new
    contracts."""
    ask_responder: bool = False
    """Request missing OCSP responses from the responder in the charger's certificate."""
    timeout_s: Annotated[float, Meta(gt=0, le=20)] = 4.5
    """Timeout of connecting and handshake, s."""
    backend: Backend = "auto"
    curves: Curves = ("secp521r1", "x448")
    key_log: KeyLog = None


class ContractConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contract for plug and charge, whose key also signs meter readings and discharge."""

    chain: Path
    """Contract certificate and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""


class ProvisioningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate with which the vehicle requests contracts from chargers, and where it stores them."""

    chain: Path
    """OEM provisioning certificate (CN = PCID) and its sub-CAs, PEM."""
    key: KeyReference
    """Its private key: PEM file of mode 0600, or key URI."""
    store: KeyReference
    """Folder of the contracts; file:FOLDER?pin-source=... encrypts their keys with a passphrase."""
    mo_roots: tuple[Path, ...] = ()
    """MO root certificates, PEM; without any, contracts of a trusted service are trusted."""
    envelope: EnvelopeRules = RULES
    """Details of sealed keys that the standard leaves open, to match the service."""


class EmergencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The emergency output: a solenoid or the input of a fire panel."""

    folder: Path
    """Folder of the record, and of the simulated output."""
    gpio: GpioEmergencyConfig | None = None
    """Line that switches it; none: it is simulated."""


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's hardware."""

    backend: Literal["simulated", "bench"] = "simulated"
    """simulated: battery on the medium's DC line; bench: battery that trusts the charger's values."""
    pre_charges: bool = False
    """bench: wait for the voltage that the charger reports; false: every pre-charge counts as done."""
    step_s: Annotated[float, Meta(gt=0, le=0.25)] = 0.05
    """Step of the simulated battery, s of real time."""
    contactor_delay_s: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Switching time of the simulated contactor, s of real time."""
    hung_s: Annotated[float, Meta(ge=0.2, le=60)] = HUNG_S
    """If the program hangs for so long, its watchdog opens the contactor and shows state B, s."""
    runaway: RunawaySettings = RunawaySettings()
    """Signs of a thermal runaway."""
    heat: HeatConfig | None = None
    """What happens to the simulated cells; none: nothing."""
    emergency: EmergencyConfig | None = None
    """Emergency output for a thermal runaway, and its record; none: an end of the session that no restart remembers."""
    pack: PackConfig = PackConfig()
    """Cells of the simulated battery."""
    can: CanConfig | None = None
    """CAN bus on which the simulated control units send; none: they do not."""
    ecu_hz: Annotated[float, Meta(ge=10, le=100)] = 10.0
    """Frames per second of each simulated control unit on the CAN bus."""
    place: PlaceConfig = PlaceConfig()
    """Start position and driving of a vehicle without a plug (WPT, DC_ACDP)."""


class PauseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Resuming a session after a pause."""

    file: Path
    """Stores the paused session, mode 0600; a stored session is resumed."""
    resume_after_s: Annotated[float, Meta(ge=0, le=31_622_400)] | None = None
    """Length of the pause, s of simulated time, if the program has none; none: until the charger or SIGUSR1 wakes the
    vehicle."""


class UpdateConfig(ReleasesConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Updates of the vehicle's controller, between sessions."""

    folder: Path
    """Folder of images and the state of an update."""


WITHOUT_PLUG: Final = frozenset({Family.WPT, Family.ACDP})
"""Message sets of vehicles that are driven to a position instead of being plugged in."""


class EvccConfig(SessionConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of `v2g evcc --config FILE`."""

    profile: str | None = None
    """Vehicle profile, whose keys apply where this file has none: ac-11kw, dc-60kw, dc-62.5kw, bench-200kw, or a file
    of one's own, NAME.toml."""
    link: LinkConfig = LinkConfig()
    """Powerline link and its simulation."""
    sdp: SdpConfig = SdpConfig()
    """Charger discovery."""
    editions: Annotated[tuple[EditionName, ...], Meta(min_length=1, max_length=3)] = ("20",)
    """Editions of the protocol that are offered, best first: 20 (ISO 15118-20), 2 (ISO 15118-2), din (DIN 70121)."""
    security_profile: SecurityProfile = "iso15118-20"
    """iso15118-20, or interop: also P-256 and SHA-256, for peers that do not meet ISO 15118-20."""
    tls: TlsConfig
    """Transport security."""
    contract: ContractConfig | None = None
    """Contract for plug and charge, besides installed ones."""
    provisioning: ProvisioningConfig | None = None
    """Installation of contracts by chargers; none: no installation."""
    basic: BasicConfig | None = None
    """Charge by nominal duty if communication fails; none: end the session."""
    battery: BatteryConfig = BatteryConfig()
    """Simulated battery."""
    hardware: HardwareConfig = HardwareConfig()
    """Vehicle hardware."""
    price_signers: tuple[Path, ...] = ()
    """Certificates (PEM) of operators whose signed price schedules are trusted, besides the CAs of the vehicle's own
    contracts and provisioning.mo_roots."""
    pause: PauseConfig | None = None
    """Resume a paused session; none: a pause ends the program."""
    checkpoints: CheckpointsConfig | None = None
    """Store countersigned checkpoints; none: they are not stored."""
    journal_keys: Path | None = None
    """Keys that seal checkpoints and the paused session in their files: a file of `v2g settle key`; none: they are
    plain files of mode 0600."""
    update: UpdateConfig | None = None
    """Updates by signed releases, looked for after each session; none: by other means."""
    driver: Annotated[tuple[DriverStep, ...], Meta(max_length=64)] = ()
    """Driver's requests."""
    clock: ClockConfig = ClockConfig()
    """Simulated time."""
    log: LogConfig = LogConfig()
    """Logs and events."""
    local_events: EventSocketConfig | None = None
    """Socket for readers of events; none: only files and logs have them."""

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
    if config.contract is not None:
        openers.append((("contract", "chain"), partial(_check_contract, config, config.contract.chain)))
    if config.provisioning is not None:
        openers.append((("provisioning", "chain"), partial(_check_pcid, config.provisioning.chain)))
    if (policy := config.discharge.policy) is not None:
        openers.append((("discharge", "policy"), partial(load_policy, policy, lambda _: None)))
    return file_faults(text, config, name=name, openers=openers, roots=roots)


def _check_pcid(file: Path) -> None:
    """Check the common name of a provisioning certificate. Raises CertificateError."""
    pcid_of(load_certificate(load_chain(file)[0]))


def _check_contract(config: EvccConfig, file: Path) -> None:
    """Compare a contract with the editions. Raises ConfigError."""
    chain = load_chain(file)
    if not 2 <= len(chain) <= 4:
        raise ConfigError(
            f"{file} has {len(chain) - 1} sub-CAs, a contract has 1 to 3", hint="append them, nearest first"
        )
    used: dict[str, Collection[Algorithm]] = {
        "20": INTEROP if config.security_profile == "interop" else STANDARD,
        "2": EDITION_2,
    }
    key = load_certificate(chain[0]).public_key()
    if not any(algorithm_of(key) in used.get(name, ()) for name in config.editions):  # type: ignore[arg-type]
        raise ConfigError(
            f"{file} has {describe_key(key)}, which no edition in editions signs with",
            hint="ISO 15118-20 has contracts on secp521r1 or Ed448, ISO 15118-2 on secp256r1",
        )
