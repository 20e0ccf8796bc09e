"""Configuration of a charging station."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from secc.energy_manager.config import EnergyManagerConfig, check_sources
from secc.energy_manager.grid_frequency import FrequencyConfig
from secc.hardware.drivers import find
from v2g.config import Flaw, Table
from v2g.errors import ConfigError
from v2g.io.entry_points import settings_flaws
from v2g.io.hardware.driver import SideKind
from v2g.io.ota.opening import installer_flaws
from v2g.io.tls.files import TlsFiles
from v2g.ocpp.routes import Version
from v2g.pki.keys import read_secret
from v2g.text import redacted
from v2g.version import VERSION
from v2g_station.blocks.settings import MOST_VERSION
from v2g_station.device.display import DisplayConfig
from v2g_station.device.firmware import UpdateConfig
from v2g_station.device.firmware_publisher import PublishConfig
from v2g_station.device.logs import LogsConfig
from v2g_station.device.sleeping import SleepConfig
from v2g_station.device.terminal_config import TerminalConfig


class InverterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The nameplate of the charger's inverters (R01). Omitted values are the charger's own."""

    manufacturer: Annotated[str, Meta(max_length=50)] = ""
    """Manufacturer of the inverters."""
    model: Annotated[str, Meta(max_length=50)] = ""
    """Their model."""
    serial_number: Annotated[str, Meta(max_length=50)] = ""
    """Their serial number."""
    sw_version: Annotated[str, Meta(max_length=50)] = ""
    """Version of their software."""
    hw_version: Annotated[str, Meta(max_length=50)] = "unknown"
    """Version of their hardware."""


class CardReaderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reader of RFID cards."""

    driver: Annotated[str, Meta(min_length=1, max_length=64)] = "pn532"
    """Its driver: "pn532", or another one of `v2g hardware list`."""
    settings: Table | None = None
    """The driver's keys."""
    evse: Annotated[int, Meta(ge=0, le=64)] = 0
    """EVSE at the reader; 0: all, and the driver plugs in at one of them."""


class StationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A charging station's connection to its CSMS, and its parts.

    With security profile 3 `identity` is the common name of the certificate in `tls`, and the serial number in the boot
    notification. `tls` with `ca` alone and a password is profile 2; without `tls` only `ws:` is possible (profile 1).
    """

    url: str
    """OCPP-J endpoint of the CSMS without the identity: `wss://HOST:PORT/PATH`, or `ws:`. The CSMS may change it."""
    identity: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_=+|@.-]{1,25}\Z")]
    """Identity of the station at the CSMS, the last part of the URL."""
    store: Path
    """SQLite file of what must survive a restart: unanswered messages, settings, transactions."""
    password_file: Path | None = None
    """File of mode 0600 with the password at the CSMS (BasicAuthPassword, 16 to 64 characters), until the CSMS sets
    another one. Without it the environment variable V2G_STATION_PASSWORD is used, if set."""
    tls: TlsFiles | None = None
    """Roots to verify the CSMS, and the station's own certificate; unset for no TLS (profile 1)."""
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    """OCPP versions to offer, best first: "2.1", "2.0.1", "1.6"."""
    vendor: Annotated[str, Meta(max_length=50)] = "v2g-engine"
    """VendorName of the boot notification."""
    model: Annotated[str, Meta(max_length=20)] = "DC_BPT"
    """Model of the boot notification."""
    firmware: Annotated[str, Meta(max_length=50)] = ""
    """Firmware version, used without `firmware_file`; empty: that of v2g-engine."""
    firmware_file: Path | None = None
    """File whose first line is the version of the running firmware. It belongs to the image, such as
    /etc/firmware-version, so that the reported version is right after an update or its roll-back."""
    evses: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of EVSEs; optional, as the program counts those of its file."""
    max_power_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 150_000
    """Maximum power of an EVSE, as reported to the CSMS; with AC, and for discharging, at most its own rating."""
    message_timeout: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """How long to wait for an answer of the CSMS, s (MessageTimeout)."""
    authorize_timeout: Annotated[float, Meta(gt=0, le=86_400)] = 10.0
    """How long to wait for an answer to Authorize, s; then the CSMS counts as unreachable."""
    installation_timeout: Annotated[float, Meta(gt=0, le=60)] = 50.0
    """How long (s) to ask the CSMS for a vehicle's contract (M01). The vehicle gets a rejection at 55 s, with ISO
    15118-2 at 4.5 s, when the request ends too."""
    journal_copies: Literal["auto", "always", "never"] = "auto"
    """Whether the CSMS gets a copy of each journal, by DataTransfer. auto: until it answers that it does not support
    them, which is remembered; always: tried at each connection; never: not sent. So are figures of each session."""
    accept_offline: bool = False
    """Whether contracts that the charger has validated may charge while the CSMS is unreachable, also those that the
    CSMS has never named (C15), until it sets ContractValidationOffline to false."""
    retry_minimum: Annotated[float, Meta(gt=0, le=86_400)] = 1.0
    """First wait (s) before reconnecting, until the CSMS sets RetryBackOffWaitMinimum."""
    retry_random_range: Annotated[float, Meta(ge=0, le=86_400)] = 2.0
    """Maximum random addition to each wait before reconnecting, s (RetryBackOffRandomRange)."""
    logs: LogsConfig = LogsConfig()
    """Logs for the CSMS."""
    display: DisplayConfig = DisplayConfig()
    """Messages for drivers at the charger."""
    certificates: Path | None = None
    """Folder of roots set by the CSMS, and of keys without certificates; default: `certificates` beside `store`."""
    frequency: FrequencyConfig | None = None
    """Source of the grid's frequency; without one local frequency is rejected, and of DER controls all but those for
    vehicles' inverters (`charger.der`)."""
    energy_managers: Annotated[tuple[EnergyManagerConfig, ...], Meta(max_length=3)] = ()
    """Systems on site that limit or set the power."""
    inverter: InverterConfig = InverterConfig()
    """The nameplate reported to the CSMS of inverters that support DER controls."""
    publish: PublishConfig | None = None
    """Firmware for other stations of the site; without it the charger publishes none."""
    terminal: TerminalConfig | None = None
    """Payment terminal; without one drivers cannot pay at the charger."""
    card_readers: Annotated[tuple[CardReaderConfig, ...], Meta(max_length=16)] = ()
    """Readers of RFID cards; without one cards must come from elsewhere, such as a payment terminal."""
    restart: tuple[str, ...] = ()
    """Command (and its arguments, no shell) that restarts the device when the CSMS requests a Reset; without one, or if
    it fails, the program restarts."""
    sleep: SleepConfig | None = None
    """How to turn off the electronics of an idle EVSE (Q10); without it they stay on."""
    update: UpdateConfig | None = None
    """How to install new firmware; without it updates are rejected."""

    def __post_init__(self) -> None:
        """Reject ambiguous energy managers."""
        check_sources(self.energy_managers)
        scheme = self.url.partition("://")[0].lower()
        if scheme not in ("ws", "wss"):
            raise ValueError(f"url {redacted(self.url)!r} is not an OCPP-J endpoint: ws://host:port/path, or wss://")
        try:
            parts = urlsplit(self.url)
            if not parts.hostname or parts.port == 0:
                raise ValueError(parts.netloc)
        except ValueError:
            raise ValueError(f"url {redacted(self.url)!r} has no valid host and port: wss://host:port/path") from None
        if scheme == "wss" and self.tls is None:
            raise ValueError("a wss: url needs [station.tls] with the roots of the CSMS (ca)")
        if scheme == "ws" and self.tls is not None:
            raise ValueError("a ws: url has no TLS: make it wss:, or remove [station.tls]")

    @property
    def security_profile(self) -> int:
        """The security profile that results from URL and certificates (A00)."""
        if self.tls is None:
            return 1
        return 2 if self.tls.own is None else 3


def station_flaws(config: StationConfig, path: tuple[str, ...], *, evses: int) -> Iterator[Flaw]:
    """Yield drivers and an installer that are not installed, their invalid keys, and EVSEs that are not there."""
    numbers = {(*path, "card_readers", str(place)): each.evse for place, each in enumerate(config.card_readers)}
    numbers[*path, "terminal"] = 0 if config.terminal is None else config.terminal.evse or 0
    for where, number in numbers.items():
        if number > evses:
            yield (
                (*where, "evse"),
                f"is {number}, and the last EVSE is {evses}",
                "evses begin at 1, in the file's order",
            )
    for place, reader in enumerate(config.card_readers):
        yield from _driver_flaws("card_reader", reader.driver, reader.settings, (*path, "card_readers", str(place)))
    if config.display.driver is not None:
        yield from _driver_flaws("display", config.display.driver, config.display.settings, (*path, "display"))
    elif config.display.settings is not None:
        yield (*path, "display", "settings"), "is ignored without driver", "set driver"
    yield from installer_flaws(config.update, (*path, "update"))


def _driver_flaws(kind: SideKind, name: str, table: Table | None, path: tuple[str, ...]) -> Iterator[Flaw]:
    return settings_flaws("driver", lambda: find(kind, name).config, table, path)


# -- What files of a station's configuration hold: its password at the back end, and the version of its firmware

PASSWORD_VARIABLE: Final = "V2G_STATION_PASSWORD"  # noqa: S105 - a variable's name


def password_of(config: StationConfig, environment: Mapping[str, str]) -> str:
    """Return the station's initial password at its CSMS; empty without one.

    Raises KeyAccessError for an unusable file, ConfigError for an invalid password.
    """
    if config.password_file is not None:
        where = str(config.password_file)
        found = read_secret(config.password_file).decode(errors="replace").removesuffix("\n")
    else:
        where, found = PASSWORD_VARIABLE, environment.get(PASSWORD_VARIABLE, "")
        if not found:
            return ""
    if not (_LEAST <= len(found) <= _MOST and found.isprintable()):
        what = f"a password of {len(found)} characters, or with unprintable ones"
        raise ConfigError(
            f"{where}: {what}", hint=f"use {_LEAST} to {_MOST} characters on one line, as set at the CSMS"
        )
    return found


_LEAST, _MOST = 16, 64
"""Minimum and maximum length of BasicAuthPassword (A00.FR.205)."""


def running_firmware(config: StationConfig) -> str:
    """Return the version of the running firmware: from a file of its image, else as configured, else our own.

    Raises ConfigError for an unreadable file.
    """
    if config.firmware_file is None:
        return config.firmware or VERSION
    try:
        lines = config.firmware_file.read_text().strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config.firmware_file}: {error}", hint="see station.firmware_file") from None
    if not lines or len(lines[0]) > MOST_VERSION:
        raise ConfigError(
            f"{config.firmware_file} contains no version", hint="its first line must be the firmware's version"
        )
    return lines[0]
