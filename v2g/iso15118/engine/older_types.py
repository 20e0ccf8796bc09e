"""Simple types and enumerations that ISO 15118-2 and DIN 70121 have in common."""

from enum import Enum
from typing import Annotated, TypeAlias

from msgspec import Meta

from v2g.exi.declare import HEX, Short, UnsignedShort

PercentValue: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
FaultMsg: TypeAlias = Annotated[str, Meta(max_length=64)]
ServiceName: TypeAlias = Annotated[str, Meta(max_length=32)]
MeterStatus: TypeAlias = Short
SessionID: TypeAlias = Annotated[bytes, Meta(max_length=8), HEX]
ServiceID: TypeAlias = UnsignedShort
MeterID: TypeAlias = Annotated[str, Meta(max_length=32)]
UnitMultiplier: TypeAlias = Annotated[int, Meta(ge=-3, le=3)]
TariffDescription: TypeAlias = Annotated[str, Meta(max_length=32)]


class EVSENotification(Enum):
    """The charger's request to the vehicle (EVSENotificationType)."""

    None_ = "None"
    StopCharging = "StopCharging"
    ReNegotiation = "ReNegotiation"


class DC_EVSEStatusCode(Enum):
    """State of a DC charger (DC_EVSEStatusCodeType)."""

    EVSE_NotReady = "EVSE_NotReady"
    EVSE_Ready = "EVSE_Ready"
    EVSE_Shutdown = "EVSE_Shutdown"
    EVSE_UtilityInterruptEvent = "EVSE_UtilityInterruptEvent"
    EVSE_IsolationMonitoringActive = "EVSE_IsolationMonitoringActive"
    EVSE_EmergencyShutdown = "EVSE_EmergencyShutdown"
    EVSE_Malfunction = "EVSE_Malfunction"
    Reserved_8 = "Reserved_8"
    Reserved_9 = "Reserved_9"
    Reserved_A = "Reserved_A"
    Reserved_B = "Reserved_B"
    Reserved_C = "Reserved_C"


class DC_EVErrorCode(Enum):
    """Fault of the vehicle (DC_EVErrorCodeType)."""

    NO_ERROR = "NO_ERROR"
    FAILED_RESSTemperatureInhibit = "FAILED_RESSTemperatureInhibit"
    FAILED_EVShiftPosition = "FAILED_EVShiftPosition"
    FAILED_ChargerConnectorLockFault = "FAILED_ChargerConnectorLockFault"
    FAILED_EVRESSMalfunction = "FAILED_EVRESSMalfunction"
    FAILED_ChargingCurrentdifferential = "FAILED_ChargingCurrentdifferential"
    FAILED_ChargingVoltageOutOfRange = "FAILED_ChargingVoltageOutOfRange"
    Reserved_A = "Reserved_A"
    Reserved_B = "Reserved_B"
    Reserved_C = "Reserved_C"
    FAILED_ChargingSystemIncompatibility = "FAILED_ChargingSystemIncompatibility"
    NoData = "NoData"


class ServiceCategory(Enum):
    """Category of a service (serviceCategoryType)."""

    EVCharging = "EVCharging"
    Internet = "Internet"
    ContractCertificate = "ContractCertificate"
    OtherCustom = "OtherCustom"


class PaymentOption(Enum):
    """Payment option: contract or external (paymentOptionType)."""

    Contract = "Contract"
    ExternalPayment = "ExternalPayment"


class FaultCode(Enum):
    """Fault of a message (faultCodeType)."""

    ParsingError = "ParsingError"
    NoTLSRootCertificatAvailable = "NoTLSRootCertificatAvailable"
    UnknownError = "UnknownError"


class CostKind(Enum):
    """Kind of a cost (costKindType)."""

    relativePricePercentage = "relativePricePercentage"
    RenewableGenerationPercentage = "RenewableGenerationPercentage"
    CarbonDioxideEmission = "CarbonDioxideEmission"
