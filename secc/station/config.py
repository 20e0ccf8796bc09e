"""How a charging station is configured."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secc.energy_manager.config import EnergyManagerConfig, check_sources
from secc.energy_manager.grid_frequency import FrequencyConfig
from v2g.io.websocket.client import TlsFiles
from v2g.ocpp.routes import Version
from v2g.text import redacted
from v2g_station.device.display import DisplayConfig
from v2g_station.device.firmware import UpdateConfig
from v2g_station.device.logs import LogsConfig
from v2g_station.device.publisher import PublishConfig
from v2g_station.device.sleeping import SleepConfig
from v2g_station.device.terminal_config import TerminalConfig


class InverterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The nameplate of the charger's inverters (R01). What is left out is the charger's own."""

    manufacturer: Annotated[str, Meta(max_length=50)] = ""
    """Who makes them."""
    model: Annotated[str, Meta(max_length=50)] = ""
    """Their model."""
    serial_number: Annotated[str, Meta(max_length=50)] = ""
    """Their serial number."""
    sw_version: Annotated[str, Meta(max_length=50)] = ""
    """Version of their software."""
    hw_version: Annotated[str, Meta(max_length=50)] = "unknown"
    """Version of their hardware."""


class StationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a station appears to its CSMS.

    With security profile 3 `identity` is the common name of the certificate in `tls`, and the serial number in the boot
    notification. `tls` with `ca` alone and a password is profile 2, without `tls` only `ws:` can be used (profile 1).
    """

    url: str
    """OCPP-J endpoint of the CSMS without the identity: `wss://HOST:PORT/PATH`, or `ws:`. The CSMS may set others."""
    identity: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_=+|@.-]{1,25}\Z")]
    """Identity of the station at the CSMS, the last part of the URL."""
    store: Path
    """SQLite file of what has to outlive a restart: messages that the CSMS has not answered, settings, transactions."""
    password_file: Path | None = None
    """File of mode 0600 with the password at the CSMS (BasicAuthPassword, 16 to 64 characters), until the CSMS sets
    another one. Without it the environment's V2G_STATION_PASSWORD counts, if it is there."""
    tls: TlsFiles | None = None
    """How the CSMS is believed, and what it is shown; none uses no TLS (profile 1)."""
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    """Versions of OCPP that are offered, best first."""
    vendor: Annotated[str, Meta(max_length=50)] = "v2g-engine"
    """VendorName of the boot notification."""
    model: Annotated[str, Meta(max_length=20)] = "DC_BPT"
    """Model of the boot notification."""
    firmware: Annotated[str, Meta(max_length=50)] = "0.1.0"
    """Version of the firmware, where no `firmware_file` tells it."""
    firmware_file: Path | None = None
    """File whose first line is the version of the firmware that runs. It belongs to the image, such as
    /etc/firmware-version, so that after an update, or its roll-back, what is told is true."""
    evses: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of EVSEs; may be left out, for the program counts those of its file."""
    max_power_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 150_000
    """Greatest power of an EVSE, as the CSMS is told; with alternating current, and for discharge, no more than its own
    rating."""
    message_timeout: Annotated[float, Meta(gt=0)] = 30.0
    """How long an answer of the CSMS is waited for, s (MessageTimeout)."""
    authorize_timeout: Annotated[float, Meta(gt=0)] = 10.0
    """How long an answer to Authorize is waited for, s; then the CSMS counts as out of reach."""
    installation_timeout: Annotated[float, Meta(gt=0, le=60)] = 50.0
    """How long (s) the CSMS is asked for a vehicle's contract (M01). The vehicle is told at 55 s that there is none."""
    journal_copies: Literal["auto", "always", "never"] = "auto"
    """Whether the CSMS gets a copy of each journal, by DataTransfer. auto: until it says that it does not know them,
    which is remembered; always: it is asked at each connection; never: it is not asked."""
    accept_offline: bool = False
    """Whether a contract that was validated here may charge while the CSMS cannot be reached (C15)."""
    retry_minimum: Annotated[float, Meta(gt=0)] = 1.0
    """First wait (s) before reconnecting, until the CSMS sets RetryBackOffWaitMinimum."""
    retry_random_range: Annotated[float, Meta(ge=0)] = 2.0
    """Up to this much is added at random to each wait before reconnecting, s (RetryBackOffRandomRange)."""
    logs: LogsConfig = LogsConfig()
    """What the CSMS gets when it asks for logs."""
    display: DisplayConfig = DisplayConfig()
    """Where messages for people at the charger go."""
    certificates: Path | None = None
    """Folder for roots as the CSMS wants them, and keys that wait for their certificates; default: `certificates`
    beside `store`."""
    frequency: FrequencyConfig | None = None
    """Where the grid's frequency is known from; none refuses local frequency and DER control."""
    energy_managers: Annotated[tuple[EnergyManagerConfig, ...], Meta(max_length=3)] = ()
    """Systems on site that bound, or set, the power."""
    inverter: InverterConfig = InverterConfig()
    """What the back end is told of the inverters that follow DER controls."""
    publish: PublishConfig | None = None
    """Firmware for other stations of the site; without it the charger publishes none."""
    terminal: TerminalConfig | None = None
    """Payment terminal; none has nobody pay at the charger."""
    restart: tuple[str, ...] = ()
    """Command (and its arguments, no shell) that restarts the device when the CSMS wants a Reset; without one, and when
    it fails, the program starts anew."""
    sleep: SleepConfig | None = None
    """How the electronics of an EVSE that idles are turned off (Q10); none lets them be on."""
    update: UpdateConfig | None = None
    """How new firmware is installed; none refuses it."""

    def __post_init__(self) -> None:
        """Refuse energy managers that cannot be told apart."""
        check_sources(self.energy_managers)
        scheme = self.url.partition("://")[0].lower()
        if scheme not in ("ws", "wss"):
            raise ValueError(f"url {redacted(self.url)!r} is no OCPP-J endpoint: ws://host:port/path, or wss://")
        if scheme == "wss" and self.tls is None:
            raise ValueError("a wss: url needs [station.tls] with the roots of the CSMS (ca)")

    @property
    def security_profile(self) -> int:
        """The security profile that follows from URL and certificates (A00)."""
        if self.tls is None:
            return 1
        return 2 if self.tls.own is None else 3
