"""DIN 70121:2012 data types: values, services, certificates and the meter."""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, HEX, Byte, Choice, Element, Int, Long, Short
from v2g.iso15118.din.schemas import DIN_DATA_TYPES
from v2g.iso15118.engine.older_types import FaultCode as FaultCode
from v2g.iso15118.engine.older_types import FaultMsg, MeterID, MeterStatus, ServiceID, ServiceName, UnitMultiplier
from v2g.iso15118.engine.older_types import PaymentOption as PaymentOption
from v2g.iso15118.engine.older_types import ServiceCategory as ServiceCategory

SCHEMA: Final = DIN_DATA_TYPES

PMax: TypeAlias = Short
ServiceScope: TypeAlias = Annotated[str, Meta(max_length=32)]
GenChallenge: TypeAlias = str
Certificate: TypeAlias = Annotated[bytes, Meta(max_length=1200)]
RootCertificateID: TypeAlias = Annotated[str, Meta(max_length=40)]
DhParams: TypeAlias = Annotated[bytes, Meta(max_length=256)]
PrivateKey: TypeAlias = Annotated[bytes, Meta(max_length=128)]
SigMeterReading: TypeAlias = Annotated[bytes, Meta(max_length=32)]
EvccID: TypeAlias = Annotated[bytes, Meta(max_length=8), HEX]
EvseID: TypeAlias = Annotated[bytes, Meta(max_length=32), HEX]
ContractID: TypeAlias = Annotated[str, Meta(max_length=24)]
SAID: TypeAlias = Short


class ValueType(Enum):
    """Type of a value (valueType)."""

    bool = "bool"
    byte = "byte"
    short = "short"
    int = "int"
    physicalValue = "physicalValue"
    string = "string"


class EVSEProcessing(Enum):
    """Whether a long-running step is done (EVSEProcessingType)."""

    Finished = "Finished"
    Ongoing = "Ongoing"


class EVSESupportedEnergyTransferType(Enum):
    """Current and connectors on offer (EVSESupportedEnergyTransferType)."""

    AC_single_phase_core = "AC_single_phase_core"
    AC_three_phase_core = "AC_three_phase_core"
    DC_core = "DC_core"
    DC_extended = "DC_extended"
    DC_combo_core = "DC_combo_core"
    DC_dual = "DC_dual"
    AC_core1p_DC_extended = "AC_core1p_DC_extended"
    AC_single_DC_core = "AC_single_DC_core"
    AC_single_phase_three_phase_core_DC_extended = "AC_single_phase_three_phase_core_DC_extended"
    AC_core3p_DC_extended = "AC_core3p_DC_extended"


class EVRequestedEnergyTransferType(Enum):
    """Current and connector selected by the vehicle (EVRequestedEnergyTransferType)."""

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
    FAILED_EVSEPresentVoltageToLow = "FAILED_EVSEPresentVoltageToLow"
    FAILED_MeteringSignatureNotValid = "FAILED_MeteringSignatureNotValid"
    FAILED_WrongEnergyTransferType = "FAILED_WrongEnergyTransferType"


class UnitSymbol(Enum):
    """Unit of a physical value (unitSymbolType)."""

    h = "h"
    m = "m"
    s = "s"
    A = "A"
    Ah = "Ah"
    V = "V"
    VA = "VA"
    W = "W"
    W_per_s = "W/s"
    Wh = "Wh"


class ServiceTag(Element, frozen=True, kw_only=True):
    """Names of a service."""

    service_id: ServiceID
    service_name: ServiceName | None = None
    service_category: ServiceCategory
    service_scope: ServiceScope | None = None


class Service(Element, frozen=True, kw_only=True):
    """A service by its tag, and whether it is free of charge."""

    service_tag: ServiceTag
    free_service: bool


class ServiceTagList(Element, frozen=True, kw_only=True):
    """Value-added services on offer."""

    service: Annotated[tuple[Service, ...], Meta(min_length=1)]


class SelectedService(Element, frozen=True, kw_only=True):
    """A service with one of its parameter sets."""

    service_id: ServiceID
    parameter_set_id: Short | None = None


class SelectedServiceList(Element, frozen=True, kw_only=True):
    """Services selected by the vehicle."""

    selected_service: Annotated[tuple[SelectedService, ...], Meta(min_length=1)]


class PhysicalValue(Element, frozen=True, kw_only=True):
    """The number Value x 10^Multiplier, with its unit if that is not plain."""

    multiplier: UnitMultiplier
    unit: UnitSymbol | None = None
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
    value_type: Annotated[ValueType, ATTRIBUTE]


class ParameterSet(Element, frozen=True, kw_only=True):
    """One variant of a service."""

    parameter_set_id: Short
    parameter: Annotated[tuple[Parameter, ...], Meta(min_length=1)]


class ServiceParameterList(Element, frozen=True, kw_only=True):
    """All variants of a service."""

    parameter_set: Annotated[tuple[ParameterSet, ...], Meta(min_length=1)]


class ServiceCharge(Service, frozen=True, kw_only=True):
    """The service of charging with its energy transfer type."""

    energy_transfer_type: EVSESupportedEnergyTransferType


class SubCertificates(Element, frozen=True, kw_only=True):
    """Intermediate certificates in DER."""

    certificate: Annotated[tuple[Certificate, ...], Meta(min_length=1)]


class CertificateChain(Element, frozen=True, kw_only=True):
    """A leaf in DER and its sub-CAs."""

    certificate: Certificate
    sub_certificates: SubCertificates | None = None


class ListOfRootCertificateIDs(Element, frozen=True, kw_only=True):
    """Root certificates that the vehicle trusts."""

    root_certificate_id: Annotated[tuple[RootCertificateID, ...], Meta(min_length=1)]


class MeterInfo(Element, frozen=True, kw_only=True):
    """Reading of the meter with its unit; TMeter in s since 1970 in UTC."""

    meter_id: MeterID
    meter_reading: PhysicalValue | None = None
    sig_meter_reading: SigMeterReading | None = None
    meter_status: MeterStatus | None = None
    t_meter: Long | None = None


class Notification(Element, frozen=True, kw_only=True):
    """A fault that the sender has detected in a message."""

    fault_code: FaultCode
    fault_msg: FaultMsg | None = None


class PaymentOptions(Element, frozen=True, kw_only=True):
    """Payment options."""

    payment_option: Annotated[tuple[PaymentOption, ...], Meta(min_length=1)]


ELEMENTS: Final = {"ServiceCharge": ServiceCharge}
