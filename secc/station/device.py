"""The machine of a real charger, from its configuration."""

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from secc.config import TlsConfig
from secc.hardware.drivers import side_opener
from secc.station_config import StationConfig
from v2g.io.hardware.driver import DriverContext
from v2g.io.ota.opening import open_installer
from v2g.io.runtime.clock import Clock
from v2g.iso15118.d20.services import Flavour
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.certificates import InstallCertificateUse
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.certificate_store import StoredCertificate
from v2g_station.device.card_readers import CardReaders, OpenedReader
from v2g_station.device.certificates import CertificateFiles, Own, seeds
from v2g_station.device.device import StationMachine, web_context
from v2g_station.device.display import StationDisplay
from v2g_station.device.firmware import FirmwareDevice
from v2g_station.device.firmware_publisher import Publisher
from v2g_station.device.logs import LogSources, LogUploads
from v2g_station.device.sleeping import Sleeping
from v2g_station.kernel.layout import EvseLayout


class Premises(msgspec.Struct, frozen=True):
    """What a station needs to know of its charger."""

    sources: LogSources = msgspec.field(default_factory=LogSources)
    """The program's logs."""
    evses: tuple[EvseLayout, ...] = ()
    """Layout of the EVSEs, where known."""
    grid_voltage: bool = True
    """Whether the grid's voltage is measured along with its frequency."""
    max_var: int = 0
    """Maximum reactive power that the power electronics of each EVSE can inject and absorb."""
    der: Flavour | None = None
    """How controls reach vehicles' inverters by AC DER."""
    nominal_hz: float = 50.0
    """Frequency of the outlets' alternating current, Hz."""
    nominal_v: float = 230.0
    """Its voltage between a line and the neutral, V."""
    own: Mapping[CertificateSigningUse, Own] = msgspec.field(default_factory=dict)
    """Chains presented to vehicles, with their keys."""
    roots: Mapping[InstallCertificateUse, tuple[Path, ...]] = msgspec.field(default_factory=dict)
    """Roots of the configuration."""


def certificate_folder(config: StationConfig) -> Path:
    """Return the folder of roots set by the CSMS, and of keys waiting for their certificates."""
    return config.certificates or config.store.parent / "certificates"


def vehicle_chain(tls: TlsConfig) -> Mapping[CertificateSigningUse, Own]:
    """Return the chain for vehicles that the CSMS may renew: none where the charger renews it by EST."""
    return {} if tls.enrolment is not None else {"V2GCertificate": Own(tls.chain, tls.key)}


def own_certificates(
    config: StationConfig,
    vehicles: Mapping[CertificateSigningUse, Own],
    *,
    notify: Callable[[Fact], None] = lambda _: None,
    observe: Callable[[Observe], None],
) -> CertificateFiles:
    """Return the files of the chains that the CSMS may renew: that for itself, and those for `vehicles`."""
    own = dict(vehicles)
    if config.tls is not None and config.tls.own is not None:
        chain, key = config.tls.own
        own["ChargingStationCertificate"] = Own(chain, KeyReference.of(key))
    return CertificateFiles(folder_maker(certificate_folder(config)), lambda: own, notify=notify, observe=observe)


def firmware_folder(store: Path) -> Path:
    """Return where updates keep images and state, unless configured."""
    return store.parent / "firmware"


def charger_machine(
    config: StationConfig,
    premises: Premises,
    *,
    clock: Clock,
    notify: Callable[[Fact], None],
    accepted: Callable[[], asyncio.Event],
    observe: Callable[[Observe], None],
    boot_id: str,
    roots: Callable[[], tuple[Path, ...]],
) -> StationMachine:
    """Return the machine for this configuration; `roots` returns the files with the roots of the CSMS."""
    home = config.store.parent
    context = web_context(roots)
    logs = LogUploads(config.logs, folder_maker(home / "logs"), premises.sources, notify=notify, context=context)
    certificates = own_certificates(config, premises.own, notify=notify, observe=observe)
    firmware: FirmwareDevice | None = None
    if config.update is not None:
        firmware = FirmwareDevice(
            config.update,
            folder_maker(config.update.folder or firmware_folder(config.store)),
            open_installer(config.update, restart=lambda: os.kill(os.getpid(), signal.SIGTERM)),
            notify=notify,
            accepted=accepted,
            context=context,
            observe=observe,
            boot_id=boot_id if config.update.slots is None else secrets.token_hex(8),  # a start boots slots in folders
        )
    publisher: Publisher | None = None
    if config.publish is not None:
        folder = folder_maker(config.publish.folder or home / "published")
        publisher = Publisher(config.publish, folder, notify=notify, context=context)
    terminal = None
    if config.terminal is not None:
        from v2g_station.device.payment_terminal import PaymentTerminal  # only chargers with a terminal need it

        terminal = PaymentTerminal(config.terminal, clock, notify=notify, observe=observe)
    drivers = DriverContext(clock=clock, observe=observe)
    panel = None
    if config.display.driver is not None:
        panel = side_opener("display", config.display.driver, config.display.settings, drivers)
    readers = [
        OpenedReader(each.driver, each.evse, side_opener("card_reader", each.driver, each.settings, drivers))
        for each in config.card_readers
    ]
    return StationMachine(
        logs=logs,
        firmware=firmware,
        publisher=publisher,
        certificates=certificates,
        display=StationDisplay(config.display, observe, panel=panel),
        sleeping=Sleeping(config.sleep, config.evses, notify, observe) if config.sleep is not None else None,
        terminal=terminal,
        readers=CardReaders(readers, clock, notify=notify, observe=observe) if readers else None,
    )


def configured_roots(config: StationConfig, premises: Premises) -> tuple[StoredCertificate, ...]:
    """Return all roots of the configuration. Raises V2GError."""
    files = dict(premises.roots)
    if config.tls is not None:
        files["CSMSRootCertificate"] = (config.tls.ca,)
    if config.update is not None:
        files["ManufacturerRootCertificate"] = config.update.manufacturer_roots
    return seeds(files)


def folder_maker(folder: Path) -> Callable[[], Path]:
    """Return a function that returns a folder, and creates it if missing."""

    def make() -> Path:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    return make
