"""ISO 15118-20 ACDP messages: an automated connection device, such as a pantograph, above or below the vehicle."""

from enum import Enum
from typing import Final

from v2g.exi.declare import Element, Short, global_elements
from v2g.iso15118.d20.messages.common_types import PercentValue, Processing, RationalNumber, V2GRequest, V2GResponse
from v2g.iso15118.d20.schemas import ACDP

SCHEMA: Final = ACDP


class CpStatus(Enum):
    """State of the control pilot as the vehicle sees it (cpStatusType)."""

    StateA = "StateA"
    StateB = "StateB"
    StateC = "StateC"
    StateD = "StateD"
    StateE = "StateE"


class ErrorCode(Enum):
    """Fault of the vehicle (errorCodeType)."""

    OK_NoEVError = "OK_NoEVError"
    FAILED = "FAILED"
    FAILED_EmergencyEvent = "FAILED_EmergencyEvent"
    FAILED_Breaker = "FAILED_Breaker"
    FAILED_RESSTemperatureInhibit = "FAILED_RESSTemperatureInhibit"
    FAILED_RESS = "FAILED_RESS"
    FAILED_ChargingCurrentDifferential = "FAILED_ChargingCurrentDifferential"
    FAILED_ChargingVoltageOutOfRange = "FAILED_ChargingVoltageOutOfRange"
    FAILED_Reserved1 = "FAILED_Reserved1"
    FAILED_Reserved2 = "FAILED_Reserved2"


class IsolationStatus(Enum):
    """Insulation of the charger's output (isolationStatusType)."""

    Invalid = "Invalid"
    Safe = "Safe"
    Warning = "Warning"
    Fault = "Fault"


class ElectricalChargingDeviceStatus(Enum):
    """State of the electrical connection (electricalChargingDeviceStatusType)."""

    State_A = "State_A"
    State_B = "State_B"
    State_C = "State_C"
    State_D = "State_D"


class MechanicalChargingDeviceStatus(Enum):
    """Position of the charging device (mechanicalChargingDeviceStatusType)."""

    Home = "Home"
    Moving = "Moving"
    EndPosition = "EndPosition"


class ACDP_VehiclePositioningReq(V2GRequest, frozen=True, kw_only=True):
    """Whether the vehicle moves and can be guided; repeated while it is guided."""

    ev_mobility_status: bool
    ev_positioning_support: bool


class ACDP_VehiclePositioningRes(V2GResponse, frozen=True, kw_only=True):
    """The vehicle's distance from its place, and the window in which contact is possible."""

    evse_processing: Processing
    evse_positioning_support: bool
    ev_relative_x_deviation: Short
    ev_relative_y_deviation: Short
    contact_window_xc: Short
    contact_window_yc: Short
    ev_in_charge_position: bool


class ACDP_ConnectReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests connection of the charging device; repeated until connected."""

    ev_electrical_charging_device_status: ElectricalChargingDeviceStatus


class ACDP_DisconnectReq(ACDP_ConnectReq, frozen=True, kw_only=True):
    """The vehicle requests disconnection of the charging device; repeated until disconnected."""


class ACDP_ConnectRes(V2GResponse, frozen=True, kw_only=True):
    """Progress of the connection."""

    evse_processing: Processing
    evse_electrical_charging_device_status: ElectricalChargingDeviceStatus
    evse_mechanical_charging_device_status: MechanicalChargingDeviceStatus


class ACDP_DisconnectRes(ACDP_ConnectRes, frozen=True, kw_only=True):
    """Progress of the disconnection."""


class EVTechnicalStatus(Element, frozen=True, kw_only=True):
    """Readiness, faults and state of charge (%) of the vehicle."""

    ev_ready_to_charge: bool
    ev_immobilization_request: bool
    ev_immobilized: bool | None = None
    ev_wlan_strength: RationalNumber | None = None
    ev_cp_status: CpStatus | None = None
    ev_soc: PercentValue | None = None
    ev_error_code: ErrorCode | None = None
    ev_timeout: bool | None = None


class ACDP_SystemStatusReq(V2GRequest, frozen=True, kw_only=True):
    """The technical status of the vehicle."""

    ev_technical_status: EVTechnicalStatus


class ACDP_SystemStatusRes(V2GResponse, frozen=True, kw_only=True):
    """Status of the charger and its device."""

    evse_mechanical_charging_device_status: MechanicalChargingDeviceStatus
    evse_ready_to_charge: bool
    evse_isolation_status: IsolationStatus
    evse_disabled: bool
    evse_utility_interrupt_event: bool
    evse_emergency_shutdown: bool
    evse_malfunction: bool
    ev_in_charge_position: bool
    ev_association_status: bool


ELEMENTS: Final = global_elements(__name__)
