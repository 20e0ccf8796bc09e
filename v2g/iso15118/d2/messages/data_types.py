"""ISO 15118-2:2013 data types: values, services, certificates and the meter."""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import (
    ATTRIBUTE,
    HEX,
    TEXT,
    Byte,
    Choice,
    Element,
    Int,
    Long,
    Ref,
    Short,
    UnsignedByte,
    UnsignedInt,
    UnsignedLong,
    UnsignedShort,
    global_elements,
)
from v2g.iso15118.d2.schemas import ISO2_DATA_TYPES
from v2g.iso15118.engine import older_types
from v2g.iso15118.engine.older_types import CostKind as CostKind
from v2g.iso15118.engine.older_types import DC_EVErrorCode as DC_EVErrorCode
from v2g.iso15118.engine.older_types import DC_EVSEStatusCode as DC_EVSEStatusCode
from v2g.iso15118.engine.older_types import EVSENotification as EVSENotification
from v2g.iso15118.engine.older_types import FaultCode as FaultCode
from v2g.iso15118.engine.older_types import PaymentOption as PaymentOption
from v2g.iso15118.engine.older_types import ServiceCategory as ServiceCategory
from v2g.iso15118.engine.xmldsig import X509IssuerSerial

SCHEMA: Final = ISO2_DATA_TYPES

ServiceScope: TypeAlias = Annotated[str, Meta(max_length=64)]
GenChallenge: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Certificate: TypeAlias = Annotated[bytes, Meta(max_length=800)]
DhPublicKey: TypeAlias = Annotated[bytes, Meta(max_length=65)]
PrivateKey: TypeAlias = Annotated[bytes, Meta(max_length=48)]
SigMeterReading: TypeAlias = Annotated[bytes, Meta(max_length=64)]
EvccID: TypeAlias = Annotated[bytes, Meta(max_length=6), HEX]
EvseID: TypeAlias = Annotated[str, Meta(min_length=7, max_length=37)]
ContractID: TypeAlias = Annotated[str, Meta(min_length=14, max_length=15)]
SAID: TypeAlias = Annotated[int, Meta(ge=1, le=255)]


class EVSEProcessing(Enum):
    """Whether a long-running step is done (EVSEProcessingType)."""

    Finished = "Finished"
    Ongoing = "Ongoing"
    Ongoing_WaitingForCustomerInteraction = "Ongoing_WaitingForCustomerInteraction"


class ChargeProgress(Enum):
    """Requested change of power (chargeProgressType)."""

    Start = "Start"
    Stop = "Stop"
    Renegotiate = "Renegotiate"


class ChargingSession(Enum):
    """How a session ends (chargingSessionType)."""

    Terminate = "Terminate"
    Pause = "Pause"


class EnergyTransferMode(Enum):
    """Current and connector (EnergyTransferModeType)."""

    AC_single_phase_core = "AC_single_phase_core"
    AC_three_phase_core = "AC_three_phase_core"
    DC_core = "DC_core"
    DC_extended = "DC_extended"
    DC_combo_core = "DC_combo_core"
    DC_unique = "DC_unique"


class ResponseCode(Enum):
    """Result in a response (responseCodeType)."""

    OK = "OK"
    OK_NewSessionEstablished = "OK_NewSessionEstablished"
    OK_OldSessionJoined = "OK_OldSessionJoined"
    OK_CertificateExpiresSoon = "OK_CertificateExpiresSoon"
    FAILED = "FAILED"
    FAILED_SequenceError = "FAILED_SequenceError"
    FAILED_ServiceIDInvalid = "FAILED_ServiceIDInvalid"
    FAILED_UnknownSession = "FAILED_UnknownSession"
    FAILED_ServiceSelectionInvalid = "FAILED_ServiceSelectionInvalid"
    FAILED_PaymentSelectionInvalid = "FAILED_PaymentSelectionInvalid"
    FAILED_CertificateExpired = "FAILED_CertificateExpired"
    FAILED_SignatureError = "FAILED_SignatureError"
    FAILED_NoCertificateAvailable = "FAILED_NoCertificateAvailable"
    FAILED_CertChainError = "FAILED_CertChainError"
    FAILED_ChallengeInvalid = "FAILED_ChallengeInvalid"
    FAILED_ContractCanceled = "FAILED_ContractCanceled"
    FAILED_WrongChargeParameter = "FAILED_WrongChargeParameter"
    FAILED_PowerDeliveryNotApplied = "FAILED_PowerDeliveryNotApplied"
    FAILED_TariffSelectionInvalid = "FAILED_TariffSelectionInvalid"
    FAILED_ChargingProfileInvalid = "FAILED_ChargingProfileInvalid"
    FAILED_MeteringSignatureNotValid = "FAILED_MeteringSignatureNotValid"
    FAILED_NoChargeServiceSelected = "FAILED_NoChargeServiceSelected"
    FAILED_WrongEnergyTransferMode = "FAILED_WrongEnergyTransferMode"
    FAILED_ContactorError = "FAILED_ContactorError"
    FAILED_CertificateNotAllowedAtThisEVSE = "FAILED_CertificateNotAllowedAtThisEVSE"
    FAILED_CertificateRevoked = "FAILED_CertificateRevoked"


class UnitSymbol(Enum):
    """Unit of a physical value (unitSymbolType)."""

    h = "h"
    m = "m"
    s = "s"
    A = "A"
    V = "V"
    W = "W"
    Wh = "Wh"


class Service(Element, frozen=True, kw_only=True):
    """A service and whether it is free of charge."""

    service_id: older_types.ServiceID
    service_name: older_types.ServiceName | None = None
    service_category: ServiceCategory
    service_scope: ServiceScope | None = None
    free_service: bool


class ServiceList(Element, frozen=True, kw_only=True):
    """Value-added services on offer."""

    service: Annotated[tuple[Service, ...], Meta(min_length=1, max_length=8)]


class SelectedService(Element, frozen=True, kw_only=True):
    """A service with one of its parameter sets."""

    service_id: older_types.ServiceID
    parameter_set_id: Short | None = None


class SelectedServiceList(Element, frozen=True, kw_only=True):
    """Services selected by the vehicle."""

    selected_service: Annotated[tuple[SelectedService, ...], Meta(min_length=1, max_length=16)]


class PhysicalValue(Element, frozen=True, kw_only=True):
    """The number Value x 10^Multiplier with its unit."""

    multiplier: older_types.UnitMultiplier
    unit: UnitSymbol
    value: Short = field(name="Value")


class Parameter(Element, frozen=True, kw_only=True):
    """A named value of one of six types."""

    bool_value: Annotated[bool | None, Choice("value")] = field(name="boolValue", default=None)
    byte_value: Annotated[Byte | None, Choice("value")] = field(name="byteValue", default=None)
    short_value: Annotated[Short | None, Choice("value")] = field(name="shortValue", default=None)
    int_value: Annotated[Int | None, Choice("value")] = field(name="intValue", default=None)
    physical_value: Annotated[PhysicalValue | None, Choice("value")] = field(name="physicalValue", default=None)
    string_value: Annotated[str | None, Choice("value")] = field(name="stringValue", default=None)
    name: Annotated[str, ATTRIBUTE]


class ParameterSet(Element, frozen=True, kw_only=True):
    """One variant of a service."""

    parameter_set_id: Short
    parameter: Annotated[tuple[Parameter, ...], Meta(min_length=1, max_length=16)]


class ServiceParameterList(Element, frozen=True, kw_only=True):
    """All variants of a service."""

    parameter_set: Annotated[tuple[ParameterSet, ...], Meta(min_length=1, max_length=255)]


class SupportedEnergyTransferMode(Element, frozen=True, kw_only=True):
    """Energy transfer modes on offer."""

    energy_transfer_mode: Annotated[tuple[EnergyTransferMode, ...], Meta(min_length=1, max_length=6)]


class ChargeService(Service, frozen=True, kw_only=True):
    """The service of charging with its energy transfer modes."""

    supported_energy_transfer_mode: SupportedEnergyTransferMode


class ContractSignatureEncryptedPrivateKey(Element, frozen=True, kw_only=True):
    """The contract key, encrypted for one vehicle; signed."""

    value: Annotated[PrivateKey, TEXT]
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class DiffieHellmanPublickey(Element, frozen=True, kw_only=True):
    """The sender's part of the key agreement that protects the contract key; signed."""

    value: Annotated[DhPublicKey, TEXT]
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class EMAID(Element, frozen=True, kw_only=True):
    """The identifier of a contract, as a signed element."""

    value: Annotated[ContractID, TEXT]
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class SubCertificates(Element, frozen=True, kw_only=True):
    """Intermediate certificates in DER."""

    certificate: Annotated[tuple[Certificate, ...], Meta(min_length=1, max_length=4)]


class CertificateChain(Element, frozen=True, kw_only=True):
    """A leaf in DER and its sub-CAs; signed if it has an Id."""

    certificate: Certificate
    sub_certificates: SubCertificates | None = None
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class ListOfRootCertificateIDs(Element, frozen=True, kw_only=True):
    """Root certificates that the vehicle trusts, by issuer and serial number."""

    root_certificate_id: Annotated[tuple[X509IssuerSerial, ...], Meta(min_length=1, max_length=20)]


class MeterInfo(Element, frozen=True, kw_only=True):
    """Reading of the meter in Wh; TMeter in s since 1970 in UTC."""

    meter_id: older_types.MeterID
    meter_reading: UnsignedLong | None = None
    sig_meter_reading: SigMeterReading | None = None
    meter_status: older_types.MeterStatus | None = None
    t_meter: Long | None = None


class Notification(Element, frozen=True, kw_only=True):
    """A fault that the sender has detected in a message."""

    fault_code: FaultCode
    fault_msg: older_types.FaultMsg | None = None


class PaymentOptionList(Element, frozen=True, kw_only=True):
    """Payment options."""

    payment_option: Annotated[tuple[PaymentOption, ...], Meta(min_length=1, max_length=2)]


class SASchedules(Element, frozen=True, kw_only=True, tag=True):
    """Head of the lists of schedules; only SAScheduleList can substitute it."""

    abstract: ClassVar[bool] = True


class TimeInterval(Element, frozen=True, kw_only=True, tag=True):
    """Head of the intervals; only RelativeTimeInterval can substitute it (type IntervalType)."""

    abstract: ClassVar[bool] = True


class RelativeTimeInterval(TimeInterval, frozen=True, kw_only=True, tag=True):
    """An interval in s from now; the last one has a duration."""

    start: Annotated[int, Meta(ge=0, le=16777214)] = field(name="start")
    duration: Annotated[int, Meta(ge=0, le=86400)] | None = field(name="duration", default=None)


class Entry(Element, frozen=True, kw_only=True):
    """Base of the entries of schedules."""

    abstract: ClassVar[bool] = True
    time_interval: Annotated[TimeInterval | RelativeTimeInterval, Ref(TimeInterval)]


class PMaxScheduleEntry(Entry, frozen=True, kw_only=True):
    """The maximum power in an interval, in W."""

    p_max: PhysicalValue


class PMaxSchedule(Element, frozen=True, kw_only=True):
    """Limits of power over time."""

    p_max_schedule_entry: Annotated[
        tuple[PMaxScheduleEntry, ...], Meta(min_length=1, max_length=1024), Ref(PMaxScheduleEntry)
    ]


class Cost(Element, frozen=True, kw_only=True):
    """An amount in units of its kind, times 10^amountMultiplier."""

    cost_kind: CostKind = field(name="costKind")
    amount: UnsignedInt = field(name="amount")
    amount_multiplier: older_types.UnitMultiplier | None = field(name="amountMultiplier", default=None)


class ConsumptionCost(Element, frozen=True, kw_only=True):
    """Costs from a power on."""

    start_value: PhysicalValue = field(name="startValue")
    cost: Annotated[tuple[Cost, ...], Meta(min_length=1, max_length=3)]


class SalesTariffEntry(Entry, frozen=True, kw_only=True):
    """Price level and costs of an interval."""

    e_price_level: UnsignedByte | None = None
    consumption_cost: Annotated[tuple[ConsumptionCost, ...], Meta(max_length=3)] = ()


class SalesTariff(Element, frozen=True, kw_only=True):
    """Prices over time; signed by the energy provider where it has an Id."""

    sales_tariff_id: SAID
    sales_tariff_description: older_types.TariffDescription | None = None
    num_e_price_levels: UnsignedByte | None = None
    sales_tariff_entry: Annotated[
        tuple[SalesTariffEntry, ...], Meta(min_length=1, max_length=1024), Ref(SalesTariffEntry)
    ]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class SAScheduleTuple(Element, frozen=True, kw_only=True):
    """Power over time, and prices over time."""

    sa_schedule_tuple_id: SAID
    p_max_schedule: PMaxSchedule
    sales_tariff: SalesTariff | None = None


class SAScheduleList(SASchedules, frozen=True, kw_only=True, tag=True):
    """Up to three schedules to choose from."""

    sa_schedule_tuple: Annotated[tuple[SAScheduleTuple, ...], Meta(min_length=1, max_length=3)]


MaxNumPhases: TypeAlias = Annotated[int, Meta(ge=1, le=3)]


class IsolationLevel(Enum):
    """Insulation of the charger's output (isolationLevelType)."""

    Invalid = "Invalid"
    Valid = "Valid"
    Warning = "Warning"
    Fault = "Fault"
    No_IMD = "No_IMD"


class EVSEStatus(Element, frozen=True, kw_only=True, tag=True):
    """The charger's request, and its delay in s; head of the status of AC and DC chargers."""

    abstract: ClassVar[bool] = True
    notification_max_delay: UnsignedShort
    evse_notification: EVSENotification


class AC_EVSEStatus(EVSEStatus, frozen=True, kw_only=True, tag=True):
    """Status of an AC charger, with its residual current device."""

    rcd: bool


class EVStatus(Element, frozen=True, kw_only=True):
    """Head of the status of vehicles; no message uses it."""

    abstract: ClassVar[bool] = True


class DC_EVSEStatus(EVSEStatus, frozen=True, kw_only=True, tag=True):
    """Status of a DC charger."""

    evse_isolation_status: IsolationLevel | None = None
    evse_status_code: DC_EVSEStatusCode


class DC_EVStatus(EVStatus, frozen=True, kw_only=True):
    """Readiness, fault and state of charge (%) of a vehicle."""

    ev_ready: bool
    ev_error_code: DC_EVErrorCode
    ev_ress_soc: older_types.PercentValue


class EVChargeParameter(Element, frozen=True, kw_only=True, tag=True):
    """Departure in s from now; head of the needs of AC and DC vehicles."""

    abstract: ClassVar[bool] = True
    departure_time: UnsignedInt | None = None


class AC_EVChargeParameter(EVChargeParameter, frozen=True, kw_only=True, tag=True):
    """Energy in Wh, voltage in V and currents in A of an AC vehicle."""

    e_amount: PhysicalValue
    ev_max_voltage: PhysicalValue
    ev_max_current: PhysicalValue
    ev_min_current: PhysicalValue


class DC_EVChargeParameter(EVChargeParameter, frozen=True, kw_only=True, tag=True):
    """Limits of current, power and voltage, and energies of a DC vehicle."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_maximum_current_limit: PhysicalValue
    ev_maximum_power_limit: PhysicalValue | None = None
    ev_maximum_voltage_limit: PhysicalValue
    ev_energy_capacity: PhysicalValue | None = None
    ev_energy_request: PhysicalValue | None = None
    full_soc: older_types.PercentValue | None = None
    bulk_soc: older_types.PercentValue | None = None


class EVSEChargeParameter(Element, frozen=True, kw_only=True, tag=True):
    """Head of the limits of AC and DC chargers."""

    abstract: ClassVar[bool] = True


class AC_EVSEChargeParameter(EVSEChargeParameter, frozen=True, kw_only=True, tag=True):
    """Voltage in V and current in A of an AC charger."""

    ac_evse_status: AC_EVSEStatus = field(name="AC_EVSEStatus")
    evse_nominal_voltage: PhysicalValue
    evse_max_current: PhysicalValue


class DC_EVSEChargeParameter(EVSEChargeParameter, frozen=True, kw_only=True, tag=True):
    """Limits of current, power and voltage of a DC charger."""

    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_maximum_current_limit: PhysicalValue
    evse_maximum_power_limit: PhysicalValue
    evse_maximum_voltage_limit: PhysicalValue
    evse_minimum_current_limit: PhysicalValue
    evse_minimum_voltage_limit: PhysicalValue
    evse_current_regulation_tolerance: PhysicalValue | None = None
    evse_peak_current_ripple: PhysicalValue
    evse_energy_to_be_delivered: PhysicalValue | None = None


class EVPowerDeliveryParameter(Element, frozen=True, kw_only=True, tag=True):
    """Head of the vehicle's data at power switching; only the DC one exists."""

    abstract: ClassVar[bool] = True


class DC_EVPowerDeliveryParameter(EVPowerDeliveryParameter, frozen=True, kw_only=True, tag=True):
    """Status of a DC vehicle at power switching."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    bulk_charging_complete: bool | None = None
    charging_complete: bool


class ProfileEntry(Element, frozen=True, kw_only=True):
    """Power in W from a start in s."""

    charging_profile_entry_start: UnsignedInt
    charging_profile_entry_max_power: PhysicalValue
    charging_profile_entry_max_number_of_phases_in_use: MaxNumPhases | None = None


class ChargingProfile(Element, frozen=True, kw_only=True):
    """Planned power of the vehicle over time."""

    profile_entry: Annotated[tuple[ProfileEntry, ...], Meta(min_length=1, max_length=24)]


ELEMENTS: Final = global_elements(__name__, Entry, SalesTariffEntry, PMaxScheduleEntry, EVStatus, DC_EVStatus)
