"""ISO 15118-20 ACDP messages: an automated connection device, such as a pantograph, above or below the vehicle."""

from enum import Enum
from typing import Final

from msgspec import field

from v2g.exi.declare import Element, Short
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
    """What is wrong in the vehicle (errorCodeType)."""

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
    """Place of the charging device (mechanicalChargingDeviceStatusType)."""

    Home = "Home"
    Moving = "Moving"
    EndPosition = "EndPosition"


class ACDP_VehiclePositioningReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle tells whether it moves and whether it can be guided; repeated while it is guided."""

    ev_mobility_status: bool = field(name="EVMobilityStatus")
    ev_positioning_support: bool = field(name="EVPositioningSupport")


class ACDP_VehiclePositioningRes(V2GResponse, frozen=True, kw_only=True):
    """How far the vehicle is from its place, and the window in which contact is possible."""

    evse_processing: Processing = field(name="EVSEProcessing")
    evse_positioning_support: bool = field(name="EVSEPositioningSupport")
    ev_relative_x_deviation: Short = field(name="EVRelativeXDeviation")
    ev_relative_y_deviation: Short = field(name="EVRelativeYDeviation")
    contact_window_xc: Short = field(name="ContactWindowXc")
    contact_window_yc: Short = field(name="ContactWindowYc")
    ev_in_charge_position: bool = field(name="EVInChargePosition")


class ACDP_ConnectReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle asks for the charging device to be connected; repeated until it is."""

    ev_electrical_charging_device_status: ElectricalChargingDeviceStatus = field(
        name="EVElectricalChargingDeviceStatus"
    )


class ACDP_DisconnectReq(ACDP_ConnectReq, frozen=True, kw_only=True):
    """The vehicle asks for the charging device to be disconnected; repeated until it is."""


class ACDP_ConnectRes(V2GResponse, frozen=True, kw_only=True):
    """How far the connection has come."""

    evse_processing: Processing = field(name="EVSEProcessing")
    evse_electrical_charging_device_status: ElectricalChargingDeviceStatus = field(
        name="EVSEElectricalChargingDeviceStatus"
    )
    evse_mechanical_charging_device_status: MechanicalChargingDeviceStatus = field(
        name="EVSEMechanicalChargingDeviceStatus"
    )


class ACDP_DisconnectRes(ACDP_ConnectRes, frozen=True, kw_only=True):
    """How far the disconnection has come."""


class EVTechnicalStatus(Element, frozen=True, kw_only=True):
    """Readiness, faults and state of charge (%) of the vehicle."""

    ev_ready_to_charge: bool = field(name="EVReadyToCharge")
    ev_immobilization_request: bool = field(name="EVImmobilizationRequest")
    ev_immobilized: bool | None = field(name="EVImmobilized", default=None)
    ev_wlan_strength: RationalNumber | None = field(name="EVWLANStrength", default=None)
    ev_cp_status: CpStatus | None = field(name="EVCPStatus", default=None)
    ev_soc: PercentValue | None = field(name="EVSOC", default=None)
    ev_error_code: ErrorCode | None = field(name="EVErrorCode", default=None)
    ev_timeout: bool | None = field(name="EVTimeout", default=None)


class ACDP_SystemStatusReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle tells its technical status."""

    ev_technical_status: EVTechnicalStatus = field(name="EVTechnicalStatus")


class ACDP_SystemStatusRes(V2GResponse, frozen=True, kw_only=True):
    """Status of the charger and its device."""

    evse_mechanical_charging_device_status: MechanicalChargingDeviceStatus = field(
        name="EVSEMechanicalChargingDeviceStatus"
    )
    evse_ready_to_charge: bool = field(name="EVSEReadyToCharge")
    evse_isolation_status: IsolationStatus = field(name="EVSEIsolationStatus")
    evse_disabled: bool = field(name="EVSEDisabled")
    evse_utility_interrupt_event: bool = field(name="EVSEUtilityInterruptEvent")
    evse_emergency_shutdown: bool = field(name="EVSEEmergencyShutdown")
    evse_malfunction: bool = field(name="EVSEMalfunction")
    ev_in_charge_position: bool = field(name="EVInChargePosition")
    ev_association_status: bool = field(name="EVAssociationStatus")


ELEMENTS: Final = {
    each.__name__: each
    for each in (
        ACDP_VehiclePositioningReq,
        ACDP_VehiclePositioningRes,
        ACDP_ConnectReq,
        ACDP_ConnectRes,
        ACDP_DisconnectReq,
        ACDP_DisconnectRes,
        ACDP_SystemStatusReq,
        ACDP_SystemStatusRes,
    )
}
