"""ISO 15118-2:2013 data types: values, services, certificates and the meter."""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, HEX, TEXT, Byte, Choice, Element, Int, Long, Short, UnsignedLong
from v2g.iso15118.d2.schemas import ISO2_DATA_TYPES
from v2g.iso15118.engine.older_types import FaultCode as FaultCode
from v2g.iso15118.engine.older_types import FaultMsg, MeterID, MeterStatus, ServiceID, ServiceName, UnitMultiplier
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

    service_id: ServiceID
    service_name: ServiceName | None = None
    service_category: ServiceCategory
    service_scope: ServiceScope | None = None
    free_service: bool


class ServiceList(Element, frozen=True, kw_only=True):
    """Value-added services on offer."""

    service: Annotated[tuple[Service, ...], Meta(min_length=1, max_length=8)]


class SelectedService(Element, frozen=True, kw_only=True):
    """A service with one of its parameter sets."""

    service_id: ServiceID
    parameter_set_id: Short | None = None


class SelectedServiceList(Element, frozen=True, kw_only=True):
    """Services selected by the vehicle."""

    selected_service: Annotated[tuple[SelectedService, ...], Meta(min_length=1, max_length=16)]


class PhysicalValue(Element, frozen=True, kw_only=True):
    """The number Value x 10^Multiplier with its unit."""

    multiplier: UnitMultiplier
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

    meter_id: MeterID
    meter_reading: UnsignedLong | None = None
    sig_meter_reading: SigMeterReading | None = None
    meter_status: MeterStatus | None = None
    t_meter: Long | None = None


class Notification(Element, frozen=True, kw_only=True):
    """A fault that the sender has detected in a message."""

    fault_code: FaultCode
    fault_msg: FaultMsg | None = None


class PaymentOptionList(Element, frozen=True, kw_only=True):
    """Payment options."""

    payment_option: Annotated[tuple[PaymentOption, ...], Meta(min_length=1, max_length=2)]


ELEMENTS: Final[dict[str, type[Element]]] = {}
