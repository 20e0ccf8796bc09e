"""EVSEStatusCode and EVSEIsolationStatus of a DC charger by phase, in ISO 15118-2 and DIN 70121, and their reading.

Codes are named alike in both editions; each makes its own DC_EVSEStatus of them.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

import msgspec


class Phase(Enum):
    """Where a DC session is."""

    PARAMETERS = "ChargeParameterDiscovery"
    CABLE_CHECK = "CableCheck, Ongoing"
    CHECKED = "CableCheck, Finished"
    PRE_CHARGE = "PreCharge"
    ENERGY = "PowerDelivery (start), CurrentDemand"
    STOPPED = "PowerDelivery (stop), WeldingDetection"


class Stop(Enum):
    """Why a charger wants to stop."""

    REQUESTED = "a person, the operator or the site"
    UTILITY = "the grid"
    EMERGENCY = "an emergency stop"
    MALFUNCTION = "a fault of the charger"


READY: Final = "EVSE_Ready"

PHASES: Final[Mapping[Phase, str]] = {
    Phase.PARAMETERS: READY,
    Phase.CABLE_CHECK: "EVSE_IsolationMonitoringActive",
    Phase.CHECKED: READY,
    Phase.PRE_CHARGE: READY,
    Phase.ENERGY: READY,
    Phase.STOPPED: "EVSE_Shutdown",  # IEC 61851-23:2023, CC.7.5.19; older chargers stay Ready or NotReady
}
"""Phase -> EVSEStatusCode without a reason to stop."""

STOPS: Final[Mapping[Stop, str]] = {
    Stop.REQUESTED: "EVSE_Shutdown",
    Stop.UTILITY: "EVSE_UtilityInterruptEvent",
    Stop.EMERGENCY: "EVSE_EmergencyShutdown",
    Stop.MALFUNCTION: "EVSE_Malfunction",
}
"""Reason to stop -> EVSEStatusCode."""

NO_CURRENT_MA: Final = 1_000
"""What counts as no current (IEC 61851-23: vehicles disconnect below 1 A)."""

UNCHECKED: Final = "Invalid"
FAULT: Final = "Fault"
SOUND: Final = frozenset({"Valid", "Warning"})
"""EVSEIsolationStatus with which a vehicle goes on to PreCharge; the 2023 edition of IEC 61851-23 drops Warning."""


class DcStatus(msgspec.Struct, frozen=True):
    """The names of status code, isolation status and notification."""

    code: str
    isolation: str
    notification: str


def status(phase: Phase, *, isolation: str = "Valid", stop: Stop | None = None, renegotiate: bool = False) -> DcStatus:
    """Return a charger's status.

    `isolation` is the result of the last cable check. A stop is in both code and notification, since devices in the
    field use one or the other (DIN 70121 has the code alone); it takes precedence over a renegotiation.
    """
    unchecked = phase in (Phase.PARAMETERS, Phase.CABLE_CHECK)
    notification = "StopCharging" if stop else "ReNegotiation" if renegotiate else "None"
    return DcStatus(STOPS[stop] if stop else PHASES[phase], UNCHECKED if unchecked else isolation, notification)


class DcEvseStatus(Protocol):
    """DC_EVSEStatus of either edition."""

    @property
    def evse_status_code(self) -> Enum:
        """A DC_EVSEStatusCode."""

    @property
    def evse_isolation_status(self) -> Enum | None:
        """An IsolationLevel."""

    @property
    def evse_notification(self) -> Enum:
        """An EVSENotification."""

    @property
    def notification_max_delay(self) -> int:
        """How long the vehicle may take to follow the notification, s."""


class Demand(Enum):
    """What a charger asks of the vehicle by its status."""

    NOTHING = "go on"
    RENEGOTIATE = "renegotiate"
    STOP = "stop within NotificationMaxDelay"
    STOP_NOW = "stop at once"


def demand(evse_status: DcEvseStatus) -> Demand:
    """Return what a DC_EVSEStatus asks for while energy flows; reserved codes and NotReady ask for nothing."""
    code, notification = evse_status.evse_status_code.value, evse_status.evse_notification.value
    if code in ("EVSE_EmergencyShutdown", "EVSE_Malfunction", "EVSE_UtilityInterruptEvent"):
        return Demand.STOP_NOW
    if notification == "StopCharging" or code == "EVSE_Shutdown":
        return Demand.STOP_NOW if evse_status.notification_max_delay == 0 else Demand.STOP
    return Demand.RENEGOTIATE if notification == "ReNegotiation" else Demand.NOTHING


def is_sound(evse_status: DcEvseStatus) -> bool:
    """Return whether the insulation is good enough for PreCharge; a missing status counts as good."""
    isolation = evse_status.evse_isolation_status
    return isolation is None or isolation.value in SOUND
