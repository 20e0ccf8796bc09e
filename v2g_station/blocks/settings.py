"""The settings of a station, and the actions that depend on its hardware."""

from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.energy.curves import FrequencyCurve
from v2g.ocpp.messages.ev_charging import DERControl
from v2g.ocpp.messages.provisioning import BootReason, NetworkConnectionProfile
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.ocpp.routes import Version
from v2g.ota.window import UpdateWindow
from v2g_station.blocks.connection.outbox import MAX_EVENTS
from v2g_station.blocks.security.certificate_store import StoredCertificate
from v2g_station.kernel.layout import StationLayout


class Inverter(msgspec.Struct, frozen=True, kw_only=True):
    """The nameplate of the inverters in a station (R01.FR.01). `max_var` is the maximum that each can inject and
    absorb, 0 without reactive power."""

    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    sw_version: str = ""
    hw_version: str = ""
    max_var: int = 0


MOST_VERSION: Final = 50
"""Maximum length of a firmware version (BootNotification)."""


class StationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a station. `boot_reason` is why the program started, `same_boot` whether the machine did not
    restart; `network` is slot 1."""

    identity: str
    network: NetworkConnectionProfile
    layout: StationLayout = StationLayout()
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    boot_reason: BootReason = "PowerUp"
    same_boot: bool = False
    max_events: int = MAX_EVENTS
    managed: bool = False
    """Whether the charger manages the transactions, see `managed`."""

    scale: float = 1.0
    """Seconds of UTC per second of the monotonic clock."""

    message_timeout: float | None = None
    """Time limit of an answer in seconds, None for that of the network profile."""

    able: frozenset[str] = frozenset(
        {
            "logs", "firmware", "certificates", "display", "frequency", "load", "sleep", "der", "web_payments",
            "remote_start", "reset",
        }
    )  # fmt: skip
    """Abilities of hardware and shell; actions and operation modes that need others are rejected. `frequency` and
    `load`: the grid's frequency and the building's load are measured; `sleep`: an EVSE's electronics can be turned
    off; `remote_start`: drivers can be authorised other than by their vehicle; `reset`: the station can be
    restarted."""

    der_controls: tuple[DERControl, ...] = ()
    """Controls of block R supported by the inverter or the vehicle."""

    vehicle_controls: tuple[DERControl, ...] = ()
    """Those of them that AC DER carries to vehicles' inverters."""

    inverter: Inverter = Inverter()

    roots: tuple[StoredCertificate, ...] = ()
    """Roots delivered or configured with the charger."""

    chains: Mapping[CertificateSigningUse, str] = msgspec.field(default_factory=dict)
    """The charger's own chains in use, PEM."""

    nominal_hz: float = 50.0
    nominal_v: float = 230.0
    """The grid's frequency, and voltage between phase and neutral."""

    frequency_response: FrequencyCurve | None = None
    """The station's own response to the frequency, at each EVSE."""

    update_window: UpdateWindow | None = None
    """Local time at which updates are installed that the CSMS gives no time for; None: at any (R138)."""

    values: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Values of variables until the CSMS sets them."""


def with_der(settings: StationSettings) -> StationLayout:
    """Return the layout with the controllers of inverters that support DER controls (R01.FR.01, R03.FR.03)."""
    layout = settings.layout
    if not settings.der_controls or "der" not in settings.able:
        return layout
    direct = {not evse.phases for evse in layout.evses}
    controllers = [name for name, kind in (("DCDERCtrlr", True), ("ACDERCtrlr", False)) if kind in direct]
    return msgspec.structs.replace(layout, optional=(*layout.optional, *controllers))


NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
        "logs": ("GetLog",),
        "firmware": ("UpdateFirmware",),
        "publish": ("PublishFirmware", "UnpublishFirmware"),
        "certificates": (
            "InstallCertificate", "DeleteCertificate", "GetInstalledCertificateIds", "CertificateSigned",
        ),
        "frequency": ("AFRRSignal",),
        "der": ("SetDERControl", "GetDERControl", "ClearDERControl"),
        "display": ("SetDisplayMessage", "GetDisplayMessages", "ClearDisplayMessage"),
        "web_payments": ("NotifyWebPaymentStarted",),
    }  # fmt: skip
"""Actions available only with the ability of hardware or shell."""

TRIGGERS: Final[Mapping[str, tuple[str, ...]]] = {
    "logs": ("LogStatusNotification",),
    "firmware": ("FirmwareStatusNotification",),
    "publish": ("PublishFirmwareStatusNotification",),
    "certificates": (
        "SignChargingStationCertificate",
        "SignV2GCertificate",
        "SignV2G20Certificate",
        "SignCombinedCertificate",
    ),
}
